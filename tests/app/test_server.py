"""The server over real sockets; where time matters it is a mock clock that the test moves."""

import errno
import socket
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count, islice

import h2.config
import h2.connection
import h2.events
import h11
import pytest
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve as stock_serve
from quart import request
from quart_trio import QuartTrio
from trio.testing import wait_all_tasks_blocked

from app import server
from app.asgi import EXTENSION, HTTPConnection
from app.http1 import LAST_ANSWER_SECONDS
from app.idle import KEEP_ALIVE
from app.writes import WRITE_TIMEOUT

BLOCK = b"x" * 65536


class House:
    """An app with one route for each way to keep a connection busy."""

    def __init__(self, stock):
        self.stock = stock
        self.stopping = trio.Event()
        self.reached = trio.Event()
        self.release = trio.Event()
        self.stopped = trio.Event()
        self.app = QuartTrio(__name__)
        self.app.route("/")(self.hello)
        self.app.route("/slow")(self.slow)
        self.app.route("/large")(self.large)
        self.app.route("/body", methods=["POST"])(self.body)
        self.app.route("/stream")(self.stream)
        self.app.route("/endless")(self.endless)
        self.app.route("/flood")(self.flood)
        self.app.route("/watch")(self.watch)
        self.app.route("/pushed")(self.pushed)
        self.app.route("/nothing")(self.nothing)
        self.app.route("/fails")(self.fails)

    async def hello(self):
        return "hello"

    async def slow(self):
        self.reached.set()
        await self.release.wait()
        return "slow answer"

    async def large(self):
        self.reached.set()
        return BLOCK * 256

    async def body(self):
        return str(len(await request.get_data()))

    async def stream(self):
        """Ends as a stream should when the server is to stop."""

        async def parts():
            yield b"first\n"
            self.reached.set()
            await self.stopping.wait()
            yield b"last\n"

        return parts()

    async def endless(self):
        """Does not care."""

        async def parts():
            yield b"first\n"
            self.reached.set()
            await self.release.wait()
            yield b"second\n"
            await trio.sleep_forever()

        return parts()

    async def watch(self):
        """Silent, until its client goes."""

        async def parts():
            yield b"first\n"
            try:
                await trio.sleep_forever()
            finally:
                self.release.set()

        return parts()

    async def pushed(self):
        """Numbers, written past the messages of the app until the client has no room for more."""
        push = request.scope["extensions"][EXTENSION]
        numbers = (b"%09d\n" % n for n in count())

        def block():
            return b"".join(islice(numbers, 1000))

        async def parts():
            yield block()
            while push.push(block()):
                pass
            assert not push.push(block())
            self.reached.set()
            await push.flush()
            yield block()
            push.push(block())

        return parts()

    async def nothing(self):
        return "", 204

    async def fails(self):
        async def parts():
            yield b"first\n"
            raise RuntimeError("in the middle")

        return parts()

    async def flood(self):
        async def parts():
            self.reached.set()
            while True:
                yield BLOCK

        return parts()


@pytest.fixture(params=["own", "own, plain Quart-Trio", "stock"])
async def house(request):
    """Each test, on both ways to speak HTTP/1.1, and on both through a request."""
    house = House(request.param == "stock")
    if "plain" not in request.param:
        house.app.asgi_http_class = HTTPConnection
    return house


@asynccontextmanager
async def serving(house, **options):
    """Our server; `house.stopped` is set when it has ended. Gives the address."""
    listener = await server.bind("127.0.0.1", 0)

    async def run(task_status):
        await server.serve(
            house.app,
            listener,
            stopping=house.stopping,
            stock=house.stock,
            task_status=task_status,
            **options,
        )
        house.stopped.set()

    async with trio.open_nursery() as nursery:
        yield await nursery.start(run)
        house.stopping.set()


@asynccontextmanager
async def serving_stock(house):
    """Hypercorn as it comes, to see whether its faults are still there."""
    config = HypercornConfig()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None

    async def run(task_status):
        await stock_serve(
            house.app,
            config,
            mode="asgi",
            shutdown_trigger=house.stopping.wait,
            task_status=task_status,
        )
        house.stopped.set()

    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(run)
        yield "127.0.0.1", int(url.rpartition(":")[2])
        house.stopping.set()


