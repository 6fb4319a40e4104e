"""Layers laid around known faults: less harm than in order, and the same sums where none is."""

import numpy as np
import pytest

from cimsim.chip.cells import device_of
from cimsim.chip.load import load_hw
from cimsim.chip.parts.cells import Faults
from cimsim.crossbar.faults import OPEN, fault_map, repaired
from cimsim.engine.program import program
from cimsim.errors import ConfigError, MappingError
from cimsim.graph.ir import InputOp, LayerGraph, MatrixOp, TensorSpec, Window
from cimsim.mapping.mapping import map_graph

SIZE = {"array.rows": 64, "array.cols": 48, "tile.count": 12, "device": {"kind": "ideal"}}
STUCK = {"faults.stuck_off": 0.01, "faults.stuck_on": 0.01, "faults.seed": 1}


def network(rows=100, cols=40, seed=0):
    rng = np.random.default_rng(seed)
    spread = np.outer(rng.lognormal(0, 0.7, rows), rng.lognormal(0, 0.7, cols))
    weight = (spread * rng.normal(size=(rows, cols)))[None].astype(np.float32)
    op = MatrixOp(
        "fc", ("x",), TensorSpec((1, 3, rows)), TensorSpec((1, 3, cols)), weight, None, Window(),
        (cols, 1, 1), "last", "linear",
    )  # fmt: skip
    return LayerGraph("net", [InputOp("x", TensorSpec((1, 3, rows))), op], ["fc"])


def held(changes, allocation, seed=0):
    """What the layer's columns sum up, as a matrix in the order of the layer [rows, cols]."""
    chip = load_hw("eflash40nm", SIZE | {"weights.scale": "layer"} | changes)
    mapping = map_graph(network(), chip, "im2col", allocation)
    layer = program(mapping, device_of(chip), seed).layers["fc"]
    whole = np.zeros((200, 40))
    pairs = chip.inputs.signed == "rows"
    for array in layer.arrays:
        slices = [
            factor
            * array.written.difference[:, s * array.written.n_cols :][:, : array.written.n_cols]
            for s, factor in enumerate(array.written.factors)
        ]
        whole[np.ix_(array.row_source, array.col_target)] += sum(slices)
    # of signed inputs on two rows the second one holds the opposite weight
    whole = (whole[::2] - whole[1::2]) / 2 if pairs else whole[:100]
    return whole, layer.weight[0]


@pytest.mark.parametrize(
    "more",
    [{}, {"weights.cell_bits": 4}, {"weights.encoding": "offset"}, {"inputs.signed": "rows"}],
)
def test_the_weights_that_are_held_err_less(more):
    errors = {}
    for allocation in ("in_order", "around_faults"):
        found, wanted = held(STUCK | more, allocation)
        errors[allocation] = np.sqrt(((found - wanted) ** 2).mean())
    # stuck-on cells hurt wherever weights are small, so what moving lines can win is bounded
    assert errors["around_faults"] < 0.87 * errors["in_order"]


def test_broken_lines_are_left_to_the_smallest_weights():
    errors = {}
    for allocation in ("in_order", "around_faults"):
        found, wanted = held(
            {"faults.dead_rows": 0.04, "faults.dead_cols": 0.02, "faults.seed": 2}, allocation
        )
        errors[allocation] = np.sqrt(((found - wanted) ** 2).mean())
    assert errors["in_order"] > 1
    assert errors["around_faults"] < 0.5 * errors["in_order"]


@pytest.mark.parametrize("changes", [{}, {"faults.seed": 1}])
def test_without_faults_everything_stays_where_it_is(changes):
    chip = load_hw("eflash40nm", SIZE | changes)
    plain = map_graph(network(), chip, "im2col", "in_order").layers
    assert map_graph(network(), chip, "im2col", "around_faults").layers == plain


def test_faults_of_each_programming_are_not_known_before():
    chip = load_hw("eflash40nm", SIZE | {"faults.stuck_on": 0.01})
    with pytest.raises(MappingError, match=r"faults\.seed=1"):
        map_graph(network(), chip, "im2col", "around_faults")


def test_a_tested_chip_has_its_faults_whatever_is_written():
    first, wanted = held(STUCK, "in_order", seed=0)
    again, _ = held(STUCK, "in_order", seed=9)
    other, _ = held(STUCK | {"faults.seed": 3}, "in_order", seed=0)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert 0 < (first != wanted).mean() < 0.1


