"""The options that several commands share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harvester.cli import completion, terminal
from harvester.errors import ConfigError
from harvester.registry import RESOURCES

Config = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of settings [default: ./config.toml, else the user's].", metavar="FILE"),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="production, demo, or one of the file's.",
        metavar="NAME",
        autocompletion=completion.profiles,
    ),
]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Say more; -vv says every request.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
LogFormat = Annotated[terminal.LogFormat, typer.Option("--log-format", help="How what is said on stderr is written.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON summary instead.")]

Filters = Annotated[
    list[str] | None,
    typer.Argument(
        help="Take only these intellectual objects, and what belongs to them: state=A, storage_option=Standard, …",
        metavar="NAME=VALUE",
        autocompletion=completion.filters,
    ),
]
ResourceName = Annotated[
    str,
    typer.Argument(help=f"One of {', '.join(RESOURCES)}.", metavar="RESOURCE", autocompletion=completion.resources),
]
ListFilters = Annotated[
    list[str] | None,
    typer.Argument(
        help="Only rows of which all of these are true: state=A, outcome=Failure, date_time__gteq=30d, …",
        metavar="NAME=VALUE",
        autocompletion=completion.filters,
    ),
]

Fields = Annotated[
    str | None,
    typer.Option(help="Only these fields, in this order.", metavar="A,B,C", autocompletion=completion.fields),
]
FormatJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


def directory(text: str) -> Path:
    """A path that is there: nothing, as of a variable that is not set, would be the directory one happens to be in."""
    if not text:
        raise ConfigError("names no directory", place="--output", mend="give one, or leave it out")
    return Path(text)


Output = Annotated[Path | None, typer.Option(help="Directory the dump is made in.", metavar="DIR", parser=directory)]
Resources = Annotated[
    str | None,
    typer.Option(
        help=f"Lists to harvest, with commas between them: {', '.join(RESOURCES)}.",
        metavar="A,B,C",
        autocompletion=completion.resource_lists,
    ),
]
Concurrency = Annotated[str | None, typer.Option(help="Requests in flight: a number, or auto.", metavar="N")]
Rate = Annotated[float | None, typer.Option(help="Requests a second, at most.", metavar="N")]
PerPage = Annotated[int | None, typer.Option(help="Rows a request, 1 to 1000.", metavar="N")]
Strategy = Annotated[str | None, typer.Option(help="auto, per-object or sweep.", metavar="NAME")]
AllowIncomplete = Annotated[
    bool, typer.Option("--allow-incomplete", help="Publish the dump even if it says that something is missing.")
]
