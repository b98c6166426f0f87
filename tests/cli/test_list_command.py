"""`harvester list` as a shell sees it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import sys
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from rich.cells import cell_len

from harvester.cli.progress import Rows
from harvester.cli.terminal import Terminal
from harvester.demo import API_KEY, DemoRegistry, Fault, PutNull, UpdateObject, records
from harvester.registry import RESOURCES
from tests.cli.conftest import InThread, Run, environment, in_bash, running, writing_to
from tests.cli.test_harvest_command import only_line
from tests.terminal import at_a_terminal, on_terminal

PAGES = {"HARVESTER_PER_PAGE": "20"}
PROGRAM = [sys.executable, "-m", "harvester"]


@pytest.fixture
def changing(database: Path, tmp_path: Path) -> Iterator[InThread]:
    """A server whose collection may be changed."""
    server = InThread(Path(shutil.copy(database, tmp_path / "registry.sqlite")))
    yield server
    server.stop()


def lines_of(database: Path, name: str) -> str:
    return "".join(orjson.dumps(row).decode() + "\n" for row in records(database, name))


@pytest.mark.parametrize("name", RESOURCES)
def test_lines_are_those_of_a_dump(run: Run, registry: DemoRegistry, database: Path, name: str) -> None:
    done = run("list", name, registry=registry, **PAGES)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == lines_of(database, name)


def test_work_items_by_either_name(run: Run, registry: DemoRegistry, database: Path) -> None:
    assert run("list", "work_items", registry=registry).stdout == lines_of(database, "items")


def test_json_is_one_array_and_csv_has_a_row_for_each(run: Run, registry: DemoRegistry, database: Path) -> None:
    rows = list(records(database, "files"))
    for flags in (["--json"], ["--format", "json"]):
        assert json.loads(run("list", "files", *flags, registry=registry, **PAGES).stdout) == rows
    text = run("list", "files", "--format", "csv", registry=registry, **PAGES).stdout
    assert text.count("\n") == len(rows) + 1, "no cell has a line break"
    table = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["id"]) for row in table] == [row["id"] for row in rows]
    assert list(table[0]) == list(rows[0])
    table_text = run("list", "files", "--format", "table", registry=registry, **PAGES).stdout
    assert len(table_text.splitlines()) == len(rows) + 1


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("ndjson", ""),
        ("json", "[\n]\n"),
        ("csv", ",".join(RESOURCES["objects"].fields) + "\n"),
        ("table", "id  identifier  title  state  storage option  file count  size  updated at\n"),
    ],
)
def test_nothing_found(run: Run, registry: DemoRegistry, form: str, expected: str) -> None:
    done = run("list", "objects", "identifier=a.edu/none", "--format", form, registry=registry)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def test_fields_in_the_order_asked_for(run: Run, registry: DemoRegistry, database: Path) -> None:
    done = run("list", "objects", "--fields", "state, id", "--limit", "3", registry=registry)
    rows = list(records(database, "objects"))[:3]
    assert done.stdout == "".join(f'{{"state":"{row["state"]}","id":{row["id"]}}}\n' for row in rows)


def test_sort_and_limit(run: Run, registry: DemoRegistry, database: Path) -> None:
    arguments = ["list", "objects", "--sort", "id__desc", "--limit", "25", "--fields", "id"]
    found = [json.loads(line)["id"] for line in run(*arguments, registry=registry, **PAGES).stdout.splitlines()]
    assert found == [row["id"] for row in records(database, "objects")][:-26:-1]
    assert registry.stats.requests == 2


@pytest.mark.parametrize("name", ["object", "object_identifier", "intellectual_object_identifier"])
@pytest.mark.parametrize("resource", ["files", "checksums", "events"])
def test_what_belongs_to_an_object(run: Run, registry: DemoRegistry, database: Path, resource: str, name: str) -> None:
    owner = list(records(database, "objects"))[5]
    done = run("list", resource, f"{name}={owner['identifier']}", registry=registry)
    theirs = [row for row in records(database, resource) if row["intellectual_object_id"] == owner["id"]]
    assert [json.loads(line) for line in done.stdout.splitlines()] == theirs
    own_filter = resource == "events" and name == "intellectual_object_identifier"
    assert registry.stats.requests == (1 if own_filter else 2)


def test_an_object_that_does_not_exist(run: Run, registry: DemoRegistry) -> None:
    done = run("list", "files", "object=a.edu/\x1b[2Jnone", registry=registry)
    assert (done.returncode, done.stdout) == (1, "")
    line = only_line(done.stderr)
    assert "no such intellectual object" in line
    assert "\x1b" not in line


def test_plain_dates_reach_the_registry_as_times(run: Run, registry: DemoRegistry) -> None:
    done = run("list", "events", "date_time__gteq=10000d", "date_time__lteq=2090-01-01", registry=registry)
    assert done.returncode == 0
    assert done.stdout
    assert "date_time__gteq=1999-" in registry.stats.log[0]
    assert "date_time__lteq=2090-01-01&" in registry.stats.log[0]


def test_the_first_line_is_out_before_the_second_page_is_asked_for(registry: DemoRegistry, tmp_path: Path) -> None:
    """The second page never comes: all that is read here came before it."""
    registry.add_fault(Fault("stall", path="page=2&", times=None, seconds=600))
    with running("list", "files", registry=registry, cwd=tmp_path, **PAGES) as process:
        assert process.stdout is not None
        taken = [process.stdout.readline() for _ in range(20)]
    assert [json.loads(line)["id"] for line in taken]


@pytest.mark.parametrize("fields", ["id", "id,identifier,md5,sha256,uuid"])
@pytest.mark.parametrize("form", ["ndjson", "table"])
def test_head_ends_it_after_one_page(run: Run, registry: DemoRegistry, tmp_path: Path, fields: str, form: str) -> None:
    """Also where the first page fits into the pipe, and the writing of it does not fail."""
    listing = f"harvester list files --format {form} --fields {fields} | head -1"
    pages = {"HARVESTER_PER_PAGE": "50", "HARVESTER_RATE": "5"}
    done = in_bash(f'{listing}; echo "${{PIPESTATUS[0]}}"', registry=registry, cwd=tmp_path, **pages)
    line, code = done.stdout.splitlines()
    assert line
    assert (code, done.stderr) == ("0", "")
    assert registry.stats.by_path["files"] == 1


def test_ctrl_c_is_one_line_and_promises_nothing(registry: DemoRegistry, tmp_path: Path) -> None:
    registry.add_fault(Fault("stall", path="page=2&", times=None, seconds=600))
    with running("list", "files", registry=registry, cwd=tmp_path, **PAGES) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert only_line(said) == "harvester: stopped by SIGINT"


@pytest.mark.parametrize("rows", [1, 1000])
def test_a_reader_that_has_gone_before_anything_was_written(registry: DemoRegistry, tmp_path: Path, rows: int) -> None:
    """A short page fits into Python's buffer, a long one does not."""
    command = f'harvester list events --limit {rows} | true; echo "${{PIPESTATUS[0]}}"'
    done = in_bash(command, registry=registry, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("0\n", "")
    assert registry.stats.by_path["events"] == 1


def test_a_disk_that_is_full_is_no_end_of_reading(registry: DemoRegistry, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = writing_to(full, "list", "objects", registry=registry, cwd=tmp_path)
    assert done.returncode == 1
    assert "No space left" in only_line(done.stderr)


def test_a_list_that_the_registry_fails_to_count(run: Run, changing: InThread, tmp_path: Path) -> None:
    database = tmp_path / "registry.sqlite"
    for change in (
        PutNull("events", "outcome", next(records(database, "events"))["id"]),
        PutNull("files", "state", next(records(database, "files"))["id"]),
    ):
        changing.call(changing.registry.changes.apply(change))
    for name in ("events", "files"):
        done = run("list", name, registry=changing.registry, **PAGES)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == lines_of(database, name)
    done = run("list", "events", "--sort", "date_time__desc", registry=changing.registry)
    assert done.returncode == 1
    assert "without --sort" in only_line(done.stderr)


def test_a_list_that_changes_in_the_order_asked_for(run: Run, changing: InThread) -> None:
    arguments = ["list", "objects", "--sort", "updated_at__asc", "--json"]
    (oldest,) = json.loads(run(*arguments, "--limit", "1", registry=changing.registry).stdout)
    changing.registry.changes.schedule(UpdateObject(oldest["id"]), after=1, path="/objects")
    done = run(*arguments, registry=changing.registry, **PAGES)
    assert done.returncode == 5
    assert "1 of 40 are missing" in only_line(done.stderr)
    assert not is_json(done.stdout)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


TROUBLE = [
    (Fault("status", status=500), 4, "pool timeout"),
    (Fault("status", status=503), 4, "503"),
    (Fault("reset"), 4, "connection"),
    (Fault("maintenance", seconds=3600), 4, "maintenance"),
    (Fault("unauthorized"), 4, "outage"),
    (Fault("truncated"), 4, "cut short"),
    (Fault("redirect"), 1, "redirected"),
]
AFTERWARDS = {"HARVESTER_RETRY_BUDGET": "0.05", "HARVESTER_MAINTENANCE_PATIENCE": "0.1", **PAGES}


@pytest.mark.parametrize(("fault", "code", "named"), TROUBLE, ids=[case[0].kind for case in TROUBLE])
def test_trouble_after_the_first_page(run: Run, registry: DemoRegistry, fault: Fault, code: int, named: str) -> None:
    registry.add_fault(replace(fault, after=1, times=None))
    done = run("list", "files", "--quiet", registry=registry, **AFTERWARDS)
    assert done.returncode == code
    assert named in only_line(done.stderr)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 20


@pytest.mark.parametrize(("form", "lines"), [("json", 21), ("csv", 21), ("table", 21)])
def test_what_was_cut_short_is_not_taken_for_whole(run: Run, registry: DemoRegistry, form: str, lines: int) -> None:
    registry.add_fault(Fault("status", status=500, after=1, times=None))
    done = run("list", "files", "--format", form, "--fields", "id,state", registry=registry, **AFTERWARDS)
    assert done.returncode == 4
    assert len(done.stdout.splitlines()) == lines
    assert not is_json(done.stdout)


def in_terminal(arguments: list[str], registry: DemoRegistry, cwd: Path) -> str:
    """What a terminal of 100 columns gets to show."""
    shown = on_terminal(*arguments, cwd=cwd, env=environment(registry, TZ="UTC"), columns=100)
    assert shown.code == 0, shown.sent
    return shown.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["files"], "20 of {files} files"),
        (["files", "--limit", "40"], "20 of 40 files"),
        (["files", "--sort", "size"], "20 of {files} files"),
        (["events"], "20 of {events} events"),
    ],
)
def test_while_a_file_is_filled_the_terminal_says_how_far_it_is(
    registry: DemoRegistry, database: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    said = said.format(**{name: f"{sum(1 for _ in records(database, name)):,}" for name in ("files", "events")})
    registry.add_fault(Fault("stall", path="page=2&", times=None, seconds=600))
    with (
        (tmp_path / "rows").open("w") as rows,
        at_a_terminal(
            "list", *arguments, env=environment(registry, **PAGES), cwd=tmp_path, stdout=rows.fileno()
        ) as screen,
    ):
        screen.until(said)
        screen.interrupt()
        assert screen.end() == 130
    assert screen.plain.rstrip().endswith("harvester: stopped by SIGINT")
    assert screen.shown.rfind("\x1b[2K") > screen.shown.rfind(said), "it is erased"
    assert (tmp_path / "rows").read_text().count("\n") == 20


@pytest.mark.parametrize(("to", "live", "told"), [("file", True, True), ("file", False, False), ("pipe", True, False)])
async def test_how_far_a_list_is_is_told_only_where_that_disturbs_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, live: bool, told: bool
) -> None:
    """A pipe may lead to a pager on the same terminal. Not live are --quiet, a log, JSON."""
    calls: list[str] = []

    @contextlib.asynccontextmanager
    async def telling(sentence: Callable[[], str]) -> AsyncIterator[None]:
        calls.append(sentence())
        yield

    terminal = Terminal(verbose=0, quiet=False)
    monkeypatch.setattr(terminal, "live", live)
    monkeypatch.setattr(terminal, "telling", telling)
    reading, writing = os.pipe()
    with open(reading), open(writing, "w") as pipe, (tmp_path / "rows").open("w") as file:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", {"file": file, "pipe": pipe}[to])
        async with terminal.filling(lambda: "1 of 2 rows"):
            pass
    assert calls == (["1 of 2 rows"] if told else [])


