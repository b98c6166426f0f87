"""Every command says in its --help how it is used, and what it says there works.

Examples are the `harvester …` lines of a command's docstring after "Example:" or "Examples:". They are run as they
stand against the demo Registry, which has an object `institution1.edu/photos`, in a directory that has a dump in
`inventories`. What needs something else is excused below, with the reason.
"""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from harvester.cli.app import app
from harvester.demo import DemoRegistry, InsertItem, InsertObject
from tests.cli.conftest import InThread, environment

EXCUSED = {
    "harvester demo --serve": "serves until Ctrl-C",
    "harvester resume": "needs an unfinished dump: test_harvest_command and test_readme have some",
    "harvester restore": "needs an account that may restore",
    "harvester items --watch": "goes on until Ctrl-C, or until all is done",
    "harvester config init": "asks questions",
}
"""Beginnings of examples that are not run here, and why."""


def commands(of: typer.Typer, path: str = "harvester") -> Iterator[tuple[str, str]]:
    """Every command with its whole name and its help."""
    for command in of.registered_commands:
        assert command.callback is not None
        yield f"{path} {command.name}", command.help or inspect.getdoc(command.callback) or ""
    for group in of.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, f"{path} {group.name or group.typer_instance.info.name}")


def examples(text: str) -> list[str]:
    """The example lines of a help text."""
    _, heading, after = text.partition("Example")
    return [line.strip() for line in re.findall(r"harvester \S.*", after)] if heading else []


COMMANDS = dict(commands(app))
EXAMPLES = [line for text in COMMANDS.values() for line in examples(text)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_of_itself(name: str) -> None:
    lines = examples(COMMANDS[name])
    assert lines
    assert any(line.startswith(name) for line in lines)


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("name", ["harvester", "harvester config", *COMMANDS])
def test_no_word_of_it_is_broken(name: str, columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    def said(columns: int) -> str:
        width = {"terminal_width": columns, "max_content_width": columns}
        app([*name.split()[1:], "--help"], prog_name="harvester", standalone_mode=False, **width)
        return capsys.readouterr().out

    text = said(columns)
    cut = {line.split()[-1] for line in text.splitlines() if line.endswith("...")}  # the list of commands says so
    assert set(text.split()) - cut <= set(said(1000).split())
    prose = [line for line in text.splitlines() if not line.strip().startswith("harvester ")]
    assert max(map(len, prose)) <= columns


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[tuple[DemoRegistry, Path]]:
    """A server and a directory in which something has been harvested from it."""
    directory = tmp_path_factory.mktemp("examples")
    server = InThread(Path(shutil.copy(database, directory / "registry.sqlite")))
    server.call(server.registry.changes.apply(InsertObject(identifier="institution1.edu/photos")))
    server.call(server.registry.changes.apply(InsertItem("photos-2026.tar", status="Success")))
    assert tried("harvester harvest --quiet", server.registry, directory).returncode == 0
    yield server.registry, directory
    server.stop()


def tried(line: str, registry: DemoRegistry, directory: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(line, comments=True)
    assert program == "harvester"
    return subprocess.run(
        [sys.executable, "-m", "harvester", *arguments],
        cwd=directory,
        env=environment(registry, XDG_CONFIG_HOME=str(directory), HOME=str(directory)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("line", [line for line in EXAMPLES if not line.startswith(tuple(EXCUSED))])
def test_an_example_works(line: str, place: tuple[DemoRegistry, Path]) -> None:
    done = tried(line, *place)
    # Exit code 1 is an audit's, or a watch's, that has found something.
    assert done.returncode == 0 or (done.returncode == 1 and "harvester:" not in done.stderr), done.stderr
    assert "Traceback" not in done.stderr