@asynccontextmanager
async def connected(address, receive_buffer=None):
    sock = trio.socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    with sock:
        await sock.connect(address)
        yield trio.SocketStream(sock)


async def ask(stream, path):
    await stream.send_all(b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n" % path.encode())


async def read_until(stream, end):
    received = b""
    while end not in received:
        part = await stream.receive_some()
        assert part, f"the connection was closed after {received!r}"
        received += part
    return received


async def read_to_eof(stream):
    return b"".join([part async for part in stream])


def is_open(stream):
    """Whether the server has not closed its end; nothing is waiting to be read."""
    try:
        return stream.socket._sock.recv(1) != b""
    except BlockingIOError:
        return True


# The address


async def test_a_free_port_is_chosen_and_told(house):
    async with serving(house) as (host, port):
        assert host == "127.0.0.1"
        assert port > 0
        async with connected((host, port)) as client:
            await ask(client, "/")
            assert (await read_until(client, b"hello")).startswith(b"HTTP/1.1 200")


async def test_a_taken_port_is_an_os_error_before_anything_is_served(house):
    listener = await server.bind("127.0.0.1", 0)
    async with listener:
        with pytest.raises(OSError, check=lambda error: error.errno == errno.EADDRINUSE):
            await server.bind(*server.address_of(listener))


async def test_a_name_is_bound_on_its_ipv4_address():
    async with await server.bind("localhost", 0) as listener:
        assert server.address_of(listener)[0] == "127.0.0.1"


async def test_connections_made_before_serving_are_answered(house):
    listener = await server.bind("127.0.0.1", 0)
    async with connected(server.address_of(listener)) as client, trio.open_nursery() as nursery:
        await ask(client, "/")
        await nursery.start(partial(server.serve, house.app, listener, stopping=house.stopping))
        await read_until(client, b"hello")
        house.stopping.set()


# Fault 1: an idle connection


async def test_an_idle_connection_is_closed_after_the_keep_alive_time(house, mock_clock):
    async with serving(house) as address, connected(address) as client:
        for _ in range(2):
            await ask(client, "/")
            await read_until(client, b"hello")
            await wait_all_tasks_blocked()
            mock_clock.jump(KEEP_ALIVE - 1)
            await wait_all_tasks_blocked()
            assert is_open(client)
        mock_clock.jump(1)
        assert await client.receive_some() == b""


async def test_a_connection_is_closed_when_its_client_asked_for_that(house):
    async with serving(house) as address, connected(address) as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert (await read_to_eof(client)).endswith(b"hello")


async def test_an_idle_connection_does_not_delay_the_shutdown(house, mock_clock):
    async with serving(house) as address, connected(address) as client:
        await ask(client, "/")
        await read_until(client, b"hello")
        house.stopping.set()
        assert await client.receive_some() == b""
        await house.stopped.wait()


async def test_stock_hypercorn_still_leaves_idle_connections_open(house, mock_clock):
    async with serving_stock(house) as address, connected(address) as client:
        await ask(client, "/")
        await read_until(client, b"hello")
        await wait_all_tasks_blocked()
        mock_clock.jump(1000)
        await wait_all_tasks_blocked()
        assert is_open(client)


@pytest.mark.parametrize("path", [None, "/", "/stream", "/slow"])
async def test_the_connection_of_a_client_that_left_is_gone_at_once(house, mock_clock, path):
    async with serving(house, max_connections=1) as address:
        for _ in range(3):
            async with connected(address) as client:
                if path:
                    await ask(client, path)
                    await (read_until(client, b"hello") if path == "/" else house.reached.wait())
            await wait_all_tasks_blocked()
            mock_clock.jump(LAST_ANSWER_SECONDS)
            await wait_all_tasks_blocked()
        async with connected(address) as client:
            await ask(client, "/")
            await read_until(client, b"hello")


async def test_who_has_sent_its_last_request_gets_all_answers(house):
    if house.stock:
        pytest.skip("the last one is lost now and then")
    async with serving(house) as address, connected(address) as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 200)
        await client.send_eof()
        assert (await read_to_eof(client)).count(b"hello") == 200


