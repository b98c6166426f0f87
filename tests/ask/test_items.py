"""Which work items a question means, and a set of them followed to its end."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harvester.ask import Change, Report, Watch, follow, query
from harvester.ask.items import LATE
from harvester.demo import OWN_INSTITUTION, Fault, InsertItem, UpdateItem, Vanish
from harvester.demo.database import connect
from harvester.errors import ConfigError, NotFoundError, TransientError
from harvester.registry import RegistryClient
from harvester.registry.resources import WORK_ITEMS
from tests.ask.at_work import at_work
from tests.registry.jumping import in_jumping_time, now

UNDER_WAY = query((), Report.INPROCESS, None)


def told(changes: list[Change]) -> list[tuple[str, str, str | None]]:
    return [(c.item["name"], c.item["status"], c.before["status"] if c.before else None) for c in changes]


@pytest.mark.parametrize(
    ("report", "name", "values"),
    [
        ("inprocess", "status__in", {"Pending", "Started"}),
        ("problems", "status__in", {"Cancelled", "Failed", "Suspended"}),
        ("restorations", "action__in", {"Glacier Restore", "Restore File", "Restore Object"}),
    ],
)
def test_the_reports_ask_what_those_of_apt_cmd_ask(report: str, name: str, values: set[str]) -> None:
    asked = query((("name", "a.tar"),), Report(report), "2026-10-25T00:00:00Z")
    assert set(asked) == {
        ("name", "a.tar"),
        ("date_processed__gteq", "2026-10-25T00:00:00Z"),
        *((name, value) for value in values),
    }


def test_a_filter_that_a_report_says_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="status__in"):
        query((("status__in", "Failed"),), Report.INPROCESS, None)
    with pytest.raises(ConfigError, match="twice"):
        query((("date_processed__gteq", "2026-01-01"),), None, "2026-01-02")


async def test_a_look_tells_what_is_new_and_what_has_moved(tmp_path: Path) -> None:
    async with at_work(tmp_path) as shop:
        first, second = await shop.do_all(InsertItem("a.tar"), InsertItem("b.tar"))
        watch = Watch(shop.client, UNDER_WAY)
        assert told(await watch.look()) == [("a.tar", "Pending", None), ("b.tar", "Pending", None)]
        assert await watch.look() == []
        await shop.do(UpdateItem(second, status="Started", stage="Validate"))
        await shop.do(InsertItem("c.tar"))
        assert told(await watch.look()) == [("b.tar", "Started", "Pending"), ("c.tar", "Pending", None)]
        await shop.do(UpdateItem(first, note="still waiting"))
        assert await watch.look() == []
        assert watch.items[first]["note"] == "still waiting"


async def test_a_look_is_one_request_and_one_more_for_what_has_gone_out_of_sight(tmp_path: Path) -> None:
    async with at_work(tmp_path) as shop:
        first, _ = await shop.do_all(InsertItem("a.tar"), InsertItem("b.tar"))
        watch = Watch(shop.client, UNDER_WAY)
        await watch.look()
        await shop.do(UpdateItem(first, status="Success", stage="Cleanup"))
        shop.asked()
        assert told(await watch.look()) == [("a.tar", "Success", "Pending")]
        assert [line.partition("?")[0] for line in shop.asked()] == ["items", f"items/show/{first}"]
        assert await watch.look() == []
        assert len(shop.asked()) == 1
        assert not watch.over


async def test_many_that_are_done_at_once_are_found_in_a_list(tmp_path: Path) -> None:
    async with at_work(tmp_path) as shop:
        ids = await shop.do_all(*(InsertItem(f"{n}.tar") for n in range(40)))
        watch = Watch(shop.client, (*UNDER_WAY, ("action", "Ingest")))
        await watch.look()
        for number in ids[:30]:
            await shop.do(UpdateItem(number, status="Failed" if number % 2 else "Success"))
        await shop.do(InsertItem("other.tar", action="Delete", status="Success"))
        shop.asked()
        changes = await watch.look()
        assert [change.item["id"] for change in changes] == ids[:30]
        assert {change.item["status"] for change in changes} == {"Failed", "Success"}
        requests = shop.asked()
        assert len(requests) == 2
        assert "action=Ingest" in requests[1]
        assert set(watch.items) == set(ids)


async def test_of_a_list_longer_than_a_page_only_what_is_not_done_is_asked_for_again(tmp_path: Path) -> None:
    async with at_work(tmp_path) as shop:
        with closing(connect(shop.database, writing=True)) as db:
            db.executemany(
                "INSERT INTO items (id, institution_id, name, status, stage, created_at, updated_at)"
                " VALUES (?, ?, ?, 'Success', 'Cleanup', 0, 0)",
                [(number, OWN_INSTITUTION, f"{number}.tar") for number in range(1, 1500)],
            )
        number = await shop.do(InsertItem("a.tar"))
        watch = Watch(shop.client, ())
        await watch.look()
        await shop.do(UpdateItem(number, status="Started"))
        shop.asked()
        assert told(await watch.look()) == [("a.tar", "Started", "Pending")]
        await shop.do(UpdateItem(number, status="Success"))
        assert told(await watch.look()) == [("a.tar", "Success", "Started")]
        assert [line.partition("?")[0] for line in shop.asked()] == ["items", "items", f"items/show/{number}"]


async def test_suspended_ones_out_of_sight_are_asked_for_seldom_and_not_forgotten(tmp_path: Path) -> None:
    async with at_work(tmp_path) as shop:
        number = await shop.do(InsertItem("a.tar"))
        watch = Watch(shop.client, UNDER_WAY)
        await watch.look()
        await shop.do(UpdateItem(number, status="Suspended"))
        assert told(await watch.look()) == [("a.tar", "Suspended", "Pending")]
        shop.asked()
        assert [await watch.look() for _ in range(6)] == [[]] * 6
        assert sum("show" in line for line in shop.asked()) == 1
        await shop.do(UpdateItem(number, status="Success"))
        looks = [await watch.look() for _ in range(6)]
        assert told([change for look in looks for change in look]) == [("a.tar", "Success", "Suspended")]
        assert watch.over


async def test_items_alone_are_followed_without_any_list(tmp_path: Path) -> None:
    async with at_work(tmp_path) as shop:
        number, _ = await shop.do_all(InsertItem("a.tar"), InsertItem("b.tar"))
        watch = Watch(shop.client, items=[await shop.client.show(WORK_ITEMS, number)])
        await shop.do(UpdateItem(number, status="Cancelled"))
        shop.asked()
        assert told(await watch.look()) == [("a.tar", "Cancelled", "Pending")]
        assert shop.asked() == [f"items/show/{number}"]
        assert watch.over


async def test_an_item_that_is_gone_is_no_success(tmp_path: Path) -> None:
    async with at_work(tmp_path) as shop:
        number = await shop.do(InsertItem("a.tar"))
        watch = Watch(shop.client, UNDER_WAY)
        await watch.look()
        await shop.registry.changes.apply(Vanish("items", number))
        with pytest.raises(NotFoundError):
            await watch.look()


async def test_a_watch_ends_when_all_are_done_also_those_that_came_later(tmp_path: Path) -> None:
    async with at_work(tmp_path) as shop:
        number = await shop.do(InsertItem("a.tar"))
        looks: list[list[tuple[str, str, str | None]]] = []
        later: list[int] = []
        steps = [
            lambda: shop.do(InsertItem("b.tar")),
            lambda: shop.do(UpdateItem(number, status="Success")),
            lambda: shop.do(UpdateItem(later[0], status="Failed")),
        ]

        async def pause() -> None:
            later.append(await steps.pop(0)())

        watch = Watch(shop.client, UNDER_WAY)
        await follow(watch, pause, on_look=lambda c: looks.append(told(c)), on_late=lambda: None, until_done=True)
        assert looks == [
            [("a.tar", "Pending", None)],
            [("b.tar", "Pending", None)],
            [("a.tar", "Success", "Pending")],
            [("b.tar", "Failed", "Pending")],
        ]
        assert steps == []


async def test_nothing_to_watch_ends_at_once(tmp_path: Path) -> None:
    async def never() -> None:
        raise AssertionError("paused")

    async with at_work(tmp_path) as shop:
        looks: list[Any] = []
        watch = Watch(shop.client, UNDER_WAY)
        await follow(watch, never, on_look=looks.append, on_late=lambda: None, until_done=False)
        assert looks == [[]]


async def test_an_outage_is_survived_as_long_as_there_is_patience(tmp_path: Path) -> None:
    async with at_work(tmp_path, retry_budget=5.0) as shop:
        number = await shop.do(InsertItem("a.tar"))
        watch = Watch(shop.client, UNDER_WAY)
        await watch.look()
        await shop.do(UpdateItem(number, status="Started"))
        shop.registry.add_fault(Fault("reset", times=1))
        assert told(await watch.look()) == [("a.tar", "Started", "Pending")]
    async with at_work(tmp_path, retry_budget=0.0) as shop:
        shop.registry.add_fault(Fault("reset", times=None))
        with pytest.raises(TransientError):
            await Watch(shop.client, UNDER_WAY).look()


class SlowWatch(Watch):
    """Answers after so many seconds."""

    def __init__(self, *seconds: float) -> None:
        super().__init__(RegistryClient.__new__(RegistryClient), items=[{"id": 1, "status": "Pending"}])
        self.left = list(seconds)

    async def look(self) -> list[Change]:
        await asyncio.sleep(self.left.pop(0))
        if not self.left:
            self.items[1]["status"] = "Success"
        return []


@in_jumping_time
async def test_a_late_answer_is_said_once_a_look(tmp_path: Path) -> None:
    said: list[float] = []

    async def pause() -> None:
        await asyncio.sleep(1000)

    await follow(
        SlowWatch(LATE - 1, 8 * LATE, 0),
        pause,
        on_look=lambda _: None,
        on_late=lambda: said.append(now()),
        until_done=True,
    )
    assert said == [pytest.approx(LATE - 1 + 1000 + LATE, abs=0.01)]
