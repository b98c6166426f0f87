"""Ctrl-C while the program is being loaded, which takes a moment: nothing is under way yet, so it just ends.

Imported before anything else. Does nothing where harvester is somebody else's library.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import PurePath

INTERRUPTED = 130


def _is_the_program() -> bool:
    if sys.argv[:1] == ["-m"]:  # Python is still looking for the module to run
        return sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] == ["harvester"] if "-m" in sys.orig_argv else False
    return bool(sys.argv) and PurePath(sys.argv[0]).name == "harvester"


def _leave(*_: object) -> None:
    os._exit(INTERRUPTED)  # an exception would come out of whatever import is under way, or be lost in it


def over() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# A shell starts what runs in the background with Ctrl-C ignored, and so it stays.
if _is_the_program() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)


__all__ = ["over"]
