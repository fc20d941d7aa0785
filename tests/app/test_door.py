"""Who is let in, how, and for how long."""

from hmac import compare_digest

import pytest
import trio

from app.authority import gate as gate_module
from app.authority.gate import Gate, new_user
from app.authority.hosts import is_loopback, is_ours
from app.authority.secrets import Passwords, hash_of
from app.authority.throttle import Attempts, Buckets, network_of
from app.authority.users import FILE, Token, change_users, read_users
from app.web import create_app
from tests.app.asgi import Stream, ask, call, scope_of, streaming

PASSWORD = "correct horse"
ORIGIN = {"origin": "http://localhost"}


@pytest.fixture(scope="module")
def password_hash():
    return Passwords().hash(PASSWORD)


class Nothing:
    """A greenroom of which no test here asks anything but how it is."""

    accepting = True


class Place:
    def __init__(self, directory, **options):
        self.directory = directory
        self.now = 1000.0
        closed = options.pop("always_closed", False)
        self.gate = Gate(directory, always_closed=closed, clock=lambda: self.now)
        self.app = create_app(
            Nothing(), None, gate=self.gate, stopping=trio.Event(), agent_status=dict, **options
        )
        self.app.add_url_rule("/forever", "forever", self.forever)
        self.app.add_url_rule("/change", "change", self.change, methods=["POST"])

    async def forever(self):
        from app.sse import event_stream

        async def words():
            yield b": hello\n\n"
            await trio.sleep_forever()

        return event_stream(words())

    async def change(self):
        from app.http_errors import json_response

        return json_response({"ok": True})

    async def get(self, target, **headers):
        return await ask(self.app, "GET", target, **headers)

    async def post(self, target, body=None, **headers):
        return await ask(self.app, "POST", target, body, **headers)

    async def log_in(self, name="ann", password=PASSWORD, **headers):
        body = {"username": name, "password": password}
        return await self.post("/api/auth/login", body, **headers)


@pytest.fixture
def open_place(tmp_path):
    return lambda **options: Place(tmp_path, **options)


@pytest.fixture
def place(tmp_path, password_hash):
    """ann and bob may come in."""
    for name in ("ann", "bob"):
        user = new_user(name, password_hash, admin=False)
        change_users(tmp_path, lambda users, user=user: users.add(user))
    return Place(tmp_path)


def cookie_in(reply):
    return {"cookie": reply.headers["set-cookie"].partition(";")[0]}


async def csrf_of(place, cookie):
    from app.authority.secrets import csrf_of

    return csrf_of(cookie["cookie"].partition("=")[2])


# -- without users ------------------------------------------------------------------------------


async def test_without_users_a_machine_is_open_to_who_is_on_it(open_place):
    place = open_place()
    assert (await place.post("/change")).status == 200
    status = (await place.get("/api/auth/status")).json
    assert (status["auth_enabled"], status["logged_in"], status["user"]) == (False, True, None)
    assert (await place.log_in()).json == {"ok": True, "message": "Auth not enabled"}
    assert (await place.get("/login?next=/x")).headers["location"] == "/x"
    assert (await place.get("/api/profiles", authorization="Bearer of-no-use")).status == 200


async def test_with_the_first_user_the_next_request_needs_one(open_place, password_hash):
    place = open_place()
    assert (await place.post("/change")).status == 200
    async with streaming(place.app, "/forever") as stream:
        await stream.begun()
        user = new_user("ann", password_hash, admin=False)
        change_users(place.directory, lambda users: users.add(user))
        assert (await place.post("/change")).status == 401
        place.gate.end_what_was_revoked()
        await stream.wait_ended()
    change_users(place.directory, lambda users: users.remove(users.get("ann")))
    assert (await place.post("/change")).status == 200


async def test_a_public_address_stays_closed_when_the_users_are_gone(open_place):
    place = open_place(always_closed=True)
    assert (await place.post("/change")).status == 401
    assert (await place.log_in()).status == 401


async def test_a_damaged_file_lets_nobody_in_and_says_so(place):
    (place.directory / FILE).write_text("{")
    for reply in (await place.get("/api/profiles"), await place.log_in()):
        assert reply.status == 503
        assert "the file of users is damaged" in reply.json["error"]


# -- in and out ---------------------------------------------------------------------------------


