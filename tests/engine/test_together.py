"""Converters that are fired together give what each gives alone, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.crossbar.adc import AdcRange
from cimsim.engine.blocks import Sums, fire
from cimsim.engine.maps import encode_input
from cimsim.engine.together import fire_together
from cimsim.engine.written import written

SLOW = {
    "dac.bits": 2,
    "device": {"kind": "rram", "g_min": "10 uS", "noise": {"corner": "1 MHz", "span": "1 h"}},
}


@pytest.mark.parametrize(
    "overrides", [{}, {"dac.bits": 4}, {"inputs.signed": "rows", "array.rows": 256}, SLOW],
    ids=["one pulse", "two pulses", "signed", "noise that pulses share"],
)  # fmt: skip
def test_together_as_alone(overrides):
    torch.manual_seed(1)
    net, x = nn.Conv2d(3, 6, 3, padding=1).eval(), torch.rand(1, 3, 9, 11)
    chip = cimsim.load_hw(
        "eflash40nm", {"tile.count": 4, "array.rows": 64, "array.cols": 64, **overrides}
    )
    mapping = cimsim.map_graph(cimsim.trace(net, (x,), name="net"), chip)
    ready_chip, _ = written(mapping, [(x,)], 3, 1, lambda *_: None)
    (op,) = mapping.graph.matrix_ops
    ready = ready_chip.ready[op.name]
    codes = encode_input(op, x.numpy(), ready.calibrated.code, ready.places.shape).flat
    coarse = tuple(AdcRange(r.lo, r.lsb * 2, r.top // 2) for r in ready.firing.ranges)
    firings = [
        replace(ready.firing, ranges=(AdcRange.ideal(),) * len(coarse)),
        ready.firing,
        replace(ready.firing, ranges=coarse),
    ]
    assert (ready.firing.correlation > 0) == (overrides is SLOW)
    found = fire_together([one.reading(ready.firing.reads) for one in firings], codes, 5, 7)
    for firing, sums in zip(firings, found, strict=True):
        alone = Sums(np.empty_like(sums))
        fire(firing, codes, 5, 7, alone)
        np.testing.assert_array_equal(sums, alone.sums)
    assert not np.array_equal(found[1], found[2])
