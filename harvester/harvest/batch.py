"""A page as the dump wants it: encoded once, with the few facts the harvest must know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from harvester.errors import ProtocolError
from harvester.registry import Page, Record, Resource
from harvester.registry.resources import FILES, PARENT_FILTER


@dataclass(frozen=True)
class Batch:
    """NDJSON lines of one page. `active` and `active_bytes` count its files of state A and their sizes.

    The records themselves are dropped: as Python objects they take five times the memory.
    """

    lines: bytes
    size: int
    first_id: int
    last_id: int
    count: int
    exact: bool
    has_next: bool
    active: int = 0
    active_bytes: int = 0

    @classmethod
    def of_lines(cls, resource: Resource, lines: Sequence[bytes], first_id: int, last_id: int) -> Batch:
        """Lines that are encoded already and do not come as one page; only files are looked into once more."""
        batch = cls(b"".join(lines), len(lines), first_id, last_id, count=len(lines), exact=False, has_next=False)
        return batch._facts([orjson.loads(line) for line in lines]) if resource is FILES else batch

    def beyond(self, row_id: int) -> Batch:
        """The batch without its rows up to and including this id."""
        return self._of([row for row in self._rows() if row["id"] > row_id])

    def cut(self, size: int) -> tuple[Batch, Batch | None]:
        """The batch up to the first line end at or after `size` bytes, and the rest if there is one."""
        end = self.lines.find(b"\n", max(size, 1) - 1) + 1
        if end in (0, len(self.lines)):
            return self, None
        rows = self._rows()
        head = self.lines.count(b"\n", 0, end)
        first = replace(self, lines=self.lines[:end], size=head)._facts(rows[:head])
        return first, replace(self, lines=self.lines[end:], size=self.size - head)._facts(rows[head:])

    def _rows(self) -> list[Record]:
        return [orjson.loads(line) for line in self.lines.splitlines()]

    def _of(self, rows: Sequence[Record]) -> Batch:
        return replace(self, lines=encode(rows), size=len(rows))._facts(rows)

    def _facts(self, rows: Sequence[Record]) -> Batch:
        sizes = [row["size"] for row in rows if row.get("state") == "A" and isinstance(row.get("size"), int)]
        return replace(
            self,
            first_id=rows[0]["id"] if rows else 0,
            last_id=rows[-1]["id"] if rows else 0,
            active=len(sizes),
            active_bytes=sum(sizes),
        )


def encode(rows: Sequence[Record]) -> bytes:
    """NDJSON: every record as the Registry sent it, no field renamed, dropped or moved."""
    return b"".join([orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows])


def batch_of(page: Page) -> Batch:
    """Encode a page."""
    return Batch(b"", 0, 0, 0, page.count, page.exact, page.has_next)._of(page.rows)


def check_parent(resource: Resource, page: Page, object_id: int) -> None:
    """Raise ProtocolError unless every row belongs to the object it was listed for."""
    for row in page.rows:
        if row.get(PARENT_FILTER) != object_id:
            kind = "file" if resource is FILES else "premis event"
            raise ProtocolError(
                f"{kind} {row['id']} was listed for intellectual object {object_id}"
                f" but names {row.get(PARENT_FILTER)!r} as its own"
            )
