"""Every benchmark, one after the other."""

import trio

from . import (
    bench_bytes,
    bench_connections,
    bench_http,
    bench_idle,
    bench_inspector,
    bench_journal,
    bench_list,
    bench_runtime,
    bench_save,
    bench_slope,
    bench_streams,
)

for benchmark in (
    bench_runtime,
    bench_journal,
    bench_save,
    bench_slope,
    bench_list,
    bench_http,
    bench_streams,
    bench_bytes,
    bench_idle,
    bench_inspector,
    bench_connections,
):
    trio.run(benchmark.main)
