"""The demo Registry's data: tables, and how a row becomes an entry of the API.

Hides SQL from the rest of the room: names and order of every entry's keys, what NULL turns into, how times are
stored (whole microseconds since 1970) and printed, counters kept per object, and the table of cached counts.
"""

from __future__ import annotations

import functools
import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

Entry = dict[str, Any]
"""One record as the API gives it: keys in the API's order, nothing None."""

OWN_INSTITUTION = 2
BATCH = 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZERO_TIME = "0001-01-01T00:00:00Z"

TABLES = """
CREATE TABLE institutions (id INTEGER PRIMARY KEY, name TEXT, identifier TEXT, type TEXT, parent_id INTEGER);
CREATE TABLE users (id INTEGER PRIMARY KEY, institution_id INTEGER, name TEXT, email TEXT);
CREATE TABLE phrases (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE objects (
    id INTEGER PRIMARY KEY, institution_id INTEGER NOT NULL, title TEXT, description TEXT,
    identifier TEXT NOT NULL, alt_identifier TEXT, access TEXT, bag_name TEXT, created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL, state TEXT, etag TEXT, bag_group_identifier TEXT, storage_option TEXT NOT NULL,
    bagit_profile_identifier TEXT, source_organization TEXT, internal_sender_identifier TEXT,
    internal_sender_description TEXT, active_files INTEGER NOT NULL DEFAULT 0,
    active_bytes INTEGER NOT NULL DEFAULT 0, payload_files INTEGER NOT NULL DEFAULT 0,
    payload_bytes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE files (
    id INTEGER PRIMARY KEY, institution_id INTEGER NOT NULL, intellectual_object_id INTEGER NOT NULL,
    file_format TEXT, size INTEGER, identifier TEXT NOT NULL, state TEXT, last_fixity_check INTEGER,
    storage_option TEXT NOT NULL, uuid TEXT, mtime INTEGER, created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, institution_id INTEGER NOT NULL, intellectual_object_id INTEGER NOT NULL,
    generic_file_id INTEGER, event_type TEXT, date_time INTEGER, outcome TEXT, identifier TEXT NOT NULL,
    old_uuid TEXT, agent, detail, object, outcome_detail, outcome_information, created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL);
CREATE TABLE checksums (
    id INTEGER PRIMARY KEY, institution_id INTEGER NOT NULL, generic_file_id INTEGER NOT NULL, algorithm TEXT NOT NULL,
    datetime INTEGER, digest TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
CREATE TABLE items (
    id INTEGER PRIMARY KEY, name TEXT, etag TEXT, institution_id INTEGER NOT NULL, intellectual_object_id INTEGER,
    generic_file_id INTEGER, bucket TEXT, user TEXT, note TEXT, action TEXT, stage TEXT, status TEXT, outcome TEXT,
    bag_date INTEGER, date_processed INTEGER, retry INTEGER, node TEXT, pid INTEGER, needs_admin_review INTEGER,
    queued_at INTEGER, size INTEGER, stage_started_at INTEGER, aptrust_approver TEXT, inst_approver TEXT,
    deletion_request_id INTEGER, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
CREATE TABLE deletions (
    id INTEGER PRIMARY KEY, institution_id INTEGER NOT NULL, requested_by_id INTEGER, requested_at INTEGER,
    confirmed_by_id INTEGER, confirmed_at INTEGER, cancelled_by_id INTEGER, cancelled_at INTEGER,
    file_count INTEGER, object_count INTEGER);
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY, institution_id INTEGER NOT NULL, user_id INTEGER NOT NULL, type TEXT, subject TEXT,
    content TEXT, deletion_request_id INTEGER, created_at INTEGER NOT NULL, sent_at INTEGER, read_at INTEGER);
CREATE TABLE cached_counts (
    resource TEXT NOT NULL, institution_id INTEGER NOT NULL, first TEXT, second TEXT, rows INTEGER NOT NULL);
"""

