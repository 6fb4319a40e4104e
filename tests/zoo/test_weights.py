from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from cimsim.zoo import registry
from cimsim.zoo.errors import WeightsError
from cimsim.zoo.recognise import SKIPPED, recognise
from cimsim.zoo.weights import (
    Card,
    find_card,
    folder,
    load_weights,
    named_card,
    read_state,
    record,
    save_weights,
)


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


def test_a_card_without_optional_fields_is_read_and_one_without_others_is_not(tmp_path):
    _, written = saved(tmp_path)
    path = tmp_path / "small.json"
    told = json.loads(path.read_text())
    for name in ("contributions", "contributions_on", "hw"):
        del told[name]
    path.write_text(json.dumps(told))
    assert Card.read(path) == written
    for damaged in (told | {"colour": "red"}, {k: v for k, v in told.items() if k != "data"}):
        path.write_text(json.dumps(damaged))
        with pytest.raises(
            WeightsError, match=r"unknown fields of a weight card: \['(colour|data)"
        ):
            Card.read(path)


def test_contributions_are_recorded_in_the_card_beside_the_file(tmp_path):
    _, written = saved(tmp_path)
    given = {"branch a": (0.25, 0.01), "layer b": (-0.5, None)}
    assert record(written, given, "a clip") == tmp_path / "small.json"
    again = Card.read(tmp_path / "small.json")
    assert (again.contributions, again.contributions_on) == (given, "a clip")
    assert again.sha256 == written.sha256
    load_weights(Small(), again)
    with pytest.raises(WeightsError, match="names no file"):
        record(card(), given, "a clip")


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


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_damaged_file_gives_one_short_line(tmp_path, suffix):
    model = Small()
    if suffix == ".safetensors":
        save_weights(model, tmp_path / "x.safetensors", card())
        (tmp_path / "x.json").unlink()
    else:
        torch.save(model.state_dict(), tmp_path / f"x{suffix}")
    path = tmp_path / f"x{suffix}"
    whole = path.read_bytes()
    for content in (b"", b"no", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(WeightsError) as caught:
            read_state(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: cannot read the weights: ")
        assert "\n" not in message
        assert len(message) - len(str(path)) < 120


@pytest.mark.parametrize("key", ["state_dict", "model", "net"])
def test_the_network_of_a_training_checkpoint_is_found(tmp_path, key):
    source = Small()
    optimiser = torch.optim.Adam(source.parameters())
    junk = {"optimizer": optimiser.state_dict(), "epoch": 3, "args": {"lr": 1e-3}}
    torch.save({key: source.state_dict()} | junk, tmp_path / "a.pth")
    model = Small()
    load_weights(model, tmp_path / "a.pth")
    assert torch.equal(model.conv.weight, source.conv.weight)


def test_a_file_without_a_network_says_what_it_holds(tmp_path):
    source = Small()
    torch.save(torch.optim.Adam(source.parameters()).state_dict(), tmp_path / "a.pth")
    torch.save(source.state_dict() | {"epoch": 3}, tmp_path / "b.pth")
    torch.save([torch.zeros(1)], tmp_path / "c.pth")
    torch.save({}, tmp_path / "d.pth")
    for name, part in (
        ("a", r"found 'state' \(dict\), 'param_groups' \(list\)"),
        ("b", r"found 'epoch' \(int\)"),
        ("c", "found list"),
        ("d", "found no tensor"),
    ):
        with pytest.raises(WeightsError, match=part):
            read_state(tmp_path / f"{name}.pth")


def test_weights_of_other_options_name_the_options_that_fit(tmp_path):
    torch.save(registry.build("fastdvdnet-block", width=8).state_dict(), tmp_path / "a.pth")
    fits = "it fits --model fastdvdnet-block --width 8"
    for name in ("fastdvdnet-block", "fastdvdnet"):  # another width, another network
        with pytest.raises(WeightsError, match=fits):
            load_weights(registry.build(name), tmp_path / "a.pth")
    assert recognise({"conv.weight": (4, 3, 3, 3)}) is None


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("cimnet", {"stride": 4, "stages": 2}, "--model cimnet --stride 4 --stages 2"),
        ("cimnet", {}, "--model cimnet --stride 8 --stages 1"),
        ("fastdvdnet", {"width": 4, "per_frame": 7}, "--model fastdvdnet --width 4 --per-frame 7"),
        ("fastdvdnet-block", {}, "--model fastdvdnet-block"),
        ("abla-net", {"stride": 2}, "--model abla-net --stride 2"),
        ("dncnn", {}, "--model dncnn"),
        (
            "foldnet",
            {"stride": 4, "tiles": 2, "levels": 3, "depth": 5},
            "--model foldnet --stride 4 --arg tiles=2 --arg levels=3 --arg depth=5",
        ),
        ("foldnet", {"stride": 2}, "--model foldnet --stride 2 --arg tiles=1"),
    ],
)
def test_every_network_is_recognised(name, options, expected):
    with torch.device("meta"):
        state = registry.build(name, **options).state_dict()
    assert recognise({k: tuple(v.shape) for k, v in state.items() if SKIPPED not in k}) == expected


