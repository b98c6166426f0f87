"""Waiting for the disk without holding up the network.

Hides the thread, and what a cancellation must not do: leave behind a checkpoint that is half written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class DiskThread:
    """One thread for the checkpoints of one dump. `well` is False once one has failed, or while one is under way."""

    def __init__(self) -> None:
        self.well = True
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="disk")

    async def run(self, checkpoint: Callable[[], None]) -> None:
        """Make a checkpoint; raises what it raised. Cancelled, this still waits for what has begun."""
        self.well = False
        running = asyncio.get_running_loop().run_in_executor(self._thread, checkpoint)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise
        finally:
            self.well = running.done() and not running.cancelled() and running.exception() is None

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown()