INDEXES = """
CREATE INDEX objects_institution ON objects (institution_id);
CREATE INDEX objects_created ON objects (institution_id, created_at);
CREATE INDEX objects_updated ON objects (institution_id, updated_at);
CREATE INDEX objects_identifier ON objects (identifier);
CREATE INDEX files_institution ON files (institution_id);
CREATE INDEX files_object ON files (intellectual_object_id);
CREATE INDEX files_created ON files (institution_id, created_at);
CREATE INDEX files_updated ON files (institution_id, updated_at);
CREATE INDEX files_identifier ON files (identifier);
CREATE INDEX events_institution ON events (institution_id);
CREATE INDEX events_object ON events (intellectual_object_id);
CREATE INDEX events_file ON events (generic_file_id);
CREATE INDEX events_date ON events (institution_id, date_time);
CREATE INDEX events_identifier ON events (identifier);
CREATE INDEX checksums_institution ON checksums (institution_id);
CREATE INDEX checksums_file ON checksums (generic_file_id, algorithm, datetime);
CREATE INDEX items_institution ON items (institution_id);
"""

# Counters are kept, not computed: a page of 1,000 objects must not aggregate 1,000 bags.
TRIGGERS = """
CREATE TRIGGER file_in AFTER INSERT ON files WHEN new.state = 'A' BEGIN
    UPDATE objects SET active_files = active_files + 1, active_bytes = active_bytes + COALESCE(new.size, 0),
        payload_files = payload_files + (instr(new.identifier, '/data/') > 0),
        payload_bytes = payload_bytes + (instr(new.identifier, '/data/') > 0) * COALESCE(new.size, 0)
    WHERE id = new.intellectual_object_id; END;
CREATE TRIGGER file_out AFTER DELETE ON files WHEN old.state = 'A' BEGIN
    UPDATE objects SET active_files = active_files - 1, active_bytes = active_bytes - COALESCE(old.size, 0),
        payload_files = payload_files - (instr(old.identifier, '/data/') > 0),
        payload_bytes = payload_bytes - (instr(old.identifier, '/data/') > 0) * COALESCE(old.size, 0)
    WHERE id = old.intellectual_object_id; END;
CREATE TRIGGER file_off AFTER UPDATE ON files WHEN old.state = 'A' BEGIN
    UPDATE objects SET active_files = active_files - 1, active_bytes = active_bytes - COALESCE(old.size, 0),
        payload_files = payload_files - (instr(old.identifier, '/data/') > 0),
        payload_bytes = payload_bytes - (instr(old.identifier, '/data/') > 0) * COALESCE(old.size, 0)
    WHERE id = old.intellectual_object_id; END;
CREATE TRIGGER file_on AFTER UPDATE ON files WHEN new.state = 'A' BEGIN
    UPDATE objects SET active_files = active_files + 1, active_bytes = active_bytes + COALESCE(new.size, 0),
        payload_files = payload_files + (instr(new.identifier, '/data/') > 0),
        payload_bytes = payload_bytes + (instr(new.identifier, '/data/') > 0) * COALESCE(new.size, 0)
    WHERE id = new.intellectual_object_id; END;
"""

FILL_COUNTERS = """
UPDATE objects SET active_files = c.files, active_bytes = c.bytes, payload_files = c.pfiles, payload_bytes = c.pbytes
FROM (SELECT intellectual_object_id AS id, count(*) AS files, sum(COALESCE(size, 0)) AS bytes,
             sum(instr(identifier, '/data/') > 0) AS pfiles,
             sum((instr(identifier, '/data/') > 0) * COALESCE(size, 0)) AS pbytes
      FROM files WHERE state = 'A' GROUP BY 1) AS c
WHERE c.id = objects.id
"""

Kind = Literal["text", "integer", "time", "boolean"]


@dataclass(frozen=True)
class Column:
    """One key of an entry and the SQL it comes from."""

    name: str
    sql: str
    kind: Kind

    @property
    def selected(self) -> str:
        """The SQL with NULL turned into the zero value, as Go does."""
        if self.kind == "text":
            return f"COALESCE({self.sql}, '')"
        return self.sql if self.kind == "time" else f"COALESCE({self.sql}, 0)"


