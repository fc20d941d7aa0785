"""An agent whose strings the test holds."""

import trio

from actors.session.agent import AgentEvent, AgentTurn, Emit, TextDelta

__all__ = ["Puppet", "PuppetTurn"]


class PuppetTurn:
    """One turn that waits for the test to say what happens next."""

    def __init__(self, turn: AgentTurn, emit: Emit) -> None:
        self.asked = turn
        self.cancelled = False
        self._emit = emit
        self._over = trio.Event()
        self._failure: Exception | None = None

    async def say(self, *events: AgentEvent | str) -> None:
        """Emit these; a string is text."""
        for event in events:
            await self._emit(TextDelta(event) if isinstance(event, str) else event)

    def finish(self, failure: Exception | None = None) -> None:
        """Let the agent return, or raise `failure`."""
        self._failure = failure
        self._over.set()

    async def _run(self) -> None:
        try:
            await self._over.wait()
        except trio.Cancelled:
            self.cancelled = True
            raise
        if self._failure is not None:
            raise self._failure


class Puppet:
    """An `Agent`. Each turn that begins is handed to the test by `next_turn`, in order."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[PuppetTurn](64)

    async def __call__(self, turn: AgentTurn, emit: Emit) -> None:
        puppet_turn = PuppetTurn(turn, emit)
        self._send.send_nowait(puppet_turn)
        await puppet_turn._run()

    async def next_turn(self) -> PuppetTurn:
        """The next turn that has begun; waits for it."""
        return await self._receive.receive()
