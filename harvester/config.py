"""Settings: flags > environment > TOML profile > apt-cmd's file > defaults, validated, secrets sealed.

Hides where a value came from, except in errors and `origins`: a bad value is reported with the flag, the variable,
or the file and line it stands in. `APTRUST_REGISTRY_…` variables are read as apt-cmd reads them, everything
else as `HARVESTER_…`. The API key is never taken from a flag, where other users of the machine could see it.
"""

from __future__ import annotations

import difflib
import ipaddress
import logging
import os
import re
import shlex
import stat
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from harvester import dotenv
from harvester.errors import ConfigError

log = logging.getLogger("harvester.config")

PRODUCTION = "https://repo.aptrust.org"
BUILT_IN_PROFILES: Mapping[str, Mapping[str, str]] = {
    "production": {"registry_url": PRODUCTION},
    "demo": {"registry_url": "https://demo.aptrust.org"},
}
DEFAULT_PROFILE = "production"
COMMAND_SECONDS = 60
"""How long `api_key_command` may take: a password manager may ask for a touch or a pin."""

PREFIX = "HARVESTER_"
SELECTORS = {"HARVESTER_PROFILE", "HARVESTER_CONFIG"}
"""Variables that choose the file and the profile, and are no settings themselves."""

ACCOUNT = ("registry_url", "email", "api_key", "api_key_file", "api_key_command")
"""Settings that say which Registry is asked, by whom. apt-cmd's file is read only where none of them is given:
taken from it one by one, a key could be sent to another Registry than the one it is for."""
OF_APT_CMD = ("registry_url", "registry_api_version", "email", "api_key")
"""Settings that apt-cmd's file gives."""


def software_version() -> str:
    """The installed version of harvester."""
    try:
        return version("aptrust-harvester")
    except PackageNotFoundError:
        return "0"


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _named(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must name at least one")
    return value


def _mode(value: object) -> object:
    """A file mode: octal text as chmod takes it, or a TOML octal integer."""
    if isinstance(value, str):
        if not re.fullmatch(r"(0o?)?[0-7]{3}", value):
            raise ValueError("must be an octal mode such as '0600'")
        return int(value.removeprefix("0o"), 8)
    return value


def _concurrency(value: object) -> object:
    if value == "auto":
        return value
    if re.fullmatch(r"[0-9]{1,3}", str(value)) and 1 <= int(str(value)) <= 256:
        return int(str(value))
    raise ValueError("must be auto, or a whole number from 1 to 256")


def _held_bytes(value: object) -> object:
    if value == "auto":
        return value
    if re.fullmatch(r"[0-9]{1,15}", str(value)) and int(str(value)) >= 1 << 16:
        return int(str(value))
    raise ValueError("must be auto, or a whole number of at least 65536")


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_named)]
Mode = Annotated[int, BeforeValidator(_mode), Field(ge=0, le=0o777)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86400, allow_inf_nan=False)]


@dataclass(frozen=True)
class Sources:
    """Which files settings were read from, and which profile.

    `profile_place` is what chose the profile, "" if nothing did. `apt_cmd` is apt-cmd's file if it was read;
    `passed_over` is what gives the account instead, if there is such a file and it was not.
    """

    file: Path | None = None
    profile: str = DEFAULT_PROFILE
    profile_place: str = ""
    apt_cmd: Path | None = None
    passed_over: str = ""


