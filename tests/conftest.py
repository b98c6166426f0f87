"""What holds for every test: nothing of the machine it runs on reaches it, and chance is the same each time."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "harvester",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("harvester")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As for what a shell starts in the background. The programs under test would inherit it, and none could be stopped.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those the test makes: neither the user's variables nor their files, here or at home."""
    for variable in os.environ:
        if variable.upper().startswith(("HARVESTER_", "APTRUST_")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    random.seed(0)
