"""A real server is killed in the middle of its work, again and again, and started again.

    python -m tests.faults.crash --rounds 1000 --seed 1

One data directory lives through all rounds. In each, a server is started on it; all that its
clients were told is compared with what it says now and with the files; a crowd of clients works
with it for a moment; then it is killed with -9. Chance is seeded, the instant of the kill is real.
"""

import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from sqlite3 import connect
from typing import Any, TypeVar

import click
import httpx
import msgspec
import trio

from actors.session.amendments import amended
from tests.app.client import Client

from .crash_clients import Crowd, ServerGone
from .crash_oracle import seen
from .crash_provider import Provider, open_provider
from .crash_server import Server, Servers, open_servers
from .crash_told import TERMINAL, Json, Session, Told, Turn

__all__ = ["Report", "crash"]

WRITERS, TABS = 9, 4
LONGEST = 1.5  # seconds of work until the kill
KILLED_AT_BIRTH = 0.15  # how often a server is killed while it starts
AT_ONCE = 6
GUARD = 60.0
SWEPT = 5.0
AGAIN = 3  # streams that ended before, shown again in each round

ENVIRONMENT = {
    "GREENROOM_AGENT": "openai",
    "GREENROOM_MODEL": "puppet",
    "GREENROOM_TITLES": "model",
    "GREENROOM_CONTEXT_TOKENS": "4000",
}
# What no server should write, however it was killed before.
COMPLAINTS = ("Traceback", "crashed", "damaged", "cannot be read", "is not listed", "stays:")


T = TypeVar("T")


class Files:
    """The data directory, as one look finds it."""

    def __init__(self, data_dir: Path, before: "Files | None" = None) -> None:
        sessions = data_dir / "sessions"
        names = [path.name for path in sessions.iterdir()] if sessions.is_dir() else []
        self.temporary = [name for name in names if ".tmp." in name]
        self.data: dict[str, bytes] = {}
        for name in names:
            if name.endswith(".json"):
                try:
                    self.data[name.removesuffix(".json")] = (sessions / name).read_bytes()
                except FileNotFoundError:
                    continue  # it is alive, and has just deleted it
        self._before = before
        self._parsed: dict[str, Any] = {}

    def parsed(self, name: str) -> Any:
        """Raises `msgspec.MsgspecError`."""
        if name not in self._parsed:
            before = self._before
            if before is not None and before.data.get(name) == self.data[name]:
                self._parsed[name] = before.parsed(name)
            else:
                self._parsed[name] = amended(self.data[name])
        return self._parsed[name]

    def forget(self) -> None:
        """What is no longer needed of those before."""
        for name in self.data:
            if not name.startswith("_"):
                self.parsed(name)
        self._before = None

    def leads_to(self, session_id: str) -> str | None:
        """The record under an id, or under the one that it leads to."""
        name: str | None = session_id
        while name is not None and name in self.data:
            following = self.parsed(name)["continuation_session_id"]
            if following is None:
                return name
            name = following
        return None

    def left_of_chains(self) -> set[str]:
        """Ids that led to another one and, with it, nowhere: of such a chain, the next start sweeps
        the last, and the one after that the one before it.
        """
        return {
            name
            for name in self.data
            if not name.startswith("_")
            and self.parsed(name)["continuation_session_id"] in self.data
            and self.leads_to(name) is None
        }

    def chain(self, name: str) -> list[str]:
        """All ids that lead to a record, the oldest first."""
        ids = [name]
        while (earlier := self.parsed(ids[0]).get("continues_session_id")) in self.data:
            ids.insert(0, earlier)
        return ids


