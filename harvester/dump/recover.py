"""What a crash left of a dump being made: finish it, clear it away, or say how far it is.

Hides in which of the few states between the first line and the published directory the crash fell. None
of it needs the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harvester.dump import layout
from harvester.dump.disk import Disk
from harvester.dump.journal import Json, read_journal
from harvester.dump.lock import Lock
from harvester.dump.writer import disk_errors, publish, remove
from harvester.errors import DumpDamagedError, DumpError


@dataclass(frozen=True)
class Unfinished:
    """A dump that can be taken up again; `header` is the first line of its journal."""

    directory: Path
    header: Json


def recover(partial: Path, disk: Disk) -> Unfinished | Path | None:
    """Bring a partial dump into a state one can go on from.

    Returns the path of the dump if all that was missing was its publication, which is made up for now; None
    if there was nothing worth keeping, which is cleared away; else what to take up. Raises
    DumpLockedError if another process is at work on it.
    """
    with disk_errors(partial):
        lock = Lock(partial)
    try:
        if (partial.parent / layout.published_name(partial)).exists():
            return publish(partial, disk)
        for source in (partial, partial / layout.MERGED):
            if (source / layout.MANIFEST).is_file() and not (source / layout.JOURNAL).exists():
                return publish(partial, disk, source=source)
        remove(partial / layout.MERGED, disk)
        return begun(partial, disk)
    finally:
        lock.release()


def begun(directory: Path, disk: Disk) -> Unfinished | None:
    """A dump being made that can be gone on with; None, and it is cleared away, if nothing in it was vouched for."""
    header = header_of(directory)
    if header is None:
        remove(directory, disk)
        return None
    return Unfinished(directory, header)


def header_of(directory: Path) -> Json | None:
    """The first line of a journal, None if there is none."""
    try:
        return read_journal(directory).header
    except DumpDamagedError:
        raise
    except DumpError:
        # Only a journal without its first line is worth nothing; one of another version is.
        if _first_line(directory / layout.JOURNAL):
            raise
        return None


def _first_line(journal: Path) -> bool:
    try:
        with journal.open("rb") as lines:
            return lines.readline().endswith(b"\n")
    except FileNotFoundError:
        return False
    except OSError:
        return True  # unreadable is not empty
