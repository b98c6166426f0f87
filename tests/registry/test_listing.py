"""A list page by page: whole, in order, no sooner than asked for, and honest where it could not be kept whole."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.config import credentials
from harvester.demo import (
    CollectionSpec,
    DemoRegistry,
    Fault,
    InsertObject,
    PutNull,
    SoftDeleteFile,
    UpdateObject,
    build,
    records,
)
from harvester.errors import ChangedError, TransientError, UncountableError
from harvester.registry import RESOURCES, Filter, RegistryClient, listed
from harvester.registry.listing import Ids, _merged
from tests.support import settings_for

PER_PAGE = 7


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("listing") / "registry.sqlite"
    build(path, CollectionSpec(seed=5, objects=24, files_per_object=4.0, events_per_file=2))
    return path


@pytest.fixture
def database(at_rest: Path, tmp_path: Path) -> Path:
    """One that may be changed."""
    return Path(shutil.copy(at_rest, tmp_path / "registry.sqlite"))


@asynccontextmanager
async def served(
    database: Path, per_page: int = PER_PAGE, **flags: Any
) -> AsyncIterator[tuple[DemoRegistry, RegistryClient]]:
    async with DemoRegistry(database) as registry:
        settings = settings_for(registry, database.parent, per_page=per_page, **flags)
        async with RegistryClient(settings, credentials(settings)) as client:
            yield registry, client


async def rows_of(pages: AsyncGenerator[list[dict[str, Any]], None]) -> list[dict[str, Any]]:
    async with aclosing(pages):
        return [row async for rows in pages for row in rows]


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [row["id"] for row in rows]


@pytest.mark.parametrize("name", RESOURCES)
async def test_every_list_is_what_the_registry_holds(at_rest: Path, name: str) -> None:
    async with served(at_rest) as (_, client):
        assert await rows_of(listed(client, RESOURCES[name])) == list(records(at_rest, name))


@pytest.mark.parametrize("sort", ["id__asc", "date_time__asc"])
async def test_how_many_rows_there_are_is_told_with_the_first_page(at_rest: Path, sort: str) -> None:
    told: list[int] = []
    async with served(at_rest) as (_, client):
        rows = await rows_of(listed(client, RESOURCES["events"], sort=sort, on_count=told.append))
    assert told == [len(rows)]


async def test_how_many_rows_there_are_is_added_up_where_a_list_is_read_in_parts(database: Path) -> None:
    told: list[int] = []
    async with served(database) as (registry, client):
        await registry.changes.apply(spoil(database, "events", "outcome"))
        rows = await rows_of(listed(client, RESOURCES["events"], on_count=told.append))
    assert len(told) == 2
    assert told[0] < told[1] == len(rows)


@pytest.mark.parametrize("name", RESOURCES)
async def test_every_column_that_a_list_can_be_sorted_by(at_rest: Path, name: str) -> None:
    held = {row["id"]: row for row in records(at_rest, name)}
    async with served(at_rest) as (_, client):
        for column in RESOURCES[name].sorts:
            for way in ("asc", "desc"):
                rows = await rows_of(listed(client, RESOURCES[name], sort=f"{column}__{way}"))
                assert sorted(ids(rows)) == sorted(held), column
                assert all(row == held[row["id"]] for row in rows)


async def test_a_sort_is_kept_and_rows_alike_in_it_come_by_id(at_rest: Path) -> None:
    async with served(at_rest) as (_, client):
        rows = await rows_of(listed(client, RESOURCES["objects"], sort="storage_option__desc"))
        keys = [(row["storage_option"], -row["id"]) for row in rows]
        assert keys == sorted(keys, reverse=True)
        assert len({key for key, _ in keys}) > 1
        backwards = ids(await rows_of(listed(client, RESOURCES["objects"], sort="id__desc")))
        assert backwards == sorted(backwards, reverse=True)


@pytest.mark.parametrize(
    ("limit", "requests", "per_page"), [(1, 1, 1), (6, 1, 6), (7, 1, 7), (8, 2, 7), (14, 2, 7), (20, 3, 7)]
)
@pytest.mark.parametrize("sort", ["id__asc", "updated_at__desc"])
async def test_a_limit_costs_no_more_than_its_rows(
    at_rest: Path, limit: int, requests: int, per_page: int, sort: str
) -> None:
    async with served(at_rest) as (registry, client):
        rows = await rows_of(listed(client, RESOURCES["objects"], sort=sort, limit=limit))
        assert len(set(ids(rows))) == limit
        assert registry.stats.requests == requests
        assert all(f"per_page={per_page}" in line for line in registry.stats.log)


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_that_is_none(at_rest: Path, limit: int) -> None:
    async with served(at_rest) as (_, client):
        with pytest.raises(ValueError, match="limit"):
            await rows_of(listed(client, RESOURCES["objects"], limit=limit))


async def test_a_limit_beyond_the_end_is_the_whole_list(at_rest: Path) -> None:
    async with served(at_rest) as (_, client):
        assert len(await rows_of(listed(client, RESOURCES["objects"], limit=1000))) == 24


@pytest.mark.parametrize("filters", [(), (("state", "A"),), (("created_at__gteq", "2000-01-01"),)])
@pytest.mark.parametrize("sort", ["id__asc", "updated_at__desc"])
async def test_the_second_page_is_asked_for_once_the_first_has_been_taken(
    at_rest: Path, filters: tuple[Filter, ...], sort: str
) -> None:
    """Also where the count is exact, and pages might be fetched ahead."""
    async with (
        served(at_rest) as (registry, client),
        aclosing(listed(client, RESOURCES["files"], filters, sort=sort)) as pages,
    ):
        await anext(pages)
        for _ in range(20):
            await client.probe()  # a request's time goes by
        assert registry.stats.by_path["files"] == 1
        await anext(pages)
        assert registry.stats.by_path["files"] >= 2


async def test_reading_ahead_is_bounded(at_rest: Path) -> None:
    async with (
        served(at_rest, per_page=2) as (registry, client),
        aclosing(listed(client, RESOURCES["files"], (("state", "A"),))) as pages,
    ):
        for taken in range(1, 6):
            await anext(pages)
            for _ in range(10):
                await client.probe()
            assert registry.stats.by_path["files"] <= taken + 1


def walking() -> set[asyncio.Task[Any]]:
    """Tasks of listings, not of the server, which runs in the same loop."""
    return {task for task in asyncio.all_tasks() if "_walked" in task.get_coro().__qualname__}  # type: ignore[union-attr]


async def test_a_listing_left_in_the_middle_leaves_nothing_running(at_rest: Path) -> None:
    async with served(at_rest) as (_, client):
        async with aclosing(listed(client, RESOURCES["files"], (("state", "A"),))) as pages:
            await anext(pages)
            await anext(pages)
            assert len(walking()) >= 1
        assert walking() == set()


async def test_an_empty_list_gives_no_page(at_rest: Path) -> None:
    async with served(at_rest) as (_, client):
        nothing = (("identifier", "nowhere.edu/none"),)
        assert [page async for page in listed(client, RESOURCES["objects"], nothing)] == []
        assert [page async for page in listed(client, RESOURCES["objects"], nothing, sort="size__asc")] == []


async def test_a_failure_comes_after_the_rows_before_it(at_rest: Path) -> None:
    async with served(at_rest, retry_budget=0.0) as (registry, client):
        registry.add_fault(Fault("status", path="page=2&", status=500, times=None))
        taken = []
        with pytest.raises(TransientError):
            async for rows in listed(client, RESOURCES["objects"]):
                taken += rows
        assert len(taken) == PER_PAGE


async def test_files_deleted_while_active_ones_are_listed_take_no_other_along(database: Path) -> None:
    active = [row["id"] for row in records(database, "files") if row["state"] == "A"]
    async with served(database) as (registry, client):
        for place in (0, 3, 5):
            registry.changes.schedule(SoftDeleteFile(active[place]), after=2, path="/files")
        found = ids(await rows_of(listed(client, RESOURCES["files"], (("state", "A"),))))
        assert found == sorted(set(found))
        assert set(found) >= set(active) - {active[place] for place in (0, 3, 5)}
        assert len(registry.changes.applied) == 3


async def test_rows_that_move_in_the_order_asked_for_are_said_to_be_missing(database: Path) -> None:
    async with served(database) as (registry, client):
        first = await rows_of(listed(client, RESOURCES["objects"], sort="updated_at__asc", limit=1))
        registry.changes.schedule(UpdateObject(first[0]["id"]), after=1, path="/objects")
        taken: list[int] = []
        with pytest.raises(ChangedError, match="1 of 24 are missing"):
            async for rows in listed(client, RESOURCES["objects"], sort="updated_at__asc"):
                taken += ids(rows)
        assert len(taken) == len(set(taken)) == 23


async def test_rows_inserted_in_front_are_given_once_and_what_is_not_seen_is_said(database: Path) -> None:
    async with served(database) as (registry, client):
        registry.changes.schedule(InsertObject(), after=1, path="/objects")
        taken: list[int] = []
        with pytest.raises(ChangedError, match="1 of 25 are missing"):
            async for rows in listed(client, RESOURCES["objects"], sort="id__desc"):
                taken += ids(rows)
        assert taken == ids(list(records(database, "objects")))[-2::-1]


SPOILT = [
    ("events", "outcome"),
    ("events", "event_type"),
    ("objects", "state"),
    ("files", "state"),
    ("items", "action"),
]


def spoil(database: Path, resource: str, column: str) -> PutNull:
    """A NULL in the tenth row."""
    return PutNull(resource, column, list(records(database, resource))[9]["id"])


@pytest.mark.parametrize(("resource", "column"), SPOILT)
@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_list_that_the_registry_fails_to_count_is_listed_all_the_same(
    database: Path, resource: str, column: str, after: int
) -> None:
    """Before it begins, and while it is read."""
    async with served(database) as (registry, client):
        registry.changes.schedule(spoil(database, resource, column), after=after, path=f"/{resource}")
        rows = await rows_of(listed(client, RESOURCES[resource]))
        assert ids(rows) == ids(list(records(database, resource)))
        assert registry.stats.by_status[500] == 1


async def test_a_list_that_the_registry_fails_to_count_sorted(database: Path) -> None:
    async with served(database) as (registry, client):
        for resource, column in (("objects", "state"), ("events", "outcome")):
            await registry.changes.apply(spoil(database, resource, column))
        rows = await rows_of(listed(client, RESOURCES["objects"], sort="identifier__asc"))
        assert sorted(ids(rows)) == ids(list(records(database, "objects")))
        with pytest.raises(UncountableError) as raised:
            await rows_of(listed(client, RESOURCES["events"], sort="date_time__desc"))
        assert "date_time__gteq=1900-01-01" in raised.value.mend
        since = [("date_time__gteq", "1900-01-01")]
        rows = await rows_of(listed(client, RESOURCES["events"], since, sort="date_time__desc"))
        assert len(rows) == sum(1 for row in records(database, "events") if row["date_time"] > "1900")


async def pages_of(numbers: list[int], size: int) -> AsyncGenerator[list[dict[str, Any]], None]:
    for start in range(0, len(numbers), size):
        yield [{"id": number} for number in numbers[start : start + size]]


@given(st.dictionaries(st.integers(1, 1000), st.integers(0, 2)), st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_walks_are_merged_by_id(walk_of: dict[int, int], sizes: list[int]) -> None:
    """Each id in one of three walks, the pages of each of another size."""
    walks = [pages_of(sorted(n for n, walk in walk_of.items() if walk == part), sizes[part]) for part in range(3)]

    async def merged() -> list[int]:
        pages = [rows async for rows in _merged(walks)]
        assert all(pages), "no page is empty"
        return [row["id"] for rows in pages for row in rows]

    assert asyncio.run(merged()) == sorted(walk_of)


@given(st.lists(st.integers(1, 1 << 18) | st.integers(1, 1 << 50)))
def test_a_set_of_ids_is_a_set(numbers: list[int]) -> None:
    seen, ours = set[int](), Ids()
    for number in numbers:
        assert ours.add(number) is (number not in seen)
        seen.add(number)
        assert ours.size == len(seen)


def test_every_list_whose_count_can_fail_is_spoilt_above() -> None:
    assert {resource for resource, _ in SPOILT} == {name for name, resource in RESOURCES.items() if resource.cached_by}
