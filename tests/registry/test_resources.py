"""Filters are refused here, with a hint, if the Registry would answer 500 to them or ignore them without a word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.demo import CollectionSpec, build, records
from harvester.errors import ConfigError
from harvester.registry import RESOURCES, check_filters, parse_filters, resource_named
from harvester.registry.resources import VALUES, Kind, format_time, nearest, parse_sort, parse_time


def test_the_seven_lists_by_the_registrys_names() -> None:
    assert sorted(RESOURCES) == ["alerts", "checksums", "deletions", "events", "files", "items", "objects"]
    assert all(path == resource.path for path, resource in RESOURCES.items())
    assert len({resource.file_stem for resource in RESOURCES.values()}) == 7


def test_good_filters_are_passed_on_as_they_are() -> None:
    pairs = (("identifier", "a.edu/b=c & d"), ("created_at__gteq", "2026-01-31"), ("institution_id", "7"))
    assert check_filters(RESOURCES["objects"], pairs) == pairs
    assert parse_filters(RESOURCES["objects"], [f"{name}={value}" for name, value in pairs]) == pairs


@pytest.mark.parametrize(
    ("resource", "name"),
    [
        ("items", "node__is_not_null"),
        ("items", "queued_at__is_not_null"),
        ("deletions", "stage"),
        ("deletions", "status"),
        ("files", "intellectual_object_identifier"),
        ("objects", "id"),
        ("objects", "sort"),
        ("objects", "page"),
        ("objects", "per_page"),
    ],
)
def test_filters_the_server_rejects_are_unknown_here_too(resource: str, name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_filters(RESOURCES[resource], [(name, "1")])
    assert repr(name) in raised.value.place
    assert resource in raised.value.place


@pytest.mark.parametrize(
    ("resource", "name", "value"),
    [
        ("items", "node__not_null", "true"),
        ("items", "queued_at__not_null", "false"),
        ("items", "action__in", "Ingest"),
        ("items", "bucket", "b"),
        ("items", "needs_admin_review", "true"),
        ("files", "storage_option__in", "Standard"),
        ("files", "institution_id", "1"),
        ("alerts", "user_id", "2"),
        ("objects", "bag_name", "b"),
        ("objects", "institution_parent_id", "3"),
        ("events", "generic_file_id__is_null", "true"),
    ],
)
def test_filters_the_document_does_not_know_but_the_server_does(resource: str, name: str, value: str) -> None:
    assert check_filters(RESOURCES[resource], [(name, value)]) == ((name, value),)


def test_the_nearest_name_is_suggested_or_all_are_listed() -> None:
    with pytest.raises(ConfigError) as near:
        check_filters(RESOURCES["objects"], [("updated_at_gteq", "2026-01-01")])
    assert near.value.mend == "did you mean 'updated_at__gteq'?"
    with pytest.raises(ConfigError) as far:
        check_filters(RESOURCES["objects"], [("zzzzzz", "1")])
    assert "updated_at__gteq" in far.value.mend


def test_an_empty_value_would_list_everything() -> None:
    with pytest.raises(ConfigError, match="without a value"):
        parse_filters(RESOURCES["files"], ["state="])


def test_a_filter_given_twice_would_be_half_ignored_except_in() -> None:
    with pytest.raises(ConfigError, match="twice"):
        check_filters(RESOURCES["files"], [("state", "A"), ("size__gteq", "1"), ("state", "D")])
    both = (("storage_option__in", "Standard"), ("storage_option__in", "Wasabi-VA"))
    assert check_filters(RESOURCES["files"], both) == both


def test_an_argument_without_an_equals_sign() -> None:
    with pytest.raises(ConfigError, match="name=value") as raised:
        parse_filters(RESOURCES["files"], ["state"])
    assert raised.value.place == "argument 'state'"


@pytest.mark.parametrize(
    ("resource", "name", "value"),
    [
        ("objects", "institution_id", "seven"),
        ("objects", "institution_id", "7.0"),
        ("objects", "institution_id", " 7"),
        ("objects", "institution_id", "٧"),
        ("objects", "institution_id", "9" * 19),
        ("objects", "created_at__lteq", "yesterday"),
        ("objects", "created_at__lteq", "2026-02-30"),
        ("objects", "created_at__lteq", "2026-02-03T25:00:00Z"),
        ("objects", "created_at__lteq", "２０２６-02-03"),
        ("objects", "created_at__lteq", "2026-02-03T01:00:00.1234567Z"),
        ("events", "generic_file_id__is_null", "yes"),
        ("events", "generic_file_id__is_null", "True"),
        ("objects", "identifier", "a\0b"),
    ],
)
def test_malformed_values_which_the_server_answers_with_500(resource: str, name: str, value: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_filters(RESOURCES[resource], [(name, value)])
    assert repr(value) in raised.value.problem


@pytest.mark.parametrize(
    ("resource", "filters", "exact"),
    [
        ("objects", "", False),
        ("objects", "institution_id state", False),
        ("objects", "institution_id created_at__lteq", True),
        ("objects", "identifier", True),
        ("files", "state", False),
        ("files", "intellectual_object_id state", True),
        ("files", "created_at__gteq", True),
        ("events", "", False),
        ("events", "institution_id event_type outcome", False),
        ("events", "generic_file_id__is_null", True),
        ("events", "intellectual_object_id", True),
        ("items", "institution_id action", False),
        ("items", "action__in", True),
        ("items", "status", True),
        ("checksums", "", True),
        ("checksums", "institution_id", True),
        ("deletions", "", True),
        ("alerts", "institution_id", True),
    ],
)
def test_when_a_count_is_counted_and_when_it_is_an_hour_old(resource: str, filters: str, exact: bool) -> None:
    chosen = [(name, "1") for name in filters.split()]
    assert RESOURCES[resource].count_is_exact(chosen) is exact
    assert all(name in RESOURCES[resource].filters for name, _ in chosen)


def test_a_partition_is_a_yes_or_no_filter_that_makes_counts_exact() -> None:
    for resource in RESOURCES.values():
        if resource.partition:
            assert resource.filters[resource.partition] is Kind.BOOLEAN
            assert resource.count_is_exact([(resource.partition, "true")])


def test_every_time_field_can_be_filtered_by_from_both_ends() -> None:
    for resource in RESOURCES.values():
        if resource.time_field:
            for end in ("gteq", "lteq"):
                assert resource.filters[f"{resource.time_field}__{end}"] is Kind.TIME


zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones | st.just(UTC)))
def test_times_survive_the_way_out_and_back(moment: datetime) -> None:
    text = format_time(moment)
    assert parse_time(text) == moment
    assert text.endswith("Z")
    assert not text.endswith(("0Z", ".Z")) or "." not in text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),  # NULL, on the wire
        ("2021-01-12T17:14:35Z", datetime(2021, 1, 12, 17, 14, 35, tzinfo=UTC)),
        ("2021-01-12T17:14:35.5Z", datetime(2021, 1, 12, 17, 14, 35, 500_000, tzinfo=UTC)),
        ("2021-01-12T17:14:35.000007Z", datetime(2021, 1, 12, 17, 14, 35, 7, tzinfo=UTC)),
    ],
)
def test_times_as_the_registry_writes_them(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment
    assert format_time(moment) == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2021-01-12", datetime(2021, 1, 12, tzinfo=UTC)),
        ("2021-01-12 17:14:35", datetime(2021, 1, 12, 17, 14, 35, tzinfo=UTC)),
        ("2021-01-12T17:14:35+02:00", datetime(2021, 1, 12, 15, 14, 35, tzinfo=UTC)),
        ("", None),
        ("2021-1-2", None),
        ("2021-01-12T17:14", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("2021-01-12T17:14:35Z\n", None),
    ],
)
def test_times_as_people_write_them(text: str, moment: datetime | None) -> None:
    assert parse_time(text) == moment


@given(st.text("0123459-:TZ+. \n٣２", max_size=30) | st.from_regex(r"\d{4}-\d\d-\d\d", fullmatch=True))
def test_any_text_is_a_time_or_none(text: str) -> None:
    assert parse_time(text) is None or text.isascii()


@pytest.mark.parametrize(("name", "path"), [*((path, path) for path in RESOURCES), ("work_items", "items")])
def test_lists_by_the_registrys_name_and_by_that_of_their_file(name: str, path: str) -> None:
    assert resource_named(name) is RESOURCES[path]


@pytest.mark.parametrize(
    ("name", "mend"),
    [("flies", "did you mean 'files'?"), ("Evnts", "did you mean 'events'?"), ("x", "there are objects, files, ")],
)
def test_a_list_that_there_is_not(name: str, mend: str) -> None:
    with pytest.raises(ConfigError) as raised:
        resource_named(name)
    assert raised.value.mend.startswith(mend)


@pytest.mark.parametrize(
    ("text", "sort"), [("size", "size__asc"), ("size__asc", "size__asc"), ("size__desc", "size__desc")]
)
def test_sorts(text: str, sort: str) -> None:
    assert parse_sort(RESOURCES["files"], text) == sort


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("sise__desc", "did you mean 'size'?"),
        ("zzz", "columns: created_at, id, "),
        ("size__down", "size__asc or size__desc"),
        ("size__desc__asc", "size__asc or size__desc"),
        ("", "columns: created_at, id, "),
    ],
)
def test_what_cannot_be_sorted_by(text: str, mend: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_sort(RESOURCES["files"], text)
    assert raised.value.mend.startswith(mend)


@pytest.mark.parametrize("name", RESOURCES)
def test_the_fields_of_an_entry_are_those_the_registry_gives(tmp_path: Path, name: str) -> None:
    """As the demo has them, which was compared with recorded answers of the real one."""
    build(tmp_path / "registry.sqlite", CollectionSpec(objects=10))
    row = next(records(tmp_path / "registry.sqlite", name))
    assert tuple(row) == RESOURCES[name].fields


def test_what_is_known_of_values_is_of_filters() -> None:
    assert VALUES.keys() <= {name for resource in RESOURCES.values() for name in resource.filters}
    assert all(values == tuple(sorted(set(values))) for values in VALUES.values())


def test_a_name_in_another_case_is_near() -> None:
    assert nearest("success", VALUES["outcome"]) == "did you mean 'Success'?"
    assert nearest("qqqq", VALUES["outcome"]) == ""
