"""Every fault that llmock can inject, over real HTTP, in the turns of a session: what the user is
told and keeps, how often the provider was asked, and that the next turn works.
"""

from contextlib import asynccontextmanager

import pytest
import trio

from actors.session.entries import TurnFailed
from actors.session.messages import CreateSession, StartTurn
from actors.session.record import Record
from actors.stores import MemoryDisk
from actors.testing import open_checked_greenroom
from app.agents.openai import RETRIED, OpenAIAgent, open_client
from tests.app.agents.test_tool_turns import Source, echo, opened
from tests.session.conftest import Room

KEY = "sk-very-secret-key"
WORDS = "one two three four five six seven"
# Seconds. A fault that lasts SLOW is beyond HASTY; llmock knows of a request when it is over.
PATIENT, HASTY, SLOW = 60.0, 1.0, 2.5


class Chat:
    """A session that is answered by llmock."""

    def __init__(self, room, llmock):
        self.llmock = llmock
        self.sleeps = []
        self.read_seconds = PATIENT
        self.tools = None
        self._room = room

    async def agent(self, turn, emit):
        url = self.llmock.base_url("openai")
        async with open_client(url, KEY, read_seconds=self.read_seconds) as client:
            tools = None if self.tools is None else lambda: opened(self.tools)
            agent = OpenAIAgent(
                client, "gpt-4o", open_toolbox=tools, sleep=self.sleep, jitter=lambda: 0.0
            )
            await agent(turn, emit)

    async def sleep(self, seconds):
        self.sleeps.append(seconds)
        await trio.lowlevel.checkpoint()

    async def turn(self, prompt="go"):
        """How it ended, and what was shown until then."""
        accepted = await self._room.session().ask(StartTurn(prompt))
        with trio.fail_after(60):
            events = [entry.event for entry in await self._room.events(accepted.turn_id)]
        failed = [event for event in events if isinstance(event, TurnFailed)]
        return (failed or [None])[0], "".join(getattr(event, "text", "") for event in events)

    async def rows(self):
        return (await self._room.record()).messages

    @property
    def asked(self):
        return len(self.llmock.requests)

    async def fails(self, kind, *, asked=1, shown=""):
        """The turn fails, the prompt and what was shown are kept, and the next one works."""
        failed, text = await self.turn("go")
        assert failed is not None
        assert (failed.kind, text, self.asked) == (kind, shown, asked)
        assert failed.message.endswith(".")
        assert failed.hint.endswith(".")
        assert KEY not in repr(failed)
        prompt, *partial, marker = await self.rows()
        assert prompt["content"] == "go"
        assert [row["content"] for row in partial] == [shown] * bool(shown)
        assert failed.message in marker["content"]
        await self.works()
        return failed

    async def works(self):
        self.llmock.reset().reply(WORDS)
        self.read_seconds = PATIENT
        assert await self.turn("again") == (None, WORDS)
        assert self.asked == 1
        sent = [row["content"] for row in self.llmock.last_request.body["messages"]]
        assert sent[-1] == "again"
        assert sent.count("go") == 1


@pytest.fixture
def open_chat(llmock):
    @asynccontextmanager
    async def chat():
        opened_chat = Chat(None, llmock)
        disk = MemoryDisk()
        async with open_checked_greenroom(disk, opened_chat.agent) as greenroom:
            opened_chat._room = Room(greenroom, disk, None)
            record = Record(session_id="", workspace="/")
            await greenroom.session("s1").ask(CreateSession(record))
            yield opened_chat

    return chat


KINDS = {
    401: "auth_mismatch",
    402: "quota_exhausted",
    403: "auth_mismatch",
    404: "model_not_found",
    408: "timeout",
    429: "rate_limit",
    504: "timeout",
}
STATUSES = [400, 401, 402, 403, 404, 405, 408, 409, 413, 418, 422, 425, 429, 451]
STATUSES += [500, 501, 502, 503, 504, 507, 520, 529, 599]


@pytest.mark.parametrize("status", STATUSES)
async def test_a_status_that_stays_is_told_and_only_one_that_passes_is_tried_again(
    open_chat, llmock, status
):
    async with open_chat() as chat:
        llmock.fail(status, times=None)
        passes = status in RETRIED
        failed = await chat.fails(KINDS.get(status, "error"), asked=3 if passes else 1)
        if failed.kind == "error":
            assert str(status) in failed.message
        assert len(chat.sleeps) == (2 if passes else 0)


@pytest.mark.parametrize("status", sorted(RETRIED))
async def test_a_status_that_passes_is_not_seen(open_chat, llmock, status):
    async with open_chat() as chat:
        llmock.fail(status, times=2).reply(WORDS)
        assert await chat.turn() == (None, WORDS)
        assert chat.asked == 3
        # What it asks for, and else twice as long each time.
        assert chat.sleeps == ([0.5, 1.0] if status in (408, 502) else [1.0, 1.0])


