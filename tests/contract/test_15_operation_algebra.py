"""Op algebra: undo and retry remove exactly what follows from the last user row on, and N at once
do what N in turn do; what cannot be an id never reaches the file system; an import is always a new
session; what goes out of a session comes back in. After a refusal nothing has changed.
"""

import json
from random import Random

import pytest
import trio

from tests.contract.house import contents

NOTHING = {"undo": "Nothing to undo.", "retry": "No previous message to retry."}
GETS = [
    *(f"/api/session{name}" for name in ("", "/status", "/usage", "/draft", "/export", "/queue")),
    *(f"/api/session/{name}" for name in ("lineage/report", "resolve", "compress/status")),
    *("/api/session/stream", "/api/background/status", "/api/session/export?format=html"),
]
PLAIN = ("archive", "branch", "clear", "compress", "compress/start", "duplicate", "move", "pin")
PLAIN += ("retry", "undo", "title/regenerate")
POSTS = {f"/api/session/{name}": {} for name in PLAIN} | {
    "/api/chat/start": {"message": "x"},
    "/api/btw": {"question": "x"},
    "/api/background": {"prompt": "x"},
    "/api/personality/set": {"name": "none"},
    "/api/session/draft": {"text": "x"},
    "/api/session/queue/edit": {"id": "x", "message": "x"},
    "/api/session/queue/remove": {"id": "x"},
    "/api/session/rename": {"title": "x"},
    "/api/session/toolsets": {"toolsets": []},
    "/api/session/truncate": {"keep_count": 0},
    "/api/session/update": {"model": "x"},
}
NO_IDS = [
    "..",
    ".",
    "../secret",
    "a.b",
    "b1.json",
    "sub/x",
    "/b1",
    "sub/../b1",
    "b1\0",
    "\0",
    " b1",
]
NO_IDS += ["_hidden", "_index", "é", "%2e%2e/secret", "..\\secret", "b1\n", "x" * 10_000]
DECOYS = ["secret", "sessions/a.b", "sessions/sub/x", "sessions/_hidden", "sessions/é"]


def user(text, **more):
    return {"role": "user", "content": text, **more}


def reply(text, **more):
    return {"role": "assistant", "content": text, **more}


TALK = [user("one"), reply("1"), user("two"), reply("2"), user("three"), reply("3")]


def card(at, name="look"):
    return {"name": name, "snippet": "seen", "tid": "t", "assistant_msg_idx": at, "args": {}}


async def imported(house, rows, **fields) -> str:
    made = await house.post("/api/session/import", messages=rows, **fields)
    assert made.status_code == 200, made.text
    return made.json()["session"]["session_id"]


def said(answer) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("error")


def tree(house) -> dict[str, bytes]:
    """All files that requests could have touched."""
    paths = house.data_dir.rglob("*.json*")
    paths = [path for path in paths if not path.name.startswith("_index.json")]
    return {str(path.relative_to(house.data_dir)): path.read_bytes() for path in paths}


async def at_once(count, call):
    answers = []

    async def keep(n):
        answers.append(await call(n))

    async with trio.open_nursery() as nursery:
        for n in range(count):
            nursery.start_soon(keep, n)
    return answers


@pytest.mark.parametrize("seed", [f"seed {n}" for n in range(2)])
async def test_undo_and_retry_remove_what_follows_from_the_last_user_row_on(house, seed):
    random = Random(seed)
    kinds = [user, user, reply, lambda text: {"role": "tool", "content": text}]
    async with house.up():
        for _ in range(6):
            rows = [random.choice(kinds)(f"{n} " * random.randrange(40)) for n in range(9)]
            cards = [card(random.randrange(9)) for _ in range(3)]
            session_id = await imported(house, rows, tool_calls=cards)
            while starts := [n for n, row in enumerate(rows) if row["role"] == "user"]:
                name = random.choice(["undo", "retry"])
                answer = await house.post(f"/api/session/{name}", session_id=session_id)
                removed, rows = rows[starts[-1] :], rows[: starts[-1]]
                text = removed[0]["content"]
                shown = {"removed_preview": text[:40] + "..." * (len(text) > 40)}
                told = shown if name == "undo" else {"last_user_text": text}
                assert answer.json() == {"ok": True, "removed_count": len(removed), **told}
                assert await house.rows(session_id) == rows
                record = house.record(session_id)
                assert record["messages"] == rows
                assert record["tool_calls"] == [
                    c for c in cards if c["assistant_msg_idx"] < len(rows)
                ]
            for name, text in NOTHING.items():
                answer = await house.post(f"/api/session/{name}", session_id=session_id)
                assert said(answer) == (200, text)
            assert house.record(session_id)["messages"] == rows


