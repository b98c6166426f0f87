"""Running a coroutine so that Ctrl-C and SIGTERM end it cleanly, and a second one at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from harvester.cli.exits import INTERRUPTED

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 - not an error
    """A signal has ended the run; `consequence` is what there is to say about that."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = INTERRUPTED + number
        self.consequence = ""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end. Raises Interrupted once it has cleaned up after a first signal."""
    return asyncio.run(_supervise(work))


async def _supervise(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    received: list[int] = []

    def stop(number: int) -> None:
        if received:
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")  # the live block hides the cursor
            os._exit(INTERRUPTED + number)
        received.append(number)
        task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        if received:
            raise Interrupted(received[0]) from None
        raise
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
