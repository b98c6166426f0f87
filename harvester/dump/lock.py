"""One process at a time per dump.

The lock is `flock` on a file, which the kernel gives back when its holder dies: a lock file left behind
by a dead process locks nothing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from harvester.dump.layout import LOCK
from harvester.errors import DumpLockedError


class Lock:
    """The lock of one partial dump, held until `release`. Raises DumpLockedError if another process has it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise DumpLockedError(
                f"another harvester is at work here (process {holder or 'unknown'})",
                place=str(directory),
                mend="wait for it, or stop it",
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others in. The file stays: removing it would let two processes lock two files of one name."""
        os.close(self._descriptor)
