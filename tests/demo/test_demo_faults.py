"""Each fault on order, one test each; then all of them mixed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import orjson
import pytest

from harvester.demo import API_KEY, Cost, DemoRegistry, Fault

from .conftest import Client, asking

BROKEN = (aiohttp.ClientError, asyncio.TimeoutError)


@pytest.mark.parametrize(
    ("fault", "status", "body", "headers"),
    [
        (Fault("status"), 500, b'{"StatusCode":500,"Error":"pg: connection pool timeout"}', {}),
        (Fault("status", status=502), 502, b"<html>", {}),
        (Fault("status", status=524), 524, b"<html>", {"Server": "cloudflare"}),
        (Fault("status", status=429), 429, b"<html>", {}),
        (Fault("status", status=429, retry_after="7"), 429, b"<html>", {"Retry-After": "7"}),
        (
            Fault("status", status=503, body='{"a":1}'),
            503,
            b'{"a":1}',
            {"Content-Type": "application/json; charset=utf-8"},
        ),
        (Fault("challenge"), 403, b"<!DOCTYPE html>", {"cf-mitigated": "challenge"}),
        (Fault("challenge", status=503), 503, b"<!DOCTYPE html>", {"cf-mitigated": "challenge"}),
        (Fault("unauthorized"), 401, b'{"Error":"API credentials are missing or invalid.","StatusCode":401}', {}),
        (Fault("maintenance"), 302, b"", {"Location": "/maintenance?format=json"}),
        (Fault("redirect", location="http://elsewhere.invalid/"), 302, b"", {"Location": "http://elsewhere.invalid/"}),
        (Fault("html"), 200, b"<!DOCTYPE html>", {"Content-Type": "text/html; charset=UTF-8"}),
        (Fault("no_results"), 200, b'{"message"', {}),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else "",
)
async def test_an_answer_instead_of_the_registrys(
    registry: DemoRegistry, ask: Client, fault: Fault, status: int, body: bytes, headers: dict[str, str]
) -> None:
    registry.add_fault(fault)
    answer = await ask("objects")
    assert answer.status == status
    assert answer.body.startswith(body)
    assert headers.items() <= answer.headers.items()
    assert (await ask("objects")).status == 200
    assert registry.stats.faults == {fault.kind: 1}


async def test_429_without_retry_after_has_none(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("status", status=429))
    assert "Retry-After" not in (await ask("objects")).headers


async def test_a_reset_before_any_byte(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("reset", times=None))
    with pytest.raises(aiohttp.ClientOSError):
        await ask("objects")


@pytest.mark.parametrize("kind", ["reset_body", "stall"])
async def test_a_connection_lost_in_the_middle_of_the_body(registry: DemoRegistry, ask: Client, kind: str) -> None:
    registry.add_fault(Fault(kind, seconds=0.01))  # type: ignore[arg-type]
    with pytest.raises(aiohttp.ClientError):
        await ask("objects")
    assert (await ask("objects")).status == 200


async def test_a_stall_outlasts_the_clients_patience_and_not_the_server(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("stall", seconds=3600))
    with pytest.raises(asyncio.TimeoutError):
        await ask("objects", timeout=aiohttp.ClientTimeout(0.05))
    assert (await ask("objects")).status == 200


async def test_a_truncated_body_is_valid_http(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("truncated"))
    answer = await ask("objects")
    assert answer.status == 200
    assert answer.body.startswith(b'{"count":')
    with pytest.raises(orjson.JSONDecodeError):
        _ = answer.json


async def test_invalid_json(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("invalid_json"))
    with pytest.raises(orjson.JSONDecodeError):
        _ = (await ask("objects?per_page=1")).json


async def test_a_fault_spoils_a_list_without_limit_too(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("reset_body"))
    with pytest.raises(aiohttp.ClientError):
        await ask("files?per_page=0")


async def test_slow_answers_are_right(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("slow", seconds=0.01))
    assert (await ask("objects")).json["count"] == 90


async def test_maintenance_for_some_requests(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("maintenance", times=2))
    assert (await ask("objects")).status == 302
    page = await ask("/maintenance?format=json")
    assert page.status == 503
    assert page.body == b'{"Error":"APTrust Registry is currently undergoing maintenance.","StatusCode":"503"}'
    assert (await ask("files")).status == 302
    assert (await ask("/maintenance?format=json")).status == 200
    assert (await ask("objects")).status == 200


async def test_maintenance_for_some_time_stops_everything(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("maintenance", seconds=3600, path="objects"))
    assert (await ask("files")).status == 200
    assert (await ask("objects")).status == 302
    assert (await ask("files")).status == 302
    assert (await ask("/maintenance?format=json")).status == 503
    registry.clear_faults()
    assert (await ask("files")).status == 200


async def test_path_after_and_times_choose_the_requests(registry: DemoRegistry, ask: Client) -> None:
    registry.add_fault(Fault("status", path="page=2", after=1, times=2))
    found = [(await ask(path)).status for path in ("files?page=2", "files?page=1", *["files?page=2"] * 3)]
    assert found == [200, 200, 500, 500, 200]


async def test_a_fault_can_come_with_the_constructor_and_last(collection: Path) -> None:
    async with DemoRegistry(collection, faults=[Fault("status", times=None)]) as other, asking(other) as ask:
        assert [(await ask("files")).status for _ in range(3)] == [500] * 3


async def test_a_rate_is_drawn_anew_each_time_from_the_seed(collection: Path) -> None:
    async def statuses(seed: int) -> list[int]:
        faults = [Fault("status", times=None, rate=0.3)]
        async with DemoRegistry(collection, seed=seed, faults=faults) as other, asking(other) as ask:
            return [(await ask("alerts?per_page=1")).status for _ in range(60)]

    first = await statuses(1)
    assert first == await statuses(1)
    assert first != await statuses(2)
    assert 8 <= first.count(500) <= 30


async def test_faults_can_be_ordered_over_http(ask: Client) -> None:
    orders = [{"kind": "status", "status": 503, "times": None}]
    assert (await ask("/demo/faults", "POST", json=orders)).status == 200
    assert (await ask("objects")).status == 503
    assert (await ask("/demo/faults", "DELETE")).status == 200
    assert (await ask("objects")).status == 200
    assert (await ask("/demo/faults", "POST", json=[{"kind": "bogus"}])).status == 400


async def test_mixed_faults_hit_at_about_the_rate_and_a_retry_gets_through(collection: Path) -> None:
    faults = Fault.mixed(0.3, seconds=0.001)
    assert sum(fault.rate for fault in faults) == pytest.approx(0.3)
    assert {fault.kind for fault in Fault.mixed(0.1, without=("redirect", "challenge"))}.isdisjoint(
        {"redirect", "challenge"}
    )
    async with DemoRegistry(collection, seed=5, faults=faults) as other, asking(other) as ask:
        whole = 0
        for _ in range(200):
            try:
                answer = await ask("files?per_page=3")
                whole += answer.status == 200 and b'"results"' in answer.body
            except BROKEN:
                continue
        assert 0.15 < sum(other.stats.faults.values()) / 200 < 0.45
        assert whole > 100
        assert len(other.stats.faults) > 8


async def test_the_key_is_not_asked_for_by_a_fault(registry: DemoRegistry) -> None:
    registry.add_fault(Fault("html"))
    async with asking(registry, key=API_KEY + "x") as ask:
        assert [(await ask("objects")).status for _ in range(2)] == [200, 401]


async def test_a_scaled_cost_is_waited_for_on_a_core(collection: Path) -> None:
    cost = Cost(cores=1, scale=0.05)
    async with DemoRegistry(collection, cost=cost) as other, asking(other) as ask:
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(ask("alerts") for _ in range(4)))
        assert asyncio.get_running_loop().time() - started >= 4 * 0.07 * 0.05
        assert other.stats.server_seconds == pytest.approx(4 * cost.page("alerts", skipped=0, rows=20, counted=40))
