from __future__ import annotations

import copy
import re

import numpy as np
import pytest
import torch

import cimsim
from cimsim.errors import ConfigError
from cimsim.pruning.budget import Arrays, Energy, energy_j
from cimsim.pruning.choose import choose
from cimsim.pruning.modules import channels_of, cut
from cimsim.timing.simulate import simulate
from tests.pruning.nets import frames, network
from tests.thorough import some

SMALL = {"array.rows": 32, "array.cols": 16, "tile.count": 4000}  # the block takes 169
BLOCK, FOLD = 0, 2


def losses(channels, seed=0):
    return np.random.default_rng(seed).lognormal(0, 2, len(channels.sets))


STANDING = (
    "tile.clock_power", "array.reference_power", "array.active_power", "dram.static_power",
    "io.static_power", "static_power", "interconnect.static_power", "processor.power",
)  # fmt: skip


def whole(channels):
    return np.ones(len(channels.sets), bool)


def on_chip(model, chip, strategy):
    return cimsim.map_graph(cimsim.trace(model, frames(model)), chip, strategy).arrays_used


@pytest.mark.parametrize(("index", "strategy", "share"), some([
    (BLOCK, "im2col", 0.8), (BLOCK, "im2col", 0.5), (FOLD, "im2col", 0.9), (BLOCK, "sdk", 0.7),
], (BLOCK, "im2col", 0.5)))  # fmt: skip
def test_the_real_mapping_takes_no_more_arrays(index, strategy, share):
    model, _, channels, known = network(index)
    chip = cimsim.load_hw("eflash40nm", SMALL)
    before = on_chip(model, chip, strategy)
    budget = Arrays(int(share * before), chip, strategy)
    assert budget.of(channels, whole(channels)) == before
    kept = choose(channels, losses(channels), budget)
    pruned = copy.deepcopy(model)
    cut(pruned, channels, known, kept)
    after = on_chip(pruned, chip, strategy)
    assert after == budget.of(channels, kept) <= budget.limit
    with torch.no_grad():
        assert pruned(*frames(model)).shape == model(*frames(model)).shape


@pytest.mark.slow
def test_no_unit_can_be_restored_within_the_arrays():
    _, _, channels, _ = network(BLOCK)
    budget = Arrays(110, cimsim.load_hw("eflash40nm", SMALL), "im2col")
    kept = choose(channels, losses(channels, 5), budget)
    assert budget.of(channels, whole(channels)) == 169
    assert budget.of(channels, kept) <= 110
    for each in np.flatnonzero(~kept):
        more = kept.copy()
        more[each] = True
        assert budget.of(channels, more) > 110


@pytest.mark.slow
def test_within_a_group_the_least_needed_units_go():
    _, _, channels, _ = network(BLOCK)
    worth = losses(channels, 2)
    kept = choose(channels, worth, Arrays(100, cimsim.load_hw("eflash40nm", SMALL), "im2col"))
    assert not kept.all()
    for group in channels.groups:
        sets = np.array(group.sets)
        gone, stay = sets[~kept[sets]], sets[kept[sets]]
        assert len(stay)
        if len(gone):
            assert worth[gone].max() <= worth[stay].min()


@pytest.mark.slow
def test_costly_channels_are_spared_where_others_save_as_much():
    _, _, channels, _ = network(BLOCK)
    budget = Arrays(150, cimsim.load_hw("eflash40nm", SMALL), "im2col")
    for spared in channels.groups[2:5]:
        worth = np.ones(len(channels.sets))
        worth[list(spared.sets)] = 1e6
        assert choose(channels, worth, budget)[list(spared.sets)].all()


def test_a_network_within_its_budget_is_left_alone():
    _, _, channels, _ = network(BLOCK)
    budget = Arrays(4000, cimsim.load_hw("eflash40nm", SMALL), "im2col")
    assert choose(channels, losses(channels), budget).all()


