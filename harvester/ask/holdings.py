"""The objects that an audit is about, and what reading their files says of both.

Hides how this stays small and exact. An object takes 24 bytes, whatever it holds: its id, and how many files and
bytes the Registry says it has, from which those really listed are taken away. Files are read object by object, or
from one list of the whole institution in time windows (`registry.windows`), whichever takes fewer requests; in
windows a row may come twice, and a bit for each id keeps it from being counted twice. Grouping the list by object
instead (`sort=intellectual_object_id__asc`) would need neither, but deep offsets, which cost the Registry dear.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from harvester.ask.findings import Finding, Tally, counted, first_error
from harvester.errors import ChangedError, NotFoundError, ProtocolError
from harvester.registry import BY_ID, Filter, Page, Record, RegistryClient, Resource, walk
from harvester.registry.listing import Ids
from harvester.registry.resources import FILES, OBJECTS, PARENT_FILTER, parse_time
from harvester.registry.windows import Sweep, Window, micros

UNDATED = micros(datetime.fromisoformat("0001-01-02T00:00:00+00:00"))
"""Times before this stand for none: the Registry writes NULL as the first instant of the year 1."""

GLACIER = "Glacier"
"""How the storage options begin whose files APTrust does not check: it checks those in S3 and Wasabi."""

ACTIVE: Filter = ("state", "A")

SWEPT_TWICE = 1.1
"""Requests of a sweep against pages of its list, at most and as a rule: windows repeat some rows."""

MOST_LOOKS = 3
"""How often an object that does not fit its files is looked at before it is said to change all the time."""

T = TypeVar("T")

Take = Callable[[Sequence[Record]], Awaitable[None]]


def moment(row: Record, name: str) -> int:
    """A time of an entry in microseconds since 1970; anything before `UNDATED` is none. Raises ProtocolError."""
    text = row.get(name)
    found = parse_time(text) if isinstance(text, str) else None
    if found is None:
        raise ProtocolError(f"record {row['id']} has no usable {name!r}")
    return micros(found)


async def read_list(client: RegistryClient, resource: Resource, filters: Sequence[Filter], take: Take) -> None:
    """Give every row of a list to `take`, by id."""
    per_page = client.settings.per_page

    async def fetch(number: int) -> Page:
        return await client.page(resource, filters=filters, sort=BY_ID, page=number, per_page=per_page)

    async def taking(page: Page) -> None:
        await take(page.rows)

    await walk(fetch, taking, per_page=per_page, ahead=client.settings.most_in_flight)


class Objects:
    """The objects in question by ascending id, and what the Registry claims of each that no file has borne out yet."""

    def __init__(self, limit: int) -> None:
        self.empty, self.half_deleted = Tally(limit), Tally(limit)
        self._ids, self._files, self._bytes = array("q"), array("q"), array("q")

    async def take(self, rows: Sequence[Record]) -> None:
        """Add the rows of an object list that is read by id."""
        for row in rows:
            self._ids.append(row["id"])
            self._files.append(row["file_count"])
            self._bytes.append(row["size"])
            if row["state"] == "A" and not row["file_count"]:
                self.empty.add(moment(row, "created_at"), empty_object(row))
            elif row["state"] == "D" and row["file_count"]:
                self.half_deleted.add(moment(row, "updated_at"), half_deleted(row))

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self._at(number) is not None

    def requests(self, per_page: int) -> int:
        """What reading their files object by object takes."""
        return sum(max(1, -(-files // per_page)) for files in self._files)

    def account_for(self, row: Record) -> None:
        """Take an active file away from what its object is said to have."""
        at = self._at(row[PARENT_FILTER])
        if at is not None:
            self._files[at] -= 1
            self._bytes[at] -= row["size"]

    @property
    def files(self) -> int:
        """Active files that they have, as the Registry claims; to be asked before any is accounted for."""
        return sum(self._files)

    @property
    def unbalanced(self) -> list[int]:
        """Objects of which not exactly as much was listed as the Registry claims."""
        return [
            number for number, files, size in zip(self._ids, self._files, self._bytes, strict=True) if files or size
        ]

    def _at(self, number: int) -> int | None:
        at = bisect_left(self._ids, number)
        return at if at < len(self._ids) and self._ids[at] == number else None


class Files:
    """What the active files that are given to `take` show. Of a slice, files of other objects are passed over."""

    def __init__(self, objects: Objects | None, cutoff: int, limit: int, *, of_slice: bool) -> None:
        self.unchecked, self.overdue, self.no_sha256 = Tally(limit), Tally(limit), Tally(limit)
        self.active = self.glacier = 0
        self._objects = objects
        self._cutoff = cutoff
        self._of_slice = of_slice
        self._seen = Ids()

    async def take(self, rows: Sequence[Record]) -> None:
        """Look at a page of files."""
        for row in rows:
            ours = not self._of_slice or row[PARENT_FILTER] in (self._objects or ())
            if ours and self._seen.add(row["id"]):
                self._look_at(row)

    def _look_at(self, row: Record) -> None:
        self.active += 1
        if self._objects is not None:
            self._objects.account_for(row)
        if not row["sha256"]:
            self.no_sha256.add(moment(row, "created_at"), without_sha256(row))
        checked = moment(row, "last_fixity_check")
        if row["storage_option"].startswith(GLACIER):
            self.glacier += 1
        elif checked < UNDATED:
            self.unchecked.add(moment(row, "created_at"), never_checked(row))
        elif checked <= self._cutoff:
            self.overdue.add(checked, last_checked(row))


async def for_each(client: RegistryClient, things: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do `work` with each thing, as many at a time as there may be requests. The first error ends all."""
    left = iter(things)

    async def lane() -> None:
        for thing in left:
            await work(thing)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(client.settings.most_in_flight):
                group.create_task(lane())
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None


