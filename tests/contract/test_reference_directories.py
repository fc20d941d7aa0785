"""A sessions directory as the reference system leaves it opens as it is, to be read and written:
records of three eras, its list, its debris. What we do not know in a record comes back with every
change; a backup is nobody's second truth; the turn of a dead process is recovered once.
"""

import json

import pytest

from actors.session.amendments import amended
from tests.contract.house import contents

STREAM = "0123456789abcdef0123456789abcdef"


def said(role, text, at, **more):
    return {"role": role, "content": text, "timestamp": at, **more}


def era_a(at=100, **fields):
    """April: the instance as it was, with what was private to it; whole seconds."""
    return {
        "session_id": "aaaaaaaaaaa1",
        "title": "Of April",
        "workspace": "/srv/a",
        "model": "model-a",
        "messages": [said("user", "hi a", at), said("assistant", "yo a", at, reasoning="hm")],
        "tool_calls": [],
        "created_at": at - 0.5,
        "updated_at": at + 0.5,
        "pinned": False,
        "archived": False,
        "project_id": None,
        "profile": None,
        "input_tokens": 12,
        "output_tokens": 3,
        "estimated_cost": None,
        "personality": None,
        "active_stream_id": None,
        "pending_user_message": None,
        "pending_attachments": [],
        "pending_started_at": None,
        "compression_anchor_visible_idx": None,
        "compression_anchor_message_key": None,
        "_loaded_from": "disk",
        "_lock_owner": None,
    } | fields


def era_m(at=200, **fields):
    """May: metadata first; the model has a history of its own; tool calls; a fork or a worktree."""
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    rows = [
        said("user", "look m", at, attachments=["a.txt"]),
        said("assistant", "", at, tool_calls=[call], _ts=at),
        {"role": "tool", "tool_call_id": "c1", "content": "seen", "timestamp": at},
        said("assistant", "it is m", at + 1, _turnDuration=1.5, _usedModel="model-m"),
        said("user", "and then?", at + 2),
        said("assistant", "**Error:** no", at + 3, _error=True, provider_details="x"),
    ]
    cards = [{"name": "look", "snippet": "seen", "tid": "c1", "assistant_msg_idx": 1, "args": {}}]
    cards += [{"name": "old", "snippet": "", "tid": "", "assistant_msg_idx": None, "args": None}]
    summary = {"role": "user", "content": "[summary of m]"}
    return {
        **era_a(at, session_id="mmmmmmmmmmm1", title="Of May", model="model-m"),
        "model_provider": "local",
        "llm_title_generated": True,
        "parent_session_id": None,
        "worktree_path": None,
        "is_cli_session": False,
        "source_tag": None,
        "raw_source": None,
        "session_source": None,
        "source_label": None,
        "enabled_toolsets": ["files"],
        "composer_draft": {"text": "unsent", "files": []},
        "context_length": 4096,
        "threshold_tokens": None,
        "last_prompt_tokens": 77,
        "compression_anchor_summary": "it was m",
        "compression_anchor_message_key": {"role": "user", "ts": at, "text": "look m"},
        "gateway_routing": {"route": ["x"]},
        "gateway_routing_history": [{"n": 1}],
        "messages": rows,
        "tool_calls": cards,
        "context_messages": [summary, *rows[3:]],
    } | fields


def era_h(at=300.25, **fields):
    """August: counters, engines, generations, scenes; ids of messages that both histories share."""
    rows = [
        said("user", "hi h", at, id="m1", _active_turn_token=f"{'e' * 32}:{at}", _source="webui"),
        said("assistant", "half", at + 0.5, id="m2", _partial=True, _partial_tool_calls=[{}]),
        said("assistant", "yo h", at + 1, id="m3", _turnTps=9.5, _firstTokenMs=12),
    ]
    return {
        **era_m(at, session_id="Hh-hhhhhhhh1", title="Of August", tool_calls=None),
        "created_workspace": "/srv/a",
        "model_explicit_pick_signature": "sig",
        "cache_read_tokens": 5,
        "cache_write_tokens": 6,
        "pending_user_source": None,
        "manual_title": True,
        "read_only": False,
        "compression_anchor_engine": "builtin",
        "context_engine_state": {"k": {"v": [1, None]}},
        "pre_compression_snapshot": False,
        "compression_recovery": {},
        "truncation_watermark": at,
        "truncation_boundary": at,
        "clear_generation": "c" * 32,
        "intentional_shrink_generation": None,
        "share_token": "token",
        "share_created_at": at,
        "process_wakeup_pause": None,
        "of_the_future": {"any": ["thing", 10**30, 0.1]},
        "message_count": 3,
        "anchor_scene_index": {"0": 1},
        "messages": rows,
        "anchor_activity_scenes": {"0": {"scene": 1}},
        "context_messages": [rows[0], rows[2]],
    } | fields


