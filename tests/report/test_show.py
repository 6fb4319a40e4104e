"""How objects show themselves: short in a terminal, as tables and pictures elsewhere."""

import dataclasses
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer

import cimsim
from cimsim.api import simulate_timing
from cimsim.display.tables import html_table
from cimsim.energy.model import COMPONENTS, STANDING, number_of
from cimsim.errors import InputError
from cimsim.report.run.plots import dynamic_j
from cimsim.session.parts import Quality
from cimsim.units import format_interval, format_si


@pytest.fixture(scope="module")
def shown():
    network = cimsim.load_network("cimnet", {"stride": 8}, "random")
    graph = cimsim.trace(network.module, network.example(32, 32))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", {"adc.bits": 6}))
    result = cimsim.simulate(mapping, None)
    return graph, mapping, simulate_timing(mapping), result


@pytest.fixture(scope="module")
def outcome():
    study = cimsim.Study(networks="cimnet", set={"adc.bits": "5..8"}, frames=0, size="32x32")
    return study.run(workers=1)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_everything_is_one_short_line_with_what_matters(shown, outcome):
    graph, mapping, timeline, result = shown
    for one in (graph, mapping, timeline, result, mapping.chip, outcome):
        assert len(repr(one)) < 200
        assert "\n" not in repr(one)
    assert "6 of 76 arrays" in repr(mapping)
    assert "eflash40nm with adc.bits=6" in repr(mapping.chip)
    assert f"{timeline.interval:,} cycles" in repr(timeline)
    assert f"{result.timing.cycles_per_frame:,} cycles" in repr(result)
    assert repr(outcome) == "Outcome('study': 4 points)"


def test_tables_are_well_formed_and_escape_what_they_show(shown, outcome):
    _, mapping, timeline, result = shown
    wild = dataclasses.replace(result, model="<script>alert(1)</script>", notes=("<b>",))
    for one in (mapping, timeline, wild, mapping.chip, outcome):
        text = one._repr_html_()
        for tag in ("table", "thead", "tbody", "tr", "td", "th", "caption", "p"):
            assert len(re.findall(f"<{tag}[ >]", text)) == text.count(f"</{tag}>"), tag
        assert "<script>" not in text
    assert "&lt;script&gt;" in wild._repr_html_()


def test_a_long_table_says_that_it_is_cut():
    text = html_table("t", [[i] for i in range(100)])
    assert text.count("<tr>") == 40
    assert "and 60 more" in text


def test_frames_hold_the_numbers(shown, outcome):
    pytest.importorskip("pandas")
    _, mapping, timeline, result = shown
    numbers = result.to_frame().set_index("number")
    assert numbers.loc["energy.per_frame", "value"] == result.energy.total_j
    assert numbers.loc["energy.per_frame", "high"] == result.intervals["energy.per_frame"][1]
    layers = result.to_frame("layers")
    assert len(layers) == len(result.layers)
    assert mapping.to_frame()["macs"].sum() == result.hardware.macs
    assert mapping.to_frame()["conversions"].sum() == result.hardware.conversions
    assert timeline.to_frame()["windows"].max() == max(node.windows for node in timeline.nodes)
    chip = mapping.chip.to_frame().set_index("field")
    assert chip.loc["adc.bits", "si"] == 6
    assert chip.loc["adc.energy", "source"]
    assert list(outcome.to_frame()["adc.bits"]) == [5, 6, 7, 8]
    with pytest.raises(InputError, match=r"Result.to_frame: 'layer' is unknown.*mean layers"):
        result.to_frame("layer")