@pytest.mark.parametrize(
    ("total", "limit", "read", "said"),
    [
        (0, None, 0, "0 of 0 files"),
        (2345, None, 1000, "1,000 of 2,345 files"),
        (2345, 1500, 1000, "1,000 of 1,500 files"),
        (10, None, 1000, "1,000 files"),  # what the Registry last counted an hour ago
    ],
)
def test_how_far_a_list_has_come(total: int, limit: int | None, read: int, said: str) -> None:
    rows = Rows("files", limit)
    rows.counted(total)
    rows.read = read
    assert str(rows) == said


@pytest.mark.parametrize("name", RESOURCES)
def test_a_terminal_gets_a_table_that_fits(registry: DemoRegistry, database: Path, tmp_path: Path, name: str) -> None:
    said = in_terminal(["list", name], registry, tmp_path)
    assert shows_as_it_is(said)
    assert len(said.splitlines()) == 1 + sum(1 for _ in records(database, name))
    assert all(cell_len(line) <= 100 for line in said.splitlines())


def shows_as_it_is(text: str) -> bool:
    return all(unicodedata.category(c)[0] not in "C" for c in text.replace("\n", ""))


@pytest.mark.parametrize("form", ["ndjson", "json", "csv"])
def test_what_the_demo_holds_of_nasty_text_cannot_drive_the_terminal(
    registry: DemoRegistry, database: Path, tmp_path: Path, form: str
) -> None:
    rows = list(records(database, "objects"))
    assert not all(row["title"].isprintable() for row in rows), "there is some"
    said = in_terminal(["list", "objects", "--format", form], registry, tmp_path)
    assert shows_as_it_is(said)
    if form == "csv":
        assert [int(row["id"]) for row in csv.DictReader(said.splitlines())] == [row["id"] for row in rows]
    else:
        assert (json.loads(said) if form == "json" else [json.loads(line) for line in said.splitlines()]) == rows


