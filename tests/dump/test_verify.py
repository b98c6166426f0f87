"""Provable: whatever is done to a dump, `verify` finds it and names the file and the line."""

from __future__ import annotations

import copy
import os
import random
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.cli.app import run
from harvester.dump import Codec, Verdict, lines_of, partials, published, verify
from harvester.dump.layout import CHECKSUMS, MANIFEST
from harvester.errors import DumpError
from tests.dump.crashing import Crash, CrashingDisk, FastDisk, Moment, bury
from tests.dump.synthetic import STEMS, Collection, Harvest

COLLECTION = Collection(objects=6, files=5, events=2, alerts=4)
"""Objects 1 to 6; object n has the files 5n-4 to 5n and the events 10n-9 to 10n, each on the line of its number."""

HONEST, SUMS, COUNTS = "as it lies", "checksums mended", "checksums and counts mended"
FORGERS = (HONEST, SUMS, COUNTS)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[Codec, Path]:
    output = tmp_path_factory.mktemp("made")
    return {codec: Harvest(COLLECTION, codec).run(output / codec.value, FastDisk()) for codec in Codec}


@pytest.fixture
def dump(made: dict[Codec, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[Codec.NONE], tmp_path / "dump"))


# Doing damage


def path_of(dump: Path, stem: str) -> Path:
    (path,) = dump.glob(f"{stem}.ndjson*")
    return path


def read_lines(dump: Path) -> dict[str, list[bytes]]:
    return {stem: [line for line, _ in lines_of(path_of(dump, stem))] for stem in STEMS}


def write_lines(dump: Path, lines: dict[str, list[bytes]]) -> None:
    for stem, content in lines.items():
        path = path_of(dump, stem)
        codec = Codec.of(path.name)
        half = len(content) // 2
        path.write_bytes(b"".join(codec.encode(b"".join(part)) for part in (content[:half], content[half:])))


def edit_manifest(dump: Path, edit: Callable[[dict[str, Any]], object], *, sums: bool = True) -> None:
    path = dump / MANIFEST
    manifest = orjson.loads(path.read_bytes())
    edit(manifest)
    path.write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    if sums:
        write_sums(dump)


def write_sums(dump: Path) -> None:
    manifest = orjson.loads((dump / MANIFEST).read_bytes())
    sums = {entry["name"]: entry["sha256"] for entry in manifest["files"].values()}
    sums[MANIFEST] = sha256((dump / MANIFEST).read_bytes()).hexdigest()
    (dump / CHECKSUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))


def forge(dump: Path, forger: str) -> None:
    """Hide the damage: what is mended can no longer give it away."""

    def mend(manifest: dict[str, Any]) -> None:
        for stem, entry in manifest["files"].items():
            data = path_of(dump, stem).read_bytes()
            plain = b"".join(Codec.of(entry["name"]).decode(reading(data)))
            entry |= {"sha256": sha256(data).hexdigest(), "bytes": len(data), "ndjson_bytes": len(plain)}
            if forger == COUNTS:
                entry["records"] = plain.count(b"\n") + (not plain.endswith(b"\n"))
                if stem in manifest["reconciliation"]["walks"]:
                    manifest["reconciliation"]["walks"][stem] = {
                        "expected": entry["records"],
                        "found": entry["records"],
                    }
        for total in ("records", "bytes"):
            manifest["totals"][total] = sum(entry[total] for entry in manifest["files"].values())

    if forger != HONEST:
        edit_manifest(dump, mend)


def reading(data: bytes) -> Callable[[int], bytes]:
    pieces = iter([data, b""])
    return lambda size: next(pieces)


def changed(line: bytes, **values: Any) -> bytes:
    return orjson.dumps(orjson.loads(line) | values, option=orjson.OPT_APPEND_NEWLINE)


def without(line: bytes, key: str) -> bytes:
    record = orjson.loads(line)
    del record[key]
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


Lines = dict[str, list[bytes]]


@dataclass(frozen=True)
class Kind:
    """One kind of damage to lines: what is done, and where and by which word `verify` must find it."""

    name: str
    do: Callable[[Lines], object]
    stem: str
    line: int
    word: str
    forgers: tuple[str, ...] = FORGERS


