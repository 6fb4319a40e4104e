"""CIM-NET's readings against formulas written out by hand, and the defaults against the weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import cimsim
from cimsim.video.embedded import embedded_clip
from cimsim.zoo import registry
from cimsim.zoo.cimnet import GREY
from cimsim.zoo.errors import WeightsError, ZooError
from cimsim.zoo.weights import fill, folder, load_weights, named_card, save_weights
from tests.thorough import some

RANDOM_START = 70649.31603723922  # sum of magnitudes at S = 4, seed 0, before there were readings
READINGS = [
    {},
    {"skip": "none"},
    {"skip": "neither"},
    {"skip": "concat"},
    {"skip": "concat", "behind": 2},
    {"residual": "frame"},
    {"coarse": 0},
    {"coarse": 2},
    {"smoothing": "conv"},
    {"smoothing": "conv", "before": 2, "behind": 3, "residual": "frame"},
    {"before": 2},
]


def built(stride=4, **reading):
    torch.manual_seed(1)
    network = registry.build("cimnet", stride=stride, **reading)
    for part in network.modules():  # statistics as after training, so that norms do something
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 2)
    return network.eval()


def inputs(edge=32, batch=1):
    generator = torch.Generator().manual_seed(2)
    frames = torch.rand(batch, 9, edge, edge, generator=generator)
    return frames, torch.full((batch, 1, edge, edge), 15 / 255)


def by_hand(state, frames, noise_map, stride, *, skip="add", residual="none", coarse=1,
            smoothing="matrix", before=1, behind=1):  # fmt: skip
    """The network as a formula over its tensors."""
    smooth = 1 if smoothing == "conv" or stride == 2 else stride

    def layer(x, name, norm, step, block=1, relu=True):
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
        x = F.conv2d(x, weight, bias, stride=step, padding=1)
        if norm is not None:
            parts = (state[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight"))
            mean, variance, scale = (part.reshape(-1, 1, 1) for part in parts)
            shift = state[f"{norm}.bias"].reshape(-1, 1, 1)
            x = (x - mean) / (variance + 1e-5).sqrt() * scale + shift
        x = x.clamp(min=0) if relu else x
        return F.pixel_shuffle(x, block) if block > 1 else x

    def cim(x, name, step, block, norm=True, relu=True):
        name = f"block1.{name}"
        return layer(x, f"{name}.fc", f"{name}.norm" if norm else None, step, block, relu)

    def plain(x, name, count):
        for at in range(count):
            x = layer(x, f"block1.{name}.{3 * at}", f"block1.{name}.{3 * at + 1}", 1)
        return x

    full = cim(torch.cat([frames - GREY, noise_map], 1), "smooth_in", smooth, smooth, norm=False)
    for at in range(before - 1):
        full = cim(full, f"more_in.{at}", smooth, smooth)
    if coarse:
        below = plain(cim(full, "down1", stride, 1), "encode", 2)
        up = cim(plain(cim(below, "down2", 2, 1), "middle", 4), "up2", 1, 2)
        up = plain(up if skip == "neither" else below + up, "decode", 2)
        up = cim(up, "up1", 1, stride)
        joined = {"add": full + up, "concat": torch.cat([full, up], 1)}
        full = joined.get(skip, up)
    for at in range(behind - 1):
        full = cim(full, f"more_out.{at}", smooth, smooth)
    drawn = cim(full, "smooth_out", smooth, smooth, norm=False, relu=False)
    return frames[:, 3:6] - drawn if residual == "frame" else drawn


@pytest.mark.parametrize("reading", READINGS, ids=str)
@pytest.mark.parametrize("stride", [2, 4])
def test_a_reading_is_its_formula(reading, stride):
    network = built(stride, **reading)
    frames, noise_map = inputs()
    with torch.no_grad():
        expected = by_hand(network.state_dict(), frames, noise_map, stride, **reading)
        assert torch.allclose(network(frames, noise_map), expected, atol=2e-5)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("stem", ["cimnet_s8", "cimnet_s8_eflash40nm", "cimnet_s2"])
def test_the_defaults_are_the_network_of_the_shipped_weights(stem):
    card = named_card(stem)
    tensors = load_file(folder() / f"{stem}.safetensors")
    network = registry.build("cimnet", stride=card.options["stride"])
    load_weights(network, card)
    network.eval()
    own = {key for key in network.state_dict() if "num_batches" not in key}
    assert own == set(tensors)
    frames, noise_map = inputs(64)
    state = {key: value.float() for key, value in tensors.items()}
    with torch.no_grad():
        coarse = int(stem == "cimnet_s2")
        expected = by_hand(state, frames, noise_map, network.stride, coarse=coarse)
        assert torch.allclose(network(frames, noise_map), expected, atol=2e-5)


def test_random_starts_of_the_default_are_what_they_were():
    torch.manual_seed(0)
    network = registry.build("cimnet", stride=4)
    total = float(sum(p.detach().double().abs().sum() for p in network.parameters()))
    assert total == pytest.approx(RANDOM_START, rel=1e-9)


@pytest.mark.parametrize("stride", [4, 8])
def test_smoothing_convolutions_are_written_out_as_matrices(stride, tmp_path):
    plain = built(stride, smoothing="conv", before=2, behind=2)
    matrices = built(stride, before=2, behind=2)
    fill(matrices, plain.state_dict(), where="test")
    frames, noise_map = inputs(4 * stride)
    with torch.no_grad():
        assert torch.allclose(
            matrices(frames, noise_map), plain(frames, noise_map), atol=1e-5, rtol=1e-5
        )
    assert matrices.block1.smooth_in.fc.weight.shape[2] == stride + 2


def test_matrices_do_not_fit_where_convolutions_are_wanted():
    with pytest.raises(WeightsError, match="it fits --model cimnet --stride 4"):
        fill(built(smoothing="conv"), built().state_dict(), where="test")


@pytest.mark.slow
def test_weights_of_a_reading_are_recognised():
    with pytest.raises(WeightsError, match="--arg coarse=2"):
        fill(built(), built(coarse=2).state_dict(), where="test")
    with pytest.raises(WeightsError, match="--arg coarse=0"):
        fill(built(), built(coarse=0).state_dict(), where="test")
    with pytest.raises(WeightsError, match="--arg before=2"):
        fill(built(), built(before=2).state_dict(), where="test")


def test_every_reading_has_a_name_of_its_own():
    info = registry.info("cimnet")
    stems = [info.weights_stem({"stride": 4} | reading) for reading in READINGS]
    assert len(set(stems)) == len(stems)
    assert stems[0] == "cimnet_s4"
    assert info.weights_stem({"smoothing": "conv", "behind": 2}) == "cimnet_s8_conv_behind2"


def test_no_path_at_all_is_refused():
    with pytest.raises(ZooError, match="coarse: 0 leaves nothing for skip=none; take skip=add"):
        built(coarse=0, skip="none")


@pytest.mark.parametrize(
    ("reading", "message"),
    [({"skip": "nine"}, "skip: expected one of"), ({"before": 0}, "before: expected 1 or more")],
)
def test_a_reading_made_directly_is_checked(reading, message):
    from cimsim.zoo.cimnet import CIMNet

    with pytest.raises(ZooError, match=message):
        CIMNet(4, **reading)


@pytest.mark.parametrize("reading", READINGS[1:], ids=str)
def test_a_reading_is_traced_and_mapped(reading):
    network = built(4, **reading)
    chip = cimsim.load_hw("eflash40nm")
    frames, noise_map = inputs(16)
    graph = cimsim.trace(network, (frames, noise_map))
    with torch.no_grad():
        expected = network(frames, noise_map)
    (got,) = graph.reference(frames, noise_map)
    assert torch.allclose(torch.as_tensor(got), expected, atol=1e-4)
    mapping = cimsim.map_graph(graph, chip)
    matrices = sum(isinstance(part, torch.nn.Conv2d) for part in network.modules())
    assert len(mapping.layers) == matrices


@pytest.mark.parametrize("reading", [{"skip": "concat"}, {"coarse": 0}], ids=str)
def test_a_reading_runs_on_a_chip(reading):
    network = built(4, **reading)
    graph = cimsim.trace(network, inputs(16))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    result = cimsim.simulate(mapping, embedded_clip(frames=1, height=16, width=16), noise_sigma=15)
    assert result.timing.cycles_per_frame > 0
    assert torch.isfinite(torch.tensor(result.quality.psnr_db))


def test_training_without_coarse_path_starts_from_a_network_with_one():
    whole, two = built(8, coarse=1), built(8)
    state = two.grown(whole.state_dict())
    fill(two, state, where="test")
    frames, noise_map = inputs()
    silent = whole.state_dict() | {
        "block1.up1.norm.weight": torch.zeros(2048), "block1.up1.norm.bias": torch.zeros(2048)
    }  # fmt: skip
    with torch.no_grad():
        expected = by_hand(silent, frames, noise_map, 8)
        assert torch.allclose(two(frames, noise_map), expected, atol=2e-5)
    assert two.grown(two.state_dict()) is None
    assert whole.grown(whole.state_dict()) is None
    with pytest.raises(WeightsError, match="--arg coarse=1"):  # it is not dropped without a word
        fill(two, whole.state_dict(), where="test")


@pytest.mark.parametrize(("small", "large"), some([(4, 8), (8, 16), (4, 16)], (4, 8), (8, 16)))
def test_two_layers_of_a_smaller_stride_are_written_out(small, large):
    narrow, wide = (built(stride, coarse=0, before=2) for stride in (small, large))
    for name, tensor in narrow.state_dict().items():  # norms and biases of all columns differ
        if tensor.dim() == 1:
            tensor.uniform_(0.5, 1.5) if "var" in name else tensor.uniform_(-0.2, 0.2)
    assert wide.grown(narrow.state_dict()) is None
    fill(wide, narrow.state_dict(), where="test")
    for height, width in [(2 * large, 4 * large), (2 * large, 4 * large - 3)]:
        frames, noise_map = torch.rand(1, 9, height, width), torch.full((1, 1, height, width), 0.1)
        with torch.no_grad():
            expected = narrow(frames, noise_map)
            torch.testing.assert_close(wide(frames, noise_map), expected, atol=1e-5, rtol=1e-5)
    assert wide.block1.smooth_in.fc.weight.shape[2] == large + 2


def test_written_out_layers_differ_at_the_edge_where_frames_are_padded_further():
    narrow, wide = built(4, coarse=0), built(8, coarse=0)
    fill(wide, narrow.state_dict(), where="test")
    height, width = 24, 32  # padded to 24 at S = 4, to 32 at S = 8
    frames, noise_map = torch.rand(1, 9, height, width), torch.full((1, 1, height, width), 0.1)
    with torch.no_grad():
        gap = (wide(frames, noise_map) - narrow(frames, noise_map)).abs().amax(dim=(0, 1, 3))
    assert gap[: height - 8].max() < 1e-5 < gap[height - 8 :].min()  # two blocks of 4 pixels


def test_another_stride_with_a_coarse_path_is_refused():
    two, whole = built(8, coarse=0), built(4)
    assert two.grown(whole.state_dict()) is None
    for network, state in [(two, whole.state_dict()), (built(8, coarse=1), whole.state_dict())]:
        with pytest.raises(WeightsError, match="it fits --model cimnet --stride 4"):
            fill(network, state, where="test")


def test_two_layers_have_two_matrices_and_a_quarter_of_the_windows():
    network = built(4, coarse=0)
    assert sum(isinstance(part, torch.nn.Conv2d) for part in network.modules()) == 2


def test_a_variant_survives_its_weight_file(tmp_path):
    network = built(4, coarse=0)
    card = named_card("cimnet_s8")
    options = registry.info("cimnet").resolve({"stride": 4, "coarse": 0})
    save_weights(network, tmp_path / "two.safetensors", replace(card, options=options))
    again = cimsim.load_network("cimnet", {"stride": 4, "coarse": 0}, tmp_path / "two.safetensors")
    frames, noise_map = inputs()
    with torch.no_grad():
        assert torch.allclose(
            again.module(frames, noise_map), network(frames, noise_map), atol=1e-2
        )
