"""A server under load for as long as you say: what it holds must stay flat.

python -m tests.benchmarks.soak --minutes 30

100 live streams, each with its reader; turns are cancelled, actors crash and start again, people
log in and out, backups are taken, pages of the list are read. Prints what the server held every
few seconds, and the slope of each by the hour. Ends with code 1 if an answer was wrong.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx
import trio

from app.authority.gate import new_user
from app.authority.secrets import Passwords, hash_of, new_secret
from app.authority.users import Token, Users, change_users
from app.run_file import read_run_file
from tests.app.client import Client
from tests.app.process import ServerProcess, running_server

from .load import cpu_seconds, resident

COMMAND = (sys.executable, "-m", "tests.benchmarks.soak", "serve")
NAME, PASSWORD = "soak", "soaked to the skin"
NO_LIMITS = "sessions=0 turns=0 running=0 streams=0 requests=0"
CRASH_SECONDS = 5.0
LOGIN_SECONDS = 2.0
BACKUP_SECONDS = 30.0
PEACE_SECONDS = 60.0  # until the last turns have ended
CANCELLED = 0.2  # of the turns
KEPT_SESSIONS = 3  # turns, then a session is deleted and another begun
HELD = ("rss_mb", "files", "threads", "tasks", "actors", "feeds", "journal_mb")
METRICS = {
    "tasks": "greenroom_tasks",
    "actors": "greenroom_actors",
    "feeds": "greenroom_feeds",
    "journal_mb": "greenroom_journal_bytes",
}


# -- the server ---------------------------------------------------------------------------------


def serve() -> int:
    """`python -m app`, with a way to have an actor crash."""
    from dataclasses import dataclass

    import app.cli
    import app.house
    from actors import ActorError, Message
    from actors.session.actor import Session

    @dataclass(frozen=True, slots=True)
    class Stumble(Message[None]):
        """It crashes who gets it."""

    receive = Session.receive

    async def stumbling(self: Session, message: Message[object]) -> object:
        if isinstance(message, Stumble):
            raise RuntimeError("it stumbled, as it was told")
        return await receive(self, message)

    Session.receive = stumbling  # type: ignore[method-assign]
    create_app = app.house.create_app

    def with_stumbling(greenroom: object, *arguments: object, **options: object) -> object:
        made = create_app(greenroom, *arguments, **options)  # type: ignore[arg-type]

        @made.get("/soak/stumble/<session_id>")
        async def stumble(session_id: str) -> str:
            try:
                await greenroom.session(session_id).ask(Stumble())  # type: ignore[attr-defined]
            except ActorError:
                return "it did"
            return "it did not"

        return made

    app.house.create_app = with_stumbling  # type: ignore[assignment]
    return app.cli.main([])


# -- the crowd ----------------------------------------------------------------------------------


class Crowd:
    """All who talk to it, and what they did."""

    def __init__(self, http: httpx.AsyncClient, chance: random.Random, of_the_run: str) -> None:
        self.client = Client(http)
        self.chance = chance
        self.of_the_run = {"Authorization": f"Bearer {of_the_run}"}
        self.did: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.sessions: set[str] = set()

    async def talk(self) -> None:
        """One turn after the other, for ever; now and then a new session instead of the old."""
        while True:
            session_id = await self.client.new()
            for _ in range(KEPT_SESSIONS):
                await self._turn(session_id)
            self.sessions.discard(session_id)
            await self.client.post("/api/session/delete", session_id=session_id)
            self.did["sessions"] += 1

    async def _turn(self, session_id: str) -> None:
        body = {"session_id": session_id, "message": "soak"}
        answer = await self.client.http.post("/api/chat/start", json=body)
        if answer.status_code in (429, 503):
            self.did[f"refused {answer.status_code}"] += 1
            await trio.sleep(1)
            return
        if answer.status_code != 200:
            self.wrong.append(f"start: {answer.status_code} {answer.text[:200]}")
            await trio.sleep(1)
            return
        self.sessions.add(session_id)  # one without a turn is in memory only: no crash for it
        stream_id, last, stop = answer.json()["stream_id"], 0, self._stop_after()
        async with aclosing(self.client.follow(stream_id)) as events:
            async for event in events:
                if event.seq != last + 1:
                    self.wrong.append(f"event {event.seq} came after {last}")
                last = event.seq
                if last == stop:
                    self.did["cancels"] += await self.client.cancel(stream_id)
        self.did["turns"] += 1
        self.did["events"] += last

    def _stop_after(self) -> int:
        return self.chance.randrange(2, 60) if self.chance.random() < CANCELLED else -1

    async def stumble(self) -> None:
        """Actors crash, and start again with the turn that they had."""
        while True:
            await trio.sleep(CRASH_SECONDS)
            if self.sessions:
                name = self.chance.choice(sorted(self.sessions))
                answer = await self.client.http.get(f"/soak/stumble/{name}")
                self.did["stumbles"] += answer.text == "it did"

    async def look(self) -> None:
        """What pages ask for."""
        while True:
            await trio.sleep(0.5)
            for path in ("/api/sessions", "/ready", "/health"):
                answer = await self.client.http.get(path, params={"limit": 50})
                if answer.status_code != 200:
                    self.wrong.append(f"{path}: {answer.status_code} {answer.text[:200]}")
            self.did["looks"] += 1

    async def back_up(self) -> None:
        while True:
            await trio.sleep(BACKUP_SECONDS)
            backup = self.client.http.stream("GET", "/api/backup", headers=self.of_the_run)
            async with backup as answer:
                size = 0
                async for part in answer.aiter_bytes():
                    size += len(part)
            if answer.status_code != 200 or not size:
                self.wrong.append(f"backup: {answer.status_code}")
            self.did["backups"] += 1

    async def log_in_and_out(self, url: str) -> None:
        while True:
            await trio.sleep(LOGIN_SECONDS)
            async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                body = {"username": NAME, "password": PASSWORD}
                answer = await http.post("/api/auth/login", json=body)
                if answer.status_code != 200:
                    self.wrong.append(f"login: {answer.status_code} {answer.text[:200]}")
                await http.post("/api/auth/logout", json={})
            self.did["logins"] += 1


# -- what it holds ------------------------------------------------------------------------------


async def held(server: ServerProcess, http: httpx.AsyncClient) -> dict[str, float]:
    told: dict[str, float] = dict.fromkeys(METRICS, 0.0)
    for line in (await http.get("/metrics")).text.splitlines():
        name, _, value = line.rpartition(" ")
        for column, metric in METRICS.items():
            if name.partition("{")[0] == metric:
                told[column] += float(value)
    process = Path(f"/proc/{server.pid}")
    return told | {
        "journal_mb": told["journal_mb"] / 1e6,
        "rss_mb": resident(server.pid) / 1e6,
        "files": len(os.listdir(process / "fd")),
        "threads": len(os.listdir(process / "task")),
    }


def slope(times: list[float], values: list[float]) -> float:
    """By least squares: how much more in an hour."""
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in times)
    rise = sum((at - middle) * (v - mean) for at, v in zip(times, values, strict=True))
    return rise / spread * 3600 if spread else 0.0


@asynccontextmanager
async def crowded(url: str, headers: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with httpx.AsyncClient(
        base_url=url, timeout=120, limits=limits, headers=headers
    ) as client:
        yield client


def settled_in(data_dir: Path) -> str:
    """An admin with a token, which it gives."""
    secret = new_secret(token=True)

    def change(users: Users) -> Users:
        user = new_user(NAME, Passwords().hash(PASSWORD), admin=True)
        token = Token("soak", user.id, "", "admin", hash_of(secret), time.time())
        return users.add(user).with_token(token)

    change_users(data_dir, change)
    return secret


async def soak(minutes: float, streams: int, every: float, seed: int) -> int:
    print(f"seed {seed}, {streams} streams, {minutes:g} minutes", flush=True)
    samples: list[tuple[float, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as directory:
        data_dir = Path(directory) / "data"
        headers = {"Authorization": f"Bearer {settled_in(data_dir)}"}
        async with (
            running_server(
                data_dir, command=COMMAND, env={"GREENROOM_LIMITS": NO_LIMITS}
            ) as server,
            crowded(server.url, headers) as http,
        ):
            run = read_run_file(data_dir)
            assert run is not None
            crowd = Crowd(http, random.Random(seed), run.token)
            began, cpu = time.monotonic(), cpu_seconds(server.pid)
            print("  seconds" + "".join(f"{name:>11}" for name in HELD), flush=True)
            async with trio.open_nursery() as nursery:
                for _ in range(streams):
                    nursery.start_soon(crowd.talk)
                for work in (crowd.stumble, crowd.look, crowd.back_up):
                    nursery.start_soon(work)
                nursery.start_soon(crowd.log_in_and_out, server.url)
                while (at := time.monotonic() - began) < minutes * 60:
                    samples.append((at, await held(server, http)))
                    row = "".join(f"{samples[-1][1][name]:11.1f}" for name in HELD)
                    print(f"{at:9.0f}{row}", flush=True)
                    await trio.sleep(every)
                nursery.cancel_scope.cancel()
            busy = (cpu_seconds(server.pid) - cpu) / (time.monotonic() - began)
            with trio.move_on_after(PEACE_SECONDS):
                while (await http.get("/health")).json()["active_streams"]:  # noqa: ASYNC110
                    await trio.sleep(0.5)
            rest = await held(server, http)
            code = await server.stop()
            said = [
                line
                for line in server.stderr.splitlines()
                if (" WARNING " in line or " ERROR " in line) and "starts again" not in line
            ]
    warm = [sample for sample in samples if sample[0] > minutes * 60 * 0.25] or samples
    times = [at for at, _ in warm]
    print("an hour  " + "".join(f"{_slope(times, warm, name):+11.1f}" for name in HELD))
    print("in peace " + "".join(f"{rest[name]:11.1f}" for name in HELD))
    print(", ".join(f"{number} {what}" for what, number in sorted(crowd.did.items())))
    print(f"{busy:.0%} of a core; exit code {code}; {len(said)} other complaints on stderr")
    for line in said[:10]:
        print(line[:200])
    for wrong in crowd.wrong[:20]:
        print("WRONG", wrong)
    return int(bool(crowd.wrong) or code != 0)


def _slope(times: list[float], warm: list[tuple[float, dict[str, float]]], name: str) -> float:
    return slope(times, [told[name] for _, told in warm])


def main() -> int:
    if sys.argv[1:] == ["serve"]:
        return serve()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--every", type=float, default=10, help="seconds between two samples")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    return trio.run(soak, given.minutes, given.streams, given.every, given.seed)


if __name__ == "__main__":
    sys.exit(main())
