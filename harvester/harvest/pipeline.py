"""The pipeline: one producer walks the objects, workers fetch what hangs off them, one committer writes.

    object pages → bounded queue → workers: file pages, event pages → ordered commit → dump

Everything runs in one TaskGroup: what stops one part stops all of it, and the dump is left at a state
that can be gone back to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from harvester.dump import Codec, DumpWriter, JournalState
from harvester.errors import DeniedError, DumpError, NotFoundError, ProtocolError, RegistryError, TransientError
from harvester.harvest.batch import Batch, batch_of, check_parent, encode
from harvester.harvest.halves import walk_merged
from harvester.harvest.order import Budget, Lane, Turn
from harvester.harvest.progress import Progress
from harvester.harvest.saving import DiskThread
from harvester.harvest.scope import Scope
from harvester.registry import BY_ID, Filter, Page, Record, RegistryClient, Resource, Start, walk
from harvester.registry.resources import FILES, OBJECTS, PARENT_FILTER, RESOURCES

log = logging.getLogger("harvester.harvest")

ROW_BYTES = 1024
"""What a row is reckoned to take until its page is there: files and premis events are 500 to 900 bytes of JSON."""

Note = Mapping[str, Any]


class Pipeline:
    """One run over one dump being made, from a cursor to the end of what a producer gives it.

    The cursor says where the committed part ends: how many objects have their line in the dump and the id
    of the last, the turn that is `open` (its lane, and the rows of that lane), the lists that are done, and
    whether all is `finished`. `notes` is what the run learnt that the manifest must tell: failures and
    disagreements. `spent` are the requests that runs before this one have cost.
    """

    def __init__(
        self,
        client: RegistryClient,
        writer: DumpWriter,
        scope: Scope,
        progress: Progress,
        state: JournalState | None = None,
        spent: Mapping[str, int] | None = None,
    ) -> None:
        settings = client.settings
        cursor = state.checkpoint.cursor if state is not None else {}
        self.client = client
        self.scope = scope
        self.progress = progress
        self.per_page = settings.per_page
        self.counts: dict[str, int] = dict(cursor.get("counts", {}))
        """What the Registry counted, by resource, of the lists walked as a whole."""
        self.swept: dict[str, list[int]] = dict(cursor.get("swept", {}))
        """Rows counted, and rows of other objects than were asked for, of each list taken for the whole institution."""
        self.notes: list[Note] = list(state.notes) if state is not None else []
        self.finished: bool = cursor.get("finished", False)
        self._new_notes: list[Note] = []
        self._writer = writer
        self._ahead = 2 * settings.most_in_flight  # answers come out of turn: a late one must not leave slots empty
        self._workers = 2 * (settings.most_in_flight + 2)  # some wait out a retry while the others go on
        enough = 3 * settings.most_in_flight * settings.per_page * ROW_BYTES
        self.budget = Budget(enough if settings.held_bytes == "auto" else settings.held_bytes, settings.per_page)
        self._in_line: asyncio.Queue[Turn | None] = asyncio.Queue()
        self._to_do: asyncio.Queue[tuple[Turn, Lane] | None] = asyncio.Queue(maxsize=4 * settings.most_in_flight)
        # Turns hold memory too. This many keep the workers busy while one large object holds up the line.
        self._room = asyncio.Semaphore(64 + 16 * settings.most_in_flight)
        self._disk = DiskThread()
        self._turn_numbers = 0
        self._turn: Turn | None = None
        self._objects_rows: int = cursor.get("objects", 0)
        self._objects_last_id: int = cursor.get("last_id", 0)
        self._was_open: Mapping[str, Any] | None = cursor.get("open")
        self._spent = spent or {}

    async def run(self, produce: Producer) -> None:
        """Harvest to the end. Raises what stopped it: the dump is then good up to its last checkpoint.

        If that is not the disk, one more is made, except where it would end a gzip member or zstd frame at a
        place where an undisturbed run makes none.
        """
        with self._disk:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._produce(produce))
                    group.create_task(self._commit())
                    for _ in range(self._workers):
                        group.create_task(self._work())
                await self._disk.done()
                self.finished = True
                await self._begin_checkpoint()
                await self._disk.done()
            except BaseException as error:
                await self._disk.settled()
                if self._disk.well and self._writer.codec is Codec.NONE:
                    with suppress(DumpError):  # what stopped the run is the news
                        self._writer.checkpoint(self._cursor(), self._new_notes)
                raise first_of(error) if isinstance(error, BaseExceptionGroup) else error from None

    @property
    def position(self) -> Start:
        """The objects that are in the dump already, when the run begins."""
        return Start(self._objects_rows, self._objects_last_id)

    def requests(self) -> dict[str, int]:
        """Requests by resource that the dump has cost so far."""
        now = self.client.traffic.requests
        return {name: self._spent.get(name, 0) + now[name] for name in sorted({*self._spent, *now})}

    # What producers call

    async def queue(self, turn: Turn) -> None:
        """Put a turn in line, for the workers to fetch what belongs to it."""
        await self.line_up(turn)
        for lane in turn.lanes[: turn.opened_at]:
            lane.close()
        for lane in turn.lanes[turn.opened_at :]:
            await self._to_do.put((turn, lane))

    async def line_up(self, turn: Turn) -> None:
        """Put a turn in line whose lanes the caller fills itself."""
        await self._room.acquire()
        self._in_line.put_nowait(turn)

    async def committed(self) -> None:
        """Wait until all that is in line has been committed."""
        await self._in_line.join()

    def object_turn(self, record: Record, line: bytes) -> Turn:
        """The turn of an object and what hangs off it; objects must come in id order."""
        about = _about(record)
        filters = ((PARENT_FILTER, str(about["id"])),)
        lanes = tuple(Lane(resource, filters) for resource in self.scope.of_an_object)
        return self._next_turn(lanes, line, about)

    async def queue_list(self, resource: Resource) -> None:
        """Put a list of its own in line, unless the dump has it already."""
        is_open = self._was_open is not None and self._was_open.get("list") == resource.path
        if resource.path not in self.counts and not is_open:
            await self.queue(self._next_turn((Lane(resource, self.scope.list_filters),)))

    async def _produce(self, produce: Producer) -> None:
        await produce(self)
        await self._in_line.put(None)
        for _ in range(self._workers):
            await self._to_do.put(None)

    def _next_turn(self, lanes: tuple[Lane, ...], line: bytes = b"", about: Note | None = None) -> Turn:
        self._turn_numbers += 1
        return Turn(self._turn_numbers, line, lanes, about)

    def reopened(self) -> Turn | None:
        """The turn that was being committed when the checkpoint was taken, if there was one; it comes first."""
        snapshot = self._was_open
        if snapshot is None:
            return None
        resources: tuple[Resource, ...]
        if "list" in snapshot:
            resources, filters = (RESOURCES[snapshot["list"]],), self.scope.list_filters
        else:
            resources = self.scope.of_an_object
            filters = ((PARENT_FILTER, str(snapshot["about"]["id"])),)
        lanes = tuple(Lane(resource, filters) for resource in resources)
        for lane, facts in zip(lanes, snapshot["lanes"], strict=True):
            lane.take_up(facts)
        turn = self._next_turn(lanes, b"", snapshot.get("about"))
        turn.current = turn.opened_at = snapshot["current"]
        return turn

    # The workers

    async def _work(self) -> None:
        while (next_one := await self._to_do.get()) is not None:
            await self._fill(*next_one)

    async def _fill(self, turn: Turn, lane: Lane) -> None:
        """Walk one list of a turn to its end. An error that is this list's own is recorded and stays here."""
        try:
            if lane.resource.partition and turn.about is None:
                await self._walk_halves(turn, lane)
            else:
                await walk(
                    partial(self._batch, turn, lane),
                    lane.take,
                    per_page=self.per_page,
                    ahead=self._ahead,
                    start=lane.start,
                )
        except BaseExceptionGroup as errors:
            lane.close(await self.own_error(first_of(errors), _place(turn, lane)))
        except RegistryError as error:
            lane.close(await self.own_error(error, _place(turn, lane)))
        else:
            lane.close()

    async def own_error(self, error: BaseException, place: str) -> RegistryError:
        """The error, if it concerns this list or record alone; raises it if it concerns the whole run."""
        if not isinstance(error, TransientError | ProtocolError | NotFoundError | DeniedError):
            raise error
        if not isinstance(error, ProtocolError | NotFoundError) and not await self.client.probe():
            raise error
        error.place = error.place or place
        log.warning("%s; recorded, going on", error)
        return error

    async def _batch(self, turn: Turn, lane: Lane, number: int) -> Batch:
        """Fetch and encode one page, once there is room for it."""
        reserved = ROW_BYTES * self._expected_rows(turn, lane, number)
        await self.budget.reserve(turn, lane, number, reserved)
        page = await self._page(lane, lane.filters, number)
        if turn.about is not None:
            check_parent(lane.resource, page, turn.about["id"])
        batch = batch_of(page)
        if batch.exact:
            lane.count = batch.count
        self.budget.settle(lane, reserved, len(batch.lines))
        return batch

    async def _page(self, lane: Lane, filters: tuple[Filter, ...], number: int) -> Page:
        return await self.client.page(lane.resource, filters=filters, sort=BY_ID, page=number, per_page=self.per_page)

    def _expected_rows(self, turn: Turn, lane: Lane, number: int) -> int:
        if number > 1 or turn.about is None:
            return self.per_page
        files: int = turn.about["file_count"]
        return min(self.per_page, files if lane.resource is FILES else 4 * files + 4)

    async def _walk_halves(self, turn: Turn, lane: Lane) -> None:
        counts: dict[str, int] = {}

        async def half(value: str, number: int) -> Page:
            page = await self._page(lane, (*lane.filters, (lane.resource.partition, value)), number)
            counts[value] = page.count
            return page

        async def take(rows: list[Record]) -> None:
            lines = encode(rows)
            await self.budget.reserve(turn, lane, 0, len(lines))
            lane.count = sum(counts.values())
            lane.pages.put(Batch(lines, len(rows), rows[0]["id"], rows[-1]["id"], 0, exact=False, has_next=False))

        halves = [partial(half, value) for value in ("true", "false")]
        await walk_merged(halves, take, per_page=self.per_page, after_id=lane.start.last_id)
        lane.count = sum(counts.values())

    # The committer

    async def _commit(self) -> None:
        while (turn := await self._in_line.get()) is not None:
            await self._begin(turn)
            for index, lane in enumerate(turn.lanes):
                self.budget.advance(turn, max(index, turn.opened_at))
                while (batch := await lane.pages.get()) is not None:
                    await self._append(lane, batch)
                    self.budget.release(lane, len(batch.lines))
                self.budget.release(lane, lane.held)  # pages that a walk dropped
                self._close(turn, lane, index)
            await self._end(turn)
            self._in_line.task_done()

    async def _append(self, lane: Lane, batch: Batch) -> None:
        """Write a page, up to the very line after which a checkpoint is due, then on from there."""
        if batch.size and batch.first_id <= lane.last_id:
            problem = f"id {batch.first_id} comes after id {lane.last_id}"
            raise ProtocolError(problem, place=lane.resource.path, mend="run it again")
        rest: Batch | None = batch
        while rest is not None:
            part, rest = rest.cut(self._writer.room)
            self._writer.append(lane.resource.file_stem, part.lines, part.size)
            lane.committed(part)
            self.progress.rows[lane.resource.path] += part.size
            await self._checkpoint_if_due()

    async def _begin(self, turn: Turn) -> None:
        self._turn = turn
        if turn.line and turn.about is not None:
            self._writer.append(OBJECTS.file_stem, turn.line, 1)
            self.progress.rows[OBJECTS.path] += 1
            self._objects_rows += 1
            self._objects_last_id = turn.about["id"]
            await self._checkpoint_if_due()

    def _close(self, turn: Turn, lane: Lane, index: int) -> None:
        """Note what is wrong with a list, once: before a checkpoint can find the turn at its next list."""
        if index < turn.opened_at:
            return
        if lane.error is not None:
            self.progress.failures += 1
            self.note(_failure(turn, lane, lane.error))
        elif turn.about is not None and (disagreement := _disagreement(turn.about, lane)):
            self.note(disagreement)
        if turn.about is None:
            self.counts[lane.resource.path] = lane.count

    async def _end(self, turn: Turn) -> None:
        self._turn = None
        self._room.release()
        if turn.about is not None:
            self._writer.object_done()
        await self._checkpoint_if_due()

    def note(self, note: Note) -> None:
        """Keep what the manifest must tell; it reaches the journal with the next checkpoint."""
        self.notes.append(note)
        self._new_notes.append(note)

    async def _checkpoint_if_due(self) -> None:
        if self._writer.due:
            await self._begin_checkpoint()

    async def _begin_checkpoint(self) -> None:
        """Have a checkpoint made, once the one before it is. The commit does not wait for it."""
        await self._disk.done()
        notes, self._new_notes = self._new_notes, []
        self._writer.seal()
        self._disk.begin(partial(self._writer.checkpoint, self._cursor(), notes))

    def _cursor(self) -> dict[str, Any]:
        """Where the committed part of the dump ends, and what it has cost so far.

        Written in another thread while the commit goes on, it must hold nothing that changes with it.
        """
        return {
            "objects": self._objects_rows,
            "last_id": self._objects_last_id,
            "open": _snapshot(self._turn) if self._turn is not None else None,
            "counts": dict(self.counts),
            "swept": dict(self.swept),
            "requests": self.requests(),
            "finished": self.finished,
        }


