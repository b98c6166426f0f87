"""What the tests of harvests share: databases of the demo Registry, and what a dump of one must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harvester import Outcome, Progress, RegistryClient, Scope, Settings, credentials, harvest, load_settings, resume
from harvester.demo import API_KEY, EMAIL, DemoRegistry, records
from harvester.dump import lines_of

PATHS = {"work_items": "items"}
"""Where the Registry's name for a resource differs from its file's."""

DEFAULT = ("objects", "files", "events")


def settings_for(registry: DemoRegistry, output: Path, **flags: Any) -> Settings:
    """Settings that make a test quick: no rate to speak of, little patience."""
    quick = {
        "strategy": "per-object",
        "rate": 5000.0,
        "concurrency": 8,
        "retry_budget": 20.0,
        "maintenance_patience": 20.0,
    }
    account = {"registry_url": registry.url, "email": EMAIL, "api_key": API_KEY, "output": output}
    return load_settings({**quick, **account, **flags})


async def harvested(
    registry: DemoRegistry,
    output: Path,
    filters: Iterable[str] = (),
    *,
    fresh: bool = False,
    progress: Progress | None = None,
    **flags: Any,
) -> Outcome:
    """One `harvester harvest`, in this process."""
    settings = settings_for(registry, output, **flags)
    scope = Scope.parse(settings.resources, filters)
    async with RegistryClient(settings, credentials(settings)) as client:
        return await harvest(client, scope, fresh=fresh, progress=progress)


async def resumed(registry: DemoRegistry, directory: Path, **flags: Any) -> Outcome:
    """One `harvester resume`, in this process."""
    settings = settings_for(registry, directory, **flags)
    async with RegistryClient(settings, credentials(settings)) as client:
        return await resume(client, directory)


def as_held(database: Path, stems: Iterable[str] = DEFAULT, objects: Iterable[int] | None = None) -> dict[str, bytes]:
    """The files of a dump as the database, and not any HTTP client, says they must be.

    Grouped by object in id order; `objects` restricts them to some ids.
    """
    only = None if objects is None else set(objects)
    files: dict[str, bytes] = {}
    for stem in stems:
        rows: Iterable[dict[str, Any]] = records(database, PATHS.get(stem, stem))
        if stem in ("files", "events"):
            rows = sorted(rows, key=lambda row: (row["intellectual_object_id"], row["id"]))
        key = "id" if stem == "objects" else "intellectual_object_id"
        if only is not None:
            rows = (row for row in rows if row[key] in only)
        files[stem] = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    return files


def as_dumped(outcome: Outcome | Path) -> dict[str, bytes]:
    """The lines of a dump's files, decompressed."""
    directory = outcome if isinstance(outcome, Path) else outcome.path
    files = (path for path in directory.iterdir() if ".ndjson" in path.name and path.name != "journal.ndjson")
    return {path.name.split(".")[0]: b"".join(line for line, _ in lines_of(path)) for path in files}


def data_bytes(directory: Path) -> dict[str, bytes]:
    """The data files of a dump as they lie on disk."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if ".ndjson" in path.name}


@dataclass(frozen=True)
class Difference:
    """Where two dumps differ first, for a failing test to print."""

    stem: str
    line: int
    one: bytes
    other: bytes


def difference(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> Difference | str | None:
    """The first difference between two dumps' files; None if there is none."""
    if one.keys() != other.keys():
        return f"{sorted(one)} against {sorted(other)}"
    for stem in one:
        if one[stem] != other[stem]:
            lines, others = one[stem].splitlines(), other[stem].splitlines()
            for number, (line, another) in enumerate(zip(lines, others, strict=False), 1):
                if line != another:
                    return Difference(stem, number, line[:300], another[:300])
            return f"{stem}: {len(lines)} lines against {len(others)}"
    return None
