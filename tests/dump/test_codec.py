"""Lines on disk: deterministic, and read whole whatever the members and frames."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.dump import Codec, DumpWriter, Pace, lines_of
from harvester.dump.codec import DECODE_ERRORS
from harvester.errors import DumpDamagedError
from tests.dump.crashing import FastDisk

LINES = [orjson.dumps({"id": n, "text": "é\u2028" * (n % 50)}, option=orjson.OPT_APPEND_NEWLINE) for n in range(400)]


@pytest.mark.parametrize("codec", Codec)
def test_names(codec: Codec) -> None:
    assert Codec.of(f"files.ndjson{codec.ending}") is codec


@pytest.mark.parametrize("codec", Codec)
@given(cuts=st.sets(st.integers(1, len(LINES) - 1), max_size=8))
def test_what_is_encoded_in_pieces_is_read_whole(codec: Codec, cuts: set[int]) -> None:
    ends = [*sorted(cuts), len(LINES)]
    parts = [LINES[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    data = b"".join(codec.encode(b"".join(part)) for part in parts)
    assert codec.reader(io.BytesIO(data)).read() == b"".join(LINES)
    assert list(codec.reader(io.BytesIO(data))) == LINES
    assert b"".join(codec.decode(io.BytesIO(data).read)) == b"".join(LINES)


@pytest.mark.parametrize("codec", Codec)
def test_bytes_do_not_depend_on_how_lines_come_in(codec: Codec, tmp_path: Path) -> None:
    def write(name: str, at_once: int) -> bytes:
        writer = DumpWriter.create(tmp_path / name, {}, ["files"], codec, Pace(1 << 20, 1 << 20), FastDisk())
        for start in range(0, len(LINES), at_once):
            part = LINES[start : start + at_once]
            writer.append("files", b"".join(part), len(part))
            if (start + at_once) % 200 == 0:
                writer.checkpoint({})
        writer.checkpoint({})
        writer.close()
        return (tmp_path / name / f"files.ndjson{codec.ending}").read_bytes()

    assert write("one", 1) == write("ten", 10) == write("two hundred", 200)


def test_gzip_holds_no_time_and_no_name() -> None:
    assert Codec.GZIP.encode(b"{}\n")[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
    assert gzip.decompress(Codec.GZIP.encode(b"{}\n") * 2) == b"{}\n{}\n"


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.ZSTD])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_file_cut_short_does_not_end_in_silence(codec: Codec, parts: int) -> None:
    data = b"".join(codec.encode(b"".join(LINES)) for _ in range(parts))
    ends = {0, len(data), len(data) // parts}
    for size in range(len(data)):
        if size not in ends:
            with pytest.raises(DECODE_ERRORS):
                codec.reader(io.BytesIO(data[:size])).read()


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.ZSTD])
@pytest.mark.parametrize("rest", [b"\0" * 512, b"x", b"{}\n"])
def test_what_follows_the_last_member_is_damage(codec: Codec, rest: bytes) -> None:
    with pytest.raises(DECODE_ERRORS):
        codec.reader(io.BytesIO(codec.encode(b"{}\n") + rest)).read()


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.ZSTD])
def test_lines_of_names_the_line_where_it_cannot_go_on(codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / f"files.ndjson{codec.ending}"
    path.write_bytes(codec.encode(b"{}\n{}\n") + codec.encode(b"{}\n")[:-3])
    with pytest.raises(DumpDamagedError) as error:
        list(lines_of(path))
    assert error.value.place in (f"{path}:3", f"{path}:4")
