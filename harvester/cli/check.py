"""`harvester check`: is everything ready, and if not, what is to be done?"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from harvester.ask import Observation, State, look_around, reach_out
from harvester.cli import options
from harvester.cli.exits import COMPLETE, exit_code, mend_of
from harvester.cli.running import run
from harvester.cli.session import Session, with_session
from harvester.cli.terminal import print_json, print_table
from harvester.cli.text import at_home, one_line

SIGNS = {State.OK: "✓", State.WARNING: "!", State.FAILED: "✗", State.SKIPPED: "–", State.UNKNOWN: "–"}
PLAIN_SIGNS = {State.OK: "ok", State.WARNING: "!", State.FAILED: "FAIL", State.SKIPPED: "-", State.UNKNOWN: "-"}
STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red", State.SKIPPED: "", State.UNKNOWN: ""}
FAINT = (State.SKIPPED, State.UNKNOWN)
NAME_WIDTH = 11


@with_session
def check_command(session: Session, output: options.Output = None, json: options.Json = False) -> int:
    """Check the settings, the network and the account: begin here.

    Prints a line for each step: what was found, and where something is wrong, how to mend it. Sends two
    requests, rarely up to four, and none twice. Exit code: 0 if nothing failed, else that of the first failure.

    \b
    Examples:
      harvester check
      harvester check --profile demo
      harvester check --json
    """
    return checked(session, output=output, json=json)


def checked(session: Session, *, output: Path | None = None, json: bool = False) -> int:
    """Check, print what was found as it becomes known, and return the exit code."""
    found: list[Observation] = []

    def tell(observation: Observation) -> None:
        found.append(observation)
        if not json and observation.state is not State.UNKNOWN and (observation.error or not session.terminal.quiet):
            _print(observation)

    surroundings = look_around(lambda: session.settings(output=output))
    for observation in surroundings.observations:
        tell(observation)

    async def reaching() -> None:
        async for observation in reach_out(surroundings):
            tell(observation)

    run(reaching())
    code = next((exit_code(observation.error) for observation in found if observation.error is not None), COMPLETE)
    if not json and not session.terminal.quiet:
        _print_unknown(found)
    if json:
        print_json({"ok": code == COMPLETE, "exit_code": code, "checks": _as_json(found)})
    elif code == COMPLETE:
        session.terminal.say("ready: harvester plan says what a harvest will cost")
    return code


def _as_json(found: Iterable[Observation]) -> list[dict[str, Any]]:
    return [{"name": f.name, "state": f.state, "says": one_line(f.says), "mend": one_line(_mend(f))} for f in found]


def _mend(observation: Observation) -> str:
    return observation.mend or (mend_of(observation.error) if observation.error is not None else "")


def _print_unknown(found: Iterable[Observation]) -> None:
    """One line for all that was not tried: what matters is the failure above it."""
    reasons: dict[str, list[str]] = {}
    for observation in found:
        if observation.state is State.UNKNOWN:
            reasons.setdefault(observation.says, []).append(observation.name)
    for says, names in reasons.items():
        _print(Observation("the rest", State.UNKNOWN, f"{says}: {', '.join(names)}"))


def _print(observation: Observation) -> None:
    """A line; on a terminal its text stays in its column where it takes more than one."""
    mend = _mend(observation)
    says = one_line(at_home(f"{observation.says}; {mend}" if mend else observation.says))
    sign = (SIGNS if _has_signs() else PLAIN_SIGNS)[observation.state]
    if not sys.stdout.isatty():
        print(f"{sign:<{_sign_width()}} {observation.name:<{NAME_WIDTH}} {says}", flush=True)
        return
    shown = Table.grid(padding=(0, 1))
    shown.add_column(width=_sign_width())
    shown.add_column(width=NAME_WIDTH)
    shown.add_column(overflow="fold")
    faint = "dim" if observation.state in FAINT else ""
    shown.add_row(
        Text(sign, style=STYLES[observation.state] or faint),
        Text(observation.name, style=faint or "bold"),
        Text(says, style=faint),
    )
    print_table(shown)


def _has_signs() -> bool:
    try:
        "".join(SIGNS.values()).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _sign_width() -> int:
    return max(map(len, (SIGNS if _has_signs() else PLAIN_SIGNS).values()))
