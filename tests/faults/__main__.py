"""Many schedules: `python -m tests.faults --seeds 1000`, or one: `python -m tests.faults --seed 7`.

A seed is a whole run: what users, agents, disks and crashes do, and which task runs next.
"""

import argparse
import logging
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from random import Random

from .program import programs
from .world import Report, play

CHUNK = 50


def run(seed: int) -> tuple[Report, str | None]:
    """What the run met, and what was wrong with it."""
    program = programs(Random(seed))
    try:
        return play(program), None
    except Exception as error:  # noqa: BLE001 - the door: whatever it is, somebody must see it
        notes = "\n".join(getattr(error, "__notes__", ()))
        what = f"{type(error).__name__}: {error}"
        return Report(), f"{program}\n\n{notes}\n\n{what}\nseed {seed}"


def run_some(seeds: range) -> list[tuple[int, Report, str | None]]:
    logging.disable(logging.CRITICAL)  # a failing disk is what we ask for
    return [(seed, *run(seed)) for seed in seeds]


def table(report: Report) -> str:
    """How often each command met a session in each phase."""
    names = sorted({name for name, _ in report.phases})
    phases = ["absent", "idle", "compressing", "running", "waiting"]
    lines = ["".join(f"{word:>13}" for word in ("", *phases))]
    for name in names:
        counts = (report.phases[name, phase] for phase in phases)
        lines.append(f"{name:>13}" + "".join(f"{count or '-':>13}" for count in counts))
    return "\n".join(lines)


def run_all(first: int, number: int, jobs: int) -> int:
    """Prints what they found; gives how many failed."""
    report, failed, done, began = Report(), [], 0, time.perf_counter()
    chunks = [range(n, min(n + CHUNK, first + number)) for n in range(first, first + number, CHUNK)]
    with ProcessPoolExecutor(jobs) as pool:
        for results in pool.map(run_some, chunks):
            for seed, met, failure in results:
                report.add(met)
                done += 1
                if failure is not None:
                    failed.append(seed)
                    print(f"\n{failure}\n  python -m tests.faults --seed {seed}", flush=True)
            if sys.stderr.isatty():
                print(f"\r{done} of {number}, {len(failed)} failed", end="", file=sys.stderr)
    rate = done / (time.perf_counter() - began)
    print(f"\n{table(report)}\n")
    print("ends of processes:", dict(sorted(report.crashes.items())))
    print(f"{done} seeds from {first}, {rate:.0f} seeds/s, {jobs} processes")
    print(f"given up, for too much was under way at once: {report.unchecked}")
    print(f"failed: {len(failed)} {failed or ''}")
    return len(failed)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--seed", type=int, help="this one alone, and tell what happens")
    arguments = parser.parse_args()
    if arguments.seed is None:
        sys.exit(run_all(arguments.first, arguments.seeds, arguments.jobs) > 0)
    report, failure = run(arguments.seed)
    print(failure or f"{programs(Random(arguments.seed))}\n\n{table(report)}\nno violation")
    sys.exit(failure is not None)


if __name__ == "__main__":
    main()
