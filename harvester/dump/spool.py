"""Lines that arrive in any order, to be read back in the order of a dump: an external sort that survives a crash.

Hides sorting in bounded memory. Lines are collected, sorted and written as runs; reading merges the runs and
drops what came twice. A run is a sequence of blocks: how many lines, how many bytes, the lines' places, their
notes, the lines. So all three are taken apart, compared and put together again by the block, and hardly anything
is done line by line. A run is durable before the journal speaks of it; what the journal does not know is cleared
away.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain, islice
from operator import lt
from pathlib import Path
from typing import BinaryIO

from harvester.dump.disk import Disk
from harvester.dump.journal import Checkpoint, Journal, JournalState, Json, cut_torn_line, read_journal
from harvester.dump.layout import JOURNAL
from harvester.dump.writer import disk_errors
from harvester.errors import DumpDamagedError, DumpError

RUNS = 2
"""How runs are written, for a journal to say; at first each line had its place in front of it."""

PLACE = struct.Struct(">QQ")
"""A line's place: the parent's id and its own. Such bytes sort as the numbers do."""

NOTE = 8
"""Bytes of a line's note: a number that comes back with it."""

GREATEST = (1 << 64) - 1
"""The greatest id, and the greatest note."""

HEAD = struct.Struct(">II")
"""What a block begins with: its number of lines, and their bytes."""

BLOCK = 1 << 15
"""Bytes of lines in a block, about: while runs are merged, one block of each is in memory."""

FAN_IN = 48
"""Runs merged at once: each takes an open file and a block."""

Block = tuple[Sequence[bytes], Sequence[int], Sequence[bytes]]
"""Places, in order, the notes and the lines that belong there."""


@dataclass
class Heap:
    """Lines not yet written, by stem, in the pieces they came in: places, notes and lines, each one after the other."""

    pieces: dict[str, list[tuple[bytes, bytes, bytes]]] = field(default_factory=dict)
    size: int = 0

    def add(self, stem: str, parents: Sequence[int], ids: Sequence[int], notes: Sequence[int], lines: bytes) -> None:
        """Add lines under their places; `size` counts their bytes."""
        places = _packed(list(chain.from_iterable(zip(parents, ids, strict=True))))
        self.pieces.setdefault(stem, []).append((places, _packed(notes), lines))
        self.size += len(lines)

    def sorted(self, stem: str) -> Block:
        """The lines of a stem in order, of each place the last that came."""
        return _sorted(_apart(*piece) for piece in self.pieces[stem])


