"""How far a harvest has come, for people: a line for a log, a block for a terminal of any width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester.cli.text import duration, number, size
from harvester.harvest import Progress

WIDEST_BLOCK = 72
ROOM_FOR_BAR = 40
FORESEEABLE = 0.01
"""The share of the work that must be done before what is left of it is worth a guess."""


def _rate(progress: Progress) -> str:
    return f"{progress.requests / progress.elapsed:.1f}/s" if progress.elapsed > 0 else "–"


def _eta(progress: Progress) -> str:
    return duration(progress.eta if (progress.done or 0.0) >= FORESEEABLE else None)


def line(progress: Progress) -> str:
    """Progress as one line for a log."""
    total = f"/{number(progress.objects_total)}" if progress.objects_total else ""
    rows = [f"{number(count)} {name}" for name, count in progress.rows.items() if name != "objects"]
    parts = [
        progress.state,
        f"objects {number(progress.rows['objects'])}{total}",
        *rows,
        f"{number(progress.requests)} requests ({_rate(progress)})",
        f"{progress.traffic.retries} retries",
        f"{progress.failures} failures",
        f"{size(progress.traffic.bytes)} received",
        f"elapsed {duration(progress.elapsed)}",
        f"ETA {_eta(progress)}",
    ]
    return ", ".join(parts)


class Rows:
    """How far a list has come: rows so far, and of how many at most, as far as the Registry has said that."""

    def __init__(self, what: str, limit: int | None) -> None:
        self.read = 0
        self._what = what
        self._limit = limit
        self._total = 0

    def counted(self, total: int) -> None:
        """What the Registry says there are. Between two of its hourly counts it may be wrong."""
        self._total = total if self._limit is None else min(total, self._limit)

    def __str__(self) -> str:
        of_all = f" of {number(self._total)}" if self._total >= self.read else ""
        return f"{number(self.read)}{of_all} {self._what}"


class Block:
    """Progress as a block for a terminal, however narrow it is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich asks of whatever it prints."""
        width = options.max_width
        yield self._head(min(width, WIDEST_BLOCK))
        for text in _flowing(self._counts(), width):
            yield Text(text, no_wrap=True, overflow="ellipsis")
        for text in _flowing(self._cost(), width):
            yield Text(text, style="dim", no_wrap=True, overflow="ellipsis")

    def _head(self, width: int) -> Table:
        done = self._progress.done
        head = Table.grid(padding=(0, 2, 0, 0), expand=True)
        head.width = width
        head.add_column(no_wrap=True, style="bold")
        cells: list[RenderableType] = [self._progress.state]
        if width >= ROOM_FOR_BAR:
            head.add_column(ratio=1)
            cells.append(ProgressBar(total=1.0, completed=done or 0.0, pulse=done is None, complete_style="cyan"))
        for text in ("" if done is None else f"{done:.0%}", f"ETA {_eta(self._progress)}"):
            head.add_column(no_wrap=True, justify="right")
            cells.append(text)
        head.add_row(*cells)
        return head

    def _counts(self) -> list[str]:
        rows, total = self._progress.rows, self._progress.objects_total
        of = f" of {number(total)}" if total else ""
        others = [f"{name} {number(count)}" for name, count in rows.items() if name != "objects"]
        return [f"objects {number(rows['objects'])}{of}", *others]

    def _cost(self) -> list[str]:
        progress, traffic = self._progress, self._progress.traffic
        figures = {"retries": traffic.retries, "failures": progress.failures}
        return [
            f"requests {number(progress.requests)} ({_rate(progress)})",
            *(f"{name} {number(count)}" for name, count in figures.items() if count),
            f"received {size(traffic.bytes)}",
            f"elapsed {duration(progress.elapsed)}",
        ]


def _flowing(items: Sequence[str], width: int) -> list[str]:
    """Lines of as many items as fit, none broken."""
    lines = [""]
    for item in items:
        longer = f"{lines[-1]}   {item}" if lines[-1] else item
        if lines[-1] and len(longer) > width:
            lines.append(item)
        else:
            lines[-1] = longer
    return lines


__all__ = ["Block", "line"]
