"""Lines for people on stdout: facts, sections, rows in columns; as wide as the terminal, plain where there is none.

Hides what the output can take. A terminal gets colours (unless NO_COLOR) and no line wider than itself; a pipe gets
whole lines without either; an encoding without tree characters gets ASCII. Foreign text becomes harmless here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from harvester.cli.fitting import cut_within, filled, terminal_columns
from harvester.cli.terminal import console_on
from harvester.cli.text import visible

MARGIN = 2
LINES_A_FACT = 4
"""Lines that one value may fill on a terminal, unless everything is asked for."""

GAP = 2
NARROW = 66
LAST, LEAST = 20, 10
"""Cells that the last column gets if need be, as long as others have more than so many."""

NARROWEST_NAME = 16
LONGEST_NAME = 72
"""Where the cells begin at the latest in lines that are not cut; longer names push theirs to the right."""

FLUSH_AT = 500

_ASCII = str.maketrans("├└│─–…✓✗·×", "|`|--~+!,x")


@dataclass(frozen=True)
class Row:
    """A line in columns: branches of the tree, a name (cut if need be), a note on it, and cells."""

    name: str
    cells: tuple[str, ...] = ()
    branches: str = ""
    note: str = ""
    style: str = ""
    cell_styles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fact:
    """A name and what there is to say under it; nothing is said if that is empty."""

    name: str
    value: str
    style: str = ""


class Canvas:
    """Where a picture is drawn, line by line. `everything`: nothing is cut, however wide a line becomes."""

    def __init__(self, *, everything: bool = False) -> None:
        self._console = console_on(sys.stdout)
        columns = None if everything else terminal_columns()
        self.room = None if columns is None else max(columns, NARROWEST_NAME + MARGIN)
        self._encoding = sys.stdout.encoding or "utf-8"
        self._lines: list[Text] = []

    @property
    def narrow(self) -> bool:
        """Whether there is room for the necessary only."""
        return self.room is not None and self.room < NARROW

    def line(self, *parts: str | tuple[str, str]) -> None:
        """A line of texts, or texts with their style; cut at the terminal's edge."""
        text = Text()
        for part in parts:
            said, style = (part, "") if isinstance(part, str) else part
            text.append(visible(said), style)
        if self.room is not None:
            text.truncate(self.room, overflow="ellipsis")
        self._lines.append(text)
        if len(self._lines) >= FLUSH_AT:
            self.flush()

    def title(self, text: str, style: str = "bold") -> None:
        """The first line of a picture, or of a part of it."""
        self._wrapped(text, style, indent=0, first=Text())

    def section(self, name: str, *notes: str | tuple[str, str]) -> None:
        """The heading of a part."""
        self.line("")
        self.line((name, "bold cyan"), *(part for note in notes for part in ("  ", note)))

    def facts(self, facts: Iterable[Fact]) -> None:
        """Names and values, each of which may fill a few lines; what has no value is left out."""
        held = [fact for fact in facts if fact.value]
        keys = max((cell_len(visible(fact.name)) for fact in held), default=0)
        if self.room is not None:
            keys = min(keys, self.room // 2)
        for fact in held:
            first = Text.assemble(" " * MARGIN, (_filled(visible(fact.name), keys), "dim"))
            self._wrapped(fact.value, fact.style, MARGIN + keys + GAP, first)

    def note(self, text: str, style: str = "dim") -> None:
        """A remark on what stands above."""
        self._wrapped(text, style, MARGIN, Text(" " * MARGIN))

    def _wrapped(self, value: str, style: str, indent: int, first: Text) -> None:
        shown = visible(value)
        if self.room is None:
            self._lines.append(first.append(shown, style))
            return
        width = max(self.room - indent, NARROWEST_NAME)
        lines = Text(shown, style).wrap(self._console, width, overflow="fold")
        for number, part in enumerate(lines[:LINES_A_FACT]):
            if number == LINES_A_FACT - 1 and len(lines) > LINES_A_FACT:
                part = Text(set_cell_size(part.plain, min(width - 1, cell_len(part.plain))).rstrip() + "…", style)
            whole = Text.assemble(first if number == 0 else " " * indent, part)
            whole.truncate(self.room)
            self._lines.append(whole)

    def rows(self, rows: Sequence[Row], right: Sequence[bool]) -> None:
        """Lines in columns; the name takes what the cells leave. `right` says which cells end at the same place."""
        widths = [max((cell_len(r.cells[n]) for r in rows if n < len(r.cells)), default=0) for n in range(len(right))]
        beside = sum(width + GAP for width in widths if width)
        left = max((cell_len(_left(row)) for row in rows if row.cells), default=0)
        left = min(left, LONGEST_NAME if self.room is None else max(self.room - beside - MARGIN, NARROWEST_NAME))
        for row in rows:
            self._row(row, left, widths, right)

    def columns(self, lines: Sequence[Sequence[tuple[str, str]]]) -> None:
        """Lines of cells (text and style) in columns, of which the last takes what is left."""
        plain = [[(visible(text), style) for text, style in line] for line in lines]
        widths = [max(cell_len(text) for text, _ in column) for column in list(zip(*plain, strict=True))[:-1]]
        while self.room is not None and widths and self._spare(widths) < LAST and max(widths) > LEAST:
            widths[widths.index(max(widths))] -= 1
        for *cells, (last, style) in plain:
            parts = [(_filled(text, width), own) for (text, own), width in zip(cells, widths, strict=True)]
            last = last if self.room is None else cut_within(last, self._spare(widths))
            self.line(" " * MARGIN, *parts, (last, style))

    def _spare(self, widths: Sequence[int]) -> int:
        """Cells that columns of these widths leave on a line."""
        return max((self.room or 0) - MARGIN - sum(width + GAP for width in widths), 1)

    def fits(self, rows: Iterable[Row], beside: int) -> bool:
        """Whether these names and `beside` more cells fit on a line uncut."""
        return self.room is None or MARGIN + max(map(cell_len, map(_left, rows)), default=0) + beside <= self.room

    def _row(self, row: Row, left: int, widths: Sequence[int], right: Sequence[bool]) -> None:
        name, note = visible(row.name), f"{'':{GAP}}{row.note}" if row.note else ""
        if self.room is not None and cell_len(row.branches + name + note) > left:
            name, note = cut_within(name, max(left - cell_len(row.branches), 1)), ""
        parts: list[tuple[str, str]] = [(" " * MARGIN, ""), (row.branches, "dim"), (name, row.style), (note, "dim")]
        if row.cells:
            parts.append((" " * (left - cell_len(row.branches + name + note)), ""))
        styles = row.cell_styles or ("",) * len(row.cells)
        for text, style, width, to_the_right in zip(row.cells, styles, widths, right, strict=False):
            if width:
                space = " " * (width - cell_len(text))
                parts += [(" " * GAP, ""), (space if to_the_right else "", ""), (text, style)]
                parts.append(("" if to_the_right else space, ""))
        line = Text.assemble(*parts)
        line.rstrip()
        if self.room is not None:
            line.truncate(self.room, overflow="ellipsis")
        self._lines.append(line)
        if len(self._lines) >= FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Write what was drawn. Raises BrokenPipeError once nobody reads any more."""
        with self._console.capture() as drawn:
            for line in self._lines:
                self._console.print(line, soft_wrap=True)
        self._lines.clear()
        text = drawn.get()
        if not self._encoding.lower().replace("-", "").startswith("utf"):
            text = text.translate(_ASCII)
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode(self._encoding, "backslashreplace"))
        sys.stdout.buffer.flush()


def _filled(text: str, width: int) -> str:
    return filled(text, width) + " " * GAP


def _left(row: Row) -> str:
    return row.branches + visible(row.name) + (f"{'':{GAP}}{row.note}" if row.note else "")


__all__ = ["Canvas", "Fact", "Row"]
