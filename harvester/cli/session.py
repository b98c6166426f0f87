"""What every command begins with: the flags all have, settings from all layers, a client of the Registry.

A command takes a `Session` as its first parameter and is wrapped in `with_session`; the parser then gives it
`--config`, `--profile`, `--verbose`, `--quiet` and `--log-format` without its saying so.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from harvester.cli import options
from harvester.cli.running import run
from harvester.cli.terminal import LogFormat, Terminal
from harvester.config import Credentials, Settings, credentials, load_settings
from harvester.registry import RegistryClient

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """One run of a command."""

    terminal: Terminal
    config: Path | None
    profile: str | None
    _accounts: dict[tuple[str, str], Credentials] = field(default_factory=dict, repr=False)

    def settings(self, **flags: Any) -> Settings:
        """All layers, the given flags on top; None is not given. Raises ConfigError."""
        return load_settings(flags, config=self.config, profile=self.profile)

    def ask(self, work: Callable[[RegistryClient], Awaitable[T]], **flags: Any) -> T:
        """Do `work` with a client of the configured Registry. Raises what it raises, and Interrupted."""
        settings = self.settings(**flags)
        account = self._account(settings)

        async def asking() -> T:
            async with RegistryClient(settings, account) as client:
                return await work(client)

        return run(asking())

    def _account(self, settings: Settings) -> Credentials:
        """Who asks, found out once: a password manager may want to be touched for it."""
        whose = settings.registry_url, settings.email
        if whose not in self._accounts:
            self._accounts[whose] = credentials(settings)
        return self._accounts[whose]


SHARED: dict[str, tuple[Any, Any]] = {
    "profile": (options.Profile, None),
    "config": (options.Config, None),
    "log_format": (options.LogFormat, LogFormat.TEXT),
    "verbose": (options.Verbose, 0),
    "quiet": (options.Quiet, False),
}
"""Parameters that `with_session` adds: type and default."""


def with_session(command: Callable[..., int]) -> Callable[..., int]:
    """The command as the parser must see it: without its session, with the flags that one is made of."""

    @functools.wraps(command)
    def parsed(**arguments: Any) -> int:
        shared = {name: arguments.pop(name) for name in SHARED}
        terminal = Terminal(verbose=shared["verbose"], quiet=shared["quiet"], log_format=shared["log_format"])
        return command(Session(terminal, shared["config"], shared["profile"]), **arguments)

    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    own = [p.replace(annotation=hints[p.name]) for p in list(signature.parameters.values())[1:]]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
        for name, (kind, default) in SHARED.items()
    ]
    parsed.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    parsed.__annotations__ = {p.name: p.annotation for p in (*own, *added)} | {"return": int}
    return parsed


__all__ = ["Session", "with_session"]
