"""Intervals against chips drawn one by one, parts that add up, ratios surer than parts."""

import copy
import math

import numpy as np
import pytest

from cimsim.chip.area import area
from cimsim.chip.fields import changed, fields
from cimsim.chip.load import build, load_hw, raw_mapping
from cimsim.chip.ranges import Z_95, uncertain
from cimsim.energy.ledger import Ledger, compare, draw, factors, interval, sensitivity
from cimsim.energy.model import COMPONENTS
from cimsim.errors import ConfigError, InputError
from cimsim.mapping.mapping import map_graph
from tests.energy.test_model import network


def chip():
    """Return the preset with small arrays; what overrides give would be exact."""
    return load_hw("eflash40nm", {"array.rows": 128, "array.cols": 64})


def ledger(hw, c_mid=40, sums=None):
    return Ledger(map_graph(network(c_mid=c_mid), hw), 1e-3, sums)


def with_ranges(**ranges):
    raw = copy.deepcopy(raw_mapping("eflash40nm")[1])
    raw["ranges"] = {path.replace("__", "."): text for path, text in ranges.items()}
    return build(raw)


def test_against_chips_drawn_and_charged_one_by_one():
    """Every draw of 200 is the full energy model with plain numbers of one chip."""
    ours = ledger(chip())
    n, hw = 200, ours.mapping.chip
    drawn, factor = draw(ours, n), factors(hw, n)
    for k in range(n):
        one = changed(hw, {p: fields()[p].value(hw) * float(f[k]) for p, f in factor.items()})
        report = ours.report(one)
        assert drawn.total_j[k] == pytest.approx(report.total_j, rel=1e-12)
        assert drawn.area_m2[k] == pytest.approx(sum(area(one).values()), rel=1e-12)
        if k < 3:
            for name, value in report.by_component.items():
                assert drawn.by_component[name][k] == pytest.approx(value, rel=1e-12, abs=1e-30)
    # other draws of the same chip: 5 and 95 % points agree within their sampling errors
    more = interval(draw(ours, 4000, seed=7).total_j)
    logs = np.log(drawn.total_j)
    for got, wanted, share in zip(interval(drawn.total_j), more, (0.05, 0.95), strict=True):
        low, high = np.quantile(logs, [max(share - 0.047, 0), min(share + 0.047, 1)])
        assert low <= math.log(wanted) <= high, (got, wanted)


def test_parts_add_up_in_each_draw():
    drawn = draw(ledger(chip()), 50)
    assert sum(drawn.by_component.values()) == pytest.approx(drawn.total_j)
    assert sum(drawn.by_layer.values()) == pytest.approx(drawn.total_j)
    assert set(drawn.by_component) == set(COMPONENTS)
    assert drawn.power_w == pytest.approx(drawn.total_j / 1e-3)
    assert all(low <= high for low, high in drawn.intervals().values())


def test_a_ratio_on_one_chip_is_surer_than_its_parts():
    hw = chip()
    small, large = (draw(ledger(hw, c_mid)) for c_mid in (8, 40))
    low, middle, high = compare(large, small)
    assert low <= middle <= high
    for one in (small, large):
        bottom, top = interval(one.total_j)
        assert math.log(high / low) < 0.5 * math.log(top / bottom)
    same = compare(small, small)
    assert same == (1, 1, 1)
    with pytest.raises(InputError, match="one chip"):
        compare(small, draw(ledger(load_hw("wtm2101"), 8)))


def test_one_number_alone_by_hand():
    """Only the converters uncertain, 1.3..7.8 pJ about 2.61: the interval is theirs."""
    hw = with_ranges(adc__energy="1.3..7.8 pJ")
    assert hw.history.ranges["adc.energy"] == pytest.approx((1.3 / 2.61, 7.8 / 2.61))
    below, above = uncertain(hw)["adc.energy"]
    assert below == pytest.approx(math.log(2.61 / 1.3) / Z_95)
    assert above == pytest.approx(math.log(7.8 / 2.61) / Z_95)
    f = factors(hw, 20000)["adc.energy"]
    assert 2.61 * np.percentile(f, [5, 50, 95]) == pytest.approx([1.3, 2.61, 7.8], rel=0.03)


def test_tornado_is_sorted_and_holds_the_ends():
    ours = ledger(chip())
    effects = sensitivity(ours)
    spans = [effect.high_j - effect.low_j for effect in effects]
    assert spans == sorted(spans, reverse=True)
    by_path = {effect.path: effect for effect in effects}
    hw, count = ours.mapping.chip, sum(c.conversions for c in ours.mapping.counts.values())
    sigma = uncertain(hw)["adc.energy"][1]
    dearer = count * hw.adc.energy_j * (math.exp(Z_95 * sigma) - 1)
    whole = ours.report().total_j
    assert by_path["adc.energy"].high_j == pytest.approx(whole + dearer)
    assert set(by_path) == set(uncertain(hw))


def test_what_a_user_sets_is_exact_and_what_follows_is_surer_than_nothing():
    plain, six = load_hw("eflash40nm"), load_hw("eflash40nm", ["adc.bits=6"])
    assert "adc.energy" not in uncertain(load_hw("eflash40nm", ["adc.energy=3 pJ"]))
    assert uncertain(six)["adc.energy"][0] > uncertain(plain)["adc.energy"][0]
    assert uncertain(plain)["adc.energy"][0] == pytest.approx(math.log(3))
    assert uncertain(plain)["buffer.read_energy"][0] == pytest.approx(math.log(1.6))
    assert "array.rows" not in uncertain(plain)


def test_a_range_stays_with_a_number_that_is_rescaled():
    raw = raw_mapping("eflash40nm")[1]
    raw["sources"]["adc.energy"]["range"] = "1.3 pJ .. 7.8 pJ"
    ranges = build(raw).history.ranges
    assert ranges["adc.energy"] == pytest.approx((1.3 / 2.61, 7.8 / 2.61))


@pytest.mark.parametrize(
    ("path", "text", "part"),
    [
        ("adc.energy", "1..2 pJ", "a range around 2.61 pJ"),
        ("adc.energy", "1.3", "two ends such as"),
        ("adc.energy", "1..9 ns", "is in s"),
        ("adc.energies", "1..9 pJ", "no number of a chip"),
        ("tile.static_power", "1..9 mW", "not given or 0"),
    ],
)
def test_wrong_ranges_are_refused_by_name(path, text, part):
    with pytest.raises(ConfigError, match=rf"chip: ranges\.{path}: .*{part}"):
        with_ranges(**{path.replace(".", "__"): text})
