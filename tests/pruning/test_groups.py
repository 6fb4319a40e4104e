from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.pruning.modules import channels_of, cut
from cimsim.zoo.narrow import is_narrowed
from tests.pruning.nets import IDS, ZOO, frames, network

every = pytest.mark.parametrize("index", range(len(ZOO)), ids=IDS)


def columns(held, channel):
    return slice(channel * held.per_channel, (channel + 1) * held.per_channel)


@torch.no_grad()
def without(model, channels, known, kept):
    """The full network with the same channels set to zero."""
    model = copy.deepcopy(model)
    for number in np.flatnonzero(~kept):
        for matrix, channel in channels.sets[number].outputs:
            held = known[matrix]
            for path in filter(None, (held.matrix, held.norm)):
                part = model.get_submodule(path)
                for parameter in part.parameters(recurse=False):
                    parameter[columns(held, channel)] = 0
    return model


@every
@pytest.mark.parametrize("share", [0.1, 0.6])
def test_a_cut_network_is_the_full_one_with_zeros(index, share):
    model, _, channels, known = network(index)
    rng = np.random.default_rng(7)
    kept = rng.random(len(channels.sets)) > share
    for group in channels.groups:
        kept[group.sets[0]] = True  # no layer ends up without a channel
    pruned = copy.deepcopy(model)
    cut(pruned, channels, known, kept)
    with torch.no_grad():
        wanted = without(model, channels, known, kept)(*frames(model))
        found = pruned(*frames(model))
        full = model(*frames(model))
    scale = float(full.std())
    assert float((found - wanted).abs().max()) < 1e-5 * max(1.0, scale)
    assert float((wanted - full).abs().max()) > 1e-3 * scale  # the cut does something
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in model.parameters())
    assert is_narrowed(pruned)
    assert not is_narrowed(model)


@every
def test_the_readers_of_a_unit_are_those_that_a_nan_in_it_reaches(index):
    model, _, channels, known = network(index)
    model = copy.deepcopy(model)
    by_module = {held.matrix: matrix for matrix, held in known.items()}
    reached: set[tuple[str, int]] = set()

    def stop(name):
        def hook(part, arguments):
            hit = arguments[0].isnan().any(dim=3).any(dim=2).any(dim=0)
            reached.update((by_module[name], int(c)) for c in hit.nonzero())
            return (arguments[0].nan_to_num(nan=0.0),)

        return hook

    def spoil(rows):
        return lambda part, arguments, out: out.index_fill(1, rows, torch.nan)

    for name in by_module:
        model.get_submodule(name).register_forward_pre_hook(stop(name))
    rng = np.random.default_rng(3)
    for number in rng.choice(len(channels.sets), 8, replace=False):
        each, hooks = channels.sets[number], []
        reached.clear()
        for matrix, channel in each.outputs:
            held = known[matrix]
            rows = torch.arange(*columns(held, channel).indices(10**6))
            part = model.get_submodule(held.norm or held.matrix)
            hooks.append(part.register_forward_hook(spoil(rows)))
        with torch.no_grad():
            out = model(*frames(model))
        for hook in hooks:
            hook.remove()
        assert reached == set(each.inputs)
        assert not out.isnan().any()


@every
def test_every_channel_that_no_frame_is_added_to_can_be_cut(index):
    _, graph, channels, known = network(index)
    whole = np.ones(len(channels.sets), bool)
    for op in graph.matrix_ops:
        assert channels.width(op.name, whole) == op.output.shape[1]
    cuttable = {matrix for each in channels.sets for matrix, _ in each.outputs}
    # all but the last matrix, whose outputs are colours; the cascade has two of them, and so has
    # Fold-NET, which adds what it makes of features and of the frame
    assert len(known) - len(cuttable) == (2 if ZOO[index][0] in ("fastdvdnet", "foldnet") else 1)


