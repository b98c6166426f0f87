"""Sweeping whole lists in time windows, with hardly a request that brings nothing new.

Hides how the Registry's offsets are kept shallow. A list sorted by time and id is walked in windows, inclusive
at both ends. The count of a window's page says how many rows are left in it. Going on, a walk either asks for
the next page of its window, or begins a window anew at the time of the last row, which repeats the rows that
share that time: it does whatever costs the Registry less. As the Registry counts all rows of a window for each
page, a walk asks for its window only as far as a horizon some pages ahead, which moves on with it. Idle lanes take
over the later part of the largest window. Inside an instant that fills pages there are only offsets left; those
pages are fetched in parallel, the later half from the far end.

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

WORTH_SPLITTING = 8
"""Pages a window must have left for an idle lane to take over a part of it: each split costs half a page. Fewer are
fetched by offset at once, as soon as a lane is idle, unless that makes the Registry skip rows for longer than half a
page takes it."""

AHEAD = 12
"""Pages that a walk's horizon lies ahead: with each page the Registry counts all rows up to there."""

COUNTED_ROW_SECONDS = 0.37e-6
"""What each row costs the Registry that it counts."""

FURTHER = 8
"""How many times as far a walk looks ahead after a horizon that left a page short."""

GIANT = 3
"""Pages of one instant, received, after which it is asked for alone although a page must then be asked for twice:
the rest of it can be fetched in parallel then, and half of it from the far end."""

MOST_REPEATS = 5
"""How often a walk goes back without having got on in between, because rows have moved in its window under it."""


@dataclass(frozen=True)
class Window:
    """The rows of a list with a time from `since` to `until`, both inclusive, in microseconds since 1970.

    `backwards`: asked for from the last row on.
    """

    resource: Resource
    since: int = FIRST
    until: int = LAST
    backwards: bool = False

    @property
    def filters(self) -> tuple[Filter, ...]:
        """The window as the Registry's filters."""
        name = self.resource.time_field
        return (f"{name}__gteq", _text(self.since)), (f"{name}__lteq", _text(self.until))

    @property
    def sort(self) -> tuple[str, str]:
        """The order its pages are in."""
        direction = "desc" if self.backwards else "asc"
        return f"{self.resource.time_field}__{direction}", f"id__{direction}"

    def as_json(self) -> list[Any]:
        """The window as a journal holds it."""
        return [self.resource.path, self.since, self.until]

    @classmethod
    def of_json(cls, content: Sequence[Any]) -> Window:
        """Read it back."""
        return cls(RESOURCES[content[0]], content[1], content[2])


@dataclass(frozen=True, eq=False)
class Piece:
    """One page of a window that had `count` rows when it was ordered: from 1, or from the far end from -1."""

    window: Window
    page: int
    count: int


