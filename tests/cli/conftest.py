"""A demo Registry in a thread of its own, so that real `harvester` processes can be run against it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import pytest

from harvester.demo import API_KEY, EMAIL, CollectionSpec, DemoRegistry, build
from tests.terminal import PATIENCE

T = TypeVar("T")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 objects with nasty text."""
    path = tmp_path_factory.mktemp("cli") / "registry.sqlite"
    build(path, CollectionSpec(seed=3, objects=40, files_per_object=4.0, events_per_file=2))
    return path


class InThread:
    """A server whose loop runs in a thread; `call` does something on that loop."""

    def __init__(self, database: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.registry = DemoRegistry(database)
        asyncio.run_coroutine_threadsafe(self.registry.start(), self.loop).result(PATIENCE)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.registry.stop(), self.loop).result(PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)
        self.loop.close()


@pytest.fixture
def registry(database: Path) -> Iterator[DemoRegistry]:
    """A served demo Registry."""
    server = InThread(database)
    yield server.registry
    server.stop()


def environment(registry: DemoRegistry | None, **more: str) -> dict[str, str]:
    """What a shell that tries harvester against this server would have exported."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HARVESTER_", "APTRUST_"))}
    account = {}
    if registry is not None:
        account = {
            "APTRUST_REGISTRY_URL": registry.url,
            "APTRUST_REGISTRY_EMAIL": EMAIL,
            "APTRUST_REGISTRY_API_KEY": API_KEY,
        }
    return {**clean, "HARVESTER_RATE": "2000", "HARVESTER_RETRY_BUDGET": "0.3", **account, **more}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the program in a directory of its own; returns what it said and its exit code."""

    def running(
        *arguments: str, registry: DemoRegistry | None = None, cwd: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harvester", *arguments],
            cwd=cwd or tmp_path,
            env=environment(registry, XDG_CONFIG_HOME=str(tmp_path / "xdg"), **more),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return running


def in_bash(command: str, *, registry: DemoRegistry, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command line of the shell's, in which `harvester` is the program."""
    program = f'harvester() {{ "{sys.executable}" -m harvester "$@"; }}; '
    return subprocess.run(
        ["bash", "-c", program + command],
        cwd=cwd,
        env=environment(registry, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def writing_to(
    stdout: IO[str] | int, *arguments: str, registry: DemoRegistry, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run the program with its stdout there."""
    return subprocess.run(
        [sys.executable, "-m", "harvester", *arguments],
        cwd=cwd,
        env=environment(registry),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@contextmanager
def killed_when_overdue(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Whoever waits for the process in here need not wait for ever."""
    overdue = threading.Timer(PATIENCE, process.kill)
    overdue.start()
    try:
        yield
    finally:
        overdue.cancel()


@contextmanager
def running(*arguments: str, registry: DemoRegistry, cwd: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """The program, not waited for: what it says can be read, and it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harvester", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment(registry, XDG_CONFIG_HOME=str(cwd / "xdg"), **more),
    )
    with killed_when_overdue(process):
        try:
            yield process
        finally:
            process.kill()
            process.communicate()
