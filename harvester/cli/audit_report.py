"""An audit for people: every question with its number, then what was found, and what to do about it.

Hides how dates, identifiers and details share the width of the terminal. What the Registry sent is shown with its
control characters visible (`cli.text`); an identifier that is too long loses its middle, since its beginning says
whose it is and its end which file.
"""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping
from datetime import timedelta

from rich.cells import cell_len
from rich.text import Text

from harvester.ask import Answer, Audit, Concern, Finding, Query, Rules, Status
from harvester.cli.exits import explain
from harvester.cli.fitting import cut_at_end, filled, terminal_columns
from harvester.cli.terminal import console_on
from harvester.cli.text import counted, duration, local_time, number, one_line
from harvester.registry.resources import format_time

TITLES: Mapping[Concern, str] = {
    Concern.UNCHECKED: "files never checked",
    Concern.OVERDUE: "files not checked for {max_fixity_age}",
    Concern.NO_SHA256: "files without sha256",
    Concern.FAILED_EVENTS: "failed events, not mended since",
    Concern.EMPTY_OBJECTS: "objects without files",
    Concern.HALF_DELETED: "deleted objects that still have files",
    Concern.COUNTS: "objects that disagree with their files",
    Concern.DELETIONS: "deletions waiting for confirmation",
    Concern.WORK_ITEMS: "work items that stand still",
}

ADVICE: Mapping[Concern, str] = {
    Concern.UNCHECKED: "APTrust checks files in S3 and Wasabi every 90 days: ask it why these were left out.",
    Concern.OVERDUE: "APTrust checks files in S3 and Wasabi every 90 days: ask it why these are late.",
    Concern.NO_SHA256: "Ask APTrust to record it, or deposit the files again with a sha256 manifest.",
    Concern.FAILED_EVENTS: "See each with harvester get events ID. After a failed fixity check ask APTrust to"
    " restore the second copy; where there is none, deposit the file again.",
    Concern.EMPTY_OBJECTS: "If it is not being ingested just now, nothing can be restored of it: deposit it again,"
    " or have it deleted.",
    Concern.HALF_DELETED: "Ask APTrust to finish the deletion, or to take it back.",
    Concern.COUNTS: "The Registry contradicts itself: report these to APTrust, and keep your own copies meanwhile.",
    Concern.DELETIONS: "An administrator of your institution confirms or cancels each in the Registry's web pages.",
    Concern.WORK_ITEMS: "See each with harvester get items ID. What is suspended or needs review is APTrust's to"
    " take up: write to it with the ID.",
}

OF_THIS_KIND: Mapping[Concern, str] = {
    Concern.FAILED_EVENTS: "All failed events, mended or not",
}

WITH_ID = (Concern.FAILED_EVENTS, Concern.DELETIONS, Concern.WORK_ITEMS)
"""Questions whose findings go by their id; the others' go by identifier."""

NARROWEST = 24
"""Columns that an identifier is always given."""


def title(question: Concern, rules: Rules) -> str:
    """The question in a few words: what would be found."""
    return TITLES[question].format(max_fixity_age=_in_words(rules.max_fixity_age))


def command(query: Query) -> str:
    """The command that lists what a query asks for."""
    parts = ["harvester", "list", query.resource.path, *(f"{name}={value}" for name, value in query.filters)]
    parts += ["--sort", query.sort] if query.sort else []
    parts += ["--limit", str(query.limit)] if query.limit is not None else []
    return shlex.join(parts)


def report(result: Audit) -> None:
    """Print the audit to stdout."""
    console, room = console_on(sys.stdout), terminal_columns()
    for line in (*_head(result), *_overview(result), *_sections(result, room), *_end(result, room)):
        console.print(line, soft_wrap=True)


def _head(result: Audit) -> Iterator[Text]:
    moment = local_time(format_time(result.asked_at.replace(second=0)))
    about = "the whole institution"
    if result.filters:
        about = one_line(" ".join(f"{name}={value}" for name, value in result.filters))
    yield Text(f"Audit of {about}, {moment}", style="bold")
    known = [(result.objects, "object"), (result.files, "active file")]
    yield Text(", ".join(counted(count, what) for count, what in known if count is not None))
    yield Text("")


def _overview(result: Audit) -> Iterator[Text]:
    """A line a question."""
    titles = {answer.question: _name(answer, result.rules) for answer in result.answers}
    counts = {answer.question: number(answer.count) for answer in result.answers}
    wide, digits = max(map(len, titles.values())), max(map(len, counts.values()))
    for answer in result.answers:
        sign, style = _sign(answer)
        name, count = titles[answer.question].ljust(wide), counts[answer.question].rjust(digits)
        line = Text(f"{sign} {name}  ", style=style)
        if answer.status is Status.ANSWERED:
            line.append(count + ("" if answer.of is None else f" of {number(answer.of)}"))
        else:
            line.append(_why_not(answer))
        yield line
    yield Text("")