def swap(lines: list[bytes], one: int, other: int) -> None:
    lines[one - 1], lines[other - 1] = lines[other - 1], lines[one - 1]


def replace(lines: list[bytes], number: int, line: bytes) -> None:
    lines[number - 1] = line


def edit(lines: list[bytes], number: int, **values: Any) -> None:
    lines[number - 1] = changed(lines[number - 1], **values)


KINDS = [
    Kind("missing file", lambda s: s["files"].pop(12), "objects", 3, "says 4 files"),
    Kind("missing first file of all", lambda s: s["files"].pop(0), "objects", 1, "says 4 files"),
    Kind("missing event", lambda s: s["events"].pop(12), "events", 0, "59 lines", (HONEST, SUMS)),
    Kind("missing object", lambda s: s["objects"].pop(2), "files", 11, "which is not among the objects"),
    Kind("missing last object", lambda s: s["objects"].pop(), "events", 51, "which is not among the objects"),
    Kind("missing alert", lambda s: s["alerts"].pop(), "alerts", 0, "3 lines", (HONEST, SUMS)),
    Kind("doubled file", lambda s: s["files"].insert(12, s["files"][11]), "files", 13, "doubled"),
    Kind("doubled last file", lambda s: s["files"].append(s["files"][-1]), "files", 31, "doubled"),
    Kind("doubled event", lambda s: s["events"].insert(41, s["events"][40]), "events", 42, "doubled"),
    Kind("doubled object", lambda s: s["objects"].insert(3, s["objects"][2]), "objects", 4, "doubled"),
    Kind("doubled alert", lambda s: s["alerts"].insert(3, s["alerts"][2]), "alerts", 4, "doubled"),
    Kind("neighbours swapped", lambda s: swap(s["files"], 12, 13), "files", 12, "out of order"),
    Kind("last two swapped", lambda s: swap(s["alerts"], 3, 4), "alerts", 3, "out of order"),
    Kind("lines of two objects swapped", lambda s: swap(s["events"], 15, 42), "events", 15, "belongs to"),
    Kind("lines of two objects swapped, seen there", lambda s: swap(s["events"], 15, 42), "events", 42, "belongs to"),
    Kind("objects swapped", lambda s: swap(s["objects"], 2, 5), "objects", 2, "out of order"),
    Kind("moved up", lambda s: s["files"].insert(2, s["files"].pop(22)), "files", 3, "belongs to"),
    Kind("moved down", lambda s: s["files"].insert(22, s["files"].pop(2)), "files", 23, "belongs to"),
    Kind("moved up, missed there", lambda s: s["files"].insert(2, s["files"].pop(21)), "objects", 5, "says 4 files"),
    Kind("wrong parent", lambda s: edit(s["files"], 12, intellectual_object_id=5), "files", 12, "belongs to"),
    Kind("wrong parent before", lambda s: edit(s["events"], 33, intellectual_object_id=1), "events", 33, "belongs to"),
    Kind("no such parent", lambda s: edit(s["events"], 60, intellectual_object_id=9), "events", 60, "not among"),
    Kind("parent's file taken", lambda s: edit(s["files"], 10, intellectual_object_id=3), "objects", 2, "says 4"),
    Kind("id of another object's file", lambda s: edit(s["files"], 16, id=3), "files", 16, "a second time"),
    Kind("id 0", lambda s: edit(s["files"], 1, id=0), "files", 1, "id 0"),
    Kind("negative id", lambda s: edit(s["alerts"], 1, id=-1), "alerts", 1, "id -1"),
    Kind("not JSON", lambda s: replace(s["events"], 30, b'{"id":30,\n'), "events", 30, "not JSON"),
    Kind("two records on a line", lambda s: replace(s["alerts"], 2, b"{}{}\n"), "alerts", 2, "not JSON"),
    Kind("empty line", lambda s: s["objects"].insert(1, b"\n"), "objects", 2, "not JSON"),
    Kind("zeros", lambda s: replace(s["files"], 7, bytes(500) + b"\n"), "files", 7, "not JSON"),
    Kind("broken UTF-8", lambda s: replace(s["objects"], 1, b'{"id":1,"title":"\xff"}\n'), "objects", 1, "not JSON"),
    Kind("JSON, no object", lambda s: replace(s["events"], 30, b"[30]\n"), "events", 30, "not a JSON object"),
    Kind("missing key", lambda s: replace(s["files"], 9, without(s["files"][8], "state")), "files", 9, "lacks state"),
    Kind("key of another type", lambda s: edit(s["files"], 9, size="9"), "files", 9, "size is not a whole number"),
    Kind("null", lambda s: edit(s["events"], 9, identifier=None), "events", 9, "identifier is not text"),
    Kind("a truth for a number", lambda s: edit(s["alerts"], 1, id=True), "alerts", 1, "id is not a whole"),
    Kind("too large a number", lambda s: edit(s["alerts"], 1, id=1e300), "alerts", 1, "id is not a whole"),
    Kind("file_count changed", lambda s: edit(s["objects"], 4, file_count=6), "objects", 4, "says 6 files"),
    Kind("size changed", lambda s: edit(s["files"], 17, size=1), "objects", 4, "here are 4 active ones of 3055"),
    Kind("state changed", lambda s: edit(s["files"], 19, state="A"), "objects", 4, "here are 5 active ones"),
    Kind("last line cut", lambda s: replace(s["events"], 60, s["events"][59][:-1]), "events", 60, "cut short"),
]