async def test_the_right_password_gives_a_cookie_that_lets_in(place):
    reply = await place.log_in()
    assert reply.json == {"ok": True}
    flags = reply.headers["set-cookie"].split("; ")[1:]
    assert {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=2592000"} < set(flags)
    assert "Secure" not in flags
    cookie = cookie_in(reply)
    status = (await place.get("/api/auth/status", **cookie)).json
    assert status["user"] == {"name": "ann", "admin": True}
    secret = cookie["cookie"].partition("=")[2]
    kept = (place.directory / FILE).read_text()
    assert secret not in kept
    assert hash_of(secret) in kept


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong horse"),
        ("nobody", PASSWORD),
        (None, PASSWORD),
        ("bob", ""),
        ("ann", "x" * 9999),
    ],
)
async def test_anything_else_gives_none_and_says_as_little(place, name, password):
    reply = await place.log_in(name, password)
    assert (reply.status, reply.json) == (401, {"error": "Invalid password"})
    assert "set-cookie" not in reply.headers


async def test_one_user_needs_no_name(place):
    change_users(place.directory, lambda users: users.remove(users.get("bob")))
    assert (await place.post("/api/auth/login", {"password": PASSWORD})).status == 200


async def test_a_login_ends_with_its_time_and_where_it_was_ended(place):
    first, second = [cookie_in(await place.log_in()) for _ in range(2)]
    out = await place.post("/api/auth/logout", **first)
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert (await place.get("/api/profiles", **first)).status == 401
    assert (await place.get("/api/profiles", **second)).status == 200
    place.now += gate_module.LOGIN_SECONDS
    assert (await place.get("/api/profiles", **second)).status == 401


@pytest.mark.parametrize(
    "change",
    [
        lambda users: users.remove(users.get("bob")),
        lambda users: users.with_password(users.get("bob"), "another"),
    ],
)
async def test_streams_end_with_what_let_their_readers_in(place, change):
    anns, bobs = [cookie_in(await place.log_in(name)) for name in ("ann", "bob")]
    async with (
        streaming(place.app, "/forever", **anns) as of_ann,
        streaming(place.app, "/forever", **bobs) as of_bob,
    ):
        await of_ann.begun()
        await of_bob.begun()
        change_users(place.directory, change)
        place.gate.end_what_was_revoked()
        await of_bob.wait_ended()
        assert not of_ann.ended
    assert (await place.get("/api/profiles", **bobs)).status == 401
    assert (await place.get("/api/profiles", **anns)).status == 200


async def test_the_watch_ends_streams_by_itself(place, mock_clock):
    cookie = cookie_in(await place.log_in("bob"))
    mock_clock.autojump_threshold = 0  # no password is looked at from here on
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.gate.watch)
        async with streaming(place.app, "/forever", **cookie) as stream:
            await stream.begun()
            change_users(place.directory, lambda users: users.remove(users.get("bob")))
            await stream.wait_ended()
        nursery.cancel_scope.cancel()


async def test_a_password_that_was_changed_while_it_was_looked_at_lets_nobody_in(
    place, monkeypatch
):
    looked = place.gate._passwords.matches

    async def slowly(password_hash, password):
        right = await looked(password_hash, password)
        change_users(place.directory, lambda users: users.with_password(users.get("ann"), "x"))
        return right

    monkeypatch.setattr(place.gate._passwords, "matches", slowly)
    assert (await place.log_in()).status == 401


async def test_tokens_let_programs_in_until_they_are_revoked(place):
    ann = read_users(place.directory).get("ann")
    token = Token("t", ann.id, "", "write", hash_of("secret"), 0.0)
    change_users(place.directory, lambda users: users.with_token(token))
    let_in = {"authorization": "Bearer secret"}
    # No cookie: what a page says of itself is no matter, as long as it is ours.
    assert (await place.post("/change", **let_in, **ORIGIN)).status == 200
    wrong = await place.post("/change", authorization="Bearer wrong")
    assert (wrong.status, wrong.headers["www-authenticate"]) == (401, "Bearer")
    change_users(place.directory, lambda users: users.revoke("t"))
    assert (await place.post("/change", **let_in)).status == 401


async def test_the_owner_of_the_directory_is_let_in_as_an_admin(place):
    place.gate.admin_tokens.add(hash_of("of this run"))
    let_in = {"authorization": "Bearer of this run"}
    status = (await place.get("/api/auth/status", **let_in)).json
    assert (status["logged_in"], status["user"]) == (True, None)
    asked = place.gate.identify("of this run", None)
    assert asked.admin
    assert not asked.viewer.may_see(read_users(place.directory).get("ann").id)


def test_only_an_admins_token_for_all_sees_what_is_nobodys(place):
    ann = read_users(place.directory).get("ann")
    for scope, sees in (("read", False), ("write", False), ("admin", True)):
        token = Token(scope, ann.id, "", scope, hash_of(scope), 0.0)
        change_users(place.directory, lambda users, token=token: users.with_token(token))
        assert place.gate.identify(scope, None).admin is sees
    gone = read_users(place.directory).get("bob")
    change_users(place.directory, lambda users: users.remove(gone))
    assert place.gate.identify("admin", None).viewer.may_see(gone.id)
    assert not place.gate.identify("write", None).viewer.may_see(gone.id)


