"""A fixity and completeness audit, straight from the Registry: of a whole institution, or of a slice of its objects.

Hides which requests answer a question, and exactly. Counts are asked so that the Registry makes them anew
(`registry.counting`); files and events take no filter for objects, so a slice is read, and so is what no filter
finds: files without sha256, and objects that do not hold what they say. A question that cannot be answered, or
would take more than `AFFORDABLE` requests without `Rules.deep`, says so, and the others are answered all the same.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from harvester.ask.findings import (
    AFFORDABLE,
    USUAL,
    Answer,
    Audit,
    Concern,
    Finding,
    Plan,
    Query,
    Rules,
    Status,
    Tally,
)
from harvester.ask.fixity import REQUESTS as FIXITY_REQUESTS
from harvester.ask.fixity import fixity, lists
from harvester.ask.holdings import (
    ACTIVE,
    SWEPT_TWICE,
    Files,
    Objects,
    contradiction,
    empty_object,
    for_each,
    half_deleted,
    read_all_files,
    read_list,
    read_of_each,
)
from harvester.ask.signals import NewestFailures, failed_events, newest_failures, pending_deletions, stalled_items
from harvester.errors import (
    ChangedError,
    DeniedError,
    NotFoundError,
    ProtocolError,
    RegistryError,
    RequestError,
    TransientError,
)
from harvester.registry import BY_ID, Filter, Page, Record, RegistryClient, Resource, exact_count
from harvester.registry.counting import exact_parts
from harvester.registry.resources import FILES, OBJECTS
from harvester.registry.windows import micros

FIXITY = (Concern.UNCHECKED, Concern.OVERDUE)
BY_READING = (Concern.NO_SHA256, Concern.COUNTS)
OF_OBJECTS = (Concern.EMPTY_OBJECTS, Concern.HALF_DELETED)

UNANSWERABLE = (DeniedError, RequestError, NotFoundError, TransientError, ChangedError, ProtocolError)
"""What leaves one question without an answer; anything else ends the audit."""


async def audit(
    client: RegistryClient,
    filters: Sequence[Filter] = (),
    rules: Rules = USUAL,
    *,
    tell: Callable[[Plan], None] = lambda _: None,
) -> Audit:
    """Ask the questions of `rules.only` about the objects that match `filters`, and about what belongs to them.

    `tell` is told what is about to be asked, before the bulk of it is. Raises the errors of `RegistryClient.page`
    that concern the account or the whole Registry, or the first one if no question could be answered.
    """
    started = time.monotonic()
    work = _Audit(client, tuple(filters), rules)
    answers = await work.answers(tell)
    errors = [answer.error for answer in answers if answer.error is not None]
    if errors and not any(answer.status is Status.ANSWERED for answer in answers):
        raise errors[0]
    order = list(Concern)
    return Audit(
        filters=tuple(filters),
        rules=rules,
        asked_at=work.now,
        objects=work.objects_count,
        files=work.files_count,
        answers=tuple(sorted(answers, key=lambda answer: order.index(answer.question))),
        requests=sum(client.traffic.requests.values()),
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True)
class _Inquiry:
    """Questions that are answered together, and about how many requests that takes."""

    questions: Sequence[Concern]
    requests: int
    ask: Callable[[], Awaitable[Sequence[Answer]]]


class _Audit:
    """One audit. The institution is the one filter that all lists have; any other makes it one of a slice."""

    def __init__(self, client: RegistryClient, filters: tuple[Filter, ...], rules: Rules) -> None:
        self.now = datetime.now(UTC)
        self.objects_count: int | None = None
        self.files_count: int | None = None
        self._client = client
        self._filters = filters
        self._rules = rules
        self._common = tuple(pair for pair in filters if pair[0] == "institution_id")
        self._sliced = len(self._common) < len(filters)
        self._objects: Objects | None = None
        # What stood in the way of counting or reading objects, of counting the institution's files and failed events.
        self._no_objects: RegistryError | None = None
        self._no_files: RegistryError | None = None
        self._no_failures: RegistryError | None = None
        self._all_files = 0
        self._failures: NewestFailures | None = None

    async def answers(self, tell: Callable[[Plan], None]) -> list[Answer]:
        """Every question's answer, in no order."""
        counts = (self._count_objects, self._count_files, self._count_failures)
        await for_each(self._client, counts, lambda count: count())
        pages = self._pages(self.objects_count or 0)
        whole_reading = pages + self._sweep_requests()
        if self._sliced or (Concern.COUNTS in self._rules.only and self._affords(whole_reading)):
            if not self._affords(pages):
                return [Answer(each, Status.TOO_COSTLY, requests=pages) for each in self._rules.only]
            await self._read_objects()
        inquiries = self._inquiries(whole_reading)
        to_come = sum(inquiry.requests for inquiry in inquiries if self._affords(inquiry.requests))
        tell(Plan(self.objects_count, self.files_count, to_come, self._follow_ups()))
        answers: list[Answer] = []

        async def ask(inquiry: _Inquiry) -> None:
            answers.extend(await self._answer(inquiry))

        await for_each(self._client, inquiries, ask)
        return answers

    def _inquiries(self, whole_reading: int) -> list[_Inquiry]:
        """Everything to be asked, files by counting where that will do and by reading where they must be read."""
        wanted, objects = self._rules.only, self._objects
        found = [
            _Inquiry([Concern.FAILED_EVENTS], self._failures_to_read(), self._ask_failures),
            _Inquiry([Concern.WORK_ITEMS], 2, self._ask_work_items),
            _Inquiry(OF_OBJECTS, 2 if objects is None else 0, self._ask_objects),
            _Inquiry([Concern.DELETIONS], 1, self._ask_deletions),
        ]
        must_be_read = self._sliced or not wanted.isdisjoint(BY_READING)
        reading = self._sweep_requests() if objects is None else self._reading_requests(objects)
        cost = whole_reading if objects is None and Concern.COUNTS in wanted else reading
        if must_be_read and (self._sliced or self._affords(cost)):
            found.append(_Inquiry((*FIXITY, *BY_READING), cost, self._ask_by_reading))
        else:
            found.append(_Inquiry(FIXITY, FIXITY_REQUESTS, self._ask_fixity))
            found.append(_Inquiry(BY_READING, cost, self._ask_by_reading))
        chosen = [(inquiry, [each for each in inquiry.questions if each in wanted]) for inquiry in found]
        return [_Inquiry(questions, each.requests, each.ask) for each, questions in chosen if questions]

    async def _answer(self, inquiry: _Inquiry) -> Sequence[Answer]:
        """The answers of an inquiry, or why there are none."""
        if not self._affords(inquiry.requests):
            return [Answer(each, Status.TOO_COSTLY, requests=inquiry.requests) for each in inquiry.questions]
        try:
            if self._sliced and self._no_objects is not None:
                raise self._no_objects
            return [answer for answer in await inquiry.ask() if answer.question in inquiry.questions]
        except UNANSWERABLE as error:
            return [Answer(each, Status.FAILED, error=error) for each in inquiry.questions]

    def _affords(self, requests: int) -> bool:
        return self._rules.deep or requests <= AFFORDABLE

    def _pages(self, rows: int) -> int:
        return max(1, -(-rows // self._client.settings.per_page))

    def _sweep_requests(self) -> int:
        return self._pages(round(self._all_files * SWEPT_TWICE))

    def _reading_requests(self, objects: Objects) -> int:
        sweep = self._sweep_requests()
        return min(sweep, objects.requests(self._client.settings.per_page)) if self._sliced else sweep

    # What there is.

    async def _count_objects(self) -> None:
        """How many objects are in question, counted at this moment; its clock is the audit's."""
        (part,) = exact_parts(OBJECTS, self._filters)
        try:
            page = await self._page(OBJECTS, (*self._filters, *part), BY_ID[0], 1)
        except UNANSWERABLE as error:
            self._no_objects = error
            return
        self.objects_count, self.now = page.count, page.answered_at

    async def _count_files(self) -> None:
        try:
            self._all_files = await exact_count(self._client, FILES, (*self._common, ACTIVE))
        except UNANSWERABLE as error:
            self._no_files = error
            return
        self.files_count = None if self._sliced else self._all_files

    async def _count_failures(self) -> None:
        if Concern.FAILED_EVENTS not in self._rules.only:
            return
        try:
            self._failures = await newest_failures(self._client, self._common, self._rules.limit)
        except UNANSWERABLE as error:
            self._no_failures = error

    def _failures_to_read(self) -> int:
        if self._failures is None:
            return 0
        among = self._objects if self._sliced else None
        return self._failures.still_to_read(self._client.settings.per_page, among, deep=self._rules.deep)

    def _follow_ups(self) -> int:
        failed = 0 if self._failures is None else self._failures.count
        return failed if self._affords(failed) else 0

    async def _read_objects(self) -> None:
        """Read the objects in question. Those born meanwhile may come too; their counts are looked at again anyway."""
        if self._no_objects is not None:
            return
        objects = Objects(self._rules.limit)
        (part,) = exact_parts(OBJECTS, self._filters)
        try:
            await read_list(self._client, OBJECTS, (*self._filters, *part), objects.take)
        except UNANSWERABLE as error:
            self._no_objects = error
            return
        self._objects, self.objects_count = objects, len(objects)
        self.files_count = objects.files if self._sliced else self.files_count

    # The questions.

    async def _ask_by_reading(self) -> list[Answer]:
        """What the files themselves show, each read once."""
        if self._no_files is not None:
            raise self._no_files
        objects, rules = self._objects, self._rules
        files = Files(objects, micros(self._cutoff), rules.limit, of_slice=self._sliced)
        if self._sliced and objects is not None and self._reading_requests(objects) < self._sweep_requests():
            await read_of_each(self._client, FILES, objects, (ACTIVE,), files.take)
        else:
            await read_all_files(self._client, self._common, files.take)
        self.files_count = files.active
        of, more = files.active - files.glacier, {"glacier": files.glacier}
        never, late, no_sha256 = files.unchecked, files.overdue, files.no_sha256
        listed = lists(self._common, self._cutoff, never.count, files.glacier) if not self._sliced else (None, None)
        return [
            Answer(Concern.UNCHECKED, count=never.count, of=of, findings=never.first, more=more, listed_by=listed[0]),
            Answer(Concern.OVERDUE, count=late.count, of=of, findings=late.first, more=more, listed_by=listed[1]),
            Answer(Concern.NO_SHA256, count=no_sha256.count, of=files.active, findings=no_sha256.first),
            *([await self._ask_counts()] if Concern.COUNTS in rules.only else ()),
        ]

    async def _ask_counts(self) -> Answer:
        """Objects that do not fit their files, once those that changed while files were read are sorted out."""
        objects = self._objects
        if objects is None:
            return Answer(Concern.COUNTS, Status.FAILED, error=self._no_objects)
        found = Tally(self._rules.limit)

        async def look(number: int) -> None:
            finding = await contradiction(self._client, number)
            if finding is not None:
                found.add(number, finding)

        try:
            await for_each(self._client, objects.unbalanced, look)
        except UNANSWERABLE as error:
            return Answer(Concern.COUNTS, Status.FAILED, error=error)
        return Answer(Concern.COUNTS, count=found.count, of=len(objects), findings=found.first)

    async def _ask_fixity(self) -> list[Answer]:
        if self._no_files is not None:
            raise self._no_files
        return await fixity(self._client, self._common, self._cutoff, self._all_files, self._rules.limit)

    async def _ask_objects(self) -> list[Answer]:
        """Objects without files, and deleted ones with files, by the Registry's own count of active files."""
        if self._no_objects is not None:
            raise self._no_objects
        if self._objects is not None:
            tallies = (self._objects.empty, self._objects.half_deleted)
            return [
                Answer(question, count=tally.count, of=len(self._objects), findings=tally.first)
                for question, tally in zip(OF_OBJECTS, tallies, strict=True)
            ]
        empty = (*self._common, ACTIVE, ("file_count__lteq", "0"))
        deleted = (*self._common, ("state", "D"), ("file_count__gteq", "1"))
        return [
            await self._listed(Concern.EMPTY_OBJECTS, empty, "created_at__asc", empty_object),
            await self._listed(Concern.HALF_DELETED, deleted, "updated_at__asc", half_deleted),
        ]

    async def _listed(
        self, question: Concern, filters: Sequence[Filter], sort: str, finding: Callable[[Record], Finding]
    ) -> Answer:
        page = await self._page(OBJECTS, filters, sort, self._rules.limit)
        return Answer(
            question,
            count=page.count,
            of=self.objects_count,
            findings=tuple(map(finding, page.rows)),
            listed_by=Query(OBJECTS, tuple(filters), sort),
        )

    async def _ask_failures(self) -> list[Answer]:
        if self._failures is None:
            assert self._no_failures is not None
            raise self._no_failures
        among = self._objects if self._sliced else None
        return [await failed_events(self._client, self._failures, self._rules, among)]

    async def _ask_work_items(self) -> list[Answer]:
        among = self._objects if self._sliced else None
        return [await stalled_items(self._client, self._common, self.now, self._rules, among)]

    async def _ask_deletions(self) -> list[Answer]:
        """Of a slice it cannot be asked: the list does not say which objects a deletion is of."""
        if self._sliced:
            return [Answer(Concern.DELETIONS, Status.NOT_OF_A_SLICE)]
        return [await pending_deletions(self._client, self._common, self._rules.limit)]

    @property
    def _cutoff(self) -> datetime:
        return self.now - self._rules.max_fixity_age

    async def _page(self, resource: Resource, filters: Sequence[Filter], sort: str, per_page: int) -> Page:
        by = BY_ID if sort == BY_ID[0] else (sort, BY_ID[0])
        return await self._client.page(resource, filters=filters, sort=by, page=1, per_page=per_page)


__all__ = ["audit"]