@dataclass(frozen=True)
class Resource:
    """One list of the Registry: where its rows come from and the keys of its entries, in order."""

    name: str
    source: str
    columns: tuple[Column, ...]
    hidden: tuple[Column, ...] = ()

    @functools.cached_property
    def by_name(self) -> dict[str, Column]:
        """Every column that can be filtered or sorted by."""
        return {column.name: column for column in (*self.columns, *self.hidden)}

    @functools.cached_property
    def select(self) -> str:
        """The statement that gives whole rows for a JSON list of ids, in any order."""
        columns = ", ".join(column.selected for column in self.columns)
        return f"SELECT {columns} FROM {self.source} WHERE t.id IN (SELECT value FROM json_each(?))"  # noqa: S608

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The keys of an entry."""
        return tuple(column.name for column in self.columns)

    @functools.cached_property
    def times(self) -> tuple[str, ...]:
        """Keys whose value is a time."""
        return tuple(column.name for column in self.columns if column.kind == "time")

    @functools.cached_property
    def booleans(self) -> tuple[str, ...]:
        """Keys whose value is true or false."""
        return tuple(column.name for column in self.columns if column.kind == "boolean")


def _columns(text: str) -> tuple[Column, ...]:
    """Columns from lines `name[:kind] [sql]`; without SQL it is the table's column of that name."""
    kinds: dict[str, Kind] = {"i": "integer", "t": "time", "b": "boolean", "": "text"}
    found = []
    for line in text.strip().splitlines():
        head, _, sql = line.strip().partition(" ")
        name, _, kind = head.partition(":")
        found.append(Column(name, sql or f"t.{name}", kinds[kind]))
    return tuple(found)


def _phrase(name: str) -> str:
    # Most texts of events are a few sentences repeated millions of times: stored as numbers into `phrases`.
    number = f"(SELECT text FROM phrases WHERE phrases.id = t.{name})"  # noqa: S608
    return f"CASE typeof(t.{name}) WHEN 'integer' THEN {number} ELSE t.{name} END"


def _digest(algorithm: str) -> str:
    return (
        f"(SELECT digest FROM checksums c WHERE c.generic_file_id = t.id AND c.algorithm = '{algorithm}'"  # noqa: S608
        " ORDER BY c.datetime DESC, c.id DESC LIMIT 1)"
    )


