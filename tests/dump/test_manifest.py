"""The manifest, and the schema of it that is shipped."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from harvester.dump import Codec, read_manifest
from harvester.dump.manifest import SCHEMA_FILE, json_schema, manifest_bytes
from harvester.errors import DumpDamagedError, DumpError
from tests.dump.crashing import FastDisk
from tests.dump.synthetic import Collection, Harvest

REGENERATE = 'python -c "from harvester.dump.manifest import write_schema; write_schema()"'


@pytest.fixture(scope="session")
def schema() -> Draft202012Validator:
    shipped = orjson.loads(SCHEMA_FILE.read_bytes())
    Draft202012Validator.check_schema(shipped)
    return Draft202012Validator(shipped)


def test_the_shipped_schema_is_up_to_date() -> None:
    assert orjson.loads(SCHEMA_FILE.read_bytes()) == json_schema(), f"out of date; run: {REGENERATE}"


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("incomplete", [False, True])
def test_manifests_follow_the_schema(
    schema: Draft202012Validator, tmp_path: Path, codec: Codec, incomplete: bool
) -> None:
    dump = Harvest(Collection(incomplete=incomplete, corrected=True), codec).run(tmp_path, FastDisk())
    assert list(schema.iter_errors(orjson.loads((dump / "manifest.json").read_bytes()))) == []


def test_written_and_read_back(tmp_path: Path) -> None:
    dump = Harvest().run(tmp_path, FastDisk())
    content = (dump / "manifest.json").read_bytes()
    assert manifest_bytes(read_manifest(dump)) == content
    assert content.startswith(b'{\n  "schema_version": 1,')


WRONG: dict[str, dict[str, Any]] = {
    "unknown key": {"note": ""},
    "type": {"complete": "yes"},
    "negative": {"totals": {"records": -1, "bytes": 0}},
    "compression": {"compression": "lzma"},
    "no object": {"files": []},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_manifest_is_refused_by_both(schema: Draft202012Validator, tmp_path: Path, name: str) -> None:
    dump = Harvest().run(tmp_path, FastDisk())
    manifest = copy.deepcopy(orjson.loads((dump / "manifest.json").read_bytes())) | WRONG[name]
    assert list(schema.iter_errors(manifest)) != []
    (dump / "manifest.json").write_bytes(orjson.dumps(manifest))
    with pytest.raises(DumpDamagedError, match="not a manifest of harvester's"):
        read_manifest(dump)


def test_no_manifest_at_all(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="not a dump"):
        read_manifest(tmp_path)
    with pytest.raises(DumpError, match="not a dump"):
        read_manifest(tmp_path / "nowhere")
