"""The README stays true: every command in it is run, and every table of it compared with the code."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harvester.cli import exits
from harvester.config import Settings, load_settings
from harvester.demo import DemoRegistry, Fault, InsertItem, InsertObject
from tests.cli.conftest import InThread, environment

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def block(name: str) -> list[str]:
    """The lines of the code block behind a comment in the README, without their comments."""
    match = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert match, f"README has no block {name!r}"
    return match.group(1).splitlines()


def program(line: str) -> list[str]:
    """A command line of the README, for the interpreter the tests run in."""
    words = shlex.split(line, comments=True)
    assert words[0] == ".venv/bin/harvester"
    return [sys.executable, "-m", "harvester", *words[1:]]


def test_every_block_of_commands_is_known_here() -> None:
    commands = re.findall(r"(?:<!-- ([\w ]+) -->\n)?```(?:sh|python)\n", README)
    assert sorted(commands) == [
        "benchmarks",
        "demo",
        "first harvest",
        "library",
        "more",
        "notebook",
        "questions",
        "tests",
    ]


def test_the_two_set_up_lines_end_in_what_ci_runs(tmp_path: Path) -> None:
    """.ci/run runs both as they stand, in empty environments; here the parts that need no installation."""
    (demo,), (tests,) = block("demo"), block("tests")
    assert demo.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert tests.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert tests.endswith("&& .venv/bin/python -m pytest -q -n auto")
    ci = (ROOT / ".ci/run").read_text()
    assert "<!-- demo -->" in ci
    assert "<!-- tests -->" in ci
    done = subprocess.run(
        program(demo.split("&&")[-1].strip()),
        cwd=tmp_path,
        env=environment(None),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.strip() / "manifest.json").is_file()
    assert (tmp_path / "demo-inventories" / "latest").is_dir()


def test_the_first_harvest_and_what_else_can_be_asked_for(registry: DemoRegistry, tmp_path: Path) -> None:
    exports = [line for line in block("first harvest") if line.startswith("export ")]
    assert {line.split()[1].split("=")[0] for line in exports} <= environment(registry).keys()
    commands = [line for line in block("first harvest") + block("more") if not line.startswith("export ")]
    assert len(commands) == 11
    for command in commands:
        if "resume" in command:
            leave_unfinished(registry, tmp_path)
        done = subprocess.run(
            program(command), cwd=tmp_path, env=environment(registry), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"


@pytest.fixture(scope="module")
def with_photos(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[DemoRegistry]:
    """A served demo Registry with the object that README asks for."""
    server = InThread(Path(shutil.copy(database, tmp_path_factory.mktemp("photos") / "registry.sqlite")))
    server.call(server.registry.changes.apply(InsertObject(identifier="institution1.edu/photos")))
    server.call(server.registry.changes.apply(InsertItem("photos.tar", status="Success")))
    yield server.registry
    server.stop()


@pytest.mark.parametrize("command", block("questions"))
def test_a_question(command: str, with_photos: DemoRegistry, tmp_path: Path) -> None:
    answered(program(command), with_photos, tmp_path)


ROWS = re.findall(r"^\| (?!apt-cmd)(.*) \| (.*harvester .*) \|$", README, re.MULTILINE)
OF_APT_CMD = [command for _, here in ROWS for command in re.findall(r"`(harvester [^`]*)`", here)]


def test_the_table_of_equivalents_is_found() -> None:
    assert len(ROWS) >= 15
    assert len(OF_APT_CMD) >= 19


@pytest.mark.parametrize("command", OF_APT_CMD)
def test_what_apt_cmd_does_is_done_here(command: str, with_photos: DemoRegistry, tmp_path: Path) -> None:
    if command in ("harvester items --watch", "harvester restore OBJECT --wait"):
        pytest.skip("one ends with Ctrl-C, the other is for administrators: their own tests try them")
    answered(program(f".venv/bin/{command}"), with_photos, tmp_path)


def answered(command: list[str], registry: DemoRegistry, directory: Path) -> None:
    """Run it. Exit code 1 without a message is an audit's, or a watch's, that has found something."""
    done = subprocess.run(command, cwd=directory, env=environment(registry), capture_output=True, text=True)
    assert done.returncode == 0 or (done.returncode == 1 and "harvester:" not in done.stderr), done.stderr


def leave_unfinished(registry: DemoRegistry, directory: Path) -> None:
    """A harvest of which one list failed."""
    registry.add_fault(Fault("truncated", path="/files", times=None))
    impatient = environment(registry, HARVESTER_RETRY_BUDGET="0.01")
    command = program(".venv/bin/harvester harvest --quiet --strategy per-object")
    assert subprocess.run(command, cwd=directory, env=impatient, check=False, timeout=120).returncode == 5
    registry.clear_faults()


@pytest.mark.parametrize(("name", "said"), [("library", " True\n"), ("notebook", ")]\n")])
def test_a_library_example(name: str, said: str, registry: DemoRegistry, tmp_path: Path) -> None:
    example = "\n".join(block(name))
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=environment(registry),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(said)


def test_the_benchmarks_can_be_run(tmp_path: Path) -> None:
    (command,) = block("benchmarks")
    words = [sys.executable, *shlex.split(command)[1:], "--quick", "listing"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert "list, 20,000 events, by id: peak RSS" in done.stdout, done.stderr


def test_the_exit_codes_are_the_programs() -> None:
    documented = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.MULTILINE) for code in row.split(",")}
    constants = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert documented == constants - {exits.INTERRUPTED} | {exits.INTERRUPTED + 2, exits.INTERRUPTED + 15}


def test_the_example_configuration_has_every_setting_at_its_default(tmp_path: Path) -> None:
    example = (ROOT / "config.example.toml").read_text("utf-8")
    assert tomllib.loads(example) == {}, "as it stands it changes nothing"
    config = tmp_path / "config.toml"
    config.write_text("\n".join(line.removeprefix("#") for line in example.splitlines() if re.match(r"#[\w\[]", line)))
    config.chmod(0o600)
    given = tomllib.loads(config.read_text())
    profiles = given.pop("profiles")
    assert given.pop("profile") == "production"
    assert given.keys() == Settings.model_fields.keys()
    config.write_text("\n".join(f"{line}" for line in config.read_text().splitlines() if "api_key_file" not in line))
    assert set(profiles) == {"production"}
    loaded, default = load_settings(config=config, profile="demo"), Settings()
    for name in Settings.model_fields.keys() - {"registry_url", "user_agent", "output"}:
        assert getattr(loaded, name) == getattr(default, name), name
    assert loaded.output == tmp_path / default.output
