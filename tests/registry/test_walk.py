"""Whatever a list's counts and links say, and however it moves: every row that was there throughout, once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import ProtocolError, TransientError
from harvester.registry.walk import Start, walk
from tests.registry.jumping import in_jumping_time, now

Change = tuple[Literal["insert", "remove"], int]
"""Rows to add at the end, or the position of the one that goes."""


@dataclass(frozen=True)
class Rows:
    """A page of nothing but ids."""

    ids: tuple[int, ...]
    count: int
    exact: bool
    has_next: bool

    @property
    def size(self) -> int:
        return len(self.ids)

    @property
    def first_id(self) -> int:
        return self.ids[0] if self.ids else 0

    @property
    def last_id(self) -> int:
        return self.ids[-1] if self.ids else 0

    def beyond(self, row_id: int) -> Self:
        return replace(self, ids=tuple(i for i in self.ids if i > row_id))


@dataclass
class FakeList:
    """A list of the Registry. It moves just before the answers whose ordinal numbers `changes` names."""

    ids: list[int]
    per_page: int
    cached_count: int | None = None
    """What the hourly table says; None: rows are counted for each answer."""
    changes: Mapping[int, Sequence[Change]] = field(default_factory=dict)
    cap: int | None = None
    seconds: Sequence[float] = (0.1,)
    """How long the answers take, in turn."""
    pages: list[int] = field(default_factory=list)
    answers: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    removed: set[int] = field(default_factory=set)
    given: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at_first = list(self.ids)
        self.all_ever = set(self.ids)

    async def fetch(self, page: int) -> Rows:
        self.pages.append(page)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.seconds[len(self.pages) % len(self.seconds)])
        finally:
            self.in_flight -= 1
        self.answers += 1
        self._move()
        begin = (page - 1) * self.per_page
        count = len(self.ids) if self.cached_count is None else self.cached_count
        ids = tuple(self.ids[begin : begin + (self.cap or self.per_page)])
        return Rows(ids, count, self.cached_count is None, count > page * self.per_page)

    async def take(self, rows: Rows) -> None:
        assert rows.ids, "an empty page is nothing to take"
        self.given += rows.ids

    def _move(self) -> None:
        for kind, number in self.changes.get(self.answers, ()):
            if kind == "insert":
                first = max(self.all_ever, default=0) + 1
                self.ids += range(first, first + number)
                self.all_ever |= set(self.ids)
            elif self.ids:
                self.removed.add(self.ids.pop(number % len(self.ids)))

    def check(self) -> None:
        assert self.given == sorted(set(self.given)), "out of order or twice"
        assert set(self.given) <= self.all_ever
        missed = set(self.at_first) - self.removed - set(self.given)
        assert not missed, f"missed {sorted(missed)}"


FROM_THE_START = Start()


async def walked(rows: FakeList, *, ahead: int = 1, start: Start = FROM_THE_START) -> int:
    return await walk(rows.fetch, rows.take, per_page=rows.per_page, ahead=ahead, start=start)


ids_of_a_list = st.lists(st.integers(1, 3), max_size=30).map(
    lambda steps: [sum(steps[: i + 1]) for i in range(len(steps))]
)
per_page = st.integers(1, 7)
ahead = st.integers(1, 8)
seconds = st.lists(st.floats(0, 1), min_size=1, max_size=5)
growing = st.lists(st.tuples(st.just("insert"), st.integers(1, 9)), max_size=2)
shrinking = st.lists(st.tuples(st.just("remove"), st.integers(0, 29)), max_size=3)


@given(ids_of_a_list, per_page, ahead, st.none() | st.integers(0, 60), seconds)
@settings(max_examples=300)
@in_jumping_time
async def test_a_list_that_rests(
    ids: list[int], per_page: int, ahead: int, cached_count: int | None, seconds: list[float]
) -> None:
    rows = FakeList(ids, per_page, cached_count, seconds=seconds)
    assert await walked(rows, ahead=ahead) == len(ids)
    assert rows.given == ids
    assert len(rows.pages) <= len(ids) // per_page + 2


@given(
    ids_of_a_list,
    per_page,
    ahead,
    st.none() | st.integers(0, 60),
    st.dictionaries(st.integers(1, 12), growing, max_size=5),
    seconds,
)
@settings(max_examples=300)
@in_jumping_time
async def test_a_list_that_grows(
    ids: list[int],
    per_page: int,
    ahead: int,
    cached_count: int | None,
    changes: dict[int, list[Change]],
    seconds: list[float],
) -> None:
    rows = FakeList(ids, per_page, cached_count, changes, seconds=seconds)
    assert await walked(rows, ahead=ahead) == len(rows.given)
    rows.check()


@given(ids_of_a_list, per_page, ahead, st.dictionaries(st.integers(1, 12), shrinking, max_size=6), seconds)
@settings(max_examples=600)
@in_jumping_time
async def test_a_list_that_shrinks(
    ids: list[int], per_page: int, ahead: int, changes: dict[int, list[Change]], seconds: list[float]
) -> None:
    rows = FakeList(ids, per_page, None, changes, seconds=seconds)
    assert await walked(rows, ahead=ahead) == len(rows.given)
    rows.check()


@given(
    ids_of_a_list,
    per_page,
    ahead,
    st.dictionaries(st.integers(1, 12), growing | shrinking, max_size=6),
    seconds,
)
@settings(max_examples=600)
@in_jumping_time
async def test_a_list_that_grows_and_shrinks_repeats_nothing_and_comes_to_an_end(
    ids: list[int], per_page: int, ahead: int, changes: dict[int, list[Change]], seconds: list[float]
) -> None:
    # That nothing is missed cannot be promised here: as many rows added as removed leave the count as it was.
    rows = FakeList(ids, per_page, None, changes, seconds=seconds)
    assert await walked(rows, ahead=ahead) == len(rows.given)
    assert rows.given == sorted(set(rows.given))
    assert set(rows.given) <= rows.all_ever


@given(ids_of_a_list, per_page, ahead, st.integers(0, 30), shrinking, seconds)
@settings(max_examples=300)
@in_jumping_time
async def test_a_walk_taken_up_again_after_rows_have_gone(
    ids: list[int], per_page: int, ahead: int, in_hand: int, gone: list[Change], seconds: list[float]
) -> None:
    had = ids[:in_hand]
    rows = FakeList(ids, per_page, None, {1: gone}, seconds=seconds)
    start = Start(rows=len(had), last_id=had[-1] if had else 0)
    assert await walked(rows, ahead=ahead, start=start) == len(rows.given)
    rows.given = had + rows.given
    rows.check()


async def follow_next(rows: FakeList) -> list[int]:
    """What everybody does who reads the API's document."""
    found, page = list[int](), 1
    while True:
        leaf = await rows.fetch(page)
        found += leaf.ids
        if not leaf.has_next:
            return found
        page += 1


