"""What durability costs: `python -m tests.benchmarks.durability [PAIRS]`.

A harvest as it is (checkpoints and fsyncs by default) against one whose disk syncs nothing, with the same checkpoints
(what the fsyncs cost) and with a single one at its end (what checkpoints and fsyncs cost, less what it costs to keep
everything in memory until then); in turns, wall time, both strategies. Against the fastest server there can be, which
is the worst case, and against one that answers after 50 ms at the default concurrency.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.benchmarks import client
from tests.benchmarks.own_cost import SPEC
from tests.benchmarks.serving import database, replayed
from tests.benchmarks.table import Row, at_most, median, show, spread


def rows(arguments: Sequence[str] = ()) -> Iterator[Row]:
    """Measure all four."""
    pairs = int(arguments[0]) if arguments else 5
    small = replace(SPEC, objects=150)
    for name, spec, latency, concurrency in (
        ("fastest server", SPEC, 0.0, 8),
        ("50 ms latency, C = 4", small, 0.05, 4),
    ):
        with replayed(database(spec), latency=latency) as url:
            for strategy in ("per-object", "sweep"):
                yield from _overheads(name, client.Job(url, strategy, concurrency), pairs)


def _overheads(name: str, job: client.Job, pairs: int) -> Iterator[Row]:
    others = {"no fsync": replace(job, syncs=False), "one checkpoint": replace(job, syncs=False, checkpoints=False)}
    durable: list[float] = []
    careless: dict[str, list[float]] = {other: [] for other in others}
    for _ in range(pairs):
        durable.append(client.run(job).wall)
        for other, walls in careless.items():
            walls.append(client.run(others[other]).wall)
    for other, walls in careless.items():
        ratios = [ours / theirs - 1 for ours, theirs in zip(durable, walls, strict=True)]
        note = f"{spread(ratios)}; {median(durable):.2f} s against {median(walls):.2f} s"
        yield at_most(f"durability, {name}, {job.strategy}: overhead over {other}", median(ratios), 0.05, note)


if __name__ == "__main__":
    show(rows(sys.argv[1:]))
