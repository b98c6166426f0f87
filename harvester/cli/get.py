"""`harvester get`: one record, for people as a picture, for scripts as the Registry gave it."""

from __future__ import annotations

import re
import shlex
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import orjson
import typer

from harvester.ask import Portrait, find, portray
from harvester.ask.identify import WITH_IDENTIFIER
from harvester.cli import options
from harvester.cli.canvas import Canvas
from harvester.cli.exits import COMPLETE
from harvester.cli.output import harmless, write_out
from harvester.cli.pictures import View, draw_file, draw_object, draw_record
from harvester.cli.session import Session, with_session
from harvester.cli.text import number
from harvester.errors import ConfigError, NotFoundError
from harvester.registry import Record, RegistryClient, Resource
from harvester.registry.resources import FILES, OBJECTS, resource_named


class Shape(StrEnum):
    """How one record is written."""

    JSON = "json"
    TREE = "tree"


FILES_SHOWN = "40"
EVENTS_SHOWN = 10


@with_session
def get_command(
    session: Session,
    resource: options.ResourceName,
    key: Annotated[
        str | None,
        typer.Argument(
            help="Its id; of objects and files also the identifier, of events the UUID. Digits are always an id.",
            metavar="ID|IDENTIFIER",
        ),
    ] = None,
    form: Annotated[
        Shape | None, typer.Option("--format", help="[default: tree on a terminal, json elsewhere]", show_default=False)
    ] = None,
    files: Annotated[
        str, typer.Option("--files", help="Files to show of an object: a number, or all. 0 asks for none.", metavar="N")
    ] = FILES_SHOWN,
    events: Annotated[int, typer.Option("--events", help="Events to show.", metavar="N", min=0)] = EVENTS_SHOWN,
    wide: Annotated[bool, typer.Option("--wide", help="Cut nothing: whole digests, paths and values.")] = False,
    json: options.FormatJson = False,
) -> int:
    """Show one record: an object with its files, a file, an event.

    As a tree, an object comes with its files by directory, each directory's totals, digests, last fixity checks,
    latest events, failures, and work items under way: four requests for most objects. Of an object of more than 10,000
    files the first 10,000 are read, and it says so. As JSON, it is the Registry's own entry, in one line unless it is
    a terminal; a file's holds its events, checksums and storage records. Exit code 1: there is no such record, 3: it is
    another institution's.

    \b
    Examples:
      harvester get objects 1
      harvester get objects institution1.edu/bag_000001 --files all --wide
      harvester get files institution1.edu/bag_000001/tag_1.txt --format tree
      harvester get objects 1 --format json
    """
    if json and form is Shape.TREE:
        raise ConfigError("not together with --format tree", place="--json", mend="give one of them")
    kind = _resource(resource, key)
    if key is None:
        raise ConfigError("get takes a resource and an id", place=resource, mend=f"harvester get {kind.path} ID")
    key = re.sub(r"^(id|identifier)=", "", key)  # as apt-cmd has it
    view = View(files=_number_of_files(files), events=events, wide=wide, now=datetime.now(UTC))
    shape = Shape.JSON if json else form or (Shape.TREE if sys.stdout.isatty() else Shape.JSON)

    def announce(count: int) -> None:
        session.terminal.say(f"reading {number(count)} files, 1,000 a request")

    async def ask(client: RegistryClient) -> Portrait | Record:
        if kind is OBJECTS and shape is Shape.TREE:
            return await portray(client, key, files=view.files, failures=view.events, announce=announce)
        return await find(client, kind, key)

    try:
        found = session.ask(ask)
    except NotFoundError as error:
        raise NotFoundError("there is no such record", place=f"{kind.path} {key}", mend=look_for(kind, key)) from error
    if isinstance(found, Portrait) or shape is Shape.TREE:
        _draw(kind, found, view)
    else:
        _print(found)
    return COMPLETE


def _resource(name: str, key: str | None) -> Resource:
    try:
        return resource_named(name)
    except ConfigError:
        if key is not None:
            raise
    # One word, and no resource: somebody has given the identifier alone.
    mend = f"harvester get objects {shlex.quote(name)}, or files"
    raise ConfigError("get takes a resource and an id", place=repr(name), mend=mend)


def _number_of_files(text: str) -> int | None:
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(f"{text!r} is neither a number nor all", place="--files")
    return int(text)


def look_for(kind: Resource, key: str) -> str:
    """How to find what the Registry does hold."""
    if key.isdigit() and kind in WITH_IDENTIFIER:
        return f"harvester list {kind.path} shows which there are; an identifier of digits alone is taken for an id"
    if kind is OBJECTS:
        beginning = key[: max(len(key) // 2, key.find("/") + 1)]
        return f"harvester list objects identifier__starts_with={shlex.quote(beginning)}"
    if kind is FILES:
        return "harvester get objects IDENTIFIER --files all shows which files an object has"
    return f"harvester list {kind.path} shows which there are"


def _draw(kind: Resource, found: Portrait | Record, view: View) -> None:
    canvas = Canvas(everything=view.wide)
    if isinstance(found, Portrait):
        draw_object(canvas, found, view)
    elif kind is FILES:
        draw_file(canvas, found, view)
    else:
        draw_record(canvas, kind, found, view)
    canvas.flush()


def _print(found: Record) -> None:
    """The entry, byte for byte; on a terminal indented, and with everything escaped that could drive it."""
    if sys.stdout.isatty():
        lines = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode().split("\n")
        text = "\n".join(map(harmless, lines)).encode()
    else:
        text = orjson.dumps(found)
    write_out(text + b"\n")


__all__ = ["get_command", "look_for"]
