"""Filters as people write them: dates and sizes in plain forms, and what a harvest does not take."""

from __future__ import annotations

import pytest

from harvester.cli.filters import bytes_of, lasting_filters, plain_filters
from harvester.errors import ConfigError
from harvester.registry import RESOURCES, check_filters


@pytest.mark.parametrize("name", RESOURCES)
def test_every_time_filter_takes_them_and_no_other_filter_does(name: str) -> None:
    resource = RESOURCES[name]
    times = [filter_ for filter_, kind in resource.filters.items() if kind.name == "TIME"]
    assert times
    pairs = [tuple(found.split("=", 1)) for found in plain_filters(resource, [f"{field}=30d" for field in times])]
    assert len(check_filters(resource, [(pair[0], pair[1]) for pair in pairs])) == len(times)
    others = [f"{field}=30d" for field in resource.filters if field not in times and "size__" not in field]
    others += ["bogus=30d", "30d", "a=b=today"]
    assert plain_filters(resource, others) == others


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("-1", -1),
        ("123456789012345678", 123456789012345678),
        ("1K", 1024),
        ("1k", 1024),
        ("1KiB", 1024),
        ("1kib", 1024),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1.5G", 3 << 29),
        ("1.5GiB", 3 << 29),
        ("2GB", 2_000_000_000),
        ("3T", 3 << 40),
        ("0.1M", 104857),
        ("1.5", None),
        ("1B", None),
        ("1Ki", None),
        ("1 G", None),
        ("G", None),
        ("1P", None),
        ("-1G", None),
        ("٣G", None),
        ("1e3", None),
        ("", None),
    ],
)
def test_sizes(text: str, count: int | None) -> None:
    assert bytes_of(text) == count


@pytest.mark.parametrize("name", ["objects", "files", "items"])
def test_every_size_filter_takes_units_and_no_other_number_does(name: str) -> None:
    resource = RESOURCES[name]
    assert plain_filters(resource, ["size__gteq=1K", "size__lteq=1kB"]) == ["size__gteq=1024", "size__lteq=1000"]
    others = [f"{field}=1K" for field in resource.filters if not field.startswith("size__")]
    others = [text for text in others if resource.filters[text[:-3]].name != "TIME"]
    assert plain_filters(resource, others) == others


def test_a_list_of_values_is_one_filter_for_each() -> None:
    items = RESOURCES["items"]
    assert plain_filters(items, ["status__in=Failed,Pending", "name=a,b", "stage__in=Fetch"]) == [
        "status__in=Failed",
        "status__in=Pending",
        "name=a,b",
        "stage__in=Fetch",
    ]
    with pytest.raises(ConfigError, match="a filter without a value"):
        check_filters(items, [("status__in", text[11:]) for text in plain_filters(items, ["status__in=Failed,"])])


@pytest.mark.parametrize("moving", ["30d", "12h", "today", "yesterday"])
def test_a_harvest_takes_no_date_that_moves(moving: str) -> None:
    with pytest.raises(ConfigError, match="is another date each day"):
        lasting_filters(RESOURCES["objects"], [f"created_at__gteq={moving}"])


def test_a_harvest_takes_dates_as_they_are_written(  # so that an unfinished dump of an earlier version is taken up
) -> None:
    written = ["created_at__gteq=2026-11-01", "updated_at__lteq=2026-11-01T12:00:00Z", "state=A", "bogus=30d"]
    assert lasting_filters(RESOURCES["objects"], written) == written
    assert lasting_filters(RESOURCES["objects"], ["size__gteq=1G"]) == ["size__gteq=1073741824"]
