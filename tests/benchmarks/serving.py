"""Registries in processes of their own, and harvester processes measured against them."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from harvester.demo import API_KEY, EMAIL, CollectionSpec, Cost, DemoRegistry, Fault, build

PROGRAM = [sys.executable, "-m", "harvester"]


SCRATCH = Path(tempfile.gettempdir()) / "harvester-benchmarks"
"""Where databases are kept from one benchmark to the next."""


def database(spec: CollectionSpec) -> Path:
    """A database of this collection, made once, in another process: it takes memory."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    path = SCRATCH / f"registry-{hashlib.sha256(repr(spec).encode()).hexdigest()[:16]}.sqlite"
    if not path.exists():
        making = path.with_suffix(".making")
        making.unlink(missing_ok=True)
        maker = multiprocessing.get_context("spawn").Process(target=build, args=(making, spec))
        maker.start()
        maker.join()
        making.rename(path)
    return path


@contextmanager
def served(
    database: Path, *, latency: float = 0.0, cost_scale: float | None = None, faults: Sequence[Fault] = ()
) -> Iterator[str]:
    """Serve a database from another process; gives the URL."""
    orders = orjson.dumps([asdict(fault) for fault in faults]).decode()
    with _process("tests.benchmarks.serving", str(database), str(latency), str(cost_scale), orders) as url:
        yield url


@contextmanager
def replayed(database: Path, *, latency: float = 0.0) -> Iterator[str]:
    """Serve the same as fast as it can be: see `replay`."""
    with _process("tests.benchmarks.replay", str(database), str(latency)) as url:
        yield url


@contextmanager
def _process(*module: str) -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-m", *module], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def stats(url: str) -> dict[str, Any]:
    """What a server has seen since the last reset."""
    with urllib.request.urlopen(f"{url}/demo/stats", timeout=60) as answer:
        seen: dict[str, Any] = orjson.loads(answer.read())
        return seen


def post(url: str, place: str, content: object = None) -> Any:
    """Turn one of the demo's switches."""
    request = urllib.request.Request(f"{url}/demo/{place}", orjson.dumps(content), method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return orjson.loads(answer.read())


def environment(url: str, **more: str) -> dict[str, str]:
    """What a harvester process must find to use that server as fast as it can."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HARVESTER_", "APTRUST_"))}
    account = {
        "APTRUST_REGISTRY_URL": url,
        "APTRUST_REGISTRY_EMAIL": EMAIL,
        "APTRUST_REGISTRY_API_KEY": API_KEY,
    }
    return {**clean, "HARVESTER_RATE": "10000", "HARVESTER_CONCURRENCY": "8", **account, **more}


@dataclass(frozen=True)
class Measured:
    """One process: exit code, wall and CPU seconds, peak resident memory in MiB, what it wrote to stdout."""

    code: int
    wall: float
    cpu: float
    rss: float
    stdout: str


def measured(arguments: list[str], env: dict[str, str], cwd: Path) -> Measured:
    """Run a harvester command to its end."""
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen([*PROGRAM, *arguments], env=env, cwd=cwd, stdout=said) as process,
    ):
        usage, peak = watched(process)
        wall = time.perf_counter() - began
        said.seek(0)
        return Measured(process.returncode, wall, usage.ru_utime + usage.ru_stime, peak, said.read())


def watched(process: subprocess.Popen[Any]) -> tuple[resource.struct_rusage, float]:
    """Wait for its end; what it used, and its peak RSS in MiB. ru_maxrss would begin with ours when it was forked."""
    peak = 0.0
    while True:
        with suppress(OSError, IndexError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, int(status.split("VmHWM:")[1].split()[0]) / 1024)
        ended, code, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(code)
            return usage, peak
        time.sleep(0.01)


async def _serve(path: str, latency: str, cost_scale: str, faults: str) -> None:
    cost = None if cost_scale == "None" else Cost(scale=float(cost_scale))
    orders = [Fault(**order) for order in orjson.loads(faults)]
    async with DemoRegistry(Path(path), latency=float(latency), cost=cost, faults=orders) as registry:
        registry.stats.log = deque()  # all of it
        print(registry.url, flush=True)
        await asyncio.Event().wait()


__all__ = [
    "SCRATCH",
    "CollectionSpec",
    "Fault",
    "Measured",
    "database",
    "environment",
    "measured",
    "post",
    "replayed",
    "served",
    "stats",
    "watched",
]

if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