def _name(answer: Answer, rules: Rules) -> str:
    """The title of a question, or what was found out instead."""
    return "failed events, mended or not" if "not_followed_up" in answer.more else title(answer.question, rules)


def _sign(answer: Answer) -> tuple[str, str]:
    if answer.status is Status.NOT_OF_A_SLICE:
        return "-", "dim"
    if answer.status is not Status.ANSWERED:
        return "?", "yellow"
    return ("✗", "red") if answer.count else ("✓", "green")


def _why_not(answer: Answer) -> str:
    if answer.status is Status.NOT_OF_A_SLICE:
        return "not asked of a slice"
    if answer.status is Status.TOO_COSTLY:
        return f"not asked: {number(answer.requests)} requests; --deep"
    return "not answered"


def _sections(result: Audit, room: int | None) -> Iterator[Text]:
    """What was found, and what could not be asked, question by question."""
    for answer in result.answers:
        if answer.error is not None:
            yield Text(f"{_name(answer, result.rules)}: not answered", style="bold")
            yield from _paragraph("  ", explain(answer.error), room)
            yield Text("")
        elif answer.count:
            yield Text(f"{_name(answer, result.rules)}: {number(answer.count)}", style="bold")
            yield from _findings(answer, room)
            yield from _more_of(answer, result)
            yield from _paragraph("  → ", ADVICE[answer.question], room)
            yield Text("")


def _paragraph(first: str, text: str, room: int | None, style: str = "cyan") -> Iterator[Text]:
    """Prose, broken where the terminal would break it in the middle of a word."""
    width = len(first) + len(text) if room is None else max(room, NARROWEST)
    lines = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False)
    for line in lines:
        yield Text(line, style=style)


def _findings(answer: Answer, room: int | None) -> Iterator[Text]:
    rows = [_cells(answer.question, finding) for finding in answer.findings]
    if not rows:
        return
    dates, ids, names, details = (max(map(cell_len, column)) for column in zip(*rows, strict=True))
    if room is not None:
        left = room - 2 - dates - 2 - (ids + 2 if ids else 0) - 2
        details = min(details, max(left - names, left // 3))
        names = min(names, max(left - details, NARROWEST))
        details = max(0, min(details, left - names))
    for date, number_, name, detail in rows:
        line = Text(f"  {date.ljust(dates)}  ", style="dim")
        line.append(number_.rjust(ids) + "  " if ids else "", style="default not dim")
        line.append(filled(name, names, tail=names), "default not dim")
        line.append(f"  {cut_at_end(detail, details)}".rstrip())
        yield line


def _cells(question: Concern, finding: Finding) -> tuple[str, str, str, str]:
    date = local_time(finding.since)[:10] if finding.since else "–"
    number_ = str(finding.id) if question in WITH_ID else ""
    return date, number_, one_line(finding.identifier) or "–", one_line(finding.detail)


def _more_of(answer: Answer, result: Audit) -> Iterator[Text]:
    """How to see those that are not shown, and the numbers that belong to the answer."""
    left = answer.count - len(answer.findings)
    if left > 0:
        if answer.listed_by is not None:
            how = OF_THIS_KIND.get(answer.question, "All of them")
            yield Text(f"  … and {number(left)} more. {how}:", style="dim")
            yield Text(f"    {command(answer.listed_by)}")
        else:
            yield Text(f"  … and {number(left)} more; --limit shows up to 1,000, --json too", style="dim")
    if answer.more.get("mended"):
        yield Text(f"  {number(answer.more['mended'])} more were followed by a success of the same kind", style="dim")
    if "not_followed_up" in answer.more:
        yield Text("  too many to ask which were mended by a later success: --deep asks it of each", style="dim")


def _end(result: Audit, room: int | None) -> Iterator[Text]:
    """The totals."""
    glacier = next((answer.more["glacier"] for answer in result.answers if answer.more.get("glacier")), 0)
    if glacier:
        elsewhere = f"{counted(glacier, 'file')} in Glacier-only storage, where APTrust does not check fixity."
        yield from _paragraph("", elsewhere, room, style="")
    answered = [answer for answer in result.answers if answer.status is Status.ANSWERED]
    found = sum(answer.count > 0 for answer in answered)
    left_out = sum(answer.status in (Status.FAILED, Status.TOO_COSTLY) for answer in result.answers)
    said = f"{counted(len(answered), 'question')} answered: "
    said += counted(result.found, "finding") if found else "nothing was found"
    said += f" in {found} of them" if found and len(answered) > 1 else ""
    said += f"; {counted(left_out, 'question')} not" if left_out else ""
    cost = f"{counted(result.requests, 'request')} in {duration(result.seconds)}"
    yield from _paragraph("", f"{said} ({cost})", room, style="bold")


def _in_words(length: timedelta) -> str:
    hours = round(length.total_seconds() / 3600)
    count, unit = (hours // 24, "day") if hours % 24 == 0 else (hours, "hour")
    return counted(count, unit)
