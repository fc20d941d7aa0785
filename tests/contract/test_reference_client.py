"""What the existing browser client does with a server, request by request, as it was measured:
boot, open, send, a cut, stop, undo, retry, rename, delete, reload. No request is unknown to us, no
body lacks what the client reads, and after a cut no token is lost or doubled.
"""

import pytest
import trio

from tests.contract.house import contents

BOOT = [
    "/api/settings",
    "/api/profile/active",
    "/api/reasoning",
    "/api/workspaces",
    "/api/onboarding/status",
    "/api/projects",
    "/api/sessions",
    "/api/models",
    "/api/profiles",
]
ROW = [
    "session_id",
    "title",
    "workspace",
    "model",
    "model_provider",
    "message_count",
    "user_message_count",
    "created_at",
    "updated_at",
    "last_message_at",
    "pinned",
    "archived",
    "project_id",
    "profile",
    "input_tokens",
    "output_tokens",
    "estimated_cost",
    "is_streaming",
    "active_stream_id",
    "has_pending_user_message",
    "pending_started_at",
    "parent_session_id",
    "read_only",
    "source_tag",
    "raw_source",
    "session_source",
    "source_label",
    "is_cli_session",
    "personality",
    "context_length",
    "gateway_routing",
]
SESSION = [
    "session_id",
    "title",
    "messages",
    "tool_calls",
    "message_count",
    "active_stream_id",
    "pending_user_message",
    "pending_attachments",
    "pending_started_at",
    "pending_user_source",
    "composer_draft",
    "is_streaming",
    "_messages_truncated",
    "_messages_offset",
    "_msg_limit_max",
    "compression_anchor_visible_idx",
    "compression_anchor_summary",
    "context_length",
    "threshold_tokens",
    "last_prompt_tokens",
    "enabled_toolsets",
    "manual_title",
    "created_workspace",
    "cache_read_tokens",
    "cache_write_tokens",
]


async def open_session(house, session_id):
    """What the client asks for when a session is opened, or the page is reloaded on it."""
    client = house.client
    first = await client.get("/api/session", session_id=session_id, messages=0, resolve_model=0)
    whole = await client.get(
        "/api/session",
        session_id=session_id,
        messages=1,
        resolve_model=0,
        msg_limit=30,
        expand_renderable=1,
    )
    assert first["session"]["messages"] == []
    for path in ("/api/approval/pending", "/api/session/compress/status", "/api/session/yolo"):
        response = await client.http.get(path, params={"session_id": session_id})
        assert response.status_code == 200, path
    models = await client.http.get("/api/models", params={"freshness": "session_visit"})
    assert models.status_code == 200
    return whole["session"]


async def send(house, session_id, text):
    """A message from the composer: the draft is emptied, the turn started. Gives the answer."""
    client = house.client
    await client.post("/api/session/draft", session_id=session_id, text="", files=[])
    for path in ("/api/approval/pending", "/api/clarify/pending", "/api/session/yolo"):
        assert (await client.http.get(path, params={"session_id": session_id})).status_code == 200
    started = await client.post(
        "/api/chat/start",
        session_id=session_id,
        message=text,
        model=None,
        model_provider=None,
        workspace=None,
        profile="default",
        attachments=[],
        explicit_model_pick=False,
    )
    assert started["session_id"] == session_id
    assert {"stream_id", "pending_started_at", "turn_id", "title"} <= started.keys()
    return started["stream_id"]


async def test_the_boot_finds_everything_and_needs_no_second_look(house):
    async with house.up() as client:
        bodies = {}
        for path in BOOT:
            response = await client.http.get(path)
            assert response.status_code == 200, path
            assert "application/json" in response.headers["Content-Type"]
            bodies[path] = response.json()
        settings = bodies["/api/settings"]
        assert settings["onboarding_completed"] is True, "else a modal lies over the page"
        assert settings["check_for_updates"] is False
        assert settings["show_cli_sessions"] is False
        assert bodies["/api/sessions"]["sessions"] == []
        assert bodies["/api/projects"]["projects"] == []
        assert bodies["/api/models"]["groups"]
        page = await client.http.get("/session/abc")
        assert "text/html" in page.headers["Content-Type"]
        unknown = await client.http.get("/api/no/such/thing")
        assert (unknown.status_code, unknown.json()) == (404, {"error": "not found"})


async def test_a_first_message_and_what_the_list_and_the_session_say_of_it(house):
    async with house.up() as client:
        session_id = (await client.post("/api/session/new", workspace=None))["session"][
            "session_id"
        ]
        stream_id = await send(house, session_id, "What is a green room?")
        turn = await house.upstream.next_turn()
        (row,) = (await client.get("/api/sessions", exclude_hidden=1, sidebar_source="webui"))[
            "sessions"
        ]
        assert set(ROW) <= row.keys()
        assert row["is_streaming"] is True
        session = await open_session(house, session_id)
        assert set(SESSION) <= session.keys()
        assert session["messages"] == [], "the prompt is pending, not yet a row"
        assert session["pending_user_message"] == "What is a green room?"
        assert session["active_stream_id"] == stream_id
        await turn.answer("Where actors wait.")
        events = await client.events(stream_id)
        assert events[0].name == "context_status"
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        done = next(event.data for event in events if event.name == "done")
        assert contents(done["session"]["messages"])[-1] == ("assistant", "Where actors wait.")
        assert done["session"]["active_stream_id"] is None, "the client asks again at once"
        assert {"input_tokens", "output_tokens", "duration_seconds"} <= done["usage"].keys()
        session = await open_session(house, session_id)
        assert session["active_stream_id"] is session["pending_user_message"] is None


