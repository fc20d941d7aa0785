"""Every benchmark, one after the other."""

import trio

from . import bench_journal, bench_runtime

for benchmark in (bench_runtime, bench_journal):
    trio.run(benchmark.main)
