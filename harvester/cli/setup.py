"""The questions of `harvester config init`, and the two files that their answers make.

Nothing is written before the last answer is given; each file appears whole or not at all.
"""

from __future__ import annotations

import getpass
import os
import shlex
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import SecretStr

from harvester.cli.check import checked
from harvester.cli.exits import FAILED, explain
from harvester.cli.session import Session
from harvester.cli.terminal import asked, end_question, err
from harvester.cli.text import one_line
from harvester.config import BUILT_IN_PROFILES, credentials, given_settings, users_config_file
from harvester.dump import Disk
from harvester.errors import ConfigError, HarvesterError

T = TypeVar("T")

OWN_PROFILE = "own"
FILE, COMMAND, ENVIRONMENT = "file", "command", "environment"
IN_FRONT = ("APTRUST_REGISTRY_URL", "APTRUST_REGISTRY_EMAIL", "APTRUST_REGISTRY_API_KEY", "HARVESTER_PROFILE")
"""Variables that go before what is written here."""


@dataclass(frozen=True)
class Answers:
    """Which Registry, whose account, and how its key is to be had: kept for them, by a command, or neither."""

    url: str
    email: str
    key: SecretStr
    command: str

    @property
    def profile(self) -> str:
        """The name of the profile that they make."""
        return next((n for n, values in BUILT_IN_PROFILES.items() if values["registry_url"] == self.url), OWN_PROFILE)


def set_up(session: Session) -> int:
    """Ask, write, check; returns the exit code."""
    named = session.config or os.environ.get("HARVESTER_CONFIG")
    target = Path(named) if named else users_config_file()
    try:
        if not _may_write(target):
            return FAILED
        answers = _ask()
        key_file = target.with_name(f"{answers.profile}.key")
        if answers.key.get_secret_value() and not _may_write(key_file):
            return FAILED
    except EOFError:
        raise HarvesterError("stopped before the last answer; nothing was written") from None
    except KeyboardInterrupt:
        err("nothing was written", "INFO")
        raise
    _write_both(target, key_file, answers)
    _tell(session, target, answers)
    return checked(Session(session.terminal, target, None))


def _ask() -> Answers:
    known = ", ".join(BUILT_IN_PROFILES)
    url = _answer(f"Registry ({known}, or an address) [production]: ", _url)
    email = _answer("Login e-mail of your account there: ", _email)
    how = _answer("API key: kept in a file, printed by a command, or from the environment [file]: ", _how)
    key, command = SecretStr(""), ""
    if how == FILE:
        key = _answer("API key, from your account page in the Registry (not shown): ", _key, secret=True)
    elif how == COMMAND:
        command = _answer("Command that prints it, such as pass show aptrust: ", _command)
    return Answers(url, email, key, command)


def _answer(question: str, accept: Callable[[str], T], *, secret: bool = False) -> T:
    """What is accepted of the answer. People are asked again, a script is not: its next line answers something else."""
    while True:
        try:
            return accept(_secret(question) if secret else _line(question))
        except ConfigError as error:
            if not sys.stdin.isatty():
                raise
            err(explain(error))


def _line(question: str) -> str:
    answer = asked(question)
    if answer is None:
        raise EOFError
    return answer


def _secret(question: str) -> str:
    if not sys.stdin.isatty():
        return _line(question)
    try:
        return getpass.getpass(question).strip()  # asks at /dev/tty, which no log is
    except (EOFError, KeyboardInterrupt):
        end_question()
        raise


def _url(answer: str) -> str:
    known = BUILT_IN_PROFILES.get(answer or "production", {}).get("registry_url", answer)
    return given_settings({"registry_url": known}).registry_url


def _email(answer: str) -> str:
    if "@" not in answer:
        raise ConfigError("must be an e-mail address", place="email")
    return given_settings({"email": answer}).email


def _how(answer: str) -> str:
    matching = [way for way in (FILE, COMMAND, ENVIRONMENT) if way.startswith(answer or FILE)]
    if not matching:
        raise ConfigError(f"one of {FILE}, {COMMAND}, {ENVIRONMENT}", place="API key")
    return matching[0]


def _key(answer: str) -> SecretStr:
    return credentials(given_settings({"email": "x", "api_key": answer})).api_key


def _command(answer: str) -> str:
    try:
        if shlex.split(answer):
            return answer
    except ValueError as error:
        raise ConfigError(f"cannot be split into words ({error})", place="api_key_command") from None
    raise ConfigError("must be a command", place="api_key_command")


def _may_write(path: Path) -> bool:
    if not path.exists():
        return True
    yes = _line(f"{one_line(str(path))} is there already. Replace it? [y/N]: ").lower() in ("y", "yes")
    if not yes:
        err(f"{one_line(str(path))} is left as it is, and nothing was written", "INFO")
    return yes


def _write_both(target: Path, key_file: Path, answers: Answers) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if key := answers.key.get_secret_value():
        _write(key_file, f"{key}\n")
    _write(target, _toml(answers, key_file.name if key else ""))


def _toml(answers: Answers, key_file: str) -> str:
    values = {
        "registry_url": answers.url if answers.profile == OWN_PROFILE else "",
        "email": answers.email,
        "api_key_file": key_file,
        "api_key_command": answers.command,
    }
    text = (
        "# Made by harvester config init; config.example.toml in its repository explains every setting.\n"
        f'profile = "{answers.profile}"\n\n[profiles.{answers.profile}]\n'
    )
    text += "".join(f"{name} = {orjson.dumps(value).decode()}\n" for name, value in values.items() if value)
    tomllib.loads(text)
    return text


def _write(path: Path, text: str) -> None:
    """The file, whole and durable and nobody else's to read; behind a symbolic link what it leads to."""
    path = Path(os.path.realpath(path))
    disk, made = Disk(), path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = disk.open_append(made)
        try:
            disk.write(descriptor, text.encode())
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        disk.rename(made, path)
    finally:
        disk.remove(made)
    disk.sync_directory(path.parent)


def _tell(session: Session, target: Path, answers: Answers) -> None:
    session.terminal.say(f"wrote {target}")
    if not answers.key.get_secret_value() and not answers.command:
        session.terminal.say("the key is taken from the environment: export APTRUST_REGISTRY_API_KEY=…")
    for variable in IN_FRONT:
        if os.environ.get(variable):
            session.terminal.say(f"{variable} is set, and goes before what the file says")
    here = Path("config.toml")
    if here.exists() and not (target.exists() and here.samefile(target)):
        session.terminal.say("in this directory ./config.toml is read instead; --config names another")


__all__ = ["set_up"]
