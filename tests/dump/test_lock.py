"""One process a dump, and a dead one locks nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harvester.dump.lock import Lock
from harvester.errors import DumpLockedError

HOLD = """
import sys
from pathlib import Path
from harvester.dump.lock import Lock
lock = Lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_lock_is_held_against_other_processes_and_dies_with_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(DumpLockedError, match=f"process {holder.pid}") as refusal:
            Lock(tmp_path)
        assert refusal.value.place == str(tmp_path)
        holder.kill()
        holder.wait()
    assert (tmp_path / "lock").read_text() == f"{holder.pid}\n"
    Lock(tmp_path).release()


def test_released_it_can_be_had_again(tmp_path: Path) -> None:
    for _ in range(3):
        lock = Lock(tmp_path)
        with pytest.raises(DumpLockedError):
            Lock(tmp_path)
        lock.release()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
