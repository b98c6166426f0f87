"""Databases of the demo Registry, made once; tests that change one work on a copy."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harvester.demo import CollectionSpec, DemoRegistry, build

Serve = Callable[..., AbstractAsyncContextManager[DemoRegistry]]

SMALL = CollectionSpec(seed=7, objects=60, files_per_object=6.0, events_per_file=3)
GIANT = CollectionSpec(seed=11, objects=200, files_per_object=8.0, largest_object=30_000, events_per_file=2)


@pytest.fixture(scope="session")
def small_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 objects with nasty text; read only."""
    database = tmp_path_factory.mktemp("small") / "registry.sqlite"
    build(database, SMALL)
    return database


@pytest.fixture(scope="session")
def giant_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 objects with nasty text, one of them with 30,000 files; read only."""
    database = tmp_path_factory.mktemp("giant") / "registry.sqlite"
    build(database, GIANT)
    return database


@pytest.fixture
def small(small_database: Path, tmp_path: Path) -> Path:
    """The small database, to be changed."""
    return Path(shutil.copy(small_database, tmp_path / "registry.sqlite"))


@pytest.fixture
def serve() -> Serve:
    """Serve a database: `async with serve(database, latency=…) as registry`."""

    @asynccontextmanager
    async def serving(database: Path, **options: Any) -> AsyncIterator[DemoRegistry]:
        async with DemoRegistry(database, **options) as registry:
            yield registry

    return serving