def test_additions_and_groups_tie_channels_of_the_block():
    _, _, channels, _ = network(0)
    sizes = {group.name.partition("*")[0]: len(group.sets) for group in channels.groups}
    assert sizes["inc.convblock.0"] == 6  # one channel of each of the three frames' groups
    joined = [group for group in channels.groups if " + " in group.name]
    assert sorted(len(group.sets) for group in joined) == [8, 16]
    first = channels.sets[channels.groups[0].sets[2]]
    assert [channel for _, channel in first.outputs] == [2, 8, 14]
    assert sorted(channel for _, channel in first.inputs) == [2, 8, 14]


class Odd(nn.Module):
    """Operations that mix channels or hold numbers of their own."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.c, self.d = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)
        self.slope = nn.PReLU(8)

    def forward(self, x):
        x = torch.softmax(self.a(x), dim=1)
        return self.d(torch.relu(self.c(self.slope(self.b(x)))))


def test_what_is_not_understood_is_kept():
    torch.manual_seed(0)
    model = Odd().eval()
    channels, _ = channels_of(model, cimsim.trace(model, (torch.rand(1, 3, 16, 16),)))
    assert [group.name for group in channels.groups] == ["c"]


class Split(nn.Module):
    """A layer of which one half is read by one layer and one by another."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.c, self.d = nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(10, 3, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.d(torch.cat([self.b(x[:, :4]), self.c(x[:, 4:])], 1))


def test_what_a_program_slices_by_number_is_kept():
    torch.manual_seed(0)
    model, x = Split().eval(), torch.rand(1, 3, 16, 16)
    channels, known = channels_of(model, cimsim.trace(model, (x,)))
    assert {group.name: len(group.sets) for group in channels.groups} == {"b": 5, "c": 5}
    kept = np.array([True, False, True, True, False, True, True, False, True, True])
    pruned = copy.deepcopy(model)
    cut(pruned, channels, known, kept)
    with torch.no_grad():
        wanted = without(model, channels, known, kept)(x)
        torch.testing.assert_close(pruned(x), wanted)


class Forked(nn.Module):
    """A layer whose channels are read by two layers, one of which reads others, too."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 5, 3, padding=1)
        self.c, self.d = nn.Conv2d(11, 4, 3, padding=1), nn.Conv2d(10, 3, 3, padding=1)

    def forward(self, x):
        a, b = torch.relu(self.a(x)), torch.relu(self.b(x))
        return self.d(torch.cat([self.c(torch.cat([a, b], 1)), a], 1))


def test_concatenations_keep_their_parts_apart():
    torch.manual_seed(0)
    model, x = Forked().eval(), torch.rand(1, 3, 16, 16)
    channels, known = channels_of(model, cimsim.trace(model, (x,)))
    sizes = {group.name: len(group.sets) for group in channels.groups}
    assert sizes == {"a": 6, "b": 5, "c": 4}
    first = channels.sets[channels.groups[0].sets[1]]
    assert set(first.inputs) == {("c", 1), ("d", 5)}
    kept = np.random.default_rng(0).random(15) > 0.4
    pruned = copy.deepcopy(model)
    cut(pruned, channels, known, kept)
    with torch.no_grad():
        wanted = without(model, channels, known, kept)(x)
        torch.testing.assert_close(pruned(x), wanted)


@every
def test_counted_shapes_are_those_of_the_cut_network(index):
    model, _, channels, known = network(index)
    kept = np.random.default_rng(1).random(len(channels.sets)) > 0.4
    for group in channels.groups:
        kept[group.sets[0]] = True
    pruned = copy.deepcopy(model)
    cut(pruned, channels, known, kept)
    real = cimsim.trace(pruned, frames(model))
    counted = channels.narrowed(kept)
    for a, b in zip(real.matrix_ops, counted.matrix_ops, strict=True):
        assert a.weight.shape == b.weight.shape
        assert a.out_block == b.out_block
    for a, b in zip(real, counted, strict=True):
        assert a.output.shape == b.output.shape