@pytest.mark.slow
def test_too_few_arrays_are_refused_with_the_least_that_there_is():
    _, _, channels, _ = network(BLOCK)
    chip = cimsim.load_hw("eflash40nm", SMALL)
    with pytest.raises(ConfigError, match=r"3 arrays cannot be reached.* takes \d+ arrays") as info:
        choose(channels, losses(channels), Arrays(3, chip, "im2col"))
    least = int(re.search(r"takes (\d+) arrays", str(info.value))[1])
    budget = Arrays(least, chip, "im2col")
    assert budget.of(channels, choose(channels, losses(channels), budget)) == least
    with pytest.raises(ConfigError, match=f"takes {least} arrays"):
        choose(channels, losses(channels), Arrays(least - 1, chip, "im2col"))


def test_arrays_need_not_be_there():
    _, _, channels, _ = network(BLOCK)
    chip = cimsim.load_hw("eflash40nm", SMALL | {"tile.count": 110})
    budget = Arrays(110, chip, "im2col")
    assert budget.of(channels, whole(channels)) > 110
    assert budget.of(channels, choose(channels, losses(channels), budget)) <= 110


@pytest.mark.slow
def test_energy_is_that_of_the_cut_network():
    model, _, channels, known = network(BLOCK)
    # without what goes with time alone, of which cuts save next to nothing
    chip = cimsim.load_hw("eflash40nm", dict.fromkeys(STANDING, "0 W"))
    before = energy_j(channels, whole(channels), chip, "im2col")
    budget = Energy(0.95 * before, chip, "im2col")
    kept = choose(channels, losses(channels), budget)
    pruned = copy.deepcopy(model)
    cut(pruned, channels, known, kept)
    mapping = cimsim.map_graph(cimsim.trace(pruned, frames(model)), chip)
    real = cimsim.simulate(mapping, None).energy.total_j
    assert real == pytest.approx(budget.of(channels, kept), rel=1e-9)
    assert 0.93 * before < real <= 0.95 * before
    assert "J" in budget.shown(real)


def test_energy_of_a_chip_as_shipped_counts_what_is_on_by_hand():
    """Clocks, references, amplifiers, memory and link, from the cycles of the cut network."""
    model, _, channels, known = network(BLOCK)
    chip = cimsim.load_hw("eflash40nm")
    kept = whole(channels)
    for group in channels.groups:  # every other one of each group
        kept[list(group.sets)[1::2]] = False
    pruned = copy.deepcopy(model)
    cut(pruned, channels, known, kept)
    mapping = cimsim.map_graph(cimsim.trace(pruned, frames(model)), chip)
    line = simulate(mapping)
    period, frames_run = line.interval / 148e6, len(line.completions)
    tiles = len({slot.tile for layer in mapping.layers for slot in layer.slots[0]})
    by_hand = (tiles * 0.2e-3 + 20e-3 + 40e-3 + 0.54e-3) * period
    for node in line.nodes:
        if node.kind == "matrix":
            layer = mapping.layer_of[node.name]
            by_hand += 40.5e-3 * len(layer.slots[0]) * max(node.busy) / frames_run / 148e6
            # amplifiers: an MVM of 6.2 us, or a conversion of 0.4 us for node 64 columns
            on = sum(max(6.2e-6, -(-n // 64) * 0.4e-6) for n in layer.layout.cols_used)
            fired = node.activations / frames_run / layer.layout.n_arrays
            by_hand += 1e-3 * fired * on
    quiet = cimsim.load_hw("eflash40nm", dict.fromkeys(STANDING, "0 W"))
    found = energy_j(channels, kept, chip, "im2col")
    assert found == pytest.approx(by_hand + energy_j(channels, kept, quiet, "im2col"), rel=1e-9)
    assert by_hand > 0.9 * found


@pytest.mark.slow
def test_channels_are_found_again_in_a_pruned_network():
    model, _, channels, known = network(BLOCK)
    kept = choose(channels, losses(channels),
                  Arrays(110, cimsim.load_hw("eflash40nm", SMALL), "im2col"))  # fmt: skip
    pruned = copy.deepcopy(model)
    cut(pruned, channels, known, kept)
    again, _ = channels_of(pruned, cimsim.trace(pruned, frames(model)))
    assert len(again.sets) == kept.sum()
    assert len(again.groups) == len(channels.groups)