@pytest.mark.parametrize("killed", [False, True], ids=["the network", "the server"])
async def test_after_a_cut_the_client_goes_on_where_it_was(house, killed):
    """On an error it closes, asks for the stream's status, and comes back with its last number."""
    async with house.up() as client:
        session_id = await client.new()
        stream_id = await send(house, session_id, "count")
        turn = await house.upstream.next_turn()
        await turn.say("one ", "two ")
        last = await house.shown(stream_id, "two ")
        if killed:
            await house.kill()
        else:
            await turn.answer("three ")
            await come_back(house, session_id, stream_id, last, "three ", "stream_end")
    if killed:
        async with house.up():
            await come_back(house, session_id, stream_id, last, "", "apperror")


async def come_back(house, session_id, stream_id, last, missed, end):
    client = house.client
    status = await client.get("/api/chat/stream/status", stream_id=stream_id)
    assert status["active"] or status["replay_available"]
    assert status["journal"]["run_id"] == stream_id
    cursor = {"after_seq": last, "after_event_id": f"{stream_id}:{last}"}
    events = await client.events(stream_id, replay=1, **cursor)
    assert events[0].seq == last + 1
    assert "".join(event.data["text"] for event in events if event.name == "token") == missed
    assert events[-1].name == end
    said = contents(await house.rows(session_id))
    assert said[:2] == [("user", "count"), ("assistant", f"one two {missed}")]


async def test_stop_waits_for_the_streams_own_word(house):
    async with house.up() as client:
        session_id = await client.new()
        stream_id = await send(house, session_id, "hello")
        turn = await house.upstream.next_turn()
        await turn.say("half")
        events = []

        async def follow():
            events.extend(await client.events(stream_id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await house.shown(stream_id, "half")
            answer = await client.get("/api/chat/cancel", stream_id=stream_id)
            assert answer == {"ok": True, "cancelled": True, "stream_id": stream_id}
        cancel = events[-1]
        assert cancel.name == "cancel"
        assert cancel.data["type"] == cancel.data["status"] == "cancelled"
        assert cancel.data["session"]["active_stream_id"] is None
        assert cancel.seq == events[-2].seq + 1, "a number of its own"


async def test_undo_retry_rename_and_delete_as_the_client_does_them(house):
    async with house.up() as client:
        session_id = await client.new()
        for n in ("one", "two"):
            await house.answer_from(f"answer {n}", session_id, f"prompt {n}")
        undone = await client.post("/api/session/undo", session_id=session_id)
        assert undone == {"ok": True, "removed_count": 2, "removed_preview": "prompt two"}
        assert len((await open_session(house, session_id))["messages"]) == 2
        retried = await client.post("/api/session/retry", session_id=session_id)
        assert retried == {"ok": True, "last_user_text": "prompt one", "removed_count": 2}
        again = await send(house, session_id, retried["last_user_text"])
        await (await house.upstream.next_turn()).answer("answer three")
        await client.events(again)
        renamed = await client.post("/api/session/rename", session_id=session_id, title=" Mine ")
        assert renamed["session"]["title"] == "Mine"
        assert "ok" not in renamed
        deleted = await client.post("/api/session/delete", session_id=session_id)
        assert deleted == {"ok": True, "state_db_cleanup_failed": False}
        assert await house.listed() == []
        again = await client.post("/api/session/delete", session_id=session_id)
        assert again["ok"] is True


async def test_a_busy_session_gives_the_words_by_which_the_client_queues(house):
    async with house.up() as client:
        session_id = await client.new()
        stream_id = await send(house, session_id, "first")
        turn = await house.upstream.next_turn()
        busy = await house.start(session_id, "second")
        assert busy.status_code == 409
        assert busy.json()["error"] == "session already has an active stream"
        assert busy.json()["active_stream_id"] == stream_id
        await turn.answer("done")
        await client.events(stream_id)
        assert (await house.start(session_id, "second")).status_code == 200


async def test_its_own_page_is_served_with_its_marks_filled_in(house, tmp_path):
    page = tmp_path / "page"
    (page / "deep").mkdir(parents=True)
    (page / "index.html").write_text(
        "<p>__WEBUI_VERSION__ __MAX_UPLOAD_BYTES__ __CSRF_TOKEN_JSON__"
    )
    (page / "sw.js").write_text("const v = '__WEBUI_VERSION__';")
    (page / "ui.js").write_text("unchanged __WEBUI_VERSION__")
    (page / "deep" / "a.css").write_text("p {}")
    (page / "manifest.json").write_text("{}")
    (tmp_path / "secret").write_text("secret")
    async with house.up(PAGE_DIR=str(page)) as client:
        version = (await client.get("/api/settings"))["webui_version"]
        for path in ("/", "/index.html", "/session/abc"):
            answer = await client.http.get(path)
            assert answer.text == f'<p>{version} {20 * 1024 * 1024} ""'
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert (await client.http.get("/sw.js")).text == f"const v = '{version}';"
        asset = await client.http.get("/session/static/ui.js?v=1")
        assert asset.text == "unchanged __WEBUI_VERSION__"
        assert "immutable" in asset.headers["Cache-Control"]
        assert (await client.http.get("/static/ui.js")).headers["Cache-Control"] == "max-age=300"
        assert (await client.http.get("/static/deep/a.css")).status_code == 200
        assert (await client.http.get("/manifest.json")).status_code == 200
        for path in ("/favicon.ico", "/static/none.js", "/static/..%2Fsecret", "/static/../secret"):
            answer = await client.http.get(path)
            assert answer.status_code == 404, path
            assert answer.json() == {"error": "not found"}
