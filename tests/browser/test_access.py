"""With the keyboard alone, and by screen reader."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.acts import menu, send, shown_answer, wait_done
from tests.browser.conftest import WIDTHS
from tests.browser.test_chatting import MARKDOWN

SERIOUS = {"serious", "critical"}


def findings(page):
    found = Axe().run(page).response["violations"]
    return [
        (one["id"], one["impact"], [node["html"][:200] for node in one["nodes"]])
        for one in found
        if one["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_serious(house, open_tab, width, theme):
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    page = open_tab(house, theme=theme, reduced_motion="reduce", **size)
    expect(page.locator("#welcome h2")).to_be_visible()
    assert findings(page) == []
    send(page, "show me everything")
    turn = house.next_turn()
    turn.reason("a thought")
    turn.say(MARKDOWN + "\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted\n\n![p](http://x/y.png)\n\n")
    send(page, "this waits")
    expect(page.locator("#queue li")).to_have_count(1)
    expect(page.locator(".prose table")).to_be_visible()
    assert findings(page) == []
    page.locator("#queue").get_by_role("button", name="Remove").click()
    turn.hang_up()
    wait_done(page)
    page.locator("li.answer summary").first.click()
    expect(page.locator(".note")).to_be_visible()
    assert findings(page) == []
    page.get_by_role("button", name="Actions for this chat").click()
    assert findings(page) == []
    page.keyboard.press("Escape")
    if width == "narrow":
        page.get_by_role("button", name="Open the list of chats").click()
        expect(page.locator("#sidebar")).to_be_in_viewport(ratio=1)
        assert findings(page) == []
    page.get_by_role("button", name="Keyboard shortcuts").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert findings(page) == []


def focused(page):
    return page.evaluate(
        """() => {
            const node = document.activeElement;
            return node.getAttribute("aria-label") || node.textContent.trim() || node.id;
        }"""
    )


def test_everything_is_reached_by_tab_and_the_focus_is_never_lost(house, open_tab):
    page = open_tab(house)
    send(page, "hello")
    house.next_turn().answer(MARKDOWN)
    wait_done(page)
    page.reload()
    wait_done(page)
    shown = page.locator("li.answer .actions")
    expect(shown).to_be_visible()
    page.locator(".skip").focus()
    seen = [focused(page)]
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        seen.append(focused(page))
        outline = page.evaluate(
            """() => {
                const style = getComputedStyle(document.activeElement);
                const ring = style.outlineStyle !== "none";
                return ring || document.activeElement.id === "prompt";  // its frame has the ring
            }"""
        )
        assert outline, f"no focus ring on {seen[-1]}"
    for name in (
        *("Skip to the message field", "New chat", "Search chats", "Projects", "Import a chat"),
        *("hello", "Actions for hello", "Keyboard shortcuts", "Theme: system", "Message"),
        *("Actions for this chat", "Conversation", "Copy message", "Edit and send again"),
        *("Copy python code", "Copy answer", "Try again", "Attach text files"),
    ):
        assert name in seen, f"{name} is not among {seen}"
    assert len(seen) < 60


def test_a_whole_talk_with_the_keyboard_alone(house, open_tab):
    page = open_tab(house)
    field = page.get_by_label("Message", exact=True)
    expect(field).to_be_focused()
    page.keyboard.type("line one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line two")
    page.keyboard.press("Enter")
    turn = house.next_turn()
    assert turn.prompts == ["line one\nline two"]
    expect(field).to_be_focused()
    turn.say("I begin")
    shown_answer(page, "I begin")
    page.keyboard.press("Escape")
    turn.wait_closed()
    wait_done(page)
    page.keyboard.press("Control+k")
    page.keyboard.type("line one")
    expect(page.locator("#list a")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Title")).to_be_focused()
    page.keyboard.type("By keyboard")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("By keyboard")
    expect(page.get_by_role("button", name="Actions for By keyboard")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("d")  # Duplicate
    page.keyboard.press("d")  # Delete
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Actions for By keyboard")).to_be_focused()
    page.keyboard.press("Alt+n")
    expect(field).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")


def test_the_focus_stays_in_the_list_when_its_row_goes(stage, open_tab):
    stage.start()
    rows = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    for title in ("third", "second", "first"):
        stage.post("/api/session/import", title=title, messages=rows)
    page = open_tab(stage)
    first = page.locator("#list a").first
    expect(first).to_have_text("first")
    page.keyboard.press("Control+k")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="second")).to_be_focused()
    page.keyboard.press("Shift+F10")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
    expect(page.locator("#list a")).to_have_count(2)
    expect(page.get_by_role("link", name="third")).to_be_focused()


def test_a_screen_reader_hears_the_end_of_an_answer_and_not_each_word(house, open_tab):
    page = open_tab(house)
    page.evaluate(
        """() => {
            const region = document.querySelector("#says");
            window.heard = [];
            const note = () => window.heard.push(region.textContent);
            new MutationObserver(note).observe(region, { childList: true });
        }"""
    )
    send(page, "speak")
    turn = house.next_turn()
    for word in ("one ", "two ", "three"):
        turn.say(word)
    turn.finish()
    wait_done(page)
    expect(page.locator("#says")).to_have_text("The answer is complete. one two three")
    assert [text for text in page.evaluate("window.heard") if "one" in text] == [
        "The answer is complete. one two three"
    ]
    assert page.locator("#transcript").get_attribute("aria-live") is None


def test_the_drawer_takes_the_focus_and_gives_it_back(house, open_tab):
    page = open_tab(house, width=360, height=740, reduced_motion="reduce")
    opener = page.get_by_role("button", name="Open the list of chats")
    expect(page.locator("#sidebar")).to_be_hidden()
    opener.click()
    expect(page.get_by_role("button", name="Close the list of chats")).to_be_focused()
    assert page.evaluate("document.querySelector('#main').inert")
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()
    expect(page.locator("#sidebar")).to_be_hidden()
    assert not page.evaluate("document.querySelector('#main').inert")


def test_a_screen_reader_hears_the_end_also_when_the_record_has_it_first(house, open_tab):
    session_id = house.new()
    turn = house.talk(session_id, "speak")
    page = open_tab(house)
    page.route("**/api/tab/events?*", lambda route: None)  # the stream tells nothing
    page.goto(f"{house.url}/session/{session_id}")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    turn.answer("one two")
    house.wait_idle(session_id)
    menu(page, "Rename")
    page.get_by_role("textbox", name="Title").fill("Spoken")
    page.keyboard.press("Enter")
    wait_done(page)
    expect(page.locator("#says")).to_have_text("The answer is complete. one two")
    page.unroute_all(behavior="ignoreErrors")
