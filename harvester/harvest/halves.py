"""One list walked as two.

Work items have no filter that makes their count exact for all of them, but one whose two values split
them exactly. Both halves are walked at once and their rows put back into one order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from heapq import merge

from harvester.registry import Page, Record, walk

Fetch = Callable[[int], Awaitable[Page]]


async def walk_merged(
    halves: Sequence[Fetch], take: Callable[[list[Record]], Awaitable[None]], *, per_page: int, after_id: int
) -> None:
    """Give the rows of all `halves` with ids above `after_id` to `take`, in id order, a page or less at a time."""
    queues: list[asyncio.Queue[Page | None]] = [asyncio.Queue(1) for _ in halves]

    async def feed(fetch: Fetch, queue: asyncio.Queue[Page | None]) -> None:
        await walk(fetch, queue.put, per_page=per_page, ahead=1)
        await queue.put(None)

    async with asyncio.TaskGroup() as group:
        for fetch, queue in zip(halves, queues, strict=True):
            group.create_task(feed(fetch, queue))
        heads = [await queue.get() for queue in queues]
        while limit := min((page.last_id for page in heads if page is not None), default=0):
            ready = [[row for row in page.rows if row["id"] <= limit] for page in heads if page is not None]
            rows = []
            for row in merge(*ready, key=lambda row: row["id"]):
                if row["id"] > after_id:  # a row that changed halves meanwhile is in both
                    rows.append(row)
                    after_id = row["id"]
            if rows:
                await take(rows)
            for index, page in enumerate(heads):
                rest = page.beyond(limit) if page is not None else None
                heads[index] = rest if rest is None or rest.size else await queues[index].get()
