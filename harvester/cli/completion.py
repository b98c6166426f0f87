"""What the shell may offer next: names and values that are known here. Asks the Registry nothing.

Hides what bash does to a word with `=` in it. typer's script hands over `state=A` as three words, and takes the answer
for the last of them, unquoted; zsh and fish know better. Other values are offered whole, in the shells' own quotes.
"""

from __future__ import annotations

import io
import os
import re
import tomllib
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout, suppress
from typing import Any

import typer

from harvester.ask import Concern
from harvester.ask.question import OBJECT_NAMES
from harvester.config import BUILT_IN_PROFILES, config_file
from harvester.errors import ConfigError
from harvester.registry import RESOURCES, Resource, resource_named
from harvester.registry.resources import OBJECTS, PARENT_FILTER, VALUES, Kind

VARIABLE = "_HARVESTER_COMPLETE"
QUOTES = ("'", '"')

AN_EXAMPLE = {
    Kind.BOOLEAN: ("true", "false"),
    Kind.TIME: ("today", "yesterday", "30d", "1y", "2026-01-31"),
}
"""Values offered by kind of filter where its own are not known."""


def _resource(context: typer.Context) -> Resource:
    """The list that was named before, or that the command is named for; any other command's filters choose objects."""
    if any(parameter.name == "resource" for parameter in context.command.params):
        # An option without its value yet, and the parser has not come to the arguments.
        named = context.params.get("resource") or next(iter(context.args), OBJECTS.path)
    else:
        named = context.info_name
    try:
        return resource_named(named or "")
    except ConfigError:
        return OBJECTS


def resources(incomplete: str) -> list[str]:
    """Names of lists."""
    return [*RESOURCES]


def filters(context: typer.Context, incomplete: str) -> list[str]:
    """Filters of the list, `name=`; once it is clear which is meant, with its values."""
    resource = _resource(context)
    names = [*resource.filters, *([OBJECT_NAMES[0]] if PARENT_FILTER in resource.filters else [])]
    meant, equals, _ = incomplete.partition("=")
    near = [name for name in names if (name == meant if equals else name.startswith(meant))]
    if len(near) != 1:
        return [f"{name}=" for name in near]
    (name,) = near
    known = VALUES.get(name.removesuffix("__in")) or AN_EXAMPLE.get(resource.filters.get(name, Kind.TEXT), ())
    # With one candidate alone the shell would think the word finished, and put a space after it.
    return [f"{name}={value}" for value in known or (() if equals else ("", "…"))]


def sorts(context: typer.Context, incomplete: str) -> list[str]:
    """Columns to sort by, each way."""
    return [f"{column}__{way}" for column in _resource(context).sorts for way in ("asc", "desc")]


def countables(context: typer.Context, incomplete: str) -> list[str]:
    """Fields to count by."""
    return [name for name in VALUES if name in _resource(context).filters]


def fields(context: typer.Context, incomplete: str) -> list[str]:
    """Fields of an entry, the last of a list with commas."""
    return _listed(_resource(context).fields, incomplete)


def resource_lists(incomplete: str) -> list[str]:
    """Names of lists, the last of a list with commas."""
    return _listed(RESOURCES, incomplete)


def questions(incomplete: str) -> list[str]:
    """Questions of an audit, the last of a list with commas."""
    return _listed(Concern, incomplete)


def _listed(names: Iterable[str], incomplete: str) -> list[str]:
    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name not in before.split(",")]


def profiles(context: typer.Context, incomplete: str) -> list[str]:
    """Profiles: those built in, and those of the file of settings if it can be read."""
    own: dict[str, Any] = {}
    with suppress(ConfigError, OSError, ValueError):
        path = config_file(context.params.get("config"))
        own = tomllib.loads(path.read_text("utf-8")).get("profiles", {}) if path else {}
    return sorted({*BUILT_IN_PROFILES, *own})


def in_bash(complete: Callable[[], object]) -> None:
    """Have `complete` answer on stdout for whole words, and give bash what it wants of each answer."""
    words, current = _rejoined(os.environ.get("COMP_WORDS", "").split("\n"), int(os.environ.get("COMP_CWORD") or 0))
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(words), str(current)
    word = words[current] if current < len(words) else ""
    quoted = word.startswith(QUOTES)
    before = "" if quoted else word[: word.rfind("=") + 1]
    quoted = quoted or word[len(before) :].startswith(QUOTES)
    answers = io.StringIO()
    with redirect_stdout(answers), suppress(SystemExit):
        complete()
    for answer in filter(None, answers.getvalue().splitlines()):
        rest = answer.removeprefix(before)
        print(rest if quoted else re.sub(r"([^\w=.,:/@%+…-])", r"\\\1", rest))


def _rejoined(words: list[str], current: int) -> tuple[list[str], int]:
    """Words as they stand on the command line, put together from what bash cut at each `=`, and which is current."""
    joined: list[str] = []
    place, glue = 0, False
    for index, word in enumerate(words):
        if joined and (glue or word == "=") and index > 1:
            joined[-1] += word
        else:
            joined.append(word)
        glue = word == "="
        if index == current:
            place = len(joined) - 1
    return joined, place if current < len(words) else len(joined)
