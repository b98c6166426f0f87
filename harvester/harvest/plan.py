"""What a harvest will cost the Registry, by either strategy, and which one costs it less.

Hides the cost model. Its figures were observed on the real server with two cores: a request costs about 70 ms
of its CPU for the API key alone, a full page of 1,000 rows 25 ms more, and each row that an offset skips 15 µs
for files and 2 µs for premis events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from harvester.harvest.scope import Scope
from harvester.registry import BY_ID, Filter, RegistryClient
from harvester.registry.counting import exact_parts
from harvester.registry.resources import OBJECTS, Resource

PER_OBJECT, SWEEP = "per-object", "sweep"

REQUEST_SECONDS = 0.070
ROW_SECONDS = 25e-6

FEW_OBJECTS = 3
"""Up to here the plan would cost more than the harvest: not even the rows are counted."""

SWEEP_REPEATS = 1.03
"""Pages a sweep asks for, against rows / 1,000: windows end with pages that are not full, and some rows come twice."""


@dataclass(frozen=True)
class Cost:
    """What a strategy costs: requests, seconds of the Registry's CPU, and seconds until it is done."""

    requests: int
    server_seconds: float
    eta: float


@dataclass(frozen=True)
class Plan:
    """What there is to harvest, what each strategy costs, and which one is taken, in a few words why.

    `rows` are those in the scope: exact for objects, and for the others where the scope has no filters,
    else judged by the share of the objects. `whole` are those of the institution.
    """

    rows: Mapping[str, int]
    whole: Mapping[str, int]
    costs: Mapping[str, Cost]
    strategy: str
    why: str

    @property
    def chosen(self) -> Cost:
        """The cost of the strategy taken."""
        return self.costs[self.strategy]

    def as_json(self) -> dict[str, Any]:
        """The plan for scripts."""
        return {
            "rows": dict(self.rows),
            "whole": dict(self.whole),
            "costs": {
                name: {
                    "requests": cost.requests,
                    "server_seconds": round(cost.server_seconds, 1),
                    "eta_seconds": round(cost.eta, 1),
                }
                for name, cost in self.costs.items()
            },
            "strategy": self.strategy,
            "why": self.why,
        }


async def plan(client: RegistryClient, scope: Scope, object_filters: tuple[Filter, ...], objects: int) -> Plan:
    """Ask how many rows there are, with a request or two a list, and reckon from there.

    `objects` is how many objects pass `object_filters`, which the caller knows already.
    """
    if objects <= FEW_OBJECTS and client.settings.strategy == "auto":
        return Plan({OBJECTS.path: objects}, {}, {}, PER_OBJECT, "so few objects")
    asked: dict[Resource, tuple[Filter, ...]] = dict.fromkeys(scope.of_an_object, ())
    if scope.filters:
        asked[OBJECTS] = tuple(pair for pair in object_filters if pair[0] == "created_at__lteq")
    counted, latency = await _count(client, asked)
    whole = {OBJECTS.path: objects, **counted}
    share = objects / whole[OBJECTS.path] if whole[OBJECTS.path] else 0.0
    rows = {path: count if path == OBJECTS.path else round(count * share) for path, count in whole.items()}
    rows[OBJECTS.path] = objects
    costs = {
        PER_OBJECT: _cost(client, scope, latency, *_per_object(client, scope, rows)),
        SWEEP: _cost(client, scope, latency, *_sweep(client, scope, objects, whole)),
    }
    return _decided(client.settings.strategy, scope, rows, whole, costs)


async def count_now(client: RegistryClient, scope: Scope) -> dict[str, int]:
    """Rows that the Registry holds of each list of the scope, counted exactly.

    Of a slice only the objects can be counted: the Registry has no filter for what belongs to them all.
    """
    of_objects = () if scope.filters else scope.of_an_object
    asked = {OBJECTS: scope.filters, **dict.fromkeys((*of_objects, *scope.lists), scope.list_filters)}
    return (await _count(client, asked))[0]


