"""The client goes away, at every step of its request."""

from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.index.actor import LEAST_REST_SECONDS
from actors.stores import open_journal
from app.authority.gate import Gate
from app.idempotency import Answers
from app.web import create_app
from tests.app.asgi import call, reply_of, scope_of
from tests.faults.patience import NEVER, busy, given_up, idle, prepared, settled, tasks, wind_up
from tests.faults.room import DATA_DIR, SETTLED, in_order, look, open_room
from tests.faults.scenario import PROJECT


@pytest.fixture(scope="module")
def image():
    return trio.run(prepared, clock=MockClock(autojump_threshold=0))


class Current:
    """Stands for whichever is open: to make an app takes longer than to use it."""

    it: Any = None

    def __getattr__(self, name):
        return getattr(self.it, name)


GREENROOM, ANSWERS = Current(), Current()


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    status = {"agent": "held", "model": None}
    gate = Gate(tmp_path_factory.mktemp("nobody"))
    stopping = trio.Event()
    return create_app(GREENROOM, ANSWERS, gate=gate, stopping=stopping, agent_status=lambda: status)


@asynccontextmanager
async def open_house(disk):
    async with (
        open_room(disk, held=True) as room,
        open_journal(DATA_DIR / "answers", disk=disk) as journal,
    ):
        GREENROOM.it, ANSWERS.it = room.greenroom, Answers(journal)
        yield room
        assert all(info.settled for info in journal.streams().values())


async def request(app, sent, method, target, body=None, **more):
    """What is answered is put into `sent`. Being cancelled is what a dropped connection does."""
    headers = {"content-type": "application/json", **more}

    async def send(event):
        await trio.lowlevel.checkpoint()
        sent.append(event)

    await call(app, scope_of(method, target, None, headers), msgspec.json.encode(body), send)


def shape(answer):
    return answer.status, *sorted(answer.json)


def on_talk(**body):
    return lambda room: {"session_id": "talk", **body}


def start(**body):
    return "/api/chat/start", on_talk(message="now", **body)


def on_next(**body):
    return lambda room: {"session_id": "talk", "id": room.turns["next"], **body}


CHANGES = {
    "start": (idle, *start()),
    "undo": (idle, "/api/session/undo", on_talk()),
    "rename": (idle, "/api/session/rename", on_talk(title="Renamed")),
    "delete": (idle, "/api/session/delete", on_talk()),
    "duplicate": (idle, "/api/session/duplicate", on_talk()),
    "branch": (idle, "/api/session/branch", on_talk(keep_count=2)),
    "background": (idle, "/api/background", on_talk(prompt="aside")),
    "by the way": (idle, "/api/btw", on_talk(question="aside")),
    "move": (idle, "/api/session/move", on_talk(project_id=None)),
    "create project": (idle, "/api/projects/create", lambda room: {"name": "Another"}),
    "delete project": (idle, "/api/projects/delete", lambda room: {"project_id": PROJECT}),
    "queue": (busy, *start(if_busy="queue")),
    "interrupt": (busy, *start(if_busy="interrupt")),
    "rollback": (busy, *start(if_busy="rollback")),
    "start and steer": (busy, *start(if_busy="steer")),
    "steer": (busy, "/api/chat/steer", on_talk(text="now")),
    "edit": (busy, "/api/session/queue/edit", on_next(message="next!")),
    "take back": (busy, "/api/session/queue/remove", on_next()),
    "busy, undo": (busy, "/api/session/undo", on_talk()),
    "cancel": (busy, "/api/chat/cancel", lambda room: {"stream_id": room.turns["half now"]}),
}


