"""Who may fetch ahead of whom."""

from __future__ import annotations

import asyncio

from harvester.harvest.order import Budget, Lane, Turn
from harvester.registry.resources import FILES


def turn(number: int) -> Turn:
    return Turn(number, b"", (Lane(FILES, ()),))


async def test_a_small_page_far_from_its_turn_does_not_overtake_a_large_one_that_waits_for_room() -> None:
    budget = Budget(90, per_page=10)
    first, second, third = turn(1), turn(2), turn(3)
    await budget.reserve(first, first.lanes[0], 1, 50)
    near = asyncio.create_task(budget.reserve(second, second.lanes[0], 1, 30))
    await asyncio.sleep(0)
    far = asyncio.create_task(budget.reserve(third, third.lanes[0], 1, 5))
    await asyncio.sleep(0)
    assert not near.done()
    assert not far.done(), "or small pages could keep a large one waiting for ever"
    assert budget.held == 50
    budget.release(first.lanes[0], 50)
    await asyncio.gather(near, far)
    assert budget.held == 35


async def test_the_page_that_is_next_in_line_is_let_through_however_full_it_is() -> None:
    budget = Budget(90, per_page=10)
    first, second = turn(1), turn(2)
    await budget.reserve(second, second.lanes[0], 1, 60)
    budget.advance(first, 0)
    async with asyncio.timeout(10):
        await budget.reserve(first, first.lanes[0], 1, 500)
    ahead = asyncio.create_task(budget.reserve(first, first.lanes[0], 2, 5))
    await asyncio.sleep(0)
    assert not ahead.done()
    budget.release(first.lanes[0], 500)
    await ahead
