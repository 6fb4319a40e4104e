import importlib.metadata
import sys

import pytest

from cimsim.errors import MappingError
from cimsim.mapping.custom import find_strategy
from cimsim.mapping.layout import Block, Layout
from cimsim.mapping.mapping import map_graph
from cimsim.mapping.strategies import STRATEGIES, Im2col
from cimsim.placing.by_name import ALLOCATIONS, check, resolve
from tests.timing.nets import Net, chip

MODULE = """
from cimsim.mapping.strategies import Im2col

class Mine(Im2col):
    name = "mine"

class NeedsMore:
    def __init__(self, number): pass

ready = Mine()
nothing = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "own_maps_for_test.py").write_text(MODULE)
    (tmp_path / "broken_maps_for_test.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "own_maps_for_test"
    sys.modules.pop("own_maps_for_test", None)


def test_classes_and_objects_are_found_by_import_path(module):
    assert find_strategy(f"{module}:Mine").name == "mine"
    assert find_strategy(f"{module}:ready").name == "mine"
    mine = Im2col()
    assert find_strategy(mine) is mine


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("own_maps_for_test:Other", "has no 'Other'"),
        ("own_maps_for_test:nothing", "expected an object with a text 'name' and a method 'place'"),
        ("own_maps_for_test:NeedsMore", "building it without arguments failed with TypeError"),
        ("no_such_module_for_test:X", "cannot import 'no_such_module_for_test'"),
        (
            "broken_maps_for_test:X",
            "importing 'broken_maps_for_test' failed with ZeroDivisionError",
        ),
        ("im3col", "did you mean im2col"),
    ],
)
def test_what_is_no_strategy_is_refused(module, name, part):
    with pytest.raises(MappingError, match=part):
        find_strategy(name)
    with pytest.raises(MappingError, match=part):
        check(name, "in_order")


def test_installed_packages_offer_strategies(module, monkeypatch):
    point = importlib.metadata.EntryPoint("theirs", f"{module}:Mine", "cimsim.mapping")
    wrong = importlib.metadata.EntryPoint("wrong", f"{module}:Missing", "cimsim.mapping")

    def points(group):
        return [point, wrong] if group == "cimsim.mapping" else []

    monkeypatch.setattr("cimsim.boundary.outside.entry_points", points)
    monkeypatch.syspath_prepend(".")
    assert find_strategy("theirs").name == "mine"
    with pytest.raises(MappingError, match=r"known: .*theirs"):
        find_strategy("their")
    with pytest.raises(MappingError, match=r"loading 'wrong'.*failed with AttributeError"):
        find_strategy("wrong")


class Returns:
    """A strategy that does what it is told."""

    name = "odd"

    def __init__(self, make):
        self.make = make

    def place(self, op, chip):
        return self.make(op, chip)


def small(op, hardware):
    rows, cols = op.group_rows, op.group_cols
    return Layout(op.name, (Block(0, 0, 0, rows, cols, 0, 0, 0),), 1, 1, rows, cols, rows, cols)


ODD = [
    (lambda op, hw: 1 / 0, "layer 'm1': strategy 'odd': .*place.* failed with ZeroDivisionError"),
    (lambda op, hw: None, "layer 'm1': strategy 'odd' returned NoneType, expected a Layout"),
    (small, "returned a layout of array_rows 36, the layer has 64 on this chip"),
]


@pytest.mark.parametrize(("make", "part"), ODD)
def test_a_strategy_that_goes_wrong_is_named_with_its_layer(make, part):
    net = Net(4, 6, 6)
    net.conv("x", 4)
    with pytest.raises(MappingError, match=part):
        map_graph(net.graph(), chip(), Returns(make))


def test_names_resolve():
    assert {resolve(name).name for name in ALLOCATIONS} == set(ALLOCATIONS)
    found = {find_strategy(name).name.partition(":")[0] for name in STRATEGIES}
    assert found == set(STRATEGIES)
    assert find_strategy("omm:3").name == "omm:3"
    with pytest.raises(MappingError, match="method 'allocate'"):
        resolve(3)
    with pytest.raises(MappingError, match="cannot be read"):
        check("none.yaml", "in_order")