async def test_many_at_once_do_what_as_many_in_turn_do(house):
    async with house.up():
        session_id = await imported(house, TALK)

        async def remove(n):
            name = ("undo", "retry")[n % 2]
            return name, (await house.post(f"/api/session/{name}", session_id=session_id)).json()

        answers = await at_once(8, remove)
        done = [answer for _, answer in answers if answer.get("ok")]
        texts = [answer.get("last_user_text") or answer["removed_preview"] for answer in done]
        assert sorted(texts) == ["one", "three", "two"]
        assert [answer["removed_count"] for answer in done] == [2, 2, 2]
        refused = [(name, answer) for name, answer in answers if not answer.get("ok")]
        assert all(answer == {"error": NOTHING[name]} for name, answer in refused)
        assert await house.rows(session_id) == house.record(session_id)["messages"] == []


async def test_every_endpoint_says_404_of_a_session_that_is_not_there(house):
    async with house.up() as client:
        before = tree(house)
        for path in GETS:
            answer = await client.http.get(path, params={"session_id": "nobody"})
            assert said(answer) == (404, "Session not found"), path
            answer = await client.http.get(path.partition("?")[0])
            assert answer.status_code == 400, path
            assert "session_id" in answer.json()["error"]
        for path, body in POSTS.items():
            answer = await house.post(path, session_id="nobody", **body)
            assert said(answer) == (404, "Session not found"), path
            for none in ({}, {"session_id": None}, {"session_id": ""}):
                answer = await house.post(path, **none, **body)
                assert said(answer) == (400, "Missing required field(s): session_id"), path
            for wrong in (5, [], {}, True):
                answer = await house.post(path, session_id=wrong, **body)
                assert answer.status_code == 400, path
        steered = (await house.post("/api/chat/steer", session_id="nobody", text="x")).json()
        assert (steered["accepted"], steered["fallback"]) == (False, "session_not_found")
        assert (await house.post("/api/session/delete", session_id="nobody")).json()["ok"]
        assert tree(house) == before


async def test_what_cannot_be_an_id_never_reaches_the_file_system(house):
    (house.sessions / "sub").mkdir(parents=True)
    for decoy in [*DECOYS, "sessions/b1"]:
        (house.data_dir / f"{decoy}.json").write_text(json.dumps({"messages": TALK}))
    async with house.up() as client:
        before = tree(house)
        for bad in NO_IDS:
            for path in GETS:
                answer = await client.http.get(path, params={"session_id": bad})
                assert answer.status_code == 404, (path, bad)
            for path, body in POSTS.items():
                answer = await house.post(path, session_id=bad, **body)
                assert said(answer) == (404, "Session not found"), (path, bad)
            answer = await house.post("/api/session/delete", session_id=bad)
            assert said(answer) == (400, "Invalid session_id"), bad
            answer = await house.post("/api/chat/steer", session_id=bad, text="x")
            assert answer.json()["fallback"] == "session_not_found"
            for path in ("/api/chat/stream", "/api/chat/stream/status", "/api/chat/cancel"):
                answer = await client.http.get(path, params={"stream_id": bad})
                assert answer.status_code == (404 if path == "/api/chat/stream" else 200)
        assert [row["session_id"] for row in await house.listed()] == ["b1"]
        assert tree(house) == before


async def test_an_import_is_always_a_new_session_with_all_that_was_said(house):
    rows = [
        user("hi", timestamp=1, id="m1", _odd={"x": [None]}),
        reply("yo", tool_calls=[{"id": 1}]),
    ]
    async with house.up() as client:
        given = {"title": "  Mine ", "tool_calls": [card(1)], "model": "m", "pinned": True}
        first = await imported(house, rows, **given)
        before = house.record(first)
        for name in (first, "../secret", "a" * 12, 7):
            again = await imported(house, rows, **given, session_id=name)
            assert again not in (first, name)
            session = await client.session(again)
            assert (session["messages"], session["tool_calls"]) == (rows, [card(1)])
            assert (session["title"], session["model"], session["pinned"]) == ("Mine", "m", True)
            await house.post("/api/session/pin", session_id=again, pinned=False)
        plain = await client.session(await imported(house, [], title=None, tool_calls=None))
        assert (plain["title"], plain["messages"]) == ("Imported session", [])
        assert house.record(first) == before
        held = tree(house)
        for body in (b"", b"{}", b"[]", b"{", b'{"messages": {}}', b'{"messages": [1]}'):
            assert (await client.http.post("/api/session/import", content=body)).status_code == 400
        assert tree(house) == held


async def test_a_body_that_is_nested_too_deep_is_the_senders_mistake(house):
    async with house.up() as client:
        for path in ("/api/session/import", "/api/session/rename"):
            deep = b'{"messages": [{"x": ' + b"[" * 100_000
            assert (await client.http.post(path, content=deep)).status_code == 400, path


