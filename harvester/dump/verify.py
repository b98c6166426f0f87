"""Is this dump what was written, and is what it claims true? Answered without the network.

Every file is read once. The children of an object stand in the order of the objects, so files and events
are checked against objects.ndjson by reading the three side by side. Work is done on blocks of lines with
functions that loop in C; only a block in which something is wrong is gone through line by line, to name
the line.

Memory does not grow with the dump, but for the ids seen, which tell whether a line is there twice: four
bytes an id where they lie thin, and never more than one bit for each number that the Registry's sequence
has given out (125 MB for a thousand million). `deep` also holds the event identifiers of one object at a
time, about 0.1 KB each.

What it cannot know: nothing in a dump says how many events an object has. Whoever takes an event out and
mends every count and checksum after it is not found out.
"""

from __future__ import annotations

import hashlib
import io
import stat
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice, zip_longest
from operator import itemgetter, lt
from pathlib import Path
from typing import Any

import orjson

from harvester.dump import layout
from harvester.dump.codec import DECODE_ERRORS, PIECE, Codec
from harvester.dump.manifest import FileSummary, Manifest, checksum_lines, read_manifest
from harvester.errors import DumpDamagedError, DumpError

MOST_REPORTED = 100
"""Damages of one file listed by name; a file cut in the middle could have millions."""

LONGEST_LINE = 16 << 20
"""Bytes beyond which a line is no record, whatever it is: a file without line ends must not fill the memory."""

PARENT = "intellectual_object_id"

FIELDS: Mapping[str, Mapping[str, type]] = {
    "objects": {
        "id": int,
        "file_count": int,
        "size": int,
        "identifier": str,
        "state": str,
        "created_at": datetime,
        "updated_at": datetime,
    },
    "files": {
        "id": int,
        PARENT: int,
        "state": str,
        "size": int,
        "identifier": str,
        "created_at": datetime,
        "updated_at": datetime,
    },
    "events": {
        "id": int,
        PARENT: int,
        "generic_file_id": int,
        "identifier": str,
        "created_at": datetime,
        "date_time": datetime,
        "event_type": str,
    },
    "work_items": {
        "id": int,
        "name": str,
        "action": str,
        "stage": str,
        "status": str,
        "created_at": datetime,
        "updated_at": datetime,
    },
    "checksums": {"id": int, "algorithm": str, "digest": str, "generic_file_id": int, "datetime": datetime},
    "deletions": {"id": int, "requested_at": datetime},
    "alerts": {"id": int, "type": str, "created_at": datetime},
}
"""Keys without which a line is not a record of its file, and what their values are; `datetime` is a time as text.

Rows below are the values in this order. The rest of a record is the Registry's affair: what it may add or
change is not damage, and digests can be anything ("12345678" has been seen).
"""

CHILDREN = ("files", "events")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it was written; `line` counts from 1, 0 where the whole file is meant.

    Lines are those of the NDJSON, in a compressed file those after decompression.
    """

    file: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}" if self.line else f"{self.file}: {self.problem}"


@dataclass
class Verdict:
    """What `verify` found. `complete` is the manifest's claim, worth something only if nothing is damaged."""

    directory: Path
    complete: bool = False
    records: int = 0
    bytes: int = 0
    damages: list[Damage] = field(default_factory=list)
    further: int = 0
    _of_file: Counter[str] = field(default_factory=Counter, repr=False)

    @property
    def sound(self) -> bool:
        """Whether every check passed."""
        return not self.damages

    def report(self, file: str, line: int, problem: str) -> None:
        """Take down a damage."""
        self._of_file[file] += 1
        if self._of_file[file] <= MOST_REPORTED:
            self.damages.append(Damage(file, line, problem))
        else:
            self.further += 1