# -- pages of others ----------------------------------------------------------------------------


async def test_a_change_from_a_page_must_show_that_the_page_is_ours(place):
    cookie = cookie_in(await place.log_in())
    token = await csrf_of(place, cookie)
    assert (await place.post("/change", **cookie)).status == 200  # no page: curl
    reply = await place.post("/change", **cookie, **ORIGIN)
    assert (reply.status, reply.json["error"]) == (403, "Session expired - reload the page")
    for name in ("x-csrf-token", "x-hermes-csrf-token"):
        for value, status in ((token, 200), (token[:-1], 403), ("é", 403)):
            shown = {name: value.encode().decode("latin-1")}
            assert (await place.post("/change", **cookie, **ORIGIN, **shown)).status == status
    other = cookie_in(await place.log_in())
    shown = {"x-csrf-token": token}
    assert (await place.post("/change", **other, **ORIGIN, **shown)).status == 403
    page = (await place.get("/", **cookie)).body.decode()
    assert f'<meta name="csrf-token" content="{token}">' in page


async def test_how_long_a_comparison_takes_tells_nothing(place, monkeypatch):
    """Tokens and logins are looked up by their hashes, passwords are argon2's; this is the rest."""
    cookie = cookie_in(await place.log_in())
    right, compared = await csrf_of(place, cookie), []

    def compare(*both):
        compared.append(both)
        return compare_digest(*both)

    monkeypatch.setattr("app.authority.door.hmac.compare_digest", compare)
    for shown in (right, "x"):
        await place.post("/change", **cookie, **ORIGIN, **{"x-csrf-token": shown})
    assert compared == [(right.encode(), right.encode()), (b"x", right.encode())]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1"},
        {"referer": "http://evil.example/page"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/change", "/api/auth/login", "/login", "/api/auth/logout"])
async def test_a_change_from_another_page_is_refused(place, headers, path):
    reply = await place.post(path, {}, **headers)
    assert reply.status == 403
    assert reply.json["error"].startswith("Cross-origin mismatch")


@pytest.mark.parametrize("path", ["/api/chat/cancel?stream_id=x", "/api/background/status"])
async def test_so_is_what_changes_something_and_is_a_get(place, path):
    reply = await place.get(path, origin="http://evil.example")
    assert reply.status == 403


async def test_a_name_that_is_not_ours_is_not_answered(open_place):
    place = open_place(allowed_hosts=("chat.example.org",))
    for host, status in (
        ("localhost:8700", 200),
        ("[::1]:8700", 200),
        ("chat.example.org", 200),
        ("evil.example", 403),
        ("chat.example.org.evil.example", 403),
        ("192.168.1.5", 403),
    ):
        assert (await place.get("/api/profiles", host=host)).status == status, host
        assert (await place.get("/login", host=host)).status == (302 if status == 200 else 403)


@pytest.mark.parametrize(
    ("bound_to", "host", "allowed", "ours"),
    [
        ("127.0.0.1", "127.0.0.1:1", (), True),
        ("127.0.0.1", "LocalHost.:1", (), True),
        ("127.0.0.1", "app.localhost", (), True),
        ("127.0.0.1", "10.0.0.1", (), False),
        ("127.0.0.1", "evil.example", (), False),
        ("127.0.0.1", "evil.example", ("*",), True),
        ("0.0.0.0", "10.0.0.1:80", (), True),
        ("0.0.0.0", "[fe80::1]:80", (), True),
        ("0.0.0.0", "evil.example", (), False),
        ("::", "127.0.0.1", (), True),
        ("chat.lan", "chat.lan:8700", (), True),
        ("chat.lan", "other.lan", ("other.lan",), True),
        ("10.0.0.1", "", (), False),
    ],
)
def test_by_which_names_it_is_known(bound_to, host, allowed, ours):
    assert is_ours(host, bound_to, allowed) is ours


def test_what_only_this_machine_reaches():
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "10.0.0.1", "::ffff:10.0.0.1", "localhost.example", ""):
        assert not is_loopback(host)


# -- the form -----------------------------------------------------------------------------------

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("there", "goes"),
    [
        ("/session/x?y=1", "/session/x?y=1"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a%0d%0aSet-Cookie:x", "/"),
    ],
)
async def test_the_form_leads_to_a_page_of_ours(place, there, goes):
    form = f"username=ann&password=correct+horse&next={there.replace('&', '%26')}"
    reply = await place.post("/login", form.encode(), **FORM)
    assert (reply.status, reply.headers["location"]) == (303, goes)
    assert (await place.get("/api/profiles", **cookie_in(reply))).status == 200