class WalkScope:
    """The producer of a first harvest: every object of the scope, then the lists of their own."""

    def __init__(self, object_filters: tuple[Filter, ...]) -> None:
        self._filters = object_filters

    async def __call__(self, pipeline: Pipeline) -> None:
        """Walk on from where the dump ends."""

        async def object_page(number: int) -> Page:
            page = await pipeline.client.page(
                OBJECTS, filters=self._filters, sort=BY_ID, page=number, per_page=pipeline.per_page
            )
            pipeline.counts[OBJECTS.path] = pipeline.progress.objects_total = page.count
            return page

        async def queue(page: Page) -> None:
            for record in page.rows:
                await pipeline.queue(pipeline.object_turn(record, encode([record])))

        if (turn := pipeline.reopened()) is not None:
            await pipeline.queue(turn)
        await walk(object_page, queue, per_page=pipeline.per_page, ahead=1, start=pipeline.position)
        for resource in pipeline.scope.lists:
            await pipeline.queue_list(resource)


class AskAgain:
    """The producer of a second look: these objects, by id, and these lists."""

    def __init__(self, object_ids: Sequence[int], lists: Sequence[Resource]) -> None:
        self._ids = object_ids
        self._lists = lists

    async def __call__(self, pipeline: Pipeline) -> None:
        """Go on after the last object that is in the dump."""
        if (turn := pipeline.reopened()) is not None:
            await pipeline.queue(turn)
        ids = [number for number in self._ids if number > pipeline.position.last_id]
        at_once = pipeline.client.settings.most_in_flight
        for first in range(0, len(ids), at_once):
            several = ids[first : first + at_once]
            for record in await asyncio.gather(*(self._record(pipeline, number) for number in several)):
                if record is not None:
                    await pipeline.queue(pipeline.object_turn(record, encode([record])))
        for resource in self._lists:
            await pipeline.queue_list(resource)

    async def _record(self, pipeline: Pipeline, number: int) -> Record | None:
        try:
            return await pipeline.client.show(OBJECTS, number)
        except NotFoundError:
            pipeline.note({"kind": "gone", "object": number})
        except RegistryError as error:
            own = await pipeline.own_error(error, f"intellectual object {number}")
            note = {"resource": OBJECTS.path, "object": number, "identifier": "", "rows": 0, "error": str(own)}
            pipeline.note({"kind": "failure", **note})
        return None


