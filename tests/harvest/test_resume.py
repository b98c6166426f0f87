"""Durable: whatever stops a harvest, it is taken up again and ends with the dump an undisturbed one would have made."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import zstandard

from harvester.demo import DemoRegistry, Fault, SoftDeleteFile, records
from harvester.dump import Disk, DumpWriter, partials, published, verify
from harvester.dump.journal import read_journal
from harvester.dump.lock import Lock
from harvester.errors import DumpDamagedError, DumpError, DumpLockedError, RequestError
from harvester.harvest.order import Lane, Turn
from harvester.harvest.pipeline import Pipeline
from tests.support import as_dumped, as_held, data_bytes, difference, harvested, resumed

OFTEN: dict[str, Any] = {"checkpoint_bytes": 20_000, "per_page": 50}
ALL = "objects,files,events,items,checksums,deletions,alerts"
STEMS = ("objects", "files", "events", "work_items", "checksums", "deletions", "alerts")

FATAL = Fault("status", status=500, body='{"StatusCode":500,"Error":"Invalid query params: bogus"}')
"""The Registry says that our question is wrong: nothing to retry, the run stops."""


def fatal(after: int, path: str = "") -> Fault:
    return Fault("status", path=path, after=after, status=500, body=FATAL.body)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_stopped_again_and_again_it_ends_with_the_same_bytes(
    small_database: Path, tmp_path: Path, compression: str
) -> None:
    options: dict[str, Any] = {**OFTEN, "resources": ALL, "compression": compression}
    async with DemoRegistry(small_database) as registry:
        undisturbed = await harvested(registry, tmp_path / "one", concurrency=2, **options)
        stops, disturbed = 0, None
        while disturbed is None:
            registry.add_fault(fatal(after=22 + stops))
            try:
                disturbed = await harvested(registry, tmp_path / "two", concurrency=1 + stops % 7, **options)
            except RequestError:
                stops += 1
            registry.clear_faults()
    assert stops >= 5
    assert data_bytes(disturbed.path) == data_bytes(undisturbed.path)
    assert difference(as_dumped(disturbed), as_held(small_database, STEMS)) is None
    assert verify(disturbed.path).sound
    assert partials(tmp_path / "two") == []


async def test_only_what_lay_after_the_last_checkpoint_is_asked_for_again(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        registry.add_fault(fatal(100))
        with pytest.raises(RequestError):
            await harvested(registry, tmp_path, concurrency=2, checkpoint_objects=5)
        (directory,) = partials(tmp_path)
        done = read_journal(directory).checkpoint.cursor["objects"]
        registry.clear_faults()
        registry.stats.reset()
        await resumed(registry, tmp_path, concurrency=2, checkpoint_objects=5)
        assert done >= 5
        for path in ("files", "events"):  # and one more where the stop came in the middle of an object
            assert 60 - done <= registry.stats.by_path[path] <= 60 - done + 1
        assert registry.stats.by_path["objects"] <= 2, "the page with the rest, and what was updated meanwhile"


async def test_cancelled_in_the_middle(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        task = asyncio.create_task(harvested(registry, tmp_path / "out", **OFTEN))
        while registry.stats.requests < 60:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert published(tmp_path / "out") == []
        outcome = await harvested(registry, tmp_path / "out", **OFTEN)
    assert difference(as_dumped(outcome), as_held(small_database)) is None


async def stopped(registry: DemoRegistry, output: Path, **options: Any) -> Path:
    """A partial dump, left by a run that was stopped."""
    registry.add_fault(fatal(60))
    with pytest.raises(RequestError):
        await harvested(registry, output, **{**OFTEN, **options})
    registry.clear_faults()
    (directory,) = partials(output)
    return directory


async def test_a_torn_journal_line_and_data_beyond_it_are_dropped(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        directory = await stopped(registry, tmp_path / "out")
        for name, torn in (("journal.ndjson", b'{"kind":"checkpoint","cur'), ("files.ndjson", b'{"id":1,"torn')):
            with (directory / name).open("ab") as file:
                file.write(torn)
        outcome = await resumed(registry, tmp_path / "out", **OFTEN)
    assert difference(as_dumped(outcome), as_held(small_database)) is None


async def test_a_last_journal_line_of_zeros_is_dropped(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        directory = await stopped(registry, tmp_path / "out")
        with (directory / "journal.ndjson").open("ab") as file:
            file.write(b"\0" * 100 + b"\n")
        outcome = await resumed(registry, tmp_path / "out", **OFTEN)
    assert difference(as_dumped(outcome), as_held(small_database)) is None


@pytest.mark.parametrize("damage", ["missing", "short", "journal"])
async def test_what_cannot_be_gone_on_with_is_refused_until_fresh(
    small_database: Path, tmp_path: Path, damage: str
) -> None:
    async with DemoRegistry(small_database) as registry:
        directory = await stopped(registry, tmp_path / "out")
        data, journal = directory / "files.ndjson", directory / "journal.ndjson"
        if damage == "missing":
            data.unlink()
        elif damage == "short":
            data.write_bytes(data.read_bytes()[:-1])
        else:
            lines = journal.read_bytes().splitlines(keepends=True)
            journal.write_bytes(b"".join([lines[0], b"{}\n", *lines[1:]]))
        with pytest.raises(DumpDamagedError) as refusal:
            await resumed(registry, tmp_path / "out", **OFTEN)
        assert "--fresh" in refusal.value.mend
        assert directory.name in refusal.value.place
        outcome = await harvested(registry, tmp_path / "out", fresh=True, **OFTEN)
    assert difference(as_dumped(outcome), as_held(small_database)) is None
    assert partials(tmp_path / "out") == []


async def test_a_partial_dump_of_something_else_is_left_alone(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        directory = await stopped(registry, tmp_path / "out")
        outcome = await harvested(registry, tmp_path / "out", ["state=A"], **OFTEN)
        assert outcome.published
        assert partials(tmp_path / "out") == [directory]
        whole = await harvested(registry, tmp_path / "out", **OFTEN)
    assert difference(as_dumped(whole), as_held(small_database)) is None
    assert (tmp_path / "out" / "latest").resolve() == max(published(tmp_path / "out"))


@pytest.mark.parametrize("changed", ["server", "account", "format"])
async def test_resume_refuses_what_was_begun_elsewhere(small_database: Path, tmp_path: Path, changed: str) -> None:
    async with DemoRegistry(small_database) as registry, DemoRegistry(small_database) as another:
        directory = await stopped(registry, tmp_path / "out")
        if changed == "format":
            journal = directory / "journal.ndjson"
            journal.write_bytes(journal.read_bytes().replace(b'"format":1', b'"format":99', 1))
        options = {"email": "someone@else.edu"} if changed == "account" else {}
        with pytest.raises(DumpError, match=r"begun with|another version"):
            await resumed(another if changed == "server" else registry, tmp_path / "out", **options)


async def test_nothing_to_resume(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        with pytest.raises(DumpError, match="no unfinished dump"):
            await resumed(registry, tmp_path)


async def test_two_at_one_dump(small_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(small_database) as registry:
        directory = await stopped(registry, tmp_path / "out")
        lock = Lock(directory)
        with pytest.raises(DumpLockedError):
            await resumed(registry, tmp_path / "out")
        with pytest.raises(DumpLockedError):
            await harvested(registry, tmp_path / "out", **OFTEN)
        another = await harvested(registry, tmp_path / "out", ["state=A"])
        assert another.published
        lock.release()
        outcome = await resumed(registry, directory, **OFTEN)
    assert difference(as_dumped(outcome), as_held(small_database)) is None


async def test_a_full_disk_stops_and_can_be_gone_on_from(
    small_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def write(self: Disk, descriptor: int, data: bytes) -> None:
        nonlocal written
        written += len(data)
        if written > 150_000:
            raise OSError(28, "No space left on device")
        real(self, descriptor, data)

    real = Disk.write
    async with DemoRegistry(small_database) as registry:
        monkeypatch.setattr(Disk, "write", write)
        with pytest.raises(DumpError, match="No space left") as error:
            await harvested(registry, tmp_path / "out", **OFTEN)
        assert "make room" in error.value.mend
        monkeypatch.setattr(Disk, "write", real)
        outcome = await harvested(registry, tmp_path / "out", **OFTEN)
    assert difference(as_dumped(outcome), as_held(small_database)) is None


async def test_one_member_or_frame_a_checkpoint_and_read_whole_by_the_usual_tools(
    small_database: Path, tmp_path: Path
) -> None:
    async with DemoRegistry(small_database) as registry:
        gz = await harvested(registry, tmp_path / "gz", compression="gzip", **OFTEN)
        zst = await harvested(registry, tmp_path / "zst", compression="zstd", **OFTEN)
    held = as_held(small_database)
    assert gzip.decompress((gz.path / "files.ndjson.gz").read_bytes()) == held["files"]
    if shutil.which("zcat"):
        tool = subprocess.run(["zcat", gz.path / "events.ndjson.gz"], capture_output=True, check=True)
        assert tool.stdout == held["events"]
    frames = (zst.path / "files.ndjson.zst").read_bytes()
    assert zstandard.ZstdDecompressor().stream_reader(frames, read_across_frames=True).read() == held["files"]
    assert frames.count(b"\x28\xb5\x2f\xfd") > 1


async def test_a_failure_noted_before_the_checkpoint_is_not_forgotten_by_the_next_run(
    small: Path, tmp_path: Path
) -> None:
    """The files of an object fail, the run stops among its events: the hole must still be known afterwards."""
    number = max(records(small, "objects"), key=lambda row: row["file_count"])["id"]
    async with DemoRegistry(small) as registry:
        for row in records(small, "files"):  # deleted files are in no count that could give the hole away
            if row["intellectual_object_id"] == number and row["state"] == "A":
                await registry.changes.apply(SoftDeleteFile(row["id"]))
        whole = as_held(small)
        registry.add_fault(Fault("truncated", path=f"/files?intellectual_object_id={number}&", times=None))
        registry.add_fault(fatal(2, path=f"/events?intellectual_object_id={number}&"))
        options: dict[str, Any] = {"checkpoint_bytes": 500, "per_page": 5, "retry_budget": 0.0, "concurrency": 1}
        with pytest.raises(RequestError):
            await harvested(registry, tmp_path / "out", **options)
        outcome = await harvested(registry, tmp_path / "out", **options)
        assert not outcome.manifest.complete
        assert [failure.object for failure in outcome.manifest.failures] == [number]
        registry.clear_faults()
        outcome = await resumed(registry, tmp_path / "out", **options)
    assert difference(as_dumped(outcome), whole) is None


async def test_a_list_that_is_done_while_a_checkpoint_is_written_is_not_taken_for_part_of_it(
    small_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is slow with the checkpoint of the last object; lists are committed meanwhile, and then all dies."""
    listed, real_close, real_checkpoint = threading.Event(), Pipeline._close, DumpWriter.checkpoint

    def close(self: Pipeline, turn: Turn, lane: Lane, index: int) -> None:
        real_close(self, turn, lane, index)
        if lane.resource.path == "alerts":
            listed.set()

    def checkpoint(self: DumpWriter, cursor: Any, notes: Any = ()) -> None:
        assert listed.wait(60)
        real_checkpoint(self, cursor, notes)
        raise DumpError("killed")

    options: dict[str, Any] = {"resources": ALL, "checkpoint_objects": 60}
    async with DemoRegistry(small_database) as registry:
        with monkeypatch.context() as patch:
            patch.setattr(Pipeline, "_close", close)
            patch.setattr(DumpWriter, "checkpoint", checkpoint)
            with pytest.raises(DumpError, match="killed"):
                await harvested(registry, tmp_path, **options)
        outcome = await harvested(registry, tmp_path, **options)
    assert difference(as_dumped(outcome), as_held(small_database, STEMS)) is None
