"""`harvester demo`: the main job on the embedded Registry, for whoever wants to see it before trusting it."""

from __future__ import annotations

import asyncio
import errno
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from harvester.cli import options
from harvester.cli.exits import COMPLETE, DAMAGED, INCOMPLETE
from harvester.cli.harvest import report
from harvester.cli.running import Interrupted, run
from harvester.cli.terminal import LogFormat, Terminal, print_path
from harvester.cli.text import counted
from harvester.config import credentials, given_settings
from harvester.demo import ADMIN_EMAIL, API_KEY, EMAIL, CollectionSpec, DemoRegistry, build
from harvester.dump import verify
from harvester.errors import ConfigError
from harvester.harvest import Outcome, Progress, Scope, harvest
from harvester.registry import RegistryClient

RATE = 500.0
"""Requests a second in the demo: the embedded Registry has no bcrypt to do."""


def demo_command(
    serve: Annotated[bool, typer.Option("--serve", help="Only serve, until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(help="Port to serve on; 0 takes a free one.", min=0, max=65535, metavar="N")] = 0,
    objects: Annotated[int, typer.Option(help="Intellectual objects of the collection.", min=1, metavar="N")] = 300,
    output: Annotated[Path, typer.Option(help="Where the dump goes.", metavar="DIR", parser=options.directory)] = Path(
        "demo-inventories"
    ),
    log_format: options.LogFormat = LogFormat.TEXT,
    verbose: options.Verbose = 0,
    quiet: options.Quiet = False,
) -> int:
    """Harvest an embedded, made-up Registry, or serve it.

    \b
    Examples:
      harvester demo
      harvester demo --objects 50 --output /tmp/demo
      harvester demo --serve --port 8080
    """
    terminal = Terminal(verbose=verbose, quiet=quiet, log_format=log_format)
    with tempfile.TemporaryDirectory(prefix="harvester-demo-") as directory:
        database = Path(directory) / "registry.sqlite"
        terminal.say(f"making a collection of {counted(objects, 'intellectual object')}")
        build(database, CollectionSpec(objects=objects))
        try:
            if not serve:
                return run(_demonstrate(database, port, output, terminal))
            run(_serve(database, port))
        except Interrupted:
            if not serve:
                raise
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise ConfigError(f"{port} is in use", place="--port", mend="choose another, or 0 for a free one") from None
    return COMPLETE


async def _demonstrate(database: Path, port: int, output: Path, terminal: Terminal) -> int:
    progress = Progress()
    async with DemoRegistry(database, port=port) as registry:
        terminal.say(f"serving it at {registry.url}, and harvesting it over HTTP")
        flags = {"registry_url": registry.url, "email": EMAIL, "api_key": API_KEY, "rate": RATE, "output": output}
        settings = given_settings(flags)
        scope = Scope.parse(settings.resources)
        async with RegistryClient(settings, credentials(settings)) as client, terminal.showing(progress):
            outcome = await harvest(client, scope, progress=progress)
    for sentence in report(outcome):
        terminal.say(sentence)
    return _conclude(outcome, terminal)


def _conclude(outcome: Outcome, terminal: Terminal) -> int:
    verdict = verify(outcome.path)
    if not verdict.sound:
        terminal.say(f"verified: damaged ({verdict.damages[0]})")
        return DAMAGED
    if not verdict.complete:
        return INCOMPLETE
    terminal.say("verified: every line read back, every file and event under its object, every count as the Registry's")
    terminal.say("look at:  manifest.json   what was harvested, and the proof that it is everything")
    terminal.say("          objects.ndjson  one intellectual object a line, as the Registry gave it")
    terminal.say("          files.ndjson    every file, grouped by object")
    terminal.say("          events.ndjson   every premis event, likewise")
    print_path(outcome.path)
    return COMPLETE


async def _serve(database: Path, port: int) -> None:
    async with DemoRegistry(database, port=port) as registry:
        print(f"export APTRUST_REGISTRY_URL={registry.url}")
        print(f"export APTRUST_REGISTRY_EMAIL={EMAIL}")
        print(f"export APTRUST_REGISTRY_API_KEY={API_KEY}")
        print(f"# APTrust's administrator: {ADMIN_EMAIL}, with the same key", flush=True)
        await asyncio.Event().wait()