ERAS = {"A": era_a, "M": era_m, "H": era_h}
DERIVED = {"message_count", "anchor_scene_index"}


def put(house, record, *, backup=None):
    """As the reference saves: the record whole, and a longer one that it replaced beside it."""
    house.sessions.mkdir(parents=True, exist_ok=True)
    path = house.sessions / f"{record['session_id']}.json"
    path.write_text(json.dumps(record, ensure_ascii=False, indent=2), encoding="utf-8")
    if backup is not None:
        path.with_name(f"{path.name}.bak").write_text(json.dumps(backup))
    return record["session_id"]


APRIL = """session_id title workspace model created_at updated_at pinned archived project_id
profile input_tokens output_tokens estimated_cost personality"""
CONTENT = {"messages", "tool_calls", "context_messages", "anchor_activity_scenes"}


def put_index(house, *, april):
    """The list in the compact rows of an era, written after the records, as it always is."""
    rows = []
    for path in house.sessions.glob("[!_]*.json"):
        record = amended(path.read_bytes())
        row = {key: value for key, value in record.items() if key not in CONTENT}
        row["message_count"] = len(record["messages"])
        if april:
            row = {key: row[key] for key in (*APRIL.split(), "message_count")}
        else:
            said_at = [m["timestamp"] for m in record["messages"] if m["role"] != "tool"]
            last = (said_at or [record["updated_at"]])[-1]
            pending = record["pending_user_message"] is not None
            row["last_message_at"] = record["pending_started_at"] if pending else last
            row["has_pending_user_message"] = pending
            row["message_count"] = max(row["message_count"], pending)
        rows.append(row)
    rows.sort(key=lambda row: row["updated_at"], reverse=True)
    (house.sessions / "_index.json").write_text(json.dumps(rows))


def unlike(before, after) -> set[str]:
    """The fields that have changed or are gone. Null may have become what it stands for."""
    return {
        key
        for key, value in before.items()
        if key not in DERIVED
        and (key not in after or (after[key] != value and (value is not None or after[key])))
    }


@pytest.mark.parametrize("index", ["its list", "April's list", "no list"])
async def test_the_list_shows_what_the_reference_would(house, index):
    rows = era_m()["messages"]
    busy = {"active_stream_id": STREAM, "pending_user_message": "x", "pending_started_at": 250}
    for record in (
        era_a(),
        era_a(session_id="a_pinned", pinned=True, updated_at=1.0, messages=[]),
        era_a(session_id="a_pending", title="Untitled", messages=[], **busy),
        era_a(session_id="a_empty", title="Untitled", messages=[]),
        era_a(session_id="a_ghost", project_id="ffffffffffff", messages=[said("user", "x", 40)]),
        era_m(archived=True, project_id="eeeeeeeeeeee"),
        era_m(session_id="m_tree", title="Untitled", messages=[], worktree_path="/w", updated_at=9),
        era_h(profile="work"),
        era_h(session_id="snap", pre_compression_snapshot=True, messages=rows),
        era_h(
            session_id="next", parent_session_id="snap", messages=[*rows, said("user", "x", 220)]
        ),
        era_h(session_id="alone", pre_compression_snapshot=True, updated_at=310.0),
        era_h(session_id="more", pre_compression_snapshot=True, messages=rows, updated_at=1.0),
        era_h(session_id="less", parent_session_id="more", messages=rows[:1]),
        era_h(
            session_id="fork", parent_session_id="snap", session_source="fork", messages=rows[:1]
        ),
    ):
        put(house, record)
    if index != "no list":
        put_index(house, april=index == "April's list")
    for debris, text in (
        ("torn.json", '{"session_id": "torn", "mess'),
        ("dead.json.bak", json.dumps(era_a(session_id="dead"))),
        ("aaaaaaaaaaa1.tmp.7.8", "{"),
        ("_index.tmp", "["),
        ("_index.tmp.7.8", "["),
        ("_deleted_webui_sessions.json", '{"version": 1, "ids": []}'),
    ):
        (house.sessions / debris).write_text(text)
    (house.sessions / "_turn_journal").mkdir()
    (house.sessions / "_turn_journal" / "aaaaaaaaaaa1.jsonl").write_text("{}\n")
    (house.data_dir / "projects.json").write_text('[{"project_id": "eeeeeeeeeeee", "name": "p"}]')
    expected = ["a_pinned", "alone", "Hh-hhhhhhhh1", "a_pending", "next", "mmmmmmmmmmm1", "more"]
    expected += ["fork", "less", "aaaaaaaaaaa1", "a_ghost", "m_tree"]
    async with house.up():
        listed = await house.listed(include_archived=1)
        assert sorted(row["session_id"] for row in listed) == sorted(expected)
        shown = {row["session_id"]: row for row in listed}
        assert shown["a_pending"]["has_pending_user_message"] is True
        assert (shown["a_pending"]["is_streaming"], shown["a_pending"]["message_count"]) == (
            False,
            1,
        )
        assert (shown["a_ghost"]["project_id"], shown["a_ghost"]["profile"]) == (None, "default")
        assert shown["mmmmmmmmmmm1"]["project_id"] == "eeeeeeeeeeee"
        assert shown["Hh-hhhhhhhh1"]["profile"] == "work"
        at = [(row["pinned"], row["last_message_at"]) for row in listed]
        assert at == sorted(at, reverse=True)


