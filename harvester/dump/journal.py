"""The journal of a dump being made: what is safely on disk, and where to go on.

An append-only NDJSON file. The first line says what is being harvested; every further line is a
checkpoint, written only after the data it speaks of has been synced. The last whole line counts; a line
torn by a crash is cut off. `cursor` and `notes` belong to whoever harvests: the journal keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import Any

import orjson

from harvester.dump.disk import Disk
from harvester.dump.layout import JOURNAL
from harvester.errors import DumpDamagedError, DumpError

FORMAT = 1

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Extent:
    """How far a file is written: bytes on disk, records (lines), and bytes of the lines before compression."""

    bytes: int = 0
    records: int = 0
    plain: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A state that can be gone back to: the cursor of the harvest and how far each file is written."""

    cursor: Json
    extents: Mapping[str, Extent]


@dataclass
class JournalState:
    """What a journal says: its header, the last checkpoint, every note up to it (oldest first), and its own size."""

    header: Json
    checkpoint: Checkpoint
    notes: list[Json] = field(default_factory=list)
    bytes: int = 0

    @classmethod
    def empty(cls, header: Json) -> JournalState:
        """The state of a journal that has just been begun."""
        return cls(header, Checkpoint({}, {}))


class Journal:
    """The open journal of a partial dump, for appending."""

    def __init__(self, directory: Path, disk: Disk) -> None:
        self._disk = disk
        self._descriptor = disk.open_append(directory / JOURNAL)

    def begin(self, header: Json) -> None:
        """Write the first line."""
        self._line({"kind": "harvest", "format": FORMAT, **header})

    def checkpoint(self, checkpoint: Checkpoint, notes: list[Json]) -> None:
        """Record a checkpoint whose data is on disk already, and what was noted since the one before."""
        extents = {stem: [extent.bytes, extent.records, extent.plain] for stem, extent in checkpoint.extents.items()}
        self._line({"kind": "checkpoint", "cursor": checkpoint.cursor, "extents": extents, "notes": notes})

    def close(self) -> None:
        """Close the file."""
        self._disk.close(self._descriptor)

    def _line(self, content: Json) -> None:
        self._disk.write(self._descriptor, orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
        self._disk.sync(self._descriptor)


def read_journal(directory: Path) -> JournalState:
    """Read a journal up to its last whole line; what a crash tore after that is ignored.

    Raises DumpError if there is no whole first line (nothing was harvested yet), DumpDamagedError if that
    line, or another before the last, cannot be read.
    """
    path = directory / JOURNAL
    state: JournalState | None = None
    torn: DumpDamagedError | None = None
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if torn is not None:
                    raise torn
                try:
                    state = _apply(state, line, f"{path}:{number}")
                    state.bytes += len(line)
                except DumpDamagedError as error:
                    if state is None and line.endswith(b"\n"):
                        raise
                    torn = error
    except FileNotFoundError:
        state = None
    except OSError as error:
        raise DumpError(error.strerror or str(error), place=str(path)) from None
    if state is None:
        raise DumpError(
            "no journal, so there is nothing to go on from", place=str(directory), mend="start over with --fresh"
        )
    return state


def _apply(state: JournalState | None, line: bytes, place: str) -> JournalState:
    damaged = DumpDamagedError("not a line of a journal", place=place, mend="start over with --fresh")
    if not line.endswith(b"\n"):
        raise damaged
    try:
        content = orjson.loads(line)
        kind = content["kind"]
        if state is None:
            if kind != "harvest":
                raise damaged
            if content["format"] != FORMAT:
                raise DumpError(
                    f"made by another version of harvester (journal format {content['format']}, not {FORMAT})",
                    place=place,
                    mend="finish it with that version, or start over with --fresh",
                )
            return JournalState.empty(content)
        extents = {stem: Extent(*map(index, extent)) for stem, extent in content["extents"].items()}
        state.checkpoint = Checkpoint(content["cursor"], extents)
        state.notes += content["notes"]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise damaged from None
    return state


def cut_torn_line(directory: Path, state: JournalState, disk: Disk) -> None:
    """Remove what a crash left of a line that was never finished, so that the next one starts on its own."""
    path = directory / JOURNAL
    if path.stat().st_size > state.bytes:
        descriptor = disk.open_append(path)
        try:
            disk.truncate(descriptor, state.bytes)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
