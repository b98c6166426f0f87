"""`harvester count`: exact, whole, and no dearer than it says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from harvester.cli.count import countable
from harvester.demo import CollectionSpec, DemoRegistry, Fault, PutNull, build, records
from harvester.registry import RESOURCES
from tests.cli.conftest import InThread, Run
from tests.cli.test_harvest_command import only_line

STALE = CollectionSpec(seed=3, objects=40, files_per_object=4.0, events_per_file=2, stale_counts=7)


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    path = tmp_path / "stale.sqlite"
    build(path, STALE)
    return path


@pytest.mark.parametrize("name", RESOURCES)
def test_the_bare_number(run: Run, registry: DemoRegistry, database: Path, name: str) -> None:
    done = run("count", name, registry=registry)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{sum(1 for _ in records(database, name))}\n"
    assert registry.stats.requests == (2 if name in ("events", "items") else 1)


BY = [(name, field) for name, resource in RESOURCES.items() for field in countable(resource)]


def test_what_can_be_counted_by() -> None:
    assert {field for _, field in BY} == {
        "access", "action", "algorithm", "event_type", "outcome", "stage", "state", "status", "storage_option", "type",
    }  # fmt: skip
    assert countable(RESOURCES["deletions"]) == ()


def test_by_every_field_although_the_registrys_own_counts_are_stale(run: Run, stale: Path) -> None:
    server = InThread(stale)
    try:
        for name, field in BY:
            held = Counter(row[field] for row in records(stale, name))
            done = run("count", name, "--by", field, "--json", registry=server.registry)
            said = json.loads(only_line(done.stdout))
            assert done.stderr == ""
            assert said["count"] == held.total()
            assert {value: count for value, count in said["values"].items() if count} == {
                value: count for value, count in held.items() if value in said["values"]
            }
            assert said["other"] == sum(count for value, count in held.items() if value not in said["values"])
    finally:
        server.stop()


def test_rows_with_another_value_or_none_are_the_last_line(run: Run, stale: Path) -> None:
    server = InThread(stale)
    try:
        first, second, *_ = records(stale, "objects")
        for row in (first, second):
            server.call(server.registry.changes.apply(PutNull("objects", "state", row["id"])))
        done = run("count", "objects", "--by", "state", registry=server.registry)
        *values, other, total = [line.split() for line in done.stdout.splitlines()[1:]]
        assert other == ["(other)", "2", "5.0%"]
        assert total == ["total", "40", "100.0%"]
        assert [value[0] for value in values] == ["A", "D"]
        assert sum(int(value[1]) for value in values) == 38
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        server.stop()


def test_a_list_that_changes_between_the_counts_is_said(run: Run, registry: DemoRegistry) -> None:
    """The total as it was when there was nothing yet."""
    body = json.dumps({"count": 1, "next": "", "previous": "", "results": None})
    registry.add_fault(Fault("no_results", path="/objects?created_at__lteq", times=None, body=body))
    done = run("count", "objects", "--by", "state", registry=registry)
    assert done.returncode == 0
    assert "changed while they were counted" in only_line(done.stderr)
    assert "(other)" not in done.stdout
    said = json.loads(run("count", "objects", "--by", "state", "--json", registry=registry).stdout)
    assert said["other"] < 0


def test_what_it_costs_is_what_help_says(run: Run, registry: DemoRegistry) -> None:
    assert "18 requests for all events by event_type" in " ".join(run("count", "--help").stdout.split())
    run("count", "events", "--by", "event_type", registry=registry)
    assert registry.stats.requests == 18
    assert registry.stats.max_in_flight > 1, "at once"


def test_filters_are_those_of_list(run: Run, registry: DemoRegistry, database: Path) -> None:
    owner = list(records(database, "objects"))[5]
    theirs = sum(1 for row in records(database, "files") if row["intellectual_object_id"] == owner["id"])
    assert run("count", "files", f"object={owner['identifier']}", registry=registry).stdout == f"{theirs}\n"
    assert run("count", "work_items", "date_processed__gteq=1d", registry=registry).returncode == 0
    said = json.loads(run("count", "files", f"object={owner['identifier']}", "--json", registry=registry).stdout)
    assert said == {"resource": "files", "filters": [], "object": owner["identifier"], "count": theirs}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["flies"], "did you mean 'files'?"),
        (["files", "--by", "stat"], "did you mean 'state'?"),
        (["files", "--by", "uuid"], "fields: "),
        (["deletions", "--by", "state"], "no field to count by"),
        (["files", "state=A", "--by", "state"], "a filter already"),
        (["files", "bogus=3"], "no filter"),
    ],
)
def test_bad_input_is_not_sent(run: Run, registry: DemoRegistry, arguments: list[str], named: str) -> None:
    done = run("count", *arguments, registry=registry)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in only_line(done.stderr)
    assert registry.stats.requests == 0