def verify(directory: Path, *, deep: bool = False) -> Verdict:
    """Check a whole dump. Raises DumpError if the directory is not a dump at all.

    The manifest against SHA256SUMS, against its schema and against itself; each file's size, sha256, number
    of lines and compression; each line's JSON, keys and their types; the order of ids and that none is there
    twice; that each file and event stands under its object; each object's count and bytes of active files;
    that nothing is missing from the directory or in it that should not be.

    `deep` adds what reads every record more closely: times must be times, no two events of an object may
    have one identifier, and an event's file must be a file of the same object, unless the event is younger
    than the dump's horizon: then the file may be, too.
    """
    try:
        return _verify(directory, deep)
    except OSError as error:
        raise DumpError(error.strerror or str(error), place=str(error.filename or directory)) from None


def _verify(directory: Path, deep: bool) -> Verdict:
    verdict = Verdict(directory)
    try:
        manifest = read_manifest(directory)
    except DumpDamagedError as error:
        verdict.report(layout.MANIFEST, 0, error.problem)
        return verdict
    except DumpError:
        # Of another version, or is it a flipped bit that says so?
        if not _manifest_changed(directory):
            raise
        verdict.report(layout.MANIFEST, 0, CHANGED)
        return verdict
    verdict.complete = manifest.complete
    _check_sums(directory, manifest, verdict)
    _check_claims(manifest, verdict)
    _check_directory(directory, manifest, verdict)
    files = {
        stem: _File(directory / summary.name, stem, summary, verdict, deep=deep)
        for stem, summary in manifest.files.items()
        if _is_file_name(stem, summary.name)
    }
    side_by_side = {"objects", *CHILDREN} & files.keys() if "objects" in files else set()
    if side_by_side:
        _Family(files, manifest, deep=deep).check()
    for stem, file in files.items():
        if stem not in side_by_side:
            for _ in file.chunks():
                pass
        file.compare()
    return verdict


# The manifest and the directory


CHANGED = f"changed since it was written: {layout.CHECKSUMS} has another sha256"


def _manifest_changed(directory: Path) -> bool:
    """Whether SHA256SUMS was written for another manifest than this one; False if one of them is missing."""
    try:
        return _digest_of(directory / layout.MANIFEST) not in (directory / layout.CHECKSUMS).read_bytes()
    except OSError:
        return False


def _digest_of(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).hexdigest().encode()


def _check_sums(directory: Path, manifest: Manifest, verdict: Verdict) -> None:
    """SHA256SUMS must be, to the byte, what this manifest and the digests in it make."""
    digests = {summary.name: summary.sha256 for summary in manifest.files.values()}
    digests[layout.MANIFEST] = _digest_of(directory / layout.MANIFEST).decode()
    try:
        there = (directory / layout.CHECKSUMS).read_bytes()
    except OSError as error:
        verdict.report(layout.CHECKSUMS, 0, _reason(error))
        return
    expected = checksum_lines(digests)
    if there == expected:
        return
    if _manifest_changed(directory):
        verdict.report(layout.MANIFEST, 0, CHANGED)
    for number, (line, right) in enumerate(zip_longest(there.split(b"\n"), expected.split(b"\n"), fillvalue=b""), 1):
        if line != right:
            verdict.report(layout.CHECKSUMS, number, "not what the manifest says")


