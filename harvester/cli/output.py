"""Records to stdout, as they arrive: NDJSON, JSON, CSV, or a table for people.

Hides how foreign text is kept from doing anything. JSON keeps every record exact, and where stdout is a terminal
it escapes what JSON by itself would let through. CSV is for spreadsheets: one record is one line, control
characters are visible, and no cell is taken for a formula. A table shows sizes with units and times in the local
zone, cut to the width of the terminal.
"""

from __future__ import annotations

import csv
import io
import select
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import orjson
from rich.cells import cell_len

from harvester.cli.fitting import cut_at_end, cut_in_front, terminal_columns
from harvester.cli.text import local_time, number, size, visible
from harvester.errors import ConfigError
from harvester.registry import Record, Resource
from harvester.registry.resources import nearest


class Format(StrEnum):
    """How records are written to stdout."""

    NDJSON = "ndjson"
    JSON = "json"
    CSV = "csv"
    TABLE = "table"


def default_format() -> Format:
    """A table for whoever looks at it, NDJSON for whatever reads it."""
    return Format.TABLE if sys.stdout.isatty() else Format.NDJSON


def asked_for(form: Format | None, *, json: bool) -> Format | None:
    """What `--format` and `--json` say together; None if neither was given. Raises ConfigError if they disagree."""
    if json and form not in (None, Format.JSON):
        raise ConfigError(f"not together with --format {form}", place="--json", mend="give one of them")
    return Format.JSON if json else form


COLUMNS: Mapping[str, tuple[str, ...]] = {
    "objects": ("id", "identifier", "title", "state", "storage_option", "file_count", "size", "updated_at"),
    "files": ("id", "identifier", "state", "size", "file_format", "storage_option", "last_fixity_check"),
    "events": ("id", "date_time", "event_type", "outcome", "generic_file_identifier", "outcome_detail"),
    "items": ("id", "name", "action", "stage", "status", "date_processed", "note"),
    "checksums": ("id", "algorithm", "digest", "state", "generic_file_identifier", "datetime"),
    "deletions": ("id", "requested_by_name", "requested_at", "confirmed_at", "cancelled_at", "file_count"),
    "alerts": ("id", "type", "subject", "user_name", "created_at", "read_at"),
}
"""What a table shows of each resource unless it is asked for something else."""


def parse_fields(resource: Resource, text: str | None) -> tuple[str, ...]:
    """The fields of `--fields a,b,c`; () if not given. Raises ConfigError for one that no entry has."""
    names = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    for name in names:
        if name not in resource.fields:
            raise ConfigError(
                f"{resource.path} have no field {name!r}", place="--fields", mend=nearest(name, resource.fields)
            )
    return names


class Writer:
    """Writes pages of records of one resource to stdout.

    Call `close` at the end, also when there were no records, but not after a failure: JSON that is not whole must not
    look as if it were.
    """

    def __init__(self, resource: Resource, form: Format, fields: Sequence[str] = ()) -> None:
        self._fields = tuple(fields) or (COLUMNS[resource.path] if form is Format.TABLE else ())
        self._all = resource.fields
        self._begun = False
        self._room = terminal_columns()
        self._widths: list[int] = []
        self._hide = harmless if sys.stdout.isatty() else _as_it_is
        self._page: Callable[[Sequence[Record]], str] = {
            Format.NDJSON: self._ndjson,
            Format.JSON: self._json,
            Format.CSV: self._csv,
            Format.TABLE: self._table,
        }[form]
        self._form = form

    def write(self, records: Sequence[Record]) -> None:
        """Write a page and see it out of the process. Raises BrokenPipeError once nobody reads any more."""
        chosen = [{name: record.get(name) for name in self._fields} for record in records] if self._fields else records
        write_out(_bytes(self._page(chosen)))
        self._begun = True

    def close(self) -> None:
        """Write what must stand at the end."""
        if not self._begun and self._form is not Format.NDJSON:
            write_out(_bytes(self._page([])))
        if self._form is Format.JSON:
            write_out(b"\n]\n")

    def _ndjson(self, records: Sequence[Record]) -> str:
        return "".join(self._hide(orjson.dumps(record).decode()) + "\n" for record in records)

    def _json(self, records: Sequence[Record]) -> str:
        lines = ",\n".join(self._hide(orjson.dumps(record).decode()) for record in records)
        return ("" if self._begun else "[") + ("," if self._begun and lines else "") + ("\n" + lines if lines else "")

    def _csv(self, records: Sequence[Record]) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self._begun:
            self._fields = self._fields or tuple(records[0] if records else self._all)
            writer.writerow(map(csv_cell, self._fields))
        writer.writerows([csv_cell(record.get(name)) for name in self._fields] for record in records)
        return text.getvalue()

    def _table(self, records: Sequence[Record]) -> str:
        rows = [[shown(name, record.get(name)) for name in self._fields] for record in records]
        if not self._begun:
            rows.insert(0, [name.replace("_", " ") for name in self._fields])
        if self._room is not None or not self._begun:
            self._widths = _widths(self._fields, self._widths, rows, self._room)
        return "".join(_aligned(self._fields, row, self._widths, self._room) for row in rows)


