"""What the page says when a limit is reached, and how it goes on."""

import re

from playwright.sync_api import expect

from tests.browser.acts import said, send, wait_done

TWO_ARE_OPEN = "2 tabs and streams are open, as many as may be; close one first"


def test_a_tab_too_many_says_so_and_connects_when_another_is_closed(stage, open_tab, shoot):
    stage.start(LIMITS="streams=2")
    one = open_tab(stage)
    expect(one.locator("#welcome h2")).to_be_visible()
    inspector = open_tab(stage, "/inspector", beside=one)
    expect(inspector.locator("#state")).to_have_text("Live")
    page, another = open_tab(stage, beside=one), open_tab(stage, "/inspector", beside=one)
    expect(page.locator("#connection")).to_contain_text(f"Not connected: {TWO_ARE_OPEN}.")
    expect(another.locator("#state")).to_have_text(f"Not connected: {TWO_ARE_OPEN}")
    shoot(page, "limit-of-streams")
    another.close()
    inspector.close()
    expect(page.locator("#connection")).to_be_hidden()


def test_a_turn_too_many_stays_in_the_field_and_what_was_said_of_it_goes(stage, open_tab):
    stage.start(LIMITS="turns=1")
    page = open_tab(stage)
    send(page, "first")
    turn = stage.next_turn()
    send(page, "second", accepted=False)
    refused = page.get_by_role("alert")
    text = "1 of your turns run or wait already, as many as may be; stop one first."
    expect(refused).to_have_text(text)
    turn.answer("yes")
    wait_done(page)
    page.get_by_label("Message", exact=True).press("Enter")
    stage.next_turn().answer("yes")
    expect(refused).to_have_count(0)
    wait_done(page)
    assert said(page) == ["first", "second"]


def test_when_the_tokens_of_a_day_are_used_it_says_until_when(stage, open_tab):
    stage.start(LIMITS="tokens=1")
    page = open_tab(stage)
    send(page, "first")
    stage.next_turn().answer("yes")
    wait_done(page)
    page.clock.set_fixed_time("2026-03-01T22:00:00Z")  # the server counts in seconds from its own
    send(page, "second", accepted=False)
    words = r"The 1 tokens of today are used up\. Try again at \w+ \d+, 2026, .+\.$"
    expect(page.get_by_role("alert")).to_have_text(re.compile(words))