class House:
    """The directory, and what its clients know."""

    def __init__(
        self, data_dir: Path, seed: int, sessions: int, provider: Provider, servers: Servers
    ) -> None:
        self.told = Told(seed)
        self.kills: Counter[str] = Counter()
        self.files = Files(data_dir)
        self._data_dir = data_dir
        self._seed = seed
        self._sessions = sessions
        self._provider = provider
        self._servers = servers
        self._starts = 0.5  # seconds that a start takes
        self._buried = 0  # graves that were looked into
        self._waited: dict[str, list[str]] = {}  # of each record, the turns that waited at the kill

    @asynccontextmanager
    async def _started(self) -> AsyncIterator[Server]:
        async with self._servers.started() as server:
            yield server
        for line in server.stderr.splitlines():
            if any(word in line for word in COMPLAINTS):
                self.told.wrong(f"the server wrote: {server.stderr}")
                break

    async def round(self, number: int, *, gracefully: bool = False) -> None:
        chance = Random(f"{self._seed} round {number}")
        while number and chance.random() < KILLED_AT_BIRTH:
            await self._killed_at_birth(chance)
        self._provider.calm()
        async with self._started() as server:
            began = time.perf_counter()
            self._look()
            if self.told.violations:
                return
            await server.wait_ready()
            self._starts += 0.2 * (time.perf_counter() - began - self._starts)
            async with _open_client(server.url) as client:
                with trio.fail_after(GUARD):
                    await self._check(client, server, chance)
                if self.told.violations:
                    return
                self._provider.stir()
                await self._work(server, client, chance, gracefully)
        self.files = Files(self._data_dir, self.files)

    async def after(self) -> None:
        """One more start, to check what the last round left; and a look at the rest."""
        self._provider.calm()
        async with self._started() as server:
            self._look()
            await server.wait_ready()
            async with _open_client(server.url) as client:
                with trio.fail_after(GUARD):
                    await self._check(client, server, Random(self._seed))
            if await server.stop() != 0:
                self.told.wrong(f"it ended badly: {server.stderr}")
        files = Files(self._data_dir)
        index = {row["session_id"]: row for row in files.parsed("_index")}
        if index.keys() != {name for name in files.data if not name.startswith("_")}:
            self.told.wrong("the index on disk lists other sessions than there are")
        if files.temporary:
            self.told.wrong(f"left behind: {files.temporary}")
        search = self._data_dir / "search.sqlite"
        if search.exists():
            with closing(connect(search)) as database:
                if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                    self.told.wrong("the search is damaged")

    async def _killed_at_birth(self, chance: Random) -> None:
        """While it mends what the kill before has left, or just after."""
        async with self._started() as server:
            self._look()
            await trio.sleep(self._starts * chance.uniform(0.7, 1.4))
            await server.kill()
        self.kills["servers killed while they started"] += 1
        self.files = Files(self._data_dir, self.files)

    # -- the moment of death --------------------------------------------------------------------

    async def _work(self, server: Server, client: Client, chance: Random, gracefully: bool) -> None:
        told = self.told
        crowd = Crowd(told, client, self._sessions)
        seconds = 0.05 + (LONGEST - 0.05) * chance.random() ** 3
        with trio.fail_after(GUARD):
            async with trio.open_nursery() as readers, trio.open_nursery() as crowded:
                crowded.start_soon(self._send_again, crowd, chance, readers)
                for n in range(WRITERS):
                    crowded.start_soon(crowd.writer, Random(f"{chance.random()} {n}"), readers)
                for n in range(TABS):
                    crowded.start_soon(crowd.tab, Random(f"{chance.random()} {n}"), readers)
                await trio.sleep(seconds)
                crowd.killed = True
                self._count(crowd)
                if gracefully:
                    code = await server.stop()
                    if code != 0:
                        told.wrong(f"it ended with {code}: {server.stderr}")
                else:
                    await server.kill()

    async def _send_again(self, crowd: Crowd, chance: Random, readers: trio.Nursery) -> None:
        """What got no answer before, under the same key."""
        again, self.told.unanswered = self.told.unanswered, []
        for prompt in again:
            if prompt.session in self.told.sessions:
                self.told.counts["prompts sent again"] += 1
                with suppress(ServerGone):
                    await crowd.send(prompt, chance, readers)

    def _count(self, crowd: Crowd) -> None:
        """What is under way at this instant."""
        self.kills["kills"] += 1
        self.kills["requests unanswered"] += crowd.in_flight
        self.kills["readers following"] += crowd.following
        names = {"answer": "turns streaming", "summary": "compressions running"}
        for purpose, count in self._provider.working.items():
            self.kills[names.get(purpose, "titles sought")] += count

    # -- what is left ---------------------------------------------------------------------------

    def _look(self) -> None:
        """At the files that the killed server left, while the next one starts: what was accepted
        is there, and nothing that was taken away.
        """
        told, files = self.told, self.files
        for name in list(files.data):
            try:
                files.parsed(name)
            except msgspec.MsgspecError as error:
                told.wrong(f"{name}.json cannot be read: {error}: {files.data.pop(name)[:200]!r}")
        self.kills["writes cut off"] += len(files.temporary)
        self._waited = {}
        for session in list(told.sessions):
            name = self._follow_ids(session)
            record = None if name is None else files.parsed(name)
            if record is None:
                told.conclude(session, None)
                continue
            session.deleted = session.held = False
            told.conclude(session, record)
            waited = [row["id"] for row in record["waiting"]] if "waiting" in record else []
            if waited:
                self._waited[str(name)] = waited
            self.kills["messages waiting"] += len(waited)
        for grave in told.graves:
            for name in grave.ids:
                if name in files.data and files.leads_to(name) is not None:
                    told.wrong(f"{grave} was deleted, and {name}.json is there")
        self._adopt()
        files.forget()

    def _follow_ids(self, session: Session) -> str | None:
        """The name of its record. Learns the ids that nobody was told of."""
        ends = {self.files.leads_to(name) for name in session.ids}
        if len(ends) > 1:
            self.told.wrong(f"{session}: of its ids {session.ids} some lead to {ends}")
        name = ends.pop()
        if name is not None:
            chain = self.files.chain(name)
            if not set(session.ids) <= set(chain):
                self.told.wrong(f"{session} was known as {session.ids}, and now as {chain}")
            self.told.counts["rotations"] += len(chain) - session.rotated - 1
            session.ids, session.rotated = chain, len(chain) - 1
        return name

    def _adopt(self) -> None:
        """Copies that somebody asked for without getting an answer."""
        told, files = self.told, self.files
        known = {name for session in told.sessions for name in session.ids}
        for name in files.data.keys() - known:
            record = files.parsed(name) if not name.startswith("_") else None
            if record is None or record["continuation_session_id"] is not None:
                continue
            if record.get("continues_session_id") in files.data:
                self.kills["rotations cut in two"] += 1
                continue  # to be swept
            asked = next((title for title in told.copies if record["title"].endswith(title)), None)
            if asked is not None:
                told.born(name, seen(record))
                told.copies.remove(asked)
        told.copies.clear()

    # -- what the next server says --------------------------------------------------------------

    async def _check(self, client: Client, server: Server, chance: Random) -> None:
        told = self.told
        crowd = Crowd(told, client, self._sessions, checks=True)
        await self._check_who_runs(crowd)
        changed = [
            session
            for session in told.sessions
            if self.files.data[session.ids[-1]] != session.record
        ]
        await _each(changed, lambda session: self._show(crowd, session, chance))
        await self._check_streams(crowd, chance)
        await _each(changed, lambda session: self._show(crowd, session, chance, still=True))
        told.put_away()
        graves, self._buried = told.graves[self._buried :], len(told.graves)
        graves += chance.sample(told.graves, min(AGAIN, len(told.graves)))
        await _each(graves, lambda grave: self._check_gone(crowd, grave))
        await self._check_files(crowd, server)

    async def _check_who_runs(self, crowd: Crowd) -> None:
        """Nobody but messages that waited; and of these, the first at once. Before anybody looks:
        to look at a session may mend it.
        """
        waited = {turn_id for turn_ids in self._waited.values() for turn_id in turn_ids}
        files = Files(self._data_dir, self.files)
        rows = {row["session_id"]: row for row in await crowd.listed()}
        for said in (
            *rows.values(),
            *(files.parsed(session.ids[-1]) for session in self.told.sessions),
        ):
            if said["active_stream_id"] not in waited | {None}:
                self.told.wrong(f"is said to run: {said}")
        for name, turn_ids in self._waited.items():
            if name in rows and rows[name]["waiting_count"] >= len(turn_ids):
                self.told.wrong(f"{turn_ids} wait for ever in {rows[name]}")

    async def _show(
        self, crowd: Crowd, session: Session, chance: Random, still: bool = False
    ) -> None:
        name = session.ids[-1] if still else chance.choice(session.ids)
        known = len(session.ids)
        response = await crowd.get("/api/session", session_id=name)
        if response.status_code != 200:
            self.told.wrong(f"{session} as {name}: {response.status_code} {response.text}")
            return
        shown: Json = response.json()["session"]
        self.told.named(session, shown["session_id"], known)
        self.told.agree(session, shown)
        if still and (shown["active_stream_id"] or shown["pending_user_message"] or shown["queue"]):
            self.told.wrong(f"{session} is not still: {shown}")

    async def _check_streams(self, crowd: Crowd, chance: Random) -> None:
        """A reader that comes back misses nothing and gets nothing twice; and so does one that
        begins anew.
        """
        told = self.told

        async def look_through(turn: Turn) -> None:
            after = len(turn.shown)
            if after and turn.shown[after][0] not in TERMINAL:
                await crowd.follow(turn.stream_id, after)
                told.counts["readers that came back"] += 1
            await crowd.follow(turn.stream_id)
            told.look_through(turn)

        async def look_again(turn: Turn) -> None:
            events = [event async for event in crowd.events(turn.stream_id)]
            told.check_again(turn, events)

        await _each(chance.sample(told.ended, min(AGAIN, len(told.ended))), look_again)
        while turns := [turn for turn in told.open.values() if turn.end is None]:
            await _each(turns, look_through)
            if told.violations:
                return

    async def _check_gone(self, crowd: Crowd, grave: Session) -> None:
        for name in grave.ids:
            response = await crowd.get("/api/session", session_id=name)
            if response.status_code != 404:
                self.told.wrong(f"{grave} was deleted, and {name} is {response.text}")

    async def _check_files(self, crowd: Crowd, server: Server) -> None:
        """All is still: each living session has one row, which says what its record says, and
        nothing lies around.
        """
        told = self.told
        left = self.files.left_of_chains()
        files = self.files = Files(self._data_dir, self.files)
        for session in told.sessions:
            self._follow_ids(session)
        known = left.union(*(session.ids for session in told.sessions))
        with trio.move_on_after(SWEPT):
            while strangers := self._strangers(known):  # noqa: ASYNC110 - it is another process
                await trio.sleep(0.01)
        if strangers:
            told.wrong(f"nobody knows of {strangers}")
        rows = {row["session_id"]: row for row in await crowd.listed()}
        halves = [name for name in files.temporary if f".tmp.{server.pid}." not in name]
        if halves:
            told.wrong(f"left behind: {halves}")
        if "_index" in files.data:
            files.parsed("_index")
        for session in told.sessions:
            name = session.ids[-1]
            session.record, record = files.data[name], files.parsed(name)
            if record["active_stream_id"] is not None or record["pending_user_message"] is not None:
                told.wrong(f"{session} runs, on disk: {record}")
            row = rows.pop(name, None)
            if row is None:
                if record["message_count"] or record["title"] != "Untitled":
                    told.wrong(f"{session} is not listed")
                continue
            other = {key for key in row.keys() & record.keys() if row[key] != record[key]}
            if other - {"profile"}:
                told.wrong(f"{session}: {other} differ in {row} and {record}")
        if rows:
            told.wrong(f"nobody made {rows}")
        files.forget()

    def _strangers(self, known: set[str]) -> set[str]:
        names = {path.stem for path in (self._data_dir / "sessions").glob("[!_]*.json")}
        return names - known


