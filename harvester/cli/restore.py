"""`harvester restore`: asks for an object's restoration, where the account may, and follows it."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from harvester.ask import Watch, find, in_the_way, request_restoration, restores
from harvester.cli.exits import COMPLETE, FAILED
from harvester.cli.get import look_for
from harvester.cli.items import Every
from harvester.cli.output import Format, Writer
from harvester.cli.running import Interrupted
from harvester.cli.session import Session, with_session
from harvester.cli.terminal import agreed, err
from harvester.cli.text import number, one_line, size
from harvester.cli.watch import EVERY, title, watched
from harvester.errors import ConfigError, ConflictError, NotFoundError
from harvester.registry import Record, RegistryClient
from harvester.registry.resources import OBJECTS, WORK_ITEMS


@with_session
def restore_command(
    session: Session,
    wanted: Annotated[str, typer.Argument(help="An object's id or identifier.", metavar="OBJECT")],
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; exit 1 if it fails.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    every: Every = EVERY,
    json: Annotated[bool, typer.Option("--json", help="Print the work item, to a terminal too.")] = False,
) -> int:
    """Ask for the restoration of an object, and follow it.

    Only APTrust's administrators may do so this way; members do it in the web interface, whose address is said.

    \b
    Examples:
      harvester restore institution1.edu/bag_000001
      harvester restore 1234 --yes --wait
    """
    if not (yes or _somebody_there()):
        raise ConfigError("there is no terminal to confirm a restoration at", place="--yes", mend="say --yes")
    target = session.ask(lambda client: _target(client, wanted))
    if not yes:
        _confirm(target)
    try:
        item = session.ask(lambda client: request_restoration(client, target))
    except ConflictError as error:
        return _conflict(session, target, error, wait=wait, yes=yes, every=every)
    session.terminal.say(f"asked for: {title(item | _identified(target))}")
    if json or not sys.stdout.isatty():
        Writer(WORK_ITEMS, Format.NDJSON).write([item])
    return _followed(session, item, every) if wait else COMPLETE


def _somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


async def _target(client: RegistryClient, wanted: str) -> Record:
    try:
        target = await find(client, OBJECTS, wanted)
    except NotFoundError as error:
        raise NotFoundError("there is no such object", place=wanted, mend=look_for(OBJECTS, wanted)) from error
    if target["state"] == "D":
        raise NotFoundError("the object is deleted: there is nothing to restore", place=target["identifier"])
    return target


def _identified(target: Record) -> Record:
    # The answer to a request is the bare work item, without what a list adds to it.
    return {"object_identifier": target["identifier"]}


def description(target: Record) -> list[str]:
    """An object as somebody wants to see it who is about to have it restored."""
    storage = target["storage_option"]
    lines = [
        f"identifier  {target['identifier']}",
        f"title       {target['title'] or '–'}",
        f"files       {number(target['file_count'])}, {size(target['size'])}",
        f"storage     {storage}",
    ]
    if storage.startswith("Glacier"):
        lines.append("            Glacier: it takes hours, from Deep up to days, and costs money")
    return [one_line(line) for line in lines]


def _confirm(target: Record) -> None:
    """Ask whoever is at the terminal. Raises typer.Abort if they do not want it."""
    for line in description(target):
        err(line, "INFO")
    if not agreed("Restore it?", default=False):
        raise typer.Abort


def _conflict(session: Session, target: Record, error: ConflictError, *, wait: bool, yes: bool, every: float) -> int:
    """Say which work item is in the way and, where it will be waited for, follow that one. Raises ConflictError."""
    item = session.ask(lambda client: in_the_way(client, target))
    if item is None:
        raise error
    state = f"{title(item)} is under way: {item['stage']}, {item['status']}"
    if not wait:
        mend = f"when it is done ask again; harvester items {_finding(item)} --until-done waits for it"
        raise ConflictError(state, place=target["identifier"], mend=mend, status=error.status)
    session.terminal.say(state)
    if not yes and not agreed("Follow it?", default=True):
        return FAILED
    code = _followed(session, item, every)
    if restores(item, target):
        return code
    session.terminal.say("that was other work: the restoration has not been asked for; ask again")
    return FAILED


def _finding(item: Record) -> str:
    number = item["intellectual_object_id"]
    return f"intellectual_object_id={number}" if number else shlex.quote(f"name={item['name']}")


def _followed(session: Session, item: Record, every: float) -> int:
    async def following(client: RegistryClient) -> int:
        watch = Watch(client, items=[item])
        pause = max(1 / client.settings.rate, every)
        return await watched(watch, session.terminal, every=pause, form=None, until_done=True)

    try:
        return session.ask(following)
    except Interrupted as interrupted:
        session.terminal.say(f"it goes on without us: work item {item['id']}")
        return interrupted.exit_code


__all__ = ["description", "restore_command"]