Producer = Callable[[Pipeline], Awaitable[None]]


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that stopped a TaskGroup, out of its groups within groups."""
    for error in errors.exceptions:
        return first_of(error) if isinstance(error, BaseExceptionGroup) else error
    return errors


def _about(record: Record) -> Note:
    """What the harvest must know of an object after its line is encoded."""
    wanted = {"file_count": int, "size": int, "identifier": str, "updated_at": str}
    for name, kind in wanted.items():
        if not isinstance(record.get(name), kind):
            raise ProtocolError(f"intellectual object {record['id']} has no usable {name!r}", place="objects")
    return {"id": record["id"], **{name: record[name] for name in wanted}}


def _place(turn: Turn, lane: Lane) -> str:
    whose = f" of intellectual object {turn.about['id']}" if turn.about is not None else ""
    return f"{lane.resource.path}{whose}"


def _snapshot(turn: Turn) -> dict[str, Any]:
    lanes = [lane.facts() for lane in turn.lanes]
    if turn.about is None:
        return {"list": turn.lanes[0].resource.path, "current": turn.current, "lanes": lanes}
    return {"about": turn.about, "current": turn.current, "lanes": lanes}


def _failure(turn: Turn, lane: Lane, error: RegistryError) -> Note:
    note: dict[str, Any] = {"kind": "failure", "resource": lane.resource.path}
    if turn.about is not None:
        note |= {"object": turn.about["id"], "identifier": turn.about["identifier"]}
    return note | {"rows": lane.rows, "error": str(error)}


def _disagreement(about: Note, lane: Lane) -> Note | None:
    """What is wrong with a list that was walked to its end, judged by what the Registry says of it."""
    if lane.resource is FILES:
        expected = {"file_count": about["file_count"], "size": about["size"]}
        found = {"file_count": lane.active, "size": lane.active_bytes}
    else:
        # More rows than counted is no loss: the list grew while it was walked.
        expected, found = {"rows": lane.count}, {"rows": min(lane.rows, lane.count)}
    if expected == found:
        return None
    whose = {"resource": lane.resource.path, "object": about["id"], "identifier": about["identifier"]}
    return {"kind": "disagreement", **whose, "expected": expected, "found": found}


__all__ = ["AskAgain", "Pipeline", "Producer", "WalkScope", "first_of"]
