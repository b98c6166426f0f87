"""A small collection for every test, a client that shows answers as they are, and a server to ask."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from harvester.demo import API_KEY, EMAIL, CollectionSpec, DemoRegistry, build

API = "/member-api/v3/"
SPEC = CollectionSpec(objects=90, files_per_object=8.0, largest_object=300)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.json["results"] or []

    @property
    def ids(self) -> list[int]:
        return [row["id"] for row in self.rows]


class Client:
    """Asks exactly what it is told, quoting nothing and following nothing."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(self, path: str, method: str = "GET", **options: Any) -> Answer:
        target = path if path.startswith("/") else API + path
        url = URL(self._url + target, encoded=True)
        async with self._session.request(method, url, allow_redirects=False, **options) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())


@asynccontextmanager
async def asking(registry: DemoRegistry, email: str = EMAIL, key: str = API_KEY) -> AsyncIterator[Client]:
    headers = {"X-Pharos-API-User": email, "X-Pharos-API-Key": key}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(10)) as session:
        yield Client(session, registry.url)


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("demo") / "registry.db"
    build(database, SPEC)
    return database


@pytest.fixture
def changeable(collection: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copy(collection, tmp_path / "registry.db"))


@pytest.fixture
async def registry(collection: Path) -> AsyncIterator[DemoRegistry]:
    async with DemoRegistry(collection) as running:
        yield running


@pytest.fixture
async def changing(changeable: Path) -> AsyncIterator[DemoRegistry]:
    async with DemoRegistry(changeable) as running:
        yield running


@pytest.fixture
async def ask(registry: DemoRegistry) -> AsyncIterator[Client]:
    async with asking(registry) as client:
        yield client


@pytest.fixture
async def ask_changing(changing: DemoRegistry) -> AsyncIterator[Client]:
    async with asking(changing) as client:
        yield client
