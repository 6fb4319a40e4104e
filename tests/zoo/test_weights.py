from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cimsim.zoo import registry
from cimsim.zoo.errors import WeightsError
from cimsim.zoo.fastdvdnet import FastDVDnet
from cimsim.zoo.weights import Card, find_card, folder, load_weights, read_state, save_weights

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


def card(**changes):
    values = {
        "model": "cimnet",
        "options": {"stride": 8, "stages": 1},
        "data": "clips",
        "licence": "MIT",
        "steps": 10,
        "minutes": 0.5,
        "device": "cpu",
        "seed": 3,
        "sigma": (15.0, 15.0),
        "psnr_db": {"set8 motorbike": 31.0},
        "command": "cimsim train",
        "code_version": "0.1.0",
    }
    return Card(**(values | changes))


class Small(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)


def saved(tmp_path, model=None):
    torch.manual_seed(1)
    model = model or Small()
    return model, save_weights(model, tmp_path / "small.safetensors", card())


def test_round_trip_is_exact_to_half_precision(tmp_path):
    model, written = saved(tmp_path)
    model.norm.running_var.fill_(1e6)  # beyond half precision: kept in single
    written = save_weights(model, tmp_path / "small.safetensors", card())
    other = Small()
    load_weights(other, written)
    assert torch.equal(other.conv.weight, model.conv.weight.half().float())
    assert torch.equal(other.conv.bias, model.conv.bias)
    assert torch.equal(other.norm.running_var, model.norm.running_var)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "small.json",
        "small.safetensors",
    ]


def test_card_round_trip(tmp_path):
    _, written = saved(tmp_path)
    assert Card.read(tmp_path / "small.json") == written
    assert len(written.sha256) == 64


def test_changed_file_is_refused(tmp_path):
    saved(tmp_path)
    path = tmp_path / "small.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    for source in (path, Card.read(tmp_path / "small.json")):
        with pytest.raises(WeightsError, match=r"small\.safetensors: .*SHA-256"):
            load_weights(Small(), source)


def test_wrong_shape_names_the_tensor_and_both_shapes(tmp_path):
    saved(tmp_path)
    with pytest.raises(
        WeightsError, match=r"tensor 'conv\.bias' has shape \(4,\), Small needs \(5,\)"
    ):
        load_weights(Small(5), tmp_path / "small.safetensors")


def test_missing_and_surplus_tensors_are_named(tmp_path):
    state = Small().state_dict()
    del state["norm.weight"]
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"misses tensor 'norm\.weight' for Small \(1 missing"):
        load_weights(Small(), tmp_path / "a.pt")
    torch.save(Small().state_dict() | {"extra": torch.zeros(1)}, tmp_path / "b.pt")
    with pytest.raises(WeightsError, match="a tensor too much, 'extra'"):
        load_weights(Small(), tmp_path / "b.pt")


def test_a_refused_file_changes_nothing(tmp_path):
    state = Small().state_dict()
    state["norm.bias"] = torch.full((4,), float("nan"))
    torch.save(state, tmp_path / "a.pt")
    model = Small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=r"'norm\.bias' holds values that are not finite"):
        load_weights(model, tmp_path / "a.pt")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_torch_state_dicts_with_module_prefix(tmp_path, suffix):
    source = Small()
    path = tmp_path / f"x{suffix}"
    torch.save({f"module.{key}": value for key, value in source.state_dict().items()}, path)
    model = Small()
    load_weights(model, path)
    assert torch.equal(model.conv.weight, source.conv.weight)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.safetensors", b"no"), ("a.pt", b"no"), ("a.bin", b"no")],
)
def test_damaged_files_give_one_message(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        load_weights(Small(), path)


def test_missing_file(tmp_path):
    with pytest.raises(WeightsError, match="no such weight file"):
        load_weights(Small(), tmp_path / "none.pt")


def test_a_pickle_is_not_executed(tmp_path):
    torch.save({"x": Path("/")}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="cannot read the weights"):
        read_state(tmp_path / "a.pt")


def test_values_beyond_half_precision_are_refused(tmp_path):
    model = Small()
    nn.init.constant_(model.conv.weight, 1e6)
    with pytest.raises(WeightsError, match=r"'conv\.weight' does not fit"):
        saved(tmp_path, model)
    assert not list(tmp_path.iterdir())


def test_card_with_a_missing_field(tmp_path):
    saved(tmp_path)
    path = tmp_path / "small.json"
    values = json.loads(path.read_text())
    del values["sigma"]
    path.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match="sigma"):
        Card.read(path)


def test_no_card_for_networks_without_weights():
    assert find_card("cimnet", {"stride": 16}) is None


@pytest.mark.parametrize("path", sorted(folder().glob("*.json")), ids=lambda path: path.stem)
def test_shipped_weights_fit_their_networks(path):
    shipped = Card.read(path)
    assert registry.info(shipped.model).weights_stem(shipped.options) == path.stem
    assert find_card(shipped.model, shipped.options) == shipped
    load_weights(registry.build(shipped.model, **shipped.options), shipped)


@pytest.mark.parametrize("name", ["cimnet", "fastdvdnet-block"])
def test_weights_of_the_default_networks_are_shipped(name):
    found = find_card(name)
    assert found is not None
    assert found.sigma == (15.0, 15.0)
    for clip in ("motorbike", "hypersmooth"):
        # six dB below a Wiener filter would mean a broken file; the noisy clips have 25 dB
        assert found.psnr_db[f"set8 {clip}"] > found.psnr_db[f"set8 {clip} noisy"] + 5


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared weights and clips here")
def test_independent_weights_give_their_published_quality():
    """FastDVDnet of half width, trained by others (LiteDVDNet, MIT): 32.2 dB on motorbike."""
    from cimsim.video.io import read_clip, to_float

    model = FastDVDnet(width=16).eval()
    state = read_state(SHARED / "weights" / "fastdvdnet_half_litedvdnet.pth")
    model.load_state_dict(state, strict=True)
    assert len(state) == 162
    clean = to_float(read_clip(SHARED / "data" / "test" / "motorbike", frames=5))[:, :536]
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(clean.shape, dtype=np.float32)
    noisy = clean + np.float32(15 / 255) * noise
    frames = torch.from_numpy(noisy).permute(0, 3, 1, 2).reshape(1, 15, *clean.shape[1:3])
    with torch.no_grad():
        out = model(frames, torch.full((1, 1, *clean.shape[1:3]), 15 / 255))
    error = out.clamp(0, 1)[0].permute(1, 2, 0).numpy() - clean[2]
    assert -10 * np.log10(np.square(error).mean()) == pytest.approx(32.2, abs=0.3)
