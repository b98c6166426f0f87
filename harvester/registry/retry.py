"""How long and how often a request is asked again.

`backoff`, which is no longer developed, is confined to this module.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import backoff

from harvester.errors import MaintenanceError, RegistryError, TransientError

P = ParamSpec("P")
R = TypeVar("R")

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
"""Seconds. Between them the wait doubles; each is drawn from its upper half, so that workers do not march in step."""


@dataclass(frozen=True)
class Patience:
    """Seconds one request is asked again for: in ordinary trouble, and in maintenance."""

    transient: float
    maintenance: float

    def with_(self, error: RegistryError) -> float:
        """The patience there is with trouble of this kind."""
        return self.maintenance if isinstance(error, MaintenanceError) else self.transient


def waits() -> Generator[float, Any, None]:
    """Seconds to wait after each failure: what the server asked for, else jittered exponential growth.

    backoff sends the error in before it takes the next wait. A server that asks for no delay at all
    gets ours: asking again at once would make a crowd of us.
    """
    error = yield 0.0
    longest = FIRST_WAIT
    while True:
        asked = getattr(error, "retry_after", None)
        if asked:
            error = yield asked
            continue
        error = yield random.uniform(longest / 2, longest)  # noqa: S311
        longest = min(LONGEST_WAIT, longest * 2)


def patiently(
    attempt: Callable[P, Awaitable[R]],
    patience: Patience,
    *,
    before_wait: Callable[[RegistryError, float], None],
    except_for: tuple[type[RegistryError], ...] = (),
) -> Callable[P, Awaitable[R]]:
    """`attempt`, asked again on TransientError and MaintenanceError until it succeeds or patience ends.

    The last error is raised then; one of `except_for` is raised at once. A server that asks for a longer
    delay than there is patience for is not waited for at all.
    """

    def announce(details: Any) -> None:
        before_wait(details["exception"], details["wait"])

    @functools.wraps(attempt)
    async def persistently(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await attempt(*args, **kwargs)
        except (TransientError, MaintenanceError) as error:
            failures = [error]

        async def from_the_first_failure_on(*args: P.args, **kwargs: P.kwargs) -> R:
            if failures:
                raise failures.pop()
            return await attempt(*args, **kwargs)

        trouble = _Trouble(patience)
        asked_again = backoff.on_exception(
            waits,
            (TransientError, MaintenanceError),
            giveup=lambda error: isinstance(error, except_for) or trouble.outlasts(error),
            jitter=trouble.within,
            on_backoff=announce,
            logger=None,
        )(from_the_first_failure_on)
        return await asked_again(*args, **kwargs)

    return persistently


class _Trouble:
    """How long one request has been failing, by the loop's clock and from its first failure.

    backoff's own `max_time` counts from the call, so a request that stood in the throttle's queue through
    someone else's maintenance would be given up at its first hiccup; and it goes by the wall clock.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since: dict[type[RegistryError], float] = {}
        self._left = 0.0

    def outlasts(self, error: Any) -> bool:
        """Whether patience with this error is over, or cannot last as long as the server asks for."""
        now = asyncio.get_running_loop().time()
        if isinstance(error, MaintenanceError):
            # Whatever failed before it is over; what fails after it, as the Registry starts, has a time of its own.
            self._since.pop(TransientError, None)
        patience = self._patience.with_(error)
        self._left = patience - (now - self._since.setdefault(type(error), now))
        return self._left <= 0 or (error.retry_after or 0) > patience

    def within(self, seconds: float) -> float:
        """The wait, cut so that the last attempt is made when patience ends and not long after."""
        return min(seconds, self._left)
