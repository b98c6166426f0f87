"""A page as the dump wants it: encoded once, with the few facts the harvest must know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import orjson

from harvester.errors import ProtocolError
from harvester.registry import Page, Record, Resource
from harvester.registry.resources import FILES, PARENT_FILTER

UNWEIGHABLE = (1 << 64) - 1
"""The weight of a file that must be looked at again: its size is no number of bytes."""


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
    def of_lines(cls, lines: Sequence[bytes], first_id: int, last_id: int, weights: Sequence[int]) -> Batch:
        """Lines that are encoded already and do not come as one page, with the weights of the records."""
        sizes = [weight - 1 for weight in weights if weight]
        active = len(sizes), sum(sizes)
        if UNWEIGHABLE in weights:
            active = _active(list(map(orjson.loads, lines)))
        return cls(b"".join(lines), len(lines), first_id, last_id, len(lines), False, False, *active)

    def beyond(self, row_id: int) -> Batch:
        """The batch without its rows up to and including this id."""
        rows = [row for row in map(orjson.loads, self.lines.splitlines()) if row["id"] > row_id]
        return _batch(rows, self.count, self.exact, self.has_next)

    def cut(self, size: int) -> tuple[Batch, Batch | None]:
        """The batch up to the first line end at or after `size` bytes, and the rest if there is one."""
        end = self.lines.find(b"\n", max(size, 1) - 1) + 1
        if end in (0, len(self.lines)):
            return self, None
        head, rest = self.lines[:end], self.lines[end:]
        size = head.count(b"\n")
        active, active_bytes = _active(list(map(orjson.loads, head.splitlines()))) if self.active else (0, 0)
        last = orjson.loads(head[head.rfind(b"\n", 0, -1) + 1 :])["id"]
        first = orjson.loads(rest[: rest.find(b"\n")])["id"]
        return (
            replace(self, lines=head, size=size, last_id=last, active=active, active_bytes=active_bytes),
            replace(
                self,
                lines=rest,
                size=self.size - size,
                first_id=first,
                active=self.active - active,
                active_bytes=self.active_bytes - active_bytes,
            ),
        )


def encode(rows: Sequence[Record]) -> bytes:
    """NDJSON: every record as the Registry sent it, no field renamed, dropped or moved."""
    return b"".join(map(orjson.dumps, rows, repeat(None), repeat(orjson.OPT_APPEND_NEWLINE)))


def batch_of(page: Page) -> Batch:
    """Encode a page."""
    return _batch(page.rows, page.count, page.exact, page.has_next)


def weight(record: Record) -> int:
    """What a file adds to `active` and `active_bytes`, as one number: 0 for nothing, else its size and 1."""
    size = record.get("size")
    if record.get("state") != "A" or not isinstance(size, int):
        return 0
    return size + 1 if 0 <= size < UNWEIGHABLE - 1 else UNWEIGHABLE


def _batch(rows: Sequence[Record], count: int, exact: bool, has_next: bool) -> Batch:
    first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (0, 0)
    return Batch(encode(rows), len(rows), first, last, count, exact, has_next, *_active(rows))


def _active(rows: Sequence[Record]) -> tuple[int, int]:
    sizes = [row["size"] for row in rows if row.get("state") == "A" and isinstance(row.get("size"), int)]
    return len(sizes), sum(sizes)


def check_parent(resource: Resource, page: Page, object_id: int) -> None:
    """Raise ProtocolError unless every row belongs to the object it was listed for."""
    parents = [row.get(PARENT_FILTER) for row in page.rows]
    if parents.count(object_id) < len(parents):
        row = next(row for row in page.rows if row.get(PARENT_FILTER) != object_id)
        kind = "file" if resource is FILES else "premis event"
        raise ProtocolError(
            f"{kind} {row['id']} was listed for intellectual object {object_id}"
            f" but names {row.get(PARENT_FILTER)!r} as its own"
        )