async def _each(items: Sequence[T], check: Callable[[T], Awaitable[object]]) -> None:
    """A few at a time."""
    left = list(items)

    async def some() -> None:
        while left:
            await check(left.pop())

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(some)


@asynccontextmanager
async def _open_client(url: str) -> AsyncIterator[Client]:
    # Nothing is encrypted here, and to read the certificates takes a while.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        base_url=url,
        timeout=GUARD,
        limits=limits,
        verify=False,
        headers={"Accept-Encoding": "identity"},
    ) as http:
        yield Client(http)


# -- the whole ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Report:
    seed: int
    rounds: int
    seconds: float
    sessions: int
    counts: Counter[str]
    violations: list[str]

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.rounds} rounds in {self.seconds:.1f} s"
            f" ({self.rounds / self.seconds:.2f} rounds/s), {self.sessions} sessions at the end"
        ]
        lines += [f"{count:9}  {what}" for what, count in self.counts.items()]
        lines += [f"VIOLATION (seed {self.seed}) {text}" for text in self.violations]
        lines.append(f"{len(self.violations)} violations")
        return "\n".join(lines)


async def crash(
    data_dir: Path,
    rounds: int,
    seed: int,
    sessions: int,
    progress: Callable[[int], None] = lambda number: None,
    *,
    power: bool = False,
) -> Report:
    """So many rounds, or fewer if something is wrong; the last ends gracefully. With `power` a kill
    takes all with it that was not flushed.
    """
    began = time.perf_counter()
    done = 0
    seeds = [str(seed)] if power else []
    async with (
        open_provider(seed) as provider,
        open_servers(
            data_dir, {**ENVIRONMENT, "GREENROOM_BASE_URL": provider.url}, *seeds
        ) as servers,
    ):
        house = House(data_dir, seed, sessions, provider, servers)
        while done < rounds and not house.told.violations:
            await house.round(done, gracefully=done == rounds - 1)
            done += 1
            progress(done)
        if not house.told.violations:
            await house.after()
    told = house.told
    violations = [f"in round {done}: {text}" for text in told.violations]
    seconds = time.perf_counter() - began
    return Report(seed, done, seconds, len(told.sessions), told.counts + house.kills, violations)


@click.command()
@click.option("--rounds", default=100, show_default=True)
@click.option("--seed", default=lambda: secrets.randbelow(1 << 32), show_default="by chance")
@click.option("--sessions", default=50, show_default=True, help="How many there are at least.")
@click.option("--power", is_flag=True, help="Cut the power: what was not flushed is gone, or torn.")
def main(rounds: int, seed: int, sessions: int, power: bool) -> None:
    """Kill a real server again and again, and see whether anything is lost."""
    print(f"seed {seed}", flush=True)
    data_dir = Path(tempfile.mkdtemp(prefix="greenroom-crash-"))

    began = time.perf_counter()

    def progress(done: int) -> None:
        if done % 50 == 0:
            print(f"{done} rounds in {time.perf_counter() - began:.0f} s", flush=True)

    begin = partial(crash, power=power)
    report = trio.run(begin, data_dir, rounds, seed, sessions, progress)
    print(report)
    if report.violations:
        print(f"the directory is left as it was: {data_dir}")
        sys.exit(1)
    shutil.rmtree(data_dir)


if __name__ == "__main__":
    main()
