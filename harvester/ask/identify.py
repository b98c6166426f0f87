"""One record by whatever a person has of it: its id, or the identifier that the Registry knows it by."""

from __future__ import annotations

from harvester.errors import ConfigError, NotFoundError
from harvester.registry import Record, RegistryClient, Resource
from harvester.registry.resources import ALERTS, EVENTS, FILES, OBJECTS, PER_PAGE_MAX

WITH_IDENTIFIER = (OBJECTS, FILES, EVENTS)
"""Lists whose records can be asked for by identifier too."""


async def find(client: RegistryClient, resource: Resource, key: str) -> Record:
    """The record with this id, or identifier (events: UUID). An all-digit key is an id: the Registry's own rule.

    Raises ConfigError for what can be no key of the resource, NotFoundError if there is no such record.
    """
    if not key or not _is_text(key):
        raise ConfigError("neither an id nor an identifier: it is empty, or no UTF-8", place=f"{key!r}")
    is_id = key.isascii() and key.isdigit()
    if resource not in WITH_IDENTIFIER and not is_id:
        raise ConfigError(f"{resource.path} go by their id, a number", place=f"{key!r}")
    return await _alert(client, int(key)) if resource is ALERTS else await client.show(resource, key)


async def _alert(client: RegistryClient, number: int) -> Record:
    """An alert out of the list of alerts: to show one, the Registry wants to know whose it is, too.

    The newest are looked through first. An alert sent to several people is in the list once for each; the first is
    taken.
    """
    per_page, page, rows = min(client.settings.per_page, PER_PAGE_MAX), 0, list[Record]()
    while page == 0 or len(rows) == per_page:
        page += 1
        sort = ("created_at__desc", "id__desc")
        rows = (await client.page(ALERTS, sort=sort, page=page, per_page=per_page)).rows
        for row in rows:
            if row["id"] == number:
                return row
    raise NotFoundError("there is no such record", place=f"alerts {number}", status=404)


def _is_text(key: str) -> bool:
    return "\0" not in key and not any("\ud800" <= c <= "\udfff" for c in key)


__all__ = ["find"]
