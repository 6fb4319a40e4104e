"""Networks that are counted without torch: what is counted of the traced modules."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cimsim
from cimsim.report.chip.counts import count_row
from cimsim.report.chip.outlines import outline
from cimsim.session.loading import load_outline
from cimsim.zoo.registry import MODELS

CASES = [
    ("fastdvdnet", {}),
    ("fastdvdnet-block", {"width": 8, "per_frame": 5}),
    ("baseline-o1", {"stride": 4, "inner": 7, "output": "direct"}),
    ("baseline-o1", {"stride": 2}),
    ("baseline-o2", {"stride": 2, "per_frame": 4}),
    ("baseline-o2", {"stride": 4, "inner": 9, "output": "direct"}),
    ("abla-net", {"stride": 2}),
    ("abla-net", {"stride": 8}),
    ("cimnet", {"stride": 2}),
    ("cimnet", {"stride": 4, "stages": 2}),
    ("cimnet", {"stride": 8}),
    ("cimnet", {"stride": 8, "coarse": 2, "before": 2, "behind": 3, "residual": "frame"}),
    ("cimnet", {"stride": 4, "skip": "concat", "smoothing": "conv"}),
    ("cimnet", {"stride": 4, "skip": "neither", "behind": 2}),
    ("cimnet", {"stride": 4, "skip": "none"}),
]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_counts_are_those_of_the_traced_network(name, options):
    chip, size = cimsim.load_hw("eflash40nm"), (32, 64)
    network = load_outline(name, options)
    traced = cimsim.trace(network.module, network.example(*size))
    drawn = outline(name, options, size)
    assert drawn is not None
    assert count_row("n", "t", drawn, chip, "im2col") == count_row("n", "t", traced, chip, "im2col")
    layers = [
        [(op.weight.shape, op.window, op.out_block, op.output, op.signed) for op in g.matrix_ops]
        for g in (drawn, traced)
    ]
    assert sorted(map(str, layers[0])) == sorted(map(str, layers[1]))


def test_what_is_not_written_down_is_traced():
    assert outline("dncnn", {}, (32, 32)) is None
    assert outline("fastdvdnet", {}, (30, 32)) is None  # is padded
    assert outline("baseline-o2", {"inner_skip": "add"}, (32, 32)) is None
    assert set(MODELS) > {name for name, _ in CASES}


def test_counting_needs_no_torch():
    code = (
        "import sys; from cimsim.cli.main import main; sys.argv = ['cimsim', 'count', '--no-cache']"
        "\ntry: main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
