"""Every benchmark, one after the other."""

import trio

from . import bench_inspector, bench_journal, bench_list, bench_runtime

for benchmark in (bench_runtime, bench_journal, bench_list, bench_inspector):
    trio.run(benchmark.main)
