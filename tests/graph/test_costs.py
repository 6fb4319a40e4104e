"""Costs of operations that a chip gives: time, energy, coverage, hash; and what is refused."""

from types import ModuleType

import pytest
import torch
from torch import nn

import cimsim
from cimsim.chip.load import chip_hash, dump, load_hw
from cimsim.errors import ConfigError
from cimsim.graph.costs import AbstractOpCost, costed
from cimsim.graph.coverage import coverage
from cimsim.studies.keys import values_of


class Net(nn.Module):
    """Two convolutions with an operation between them that has no cost, a view and a product."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        y = torch.relu(self.a(x))
        return self.b(torch.erfinv(y * 0.1)), y @ y.transpose(2, 3), torch.cat((x, x), 1)


class ByHeight(AbstractOpCost):
    """As many operations as a map is high."""

    def operations(self, op, inputs):
        assert inputs[0].shape == (1, 8, 16, 16)
        return op.output.shape[2]


@pytest.fixture(scope="module")
def graph():
    return cimsim.trace(Net().eval(), (torch.zeros(1, 3, 16, 16),))


@pytest.fixture
def mine(monkeypatch):
    module = ModuleType("minecosts")
    module.ByHeight = ByHeight
    monkeypatch.setitem(__import__("sys").modules, "minecosts", module)
    return "minecosts:ByHeight"


def on(graph, **costs):
    chip = load_hw("eflash40nm", {"vector.costs": costs} if costs else None)
    return cimsim.simulate(cimsim.map_graph(graph, chip), None)


def test_energy_and_cycles_follow_the_number_and_coverage_is_whole(graph):
    free, cheap, dear = on(graph), on(graph, erfinv=3), on(graph, erfinv=30_000)
    one = 8 * 16 * 16 * 3e-14  # J for an operation on each value
    vector = [result.energy.by_component["vector"] for result in (free, cheap, dear)]
    assert vector[1] - vector[0] == pytest.approx(3 * one, rel=1e-9)
    assert vector[2] - vector[1] == pytest.approx(29_997 * one, rel=1e-9)
    assert dear.timing.latency_cycles - free.timing.latency_cycles == 30_000 * 8 * 16 * 16 / 16
    assert [m.op for m in free.coverage.missing] == ["erfinv"]
    assert cheap.coverage.missing == ()
    assert free.coverage.moved < cheap.coverage.moved == 1
    assert any("erfinv" in note for note in free.notes)
    assert not any("erfinv" in note for note in cheap.notes)


def test_a_known_cost_may_be_another_and_0(graph):
    plain, table = on(graph), on(graph, relu=0)
    less = plain.energy.by_component["vector"] - table.energy.by_component["vector"]
    assert less == pytest.approx(8 * 16 * 16 * 3e-14, rel=1e-9)


def test_a_class_is_asked_with_operation_and_shapes(graph, mine):
    assert on(graph, erfinv=mine).energy.total_j == on(graph, erfinv=16).energy.total_j
    chip = load_hw("eflash40nm", {"vector.costs.erfinv": mine})
    assert dump(chip)["vector"]["costs"]["erfinv"].startswith(f"{mine} sha256:")
    assert values_of(chip)["vector.costs"] == dump(chip)["vector"]["costs"]


def test_the_hash_of_a_chip_without_costs_knows_nothing_of_them():
    plain = load_hw("eflash40nm")
    assert "costs" not in dump(plain)["vector"]
    hashes = {chip_hash(load_hw("eflash40nm", {"vector.costs.erfinv": n})) for n in (1, 2)}
    assert len(hashes | {chip_hash(plain)}) == 3
    assert chip_hash(load_hw("eflash40nm", {"vector.costs": {}})) == chip_hash(plain)


def test_a_graph_without_costs_is_the_graph_itself(graph):
    assert costed(graph, load_hw("eflash40nm")) is graph
    x = torch.rand(1, 3, 16, 16) * 0.1
    other = costed(graph, load_hw("eflash40nm", {"vector.costs.erfinv": 7}))
    for before, after in zip(graph.reference(x), other.reference(x), strict=True):
        assert torch.equal(before, after)


def test_coverage_without_a_chip_knows_the_frontends_costs_only(graph):
    assert [m.op for m in coverage(graph).missing] == ["erfinv"]


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ({"erfinv": -1}, r"vector\.costs: erfinv: expected operations .* >= 0.*got -1"),
        ({"erfinv": [1]}, r"vector\.costs: erfinv: expected operations .*got \[1\]"),
        ({"erfinv": True}, r"vector\.costs: erfinv: expected operations .*got True"),
        (3, r"vector\.costs: expected operations and what they cost, such as {gelu: 12}, got 3"),
        ({"erfinv": "no.where:Such"}, r"vector\.costs\.erfinv: .*cannot import 'no.where'"),
        ({"erfinv": "nobody"}, r"'nobody' is unknown; give package\.module:Class"),
        ({"erfinv": "pathlib:Path"}, r"derives from cimsim\.api\.AbstractOpCost"),
        ({"cat": 2}, r"vector\.costs\.cat: '.*' only gives values other places"),
        ({"matmul": 3}, r"16 products for each value, .*expected at least 32, got 3"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(graph, costs, told):
    with pytest.raises(ConfigError, match=told):
        cimsim.map_graph(graph, load_hw("eflash40nm", {"vector.costs": costs})).nodes  # noqa: B018


def test_a_name_that_is_nearly_one_of_the_network_is_doubted(graph):
    (doubt,) = [d for d in on(graph, erfinw=3).doubts if d.code == "cost-of-no-operation"]
    assert "erfinv" in str(doubt)
    assert not [d for d in on(graph, gelu=3).doubts if d.code == "cost-of-no-operation"]


def test_an_entry_point_is_a_name(graph, mine, monkeypatch):
    from importlib.metadata import EntryPoint

    point = EntryPoint("tall", mine, "cimsim.op_costs")
    monkeypatch.setattr("cimsim.boundary.outside.entry_points", lambda group: [point] * (
        group == "cimsim.op_costs"))  # fmt: skip
    assert on(graph, erfinv="tall").energy.total_j == on(graph, erfinv=16).energy.total_j
