"""Everything that goes wrong at night ends in a complete dump, or in a partial one that says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harvester.demo import DemoRegistry, Fault
from harvester.dump import partials, published
from harvester.errors import (
    AuthError,
    BlockedError,
    HarvesterError,
    MaintenanceError,
    ProtocolError,
    RequestError,
    TransientError,
)
from tests.support import as_dumped, as_held, difference, harvested, resumed

PASSING = [
    Fault("status", status=500),
    Fault("status", status=502),
    Fault("status", status=503),
    Fault("status", status=504),
    Fault("status", status=520),
    Fault("status", status=522),
    Fault("status", status=524),
    Fault("status", status=429),
    Fault("status", status=429, retry_after="0"),
    Fault("challenge", status=403),
    Fault("challenge", status=503),
    Fault("reset"),
    Fault("reset_body"),
    Fault("truncated"),
    Fault("invalid_json"),
    Fault("stall", seconds=30),
    Fault("unauthorized"),
    Fault("maintenance"),
    Fault("slow", seconds=0.05),
    Fault("html"),
    Fault("no_results"),
]


def named(fault: Fault) -> str:
    return f"{fault.kind}{fault.status or ''}{'-after' if fault.retry_after else ''}"


@pytest.mark.parametrize("fault", PASSING, ids=named)
async def test_trouble_that_passes_leaves_no_trace_in_the_dump(
    small_database: Path, tmp_path: Path, fault: Fault
) -> None:
    at = [
        Fault(**{**fault.__dict__, "after": after, "path": path})
        for after, path in ((1, ""), (7, "/files"), (9, "/events"))
    ]
    async with DemoRegistry(small_database) as registry:
        for one in at:
            registry.add_fault(one)
        outcome = await harvested(registry, tmp_path, read_timeout=0.3)
        assert registry.stats.faults[fault.kind] == 3
    assert outcome.published
    assert outcome.manifest.complete
    assert difference(as_dumped(outcome), as_held(small_database)) is None


async def test_mixed_faults_on_a_fifth_of_all_requests(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database, seed=5) as registry:
        for fault in Fault.mixed(0.2, without={"redirect"}):
            registry.add_fault(fault)
        outcome = await harvested(registry, tmp_path, read_timeout=0.3)
        assert len(registry.stats.faults) >= 8
    assert difference(as_dumped(outcome), as_held(small_database)) is None


STOPPING: list[tuple[Fault, type[HarvesterError]]] = [
    (Fault("unauthorized", times=None), AuthError),
    (Fault("html", times=None), ProtocolError),
    (Fault("no_results", times=None), ProtocolError),
    (Fault("redirect", times=None), ProtocolError),
    (Fault("challenge", status=403, times=None), BlockedError),
    (Fault("status", status=500, times=None), TransientError),
    (Fault("reset", times=None), TransientError),
    (Fault("maintenance", times=None, seconds=3600), MaintenanceError),
    (
        Fault("status", status=500, times=None, body='{"StatusCode":500,"Error":"Invalid query params: x"}'),
        RequestError,
    ),
]


@pytest.mark.parametrize(("fault", "error"), STOPPING, ids=lambda value: getattr(value, "kind", value))
async def test_what_stops_the_first_request_stops_the_harvest(
    small_database: Path, tmp_path: Path, fault: Fault, error: type[HarvesterError]
) -> None:
    async with DemoRegistry(small_database) as registry:
        registry.add_fault(fault)
        with pytest.raises(error):
            await harvested(registry, tmp_path / "out", retry_budget=0.2, maintenance_patience=0.2)
    assert not (tmp_path / "out").exists(), "nothing was harvested, so there is nothing to leave behind"


LASTING: list[tuple[Fault, type[HarvesterError]]] = [
    (Fault("unauthorized", after=40, times=None), TransientError),
    (Fault("status", after=40, status=503, times=None), TransientError),
    (Fault("reset", after=40, times=None), TransientError),
    (Fault("maintenance", after=40, times=None, seconds=3600), MaintenanceError),
    (Fault("challenge", after=40, status=403, times=None), TransientError),
]


@pytest.mark.parametrize(("fault", "error"), LASTING, ids=lambda value: getattr(value, "kind", value))
async def test_an_outage_that_lasts_stops_the_run_and_the_next_one_goes_on(
    small_database: Path, tmp_path: Path, fault: Fault, error: type[HarvesterError]
) -> None:
    options: dict[str, Any] = {"checkpoint_objects": 5}
    async with DemoRegistry(small_database) as registry:
        before = await harvested(registry, tmp_path / "out")
        registry.add_fault(fault)
        with pytest.raises(error):
            await harvested(registry, tmp_path / "out", retry_budget=0.2, maintenance_patience=0.2, **options)
        assert published(tmp_path / "out") == [before.path], "the previous dump is untouched"
        assert (tmp_path / "out" / "latest").resolve() == before.path
        assert len(partials(tmp_path / "out")) == 1
        registry.clear_faults()
        outcome = await resumed(registry, tmp_path / "out", **options)
    assert difference(as_dumped(outcome), as_held(small_database)) is None
    assert (tmp_path / "out" / "latest").resolve() == outcome.path


async def test_maintenance_is_waited_for_and_said(
    small_database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with DemoRegistry(small_database) as registry:
        registry.add_fault(Fault("maintenance", after=20, seconds=1.0))
        # The patience for ordinary trouble does not matter here.
        outcome = await harvested(registry, tmp_path, retry_budget=0.1, maintenance_patience=30.0)
    assert outcome.manifest.complete
    assert "maintenance" in caplog.text


async def test_a_second_server_never_sees_the_key(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry, DemoRegistry(small_database) as other:
        registry.add_fault(Fault("redirect", after=5, times=None, location=f"{other.url}/member-api/v3/objects"))
        with pytest.raises(HarvesterError):
            await harvested(registry, tmp_path, retry_budget=0.1)
        assert registry.stats.with_key > 0
        assert other.stats.requests == 0
