"""How many rows a query has, counted by the Registry for this very question.

Hides how a count is kept out of the Registry's hourly table, which lies between two refreshes, knows nothing of
new institutions, and fails outright where a counted column holds a NULL: a query is divided by a filter that every
row passes in exactly one part, and that is not in the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from harvester.registry.client import RegistryClient
from harvester.registry.resources import Filter, Resource
from harvester.registry.walk import BY_ID

END_OF_TIME = "9999-12-31T23:59:59.999999Z"


async def exact_count(client: RegistryClient, resource: Resource, filters: Sequence[Filter] = ()) -> int:
    """Rows of `resource` under `filters`, for one request, or two where the list must be divided.

    Raises the errors of `RegistryClient.page`.
    """

    async def count(part: tuple[Filter, ...]) -> int:
        query = (*filters, *part)
        return (await client.page(resource, filters=query, sort=BY_ID, page=1, per_page=1)).count

    return sum(await asyncio.gather(*map(count, exact_parts(resource, filters))))


def exact_parts(resource: Resource, filters: Sequence[Filter] = ()) -> tuple[tuple[Filter, ...], ...]:
    """Filters that divide a query into parts the Registry counts exactly; every row is in one of them."""
    if resource.count_is_exact(filters):
        return ((),)
    if resource.partition:
        return ((resource.partition, "true"),), ((resource.partition, "false"),)
    return (((f"{resource.time_field}__lteq", END_OF_TIME),),)
