"""The program at a terminal of a known size: what it shows, and what it is told."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What rich draws with: colours, and moves of the cursor."""

PATIENCE = 60.0


class Screen:
    """A program and the terminal it runs at."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.shown = ""
        self._master = master

    def until(self, text: str, *, times: int = 1) -> str:
        """Read until this has been shown so often since the beginning; returns everything shown so far."""
        deadline = time.monotonic() + PATIENCE
        while self.plain.count(text) < times:
            assert self._read(deadline), f"{text!r} is not in {self.plain!r}"
        return self.shown

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    @property
    def plain(self) -> str:
        """What has been shown, without colours and moves."""
        return CONTROL.sub("", self.shown)

    def _read(self, deadline: float) -> bool:
        if not select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError as error:
            if error.errno == errno.EIO:  # nobody has the other end open any more
                return False
            raise
        self.shown += data.decode("utf-8", "replace")
        return bool(data)


@contextmanager
def at_a_terminal(
    *arguments: str, env: Mapping[str, str], cwd: Path, columns: int = 100, lines: int = 24
) -> Iterator[Screen]:
    """Run the program with all three streams at a terminal of this size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    clean = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "harvester", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=cwd,
        env={**clean, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Screen(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
