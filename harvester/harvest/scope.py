"""What a harvest takes: the lists, the slice of objects, and how two harvests are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harvester.errors import ConfigError
from harvester.registry import RESOURCES, Filter, Resource, parse_filters
from harvester.registry.resources import EVENTS, FILES, OBJECTS, format_time, parse_time

OF_AN_OBJECT = (FILES, EVENTS)
"""The lists that hang off objects, in the order in which an object's rows are committed."""


@dataclass(frozen=True)
class Scope:
    """The objects that match `filters`, of `resources` what belongs to them, and the other lists whole.

    The other lists take over `institution_id`, the one filter that all of them have.
    """

    resources: tuple[Resource, ...]
    filters: tuple[Filter, ...] = ()

    @classmethod
    def parse(cls, resources: Iterable[str], arguments: Iterable[str] = ()) -> Scope:
        """Read resource names and `name=value` filters of objects. Raises ConfigError."""
        names = set(resources)
        for name in names:
            if name not in RESOURCES:
                known = ", ".join(RESOURCES)
                raise ConfigError(f"there is no resource {name!r}", place="resources", mend=f"known are {known}")
        filters = parse_filters(OBJECTS, arguments)
        chosen = tuple(r for path, r in RESOURCES.items() if path in names or r is OBJECTS)
        return cls(chosen, filters)

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> Scope:
        """The scope of a journal or manifest."""
        resources = tuple(RESOURCES[path] for path in content["resources"])
        return cls(resources, tuple((name, value) for name, value in content["filters"]))

    @property
    def of_an_object(self) -> tuple[Resource, ...]:
        """What is fetched for each object."""
        return tuple(r for r in OF_AN_OBJECT if r in self.resources)

    @property
    def lists(self) -> tuple[Resource, ...]:
        """What is walked as a list of its own, after the objects."""
        return tuple(r for r in self.resources if r is not OBJECTS and r not in OF_AN_OBJECT)

    @property
    def may_be_left(self) -> bool:
        """Whether an object can leave the scope, or join it, while it is walked: by another state, size, title…"""
        return any(name not in ("institution_id", "created_at__gteq", "created_at__lteq") for name, _ in self.filters)

    @property
    def stems(self) -> tuple[str, ...]:
        """The files of the dump."""
        return tuple(r.file_stem for r in self.resources)

    def object_filters(self, horizon: datetime) -> tuple[Filter, ...]:
        """The filters of the object walk: nothing born after the horizon, which also makes the count exact."""
        last = horizon
        for name, value in self.filters:
            if name == "created_at__lteq" and (moment := parse_time(value)) is not None:
                last = min(last, moment)
        kept = tuple(pair for pair in self.filters if pair[0] != "created_at__lteq")
        return (*kept, ("created_at__lteq", format_time(last)))

    @property
    def list_filters(self) -> tuple[Filter, ...]:
        """The filters of the other lists."""
        return tuple(pair for pair in self.filters if pair[0] == "institution_id")

    def as_json(self) -> dict[str, Any]:
        """The scope as journal and manifest hold it."""
        return {
            "resources": [r.path for r in self.resources],
            "filters": [list(pair) for pair in self.filters],
        }