@in_jumping_time
async def test_following_next_ends_early_as_wire_md_saw_it_and_walk_does_not() -> None:
    naive = FakeList(list(range(1, 17)), 4, cached_count=6)
    assert len(await follow_next(naive)) == 8
    rows = FakeList(list(range(1, 17)), 4, cached_count=6)
    assert await walked(rows) == 16


@in_jumping_time
async def test_following_next_misses_a_row_when_one_before_it_goes_and_walk_does_not() -> None:
    changes: dict[int, list[Change]] = {2: [("remove", 0)]}
    naive = FakeList(list(range(1, 9)), 4, changes=changes)
    assert set(naive.at_first) - set(await follow_next(naive)) == {5}
    rows = FakeList(list(range(1, 9)), 4, changes=changes)
    await walked(rows)
    assert rows.given == list(range(1, 9))


@pytest.mark.parametrize("cached_count", [0, 3, 4])
@in_jumping_time
async def test_a_full_page_without_next_is_probed(cached_count: int) -> None:
    rows = FakeList([1, 2, 3, 4], 4, cached_count)
    assert await walked(rows) == 4
    assert rows.pages == [1, 2]


@in_jumping_time
async def test_a_count_that_is_too_high_costs_one_request_not_one_for_each_page_it_promises() -> None:
    rows = FakeList([1, 2, 3], 2, cached_count=1000)
    assert await walked(rows, ahead=8) == 3
    assert rows.pages == [1, 2, 3]


