"""Each operation of the disk fails, in a life that touches all that is on it."""

import errno
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import trio
from trio.testing import MockClock

from actors import ActorError
from actors.index.messages import IndexUnavailable
from actors.projects.messages import ProjectsUnavailable
from actors.session.refusals import StorageFailed
from actors.stores import MemoryDisk, StoreError, StoreFull
from actors.testing.faulty_disk import FaultyDisk
from tests.faults.amending import amending
from tests.faults.room import (
    DATA_DIR,
    PUT_AWAY,
    SETTLED,
    Told,
    View,
    check_streams,
    contents,
    files_of,
    in_order,
    look,
    nothing_breaks,
    open_room,
    records,
)
from tests.faults.scenario import CHAPTERS, Step, earlier_life

CODES = (errno.ENOSPC, errno.EIO, errno.EACCES)
NEVER = 1_000_000
LASTS = 50  # operations, at most
AFTERWARDS = 3  # steps, once the fault was met


@dataclass
class Chapter:
    """A part of the life, as it is without a fault: what there is to see after each step, and what
    there would be after a restart.
    """

    disk: MemoryDisk  # at its beginning
    steps: tuple[Step, ...]
    views: list[View] = field(default_factory=list)
    restarted: list[View] = field(default_factory=list)


@pytest.fixture(scope="module")
def chapters():
    return trio.run(told_without_a_fault, clock=MockClock(autojump_threshold=0))


@pytest.fixture(params=CHAPTERS)
def chapter(request, chapters):
    return chapters[request.param]


async def told_without_a_fault():
    disk, found = await earlier_life(), {}
    for name, steps in CHAPTERS.items():
        chapter = found[name] = Chapter(disk.kill(), steps)
        async with opened(disk) as room:
            for n in range(len(steps) + 1):
                if n:
                    await steps[n - 1].act(room)
                chapter.views.append(await look(room))
                chapter.restarted.append(await seen_after_restart(disk.kill()))
            await check_files(room, disk)
    return found


@asynccontextmanager
async def opened(disk):
    """The room, when what an earlier life left in it was mended, long ago."""
    async with open_room(disk, held=True) as room:
        room.agent.release("later")
        await trio.sleep(2 * SETTLED)
        yield room


async def seen_after_restart(image):
    """What there is, and is again when all have left memory. Nothing else is left on the disk."""
    async with open_room(image) as room:
        await look(room)  # whoever is not looked at sleeps
        await trio.sleep(SETTLED)
        view = await look(room)
        await check_files(room, image)
        await trio.sleep(PUT_AWAY)
        assert await look(room) == view
    return view


def projects_in(disk):
    return contents(disk).get(DATA_DIR / "projects.json")


async def check_files(room, disk):
    assert {path.name for path in records(disk)} - {"projects.json"} == await files_of(room)


