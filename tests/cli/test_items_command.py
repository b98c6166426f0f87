"""`harvester items` as people and scripts run it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from harvester.ask import Change, Watch
from harvester.cli.watch import age, board, line
from harvester.demo import DemoRegistry, Fault, InsertItem, PutNull, UpdateItem, records
from harvester.demo.changes import Change as Order
from harvester.registry import RegistryClient
from tests.cli.conftest import InThread, Run, environment, running
from tests.terminal import at_a_terminal, plain

EVERY = ("--every", "0.02")
NASTY = "\x1b]0;title\a\x1b[2J\u202egnp.exe\nline"


class Works(InThread):
    """A Registry whose work items move when they are told to."""

    def do(self, order: Order) -> int:
        return self.call(self.registry.changes.apply(order))["items"][0]


@pytest.fixture
def works(database: Path, tmp_path: Path) -> Iterator[Works]:
    server = Works(Path(shutil.copy(database, tmp_path / "works.sqlite")))
    yield server
    server.stop()


def heard(process: subprocess.Popen[str]) -> str:
    """Its next line, without the time it begins with."""
    assert process.stdout is not None
    text = process.stdout.readline()
    assert re.match(r"\d\d:\d\d:\d\d ", text), text
    return text[9:-1]


def test_work_items_newest_first_as_the_registry_gives_them(run: Run, registry: DemoRegistry, database: Path) -> None:
    done = run("items", "action=Ingest", "--limit", "7", registry=registry)
    rows = [json.loads(text) for text in done.stdout.split("\n")[:-1]]
    held = [row for row in records(database, "items") if row["action"] == "Ingest"]
    assert rows == sorted(held, key=lambda row: row["date_processed"].rstrip("Z"), reverse=True)[:7]
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_done_for_one_object(run: Run, registry: DemoRegistry, database: Path) -> None:
    held = [row for row in records(database, "items") if row["object_identifier"]]
    identifier = held[0]["object_identifier"]
    done = run("items", f"object={identifier}", "--sort", "id", "--json", registry=registry)
    assert json.loads(done.stdout) == [row for row in held if row["object_identifier"] == identifier]
    assert run("items", "object=a.edu/none", registry=registry).returncode == 1


def test_items_that_the_registry_fails_to_count(run: Run, works: Works, database: Path) -> None:
    works.call(works.registry.changes.apply(PutNull("items", "action", next(records(database, "items"))["id"])))
    done = run("items", registry=works.registry)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "; with --sort id they can be listed, with date_processed__gteq=1900-01-01 in this order too\n" in done.stderr
    )
    for mend in (["--sort", "id"], ["date_processed__gteq=1900-01-01"]):
        done = run("items", *mend, registry=works.registry)
        assert (done.returncode, done.stdout.count("\n")) == (0, sum(1 for _ in records(database, "items")))


@pytest.mark.parametrize("form", ["ndjson", "csv", "table"])
def test_fields_in_the_order_asked_for(run: Run, registry: DemoRegistry, database: Path, form: str) -> None:
    arguments = ["items", "--sort", "id", "--limit", "2", "--fields", "status,id", "--format", form]
    lines = run(*arguments, registry=registry).stdout.splitlines()
    rows = list(records(database, "items"))[:2]
    if form == "ndjson":
        assert [list(json.loads(line).items()) for line in lines] == [
            [("status", row["status"]), ("id", row["id"])] for row in rows
        ]
    else:
        assert lines[0].replace(",", " ").split() == ["status", "id"]
        assert [line.replace(",", " ").split() for line in lines[1:]] == [[r["status"], str(r["id"])] for r in rows]


def test_all_of_them_by_id(run: Run, registry: DemoRegistry, database: Path) -> None:
    done = run("items", "--sort", "id", "--json", HARVESTER_PER_PAGE="30", registry=registry)
    assert json.loads(done.stdout) == list(records(database, "items"))


def test_a_table_says_how_old_and_what_about(run: Run, works: Works) -> None:
    works.do(InsertItem("fresh.tar", note=NASTY))
    done = run("items", "--report", "inprocess", "--format", "table", registry=works.registry)
    heading, row = done.stdout.splitlines()
    assert heading.split() == ["id", "moved", "action", "stage", "status", "name", "note"]
    assert re.search(r"\d+s +Ingest  Receive  Pending  fresh\.tar  \\x1b\]0;title\\x07\\x1b\[2J\\u202egnp", row)


def test_reports_look_back_thirty_days_unless_told_otherwise(run: Run, works: Works, database: Path) -> None:
    number = works.do(InsertItem("bad.tar", status="Failed"))
    recent = run("items", "--report", "problems", registry=works.registry)
    assert [json.loads(text)["id"] for text in recent.stdout.split("\n")[:-1]] == [number]
    ever = run("items", "--report", "problems", "--since", "2000-01-01", registry=works.registry)
    bad = [row for row in records(database, "items") if row["status"] in ("Failed", "Cancelled", "Suspended")]
    assert ever.stdout.count("\n") == len(bad) + 1
    since = datetime.now(UTC) - timedelta(days=4 * 365)
    assert any(row["date_processed"] < since.isoformat() for row in bad)
    filtered = run("items", "--report", "problems", "date_processed__gteq=4y", registry=works.registry)
    assert 1 <= filtered.stdout.count("\n") <= len(bad)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "last week"), "'last week' is no date; 2026-01-31"),
        (("--report", "inprocess", "status__in=Failed"), "says status__in itself"),
        (("--report", "broken"), "broken"),
        (("statu=Failed",), "did you mean 'status'?"),
        (("--sort", "nam"), "did you mean 'name'?"),
        (("--json", "--format", "csv"), "not together"),
        (("--watch", "--format", "csv"), "for lists"),
        (("--until-done", "--limit", "3"), "for lists"),
        (("--until-done", "--sort", "id"), "for lists"),
        (("--watch", "--fields", "id"), "for lists"),
        (("--fields", "id,nam"), "did you mean 'name'?"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is(
    run: Run, registry: DemoRegistry, arguments: tuple[str, ...], said: str
) -> None:
    done = run("items", *arguments, registry=registry)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert registry.stats.requests == 0


def test_a_script_waits_for_an_ingest(works: Works, tmp_path: Path) -> None:
    number = works.do(InsertItem("a.tar"))
    with running("items", "name=a.tar", "--until-done", *EVERY, registry=works.registry, cwd=tmp_path) as process:
        assert heard(process) == f"Ingest of a.tar (work item {number}): Receive, Pending"
        works.do(UpdateItem(number, stage="Store", status="Started"))
        assert heard(process) == f"Ingest of a.tar (work item {number}): Store, Started (was Receive, Pending)"
        works.do(UpdateItem(number, stage="Cleanup", status="Success"))
        assert heard(process) == f"Ingest of a.tar (work item {number}): Cleanup, Success (was Store, Started)"
        out, said = process.communicate(timeout=60)
        assert (out, said) == ("", "all done: 1 succeeded, 0 did not\n")
        assert process.returncode == 0


def test_what_fails_is_told_with_its_note_and_the_exit_code(works: Works, tmp_path: Path) -> None:
    bad, late = works.do(InsertItem("bad.tar")), works.do(InsertItem("late.tar"))
    with running("items", "--until-done", *EVERY, registry=works.registry, cwd=tmp_path) as process:
        heard(process), heard(process)
        works.do(UpdateItem(bad, status="Failed", note=f"Bag is not valid {NASTY}"))
        assert heard(process).endswith(
            r"(was Receive, Pending): Bag is not valid \x1b]0;title\x07\x1b[2J\u202egnp.exe\x0aline"
        )
        works.do(UpdateItem(late, status="Suspended"))
        assert heard(process).startswith("Ingest of late.tar")
        works.do(UpdateItem(late, status="Success"))
        heard(process)
        _, said = process.communicate(timeout=60)
        suspended, summary, failed = said.splitlines()
        assert (
            suspended == f"Ingest of late.tar (work item {late}) is suspended: it goes on when a person has seen to it"
        )
        assert summary == "all done: 1 succeeded, 1 did not"
        assert failed.startswith(f"failed: Ingest of bad.tar (work item {bad}), in Receive: Bag is not valid \\x1b")
        assert process.returncode == 1


def test_for_scripts_each_change_is_the_record(works: Works, tmp_path: Path) -> None:
    number = works.do(InsertItem("a.tar"))
    with running("items", "--until-done", "--json", *EVERY, registry=works.registry, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "Pending"
        works.do(UpdateItem(number, status="Cancelled"))
        out, _ = process.communicate(timeout=60)
        (ended,) = [row for row in records(works.registry._database, "items") if row["id"] == number]
        assert [json.loads(text) for text in out.splitlines()] == [ended]
        assert process.returncode == 1


def test_a_bag_that_is_not_there_is_not_done(run: Run, registry: DemoRegistry) -> None:
    """`harvester items name=a.tar --until-done --quiet && rm a.tar` must not remove it for a slip of the pen."""
    done = run("items", "name=nothing.tar", "--until-done", "--quiet", registry=registry)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("harvester: name=nothing.tar: there is no such work item; harvester items shows")
    done = run("items", "name=nothing.tar", "--report", "inprocess", "--until-done", registry=registry)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("arguments", [("status=Pending",), ("--report", "inprocess"), ("--since", "1h")])
def test_a_bag_of_which_nothing_is_asked_for_any_more_is_done(
    run: Run, registry: DemoRegistry, database: Path, arguments: tuple[str, ...]
) -> None:
    under_way = {row["name"] for row in records(database, "items") if row["status"] != "Success"}
    name = next(row["name"] for row in records(database, "items") if row["name"] not in under_way)
    done = run("items", f"name={name}", *arguments, "--until-done", registry=registry)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no work item matches: nothing to watch\n")


@pytest.mark.parametrize(
    "arguments", [("name=nothing.tar", "--watch"), ("status=Started", "size__lteq=0", "--until-done")]
)
def test_nothing_to_watch_is_said_and_no_failure(run: Run, registry: DemoRegistry, arguments: tuple[str, ...]) -> None:
    done = run("items", *arguments, registry=registry)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no work item matches: nothing to watch\n")


def test_an_outage_ends_a_watch_when_patience_does(works: Works, tmp_path: Path) -> None:
    works.do(InsertItem("a.tar"))
    with running("items", "--watch", *EVERY, registry=works.registry, cwd=tmp_path) as process:
        heard(process)
        works.registry.add_fault(Fault("reset", times=None))
        _, said = process.communicate(timeout=60)
        assert process.returncode == 4
        assert said.splitlines()[-1].startswith("harvester: http")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_watch_is_left_quietly(works: Works, tmp_path: Path, number: int, code: int) -> None:
    works.do(InsertItem("a.tar"))
    with running("items", "--watch", *EVERY, registry=works.registry, cwd=tmp_path) as process:
        heard(process)
        process.send_signal(number)
        out, said = process.communicate(timeout=60)
        assert (process.returncode, out, said) == (code, "", "")


def test_the_board_lives_marks_changes_and_leaves_the_terminal_as_it_was(works: Works, tmp_path: Path) -> None:
    first, second = works.do(InsertItem("a.tar", note=NASTY)), works.do(InsertItem(f"{NASTY}.tar"))
    env = environment(works.registry, XDG_CONFIG_HOME=str(tmp_path / "xdg"))
    with at_a_terminal("items", "--until-done", *EVERY, env=env, cwd=tmp_path, columns=160) as screen:
        screen.until("2 work items  2 pending")
        assert "»" not in screen.plain
        works.do(UpdateItem(first, stage="Validate", status="Started"))
        screen.until("»")
        assert re.search(r"\x1b\[[0-9;]*7mValidate\x1b", screen.shown)
        third = works.do(InsertItem("c.tar"))
        screen.until("+")
        for number in (first, second):
            works.do(UpdateItem(number, status="Success"))
        works.do(UpdateItem(third, status="Cancelled"))
        assert screen.end() == 1
        assert "3 work items  2 succeeded  1 cancelled" in screen.plain
        assert "all done: 2 succeeded, 1 did not" in screen.plain
        assert r"\x1b]0;title\x07\x1b[2J\u202egnp" in screen.plain
        unseen = {c for c in screen.plain if unicodedata.category(c)[0] == "C"} - set("\r\n")
        assert unseen == set()
        assert screen.shown.rindex("\x1b[?25h") > screen.shown.rindex("\x1b[?25l")
        drawn = set(re.findall(r"\x1b\[[0-9;?]*([A-Za-z])", screen.shown))
        assert drawn <= set("mAKhlGH")  # nothing clears the screen


def test_ctrl_c_leaves_the_board_standing(works: Works, tmp_path: Path) -> None:
    works.do(InsertItem("a.tar"))
    env = environment(works.registry, XDG_CONFIG_HOME=str(tmp_path / "xdg"))
    with at_a_terminal("items", "--watch", *EVERY, env=env, cwd=tmp_path) as screen:
        screen.until("1 work item  1 pending")
        screen.interrupt()
        assert screen.end() == 130
        assert "harvester:" not in screen.plain
        assert screen.shown.rindex("\x1b[?25h") > screen.shown.rindex("\x1b[?25l")


def item(number: int, **more: str) -> dict[str, str | int]:
    plain = {"name": f"{number}.tar", "action": "Ingest", "stage": "Receive", "status": "Pending", "note": ""}
    return {"id": number, "date_processed": f"2026-01-01T00:00:{number:02}Z", **plain, **more}


def drawn(items: list[dict[str, str | int]], changes: list[Change], columns: int, lines: int = 24) -> list[str]:
    console = Console(width=columns, height=lines, record=True, file=None, force_terminal=True)
    watch = Watch(RegistryClient.__new__(RegistryClient), items=items)
    with console.capture() as captured:
        console.print(board(watch, changes, Text("now"), console))
    return plain(captured.get()).splitlines()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_board_fits_the_terminal(columns: int) -> None:
    names = ("Glacier Restore", "Format Identification", "Suspended")
    wide = item(7, name="n" * 300, note="o" * 300) | dict(zip(("action", "stage", "status"), names, strict=True))
    shown = drawn([wide], [], columns)
    assert all(len(text) <= columns for text in shown)
    assert len(shown) == 4
    if columns >= 80:
        assert "Glacier Restore" in shown[2]
        assert "Suspended" in shown[2]
        assert ("note" in shown[1]) is (columns == 120)


def test_the_board_shows_what_matters_most_and_counts_the_rest() -> None:
    items = [item(n, status="Success" if n % 2 else "Started") for n in range(1, 31)]
    changed = Change(items[0], item(1, status="Started"))
    shown = drawn(items, [changed], 80, 14)
    assert len(shown) <= 14
    assert shown[-1] == "and 20 more"
    ids = [int(match.group()) for text in shown[2:-1] if (match := re.search(r"\d+", text))]
    assert ids == [30, 28, 26, 24, 22, 20, 18, 16, 14, 12]
    assert shown[0] == "30 work items  15 succeeded  15 started  now"


@pytest.mark.parametrize(
    ("ago", "said"),
    [(5, "5s"), (99, "99s"), (100, "1m"), (9000, "2h"), (5999, "99m"), (10 * 86400, "10d"), (9e8, "28y"), (-50, "0s")],
)
def test_an_age_is_short(ago: float, said: str) -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    assert age((now - timedelta(seconds=ago)).isoformat().replace("+00:00", "Z"), now) == said


def test_no_time_has_no_age() -> None:
    assert age("0001-01-01T00:00:00Z", datetime.now(UTC)) == "–"


def test_a_line_names_an_object_by_its_identifier_and_a_bag_by_its_tar_file() -> None:
    known = {"object_identifier": "a.edu/bag", "generic_file_identifier": ""}
    assert "Ingest of 1.tar (work item 1)" in line(Change(item(1, **known), None))
    assert "Delete of a.edu/bag (work item 1)" in line(Change(item(1, action="Delete", **known), None))
    known["generic_file_identifier"] = "a.edu/bag/data/x"
    assert "Delete of a.edu/bag/data/x (work item 1)" in line(Change(item(1, action="Delete", **known), None))
