"""Ctrl-C before the program has begun: no traceback, the documented exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import environment

PRESS = """
import importlib, os, signal, sys
os.kill(os.getpid(), signal.SIGINT)
sys.path.remove(os.path.dirname(__file__))
del sys.modules[__name__]
sys.modules[__name__] = importlib.import_module(__name__)
"""


def pressed_while_importing(module: str, command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in which Ctrl-C is pressed the moment it imports `module`."""
    (directory / f"{module}.py").write_text(PRESS)
    paths = [str(directory), str(Path(__file__).parents[2])]
    env = environment(None, PYTHONPATH=":".join(paths))
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("module", ["pydantic_settings", "orjson", "zstandard", "typer"])
@pytest.mark.parametrize("way", ["module", "script"])
def test_ctrl_c_while_loading(module: str, way: str, tmp_path: Path) -> None:
    script = tmp_path / "bin" / "harvester"
    script.parent.mkdir()
    script.write_text("import sys\nfrom harvester.cli import main\nsys.exit(main())\n")
    command = [sys.executable, "-m", "harvester"] if way == "module" else [sys.executable, str(script)]
    done = pressed_while_importing(module, [*command, "--version"], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_to_another_program_ctrl_c_stays_what_it_was(tmp_path: Path) -> None:
    done = pressed_while_importing("orjson", [sys.executable, "-c", "import harvester"], tmp_path)
    assert "KeyboardInterrupt" in done.stderr
    (tmp_path / "orjson.py").unlink()
    code = "import harvester, signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(None), capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "True\n"


def test_ctrl_c_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As a shell has it for what it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = pressed_while_importing("orjson", [sys.executable, "-m", "harvester", "--version"], tmp_path)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert done.returncode == 0, done.stderr
