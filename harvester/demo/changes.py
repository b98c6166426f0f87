"""The collection changing under a client's feet: at once, or after so many more list requests.

Hides how a change keeps the rest true: a file's object is touched, counters follow by trigger, new ids lie above all
others, and everything a change writes becomes visible to readers at one instant.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from harvester.demo.collection import draw
from harvester.demo.database import COUNTED, OWN_INSTITUTION, RESOURCES, connect, micros, refresh_counts

Ids = dict[str, list[int]]
"""Ids that a change made or touched, by list."""


class PendingWorkError(ValueError):
    """The real server's refusal to begin work on an object while other work on it is under way."""

    def __init__(self) -> None:
        super().__init__("task cannot be completed because this object has pending work items")


class Change(Protocol):
    """One change; `apply` does it inside a transaction and says which ids it made or touched."""

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it; `now` is the stored form of the server's clock."""
        ...


@dataclass(frozen=True)
class InsertObject:
    """A new object, ingested now with its files, `events` a file and one event of its own."""

    files: int = 3
    events: int = 2
    identifier: str = ""
    title: str = "Ingested meanwhile"
    institution_id: int = OWN_INSTITUTION

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        number = _next_id(db, "objects")
        identifier = self.identifier or f"institution{self.institution_id - 1}.edu/new_{number}"
        db.execute(
            "INSERT INTO objects (id, institution_id, title, identifier, access, bag_name, created_at, updated_at,"
            " state, storage_option) VALUES (?, ?, ?, ?, 'institution', ?, ?, ?, 'A', 'Standard')",
            (number, self.institution_id, self.title, identifier, f"new_{number}", now, now),
        )
        event = _insert_event(db, number, None, "ingestion", now, now)
        made = _insert_files(db, number, self.files, self.events, now)
        return {"objects": [number], "files": made["files"], "events": [event, *made["events"]]}


@dataclass(frozen=True)
class InsertFiles:
    """More files, with `events` each, in an object that is already there."""

    object_id: int
    files: int = 3
    events: int = 2

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        made = _insert_files(db, self.object_id, self.files, self.events, now)
        _touch(db, "objects", self.object_id, now)
        return {"objects": [self.object_id], **made}


@dataclass(frozen=True)
class AddEvents:
    """More events on an object, or on one of its files; dated now unless said otherwise."""

    object_id: int
    events: int = 1
    file_id: int | None = None
    date_time: datetime | None = None
    event_type: str = "fixity check"

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        moment = now if self.date_time is None else micros(self.date_time)
        made = [
            _insert_event(db, self.object_id, self.file_id, self.event_type, moment, now) for _ in range(self.events)
        ]
        return {"events": made}


@dataclass(frozen=True)
class SoftDeleteFile:
    """A file's state becomes D; its object counts it no more."""

    file_id: int

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        _update(db, "files", self.file_id, "state = 'D', updated_at = ?", (now,))
        return {"files": [self.file_id]}


@dataclass(frozen=True)
class SoftDeleteObject:
    """The state of an object and of all its files becomes D."""

    object_id: int

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        _update(db, "objects", self.object_id, "state = 'D', updated_at = ?", (now,))
        where = (now, self.object_id)
        db.execute("UPDATE files SET state = 'D', updated_at = ? WHERE intellectual_object_id = ?", where)
        return {"objects": [self.object_id]}


@dataclass(frozen=True)
class UpdateObject:
    """An object gets another title."""

    object_id: int
    title: str = "Renamed meanwhile"

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        _update(db, "objects", self.object_id, "title = ?, updated_at = ?", (self.title, now))
        return {"objects": [self.object_id]}


@dataclass(frozen=True)
class InsertItem:
    """A new work item of an institution's own, on no object: what an ingest is at its beginning."""

    name: str = "new.tar"
    action: str = "Ingest"
    stage: str = "Receive"
    status: str = "Pending"
    note: str = "Item is in queue"
    institution_id: int = OWN_INSTITUTION

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        named = {"name": self.name, "action": self.action, "stage": self.stage, "status": self.status}
        return {"items": [_insert_item(db, now, institution_id=self.institution_id, note=self.note, **named)]}


