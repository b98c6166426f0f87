"""`harvester audit`: what an auditor of fixity and completeness asks, answered as a report or as JSON."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from harvester.ask import Answer, Audit, Concern, Plan, Question, Rules, Status, audit
from harvester.cli import completion, options
from harvester.cli.audit_report import command, report, title
from harvester.cli.dates import age
from harvester.cli.exits import COMPLETE, FAILED, INCOMPLETE, explain
from harvester.cli.filters import plain_filters
from harvester.cli.session import Session, with_session
from harvester.cli.terminal import print_json
from harvester.cli.text import counted, number
from harvester.errors import ConfigError
from harvester.registry import RegistryClient
from harvester.registry.resources import OBJECTS, format_time, nearest

FEW, MANY = 5, 1000
"""Findings of each question that a report shows, and that JSON holds, unless another limit is given."""

FixityAge = Annotated[
    str, typer.Option("--max-fixity-age", help="Files must have been checked since: 90d, 26w, 1y.", metavar="AGE")
]
StalledAfter = Annotated[
    str, typer.Option("--stalled-after", help="Unfinished work items must have moved since: 12h, 7d.", metavar="AGE")
]
Limit = Annotated[
    int | None,
    typer.Option(help=f"Findings shown of each question [default: {FEW}; JSON: {MANY}].", min=1, max=MANY, metavar="N"),
]
Only = Annotated[
    str | None,
    typer.Option(help=f"Ask only some of: {', '.join(Concern)}.", metavar="NAMES", autocompletion=completion.questions),
]
Deep = Annotated[bool, typer.Option("--deep", help="Ask also what takes more than 200 requests.")]


@with_session
def audit_command(
    session: Session,
    filters: options.Filters = None,
    max_fixity_age: FixityAge = "90d",
    stalled_after: StalledAfter = "7d",
    limit: Limit = None,
    only: Only = None,
    deep: Deep = False,
    json: options.Json = False,
) -> int:
    """Ask what an auditor would: is all checked, whole, in order?

    Of the whole institution, or of the objects that NAME=VALUE choose: active files never checked, or not lately;
    files without sha256; failed events that no success of the same kind has followed; objects without files; deleted
    objects with files; objects whose count of files or bytes their files do not bear out; deletions waiting for
    confirmation (of the whole institution only); and work items that are suspended, need review, or stand still.

    APTrust checks the files in S3 and Wasabi, and by its own rules not those in Glacier-only storage: these are
    counted, and are no findings. All numbers are exact. A question that would take more than 200 requests is left
    out unless --deep is given.

    Exits with 0 if nothing was found and every question answered, 1 if something was found, 5 if nothing was found
    but a question was left out or could not be answered.

    \b
    Examples:
      harvester audit
      harvester audit storage_option=Standard --max-fixity-age 1y
      harvester audit identifier__starts_with=institution1.edu/bag_00 --limit 20
      harvester audit --only failed_events,deletions,work_items --stalled-after 12h
      harvester audit --json
    """
    rules = Rules(
        max_fixity_age=_age(max_fixity_age, "--max-fixity-age"),
        stalled_after=_age(stalled_after, "--stalled-after"),
        limit=limit or (MANY if json else FEW),
        only=_questions(only),
        deep=deep,
    )
    question = Question.parse(OBJECTS, plain_filters(OBJECTS, filters or ()))
    if question.filters and rules.only == {Concern.DELETIONS}:
        raise ConfigError(
            "deletions are asked of the whole institution only", place="--only", mend="give no NAME=VALUE"
        )

    def tell(plan: Plan) -> None:
        session.terminal.say(planned(plan))

    async def work(client: RegistryClient) -> Audit:
        def so_far() -> str:
            return f"{number(sum(client.traffic.requests.values()))} requests so far"

        filters = await question.resolved(client)
        async with session.terminal.telling(so_far):
            return await audit(client, filters, rules, tell=tell)

    result = session.ask(work)
    if json:
        print_json(as_json(result))
    else:
        report(result)
    if question.filters and result.objects == 0:
        session.terminal.say(
            f"no object is {shlex.join(f'{name}={value}' for name, value in question.filters)}: nothing was audited"
        )
    if result.found:
        return FAILED
    return COMPLETE if result.complete else INCOMPLETE


def planned(plan: Plan) -> str:
    """What is about to be asked, in one line."""
    objects = "objects" if plan.objects is None else counted(plan.objects, "object")
    files = "their files" if plan.files is None else counted(plan.files, "active file")
    more = f", and up to {number(plan.follow_ups)} about failed events" if plan.follow_ups else ""
    requests = f"about {counted(plan.requests, 'request')}" if plan.requests else "hardly a request"
    return f"asking about {objects} and {files}: {requests} more{more}"


def as_json(result: Audit) -> dict[str, Any]:
    """The audit for scripts. Keys are only ever added; times are UTC."""
    return {
        "asked_at": format_time(result.asked_at),
        "filters": [list(pair) for pair in result.filters],
        "max_fixity_age_seconds": round(result.rules.max_fixity_age.total_seconds()),
        "stalled_after_seconds": round(result.rules.stalled_after.total_seconds()),
        "objects": result.objects,
        "files": result.files,
        "found": result.found,
        "complete": result.complete,
        "requests": result.requests,
        "questions": [_answer_as_json(answer, result.rules) for answer in result.answers],
    }


def _answer_as_json(answer: Answer, rules: Rules) -> dict[str, Any]:
    answered = answer.status is Status.ANSWERED
    return {
        "question": answer.question,
        "title": title(answer.question, rules),
        "status": answer.status,
        "count": answer.count if answered else None,
        "of": answer.of,
        "more": dict(answer.more),
        "requests_needed": answer.requests or None,
        "error": explain(answer.error) if answer.error is not None else None,
        "listed_by": command(answer.listed_by) if answer.listed_by is not None else None,
        "findings": [
            {"id": each.id, "identifier": each.identifier, "since": each.since or None, "detail": each.detail}
            for each in answer.findings
        ],
    }


def _age(text: str, flag: str) -> timedelta:
    """An age that leads back to a date there is. Raises ConfigError."""
    found = age(text)
    try:
        if found is not None and datetime.now(UTC) - found:
            return found
    except OverflowError:
        pass
    raise ConfigError(f"{text!r} is no age", place=flag, mend="such as 12h, 90d, 8w or 1y")


def _questions(text: str | None) -> frozenset[Concern]:
    """The questions of `--only a,b`; all if it is not given. Raises ConfigError."""
    if text is None:
        return frozenset(Concern)
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = ", ".join(Concern)
    for name in names:
        if name not in list(Concern):
            raise ConfigError(
                f"there is no question {name!r}",
                place="--only",
                mend=nearest(name, map(str, Concern)) or f"known are {known}",
            )
    if not names:
        raise ConfigError("no question is named", place="--only", mend=f"known are {known}")
    return frozenset(map(Concern, names))
