"""Pictures of the page, to be looked at; and that nothing sticks out of it."""

import pytest
from playwright.sync_api import expect

from tests.browser.acts import send, shown_answer, wait_done
from tests.browser.conftest import WIDTHS
from tests.browser.test_chatting import MARKDOWN

LONG = "AVeryLongWordThatNobodyEverBreaks" * 8


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture(scope="module")
def talked(house):
    """A chat with something of everything."""
    session_id = house.new()
    house.told(session_id, "What can you show me?", MARKDOWN)
    house.told(session_id, LONG, f"`{LONG}`\n\n| {LONG} | b |\n|---|---|\n| 1 | 2 |")
    return session_id


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_is_kept_as_a_picture(house, talked, open_tab, shoot, width, theme):
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    page = open_tab(house, theme=theme, reduced_motion="reduce", **size)
    expect(page.locator("#welcome h2")).to_be_visible()
    expect(page.get_by_text("puppet answers")).to_be_visible()
    assert fits(page)
    shoot(page, f"welcome-{width}-{theme}")
    page.goto(f"{house.url}/session/{talked}")
    wait_done(page)
    expect(page.locator(".prose table")).to_be_attached()
    assert fits(page)
    page.locator("li.user").first.scroll_into_view_if_needed()
    shoot(page, f"chat-{width}-{theme}")
    send(page, "One more")
    turn = house.next_turn()
    turn.reason("Let me think.")
    turn.say("I am writing")
    shown_answer(page, "I am writing")
    send(page, "This waits")
    expect(page.locator("#queue li")).to_have_count(1)
    assert fits(page)
    shoot(page, f"answering-{width}-{theme}")
    page.locator("#queue").get_by_role("button", name="Remove").click()
    expect(page.locator("#queue")).to_be_hidden()
    page.get_by_role("button", name="Stop").click()
    turn.wait_closed()
    wait_done(page)
    if width == "narrow":
        page.get_by_role("button", name="Open the list of chats").click()
        expect(page.locator("#sidebar")).to_be_in_viewport(ratio=1)
        shoot(page, f"drawer-{width}-{theme}")


def test_the_theme_can_be_chosen_and_is_remembered(house, open_tab):
    page = open_tab(house, theme="light")

    def back():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = back()
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("menuitem", name="Dark").click()
    dark = back()
    assert dark != light
    expect(page.get_by_role("button", name="Theme").locator("svg")).to_have_count(1)
    page.reload()
    assert back() == dark
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("menuitem", name="As the system has it").click()
    assert back() == light