async def test_who_has_sent_its_last_request_may_wait_for_the_answer(house, mock_clock):
    if house.stock:
        pytest.skip("it takes that for a client that left")
    async with serving(house) as address, connected(address) as client:
        await ask(client, "/slow")
        await client.send_eof()
        await house.reached.wait()
        await wait_all_tasks_blocked()
        house.release.set()
        assert b"slow answer" in await read_to_eof(client)


async def test_stock_hypercorn_still_keeps_the_connection_of_a_client_that_left(house, mock_clock):
    async with serving_stock(house) as address, connected(address) as client:
        await client.send_eof()
        await wait_all_tasks_blocked()
        assert is_open(client)


# Fault 2: a reader that stalls


async def test_a_stalled_reader_is_dropped_a_second_after_the_stop(house, mock_clock):
    async with serving(house) as address, connected(address, receive_buffer=4096) as client:
        await ask(client, "/flood")
        await house.reached.wait()
        await wait_all_tasks_blocked()
        house.stopping.set()
        await wait_all_tasks_blocked()
        assert not house.stopped.is_set()
        mock_clock.jump(server.WRITE_GRACE)
        await house.stopped.wait()
        with pytest.raises(trio.BrokenResourceError):  # A reset: nothing lingers.
            await read_to_eof(client)


async def test_a_stalled_reader_is_dropped_after_the_write_timeout(house, mock_clock):
    async with serving(house) as address, connected(address, receive_buffer=4096) as client:
        await ask(client, "/flood")
        await house.reached.wait()
        await wait_all_tasks_blocked()
        mock_clock.jump(WRITE_TIMEOUT)
        with pytest.raises(trio.BrokenResourceError):
            await read_to_eof(client)


