"""`harvester get`, as a librarian sees it in a terminal and as a script reads it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.cells import cell_len

from harvester.demo import OTHER_EMAIL, CollectionSpec, DemoRegistry, Fault, build, records
from tests.cli.conftest import InThread, Run, environment, in_bash, killed_when_overdue
from tests.terminal import on_terminal

FILES_OF_GIANT = 30_000


def in_terminal(registry: DemoRegistry, cwd: Path, columns: int, *arguments: str, **more: str) -> list[str]:
    """The lines that a terminal of this width gets to show, as they were sent."""
    env = environment(registry, XDG_CONFIG_HOME=str(cwd / "xdg"))
    shown = on_terminal(*arguments, cwd=cwd, env=env, more=more, columns=columns)
    assert shown.code == 0, shown.sent
    return shown.text.removesuffix("\n").split("\n")


def plain(line: str) -> str:
    """A line without colours; those are the only sequences that harvester sends."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def assert_harmless(lines: list[str], columns: int) -> None:
    for line in map(plain, lines):
        assert cell_len(line) <= columns, line
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")], ascii(line)


@pytest.fixture(scope="module")
def giant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DemoRegistry, dict[str, Any]]]:
    path = tmp_path_factory.mktemp("giant") / "registry.sqlite"
    build(path, CollectionSpec(objects=3, files_per_object=1.0, largest_object=FILES_OF_GIANT, events_per_file=1))
    server = InThread(path)
    yield server.registry, max(records(path, "objects"), key=lambda row: row["file_count"])
    server.stop()


def test_a_script_gets_the_registrys_entry_byte_for_byte(run: Run, registry: DemoRegistry, database: Path) -> None:
    for resource in ("objects", "events", "items", "checksums", "deletions", "alerts"):
        for row in list(records(database, resource))[:1]:
            result = run("get", resource, str(row["id"]), registry=registry)
            assert (result.returncode, result.stderr) == (0, "")
            assert result.stdout.encode("utf-8", "surrogatepass") == orjson.dumps(row) + b"\n"


def test_a_file_comes_with_its_events_checksums_and_copies(run: Run, registry: DemoRegistry, database: Path) -> None:
    for row in list(records(database, "files"))[::40]:
        found = orjson.loads(run("get", "files", row["identifier"], registry=registry).stdout)
        events = [e["id"] for e in records(database, "events") if e["generic_file_id"] == row["id"]]
        checksums = [c["id"] for c in records(database, "checksums") if c["generic_file_id"] == row["id"]]
        assert sorted(e["id"] for e in found["premis_events"]) == events
        assert sorted(c["id"] for c in found["checksums"]) == checksums
        assert found["storage_records"]
        assert "sha256" not in found  # what the Registry does not say is not made up


@pytest.mark.parametrize("columns", [50, 80, 120])
def test_nothing_in_a_terminal_is_wider_than_it_or_drives_it(
    columns: int, registry: DemoRegistry, database: Path, tmp_path: Path
) -> None:
    nasty = [r for r in records(database, "objects") if not (r["title"] + r["identifier"]).isprintable()][:2]
    files = [f for f in records(database, "files") if not f["identifier"].isprintable()][:1]
    assert nasty
    assert files
    wanted = [("objects", row["id"]) for row in nasty] + [("files", row["id"]) for row in files]
    for resource, number in [*wanted, ("items", next(records(database, "items"))["id"])]:
        lines = in_terminal(registry, tmp_path, columns, "get", resource, str(number))
        assert_harmless(lines, columns)
        assert len(lines) > 5


def test_an_object_in_a_terminal_shows_all_its_files(registry: DemoRegistry, database: Path, tmp_path: Path) -> None:
    for row in list(records(database, "objects"))[:4]:
        files = [f for f in records(database, "files") if f["intellectual_object_id"] == row["id"]]
        names = [f["identifier"].rpartition("/")[2] for f in files]
        lines = list(map(plain, in_terminal(registry, tmp_path, 120, "get", "objects", str(row["id"]))))
        branches = [line for line in lines if re.match(r"  [│ ]*[├└]─ ", line) and "/  " not in line]
        assert len(branches) == len(files)
        for name in filter(re.compile(r"[\w.]+").fullmatch, names):
            assert any(f"─ {name} " in line for line in branches)
        assert sum(" deleted" in line for line in branches) == sum(f["state"] == "D" for f in files)
        assert any("✓ as its files add up" in line for line in lines)


def test_a_deleted_file_and_a_failure_stand_out(registry: DemoRegistry, database: Path, tmp_path: Path) -> None:
    gone = next(f for f in records(database, "files") if f["state"] == "D")
    lines = in_terminal(registry, tmp_path, 120, "get", "objects", str(gone["intellectual_object_id"]))
    assert any("\x1b[2;9m" in line and "deleted" in line for line in lines)
    failed = next(e for e in records(database, "events") if e["outcome"] == "Failure")
    lines = in_terminal(registry, tmp_path, 120, "get", "objects", str(failed["intellectual_object_id"]))
    assert any("\x1b[1;31mFailure" in line for line in lines)


def test_work_items_are_all_counted_not_only_those_under_way(run: Run, registry: DemoRegistry, database: Path) -> None:
    items = [row for row in records(database, "items") if row["intellectual_object_id"]]
    for owner in {row["intellectual_object_id"]: None for row in items[:3]}:
        theirs = [row["status"] for row in items if row["intellectual_object_id"] == owner]
        going_on = sum(status in ("Pending", "Started") for status in theirs) or "none"
        tree = run("get", "objects", str(owner), "--format", "tree", registry=registry).stdout
        assert f"\nWork items  {len(theirs)} in all  {going_on} under way\n" in tree


