"""Sweeping whole lists in time windows, with hardly a request that brings nothing new.

Hides how the Registry's offsets are kept shallow. A list sorted by time and id is walked in windows, inclusive
at both ends. The count of a window's page says how many rows are left in it. Going on, a walk either asks for
the next page of its window, or begins a window anew at the time of the last row, which repeats the rows that
share that time: it does whatever costs the Registry less. Idle lanes take over the later part of the largest
window. Inside an instant that fills pages there are only offsets left; those are fetched in parallel.

Rows come in no particular order and a few come twice, but none is left out; `Sweep.open` says at any moment
what has not been given yet, so that a sweep can be taken up again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from harvester.errors import ProtocolError
from harvester.registry.client import Page, Record
from harvester.registry.resources import RESOURCES, Filter, Resource, format_time

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Microseconds since 1970: the Registry's resolution."""
    return (moment - EPOCH) // MICROSECOND


FIRST = micros(datetime(1, 1, 1, 0, 0, 1, tzinfo=UTC))
"""Just after `0001-01-01T00:00:00Z`, which stands for NULL: rows without a time are in no window."""
LAST = micros(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))

PAGE_SECONDS = 0.095
"""What a page of 1,000 rows at offset 0 costs the Registry; skipped rows cost what their resource says."""

TAIL = 3
"""So many pages left in a window are fetched by offset at once: another split would cost a page of its own."""

WORTH_SPLITTING = 6
"""Pages a window must have left for an idle lane to take over a part of it: each split costs half a page."""

MOST_REPEATS = 5
"""How often a walk goes back because rows have left its window under it."""


@dataclass(frozen=True)
class Window:
    """The rows of a list with a time from `since` to `until`, both inclusive, in microseconds since 1970."""

    resource: Resource
    since: int = FIRST
    until: int = LAST

    @property
    def filters(self) -> tuple[Filter, ...]:
        """The window as the Registry's filters."""
        name = self.resource.time_field
        return (f"{name}__gteq", _text(self.since)), (f"{name}__lteq", _text(self.until))

    @property
    def sort(self) -> tuple[str, str]:
        """The order it is walked in."""
        return f"{self.resource.time_field}__asc", "id__asc"

    def as_json(self) -> list[Any]:
        """The window as a journal holds it."""
        return [self.resource.path, self.since, self.until]

    @classmethod
    def of_json(cls, content: Sequence[Any]) -> Window:
        """Read it back."""
        return cls(RESOURCES[content[0]], content[1], content[2])


@dataclass(frozen=True)
class Piece:
    """One page of a window that had `count` rows when it was ordered."""

    window: Window
    page: int
    count: int


@dataclass
class _Walk:
    """A window being walked: the first `position` of its rows are received.

    `last` is the time of the last of them and `tied` how many at the end share it. `count` is how many rows
    the window must have if none has left it since, None where that is not known.
    """

    window: Window
    position: int = 0
    last: int = FIRST - 1
    tied: int = 0
    count: int | None = None
    left: int = 0
    first: int = LAST
    received: int = 0
    repeats: int = 0

    def begin_anew(self, *, tied: int) -> None:
        """Let the window begin at the last row's time, of whose rows the first `tied` count as received."""
        if self.last >= self.window.since:
            self.window = replace(self.window, since=self.last)
            self.position = tied


Ask = Callable[[Window, int], Awaitable[Page]]
"""Get a page of a window, by its number from 1."""

Take = Callable[[Resource, Sequence[Record]], Awaitable[None]]
"""Accept rows. Before it waits for anything, they must be where `Sweep.open` need not speak of them any more."""


