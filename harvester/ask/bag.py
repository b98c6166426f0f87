"""The files of an object as the directories they lay in, with what each directory holds.

Hides what a path may be: it comes from whoever made the bag, and the Registry keeps it. Empty names, `..`, thousands
of levels, a file named as a directory is: every file has one place in the tree, and no path can make it deep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from harvester.registry import Record

DEEPEST = 8
"""Levels of directories; what lies deeper keeps the rest of its path as its name."""

ALGORITHMS = ("sha256", "sha512", "sha1", "md5")
"""Digests, the one to show first."""


@dataclass(frozen=True, slots=True)
class File:
    """One file: its path within the bag, or its name once it lies in a directory."""

    id: int
    path: str
    size: int
    deleted: bool
    algorithm: str
    digest: str
    fixity: str
    storage: str


@dataclass(frozen=True, slots=True, eq=False)
class Directory:
    """What lies directly in a directory, and the totals of everything beneath. `active` and `size` are of files
    that are not deleted, as the Registry counts them.
    """

    name: str
    files: tuple[File, ...]
    directories: tuple[Directory, ...]
    active: int
    deleted: int
    size: int


@dataclass(frozen=True)
class Excerpt:
    """The part of a directory that is shown; `files` are the first of its own."""

    directory: Directory
    files: tuple[File, ...]
    excerpts: tuple[Excerpt, ...]

    @property
    def files_left(self) -> int:
        """Files directly in the directory that are not shown."""
        return len(self.directory.files) - len(self.files)

    @property
    def directories_left(self) -> tuple[Directory, ...]:
        """Directories directly in it that are not shown."""
        return self.directory.directories[len(self.excerpts) :]


def file_of(record: Record, object_identifier: str) -> File:
    """An entry of the list of files, as much of it as a tree shows."""
    algorithm = next((name for name in ALGORITHMS if record.get(name)), "")
    return File(
        id=record["id"],
        path=within(record.get("identifier") or "", object_identifier),
        size=record.get("size") or 0,
        deleted=record.get("state") == "D",
        algorithm=algorithm,
        digest=record[algorithm] if algorithm else "",
        fixity=record.get("last_fixity_check") or "",
        storage=record.get("storage_option") or "",
    )


def within(identifier: str, object_identifier: str) -> str:
    """A file's path within its bag; its whole identifier if that does not begin with the object's."""
    return identifier.removeprefix(f"{object_identifier}/")


@dataclass(slots=True)
class _Growing:
    """A directory while files are put into it."""

    files: list[tuple[str, File]] = field(default_factory=list)
    directories: dict[str, _Growing] = field(default_factory=dict)


def arrange(files: Iterable[File]) -> Directory:
    """The root directory of these files. A directory that holds but one directory is drawn as one with it."""
    root = _Growing()
    for file in files:
        *above, name = file.path.split("/", DEEPEST)
        place = root
        for part in above:
            place = place.directories.setdefault(part, _Growing())
        place.files.append((name, file))
    return _grown("", root)


def _grown(name: str, place: _Growing) -> Directory:
    inner = [_grown(*_joined(part, below)) for part, below in place.directories.items()]
    inner.sort(key=lambda directory: _order(directory.name))
    own = [file for _, file in place.files]
    return Directory(
        name=name,
        files=tuple(replace(f, path=n) for n, f in sorted(place.files, key=lambda pair: (_order(pair[0]), pair[1].id))),
        directories=tuple(inner),
        active=sum(not file.deleted for file in own) + sum(d.active for d in inner),
        deleted=sum(file.deleted for file in own) + sum(d.deleted for d in inner),
        size=sum(file.size for file in own if not file.deleted) + sum(d.size for d in inner),
    )


def _joined(name: str, place: _Growing) -> tuple[str, _Growing]:
    while not place.files and len(place.directories) == 1:
        ((part, place),) = place.directories.items()
        name = f"{name}/{part}"
    return name, place


def _order(name: str) -> tuple[str, str]:
    return name.casefold(), name


def excerpt(root: Directory, most: int | None) -> Excerpt:
    """At most `most` files and as many directories, those near the root before the deeper ones; None is all.

    Directories share evenly: the small ones are shown whole before any large one fills the screen.
    """
    order, waiting = [root], deque([root])
    while waiting and (most is None or len(order) <= most):
        inner = waiting.popleft().directories
        inner = inner if most is None else inner[: most + 1 - len(order)]
        order += inner
        waiting += inner
    if most is None:
        return _cut(root, {directory: directory.files for directory in order})
    shown: dict[Directory, tuple[File, ...]] = {}
    for place, directory in enumerate(sorted(order, key=lambda directory: len(directory.files))):
        shown[directory] = directory.files[: most // (len(order) - place)]
        most -= len(shown[directory])
    return _cut(root, shown)


def _cut(directory: Directory, shown: dict[Directory, tuple[File, ...]]) -> Excerpt:
    inner = tuple(_cut(below, shown) for below in directory.directories if below in shown)
    return Excerpt(directory, shown[directory], inner)