RESOURCES = MappingProxyType(
    {
        resource.name: resource
        for resource in (
            Resource(
                "objects",
                "objects t LEFT JOIN institutions i ON i.id = t.institution_id",
                _columns("""
                    id:i
                    title
                    description
                    identifier
                    alt_identifier
                    access
                    bag_name
                    institution_id:i
                    created_at:t
                    updated_at:t
                    state
                    etag
                    bag_group_identifier
                    storage_option
                    bagit_profile_identifier
                    source_organization
                    internal_sender_identifier
                    internal_sender_description
                    institution_name i.name
                    institution_identifier i.identifier
                    institution_type i.type
                    institution_parent_id:i i.parent_id
                    file_count:i t.active_files
                    size:i CASE WHEN t.active_files > 0 THEN t.active_bytes END
                    payload_file_count:i t.payload_files
                    payload_size:i t.payload_bytes
                """),
            ),
            Resource(
                "files",
                "files t LEFT JOIN institutions i ON i.id = t.institution_id"
                " LEFT JOIN objects o ON o.id = t.intellectual_object_id",
                _columns(f"""
                    id:i
                    file_format
                    size:i
                    identifier
                    intellectual_object_id:i
                    object_identifier o.identifier
                    access o.access
                    state
                    last_fixity_check:t
                    institution_id:i
                    institution_name i.name
                    institution_identifier i.identifier
                    storage_option
                    uuid
                    mtime:t
                    md5 {_digest("md5")}
                    sha1 {_digest("sha1")}
                    sha256 {_digest("sha256")}
                    sha512 {_digest("sha512")}
                    created_at:t
                    updated_at:t
                """),
            ),
            Resource(
                "events",
                "events t LEFT JOIN institutions i ON i.id = t.institution_id"
                " LEFT JOIN objects o ON o.id = t.intellectual_object_id"
                " LEFT JOIN files f ON f.id = t.generic_file_id",
                _columns(f"""
                    id:i
                    agent {_phrase("agent")}
                    created_at:t
                    date_time:t
                    detail {_phrase("detail")}
                    event_type
                    generic_file_id:i
                    generic_file_identifier f.identifier
                    identifier
                    institution_id:i
                    institution_name i.name
                    intellectual_object_id:i
                    intellectual_object_identifier o.identifier
                    object {_phrase("object")}
                    old_uuid
                    outcome
                    outcome_detail {_phrase("outcome_detail")}
                    outcome_information {_phrase("outcome_information")}
                    updated_at:t
                """),
            ),
            Resource(
                "items",
                "items t LEFT JOIN institutions i ON i.id = t.institution_id"
                " LEFT JOIN objects o ON o.id = t.intellectual_object_id"
                " LEFT JOIN files f ON f.id = t.generic_file_id",
                _columns("""
                    id:i
                    name
                    etag
                    institution_id:i
                    institution_name i.name
                    institution_identifier i.identifier
                    intellectual_object_id:i
                    object_identifier o.identifier
                    alt_identifier o.alt_identifier
                    bag_group_identifier o.bag_group_identifier
                    storage_option o.storage_option
                    bagit_profile_identifier o.bagit_profile_identifier
                    source_organization o.source_organization
                    internal_sender_identifier o.internal_sender_identifier
                    generic_file_id:i
                    generic_file_identifier f.identifier
                    bucket
                    user
                    note
                    action
                    stage
                    status
                    outcome
                    bag_date:t
                    date_processed:t
                    retry:b
                    node
                    pid:i
                    needs_admin_review:b
                    queued_at:t
                    size:i
                    stage_started_at:t
                    aptrust_approver
                    inst_approver
                    deletion_request_id:i
                    created_at:t
                    updated_at:t
                """),
            ),
            Resource(
                "checksums",
                "checksums t LEFT JOIN files f ON f.id = t.generic_file_id",
                _columns("""
                    id:i
                    algorithm
                    datetime:t
                    digest
                    state f.state
                    generic_file_identifier f.identifier
                    generic_file_id:i
                    intellectual_object_id:i f.intellectual_object_id
                    institution_id:i
                    created_at:t
                    updated_at:t
                """),
            ),
            Resource(
                # The name and e-mail of who cancelled are those of who confirmed: the real view's own mistake.
                "deletions",
                "deletions t LEFT JOIN institutions i ON i.id = t.institution_id"
                " LEFT JOIN users r ON r.id = t.requested_by_id LEFT JOIN users c ON c.id = t.confirmed_by_id",
                _columns("""
                    id:i
                    institution_id:i
                    institution_name i.name
                    institution_identifier i.identifier
                    requested_by_id:i
                    requested_by_name r.name
                    requested_by_email r.email
                    requested_at:t
                    confirmed_by_id:i
                    confirmed_by_name c.name
                    confirmed_by_email c.email
                    confirmed_at:t
                    cancelled_by_id:i
                    cancelled_by_name c.name
                    cancelled_by_email c.email
                    cancelled_at:t
                    file_count:i
                    object_count:i
                """),
            ),
            Resource(
                "alerts",
                "alerts t LEFT JOIN institutions i ON i.id = t.institution_id LEFT JOIN users u ON u.id = t.user_id",
                _columns("""
                    id:i
                    institution_id:i
                    institution_name i.name
                    institution_identifier i.identifier
                    type
                    subject
                    content
                    deletion_request_id:i
                    created_at:t
                    user_id:i
                    user_name u.name
                    user_email u.email
                    sent_at:t
                    read_at:t
                """),
            ),
        )
    }
)
"""The seven lists by the name they have in the path."""

COUNTED = MappingProxyType(
    {"objects": ("state",), "files": ("state",), "events": ("event_type", "outcome"), "items": ("action",)}
)
"""Columns the cached counts are grouped by. A query that filters by nothing else gets its count from there."""

