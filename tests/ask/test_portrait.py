"""An object's portrait is what the database holds, for as few requests as it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harvester.ask import Directory, File, find, portray
from harvester.demo import OWN_INSTITUTION, AddEvents, CollectionSpec, InsertObject, SoftDeleteFile, build, records
from harvester.demo.database import connect
from harvester.errors import ConfigError, NotFoundError
from harvester.registry import RESOURCES
from tests.ask.conftest import Asking

FILES_OF_GIANT = 30_000


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("portrait") / "registry.sqlite"
    build(path, CollectionSpec(seed=5, objects=25, files_per_object=6.0, work_items=40))
    return path


@pytest.fixture(scope="module")
def giant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("giant") / "registry.sqlite"
    build(path, CollectionSpec(objects=3, files_per_object=1.0, largest_object=FILES_OF_GIANT, events_per_file=1))
    return path


def held(database: Path, resource: str, object_id: int) -> list[dict[str, Any]]:
    return [row for row in records(database, resource) if row["intellectual_object_id"] == object_id]


def write(database: Path, statement: str, *values: object) -> None:
    """Change what no request can change."""
    with closing(connect(database, writing=True)) as connection:
        connection.execute(statement, values)
        if connection.in_transaction:
            connection.commit()


def unexpected(count: int) -> None:
    raise AssertionError(f"{count} files to read")


def files_in(directory: Directory) -> Iterator[File]:
    yield from directory.files
    for inner in directory.directories:
        yield from files_in(inner)


async def test_a_portrait_is_what_the_database_holds(database: Path, asking: Asking) -> None:
    async with asking(database) as (registry, client):
        for row in records(database, "objects"):
            registry.stats.reset()
            portrait = await portray(client, str(row["id"]), files=40, failures=5, announce=unexpected)
            files, events = (held(database, name, row["id"]) for name in ("files", "events"))
            assert portrait.object == row
            assert sorted(f.id for f in files_in(portrait.bag)) == [f["id"] for f in files]
            assert portrait.whole
            assert portrait.counts_agree
            assert portrait.chronicle.total == portrait.chronicle.read == len(events)
            failed = [e for e in events if e["outcome"] == "Failure"]
            assert portrait.chronicle.failed == len(failed)
            assert len(portrait.chronicle.failures) == min(5, len(failed))
            assert sum(h.count for h in portrait.chronicle.happenings) == len(events) - len(failed)
            assert {i["id"] for i in portrait.items} == {i["id"] for i in held(database, "items", row["id"])}
            assert dict(registry.stats.by_path) == {"objects": 1, "files": 1, "events": 1, "items": 1}


async def test_what_happened_on_a_day_is_told_once_newest_first(database: Path, asking: Asking) -> None:
    (largest,) = sorted(records(database, "objects"), key=lambda row: row["file_count"])[-1:]
    async with asking(database) as (_, client):
        chronicle = (await portray(client, str(largest["id"]), files=0, failures=5, announce=unexpected)).chronicle
    events = [e for e in held(database, "events", largest["id"]) if e["outcome"] != "Failure"]
    told = Counter((e["event_type"], e["outcome"], e["date_time"][:10]) for e in events if e["generic_file_id"])
    assert Counter({_day(h): h.count for h in chronicle.happenings if h.on_files}) == told
    assert max(told.values()) > 1
    dates = [_instant(h.newest["date_time"]) for h in chronicle.happenings]
    assert dates == sorted(dates, reverse=True)


def _day(happening: Any) -> tuple[str, str, str]:
    newest = happening.newest
    return newest["event_type"], newest["outcome"], newest["date_time"][:10]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_counts_that_disagree_are_seen(tmp_path: Path, asking: Asking) -> None:
    path = tmp_path / "registry.sqlite"
    build(path, CollectionSpec(objects=2))
    async with asking(path) as (registry, client):
        made = await registry.changes.apply(InsertObject(files=4))
        (number,) = made["objects"]
        await registry.changes.apply(SoftDeleteFile(made["files"][0]))
        portrait = await portray(client, str(number), files=40, failures=5, announce=unexpected)
        assert (portrait.bag.active, portrait.bag.deleted, portrait.counts_agree) == (3, 1, True)
        write(path, "UPDATE objects SET active_files = active_files + 1 WHERE id = ?", number)
        portrait = await portray(client, str(number), files=40, failures=5, announce=unexpected)
        assert not portrait.counts_agree


async def test_an_old_failure_is_found_behind_a_thousand_newer_events(tmp_path: Path, asking: Asking) -> None:
    path = tmp_path / "registry.sqlite"
    build(path, CollectionSpec(objects=2))
    async with asking(path) as (registry, client):
        (number,) = (await registry.changes.apply(InsertObject(files=1)))["objects"]
        await registry.changes.apply(AddEvents(number, events=1, date_time=datetime(2015, 1, 1, tzinfo=UTC)))
        old = "intellectual_object_id = ? AND date_time < 1500000000000000"
        write(path, f"UPDATE events SET outcome = 'Failure' WHERE {old}", number)
        await registry.changes.apply(AddEvents(number, events=1200))
        registry.stats.reset()
        chronicle = (await portray(client, str(number), files=40, failures=5, announce=unexpected)).chronicle
        assert (chronicle.read, chronicle.failed) == (1000, 1)
        assert chronicle.total > 1200
        assert [e["date_time"] for e in chronicle.failures] == ["2015-01-01T00:00:00Z"]
        assert registry.stats.by_path["events"] == 2


async def test_of_a_giant_the_first_ten_thousand_files_are_read(giant: Path, asking: Asking) -> None:
    largest = max(records(giant, "objects"), key=lambda row: row["file_count"])
    async with asking(giant) as (registry, client):
        portrait = await portray(client, str(largest["id"]), files=40, failures=5, announce=unexpected)
        assert (portrait.read, portrait.total, portrait.whole) == (10_000, FILES_OF_GIANT, False)
        assert dict(registry.stats.by_path) == {"objects": 1, "files": 11, "events": 2, "items": 1}


async def test_of_a_giant_all_files_are_read_if_asked_for(giant: Path, asking: Asking) -> None:
    largest = max(records(giant, "objects"), key=lambda row: row["file_count"])
    announced: list[int] = []
    async with asking(giant) as (registry, client):
        portrait = await portray(client, str(largest["id"]), files=None, failures=5, announce=announced.append)
        assert announced == [largest["file_count"]]
        assert portrait.read == FILES_OF_GIANT
        assert portrait.whole
        assert portrait.counts_agree
        assert registry.stats.by_path["files"] == 31  # thirty full pages, and the look whether there is another


async def test_no_file_is_read_if_none_is_wanted(giant: Path, asking: Asking) -> None:
    largest = max(records(giant, "objects"), key=lambda row: row["file_count"])
    async with asking(giant) as (registry, client):
        portrait = await portray(client, str(largest["id"]), files=0, failures=5, announce=unexpected)
        assert (portrait.read, portrait.total) == (0, FILES_OF_GIANT)
        assert registry.stats.by_path["files"] == 1
        assert registry.stats.bytes_sent < 1_500_000


@pytest.mark.parametrize("resource", RESOURCES)
async def test_every_record_is_found_by_its_id(resource: str, database: Path, asking: Asking) -> None:
    async with asking(database) as (_, client):
        for row in list(records(database, resource))[:20]:
            found = await find(client, RESOURCES[resource], str(row["id"]))
            # files/show lacks names and digests, and has children instead
            shared = row.keys() & found.keys() if resource == "files" else row.keys()
            assert {name: found[name] for name in shared} == {name: row[name] for name in shared}
            assert len(shared) >= 10


@pytest.mark.parametrize("resource", ["objects", "files", "events"])
async def test_a_record_is_found_by_any_identifier(resource: str, database: Path, asking: Asking) -> None:
    async with asking(database) as (_, client):
        for row in records(database, resource):
            if not row["identifier"].isdigit() and row["id"] % (1 if resource == "objects" else 7) == 0:
                assert (await find(client, RESOURCES[resource], row["identifier"]))["id"] == row["id"]


async def test_an_alert_is_found_on_a_later_page_of_the_list(database: Path, tmp_path: Path, asking: Asking) -> None:
    oldest = min(records(database, "alerts"), key=lambda row: row["created_at"])
    async with asking(database) as (registry, client):
        client.settings = client.settings.model_copy(update={"per_page": 10})
        assert await find(client, RESOURCES["alerts"], str(oldest["id"])) == oldest
        assert registry.stats.by_path["alerts"] == -(-len(list(records(database, "alerts"))) // 10)
        with pytest.raises(NotFoundError):
            await find(client, RESOURCES["alerts"], "99999")


@pytest.mark.parametrize(
    ("resource", "key"),
    [("objects", ""), ("files", "a\udcffb"), ("items", "bag.tar"), ("alerts", "one"), ("items", "٣")],
)
async def test_what_can_be_no_key_is_not_asked_for(resource: str, key: str, database: Path, asking: Asking) -> None:
    async with asking(database) as (registry, client):
        with pytest.raises(ConfigError):
            await find(client, RESOURCES[resource], key)
        assert registry.stats.requests == 0


def test_the_witness_has_something_to_say(database: Path) -> None:
    """The tests above would pass on an empty collection."""
    kinds = {name: len(list(records(database, name, OWN_INSTITUTION))) for name in RESOURCES}
    assert min(kinds.values()) >= 20
    assert any(item["intellectual_object_id"] for item in records(database, "items"))
