"""Records as a person wants to read them: an object with its files as a tree, a file with its checksums, any other.

Hides which of a record's fields matter, in what order, and what stands out: deleted, failed, never checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from harvester.ask import Directory, Excerpt, File, Happening, Portrait, excerpt, within
from harvester.ask.bag import ALGORITHMS
from harvester.ask.items import IN_PROCESS
from harvester.ask.portrait import FAILURE
from harvester.cli.canvas import Canvas, Fact, Row
from harvester.cli.output import shown
from harvester.cli.text import counted, local_time, number, one_line, since, size, visible
from harvester.registry import Record, Resource
from harvester.registry.resources import parse_time

STATES = {"A": ("active", "green"), "D": ("deleted", "bold red")}
YEAR = 365.25
WHOLE = 1000
"""Digits that no digest has."""

OLD = YEAR
"""Days after which a fixity check stands out."""

DIGITS = 12
"""Of a digest, where there is not room for all."""

DATED = 22
"""Columns that a fixity check takes with its date."""

ROOMY = 110
"""Columns from which a failure is told with its file and its reason."""

ITEMS_SHOWN = 5

FACTS = (
    ("description", "description"),
    ("other id", "alt_identifier"),
    ("bag group", "bag_group_identifier"),
    ("source", "source_organization"),
    ("sender's id", "internal_sender_identifier"),
    ("sender's note", "internal_sender_description"),
)
TECHNICAL = (("bag", "bag_name"), ("profile", "bagit_profile_identifier"), ("etag", "etag"))
"""What only whoever asks for everything wants to see."""


@dataclass(frozen=True)
class View:
    """How much is drawn: `files` and `events` at most (None: all), `wide` whole digests, and seen from `now`."""

    files: int | None
    events: int
    wide: bool
    now: datetime


def ago(text: str, now: datetime) -> str:
    """How long ago a Registry time was: `today`, `12 d ago`, `3.4 y ago`, `in 3 d`; "" if it is none."""
    days = _days(text, now)
    if days is None:
        return ""
    if abs(days) < 1:
        return "today" if days >= 0 else "in a day"
    span = f"{abs(days):.0f} d" if abs(days) < YEAR else f"{abs(days) / YEAR:.1f} y"
    return f"{span} ago" if days > 0 else f"in {span}"


def _days(text: str, now: datetime) -> float | None:
    ago = since(text, now)
    return None if ago is None else ago / timedelta(days=1)


def _age_style(days: float | None, storage: str) -> str:
    """What was not checked for long stands out, except in Glacier, where nothing is checked regularly."""
    return "yellow" if (days is None or days > OLD) and not storage.startswith("Glacier") else ""


def _when(text: str, now: datetime) -> str:
    """A time and how long ago it was; "" where there is none."""
    return f"{local_time(text)}  ({ago(text, now)})" if ago(text, now) else ""


def _text(record: Record, name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""


# An object


def draw_object(canvas: Canvas, portrait: Portrait, view: View) -> None:
    """An object, its files as a tree, its latest events, its work items."""
    found = portrait.object
    title = _text(found, "title")
    canvas.title(title or "(no title)", "bold" if title else "dim")
    _object_facts(canvas, portrait, view)
    _bag(canvas, portrait, view)
    _chronicle(canvas, portrait, view)
    _items(canvas, portrait, view)


def _object_facts(canvas: Canvas, portrait: Portrait, view: View) -> None:
    found = portrait.object
    further = FACTS + (TECHNICAL if view.wide else ())
    canvas.facts(
        (
            Fact("object", f"{_text(found, 'identifier')}  (id {found['id']})"),
            _state(found),
            Fact("storage", _text(found, "storage_option")),
            Fact("access", _text(found, "access")),
            _contents(portrait, view),
            Fact("created", _when(_text(found, "created_at"), view.now)),
            Fact("updated", _when(_text(found, "updated_at"), view.now)),
            *(Fact(name, _text(found, key)) for name, key in further),
        )
    )


def _state(found: Record) -> Fact:
    state = _text(found, "state")
    return Fact("state", *STATES.get(state, (state or "none", "yellow")))


def _contents(portrait: Portrait, view: View) -> Fact:
    """The object's own count and size, and whether its files bear them out."""
    found, bag = portrait.object, portrait.bag
    claim = f"{counted(found.get('file_count') or 0, 'file')}, {size(found.get('size') or 0)}"
    if view.files == 0 or not portrait.whole:
        return Fact("contents", claim)
    if portrait.counts_agree:
        return Fact("contents", f"{claim}  ✓ as its files add up")
    problem = f"✗ its active files add up to {counted(bag.active, 'file')}, {size(bag.size)}"
    return Fact("contents", f"{claim}  {problem}", "bold red")


