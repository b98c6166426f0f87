"""Is this dump what was written, and is what it claims true? Answered without the network.

One streaming pass. The children of an object stand in the order of the objects, so files and events are
checked against objects.ndjson by reading the three side by side; only the ids seen are remembered, one
bit each.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from harvester.dump import layout
from harvester.dump.codec import DECODE_ERRORS, Codec
from harvester.dump.manifest import FileSummary, Manifest, read_manifest
from harvester.errors import DumpDamagedError

MOST_REPORTED = 100
"""Damages listed by name; a file cut in the middle could have millions."""

PARENT = "intellectual_object_id"

REQUIRED: Mapping[str, frozenset[str]] = {
    "objects": frozenset({"id", "identifier", "state", "file_count", "size", "created_at", "updated_at"}),
    "files": frozenset({"id", "identifier", PARENT, "state", "size", "created_at", "updated_at"}),
    "events": frozenset({"id", "identifier", PARENT, "generic_file_id", "event_type", "date_time"}),
    "work_items": frozenset({"id", "name", "action", "stage", "status"}),
    "checksums": frozenset({"id", "algorithm", "digest", "generic_file_id"}),
    "deletions": frozenset({"id", "requested_at"}),
    "alerts": frozenset({"id", "type", "created_at"}),
}
"""Keys without which a line is not a record of its file."""

CHILDREN = ("files", "events")


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it was written; `line` counts from 1, 0 where the whole file is meant."""

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

    @property
    def sound(self) -> bool:
        """Whether every check passed."""
        return not self.damages

    def report(self, file: str, line: int, problem: str) -> None:
        """Take down a damage."""
        if len(self.damages) < MOST_REPORTED:
            self.damages.append(Damage(file, line, problem))
        else:
            self.further += 1


def verify(directory: Path) -> Verdict:
    """Check a whole dump. Raises DumpError if the directory is not a dump at all."""
    verdict = Verdict(directory)
    try:
        manifest = read_manifest(directory)
    except DumpDamagedError as error:
        verdict.report(layout.MANIFEST, 0, error.problem)
        return verdict
    verdict.complete = manifest.complete
    _check_manifest(directory, manifest, verdict)
    files = {stem: _Lines(directory / summary.name, stem, summary, verdict) for stem, summary in manifest.files.items()}
    _check_family(files, _known_gaps(manifest))
    for stem in manifest.files:
        if stem not in ("objects", *CHILDREN):
            _check_increasing(files[stem])
    for lines in files.values():
        lines.finish()
    return verdict


class _IdSet:
    """Ids seen, one bit each in blocks made as they are needed."""

    def __init__(self) -> None:
        self._blocks: dict[int, bytearray] = {}

    def add(self, number: int) -> bool:
        """Add an id; False if it was there already."""
        block = self._blocks.get(number >> 16)
        if block is None:
            block = self._blocks[number >> 16] = bytearray(1 << 13)
        index, bit = (number & 0xFFFF) >> 3, 1 << (number & 7)
        fresh = not block[index] & bit
        block[index] |= bit
        return fresh


