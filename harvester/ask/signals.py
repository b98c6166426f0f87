"""What the Registry's own records of trouble say: failed events, unconfirmed deletions, work items that stand still.

Hides which failures still matter. A failed event is mended by a later success of the same type on the same file, or
on the same object for events of objects; the Registry does not link the two, so the newest success is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime

from harvester.ask.findings import AFFORDABLE, Answer, Concern, Finding, Query, Rules, Tally, counted
from harvester.ask.holdings import UNDATED, Objects, for_each, moment, read_list, read_of_each
from harvester.ask.items import NOT_DONE, UNFINISHED
from harvester.registry import Filter, Page, Record, RegistryClient
from harvester.registry.counting import exact_parts
from harvester.registry.listing import Ids
from harvester.registry.resources import DELETIONS, EVENTS, PARENT_FILTER, WORK_ITEMS, format_time
from harvester.registry.windows import EPOCH, LAST, MICROSECOND, micros

FAILURE: Filter = ("outcome", "Failure")
NEWEST_FIRST = ("date_time__desc", "id__asc")
SETTLED = ("Success", "Cancelled")


class Failures:
    """Failed events, of some objects only if `among` is given, and whether they were mended since.

    That takes a request for each file, or object, and type of event. If it would be more than `AFFORDABLE` of them,
    they are not told apart (`told_apart`) unless `deep`. An event whose `date_time` is NULL, which is in no window
    and before no success, counts as not mended.
    """

    def __init__(self, client: RegistryClient, limit: int, among: Container[int] | None, *, deep: bool) -> None:
        self.open = Tally(limit)
        self.mended = 0
        self.told_apart = True
        self._client = client
        self._among = among
        self._deep = deep
        self._waiting: list[Record] = []

    async def take(self, rows: Sequence[Record]) -> None:
        """Look at a page of failed events."""
        self._waiting += [row for row in rows if self._among is None or row[PARENT_FILTER] in self._among]
        if self._deep:
            await self.finish()
        elif len(self._waiting) > AFFORDABLE or not self.told_apart:
            self.give_up()

    def give_up(self) -> None:
        """Count all as not mended, as far as is known."""
        self.told_apart = False
        for row in self._waiting:
            self._count(row)
        self._waiting = []

    async def finish(self) -> None:
        """Tell apart those that are still waiting for it."""
        groups: dict[tuple[str, int, int], list[Record]] = {}
        for row in self._waiting:
            thing = row["event_type"], row["generic_file_id"], row[PARENT_FILTER]
            groups.setdefault(thing, []).append(row)
        self._waiting = []
        await for_each(self._client, groups.values(), self._tell_apart)

    async def _tell_apart(self, failed: Sequence[Record]) -> None:
        """Of failures of one kind on one thing, those before its newest success are mended."""
        success = await self._last_success(failed)
        for row in failed:
            if UNDATED <= moment(row, "date_time") < success:
                self.mended += 1
            else:
                self._count(row)

    def _count(self, row: Record) -> None:
        dated = moment(row, "date_time")
        # Newest first, those without a date before all others, as the Registry itself has it.
        rank = -dated if dated >= UNDATED else -LAST - 1
        on = row["generic_file_identifier"] or row["intellectual_object_identifier"]
        why = row["outcome_information"] or row["outcome_detail"] or row["detail"]
        since = row["date_time"] if dated >= UNDATED else ""
        self.open.add(rank, Finding(row["id"], on, since, f"{row['event_type']}: {why}"))

    async def _last_success(self, failed: Sequence[Record]) -> int:
        """When the newest success since the first of these failures was; `UNDATED` if there is none."""
        dates = [date for row in failed if (date := moment(row, "date_time")) >= UNDATED]
        one = failed[0]
        if not dates or not one["event_type"]:
            return UNDATED
        if one["generic_file_id"]:
            on: tuple[Filter, ...] = (("generic_file_id", str(one["generic_file_id"])),)
        else:
            on = ((PARENT_FILTER, str(one[PARENT_FILTER])), ("generic_file_id__is_null", "true"))
        since = format_time(EPOCH + min(dates) * MICROSECOND)
        filters = (*on, ("event_type", one["event_type"]), ("outcome", "Success"), ("date_time__gteq", since))
        page = await self._client.page(EVENTS, filters=filters, sort=NEWEST_FIRST, page=1, per_page=1)
        return moment(page.rows[0], "date_time") if page.rows else UNDATED


@dataclass(frozen=True)
class NewestFailures:
    """The two halves of the list of failed events, and the newest of each.

    The count behind `outcome=Failure` alone is one of those that the Registry keeps for an hour, and fails where an
    outcome is NULL. The halves' counts are exact (`registry.counting`).
    """

    halves: tuple[tuple[Filter, ...], ...]
    pages: tuple[Page, ...]

    @property
    def count(self) -> int:
        """Failed events in all."""
        return sum(page.count for page in self.pages)

    @property
    def rows(self) -> list[Record]:
        """Those in hand."""
        return [row for page in self.pages for row in page.rows]

    @property
    def are_all(self) -> bool:
        """Whether there are no others."""
        return all(page.count <= page.size for page in self.pages)

    def requests(self, per_page: int) -> int:
        """What reading all of them takes."""
        return sum(-(-page.count // per_page) for page in self.pages)

    def still_to_read(self, per_page: int, objects: Objects | None, *, deep: bool) -> int:
        """Requests before `failed_events` can follow any up: of a whole institution only if it is to be `deep`."""
        if self.are_all or (objects is None and not deep):
            return 0
        return min(self.requests(per_page), self.requests(per_page) if objects is None else len(objects))


async def newest_failures(client: RegistryClient, common: Sequence[Filter], limit: int) -> NewestFailures:
    """Ask for the newest failed events of the institution."""
    failed = (*common, FAILURE)
    halves = tuple((*failed, *part) for part in exact_parts(EVENTS, failed))
    per_page = max(limit, AFFORDABLE)
    pages = await asyncio.gather(
        *(client.page(EVENTS, filters=half, sort=NEWEST_FIRST, page=1, per_page=per_page) for half in halves)
    )
    return NewestFailures(halves, tuple(pages))


async def failed_events(
    client: RegistryClient, newest: NewestFailures, rules: Rules, objects: Objects | None
) -> Answer:
    """Failed events that were not mended since; `more` says how many were, or that it was not asked.

    Of some `objects` only, if given: then their list is read, or that of each object, whichever takes fewer requests.
    """
    failures = Failures(client, rules.limit, objects, deep=rules.deep)
    if newest.are_all:
        await failures.take(newest.rows)
    elif objects is None and not rules.deep:
        await failures.take(newest.rows)
        failures.give_up()
    elif objects is not None and len(objects) < newest.requests(client.settings.per_page):
        await read_of_each(client, EVENTS, objects, (FAILURE,), failures.take)
    else:
        for half in newest.halves:
            await read_list(client, EVENTS, half, failures.take)
    await failures.finish()
    apart = failures.told_apart
    count = newest.count if objects is None and not apart else failures.open.count
    return Answer(
        Concern.FAILED_EVENTS,
        count=count,
        of=count + failures.mended if apart else None,
        findings=failures.open.first,
        more={"mended": failures.mended} if apart else {"not_followed_up": count},
        listed_by=None if objects is not None else Query(EVENTS, newest.halves[0][:-1], "date_time__desc"),
    )


async def pending_deletions(client: RegistryClient, common: Sequence[Filter], limit: int) -> Answer:
    """Deletions that were requested and neither confirmed nor cancelled, the oldest first.

    An entry has no status, and the list no filter for one, so it is read: its dates say it.
    """
    pending, of = Tally(limit), 0

    async def take(rows: Sequence[Record]) -> None:
        nonlocal of
        of += len(rows)
        for row in rows:
            if all(moment(row, name) < UNDATED for name in ("confirmed_at", "cancelled_at")):
                detail = f"{counted(row['object_count'], 'object')}, {counted(row['file_count'], 'file')}"
                by = row["requested_by_email"] or row["requested_by_name"]
                pending.add(moment(row, "requested_at"), Finding(row["id"], by, row["requested_at"], detail))

    await read_list(client, DELETIONS, common, take)
    return Answer(Concern.DELETIONS, count=pending.count, of=of, findings=pending.first)


async def stalled_items(
    client: RegistryClient, common: Sequence[Filter], now: datetime, rules: Rules, objects: Objects | None
) -> Answer:
    """Work items that are suspended, need an administrator, or were not touched for long though not finished.

    `date_processed` may be NULL, so a window would leave some out: all unfinished items are read. An administrator's
    review is not needed any more where the item has succeeded or was cancelled. Items without an object yet, of
    ingests, belong to no slice.
    """
    stalled, unfinished, added = Tally(rules.limit), 0, Ids()
    oldest = micros(now - rules.stalled_after)

    def add(row: Record) -> None:
        if added.add(row["id"]):  # one whose status changes meanwhile is in both lists
            on = row["generic_file_identifier"] or row["object_identifier"] or row["name"]
            why = f"needs review ({row['status']})" if row["needs_admin_review"] else row["status"]
            touched = _touched(row)
            finding = Finding(row["id"], on, row[touched], f"{why}: {row['action']}, {row['stage']}")
            stalled.add(moment(row, touched), finding)

    async def take(rows: Sequence[Record]) -> None:
        nonlocal unfinished
        for row in rows:
            if objects is not None and row[PARENT_FILTER] not in objects:
                continue
            unfinished += row["status"] in UNFINISHED
            still = row["status"] in UNFINISHED and moment(row, _touched(row)) <= oldest
            if still or row["status"] == "Suspended" or (row["needs_admin_review"] and row["status"] not in SETTLED):
                add(row)

    await read_list(client, WORK_ITEMS, (*common, *NOT_DONE), take)
    of = unfinished
    await read_list(client, WORK_ITEMS, (*common, ("needs_admin_review", "true")), take)
    return Answer(Concern.WORK_ITEMS, count=stalled.count, findings=stalled.first, more={"unfinished": of})


def _touched(row: Record) -> str:
    """The field that says when a work item was touched last."""
    return "date_processed" if moment(row, "date_processed") >= UNDATED else "created_at"


__all__ = ["NewestFailures", "failed_events", "newest_failures", "pending_deletions", "stalled_items"]
