"""One record by its id or its identifier."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.ask import find
from harvester.config import credentials
from harvester.demo import CollectionSpec, DemoRegistry, build, records
from harvester.errors import ConfigError, NotFoundError
from harvester.registry import RESOURCES, RegistryClient
from tests.support import settings_for


async def test_records_by_id_and_by_identifier(tmp_path: Path) -> None:
    database = tmp_path / "registry.sqlite"
    build(database, CollectionSpec(seed=3, objects=10, files_per_object=2.0))
    async with DemoRegistry(database) as registry:
        settings = settings_for(registry, tmp_path)
        async with RegistryClient(settings, credentials(settings)) as client:
            for name, resource in RESOURCES.items():
                row = next(records(database, name))
                assert (await find(client, resource, str(row["id"])))["id"] == row["id"]
                if name in ("objects", "files", "events"):
                    assert (await find(client, resource, row["identifier"]))["id"] == row["id"]
            with pytest.raises(NotFoundError):
                await find(client, RESOURCES["objects"], "a.edu/none")
            registry.stats.reset()
            for name, key in (("items", "a.edu/bag.tar"), ("deletions", "²")):
                with pytest.raises(ConfigError):
                    await find(client, RESOURCES[name], key)
            assert registry.stats.requests == 0, "what cannot be answered is not asked"
