"""The tree of a bag: every file has one place in it, whatever its path is, and every total is a sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from harvester.ask import Directory, Excerpt, File, arrange, excerpt, within
from harvester.ask.bag import DEEPEST, file_of

PARTS = st.sampled_from(["", ".", "..", "data", "Data", "a", "b", "a b", "\n", "\x1b[2J", "\u202e", "é", "x" * 300])
PATHS = st.one_of(st.lists(PARTS, min_size=1, max_size=30).map("/".join), st.text(max_size=40))


def file(number: int, path: str, *, size: int = 1, deleted: bool = False) -> File:
    return File(number, path, size, deleted, "sha256", "ab" * 32, "2026-01-01T00:00:00Z", "Standard")


@st.composite
def files(draw: st.DrawFn) -> list[File]:
    paths = draw(st.lists(PATHS, max_size=40))
    sizes = st.integers(0, 10**13)
    return [file(n, path, size=draw(sizes), deleted=draw(st.booleans())) for n, path in enumerate(paths)]


def places(directory: Directory, above: tuple[str, ...] = ()) -> Iterator[tuple[File, str]]:
    """Each file of a tree, and the path its place says it has."""
    for held in directory.files:
        yield held, "/".join((*above, held.path))
    for inner in directory.directories:
        yield from places(inner, (*above, inner.name))


def directories(directory: Directory, depth: int = 0) -> Iterator[tuple[Directory, int]]:
    yield directory, depth
    for inner in directory.directories:
        yield from directories(inner, depth + 1)


@given(files())
def test_every_file_has_the_one_place_that_its_path_says(given_files: list[File]) -> None:
    found = {held.id: path for held, path in places(arrange(given_files))}
    assert found == {held.id: held.path for held in given_files}
    assert len(list(places(arrange(given_files)))) == len(given_files)


@given(files())
def test_every_total_is_the_sum_of_what_lies_beneath(given_files: list[File]) -> None:
    for directory, depth in directories(arrange(given_files)):
        beneath = [held for held, _ in places(directory)]
        assert directory.active == sum(not held.deleted for held in beneath)
        assert directory.deleted == sum(held.deleted for held in beneath)
        assert directory.size == sum(held.size for held in beneath if not held.deleted)
        assert depth <= DEEPEST
        assert depth == 0 or beneath


def parts(part: Excerpt) -> Iterator[Excerpt]:
    yield part
    for inner in part.excerpts:
        yield from parts(inner)


def left_out(part: Excerpt) -> int:
    return part.files_left + sum(d.active + d.deleted for d in part.directories_left)


@given(files(), st.one_of(st.none(), st.integers(0, 50)))
def test_an_excerpt_is_no_longer_than_asked_and_counts_what_it_leaves_out(
    given_files: list[File], most: int | None
) -> None:
    shown = list(parts(excerpt(arrange(given_files), most)))
    drawn = Counter(held.id for part in shown for held in part.files)
    assert sum(drawn.values()) + sum(map(left_out, shown)) == len(given_files)
    assert set(drawn.values()) <= {1}
    if most is None:
        assert len(drawn) == len(given_files)
    else:
        assert len(drawn) <= most
        assert len(shown) <= most + 1


def test_directories_share_what_is_shown_and_small_ones_are_shown_whole() -> None:
    large = [file(n, f"data/a/{n:03}") for n in range(100)]
    small = [file(200, "bagit.txt"), file(201, "data/b/one"), file(202, "manifest-md5.txt")]
    part = excerpt(arrange([*large, *small]), 10)
    (data,) = part.excerpts
    a, b = data.excerpts
    assert [held.path for held in part.files] == ["bagit.txt", "manifest-md5.txt"]
    assert [held.path for held in b.files] == ["one"]
    assert [held.path for held in a.files] == [f"{n:03}" for n in range(7)]
    assert (part.files_left, a.files_left, b.files_left) == (0, 93, 0)


def test_of_too_many_directories_those_near_the_root_are_shown() -> None:
    many = [file(n, f"data/{n:03}/deep/{i}") for n in range(100) for i in range(2)]
    other = [file(500, "data/000/x"), file(501, "top/1")]
    part = excerpt(arrange([*many, *other]), 5)
    data, top = part.excerpts
    assert (data.directory.name, top.directory.name) == ("data", "top")
    assert [inner.directory.name for inner in data.excerpts] == ["000", "001/deep", "002/deep"]
    assert len(data.directories_left) == 97


def test_a_directory_that_holds_but_one_is_drawn_as_one_with_it() -> None:
    root = arrange([file(1, "data/scans/2026/a.tif"), file(2, "data/scans/2026/b.tif")])
    (only,) = root.directories
    assert only.name == "data/scans/2026"
    assert [held.path for held in only.files] == ["a.tif", "b.tif"]


def test_a_file_named_as_a_directory_and_names_alike_but_for_case_are_kept_apart() -> None:
    root = arrange([file(1, "data"), file(2, "data/a"), file(3, "data/A"), file(4, "data/a")])
    assert [held.id for held in root.files] == [1]
    assert [held.id for held in root.directories[0].files] == [3, 2, 4]


def test_a_path_of_thousands_of_levels_makes_no_deep_tree() -> None:
    root = arrange([file(level, "a/" * level + "f") for level in range(2500)])
    assert max(depth for _, depth in directories(root)) == DEEPEST
    assert len(list(places(root))) == 2500


def test_a_path_is_what_follows_the_identifier_of_the_object() -> None:
    assert within("inst.edu/bag/data/x", "inst.edu/bag") == "data/x"
    assert within("inst.edu/bag//x/", "inst.edu/bag") == "/x/"
    assert within("inst.edu/bagpipe/x", "inst.edu/bag") == "inst.edu/bagpipe/x"
    assert within("inst.edu/bag", "inst.edu/bag") == "inst.edu/bag"


def test_the_digest_shown_is_the_strongest_that_is_there() -> None:
    record = {
        "id": 1,
        "identifier": "o/a",
        "size": 3,
        "state": "D",
        "md5": "m",
        "sha1": "s",
        "sha256": "",
        "sha512": "",
    }
    shown = file_of(record, "o")
    assert (shown.path, shown.deleted, shown.algorithm, shown.digest) == ("a", True, "sha1", "s")
    assert file_of({**record, "sha256": "x"}, "o").algorithm == "sha256"
