"""Names: dumps sort by age, and no two get the same one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from harvester.dump import partials, published
from harvester.dump.layout import dump_name, is_partial, partial_name, published_name

MOMENT = datetime(2026, 11, 24, 2, 0, 0, tzinfo=UTC)
NAME = "2026-11-24T020000Z"


def test_a_name_is_the_horizon_in_utc() -> None:
    assert dump_name(MOMENT.astimezone(timezone(timedelta(hours=-5))), ()) == NAME


def test_names_of_one_second_are_numbered_whether_published_or_not() -> None:
    taken: list[str] = []
    for number in range(12):
        name = dump_name(MOMENT, taken)
        assert name == (f"{NAME}-{number + 1}" if number else NAME)
        taken.append(partial_name(name) if number % 2 else name)


def test_dumps_sort_by_age(tmp_path: Path) -> None:
    names = ["2025-12-31T235959Z", NAME, *(f"{NAME}-{number}" for number in range(2, 12)), "2026-11-24T020001Z"]
    for name in reversed(names):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
        (tmp_path / partial_name(name)).mkdir()
    assert [path.name for path in published(tmp_path)] == names
    assert [path.name for path in partials(tmp_path)] == [partial_name(name) for name in names]


def test_what_is_no_dump_is_left_out(tmp_path: Path) -> None:
    for name in (NAME, "notes", ".2026.partial", "latest", f"{NAME}-x", f".{NAME}"):
        (tmp_path / name).mkdir()
    assert published(tmp_path) == []  # the first has no manifest
    assert partials(tmp_path) == []
    assert published(tmp_path / "nowhere") == partials(tmp_path / "nowhere") == []


def test_a_partial_knows_its_name() -> None:
    path = Path(partial_name(f"{NAME}-10"))
    assert is_partial(path)
    assert published_name(path) == f"{NAME}-10"
