"""What a new user ran into who had nothing but `--help`: each mistake is one line that says how to mend it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.demo import DemoRegistry, records
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


@pytest.mark.parametrize("command", ["audit", "plan", "harvest", "count objects", "list objects --json", "items"])
def test_a_value_that_nobody_has_is_refused_by_every_command(run: Run, registry: DemoRegistry, command: str) -> None:
    """Quiet or not: an audit, a count or a list of nothing looks like good news, and such a dump like all there is."""
    done = run(*command.split(), "storage_option=standard", "--quiet", registry=registry)
    resource = "items" if command == "items" else "objects"
    place = f"harvester: filter 'storage_option' of {resource}"
    assert done.stderr == f"{place}: no {resource} of the Registry's have 'standard'; did you mean 'Standard'?\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert registry.stats.requests == 1


@pytest.mark.parametrize("command", ["list events --json", "count events", "items", "items --watch"])
def test_nothing_of_an_object_that_is_not_there_is_said_so(run: Run, registry: DemoRegistry, command: str) -> None:
    done = run(*command.split(), "object=99999", registry=registry)
    said = "id 99999: there is no such intellectual object; harvester list objects shows what there is"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"harvester: {said}\n")


@pytest.mark.parametrize("command", ["plan", "harvest"])
def test_lists_that_there_are_not_are_told_with_the_place_that_names_them(
    run: Run, registry: DemoRegistry, tmp_path: Path, command: str
) -> None:
    done = run(command, registry=registry, HARVESTER_RESOURCES="objects,foo")
    assert done.stderr.startswith("harvester: HARVESTER_RESOURCES: the Registry has no list 'foo'; ")
    (tmp_path / "config.toml").write_text('rate = 5.0\nresources = ["objects", "evnts"]\n')
    done = run(command, registry=registry)
    assert (done.returncode, done.stderr) == (
        2,
        "harvester: config.toml:2: the Registry has no list 'evnts'; did you mean 'events'?\n",
    )


def test_the_directory_of_dumps_is_no_dump_but_the_latest_in_it_is(run: Run, registry: DemoRegistry) -> None:
    done = run("harvest", "identifier=no such", registry=registry)
    assert done.returncode == 0
    assert "nothing is 'identifier=no such': the dump is empty\n" in done.stderr
    done = run("verify", "inventories")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("not a dump: it has no manifest; harvester verify inventories/latest\n")
    assert run("verify", "inventories/latest").returncode == 0


def test_a_list_is_harvested_by_any_name_that_it_can_be_listed_by(run: Run, registry: DemoRegistry) -> None:
    done = run("harvest", "--resources", "object,work_items", "--json", registry=registry)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["records"]) == ["objects", "work_items"]


def test_sizes_in_people_s_words_choose_the_same_everywhere(run: Run, registry: DemoRegistry, database: Path) -> None:
    large = [row["id"] for row in records(database, "files") if row["size"] >= 100 * 1024]
    assert 0 < len(large) < sum(1 for _ in records(database, "files"))
    listed = run("list", "files", "size__gteq=100K", "--fields", "id", registry=registry)
    assert [json.loads(line)["id"] for line in listed.stdout.splitlines()] == large
    assert run("count", "files", "size__gteq=102.4kB", registry=registry).stdout == f"{len(large)}\n"


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
        (
            ("list", "files", "size__gteq=big"),
            "filter 'size__gteq' of files: 'big' is no size; bytes, or ",
        ),
        (
            ("list", "objects", "object=1"),
            "filter 'object' of objects: asks for what belongs to an object; ",
        ),
        (
            ("harvest", "created_at__gteq=30d"),
            "'30d' is another date each day; write the date out, such as ",
        ),
        (("plan", "created_at__gteq=today"), "'today' is another date each day; write the date out"),
        (("harvest", "created_at__gteq=2026-02-30"), "'2026-02-30' is no date; 2026-01-31 or "),
        (
            ("harvest", "--resources", "objects,flies"),
            "--resources: the Registry has no list 'flies'; did you mean ",
        ),
        (("plan", "--resources", "objects,flies"), "--resources: the Registry has no list 'flies'"),
        (("plan", "--resources", ","), "--resources: "),
        (("plan", "--output", "elsewhere"), "No such option: --output"),
        (("list", "objects", "id=3"), "id=: no list can be filtered by it; harvester get objects 3 shows one record"),
        (("list", "objects", "state"), "argument 'state': a filter is written name=value; such as state=VALUE\n"),
        (("count", "files", "created_at=2026-01-01"), "; there is created_at__gteq and created_at__lteq\n"),
        (("harvest", "--output", ""), "--output: names no directory"),
        (("check", "--output", ""), "--output: names no directory"),
        (("harvest", "--resources", ""), "--resources: must name at least one"),
        (("harvest", "--rate", "0"), "--rate: must be greater than 0\n"),
        (("harvest", "--rate", "fast"), "'--rate': must be a valid number; see harvester harvest --help\n"),
        (("--profile", "demo", "list", "objects"), "--profile comes after the command; see harvester --help\n"),
        (("harvest", "id=3"), "id=: no list can be filtered by it; harvester get objects 3 shows one record\n"),
        (
            ("plan", "object=a.edu/b"),
            "harvester get object a.edu/b shows it, identifier=a.edu/b is the filter for it\n",
        ),
        (("-v", "check"), "-v comes after the command; see harvester --help\n"),
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