async def test_a_wrong_form_is_shown_again_without_the_password(place):
    form = b"username=ann%22%3E&password=wrong+horse&next=/x"
    reply = await place.post("/login", form, **FORM)
    assert reply.status == 401
    page = reply.body.decode()
    assert "This is not the password of that user." in page
    assert 'value="ann&quot;&gt;"' in page
    assert "wrong horse" not in page
    assert "form-action 'self'" in reply.headers["content-security-policy"]


# -- how often ----------------------------------------------------------------------------------


async def test_after_five_wrong_passwords_one_must_wait(place, mock_clock):
    for _ in range(5):
        assert (await place.log_in(password="wrong horse")).status == 401
    reply = await place.log_in()
    assert reply.status == 429
    assert reply.json["error"] == "Too many attempts. Try again in a minute."
    assert reply.headers["retry-after"] == "60"
    form = await place.post("/login", b"username=ann&password=correct+horse", **FORM)
    assert form.status == 429
    assert "Too many attempts" in form.body.decode()
    mock_clock.jump(60)
    assert (await place.log_in()).status == 200


async def test_wrong_passwords_from_many_places_make_the_user_wait(place):
    place = Place(place.directory, behind_proxy=True)
    for n in range(20):
        await place.log_in(password="wrong horse", **{"x-forwarded-for": f"10.0.0.{n}"})
    elsewhere = {"x-forwarded-for": "made up, 10.0.1.1"}
    assert (await place.log_in(**elsewhere)).status == 429
    assert (await place.log_in("bob", **elsewhere)).status == 200


async def test_what_a_stranger_says_of_a_proxy_is_not_believed(place):
    for n in range(5):
        reply = await place.log_in(password="wrong", **{"x-forwarded-for": f"10.0.0.{n}"})
        assert reply.status == 401
    assert (await place.log_in(**{"x-forwarded-for": "10.0.0.9"})).status == 429


@pytest.mark.parametrize(("behind_proxy", "secure"), [(True, True), (False, False)])
async def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_alone(place, behind_proxy, secure):
    place = Place(place.directory, behind_proxy=behind_proxy)
    reply = await place.log_in(**{"x-forwarded-proto": "https"})
    assert ("Secure" in reply.headers["set-cookie"].split("; ")) is secure


async def test_more_passwords_than_can_be_looked_at_are_refused(place, monkeypatch):
    monkeypatch.setattr("app.authority.secrets.MOST_WAITING", 0)
    reply = await place.log_in()
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


def test_attempts_and_buckets_forget_who_is_long_gone():
    now = 0.0
    attempts = Attempts(2, 10, lambda: now)
    buckets = Buckets(2, 4, lambda: now)
    for _ in range(2):
        attempts.note("a")
    assert attempts.wait("a") == 10
    assert attempts.wait("b") == 0
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    now = 10.0
    assert attempts.wait("a") == 0
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0]
    for n in range(20_000):
        attempts.note(f"x{n}")
        buckets.take(f"x{n}")
    assert len(attempts._tried) == len(buckets._buckets) == 10_000


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:0db8:0001:0002::/64"),
        ("fe80::1%eth0", "fe80:0000:0000:0000::/64"),
        ("<local>", "<local>"),
    ],
)
def test_who_is_likely_to_be_the_same(address, network):
    assert network_of(address) == network


async def test_under_a_prefix_the_way_in_and_back_is_under_it_too(place):
    stream = Stream()
    scope = scope_of("GET", "/chat/session/x", None, {"accept": "text/html"})
    await call(place.app, scope | {"root_path": "/chat"}, None, stream.send)
    assert stream.headers["location"] == "/chat/login?next=%2Fchat%2Fsession%2Fx"
    stream = Stream()
    body = b"username=ann&password=correct+horse"
    scope = scope_of("POST", "/chat/login", None, FORM)
    await call(place.app, scope | {"root_path": "/chat"}, body, stream.send)
    assert stream.headers["location"] == "/chat/"
    assert "Path=/chat/" in stream.headers["set-cookie"]


async def test_what_shows_everything_is_for_who_has_the_directory(place):
    for name in ("operations.backup", "metrics.exposition"):
        place.app.view_functions[name] = place.change
    place.gate.admin_tokens.add(hash_of("of this run"))
    for shown, all_of_it, how_much in (
        ({"authorization": "Bearer of this run"}, 200, 200),
        (cookie_in(await place.log_in("ann")), 403, 200),
        (cookie_in(await place.log_in("bob")), 403, 403),
        ({}, 401, 401),
    ):
        assert (await place.get("/api/backup", **shown)).status == all_of_it
        assert (await place.get("/metrics", **shown)).status == how_much
