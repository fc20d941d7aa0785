"""Two actors: one counts, the other clicks until it is told to stop."""

from dataclasses import dataclass

import trio

from actors import Actor, Kind, Message, Ref, open_system


@dataclass(frozen=True)
class Add(Message[int]):
    """Answered with the new total."""

    amount: int


@dataclass(frozen=True)
class Click(Message[None]):
    """A clicker's own: it is time."""


class Counter(Actor):
    async def on_start(self) -> None:
        self.total = 0

    async def receive(self, message: Message[object]) -> object:
        match message:
            case Add(amount):
                self.total += amount
                return self.total
        raise NotImplementedError(message)


class Clicker(Actor):
    """Clicks ten times a second, and ends when the counter has come to five."""

    async def on_start(self) -> None:
        self.counter: Ref = self.context.refer("counter", "clicks")
        self.context.tell_every(0.1, Click())

    async def receive(self, message: Message[object]) -> object:
        total = await self.counter.ask(Add(1))
        print("click", total, flush=True)
        if total == 5:
            self.context.stop()
        return None


async def main() -> None:
    kinds = (
        Kind("counter", lambda key: Counter()),
        Kind("clicker", lambda key: Clicker()),
    )
    async with open_system(*kinds) as system:
        await system.ref("clicker", "only").start()
        with trio.fail_after(5):  # your cancel scope is the deadline
            await system.ref("clicker", "only").wait_ended()
            print("total", await system.ref("counter", "clicks").ask(Add(0)))


if __name__ == "__main__":
    trio.run(main)
