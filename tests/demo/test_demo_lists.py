"""Lists: paging, count, order, values, as observed on the real server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from harvester.demo import CollectionSpec, DemoRegistry, RefreshCounts, build, records

from .conftest import Client, asking

RESOURCES = ("objects", "files", "events", "items", "checksums", "deletions", "alerts")


@pytest.mark.parametrize("resource", RESOURCES)
async def test_a_page_walk_by_id_gives_every_record(ask: Client, collection: Path, resource: str) -> None:
    rows, page = [], 1
    while batch := (await ask(f"{resource}?sort=id__asc&per_page=1000&page={page}")).rows:
        rows += batch
        page += 1
    assert rows == list(records(collection, resource))
    assert list(rows[0]) == list(next(records(collection, resource)))


async def test_the_default_page_has_20_rows_and_the_newest_change_first(ask: Client) -> None:
    answer = await ask("objects")
    assert len(answer.rows) == 20
    times = [row["updated_at"] for row in answer.rows]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    ("resource", "column"),
    [
        ("files", "updated_at"),
        ("items", "updated_at"),
        ("checksums", "datetime"),
        ("deletions", "requested_at"),
        ("alerts", "created_at"),
    ],
)
async def test_default_sorts_are_newest_first(ask: Client, resource: str, column: str) -> None:
    default = (await ask(f"{resource}?per_page=10")).rows
    assert [row[column] for row in default] == [
        row[column] for row in (await ask(f"{resource}?per_page=10&sort={column}__desc")).rows
    ]


async def test_a_page_far_past_the_end_is_null_with_200(ask: Client) -> None:
    answer = await ask("objects?page=99&per_page=100")
    assert answer.status == 200
    expected = b'{"count":90,"next":"","previous":"/member-api/v3/objects?page=98\\u0026per_page=100","results":null}'
    assert answer.body == expected


async def test_links_are_relative_sorted_and_escaped(ask: Client) -> None:
    answer = await ask("objects?sort=id__asc&per_page=30&page=2&identifier__starts_with=institution%261")
    assert b'"previous":"/member-api/v3/objects?identifier__starts_with=institution%261\\u0026page=1' in answer.body
    answer = await ask("objects?sort=id__asc&per_page=30&page=2")
    assert answer.json["next"] == "/member-api/v3/objects?page=3&per_page=30&sort=id__asc"
    assert answer.json["previous"] == "/member-api/v3/objects?page=1&per_page=30&sort=id__asc"


async def test_per_page_is_capped_after_the_offset_is_computed(ask: Client) -> None:
    everything = (await ask("events?sort=id__asc&per_page=0")).ids
    first = (await ask("events?sort=id__asc&per_page=1200")).ids
    second = (await ask("events?sort=id__asc&per_page=1200&page=2")).ids
    assert (first, second) == (everything[:1000], everything[1200:2200])


@pytest.mark.parametrize("per_page", ["0", "-5", "many"])
async def test_a_per_page_that_is_no_number_above_zero_switches_the_limit_off(
    ask: Client, collection: Path, per_page: str
) -> None:
    answer = await ask(f"events?sort=id__asc&per_page={per_page}")
    assert answer.rows == list(records(collection, "events"))
    assert len(answer.rows) > 2000
    assert answer.json["next"] == ""


async def test_without_limit_an_empty_list_is_null(ask: Client) -> None:
    assert (await ask("files?identifier=nothing&per_page=0")).json["results"] is None


async def test_a_client_may_leave_a_list_without_limit_halfway(registry: DemoRegistry) -> None:
    headers = {"X-Pharos-API-User": registry.email, "X-Pharos-API-Key": registry.api_key}
    async with aiohttp.ClientSession(registry.url, headers=headers) as session:
        async with session.get("/member-api/v3/events?per_page=0") as answer:
            await answer.content.readany()
        async with session.get("/member-api/v3/events?per_page=1") as answer:
            assert answer.status == 200


async def test_large_bodies_are_chunked_and_connections_kept(ask: Client, registry: DemoRegistry) -> None:
    answer = await ask("objects")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    await ask("files")
    assert registry.stats.connections == 1


async def test_a_walk_without_a_tie_breaker_loses_rows_and_repeats_others(ask: Client) -> None:
    ids = []
    for page in range(1, 10):
        ids += (await ask(f"objects?sort=storage_option__asc&per_page=10&page={page}")).ids
    assert len(ids) == 90
    assert len(set(ids)) < 85


async def test_sort_may_be_repeated_and_commas_are_not_split(ask: Client) -> None:
    answer = await ask("files?sort=state__asc&sort=id__desc&per_page=1000")
    keys = [(row["state"], -row["id"]) for row in answer.rows]
    assert keys == sorted(keys)
    answer = await ask("files?sort=created_at__asc,id__asc")
    assert len(answer.rows) == 20


async def test_an_unknown_sort_column_is_500(ask: Client) -> None:
    answer = await ask("files?sort=bogus__asc")
    assert (answer.status, answer.body) == (
        500,
        b'{"StatusCode":500,"Error":"ERROR #42703 column \\"bogus\\" does not exist"}',
    )


async def test_nulls_sort_as_the_largest(ask: Client) -> None:
    assert (await ask("events?sort=date_time__desc&per_page=1")).rows[0]["date_time"] == "0001-01-01T00:00:00Z"
    assert (await ask("events?sort=date_time__asc&per_page=1")).rows[0]["date_time"].startswith("2000")


async def test_html_and_line_separators_are_escaped_as_go_does(ask: Client) -> None:
    body = (await ask("events?per_page=0")).body
    assert b"\\u003cscript\\u003e" in body
    assert b"\\u2028" in body
    assert not any(raw in body for raw in (b"<", b">", b"&", "\u2028".encode(), "\u2029".encode()))


async def test_the_date_header_follows_the_clock(collection: Path) -> None:
    def clock() -> datetime:
        return datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)

    async with DemoRegistry(collection, clock=clock) as registry, asking(registry) as ask:
        assert (await ask("objects")).headers["Date"] == "Sun, 04 May 2031 03:02:01 GMT"


@pytest.mark.parametrize(
    ("query", "cached"),
    [
        ("objects?", True),
        ("objects?state=A&institution_id=2", True),
        ("objects?created_at__lteq=2030-01-01", False),
        ("files?state=A", True),
        ("files?identifier__bogus=&storage_option=Standard", False),
        ("events?event_type=ingestion&outcome=Success", True),
        ("events?generic_file_id__is_null=true", False),
        ("items?action=Ingest", True),
        ("items?action__in=Ingest", False),
        ("checksums?", False),
        ("deletions?", False),
        ("alerts?", False),
    ],
)
async def test_count_is_stale_when_all_filters_are_counted_ones(
    changing: DemoRegistry, ask_changing: Client, query: str, cached: bool
) -> None:
    truth = (await ask_changing(f"{query}&per_page=0&sort=id__asc")).json["count"]
    assert truth == len((await ask_changing(f"{query}&per_page=0&sort=id__asc")).rows)
    await changing.changes.apply(RefreshCounts(off_by=7))
    assert (await ask_changing(query)).json["count"] == truth + 7 * cached


@pytest.mark.parametrize(("off_by", "pages"), [(-40, 5), (40, 13)])
async def test_a_walk_by_next_believes_the_stale_count(
    changing: DemoRegistry, ask_changing: Client, off_by: int, pages: int
) -> None:
    await changing.changes.apply(RefreshCounts(off_by=off_by))
    link, seen = "objects?per_page=10&sort=id__asc", 0
    while link:
        answer = await ask_changing(link)
        seen, link = seen + 1, answer.json["next"]
    assert seen == pages


async def test_an_institution_not_yet_counted_has_a_full_page_and_no_next(tmp_path: Path) -> None:
    build(tmp_path / "a.db", CollectionSpec(objects=30, stale_counts="missing"))
    async with DemoRegistry(tmp_path / "a.db") as registry, asking(registry) as ask:
        answer = await ask("objects")
        assert (answer.json["count"], answer.json["next"], len(answer.rows)) == (0, "", 20)


async def test_the_spec_can_make_counts_stale(tmp_path: Path) -> None:
    build(tmp_path / "a.db", CollectionSpec(objects=30, stale_counts=-7))
    async with DemoRegistry(tmp_path / "a.db") as registry, asking(registry) as ask:
        assert (await ask("objects")).json["count"] == 23


@pytest.mark.parametrize(
    "target", ["objects.state", "files.state", "events.event_type", "events.outcome", "items.action"]
)
async def test_a_null_in_a_counted_column_fails_every_cached_count(tmp_path: Path, target: str) -> None:
    build(tmp_path / "a.db", CollectionSpec(objects=10, null_counted=(target,)))
    resource, column = target.split(".")
    async with DemoRegistry(tmp_path / "a.db") as registry, asking(registry) as ask:
        for query in (f"{resource}?per_page=5", f"{resource}?{column}=A"):
            answer = await ask(query)
            assert (answer.status, answer.json["Error"]) == (500, "pg: multiple rows in result set")
        for exact in EXACT[resource]:
            assert (await ask(f"{resource}?{exact}")).status == 200


EXACT = {
    "objects": ["created_at__lteq=2030-01-01"],
    "files": ["created_at__lteq=2030-01-01"],
    "events": ["generic_file_id__is_null=true", "generic_file_id__is_null=false"],
    "items": ["retry=true", "retry=false"],
}


async def test_null_partition_of_events_is_exact(ask: Client, collection: Path) -> None:
    of_objects = (await ask("events?generic_file_id__is_null=true&per_page=0&sort=id__asc")).json
    of_files = (await ask("events?generic_file_id__is_null=false&per_page=0&sort=id__asc")).json
    assert {row["generic_file_id"] for row in of_objects["results"]} == {0}
    assert of_objects["count"] == len(of_objects["results"])
    total = sum(1 for _ in records(collection, "events"))
    assert of_objects["count"] + of_files["count"] == total


async def test_events_of_an_object_include_its_files_events(ask: Client, collection: Path) -> None:
    wanted = next(o for o in records(collection, "objects") if o["file_count"] > 2)
    answer = await ask(f"events?intellectual_object_id={wanted['id']}&per_page=0")
    assert {row["generic_file_id"] == 0 for row in answer.rows} == {True, False}
    by_name = await ask(f"events?intellectual_object_identifier={quote(wanted['identifier'])}&per_page=0")
    assert sorted(by_name.ids) == sorted(answer.ids)


async def test_deleted_rows_are_listed_unless_filtered(ask: Client) -> None:
    assert {row["state"] for row in (await ask("files?per_page=1000")).rows} == {"A", "D"}
    assert {row["state"] for row in (await ask("files?per_page=1000&state=D")).rows} == {"D"}


async def test_a_file_has_its_newest_digest_of_each_algorithm(ask: Client, collection: Path) -> None:
    digests: dict[tuple[int, str], tuple[str, int, str]] = {}
    for row in records(collection, "checksums"):
        when = "9" if row["datetime"].startswith("0001") else row["datetime"].replace("Z", "").ljust(26, "0")
        key, candidate = (row["generic_file_id"], row["algorithm"]), (when, row["id"], row["digest"])
        digests[key] = max(candidate, digests.get(key, candidate))
    rows = (await ask("files?per_page=0&sort=id__asc")).rows
    for row in rows:
        for algorithm in ("md5", "sha1", "sha256", "sha512"):
            expected = digests.get((row["id"], algorithm))
            if expected is None or expected[0] != "9":
                assert row[algorithm] == (expected[2] if expected else "")
    assert any(row["md5"] == "" for row in rows)
    assert any(row["sha512"] for row in rows)


async def test_who_cancelled_a_deletion_is_named_after_who_confirmed(ask: Client) -> None:
    rows = (await ask("deletions?per_page=0")).rows
    confirmed = next(row for row in rows if row["confirmed_by_id"])
    cancelled = next(row for row in rows if row["cancelled_by_id"])
    assert (confirmed["cancelled_by_id"], confirmed["cancelled_by_name"]) == (0, "Inst 1 Admin")
    assert (cancelled["cancelled_by_name"], cancelled["confirmed_at"]) == ("", "0001-01-01T00:00:00Z")
