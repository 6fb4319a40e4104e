"""Fold-NET: a convolution written out for a block is the same convolution."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from cimsim.zoo import registry
from cimsim.zoo.errors import WeightsError, ZooError
from cimsim.zoo.foldnet import FoldConv, write_out
from cimsim.zoo.weights import fill, load_weights, save_weights


def spread(model: nn.Module) -> nn.Module:
    """Give batch norms statistics that a folding must not mix up."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (part.bias.data, part.running_mean):
                tensor.normal_(0, 0.2)
    return model.eval()


def literal(kernel: np.ndarray, step: int, up: int, x: np.ndarray) -> np.ndarray:
    """Convolve by the definition, pixel by pixel in float64, and lay sub-pixels side by side."""
    columns, edge = kernel.shape[0], kernel.shape[-1]
    c_out, (height, width) = columns // up**2, x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((c_out, height // step * up, width // step * up))
    for y in range(height // step):
        for column in range(width // step):
            patch = padded[:, y * step : y * step + edge, column * step : column * step + edge]
            for j in range(columns):
                channel, sub = divmod(j, up**2)
                dy, dx = divmod(sub, up)
                out[channel, y * up + dy, column * up + dx] = (kernel[j] * patch).sum()
    return out


@settings(max_examples=25, deadline=None)
@given(
    step=st.sampled_from([1, 2]),
    positions=st.integers(1, 4),
    up=st.sampled_from([1, 2]),
    c_in=st.integers(1, 3),
    c_out=st.integers(1, 3),
    grid=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    seed=st.integers(0, 99),
)
def test_a_convolution_written_out_is_the_same_convolution(
    step, positions, up, c_in, c_out, grid, seed
):
    generator = torch.Generator().manual_seed(seed)
    fold, edge = positions * step, step + 2
    kernel = torch.randn(c_out * up**2, c_in, edge, edge, generator=generator, dtype=torch.float64)
    height, width = (n * fold for n in grid)
    x = torch.randn(c_in, height, width, generator=generator, dtype=torch.float64)
    matrix = write_out(kernel, step=step, up=up, fold=fold)
    columns = functional.conv2d(x[None], matrix, stride=fold, padding=1)
    got = functional.pixel_shuffle(columns, positions * up)[0]
    np.testing.assert_allclose(got, literal(kernel.numpy(), step, up, x.numpy()), atol=1e-12)


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_the_written_out_network_is_the_network(stride, tmp_path):
    torch.manual_seed(1)
    plain = spread(registry.build("foldnet", stride=2))
    generator = torch.Generator().manual_seed(2)
    frames = torch.rand(1, 9, 32, 48, generator=generator)
    noise = torch.full((1, 1, 32, 48), 15 / 255)
    folded = registry.build("foldnet", stride=stride).eval()
    fill(folded, plain.state_dict(), where="the network at S = 2")
    with torch.no_grad():
        expected, got = plain(frames, noise), folded(frames, noise)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_one_file_serves_every_stride_and_its_own(tmp_path):
    torch.manual_seed(3)
    folded = spread(registry.build("foldnet", stride=4))
    again = registry.build("foldnet", stride=4).eval()
    fill(again, folded.state_dict(), where="a network of its own S")
    for name, tensor in folded.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    with pytest.raises(WeightsError, match="shape"):  # the other way there is none
        fill(registry.build("foldnet", stride=2), folded.state_dict(), where="a folded network")
    with pytest.raises(WeightsError, match="shape"):
        fill(
            registry.build("foldnet", stride=4, tiles=2),
            registry.build("foldnet", stride=2).state_dict(),
            where="a narrow network",
        )


@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_each_layer_fills_its_rows_and_has_the_same_windows(tiles):
    rows, sizes = layers_of(tiles=tiles, levels=3)
    read, half1, down1, *deeper, up1, half2, direct, write = rows
    assert (read, half1, down1, half2, write) == (1000, *4 * (1008 * tiles,))
    assert {*deeper, up1} == {1008, 1024}
    assert direct == 36 * 12
    assert sizes == [(8, 12)] * 17
    rows, sizes = layers_of(tiles=tiles, depth=4)
    assert rows == [1000, *4 * (1008 * tiles,), 432, 1008 * tiles]
    assert sizes == [(8, 12)] * 7


def layers_of(**options):
    """Rows of each matrix, and how many windows it has for a frame of 64 x 96."""
    sizes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        network = registry.build("foldnet", stride=8, **options)
        layers = [part.conv for part in network.modules() if isinstance(part, FoldConv)]
        for layer in layers:
            layer.register_forward_hook(partial(_note_size, sizes))
        network(torch.empty(1, 9, 64, 96), torch.empty(1, 1, 64, 96))
    return [layer.weight[0].numel() for layer in layers], sizes


def _note_size(sizes, _module, _inputs, output):
    sizes.append(tuple(output.shape[2:]))


def test_weights_of_the_plain_network_load_by_name_for_another_stride(tmp_path):
    from cimsim.zoo.weights import Card

    torch.manual_seed(4)
    plain = spread(registry.build("foldnet", stride=2))
    card = Card(
        model="foldnet", options={"stride": 2, "tiles": 1}, data="none", licence="none", steps=0,
        minutes=0.0, device="cpu", seed=0, sigma=(15.0,), psnr_db={}, command="", code_version="0",
    )  # fmt: skip
    path = tmp_path / "foldnet_t1.safetensors"
    save_weights(plain, path, card)
    folded = registry.build("foldnet", stride=8).eval()
    load_weights(folded, path)
    expected = write_out(plain.half1.conv.weight.detach(), step=1, up=1, fold=4)
    torch.testing.assert_close(folded.half1.conv.weight.detach(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ({"tiles": 1}, {"tiles": 2}),
        ({"tiles": 1, "levels": 3}, {"tiles": 3, "levels": 3}),
        ({"tiles": 1}, {"tiles": 3, "depth": 4}),
        ({"depth": 3}, {"depth": 4}),
    ],
)
def test_a_grown_network_computes_the_same(small, large):
    torch.manual_seed(5)
    small = spread(registry.build("foldnet", stride=2, **small))
    tiles = large.get("tiles", 1)
    large = registry.build("foldnet", stride=2, **large).eval()
    fill(large, large.grown(small.state_dict()), where="a smaller one")
    frames, noise = torch.rand(1, 9, 32, 32), torch.full((1, 1, 32, 32), 15 / 255)
    with torch.no_grad():
        expected, got = small(frames, noise), large(frames, noise)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    # copies are read differently, so that training can tell them apart
    kernel = large.half1.conv.weight
    assert tiles == 1 or not torch.allclose(kernel[:, :28], kernel[:, 28:56])


def test_levels_that_a_network_lacks_are_left_out():
    torch.manual_seed(5)
    deep = spread(registry.build("foldnet", stride=2, levels=3))
    flat = registry.build("foldnet", stride=2).eval()
    fill(flat, flat.grown(deep.state_dict()), where="a U-Net")
    with torch.no_grad():  # what the other levels add becomes nothing
        deep.up1.norm.weight.zero_()
        deep.up1.norm.bias.zero_()
        frames, noise = torch.rand(1, 9, 32, 32), torch.full((1, 1, 32, 32), 15 / 255)
        torch.testing.assert_close(flat(frames, noise), deep(frames, noise))


def test_nothing_is_grown_from_what_fits_or_is_written_out():
    plain, folded = (registry.build("foldnet", stride=n) for n in (2, 8))
    assert plain.grown(plain.state_dict()) is None
    assert folded.grown(plain.state_dict()) is None
    assert folded.grown(folded.state_dict()) is None


def test_widths_that_do_not_divide_are_refused():
    small, large = (registry.build("foldnet", stride=2, tiles=n) for n in (2, 3))
    with pytest.raises(ZooError, match="multiple"):
        large.grown(small.state_dict())


def test_training_starts_from_a_narrower_file(tmp_path):
    from cimsim.training import start
    from cimsim.training.config import TrainConfig
    from cimsim.training.data import Dataset
    from cimsim.zoo.weights import Card

    torch.manual_seed(6)
    small = spread(registry.build("foldnet", stride=2))
    path = tmp_path / "small.safetensors"
    card = Card(
        model="foldnet", options={"stride": 2}, data="none", licence="none", steps=0, minutes=0.0,
        device="cpu", seed=0, sigma=(15.0,), psnr_db={}, command="", code_version="0",
    )  # fmt: skip
    save_weights(small, path, card)
    load_weights(small, path)  # in half precision
    config = TrainConfig(
        model="foldnet", options={"stride": 2, "tiles": 2}, data=tmp_path, out=tmp_path, steps=1,
        start=str(path),
    )  # fmt: skip
    large = registry.build("foldnet", stride=2, tiles=2).eval()
    start.initialise(large, config, Dataset((), (), ()))
    frames, noise = torch.rand(1, 9, 16, 16), torch.full((1, 1, 16, 16), 15 / 255)
    with torch.no_grad():
        expected, got = small(frames, noise), large(frames, noise)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
