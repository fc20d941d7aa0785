"""Every route and every stream, as another user, as nobody, with a token for reading, as an admin.

A route that is not in the table fails here: say what it shows, and to whom.
"""

import re
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.greenroom import open_greenroom
from actors.stores import MemoryDisk, open_journal
from actors.testing.puppet import Puppet
from app.authority.gate import Gate
from app.authority.secrets import hash_of
from app.authority.users import Token, User, Users, change_users
from app.idempotency import Answers
from app.limits import Limits
from app.web import create_app
from tests.app.asgi import ask, streaming

DATA_DIR = Path("/data")
SECRET = "xyzzy"  # in all that ann says
NAMES = ("root", "ann", "bob")  # the first is an admin

OPEN = "open"  # to anybody
SAME = "same"  # nothing in it is anybody's
NEW = "new"  # it makes something of the caller's own
LIST = "list"  # it shows what is the caller's
ONE = "one"  # it names something: another one's is answered as if there were none
PAGE = "page"  # a document, for whoever was let in
ADMIN = "admin"  # it shows how much of it there is
DIRECTORY = "directory"  # it shows all that anybody said

SESSION = "session_id={talk}"
CONVERSATION = "/v1/conversations/conv_{done}"


def named(**body):
    return {"session_id": "{talk}", **body}


