"""The manifest: what a dump holds, how it was made, and whether it is everything.

Its JSON Schema is shipped next to this module. `write_schema` makes it anew when the classes below change;
a test tells when that was forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from harvester.dump.layout import MANIFEST, is_partial
from harvester.errors import DumpDamagedError, DumpError

SCHEMA_VERSION: Literal[1] = 1

SCHEMA_FILE = Path(__file__).with_name("manifest.schema.json")

STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, config=STRICT)
class FileSummary:
    """One NDJSON file: its name, records (lines), bytes and sha256 (hexadecimal) on disk, bytes uncompressed."""

    name: str
    records: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(ge=0)]
    ndjson_bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=STRICT)
class Scope:
    """What was asked for: the resources by the Registry's names, and the filters the objects had to pass."""

    resources: list[str]
    filters: list[tuple[str, str]]


@dataclass(frozen=True, config=STRICT)
class Registry:
    """The Registry harvested: its address and the version of its member API."""

    url: str
    api_version: str


@dataclass(frozen=True, config=STRICT)
class Totals:
    """Sums over all files."""

    records: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class Walk:
    """A list walked to its end: rows the Registry counts (expected), and rows received (found)."""

    expected: Annotated[int, Field(ge=0)]
    found: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class Failure:
    """A list that could not be fetched to its end, after `rows` rows; of an object, or (object 0) one of its own."""

    resource: str
    rows: Annotated[int, Field(ge=0)]
    error: str
    object: Annotated[int, Field(ge=0)] = 0
    identifier: str = ""


@dataclass(frozen=True, config=STRICT)
class Disagreement:
    """An object of which the rows received do not add up to what the Registry says of it."""

    resource: str
    object: Annotated[int, Field(ge=1)]
    identifier: str
    expected: dict[str, int]
    found: dict[str, int]


@dataclass(frozen=True, config=STRICT)
class Reconciliation:
    """What the Registry's own figures say about the rows received. `walks` by resource, the rest what is wrong."""

    walks: dict[str, Walk]
    short_walks: list[str] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)


@dataclass(frozen=True, config=STRICT)
class Software:
    """What made the dump."""

    harvester: str
    python: str


@dataclass(frozen=True, config=STRICT)
class Corrected:
    """An object that was asked for again at the end, and why."""

    object: Annotated[int, Field(ge=1)]
    why: Literal["failed", "disagreed", "updated", "missed"]


@dataclass(frozen=True, config=STRICT)
class Run:
    """How it went: the only part of a manifest in which two harvests of an unchanged collection differ.

    Requests count every attempt, over all the runs that it took; `reconciliation_requests` are those of
    them that asked again at the end. Seconds and bytes received are those of the last run.
    """

    finished_at: str
    seconds: Annotated[float, Field(ge=0)]
    requests: dict[str, Annotated[int, Field(ge=0)]]
    reconciliation_requests: Annotated[int, Field(ge=0)]
    retries: Annotated[int, Field(ge=0)]
    bytes_received: Annotated[int, Field(ge=0)]
    corrected: list[Corrected] = field(default_factory=list)


@dataclass(frozen=True, config=STRICT)
class Manifest:
    """The content of manifest.json, in its order.

    Times are text in UTC as the Registry writes them. `complete` is the claim that everything in scope
    that the Registry held at `horizon` is here exactly once; `failures` and `reconciliation` say what
    speaks against it.
    """

    complete: bool
    horizon: str
    registry: Registry
    account: str
    scope: Scope
    strategy: str
    order: str
    compression: Annotated[str, Field(pattern="^(none|gzip|zstd)$")]
    files: dict[str, FileSummary]
    totals: Totals
    reconciliation: Reconciliation
    failures: list[Failure]
    software: Software
    run: Run
    schema_version: Literal[1] = SCHEMA_VERSION


_SCHEMA: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of manifest.json, which the package ships as `dump/manifest.schema.json`."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "harvester manifest"}
    return head | {name: value for name, value in _SCHEMA.json_schema().items() if name != "title"}


def write_schema() -> None:
    """Bring the shipped schema up to date with the classes above."""
    SCHEMA_FILE.write_bytes(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as it is written: JSON, indented for people, schema_version first."""
    content = asdict(manifest)
    ordered = {"schema_version": content.pop("schema_version"), **content}
    return orjson.dumps(ordered, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def checksum_lines(digests: Mapping[str, str]) -> bytes:
    """The content of SHA256SUMS, as `sha256sum --check` reads it: digests by file name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def read_manifest(directory: Path) -> Manifest:
    """Read a dump's manifest. Raises DumpError if there is none, DumpDamagedError if it is not one."""
    path = directory / MANIFEST
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        mend = "finish it with harvester resume" if is_partial(directory) else ""
        raise DumpError("not a dump: it has no manifest", place=str(directory), mend=mend) from None
    except OSError as error:
        raise DumpError(error.strerror or str(error), place=str(path)) from None
    version = _version(content)
    if version not in (None, SCHEMA_VERSION):
        raise DumpError(
            f"manifest of schema version {version}, this harvester knows {SCHEMA_VERSION}",
            place=str(path),
            mend="use the version of harvester that made it, or a newer one",
        )
    try:
        return _SCHEMA.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DumpDamagedError(f"not a manifest of harvester's ({where}: {first['msg']})", place=str(path)) from None


def _version(content: bytes) -> object:
    try:
        manifest = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return manifest.get("schema_version") if isinstance(manifest, dict) else None
