"""Filters and slices as people write them, as the Registry wants them: dates, sizes and lists in plain forms.

Hides that a question may ask for what is 30 days old, and a harvest may not: its dump is known by its filters, and
taken up again by them, on another day.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal

from harvester.ask import Question
from harvester.cli.dates import FORMS, spelled_out
from harvester.config import Settings
from harvester.errors import ConfigError
from harvester.harvest import Scope
from harvester.registry import Resource, resource_named
from harvester.registry.resources import OBJECTS, Kind, parse_time

SIZE_FORMS = "bytes, or a number with K, M, G, T (KiB … TiB, of 1024), or with kB, MB, GB, TB (of 1000)"

_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([KMGT])(i?B|)", re.ASCII | re.IGNORECASE)
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}


def bytes_of(text: str) -> int | None:
    """How many bytes 10M, 1.5GiB or 2GB are, by the rules of du and dd; None if it is no size."""
    if re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
        return int(text)
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    number, prefix, unit = match.groups()
    return int(Decimal(number) * (1000 if unit.upper() == "B" else 1024) ** _POWERS[prefix.upper()])


def plain_filters(resource: Resource, arguments: Iterable[str]) -> list[str]:
    """`name=value` arguments with dates and sizes spelled out, and `name__in=a,b` as one for each value.

    Anything else is left for the check of filters.

    Raises ConfigError for what is no date, or no size.
    """
    now = datetime.now(UTC).replace(microsecond=0)

    def date(text: str, place: str) -> str:
        if parse_time(found := spelled_out(text, now)) is None:
            raise ConfigError(f"{text!r} is no date", place=place, mend=FORMS)
        return found

    return _spelled_out(resource, arguments, date)


def lasting_filters(resource: Resource, arguments: Iterable[str]) -> list[str]:
    """The same for what must mean tomorrow what it means today: raises ConfigError also for dates that move."""
    now = datetime.now(UTC)

    def date(text: str, place: str) -> str:
        if parse_time(text) is None and parse_time(spelled_out(text, now)) is not None:
            mend = "write the date out, such as 2026-01-31: a dump is known by its filters, and resumed by them"
            raise ConfigError(f"{text!r} is another date each day", place=place, mend=mend)
        if parse_time(text) is None:
            raise ConfigError(f"{text!r} is no date", place=place, mend="2026-01-31 or 2026-01-31T12:00:00Z")
        return text

    return _spelled_out(resource, arguments, date)


def scope_of(settings: Settings, arguments: Iterable[str]) -> Scope:
    """What is to be harvested: the lists that are set, and the slice that is asked for. Raises ConfigError."""
    try:
        names = [resource_named(name).path for name in settings.resources]
    except ConfigError as error:
        error.place = settings.origins.get("resources", "resources")
        raise
    question = Question.parse(OBJECTS, lasting_filters(OBJECTS, arguments))  # knows what may have been meant
    return Scope.parse(names, [f"{name}={value}" for name, value in question.filters])


def _spelled_out(resource: Resource, arguments: Iterable[str], date: Callable[[str, str], str]) -> list[str]:
    found = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        place = f"filter {name!r} of {resource.path}"
        if value and resource.filters.get(name) is Kind.TIME:
            value = date(value, place)
        elif value and name.startswith("size__") and name in resource.filters:
            if (size := bytes_of(value)) is None:
                raise ConfigError(f"{value!r} is no size", place=place, mend=SIZE_FORMS)
            value = str(size)
        several = name.endswith("__in") and name in resource.filters  # of none has a value a comma in it
        found += [f"{name}{equals}{one}" for one in (value.split(",") if several else [value])]
    return found


__all__ = ["SIZE_FORMS", "bytes_of", "lasting_filters", "plain_filters", "scope_of"]
