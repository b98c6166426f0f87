"""Dates as people say them at a terminal, as the Registry wants them.

Hides what "yesterday" means: whole days are the user's own, from midnight by the local clock. A date written out
is left as it is, and the Registry takes it for midnight UTC, here as in every dump's scope.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta

from harvester.errors import ConfigError
from harvester.registry.resources import Kind, Resource, format_time, parse_time

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}
FORMS = "2026-01-31, 2026-01-31T12:00:00Z, today, yesterday, or an age such as 12h, 30d, 8w, 1y"

_AGE = re.compile(r"([0-9]{1,5})([hdwy])", re.ASCII)


def age(text: str) -> timedelta | None:
    """How long 12h, 30d, 8w or 1y (365 days) is; None if it is no such thing."""
    match = _AGE.fullmatch(text)
    return int(match.group(1)) * UNITS[match.group(2)] if match else None


def spelled_out(text: str, now: datetime) -> str:
    """`text` as a Registry time if it is one of the plain forms, seen from `now`; else as it is."""
    if text in ("today", "yesterday"):
        day = now.astimezone().date() - timedelta(days=text == "yesterday")
        return format_time(datetime.combine(day, time.min).astimezone())
    ago = age(text)
    try:
        return text if ago is None else format_time(now - ago)
    except OverflowError:  # before the year 1
        return text


def with_plain_dates(resource: Resource, arguments: Iterable[str]) -> list[str]:
    """`name=value` arguments with the dates among them spelled out; anything else is left for the check of filters.

    Raises ConfigError for what is no date.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    found = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if resource.filters.get(name) is Kind.TIME and value:
            plain, value = value, spelled_out(value, now)
            if parse_time(value) is None:
                raise ConfigError(f"{plain!r} is no date", place=f"filter {name!r} of {resource.path}", mend=FORMS)
        found.append(f"{name}{equals}{value}")
    return found


__all__ = ["FORMS", "age", "spelled_out", "with_plain_dates"]