def test_no_color_is_obeyed(registry: DemoRegistry, tmp_path: Path) -> None:
    lines = in_terminal(registry, tmp_path, 80, "get", "objects", "1", NO_COLOR="1")
    assert not [code for line in lines for code in re.findall(r"\x1b\[([0-9;]*)m", line) if re.search(r"3\d", code)]


def test_what_is_no_terminal_gets_a_tree_without_colours(run: Run, registry: DemoRegistry) -> None:
    tree = run("get", "objects", "1", "--format", "tree", registry=registry).stdout
    assert "└─ " in tree
    assert "\x1b" not in tree
    ascii_tree = run("get", "objects", "1", "--format", "tree", registry=registry, PYTHONIOENCODING="ascii").stdout
    assert "`- " in ascii_tree
    assert ascii_tree.isascii()


def would_drive(character: str) -> bool:
    """What JSON lets through and a terminal, or whoever reads it, takes for more than a character."""
    return not character.isascii() and unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")


def test_json_in_a_terminal_is_the_same_json_and_harmless(
    registry: DemoRegistry, database: Path, tmp_path: Path
) -> None:
    hostile = [r for r in records(database, "objects") if any(map(would_drive, r["title"] + r["description"]))]
    assert hostile
    for row in hostile[:3]:
        lines = in_terminal(registry, tmp_path, 80, "get", "objects", str(row["id"]), "--format", "json")
        assert orjson.loads("\n".join(lines)) == row
        assert not [line for line in lines if any(map(would_drive, line))]


def test_a_giant_takes_a_bounded_screen_time_memory_and_requests(
    giant: tuple[DemoRegistry, dict[str, Any]], tmp_path: Path
) -> None:
    registry, largest = giant
    registry.stats.reset()
    with (tmp_path / "tree").open("wb") as out:
        command = [sys.executable, "-m", "harvester", "get", "objects", str(largest["id"]), "--format", "tree"]
        variables = environment(registry, XDG_CONFIG_HOME=str(tmp_path))
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=out, cwd=tmp_path, env=variables)
        with killed_when_overdue(process):
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = status
    tree = (tmp_path / "tree").read_text()
    assert status == 0
    assert registry.stats.requests == 15
    assert used.ru_maxrss < 160 * 1024
    assert time.monotonic() - started < 30
    assert len(tree.splitlines()) < 160
    assert "the first 10,000 of 30,000" in tree
    assert re.search(r"… [\d,]+ more files", tree)


def test_all_files_of_a_giant_are_drawn_if_asked_for(run: Run, giant: tuple[DemoRegistry, dict[str, Any]]) -> None:
    registry, largest = giant
    tree = run("get", "objects", str(largest["id"]), "--format", "tree", "--files", "all", registry=registry).stdout
    shown = [line for line in tree.splitlines() if re.match(r"  [│ ]*[├└]─ ", line) and "/  " not in line]
    assert len(shown) == FILES_OF_GIANT
    assert "✓ as its files add up" in tree
    assert "more files" not in tree


def test_a_missing_record_exits_1_and_says_where_to_look(run: Run, registry: DemoRegistry) -> None:
    result = run("get", "objects", "institution1.edu/bag_9 9\x1b[31m", registry=registry)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr
    assert "no such record" in result.stderr
    assert "identifier__starts_with=institution1.edu/" in result.stderr
    for resource in ("files", "items", "alerts"):
        assert run("get", resource, "999999", registry=registry).returncode == 1


def test_anothers_record_exits_3(run: Run, registry: DemoRegistry) -> None:
    result = run("get", "objects", "1", registry=registry, APTRUST_REGISTRY_EMAIL=OTHER_EMAIL)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (3, "", 1)
    wrong = run("get", "objects", "1", registry=registry, APTRUST_REGISTRY_API_KEY="wrong")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (3, "", 1)


def test_an_outage_exits_4(run: Run, registry: DemoRegistry) -> None:
    registry.add_fault(Fault("status", status=503, times=None))
    result = run("get", "objects", "1", "--format", "tree", registry=registry)
    assert (result.returncode, result.stdout) == (4, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fils", "1"], "did you mean 'files'?"),
        (["institution1.edu/bag_000001"], "harvester get objects institution1.edu/bag_000001"),
        (["objects"], "harvester get objects ID"),
        (["zebras", "1"], "there are objects"),
        (["items", "bag.tar"], "go by their id"),
        (["objects", "1", "--files", "-3"], "neither a number nor all"),
        (["objects", "1", "--files", "some"], "neither a number nor all"),
    ],
)
def test_a_wrong_question_is_answered_with_the_right_one(
    words: list[str], said: str, run: Run, registry: DemoRegistry
) -> None:
    result = run("get", *words, registry=registry)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert said in result.stderr
    assert registry.stats.requests == 0


@pytest.mark.parametrize("name", ["items", "work_items", "work-item", "WorkItem", "workitems", "item"])
def test_a_resource_by_any_of_its_names(name: str, run: Run, registry: DemoRegistry) -> None:
    assert run("get", name, "1", registry=registry).stdout == run("get", "items", "1", registry=registry).stdout


@pytest.mark.parametrize("key", ["id=1", "identifier=institution1.edu/bag_000001"])
def test_a_key_as_apt_cmd_has_it(key: str, run: Run, registry: DemoRegistry) -> None:
    assert run("get", "object", key, registry=registry).stdout == run("get", "objects", "1", registry=registry).stdout


def test_the_readers_leaving_ends_it_quietly(giant: tuple[DemoRegistry, dict[str, Any]], tmp_path: Path) -> None:
    registry, largest = giant
    command = f"harvester get objects {largest['id']} --format tree --files all -q | head -1"
    result = in_bash(command, registry=registry, cwd=tmp_path)
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""
