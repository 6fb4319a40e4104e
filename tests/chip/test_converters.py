"""Kinds of converters against what their circuits do: steps, shapes of errors, noise of a count."""

import numpy as np
import pytest

import cimsim
from cimsim.chip.converters import CONVERTERS
from cimsim.chip.converters.curves import POINTS
from cimsim.chip.load import NAMED, chip_hash, dump, load_hw
from cimsim.errors import ConfigError
from cimsim.testing import check_converter
from cimsim.testing.contract import outputs, small_inputs, small_network, torch_of


def converter(kind, **more):
    return load_hw("eflash40nm", {"adc.kind": kind, **{f"adc.{k}": v for k, v in more.items()}}).adc


def drawn(kind, n=4000, **more):
    return converter(kind, **more).converter.curves(n, np.random.default_rng(3)).astype(float)


@pytest.mark.parametrize("kind", CONVERTERS)
def test_the_built_in_ones_keep_the_contract(kind):
    check_converter(CONVERTERS[kind])


def test_the_names_of_the_field_are_those_of_the_classes():
    assert set(NAMED["adc"].names) == set(CONVERTERS)


@pytest.mark.parametrize(("kind", "steps"), [("sar", 8), ("ramp", 256), ("cco", 256)])
def test_a_conversion_takes_the_steps_of_its_kind(kind, steps):
    assert converter(kind, t_step="10 ns").conversion_s == pytest.approx(0.4e-6 + steps * 1e-8)
    assert converter(kind).conversion_s == pytest.approx(0.4e-6)


def test_capacitors_of_a_sar_err_as_their_sizes_say():
    bits, n = 8, 20_000
    curves = drawn("sar", n, inl_steps_lsb=0.4)
    codes = np.rint(np.linspace(0, 255, POINTS)).astype(int)
    on = (codes[:, None] >> np.arange(bits)) & 1
    variance = ((on - codes[:, None] / 255) ** 2) @ 2.0 ** np.arange(bits)
    assert np.mean(curves**2) == pytest.approx(0.4**2, rel=0.03)
    wanted = variance / variance.mean() * 0.4**2
    assert np.var(curves, axis=0) == pytest.approx(wanted, rel=0.06, abs=1e-9)
    jumps = np.std(np.diff(curves, axis=1), axis=0)
    middle = int(np.flatnonzero((codes[:-1] == 127) & (codes[1:] == 128))[0])
    assert int(jumps.argmax()) == middle  # where all capacitors change
    assert jumps[middle] > 8 * np.median(jumps)


def test_columns_share_the_ramp_and_what_bends_it():
    curves = drawn("ramp", 64, inl_steps_lsb=0.5, inl_bow_lsb=1.0)
    assert curves.shape == (1, POINTS)
    assert drawn("cco", 64, inl_steps_lsb=0.5).shape == (64, POINTS)


@pytest.mark.parametrize("sigma", [0.2, 1.5])
def test_a_flash_counts_the_comparators_that_are_on(sigma):
    bits, n = 4, 200
    curves = drawn("flash", n, bits=bits, inl_steps_lsb=sigma)
    rng = np.random.default_rng(3)
    rng.standard_normal((n, 1))  # of the bows
    thresholds = np.arange(15) + 0.5 + sigma * rng.standard_normal((n, 15))
    levels = np.random.default_rng(4).uniform(0, 15, (n, 300))
    counted = (levels[:, :, None] > thresholds[:, None, :]).sum(axis=2)
    grid = np.linspace(0, 15, POINTS)
    bent = np.stack([x + np.interp(x, grid, c) for x, c in zip(levels, curves, strict=True)])
    codes = np.clip(np.rint(bent), 0, 15)
    assert np.mean(codes == counted) > 0.95  # the curve is straight between 257 points
    assert np.abs(codes - counted).max() <= 3


def test_noise_of_a_count_goes_with_its_root():
    curve = converter("cco", count_noise_lsb=2.0).converter.noise_curve()
    assert curve[-1] == 2.0
    assert curve[(POINTS - 1) // 4] == pytest.approx(1.0)
    assert curve[0] == 0
    assert converter("cco").converter.noise_curve() is None


def test_count_noise_reaches_the_outputs_and_none_leaves_every_bit():
    graph, inputs = small_network(), [(torch_of(one),) for one in small_inputs(2)]
    found = {}
    for kind, noise in (("sar", 0.0), ("cco", 0.0), ("cco", 0.5), ("cco", 2.0)):
        chip = load_hw("eflash40nm", {"adc.kind": kind, "adc.count_noise_lsb": noise,
                                      "device.kind": "ideal"})  # fmt: skip
        found[kind, noise] = outputs(cimsim.map_graph(graph, chip), inputs)
    assert np.array_equal(found["sar", 0.0], found["cco", 0.0])
    errors = [np.std(found["cco", n] - found["cco", 0.0]) for n in (0.5, 2.0)]
    assert 0 < errors[0] < errors[1]
    again = load_hw("eflash40nm", {"adc.kind": "cco", "adc.count_noise_lsb": 2.0,
                                   "device.kind": "ideal"})  # fmt: skip
    assert np.array_equal(outputs(cimsim.map_graph(graph, again), inputs), found["cco", 2.0])


def test_the_hash_of_other_chips_knows_nothing_of_a_count():
    assert "count_noise_lsb" not in dump(load_hw("eflash40nm"))["adc"]
    noisy, plain = (load_hw("hermes14nm", {"adc.count_noise_lsb": n}) for n in (1, 0))
    assert chip_hash(noisy) != chip_hash(plain) == chip_hash(load_hw("hermes14nm"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"adc.kind": "flash", "adc.t_step": "1 ns"},
            r"works in steps \(sar, ramp, cco\), got flash",
        ),
        ({"adc.count_noise_lsb": 1}, "count_noise_lsb: expected kind = cco, got sar"),
        ({"adc.kind": "sahr"}, r"'ideal' or package\.module:Class, got 'sahr' \(did you mean sar"),
        ({"adc.kind": "no.where:Adc"}, r"adc\.kind: .*cannot import 'no\.where'"),
        ({"adc.kind": "pathlib:Path"}, r"derives from cimsim\.api\.AbstractConverter"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(changes, told):
    with pytest.raises(ConfigError, match=told):
        load_hw("eflash40nm", changes).adc.converter  # noqa: B018