def _check_claims(manifest: Manifest, verdict: Verdict) -> None:
    """The manifest against itself."""

    def wrong(problem: str) -> None:
        verdict.report(layout.MANIFEST, 0, problem)

    summaries = manifest.files.values()
    if manifest.totals.records != (records := sum(summary.records for summary in summaries)):
        wrong(f"totals.records is {manifest.totals.records}, the sum over its files {records}")
    if manifest.totals.bytes != (size := sum(summary.bytes for summary in summaries)):
        wrong(f"totals.bytes is {manifest.totals.bytes}, the sum over its files {size}")
    stems = {layout.RESOURCE_STEMS.get(name, name) for name in manifest.scope.resources}
    for stem in sorted(stems ^ manifest.files.keys()):
        wrong(f"lists a file of {stem}, not in its scope" if stem in manifest.files else f"lists no file of {stem}")
    if "objects" not in stems:
        wrong("has no objects in its scope")
    for stem, summary in manifest.files.items():
        if summary.name != layout.data_file(stem, Codec(manifest.compression)):
            wrong(f"names {summary.name} as the file of {stem} where compression is {manifest.compression}")
    walks = manifest.reconciliation.walks
    for resource, walk in walks.items():
        listed = manifest.files.get(layout.RESOURCE_STEMS.get(resource, resource))
        if listed is None or listed.records != walk.found:
            there = "no" if listed is None else listed.records
            wrong(f"the walk of {resource} found {walk.found}, the manifest lists {there} records of it")
    for stem in sorted(stems - {layout.RESOURCE_STEMS.get(name, name) for name in walks} - set(CHILDREN)):
        wrong(f"has no walk of {stem}")
    short = {resource for resource, walk in walks.items() if walk.found < walk.expected}
    if short != set(manifest.reconciliation.short_walks):
        wrong(f"short_walks does not name the walks that found less than expected ({', '.join(sorted(short))})")
    against = bool(manifest.failures or manifest.reconciliation.disagreements or short)
    if _moment(manifest.horizon) is None:
        wrong("its horizon is not a time")
    if manifest.complete and against:
        wrong("says complete although it lists what is missing")
    if not (manifest.complete or against):
        wrong("says incomplete and not what is missing")


def _is_file_name(stem: str, name: str) -> bool:
    """Whether this is a name that a file of the stem can have; any other could lead out of the directory."""
    return name in {layout.data_file(stem, codec) for codec in Codec} and stem in layout.STEMS


def _check_directory(directory: Path, manifest: Manifest, verdict: Verdict) -> None:
    """No data but the manifest's; what a dump being made keeps beside it is its own affair."""
    here = directory.resolve()
    if layout.is_partial(here) or layout.is_partial(here.parent):
        return
    named = {summary.name for summary in manifest.files.values()}
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            verdict.report(path.name, 0, "a directory that does not belong to the dump")
        elif ".ndjson" in path.name and path.name not in named:
            verdict.report(path.name, 0, "does not belong to the dump: the manifest does not list it")


def _reason(error: OSError) -> str:
    return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"


# One file


@dataclass(frozen=True)
class _Chunk:
    """Sound rows of one file, and the number of the line of each."""

    lines: Sequence[int]
    rows: list[Row]

    def cut(self, start: int, end: int | None) -> _Chunk:
        """Some of them."""
        return _Chunk(self.lines[start:end], self.rows[start:end])