def test_missing_file(tmp_path):
    with pytest.raises(WeightsError, match="no such weight file"):
        load_weights(Small(), tmp_path / "none.pt")


def test_a_pickle_is_not_executed(tmp_path):
    torch.save({"x": Path("/")}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"it holds a Python object \(pathlib") as caught:
        read_state(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


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


def test_shipped_weights_have_names_and_nothing_else_does():
    assert named_card("cimnet_s8") == find_card("cimnet", {"stride": 8})
    assert named_card("cimnet_s7") is None
    assert named_card("../weights/cimnet_s8") is None


def test_no_card_for_networks_without_weights():
    assert find_card("cimnet", {"stride": 16}) is None


@pytest.mark.parametrize("path", sorted(folder().glob("*.json")), ids=lambda path: path.stem)
def test_shipped_weights_fit_their_networks(path):
    shipped = Card.read(path)
    plain = registry.info(shipped.model).weights_stem(shipped.options)
    chip = "" if shipped.hw is None else f"_{shipped.hw}"
    ranges = "_blind" if len(set(shipped.sigma)) > 1 else ""  # of all noise levels
    assert path.stem == f"{plain}{ranges}{chip}"
    assert named_card(path.stem) == shipped
    found = find_card(shipped.model, shipped.options)
    assert found is None or found.hw is None  # nobody gets a chip's weights without asking
    load_weights(registry.build(shipped.model, **shipped.options), shipped)


@pytest.mark.parametrize("name", ["cimnet", "fastdvdnet-block"])
def test_weights_of_the_default_networks_are_shipped(name):
    found = find_card(name)
    assert found is not None
    assert found.sigma == (15.0, 15.0)
    for clip in ("motorbike", "hypersmooth"):
        # six dB below a Wiener filter would mean a broken file; the noisy clips have 25 dB
        (denoised,) = (v for name, v in found.psnr_db.items() if name.endswith(clip))
        (noisy,) = (v for name, v in found.psnr_db.items() if name.endswith(f"{clip} noisy"))
        assert denoised > noisy + 5


def test_weights_trained_for_the_chip_win_over_the_float_ones():
    assert find_card("cimnet", {"stride": 8}, "eflash40nm").hw == "eflash40nm"
    assert find_card("cimnet", {"stride": 8}, "wtm2101").hw is None
    assert find_card("cimnet", {"stride": 8}).hw is None


def tiny():
    torch.manual_seed(5)
    return Small()


WRAPPERS = ("_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module.", "model.", "net_g.")


def _wrapped(how):
    """What users' files hold: a dict for torch.save, made from a network's tensors."""
    state = tiny().state_dict()
    if how in WRAPPERS:
        return {how + key: value for key, value in state.items()}
    if how == "inner":  # torch.compile on a part of it
        return {key.replace(".", "._orig_mod.", 1): value for key, value in state.items()}
    if how == "lightning":
        from argparse import Namespace

        return {
            "state_dict": {f"model.{key}": value for key, value in state.items()}
            | {"loss.vgg.weight": torch.zeros(3)},
            "epoch": 3, "hyper_parameters": Namespace(lr=1e-3), "pytorch-lightning_version": "2.0",
        }  # fmt: skip
    if how == "params_ema":
        return {"params": {k: v * 0 for k, v in state.items()}, "params_ema": state}
    if how == "nested":
        return {"model": {"state_dict": state}}
    return {how: state}


@pytest.mark.parametrize("suffix", [".pth", ".ckpt", ".bin"])
@pytest.mark.parametrize(
    "how",
    [*WRAPPERS, "inner", "lightning", "params", "params_ema", "state_dict", "model_state_dict",
     "nested"],
)  # fmt: skip
def test_weights_as_users_have_them(tmp_path, how, suffix):
    path = tmp_path / f"w{suffix}"
    torch.save(_wrapped(how), path)
    other = tiny()
    with torch.no_grad():
        for value in other.parameters():
            value.zero_()
    load_weights(other, path)
    for key, value in tiny().state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key


def test_a_prefix_that_does_not_do_is_named(tmp_path):
    state = tiny().state_dict()
    twice = {f"a.{k}": v for k, v in state.items()} | {f"b.{k}": v for k, v in state.items()}
    torch.save(twice, tmp_path / "twice.pth")
    with pytest.raises(WeightsError, match=r"stand there 2 times, under 'a\.' and 'b\.'"):
        load_weights(tiny(), tmp_path / "twice.pth")
    wide = {f"net.{key}": value.new_zeros(7) for key, value in state.items()}
    torch.save(wide, tmp_path / "wide.pth")
    with pytest.raises(WeightsError, match=r"under the prefix 'net\.' stand tensors of the right"):
        load_weights(tiny(), tmp_path / "wide.pth")


class Indexed(nn.Module):
    """With a buffer of whole numbers, as attention over windows has one."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.register_buffer("index", torch.zeros(5, dtype=torch.int64))


def state_of(**changes):
    return {
        "fc.weight": torch.linspace(-1, 1, 12).reshape(4, 3),
        "fc.bias": torch.ones(4),
        "index": torch.arange(5),
    } | {key.replace("_", "."): value for key, value in changes.items()}


def quantised(weight):
    return torch.quantize_per_tensor(weight, 2**-6, 0, torch.qint8)


@pytest.mark.parametrize(
    "stored",
    [
        *(lambda w, kind=kind: w.to(kind) for kind in
          (torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)),
        torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr, quantised,
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support", "ignore:TypedStorage is deprec")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_numbers_in_any_form_are_taken_for_what_they_are(tmp_path, stored):
    weight = torch.tensor([-1, -0.5, 0, 0.25, 0.5, 0.75] * 2).reshape(4, 3)  # exact in all of them
    torch.save(state_of(fc_weight=stored(weight)), tmp_path / "a.pt")
    model = Indexed()
    load_weights(model, tmp_path / "a.pt")
    torch.testing.assert_close(model.fc.weight.detach(), weight, rtol=0, atol=0)
    assert model.index.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fc_weight": torch.ones(4, 3, dtype=torch.int8)}, "'fc.weight' is int8, whole numbers "),
        ({"fc_weight": torch.ones(4, 3, dtype=torch.bool)}, "'fc.weight' is bool, whole numbers "),
        ({"fc_bias": torch.ones(4, dtype=torch.complex64)}, "'fc.bias' is complex64, the network"),
        ({"index": torch.ones(5, dtype=torch.complex64)}, "'index' is complex64, the network"),
        ({"fc_weight": torch.ones(4, 3, device="meta")}, "'fc.weight' has a shape and no values"),
        ({"fc_bias": torch.full((4,), 1e39, dtype=torch.float64)}, "values that are not finite"),
        ({"index": torch.full((5,), 0.5)}, "'index' is float32 with values that .* save it as int"),
    ],
)
def test_tensors_of_another_kind_are_refused(tmp_path, change, said):
    torch.save(state_of(**change), tmp_path / "a.pt")
    model = Indexed()
    before = model.fc.weight.detach().clone()
    with pytest.raises(WeightsError, match=rf"a\.pt: tensor .*{said}"):
        load_weights(model, tmp_path / "a.pt")
    assert torch.equal(model.fc.weight, before)


def test_a_float8_without_numbers_of_its_own_is_refused(tmp_path):
    packed = torch.zeros(4, 3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    torch.save(state_of(fc_weight=packed), tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=r"'fc\.weight' \(torch\.float4_e2m1fn_x2.* save it as"):
        load_weights(Indexed(), tmp_path / "a.pt")


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "dir.pt").mkdir()
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    (tmp_path / "gone.pt").symlink_to("nothing.pt")
    for read in (read_state, lambda path: load_weights(Small(), path)):
        with pytest.raises(WeightsError, match=r"dir\.pt: expected a weight file, this is a fold"):
            read(tmp_path / "dir.pt")
        with pytest.raises(WeightsError, match=r"loop\.pt: the weight file cannot be read: Too ma"):
            read(tmp_path / "loop.pt")
        with pytest.raises(WeightsError, match=r"gone\.pt: no such weight file: a link that leads"):
            read(tmp_path / "gone.pt")
        with pytest.raises(WeightsError, match="neither a file nor a folder"):
            read(Path(os.devnull))
    (tmp_path / "dir.pt" / "net.pth").touch()
    with pytest.raises(WeightsError, match=r"give one of those in it \(net\.pth\)"):
        read_state(tmp_path / "dir.pt")
