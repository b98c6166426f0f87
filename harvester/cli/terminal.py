"""stderr: progress, logs, errors. stdout belongs to data and is written by the commands themselves.

Hides whether anybody is watching: a live block on a terminal, a line every ten seconds in a log file,
nothing with --quiet.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

import orjson
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harvester.cli.output import harmless, write_out
from harvester.cli.progress import Block, line
from harvester.cli.text import one_line
from harvester.errors import RegistryError
from harvester.harvest import Progress

LINE_EVERY = 10.0
"""Seconds between two progress lines where stderr is not a terminal."""

LIVE_EVERY = 0.25
SAME_TROUBLE_EVERY = 30.0


class LogFormat(StrEnum):
    """How lines on stderr are written."""

    TEXT = "text"
    JSON = "json"


_as_json = False
"""Whether the lines on stderr are JSON objects: of a process, since errors are told after a command's own Terminal."""


def say_in(log_format: LogFormat) -> None:
    """How lines on stderr are written from here on."""
    global _as_json
    _as_json = log_format is LogFormat.JSON


def err(line: str, level: str = "ERROR") -> None:
    """One line to stderr. A log that is full must not stop the harvest it is about."""
    if _as_json:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = orjson.dumps({"time": moment, "level": level, "message": line}).decode()
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def asked(question: str) -> str | None:
    """Ask on stderr; returns the next line of stdin, or None where there is no more.

    Where lines on stderr are JSON the question is one of them: what reads them must not stumble over it.
    """
    if _as_json:
        err(question.strip(), "INFO")
    else:
        with suppress(OSError):
            print(question, end="", file=sys.stderr, flush=True)
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        end_question()
        raise
    if not (line.endswith("\n") and sys.stdin.isatty()):
        end_question()
    return line.strip() if line.endswith("\n") else None


def end_question() -> None:
    """The end of a question's line, which the terminal makes itself where somebody types an answer."""
    if not _as_json:
        with suppress(OSError):
            print(file=sys.stderr)


def agreed(question: str, *, default: bool) -> bool:
    """Ask until the answer is yes or no, or nothing but Return, which is the default; where there is none it is no."""
    while True:
        answer = asked(f"{question} [{'Y/n' if default else 'y/N'}]: ")
        if answer is None:
            return False
        if answer.lower() in ("", "y", "yes", "n", "no"):
            return answer.lower() in ("y", "yes") or (default and not answer)


def print_path(path: Path) -> None:
    """A path to stdout, in the very bytes the file system knows it by."""
    write_out(os.fsencode(path) + b"\n")


def print_json(content: Mapping[str, Any]) -> None:
    """One JSON object to stdout, exact; a terminal gets what JSON by itself would let through as escapes."""
    text = orjson.dumps(content).decode()
    write_out((harmless(text) if sys.stdout.isatty() else text).encode() + b"\n")


def text_of(path: Path) -> str:
    """A path as JSON can hold it: bytes that are no UTF-8 become visible escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def print_table(table: Table) -> None:
    """A table to stdout, as wide as the terminal is; what is no terminal gets no colours."""
    console_on(sys.stdout).print(table)


def print_sentence(text: str) -> None:
    """A sentence to stdout, on a terminal without breaking its words."""
    if sys.stdout.isatty():
        console_on(sys.stdout).print(Text(one_line(text)))
    else:
        print(one_line(text))


def console_on(file: TextIO) -> Console:
    """rich's way of writing to a file. FORCE_COLOR, which CI systems set, makes no terminal of what is none."""
    force = None if file.isatty() else False
    return Console(file=file, force_terminal=force, markup=False, highlight=False, emoji=False)


class Terminal:
    """How much of what is said, and how. Made once for a command from its flags."""

    def __init__(self, *, verbose: int, quiet: bool, log_format: LogFormat = LogFormat.TEXT) -> None:
        say_in(log_format)
        self.quiet = quiet
        self.console = console_on(sys.stderr)
        self.live = self.console.is_terminal and not quiet and not _as_json and not self.console.is_dumb_terminal
        level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
        handler = _Handler(self._line)
        form = "%(message)s" if _as_json else "%(asctime)s %(levelname)s %(message)s"
        handler.setFormatter(logging.Formatter(form, "%H:%M:%S"))
        if not verbose:
            handler.addFilter(_OncePerTrouble())
        for name, least in (("harvester", level), ("asyncio", logging.ERROR)):
            logger = logging.getLogger(name)
            logger.handlers[:] = [handler]
            logger.setLevel(least)
            logger.propagate = False

    def say(self, line: str) -> None:
        """A line for people, unless they asked for quiet; on a terminal no word of it is broken."""
        if self.quiet:
            return
        if self.live:
            self.console.print(Text(one_line(line)))
        else:
            err(one_line(line), "INFO")

    @asynccontextmanager
    async def showing(self, progress: Progress) -> AsyncIterator[None]:
        """Show progress while the body runs."""
        if self.quiet:
            yield
            return
        if self.live:
            with Live(console=self.console, auto_refresh=False, transient=True) as live:
                async with _repeating(lambda: live.update(Block(progress), refresh=True), LIVE_EVERY):
                    yield
            return
        async with _repeating(lambda: self._line(line(progress)), LINE_EVERY):
            yield

    @asynccontextmanager
    async def telling(self, sentence: Callable[[], str]) -> AsyncIterator[None]:
        """Say how far it is while the body runs: in place on a terminal, every ten seconds in a log."""
        if self.quiet:
            yield
        elif self.live:
            with Live(console=self.console, auto_refresh=False, transient=True) as live:
                async with _repeating(lambda: live.update(Text(sentence(), style="dim"), refresh=True), LIVE_EVERY):
                    yield
        else:
            async with _repeating(lambda: self._line(sentence()), LINE_EVERY):
                yield

    @asynccontextmanager
    async def filling(self, sentence: Callable[[], str]) -> AsyncIterator[None]:
        """Say on a terminal how far it is while the body fills a file; nothing is left of it at the end.

        Only where stdout is a file. What a pipe leads to may well draw on the same terminal: a pager, or jq.
        """
        if self.live and _is_file(sys.stdout):
            async with self.telling(sentence):
                yield
        else:
            yield

    def _line(self, text: str, level: str = "INFO") -> None:
        if self.live:
            self.console.print(Text(text), soft_wrap=True)
        else:
            err(text, level)


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return False


class _Handler(logging.Handler):
    """Log records as single lines, whatever is in them."""

    def __init__(self, write: Callable[[str, str], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        self._write(one_line(self.format(record)), record.levelname)


class _OncePerTrouble(logging.Filter):
    """Of many requests in the same trouble the first is told, and one again every half a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if not isinstance(error, RegistryError):
            return True
        if record.created - self._told.get(error.problem, float("-inf")) < SAME_TROUBLE_EVERY:
            return False
        self._told[error.problem] = record.created
        return True


@asynccontextmanager
async def _repeating(show: Callable[[], None], seconds: float) -> AsyncIterator[None]:
    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            show()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
