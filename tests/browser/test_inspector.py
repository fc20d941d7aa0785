"""The inspector in a real browser: what it shows, by mouse and keyboard, in both themes."""

import json

import pytest
from playwright.sync_api import expect

from tests.browser.acts import menu, send, shown_answer, wait_done
from tests.browser.conftest import WIDTHS
from tests.browser.test_access import findings
from tests.browser.test_looks import fits

LONG = "A question with a long beginning that no column of a table has the room for"
PLOTS_STAY_INSIDE = """tiles => tiles.every((tile) => {
    tile.querySelector(".value").textContent = "1.0 ms, and more words ".repeat(5);
    const right = (node) => node.getBoundingClientRect().right;
    return right(tile.querySelector(".plot")) <= right(tile);
})"""


def row(page, session_id):
    return page.locator(f'tr:has(a[data-session="{session_id}"])')


def live(page):
    expect(page.locator("#state")).to_have_attribute("data-state", "live")


@pytest.fixture
def running(house):
    """A chat whose agent has said something and goes on, and the strings of the agent."""
    session_id = house.new()
    turn = house.talk(session_id, LONG)
    turn.say("It begins")
    yield session_id, turn
    turn.hang_up()
    house.wait_idle(session_id)


def test_why_is_this_chat_busy_in_one_click_and_back(house, open_tab):
    page = open_tab(house)
    send(page, "why")
    turn = house.next_turn()
    turn.say("Because")
    shown_answer(page, "Because")
    address = page.url
    menu(page, "Why is it busy?")
    expect(page.locator(".why li").first).to_contain_text("The agent has been answering for")
    expect(page.locator("#session .chip").first).to_have_text("busy")
    turn.answer(" it can")
    expect(page.locator(".why li").first).to_have_text("Idle.")
    expect(page.locator("#says")).to_have_text("This chat is idle.")
    page.get_by_role("link", name="Back to the chat").click()
    page.wait_for_url(address)
    wait_done(page)
    shown_answer(page, "Because it can")


def test_the_story_of_a_turn_from_its_command_to_what_was_shown(house, open_tab, running):
    session_id, turn = running
    page = open_tab(house, f"/inspector?session_id={session_id}")
    live(page)
    story = page.get_by_role("region", name="Its story, as it happens")
    expect(story).to_contain_text("Nothing has happened since you began to look.")
    for _ in range(3):
        turn.say("more")
    expect(story).to_contain_text("TextDelta")
    turn.finish()
    ended = story.get_by_role("listitem").filter(has_text="TurnReturned → TurnEnded")
    expect(ended).to_contain_text("durable +")
    expect(ended).to_contain_text("shown +")
    past = page.get_by_role("region", name="Its turns, from the disk")
    expect(past).to_contain_text("answered after")
    expect(past).to_contain_text("TextDelta")
    assert "more" not in story.inner_text()


def test_the_tree_shows_who_works_and_whom_to_look_at(house, open_tab, running):
    session_id, turn = running
    page = open_tab(house, "/inspector")
    live(page)
    mine = row(page, session_id)
    expect(mine).to_contain_text("answering")
    expect(mine).to_contain_text("Turns._work")
    expect(mine.get_by_role("link")).to_have_text(LONG[:64])
    mine.get_by_role("link").click()
    expect(page.get_by_role("heading", level=2, name=LONG[:64])).to_be_visible()
    expect(page.locator("#session")).to_be_focused()
    expect(mine).to_have_class("chosen")
    assert page.url.endswith(f"?session_id={session_id}")
    page.get_by_role("button", name="Close this chat").click()
    expect(page.locator("#session")).to_be_hidden()
    expect(mine.get_by_role("link")).to_be_focused()
    page.go_back()
    expect(page.locator("#session")).to_be_visible()
    turn.finish()
    expect(mine).to_contain_text("idle")


def test_by_keyboard_the_focus_stays_while_everything_moves(house, open_tab, running):
    session_id, turn = running
    page = open_tab(house, "/inspector")
    live(page)
    link = row(page, session_id).get_by_role("link")
    link.focus()
    for word in ("one", "two"):
        handled = row(page, session_id).locator("td").last
        before = handled.inner_text()
        turn.say(word)
        expect(handled).not_to_have_text(before)
        expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#session")).to_be_focused()


def test_it_pauses_and_goes_on(house, open_tab, running):
    session_id, turn = running
    page = open_tab(house, "/inspector")
    live(page)
    expect(row(page, session_id)).to_contain_text("answering")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("Paused")
    turn.finish()
    house.wait_idle(session_id)
    page.wait_for_timeout(1500)  # one that had not paused would have been told by now
    expect(row(page, session_id)).to_contain_text("answering")
    page.get_by_role("button", name="Go on").click()
    live(page)
    expect(row(page, session_id)).to_contain_text("idle")


