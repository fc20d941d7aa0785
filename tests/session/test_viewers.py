"""Somebody else's session is, to each command, one that does not exist."""

import dataclasses

import pytest

from actors import Rejected
from actors.index.messages import CountRows, ListRows, PinLimit, RowsNamed
from actors.projects.messages import (
    CreateProject,
    DeleteProject,
    ListProjects,
    MoveSession,
    ProjectNotFound,
    RenameProject,
)
from actors.search.messages import Search
from actors.session import messages
from actors.session.messages import (
    CancelTurn,
    CreateSession,
    GetSession,
    OnBehalf,
    Once,
    Pin,
    StartTurn,
)
from actors.session.record import Record, alias_of
from actors.session.refusals import SessionNotFound
from actors.viewer import Viewer

ANN = Viewer("ann", frozenset({"ann"}))
BOB = Viewer("bob", frozenset({"bob"}))
ADMIN = Viewer("root", frozenset({"root", None}))

# The session's own tasks and its keeper send these; no viewer does.
INTERNAL = {
    *("Checkpoint", "ContextSummarised", "LookAgain", "SettleStream", "SideTurnEnded"),
    *("SummaryMade", "Sweep", "TurnOutput", "TurnReturned", "TurnUnwritable", "OnBehalf", "Once"),
}
COMMANDS = [
    kind
    for name, kind in vars(messages).items()
    if isinstance(kind, type) and name in messages.__all__ and name not in INTERNAL
    if issubclass(kind, messages.Message)
]
SAMPLES = {"str": "x", "int": 0, "bool": True, "Record": Record(session_id="s1")}


def command_of(kind):
    """One with something in each field that has no default."""
    needed = [f for f in dataclasses.fields(kind) if f.default is f.default_factory]
    return kind(*(SAMPLES.get(str(f.type).split(" ")[0]) for f in needed))


async def answer_of(room, key, command, viewer=BOB):
    try:
        return await room.session(key).ask(OnBehalf(viewer, command))
    except Rejected as error:
        return type(error), str(error)


async def create(room, key, viewer, **fields):
    record = Record(session_id="", workspace="/", **fields)
    await room.session(key).ask(OnBehalf(viewer, CreateSession(record, keep=True)))


@pytest.mark.parametrize("kind", COMMANDS)
async def test_no_command_tells_another_ones_session_from_none(room, kind):
    await create(room, "anns", ANN, title="Mine")
    before = await room.record("anns")
    for command in (command_of(kind), Once("key", "print", command_of(kind))):
        foreign = await answer_of(room, "anns", command)
        if kind is CreateSession:
            assert "SessionExists" in str(foreign)
        else:
            assert foreign == await answer_of(room, "nosuch", command)
    assert await room.record("anns") == before


async def test_what_a_viewer_begins_is_their_own_even_a_copy(room):
    await create(room, "a", ANN, title="Mine")
    record = (await room.session("a").ask(OnBehalf(ANN, GetSession()))).record
    assert record.owner == "ann"
    again = Once("key", "print", CreateSession(record, keep=True))
    await room.session("b").ask(OnBehalf(BOB, again))
    assert (await room.record("b")).owner == "bob"


async def test_an_admin_sees_what_nobody_owns_and_nothing_of_others(room):
    await room.new("old", keep=True, title="Old")
    await create(room, "anns", ANN, title="Mine")
    assert (await room.session("old").ask(OnBehalf(ADMIN, GetSession()))).record.owner is None
    for viewer, key in ((ADMIN, "anns"), (BOB, "old")):
        with pytest.raises(SessionNotFound):
            await room.session(key).ask(OnBehalf(viewer, GetSession()))
    for viewer, names in ((ADMIN, {"old"}), (ANN, {"anns"}), (BOB, set())):
        rows = await room.index.ask(ListRows(viewer=viewer))
        named = await room.index.ask(RowsNamed(["old", "anns"], viewer=viewer))
        assert {r["session_id"] for r in rows} == {r["session_id"] for r in named} == names