_FILE = Resource(
    "file",
    "files t",
    _columns("""
        id:i
        created_at:t
        updated_at:t
        file_format
        size:i
        identifier
        intellectual_object_id:i
        state
        last_fixity_check:t
        institution_id:i
        storage_option
        uuid
    """),
    _columns("mtime:t"),
)
_FILE_EVENT = Resource(
    "premis_event",
    "events t",
    _columns(f"""
        id:i
        created_at:t
        updated_at:t
        agent {_phrase("agent")}
        date_time:t
        detail {_phrase("detail")}
        event_type
        generic_file_id:i
        identifier
        institution_id:i
        intellectual_object_id:i
        object {_phrase("object")}
        old_uuid
        outcome
        outcome_detail {_phrase("outcome_detail")}
        outcome_information {_phrase("outcome_information")}
    """),
)
_FILE_CHECKSUM = Resource(
    "file_checksum",
    "checksums t",
    _columns("""
        id:i
        created_at:t
        updated_at:t
        algorithm
        datetime:t
        digest
        generic_file_id:i
    """),
)


def connect(database: Path, *, writing: bool = False) -> sqlite3.Connection:
    """A connection to an existing database that can be handed from thread to thread."""
    if not database.is_file():
        raise FileNotFoundError(database)
    connection = sqlite3.connect(database, check_same_thread=False, cached_statements=512, isolation_level=None)
    connection.create_function("fold", 1, _fold, deterministic=True)
    connection.execute("PRAGMA cache_size = -16000")
    connection.execute("PRAGMA busy_timeout = 30000")
    if writing:
        # Readers of a running server must not wait for a change, nor a change for them.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
    else:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _fold(text: str | None) -> str | None:
    # SQLite's own LIKE ignores case in ASCII only, PostgreSQL's ILIKE everywhere.
    return None if text is None else text.lower()


def micros(moment: datetime) -> int:
    """The stored form of a time."""
    return (moment - EPOCH) // timedelta(microseconds=1)


@functools.lru_cache(maxsize=1 << 16)
def iso(moment: int | None) -> str:
    """A stored time as Go prints it: UTC, fraction without trailing zeros, NULL as the year 1."""
    if moment is None:
        return ZERO_TIME
    seconds, fraction = divmod(moment, 1_000_000)
    text = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    return f"{text}.{fraction:06d}".rstrip("0") + "Z" if fraction else f"{text}Z"


_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?(Z|[+-]\d\d(?::?\d\d)?)?)?", re.IGNORECASE | re.ASCII
)


