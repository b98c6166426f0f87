"""Never idle: whenever a request may be sent and one is known to be needed, it is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from harvester import RegistryClient, Scope, harvest, load_settings
from harvester.config import Credentials
from harvester.registry import Filter, Page, Resource
from harvester.registry.resources import EVENTS, FILES, OBJECTS, format_time, parse_time
from harvester.registry.windows import EPOCH
from tests.registry.jumping import in_jumping_time, now

PER_PAGE = 100
PADDING = "x" * 500
SHAPES = {
    "one giant": [40_000],
    "as many rows in many": [400] * 100,
    "a full page each": [100] * 200,
    "small ones": [3] * 500,
    "a giant among small ones": [*[3] * 50, 20_000, *[3] * 50],
    "a giant last": [*[30] * 100, 20_000],
}


class Registry(RegistryClient):
    """Objects with so many files and as many events each; every answer takes a second, however many are asked for.

    `digesting` is how long whoever asked has to do with the answer, in seconds. Each row is of another second, and in a
    list of the whole institution all are of the first object.
    """

    def __init__(self, sizes: Sequence[int], output: Path, *, digesting: float = 0.0, **flags: Any) -> None:
        fixed = {"registry_url": "http://127.0.0.1:1", "output": output, "per_page": PER_PAGE, "rate": 10_000.0}
        # Time would jump on while the disk is at work.
        only_at_the_end = {"checkpoint_bytes": 1 << 40, "checkpoint_objects": 1 << 40}
        super().__init__(
            load_settings({**fixed, **only_at_the_end, **flags}), Credentials(email="a@b.c", api_key=SecretStr("key"))
        )
        self._sizes = sizes
        self._digesting = digesting
        self.asked = 0

    async def page(
        self, resource: Resource, *, filters: Sequence[Filter] = (), sort: Sequence[str], page: int, per_page: int
    ) -> Page:
        async with self.throttle:
            self.asked += 1
            await asyncio.sleep(1)
            self.throttle.served()
        await asyncio.sleep(self._digesting)
        first, last = self._ends(resource, dict(filters))
        begin = first + (page - 1) * per_page
        rows = [self._row(resource, dict(filters), number) for number in range(begin, min(last + 1, begin + per_page))]
        count = max(0, last - first + 1)
        return Page(rows, count, exact=True, has_next=False, answered_at=datetime.now(UTC))

    def _ends(self, resource: Resource, filters: Mapping[str, str]) -> tuple[int, int]:
        """The first and the last id of a list, or of a window of it."""
        since, until = (parse_time(filters.get(f"{resource.time_field}__{end}", "")) for end in ("gteq", "lteq"))
        if since is None or until is None:
            return 1, self._count(resource, filters)
        first, last = (ceil((since - EPOCH).total_seconds()), int((until - EPOCH).total_seconds()))
        return max(1, first), min(self._count(resource, filters), last)

    def _count(self, resource: Resource, filters: Mapping[str, str]) -> int:
        if resource is OBJECTS:
            return 0 if "updated_at__gteq" in filters else len(self._sizes)
        parent = filters.get("intellectual_object_id")
        return sum(self._sizes) if parent is None else self._sizes[int(parent) - 1]

    def _row(self, resource: Resource, filters: Mapping[str, str], number: int) -> dict[str, Any]:
        time = {resource.time_field: format_time(EPOCH + timedelta(seconds=number))}
        if resource is OBJECTS:
            size = self._sizes[number - 1]
            return {
                "id": number,
                "file_count": size,
                "size": size,
                "identifier": f"o{number}",
                "updated_at": "",
                **time,
            }
        parent = int(filters.get("intellectual_object_id", 1))
        return {"id": number, "intellectual_object_id": parent, "state": "A", "size": 1, "padding": PADDING, **time}


@pytest.mark.parametrize("concurrency", [4, 16])
@pytest.mark.parametrize("shape", SHAPES)
@in_jumping_time
async def test_all_that_may_be_in_flight_is_in_flight(tmp_path: Path, shape: str, concurrency: int) -> None:
    # Room for three pages each: the budget that a harvest has at least.
    client = Registry(SHAPES[shape], tmp_path, concurrency=concurrency, strategy="per-object")
    outcome = await harvest(client, Scope.parse([OBJECTS.path, FILES.path, EVENTS.path]))
    assert outcome.manifest.complete
    # Asked for one after the other: the time, the counts, the objects, the first pages; and what was updated, last.
    assert now() - 6 <= 1.1 * client.asked / concurrency


@pytest.mark.parametrize("concurrency", [4, 16])
@in_jumping_time
async def test_a_sweep_asks_while_it_takes_pages_apart(tmp_path: Path, concurrency: int) -> None:
    client = Registry([40_000], tmp_path, concurrency=concurrency, strategy="sweep", digesting=1.2 / concurrency)
    outcome = await harvest(client, Scope.parse([OBJECTS.path, FILES.path, EVENTS.path]))
    assert outcome.manifest.strategy == "sweep"
    assert outcome.manifest.totals.records == 80_001
    # The time, the counts, the first pages, those that show where to go on, the last ones, and what was updated.
    assert now() - 8 <= 1.1 * client.asked / concurrency