def found(verdict: Verdict, file: str, line: int, word: str) -> bool:
    return any(d.file == file and d.line == line and word in d.problem for d in verdict.damages)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("deep", [False, True])
def test_what_was_written_is_sound(made: dict[Codec, Path], codec: Codec, deep: bool) -> None:
    verdict = verify(made[codec], deep=deep)
    assert verdict.damages == []
    assert verdict.complete
    assert verdict.records == 6 + 30 + 60 + 4


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize(
    ("kind", "forger"), [pytest.param(kind, f, id=f"{kind.name}, {f}") for kind in KINDS for f in kind.forgers]
)
def test_damaged_lines(made: dict[Codec, Path], tmp_path: Path, codec: Codec, kind: Kind, forger: str) -> None:
    dump = Path(shutil.copytree(made[codec], tmp_path / "dump"))
    lines = read_lines(dump)
    kind.do(lines)
    write_lines(dump, lines)
    forge(dump, forger)
    verdict = verify(dump)
    name = path_of(dump, kind.stem).name
    assert found(verdict, name, kind.line, kind.word), verdict.damages
    by_sum = {d.file for d in verdict.damages if "sha256" in d.problem}
    assert bool(by_sum) == (forger == HONEST)


def test_the_list_of_kinds_is_long_enough() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) > 40


DEEP = [
    Kind("event of another object's file", lambda s: edit(s["events"], 13, generic_file_id=1), "events", 13, "file 1,"),
    Kind("event of no file", lambda s: edit(s["events"], 13, generic_file_id=999_999_999), "events", 13, "has not"),
    Kind(
        "event identifier doubled",
        lambda s: edit(s["events"], 15, identifier=orjson.loads(s["events"][11])["identifier"]),
        "events",
        15,
        "a second time",
    ),
    Kind("no time", lambda s: edit(s["files"], 3, created_at="2021-13-01T00:00:00Z"), "files", 3, "is not a time"),
    Kind("no time in a list", lambda s: edit(s["alerts"], 3, created_at=""), "alerts", 3, "is not a time"),
]


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in DEEP])
def test_what_only_deep_finds(dump: Path, kind: Kind) -> None:
    lines = read_lines(dump)
    kind.do(lines)
    write_lines(dump, lines)
    forge(dump, COUNTS)
    assert verify(dump).sound
    verdict = verify(dump, deep=True)
    assert [(d.file, d.line) for d in verdict.damages] == [(f"{kind.stem}.ndjson", kind.line)]
    assert kind.word in verdict.damages[0].problem


def test_what_can_be_is_no_damage(dump: Path) -> None:
    lines = read_lines(dump)
    edit(lines["files"], 3, md5="12345678", created_at="0001-01-01T00:00:00Z", new_field={"a": [None]})
    edit(lines["events"], 13, generic_file_id=888, created_at="2026-11-24T02:00:07.5Z")  # younger than the horizon
    edit(lines["events"], 14, identifier="", date_time="2999-01-01T00:00:00.25Z", event_type="")
    edit(lines["events"], 15, identifier="")
    write_lines(dump, lines)
    forge(dump, COUNTS)
    assert verify(dump, deep=True).damages == []


