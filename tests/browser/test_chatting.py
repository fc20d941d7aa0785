"""What one does in a chat: write, read, stop, take back, try again."""

import json

from playwright.sync_api import expect

from tests.browser.acts import answers, menu, said, send, shown_answer, wait_done

KEY = "sk-proj-abcdefghij0123456789ABCDEF"

MARKDOWN = """A **bold** word and `code`.

```python
def add(a, b):
    return a + b
```

- one
- two
"""


def test_the_first_run_explains_itself_and_the_first_message_makes_a_chat(stage, open_tab):
    stage.start()
    page = open_tab(stage)
    expect(page.get_by_role("heading", name="Welcome to Greenroom")).to_be_visible()
    expect(page.get_by_text("puppet answers")).to_be_visible()
    page.get_by_role("button", name="Change it", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("greenroom --agent local")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Change it", exact=True)).to_be_focused()
    page.get_by_role("button", name="What makes a good commit message?").click()
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    stage.next_turn().answer("One that says why.")
    shown_answer(page, "One that says why.")
    assert "/session/" in page.url
    expect(page.locator("#list a")).to_have_count(1)
    expect(page.locator("#welcome")).to_be_hidden()


def test_markdown_code_tools_reasoning_and_what_it_took(house, open_tab):
    page = open_tab(house)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    send(page, "show me")
    turn = house.next_turn()
    expect(page.get_by_text("Waiting for the answer")).to_be_visible()
    turn.reason("I think, so I fold.")
    turn.say(MARKDOWN)
    turn.finish()
    wait_done(page)
    answer = page.locator("li.answer")
    expect(answer.locator("strong")).to_have_text("bold")
    expect(answer.locator("li")).to_have_text(["one", "two"])
    expect(answer.locator(".hljs-keyword").first).to_have_text("def")
    expect(answer.get_by_text("I think, so I fold.")).to_be_hidden()
    answer.get_by_text("Reasoning").click()
    expect(answer.get_by_text("I think, so I fold.")).to_be_visible()
    answer.get_by_role("button", name="Copy python code").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == "def add(a, b):\n    return a + b"
    expect(answer.locator(".facts")).to_contain_text("7 tokens in, 3 tokens out")
    page.reload()
    expect(page.locator("li.answer .facts")).to_contain_text("s · 7 tokens in, 3 tokens out")


def test_a_tool_is_a_card(stage, open_tab):
    stage.start(AGENT="demo")
    page = open_tab(stage)
    send(page, "count these words")
    wait_done(page)
    card = page.locator("details.tool")
    expect(card.locator("summary")).to_contain_text("count_words")
    card.locator("summary").click()
    expect(card.locator("pre").first).to_contain_text('"text": "count these words"')
    expect(card.locator("pre").last).to_have_text("3")


def test_stop_keeps_what_was_written_and_escape_is_stop(house, open_tab):
    page = open_tab(house)
    for how in (
        lambda: page.get_by_role("button", name="Stop").click(),
        lambda: page.keyboard.press("Escape"),
    ):
        send(page, "talk")
        turn = house.next_turn()
        turn.say("so far and")
        shown_answer(page, "so far and")
        how()
        turn.wait_closed()
        wait_done(page)
        expect(page.locator(".note").last).to_contain_text("Stopped by you")
    assert answers(page) == ["so far and", "so far and"]
    expect(page.get_by_label("Message", exact=True)).to_be_focused()


def test_undo_try_again_and_edit(house, open_tab):
    page = open_tab(house)
    send(page, "first")
    house.next_turn().answer("one")
    wait_done(page)
    send(page, "second")
    house.next_turn().answer("two")
    wait_done(page)

    page.get_by_role("button", name="Try again").click()
    turn = house.next_turn()
    assert turn.prompts == ["first", "one", "second"]
    turn.answer("two again")
    shown_answer(page, "two again")
    wait_done(page)

    menu(page, "Undo the last exchange")
    expect(page.locator("#transcript > li")).to_have_count(2)
    assert said(page) == ["first"]

    page.locator("li.user").hover()
    page.get_by_role("button", name="Edit and send again").click()
    field = page.get_by_label("Edited message")
    expect(field).to_be_focused()
    field.fill("first, but better")
    page.keyboard.press("Enter")
    turn = house.next_turn()
    assert turn.prompts == ["first, but better"]
    turn.answer("better")
    shown_answer(page, "better")
    wait_done(page)
    assert said(page) == ["first, but better"]


def test_a_branch_is_a_chat_of_its_own(house, open_tab):
    page = open_tab(house)
    send(page, "root")
    house.next_turn().answer("stem")
    wait_done(page)
    first = page.url
    send(page, "more")
    house.next_turn().answer("leaf")
    wait_done(page)
    page.locator("li.answer").first.get_by_role("button", name="Branch").click()
    expect(page).not_to_have_url(first)
    expect(page.locator("li.answer")).to_have_count(1)
    assert answers(page) == ["stem"]
    page.go_back()
    expect(page).to_have_url(first)
    expect(page.locator("li.answer")).to_have_count(2)


def test_rename_duplicate_and_delete_with_the_focus_kept(house, open_tab):
    page = open_tab(house)
    send(page, "name me")
    house.next_turn().answer("yes")
    wait_done(page)
    menu(page, "Rename")
    page.get_by_label("Title").fill("A name of mine")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("A name of mine")
    expect(page.get_by_role("button", name="Actions for this chat")).to_be_focused()
    expect(page.locator("#list a[aria-current=page]")).to_have_text("A name of mine")
    menu(page, "Duplicate")
    expect(page.get_by_role("heading", level=1)).to_have_text("A name of mine (copy)")
    menu(page, "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("A name of mine (copy)")
    menu(page, "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    expect(page.locator("#list").get_by_text("A name of mine (copy)")).to_have_count(0)
    expect(page.get_by_label("Message", exact=True)).to_be_focused()


def test_what_is_exported_comes_back_when_it_is_dropped(house, open_tab, tmp_path):
    page = open_tab(house)
    send(page, "keep this")
    house.next_turn().answer("kept")
    wait_done(page)
    first = page.url
    with page.expect_download() as download:
        menu(page, "Export as JSON")
    text = download.value.path().read_text()
    assert json.loads(text)["messages"][0]["content"] == "keep this"
    drop(page, "chat.json", text)
    expect(page).not_to_have_url(first)
    shown_answer(page, "kept")
    assert said(page) == ["keep this"]


def drop(page, name, text):
    page.evaluate(
        """([name, text]) => {
            const data = new DataTransfer();
            data.items.add(new File([text], name));
            for (const type of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(
                    new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        [name, text],
    )


def test_a_text_file_goes_with_the_message_and_the_agent_reads_it(house, open_tab):
    page = open_tab(house)
    page.set_input_files(
        "#files",
        [
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"the secret is 42"},
            {"name": "empty.txt", "mimeType": "text/plain", "buffer": b""},
            {"name": "tune.bin", "mimeType": "audio/ogg", "buffer": b"OggS\x00\xff"},
            {"name": "photo.png", "mimeType": "image/png", "buffer": b"\x89PNG" * 100_000},
        ],
    )
    alerts = page.get_by_role("alert")
    expect(alerts.first).to_contain_text("tune.bin is not a text file")
    expect(alerts.last).to_contain_text("photo.png is a picture, and the agent reads text only")
    expect(page.locator("#attached .file")).to_have_text(["notes.txt16 B", "empty.txt0 B"])
    page.get_by_role("button", name="Take away empty.txt").click()
    send(page, "what is the secret?")
    turn = house.next_turn()
    assert "the secret is 42" in turn.prompts[0]
    turn.answer("42")
    wait_done(page)
    expect(page.locator("li.user .file")).to_contain_text("notes.txt")
    expect(page.locator("#attached li")).to_have_count(0)


def test_each_chat_has_its_draft_and_so_has_the_one_that_is_not_there_yet(house, open_tab):
    page = open_tab(house)
    field = page.get_by_label("Message", exact=True)
    send(page, "chat with a draft")
    house.next_turn().answer("yes")
    wait_done(page)
    chat = page.url
    with page.expect_response("**/api/session/draft"):
        field.fill("half a thou")
    page.get_by_role("button", name="New chat").first.click()
    expect(field).to_have_value("")
    field.fill("a new idea")
    page.locator(f"#list a[href='{chat.removeprefix(house.url)}']").click()
    expect(field).to_have_value("half a thou")
    other = open_tab(house, chat.removeprefix(house.url))
    expect(other.get_by_label("Message", exact=True)).to_have_value("half a thou")
    page.goto(house.url)
    expect(field).to_have_value("a new idea")


def test_a_key_in_a_draft_is_still_that_key_after_a_reload(house, open_tab):
    page = open_tab(house, f"/session/{house.new()}")
    field = page.get_by_label("Message", exact=True)
    with page.expect_response("**/api/session/draft"):
        field.fill(f"my key is {KEY}")
    expect(
        open_tab(house, page.url.removeprefix(house.url)).get_by_label("Message", exact=True)
    ).to_have_value(f"my key is {KEY}")


def test_who_edits_a_marked_secret_that_waits_is_told_to_write_it_again(house, open_tab):
    page = open_tab(house)
    send(page, "first")
    turn = house.next_turn()
    send(page, f"my key is {KEY}")
    waiting = page.locator("#queue li")
    expect(waiting).to_contain_text("my key is [secret]")
    waiting.get_by_role("button", name="Edit").click()
    field = page.get_by_role("textbox", name="Waiting message")
    expect(field).to_have_accessible_description("Write the secret again where it says [secret].")
    field.fill("no key")
    page.keyboard.press("Enter")
    expect(waiting).to_contain_text("no key")
    waiting.get_by_role("button", name="Edit").click()
    expect(field).to_have_accessible_description("")
    page.keyboard.press("Escape")
    turn.answer("one")
    house.next_turn().answer("two")
    wait_done(page)


def test_a_message_that_was_removed_while_another_is_edited_is_gone(house, open_tab):
    page = open_tab(house)
    send(page, "first")
    turn = house.next_turn()
    for n, text in enumerate(("second", "third"), 1):
        send(page, text)
        expect(page.locator("#queue li")).to_have_count(n)
    page.locator("#queue li").first.get_by_role("button", name="Edit").click()
    with page.expect_response("**/queue/remove"):
        page.locator("#queue li").last.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#queue li")).to_have_count(1)
    expect(page.locator("#queue li")).to_contain_text("second")
    turn.answer("one")
    house.next_turn().answer("two")
    wait_done(page)


def test_what_was_written_in_a_message_that_waits_no_more_is_kept(house, open_tab):
    page = open_tab(house)
    send(page, "first")
    turn = house.next_turn()
    send(page, "second")
    page.locator("#queue").get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Waiting message").fill("second, better")
    turn.answer("one")
    house.next_turn().answer("two")
    shown_answer(page, "two")
    wait_done(page)
    expect(page.get_by_label("Message", exact=True)).to_have_value("second, better")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    expect(page.locator(".toast")).to_contain_text("What you wrote is in the field")
    assert said(page) == ["first", "second"]


def test_what_waits_can_be_edited_and_taken_back(house, open_tab):
    page = open_tab(house)
    send(page, "first")
    turn = house.next_turn()
    turn.say("working")
    shown_answer(page, "working")
    for n, text in enumerate(("second", "third", "fourth"), 1):
        send(page, text)
        expect(page.locator("#queue li")).to_have_count(n)
    page.locator("#queue li").nth(1).get_by_role("button", name="Remove").click()
    expect(page.locator("#queue li")).to_have_count(2)
    page.locator("#queue li").first.get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Waiting message").fill("second, edited")
    page.keyboard.press("Enter")
    expect(page.locator("#queue li").first).to_contain_text("second, edited")
    turn.finish()
    turn = house.next_turn()
    assert turn.prompts[-1] == "second, edited"
    expect(page.locator("#queue li")).to_have_count(1)
    turn.answer("done two")
    house.next_turn().answer("done three")
    shown_answer(page, "done three")
    wait_done(page)
    assert said(page) == ["first", "second, edited", "fourth"]
    assert answers(page) == ["working", "done two", "done three"]


def test_ctrl_enter_stops_the_answer_and_sends_at_once(house, open_tab):
    page = open_tab(house)
    send(page, "first")
    house.next_turn().say("too long")
    shown_answer(page, "too long")
    page.get_by_label("Message", exact=True).fill("no, this")
    page.keyboard.press("Control+Enter")
    turn = house.next_turn()
    assert turn.prompts[-1] == "no, this"
    turn.answer("this")
    shown_answer(page, "this")
    wait_done(page)
    assert said(page) == ["first", "no, this"]


def test_after_a_compression_all_is_there_and_the_old_link_works(house, open_tab):
    session_id = house.new()
    for n in range(3):
        house.told(session_id, f"question {n}", f"answer {n}")
    page = open_tab(house, f"/session/{session_id}")
    shown_answer(page, "answer 2")
    menu(page, "Summarise for the model")
    turn = house.next_turn()
    turn.answer("They asked, I answered.")
    expect(page.locator("li.divider")).to_contain_text("works from a summary")
    page.get_by_text("The summary", exact=True).click()
    expect(page.get_by_text("They asked, I answered.")).to_be_visible()
    assert answers(page) == ["answer 0", "answer 1", "answer 2"]
    expect(page).not_to_have_url(f"{house.url}/session/{session_id}")
    send(page, "and now?")
    turn = house.next_turn()
    assert any("They asked, I answered." in prompt for prompt in turn.prompts)
    turn.answer("now this")
    wait_done(page)
    goes_on = page.url
    page.goto(f"{house.url}/session/{session_id}")
    expect(page).to_have_url(goes_on)
    shown_answer(page, "now this")


def test_an_error_says_what_to_do_and_trying_again_helps(house, open_tab):
    page = open_tab(house)
    send(page, "break")
    turn = house.next_turn()
    turn.say("I was ab")
    turn.hang_up()
    wait_done(page)
    note = page.locator(".note")
    expect(note).to_be_visible()
    assert answers(page)[0] == "I was ab"
    note.get_by_role("button", name="Try again").click()
    house.next_turn().answer("I was absent.")
    shown_answer(page, "I was absent.")
    wait_done(page)
    expect(note).to_have_count(0)


def test_it_follows_only_while_the_reader_is_at_the_end(house, open_tab):
    page = open_tab(house, height=500)
    send(page, "long")
    turn = house.next_turn()
    line = "A line that takes its place.\n\n"
    turn.say(line * 40)
    expect(page.locator(".prose p")).to_have_count(40)
    expect(page.locator(".prose p").last).to_be_in_viewport()
    page.locator("#scroll").hover()
    page.mouse.wheel(0, -600)
    latest = page.get_by_role("button", name="Latest")
    expect(latest).to_be_visible()
    before = page.evaluate("document.querySelector('#scroll').scrollTop")
    turn.say(line * 20)
    expect(page.locator(".prose p")).to_have_count(60)
    assert page.evaluate("document.querySelector('#scroll').scrollTop") == before
    latest.click()
    expect(page.locator(".prose p").last).to_be_in_viewport()
    turn.say(line * 20)
    expect(page.locator(".prose p")).to_have_count(80)
    expect(page.locator(".prose p").last).to_be_in_viewport()
    turn.finish()
    wait_done(page)
    expect(latest).to_be_hidden()


def test_a_long_transcript_comes_in_parts_and_stays_in_place(house, open_tab):
    rows = [
        {"role": role, "content": f"{role} {n}"}
        for n in range(150)
        for role in ("user", "assistant")
    ]
    session = house.post("/api/session/import", title="Long", messages=rows)["session"]
    page = open_tab(house, f"/session/{session['session_id']}")
    shown_answer(page, "assistant 149")
    assert len(said(page)) == 30
    expect(page.locator("li.answer").last).to_be_in_viewport()
    page.get_by_role("button", name="Show earlier messages").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#transcript .bubble").filter(has_text="user 90")).to_have_count(1)
    while page.locator("#earlier").is_visible():
        page.locator("#scroll").evaluate("node => node.scrollTop = 0")
        page.locator("#scroll").dispatch_event("scroll")
    assert said(page) == [f"user {n}" for n in range(150)]


def test_the_local_models_loading_is_a_progress_bar(house, open_tab):
    states = [
        {"state": "downloading", "progress": 0.42, "detail": "Downloading SmolLM2"},
        {"state": "failed", "progress": None, "detail": "There is no room on the disk."},
    ]
    page = open_tab(house)

    def health(route):
        now = states[0] if states else {"state": "ready", "progress": None, "detail": "It runs."}
        route.fulfill(json={"status": "ok", "agent": {"agent": "local", "model": "SmolLM2", **now}})

    page.route("**/health", health)
    page.reload()
    bar = page.get_by_role("progressbar", name="Downloading SmolLM2")
    expect(bar).to_have_attribute("value", "42")
    expect(page.locator("#loading")).to_contain_text("42 %")
    states.pop(0)
    expect(page.locator("#loading").get_by_role("alert")).to_contain_text("no room on the disk")
    states.pop(0)
    expect(page.locator("#loading")).to_be_hidden()
