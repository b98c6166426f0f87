"""Text made to fit the terminal: how wide it is, and what is left out of a text that is wider.

Hides how characters are counted in the cells of a terminal, of which some take two and some none.
"""

from __future__ import annotations

import os
import sys
import unicodedata

from rich.cells import cell_len, set_cell_size

TAIL = 8
"""Cells kept of the end of a name whose middle is cut: it is where file names differ."""


def terminal_columns() -> int | None:
    """Columns of the terminal at stdout; None where it is none, and a line may be as long as it likes."""
    return os.get_terminal_size(sys.stdout.fileno()).columns or 80 if sys.stdout.isatty() else None


def cut_at_end(text: str, width: int) -> str:
    """`text` in at most `width` cells, for prose: its end is left out."""
    if width < 1:
        return ""
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip(" …") + "…"


def cut_in_front(text: str, width: int) -> str:
    """`text` in at most `width` cells, for identifiers and names of bags, which all begin alike."""
    return text if cell_len(text) <= width else "…" + _end_of(text, width - 1).lstrip(" …")


def cut_within(text: str, width: int, tail: int = TAIL) -> str:
    """`text` in at most `width` cells: its middle is left out, and of its end at most `tail` cells are kept."""
    if cell_len(text) <= width:
        return text
    end = _end_of(text, min(tail, width // 3))
    head = set_cell_size(text, max(width - 1 - cell_len(end), 0)).rstrip()
    return f"{head}…{end}"


def _end_of(text: str, width: int) -> str:
    """As much of the end as fits, from a character that stands by itself: a mark belongs to what is before it.

    What a mark does to a width (U+FE0F makes two cells of a heart) is seen only with that.
    """
    start = here = len(text)
    while here and cell_len(text[here - 1 :]) <= width:
        here -= 1
        if unicodedata.category(text[here])[0] != "M":
            start = here
    return text[start:]


def filled(text: str, width: int, tail: int = TAIL) -> str:
    """`text` in exactly `width` cells: with spaces behind it, or cut as `cut_within` does it."""
    short = cut_within(text, width, tail)
    return short + " " * (width - cell_len(short))


__all__ = ["cut_at_end", "cut_in_front", "cut_within", "filled", "terminal_columns"]
