"""`harvester items`: the Registry's work items, listed, reported on, or watched until they are done."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from harvester.ask import REPORT_SINCE, Question, Report, Watch, query
from harvester.cli import completion, options
from harvester.cli.dates import FORMS, spelled_out
from harvester.cli.exits import COMPLETE
from harvester.cli.filters import plain_filters
from harvester.cli.output import Format, Writer, asked_for, default_format, nobody_reads, parse_fields
from harvester.cli.running import Interrupted
from harvester.cli.session import Session, with_session
from harvester.cli.watch import EVERY, age, subject, watched
from harvester.errors import ChangedError, ConfigError, NotFoundError, UncountableError
from harvester.registry import BY_ID, Record, RegistryClient, listed
from harvester.registry.resources import WORK_ITEMS, parse_sort, parse_time

NEWEST_FIRST = "date_processed__desc"

Every = Annotated[
    float, typer.Option("--every", help="Seconds between two looks of a watch.", metavar="SECONDS", min=0, max=86_400)
]
"""Shared with `harvester restore --wait`."""


@with_session
def items_command(
    session: Session,
    filters: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these: action=Ingest, status=Failed, name=a.tar, …",
            metavar="NAME=VALUE",
            autocompletion=completion.filters,
        ),
    ] = None,
    report: Annotated[
        Report | None, typer.Option(help="Under way, gone wrong, or restorations; of the last 30 days.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only what was processed since 2026-01-31, 30d, yesterday, …", metavar="DATE")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep looking, and mark what changes.")] = False,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="Watch until all are done; exit 1 if any failed or was cancelled.")
    ] = False,
    every: Every = EVERY,
    form: Annotated[
        Format | None, typer.Option("--format", help="[default: table on a terminal, else ndjson]", show_default=False)
    ] = None,
    json: options.FormatJson = False,
    fields: options.Fields = None,
    sort: Annotated[
        str,
        typer.Option(
            help="Column, with __desc to descend. By id none is missed, whatever moves.",
            metavar="COLUMN",
            autocompletion=completion.sorts,
        ),
    ] = NEWEST_FIRST,
    limit: Annotated[int | None, typer.Option(help="List so many at most.", min=1, metavar="N")] = None,
) -> int:
    """List work items, or watch them: is my ingest through?

    A watch without filters is of what is under way; if nothing is, it ends at once. Suspended items are not done:
    they wait for a person. Where stdout is no terminal each change is a line, or with --json the work item.

    \b
    Examples:
      harvester items --report problems --since 90d
      harvester items action=Ingest status=Failed --limit 20
      harvester items --watch
      harvester items name=photos-2026.tar --until-done
    """
    form = asked_for(form, json=json)
    watching = watch or until_done
    if watching and not (filters or report):
        report = Report.INPROCESS
    question = _question(filters or (), report, since)
    by = parse_sort(WORK_ITEMS, sort)
    chosen = parse_fields(WORK_ITEMS, fields)
    if watching and (form in (Format.CSV, Format.TABLE) or chosen or limit or by != NEWEST_FIRST):
        raise ConfigError("--format csv and table, --fields, --sort and --limit are for lists", place="--watch")
    if not watching:
        return session.ask(lambda client: _list(client, question, form or default_format(), chosen, by, limit))

    async def watching_them(client: RegistryClient) -> int:
        items = Watch(client, await question.resolved(client))
        every_so_often = max(1 / client.settings.rate, every)
        code = await watched(items, session.terminal, every=every_so_often, form=form, until_done=until_done)
        if not items.items:
            await question.explain_nothing(client)
            if until_done:
                await _refuse_unknown_bag(client, question)
            session.terminal.say("no work item matches: nothing to watch")
        return code

    try:
        return session.ask(watching_them)
    except Interrupted as interrupted:
        return interrupted.exit_code


async def _refuse_unknown_bag(client: RegistryClient, question: Question) -> None:
    """Raise NotFoundError if a bag is named that no work item is of, whatever else the question asks of them."""
    named = tuple(pair for pair in question.filters if pair[0] in ("name", "etag"))
    if named and not (await client.page(WORK_ITEMS, filters=named, sort=BY_ID, page=1, per_page=1)).rows:
        place = " ".join(f"{name}={value}" for name, value in named)
        mend = "harvester items shows which there are, the newest first"
        raise NotFoundError("there is no such work item", place=place, mend=mend)


def _question(arguments: Sequence[str], report: Report | None, since: str | None) -> Question:
    if since is None and report is not None and not any(text.startswith("date_processed__") for text in arguments):
        since = REPORT_SINCE
    if since is not None:
        said, since = since, spelled_out(since, datetime.now(UTC).replace(microsecond=0))
        if parse_time(since) is None:
            raise ConfigError(f"{said!r} is no date", place="--since", mend=FORMS)
    question = Question.parse(WORK_ITEMS, plain_filters(WORK_ITEMS, arguments))
    return replace(question, filters=query(question.filters, report, since))


async def _list(
    client: RegistryClient, question: Question, form: Format, fields: Sequence[str], sort: str, limit: int | None
) -> int:
    filters = await question.resolved(client)
    for_people = form is Format.TABLE and not fields
    writer = Writer(WORK_ITEMS, form, COLUMNS if for_people else fields)
    anything = False
    try:
        async with aclosing(listed(client, WORK_ITEMS, filters, sort=sort, limit=limit)) as pages:
            async for rows in pages:
                anything = True
                writer.write([_for_people(row) for row in rows] if for_people else rows)
                if nobody_reads():
                    return COMPLETE
    except ChangedError as error:
        error.mend = "list them again, or with --sort id, by which none is missed"
        raise
    except UncountableError as error:
        error.mend = (
            f"with --sort id they can be listed, with {WORK_ITEMS.time_field}__gteq=1900-01-01 in this order too"
        )
        raise
    if not anything:
        await question.explain_nothing(client)
    writer.close()
    return COMPLETE


COLUMNS = ("id", "moved", "action", "stage", "status", "name", "note")


def _for_people(item: Record) -> Record:
    return {**item, "moved": age(item["date_processed"], datetime.now(UTC)), "name": subject(item)}


__all__ = ["Every", "items_command"]