async def read_of_each(
    client: RegistryClient, resource: Resource, objects: Objects, filters: Sequence[Filter], take: Take
) -> None:
    """Give what belongs to each object to `take`, several objects at a time."""

    async def read(number: int) -> None:
        await read_list(client, resource, ((PARENT_FILTER, str(number)), *filters), take)

    await for_each(client, objects, read)


async def read_all_files(client: RegistryClient, common: Sequence[Filter], take: Take) -> None:
    """Give all active files of the institution to `take`; a few come twice."""
    per_page = client.settings.per_page

    async def ask(window: Window, number: int) -> Page:
        filters = (*common, ACTIVE, *window.filters)
        return await client.page(FILES, filters=filters, sort=window.sort, page=number, per_page=per_page)

    async def taking(_: Resource, rows: Sequence[Record]) -> None:
        await take(rows)

    try:
        await Sweep(ask, taking, per_page, client.settings.most_in_flight, deque([Window(FILES)])).run()
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None


async def contradiction(client: RegistryClient, number: int) -> Finding | None:
    """Look closely at one object: what the Registry claims of it against its files, if it keeps still meanwhile.

    `file_count` and `size` are counted by the Registry at each request, over active files only. Raises ChangedError
    for an object that does not keep still.
    """
    for _ in range(MOST_LOOKS):
        files = size = 0

        async def take(rows: Sequence[Record]) -> None:
            nonlocal files, size
            files += len(rows)
            size += sum(row["size"] for row in rows)

        try:
            before = await client.show(OBJECTS, number)
            await read_list(client, FILES, ((PARENT_FILTER, str(number)), ACTIVE), take)
            after = await client.show(OBJECTS, number)
        except NotFoundError:
            return None
        claimed = before["file_count"], before["size"]
        if claimed == (after["file_count"], after["size"]):
            if claimed == (files, size):
                return None
            detail = f"says {_extent(*claimed)}; lists {_extent(files, size)}"
            return Finding(number, before["identifier"], before["updated_at"], detail)
    raise ChangedError(f"object {number} changes while its files are read", mend="run it again later")


def empty_object(row: Record) -> Finding:
    """An active object without active files."""
    return Finding(row["id"], row["identifier"], row["created_at"], row["storage_option"])


def half_deleted(row: Record) -> Finding:
    """A deleted object with active files."""
    return Finding(row["id"], row["identifier"], row["updated_at"], _extent(row["file_count"], row["size"]))


def never_checked(row: Record) -> Finding:
    """A file that was never checked: as long as it is there."""
    return Finding(row["id"], row["identifier"], row["created_at"], row["storage_option"])


def last_checked(row: Record) -> Finding:
    """A file whose last check was long ago."""
    return Finding(row["id"], row["identifier"], row["last_fixity_check"], row["storage_option"])


def without_sha256(row: Record) -> Finding:
    """A file without sha256, and what it has instead."""
    others = [name for name in ("md5", "sha1", "sha512") if row[name]]
    return Finding(
        row["id"], row["identifier"], row["created_at"], f"only {', '.join(others)}" if others else "no digest"
    )


def _extent(files: int, size: int) -> str:
    return f"{counted(files, 'file')}, {counted(size, 'byte')}"


__all__ = ["Files", "Objects", "contradiction", "for_each", "moment", "read_all_files", "read_list", "read_of_each"]
