"""One run of the server, from its settings to its exit code."""

import errno
import gc
import logging
import os
import resource
import secrets
import shlex
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import click
import trio
from quart_trio import QuartTrio

from .allocator import keep_little
from .authority.hosts import is_loopback
from .authority.users import FILE, UserError, read_users
from .config import Config, ConfigError
from .data_dir import check_data_dir
from .progress import show_progress
from .run_file import remove_run_file, write_run_file
from .server import Address, address_of, bind, serve

__all__ = ["House", "run"]

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
# Python's own is for small programs: with a thousand streams it took half of the time. Next to
# nothing of what a stream leaves behind is a cycle.
GARBAGE_THRESHOLD = (50_000, 20, 100)
LAST_RESORT_SECONDS = 9.5


@dataclass(frozen=True, slots=True)
class House:
    """What a run serves: an app, how it comes to rest, and what answers in it. `token` is known to
    whoever may read the data directory; see `app.run_file`.
    """

    app: QuartTrio
    settle: Callable[[], Awaitable[object]]
    agent_status: Callable[[], Mapping[str, Any]]
    token: str = field(default_factory=secrets.token_urlsafe, repr=False)


OpenHouse = Callable[[Config, trio.Event], AbstractAsyncContextManager[House]]


async def run(config: Config, open_house: OpenHouse) -> int:
    """Serve until SIGTERM or SIGINT, settle, and give the exit code.

    A second signal cuts the settling short. Raises `ConfigError` if it cannot start.
    """
    os.umask(0o077)  # whatever it was: what lies here is for its owner only
    check_data_dir(config.data_dir)
    _allow_many_files()
    keep_little()
    exit_code = 0
    stopping, serving = trio.Event(), trio.Event()
    async with await _bind(config) as listener:
        config = replace(config, public=not is_loopback(address_of(listener)[0]))
        _check_users(config)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:

                async def stop_on_signals() -> None:
                    nonlocal exit_code
                    await anext(signals)
                    _start_last_resort()
                    stopping.set()
                    if serving.is_set():
                        await anext(signals)
                        click.echo("greenroom: stopped before everything had settled", err=True)
                        exit_code = 1
                    nursery.cancel_scope.cancel()

                nursery.start_soon(stop_on_signals)
                await _serve(config, open_house, listener, stopping, serving)
                nursery.cancel_scope.cancel()
    return exit_code


async def _serve(
    config: Config,
    open_house: OpenHouse,
    listener: trio.SocketListener,
    stopping: trio.Event,
    serving: trio.Event,
) -> None:
    async with open_house(config, stopping) as house:
        try:
            await _serve_house(config, house, listener, stopping, serving)
        finally:
            remove_run_file(config.data_dir)


async def _serve_house(
    config: Config,
    house: House,
    listener: trio.SocketListener,
    stopping: trio.Event,
    serving: trio.Event,
) -> None:
    async def settle() -> None:
        with trio.move_on_after(SETTLE_SECONDS) as scope:
            await house.settle()
        if scope.cancelled_caught:
            logger.warning("Not everything had settled after %s s", SETTLE_SECONDS)

    stock = config.http == "stock"
    start = partial(serve, house.app, listener, stopping=stopping, settle=settle, stock=stock)
    async with trio.open_nursery() as nursery:
        address = await nursery.start(start)
        serving.set()
        gc.freeze()
        gc.set_threshold(*GARBAGE_THRESHOLD)
        try:
            write_run_file(config.data_dir, address, house.token)
        except OSError as error:
            logger.warning("Commands will not find this server: %s", error)
        _announce(address)
        nursery.start_soon(show_progress, house.agent_status, stopping)


def _allow_many_files() -> None:
    """Each open page is a connection or two, and the usual limit is meant for `select`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _bind(config: Config) -> trio.SocketListener:
    try:
        return await bind(config.host, config.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            why = f"port {config.port} is taken; choose another one with --port"
        else:
            why = error.strerror or str(error)
        raise ConfigError(f"cannot listen on {_authority(config.host, config.port)}: {why}") from (
            error
        )


def _check_users(config: Config) -> None:
    try:
        users = read_users(config.data_dir).users
    except UserError as error:
        raise ConfigError(f"{error} ({config.data_dir / FILE})") from error
    if config.public and not users:
        directory = shlex.quote(str(config.data_dir))
        raise ConfigError(
            f"{config.host} can be reached from other machines, and nobody has a password yet;"
            f" add a user first: greenroom user add NAME --data-dir {directory}"
        )


def _announce(address: Address) -> None:
    """The one line on stdout: whoever waits for it can connect from now on."""
    host, port = address
    click.echo(f"Greenroom is ready at http://{_authority(host, port)}")


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _start_last_resort() -> None:
    """Whatever hangs from now on: the process ends in time."""

    def end() -> None:
        time.sleep(LAST_RESORT_SECONDS)
        os.write(2, b"greenroom: error: did not stop in time, giving up\n")
        os._exit(1)

    threading.Thread(target=end, name="last resort", daemon=True).start()