def parse_time(text: str) -> int | None:
    """The stored form of a date or time as PostgreSQL reads it, to the microsecond; None if it is neither."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
    except ValueError:
        return None
    offset = 0
    if zone and zone not in "Zz":
        offset = int(zone[1:3]) * 60 + int(zone[3:].strip(":") or 0)
        offset = -offset if zone[0] == "-" else offset
    return micros(moment) + round(float(f"0{fraction or ''}") * 1_000_000) - offset * 60_000_000


def entries(connection: sqlite3.Connection, resource: Resource, ids: Sequence[int]) -> list[Entry]:
    """The entries with these ids, in this order."""
    names, times, booleans = resource.names, resource.times, resource.booleans
    found: dict[int, Entry] = {}
    for row in connection.execute(resource.select, (json.dumps(ids),)):
        entry: Entry = dict(zip(names, row, strict=True))
        for name in times:
            entry[name] = iso(entry[name])
        for name in booleans:
            entry[name] = bool(entry[name])
        found[row[0]] = entry
    return [found[number] for number in ids if number in found]


def records(database: Path, resource: str, institution_id: int = OWN_INSTITUTION) -> Iterator[Entry]:
    """Every entry of a list of one institution exactly as the API gives it, by id, in bounded memory."""
    listed, last = RESOURCES[resource], -1
    with closing(connect(database)) as connection:
        while True:
            ids = [
                row[0]
                for row in connection.execute(
                    f"SELECT id FROM {resource} WHERE institution_id = ? AND id > ? ORDER BY id LIMIT ?",  # noqa: S608
                    (institution_id, last, BATCH),
                )
            ]
            if not ids:
                return
            yield from entries(connection, listed, ids)
            last = ids[-1]


def file_record(connection: sqlite3.Connection, number: int) -> Entry:
    """What `files/show` answers: the file with its events and checksums, newest first, and where it is stored."""
    (entry,) = entries(connection, _FILE, [number])
    entry["premis_events"] = _children(connection, _FILE_EVENT, number, "date_time DESC NULLS FIRST, id")
    entry["checksums"] = _children(connection, _FILE_CHECKSUM, number, "datetime DESC NULLS FIRST, id DESC")
    entry["storage_records"] = [
        {"id": number * 2 + copy, "generic_file_id": number, "url": f"https://localhost:9899/{bucket}/{entry['uuid']}"}
        for copy, bucket in enumerate(
            ("preservation-va", "preservation-or") if entry["storage_option"] == "Standard" else ("preservation-cold",)
        )
    ]
    row = connection.execute("SELECT mtime FROM files WHERE id = ?", (number,)).fetchone()
    entry["mtime"] = iso(row[0])
    return entry


def _children(connection: sqlite3.Connection, child: Resource, number: int, order: str) -> list[Entry]:
    table = child.source.split()[0]
    ids = connection.execute(f"SELECT id FROM {table} WHERE generic_file_id = ? ORDER BY {order}", (number,))  # noqa: S608
    return entries(connection, child, [row[0] for row in ids])


def refresh_counts(connection: sqlite3.Connection, off_by: int = 0) -> None:
    """Fill the table of cached counts, as the real server does hourly; `off_by` makes every count lie by that."""
    connection.execute("DELETE FROM cached_counts")
    for resource, columns in COUNTED.items():
        first, second = (columns[0], columns[1]) if len(columns) == 2 else (columns[0], None)
        grouped: list[tuple[int, str | None, str | None, int]] = connection.execute(
            f"SELECT institution_id, {first}, {second or 'NULL'}, count(*) FROM {resource} GROUP BY 1, 2, 3"  # noqa: S608
        ).fetchall()
        totals: dict[tuple[int, str | None, str | None, bool, bool], int] = {}
        for institution, one, two, rows in grouped:
            # "Any value" is stored as NULL, exactly like a value that is NULL: the cause of the real server's
            # "multiple rows in result set". The two flags keep the rows apart here.
            kinds: list[tuple[str | None, str | None, bool, bool]] = [
                (None, None, True, True),
                (one, None, False, True),
            ]
            if second:
                kinds += [(None, two, True, False), (one, two, False, False)]
            for a, b, any_a, any_b in kinds:
                key = (institution, a, b, any_a, any_b)
                totals[key] = totals.get(key, 0) + rows
        connection.executemany(
            "INSERT INTO cached_counts VALUES (?, ?, ?, ?, ?)",
            [
                (resource, institution, a, b, max(0, rows + off_by))
                for (institution, a, b, _, _), rows in totals.items()
            ],
        )


def cached_count(connection: sqlite3.Connection, resource: str, institution_id: int, filters: dict[str, str]) -> int:
    """The count that the hourly table gives; ValueError if a NULL in a counted column has spoilt it."""
    of_institution = (resource, institution_id)
    spoilt = connection.execute(
        "SELECT count(*) FROM cached_counts"
        " WHERE resource = ? AND institution_id = ? AND first IS NULL AND second IS NULL",
        of_institution,
    ).fetchone()[0]
    if spoilt > 1:
        raise ValueError("pg: multiple rows in result set")
    wanted = [filters.get(column) for column in COUNTED[resource]]
    first, second = (*wanted, None)[:2]
    row = connection.execute(
        "SELECT rows FROM cached_counts WHERE resource = ? AND institution_id = ? AND first IS ? AND second IS ?",
        (*of_institution, first, second),
    ).fetchone()
    return int(row[0]) if row else 0
