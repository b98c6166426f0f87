"""One harvest from its first request to the published dump, over as many runs as it takes.

    first take (walk everything) → rounds of asking again → merge if anything changed → manifest → publish

Each step leaves on disk what the next run needs to go on from there.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from harvester.config import software_version
from harvester.dump import (
    Codec,
    Disk,
    DumpWriter,
    JournalState,
    Manifest,
    Pace,
    Spool,
    Unfinished,
    begun,
    header_of,
    lines_of,
    new_partial,
    partials,
    point_to_newest,
    publish,
    read_manifest,
    recover,
    remove,
)
from harvester.dump import manifest as m
from harvester.dump.journal import read_journal
from harvester.dump.layout import CORRECTIONS, MERGED, SPOOL, is_partial
from harvester.errors import DumpError, DumpLockedError, ProtocolError, TransientError
from harvester.harvest.corrections import Findings, Take, Why
from harvester.harvest.garbage import rare_collections
from harvester.harvest.pipeline import AskAgain, Note, Pipeline, WalkScope
from harvester.harvest.plan import PER_OBJECT, SWEEP, Plan, plan, without_plan
from harvester.harvest.progress import Progress
from harvester.harvest.saving import DiskThread
from harvester.harvest.scope import Scope
from harvester.harvest.sweep import FromSpool, Sweeping
from harvester.registry import BY_ID, RESOURCES, Filter, Page, RegistryClient, walk
from harvester.registry.resources import OBJECTS, format_time, parse_time

log = logging.getLogger("harvester.harvest")

ORDER = "objects by id; files and premis events grouped by object in that order, each by id; other lists by id"

COUNTED_EXACTLY = ("created_at__lteq", "2999-12-31T00:00:00Z")
"""A filter that every object passes. Without one outside the cached set the Registry looks the count up in its
hourly table, and fails if some object's state is NULL."""

ROUNDS = 3
"""How often one run asks again for objects whose rows do not add up: they may be changing right now."""


@dataclass(frozen=True)
class Outcome:
    """What a harvest made: the dump's directory, whether it was published, and its manifest."""

    path: Path
    published: bool
    manifest: Manifest


async def harvest(
    client: RegistryClient,
    scope: Scope,
    output: Path | None = None,
    *,
    progress: Progress | None = None,
    fresh: bool = False,
) -> Outcome:
    """Harvest `scope` into a dump under `output` (default: the setting `output`).

    An unfinished dump of the same scope, account and Registry that lies there is taken up again, unless
    `fresh`: then it is removed. Raises the errors of `harvester.errors`. Whatever stops it, what was
    harvested stays in the partial dump, and dumps published before are untouched.
    """
    output = output or client.settings.output
    disk = _disk(client)
    run = _Run(client, scope, progress, disk)
    unfinished = _to_take_up(output, _identity(client, scope), disk, fresh=fresh)
    with rare_collections():
        return await (run.begin(output) if unfinished is None else run.resume(unfinished))


async def resume(client: RegistryClient, directory: Path, *, progress: Progress | None = None) -> Outcome:
    """Finish an unfinished dump: `directory`, or the newest in it.

    Raises DumpError if there is none, or if it was begun on another Registry or under another account.
    """
    disk = _disk(client)
    if is_partial(directory):
        found = recover(directory, disk)
        output = directory.parent
    else:
        output = directory
        unfinished = partials(directory)
        found = recover(unfinished[-1], disk) if unfinished else None
    point_to_newest(output, disk)
    if isinstance(found, Path):
        return Outcome(found, True, read_manifest(found))
    if found is None:
        raise DumpError("no unfinished dump here", place=str(directory), mend="start one with harvester harvest")
    scope = Scope.of_json(found.header["scope"])
    for name, ours in _identity(client, scope).items():
        theirs = found.header[name]
        if theirs != ours and name != "compression":
            raise DumpError(
                f"was begun with {name} {_words(theirs)}, not {_words(ours)}",
                place=str(found.directory),
                mend="use the profile it was begun with",
            )
    with rare_collections():
        return await _Run(client, scope, progress, disk).resume(found)


