"""The program `harvester`: its commands, and what a command's end means for the caller."""

from __future__ import annotations

import io
import os
import signal
import sys
from itertools import pairwise

import typer

from harvester import starting
from harvester.cli import (
    audit,
    check,
    completion,
    config,
    count,
    demo,
    get,
    harvest,
    items,
    listing,
    plan,
    restore,
    verify,
)
from harvester.cli.exits import COMPLETE, FAILED, INTERRUPTED, USAGE, exit_code, explain
from harvester.cli.running import Interrupted
from harvester.cli.terminal import LogFormat, err, say_in
from harvester.cli.text import one_line
from harvester.config import plain_words, software_version
from harvester.errors import HarvesterError

UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What the parser raises for anything wrong on the command line; typer does not export it by name."""

app = typer.Typer(
    name="harvester",
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
    """Full-collection inventories from the APTrust Registry, as NDJSON that can be believed.

    Begin with config init, which asks for your account, and check, which says whether all is well; then plan,
    harvest and verify. Without an account, demo shows all of it. Each command's --help has examples.
    """


app.command("check")(check.check_command)
app.command("plan")(plan.plan_command)
app.command("harvest")(harvest.harvest_command)
app.command("resume")(harvest.resume_command)
app.command("verify")(verify.verify_command)
app.command("list")(listing.list_command)
app.command("get")(get.get_command)
app.command("count")(count.count_command)
app.command("items")(items.items_command)
app.command("audit")(audit.audit_command)
app.command("restore")(restore.restore_command)
app.add_typer(config.app, name="config")
app.command("demo")(demo.demo_command)


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        starting.over()
        if _asks_for_json(arguments):
            say_in(LogFormat.JSON)
        code = app(arguments or ["--help"], standalone_mode=False, prog_name="harvester")
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


_OF_COMMANDS = frozenset({"--config", "--profile", "--log-format", "--verbose", "-v", "--quiet", "-q", "--json"})
"""Options that all commands have, or nearly all, and that somebody may write in front of one."""


def _asks_for_json(arguments: list[str]) -> bool:
    """Whether errors are to be JSON too that come before the flags are understood, or instead."""
    return "--log-format=json" in arguments or ("--log-format", "json") in pairwise(arguments)


def _words(error: Exception) -> str:
    format_message = getattr(error, "format_message", error.__str__)
    option, context = getattr(error, "option_name", ""), getattr(error, "ctx", None)
    if context is not None and context.parent is None and option in _OF_COMMANDS:
        return f"{option} comes after the command"
    return plain_words(str(format_message())).rstrip(".")


def _command_path(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else "harvester"


def _open_what_was_closed() -> None:
    """Give standard streams that were closed (`>&-`) to nobody, before a file or a socket gets their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None and os.open(os.devnull, os.O_RDWR) == number:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def main() -> None:
    """The console script."""
    _open_what_was_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a dash is no reason to fail where stdout has none
    if os.environ.get(completion.VARIABLE) == "complete_bash":
        return completion.in_bash(lambda: run([]))
    sys.exit(run(sys.argv[1:]))