BAD: list[tuple[list[str], int, str]] = [
    (["flies"], 2, "did you mean 'files'?"),
    ([], 2, "RESOURCE"),
    (["files", "sate=A"], 2, "did you mean 'state'"),
    (["files", "size__gteq=big"], 2, "size__gteq"),
    (["files", "created_at__gteq=soon"], 2, "created_at__gteq"),
    (["files", "state="], 2, "without a value"),
    (["files", "--sort", "colour"], 2, "--sort"),
    (["files", "--sort", "size__down"], 2, "size__asc or size__desc"),
    (["objects", "--sort", "titel"], 2, "sorted by"),
    (["files", "--fields", "id,sha265"], 2, "did you mean 'sha256'?"),
    (["files", "--limit", "0"], 2, "--limit"),
    (["files", "--format", "xml"], 2, "--format"),
    (["files", "--format", "csv", "--json"], 2, "--json"),
    (["files", "institution_id=3"], 3, "institution"),
]


@pytest.mark.parametrize(("arguments", "code", "named"), BAD, ids=[" ".join(case[0]) or "nothing" for case in BAD])
def test_bad_input_gets_one_line_and_is_not_sent(
    run: Run, registry: DemoRegistry, arguments: list[str], code: int, named: str
) -> None:
    done = run("list", *arguments, registry=registry)
    assert (done.returncode, done.stdout) == (code, "")
    assert named in only_line(done.stderr)
    assert registry.stats.requests == (code == 3)


def test_wrong_credentials(run: Run, registry: DemoRegistry) -> None:
    for command in ("list", "count"):
        done = run(command, "files", registry=registry, APTRUST_REGISTRY_API_KEY="wrong")
        assert (done.returncode, done.stdout) == (3, "")
        assert "missing or invalid" in only_line(done.stderr)
        assert API_KEY not in done.stderr
