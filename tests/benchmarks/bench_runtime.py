"""The runtime against bare Trio and against pykka."""

import resource
import sys
from functools import partial

import pykka
import trio
import trio.testing

from actors import Actor, Kind, Message, open_system

from .table import compare, heading, row

BATCH = 1_000
TELLS = 100_000
ASKS = 10_000
IDLE_ACTORS = 50_000


class Add(Message[int]):
    __slots__ = ()


class Rotate(Message[None]):
    __slots__ = ()


class Counter(Actor):
    async def on_start(self) -> None:
        self.total = 0

    async def receive(self, message: Message[object]) -> object:
        if message.__class__ is Rotate:
            self.context.rotate("elsewhere")
        self.total += 1
        return self.total


class PykkaCounter(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: object) -> int:
        self.total += 1
        return self.total


KIND = Kind("counter", lambda key: Counter(), capacity=10 * BATCH)


async def tell(ref) -> int:
    add = Add()
    for _ in range(TELLS // BATCH):
        for _ in range(BATCH):
            ref.tell(add)
        await ref.ask(add)
    return TELLS


async def ask(ref, callers=1) -> int:
    async def caller() -> None:
        add = Add()
        for _ in range(ASKS // callers):
            await ref.ask(add)

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)
    return ASKS


async def raw_tell() -> int:
    """`send_nowait` into a memory channel, and a task that receives."""
    send, receive = trio.open_memory_channel[int](10 * BATCH)

    async def consumer() -> None:
        async for _ in receive:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(consumer)
        for _ in range(TELLS // BATCH):
            for n in range(BATCH):
                send.send_nowait(n)
            while send.statistics().current_buffer_used:
                await trio.lowlevel.checkpoint()
        send.close()
    return TELLS


async def raw_ping_pong() -> int:
    """Two tasks that wake each other: the least that an answer costs."""
    tasks: list[trio.lowlevel.Task] = []

    def abort(_: object) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.SUCCEEDED

    async def pong() -> None:
        tasks.append(trio.lowlevel.current_task())
        while True:
            await trio.lowlevel.wait_task_rescheduled(abort)
            trio.lowlevel.reschedule(ping)

    async with trio.open_nursery() as nursery:
        ping = trio.lowlevel.current_task()
        nursery.start_soon(pong)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(ASKS):
            trio.lowlevel.reschedule(tasks[0])
            await trio.lowlevel.wait_task_rescheduled(abort)
        nursery.cancel_scope.cancel()
    return ASKS


async def raw_ask(callers: int) -> int:
    """A memory channel, and an `Event` for each answer."""
    send, receive = trio.open_memory_channel[tuple[list[int], trio.Event]](callers)

    async def server() -> None:
        total = 0
        async for box, event in receive:
            total += 1
            box.append(total)
            event.set()

    async def caller() -> None:
        for _ in range(ASKS // callers):
            box: list[int] = []
            event = trio.Event()
            await send.send((box, event))
            await event.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        async with trio.open_nursery() as asking:
            for _ in range(callers):
                asking.start_soon(caller)
        send.close()
    return ASKS


async def pykka_tell(ref) -> int:
    for _ in range(TELLS // BATCH // 5):
        for _ in range(BATCH):
            ref.tell(1)
        ref.ask(1)
    return TELLS // 5


async def pykka_ask(ref) -> int:
    for _ in range(ASKS // 5):
        ref.ask(1)
    return ASKS // 5


async def start_and_stop() -> int:
    async with open_system(KIND) as system:
        for n in range(5_000):
            system.ref("counter", str(n)).tell(Add())
    return 5_000


async def spawn_bare_tasks() -> int:
    async with trio.open_nursery() as nursery:
        for _ in range(5_000):
            nursery.start_soon(trio.lowlevel.checkpoint)
    return 5_000


def resident() -> int:
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()


async def idle_actors() -> None:
    """In a process of its own: bytes for each of many actors that wait."""
    async with open_system(KIND) as system:
        before = resident()
        add = Add()
        for n in range(IDLE_ACTORS):
            system.ref("counter", str(n)).tell(add)
        await trio.testing.wait_all_tasks_blocked()
        print((resident() - before) / IDLE_ACTORS)


async def main() -> None:
    heading("The runtime")
    async with open_system(KIND) as system:
        ref, moved = system.ref("counter", "direct"), system.ref("counter", "here")
        await ref.ask(Add())
        await moved.ask(Rotate())
        old_name = system.ref("counter", "here")
        tell_, ask_ = partial(tell, ref), partial(ask, ref)
        await compare("tell", tell_, raw_tell, "channel send_nowait", ">= 6x")
        await compare("ask, 1 caller", ask_, raw_ping_pong, "bare ping-pong", ">= 0.8x")
        crowd = partial(ask, ref, 100)
        channel = partial(raw_ask, 100)
        await compare("ask, 100 callers", crowd, channel, "channel + Event", ">= 2x")
        through = partial(tell, old_name)
        await compare("tell to a rotated address", through, tell_, "direct", ">= 0.95x")
        peer = PykkaCounter.start()
        await compare("tell", tell_, partial(pykka_tell, peer), "pykka", "> 1x")
        await compare("ask, 1 caller", ask_, partial(pykka_ask, peer), "pykka", "> 1x")
        peer.stop()
    await compare("start and stop", start_and_stop, spawn_bare_tasks, "bare Trio task", "report")
    command = [sys.executable, "-m", "tests.benchmarks.bench_runtime", "idle"]
    each = float((await trio.run_process(command, capture_stdout=True)).stdout)
    share = f"{each / 8192:.2f}"
    row(f"{IDLE_ACTORS:,} idle actors", f"{each:,.0f} B each", "8,192 B", share, "<= 1")


if __name__ == "__main__":
    trio.run(idle_actors if sys.argv[1:] == ["idle"] else main)
