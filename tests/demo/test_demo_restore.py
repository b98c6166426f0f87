"""APTrust's own administrators: they see everybody's records and may ask for restorations; work items move on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from harvester.demo import (
    ADMIN_EMAIL,
    DEACTIVATED_EMAIL,
    OWN_INSTITUTION,
    DemoRegistry,
    Fault,
    InsertItem,
    RequestRestoration,
    UpdateItem,
    records,
)

from .conftest import Client, asking

RESTORE = "/admin-api/v3/objects/init_restore/"
UNDER_WAY = "task cannot be completed because this object has pending work items"
DONE = {"Cancelled", "Failed", "Success"}


@pytest.fixture
async def admin(changing: DemoRegistry) -> AsyncIterator[Client]:
    async with asking(changing, ADMIN_EMAIL) as client:
        yield client


def idle(database: Path, glacier: bool = False) -> dict[str, Any]:
    """An object without work under way."""
    busy = {row["intellectual_object_id"] for row in records(database, "items") if row["status"] not in DONE}
    return next(
        row
        for row in records(database, "objects")
        if row["id"] not in busy and row["storage_option"].startswith("Glacier") is glacier
    )


async def test_an_administrator_sees_all_institutions(admin: Client, collection: Path) -> None:
    for resource in ("objects", "items"):
        both = [list(records(collection, resource, number)) for number in (OWN_INSTITUTION, OWN_INSTITUTION + 1)]
        everything = (await admin(f"{resource}?per_page=1000")).json
        assert {row["id"] for row in everything["results"]} == {row["id"] for rows in both for row in rows}
        assert everything["count"] == len(everything["results"])
        theirs = (await admin(f"{resource}?institution_id={OWN_INSTITUTION + 1}&per_page=1000&sort=id__asc")).json
        assert theirs["results"] == both[1]
        assert theirs["count"] == len(both[1])
        assert (await admin(f"{resource}/show/{both[1][0]['id']}")).json == both[1][0]


async def test_a_restoration_is_a_new_work_item(admin: Client, changeable: Path) -> None:
    target = idle(changeable)
    answer = await admin(f"{RESTORE}{target['id']}", "POST")
    made = answer.json
    assert answer.status == 201
    assert (made["action"], made["stage"], made["status"]) == ("Restore Object", "Requested", "Pending")
    assert (made["intellectual_object_id"], made["user"]) == (target["id"], ADMIN_EMAIL)
    assert "object_identifier" not in made
    (listed,) = (await admin(f"items?intellectual_object_id={target['id']}&status=Pending")).rows
    assert made.items() <= listed.items()
    assert listed["object_identifier"] == target["identifier"]
    assert (await admin(f"items/show/{made['id']}")).json == listed


async def test_glacier_is_thawed_first(admin: Client, changeable: Path) -> None:
    assert (await admin(f"{RESTORE}{idle(changeable, glacier=True)['id']}", "POST")).json["action"] == "Glacier Restore"


@pytest.mark.parametrize(("status", "code"), [("Started", 409), ("Suspended", 409), ("Success", 201), ("Failed", 201)])
async def test_one_at_a_time(admin: Client, changing: DemoRegistry, changeable: Path, status: str, code: int) -> None:
    target = idle(changeable)
    made = (await admin(f"{RESTORE}{target['id']}", "POST")).json
    await changing.changes.apply(UpdateItem(made["id"], status=status))
    answer = await admin(f"{RESTORE}{target['id']}", "POST")
    assert answer.status == code
    if code == 409:
        assert answer.json == {"StatusCode": 409, "Error": UNDER_WAY}


async def test_a_bag_of_the_same_name_on_its_way_in_is_pending_work(
    admin: Client, changing: DemoRegistry, changeable: Path
) -> None:
    target = idle(changeable)
    await changing.changes.apply(InsertItem(f"{target['bag_name']}.tar"))
    assert (await admin(f"{RESTORE}{target['id']}", "POST")).status == 409


async def test_members_are_refused(ask_changing: Client, changing: DemoRegistry, changeable: Path) -> None:
    before = list(records(changeable, "items"))
    answer = await ask_changing(f"{RESTORE}{idle(changeable)['id']}", "POST")
    assert answer.status == 403
    assert answer.json == {
        "error": f"Permission denied for {RESTORE}:id (institution 0). non-admins must use the member api"
    }
    async with asking(changing, DEACTIVATED_EMAIL) as former:
        assert (await former(f"{RESTORE}1", "POST")).status == 403
    async with asking(changing, ADMIN_EMAIL, "wrong") as stranger:
        assert (await stranger(f"{RESTORE}1", "POST")).status == 401
    assert list(records(changeable, "items")) == before


@pytest.mark.parametrize("path", [f"{RESTORE}1", "/admin-api/v3/objects", f"{RESTORE}x", "/admin-api/v3/"])
async def test_only_post_and_only_there(admin: Client, path: str) -> None:
    assert (await admin(path)).status == 404
    if path != f"{RESTORE}1":
        assert (await admin(path, "POST")).status == 404


async def test_an_unknown_object_is_not_found(admin: Client) -> None:
    answer = await admin(f"{RESTORE}999999", "POST")
    assert (answer.status, answer.json) == (404, {"error": f"Not found: {RESTORE}999999"})


async def test_an_answer_that_breaks_off_comes_after_the_work_item(
    admin: Client, changing: DemoRegistry, changeable: Path
) -> None:
    target = idle(changeable)
    changing.add_fault(Fault("truncated", path="init_restore"))
    assert not (await admin(f"{RESTORE}{target['id']}", "POST")).body.endswith(b"}")
    assert (await admin(f"{RESTORE}{target['id']}", "POST")).status == 409


async def test_a_work_item_moves_on_and_keeps_what_is_not_said(changeable: Path) -> None:
    moment = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
    async with DemoRegistry(changeable, clock=lambda: moment) as registry:
        (number,) = (await registry.changes.apply(InsertItem("a.tar")))["items"]
        moment = datetime(2027, 1, 2, 3, 5, 5, tzinfo=UTC)
        await registry.changes.apply(UpdateItem(number, stage="Store", status="Started"))
        await registry.changes.apply(UpdateItem(number, note="Half of it", outcome="So far so good"))
    row = next(row for row in records(changeable, "items") if row["id"] == number)
    assert (row["name"], row["action"], row["stage"], row["status"]) == ("a.tar", "Ingest", "Store", "Started")
    assert (row["note"], row["outcome"]) == ("Half of it", "So far so good")
    assert (row["created_at"], row["date_processed"], row["updated_at"]) == (
        "2027-01-02T03:04:05Z",
        "2027-01-02T03:05:05Z",
        "2027-01-02T03:05:05Z",
    )


async def test_changes_of_work_items_can_be_ordered_over_http(ask_changing: Client, changeable: Path) -> None:
    target = idle(changeable)
    orders: list[dict[str, Any]] = [{"change": "InsertItem", "name": "b.tar"}]
    (made,) = (await ask_changing("/demo/changes", "POST", json=orders)).json
    orders = [
        {"change": "UpdateItem", "item_id": made["items"][0], "status": "Failed"},
        {"change": "RequestRestoration", "object_id": target["id"]},
    ]
    assert (await ask_changing("/demo/changes", "POST", json=orders)).status == 200
    again = await ask_changing("/demo/changes", "POST", json=[orders[1]])
    assert (again.status, again.json) == (400, {"error": f"PendingWorkError: {UNDER_WAY}"})
    assert (await ask_changing(f"items/show/{made['items'][0]}")).json["status"] == "Failed"
    assert RequestRestoration(1) == RequestRestoration(1, ADMIN_EMAIL)
