"""The spool: lines in any order, with repeats, through any crash; each once, in order, in little memory."""

from __future__ import annotations

import random
import shutil
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.dump import Disk, Heap, Spool, begun, own_id
from harvester.dump import spool as spool_module
from harvester.errors import DumpDamagedError, DumpError
from tests.dump.crashing import Crash, CrashingDisk, FastDisk, Moment, RecordingDisk, Tree, bury, materialise, survivals

Line = tuple[int, int, bytes]

FAN_IN = 3


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "FAN_IN", FAN_IN)


def heap_of(lines: Iterable[Line], stem: str = "files") -> Heap:
    heap = Heap()
    add(heap, stem, *lines)
    return heap


def add(heap: Heap, stem: str, *lines: Line) -> None:
    parents, ids, texts = zip(*lines, strict=True) if lines else ((), (), ())
    heap.add(stem, parents, ids, [number % 251 for number in ids], b"".join(texts))


def read(spool: Spool, *stems: str) -> Iterator[Line]:
    for places, notes, lines in spool.read(*stems or ("files",)).rest():
        for place, note, text in zip(places, notes, lines, strict=True):
            assert note == own_id(place) % 251
            yield int.from_bytes(place[:8]), own_id(place), text


def line(parent: int, own: int, text: str = "") -> Line:
    return parent, own, f'{{"id":{own},"parent":{parent}{text}}}\n'.encode()


def runs(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.run"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


ids = st.integers(0, 40) | st.integers(0, (1 << 62))


@given(st.lists(st.lists(st.tuples(ids, ids), max_size=12), max_size=12), st.randoms(use_true_random=False))
def test_each_line_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, checkpoints: list[list[tuple[int, int]]], chance: random.Random
) -> None:
    directory = tmp_path_factory.mktemp("spools") / "spool"
    spool = Spool.create(directory, {}, FastDisk())
    for number, places in enumerate(checkpoints):
        spool.checkpoint(heap_of(line(*place) for place in places), {"number": number})
        if chance.random() < 0.3:
            list(read(spool))  # merges what is too much to be merged at once
        if chance.random() < 0.3:
            spool.close()
            spool, state = Spool.reopen(directory, FastDisk())
            assert state.checkpoint.cursor == {"number": number}
    expected = sorted({line(*place) for places in checkpoints for place in places})
    assert list(read(spool)) == expected
    assert list(read(spool)) == expected
    assert list(read(spool, "events")) == []
    assert len(runs(directory)) <= FAN_IN
    spool.close()


def test_no_more_runs_are_merged_beforehand_than_must_be(directory: Path) -> None:
    spool = Spool.create(directory, {}, FastDisk())
    for number in range(FAN_IN + 1):
        spool.checkpoint(heap_of([line(number, 1)]), {})
    before = runs(directory)
    assert [parent for parent, _, _ in read(spool)] == list(range(FAN_IN + 1))
    assert sorted({*before} & {*runs(directory)}) == before[2:]
    assert len(runs(directory)) == FAN_IN
    spool.close()


def test_of_two_versions_one_comes_whole(directory: Path) -> None:
    versions = [line(1, 2, f',"version":{n}') for n in range(4)]
    spool = Spool.create(directory, {}, FastDisk())
    for version in versions:
        spool.checkpoint(heap_of([version]), {})
    (found,) = read(spool)
    assert found in versions
    spool.close()


def test_the_heap_counts_its_bytes_and_keeps_the_stems_apart(directory: Path) -> None:
    heap = Heap()
    add(heap, "files", (1, 2, b"{}\n"))
    add(heap, "events", (1, 2, b"[1]\n"))
    assert heap.size == 7
    spool = Spool.create(directory, {}, FastDisk())
    spool.checkpoint(heap, {})
    assert list(read(spool)) == [(1, 2, b"{}\n")]
    assert list(read(spool, "events")) == [(1, 2, b"[1]\n")]
    spool.close()


def test_files_are_private(directory: Path) -> None:
    spool = Spool.create(directory, {}, Disk())
    spool.checkpoint(heap_of([line(1, 1)]), {})
    spool.close()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def some_spool(directory: Path, checkpoints: int = 2) -> list[str]:
    spool = Spool.create(directory, {}, FastDisk())
    for number in range(checkpoints):
        spool.checkpoint(heap_of([line(number, 1), line(number, 2)]), {"number": number})
    spool.close()
    return runs(directory)


def test_what_the_journal_does_not_know_is_cleared_away(directory: Path) -> None:
    known = some_spool(directory)
    (directory / "files-000002.run").write_bytes(b"half a li")
    (directory / "events-000077.run").write_bytes(b"")
    spool, _ = Spool.reopen(directory, FastDisk())
    assert runs(directory) == known
    assert len(list(read(spool))) == 4
    spool.close()


