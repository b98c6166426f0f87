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


FIRST = micros(datetime(1, 1, 1, tzinfo=UTC))
"""The first instant there is. It is also how the Registry writes NULL, but a NULL is in no window."""
LAST = micros(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))

PAGE_SECONDS = 0.095
"""What a page of 1,000 rows at offset 0 costs the Registry; skipped rows cost what their resource says."""

TAIL = 3
"""So many pages left in a window are fetched by offset at once: another split would cost a page of its own."""

WORTH_SPLITTING = 6
"""Pages a window must have left for an idle lane to take over a part of it: each split costs half a page."""

LARGE = 32
"""Pages of a window that is cut even if no lane is idle: for each page the Registry counts all rows of the window."""

GIANT = 3
"""Pages of one instant, received, after which its window is cut although a page must then be asked for twice."""

MOST_REPEATS = 5
"""How often a walk goes back without having got on in between, because rows have moved in its window under it."""


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


@dataclass(frozen=True, eq=False)
class Piece:
    """One page of a window that had `count` rows when it was ordered."""

    window: Window
    page: int
    count: int


@dataclass(eq=False)
class _Walk:
    """A window being walked: the first `position` of its rows are received.

    `last` and `last_id` are of the last of them, and `tied` is how many at the end share its time. `count` is how
    many rows the window must have if none has left it since, None where that is not known. `left` is a guess then.
    `cut_at` is what `last` was when its later part was last taken away.
    A `careful` walk asks for one page after the other: rows have moved when several were asked for at once.
    """

    window: Window
    careful: bool = False
    position: int = 0
    last: int = FIRST - 1
    last_id: int = 0
    tied: int = 0
    count: int | None = None
    left: int = 0
    first: int = LAST
    received: int = 0
    repeats: int = 0
    cut_at: int = FIRST - 1

    def begin_anew(self) -> None:
        """Let the window begin at the last row's time: of the rows there, the tied ones are received."""
        self.window = replace(self.window, since=self.last)
        self.position = self.tied

    def page(self, per_page: int) -> int:
        """The page to ask for next. Where no count can tell that rows have left, it has the last row once more."""
        return (self.position if self.count is not None else max(0, self.position - 1)) // per_page + 1


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
    _moved: set[Window] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

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
                await self._changed.wait()
                continue
            else:
                return
            self._tell()

    def _tell(self) -> None:
        """Wake the lanes that have nothing to do: there may be something now."""
        self._changed.set()
        self._changed.clear()

    def _next_walk(self) -> _Walk | None:
        window = self.windows.popleft() if self.windows else self._take_over()
        if window is None:
            return None
        walk = _Walk(window, careful=window in self._moved)
        self._walks.append(walk)
        return walk

    def _take_over(self) -> Window | None:
        """The later part of the largest window, taken from whoever walks it; None if none is worth it."""
        large = [walk for walk in self._walks if walk.left >= WORTH_SPLITTING * self.per_page]
        for walk in sorted(large, key=lambda walk: -walk.left):
            if (later := self._cut(walk)) is not None:
                return later
        return None

    def _cut(self, walk: _Walk) -> Window | None:
        """Take the later part away from a walk, which may be waiting for a page; None if it cannot be divided."""
        # If what remains is still large while one instant fills page after page, the rest may be of that instant.
        in_vain = walk.cut_at == walk.last and walk.tied >= self.per_page
        middle = walk.last if in_vain else _middle(walk)
        if not walk.last <= middle < walk.window.until:
            return None
        walk.cut_at = walk.last
        later = replace(walk.window, since=middle + 1)
        walk.window = replace(walk.window, until=middle)
        walk.left, walk.count = walk.left // 2, None
        return later

    async def _walk(self, walk: _Walk) -> None:
        # A walk that fails stays in the list: what it leaves must stay open.
        while await self._step(walk):
            self._tell()
        self._walks.remove(walk)

    async def _step(self, walk: _Walk) -> bool:
        """Ask for one page and give its rows on; returns whether the walk goes on."""
        if walk.count is None and walk.position:
            walk.begin_anew()
        window, count, number = walk.window, walk.count, walk.page(self.per_page)
        skipped = (number - 1) * self.per_page
        page = await self._ask(window, number)
        if self._has_moved(walk, count, page, skipped):
            return self._go_back(walk)
        rows = page.rows
        if walk.window.until != window.until:  # the later part has been taken over meanwhile
            rows = [row for row in rows if _time(row, window.resource) <= walk.window.until]
        fresh = rows[max(0, walk.position - skipped) :]
        seen, grown = skipped + page.size, count is not None and page.count > count
        if rows:
            self._remember(walk, rows, seen, grown)
        walk.received += len(fresh)
        walk.left = page.count - seen if walk.window.until == window.until else max(0, walk.left - len(fresh))
        goes_on = len(rows) == page.size == self.per_page and page.count > seen
        if goes_on:
            self._choose_next(walk, window, page.count, grown)
            goes_on = not self._order_rest(walk)
        if not goes_on:
            walk.left = 0
        giving = self._give(window.resource, fresh)
        del page, rows, fresh  # whoever takes them may have to wait, and must not have to hold them
        await giving
        return goes_on

    def _has_moved(self, walk: _Walk, count: int | None, page: Page, skipped: int) -> bool:
        """Whether a page shows that offsets do not mean any more what they meant for the pages before it."""
        if count is not None and page.count < count:
            return True
        if page.size < self.per_page and page.count > skipped + page.size:
            return True  # a row appeared between the server's two queries, or it gives less than asked
        known = walk.position - skipped
        if known > 0 and (page.size < known or page.rows[known - 1]["id"] != walk.last_id):
            return True
        return page.size > 0 and _time(page.rows[-1], walk.window.resource) < walk.last

    def _go_back(self, walk: _Walk) -> bool:
        """Repeat what shares the last row's time. Without a row received since the last time, only so often."""
        walk.repeats += 1
        if walk.repeats > MOST_REPEATS:
            raise ProtocolError(
                f"{walk.window.resource.path}: the Registry's rows and its count of them disagree again and again",
                mend="lower per_page, or report it to APTrust",
            )
        if walk.position:
            walk.begin_anew()
        walk.position, walk.count = 0, None
        return True

    def _remember(self, walk: _Walk, rows: Sequence[Record], seen: int, grown: bool) -> None:
        resource = walk.window.resource
        first, last = _time(rows[0], resource), _time(rows[-1], resource)
        at_last = rows[-1][resource.time_field]  # equal times are equal texts
        at_the_end = next((n for n, row in enumerate(reversed(rows)) if row[resource.time_field] != at_last), len(rows))
        if at_the_end < len(rows):
            walk.tied = at_the_end
        elif walk.window.since == last:
            walk.tied = seen
        else:
            walk.tied = at_the_end + (walk.tied if walk.last == last else 0)
        if last > walk.last:
            walk.repeats = 0
        walk.first = min(walk.first, first)
        walk.last, walk.last_id, walk.position = last, rows[-1]["id"], seen

    def _choose_next(self, walk: _Walk, asked: Window, count: int, grown: bool) -> None:
        """The next page of this window, or a window that begins at the last row's time: what costs less."""
        tied_pages, more = divmod(walk.tied, self.per_page)
        if walk.left >= LARGE * self.per_page and (more or tied_pages >= GIANT) and walk.window.until == asked.until:
            later = self._cut(walk)
            if later is not None:
                self.windows.append(later)
        if walk.window.until != asked.until or (grown and walk.last > asked.since):
            # How many rows are left must be asked for; or rows have come in before those on this page, and
            # `tied` is not to be relied upon.
            walk.count = None
            return
        walk.count = count
        resource = walk.window.resource
        if walk.last > asked.since and self._price(walk.tied, resource) < self._price(walk.position, resource):
            walk.count = count - (walk.position - walk.tied)
            walk.begin_anew()

    def _price(self, position: int, resource: Resource) -> float:
        """Seconds of the Registry's that a page from this position wastes: rows skipped, and rows repeated."""
        skipped = position - position % self.per_page
        return skipped * resource.skipped_row_seconds + (position - skipped) / self.per_page * PAGE_SECONDS

    def _order_rest(self, walk: _Walk) -> bool:
        """Leave the rest of a window to whoever is idle, if it is short or of one instant; returns whether so."""
        instant = walk.window.since == walk.window.until
        if walk.count is None or walk.careful or not (instant or walk.left <= TAIL * self.per_page):
            return False
        pages = range(walk.position // self.per_page + 1, -(-walk.count // self.per_page) + 1)
        self.pieces.extend(Piece(walk.window, page, walk.count) for page in pages)
        return True

    async def _fetch(self, piece: Piece) -> None:
        """Get one page by its number. If rows have moved in its window, the whole window is walked again."""
        self._fetching.append(piece)  # one that fails stays in the list: it must stay open
        window = piece.window
        page = await self._ask(window, piece.page)
        if piece in self._fetching:  # else another one has found out already
            self._fetching.remove(piece)
            # New rows of an instant come after all others: they move nothing.
            if page.count < piece.count or (page.count > piece.count and window.since < window.until):
                self._walk_again(window)
        giving = self._give(window.resource, page.rows)
        del page
        await giving

    def _walk_again(self, window: Window) -> None:
        self.pieces = deque(piece for piece in self.pieces if piece.window != window)
        self._fetching = [piece for piece in self._fetching if piece.window != window]
        self._moved.add(window)
        self.windows.append(window)

    async def _ask(self, window: Window, number: int) -> Page:
        page = await self.ask(window, number)
        if page.rows:
            first, last = (_time(row, window.resource) for row in (page.rows[0], page.rows[-1]))
            if not window.since <= first <= last <= window.until:
                raise ProtocolError(
                    f"{window.resource.path}: rows that are out of order, or not of the time asked for",
                    mend="report it to APTrust; harvest with --strategy per-object meanwhile",
                )
        return page

    async def _give(self, resource: Resource, rows: Sequence[Record]) -> None:
        if rows:
            taking = self.take(resource, rows)
            del rows
            await taking


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
