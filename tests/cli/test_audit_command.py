"""`harvester audit` as a person and a script see it: exit codes, report, JSON, and text that means harm."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harvester.ask import Answer, Audit, Concern, Finding, Rules, Status
from harvester.cli.audit import as_json
from harvester.demo import CollectionSpec, DemoRegistry, Fault, build
from tests.cli.conftest import InThread, Run, environment
from tests.terminal import on_terminal

HOSTILE = "institution1.edu/\x1b[2J\x1b]0;title\x07\nnext\r\u202egnp.exe\u2028\x85\x7f=HYPERLINK(1)"


@pytest.fixture(scope="module")
def clean_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing to be found."""
    database = tmp_path_factory.mktemp("audit") / "registry.sqlite"
    build(database, CollectionSpec(seed=8, objects=20, files_per_object=4.0, checksums=100, nasty=False))
    with closing(sqlite3.connect(database)) as db:
        db.executescript(
            f"""
            UPDATE files SET last_fixity_check = {round(datetime.now(UTC).timestamp() * 1e6)};
            UPDATE events SET outcome = 'Success';
            UPDATE objects SET state = 'D' WHERE active_files = 0;
            DELETE FROM deletions WHERE confirmed_at IS NULL AND cancelled_at IS NULL;
            UPDATE items SET status = 'Success';
            """
        )
    return database


@pytest.fixture
def clean(clean_database: Path, tmp_path: Path) -> Path:
    """The clean database, to be spoilt."""
    return Path(shutil.copy(clean_database, tmp_path / "registry.sqlite"))


@pytest.fixture
def served(clean: Path) -> Iterator[DemoRegistry]:
    """The clean database, served; what is done to the file before the first request is seen."""
    server = InThread(clean)
    yield server.registry
    server.stop()


def empty_an_object(database: Path, identifier: str) -> int:
    """Make an object one without files, with this identifier; returns its id."""
    with closing(sqlite3.connect(database)) as db, db:
        (number,) = db.execute("SELECT id FROM objects WHERE state = 'A' AND institution_id = 2 LIMIT 1").fetchone()
        db.execute("UPDATE files SET state = 'D' WHERE intellectual_object_id = ?", (number,))
        db.execute("UPDATE objects SET identifier = ? WHERE id = ?", (identifier, number))
    return int(number)


def test_a_clean_collection(run: Run, served: DemoRegistry) -> None:
    result = run("audit", registry=served)
    assert result.returncode == 0, result.stderr
    assert "9 questions answered: nothing was found" in result.stdout
    assert [line[0] for line in result.stdout.splitlines()[3:12]] == ["✓"] * 9
    assert re.fullmatch(r"asking about 20 objects and \d+ active files: about \d+ requests? more\n", result.stderr)
    assert run("audit", "--quiet", "--only", "counts", registry=served).stderr == ""


def test_json_says_the_same_to_scripts(run: Run, clean: Path, served: DemoRegistry) -> None:
    number = empty_an_object(clean, HOSTILE)
    result = run("audit", "--json", registry=served)
    assert result.returncode == 1
    content = json.loads(result.stdout)
    questions = {each["question"]: each for each in content["questions"]}
    assert list(questions) == list(Concern)
    assert (content["found"], content["complete"], content["objects"]) == (1, True, 20)
    assert content["requests"] == served.stats.requests
    found = questions["empty_objects"]
    assert (found["status"], found["count"], found["of"], found["error"]) == ("answered", 1, 20, None)
    (finding,) = found["findings"]
    assert (finding["id"], finding["identifier"]) == (number, HOSTILE)
    assert datetime.fromisoformat(finding["since"]).tzinfo == UTC


def test_a_finding_is_reported_with_what_to_do(run: Run, clean: Path, served: DemoRegistry) -> None:
    empty_an_object(clean, "institution1.edu/empty")
    result = run("audit", "--only", "empty_objects,counts", registry=served)
    assert result.returncode == 1
    assert "✗ objects without files                   1 of 20" in result.stdout
    assert re.search(
        r"^objects without files: 1\n  \d{4}-\d\d-\d\d  institution1.edu/empty  \S+\n  → ", result.stdout, re.M
    )
    assert "2 questions answered: 1 finding in 1 of them" in result.stdout


def test_what_cannot_be_answered_is_said_and_the_rest_is_answered(run: Run, clean: Path, served: DemoRegistry) -> None:
    served.add_fault(Fault("status", path="/deletions?", status=500, times=None))
    result = run("audit", registry=served)
    assert result.returncode == 5
    assert "? deletions waiting for confirmation      not answered" in result.stdout
    assert "pg: connection pool timeout" in result.stdout
    assert "8 questions answered: nothing was found; 1 question not" in result.stdout
    content = json.loads(run("audit", "--json", registry=served).stdout)
    (failed,) = (each for each in content["questions"] if each["status"] == "failed")
    assert (failed["question"], failed["count"], content["complete"]) == ("deletions", None, False)
    assert "pg: connection pool timeout" in failed["error"]
    empty_an_object(clean, "institution1.edu/empty")
    assert run("audit", registry=served).returncode == 1