@dataclass(frozen=True)
class RequestRestoration:
    """A restoration asked for by an administrator; PendingWorkError while other work on the object is under way.

    Suspended work is under way too, and so is work on a bag of the object's name: a re-ingest does not know its
    object yet. What lies in Glacier only is brought from there first.
    """

    object_id: int
    user: str = "admin@aptrust.org"

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        row = db.execute("SELECT institution_id, bag_name, storage_option FROM objects WHERE id = ?", (self.object_id,))
        found = row.fetchone()
        if found is None:
            raise LookupError(f"objects {self.object_id}")
        institution, bag, storage = found
        pending = db.execute(
            "SELECT count(*) FROM items WHERE institution_id = ? AND (intellectual_object_id = ? OR name = ?)"
            " AND status NOT IN ('Cancelled', 'Failed', 'Success')",
            (institution, self.object_id, f"{bag}.tar"),
        )
        if pending.fetchone()[0]:
            raise PendingWorkError
        number = _insert_item(
            db,
            now,
            institution_id=institution,
            intellectual_object_id=self.object_id,
            name=f"{bag}.tar",
            user=self.user,
            action="Glacier Restore" if storage.startswith("Glacier") else "Restore Object",
            stage="Requested",
            status="Pending",
            note="Not started",
            outcome="Not started",
            queued_at=now,
        )
        return {"items": [number]}


@dataclass(frozen=True)
class UpdateItem:
    """A work item moves on; what is None stays as it is."""

    item_id: int
    stage: str | None = None
    status: str | None = None
    outcome: str | None = None
    note: str | None = None

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        kept = "stage = COALESCE(?, stage), status = COALESCE(?, status), outcome = COALESCE(?, outcome)"
        values = (self.stage, self.status, self.outcome, self.note, now, now)
        _update(
            db, "items", self.item_id, f"{kept}, note = COALESCE(?, note), date_processed = ?, updated_at = ?", values
        )
        return {"items": [self.item_id]}


@dataclass(frozen=True)
class Vanish:
    """A row is really deleted; an object takes its files and events along, a file its events and checksums."""

    resource: str
    record_id: int

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        _known(self.resource)
        column = {"objects": "intellectual_object_id", "files": "generic_file_id"}.get(self.resource)
        if self.resource == "objects":
            db.execute(
                "DELETE FROM checksums WHERE generic_file_id IN"
                " (SELECT id FROM files WHERE intellectual_object_id = ?)",
                (self.record_id,),
            )
            db.execute("DELETE FROM files WHERE intellectual_object_id = ?", (self.record_id,))
        if self.resource == "files":
            db.execute("DELETE FROM checksums WHERE generic_file_id = ?", (self.record_id,))
        if column:
            db.execute(f"DELETE FROM events WHERE {column} = ?", (self.record_id,))  # noqa: S608
        gone = db.execute(f"DELETE FROM {self.resource} WHERE id = ?", (self.record_id,))  # noqa: S608
        if gone.rowcount != 1:
            raise LookupError(f"{self.resource} {self.record_id}")
        return {self.resource: [self.record_id]}


@dataclass(frozen=True)
class PutNull:
    """A NULL in a counted column; the hourly refresh that follows spoils the cached counts of the institution."""

    resource: str
    column: str
    record_id: int
    refresh: bool = True

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        if self.column not in COUNTED.get(self.resource, ()):
            raise ValueError(f"{self.resource}.{self.column} is not counted")
        _update(db, self.resource, self.record_id, f"{self.column} = NULL", ())
        if self.refresh:
            refresh_counts(db)
        return {self.resource: [self.record_id]}


@dataclass(frozen=True)
class RefreshCounts:
    """The hourly refresh of the cached counts; `off_by` makes them lie."""

    off_by: int = 0

    def apply(self, db: sqlite3.Connection, now: int) -> Ids:
        """Do it."""
        refresh_counts(db, self.off_by)
        return {}


KINDS: Mapping[str, Callable[..., Change]] = {
    kind.__name__: kind
    for kind in (
        InsertObject,
        InsertFiles,
        AddEvents,
        SoftDeleteFile,
        SoftDeleteObject,
        UpdateObject,
        InsertItem,
        RequestRestoration,
        UpdateItem,
        Vanish,
        PutNull,
        RefreshCounts,
    )
}


def change_from_json(order: Mapping[str, Any]) -> Change:
    """The change that `{"change": "InsertObject", ...}` stands for."""
    arguments = {key: value for key, value in order.items() if key != "change"}
    if arguments.get("date_time"):
        arguments["date_time"] = datetime.fromisoformat(arguments["date_time"])
    return KINDS[order["change"]](**arguments)


@dataclass
class _Scheduled:
    change: Change
    after: int
    path: str