async def estimate(client: RegistryClient, scope: Scope) -> Plan:
    """What harvesting `scope` will cost, by either strategy, for a handful of requests."""
    _, planned = await _Run(client, scope, None, _disk(client)).planned()
    return planned


class _Run:
    """One process's share of the work on one dump."""

    def __init__(self, client: RegistryClient, scope: Scope, progress: Progress | None, disk: Disk) -> None:
        self._client = client
        self._scope = scope
        self._disk = disk
        self._pace = Pace(client.settings.checkpoint_bytes, client.settings.checkpoint_objects)
        self._progress = progress or Progress()
        self._progress.traffic = client.traffic
        self._spent: Mapping[str, int] = {}

    async def begin(self, output: Path) -> Outcome:
        """Make a new dump."""
        asked_at, planned = await self.planned()
        self._progress.planned(planned)
        header = {
            **_identity(self._client, self._scope),
            "asked_at": format_time(asked_at),
            "strategy": planned.strategy,
        }
        directory = new_partial(output, asked_at, self._disk)
        codec = Codec(self._client.settings.compression)
        writer = DumpWriter.create(directory, header, self._scope.stems, codec, self._pace, self._disk)
        try:
            self._give_way(directory, header)
            return await self._finish(writer, JournalState.empty(header))
        finally:
            writer.close()

    def _give_way(self, directory: Path, header: Mapping[str, Any]) -> None:
        """Of two that began the same harvest in one moment, let the later one stop. Raises DumpLockedError."""
        identity = {name: header[name] for name in _identity(self._client, self._scope)}
        for other in partials(directory.parent):
            if other == directory:
                return
            try:
                recover(other, self._disk)
            except DumpLockedError:
                begun_there = header_of(other)
                if begun_there is None or _is_of(begun_there, identity):
                    remove(directory, self._disk)
                    raise

    async def resume(self, unfinished: Unfinished) -> Outcome:
        """Go on with a dump that another process had to leave."""
        writer, state = DumpWriter.reopen(unfinished.directory, self._pace, self._disk)
        log.warning("going on with the dump begun at %s", state.header["asked_at"])
        try:
            return await self._finish(writer, state)
        finally:
            writer.close()

    async def _finish(self, writer: DumpWriter, state: JournalState) -> Outcome:
        asked_at = parse_time(state.header["asked_at"])
        if asked_at is None:
            raise DumpError("has no time it was begun at", place=str(writer.directory), mend="start over with --fresh")
        self._spent = _latest_requests(writer.directory, state)
        horizon = _horizon(asked_at)
        first = await self._first_take(writer, state, asked_at)
        until_then = (
            first.requests() if not state.checkpoint.cursor.get("finished") else state.checkpoint.cursor["requests"]
        )
        take = Take(writer.directory, writer.codec, {}, (), first.notes)
        findings = Findings(take)
        with DiskThread() as clearing:
            clearing.begin(partial(remove, writer.directory / SPOOL, self._disk))  # it may be as large as the dump
            try:
                await self._ask_again(findings, writer, first, asked_at)
            except BaseException:
                await clearing.settled()  # what stopped the run is the news
                raise
            await clearing.done()
        made = self._merged(findings, writer) if findings.rounds else writer
        try:
            requests = first.requests()
            strategy = SWEEP if first.swept else PER_OBJECT
            manifest = self._manifest(findings, made, first, horizon, strategy, requests, until_then)
            made.finish(manifest)
            if not (manifest.complete or self._client.settings.allow_incomplete):
                return Outcome(made.directory, False, manifest)
            return Outcome(publish(writer.directory, self._disk, source=made.directory), True, manifest)
        finally:
            made.close()

    async def _first_take(self, writer: DumpWriter, state: JournalState, asked_at: datetime) -> Pipeline:
        """Everything in the scope once, by the strategy the dump was begun with. A spool may be left over."""
        pipeline = Pipeline(self._client, writer, self._scope, self._progress, state, self._spent)
        filters = self._scope.object_filters(_horizon(asked_at))
        spool = writer.directory / SPOOL
        if pipeline.finished or (
            self._sweeps(state, pipeline, spool) and await self._sweep(pipeline, spool, filters, asked_at)
        ):
            return pipeline
        remove(spool, self._disk)
        self._progress.took_up({path: e.records for path, e in self._extents(state).items()})
        self._progress.state = "harvesting"
        await pipeline.run(WalkScope(filters))
        return pipeline

    def _sweeps(self, state: JournalState, pipeline: Pipeline, spool: Path) -> bool:
        """Whether this run sweeps: as the dump was begun, unless told otherwise before anything was committed."""
        if state.header["strategy"] != SWEEP:
            return False
        if pipeline.position.rows:
            return spool.is_dir()  # else an earlier run has turned to the objects
        return self._client.settings.strategy != PER_OBJECT

    async def _sweep(
        self, pipeline: Pipeline, directory: Path, filters: tuple[Filter, ...], asked_at: datetime
    ) -> bool:
        """Sweep, and commit what came. False if some list cannot be had as a whole: then nothing is committed."""
        if begun(directory, self._disk) is None:
            spool, state = Spool.create(directory, {}, self._disk), JournalState.empty({})
        else:
            spool, state = Spool.reopen(directory, self._disk)
        try:
            sweeping = Sweeping(
                self._client,
                self._scope,
                filters,
                asked_at,
                spool,
                state,
                self._progress,
                self._spent,
                self._pace.bytes,
            )
            if not sweeping.finished:
                self._progress.state = "sweeping"
                try:
                    await sweeping.run()
                except (TransientError, ProtocolError) as error:
                    if isinstance(error, TransientError) and not await self._client.probe():
                        raise
                    log.warning("%s; going on object by object", error)
                    self._progress.rows.clear()
                    return False
            self._progress.state = "sorting"
            self._progress.rows.clear()
            await pipeline.run(FromSpool(spool, sweeping.objects_count, sweeping.expected))
            return True
        finally:
            spool.close()

    def _extents(self, state: JournalState) -> Mapping[str, Any]:
        by_stem = {r.file_stem: r.path for r in self._scope.resources}
        return {by_stem[stem]: extent for stem, extent in state.checkpoint.extents.items()}

    # Asking again

    async def _ask_again(self, findings: Findings, writer: DumpWriter, first: Pipeline, asked_at: datetime) -> None:
        """Rounds of asking again, those of earlier runs included, until nothing more can be gained."""
        number = 0
        while begun(_round(writer.directory, number + 1), self._disk) is not None:
            number += 1
            findings.add(await self._take_up(_round(writer.directory, number)))
        why = _why(findings)
        if number == 0:
            why = await self._updated(asked_at) | await self._missed(writer, first, asked_at) | why
        lists = [path for path in findings.wrong if isinstance(path, str)]
        for _ in range(ROUNDS):
            if not (why or lists):
                return
            number += 1
            take = await self._round(_round(writer.directory, number), why, lists)
            findings.add(take)
            # What failed again has been asked for long enough; what merely does not add up may be changing.
            why, lists = {key: reason for key, reason in _why(findings).items() if reason == "disagreed"}, []

    async def _round(self, directory: Path, why: Mapping[int, Why], lists: Sequence[str]) -> Take:
        asked = {"objects": [[number, why[number]] for number in sorted(why)], "lists": list(lists)}
        writer = DumpWriter.create(directory, asked, self._scope.stems, Codec.NONE, self._pace, self._disk)
        try:
            return await self._run_round(writer, JournalState.empty(asked))
        finally:
            writer.close()

    async def _take_up(self, directory: Path) -> Take:
        """A round of an earlier run, finished now if it was not."""
        writer, state = DumpWriter.reopen(directory, self._pace, self._disk)
        try:
            return await self._run_round(writer, state)
        finally:
            writer.close()

    async def _run_round(self, writer: DumpWriter, state: JournalState) -> Take:
        why: dict[int, Why] = dict(state.header["objects"])
        lists = state.header["lists"]
        uncounted = Progress(traffic=self._client.traffic)  # rows that are asked for twice are harvested once
        again = Pipeline(self._client, writer, self._scope, uncounted, state, self._spent)
        if not again.finished:
            self._progress.state = f"asking again for {len(why) + len(lists)}"
            log.info("asking again for %d intellectual objects and %d lists", len(why), len(lists))
            await again.run(AskAgain(sorted(why), [RESOURCES[path] for path in lists]))
        return Take(writer.directory, writer.codec, why, lists, again.notes)

    async def _updated(self, asked_at: datetime) -> dict[int, Why]:
        """The objects that were updated while the harvest went on."""
        found: dict[int, Why] = {}
        filters = self._scope.object_filters(_horizon(asked_at))
        since = ("updated_at__gteq", format_time(asked_at))
        narrower = tuple(pair for pair in filters if pair[0] != since[0])

        async def note(page: Page) -> None:
            found.update((record["id"], "updated") for record in page.rows)

        await self._walk_objects((*narrower, since), note)
        return found

    async def _missed(self, writer: DumpWriter, first: Pipeline, asked_at: datetime) -> dict[int, Why]:
        """The objects that the Registry has and the walk did not meet.

        Looked for if its count says that there are such, and if one that left the scope may have been made up
        for, in number, by one that joined it.
        """
        if first.position.rows >= first.counts[OBJECTS.path] and not self._scope.may_be_left:
            return {}
        found: dict[int, Why] = {}
        here = (record["id"] for _, record in lines_of(writer.directory / f"objects.ndjson{writer.codec.ending}"))
        head = next(here, 0)

        async def compare(page: Page) -> None:
            nonlocal head
            for record in page.rows:
                while head and head < record["id"]:
                    head = next(here, 0)
                if head != record["id"]:
                    found[record["id"]] = "missed"

        await self._walk_objects(self._scope.object_filters(_horizon(asked_at)), compare)
        return found

    async def _walk_objects(self, filters: Any, take: Any) -> None:
        per_page = self._client.settings.per_page

        async def fetch(number: int) -> Page:
            return await self._client.page(OBJECTS, filters=filters, sort=BY_ID, page=number, per_page=per_page)

        await walk(fetch, take, per_page=per_page, ahead=1)

    # The result

    def _merged(self, findings: Findings, writer: DumpWriter) -> DumpWriter:
        directory = writer.directory / MERGED
        remove(directory, self._disk)
        merged = DumpWriter.create(directory, {}, self._scope.stems, writer.codec, self._pace, self._disk)
        try:
            findings.merge(merged, self._scope.of_an_object, self._scope.lists)
        except BaseException:
            merged.close()
            raise
        return merged

    def _manifest(
        self,
        findings: Findings,
        made: DumpWriter,
        first: Pipeline,
        horizon: datetime,
        strategy: str,
        requests: Mapping[str, int],
        until_then: Mapping[str, int],
    ) -> Manifest:
        files = made.summaries()
        walks = {
            resource.path: m.Walk(expected=first.counts[resource.path], found=files[resource.file_stem].records)
            for resource in (OBJECTS, *self._scope.lists)
        }
        walks |= {
            path: m.Walk(expected=max(0, counted - outside), found=files[RESOURCES[path].file_stem].records)
            for path, (counted, outside) in first.swept.items()
        }
        # Rows that left the slice after they were harvested make `found` the larger one: nothing is missing then.
        short = [path for path, walk in walks.items() if walk.found < walk.expected]
        failures = [m.Failure(**_bare(note)) for note in findings.notes if note["kind"] == "failure"]
        disagreements = [m.Disagreement(**_bare(note)) for note in findings.notes if note["kind"] == "disagreement"]
        return Manifest(
            complete=not (failures or disagreements or short),
            horizon=format_time(horizon),
            registry=m.Registry(**_registry(self._client)),
            account=self._client.account,
            scope=m.Scope([resource.path for resource in self._scope.resources], list(self._scope.filters)),
            strategy=strategy,
            order=ORDER,
            compression=made.codec.value,
            files=files,
            totals=m.Totals(
                records=sum(summary.records for summary in files.values()),
                bytes=sum(summary.bytes for summary in files.values()),
            ),
            reconciliation=m.Reconciliation(walks, short, disagreements),
            failures=failures,
            software=m.Software(harvester=software_version(), python=platform.python_version()),
            run=m.Run(
                finished_at=format_time(datetime.now(UTC).replace(microsecond=0)),
                seconds=round(self._progress.elapsed, 3),
                requests=dict(requests),
                reconciliation_requests=sum(requests.values()) - sum(until_then.values()),
                retries=self._client.traffic.retries,
                bytes_received=self._client.traffic.bytes,
                corrected=[m.Corrected(number, why) for number, why in findings.corrected.items()],
            ),
        )

    async def planned(self) -> tuple[datetime, Plan]:
        """The moment the harvest begins, by the server's clock and to the second, and what it will cost."""
        filters = tuple(pair for pair in self._scope.filters if pair[0] != COUNTED_EXACTLY[0])
        page = await self._client.page(OBJECTS, filters=(*filters, COUNTED_EXACTLY), sort=BY_ID, page=1, per_page=1)
        object_filters = self._scope.object_filters(_horizon(page.answered_at))
        try:
            return page.answered_at, await plan(self._client, self._scope, object_filters, page.count)
        except (TransientError, ProtocolError) as error:
            # A list that cannot be counted as a whole may still be had object by object.
            log.warning("no plan: %s", error)
            return page.answered_at, without_plan(self._client, page.count)


