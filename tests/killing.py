"""Killing real harvest processes with SIGKILL, over and over until one gets through."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-m", "harvester", "harvest", "--quiet", "--output", "out"]


@dataclass(frozen=True)
class Killed:
    """How it went: kills, how many of them left a partial dump behind, and the dump in the end."""

    kills: int
    partial: int
    dump: Path


def harvest_and_kill(
    cwd: Path, env: Mapping[str, str], chance: random.Random, *, longest: float, arguments: tuple[str, ...] = ()
) -> Killed:
    """Run `harvester harvest` in `cwd`, killing it after up to `longest` seconds, until it has finished.

    The first run gets a third of that, so that at least one is killed.
    """
    kills = partial = 0
    while True:
        process = subprocess.Popen(
            [*COMMAND, *arguments], cwd=cwd, env=dict(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            said, complained = process.communicate(timeout=chance.uniform(0, longest if kills else longest / 3))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            said, complained = process.communicate()
        if process.returncode == 0:
            return Killed(kills, partial, cwd / said.strip())
        if process.returncode != -signal.SIGKILL:
            raise AssertionError(f"exit {process.returncode}: {complained}")
        kills += 1
        partial += any((cwd / "out").glob(".*.partial"))
