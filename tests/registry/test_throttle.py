"""Whatever the tasks do: the rate, the concurrency and the pauses are kept, and no slot is lost."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from math import ceil
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.registry.throttle import Knee, Throttle
from tests.registry.jumping import JumpingLoop, in_jumping_time, now


def most_in_a_second(moments: list[float]) -> int:
    """The largest number of moments in any window of one second, its end left out."""
    ordered = sorted(moments)
    return max(bisect_left(ordered, moment + 1.0) - i for i, moment in enumerate(ordered))


async def occupy(throttle: Throttle, seconds: float, begun: list[float] | None = None) -> None:
    async with throttle:
        if begun is not None:
            begun.append(now())
        await asyncio.sleep(seconds)


async def all_free(throttle: Throttle, expected: int) -> None:
    """Fails unless exactly `expected` slots can be taken at once."""
    assert throttle.in_flight == 0
    release = asyncio.Event()

    async def hold() -> None:
        async with throttle:
            await release.wait()

    tasks = [asyncio.create_task(hold()) for _ in range(expected + 3)]
    await asyncio.sleep(1000)
    assert throttle.in_flight == expected
    release.set()
    await asyncio.gather(*tasks)
    assert throttle.in_flight == 0


@pytest.mark.parametrize("rate", [0.5, 1, 3, 5, 7.5, 49, 51, 100, 333])
@in_jumping_time
async def test_the_rate_holds_in_every_second_burst_included(rate: float) -> None:
    throttle, begun = Throttle(rate, 50), list[float]()
    random = Random(7)
    async with asyncio.TaskGroup() as group:
        for _ in range(int(rate * 4) + 5):
            group.create_task(occupy(throttle, random.choice([0, 0.01, 0.3, 2]), begun))
            if random.random() < 0.05:
                await asyncio.sleep(random.random() * 3)
    assert most_in_a_second(begun) <= ceil(rate)


@pytest.mark.parametrize("rate", [0.5, 2, 3, 10])
@in_jumping_time
async def test_requests_that_wait_for_a_connection_do_not_leave_all_at_once_when_there_is_one(rate: float) -> None:
    throttle, begun, connected = Throttle(rate, 16), list[float](), asyncio.Event()

    async def request(number: int) -> None:
        async with throttle as departure:
            with departure.preparing():
                await connected.wait()
                if number % 5:  # else the connection breaks
                    departure.left()
                    begun.append(now())

    asyncio.get_running_loop().call_later(7, connected.set)
    await asyncio.gather(*map(request, range(40)))
    assert len(begun) == 32
    assert most_in_a_second(begun) <= ceil(rate)


@in_jumping_time
async def test_one_that_gives_up_while_another_waits_for_a_connection_holds_up_nobody() -> None:
    throttle, connected = Throttle(1, 4), asyncio.Event()

    async def request() -> None:
        async with throttle as departure:
            with departure.preparing():
                await connected.wait()

    tasks = [asyncio.create_task(request()) for _ in range(4)]
    await asyncio.sleep(10)
    tasks[0].cancel()
    tasks[2].cancel()
    connected.set()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True, False, True, False]
    await all_free(throttle, 4)


@in_jumping_time
async def test_the_rate_is_not_much_lower_than_asked_for() -> None:
    throttle, begun = Throttle(10, 10), list[float]()
    await asyncio.gather(*(occupy(throttle, 0.1, begun) for _ in range(200)))
    assert now() == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("rate", [5, 7.5, 40, 100, 333])
@in_jumping_time
async def test_a_busy_event_loop_costs_none_of_the_rate_and_never_exceeds_it(rate: float) -> None:
    throttle, begun, random = Throttle(rate, 100), list[float](), Random(3)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)

    async def request() -> None:
        async with throttle as departure:
            if random.random() * rate < 1:
                loop.now += random.uniform(0, 0.05)  # it leaves late
            departure.left()
            begun.append(now())
            await asyncio.sleep(0.05)
        if random.random() * rate < 10:
            loop.now += random.uniform(0, 0.04)  # its page is parsed, and nobody is woken

    requests = ceil(20 * rate)
    await asyncio.gather(*(request() for _ in range(requests)))
    assert begun[-1] <= 1.03 * requests / rate
    # Each is up to 19 ms on its way to the server.
    assert most_in_a_second([moment + random.uniform(0, 0.019) for moment in begun]) <= ceil(rate)


@given(
    concurrency=st.integers(1, 6),
    rate=st.sampled_from([1, 4.5, 20, 1000]),
    work=st.lists(
        st.tuples(
            st.floats(0, 2),  # seconds after the one before
            st.floats(0, 3),  # seconds it takes
            st.sampled_from(["good", "good", "good", "congested", "pause", "cancel"]),
            st.floats(0, 4),  # when it is cancelled, how long the pause is
        ),
        max_size=30,
    ),
)
@settings(max_examples=150)
@in_jumping_time
async def test_every_promise_at_once(
    concurrency: int, rate: float, work: list[tuple[float, float, str, float]]
) -> None:
    throttle, begun, running, paused_until = Throttle(rate, concurrency), list[float](), 0, 0.0

    async def request(seconds: float, end: str, extra: float) -> None:
        nonlocal running, paused_until
        async with throttle:
            assert now() >= paused_until - 1e-6, "sent although paused"
            begun.append(now())
            running += 1
            assert running <= concurrency
            try:
                await asyncio.sleep(seconds)
                if end == "congested":
                    throttle.congested()
                elif end == "pause":
                    throttle.pause(extra)
                    paused_until = max(paused_until, now() + extra)
                else:
                    throttle.served()
            finally:
                running -= 1

    tasks = []
    for after, seconds, end, extra in work:
        await asyncio.sleep(after)
        tasks.append(asyncio.create_task(request(seconds, end, extra)))
        if end == "cancel":
            asyncio.get_running_loop().call_later(extra, tasks[-1].cancel)
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
    if begun:
        assert most_in_a_second(begun) <= ceil(rate)
    for _ in range(concurrency * concurrency * 2):
        throttle.served()
    await all_free(throttle, concurrency)


@pytest.mark.parametrize(("rate", "concurrency"), [(1000, 2), (100, 100)])
@in_jumping_time
async def test_all_pass_in_the_order_they_asked_in(rate: float, concurrency: int) -> None:
    throttle, order = Throttle(rate, concurrency), list[int]()

    async def request(number: int) -> None:
        async with throttle:
            order.append(number)
            await asyncio.sleep(1)

    await asyncio.gather(*(request(number) for number in range(200)))
    assert order == list(range(200))


@in_jumping_time
async def test_a_newcomer_does_not_overtake_one_who_was_woken_but_has_not_run_yet() -> None:
    throttle, order = Throttle(1000, 1), list[str]()

    async def request(name: str) -> None:
        async with throttle:
            order.append(name)

    async with throttle:
        waiting = asyncio.create_task(request("waiting"))
        await asyncio.sleep(1)
    await asyncio.gather(request("newcomer"), waiting)
    assert order == ["waiting", "newcomer"]


@in_jumping_time
async def test_a_pause_holds_everyone_those_with_a_slot_and_those_waiting_for_the_rate_too() -> None:
    throttle, begun = Throttle(1, 3), list[float]()
    tasks = [asyncio.create_task(occupy(throttle, 0, begun)) for _ in range(6)]
    await asyncio.sleep(0.5)  # one is through, the next waits for the rate, the others for that one
    assert len(begun) == 1
    throttle.pause(100)
    await asyncio.gather(*tasks)
    assert min(begun[1:]) == pytest.approx(100.5, abs=0.01)
    assert most_in_a_second(begun) == 1


@in_jumping_time
async def test_the_longest_pause_wins() -> None:
    throttle = Throttle(100, 4)
    throttle.pause(60)
    throttle.pause(5)
    assert throttle.paused_for() == pytest.approx(60, abs=0.01)
    async with throttle:
        assert now() == pytest.approx(60, abs=0.01)
    throttle.pause(5)
    task = asyncio.create_task(occupy(throttle, 0))
    await asyncio.sleep(1)
    throttle.pause(30)
    await task
    assert now() == pytest.approx(60 + 1 + 30, abs=0.01)


@in_jumping_time
async def test_congestion_halves_and_success_creeps_back_one_a_round() -> None:
    throttle = Throttle(1000, 16)
    for expected in (8, 4, 2, 1, 1):
        throttle.congested()
        assert throttle.concurrency == expected
    throttle.served()
    assert throttle.concurrency == 2
    for _ in range(2):
        throttle.served()
    assert throttle.concurrency == 2  # a little short of one more: the second success counts less than 1/2
    throttle.served()
    assert throttle.concurrency == 3
    for _ in range(1000):
        throttle.served()
    assert throttle.concurrency == 16


@in_jumping_time
async def test_halved_concurrency_is_kept_as_running_requests_end() -> None:
    throttle, running, most = Throttle(1000, 8), 0, 0

    async def request() -> None:
        nonlocal running, most
        async with throttle:
            running += 1
            most = max(most, running)
            await asyncio.sleep(10)
            running -= 1

    tasks = [asyncio.create_task(request()) for _ in range(24)]
    await asyncio.sleep(5)
    assert running == 8
    throttle.congested()
    await asyncio.sleep(5.2)
    most = 0
    await asyncio.gather(*tasks)
    assert most == 4


@pytest.mark.parametrize("stage", ["slot", "rate", "pause", "work", "woken"])
@in_jumping_time
async def test_cancellation_leaks_no_slot(stage: str) -> None:
    throttle = Throttle(0.1 if stage == "rate" else 1000, 2)
    if stage == "rate":
        await occupy(throttle, 0)
    if stage == "pause":
        throttle.pause(50)
    holders = []
    if stage in ("slot", "woken"):
        holders = [asyncio.create_task(occupy(throttle, 10)) for _ in range(2)]
        await asyncio.sleep(1)
    victim = asyncio.create_task(occupy(throttle, 20))
    await asyncio.sleep(0.5)
    if stage == "woken":
        for holder in holders:
            holder.cancel()
        await asyncio.sleep(0)  # the holders give back, the victim is handed a slot and has not run yet
        assert throttle.in_flight >= 1
    victim.cancel()
    await asyncio.gather(victim, *holders, return_exceptions=True)
    assert victim.cancelled()
    await all_free(throttle, 2)


@in_jumping_time
async def test_what_was_in_flight_when_it_was_halved_does_not_halve_it_again() -> None:
    throttle, failing = Throttle(1000, 16), 0

    async def request() -> None:
        nonlocal failing
        async with throttle:
            await asyncio.sleep(1)
            failing += 1
            throttle.congested()

    await asyncio.gather(*(request() for _ in range(16)))
    assert failing == 16
    assert throttle.concurrency == 8
    await request()
    assert throttle.concurrency == 4


@pytest.mark.parametrize(("cores", "most", "expected"), [(2, 16, {2, 3, 4}), (6, 16, {6, 7, 8, 9, 10}), (50, 8, {8})])
@in_jumping_time
async def test_the_knee_is_where_more_in_flight_gain_nothing(cores: int, most: int, expected: set[int]) -> None:
    throttle = Throttle(100_000, most, Knee(1, most))
    server = asyncio.Semaphore(cores)

    async def request() -> None:
        async with throttle:
            async with server:
                await asyncio.sleep(0.1)
            throttle.served()

    began = now()
    await asyncio.gather(*(request() for _ in range(1500)))
    assert throttle.concurrency in expected
    # Nearly as fast as if it had known from the start.
    assert now() - began <= 1.25 * 1500 * 0.1 / min(cores, most)


@in_jumping_time
async def test_the_knee_stays_low_where_the_rate_is_what_holds_it_back() -> None:
    throttle = Throttle(10, 16, Knee(1, 16))

    async def request() -> None:
        async with throttle:
            await asyncio.sleep(0.05)
            throttle.served()

    await asyncio.gather(*(request() for _ in range(200)))
    assert throttle.concurrency <= 4


def test_the_knee_keeps_to_its_bounds() -> None:
    knee = Knee(3, 5)
    for step in range(2000):
        knee.answered(step * 0.001 if step < 1000 else 1 + step, busy=True)
        assert 3 <= knee.limit <= 5
