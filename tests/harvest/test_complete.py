"""Complete and deterministic: what the Registry holds is in the dump, once, and always in the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import orjson
import pytest

from harvester.demo import (
    CollectionSpec,
    DemoRegistry,
    InsertObject,
    PutNull,
    RefreshCounts,
    SoftDeleteObject,
    build,
    records,
)
from harvester.dump import verify
from tests.support import as_dumped, as_held, data_bytes, difference, harvested

ALL = "objects,files,events,items,checksums,deletions,alerts"


@pytest.fixture(scope="module")
def giant_dump(giant_database: Path) -> dict[str, bytes]:
    return as_held(giant_database)


def ticking() -> Callable[[], datetime]:
    """A server clock that goes on by a second whenever somebody looks at it."""
    seconds = count()
    return lambda: datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=next(seconds))


async def stale(registry: DemoRegistry, off_by: int) -> None:
    await registry.changes.apply(RefreshCounts(off_by=off_by))


@pytest.mark.parametrize("off_by", [-7, 7])
@pytest.mark.parametrize("concurrency", [1, 32])
async def test_every_field_of_every_record_whatever_the_counts_say(
    giant_database: Path, giant_dump: dict[str, bytes], tmp_path: Path, off_by: int, concurrency: int
) -> None:
    async with DemoRegistry(giant_database) as registry:
        await stale(registry, off_by)
        outcome = await harvested(registry, tmp_path, concurrency=concurrency)
    assert outcome.manifest.complete
    assert difference(as_dumped(outcome), giant_dump) is None
    assert verify(outcome.path).sound


async def test_all_seven_lists(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        outcome = await harvested(registry, tmp_path, resources=ALL, per_page=50)
    stems = ("objects", "files", "events", "work_items", "checksums", "deletions", "alerts")
    assert difference(as_dumped(outcome), as_held(small_database, stems)) is None
    assert all(summary.records > 0 for summary in outcome.manifest.files.values())
    assert verify(outcome.path).sound


@pytest.mark.parametrize("per_page", [1, 7, 1000])
async def test_any_page_size_gives_the_same_bytes(small_database: Path, tmp_path: Path, per_page: int) -> None:
    async with DemoRegistry(small_database) as registry:
        outcome = await harvested(registry, tmp_path, per_page=per_page)
    assert difference(as_dumped(outcome), as_held(small_database)) is None


async def test_a_list_that_ends_exactly_with_a_page(tmp_path: Path) -> None:
    database = tmp_path / "registry.sqlite"
    build(database, CollectionSpec(objects=20, files_per_object=3.0, other_institutions=0))
    objects = list(records(database, "objects"))
    async with DemoRegistry(database) as registry:
        outcome = await harvested(registry, tmp_path / "out", per_page=len(objects) // 2)
    assert difference(as_dumped(outcome), as_held(database)) is None


async def test_an_institution_without_objects(tmp_path: Path) -> None:
    database = tmp_path / "registry.sqlite"
    build(database, CollectionSpec(objects=3, files_per_object=2.0))
    async with DemoRegistry(database) as registry:
        outcome = await harvested(registry, tmp_path / "out", ["identifier=none.of/these"])
    assert outcome.manifest.complete
    assert as_dumped(outcome) == {"objects": b"", "files": b"", "events": b""}
    assert verify(outcome.path).sound


async def test_a_slice_takes_the_chosen_objects_and_what_belongs_to_them(small_database: Path, tmp_path: Path) -> None:
    chosen = [row["id"] for row in records(small_database, "objects") if row["storage_option"] == "Standard"]
    async with DemoRegistry(small_database) as registry:
        outcome = await harvested(registry, tmp_path, ["storage_option=Standard"])
    assert 0 < len(chosen) < 60
    assert difference(as_dumped(outcome), as_held(small_database, objects=chosen)) is None
    assert outcome.manifest.scope.filters == [("storage_option", "Standard")]


async def test_only_the_resources_asked_for(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        outcome = await harvested(registry, tmp_path, resources="events")
        asked = registry.stats.by_path
    assert sorted(as_dumped(outcome)) == ["events", "objects"]
    assert asked["files"] == 0
    assert verify(outcome.path).sound


@pytest.mark.parametrize(("resource", "column"), [("objects", "state"), ("items", "action"), ("events", "outcome")])
async def test_a_null_that_breaks_cached_counts_does_not_break_the_harvest(
    small: Path, tmp_path: Path, resource: str, column: str
) -> None:
    row = next(iter(records(small, resource)))
    async with DemoRegistry(small) as registry:
        await registry.changes.apply(PutNull(resource, column, row["id"]))
        outcome = await harvested(registry, tmp_path / "out", resources="objects,files,events,items")
    stems = ("objects", "files", "events", "work_items")
    assert difference(as_dumped(outcome), as_held(small, stems)) is None


async def test_an_object_born_after_the_horizon_belongs_to_the_next_harvest(small: Path, tmp_path: Path) -> None:
    before = as_held(small)
    async with DemoRegistry(small, clock=ticking()) as registry:
        registry.changes.schedule(InsertObject(), after=2)
        outcome = await harvested(registry, tmp_path / "out")
    assert difference(as_dumped(outcome), before) is None


async def test_two_harvests_are_byte_identical(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        one = await harvested(registry, tmp_path / "one", concurrency=1)
        two = await harvested(registry, tmp_path / "two", concurrency=32, held_bytes=1 << 16)
    assert data_bytes(one.path) == data_bytes(two.path)
    assert replace(one.manifest, run=two.manifest.run, horizon="") == replace(two.manifest, horizon="")


async def test_rows_that_leave_the_slice_do_not_shift_others_out_of_it(small: Path, tmp_path: Path) -> None:
    active = [row["id"] for row in records(small, "objects") if row["state"] == "A"]
    async with DemoRegistry(small) as registry:
        # The first page has been given when an object on it leaves the list: all others move up by one.
        registry.changes.schedule(SoftDeleteObject(active[2]), after=3, path="/objects?")
        outcome = await harvested(registry, tmp_path / "out", ["state=A"], per_page=10)
    ids = [row["id"] for row in map(orjson.loads, as_dumped(outcome)["objects"].splitlines())]
    assert ids == active
