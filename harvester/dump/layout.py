"""Names and places on disk: what a dump directory and the directory around it look like."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from harvester.dump.codec import Codec
from harvester.errors import DumpError

MANIFEST = "manifest.json"
CHECKSUMS = "SHA256SUMS"
JOURNAL = "journal.ndjson"
LOCK = "lock"
LATEST = "latest"

STEMS = ("objects", "files", "events", "work_items", "checksums", "deletions", "alerts")
"""The NDJSON files a dump may hold, without their ending, in the order they are listed everywhere."""

RESOURCE_STEMS = {"items": "work_items"}
"""The stem of a resource whose name in the Registry is another one."""

CORRECTIONS = "corrections"
MERGED = "merged"
SPOOL = "spool"

_NAME = re.compile(r"(\d{4}-\d\d-\d\dT\d{6}Z)(?:-(\d+))?")


def dump_name(horizon: datetime, taken: Iterable[str]) -> str:
    """The directory name of a dump: its horizon in UTC, with `-2`, `-3`, … if that second has one already."""
    base = horizon.astimezone(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    names, name, number = set(taken), base, 1
    while name in names or partial_name(name) in names:
        number += 1
        name = f"{base}-{number}"
    return name


def partial_name(name: str) -> str:
    """The directory a dump is made in: hidden, and named for what it is."""
    return f".{name}.partial"


def published_name(partial: Path) -> str:
    """The name a partial directory will have once published."""
    return partial.name.removeprefix(".").removesuffix(".partial")


def is_partial(path: Path) -> bool:
    """Whether the path is named like a dump being made."""
    return path.name.startswith(".") and path.name.endswith(".partial") and bool(_NAME.fullmatch(published_name(path)))


def data_file(stem: str, codec: Codec) -> str:
    """The name of a resource's NDJSON file."""
    return f"{stem}.ndjson{codec.ending}"


def published(output: Path) -> list[Path]:
    """The published dumps of an output directory, the newest last."""
    found = (path for path in _entries(output) if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file())
    return sorted(found, key=_age)


def partials(output: Path) -> list[Path]:
    """The dumps being made, or left unfinished, in an output directory; the newest last."""
    return sorted((path for path in _entries(output) if is_partial(path)), key=_age)


def _entries(output: Path) -> list[Path]:
    try:
        return list(output.iterdir()) if output.is_dir() else []
    except OSError as error:
        mend = "choose another directory with --output"
        raise DumpError(error.strerror or str(error), place=str(output), mend=mend) from None


def _age(path: Path) -> tuple[str, int]:
    """What sorts dumps by age: those of one second are numbered, and `-10` comes after `-9`."""
    match = _NAME.fullmatch(published_name(path))
    return (match.group(1), int(match.group(2) or 1)) if match else ("", 0)
