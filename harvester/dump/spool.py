"""Lines that arrive in any order, to be read back in the order of a dump: an external sort that survives a crash.

Hides sorting in bounded memory. Lines are collected, sorted and written as runs; reading merges the runs and
drops what came twice. Each line carries its place as 32 hexadecimal digits, so sorting and merging compare
plain bytes. A run is durable before the journal speaks of it; what the journal does not know is cleared away.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harvester.dump.disk import Disk
from harvester.dump.journal import Checkpoint, Journal, JournalState, Json, cut_torn_line, read_journal
from harvester.dump.layout import JOURNAL
from harvester.dump.writer import disk_errors
from harvester.errors import DumpDamagedError

PLACE = 32
"""Bytes in front of each line in a run: the parent's id and its own, 16 hexadecimal digits each."""

FAN_IN = 48
"""Runs merged at once: each takes an open file and its buffer."""


@dataclass
class Heap:
    """Lines not yet written, by stem."""

    lines: dict[str, list[bytes]] = field(default_factory=dict)
    size: int = 0

    def add(self, stem: str, parent: int, own: int, line: bytes) -> None:
        """Add a line under its place; `size` counts its bytes."""
        self.lines.setdefault(stem, []).append(b"%016x%016x%b" % (parent, own, line))
        self.size += len(line)


class Spool:
    """The runs of one sweep, with their journal, in a directory of their own."""

    def __init__(
        self, directory: Path, disk: Disk, runs: Mapping[str, Sequence[Path]], number: int, cursor: Json
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._runs = {stem: list(paths) for stem, paths in runs.items()}
        self._number = number
        self._cursor = cursor
        with disk_errors(directory):
            self._journal = Journal(directory, disk)

    @classmethod
    def create(cls, directory: Path, header: Json, disk: Disk) -> Spool:
        """Begin in a directory that does not exist yet."""
        with disk_errors(directory):
            disk.make_directory(directory)
            spool = cls(directory, disk, {}, 0, {})
            disk.sync_directory(directory)
            spool._journal.begin(header)
            disk.sync_directory(directory.parent)
        return spool

    @classmethod
    def reopen(cls, directory: Path, disk: Disk) -> tuple[Spool, JournalState]:
        """Go on at the last checkpoint. Raises DumpDamagedError if a run is not what the journal says."""
        with disk_errors(directory):
            state = read_journal(directory)
            cut_torn_line(directory, state, disk)
            runs: dict[str, list[Path]] = {}
            replaced = {name for note in state.notes for name in note.get("replaces", ())}
            for note in state.notes:
                if note["run"] in replaced:
                    continue
                path = directory / note["run"]
                size = path.stat().st_size if path.is_file() else -1
                if size != note["bytes"]:
                    problem = f"{size} bytes" if size >= 0 else "is missing"
                    raise DumpDamagedError(problem, place=str(path), mend="start over with --fresh")
                runs.setdefault(note["stem"], []).append(path)
            known = {path.name for paths in runs.values() for path in paths} | {JOURNAL}
            for path in directory.iterdir():
                if path.name not in known:
                    disk.remove(path)
        return cls(directory, disk, runs, len(state.notes), state.checkpoint.cursor), state

    def checkpoint(self, heap: Heap, cursor: Json) -> None:
        """Write the heap as runs, make them durable, and only then say so, with the cursor."""
        notes: list[Json] = []
        with disk_errors(self._directory):
            for stem, lines in heap.lines.items():
                lines.sort()
                path, note = self._run(stem, lines)
                self._runs.setdefault(stem, []).append(path)
                notes.append(note)
            self._record(cursor, notes)

    def read(self, stem: str) -> Iterator[tuple[int, int, bytes]]:
        """All lines in order, each once, with the parent's id and their own. Of two versions either may come."""
        with disk_errors(self._directory):
            before = b""
            for line in self._merged(self._few(stem)):
                place = line[:PLACE]
                if place != before:
                    before = place
                    yield int(place[:16], 16), int(place[16:], 16), line[PLACE:]

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def _few(self, stem: str) -> list[Path]:
        """Runs few enough to be merged at once; made of more if need be, which takes their place."""
        runs = self._runs.setdefault(stem, [])
        while len(runs) > FAN_IN:
            several = runs[:FAN_IN]
            path, note = self._run(stem, self._merged(several))
            self._record(self._cursor, [{**note, "replaces": [run.name for run in several]}])
            for run in several:
                self._disk.remove(run)
            runs[:FAN_IN] = []
            runs.append(path)
        return runs

    def _run(self, stem: str, pieces: Iterable[bytes]) -> tuple[Path, Json]:
        path = self._write(f"{stem}-{self._number:06d}.run", pieces)
        self._number += 1
        return path, {"stem": stem, "run": path.name, "bytes": path.stat().st_size}

    def _record(self, cursor: Json, notes: list[Json]) -> None:
        self._disk.sync_directory(self._directory)
        self._journal.checkpoint(Checkpoint(cursor, {}), notes)
        self._cursor = cursor

    def _merged(self, runs: Sequence[Path]) -> Iterator[bytes]:
        with ExitStack() as stack:
            yield from heapq.merge(*(stack.enter_context(path.open("rb", buffering=1 << 13)) for path in runs))

    def _write(self, name: str, pieces: Iterable[bytes]) -> Path:
        path = self._directory / name
        self._disk.remove(path)
        descriptor = self._disk.open_append(path)
        try:
            gathered = bytearray()
            for piece in pieces:
                gathered += piece
                if len(gathered) >= 1 << 20:
                    self._disk.write(descriptor, gathered)
                    gathered.clear()
            self._disk.write(descriptor, gathered)
            self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)
        return path


__all__ = ["Heap", "Spool"]
