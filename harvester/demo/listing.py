"""A list request's query string, read as the real server reads it.

Hides which filters and operators each list takes, which errors a wrong one gets, how pages are cut (the offset is
computed before the cap), how rows without a tie-breaker wander between pages, and where `count` comes from.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlencode

from harvester.demo.database import (
    BATCH,
    COUNTED,
    RESOURCES,
    Column,
    Entry,
    Resource,
    cached_count,
    entries,
    parse_time,
)

DEFAULT_PER_PAGE = 20
MAX_PER_PAGE = 1000


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FILTERS = MappingProxyType(
    {
        "objects": _names(
            "access alt_identifier alt_identifier__starts_with bag_group_identifier"
            " bag_group_identifier__starts_with bagit_profile_identifier created_at__gteq"
            " created_at__lteq etag file_count__gteq file_count__lteq identifier identifier__starts_with"
            " internal_sender_identifier size__gteq size__lteq state storage_option updated_at__gteq"
            " updated_at__lteq institution_id bag_name institution_parent_id internal_sender_description"
            " source_organization"
        ),
        "files": _names(
            "created_at__gteq created_at__lteq identifier intellectual_object_id last_fixity_check__gteq"
            " last_fixity_check__lteq size__gteq size__lteq state storage_option storage_option__in"
            " updated_at__gteq updated_at__lteq uuid institution_id"
        ),
        "events": _names(
            "date_time__gteq date_time__lteq event_type generic_file_id generic_file_id__is_null"
            " generic_file_identifier identifier intellectual_object_id intellectual_object_identifier"
            " outcome institution_id"
        ),
        "items": _names(
            "action action__in alt_identifier bag_date__gteq bag_date__lteq bag_group_identifier"
            " bagit_profile_identifier bucket date_processed__gteq date_processed__lteq etag"
            " generic_file_id generic_file_id__is_null generic_file_identifier institution_id"
            " intellectual_object_id intellectual_object_id__is_null name needs_admin_review"
            " node__is_null node__not_null object_identifier queued_at__is_null queued_at__not_null"
            " retry size__gteq size__lteq stage stage__in status status__in storage_option user"
        ),
        "checksums": _names(
            "algorithm datetime__gteq datetime__lteq digest generic_file_id generic_file_identifier"
            " intellectual_object_id state institution_id"
        ),
        "deletions": _names("requested_at__gteq requested_at__lteq institution_id"),
        "alerts": _names("created_at__gteq created_at__lteq type user_id institution_id"),
    }
)
"""What each list accepts; anything else is answered with 500."""

DEFAULT_SORT = MappingProxyType(
    {
        "objects": "updated_at__desc",
        "files": "updated_at__desc",
        "events": "date_time__desc",
        "items": "updated_at__desc",
        "checksums": "datetime__desc",
        "deletions": "requested_at__desc",
        "alerts": "created_at__desc",
    }
)
_PAGING = frozenset({"page", "per_page", "sort"})
_NOT_NULL = frozenset({"id", "institution_id", "created_at", "updated_at", "intellectual_object_id"})
_SIGNED = re.compile(r"[+-]?\d+", re.ASCII)


class QueryError(Exception):
    """The server's database refused the question: answered with 500 and this text."""


class ForbiddenError(Exception):
    """The question was for another institution."""

    def __init__(self, institution_id: int) -> None:
        super().__init__(institution_id)
        self.institution_id = institution_id


@dataclass(frozen=True)
class Listing:
    """One list request, understood."""

    resource: Resource
    institution_id: int | None
    where: str
    parameters: tuple[object, ...]
    order: str
    page: int
    per_page: int
    filters: dict[str, str] = field(default_factory=dict)
    query: tuple[tuple[str, str], ...] = ()

    @property
    def unlimited(self) -> bool:
        """Whether the whole list is asked for in one body."""
        return self.per_page <= 0

    @property
    def offset(self) -> int:
        """Rows skipped: by the page size asked for, not the one given. The real server's mistake."""
        return 0 if self.unlimited else (self.page - 1) * self.per_page

    @property
    def limit(self) -> int:
        """Rows given at most; -1 is no limit."""
        return -1 if self.unlimited else min(self.per_page, MAX_PER_PAGE)

    @property
    def count_is_cached(self) -> bool:
        """Whether `count` comes from the hourly table."""
        counted = COUNTED.get(self.resource.name)
        known = {"institution_id", *(counted or ())}
        return counted is not None and self.institution_id is not None and self.filters.keys() <= known

    def count(self, connection: sqlite3.Connection) -> int:
        """The `count` of the answer; QueryError if a NULL has spoilt the cached counts."""
        if self.count_is_cached and self.institution_id is not None:
            try:
                return cached_count(connection, self.resource.name, self.institution_id, self.filters)
            except ValueError as error:
                raise QueryError(str(error)) from error
        statement = f"SELECT count(*) FROM {self.resource.source} WHERE {self.where}"  # noqa: S608
        return int(connection.execute(statement, self.parameters).fetchone()[0])

    def batches(self, connection: sqlite3.Connection) -> Generator[list[Entry], None, None]:
        """The page's entries, at most 1,000 at a time."""
        # Ids first, then whole rows by id: skipped rows never leave the index.
        statement = (
            f"SELECT t.id FROM {self.resource.source} WHERE {self.where} ORDER BY {self.order}"  # noqa: S608
            f" LIMIT {self.limit} OFFSET {self.offset}"
        )
        with closing(connection.execute(statement, self.parameters)) as cursor:
            while ids := [row[0] for row in cursor.fetchmany(BATCH)]:
                yield entries(connection, self.resource, ids)
                if len(ids) < BATCH:
                    return

    def links(self, count: int) -> tuple[str, str]:
        """`next` and `previous`, relative to the server: as far as `count` is right, so are they."""
        following = count > self.offset + max(self.per_page, 0) and not self.unlimited
        return (
            self._link(self.page + 1) if following else "",
            self._link(self.page - 1) if self.page > 1 else "",
        )

    def _link(self, page: int) -> str:
        pairs = [pair for pair in self.query if pair[0] not in ("page", "per_page")]
        pairs += [("page", str(page)), ("per_page", str(self.per_page))]
        return f"/member-api/v3/{self.resource.name}?{urlencode(sorted(pairs, key=lambda pair: pair[0]))}"


