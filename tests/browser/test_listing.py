"""The list of chats: found, kept in order, and thousands of rows long."""

import json
import time

import pytest
from playwright.sync_api import expect

from tests.browser.acts import send, wait_done

DAY = 86_400
MANY = 3000


def chat(house, title, answer="yes"):
    rows = [{"role": "user", "content": title}, {"role": "assistant", "content": answer}]
    session = house.post("/api/session/import", title=title, messages=rows)["session"]
    return session["session_id"]


def row(page, title):
    return page.locator("#list li").filter(has=page.locator(f'.name:text-is("{title}")'))


def act(page, title, name):
    row(page, title).hover()
    page.get_by_role("button", name=f"Actions for {title}").click()
    page.get_by_role("menuitem", name=name).click()


def test_search_finds_titles_and_what_was_said(house, open_tab):
    chat(house, "Gardening", "Plant the zucchini in May.")
    chat(house, "Zucchini bread")
    chat(house, "Something else")
    page = open_tab(house)
    expect(row(page, "Gardening")).to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.get_by_label("Search chats")).to_be_focused()
    page.keyboard.type("zucchini")
    expect(page.locator("#list a")).to_have_count(2)
    expect(page.locator("#list")).to_contain_text("Plant the zucchini in May.")
    expect(page.get_by_role("status").filter(has_text="2 chats found")).to_be_attached()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(
        page.locator("#list a").nth(1).locator(".name").evaluate("node => node.firstChild.data")
    )
    page.get_by_label("Search chats").fill("nobody said this")
    expect(page.locator("#list")).to_contain_text("Nothing found")
    page.get_by_label("Search chats").press("Escape")
    expect(row(page, "Something else")).to_be_visible()


def test_a_search_that_could_not_look_at_everything_is_made_again(house, open_tab):
    chat(house, "Astronomy", "Look at the quasars.")
    page = open_tab(house)
    expect(row(page, "Astronomy")).to_be_visible()
    nothing = {"sessions": [], "complete": False}
    page.route("**/sessions/search?*", lambda route: route.fulfill(json=nothing), times=2)
    page.get_by_label("Search chats").fill("quasars")
    expect(row(page, "Astronomy")).to_be_visible()


def test_pin_archive_and_back(house, open_tab):
    chat(house, "To pin")
    chat(house, "To archive")
    page = open_tab(house)
    act(page, "To pin", "Pin to the top")
    expect(page.locator("#list h2").first).to_have_text("Pinned")
    act(page, "To archive", "Archive")
    expect(row(page, "To archive")).to_have_count(0)
    page.get_by_label("Which chats are listed").select_option("archived")
    expect(row(page, "To archive")).to_be_visible()
    act(page, "To archive", "Back to the list")
    expect(row(page, "To archive")).to_have_count(0)
    page.get_by_label("Which chats are listed").select_option("")
    expect(row(page, "To archive")).to_be_visible()
    act(page, "To pin", "Unpin")
    expect(page.locator("#list h2").first).to_have_text("Today")


def test_projects_hold_chats_and_new_ones_begin_in_them(house, open_tab):
    chat(house, "For the project")
    page = open_tab(house)
    page.get_by_role("button", name="Projects").click()
    page.get_by_label("A new project").fill("Research")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Research")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Projects")).to_be_focused()
    act(page, "For the project", "Move to a project")
    page.get_by_label("Project", exact=True).select_option(label="Research")
    page.get_by_role("button", name="Move").click()
    page.get_by_label("Which chats are listed").select_option(label="Research")
    expect(page.locator("#list a")).to_have_count(1)
    send(page, "begun in it")
    house.next_turn().answer("yes")
    wait_done(page)
    expect(page.locator("#list a")).to_have_count(2)
    chat(house, "For no project")
    scope, search = page.get_by_label("Which chats are listed"), page.get_by_label("Search chats")
    search.fill("project")
    expect(page.get_by_role("status").filter(has_text="1 chat found in Research")).to_be_attached()
    expect(page.locator("#list a")).to_have_text(["For the project"])
    search.fill("nobody said this")
    expect(page.locator("#list")).to_contain_text("Nothing found in “Research”.")
    search.fill("project")
    scope.select_option("")
    expect(row(page, "For no project")).to_be_visible()
    expect(row(page, "For the project")).to_be_visible()
    search.fill("")
    page.get_by_role("button", name="Projects").click()
    page.get_by_role("button", name="Delete Research").click()
    page.get_by_role("button", name="Delete the project").click()
    expect(page.get_by_role("dialog")).to_contain_text("There are none yet.")
    page.keyboard.press("Escape")
    expect(row(page, "For the project")).to_be_visible()


@pytest.fixture
def crowd(stage):
    """Thousands of sessions on disk, of many days, before the server starts."""
    sessions = stage.directory / "sessions"
    sessions.mkdir(parents=True)
    now = time.time()
    for n in range(MANY):
        at = now - n * DAY / 20
        said = {"role": "user", "content": f"question {n}", "timestamp": at}
        record = {"title": f"Chat number {n}", "updated_at": at, "messages": [said]}
        (sessions / f"{n:012x}.json").write_text(json.dumps(record))
    stage.start()
    return stage


def test_thousands_are_grouped_and_only_those_in_view_exist(crowd, open_tab):
    page = open_tab(crowd)
    links = page.locator("#list a")
    expect(row(page, "Chat number 0")).to_be_visible()
    expect(page.locator("#list li[aria-setsize]").first).to_have_attribute(
        "aria-setsize", str(MANY)
    )
    assert links.count() < 60
    expect(page.locator("#list h2").first).to_have_text("Today")
    expect(page.locator("#list h2").nth(1)).to_have_text("Yesterday")
    took = page.locator("#list").evaluate(
        """async (box) => {
            const frame = () => new Promise((done) => requestAnimationFrame(done));
            const times = [];
            for (let n = 0; n <= 60; n++) {
                box.scrollTop = (box.scrollHeight - box.clientHeight) * n / 60;
                const began = performance.now();
                box.dispatchEvent(new Event("scroll"));
                times.push(performance.now() - began);
                await frame();
            }
            return times.sort((a, b) => a - b)[30];
        }"""
    )
    print(f"drawing the list of {MANY} at another place: {took:.1f} ms (median)")
    expect(row(page, f"Chat number {MANY - 1}")).to_be_visible()
    assert links.count() < 60
    row(page, f"Chat number {MANY - 1}").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Chat number {MANY - 1}")
    page.locator("#list a[aria-current=page]").focus()
    page.keyboard.press("Home")
    expect(row(page, "Chat number 0").get_by_role("link")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(row(page, "Chat number 1").get_by_role("link")).to_be_focused()
    page.keyboard.press("End")
    expect(row(page, f"Chat number {MANY - 1}").get_by_role("link")).to_be_focused()
    expect(row(page, f"Chat number {MANY - 1}")).to_be_in_viewport()
