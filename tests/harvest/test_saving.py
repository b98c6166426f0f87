"""The disk's thread and the garbage collector: neither stands in the way of a harvest, both are left as they should."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator

import pytest

from harvester.harvest.garbage import RARELY, rare_collections
from harvester.harvest.saving import DiskThread


@pytest.fixture
def disk() -> Iterator[DiskThread]:
    with DiskThread() as disk:
        yield disk


async def test_work_goes_on_while_a_checkpoint_is_made(disk: DiskThread) -> None:
    go, made = threading.Event(), list[int]()
    assert disk.well
    disk.begin(lambda: made.append(1) if go.wait(60) else None)
    assert not disk.well
    assert made == []
    go.set()
    await disk.done()
    assert made == [1]
    assert disk.well


async def test_cancelled_it_still_waits_for_what_has_begun(disk: DiskThread) -> None:
    go, made = threading.Event(), list[int]()
    waiting = asyncio.create_task(disk.run(lambda: made.append(1) if go.wait(60) else None))
    await asyncio.wait([waiting], timeout=0.01)
    waiting.cancel()
    await asyncio.wait([waiting], timeout=0.01)
    assert not waiting.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert made == [1]
    assert disk.well


async def test_a_checkpoint_that_failed_is_told_of(disk: DiskThread) -> None:
    def fail() -> None:
        raise OSError("full")

    disk.begin(fail)
    await disk.settled()
    assert not disk.well
    with pytest.raises(OSError, match="full"):
        await disk.done()


def test_where_no_thread_can_be_had_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="thread"), DiskThread():
        pass


def test_the_collector_is_as_it_was_after_the_last_of_several_harvests() -> None:
    before = gc.get_threshold()
    first, second = rare_collections(), rare_collections()
    first.__enter__()
    assert gc.get_threshold() == RARELY
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold() == RARELY
    second.__exit__(None, None, None)
    assert gc.get_threshold() == before


def test_the_collector_is_as_it_was_after_a_failure() -> None:
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="it"), rare_collections():
        raise ValueError("it")
    assert gc.get_threshold() == before