# Damaged files


def bytes_of(dump: Path) -> Iterator[tuple[Path, int]]:
    for path in sorted(dump.iterdir()):
        for position in range(path.stat().st_size):
            yield path, position


@pytest.mark.parametrize("codec", Codec)
def test_a_flipped_bit_anywhere(made: dict[Codec, Path], tmp_path: Path, codec: Codec) -> None:
    dump = Path(shutil.copytree(made[codec], tmp_path / "dump"))
    chance = random.Random(codec.value)
    everywhere = list(bytes_of(dump))
    small = [place for place in everywhere if place[0].name in (MANIFEST, CHECKSUMS)]
    for path, position in chance.sample(everywhere, 250) + chance.sample(small, 150):
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[position] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        verdict = verify(dump)
        assert path.name in {d.file for d in verdict.damages}, (path.name, position, verdict.damages)
        path.write_bytes(whole)
    assert verify(dump).sound


@pytest.mark.parametrize("codec", Codec)
def test_a_truncated_file(made: dict[Codec, Path], tmp_path: Path, codec: Codec) -> None:
    dump = Path(shutil.copytree(made[codec], tmp_path / "dump"))
    path = path_of(dump, "files")
    whole = path.read_bytes()
    ends = [0]
    for line, _ in lines_of(path):
        ends.append(ends[-1] + len(line))
    for size in random.Random(1).sample(range(len(whole)), 60):
        path.write_bytes(whole[:size])
        verdict = verify(dump)
        assert found(verdict, path.name, 0, f"{size} bytes, the manifest says {len(whole)}")
        if codec is Codec.NONE and size not in ends:
            assert found(verdict, path.name, sum(end < size for end in ends), "cut short")
        if "says 30" not in str(verdict.damages):
            assert size > ends[-2]


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("what", [b"{}\n", b"\0" * 20, b"\x1f\x8b", b"(\xb5/\xfd"])
def test_data_appended(made: dict[Codec, Path], tmp_path: Path, codec: Codec, what: bytes) -> None:
    dump = Path(shutil.copytree(made[codec], tmp_path / "dump"))
    path = path_of(dump, "events")
    path.write_bytes(path.read_bytes() + what)
    if codec is Codec.NONE:
        forge(dump, COUNTS)
    verdict = verify(dump)
    assert any(d.file == path.name and d.line == 61 for d in verdict.damages), verdict.damages


@pytest.mark.parametrize("codec", Codec)
def test_two_files_swapped(made: dict[Codec, Path], tmp_path: Path, codec: Codec) -> None:
    dump = Path(shutil.copytree(made[codec], tmp_path / "dump"))
    one, other = path_of(dump, "files"), path_of(dump, "events")
    one.rename(dump / "between")
    other.rename(one)
    (dump / "between").rename(other)
    forge(dump, COUNTS)
    verdict = verify(dump)
    assert found(verdict, one.name, 1, "lacks state; lacks size")
    assert found(verdict, other.name, 1, "lacks generic_file_id")


def test_a_missing_file(dump: Path) -> None:
    (dump / "events.ndjson").unlink()
    assert found(verify(dump), "events.ndjson", 0, "is missing")


@pytest.mark.parametrize("stem", STEMS)
def test_something_else_in_a_files_place(dump: Path, stem: str) -> None:
    (dump / f"{stem}.ndjson").unlink()
    (dump / f"{stem}.ndjson").mkdir()
    assert found(verify(dump), f"{stem}.ndjson", 0, "is not a file")
    (dump / f"{stem}.ndjson").rmdir()
    os.mkfifo(dump / f"{stem}.ndjson")
    assert found(verify(dump), f"{stem}.ndjson", 0, "is not a file")


def test_what_does_not_belong_there(dump: Path) -> None:
    (dump / "checksums.ndjson.gz").write_bytes(b"")
    (dump / "corrections-1").mkdir()
    (dump / "journal.ndjson").write_bytes(b"")
    (dump / "README.txt").write_bytes(b"people may leave notes")
    assert [d.file for d in verify(dump).damages] == ["checksums.ndjson.gz", "corrections-1", "journal.ndjson"]


