from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from torch import nn

from cimsim.session.loading import load_network
from cimsim.zoo import registry
from cimsim.zoo.errors import WeightsError
from cimsim.zoo.narrow import is_narrowed, narrow, shapes_of_state
from cimsim.zoo.weights import Card, is_pruned, load_weights, save_weights


def card(model, **options):
    return Card(
        model=model, options=options, data="d", licence="l", steps=1, minutes=0.0, device="cpu",
        seed=0, sigma=(15.0, 15.0), psnr_db={}, command="c", code_version="0",
    )  # fmt: skip


def foldnet(stride=2, half=28, quarter=64):
    """A Fold-NET whose layers at half size have fewer channels."""
    torch.manual_seed(0)
    model = registry.build("foldnet", stride=2)
    shapes = shapes_of_state(model)
    for name, shape in shapes.items():
        layer = name.partition(".")[0]
        outputs = {"read": half, "half1": half, "half2": half, "up1": 4 * half}.get(layer)
        inputs = {"half1": half, "half2": half, "down1": half, "write": half}.get(layer)
        new = list(shape)
        if outputs and shape:
            new[0] = outputs
        if inputs and len(shape) == 4:
            new[1] = inputs
        shapes[name] = tuple(new)
    narrow(model, shapes, where="test")
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            part.running_var.uniform_(0.5, 1.5)
    return model.eval()


def inputs():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, 9, 32, 32, generator=generator), torch.full((1, 1, 32, 32), 0.06)


def test_a_pruned_file_comes_back_with_its_widths(tmp_path):
    model, path = foldnet(half=17), tmp_path / "p.safetensors"
    save_weights(model, path, card("foldnet", stride=2, tiles=1))
    assert is_pruned(path)
    network = load_network("foldnet", {"stride": 2}, path)
    assert network.title.endswith(", pruned")
    assert network.module.half1.conv.in_channels == 17
    with torch.no_grad():
        wanted, found = model(*inputs()), network.module(*inputs())
    assert float((wanted - found).abs().max()) < 0.01 * float(wanted.std())  # half precision


def test_a_pruned_convolution_is_written_out_for_blocks_too(tmp_path):
    path = tmp_path / "p.safetensors"
    save_weights(foldnet(half=9), path, card("foldnet", stride=2, tiles=1))
    small, large = (load_network("foldnet", {"stride": s}, path).module for s in (2, 8))
    assert large.read.conv.out_channels == 9 * 16
    with torch.no_grad():
        torch.testing.assert_close(small(*inputs()), large(*inputs()), rtol=1e-4, atol=1e-4)


def test_files_of_whole_networks_say_nothing_of_it(tmp_path):
    path = tmp_path / "w.safetensors"
    model = registry.build("foldnet", stride=2)
    narrow(model, shapes_of_state(model), where="test")
    assert not is_narrowed(model)
    save_weights(model, path, card("foldnet", stride=2, tiles=1))
    assert not is_pruned(path)
    with safe_open(path, framework="pt") as held:
        assert held.metadata() is None
    assert not is_pruned(tmp_path / "model.pth")


def changed(**changes):
    shapes = shapes_of_state(registry.build("foldnet", stride=2))
    return shapes | {key.replace("__", "."): value for key, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"read__conv__weight": (29, 10, 4, 4)}, r"read.conv.weight' has shape \(29,.*the network"),
        ({"read__conv__weight": (28, 10, 3, 3)}, "changes nothing else"),
        ({"read__conv__weight": (0, 10, 4, 4)}, "changes nothing else"),
        ({"read__norm__weight": (20,)}, "different widths: weight 20, bias 28"),
        ({"read__conv__weight": (20, 10, 4, 4)}, "widths of its layers do not go together"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(WeightsError, match=message):
        narrow(registry.build("foldnet", stride=2), changed(**changes), where="f")


def test_groups_stay_whole():
    model = registry.build("fastdvdnet-block")
    shapes = shapes_of_state(model) | {"inc.convblock.0.weight": (88, 4, 3, 3)}
    with pytest.raises(WeightsError, match="88 outputs, which do not go into 3 groups"):
        narrow(model, shapes, where="f")


def test_a_pruned_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "p.safetensors"
    save_weights(foldnet(half=9), path, card("foldnet", stride=2, tiles=1))
    with pytest.raises(WeightsError, match=r"misses tensor 'inc.convblock.0.weight'"):
        load_weights(registry.build("fastdvdnet-block"), path)


def test_the_card_of_a_pruned_network_keeps_the_options(tmp_path):
    path = tmp_path / "p.safetensors"
    save_weights(foldnet(half=9), path, card("foldnet", stride=2, tiles=1))
    assert json.loads(path.with_suffix(".json").read_text())["options"]["tiles"] == 1
