"""How NDJSON lies on disk: as it is, or as gzip members or zstd frames.

Hides the compression libraries. What lies between two checkpoints becomes one member or frame, made in one
call: cutting a file at a checkpoint leaves a valid file, the bytes do not depend on how the lines came in,
and `zcat`, `zstdcat` and DuckDB read the whole as one.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, BinaryIO, cast

import zstandard

GZIP_LEVEL = 6
ZSTD_LEVEL = 6


class Codec(Enum):
    """The settings `compression` may have, and the ending each gives a file."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def ending(self) -> str:
        """What follows `.ndjson` in a file's name."""
        return {Codec.NONE: "", Codec.GZIP: ".gz", Codec.ZSTD: ".zst"}[self]

    @classmethod
    def of(cls, name: str) -> Codec:
        """The codec of a file name."""
        return next((codec for codec in (cls.GZIP, cls.ZSTD) if name.endswith(codec.ending)), cls.NONE)

    def encode(self, lines: bytes) -> bytes:
        """The lines as they go to disk: a member or frame of their own."""
        if self is Codec.GZIP:
            # Unlike gzip.compress, zlib puts no time into the header, so equal lines give equal bytes.
            member = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
            return member.compress(lines) + member.flush()
        if self is Codec.ZSTD:
            return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compress(lines)
        return lines

    def pieces(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        """Lines that come in parts, as they go to disk: in pieces, or as one member or frame."""
        if self is not Codec.NONE:
            yield self.encode(b"".join(lines))
            return
        some: list[bytes] = []
        size = 0
        for part in lines:
            some.append(part)
            size += len(part)
            if size >= PIECE:
                yield b"".join(some)
                some, size = [], 0
        if some:
            yield b"".join(some)

    def decode(self, read: Callable[[int], bytes]) -> Iterator[bytes]:
        """The lines that `read` gives encoded, in pieces that end anywhere; damage raises one of `DECODE_ERRORS`."""
        if self is Codec.GZIP:
            return _members(read, lambda: zlib.decompressobj(31))
        if self is Codec.ZSTD:
            return _members(read, zstandard.ZstdDecompressor().decompressobj)
        return iter(lambda: read(PIECE), b"")

    def reader(self, raw: BinaryIO) -> BinaryIO:
        """The lines of an open file, decoded as they are read; damage raises one of `DECODE_ERRORS`."""
        return cast("BinaryIO", io.BufferedReader(_Pieces(self.decode(raw.read)), PIECE))


PIECE = 1 << 18
"""Bytes read or written at once where they are as they are."""

PACKED_PIECE = 1 << 15
"""Bytes read at once where they are compressed: NDJSON of the Registry grows tenfold."""

DECODE_ERRORS = (zlib.error, zstandard.ZstdError, EOFError)
"""What reading a damaged file raises."""


def _members(read: Callable[[int], bytes], begin: Callable[[], Any]) -> Iterator[bytes]:
    """Decode members or frames one after the other.

    The libraries' own readers will not do: zstandard's ends without a word where a frame is cut short,
    gzip's passes over zeros between members.
    """
    member = None
    while data := read(PACKED_PIECE):
        while data:
            member = member or begin()
            if piece := member.decompress(data):
                yield piece
            data = b""
            if member.eof:
                data, member = member.unused_data, None
    if member is not None:
        raise EOFError("its last member or frame is cut short")


class _Pieces(io.RawIOBase):
    """Pieces of any size as a stream of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what comes next."""
        self._rest = self._rest or memoryview(next(self._pieces, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
