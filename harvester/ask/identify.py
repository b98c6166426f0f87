"""One record by whatever a person has of it: its id, or the identifier that the Registry knows it by."""

from __future__ import annotations

from harvester.errors import ConfigError
from harvester.registry import Record, RegistryClient, Resource
from harvester.registry.resources import ALERTS, EVENTS, FILES, OBJECTS

WITH_IDENTIFIER = (OBJECTS, FILES, EVENTS)
"""Lists whose records can be asked for by identifier too."""


async def find(client: RegistryClient, resource: Resource, key: str) -> Record:
    """The record with this id, or identifier (events: UUID). An all-digit key is an id: the Registry's own rule.

    Raises ConfigError where the resource goes by ids only, NotFoundError if there is no such record.
    """
    if resource is ALERTS:
        raise ConfigError("alerts cannot be asked for one by one", place=key, mend="list alerts shows them whole")
    if resource not in WITH_IDENTIFIER and not (key.isascii() and key.isdigit()):
        raise ConfigError(f"{resource.path} go by their id, a number", place=key)
    return await client.show(resource, key)


__all__ = ["find"]