def test_more_faults_keep_those_that_were_there():
    few, many = (
        fault_map(load_hw("eflash40nm", SIZE | STUCK | {"faults.stuck_on": share}))[0, 0]
        for share in (0.01, 0.05)
    )
    assert (many[few > 0] == few[few > 0]).all()
    assert (many > 0).sum() > 1.5 * (few > 0).sum()


def test_spare_lines_take_the_place_of_the_worst():
    codes = np.zeros((2, 6, 5), np.uint8)  # 4 x 4, two spare rows, one spare column
    codes[:, 2] = OPEN
    codes[0, :, 1] = OPEN
    codes[1, 4, 3] = OPEN  # the first spare row is worse than the second
    fixed = repaired(codes, 4, 4)
    assert fixed.shape == (2, 4, 4)
    # row 2 and column 1 are gone, and no fault came in
    assert not fixed.any()
    assert not repaired(np.zeros((2, 6, 5), np.uint8), 4, 4).any()


def replaced_one_by_one(codes, rows, cols):
    """The rule word by word: every sum is made anew for every step."""
    row_of, col_of = list(range(rows)), list(range(cols))
    spare = [list(range(rows, codes.shape[1])), list(range(cols, codes.shape[2]))]
    bad = (codes > 0).sum(axis=0).astype(int)
    while True:
        in_rows = [sum(bad[r, c] for c in col_of) for r in row_of]
        in_cols = [sum(bad[r, c] for r in row_of) for c in col_of]
        of_spares = (
            [sum(bad[r, c] for c in col_of) for r in spare[0]],
            [sum(bad[r, c] for r in row_of) for c in spare[1]],
        )
        gains = [
            max(inside) - min(outside) if outside else -1
            for inside, outside in zip((in_rows, in_cols), of_spares, strict=True)
        ]
        if max(gains) <= 0:
            return codes[:, np.array(row_of)[:, None], col_of]
        way = 0 if gains[0] >= gains[1] else 1
        inside = (in_rows, in_cols)[way]
        best = spare[way].pop(of_spares[way].index(min(of_spares[way])))
        (row_of, col_of)[way][inside.index(max(inside))] = best


@pytest.mark.parametrize("seed", range(40))
def test_lines_are_replaced_by_the_rule_word_by_word(seed):
    rng = np.random.default_rng(seed)
    rows, cols, more_rows, more_cols = rng.integers([1, 1, 0, 0], [12, 12, 16, 16])
    shape = (2, rows + more_rows, cols + more_cols)
    codes = (rng.random(shape) < rng.random()).astype(np.uint8) * OPEN
    expected = replaced_one_by_one(codes, rows, cols)
    np.testing.assert_array_equal(repaired(codes, rows, cols), expected)


def test_no_spare_line_makes_it_worse():
    rng = np.random.default_rng(0)
    for _ in range(20):
        codes = (rng.random((2, 24, 20)) < 0.05).astype(np.uint8)
        assert (repaired(codes, 20, 16) > 0).sum() <= (codes[:, :20, :16] > 0).sum()


def test_shares_of_broken_lines():
    chip = load_hw("eflash40nm", {"faults.dead_rows": 0.02, "faults.dead_cols": 0.05,
                                  "faults.seed": 7})  # fmt: skip
    codes = fault_map(chip)[3, 0]
    rows = (codes == OPEN).all(axis=(0, 2)).mean()
    cols = (codes == OPEN).all(axis=1).mean()
    # 1024 rows and 2048 bit lines: four standard deviations
    assert abs(rows - 0.02) < 4 * np.sqrt(0.02 * 0.98 / 1024)
    assert abs(cols - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2048)


def test_spare_lines_need_a_tested_chip_and_take_area():
    from cimsim.chip.area import area

    with pytest.raises(ConfigError, match=r"spare_rows: expected faults\.seed beside it"):
        load_hw("eflash40nm", {"faults.spare_rows": 4})
    plain = area(load_hw("eflash40nm"))["cells"]
    more = area(load_hw("eflash40nm", {"faults.seed": 1, "faults.spare_rows": 16}))["cells"]
    assert more / plain == pytest.approx(1040 / 1024)
    assert Faults(dead_rows=0.01).drawn