@pytest.mark.parametrize("damage", ["missing", "short", "long", "empty"])
def test_a_run_that_is_not_what_the_journal_says(directory: Path, damage: str) -> None:
    path = directory / some_spool(directory)[1]
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"short": content[:-1], "long": content + b"x", "empty": b""}[damage])
    with pytest.raises(DumpDamagedError) as raised:
        Spool.reopen(directory, FastDisk())
    assert raised.value.place == str(path)
    assert "--fresh" in raised.value.mend


def test_little_memory_whatever_is_spooled(directory: Path) -> None:
    spool = Spool.create(directory, {}, FastDisk())
    text = "x" * 1000
    for number in range(2 * FAN_IN + 1):
        lines = (line(own % 97, own * 20 + number, f',"text":"{text}"') for own in range(2000))
        spool.checkpoint(heap_of(lines), {})
    size = sum((directory / name).stat().st_size for name in runs(directory))
    tracemalloc.start()
    found = 0
    for (parent, own, _), (next_parent, next_own, _) in pairwise(read(spool)):
        assert (parent, own) < (next_parent, next_own)
        found += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    spool.close()
    assert found == 2000 * (2 * FAN_IN + 1) - 1
    assert size > 10_000_000
    assert peak < 5_000_000


# Crashes

LINES = [line(chance % 5, chance) for chance in random.Random(3).choices(range(50), k=40)]


def sweep(directory: Path, disk: Disk) -> list[Line]:
    """What a sweep does with a spool: five lines a checkpoint, then the reading; begun again where the last ended."""
    if begun(directory, disk) is None:
        spool, done = Spool.create(directory, {}, disk), 0
    else:
        spool, state = Spool.reopen(directory, disk)
        done = state.checkpoint.cursor.get("done", 0)
    while done < len(LINES):
        done += 5
        spool.checkpoint(heap_of(LINES[done - 5 : done]), {"done": done})
    found = list(read(spool))
    spool.close()
    return found


def test_killed_before_in_and_after_every_step(tmp_path: Path) -> None:
    counting = CrashingDisk()
    work = tmp_path / "undisturbed"
    work.mkdir()
    expected = sweep(work / "spool", counting)
    assert expected == sorted(set(LINES))
    left = runs(work / "spool")
    chance, deaths = random.Random(4), 0
    for step, name in enumerate(counting.steps, 1):
        for when in ("before", "middle", "after") if name == "write" else ("before", "after"):
            work = tmp_path / "killed"
            work.mkdir()
            for moment in (Moment(step, when), Moment(chance.randint(1, step), "before")):
                try:
                    sweep(work / "spool", CrashingDisk(moment))
                except Crash:
                    deaths += 1
                    bury(work)
            assert sweep(work / "spool", FastDisk()) == expected
            assert len(runs(work / "spool")) <= FAN_IN
            shutil.rmtree(work)
    print(f"{len(counting.steps)} steps, {deaths} deaths; runs left undisturbed: {left}")
    assert counting.steps.count("remove") > 2 * FAN_IN, "too few runs to be merged beforehand"
    assert deaths > 2 * len(counting.steps)


def test_the_power_cut_at_every_step(tmp_path: Path) -> None:
    work, output = tmp_path / "work", tmp_path / "output"
    work.mkdir()
    disk = RecordingDisk(work)
    chance, left = random.Random(5), dict[int, tuple[int, Tree]]()

    def cut() -> None:
        for tree in survivals(disk, chance):
            left.setdefault(hash(tuple(sorted(tree.items(), key=str))), (disk.steps, tree))

    disk.before_each = cut
    expected = sweep(work / "spool", disk)
    cut()
    for step, tree in left.values():
        materialise(tree, output)
        assert sweep(output / "spool", FastDisk()) == expected, f"power cut before step {step}"
        shutil.rmtree(output)
    print(f"{disk.steps} steps, {len(left)} different states left by a power cut")
    assert len(left) > disk.steps / 2


@pytest.mark.parametrize(
    "content", [b"short", b"%016x%016x{}\n" % (1, 2), b"\0\0\0\1\0\0\0\3" + bytes(23) + b"\1{}", bytes(8)]
)
def test_a_run_that_is_no_run(directory: Path, content: bytes) -> None:
    path = directory / some_spool(directory)[0]
    path.write_bytes(content.ljust(path.stat().st_size, b"\n" if any(content) else b"\0"))
    spool, _ = Spool.reopen(directory, FastDisk())
    with pytest.raises(DumpDamagedError, match="not a run of lines") as raised:
        list(read(spool))
    assert raised.value.place == str(path)
    spool.close()


def test_runs_of_another_version_are_refused_before_anything_is_added(directory: Path) -> None:
    left = some_spool(directory)
    journal = directory / "journal.ndjson"
    journal.write_bytes(journal.read_bytes().replace(b',"runs":2', b"", 1))
    with pytest.raises(DumpError, match="another version") as raised:
        Spool.reopen(directory, FastDisk())
    assert "--fresh" in raised.value.mend
    assert runs(directory) == left
