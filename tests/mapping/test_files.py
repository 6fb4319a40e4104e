import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cimsim.errors import MappingError
from cimsim.mapping.files import from_data, load_mapping, save_mapping, to_data
from cimsim.mapping.mapping import Mapping, map_graph
from tests.timing.nets import Duplicates, Net, chip, mappings, nets


@settings(max_examples=60)
@given(mapping=mappings())
def test_plain_data_brings_the_same_mapping_back(mapping):
    assert from_data(to_data(mapping), mapping.graph, mapping.chip).layers == mapping.layers


@settings(max_examples=30, deadline=None)
@given(
    graph=nets(),
    suffix=st.sampled_from([".yaml", ".json"]),
    how=st.sampled_from(["rows", "offset"]),
)
def test_files_bring_the_same_mapping_back(graph, suffix, how, tmp_path_factory):
    hardware = chip(inputs__signed=how)
    mapping = map_graph(graph, hardware, Duplicates(2), "packed")
    path = tmp_path_factory.mktemp("maps") / f"m{suffix}"
    save_mapping(mapping, path)
    again = load_mapping(path, graph, hardware)
    assert again == mapping
    assert again.to_dict() == mapping.to_dict()


def test_orders_of_lines_are_kept(tmp_path):
    net = Net(1, 4, 4)
    net.conv("x", 3, 2, padding=0)
    one = map_graph(net.graph(), chip())
    layer = one.layers[0]
    changed = type(layer)(
        layer.name, layer.ops, layer.layout, layer.slots, (), ((3, 1, 0, 2),), ((2, 0, 1),)
    )
    mapping = Mapping(one.graph, one.chip, "mine", (changed,))
    save_mapping(mapping, tmp_path / "m.yaml")
    assert load_mapping(tmp_path / "m.yaml", one.graph, one.chip) == mapping


def two_layers():
    net = Net(2, 6, 6)
    net.conv(net.conv("x", 4), 4)
    return net.graph(), chip(array__rows=64, array__cols=16)


@pytest.fixture
def saved(tmp_path):
    graph, hardware = two_layers()
    path = tmp_path / "m.yaml"
    save_mapping(map_graph(graph, hardware, "im2col", "packed"), path)
    return path


def edit(path, change):
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data))


def layer(data, number, **fields):
    data["layers"][number].update(fields)


def block(data, **fields):
    data["layers"][1]["blocks"][0].update(fields)


# m1: 18 x 4, m2: 36 x 4, both in array 0 of tile 0
REFUSED = {
    "overlap": (lambda d: [layer(d, n, replicas=[[[0, 0, 5 * n, 0]]]) for n in (0, 1)],
                r"'m2', replica 0, tile 0, array 0, rows 5..40, columns 0..3: .*overlap at row 5"),
    "hole": (lambda d: block(d, rows=35),
             r"'m2', group 0.*4 of 36 x 4 elements are placed nowhere, first .* row 35, column 0"),
    "off the chip": (lambda d: layer(d, 1, replicas=[[[900, 0]]]), r"'m2'.*tile 900.*outside"),
    "off the array": (lambda d: layer(d, 1, replicas=[[[0, 0, 40, 0]]]),
                      r"'m2'.*rows 40..75, columns 0..3: leaves the array of 64 word lines x 16"),
    "twice": (lambda d: d["layers"][1]["blocks"].append(d["layers"][1]["blocks"][0]
                                                         | {"col0": 8}),
              r"'m2', array 0, rows 0..35, columns 8..11: maps elements of group 0 that .*0..3"),
    "layer twice": (lambda d: d["layers"].append(d["layers"][0] | {"replicas": [[[5, 0]]]}),
                    "'m1' is placed twice"),
    "layer missing": (lambda d: d["layers"].pop(0), "layers without a place: m1"),
    "unknown layer": (lambda d: layer(d, 0, ops=["m3"]), "'m1': ops: .* no layer 'm3'; known"),
    "unknown key": (lambda d: block(d, colls=3), r"'m2': blocks\[0\]: unknown key 'colls'.*cols"),
    "missing key": (lambda d: d["layers"][1]["blocks"][0].pop("rows"),
                    r"blocks\[0\]: missing rows"),
    "no number": (lambda d: block(d, row0="a"),
                  r"blocks\[0\]: row0: expected a whole number, got 'a'"),
    "a boolean": (lambda d: block(d, row0=True), "row0: expected a whole number, got True"),
    "windows": (lambda d: layer(d, 1, windows_per_activation=[1, 0]),
                r"windows_per_activation: expected a whole number, got \[1, 0\]"),
    "window shape": (lambda d: layer(d, 1, window_shape=[1, 1, 1]),
                     r"window_shape: expected two numbers, got \[1, 1, 1\]"),
    "flat window": (lambda d: layer(d, 1, window_shape=1), "window_shape: expected a list"),
    "place": (lambda d: layer(d, 0, replicas=[[[0]]]),
              r"replicas\[0\]\[0\]: expected \[tile, array\]"),
    "no list": (lambda d: layer(d, 0, replicas=3), "replicas: expected a list, got 3"),
    "version": (lambda d: d.update(schema_version=2), "schema_version: expected 1, got 2"),
    "top key": (lambda d: d.update(layer=1), "unknown key 'layer'.*did you mean layers"),
    "layers": (lambda d: d.update(layers={}), "layers: expected a list"),
    "no name": (lambda d: d["layers"][0].pop("name"),
                r"layers\[0\]: expected a mapping with a 'name'"),
    "no ops": (lambda d: layer(d, 0, ops=[]), "ops: expected at least one layer"),
    "strange ops": (lambda d: layer(d, 0, ops=["m1", "m2"]), "do not share their weights"),
    "arrays": (lambda d: layer(d, 0, replicas=[[[0, 0], [1, 0]]]), "expected 1 arrays.*got 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_files_are_refused_with_the_place(saved, case):
    change, message = REFUSED[case]
    edit(saved, change)
    graph, hardware = two_layers()
    with pytest.raises(MappingError, match=f"^{re.escape(str(saved))}: .*(?:{message})"):
        load_mapping(saved, graph, hardware)


def test_an_edited_file_is_another_legal_mapping(saved):
    edit(saved, lambda d: layer(d, 1, replicas=[[[3, 0, 20, 9]], [[4, 0]]]))
    graph, hardware = two_layers()
    mapping = load_mapping(saved, graph, hardware)
    assert [(s.tile, s.array) for slots in mapping.layers[1].slots for s in slots] == [
        (3, 0),
        (4, 0),
    ]
    assert mapping.layers[1].origin(0, 0) == (20, 9)
    assert mapping.arrays_used == 3


@pytest.mark.parametrize(
    ("text", "part"),
    [("a: [", "not readable"), ("[1]", "expected a mapping file"), ("a: 1", "expected a mapping")],
)
def test_unreadable_files_say_so(tmp_path, text, part):
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(MappingError, match=part):
        load_mapping(path, *two_layers())
    with pytest.raises(MappingError, match="cannot be read"):
        load_mapping(tmp_path / "none.yaml", *two_layers())
    with pytest.raises(MappingError, match=r"ends in \.yaml"):
        save_mapping(map_graph(*two_layers()), tmp_path / "m.txt")
    with pytest.raises(MappingError, match="cannot be written"):
        save_mapping(map_graph(*two_layers()), path / "m.yaml")
