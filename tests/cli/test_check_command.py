"""`harvester check` as a new user meets it: a line a step, a mend for what is wrong, the documented exit code."""

from __future__ import annotations

import json

import pytest

from harvester.demo import API_KEY, DemoRegistry, Fault
from tests.cli.conftest import Run


def test_all_is_well(run: Run, registry: DemoRegistry) -> None:
    done = run("check", registry=registry, HARVESTER_RATE="5")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 11
    assert {line[0] for line in lines} == {"✓", "–"}
    assert [line.split()[1] for line in lines if line[0] == "–"] == ["TLS", "CloudFlare"]
    assert done.stderr == "ready: harvester plan says what a harvest will cost\n"
    assert registry.stats.requests == 2


WRONG = [
    ("no key", {"APTRUST_REGISTRY_API_KEY": ""}, 2, "account", "harvester config init"),
    ("wrong key", {"APTRUST_REGISTRY_API_KEY": "wrong"}, 3, "credentials", "check the e-mail address and the API key"),
    ("wrong e-mail", {"APTRUST_REGISTRY_EMAIL": "nobody@x.edu"}, 3, "credentials", "missing or invalid; check"),
    ("plain http", {"APTRUST_REGISTRY_URL": "http://repo.aptrust.org"}, 2, "settings", "must be https"),
    ("no URL", {"APTRUST_REGISTRY_URL": "repo.aptrust.org"}, 2, "settings", "must look like https://repo"),
    ("no host", {"APTRUST_REGISTRY_URL": "https://registry.invalid"}, 1, "network", "check registry_url"),
    ("nobody", {"APTRUST_REGISTRY_URL": "http://127.0.0.1:9"}, 4, "network", "cannot connect to port 9"),
    ("unknown variable", {"HARVESTER_SPEED": "9"}, 2, "settings", "HARVESTER_SPEED"),
]


@pytest.mark.parametrize(
    ("more", "code", "step", "mend"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_what_is_wrong(run: Run, registry: DemoRegistry, more: dict[str, str], code: int, step: str, mend: str) -> None:
    done = run("check", registry=registry, **more)
    assert done.returncode == code
    (failed,) = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    assert failed.split()[1] == step
    assert mend in failed
    assert done.stderr == ""
    assert API_KEY not in done.stdout
    assert sum("the rest" in line for line in done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("fault", "code", "step"),
    [
        (Fault("html", times=None), 1, "Registry"),
        (Fault("challenge", times=None), 4, "CloudFlare"),
        (Fault("maintenance", times=None), 4, "Registry"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_what_stands_in_the_way(run: Run, registry: DemoRegistry, fault: Fault, code: int, step: str) -> None:
    registry.add_fault(fault)
    done = run("check", "--quiet", registry=registry)
    assert done.returncode == code
    (failed,) = done.stdout.splitlines()
    assert failed.split()[:2] == ["✗", step]


def test_json_has_every_step(run: Run, registry: DemoRegistry) -> None:
    done = run("check", "--json", registry=registry)
    answer = json.loads(done.stdout)
    assert (answer["ok"], answer["exit_code"], done.stderr) == (True, 0, "")
    assert len(answer["checks"]) == 11
    done = run("check", "--json", registry=registry, APTRUST_REGISTRY_API_KEY="wrong")
    answer = json.loads(done.stdout)
    assert (answer["ok"], answer["exit_code"], done.returncode) == (False, 3, 3)
    states = {check["name"]: check["state"] for check in answer["checks"]}
    assert (states["credentials"], states["institution"]) == ("failed", "unknown")
    assert all(check.keys() == {"name", "state", "says", "mend"} for check in answer["checks"])


def test_signs_that_stdout_cannot_write(run: Run, registry: DemoRegistry) -> None:
    done = run("check", registry=registry, PYTHONIOENCODING="ascii", APTRUST_REGISTRY_API_KEY="wrong")
    assert done.returncode == 3
    assert done.stdout.isascii()
    assert "\nFAIL credentials " in done.stdout
    assert done.stdout.startswith("ok   settings ")


def test_hostile_text_from_the_server(run: Run, registry: DemoRegistry) -> None:
    hostile = json.dumps({"StatusCode": 401, "Error": "no\x1b[2J\nway\u202e"})
    registry.add_fault(Fault("status", status=401, times=None, body=hostile))
    for arguments in (["check"], ["check", "--json"]):
        done = run(*arguments, registry=registry)
        assert done.returncode in (1, 3)
        assert "\x1b" not in done.stdout
        assert "\u202e" not in done.stdout
        assert "way" in done.stdout
