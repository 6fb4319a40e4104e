"""Kept networks are the exported ones: every field, every bit, and nothing that is not torch's."""

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.chip.load import load_hw
from cimsim.graph.digest import operations_hash, weights_hash
from cimsim.graph.ir import DigitalOp, MatrixOp
from cimsim.session.loading import RANDOM, load_network
from cimsim.studies.graphs import Foreign, KeptGraph, packed, unpacked
from cimsim.studies.points import Network
from cimsim.studies.store import Store

SIZE = (64, 64)


def traced(model, **options):
    network = load_network(model, options, RANDOM).taking(None)
    return cimsim.trace(network.module, network.example(*SIZE), name=network.title)


def through_a_store(graph, folder):
    """Return a graph as another process would read it."""
    store = Store(folder)
    data, arrays = packed(graph)
    store.put("a" * 64, "export", data, arrays)
    entry = Store(folder).get("a" * 64)
    return unpacked(entry.data, entry.arrays)


@pytest.mark.parametrize("model", ["cimnet", "fastdvdnet-block", "foldnet", "dncnn", "ffdnet"])
def test_a_kept_network_is_the_exported_one(model, tmp_path):
    graph = traced(model)
    again = through_a_store(graph, tmp_path)
    assert (operations_hash(again), weights_hash(again)) == (
        operations_hash(graph), weights_hash(graph)
    )  # fmt: skip
    assert (again.name, again.outputs, again.batch) == (graph.name, graph.outputs, graph.batch)
    for one, other in zip(graph, again, strict=True):
        assert type(one) is type(other)
        apart = {"weight", "bias", "weight_ends", "args", "kwargs"}
        for field in set(type(one).__dataclass_fields__) - apart:
            assert getattr(one, field) == getattr(other, field), (one.name, field)
        if isinstance(one, MatrixOp):
            for field in ("weight", "bias", "weight_ends"):
                mine, theirs = getattr(one, field), getattr(other, field)
                assert (mine is None) == (theirs is None)
                assert mine is None or mine.tobytes() == theirs.tobytes()
        if isinstance(one, DigitalOp):
            assert one.target is other.target
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.rand(op.output.shape, generator=generator) for op in graph.inputs]
    for mine, theirs in zip(graph.reference(*inputs), again.reference(*inputs), strict=True):
        assert np.array_equal(mine.numpy(), theirs.numpy())


class Odd(nn.Module):
    """One operator that somebody registered."""

    def forward(self, x):
        return torch.ops.odd.twice(x)


def test_operators_of_others_are_not_kept(tmp_path):
    library = torch.library.Library("odd", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: 2 * x, "CompositeExplicitAutograd")
    library.impl("twice", lambda x: torch.empty_like(x), "Meta")
    graph = cimsim.trace(Odd(), (torch.zeros(1, 3, 8, 8),))
    with pytest.raises(Foreign):
        packed(graph)
    exported = []

    def export():
        exported.append(1)
        return graph

    for _ in range(2):
        assert KeptGraph(Store(tmp_path), "b" * 64).graph(export) is graph
    assert len(exported) == 2


def test_it_is_exported_once_for_each_size_and_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("CIMSIM_CACHE", str(tmp_path))
    chip, exported = load_hw("eflash40nm"), []

    def export():
        exported.append(1)
        return traced("cimnet")

    def asked(network, size=SIZE, seed=0, cached=True):
        before = len(exported)
        KeptGraph.of(network, size, chip, seed, cached).graph(export)
        return len(exported) - before

    plain = Network("cimnet")
    assert [asked(plain), asked(plain), asked(plain, cached=False)] == [1, 0, 1]
    assert asked(plain, (64, 96)) == 1
    assert asked(Network("cimnet", (("stride", 2),))) == 1
    assert [asked(Network("cimnet", weights="random"), seed=seed) for seed in (0, 1, 0)] == [
        1,
        1,
        0,
    ]
    assert asked(Network("mynets:Net")) == 1