# Its files


def _bag(canvas: Canvas, portrait: Portrait, view: View) -> None:
    bag, found = portrait.bag, portrait.object
    if view.files == 0:
        canvas.section("Files", (f"{number(portrait.total)} with deleted ones, none of them read", "dim"))
        return
    deleted = f"{number(bag.deleted)} deleted" if bag.deleted else ""
    canvas.section("Files", number(bag.active), size(bag.size), *([(deleted, "red")] if deleted else []))
    if not portrait.whole:
        rest, requests = portrait.total - portrait.read, -(-(portrait.total - portrait.read) // 1000)
        canvas.note(
            f"These are the first {number(portrait.read)} of {number(portrait.total)}, and totals are of them;"
            f" --files all reads the other {number(rest)} ({number(requests)} requests).",
            "yellow",
        )
    if not portrait.read:
        canvas.note("The Registry has no file of this object.", "yellow" if found.get("state") == "A" else "dim")
        return
    part = excerpt(bag, view.files)
    columns = _Columns.fitting(canvas, view, part, _text(found, "storage_option"))
    canvas.rows([columns.heading(), *_branches(part, columns)], columns.right)
    if _is_cut(part):
        canvas.note("--files N shows more of them, --files all every one.")


def _is_cut(part: Excerpt) -> bool:
    return bool(part.files_left or part.directories_left) or any(map(_is_cut, part.excerpts))


def _branches(part: Excerpt, columns: _Columns, before: str = "") -> Iterator[Row]:
    """The lines of a directory's inside: its files, what is left out of them, its directories."""
    lines: list[Row | Excerpt] = [columns.of_file(file) for file in part.files]
    if part.files_left:
        rest = part.directory.files[len(part.files) :]
        lines.append(_left_out(counted(part.files_left, "more file"), rest))
    lines += part.excerpts
    if part.directories_left:
        lines.append(_directories_left_out(part.directories_left))
    for place, line in enumerate(lines, 1):
        last = place == len(lines)
        branch = before + ("└─ " if last else "├─ ")
        if isinstance(line, Excerpt):
            yield replace(columns.of_directory(line.directory), branches=branch)
            yield from _branches(line, columns, before + ("   " if last else "│  "))
        else:
            yield replace(line, branches=branch)


def _left_out(what: str, files: Sequence[File]) -> Row:
    total = sum(file.size for file in files if not file.deleted)
    return Row(f"… {what}", (size(total),), style="italic", cell_styles=("italic",))


def _directories_left_out(left: Sequence[Directory]) -> Row:
    count = len(left)
    what = f"{number(count)} more {'directory' if count == 1 else 'directories'}"
    name = f"… {what} of {counted(sum(d.active for d in left), 'file')}"
    return Row(name, (size(sum(d.size for d in left)),), style="italic", cell_styles=("italic",))


@dataclass(frozen=True)
class _Columns:
    """Which cells stand beside a file's name, and how they say it."""

    algorithm: str
    digits: int
    dates: bool
    storage: str | None
    now: datetime

    right = (True, False, False, False)

    @classmethod
    def fitting(cls, canvas: Canvas, view: View, part: Excerpt, storage: str) -> _Columns:
        """As many cells as there is room for; the storage option only where files do not share the object's."""
        files = list(_shown_files(part))
        algorithms = Counter(file.algorithm for file in files if file.algorithm)
        columns = cls(
            algorithm=next((name for name, _ in algorithms.most_common(1)), ALGORITHMS[0]),
            digits=WHOLE if view.wide or canvas.room is None else 0 if canvas.narrow else DIGITS,
            dates=True,
            storage=storage if any(file.storage != storage for file in files) else None,
            now=view.now,
        )
        beside = 14 + columns.digits + DATED + (0 if columns.storage is None else 17)
        return columns if canvas.fits(_branches(part, columns), beside) else replace(columns, dates=False)

    def heading(self) -> Row:
        digest, storage = self.algorithm if self.digits else "", "" if self.storage is None else "storage"
        cells = ("size", digest, "fixity check" if self.dates else "checked", storage)
        return Row("", cells, cell_styles=("dim",) * len(cells))

    def of_file(self, file: File) -> Row:
        fixity, style = self._fixity(file)
        gone = "dim strike" if file.deleted else ""
        return Row(
            file.path or '""',
            (size(file.size), self._digest(file), fixity, one_line(file.storage) if self.storage is not None else ""),
            style=gone,
            cell_styles=(gone, "dim" if file.algorithm else "yellow", style, "dim"),
        )

    def of_directory(self, directory: Directory) -> Row:
        deleted = f", {number(directory.deleted)} deleted" if directory.deleted else ""
        note = f"{counted(directory.active, 'file')}{deleted}"
        return Row(f"{directory.name}/", (size(directory.size),), note=note, style="bold blue", cell_styles=("bold",))

    def _digest(self, file: File) -> str:
        if not self.digits:
            return ""
        if not file.algorithm:
            return "no digest"
        named = "" if file.algorithm == self.algorithm else f"{file.algorithm}:"
        digits = max(self.digits - len(named), 4)
        whole = visible(file.digest)
        return f"{named}{whole if len(whole) <= digits else whole[:digits] + '…'}"

    def _fixity(self, file: File) -> tuple[str, str]:
        days = _days(file.fixity, self.now)
        if file.deleted:
            return "deleted", "red"
        if days is None:
            return "never", _age_style(days, file.storage)
        date = f"{local_time(file.fixity)[:10]}  " if self.dates else ""
        return f"{date}{ago(file.fixity, self.now)}", _age_style(days, file.storage)


def _shown_files(part: Excerpt) -> Iterator[File]:
    yield from part.files
    for inner in part.excerpts:
        yield from _shown_files(inner)


# What happened, and what is under way


def _chronicle(canvas: Canvas, portrait: Portrait, view: View) -> None:
    chronicle, found = portrait.chronicle, portrait.object
    identifier = _text(found, "identifier")
    failed = [(f"{number(chronicle.failed)} failed", "bold red")] if chronicle.failed else []
    canvas.section("Events", f"{number(chronicle.total)} in all", *failed)
    lines = [_event_line(canvas, event, identifier) for event in chronicle.failures]
    canvas.columns(
        lines + [_happening_line(canvas, happening, identifier) for happening in chronicle.happenings[: view.events]]
    )
    if chronicle.failed > len(chronicle.failures):
        left = number(chronicle.failed - len(chronicle.failures))
        canvas.note(f"… {left} more failed: {_list('events', found)} outcome=Failure")
    left_out = chronicle.happenings[view.events :]
    if earlier := sum(h.count for h in left_out) + chronicle.total - chronicle.read:
        canvas.note(f"… {number(earlier)} earlier: {_list('events', found)}")


def _list(what: str, found: Record) -> str:
    return f"harvester list {what} intellectual_object_id={found['id']}"


Line = tuple[tuple[str, str], ...]
"""Cells of a line, each with its style."""


def _happening_line(canvas: Canvas, happening: Happening, identifier: str) -> Line:
    line = _event_line(canvas, happening.newest, identifier)
    return line if happening.count == 1 else (*line[:-1], (counted(happening.count, "file"), "dim"))


def _event_line(canvas: Canvas, event: Record, identifier: str = "") -> Line:
    """When, what, how it went, and to which file or with which detail."""
    outcome = _text(event, "outcome")
    style = {FAILURE: "bold red", "Success": "green"}.get(outcome, "yellow")
    path = within(_text(event, "generic_file_identifier"), identifier)
    said = _text(event, "outcome_information") or _text(event, "detail")
    roomy = canvas.room is None or canvas.room >= ROOMY
    about = f"{path}: {said}" if path and outcome == FAILURE and roomy else path or said
    when = _date_cell(canvas, _text(event, "date_time"))
    return when, (_text(event, "event_type"), ""), (outcome or "no outcome", style), (about, "dim")


def _date_cell(canvas: Canvas, text: str) -> tuple[str, str]:
    when = local_time(text)
    return ("no date", "dim") if when == "–" else (when[:10] if canvas.narrow else when, "")


def _items(canvas: Canvas, portrait: Portrait, view: View) -> None:
    under_way = [item for item in portrait.items if item.get("status") in IN_PROCESS]
    rest = [item for item in portrait.items if item.get("status") not in IN_PROCESS]
    how_many = (f"{len(under_way)} under way", "bold yellow") if under_way else ("none under way", "dim")
    canvas.section("Work items", f"{number(portrait.items_total)} in all", how_many)
    shown_items = [*under_way, *rest][: max(ITEMS_SHOWN, len(under_way))]
    canvas.columns([_item_line(canvas, item) for item in shown_items])
    if portrait.items_total > len(shown_items):
        left = number(portrait.items_total - len(shown_items))
        canvas.note(f"… {left} earlier: {_list('items', portrait.object)}")


ITEM_STYLES = {"Failed": "bold red", "Success": "green", "Cancelled": "dim", "Suspended": "yellow"}


def _item_line(canvas: Canvas, item: Record) -> Line:
    status = _text(item, "status")
    style = ITEM_STYLES.get(status, "bold yellow")
    note = _text(item, "note") if status != "Success" else ""
    return (
        _date_cell(canvas, _text(item, "date_processed")),
        (f"id {item['id']}", "dim"),
        (_text(item, "action"), ""),
        (status, style),
        (f"{_text(item, 'stage')}{': ' if note else ''}{note}", "dim"),
    )


# A file


def draw_file(canvas: Canvas, found: Record, view: View) -> None:
    """A file with its checksums, where it is stored, and its events."""
    canvas.title(_text(found, "identifier"))
    count, checked = found.get("size") or 0, _text(found, "last_fixity_check")
    stale = _age_style(_days(checked, view.now), _text(found, "storage_option"))
    canvas.facts(
        (
            Fact("file", f"id {found['id']}, of object {found.get('intellectual_object_id')}"),
            _state(found),
            Fact("size", f"{size(count)}  ({number(count)} bytes)"),
            Fact("format", _text(found, "file_format")),
            Fact("storage", _text(found, "storage_option")),
            Fact("fixity check", _when(checked, view.now) or "never", stale),
            Fact("created", _when(_text(found, "created_at"), view.now)),
            Fact("updated", _when(_text(found, "updated_at"), view.now)),
            Fact("modified", _when(_text(found, "mtime"), view.now)),
            Fact("uuid", _text(found, "uuid")),
        )
    )
    _checksums(canvas, found.get("checksums") or [])
    _copies(canvas, found.get("storage_records") or [])
    _file_events(canvas, found, view)


def _newest_first(records: Iterable[Record], name: str) -> list[Record]:
    def moment(record: Record) -> datetime:
        return parse_time(_text(record, name)) or datetime.min.replace(tzinfo=UTC)

    return sorted(records, key=moment, reverse=True)


def _checksums(canvas: Canvas, checksums: Sequence[Record]) -> None:
    """By algorithm, the newest first; it is the one that counts, and the others are dimmed."""
    canvas.section("Checksums", *([] if checksums else [("none", "yellow")]))
    facts = []
    ordered = sorted(_newest_first(checksums, "datetime"), key=lambda checksum: _text(checksum, "algorithm"))
    for algorithm, same in groupby(ordered, key=lambda checksum: _text(checksum, "algorithm")):
        for place, checksum in enumerate(same):
            when = local_time(_text(checksum, "datetime"))
            said = f"{'earlier, ' if place else ''}{'no date' if when == '–' else 'of ' + when}"
            facts += [Fact(algorithm, _text(checksum, "digest"), "dim" if place else ""), Fact("", said, "dim")]
    canvas.facts(facts)


def _copies(canvas: Canvas, stored: Sequence[Record]) -> None:
    canvas.section("Stored", f"{len(stored)} {'copy' if len(stored) == 1 else 'copies'}")
    for copy in stored:
        canvas.title(f"  {_text(copy, 'url')}", "")


def _file_events(canvas: Canvas, found: Record, view: View) -> None:
    events = _newest_first(found.get("premis_events") or [], "date_time")
    failed = sum(_text(event, "outcome") == FAILURE for event in events)
    red = [(f"{number(failed)} failed", "bold red")] if failed else []
    canvas.section("Events", f"{number(len(events))} in all", *red)
    canvas.columns([_event_line(canvas, event) for event in events[: view.events]])
    if len(events) > view.events:
        canvas.note(f"… {number(len(events) - view.events)} earlier: --events {len(events)}")


# Any other record


def draw_record(canvas: Canvas, resource: Resource, found: Record, view: View) -> None:
    """Every field that holds something, in the Registry's order; what holds nothing in one line at the end."""
    canvas.title(f"{resource.path} {found['id']}")
    held = {name: _said(name, value, view.now) for name, value in found.items()}
    empty = ", ".join(name for name, said in held.items() if not said)
    facts = [Fact(name, said, _loud(name, found[name])) for name, said in held.items()]
    canvas.facts((*facts, Fact("empty", empty, "dim")))


def _said(name: str, value: object, now: datetime) -> str:
    """A value under the Registry's own name for it, so that it can be filtered by; "" for its NULLs."""
    if isinstance(value, str):
        said = shown(name, value)
        if said == "–":
            return ""
        return _when(value, now) if said == local_time(value) and ago(value, now) else value
    if isinstance(value, int) and not isinstance(value, bool):
        return "" if value == 0 else size(value) if name == "size" else str(value)
    return shown(name, value)


def _loud(name: str, value: object) -> str:
    if name not in ("outcome", "status", "state"):
        return ""
    return {"Failure": "bold red", "D": "red", "A": "green", **ITEM_STYLES}.get(str(value), "")


__all__ = ["View", "ago", "draw_file", "draw_object", "draw_record"]
