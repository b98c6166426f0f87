"""Text made to fit the terminal: how wide it is, and what is left out of a text that is wider.

Hides how characters are counted in the cells of a terminal, of which some take two and some none.
"""

from __future__ import annotations

import os
import sys

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
    return text if cell_len(text) <= width else "…" + set_cell_size(text[::-1], width - 1)[::-1].lstrip(" …")


def cut_within(text: str, width: int, tail: int = TAIL) -> str:
    """`text` in at most `width` cells: its middle is left out, and of its end at most `tail` cells are kept."""
    if cell_len(text) <= width:
        return text
    tail, end = min(tail, width // 3), ""
    for character in reversed(text):
        if cell_len(character + end) > tail:
            break
        end = character + end
    head = set_cell_size(text, max(width - 1 - cell_len(end), 0)).rstrip()
    return f"{head}…{end}"


def filled(text: str, width: int, tail: int = TAIL) -> str:
    """`text` in exactly `width` cells: with spaces behind it, or cut as `cut_within` does it."""
    short = cut_within(text, width, tail)
    return short + " " * (width - cell_len(short))


__all__ = ["cut_at_end", "cut_in_front", "cut_within", "filled", "terminal_columns"]
