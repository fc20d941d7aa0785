"""The way in and out, with the keyboard, and by screen reader."""

import re

import msgspec
import pytest
from playwright.sync_api import expect

from app.authority.gate import new_user
from app.authority.secrets import Passwords
from app.authority.users import change_users
from tests.browser.acts import answers, send, shown_answer, wait_done
from tests.browser.conftest import WIDTHS
from tests.browser.test_access import findings

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def password_hash():
    return Passwords().hash(PASSWORD)


@pytest.fixture
def closed(stage, password_hash):
    """A server that ann may use."""
    ann = new_user("ann", password_hash, admin=False)
    change_users(stage.directory, lambda users: users.add(ann))
    stage.start()
    return stage


def log_in(page, password=PASSWORD, *, name="ann"):
    expect(page.get_by_label("User")).to_be_focused()
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def test_in_with_the_keyboard_to_where_one_was_going_and_out_again(closed, open_tab, shoot):
    page = open_tab(closed, "/?a=1&b=2")
    expect(page).to_have_title("Log in · Greenroom")
    log_in(page)
    expect(page).to_have_url(closed.url + "/?a=1&b=2")
    expect(page.get_by_role("button", name="Account: ann")).to_be_visible()
    expect(page.locator("#welcome h2")).to_be_visible()
    send(page, "hello")
    closed.next_turn().answer("Hello, ann.")
    shown_answer(page, "Hello, ann.")
    page.get_by_label("Message", exact=True).fill("half a thought")
    page.reload()  # what was typed is sent while the page goes
    expect(page.get_by_label("Message", exact=True)).to_have_value("half a thought")
    page.wait_for_function(
        """async () => {
            const id = location.pathname.split("/").pop();
            const answer = await fetch(`/api/session/draft?session_id=${id}`);
            return (await answer.json()).draft.text === "half a thought";
        }"""
    )
    beside = open_tab(closed, beside=page)
    page.get_by_role("button", name="Account: ann").focus()
    page.keyboard.press("Enter")
    shoot(page, "account")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/login"))
    expect(beside.locator("#note")).to_contain_text("Your login has ended.")
    expect(page.locator("#note")).to_have_text("")
    stored = page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('draft'))")
    assert stored == []
    page.go_back()
    expect(page).to_have_url(re.compile("/login"))


def test_a_wrong_password_is_said_where_one_is(closed, open_tab, shoot):
    page = open_tab(closed)
    log_in(page, "wrong")
    expect(page.get_by_role("alert")).to_have_text("This is not the password of that user.")
    expect(page.get_by_label("User")).to_have_value("ann")
    shoot(page, "login-wrong")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Message", exact=True)).to_be_visible()


def test_a_login_that_ends_in_mid_answer_costs_no_word(closed, open_tab, shoot):
    page = open_tab(closed)
    log_in(page)
    expect(page.locator("#welcome h2")).to_be_visible()
    send(page, "question")
    turn = closed.next_turn()
    turn.say("One")
    shown_answer(page, "One")
    send(page, "this waits")
    field = page.get_by_label("Message", exact=True)
    field.fill("half a thought")
    page.get_by_role("button", name="Edit the waiting message “this waits”").click()
    page.get_by_role("textbox", name="Waiting message").fill("half an edit")
    inspector = open_tab(closed, "/inspector", beside=page)
    expect(inspector.locator("#state")).to_have_text("Live")
    change_users(closed.directory, lambda users: msgspec.structs.replace(users, logins=()))
    turn.say(" two")
    expect(inspector.locator("#note")).to_contain_text("Your login has ended.")
    note = page.locator("#note")
    expect(note).to_have_text("Your login has ended. Log in again, and go on where you were.")
    shoot(page, "login-ended")
    turn.say(" three")
    log_in(page)
    shown_answer(page, "One two three")
    expect(field).to_have_value("half a thought\n\nhalf an edit")
    turn.finish()
    closed.next_turn().answer("I waited")
    shown_answer(page, "I waited")
    wait_done(page)
    assert answers(page) == ["One two three", "I waited"]


def test_who_comes_next_does_not_see_what_was_being_written(closed, open_tab, password_hash):
    bob = new_user("bob", password_hash, admin=False)
    change_users(closed.directory, lambda users: users.add(bob))
    page = open_tab(closed)
    field = page.get_by_label("Message", exact=True)
    for name, seen in (("ann", ""), ("bob", ""), ("ann", "of ann"), ("bob", "of bob")):
        log_in(page, name=name)
        expect(page.locator("#welcome h2")).to_be_visible()
        expect(field).to_have_value(seen)
        field.fill(f"of {name}")
        page.context.clear_cookies()
        page.reload()


def test_what_is_written_into_the_form_is_text(closed, open_tab):
    page = open_tab(closed, '/login?next=/"><script>document.title="gone"</script>')
    log_in(page, "wrong", name='"><img src=x onerror=document.title="gone">')
    expect(page.get_by_role("alert")).not_to_be_empty()
    expect(page).to_have_title("Log in · Greenroom")
    expect(page.locator("main img")).to_have_count(1)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_serious(closed, open_tab, shoot, width, theme):
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    page = open_tab(closed, theme=theme, **size)
    assert findings(page) == []
    log_in(page, "wrong")
    expect(page.get_by_role("alert")).not_to_be_empty()
    assert findings(page) == []
    shoot(page, f"login-{width}-{theme}")
