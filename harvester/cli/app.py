"""The program `harvester`: its commands, and what a command's end means for the caller."""

from __future__ import annotations

import os
import signal
import sys

import typer

from harvester.cli import completion, count, demo, harvest, listing, plan, verify
from harvester.cli.exits import COMPLETE, FAILED, INTERRUPTED, USAGE, exit_code, explain
from harvester.cli.running import Interrupted
from harvester.cli.terminal import err
from harvester.cli.text import one_line
from harvester.config import software_version
from harvester.errors import HarvesterError

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What the parser raises for anything wrong on the command line; typer does not export it by name."""

app = typer.Typer(
    name="harvester",
    help="Full-collection inventories from the APTrust Registry, as NDJSON that can be believed.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"harvester {software_version()}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Full-collection inventories from the APTrust Registry, as NDJSON that can be believed."""


app.command("harvest")(harvest.harvest_command)
app.command("plan")(plan.plan_command)
app.command("resume")(harvest.resume_command)
app.command("list")(listing.list_command)
app.command("count")(count.count_command)
app.command("verify")(verify.verify_command)
app.command("demo")(demo.demo_command)


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        code = app(arguments or ["--help"], prog_name="harvester", standalone_mode=False)
    except HarvesterError as error:
        err(f"harvester: {explain(error)}")
        return exit_code(error)
    except Interrupted as interrupted:
        err(f"harvester: stopped by {interrupted}{interrupted.consequence}")
        return interrupted.exit_code
    except typer.Abort:
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED + signal.SIGINT
    except OSError as error:
        # Python would complain again about stdout when it flushes at exit.
        sys.stdout = None
        if not isinstance(error, BrokenPipeError):  # whoever read our stdout has gone, and knows it
            err(f"harvester: {one_line(error.strerror or str(error))}: stdout, or {error.filename or 'a file'}")
        return FAILED
    except UsageError as error:
        err(f"harvester: {one_line(_words(error))}; see {_command_path(error)} --help")
        return USAGE
    if not arguments:
        return USAGE
    return code if isinstance(code, int) else COMPLETE


def _words(error: Exception) -> str:
    format_message = getattr(error, "format_message", error.__str__)
    return str(format_message()).rstrip(".")


def _command_path(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "harvester"


def main() -> None:
    """The console script."""
    if os.environ.get(completion.VARIABLE) == "complete_bash":
        return completion.in_bash(lambda: run([]))
    sys.exit(run(sys.argv[1:]))
