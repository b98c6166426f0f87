"""`harvester verify`: is this dump what was written, and is what it claims true?"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from harvester.cli import options
from harvester.cli.exits import COMPLETE, DAMAGED, INCOMPLETE
from harvester.cli.session import Session, with_session
from harvester.cli.terminal import err, print_json, text_of
from harvester.cli.text import number, one_line, size
from harvester.dump import Verdict, read_manifest, verify
from harvester.dump.layout import LATEST
from harvester.errors import ConfigError, DumpError
from harvester.harvest import Scope, count_now
from harvester.registry import RESOURCES


@with_session
def verify_command(
    session: Session,
    directory: Annotated[Path, typer.Argument(help="A dump's directory.", metavar="DIR")],
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also check that times are times, that no event of an object is there twice"
            " and that events happened to files of their object.",
        ),
    ] = False,
    against_registry: Annotated[
        bool,
        typer.Option("--against-registry", help="Also ask the Registry how many records it holds today."),
    ] = False,
    json: options.Json = False,
) -> int:
    """Check a dump from end to end, without the network.

    Every checksum, size and count; every line, its keys and their types; the order of ids and that none is
    there twice; every file and event under its object; every object's file count and bytes. Damage is named
    with file and line (of the decompressed lines). Exit code 0: sound and complete, 5: sound, and incomplete
    as it says itself, 6: damaged.

    \b
    Examples:
      harvester verify inventories/latest
      harvester verify inventories/latest --deep
      harvester verify inventories/latest --against-registry
    """
    terminal = session.terminal
    try:
        verdict = verify(directory, deep=deep)
    except DumpError as error:
        if not error.mend and (directory / LATEST).exists():  # where dumps are, and not one of them
            error.mend = f"harvester verify {shlex.quote(str(directory / LATEST))}"
        raise
    code = DAMAGED if not verdict.sound else COMPLETE if verdict.complete else INCOMPLETE
    today = _count_today(directory, session) if against_registry else None
    if json:
        moved = {} if today is None else {"today": today}
        print_json({**_summary(verdict, code), **moved})
        return code
    for damage in verdict.damages:
        err(one_line(str(damage)))
    if verdict.further:
        err(f"and {number(verdict.further)} more")
    terminal.say(_conclusion(verdict))
    for sentence in _moved_on(directory, today or {}):
        terminal.say(sentence)
    return code


def _count_today(directory: Path, session: Session) -> dict[str, int]:
    """What the Registry of a dump holds now, of what the dump was asked for."""
    manifest, settings = read_manifest(directory), session.settings()
    for what, theirs, ours in (
        ("registry_url", manifest.registry.url, settings.registry_url),
        ("email", manifest.account, settings.email),
    ):
        if theirs != ours:
            raise ConfigError(f"the dump is of {theirs}, not of {ours}", place=what, mend="choose its --profile")
    scope = Scope.of_json({"resources": manifest.scope.resources, "filters": manifest.scope.filters})
    return session.ask(lambda client: count_now(client, scope))


def _moved_on(directory: Path, today: Mapping[str, int]) -> list[str]:
    """How far the Registry has moved on since the dump, a line a list."""
    if not today:
        return []
    manifest = read_manifest(directory)
    held = {RESOURCES[path].file_stem: path for path in today}
    lines = []
    for stem, path in held.items():
        change = today[path] - manifest.files[stem].records
        moved = (
            f"{number(abs(change))} {'more' if change > 0 else 'fewer'} since {manifest.horizon}"
            if change
            else f"as many as at {manifest.horizon}"
        )
        lines.append(f"{stem}: the Registry holds {number(today[path])} today, {moved}")
    return lines


def _conclusion(verdict: Verdict) -> str:
    what = f"{verdict.directory}: {number(verdict.records)} records, {size(verdict.bytes)}"
    if not verdict.sound:
        return f"{what}: damaged"
    return f"{what}: sound and complete" if verdict.complete else f"{what}: sound, and incomplete as it says itself"


def _summary(verdict: Verdict, code: int) -> dict[str, Any]:
    return {
        "path": text_of(verdict.directory),
        "sound": verdict.sound,
        "complete": verdict.complete,
        "exit_code": code,
        "records": verdict.records,
        "bytes": verdict.bytes,
        "damages": [{"file": d.file, "line": d.line, "problem": d.problem} for d in verdict.damages],
        "further_damages": verdict.further,
    }
