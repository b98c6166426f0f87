"""Numbers and foreign text for people.

What the Registry sends may hold anything: text that moves the cursor, recolours the terminal, breaks a
line in two or turns it around. Nothing of that reaches a terminal or a log.
"""

from __future__ import annotations

import os
import unicodedata
from datetime import datetime, timedelta

from harvester.registry.resources import parse_time

LONGEST_LINE = 1000


def one_line(text: str) -> str:
    """Foreign text as one harmless line: control, format and separator characters become visible escapes."""
    if len(text) > LONGEST_LINE:
        text = text[: LONGEST_LINE - 1] + "…"
    return visible(text)


def visible(text: str) -> str:
    """Foreign text, however long, with every control, format and separator character as a visible escape."""
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(_visible(c) if unicodedata.category(c) in _UNSEEN else c for c in text)
    # A mark at the beginning would be drawn over whatever stands before the text.
    return _visible(shown[0]) + shown[1:] if unicodedata.category(shown[0])[0] == "M" else shown


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _visible(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def at_home(text: str) -> str:
    """Text with the paths in it as people say them: ~/…"""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path's raises an error where there is no home
    return text.replace(f"{home}/", "~/") if home.startswith("/") and home != "/" else text


def number(value: int) -> str:
    """12345 as 12,345."""
    return f"{value:,}"


def counted(count: int, noun: str) -> str:
    """1 file, 2,345 files."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def size(count: float) -> str:
    """Bytes in binary units: 1.2 TiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} PiB"


def local_time(text: str) -> str:
    """A Registry time in the local zone, to the minute: 2026-11-24 18:05 EST; a dash where there is none."""
    moment = parse_time(text)
    if moment is None or moment.year <= 1:
        return "–" if moment or not text else one_line(text)
    try:
        return f"{moment.astimezone():%Y-%m-%d %H:%M %Z}"
    except (ValueError, OverflowError):  # the local zone reaches beyond the year 9999, or before the first
        return text


def since(text: str, now: datetime) -> timedelta | None:
    """How long ago a Registry time is; None if it is none, as that of what has never happened."""
    moment = parse_time(text)
    return None if moment is None or moment.year <= 1 else now - moment


def duration(seconds: float | None) -> str:
    """Seconds as h:mm:ss; a dash where they are not known."""
    return "–" if seconds is None else str(timedelta(seconds=round(seconds)))
