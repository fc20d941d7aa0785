"""How a server process ends, whoever is connected and whatever hangs."""

import signal
import socket
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.server import bind
from tests.app.process import running_server, started

pytestmark = pytest.mark.process

BUSY_HOUSE = Path(__file__).with_name("busy_house.py")


def busy_house(tmp_path):
    return (sys.executable, str(BUSY_HOUSE), str(tmp_path))


def running_busy_house(tmp_path, *words):
    return running_server(tmp_path, *words, command=busy_house(tmp_path))


@contextmanager
def connected(server, path=None, receive_buffer=None):
    """A plain socket, so that nothing reads unless the test does."""
    with socket.socket() as client:
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(30)
        client.connect((server.host, server.port))
        if path is not None:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        yield client


def read_until(client, end):
    received = b""
    while not received.endswith(end):
        part = client.recv(65536)
        assert part, f"the connection was closed after {received!r}"
        received += part
    return received


def read_to_eof(client):
    received = b""
    while part := client.recv(65536):
        received += part
    return received


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_code_0_and_without_complaint(tmp_path, number):
    async with running_busy_house(tmp_path) as server:
        assert await server.stop(number) == 0
        assert server.stderr == "settling\n"
        assert server.stdout == f"Greenroom is ready at {server.url}\n"


async def test_idle_stalled_and_streaming_clients_do_not_keep_it(tmp_path):
    async with running_busy_house(tmp_path) as server:
        with (
            connected(server),
            connected(server, "/") as idle,
            connected(server, "/flood", receive_buffer=4096) as stalled,
            connected(server, "/stream") as streaming,
            connected(server, "/endless") as endless,
        ):
            read_until(idle, b"hello")
            assert stalled.recv(1) == b"H"
            read_until(streaming, b"first\n\n\r\n")
            read_until(endless, b"first\n\n\r\n")
            started = time.monotonic()
            assert await server.stop() == 0
            assert time.monotonic() - started < 5  # 1.5 s and what a busy machine adds.
            assert read_to_eof(streaming).endswith(b"event: last\n\n\r\n0\r\n\r\n")
            assert read_to_eof(idle) == b""
            assert read_to_eof(endless) == b""
            with pytest.raises(ConnectionResetError):
                read_to_eof(stalled)
        assert server.stderr == "settling\n"


async def test_settling_has_a_deadline(tmp_path):
    async with running_busy_house(tmp_path, "unsettled", "short-settle") as server:
        assert await server.stop() == 0


async def test_a_second_signal_cuts_the_settling_short(tmp_path):
    async with running_busy_house(tmp_path, "unsettled") as server:
        with connected(server, "/flood", receive_buffer=4096) as stalled:
            assert stalled.recv(1) == b"H"
            server.process.send_signal(signal.SIGTERM)
            await server.wait_written("stderr", "settling\n")
            assert await server.stop() == 1
        assert server.stderr == "settling\ngreenroom: stopped before everything had settled\n"


async def test_a_process_that_hangs_ends_by_its_last_resort(tmp_path):
    async with running_busy_house(tmp_path, "stuck", "short-last-resort") as server:
        assert await server.stop() == 1
        assert server.stderr == "settling\ngreenroom: error: did not stop in time, giving up\n"


async def test_one_signal_is_enough_before_it_is_ready(tmp_path):
    command = busy_house(tmp_path)
    async with started(tmp_path, "slow-start", command=command) as server:
        await server.wait_written("stderr", "opening\n")
        assert await server.stop() == 0
        assert server.stdout == ""


async def test_the_address_is_free_again_at_once(tmp_path):
    async with running_busy_house(tmp_path) as server:
        with connected(server, "/") as client:
            read_until(client, b"hello")
            await server.stop()
            async with await bind(server.host, server.port):
                pass