def understand(name: str, pairs: Sequence[tuple[str, str]], own: int | None) -> Listing:
    """The listing that these query parameters ask for; QueryError or ForbiddenError as the real server decides.

    `own` is the institution of whoever asks; None for APTrust's administrators, who see all. How their lists over
    all institutions are counted was not observed: here row by row.
    """
    resource, values = RESOURCES[name], _grouped(pairs)
    unknown = [key for key in values if key not in FILTERS[name] and key not in _PAGING]
    if unknown:
        raise QueryError(f"Invalid query params: {', '.join(sorted(unknown))}")
    filters = {key: found[0] for key, found in values.items() if key not in _PAGING}
    institution_id = _institution(filters, own)
    clauses = ["t.institution_id = ?" if institution_id is not None else "1"]
    arguments: list[object] = [] if institution_id is None else [institution_id]
    for key in filters:
        clause, bound = _condition(resource, key, values[key])
        clauses.append(clause)
        arguments += bound
    page = max(1, _whole(values.get("page", ["1"])[0], 1))
    per_page = _whole(values["per_page"][0], 0) if "per_page" in values else DEFAULT_PER_PAGE
    return Listing(
        resource=resource,
        institution_id=institution_id,
        where=" AND ".join(clauses),
        parameters=tuple(arguments),
        order=_order(resource, values.get("sort", [DEFAULT_SORT[name]]), filters, page),
        page=page,
        per_page=per_page,
        filters=filters,
        query=tuple(pairs),
    )


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Values by name, empty ones ignored."""
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        if value:
            values.setdefault(key, []).append(value)
    return values


def _institution(filters: dict[str, str], own: int | None) -> int | None:
    """Whose rows are listed; None is everybody's."""
    asked = filters.get("institution_id")
    if asked is None:
        return own
    number = _integer(asked)
    if own is not None and number != own:
        raise ForbiddenError(number)
    return number


def _whole(text: str, otherwise: int) -> int:
    return int(text) if _SIGNED.fullmatch(text) and len(text) < 19 else otherwise


def _integer(text: str) -> int:
    if not _SIGNED.fullmatch(text):
        raise QueryError(f'ERROR #22P02 invalid input syntax for type bigint: "{text}"')
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise QueryError(f'ERROR #22003 value "{text}" is out of range for type bigint')
    return number


def _value(column: Column, text: str) -> object:
    if column.kind == "integer":
        return _integer(text)
    if column.kind == "time":
        moment = parse_time(text)
        if moment is None:
            raise QueryError(f'ERROR #22007 invalid input syntax for type timestamp with time zone: "{text}"')
        return moment
    return _boolean(text) if column.kind == "boolean" else text


def _boolean(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("true", "t", "yes", "y", "on", "1"):
        return True
    if lowered in ("false", "f", "no", "n", "off", "0"):
        return False
    raise QueryError(f'ERROR #22P02 invalid input syntax for type boolean: "{text}"')


def _condition(resource: Resource, key: str, values: Sequence[str]) -> tuple[str, list[object]]:
    """SQL for one filter. Of repeated values the first counts, except for `__in`."""
    name, _, operator = key.partition("__")
    if resource.name == "items" and name == "user":
        # Unquoted `user` is the database's own login name in PostgreSQL: it equals nobody's e-mail.
        return "? = 'registry'", [values[0]]
    column = resource.by_name[name]
    sql, first = column.sql, values[0]
    if operator == "in":
        return f"{sql} IN ({', '.join('?' * len(values))})", [_value(column, value) for value in values]
    if operator in ("is_null", "not_null"):
        null = _boolean(first) == (operator == "is_null")
        return f"{sql} IS {'' if null else 'NOT '}NULL", []
    if operator == "starts_with":
        return f"fold({sql}) LIKE ? ESCAPE '\\'", [f"{first.lower()}%"]
    comparison = {"": "=", "gteq": ">=", "lteq": "<="}[operator]
    return f"{sql} {comparison} ?", [_value(column, first)]


def _order(resource: Resource, sorts: Sequence[str], filters: dict[str, str], page: int) -> str:
    terms, tied = [], True
    for sort in sorts:
        name, _, direction = sort.partition("__")
        column = resource.by_name.get(name)
        if column is None:
            raise QueryError(f'ERROR #42703 column "{name}" does not exist')
        down = direction == "desc"
        term = f"{column.sql} {'DESC' if down else 'ASC'}"
        excluded = any(key.startswith(f"{name}__") for key in filters)
        if name not in _NOT_NULL and not excluded:
            # PostgreSQL sorts NULLs as the largest values, SQLite as the smallest. Said only where NULLs can be:
            # it keeps SQLite from using an index.
            term += " NULLS FIRST" if down else " NULLS LAST"
        terms.append(term)
        tied = tied and name != "id"
    if tied:
        # PostgreSQL promises nothing about ties and does differ from page to page; so that no client gets away
        # with trusting it, here every page shuffles them its own way.
        terms += [f"(t.id % 1000003) * {7919 + page * 104} % 10007", "t.id"]
    return ", ".join(terms)
