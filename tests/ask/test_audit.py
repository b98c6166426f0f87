"""An audit over HTTP against what the database itself says, computed here from its records and nothing else."""

from __future__ import annotations

import shutil
import sqlite3
from array import array
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from harvester import RegistryClient, credentials
from harvester.ask import Answer, Audit, Concern, Finding, Plan, Rules, Status, audit
from harvester.ask import findings as limits
from harvester.ask.findings import Tally
from harvester.ask.holdings import MOST_LOOKS, Files, Objects
from harvester.demo import CollectionSpec, DemoRegistry, Fault, InsertFiles, SoftDeleteFile, build, records
from harvester.errors import AuthError, ChangedError, TransientError
from harvester.registry.resources import OBJECTS as OBJECT_LIST
from harvester.registry.resources import parse_filters
from harvester.registry.windows import micros
from tests.support import settings_for

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
QUARTER = NOW - timedelta(days=90)
WEEK = NOW - timedelta(days=7)
ALL = frozenset(Concern)
Q = Concern

Row = dict[str, Any]

CLEANING = f"""
UPDATE files SET last_fixity_check = {micros(NOW - timedelta(days=1))};
UPDATE events SET outcome = 'Success';
UPDATE objects SET state = 'D' WHERE active_files = 0;
DELETE FROM deletions WHERE confirmed_at IS NULL AND cancelled_at IS NULL;
UPDATE items SET status = 'Success', needs_admin_review = 0;
"""


@pytest.fixture(scope="session")
def wild_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nasty text, NULLs everywhere, findings of every kind, and hourly counts that lie."""
    database = tmp_path_factory.mktemp("wild") / "registry.sqlite"
    build(database, CollectionSpec(seed=5, objects=70, files_per_object=7.0, events_per_file=5, stale_counts=9))
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("UPDATE items SET date_processed = NULL WHERE id % 7 = 0")
        db.execute("UPDATE objects SET state = 'D' WHERE id % 11 = 0")
    return database


@pytest.fixture(scope="session")
def clean_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing to be found."""
    database = tmp_path_factory.mktemp("clean") / "registry.sqlite"
    build(database, CollectionSpec(seed=8, objects=40, files_per_object=5.0, checksums=100, nasty=False))
    with closing(sqlite3.connect(database)) as db:
        db.executescript(CLEANING)
    return database


@pytest.fixture
def clean(clean_database: Path, tmp_path: Path) -> Path:
    """The clean database, to be spoilt."""
    return Path(shutil.copy(clean_database, tmp_path / "registry.sqlite"))


