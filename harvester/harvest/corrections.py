"""A second look at what may be wrong, and the dump put together from both.

At the end of a harvest some objects are asked for again: those that failed, those whose rows do not add
up to what the Registry says of them, those that were updated while the harvest went on. Each round of
asking is a small dump of its own inside the partial one, made by the same pipeline with the same journal,
so it can be killed and resumed like the first. The merge then copies the first dump into a new one, line
by line in the order of a first harvest, taking such an object whole from the last round in which it was
received without a failure. It makes its checkpoints where an undisturbed harvest would have made them,
so even the compressed bytes are the same.

A copy, rather than an overlay that readers would have to know of: what is published is plain NDJSON.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harvester.dump import Codec, DumpWriter, lines_of
from harvester.harvest.pipeline import Note
from harvester.registry import Resource
from harvester.registry.resources import OBJECTS, PARENT_FILTER

Why = Literal["failed", "disagreed", "updated", "missed"]
"""Why an object is asked for again."""


@dataclass(frozen=True)
class Take:
    """One pass over objects or lists: its directory, its compression, what it was asked for and what it noted.

    `why` is empty for the first harvest, which was asked for everything.
    """

    directory: Path
    codec: Codec
    why: Mapping[int, Why]
    lists: Sequence[str]
    notes: Sequence[Note]

    def path(self, stem: str) -> Path:
        """The file of a resource."""
        return self.directory / f"{stem}.ndjson{self.codec.ending}"


class Findings:
    """Which take each object and list is believed from, and what is still wrong with it there."""

    def __init__(self, first: Take) -> None:
        self._takes = [first]
        self._chosen: dict[int | str, int] = {}
        self._wrong: dict[int | str, list[Note]] = defaultdict(list)
        for note in first.notes:
            self._wrong[_subject(note)].append(note)

    def add(self, take: Take) -> None:
        """Let a later take replace what it received without a failure."""
        self._takes.append(take)
        noted: dict[int | str, list[Note]] = defaultdict(list)
        for note in take.notes:
            noted[_subject(note)].append(note)
        subjects: list[int | str] = [*take.why, *take.lists]
        for subject in subjects:
            failures = [note for note in noted[subject] if note["kind"] == "failure"]
            if not any(note["kind"] in ("failure", "gone") for note in noted[subject]):
                self._chosen[subject] = len(self._takes) - 1
                self._wrong[subject] = noted[subject]
            elif not self._wrong[subject]:
                # Nothing was known against it but that it changed, or was missed: that is still so.
                self._wrong[subject] = failures

    @property
    def wrong(self) -> Mapping[int | str, Sequence[Note]]:
        """Notes by object id or list, only where there are any."""
        return {subject: notes for subject, notes in self._wrong.items() if notes}

    @property
    def notes(self) -> list[Note]:
        """All that is still wrong: objects by id, then lists."""
        wrong = self.wrong
        objects = sorted(subject for subject in wrong if isinstance(subject, int))
        lists = sorted(subject for subject in wrong if isinstance(subject, str))
        return [note for key in objects for note in wrong[key]] + [note for key in lists for note in wrong[key]]

    @property
    def corrected(self) -> dict[int, Why]:
        """Why each object that does not come from the first take was asked for again, by id."""
        chosen = sorted(subject for subject in self._chosen if isinstance(subject, int))
        return {subject: self._takes[self._chosen[subject]].why[subject] for subject in chosen}

    @property
    def rounds(self) -> int:
        """How many takes there are after the first."""
        return len(self._takes) - 1

    def merge(self, writer: DumpWriter, children: Sequence[Resource], lists: Sequence[Resource]) -> dict[str, int]:
        """Write the dump that the takes make together; returns rows by stem. The last checkpoint is made too."""
        sources = [_Source(take, children) for take in self._takes]
        for number in _object_ids(sources):
            chosen = self._chosen.get(number, 0)
            for index, source in enumerate(sources):
                line = source.take_object(number)
                if index == chosen and line:
                    _append(writer, OBJECTS.file_stem, line)
            for resource in children:
                for index, source in enumerate(sources):
                    for line in source.take_children(resource.file_stem, number):
                        if index == chosen:
                            _append(writer, resource.file_stem, line)
            writer.object_done()
            if writer.due:
                writer.checkpoint({})
        for resource in lists:
            take = self._takes[self._chosen.get(resource.path, 0)]
            for line, _ in lines_of(take.path(resource.file_stem)):
                _append(writer, resource.file_stem, line)
        writer.checkpoint({})
        return {stem: summary.records for stem, summary in writer.summaries().items()}


def _subject(note: Note) -> int | str:
    """What a note is about: an object, or a list of its own."""
    subject: int | str = note.get("object") or note["resource"]
    return subject


def _append(writer: DumpWriter, stem: str, line: bytes) -> None:
    writer.append(stem, line, 1)
    if writer.due:
        writer.checkpoint({})


Record = Mapping[str, Any]


class _Lines:
    """The lines of one file, the next of them in view."""

    def __init__(self, lines: Iterable[tuple[bytes, Record]]) -> None:
        self._lines = iter(lines)
        self.head = next(self._lines, None)

    def take(self) -> bytes:
        head = self.head
        if head is None:
            raise StopIteration
        self.head = next(self._lines, None)
        return head[0]


class _Source:
    """One take, read in object order: objects.ndjson and the children of each side by side."""

    def __init__(self, take: Take, children: Sequence[Resource]) -> None:
        self.objects = _Lines(lines_of(take.path(OBJECTS.file_stem)))
        self._children = {r.file_stem: _Lines(lines_of(take.path(r.file_stem))) for r in children}

    def take_object(self, number: int) -> bytes:
        """The line of an object if it is the next one, else nothing."""
        head = self.objects.head
        return self.objects.take() if head is not None and head[1]["id"] == number else b""

    def take_children(self, stem: str, number: int) -> Iterator[bytes]:
        """The lines that belong to an object; they are next if there are any."""
        lines = self._children[stem]
        while lines.head is not None and lines.head[1][PARENT_FILTER] == number:
            yield lines.take()


def _object_ids(sources: Sequence[_Source]) -> Iterator[int]:
    """The ids of all objects in any take, in order; the caller takes each before asking for the next."""
    while heads := [source.objects.head[1]["id"] for source in sources if source.objects.head is not None]:
        yield min(heads)