def test_a_file_without_line_ends_does_not_fill_the_memory(dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("harvester.dump.verify"), "LONGEST_LINE", 1 << 20)
    path = dump / "alerts.ndjson"
    path.write_bytes(b'{"id":1,"type":"' + b"x" * (3 << 20) + b'","created_at":""}\n' + path.read_bytes())
    verdict = verify(dump)
    assert found(verdict, "alerts.ndjson", 1, "not JSON")
    assert found(verdict, "alerts.ndjson", 0, "5 lines")


# Damaged manifests


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "records": (lambda m: m["files"]["files"].update(records=29), "totals.records"),
    "bytes": (lambda m: m["files"]["files"].update(bytes=29), "totals.bytes"),
    "totals": (lambda m: m["totals"].update(records=1), "totals.records"),
    "a walk's count": (lambda m: m["reconciliation"]["walks"]["objects"].update(found=5), "the walk of objects"),
    "expected more": (lambda m: m["reconciliation"]["walks"]["alerts"].update(expected=5), "short_walks"),
    "walk removed": (lambda m: m["reconciliation"]["walks"].pop("alerts"), "has no walk of alerts"),
    "walk of something else": (
        lambda m: m["reconciliation"]["walks"].update(items={"expected": 0, "found": 0}),
        "the walk of items",
    ),
    "incomplete without a reason": (lambda m: m.update(complete=False), "says incomplete"),
    "file removed": (lambda m: m["files"].pop("events"), "lists no file of events"),
    "objects removed": (lambda m: m["files"].pop("objects"), "lists no file of objects"),
    "file added": (lambda m: m["files"].update(deletions=m["files"]["alerts"]), "not in its scope"),
    "scope": (lambda m: m["scope"]["resources"].append("items"), "lists no file of work_items"),
    "compression": (lambda m: m.update(compression="gzip"), "where compression is gzip"),
    "no such compression": (lambda m: m.update(compression="lzma"), "compression"),
    "name": (lambda m: m["files"]["alerts"].update(name="../../alerts.ndjson"), "names ../../alerts.ndjson"),
    "horizon": (lambda m: m.update(horizon="yesterday"), "horizon"),
    "unknown key": (lambda m: m.update(note="hello"), "not a manifest"),
    "missing key": (lambda m: m.pop("account"), "not a manifest"),
    "negative": (lambda m: m["files"]["files"].update(records=-1), "not a manifest"),
}


@pytest.mark.parametrize("sums", [False, True], ids=["as it lies", "checksums mended"])
@pytest.mark.parametrize("name", EDITS)
def test_an_edited_manifest(dump: Path, name: str, sums: bool) -> None:
    edit, word = EDITS[name]
    edit_manifest(dump, edit, sums=sums)
    verdict = verify(dump)
    assert found(verdict, MANIFEST, 0, word), verdict.damages
    if not sums and "not a manifest" not in str(verdict.damages):
        assert found(verdict, MANIFEST, 0, "changed since it was written")


def test_an_incomplete_dump_that_is_made_out_to_be_complete(tmp_path: Path) -> None:
    dump = Harvest(Collection(incomplete=True)).run(tmp_path / "out", FastDisk())
    verdict = verify(dump)
    assert verdict.sound
    assert not verdict.complete
    edit_manifest(dump, lambda m: m.update(complete=True))
    assert found(verify(dump), MANIFEST, 0, "says complete although it lists")


def test_a_gap_that_the_manifest_no_longer_admits(dump: Path) -> None:
    lines = read_lines(dump)
    del lines["files"][10:15]
    write_lines(dump, lines)
    forge(dump, COUNTS)
    failure = {"resource": "files", "rows": 0, "error": "", "object": 3, "identifier": ""}
    edit_manifest(dump, lambda m: m.update(failures=[failure], complete=False))
    assert verify(dump).damages == []
    edit_manifest(dump, lambda m: m.update(failures=[], complete=True))
    assert found(verify(dump), "objects.ndjson", 3, "says 4 files")


def test_another_schema_version(dump: Path) -> None:
    edit_manifest(dump, lambda m: m.update(schema_version=7), sums=False)
    assert found(verify(dump), MANIFEST, 0, "changed since it was written")
    write_sums(dump)
    with pytest.raises(DumpError, match="schema version 7"):
        verify(dump)


