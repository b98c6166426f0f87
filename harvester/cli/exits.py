"""Errors into one line with a mend, and into the exit code that the README documents."""

from __future__ import annotations

from harvester.cli.text import one_line
from harvester.errors import (
    AuthError,
    BlockedError,
    ChangedError,
    ConfigError,
    DeniedError,
    DumpDamagedError,
    DumpLockedError,
    HarvesterError,
    MaintenanceError,
    TransientError,
)

COMPLETE = 0
FAILED = 1
USAGE = 2
CREDENTIALS = 3
UNAVAILABLE = 4
INCOMPLETE = 5
DAMAGED = 6
LOCKED = 75
INTERRUPTED = 128
"""To which the number of the signal is added: 130 for Ctrl-C, 143 for SIGTERM."""

_CODES: tuple[tuple[type[HarvesterError], int], ...] = (
    (ConfigError, USAGE),
    (AuthError, CREDENTIALS),
    (TransientError, UNAVAILABLE),
    (MaintenanceError, UNAVAILABLE),
    (BlockedError, UNAVAILABLE),
    (ChangedError, INCOMPLETE),
    (DumpLockedError, LOCKED),
    (DumpDamagedError, DAMAGED),
    (HarvesterError, FAILED),
)

_MENDS: tuple[tuple[type[HarvesterError], str], ...] = (
    (DeniedError, "the account may not see what was asked for"),
    (AuthError, "check the e-mail address and the API key; keys of the demo and the production Registry differ"),
    (MaintenanceError, "run it again later, or raise maintenance_patience"),
    (TransientError, "run it again later, or raise retry_budget"),
)


def exit_code(error: HarvesterError) -> int:
    """The documented exit code of an error."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


def mend_of(error: HarvesterError) -> str:
    """How to mend it; "" if nobody knows."""
    return error.mend or next((mend for kind, mend in _MENDS if isinstance(error, kind)), "")


def explain(error: HarvesterError) -> str:
    """The error as one line: where, what, and how to mend it."""
    mend = mend_of(error)
    return one_line(f"{str(error).rstrip('.')}; {mend}" if mend else str(error))
