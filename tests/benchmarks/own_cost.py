"""What the client itself costs: `python -m tests.benchmarks.own_cost [PAIRS]`.

A server that answers prepared pages as fast as it can; the whole pipeline (plan, parse, check, encode, ordered commit,
hash, fsync, reconciliation) against a bare loop (aiohttp read, orjson.loads, orjson.dumps a record, file write) over
the very same pages at the same concurrency, in pairs; records a second and CPU microseconds a record, both strategies.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from tests.benchmarks import client
from tests.benchmarks.serving import CollectionSpec, database, post, replayed, stats
from tests.benchmarks.table import Row, at_least, median, show, spread

SPEC = CollectionSpec(seed=5, objects=1500, files_per_object=30.0, largest_object=5000, events_per_file=4)
CONCURRENCY = 8


def rows(arguments: Sequence[str] = ()) -> Iterator[Row]:
    """Measure both strategies."""
    pairs = int(arguments[0]) if arguments else 5
    with replayed(database(SPEC)) as url:
        for strategy in ("per-object", "sweep"):
            yield from _compared(url, strategy, pairs)


def _compared(url: str, strategy: str, pairs: int) -> Iterator[Row]:
    ours, bare, ratios = [], [], []
    targets: list[str] = []
    for _ in range(pairs):
        post(url, "stats/reset")
        ours.append(client.run(client.Job(url, strategy, CONCURRENCY)))
        targets = stats(url)["targets"]
        bare.append(client.run(client.Job(url, concurrency=CONCURRENCY, targets=targets)))
        ratios.append(bare[-1].wall / ours[-1].wall)
    records = ours[0].records
    rates = [median(records / result.wall for result in results) for results in (ours, bare)]
    cpus = [median(result.cpu / records * 1e6 for result in results) for results in (ours, bare)]
    note = f"{spread(ratios)}; {rates[0]:,.0f} against {rates[1]:,.0f}"
    yield at_least(f"own cost, {strategy}: records/s against a bare loop", median(ratios), 0.75, note)
    yield Row(
        f"own cost, {strategy}: CPU a record",
        f"{cpus[0]:.1f} µs against {cpus[1]:.1f} µs ({records:,} records, {len(targets):,} requests)",
    )


if __name__ == "__main__":
    show(rows(sys.argv[1:]))