def test_checksums_missing_or_edited(dump: Path) -> None:
    path = dump / CHECKSUMS
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"0" * 64 + lines[1][64:], *lines[2:]]))
    assert found(verify(dump), CHECKSUMS, 2, "not what the manifest says")
    path.write_bytes(b"".join(lines[:-1]))
    assert found(verify(dump), CHECKSUMS, len(lines), "not what the manifest says")
    path.write_bytes(b"\xff\0")
    assert found(verify(dump), CHECKSUMS, 1, "not what the manifest says")
    path.unlink()
    assert found(verify(dump), CHECKSUMS, 0, "is missing")


STRANGE: list[Any] = [None, True, -1, 1 << 70, 1.5, "", "x", [], [[]], {}, {"a": 1}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


def test_no_manifest_makes_it_fall_over(dump: Path) -> None:
    manifest = orjson.loads((dump / MANIFEST).read_bytes())
    chance = random.Random(3)
    for path in places(manifest):
        for strange in chance.sample(STRANGE, 4):
            strange = strange if strange != 1 << 70 else 1 << 63
            (dump / MANIFEST).write_bytes(orjson.dumps(put(manifest, path, strange)))
            with suppress(KeyError, AttributeError, TypeError):
                write_sums(dump)
            try:
                verify(dump)
            except DumpError:
                assert path == ("schema_version",)


def test_no_record_makes_it_fall_over(dump: Path) -> None:
    lines = read_lines(dump)
    chance = random.Random(4)
    for stem in STEMS:
        for key in orjson.loads(lines[stem][1]):
            strange = chance.choice(STRANGE)
            number = chance.randint(1, len(lines[stem]))
            damaged = {name: list(content) for name, content in lines.items()}
            edit(damaged[stem], number, **{key: strange if strange != 1 << 70 else 1 << 63})
            write_lines(dump, damaged)
            forge(dump, COUNTS)
            verify(dump, deep=True)


# What the command says


def test_the_command(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(dump), "--json", "--deep"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert orjson.loads(out)["sound"] is True
    lines = read_lines(dump)
    lines["files"].pop(12)
    write_lines(dump, lines)
    assert run(["verify", str(dump)]) == 6
    said = capsys.readouterr().err
    assert "objects.ndjson:3: intellectual object 3 says 4 files" in said
    assert run(["verify", str(dump), "--json"]) == 6
    damages = orjson.loads(capsys.readouterr().out)["damages"]
    assert {"file", "line", "problem"} == damages[0].keys()


def test_the_command_on_an_incomplete_dump(tmp_path: Path) -> None:
    dump = Harvest(Collection(incomplete=True)).run(tmp_path / "out", FastDisk())
    assert run(["verify", str(dump), "--quiet"]) == 5


def test_what_a_killed_writer_left_is_no_dump(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    with pytest.raises(Crash):
        Harvest(COLLECTION).run(output, CrashingDisk(Moment(40, "after")))
    bury(output)
    assert published(output) == []
    (partial,) = partials(output)
    assert run(["verify", str(partial)]) == 1
    assert run(["verify", str(tmp_path / "nothing")]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "it has no manifest; finish it with harvester resume" in first
    assert "it has no manifest" in second


# Memory


@given(st.lists(st.lists(st.one_of(st.integers(1, 300), st.integers(1, 1 << 62)), max_size=50), max_size=20))
def test_ids_seen_are_known_again(batches: list[list[int]]) -> None:
    ids, known = id_set(), set[int]()
    for batch in batches:
        again = []
        for position, number in enumerate(batch):
            if number in known:
                again.append(position)
            known.add(number)
        assert ids.add(batch) == again
    assert all(number in ids for number in known)
    assert (1 << 63) not in ids


@pytest.mark.parametrize(("step", "bytes_each"), [(1, 0.5), (300, 4.0)], ids=["dense", "thin"])
def test_ids_seen_take_little_room(step: int, bytes_each: float) -> None:
    ids = id_set()
    count = 200_000
    tracemalloc.start()
    for start in range(1, count * step, 1000 * step):
        assert ids.add(range(start, start + 1000 * step, step)) == []
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / count < bytes_each
    assert ids.add(range(1, count * step + 1, step)) == list(range(count))


def id_set() -> Any:
    return import_module("harvester.dump.verify")._IdSet()
