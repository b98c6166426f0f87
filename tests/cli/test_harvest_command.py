"""The program as a shell sees it: stdout, stderr, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.demo import API_KEY, DemoRegistry, Fault, InsertObject, records
from harvester.dump import partials
from tests.cli.conftest import InThread, Run, environment, in_bash, running, writing_to
from tests.support import as_dumped, as_held, difference


def only_line(text: str) -> str:
    """The one line of an error; anything more is a failure."""
    (line,) = text.splitlines()
    assert "Traceback" not in line
    return line


def test_stdout_is_the_path_of_the_dump_and_nothing_else(
    run: Run, registry: DemoRegistry, database: Path, tmp_path: Path
) -> None:
    done = run("harvest", registry=registry)
    assert done.returncode == 0, done.stderr
    path = tmp_path / only_line(done.stdout)
    assert path.parent == tmp_path / "inventories"
    assert (tmp_path / "inventories" / "latest").resolve() == path
    assert difference(as_dumped(path), as_held(database)) is None
    assert "40 objects" in done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}


def test_json_is_one_object(run: Run, registry: DemoRegistry, tmp_path: Path) -> None:
    done = run("harvest", "state=A", "--json", "--resources", "objects,files", registry=registry)
    summary = json.loads(only_line(done.stdout))
    assert summary["complete"] is True
    assert summary["exit_code"] == done.returncode == 0
    assert set(summary["records"]) == {"objects", "files"}
    assert (tmp_path / summary["path"] / "manifest.json").is_file()


def test_quiet_says_nothing(run: Run, registry: DemoRegistry) -> None:
    done = run("harvest", "--quiet", registry=registry)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_incomplete_dump_stays_partial_unless_allowed(
    run: Run, registry: DemoRegistry, database: Path, tmp_path: Path
) -> None:
    number = list(records(database, "objects"))[7]["id"]
    registry.add_fault(Fault("truncated", path=f"/files?intellectual_object_id={number}&", times=None))
    done = run("harvest", "--strategy", "per-object", registry=registry, HARVESTER_RETRY_BUDGET="0.01")
    assert done.returncode == 5
    assert done.stdout == ""
    assert "missing: files of" in done.stderr
    assert len(partials(tmp_path / "inventories")) == 1
    done = run("resume", "--allow-incomplete", "--json", registry=registry, HARVESTER_RETRY_BUDGET="0.01")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["published"], summary["complete"]) == (5, True, False)
    assert run("verify", summary["path"]).returncode == 5


BAD: list[tuple[str, list[str], dict[str, str], int, str]] = [
    ("flag", ["harvest", "--rat", "3"], {}, 2, "--rat"),
    ("flag value", ["harvest", "--rate", "fast"], {}, 2, "--rate"),
    ("flag range", ["harvest", "--per-page", "5000"], {}, 2, "--per-page"),
    ("negative rate", ["harvest", "--rate", "-1"], {}, 2, "--rate"),
    ("key on argv", ["harvest", f"--api-key={API_KEY}"], {}, 2, "--api-key"),
    ("command", ["harvets"], {}, 2, "harvets"),
    ("filter", ["harvest", "sate=A"], {}, 2, "did you mean 'state'"),
    ("filter value", ["harvest", "size__gteq=big"], {}, 2, "size__gteq"),
    ("filter time", ["harvest", "created_at__gteq=soon"], {}, 2, "created_at__gteq"),
    ("no value", ["harvest", "state"], {}, 2, "state"),
    ("resource", ["harvest", "--resources", "objects,flies"], {}, 2, "flies"),
    ("no resource", ["harvest", "--resources", ","], {}, 2, "--resources"),
    ("bytes that are no text", ["harvest", "identifier=\udcff"], {}, 2, "identifier"),
    ("concurrency", ["harvest", "--concurrency", "0"], {}, 2, "--concurrency"),
    ("bounds", ["harvest"], {"HARVESTER_MIN_CONCURRENCY": "9", "HARVESTER_MAX_CONCURRENCY": "3"}, 2, "min_concurrency"),
    ("strategy", ["harvest", "--strategy", "fast"], {}, 2, "--strategy"),
    ("too long a path", ["harvest", "--output", "a" * 300], {}, 1, "too long"),
    ("compression", ["harvest", "--compression", "rar"], {}, 2, "--compression"),
    ("variable", ["harvest"], {"HARVESTER_CONCURRENCY": "many"}, 2, "HARVESTER_CONCURRENCY"),
    ("unknown variable", ["harvest"], {"HARVESTER_SPEED": "9"}, 2, "HARVESTER_SPEED"),
    ("no e-mail", ["harvest"], {"APTRUST_REGISTRY_EMAIL": ""}, 2, "APTRUST_REGISTRY_EMAIL"),
    ("no key", ["harvest"], {"APTRUST_REGISTRY_API_KEY": ""}, 2, "APTRUST_REGISTRY_API_KEY"),
    ("plain http", ["harvest"], {"APTRUST_REGISTRY_URL": "http://repo.aptrust.org"}, 2, "https"),
    ("not a url", ["harvest"], {"APTRUST_REGISTRY_URL": "repo.aptrust.org"}, 2, "APTRUST_REGISTRY_URL"),
    ("profile", ["harvest", "--profile", "prod"], {}, 2, "known are demo, production"),
    ("config file", ["harvest", "--config", "none.toml"], {}, 2, "none.toml"),
    ("wrong key", ["harvest"], {"APTRUST_REGISTRY_API_KEY": "wrong"}, 3, "missing or invalid"),
    ("wrong user", ["harvest"], {"APTRUST_REGISTRY_EMAIL": "nobody@x.edu"}, 3, "missing or invalid"),
    ("deactivated user", ["harvest"], {"APTRUST_REGISTRY_EMAIL": "former@institution1.edu"}, 3, "denied"),
    ("another institution", ["harvest", "institution_id=3"], {}, 3, "institution"),
    ("nobody there", ["harvest"], {"APTRUST_REGISTRY_URL": "http://127.0.0.1:9"}, 4, "cannot connect"),
    ("no such host", ["harvest"], {"APTRUST_REGISTRY_URL": "https://registry.invalid"}, 1, "registry_url"),
    ("no TLS there", ["harvest"], {"APTRUST_REGISTRY_URL": "https://127.0.0.1:9"}, 4, "cannot connect"),
    ("not a dump", ["verify", "."], {}, 1, "manifest"),
    ("nothing to resume", ["resume"], {}, 1, "no unfinished dump"),
]


@pytest.mark.parametrize(("arguments", "more", "code", "named"), [case[1:] for case in BAD], ids=[c[0] for c in BAD])
def test_bad_input_gets_one_line_and_the_documented_exit_code(
    run: Run, registry: DemoRegistry, arguments: list[str], more: dict[str, str], code: int, named: str, tmp_path: Path
) -> None:
    done = run(*arguments, "--quiet", registry=registry, **more)
    line = only_line(done.stderr)
    assert (done.returncode, done.stdout) == (code, "")
    assert line.startswith("harvester: ")
    assert named in line
    assert API_KEY not in line
    assert not (tmp_path / "inventories").exists()


@pytest.mark.parametrize(
    ("fault", "code", "named"),
    [
        (Fault("html", times=None), 1, "web page"),
        (Fault("no_results", times=None), 1, "without results"),
        (Fault("challenge", status=403, times=None), 4, "cf-ray"),
        (Fault("maintenance", times=None, seconds=3600), 4, "maintenance"),
        (Fault("redirect", times=None), 1, "redirected"),
        (Fault("status", status=502, times=None), 4, "502"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_another_server_than_expected_is_named_for_what_it_is(
    run: Run, registry: DemoRegistry, fault: Fault, code: int, named: str
) -> None:
    registry.add_fault(fault)
    done = run("harvest", "--quiet", registry=registry, HARVESTER_MAINTENANCE_PATIENCE="0.3")
    assert done.returncode == code
    assert named in only_line(done.stderr)


@pytest.mark.parametrize("kind", ["a file", "read-only"])
def test_an_output_directory_that_cannot_be_used(run: Run, registry: DemoRegistry, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "a file":
        target.write_text("in the way")
    else:
        target = Path("/proc/harvester")  # not even root can make a directory here
    done = run("harvest", "--quiet", "--output", str(target), registry=registry)
    assert done.returncode == 1
    assert str(target) in only_line(done.stderr)


def test_a_full_disk(registry: DemoRegistry, tmp_path: Path) -> None:
    """A limit on the size of files says EFBIG where a full disk says ENOSPC; both come from the same write."""
    command = "trap '' XFSZ; ulimit -f 8; harvester harvest --quiet --strategy per-object"
    done = in_bash(command, registry=registry, cwd=tmp_path)
    assert done.returncode == 1
    assert "ndjson" in only_line(done.stderr)
    assert len(partials(tmp_path / "inventories")) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it_cleanly_and_it_can_be_resumed(
    run: Run, registry: DemoRegistry, database: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    registry.add_fault(Fault("slow", path="/events", after=20, times=None, seconds=30))
    slowly = ("harvest", "-vv", "--strategy", "per-object")
    with running(*slowly, registry=registry, cwd=tmp_path, HARVESTER_CHECKPOINT_OBJECTS="5") as process:
        assert process.stderr is not None
        answered = 0
        for line in process.stderr:
            answered += "GET" in line
            if answered > 30:
                break
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"stopped by {number.name}" in rest
    assert "Traceback" not in rest
    registry.clear_faults()
    done = run("resume", registry=registry, HARVESTER_CHECKPOINT_OBJECTS="5")
    assert difference(as_dumped(tmp_path / only_line(done.stdout)), as_held(database)) is None


def test_the_key_appears_nowhere(run: Run, registry: DemoRegistry, tmp_path: Path) -> None:
    """At debug level, through faults of all kinds, in everything printed and everything written."""
    for fault in Fault.mixed(0.3, without={"redirect"}):
        registry.add_fault(fault)
    said = []
    for arguments in (["harvest", "-vv", "--strategy", "per-object"], ["harvest", "-vv", "--json"], ["resume", "-vv"]):
        done = run(*arguments, registry=registry, HARVESTER_READ_TIMEOUT="0.5", HARVESTER_RETRY_BUDGET="5")
        said += [done.stdout, done.stderr]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert registry.stats.with_key > 0
    assert sum(len(text) for text in said) > 10_000
    assert len(written) > 3
    assert not any(API_KEY in text for text in said)
    assert not any(API_KEY.encode() in content for content in written)


def test_hostile_text_in_an_error_cannot_drive_the_terminal(run: Run, registry: DemoRegistry) -> None:
    hostile = json.dumps({"StatusCode": 500, "Error": "Invalid query params: \x1b[2J\n\u202eevil"})
    registry.add_fault(Fault("status", status=500, times=None, body=hostile))
    done = run("harvest", registry=registry)
    line = only_line(done.stderr)
    assert "\x1b" not in line
    assert "\u202e" not in line
    assert "evil" in line


def test_a_broken_pipe_is_no_traceback(registry: DemoRegistry, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = writing_to(write, "harvest", "--quiet", registry=registry, cwd=tmp_path)
    os.close(write)
    assert "Traceback" not in done.stderr


def test_verify_against_the_registry_says_how_far_it_has_moved_on(run: Run, database: Path, tmp_path: Path) -> None:
    own = tmp_path / "registry.sqlite"
    shutil.copy(database, own)
    server = InThread(own)
    try:
        done = run("harvest", "--resources", "objects,files,events,items", registry=server.registry)
        path = done.stdout.strip()
        same = run("verify", path, "--against-registry", registry=server.registry)
        assert same.returncode == 0
        assert same.stderr.count("as many as at ") == 4
        server.call(server.registry.changes.apply(InsertObject(files=3, events=2)))
        moved = run("verify", path, "--against-registry", registry=server.registry)
        assert "objects: the Registry holds 41 today, 1 more since" in moved.stderr
        assert ", 3 more since" in moved.stderr
        assert ", 7 more since" in moved.stderr
        assert (
            json.loads(run("verify", path, "--against-registry", "--json", registry=server.registry).stdout)["today"][
                "objects"
            ]
            == 41
        )
        other = run("verify", path, "--against-registry", registry=server.registry, APTRUST_REGISTRY_EMAIL="a@b.edu")
        assert other.returncode == 2
    finally:
        server.stop()


def test_without_a_command_it_shows_what_there_is(run: Run) -> None:
    done = run()
    assert done.returncode == 2
    assert "Commands:" in done.stdout
    assert done.stderr == ""


def test_a_directory_named_latest_is_left_alone(run: Run, registry: DemoRegistry, tmp_path: Path) -> None:
    (tmp_path / "inventories" / "latest").mkdir(parents=True)
    for _ in range(2):
        done = run("harvest", "--quiet", registry=registry)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / done.stdout.strip() / "manifest.json").is_file()
    assert (tmp_path / "inventories" / "latest").is_dir()
    assert not (tmp_path / "inventories" / "latest").is_symlink()


def test_stdout_that_cannot_be_written_to(registry: DemoRegistry, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = writing_to(full, "harvest", "--quiet", registry=registry, cwd=tmp_path)
    assert done.returncode == 1
    assert "stdout" in only_line(done.stderr)
    assert len(list((tmp_path / "inventories").glob("2*"))) == 1, "the dump is published all the same"


def test_a_log_that_is_full_does_not_stop_the_night_run(registry: DemoRegistry, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "harvester", "harvest"],
            cwd=tmp_path,
            env=environment(registry),
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0
    assert (tmp_path / only_line(done.stdout)).is_dir()


def test_an_output_directory_of_any_name(run: Run, registry: DemoRegistry, tmp_path: Path) -> None:
    done = run("harvest", "--quiet", "--json", "--output", "out\udcfe", registry=registry)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"].startswith("out\\udcfe")


def test_the_demo_needs_nothing_of_the_users_settings(run: Run, tmp_path: Path) -> None:
    done = run("demo", "--objects", "20", HARVESTER_RESOURCES="objects", APTRUST_REGISTRY_API_VERSION="v9")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / only_line(done.stdout) / "events.ndjson").stat().st_size > 0


def test_a_port_in_use(run: Run, registry: DemoRegistry) -> None:
    done = run("demo", "--serve", "--quiet", "--port", registry.url.rpartition(":")[2])
    assert done.returncode == 2
    assert "--port" in only_line(done.stderr)
