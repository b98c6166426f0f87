"""Walking a list to its end without losing or repeating a row.

Hides what the Registry's lists do to those who trust them: `next` ends early or goes on for ever because
the count behind it is an hour old, pages may be shorter than asked for, and rows that leave a filtered
list while it is walked move the rest up across a page boundary. The rules:

- Rows are believed, links are not. A full page is followed by another request, whatever `next` says;
  a short one ends the walk, unless the Registry claims there is more: then one probe decides.
- Ids strictly increase over the whole walk.
- When an exact count falls between two pages, rows have left the list and others may have slipped below
  the page just read: the walk steps back until a page overlaps with what it has already seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from harvester.errors import ProtocolError
from harvester.registry.resources import PER_PAGE_MAX

BY_ID = ("id__asc",)
"""The sort of every page walk. The default sorts go by columns that change while one walks."""


class Leaf(Protocol):
    """What a walk must know of a page."""

    @property
    def size(self) -> int:
        """Rows on the page."""

    @property
    def first_id(self) -> int:
        """Id of the first row; 0 if there is none."""

    @property
    def last_id(self) -> int:
        """Id of the last row; 0 if there is none."""

    @property
    def count(self) -> int:
        """Rows in the whole list, as the Registry says."""

    @property
    def exact(self) -> bool:
        """Whether `count` was counted for this answer."""

    @property
    def has_next(self) -> bool:
        """Whether the Registry offered a next page."""

    def beyond(self, row_id: int) -> Self:
        """The page without its rows up to and including this id."""


L = TypeVar("L", bound=Leaf)
Fetch = Callable[[int], Awaitable[L]]
"""Get the page of this number; the first is 1."""


@dataclass(frozen=True)
class Start:
    """Where a walk begins: `rows` are already in hand, the last of them with id `last_id`."""

    rows: int = 0
    last_id: int = 0


async def walk(
    fetch: Fetch[L],
    take: Callable[[L], Awaitable[None]],
    *,
    per_page: int,
    ahead: int,
    start: Start = Start(),
) -> int:
    """Give every row of a list to `take`, page by page in id order; returns the rows given.

    `fetch` must ask with the sort `BY_ID` and this `per_page` (1 to 1000). While counts are exact, up to
    `ahead` pages are fetched at once. Raises ProtocolError where the answers do not add up.
    """
    if not 1 <= per_page <= PER_PAGE_MAX:
        raise ValueError(f"per_page must be 1 to {PER_PAGE_MAX}, not {per_page}")
    pages = _PagesAhead(fetch, per_page, ahead)
    try:
        return await _walk(pages, take, per_page, start)
    finally:
        await pages.close()


async def _walk(pages: _PagesAhead[L], take: Callable[[L], Awaitable[None]], per_page: int, start: Start) -> int:
    number = start.rows // per_page + 1
    last_id, given = start.last_id, 0
    count: int | None = None
    may_overlap = looking_back = start.rows > 0
    doubted = short_page = 0
    while True:
        leaf = await pages.get(number)
        if leaf.exact and count is not None and leaf.count != count:
            may_overlap = True
            looking_back = looking_back or leaf.count < count
        count = leaf.count
        if looking_back and number > 1 and (leaf.size == 0 or leaf.first_id > last_id):
            # The row before this page's first may be one that was never seen.
            pages.forget()
            number -= 1
            continue
        looking_back = False
        if leaf.size and short_page:
            if doubted != short_page:
                # Perhaps the short page has filled up since: look again, once.
                doubted, number, short_page, may_overlap = short_page, short_page, 0, True
                pages.forget()
                continue
            raise ProtocolError(
                f"page {short_page} has fewer than {per_page} rows although page {number} has some",
                mend="lower per_page: the Registry gives fewer rows a page than asked for",
            )
        fresh = leaf
        if leaf.size and leaf.first_id <= last_id:
            if not may_overlap:
                raise ProtocolError(f"page {number} goes back from id {last_id} to id {leaf.first_id}")
            fresh = leaf.beyond(last_id)
        may_overlap = False
        if fresh.size:
            await take(fresh)
            given += fresh.size
            last_id = fresh.last_id
        if leaf.size < per_page:
            seen = (number - 1) * per_page + leaf.size
            if leaf.exact and leaf.count > seen:
                # Perhaps a row was added between the server's two queries: look again, once.
                if doubted == number:
                    problem = f"the Registry counts {leaf.count} rows and gives {seen}"
                    raise ProtocolError(problem, mend="lower per_page, or report it to APTrust")
                doubted, may_overlap = number, True
                pages.forget()
                continue
            if leaf.exact or leaf.size == 0 or not leaf.has_next:
                return given
            short_page = number
        number += 1


class _PagesAhead(Generic[L]):
    """Pages by number, the next ones being fetched while one is looked at. Owns the tasks it starts."""

    def __init__(self, fetch: Fetch[L], per_page: int, ahead: int) -> None:
        self._fetch = fetch
        self._per_page = per_page
        self._ahead = ahead
        self._tasks: dict[int, asyncio.Future[L]] = {}
        self._dropped: list[asyncio.Future[L]] = []

    async def get(self, number: int) -> L:
        # A page that nobody fetches yet needs no task of its own.
        leaf = await (self._tasks.pop(number) if number in self._tasks else self._fetch(number))
        if leaf.exact:
            last = -(-leaf.count // self._per_page)
            for coming in range(number + 1, min(last, number + self._ahead) + 1):
                self._begin(coming)
        return leaf

    def forget(self) -> None:
        """Drop what was fetched ahead: the list has moved under it."""
        for task in self._tasks.values():
            task.cancel()
        self._dropped += self._tasks.values()
        self._tasks.clear()

    async def close(self) -> None:
        self.forget()
        if self._dropped:
            await asyncio.gather(*self._dropped, return_exceptions=True)

    def _begin(self, number: int) -> None:
        if number not in self._tasks:
            self._tasks[number] = asyncio.ensure_future(self._fetch(number))
