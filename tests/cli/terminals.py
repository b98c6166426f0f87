"""A program on a pseudo-terminal: what a person would have on the screen, and what was sent to put it there."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_OF_OUR_TERMINAL = ("COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Shown:
    """How it ended, and all that was sent to the terminal."""

    code: int
    sent: str

    @property
    def lines(self) -> list[str]:
        """Every line as it was sent, without colours and the moving about."""
        return [_CONTROL.sub("", line).rstrip() for line in re.split(r"\r?\n|\r", self.sent)]

    @property
    def cursor_is_there(self) -> bool:
        return self.sent.rfind(SHOW_CURSOR) >= self.sent.rfind(HIDE_CURSOR)


def on_terminal(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str],
    more: Mapping[str, str] | None = None,
    columns: int = 80,
    types: str = "",
    then: Sequence[tuple[str, str]] = (),
    interrupt: Callable[[str], bool] = lambda sent: False,
) -> Shown:
    """Run harvester with a terminal of so many columns for all three streams, and type into it.

    `then` is what is waited for, in turn, and what is typed when it comes. It gets a Ctrl-C as soon as `interrupt`
    says so of what was sent.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "harvester", *arguments],
        cwd=cwd,
        env={name: value for name, value in env.items() if name not in _OF_OUR_TERMINAL}
        | {"TERM": "xterm"}
        | dict(more or {}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, types.encode())
    sent, interrupted, awaited, read = "", False, list(then), 0
    while piece := _read(ours):
        sent += piece.decode("utf-8", "replace")
        while awaited and awaited[0][0] in sent[read:]:
            text, typed = awaited.pop(0)
            read = sent.index(text, read) + len(text)
            os.write(ours, typed.encode())
        if not interrupted and interrupt(sent):
            process.send_signal(signal.SIGINT)
            interrupted = True
    os.close(ours)
    return Shown(process.wait(60), sent)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError as error:
        if error.errno == errno.EIO:  # how Linux says that the other side has hung up
            return b""
        raise
