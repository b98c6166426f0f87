"""Work items watched at a terminal: a table that lives, or a line for each change where nobody looks.

Hides how a look is shown, and how a watch ends: with an exit code that says whether all went well.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from functools import partial

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harvester.ask import Change, Watch, follow
from harvester.ask.items import failed, succeeded, suspended, under_way
from harvester.cli.exits import COMPLETE, FAILED
from harvester.cli.output import Format, Writer
from harvester.cli.terminal import Terminal
from harvester.cli.text import counted, number, since, visible
from harvester.registry import Record
from harvester.registry.resources import WORK_ITEMS

EVERY = 10.0
"""Seconds between two looks, unless asked for otherwise."""

STYLES = {
    "Success": "green",
    "Failed": "bold red",
    "Cancelled": "red",
    "Suspended": "bold magenta",
    "Started": "cyan",
    "Pending": "",
}
_WIDE = 100
"""Columns from which on there is room for notes."""

_AROUND = 4
"""Lines of the terminal that are not items: heads, what is not shown, the cursor."""


async def watched(watch: Watch, terminal: Terminal, *, every: float, form: Format | None, until_done: bool) -> int:
    """Follow a set of work items and show it; returns the exit code. `form` None: as suits stdout."""
    pause = partial(asyncio.sleep, every)
    if form is None and terminal.live and sys.stdout.isatty():
        with Live(console=terminal.console, auto_refresh=False, vertical_overflow="crop") as live:
            board = _Board(watch, live, every)
            await follow(watch, pause, on_look=board.looked, on_late=board.late, until_done=until_done)
    else:
        lines = _Lines(terminal, form)
        await follow(watch, pause, on_look=lines.looked, on_late=lines.late, until_done=until_done)
    return _verdict(watch, terminal) if watch.items else COMPLETE


class _Lines:
    """Each change as a line on stdout, or as the record it made."""

    def __init__(self, terminal: Terminal, form: Format | None) -> None:
        self._terminal = terminal
        self._writer = Writer(WORK_ITEMS, Format.NDJSON) if form else None

    def looked(self, changes: list[Change]) -> None:
        if self._writer is None:
            for change in changes:
                print(line(change), flush=True)
        elif changes:
            self._writer.write([change.item for change in changes])
        for change in changes:
            if suspended(change.item):
                self._terminal.say(f"{title(change.item)} is suspended: it goes on when a person has seen to it")

    def late(self) -> None:
        self._terminal.say("no answer yet; still asking")


class _Board:
    """A table that is drawn anew after each look, and stays as it was at the end."""

    def __init__(self, watch: Watch, live: Live, every: float) -> None:
        self._watch = watch
        self._live = live
        self._every = every
        self._latest: list[Change] = []
        self._when: datetime | None = None

    def looked(self, changes: list[Change]) -> None:
        # At first everything is new, and nothing worth a mark.
        self._latest = changes if self._when else []
        self._when = datetime.now().astimezone()
        self._draw(Text(f"every {self._every:g} s", style="not bold dim"))

    def late(self) -> None:
        self._draw(Text("no answer since; still asking", style="bold red"))

    def _draw(self, told: Text) -> None:
        if self._watch.items:
            when = Text(f"{self._when:%H:%M:%S}, " if self._when else "", style="not bold dim") + told
            self._live.update(board(self._watch, self._latest, when, self._live.console), refresh=True)


def _verdict(watch: Watch, terminal: Terminal) -> int:
    """Say how it ended, and which failed; returns the exit code."""
    items = watch.items.values()
    bad = [item for item in items if failed(item)]
    good = sum(map(succeeded, items))
    terminal.say(f"all done: {number(good)} succeeded, {number(len(bad))} did not")
    for item in bad:
        terminal.say(f"{item['status'].lower()}: {title(item)}, in {item['stage']}: {item['note'] or 'no note'}")
    return FAILED if bad else COMPLETE


def line(change: Change) -> str:
    """A change for a log: 14:03:12 Ingest of a.tar (work item 7): Store, Started (was Validate, Started)."""
    item, before = change.item, change.before
    was = f" (was {before['stage']}, {before['status']})" if before else ""
    note = f": {item['note']}" if item["note"] and (failed(item) or suspended(item)) else ""
    now = datetime.now().astimezone()
    return visible(f"{now:%H:%M:%S} {title(item)}: {item['stage']}, {item['status']}{was}{note}"[:1000])


def title(item: Record) -> str:
    """What an item is about: Ingest of a.tar (work item 7)."""
    return f"{item['action']} of {subject(item)} (work item {item['id']})"


def subject(item: Record) -> str:
    """What an item works on, by the name that people gave it: a bag on its way in is a tar file, all else is ours."""
    held = item.get("generic_file_identifier") or item.get("object_identifier")
    return str(item["name"] if item["action"] == "Ingest" or not held else held)


_UNITS = (("s", 1, 100), ("m", 60, 100), ("h", 3600, 100), ("d", 86_400, 1000), ("y", 31_536_000, 10_000))
"""Letter, seconds, and how many of it are said before the next larger one is taken."""


def age(time: str, now: datetime) -> str:
    """How long ago a Registry time is: 45s, 5m, 3h, 30d, 2y; a dash where there is none."""
    ago = since(time, now)
    if ago is None:
        return "–"
    seconds = max(0, int(ago.total_seconds()))
    return next(f"{seconds // unit}{letter}" for letter, unit, most in _UNITS if seconds < unit * most)


def board(watch: Watch, latest: list[Change], when: Text, console: Console) -> Group:
    """The items for a terminal of this size: what moved last comes first, what has just changed is marked."""
    changed = {change.item["id"]: change for change in latest}
    items = sorted(watch.items.values(), key=lambda item: _urgency(item, changed), reverse=True)
    room = max(1, console.height - _AROUND)
    table, now = _table(items[:room], console.width), datetime.now(UTC)
    for item in items[:room]:
        table.add_row(*_cells(item, changed.get(item["id"]), now)[: len(table.columns)])
    hidden = f"and {number(len(items) - room)} more" if len(items) > room else ""
    return Group(_head(watch, when), table, Text(hidden, style="dim"))


def _urgency(item: Record, changed: dict[int, Change]) -> tuple[bool, str, int]:
    return under_way(item) or item["id"] in changed, item["date_processed"].rstrip("Z"), item["id"]


def _head(watch: Watch, when: Text) -> Text:
    counts = dict.fromkeys(STYLES, 0)
    for item in watch.items.values():
        counts[item["status"]] = counts.get(item["status"], 0) + 1
    head = Text(counted(len(watch.items), "work item"), style="bold", no_wrap=True, overflow="ellipsis")
    for status, count in counts.items():
        if count:
            said = {"Success": "succeeded", "Suspended": "suspended until seen to"}.get(status, visible(status).lower())
            head.append(f"  {number(count)} {said}", style=STYLES.get(status, ""))
    return head.append("  ").append_text(when)


def _table(items: list[Record], width: int) -> Table:
    table = Table(box=None, expand=True, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", width=1)
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("moved", justify="right", no_wrap=True)
    table.add_column("action", no_wrap=True, max_width=15)
    table.add_column("stage", no_wrap=True, overflow="ellipsis", max_width=21 if width >= _WIDE else 12)
    table.add_column("status", no_wrap=True, max_width=9)
    table.add_column("name", no_wrap=True, overflow="ellipsis", ratio=1)
    if width >= _WIDE:
        table.add_column("note", no_wrap=True, overflow="ellipsis", ratio=1)
    return table


def _cells(item: Record, change: Change | None, now: datetime) -> list[Text]:
    was = change.before if change else None
    mark, style = ("»", "bold yellow") if was else ("+", "bold green") if change else ("", "")
    done = "" if under_way(item) or change else "dim"

    def moving(name: str, plain: str) -> Text:
        cell = Text(visible(item[name]), style=plain)
        if was and was[name] != item[name]:
            cell.stylize("reverse")  # as a part of the text: as its style it would fill the column
        return cell

    return [
        Text(mark, style=style),
        Text(str(item["id"]), style=done),
        Text(age(item["date_processed"], now), style=done),
        Text(visible(item["action"]), style=done),
        moving("stage", done),
        moving("status", STYLES.get(item["status"], "")),
        Text(visible(subject(item)[:1000]), style=done),
        Text(visible(item["note"][:1000]), style=done or "dim"),
    ]


__all__ = ["EVERY", "age", "board", "line", "subject", "title", "watched"]
