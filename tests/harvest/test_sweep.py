"""The sweep strategy: the very dump of the per-object strategy, for a fraction of the requests."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import pytest

from harvester.demo import CollectionSpec, DemoRegistry, Fault, build, records
from harvester.dump import verify
from harvester.errors import RequestError
from tests.support import as_dumped, as_held, data_bytes, difference, harvested

SWEEP: dict[str, Any] = {"strategy": "sweep"}


@pytest.mark.parametrize("per_page", [3, 50, 1000])
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_every_record_whatever_the_page_size_and_concurrency(
    small_database: Path, tmp_path: Path, per_page: int, concurrency: int
) -> None:
    async with DemoRegistry(small_database) as registry:
        outcome = await harvested(registry, tmp_path, per_page=per_page, concurrency=concurrency, **SWEEP)
    assert difference(as_dumped(outcome), as_held(small_database)) is None
    assert outcome.manifest.complete
    assert outcome.manifest.strategy == "sweep"
    assert verify(outcome.path).damages == []


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_both_strategies_make_the_same_bytes(small_database: Path, tmp_path: Path, compression: str) -> None:
    options: dict[str, Any] = {"compression": compression, "checkpoint_bytes": 20_000, "per_page": 40}
    async with DemoRegistry(small_database) as registry:
        swept = await harvested(registry, tmp_path / "sweep", **options, **SWEEP)
        walked = await harvested(registry, tmp_path / "per-object", **options, strategy="per-object")
    assert data_bytes(swept.path) == data_bytes(walked.path)


async def test_thirty_thousand_files_in_one_instant(giant_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(giant_database) as registry:
        outcome = await harvested(registry, tmp_path, **SWEEP)
        asked = dict(registry.stats.by_path)
    assert difference(as_dumped(outcome), as_held(giant_database)) is None
    for resource in ("files", "events"):
        rows = sum(1 for _ in records(giant_database, resource))
        print(resource, asked[resource], ceil(rows / 1000))


async def test_a_slice_is_swept_and_kept(small_database: Path, tmp_path: Path) -> None:
    chosen = [row["id"] for row in records(small_database, "objects") if row["storage_option"] == "Standard"]
    async with DemoRegistry(small_database) as registry:
        outcome = await harvested(registry, tmp_path, ["storage_option=Standard"], **SWEEP)
    assert difference(as_dumped(outcome), as_held(small_database, objects=chosen)) is None


async def test_stopped_again_and_again(small_database: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "per_page": 20,
        "checkpoint_bytes": 10_000,
        "concurrency": 3,
        "resources": "objects,files,events,items",
        **SWEEP,
    }
    async with DemoRegistry(small_database) as registry:
        undisturbed = await harvested(registry, tmp_path / "one", **options)
        stops, outcome = 0, None
        while outcome is None:
            body = '{"StatusCode":500,"Error":"Invalid query params: bogus"}'
            registry.add_fault(Fault("status", after=12 + stops, status=500, body=body))
            try:
                outcome = await harvested(registry, tmp_path / "two", **options)
            except RequestError:
                stops += 1
            registry.clear_faults()
    assert stops >= 3
    assert data_bytes(outcome.path) == data_bytes(undisturbed.path)


async def test_without_files_or_without_events(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        for resource in ("files", "events"):
            outcome = await harvested(registry, tmp_path / resource, resources=resource, **SWEEP)
            assert difference(as_dumped(outcome), as_held(small_database, ("objects", resource))) is None


async def test_an_institution_without_objects(tmp_path: Path) -> None:
    database = tmp_path / "registry.sqlite"
    build(database, CollectionSpec(objects=2, files_per_object=1.0))
    async with DemoRegistry(database) as registry:
        outcome = await harvested(registry, tmp_path / "out", ["identifier=none.of/these"], **SWEEP)
    assert as_dumped(outcome) == {"objects": b"", "files": b"", "events": b""}