async def test_a_slow_reader_of_a_large_answer_gets_all_of_it(house, mock_clock):
    async with serving(house) as address, connected(address, receive_buffer=65536) as client:
        await ask(client, "/large")
        received = len(await read_until(client, b"\r\n\r\n"))
        while received < 256 * len(BLOCK):
            wanted = received + 16 * len(BLOCK)
            while received < min(wanted, 256 * len(BLOCK)):
                received += len(await client.receive_some())
            await wait_all_tasks_blocked()
            mock_clock.jump(WRITE_TIMEOUT - 1)
            await wait_all_tasks_blocked()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_what_is_pushed_comes_between_the_parts_of_an_answer(house, version):
    if house.stock:
        pytest.skip("it cannot do it")
    async with serving(house) as address, connected(address, receive_buffer=4096) as client:
        request = f"GET /pushed HTTP/{version}\r\nHost: h\r\nConnection: close\r\n\r\n"
        await client.send_all(request.encode())
        await house.reached.wait()
        await wait_all_tasks_blocked()
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method="GET", target="/pushed", headers=[("Host", "h")]))
        parser.send(h11.EndOfMessage())
        body = b""
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                parser.receive_data(await client.receive_some(65536))
            elif isinstance(event, h11.Data):
                body += event.data
    assert [int(line) for line in body.splitlines()] == list(range(len(body) // 10))


async def test_stock_hypercorn_still_waits_for_ever_for_a_stalled_reader(house, mock_clock):
    async with serving_stock(house) as address:
        async with connected(address, receive_buffer=4096) as client:
            await ask(client, "/flood")
            await house.reached.wait()
            await wait_all_tasks_blocked()
            house.stopping.set()
            await wait_all_tasks_blocked()
            mock_clock.jump(1000)
            await wait_all_tasks_blocked()
            assert not house.stopped.is_set()
        await house.stopped.wait()


# Fault 3: streams and the shutdown


async def test_a_stream_sends_its_last_event_and_ends_properly(house, mock_clock):
    async with serving(house) as address, connected(address) as client:
        await ask(client, "/stream")
        await house.reached.wait()
        house.stopping.set()
        assert (await read_to_eof(client)).endswith(b"5\r\nlast\n\r\n0\r\n\r\n")
        await house.stopped.wait()


async def test_a_stream_that_goes_on_is_cut_after_the_grace(house, mock_clock):
    async with serving(house) as address, connected(address) as client:
        await ask(client, "/endless")
        await house.reached.wait()
        house.stopping.set()
        await wait_all_tasks_blocked()
        assert not house.stopped.is_set()
        mock_clock.jump(server.GRACE)
        assert (await read_to_eof(client)).endswith(b"first\n\r\n")
        await house.stopped.wait()


async def test_a_long_stream_is_not_cut(house, mock_clock):
    async with serving(house) as address, connected(address) as client:
        await ask(client, "/endless")
        await house.reached.wait()
        await wait_all_tasks_blocked()
        mock_clock.jump(3600)
        await wait_all_tasks_blocked()
        house.release.set()
        await read_until(client, b"second\n")


async def test_stock_hypercorn_still_tells_streams_nothing(house, mock_clock):
    """The earliest that an app hears of the shutdown is after its streams were cut."""
    told = trio.Event()

    @house.app.after_serving
    async def tell():
        told.set()

    @house.app.route("/waits")
    async def waits():
        async def parts():
            yield b"first\n"
            house.reached.set()
            await told.wait()
            yield b"last\n"

        return parts()

    async with serving_stock(house) as address, connected(address) as client:
        await ask(client, "/waits")
        await house.reached.wait()
        house.stopping.set()
        await wait_all_tasks_blocked()
        assert not told.is_set()
        mock_clock.jump(1000)
        assert not (await read_to_eof(client)).endswith(b"0\r\n\r\n")
        await house.stopped.wait()


# The order of the shutdown


async def test_a_request_in_flight_is_answered(house, mock_clock):
    async with serving(house) as address, connected(address) as client:
        await ask(client, "/slow")
        await house.reached.wait()
        house.stopping.set()
        await wait_all_tasks_blocked()
        house.release.set()
        assert (await read_to_eof(client)).endswith(b"slow answer")
        await house.stopped.wait()


async def test_requests_are_answered_while_the_house_settles(house, mock_clock):
    settled = trio.Event()
    async with serving(house, settle=settled.wait) as address:
        house.stopping.set()
        await wait_all_tasks_blocked()
        async with connected(address) as client:
            await ask(client, "/")
            await read_until(client, b"hello")
        assert not house.stopped.is_set()
        settled.set()
        await house.stopped.wait()


async def test_a_request_that_the_stop_overtakes_is_not_begun(house, mock_clock):
    if house.stock:
        pytest.skip("it stops reading")
    begun = []

    async def note():
        begun.append(request.method)
        await trio.lowlevel.checkpoint()
        return "noted"

    house.app.route("/note", methods=["POST"])(note)
    async with serving(house) as address, connected(address) as client:
        await ask(client, "/slow")
        await house.reached.wait()
        await client.send_all(b"POST /note HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
        await wait_all_tasks_blocked()
        house.stopping.set()
        await wait_all_tasks_blocked()
        house.release.set()
        received = await read_to_eof(client)
        assert b"slow answer" in received
        assert len(begun) == received.count(b"noted")


async def test_nothing_is_accepted_after_the_stop(house):
    async with serving(house) as address:
        house.stopping.set()
        await house.stopped.wait()
        with pytest.raises(ConnectionRefusedError):
            async with connected(address):
                pass


async def test_an_app_that_never_finishes_its_shutdown_is_left_behind(house, mock_clock, caplog):
    @house.app.after_serving
    async def never():
        await trio.sleep_forever()

    async with serving(house):
        house.stopping.set()
        await wait_all_tasks_blocked()
        mock_clock.jump(1)
        await house.stopped.wait()
    assert "did not finish its shutdown" in caplog.text


async def test_being_cancelled_cuts_everything_at_once(house, mock_clock):
    listener = await server.bind("127.0.0.1", 0)
    address = server.address_of(listener)
    async with (
        connected(address, receive_buffer=4096) as stalled,
        connected(address) as streaming,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(partial(server.serve, house.app, listener, stopping=house.stopping))
        await ask(streaming, "/endless")
        await read_until(streaming, b"first\n")
        house.reached = trio.Event()
        await ask(stalled, "/flood")
        await house.reached.wait()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


# How many


async def test_a_connection_too_many_is_closed_and_makes_room_for_nobody(house, caplog):
    async with (
        serving(house, max_connections=2) as address,
        connected(address) as first,
        connected(address) as second,
    ):
        for client in (first, second):
            await ask(client, "/")
            await read_until(client, b"hello")
        for _ in range(3):
            async with connected(address) as third:
                assert await third.receive_some() == b""
        await ask(first, "/")
        await read_until(first, b"hello")
        await second.aclose()
        await wait_all_tasks_blocked()
        async with connected(address) as fourth:
            await ask(fourth, "/")
            await read_until(fourth, b"hello")
    assert [record.getMessage() for record in caplog.records] == 2 * [
        "There is no room for more connections"
    ]


# What HTTP/1.1 asks for


async def answer_of(client, rest=b""):
    """The status, headers and body of an answer that says how long it is; and what came after."""
    received = rest
    while b"\r\n\r\n" not in received:
        received += await client.receive_some()
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines[1:])
    length = int(headers[b"content-length"])
    while len(body) < length:
        body += await client.receive_some()
    return int(lines[0].split()[1]), headers, body[:length], body[length:]


async def test_requests_sent_together_are_answered_in_turn(house):
    async with serving(house) as address, connected(address) as client:
        request = b"POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s"
        await client.send_all(b"".join(request % (n, b"x" * n) for n in (1, 22, 333)))
        rest = b""
        for n in (1, 22, 333):
            status, headers, body, rest = await answer_of(client, rest)
            assert (status, body) == (200, str(n).encode())
            assert b"gmt" in headers[b"date"]
        assert rest == b""


async def test_the_names_of_headers_are_in_lower_case_for_the_app(house):
    async def names():
        return b",".join(name for name, _ in request.scope["headers"])

    house.app.route("/names")(names)
    async with serving(house) as address, connected(address) as client:
        await client.send_all(b"GET /names HTTP/1.1\r\nHOST: test\r\nX-Mixed: Case\r\n\r\n")
        assert b"host,x-mixed" in await read_until(client, b"mixed")


async def test_a_body_may_come_in_chunks_and_in_its_own_time(house):
    async with serving(house) as address, connected(address) as client:
        await client.send_all(
            b"POST /body HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"
        )
        await wait_all_tasks_blocked()
        await client.send_all(b"llo\r\n4;note=1\r\n you\r\n0\r\n")
        await wait_all_tasks_blocked()
        await client.send_all(b"Trailer: x\r\n\r\n")
        assert (await answer_of(client))[2] == b"9"
        await ask(client, "/")
        assert (await answer_of(client))[2] == b"hello"


async def test_a_client_that_waits_for_leave_to_send_gets_it(house):
    async with serving(house) as address, connected(address) as client:
        await client.send_all(
            b"POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        await client.send_all(b"hello")
        assert (await answer_of(client))[2] == b"5"


async def test_the_head_alone_says_how_long_the_body_is_and_has_none(house):
    async with serving(house) as address, connected(address) as client:
        for _ in range(2):
            await client.send_all(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
            received = await read_until(client, b"\r\n\r\n")
            assert b"content-length: 5" in received.lower()
            assert b"hello" not in received


async def test_an_app_need_not_read_the_request(house):
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            await house.app(scope, receive, send)
            return
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    app.config = {}
    listener = await server.bind("127.0.0.1", 0)
    serving = partial(server.serve, app, listener, stopping=house.stopping, stock=house.stock)
    async with trio.open_nursery() as nursery:
        async with connected(await nursery.start(serving)) as client:
            for _ in range(2):
                await client.send_all(
                    b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello"
                )
                assert (await answer_of(client))[2] == b"ok"
        house.stopping.set()


async def test_an_answer_without_a_body_ends_with_its_head(house):
    async with serving(house) as address, connected(address) as client:
        await ask(client, "/nothing")
        received = await read_until(client, b"\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 204")
        assert b"chunked" not in received
        await ask(client, "/")
        assert (await answer_of(client))[2] == b"hello"


async def test_an_old_client_gets_a_stream_that_ends_with_the_connection(house):
    async with serving(house) as address, connected(address) as client:
        await client.send_all(b"GET /stream HTTP/1.0\r\n\r\n")
        await house.reached.wait()
        house.stopping.set()
        received = await read_to_eof(client)
        assert b"chunked" not in received
        assert received.endswith(b"\r\n\r\nfirst\nlast\n")


async def test_an_answer_that_fails_in_the_middle_is_not_taken_for_a_whole_one(house, caplog):
    async with serving(house) as address, connected(address) as client:
        await ask(client, "/fails")
        assert (await read_to_eof(client)).endswith(b"first\n\r\n")
    assert "in the middle" in caplog.text


async def test_a_refusal_reaches_a_client_that_goes_on_sending(house):
    async with serving(house) as address, connected(address) as client:
        await client.send_all(
            b"POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999\r\n\r\n"
        )
        await client.send_all(BLOCK * 4)
        assert (await answer_of(client))[0] == 413


async def test_a_stream_ends_when_its_client_goes_also_if_that_has_sent_more(house):
    """Which stock Hypercorn finds out only when it writes."""
    if house.stock:
        pytest.skip("see the module: it stops reading")
    async with serving(house) as address:
        async with connected(address) as client:
            await ask(client, "/watch")
            await read_until(client, b"first\n")
            await ask(client, "/")
        await house.release.wait()


async def test_a_stream_ends_when_its_client_goes_also_after_a_long_body(house):
    house.app.route("/told", methods=["POST"])(house.watch)
    async with serving(house) as address:
        async with connected(address) as client:
            await client.send_all(
                b"POST /told HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n"
            )
            await client.send_all(b"x" * 100_000)
            await read_until(client, b"first\n")
        with trio.fail_after(5):
            await house.release.wait()


async def test_a_stream_ends_when_its_client_goes_after_a_body_and_some_of_the_next(house):
    if house.stock:
        pytest.skip("see the module: it stops reading")
    house.app.route("/told", methods=["POST"])(house.watch)
    async with serving(house) as address:
        async with connected(address) as client:
            await client.send_all(
                b"POST /told HTTP/1.1\r\nHost: test\r\nContent-Length: 60000\r\n\r\n"
                + b"x" * 60_000
            )
            await read_until(client, b"first\n")
            await client.send_all(BLOCK[:9000])
            await wait_all_tasks_blocked()
        with trio.fail_after(5):
            await house.release.wait()


async def test_what_is_sent_ahead_is_not_read_without_end(house):
    if house.stock:
        pytest.skip("it stops reading")
    async with serving(house) as address, connected(address) as client:
        await ask(client, "/watch")
        await read_until(client, b"first\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"GET / HTTP/1.1\r\n" * (8 << 20))
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            nursery.cancel_scope.cancel()


# Not HTTP/1.1


async def h2_answer(client, h2_client, stream_id):
    """The status and body of one answer."""
    status, body = None, b""
    while True:
        for event in h2_client.receive_data(await client.receive_some()):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[b":status"]
            elif isinstance(event, h2.events.DataReceived) and event.stream_id == stream_id:
                body += event.data
            elif isinstance(event, h2.events.StreamEnded) and event.stream_id == stream_id:
                return status, body
        await client.send_all(h2_client.data_to_send())


@pytest.mark.parametrize("parts", [1, 5])
async def test_http2_is_spoken_to_who_begins_with_it(house, parts):
    h2_client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    h2_client.initiate_connection()
    headers = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"test")]
    h2_client.send_headers(1, [*headers, (b":path", b"/")], end_stream=True)
    sent = h2_client.data_to_send()
    async with serving(house) as address, connected(address) as client:
        size = -(-len(sent) // parts)
        for start in range(0, len(sent), size):
            await client.send_all(sent[start : start + size])
            await wait_all_tasks_blocked()
        assert await h2_answer(client, h2_client, 1) == (b"200", b"hello")


async def test_http2_is_spoken_to_who_asks_for_it(house):
    h2_client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    settings = h2_client.initiate_upgrade_connection()
    async with serving(house) as address, connected(address) as client:
        await client.send_all(
            b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: %s\r\n\r\n" % settings
        )
        received = await read_until(client, b"\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 101")
        await client.send_all(h2_client.data_to_send())
        assert await h2_answer(client, h2_client, 1) == (b"200", b"hello")


# What clients may send


MALFORMED = {
    b"\x00\x01\x02\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\n\r\n": 400,  # No Host.
    b"GET /\xff HTTP/1.1\r\nHost: test\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: test\r\nno colon\r\n\r\n": 400,
    b"POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: many\r\n\r\n": 400,
    b"POST /body HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n": 400,
    b"POST /body HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip\r\n\r\n": 501,
    b"POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999\r\n\r\n": 413,
    b"GET / HTTP/1.1\r\nHost: test\r\nLong: " + b"x" * 70_000 + b"\r\n\r\n": 431,
    b"GET ? HTTP/1.1\r\nHost: test\r\n\r\n": 400,
    b"GET http://[ HTTP/1.1\r\nHost: test\r\n\r\n": 400,
    b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n": 400,
}


@pytest.mark.parametrize("sent", MALFORMED, ids=lambda sent: repr(sent[:30]))
async def test_malformed_requests_are_refused_without_a_word(house, sent, capfd, caplog):
    async with serving(house) as address, connected(address) as client:
        await client.send_all(sent)
        answer = await read_until(client, b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 %d " % MALFORMED[sent])
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


async def test_an_upgrade_to_a_websocket_with_a_bad_target_is_refused(house, caplog):
    async with serving(house) as address, connected(address) as client:
        await client.send_all(
            b"GET ? HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 403 ")
    assert caplog.records == []


async def test_stock_quart_still_crashes_on_an_empty_target(house):
    async with serving_stock(house) as address, connected(address) as client:
        await ask(client, "?")
        assert (await read_until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 500 ")


async def test_a_request_that_breaks_off_during_its_answer_is_nothing_to_log(house, caplog):
    @house.app.route("/ticks", methods=["POST"])
    async def ticks():
        async def parts():
            while True:
                yield b"tick"

        return parts()

    async with serving(house) as address, connected(address) as client:
        await client.send_all(b"POST /ticks HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n")
        await read_until(client, b"tick")
        await client.send_eof()
        with suppress(trio.BrokenResourceError):
            await read_to_eof(client)
    assert caplog.records == []


async def send_a_path_that_is_not_ascii_over_http2(client):
    h2_client = h2.connection.H2Connection(
        h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False)
    )
    h2_client.initiate_connection()
    headers = {b":method": b"GET", b":scheme": b"http", b":authority": b"test", b":path": b"/\xff"}
    h2_client.send_headers(1, list(headers.items()), end_stream=True)
    await client.send_all(h2_client.data_to_send())
    with suppress(trio.BrokenResourceError):
        await read_to_eof(client)


async def test_a_connection_that_crashes_the_protocol_harms_no_other(house, caplog):
    async with serving(house) as address, connected(address) as other:
        await ask(other, "/")
        await read_until(other, b"hello")
        async with connected(address) as client:
            await send_a_path_that_is_not_ascii_over_http2(client)
        await ask(other, "/")
        await read_until(other, b"hello")
    (record,) = caplog.records
    assert record.getMessage().startswith("A connection was dropped")
    assert record.exc_info is None or not record.exc_info


async def test_stock_hypercorn_still_ends_when_one_connection_crashes(house):
    with pytest.RaisesGroup(UnicodeDecodeError, flatten_subgroups=True):
        async with serving_stock(house) as address, connected(address) as client:
            await send_a_path_that_is_not_ascii_over_http2(client)