# (method, rule) -> kind, then each a target, and a body.
TABLE = {
    ("GET", "/"): (PAGE, ("/",)),
    ("GET", "/<any('manifest.json', 'manifest.webmanifest', 'favicon.ico'):name>"): (
        OPEN,
        ("/favicon.ico",),
    ),
    ("GET", "/api/approval/pending"): (ONE, ("/api/approval/pending?" + SESSION,)),
    ("POST", "/api/approval/respond"): (
        ONE,
        ("/api/approval/respond", named(approval_id="{waiting}", choice="once")),
    ),
    ("POST", "/api/approval/revoke"): (ONE, ("/api/approval/revoke", named(tool="time"))),
    ("POST", "/api/auth/login"): (OPEN, ("/api/auth/login", {"username": "ann"})),
    ("POST", "/api/auth/logout"): (OPEN, ("/api/auth/logout",)),
    ("GET", "/api/auth/status"): (OPEN, ("/api/auth/status",)),
    ("POST", "/api/background"): (ONE, ("/api/background", named(prompt="more"))),
    ("GET", "/api/background/status"): (ONE, ("/api/background/status?session_id={done}",)),
    ("POST", "/api/btw"): (ONE, ("/api/btw", named(question="what?"))),
    ("GET", "/api/chat/cancel"): (
        ONE,
        ("/api/chat/cancel?stream_id={stream}",),
        ("/api/chat/cancel?stream_id={waiting}",),
    ),
    ("POST", "/api/chat/cancel"): (ONE, ("/api/chat/cancel", {"stream_id": "{stream}"})),
    ("POST", "/api/chat/start"): (
        ONE,
        ("/api/chat/start", named(message="hello")),
        ("/api/chat/start", named(message="hello", if_busy="interrupt")),
        ("/api/chat/start", named(regenerate=True, regeneration_revision="x")),
    ),
    ("POST", "/api/chat/steer"): (ONE, ("/api/chat/steer", named(text="left"))),
    ("GET", "/api/chat/stream"): (
        ONE,
        ("/api/chat/stream?stream_id={stream}",),
        ("/api/chat/stream?stream_id={waiting}",),
        ("/api/chat/stream?stream_id={past}&replay=1",),
    ),
    ("GET", "/api/chat/stream/status"): (
        ONE,
        ("/api/chat/stream/status?stream_id={stream}",),
        ("/api/chat/stream/status?stream_id={past}",),
    ),
    ("GET", "/api/backup"): (DIRECTORY, ("/api/backup",)),
    ("GET", "/api/clarify/pending"): (SAME, ("/api/clarify/pending?" + SESSION,)),
    ("POST", "/api/client-events/log"): (SAME, ("/api/client-events/log", {})),
    ("GET", "/api/git-info"): (SAME, ("/api/git-info?" + SESSION,)),
    ("GET", "/api/inspector"): (LIST, ("/api/inspector?limit=1000",)),
    ("GET", "/api/inspector/events"): (LIST, ("/api/inspector/events?" + SESSION,)),
    ("GET", "/api/inspector/session"): (ONE, ("/api/inspector/session?" + SESSION,)),
    ("GET", "/api/models"): (SAME, ("/api/models",)),
    ("GET", "/api/onboarding/status"): (SAME, ("/api/onboarding/status",)),
    ("POST", "/api/personality/set"): (ONE, ("/api/personality/set", named(name="none"))),
    ("GET", "/api/profile/active"): (SAME, ("/api/profile/active",)),
    ("GET", "/api/profiles"): (SAME, ("/api/profiles",)),
    ("GET", "/api/projects"): (LIST, ("/api/projects",)),
    ("POST", "/api/projects/create"): (NEW, ("/api/projects/create", {"name": "Mine"})),
    ("POST", "/api/projects/delete"): (ONE, ("/api/projects/delete", {"project_id": "{project}"})),
    ("POST", "/api/projects/rename"): (
        ONE,
        ("/api/projects/rename", {"project_id": "{project}", "name": "Taken"}),
    ),
    ("GET", "/api/reasoning"): (SAME, ("/api/reasoning",)),
    ("GET", "/api/session"): (
        ONE,
        ("/api/session?" + SESSION,),
        ("/api/session?session_id={done}",),
    ),
    ("POST", "/api/session/anchor-scene"): (SAME, ("/api/session/anchor-scene", named())),
    ("POST", "/api/session/archive"): (ONE, ("/api/session/archive", named(archived=True))),
    ("POST", "/api/session/branch"): (ONE, ("/api/session/branch", named())),
    ("POST", "/api/session/clear"): (ONE, ("/api/session/clear", named())),
    ("POST", "/api/session/compress"): (ONE, ("/api/session/compress", named())),
    ("POST", "/api/session/compress/start"): (ONE, ("/api/session/compress/start", named())),
    ("GET", "/api/session/compress/status"): (ONE, ("/api/session/compress/status?" + SESSION,)),
    ("POST", "/api/session/delete"): (ONE, ("/api/session/delete", named())),
    ("GET", "/api/session/draft"): (ONE, ("/api/session/draft?" + SESSION,)),
    ("POST", "/api/session/draft"): (ONE, ("/api/session/draft", named(text="oh"))),
    ("POST", "/api/session/duplicate"): (ONE, ("/api/session/duplicate", named())),
    ("GET", "/api/session/export"): (
        ONE,
        ("/api/session/export?" + SESSION,),
        ("/api/session/export?format=html&" + SESSION,),
    ),
    ("POST", "/api/session/import"): (NEW, ("/api/session/import", {"messages": []})),
    ("GET", "/api/session/lineage/report"): (ONE, ("/api/session/lineage/report?" + SESSION,)),
    ("POST", "/api/session/move"): (
        ONE,
        ("/api/session/move", named(project_id=None)),
        ("/api/session/move", {"session_id": "{own}", "project_id": "{project}"}),
    ),
    ("POST", "/api/session/new"): (NEW, ("/api/session/new", {"project_id": "{project}"})),
    ("POST", "/api/session/pin"): (ONE, ("/api/session/pin", named(pinned=True))),
    ("GET", "/api/session/queue"): (ONE, ("/api/session/queue?" + SESSION,)),
    ("POST", "/api/session/queue/edit"): (
        ONE,
        ("/api/session/queue/edit", named(id="{waiting}", message="other")),
    ),
    ("POST", "/api/session/queue/remove"): (
        ONE,
        ("/api/session/queue/remove", named(id="{waiting}")),
    ),
    ("POST", "/api/session/rename"): (ONE, ("/api/session/rename", named(title="Taken"))),
    ("GET", "/api/session/resolve"): (ONE, ("/api/session/resolve?" + SESSION,)),
    ("POST", "/api/session/retry"): (ONE, ("/api/session/retry", named())),
    ("GET", "/api/session/status"): (ONE, ("/api/session/status?" + SESSION,)),
    ("GET", "/api/session/stream"): (ONE, ("/api/session/stream?" + SESSION,)),
    ("POST", "/api/session/title/regenerate"): (ONE, ("/api/session/title/regenerate", named())),
    ("POST", "/api/session/toolsets"): (ONE, ("/api/session/toolsets", named(toolsets=[]))),
    ("POST", "/api/session/truncate"): (ONE, ("/api/session/truncate", named(keep_count=0))),
    ("POST", "/api/session/undo"): (ONE, ("/api/session/undo", named())),
    ("POST", "/api/session/update"): (ONE, ("/api/session/update", named(model="other"))),
    ("GET", "/api/session/usage"): (ONE, ("/api/session/usage?" + SESSION,)),
    ("GET", "/api/session/yolo"): (SAME, ("/api/session/yolo?" + SESSION,)),
    ("GET", "/api/sessions"): (
        LIST,
        ("/api/sessions?include_archived=1",),
        ("/api/sessions?limit=9",),
    ),
    ("POST", "/api/sessions/cleanup"): (LIST, ("/api/sessions/cleanup",)),
    ("POST", "/api/sessions/cleanup_zero_message"): (LIST, ("/api/sessions/cleanup_zero_message",)),
    ("GET", "/api/sessions/events"): (LIST, ("/api/sessions/events",)),
    ("GET", "/api/sessions/search"): (LIST, ("/api/sessions/search?q=About",)),
    ("GET", "/api/settings"): (SAME, ("/api/settings",)),
    ("GET", "/api/tab/events"): (LIST, ("/api/tab/events?stream_id={stream}&" + SESSION,)),
    ("GET", "/api/tab/sessions"): (LIST, ("/api/tab/sessions",)),
    ("GET", "/api/workspaces"): (SAME, ("/api/workspaces",)),
    ("GET", "/health"): (OPEN, ("/health",)),
    ("GET", "/index.html"): (PAGE, ("/index.html",)),
    ("GET", "/inspector"): (PAGE, ("/inspector",)),
    ("GET", "/inspector/"): (PAGE, ("/inspector/",)),
    ("GET", "/inspector/static/<path:name>"): (PAGE, ("/inspector/static/icon.svg",)),
    ("GET", "/login"): (OPEN, ("/login",)),
    ("POST", "/login"): (OPEN, ("/login",)),
    ("GET", "/login/static/<path:name>"): (OPEN, ("/login/static/icon.svg",)),
    ("GET", "/metrics"): (ADMIN, ("/metrics",)),
    ("GET", "/openapi.json"): (SAME, ("/openapi.json",)),
    ("GET", "/ready"): (OPEN, ("/ready",)),
    ("GET", "/session/<any('manifest.json', 'manifest.webmanifest'):name>"): (
        OPEN,
        ("/session/manifest.json",),
    ),
    ("GET", "/session/<path:_>"): (PAGE, ("/session/{talk}",)),
    ("GET", "/session/static/<path:name>"): (OPEN, ("/session/static/icon.svg",)),
    ("GET", "/static/<path:name>"): (OPEN, ("/static/icon.svg",)),
    ("GET", "/sw.js"): (OPEN, ("/sw.js",)),
    ("POST", "/v1/chat/completions"): (SAME, ("/v1/chat/completions", {})),
    ("POST", "/v1/conversations"): (NEW, ("/v1/conversations", {})),
    ("GET", "/v1/conversations/<name>"): (ONE, (CONVERSATION,)),
    ("POST", "/v1/conversations/<name>"): (ONE, (CONVERSATION, {"metadata": {"a": "b"}})),
    ("DELETE", "/v1/conversations/<name>"): (ONE, (CONVERSATION,)),
    ("GET", "/v1/conversations/<name>/items"): (ONE, (CONVERSATION + "/items",)),
    ("POST", "/v1/conversations/<name>/items"): (
        ONE,
        (CONVERSATION + "/items", {"items": [{"role": "user", "content": "more"}]}),
    ),
    ("GET", "/v1/conversations/<name>/items/<item_id>"): (ONE, (CONVERSATION + "/items/{item}",)),
    ("DELETE", "/v1/conversations/<name>/items/<item_id>"): (
        ONE,
        (CONVERSATION + "/items/{item}",),
    ),
    ("GET", "/v1/models"): (SAME, ("/v1/models",)),
    ("GET", "/v1/models/<path:name>"): (SAME, ("/v1/models/greenroom",)),
    ("POST", "/v1/responses"): (
        ONE,
        ("/v1/responses", {"input": "more", "previous_response_id": "{response}"}),
        ("/v1/responses", {"input": "more", "conversation": "conv_{talk}"}),
    ),
    ("GET", "/v1/responses/<name>"): (
        ONE,
        ("/v1/responses/{response}",),
        ("/v1/responses/{response}?stream=true",),
    ),
    ("DELETE", "/v1/responses/<name>"): (ONE, ("/v1/responses/{response}",)),
    ("POST", "/v1/responses/<name>/cancel"): (ONE, ("/v1/responses/{response}/cancel",)),
    ("GET", "/v1/responses/<name>/input_items"): (ONE, ("/v1/responses/{response}/input_items",)),
}
STREAMS = {
    *("/api/chat/stream", "/api/inspector/events", "/api/session/stream"),
    *("/api/sessions/events", "/api/tab/events"),
}
UNSAFE_GETS = {"/api/chat/cancel", "/api/background/status", "/api/backup"}
CALLS = [
    pytest.param(method, rule, kind, *call, *([None] * (2 - len(call))), id=f"{method} {call[0]}")
    for (method, rule), (kind, *calls) in TABLE.items()
    for call in calls
]


