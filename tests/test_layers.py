"""The house keeps its rooms: who imports whom, who prints, and what is offered to the outside."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import harvester
from harvester import errors

ROOT = Path(harvester.__file__).parent
ROOMS = ("registry", "dump", "harvest", "ask", "analysis", "demo", "cli")
HALL = {"errors", "config"}
MAY_IMPORT = {
    "errors": set[str](),
    "starting": set[str](),
    "dotenv": {"errors"},
    "config": {"errors", "dotenv"},
    "registry": HALL,
    "dump": HALL,
    "harvest": {"registry", "dump"} | HALL,
    "ask": {"registry"} | HALL,
    "analysis": {"dump"} | HALL,
    "demo": set[str](),
    "__main__": {"cli"},
    "cli": {"harvest", "ask", "analysis", "demo", "registry", "dump", "starting"} | HALL,
}
KEPT_IN = {
    "aiohttp": ("registry/", "demo/"),
    "backoff": ("registry/retry.py",),
    "aiolimiter": ("registry/throttle.py",),
    "rich": ("cli/",),
    "typer": ("cli/",),
    "pydantic_settings": ("config.py",),
}

SOURCES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.name != "__init__.py")
PACKAGES = ["harvester", *(f"harvester.{room}" for room in ROOMS if (ROOT / room / "__init__.py").exists())]


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def imports(path: Path) -> Iterator[str]:
    """Full names of what a module imports, wherever in it."""
    package = ("harvester", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_module_stands_in_a_room_or_the_hall() -> None:
    assert {room(path) for path in SOURCES} <= MAY_IMPORT.keys()
    assert {"registry", "dump", "harvest", "ask", "demo", "cli", "errors", "config"} <= {room(path) for path in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_arrows(path: Path) -> None:
    here = room(path)
    for name in imports(path):
        if name.split(".")[0] == "harvester":
            parts = name.split(".")
            there = parts[1] if len(parts) > 1 else ""
            assert there == here or there in MAY_IMPORT[here], f"{here} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_other_peoples_packages_stay_where_they_are_hidden(path: Path) -> None:
    for name in imports(path):
        allowed = KEPT_IN.get(name.split(".")[0])
        assert allowed is None or str(path.relative_to(ROOT)).startswith(allowed), f"{name} outside {allowed}"


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_only_the_command_line_prints_and_ends_the_process(path: Path) -> None:
    if room(path) in ("cli", "__main__"):
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Name):
            assert node.id not in ("print", "input", "exit", "quit"), f"line {node.lineno}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            assert node.attr not in ("stdout", "stderr", "stdin", "exit"), f"line {node.lineno}"


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order ruff keeps `__all__` in."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_offered_exists_and_is_in_order(package: str) -> None:
    module = importlib.import_module(package)
    offered = getattr(module, "__all__", [])
    assert package.endswith(".cli") or offered, f"{package} says nothing of what it offers"
    assert all(hasattr(module, name) for name in offered)
    assert offered == sorted(set(offered), key=order)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_offers_what_its_init_imports_for_others(package: str) -> None:
    module = importlib.import_module(package)
    if not hasattr(module, "__all__"):
        return
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    brought = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harvester")
        for alias in node.names
    }
    assert set(module.__all__) <= brought | {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    } | set(vars(module)) - set(vars(builtins))
    assert brought - set(module.__all__) <= {"software_version"}


def drawn_tree() -> dict[str, str]:
    """Each class of the errors' docstring and the one it hangs from."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│ ├└─]*)(\w+Error)\b", line)
        if match:
            depth = len(match.group(1)) // 4
            above[depth:] = [match.group(2)]
            parents[match.group(2)] = above[depth - 1] if depth else ""
    return parents


def test_the_tree_in_the_errors_docstring_is_the_tree_of_classes() -> None:
    real = {
        name: kind.__base__.__name__ if kind is not errors.HarvesterError and kind.__base__ else ""
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    }
    assert drawn_tree() == real
    assert len(real) >= 12
