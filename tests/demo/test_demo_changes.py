"""The collection changes while it is read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harvester.demo import (
    AddEvents,
    DemoRegistry,
    InsertFiles,
    InsertObject,
    PutNull,
    RefreshCounts,
    SoftDeleteFile,
    SoftDeleteObject,
    UpdateObject,
    Vanish,
    records,
)

from .conftest import Client, asking


def an_object(database: Path, files: int = 3) -> dict[str, Any]:
    return next(row for row in records(database, "objects") if row["file_count"] >= files and row["state"] == "A")


async def test_an_inserted_object_is_new_whole_and_not_yet_counted(
    changing: DemoRegistry, ask_changing: Client
) -> None:
    before = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    made = await changing.changes.apply(InsertObject(files=4, events=3))
    (number,) = made["objects"]
    shown = (await ask_changing(f"objects/show/{number}")).json
    assert shown["created_at"] >= before
    assert (shown["file_count"], shown["payload_file_count"]) == (4, 4)
    assert (await ask_changing(f"files?intellectual_object_id={number}&sort=id__asc")).ids == made["files"]
    assert (await ask_changing(f"events?intellectual_object_id={number}&sort=id__asc")).ids == made["events"]
    assert len(made["events"]) == 4 * 3 + 1
    assert (await ask_changing("objects?sort=id__desc&per_page=1")).ids == [number]
    assert (await ask_changing("objects")).json["count"] == 90
    await changing.changes.apply(RefreshCounts())
    assert (await ask_changing("objects")).json["count"] == 91


async def test_the_clock_dates_changes(changeable: Path) -> None:
    def clock() -> datetime:
        return datetime(2027, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)

    async with DemoRegistry(changeable, clock=clock) as registry, asking(registry) as ask:
        made = await registry.changes.apply(InsertObject())
        assert (await ask(f"objects/show/{made['objects'][0]}")).json["created_at"] == "2027-01-02T03:04:05.6Z"


async def test_inserted_files_touch_their_object(
    changing: DemoRegistry, ask_changing: Client, changeable: Path
) -> None:
    target = an_object(changeable)
    await changing.changes.apply(InsertFiles(target["id"], files=5))
    shown = (await ask_changing(f"objects/show/{target['id']}")).json
    assert shown["file_count"] == target["file_count"] + 5
    assert shown["size"] > target["size"]
    assert shown["updated_at"] > target["updated_at"]


async def test_added_events_can_be_of_a_file_and_of_any_date(
    changing: DemoRegistry, ask_changing: Client, changeable: Path
) -> None:
    file = next(records(changeable, "files"))
    change = AddEvents(file["intellectual_object_id"], 2, file["id"], datetime(1999, 1, 1, tzinfo=UTC))
    made = await changing.changes.apply(change)
    shown = [(await ask_changing(f"events/show/{number}")).json for number in made["events"]]
    assert [event["date_time"] for event in shown] == ["1999-01-01T00:00:00Z"] * 2
    assert [event["generic_file_id"] for event in shown] == [file["id"]] * 2


async def test_a_soft_deleted_file_stays_listed_and_is_counted_no_more(
    changing: DemoRegistry, ask_changing: Client, changeable: Path
) -> None:
    target = an_object(changeable)
    files = (await ask_changing(f"files?intellectual_object_id={target['id']}&state=A&per_page=0")).rows
    await changing.changes.apply(SoftDeleteFile(files[0]["id"]))
    shown = (await ask_changing(f"objects/show/{target['id']}")).json
    assert shown["file_count"] == target["file_count"] - 1
    assert shown["size"] == target["size"] - files[0]["size"]
    assert (await ask_changing(f"files/show/{files[0]['id']}")).json["state"] == "D"


async def test_a_soft_deleted_object_has_no_active_files(
    changing: DemoRegistry, ask_changing: Client, changeable: Path
) -> None:
    target = an_object(changeable)
    await changing.changes.apply(SoftDeleteObject(target["id"]))
    shown = (await ask_changing(f"objects/show/{target['id']}")).json
    assert (shown["state"], shown["file_count"], shown["size"]) == ("D", 0, 0)
    assert {r["state"] for r in (await ask_changing(f"files?intellectual_object_id={target['id']}")).rows} == {"D"}


async def test_an_updated_object_is_first_in_the_default_order(
    changing: DemoRegistry, ask_changing: Client, changeable: Path
) -> None:
    target = an_object(changeable)
    await changing.changes.apply(UpdateObject(target["id"], "New title"))
    first = (await ask_changing("objects?per_page=1")).rows[0]
    assert (first["id"], first["title"]) == (target["id"], "New title")


@pytest.mark.parametrize("resource", ["objects", "files", "events", "items"])
async def test_a_vanished_row_is_404_and_gone_from_the_list(
    changing: DemoRegistry, ask_changing: Client, changeable: Path, resource: str
) -> None:
    number = an_object(changeable)["id"] if resource == "objects" else next(records(changeable, resource))["id"]
    await changing.changes.apply(Vanish(resource, number))
    assert (await ask_changing(f"{resource}/show/{number}")).status == 404
    assert number not in (await ask_changing(f"{resource}?per_page=0")).ids
    if resource == "objects":
        assert (await ask_changing(f"events?intellectual_object_id={number}")).rows == []


async def test_a_null_in_a_counted_column_spoils_counts(changing: DemoRegistry, ask_changing: Client) -> None:
    number = (await ask_changing("events?per_page=1")).ids[0]
    await changing.changes.apply(PutNull("events", "outcome", number, refresh=False))
    assert (await ask_changing("events")).status == 200
    await changing.changes.apply(PutNull("events", "outcome", number))
    assert (await ask_changing("events?event_type=ingestion")).status == 500
    assert (await ask_changing(f"events/show/{number}")).json["outcome"] == ""


async def test_a_scheduled_change_comes_after_so_many_list_requests(
    changing: DemoRegistry, ask_changing: Client
) -> None:
    changing.changes.schedule(InsertObject(), after=2)
    counts = []
    for _ in range(4):
        await ask_changing("objects/show/1")
        counts.append((await ask_changing("objects?created_at__lteq=2999-01-01")).json["count"])
    assert counts == [90, 90, 91, 91]
    assert len(changing.changes.applied) == 1


async def test_a_scheduled_change_can_wait_for_one_list(changing: DemoRegistry, ask_changing: Client) -> None:
    changing.changes.schedule(InsertObject(), after=1, path="files")
    await ask_changing("objects")
    await ask_changing("objects")
    await ask_changing("files")
    assert not changing.changes.applied
    await ask_changing("files")
    assert changing.changes.applied


async def test_changes_can_be_ordered_over_http(changing: DemoRegistry, ask_changing: Client) -> None:
    orders = [{"change": "InsertObject", "files": 1, "events": 0}, {"change": "RefreshCounts", "after": 1}]
    answer = await ask_changing("/demo/changes", "POST", json=orders)
    assert [list(made) if made else None for made in answer.json] == [["objects", "files", "events"], None]
    assert [(await ask_changing("objects")).json["count"] for _ in range(2)] == [90, 91]
    for wrong in ([{"change": "Bogus"}], [{"change": "SoftDeleteFile", "file_id": 0}], [{"files": 1}]):
        assert (await ask_changing("/demo/changes", "POST", json=wrong)).status == 400


async def test_a_failed_change_changes_nothing(changing: DemoRegistry, ask_changing: Client) -> None:
    with pytest.raises(LookupError):
        await changing.changes.apply(InsertFiles(object_id=999_999))
    await changing.changes.apply(InsertObject())
    assert len(changing.changes.applied) == 1
