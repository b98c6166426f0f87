"""Ordered commit: workers finish in any order, lines reach the dump in one.

Hides who may fetch ahead of whom. Rows are committed turn by turn: an object, then its files, then its
events; and last the lists that belong to no object. Pages that arrive before their turn are held in
memory within a budget of bytes, those nearest to their turn first. A third of it is kept for the list that
is being committed, or what is held for later would leave it no room to be read ahead; and the page that is
next in line is always let through, so the walk cannot block itself.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from harvester.errors import RegistryError
from harvester.harvest.batch import Batch
from harvester.registry import Filter, Resource, Start


class Pages:
    """The pages of a list on their way from whoever fetches them to the one who commits them; None ends them.

    An asyncio.Queue would do, and counts tasks, getters and putters that nobody has here: there are two of these an
    object.
    """

    __slots__ = ("_here", "_wanted")

    def __init__(self) -> None:
        self._here: deque[Batch | None] = deque()
        self._wanted: asyncio.Future[None] | None = None

    def put(self, batch: Batch | None) -> None:
        """Add what comes next."""
        self._here.append(batch)
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    async def get(self) -> Batch | None:
        """What comes next, once it is here."""
        if not self._here:
            self._wanted = asyncio.get_running_loop().create_future()
            await self._wanted
        return self._here.popleft()


@dataclass(eq=False)
class Lane:
    """One list within a turn: pages come in at one end as they are fetched, and are committed at the other."""

    resource: Resource
    filters: tuple[Filter, ...]
    start: Start = field(default_factory=Start)
    pages: Pages = field(default_factory=Pages)
    error: RegistryError | None = None
    count: int = 0
    rows: int = 0
    last_id: int = 0
    active: int = 0
    active_bytes: int = 0
    held: int = 0

    def facts(self) -> dict[str, int]:
        """What a checkpoint must keep of a lane that is not at its end."""
        return {
            "rows": self.rows,
            "last_id": self.last_id,
            "count": self.count,
            "active": self.active,
            "active_bytes": self.active_bytes,
        }

    def take_up(self, facts: Mapping[str, int]) -> None:
        """Go on from such facts."""
        self.start = Start(facts["rows"], facts["last_id"])
        self.rows, self.last_id, self.count = facts["rows"], facts["last_id"], facts["count"]
        self.active, self.active_bytes = facts["active"], facts["active_bytes"]

    def close(self, error: RegistryError | None = None) -> None:
        """No more pages will come: the list is walked to its end, or `error` keeps it from it."""
        self.error = error
        self.pages.put(None)

    async def take(self, batch: Batch) -> None:
        """A page that comes next in the list."""
        self.pages.put(batch)

    def committed(self, batch: Batch) -> None:
        """Count a page that has been appended to the dump."""
        self.rows += batch.size
        self.last_id = batch.last_id
        self.active += batch.active
        self.active_bytes += batch.active_bytes


@dataclass(eq=False)
class Turn:
    """A place in line: an intellectual object with what hangs off it, or (without `about`) a list of its own.

    `line` is the object's own NDJSON line, empty when it is in the dump already; `about` what the
    reconciliation needs of the object. Lanes before `opened_at` were done when the turn was taken up again;
    `current` is the one being committed.
    """

    number: int
    line: bytes
    lanes: tuple[Lane, ...]
    about: Mapping[str, Any] | None = None
    opened_at: int = 0
    current: int = 0


@dataclass(order=True)
class _Waiting:
    """A page that waits for room; those nearest to their turn sort first."""

    turn_number: int
    lane_index: int
    page: int
    serial: int
    size: int = field(compare=False)
    lane: Lane = field(compare=False)
    admitted: asyncio.Future[None] = field(compare=False)


class Budget:
    """Bytes of pages fetched, or being fetched, ahead of their turn.

    No request has to wait for room if `limit` is three pages for each that may be in flight: one of the list
    that is being committed, and of those that come after it one in flight and one held.
    """

    def __init__(self, limit: int, per_page: int) -> None:
        self._limit = limit
        self._per_page = per_page
        self._held = 0
        self._head: Lane | None = None
        self._serial = count()
        self._waiting: list[_Waiting] = []

    @property
    def held(self) -> int:
        """Bytes held or reserved now."""
        return self._held

    async def reserve(self, turn: Turn, lane: Lane, page: int, size: int) -> None:
        """Wait until a page of about `size` bytes may be fetched."""
        if not self._waiting and self._has_room(lane, page, size):
            self._hold(lane, size)
            return
        admitted = asyncio.get_running_loop().create_future()
        index = turn.lanes.index(lane)
        heapq.heappush(self._waiting, _Waiting(turn.number, index, page, next(self._serial), size, lane, admitted))
        self._admit()
        await admitted

    def settle(self, lane: Lane, reserved: int, size: int) -> None:
        """Replace a reservation by what the page really takes."""
        self._hold(lane, size - reserved)
        self._admit()

    def release(self, lane: Lane, size: int) -> None:
        """A page of `size` bytes has been committed, or dropped."""
        self._hold(lane, -size)
        self._admit()

    def advance(self, turn: Turn, index: int) -> None:
        """Lane `index` of `turn` is the one being committed now."""
        self._head, turn.current = turn.lanes[index], index
        self._admit()

    def _hold(self, lane: Lane, size: int) -> None:
        self._held += size
        lane.held += size

    def _admit(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if not first.admitted.done():
                if not self._has_room(first.lane, first.page, first.size):
                    return
                # Counted here and not when the waiting task runs, or too many would be let in at once.
                self._hold(first.lane, first.size)
                first.admitted.set_result(None)
            heapq.heappop(self._waiting)

    def _has_room(self, lane: Lane, page: int, size: int) -> bool:
        head = self._head
        if lane is not head:
            later = self._held - (head.held if head is not None else 0)
            return later + size <= self._limit * 2 / 3 and self._held + size <= self._limit
        # Nothing can be committed before the first of these; an earlier page is one that a walk looks back at.
        return self._held + size <= self._limit or page <= lane.rows // self._per_page + 1
