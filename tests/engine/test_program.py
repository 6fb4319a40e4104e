import numpy as np
import pytest

from cimsim.chip.cells import build
from cimsim.engine.program import program
from cimsim.errors import SimulationError
from cimsim.graph.ir import LayerGraph
from cimsim.mapping.layout import Block, Layout
from cimsim.mapping.mapping import Mapping, PlacedLayer, Slot, map_graph


def written(network, hw, seed=0):
    return program(map_graph(network, hw), build(hw.device.kind, hw.device.parameters), seed)


def placed(op, hw, blocks, windows_per_activation=1):
    """A mapping of one layer from hand-made blocks."""
    layout = Layout.of(op, hw, blocks, windows_per_activation)
    slots = tuple(Slot(i, 0) for i in range(layout.n_arrays))
    from cimsim.graph.ir import InputOp

    graph = LayerGraph("net", [InputOp("x", op.input), op], [op.name])
    return Mapping(graph, hw, "custom", (PlacedLayer(op.name, (op.name,), layout, (slots,)),))


def test_arrays_together_hold_the_integer_matrix(lab):
    rng = np.random.default_rng(0)
    op = lab.conv(rng.normal(0, 1, (50, 5, 3, 3)), (6, 6), name="a")
    layer = written(lab.graph(op), lab.chip()).layers["a"]
    matrix = np.zeros((op.n_rows, op.n_cols))
    for array in layer.arrays:
        matrix[np.ix_(array.row_source, array.col_target)] += array.written.difference
    step = np.abs(op.weight).max() / 127
    np.testing.assert_array_equal(matrix, np.rint(op.weight[0].astype(np.float64) / step))
    np.testing.assert_array_equal(layer.weight[0], matrix)
    np.testing.assert_array_equal(layer.column_sums, matrix.sum(axis=0))
    assert layer.is_exact
    assert len(layer.arrays) == 4


def test_groups_share_an_array_on_its_diagonal_with_erased_cells_beside(lab):
    op = lab.conv(lab.whole_numbers((6, 2, 2, 2), -127, 127), (5, 5), groups=3, name="a")
    layer = written(lab.graph(op), lab.chip()).layers["a"]
    (array,) = layer.arrays
    expected = np.zeros((24, 6))
    for g in range(3):
        expected[8 * g : 8 * g + 8, 2 * g : 2 * g + 2] = op.weight[g]
    np.testing.assert_array_equal(array.written.difference, expected)
    assert array.row_source.tolist() == list(range(24))
    assert array.col_target.tolist() == list(range(6))


def test_blocks_may_lie_anywhere(lab):
    """A hand-made placement with gaps, permuted parts and two blocks in one array."""
    op = lab.conv(lab.whole_numbers((5, 7, 1, 1), -127, 127), (3, 3), name="a")
    blocks = [
        Block(0, 20, 3, 4, 5, 0, 3, 0),
        Block(0, 2, 3, 2, 5, 0, 0, 0),
        Block(1, 0, 8, 1, 2, 0, 2, 0),
        Block(1, 0, 11, 1, 3, 0, 2, 2),
    ]
    hw = lab.chip()
    device = build(hw.device.kind, hw.device.parameters)
    layer = program(placed(op, hw, blocks), device, 0).layers["a"]
    matrix = np.zeros((7, 5))
    for array in layer.arrays:
        matrix[np.ix_(array.row_source, array.col_target)] += array.written.difference
    np.testing.assert_array_equal(matrix, op.weight[0])
    assert [a.written.n_rows for a in layer.arrays] == [6, 1]


def test_weights_that_are_no_numbers_name_their_layer(lab):
    op = lab.conv(np.full((4, 6, 1, 1), np.nan), (3, 3), name="bad")
    with pytest.raises(SimulationError, match="layer 'bad': weights hold NaN"):
        written(lab.graph(op), lab.chip())


def test_cells_of_a_layer_depend_on_the_seed_and_its_name_only(lab):
    rng = np.random.default_rng(0)
    first = lab.conv(rng.normal(0, 1, (4, 3, 1, 1)), (5, 5), name="a")
    second = lab.conv(rng.normal(0, 1, (6, 4, 1, 1)), (5, 5), name="b", source="a")
    hw = lab.chip(device__sigma_program="2 %", adc__gain_sigma="1 %", adc__offset_sigma_lsb=0.5)
    alone = written(lab.graph(first), hw).layers["a"].arrays[0]
    together = written(lab.graph(first, second), hw).layers
    np.testing.assert_array_equal(
        alone.written.difference, together["a"].arrays[0].written.difference
    )
    np.testing.assert_array_equal(alone.adc_gain, together["a"].arrays[0].adc_gain)
    other = written(lab.graph(first), hw, seed=1).layers["a"].arrays[0]
    assert (alone.written.difference != other.written.difference).all()
    assert (alone.adc_offset != other.adc_offset).all()


def test_converter_mismatch_has_the_asked_spread(lab):
    op = lab.conv(np.ones((4000, 1, 1, 1)), (2, 2), name="a")
    hw = lab.chip(array__cols=4096, adc__gain_sigma="2 %", adc__offset_sigma_lsb=0.3)
    (array,) = written(lab.graph(op), hw).layers["a"].arrays
    assert array.adc_gain.std() == pytest.approx(0.02, rel=5 / np.sqrt(8000))
    assert array.adc_offset.std() == pytest.approx(0.3, rel=5 / np.sqrt(8000))
    assert abs(array.adc_gain.mean() - 1) < 5 * 0.02 / np.sqrt(4000)
