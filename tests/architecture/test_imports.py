"""Imports point downward only, as the house plan of docs/architecture.md draws it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOOR = {
    "errors": -1, "boundary": -0.7, "outside": -0.6, "display": -0.6,
    "doubts": 0, "files": -1, "folders": -0.5, "units": -0.5,
    "rng": -1, "jit": -1, "stats": -1,
    "chip": 0, "hwconfigs": 0, "video": 1, "zoo": 0, "kernels": 1, "crossbar": 2, "graph": 3,
    "training": 3, "frontends": 3.5, "mapping": 4, "engine": 5, "timing": 5, "placing": 5.5,
    "energy": 6, "tasks": 6, "measured": 6, "pruning": 6.2, "search": 6.5,
    "report": 7, "exported": 7.4,
    "libraries": 7.4,
    "loading": 7.5, "functional": 7.5, "programmed": 7.7, "retention": 7.7,
    "simulation": 8,
    "sweep": 8, "plugs": 8, "api": 8.8, "studies": 8.5, "cli": 9, "entry": 9.5, "__main__": 10,
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