class _Measured(io.RawIOBase):
    """A file's bytes on their way to whoever decodes them, counted and hashed as they pass."""

    source: BinaryIO

    def __init__(self) -> None:
        self.size = 0
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read, count, hash."""
        count = self.source.readinto(buffer)  # type: ignore[attr-defined]
        self.digest.update(memoryview(buffer)[:count])
        self.size += count
        return int(count)


class _Lines:
    """The records of one file, checked as they pass: size, digest, JSON, keys, ids."""

    def __init__(self, path: Path, stem: str, summary: FileSummary, verdict: Verdict) -> None:
        self.name = path.name
        self.line = 0
        self._path = path
        self._required = REQUIRED.get(stem, frozenset({"id"}))
        self._summary = summary
        self._verdict = verdict
        self._ndjson_bytes = 0
        self._raw = _Measured()
        self._records = self._read()
        self.head: dict[str, Any] | None = None
        self.advance()

    def advance(self) -> None:
        """Go to the next sound record; `head` is None at the end."""
        self.head = next(self._records, None)

    def damage(self, problem: str) -> None:
        """Report the line that `head` stands on."""
        self._verdict.report(self.name, self.line, problem)

    def finish(self) -> None:
        """Read what is left and compare the whole with what the manifest says of it."""
        while self.head is not None:
            self.advance()
        verdict, summary = self._verdict, self._summary
        verdict.records += self.line
        verdict.bytes += self._raw.size
        if self._raw.size != summary.bytes:
            verdict.report(self.name, 0, f"{self._raw.size} bytes, the manifest says {summary.bytes}")
        if self._ndjson_bytes != summary.ndjson_bytes:
            problem = f"{self._ndjson_bytes} bytes of lines, the manifest says {summary.ndjson_bytes}"
            verdict.report(self.name, 0, problem)
        if self.line != summary.records:
            verdict.report(self.name, 0, f"{self.line} lines, the manifest says {summary.records}")
        if self._raw.digest.hexdigest() != summary.sha256:
            verdict.report(self.name, 0, "the sha256 is not the one in the manifest")

    def _read(self) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                self._raw.source = file
                try:
                    for line in Codec.of(self.name).reader(io.BufferedReader(self._raw, 1 << 18)):
                        self.line += 1
                        self._ndjson_bytes += len(line)
                        record = self._record(line)
                        if record is not None:
                            yield record
                except DECODE_ERRORS as error:
                    self._verdict.report(self.name, self.line + 1, f"cannot be decompressed ({error})")
                    while self._raw.read(1 << 18):  # the size and the sha256 are still worth knowing
                        pass
        except OSError as error:
            self._verdict.report(self.name, 0, f"cannot be read: {error.strerror}")

    def _record(self, line: bytes) -> dict[str, Any] | None:
        if not line.endswith(b"\n"):
            self.damage("the line is cut short")
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            self.damage("not JSON")
            return None
        if not isinstance(record, dict) or type(record.get("id")) is not int or record["id"] <= 0:
            self.damage("not a record with an id")
            return None
        if not self._required <= record.keys():
            self.damage(f"lacks {', '.join(sorted(self._required - record.keys()))}")
            return None
        return record


def _check_manifest(directory: Path, manifest: Manifest, verdict: Verdict) -> None:
    """The manifest against the checksums written next to it, and against itself."""
    try:
        sums = _read_sums(directory / layout.CHECKSUMS)
    except (OSError, ValueError):
        verdict.report(layout.CHECKSUMS, 0, "missing or not a list of checksums")
    else:
        if sums.pop(layout.MANIFEST, "") != hashlib.sha256((directory / layout.MANIFEST).read_bytes()).hexdigest():
            verdict.report(layout.MANIFEST, 0, f"changed since it was written: {layout.CHECKSUMS} has another sha256")
        if sums != {summary.name: summary.sha256 for summary in manifest.files.values()}:
            verdict.report(layout.CHECKSUMS, 0, "does not list the same files and sha256 as the manifest")
    summaries = manifest.files.values()
    totals = {"records": sum(s.records for s in summaries), "bytes": sum(s.bytes for s in summaries)}
    for name, total in totals.items():
        if getattr(manifest.totals, name) != total:
            verdict.report(layout.MANIFEST, 0, f"totals.{name} is not the sum over its files, {total}")
    against = manifest.failures or manifest.reconciliation.disagreements or manifest.reconciliation.short_walks
    if manifest.complete and against:
        verdict.report(layout.MANIFEST, 0, "says complete although it lists what is missing")


def _read_sums(path: Path) -> dict[str, str]:
    pairs = (line.split("  ", 1) for line in path.read_text("utf-8").splitlines())
    return {name: digest for digest, name in pairs}


def _known_gaps(manifest: Manifest) -> frozenset[int]:
    """Objects of which the manifest itself says that their files are not all here, or do not add up."""
    failed = {failure.object for failure in manifest.failures}
    return frozenset(failed | {note.object for note in manifest.reconciliation.disagreements})


def _check_family(files: Mapping[str, _Lines], gaps: frozenset[int]) -> None:
    """Objects, and next to them the files and events of each."""
    objects = files["objects"]
    children = [(files[stem], stem, _IdSet()) for stem in CHILDREN if stem in files]
    last_id = 0
    while (record := objects.head) is not None:
        if record["id"] <= last_id:
            objects.damage(f"id {record['id']} after id {last_id}: doubled or out of order")
            objects.advance()
            continue
        last_id = record["id"]
        for lines, stem, seen in children:
            active, size = _check_children(lines, last_id, seen)
            if stem == "files" and last_id not in gaps and (active, size) != (record["file_count"], record["size"]):
                objects.damage(
                    f"intellectual object {last_id} says {record['file_count']} files and {record['size']} bytes,"
                    f" files.ndjson holds {active} and {size} of state A"
                )
        objects.advance()
    for lines, _, _ in children:
        while lines.head is not None:
            lines.damage(f"belongs to intellectual object {lines.head[PARENT]}, which is not in objects.ndjson")
            lines.advance()


def _check_children(lines: _Lines, parent: int, seen: _IdSet) -> tuple[int, int]:
    """Pass over the children of one object; returns how many are active files and their bytes."""
    active = size = last_id = 0
    while (record := lines.head) is not None:
        if type(record[PARENT]) is not int or record[PARENT] < parent:
            lines.damage(f"belongs to intellectual object {record[PARENT]}, which is not in its place")
        elif record[PARENT] > parent:
            break
        elif record["id"] <= last_id:
            lines.damage(f"id {record['id']} after id {last_id}: doubled or out of order")
        else:
            last_id = record["id"]
            if not seen.add(last_id):
                lines.damage(f"id {last_id} is here a second time")
            if record.get("state") == "A" and isinstance(record.get("size"), int):
                active, size = active + 1, size + record["size"]
        lines.advance()
    return active, size


def _check_increasing(lines: _Lines) -> None:
    last_id = 0
    while lines.head is not None:
        if lines.head["id"] <= last_id:
            lines.damage(f"id {lines.head['id']} after id {last_id}: doubled or out of order")
        last_id = max(last_id, lines.head["id"])
        lines.advance()