def _as_it_is(text: str) -> str:
    return text


def harmless(text: str) -> str:
    """The same JSON, with everything that a terminal does not simply show in JSON's own escapes."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(_json_escape(c) if unicodedata.category(c)[0] in "CZM" and c != " " else c for c in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))


FORMULA = tuple("=+-@＝＋－＠")
"""What a spreadsheet takes for the beginning of a formula; some take the wide forms too."""


def csv_cell(value: Any) -> Any:
    """A value as one cell that no spreadsheet takes for a formula and no line break ends."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = visible(value if isinstance(value, str) else orjson.dumps(value).decode())
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


MOST_SHOWN = 1000
"""Characters of a value that a table looks at; no terminal is wider."""


def shown(name: str, value: Any) -> str:
    """A value for people: sizes with units, times in the local zone, NULL as a dash."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        if name.endswith("size"):
            return size(value)
        if name == "id" or name.endswith("_id"):
            return str(value) if value else NOTHING
        return number(value)
    if value is None or value == "":
        return NOTHING
    if not isinstance(value, str):
        return visible(orjson.dumps(value).decode()[:MOST_SHOWN])
    return local_time(value) if _is_time(name) else visible(value[:MOST_SHOWN])


NOTHING = "–"
NUMERIC = frozenset({"id", "size", "file_count", "object_count", "payload_size", "payload_file_count"})
"""Columns that stand to the right."""


def _is_time(name: str) -> bool:
    return name.endswith(("_at", "_date", "date_time", "datetime", "_check", "date_processed", "mtime"))


NARROWEST = 8
BETWEEN = "  "


def _widths(names: Sequence[str], before: Sequence[int], rows: Sequence[Sequence[str]], room: int | None) -> list[int]:
    """How wide each column is: as its widest cell so far; until all fit, texts are cut, and then the rest."""
    cells = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    widths = [max(pair) for pair in zip(before or cells, cells or before, strict=True)]
    if room is None:
        return widths
    spare = sum(widths) + len(BETWEEN) * (len(widths) - 1) - room
    texts = [n for n, name in enumerate(names) if name not in NUMERIC and not _is_time(name)]
    for columns in (texts, range(len(widths))):
        while spare > 0 and max((widths[n] for n in columns), default=0) > NARROWEST:
            widths[max(columns, key=widths.__getitem__)] -= 1
            spare -= 1
    return widths


def _aligned(names: Sequence[str], cells: Sequence[str], widths: Sequence[int], room: int | None) -> str:
    """A row as a line; on a terminal never longer than that is wide."""
    fitted = []
    for name, text, width in zip(names, cells, widths, strict=True):
        cut = cut_in_front if name == "name" or name.endswith("identifier") else cut_at_end
        cell = text if room is None else cut(text, width)
        padding = " " * (width - cell_len(cell))
        fitted.append(padding + cell if name in NUMERIC else cell + padding)
    line = BETWEEN.join(fitted).rstrip()
    return (line if room is None else cut_at_end(line, room)) + "\n"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def write_out(data: bytes) -> None:
    """Bytes to stdout, after whatever was printed, and out of the process at once."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def nobody_reads(wait: float = 0.0) -> bool:
    """Whether stdout is a pipe whose reader has gone, or goes within `wait` seconds: no more need be asked for."""
    try:
        waiting = select.poll()
        waiting.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in waiting.poll(wait * 1000))
    except (OSError, ValueError):
        return False


__all__ = [
    "Format",
    "Writer",
    "asked_for",
    "csv_cell",
    "default_format",
    "nobody_reads",
    "parse_fields",
    "shown",
    "write_out",
]
