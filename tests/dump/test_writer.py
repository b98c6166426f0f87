"""Making a dump: who may read it, in which order it becomes durable, how it is published and taken up."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.dump import (
    Codec,
    Disk,
    DumpWriter,
    Pace,
    Unfinished,
    new_partial,
    partials,
    point_to_newest,
    publish,
    published,
    recover,
    verify,
)
from harvester.dump.lock import Lock
from harvester.errors import DumpDamagedError, DumpError, DumpLockedError
from tests.dump.crashing import Crash, CrashingDisk, FastDisk, Moment, bury
from tests.dump.synthetic import HORIZON, Collection, Harvest, manifest_of

NAME = "2026-11-24T020000Z"
PARTIAL = f".{NAME}.partial"


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize(("file_mode", "dir_mode"), [(0o600, 0o700), (0o640, 0o750)])
def test_modes_are_what_they_are_set_to_whatever_the_umask(
    umask: int, tmp_path: Path, file_mode: int, dir_mode: int
) -> None:
    output = tmp_path / "inventories"
    disk = Disk(file_mode=file_mode, dir_mode=dir_mode)
    dump = Harvest(Collection(corrected=True)).run(output, disk)
    assert {path.stat().st_mode & 0o777 for path in (output, dump)} == {dir_mode}
    assert {path.stat().st_mode & 0o777 for path in dump.iterdir()} == {file_mode}


class Recording(FastDisk):
    """Writes down what is done to which file."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, str]] = []
        self._names: dict[int, str] = {}

    def open_append(self, path: Path) -> int:
        descriptor = super().open_append(path)
        self._names[descriptor] = path.name
        return descriptor

    def write(self, descriptor: int, data: Any) -> None:
        self.done.append(("write", self._names[descriptor]))
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self.done.append(("sync", self._names[descriptor]))

    def sync_directory(self, path: Path) -> None:
        self.done.append(("sync directory", path.name))

    def rename(self, source: Path, target: Path) -> None:
        self.done.append(("rename", target.name))
        super().rename(source, target)


def test_data_is_synced_before_the_journal_says_so(tmp_path: Path) -> None:
    disk = Recording()
    writer = DumpWriter.create(tmp_path / "p", {}, ["objects", "files"], Codec.NONE, Pace(100, 1), disk)
    disk.done.clear()
    writer.append("objects", b'{"id":1}\n', 1)
    writer.append("files", b'{"id":1}\n', 1)
    writer.object_done()
    assert writer.due
    assert disk.done == []
    writer.checkpoint({})
    assert not writer.due
    names = ("objects.ndjson", "files.ndjson", "journal.ndjson")
    assert disk.done == [(do, name) for name in names for do in ("write", "sync")]
    writer.close()


def test_everything_is_synced_before_the_dump_gets_its_name(tmp_path: Path) -> None:
    disk = Recording()
    Harvest().run(tmp_path / "out", disk)
    end = disk.done.index(("rename", NAME))
    for name in ("SHA256SUMS", "manifest.json"):
        assert disk.done.index(("sync", f".{name}.tmp")) < disk.done.index(("rename", name)) < end
    assert disk.done.index(("rename", "SHA256SUMS")) < disk.done.index(("rename", "manifest.json"))
    assert disk.done[end - 1] == ("sync directory", PARTIAL)
    assert disk.done[end + 1 :] == [
        ("sync directory", NAME),
        ("sync directory", "out"),
        ("rename", "latest"),
        ("sync directory", "out"),
    ]
    written = [index for index, (do, _) in enumerate(disk.done) if do == "write"]
    assert all(disk.done[index + 1] == ("sync", disk.done[index][1]) for index in written)


def test_the_checksums_are_those_that_sha256sum_reads(tmp_path: Path) -> None:
    dump = Harvest(codec=Codec.GZIP).run(tmp_path)
    names = {path.name for path in dump.iterdir()} - {"SHA256SUMS"}
    lines = sorted((dump / "SHA256SUMS").read_text().splitlines())
    assert lines == sorted(f"{hashlib.sha256((dump / name).read_bytes()).hexdigest()}  {name}" for name in names)


