"""Asking the Registry to restore an object, so that it is never asked twice.

Hides what a lost answer means. The Registry writes the work item before it queues it and answers, so a request that
seems to have failed may have been heard. Work items are numbered upwards: a restoration of this object numbered
higher than all there were before is the one that was asked for, whosever clock is wrong.
"""

from __future__ import annotations

from harvester.ask.items import NOT_DONE
from harvester.errors import ConflictError, DeniedError, SlowError, TransientError
from harvester.registry import Filter, Record, RegistryClient
from harvester.registry.resources import PARENT_FILTER, WORK_ITEMS

_RESTORATIONS: tuple[Filter, ...] = (("action__in", "Restore Object"), ("action__in", "Glacier Restore"))


def restores(item: Record, target: Record) -> bool:
    """Whether a work item is a restoration of this object."""
    wanted = {action for _, action in _RESTORATIONS}
    return item["intellectual_object_id"] == target["id"] and item["action"] in wanted


async def request_restoration(client: RegistryClient, target: Record) -> Record:
    """Ask for the restoration of an object; returns its work item.

    Raises DeniedError for members, ConflictError while other work on the object is under way (`in_the_way` finds it),
    TransientError if the Registry cannot be reached, or it is not known whether it has heard.
    """
    before = await _last_restoration(client, target)
    attempts = 0
    while True:
        attempts += 1
        try:
            return await _sent(client, target)
        except (TransientError, ConflictError) as error:
            found = await _last_restoration(client, target)
            if found and found["id"] > (before["id"] if before else 0):
                return found
            if isinstance(error, ConflictError):
                raise
            # What is slow may still be at work on the first one; asked again now it might begin a second.
            if attempts == 2 or isinstance(error, SlowError):
                error.mend = "no work item came of it so far; look again with: harvester items --report restorations"
                raise


async def in_the_way(client: RegistryClient, target: Record) -> Record | None:
    """The newest work item that keeps the Registry from beginning another on this object."""
    # A bag that is on its way in again does not know its object yet; the Registry goes by its name.
    bag, institution = target["bag_name"], ("institution_id", str(target["institution_id"]))
    for name in ((PARENT_FILTER, str(target["id"])), ("name", f"{bag}.tar"), ("name", bag)):
        if name[1] and (found := await _newest(client, (institution, name, *NOT_DONE))):
            return found
    return None


async def _sent(client: RegistryClient, target: Record) -> Record:
    try:
        return await client.init_restore(target["id"])
    except DeniedError as error:
        page = f"{client.settings.registry_url}/objects/show/{target['id']}"
        raise DeniedError(
            "only APTrust's administrators may ask for a restoration this way",
            mend=f"members do it in the web interface, at {page}",
            status=error.status,
            request_id=error.request_id,
        ) from error


async def _last_restoration(client: RegistryClient, target: Record) -> Record | None:
    return await _newest(client, ((PARENT_FILTER, str(target["id"])), *_RESTORATIONS))


async def _newest(client: RegistryClient, filters: tuple[Filter, ...]) -> Record | None:
    page = await client.page(WORK_ITEMS, filters=filters, sort=("id__desc",), page=1, per_page=1)
    return page.rows[0] if page.rows else None


__all__ = ["in_the_way", "request_restoration", "restores"]