class House:
    """ann has said things, and something of hers runs."""

    def __init__(self, app, gate, agent):
        self.app = app
        self.gate = gate
        self.agent = agent
        self.ids = {}

    async def of(self, who, method, target, body=None, **headers):
        return await ask(self.app, method, target, body, token=who, **headers)

    async def post(self, who, path, **body):
        reply = await self.of(who, "POST", path, body)
        assert reply.status in (200, 202), reply
        return reply.json

    async def settle(self):
        """Something of everything."""
        talk = await self.imported("ann", f"About {SECRET}")
        done = await self.imported("ann", f"Again {SECRET}")
        started = await self.post("ann", "/api/chat/start", session_id=done, message=SECRET)
        (await self.agent.next_turn()).finish()
        past = started["stream_id"]
        async with streaming(self.app, f"/api/chat/stream?stream_id={past}", token="ann") as ended:
            await ended.wait_ended()
        await self.post("ann", "/api/background", session_id=done, prompt=SECRET)
        aside = await self.agent.next_turn()
        await aside.say(SECRET)
        aside.finish()
        made = await self.post("ann", "/v1/responses", input=SECRET, background=True)
        (await self.agent.next_turn()).finish()
        items = await self.of("ann", "GET", f"/v1/conversations/conv_{done}/items")
        started = await self.post("ann", "/api/chat/start", session_id=talk, message=SECRET)
        self.turn = await self.agent.next_turn()
        await self.turn.say(SECRET)
        queued = {"session_id": talk, "message": SECRET, "if_busy": "queue"}
        waiting = (await self.post("ann", "/api/chat/start", **queued))["stream_id"]
        project = (await self.post("ann", "/api/projects/create", name=SECRET))["project"]
        await self.post("ann", "/api/session/draft", session_id=talk, text=SECRET)
        self.ids = {
            "talk": talk,
            "done": done,
            "stream": started["stream_id"],
            "past": past,
            "waiting": waiting,
            "project": project["project_id"],
            "response": made["id"],
            "item": items.json["data"][0]["id"],
        }
        self.own = {who: await self.imported(who, f"{who}'s own") for who in ("bob", "root")} | {
            "ann": talk
        }

    async def imported(self, who, title):
        messages = [{"role": "user", "content": title}, {"role": "assistant", "content": "Yes."}]
        made = await self.post(who, "/api/session/import", title=title, messages=messages)
        return made["session"]["session_id"]

    async def everything_of_ann(self):
        """What nobody else can have changed."""
        seen = {}
        for path in ("/api/session?session_id={talk}", "/api/session?session_id={done}"):
            seen[path] = (await self.of("ann", "GET", self.fill(path, "ann"))).json
        for path in ("/api/sessions", "/api/projects", "/api/tab/sessions"):
            seen[path] = (await self.of("ann", "GET", path)).json
        return seen

    def fill(self, what, who, ids=None):
        """The ids in the place of their names."""
        if isinstance(what, dict):
            return {key: self.fill(value, who, ids) for key, value in what.items()}
        if not isinstance(what, str):
            return what
        named = {**(self.ids if ids is None else ids), "own": self.own[who]}
        return re.sub(r"\{(\w+)\}", lambda match: named[match[1]], what)

    @property
    def nothing(self):
        """Ids that look the same, and are of nothing."""
        return {name: "0" * len(value) for name, value in self.ids.items()}

    def blanked(self, reply):
        """Without what differs in any two answers, and without the ids that were asked for."""
        text = reply.body.decode()
        ids = (*self.ids.values(), *self.nothing.values())
        for value in sorted(ids, key=len, reverse=True):
            text = text.replace(value, "ID")
        text = re.sub(r'"(at|total|median|longest|now)":[0-9.e-]+', "", text)
        return reply.status, text


