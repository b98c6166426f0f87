"""Durable: a process killed, or the power cut, at any step of a harvest; the next run ends with the same dump."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.dump import Codec, Pace, partials, published, read_manifest, recover, remove, verify
from harvester.dump.layout import JOURNAL, MANIFEST
from tests.dump.crashing import (
    Crash,
    CrashingDisk,
    FastDisk,
    Moment,
    RecordingDisk,
    Tree,
    bury,
    materialise,
    survivals,
)
from tests.dump.synthetic import Collection, Harvest

SMALL = Collection(objects=3, files=2, events=1, alerts=2)
PACE = Pace(3000, 2)
PREVIOUS = "2026-11-23T020000Z"
NAME = "2026-11-24T020000Z"

HARVESTS = {
    "plain": Harvest(SMALL, Codec.NONE, PACE),
    "corrected, zstd": Harvest(Collection(objects=3, files=2, events=1, alerts=2, corrected=True), Codec.ZSTD, PACE),
}


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def previous(tmp_path: Path) -> Path:
    """An output directory with the dump of the night before."""
    output = tmp_path / "previous"
    Harvest(SMALL, Codec.NONE, PACE).run(output, FastDisk()).rename(output / PREVIOUS)
    (output / "latest").unlink()
    (output / "latest").symlink_to(PREVIOUS)
    return output


@pytest.fixture(params=HARVESTS)
def harvest(request: pytest.FixtureRequest) -> Harvest:
    return HARVESTS[request.param]


def check_published(output: Path) -> None:
    """At any moment: what is published is sound, and `latest` names one of it."""
    for dump in published(output):
        assert read_manifest(dump)
        assert verify(dump, deep=True).damages == []
    assert (output / "latest").resolve() in published(output.resolve())


def check_end(output: Path, previous: Path, undisturbed: dict[str, bytes]) -> None:
    """After the last run: the dump is there once, to the byte, and nothing else but the one before."""
    assert sorted(path.name for path in output.iterdir()) == [PREVIOUS, NAME, "latest"]
    assert contents(output / NAME) == undisturbed
    assert contents(output / PREVIOUS) == contents(previous / PREVIOUS)
    assert (output / "latest").readlink() == Path(NAME)
    assert partials(output) == []


def test_killed_before_in_and_after_every_step(harvest: Harvest, previous: Path, tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(previous, undisturbed, symlinks=True)
    counting = CrashingDisk()
    expected = contents(harvest.run(undisturbed, counting))
    check_end(undisturbed, previous, expected)
    whens = {"write": ("before", "middle", "after")}
    moments = [
        Moment(step, when)
        for step, name in enumerate(counting.steps, 1)
        for when in whens.get(name, ("before", "after"))
    ]
    chance = random.Random(1)
    output = tmp_path / "output"
    for moment in moments:
        shutil.copytree(previous, output, symlinks=True)
        # The first run dies at this moment, the second wherever it happens to, the third may live.
        for deadly in (moment, Moment(chance.randint(1, len(counting.steps)), "before")):
            try:
                harvest.run(output, CrashingDisk(deadly))
            except Crash:
                bury(output)
            check_published(output)
        harvest.run(output, FastDisk())
        check_end(output, previous, expected)
        shutil.rmtree(output)
    print(f"{len(counting.steps)} steps, {len(moments)} deaths: {dict(Counter(counting.steps))}")
    assert len(moments) == 2 * len(counting.steps) + counting.steps.count("write")
    assert len(counting.steps) > 60


class Cuts:
    """The different states that a power cut leaves, each with what the journal vouched for."""

    def __init__(self, work: Path, seed: int) -> None:
        self.disk = RecordingDisk(work)
        self.disk.before_each = self.cut
        self.left: dict[int, tuple[int, Tree, bytes]] = {}
        self._journal = work / f".{NAME}.partial" / JOURNAL
        self._chance = random.Random(seed)

    def cut(self) -> None:
        vouched = self.disk.synced(self._journal)
        for tree in survivals(self.disk, self._chance):
            self.left.setdefault(hash((vouched, *sorted(tree.items()))), (self.disk.steps, tree, vouched))

    def states(self, output: Path) -> Iterator[bytes]:
        for step, tree, vouched in self.left.values():
            materialise(tree, output)
            try:
                yield vouched
            except Exception as error:
                error.add_note(f"power cut before step {step} left {sorted(tree)}")
                raise
            shutil.rmtree(output)


def kill(work: Path, harvest: Harvest, moment: Moment) -> None:
    with pytest.raises(Crash):
        harvest.run(work, CrashingDisk(moment))
    bury(work)


@pytest.mark.parametrize("before", [0.0, 0.4, 0.9], ids=["begun", "taken up", "taken up late"])
def test_the_power_cut_at_every_step(harvest: Harvest, before: float, previous: Path, tmp_path: Path) -> None:
    work, output = tmp_path / "work", tmp_path / "output"
    shutil.copytree(previous, work, symlinks=True)
    counting = CrashingDisk()
    expected = contents(harvest.run(work, counting))
    shutil.rmtree(work)
    shutil.copytree(previous, work, symlinks=True)
    if before:
        kill(work, harvest, Moment(int(before * len(counting.steps)), "middle"))
    cuts = Cuts(work, seed=2)
    harvest.run(work, cuts.disk)
    check_end(work, previous, expected)
    for vouched in cuts.states(output):
        check_published(output)
        journal = output / f".{NAME}.partial" / JOURNAL
        if vouched.count(b"\n") > 1:
            # A checkpoint is gone back to, or was needed no more.
            assert journal.exists() or (output / NAME).exists() or (journal.parent / MANIFEST).exists()
            assert not journal.exists() or journal.read_bytes().startswith(vouched)
        harvest.run(output, FastDisk())
        check_end(output, previous, expected)
    print(f"{cuts.disk.steps} steps, {len(cuts.left)} different states left by a power cut")
    assert len(cuts.left) > cuts.disk.steps / 2
    # Once the harvest says that it is done, no power cut may undo it.
    cuts.left.clear()
    cuts.cut()
    for _ in cuts.states(output):
        assert contents(output / NAME) == expected
        assert (output / "latest").readlink() == Path(NAME)


@pytest.mark.parametrize("finished", [False, True])
def test_the_power_cut_while_a_dump_is_cleared_away(
    harvest: Harvest, finished: bool, previous: Path, tmp_path: Path
) -> None:
    work, output = tmp_path / "work", tmp_path / "output"
    shutil.copytree(previous, work, symlinks=True)
    counting = CrashingDisk()
    expected = contents(harvest.run(work, counting))
    shutil.rmtree(work)
    shutil.copytree(previous, work, symlinks=True)
    ready = len(counting.steps) - counting.steps[::-1].index("rename", counting.steps[::-1].index("link") + 1)
    kill(work, harvest, Moment(ready - 2 if finished else ready // 2, "before"))
    (partial,) = partials(work)
    recover(partial, FastDisk())
    assert (partial / MANIFEST).exists() == (finished and not harvest.collection.corrected)
    cuts = Cuts(work, seed=3)
    remove(partial, cuts.disk)
    cuts.cut()
    for _ in cuts.states(output):
        for left in partials(output):
            assert not isinstance(recover(left, FastDisk()), Path), "it was not to be published"
        harvest.run(output, FastDisk())
        check_end(output, previous, expected)


def test_a_new_output_directory_survives_too(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    cuts = Cuts(work, seed=4)
    made = HARVESTS["plain"].run(work / "new" / "inventories", cuts.disk)
    cuts.left.clear()
    cuts.cut()
    for _ in cuts.states(tmp_path / "output"):
        assert contents(tmp_path / "output" / "new" / "inventories" / NAME) == contents(made)