@in_jumping_time
async def test_a_short_page_that_fills_up_while_the_next_is_probed_is_looked_at_again() -> None:
    rows = FakeList([1], 2, cached_count=50, changes={2: [("insert", 2)]})
    assert await walked(rows) == 3
    assert rows.given == [1, 2, 3]


@pytest.mark.parametrize("cached_count", [None, 10])
@in_jumping_time
async def test_a_server_that_gives_fewer_rows_a_page_than_asked_for_is_found_out(cached_count: int | None) -> None:
    rows = FakeList(list(range(1, 11)), 4, cached_count, cap=3)
    with pytest.raises(ProtocolError) as raised:
        await walked(rows, ahead=3)
    assert "per_page" in raised.value.mend


@pytest.mark.parametrize("cached_count", [None, 6])
@in_jumping_time
async def test_ids_that_go_back_are_not_believed(cached_count: int | None) -> None:
    rows = FakeList([1, 2, 5, 4, 6, 7], 3, cached_count)
    with pytest.raises(ProtocolError, match=r"page 2 goes back from id 5 to id 4"):
        await walked(rows)
    assert rows.given == [1, 2, 5]


@in_jumping_time
async def test_a_page_repeated_for_ever_ends_the_walk() -> None:
    async def fetch(page: int) -> Rows:
        return Rows((1, 2), 1000, False, True)

    rows = FakeList([], 2)
    with pytest.raises(ProtocolError):
        await walk(fetch, rows.take, per_page=2, ahead=1)


@pytest.mark.parametrize("per_page", [0, -1, 1001, 2000])
@in_jumping_time
async def test_page_sizes_that_lose_rows_or_switch_the_limit_off_are_never_asked_for(per_page: int) -> None:
    rows = FakeList([1, 2], per_page)
    with pytest.raises(ValueError, match="per_page"):
        await walked(rows)
    assert rows.pages == []


@in_jumping_time
async def test_pages_are_fetched_ahead_only_as_many_as_allowed_and_only_while_counts_are_exact() -> None:
    rows = FakeList(list(range(1, 401)), 10)
    await walked(rows, ahead=8)
    assert rows.most_in_flight == 8
    assert sorted(rows.pages) == list(range(1, 42))  # the last page is full, so one more is asked for
    assert now() < 40 * 0.1 / 4
    doubtful = FakeList(list(range(1, 401)), 10, cached_count=400)
    await walked(doubtful, ahead=8)
    assert doubtful.most_in_flight == 1


@pytest.mark.parametrize("where", ["fetch", "take", "cancelled"])
@in_jumping_time
async def test_a_walk_that_fails_leaves_nothing_running(where: str) -> None:
    rows = FakeList(list(range(1, 401)), 10, seconds=[0.1, 3, 0.5])
    random = Random(3)

    async def fetch(page: int) -> Rows:
        if where == "fetch" and page in (4, 6):
            raise TransientError(f"page {page}")
        return await rows.fetch(page)

    async def take(leaf: Rows) -> None:
        await asyncio.sleep(random.random())
        if where == "take" and leaf.first_id > 50:
            raise TransientError("disk")

    with pytest.raises(TimeoutError if where == "cancelled" else TransientError) as raised:
        async with asyncio.timeout(4 if where == "cancelled" else None):
            await walk(fetch, take, per_page=10, ahead=8)
    if where == "fetch":
        assert str(raised.value) == "page 4"
    assert rows.in_flight == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
