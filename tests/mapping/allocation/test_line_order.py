import numpy as np
import pytest

from cimsim.chip.parts.array import Wires
from cimsim.crossbar.wires import wired
from cimsim.graph.ir import InputOp, LayerGraph, MatrixOp, TensorSpec, Window
from cimsim.mapping.mapping import map_graph
from tests.timing.nets import chip


def network(rows=70, cols=24, seed=0):
    """One layer whose rows and columns have very different sizes."""
    rng = np.random.default_rng(seed)
    spread = np.outer(rng.lognormal(0, 1, rows), rng.lognormal(0, 1, cols))
    weight = (spread * rng.normal(size=(rows, cols)))[None].astype(np.float32)
    op = MatrixOp(
        "fc", ("x",), TensorSpec((1, 3, rows)), TensorSpec((1, 3, cols)), weight, None, Window(),
        (cols, 1, 1), "last", "linear",
    )  # fmt: skip
    return LayerGraph("net", [InputOp("x", TensorSpec((1, 3, rows))), op], ["fc"]), weight[0]


def test_large_rows_are_near_the_sense_end_and_large_columns_near_the_drivers():
    graph, weight = network()
    layer = map_graph(graph, chip(), "im2col", "short_wires").layers[0]
    magnitudes = np.abs(weight)
    for local, (top, size) in enumerate([(0, 64), (64, 6)]):
        part = magnitudes[top : top + size]
        moved = part[np.ix_(layer.row_order[local], layer.col_order[local])]
        assert (np.diff(moved.sum(axis=1)) >= 0).all()
        assert (np.diff(moved.sum(axis=0)) <= 0).all()
        assert sorted(layer.row_order[local]) == list(range(size))


def lost(magnitudes):
    """Current that the wires take, over all current, with exact nodal equations."""
    g = magnitudes / magnitudes.max() * 50e-6
    wires = Wires.model_validate({"model": "exact", "r_word": "20 ohm", "r_bit": "20 ohm"})
    seen, _ = wired(np.ascontiguousarray(g.astype(float)), wires)
    return 1 - seen.sum() / g.sum()


@pytest.mark.parametrize("seed", range(5))
def test_less_current_is_lost_in_the_wires(seed, monkeypatch):
    monkeypatch.setenv("CIMSIM_CACHE", "off")
    graph, weight = network(64, 24, seed)
    layer = map_graph(graph, chip(), "im2col", "short_wires").layers[0]
    plain = np.abs(weight)
    moved = plain[np.ix_(layer.row_order[0], layer.col_order[0])]
    assert lost(moved) < 0.8 * lost(plain)
