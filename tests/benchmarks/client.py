"""One measurement of a client in a process of its own: the whole pipeline, or a bare loop over the same pages.

`run(job)` starts the process and gives what it measured: seconds from before the first request to after the last fsync,
the process's CPU seconds in between (all its threads, without its start), peak RSS.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp
import orjson
from yarl import URL

from harvester import RegistryClient, Scope, credentials, harvest, load_settings
from harvester.demo import API_KEY, EMAIL
from harvester.dump import Disk
from harvester.harvest import run as harvest_run

NEVER = 1 << 40


@dataclass(frozen=True)
class Job:
    """What to do. `targets` makes it the bare loop over these pages. Without `checkpoints` there is one, at the end."""

    url: str
    strategy: str = "per-object"
    concurrency: int = 8
    rate: float = 10_000.0
    per_page: int = 1000
    targets: list[str] = field(default_factory=list)
    syncs: bool = True
    checkpoints: bool = True
    uvloop: bool = False


@dataclass(frozen=True)
class Result:
    """What came of it."""

    wall: float
    cpu: float
    rss: float
    records: int


def run(job: Job) -> Result:
    """Do it in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.client"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HARVESTER_", "APTRUST_"))}
    done = subprocess.run(command, input=orjson.dumps(asdict(job)), stdout=subprocess.PIPE, env=environment, check=True)
    return Result(**orjson.loads(done.stdout))


class _Careless(Disk):
    """A disk whose syncs do nothing."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


async def _pipeline(job: Job, output: Path) -> int:
    if not job.syncs:
        harvest_run._disk = lambda client: _Careless(
            file_mode=client.settings.file_mode, dir_mode=client.settings.dir_mode
        )
    pace = {} if job.checkpoints else {"checkpoint_bytes": NEVER, "checkpoint_objects": NEVER}
    settings = load_settings(
        {
            "registry_url": job.url,
            "email": EMAIL,
            "api_key": API_KEY,
            "output": output,
            "strategy": job.strategy,
            "concurrency": job.concurrency,
            "rate": job.rate,
            "per_page": job.per_page,
            **pace,
        }
    )
    async with RegistryClient(settings, credentials(settings)) as client:
        outcome = await harvest(client, Scope.parse(settings.resources))
    assert outcome.published
    return outcome.manifest.totals.records


async def _bare(job: Job, output: Path) -> int:
    """Read, parse, encode each record, write: what no client can do without."""
    headers = {"X-Pharos-API-User": EMAIL, "X-Pharos-API-Key": API_KEY}
    files = {name: (output / f"{name}.ndjson").open("wb") for name in ("objects", "files", "events")}
    targets, records = iter(job.targets), 0

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal records
        for target in targets:
            async with session.get(URL(job.url + target, encoded=True)) as response:
                body = await response.read()
            rows = orjson.loads(body)["results"] or ()
            file = files[target.split("?")[0].rpartition("/")[2]]
            file.write(b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows]))
            records += len(rows)

    connector = aiohttp.TCPConnector(limit=job.concurrency)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        await asyncio.gather(*(worker(session) for _ in range(job.concurrency)))
    for file in files.values():
        file.close()
    return records


def _loop(job: Job) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if not job.uvloop:
        return None
    import uvloop  # type: ignore[import-not-found, unused-ignore]

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _main() -> None:
    job = Job(**orjson.loads(sys.stdin.buffer.read()))
    output = Path(tempfile.mkdtemp(prefix="harvester-benchmark-"))
    work: Callable[[Job, Path], Awaitable[int]] = _bare if job.targets else _pipeline

    async def measured() -> Result:
        began, used = time.perf_counter(), _cpu()
        records = await work(job, output)
        wall, cpu = time.perf_counter() - began, _cpu() - used
        return Result(wall, cpu, _peak(), records)

    try:
        with asyncio.Runner(loop_factory=_loop(job)) as runner:
            result = runner.run(measured())
    finally:
        shutil.rmtree(output)
    sys.stdout.buffer.write(orjson.dumps(asdict(result)))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak() -> float:
    """MiB. Not ru_maxrss: that begins with what the parent process had when it forked."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


__all__ = ["Job", "Result", "run"]

if __name__ == "__main__":
    _main()
