"""The runtime's side of one actor: its task, from activation to the end."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any, Protocol

import trio

from .actor import Actor, Kind
from .dead_letters import DeadLetter, DeadLetters
from .envelope import Message
from .errors import (
    ActorCrashed,
    ActorError,
    ActorStopped,
    AddressTaken,
    Elsewhere,
    Moved,
    Rejected,
    in_words,
)
from .lifecycle import LEGAL, Lifecycle
from .mailbox import Mailbox
from .ref import Recipient, Ref
from .ties import Ties, end_all
from .timer import Timer

__all__ = ["Cell", "Home"]

log = logging.getLogger("actors")

# One busy actor keeps the others waiting for at most this long, plus the messages until it looks.
SLICE_SECONDS = 0.001
SLICE_MESSAGES = 1024  # the same on a clock that stands still
LOOK_AT_CLOCK_EVERY = 8  # messages; must divide SLICE_MESSAGES


class Home(Protocol):
    """What a cell needs of the registry it is in."""

    def ref(self, kind: str, key: str) -> Ref: ...
    def find(self, kind: str, key: str) -> "Cell": ...
    def awake(self, kind: str, key: str) -> "Cell | None": ...
    def rotate(self, cell: "Cell", key: str) -> None: ...
    def forward(self, cell: "Cell", key: str) -> None: ...
    def entered(self, cell: "Cell", task: trio.lowlevel.Task) -> None: ...
    def left(self, cell: "Cell", task: trio.lowlevel.Task) -> None: ...
    async def wait_left(self, cells: Sequence["Cell"]) -> None: ...


class Cell:
    """Runs one incarnation after another over the same mailbox.

    A crash, or mail that arrived during `on_stop`, starts the next incarnation; otherwise the
    cell is buried in the very step that saw the mailbox empty, so no message falls in between.
    """

    __slots__ = (
        "_broken",
        "_crashes",
        "_dead_letters",
        "_failure",
        "_halted",
        "_home",
        "_passivating",
        "_retiring",
        "_slice_end",
        "_start_failure",
        "_stopped",
        "_ties",
        "actor",
        "closed",
        "current",
        "current_since",
        "handled",
        "idle_since",
        "key",
        "kind",
        "lifecycle",
        "mailbox",
        "nursery",
        "restarts",
        "waiting_on",
    )

    def __init__(self, kind: Kind, key: str, home: Home, dead_letters: DeadLetters) -> None:
        self.kind = kind
        self.key = key
        self.mailbox = Mailbox(kind.capacity)
        self.lifecycle = Lifecycle.STARTING
        self.closed = False
        self.actor: Actor | None = None
        self.nursery: trio.Nursery | None = None
        self.waiting_on: list[Recipient] = []
        self.current: Message[Any] | None = None
        self.current_since = 0.0  # Trio's clock; up to one slice early
        self.idle_since = 0.0
        self.handled = 0
        self.restarts = 0
        self._home = home
        self._dead_letters = dead_letters
        self._broken: Exception | None = None  # a task's crash, which cancels the nursery
        self._crashes: tuple[float, ...] = ()
        self._slice_end = 0.0
        self._start_failure: Exception | None = None
        self._failure: Exception | None = None  # why it was given up
        self._passivating = False
        self._retiring = False
        self._stopped = False  # on request, for good
        self._halted = False  # takes up no more mail
        self._ties: Ties | None = None

    def __repr__(self) -> str:
        return f"<Cell {self.address} {self.lifecycle.name}, {len(self.mailbox)} waiting>"

    @property
    def address(self) -> str:
        return f"{self.kind.name}/{self.key}"

    @property
    def parent_address(self) -> str | None:
        parent = None if self._ties is None else self._ties.parent
        return None if parent is None else parent.address

    # -- asked for by the system ------------------------------------------------------------

    def passivate(self) -> bool:
        """End the actor if it is idle and agrees, in its own task; the next message brings it back.

        False if it is not idle.
        """
        if not self.mailbox.parked:
            return False
        self._passivating = True
        self.mailbox.wake()
        return True

    def retire(self) -> None:
        """End the actor for good, as soon as its mail is handled."""
        self._retiring = True
        if self.mailbox.parked:
            self.mailbox.wake()

    def stop(self) -> None:
        """End the actor for good after the message it handles."""
        self._stopped = self._halted = True
        if self.mailbox.parked:
            self.mailbox.wake()

    def kill(self) -> None:
        """End it for good, in the middle of what it does."""
        if not self.closed:
            self._failure = ActorStopped(f"{self.address} was killed")
            self._stopped = self._halted = True
            if self.nursery is not None:
                self.nursery.cancel_scope.cancel()

    def fail(self, error: Exception) -> None:
        """Crash the incarnation that lives, if it does not end already."""
        if (
            self._broken is None
            and self.nursery is not None
            and not self._stopped
            and (self.lifecycle in (Lifecycle.STARTING, Lifecycle.RUNNING))
        ):
            self._broken, self._halted = error, True
            self.nursery.cancel_scope.cancel()

    # -- waited for -------------------------------------------------------------------------

    @property
    def ties(self) -> Ties:
        if self._ties is None:
            self._ties = Ties(self)
        return self._ties

    async def wait_running(self) -> None:
        """Raises what an ask would, if it could not start or was ended meanwhile."""
        if self.lifecycle is not Lifecycle.RUNNING:
            if self.ties.running.is_set():
                self.ties.running = trio.Event()  # of the next incarnation
            await self.ties.running.wait()
            if self.closed:
                given_up = self._stopped or self._failure or self._start_failure
                raise self._farewell() if given_up else Elsewhere(self.key)  # it was put away

    async def wait_ended(self) -> Exception | None:
        await self._home.wait_left((self,))
        return self._failure

    # -- the life ---------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """One lap for each incarnation: an actor object, and the nursery of its tasks.

        An idle actor's memory is mostly the frames between here and where it waits: few.
        """
        task = trio.lowlevel.current_task()
        self._home.entered(self, task)
        try:
            while True:
                self._passivating, self._broken, self._halted = False, None, self._stopped
                try:
                    async with trio.open_nursery() as self.nursery:
                        actor = self.actor = await self._start()
                        if actor is not None:
                            await self._stop(actor, await self._handle_mail(actor))
                        self.nursery.cancel_scope.cancel()
                    if self._broken is not None:
                        raise self._broken
                except Exception as error:  # noqa: BLE001 - the door: a child's crash is the actor's
                    self._crashed(error)
                except BaseExceptionGroup as group:
                    raise self._without_crashes(group) from None
                finally:
                    # The next incarnation is not to wait for memory that this one holds.
                    actor = self.actor = self.nursery = self.current = None
                if self._ties is not None:
                    await self._end_incarnation(self._ties)
                if not self._goes_on():
                    break
        finally:
            # No checkpoint from here on: whoever writes next must find no cell, or the next one.
            self.closed = True
            self.lifecycle = Lifecycle.STOPPED
            self._home.left(self, task)
            self._return_mail()
            if self._ties is not None:
                self._ties.release()
                self._ties.ended(self._failure)

    async def _end_incarnation(self, ties: Ties) -> None:
        """What it has begun ends with it, and what it was still to be told."""
        await end_all(ties.release())
        self.mailbox.forget_own()

    def _become(self, lifecycle: Lifecycle) -> None:
        assert lifecycle in LEGAL[self.lifecycle], (self.lifecycle, lifecycle)
        self.lifecycle = lifecycle

    def _goes_on(self) -> bool:
        """Is there to be another incarnation? After a crash, and for mail that came at the end."""
        if self._stopped or self.lifecycle is Lifecycle.STOPPED:
            return False
        if self.lifecycle is Lifecycle.STOPPING and not len(self.mailbox):
            return False
        self._become(Lifecycle.STARTING)
        return True

    async def _start(self) -> Actor | None:
        try:
            actor = self.kind.create(self.key)
            assert self.nursery is not None
            actor.context = _Context(self, self._home, self.nursery)
            await actor.on_start()
        except Moved as moved:
            self._moved(moved)
            return None
        except Exception as error:  # noqa: BLE001 - the door: goes to all who wait, once each
            self._never_started(error)
            return None
        self._become(Lifecycle.RUNNING)
        if self._ties is not None:
            self._ties.running.set()
        return actor

    async def _stop(self, actor: Actor, crash: Exception | None) -> None:
        if crash is not None:
            self._crashed(crash)
            return
        self._become(Lifecycle.STOPPING)
        if self._ties is not None:
            await end_all(self._ties.release())
        try:
            await actor.on_stop()
        except Exception:
            log.exception("%s: on_stop failed", self.address)

    async def _handle_mail(self, actor: Actor) -> Exception | None:
        """Handle messages until the actor is to end (None) or crashes.

        The hot path: no cancel scope, nursery, task or lock is made for a message.
        """
        mailbox = self.mailbox
        receive = actor.receive
        clock = trio.lowlevel.current_clock().current_time
        while True:
            if not self.handled % LOOK_AT_CLOCK_EVERY:
                await self._yield_when_due()
            if self._halted:
                assert self.nursery is not None
                if self.nursery.cancel_scope.cancel_called:
                    await trio.lowlevel.checkpoint()  # raises: what waits is for the next one
                return None
            envelope = mailbox.get_nowait()
            if envelope is None:
                self.current = None
                if self._retiring or (self._passivating and actor.may_passivate()):
                    return None
                self._passivating = False
                if self.kind.idle_after != inf:
                    self.idle_since = clock()
                await trio.lowlevel.wait_task_rescheduled(mailbox.park())
                self.current_since = clock()
                self._slice_end = 0.0
                continue
            # No checkpoint until `receive`: nobody else would answer this envelope.
            self.current = envelope.message
            self.handled += 1
            self._passivating = False
            try:
                answer = await receive(envelope.message)
            except Rejected as refusal:
                envelope.fail(refusal)
            except Exception as error:  # noqa: BLE001 - the door: it goes to asker and policy
                envelope.fail(_caused(ActorCrashed(f"{self.address}: {in_words(error)}"), error))
                return error
            except BaseException:
                crash = ActorCrashed(f"{self.address} was stopped in mid-message")
                envelope.fail(_caused(crash, self._broken))
                raise
            else:
                if envelope.waiter is not None:
                    envelope.settle(answer)

    async def child(self, task: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
        """A task of the actor's own. Its crash is seen here before more mail can be taken up."""
        try:
            await task(*args)
        except Exception as error:
            self._broken, self._halted = error, True
            raise

    async def _yield_when_due(self) -> None:
        now = trio.current_time()
        if not self._slice_end:
            self._slice_end = now + SLICE_SECONDS
        elif now >= self._slice_end or not self.handled % SLICE_MESSAGES:
            await trio.lowlevel.checkpoint()
            now = trio.current_time()
            self._slice_end = now + SLICE_SECONDS
        self.current_since = now

    # -- when it goes wrong -----------------------------------------------------------------

    def _never_started(self, error: Exception) -> None:
        """Whoever waits is told at the end, with those who write until then."""
        self._become(Lifecycle.STOPPED)
        self._start_failure = self._failure = error
        if not isinstance(error, Rejected):
            log.error("%s could not start", self.address, exc_info=error)

    def _moved(self, moved: Moved) -> None:
        try:
            self._home.forward(self, moved.key)
        except AddressTaken as error:
            self._never_started(error)
        else:
            self._become(Lifecycle.STOPPED)
            self._start_failure = moved

    def _crashed(self, error: Exception) -> None:
        if self.lifecycle is Lifecycle.STARTING:  # a child, while on_start ran
            self._never_started(error)
            return
        if self.lifecycle is not Lifecycle.RUNNING:  # a child, while the incarnation was ending
            log.error("%s: a task failed at the end", self.address, exc_info=error)
            return
        now = trio.current_time()
        policy = self.kind.restart
        self._crashes = policy.recent((*self._crashes, now), now)
        if policy.allows(self._crashes, now):
            self.restarts += 1
            self._become(Lifecycle.RESTARTING)
            log.error("%s crashed and starts again", self.address, exc_info=error)
        else:
            self._become(Lifecycle.STOPPED)
            self._failure = error
            log.error("%s crashed too often and was stopped", self.address, exc_info=error)

    def _without_crashes(self, group: BaseExceptionGroup[Any]) -> BaseException:
        """It was cancelled, and failed at that: log this, and let what ended it go on."""
        crashes, rest = group.split(Exception)
        assert rest is not None
        if crashes is not None:
            log.error("%s failed while it was cancelled", self.address, exc_info=crashes)
        return rest

    def _return_mail(self) -> None:
        failure = self._start_failure
        reason = "it has stopped" if failure is None else f"could not start: {in_words(failure)}"
        for envelope in self.mailbox.drain():
            if envelope.waiter is not None:
                envelope.fail(self._farewell())
            elif not self._passed_on(envelope.message):
                self._dead_letters.report(DeadLetter(self.address, envelope.message, reason))

    def _passed_on(self, message: Message[Any]) -> bool:
        """Only tells: who waits sends again, and can still give up."""
        if not isinstance(self._start_failure, Moved):
            return False
        try:
            self._home.ref(self.kind.name, self._start_failure.key).tell(message)
        except ActorError:
            return False
        return True

    def _farewell(self) -> Exception:
        """Each asker gets an error of its own: one raised in many tasks grows their tracebacks."""
        failure = self._start_failure
        if failure is None:
            return ActorStopped(f"{self.address} has stopped; sending again is safe")
        if isinstance(failure, Moved):
            return Elsewhere(failure.key)
        if isinstance(failure, Rejected):
            return _again(failure)
        return _caused(
            ActorCrashed(f"{self.address} could not start: {in_words(failure)}"), failure
        )