class Reading:
    """Lines in order, read along by someone who knows up to where they are wanted."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self._places: Sequence[bytes] = ()
        self._notes: Sequence[int] = ()
        self._lines: Sequence[bytes] = ()
        self._at = 0
        self.head = b""
        """The place of the next line; empty at the end."""
        self.in_hand = b""
        """The place of the last line that is in memory; empty at the end."""
        self._turn_over()

    def before(self, parent: int) -> Iterator[Block]:
        """The lines left that belong to smaller parents, in pieces."""
        return self.up_to(PLACE.pack(parent, 0))

    def of(self, parent: int, last: int = GREATEST) -> Iterator[Block]:
        """The lines left up to the end of this parent, or up to its line with the id `last`, in pieces."""
        return self.up_to(PLACE.pack(parent, last), inclusive=True)

    def rest(self) -> Iterator[Block]:
        """All lines left, in pieces."""
        return self.of(GREATEST)

    def up_to(self, end: bytes, *, inclusive: bool = False) -> Iterator[Block]:
        """The lines left whose places are before `end`, in pieces."""
        end += b"\0" if inclusive else b""
        while self.head and self.head < end:
            wanted = slice(self._at, bisect_left(self._places, end, self._at))
            piece = self._places[wanted], self._notes[wanted], self._lines[wanted]
            self._at = wanted.stop
            if self._at < len(self._places):
                self.head = self._places[self._at]
            else:
                self._turn_over()
            yield piece

    def _turn_over(self) -> None:
        self._places, self._notes, self._lines = next(self._blocks, ((), (), ()))
        self._at = 0
        self.head, self.in_hand = (self._places[0], self._places[-1]) if self._places else (b"", b"")


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
            spool._journal.begin({**header, "runs": RUNS})
            disk.sync_directory(directory.parent)
        return spool

    @classmethod
    def reopen(cls, directory: Path, disk: Disk) -> tuple[Spool, JournalState]:
        """Go on at the last checkpoint. Raises DumpDamagedError if a run is not what the journal says.

        Runs of another version are refused now, before anything is asked for that could only be added to them.
        """
        with disk_errors(directory):
            state = read_journal(directory)
            if state.header.get("runs") != RUNS:
                raise DumpError(
                    "made by another version of harvester",
                    place=str(directory),
                    mend="finish it with that version, or start over with --fresh",
                )
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
            for stem in heap.pieces:
                path, note = self._run(stem, [heap.sorted(stem)])
                self._runs.setdefault(stem, []).append(path)
                notes.append(note)
            self._record(cursor, notes)

    def read(self, *stems: str) -> Reading:
        """All lines of these stems in order, of each place one. Of two versions either may come."""
        with disk_errors(self._directory):
            return Reading(self._read([run for stem in stems for run in self._few(stem)]))

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def _few(self, stem: str) -> list[Path]:
        """Runs few enough to be merged at once; made of more if need be, which takes their place."""
        runs = self._runs.setdefault(stem, [])
        while len(runs) > FAN_IN:
            several = runs[: min(FAN_IN, len(runs) - FAN_IN + 1)]  # no more than must be: all is read again for it
            with closing(_merged(several)) as merged:
                path, note = self._run(stem, merged)
            self._record(self._cursor, [{**note, "replaces": [run.name for run in several]}])
            for run in several:
                self._disk.remove(run)
            runs[: len(several)] = []
            runs.append(path)
        return runs

    def _run(self, stem: str, blocks: Iterable[Block]) -> tuple[Path, Json]:
        path = self._write(f"{stem}-{self._number:06d}.run", map(_together, chain.from_iterable(map(_cut, blocks))))
        self._number += 1
        return path, {"stem": stem, "run": path.name, "bytes": path.stat().st_size}

    def _record(self, cursor: Json, notes: list[Json]) -> None:
        self._disk.sync_directory(self._directory)
        self._journal.checkpoint(Checkpoint(cursor, {}), notes)
        self._cursor = cursor

    def _read(self, runs: Sequence[Path]) -> Iterator[Block]:
        with disk_errors(self._directory):
            yield from _merged(runs)

    def _write(self, name: str, pieces: Iterable[bytes]) -> Path:
        path = self._directory / name
        self._disk.remove(path)
        descriptor = self._disk.open_append(path)
        try:
            for piece in pieces:
                self._disk.write(descriptor, piece)
            self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)
        return path


def own_id(place: bytes) -> int:
    """The id of the line with this place."""
    return int.from_bytes(place[8:])


def _merged(runs: Sequence[Path]) -> Generator[Block, None, None]:
    """The lines of all runs in order, of each place one."""
    with ExitStack() as stack:
        readings = [Reading(_blocks(stack.enter_context(path.open("rb")), path)) for path in runs]
        while readings := [reading for reading in readings if reading.head]:
            # Up to here nothing is missing; at least one run must be read on from here.
            end = min([reading.in_hand for reading in readings])
            yield _sorted(
                piece for reading in readings if reading.head <= end for piece in reading.up_to(end, inclusive=True)
            )


def _sorted(pieces: Iterable[Block]) -> Block:
    places: list[bytes] = []
    notes: list[int] = []
    lines: list[bytes] = []
    for more_places, more_notes, more_lines in pieces:
        places += more_places
        notes += more_notes
        lines += more_lines
    if all(map(lt, places, islice(places, 1, None))):
        return places, notes, lines
    where = dict(zip(places, range(len(lines)), strict=True))
    order = sorted(where)
    wanted = list(map(where.__getitem__, order))
    return order, list(map(notes.__getitem__, wanted)), list(map(lines.__getitem__, wanted))


def _blocks(run: BinaryIO, path: Path) -> Iterator[Block]:
    whole = path.stat().st_size
    head = run.read(HEAD.size)
    while head:
        count, size = HEAD.unpack(head) if len(head) == HEAD.size else (0, whole)
        notes_at, lines_at = count * PLACE.size, count * (PLACE.size + NOTE)
        end = lines_at + size
        # No block is empty, and of none is more asked for than there is.
        if count and end <= whole:
            content = run.read(end + HEAD.size)  # the next one's head too: at each read others may take the GIL
            head = content[end:]
            if len(content) >= end:
                block = _apart(content[:notes_at], content[notes_at:lines_at], content[lines_at:end])
                if len(block[2]) == count:
                    del content
                    yield block
                    continue
        raise DumpDamagedError("not a run of lines", place=str(path), mend="start over with --fresh")


def _cut(block: Block) -> Iterator[Block]:
    """The block in pieces of about `BLOCK` bytes."""
    places, notes, lines = block
    count = max(1, BLOCK * len(lines) // max(1, sum(map(len, lines))))
    for begin in range(0, len(lines), count):
        wanted = slice(begin, begin + count)
        yield places[wanted], notes[wanted], lines[wanted]


def _together(block: Block) -> bytes:
    places, notes, lines = block
    head = HEAD.pack(len(lines), sum(map(len, lines)))
    return b"".join((head, *places, _packed(notes), *lines))


def _apart(places: bytes, notes: bytes, lines: bytes) -> Block:
    return (
        list(chain.from_iterable(struct.iter_unpack(f"{PLACE.size}s", places))),
        struct.unpack(f">{len(notes) // NOTE}Q", notes),
        BytesIO(lines).readlines(),  # five times as fast as splitlines, which looks at every byte
    )


def _packed(numbers: Sequence[int]) -> bytes:
    return struct.pack(f">{len(numbers)}Q", *numbers)


__all__ = ["Block", "Heap", "Reading", "Spool", "own_id"]
