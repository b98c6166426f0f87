"""Is everything ready for a harvest? Step by step from this machine to the Registry, each with its mend.

Hides what can be found out with a handful of requests (two, for most), and what follows from a failure: where the
connection fails nothing is said of the credentials. No step is tried twice, and none for long.
"""

from __future__ import annotations

import difflib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from harvester.config import BUILT_IN_PROFILES, Credentials, Settings, credentials, exposed_key, key_source
from harvester.errors import (
    AuthError,
    BlockedError,
    ConfigError,
    DumpError,
    HarvesterError,
    ProtocolError,
    RegistryError,
    RequestError,
)
from harvester.registry import BY_ID, Page, RegistryClient, Resource
from harvester.registry.counting import exact_parts
from harvester.registry.reach import Reach
from harvester.registry.resources import OBJECTS, WORK_ITEMS

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
SKEW_SECONDS = 60.0
CERTIFICATE_DAYS = 14
ROOM_BYTES = 1 << 30
BRISK = 10.0
"""Requests a second beyond which a server with one core is kept from its other work."""


class State(StrEnum):
    """What has become of a step: `SKIPPED` does not apply here, `UNKNOWN` was not tried after what failed."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Observation:
    """One step: what was found, and where something is wrong, how to mend it; `error` if it failed."""

    name: str
    state: State
    says: str
    mend: str = ""
    error: HarvesterError | None = None


HERE = ("settings", "account", "output", "pace")
THERE = ("network", "TLS", "Registry", "CloudFlare", "credentials", "clock", "institution")
NO_SETTINGS = "not tried without settings"
NO_ACCOUNT = "not tried without an account"
AFTER_FAILURE = "not tried after what failed"


@dataclass(frozen=True)
class Surroundings:
    """What this machine has: settings and account are None where they could not be had."""

    observations: tuple[Observation, ...]
    settings: Settings | None = None
    account: Credentials | None = None


def look_around(read_settings: Callable[[], Settings]) -> Surroundings:
    """What can be seen without the network."""
    try:
        settings = read_settings()
    except ConfigError as error:
        return Surroundings((_failed("settings", error), *_unknown(HERE[1:], NO_SETTINGS)))
    account, found = _account(settings)
    return Surroundings((_settings(settings), found, _output(settings.output), _pace(settings)), settings, account)


def _settings(settings: Settings) -> Observation:
    sources = settings.sources
    read = [str(path) for path in (sources.file, sources.apt_cmd) if path is not None]
    says = f"{settings.registry_url} ({settings.origins.get('registry_url', 'default')})"
    says += f", settings from {' and '.join(read)}" if read else ", no settings file"
    return Observation("settings", State.OK, f"{says}; {sources.passed_over}" if sources.passed_over else says)


def _account(settings: Settings) -> tuple[Credentials | None, Observation]:
    exposed = exposed_key(settings)
    try:
        account = credentials(settings)
    except ConfigError as error:
        return None, _failed("account", error)
    says = f"{account.email}, key from {key_source(settings)}"
    if exposed is not None:
        return account, Observation("account", State.WARNING, f"{says}: {exposed.problem}", exposed.mend)
    return account, Observation("account", State.OK, says)


def _output(output: Path) -> Observation:
    """Whether dumps can be made where they are to be made; the directory itself may come later."""
    there = next(path for path in (output, *output.absolute().parents) if path.exists() or path.is_symlink())
    if not there.is_dir():
        return _failed("output", DumpError("not a directory", place=str(there), mend="choose another output"))
    if not os.access(there, os.W_OK | os.X_OK):
        return _failed("output", DumpError("no leave to write there", place=str(there), mend="choose another output"))
    free = shutil.disk_usage(there).free
    says = f"{output}: writable, {free / (1 << 30):,.1f} GiB free"
    if free < ROOM_BYTES:
        return Observation("output", State.WARNING, says, "a dump takes about 1 KiB a file and event")
    return Observation("output", State.OK, says)


def _pace(settings: Settings) -> Observation:
    found_out = " (as many as help)" if settings.concurrency == "auto" else ""
    says = f"at most {settings.rate:g} requests a second, {settings.most_in_flight} in flight{found_out}"
    if settings.rate > BRISK:
        return Observation("pace", State.WARNING, says, f"rate = {BRISK:g} is brisk enough for a small server")
    return Observation("pace", State.OK, says)


async def reach_out(surroundings: Surroundings) -> AsyncIterator[Observation]:
    """What the network and the Registry say, as it becomes known."""
    settings, account = surroundings.settings, surroundings.account
    if settings is None:
        for observation in _unknown(THERE, NO_SETTINGS):
            yield observation
        return
    done: set[str] = set()
    why = NO_ACCOUNT if account is None else AFTER_FAILURE
    async for observation in _until_a_failure(settings, account):
        done.add(observation.name)
        yield observation
        if observation.state is State.FAILED:
            why = AFTER_FAILURE
    for observation in _unknown([name for name in THERE if name not in done], why):
        yield observation


async def _until_a_failure(settings: Settings, account: Credentials | None) -> AsyncIterator[Observation]:
    try:
        async for observation in _on_the_way(settings):
            yield observation
        if account is not None:
            async for observation in _of_the_registry(_impatient(settings), account):
                yield observation
    except _Stop as stop:
        for observation in stop.observations:
            yield observation


class _Stop(Exception):  # noqa: N818 - not an error
    """A step failed and those after it make no sense."""

    def __init__(self, *observations: Observation) -> None:
        self.observations = observations


async def _on_the_way(settings: Settings) -> AsyncIterator[Observation]:
    reach = Reach(settings.registry_url, min(settings.connect_timeout, CONNECT_SECONDS))
    try:
        try:
            address, seconds = await reach.connect()
        except RegistryError as error:
            raise _Stop(_failed("network", error, _network_mend(reach.host))) from None
        where = f"{reach.host} ({address})" if address != reach.host else address
        yield Observation("network", State.OK, f"{where} answers on port {reach.port} in {seconds * 1000:.0f} ms")
        if not reach.encrypted:
            yield Observation("TLS", State.SKIPPED, "plain http, which stays on this machine")
            return
        try:
            certificate = await reach.encrypt()
        except RegistryError as error:
            raise _Stop(_failed("TLS", error)) from None
        days = (certificate.ends - datetime.now(UTC)) // timedelta(days=1)
        says = f"certificate by {certificate.issuer}, valid for {days} more days"
        if days < CERTIFICATE_DAYS:
            yield Observation("TLS", State.WARNING, says, "tell APTrust if it is not renewed")
        else:
            yield Observation("TLS", State.OK, says)
    finally:
        await reach.close()


def _network_mend(host: str) -> str:
    known = {url.removeprefix("https://"): url for values in BUILT_IN_PROFILES.values() for url in values.values()}
    close = [] if host in known else difflib.get_close_matches(host, known, n=1)
    if close:
        return f"did you mean {known[close[0]]}?"
    proxy = next((name for name in ("https_proxy", "HTTPS_PROXY") if os.environ.get(name)), "")
    return f"check registry_url and the network{f'; {proxy} is set, and is not used' if proxy else ''}"


def _impatient(settings: Settings) -> Settings:
    """The same, but nothing is asked twice and nothing waited for long."""
    return settings.model_copy(
        update={
            "retry_budget": 0.0,
            "maintenance_patience": 0.0,
            "connect_timeout": min(settings.connect_timeout, CONNECT_SECONDS),
            "read_timeout": min(settings.read_timeout, ANSWER_SECONDS),
            "total_timeout": min(settings.total_timeout, ANSWER_SECONDS),
        }
    )


async def _of_the_registry(settings: Settings, account: Credentials) -> AsyncIterator[Observation]:
    async with RegistryClient(settings, account) as client:
        started = time.monotonic()
        try:
            page, is_sorted = await _first_answer(client)
        except RegistryError as error:
            raise _Stop(*_refused(error, settings)) from None
        taken, now = time.monotonic() - started, datetime.now(UTC)
        version = settings.registry_api_version
        yield Observation("Registry", State.OK, f"answers, API {version}, no maintenance, in {taken * 1000:.0f} ms")
        yield _in_front(page.ray)
        yield Observation("credentials", State.OK, f"{client.account} is let in")
        yield _clock((page.answered_at - now).total_seconds(), taken)
        yield await _institution(client, page, is_sorted=is_sorted)


def _in_front(ray: str) -> Observation:
    if ray:
        return Observation(
            "CloudFlare", State.OK, f"in front of the Registry, and lets this machine through (cf-ray {ray})"
        )
    return Observation("CloudFlare", State.SKIPPED, "not in front of this server")


def _refused(error: RegistryError, settings: Settings) -> Iterator[Observation]:
    """What an answer that is an error says of the steps it concerns."""
    if isinstance(error, BlockedError):
        yield _failed("CloudFlare" if error.request_id else "Registry", error)
        return
    if isinstance(error, AuthError):
        yield Observation("Registry", State.OK, "answers")
        yield _in_front(error.request_id)
        yield _failed("credentials", error)
        return
    mend = error.mend
    if isinstance(error, ProtocolError) and error.status == 404 and settings.registry_api_version != "v3":
        mend = "set registry_api_version to v3"
    elif isinstance(error, ProtocolError) and error.status == 200:
        mend = "check registry_url; a proxy or the network's log-in page may answer in the Registry's place"
    yield _failed("Registry", error, mend)


async def _first_answer(client: RegistryClient) -> tuple[Page, bool]:
    """An object, and whether it is that of the institution with the lowest id."""
    try:
        return await _end_of(client, OBJECTS, "institution_id__asc"), True
    except RequestError:  # no document promises this sort
        return await _end_of(client, OBJECTS, *BY_ID), False


async def _end_of(client: RegistryClient, resource: Resource, *sort: str) -> Page:
    """The first row of a list."""
    by = sort if sort == BY_ID else (*sort, *BY_ID)
    return await client.page(resource, filters=exact_parts(resource)[0], sort=by, page=1, per_page=1)


async def _institution(client: RegistryClient, page: Page, *, is_sorted: bool) -> Observation:
    """Whose records the account sees: a member its own institution's, APTrust's administrators everybody's."""
    resource, last = OBJECTS, None
    try:
        if not page.rows:
            resource = WORK_ITEMS
            page = await _end_of(client, resource, "institution_id__asc")
        if not page.rows:
            return Observation("institution", State.SKIPPED, "not known yet: there are no objects and no work items")
        if is_sorted:
            last = await _end_of(client, resource, "institution_id__desc")
    except RegistryError as error:
        return Observation("institution", State.WARNING, f"not known: {error.problem}", error.mend)
    row = page.rows[0]
    name = f"{row.get('institution_identifier') or row.get('institution_name')} (id {row.get('institution_id')})"
    held = f"{page.count:,} intellectual objects" if resource is OBJECTS else "no intellectual objects yet"
    if last is None:
        return Observation("institution", State.OK, f"sees {name}; whether others too is not known; {held}")
    if last.rows and last.rows[0].get("institution_id") != row.get("institution_id"):
        return Observation("institution", State.OK, f"an administrator of APTrust, who sees all institutions; {held}")
    return Observation("institution", State.OK, f"{name}, and nobody else's records: a member's account; {held}")


def _clock(ahead: float, taken: float) -> Observation:
    """The server's clock against ours; its header has whole seconds, and its answer was some time on the way."""
    apart = max(0.0, abs(ahead) - taken - 1.0)
    if apart <= SKEW_SECONDS:
        return Observation("clock", State.OK, "agrees with the Registry's")
    which = "behind" if ahead > 0 else "ahead of"
    return Observation(
        "clock", State.WARNING, f"{timedelta(seconds=round(apart))} {which} the Registry's", "set the clock"
    )


def _failed(name: str, error: HarvesterError, mend: str = "") -> Observation:
    says = error.problem if isinstance(error, RegistryError) else str(error)
    return Observation(name, State.FAILED, says.rstrip("."), mend or error.mend, error)


def _unknown(names: Iterable[str], why: str) -> Iterator[Observation]:
    return (Observation(name, State.UNKNOWN, why) for name in names)


__all__ = ["Observation", "State", "Surroundings", "look_around", "reach_out"]
