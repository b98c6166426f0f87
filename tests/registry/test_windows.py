"""However rows lie in time, whoever answers first, wherever a sweep is stopped: no row is lost, few come twice."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import ceil
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import ProtocolError, TransientError
from harvester.registry.client import Page, Record
from harvester.registry.resources import EVENTS, FILES, Resource, format_time
from harvester.registry.windows import EPOCH, FIRST, LAST, MICROSECOND, Piece, Sweep, Window, _Walk, micros
from tests.registry.jumping import in_jumping_time, now

NOW = micros(datetime(2026, 7, 1, tzinfo=UTC))
BIRTH = micros(datetime(2014, 1, 1, tzinfo=UTC))
DAY = 86_400_000_000

Row = tuple[int, int]
"""Time in microseconds, id."""


@dataclass
class FakeList:
    """A list of the Registry under a time window, sorted by time and id. It moves before the answers of `changes`.

    `cap` makes it give fewer rows than asked for, `deaf` ignore the window, `one_way` the wish for the last rows first.
    """

    resource: Resource
    rows: list[Row]
    per_page: int
    changes: dict[int, Callable[[FakeList], None]] = field(default_factory=dict)
    cap: int | None = None
    deaf: bool = False
    one_way: bool = False
    requests: int = 0
    skipped: int = 0
    counted: int = 0
    given: int = 0
    removed: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rows.sort()
        self.at_first = {number for _, number in self.rows}
        self.all_ever = set(self.at_first)

    @property
    def pages(self) -> int:
        """The least number of requests that could bring all rows."""
        return ceil(len(self.rows) / self.per_page)

    @property
    def seconds(self) -> float:
        """What the requests have cost the Registry, by the figures of wire.md."""
        offsets = self.skipped * self.resource.skipped_row_seconds
        return self.requests * 0.070 + self.given * 25e-6 + offsets + self.counted * 0.37e-6

    @property
    def floor(self) -> float:
        """What they would have to cost at least."""
        return self.pages * 0.070 + len(self.at_first) * 25e-6

    def page(self, window: Window, number: int) -> Page:
        self.requests += 1
        if (change := self.changes.get(self.requests)) is not None:
            change(self)
        begin = 0 if self.deaf else bisect_left(self.rows, (window.since, -1))
        end = len(self.rows) if self.deaf else bisect_right(self.rows, (window.until, 1 << 62))
        skipped = (number - 1) * self.per_page
        self.skipped += min(skipped, end - begin)
        self.counted += end - begin
        rows = self.rows[begin:end][::-1] if window.backwards and not self.one_way else self.rows[begin:end]
        chosen = rows[skipped : skipped + (self.cap or self.per_page)]
        self.given += len(chosen)
        name = self.resource.time_field
        records: list[Record] = [{"id": i, name: format_time(EPOCH + t * MICROSECOND)} for t, i in chosen]
        return Page(records, end - begin, True, end - begin > skipped + len(records), datetime(2026, 7, 1, tzinfo=UTC))

    def insert(self, times: Sequence[int]) -> None:
        for time in times:
            number = max(self.all_ever, default=0) + 1
            insort(self.rows, (time, number))
            self.all_ever.add(number)

    def remove(self, which: int) -> None:
        if self.rows:
            self.removed.add(self.rows.pop(which % len(self.rows))[1])


@dataclass
class Swept:
    """One sweep over a list, its answers in an order that `random` draws; `taken` are ids, with repeats."""

    fake: FakeList
    random: Random
    taken: list[int] = field(default_factory=list)
    snapshots: list[tuple[int, list[Window], list[Piece]]] = field(default_factory=list)
    slowest: int = 6
    latency: float = 0.0
    fails_at: int = 0
    in_flight: int = 0

    def sweep(self, lanes: int, windows: Sequence[Window] = (), pieces: Sequence[Piece] = ()) -> Sweep:
        begin = [Window(self.fake.resource, FIRST, NOW), Window(self.fake.resource, NOW + 1, LAST)]
        held = windows or ([] if pieces else begin)
        self.last = Sweep(self.ask, self.take, self.fake.per_page, lanes, deque(held), deque(pieces))
        return self.last

    async def ask(self, window: Window, number: int) -> Page:
        self.in_flight += 1
        try:
            await self._pause()
            page = self.fake.page(window, number)
            if self.fake.requests == self.fails_at:
                raise TransientError("the Registry is away")
            await self._pause()
        finally:
            self.in_flight -= 1
        return page

    async def take(self, resource: Resource, rows: Sequence[Record]) -> None:
        assert resource is self.fake.resource
        assert rows, "no rows are nothing to take"
        self.taken += [row["id"] for row in rows]
        await self._pause()
        self.snapshots.append((len(self.taken), *self.last.open))
        await self._pause()

    async def _pause(self) -> None:
        if self.latency:
            await asyncio.sleep(self.latency / 2)
        for _ in range(self.random.randint(0, self.slowest)):
            await asyncio.sleep(0)

    def check(self, taken: Sequence[int] | None = None) -> None:
        given = set(self.taken if taken is None else taken)
        assert given <= self.fake.all_ever
        missed = self.fake.at_first - self.fake.removed - given
        assert not missed, f"missed {sorted(missed)}"


async def swept(fake: FakeList, lanes: int, seed: int, *, slowest: int = 6) -> Swept:
    run = Swept(fake, Random(seed), slowest=slowest)
    async with asyncio.timeout(1000):
        await run.sweep(lanes).run()
    assert run.in_flight == 0
    assert run.last.open == ([], [])
    assert run.last.left == 0
    return run


def ids_for(times: Sequence[int], seed: int) -> list[Row]:
    """Rows of these times; ids and times do not run in parallel."""
    numbers = list(range(1, len(times) + 1))
    Random(seed).shuffle(numbers)
    return list(zip(times, numbers, strict=True))


a_time = st.one_of(
    st.integers(BIRTH, NOW),
    st.integers(NOW - 30, NOW + 30),
    st.integers(NOW - 900 * DAY, NOW - 899 * DAY),
    st.sampled_from([FIRST, FIRST + 1, micros(datetime(2000, 1, 1, tzinfo=UTC)), NOW, NOW + 1, LAST - 1, LAST]),
    st.integers(FIRST, LAST),
)
a_group = st.tuples(a_time, st.sampled_from([1, 1, 1, 2, 3, 7, 20, 150]), st.sampled_from([0, 0, 1, 1_000_003, DAY]))
"""When it begins, how many rows, how far apart."""
times_of_a_list = st.lists(a_group, max_size=25).map(
    lambda groups: [min(LAST, begin + n * step) for begin, size, step in groups for n in range(size)]
)
per_page = st.integers(5, 20)
lanes = st.integers(1, 8)
seeds = st.integers(0, 10_000)


@given(times_of_a_list, st.integers(1, 20), lanes, seeds, st.sampled_from([FILES, EVENTS]))
@settings(max_examples=400)
@in_jumping_time
async def test_every_row_of_a_list_that_rests(
    times: list[int], per_page: int, lanes: int, seed: int, resource: Resource
) -> None:
    fake = FakeList(resource, ids_for(times, seed), per_page)
    (await swept(fake, lanes, seed)).check()


@given(times_of_a_list, per_page, lanes, seeds, st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=400)
@in_jumping_time
async def test_taken_up_again_at_any_moment_twice(
    times: list[int], per_page: int, lanes: int, seed: int, one: int, another: int
) -> None:
    fake = FakeList(FILES, ids_for(times, seed), per_page)
    run = await swept(fake, lanes, seed)
    had: list[int] = []
    for moment in (one, another):
        if not run.snapshots:
            break
        taken, windows, pieces = run.snapshots[moment % len(run.snapshots)]
        had += run.taken[:taken]
        run = Swept(fake, Random(seed + 1))
        if windows or pieces:
            await run.sweep(lanes, windows, pieces).run()
    run.check([*had, *run.taken])


@given(times_of_a_list, per_page, lanes, seeds, st.integers(1, 60), st.booleans())
@settings(max_examples=400)
@in_jumping_time
async def test_what_a_failure_or_a_cancellation_leaves_is_open(
    times: list[int], per_page: int, lanes: int, seed: int, at: int, cancelled: bool
) -> None:
    fake = FakeList(FILES, ids_for(times, seed), per_page)
    run = Swept(fake, Random(seed), fails_at=0 if cancelled else at)
    running = asyncio.create_task(run.sweep(lanes).run())
    while not running.done() and not (cancelled and fake.requests >= at):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert run.in_flight == 0
    # Also what was seen after the failure, while the other lanes had yet to be stopped, must leave nothing out.
    for taken, windows, pieces in [*run.snapshots[-3:], (len(run.taken), *run.last.open)]:
        again = Swept(fake, Random(seed))
        if windows or pieces:
            await again.sweep(lanes, windows, pieces).run()
        run.check([*run.taken[:taken], *again.taken])


Move = Callable[[FakeList], None]


def inserting(times: list[int]) -> Move:
    return lambda fake: fake.insert(times)


def removing(which: list[int]) -> Move:
    def move(fake: FakeList) -> None:
        for number in which:
            fake.remove(number)

    return move


def capping(cap: int | None) -> Move:
    return lambda fake: setattr(fake, "cap", cap)


growth = st.dictionaries(st.integers(1, 60), st.lists(a_time, min_size=1, max_size=9).map(inserting), max_size=6)
shrinkage = st.dictionaries(
    st.integers(1, 60), st.lists(st.integers(0, 2000), min_size=1, max_size=5).map(removing), max_size=5
)


@given(times_of_a_list, per_page, lanes, seeds, growth)
@settings(max_examples=500)
@in_jumping_time
async def test_rows_that_come_in_at_any_time_do_no_harm(
    times: list[int], per_page: int, lanes: int, seed: int, changes: dict[int, Move]
) -> None:
    fake = FakeList(FILES, ids_for(times, seed), per_page, changes)
    (await swept(fake, lanes, seed)).check()


@given(times_of_a_list, per_page, lanes, seeds, shrinkage)
@settings(max_examples=500)
@in_jumping_time
async def test_rows_that_go_take_no_other_row_along(
    times: list[int], per_page: int, lanes: int, seed: int, changes: dict[int, Move]
) -> None:
    fake = FakeList(FILES, ids_for(times, seed), per_page, changes)
    (await swept(fake, lanes, seed)).check()


@given(times_of_a_list, per_page, lanes, seeds, growth, shrinkage)
@settings(max_examples=200)
@in_jumping_time
async def test_rows_that_come_and_go_let_it_come_to_an_end(
    times: list[int], per_page: int, lanes: int, seed: int, coming: dict[int, Move], going: dict[int, Move]
) -> None:
    # That nothing is missed cannot be promised here: as many rows in as out leave the counts as they were.
    fake = FakeList(FILES, ids_for(times, seed), per_page, coming | going)
    run = await swept(fake, lanes, seed)
    assert set(run.taken) <= fake.all_ever


@pytest.mark.parametrize("lanes", [1, 2, 8])
@in_jumping_time
async def test_a_row_in_the_past_between_two_pages_of_a_tail_moves_none_out_of_sight(lanes: int) -> None:
    for at in range(1, 8):
        times = [BIRTH + n * DAY for n in range(35)]
        fake = FakeList(EVENTS, ids_for(times, at), 10, {at: inserting([BIRTH - 1])})
        (await swept(fake, lanes, at)).check()


FULL_INSTANTS = [NOW - DAY] * 100 + [NOW - 1] * 200


@pytest.mark.parametrize("which", [0, 15, 25, 39, 95, 105, 295])
@in_jumping_time
async def test_a_row_that_goes_from_a_full_instant_takes_none_along(which: int) -> None:
    for at in range(1, 32):
        fake = FakeList(FILES, ids_for(FULL_INSTANTS, at), 10, {at: removing([which])})
        (await swept(fake, 4, at)).check()


@pytest.mark.parametrize("time", [NOW - DAY, NOW - 1])
@in_jumping_time
async def test_a_row_that_comes_into_a_full_instant_moves_none_out_of_sight(time: int) -> None:
    for at in range(1, 32):
        fake = FakeList(FILES, ids_for(FULL_INSTANTS, at), 10, {at: inserting([time])})
        (await swept(fake, 4, at)).check()


@in_jumping_time
async def test_a_page_that_is_short_once_costs_no_row() -> None:
    for at in range(1, 32):
        changes = {at: capping(7), at + 1: capping(None)}
        fake = FakeList(FILES, ids_for(FULL_INSTANTS, at), 10, changes)
        (await swept(fake, 4, at)).check()


async def test_a_walk_past_a_gap_keeps_some_of_its_window_when_the_later_part_is_taken_over() -> None:
    """It has gone on after a horizon that lies years after its last row."""
    fake = FakeList(FILES, ids_for([BIRTH], 1), 10)
    for pace in (0.0, 5.0):
        sweep = Swept(fake, Random(1)).sweep(2)
        walk = _Walk(Window(FILES, NOW - DAY, NOW), last=BIRTH, last_id=1, left=1000, pace=pace)
        later = sweep._cut(walk)
        assert later is not None
        assert NOW - DAY <= walk.window.until < later.since <= later.until == NOW


# Answers that cannot be believed


@in_jumping_time
async def test_a_server_that_gives_fewer_rows_than_asked_for_is_found_out() -> None:
    fake = FakeList(FILES, ids_for([BIRTH + n for n in range(100)], 1), 10, cap=7)
    with pytest.raises(ExceptionGroup) as raised:
        await swept(fake, 4, 1)
    assert all(isinstance(error, ProtocolError) and "per_page" in error.mend for error in raised.value.exceptions)


@in_jumping_time
async def test_a_server_that_ignores_the_window_is_found_out() -> None:
    fake = FakeList(FILES, ids_for([BIRTH + n * DAY for n in range(100)], 1), 10, deaf=True)
    with pytest.raises(ExceptionGroup) as raised:
        await swept(fake, 4, 1)
    assert "not of the time asked for" in str(raised.value.exceptions[0])
    assert fake.requests < 20


@in_jumping_time
async def test_a_server_that_gives_the_first_rows_for_the_last_is_found_out() -> None:
    fake = FakeList(FILES, ids_for(FULL_INSTANTS, 1), 10, one_way=True)
    with pytest.raises(ExceptionGroup) as raised:
        await swept(fake, 4, 1)
    assert "out of order" in str(raised.value.exceptions[0])


@pytest.mark.parametrize("value", [None, "", "yesterday", 5])
@in_jumping_time
async def test_a_row_without_a_time_is_named(value: object) -> None:
    async def ask(window: Window, number: int) -> Page:
        return Page([{"id": 7, "created_at": value}], 1, True, False, datetime(2026, 7, 1, tzinfo=UTC))

    async def take(resource: Resource, rows: Sequence[Record]) -> None:
        raise AssertionError(rows)

    with pytest.raises(ExceptionGroup) as raised:
        await Sweep(ask, take, 10, 2, deque([Window(FILES)])).run()
    assert str(raised.value.exceptions[0]) == "files 7 has no usable 'created_at'"


@in_jumping_time
async def test_rows_that_vanish_with_every_answer_are_an_error_not_an_endless_loop() -> None:
    changes = {number: removing([0]) for number in range(2, 10_000)}
    fake = FakeList(FILES, ids_for([NOW - DAY] * 5000, 1), 10, changes)
    with pytest.raises(ExceptionGroup) as raised:
        await swept(fake, 4, 1)
    assert "disagree again and again" in str(raised.value.exceptions[0])


@in_jumping_time
async def test_a_long_window_may_be_disturbed_now_and_then() -> None:
    times = [BIRTH + n * DAY for n in range(3000)]
    fake = FakeList(FILES, ids_for(times, 1), 10, {number: removing([0]) for number in range(2, 300, 9)})
    (await swept(fake, 1, 1)).check()


# What it costs


def spread(size: int, random: Random) -> list[int]:
    return [random.randrange(BIRTH, NOW) for _ in range(size)]


def bags(size: int, random: Random) -> list[int]:
    """Most bags small, a few large, each ingested within a second or so."""
    times: list[int] = []
    while len(times) < size:
        begin, files = random.randrange(BIRTH, NOW), max(1, int(random.lognormvariate(0, 1.5) * 10))
        times += [begin + n * 1_003 for n in range(min(files, size - len(times)))]
    return times


def ties(size: int, random: Random) -> list[int]:
    """The same bags, each in one instant."""
    return [time - time % 1_000_000 for time in bags(size, random)]


def half_in_a_day(size: int, random: Random) -> list[int]:
    begin = NOW - 900 * DAY
    return spread(size // 2, random) + [begin + random.randrange(DAY) for _ in range(size - size // 2)]


def recent(size: int, random: Random) -> list[int]:
    return [NOW - int(random.expovariate(1 / (60 * DAY))) for _ in range(size)]


def after_a_gap(size: int, random: Random) -> list[int]:
    """A fifth in a day, the rest in another day eleven years later: nothing received tells of the second."""
    days = [BIRTH] * (size // 5) + [NOW - 400 * DAY] * (size - size // 5)
    return [begin + random.randrange(DAY) for begin in days]


def early(size: int, random: Random) -> list[int]:
    return [BIRTH + int(random.expovariate(1 / DAY)) for _ in range(size)]


def giant(size: int, random: Random) -> list[int]:
    """A fifth of all in one instant."""
    return ties(size - size // 5, random) + [NOW - 400 * DAY] * (size // 5)


def medium(size: int, random: Random) -> list[int]:
    """Every instant has two and a half pages."""
    return [time for time in spread(60, random) for _ in range(size // 60)]


def quarters(size: int, random: Random) -> list[int]:
    """Every instant has a quarter of a page: the worst, for wherever a window begins anew, many rows come twice."""
    return [time for time in spread(600, random) for _ in range(size // 600)]


def one_instant(size: int, random: Random) -> list[int]:
    return [NOW - DAY] * size


SHAPES = [spread, bags, ties, half_in_a_day, recent, after_a_gap, early, giant, medium, one_instant]


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("shape", SHAPES)
@in_jumping_time
async def test_hardly_a_request_in_vain(shape: Callable[[int, Random], list[int]], lanes: int) -> None:
    # 150,000 rows at 1,000 a page are 15,000 at 100.
    fake = FakeList(EVENTS, ids_for(shape(15_000, Random(5)), 5), 100)
    run = await swept(fake, lanes, 5)
    run.check()
    print(
        f"{shape.__name__}, {lanes} lanes: {fake.requests} requests for {fake.pages} pages,"
        f" {len(run.taken) - len(fake.rows)} rows twice"
    )
    assert fake.requests <= fake.pages * 1.06 + 12


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("resource", [FILES, EVENTS])
@pytest.mark.parametrize("shape", SHAPES)
@in_jumping_time
async def test_server_time(shape: Callable[[int, Random], list[int]], resource: Resource, lanes: int) -> None:
    fake = FakeList(resource, ids_for(shape(150_000, Random(6)), 6), 1000)
    run = await swept(fake, lanes, 6, slowest=1)
    run.check()
    inside = least_inside_instants(fake)
    print(
        f"{shape.__name__} {resource.path} {lanes}: {fake.requests} requests for {fake.pages} pages,"
        f" {fake.seconds:.2f} s for {fake.floor:.2f} s + {inside:.2f} s inside instants,"
        f" {fake.counted * 0.37e-6:.2f} s of counting"
    )
    assert fake.requests <= fake.pages * 1.06 + 12
    bound = 1.45 if shape is medium else 1.2  # many an instant goes over several pages: offsets, or rows repeated
    assert fake.seconds <= bound * (fake.floor + inside)


def least_inside_instants(fake: FakeList) -> float:
    """Seconds that nobody can do without where an instant fills pages: for each of them all of it is counted, and
    rows are skipped, though from whichever end is nearer."""
    seconds, begin = 0.0, 0
    while begin < len(fake.rows):
        end = bisect_right(fake.rows, (fake.rows[begin][0], 1 << 62))
        pages = ceil((end - begin) / fake.per_page)
        skipped = sum(min(page, pages - 1 - page) for page in range(pages)) * fake.per_page
        counted = pages * (end - begin) if pages > 1 else 0
        seconds += skipped * fake.resource.skipped_row_seconds + counted * 0.37e-6
        begin = end
    return seconds


@pytest.mark.parametrize("lanes", [1, 8])
@in_jumping_time
async def test_what_heavy_ties_cost(lanes: int) -> None:
    fake = FakeList(FILES, ids_for(quarters(150_000, Random(5)), 5), 1000)
    run = await swept(fake, lanes, 5)
    run.check()
    print(
        f"{lanes} lanes: {fake.requests} requests for {fake.pages} pages, {fake.seconds:.2f} s for {fake.floor:.2f} s"
    )
    assert fake.requests <= 1.2 * fake.pages
    assert fake.seconds <= 1.35 * fake.floor


@pytest.mark.parametrize("lanes", [2, 8])
@pytest.mark.parametrize("shape", SHAPES)
@in_jumping_time
async def test_no_lane_is_idle_while_there_is_something_to_ask(
    shape: Callable[[int, Random], list[int]], lanes: int
) -> None:
    fake = FakeList(EVENTS, ids_for(shape(30_000, Random(7)), 7), 100)
    run = Swept(fake, Random(7), slowest=0, latency=0.1)

    async def take(resource: Resource, rows: Sequence[Record]) -> None:
        run.taken += [row["id"] for row in rows]

    sweep = run.sweep(lanes)
    sweep.take = take
    await sweep.run()
    run.check()
    assert now() <= 1.1 * fake.requests * 0.1 / lanes + 0.3


@pytest.mark.parametrize(("resource", "per_page", "turns"), [(EVENTS, 1000, 2), (FILES, 100, 2), (FILES, 1000, 5)])
@in_jumping_time
async def test_idle_lanes_share_the_last_pages_where_skipping_rows_is_cheap(
    resource: Resource, per_page: int, turns: int
) -> None:
    fake = FakeList(resource, ids_for(spread(7 * per_page + 50, Random(9)), 9), per_page)
    run = Swept(fake, Random(9), slowest=0, latency=0.5)  # to ask, and to take
    await run.sweep(8, [Window(resource, FIRST, NOW)]).run()
    run.check()
    assert fake.requests == fake.pages
    assert now() == pytest.approx(turns, abs=0.01)


@in_jumping_time
async def test_a_window_as_a_journal_holds_it() -> None:
    window = Window(EVENTS, FIRST, NOW + 1)
    assert Window.of_json(window.as_json()) == window
    assert window.filters == (
        ("date_time__gteq", "0001-01-01T00:00:00Z"),
        ("date_time__lteq", "2026-07-01T00:00:00.000001Z"),
    )
    assert window.sort == ("date_time__asc", "id__asc")
    assert replace(window, backwards=True).sort == ("date_time__desc", "id__desc")
