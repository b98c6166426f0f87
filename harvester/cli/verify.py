"""`harvester verify`: is this dump what was written, and is what it claims true?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harvester.cli import options
from harvester.cli.exits import COMPLETE, DAMAGED, INCOMPLETE
from harvester.cli.terminal import Terminal, err, print_json
from harvester.cli.text import number, one_line, size
from harvester.dump import Verdict, verify


def verify_command(
    directory: Annotated[Path, typer.Argument(help="A dump's directory.", metavar="DIR")],
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also check that times are times, that no event of an object is there twice"
            " and that events happened to files of their object.",
        ),
    ] = False,
    json: options.Json = False,
    verbose: options.Verbose = 0,
    quiet: options.Quiet = False,
) -> int:
    """Check a dump from end to end, without the network.

    Every checksum, size and count; every line, its keys and their types; the order of ids and that none is
    there twice; every file and event under its object; every object's file count and bytes. Damage is named
    with file and line (of the decompressed lines). Exit code 0: sound and complete, 5: sound, and incomplete
    as it says itself, 6: damaged.

    Example: harvester verify inventories/latest
    """
    terminal = Terminal(verbose=verbose, quiet=quiet)
    verdict = verify(directory, deep=deep)
    code = DAMAGED if not verdict.sound else COMPLETE if verdict.complete else INCOMPLETE
    if json:
        print_json(_summary(verdict, code))
        return code
    for damage in verdict.damages:
        err(one_line(str(damage)))
    if verdict.further:
        err(f"and {number(verdict.further)} more")
    terminal.say(_conclusion(verdict))
    return code


def _conclusion(verdict: Verdict) -> str:
    what = f"{verdict.directory}: {number(verdict.records)} records, {size(verdict.bytes)}"
    if not verdict.sound:
        return f"{what}: damaged"
    return f"{what}: sound and complete" if verdict.complete else f"{what}: sound, and incomplete as it says itself"


def _summary(verdict: Verdict, code: int) -> dict[str, Any]:
    return {
        "path": str(verdict.directory),
        "sound": verdict.sound,
        "complete": verdict.complete,
        "exit_code": code,
        "records": verdict.records,
        "bytes": verdict.bytes,
        "damages": [{"file": d.file, "line": d.line, "problem": d.problem} for d in verdict.damages],
        "further_damages": verdict.further,
    }
