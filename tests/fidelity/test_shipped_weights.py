"""Weights that are shipped must fit the networks that are shipped, and must denoise."""

import math

import pytest

import cimsim
from cimsim.video.embedded import embedded_clip
from cimsim.zoo import registry
from cimsim.zoo.weights import Card, find_card, folder, shipped_cards
from tests.thorough import some

ALL = sorted(folder().glob("*.json"))
CARDS = sorted(card.file.with_suffix(".json") for card in shipped_cards())  # of denoisers


# what weights lose on the chip that they were trained for, dB; without training it may be 1 dB
LOST = {"eflash40nm": 0.3, "pcm64core14nm": 2.0}


@pytest.mark.parametrize(
    "path", some(CARDS, "cimnet_s8_eflash40nm", "foldnet_t1"), ids=lambda p: p.stem
)
def test_shipped_weights_denoise_in_float_and_on_the_chip(path):
    card = Card.read(path)
    network = cimsim.load_network(card.model, card.options, weights=path.stem)
    graph = cimsim.trace(network.module, network.example(96, 96))
    mapping = cimsim.map_graph(graph, cimsim.load_hw(card.hw or "eflash40nm"))
    clip = embedded_clip(frames=2, height=96, width=96)
    quality = cimsim.simulate(mapping, clip, noise_sigma=sum(card.sigma) / 2).quality
    noisy, clean = quality.mean("noisy_psnr"), quality.mean("float_psnr")
    assert clean > noisy + gain_expected(card)
    allowed = 1.0 if card.hw is None else LOST[card.hw]
    assert quality.psnr_db > clean - allowed


def gain_expected(card):
    """1.5 dB, or half of what the narrowest layer allows: see zoo.baselines.BaselineO2."""
    if card.model != "baseline-o2":
        return 1.5
    options = registry.info(card.model).resolve(card.options)
    kept = 1 - options["inner"] / (3 * options["stride"] ** 2)
    return min(1.5, -10 * math.log10(kept) / 2) if kept > 0 else 1.5


def test_weights_for_phase_change_cells_are_taken_and_are_better_there():
    options, clip = {"stride": 2, "tiles": 3}, embedded_clip(frames=1, height=96, width=96)
    chip, found = cimsim.load_hw("pcm64core14nm"), {}
    assert find_card("foldnet", options, "pcm64core14nm").hw == "pcm64core14nm"
    for stem in ("foldnet_t3_pcm64core14nm", "foldnet_t3", "foldnet_t3_eflash40nm"):
        network = cimsim.load_network("foldnet", options, weights=stem)
        graph = cimsim.trace(network.module, network.example(96, 96))
        found[stem] = cimsim.simulate(cimsim.map_graph(graph, chip), clip).quality.psnr_db
    best, plain, for_flash = found.values()
    assert best > plain + 0.5
    assert best > for_flash + 0.1  # trained by the same gradient for smaller errors


def test_there_are_weights_for_the_default_network():
    assert "cimnet_s8" in {path.stem for path in CARDS}


def test_cards_name_a_command_that_exists():
    assert len(ALL) > len(CARDS) > 10
    for path in ALL:
        command = Card.read(path).command
        assert command.startswith(
            "cimsim train --model " if path in CARDS else "python -m benchmarks."
        )
        assert "--start" not in command


@pytest.mark.slow
def test_other_calibration_frames_give_another_hash():
    network = cimsim.load_network("cimnet", {"stride": 8})
    graph = cimsim.trace(network.module, network.example(32, 32))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    clip = embedded_clip(frames=1, height=32, width=32)
    first, second = (cimsim.simulate(mapping, clip, calibration=c) for c in (None, clip))
    assert first.hash != second.hash
