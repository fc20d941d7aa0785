"""A model provider that streams as is planned, and sees when it is left."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from tests.faults.stop_plan import Plan

__all__ = ["Call", "Provider", "open_provider"]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Call:
    """One request, as the provider sees it."""

    def __init__(self, plan: Plan, request: dict) -> None:
        self.plan = plan
        self.messages: list[dict] = request["messages"]
        self.headers_sent = False
        self.finished = False
        self.closed_at: float | None = None
        self.closed = trio.Event()


class Provider:
    """Answers as is planned for the prompt, until it has said all or is left."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.plans: dict[str, Plan] = {}
        self.calls: dict[str, Call] = {}
        self._connections = 0
        self._gone = trio.lowlevel.ParkingLot()

    async def wait_left(self) -> None:
        """Until nobody is connected any more."""
        while self._connections:
            await self._gone.park()

    async def serve(self, stream: trio.SocketStream) -> None:
        self._connections += 1
        try:
            async with stream:
                request = await _request(stream)
                if request is not None:
                    await self._serve(stream, request)
        finally:
            self._connections -= 1
            self._gone.unpark_all()

    async def _serve(self, stream: trio.SocketStream, request: dict) -> None:
        prompt = request["messages"][-1]["content"]
        assert prompt not in self.calls, f"asked twice: {prompt}"
        call = self.calls[prompt] = Call(self.plans[prompt], request)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._answer, stream, call)
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some(1024):
                    pass
            call.closed_at = trio.current_time()
            call.closed.set()
            call.plan.near_end.set()
            nursery.cancel_scope.cancel()

    async def _answer(self, stream: trio.SocketStream, call: Call) -> None:
        async def send(chunk: dict) -> None:
            await stream.send_all(b"data: %s\n\n" % json.dumps(chunk).encode())

        plan = call.plan
        if plan.kind == "deaf":
            return
        await trio.sleep(plan.headers_after)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(HEAD)
            call.headers_sent = True
            if plan.kind == "mute":
                return
            if plan.kind == "answer":
                await plan.go.wait()
                await send({"choices": [{"delta": {"content": f"Answer to {plan.prompt}"}}]})
            else:
                await trio.sleep(plan.first_after)
                for chunk in plan.chunks():
                    await send(chunk)
                    if plan.pace:
                        await trio.sleep(plan.pace)
                if plan.lead < 0:
                    plan.near_end.set()
                    await trio.sleep(-plan.lead)
            await send({"choices": [{"delta": {}, "finish_reason": "stop"}]})
            if plan.counts:
                usage = {"prompt_tokens": 9000, "completion_tokens": 90}
                await send({"choices": [], "usage": usage})
            await stream.send_all(b"data: [DONE]\n\n")
            call.finished = True
            if plan.lead > 0:
                await trio.sleep(plan.lead)
            plan.near_end.set()


async def _request(stream: trio.SocketStream) -> dict | None:
    data = b""
    with suppress(trio.BrokenResourceError):
        while part := await stream.receive_some(65536):
            data += part
            head, found, body = data.partition(b"\r\n\r\n")
            if found:
                length = head.lower().partition(b"content-length:")[2].split()[0]
                if len(body) == int(length):
                    return json.loads(body)
    return None


@asynccontextmanager
async def open_provider() -> AsyncIterator[Provider]:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
        provider = Provider(listeners[0].socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, provider.serve, listeners)
        yield provider
        nursery.cancel_scope.cancel()
