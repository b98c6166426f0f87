"""What Tab offers: by the protocol of each shell, and in a real bash."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from harvester.cli import main
from tests.cli.conftest import environment
from tests.terminal import program_at_a_terminal

Complete = Callable[[str, str], list[str]]


def as_bash_cuts(line: str) -> list[str]:
    """At spaces, and before and after each equals sign."""
    return [part for word in line.split(" ") for part in (re.findall("=|[^=]+", word) or [""])]


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Complete:
    """What is offered for the end of a command line, as the shell takes it. Nothing is asked of the network."""

    def completing(shell: str, line: str) -> list[str]:
        words = as_bash_cuts(line)
        asked = {
            "bash": {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)},
            "zsh": {"_TYPER_COMPLETE_ARGS": line},
            "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        }[shell]
        for name, value in {"_HARVESTER_COMPLETE": f"complete_{shell}", **asked}.items():
            monkeypatch.setenv(name, value)
        with suppress(SystemExit):
            main()
        said = capsys.readouterr()
        assert said.err == ""
        if shell != "zsh":
            return [item.partition("\t")[0] for item in said.out.splitlines() if item]
        items = said.out.strip().removeprefix("_arguments '*: :((").removesuffix("))'")
        return [item.partition(":")[0] for item in shlex.split(items)] if said.out.startswith("_arguments") else []

    def refuse(*_: object) -> None:
        raise AssertionError("a connection is made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(sys, "argv", ["harvester"])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return completing


OFFERED: list[tuple[str, set[str], set[str]]] = [
    ("harvester list ev", {"events"}, {"files"}),
    ("harvester count ", {"objects", "items", "alerts"}, set()),
    ("harvester list events out", {"outcome=Success", "outcome=Failure"}, {"event_type="}),
    ("harvester list files s", {"state=", "storage_option=", "size__gteq="}, {"outcome=", "uuid="}),
    ("harvester list files ob", {"object=", "object=…"}, set()),
    ("harvester list objects ob", set(), {"object="}),
    ("harvester list events date_time__g", {"date_time__gteq=30d", "date_time__gteq=yesterday"}, set()),
    ("harvester list items ret", {"retry=true", "retry=false"}, set()),
    ("harvester list nonsense stat", {"state=A", "state=D"}, set()),
    ("harvester plan sta", {"state=A", "state=D"}, set()),
    ("harvester harvest state=A acc", {"access=restricted"}, set()),
    ("harvester get fi", {"files"}, {"events"}),
    ("harvester items sta", {"status=", "stage="}, {"state="}),
    ("harvester items ob", {"object=", "object_identifier="}, set()),
    ("harvester items --sort date_p", {"date_processed__desc"}, {"date_time__desc"}),
    ("harvester audit sto", {"storage_option=Standard"}, set()),
    ("harvester audit --only counts,fai", {"counts,failed_events"}, {"counts,counts"}),
    ("harvester list files --sort si", {"size__asc", "size__desc"}, {"state__asc"}),
    ("harvester count events --by ", {"event_type", "outcome"}, {"state", "id"}),
    ("harvester list files --fields id,sh", {"id,sha1", "id,sha256"}, {"id,md5"}),
    ("harvester list files --format t", {"table"}, {"csv"}),
    ("harvester harvest --resources objects,f", {"objects,files"}, {"objects,events"}),
    ("harvester list files --profile ", {"demo", "production", "mine"}, set()),
    ("harvester lis", {"list"}, set()),
    ("harvester count files --b", {"--by"}, set()),
]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("line", "offered", "kept_back"), OFFERED, ids=[case[0] for case in OFFERED])
def test_names_and_values(
    complete: Complete, shell: str, line: str, offered: set[str], kept_back: set[str], tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("[profiles.mine]\nrate = 2\n")
    found = set(complete(shell, line))
    assert found >= offered
    assert not found & kept_back


AFTER_EQUALS = [
    ("harvester list events event_type=fi", ["event_type=fixity check"], [r"fixity\ check"]),
    ("harvester list files state=", ["state=A", "state=D"], ["A", "D"]),
    ("harvester list events outcome=S", ["outcome=Success"], ["Success"]),
    ("harvester list files --sort=size", ["size__asc", "size__desc"], ["size__asc", "size__desc"]),
    ("harvester list files bogus=", [], []),
    ("harvester list files identifier=", [], []),
]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("line", "whole", "rest"), AFTER_EQUALS, ids=[case[0] for case in AFTER_EQUALS])
def test_values_as_each_shell_wants_them(
    complete: Complete, shell: str, line: str, whole: list[str], rest: list[str]
) -> None:
    """bash takes them for what stands behind the equals sign, and unquoted; the others for the whole word."""
    assert complete(shell, line) == (rest if shell == "bash" else whole)


def test_a_file_of_settings_that_cannot_be_read_is_no_error(complete: Complete, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[profiles")
    assert complete("fish", "harvester list files --profile ") == ["demo", "production"]


STUB = """#!/bin/sh
if [ -n "$_HARVESTER_COMPLETE" ]; then exec {python} -m harvester "$@"; fi
printf '<%s>' "$@"
echo " done"
"""


def typed(keys: str, tmp_path: Path) -> str:
    """What a program gets as its arguments when this is typed into an interactive bash."""
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "harvester"
    stub.write_text(STUB.format(python=sys.executable))
    stub.chmod(0o755)
    script = subprocess.run(
        [sys.executable, "-m", "harvester", "--show-completion", "bash"],
        env=environment(None, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    (tmp_path / "completion").write_text(script)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    env = environment(None, PATH=path, TERM="dumb", INPUTRC="/dev/null", PS1="")
    with program_at_a_terminal(["bash", "--noprofile", "--norc", "-i"], cwd=tmp_path, env=env) as shell:
        shell.type("source ./completion; echo sourced\n")
        shell.until_true(lambda: "\nsourced" in shell.text, "its prompt")
        shell.type(f"{keys}\n")
        shell.until_true(lambda: "> done" in shell.text, "what the program was given")
        return shell.text[shell.text.rindex("\n<") + 1 :]


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        ("harvester lis\tev\tevent_type=fi\t", "<list><events><event_type=fixity check>"),
        ("harvester list events event_t\tfi\t", "<list><events><event_type=fixity check>"),
        (r"harvester list events event_type=fixity\ ch" "\t", "<list><events><event_type=fixity check>"),
        ("harvester list events 'event_type=fixity ch\t", "<list><events><event_type=fixity check>"),
        ("harvester list files storage_option=Wasabi-T\t", "<list><files><storage_option=Wasabi-TX>"),
        ("harvester list files obj\tx/y", "<list><files><object=x/y>"),
        ("harvester list files --sort=size__d\t", "<list><files><--sort=size__desc>"),
        ("harvester list events event_type='fixity ch\t", "<list><events><event_type=fixity check>"),
        ("harvester list files --sort size__d\t", "<list><files><--sort><size__desc>"),
    ],
)
def test_in_a_real_bash(keys: str, arguments: str, tmp_path: Path) -> None:
    assert typed(keys, tmp_path).startswith(f"{arguments} done")


def test_the_options_that_install_it_are_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harvester", "--help"],
        env=environment(None),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "--install-completion" in done.stdout
    assert "--show-completion" in done.stdout
