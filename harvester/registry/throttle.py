"""One gate for every request: pause, then concurrency, then rate.

Hides how the three are kept at once. A request passes the gate for each attempt, so that retries are
held to the same limits. The gate knows nothing of HTTP: it is told to pause, to slow down and that
things go well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from math import ceil
from types import TracebackType
from typing import Self

from aiolimiter import AsyncLimiter

HEADROOM = 1.02
"""The rate is kept in windows this much longer than those it is promised for: what leaves us in one second may reach
the server in a little less."""

CATCH_UP = 0.1
"""Seconds of the rate that may be made up for at once, when the event loop was busy as the next request was due."""

WORTH_IT = 1.1
"""What one more in flight must gain in throughput, at least; doubling must gain four times that."""

ROUNDS_HELD = 12
"""Rounds after which a knee that was found is looked for again: the server may have got faster."""


class Knee:
    """How many in flight get the most out of the server: it stops adding where only latency grows.

    Told of every answer, it compares the throughput of rounds of answers. It doubles while that pays, then
    adds one at a time, steps back when the last step gained nothing, and stays there for a while. Rounds in
    which nobody waited for a slot say nothing of the server and are not counted.
    """

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self.limit = min(most, max(least, 2))
        """Requests that should be in flight."""
        self._doubling = True
        self._before: tuple[int, float] = (0, 0.0)
        self._held = 0
        self._answers = 0
        self._began: float | None = None

    def answered(self, now: float, *, busy: bool) -> None:
        """An answer came at `now` (seconds); `busy` is whether somebody waits for a slot."""
        if not busy or self._began is None:
            self._began, self._answers = now, 0
            return
        self._answers += 1
        if self._answers >= 4 * self.limit and now > self._began:
            self._judge(self._answers / (now - self._began))
            self._began, self._answers = now, 0

    def _judge(self, throughput: float) -> None:
        if self._held > 0:
            self._held -= 1
            return
        limit, before = self._before
        gain = throughput / before if before else float("inf")
        if limit < self.limit and gain < (1 + 4 * (WORTH_IT - 1) if self._doubling else WORTH_IT):
            self._held = 0 if self._doubling and gain >= WORTH_IT else ROUNDS_HELD
            self.limit = max(self._least, limit) if gain < WORTH_IT else self.limit
            self._doubling = False
            self._before = (self.limit, max(before, throughput))
            return
        self._before = (self.limit, throughput)
        self.limit = min(self._most, 2 * self.limit if self._doubling else self.limit + 1)


class Departure:
    """A request that has passed the gate, and when it left: as it passed, until it is known better."""

    __slots__ = ("_preparing", "_told", "at")

    def __init__(self, at: float) -> None:
        self.at = at
        self._preparing = False
        self._told: asyncio.Future[None] | None = None

    def preparing(self) -> Self:
        """Until `left` is told, or the `with` block over this ends, the request is still to leave."""
        self._preparing = True
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._preparing:
            self.left()

    def left(self) -> None:
        """The request is on its way only now: a connection had to be made, or the event loop was busy."""
        self.at = asyncio.get_running_loop().time()
        self._preparing = False
        if self._told is not None and not self._told.done():
            self._told.set_result(None)

    async def gone(self) -> None:
        """Wait until the request has left."""
        if self._preparing:
            self._told = self._told or asyncio.get_running_loop().create_future()
            await asyncio.wait([self._told])


class _Rate:
    """At most `rate` in any second, and as many as that however late the event loop wakes us.

    aiolimiter spaces them. Its bucket must have room for more than one, or no time that is lost would ever be made
    up for, a tenth of it at 100 a second; but a bucket with such room lets more than the rate through in its first
    second. So the last departures are kept too: nothing passes before a whole window is over since the last request
    but as many as the rate allows in it has left. One that waits for a connection is waited for, or all that do would
    leave at once when there is one.
    """

    def __init__(self, rate: float) -> None:
        most = ceil(rate)  # and not less: two full windows shorter than a second could begin in one
        room = 1 + rate * CATCH_UP
        self._limiter = AsyncLimiter(room, HEADROOM * room / rate)
        self._window = HEADROOM * most / rate
        self._last = deque([Departure(float("-inf"))] * most, maxlen=most)
        self._first = asyncio.Lock()

    async def acquire(self) -> Departure:
        """Wait until one more may pass; they pass in the order in which they asked."""
        loop = asyncio.get_running_loop()
        async with self._first:
            await self._limiter.acquire()
            await self._last[0].gone()
            while (early := self._last[0].at + self._window - loop.time()) > 0:
                await asyncio.sleep(early)
            self._last.append(departure := Departure(loop.time()))
            return departure


class Throttle:
    """At most `rate` requests a second, at most `concurrency` in flight, none while paused.

    Use it as `async with throttle as departure:` around one attempt; `departure.left()` is told when it goes out.
    """

    def __init__(self, rate: float, concurrency: int, knee: Knee | None = None) -> None:
        self._rate = _Rate(rate)
        self._knee = knee
        self._ceiling = concurrency if knee is None else knee.limit
        self._limit = float(self._ceiling)
        self._spared = 0
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0

    @property
    def concurrency(self) -> int:
        """Requests that may be in flight at this moment."""
        return int(self._limit)

    @property
    def in_flight(self) -> int:
        """Requests that hold a slot now."""
        return self._in_flight

    def pause(self, seconds: float) -> None:
        """Hold everyone back for `seconds` from now; a pause already longer stays as it is."""
        self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)

    def paused_for(self) -> float:
        """Seconds until requests may go out again, 0 if they may."""
        return max(0.0, self._paused_until - asyncio.get_running_loop().time())

    def congested(self) -> None:
        """The server is overloaded: allow half as many in flight, never fewer than one.

        What was in flight already may fail for the same reason, which is no reason to halve again.
        """
        if self._spared <= 0:
            self._limit = max(1.0, self._limit / 2)
            self._spared = self._in_flight

    def served(self) -> None:
        """A request went well: allow one more in flight for each round of them, up to the ceiling."""
        if self._knee is not None:
            uncongested = self._limit >= self._ceiling
            self._knee.answered(asyncio.get_running_loop().time(), busy=bool(self._waiting))
            self._ceiling = self._knee.limit
            if uncongested:
                self._limit = float(self._ceiling)
        self._limit = min(float(self._ceiling), self._limit + 1 / self._limit)
        self._wake()

    async def __aenter__(self) -> Departure:
        await self._take_slot()
        try:
            # A pause may begin while we wait for the rate, so the rate is asked only once none is on,
            # and the pause is looked at again afterwards.
            while True:
                while (seconds := self.paused_for()) > 0:
                    await asyncio.sleep(seconds)
                departure = await self._rate.acquire()
                if self.paused_for() == 0:
                    return departure
        except BaseException:
            self._give_back()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    async def _take_slot(self) -> None:
        if self._in_flight < self.concurrency and not self._waiting:
            self._in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()
            else:
                with contextlib.suppress(ValueError):  # _wake() drops the cancelled as it passes them
                    self._waiting.remove(turn)
            raise

    def _give_back(self) -> None:
        self._in_flight -= 1
        self._spared -= 1
        self._wake()

    def _wake(self) -> None:
        """Hand free slots to those who wait longest. The slot is counted here, not when they run again."""
        while self._waiting and self._in_flight < self.concurrency:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)