def without_plan(client: RegistryClient, objects: int) -> Plan:
    """What to do where the rows cannot be counted."""
    asked_for = client.settings.strategy
    why = "as configured" if asked_for != "auto" else "the rows cannot be counted"
    return Plan({OBJECTS.path: objects}, {}, {}, PER_OBJECT if asked_for == "auto" else asked_for, why)


async def _count(client: RegistryClient, asked: Mapping[Resource, tuple[Filter, ...]]) -> tuple[dict[str, int], float]:
    """Rows by list, all counted exactly and at once, and the seconds that the quickest answer took."""

    async def count(resource: Resource, filters: tuple[Filter, ...]) -> tuple[int, float]:
        began = time.monotonic()
        page = await client.page(resource, filters=filters, sort=BY_ID, page=1, per_page=1)
        return page.count, time.monotonic() - began

    queries = {r: [(*filters, *part) for part in exact_parts(r, filters)] for r, filters in asked.items()}
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {r: [group.create_task(count(r, query)) for query in several] for r, several in queries.items()}
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    answers = {r.path: [task.result() for task in several] for r, several in tasks.items()}
    counts = {path: sum(number for number, _ in several) for path, several in answers.items()}
    return counts, min((seconds for several in answers.values() for _, seconds in several), default=REQUEST_SECONDS)


def _per_object(client: RegistryClient, scope: Scope, rows: Mapping[str, int]) -> tuple[float, float]:
    """Requests and server seconds: at least one request an object and list, and deep offsets in large objects."""
    per_page, objects = client.settings.per_page, rows[OBJECTS.path]
    requests = ceil(objects / per_page) + 0.0
    seconds = requests * REQUEST_SECONDS + objects * ROW_SECONDS
    for resource in scope.of_an_object:
        count = rows[resource.path]
        further = count / per_page if count > objects else 0.0
        requests += objects + further
        mean = count / objects if objects else 0.0
        seconds += (objects + further) * REQUEST_SECONDS + count * ROW_SECONDS
        seconds += further * mean / 2 * resource.skipped_row_seconds
    return requests, seconds


def _sweep(client: RegistryClient, scope: Scope, objects: int, whole: Mapping[str, int]) -> tuple[float, float]:
    """Requests and server seconds: full pages at shallow offsets, whatever share of the rows is wanted."""
    per_page = client.settings.per_page
    requests = ceil(objects / per_page) + 0.0
    seconds = requests * REQUEST_SECONDS + objects * ROW_SECONDS
    for resource in scope.of_an_object:
        pages = ceil(whole[resource.path] / per_page) * SWEEP_REPEATS + 3
        requests += pages
        seconds += pages * (REQUEST_SECONDS + per_page * (ROW_SECONDS + resource.skipped_row_seconds))
    return requests, seconds


def _cost(client: RegistryClient, scope: Scope, latency: float, requests: float, seconds: float) -> Cost:
    settings = client.settings
    each = max(latency, seconds / requests if requests else 0.0)
    eta = max(requests / settings.rate, requests * each / settings.most_in_flight)
    return Cost(round(requests) + 2 + len(scope.lists), seconds, eta)


def _decided(
    asked_for: str, scope: Scope, rows: Mapping[str, int], whole: Mapping[str, int], costs: Mapping[str, Cost]
) -> Plan:
    if asked_for != "auto":
        return Plan(rows, whole, costs, asked_for, "as configured")
    if not scope.of_an_object:
        return Plan(rows, whole, costs, PER_OBJECT, "neither files nor premis events are asked for")
    strategy = min((PER_OBJECT, SWEEP), key=lambda name: costs[name].server_seconds)
    other = SWEEP if strategy == PER_OBJECT else PER_OBJECT
    ours, theirs = costs[strategy].server_seconds, costs[other].server_seconds
    return Plan(
        rows, whole, costs, strategy, f"{theirs / ours if ours else 1:.1f} times cheaper for the Registry than {other}"
    )


__all__ = ["PER_OBJECT", "SWEEP", "Cost", "Plan", "count_now", "plan", "without_plan"]
