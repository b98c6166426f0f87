"""A question to one list in the words of a person: filters, and an intellectual object by whatever it is known.

Hides that files and checksums cannot be asked for by their object's identifier, only by its id; and what an empty
answer is worth. The Registry gives one to a mistyped value, and for an object or a file that does not exist, as it
does where all is well; neither must pass for good news.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Self

from harvester.errors import ConfigError, NotFoundError
from harvester.registry import BY_ID, Filter, RegistryClient, Resource, listed, parse_filters
from harvester.registry.resources import OBJECTS, PARENT_FILTER, PARENTS, VALUES, nearest

OBJECT_NAMES = ("object", "object_identifier", "intellectual_object_identifier")
"""What an intellectual object may be called in a question, where the Registry has no filter of that name itself."""


@dataclass(frozen=True)
class Question:
    """Filters that have been checked; `identifier` is the object whose id is still to be found out, or ""."""

    resource: Resource
    filters: tuple[Filter, ...]
    identifier: str = ""

    @classmethod
    def parse(cls, resource: Resource, arguments: Iterable[str]) -> Self:
        """Read and check `name=value` arguments. Raises ConfigError; asks the Registry nothing."""
        arguments = list(arguments)
        _refuse_options(resource, arguments)
        _refuse_objects_of_objects(resource, arguments)
        arguments = [_with_id(resource, argument) for argument in arguments]
        named = [argument for argument in arguments if _names_object(resource, argument)]
        filters = parse_filters(resource, (argument for argument in arguments if argument not in named))
        identifiers = [argument.partition("=")[2] for argument in named]
        place = f"filter {named[0].partition('=')[0]!r} of {resource.path}" if named else ""
        if len(named) > 1 or (named and PARENT_FILTER in dict(filters)):
            raise ConfigError("more than one intellectual object", place=place, mend="give one")
        if "" in identifiers:
            raise ConfigError("no intellectual object", place=place, mend="give its identifier, or its id")
        return cls(resource, filters, "".join(identifiers))

    async def resolved(self, client: RegistryClient) -> tuple[Filter, ...]:
        """The filters as the Registry takes them: one request for an identifier, and one for each value not known here.

        Raises NotFoundError if there is no such object, what `confirm` raises, and the errors of
        `RegistryClient.page`.
        """
        await confirm(client, self.resource, self.filters)
        if not self.identifier:
            return self.filters
        # By `show` an identifier of digits only would be taken for an id.
        found = await _by_identifier(client, OBJECTS, self.identifier)
        return (*self.filters, (PARENT_FILTER, str(found)))

    async def explain_nothing(self, client: RegistryClient) -> None:
        """Say why there were no rows, if it is that they would belong to an object or a file that is not there.

        Raises NotFoundError then, and the errors of `RegistryClient.page` and `show`. Takes a request for each such
        filter.
        """
        for name, value in self.filters:
            if name in PARENTS and name.endswith("_id"):
                await _by_id(client, PARENTS[name], value)
            elif name in PARENTS:
                await _by_identifier(client, PARENTS[name], value)


async def confirm(client: RegistryClient, resource: Resource, filters: Sequence[Filter]) -> None:
    """Make sure that values which are not among those known here are the Registry's all the same.

    Its database may hold others than its document lists, and will; so it is asked for a row of each, one request.
    Raises ConfigError for the first that no row has: a mistake, or as good as one.
    """
    for name, value in filters:
        known = VALUES.get(name.removesuffix("__in"), (value,))
        if value not in known and not await _is_there(client, resource, (name, value)):
            raise ConfigError(
                f"no {resource.path} of the Registry's have {value!r}",
                place=f"filter {name!r} of {resource.path}",
                mend=nearest(value, known) or f"known are {', '.join(known)}",
            )


async def _is_there(client: RegistryClient, resource: Resource, pair: Filter) -> bool:
    async with aclosing(listed(client, resource, (pair,), limit=1)) as pages:
        async for _ in pages:
            return True
    return False


async def _by_identifier(client: RegistryClient, kind: Resource, identifier: str) -> int:
    page = await client.page(kind, filters=(("identifier", identifier),), sort=BY_ID, page=1, per_page=1)
    if not page.rows:
        raise _no_such(kind, identifier)
    return page.first_id


async def _by_id(client: RegistryClient, kind: Resource, number: str) -> None:
    try:
        await client.show(kind, number)
    except NotFoundError as error:
        raise _no_such(kind, f"id {number}") from error


def _no_such(kind: Resource, name: str) -> NotFoundError:
    what = "intellectual object" if kind is OBJECTS else "file"
    mend = f"harvester list {kind.path} shows what there is"
    return NotFoundError(f"there is no such {what}", place=name, mend=mend, status=404)


def _refuse_options(resource: Resource, arguments: Iterable[str]) -> None:
    """What apt-cmd takes among the filters, and what is an option here, or another command."""
    for name, equals, value in (argument.partition("=") for argument in arguments):
        if equals and name == "id":
            said = shlex.quote(value or "ID")
            mend = f"harvester get {resource.path} {said} shows one record"
            raise ConfigError("no list can be filtered by it", place="id=", mend=mend)
        mends = {"sort": f"write --sort {value}", "per_page": f"write --limit {value}", "page": "all pages are listed"}
        if equals and name in mends:
            raise ConfigError("an option, and no filter", place=f"{name}=", mend=mends[name])


def _refuse_objects_of_objects(resource: Resource, arguments: Iterable[str]) -> None:
    """The Registry lists objects by their identifier, and not by their id."""
    for name, equals, value in (argument.partition("=") for argument in arguments):
        if resource is OBJECTS and equals and name in OBJECT_NAMES:
            said = shlex.quote(value or "IDENTIFIER")
            listing = "" if value.isdigit() else f", identifier={said} is the filter for it"
            mend = f"harvester get object {said} shows it{listing}"
            raise ConfigError("asks for what belongs to an object", place=f"filter {name!r} of objects", mend=mend)


def _names_object(resource: Resource, argument: str) -> bool:
    name, equals, _ = argument.partition("=")
    return bool(equals) and name in OBJECT_NAMES and name not in resource.filters and PARENT_FILTER in resource.filters


def _with_id(resource: Resource, argument: str) -> str:
    """`object=` and digits are an id, as in the Registry's own paths; the other names say that it is an identifier."""
    name, _, value = argument.partition("=")
    by_id = name == OBJECT_NAMES[0] and _names_object(resource, argument) and value.isascii() and value.isdigit()
    return f"{PARENT_FILTER}={value}" if by_id else argument


__all__ = ["OBJECT_NAMES", "Question", "confirm"]