class Settings(BaseSettings):
    """Every setting, with its default. Frozen; made by `load_settings`. `config.example.toml` explains each."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, populate_by_name=True
    )

    registry_url: str = Field(PRODUCTION, validation_alias="APTRUST_REGISTRY_URL")
    registry_api_version: str = Field("v3", validation_alias="APTRUST_REGISTRY_API_VERSION")
    email: str = Field("", validation_alias="APTRUST_REGISTRY_EMAIL")
    api_key: SecretStr = Field(SecretStr(""), validation_alias="APTRUST_REGISTRY_API_KEY")
    api_key_file: Path | None = None
    api_key_command: str = ""
    user_agent: str = f"aptrust-harvester/{software_version()}"

    concurrency: Annotated[Literal["auto"] | int, BeforeValidator(_concurrency)] = "auto"
    min_concurrency: int = Field(1, ge=1, le=256)
    max_concurrency: int = Field(8, ge=1, le=256)
    rate: float = Field(5.0, gt=0, le=10_000, allow_inf_nan=False)
    per_page: int = Field(1000, ge=1, le=1000)
    connect_timeout: Seconds = 15.0
    read_timeout: Seconds = 120.0
    total_timeout: Seconds = 600.0
    retry_budget: float = Field(900.0, ge=0, le=7 * 86400, allow_inf_nan=False)
    maintenance_patience: float = Field(3600.0, ge=0, le=7 * 86400, allow_inf_nan=False)
    max_body: int = Field(64 << 20, ge=1 << 16)

    output: Path = Path("inventories")
    resources: Names = ("objects", "files", "events")
    strategy: Literal["auto", "per-object", "sweep"] = "auto"
    compression: Literal["none", "gzip", "zstd"] = "none"
    allow_incomplete: bool = False
    file_mode: Mode = 0o600
    dir_mode: Mode = 0o700
    held_bytes: Annotated[Literal["auto"] | int, BeforeValidator(_held_bytes)] = "auto"
    checkpoint_bytes: int = Field(4 << 20, ge=1)
    checkpoint_objects: int = Field(200, ge=1)

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)
    _sources: Sources = PrivateAttr(default_factory=Sources)

    @field_validator("registry_url")
    @classmethod
    def _registry_url(cls, value: str) -> str:
        if not re.fullmatch(r"[^\s\\]+", value):
            raise ValueError("must be an address without spaces and backslashes")
        parts = urlsplit(value.rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must look like https://repo.aptrust.org")
        if parts.username is not None or "?" in value or "#" in value:
            raise ValueError("must be an address without user name, query or fragment")
        if parts.path:
            raise ValueError("must end after the host: the path of the API is added to it")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError("must be https: plain http would send the API key readable for everyone on the way")
        try:
            _ = parts.port
        except ValueError:
            raise ValueError("has a port that is not a number from 0 to 65535") from None
        return value.rstrip("/")

    @field_validator("registry_api_version")
    @classmethod
    def _registry_api_version(cls, value: str) -> str:
        if not re.fullmatch(r"v[0-9]+", value, re.ASCII):
            raise ValueError("must look like v3")
        return value

    @field_validator("user_agent")
    @classmethod
    def _user_agent(cls, value: str) -> str:
        if not re.fullmatch(r"[\x20-\x7e]+", value):
            raise ValueError("must be plain ASCII text, on one line")
        return value

    @field_validator("email")
    @classmethod
    def _email(cls, value: str) -> str:
        if value and not re.fullmatch(r"[\x21-\x7e]+", value):
            raise ValueError("must be the login e-mail address, without spaces")
        return value

    @field_validator("max_concurrency")
    @classmethod
    def _max_concurrency(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("min_concurrency", 1):
            raise ValueError("must not be below min_concurrency")
        return value

    @property
    def most_in_flight(self) -> int:
        """Requests that may ever be in flight at once."""
        if self.concurrency == "auto":
            return self.max_concurrency
        return self.concurrency

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each value that is not a default came from, in words."""
        return self._origins

    @property
    def sources(self) -> Sources:
        """Which files they were read from."""
        return self._sources


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Credentials:
    """Who asks: the login e-mail of the account and its API key, sealed."""

    email: str
    api_key: SecretStr