def test_deletions_are_not_asked_of_a_slice(run: Run, served: DemoRegistry) -> None:
    result = run("audit", "state=A", registry=served)
    assert result.returncode == 0, result.stderr
    assert "- deletions waiting for confirmation      not asked" in result.stdout
    assert "/deletions" not in " ".join(served.stats.log)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "emty_objects"), "did you mean 'empty_objects'?"),
        (("--only", ","), "no question is named"),
        (("--max-fixity-age", "soon"), "--max-fixity-age: 'soon' is no age"),
        (("--max-fixity-age", "99999y"), "is no age"),
        (("--stalled-after", "7"), "--stalled-after: '7' is no age"),
        (("bogus=1",), "no filter of this name"),
        (("--limit", "0"), "greater than or equal to 1"),
        (("--limit", "1001"), "less than or equal to 1000"),
    ],
)
def test_what_is_wrong_with_the_command_is_said_before_anything_is_asked(
    run: Run, served: DemoRegistry, arguments: tuple[str, ...], words: str
) -> None:
    result = run("audit", *arguments, registry=served)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert served.stats.requests == 0


def test_without_a_registry_there_is_no_audit(run: Run, served: DemoRegistry) -> None:
    assert run("audit", registry=served, APTRUST_REGISTRY_API_KEY="wrong").returncode == 3
    served.add_fault(Fault("status", status=500, times=None))
    result = run("audit", registry=served)
    assert (result.returncode, result.stdout) == (4, "")


def at_a_terminal(registry: DemoRegistry, directory: Path, columns: int, *arguments: str) -> str:
    """What the program writes to a terminal of this width on stdout."""
    env = environment(registry, XDG_CONFIG_HOME=str(directory))
    return on_terminal("audit", *arguments, cwd=directory, env=env, columns=columns, stderr=subprocess.DEVNULL).text


@pytest.mark.parametrize("columns", [60, 120])
def test_a_terminal_is_not_driven_and_lines_fit_it(
    clean: Path, served: DemoRegistry, tmp_path: Path, columns: int
) -> None:
    identifier = HOSTILE + "/long" * 60
    empty_an_object(clean, identifier)
    written = at_a_terminal(served, tmp_path, columns)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", written)
    assert shown != written
    assert [c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")] == []
    (line,) = (line for line in shown.splitlines() if "/long  " in line)
    assert "…" in line and ("\\x1b[2J" in line or columns < 100)
    assert max(map(len, shown.splitlines())) <= columns
    as_json_text = at_a_terminal(served, tmp_path, columns, "--json")
    assert [c for c in as_json_text if c != "\n" and unicodedata.category(c)[0] in "CZM" and c != " "] == []
    found = {each["question"]: each["findings"] for each in json.loads(as_json_text)["questions"]}
    assert [each["identifier"] for each in found["empty_objects"]] == [identifier]


def test_the_shape_of_the_json() -> None:
    answers = (
        Answer(Concern.COUNTS, Status.TOO_COSTLY, requests=12),
        Answer(Concern.UNCHECKED, count=3, of=4, findings=(Finding(1, "a", "", "b"),), more={"glacier": 2}),
    )
    result = Audit((("state", "A"),), Rules(), datetime(2026, 11, 24, tzinfo=UTC), 1, 4, answers, 9, 1.5)
    assert as_json(result) == {
        "asked_at": "2026-11-24T00:00:00Z",
        "filters": [["state", "A"]],
        "max_fixity_age_seconds": 90 * 86400,
        "stalled_after_seconds": 7 * 86400,
        "objects": 1,
        "files": 4,
        "found": 3,
        "complete": False,
        "requests": 9,
        "questions": [
            {
                "question": "counts",
                "title": "objects that disagree with their files",
                "status": "too_costly",
                "count": None,
                "of": None,
                "more": {},
                "requests_needed": 12,
                "error": None,
                "listed_by": None,
                "findings": [],
            },
            {
                "question": "unchecked",
                "title": "files never checked",
                "status": "answered",
                "count": 3,
                "of": 4,
                "more": {"glacier": 2},
                "requests_needed": None,
                "error": None,
                "listed_by": None,
                "findings": [{"id": 1, "identifier": "a", "since": None, "detail": "b"}],
            },
        ],
    }
