"""Each thing that keeps a new user from a harvest is found, named for what it is, and told with its mend."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harvester.ask import Observation, State, look_around, reach_out
from harvester.ask import check as checking
from harvester.config import load_settings
from harvester.demo import API_KEY, EMAIL, CollectionSpec, DemoRegistry, Fault, build
from harvester.errors import AuthError, BlockedError, ConfigError, MaintenanceError, ProtocolError, TransientError
from tests.ask.servers import CERTIFICATE, answering, page

NAMES = [*checking.HERE, *checking.THERE]


async def found(url: str = "", **flags: Any) -> Mapping[str, Observation]:
    """What a check finds, by name."""
    given = {"registry_url": url, "email": EMAIL, "api_key": API_KEY, **flags}
    surroundings = look_around(lambda: load_settings({name: value for name, value in given.items() if value}))
    observations = [*surroundings.observations, *[observation async for observation in reach_out(surroundings)]]
    assert sorted(observation.name for observation in observations) == sorted(NAMES), "each is told once"
    assert API_KEY not in repr(observations)
    assert all((observation.error is not None) == (observation.state is State.FAILED) for observation in observations)
    return {observation.name: observation for observation in observations}


def failure(observations: Mapping[str, Observation]) -> Observation:
    (failed,) = [observation for observation in observations.values() if observation.state is State.FAILED]
    return failed


def unknown(observations: Mapping[str, Observation]) -> list[str]:
    return [name for name in NAMES if observations[name].state is State.UNKNOWN]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("check") / "registry.sqlite"
    build(path, CollectionSpec(objects=12, files_per_object=1.0, events_per_file=1))
    return path


async def test_all_is_well_for_two_requests(database: Path) -> None:
    async with DemoRegistry(database) as registry:
        observations = await found(registry.url)
        assert registry.stats.requests == 2
    assert {name for name in NAMES if observations[name].state is State.OK} == {*NAMES} - {"TLS", "CloudFlare"}
    assert "institution1.edu (id " in observations["institution"].says
    assert "a member's account; 12 intellectual objects" in observations["institution"].says
    assert observations["account"].says == f"{EMAIL}, key from --api-key"


FAULTS = [
    (Fault("html", times=None), "Registry", ProtocolError, "log-in page"),
    (Fault("no_results", times=None), "Registry", ProtocolError, "log-in page"),
    (Fault("redirect", times=None), "Registry", ProtocolError, "the Registry's own address"),
    (Fault("maintenance", times=None), "Registry", MaintenanceError, ""),
    (Fault("status", status=502, times=None), "Registry", TransientError, ""),
    (Fault("reset", times=None), "Registry", TransientError, ""),
    (Fault("stall", seconds=60.0, times=None), "Registry", TransientError, ""),
    (Fault("status", status=429, retry_after="3600", times=None), "Registry", TransientError, "3600 s"),
    (Fault("challenge", times=None), "CloudFlare", BlockedError, "user_agent"),
    (Fault("unauthorized", times=None), "credentials", AuthError, ""),
]


@pytest.mark.parametrize(
    ("fault", "name", "kind", "mend"), FAULTS, ids=[f"{f.kind}{f.status or ''}" for f, *_ in FAULTS]
)
async def test_what_is_in_the_way_is_named_and_not_asked_twice(
    database: Path, fault: Fault, name: str, kind: type[Exception], mend: str
) -> None:
    async with DemoRegistry(database, faults=[fault]) as registry:
        observations = await found(registry.url, read_timeout=0.3)
        assert registry.stats.requests == 1
    failed = failure(observations)
    assert (failed.name, type(failed.error)) == (name, kind) or isinstance(failed.error, kind)
    assert mend in failed.mend
    assert "institution" in unknown(observations)
    assert observations["network"].state is State.OK


@pytest.mark.parametrize(
    "flags", [{"api_key": "other"}, {"email": "nobody@x.edu"}, {"email": "former@institution1.edu"}]
)
async def test_credentials_that_are_refused(database: Path, flags: dict[str, str]) -> None:
    async with DemoRegistry(database) as registry:
        observations = await found(registry.url, **flags)
    assert isinstance(failure(observations).error, AuthError)
    assert failure(observations).name == "credentials"
    assert observations["Registry"].state is State.OK


async def test_another_version_of_the_api(database: Path) -> None:
    async with DemoRegistry(database) as registry:
        observations = await found(registry.url, registry_api_version="v9")
    assert failure(observations).mend == "set registry_api_version to v3"


async def test_no_account_keeps_from_asking_but_not_from_knocking(database: Path) -> None:
    async with DemoRegistry(database) as registry:
        observations = await found(registry.url, api_key="")
        assert registry.stats.requests == 0
    assert isinstance(failure(observations).error, ConfigError)
    assert failure(observations).name == "account"
    assert observations["network"].state is State.OK
    assert unknown(observations) == ["Registry", "CloudFlare", "credentials", "clock", "institution"]


async def test_settings_that_cannot_be_read() -> None:
    observations = await found("http://repo.aptrust.org")
    assert failure(observations).name == "settings"
    assert "must be https" in failure(observations).says
    assert unknown(observations) == NAMES[1:]


@pytest.mark.parametrize(
    ("minutes", "says"), [(5, "behind the Registry's"), (-5, "ahead of the Registry's"), (0, "agrees"), (0.9, "agrees")]
)
async def test_the_clock(database: Path, minutes: float, says: str) -> None:
    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(minutes=minutes)

    async with DemoRegistry(database, clock=clock) as registry:
        observation = (await found(registry.url))["clock"]
    assert says in observation.says
    assert observation.state is (State.OK if says == "agrees" else State.WARNING)


# Whose account it is


def institutions(objects: list[int], items: list[int], *, sortable: bool = True) -> Any:
    def reply(path: str) -> tuple[int, dict[str, str], bytes]:
        if "institution_id" in path and not sortable:
            return 500, {}, b'{"StatusCode":500,"Error":"ERROR #42703 column \\"institution_id\\" does not exist"}'
        ids = objects if "/objects" in path else items
        end = ids[-1:] if "desc" in path else ids[:1]
        rows = [{"id": 1, "institution_id": n, "institution_identifier": f"i{n}.edu"} for n in end]
        return 200, {"cf-ray": "8c1f-IAD"}, page(*rows, count=len(ids))

    return reply


@pytest.mark.parametrize(
    ("objects", "items", "sortable", "state", "says", "requests"),
    [
        ([3, 3], [], True, State.OK, "i3.edu (id 3), and nobody else's", 2),
        ([3, 4], [], True, State.OK, "administrator of APTrust", 2),
        ([], [5, 5], True, State.OK, "i5.edu (id 5), and nobody else's records: a member's account; no int", 3),
        ([], [], True, State.SKIPPED, "not known yet", 2),
        ([3, 4], [], False, State.OK, "sees i3.edu (id 3); whether others too is not known", 2),
    ],
)
async def test_the_institution_and_the_role(
    objects: list[int], items: list[int], sortable: bool, state: State, says: str, requests: int
) -> None:
    async with answering(institutions(objects, items, sortable=sortable)) as server:
        observations = await found(server.url)
        assert len(server.asked) == requests
    assert observations["institution"].state is state
    assert says in observations["institution"].says
    assert observations["CloudFlare"].says.endswith("(cf-ray 8c1f-IAD)")


# The way there


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        observations = await found(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert isinstance(failure(observations).error, TransientError)
    assert failure(observations).name == "network"
    assert unknown(observations) == [*checking.THERE[1:]]


@pytest.mark.parametrize(
    ("host", "mend"),
    [
        ("repo.aptrsut.org", "did you mean https://repo.aptrust.org?"),
        ("demo.aptrust.com", "did you mean https://demo.aptrust.org?"),
        ("repo.aptrust.org", "check registry_url and the network"),
        ("intranet", "check registry_url and the network"),
    ],
)
async def test_a_host_that_nobody_knows(host: str, mend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nobody)
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    failed = failure(await found(f"https://{host}"))
    assert (failed.name, failed.mend) == ("network", mend)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.edu:3128")
    mend = (await found(f"https://{host}"))["network"].mend
    assert mend == failed.mend if "did you mean" in mend else mend.endswith("; HTTPS_PROXY is set, and is not used")
    assert isinstance(failed.error, ProtocolError)


async def test_a_certificate_that_nobody_vouches_for_is_a_proxys() -> None:
    async with answering(institutions([3], []), tls=True) as server:
        observations = await found(server.url)
        assert server.asked == []
    assert failure(observations).name == "TLS"
    assert "not valid (self-signed certificate)" in failure(observations).says.replace("self signed", "self-signed")
    assert "SSL_CERT_FILE" in failure(observations).mend


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


@pytest.mark.usefixtures("trusted")
async def test_how_long_a_certificate_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(institutions([3], []), tls=True) as server:
        observation = (await found(server.url, api_key=""))["TLS"]
        assert observation.state is State.OK
        assert observation.says.startswith("certificate by Test of harvester, valid for 3")
        monkeypatch.setattr(checking, "CERTIFICATE_DAYS", 100_000)
        assert (await found(server.url, api_key=""))["TLS"].state is State.WARNING


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_of_another_host() -> None:
    async with answering(institutions([3], []), tls=True) as server:
        failed = failure(await found(server.url.replace("127.0.0.1", "127.0.0.2")))
    assert failed.name == "TLS"
    assert "IP address mismatch" in failed.says
    assert failed.mend == "check registry_url"


async def test_https_where_only_http_is_spoken(database: Path) -> None:
    async with DemoRegistry(database) as registry:
        failed = failure(await found(registry.url.replace("http://", "https://")))
    assert failed.name == "TLS"
    assert "does not speak TLS" in failed.says


# This machine


@pytest.mark.parametrize(
    ("make", "state", "says"),
    [
        (lambda path: None, State.OK, "writable"),
        (lambda path: path.mkdir(), State.OK, "writable"),
        (lambda path: path.write_text("in the way"), State.FAILED, "not a directory"),
        (lambda path: path.symlink_to("/proc"), State.FAILED, "no leave to write"),
    ],
)
async def test_where_dumps_are_made(
    tmp_path: Path, make: Any, state: State, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "dumps")
    monkeypatch.setattr(os, "access", lambda path, mode: "proc" not in str(Path(path).resolve()))
    surroundings = look_around(lambda: load_settings({"output": tmp_path / "dumps"}))
    observation = next(observation for observation in surroundings.observations if observation.name == "output")
    assert observation.state is state
    assert says in observation.says


async def test_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "ROOM_BYTES", 1 << 60)
    observation = next(
        observation for observation in look_around(load_settings).observations if observation.name == "output"
    )
    assert observation.state is State.WARNING


def test_a_rate_that_a_small_server_feels() -> None:
    for rate, state in ((10.0, State.OK), (11.0, State.WARNING)):
        observations = look_around(lambda rate=rate: load_settings({"rate": rate})).observations  # type: ignore[misc]
        assert next(observation for observation in observations if observation.name == "pace").state is state


def test_apt_cmds_file_that_others_may_read() -> None:
    path = Path.home() / ".aptrust"
    path.parent.mkdir()
    path.write_text(
        f"APTRUST_REGISTRY_URL=https://x.edu\nAPTRUST_REGISTRY_EMAIL=a@b\nAPTRUST_REGISTRY_API_KEY={API_KEY}\n"
    )
    for mode, state in ((0o600, State.OK), (0o644, State.WARNING)):
        path.chmod(mode)
        observations = {observation.name: observation for observation in look_around(load_settings).observations}
        assert observations["account"].state is state
        assert str(path) in observations["settings"].says
    assert observations["account"].mend == f"chmod 600 {path}"
    assert API_KEY not in repr(observations)
