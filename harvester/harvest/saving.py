"""Saving without holding up the network, or whoever makes what is to be saved next.

Hides the thread, and what a cancellation must not do: leave behind a checkpoint that is half written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self


class DiskThread:
    """One thread, within a `with` block, for the checkpoints of one dump, which are made one after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._latest: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        self._thread.submit(int)  # where no thread can be had it fails here, and not with a checkpoint in hand
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    @property
    def well(self) -> bool:
        """False once a checkpoint has failed, and while one is under way."""
        latest = self._latest
        return latest is None or (latest.done() and not latest.cancelled() and latest.exception() is None)

    async def run(self, checkpoint: Callable[[], None]) -> None:
        """Make a checkpoint; raises what it raised."""
        self.begin(checkpoint)
        await self.done()

    def begin(self, checkpoint: Callable[[], None]) -> None:
        """Begin a checkpoint; the one before it must be done."""
        self._latest = asyncio.get_running_loop().run_in_executor(self._thread, checkpoint)

    async def done(self) -> None:
        """Wait for the latest checkpoint; raises what it raised. Cancelled, this still waits for it."""
        if self._latest is not None:
            try:
                await asyncio.shield(self._latest)
            except asyncio.CancelledError:
                await self.settled()
                raise

    async def settled(self) -> None:
        """Wait until no checkpoint is under way, whatever came of it."""
        if self._latest is not None:
            await asyncio.wait([self._latest])
            _ = self._latest.cancelled() or self._latest.exception()  # or asyncio would say that nobody asked for it
