"""What an audit asks and what it is answered: facts only, no sentences.

Hides how the findings of a collection of any size are kept in little memory: all are counted, and the first few in
an order of the question's own are kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from harvester.errors import RegistryError
from harvester.registry import Filter, Resource

AFFORDABLE = 200
"""Requests that one question may take without `deep`: forty seconds at the usual rate."""


class Concern(StrEnum):
    """The questions of an audit, in the order in which they are told."""

    UNCHECKED = "unchecked"
    OVERDUE = "overdue"
    NO_SHA256 = "no_sha256"
    FAILED_EVENTS = "failed_events"
    EMPTY_OBJECTS = "empty_objects"
    HALF_DELETED = "half_deleted"
    COUNTS = "counts"
    DELETIONS = "deletions"
    WORK_ITEMS = "work_items"


class Status(StrEnum):
    """Whether a question was answered, and if not, why."""

    ANSWERED = "answered"
    TOO_COSTLY = "too_costly"
    FAILED = "failed"
    NOT_OF_A_SLICE = "not_of_a_slice"


@dataclass(frozen=True)
class Rules:
    """What counts as a finding, which questions are asked, and how many findings of each are kept.

    `deep` asks also what takes many requests.
    """

    max_fixity_age: timedelta = timedelta(days=90)
    stalled_after: timedelta = timedelta(days=7)
    limit: int = 5
    only: frozenset[Concern] = frozenset(Concern)
    deep: bool = False


USUAL = Rules()


@dataclass(frozen=True)
class Finding:
    """One record that an audit points at. `since` is a Registry time, or "" where none is known."""

    id: int
    identifier: str
    since: str
    detail: str


@dataclass(frozen=True)
class Query:
    """The list that a question's findings are in; with `limit`, its first so many rows."""

    resource: Resource
    filters: tuple[Filter, ...]
    sort: str
    limit: int | None = None


@dataclass(frozen=True)
class Answer:
    """What became of one question.

    `count` findings of `of` records, the first of them in `findings`; `more` are further numbers that belong to the
    answer. `requests` is what a question would take that was too costly, `error` why one failed.
    """

    question: Concern
    status: Status = Status.ANSWERED
    count: int = 0
    of: int | None = None
    findings: tuple[Finding, ...] = ()
    more: Mapping[str, int] = field(default_factory=dict)
    listed_by: Query | None = None
    requests: int = 0
    error: RegistryError | None = None


@dataclass(frozen=True)
class Plan:
    """What an audit is about to do: objects in question (None: not known), active files, requests still to come.

    `follow_ups` are at most how many requests come on top of these, to find out whether failed events were mended.
    """

    objects: int | None
    files: int | None
    requests: int
    follow_ups: int


@dataclass(frozen=True)
class Audit:
    """A whole audit: its answers in the order of `Concern`, and what was asked, when, at what cost."""

    filters: tuple[Filter, ...]
    rules: Rules
    asked_at: datetime
    objects: int | None
    files: int | None
    answers: tuple[Answer, ...]
    requests: int
    seconds: float

    @property
    def found(self) -> int:
        """Findings of all questions."""
        return sum(answer.count for answer in self.answers)

    @property
    def complete(self) -> bool:
        """Whether every question that can be asked of this slice was answered."""
        return all(answer.status in (Status.ANSWERED, Status.NOT_OF_A_SLICE) for answer in self.answers)


class Tally:
    """Counts findings and keeps the `limit` with the lowest rank."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self._limit = limit
        self._kept: list[tuple[int, int, Finding]] = []  # a heap with the highest rank first

    def add(self, rank: int, finding: Finding) -> None:
        """Count it; equal ranks go by id."""
        self.count += 1
        entry = (-rank, -finding.id, finding)
        if len(self._kept) < self._limit:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    @property
    def first(self) -> tuple[Finding, ...]:
        """Those that were kept, lowest rank first."""
        return tuple(finding for *_, finding in sorted(self._kept, key=lambda entry: entry[:2], reverse=True))


def counted(count: int, noun: str) -> str:
    """1 file, 2 files."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def first_error(group: BaseException) -> BaseException:
    """The error that stopped a TaskGroup, out of its groups within groups."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
