"""`harvester config`: what is set and by what, never the key; a file that is written whole, for its owner only."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harvester.config import Settings
from harvester.demo import API_KEY, EMAIL, DemoRegistry
from tests.cli.conftest import Run, environment
from tests.terminal import on_terminal


def home_file(tmp_path: Path) -> Path:
    return tmp_path / "xdg" / "harvester" / "config.toml"


def aptrust(content: str, mode: int = 0o600) -> Path:
    path = Path.home() / ".aptrust"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


def theirs(registry: DemoRegistry) -> str:
    return (
        f"APTRUST_REGISTRY_URL={registry.url}\nAPTRUST_REGISTRY_EMAIL={EMAIL}\n"
        f'APTRUST_REGISTRY_API_KEY="{API_KEY}"\nAPTRUST_REGISTRY_API_VERSION=v3\nAPTRUST_AWS_SECRET=s/e+c\n'
    )


# show


def test_show_says_of_every_setting_where_it_comes_from(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('compression = "zstd"\n[profiles.demo]\nemail = "a@b.edu"\n')
    done = run("config", "show", "--json", "--profile", "demo", HARVESTER_RESOURCES="objects")
    answer = json.loads(done.stdout)
    settings = answer.pop("settings")
    assert answer == {"file": "config.toml", "profile": "demo", "apt_cmd_file": None, "passed_over": None}
    assert settings.keys() == Settings.model_fields.keys()
    assert settings["compression"] == {"value": "zstd", "from": "config.toml:1"}
    assert settings["email"] == {"value": "a@b.edu", "from": "config.toml:3"}
    assert settings["registry_url"] == {"value": "https://demo.aptrust.org", "from": "profile demo"}
    assert settings["resources"] == {"value": ["objects"], "from": "HARVESTER_RESOURCES"}
    assert settings["per_page"] == {"value": 1000, "from": "default"}
    assert settings["file_mode"] == {"value": "0600", "from": "default"}
    assert settings["api_key"] == {"value": None, "from": "default"}
    text = run("config", "show", "--profile", "demo").stdout
    assert {line.split()[0] for line in text.splitlines()} >= settings.keys()
    assert "email                 a@b.edu" in text


KEYS = [
    ({"APTRUST_REGISTRY_API_KEY": "S3cret-abc"}, "APTRUST_REGISTRY_API_KEY"),
    ({"HARVESTER_API_KEY_FILE": "key"}, "taken from api_key_file key"),
    ({"HARVESTER_API_KEY_COMMAND": "echo S3cret-abc"}, "taken from api_key_command"),
]


@pytest.mark.parametrize(("more", "origin"), KEYS)
def test_of_the_key_only_where_it_comes_from(run: Run, tmp_path: Path, more: dict[str, str], origin: str) -> None:
    (tmp_path / "key").write_text("S3cret-abc")
    for arguments in (["config", "show"], ["config", "show", "--json"]):
        done = run(*arguments, **more)
        assert done.returncode == 0
        assert origin in done.stdout
        assert "S3cret" not in done.stdout + done.stderr
        assert "abc" not in done.stdout + done.stderr


# ~/.aptrust


def test_apt_cmds_file_works_as_it_is(run: Run, registry: DemoRegistry) -> None:
    path = aptrust(theirs(registry), mode=0o644)
    done = run("check")
    assert done.returncode == 0, done.stdout
    assert f"! account     {EMAIL}, key from ~/.aptrust:3" in done.stdout
    assert "chmod 600 ~/.aptrust" in done.stdout
    done = run("plan", "--log-format", "json")
    assert done.returncode == 0
    assert json.loads(done.stderr)["message"].endswith(f"others may read it (mode 0644); chmod 600 {path}")
    assert run("plan", "--quiet").stderr == ""
    done = run("config", "show", "--json")
    assert json.loads(done.stdout)["settings"]["api_key"] == {"value": "set", "from": f"{path}:3"}
    assert json.loads(done.stdout)["apt_cmd_file"] == str(path)
    assert API_KEY not in done.stdout


def test_apt_cmds_file_is_not_mixed_with_another_account(run: Run, registry: DemoRegistry) -> None:
    aptrust(theirs(registry))
    done = run("harvest", "--profile", "production")
    assert done.returncode == 2
    assert done.stderr.endswith(".aptrust is not read, since --profile is given\n")
    done = run("plan", APTRUST_REGISTRY_EMAIL="a@b.edu")
    assert done.returncode == 2
    assert "since APTRUST_REGISTRY_EMAIL is given" in done.stderr
    assert registry.stats.requests == 0


def test_a_bad_line_is_one_line(run: Run, registry: DemoRegistry) -> None:
    path = aptrust(theirs(registry) + f"what is {API_KEY}\n")
    done = run("plan")
    assert (done.returncode, done.stderr) == (2, f"harvester: {path}:6: not a line such as NAME=value\n")


# path


def test_path_is_that_of_the_file_in_use(run: Run, tmp_path: Path) -> None:
    done = run("config", "path")
    assert (done.returncode, done.stdout) == (1, f"{home_file(tmp_path)}\n")
    assert "config init" in done.stderr
    home_file(tmp_path).parent.mkdir(parents=True)
    home_file(tmp_path).touch()
    done = run("config", "path")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{home_file(tmp_path)}\n", "")
    (tmp_path / "config.toml").touch()
    assert run("config", "path").stdout == f"{tmp_path / 'config.toml'}\n"
    assert run("config", "path", "--config", "none.toml").returncode == 2


# init


def init(
    tmp_path: Path, *answers: str, arguments: list[str] | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """`config init` with its answers piped in."""
    return subprocess.run(
        [sys.executable, "-m", "harvester", "config", "init", *(arguments or [])],
        cwd=tmp_path,
        env=environment(None, **more),
        input="".join(f"{answer}\n" for answer in answers),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def everything_under(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_init_writes_what_check_then_finds_good(run: Run, registry: DemoRegistry, tmp_path: Path) -> None:
    done = init(tmp_path, registry.url, EMAIL, "file", API_KEY)
    assert done.returncode == 0, done.stderr
    assert "✓ credentials" in done.stdout
    assert API_KEY not in done.stdout + done.stderr
    config = home_file(tmp_path)
    assert everything_under(config.parent) == {"config.toml", "own.key"}
    assert stat.S_IMODE(config.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in config.parent.iterdir()} == {0o600}
    assert API_KEY not in config.read_text()
    assert run("plan", "--json").returncode == 0, "and from now on that is what is used"


@pytest.mark.parametrize(
    ("answers", "lines"),
    [
        (["", EMAIL, "environment"], ['profile = "production"', f'email = "{EMAIL}"']),
        (
            ["demo", EMAIL, "command", 'pass show "ä b"'],
            ['profile = "demo"', f'email = "{EMAIL}"', 'api_key_command = "pass show \\"ä b\\""'],
        ),
    ],
)
def test_init_knows_the_registries_and_other_ways_to_the_key(
    tmp_path: Path, answers: list[str], lines: list[str]
) -> None:
    elsewhere = "http://127.0.0.1:9"  # so that the check does not knock at the real ones
    done = init(tmp_path, *answers, arguments=["--config", "sub/h.toml"], APTRUST_REGISTRY_URL=elsewhere)
    assert done.returncode == 2, "there is no key"
    assert "APTRUST_REGISTRY_URL is set, and goes before" in done.stderr
    assert f"settings    {elsewhere} (APTRUST_REGISTRY_URL)" in done.stdout
    written = (tmp_path / "sub" / "h.toml").read_text("utf-8").splitlines()
    assert [line for line in written if "=" in line] == lines
    assert everything_under(tmp_path / "sub") == {"h.toml"}


def test_questions_are_lines_of_a_log_where_that_is_json(registry: DemoRegistry, tmp_path: Path) -> None:
    arguments = ["--log-format", "json"]
    done = init(tmp_path, registry.url, EMAIL, "file", API_KEY, arguments=arguments)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert [line.partition(" ")[0] for line in said[:4]] == ["Registry", "Login", "API", "API"]
    assert len(said) == 6, "what was written, and that all is ready"
    stopped = init(tmp_path, "y", registry.url, arguments=arguments)
    assert [json.loads(line)["level"] for line in stopped.stderr.splitlines()] == ["INFO", "INFO", "INFO", "ERROR"]


def test_init_replaces_nothing_unasked(registry: DemoRegistry, tmp_path: Path) -> None:
    assert init(tmp_path, registry.url, EMAIL, "file", API_KEY).returncode == 0
    config, key = home_file(tmp_path), home_file(tmp_path).with_name("own.key")
    before = config.read_bytes(), key.read_bytes()
    for answers in (["n"], [""], ["y", registry.url, EMAIL, "file", "other", "n"]):
        done = init(tmp_path, *answers)
        assert done.returncode == 1
        assert "nothing was written" in done.stderr
        assert (config.read_bytes(), key.read_bytes()) == before
    done = init(tmp_path, "y", registry.url, EMAIL, "file", "other", "yes")
    assert done.returncode == 3
    assert key.read_text() == "other\n"


COMPLETE = ["http://127.0.0.1:9", EMAIL, "file", API_KEY]


@pytest.mark.parametrize("given", range(4))
def test_answers_that_end_too_early_leave_nothing(tmp_path: Path, given: int) -> None:
    done = init(tmp_path, *COMPLETE[:given])
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "harvester: stopped before the last answer; nothing was written"
    assert not (tmp_path / "xdg").exists()


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        (["http://repo.aptrust.org"], "must be https"),
        (["production", "me"], "e-mail"),
        (["production", EMAIL, "telepathy"], "file, command, environment"),
        (["production", EMAIL, "file", "bad key"], "other characters no key has"),
        (["production", EMAIL, "file", ""], "no API key"),
        (["production", EMAIL, "command", "pass 'x"], "words"),
        (["production", EMAIL, "command", ""], "must be a command"),
    ],
)
def test_a_script_with_a_bad_answer_is_not_asked_again(tmp_path: Path, answers: list[str], named: str) -> None:
    done = init(tmp_path, *answers, *COMPLETE)
    assert done.returncode == 2
    assert named in done.stderr.splitlines()[-1]
    assert "bad key" not in done.stderr
    assert not (tmp_path / "xdg").exists()


def test_a_person_with_a_bad_answer_is_and_the_key_is_not_shown(registry: DemoRegistry, tmp_path: Path) -> None:
    answers = [registry.url, "me", EMAIL, "", "bad key", API_KEY]
    shown = on_terminal(
        "config",
        "init",
        cwd=tmp_path,
        env=environment(None),
        types="".join(f"{answer}\n" for answer in answers[:4]),
        then=[("(not shown): ", "bad key\n"), ("no key has", ""), ("(not shown): ", f"{API_KEY}\n")],
    )
    assert shown.code == 0, shown.sent
    assert "must be an e-mail address" in shown.sent
    assert API_KEY not in shown.sent
    assert "bad key" not in shown.sent
    assert home_file(tmp_path).with_name("own.key").read_text() == f"{API_KEY}\n"


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    shown = on_terminal(
        "config", "init", cwd=tmp_path, env=environment(None), types="demo\n", interrupt=lambda sent: "e-mail" in sent
    )
    assert shown.code == 130
    assert "nothing was written" in shown.sent
    assert "Traceback" not in shown.sent
    assert not (tmp_path / "xdg").exists()


def test_a_file_behind_a_link_is_replaced_and_not_the_link(registry: DemoRegistry, tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "link.toml").symlink_to("dotfiles/h.toml")
    done = init(tmp_path, registry.url, EMAIL, "environment", arguments=["--config", "link.toml"])
    assert done.returncode == 2, "the key is not in the environment"
    assert "export APTRUST_REGISTRY_API_KEY" in done.stderr
    assert (tmp_path / "link.toml").is_symlink()
    assert EMAIL in (tmp_path / "dotfiles" / "h.toml").read_text()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a directory that nobody may write to")
def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    done = init(tmp_path, *COMPLETE, arguments=["--config", "/proc/harvester/h.toml"])
    assert done.returncode == 1
    assert "/proc/harvester" in done.stderr
    assert API_KEY not in done.stderr
    assert "Traceback" not in done.stderr
    assert everything_under(tmp_path) == set()
