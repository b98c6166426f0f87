"""What the tests of questions share: a client of a demo Registry in the same process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from harvester import RegistryClient, credentials
from harvester.demo import DemoRegistry
from tests.support import settings_for

Asking = Callable[[Path], AbstractAsyncContextManager[tuple[DemoRegistry, RegistryClient]]]


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    """Serve a database; gives the Registry and a client of it."""

    @asynccontextmanager
    async def served(database: Path) -> AsyncIterator[tuple[DemoRegistry, RegistryClient]]:
        async with DemoRegistry(database) as registry:
            settings = settings_for(registry, tmp_path)
            async with RegistryClient(settings, credentials(settings)) as client:
                yield registry, client

    return served
