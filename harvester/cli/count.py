"""`harvester count`: how many there are, counted by the Registry for this very question."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.table import Table

from harvester.ask import Question
from harvester.cli import completion, options
from harvester.cli.exits import COMPLETE
from harvester.cli.filters import plain_filters
from harvester.cli.session import Session, with_session
from harvester.cli.terminal import print_json, print_table
from harvester.cli.text import number
from harvester.errors import ConfigError
from harvester.registry import Filter, RegistryClient, Resource, exact_count, resource_named
from harvester.registry.resources import VALUES, nearest

OTHER = "(other)"


@dataclass(frozen=True)
class Counts:
    """A list's rows, and how many of them have each known value of a field; all counted at about the same time."""

    total: int
    by_value: dict[str, int]

    @property
    def other(self) -> int:
        """Rows with none of the values; below 0 if the list changed between the counts."""
        return self.total - sum(self.by_value.values())


@with_session
def count_command(
    session: Session,
    resource: options.ResourceName,
    filters: options.ListFilters = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help="Count by event_type, outcome, state, storage_option, action, status, stage, type, algorithm, access.",
            metavar="FIELD",
            autocompletion=completion.countables,
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Count records of one kind, exactly, not by the hour.

    Prints the bare number. It costs one request; for events and items two, where the Registry could only look the
    number up. With --by as much again for every value that the field may have (18 requests for all events by
    event_type); rows with other values, or none, are the last line. Filters are those of harvester list.

    \b
    Examples:
      harvester count files state=A
      harvester count events date_time__gteq=30d --by outcome
      harvester count objects --by storage_option --json
    """
    wanted = resource_named(resource)
    question = Question.parse(wanted, plain_filters(wanted, filters or ()))
    if by is not None:
        _check_field(wanted, by, question.filters)

    async def work(client: RegistryClient) -> Counts:
        filters = await question.resolved(client)
        counts = await counted(client, wanted, filters, VALUES[by] if by else (), by or "")
        if not counts.total:
            await question.explain_nothing(client)
        return counts

    counts = session.ask(work)
    if counts.other < 0:
        session.terminal.say(f"{wanted.path} changed while they were counted: the values add up to more than the total")
    if json:
        print_json(_summary(wanted, question, counts, by))
    elif by:
        print_table(_table(by, counts))
    else:
        print(counts.total)
    return COMPLETE


async def counted(
    client: RegistryClient, resource: Resource, filters: Sequence[Filter], values: Sequence[str], field: str
) -> Counts:
    """The exact count of a query, and of each of these values of a field in it, all at once."""
    queries = [tuple(filters), *((*filters, (field, value)) for value in values)]
    total, *parts = await asyncio.gather(*(exact_count(client, resource, query) for query in queries))
    return Counts(total, dict(zip(values, parts, strict=True)))


def _check_field(resource: Resource, field: str, filters: Sequence[Filter]) -> None:
    known = countable(resource)
    if field not in known:
        what = f"{resource.path} cannot be counted by {field!r}"
        mend = nearest(field, known) or (f"fields: {', '.join(known)}" if known else "there is no field to count by")
        raise ConfigError(what, place="--by", mend=mend)
    if field in dict(filters):
        raise ConfigError(f"{field} is a filter already", place="--by", mend="leave one of them out")


def countable(resource: Resource) -> tuple[str, ...]:
    """Fields whose values are known, and can be asked for."""
    return tuple(name for name in VALUES if name in resource.filters)


def _rows(counts: Counts) -> list[tuple[str, int]]:
    rows = sorted(counts.by_value.items(), key=lambda row: (-row[1], row[0]))
    return [*rows, (OTHER, counts.other)] if counts.other > 0 else rows


def _table(field: str, counts: Counts) -> Table:
    shown = Table(box=None)
    for heading in (field.replace("_", " "), "count", "share"):
        shown.add_column(heading, justify="right" if heading in ("count", "share") else "left")
    for value, count in [*_rows(counts), ("total", counts.total)]:
        shown.add_row(value, number(count), f"{count / counts.total:.1%}" if counts.total else "–")
    return shown


def _summary(resource: Resource, question: Question, counts: Counts, by: str | None) -> dict[str, Any]:
    """The one JSON object of --json; `other` is below 0 if the list changed meanwhile."""
    asked = {"resource": resource.path, "filters": [f"{name}={value}" for name, value in question.filters]}
    named = {"object": question.identifier} if question.identifier else {}
    values = {"by": by, "values": counts.by_value, "other": counts.other} if by else {}
    return {**asked, **named, "count": counts.total, **values}
