"""Work items, what the Registry is doing for its members: which to ask for, and a set of them followed to its end.

Hides how a set is followed although it changes its members: an item that is done leaves the list of those under way,
and is looked for elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

from harvester.errors import ConfigError
from harvester.registry import Filter, Record, RegistryClient, check_filters, listed
from harvester.registry.resources import PER_PAGE_MAX, WORK_ITEMS


class Report(StrEnum):
    """The quick reports of apt-cmd (github.com/APTrust/apt-cmd, cmd/registry_list_workitems.go)."""

    INPROCESS = "inprocess"
    PROBLEMS = "problems"
    RESTORATIONS = "restorations"


IN_PROCESS = ("Pending", "Started")
"""Statuses of work items that go on by themselves."""

UNFINISHED = (*IN_PROCESS, "Suspended")
"""Statuses of work items that are not done: suspended ones wait for a person."""

NOT_DONE: tuple[Filter, ...] = tuple(("status__in", status) for status in UNFINISHED)

_REPORTS: Mapping[Report, tuple[Filter, ...]] = {
    Report.INPROCESS: tuple(("status__in", status) for status in IN_PROCESS),
    Report.PROBLEMS: (("status__in", "Cancelled"), ("status__in", "Failed"), ("status__in", "Suspended")),
    Report.RESTORATIONS: (
        ("action__in", "Glacier Restore"),
        ("action__in", "Restore File"),
        ("action__in", "Restore Object"),
    ),
}

REPORT_SINCE = "30d"
"""How far back the reports look by themselves, as apt-cmd's do."""


def query(filters: Sequence[Filter], report: Report | None, since: str | None) -> tuple[Filter, ...]:
    """The filters of a question for work items; `since` is a Registry time. Raises ConfigError.

    Other than apt-cmd, which drops all filters when it makes a report, this narrows the report down by them.
    """
    asked = _REPORTS[report] if report else ()
    both = {name for name, _ in filters} & {name for name, _ in asked}
    if both:
        raise ConfigError(f"the report {report} says {', '.join(both)} itself", place="--report", mend="leave one out")
    window = ((f"{WORK_ITEMS.time_field}__gteq", since),) if since else ()
    return check_filters(WORK_ITEMS, (*filters, *asked, *window))


def succeeded(item: Record) -> bool:
    """Whether it is done, and well."""
    return bool(item["status"] == "Success")


def failed(item: Record) -> bool:
    """Whether it is done, and not well."""
    return item["status"] in ("Failed", "Cancelled")


def suspended(item: Record) -> bool:
    """Whether it is not done, and will not be unless a person sees to it."""
    return bool(item["status"] == "Suspended")


def under_way(item: Record) -> bool:
    """Whether it is not done; so are suspended ones, and those whose status we do not know."""
    return not (succeeded(item) or failed(item))


@dataclass(frozen=True)
class Change:
    """A work item as it is now, and as it was when it was last looked at; None if it was not in the set."""

    item: Record
    before: Record | None

    @property
    def moved(self) -> bool:
        """Whether stage or status are new; notes and times change all the while."""
        return self.before is None or any(self.item[name] != self.before[name] for name in ("stage", "status"))


_FEW = 5
"""Items out of sight that are asked for one by one; more are looked for in a list, a thousand a request."""

_SELDOM = 6
"""Looks from one request for a suspended item to the next: a person takes longer than a machine."""

_STATUS = frozenset({"status", "status__in"})
_STEADY = frozenset({"action", "action__in", "bucket", "etag", "institution_id", "name"})
"""Filters on what does not change about a work item: whatever it does, it stays in a list by these."""


class Watch:
    """Work items followed from look to look: those that a question finds, whatever becomes of them, and `items`.

    Without filters it follows `items` only. `items` are all of them by id, as last seen.
    """

    def __init__(
        self, client: RegistryClient, filters: Sequence[Filter] | None = None, items: Sequence[Record] = ()
    ) -> None:
        self.items = {item["id"]: item for item in items}
        self._client = client
        self._filters = filters
        self._looks = 0

    @property
    def over(self) -> bool:
        """Whether all are done."""
        return not any(map(under_way, self.items.values()))

    async def look(self) -> list[Change]:
        """Ask how they are; returns what is new or has moved. A request, as long as all fit on a page and none is done.

        Raises the errors of `RegistryClient.page` and `show`.
        """
        seen = {} if self._filters is None else await self._list(self._filters)
        self._looks += 1
        if self._filters is not None and len(seen) > PER_PAGE_MAX and not _STATUS & {name for name, _ in self._filters}:
            # Most of so many are done: from now on only the others are worth a page.
            self._filters = (*self._filters, *NOT_DONE)
        seen |= await self._sought({n for n, item in self.items.items() if n not in seen and self._is_due(item)})
        changes = [Change(item, self.items.get(number)) for number, item in seen.items()]
        self.items |= seen
        return [change for change in changes if change.moved]

    def _is_due(self, item: Record) -> bool:
        """Whether an item out of sight is worth a request in this look."""
        return under_way(item) and not (suspended(item) and self._looks % _SELDOM)

    async def _list(self, filters: Sequence[Filter]) -> dict[int, Record]:
        async with aclosing(listed(self._client, WORK_ITEMS, filters)) as pages:
            return {row["id"]: row async for rows in pages for row in rows}

    async def _sought(self, missing: set[int]) -> dict[int, Record]:
        """Items that the question does not find any more, by id."""
        found = {}
        if len(missing) > _FEW:
            # Their time of processing only moves on: each is in the list that begins with the earliest as last seen.
            times = [self.items[number][WORK_ITEMS.time_field] for number in missing]
            since = min((time for time in times if time > "0001-01-02"), key=_comparable, default="")
            kept = [pair for pair in self._filters or () if pair[0] in _STEADY]
            listing = await self._list([*kept, (f"{WORK_ITEMS.time_field}__gteq", since)]) if since else {}
            found = {number: item for number, item in listing.items() if number in missing}
        for number in sorted(missing - found.keys()):
            found[number] = await self._client.show(WORK_ITEMS, number)
        return found


def _comparable(time: str) -> str:
    # Trailing zeros of its fraction are trimmed: 35Z comes before 35.5Z.
    return time.rstrip("Z")


LATE = 10.0
"""Seconds after which an answer that has not come is worth a word: the client may ask again for a long time."""


async def follow(
    watch: Watch,
    pause: Callable[[], Awaitable[None]],
    *,
    on_look: Callable[[list[Change]], None],
    on_late: Callable[[], None],
    until_done: bool,
) -> None:
    """Look, and again after each `pause`: until all are done, if that is wanted, or for ever. Ends if there are none.

    `on_look` hears of every look, `on_late` once of each that takes longer than `LATE`.
    """
    while True:
        late = asyncio.get_running_loop().call_later(LATE, on_late)
        try:
            changes = await watch.look()
        finally:
            late.cancel()
        on_look(changes)
        if not watch.items or (until_done and watch.over):
            return
        await pause()


__all__ = [
    "IN_PROCESS",
    "NOT_DONE",
    "REPORT_SINCE",
    "UNFINISHED",
    "Change",
    "Report",
    "Watch",
    "failed",
    "follow",
    "query",
    "succeeded",
    "suspended",
    "under_way",
]
