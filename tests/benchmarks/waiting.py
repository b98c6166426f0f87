"""Never idle, never greedy: `python -m tests.benchmarks.waiting [RUNS]`.

A server that answers 50 ms after it is asked. At concurrency C a harvest's whole wall time (plan, walk, sorting, last
fsync) against requests × latency / C; pages of 100 rows, so that the client's own work does not hide the waiting.
With a rate limit R: wall time against requests / R, and the most requests in any second as the server counts them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tests.benchmarks import client
from tests.benchmarks.serving import CollectionSpec, database, post, replayed, stats
from tests.benchmarks.table import Row, at_most, median, show, spread

LATENCY = 0.05
PER_PAGE = 100
SMALL = {
    4: CollectionSpec(seed=8, objects=250, files_per_object=8.0, events_per_file=2, nasty=False),
    16: CollectionSpec(seed=8, objects=1000, files_per_object=8.0, events_per_file=2, nasty=False),
}
GIANT = {
    4: CollectionSpec(seed=9, objects=3, files_per_object=1.0, largest_object=25_000, events_per_file=1, nasty=False),
    16: CollectionSpec(seed=9, objects=3, files_per_object=1.0, largest_object=100_000, events_per_file=1, nasty=False),
}
LIMITED = {
    "per-object": CollectionSpec(seed=8, objects=2000, files_per_object=8.0, events_per_file=2, nasty=False),
    "sweep": CollectionSpec(
        seed=9, objects=3, files_per_object=1.0, largest_object=200_000, events_per_file=1, nasty=False
    ),
}
RATE = 100.0


def rows(arguments: Sequence[str] = ()) -> Iterator[Row]:
    """Latency, then rate."""
    runs = int(arguments[0]) if arguments else 5
    loops = (False, True) if importlib.util.find_spec("uvloop") else (False,)
    for concurrency in (4, 16):
        small, giant = SMALL[concurrency], GIANT[concurrency]
        one = f"one object of {giant.largest_object:,} files"
        for name, spec, strategy in (
            (f"{small.objects:,} small objects", small, "per-object"),
            (one, giant, "per-object"),
            (one, giant, "sweep"),
        ):
            with replayed(database(spec), latency=LATENCY) as url:
                for uvloop in loops:
                    job = client.Job(url, strategy, concurrency, per_page=PER_PAGE, uvloop=uvloop)
                    title = f"waiting, C = {concurrency}, {name}, {strategy}{', uvloop' if uvloop else ''}"
                    yield _waited(title, job, runs)
    for strategy, spec in LIMITED.items():
        with replayed(database(spec), latency=LATENCY) as url:
            yield from _limited(client.Job(url, strategy, 16, rate=RATE, per_page=PER_PAGE), max(1, runs // 2))


def _waited(name: str, job: client.Job, runs: int) -> Row:
    ratios, spans = [], []
    seen: dict[str, Any] = {}
    for _ in range(runs):
        post(job.url, "stats/reset")
        result = client.run(job)
        seen = stats(job.url)
        ideal = seen["requests"] * LATENCY / job.concurrency
        ratios.append(result.wall / ideal)
        spans.append(seen["span"] / ideal)
    note = (
        f"{spread(ratios)}; from the first request to the last answer {median(spans):.3f};"
        f" {seen['requests']:,} requests,"
        f" {seen['connections'] - 1} connections"
    )
    return at_most(f"{name}: wall / (requests × latency / C)", median(ratios), 1.1, note)


def _limited(job: client.Job, runs: int) -> Iterator[Row]:
    ratios, most, requests = [], 0, 0
    for _ in range(runs):
        post(job.url, "stats/reset")
        result = client.run(job)
        seen = stats(job.url)
        requests = seen["requests"]
        ratios.append(result.wall / (requests / job.rate))
        most = max(most, seen["max_in_any_second"])
    name = f"rate {job.rate:g}/s, {job.strategy}"
    yield at_most(f"{name}: wall / (requests / R)", median(ratios), 1.03, f"{spread(ratios)}; {requests:,} requests")
    yield Row(f"{name}: most requests in any second", str(most), f"≤ {job.rate:g}", most <= job.rate)


if __name__ == "__main__":
    show(rows(sys.argv[1:]))
