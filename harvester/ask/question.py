"""A question to one list in the words of a person: filters, and an intellectual object by whatever it is known.

Hides that files and checksums cannot be asked for by their object's identifier, only by its id.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from harvester.errors import ConfigError, NotFoundError
from harvester.registry import BY_ID, Filter, RegistryClient, Resource, parse_filters
from harvester.registry.resources import OBJECTS, PARENT_FILTER, VALUES, nearest

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
        _refuse_options(arguments)
        arguments = [_by_id(resource, argument) for argument in arguments]
        named = [argument for argument in arguments if _names_object(resource, argument)]
        filters = parse_filters(resource, (argument for argument in arguments if argument not in named))
        identifiers = [argument.partition("=")[2] for argument in named]
        place = f"filter {named[0].partition('=')[0]!r} of {resource.path}" if named else ""
        if len(named) > 1 or (named and PARENT_FILTER in dict(filters)):
            raise ConfigError("more than one intellectual object", place=place, mend="give one")
        if "" in identifiers:
            raise ConfigError("no intellectual object", place=place, mend="give its identifier, or its id")
        return cls(resource, filters, "".join(identifiers))

    def doubts(self) -> list[str]:
        """Values that may be mistakes: no such are known here, although the Registry may hold them."""
        return doubts(self.filters)

    async def resolved(self, client: RegistryClient) -> tuple[Filter, ...]:
        """The filters as the Registry takes them, for one request if an identifier is to be resolved, else for none.

        Raises NotFoundError if there is no such object, and the errors of `RegistryClient.page`.
        """
        if not self.identifier:
            return self.filters
        named = (("identifier", self.identifier),)
        # By `show` an identifier of digits only would be taken for an id.
        found = await client.page(OBJECTS, filters=named, sort=BY_ID, page=1, per_page=1)
        if not found.rows:
            problem, mend = "there is no such intellectual object", "harvester list objects shows what there is"
            raise NotFoundError(problem, place=self.identifier, mend=mend)
        return (*self.filters, (PARENT_FILTER, str(found.first_id)))


def doubts(filters: Iterable[Filter]) -> list[str]:
    """Values of checked filters that may be mistakes, in the words of `Question.doubts`."""
    found = []
    for name, value in filters:
        known = VALUES.get(name.removesuffix("__in"), (value,))
        if value not in known:
            meant = nearest(value, known) or f"known are {', '.join(known)}"
            found.append(f"{name}={value}: the Registry may hold no such value; {meant}")
    return found


def _refuse_options(arguments: Iterable[str]) -> None:
    """What apt-cmd takes among the filters, and what is an option here."""
    for name, equals, value in (argument.partition("=") for argument in arguments):
        mends = {"sort": f"write --sort {value}", "per_page": f"write --limit {value}", "page": "all pages are listed"}
        if equals and name in mends:
            raise ConfigError("an option, and no filter", place=f"{name}=", mend=mends[name])


def _names_object(resource: Resource, argument: str) -> bool:
    name, equals, _ = argument.partition("=")
    return bool(equals) and name in OBJECT_NAMES and name not in resource.filters and PARENT_FILTER in resource.filters


def _by_id(resource: Resource, argument: str) -> str:
    """`object=` and digits are an id, as in the Registry's own paths; the other names say that it is an identifier."""
    name, _, value = argument.partition("=")
    by_id = name == OBJECT_NAMES[0] and _names_object(resource, argument) and value.isascii() and value.isdigit()
    return f"{PARENT_FILTER}={value}" if by_id else argument


__all__ = ["OBJECT_NAMES", "Question", "doubts"]
