"""Records to stdout, as they arrive: NDJSON, JSON, CSV, or a table for people.

Hides how foreign text is kept from doing anything. JSON keeps every record exact, and where stdout is a terminal
it escapes what JSON by itself would let through. CSV is for spreadsheets: one record is one line, control
characters are visible, and no cell is taken for a formula. A table shows sizes with units and times in the local
zone, cut to the width of the terminal.
"""

from __future__ import annotations

import csv
import io
import os
import select
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import orjson
from rich.cells import cell_len, set_cell_size

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
    """Writes pages of records of one resource to stdout. Call `close` at the end, also when there were none."""

    def __init__(self, resource: Resource, form: Format, fields: Sequence[str] = ()) -> None:
        self._fields = tuple(fields) or (COLUMNS[resource.path] if form is Format.TABLE else ())
        self._all = resource.fields
        self._begun = False
        self._room = _room()
        self._widths: list[int] = []
        self._hide = ascii_only if sys.stdout.isatty() else _as_it_is
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
        _out(self._page(chosen))
        self._begun = True

    def close(self) -> None:
        """Write what must stand at the end."""
        if not self._begun and self._form is not Format.NDJSON:
            _out(self._page([]))
        if self._form is Format.JSON:
            _out("\n]\n")

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
            writer.writerow(self._fields)
        writer.writerows([csv_cell(record.get(name)) for name in self._fields] for record in records)
        return text.getvalue()

    def _table(self, records: Sequence[Record]) -> str:
        rows = [[shown(name, record.get(name)) for name in self._fields] for record in records]
        if not self._begun:
            self._widths = _widths([list(self._fields), *rows], self._room)
            rows.insert(0, [name.replace("_", " ") for name in self._fields])
        numeric = {"size", "id", "file_count", "object_count", "payload_size", "payload_file_count"}
        right = [name in numeric for name in self._fields]
        return "".join(_aligned(row, self._widths, right, cut=self._room is not None) for row in rows)


def _as_it_is(text: str) -> str:
    return text


def ascii_only(text: str) -> str:
    """JSON with everything that a terminal does not simply show as JSON escapes: the same JSON, harmless."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(_json_escape(c) if unicodedata.category(c)[0] in "CZM" and c != " " else c for c in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))


def csv_cell(value: Any) -> Any:
    """A value as one cell that no spreadsheet takes for a formula and no line break ends."""
    if not isinstance(value, str):
        return value if isinstance(value, int | float) and not isinstance(value, bool) else orjson.dumps(value).decode()
    text = visible(value)
    return f"'{text}" if text.lstrip(" ")[:1] in tuple("=+-@") else text


def shown(name: str, value: Any) -> str:
    """A value for people: sizes with units, times in the local zone, NULL as a dash."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("size") and isinstance(value, int):
        return size(value)
    if isinstance(value, int):
        return str(value) if name == "id" or name.endswith("_id") else number(value)
    if isinstance(value, str) and _is_time(name):
        return local_time(value)
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return visible(text[:1000]) if text else "–"


def _is_time(name: str) -> bool:
    return name.endswith(("_at", "_date", "date_time", "datetime", "_check", "date_processed", "mtime"))


def _room() -> int | None:
    """Columns of the terminal; None where stdout is none and a line may be as long as it likes."""
    return os.get_terminal_size(sys.stdout.fileno()).columns or 80 if sys.stdout.isatty() else None


NARROWEST = 8


def _widths(rows: Sequence[Sequence[str]], room: int | None) -> list[int]:
    """How wide each column is: as its widest cell, the widest columns cut until all fit."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    if room is None:
        return widths
    spare = sum(widths) + 2 * (len(widths) - 1) - room
    while spare > 0 and max(widths) > NARROWEST:
        widest = max(range(len(widths)), key=widths.__getitem__)
        widths[widest] -= 1
        spare -= 1
    return widths


def _aligned(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], *, cut: bool) -> str:
    fitted = []
    for text, width, to_the_right in zip(cells, widths, right, strict=True):
        if cut and cell_len(text) > width:
            text = set_cell_size(text, width - 1).rstrip() + "…"
        padding = " " * (width - cell_len(text))
        fitted.append(padding + text if to_the_right else text + padding)
    return "  ".join(fitted).rstrip() + "\n"


def _out(text: str) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass"))
    sys.stdout.buffer.flush()


def nobody_reads() -> bool:
    """Whether stdout is a pipe whose reader has gone: the next page need not be asked for."""
    try:
        waiting = select.poll()
        waiting.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in waiting.poll(0))
    except (OSError, ValueError):
        return False


__all__ = ["Format", "Writer", "csv_cell", "default_format", "nobody_reads", "parse_fields", "shown"]
