"""A restoration is asked for once, whatever becomes of the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harvester.ask import in_the_way, request_restoration, restores
from harvester.demo import ADMIN_EMAIL, EMAIL, Fault, InsertItem, RequestRestoration, UpdateItem, records
from harvester.errors import (
    ConflictError,
    DeniedError,
    HarvesterError,
    MaintenanceError,
    NotFoundError,
    SlowError,
    TransientError,
)
from tests.ask.at_work import Shop, at_work

POST = "/admin-api/v3/objects/init_restore/"


def an_object(shop: Shop) -> dict[str, Any]:
    return next(row for row in records(shop.database, "objects") if row["state"] == "A" and row["bag_name"])


def posts(shop: Shop) -> int:
    return sum(line.startswith(POST) for line in shop.asked())


def made(shop: Shop) -> list[dict[str, Any]]:
    return list(records(shop.database, "items"))


async def test_an_administrator_gets_a_work_item(tmp_path: Path) -> None:
    async with at_work(tmp_path, email=ADMIN_EMAIL) as shop:
        target = an_object(shop)
        item = await request_restoration(shop.client, target)
        assert (item["intellectual_object_id"], item["status"]) == (target["id"], "Pending")
        assert posts(shop) == 1
        assert restores(item, target)
        assert not restores(item | {"action": "Delete"}, target)
        assert not restores(item, target | {"id": 0})


async def test_a_member_is_told_where_it_can_be_done(tmp_path: Path) -> None:
    async with at_work(tmp_path, email=EMAIL) as shop:
        target = an_object(shop)
        with pytest.raises(DeniedError) as caught:
            await request_restoration(shop.client, target)
        assert caught.value.mend.endswith(f"{shop.registry.url}/objects/show/{target['id']}")
        assert made(shop) == []


@pytest.mark.parametrize("fault", [Fault("truncated", path=POST), Fault("reset_body", path=POST)])
async def test_an_answer_that_was_lost_is_found_under_items(tmp_path: Path, fault: Fault) -> None:
    async with at_work(tmp_path, email=ADMIN_EMAIL) as shop:
        target = an_object(shop)
        earlier = await shop.do(RequestRestoration(target["id"]))
        await shop.do(UpdateItem(earlier, status="Success"))
        shop.registry.add_fault(fault)
        item = await request_restoration(shop.client, target)
        assert posts(shop) == 1
        assert [row["id"] for row in made(shop)] == [earlier, item["id"]]


async def test_a_lost_answer_is_found_even_if_the_restoration_is_done_by_then(tmp_path: Path) -> None:
    async with at_work(tmp_path, email=ADMIN_EMAIL) as shop:
        target = an_object(shop)
        shop.registry.add_fault(Fault("truncated", path=POST))
        shop.registry.changes.schedule(UpdateItem(1, status="Success"), after=1)  # after the look before the request
        item = await request_restoration(shop.client, target)
        assert (item["id"], item["status"]) == (1, "Success")
        assert posts(shop) == 1


@pytest.mark.parametrize("fault", [Fault("reset", path=POST), Fault("status", path=POST, status=500)])
async def test_a_request_that_was_not_heard_is_sent_once_more_after_a_look(tmp_path: Path, fault: Fault) -> None:
    async with at_work(tmp_path, email=ADMIN_EMAIL) as shop:
        target = an_object(shop)
        earlier = await shop.do(RequestRestoration(target["id"]))
        await shop.do(UpdateItem(earlier, status="Success"))
        shop.registry.add_fault(fault)
        item = await request_restoration(shop.client, target)
        paths = [line.partition("?")[0] for line in shop.asked()]
        assert paths == ["items", f"{POST}{target['id']}", "items", f"{POST}{target['id']}"]
        assert [row["id"] for row in made(shop)] == [earlier, item["id"]]


@pytest.mark.parametrize(
    ("fault", "error", "requests"),
    [
        (Fault("reset", path=POST, times=None), TransientError, 2),
        (Fault("status", path=POST, status=524, times=None), SlowError, 1),
        (Fault("maintenance", path=POST, seconds=0, times=1), MaintenanceError, 1),
    ],
)
async def test_it_gives_up_rather_than_ask_too_often(
    tmp_path: Path, fault: Fault, error: type[HarvesterError], requests: int
) -> None:
    async with at_work(tmp_path, email=ADMIN_EMAIL) as shop:
        shop.registry.add_fault(fault)
        with pytest.raises(error) as caught:
            await request_restoration(shop.client, an_object(shop))
        assert posts(shop) == requests
        assert made(shop) == []
        if error is not MaintenanceError:
            assert "harvester items --report restorations" in caught.value.mend


@pytest.mark.parametrize("by_name", [False, True])
async def test_what_is_in_the_way_is_found(tmp_path: Path, by_name: bool) -> None:
    async with at_work(tmp_path, email=ADMIN_EMAIL) as shop:
        target = an_object(shop)
        other = InsertItem(f"{target['bag_name']}.tar") if by_name else RequestRestoration(target["id"])
        number = await shop.do(other)
        await shop.do(UpdateItem(number, status="Suspended"))
        with pytest.raises(ConflictError, match="pending work items"):
            await request_restoration(shop.client, target)
        assert posts(shop) == 1
        found = await in_the_way(shop.client, target)
        assert found is not None
        assert found["id"] == number
        await shop.do(UpdateItem(number, status="Failed"))
        assert await in_the_way(shop.client, target) is None


async def test_an_unknown_object_is_not_found(tmp_path: Path) -> None:
    async with at_work(tmp_path, email=ADMIN_EMAIL) as shop:
        with pytest.raises(NotFoundError):
            await request_restoration(shop.client, an_object(shop) | {"id": 999_999})
