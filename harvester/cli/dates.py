"""Dates as people say them at a terminal, as the Registry wants them.

Hides what "yesterday" means: whole days are the user's own, from midnight by the local clock. A date written out
is left as it is, and the Registry takes it for midnight UTC, here as in every dump's scope.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from harvester.registry.resources import format_time

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


__all__ = ["FORMS", "age", "spelled_out"]
