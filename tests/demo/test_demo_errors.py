"""Single records, refusals, and everything that is not a list."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from harvester.demo import (
    API_KEY,
    DEACTIVATED_EMAIL,
    EMAIL,
    KEYLESS_EMAIL,
    OTHER_EMAIL,
    DemoRegistry,
    records,
)

from .conftest import API, Client, asking

UNAUTHORIZED = b'{"Error":"API credentials are missing or invalid.","StatusCode":401}'


@pytest.mark.parametrize("resource", ["objects", "events", "items", "checksums", "deletions"])
async def test_a_record_is_shown_as_listed(ask: Client, collection: Path, resource: str) -> None:
    record = next(records(collection, resource))
    assert (await ask(f"{resource}/show/{record['id']}")).json == record


async def test_an_alert_is_shown_to_its_user_only(ask: Client, collection: Path) -> None:
    record = next(records(collection, "alerts"))
    assert (await ask(f"alerts/show/{record['id']}/{record['user_id']}")).json == record
    assert (await ask(f"alerts/show/{record['id']}/1")).status == 404


async def test_objects_and_files_are_found_by_any_identifier_percent_encoded(ask: Client, collection: Path) -> None:
    for resource in ("objects", "files"):
        for record in list(records(collection, resource))[:400]:
            if not record["identifier"].isdigit():
                answer = await ask(f"{resource}/show/{quote(record['identifier'], safe='')}")
                assert (answer.status, answer.json["id"]) == (200, record["id"])


async def test_slashes_of_an_identifier_need_not_be_encoded(ask: Client) -> None:
    assert (await ask("objects/show/institution1.edu/bag_000001")).status == 200


async def test_an_event_is_found_by_its_uuid(ask: Client, collection: Path) -> None:
    record = next(records(collection, "events"))
    assert (await ask(f"events/show/{record['identifier']}")).json == record


async def test_an_all_digit_path_is_always_an_id(ask: Client, collection: Path) -> None:
    record = next(row for row in records(collection, "objects") if row["identifier"].isdigit())
    assert (await ask(f"objects/show/{record['identifier']}")).status == 404


async def test_a_file_is_shown_with_its_events_and_checksums_newest_first(ask: Client, collection: Path) -> None:
    shown = [(await ask(f"files/show/{row['id']}")).json for row in list(records(collection, "files"))[:30]]
    assert all(
        " ".join(entry)
        == "id created_at updated_at file_format size identifier intellectual_object_id state last_fixity_check"
        " institution_id storage_option uuid premis_events checksums storage_records mtime"
        for entry in shown
    )
    rich = next(entry for entry in shown if entry["checksums"])
    assert " ".join(rich["premis_events"][0]) == (
        "id created_at updated_at agent date_time detail event_type generic_file_id identifier institution_id"
        " intellectual_object_id object old_uuid outcome outcome_detail outcome_information"
    )
    assert list(rich["checksums"][0]) == [
        "id",
        "created_at",
        "updated_at",
        "algorithm",
        "datetime",
        "digest",
        "generic_file_id",
    ]
    assert list(rich["storage_records"][0]) == ["id", "generic_file_id", "url"]
    assert all(len(entry["premis_events"]) == 4 for entry in shown)
    times = [event["date_time"][:19] for event in rich["premis_events"] if event["date_time"] > "0002"]
    assert times == sorted(times, reverse=True)


async def test_a_record_that_does_not_exist_is_404(ask: Client) -> None:
    answer = await ask("objects/show/99999")
    assert (answer.status, answer.body) == (404, b'{"error":"Not found: /member-api/v3/objects/show/99999"}')


async def test_another_institutions_record_is_403(ask: Client, collection: Path) -> None:
    foreign = next(records(collection, "objects", 3))
    answer = await ask(f"objects/show/{foreign['id']}")
    assert answer.status == 403
    assert answer.body == b'{"error":"Permission denied for /member-api/v3/objects/show/*id (institution 3)."}'


@pytest.mark.parametrize(
    ("email", "key"),
    [
        (EMAIL, "wrong"),
        (EMAIL.upper(), API_KEY),
        ("nobody@institution1.edu", API_KEY),
        (KEYLESS_EMAIL, API_KEY),
        (KEYLESS_EMAIL, "None"),
    ],
)
async def test_wrong_credentials_are_401_on_every_request(registry: DemoRegistry, email: str, key: str) -> None:
    async with asking(registry, email, key) as ask:
        for path in ("objects", "objects/show/1", "objects?bogus=1"):
            answer = await ask(path)
            assert (answer.status, answer.body) == (401, UNAUTHORIZED)


async def test_a_deactivated_user_is_403(registry: DemoRegistry) -> None:
    async with asking(registry, DEACTIVATED_EMAIL) as ask:
        answer = await ask("objects")
        assert (answer.status, list(answer.json)) == (403, ["error"])


async def test_another_account_sees_its_own_institution_only(registry: DemoRegistry, collection: Path) -> None:
    async with asking(registry, OTHER_EMAIL) as ask:
        assert (await ask("files?sort=id__asc&per_page=0")).rows == list(records(collection, "files", 3))


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
async def test_anything_but_get_is_404(ask: Client, method: str) -> None:
    assert (await ask("objects", method)).status == 404


@pytest.mark.parametrize(
    "path", ["", "bogus", "objects/bogus/1", "/", "/member-api/v2/objects", "/admin-api/v3/objects"]
)
async def test_other_places_are_404(ask: Client, path: str) -> None:
    assert (await ask(path)).status == 404


async def test_a_trailing_slash_is_301(ask: Client) -> None:
    answer = await ask("objects/?page=2")
    assert (answer.status, answer.headers["Location"]) == (301, f"{API}objects?page=2")


async def test_the_maintenance_page_without_maintenance_has_no_results(ask: Client) -> None:
    answer = await ask("/maintenance?format=json")
    assert answer.status == 200
    assert "results" not in answer.json
