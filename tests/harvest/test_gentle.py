"""Gentle, as the server counted it: rate, requests in flight, Retry-After, and no request too many."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise
from math import ceil
from pathlib import Path

import pytest

from harvester.demo import DemoRegistry, Fault, records
from harvester.registry.throttle import Departure
from tests.support import harvested


async def test_never_over_the_rate_in_any_second_burst_included(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        await harvested(registry, tmp_path, rate=40.0, concurrency=16)
        assert registry.stats.requests > 120
        assert registry.stats.max_in_any_window(1.0) <= 40


async def test_never_more_in_flight_than_allowed(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database, latency=0.01) as registry:
        await harvested(registry, tmp_path, concurrency=5)
        assert registry.stats.max_in_flight == 5


async def test_retry_after_holds_everyone_back(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        registry.add_fault(Fault("status", path="/files", after=10, status=429, retry_after="1"))
        await harvested(registry, tmp_path, concurrency=16)
        arrivals = registry.stats.arrivals
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert sum(gap >= 0.9 for gap in gaps) == 1


async def test_as_few_requests_as_will_do(small_database: Path, tmp_path: Path) -> None:
    objects = list(records(small_database, "objects"))
    async with DemoRegistry(small_database) as registry:
        await harvested(registry, tmp_path, per_page=40)
        asked = registry.stats.by_path
    pages = ceil(len(objects) / 40)
    # One more for the time of the server's clock, one for what was updated meanwhile.
    assert asked["objects"] == pages + 2
    files = {row["id"]: 0 for row in objects}
    for row in records(small_database, "files"):
        files[row["intellectual_object_id"]] += 1
    # One more to plan with.
    assert asked["files"] == sum(max(1, ceil(count / 40)) for count in files.values()) + 1


async def test_one_connection_each_kept_for_the_whole_run(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        await harvested(registry, tmp_path, concurrency=4)
        assert registry.stats.connections <= 4
        assert registry.stats.requests > 100


async def test_every_request_is_noted_as_it_goes_out(
    small_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request leaves after it passes the throttle, sometimes long after: the rate is of what leaves."""
    left = list[Departure]()
    monkeypatch.setattr(Departure, "left", lambda departure: left.append(departure))
    monkeypatch.setattr(Departure, "preparing", lambda departure: nullcontext())  # it would tell, if late
    async with DemoRegistry(small_database) as registry:
        await harvested(registry, tmp_path)
        assert len(left) == len(set(map(id, left))) == registry.stats.requests