def spoil(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as db, db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0, statement


async def audited(
    registry: DemoRegistry,
    tmp_path: Path,
    filters: Iterable[str] = (),
    *,
    tell: Callable[[Plan], None] = lambda _: None,
    settings: dict[str, Any] | None = None,
    **rules: Any,
) -> Audit:
    chosen = settings_for(registry, tmp_path, **(settings or {}))
    async with RegistryClient(chosen, credentials(chosen)) as client:
        return await audit(client, parse_filters(OBJECT_LIST, filters), Rules(**{"limit": 1000, **rules}), tell=tell)


def by_question(result: Audit) -> dict[Concern, Answer]:
    return {answer.question: answer for answer in result.answers}


def ids(result: Audit) -> dict[Concern, list[int]]:
    """What was found, by id; that as many were counted as were given is part of it."""
    for answer in result.answers:
        assert answer.count == len(answer.findings), answer.question
    return {answer.question: [each.id for each in answer.findings] for answer in result.answers}


def when(text: str) -> datetime | None:
    moment = datetime.fromisoformat(text)
    return None if moment.year == 1 else moment


class Witness:
    """The answers, from the records that the database holds."""

    def __init__(self, database: Path, chosen: Callable[[Row], bool] | None = None) -> None:
        self.objects = [row for row in records(database, "objects") if chosen is None or chosen(row)]
        self.whole = chosen is None
        self._mine = {row["id"] for row in self.objects}
        self.files = [row for row in self._of(records(database, "files")) if row["state"] == "A"]
        self.events = list(self._of(records(database, "events")))
        self.items = list(self._of(records(database, "items")))
        self.deletions = list(records(database, "deletions"))

    def _of(self, rows: Iterable[Row]) -> Iterable[Row]:
        return (row for row in rows if self.whole or row["intellectual_object_id"] in self._mine)

    def expected(self) -> dict[Concern, list[int]]:
        checkable = [row for row in self.files if not row["storage_option"].startswith("Glacier")]
        found = {
            Q.UNCHECKED: [f for f in checkable if when(f["last_fixity_check"]) is None],
            Q.OVERDUE: [f for f in checkable if (date := when(f["last_fixity_check"])) and date <= QUARTER],
            Q.NO_SHA256: [f for f in self.files if f["sha256"] == ""],
            Q.FAILED_EVENTS: [e for e in self.events if e["outcome"] == "Failure" and not self._mended(e)],
            Q.EMPTY_OBJECTS: [o for o in self.objects if o["state"] == "A" and o["file_count"] == 0],
            Q.HALF_DELETED: [o for o in self.objects if o["state"] == "D" and o["file_count"] > 0],
            Q.COUNTS: [o for o in self.objects if (o["file_count"], o["size"]) != self._extent(o)],
            Q.DELETIONS: [d for d in self.deletions if not when(d["confirmed_at"]) and not when(d["cancelled_at"])],
            Q.WORK_ITEMS: [i for i in self.items if self._stalled(i)],
        }
        if not self.whole:
            found[Q.DELETIONS] = []
        return {question: sorted(row["id"] for row in rows) for question, rows in found.items()}

    def by_id(self, question: Concern) -> dict[int, Row]:
        """The records that the findings of a question are among."""
        lists = {Q.FAILED_EVENTS: self.events, Q.DELETIONS: self.deletions, Q.WORK_ITEMS: self.items}
        of_files = question in (Q.UNCHECKED, Q.OVERDUE, Q.NO_SHA256)
        return {row["id"]: row for row in lists.get(question, self.files if of_files else self.objects)}

    def _extent(self, about: Row) -> tuple[int, int]:
        sizes = [row["size"] for row in self.files if row["intellectual_object_id"] == about["id"]]
        return len(sizes), sum(sizes)

    def _mended(self, failed: Row) -> bool:
        def alike(event: Row) -> tuple[Any, ...]:
            return event["event_type"], event["generic_file_id"], event["intellectual_object_id"]

        moment = when(failed["date_time"])
        later = (when(e["date_time"]) for e in self.events if e["outcome"] == "Success" and alike(e) == alike(failed))
        return moment is not None and any(date is not None and date > moment for date in later)

    @staticmethod
    def _stalled(item: Row) -> bool:
        touched = when(item["date_processed"]) or when(item["created_at"])
        assert touched is not None
        return bool(
            item["status"] == "Suspended"
            or (item["status"] in ("Pending", "Started") and touched <= WEEK)
            or (item["needs_admin_review"] and item["status"] not in ("Success", "Cancelled"))
        )


SINCE = {
    Q.UNCHECKED: ("created_at",),
    Q.OVERDUE: ("last_fixity_check",),
    Q.NO_SHA256: ("created_at",),
    Q.FAILED_EVENTS: ("date_time",),
    Q.EMPTY_OBJECTS: ("created_at",),
    Q.HALF_DELETED: ("updated_at",),
    Q.DELETIONS: ("requested_at",),
    Q.WORK_ITEMS: ("date_processed", "created_at"),
}
"""Fields of a finding's record that say since when; the first one that is not NULL."""


def of_state(state: str) -> Callable[[Row], bool]:
    return lambda row: bool(row["state"] == state)


SLICES: dict[str, tuple[tuple[str, ...], Callable[[Row], bool] | None]] = {
    "whole": ((), None),
    "institution": (("institution_id=2",), None),
    "most": (("state=A",), of_state("A")),
    "deleted": (("state=D",), of_state("D")),
    "option": (("storage_option=Standard",), lambda row: row["storage_option"] == "Standard"),
    "few": (("identifier__starts_with=institution1.edu/bag_00001",), lambda row: "/bag_00001" in row["identifier"]),
    "none": (("identifier=nothing",), lambda row: False),
}


@pytest.mark.parametrize("name", SLICES)
async def test_every_question_is_answered_as_the_database_has_it(
    wild_database: Path, tmp_path: Path, name: str
) -> None:
    filters, chosen = SLICES[name]
    witness = Witness(wild_database, chosen)
    expected = witness.expected()
    if name == "whole":
        assert all(expected[question] for question in ALL - {Q.COUNTS})
    async with DemoRegistry(wild_database, clock=lambda: NOW) as registry:
        result = await audited(registry, tmp_path, filters, deep=True)
    assert {question: sorted(found) for question, found in ids(result).items()} == expected
    for answer in result.answers:
        rows = witness.by_id(answer.question)
        for finding in answer.findings:
            dates = [rows[finding.id][name] for name in SINCE[answer.question]]
            assert finding.since == next((date for date in dates if when(date)), "")
            assert finding.identifier in rows[finding.id].values()
    assert result.complete and result.objects == len(witness.objects) and result.files == len(witness.files)
    assert result.requests == registry.stats.requests


@pytest.mark.parametrize("name", ["whole", "most", "few"])
async def test_many_pages_are_put_together(wild_database: Path, tmp_path: Path, name: str) -> None:
    filters, chosen = SLICES[name]
    async with DemoRegistry(wild_database, clock=lambda: NOW) as registry:
        result = await audited(registry, tmp_path, filters, deep=True, settings={"per_page": 7})
    assert {question: sorted(found) for question, found in ids(result).items()} == Witness(
        wild_database, chosen
    ).expected()


async def test_fixity_is_counted_as_it_is_read(wild_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(wild_database, clock=lambda: NOW) as registry:
        result = await audited(registry, tmp_path, only=frozenset({Q.UNCHECKED, Q.OVERDUE}))
        assert registry.stats.by_path["files"] == 1 + 7
    expected = Witness(wild_database).expected()
    assert {question: sorted(found) for question, found in ids(result).items()} == {
        question: expected[question] for question in (Q.UNCHECKED, Q.OVERDUE)
    }
    glacier = sum(row["storage_option"].startswith("Glacier") for row in Witness(wild_database).files)
    assert all(answer.more == {"glacier": glacier} for answer in result.answers)


async def test_exact_numbers_with_only_the_first_findings(wild_database: Path, tmp_path: Path) -> None:
    expected = Witness(wild_database).expected()
    async with DemoRegistry(wild_database, clock=lambda: NOW) as registry:
        few = by_question(await audited(registry, tmp_path, limit=2, deep=True))
        many = by_question(await audited(registry, tmp_path, deep=True))
        counted = by_question(await audited(registry, tmp_path, limit=2, only=frozenset({Q.UNCHECKED, Q.OVERDUE})))
    for question, found in expected.items():
        assert few[question].count == len(found)
        assert few[question].findings == many[question].findings[:2]
    assert {question: answer.count for question, answer in counted.items()} == {
        Q.UNCHECKED: len(expected[Q.UNCHECKED]),
        Q.OVERDUE: len(expected[Q.OVERDUE]),
    }
    dates = [when(finding.since) for finding in many[Q.OVERDUE].findings]
    assert dates == sorted(dates, key=lambda date: date or NOW)
    failed = [when(finding.since) for finding in many[Q.FAILED_EVENTS].findings if finding.since]
    assert failed == sorted(failed, key=lambda date: date or NOW, reverse=True)


async def test_nothing_is_found_where_nothing_is(clean: Path, tmp_path: Path) -> None:
    told: list[Plan] = []
    async with DemoRegistry(clean, clock=lambda: NOW) as registry:
        result = await audited(registry, tmp_path, tell=told.append)
    assert [answer.question for answer in result.answers] == list(Concern)
    assert (result.found, result.complete) == (0, True)
    # Objects, files and failed events are counted and objects read before; files took a page, and the rest is lists.
    assert told == [Plan(result.objects, result.files, requests=2 + 1 + 1, follow_ups=0)]
    assert result.requests == 1 + 1 + 2 + 1 + told[0].requests


OBJECT = "(SELECT min(intellectual_object_id) FROM files WHERE state = 'A' AND institution_id = 2)"
FILE = (
    "(SELECT id FROM files WHERE state = 'A' AND institution_id = 2 AND storage_option NOT LIKE 'Glacier%'"
    " ORDER BY id LIMIT 1 OFFSET 3)"
)
EVENT = f"(SELECT min(id) FROM events WHERE generic_file_id = {FILE})"
ITEM = "(SELECT max(id) FROM items WHERE institution_id = 2)"

PLANTED = {
    "null": (Q.UNCHECKED, f"UPDATE files SET last_fixity_check = NULL WHERE id = {FILE}", FILE),
    "year one": (
        Q.UNCHECKED,
        f"UPDATE files SET last_fixity_check = {micros(datetime(1, 1, 1, tzinfo=UTC))} WHERE id = {FILE}",
        FILE,
    ),
    "old": (Q.OVERDUE, f"UPDATE files SET last_fixity_check = {micros(QUARTER)} WHERE id = {FILE}", FILE),
    "unknown storage": (
        Q.UNCHECKED,
        f"UPDATE files SET last_fixity_check = NULL, storage_option = 'Tape-VA' WHERE id = {FILE}",
        FILE,
    ),
    "no digest": (Q.NO_SHA256, f"DELETE FROM checksums WHERE algorithm = 'sha256' AND generic_file_id = {FILE}", FILE),
    "failure": (Q.FAILED_EVENTS, f"UPDATE events SET outcome = 'Failure' WHERE id = {EVENT}", EVENT),
    "empty": (Q.EMPTY_OBJECTS, f"UPDATE files SET state = 'D' WHERE intellectual_object_id = {OBJECT}", OBJECT),
    "half": (Q.HALF_DELETED, f"UPDATE objects SET state = 'D' WHERE id = {OBJECT}", OBJECT),
    "count": (Q.COUNTS, f"UPDATE objects SET active_files = active_files + 1 WHERE id = {OBJECT}", OBJECT),
    "bytes": (Q.COUNTS, f"UPDATE objects SET active_bytes = active_bytes - 1 WHERE id = {OBJECT}", OBJECT),
    "pending": (
        Q.DELETIONS,
        "INSERT INTO deletions (id, institution_id, requested_at) VALUES (9999, 2, 5)",
        "9999",
    ),
    "suspended": (Q.WORK_ITEMS, f"UPDATE items SET status = 'Suspended' WHERE id = {ITEM}", ITEM),
    "review": (Q.WORK_ITEMS, f"UPDATE items SET status = 'Failed', needs_admin_review = 1 WHERE id = {ITEM}", ITEM),
    "stalled": (
        Q.WORK_ITEMS,
        f"UPDATE items SET status = 'Started', date_processed = {micros(WEEK)} WHERE id = {ITEM}",
        ITEM,
    ),
    "never begun": (
        Q.WORK_ITEMS,
        f"UPDATE items SET status = 'Pending', date_processed = NULL WHERE id = {ITEM}",
        ITEM,
    ),
}


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("alone", [False, True], ids=["among all", "alone"])
async def test_one_thing_is_wrong_and_nothing_else_is_found(
    clean: Path, tmp_path: Path, name: str, alone: bool
) -> None:
    question, statement, wrong = PLANTED[name]
    with closing(sqlite3.connect(clean)) as db:
        (expected,) = db.execute(f"SELECT {wrong}").fetchone()
    spoil(clean, statement)
    async with DemoRegistry(clean, clock=lambda: NOW) as registry:
        result = await audited(registry, tmp_path, only=frozenset({question}) if alone else ALL)
    answers = by_question(result)
    assert answers[question].count == result.found == 1
    # A storage option that is not known cannot be listed by a filter: alone, it is counted all the same.
    if not (alone and name == "unknown storage"):
        assert [finding.id for finding in answers[question].findings] == [expected]


NOT_PLANTED = {
    "checked in time": f"UPDATE files SET last_fixity_check = {micros(QUARTER) + 1} WHERE id = {FILE}",
    "glacier": f"UPDATE files SET last_fixity_check = NULL, storage_option = 'Glacier-Deep-OH' WHERE id = {FILE}",
    "deleted file": f"UPDATE files SET last_fixity_check = NULL, state = 'D' WHERE id = {FILE}",
    "moving": f"UPDATE items SET status = 'Started', date_processed = {micros(WEEK) + 1} WHERE id = {ITEM}",
    "settled": f"UPDATE items SET status = 'Cancelled', needs_admin_review = 1 WHERE id = {ITEM}",
    "another's": "UPDATE files SET last_fixity_check = NULL WHERE institution_id <> 2",
    "another's event": "UPDATE events SET outcome = 'Failure' WHERE institution_id <> 2",
}


@pytest.mark.parametrize("name", NOT_PLANTED)
@pytest.mark.parametrize("only", [ALL, ALL - {Q.NO_SHA256, Q.COUNTS}], ids=["read", "counted"])
async def test_what_is_no_finding(clean: Path, tmp_path: Path, name: str, only: frozenset[Concern]) -> None:
    spoil(clean, NOT_PLANTED[name])
    async with DemoRegistry(clean, clock=lambda: NOW) as registry:
        assert (await audited(registry, tmp_path, only=only)).found == 0


FAILED_AT = micros(NOW - timedelta(days=30))
SUCCESSES = {
    "later": (f"{FAILED_AT} + 1", "fixity check", True),
    "at the same instant": (f"{FAILED_AT}", "fixity check", False),
    "before": (f"{FAILED_AT} - 1", "fixity check", False),
    "without a date": ("NULL", "fixity check", False),
    "of another type": (f"{FAILED_AT} + 1", "replication", False),
}


def event(number: int, file: str, kind: str, moment: str, outcome: str) -> str:
    return (
        "INSERT INTO events (id, institution_id, intellectual_object_id, generic_file_id, event_type, date_time,"
        f" outcome, identifier, created_at, updated_at) SELECT {number}, 2, intellectual_object_id, {file}, '{kind}',"
        f" {moment}, '{outcome}', 'e{number}', 1, 1 FROM files WHERE id = {FILE}"
    )


@pytest.mark.parametrize("success", SUCCESSES)
@pytest.mark.parametrize("on", ["id", "NULL"], ids=["file", "object"])
async def test_a_failure_is_mended_by_a_later_success_of_its_kind(
    clean: Path, tmp_path: Path, success: str, on: str
) -> None:
    moment, kind, mends = SUCCESSES[success]
    spoil(
        clean,
        event(9_000_001, on, "fixity check", str(FAILED_AT), "Failure"),
        event(9_000_002, on, kind, moment, "Success"),
        event(9_000_003, "NULL" if on == "id" else FILE, "fixity check", f"{FAILED_AT} + 5", "Success"),
    )
    async with DemoRegistry(clean, clock=lambda: NOW) as registry:
        (answer,) = (await audited(registry, tmp_path, only=frozenset({Q.FAILED_EVENTS}))).answers
    assert [finding.id for finding in answer.findings] == ([] if mends else [9_000_001])
    assert (answer.count, answer.of, answer.more) == (1 - mends, 1, {"mended": int(mends)})


async def test_many_failures_are_told_apart_only_if_it_is_wanted(clean: Path, tmp_path: Path) -> None:
    spoil(clean, f"UPDATE events SET outcome = 'Failure' WHERE institution_id = 2 AND id <> {EVENT}")
    witness = Witness(clean)
    failed = {row["id"] for row in witness.events if row["outcome"] == "Failure"}
    assert len(failed) > limits.AFFORDABLE
    only = frozenset({Q.FAILED_EVENTS})
    async with DemoRegistry(clean, clock=lambda: NOW) as registry:
        (cheap,) = (await audited(registry, tmp_path, only=only, limit=3)).answers
        assert registry.stats.by_path["events"] == 2
        (sliced,) = (await audited(registry, tmp_path, ["state=A"], only=only)).answers
        (deep,) = (await audited(registry, tmp_path, only=only, deep=True)).answers
    assert (cheap.count, cheap.of, cheap.more) == (len(failed), None, {"not_followed_up": len(failed)})
    end = datetime.max.replace(tzinfo=UTC)
    newest = sorted(
        (row for row in witness.events if row["id"] in failed),
        key=lambda row: (end - (when(row["date_time"]) or end), row["id"]),
    )
    assert [finding.id for finding in cheap.findings] == [row["id"] for row in newest[:3]]
    active = {row["id"] for row in witness.objects if row["state"] == "A"}
    of_active = {row["id"] for row in witness.events if row["id"] in failed and row["intellectual_object_id"] in active}
    assert sliced.more == {"not_followed_up": len(of_active)} and sliced.count == len(of_active)
    assert sorted(finding.id for finding in deep.findings) == witness.expected()[Q.FAILED_EVENTS][:1000]


async def test_failures_of_a_few_objects_are_asked_object_by_object(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(clean, "UPDATE events SET outcome = 'Failure' WHERE institution_id = 2")
    filters, chosen = SLICES["few"]
    witness = Witness(clean, chosen)
    expected = witness.expected()[Q.FAILED_EVENTS]
    rules: dict[str, Any] = {"only": frozenset({Q.FAILED_EVENTS}), "limit": len(expected), "settings": {"per_page": 5}}
    for module in ("signals", "audit"):
        monkeypatch.setattr(import_module(f"harvester.ask.{module}"), "AFFORDABLE", len(witness.objects) - 1)
    async with DemoRegistry(clean, clock=lambda: NOW) as registry:
        result = await audited(registry, tmp_path, filters, deep=True, **rules)
        asked = [line for line in registry.stats.log if "/events?intellectual_object_id" in line and "Failure" in line]
        (costly,) = (await audited(registry, tmp_path, filters, **rules)).answers
    assert sorted(ids(result)[Q.FAILED_EVENTS]) == expected
    assert len(asked) >= len(witness.objects) > 1
    assert (costly.status, costly.requests) == (Status.TOO_COSTLY, len(witness.objects))


async def test_objects_that_change_while_their_files_are_read_do_not_contradict_themselves(
    clean: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(clean)) as db:
        (number,), (file,) = (db.execute(f"SELECT {what}").fetchone() for what in (OBJECT, FILE))
    async with DemoRegistry(clean, clock=lambda: NOW) as registry:
        registry.changes.schedule(InsertFiles(number, files=2, events=0), after=0, path="created_at__gteq")
        registry.changes.schedule(SoftDeleteFile(file), after=0, path="created_at__gteq")
        # Looked at closely, it changes once more.
        registry.changes.schedule(InsertFiles(number, files=1, events=0), after=0, path="/files?intellectual_object_id")
        result = await audited(registry, tmp_path, only=frozenset({Q.COUNTS}))
        assert len(registry.changes.applied) == 3
    assert (result.found, result.complete) == (0, True)


async def test_an_object_that_never_keeps_still_is_no_finding_but_no_answer_either(clean: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(clean)) as db:
        (number,) = db.execute(f"SELECT {OBJECT}").fetchone()
    async with DemoRegistry(clean, clock=lambda: NOW) as registry:
        registry.changes.schedule(InsertFiles(number, files=1, events=0), after=0, path="created_at__gteq")
        for look in range(MOST_LOOKS):
            path = "/files?intellectual_object_id"
            registry.changes.schedule(InsertFiles(number, files=1, events=0), after=look, path=path)
        result = await audited(registry, tmp_path, only=frozenset({Q.COUNTS, Q.EMPTY_OBJECTS}))
    assert [answer.status for answer in result.answers] == [Status.ANSWERED, Status.FAILED]
    assert isinstance(by_question(result)[Q.COUNTS].error, ChangedError)


NULLS = ("objects.state", "files.state", "events.event_type", "events.outcome", "items.action")


async def test_counts_that_the_registry_cannot_give_are_not_asked_for(tmp_path: Path) -> None:
    database = tmp_path / "registry.sqlite"
    build(database, CollectionSpec(seed=5, objects=30, files_per_object=4.0, null_counted=NULLS))
    async with DemoRegistry(database, clock=lambda: NOW) as registry:
        for filters, chosen in (SLICES["whole"], SLICES["most"]):
            result = await audited(registry, tmp_path, filters, deep=True)
            found = {question: sorted(numbers) for question, numbers in ids(result).items()}
            assert found == Witness(database, chosen).expected()
        assert registry.stats.by_status.keys() == {200}


LISTS = {
    "deletions": {Q.DELETIONS},
    "items": {Q.WORK_ITEMS},
    "events": {Q.FAILED_EVENTS},
    "files": {Q.UNCHECKED, Q.OVERDUE, Q.NO_SHA256, Q.COUNTS},
    "objects": {Q.EMPTY_OBJECTS, Q.HALF_DELETED, Q.COUNTS},
}


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_that_fails_leaves_the_others(wild_database: Path, tmp_path: Path, path: str) -> None:
    async with DemoRegistry(wild_database, clock=lambda: NOW) as registry:
        registry.add_fault(Fault("status", path=f"/{path}?", status=500, times=None))
        result = await audited(registry, tmp_path, settings={"retry_budget": 0.05})
    failed = {answer.question for answer in result.answers if answer.status is Status.FAILED}
    assert failed == LISTS[path] and not result.complete
    expected = Witness(wild_database).expected()
    for answer in result.answers:
        assert (answer.error is not None) == (answer.question in failed)
        if answer.question not in failed | {Q.FAILED_EVENTS}:
            assert sorted(finding.id for finding in answer.findings) == expected[answer.question]


async def test_a_list_that_the_account_may_not_see_leaves_the_others(clean: Path, tmp_path: Path) -> None:
    async with DemoRegistry(clean, clock=lambda: NOW) as registry:
        registry.add_fault(Fault("status", path="/deletions?", status=403, body='{"error":"no"}', times=None))
        result = await audited(registry, tmp_path)
    assert {answer.question for answer in result.answers if answer.status is Status.FAILED} == {Q.DELETIONS}


async def test_a_slice_whose_objects_cannot_be_listed_is_no_audit(wild_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(wild_database) as registry:
        registry.add_fault(Fault("status", path="/objects?", status=500, times=None))
        with pytest.raises(TransientError):
            await audited(registry, tmp_path, ["state=A"], settings={"retry_budget": 0.05})


async def test_credentials_that_are_refused_end_it(wild_database: Path, tmp_path: Path) -> None:
    async with DemoRegistry(wild_database) as registry:
        with pytest.raises(AuthError):
            await audited(registry, tmp_path, settings={"api_key": "wrong"})


async def test_what_takes_too_many_requests_is_told_and_not_asked(wild_database: Path, tmp_path: Path) -> None:
    witness = Witness(wild_database)
    assert len(witness.files) > limits.AFFORDABLE
    async with DemoRegistry(wild_database, clock=lambda: NOW) as registry:
        result = await audited(registry, tmp_path, settings={"per_page": 1})
        sliced = await audited(registry, tmp_path, ["state=A"], settings={"per_page": 1})
    answers = by_question(result)
    costly = {answer.question for answer in result.answers if answer.status is Status.TOO_COSTLY}
    assert costly == {Q.NO_SHA256, Q.COUNTS} and not result.complete
    assert answers[Q.COUNTS].requests >= len(witness.files) + len(witness.objects)
    assert answers[Q.UNCHECKED].count == len(witness.expected()[Q.UNCHECKED])
    costly = {answer.question for answer in sliced.answers if answer.status is Status.TOO_COSTLY}
    assert costly == {Q.UNCHECKED, Q.OVERDUE, Q.NO_SHA256, Q.COUNTS}


async def test_a_slice_is_read_in_the_way_that_asks_less(wild_database: Path, tmp_path: Path) -> None:
    only = frozenset({Q.NO_SHA256})
    async with DemoRegistry(wild_database, clock=lambda: NOW) as registry:
        await audited(registry, tmp_path, SLICES["most"][0], only=only)
        assert registry.stats.by_path["files"] == 2
        registry.stats.reset()
        await audited(registry, tmp_path, SLICES["few"][0], only=only, settings={"per_page": 20})
        few = sum(SLICES["few"][1](row) for row in records(wild_database, "objects") if SLICES["few"][1])
        paths = [line for line in registry.stats.log if "/files?intellectual_object_id" in line]
        assert len(paths) >= few > 1


def test_a_tally_counts_all_and_keeps_the_first() -> None:
    tally = Tally(3)
    for number in range(1000):
        tally.add(number * 7919 % 1000, Finding(number, "", "", ""))
    assert tally.count == 1000
    assert [finding.id * 7919 % 1000 for finding in tally.first] == [0, 1, 2]


async def test_a_file_that_comes_twice_is_one(wild_database: Path) -> None:
    rows = Witness(wild_database).files
    once, twice = (Files(None, micros(QUARTER), 5, of_slice=False) for _ in range(2))
    for files, times in ((once, 1), (twice, 2)):
        for _ in range(times):
            await files.take(rows)
    assert (once.active, once.no_sha256.count, once.overdue.first) == (
        len(rows),
        twice.no_sha256.count,
        twice.overdue.first,
    )
    assert twice.active == once.active


async def test_an_object_takes_24_bytes() -> None:
    objects = Objects(limit=1)
    row = {"state": "A", "file_count": 1, "size": 2, "created_at": "2026-01-01T00:00:00Z", "identifier": "x" * 5000}
    await objects.take([{**row, "id": number, "storage_option": ""} for number in range(1, 5001)])
    kept = [value for value in vars(objects).values() if not isinstance(value, Tally)]
    assert all(isinstance(value, array) for value in kept)
    assert sum(value.itemsize * len(value) for value in kept) == 24 * 5000
