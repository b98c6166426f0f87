"""When the files of a whole institution were last checked, by counting: a handful of requests, however many files.

Hides that a file which was never checked is found by no filter. It has NULL for a date (or the first instant of the
year 1, which looks the same): it is in no window of `last_fixity_check`, and files have no filter for NULL. So it is
what is left when those with a date are taken away; and where dates descend, PostgreSQL puts NULL first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from harvester.ask.findings import Answer, Concern, Query
from harvester.ask.holdings import ACTIVE, GLACIER, UNDATED, last_checked, moment, never_checked
from harvester.registry import Filter, Record, RegistryClient, exact_count
from harvester.registry.resources import FILES, VALUES, format_time
from harvester.registry.windows import EPOCH, MICROSECOND

NOT_CHECKED = tuple(("storage_option__in", name) for name in VALUES["storage_option"] if name.startswith(GLACIER))
CHECKED = tuple(("storage_option__in", name) for name in VALUES["storage_option"] if not name.startswith(GLACIER))

EVER: Filter = ("last_fixity_check__gteq", format_time(EPOCH + UNDATED * MICROSECOND))

REQUESTS = 7
"""What it takes, if there is something to be listed."""


def lists(common: Sequence[Filter], cutoff: datetime, never: int, in_glacier: int) -> tuple[Query, Query]:
    """The list that begins with the `never` files that were never checked, and the one of those not after `cutoff`."""
    files = (*common, ACTIVE, *(CHECKED if in_glacier else ()))
    late = Query(FILES, (*files, *_long_ago(cutoff)), "last_fixity_check__asc")
    return Query(FILES, files, "last_fixity_check__desc", limit=never), late


async def fixity(
    client: RegistryClient, common: Sequence[Filter], cutoff: datetime, all_files: int, limit: int
) -> list[Answer]:
    """Of `all_files` active files, those never checked and those not checked after `cutoff`.

    Files in Glacier are taken away, instead of those elsewhere being counted, so that a storage option that is not
    known here counts as one whose files are checked.
    """
    active: tuple[Filter, ...] = (*common, ACTIVE)
    long_ago = _long_ago(cutoff)
    queries = [(*active, EVER), (*active, *long_ago)]
    queries += [(*active, *NOT_CHECKED, *when) for when in ((), (EVER,), long_ago)]
    counts = await asyncio.gather(*(exact_count(client, FILES, query) for query in queries))
    checked, overdue, in_glacier, glacier_checked, glacier_overdue = counts
    never_count = max(0, all_files - in_glacier - (checked - glacier_checked))
    overdue_count = max(0, overdue - glacier_overdue)
    never, late = lists(common, cutoff, never_count, in_glacier)
    first_never = await _first(client, never, limit) if never_count else []
    first_late = await _first(client, late, limit) if overdue_count else []
    first_never = [row for row in first_never if moment(row, "last_fixity_check") < UNDATED]
    of, more = all_files - in_glacier, {"glacier": in_glacier}
    never_found, late_found = tuple(map(never_checked, first_never)), tuple(map(last_checked, first_late))
    return [
        Answer(Concern.UNCHECKED, count=never_count, of=of, findings=never_found, more=more, listed_by=never),
        Answer(Concern.OVERDUE, count=overdue_count, of=of, findings=late_found, more=more, listed_by=late),
    ]


def _long_ago(cutoff: datetime) -> tuple[Filter, ...]:
    return EVER, ("last_fixity_check__lteq", format_time(cutoff))


async def _first(client: RegistryClient, query: Query, limit: int) -> list[Record]:
    sort = (query.sort, "id__asc")
    return (await client.page(FILES, filters=query.filters, sort=sort, page=1, per_page=limit)).rows


__all__ = ["fixity", "lists"]
