"""An event loop whose time all but stands still while anything runs and then jumps to the next timer.

An hour of waiting takes no time and always has the same end. Only for tests without sockets: the loop
does not wait for them.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

START = 1_000.0
TICK = 1e-6
"""Seconds a turn of the loop takes: aiolimiter waits for ever for a rounding error if time stands quite still."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """See the module."""

    _ready: Any
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        self.now = START
        super().__init__()

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        due = [timer.when() for timer in self._scheduled if not timer.cancelled()]
        self.now += TICK
        if not self._ready and due:
            self.now = max(self.now, min(due))
        super()._run_once()  # type: ignore[misc]  # typeshed leaves it out


def in_jumping_time(test: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Make an ordinary test of an async one."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            return runner.run(test(*args, **kwargs))

    return run


def now() -> float:
    """Seconds since the test began."""
    return asyncio.get_running_loop().time() - START
