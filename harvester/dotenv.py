"""Files in .env format, as apt-cmd reads its `~/.aptrust`.

Hides the format: `export`, quotes, `NAME: value`, comments, the line ends of Windows. What apt-cmd would take for
something else than it looks like is refused rather than guessed: a key cut short is a key that is refused elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harvester.errors import ConfigError

_LINE = re.compile(
    r"""\s* (?:export\s+)? (?P<name>[\w.]+) (?: \s*=\s* | :\s+ )
        (?: '(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<bare>[^'"\#][^\#]*)? ) \s* (?:\#.*)?""",
    re.VERBOSE,
)
_NOTHING = re.compile(r"\s*(?:#.*)?")
_VARIABLE = re.compile(r"(?<!\\)\$\{?\w")


@dataclass(frozen=True)
class Entry:
    """A value, and the line it stands in."""

    value: str
    line: int


def read(path: Path, wanted: Collection[str]) -> dict[str, Entry]:
    """The wanted names among a file's and their values; of a name given twice the last, empty values not at all.

    Names are taken in capitals. Whatever else the file holds is not kept. Raises ConfigError with file and line,
    which never quotes the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        problem = "not UTF-8 text"
    else:
        return _parsed(path, text, wanted)
    raise ConfigError(problem, place=str(path))  # out here it has no context: that one would quote the file


def _parsed(path: Path, text: str, wanted: Collection[str]) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if _NOTHING.fullmatch(line):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError("not a line such as NAME=value", place=f"{path}:{number}")
        name = match["name"].upper()
        if name not in wanted:
            continue
        if match["single"] is None and _VARIABLE.search(match["double"] or match["bare"] or ""):
            mend = "write the value itself, in single quotes if it has a dollar sign"
            raise ConfigError(f"{name}: variables are not filled in", place=f"{path}:{number}", mend=mend)
        entries[name] = Entry(_value(match), number)
    return {name: entry for name, entry in entries.items() if entry.value}


def _value(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return re.sub(r"\\(.)", r"\1", match["double"])
    return match["single"] or (match["bare"] or "").strip().replace("\\$", "$")


__all__ = ["Entry", "read"]