def written(users):
    def change(_):
        tokens = [
            Token(who, f"id-{who}", "", "admin" if who == "root" else "write", hash_of(who), 0.0)
            for who in NAMES
        ]
        tokens.append(Token("reader", "id-ann", "", "read", hash_of("reader"), 0.0))
        people = [User(f"id-{who}", who, "no hash", who == "root", 0.0) for who in NAMES]
        return Users(users=tuple(people), tokens=tuple(tokens))

    return change(users)


@asynccontextmanager
async def open_house(directory):
    change_users(directory, written)
    agent, disk = Puppet(), MemoryDisk()
    async with (
        open_greenroom(DATA_DIR, agent, disk=disk) as greenroom,
        open_journal(DATA_DIR / "answers", disk=disk) as journal,
    ):
        gate, stopping = Gate(directory), trio.Event()
        status = {"agent": "puppet", "model": None}
        app = create_app(
            greenroom,
            Answers(journal),
            gate=gate,
            limits=Limits({"requests": 0}, lambda: True),
            stopping=stopping,
            agent_status=lambda: status,
        )
        house = House(app, gate, agent)
        await house.settle()
        yield house


@pytest.fixture
async def house(tmp_path):
    async with open_house(tmp_path) as opened:
        yield opened


def rules_of(app):
    return {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }


def test_the_table_has_every_route_and_nothing_else(tmp_path):
    nothing = {"stopping": None, "agent_status": dict}
    app = create_app(None, None, gate=Gate(tmp_path), **nothing)
    assert rules_of(app) == set(TABLE)


async def answered(house, who, method, rule, target, body, ids=None):
    target, body = house.fill(target, who or "bob", ids), house.fill(body, who or "bob", ids)
    if rule not in STREAMS:
        return await house.of(who, method, target, body)
    async with streaming(house.app, target, token=who) as stream:
        return await stream.begun()


async def test_to_another_user_nothing_of_it_is_there(house):
    before = await house.everything_of_ann()
    for param in CALLS:
        method, rule, kind, target, body = param.values
        reply = await answered(house, "bob", method, rule, target, body)
        assert reply.status not in (500, 401 if kind != OPEN else None), (method, target)
        assert SECRET.encode() not in reply.body, (method, target)
        if kind in (ADMIN, DIRECTORY):
            assert reply.status == 403, (method, target)
        elif kind == ONE:
            none = await answered(house, "bob", method, rule, target, body, house.nothing)
            assert house.blanked(reply) == house.blanked(none), (method, target)
            assert reply.status >= 400 or b'"' + house.own["ann"].encode() not in reply.body
        elif kind in (LIST, NEW):
            told = reply.body.decode().replace(house.ids["project"], "")
            asked = target.format(**house.ids, own="")
            known = [value for value in house.ids.values() if value not in asked]
            assert not [value for value in known if value in told], (method, target)
    assert await house.everything_of_ann() == before
    results = await house.of(
        "ann", "GET", house.fill("/api/background/status?session_id={done}", "ann")
    )
    assert [row["answer"] for row in results.json["results"]] == [SECRET]
    await house.turn.say("and on")
    async with streaming(
        house.app, house.fill("/api/chat/stream?stream_id={stream}", "ann"), token="ann"
    ) as stream:
        await stream.until("and on")


async def test_nobody_gets_past_the_door(house):
    before = await house.everything_of_ann()
    for method, rule, kind, target, body in (param.values for param in CALLS):
        if kind == OPEN:
            reply = await answered(house, None, method, rule, target, body)
            assert reply.status < 500, (method, target)
            assert SECRET.encode() not in reply.body, (method, target)
            continue
        for way in (method, *(["HEAD"] if method == "GET" else []), "OPTIONS"):
            target, body = house.fill(target, "ann"), house.fill(body, "ann")
            for headers in ({}, {"cookie": "greenroom_session=x"}, {"idempotency-key": "k"}):
                reply = await house.of(None, way, target, body, **headers)
                assert reply.status == 401, (way, target)
            reply = await house.of("no such token", way, target, body)
            assert reply.status == 401, (way, target)
            if way == "GET":
                reply = await house.of(None, way, target, body, accept="text/html,*/*")
                assert reply.status == 302
                assert reply.headers["location"].startswith("/login?next=%2F")
    reply = await house.of(None, "GET", "/no/such/path")
    assert reply.status == 401
    assert await house.everything_of_ann() == before


