"""The walks of docs/architecture.md: files that there are, arrows that are right, two climbs."""

import re

import pytest

from tests.architecture.test_imports import FLOOR, PACKAGE, ROOT, imports, known, room

ARROW = {"up": "↑", "down": "↓", "along": "→"}
FILE = r"`[\w/]+\.(?:py|yaml)`"


def walks():
    page = (ROOT / "docs" / "architecture.md").read_text()
    text = page.partition("## Four walks")[2].partition("\n## ")[0]
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
