"""The page when the model asks to call a tool: seen, answered, and closed in every tab."""

import json

import pytest
from playwright.sync_api import expect

from tests.app.tools.servers import TIME, faults
from tests.browser.acts import menu, send, wait_done
from tests.browser.conftest import WIDTHS
from tests.browser.stage import open_stage
from tests.browser.test_access import findings
from tests.browser.test_looks import fits

HELLO = {"timezone": "Europe/Berlin"}


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """A house whose model may call tools."""
    directory = tmp_path_factory.mktemp("tools")
    config = directory / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"time": TIME, "f": faults()}}))
    with open_stage(directory / "data") as stage:
        stage.start(MCP_CONFIG=str(config))
        yield stage


def wants(turn, *calls):
    """The model's whole answer: these calls, each a name and its arguments."""
    deltas = [
        {"index": n, "id": f"c{n}", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for n, (name, arguments) in enumerate(calls)
    ]
    turn.chunk({"choices": [{"delta": {"tool_calls": deltas}}]})
    turn.finish()


def asked(page, text="What time is it in Berlin?"):
    """A message that makes the model ask for the time; its card."""
    send(page, text)
    turn = page.tools.next_turn()
    turn.say("Let me look at the clock.")
    wants(turn, ("time__get_current_time", HELLO))
    expect(card(page)).to_be_visible()
    return card(page)


def card(page):
    return page.get_by_role("group", name="Allow time__get_current_time?")


@pytest.fixture
def page(tools, open_tab):
    page = open_tab(tools)
    page.tools = tools
    return page


def test_a_call_is_allowed_by_keyboard_and_its_card_closes_in_the_other_tab(page, open_tab):
    field = page.get_by_label("Message", exact=True)
    shown = asked(page)
    expect(shown.get_by_role("group", name="Arguments")).to_have_text(json.dumps(HELLO, indent=2))
    expect(field).to_be_focused()  # nobody's hands are pushed aside
    expect(page.locator("#says")).to_contain_text("may the model call time__get_current_time?")
    expect(page).to_have_title("(?) What time is it in Berlin? · Greenroom")
    expect(page.locator("#list a", has_text="waits for your answer")).to_have_count(1)
    other = open_tab(page.tools, page.url.removeprefix(page.tools.url), beside=page)
    expect(card(other)).to_be_visible()
    other.get_by_label("Message", exact=True).fill("I am writing")
    shown.get_by_role("button", name="Allow once").focus()
    page.keyboard.press("Enter")
    expect(card(page)).to_have_count(0)
    expect(card(other)).to_have_count(0)
    closed = page.locator(".approval.closed")
    expect(closed).to_have_text("Allowed once: time__get_current_time")
    expect(closed).to_be_focused()
    expect(other.get_by_label("Message", exact=True)).to_be_focused()
    page.tools.next_turn().answer("It is late.")
    for one in (page, other):
        wait_done(one)
        expect(one.locator("details.tool .name")).to_have_text("time__get_current_time")
        expect(one.locator(".approval")).to_have_count(0)
        expect(one.locator("#list .asks")).to_have_count(0)


def test_a_call_is_denied_and_what_was_asked_stands_after_a_reload(page):
    asked(page)
    page.reload()
    card(page).get_by_role("button", name="Deny").click()
    turn = page.tools.next_turn()
    expect(page.locator(".approval.closed")).to_have_text("Denied: time__get_current_time")
    turn.answer("Then not.")
    wait_done(page)
    tool = page.locator("details.tool.failed")
    tool.locator("summary").click()
    expect(tool.locator("dd").last).to_contain_text("The user denied this call.")


def test_one_that_is_answered_elsewhere_first_says_so(page):
    shown = asked(page)
    session_id = page.url.rpartition("/")[2]
    pending = page.tools.get("/api/approval/pending", session_id=session_id)["pending"]
    page.route("**/api/tab/events**", lambda route: route.abort())  # it hears nothing new
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#connection")).to_be_visible()
    body = {"session_id": session_id, "approval_id": pending["approval_id"]}
    page.tools.post("/api/approval/respond", **body, choice="deny")
    turn = page.tools.next_turn()
    shown.get_by_role("button", name="Allow once").click()
    expect(page.locator(".toast.error")).to_contain_text("This was answered already: denied")
    page.unroute("**/api/tab/events**")
    expect(page.locator(".approval.closed")).to_have_text("Denied: time__get_current_time")
    turn.answer("Then not.")
    wait_done(page)


def test_stop_closes_the_card(page):
    asked(page)
    page.get_by_role("button", name="Stop").click()
    wait_done(page)
    expect(page.locator(".approval")).to_have_count(0)
    tool = page.locator("details.tool.cut")
    expect(tool).to_contain_text("was not run")
    expect(page.locator("#list .asks")).to_have_count(0)


def test_a_tool_allowed_in_the_chat_is_listed_and_can_be_asked_for_again(page):
    asked(page).get_by_role("button", name="Allow in this chat").click()
    page.tools.next_turn().answer("It is late.")
    wait_done(page)
    send(page, "And now?")
    wants(page.tools.next_turn(), ("time__get_current_time", HELLO))
    page.tools.next_turn().answer("Later.")
    wait_done(page)
    menu(page, "Allowed tools")
    page.get_by_role("button", name="Ask again before time__get_current_time is called").click()
    expect(page.get_by_role("dialog")).to_contain_text("None: you are asked each time.")
    page.get_by_role("button", name="Close").click()
    expect(asked(page, "Again?")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    wait_done(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_card_fits_and_is_kept_as_a_picture(tools, open_tab, shoot, width, theme):
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    page = open_tab(tools, theme=theme, reduced_motion="reduce", **size)
    send(page, "Write it down, and tell me what time it is.")
    turn = tools.next_turn()
    turn.say("I write it down, and look at the clock.")
    note = {"file": "/home/somebody/notes/" + "long" * 30, "text": "two\nlines"}
    wants(turn, ("f__note", note), ("time__get_current_time", HELLO))
    expect(page.locator(".approval")).to_have_count(2)
    assert fits(page)
    assert findings(page) == []
    shoot(page, f"approval-{width}-{theme}")
    card(page).get_by_role("button", name="Allow once").click()
    expect(page.locator("details.tool")).to_have_count(1)
    expect(page.locator(".approval.closed")).to_have_count(1)
    page.get_by_role("group", name="Allow f__note?").get_by_role("button", name="Deny").click()
    turn = tools.next_turn()
    assert findings(page) == []
    shoot(page, f"approved-{width}-{theme}")
    turn.answer("It is late, and nothing is written down.")
    wait_done(page)
    shoot(page, f"tools-{width}-{theme}")
