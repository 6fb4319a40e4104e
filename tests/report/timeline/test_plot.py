import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from cimsim.chip.load import load_hw
from cimsim.errors import InputError, SimulationError
from cimsim.mapping.mapping import map_graph
from cimsim.report.timeline.plot import STATES, draw_timeline, layer_shares, save_timeline
from cimsim.report.timeline.traced import TracedRun
from cimsim.timing.simulate import simulate
from tests.thorough import some
from tests.timing.nets import Net, chip, mappings
from tests.timing.test_zoo import exported


def two_layers(schedule, frames=1):
    net = Net(4, 6, 6)
    net.conv(net.conv("x", 4), 4)
    mapping = map_graph(net.graph(), chip(interconnect__kind="ideal"))
    return mapping, simulate(mapping, frames, schedule, trace=True)


@settings(max_examples=40)
@given(
    mapping=mappings(buffer__overflow="ignore"),
    frames=st.integers(1, 2),
    schedule=st.sampled_from(["pipelined", "sequential"]),
)
def test_shares_agree_with_the_counters(mapping, frames, schedule):
    timeline = simulate(mapping, frames, schedule, trace=True)
    run = TracedRun(mapping, timeline)
    fine = np.linspace(0, timeline.cycles, 8)
    for u, node in enumerate(timeline.nodes):
        whole = layer_shares(run, u, np.array([0.0, timeline.cycles])).shares[:, 0]
        bins = layer_shares(run, u, fine).shares
        np.testing.assert_allclose(bins.mean(axis=1), whole, atol=1e-9)
        assert (bins.sum(axis=0) <= 1 + 1e-9).all()
        cycles = whole * node.replicas * timeline.cycles
        # several stages may serve at once, each at most all the time
        assert max(node.busy) - 1e-6 <= cycles[:2].sum() <= sum(node.busy) + 1e-6
        assert cycles[2] <= sum(node.waiting) + 1e-6
        assert cycles[3] <= sum(node.blocked) + 1e-6
        assert cycles[4] <= node.no_credit + 1e-6
        assert cycles[5] <= node.starved + 1e-6


def test_shares_cycle_by_cycle():
    """A brute-force count over every cycle of a chain, from the raw trace."""
    mapping, timeline = two_layers("pipelined")
    trace, end = timeline.trace, timeline.cycles
    for u in range(2):
        mine = np.flatnonzero(trace.node == u)
        analog, anything = np.zeros(end, bool), np.zeros(end, bool)
        for row in mine:
            for stage in range(6):
                start = trace.enter[row, stage]
                # nobody disturbs this chain, so that DRIVE takes 10 cycles and CONVERT 7
                length = {1: 10, 2: 7}.get(stage)
                if length:
                    analog[start : start + length] = True
                else:  # the others are never held up but LOAD, whose service is as long as POST
                    served = trace.leave[row, stage] if stage else start + (
                        5 if trace.activation[row] % 6 == 0 else 2)  # fmt: skip
                    anything[start:served] = True
        shares = layer_shares(TracedRun(mapping, timeline), u, np.array([0.0, end])).shares[:, 0]
        assert shares[0] * end == pytest.approx(analog.sum())
        assert shares[1] * end == pytest.approx((anything & ~analog).sum())


def test_the_picture_shows_the_layers_one_after_the_other():
    mapping, timeline = two_layers("sequential")
    figure = draw_timeline(mapping, timeline)
    (image,) = figure.axes[0].get_images()
    pixels = np.asarray(image.get_array())
    tall = len(pixels) // 2
    served, starved = (np.array(to_rgb(list(STATES.values())[i])) for i in (0, 5))
    quarter = pixels.shape[1] // 4
    for row, column, colour in (
        (0, quarter, served), (1, quarter, starved), (1, 3 * quarter, served),
        (0, 3 * quarter, np.ones(3)),
    ):  # fmt: skip
        # in the middle of the height of a row
        np.testing.assert_allclose(pixels[row * tall + tall // 2 - 2, column], colour, atol=1e-9)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [node.name for node in timeline.nodes]


@pytest.mark.parametrize(
    ("suffix", "schedule"),
    some(
        [(s, how) for s in (".png", ".svg") for how in ("pipelined", "sequential")],
        (".svg", "pipelined"),
    ),
)  # fmt: skip
def test_files_are_small_and_the_same_every_time(tmp_path, schedule, suffix):
    graph = exported("cimnet", {"stride": 8, "coarse": 1}, 64, 96)
    mapping = map_graph(graph, load_hw("eflash40nm"))
    timeline = simulate(mapping, 2, schedule, trace=True)
    path = tmp_path / f"t{suffix}"
    save_timeline(mapping, timeline, path)
    assert path.stat().st_size < 400_000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    if suffix == ".png":
        assert imread(path).std() > 0.1
        before = path.read_bytes()
        save_timeline(mapping, timeline, path)
        assert path.read_bytes() == before


def test_many_nodes_are_cut_to_the_busiest(tmp_path):
    net, name = Net(2, 3, 3), "x"
    for _ in range(60):
        name = net.conv(name, 2, 1)
    mapping = map_graph(net.graph(), chip())
    figure = draw_timeline(mapping, simulate(mapping, 1, trace=True))
    assert len(figure.axes[0].get_yticks()) == 48
    assert any("12 nodes with less work" in t.get_text() for t in figure.axes[0].texts)


def test_bad_arguments_are_refused(tmp_path):
    mapping, timeline = two_layers("pipelined")
    with pytest.raises(InputError, match=r"--picture: expected a name in \.png.*t\.jpg"):
        save_timeline(mapping, timeline, tmp_path / "t.jpg")
    with pytest.raises(InputError, match="--picture: cannot write"):
        save_timeline(mapping, timeline, tmp_path / "none" / "t.png")
    with pytest.raises(SimulationError, match="expected a trace"):
        draw_timeline(mapping, simulate(mapping, 1))
