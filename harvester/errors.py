"""What can go wrong, as one small tree.

HarvesterError
├── ConfigError            a setting, flag or filter is missing or wrong
├── DumpError              the dump directory cannot be used
│   ├── DumpLockedError    another process holds it
│   └── DumpDamagedError   what is on disk is not what was written
└── RegistryError          an answer of the Registry, or the lack of one
    ├── AuthError          the credentials are refused
    │   └── DeniedError    they are good, but not for what was asked
    ├── RequestError       our question was wrong: never retried
    ├── NotFoundError      there is no such record
    ├── ConflictError      it will not do so while other work is under way
    ├── TransientError     expected to pass: the only one that is retried as a matter of course
    │   └── SlowError      no whole answer in time; a smaller page may come
    ├── MaintenanceError   passes too, with a patience of its own
    ├── BlockedError       CloudFlare's page instead of the Registry
    ├── ChangedError       a list changed while it was read, and rows are missing
    └── ProtocolError      an answer that cannot be believed
        └── UncountableError   the Registry fails at counting this list; asked for in parts it does not

Errors carry facts: what is wrong (`problem`), where (`place`), and, where only the raiser knows it,
how to mend it (`mend`). The command line alone makes a sentence and an exit code of them.
"""

from __future__ import annotations


class HarvesterError(Exception):
    """Root of every error this package raises on purpose."""

    def __init__(self, problem: str, *, place: str = "", mend: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}" if self.place else self.problem


class ConfigError(HarvesterError):
    """A setting, flag or filter is missing or wrong; `place` is the flag, variable, or file and line."""


class DumpError(HarvesterError):
    """The dump directory cannot be used; `place` is the path."""


class DumpLockedError(DumpError):
    """Another process is at work on this dump."""


class DumpDamagedError(DumpError):
    """What is on disk is not what was written; `place` is the file and, where there is one, the line."""


class RegistryError(HarvesterError):
    """An answer of the Registry that is not the page asked for, or no answer at all.

    `place` is the URL (it never holds credentials: those travel in headers), `status` the HTTP status
    or 0 where there was none, `request_id` CloudFlare's ray id or "", `retry_after` the delay in seconds
    that the server asked for, or None.
    """

    def __init__(
        self,
        problem: str,
        *,
        place: str = "",
        mend: str = "",
        status: int = 0,
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(problem, place=place, mend=mend)
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after


class AuthError(RegistryError):
    """The credentials are refused (401)."""


class DeniedError(AuthError):
    """The credentials are accepted, but may not see what was asked for, or not any more (403)."""


class RequestError(RegistryError):
    """The Registry does not understand our question. It says so with status 500."""


class NotFoundError(RegistryError):
    """There is no such record (404)."""


class ConflictError(RegistryError):
    """The Registry will not do what it was asked to while other work on the same object is under way (409)."""


class TransientError(RegistryError):
    """Trouble expected to pass."""


class SlowError(TransientError):
    """No whole answer in time; a smaller page may come where this one did not."""


class MaintenanceError(RegistryError):
    """The Registry says that it is under maintenance."""


class BlockedError(RegistryError):
    """CloudFlare answered with a page of its own instead of letting the request through."""


class ChangedError(RegistryError):
    """A list changed while it was read in an order in which rows move: what was received is not all of it."""


class ProtocolError(RegistryError):
    """An answer that cannot be believed: not the Registry's JSON, ids out of order, rows missing."""


class UncountableError(ProtocolError):
    """The Registry fails at looking up how many rows this list has, and gives none of them."""
