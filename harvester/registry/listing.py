"""One list of the Registry, page by page as it is asked for, in whatever order was asked for.

Hides what keeps it whole. By id it is walked by the rules of `walk`. By any other column rows may move while the
list is read: none is given twice, and if one may have been missed the listing says so at its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from harvester.errors import ChangedError
from harvester.registry.client import Page, Record, RegistryClient
from harvester.registry.counting import exact_count
from harvester.registry.resources import PER_PAGE_MAX, Filter, Resource
from harvester.registry.walk import BY_ID, walk

AHEAD = 1
"""Pages asked for while the ones before them are still being looked at; the second waits for that of the first."""


async def listed(
    client: RegistryClient,
    resource: Resource,
    filters: Sequence[Filter] = (),
    *,
    sort: str = BY_ID[0],
    limit: int | None = None,
) -> AsyncGenerator[list[Record], None]:
    """Give the rows of a list, a page at a time; the second page is asked for once the first has been taken.

    `sort` is `<column>__asc|__desc`; rows alike in it come by id. `limit` is how many rows are wanted at most.
    Close it (`contextlib.aclosing`) if it is not read to its end. Raises ChangedError after the last row if rows
    have moved and some are missing, and the errors of `RegistryClient.page`.
    """
    per_page = min(client.settings.per_page, PER_PAGE_MAX, limit or PER_PAGE_MAX)
    pages = (
        _by_id(client, resource, filters, per_page)
        if sort == BY_ID[0]
        else _by(client, resource, filters, sort, per_page)
    )
    left = limit
    async with aclosing(pages):
        async for rows in pages:
            if left is not None and len(rows) >= left:
                yield rows[:left]
                return
            yield rows
            left = None if left is None else left - len(rows)


async def _by_id(
    client: RegistryClient, resource: Resource, filters: Sequence[Filter], per_page: int
) -> AsyncGenerator[list[Record], None]:
    """The pages of a walk, handed from its task to whoever reads, who is waited for."""
    pages: asyncio.Queue[Page | None] = asyncio.Queue()
    taken, first_taken = asyncio.Event(), asyncio.Event()

    async def fetch(number: int) -> Page:
        if number > 1:
            await first_taken.wait()
        return await client.page(resource, filters=filters, sort=BY_ID, page=number, per_page=per_page)

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


async def _by(
    client: RegistryClient, resource: Resource, filters: Sequence[Filter], sort: str, per_page: int
) -> AsyncGenerator[list[Record], None]:
    """Pages one after the other, each id once."""
    seen = Ids()
    number, page = 0, None
    while page is None or page.size == per_page:
        number += 1
        page = await client.page(resource, filters=filters, sort=(sort, "id__asc"), page=number, per_page=per_page)
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