async def run(app, image, case, steps, times):
    """Ask, and drop the connection after so many steps, then ask the same again. Gives whether it
    was dropped, what there is after each, the answers, and how many tasks are left.
    """
    state, path, body = case
    views, answers = [], []
    with in_order():
        async with open_house(image.kill()) as room:
            await state(room)
            await trio.sleep(1)
            dropped = False
            for n in range(times):
                sent, key = [], {"idempotency-key": "key"}
                ask = partial(request, app, sent, "POST", path, body(room), **key)
                if await given_up(NEVER if n else steps, ask):
                    dropped = True
                else:
                    answers.append(reply_of(sent))
                    stream_id = msgspec.json.decode(answers[-1].body).get("stream_id")
                    assert stream_id is None or room.greenroom.feeds.last_seq(stream_id)
                views.append(await settled(room))
            assert len(room.agent.asked) == len(set(room.agent.asked)), room.agent.asked
            return dropped, views, answers, await wind_up(room)


@pytest.mark.parametrize("name", CHANGES)
async def test_a_request_that_is_sent_again_is_done_once(app, image, autojump_clock, name):
    case = CHANGES[name]
    _, [before], _, _ = await run(app, image, case, 0, 1)
    _, [after, again], [whole, replayed], left = await run(app, image, case, NEVER, 2)
    assert whole.status in (200, 202)
    assert again == after
    assert replayed.body == whole.body
    assert replayed.headers["idempotency-replayed"] == "true"
    for steps in count():
        dropped, views, answers, tasks_left = await run(app, image, case, steps, 2)
        assert views[0] in (before, after), steps
        assert views[1] == after, steps
        assert tasks_left == left, steps
        assert {shape(answer) for answer in answers} == {shape(whole)}, steps
        if not dropped:
            break
    assert steps > 10


@pytest.mark.parametrize("name", ["start", "undo"])
async def test_who_waits_with_the_same_key_has_its_turn(app, image, autojump_clock, name):
    state, path, body = CHANGES[name]
    for steps in count():
        answer, key = [], {"idempotency-key": "key"}
        with in_order(), trio.fail_after(SETTLED):
            async with open_house(image.kill()) as room, trio.open_nursery() as nursery:
                await state(room)
                what = "POST", path, body(room)
                nursery.start_soon(partial(request, app, answer, *what, **key))
                dropped = await given_up(steps, partial(request, app, [], *what, **key))
        assert reply_of(answer).status == 200, steps
        if not dropped:
            break
    assert steps > 10


# -- streams ------------------------------------------------------------------------------------


async def test_a_stream_that_is_dropped_goes_on_where_it_was(app, image, autojump_clock):
    for steps in count():
        with in_order():
            async with open_house(image.kill()) as room:
                await busy(room)
                turn_id = room.turns["half now"]
                target = f"/api/chat/stream?stream_id={turn_id}"
                room.agent.release("half now")
                sent, rest = [], []
                dropped = await given_up(steps, partial(request, app, sent, "GET", target))
                ids = ids_in(sent)
                again = {"last-event-id": ids[-1]} if ids else {}
                await request(app, rest, "GET", target, **again)
                ids += ids_in(rest)
                last = room.greenroom.feeds.last_seq(turn_id)
                await settled(room)
        if not dropped:
            break
        assert ids == [f"{turn_id}:{seq}" for seq in range(1, last + 1)], steps
    assert steps > 10


def ids_in(sent):
    text = b"".join(event.get("body", b"") for event in sent).decode()
    return [line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: ")]


@pytest.mark.parametrize(
    "target",
    [
        "/api/sessions",
        "/api/session?session_id=talk",
        "/api/sessions/events",
        "/api/session/stream?session_id=talk",
        "/api/chat/stream?stream_id=half now",
    ],
)
async def test_who_looks_and_goes_leaves_nothing_behind(app, image, autojump_clock, target):
    for steps in range(60):
        with in_order():
            async with open_house(image.kill()) as room:
                await busy(room)
                await trio.sleep(3 * LEAST_REST_SECONDS)  # the list is written, twice perhaps
                before, view = tasks(), await look(room)
                here = target.replace("half now", room.turns["half now"])
                dropped = await given_up(steps, partial(request, app, [], "GET", here))
                assert await settled(room) == view
                assert tasks() == before, steps
        if not dropped:
            break
    assert steps > 10
