"""Imports point downward only, as the house plan of docs/architecture.md draws it.

What only type checkers see counts like everything else, and so do imports inside of functions.
"""

import ast
import functools
import re
from pathlib import Path

import networkx as nx
import pytest

import cimsim

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "cimsim"
FLOOR = {
    "errors": 0, "files": 0, "jit": 0, "rng": 0, "stats": 0, "zoo": 0,
    "boundary": 1, "display": 1, "kernels": 1, "video": 1,
    "folders": 2, "units": 2,
    "chip": 3, "hwconfigs": 3,
    "crossbar": 4, "graph": 4, "measured": 4,
    "frontends": 5, "mapping": 5, "training": 5,
    "engine": 6, "timing": 6,
    "energy": 7, "tasks": 7,
    "placing": 8, "pruning": 8, "session": 8,
    "report": 9,
    "studies": 10,
    "api": 11, "cli": 11, "testing": 11,
    "entry": 12,
    "__main__": 13,
}  # fmt: skip
# Rooms of one module: doors, and tools below everything. Another subject gets a folder.
LOOSE = {
    "__main__", "api", "entry",
    "errors", "files", "folders", "jit", "rng", "stats", "units",
}  # fmt: skip
# floors inside of a room, for rooms whose folders stand above each other
INSIDE = {
    "report": {"screen": 0, "numbers": 0, "chip": 1, "timeline": 1, "run": 2, "show": 3},
}
# imported through the package's public names only, which import it when they are first used
LAZY_ONLY = {"frontends"}
# Modules that know each other. A circle that is not here is to be mended, not added.
CIRCLES = {
    # LayerGraph.reference(inputs) is part of what a graph is; the interpreter walks the graph
    ("cimsim.graph.ir", "cimsim.graph.reference"),
    # a chip shows its fields; what a field is comes from the annotations of the chip's models
    ("cimsim.chip.fields", "cimsim.chip.spec"),
}
# Methods by which an object draws or writes itself with what stands above it: `drawing.above`
ABOVE = {
    "cimsim.mapping.mapping": {"cimsim.report.show:MappingPictures"},
    "cimsim.timing.timeline": {"cimsim.report.show:TimelinePictures"},
    "cimsim.session.result": {
        "cimsim.report.show:ResultPictures",
        "cimsim.report.run.folder:write",
    },
    "cimsim.studies.study": {"cimsim.studies.show:StudyPictures"},
}


def modules():
    yield from PACKAGE.rglob("*.py")
    yield from (ROOT / "frontends").rglob("*.py")


def rooms():
    """Whatever lies in the package or beside it, module or folder."""
    inside = (path for path in PACKAGE.iterdir() if path.suffix == ".py" or any(path.glob("*.py")))
    beside = (f"{name}/__init__.py" for name in ("frontends", "hwconfigs"))
    found = {path.stem for path in inside} | {Path(name).parent.name for name in beside}
    return found - {"__init__"}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("cimsim", *parts) if parts[0] == "frontends" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name):
    return name.split(".")[1] if "." in name else ""


@functools.cache
def known():
    return {name_of(path): path for path in modules()}


def public(name):
    """Module that a name of the package itself stands for: cimsim.trace, cimsim.Result."""
    return cimsim._PUBLIC.get(name)


def is_of(node, name):
    """Whether an expression is an attribute of what a name stands for."""
    is_attribute = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return is_attribute and node.value.id == name


@functools.cache
def imports(path):
    """Modules that a module imports, with the line and whether through a name of the package."""
    tree, found = ast.parse(path.read_text()), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if node.module == "cimsim" and public(alias.name):
                    found.append((public(alias.name), node.lineno, True))
                else:
                    found.append((name if name in known() else node.module, node.lineno, False))
        elif is_of(node, "cimsim") and public(node.attr):
            found.append((public(node.attr), node.lineno, True))
    inside = [(name, *more) for name, *more in found if re.match(r"cimsim\.", name)]
    here = name_of(path)
    return [(name, *more) for name, *more in inside if name != here]


@pytest.mark.parametrize("path", sorted(modules()), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    here = room(name_of(path))
    if not here:
        return  # the package itself hands on names from everywhere
    for name, line, through_package in imports(path):
        where, other = f"{path.relative_to(ROOT)}:{line}", room(name)
        assert here == other or FLOOR[other] < FLOOR[here], f"{where}: {here} imports {other}"
        lazy = here in (other, "api") or through_package or other not in LAZY_ONLY
        assert lazy, f"{where}: use cimsim.trace"


@pytest.mark.parametrize("name", INSIDE)
def test_imports_inside_of_a_room_point_down_too(name):
    floors, inside = INSIDE[name], PACKAGE / name
    assert {path.stem for path in inside.iterdir()} - {"__init__", "__pycache__"} == set(floors)
    for path in inside.rglob("*.py"):
        here, *_ = name_of(path).split(".")[2:] or [""]
        for other, line, _ in imports(path):
            there, *_ = other.split(".")[2:] or [""]
            if here and room(other) == name and here != there:
                where = f"{path.relative_to(ROOT)}:{line}"
                assert floors[there] < floors[here], f"{where}: {here} imports {there}"


def test_every_room_has_a_whole_floor_and_every_floor_its_rooms():
    assert rooms() == set(FLOOR)
    assert all(type(floor) is int for floor in FLOOR.values())
    assert set(FLOOR.values()) == set(range(max(FLOOR.values()) + 1))


def test_what_has_no_folder_is_a_door_or_a_tool():
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == LOOSE
    assert all(FLOOR[name] <= 2 or FLOOR[name] >= 11 for name in LOOSE)


def test_the_house_plan_names_every_room_on_its_floor():
    plan = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", plan, re.MULTILINE)
    drawn = {
        Path(name).stem: int(floor)
        for floor, names in rows
        for name in re.findall(r"`([\w/.]+)`", names)
        if name != "cimsim/"
    }
    assert drawn == {name: floor for name, floor in FLOOR.items() if name != "__main__"}


def test_no_modules_go_in_circles_but_those_with_a_reason():
    house = nx.DiGraph(
        (name, other) for name, path in known().items() for other, *_ in imports(path) if room(name)
    )
    found = nx.strongly_connected_components(house)
    assert {tuple(sorted(one)) for one in found if len(one) > 1} == CIRCLES


def test_only_objects_that_show_or_write_themselves_reach_up():
    found = {}
    for name, path in known().items():
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and is_of(node.func, "drawing")
            if is_call and node.func.attr == "above":
                (what,) = node.args
                found.setdefault(name, set()).add(ast.literal_eval(what))
    assert found == ABOVE


def test_the_networks_import_nothing_of_cimsim_but_themselves():
    for path in (PACKAGE / "zoo").glob("*.py"):
        assert {room(name) for name, *_ in imports(path)} <= {"zoo"}, path
