"""Disks on which the world ends: a process killed at any step, a power cut that takes what was not synced."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harvester.dump import Disk


class Crash(BaseException):
    """The process is dead. Nothing it still tries reaches the disk."""


class FastDisk(Disk):
    """A disk whose syncs return at once: what they would save is modelled here, not tried out.

    Trees are removed entry by entry, so that one can be left half removed.
    """

    def sync(self, descriptor: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass

    def remove_tree(self, path: Path) -> None:
        for entry in sorted(path.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                self.remove_tree(entry)
            else:
                self.remove(entry)
        self.remove_directory(path)

    def remove_directory(self, path: Path) -> None:
        path.rmdir()


@dataclass(frozen=True)
class Moment:
    """When the process dies: at its `step`-th step, before, after, or (for writes) in the middle of it."""

    step: int
    when: str


class CrashingDisk(FastDisk):
    """Dies at a moment; without one, it counts the steps and remembers what each was."""

    def __init__(self, moment: Moment | None = None) -> None:
        super().__init__()
        self.steps: list[str] = []
        self._moment = moment
        self._dead = False

    def _step(self, name: str, do: Callable[[], object], half: Callable[[], object] = lambda: None) -> None:
        if self._dead:
            raise Crash
        self.steps.append(name)
        if self._moment is None or self._moment.step != len(self.steps):
            do()
            return
        self._dead = True
        {"before": lambda: None, "middle": half, "after": do}[self._moment.when]()
        raise Crash

    def make_directory(self, path: Path) -> None:
        self._step("make_directory", lambda: super(CrashingDisk, self).make_directory(path))

    def open_append(self, path: Path) -> int:
        opened: list[int] = []
        self._step("open_append", lambda: opened.append(super(CrashingDisk, self).open_append(path)))
        return opened[0]

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        write = super().write
        self._step("write", lambda: write(descriptor, data), lambda: write(descriptor, data[: len(data) // 2]))

    def truncate(self, descriptor: int, size: int) -> None:
        self._step("truncate", lambda: super(CrashingDisk, self).truncate(descriptor, size))

    def sync(self, descriptor: int) -> None:
        self._step("sync", lambda: None)

    def sync_directory(self, path: Path) -> None:
        self._step("sync_directory", lambda: None)

    def close(self, descriptor: int) -> None:
        self._step("close", lambda: super(CrashingDisk, self).close(descriptor))

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename", lambda: super(CrashingDisk, self).rename(source, target))

    def remove(self, path: Path) -> None:
        self._step("remove", lambda: super(CrashingDisk, self).remove(path))

    def remove_directory(self, path: Path) -> None:
        self._step("remove_directory", lambda: super(CrashingDisk, self).remove_directory(path))

    def link(self, target: str, link: Path) -> None:
        self._step("link", lambda: super(CrashingDisk, self).link(target, link))


def bury(output: Path) -> None:
    """Close what a dead process had open, as the kernel does; only then are its locks given back."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            opened = entry.readlink()
        except FileNotFoundError:
            continue
        if opened.is_relative_to(output):
            os.close(int(entry.name))


# Power cuts


