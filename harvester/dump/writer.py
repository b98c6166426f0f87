"""Making a dump: appending lines, making them durable, publishing the directory.

Hides the order of syncs that lets a harvest be killed at any instant, and compression. Lines are kept in
memory until the next checkpoint, then encoded and written; data is synced before the journal line that
vouches for it; a dump is published by one rename after everything in it is durable.
Synchronous: the caller decides which thread waits for the disk. Lines may be appended in one thread while
another makes a checkpoint of those that were sealed before.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from harvester.dump import layout
from harvester.dump.codec import Codec
from harvester.dump.disk import Disk
from harvester.dump.journal import Checkpoint, Extent, Journal, JournalState, Json, cut_torn_line, read_journal
from harvester.dump.lock import Lock
from harvester.dump.manifest import FileSummary, Manifest, checksum_lines, manifest_bytes
from harvester.errors import DumpDamagedError, DumpError


@dataclass(frozen=True)
class Pace:
    """When a checkpoint is due: once this many bytes of lines, or objects, have been added since the last one.

    Lines and objects, not the clock: every run makes its checkpoints, and so its gzip members and zstd
    frames, after the same lines.
    """

    bytes: int
    objects: int


@dataclass
class _DataFile:
    """One NDJSON file being written: what is on disk, what this checkpoint adds (sealed), and what the next will."""

    path: Path
    descriptor: int
    extent: Extent = field(default_factory=Extent)
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    lines: list[bytes] = field(default_factory=list)
    records: int = 0
    sealed: tuple[list[bytes], int] = ([], 0)


class DumpWriter:
    """The files of one dump being made, with their journal, locked by this process.

    Made by `create` or `reopen`; ended by `close`. Every method raises DumpError, with the path, when the
    disk refuses.
    """

    def __init__(self, directory: Path, stems: Sequence[str], codec: Codec, pace: Pace, disk: Disk, lock: Lock) -> None:
        self.directory = directory
        self.codec = codec
        self._pace = pace
        self._disk = disk
        self._lock = lock
        self._open = True
        self._bytes = 0
        self._objects = 0
        self._sealed = False
        with disk_errors(directory):
            paths = {stem: directory / layout.data_file(stem, codec) for stem in stems}
            self._files = {stem: _DataFile(path, disk.open_append(path)) for stem, path in paths.items()}
            self._journal = Journal(directory, disk)

    @classmethod
    def create(
        cls, directory: Path, header: Json, stems: Sequence[str], codec: Codec, pace: Pace, disk: Disk
    ) -> DumpWriter:
        """Begin in a directory that does not exist yet, in one that does. `header` is the journal's first line."""
        with disk_errors(directory):
            disk.make_directory(directory)
            lock = Lock(directory)
            try:
                writer = cls(directory, stems, codec, pace, disk, lock)
                disk.sync_directory(directory)
                writer._journal.begin({**header, "stems": list(stems), "compression": codec.value})
                disk.sync_directory(directory.parent)
            except BaseException:
                lock.release()
                raise
            return writer

    @classmethod
    def reopen(cls, directory: Path, pace: Pace, disk: Disk) -> tuple[DumpWriter, JournalState]:
        """Go on at the last checkpoint, dropping what lies after it.

        Raises DumpLockedError if another process is at it, DumpDamagedError if a file is missing or
        shorter than the journal vouches for.
        """
        with disk_errors(directory):
            lock = Lock(directory)
            try:
                state = read_journal(directory)
                codec, stems = Codec(state.header["compression"]), state.header["stems"]
                for stem in stems:
                    _check_extent(
                        directory / layout.data_file(stem, codec), state.checkpoint.extents.get(stem, Extent())
                    )
                cut_torn_line(directory, state, disk)
                for name in (layout.MANIFEST, layout.CHECKSUMS):  # they spoke of an earlier state
                    disk.remove(directory / name)
                writer = cls(directory, stems, codec, pace, disk, lock)
                for stem, file in writer._files.items():
                    writer._go_back(file, state.checkpoint.extents.get(stem, Extent()))
            except BaseException:
                lock.release()
                raise
            return writer, state

    @property
    def room(self) -> int:
        """Bytes that may be appended before a checkpoint is due; lines that go beyond must be cut there first."""
        return self._pace.bytes - self._bytes

    @property
    def due(self) -> bool:
        """Whether a checkpoint is due, now, before anything else is appended."""
        return self._bytes >= self._pace.bytes or self._objects >= self._pace.objects

    def append(self, stem: str, lines: bytes, records: int) -> None:
        """Add whole NDJSON lines to a file."""
        file = self._files[stem]
        file.lines.append(lines)
        file.records += records
        self._bytes += len(lines)

    def object_done(self) -> None:
        """All that belongs to one more object has been appended."""
        self._objects += 1

    def seal(self) -> None:
        """Let the next checkpoint end here: what is appended from now on belongs to the one after it."""
        for file in self._files.values():
            file.sealed, file.lines, file.records = (file.lines, file.records), [], 0
        self._bytes = self._objects = 0
        self._sealed = True

    def checkpoint(self, cursor: Json, notes: Sequence[Json] = ()) -> None:
        """Make all that is sealed durable, or else everything appended so far; only then say so in the journal."""
        if not self._sealed:
            self.seal()
        for file in self._files.values():
            with disk_errors(file.path):
                self._write(file)
        with disk_errors(self.directory / layout.JOURNAL):
            extents = {stem: file.extent for stem, file in self._files.items()}
            self._journal.checkpoint(Checkpoint(cursor, extents), list(notes))
        self._sealed = False

    def summaries(self) -> dict[str, FileSummary]:
        """What the manifest says of each file, by stem, as of the last checkpoint."""
        return {
            stem: FileSummary(
                name=file.path.name,
                records=file.extent.records,
                bytes=file.extent.bytes,
                ndjson_bytes=file.extent.plain,
                sha256=file.digest.hexdigest(),
            )
            for stem, file in self._files.items()
        }

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest and the checksums over all files. The dump is whole after this, but still partial."""
        content = manifest_bytes(manifest)
        sums = {file.path.name: file.digest.hexdigest() for file in self._files.values()}
        sums[layout.MANIFEST] = hashlib.sha256(content).hexdigest()
        with disk_errors(self.directory):
            # The checksums come first: a directory with a manifest is a finished one.
            self._replace(self.directory / layout.CHECKSUMS, checksum_lines(sums))
            self._replace(self.directory / layout.MANIFEST, content)
            self._disk.sync_directory(self.directory)

    def close(self) -> None:
        """Let go of the directory, finished or as it is. What was not checkpointed is dropped."""
        if self._open:
            self._open = False
            for file in self._files.values():
                self._disk.close(file.descriptor)
            self._journal.close()
            self._lock.release()

    def _write(self, file: _DataFile) -> None:
        lines, records = file.sealed
        if not lines:
            return
        size = 0
        for piece in self.codec.pieces(lines):
            self._disk.write(file.descriptor, piece)
            file.digest.update(piece)
            size += len(piece)
        self._disk.sync(file.descriptor)
        was = file.extent
        file.extent = Extent(was.bytes + size, was.records + records, was.plain + sum(map(len, lines)))
        file.sealed = [], 0

    def _go_back(self, file: _DataFile, extent: Extent) -> None:
        """Cut a file to what the journal vouches for, and take its digest up to there."""
        self._disk.truncate(file.descriptor, extent.bytes)
        self._disk.sync(file.descriptor)
        file.extent = extent
        with file.path.open("rb") as content:
            while piece := content.read(1 << 20):
                file.digest.update(piece)

    def _replace(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f".{path.name}.tmp")
        self._disk.remove(temporary)
        descriptor = self._disk.open_append(temporary)
        try:
            self._disk.write(descriptor, content)
            self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)
        self._disk.rename(temporary, path)


def new_partial(output: Path, horizon: datetime, disk: Disk) -> Path:
    """The directory a new dump is to be made in; `output` is created if need be."""
    with disk_errors(output):
        missing = [path for path in (output, *output.parents) if not path.is_dir()]
        for path in reversed(missing):
            disk.make_directory(path)
            disk.sync_directory(path.parent)  # or a power cut takes the dump, however well it is synced itself
        return output / layout.partial_name(layout.dump_name(horizon, (path.name for path in output.iterdir())))


def publish(partial: Path, disk: Disk, *, source: Path | None = None) -> Path:
    """Publish a finished dump: one rename, then `latest`. Safe to repeat after a crash anywhere in it.

    `source` is the directory with the manifest: the partial one itself, or one inside it. Returns the
    path under which the dump can be found from now on.
    """
    source = source or partial
    output = partial.parent
    target = output / layout.published_name(partial)
    with disk_errors(target):
        if not target.exists():
            # A manifest without a journal is what marks a dump as ready to be published.
            disk.remove(source / layout.JOURNAL)
            disk.sync_directory(source)
            disk.rename(source, target)
            # Not before: the name would be free for another process to lock.
            disk.remove(target / layout.LOCK)
            disk.sync_directory(target)
            disk.sync_directory(output)
        point_to_newest(output, disk)
        remove(partial, disk)
    return target


def point_to_newest(output: Path, disk: Disk) -> None:
    """Make `latest` point at the newest published dump, by one rename, if it does not yet.

    This ends what a publisher that died may have left: its lock is removed, too.
    """
    dumps = layout.published(output)
    link = output / layout.LATEST
    if link.is_dir() and not link.is_symlink():
        return  # somebody else's directory of that name is left alone
    for dump in dumps:
        if (dump / layout.LOCK).exists():
            with disk_errors(dump):
                disk.remove(dump / layout.LOCK)
    if not dumps or (link.is_symlink() and link.readlink().name == dumps[-1].name):
        return
    with disk_errors(link):
        temporary = output / f".{layout.LATEST}.{dumps[-1].name}"
        disk.remove(temporary)
        disk.link(dumps[-1].name, temporary)
        disk.rename(temporary, link)
        disk.sync_directory(output)


def remove(directory: Path, disk: Disk) -> None:
    """Remove a directory of a dump being made, with all that is in it, if it is there."""
    with disk_errors(directory):
        if directory.is_dir():
            # In this order: what a crash leaves must look neither finished nor resumable.
            disk.remove(directory / layout.MANIFEST)
            disk.sync_directory(directory)
            disk.remove(directory / layout.JOURNAL)
            disk.sync_directory(directory)
            disk.remove_tree(directory)
            disk.sync_directory(directory.parent)


def _check_extent(path: Path, vouched: Extent) -> None:
    size = path.stat().st_size if path.is_file() else 0
    if size < vouched.bytes:
        problem = f"{size} bytes where the journal vouches for {vouched.bytes}" if path.is_file() else "is missing"
        raise DumpDamagedError(problem, place=str(path), mend="start over with --fresh")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says into a DumpError with the path and a mend."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        mends: Mapping[int, str] = {
            errno.ENOSPC: "make room, then run the same command again",
            errno.EDQUOT: "make room, then run the same command again",
            errno.EACCES: "choose another directory with --output, or mend its permissions",
            errno.EROFS: "choose another directory with --output",
            errno.ENOTDIR: "choose another directory with --output",
            errno.EEXIST: "choose another directory with --output",
        }
        raise DumpError(reason, place=str(error.filename or path), mend=mends.get(error.errno or 0, "")) from error


__all__ = ["DumpWriter", "Pace", "new_partial", "point_to_newest", "publish", "remove"]
