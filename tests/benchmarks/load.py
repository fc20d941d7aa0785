"""Clients that cost little: one thread, any number of keep-alive connections, raw bytes."""

import json
import os
import re
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SESSION_ID = re.compile(rb'"session_id": ?"([0-9a-f]+)"')
WARM = 0.2  # seconds, before what counts
# What a browser sends with each request of a page.
HEADERS = """Host: 127.0.0.1:8700
Connection: keep-alive
sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: "Linux"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36
Accept: application/json
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: http://127.0.0.1:8700/
Accept-Language: en-US,en;q=0.9
""".replace("\n", "\r\n")


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> int:
    """Bytes of memory that a process has now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Load:
    """What a server did in a while."""

    requests: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def microseconds(self) -> float:
        """Of the server's CPU, for a request."""
        return self.cpu / self.requests * 1e6


Ask = Callable[[bytes], bytes]
"""Gives the next request, after the body of the answer to the last."""


class _Client:
    """Asks again as soon as it is answered, on another connection where the server speaks HTTP/1.0.
    Answers must say how long they are.
    """

    def __init__(
        self, selector: selectors.BaseSelector, host: str, port: int, asking: Callable[[], Ask]
    ) -> None:
        self.answers = 0
        self._selector = selector
        self._address = (host, port)
        self._ask = asking()
        self._buffer = b""
        self._missing = 0
        self._connect()
        self._socket.sendall(self._ask(b""))

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(self._socket, selectors.EVENT_READ, self)

    def close(self) -> None:
        self._selector.unregister(self._socket)
        self._socket.close()

    def read(self) -> None:
        self._buffer += self._socket.recv(1 << 18)
        if not self._missing:
            head, blank, _ = self._buffer.partition(b"\r\n\r\n")
            if not blank:
                assert head, "the connection was closed"
                return
            assert head[9:10] == b"2", head
            self._missing = len(head) + 4 + _length(head)
        if len(self._buffer) >= self._missing:
            answer, self._buffer, self._missing = self._buffer, b"", 0
            self.answers += 1
            if answer.startswith(b"HTTP/1.0"):
                self.close()
                self._connect()
            self._socket.sendall(self._ask(answer))


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise AssertionError(f"no length in {head!r}")


def keep_asking(
    pid: int, host: str, port: int, asking: Callable[[], Ask], clients: int, seconds: float
) -> Load:
    """So many clients ask, for so long, each in its own way."""
    with selectors.DefaultSelector() as selector:
        crowd = [_Client(selector, host, port, asking) for _ in range(clients)]
        _work(selector, WARM)
        before, began = sum(client.answers for client in crowd), time.perf_counter()
        cpu = cpu_seconds(pid)
        _work(selector, seconds)
        cpu, took = cpu_seconds(pid) - cpu, time.perf_counter() - began
        answers = sum(client.answers for client in crowd) - before
        for client in crowd:
            client.close()
    return Load(answers, took, cpu)


def _work(selector: selectors.BaseSelector, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        for key, _ in selector.select(left):
            key.data.read()


def get(path: str) -> Callable[[], Ask]:
    request = f"GET {path} HTTP/1.1\r\n{HEADERS}\r\n".encode()
    return lambda: lambda answer: request


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\n{HEADERS}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def importing_and_undoing(messages: int) -> Callable[[], Ask]:
    """A new session of so many messages, then an undo in it, and again."""
    rows = [
        {"role": ("user", "assistant")[n % 2], "content": "word " * 40} for n in range(messages)
    ]
    imported = post("/api/session/import", json.dumps({"messages": rows}).encode())

    def asking() -> Ask:
        turn = count()

        def ask(answer: bytes) -> bytes:
            if next(turn) % 2 == 0:
                return imported
            found = SESSION_ID.search(answer)
            assert found, answer
            return post("/api/session/undo", b'{"session_id": "%s"}' % found[1])

        return ask

    return asking