def _horizon(asked_at: datetime) -> datetime:
    """The end of the second in which the harvest began.

    The Date header is cut to whole seconds, and an object created earlier in that second belongs to it.
    """
    return asked_at.replace(microsecond=999_999)


def _disk(client: RegistryClient) -> Disk:
    return Disk(file_mode=client.settings.file_mode, dir_mode=client.settings.dir_mode)


def _registry(client: RegistryClient) -> dict[str, str]:
    return {"url": client.settings.registry_url, "api_version": client.settings.registry_api_version}


def _identity(client: RegistryClient, scope: Scope) -> dict[str, Any]:
    """What must be equal for two runs to work on one dump."""
    return {
        "registry": _registry(client),
        "account": client.account,
        "scope": scope.as_json(),
        "compression": client.settings.compression,
    }


def _to_take_up(output: Path, identity: Mapping[str, Any], disk: Disk, *, fresh: bool) -> Unfinished | None:
    """The newest unfinished dump in `output` that is of this very harvest; with `fresh`, all such are removed.

    On the way, what only waited to be published is published.
    """
    chosen = None
    for path in partials(output):
        try:
            found = recover(path, disk)
        except DumpLockedError:
            if _is_of(header_of(path), identity):
                raise
            continue
        except DumpError:  # damaged, or of another version
            if not fresh:
                raise
            remove(path, disk)
            continue
        if not isinstance(found, Unfinished):
            continue
        if not _is_of(found.header, identity):
            log.warning("%s is an unfinished dump of something else; it is left alone", path)
        elif fresh:
            remove(path, disk)
        else:
            chosen = found
    point_to_newest(output, disk)
    return chosen


