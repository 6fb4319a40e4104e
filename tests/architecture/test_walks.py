"""The walks of docs/architecture.md: files that there are, arrows that are right, two climbs.

And every other file and name of code on that page.
"""

import ast
import functools
import re
from itertools import pairwise

import pytest

from tests.architecture.test_imports import FLOOR, PACKAGE, ROOT, imports, known, name_of, room

ARROW = {"up": "↑", "down": "↓", "along": "→"}
FILE = r"`[\w/]+\.(?:py|yaml)`"


PAGE = (ROOT / "docs" / "architecture.md").read_text()


def walks():
    text = PAGE.partition("## Four walks")[2].partition("\n## ")[0]
    return [
        re.findall(rf"{FILE}|[↑↓→]", found.group())
        for found in re.finditer(rf"{FILE}(?:\s+[↑↓→]\s+{FILE})+", text)
    ]


def room_of(stop):
    return stop.strip("`").split("/")[0]


def neighbours():
    """Rooms one of which imports the other."""
    found = {
        frozenset((room(name), room(other)))
        for name, path in known().items()
        for other, *_ in imports(path)
    }
    return found | {frozenset(("hwconfigs", "chip"))}  # read as data


def test_there_are_four_walks_and_three_ends_of_some():
    assert len(walks()) == 7


@pytest.mark.parametrize("walk", walks(), ids=lambda walk: f"{walk[0]} to {walk[-1]}")
def test_a_walk_goes_where_its_arrows_point_and_climbs_twice_at_most(walk):
    stops, arrows = walk[::2], walk[1::2]
    for stop in stops:
        path = stop.strip("`")
        assert (PACKAGE / path).is_file() or (ROOT / path).is_file(), stop
    near = neighbours()
    for before, arrow, after in zip(stops, arrows, stops[1:], strict=False):
        low, high = FLOOR[room_of(before)], FLOOR[room_of(after)]
        way = "up" if high > low else "down" if high < low else "along"
        assert arrow == ARROW[way], (before, after)
        rooms = frozenset((room_of(before), room_of(after)))
        assert len(rooms) == 1 or rooms in near, (before, after)
    climbs = re.findall("↑+", "".join(arrow for arrow in arrows if arrow != "→"))
    assert len(climbs) <= 2


def file_of(path):
    return next(one for one in (PACKAGE / path, ROOT / path) if one.is_file())


@functools.cache
def imported():
    return {name: {other for other, *_ in imports(path)} for name, path in known().items()}


def are_near(one, two):
    """Whether a file imports the other, or one stands between them or above both."""
    of = imported()
    between = one in of[two] or two in of[one]
    return between or any(
        {one, two} <= of[name]
        or (name in of[one] and two in of[name])
        or (name in of[two] and one in of[name])
        for name in of
    )


@pytest.mark.parametrize("walk", walks(), ids=lambda walk: f"{walk[0]} to {walk[-1]}")
def test_stops_that_follow_each_other_know_each_other(walk):
    files = [file_of(stop.strip("`")) for stop in walk[::2]]
    names = [name_of(path) for path in files if path.suffix == ".py"]
    for before, after in pairwise(names):
        assert are_near(before, after), (before, after)


def test_some_files_do_not_know_each_other():
    assert not are_near("cimsim.video.io", "cimsim.crossbar.adc")


def test_every_file_on_the_page_is_there_in_the_room_of_its_row():
    for line in PAGE.splitlines():
        inside = ("", *re.findall(r"`(\w+/)`", line)) if line.startswith("| ") else ("",)
        for name in re.findall(r"`([\w/]+\.(?:py|yaml))`", line):
            bare = not line.startswith("| ") and "/" not in name
            places = [root / room_ / name for root in (PACKAGE, ROOT) for room_ in inside]
            places += list(PACKAGE.rglob(name)) if bare else []
            assert any(place.is_file() for place in places), name


@functools.cache
def defined():
    """Names of classes, functions, fields and attributes in the package."""
    found = set()
    for path in known().values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found


def test_every_name_of_code_on_the_page_is_in_the_code():
    said = set(re.findall(r"`((?:[\w]+\.)*\w+)(?:\([^`]*\))?`", PAGE))
    said = {one for one in said if not one.endswith((".py", ".yaml", ".json"))}
    named = {one for one in said if "." in one or "_" in one or re.match(r"[A-Z][a-z]", one)}
    assert len(named) > 15
    modules = {name.rpartition(".")[2] for name in known()}
    for one in named:
        assert one.rpartition(".")[2] in defined() | modules, one