class _File:
    """One data file, read once and checked by itself as it passes."""

    def __init__(self, path: Path, stem: str, summary: FileSummary, verdict: Verdict, *, deep: bool) -> None:
        fields = FIELDS[stem]
        self.name = path.name
        self._path = path
        self._summary = summary
        self._verdict = verdict
        self._fields = fields
        self._kinds = [{str if kind is datetime else kind} for kind in fields.values()]
        self._times = [index for index, kind in enumerate(fields.values()) if kind is datetime] if deep else []
        self._values = itemgetter(*fields)
        self._key = itemgetter(1, 0) if stem in CHILDREN else itemgetter(0)
        self._seen = _IdSet() if stem in CHILDREN else None
        self._line = 0
        self._ndjson_bytes = 0
        self._size = 0
        self._digest = hashlib.sha256()

    def damage(self, line: int, problem: str) -> None:
        """Report a damage of this file."""
        self._verdict.report(self.name, line, problem)

    def compare(self) -> None:
        """Compare the whole, once it has been read, with what the manifest says of it."""
        summary = self._summary
        self._verdict.records += self._line
        self._verdict.bytes += self._size
        if self._size != summary.bytes:
            self.damage(0, f"{self._size} bytes, the manifest says {summary.bytes}")
        if self._ndjson_bytes != summary.ndjson_bytes:
            self.damage(0, f"{self._ndjson_bytes} bytes of lines, the manifest says {summary.ndjson_bytes}")
        if self._line != summary.records:
            self.damage(0, f"{self._line} lines, the manifest says {summary.records}")
        if self._digest.hexdigest() != summary.sha256:
            self.damage(0, "the sha256 is not the one in the manifest")

    def chunks(self) -> Iterator[_Chunk]:
        """The rows in order: by id, those of an object by its id first. What breaks the order is left out."""
        last: Any = self._key((0, 0))
        waiting = _Chunk((), [])  # The last row: the one after it may show that it is out of place.
        for sound in self._sound():
            chunk = _Chunk([*waiting.lines, *sound.lines], waiting.rows + sound.rows) if waiting.rows else sound
            waiting = chunk.cut(-1, None)
            in_order = self._in_order(chunk, last)
            if in_order.rows:
                last = self._key(in_order.rows[-1])
                yield self._once(in_order)
        if waiting.rows and self._key(waiting.rows[0]) > last:
            yield self._once(waiting)
        elif waiting.rows:
            self._misplaced(waiting.lines[0], self._key(waiting.rows[0]), last, "after")

    def _in_order(self, chunk: _Chunk, last: Any) -> _Chunk:
        """The rows that follow `last` and each other in order, without the last one of the chunk."""
        keys = list(map(self._key, chunk.rows))
        if keys[0] > last and all(map(lt, keys, islice(keys, 1, None))):
            return chunk.cut(0, -1)
        lines, rows = [], []
        for line, row, key, following in zip(chunk.lines, chunk.rows, keys, keys[1:], strict=False):
            if key <= last:
                self._misplaced(line, key, last, "after")
            elif last < following < key:
                self._misplaced(line, key, following, "before")
            else:
                last = key
                lines.append(line)
                rows.append(row)
        return _Chunk(lines, rows)

    def _misplaced(self, line: int, key: Any, other: Any, where: str) -> None:
        if isinstance(key, tuple):
            (parent, key), (other_parent, other) = key, other
            if parent != other_parent:
                place = f"{where} what belongs to {other_parent}"
                self.damage(line, f"belongs to intellectual object {parent}, but stands {place}")
                return
        self.damage(line, f"id {key} {where} id {other}: doubled or out of order")

    def _once(self, chunk: _Chunk) -> _Chunk:
        """Report the rows whose ids have been seen; where the order is by id alone it shows that already."""
        if self._seen is not None:
            ids = [row[0] for row in chunk.rows]
            for index in self._seen.add(ids):
                self.damage(chunk.lines[index], f"id {ids[index]} is here a second time")
        return chunk

    def _sound(self) -> Iterator[_Chunk]:
        """The rows of all lines that are records of this file; the others are reported."""
        for lines in self._blocks():
            numbers = range(self._line + 1, self._line + 1 + len(lines))
            self._line += len(lines)
            rows = self._rows(lines)
            if rows is not None:
                yield _Chunk(numbers, rows)
            elif good := [(n, row) for n, line in zip(numbers, lines, strict=True) if (row := self._row(n, line))]:
                yield _Chunk([number for number, _ in good], [row for _, row in good])

    def _rows(self, lines: list[bytes]) -> list[Row] | None:
        """The rows of lines that are all as they must be; None if one is not."""
        try:
            rows = list(map(self._values, map(orjson.loads, lines)))
            columns = list(zip(*rows, strict=True))
            for index in self._times:
                for _ in map(datetime.fromisoformat, columns[index]):
                    pass
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None
        kinds = [set(map(type, column)) for column in columns]
        return rows if kinds == self._kinds and min(columns[0]) > 0 else None

    def _row(self, number: int, line: bytes) -> Row | None:
        """The row of a line; None if it is not a record of this file. What is wrong is reported."""
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            self.damage(number, "not JSON")
            return None
        if not isinstance(record, dict):
            self.damage(number, "not a JSON object")
            return None
        unusable = [problem for name, kind in self._fields.items() if (problem := _problem(record, name, kind))]
        untimely = [] if unusable else [f"{name} is not a time" for name in self._untimely(record)]
        if unusable or untimely:
            self.damage(number, "; ".join(unusable + untimely))
        return None if unusable else self._values(record)

    def _untimely(self, record: Mapping[str, Any]) -> list[str]:
        names = list(self._fields)
        return [names[index] for index in self._times if _moment(record[names[index]]) is None]

    def _blocks(self) -> Iterator[list[bytes]]:
        """The lines of the file, many at a time, without their ends."""
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):  # opening a pipe would wait for ever
                self.damage(0, "is not a file")
                return
            with self._path.open("rb", buffering=0) as file:
                rest = b""
                try:
                    for piece in Codec.of(self.name).decode(partial(self._read, file)):
                        self._ndjson_bytes += len(piece)
                        *lines, rest = (rest + piece).split(b"\n")
                        if lines:
                            yield lines
                        if len(rest) > LONGEST_LINE:
                            rest = b"\0"  # whatever follows, this line is not JSON
                except DECODE_ERRORS as error:
                    self.damage(self._line + 1, f"cannot be decompressed ({error})")
                    rest = b""
                    while self._read(file, PIECE):  # the size and the sha256 are still worth knowing
                        pass
                if rest:
                    self.damage(self._line + 1, "the line is cut short")
                    yield [rest]
        except OSError as error:
            self.damage(0, _reason(error))

    def _read(self, file: io.FileIO, size: int) -> bytes:
        """Bytes on their way to whoever decodes them, counted and hashed as they pass."""
        piece = file.read(size)
        self._size += len(piece)
        self._digest.update(piece)
        return piece


