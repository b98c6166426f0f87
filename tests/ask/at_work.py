"""A demo Registry whose work items move on order, and a client of it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvester import RegistryClient, credentials
from harvester.demo import Change, CollectionSpec, DemoRegistry, build
from tests.support import settings_for

SPEC = CollectionSpec(objects=20, files_per_object=2.0, work_items=0, events_per_file=1)


@dataclass(frozen=True)
class Shop:
    """A Registry at work, and a client of it."""

    registry: DemoRegistry
    client: RegistryClient
    database: Path

    async def do(self, change: Change) -> int:
        """Change something; returns the id of the work item it was about."""
        return (await self.registry.changes.apply(change))["items"][0]

    async def do_all(self, *changes: Change) -> list[int]:
        return [await self.do(change) for change in changes]

    def asked(self) -> list[str]:
        """The requests since this was last called, without the base of their paths."""
        lines = [line.removeprefix("/member-api/v3/") for line in self.registry.stats.log]
        self.registry.stats.reset()
        return lines


@asynccontextmanager
async def at_work(tmp_path: Path, **flags: Any) -> AsyncIterator[Shop]:
    """A Registry without any work items yet."""
    database = tmp_path / "registry.sqlite"
    if not (template := tmp_path.parent / "at-work.sqlite").exists():
        build(template, SPEC)
    shutil.copy(template, database)
    async with DemoRegistry(database) as registry:
        settings = settings_for(registry, tmp_path, **flags)
        async with RegistryClient(settings, credentials(settings)) as client:
            yield Shop(registry, client, database)
