"""Lines for people: what is too long is cut or wrapped where it can be, and nothing gets lost without a sign."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from harvester.cli.canvas import LINES_A_FACT, Canvas, Fact, Row
from harvester.cli.fitting import cut_within

WIDTHS = st.integers(20, 120)
TEXTS = st.text(max_size=200)


def drawn(capsys: pytest.CaptureFixture[bytes], canvas: Canvas) -> list[str]:
    canvas.flush()
    return capsys.readouterr().out.decode().split("\n")[:-1]


def canvas_of(width: int | None) -> Canvas:
    canvas = Canvas()
    canvas.room = width
    return canvas


@given(text=TEXTS, width=st.integers(1, 60))
def test_what_is_cut_fits_and_says_so(text: str, width: int) -> None:
    short = cut_within(text, width)
    assert cell_len(short) <= width
    assert short == text or "…" in short


def test_a_name_that_is_cut_keeps_its_ending() -> None:
    assert cut_within("a_very_long_file_name_0001.tif", 20) == "a_very_long_f…01.tif"
    assert cut_within("图书馆图书馆图书馆图书馆", 11) == "图书馆图…馆"


def test_a_value_fills_lines_without_losing_a_word(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    words = [f"word{n}" for n in range(24)]
    canvas = canvas_of(60)
    canvas.facts([Fact("description", " ".join(words)), Fact("empty", ""), Fact("id", "7")])
    lines = drawn(capsysbinary, canvas)
    assert " ".join(lines).replace("description", "").replace("id", "").split() == [*words, "7"]
    assert all(line.startswith(" " * 15) for line in lines[1:-1])
    assert not any("empty" in line for line in lines)


def test_a_value_of_thousands_of_characters_is_cut_and_says_so(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    for width in (30, 80):
        canvas = canvas_of(width)
        canvas.facts([Fact("title", "x" * 5000)])
        lines = drawn(capsysbinary, canvas)
        assert len(lines) == LINES_A_FACT
        assert lines[-1].endswith("x…")
        assert max(map(cell_len, lines)) <= width
    whole = canvas_of(None)
    whole.facts([Fact("title", "x" * 5000)])
    assert "x" * 5000 in drawn(capsysbinary, whole)[0]


@given(
    rows=st.lists(
        st.tuples(TEXTS, st.sampled_from(["", "3 files"]), st.lists(st.sampled_from(["1.2 GiB", "", "7 d ago"])))
    )
)
@pytest.mark.parametrize("width", [20, 50, 80])
def test_no_row_is_wider_than_the_terminal(
    width: int, rows: list[tuple[str, str, list[str]]], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    canvas = canvas_of(width)
    canvas.rows([Row(name, tuple(cells[:3]), "├─ ", note) for name, note, cells in rows], (True, False, False))
    canvas.columns([((name, "bold"), (note, ""), (name, "dim")) for name, note, _ in rows])
    lines = drawn(capsysbinary, canvas)
    assert len(lines) == 2 * len(rows)
    assert all(cell_len(line) <= width for line in lines)


def test_cells_stand_in_columns_and_numbers_end_at_the_same_place(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    canvas = canvas_of(40)
    rows = [Row("a", ("1 B", "new")), Row("b" * 100, ("100.0 KiB", "old")), Row("data/", ("7 B",), note="3 files")]
    canvas.rows(rows, (True, False))
    first, second, third = drawn(capsysbinary, canvas)
    assert first.index("1 B") + 3 == second.index("KiB") + 3 == third.index("7 B") + 3
    assert first.index("new") == second.index("old")
    assert "3 files" in third
