"""apt-cmd's settings file: what apt-cmd takes is taken, what it would misunderstand is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import dotenv
from harvester.errors import ConfigError

NAME = "APTRUST_REGISTRY_API_KEY"


def value_in(tmp_path: Path, content: bytes) -> str | None:
    path = tmp_path / ".aptrust"
    path.write_bytes(content)
    entry = dotenv.read(path, {NAME}).get(NAME)
    return entry.value if entry else None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("{}=abc", "abc"),
        ("  {} = abc  ", "abc"),
        ("export {}=abc", "abc"),
        ("{}: abc", "abc"),
        ("{}=abc # the demo's", "abc"),
        ("{}=abc#def", "abc"),
        ("{}='abc#def'", "abc#def"),
        ('{}="abc#def" # quoted', "abc#def"),
        ("{}='a$b'", "a$b"),
        ('{}="a\\"b"', 'a"b'),
        ('{}="a\\$b"', "a$b"),
        ("{}=a$", "a$"),
        ("{}=", None),
        ('{}=""', None),
        ("# {}=abc", None),
        ("{}_OLD=abc", None),
    ],
)
def test_a_line_means_what_it_means_to_apt_cmd(tmp_path: Path, line: str, value: str | None) -> None:
    assert value_in(tmp_path, line.format(NAME).encode()) == value
    assert value_in(tmp_path, line.format(NAME.lower()).encode()) == value


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_other_lines_line_ends_and_a_byte_order_mark(tmp_path: Path, end: str) -> None:
    lines = ["# apt-cmd", "", "APTRUST_AWS_SECRET=$ecret/+=", f"{NAME}=abc", f"{NAME}=def"]
    assert value_in(tmp_path, b"\xef\xbb\xbf" + end.join(lines).encode()) == "def"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("abc-Secret", "not a line such as"),
        (f"{NAME} abc-Secret", "not a line such as"),
        (f'{NAME}="abc-Secret', "not a line such as"),
        (f"{NAME}='abc-Secret' more", "not a line such as"),
        (f"{NAME}=$abc-Secret", "variables are not filled in"),
        (f'{NAME}="${{abc-Secret}}"', "variables are not filled in"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_not_quoted(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        value_in(tmp_path, f"# one\n\n{line}\n".encode())
    assert raised.value.place == f"{tmp_path / '.aptrust'}:3"
    assert "Secret" not in f"{raised.value} {raised.value.mend} {raised.value.__context__!r}"


def test_a_file_that_is_no_text_or_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not UTF-8") as raised:
        value_in(tmp_path, b"abc-Secret\xff")
    assert raised.value.__context__ is None
    with pytest.raises(ConfigError, match="Is a directory"):
        dotenv.read(tmp_path, {NAME})


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=60))
def test_any_line_is_a_value_nothing_or_an_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.env"
    path.write_text(f"{NAME}={text}", "utf-8", newline="")
    try:
        assert all(entry.value for entry in dotenv.read(path, {NAME}).values())
    except ConfigError as error:
        assert error.place == f"{path}:1"