def test_room_and_due(tmp_path: Path) -> None:
    writer = DumpWriter.create(tmp_path / "p", {}, ["files"], Codec.NONE, Pace(20, 2), FastDisk())
    assert writer.room == 20
    writer.append("files", b'{"id":123}\n', 1)
    assert (writer.room, writer.due) == (9, False)
    writer.append("files", b'{"id":124}\n', 1)
    assert (writer.room, writer.due) == (-2, True)
    writer.checkpoint({})
    assert (writer.room, writer.due) == (20, False)
    writer.object_done()
    writer.object_done()
    assert writer.due
    writer.close()


def test_a_writer_that_cannot_begin_leaves_no_lock(tmp_path: Path) -> None:
    class Full(FastDisk):
        def write(self, descriptor: int, data: Any) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(DumpError, match="No space"):
        DumpWriter.create(tmp_path / PARTIAL, {}, ["files"], Codec.NONE, Pace(1, 1), Full())
    assert recover(tmp_path / PARTIAL, Disk()) is None
    assert partials(tmp_path) == []


# Taking up


def died(output: Path, harvest: Harvest, step: str, number: int = 1, when: str = "before") -> CrashingDisk:
    """A harvest that dies at its n-th step of that name; counted from the end if negative."""
    counting = CrashingDisk()
    harvest.run(output.with_name("counting"), counting)
    places = [index for index, name in enumerate(counting.steps, 1) if name == step]
    disk = CrashingDisk(Moment(places[number - 1 if number > 0 else number], when))
    with pytest.raises(Crash):
        harvest.run(output, disk)
    bury(output)
    return disk


def test_recover_clears_away_what_has_no_journal_yet(tmp_path: Path) -> None:
    output = tmp_path / "out"
    died(output, Harvest(), "write")
    assert recover(output / PARTIAL, Disk()) is None
    assert partials(output) == []


def test_recover_hands_out_what_can_be_gone_on_with(tmp_path: Path) -> None:
    output = tmp_path / "out"
    died(output, Harvest(), "write", 6)
    found = recover(output / PARTIAL, Disk())
    assert isinstance(found, Unfinished)
    assert found.header["asked_at"] == "then"
    writer, state = DumpWriter.reopen(found.directory, Pace(1, 1), Disk())
    assert state.checkpoint.cursor["steps"] > 0
    writer.close()


@pytest.mark.parametrize("corrected", [False, True], ids=["plain", "corrected"])
def test_recover_publishes_what_only_waited_for_its_name(tmp_path: Path, corrected: bool) -> None:
    output = tmp_path / "out"
    died(output, Harvest(Collection(corrected=corrected)), "rename", -2)
    assert published(output) == []
    found = recover(output / PARTIAL, Disk())
    assert found == output / NAME
    assert verify(output / NAME).damages == []
    assert (output / "latest").readlink() == Path(NAME)
    assert partials(output) == []


def test_recover_ends_a_publication_that_left_the_first_take(tmp_path: Path) -> None:
    output = tmp_path / "out"
    died(output, Harvest(Collection(corrected=True)), "remove_directory")
    assert partials(output) != []
    assert recover(output / PARTIAL, Disk()) == output / NAME
    assert partials(output) == []
    assert verify(output / NAME).damages == []


def test_recover_drops_a_merge_that_was_not_finished(tmp_path: Path) -> None:
    output = tmp_path / "out"
    died(output, Harvest(Collection(corrected=True)), "rename", 1)
    assert (output / PARTIAL / "merged").is_dir()
    assert isinstance(recover(output / PARTIAL, Disk()), Unfinished)
    assert not (output / PARTIAL / "merged").exists()
    assert (output / PARTIAL / "corrections-1").is_dir()


def test_recover_leaves_alone_what_another_is_at(tmp_path: Path) -> None:
    output = tmp_path / "out"
    died(output, Harvest(), "write", 6)
    lock = Lock(output / PARTIAL)
    with pytest.raises(DumpLockedError):
        recover(output / PARTIAL, Disk())
    lock.release()
    assert isinstance(recover(output / PARTIAL, Disk()), Unfinished)


def test_recover_refuses_a_damaged_journal(tmp_path: Path) -> None:
    output = tmp_path / "out"
    died(output, Harvest(), "write", 9)
    journal = output / PARTIAL / "journal.ndjson"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"x\n", *lines[1:]]))
    for _ in range(2):
        with pytest.raises(DumpDamagedError):
            recover(output / PARTIAL, Disk())


# Publishing


