"""`harvester restore`: confirmed, explained, followed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harvester.cli.restore import description
from harvester.demo import (
    ADMIN_EMAIL,
    API_KEY,
    CollectionSpec,
    DemoRegistry,
    InsertItem,
    RequestRestoration,
    SoftDeleteObject,
    UpdateItem,
    build,
    records,
)
from tests.cli.conftest import Run, environment, running
from tests.cli.test_items_command import EVERY, Works, heard
from tests.terminal import at_a_terminal

ADMIN = {"APTRUST_REGISTRY_EMAIL": ADMIN_EMAIL}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection without any work under way."""
    path = tmp_path_factory.mktemp("calm") / "registry.sqlite"
    build(path, CollectionSpec(objects=12, files_per_object=3.0, events_per_file=1, work_items=0))
    return path


@pytest.fixture
def works(calm: Path, tmp_path: Path) -> Iterator[Works]:
    server = Works(Path(shutil.copy(calm, tmp_path / "works.sqlite")))
    yield server
    server.stop()


@pytest.fixture
def target(calm: Path) -> dict[str, Any]:
    return next(row for row in records(calm, "objects") if row["state"] == "A" and row["storage_option"] == "Standard")


def posts(registry: DemoRegistry) -> int:
    return sum("init_restore" in line for line in registry.stats.log)


def test_an_administrator_asks_for_a_restoration(run: Run, works: Works, target: dict[str, Any]) -> None:
    done = run("restore", target["identifier"], "--yes", registry=works.registry, **ADMIN)
    made = json.loads(done.stdout)
    assert (made["intellectual_object_id"], made["stage"]) == (target["id"], "Requested")
    assert done.stderr == f"asked for: Restore Object of {target['identifier']} (work item {made['id']})\n"
    assert done.returncode == 0


def test_without_a_terminal_it_must_be_confirmed_in_the_command(run: Run, works: Works) -> None:
    done = run("restore", "1", registry=works.registry, **ADMIN)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    assert works.registry.stats.requests == 0


def test_a_member_is_told_where_to_do_it(run: Run, works: Works, target: dict[str, Any]) -> None:
    done = run("restore", str(target["id"]), "--yes", registry=works.registry)
    assert (done.returncode, done.stdout) == (3, "")
    (said,) = done.stderr.splitlines()
    assert said.endswith(f"in the web interface, at {works.registry.url}/objects/show/{target['id']}")
    assert posts(works.registry) == 1


@pytest.mark.parametrize("key", ["999999", "institution1.edu/no such bag"])
def test_an_unknown_object_is_one_line(run: Run, works: Works, key: str) -> None:
    done = run("restore", key, "--yes", registry=works.registry, **ADMIN)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert posts(works.registry) == 0


def test_what_is_deleted_is_not_asked_for(run: Run, works: Works, target: dict[str, Any]) -> None:
    works.call(works.registry.changes.apply(SoftDeleteObject(target["id"])))
    done = run("restore", str(target["id"]), "--yes", registry=works.registry, **ADMIN)
    assert done.returncode == 1
    assert "deleted" in done.stderr
    assert posts(works.registry) == 0


def test_the_work_in_the_way_is_named(run: Run, works: Works, target: dict[str, Any]) -> None:
    number = works.do(RequestRestoration(target["id"]))
    works.do(UpdateItem(number, stage="Restoring", status="Started"))
    done = run("restore", str(target["id"]), "--yes", registry=works.registry, **ADMIN)
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert f"Restore Object of {target['identifier']} (work item {number}) is under way: Restoring, Started" in said
    assert f"harvester items intellectual_object_id={target['id']} --until-done" in said


@pytest.mark.parametrize(("status", "code"), [("Success", 0), ("Failed", 1)])
def test_it_is_followed_to_its_end(
    works: Works, tmp_path: Path, target: dict[str, Any], status: str, code: int
) -> None:
    arguments = ("restore", str(target["id"]), "--yes", "--wait", *EVERY)
    with running(*arguments, registry=works.registry, cwd=tmp_path, **ADMIN) as process:
        assert process.stdout is not None
        made = json.loads(process.stdout.readline())
        works.do(UpdateItem(made["id"], stage="Restoring", status="Started"))
        assert heard(process).endswith(": Restoring, Started (was Requested, Pending)")
        works.do(UpdateItem(made["id"], status=status))
        process.communicate(timeout=60)
        assert process.returncode == code