class _Context:
    """The actor's view of its cell. See `actor.Context`."""

    __slots__ = ("_cell", "_home", "_nursery")

    def __init__(self, cell: Cell, home: Home, nursery: trio.Nursery) -> None:
        self._cell = cell
        self._home = home
        self._nursery = nursery  # of this incarnation

    @property
    def key(self) -> str:
        return self._cell.key

    @property
    def ref(self) -> Ref:
        return self._home.ref(self._cell.kind.name, self._cell.key)

    def refer(self, kind: str, key: str) -> Ref:
        return self._home.ref(kind, key)

    def start_soon(self, task: Callable[..., Awaitable[object]], *args: Any) -> None:
        self._nursery.start_soon(self._cell.child, task, args, name=task)

    async def start_child(self, kind: str, key: str) -> Ref:
        ref = self._home.ref(kind, key)
        known = self._home.awake(kind, key)
        made = None if known else self._home.find(kind, key)
        try:
            await ref.start()
            self._check()
            child = self._home.awake(kind, key)
            if child is None:
                raise ActorStopped(f"{kind}/{key} ended as soon as it had started")
            self._cell.ties.adopt(child)
        except BaseException:
            if made is not None:
                made.kill()  # nobody would own it
            raise
        return ref

    def watch(self, ref: Ref) -> None:
        self._check()
        self._cell.ties.watch(ref, self._home.awake(ref.kind, ref.key))

    def unwatch(self, ref: Ref) -> None:
        self._check()
        self._cell.ties.unwatch(ref)

    def tell_after(self, seconds: float, message: Message[Any]) -> Timer:
        return self._timer(Timer(self._cell.mailbox, message, seconds, again=False))

    def tell_every(self, seconds: float, message: Message[Any]) -> Timer:
        return self._timer(Timer(self._cell.mailbox, message, seconds, again=True))

    def _timer(self, timer: Timer) -> Timer:
        self._check()
        _ = self._cell.ties  # which forget, at the end, what it has put into the mailbox
        self.start_soon(timer._run)
        return timer

    def stop(self) -> None:
        self._check()
        self._cell.stop()

    def rotate(self, key: str) -> None:
        self._check()
        self._home.rotate(self._cell, key)

    def _check(self) -> None:
        if self._cell.nursery is not self._nursery:
            raise ActorStopped("this incarnation has ended, its address may be another's now")


def _again(refusal: Rejected) -> Rejected:
    """Its equal. Not by calling the class, which may want other arguments than `args`."""
    twin = refusal.__class__.__new__(refusal.__class__, *refusal.args)
    twin.__dict__.update(refusal.__dict__)
    return twin


def _caused(error: Exception, cause: BaseException | None) -> Exception:
    error.__cause__ = cause
    return error
