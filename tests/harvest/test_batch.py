"""A page as the dump wants it: cut anywhere, put together from lines, its facts stay those of its records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import ProtocolError
from harvester.harvest.batch import Batch, batch_of, check_parent, encode, weight
from harvester.registry import Page
from harvester.registry.resources import EVENTS, FILES

Row = dict[str, Any]

states = st.sampled_from(["A", "D", None, 7])
sizes = st.integers(0, 1 << 40) | st.sampled_from(
    [-1, 0, True, None, "9", 1.5, (1 << 64) - 3, (1 << 64) - 2, (1 << 64) - 1]
)
files = st.lists(st.tuples(states, sizes, st.text(max_size=9)), min_size=1, max_size=12).map(
    lambda found: [
        {"id": number, "state": state, "size": size, "identifier": text}
        for number, (state, size, text) in enumerate(found, 1)
    ]
)


def page(rows: list[Row]) -> Page:
    return Page(rows, len(rows), exact=False, has_next=False, answered_at=datetime.now(UTC))


def facts(batch: Batch) -> list[Any]:
    return [batch.lines, batch.size, batch.first_id, batch.last_id, batch.active, batch.active_bytes]


@given(files, st.integers(0, 1000))
def test_both_parts_of_a_cut_have_the_facts_of_their_own_rows(rows: list[Row], size: int) -> None:
    head, rest = batch_of(page(rows)).cut(size)
    assert head.lines.endswith(b"\n")
    assert len(head.lines) >= size or rest is None
    assert facts(head) == facts(batch_of(page(rows[: head.size])))
    assert (facts(rest) if rest else None) == (
        facts(batch_of(page(rows[head.size :]))) if head.size < len(rows) else None
    )


@given(files)
def test_weights_say_what_the_rows_do(rows: list[Row]) -> None:
    weights = list(map(weight, rows))
    assert all(0 <= number < 1 << 64 for number in weights)
    lines = [encode([row]) for row in rows]
    assert facts(Batch.of_lines(lines, 1, len(rows), weights)) == facts(batch_of(page(rows)))


@given(files, st.integers(0, 13))
def test_beyond_a_row(rows: list[Row], number: int) -> None:
    assert facts(batch_of(page(rows)).beyond(number)) == facts(batch_of(page(rows[number:])))


def test_a_row_of_another_object() -> None:
    rows = [{"id": 1, "intellectual_object_id": 5}, {"id": 2, "intellectual_object_id": 6}]
    check_parent(FILES, page(rows[:1]), 5)
    with pytest.raises(ProtocolError, match=r"file 2 .*object 5 but names 6"):
        check_parent(FILES, page(rows), 5)
    with pytest.raises(ProtocolError, match=r"premis event 3 .* names None"):
        check_parent(EVENTS, page([{"id": 3}]), 5)


def test_a_line_is_the_record_as_it_came() -> None:
    text = b'{"id":1,"b":"\\n\\u2028","a":[{"x":1},{"y":0.1}],"c":null}'
    row = orjson.loads(text)
    assert encode([row, row]) == 2 * (orjson.dumps(row) + b"\n")
    assert list(orjson.loads(encode([row]))) == ["id", "b", "a", "c"]
