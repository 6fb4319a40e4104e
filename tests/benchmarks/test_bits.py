import pytest
import torch
from torch import nn

from benchmarks.analog.bits import measure


@pytest.mark.slow
def test_each_bit_is_worth_six_decibels_where_nothing_is_clipped():
    torch.manual_seed(0)
    snr = [float(measure(nn.Linear(40, 30), (1, 40), bits).split(" dB")[0]) for bits in (6, 10)]
    assert 20 < snr[1] - snr[0] < 28