async def test_a_token_for_reading_reads_and_changes_nothing(house):
    before = await house.everything_of_ann()
    house.own["reader"] = house.own["ann"]
    for method, rule, kind, target, body in (param.values for param in CALLS):
        if kind == OPEN:
            continue
        reply = await answered(house, "reader", method, rule, target, body)
        if kind in (ADMIN, DIRECTORY):
            assert reply.status == 403, (method, target)
        elif method != "GET" or rule in UNSAFE_GETS:
            assert reply.status == 403, (method, target)
            assert "This token is for reading only" in str(reply.json)
        else:
            own = await answered(house, "ann", method, rule, target, body)
            assert reply.status == own.status == 200, (method, target)
    assert await house.everything_of_ann() == before


async def test_an_admin_sees_that_it_is_there_and_not_what_it_says(house):
    for method, rule, kind, target, body in (param.values for param in CALLS):
        reply = await answered(house, "root", method, rule, target, body)
        assert SECRET.encode() not in reply.body, (method, target)
        assert kind != DIRECTORY or reply.status == 403
        if kind == ONE and rule != "/api/inspector/session":
            none = await answered(house, "root", method, rule, target, body, house.nothing)
            assert house.blanked(reply) == house.blanked(none), (method, target)
    everything = (await house.of("root", "GET", "/api/inspector?limit=1000")).body.decode()
    assert house.ids["talk"] in everything


@pytest.mark.parametrize("who", ["bob", "root"])
@pytest.mark.parametrize("rule", ["/api/sessions/events", "/api/tab/events", "/api/session/stream"])
async def test_a_stream_tells_of_ones_own_and_of_nothing_else(house, who, rule):
    own = house.own[who]
    target = f"{rule}?session_id={own}"
    async with streaming(house.app, target, token=who) as stream:
        await stream.begun()
        anns = house.ids["talk"]
        await house.post("ann", "/api/session/rename", session_id=anns, title=f"More {SECRET}")
        await house.turn.say(SECRET)
        await house.post("ann", "/api/session/delete", session_id=house.ids["done"])
        await house.post(who, "/api/session/rename", session_id=own, title="Renamed")
        await stream.until("session_rename")
        for value in (*house.ids.values(), SECRET, "session_delete"):
            assert value.encode() not in stream.data
    async with streaming(house.app, f"{rule}?session_id={anns}", token="ann") as stream:
        await stream.begun()
        await house.post("ann", "/api/session/rename", session_id=anns, title="Again")
        await stream.until("session_rename")


async def test_a_story_is_told_to_who_may_inspect(house):
    target = "/api/inspector/events?session_id=" + house.ids["talk"]
    async with (
        streaming(house.app, target, token="bob") as bobs,
        streaming(house.app, target, token="ann") as anns,
        streaming(house.app, target, token="root") as roots,
    ):
        for stream in (bobs, anns, roots):
            await stream.begun()
        await house.post("ann", "/api/session/rename", session_id=house.ids["talk"], title="T")
        for stream in (anns, roots):
            await stream.until("event: story")
        await bobs.until('"gone":true')
        assert b"event: story" not in bobs.data


async def test_keys_are_each_ones_own(house):
    key = {"idempotency-key": "same"}
    made = [await house.of(who, "POST", "/api/session/new", {}, **key) for who in ("ann", "bob")]
    names = [reply.json["session"]["session_id"] for reply in made]
    assert names[0] != names[1]
    again = await house.of("bob", "POST", "/api/session/new", {}, **key)
    assert again.json["session"]["session_id"] == names[1]


async def test_what_was_made_before_there_were_users_is_for_an_admin(tmp_path):
    agent, disk = Puppet(), MemoryDisk()
    async with (
        open_greenroom(DATA_DIR, agent, disk=disk) as greenroom,
        open_journal(DATA_DIR / "answers", disk=disk) as journal,
    ):
        stopping, status = trio.Event(), {"agent": "puppet", "model": None}
        app = create_app(
            greenroom,
            Answers(journal),
            gate=Gate(tmp_path),
            stopping=stopping,
            agent_status=lambda: status,
        )
        house = House(app, None, agent)
        old = await house.imported(None, "Old")
        change_users(tmp_path, written)
        target = f"/api/session?session_id={old}"
        assert (await house.of(None, "GET", target)).status == 401
        assert (await house.of("bob", "GET", target)).status == 404
        assert (await house.of("root", "GET", target)).json["session"]["title"] == "Old"
        for who, count in (("bob", 0), ("root", 1)):
            assert len((await house.of(who, "GET", "/api/sessions")).json["sessions"]) == count
