"""One list of the Registry, page by page as it is asked for, in whatever order was asked for.

Hides what keeps it whole. By id it is walked by the rules of `walk`. By any other column rows may move while the
list is read: none is given twice, and if one may have been missed the listing says so at its end. A list that the
Registry fails to count is read in parts that it can count.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from operator import itemgetter

from harvester.errors import ChangedError, UncountableError
from harvester.registry.client import Page, Record, RegistryClient
from harvester.registry.counting import exact_count, exact_parts
from harvester.registry.resources import PER_PAGE_MAX, Filter, Resource
from harvester.registry.walk import BY_ID, walk

Pages = AsyncGenerator[list[Record], None]
Told = Callable[[int], None]

AHEAD = 1
"""Pages asked for while the ones before them are still being looked at; the second waits for that of the first."""

LEAVING = "state"
"""The one filter by the Registry's hourly counts that rows begin and cease to pass: what is deleted leaves state=A."""


async def listed(
    client: RegistryClient,
    resource: Resource,
    filters: Sequence[Filter] = (),
    *,
    sort: str = BY_ID[0],
    limit: int | None = None,
    on_count: Told = lambda _: None,
) -> Pages:
    """Give the rows of a list, a page at a time; the second page is asked for once the first has been taken.

    `sort` is `<column>__asc|__desc`; rows alike in it come by id. `limit` is how many rows are wanted at most.
    `on_count` is told how many rows the Registry says there are, as it says so with the first page.
    Close it (`contextlib.aclosing`) if it is not read to its end. Raises ChangedError after the last row if rows
    have moved and some are missing, and the errors of `RegistryClient.page`.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    per_page = min(client.settings.per_page, PER_PAGE_MAX, limit or PER_PAGE_MAX)
    if limit is None or limit > per_page:
        filters = _lasting(resource, filters)
    by = _by_id if sort == BY_ID[0] else _by
    left = limit
    async with aclosing(by(client, resource, filters, sort, per_page, on_count)) as pages:
        async for rows in pages:
            if left is not None and len(rows) >= left:
                yield rows[:left]
                return
            yield rows
            left = None if left is None else left - len(rows)


def _lasting(resource: Resource, filters: Sequence[Filter]) -> Sequence[Filter]:
    """The same query, with counts that tell a walk of many pages when rows have left the list.

    Counting costs the Registry less than the rows that the pages skip.
    """
    parts = exact_parts(resource, filters)
    may_leave = any(name == LEAVING for name, _ in filters)
    return (*filters, *parts[0]) if may_leave and len(parts) == 1 else filters


async def _by_id(
    client: RegistryClient, resource: Resource, filters: Sequence[Filter], sort: str, per_page: int, on_count: Told
) -> Pages:
    """The pages of a walk, or of several where the Registry fails to count the list as a whole."""
    last_id, counts = 0, list[int]()

    def add(count: int) -> None:
        counts.append(count)
        on_count(sum(counts))

    try:
        async with aclosing(_walked(client, resource, filters, per_page, on_count)) as pages:
            async for rows in pages:
                yield rows
                last_id = rows[-1]["id"]
        return
    except UncountableError:
        parts = exact_parts(resource, filters)
        if parts == ((),):
            raise
    walks = [_walked(client, resource, (*filters, *part), per_page, add) for part in parts]
    async with aclosing(_merged(walks)) as pages:
        async for rows in pages:
            if fresh := [row for row in rows if row["id"] > last_id]:
                yield fresh


async def _walked(
    client: RegistryClient, resource: Resource, filters: Sequence[Filter], per_page: int, on_count: Told
) -> Pages:
    """The pages of a walk, handed from its task to whoever reads, who is waited for."""
    pages: asyncio.Queue[Page | None] = asyncio.Queue()
    taken, first_taken = asyncio.Event(), asyncio.Event()

    async def fetch(number: int) -> Page:
        if number > 1:
            await first_taken.wait()
        page = await client.page(resource, filters=filters, sort=BY_ID, page=number, per_page=per_page)
        if number == 1:
            on_count(page.count)
        return page

    async def take(page: Page) -> None:
        pages.put_nowait(page)
        await taken.wait()
        taken.clear()

    async def walking() -> None:
        try:
            await walk(fetch, take, per_page=per_page, ahead=AHEAD)
        finally:
            pages.put_nowait(None)

    task = asyncio.create_task(walking())
    try:
        while (page := await pages.get()) is not None:
            yield page.rows
            taken.set()
            first_taken.set()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _merged(walks: Sequence[Pages]) -> Pages:
    """The rows of several walks as those of one: no row is given before one of a lower id."""
    async with AsyncExitStack() as stack:
        held: dict[Pages, list[Record]] = {await stack.enter_async_context(aclosing(walk)): [] for walk in walks}
        while held:
            for empty in [walk for walk, rows in held.items() if not rows]:
                held[empty] = await anext(empty, [])
                if not held[empty]:
                    del held[empty]
            if held:
                edge = min(rows[-1]["id"] for rows in held.values())
                ready = [row for rows in held.values() for row in rows if row["id"] <= edge]
                yield sorted(ready, key=itemgetter("id"))
                held = {walk: [row for row in rows if row["id"] > edge] for walk, rows in held.items()}


async def _by(
    client: RegistryClient, resource: Resource, filters: Sequence[Filter], sort: str, per_page: int, on_count: Told
) -> Pages:
    """Pages one after the other, each id once."""
    seen = Ids()
    number, page = 0, None
    while page is None or page.size == per_page:
        number += 1
        try:
            page = await client.page(resource, filters=filters, sort=(sort, *BY_ID), page=number, per_page=per_page)
        except UncountableError as error:
            parts = exact_parts(resource, filters)
            if len(parts) > 1:  # rows of several parts can only be merged by id: who knows how the Registry collates
                error.mend = f"without --sort it can be listed, with {resource.time_field}__gteq=1900-01-01 sorted too"
            if len(parts) > 1 or parts == ((),):
                raise
            filters, number = (*filters, *parts[0]), number - 1
            continue
        if number == 1:
            on_count(page.count)
        if fresh := [row for row in page.rows if seen.add(row["id"])]:
            yield fresh
    count = page.count if page.exact else await exact_count(client, resource, filters)
    if count > seen.size:
        raise ChangedError(
            f"{resource.path} changed while they were listed: {count - seen.size} of {count} are missing",
            mend="list them again, or without --sort: by id none is missed",
        )


class Ids:
    """A set of ids that takes a bit each where they lie close together."""

    CHUNK = 1 << 16

    def __init__(self) -> None:
        self.size = 0
        self._chunks: dict[int, bytearray] = {}

    def add(self, number: int) -> bool:
        """Whether the id was not in the set yet; it is now."""
        chunk, bit = divmod(number, self.CHUNK)
        bits = self._chunks.setdefault(chunk, bytearray(self.CHUNK // 8))
        byte, mask = bit >> 3, 1 << (bit & 7)
        if bits[byte] & mask:
            return False
        bits[byte] |= mask
        self.size += 1
        return True


__all__ = ["Ids", "listed"]