def test_it_has_the_theme_of_the_chat_and_can_change_it(house, open_tab):
    page = open_tab(house, "/inspector", theme="light")
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("menuitem", name="Dark").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_focused()
    expect(page.locator("html")).to_have_css("color-scheme", "dark")
    page.get_by_role("link", name="Chats").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    expect(page.locator("html")).to_have_css("color-scheme", "dark")


def test_it_finds_the_server_again(stage, open_tab):
    stage.start()
    page = open_tab(stage, "/inspector")
    live(page)
    stage.kill()
    expect(page.locator("#state")).to_have_text("Reconnecting…")
    stage.start()
    live(page)


def test_a_chat_that_is_not_there(house, open_tab):
    page = open_tab(house, "/inspector?session_id=nobody")
    expect(page.locator(".why")).to_have_text("There is no such chat any more.")


def test_a_title_is_text_and_never_markup(house, open_tab):
    session_id = house.new()
    title = "<img src=x onerror=alert(1)>"
    house.post("/api/session/rename", session_id=session_id, title=title)
    page = open_tab(house, f"/inspector?session_id={session_id}")
    expect(page.locator("#session-title")).to_have_text(title)
    expect(row(page, session_id).get_by_role("link")).to_have_text(title)
    assert page.locator("img[src=x]").count() == 0


def many_actors(count, shown):
    """A snapshot of a house with that many live chats."""
    still = {"count": 1, "total": 0.1, "median": 0.1, "longest": 0.1, "now": 0.0}
    one = {"state": "running", "depth": 0, "capacity": 9, "high_water": 1, "handled": 2}
    actors = [one | {"key": f"{n:012x}", "title": f"Chat {n}", "restarts": 0} for n in range(shown)]
    actors[0] |= {"restarts": 3, "state": "restarting"}
    actors[1] |= {"depth": 7, "current": "StartTurn", "seconds": 12.4}
    kind = {"name": "session", "live": count, "busy": 2, "waiting": 7, "restarts": 3}
    kind |= {"actors": actors, "folded": count - shown}
    whole = {"live": count, "busy": 2, "waiting": 7, "restarts": 3}
    return {
        "at": 1.0,
        "actors": whole | {"activations": count, "dead_letters": 0},
        "messages": 10,
        "turns": {"running": 0, "open": 0},
        "records": still,
        "journal": still | {"entries": 1, "bytes": 1, "streams": 1},
        "lag": still,
        "kinds": [kind],
    }


@pytest.mark.parametrize("width", WIDTHS)
def test_a_thousand_actors_are_folded_and_more_are_a_click_away(house, open_tab, shoot, width):
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    page = open_tab(house, reduced_motion="reduce", **size)
    asked = []

    def answer(route):
        limit = int(route.request.url.partition("limit=")[2])
        asked.append(limit)
        data = json.dumps(many_actors(1000, limit))
        body = f"event: snapshot\ndata: {data}\n\n"
        route.fulfill(body=body, content_type="text/event-stream")

    page.route("**/api/inspector/events*", answer)
    page.goto(f"{house.url}/inspector")
    expect(page.locator(".actors tbody tr")).to_have_count(30)
    expect(page.locator("#kinds")).to_contain_text("and 970 more, less busy")
    expect(page.locator(".actors tbody tr").nth(0)).to_contain_text("restarting")
    expect(page.locator(".actors tbody tr").nth(1)).to_contain_text("7")
    assert fits(page)
    shoot(page, f"inspector-folded-{width}")
    page.get_by_role("button", name="Show 100 more").click()
    expect(page.locator(".actors tbody tr")).to_have_count(130)
    assert 130 in asked


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_axe_finds_nothing(house, open_tab, shoot, running, width, theme):
    session_id, turn = running
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    page = open_tab(house, "/inspector", theme=theme, reduced_motion="reduce", **size)
    live(page)
    expect(row(page, session_id)).to_be_visible()
    assert fits(page)
    assert findings(page) == []
    page.goto(f"{house.url}/inspector?session_id={session_id}")
    live(page)
    turn.say("and on")
    expect(page.get_by_role("region", name="Its story")).to_contain_text("TextDelta")
    expect(page.get_by_role("region", name="Its turns")).to_contain_text("running")
    assert fits(page)
    assert page.locator(".tile").evaluate_all(PLOTS_STAY_INSIDE)
    assert findings(page) == []
    shoot(page, f"inspector-{width}-{theme}")