async def test_what_is_exported_is_the_file_and_comes_back_in(house):
    rows = [user("<b>1 & 2</b>", _odd=[1]), reply("so **be** it", reasoning="hm", timestamp=2.5)]
    async with house.up() as client:
        session_id = await imported(house, rows, title="In & out", tool_calls=[card(1)])
        query = {"session_id": session_id}
        export = await client.http.get("/api/session/export", params=query)
        attached = export.headers["Content-Disposition"]
        assert attached == f'attachment; filename="hermes-{session_id}.json"'
        assert export.json() == house.record(session_id)
        back = await client.http.post("/api/session/import", content=export.content)
        copy = house.record(back.json()["session"]["session_id"])
        assert copy["session_id"] != session_id
        for name in ("title", "messages", "tool_calls", "context_messages", "model"):
            assert copy[name] == house.record(session_id)[name]
        page = await client.http.get("/api/session/export", params=query | {"format": "html"})
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "In &amp; out" in page.text
        assert "&lt;b&gt;1 &amp; 2&lt;/b&gt;" in page.text
        assert "<strong>be</strong>" in page.text
        wrong = await client.http.get("/api/session/export", params=query | {"format": "pdf"})
        assert wrong.status_code == 400


async def test_a_branch_keeps_what_it_is_told_and_leaves_its_origin_alone(house):
    async with house.up() as client:
        cards = [card(1), card(3), card(5)]
        origin = await imported(house, TALK, title="T", tool_calls=cards, pinned=True)
        before = tree(house)
        for keep in (None, *range(8), 10**9):
            body = {} if keep is None else {"keep_count": keep}
            made = (await house.post("/api/session/branch", session_id=origin, **body)).json()
            assert (made["title"], made["parent_session_id"]) == ("T (fork)", origin)
            session = await client.session(made["session_id"])
            count = 6 if keep is None else keep
            assert session["messages"] == TALK[:count]
            assert session["tool_calls"] == [c for c in cards if c["assistant_msg_idx"] < count]
            assert (session["session_source"], session["pinned"]) == ("fork", False)
            assert (f"{made['session_id']}.json" in house.files()) is (keep != 0)
        title = f"  {'x' * 90} "
        made = await house.post("/api/session/branch", session_id=origin, title=title)
        assert made.json()["title"] == "x" * 80
        made = (await house.post("/api/session/duplicate", session_id=origin)).json()["session"]
        assert (made["title"], made["messages"]) == ("T (copy)", TALK)
        assert (made["pinned"], made["archived"]) == (False, False)
        assert made["tool_calls"] == house.record(made["session_id"])["tool_calls"] == cards
        assert tree(house).items() >= before.items()


async def test_truncate_keeps_what_it_is_told_and_refuses_what_is_no_count(house):
    async with house.up():
        session_id = await imported(house, TALK)
        held = tree(house)
        for path in ("/api/session/truncate", "/api/session/branch"):
            for bad in ("x", "2", 1.5, 2.0, True, [], -1):
                answer = await house.post(path, session_id=session_id, keep_count=bad)
                kind = "non-negative" if bad == -1 else "an integer"
                assert said(answer) == (400, f"keep_count must be {kind}"), bad
        for none in ({}, {"keep_count": None}):
            answer = await house.post("/api/session/truncate", session_id=session_id, **none)
            assert said(answer) == (400, "Missing required field(s): keep_count")
        assert tree(house) == held
        for keep in (10**9, 6, 5, 5, 3, 0, 0):
            answer = await house.post(
                "/api/session/truncate", session_id=session_id, keep_count=keep
            )
            assert answer.json()["session"]["messages"] == TALK[:keep]
            assert house.record(session_id)["messages"] == TALK[:keep]


ODD = [None, "x", {}, [], 1.5, True]


async def test_what_an_import_brings_along_breaks_no_operation(house, subtests):
    async with house.up() as client:
        for odd in ODD:
            rows = [
                reply("0", timestamp=odd),
                user(odd, attachments=odd),
                {"role": odd, "_ts": odd},
            ]
            rows += [user("one", timestamp=odd), reply("1", tool_calls=odd, _error=odd)]
            cards = [{"assistant_msg_idx": odd}, {"name": odd}, card(1)]
            session_id = await imported(house, rows, tool_calls=cards)
            for path in ("export", "export?format=html", "branch", "undo", "retry"):
                with subtests.test(path, odd=odd):
                    url, body = f"/api/session/{path}", {"session_id": session_id}
                    if "export" in path:
                        answer = await client.http.get(url, params=body)
                    else:
                        answer = await house.post(url, **body, keep_count=1)
                    assert answer.status_code == 200, answer.text


