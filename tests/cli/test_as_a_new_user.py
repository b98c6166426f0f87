"""What a new user ran into who had nothing but `--help`: each mistake is one line that says how to mend it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harvester.demo import DemoRegistry
from tests.cli.conftest import Run, environment


@pytest.mark.parametrize("arguments", ["list objects", "get objects 1", "count objects", "items", "--version"])
def test_a_closed_stdout_is_no_traceback(registry: DemoRegistry, tmp_path: Path, arguments: str) -> None:
    command = f'exec "$0" -m harvester {arguments} <&- >&-'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable],
        cwd=tmp_path,
        env=environment(registry),
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["audit", "plan", "harvest", "count objects", "list objects"])
def test_a_value_that_may_be_a_mistake_is_doubted_by_every_command(
    run: Run, registry: DemoRegistry, command: str
) -> None:
    done = run(*command.split(), "storage_option=standard", registry=registry)
    assert done.returncode == 0, done.stderr
    assert "storage_option=standard: the Registry may hold no such value; did you mean 'Standard'?\n" in done.stderr


def test_an_audit_of_no_object_says_so(run: Run, registry: DemoRegistry) -> None:
    done = run("audit", "identifier__starts_with=no such", "--only", "counts", registry=registry)
    assert done.stderr.endswith("no object is 'identifier__starts_with=no such': nothing was audited\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "objects", "--format", "xml"), "Invalid value for '--format': 'xml' is not one of 'ndjson', "),
        (("list", "objects", "created_at__gteq=2026-02-30"), "or an age such as 12h, 30d, 8w, 1y\n"),
        (
            ("count", "objects", "created_at__gteq=yesterdy"),
            "filter 'created_at__gteq' of objects: 'yesterdy' is no date",
        ),
        (("items", "date_processed__gteq=99999y"), "'99999y' is no date; "),
        (("audit", "state=A", "--only", "deletions"), "--only: deletions are asked of the whole institution only; "),
        (("get", "objects", "1", "--json", "--format", "tree"), "--json: not together with --format tree; "),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_asked(
    run: Run, registry: DemoRegistry, arguments: tuple[str, ...], words: str
) -> None:
    done = run(*arguments, registry=registry)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and done.stderr.count("\n") == 1
    assert registry.stats.requests == 0


def test_get_takes_json_as_the_other_commands_do(run: Run, registry: DemoRegistry) -> None:
    as_json, by_format = (
        run("get", "objects", "1", *how, registry=registry) for how in (["--json"], ["--format=json"])
    )
    assert as_json.returncode == 0, as_json.stderr
    assert as_json.stdout == by_format.stdout


@pytest.mark.parametrize(
    ("wanted", "mend"),
    [("nosuch.edu/bag", "identifier__starts_with=nosuch.edu/"), ("999999", "an identifier of digits alone")],
)
def test_what_cannot_be_restored_since_it_is_not_there(
    run: Run, registry: DemoRegistry, wanted: str, mend: str
) -> None:
    done = run("restore", wanted, "--yes", registry=registry)
    assert done.returncode == 1
    assert done.stderr.startswith(f"harvester: {wanted}: there is no such object; harvester list objects")
    assert mend in done.stderr


def test_twice_verbose_says_also_the_request_that_failed(run: Run, registry: DemoRegistry) -> None:
    done = run("count", "objects", "-vv", registry=registry, APTRUST_REGISTRY_API_KEY="wrong")
    assert done.returncode == 3
    assert f"DEBUG GET {registry.url}/member-api/v3/objects?" in done.stderr and ": 401, " in done.stderr
    assert "wrong" not in done.stderr
