"""Others at the same job: `python -m tests.benchmarks.peers [RUNS]` (needs PyPI the first time).

dlt's rest_api source (parallelised), a singer-sdk tap, a sequential script with requests, httpx.AsyncClient with
gather, each in a virtual environment of its own under the scratch directory, and harvester by its command line; one run
each in turn, RUNS times, medians. The server's quirks: its counts are an hour old (2,500 rows short), its default sorts
have ties and go by columns that change, texts are nasty. Twenty objects are updated meanwhile: harvester, and it alone,
asks for each of these again, in three requests or more. Records a second count the distinct records of the whole
process's time, imports included; a record is lost if its id is not in the output, doubled if it is there twice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from harvester.demo import API_KEY, EMAIL, records
from tests.benchmarks.serving import (
    PROGRAM,
    SCRATCH,
    CollectionSpec,
    database,
    environment,
    post,
    served,
    stats,
    watched,
)
from tests.benchmarks.table import Row, median, show

SPEC = CollectionSpec(seed=12, objects=600, files_per_object=22.0, events_per_file=5, stale_counts=-2500)
LISTS = ("objects", "files", "events")
CLIENTS = Path(__file__).parent / "peer_clients"
PEERS = {
    "requests": ("requests",),
    "httpx": ("httpx",),
    "singer": ("singer-sdk",),
    "dlt": ("dlt[filesystem]",),
}
UPDATES = 20


@dataclass
class Runs:
    """What the runs of one client were like."""

    walls: list[float] = field(default_factory=list)
    requests: int = 0
    rss: float = 0.0
    distinct: int = 0
    lost: int = 0
    doubled: int = 0
    problem: str = ""


def rows(arguments: Sequence[str] = ()) -> Iterator[Row]:
    """Run each in turn, several times over."""
    times = int(arguments[0]) if arguments else 5
    original = database(SPEC)
    held = {name: {row["id"] for row in records(original, name)} for name in LISTS}
    found = {name: Runs() for name in ("harvester", *PEERS)}
    for name, packages in PEERS.items():
        found[name].problem = _install(name, packages)
    for _ in range(times):
        for name, runs in found.items():
            if not runs.problem:
                _one(name, runs, original, held)
    total = sum(len(ids) for ids in held.values())
    for name, runs in found.items():
        if runs.problem:
            yield Row(f"peers: {name}", runs.problem)
            continue
        complete = "complete" if not runs.lost else f"{runs.lost:,} of {total:,} LOST"
        doubled = "no duplicates" if not runs.doubled else f"{runs.doubled:,} DUPLICATES"
        yield Row(
            f"peers: {name}",
            f"{median(runs.distinct / wall for wall in runs.walls):,.0f} records/s ({median(runs.walls):.2f} s),"
            f" {runs.requests} requests, {runs.rss:.0f} MiB, {complete}, {doubled}",
            "complete" if name == "harvester" else "",
            not (runs.lost or runs.doubled) if name == "harvester" else None,
        )


def _install(name: str, packages: Sequence[str]) -> str:
    """Make the environment once; returns what is wrong with it."""
    where = SCRATCH / "peers" / name
    if not (where / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(where)], check=True)
    pip = [str(where / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "install", *packages], capture_output=True, text=True, check=False)
    return f"cannot be installed: {done.stderr.strip().splitlines()[-1]}" if done.returncode else ""


def _one(name: str, runs: Runs, original: Path, held: dict[str, set[int]]) -> None:
    """One run against a fresh copy, in which objects are updated while it is read."""
    path, output = SCRATCH / "peers.sqlite", SCRATCH / "peers-output"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    shutil.copyfile(original, path)
    command = [str(SCRATCH / "peers" / name / "bin" / "python"), str(CLIENTS / f"with_{name}.py")]
    with served(path) as url:
        arguments = [url, EMAIL, API_KEY, str(output)]
        ours = [*PROGRAM, "harvest", "--quiet", "--output", str(output)]
        for place in range(UPDATES):
            number = sorted(held["objects"])[place * 7]
            post(url, "changes", [{"change": "UpdateObject", "object_id": number, "after": 1 + place // 4}])
        began = time.perf_counter()
        with (
            (SCRATCH / "peers-log").open("wb") as log,
            subprocess.Popen(
                ours if name == "harvester" else [*command, *arguments],
                env=environment(url) if name == "harvester" else os.environ,
                cwd=SCRATCH,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            _, peak = watched(process)
        runs.walls.append(time.perf_counter() - began)
        runs.requests = stats(url)["requests"]
    if process.returncode:
        runs.problem = f"failed: {(SCRATCH / 'peers-log').read_text().strip().splitlines()[-1][:200]}"
        return
    runs.rss = max(runs.rss, peak)
    seen = _ids(output)
    runs.distinct = sum(len(ids) for ids in seen.values())
    runs.lost = max(runs.lost, sum(len(ids - seen[name].keys()) for name, ids in held.items()))
    runs.doubled = max(runs.doubled, sum(number - 1 for ids in seen.values() for number in ids.values()))


def _ids(output: Path) -> dict[str, Counter[int]]:
    """How often each id is in what a client wrote."""
    seen: dict[str, Counter[int]] = {name: Counter() for name in LISTS}
    for path in output.rglob("*"):
        if path.suffix == ".singer":
            for message in map(orjson.loads, path.read_bytes().splitlines()):
                if message["type"] == "RECORD":
                    seen[message["stream"]][message["record"]["id"]] += 1
        elif path.suffix in (".jsonl", ".ndjson") and not path.parent.is_symlink():
            name = path.stem if path.suffix == ".ndjson" else path.parent.name
            if name in seen and not any(part.startswith(".") for part in path.relative_to(output).parts):
                seen[name].update(row["id"] for row in map(orjson.loads, path.read_bytes().split(b"\n")[:-1]))
    return seen


if __name__ == "__main__":
    show(rows(sys.argv[1:]))
