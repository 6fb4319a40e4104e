from __future__ import annotations

import subprocess
import sys

import pytest

from cimsim.zoo import registry
from cimsim.zoo.errors import ZooError


def test_known_names():
    assert list(registry.MODELS) == [
        "cimnet",
        "fastdvdnet",
        "fastdvdnet-block",
        "foldnet",
        "baseline-o1",
        "baseline-o2",
        "abla-net",
        "dncnn",
        "ffdnet",
    ]
    assert all(name == info.name for name, info in registry.MODELS.items())


@pytest.mark.parametrize("name", registry.MODELS)
def test_entry_agrees_with_the_network(name):
    info = registry.info(name)
    assert registry.build(name).n_frames == info.n_frames
    assert info.description
    assert info.reference


def test_importing_the_table_does_not_import_torch():
    code = (
        "import sys; import cimsim.zoo.registry, cimsim.zoo.weights;"
        "cimsim.zoo.weights.find_card('cimnet'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_unknown_name_is_named_with_a_suggestion():
    with pytest.raises(ZooError, match=r"'cimnett' is unknown; known: .*did you mean cimnet\?"):
        registry.build("cimnett")


def test_unknown_option():
    with pytest.raises(
        ZooError, match="cimnet: option 'strides' is unknown; known: stride, stages"
    ):
        registry.build("cimnet", strides=8)
    with pytest.raises(ZooError, match="dncnn: option 'stride' is unknown; known: none"):
        registry.build("dncnn", stride=8)


@pytest.mark.parametrize("value", [3, 0, "8", True])
def test_value_that_is_not_allowed(value):
    with pytest.raises(ZooError, match="cimnet: stride: expected one of 2, 4, 8, 16, got"):
        registry.build("cimnet", stride=value)


def test_weights_stems_tell_options_apart():
    stem = registry.info("cimnet").weights_stem
    assert stem({}) == "cimnet_s8"
    assert stem({"stride": 4}) == "cimnet_s4"
    assert stem({"stages": 2}) == "cimnet_s8_2stage"
    assert stem({"coarse": 1}) == "cimnet_s8_coarse1"
    assert stem({"stride": 4, "coarse": 0}) == "cimnet_s4_coarse0"
    block = registry.info("fastdvdnet-block").weights_stem
    assert block({}) == block({"width": 32, "per_frame": 30}) == "fastdvdnet-block"
    assert block({"width": 16}) == "fastdvdnet-block_w16"
    assert block({"width": 16, "per_frame": 10}) == "fastdvdnet-block_w16_f10"


@pytest.mark.parametrize(
    ("options", "coarse"),
    [
        ({"stride": 2}, 1), ({"stride": 4}, 1), ({"stride": 8}, 0), ({"stride": 16}, 0),
        ({"stride": 8, "skip": "none"}, 1), ({"stride": 8, "coarse": 1}, 1),
    ],
)  # fmt: skip
def test_cimnet_has_no_coarse_path_where_it_gives_nothing(options, coarse):
    assert registry.info("cimnet").resolve(options)["coarse"] == coarse
    names = [name for name, _ in registry.build("cimnet", **options).named_modules()]
    assert ("block1.down1" in names) == bool(coarse)


def test_titles_name_widths_only_where_they_differ():
    block = registry.info("fastdvdnet-block").titled
    assert block({}) == block({"width": 32}) == "FastDVDnet block"
    assert block({"width": 16}) == "FastDVDnet block (width 16)"
    assert block({"per_frame": 10}) == "FastDVDnet block (per frame 10)"
    cimnet = registry.info("cimnet").titled
    assert cimnet({}) == "CIM-NET (stride 8, stages 1, coarse 0)"
    assert cimnet({"coarse": 1}) == "CIM-NET (stride 8, stages 1)"


@pytest.mark.parametrize(("name", "prefix"), [("fastdvdnet", "temp2."), ("fastdvdnet-block", "")])
def test_width_and_channels_per_frame_reach_the_layers(name, prefix):
    shapes = registry.build(name, width=5, per_frame=7).state_dict()
    assert shapes[f"{prefix}inc.convblock.0.weight"].shape == (3 * 7, 4, 3, 3)
    assert shapes[f"{prefix}inc.convblock.3.weight"].shape == (5, 3 * 7, 3, 3)
    assert shapes[f"{prefix}downc1.convblock.0.weight"].shape == (20, 10, 3, 3)


def test_inner_channels_reach_the_last_smoothing_module():
    entry = registry.info("baseline-o2")
    assert entry.weights_stem({"inner": 192}) == "baseline-o2_s8_i192"
    assert entry.weights_stem({"per_frame": 192, "inner": 192}) == "baseline-o2_s8_f192_i192"
    shapes = registry.build("baseline-o2", stride=4, per_frame=5, inner=7).state_dict()
    assert shapes["smooth_in.0.weight"].shape == (15, 4, 6, 6)
    assert shapes["smooth_out.0.weight"].shape == (7, 32, 6, 6)
    assert shapes["smooth_out.3.weight"].shape == (48, 7, 3, 3)


@pytest.mark.parametrize("value", [0, 257, "16", True])
def test_width_that_is_not_allowed(value):
    with pytest.raises(ZooError, match=r"fastdvdnet: width: expected 1\.\.256, got"):
        registry.build("fastdvdnet", width=value)
