"""Layers that share an array, and lines in another order, compute what they compute alone."""

import numpy as np
import pytest
import torch

from cimsim.chip.cells import build
from cimsim.engine.calibrate import calibrate
from cimsim.engine.execute import execute
from cimsim.engine.program import program
from cimsim.mapping.mapping import Mapping, map_graph
from cimsim.placing.by_name import resolve

NOISY = {"device__sigma_program": "2 %", "device__sigma_read": "1 %", "adc__kind": "sar"}


def network(lab, signed):
    rng = np.random.default_rng(1)
    weights = rng.integers(-9, 10, (10, 3, 3, 3)), rng.integers(-9, 10, (6, 5, 3, 3))
    first = lab.conv(weights[0].astype(np.float32), (6, 7), name="a", padding=(1,) * 4)
    middle = lab.relu("r", "a", first.output.shape)
    second = lab.conv(
        weights[1].astype(np.float32), (6, 7), name="b", source="r", groups=2, padding=(1,) * 4
    )
    x = lab.whole_numbers((1, 3, 6, 7), -90 if signed else 0, 200)
    return lab.graph(first, middle, second), torch.from_numpy(x)


def outputs(mapping, x):
    hw = mapping.chip
    written = program(mapping, build(hw.device.kind, hw.device.parameters), 5)
    return execute(calibrate(written, [(x,)], 5), (x,), 0, 5).outputs[0]


@pytest.mark.parametrize("signed", ["offset", "rows", "phases"])
@pytest.mark.parametrize("errors", [{}, NOISY], ids=["exact", "noisy"])
@pytest.mark.parametrize("how", ["packed", "shared"])
def test_layers_on_one_array_give_the_same_bits(lab, signed, errors, how):
    graph, x = network(lab, signed != "offset")
    hw = lab.chip(inputs__signed=signed, array__rows=256, **errors)
    alone, packed = (map_graph(graph, hw, "im2col", resolve(name)) for name in ("in_order", how))
    assert max(len(where) for where in packed.by_slot.values()) > 1
    assert len(set(packed.turns.values())) < sum(len(layer.slots) for layer in packed.layers)
    assert torch.equal(outputs(alone, x), outputs(packed, x))


def shuffled(mapping, seed):
    rng = np.random.default_rng(seed)

    def orders(used):
        return tuple(tuple(rng.permutation(n).tolist()) for n in used)

    layers = tuple(
        type(layer)(
            layer.name, layer.ops, layer.layout, layer.slots, layer.origins,
            orders(layer.layout.rows_used), orders(layer.layout.cols_used),
        )
        for layer in mapping.layers
    )  # fmt: skip
    return Mapping(mapping.graph, mapping.chip, mapping.strategy, layers)


@pytest.mark.parametrize("signed", ["offset", "rows"])
def test_lines_in_any_order_give_the_same_integers(lab, signed):
    graph, x = network(lab, signed != "offset")
    mapping = map_graph(graph, lab.chip(inputs__signed=signed), "im2col", "packed")
    assert torch.equal(outputs(mapping, x), outputs(shuffled(mapping, 3), x))


def test_a_moved_line_takes_its_cells_error_along(lab):
    """With programming error cells belong to places: another order, another outcome."""
    graph, x = network(lab, signed=False)
    mapping = map_graph(graph, lab.chip(device__sigma_program="2 %"))
    one, other = outputs(mapping, x), outputs(shuffled(mapping, 3), x)
    assert not torch.equal(one, other)
    assert (one - other).abs().max() < 0.2 * one.abs().max()


def test_faults_sit_on_the_lines_that_a_packed_layer_really_takes(lab, tmp_path):
    graph, _ = network(lab, signed=False)
    path = tmp_path / "faults.csv"

    def written(rows):
        path.write_text("\n".join(["tile,array,row,col,cell,fault", *rows]))
        hw = lab.chip(array__rows=128, faults__map=str(path))
        packed = map_graph(graph, hw, "im2col", "packed")
        layers = program(packed, build(hw.device.kind, hw.device.parameters), 5).layers
        return packed, {name: layer.arrays[0].written.difference for name, layer in layers.items()}

    packed, sound = written([])
    places = {p.layer: p for p in packed.by_slot[next(iter(packed.slots_used))] if p.group == 0}
    assert set(places) == {"a", "b"}
    assert len({(p.row0, p.col0) for p in places.values()}) == 2
    for name, place in places.items():
        # a cell in the middle of the block: the line and the column that the placement says
        row, col = place.row0 + place.rows // 2, place.col0 + place.cols // 2
        _, faulty = written([f"0,0,{row},{col},+,on"])
        for layer in sound:
            changed = np.argwhere(faulty[layer] != sound[layer]).tolist()
            assert changed == ([[place.rows // 2, place.cols // 2]] if layer == name else [])
