"""`harvester list`: a list of the Registry to stdout, as it arrives."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import Annotated

import typer

from harvester.ask import Question
from harvester.cli import completion, options
from harvester.cli.exits import COMPLETE
from harvester.cli.filters import plain_filters
from harvester.cli.output import Format, Writer, asked_for, default_format, nobody_reads, parse_fields
from harvester.cli.progress import Rows
from harvester.cli.session import Session, with_session
from harvester.registry import BY_ID, RegistryClient, listed, resource_named
from harvester.registry.resources import parse_sort

A_MOMENT = 0.1
"""Seconds that `head` is given to be content with the first page; the rate lets no second request out sooner anyway."""


@with_session
def list_command(
    session: Session,
    resource: options.ResourceName,
    filters: options.ListFilters = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="A column, __asc or __desc. By id, the default, no row is missed while the Registry changes.",
            metavar="COLUMN__desc",
            autocompletion=completion.sorts,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many rows.", metavar="N", min=1)] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="How rows are written [default: table on a terminal, else ndjson]."),
    ] = None,
    json: options.FormatJson = False,
    fields: options.Fields = None,
) -> int:
    """List records of one kind: all pages, as they arrive.

    RESOURCE is objects, files, events, items, checksums, deletions or alerts. 1,000 rows are one request; a reader
    that has seen enough (head) ends it.

    Dates are 2026-01-31, 30d (ago), 12h, today or yesterday; sizes are bytes, or 10M, 1.5G (of 1024), or 10MB (of
    1000). What belongs to an intellectual object, in all lists but deletions and alerts, is object=ID or
    object=IDENTIFIER. A state, status, type and so on that the Registry does not know is refused, with exit code 2.

    Lines of ndjson are the Registry's entries as a dump has them, json is one array, csv is safe to open in a
    spreadsheet, a table is for reading.

    \b
    Examples:
      harvester list objects state=A storage_option=Standard
      harvester list events event_type="fixity check" outcome=Failure date_time__gteq=30d
      harvester list files object=institution1.edu/photos --format csv
      harvester list files size__gteq=1G --sort size__desc
      harvester list items status=Failed --sort date_processed__desc --limit 20
      harvester list files --fields identifier,sha256,last_fixity_check
    """
    form = asked_for(form, json=json) or default_format()
    wanted = resource_named(resource)
    question = Question.parse(wanted, plain_filters(wanted, filters or ()))
    by = parse_sort(wanted, sort) if sort else BY_ID[0]
    writer = Writer(wanted, form, parse_fields(wanted, fields))

    async def work(client: RegistryClient) -> None:
        asked = await question.resolved(client)
        so_far = Rows(wanted.path, limit)
        pages = listed(client, wanted, asked, sort=by, limit=limit, on_count=so_far.counted)
        wait = A_MOMENT
        async with aclosing(pages), session.terminal.filling(so_far.__str__):
            async for rows in pages:
                writer.write(rows)
                so_far.read += len(rows)
                if nobody_reads(wait if len(rows) == client.settings.per_page else 0):
                    return
                wait = 0
        if not so_far.read:
            await question.explain_nothing(client)
        writer.close()

    with suppress(BrokenPipeError):  # whoever read has seen enough
        session.ask(work)
    return COMPLETE