def _problem(record: Mapping[str, Any], name: str, kind: type) -> str:
    """What makes a record unusable; nothing if this value does not."""
    if name not in record:
        return f"lacks {name}"
    value = record[name]
    if kind is not int:
        return "" if type(value) is str else f"{name} is not text"
    if type(value) is not int:
        return f"{name} is not a whole number"
    return f"id {value} is not one" if name == "id" and value <= 0 else ""


class _IdSet:
    """Ids seen: in blocks of 65,536 numbers, each a sorted list while it holds few, then a map of bits."""

    FEW = 4096
    """Ids from which on the bits, 8 KiB, are the smaller of the two."""

    def __init__(self) -> None:
        self._blocks: dict[int, array[int] | bytearray] = {}

    def add(self, ids: Sequence[int]) -> list[int]:
        """Add ids; returns the positions of those that were there already."""
        again = []
        current, block = -1, None
        for position, number in enumerate(ids):
            if number >> 16 != current or block is None:  # neighbours mostly share a block
                current = number >> 16
                block = self._bits(current)
            low = number & 0xFFFF
            if block is None:
                if not self._add_to_few(current, low):
                    again.append(position)
                continue
            bit = 1 << (low & 7)
            if block[low >> 3] & bit:
                again.append(position)
            else:
                block[low >> 3] |= bit
        return again

    def __contains__(self, number: int) -> bool:
        block, low = self._blocks.get(number >> 16), number & 0xFFFF
        if isinstance(block, bytearray):
            return bool(block[low >> 3] & 1 << (low & 7))
        return block is not None and low in block[(at := bisect_left(block, low)) : at + 1]

    def _bits(self, index: int) -> bytearray | None:
        block = self._blocks.get(index)
        return block if isinstance(block, bytearray) else None

    def _add_to_few(self, index: int, low: int) -> bool:
        block = self._blocks.setdefault(index, array("H"))
        assert isinstance(block, array)
        at = bisect_left(block, low)
        if low in block[at : at + 1]:
            return False
        block.insert(at, low)
        if len(block) >= self.FEW:
            bits = bytearray(1 << 13)
            for low in block:
                bits[low >> 3] |= 1 << (low & 7)
            self._blocks[index] = bits
        return True


# Objects, and the files and events of each