@pytest.mark.parametrize("other", [False, True])
def test_with_wait_the_work_in_the_way_is_followed(
    works: Works, tmp_path: Path, target: dict[str, Any], other: bool
) -> None:
    bag = InsertItem(f"{target['bag_name']}.tar", status="Started")
    number = works.do(bag if other else RequestRestoration(target["id"]))
    arguments = ("restore", str(target["id"]), "--yes", "--wait", *EVERY)
    with running(*arguments, registry=works.registry, cwd=tmp_path, **ADMIN) as process:
        assert process.stderr is not None
        assert f"(work item {number}) is under way" in process.stderr.readline()
        works.do(UpdateItem(number, status="Success"))
        _, said = process.communicate(timeout=60)
        assert process.returncode == (1 if other else 0)
        assert ("has not been asked for; ask again" in said) is other


@pytest.mark.parametrize(("answer", "code", "requests"), [("y", 0, 1), ("n", 1, 0), ("", 1, 0)])
def test_at_a_terminal_it_asks_first(
    works: Works, tmp_path: Path, target: dict[str, Any], answer: str, code: int, requests: int
) -> None:
    env = environment(works.registry, XDG_CONFIG_HOME=str(tmp_path / "xdg"), **ADMIN)
    with at_a_terminal("restore", str(target["id"]), env=env, cwd=tmp_path, columns=200) as screen:
        screen.until("Restore it? [y/N]")
        assert f"identifier  {target['identifier']}" in screen.plain
        assert posts(works.registry) == 0
        screen.type(f"{answer}\n")
        assert screen.end() == code
        assert ("asked for: Restore Object" in screen.plain) is bool(requests)
        assert posts(works.registry) == requests


def test_what_it_asks_is_a_line_of_a_log_where_that_is_json(
    works: Works, tmp_path: Path, target: dict[str, Any]
) -> None:
    env = environment(works.registry, XDG_CONFIG_HOME=str(tmp_path / "xdg"), **ADMIN)
    wanted = ("restore", str(target["id"]), "--log-format", "json")
    with at_a_terminal(*wanted, env=env, cwd=tmp_path, columns=200) as screen:
        question = '"message":"Restore it? [y/N]:"}\n'  # to the end of its line, or what is typed stands in it
        screen.until_true(lambda: question in screen.text, "the question")
        screen.type("perhaps\n")
        screen.until_true(lambda: screen.text.count(question) == 2, "the question again")
        screen.type("no\n")
        assert screen.end() == 1
    said = [line for line in screen.plain.splitlines() if line not in ("perhaps", "no")]
    assert [json.loads(line)["level"] for line in said] == ["INFO"] * 6


def test_the_work_in_the_way_is_offered_at_a_terminal(works: Works, tmp_path: Path, target: dict[str, Any]) -> None:
    works.do(RequestRestoration(target["id"]))
    env = environment(works.registry, XDG_CONFIG_HOME=str(tmp_path / "xdg"), **ADMIN)
    with at_a_terminal("restore", str(target["id"]), "--wait", env=env, cwd=tmp_path, columns=200) as screen:
        screen.until("Restore it? [y/N]")
        screen.type("y\n")
        screen.until("Follow it? [Y/n]")
        screen.type("n\n")
        assert screen.end() == 1


def test_whoever_leaves_a_watch_is_told_that_the_work_goes_on(
    works: Works, tmp_path: Path, target: dict[str, Any]
) -> None:
    env = environment(works.registry, XDG_CONFIG_HOME=str(tmp_path / "xdg"), **ADMIN)
    arguments = ("restore", str(target["id"]), "--yes", "--wait", *EVERY)
    with at_a_terminal(*arguments, env=env, cwd=tmp_path, columns=200) as screen:
        screen.until("1 work item  1 pending")
        screen.interrupt()
        assert screen.end() == 130
        assert "it goes on without us: work item 1" in screen.plain


def test_a_description_warns_of_glacier_and_cannot_drive_the_terminal() -> None:
    nasty = {"identifier": "a\x1b[2J", "title": "b\n\u202ec", "file_count": 1234, "size": 5 << 30}
    plain = description({**nasty, "storage_option": "Standard"})
    cold = description({**nasty, "storage_option": "Glacier-Deep-OR"})
    assert plain == [
        r"identifier  a\x1b[2J",
        r"title       b\x0a\u202ec",
        "files       1,234, 5.0 GiB",
        "storage     Standard",
    ]
    assert len(cold) == 5
    assert "hours" in cold[-1]


def test_the_key_is_asked_for_once(run: Run, works: Works, tmp_path: Path, target: dict[str, Any]) -> None:
    """A password manager may want to be touched for it, and a restoration takes several questions."""
    command = tmp_path / "manager"
    command.write_text(f"#!/bin/sh\necho touched >> {tmp_path}/touches\necho {API_KEY}\n")
    command.chmod(0o700)
    with_command = {"APTRUST_REGISTRY_API_KEY": "", "HARVESTER_API_KEY_COMMAND": str(command), **ADMIN}
    done = run("restore", str(target["id"]), "--yes", registry=works.registry, **with_command)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "touches").read_text() == "touched\n"