async def test_each_change_leaves_all_else_in_the_record_as_it_was(house, subtests):
    ids, left, backups = {}, {}, {}
    for era, record in ERAS.items():
        longer = record(messages=[said("user", "undone", 1)] * 50)
        ids[era] = put(house, record(), backup=longer)
        path = house.sessions / f"{ids[era]}.json.bak"
        backups[path] = path.read_bytes()
    async with house.up() as client:
        for era, record in ERAS.items():
            with subtests.test(era):
                left[era] = await changed(house, client, ids[era], record())
        await house.kill()
    assert {path: path.read_bytes() for path in backups} == backups
    async with house.up():
        for era, session_id in ids.items():
            assert await house.rows(session_id) == left[era]["messages"]
            await house.post("/api/session/delete", session_id=session_id)
        await house.kill()
    async with house.up() as client:
        assert await house.listed(include_archived=1) == []
        for session_id in ids.values():
            gone = await client.http.get(f"/api/session?session_id={session_id}")
            assert gone.status_code == 404


async def changed(house, client, session_id, before):
    """Each change of a record touches its own fields alone. Gives the record before a turn that
    was undone.
    """
    exported = (await client.http.get(f"/api/session/export?session_id={session_id}")).json()
    assert unlike(before, exported) == set()
    assert house.record(session_id) == before  # reading it is no change
    for name, body, own in (
        ("rename", {"title": "Mine"}, {"title", "manual_title", "updated_at"}),
        ("pin", {}, {"pinned", "updated_at"}),
        ("archive", {}, {"archived"}),
        ("draft", {"text": "new"}, {"composer_draft"}),
    ):
        answer = await house.post(f"/api/session/{name}", session_id=session_id, **body)
        assert answer.status_code == 200, answer.text
        after = house.record(session_id)
        assert unlike(before, after) <= own
        before = after
    await house.answer_from("an answer", session_id, "once more")
    after = house.record(session_id)
    own = {"messages", "context_messages", "updated_at", "last_prompt_tokens"}
    assert unlike(before, after) <= own | {"input_tokens", "output_tokens"}
    assert after["messages"][:-2] == before["messages"]
    answer = await house.post("/api/session/undo", session_id=session_id)
    assert answer.json().get("removed_count") == 2, answer.text
    own |= {"truncation_watermark", "intentional_shrink_generation", "compression_anchor_summary"}
    assert unlike(after, house.record(session_id)) <= own
    for name in ("messages", "context_messages", "tool_calls"):
        assert house.record(session_id)[name] == before[name]
    return before


async def test_the_model_sees_the_history_that_is_meant_for_it(house):
    session_id = put(house, era_m())
    async with house.up():
        _, turn = await house.talk(session_id, "go on")
        assert turn.prompts == ["[summary of m]", "it is m", "and then?", "go on"]
        assert turn.request["model"] == "model-m"


