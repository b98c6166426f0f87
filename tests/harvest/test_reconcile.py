"""The end of a harvest: what may be wrong is asked for again, what stays wrong is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester.demo import (
    AddEvents,
    Change,
    DemoRegistry,
    Fault,
    InsertFiles,
    InsertObject,
    SoftDeleteFile,
    SoftDeleteObject,
    UpdateObject,
    Vanish,
    records,
)
from harvester.dump import partials, published, verify
from tests.support import as_dumped, as_held, data_bytes, difference, harvested, resumed

IMPATIENT: dict[str, Any] = {"retry_budget": 0.2}


def ids(database: Path, resource: str = "objects") -> list[int]:
    return [row["id"] for row in records(database, resource)]


def broken(path: str, times: int | None = None, **more: Any) -> Fault:
    """A list that the Registry cannot give, however often it is asked."""
    return Fault("truncated", path=path, times=times, **more)


def files_of(number: int) -> str:
    return f"/files?intellectual_object_id={number}&"


async def test_an_object_that_keeps_failing_is_recorded_and_the_rest_harvested(small: Path, tmp_path: Path) -> None:
    number = ids(small)[20]
    async with DemoRegistry(small) as registry:
        registry.add_fault(broken(files_of(number)))
        outcome = await harvested(registry, tmp_path / "out", **IMPATIENT)
    assert not outcome.published
    assert not outcome.manifest.complete
    (failure,) = outcome.manifest.failures
    assert (failure.resource, failure.object) == ("files", number)
    assert "cut short" in failure.error
    assert published(tmp_path / "out") == []
    lines = [orjson.loads(line) for line in as_dumped(outcome)["files"].splitlines()]
    held = [row for row in records(small, "files") if row["intellectual_object_id"] != number]
    assert sorted(row["id"] for row in lines) == sorted(row["id"] for row in held)


async def test_such_a_dump_is_published_as_what_it_is_if_asked(small: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small) as registry:
        registry.add_fault(broken(files_of(ids(small)[20])))
        outcome = await harvested(registry, tmp_path / "out", allow_incomplete=True, **IMPATIENT)
    assert outcome.published
    assert not outcome.manifest.complete
    verdict = verify(outcome.path)
    assert verdict.sound
    assert not verdict.complete


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_resume_asks_for_the_holes_alone(small: Path, tmp_path: Path, compression: str) -> None:
    options: dict[str, Any] = {"compression": compression, "checkpoint_bytes": 20_000, **IMPATIENT}
    holes = [ids(small)[3], ids(small)[40]]
    async with DemoRegistry(small) as registry:
        undisturbed = await harvested(registry, tmp_path / "one", **options)
        for number in holes:
            registry.add_fault(broken(files_of(number)))
        registry.add_fault(broken("/items?"))
        outcome = await harvested(registry, tmp_path / "two", **options)
        assert {failure.object for failure in outcome.manifest.failures} == set(holes)
        registry.clear_faults()
        registry.stats.reset()
        outcome = await resumed(registry, tmp_path / "two", **options)
        assert registry.stats.by_path["files"] == len(holes)
        assert registry.stats.requests <= 4 * len(holes)
    assert outcome.published
    assert data_bytes(outcome.path) == data_bytes(undisturbed.path)
    assert {(c.object, c.why) for c in outcome.manifest.run.corrected} == {(number, "failed") for number in holes}
    assert partials(tmp_path / "two") == []


async def test_an_object_that_failed_only_for_a_while_is_filled_in_by_the_same_run(small: Path, tmp_path: Path) -> None:
    number = ids(small)[5]
    async with DemoRegistry(small) as registry:
        undisturbed = await harvested(registry, tmp_path / "one")
        registry.add_fault(broken(files_of(number), times=1))
        outcome = await harvested(registry, tmp_path / "two", retry_budget=0.0)
    assert outcome.manifest.complete
    assert data_bytes(outcome.path) == data_bytes(undisturbed.path)
    assert outcome.manifest.run.reconciliation_requests > 0


async def test_a_list_of_its_own_that_failed_is_asked_for_again(small: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"resources": "objects,items,alerts", **IMPATIENT}
    async with DemoRegistry(small) as registry:
        registry.add_fault(broken("/items?", after=1))
        outcome = await harvested(registry, tmp_path / "out", per_page=5, **options)
        assert [failure.resource for failure in outcome.manifest.failures] == ["items"]
        registry.clear_faults()
        outcome = await resumed(registry, tmp_path / "out", **options)
    assert difference(as_dumped(outcome), as_held(small, ("objects", "work_items", "alerts"))) is None


def consistent(outcome: Any) -> None:
    """Every object's line agrees with the files in the dump, and nothing is there twice."""
    assert outcome.manifest.complete
    verdict = verify(outcome.path)
    assert verdict.damages == []


