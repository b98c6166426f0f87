"""How often and how long a request is asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain, islice, repeat
from typing import Any

import pytest

from harvester.errors import AuthError, MaintenanceError, ProtocolError, RegistryError, RequestError, TransientError
from harvester.registry.retry import FIRST_WAIT, LONGEST_WAIT, Patience, patiently, waits
from tests.registry.jumping import in_jumping_time, now

Failing = Callable[[], RegistryError]


def transient(retry_after: float | None = None) -> RegistryError:
    return TransientError("trouble", retry_after=retry_after)


def maintenance(retry_after: float | None = None) -> RegistryError:
    return MaintenanceError("maintenance", retry_after=retry_after)


class Server:
    """Fails as told, each attempt after `seconds`, and then answers "rows"."""

    def __init__(self, *failures: RegistryError, endlessly: Failing | None = None, seconds: float = 0) -> None:
        self.failures = chain(failures, (make() for make in repeat(endlessly)) if endlessly else ())
        self.seconds = seconds
        self.asked_at: list[float] = []
        self.waited: list[tuple[RegistryError, float]] = []

    async def attempt(self) -> str:
        self.asked_at.append(now())
        await asyncio.sleep(self.seconds)
        if (error := next(self.failures, None)) is not None:
            raise error
        return "rows"

    async def asked(self, *, transient: float = 900, maintenance: float = 3600) -> str:
        def before_wait(error: RegistryError, seconds: float) -> None:
            self.waited.append((error, seconds))

        return await patiently(self.attempt, Patience(transient, maintenance), before_wait=before_wait)()


def drawn(*errors: Any) -> list[float]:
    generator = waits()
    next(generator)
    return [generator.send(error) for error in errors]


def test_waits_double_up_to_the_ceiling_each_drawn_from_its_upper_half() -> None:
    for _ in range(200):
        longest = FIRST_WAIT
        for wait in drawn(*[transient()] * 14):
            assert longest / 2 <= wait <= longest
            longest = min(LONGEST_WAIT, longest * 2)
        assert longest == LONGEST_WAIT


def test_waits_are_jittered() -> None:
    assert len({drawn(transient())[0] for _ in range(50)}) > 40


def test_the_servers_own_delay_is_kept_and_does_not_spoil_ours() -> None:
    first, asked, second = drawn(transient(), transient(7.5), transient())
    assert first <= FIRST_WAIT
    assert asked == 7.5
    assert FIRST_WAIT <= second <= 2 * FIRST_WAIT


def test_a_delay_of_nothing_is_not_an_invitation_to_ask_at_once() -> None:
    assert min(drawn(*[transient(0.0)] * 8)) >= FIRST_WAIT / 2


@in_jumping_time
async def test_passing_trouble_passes() -> None:
    server = Server(transient(), maintenance(), transient())
    assert await server.asked() == "rows"
    assert len(server.asked_at) == 4
    assert [type(error) for error, _ in server.waited] == [TransientError, MaintenanceError, TransientError]


@pytest.mark.parametrize("kind", [AuthError, RequestError, ProtocolError])
@in_jumping_time
async def test_what_waiting_does_not_mend_is_asked_once(kind: type[RegistryError]) -> None:
    server = Server(kind("no"))
    with pytest.raises(kind):
        await server.asked()
    assert len(server.asked_at) == 1
    assert server.waited == []


@pytest.mark.parametrize(("make", "budget"), [(transient, 900.0), (maintenance, 3600.0)])
@in_jumping_time
async def test_each_kind_of_trouble_has_its_own_patience_and_the_last_attempt_is_at_its_end(
    make: Failing, budget: float
) -> None:
    server = Server(endlessly=make)
    with pytest.raises(type(make())):
        await server.asked()
    assert now() == pytest.approx(budget, abs=0.01)
    assert len(server.asked_at) < 10 + budget / (LONGEST_WAIT / 2)


@in_jumping_time
async def test_no_patience_means_one_attempt() -> None:
    server = Server(endlessly=transient)
    with pytest.raises(TransientError):
        await server.asked(transient=0)
    assert len(server.asked_at) == 1


@in_jumping_time
async def test_patience_begins_with_the_first_failure_not_with_standing_in_the_queue() -> None:
    server = Server(transient(), seconds=5000)
    assert await server.asked() == "rows"


@in_jumping_time
async def test_trouble_after_maintenance_has_a_patience_of_its_own() -> None:
    server = Server(*[transient()] * 6, *[maintenance()] * 60, *[transient()] * 3)
    assert await server.asked(transient=100) == "rows"
    assert now() > 1000


@in_jumping_time
async def test_maintenance_that_comes_and_goes_ends_patience_all_the_same() -> None:
    turns = islice(chain.from_iterable(repeat((maintenance, transient))), 10_000)
    server = Server(*(make() for make in turns))
    with pytest.raises(RegistryError):
        await server.asked(transient=100, maintenance=1000)
    assert now() <= 1000 + 100 + LONGEST_WAIT


@pytest.mark.parametrize(("make", "asked"), [(transient, 901.0), (maintenance, 3601.0)])
@in_jumping_time
async def test_a_delay_longer_than_patience_is_not_waited_for(
    make: Callable[[float], RegistryError], asked: float
) -> None:
    server = Server(make(asked))
    with pytest.raises(RegistryError) as raised:
        await server.asked()
    assert raised.value.retry_after == asked
    assert now() < 0.01
    assert server.waited == []


@pytest.mark.parametrize(("make", "asked"), [(transient, 899.0), (maintenance, 3599.0)])
@in_jumping_time
async def test_a_delay_within_patience_is_waited_for(make: Callable[[float], RegistryError], asked: float) -> None:
    server = Server(make(asked))
    assert await server.asked() == "rows"
    assert server.asked_at == pytest.approx([0, asked], abs=0.01)
    assert [seconds for _, seconds in server.waited] == [pytest.approx(asked)]


@in_jumping_time
async def test_the_error_raised_at_the_end_is_the_last_one_and_has_no_context() -> None:
    last = TransientError("the last")
    with pytest.raises(TransientError) as raised:
        await Server(transient(), last).asked(transient=0.2)
    assert raised.value is last
    assert last.__context__ is None
    assert last.__cause__ is None


@in_jumping_time
async def test_calls_share_no_patience() -> None:
    server = Server(endlessly=transient)
    for _ in range(2):
        begun = now()
        with pytest.raises(TransientError):
            await server.asked(transient=50)
        assert now() - begun == pytest.approx(50, abs=0.01)