def _is_of(header: Mapping[str, Any] | None, identity: Mapping[str, Any]) -> bool:
    return header is not None and all(header.get(name) == value for name, value in identity.items())


def _words(value: object) -> str:
    return ", ".join(f"{v}" for v in value.values()) if isinstance(value, dict) else str(value)


def _round(partial: Path, number: int) -> Path:
    return partial / f"{CORRECTIONS}-{number}"


def _why(findings: Findings) -> dict[int, Why]:
    """Objects with something wrong, and in one word what."""
    return {
        number: "failed" if any(note["kind"] == "failure" for note in notes) else "disagreed"
        for number, notes in findings.wrong.items()
        if isinstance(number, int)
    }


def _latest_requests(partial: Path, state: JournalState) -> Mapping[str, int]:
    """The requests spent so far. Every checkpoint of every journal says it: the one that says most is the latest."""
    cursors = [state.checkpoint.cursor]
    for directory in (partial / SPOOL, *sorted(partial.glob(f"{CORRECTIONS}-*"))):
        with suppress(DumpError):
            cursors.append(read_journal(directory).checkpoint.cursor)
    return max((cursor.get("requests", {}) for cursor in cursors), key=lambda spent: sum(spent.values()))


def _bare(note: Note) -> dict[str, Any]:
    return {name: value for name, value in note.items() if name != "kind"}
