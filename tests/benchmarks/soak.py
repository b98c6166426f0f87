"""A harvest through trouble: `python -m tests.benchmarks.soak [FILES [STRATEGY…]]`. Exits 1 if a record is wrong.

100,000 files under 5 % mixed faults while objects, files and events are added and files soft-deleted. Then the dump is
held against the database as it was before and after: everything that existed at the beginning is there once, and each
line is what the Registry held before or after.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from harvester.demo import Fault, records
from harvester.dump import lines_of
from tests.benchmarks.serving import SCRATCH, CollectionSpec, database, environment, measured, post, served, stats
from tests.benchmarks.table import Row, show

FAULTS = 0.05
CHANGES = 60
STEMS = ("objects", "files", "events")
PATIENT = {"HARVESTER_READ_TIMEOUT": "5", "HARVESTER_RETRY_BUDGET": "300"}


def rows(arguments: Sequence[str] = ()) -> Iterator[Row]:
    """Both strategies, unless told which."""
    files = int(arguments[0]) if arguments else 100_000
    spec = CollectionSpec(seed=3, objects=files // 33, files_per_object=30.0, largest_object=files // 10)
    for strategy in arguments[1:] or ("per-object", "sweep"):
        yield from _soaked(spec, strategy)


def _soaked(spec: CollectionSpec, strategy: str) -> Iterator[Row]:
    before = database(spec)
    path = SCRATCH / "soak.sqlite"
    output = SCRATCH / "soak"
    shutil.rmtree(output, ignore_errors=True)
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    shutil.copyfile(before, path)
    with served(path, latency=0.005, faults=Fault.mixed(FAULTS, without=("redirect",))) as url:
        for order in _changes(before, requests=300 if strategy == "sweep" else spec.objects):
            post(url, "changes", [order])
        done = measured(
            ["harvest", "--quiet", "--strategy", strategy, "--output", str(output)],
            environment(url, **PATIENT),
            SCRATCH,
        )
        seen = stats(url)
        faults, requests = seen["faults"], seen["requests"]
    name = f"soak, {strategy}"
    dump = SCRATCH / done.stdout.strip()
    run = orjson.loads((dump / "manifest.json").read_bytes())
    yield Row(f"{name}: exit code, complete", f"{done.code}, {run['complete']}", "0, True", not done.code)
    yield Row(
        f"{name}: {spec.objects:,} objects, wall",
        f"{done.wall:.1f} s, {requests:,} requests, {run['run']['retries']} retries,"
        f" {len(run['run']['corrected'])} objects asked for again, {done.rss:.0f} MiB",
    )
    yield Row(f"{name}: faults", f"{sum(faults.values())}: " + ", ".join(f"{k} {n}" for k, n in sorted(faults.items())))
    wrong, total, new = _compare(dump, before, path)
    figure = f"{total:,} in the dump, {new:,} of them born meanwhile; {wrong or 'all as they should be'}"
    yield Row(f"{name}: records", figure, "none wrong", not wrong)


def _changes(before: Path, requests: int) -> Iterator[dict[str, object]]:
    """Spread over the harvest, in list requests after its first."""
    chance = random.Random(1)
    objects = [row["id"] for row in records(before, "objects")]
    active = [row["id"] for row in records(before, "files") if row["state"] == "A"]
    for number in range(CHANGES):
        order: dict[str, object] = {"after": 5 + number * requests // CHANGES}
        match number % 4:
            case 0:
                yield order | {"change": "InsertFiles", "object_id": chance.choice(objects), "files": 5}
            case 1:
                yield order | {"change": "InsertObject", "files": 4}
            case 2:
                yield order | {"change": "SoftDeleteFile", "file_id": chance.choice(active)}
            case _:
                yield order | {"change": "AddEvents", "object_id": chance.choice(objects), "events": 3}


def _compare(dump: Path, before: Path, after: Path) -> tuple[dict[str, int], int, int]:
    """What is wrong, by kind; records in the dump, and those of them that did not exist at the beginning."""
    wrong: dict[str, int] = {}
    total = new = 0

    def count(kind: str, found: int) -> None:
        if found:
            wrong[kind] = wrong.get(kind, 0) + found

    for stem in STEMS:
        old = {row["id"]: hash(orjson.dumps(row)) for row in records(before, stem)}
        now = {row["id"]: hash(orjson.dumps(row)) for row in records(after, stem)}
        seen: set[int] = set()
        for line, row in lines_of(dump / f"{stem}.ndjson"):
            number, content = row["id"], hash(line.rstrip(b"\n"))
            count(f"{stem} twice", number in seen)
            # Objects change more than once in between: theirs are only looked at by id.
            known = stem == "objects" or content in (old.get(number), now.get(number))
            count(f"{stem} neither as before nor as after", not known)
            seen.add(number)
        count(f"{stem} lost", len(old.keys() - seen))
        total, new = total + len(seen), new + len(seen - old.keys())
    return wrong, total, new


if __name__ == "__main__":
    sys.exit(not show(rows(sys.argv[1:])))