def test_without_pandas_it_says_what_to_install(shown, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(InputError, match=r"Mapping.to_frame: needs pandas \(pip install pandas\)"):
        shown[1].to_frame()


def test_quality_frame_by_frame_as_arrays(shown):
    result = shown[3]
    assert result.to_numpy() == {}
    quality = Quality((20.0, 21.0), (30.0, 31.0), (29.0, 30.5), (0.5, 0.6), (0.9, 0.9), (0.8, 0.9))
    judged = dataclasses.replace(result, quality=quality)
    np.testing.assert_array_equal(judged.to_numpy()["chip_psnr"], [29.0, 30.5])
    if pytest.importorskip("pandas"):
        assert list(judged.to_frame("frames")["float_psnr"]) == [30.0, 31.0]


def test_pictures_are_axes_that_pyplot_knows(shown, outcome):
    _, mapping, timeline, result = shown
    single = (
        result.plot.sensitivity(), timeline.plot.stages(), mapping.plot.floorplan(),
        outcome.plot.over("adc.bits", "fps"), outcome.plot.pareto("fps", "energy"),
    )  # fmt: skip
    assert all(isinstance(axes, Axes) for axes in single)
    several = (result.plot.energy(), mapping.plot.timeline())
    assert all(isinstance(axes, np.ndarray) and len(axes) > 1 for axes in several)
    if hasattr(plt, "figure") and tuple(map(int, plt.matplotlib.__version__.split(".")[:2])) >= (
        3,
        11,
    ):
        assert len(plt.get_fignums()) == len(single) + len(several)


def test_pictures_show_the_shares_of_the_timeline(shown):
    timeline = shown[2]
    axes = timeline.plot.stages()
    rows = [row for row in timeline.rows() if row["busy"] > 0]
    widths = [bar.get_width() for bar in axes.containers[0]]
    np.testing.assert_allclose(widths, [100 * row["busy"] for row in rows])
    assert all(row["busy"] + row["waiting"] + row["blocked"] <= 1 + 1e-12 for row in rows)
    assert max(row["busy"] for row in rows) == pytest.approx(timeline.bottleneck.share, abs=0.3)


def test_the_energy_picture_has_every_joule_in_words_and_with_its_interval(shown):
    result = shown[3]
    whole, layers = result.plot.energy()
    spent = {name: value for name, value in result.energy.by_component.items() if value}
    names = [text.get_text() for text in whole.get_yticklabels()]
    assert names == [COMPONENTS[name] for name in spent]
    points = [line.get_xdata()[0] for line in whole.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points, list(spent.values()))
    whiskers = [line.get_segments()[0][:, 0] for line in whole.collections]
    known = [result.intervals[number_of(n)] for n in spent if number_of(n) in result.intervals]
    assert len(known) > 5
    np.testing.assert_allclose(whiskers, known, rtol=1e-9)
    legend = {text.get_text() for text in layers.get_legend().get_texts()}
    assert legend <= set(COMPONENTS.values())
    left_out = [name for name in spent if COMPONENTS[name] not in legend]
    below = "\n".join(text.get_text() for text in layers.texts).replace("\n", " ")
    assert {"control", "io"} <= set(left_out)
    assert all(format_si(spent[name], "J") in below for name in left_out)
    *rows, chip = result.layers
    reach = [line.get_segments()[0][:, 0] for line in layers.collections]
    np.testing.assert_allclose(
        [high / low for low, high in reach],
        [
            *(row["energy_high_j"] / row["energy_low_j"] for row in rows if row["energy_j"]),
            chip["working_high_j"] / chip["working_low_j"],
        ],
    )


def test_the_chips_bar_has_the_interval_of_what_it_shows(shown):
    result = shown[3]
    *rows, chip = result.layers
    assert not any(row.get(f"{name}_j") for row in rows for name in STANDING)
    assert chip["working_low_j"] < dynamic_j(chip) < chip["working_high_j"]
    assert chip["working_high_j"] < chip["energy_high_j"]
    axes = result.plot.energy()[1]
    bars = {tick.get_text(): 0.0 for tick in axes.get_yticklabels()}
    for held in axes.containers:
        if isinstance(held, BarContainer):
            for name, bar in zip(bars, held, strict=True):
                bars[name] += bar.get_width()
    low, high = axes.collections[-1].get_segments()[0][:, 0]
    assert low < bars["(chip)"] < high
    assert high / bars["(chip)"] == pytest.approx(chip["working_high_j"] / dynamic_j(chip))


def test_the_energy_picture_ends_where_the_layers_do_and_tells_what_goes_on(shown):
    result = shown[3]
    *rows, chip = result.layers
    more = 50 * max(row["energy_high_j"] for row in rows)
    there = chip | {
        "energy_j": chip["energy_j"] + more, "dram_j": chip.get("dram_j", 0.0) + more,
        "working_high_j": chip["working_high_j"] + more,
    }  # fmt: skip
    axes = dataclasses.replace(result, layers=(*rows, there)).plot.energy()[1]
    ends = dynamic_j(there), there["working_low_j"], there["working_high_j"]
    (told,) = (text.get_text() for text in axes.texts if "\N{RIGHTWARDS ARROW}" in text.get_text())
    assert told.startswith(format_interval(*ends, "J"))
    whiskers = [line.get_segments()[0][1, 0] for line in axes.collections[:-1]]
    assert max(whiskers) < axes.get_xlim()[1] < 2 * max(whiskers)


def test_a_result_without_the_chips_interval_says_so(shown):
    result = shown[3]
    *rows, chip = result.layers
    old = {k: v for k, v in chip.items() if not k.startswith("working_")}
    axes = dataclasses.replace(result, layers=(*rows, old)).plot.energy()[1]
    assert axes.get_xlabel().endswith("allow; (chip): not known")
    assert "not known" not in result.plot.energy()[1].get_xlabel()


def test_a_picture_without_data_says_why(shown):
    result = shown[3]
    with pytest.raises(InputError, match="this result has no PSNR"):
        result.plot.psnr()
    with pytest.raises(InputError, match="holds no frames"):
        result.plot.before_after()
    with pytest.raises(InputError, match="no number of this chip has a range"):
        dataclasses.replace(result, sensitivity=()).plot.sensitivity()
