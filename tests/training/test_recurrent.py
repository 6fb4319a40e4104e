"""LSTMs with the chip in the loop: equal to torch's without errors, to the engine's with them."""

import pytest
import torch
from torch import nn

import cimsim
from cimsim.chip.load import load_hw
from cimsim.engine.execute import execute
from cimsim.engine.written import written
from cimsim.errors import ConfigError
from cimsim.training.hardware import ChipInTheLoop
from cimsim.training.recurrent import Unrolled, halves
from cimsim.zoo.keywords import KeywordLSTM


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_unrolled_is_torch_s_lstm(batch_first, bias):
    torch.manual_seed(0)
    lstm = nn.LSTM(5, 7, batch_first=batch_first, bias=bias)
    x = torch.randn(3, 6, 5)
    (_, of_input), (_, of_state) = halves("lstm", lstm)
    found, (state, memory) = Unrolled(lstm, of_input, of_state)(x)
    wanted, (last, cell) = lstm(x)
    for got, want in ((found, wanted), (state, last), (memory, cell)):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)
    found.square().sum().backward()
    mine = [p.grad.clone() for p in lstm.parameters()]
    lstm.zero_grad()
    wanted.square().sum().backward()
    for got, parameter in zip(mine, lstm.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bidirectional": True}, {"proj_size": 3}])
def test_other_lstms_are_refused(options):
    with pytest.raises(ConfigError, match="layer 'lstm': an LSTM of one layer and one direction"):
        halves("lstm", nn.LSTM(5, 7, **options))
    with pytest.raises(ConfigError, match="LSTM"):
        ChipInTheLoop(nn.Sequential(nn.LSTM(5, 7, **options)), load_hw("wtm2101"))


@pytest.mark.slow
def test_the_loop_is_as_far_from_float_as_the_engine():
    torch.manual_seed(1)
    net, chip = KeywordLSTM(width=24).eval(), load_hw("wtm2101")
    x = 2 * torch.randn(40, 1, 49, 10)
    loop = ChipInTheLoop(net, chip)
    loop.calibrate(x)
    graph = cimsim.trace(net, (x[:1],))
    mapping = cimsim.map_graph(graph, chip, allocation="packed")
    inputs = [(one[None],) for one in x]
    in_loop, in_engine = [], []
    with torch.no_grad():
        wanted = net(x)
        for seed in range(2):
            with loop.applied(seed):
                in_loop.append(float((net(x) - wanted).square().mean()))
            ready, _ = written(mapping, inputs, seed, None, lambda *_: None)
            got = [execute(ready, one, n, seed).outputs[0] for n, one in enumerate(inputs[:8])]
            in_engine.append(float((torch.cat(got) - wanted[:8]).square().mean()))
    assert sum(in_loop) / sum(in_engine) == pytest.approx(1, abs=0.5)
    signal = float(wanted.square().mean())
    assert signal / (sum(in_loop) / 2) > 30


def test_every_parameter_learns_and_parameters_stay_where_they_are():
    torch.manual_seed(0)
    net = KeywordLSTM(width=12)
    weight = net.lstm.weight_hh_l0
    loop = ChipInTheLoop(net, load_hw("wtm2101"))
    x = torch.randn(8, 1, 49, 10)
    loop.calibrate(x)
    with loop.applied(3):
        net(x).square().mean().backward()
    assert net.lstm.weight_hh_l0 is weight
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    held = loop.state_dict()
    assert {"lstm.ih/input_range", "lstm.hh/input_range"} <= held.keys()
    other = ChipInTheLoop(net, load_hw("wtm2101"))
    other.load_state_dict(held)
    with torch.no_grad(), loop.applied(5):
        first = net(x)
    with torch.no_grad(), other.applied(5):
        assert torch.equal(net(x), first)
