"""Programs at a pseudo-terminal of a known size: what a person would see, and what was sent to make them see it.

Hides the pseudo-terminal: how its end is told, characters that come in two pieces, and what the terminal of whoever
runs the tests has put into the environment. Every wait has a limit (`PATIENCE`): a program that says nothing more
fails its test and does not hang it.
"""

from __future__ import annotations

import codecs
import errno
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE = 60.0
"""Seconds after which what was waited for will not come."""

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_OF_OUR_TERMINAL = ("COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")


def plain(text: str) -> str:
    """Text without what rich draws with: colours, and moves of the cursor."""
    return _CONTROL.sub("", text)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


class Terminal:
    """Our side of a terminal; `shown` is all that was sent to it so far. Bytes that are no UTF-8 are surrogates."""

    def __init__(self, descriptor: int) -> None:
        self.shown = ""
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    @property
    def plain(self) -> str:
        """What has been shown, without colours and moves."""
        return plain(self.shown)

    @property
    def text(self) -> str:
        """What has been shown, without the carriage returns that a terminal adds."""
        return _unix(self.shown)

    def until(self, text: str, *, times: int = 1) -> str:
        """Read until this has been shown so often since the beginning; returns everything shown so far."""
        self.until_true(lambda: self.plain.count(text) >= times, repr(text))
        return self.shown

    def until_true(self, there: Callable[[], bool], what: str) -> None:
        """Read until `there` says that `what` is; fails where it does not come."""
        deadline = time.monotonic() + PATIENCE
        while not there():
            assert self._read(deadline), f"it ended without {what}: {self.shown!r}"

    def past(self, text: str, start: int) -> int:
        """Read until this has been sent after `start`; returns where it ends."""
        self.until_true(lambda: text in self.shown[start:], repr(text))
        return self.shown.index(text, start) + len(text)

    def to_the_end(self) -> None:
        """Read until nobody has the other side open any more."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass

    def type(self, text: str) -> None:
        """What a person types."""
        os.write(self._descriptor, text.encode())

    def _read(self, deadline: float) -> bool:
        """Wait for a piece; False at the end."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing more came: {self.shown!r}"
        try:
            data = os.read(self._descriptor, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that the other side has hung up
                raise
            data = b""
        self.shown += self._decoder.decode(data, final=not data)
        return bool(data)


class Screen(Terminal):
    """A program and the terminal it runs at."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        super().__init__(descriptor)
        self.process = process

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        self.to_the_end()
        return self.process.wait(PATIENCE)

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)


@dataclass(frozen=True)
class Shown:
    """How a program ended, and all that was sent to its terminal."""

    code: int
    sent: str

    @property
    def text(self) -> str:
        """What was sent, without the carriage returns that a terminal adds."""
        return _unix(self.sent)

    @property
    def lines(self) -> list[str]:
        """Every line as it was sent, without colours and the moving about."""
        return [plain(line).rstrip() for line in re.split(r"\r?\n|\r", self.sent)]

    @property
    def cursor_is_there(self) -> bool:
        """Whether the cursor, if it was hidden, was shown again."""
        return self.sent.rfind(SHOW_CURSOR) >= self.sent.rfind(HIDE_CURSOR)


@contextmanager
def program_at_a_terminal(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    columns: int = 100,
    lines: int = 24,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Iterator[Screen]:
    """Run a program with all three streams at a terminal of this size, or some of them elsewhere."""
    ours, theirs = _opened(columns, lines)
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs if stdout is None else stdout,
        stderr=theirs if stderr is None else stderr,
        cwd=cwd,
        env=env,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            yield Screen(process, ours)
        finally:
            process.kill()
            os.close(ours)


@contextmanager
def at_a_terminal(
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path,
    more: Mapping[str, str] | None = None,
    columns: int = 100,
    lines: int = 24,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Iterator[Screen]:
    """Run harvester at a terminal. Of `env` it does not get what is about ours; `more` it gets as it is."""
    clean = {name: value for name, value in env.items() if name not in _OF_OUR_TERMINAL}
    variables = {**clean, "TERM": "xterm-256color", **(more or {})}
    command = [sys.executable, "-m", "harvester", *arguments]
    with program_at_a_terminal(
        command, env=variables, cwd=cwd, columns=columns, lines=lines, stdout=stdout, stderr=stderr
    ) as screen:
        yield screen


def on_terminal(
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path,
    more: Mapping[str, str] | None = None,
    columns: int = 80,
    stderr: int | None = None,
    types: str = "",
    then: Sequence[tuple[str, str]] = (),
    interrupt: Callable[[str], bool] | None = None,
) -> Shown:
    """Run harvester at a terminal to its end, and type into it.

    `then` is what is waited for, in turn, and what is typed when it comes. It gets a Ctrl-C as soon as `interrupt`
    says so of what was sent.
    """
    with at_a_terminal(*arguments, env=env, cwd=cwd, more=more, columns=columns, lines=40, stderr=stderr) as screen:
        screen.type(types)
        read = 0
        for text, typed in then:
            read = screen.past(text, read)
            screen.type(typed)
        if interrupt is not None:
            screen.until_true(lambda: interrupt(screen.shown), "what it is to be interrupted at")
            screen.interrupt()
        return Shown(screen.end(), screen.shown)


def stdout_at_a_terminal(columns: int, work: Callable[[], None]) -> str:
    """What `work`, done here with stdout at a terminal of this width, sends to it; the terminal adds nothing."""
    ours, theirs = _opened(columns, 24)
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    terminal = Terminal(ours)

    def watch() -> None:
        try:
            terminal.to_the_end()
        finally:
            os.close(ours)  # whoever still writes fails, and does not wait

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(theirs, "wb") as raw:
        patch.setattr(sys, "stdout", io.TextIOWrapper(raw, "utf-8", write_through=True))
        work()
    watcher.join(PATIENCE)
    assert not watcher.is_alive()
    return terminal.shown


def _opened(columns: int, lines: int) -> tuple[int, int]:
    """Our side of a new terminal of this size, and the program's."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    return ours, theirs
