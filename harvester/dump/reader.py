"""Reading a dump back: its manifest, and its records one at a time, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from harvester.dump.codec import DECODE_ERRORS, Codec
from harvester.dump.manifest import Manifest, read_manifest
from harvester.errors import DumpDamagedError, DumpError


class Dump:
    """A dump directory, opened for reading. Raises DumpError if it is not one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifest: Manifest = read_manifest(directory)

    def path(self, stem: str) -> Path:
        """The NDJSON file of a resource. Raises DumpError if the dump's scope does not have it."""
        summary = self.manifest.files.get(stem)
        if summary is None:
            raise DumpError(f"holds no {stem}", place=str(self.directory))
        return self.directory / summary.name

    def records(self, stem: str) -> Iterator[dict[str, Any]]:
        """The records of a resource in the order of the file. Raises DumpDamagedError where it cannot be read."""
        for _, record in lines_of(self.path(stem)):
            yield record


def lines_of(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line of an NDJSON file, compressed or not, with the record it holds.

    Raises DumpDamagedError, with the line's number, where the file cannot be read.
    """
    number = 0
    try:
        with path.open("rb") as raw:
            for line in Codec.of(path.name).reader(raw):
                number += 1
                yield line, orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DumpDamagedError(f"not JSON ({error})", place=f"{path}:{number}") from None
    except DECODE_ERRORS as error:
        raise DumpDamagedError(f"cannot be decompressed ({error})", place=f"{path}:{number + 1}") from None
    except OSError as error:
        raise DumpError(error.strerror or str(error), place=str(path)) from None