class _Children:
    """The rows of files or events, object by object."""

    def __init__(self, file: _File) -> None:
        self.damage = file.damage
        self._groups = self._grouped(file)
        self._head = next(self._groups, None)

    def of(self, parent: float) -> Iterator[_Chunk]:
        """The rows of an object, in pieces. Those of objects before it that nobody asked for are reported."""
        while self._head is not None and self._head[0] <= parent:
            number, chunk = self._head
            if number == parent:
                yield chunk
            else:
                for line in chunk.lines:
                    self.damage(line, f"belongs to intellectual object {number}, which is not among the objects")
            self._head = next(self._groups, None)

    @staticmethod
    def _grouped(file: _File) -> Iterator[tuple[int, _Chunk]]:
        for chunk in file.chunks():
            parents = [row[1] for row in chunk.rows]
            start = 0
            while start < len(parents):
                end = bisect_right(parents, parents[start], start)
                yield parents[start], chunk.cut(start, end)
                start = end


NEVER = float("inf")
"""An id after all ids."""

AS_OLD_AS_A_TRANSACTION = timedelta(hours=1)
"""A row may be dated this much before others could see it."""


class _Family:
    """The check of objects.ndjson with the files and events of each object next to it."""

    def __init__(self, files: Mapping[str, _File], manifest: Manifest, *, deep: bool) -> None:
        self._objects = files["objects"]
        self._files = _Children(files["files"]) if "files" in files else None
        self._events = _Children(files["events"]) if "events" in files else None
        self._gaps = _known_gaps(manifest)
        self._deep = deep
        horizon = _moment(manifest.horizon)
        self._settled = horizon - AS_OLD_AS_A_TRANSACTION if horizon is not None else datetime.max.replace(tzinfo=UTC)

    def check(self) -> None:
        """Read all of them to the end."""
        for chunk in self._objects.chunks():
            for line, (number, file_count, size, *_) in zip(chunk.lines, chunk.rows, strict=True):
                files = _IdSet() if self._deep and self._files is not None and number not in self._gaps else None
                if self._files is not None:
                    self._check_files(line, number, (file_count, size), files)
                if self._events is not None:
                    self._check_events(number, files)
        for children in (self._files, self._events):
            if children is not None:
                for _ in children.of(NEVER):
                    pass

    def _check_files(self, line: int, number: int, said: tuple[int, int], ids: _IdSet | None) -> None:
        assert self._files is not None
        count = total = 0
        for chunk in self._files.of(number):
            sizes = [size for _, _, state, size, *_ in chunk.rows if state == "A"]
            count, total = count + len(sizes), total + sum(sizes)
            if ids is not None:
                ids.add([row[0] for row in chunk.rows])
        if (count, total) != said and number not in self._gaps:
            here = f"here are {count} active ones of {total}"
            self._objects.damage(line, f"intellectual object {number} says {said[0]} files of {said[1]} bytes, {here}")

    def _check_events(self, number: int, files: _IdSet | None) -> None:
        assert self._events is not None
        identifiers: set[str] = set()
        for chunk in self._events.of(number):
            if not self._deep:
                continue
            for line, (_, _, file, identifier, created_at, *_) in zip(chunk.lines, chunk.rows, strict=True):
                if identifier and identifier in identifiers:
                    self._events.damage(line, f"event {identifier} is here a second time")
                identifiers.add(identifier)
                if file and files is not None and file not in files and self._is_settled(created_at):
                    self._events.damage(line, f"happened to file {file}, which intellectual object {number} has not")

    def _is_settled(self, created_at: str) -> bool:
        """Whether a row is so old that a harvest must have seen what was created with it."""
        moment = _moment(created_at)
        return moment is not None and moment < self._settled


def _known_gaps(manifest: Manifest) -> frozenset[int]:
    """Objects of which the manifest itself says that their files are not all here, or do not add up."""
    failed = {failure.object for failure in manifest.failures}
    return frozenset(failed | {note.object for note in manifest.reconciliation.disagreements})


def _moment(text: str) -> datetime | None:
    """The instant that a time of the Registry's means, None if it means none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
