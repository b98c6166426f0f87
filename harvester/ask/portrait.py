"""An object as a person wants to see it: itself, its files as directories, what happened to it, what is under way.

Hides which questions that takes and keeps them few: the object, its files a thousand a request, the newest thousand
events, the work items. Failures older than those events are asked for by themselves, so that none is overlooked.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from harvester.ask.bag import Directory, File, arrange, file_of
from harvester.ask.identify import find
from harvester.registry import Page, Record, RegistryClient, exact_count, listed
from harvester.registry.resources import EVENTS, FILES, OBJECTS, PARENT_FILTER, WORK_ITEMS, Filter, Resource, parse_time

READ_AT_MOST = 10_000
"""Files read for a tree unless more are asked for: ten requests. Hardly a bag has more; one may have a million."""

ITEMS_READ = 100

FAILURE = "Failure"
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Happening:
    """Events of one type and outcome: one of the object's own, or those of one day (UTC) on its files.

    `newest` is the latest of them, `count` how many they are.
    """

    newest: Record
    count: int = 1

    @property
    def on_files(self) -> bool:
        """Whether it happened to files and not to the object as such."""
        return bool(self.newest.get("generic_file_id"))


@dataclass(frozen=True)
class Chronicle:
    """What happened, newest first, and by itself what failed.

    `happenings` are made of the `read` newest of `total` events; `failures` are the newest of `failed`.
    """

    happenings: tuple[Happening, ...]
    failures: tuple[Record, ...]
    read: int
    total: int
    failed: int


@dataclass(frozen=True)
class Portrait:
    """An object, `read` of its `total` files by directory, its events, and its newest work items of `items_total`."""

    object: Record
    bag: Directory
    read: int
    total: int
    chronicle: Chronicle
    items: tuple[Record, ...]
    items_total: int

    @property
    def whole(self) -> bool:
        """Whether every file was read, so that the directories' totals are the object's."""
        return self.read >= self.total

    @property
    def counts_agree(self) -> bool:
        """Whether the object's own count and size are those of its active files. Only a whole portrait can tell."""
        return (self.object.get("file_count"), self.object.get("size")) == (self.bag.active, self.bag.size)


async def portray(
    client: RegistryClient, key: str, *, files: int | None, failures: int, announce: Callable[[int], None]
) -> Portrait:
    """The object with this id or identifier. At least `files` of its files are read, all if None, none if 0.

    Takes four requests for an object of up to 1,000 files and events. If it will take long, `announce` is told how
    many files there are to read. Raises the errors of `find` and of `RegistryClient.page`.
    """
    found = await find(client, OBJECTS, key)
    most = files if files in (None, 0) else max(files or 0, READ_AT_MOST)
    to_read = min(found.get("file_count") or 0, most if most is not None else sys.maxsize)
    if to_read > READ_AT_MOST:
        announce(to_read)
    (read, total), chronicle, items = await asyncio.gather(
        _files(client, found, most), _chronicle(client, found, failures), _newest(client, WORK_ITEMS, found, ITEMS_READ)
    )
    return Portrait(
        object=found,
        bag=arrange(read),
        read=len(read),
        total=total,
        chronicle=chronicle,
        items=tuple(items.rows),
        items_total=items.count,
    )


async def _files(client: RegistryClient, found: Record, most: int | None) -> tuple[list[File], int]:
    """The first `most` files, and how many there are."""
    mine, read = _of(found), list[File]()
    if most != 0:
        # Of a bag that is too large the first files by name make more sense than the first by id.
        large = most is not None and (found.get("file_count") or 0) > most
        pages = listed(client, FILES, mine, sort="identifier__asc" if large else "id__asc", limit=most)
        async with aclosing(pages):
            async for rows in pages:
                read += (file_of(row, found.get("identifier") or "") for row in rows)
    cut_short = most is not None and len(read) >= most
    return read, await exact_count(client, FILES, mine) if cut_short else len(read)


async def _chronicle(client: RegistryClient, found: Record, failures: int) -> Chronicle:
    page = await _newest(client, EVENTS, found, client.settings.per_page)
    failed = [event for event in page.rows if event.get("outcome") == FAILURE]
    count = len(failed)
    if page.count > page.size:
        of_all = await _newest(client, EVENTS, found, max(1, failures), (("outcome", FAILURE),))
        failed, count = of_all.rows, of_all.count
    others = (event for event in page.rows if event.get("outcome") != FAILURE)
    return Chronicle(
        happenings=happenings(others),
        failures=tuple(sorted(failed, key=_date, reverse=True)[:failures]),
        read=page.size,
        total=page.count,
        failed=count,
    )


def happenings(events: Iterable[Record]) -> tuple[Happening, ...]:
    """Events newest first, those on files taken together by day, type and outcome; undated ones come last."""
    groups: dict[tuple[object, ...], Happening] = {}
    for event in sorted(events, key=_date, reverse=True):
        what = event.get("event_type"), event.get("outcome")
        key = (*what, _date(event).date()) if event.get("generic_file_id") else (*what, event["id"])
        first = groups.get(key)
        groups[key] = Happening(event) if first is None else Happening(first.newest, first.count + 1)
    return tuple(groups.values())


def _date(event: Record) -> datetime:
    return parse_time(event.get("date_time") or "") or NEVER


def _of(found: Record) -> tuple[Filter, ...]:
    return ((PARENT_FILTER, str(found["id"])),)


async def _newest(
    client: RegistryClient, resource: Resource, found: Record, most: int, filters: Sequence[Filter] = ()
) -> Page:
    """The newest rows of what belongs to an object; what has no date comes first, as the Registry sorts."""
    sort = (f"{resource.time_field}__desc", "id__desc")
    return await client.page(resource, filters=(*_of(found), *filters), sort=sort, page=1, per_page=most)


__all__ = ["Chronicle", "Happening", "Portrait", "happenings", "portray"]