async def test_a_stop_for_a_viewer_goes_ahead_of_other_mail_and_stops_only_their_own(room):
    await create(room, "anns", ANN)
    turn_id, puppet = await room.start(key="anns")
    assert OnBehalf(BOB, CancelTurn(turn_id)).control
    assert not OnBehalf(BOB, GetSession()).control
    assert await room.session("anns").ask(OnBehalf(BOB, CancelTurn(turn_id))) is False
    await puppet.say("still here")
    assert await room.session("anns").ask(OnBehalf(ANN, CancelTurn(turn_id))) is True


async def test_a_turns_feed_says_whose_it_is_live_and_from_the_journal(room):
    await create(room, "anns", ANN)
    turn_id, puppet = await room.start(key="anns")
    feeds = room.greenroom.feeds
    assert (await feeds.began(turn_id)).owner == "ann"
    await puppet.say("yes")
    puppet.finish()
    await room.events(turn_id)
    assert feeds.find(turn_id) is None
    assert (await feeds.began(turn_id)).owner == "ann"
    assert await feeds.began("nosuch") is None


async def test_each_owner_has_pins_of_their_own(room):
    for n in range(3):
        await create(room, f"a{n}", ANN)
        await room.session(f"a{n}").ask(OnBehalf(ANN, Pin(True)))
    await create(room, "a3", ANN)
    await create(room, "b", BOB)
    with pytest.raises(PinLimit):
        await room.session("a3").ask(OnBehalf(ANN, Pin(True)))
    assert (await room.session("b").ask(OnBehalf(BOB, Pin(True)))).record.pinned


async def test_sessions_are_counted_for_each_owner(room):
    await create(room, "a", ANN)
    await create(room, "b", BOB)
    assert await room.index.ask(CountRows(("a", "unsaved"), ANN)) == 2


async def test_notices_say_whose_session_it_is_also_of_one_that_is_gone(room):
    await create(room, "anns", ANN)
    seen = room.greenroom.notices.last
    await room.session("anns").ask(OnBehalf(ANN, messages.Rename("New")))
    await room.session("anns").ask(OnBehalf(ANN, messages.DeleteSession()))
    notices = await room.greenroom.notices.after(seen)
    assert [(n.reason, n.owner) for n in notices] == [
        ("session_rename", "ann"),
        ("session_delete", "ann"),
    ]


async def test_the_search_finds_only_what_the_viewer_may_see(room):
    said = ({"role": "user", "content": "the xyzzy plan"},)
    for key, viewer in (("anns", ANN), ("bobs", BOB)):
        await create(room, key, viewer, messages=said)
    await room.new("old", keep=True, messages=said)
    for viewer, names in ((ANN, {"anns"}), (BOB, {"bobs"}), (ADMIN, {"old"})):
        for query in ("xyzzy", "pl"):  # by the index, and by looking through
            found = await room.greenroom.search.ask(Search(query, limit=1, viewer=viewer))
            assert {hit.session_id for hit in found.results} == names


async def test_a_project_is_there_for_its_owner_alone(room):
    projects = room.greenroom.projects
    made = await projects.ask(CreateProject("Secret", viewer=ANN))
    project_id = made["project_id"]
    await create(room, "anns", ANN)
    await create(room, "bobs", BOB)
    assert await projects.ask(ListProjects(BOB)) == ()
    for command in (
        RenameProject(project_id, "Mine", viewer=BOB),
        DeleteProject(project_id, viewer=BOB),
        MoveSession("bobs", project_id, BOB),
    ):
        with pytest.raises(ProjectNotFound):
            await projects.ask(command)
    with pytest.raises(SessionNotFound):
        await projects.ask(MoveSession("anns", None, BOB))
    await projects.ask(MoveSession("anns", project_id, ANN))
    assert [p["name"] for p in await projects.ask(ListProjects(ANN))] == ["Secret"]
    assert await projects.ask(DeleteProject(project_id, viewer=ANN)) == 1


async def test_a_new_id_has_the_owner_of_the_old(room):
    await create(room, "anns", ANN)
    assert alias_of(await room.record("anns"), "next").owner == "ann"
    accepted = await room.session("anns").ask(OnBehalf(ANN, StartTurn("hello")))
    assert accepted.record.owner == "ann"
