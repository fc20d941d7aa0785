"""A pool of workers that crash: restarts, supervision, death watch, timers.

A worker that crashes starts again by itself, and says that it is ready. One that crashes too often
is given up; its pool is told, and starts another in its place a second later. A job that was under
way is tried again, twice at most. If the pool itself crashes, its workers end with it.
"""

from collections import deque
from dataclasses import dataclass

import trio

from actors import Actor, Ended, Feed, Kind, Message, Ref, RestartPolicy, open_system

WORKERS = 3
ATTEMPTS = 3


@dataclass(frozen=True)
class Job:
    name: str
    number: int
    attempt: int = 1


@dataclass(frozen=True)
class Result:
    name: str
    answer: str


@dataclass(frozen=True)
class Submit(Message[None]):
    job: Job


@dataclass(frozen=True)
class Ready(Message[None]):
    """A worker has started, for the first time or after a crash."""

    worker: str


@dataclass(frozen=True)
class Work(Message[None]):
    job: Job


@dataclass(frozen=True)
class Done(Message[None]):
    worker: str
    answer: str


@dataclass(frozen=True)
class Replace(Message[None]):
    """The pool's own: start this worker now."""

    worker: str


class Worker(Actor):
    async def on_start(self) -> None:
        self.pool: Ref = self.context.refer("pool", "main")
        self.pool.tell(Ready(self.context.key))

    async def receive(self, message: Message[object]) -> object:
        match message:
            case Work(Job(_, number)):
                await trio.sleep(0.01)
                answer = f"{1000 // number}"  # 0 is a poisoned job
                self.pool.tell(Done(self.context.key, answer))
                return None
        raise NotImplementedError(message)


class Pool(Actor):
    def __init__(self, results: Feed[Result]) -> None:
        self.results = results
        self.jobs: deque[Job] = deque()
        self.idle: list[str] = []
        self.busy: dict[str, Job] = {}

    async def on_start(self) -> None:
        for n in range(WORKERS):
            await self.start_worker(f"worker-{n}")

    async def start_worker(self, key: str) -> None:
        self.context.watch(await self.context.start_child("worker", key))

    async def receive(self, message: Message[object]) -> object:
        match message:
            case Submit(job):
                self.jobs.append(job)
            case Ready(worker):
                self.try_again(worker)
                self.idle.append(worker)
            case Done(worker, answer):
                job = self.busy.pop(worker)
                self.results.publish([Result(job.name, answer)])
                self.idle.append(worker)
            case Ended(ref, error):
                print(f"gave up {ref.key}: {error!r}", flush=True)
                self.try_again(ref.key)
                if ref.key in self.idle:
                    self.idle.remove(ref.key)
                self.context.tell_after(1, Replace(ref.key))
            case Replace(worker):
                await self.start_worker(worker)
        while self.jobs and self.idle:
            worker, job = self.idle.pop(), self.jobs.popleft()
            self.busy[worker] = job
            self.context.refer("worker", worker).tell(Work(job))
        return None

    def try_again(self, worker: str) -> None:
        """What the worker had in hand when it crashed, if anything."""
        job = self.busy.pop(worker, None)
        if job is None:
            return
        if job.attempt == ATTEMPTS:
            self.results.publish([Result(job.name, f"failed {ATTEMPTS} times")])
        else:
            self.jobs.append(Job(job.name, job.number, job.attempt + 1))


async def main() -> None:
    results: Feed[Result] = Feed()
    # Crash once in a minute: start again. Twice: be given up.
    fragile = RestartPolicy(restarts=1, within=60)
    kinds = (  # whom the others need to the last is named first
        Kind("worker", lambda key: Worker(), restart=fragile, stop_seconds=1),
        Kind("pool", lambda key: Pool(results)),
    )
    numbers = {"a": 10, "b": 0, "c": 25, "d": 0, "e": 40, "f": 50}
    async with open_system(*kinds) as system:
        pool = system.ref("pool", "main")
        await pool.start()
        for name, number in numbers.items():
            pool.tell(Submit(Job(name, number)))
        with trio.fail_after(60):
            while results.last < len(numbers):
                await results.wait_after(results.last)
    for result in sorted(results.after(0), key=lambda result: result.name):
        print(result.name, result.answer)


if __name__ == "__main__":
    trio.run(main)