async def test_a_waiting_message_is_edited_or_taken_back(house):
    async with house.up() as client:
        session_id = await client.new()
        stream_id, turn = await house.talk(session_id, "first")
        queued = [await house.start(session_id, text, if_busy="queue") for text in ("two", "three")]
        two, three = (answer.json()["stream_id"] for answer in queued)

        async def of_queue(name, **body):
            return await house.post(f"/api/session/queue/{name}", session_id=session_id, **body)

        held = house.record(session_id)
        for body, status in (
            ({"id": two, "message": " "}, 400),
            ({"id": two, "message": ""}, 400),
            ({"message": "x"}, 400),
            ({"id": stream_id, "message": "x"}, 404),
            ({"id": "nobody", "message": "x"}, 404),
        ):
            assert (await of_queue("edit", **body)).status_code == status, body
        assert (await of_queue("remove", id=stream_id)).status_code == 404
        assert house.record(session_id) == held
        left = (await of_queue("remove", id=three)).json()["queue"]
        assert [row["id"] for row in left] == [two]
        assert [event.name for event in await client.events(three)][-1] == "cancel"
        left = (await of_queue("edit", id=two, message="TWO")).json()["queue"]
        assert [row["message"] for row in left] == ["TWO"]
        assert (await client.get("/api/session/queue", session_id=session_id))["queue"] == left
        await turn.answer("1")
        await (await house.upstream.next_turn()).answer("2")
        await client.events(two)
        expected = [("user", "first"), ("assistant", "1"), ("user", "TWO"), ("assistant", "2")]
        assert contents(await house.rows(session_id)) == expected
        assert (await of_queue("edit", id=two, message="late")).status_code == 404


async def test_a_draft_is_kept_as_it_is_and_moves_nothing(house):
    path = "/api/session/draft"
    async with house.up() as client:
        session_id = await imported(house, TALK)
        before = house.record(session_id)
        assert (await client.get(path, session_id=session_id))["draft"] == before["composer_draft"]
        draft = {"text": "un\nsent", "files": [{"name": "a"}, "b"]}
        for told in ({}, {"unchanged": True}):
            kept = await client.post(path, session_id=session_id, **draft)
            assert kept == {"ok": True, "draft": draft, **told}
        assert house.record(session_id) == before | {"composer_draft": draft}
        for wrong in ({"text": 5}, {"files": "x"}):
            answer = await house.post(path, session_id=session_id, **wrong)
            assert answer.status_code == 400, wrong
        await house.kill()
    async with house.up() as client:
        assert (await client.get(path, session_id=session_id))["draft"] == draft
        long = {"text": "x" * 50_001, "files": list(range(51))}
        kept = (await client.post(path, session_id=session_id, **long))["draft"]
        assert (len(kept["text"]), len(kept["files"])) == (50_000, 50)
        assert (await client.post(path, session_id=session_id))["draft"] == {
            "text": "",
            "files": [],
        }


async def test_a_cleanup_takes_what_nobody_would_miss(house):
    async with house.up() as client:
        empty = {"title": "Untitled"}
        gone = [await imported(house, [], **empty) for _ in range(2)]
        titled = await imported(house, [], title="Mine")
        drafted, talked = await imported(house, [], **empty), await imported(house, TALK, **empty)
        await house.post("/api/session/draft", session_id=drafted, text="unsent")
        _, turn = await house.talk(asked := await client.new(), "first words")
        for path, more in (("cleanup", gone), ("cleanup_zero_message", [titled]), ("cleanup", [])):
            cleaned = await client.post(f"/api/sessions/{path}")
            assert cleaned == {"ok": True, "cleaned": len(more)}
            assert not {f"{each}.json" for each in more} & house.files()
        assert {f"{each}.json" for each in (drafted, talked, asked)} <= house.files()
        await turn.answer("done")


async def test_a_title_is_stripped_and_cut_and_must_be_given(house):
    async with house.up() as client:
        session_id = await imported(house, TALK)
        for given, kept in (
            ("  a  b ", "a  b"),
            ("x" * 81, "x" * 80),
            (f"  {'é' * 80}  ", "é" * 80),
            (" \t\n", "Untitled"),
        ):
            named = await client.post("/api/session/rename", session_id=session_id, title=given)
            assert named.keys() == {"session"}
            assert named["session"]["title"] == kept == house.record(session_id)["title"]
        held = tree(house)
        for none in ({"title": ""}, {"title": None}, {}):
            answer = await house.post("/api/session/rename", session_id=session_id, **none)
            assert said(answer) == (400, "Missing required field(s): title")
        assert (await house.post("/api/session/rename", session_id=session_id, title=5)).is_error
        assert tree(house) == held
