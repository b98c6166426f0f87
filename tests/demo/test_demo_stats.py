"""The server's own account, and what requests cost the real one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harvester.demo import Cost, DemoRegistry, Fault, Stats

from .conftest import Client, asking


@pytest.mark.parametrize(
    ("measured", "resource", "arguments"),
    [
        (96, "files", {"skipped": 0, "rows": 1000}),
        (1042, "files", {"skipped": 49_000, "rows": 1000}),
        (1526, "files", {"skipped": 99_000, "rows": 1000}),
        (1973, "files", {"skipped": 151_000, "rows": 463}),
        (95, "events", {"skipped": 0, "rows": 1000}),
        (306, "events", {"skipped": 99_000, "rows": 1000}),
        (1466, "events", {"skipped": 726_000, "rows": 1000}),
        (107, "files", {"skipped": 0, "rows": 1000, "counted": 30_000, "of_object": True}),
        (791, "files", {"skipped": 29_000, "rows": 1000, "counted": 30_000, "of_object": True}),
        (225, "checksums", {"skipped": 0, "rows": 1000, "counted": 330_000}),
        (596, "checksums", {"skipped": 329_000, "rows": 1000, "counted": 330_000}),
        (90, "files", {"skipped": 0, "rows": 354, "counted": 354}),
        (116, "events", {"skipped": 0, "rows": 1000, "counted": 4_000}),
        (70, "files", {"skipped": 0, "rows": 10, "counted": 10}),
        (73, "events", {"skipped": 0, "rows": 60, "counted": 60}),
    ],
)
def test_costs_are_those_measured_on_the_real_server(measured: int, resource: str, arguments: dict[str, int]) -> None:
    assert Cost().page(resource, **arguments) * 1000 == pytest.approx(measured, rel=0.25)  # type: ignore[arg-type]


async def test_requests_are_counted_by_list_and_status(registry: DemoRegistry, ask: Client) -> None:
    for path in ("objects", "objects/show/1", "files?bogus=1", "/nowhere"):
        await ask(path)
    assert registry.stats.requests == 4
    assert registry.stats.by_path == {"objects": 2, "files": 1, "/nowhere": 1}
    assert registry.stats.by_status == {200: 2, 500: 1, 404: 1}
    assert list(registry.stats.log)[1] == "/member-api/v3/objects/show/1"


async def test_cost_is_added_up_though_nobody_waits(registry: DemoRegistry, ask: Client) -> None:
    await ask("files?per_page=10&page=3&sort=id__asc")
    assert registry.stats.server_seconds == pytest.approx(Cost().page("files", skipped=20, rows=10))
    await ask("files?bogus=1")
    assert registry.stats.server_seconds == pytest.approx(Cost().page("files", skipped=20, rows=10) + Cost().floor)


async def test_bytes_sent_are_the_bodies(registry: DemoRegistry, ask: Client) -> None:
    bodies = [(await ask(path)).body for path in ("objects", "alerts?per_page=0", "files/show/99999999")]
    assert registry.stats.bytes_sent == sum(map(len, bodies))


async def test_the_most_requests_in_flight(collection: Path) -> None:
    async with DemoRegistry(collection, latency=0.02) as registry, asking(registry) as ask:
        await asyncio.gather(*(ask("alerts") for _ in range(5)))
        assert registry.stats.max_in_flight == 5
        assert registry.stats.connections == 5
        assert registry.stats.in_flight == 0


async def test_a_client_that_gives_up_is_no_longer_in_flight(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("slow", seconds=3600))
    waiting = asyncio.ensure_future(ask("objects"))
    while registry.stats.in_flight == 0:
        await asyncio.sleep(0)
    waiting.cancel()
    while registry.stats.in_flight:
        await asyncio.sleep(0)
    assert registry.stats.max_in_flight == 1


def test_the_most_arrivals_in_any_window() -> None:
    stats = Stats()
    for moment in (0.0, 0.5, 0.9, 1.0, 1.4, 3.0):
        stats.arrived(moment, "objects", "/", (), True)
    assert stats.max_in_any_window(1.0) == 4
    assert stats.max_in_any_window(0.1) == 1
    assert Stats().max_in_any_window(1.0) == 0


async def test_header_names_are_kept_and_never_the_key(registry: DemoRegistry, ask: Client) -> None:
    await ask("objects")
    ((names, requests),) = registry.stats.header_sets.items()
    assert "X-Pharos-API-Key" in names
    assert (requests, registry.stats.with_key) == (1, 1)
    assert registry.api_key not in str(registry.stats.as_json())


async def test_stats_are_served_and_reset_uncounted(registry: DemoRegistry, ask: Client) -> None:
    await ask("objects")
    served = (await ask("/demo/stats")).json
    assert served == registry.stats.as_json()
    assert served["requests"] == 1
    await ask("/demo/stats/reset", "POST")
    assert (registry.stats.requests, registry.stats.arrivals.tolist()) == (0, [])
    assert (await ask("/demo/bogus")).status == 404
