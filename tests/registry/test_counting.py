"""Counts that are counted: whatever the Registry's hourly table says of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest

from harvester.config import credentials
from harvester.demo import CollectionSpec, DemoRegistry, InsertObject, PutNull, build, records
from harvester.registry import RESOURCES, Filter, RegistryClient, exact_count
from harvester.registry.counting import exact_parts
from tests.support import settings_for

QUESTIONS: list[tuple[str, tuple[Filter, ...], Callable[[dict[str, Any]], bool], int]] = [
    *((name, (), lambda row: True, 2 if name in ("events", "items") else 1) for name in RESOURCES),
    ("objects", (("state", "A"),), lambda row: row["state"] == "A", 1),
    ("files", (("state", "D"),), lambda row: row["state"] == "D", 1),
    ("events", (("event_type", "ingestion"),), lambda row: row["event_type"] == "ingestion", 2),
    ("events", (("generic_file_id__is_null", "true"),), lambda row: row["generic_file_id"] == 0, 1),
    ("items", (("action", "Ingest"),), lambda row: row["action"] == "Ingest", 2),
    ("items", (("status", "Failed"),), lambda row: row["status"] == "Failed", 1),
    ("checksums", (("algorithm", "md5"),), lambda row: row["algorithm"] == "md5", 1),
]


def names(value: Any) -> str | None:
    return " ".join(f"{name}={wanted}" for name, wanted in value) if isinstance(value, tuple) else None


@pytest.fixture(scope="module", params=[7, -3, "missing", "spoilt"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts that are too high, too low, not there at all, and that fail."""
    path = tmp_path_factory.mktemp("counting") / "registry.sqlite"
    spoilt = ("objects.state", "files.state", "events.outcome", "items.action") if request.param == "spoilt" else ()
    stale = 0 if spoilt else request.param
    build(path, CollectionSpec(seed=5, objects=24, files_per_object=4.0, stale_counts=stale, null_counted=spoilt))
    return path


@pytest.mark.parametrize(("name", "filters", "belongs", "requests"), QUESTIONS, ids=names)
async def test_a_count_is_of_the_rows_there_are(
    database: Path, name: str, filters: tuple[Filter, ...], belongs: Callable[[dict[str, Any]], bool], requests: int
) -> None:
    async with DemoRegistry(database) as registry:
        settings = settings_for(registry, database.parent)
        async with RegistryClient(settings, credentials(settings)) as client:
            held = sum(1 for row in records(database, name) if belongs(row))
            assert held > 0
            assert await exact_count(client, RESOURCES[name], filters) == held
            assert registry.stats.requests == requests


@pytest.mark.parametrize("name", RESOURCES)
def test_no_part_is_looked_up_in_the_hourly_table(name: str) -> None:
    resource = RESOURCES[name]
    cached = sorted(resource.cached_by)
    for chosen in chain.from_iterable(combinations(cached, n) for n in range(len(cached) + 1)):
        filters = tuple((column, "1") for column in chosen)
        for part in exact_parts(resource, filters):
            assert resource.count_is_exact((*filters, *part))


def test_a_query_that_is_counted_anyway_is_left_alone() -> None:
    assert exact_parts(RESOURCES["files"], [("size__gteq", "1")]) == ((),)
    assert exact_parts(RESOURCES["alerts"]) == ((),)


async def test_changes_are_counted_at_once(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    build(path, CollectionSpec(objects=5))
    async with DemoRegistry(path) as registry:
        settings = settings_for(registry, tmp_path)
        async with RegistryClient(settings, credentials(settings)) as client:
            await registry.changes.apply(InsertObject())
            assert await exact_count(client, RESOURCES["objects"]) == 6
            await registry.changes.apply(PutNull("objects", "state", next(records(path, "objects"))["id"]))
            assert await exact_count(client, RESOURCES["objects"]) == 6
