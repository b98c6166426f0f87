"""The sweep strategy: files and premis events listed for the whole institution, 1,000 a request.

Where the per-object strategy spends at least two requests an object, this one spends little more than a page
for each 1,000 rows, and keeps the Registry's offsets shallow. Rows arrive by time; a spool sorts them into the
order of the per-object strategy, object by object, and from there on everything is the same: the same commit,
checkpoints, reconciliation, the same bytes. Both strategies make one kind of dump, so that a night on which
`auto` decides otherwise shows in the manifest and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain, compress
from typing import Any

import orjson

from harvester.dump import Block, Heap, JournalState, Spool, own_id
from harvester.errors import ProtocolError, RegistryError, TransientError
from harvester.harvest.batch import Batch, encode, weight
from harvester.harvest.order import Lane, Pages, Turn
from harvester.harvest.pipeline import Pipeline, first_of
from harvester.harvest.progress import Progress
from harvester.harvest.saving import DiskThread
from harvester.harvest.scope import Scope
from harvester.registry import BY_ID, Filter, Page, Record, RegistryClient, Start, walk
from harvester.registry.resources import EVENTS, FILES, OBJECTS, PARENT_FILTER, Resource
from harvester.registry.windows import FIRST, LAST, Piece, Sweep, Window, micros

UNDATED = "0001-01-01T00:00:00Z"
"""How the Registry writes a date that is NULL. Such rows are in no window, and first where dates descend."""

LINES_A_BATCH = 1000

SPARE_LANES = 2
"""Lanes beyond the requests in flight: while one takes a page apart another must be there to use its slot."""

LATER = "-later"
"""Added to the stem of rows dated after the sweep began: they must not make up, in number, for any that are missing."""

LESS = "run it again later; with --strategy per-object only what fails is left out"
"""What can be done about a list that the Registry cannot give."""


class Sweeping:
    """One run over the lists of a scope into a spool, from where the spool's journal says that the last one ended."""

    def __init__(
        self,
        client: RegistryClient,
        scope: Scope,
        object_filters: tuple[Filter, ...],
        asked_at: datetime,
        spool: Spool,
        state: JournalState,
        progress: Progress,
        spent: Mapping[str, int],
        spool_bytes: int,
    ) -> None:
        cursor = state.checkpoint.cursor
        self._client = client
        self._scope = scope
        self._object_filters = object_filters
        self._spool = spool
        self._spent = spent
        self._spool_bytes = spool_bytes
        self._progress = progress
        self._per_page = client.settings.per_page
        self._heap = Heap()
        self._disk = DiskThread()
        self._spooling = asyncio.Lock()
        self._refused = False  # then rows are missing that windows and walks have left behind them
        self._objects = Start(*cursor.get("objects", (0, 0)))
        self.objects_count: int = cursor.get("objects_count", 0)
        self._objects_done: bool = cursor.get("objects_done", False)
        self._objects_error: RegistryError | None = None  # no strategy can do without the objects
        # By list and part of it: each part is counted once, by the first answer that holds all of it.
        self._counted: dict[str, dict[str, int]] = {path: dict(n) for path, n in cursor.get("counted", {}).items()}
        self._undated_done: list[str] = list(cursor.get("undated_done", []))
        now = micros(asked_at.replace(microsecond=999_999))
        self._second = asked_at.strftime("%Y-%m-%dT%H:%M:%S")
        begin = [Window(r, *ends) for r in scope.of_an_object for ends in ((FIRST, now), (now + 1, LAST))]
        self._whole = {window for window in begin if window.until == now}
        windows = [Window.of_json(window) for window in cursor["windows"]] if "windows" in cursor else begin
        pieces = [Piece(Window.of_json(window), page, count) for window, page, count in cursor.get("pieces", [])]
        if cursor.get("per_page") != self._per_page:  # the numbers of pages mean something else now
            windows += dict.fromkeys(piece.window for piece in pieces)
            pieces = []
        self._sweep = Sweep(
            self._window_page,
            self._take,
            self._per_page,
            client.settings.most_in_flight + SPARE_LANES,
            deque(windows),
            deque(pieces),
        )
        self.finished: bool = cursor.get("finished", False)

    async def run(self) -> None:
        """Sweep to the end. Raises what stopped it. Unless that is the disk, or rows that cannot be spooled, the spool
        then has all that came."""
        with self._disk:
            try:
                async with asyncio.TaskGroup() as group:
                    for walk_of in self._besides_windows():
                        group.create_task(walk_of)
                    group.create_task(self._sweep.run())
                self.finished = True
                await self._checkpoint()
            except BaseException as error:
                if self._may_checkpoint:
                    self._spool.checkpoint(self._heap, self._cursor())
                first = first_of(error) if isinstance(error, BaseExceptionGroup) else error
                if isinstance(first, TransientError | ProtocolError) and first is not self._objects_error:
                    first.mend = first.mend or LESS
                raise first from None

    def requests(self) -> dict[str, int]:
        """Requests by resource that the dump has cost so far."""
        now = self._client.traffic.requests
        return {name: self._spent.get(name, 0) + now[name] for name in sorted({*self._spent, *now})}

    def _besides_windows(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What is left to be walked that is in no window."""
        if not self._objects_done:
            yield self._walk_objects()
        for value in ("true", "false"):
            if EVENTS in self._scope.resources and value not in self._undated_done:
                yield self._take_undated(value)

    async def _walk_objects(self) -> None:
        async def fetch(number: int) -> Page:
            page = await self._client.page(
                OBJECTS, filters=self._object_filters, sort=BY_ID, page=number, per_page=self._per_page
            )
            self.objects_count = self._progress.objects_total = page.count
            return page

        async def take(page: Page) -> None:
            self._objects = Start(self._objects.rows + page.size, page.last_id)
            await self._take(OBJECTS, page.rows)

        # Pages that come out of turn are held as Python objects; while there are windows, they fill the slots.
        ahead = 1 if self._scope.of_an_object else self._client.settings.most_in_flight
        try:
            await walk(fetch, take, per_page=self._per_page, ahead=ahead, start=self._objects)
        except (TransientError, ProtocolError) as error:
            self._objects_error = error
            raise
        self._objects_done = True

    async def _take_undated(self, value: str) -> None:
        """The events without a date in one half of the partition."""
        filters = ((EVENTS.partition, value),)
        sort, number, undated = (f"{EVENTS.time_field}__desc", "id__asc"), 0, self._per_page
        while undated == self._per_page:
            number += 1
            page = await self._client.page(EVENTS, filters=filters, sort=sort, page=number, per_page=self._per_page)
            rows = [row for row in page.rows if row.get(EVENTS.time_field) == UNDATED]
            undated = len(rows)
            if undated < self._per_page:
                self._undated_done.append(value)
                self._count(EVENTS, f"{EVENTS.partition}={value}", (number - 1) * self._per_page + undated)
            await self._take(EVENTS, rows)

    async def _window_page(self, window: Window, number: int) -> Page:
        page = await self._client.page(
            window.resource, filters=window.filters, sort=window.sort, page=number, per_page=self._per_page
        )
        if window in self._whole:
            self._count(window.resource, "dated", page.count)
        return page

    def _count(self, resource: Resource, part: str, count: int) -> None:
        self._counted.setdefault(resource.path, {}).setdefault(part, count)

    @property
    def expected(self) -> dict[str, int]:
        """Rows by list that there were when the sweep began: the Registry's exact counts, and those without a date."""
        return {path: sum(parts.values()) for path, parts in self._counted.items()}

    async def _take(self, resource: Resource, rows: Sequence[Record]) -> None:
        """Put rows on the heap, at once; then wait for room on it if it is full."""
        try:
            self._put(resource, rows)
        except BaseException:
            self._refused = True  # and stays so, whatever other lanes put there before they are stopped
            raise
        self._progress.rows[resource.path] += len(rows)
        del rows  # as Python objects they take five times the memory, and the wait may be long
        if self._heap.size >= self._spool_bytes:
            async with self._spooling:
                if self._heap.size >= self._spool_bytes and self._may_checkpoint:
                    await self._checkpoint()

    @property
    def _may_checkpoint(self) -> bool:
        """False once there are rows that no checkpoint holds, though the next one would speak of them as spooled."""
        return self._disk.well and not self._refused

    def _put(self, resource: Resource, rows: Sequence[Record]) -> None:
        if not rows:
            return
        moments = _column(resource, rows, resource.time_field, str)
        stem, groups = resource.file_stem, [(resource.file_stem, rows)]
        if resource is not OBJECTS and max(moments)[:19] > self._second:
            is_later = [moment[:19] > self._second for moment in moments]
            at_first = [not later for later in is_later]
            groups = [(stem, list(compress(rows, at_first))), (stem + LATER, list(compress(rows, is_later)))]
        for name, some in groups:
            ids = [row["id"] for row in some]
            parents = ids if resource is OBJECTS else _column(resource, some, PARENT_FILTER, int)
            if min(parents, default=0) < 0:
                raise ProtocolError(f"{resource.path} with a negative {PARENT_FILTER!r}")
            notes = list(map(weight, some)) if resource is FILES else [0] * len(some)
            self._heap.add(name, parents, ids, notes, encode(some))

    async def _checkpoint(self) -> None:
        """Sort and write the heap while the others fill a new one."""
        heap, self._heap = self._heap, Heap()
        await self._disk.run(partial(self._spool.checkpoint, heap, self._cursor()))

    def _cursor(self) -> dict[str, Any]:
        """Where the sweep is. Written in another thread while it goes on, it must hold nothing that changes with it."""
        windows, pieces = self._sweep.open
        return {
            "objects": [self._objects.rows, self._objects.last_id],
            "objects_count": self.objects_count,
            "objects_done": self._objects_done,
            "counted": {path: dict(parts) for path, parts in self._counted.items()},
            "undated_done": list(self._undated_done),
            "windows": [window.as_json() for window in windows],
            "per_page": self._per_page,
            "pieces": [[piece.window.as_json(), piece.page, piece.count] for piece in pieces],
            "requests": self.requests(),
            "finished": self.finished,
        }


class FromSpool:
    """The producer that commits what a sweep has spooled; only lists of their own are still asked for."""

    def __init__(self, spool: Spool, objects_count: int, expected: Mapping[str, int]) -> None:
        self._spool = spool
        self._objects_count = objects_count
        self._expected = expected

    async def __call__(self, pipeline: Pipeline) -> None:
        """Go on after the last object that is in the dump."""
        pipeline.counts[OBJECTS.path] = self._objects_count
        turn = pipeline.reopened()
        if turn is not None and turn.about is None:
            await pipeline.queue(turn)
        else:
            await self._objects(pipeline, turn)
        for resource in pipeline.scope.lists:
            await pipeline.queue_list(resource)

    async def _objects(self, pipeline: Pipeline, turn: Turn | None) -> None:
        children = [_Children(self._spool, resource) for resource in pipeline.scope.of_an_object]
        done = pipeline.position.last_id
        for _, _, lines in self._spool.read(OBJECTS.file_stem).rest():
            for line in lines:
                record = orjson.loads(line)
                number = record["id"]
                if number > done:
                    await self._line_up(pipeline, pipeline.object_turn(record, line), children)
                elif turn is not None and turn.about is not None and number == turn.about["id"]:
                    await self._line_up(pipeline, turn, children)
                else:
                    for child in children:
                        child.pass_over(number)
            await asyncio.sleep(0)
        await pipeline.committed()
        for child in children:
            path = child.resource.path
            outside = child.outside()
            pipeline.swept[path] = [self._expected.get(path, 0) + child.later, outside]

    async def _line_up(self, pipeline: Pipeline, turn: Turn, children: Sequence[_Children]) -> None:
        """Line up an object. Its rows are read when the commit asks for them: it need not wait, and nothing is held."""
        assert turn.about is not None
        for lane, child in zip(turn.lanes, children, strict=True):
            lane.count = lane.rows
            lane.pages = _Ready(pipeline, lane, child.of(turn.about["id"], lane.start.last_id))
        await pipeline.line_up(turn)


class _Ready(Pages):
    """The batches of a lane, each made when it is asked for: whoever asks waits for nothing."""

    def __init__(self, pipeline: Pipeline, lane: Lane, batches: Iterator[Batch]) -> None:
        super().__init__()
        self._budget = pipeline.budget
        self._lane = lane
        self._batches = batches

    async def get(self) -> Batch | None:
        """The next one; None at the end."""
        batch = next(self._batches, None)
        if batch is not None:
            self._lane.count += batch.size
            self._budget.settle(self._lane, 0, len(batch.lines))
            if batch.size >= LINES_A_BATCH:
                await asyncio.sleep(0)  # a giant has thousands of these: nobody could stop it, or see how far it is
        return batch


class _Children:
    """The spooled rows of one list, read along with the objects they belong to."""

    def __init__(self, spool: Spool, resource: Resource) -> None:
        self.resource = resource
        self.later = 0
        """Rows so far that belong to an object and are dated after the sweep began."""
        stem = resource.file_stem
        self._all = spool.read(stem, stem + LATER)
        self._late = spool.read(stem + LATER)
        self._outside = 0

    def of(self, parent: int, after: int) -> Iterator[Batch]:
        """The rows of one object with ids above `after`."""
        self._skip_to(parent)
        self.later += _rows(self._late.of(parent))
        _rows(self._all.of(parent, after))
        pieces, size = [], 0
        for piece in self._all.of(parent):
            pieces.append(piece)
            size += len(piece[-1])
            if size >= LINES_A_BATCH:
                yield _batch(pieces)
                pieces, size = [], 0
        if pieces:
            yield _batch(pieces)

    def pass_over(self, parent: int) -> None:
        """Leave out the rows of an object that is in the dump already."""
        self._skip_to(parent)
        self.later += _rows(self._late.of(parent))
        _rows(self._all.of(parent))

    def outside(self) -> int:
        """Read to the end; returns how many rows that were there at first belong to objects not asked for."""
        return self._outside + _rows(self._all.rest()) - _rows(self._late.rest())

    def _skip_to(self, parent: int) -> None:
        self._outside += _rows(self._all.before(parent)) - _rows(self._late.before(parent))


def _batch(pieces: Sequence[Block]) -> Batch:
    if len(pieces) == 1:
        places, notes, lines = pieces[0]
    else:
        places, notes, lines = (list(chain.from_iterable(column)) for column in zip(*pieces, strict=True))
    return Batch.of_lines(lines, own_id(places[0]), own_id(places[-1]), notes)


def _rows(pieces: Iterator[Block]) -> int:
    return sum(len(lines) for _, _, lines in pieces)


def _column(resource: Resource, rows: Sequence[Record], name: str, kind: type) -> list[Any]:
    """One field of all rows; raises ProtocolError unless it is of this type in each."""
    values = [row.get(name) for row in rows]
    if not set(map(type, values)) <= {kind}:
        unfit = next(row["id"] for row in rows if type(row.get(name)) is not kind)
        raise ProtocolError(f"{resource.path} {unfit} has no usable {name!r}")
    return values


__all__ = ["SPARE_LANES", "FromSpool", "Sweeping"]
