"""The journal: its last whole line counts, whatever a crash did to what follows."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harvester.dump import Disk, Pace
from harvester.dump.journal import Checkpoint, Extent, Journal, cut_torn_line, read_journal
from harvester.dump.recover import begun, header_of
from harvester.dump.writer import DumpWriter
from harvester.errors import DumpDamagedError, DumpError
from tests.dump.crashing import FastDisk

STEMS = {"stems": ["files"], "compression": "none"}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A header and three checkpoints."""
    written = Journal(tmp_path, FastDisk())
    written.begin({"asked_at": "then", **STEMS})
    for number in range(1, 4):
        extents = {"files": Extent(number * 100, number * 10, number * 200)}
        written.checkpoint(Checkpoint({"steps": number}, extents), [{"note": number}])
    written.close()
    return tmp_path / "journal.ndjson"


def test_read_back(journal: Path) -> None:
    state = read_journal(journal.parent)
    assert state.header["asked_at"] == "then"
    assert state.checkpoint == Checkpoint({"steps": 3}, {"files": Extent(300, 30, 600)})
    assert state.notes == [{"note": 1}, {"note": 2}, {"note": 3}]
    assert state.bytes == journal.stat().st_size


def whole_lines(data: bytes) -> int:
    return data.count(b"\n")


@pytest.mark.parametrize("rest", ["nothing", "zeros", "garbage"])
def test_torn_at_every_byte(journal: Path, rest: str) -> None:
    whole = journal.read_bytes()
    chance = random.Random(1)
    for size in range(len(whole) + 1):
        kept = whole[:size]
        lost = len(whole) - size
        garbage = bytes(chance.choice(b'{}",:\x00\xff1a') for _ in range(lost))
        journal.write_bytes(kept + {"nothing": b"", "zeros": bytes(lost), "garbage": garbage}[rest])
        lines = whole_lines(kept)
        if lines == 0:
            with pytest.raises(DumpError, match="no journal"):
                read_journal(journal.parent)
            assert header_of(journal.parent) is None
            continue
        state = read_journal(journal.parent)
        assert state.checkpoint.cursor.get("steps", 0) == lines - 1
        cut_torn_line(journal.parent, state, Disk())
        assert journal.read_bytes() == whole[: state.bytes]
        assert read_journal(journal.parent) == state


def test_nothing_vouched_for_is_cleared_away(tmp_path: Path) -> None:
    directory = tmp_path / "partial"
    directory.mkdir()
    (directory / "journal.ndjson").write_bytes(b'{"kind":"harv')
    assert begun(directory, Disk()) is None
    assert not directory.exists()


@pytest.mark.parametrize("line", [0, 1, 2])
@pytest.mark.parametrize(
    "garbage", [b"garbage\n", b"{}\n", b"[]\n", b'{"kind":"checkpoint","cursor":{},"extents":{"files":["1",2,3]}}\n']
)
def test_garbage_before_the_end_is_damage(journal: Path, line: int, garbage: bytes) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[line] = garbage
    journal.write_bytes(b"".join(lines))
    with pytest.raises(DumpDamagedError) as refusal:
        read_journal(journal.parent)
    assert refusal.value.place == f"{journal}:{line + 1}"
    assert "--fresh" in refusal.value.mend
    with pytest.raises(DumpDamagedError):
        begun(journal.parent, Disk())
    assert journal.exists()


def test_a_first_line_that_is_garbage_is_not_cleared_away(journal: Path) -> None:
    journal.write_bytes(b"garbage\n")
    with pytest.raises(DumpDamagedError):
        begun(journal.parent, Disk())


def test_another_format_is_refused_and_left_alone(journal: Path) -> None:
    journal.write_bytes(journal.read_bytes().replace(b'"format":1', b'"format":2'))
    with pytest.raises(DumpError, match="journal format 2, not 1"):
        begun(journal.parent, Disk())
    assert journal.exists()


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_data_file_less_than_vouched_for_is_refused(journal: Path, damage: str) -> None:
    if damage == "short":
        (journal.parent / "files.ndjson").write_bytes(bytes(299))
    for _ in range(2):  # the lock is given back
        with pytest.raises(DumpDamagedError, match=r"missing|299 bytes where the journal vouches for 300"):
            DumpWriter.reopen(journal.parent, Pace(1, 1), Disk())
