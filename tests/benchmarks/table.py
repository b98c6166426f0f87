"""The rows of the table that the benchmarks print: what was measured, the figure, the goal."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line. `met` is None where there is no goal."""

    what: str
    figure: str
    goal: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        return f"| {self.what} | {self.figure} | {self.goal} | {verdict} |"


HEAD = "| what | measured | goal | |\n|---|---|---|---|"

Rows = Callable[[Sequence[str]], Iterator[Row]]
"""A benchmark: from its arguments to its rows, each given as soon as it is measured."""


def at_most(what: str, value: float, limit: float, note: str = "", unit: str = "") -> Row:
    """A row whose figure must not be above the limit."""
    return Row(what, _figure(value, note, unit), f"≤ {limit:g}{unit}", value <= limit)


def at_least(what: str, value: float, limit: float, note: str = "", unit: str = "") -> Row:
    """A row whose figure must not be below the limit."""
    return Row(what, _figure(value, note, unit), f"≥ {limit:g}{unit}", value >= limit)


def spread(values: Iterable[float]) -> str:
    """The least and the largest of several measurements, to say beside their median."""
    found = list(values)
    return f"{len(found)} runs: {min(found):.3f}–{max(found):.3f}"


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def show(rows: Iterable[Row]) -> bool:
    """Print rows as they come; returns whether every goal was met."""
    print(HEAD, flush=True)
    well = True
    for row in rows:
        print(row, flush=True)
        well = well and row.met is not False
    return well


def _figure(value: float, note: str, unit: str) -> str:
    return f"{value:.3f}{unit}" + (f" ({note})" if note else "")
