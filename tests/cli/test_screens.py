"""What people see: on a terminal of any width, and where nothing is one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from harvester.cli.progress import Block, _flowing, line
from harvester.cli.terminal import Terminal
from harvester.demo import DemoRegistry, Fault
from harvester.errors import MaintenanceError
from harvester.harvest import Progress
from tests.cli.conftest import Run, environment
from tests.terminal import HIDE_CURSOR, Shown, on_terminal

WIDTHS = [100, 80, 50, 34]

SLOWLY = ("harvest", "--strategy", "per-object", "--rate", "60")


def assert_fits(shown: Shown, columns: int) -> None:
    for shown_line in shown.lines:
        assert cell_len(shown_line) <= columns, shown_line


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_live_block_of_a_harvest_fits_and_goes(registry: DemoRegistry, tmp_path: Path, columns: int) -> None:
    shown = on_terminal(*SLOWLY, cwd=tmp_path, env=environment(registry), columns=columns)
    assert shown.code == 0, shown.sent
    assert HIDE_CURSOR in shown.sent
    assert shown.cursor_is_there
    assert any(line.startswith("harvesting ") and "ETA 0:" in line for line in shown.lines)
    assert any("objects " in line and " of 40" in line for line in shown.lines)
    assert ("━" in shown.sent) == (columns >= 40)
    assert "\x1b[2K" in shown.sent[shown.sent.rindex("ETA 0:") :], "its lines are erased"
    assert shown.lines[-2].startswith("inventories/2")
    assert_fits(shown, columns)


def test_after_ctrl_c_the_terminal_is_as_it_was(registry: DemoRegistry, tmp_path: Path) -> None:
    registry.add_fault(Fault("slow", path="/events", after=5, times=None, seconds=30))
    shown = on_terminal(
        *SLOWLY, cwd=tmp_path, env=environment(registry), interrupt=lambda sent: "objects " in sent and " of 40" in sent
    )
    assert shown.code == 130
    assert shown.cursor_is_there
    assert "\x1b[2K" in shown.sent[shown.sent.rindex("ETA ") :]
    assert "stopped by SIGINT" in shown.sent
    assert "Traceback" not in shown.sent


@pytest.mark.parametrize("more", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_no_colours_for_who_wants_none(registry: DemoRegistry, tmp_path: Path, more: dict[str, str]) -> None:
    for arguments in (SLOWLY, ("check",), ("plan",)):
        shown = on_terminal(*arguments, cwd=tmp_path, env=environment(registry), more=more)
        assert shown.code == 0, shown.sent
        assert "\x1b[3" not in shown.sent
        assert "\x1b[9" not in shown.sent
        if "TERM" in more:
            assert "\x1b" not in shown.sent


def test_nothing_fancy_where_there_is_no_terminal(registry: DemoRegistry, run: Run) -> None:
    """Whatever a CI system would have us believe."""
    tree = ["get", "objects", "1", "--format", "tree"]
    for arguments in (["harvest"], ["check"], ["plan"], ["config", "show"], tree):
        done = run(*arguments, registry=registry, FORCE_COLOR="1", TTY_COMPATIBLE="1", TERM="xterm")
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr


def test_dashes_where_stdout_has_none(run: Run) -> None:
    done = run("config", "show", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "\\u2013" in done.stdout


@pytest.mark.parametrize("columns", [80, 34])
@pytest.mark.parametrize("command", ["check", "plan", "config show"])
def test_answers_fit_the_terminal(registry: DemoRegistry, tmp_path: Path, columns: int, command: str) -> None:
    shown = on_terminal(*command.split(), cwd=tmp_path, env=environment(registry), columns=columns)
    assert shown.code == 0, shown.sent
    assert_fits(shown, columns)
    assert len(shown.lines) > 5


@pytest.mark.parametrize("items", [["a" * 30, "b" * 30, "c"], ["a"], ["a" * 90, "b"]])
def test_figures_are_not_broken_over_lines(items: list[str]) -> None:
    for width in (10, 40, 63, 64, 100):
        lines = _flowing(items, width)
        assert "   ".join(lines) == "   ".join(items)
        assert all(len(line) <= width or line in items for line in lines)


def test_trouble_is_shown_only_when_there_is_some() -> None:
    progress = Progress()
    assert "retries" not in " ".join(Block(progress)._cost())
    progress.traffic.retries = 3
    progress.failures = 2
    assert {"retries 3", "failures 2"} <= set(Block(progress)._cost())


def test_what_is_left_is_not_guessed_from_next_to_nothing() -> None:
    progress = Progress(rows_total=1000)
    for rows, is_known in ((9, False), (10, True)):
        progress.rows["objects"] = rows
        assert line(progress).endswith("ETA –") is not is_known


@pytest.fixture
def loggers_are_restored() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("harvester", "asyncio")]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.mark.usefixtures("loggers_are_restored")
def test_the_same_trouble_of_many_requests_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    maintenance, outage = MaintenanceError("maintenance", place="/a"), MaintenanceError("outage", place="/b")
    for verbose, expected in ((0, ["maintenance", "outage", "maintenance", "else"]), (1, None)):
        Terminal(verbose=verbose, quiet=False)
        for seconds, error in ((0, maintenance), (1, maintenance), (2, outage), (29, maintenance), (31, maintenance)):
            record = {"msg": "%s; again", "args": (error,), "levelno": logging.WARNING, "created": 1000.0 + seconds}
            logging.getLogger("harvester.registry").handle(logging.makeLogRecord(record))
        logging.getLogger("harvester.config").warning("else")
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == (len(expected) if expected else 6)
        assert all(word in line for word, line in zip(expected or [], lines, strict=False))


# --log-format json

USAGE = [
    ["harvest", "--log-format", "json", "--rat", "3"],
    ["--log-format=json", "harvets"],
    ["harvest", "--rate", "fast", "--log-format=json"],
    ["harvest", "sate=A", "--log-format", "json"],
    ["plan", "--log-format", "json", "--profile", "nope"],
]


def logged(stderr: str) -> list[dict[str, str]]:
    """Every line of stderr, each of which is an object with the same three keys."""
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert all(line.keys() == {"time", "level", "message"} for line in lines)
    assert all(line["time"].endswith("Z") for line in lines)
    return lines


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_errors_are_json_even_of_what_cannot_be_parsed(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    (line,) = logged(done.stderr)
    assert line["level"] == "ERROR"
    assert line["message"].startswith("harvester: ")


def test_a_harvest_in_trouble_logs_json(run: Run, registry: DemoRegistry) -> None:
    for fault in Fault.mixed(0.2, without={"stall", "slow", "maintenance", "redirect"}):
        registry.add_fault(fault)
    done = run("harvest", "-vv", "--log-format", "json", registry=registry, HARVESTER_RETRY_BUDGET="20")
    assert done.returncode == 0, done.stderr
    lines = logged(done.stderr)
    assert {"DEBUG", "INFO"} <= {line["level"] for line in lines}
    assert any(line["message"].startswith("expecting ") for line in lines)
    assert any("asking again" in line["message"] for line in lines)


def test_warnings_and_failures_are_json(run: Run, registry: DemoRegistry) -> None:
    registry.add_fault(Fault("status", status=502, times=None))
    done = run("harvest", "--log-format", "json", registry=registry)
    assert done.returncode == 4
    assert [line["level"] for line in logged(done.stderr)][-2:] == ["WARNING", "ERROR"]
    registry.clear_faults()
    assert logged(run("plan", "--log-format=json", "-vv", registry=registry).stderr)


def test_json_lines_on_a_terminal_are_not_dressed_up(registry: DemoRegistry, tmp_path: Path) -> None:
    shown = on_terminal("harvest", "--log-format", "json", cwd=tmp_path, env=environment(registry))
    assert shown.code == 0
    assert "\x1b" not in shown.sent
