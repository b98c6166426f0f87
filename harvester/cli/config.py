"""`harvester config`: what the settings are, where each comes from, and how a new user gets theirs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr
from rich.table import Table
from rich.text import Text

from harvester.cli import options, setup
from harvester.cli.exits import COMPLETE, FAILED
from harvester.cli.session import Session, with_session
from harvester.cli.terminal import print_json, print_path, print_table, text_of
from harvester.cli.text import at_home, one_line
from harvester.config import Settings, config_file, key_source, users_config_file

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def _config() -> None:
    """Make a settings file, or show what is set and by what.

    \b
    Examples:
      harvester config init
      harvester config show
      harvester config path
    """


@app.command("show")
@with_session
def show_command(session: Session, json: options.Json = False) -> int:
    """Print every setting, its value, and where it comes from.

    Of the API key it says where it is taken from, and no more.

    \b
    Examples:
      harvester config show
      harvester config show --profile demo --json
    """
    settings = session.settings()
    sources = settings.sources
    if json:
        print_json(
            {
                "file": text_of(sources.file) if sources.file else None,
                "profile": sources.profile,
                "apt_cmd_file": text_of(sources.apt_cmd) if sources.apt_cmd else None,
                "passed_over": sources.passed_over or None,
                "settings": {
                    name: {"value": _value(settings, name), "from": _origin(settings, name)}
                    for name in Settings.model_fields
                },
            }
        )
        return COMPLETE
    _print_rows(
        [
            ("config file", one_line(str(sources.file)) if sources.file else "–", ""),
            ("profile", sources.profile, sources.profile_place or "default"),
            *((n, one_line(_text(_value(settings, n))), one_line(_origin(settings, n))) for n in Settings.model_fields),
        ]
    )
    if sources.passed_over:
        session.terminal.say(sources.passed_over)
    return COMPLETE


def _value(settings: Settings, name: str) -> Any:
    """A setting as JSON can hold it, with secrets sealed."""
    value = getattr(settings, name)
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else None
    if name == "api_key_command":  # somebody's arguments may be the key itself
        program, _, arguments = value.partition(" ")
        return f"{program} …" if arguments else value
    if isinstance(value, Path):
        return text_of(value)
    return f"{value:04o}" if name.endswith("_mode") else value


def _origin(settings: Settings, name: str) -> str:
    if name == "api_key" and not settings.api_key.get_secret_value() and key_source(settings):
        return f"taken from {key_source(settings)}"
    return settings.origins.get(name, "default")


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "–" if value in (None, "") else str(value)


def _print_rows(rows: Sequence[tuple[str, str, str]]) -> None:
    if sys.stdout.isatty():
        shown = Table.grid(padding=(0, 2))
        shown.add_column(style="bold", no_wrap=True)
        shown.add_column(overflow="fold")
        shown.add_column(style="dim", overflow="fold")
        for row in rows:
            shown.add_row(*(Text(at_home(cell)) for cell in row))
        print_table(shown)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command("path")
@with_session
def path_command(session: Session) -> int:
    """Print the path of the settings file.

    Where there is none yet, it is the one that `config init` would write, and the exit code is 1.

    \b
    Examples:
      harvester config path
    """
    found = config_file(session.config)
    print_path((found or users_config_file()).absolute())
    if found is None:
        session.terminal.say("there is no such file yet; harvester config init makes it")
        return FAILED
    return COMPLETE


@app.command("init")
@with_session
def init_command(session: Session) -> int:
    """Ask for the account, write a settings file, and check it.

    Writes ~/.config/harvester/config.toml (or that of --config), readable by nobody else. What is there is not
    replaced unasked. Answers can be piped in, one a line.

    \b
    Examples:
      harvester config init
      harvester config init --config demo.toml
    """
    return setup.set_up(session)