@dataclass(eq=False)
class _Walk:
    """A window being walked: the first `position` of its rows are received.

    Pages are asked for up to its `horizon`, which is the window's end or nearer, but may lie beyond an end that the
    window has been given since. `last` and `last_id` are of the last row received, and `tied` is how many at the end
    share its time. `count` is how many rows there must be up to the horizon if none has gone since, None where that is
    not known. `left` is of the whole window, and a guess unless the last page was asked for up to its end. `pace` is
    microseconds a row, of the last page; `reach` how many pages ahead the next horizon is to lie. `cut_at` is what
    `last` was when its later part was last taken away.
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
    repeats: int = 0
    cut_at: int = FIRST - 1
    horizon: int = LAST
    reach: int = AHEAD
    pace: float = 0.0

    def __post_init__(self) -> None:
        self.horizon = self.window.until

    @property
    def asked(self) -> Window:
        """The window as far as the horizon."""
        return replace(self.window, until=self.horizon)

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
    _idle: int = 0
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
                self._idle += 1
                await self._changed.wait()
                self._idle -= 1
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
        walk.left //= 2
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
        asked, count, number = walk.asked, walk.count, walk.page(self.per_page)
        skipped = (number - 1) * self.per_page
        page = await self._ask(asked, number)
        if self._has_moved(walk, count, page, skipped):
            return self._go_back(walk)
        rows = page.rows
        if walk.window.until < asked.until:  # the later part has been taken over meanwhile
            rows = [row for row in rows if _time(row, asked.resource) <= walk.window.until]
        fresh = rows[max(0, walk.position - skipped) :]
        seen, grown = skipped + page.size, count is not None and page.count > count
        if rows:
            self._remember(walk, rows, seen)
        whole = walk.window.until == asked.until
        walk.left = page.count - seen if whole else max(0, walk.left - len(fresh))
        goes_on = len(rows) == page.size == self.per_page and page.count > seen
        if goes_on:
            self._choose_next(walk, asked, page.count, grown)
            goes_on = not self._order_rest(walk)
        if not goes_on and asked.until < walk.window.until:
            self._begin_beyond(walk, page.size)
            goes_on = True
        if not goes_on:
            walk.left = 0
        giving = self._give(asked.resource, fresh)
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

    def _remember(self, walk: _Walk, rows: Sequence[Record], seen: int) -> None:
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
        walk.pace = (last - max(walk.last, first)) / len(rows)
        walk.last, walk.last_id, walk.position = last, rows[-1]["id"], seen

    def _choose_next(self, walk: _Walk, asked: Window, count: int, grown: bool) -> None:
        """The next page of what was asked, or a window that begins at the last row's time: what costs less."""
        walk.reach = AHEAD
        if (walk.window.until < asked.until and walk.tied % self.per_page) or (grown and walk.last > asked.since):
            # How many rows are left must be asked for; or rows have come in before those on this page, and
            # `tied` is not to be relied upon.
            walk.count, walk.horizon = None, min(walk.horizon, walk.window.until)
            return
        walk.count = count
        ahead = count - walk.position
        if walk.last < asked.until and min(walk.tied, ahead) >= GIANT * self.per_page:
            walk.count, walk.horizon = None, walk.last
            return
        horizon = self._horizon(walk, ahead)
        if walk.last > asked.since and self._is_cheaper_anew(walk, ahead, horizon):
            walk.count = count - (walk.position - walk.tied) if horizon == walk.horizon else None
            walk.horizon = horizon
            walk.begin_anew()

    def _is_cheaper_anew(self, walk: _Walk, ahead: int, horizon: int) -> bool:
        """Whether beginning anew at the last row costs the Registry less than going on with `ahead` rows."""
        going_on = self._price(walk.position, walk.window.resource) + ahead * COUNTED_ROW_SECONDS
        if walk.horizon < walk.window.until:  # else a page that is short is the last one anyway
            going_on += max(0, self.per_page - ahead) / self.per_page * PAGE_SECONDS
        anew = self._price(walk.tied, walk.window.resource) + min(ahead, AHEAD * self.per_page) * COUNTED_ROW_SECONDS
        if horizon != walk.horizon and walk.tied % self.per_page == 0:
            anew += PAGE_SECONDS  # the page with the last row, once more
        return anew < going_on

    def _horizon(self, walk: _Walk, ahead: int) -> int:
        """Where what is asked for anew should end, if up to the present horizon there are `ahead` rows."""
        wanted = walk.reach * self.per_page
        begin, until = max(walk.last, walk.window.since), walk.window.until
        if self.per_page <= ahead <= 2 * wanted:
            return walk.horizon
        if walk.left <= wanted:
            return until
        if ahead > wanted and walk.horizon < until:
            return begin + (walk.horizon - begin) * wanted // ahead
        # As dense as of late, or as on the average, whichever is less: too near a horizon costs a request.
        return min(until, begin + max(int(walk.pace * wanted), (until - begin) * wanted // walk.left))

    def _price(self, position: int, resource: Resource) -> float:
        """Seconds of the Registry's that a page from this position wastes: rows skipped, and rows repeated."""
        skipped = position - position % self.per_page
        return skipped * resource.skipped_row_seconds + (position - skipped) / self.per_page * PAGE_SECONDS

    def _order_rest(self, walk: _Walk) -> bool:
        """Leave the rest of what is asked for to whoever is idle, if it is short or of one instant: whether so."""
        window = walk.asked
        instant, whole = window.since == window.until, window.until == walk.window.until
        if walk.count is None or walk.careful or not (instant or (whole and walk.left <= self._tail(window.resource))):
            return False
        first, last = walk.position // self.per_page + 1, -(-walk.count // self.per_page)
        # From the far end each page is filled from the last row on: a row that comes in moves them all.
        middle = max(first - 1, (last + 1) // 2) if instant else last
        self.pieces.extend(Piece(window, page, walk.count) for page in range(first, middle + 1))
        self.pieces.extend(Piece(window, page, walk.count) for page in range(-1, middle - last - 1, -1))
        walk.left = max(0, walk.left - (walk.count - walk.position))
        return True

    def _tail(self, resource: Resource) -> int:
        """Rows left in a window that are few enough to be fetched by offset."""
        bearable = int(PAGE_SECONDS / 2 / resource.skipped_row_seconds)
        most = WORTH_SPLITTING * self.per_page if self._idle else 0
        return max(TAIL * self.per_page, min(most, bearable))

    def _begin_beyond(self, walk: _Walk, size: int) -> None:
        """Go on after the horizon: what is before it is received or ordered, by a page of `size` rows at last."""
        if size < self.per_page:
            walk.reach *= FURTHER
        walk.window = replace(walk.window, since=walk.horizon + 1)
        walk.position, walk.tied, walk.count = 0, 0, None
        walk.horizon = self._horizon(walk, 0)

    async def _fetch(self, piece: Piece) -> None:
        """Get one page by its number. If rows have moved in its window, the whole window is walked again."""
        self._fetching.append(piece)  # one that fails stays in the list: it must stay open
        window, back = piece.window, piece.page < 0
        number = abs(piece.page)
        page = await self._ask(replace(window, backwards=back), number)
        if piece in self._fetching:  # else another one has found out already
            self._fetching.remove(piece)
            # New rows of an instant come after all others: counted from its beginning they move nothing.
            moving = page.count > piece.count and (back or window.since < window.until)
            due = min(self.per_page, piece.count - (number - 1) * self.per_page)
            if page.count < piece.count or page.size < due or moving:
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
            ends = [(_time(row, window.resource), row["id"]) for row in (page.rows[0], page.rows[-1])]
            if window.backwards:
                ends.reverse()
            if not (window.since <= ends[0][0] and ends[0] <= ends[1] and ends[1][0] <= window.until):
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
    begin = max(walk.last, walk.window.since)  # past a horizon there may have been no row for long
    middle = (begin + walk.window.until) // 2
    return min(middle, begin + int(walk.pace * walk.left) // 2) if walk.pace else middle


def _time(row: Record, resource: Resource) -> int:
    try:
        return micros(datetime.fromisoformat(row[resource.time_field]))
    except (KeyError, TypeError, ValueError):
        raise ProtocolError(f"{resource.path} {row['id']} has no usable {resource.time_field!r}") from None


def _text(moment: int) -> str:
    return format_time(EPOCH + moment * MICROSECOND)


__all__ = ["FIRST", "LAST", "Piece", "Sweep", "Window", "micros"]