PENDING = {"active_stream_id": STREAM, "pending_user_message": "lost?", "pending_started_at": 500.5}
EAGER = said("user", "lost?", 500.5)
OF_TURN = EAGER | {"_active_turn_token": f"{STREAM}:500.5"}
TURNS = {
    "A": era_a(**PENDING, title="Untitled", messages=[]),
    "M": era_m(**PENDING, pending_attachments=["a.txt"]),
    "M, of no stream": era_m(**PENDING | {"active_stream_id": None}),
    "M, of the same words": era_m(
        **PENDING, messages=[said("user", "lost?", 9), said("user", "x", 9)]
    ),
    "M, that wrote it at once": era_m(**PENDING, messages=[EAGER], context_messages=[]),
    "H": era_h(**PENDING, pending_user_source="webui"),
    "H, that wrote it at once": era_h(**PENDING, messages=[OF_TURN], context_messages=[]),
}


async def test_the_turn_of_a_dead_process_is_recovered_once(house, subtests):
    for n, record in enumerate(TURNS.values()):
        backup = record | {"messages": [said("user", "old", 1)] * 9}
        put(house, record | {"session_id": f"s{n}"}, backup=backup)
    for life in (1, 2):
        async with house.up() as client:
            for n, (name, record) in enumerate(TURNS.items()):
                with subtests.test(name, life=life):
                    recovered(record, session := await client.session(f"s{n}"))
                    assert house.record(f"s{n}")["messages"] == session["messages"]
                    if life == 2:
                        _, turn = await house.talk(f"s{n}", "again")
                        assert turn.prompts[-2:] == ["lost?", "again"]
            await house.kill()


def recovered(record, session):
    """The prompt is there, of its own time, and says what became of its answer. Nobody has done
    anything in the session.
    """
    for name in ("active_stream_id", "pending_user_message", "pending_started_at"):
        assert session[name] is None
    assert session["updated_at"] == record["updated_at"]
    before = [row for row in record["messages"] if row not in (EAGER, OF_TURN)]
    rows = session["messages"]
    assert rows[: len(before)] == before
    prompt, *_ = new = rows[len(before) :]
    assert contents(new) == [("user", "lost?"), ("marker", "interrupted")]
    assert prompt["timestamp"] == 500.5
    assert prompt.get("attachments", []) == record["pending_attachments"]


async def test_what_a_timer_or_a_hook_has_said_is_not_listed(house):
    for source in ("cron", "webhook", "kanban"):
        put(house, era_h(session_id=source, source_tag=source, raw_source=source))
    put(house, era_h())
    async with house.up():
        assert [row["session_id"] for row in await house.listed()] == ["Hh-hhhhhhhh1"]


async def test_a_copy_of_a_continued_session_does_not_bring_its_snapshot_back(house):
    rows = era_m()["messages"]
    put(house, era_h(session_id="snap", pre_compression_snapshot=True, messages=rows[:4]))
    put(house, era_h(session_id="goes_on", parent_session_id="snap", messages=rows))
    for n in range(20):  # made there, so that they name a parent too; the disk gives any order
        put(house, era_h(session_id=f"copy{n}", parent_session_id="snap", messages=rows[:1]))
    async with house.up():
        for name in ("duplicate", "branch"):
            made = (await house.post(f"/api/session/{name}", session_id="goes_on")).json()
            copy = made.get("session", made)["session_id"]
            cut = await house.post("/api/session/truncate", session_id=copy, keep_count=1)
            assert cut.status_code == 200, cut.text
        listed = {row["session_id"] for row in await house.listed()}
        assert "goes_on" in listed
        assert "snap" not in listed


async def test_its_projects_are_used_and_keep_what_we_do_not_know(house):
    old = {"project_id": "eeeeeeeeeeee", "name": "Old", "color": None, "created_at": 5, "odd": [1]}
    session_id = put(house, era_a(project_id="eeeeeeeeeeee"))
    (house.data_dir / "projects.json").write_text(json.dumps([old]))
    async with house.up() as client:
        assert (await client.session(session_id))["project_id"] == "eeeeeeeeeeee"
        body = {"project_id": "eeeeeeeeeeee", "name": "New"}
        assert (await house.post("/api/projects/rename", **body)).status_code == 200
        kept = json.loads((house.data_dir / "projects.json").read_text())
        assert kept == [old | {"name": "New"}]
