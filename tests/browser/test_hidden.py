"""A tab that nobody looks at gives its connection back: a browser has six for all of them."""

from playwright.sync_api import expect

from tests.browser.acts import answers, send, shown_answer, wait_done

HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_tab_has_no_connection_and_goes_on_when_it_is_looked_at(house, open_tab):
    page = open_tab(house)
    page.clock.install()
    page.reload()
    send(page, "hello")
    turn = house.next_turn()
    turn.say("one ")
    shown_answer(page, "one")
    with page.expect_event("requestfailed", lambda request: "/api/tab/events" in request.url):
        page.evaluate(HIDE, True)
        page.clock.fast_forward(11_000)
    turn.say("two ")
    page.clock.fast_forward(600_000)
    with page.expect_request("**/api/tab/events?*"):
        page.evaluate(HIDE, False)
    shown_answer(page, "one two")
    turn.say("three")
    turn.finish()
    wait_done(page)
    assert answers(page) == ["one two three"]
    expect(page.locator("#connection")).to_be_hidden()
