"""The table network x mapping: tiny frames, numbers by hand, and what an interruption keeps."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import cimsim
from benchmarks.fair import decompose, page, told
from benchmarks.fair.__main__ import jobs_of, main, to_judge
from benchmarks.fair.cases import (
    CHIPS,
    NETWORKS,
    YARDSTICK,
    ChipCase,
    NetworkCase,
    arrays_of,
    find_networks,
)
from benchmarks.fair.draws import ledger_of
from benchmarks.fair.measure import (
    FAST,
    FRUGAL,
    HOW,
    IM2COL,
    NO_ROOM,
    Cell,
    Table,
    best_mappings,
    read_cells,
)
from benchmarks.fair.quality import Judge, Judged, judged, read_judged, write_judged
from benchmarks.fair.record import Record
from benchmarks.fair.stride import StridePoint, best_stride, read_points, steps, study
from benchmarks.fair.stride_db import StrideDb, candidates, measure, summed_up
from benchmarks.paper.chip import FrameRow
from benchmarks.paper.clips import clips_in
from benchmarks.paper.networks import Weights, shipped_weights
from cimsim.chip.fields import changed, fields
from cimsim.energy.idle import working
from cimsim.energy.ledger import factors
from cimsim.energy.model import STANDING, energy
from cimsim.errors import ConfigError, InputError
from cimsim.timing.simulate import simulate
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import write_clip

EFLASH = CHIPS[0]
O1 = NetworkCase("o1", "baseline-o1", {"stride": 8})


def cell(network, how, interval, joules=1.0, hw="eflash40nm", **more):
    values = {
        "network": network, "hw": hw, "chip": "x", "size": "64x32", "how": how,
        "strategies": "im2col 3", "arrays": 3, "windows": 10, "activations": 11,
        "conversions": 12, "interval_s": interval, "latency_s": 2 * interval, "energy_j": joules,
        "static_j": 0.1, "bottleneck": "fc DRIVE 90%",
    }  # fmt: skip
    return Cell(**(values | more))


def four(block, block_best, other, other_best, network="cimnet_stride8_coarse0", hw="eflash40nm"):
    """Cells with intervals and energies alike, for both best mappings."""
    out = []
    for name, plain, best in ((YARDSTICK.name, block, block_best), (network, other, other_best)):
        for how, value in ((IM2COL, plain), (FAST, best), (FRUGAL, best)):
            out.append(cell(name, how, value, value, hw))
    return out


def test_a_gain_is_mapping_times_architecture_in_both_orders():
    # the figures: 3220 ms and 81.2 ms, 52.9 ms and 12.1 ms
    (one,) = decompose.split(four(3220, 81.2, 52.9, 12.1), decompose.interval)
    assert one.mapping_first == pytest.approx(39.66, abs=0.01)
    assert one.architecture_then == pytest.approx(6.71, abs=0.01)
    assert one.architecture_first == pytest.approx(60.87, abs=0.01)
    assert one.mapping_then == pytest.approx(4.37, abs=0.01)
    assert one.total == pytest.approx(3220 / 12.1)
    assert one.architecture_first * one.mapping_then == pytest.approx(one.total)
    by_hand = (math.log(81.2 / 12.1) + math.log(3220 / 52.9)) / 2 / math.log(3220 / 12.1)
    assert one.architecture_share == pytest.approx(by_hand)


def test_shares_of_pure_mapping_and_pure_architecture():
    (mapping,) = decompose.split(four(8, 2, 8, 2), decompose.joules, FRUGAL)
    assert mapping.architecture_share == 0
    (architecture,) = decompose.split(four(8, 8, 2, 2), decompose.latency)
    assert architecture.architecture_share == 1
    (none,) = decompose.split(four(8, 8, 8, 8), decompose.interval)
    assert math.isnan(none.architecture_share)


def test_split_leaves_out_what_has_no_partner():
    cells = four(8, 4, 2, 1)
    alone = [c for c in cells if c.network != YARDSTICK.name]
    assert decompose.split(alone, decompose.interval) == []
    unfit = [replace(c, strategies=NO_ROOM) if c.how == FAST else c for c in cells]
    assert decompose.split(unfit, decompose.interval) == []
    assert len(decompose.split(unfit, decompose.interval, FRUGAL)) == 1
    other = four(8, 4, 2, 1, hw="sonos40nm")
    assert {s.hw for s in decompose.split(cells + other, decompose.interval)} == {
        "eflash40nm", "sonos40nm",
    }  # fmt: skip
    with pytest.raises(ValueError, match="expected 'fastest' or 'least energy', got 'im2col'"):
        decompose.split(cells, decompose.interval, IM2COL)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    told_of = []
    table = Table((32, 64), tmp_path_factory.mktemp("fair"), told_of.append)
    cells = table.fill([(O1, EFLASH)])
    return table, cells, told_of


@pytest.mark.slow
def test_cells_are_those_of_the_simulator(table):
    _, cells, said = table
    assert [c.how for c in cells] == list(HOW)
    plain = cells[0]
    network = cimsim.load_network("baseline-o1", {"stride": 8}, "random")
    mapping = cimsim.map_graph(
        cimsim.trace(network.module, network.example(32, 64)), cimsim.load_hw("eflash40nm")
    )
    timeline = simulate(mapping)
    assert plain.interval_s == timeline.interval / 148e6
    assert plain.latency_s == timeline.cycles_first_frame / 148e6
    line = simulate(mapping)
    spent = energy(
        mapping, plain.interval_s, working_s=working(mapping, line), spilled=line.spilled
    )
    assert plain.energy_j == spent.total_j
    assert plain.static_j == pytest.approx(sum(spent.by_component[part] for part in STANDING))
    assert plain.energy_low_j < plain.energy_j < plain.energy_high_j
    assert (plain.windows, plain.arrays) == (mapping.total.windows, mapping.arrays_used)
    assert plain.conversions == mapping.total.conversions
    assert len(said) == 1
    assert "does not fit" not in said[0]


@pytest.mark.slow
def test_no_best_mapping_is_worse_than_the_plain_one_and_files_hold_them(table):
    filled, (plain, fast, frugal), _ = table
    assert fast.interval_s < plain.interval_s  # 76 arrays for a network of some 20
    assert frugal.energy_j <= min(plain.energy_j, fast.energy_j)
    assert max(fast.arrays, frugal.arrays) <= 76
    network = cimsim.load_network("baseline-o1", {"stride": 8}, "random")
    for size in ((32, 64), (48, 80)):  # a mapping holds for frames of any size
        graph = cimsim.trace(network.module, network.example(*size))
        again = cimsim.map_graph(graph, EFLASH.chip, filled.mapping_file(O1, EFLASH, FAST))
        assert again.arrays_used == fast.arrays
        if size == (32, 64):
            assert simulate(again).interval / 148e6 == fast.interval_s


@pytest.mark.slow
def test_what_is_there_is_not_measured_again(table):
    filled, cells, said = table
    assert filled.fill([(O1, EFLASH)]) == cells
    assert len(said) == 1
    assert filled.done([(O1, EFLASH), (YARDSTICK, EFLASH)]) == cells
    assert read_cells(filled.kept / "cells.csv") == cells


@pytest.mark.slow
def test_a_network_that_does_not_fit_is_told_so(tmp_path):
    small = ChipCase("eflash40nm", ("tile.count=1",), "one tile")
    network = NetworkCase("S = 8", "cimnet", {"stride": 8, "coarse": 1})
    cells = Table((64, 64), tmp_path).fill([(network, small)])
    assert not any(c.fits for c in cells)
    assert "does not fit" in told.table(Record(tuple(cells)), "one tile")
    loaded = cimsim.load_network("cimnet", network.options, "random")
    graph = cimsim.trace(loaded.module, loaded.example(64, 64))
    assert best_mappings(graph, small.chip) == {}


@pytest.mark.slow
def test_an_interruption_keeps_the_cells_that_are_done(tmp_path):
    def stop(text):
        raise KeyboardInterrupt

    table = Table((32, 64), tmp_path, stop)
    with pytest.raises(KeyboardInterrupt):
        table.fill([(O1, EFLASH), (YARDSTICK, EFLASH)])
    assert len(table.done([(O1, EFLASH), (YARDSTICK, EFLASH)])) == 3


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    place = tmp_path_factory.mktemp("clips")
    write_clip(place / "wide", embedded_clip("default", 2, 32, 64))
    write_clip(place / "tall", embedded_clip("portrait", 2, 48, 32))
    return clips_in(place, 2)


@pytest.mark.slow
def test_quality_under_both_mappings_on_clips_of_two_sizes(clips, tmp_path):
    network = NetworkCase("o2", "baseline-o2", {"stride": 8})
    table, said = Table((32, 64), tmp_path), []
    table.fill([(network, EFLASH)])
    judge = Judge(table, clips, (), step=2, progress=said.append)
    rows = judge.run([(network, EFLASH), (O1, EFLASH)])  # o1 has no weights: no row
    assert [row.how for row in rows] == [IM2COL, FAST]
    assert len(said) == 4
    plain, fast = rows
    assert plain.float_db == fast.float_db
    assert plain.noisy_db == fast.noisy_db
    assert plain.chip_db != fast.chip_db  # other cells, other programming errors
    assert plain.frames == 2
    assert judge.run([(network, EFLASH)]) == rows
    assert judge.done([(network, EFLASH), (O1, EFLASH)]) == rows
    assert len(said) == 4  # nothing was run again
    # the plain one is cimsim run's
    loaded = cimsim.load_network("baseline-o2", {"stride": 8})
    graph = cimsim.trace(loaded.module, loaded.example(32, 64))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    quality = cimsim.simulate(mapping, clips.clips["wide"], threads=1).quality
    assert any(f"chip {quality.chip_psnr[0]:.2f} dB" in text for text in said[:2])
    write_judged(tmp_path / "quality.csv", rows)
    assert read_judged(tmp_path / "quality.csv") == sorted(rows, key=lambda row: row.place)


# of two clips and two programmings: a clip of two frames, where others have one
FRAME_ROWS = [
    FrameRow("n", "s", "h", "c", "set #1", clip, 15.0, seed, frame, 25.0, 30.0, db, 1.0)
    for clip, seed, frame, db in (
        ("a", 0, 0, 28.0), ("a", 0, 1, 30.0), ("b", 0, 0, 25.0), ("a", 1, 0, 29.0),
        ("b", 1, 0, 29.0),
    )
]  # fmt: skip


def test_quality_is_the_mean_over_frames_then_clips_then_programmings():
    weights = next(w for w in shipped_weights() if w.stem == "cimnet_s8")
    one = judged(O1, EFLASH, IM2COL, weights, FRAME_ROWS)
    assert one.chip_db == pytest.approx((27.0 + 29.0) / 2)
    assert one.error_db == pytest.approx(np.std([27.0, 29.0], ddof=1) / math.sqrt(2))
    assert (one.programmings, one.frames) == (2, 3)
    assert "not trained for a chip" in one.weights


def test_weights_trained_for_the_chip_win_and_fold_net_takes_those_of_any_stride():
    by_name = {case.name: case for case in NETWORKS}
    two = by_name["cimnet_stride8_coarse0"]
    assert two.weights("eflash40nm", ()).stem == "cimnet_s8_eflash40nm"
    assert two.weights("sonos40nm", ()).stem == "cimnet_s8"
    assert by_name["cimnet_stride8_coarse1"].weights("eflash40nm", ()) is None
    assert by_name["cimnet_stride16_coarse1"].weights("eflash40nm", ()) is None
    shipped = shipped_weights()[0]
    card = replace(shipped.card, model="foldnet", options={"stride": 2, "tiles": 1}, hw=None)
    given = [Weights("foldnet_t1", card, None, shipped=False)]
    found = by_name["foldnet_stride8_tiles1"].weights("eflash40nm", given)
    assert found.card.options == {"stride": 8, "tiles": 1, "levels": 1, "depth": 2}
    deep = by_name["foldnet_stride8_tiles3_levels3"].weights("eflash40nm", given)
    assert deep.stem == "foldnet_t3_l3_eflash40nm"


def test_smaller_arrays_keep_cells_and_columns_for_each_converter():
    for rows in (512, 256):
        chip, whole = arrays_of(rows).chip, EFLASH.chip
        assert chip.tile.count * rows * rows == whole.tile.count * 1024**2
        assert chip.array.cols / chip.adc.count == whole.array.cols / whole.adc.count


@pytest.mark.slow
def test_stride_study_by_hand(tmp_path):
    points = study((32, 64), tmp_path / "s.csv", strides=(4, 8), rows=(512, 1024))
    assert [(p.stride, p.rows) for p in points] == [(4, 512), (4, 1024), (8, 512), (8, 1024)]
    network = cimsim.load_network("cimnet", {"stride": 8, "coarse": 1}, "random")
    mapping = cimsim.map_graph(
        cimsim.trace(network.module, network.example(32, 64)), cimsim.load_hw("eflash40nm")
    )
    last = points[-1]
    assert (last.arrays, last.cells) == (27, 27 * 1024**2)
    assert (last.activations, last.conversions) == (
        mapping.total.activations, mapping.total.conversions,
    )  # fmt: skip
    assert last.cycles == simulate(mapping).interval
    assert points[2].arrays > last.arrays
    said = []
    kept = study(
        (32, 64), tmp_path / "s.csv", strides=(4, 8), rows=(512, 1024), progress=said.append
    )
    assert (kept, said) == (points, [])
    assert read_points(tmp_path / "s.csv") == points


def point(stride, interval, joules, rows=1024, conversions=100):
    return StridePoint(
        "cimnet", stride, rows, "x", "64x32", 2, 2 * rows**2, 5, conversions, 7, interval, joules
    )


@pytest.mark.slow
def test_ratios_are_those_of_chips_drawn_one_by_one(table):
    """Against energies of 20 chips, each with its own numbers, of both mappings."""
    mapped, cells, _ = table
    network = cimsim.load_network("baseline-o1", {"stride": 8}, "random")
    graph = cimsim.trace(network.module, network.example(32, 64))
    totals = []
    for how in (IM2COL, FRUGAL):
        strategy = IM2COL if how == IM2COL else mapped.mapping_file(O1, EFLASH, how)
        mapping = cimsim.map_graph(graph, EFLASH.chip, strategy)
        ledger = ledger_of(mapping, simulate(mapping))
        drawn = factors(EFLASH.chip)
        one_by_one = [
            ledger.report(
                changed(EFLASH.chip, {p: fields()[p].value(EFLASH.chip) * f[i]
                                      for p, f in drawn.items()})
            ).total_j
            for i in range(20)
        ]  # fmt: skip
        kept = np.load(mapped.kept / "draws" / f"{mapped._file(O1, EFLASH, how)}.npy")
        np.testing.assert_allclose(kept[:20], one_by_one, rtol=1e-12)
        totals.append(kept)
    frugal = next(c for c in cells if c.how == FRUGAL)
    ends = np.percentile(totals[0] / totals[1], [5, 95])
    assert (frugal.plain_low, frugal.plain_high) == pytest.approx(tuple(ends))
    assert (frugal.block_low, frugal.block_high) == (0, 0)  # the block was not measured
    assert ends[1] / ends[0] < frugal.energy_high_j / frugal.energy_low_j


def test_the_stride_that_stops_paying():
    points = [point(8, 2.0, 1.0, conversions=50), point(2, 16.0, 4.0), point(16, 1.95, 2.0)]
    assert steps(points, lambda p: p.interval_s) == pytest.approx([8.0, 2.0 / 1.95])
    assert best_stride(points, lambda p: p.energy_j) == 8
    assert best_stride(points, lambda p: p.interval_s) == 16
    text = told.stride_told(points)
    assert "energy is least at S = 8" in text
    assert "from S = 8 to 16 does not pay in time 1 x, energy 0.5 x, conversions 0.5 x" in text
    assert told.stride_told(points[:1]) == ""
    surely = [replace(points[2], step_low=0.4, step_high=0.6)]
    assert "energy 0.50 (0.40..0.60) x" in told.stride_told([*points[:2], *surely])
    either = [replace(points[2], step_low=0.8, step_high=1.2)]
    assert "energy is a tie of S = 8 and 16" in told.stride_told([*points[:2], *either])


def level(stride, chip, *, trained_at=None, hw="eflash40nm", shipped=True, stem="w", form=""):
    return StrideDb(
        form or "cimnet_coarse0", stride, trained_at or stride, stem, hw, shipped, 12.0, "set #1",
        15.0, " ".join(["32.5"] * len(chip.split())), chip,
    )  # fmt: skip


def test_shipped_two_layers_are_judged_at_each_larger_stride_too():
    shipped = {w.stem: w for w in shipped_weights()}
    mine = replace(shipped["cimnet_s8"], stem="mine", shipped=False)
    other = replace(mine, stem="other", card=replace(mine.card, hw="sonos40nm"))
    blind = replace(mine, stem="blind", card=replace(mine.card, sigma=(5.0, 55.0)))
    odd = replace(mine, stem="odd", card=replace(mine.card, options={"stride": 8, "before": 2}))
    found = [(w.stem, w.card.options["stride"], at)
             for w, at in candidates([mine, other, blind, odd], 15.0)]  # fmt: skip
    assert found == [
        ("cimnet_s2", 2, 2), ("cimnet_s8", 8, 8), ("cimnet_s8", 16, 8),
        ("cimnet_s8_eflash40nm", 8, 8), ("cimnet_s8_eflash40nm", 16, 8), ("mine", 8, 8),
    ]  # fmt: skip


def test_a_difference_is_taken_programming_by_programming():
    small, large = level(8, "32.0 33.0 34.0"), level(16, "31.9 32.7 33.8", trained_at=8)
    assert large.on_chip() == pytest.approx((32.8, np.std([31.9, 32.7, 33.8], ddof=1) / 3**0.5))
    assert large.on_chip(small) == pytest.approx((-0.2, 0.1 / 3**0.5))
    alone = level(16, "30 30 30", hw="sonos40nm", shipped=False)
    text = told.stride_db_told([large, small, alone])
    assert text.count("S = 8 to 16") == 1  # what was given has no partner
    assert "untrained** (weights for eflash40nm: w): 0.00 dB in float, -0.20 ± 0.06" in text
    given = [level(s, db, shipped=False, stem=f"n{s}") for s, db in ((8, "32 33"), (16, "33 34"))]
    assert "trained further** (weights for eflash40nm: n8, n16)" in told.stride_db_told(given)
    longest = [*given, replace(level(8, "31 32", stem="m8"), minutes=13.0)]
    text = told.stride_db_told(longest)  # shipped by now, and trained for longer
    assert "m8, n16)" in text
    assert "n8" not in text
    drawn = [replace(row, form="cimnet") for row in given]
    assert told.stride_db_told(drawn) == ""


def test_the_table_of_psnr_has_the_costs_of_its_form_and_stride():
    points = [point(8, 2.0, 1.0), replace(point(8, 3.0, 1.0), model="cimnet_coarse0")]
    rows = [level(16, "30", trained_at=8), level(8, "31"), level(8, "32", form="cimnet")]
    lines = told.stride_db_table(rows, points).splitlines()[2:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| as drawn", "8"], ["| two layers", "8"], ["| two layers", "16"],
    ]  # fmt: skip
    assert ["2.00 s" in lines[0], "3.00 s" in lines[1], "| – |" in lines[2]] == [True] * 3
    assert "12 min, for eflash40nm at S = 8, written out | 32.50 | 30.00 ± 0.00" in lines[2]


def test_psnr_of_other_clips_replaces_what_was_recorded(tmp_path):
    old = Record(strides=(level(8, "31"), level(16, "30", trained_at=8)))
    old.write(tmp_path)
    assert Record.read(tmp_path).strides == old.strides
    assert old.merged(strides=[level(8, "32")]).strides[0].chip_db == "32"
    assert len(old.merged(strides=[level(8, "32")]).strides) == 2
    other = replace(level(8, "33"), clips="other #2")
    assert old.merged(strides=[other]).strides == (other,)


@pytest.mark.slow
def test_written_out_weights_have_the_same_psnr_in_float_and_their_own_on_the_chip(clips, tmp_path):
    two = [w for w in shipped_weights() if w.stem == "cimnet_s8_eflash40nm"]
    small = replace(clips, clips={"wide": clips.clips["wide"]})
    rows = {
        (row.stride, row.weights): row
        for row in measure(small, (), tmp_path, seeds=2, step=2)
        if row.weights == two[0].stem
    }
    plain, out = (rows[stride, two[0].stem] for stride in (8, 16))
    assert plain.float_db == out.float_db
    assert plain.chip_db != out.chip_db  # other cells
    assert len(plain.chip_db.split()) == 2
    assert measure(small, (), tmp_path, seeds=2, step=2)[-1] == out  # nothing was run again


def test_psnr_is_the_mean_over_frames_then_clips_of_each_programming():
    weights = next(w for w in shipped_weights() if w.stem == "cimnet_s8")
    row = summed_up(weights, dict(weights.card.options), 8, FRAME_ROWS)
    assert (row.chip_db, row.float_db) == ("27.0000 29.0000", "30.0000 30.0000")
    assert (row.form, row.hw, row.minutes) == ("cimnet_coarse0", "", 34.0)


def test_the_statement_says_both_orders():
    record = Record(tuple(four(3220, 81.2, 52.9, 12.1)))
    text = told.statement(record)
    for part in (
        "60.9 times as fast", "6.71 times as fast", "39.7 x (mapping of the block)",
        "4.37 x (mapping of CIM-NET of S = 8 (two layers))", "6.71 x under those of least energy",
    ):  # fmt: skip
        assert part in text, part
    assert "times as slow" in told.statement(Record(tuple(four(10, 1, 20, 2))))
    assert "Not measured on sonos40nm yet" in told.statement(record, "sonos40nm")
    held = (*four(64, 8, 2, 1, told.FOLD_SMALL), *record.cells)
    assert "**Fold-NET, convolutions against the block" in told.statement(Record(held))
    written_out = (*held, *four(64, 8, 2, 1, told.FOLD))
    assert "convolutions" not in told.statement(Record(written_out))
    more = Record((*record.cells, *four(64, 8, 2, 1, hw="sonos40nm")))
    assert "32 (sonos40nm) to 60.9 times (eflash40nm)" in told.ratios(more)
    assert "6.71 (eflash40nm) to 8 times (sonos40nm)" in told.ratios(more)


@pytest.mark.slow
def test_the_page_is_rewritten_between_its_markers_and_quoted(tmp_path):
    here = tmp_path / "like_with_like.md"
    here.write_text(page.PAGE.read_text())
    other = tmp_path / "other.md"
    other.write_text(f"before\n\n{page.quoted(Record())}\nafter\n")
    table_too = tmp_path / "table.md"
    mark = page.TRAINED
    table_too.write_text(f"{page.quoted(Record())}<!-- begin {mark} -->\n<!-- end {mark} -->\n")
    quality = Judged(
        "cimnet_stride8_coarse0", "eflash40nm", IM2COL, "w (34 min, trained for eflash40nm)",
        "set #1", 15.0, 2, 4, 25, 32, 31.5, 0.25,
    )  # fmt: skip
    record = Record(
        tuple(four(3220, 81.2, 52.9, 12.1)), (quality,), (point(8, 2.0, 1.0), point(16, 1.0, 2.0))
    )
    page.write(record, here, (other, table_too))
    text = here.read_text()
    assert "31.50 ± 0.25" in text
    assert "w (34 min, trained for eflash40nm)" in text
    assert "31.50 ± 0.25" in table_too.read_text()
    assert "31.50 ± 0.25" not in other.read_text()
    strides = told.stride_told(record.points)
    assert "arrays of 1024**: energy is least at S = " in strides
    assert strides in text
    assert strides not in page.PAGE.read_text()
    assert "6.71 times as fast" in other.read_text()
    assert other.read_text().endswith("\nafter\n")
    for name in ("trade_off", "strides"):
        assert (tmp_path / "like_with_like" / f"{name}.png").stat().st_size > 5000
    other.write_text("no markers")
    with pytest.raises(InputError, match="begin like_with_like"):
        page.write(record, here, (other,))


def test_records_merge_by_chip_title_and_come_back(tmp_path):
    old = Record((cell("a", IM2COL, 1.0),), (), (point(8, 2.0, 1.0),))
    merged = old.merged([cell("a", IM2COL, 3.0, chip="y"), cell("b", FAST, 1.0)])
    assert [(c.network, c.interval_s) for c in merged.cells] == [("a", 3.0), ("b", 1.0)]
    merged.write(tmp_path)
    assert Record.read(tmp_path) == merged
    assert Record.read(tmp_path / "none") == Record()
    larger = merged.merged([cell("a", IM2COL, 9.0, size="128x64")])
    assert [(c.network, c.interval_s) for c in larger.cells] == [("a", 9.0)]  # sizes never mix
    assert larger.points == ()


def test_all_networks_on_the_first_chip_and_main_ones_on_the_others():
    networks, chips = find_networks(()), list(CHIPS[:2])
    jobs = jobs_of(networks, chips, every=False, quick=False)
    assert {n.name for n, c in jobs if c == chips[0]} == {n.name for n in networks}
    assert {n.name for n, c in jobs if c == chips[1]} == {n.name for n in networks if n.main}
    assert len(jobs_of(networks[:2], chips, every=True, quick=False)) == 4
    assert all(n.main for n, _ in jobs_of(networks, chips, every=False, quick=True))


def test_quality_on_another_chip_only_after_training_for_it():
    by_name = {case.name: case for case in NETWORKS}
    block, two = YARDSTICK, by_name["cimnet_stride8_coarse0"]
    other, changed_one = ChipCase("sram7nm", (), "sram7nm"), ChipCase("sram7nm", ("adc.bits=6",))
    card = next(w for w in shipped_weights() if w.stem == "cimnet_s8").card
    given = [Weights("mine", replace(card, hw="sram7nm"), None, shipped=False)]
    jobs = [(network, chip) for chip in (EFLASH, other, changed_one) for network in (block, two)]
    assert to_judge(jobs, ()) == jobs[:2]
    assert to_judge(jobs, given) == [*jobs[:2], (two, other)]


def judged_as(hw, how, weights, db):
    return Judged(
        "cimnet_stride8_coarse0", hw, how, weights, "set #1", 15.0, 5, 4, 25.0, 32.0, db, 0.1
    )


def test_the_table_of_trained_chips_has_both_mappings_and_no_untrained_network():
    cells = four(64, 8, 2, 1) + four(6, 3, 0.2, 0.1, hw="b") + four(6, 3, 2, 1, hw="c")
    cells = [replace(c, strategies=NO_ROOM) if (c.hw, c.how) == ("b", IM2COL) else c for c in cells]
    rows = [
        judged_as("eflash40nm", IM2COL, "w (34 min, trained for eflash40nm)", 31.5),
        judged_as("eflash40nm", FAST, "w (34 min, trained for eflash40nm)", 31.25),
        judged_as("b", FAST, "v (9 min, trained for b)", 30.5),
        judged_as("c", IM2COL, "w (34 min, trained for eflash40nm)", 29.5),
    ]
    record = Record(tuple(cells), tuple(rows))
    assert told.trained_chips(record) == ["eflash40nm", "b"]
    lines = told.trained_table(record).splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == ["| eflash40nm", "| b"]
    assert "| 2.00 s |" in lines[0]
    assert lines[0].index("31.50 ± 0.10") < lines[0].index("| 1.00 s |")
    assert lines[0].endswith("31.25 ± 0.10 |")
    assert "does not fit | – | – | –" in lines[1]
    assert lines[1].endswith("30.50 ± 0.10 |")


@pytest.mark.slow
def test_bad_inputs_name_the_way_out(tmp_path):
    with pytest.raises(ConfigError, match=r"--only nonet: no such network; known: fastdvdnet-bl"):
        find_networks(["nonet"])
    with pytest.raises(ConfigError, match=r"expected NAME:field=value,..., got 'adc'"):
        ChipCase.parse("eflash40nm:adc")
    with pytest.raises(ConfigError, match=r"array\.rowz"):
        _ = ChipCase.parse("eflash40nm:array.rowz=3").chip
    with pytest.raises(ConfigError, match="--record: not with --quick"):
        main(quick=True, record=True, out=tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        main(weights=tmp_path / "none", out=tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fair", "--hw", "nochip", "--out", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "nochip" in done.stderr
    assert "Traceback" not in done.stderr
    assert ChipCase.parse("eflash40nm:interconnect.bytes_per_cycle=16").title.endswith("of 16 B")
