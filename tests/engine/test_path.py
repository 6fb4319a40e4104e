"""Which arithmetic reads an operation's arrays, and the reason that is told."""

import logging

import pytest
import torch

from cimsim.engine.on_torch import reading_on
from cimsim.kernels import lookup

TABLE = {"kind": "ideal", "g_max": "20 uS", "g_min": "50 nS", "nonlinearity": 5}
BENT = {"adc__kind": "sar", "adc__bits": 8}
FINE = {"weights__bits": 16, "weights__encoding": "offset", "device": {"kind": "ideal"}}
WIDE = {"inputs__bits": 12, "dac__bits": 12}
BITS = ("bits", "pulses of one bit")
CASES = {
    "one byte": ({"dac__bits": 8}, ("bytes", "pulses of 8 bits")),
    "two pulses": ({"dac__bits": 4}, ("bytes", "pulses of 4 bits")),
    "bits": (
        {"dac__bits": 1}, BITS if lookup.HAS_LOOKUP else ("bytes", "no look-up on this processor")
    ),
    "supply": ({"array__r_supply": "1 Mohm"}, ("floats", "the supply droops")),
    "words": (WIDE, ("floats", "pulses of 12 bits")),
    "drivers": ({"dac__inl_lsb": 1}, ("floats", "drivers are bent")),
    "cells": ({"device": TABLE}, ("floats", "cells are bent")),
    "converters": (BENT | {"adc__inl_bow_lsb": 1}, ("floats", "converters are bent")),
    "references": (
        {"weights__encoding": "offset", "device__sigma_read": "1 %"},
        ("floats", "noise of reference columns"),
    ),
    "weights": (FINE, ("floats", "cells of more than 16 bits")),
}  # fmt: skip


def prepared(lab, overrides):
    weight = lab.whole_numbers((4, 9), -127, 127)
    x = torch.from_numpy(lab.whole_numbers((1, 12, 9), 0, 255, 1))
    return lab.prepare(lab.graph(lab.linear(weight, 12)), lab.chip(**overrides), [x])


@pytest.mark.parametrize("case", CASES)
def test_the_first_thing_that_integers_cannot_do_is_the_reason(lab, case):
    overrides, expected = CASES[case]
    firing = prepared(lab, overrides).ready["layer"].firing
    assert (firing.path.way, firing.path.why) == expected
    assert firing.is_fast == (expected[0] != "floats")
    assert firing.by_bits == (expected[0] == "bits")


def test_paths_are_logged_before_the_first_frame(lab, caplog):
    with caplog.at_level(logging.INFO, "cimsim"):
        ready = prepared(lab, {"dac__inl_lsb": 1})
        assert ready.ready
    assert "layer 'layer': read by floats: drivers are bent" in caplog.messages


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"dac__bits": 8}, "read by torch on cpu: pulses of 8 bits"),
        ({"dac__inl_lsb": 1}, "read by floats, not on cpu: drivers are bent"),
    ],
    ids=["taken", "left"],
)
def test_arrays_on_a_device_of_torch_are_told_as_such(lab, caplog, overrides, told):
    with caplog.at_level(logging.INFO, "cimsim"), reading_on("cpu"):
        assert prepared(lab, overrides).ready
    assert f"layer 'layer': {told}" in caplog.messages
