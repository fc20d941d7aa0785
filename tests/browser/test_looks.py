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


def imported(house, answer, **more):
    rows = [{"role": "user", "content": "question"}, {"role": "assistant", "content": answer}]
    session = house.post("/api/session/import", messages=rows, **more)["session"]
    return f"/session/{session['session_id']}"


def test_each_block_reads_in_the_direction_of_its_language(house, open_tab):
    arabic = "مرحبا بالعالم English 123."
    text = f"{arabic}\n\n- {arabic}\n\nEnglish.\n\n`x` {arabic}\n\n```\n{arabic}\n```"
    page = open_tab(house, imported(house, text, title=arabic))
    blocks = page.locator(".prose .block")
    expect(blocks).to_have_count(5)
    directions = blocks.evaluate_all("all => all.map(one => getComputedStyle(one).direction)")
    assert directions[:4] == ["rtl", "rtl", "ltr", "rtl"]
    expect(page.locator(".prose .code")).to_have_css("direction", "ltr")
    expect(page.locator("#title")).to_have_css("direction", "rtl")
    expect(page.get_by_label("Message", exact=True)).to_have_css("unicode-bidi", "plaintext")


def test_the_columns_of_a_table_are_aligned_as_it_says(house, open_tab):
    page = open_tab(house, imported(house, "| a | b | c |\n|---|:-:|--:|\n| 1 | 2 | 3 |"))
    for row in ("th", "td"):
        cells = page.locator(f".prose {row}")
        expect(cells).to_have_count(3)
        aligned = cells.evaluate_all("all => all.map(one => getComputedStyle(one).textAlign)")
        assert [one.removeprefix("-webkit-") for one in aligned] == ["start", "center", "right"]


def test_a_tool_with_a_long_name_can_still_be_opened(house, open_tab):
    function = {"name": "a_tool_with_a_name_that_is_too_long_for_a_telephone", "arguments": "{}"}
    rows = [
        {"role": "user", "content": "question"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "function": function}]},
        {"role": "tool", "tool_call_id": "1", "content": "result"},
    ]
    session = house.post("/api/session/import", messages=rows)["session"]
    page = open_tab(house, f"/session/{session['session_id']}", width=360, height=740)
    turn = page.locator("details.tool > summary .turn").bounding_box()
    card = page.locator("details.tool").bounding_box()
    assert turn["x"] + turn["width"] <= card["x"] + card["width"]


def test_the_list_can_be_used_where_little_fits(house, talked, open_tab):
    page = open_tab(house, width=320, height=256, reduced_motion="reduce")
    page.get_by_role("button", name="Open the list of chats").click()
    row = page.locator(f"#list a[href='/session/{talked}']")
    row.scroll_into_view_if_needed()
    expect(row).to_be_in_viewport(ratio=1)


def test_on_paper_there_is_the_whole_conversation_and_nothing_else(house, open_tab):
    page = open_tab(house, imported(house, "A paragraph.\n\n" * 100), theme="dark")
    wait_done(page)
    page.emulate_media(media="print", color_scheme="dark")
    scroll = page.locator("#scroll")
    assert scroll.evaluate("it => it.scrollHeight === it.clientHeight && it.clientHeight > 3000")
    assert page.evaluate("document.scrollingElement.scrollHeight") > 3000
    for hidden in ("#sidebar", "#dock", "#session-menu", "#transcript .actions button"):
        expect(page.locator(hidden).first).to_be_hidden()
    expect(page.locator("html")).to_have_css("color-scheme", "light")
    expect(page.locator("#cut")).to_be_hidden()


def test_what_nobody_has_counted_is_marked(house, open_tab):
    used = {"input_tokens": 7, "output_tokens": 1}
    rows = [{"role": "user", "content": "question"}]
    rows += [{"role": "assistant", "content": "one", "_turnUsage": used}, rows[0]]
    rows += [{"role": "assistant", "content": "two", "_turnUsage": used | {"estimated": True}}]
    session = house.post("/api/session/import", messages=rows)["session"]
    page = open_tab(house, f"/session/{session['session_id']}")
    expect(page.locator("li.answer .facts")).to_have_text(
        ["7 tokens in, 1 token out", "about 7 tokens in, 1 token out"]
    )


def test_on_paper_it_is_said_what_is_not_on_it(house, open_tab):
    rows = [{"role": "user", "content": f"question {n}"} for n in range(100)]
    session = house.post("/api/session/import", messages=rows)["session"]
    page = open_tab(house, f"/session/{session['session_id']}")
    expect(page.get_by_text("question 99")).to_be_visible()
    cut = page.get_by_text("What was said earlier is not printed")
    expect(cut).to_be_hidden()
    page.emulate_media(media="print")
    expect(cut).to_be_visible()