class Changes:
    """The only writer of a running server's database. `applied` lists what was done and the ids of each."""

    def __init__(self, database: Path, clock: Callable[[], datetime]) -> None:
        self.applied: list[tuple[Change, Ids]] = []
        self._database = database
        self._clock = clock
        self._scheduled: list[_Scheduled] = []
        self._lock = asyncio.Lock()
        self._db: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Open the database for writing."""
        self._thread = ThreadPoolExecutor(1, "demo-writer")
        self._db = connect(self._database, writing=True)

    def close(self) -> None:
        """Close it; scheduled changes that are not due are forgotten."""
        if self._thread is not None:
            self._thread.shutdown()
        if self._db is not None:
            self._db.close()

    def schedule(self, change: Change, *, after: int, path: str = "") -> None:
        """Do this change once `after` more list requests (with `path` in their path and query) have arrived."""
        self._scheduled.append(_Scheduled(change, after, path))

    async def apply(self, change: Change) -> Ids:
        """Do this change now."""
        async with self._lock:
            return await self._apply(change)

    async def before_list(self, path_qs: str) -> None:
        """A list request has arrived: do what is due before it is answered."""
        due = []
        for order in self._scheduled[:]:
            if order.path in path_qs:
                if order.after == 0:
                    due.append(order.change)
                    self._scheduled.remove(order)
                order.after -= 1
        if due or self._lock.locked():
            async with self._lock:
                for change in due:
                    await self._apply(change)

    async def _apply(self, change: Change) -> Ids:
        assert self._thread is not None
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._write, change)
        ids = await asyncio.shield(work)
        self.applied.append((change, ids))
        return ids

    def _write(self, change: Change) -> Ids:
        assert self._db is not None
        with _transaction(self._db) as db:
            return change.apply(db, micros(self._clock()))


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _known(resource: str) -> None:
    if resource not in RESOURCES:
        raise LookupError(resource)


def _next_id(db: sqlite3.Connection, table: str) -> int:
    return int(db.execute(f"SELECT COALESCE(max(id), 0) + 1 FROM {table}").fetchone()[0])  # noqa: S608


def _update(db: sqlite3.Connection, table: str, number: int, assignment: str, values: Sequence[object]) -> None:
    _known(table)
    done = db.execute(f"UPDATE {table} SET {assignment} WHERE id = ?", (*values, number))  # noqa: S608
    if done.rowcount != 1:
        raise LookupError(f"{table} {number}")


def _touch(db: sqlite3.Connection, table: str, number: int, now: int) -> None:
    _update(db, table, number, "updated_at = ?", (now,))


def _insert_files(db: sqlite3.Connection, object_id: int, files: int, events: int, now: int) -> Ids:
    row = db.execute("SELECT institution_id, identifier, storage_option FROM objects WHERE id = ?", (object_id,))
    found = row.fetchone()
    if found is None:
        raise LookupError(f"objects {object_id}")
    institution, identifier, storage = found
    made: Ids = {"files": [], "events": []}
    for _ in range(files):
        number = _next_id(db, "files")
        db.execute(
            "INSERT INTO files VALUES (?, ?, ?, 'text/plain', ?, ?, 'A', ?, ?, ?, NULL, ?, ?)",
            (
                number,
                institution,
                object_id,
                1000 + number % 1000,
                f"{identifier}/data/new_{number}.txt",
                now,
                storage,
                _uuid(number),
                now,
                now,
            ),
        )
        made["files"].append(number)
        made["events"] += [_insert_event(db, object_id, number, "ingestion", now, now) for _ in range(events)]
    return made


def _insert_event(
    db: sqlite3.Connection, object_id: int, file_id: int | None, event_type: str, moment: int, now: int
) -> int:
    found = db.execute("SELECT institution_id FROM objects WHERE id = ?", (object_id,)).fetchone()
    if found is None:
        raise LookupError(f"objects {object_id}")
    number = _next_id(db, "events")
    db.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, 'Success', ?, NULL, 1, 2, 3, NULL, 4, ?, ?)",
        (number, found[0], object_id, file_id, event_type, moment, _uuid(number), now, now),
    )
    return number


def _insert_item(db: sqlite3.Connection, now: int, *, institution_id: int, **columns: object) -> int:
    number = _next_id(db, "items")
    values = {
        "id": number,
        "institution_id": institution_id,
        "etag": f"{draw(0, number, 3):016x}{draw(0, number, 4):016x}",
        "bucket": f"aptrust.receiving.institution{institution_id - 1}.edu",
        "user": f"user@inst{institution_id - 1}.edu",
        "size": 1000 + number,
        "retry": True,
        "date_processed": now,
        "created_at": now,
        "updated_at": now,
    } | columns
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    db.execute(f"INSERT INTO items ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608
    return number


def _uuid(number: int) -> str:
    high, low = draw(0, number, 1), draw(0, number, 2)
    return (
        f"{high >> 32:08x}-{high >> 16 & 0xFFFF:04x}-4{high & 0xFFF:03x}-8{low >> 52:03x}-{low & 0xFFFFFFFFFFFF:012x}"
    )
