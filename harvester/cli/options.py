"""The options every command accepts, after its name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of settings [default: ./config.toml, else the user's].", metavar="FILE"),
]
Profile = Annotated[
    str | None, typer.Option("--profile", help="production, demo, or one of the file's.", metavar="NAME")
]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more; -vv says every request.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON summary instead.")]
