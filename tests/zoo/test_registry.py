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
    assert registry.info("fastdvdnet-block").weights_stem({}) == "fastdvdnet-block"
