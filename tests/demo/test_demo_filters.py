"""Filters: which are taken, how they compare, and what a wrong one gets."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from harvester.demo import records

from .conftest import Client

ACCEPTED = {
    "objects": "access=x alt_identifier=x alt_identifier__starts_with=x bag_group_identifier=x"
    " bag_group_identifier__starts_with=x bagit_profile_identifier=x created_at__gteq=2020-01-01"
    " created_at__lteq=2020-01-01 etag=x file_count__gteq=1 file_count__lteq=1 identifier=x identifier__starts_with=x"
    " internal_sender_identifier=x size__gteq=1 size__lteq=1 state=A storage_option=x updated_at__gteq=2020-01-01"
    " updated_at__lteq=2020-01-01 institution_id=2 bag_name=x institution_parent_id=1 internal_sender_description=x"
    " source_organization=x",
    "files": "created_at__gteq=2020-01-01 created_at__lteq=2020-01-01 identifier=x intellectual_object_id=1"
    " last_fixity_check__gteq=2020-01-01 last_fixity_check__lteq=2020-01-01 size__gteq=1 size__lteq=1 state=A"
    " storage_option=x storage_option__in=x updated_at__gteq=2020-01-01 updated_at__lteq=2020-01-01 uuid=x"
    " institution_id=2",
    "events": "date_time__gteq=2020-01-01 date_time__lteq=2020-01-01 event_type=x generic_file_id=1"
    " generic_file_id__is_null=true generic_file_identifier=x identifier=x intellectual_object_id=1"
    " intellectual_object_identifier=x outcome=x institution_id=2",
    "items": "action=x action__in=x alt_identifier=x bag_date__gteq=2020-01-01 bag_date__lteq=2020-01-01"
    " bag_group_identifier=x bagit_profile_identifier=x bucket=x date_processed__gteq=2020-01-01"
    " date_processed__lteq=2020-01-01 etag=x generic_file_id=1 generic_file_id__is_null=true"
    " generic_file_identifier=x institution_id=2 intellectual_object_id=1 intellectual_object_id__is_null=true name=x"
    " needs_admin_review=true node__is_null=true node__not_null=true object_identifier=x queued_at__is_null=true"
    " queued_at__not_null=true retry=true size__gteq=1 size__lteq=1 stage=x stage__in=x status=x status__in=x"
    " storage_option=x user=x",
    "checksums": "algorithm=x datetime__gteq=2020-01-01 datetime__lteq=2020-01-01 digest=x generic_file_id=1"
    " generic_file_identifier=x intellectual_object_id=1 state=A institution_id=2",
    "deletions": "requested_at__gteq=2020-01-01 requested_at__lteq=2020-01-01 institution_id=2",
    "alerts": "created_at__gteq=2020-01-01 created_at__lteq=2020-01-01 type=x user_id=20 institution_id=2",
}


@pytest.mark.parametrize("resource", ACCEPTED)
async def test_every_filter_the_real_server_takes_is_taken(ask: Client, resource: str) -> None:
    for pair in ACCEPTED[resource].split():
        answer = await ask(f"{resource}?{pair}")
        assert answer.status == 200, (pair, answer.body)


@pytest.mark.parametrize(
    "query",
    [
        "objects?bogus=1",
        "objects?id=1",
        "files?id__gteq=1",
        "files?intellectual_object_identifier=x",
        "items?node__is_not_null=true",
        "items?queued_at__is_not_null=true",
        "deletions?stage=x",
        "deletions?status=x",
        "events?created_at__gteq=2020-01-01",
        "events?date_time__gt=2020-01-01",
    ],
)
async def test_any_other_filter_is_500(ask: Client, query: str) -> None:
    name = query.partition("?")[2].partition("=")[0]
    answer = await ask(query)
    assert answer.status == 500
    assert answer.body == f'{{"StatusCode":500,"Error":"Invalid query params: {name}"}}'.encode()


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("files?created_at__gteq=x", 'ERROR #22007 invalid input syntax for type timestamp with time zone: "x"'),
        (
            "files?created_at__gteq=2026-01-31T10:00:00+01:00",
            'ERROR #22007 invalid input syntax for type timestamp with time zone: "2026-01-31T10:00:00 01:00"',
        ),
        ("files?size__gteq=x", 'ERROR #22P02 invalid input syntax for type bigint: "x"'),
        ("items?retry=perhaps", 'ERROR #22P02 invalid input syntax for type boolean: "perhaps"'),
    ],
)
async def test_a_malformed_value_is_500(ask: Client, query: str, error: str) -> None:
    answer = await ask(query)
    assert (answer.status, answer.json) == (500, {"StatusCode": 500, "Error": error})


async def test_an_empty_value_is_ignored(ask: Client) -> None:
    assert (await ask("objects?identifier=&sort=id__asc&created_at__gteq=&bogus=")).json["count"] == 90


async def test_the_first_value_of_a_repeated_filter_counts(ask: Client) -> None:
    once = await ask("files?state=D&per_page=0&sort=id__asc")
    assert (await ask("files?state=D&state=A&per_page=0&sort=id__asc")).ids == once.ids


async def test_repeated_values_of_in_are_all_wanted(ask: Client) -> None:
    answer = await ask("items?action__in=Ingest&action__in=Delete&per_page=0")
    assert {row["action"] for row in answer.rows} == {"Ingest", "Delete"}


async def test_another_institution_is_403_and_our_own_allowed(ask: Client) -> None:
    answer = await ask("objects?institution_id=3")
    assert (answer.status, answer.body) == (
        403,
        b'{"error":"Permission denied for /member-api/v3/objects (institution 3)."}',
    )
    assert (await ask("objects?institution_id=2")).json["count"] == 90


async def test_time_windows_include_both_ends_to_the_microsecond(ask: Client, collection: Path) -> None:
    event = next(row for row in records(collection, "events") if len(row["date_time"]) == 27)
    moment = event["date_time"]
    answer = await ask(f"events?date_time__gteq={moment}&date_time__lteq={moment}")
    assert event["id"] in answer.ids
    assert {row["date_time"] for row in answer.rows} == {moment}
    later = f"{moment[:-1]}9Z"
    assert event["id"] not in (await ask(f"events?date_time__gteq={later}&date_time__lteq={later}")).ids


@pytest.mark.parametrize("end", ["2020-06-01", "2020-06-01T00:00:00Z", "2020-06-01T02:00:00%2B02:00"])
async def test_dates_and_zones_name_the_same_instant(ask: Client, collection: Path, end: str) -> None:
    expected = sum(row["created_at"] <= "2020-06-01T00:00:00Z" for row in records(collection, "files"))
    assert (await ask(f"files?created_at__lteq={end}")).json["count"] == expected


async def test_an_event_without_date_is_in_no_window(ask: Client, collection: Path) -> None:
    dated = sum(not row["date_time"].startswith("0001") for row in records(collection, "events"))
    answer = await ask("events?date_time__gteq=0001-01-01&date_time__lteq=9999-01-01")
    assert 0 < answer.json["count"] == dated < sum(1 for _ in records(collection, "events"))


async def test_starts_with_ignores_case_and_knows_wildcards(ask: Client) -> None:
    everything = (await ask("objects?identifier__starts_with=INSTITUTION1.EDU")).json["count"]
    assert everything > 50
    assert (await ask("objects?identifier__starts_with=%25.edu_bag")).json["count"] > 50
    assert (await ask("objects?identifier__starts_with=institution1%5C_edu")).json["count"] == 0


async def test_size_filters_drop_objects_without_active_files(ask: Client, collection: Path) -> None:
    with_files = sum(row["file_count"] > 0 for row in records(collection, "objects"))
    assert (await ask("objects?size__gteq=0")).json["count"] == with_files < 90
    empty = await ask("objects?file_count__lteq=0&per_page=0")
    assert not set(empty.ids) & set((await ask("objects?size__lteq=0&per_page=0")).ids)
    assert {row["size"] for row in empty.rows} == {0}


async def test_the_user_filter_of_items_finds_nobody(ask: Client) -> None:
    answer = await ask("items?user=user@inst1.edu")
    assert (answer.status, answer.json["count"], answer.json["results"]) == (200, 0, None)


async def test_nullness_of_a_column(ask: Client) -> None:
    free = await ask("items?node__is_null=true&per_page=0")
    busy = await ask("items?node__not_null=true&per_page=0")
    assert {row["node"] for row in free.rows} == {""}
    assert "" not in {row["node"] for row in busy.rows}
    assert len(free.rows) + len(busy.rows) == 200


async def test_filters_compare_nasty_texts_exactly(ask: Client, collection: Path) -> None:
    for row in records(collection, "objects"):
        answer = await ask(f"objects?identifier={quote(row['identifier'], safe='')}")
        assert answer.rows == [row]


async def test_booleans_numbers_and_digests(ask: Client, collection: Path) -> None:
    assert {row["retry"] for row in (await ask("items?retry=false&per_page=0")).rows} == {False}
    checksum = next(records(collection, "checksums"))
    assert checksum["id"] in (await ask(f"checksums?digest={checksum['digest']}")).ids
    of_object = await ask(f"checksums?intellectual_object_id={checksum['intellectual_object_id']}&per_page=0")
    assert checksum["id"] in of_object.ids
    by_name = quote(checksum["generic_file_identifier"], safe="")
    assert checksum["id"] in (await ask(f"checksums?generic_file_identifier={by_name}")).ids


async def test_a_filter_may_be_very_long(ask: Client) -> None:
    answer = await ask(f"objects?alt_identifier={'%E5%9B%BE' * 5000}")
    assert (answer.status, answer.json["count"]) == (200, 0)
