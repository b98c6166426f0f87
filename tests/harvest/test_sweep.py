"""The sweep strategy: the very dump of the per-object strategy, for a fraction of the requests."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from harvester import Outcome, RegistryClient, Scope, credentials, harvest
from harvester.demo import (
    AddEvents,
    Change,
    CollectionSpec,
    DemoRegistry,
    Fault,
    InsertFiles,
    InsertObject,
    SoftDeleteFile,
    SoftDeleteObject,
    UpdateObject,
    build,
    records,
)
from harvester.dump import Disk, DumpWriter, Spool, partials, verify
from harvester.errors import DumpError, ProtocolError, RegistryError, RequestError, TransientError
from harvester.harvest import run
from harvester.harvest.sweep import Sweeping
from harvester.registry import Filter, Page, Record, Resource
from harvester.registry.resources import OBJECTS
from tests.support import as_dumped, as_held, data_bytes, difference, harvested, settings_for

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


async def test_a_giant_that_is_committed_holds_nobody_up(
    giant_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, appended, append = 0, Counter[int](), DumpWriter.append

    async def turning() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def counting(self: DumpWriter, stem: str, lines: bytes, records: int) -> None:
        appended[turns] += records
        append(self, stem, lines, records)

    monkeypatch.setattr(DumpWriter, "append", counting)
    async with DemoRegistry(giant_database) as registry:
        other = asyncio.create_task(turning())
        await harvested(registry, tmp_path, checkpoint_bytes=1 << 30, **SWEEP)
        other.cancel()
    assert max(appended.values()) < 10_000, "rows committed without a turn of anybody else's"


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


class _Patient(RegistryClient):
    """Gives no objects before a window has been asked for, and no rows of a window before the objects have been."""

    objects_asked: asyncio.Event
    windows_asked: asyncio.Event

    async def page(
        self, resource: Resource, *, filters: Sequence[Filter] = (), sort: Sequence[str], page: int, per_page: int
    ) -> Page:
        if per_page == 1:  # the plan
            pass
        elif resource is OBJECTS:
            self.objects_asked.set()
            await self.windows_asked.wait()
        elif any(name.endswith("__gteq") for name, _ in filters):
            self.windows_asked.set()
            await self.objects_asked.wait()
        return await super().page(resource, filters=filters, sort=sort, page=page, per_page=per_page)


async def test_objects_and_windows_are_asked_for_at_once(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        settings = settings_for(registry, tmp_path, **SWEEP)
        async with _Patient(settings, credentials(settings)) as client, asyncio.timeout(60):
            client.objects_asked, client.windows_asked = asyncio.Event(), asyncio.Event()
            outcome = await harvest(client, Scope.parse(settings.resources))
    assert difference(as_dumped(outcome), as_held(small_database)) is None


# Stopped at any point


async def stopped(registry: DemoRegistry, output: Path, requests: int, **options: Any) -> Outcome | None:
    """A run that is cancelled after so many requests; its outcome, if it was done by then."""
    before = registry.stats.requests
    task = asyncio.create_task(harvested(registry, output, **options))
    while not task.done() and registry.stats.requests < before + requests:
        await asyncio.sleep(0.0005)
    task.cancel()
    with suppress(asyncio.CancelledError):
        return await task
    return None


@pytest.mark.parametrize("seed", range(6))
async def test_cancelled_at_any_request_and_taken_up_again(small_database: Path, tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    options: dict[str, Any] = {
        "per_page": random.choice([5, 15, 40]),
        "checkpoint_bytes": random.choice([3_000, 30_000, 1 << 20]),
        "concurrency": random.randint(1, 8),
        "compression": random.choice(["none", "zstd"]),
        **SWEEP,
    }
    async with DemoRegistry(small_database, latency=0.001) as registry:
        undisturbed = await harvested(registry, tmp_path / "one", **options)
        spent = registry.stats.requests
        registry.stats.reset()
        outcome, stops = None, 0
        while outcome is None:
            outcome = await stopped(registry, tmp_path / "two", random.randint(1, spent), **options)
            stops += outcome is None
        print(f"{stops} stops, {registry.stats.requests} requests, {spent} undisturbed")
        # What has come is kept: a stop costs the requests in flight, and what repeats or looks around. Where windows
        # are divided depends on what arrives first: pages of 5 rows cost 360 to 381 requests without any stop.
        assert registry.stats.requests <= 1.1 * spent + stops * (2 * options["concurrency"] + 8)
    assert data_bytes(outcome.path) == data_bytes(undisturbed.path)
    assert outcome.manifest.complete
    assert verify(outcome.path).damages == []
    assert partials(tmp_path / "two") == []


@pytest.mark.parametrize("seed", range(4))
async def test_taken_up_again_with_other_pages(small_database: Path, tmp_path: Path, seed: int) -> None:
    random, outcome = Random(seed), None
    async with DemoRegistry(small_database, latency=0.001) as registry:
        while outcome is None:
            options = {"per_page": random.choice([5, 12, 30, 1000]), "checkpoint_bytes": 5_000, "concurrency": 4}
            outcome = await stopped(registry, tmp_path, random.randint(10, 60), **options, **SWEEP)
    assert difference(as_dumped(outcome), as_held(small_database)) is None
    assert outcome.manifest.complete


async def test_a_disk_that_fails_once_leaves_nothing_out(
    small_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint after one that failed must not speak of the rows that the first was to hold."""
    checkpoint, calls = Spool.checkpoint, list[int]()

    def failing(self: Spool, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise DumpError("no space left on device")
        checkpoint(self, *arguments)

    monkeypatch.setattr(Spool, "checkpoint", failing)
    options: dict[str, Any] = {"per_page": 10, "checkpoint_bytes": 4_000, **SWEEP}
    async with DemoRegistry(small_database) as registry:
        with pytest.raises(DumpError, match="no space"):
            await harvested(registry, tmp_path, **options)
        outcome = await harvested(registry, tmp_path, **options)
    assert difference(as_dumped(outcome), as_held(small_database)) is None
    assert outcome.manifest.complete


# What windows do not show


async def test_pages_of_events_without_a_date(small: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(small)) as db:
        db.execute("UPDATE events SET date_time = NULL WHERE id % 5 = 0")
        undated = db.execute("SELECT count(*) FROM events WHERE date_time IS NULL").fetchone()[0]
        db.commit()
    async with DemoRegistry(small) as registry:
        outcome = await harvested(registry, tmp_path / "out", per_page=20, **SWEEP)
    assert undated > 60
    assert difference(as_dumped(outcome), as_held(small)) is None
    walk = outcome.manifest.reconciliation.walks["events"]
    assert walk.expected == walk.found
    assert outcome.manifest.complete


@pytest.mark.parametrize(
    "filters",
    [
        ["state=D"],
        ["created_at__lteq=2019-01-01"],
        ["created_at__gteq=2019-01-01", "access=institution"],
        ["file_count__gteq=20"],
    ],
)
async def test_any_slice(small_database: Path, tmp_path: Path, filters: list[str]) -> None:
    async with DemoRegistry(small_database) as registry:
        swept = await harvested(registry, tmp_path / "sweep", filters, per_page=30, **SWEEP)
        walked = await harvested(registry, tmp_path / "per-object", filters, strategy="per-object")
    assert difference(as_dumped(swept), as_dumped(walked)) is None
    for walk in swept.manifest.reconciliation.walks.values():
        assert walk.expected == walk.found
    assert swept.manifest.complete
    assert verify(swept.path).damages == []


def ticking(registry: Callable[[], DemoRegistry]) -> Callable[[], datetime]:
    """A server's clock that goes on by ten seconds with each request."""
    begin = datetime(2026, 11, 24, 2, tzinfo=UTC)
    return lambda: begin + timedelta(seconds=10 * registry().stats.requests)


async def test_objects_born_after_the_horizon_are_left_out_with_all_that_is_theirs(small: Path, tmp_path: Path) -> None:
    before = as_held(small)
    async with DemoRegistry(small, clock=ticking(lambda: registry)) as registry:
        for after in (0, 2, 5):
            registry.changes.schedule(InsertObject(files=7), after=after, path="/files")
        outcome = await harvested(registry, tmp_path / "out", per_page=50, concurrency=2, **SWEEP)
        assert len(registry.changes.applied) == 3
    assert difference(as_dumped(outcome), before) is None
    assert outcome.manifest.complete
    for walk in outcome.manifest.reconciliation.walks.values():
        assert walk.expected == walk.found


@pytest.mark.parametrize("after", [4, 15, 30])
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_what_changes_meanwhile_ends_up_consistent(
    small: Path, tmp_path: Path, after: int, concurrency: int
) -> None:
    held = {resource: {row["id"] for row in records(small, resource)} for resource in ("objects", "files", "events")}
    objects = [row["id"] for row in records(small, "objects") if row["state"] == "A" and row["file_count"] > 2]
    file = next(row["id"] for row in records(small, "files") if row["state"] == "A")
    past = datetime(2001, 2, 3, tzinfo=UTC)
    changes: list[Change] = [
        InsertFiles(objects[0], files=4),
        AddEvents(objects[1], events=45, date_time=past),
        SoftDeleteFile(file),
        SoftDeleteObject(objects[3]),
        UpdateObject(objects[4]),
        InsertObject(),
        AddEvents(objects[5], events=3),
    ]
    async with DemoRegistry(small, clock=ticking(lambda: registry)) as registry:
        for step, change in enumerate(changes):
            registry.changes.schedule(change, after=after + step)
        outcome = await harvested(registry, tmp_path / "out", per_page=20, concurrency=concurrency, **SWEEP)
        assert len(registry.changes.applied) == len(changes)
    dumped = {stem: [orjson.loads(line) for line in data.splitlines()] for stem, data in as_dumped(outcome).items()}
    for resource, numbers in held.items():
        found = [row["id"] for row in dumped[resource]]
        assert len(found) == len(set(found))
        assert numbers <= set(found), "lost something that was there when the harvest began"
    assert outcome.manifest.complete
    assert verify(outcome.path).damages == []
    assert next(row for row in dumped["objects"] if row["id"] == objects[4])["title"] == "Renamed meanwhile"
    assert len([row for row in dumped["files"] if row["intellectual_object_id"] == objects[0]]) == len(
        [row for row in records(small, "files") if row["intellectual_object_id"] == objects[0]]
    )


async def test_faults_of_all_kinds(small_database: Path, tmp_path: Path) -> None:
    kinds = ["status", "reset", "reset_body", "truncated", "invalid_json", "unauthorized", "html", "no_results"]
    async with DemoRegistry(small_database) as registry:
        for step, kind in enumerate(kinds):
            registry.add_fault(Fault(kind, after=5 + 4 * step, times=2, status=503))  # type: ignore[arg-type]
        outcome = await harvested(registry, tmp_path, per_page=20, **SWEEP)
        assert sum(registry.stats.faults.values()) >= len(kinds)
    assert difference(as_dumped(outcome), as_held(small_database)) is None
    assert outcome.manifest.complete
    assert verify(outcome.path).damages == []


# What is missing is said


def losing(monkeypatch: pytest.MonkeyPatch, path: str, numbers: set[int]) -> None:
    """Let the rows of these ids never arrive in a window, though the Registry counts them."""
    page = RegistryClient.page

    async def lying(self: RegistryClient, resource: Resource, **question: Any) -> Page:
        answer = await page(self, resource, **question)
        kept = [row for row in answer.rows if row["id"] not in numbers]
        if kept and resource.path == path and len(question["sort"]) > 1:
            # In the place of each comes the row before it once more: the order shows nothing.
            for place, row in enumerate(answer.rows):
                if row["id"] in numbers:
                    answer.rows[place] = answer.rows[place - 1] if place else kept[0]
        return answer

    monkeypatch.setattr(RegistryClient, "page", lying)


@pytest.mark.parametrize("meanwhile", [False, True])
async def test_missing_events_make_the_dump_incomplete_whatever_comes_in_meanwhile(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    rows = list(records(small, "events"))
    lost = {row["id"] for row in rows[100:103]}
    losing(monkeypatch, "events", lost)
    async with DemoRegistry(small, clock=ticking(lambda: registry)) as registry:
        if meanwhile:
            number = next(records(small, "objects"))["id"]
            registry.changes.schedule(AddEvents(number, events=5), after=0, path="/events")
            registry.changes.schedule(InsertObject(files=9), after=6, path="/events")
        outcome = await harvested(registry, tmp_path / "out", per_page=40, **SWEEP)
    assert not outcome.manifest.complete
    assert not outcome.published
    assert outcome.manifest.reconciliation.short_walks == ["events"]
    walk = outcome.manifest.reconciliation.walks["events"]
    assert walk.expected - walk.found == len(lost)
    assert verify(outcome.path).damages == []


async def test_a_missing_file_is_fetched_after_all(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in records(small, "files") if row["state"] == "A" and row["size"])
    losing(monkeypatch, "files", {row["id"]})
    async with DemoRegistry(small) as registry:
        outcome = await harvested(registry, tmp_path / "out", per_page=40, **SWEEP)
    assert difference(as_dumped(outcome), as_held(small)) is None
    assert [(c.object, c.why) for c in outcome.manifest.run.corrected] == [(row["intellectual_object_id"], "disagreed")]
    assert outcome.manifest.complete


# What fails for good


OF_A_WINDOW = ["created_at__gteq", "date_time__gteq"]


@pytest.mark.parametrize("path", OF_A_WINDOW)
async def test_a_registry_that_is_away_stops_the_run_which_goes_on_later(
    small_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def away(client: RegistryClient) -> bool:
        return False

    async with DemoRegistry(small_database) as registry:
        registry.add_fault(Fault("truncated", path=path, after=6, times=None))
        with monkeypatch.context() as patched:
            patched.setattr(RegistryClient, "probe", away)
            with pytest.raises(TransientError) as raised:
                await harvested(registry, tmp_path, per_page=20, retry_budget=0.1, **SWEEP)
        assert "--strategy per-object" in raised.value.mend
        registry.clear_faults()
        outcome = await harvested(registry, tmp_path, per_page=20, **SWEEP)
    assert difference(as_dumped(outcome), as_held(small_database)) is None
    assert outcome.manifest.strategy == "sweep"


@pytest.mark.parametrize("path", OF_A_WINDOW)
async def test_a_list_that_cannot_be_had_as_a_whole_is_had_object_by_object(
    small_database: Path, tmp_path: Path, path: str
) -> None:
    async with DemoRegistry(small_database) as registry:
        registry.add_fault(Fault("truncated", path=path, after=6, times=None))
        outcome = await harvested(registry, tmp_path, per_page=20, retry_budget=0.1, **SWEEP)
    assert difference(as_dumped(outcome), as_held(small_database)) is None
    assert outcome.manifest.strategy == "per-object"
    assert verify(outcome.path).damages == []


async def test_objects_that_cannot_be_had_are_no_reason_to_change_the_strategy(
    small_database: Path, tmp_path: Path
) -> None:
    async with DemoRegistry(small_database) as registry:
        registry.add_fault(Fault("truncated", path="/objects?", after=2, times=None))
        with pytest.raises(RegistryError) as raised:
            await harvested(registry, tmp_path, per_page=20, retry_budget=0.1, **SWEEP)
    assert "per-object" not in raised.value.mend


@pytest.mark.parametrize("field", ["intellectual_object_id", "created_at"])
async def test_a_file_that_cannot_be_placed_is_found_out(
    small_database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    field: str,
) -> None:
    page = RegistryClient.page

    async def without(self: RegistryClient, resource: Resource, **question: Any) -> Page:
        answer = await page(self, resource, **question)
        if resource.path == "files" and len(question["sort"]) > 1 and len(answer.rows) > 2:
            del answer.rows[1][field]
        return answer

    monkeypatch.setattr(RegistryClient, "page", without)
    async with DemoRegistry(small_database) as registry:
        outcome = await harvested(registry, tmp_path, **SWEEP)
    assert f"no usable '{field}'" in caplog.text
    assert difference(as_dumped(outcome), as_held(small_database)) is None


@pytest.mark.parametrize(
    ("path", "field"), [("objects", "created_at"), ("files", "created_at"), ("events", "date_time")]
)
async def test_killed_after_a_page_that_cannot_be_spooled_it_is_asked_for_again(
    small_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, field: str
) -> None:
    page, pages = RegistryClient.page, 0

    async def without(self: RegistryClient, resource: Resource, **question: Any) -> Page:
        nonlocal pages
        answer = await page(self, resource, **question)
        if resource.path == path and len(answer.rows) > 2 and (pages := pages + 1) == 3:
            answer.rows[1][field] = None
        return answer

    put, good = Sweeping._put, list[tuple[Resource, Sequence[Record]]]()

    def putting(self: Sweeping, resource: Resource, rows: Sequence[Record]) -> None:
        try:
            put(self, resource, rows)
            good[:] = [(resource, rows)]
        except ProtocolError:
            put(self, *good[0])  # the page of another lane, which came at the same moment
            raise

    def dying(directory: Path, disk: Disk) -> None:
        raise DumpError("killed")

    async with DemoRegistry(small_database) as registry:
        with monkeypatch.context() as patch:
            patch.setattr(RegistryClient, "page", without)
            patch.setattr(run, "remove", dying)
            patch.setattr(Sweeping, "_put", putting)
            with pytest.raises(DumpError, match="killed"):
                await harvested(registry, tmp_path, per_page=20, **SWEEP)
        outcome = await harvested(registry, tmp_path, per_page=20, **SWEEP)
    assert difference(as_dumped(outcome), as_held(small_database)) is None
    assert outcome.manifest.complete