@dataclass(eq=False)
class File:
    """What is in a file, and what of it has been synced; a symbolic link is one whose target is always synced."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    link: str = ""


@dataclass(eq=False)
class Directory:
    """Entries are what the changes to them make; there is nothing else to know."""


Node = File | Directory
Place = tuple[Directory, str]


@dataclass(eq=False)
class Change:
    """One change of directory entries, atomic: a node gets a place, or (both) moves, or loses one."""

    node: Node
    source: Place | None
    target: Place | None
    durable: bool = False


class RecordingDisk(FastDisk):
    """Does everything, and keeps a model of what a power cut would leave."""

    def __init__(self, output: Path) -> None:
        super().__init__()
        self.output = output
        self.changes: list[Change] = []
        self.files: list[File] = []
        self.steps = 0
        self.before_each: Callable[[], None] = lambda: None
        self._root = Directory()
        self._nodes: dict[Path, Node] = {output: self._root}
        self._opened: dict[int, File] = {}
        self.load(output)

    def load(self, path: Path) -> None:
        """What lies there when it begins has lain there for long."""
        for entry in sorted(path.iterdir()):
            if entry.is_symlink():
                self._add(entry, File(link=str(entry.readlink())))
            elif entry.is_dir():
                self._add(entry, Directory())
                self.load(entry)
            else:
                content = entry.read_bytes()
                self._add(entry, File(bytearray(content), content))
        for change in self.changes:
            change.durable = True

    def synced(self, path: Path) -> bytes:
        """What of a file has been synced; nothing if there is no such file."""
        node = self._nodes.get(path)
        return node.synced if isinstance(node, File) else b""

    def _boundary(self) -> None:
        self.before_each()
        self.steps += 1

    def _place(self, path: Path) -> Place:
        parent = self._nodes[path.parent]
        assert isinstance(parent, Directory)
        return parent, path.name

    def _add(self, path: Path, node: Node) -> None:
        self._nodes[path] = node
        if isinstance(node, File):
            self.files.append(node)
        self.changes.append(Change(node, None, self._place(path)))

    def _drop(self, path: Path) -> None:
        node = self._nodes.pop(path, None)
        if node is not None:
            self.changes.append(Change(node, self._place(path), None))

    def make_directory(self, path: Path) -> None:
        self._boundary()
        super().make_directory(path)
        self._add(path, Directory())

    def open_append(self, path: Path) -> int:
        self._boundary()
        if path not in self._nodes:
            self._add(path, File())
        descriptor = super().open_append(path)
        node = self._nodes[path]
        assert isinstance(node, File)
        self._opened[descriptor] = node
        return descriptor

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        self._boundary()
        super().write(descriptor, data)
        self._opened[descriptor].data += data

    def truncate(self, descriptor: int, size: int) -> None:
        self._boundary()
        super().truncate(descriptor, size)
        del self._opened[descriptor].data[size:]

    def sync(self, descriptor: int) -> None:
        self._boundary()
        file = self._opened[descriptor]
        file.synced = bytes(file.data)

    def sync_directory(self, path: Path) -> None:
        self._boundary()
        directory = self._nodes[path]
        for change in self.changes:
            place = change.target or change.source
            assert place is not None
            change.durable = change.durable or place[0] is directory

    def close(self, descriptor: int) -> None:
        self._boundary()
        super().close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._boundary()
        super().rename(source, target)
        change = Change(self._nodes[source], self._place(source), self._place(target))
        self.changes.append(change)
        for path in [path for path in self._nodes if path.is_relative_to(source)]:
            self._nodes[target / path.relative_to(source)] = self._nodes.pop(path)

    def remove(self, path: Path) -> None:
        self._boundary()
        super().remove(path)
        self._drop(path)

    def remove_directory(self, path: Path) -> None:
        self._boundary()
        super().remove_directory(path)
        self._drop(path)

    def link(self, target: str, link: Path) -> None:
        self._boundary()
        super().link(target, link)
        self._add(link, File(link=target))


Tree = dict[str, "bytes | str | None"]
"""What survived: the content of each file, the target of each link, None for a directory, by path."""


def survivals(disk: RecordingDisk, chance: random.Random) -> Iterator[Tree]:
    """What a power cut could leave right now.

    Changes of directories that were not synced: none of them made, all, only the first few (a file system
    that keeps a journal of them), any. What was not synced of a file's content: all lost, half of it, zeros
    in its place, all there.
    """
    pending = [change for change in disk.changes if not change.durable]
    chosen: list[Sequence[Change]] = [[], pending]
    chosen += [pending[:length] for length in range(1, len(pending))]
    chosen += [[change for change in pending if chance.random() < 0.5] for _ in range(3 if len(pending) > 1 else 0)]
    for kept in chosen:
        for content in (_lost, _half, _zeros, _kept):
            yield _tree(disk, set(kept), content)


def _lost(file: File) -> bytes:
    return file.synced


def _half(file: File) -> bytes:
    common = _common(file)
    return bytes(file.data[: common + (len(file.data) - common) // 2])


def _zeros(file: File) -> bytes:
    common = _common(file)
    return bytes(file.data[:common]) + bytes(len(file.data) - common)


def _kept(file: File) -> bytes:
    return bytes(file.data)


def _common(file: File) -> int:
    """Bytes that are the same in the file and in what of it was synced."""
    common = min(len(file.data), len(file.synced))
    while file.data[:common] != file.synced[:common]:
        common -= 1
    return common


def _tree(disk: RecordingDisk, kept: set[Change], content: Callable[[File], bytes]) -> Tree:
    entries: dict[int, dict[str, Node]] = {}
    for change in disk.changes:
        if not (change.durable or change in kept):
            continue
        for place, node in ((change.source, None), (change.target, change.node)):
            if place is None:
                continue
            names = entries.setdefault(id(place[0]), {})
            if node is not None:
                names[place[1]] = node
            elif names.get(place[1]) is change.node:
                del names[place[1]]
    tree: Tree = {}

    def grow(directory: Directory, path: str) -> None:
        for name, node in entries.get(id(directory), {}).items():
            if isinstance(node, Directory):
                tree[path + name] = None
                grow(node, f"{path}{name}/")
            else:
                tree[path + name] = node.link or content(node)

    grow(disk._root, "")
    return tree


def materialise(tree: Tree, output: Path) -> None:
    """Put on disk what survived."""
    output.mkdir(parents=True)
    for name, content in tree.items():
        path = output / name
        if content is None:
            path.mkdir(exist_ok=True)
        elif isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