@pytest.mark.parametrize("after", [10, 60, 118])
@pytest.mark.parametrize("which", [2, 30, 57])
async def test_what_changes_while_it_is_walked_ends_up_consistent(
    small: Path, tmp_path: Path, after: int, which: int
) -> None:
    number = ids(small)[which]
    file = next(row["id"] for row in records(small, "files") if row["state"] == "A")
    before = {r: set(ids(small, r)) for r in ("objects", "files", "events")}
    changes: list[Change] = [
        InsertFiles(number),
        SoftDeleteFile(file),
        UpdateObject(number),
        AddEvents(number),
        InsertObject(),
    ]
    async with DemoRegistry(small) as registry:
        for step, change in enumerate(changes):
            registry.changes.schedule(change, after=after + step)
        outcome = await harvested(registry, tmp_path / "out", concurrency=3)
    consistent(outcome)
    dumped = {
        stem: [orjson.loads(line)["id"] for line in data.splitlines()] for stem, data in as_dumped(outcome).items()
    }
    for resource, held in before.items():
        assert held <= set(dumped[resource]), "lost something that was there when the harvest began"
        assert len(dumped[resource]) == len(set(dumped[resource]))


async def test_files_added_to_an_object_already_harvested_are_in_the_dump(small: Path, tmp_path: Path) -> None:
    number = ids(small)[0]
    async with DemoRegistry(small) as registry:
        registry.changes.schedule(InsertFiles(number, files=5), after=100)
        outcome = await harvested(registry, tmp_path / "out")
        after = as_held(small)
    consistent(outcome)
    assert difference(as_dumped(outcome), after) is None
    assert [(c.object, c.why) for c in outcome.manifest.run.corrected] == [(number, "updated")]


async def test_a_soft_deleted_object_is_shown_as_it_is_now(small: Path, tmp_path: Path) -> None:
    number = next(row["id"] for row in records(small, "objects") if row["state"] == "A" and row["file_count"] > 1)
    async with DemoRegistry(small) as registry:
        registry.changes.schedule(SoftDeleteObject(number), after=110)
        outcome = await harvested(registry, tmp_path / "out")
    consistent(outcome)
    assert difference(as_dumped(outcome), as_held(small)) is None


async def test_figures_that_never_agree_are_listed_and_the_dump_is_not_complete(small: Path, tmp_path: Path) -> None:
    """An object that gains a file each time it is asked for: its count and its files never fit."""
    row = next(row for row in records(small, "objects") if row["state"] == "A")
    async with DemoRegistry(small) as registry:
        for request in range(10):
            registry.changes.schedule(InsertFiles(row["id"], files=1), after=request, path=files_of(row["id"]))
        outcome = await harvested(registry, tmp_path / "out")
    assert not outcome.manifest.complete
    (disagreement,) = outcome.manifest.reconciliation.disagreements
    assert disagreement.object == row["id"]
    assert disagreement.found["file_count"] > disagreement.expected["file_count"]
    assert not outcome.published


async def test_an_object_that_vanishes_while_its_files_are_missing_leaves_a_hole_that_is_said(
    small: Path, tmp_path: Path
) -> None:
    number = ids(small)[10]
    async with DemoRegistry(small) as registry:
        registry.add_fault(broken(files_of(number), times=1))
        registry.changes.schedule(Vanish("objects", number), after=121)
        outcome = await harvested(registry, tmp_path / "out", retry_budget=0.0)
    assert not outcome.manifest.complete
    assert [failure.object for failure in outcome.manifest.failures] == [number]
