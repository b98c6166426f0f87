"""Text made to fit: never wider than it may be, and no mark without the character that it belongs to."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from harvester.cli.fitting import cut_at_end, cut_in_front, cut_within

HEART, THUMB, FLAG, ACCENT = "❤\ufe0f", "👍🏽", "🇩🇪", "e\u0301"
PIECES = st.lists(st.sampled_from([HEART, THUMB, FLAG, ACCENT, "한", "1\ufe0f\u20e3", "a", " ", "…"])).map("".join)


@pytest.mark.parametrize("cut", [cut_at_end, cut_in_front, cut_within])
@given(text=PIECES, width=st.integers(1, 24))
@example(text=f"ab{HEART}cd{HEART}", width=4)
@example(text=ACCENT * 20, width=7)
def test_it_fits_and_no_mark_stands_alone(cut: Callable[[str, int], str], text: str, width: int) -> None:
    fitted = cut(text, width)
    assert cell_len(fitted) <= width
    if cell_len(text) > width:
        _, _, after = fitted.rpartition("…")
        assert not after or unicodedata.category(after[0])[0] != "M"
    else:
        assert fitted == text


@pytest.mark.parametrize(
    ("text", "width", "fitted"),
    [
        ("institution1.edu/bag_000001", 10, "…ag_000001"),
        (f"love{HEART}{HEART}", 6, f"…e{HEART}{HEART}"),
        (f"love{HEART}{HEART}", 5, f"…{HEART}{HEART}"),
        (f"love{HEART}{HEART}", 4, f"…{HEART}"),
        (f"caf{ACCENT}s", 3, f"…{ACCENT}s"),
    ],
)
def test_the_end_is_kept(text: str, width: int, fitted: str) -> None:
    assert cut_in_front(text, width) == fitted
