"""Whatever is drawn of collections, faults, stops and restarts: the dump in the end is the undisturbed one.

`pytest -m soak tests/harvest/test_schedules.py -s` runs far more of them and prints the figures.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from harvester import Outcome
from harvester.demo import (
    AddEvents,
    Change,
    CollectionSpec,
    DemoRegistry,
    Fault,
    InsertFiles,
    InsertObject,
    RefreshCounts,
    SoftDeleteFile,
    SoftDeleteObject,
    UpdateObject,
    build,
    records,
)
from harvester.dump import partials, verify
from harvester.errors import RegistryError
from tests.support import as_dumped, as_held, difference, harvested

ALL = ("objects", "files", "events", "work_items", "checksums", "deletions", "alerts")
KINDS = [
    "status",
    "challenge",
    "reset",
    "reset_body",
    "truncated",
    "invalid_json",
    "stall",
    "unauthorized",
    "maintenance",
    "slow",
    "html",
    "no_results",
]


@dataclass
class Figures:
    """What all examples together came to."""

    examples: int = 0
    stops: int = 0
    holes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        changes = ", ".join(f"{kind} {count}" for kind, count in sorted(self.changes.items()))
        return (
            f"{self.examples} schedules, {self.stops} stops and restarts, {self.holes} runs that ended with holes;"
            f" faults: {faults}; changes: {changes or 'none'}"
        )


@pytest.fixture(scope="module")
def figures() -> Iterator[Figures]:
    figures = Figures()
    yield figures
    print(f"\n{figures}")


specs = st.builds(
    CollectionSpec,
    seed=st.integers(0, 10_000),
    objects=st.integers(1, 14),
    files_per_object=st.sampled_from([0.5, 2.0, 5.0]),
    largest_object=st.sampled_from([0, 0, 45]),
    events_per_file=st.integers(0, 3),
    work_items=st.integers(0, 9),
    deletions=st.just(2),
    alerts=st.integers(0, 4),
    stale_counts=st.sampled_from([0, 5, -5, "missing"]),
)

faults = st.builds(
    Fault,
    kind=st.sampled_from(KINDS),
    path=st.sampled_from(["", "/files", "/events", "/objects", "/items"]),
    after=st.integers(1, 30),
    times=st.integers(1, 3),
    status=st.sampled_from([500, 502, 503, 429, 524]),
    retry_after=st.sampled_from([None, "0"]),
    seconds=st.just(0.02),
)


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "per_page": draw(st.sampled_from([3, 10, 1000])),
        "concurrency": draw(st.integers(1, 7)),
        "strategy": draw(st.sampled_from(["per-object", "sweep", "auto"])),
        "held_bytes": draw(st.sampled_from([1 << 16, 24 << 20])),
    }


async def persistent(
    registry: DemoRegistry, output: Path, stops: list[int], runs: list[dict[str, Any]], figures: Figures, **fixed: Any
) -> Outcome:
    """Harvest with restarts until it is done; `stops` are requests after which a run is cancelled."""
    impatient = {"read_timeout": 0.3, "retry_budget": 0.3, "maintenance_patience": 2.0}
    for attempt in range(60):
        flags = {**impatient, **runs[attempt % len(runs)], **fixed}
        if attempt >= 20:  # whatever was ordered to go wrong has had its time
            registry.clear_faults()
        task = asyncio.create_task(harvested(registry, output, **flags))
        if attempt < len(stops):
            before = registry.stats.requests
            while not task.done() and registry.stats.requests < before + stops[attempt]:
                await asyncio.sleep(0.001)
            task.cancel()
        with suppress(asyncio.CancelledError, RegistryError):
            outcome = await task
            if outcome.published:
                return outcome
            figures.holes += 1
            continue
        figures.stops += 1
    raise AssertionError("did not finish in 60 runs")


def check_unchanged(
    figures: Figures,
    spec: CollectionSpec,
    ordered: list[Fault],
    stops: list[int],
    runs: list[dict[str, Any]],
    compression: str,
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        database, output = Path(scratch) / "registry.sqlite", Path(scratch) / "out"
        build(database, spec)

        async def example() -> Outcome:
            async with DemoRegistry(database, seed=spec.seed) as registry:
                for fault in ordered:
                    registry.add_fault(fault)
                outcome = await persistent(
                    registry,
                    output,
                    stops,
                    runs,
                    figures,
                    compression=compression,
                    checkpoint_bytes=5_000,
                    resources="objects,files,events,items,checksums,deletions,alerts",
                )
                figures.faults.update(registry.stats.faults)
                return outcome

        outcome = asyncio.run(example())
        figures.examples += 1
        assert difference(as_dumped(outcome), as_held(database, ALL)) is None
        assert outcome.manifest.complete
        assert verify(outcome.path).damages == []
        assert partials(output) == []


def check_changing(
    figures: Figures,
    spec: CollectionSpec,
    changes: list[tuple[str, int, int]],
    ordered: list[Fault],
    stops: list[int],
    runs: list[dict[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        database, output = Path(scratch) / "registry.sqlite", Path(scratch) / "out"
        build(database, spec)
        before = {r: {row["id"] for row in records(database, r)} for r in ("objects", "files", "events")}
        objects, files = sorted(before["objects"]), sorted(before["files"])

        def change(kind: str, which: int) -> Change:
            number = objects[which % len(objects)]
            made: dict[str, Change] = {
                "InsertObject": InsertObject(files=which % 4),
                "InsertFiles": InsertFiles(number, files=1 + which % 12),
                "AddEvents": AddEvents(number, events=1 + which % 5),
                "UpdateObject": UpdateObject(number),
                "SoftDeleteObject": SoftDeleteObject(number),
                "RefreshCounts": RefreshCounts(off_by=which % 7 - 3),
                "SoftDeleteFile": SoftDeleteFile(files[which % len(files)]) if files else UpdateObject(number),
            }
            return made[kind]

        async def example() -> Outcome:
            async with DemoRegistry(database, seed=spec.seed) as registry:
                for kind, which, after in changes:
                    registry.changes.schedule(change(kind, which), after=after)
                for fault in ordered:
                    registry.add_fault(fault)
                outcome = await persistent(registry, output, stops, runs, figures, checkpoint_bytes=5_000)
                figures.faults.update(registry.stats.faults)
                figures.changes.update(type(done).__name__ for done, _ in registry.changes.applied)
                return outcome

        outcome = asyncio.run(example())
        figures.examples += 1
        assert outcome.manifest.complete
        assert verify(outcome.path).damages == []
        for resource, lines in as_dumped(outcome).items():
            found = [orjson.loads(line)["id"] for line in lines.splitlines()]
            note(f"{resource}: {len(found)} of {len(before[resource])}")
            assert len(found) == len(set(found))
            assert before[resource] <= set(found)


ordered_faults = st.lists(faults, min_size=2, max_size=8)
stops_after = st.lists(st.integers(0, 60), min_size=1, max_size=6)
run_options = st.lists(options(), min_size=1, max_size=3)
kinds_of_change = [
    "InsertObject",
    "InsertFiles",
    "AddEvents",
    "UpdateObject",
    "SoftDeleteObject",
    "SoftDeleteFile",
    "RefreshCounts",
]
scheduled = st.lists(
    st.tuples(st.sampled_from(kinds_of_change), st.integers(0, 1000), st.integers(1, 60)), min_size=1, max_size=5
)
unchanged = {
    "spec": specs,
    "ordered": ordered_faults,
    "stops": stops_after,
    "runs": run_options,
    "compression": st.sampled_from(["none", "gzip", "zstd"]),
}
changing = {"spec": specs, "changes": scheduled, "ordered": ordered_faults, "stops": stops_after, "runs": run_options}


@given(**unchanged)
@settings(max_examples=20, phases=[Phase.generate])
def test_an_unchanged_collection(figures: Figures, **drawn: Any) -> None:
    check_unchanged(figures, **drawn)


@given(**changing)
@settings(max_examples=20, phases=[Phase.generate])
def test_a_changing_collection(figures: Figures, **drawn: Any) -> None:
    check_changing(figures, **drawn)


@pytest.mark.soak
@given(**unchanged)
@settings(max_examples=400, derandomize=False, phases=[Phase.generate])
def test_an_unchanged_collection_at_length(figures: Figures, **drawn: Any) -> None:
    check_unchanged(figures, **drawn)


@pytest.mark.soak
@given(**changing)
@settings(max_examples=400, derandomize=False, phases=[Phase.generate])
def test_a_changing_collection_at_length(figures: Figures, **drawn: Any) -> None:
    check_changing(figures, **drawn)