@dataclass
class Sweep:
    """Windows of one or more lists, walked by `lanes` at once. Run it once with `run`."""

    ask: Ask
    take: Take
    per_page: int
    lanes: int
    windows: deque[Window] = field(default_factory=deque)
    pieces: deque[Piece] = field(default_factory=deque)
    _walks: list[_Walk] = field(default_factory=list)
    _fetching: list[Piece] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self) -> None:
        """Walk all windows to their ends. Raises the first error a lane meets; ProtocolError if rows keep vanishing."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.lanes):
                group.create_task(self._lane())

    @property
    def open(self) -> tuple[list[Window], list[Piece]]:
        """What has not been given to `take` yet: windows, and single pages."""
        walking = [replace(walk.window, since=max(walk.window.since, walk.last)) for walk in self._walks]
        return [*self.windows, *walking], [*self.pieces, *self._fetching]

    @property
    def left(self) -> int:
        """Rows known to be left."""
        return sum(walk.left for walk in self._walks) + self.per_page * len(self.pieces)

    async def _lane(self) -> None:
        while True:
            if self.pieces:
                await self._fetch(self.pieces.popleft())
            elif (walk := self._next_walk()) is not None:
                await self._walk(walk)
            elif self._walks or self._fetching:
                async with self._changed:
                    await self._changed.wait()
                continue
            else:
                return
            await self._tell()

    async def _tell(self) -> None:
        """Wake the lanes that have nothing to do: there may be something now."""
        async with self._changed:
            self._changed.notify_all()

    def _next_walk(self) -> _Walk | None:
        walk = _Walk(self.windows.popleft()) if self.windows else self._split()
        if walk is not None:
            self._walks.append(walk)
        return walk

    def _split(self) -> _Walk | None:
        """The later part of the largest window, taken from whoever walks it; None if none is worth it."""
        large = [walk for walk in self._walks if walk.received and walk.left >= WORTH_SPLITTING * self.per_page]
        for walk in sorted(large, key=lambda walk: -walk.left):
            middle = _middle(walk)
            if walk.last <= middle < walk.window.until:
                later = _Walk(replace(walk.window, since=middle + 1))
                walk.window = replace(walk.window, until=middle)
                walk.left //= 2
                return later
        return None

    async def _walk(self, walk: _Walk) -> None:
        try:
            while await self._step(walk):
                pass
        finally:
            self._walks.remove(walk)

    async def _step(self, walk: _Walk) -> bool:
        """Ask for one page and give its rows on; returns whether the walk goes on."""
        window, number = walk.window, walk.position // self.per_page + 1
        page = await self.ask(window, number)
        if walk.count is not None and page.count < walk.count and walk.position:
            return self._go_back(walk)
        seen = (number - 1) * self.per_page + page.size
        if page.size < self.per_page and page.count > seen:
            return self._go_back(walk)  # a row appeared between the server's two queries, or it gives less than asked
        rows = page.rows
        if walk.window.until != window.until:  # an idle lane has taken the later part over meanwhile
            rows = [row for row in rows if _time(row, window.resource) <= walk.window.until]
        kept = len(rows)
        fresh = rows[max(0, walk.position - (number - 1) * self.per_page) :]
        if rows:
            self._remember(walk, rows, seen)
        walk.received += len(fresh)
        walk.left = page.count - seen if walk.window.until == window.until else max(0, walk.left - len(fresh))
        goes_on = kept == page.size == self.per_page and page.count > seen
        if goes_on:
            self._choose_next(walk, window, page.count)
            goes_on = not self._order_rest(walk)
        await self._give(window.resource, fresh)
        return goes_on

    def _go_back(self, walk: _Walk) -> bool:
        """Rows have left the window, so its offsets mean something else now: repeat what shares the last row's time."""
        walk.repeats += 1
        if walk.repeats > MOST_REPEATS:
            raise ProtocolError(
                f"{walk.window.resource.path}: the Registry's rows and its count of them disagree again and again",
                mend="lower per_page, or report it to APTrust",
            )
        walk.begin_anew(tied=0)
        walk.position, walk.count = 0, None
        return True

    def _remember(self, walk: _Walk, rows: Sequence[Record], seen: int) -> None:
        resource = walk.window.resource
        at_last = rows[-1][resource.time_field]  # equal times are equal texts
        at_the_end = next((n for n, row in enumerate(reversed(rows)) if row[resource.time_field] != at_last), len(rows))
        last = _time(rows[-1], resource)
        if at_the_end < len(rows):
            walk.tied = at_the_end
        elif walk.window.since == last:
            walk.tied = seen
        else:
            walk.tied = at_the_end + (walk.tied if walk.last == last else 0)
        walk.first = min(walk.first, _time(rows[0], resource))
        walk.last, walk.position = last, seen

    def _choose_next(self, walk: _Walk, asked: Window, count: int) -> None:
        """The next page of this window, or a window that begins at the last row's time: what costs less."""
        if walk.window.until != asked.until:
            # How many rows are left in the part that remains must be asked for.
            walk.begin_anew(tied=0)
            walk.count = None
            return
        walk.count = count
        if walk.tied >= 2 * self.per_page and walk.last < walk.window.until:
            # An instant that fills pages: it is walked as a window of its own, what follows is another one.
            self.windows.appendleft(replace(walk.window, since=walk.last + 1))
            walk.window = replace(walk.window, since=walk.last, until=walk.last)
            walk.position, walk.count, walk.left = walk.tied, None, 0
            return
        resource = walk.window.resource
        if walk.last > walk.window.since and self._price(walk.tied, resource) < self._price(walk.position, resource):
            walk.count = count - (walk.position - walk.tied)
            walk.begin_anew(tied=walk.tied)

    def _price(self, position: int, resource: Resource) -> float:
        """Seconds of the Registry's that a page from this position wastes: rows skipped, and rows repeated."""
        skipped = position - position % self.per_page
        return skipped * resource.skipped_row_seconds + (position - skipped) / self.per_page * PAGE_SECONDS

    def _order_rest(self, walk: _Walk) -> bool:
        """Leave the rest of a window to whoever is idle, if it is short or of one instant; returns whether so."""
        instant = walk.window.since == walk.window.until
        if walk.count is None or not (instant or walk.left <= TAIL * self.per_page):
            return False
        pages = range(walk.position // self.per_page + 1, -(-walk.count // self.per_page) + 1)
        self.pieces.extend(Piece(walk.window, page, walk.count) for page in pages)
        return True

    async def _fetch(self, piece: Piece) -> None:
        """Get one page by its number. If rows have left its window, the whole window is walked again."""
        self._fetching.append(piece)
        try:
            page = await self.ask(piece.window, piece.page)
        except BaseException:
            self._fetching.remove(piece)
            raise
        self._fetching.remove(piece)
        if page.count < piece.count:
            self.windows.append(piece.window)
        await self._give(piece.window.resource, page.rows)

    async def _give(self, resource: Resource, rows: Sequence[Record]) -> None:
        if rows:
            await self.take(resource, rows)


def _middle(walk: _Walk) -> int:
    """A time that may have as many of the rows left before it as after it.

    Judged by how dense the rows received so far lie, but never beyond the middle of the time left: a wrong
    guess costs a request, and halves the time there is to be wrong about.
    """
    middle = (walk.last + walk.window.until) // 2
    span = walk.last - walk.first
    if span > 0:
        middle = min(middle, walk.last + span * walk.left // (2 * walk.received))
    return middle


def _time(row: Record, resource: Resource) -> int:
    try:
        return micros(datetime.fromisoformat(row[resource.time_field]))
    except (KeyError, TypeError, ValueError):
        raise ProtocolError(f"{resource.path} {row['id']} has no usable {resource.time_field!r}") from None


def _text(moment: int) -> str:
    return format_time(EPOCH + moment * MICROSECOND)


__all__ = ["FIRST", "LAST", "Piece", "Sweep", "Window", "micros"]
