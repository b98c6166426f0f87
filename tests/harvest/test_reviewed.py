"""What an independent review found: each was a loss, a doubled line or a dead end once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from harvester import Outcome, RegistryClient, Scope, credentials, harvest
from harvester.demo import Change, DemoRegistry, Fault, InsertObject, SoftDeleteObject, UpdateObject, records
from harvester.dump import Disk, partials, verify
from harvester.dump.layout import SPOOL
from harvester.dump.writer import remove
from harvester.errors import DumpError, TransientError
from harvester.harvest import run
from harvester.harvest.sweep import LESS
from harvester.registry import Filter, Page, Resource
from harvester.registry.resources import EVENTS, FILES, OBJECTS
from tests.support import as_dumped, as_held, difference, harvested, resumed, settings_for

BOTH = pytest.mark.parametrize("strategy", ["per-object", "sweep"])


def ids(outcome: Outcome, stem: str) -> list[int]:
    return [orjson.loads(line)["id"] for line in as_dumped(outcome)[stem].splitlines()]


@BOTH
@pytest.mark.parametrize("after", [4, 5, 6])
async def test_one_object_leaves_the_slice_and_another_joins_it(
    small: Path, tmp_path: Path, strategy: str, after: int
) -> None:
    """The count stays as it is, and yet a row slips below the page that has just been read."""
    chosen = [row["id"] for row in records(small, "objects") if row["state"] == "A"]
    async with DemoRegistry(small) as registry:
        # An object joins by being made: its state is A, and it is not younger than the harvest by the clock's second.
        for change in (SoftDeleteObject(chosen[1]), InsertObject(files=1)):
            registry.changes.schedule(change, after=after, path="/objects?")
        outcome = await harvested(registry, tmp_path / "out", ["state=A"], per_page=5, strategy=strategy)
    # The one that left may have been asked for before or after.
    assert set(chosen) - {chosen[1]} <= set(ids(outcome, "objects"))
    assert verify(outcome.path).damages == []


@BOTH
@pytest.mark.parametrize("status", [502, 403])
async def test_one_record_that_cannot_be_asked_for_again_does_not_stop_the_rest(
    small: Path, tmp_path: Path, strategy: str, status: int
) -> None:
    number = next(row["id"] for row in records(small, "objects") if row["state"] == "A")
    body = '{"error":"Permission denied"}' if status == 403 else None
    async with DemoRegistry(small) as registry:
        registry.changes.schedule(UpdateObject(number), after=10)
        registry.add_fault(Fault("status", path=f"/objects/show/{number}", status=status, times=None, body=body))
        outcome = await harvested(registry, tmp_path / "out", strategy=strategy, retry_budget=0.1)
        assert not outcome.manifest.complete
        assert [failure.object for failure in outcome.manifest.failures] == [number]
        registry.clear_faults()
        outcome = await resumed(registry, tmp_path / "out")
    assert outcome.manifest.complete
    assert difference(as_dumped(outcome), as_held(small)) is None


async def test_a_list_that_cannot_be_swept_is_harvested_object_by_object(small: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small) as registry:
        registry.add_fault(Fault("status", path="/events?date_time__gteq", status=502, times=None))
        outcome = await harvested(registry, tmp_path, strategy="sweep", retry_budget=0.1)
    assert outcome.manifest.strategy == "per-object"
    assert difference(as_dumped(outcome), as_held(small)) is None


async def test_an_unfinished_sweep_can_be_finished_object_by_object(small: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small) as registry:
        registry.add_fault(Fault("status", after=12, status=503, times=None))
        with pytest.raises(TransientError):
            await harvested(registry, tmp_path / "out", strategy="sweep", retry_budget=0.1, per_page=20)
        assert len(partials(tmp_path / "out")) == 1
        registry.clear_faults()
        outcome = await resumed(registry, tmp_path / "out", strategy="per-object")
    assert outcome.manifest.strategy == "per-object"
    assert difference(as_dumped(outcome), as_held(small)) is None


@pytest.mark.parametrize("per_pages", [(60, 20), (20, 1000), (7, 8)])
async def test_a_sweep_goes_on_with_another_page_size(
    small_database: Path, tmp_path: Path, per_pages: tuple[int, int]
) -> None:
    async with DemoRegistry(small_database) as registry:
        outcome, runs = None, 0
        while outcome is None:
            registry.add_fault(Fault("status", after=9 + runs, status=503, times=None))
            options: dict[str, Any] = {"strategy": "sweep", "checkpoint_bytes": 10_000, "retry_budget": 0.0}
            try:
                outcome = await harvested(registry, tmp_path, per_page=per_pages[runs % 2], **options)
            except TransientError:
                runs += 1
            registry.clear_faults()
    assert runs >= 1
    assert difference(as_dumped(outcome), as_held(small_database)) is None


async def test_a_retry_after_longer_than_the_patience_stops_everybody(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        registry.add_fault(Fault("status", path="/files", after=10, status=429, retry_after="1000"))
        with pytest.raises(TransientError) as stopped:
            await harvested(registry, tmp_path, concurrency=4)
        assert "1000 s" in stopped.value.mend
        # Those in flight when it came, and none after them.
        assert registry.stats.requests <= registry.stats.by_path["files"] * 2 + 10
        assert registry.stats.by_path["files"] <= 16
        registry.clear_faults()
        outcome = await resumed(registry, tmp_path)
    assert difference(as_dumped(outcome), as_held(small_database)) is None


async def test_nothing_is_doubled_when_rows_change_halves(small: Path, tmp_path: Path) -> None:
    """A work item that gets its file while both halves of the list are walked is in either."""
    items = [row["id"] for row in records(small, "items") if row["generic_file_id"] == 0]

    class GetsFile(Change):
        def apply(self, db: Any, now: int) -> dict[str, list[int]]:
            db.execute("UPDATE items SET generic_file_id = 1 WHERE id = ?", (items[-1],))
            return {"items": [items[-1]]}

    for after in range(1, 6):
        async with DemoRegistry(small) as registry:
            registry.changes.schedule(GetsFile(), after=after, path="/items")
            outcome = await harvested(registry, tmp_path / str(after), resources="items", per_page=20)
        if outcome.published:
            assert max(Counter(ids(outcome, "work_items")).values()) == 1
            assert verify(outcome.path).damages == []


class _Away(RegistryClient):
    """A Registry that has gone when one list is harvested."""

    away: Resource

    async def page(
        self, resource: Resource, *, filters: Sequence[Filter] = (), sort: Sequence[str], page: int, per_page: int
    ) -> Page:
        if resource is self.away and per_page > 1:
            raise TransientError("away")
        return await super().page(resource, filters=filters, sort=sort, page=page, per_page=per_page)

    async def probe(self) -> bool:
        return False


@pytest.mark.parametrize(("away", "mend"), [(OBJECTS, ""), (FILES, LESS), (EVENTS, LESS)])
async def test_the_other_strategy_is_no_mend_where_the_objects_are_missing(
    small_database: Path, tmp_path: Path, away: Resource, mend: str
) -> None:
    async with DemoRegistry(small_database) as registry:
        settings = settings_for(registry, tmp_path, strategy="sweep")
        async with _Away(settings, credentials(settings)) as client:
            client.away = away
            with pytest.raises(TransientError, match="away") as raised:
                await harvest(client, Scope.parse(settings.resources))
    assert raised.value.mend == mend


@pytest.mark.parametrize("stopped", [True, False])
async def test_what_stopped_the_run_is_the_news_and_not_a_spool_that_stays(
    small_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    def failing(directory: Path, disk: Disk) -> None:
        if directory.name == SPOOL:
            raise DumpError("cannot be removed")
        remove(directory, disk)

    monkeypatch.setattr(run, "remove", failing)
    async with DemoRegistry(small_database) as registry:
        if stopped:
            registry.add_fault(Fault("status", path="updated_at__gteq", status=502, times=None))
        with pytest.raises(TransientError if stopped else DumpError):
            await harvested(registry, tmp_path / "out", strategy="sweep", retry_budget=0.1)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("disk")]
        monkeypatch.undo()
        registry.clear_faults()
        outcome = await resumed(registry, tmp_path / "out")
    assert difference(as_dumped(outcome), as_held(small_database)) is None
    assert partials(tmp_path / "out") == []
