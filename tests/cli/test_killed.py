"""Durable, shown on real processes: SIGKILL at random moments changes no byte of the dump."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harvester.demo import DemoRegistry
from harvester.dump import verify
from tests.cli.conftest import Run, environment
from tests.killing import harvest_and_kill
from tests.support import as_dumped, as_held, data_bytes, difference

SLOWLY = {"HARVESTER_CHECKPOINT_BYTES": "15000", "HARVESTER_CHECKPOINT_OBJECTS": "3", "HARVESTER_RATE": "100"}


@pytest.mark.parametrize(
    ("seed", "arguments"),
    [
        (1, ("--strategy", "per-object", "--compression", "gzip")),
        (2, ("--strategy", "sweep", "--compression", "zstd", "--per-page", "5")),
    ],
)
def test_killed_at_random_moments(
    run: Run, registry: DemoRegistry, database: Path, tmp_path: Path, seed: int, arguments: tuple[str, ...]
) -> None:
    undisturbed = run("harvest", *arguments, registry=registry, **{**SLOWLY, "HARVESTER_RATE": "2000"})
    killed = harvest_and_kill(
        tmp_path, environment(registry, **SLOWLY), random.Random(seed), longest=3.0, arguments=arguments
    )
    assert killed.kills >= 1
    assert data_bytes(killed.dump) == data_bytes(tmp_path / undisturbed.stdout.strip())
    assert difference(as_dumped(killed.dump), as_held(database)) is None
    assert verify(killed.dump).sound
    assert not list((tmp_path / "out").glob(".*"))