def load_settings(
    flags: Mapping[str, Any] | None = None, *, config: Path | None = None, profile: str | None = None
) -> Settings:
    """Read all layers. `flags` are the values given on the command line, by setting name; None means not given.

    Raises ConfigError with the key and the flag, variable, or file and line of the value that is wrong.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    above = _from_environment() | {name: f"--{name.replace('_', '-')}" for name in given}
    file, sources = _from_file(config_file(config), profile)
    chosen = next((place for name in ACCOUNT if (place := {**file.places, **above}.get(name))), sources.profile_place)
    apt_cmd, sources = _from_apt_cmd(chosen, sources)
    below = file.over(apt_cmd).over(_built_in(sources.profile))
    places = below.places | above

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **sources: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            file = InitSettingsSource(settings_cls, init_kwargs=below.values)
            return sources["init_settings"], sources["env_settings"], file

    settings = _made(Layered, given, places)
    settings._origins.update(places)
    settings._sources = sources
    return settings


def _made(kind: type[Settings], given: Mapping[str, Any], places: Mapping[str, str]) -> Settings:
    try:
        return kind(**given)
    except ValidationError as error:
        explained = _explained(error, places)
    # Raised out here, it has no pydantic error as its context: that one quotes the value, which may be the key.
    raise explained


def given_settings(values: Mapping[str, Any]) -> Settings:
    """Settings of these values and the defaults alone, whatever the environment and the user's file say.

    Raises ConfigError.
    """

    class Given(Settings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **sources: PydanticBaseSettingsSource
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (sources["init_settings"],)

    return _made(Given, values, {})


def config_file(asked: Path | None) -> Path | None:
    """The file settings are read from: the one asked for, else ./config.toml, else the user's, else None."""
    named = asked or (Path(os.environ["HARVESTER_CONFIG"]) if os.environ.get("HARVESTER_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            place = "--config" if asked else "HARVESTER_CONFIG"
            raise ConfigError(f"there is no file {named}", place=place)
        return named
    return next((path for path in (Path("config.toml"), users_config_file()) if _is_file(path)), None)


def users_config_file() -> Path:
    """Where the user's own settings are, or would be."""
    base = os.environ.get("XDG_CONFIG_HOME") or (_home() or Path()) / ".config"
    return Path(base) / "harvester" / "config.toml"


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a user whom the system does not know, as in a container
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a directory on the way may not be looked into
        return False


def key_source(settings: Settings) -> str:
    """Where the API key is taken from, in words; "" if from nowhere."""
    if settings.api_key.get_secret_value():
        return settings.origins.get("api_key", "api_key")
    if settings.api_key_file is not None:
        return f"api_key_file {settings.api_key_file}"
    return "api_key_command" if settings.api_key_command else ""


def credentials(settings: Settings) -> Credentials:
    """The account's e-mail and key. The key comes from the settings, else `api_key_file`, else `api_key_command`.

    Raises ConfigError if either is missing or cannot be read.
    """
    hint = f"; {settings.sources.passed_over}" if settings.sources.passed_over else ""
    if not settings.email:
        mend = f"harvester config init asks for it, or set APTRUST_REGISTRY_EMAIL{hint}"
        raise ConfigError("no e-mail address of a Registry account", place="email", mend=mend)
    key = settings.api_key.get_secret_value()
    place = settings.origins.get("api_key", "api_key")
    if exposed := exposed_key(settings):
        log.warning("%s; %s", exposed, exposed.mend)
    if not key and settings.api_key_file is not None:
        key, place = _key_from_file(settings.api_key_file), f"api_key_file {settings.api_key_file}"
    if not key and settings.api_key_command:
        key, place = _key_from_command(settings.api_key_command), "api_key_command"
    if not key:
        mend = f"harvester config init asks for it, or set APTRUST_REGISTRY_API_KEY{hint}"
        raise ConfigError("no API key", place="api_key", mend=mend)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ConfigError("the API key has spaces or other characters no key has", place=place)
    return Credentials(settings.email, SecretStr(key))


def exposed_key(settings: Settings) -> ConfigError | None:
    """What is wrong with apt-cmd's file if others may read the key in it.

    It is no reason to refuse: apt-cmd has always made and taken such files. Our own are refused.
    """
    path = settings.sources.apt_cmd
    if path is None or not settings.origins.get("api_key", "").startswith(f"{path}:"):
        return None
    try:
        _refuse_if_readable_by_others(path, str(path), holding="it holds an API key, and ")
    except ConfigError as error:
        return error
    return None


def _key_from_file(path: Path) -> str:
    place = f"api_key_file {path}"
    try:
        _refuse_if_readable_by_others(path, place)
        return _as_key(path.read_bytes(), place)
    except OSError as error:
        raise ConfigError(f"cannot be read ({_reason(error)})", place=place) from None


def _key_from_command(command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the user's own command, no shell
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be run ({_reason(error)})", place="api_key_command") from None
    except subprocess.TimeoutExpired:
        done = None  # the exception carries what was printed so far, and must not become the context of ours
    if done is None:
        raise ConfigError(f"took longer than {COMMAND_SECONDS} s", place="api_key_command")
    if done.returncode != 0:
        raise ConfigError(f"ended with exit code {done.returncode}", place="api_key_command")
    return _as_key(done.stdout, "api_key_command")


def _as_key(content: bytes, place: str) -> str:
    if not content.isascii():  # decoding it would raise an error that quotes it
        raise ConfigError("holds bytes that no key has", place=place)
    return content.decode("ascii").strip()


def _refuse_if_readable_by_others(path: Path, place: str, *, holding: str = "") -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"{holding}others may read it (mode {mode:04o})", place=place, mend=f"chmod 600 {shlex.quote(str(path))}"
        )


def _from_environment() -> dict[str, str]:
    """The variable of each setting that is set in the environment; unknown ones of ours are refused."""
    variables = {_variable(name): name for name in Settings.model_fields}
    for variable in sorted(os.environ):
        if variable.upper().startswith(PREFIX) and variable not in {*variables, *SELECTORS}:
            bare = variable.upper().removeprefix(PREFIX).removeprefix("REGISTRY_")
            known = {known.removeprefix("APTRUST_REGISTRY_").removeprefix(PREFIX): known for known in variables}
            close = difflib.get_close_matches(bare, known, n=1)
            mend = f"did you mean {known[close[0]]}?" if close else ""
            raise ConfigError("there is no such setting", place=variable, mend=mend)
    return {name: variable for variable, name in variables.items() if os.environ.get(variable)}


def _variable(name: str) -> str:
    return str(Settings.model_fields[name].validation_alias or f"{PREFIX}{name.upper()}")


@dataclass(frozen=True)
class _Layer:
    """Values by setting, and where each stands."""

    values: dict[str, Any]
    places: dict[str, str]

    def over(self, lower: _Layer) -> _Layer:
        return _Layer(lower.values | self.values, lower.places | self.places)


def _built_in(profile: str) -> _Layer:
    values = dict(BUILT_IN_PROFILES.get(profile, {}))
    return _Layer(values, dict.fromkeys(values, f"profile {profile}"))


def _from_file(path: Path | None, profile: str | None) -> tuple[_Layer, Sources]:
    """The settings at the top of the file and over them those of the profile, and which profile that is."""
    content: dict[str, Any] = {}
    text = ""
    if path is not None:
        text, content = _parse(path)
    profiles = content.pop("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(table, dict) for table in profiles.values()):
        raise ConfigError("must hold tables such as [profiles.production]", place=f"{path}: profiles")
    by_file = content.pop("profile", None)
    name, chosen = _profile(profile, by_file, f"{path}:{_line_of(text, '', 'profile')}", profiles)
    layer = _Layer({}, {})
    for table, entries in (("", content), (f"profiles.{name}", profiles.get(name, {}))):
        for key, value in entries.items():
            place = f"{path}:{_line_of(text, table, key)}"
            if key not in Settings.model_fields:
                raise ConfigError(
                    f"there is no setting {key!r}", place=place, mend=_nearest(key, Settings.model_fields)
                )
            layer.values[key], layer.places[key] = value, place
    if path is not None:
        if "api_key" in layer.values:
            _refuse_if_readable_by_others(path, layer.places["api_key"], holding="the file holds an API key, and ")
        _refuse_if_written_by_others(path, layer.places)
        _refer_to_file(path, layer.values, layer.places)
    return layer, Sources(path, name, chosen)


def _profile(by_flag: str | None, by_file: object, by_file_place: str, profiles: Mapping[str, Any]) -> tuple[str, str]:
    """The profile to use, and what chose it: "" where nothing did."""
    if by_file is not None and not isinstance(by_file, str):
        raise ConfigError("must be the name of a profile", place=by_file_place, mend="tables are [profiles.NAME]")
    choices = (
        (by_flag, "--profile"),
        (os.environ.get("HARVESTER_PROFILE"), "HARVESTER_PROFILE"),
        (by_file, by_file_place),
    )
    name, place = next(((name, place) for name, place in choices if name), (DEFAULT_PROFILE, ""))
    known = {**BUILT_IN_PROFILES, **profiles}
    if name not in known:
        raise ConfigError(f"there is no profile {name!r}", place=place, mend=f"known are {', '.join(sorted(known))}")
    return name, place


def _from_apt_cmd(chosen: str, sources: Sources) -> tuple[_Layer, Sources]:
    """What apt-cmd's file gives, unless the account is `chosen` by something else."""
    home = _home()
    path = home and home / ".aptrust"
    if path is None or not _is_file(path):
        return _Layer({}, {}), sources
    if chosen:
        return _Layer({}, {}), replace(sources, passed_over=f"{path} is not read, since {chosen} is given")
    variables = {_variable(name): name for name in OF_APT_CMD}
    entries = {variables[name]: entry for name, entry in dotenv.read(path, variables).items()}
    places = {name: f"{path}:{entry.line}" for name, entry in entries.items()}
    if "api_key" in entries and "registry_url" not in entries:
        problem = "a key, and not a word of the Registry it is for"
        raise ConfigError(problem, place=places["api_key"], mend="add a line APTRUST_REGISTRY_URL=…")
    _refuse_if_written_by_others(path, places)
    return _Layer({name: entry.value for name, entry in entries.items()}, places), replace(sources, apt_cmd=path)


TRUSTED = ("registry_url", "api_key_file", "api_key_command")
"""Settings by which whoever writes the file gets at the API key, or runs a program as whoever runs harvester."""


def _refuse_if_written_by_others(path: Path, places: Mapping[str, str]) -> None:
    """./config.toml is found wherever one stands, be it a directory that everybody may write to."""
    found = path.stat()
    if found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022:
        return
    for key in TRUSTED:
        if key in places:
            raise ConfigError(
                f"{key} is not taken from a file that others own or may write to",
                place=places[key],
                mend=f"chmod go-w {shlex.quote(str(path))}, if it is yours",
            )


def _refer_to_file(path: Path, values: dict[str, Any], places: Mapping[str, str]) -> None:
    """Paths in the file are meant from where the file is, not from wherever one happens to stand."""
    for key in ("api_key_file", "output"):
        value = values.get(key)
        if isinstance(value, str):
            try:
                values[key] = path.parent / Path(value).expanduser()
            except RuntimeError:
                raise ConfigError(f"{key} names the home of nobody known", place=places[key]) from None


def _parse(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text("utf-8")
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        problem = f"not TOML ({str(error)[: where.start()] if where else error})"
        place = f"{path}:{where.group(1)}" if where else str(path)
    except (OSError, UnicodeDecodeError) as error:
        problem, place = f"cannot be read ({_reason(error)})", str(path)
    # Raised out here, it has no context: that one would quote the file, and the key if it is in there.
    raise ConfigError(problem, place=place)


def _line_of(text: str, table: str, key: str) -> int:
    """The line on which `key` of `table` is set; 1 if it is written in a way that is not found."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            current = re.sub(r"[\"'\s]", "", header.group(1))
        elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return 1


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def _explained(error: ValidationError, places: Mapping[str, str]) -> ConfigError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = next((n for n in Settings.model_fields if first["loc"][0] in (n, _variable(n))), str(first["loc"][0]))
    message = plain_words(first["msg"])
    place = places.get(name, name)
    named = f"{name}: " if ":" in place else ""  # flags and variables name the setting, a line does not
    also = [f"{other} is that of {places[other]}" for other in message.split() if other in places and other != name]
    return ConfigError(f"{named}{message[:1].lower()}{message[1:]}", place=place, mend="; ".join(also))


def plain_words(message: str) -> str:
    """What is wrong with a value, without what only a programmer wants to know of it."""
    message = message.replace("Value error, ", "").replace("Input should be", "must be")
    message = re.sub(r"^Input is not a valid path.*", "must be a path", message)
    return re.sub(r", unable to (parse|interpret) .*", "", message)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
