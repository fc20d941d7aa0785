"""What the page shows is what is durable, whatever happens to it, to the line or to the server."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.acts import answers, menu, said, send, shown_answer, wait_done

WORDS = [f"w{n} " for n in range(60)]


def text(*parts):
    return "".join(parts).strip()


def live_text(page):
    """What stands in the answer now, as it was written."""
    return "".join(page.locator("li.answer").last.locator(".prose").all_text_contents()).strip()


def talk(page, stage, words=20):
    """A turn that has shown so many words."""
    send(page, "count")
    turn = stage.next_turn()
    turn.say(*WORDS[:words])
    shown_answer(page, text(*WORDS[:words]))
    return turn


def test_reload_in_mid_answer(house, open_tab):
    page = open_tab(house)
    turn = talk(page, house)
    page.reload()
    shown_answer(page, text(*WORDS[:20]))
    assert said(page) == ["count"]
    turn.say(*WORDS[20:40])
    shown_answer(page, text(*WORDS[:40]))
    page.reload()
    turn.say(*WORDS[40:])
    turn.finish()
    shown_answer(page, text(*WORDS))
    wait_done(page)
    assert answers(page) == [text(*WORDS)]


def test_killed_in_mid_answer_it_shows_all_that_was_shown_and_goes_on(stage, open_tab):
    stage.start()
    page = open_tab(stage)
    talk(page, stage)
    before = live_text(page)
    stage.kill()
    expect(page.locator("#connection")).to_contain_text("Reconnecting")
    assert live_text(page) == before
    stage.start()
    expect(page.locator("#connection")).to_be_hidden()
    expect(page.locator(".note")).to_contain_text("Response interrupted")
    wait_done(page)
    assert answers(page) == [before]
    assert said(page) == ["count"]
    page.get_by_role("button", name="Try again").click()
    stage.next_turn().answer(text(*WORDS))
    shown_answer(page, text(*WORDS))
    wait_done(page)
    assert answers(page) == [text(*WORDS)]


def test_a_server_that_stops_in_order_ends_the_answer_and_comes_back(stage, open_tab):
    stage.start()
    page = open_tab(stage)
    talk(page, stage)
    assert stage.stop() == 0
    expect(page.locator(".note, #connection:not([hidden])").first).to_be_visible()
    stage.start()
    expect(page.locator(".note")).to_contain_text("Response interrupted")
    wait_done(page)
    assert answers(page) == [text(*WORDS[:20])]


def test_what_waits_survives_the_server_and_has_its_turn(stage, open_tab):
    stage.start()
    page = open_tab(stage)
    talk(page, stage)
    send(page, "and then?")
    expect(page.locator("#queue li")).to_have_count(1)
    stage.kill()
    expect(page.locator("#connection")).to_contain_text("Reconnecting")
    stage.start()
    turn = stage.next_turn()
    assert turn.prompts[-1] == "and then?"
    turn.answer("then this")
    shown_answer(page, "then this")
    wait_done(page)
    assert said(page) == ["count", "and then?"]
    assert answers(page) == [text(*WORDS[:20]), "then this"]


def test_a_message_that_could_not_be_sent_stays_and_is_sent_once(stage, open_tab):
    stage.start()
    page = open_tab(stage)
    send(page, "hello")
    stage.next_turn().answer("hi")
    wait_done(page)
    stage.kill()
    expect(page.locator("#connection")).to_contain_text("Reconnecting")
    send(page, "are you there?", accepted=False)
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    field = page.get_by_label("Message", exact=True)
    expect(field).to_have_value("are you there?")
    stage.start()
    expect(page.locator("#connection")).to_be_hidden()
    expect(page.get_by_role("alert")).to_be_hidden()
    page.keyboard.press("Enter")
    stage.next_turn().answer("I am")
    shown_answer(page, "I am")
    wait_done(page)
    expect(field).to_have_value("")
    assert said(page) == ["hello", "are you there?"]


def test_an_answer_that_was_lost_on_the_way_makes_no_second_message(house, open_tab):
    page = open_tab(house)
    send(page, "hello")
    house.next_turn().answer("hi")
    wait_done(page)

    def deliver_and_lose(route):
        route.fetch()
        route.abort()

    page.route("**/api/chat/start", deliver_and_lose, times=1)
    send(page, "only once", accepted=False)
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    page.keyboard.press("Enter")
    turn = house.next_turn()
    turn.answer("once")
    wait_done(page)
    expect(page.get_by_label("Message", exact=True)).to_have_value("")
    assert said(page) == ["hello", "only once"]
    assert answers(page) == ["hi", "once"]


def test_offline_and_online_again(house, open_tab):
    page = open_tab(house)
    turn = talk(page, house)
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("You are offline")
    turn.say(*WORDS[20:30])
    page.context.set_offline(False)
    expect(page.locator("#connection")).to_be_hidden()
    shown_answer(page, text(*WORDS[:30]))
    turn.say(*WORDS[30:])
    turn.finish()
    wait_done(page)
    assert answers(page) == [text(*WORDS)]


def test_the_laptop_slept_and_its_connection_is_dead(stage, open_tab):
    stage.start()
    page = open_tab(stage)
    page.clock.install()
    page.reload()
    turn = talk(page, stage)
    stage.freeze()  # a line on which nothing comes, and that nobody has closed
    try:
        page.clock.fast_forward("02:00:00")
        expect(page.locator("#connection")).to_contain_text("Reconnecting")
    finally:
        stage.thaw()
    turn.say(*WORDS[20:])
    turn.finish()
    shown_answer(page, text(*WORDS))
    expect(page.locator("#connection")).to_be_hidden()
    wait_done(page)
    assert answers(page) == [text(*WORDS)]


@pytest.mark.parametrize("seed", range(3))
def test_however_often_the_line_is_cut_no_word_is_doubled_or_missing(house, open_tab, seed):
    """The page is made to open its stream anew between words, and in the middle of them."""
    page = open_tab(house)
    send(page, "count")
    turn = house.next_turn()
    turn.say(WORDS[0])
    shown_answer(page, "w0")
    for n, word in enumerate(WORDS[1:], 1):
        turn.say(word)
        if n % 7 == seed:
            page.evaluate("dispatchEvent(new Event('online'))")
        if n % 20 == seed:
            page.reload()
    turn.finish()
    shown_answer(page, text(*WORDS))
    wait_done(page)
    assert answers(page) == [text(*WORDS)]


def test_what_is_told_twice_is_shown_once(house, open_tab):
    """Whatever the page asks for, this line brings the turn from its beginning."""
    page = open_tab(house)

    def from_the_beginning(route):
        route.continue_(url=re.sub(r"after_seq=\d+", "after_seq=0", route.request.url))

    page.route("**/api/tab/events?*", from_the_beginning)
    turn = talk(page, house)
    with page.expect_request("**/api/tab/events?*after_seq*"):
        page.evaluate("dispatchEvent(new Event('online'))")
    turn.say(*WORDS[20:])
    shown_answer(page, text(*WORDS))
    turn.finish()
    wait_done(page)
    assert answers(page) == [text(*WORDS)]


def test_an_old_answer_does_not_end_a_new_turn(house, open_tab):
    """The session as it was between two turns arrives when the second is under way."""
    page = open_tab(house)
    send(page, "first")
    house.next_turn().answer("one")
    wait_done(page)
    session_id = page.url.rsplit("/", 1)[1]
    between = house.get("/api/session", session_id=session_id)
    held = []
    page.route("**/api/session?*", lambda route: held.append(route), times=1)
    house.post("/api/session/rename", session_id=session_id, title="New")
    while not held:
        page.wait_for_timeout(10)  # lets the page and its routes run
    turn = talk(page, house)
    with page.expect_response("**/api/session?*"):
        held[0].fulfill(json=between)
    turn.say(*WORDS[20:40])
    shown_answer(page, text(*WORDS[:40]))
    turn.finish()
    wait_done(page)
    assert answers(page) == ["one", text(*WORDS[:40])]


def test_a_tab_that_was_away_when_it_ended_shows_the_record(house, open_tab):
    page = open_tab(house)
    turn = talk(page, house)
    session_id = page.url.rsplit("/", 1)[1]
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_be_visible()
    turn.say(*WORDS[20:])
    turn.finish()
    house.wait_idle(session_id)
    house.told(session_id, "from elsewhere", "and answered")
    page.context.set_offline(False)
    shown_answer(page, "and answered")
    wait_done(page)
    assert answers(page) == [text(*WORDS), "and answered"]
    assert said(page) == ["count", "from elsewhere"]


def test_two_tabs_see_the_same(house, open_tab):
    one = open_tab(house)
    turn = talk(one, house)
    two = open_tab(house, one.url.removeprefix(house.url), beside=one)
    shown_answer(two, text(*WORDS[:20]))
    send(two, "from two")
    expect(one.locator("#queue li")).to_have_count(1)
    one.locator("#queue").get_by_role("button", name="Edit").click()
    one.get_by_role("textbox", name="Waiting message").fill("from both")
    one.keyboard.press("Enter")
    expect(two.locator("#queue li")).to_contain_text("from both")
    turn.finish()
    turn = house.next_turn()
    assert turn.prompts[-1] == "from both"
    turn.say("for ")
    for tab in (one, two):
        shown_answer(tab, "for")
        assert said(tab) == ["count", "from both"]
    turn.say("both")
    turn.finish()
    for tab in (one, two):
        wait_done(tab)
        assert answers(tab) == [text(*WORDS[:20]), "for both"]
    menu(one, "Rename")
    one.get_by_label("Title").fill("Ours")
    one.keyboard.press("Enter")
    expect(two.get_by_role("heading", level=1)).to_have_text("Ours")
    menu(one, "Undo the last exchange")
    expect(two.locator("li.answer")).to_have_count(1)
    menu(two, "Delete")
    two.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(one.get_by_text("This chat was deleted.")).to_be_visible()
    expect(one.get_by_role("heading", level=1)).to_have_text("New chat")


def test_a_tab_has_one_stream_whatever_it_shows(house, open_tab):
    page = open_tab(house)
    streams = []
    page.on("request", lambda request: "/events" in request.url and streams.append(request))
    page.on("requestfinished", lambda request: request in streams and streams.remove(request))
    page.on("requestfailed", lambda request: request in streams and streams.remove(request))
    for n in range(3):
        page.get_by_role("button", name="New chat").first.click()
        send(page, f"chat {n}")
        house.next_turn().answer("yes")
        wait_done(page)
    assert len(streams) == 1
    assert not [r for r in streams if "/api/chat/stream" in r.url]


def test_a_chat_that_is_opened_while_the_server_is_away_comes_when_it_is_back(house, open_tab):
    session_id = house.new()
    house.told(session_id, "hello", "hi")
    page = open_tab(house)
    page.route("**/api/session?*", lambda route: route.abort(), times=1)
    page.goto(f"{house.url}/session/{session_id}")
    expect(page.locator("#connection")).to_contain_text("Reconnecting")
    shown_answer(page, "hi")
    expect(page.locator("#connection")).to_be_hidden()


@pytest.mark.parametrize(
    ("status", "said", "advice"),
    [
        (507, "The session could not be saved", "Make room on the server's disk"),
        (429, "50 messages are waiting already", "already."),
        (503, "Try again in a moment", "Try again in a moment"),
    ],
)
def test_a_refusal_says_what_to_do_and_keeps_the_words(house, open_tab, status, said, advice):
    page = open_tab(house)
    page.route(
        "**/api/chat/start",
        lambda route: route.fulfill(status=status, json={"error": said}),
        times=1,
    )
    send(page, "my words", accepted=False)
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.get_by_role("alert")).to_contain_text(advice)
    expect(page.get_by_label("Message", exact=True)).to_have_value("my words")


def test_a_link_to_nothing_says_so(house, open_tab):
    page = open_tab(house, "/session/000000000000")
    expect(page.get_by_role("alert")).to_contain_text("no such chat")
    expect(page).to_have_url(re.compile("/$"))


def test_what_is_written_before_the_page_is_ready_stays(house, open_tab):
    session_id = house.new()
    house.told(session_id, "hello", "hi")
    beside = open_tab(house)

    def write_first(route):
        tab = route.request.frame.page
        tab.get_by_label("Message", exact=True).fill("early words")
        route.continue_()

    for path in ("/", f"/session/{session_id}"):
        beside.context.route("**/js/main.js", write_first, times=1)
        page = open_tab(house, path, beside=beside)
        expect(page.locator("#list a").first).to_be_visible()
        field = page.get_by_label("Message", exact=True)
        expect(field).to_have_value("early words")
        field.press("Enter")
        house.next_turn().answer("yes")
        wait_done(page)
        expect(field).to_have_value("")
        assert said(page)[-1] == "early words"
