"""Dates as people say them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.cli.dates import age, spelled_out
from harvester.registry.resources import parse_time

NOW = datetime(2026, 3, 9, 2, 30, tzinfo=UTC)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somewhere that has put its clocks forward the day before NOW, where it is still the evening."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", "2026-03-08T05:00:00Z"),  # midnight was before the clocks went forward
        ("yesterday", "2026-03-07T05:00:00Z"),
        ("12h", "2026-03-08T14:30:00Z"),
        ("30d", "2026-02-07T02:30:00Z"),
        ("2w", "2026-02-23T02:30:00Z"),
        ("1y", "2025-03-09T02:30:00Z"),
        ("0d", "2026-03-09T02:30:00Z"),
        ("2026-11-01", "2026-11-01"),
        ("2026-11-01T12:00:00Z", "2026-11-01T12:00:00Z"),
        ("99999y", "99999y"),
        ("soon", "soon"),
        ("30 d", "30 d"),
        ("٣d", "٣d"),
        ("-3d", "-3d"),
        ("", ""),
    ],
)
@pytest.mark.usefixtures("zone")
def test_plain_forms(text: str, expected: str) -> None:
    assert spelled_out(text, NOW) == expected


@given(st.integers(0, 500), st.sampled_from("hdwy"))
def test_an_age_is_that_long_ago(count: int, unit: str) -> None:
    said = parse_time(spelled_out(f"{count}{unit}", NOW))
    ago = age(f"{count}{unit}")
    assert ago is not None
    assert said == NOW - ago


@pytest.mark.parametrize(
    ("text", "length"), [("1h", timedelta(hours=1)), ("90d", timedelta(days=90)), ("d", None), ("1m", None)]
)
def test_ages(text: str, length: timedelta | None) -> None:
    assert age(text) == length
