"""The running server that a command talks to: where it is, how to wait for it, what it refuses."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import click
import httpx
import msgspec
import trio
from httpx_sse import EventSource, SSEError, aconnect_sse

from ..run_file import read_run_file
from .directory import data_dir_option

__all__ = ["Refused", "Server", "Unreachable", "error_of", "open_server_at", "server_options"]

TOKEN = "GREENROOM_TOKEN"
HERE = ("127.0.0.1", "localhost", "::1")
# A stream is never silent for longer than its keep-alive.
TIMEOUT = httpx.Timeout(60, connect=10)
STREAM_TIMEOUT = httpx.Timeout(20, connect=10)
FIRST_WAIT, LONGEST_WAIT = 0.1, 3.0
PATIENCE = 300.0
AWAY = (502, 503, 504)
ADVICE = {
    401: f"set {TOKEN} to a token of this server, which has users (greenroom token create)",
    403: f"another token in {TOKEN} may be allowed to",
}

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")


class Unreachable(click.ClickException):
    """There was no answer. Asking again may help, and does no harm under the same key."""


class Refused(click.ClickException):
    def __init__(self, status: int, text: str) -> None:
        advice = ADVICE.get(status)
        super().__init__(f"{text}: {advice}" if advice else text)
        self.status = status


def server_options(command: F) -> F:
    url = click.option(
        "--url",
        envvar="GREENROOM_URL",
        metavar="URL",
        help=f"The server; its token is taken from {TOKEN}. Else that of the data directory.",
    )
    return url(data_dir_option(command))


class Server:
    """It may go away and come back elsewhere: every request looks for it anew."""

    def __init__(
        self, http: httpx.AsyncClient, url: str | None, data_dir: Path, say: Callable[[str], None]
    ) -> None:
        self._http, self._url, self._data_dir, self._say = http, url, data_dir, say
        self._reached = self._lost = False

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        return _object(await self._request("GET", path, params=params))

    async def fetch(self, path: str, **params: Any) -> bytes:
        return (await self._request("GET", path, params=params)).content

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Done once, however often it has to be sent."""
        headers = {"Idempotency-Key": uuid4().hex}

        async def send() -> dict[str, Any]:
            return _object(await self._request("POST", path, json=body, headers=headers))

        return await self.until_answered(send)

    async def until_answered(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try it again while the server is away; but if it never was there, say so at once."""
        wait, end = FIRST_WAIT, trio.current_time() + PATIENCE
        while True:
            try:
                return await attempt()
            except Unreachable:
                if not self._reached or trio.current_time() > end:
                    raise
                self.lost()
                await trio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    def lost(self) -> None:
        """Say it, once for each time that it is away."""
        if not self._lost:
            self._say("reconnecting")
        self._lost = True

    @asynccontextmanager
    async def stream(self, path: str, **params: Any) -> AsyncIterator[EventSource]:
        """Raises `Unreachable` in the block when the connection is cut."""
        url, headers = self._place()
        try:
            async with aconnect_sse(
                self._http,
                "GET",
                url + path,
                params=params,
                headers=headers,
                timeout=STREAM_TIMEOUT,
            ) as source:
                if source.response.status_code != 200:
                    await source.response.aread()
                # The server may not know yet that the stream before this one is gone.
                self._check(source.response, again=(*AWAY, 429))
                yield source
        except (httpx.RequestError, SSEError) as error:
            raise Unreachable(f"the server at {url} broke off") from error

    async def _request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        url, ours = self._place()
        try:
            response = await self._http.request(
                method, url + path, headers={**ours, **(headers or {})}, **more
            )
        except httpx.RequestError as error:
            what = "does not answer any more" if self._reached else "does not answer"
            raise Unreachable(f"the server at {url} {what}; {_how(self._url)}") from error
        self._check(response)
        return response

    def _place(self) -> tuple[str, dict[str, str]]:
        url, token = self._url, os.environ.get(TOKEN)
        if url is None:
            found = read_run_file(self._data_dir.expanduser())
            if found is None:
                where = f"no server is running on '{self._data_dir}'"
                raise Unreachable(f"{where}; {_how(None)}")
            url = found.url  # and not its token: what that begins would be nobody's
        return url, {"Authorization": f"Bearer {token}"} if token else {}

    def _check(self, response: httpx.Response, again: Sequence[int] = AWAY) -> None:
        status = response.status_code
        if status in again and self._reached:
            raise Unreachable(error_of(response))
        if not response.is_success:
            raise Refused(status, error_of(response))
        self._reached, self._lost = True, False


def _how(url: str | None) -> str:
    return "start one with `greenroom`" + ("" if url else ", or name one with --url")


def error_of(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, LookupError, TypeError):
        return f"{response.url} answered with status {response.status_code}"


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Refused(0, f"{response.url} is not of a Greenroom server") from None


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise click.UsageError(f"--url must begin with http:// or https://, not {url!r}")
    return str(parsed).rstrip("/")


@asynccontextmanager
async def open_server_at(
    url: str | None, data_dir: Path, say: Callable[[str], None]
) -> AsyncIterator[Server]:
    """The server at `url`, or else that of the data directory. `say` is told when it is away."""
    url = _checked(url) if url else None
    proxies = url is not None and httpx.URL(url).host not in HERE
    async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=proxies) as http:
        yield Server(http, url, data_dir, say)