def finished(output: Path, disk: Disk) -> Path:
    directory = new_partial(output, HORIZON, disk)
    writer = DumpWriter.create(directory, {}, ["objects", "alerts"], Codec.NONE, Pace(1, 1), disk)
    writer.checkpoint({})
    writer.finish(manifest_of(writer, Collection()))
    writer.close()
    return directory


def test_latest_moves_at_once_and_dumps_before_are_not_touched(tmp_path: Path) -> None:
    class Watching(FastDisk):
        def rename(self, source: Path, target: Path) -> None:
            link = tmp_path / "latest"
            before = link.readlink() if link.is_symlink() else None
            super().rename(source, target)
            if target.name == "latest":
                moves.append((before, target.readlink()))

    moves: list[tuple[Path | None, Path]] = []
    disk = Watching()
    made = [publish(finished(tmp_path, disk), disk) for _ in range(11)]
    assert [path.name for path in made] == [NAME, *(f"{NAME}-{number}" for number in range(2, 12))]
    assert moves == [(Path(made[n - 1].name) if n else None, Path(made[n].name)) for n in range(11)]
    inodes = {path: path.stat().st_mtime_ns for dump in made for path in [dump, *dump.iterdir()]}
    publish(finished(tmp_path, disk), disk)
    assert {path: path.stat().st_mtime_ns for path in inodes} == inodes


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    partial = finished(tmp_path, Disk())
    first = publish(partial, Disk())
    names = sorted(path.name for path in first.iterdir())
    assert publish(partial, Disk()) == first
    assert sorted(path.name for path in first.iterdir()) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, "latest"]


def test_an_older_dump_published_late_is_not_the_latest(tmp_path: Path) -> None:
    late = finished(tmp_path, Disk())
    newer = tmp_path / "2026-11-25T020000Z"
    publish(finished(tmp_path, Disk()), Disk()).rename(newer)
    (tmp_path / "latest").unlink()
    publish(late, Disk())
    assert (tmp_path / "latest").readlink() == Path(newer.name)


def test_point_to_newest_mends_a_link_and_clears_a_dead_publishers_lock(tmp_path: Path) -> None:
    dump = publish(finished(tmp_path, Disk()), Disk())
    (dump / "lock").write_text("123\n")
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").symlink_to("gone")
    (tmp_path / f".latest.{NAME}").symlink_to("left by a crash")
    point_to_newest(tmp_path, Disk())
    assert (tmp_path / "latest").resolve() == dump.resolve()
    assert not (dump / "lock").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, "latest"]


def test_a_place_that_cannot_be_written_is_named_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DumpError) as error:
        new_partial(tmp_path / "file" / "inventories", HORIZON, Disk())
    assert str(tmp_path / "file") in error.value.place
    assert "--output" in error.value.mend


def test_the_real_disk_syncs_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else believes `Disk`; here it is `os.fsync` that must have been called, on this file and directory."""
    synced: list[tuple[int, int]] = []

    def fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced.append((found.st_dev, found.st_ino))

    monkeypatch.setattr(os, "fsync", fsync)
    disk, path = Disk(), tmp_path / "file"
    descriptor = disk.open_append(path)
    disk.write(descriptor, b"line\n")
    disk.sync(descriptor)
    disk.close(descriptor)
    disk.sync_directory(tmp_path)
    assert synced == [(p.stat().st_dev, p.stat().st_ino) for p in (path, tmp_path)]


def test_what_is_appended_after_the_seal_belongs_to_the_next_checkpoint(tmp_path: Path) -> None:
    disk, pace = FastDisk(), Pace(15, 9)
    writer = DumpWriter.create(tmp_path / "p", {}, ["files"], Codec.NONE, pace, disk)
    writer.append("files", b'{"id":123}\n', 1)
    writer.seal()
    assert writer.room == 15
    writer.append("files", b'{"id":124}\n{"id":125}\n', 2)
    writer.checkpoint({"last": 123})
    assert writer.due
    assert (tmp_path / "p" / "files.ndjson").read_bytes() == b'{"id":123}\n'
    assert writer.summaries()["files"].records == 1
    writer.close()
    writer, state = DumpWriter.reopen(tmp_path / "p", pace, disk)
    assert state.checkpoint.cursor == {"last": 123}
    writer.append("files", b'{"id":124}\n', 1)
    writer.checkpoint({"last": 124})
    assert (tmp_path / "p" / "files.ndjson").read_bytes() == b'{"id":123}\n{"id":124}\n'
    assert writer.summaries()["files"].records == 2
    writer.close()
