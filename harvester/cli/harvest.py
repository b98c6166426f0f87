"""`harvester harvest` and `harvester resume`: the main job, and its continuation."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from harvester.ask import confirm
from harvester.cli import options
from harvester.cli.exits import COMPLETE, INCOMPLETE, exit_code, explain
from harvester.cli.filters import scope_of
from harvester.cli.plan import announcement, comparison
from harvester.cli.running import Interrupted, run
from harvester.cli.session import Session, with_session
from harvester.cli.terminal import Terminal, print_json, print_path, text_of
from harvester.cli.text import duration, number
from harvester.config import Credentials, Settings, credentials
from harvester.dump import Manifest
from harvester.dump.manifest import Disagreement, Failure
from harvester.errors import HarvesterError
from harvester.harvest import Outcome, Plan, Progress, harvest, resume
from harvester.registry import RegistryClient
from harvester.registry.resources import OBJECTS


@with_session
def harvest_command(
    session: Session,
    filters: options.Filters = None,
    output: options.Output = None,
    resources: options.Resources = None,
    concurrency: options.Concurrency = None,
    rate: options.Rate = None,
    per_page: options.PerPage = None,
    strategy: options.Strategy = None,
    compression: Annotated[str | None, typer.Option(help="none, gzip or zstd.", metavar="NAME")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over, even if an unfinished dump of the same could be taken up.")
    ] = False,
    allow_incomplete: options.AllowIncomplete = False,
    json: options.Json = False,
) -> int:
    """Harvest a whole institution, or a slice of it, to NDJSON files.

    Prints the path of the published dump. An unfinished dump of the same is taken up again.

    \b
    Examples:
      harvester harvest
      harvester harvest state=A storage_option=Standard --rate 2
      harvester harvest --resources objects,files --compression zstd --json
    """
    flags = {
        "output": output,
        "resources": resources,
        "concurrency": concurrency,
        "rate": rate,
        "per_page": per_page,
        "strategy": strategy,
        "compression": compression,
        "allow_incomplete": allow_incomplete or None,
    }

    async def work(client: RegistryClient, progress: Progress) -> Outcome:
        scope = scope_of(client.settings, filters or ())
        await confirm(client, OBJECTS, scope.filters)
        return await harvest(client, scope, progress=progress, fresh=fresh)

    def settings() -> Settings:
        found = session.settings(**flags)
        scope_of(found, filters or ())  # what is wrong with it is said before a password manager is asked for a key
        return found

    return _carry_out(settings, work, session.terminal, json=json)


@with_session
def resume_command(
    session: Session,
    directory: Annotated[
        Path | None,
        typer.Argument(help="An unfinished dump, or the directory it lies in.", metavar="DIR", show_default=False),
    ] = None,
    concurrency: options.Concurrency = None,
    rate: options.Rate = None,
    per_page: options.PerPage = None,
    allow_incomplete: options.AllowIncomplete = False,
    json: options.Json = False,
) -> int:
    """Finish a harvest that was interrupted, or left incomplete.

    Asks only for what is not in the dump yet.

    \b
    Examples:
      harvester resume
      harvester resume inventories
    """
    flags = {
        "concurrency": concurrency,
        "rate": rate,
        "per_page": per_page,
        "allow_incomplete": allow_incomplete or None,
    }

    async def work(client: RegistryClient, progress: Progress) -> Outcome:
        return await resume(client, directory or client.settings.output, progress=progress)

    return _carry_out(lambda: session.settings(**flags), work, session.terminal, json=json)


def _carry_out(
    read_settings: Callable[[], Settings],
    work: Callable[[RegistryClient, Progress], Awaitable[Outcome]],
    terminal: Terminal,
    *,
    json: bool,
) -> int:
    """Do the work with a client, and say how it ended: to people on stderr, to scripts on stdout."""

    def announce(plan: Plan) -> None:
        for line in announcement(plan):
            terminal.say(line)

    progress = Progress(on_plan=announce)

    async def working(settings: Settings, account: Credentials) -> Outcome:
        async with RegistryClient(settings, account) as client, terminal.showing(progress):
            return await work(client, progress)

    try:
        settings = read_settings()
        outcome = run(working(settings, credentials(settings)))
    except HarvesterError as error:
        if json:
            print_json({"complete": False, "error": explain(error), "exit_code": exit_code(error)})
        raise
    except Interrupted as interrupted:
        interrupted.consequence = "; what was harvested is kept, the same command goes on from there"
        if json:
            print_json({"complete": False, "error": f"stopped by {interrupted}", "exit_code": interrupted.exit_code})
        raise
    for sentence in (*report(outcome), *comparison(progress.plan, outcome)):
        terminal.say(sentence)
    code = COMPLETE if outcome.manifest.complete else INCOMPLETE
    if json:
        print_json(summary(outcome, code))
    elif outcome.published:
        print_path(outcome.path)
    return code


def report(outcome: Outcome) -> list[str]:
    """What a person wants to know of a finished harvest."""
    manifest, path = outcome.manifest, outcome.path
    rows = ", ".join(f"{number(file.records)} {stem}" for stem, file in manifest.files.items())
    went = manifest.run
    requests = number(sum(went.requests.values()))
    said = [f"{rows}: {requests} requests, {duration(went.seconds)}, {went.retries} retries"]
    if manifest.scope.filters and not manifest.totals.records:
        said.append(f"nothing is {shlex.join('='.join(pair) for pair in manifest.scope.filters)}: the dump is empty")
    if went.corrected:
        said.append(f"{number(len(went.corrected))} intellectual objects were asked for again at the end")
    said += [f"missing: {line}" for line in missing(manifest)]
    if not manifest.complete and not outcome.published:
        mend = "harvester resume asks for what is missing"
        if not {"files", "events"}.isdisjoint(manifest.reconciliation.short_walks):
            mend = "harvester harvest --fresh --strategy per-object asks object by object"
        said.append(f"incomplete: it stays in {path}, unpublished; {mend}")
    elif not manifest.complete:
        said.append("incomplete, and published as that: manifest.json says what is missing")
    return said


def missing(manifest: Manifest, most: int = 20) -> list[str]:
    """What the manifest says is missing or does not add up, a line each."""
    reconciliation = manifest.reconciliation
    lines = [f"{note.resource}{_whose(note)} after {note.rows} rows: {note.error}" for note in manifest.failures]
    lines += [
        f"{note.resource}{_whose(note)}: the Registry says {_figures(note.expected)}, received {_figures(note.found)}"
        for note in reconciliation.disagreements
    ]
    for path in reconciliation.short_walks:
        walk = reconciliation.walks[path]
        lines.append(f"{path}: the Registry counts {walk.expected}, received {walk.found}")
    if len(lines) > most:
        lines[most:] = [f"and {len(lines) - most} more, all in manifest.json"]
    return lines


def _whose(note: Failure | Disagreement) -> str:
    return f" of {note.identifier} (id {note.object})" if note.object else ""


def _figures(figures: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def summary(outcome: Outcome, code: int) -> dict[str, Any]:
    """The one JSON object of --json."""
    manifest = outcome.manifest
    return {
        "path": text_of(outcome.path),
        "published": outcome.published,
        "complete": manifest.complete,
        "exit_code": code,
        "horizon": manifest.horizon,
        "records": {stem: file.records for stem, file in manifest.files.items()},
        "bytes": manifest.totals.bytes,
        "failures": [asdict(failure) for failure in manifest.failures],
        "reconciliation": asdict(manifest.reconciliation),
        "run": asdict(manifest.run),
    }