async def test_llmock_finds_nothing_wrong_with_how_it_is_asked_again(open_chat, llmock):
    async with open_chat() as chat:
        chat.sleep = trio.sleep
        llmock.rate_limit(times=1, retry_after=1.0).fail(502, times=1).reply(WORDS)
        assert await chat.turn() == (None, WORDS)
        llmock.assert_resilient(strict=True)


async def test_who_asks_to_be_left_alone_for_long_is_not_asked_again_and_the_user_knows(
    open_chat, llmock
):
    async with open_chat() as chat:
        llmock.rate_limit(times=None, retry_after=90.0)
        failed = await chat.fails("rate_limit")
        assert failed.hint == "It asks to be left alone for 90 s. Then try again."
        assert chat.sleeps == []


async def test_quotas_of_requests_and_of_tokens_are_told(open_chat, llmock):
    for limits in ({"rpm": 1}, {"tpm": 300}):
        llmock.reset()
        async with open_chat() as chat:
            llmock.limits(**limits)
            first = await chat.turn("word " * 200)
            assert first[0] is None
            failed, _ = await chat.turn("word " * 200)
            assert failed.kind == "rate_limit"
            assert "left alone" in failed.hint
            llmock.assert_resilient()


async def test_a_prompt_that_is_too_long_is_told(open_chat, llmock):
    async with open_chat() as chat:
        llmock.context_overflow(times=None)
        await chat.fails("context_length")
    async with open_chat() as chat:
        llmock.reset().limits(context_window=10)
        failed, _ = await chat.turn("word " * 100)
        assert failed.kind == "context_length"


SHOWN = {0: "", 1: "", 2: "one ", 4: "one two three "}  # after so many chunks; the first is empty


@pytest.mark.parametrize("after", SHOWN)
@pytest.mark.parametrize(
    ("fault", "kind"),
    [("disconnect", "connection"), ("truncate", "connection"), ("corrupt", "error")],
)
async def test_a_stream_that_breaks_keeps_what_was_shown_and_is_not_asked_for_again(
    open_chat, llmock, fault, kind, after
):
    async with open_chat() as chat:
        getattr(llmock.reply(WORDS), fault)(after_chunks=after)
        await chat.fails(kind, shown=SHOWN[after])


@pytest.mark.parametrize("after", [0, 4])
async def test_a_stall_ends_when_it_was_said_to(open_chat, llmock, after):
    async with open_chat() as chat:
        chat.read_seconds = HASTY
        llmock.reply(WORDS).stall(after_chunks=after, seconds=SLOW)
        failed = await chat.fails("timeout", shown=SHOWN[after])
        assert "--read-seconds" in failed.hint


@pytest.mark.parametrize("fault", ["delay", "slow_first_token"])
async def test_so_does_what_does_not_begin(open_chat, llmock, fault):
    async with open_chat() as chat:
        chat.read_seconds = HASTY
        getattr(llmock.reply(WORDS), fault)(SLOW)
        await chat.fails("timeout")


async def test_what_is_only_slow_is_waited_for(open_chat, llmock):
    async with open_chat() as chat:
        llmock.pace(20)
        llmock.reply(WORDS).delay(0.1).slow_first_token(0.1).stall(after_chunks=3, seconds=0.1)
        assert await chat.turn() == (None, WORDS)


async def test_an_empty_answer_is_told(open_chat, llmock):
    async with open_chat() as chat:
        llmock.reply("")
        await chat.fails("no_response")


async def test_a_tool_that_nobody_offered_is_no_answer(open_chat, llmock):
    async with open_chat() as chat:
        llmock.call_tool("rm", {"path": "/"})
        await chat.fails("no_response")


# -- with tools ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("malformed_arguments", "The arguments are no JSON"),
        ("unknown_tool", "There is no tool "),
    ],
)
async def test_a_broken_call_is_told_to_the_model_which_goes_on(open_chat, llmock, fault, told):
    async with open_chat() as chat:
        chat.tools = Source(echo=echo)
        llmock.break_tool_call(fault)
        failed, text = await chat.turn()
        assert failed is None
        assert text
        assert chat.asked == 2
        assert told in llmock.last_request.body["messages"][-1]["content"]
        llmock.assert_resilient(strict=True)
        await chat.works()


@pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt"])
async def test_a_call_that_breaks_off_is_not_made(open_chat, llmock, fault):
    called = []

    async def note(text=""):
        called.append(text)

    async with open_chat() as chat:
        chat.tools = Source(note=note)
        getattr(llmock.call_tool("s__note", {"text": WORDS}), fault)(after_chunks=3)
        await chat.fails("error" if fault == "corrupt" else "connection")
        assert called == []
