"""Pages that do not come in time are asked for in halves, and aiohttp asks nothing behind our back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harvester.demo import DemoRegistry, Fault
from tests.support import as_dumped, as_held, difference, harvested


@pytest.mark.parametrize("strategy", ["per-object", "sweep"])
@pytest.mark.parametrize("fault", [Fault("stall", seconds=30), Fault("status", status=524)], ids=["stall", "524"])
async def test_big_pages_that_never_come_in_time(
    small_database: Path, tmp_path: Path, strategy: str, fault: Fault
) -> None:
    """Of the large events' pages none comes, whatever the patience; halves of them do."""
    async with DemoRegistry(small_database) as registry:
        registry.add_fault(replace(fault, path="sort=id__asc&page=1&per_page=1000", times=8))
        registry.add_fault(replace(fault, path="sort=date_time__asc&sort=id__asc&page=1&per_page=1000", times=1))
        outcome = await harvested(registry, tmp_path, strategy=strategy, read_timeout=0.2, retry_budget=0.05)
        assert sum("per_page=500" in line for line in registry.stats.log) >= 2
    assert difference(as_dumped(outcome), as_held(small_database)) is None


async def test_the_pages_that_follow_are_asked_for_in_the_size_that_came(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        registry.add_fault(Fault("status", path="/items?generic_file_id__is_null=true", status=524, times=1))
        registry.add_fault(Fault("status", path="/items?generic_file_id__is_null=true", after=0, status=524, times=1))
        outcome = await harvested(registry, tmp_path, resources="items", per_page=400)
        asked = [line for line in registry.stats.log if "/items?generic_file_id__is_null=true" in line]
    sizes = [line.partition("&per_page=")[2] for line in asked]
    assert sizes[:3] == ["400", "200", "100"]
    assert set(sizes[3:]) <= {"100"}
    assert difference(as_dumped(outcome), as_held(small_database, ("objects", "work_items"))) is None


async def test_a_broken_connection_is_not_asked_over_by_itself(small_database: Path, tmp_path: Path) -> None:
    """Every request the server sees has passed the throttle and was counted."""
    async with DemoRegistry(small_database) as registry:
        for path in ("/files", "/events", "/objects"):
            registry.add_fault(Fault("reset", path=path, after=2, times=1))
        outcome = await harvested(registry, tmp_path)
        assert registry.stats.faults["reset"] == 3
        assert sum(outcome.manifest.run.requests.values()) == registry.stats.requests
        assert outcome.manifest.run.retries == 3
