"""Products of computed values: on a matmul unit at its time and energy, or said not to be."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from cimsim.chip.load import load_hw
from cimsim.energy.idle import working
from cimsim.energy.model import energy
from cimsim.errors import ConfigError, InputError
from cimsim.frontends.torch_export import trace
from cimsim.graph.coverage import Coverage, check, coverage
from cimsim.mapping.mapping import map_graph
from cimsim.timing.simulate import simulate

STEPS, WIDTH = 24, 16
UNIT = {"matmul.lanes": 8, "matmul.energy": "1 pJ", "matmul.leakage": "1 mW"}


class Attention(nn.Module):
    """One head, in one of the ways in which people write it."""

    def __init__(self, how):
        super().__init__()
        self.how, self.qkv = how, nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.how == "torch":
            return functional.scaled_dot_product_attention(q, k, v)
        scale = WIDTH**-0.5
        if self.how == "einsum":
            scores = torch.einsum("bid,bjd->bij", q, k) * scale
            return torch.einsum("bij,bjd->bid", scores.softmax(-1), v)
        if self.how == "bmm":
            return torch.bmm((torch.bmm(q, k.transpose(1, 2)) * scale).softmax(-1), v)
        return (q @ k.transpose(1, 2) * scale).softmax(-1) @ v


def placed(how, samples=1, **fields):
    torch.manual_seed(0)
    graph = trace(Attention(how).eval(), (torch.randn(samples, STEPS, WIDTH),))
    return map_graph(graph, load_hw("eflash40nm", fields))


def spent(mapping):
    line = simulate(mapping)
    period = line.interval_s(mapping.chip.process.clock_hz)
    return line, energy(mapping, period, None, working(mapping, line), spilled=line.spilled)


@pytest.mark.parametrize("how", ["torch", "einsum", "bmm", "matmul"])
def test_products_take_the_time_and_the_energy_of_the_unit(how):
    macs = 2 * STEPS * STEPS * WIDTH
    slow, fast = placed(how, **UNIT), placed(how, **{**UNIT, "matmul.lanes": 64})
    found = coverage(slow.graph, slow.chip)
    assert (found.macs_digital, found.macs) == (macs, 1.0)
    (line, report), (quick, _) = spent(slow), spent(fast)
    assert report.by_component["matmul"] == pytest.approx(macs * 1e-12)
    # the very same network, all else alike
    saved = line.cycles_first_frame - quick.cycles_first_frame
    assert saved == macs // 8 - macs // 64
    # softmax, scale: what is left on the vector unit
    without, _ = spent(placed(how))
    assert without.cycles_first_frame > quick.cycles_first_frame
    assert report.by_component["vector"] < spent(placed(how))[1].by_component["vector"]


def test_a_unit_leaks_whether_it_is_used_or_not():
    chip = {**UNIT, "tile.idle": "on"}
    line, report = spent(placed("torch", **chip))
    _, less = spent(placed("torch", **{**chip, "matmul.leakage": "0 W"}))
    tiles = placed("torch").tiles_used  # others are off
    more = report.by_component["static"] - less.by_component["static"]
    assert more == pytest.approx(tiles * 1e-3 * line.interval_s(148e6))
    (alone, one), (_, none) = (
        spent(placed("torch", **{**chip, "matmul.scope": "chip", "matmul.leakage": leaks}))
        for leaks in ("1 mW", "0 W")
    )
    more = one.by_component["static"] - none.by_component["static"]
    assert more == pytest.approx(1e-3 * alone.interval_s(148e6))


def test_a_chip_without_a_unit_says_so_and_coverage_falls():
    mapping = placed("torch")
    found = coverage(mapping.graph, mapping.chip)
    assert [m.op for m in found.borrowed] == ["attention"]
    on_arrays, products = 3 * STEPS * WIDTH**2, 2 * STEPS**2 * WIDTH
    assert found.macs == pytest.approx(on_arrays / (on_arrays + products))
    assert not found.missing
    assert "the chip has no matmul unit: attention" in found.lines()[1]
    assert Coverage.from_dict(found.to_dict()) == found
    with pytest.raises(InputError, match=r"give the chip a matmul unit \(--set matmul.lanes=64"):
        check(mapping.graph, False, mapping.chip)
    assert check(mapping.graph, True, mapping.chip) == found
    # of no chip in particular
    assert check(mapping.graph, False).macs == 1


@pytest.mark.parametrize("fields", [{}, UNIT])
def test_a_batch_is_charged_per_sample(fields):
    one, three = placed("bmm", **fields), placed("bmm", 3, **fields)
    assert three.graph.batch == 3
    assert coverage(one.graph, one.chip) == coverage(three.graph, three.chip)
    (line, report), (other, several) = spent(one), spent(three)
    assert (line.interval, line.cycles_first_frame) == (other.interval, other.cycles_first_frame)
    assert several.by_component == pytest.approx(report.by_component)


def test_auto_estimates_the_unit_from_the_node_and_the_bits():
    auto = {"matmul.lanes": 64, "matmul.energy": "auto", "matmul.area": "auto"}
    unit = load_hw("eflash40nm", auto).matmul
    assert unit.energy_j == pytest.approx(0.46e-12, rel=0.01)
    assert unit.area_m2 == pytest.approx(64 * 349e-12, rel=0.01)
    narrow = load_hw("eflash40nm", {**auto, "inputs.bits": 4, "dac.bits": 4}).matmul
    assert narrow.energy_j == pytest.approx(0.335e-12, rel=0.01)
    with pytest.raises(ConfigError, match=r"matmul\.lanes"):
        load_hw("eflash40nm", {"matmul.energy": "1 pJ"})


def test_a_look_up_is_charged_and_its_table_counted():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 4)).eval()
    mapping = map_graph(trace(net, (torch.zeros(1, 7, dtype=torch.int64),)), load_hw("eflash40nm"))
    found = coverage(mapping.graph, mapping.chip)
    assert (found.complete, found.weights_modelled) == (True, 50 * 16 + 16 * 4 + 4)
    line, report = spent(mapping)
    chip, row = mapping.chip, report.by_layer["0"]
    assert row["vector"] == pytest.approx(7 * 16 * chip.vector.energy_j)
    each = chip.buffer.read_energy_j_b + chip.buffer.write_energy_j_b
    assert row["buffer"] == pytest.approx(7 * 16 * each)
    assert next(u for u in line.nodes if u.name == "0").busy[4] == line.frames * 7