class Walk:
    """Goes through a chapter on a disk whose `n`th operation fails, and looks what becomes of it.
    If the fault is to last, it is there until somebody was told.
    """

    def __init__(self, chapter, n, code, *, lasts=1, torn=False):
        self.chapter = chapter
        self.n = n
        self.code = code
        self.until = n + lasts
        self.memory = chapter.disk.kill()
        self.disk = FaultyDisk(self.memory, self.fails, code, torn=torn)
        self.cut_short = frozenset()  # prompts whose answers met the fault
        self.done = 0  # steps
        self.room = None

    def fails(self, number, name):
        return self.n <= number < self.until

    @property
    def met(self):
        return len(self.disk.trace) >= self.n

    async def go(self):
        """Gives the names of the operations."""
        try:
            with in_order(), nothing_breaks(), trio.fail_after(1e6):
                while not await self.opens():
                    self.cut_short = frozenset({"later"})  # it may have had its turn, for a moment
        except Exception as error:
            error.add_note(f"operation {self.n} failed, and {self.done} steps were done")
            raise
        return self.disk.trace

    async def opens(self):
        try:
            async with opened(self.disk) as self.room:
                await self.walk(self.room)
        except StoreError as error:
            self.check_told(error)
            self.until = 0
            return False
        return True

    async def walk(self, room):
        if self.met:
            await self.see(room)
            await trio.sleep(SETTLED)
            assert (await look(room)).like(self.chapter.views[0], self.cut_short)
        left = AFTERWARDS
        for step in self.chapter.steps:
            await self.take(room, step)
            self.done += 1
            left -= self.met
            if not left:
                return

    def check_told(self, error):
        """Whoever must act is told what is wrong, and is told nothing without a reason."""
        assert self.met, repr(error)
        about = StorageFailed | ProjectsUnavailable | IndexUnavailable | StoreError | Told
        assert isinstance(error, about), repr(error)
        full = self.code == errno.ENOSPC
        assert ("no room left on the disk" if full else os.strerror(self.code)) in str(error)
        if isinstance(error, StorageFailed | ProjectsUnavailable):
            assert error.full is full
        if isinstance(error, StoreError):
            assert isinstance(error, StoreFull) is full

    async def see(self, room):
        """What there is. The fault may be met by looking, and is over then."""
        try:
            return await look(room)
        except (ActorError, StoreError) as error:
            self.check_told(error)
            self.until = 0
        return await look(room)

    async def take(self, room, step):
        """A step, if need be again."""
        before, after = self.chapter.views[self.done : self.done + 2]
        met = self.met
        try:
            await step.act(room)
        except (ActorError, StoreError, Told) as error:
            self.check_told(error)
            await self.overcome(room, step, before, after)
        else:
            image = self.memory.crash()
            if self.met:
                assert (await self.see(room)).like(after, self.cut_short)
            if self.met and not met and self.disk.trace[self.n - 1].startswith("flush"):
                found = await seen_after_restart(image)
                assert found.like(self.chapter.restarted[self.done + 1], self.cut_short)

    async def overcome(self, room, step, before, after):
        """It was not done, or it was; and so it stays. Then it can be done."""
        images = self.memory.crash(), self.memory.kill()
        cut_short = self.cut_short | step.prompts

        def is_undone(view):
            undone = view.like(before, cut_short) and not step.final
            assert undone or view.like(after, cut_short), view
            return undone

        view = await self.see(room)
        self.until = 0
        if not step.final:
            # The list reads the files, and one may have been replaced: see `RecordStore`.
            ahead = view.sessions == before.sessions
            is_undone(replace(view, listed=before.listed) if ahead else view)
        await trio.sleep(SETTLED)
        view = await look(room)
        undone = is_undone(view)
        await check_streams(room)
        if projects_in(images[0]) == projects_in(images[1]):  # else it is known to be uncertain
            await trio.sleep(PUT_AWAY)
            assert await look(room) == view
        if step.final:
            self.cut_short = cut_short
        elif not undone and step.mend is not None:
            await step.mend(room)
            undone = is_undone(await look(room))
        if undone:
            await step.act(room)
        assert (await look(room)).like(after, self.cut_short)
        for image in images[contents(images[0]) == contents(images[1]) :]:
            found = await seen_after_restart(image)
            possible = self.chapter.restarted[self.done : self.done + 2]
            assert any(found.like(each, cut_short) for each in possible), found


async def operations_of(chapter):
    """The names of the operations if none fails."""
    return await Walk(chapter, NEVER, errno.EIO).go()


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
async def test_any_operation_fails(chapter, autojump_clock, code):
    names = await operations_of(chapter)
    for n in range(1, len(names) + 1):
        met = await Walk(chapter, n, code).go()
        assert met[:n] == names[:n]


@pytest.fixture(scope="module")
def amended_chapters():
    with amending():
        return trio.run(told_without_a_fault, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("name", CHAPTERS)
async def test_any_operation_fails_where_records_are_amended(
    name, amended_chapters, autojump_clock
):
    chapter = amended_chapters[name]
    with amending():
        names = await operations_of(chapter)
        assert "append" in names
        for n, operation in enumerate(names, 1):
            met = await Walk(chapter, n, errno.ENOSPC, torn=operation == "append").go()
            assert met[:n] == names[:n]


async def test_from_any_operation_on_they_all_fail_for_a_while(chapter, autojump_clock):
    names = await operations_of(chapter)
    for n in range(1, len(names) + 1):
        met = await Walk(chapter, n, CODES[n % 3], lasts=LASTS).go()
        assert met[:n] == names[:n]


async def test_any_write_is_done_half_and_the_disk_is_full(chapter, autojump_clock):
    names = await operations_of(chapter)
    for n, name in enumerate(names, 1):
        if name in ("create", "append"):
            met = await Walk(chapter, n, errno.ENOSPC, torn=True).go()
            assert met[:n] == names[:n]


async def test_the_power_fails_or_the_process_dies_at_any_operation(chapter, autojump_clock):
    walk, cuts, seen = Walk(chapter, NEVER, errno.EIO), [], {}

    def cut(number, name):
        images = walk.memory.crash(), walk.memory.kill()
        cuts.append((walk.done, images, dict(walk.room.shown) if walk.room else {}))
        return False

    walk.disk.fail = cut
    await walk.go()
    for done, images, shown in cuts:
        prompts = frozenset() if done else frozenset({"later"})
        if done < len(chapter.steps):
            prompts |= chapter.steps[done].prompts
        for image in images:
            name = done, *sorted(contents(image).items())
            if name not in seen:
                seen[name] = await seen_after_restart(image)
            view = seen[name]
            possible = chapter.restarted[done : done + 2]
            assert any(view.like(each, prompts) for each in possible), (done, view)
            for prompt in view.answers.keys() & shown.keys():
                assert view.answers[prompt].startswith(shown[prompt])
