"""Records on stdout: exact where they are data, harmless everywhere."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from harvester.cli import output
from harvester.cli.output import Format, Writer, csv_cell, harmless, parse_fields, shown
from harvester.cli.text import local_time, one_line, size, visible
from harvester.errors import ConfigError
from harvester.registry import RESOURCES
from tests.terminal import stdout_at_a_terminal

ALERTS = RESOURCES["alerts"]

HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07\x1b[31mred",
    "line\nbreak\r\nreturn\rvertical\x0bform\x0c",
    "\x9b31m C1 \x85 next",
    "\u202egnp.exe\u202c \u2066isolated\u2069 \u200f\u061c",
    "\u2028line\u2029paragraph",
    "\u0301lone mark",
    "\u0301" * 50,
    "図書館の写真と資料のとても長い題名" * 3,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family \U0001f3f3\ufe0f\u200d\U0001f308",
    '=HYPERLINK("https://evil.example","click")',
    "  =1+1",
    "\t=1+1",
    "\r=1+1",
    "\u00a0=1+1",
    "+1|cmd",
    "-1+1",
    "@SUM(A1)",
    "\uff1d1+1",
    "tab\there \x7f \ufeff \ufffe \U000e0001 \ue000 \u0378",
    "quotes \" and , and ; and '",
    "x" * 5000,
    "\u0e33" * 100,
    "",
    " ",
]
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(HOSTILE)


def written(form: Format, pages: list[list[dict[str, Any]]], fields: tuple[str, ...] = ()) -> str:
    """What a writer gives, without a terminal."""
    kept = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(kept, "ascii", write_through=True))
        writer = Writer(ALERTS, form, fields)
        for page in pages:
            writer.write(page)
        writer.close()
        return kept.getvalue().decode()


def alerts(*texts: str) -> list[dict[str, Any]]:
    return [{"id": number, "subject": text, "type": text} for number, text in enumerate(texts, 1)]


PAGES = st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=3)


@given(PAGES)
def test_ndjson_and_json_are_the_records(pages: list[list[str]]) -> None:
    records = [alerts(*page) for page in pages]
    every = [record for page in records for record in page]
    text = written(Format.NDJSON, records)
    assert text == "".join(orjson.dumps(record).decode() + "\n" for record in every)
    assert json.loads(written(Format.JSON, records)) == every


@given(PAGES)
def test_csv_rows_are_lines_and_no_cell_is_a_formula(pages: list[list[str]]) -> None:
    fields = ("id", "subject", "type")
    text = written(Format.CSV, [alerts(*page) for page in pages], fields)
    every = [value for page in pages for value in page]
    assert text.count("\n") == len(text.splitlines()) == len(every) + 1
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text.replace("\n", ""))
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == list(fields)
    assert [len(row) for row in rows] == [3] * len(every)
    for row in rows:
        assert not any(
            cell.strip().startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")) for cell in row
        )


@given(TEXTS)
def test_harmless_text_stands_in_csv_as_it_is(text: str) -> None:
    if text.isprintable() and text.isascii() and text.strip()[:1] not in tuple("=+-@"):
        assert csv_cell(text) == text
    assert csv_cell(text).endswith(visible(text))


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (-5, -5),
        (0, 0),
        (2.5, 2.5),
        (True, "true"),
        (None, "null"),
        ({"a": "=\u202e"}, '{"a":"=\\u202e"}'),
        ("=1", "'=1"),
        ("-1", "'-1"),
        ("000123", "000123"),
    ],
)
def test_cells(value: Any, cell: Any) -> None:
    assert csv_cell(value) == cell


def test_a_field_the_registry_adds_tomorrow_is_no_formula_either() -> None:
    assert written(Format.CSV, [[{"id": 1, "=evil": 2}]]) == "id,'=evil\n1,2\n"


@given(PAGES)
def test_a_table_has_a_line_for_each_record(pages: list[list[str]]) -> None:
    text = written(Format.TABLE, [alerts(*page) for page in pages], ("id", "subject", "type"))
    assert len(text.splitlines()) == text.count("\n") == sum(map(len, pages)) + 1
    assert harmless_to_a_terminal(text.replace("\n", ""))


def harmless_to_a_terminal(text: str) -> bool:
    return all(unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn") for c in text)


@given(TEXTS)
def test_json_on_a_terminal_is_the_same_json(text: str) -> None:
    line = harmless(orjson.dumps({"text": text}).decode())
    assert json.loads(line) == orjson.loads(line) == {"text": text}
    assert harmless_to_a_terminal(line)
    assert not any(unicodedata.category(c)[0] == "M" for c in line)


@given(TEXTS)
@example("\u0301x")
def test_visible_text_is_one_harmless_line(text: str) -> None:
    for shown_text in (visible(text), one_line(text)):
        assert harmless_to_a_terminal(shown_text)
        assert not shown_text or unicodedata.category(shown_text[0])[0] != "M"
        assert len(shown_text.splitlines()) <= 1
    if text.isprintable() and text.isascii():
        assert visible(text) == text
    assert cell_len(one_line(text)) <= 12_000


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("id", 1234567, "1234567"),
        ("generic_file_id", 0, "–"),
        ("file_count", 12345, "12,345"),
        ("size", 1 << 40, "1.0 TiB"),
        ("payload_size", 0, "0 B"),
        ("retry", True, "yes"),
        ("retry", False, "no"),
        ("title", "", "–"),
        ("title", None, "–"),
        ("title", "a\nb", "a\\x0ab"),
        ("updated_at", "0001-01-01T00:00:00Z", "–"),
        ("updated_at", "", "–"),
        ("updated_at", "not\x1b a time", "not\\x1b a time"),
        ("last_fixity_check", "2026-01-31T12:00:00Z", "2026-01-31 12:00 UTC"),
        ("events", [{"id": 1}], '[{"id":1}]'),
        ("title", "x" * 5000, "x" * 1000),
    ],
)
@pytest.mark.usefixtures("utc")
def test_values_for_people(name: str, value: Any, expected: str) -> None:
    assert shown(name, value) == expected


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-11-24T23:05:59.5Z", "America/New_York", "2026-11-24 18:05 EST"),
        ("2026-07-01T12:00:00Z", "America/New_York", "2026-07-01 08:00 EDT"),
        ("9999-12-31T23:59:59Z", "Pacific/Kiritimati", "9999-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00Z", "America/New_York", "–"),
    ],
)
def test_times_in_the_local_zone(monkeypatch: pytest.MonkeyPatch, text: str, zone: str, expected: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert local_time(text) == expected
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (1 << 50, "1.0 PiB"),
        (1 << 62, "4096.0 PiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_fields_are_checked() -> None:
    assert parse_fields(ALERTS, " id , type,") == ("id", "type")
    assert parse_fields(ALERTS, None) == parse_fields(ALERTS, "") == ()
    with pytest.raises(ConfigError, match="no field 'tipe'") as raised:
        parse_fields(ALERTS, "id,tipe")
    assert raised.value.mend == "did you mean 'type'?"


@pytest.mark.parametrize("name", RESOURCES)
def test_the_columns_of_a_table_are_fields(name: str) -> None:
    assert set(output.COLUMNS[name]) <= set(RESOURCES[name].fields)


# On a terminal.


def terminal_of(form: Format, pages: list[list[dict[str, Any]]], fields: tuple[str, ...], columns: int = 80) -> str:
    def work() -> None:
        writer = Writer(ALERTS, form, fields)
        for page in pages:
            writer.write(page)
        writer.close()

    return stdout_at_a_terminal(columns, work)


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_hostile_reaches_a_terminal(form: Format, text: str) -> None:
    said = terminal_of(form, [alerts(text)], ("id", "subject"))
    assert harmless_to_a_terminal(said.replace("\n", ""))
    lines = said.splitlines()
    assert len(lines) == {"ndjson": 1, "json": 3, "csv": 2, "table": 2}[form]
    if form is Format.NDJSON:
        assert json.loads(said) == {"id": 1, "subject": text}
    if form is Format.JSON:
        assert json.loads(said) == [{"id": 1, "subject": text}]
    if form is Format.TABLE:
        assert all(cell_len(line) <= 80 for line in lines)


@given(PAGES, st.integers(1, 60))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_a_table_is_never_wider_than_the_terminal(pages: list[list[str]], columns: int) -> None:
    fields = ("id", "subject", "type", "institution_identifier")
    records = [[record | {"institution_identifier": record["type"]} for record in alerts(*page)] for page in pages]
    said = terminal_of(Format.TABLE, records, fields, columns)
    assert len(said.splitlines()) == sum(map(len, pages)) + 1
    assert all(cell_len(line) <= columns for line in said.splitlines())


def test_a_wide_number_on_a_later_page_is_not_cut() -> None:
    pages = [[{"id": 7, "subject": "a" * 100}], [{"id": 123456789, "subject": "b"}]]
    first, second, third = terminal_of(Format.TABLE, pages, ("id", "subject")).splitlines()
    assert third.split() == ["123456789", "b"]
    assert cell_len(second) == 80
    assert second.endswith("a…")
    assert first.split() == ["id", "subject"]


def test_identifiers_are_cut_in_front_and_times_last() -> None:
    record = {
        "id": 7,
        "institution_identifier": f"test.edu/{'long/' * 20}end.txt",
        "created_at": "2026-01-31T12:00:00Z",
    }
    fields = ("id", "institution_identifier", "created_at")
    _, row = terminal_of(Format.TABLE, [[record]], fields, columns=60).splitlines()
    assert cell_len(row) == 60
    assert row.startswith(" 7  …")
    assert "/long/end.txt  20" in row
    assert "…" not in row[6:]
    narrow = terminal_of(Format.TABLE, [[record]], fields, columns=15)
    assert all(cell_len(line) <= 15 for line in narrow.splitlines())


def test_columns_stand_under_each_other_whatever_is_in_them() -> None:
    texts = ["図書館", "plain", "e\u0301te\u0301", "Ünï"]
    said = terminal_of(Format.TABLE, [[{"subject": text, "type": "END"} for text in texts]], ("subject", "type"))
    _, *rows = said.splitlines()
    assert len({cell_len(row[: row.index("END")]) for row in rows}) == 1


def test_the_default_is_a_table_for_eyes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal, form in ((True, Format.TABLE), (False, Format.NDJSON)):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        assert output.default_format() is form


def test_a_pipe_whose_reader_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert not output.nobody_reads()
        os.close(read)
        assert output.nobody_reads()
        monkeypatch.undo()


def test_a_file_is_no_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert not output.nobody_reads()
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        assert not output.nobody_reads()
        monkeypatch.undo()
