"""A disk that takes long to save, or is full: the page says why, and nothing gets lost."""

import pytest
from playwright.sync_api import expect

from tests.browser.acts import answers, said, send, shown_answer, wait_done
from tests.browser.stuck_disk_server import COMMAND, full_disk, stuck_disk

WAITS = "The server has been waiting for its disk"


@pytest.fixture
def stuck(stage):
    stage.start(COMMAND)
    return stage


def in_mid_answer(stuck, page):
    send(page, "question")
    turn = stuck.next_turn()
    turn.say("One")
    shown_answer(page, "One")
    return turn


def test_in_mid_answer_it_says_so_and_goes_on_when_the_disk_does(stuck, open_tab, shoot):
    page = open_tab(stuck)
    turn = in_mid_answer(stuck, page)
    with stuck_disk(stuck.directory):
        turn.say(" two")
        expect(page.locator("#disk")).to_contain_text(WAITS)
        expect(page.locator("#says")).to_contain_text(WAITS)
        assert answers(page) == ["One"]
        shoot(page, "stuck-disk")
    shown_answer(page, "One two")
    expect(page.locator("#disk")).to_be_hidden()
    turn.finish()
    wait_done(page)


def test_a_message_waits_in_its_field_and_is_sent_once(stuck, open_tab):
    page = open_tab(stuck)
    with stuck_disk(stuck.directory):
        send(page, "question", accepted=False)
        expect(page.locator("#disk")).to_contain_text(WAITS)
        expect(page.get_by_label("Message", exact=True)).to_have_value("question")
    stuck.next_turn().answer("answer")
    shown_answer(page, "answer")
    wait_done(page)
    expect(page.locator("#disk")).to_be_hidden()
    assert said(page) == ["question"]


def test_a_model_that_thinks_is_no_fault_of_the_disk(stuck, open_tab):
    page = open_tab(stuck)
    turn = in_mid_answer(stuck, page)
    for _ in range(2):  # because nothing comes
        with page.expect_response(f"{stuck.url}/health"):
            pass
    expect(page.locator("#disk")).to_be_hidden()
    turn.finish()
    wait_done(page)


def test_a_disk_that_fills_in_mid_answer_and_has_room_again(stuck, open_tab, shoot):
    page = open_tab(stuck)
    turn = in_mid_answer(stuck, page)
    note, field = page.locator(".note"), page.get_by_label("Message", exact=True)
    with full_disk(stuck.directory):
        turn.say(" two")
        expect(note).to_contain_text("The answer was cut short: There is no room left on the disk")
        expect(note).to_contain_text("saved as soon as the disk takes it")
        assert answers(page) == ["One two"]
        send(page, "are you there?", accepted=False)
        refused = page.get_by_role("alert")
        expect(refused).to_contain_text("There is no room left on the disk. Nothing was changed.")
        expect(refused).to_contain_text("Make room on the server's disk, then try again.")
        expect(field).to_have_value("are you there?")
        shoot(page, "full-disk")
    field.press("Enter")
    stuck.next_turn().answer("yes")
    wait_done(page)
    expect(refused).to_have_count(0)
    stuck.kill()
    stuck.start(COMMAND)
    page.reload()
    wait_done(page)
    assert said(page) == ["question", "are you there?"]
    assert answers(page) == ["One two", "yes"]
