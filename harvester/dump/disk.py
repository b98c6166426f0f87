"""Every touch of the disk that durability depends on, in one place.

The writer and the publisher go through a `Disk`, so that tests can stop the world before and after each
of these steps and see what a power cut there would leave behind.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class Disk:
    """The real disk. Every method returns when the step is done, not when it is durable, except the syncs."""

    def __init__(self, *, file_mode: int = 0o600, dir_mode: int = 0o700) -> None:
        self.file_mode = file_mode
        self.dir_mode = dir_mode

    def make_directory(self, path: Path) -> None:
        """Create one directory with `dir_mode`, whatever the umask."""
        path.mkdir()
        path.chmod(self.dir_mode)

    def open_append(self, path: Path) -> int:
        """Open for appending, creating the file with `file_mode`; returns a descriptor."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, self.file_mode)
        os.fchmod(descriptor, self.file_mode)
        return descriptor

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Make the file's contents durable."""
        os.fsync(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Make the directory's entries durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Rename atomically, replacing a file of that name."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file if it is there."""
        path.unlink(missing_ok=True)

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with all that is in it."""
        shutil.rmtree(path)

    def link(self, target: str, link: Path) -> None:
        """Create a symbolic link."""
        link.symlink_to(target)
