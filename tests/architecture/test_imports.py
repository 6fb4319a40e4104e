"""Imports point downward only, as the house plan of docs/architecture.md draws it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOOR = {
    "errors": 0, "files": 0, "rng": 0, "jit": 0, "stats": 0, "zoo": 0,
    "boundary": 1, "display": 1, "doubts": 1, "video": 1, "kernels": 1,
    "units": 2, "folders": 2, "outside": 2,
    "chip": 3, "hwconfigs": 3,
    "crossbar": 4, "graph": 4, "measured": 4,
    "mapping": 5, "training": 5, "frontends": 5,
    "engine": 6, "timing": 6,
    "energy": 7, "tasks": 7,
    "placing": 8, "pruning": 8, "session": 8,
    "report": 9, "plugs": 10, "studies": 10,
    "api": 11, "cli": 11, "entry": 12, "__main__": 13,
}  # fmt: skip
# frontends is imported lazily, by the command line and the package's public names only
LAZY_ONLY = {"frontends"}


def modules():
    yield from (ROOT / "cimsim").rglob("*.py")
    yield from (ROOT / "frontends").rglob("*.py")


def room(path):
    parts = path.relative_to(ROOT).parts
    if parts[0] == "frontends":
        return "frontends"
    return parts[1].removesuffix(".py")


def imports(tree):
    """Rooms that a module imports, with the line; what only type checkers see does not count."""
    skip = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skip |= {id(inner) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skip:
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "cimsim" and len(parts) > 1 and parts[1] in FLOOR:
                yield parts[1], node.lineno


@pytest.mark.parametrize("path", sorted(modules()), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    here = room(path)
    if here == "__init__":
        return
    for other, line in imports(ast.parse(path.read_text())):
        where = f"{path.relative_to(ROOT)}:{line}"
        assert here == other or FLOOR[other] < FLOOR[here], f"{where}: {here} imports {other}"
        assert other not in LAZY_ONLY or here == other, f"{where}: use cimsim.trace"


def test_every_room_has_a_floor():
    assert {room(path) for path in modules()} - set(FLOOR) == {"__init__"}


def test_the_networks_import_nothing_of_cimsim_but_themselves():
    for path in (ROOT / "cimsim" / "zoo").glob("*.py"):
        found = {other for other, _ in imports(ast.parse(path.read_text()))}
        assert found <= {"zoo"}, path
