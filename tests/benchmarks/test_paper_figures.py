from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.paper import comparison, document, fig10, orderings, style
from benchmarks.paper.__main__ import FIGURES, draw, main
from benchmarks.paper.chip_table import ChipRow
from benchmarks.paper.clips import clips_in, embedded_scenes
from benchmarks.paper.evaluate import Evaluator
from benchmarks.paper.networks import windows_per_pixel
from benchmarks.paper.recipe import load_recipe
from benchmarks.paper.record import NOISY, Row, merged, read, write
from benchmarks.paper.results import SIGMAS, Point, Results, gather, recordable
from cimsim.errors import ConfigError, InputError
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import write_clip
from cimsim.video.noise import add_awgn
from cimsim.zoo import registry
from cimsim.zoo.weights import Card, save_weights

PSNR = {
    ("fastdvdnet-block", None): 32.6, ("baseline-o1", 2): 31.9, ("baseline-o1", 8): 28.0,
    ("baseline-o2", 2): 32.5, ("baseline-o2", 4): 31.0, ("baseline-o2", 8): 29.6,
    ("abla-net", 4): 32.1, ("abla-net", 8): 31.6,
    ("cimnet", 2): 32.65, ("cimnet", 4): 32.3, ("cimnet", 8): 31.9,
}  # fmt: skip


# closed forms of the paper's structures, windows per pixel as a function of S
WINDOWS = {
    "fastdvdnet-block": lambda s: 4 + 6 / 4 + 6 / 16,
    "baseline-o1": lambda s: (4 + 6 / 4 + 6 / 16) / s**2,
    "baseline-o2": lambda s: 5.875 if s == 2 else 11.5 / s**2,
    "abla-net": lambda s: 3.875 if s == 2 else 9.5 / s**2,
    "cimnet": lambda s: 3.875 if s == 2 else 9.5 / s**2,
    NOISY: lambda s: None,
}


def row(model, stride, psnr_db, sigma=15.0, **changes):
    stem = model if stride is None else f"{model}_s{stride}"
    stem += "_coarse1" if stem == "cimnet_s8" else ""  # as the paper draws it
    windows = WINDOWS[model](stride)
    per_clip = {"a": round(psnr_db - 1, 4), "b": round(psnr_db + 1, 4)}
    values = Row(
        stem, model, stride, windows, "two, 3 frames 64x64 #0", sigma, psnr_db,
        per_clip, "15", 30.0, 1000, "cpu", 0, "2026-01-01", stem,
    )  # fmt: skip
    return replace(values, **changes)


@pytest.fixture(scope="module")
def results():
    points = [
        Point(row(*key, value), "recorded" if key[1] == 4 else "measured")
        for key, value in PSNR.items()
    ]
    shipped = row("cimnet", 8, 32.4, sha256="s", network="cimnet_s8")
    points += [Point(shipped, "measured", shipped=True)]
    for sigma in SIGMAS:
        points.append(Point(row(NOISY, None, 30 - sigma / 4, sigma, trained_sigma=""), "measured"))
        if sigma != 15:
            points.append(Point(row("cimnet", 8, 34 - sigma / 6, sigma), "measured"))
            points.append(Point(row("baseline-o2", 8, 32 - sigma / 6.5, sigma), "measured"))
    return Results("two, 3 frames 64x64", tuple(points))


@pytest.fixture(scope="module")
def drawn(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("figures")
    return {one.name: one for one in draw(results, FIGURES, out)}, out


def drawn_values(figure):
    """Every (x, y) that a line or a mark of the figure has."""
    return {
        (round(float(x), 6), round(float(y), 6))
        for axes in figure.axes
        for line in axes.lines
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_written_and_shows_the_points_of_its_table(drawn, name):
    figures, out = drawn
    for suffix in (".png", ".svg"):
        assert (out / f"{name}{suffix}").stat().st_size > 2000
    with (out / f"{name}.csv").open() as handle:
        lines = list(csv.DictReader(handle))
    assert len(lines) == len(figures[name].points) >= 3
    shown = {y for _, y in drawn_values(figures[name].figure)}
    for line in lines:
        assert round(float(line["psnr_db"]), 6) in shown
    assert {line["origin"] for line in lines} <= {"measured", "recorded"}


def test_figures_over_windows_have_windows_on_the_axis(drawn):
    figures, _ = drawn
    for name, model in (("fig06", "baseline-o2"), ("fig09", "cimnet")):
        values = drawn_values(figures[name].figure)
        for stride in (2, 4, 8):
            windows = WINDOWS[model](stride)
            assert (round(windows, 6), PSNR[model, stride]) in values
        assert figures[name].figure.axes[-1].get_xscale() == "log"


@pytest.mark.slow
def test_windows_per_pixel_are_the_closed_forms():
    shown = [("fastdvdnet-block", None), ("baseline-o1", 4), ("baseline-o2", 8), ("cimnet", 8)]
    for model, stride in shown:
        assert windows_per_pixel(model, stride) == WINDOWS[model](stride)


def test_recorded_points_are_open_and_shipped_ones_are_stars(drawn):
    figures, _ = drawn
    axes = figures["fig11"].figure.axes[0]
    marks = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0])): line
        for line in axes.lines
        if len(line.get_xdata()) == 1 and line.get_marker() not in ("", "None", None)
    }
    assert marks[4, 32.3].get_markerfacecolor() == "white"
    assert marks[8, 31.9].get_markerfacecolor() == marks[8, 31.9].get_color()
    assert marks[8, 32.4].get_marker() == "*"
    line = next(part for part in axes.lines if len(part.get_xdata()) == 3)
    assert list(line.get_ydata()) == [32.65, 32.3, 31.9]  # the line joins one budget only
    caption = figures["fig11"].caption
    assert "Open marks are recorded" in caption
    assert "CIM-NET S = 4" in caption
    assert (
        "Stars: shipped weights, trained otherwise than the lines: CIM-NET S = 8, two layers"
        in caption
    )
    assert "trained for 30 minutes each" in caption


@pytest.mark.parametrize(
    ("minutes", "crops", "said"),
    [
        ((30.0, 30.0), (10, 20), "trained for 30 minutes each (cpu)"),
        ((1.2, 4.9), (4000, 4000), "trained on 4,000 crops each, 1.2 to 4.9 minutes (cpu)"),
        ((1.2, 4.9), (10, 20), "trained for 1.2 to 4.9 minutes each (cpu)"),
    ],
)
def test_a_caption_says_what_the_budget_was(minutes, crops, said):
    points = [
        Point(row("cimnet", 2 * n, 32.0, minutes=m, crops=c), "measured")
        for n, (m, c) in enumerate(zip(minutes, crops, strict=True), 1)
    ]
    assert said in style.caption("", Results("clips", tuple(points)), points)


def test_the_noise_figure_says_what_was_trained(drawn, results):
    figures, _ = drawn
    assert "Trained at σ = 15." in figures["fig10"].caption
    blind = [
        replace(p, row=replace(p.row, network=p.row.network + "_blind", trained_sigma="5..55"))
        for network in ("cimnet_s8_coarse1", "baseline-o2_s8")
        for p in results.over_sigma(network)
    ]
    both = fig10.draw(replace(results, points=(*results.points, *blind)))
    (note,) = [text.get_text() for text in both.figure.axes[0].texts]
    assert note == "thin, stars: trained at σ = 15 only"
    assert "Trained at σ = 5..55; thin lines: at σ = 15 only." in both.caption
    assert {p.row.trained_sigma for p in both.points} >= {"5..55", "15"}
    # the other figures and the strides' series know the plain training alone
    more = replace(results, points=(*results.points, *blind))
    assert more.series("cimnet") == results.series("cimnet")


@pytest.mark.slow
def test_the_comparison_computes_ours_from_the_points(results):
    lines = comparison.compare(comparison.load_published(), results, [])
    found = {line.quantity: line for line in lines}
    assert found["CIM-NET, S = 8 minus S = 2"].ours_float == "−0.75"
    assert found["CIM-NET, S = 8 minus S = 2"].paper == "−0.64"
    assert found["Abla-NET minus baseline o2, S = 4"].ours_float == "+1.10"
    gaps = [31.9 - 29.6] + [2 - s / 6 + s / 6.5 for s in SIGMAS if s != 15]
    over = next(line for name, line in found.items() if "over the noise" in name)
    assert over.ours_float == f"{min(gaps):+.2f} .. {max(gaps):+.2f}"
    counted = [line.ours_float for line in lines if line.unit in ("%", "x")]
    assert counted == ["17.39", "77.5", "39.6"]
    assert all(line.ours_on_chip == "" for line in lines)
    assert "| CIM-NET, S = 8 | dB | 35.11 | 31.90 | – |" in comparison.markdown(lines, "here")


def test_the_comparison_never_subtracts_across_budgets(results):
    points = tuple(p for p in results.points if p.row.network != "cimnet_s8_coarse1" or p.shipped)
    lines = comparison.compare(comparison.load_published(), Results("x", points), [])
    found = {line.quantity: (line.ours_float, line.weights) for line in lines}
    assert found["CIM-NET, S = 8"] == ("32.40", "shipped")
    assert found["CIM-NET, S = 8 minus S = 2"] == ("", "")


def test_the_chip_counts_only_with_the_very_weights(results):
    def chip(network, sha256, chip_db):
        return ChipRow(
            network, sha256, "eflash40nm", "id", "two, 3 frames 64x64 #0", "mean", 15.0, 5, 3, 3,
            24.0, 32.0, chip_db, 0.1, 0.2, 0.1, 0.3, "2026-01-01",
        )  # fmt: skip

    rows = [chip("cimnet_s8", "cimnet_s8_coarse1", 31.5), chip("cimnet_s2", "cimnet_s2", 32.0)]
    rows.append(chip("baseline-o2_s2", "others", 32.3))
    lines = comparison.compare(comparison.load_published(), results, rows)
    found = {line.quantity: line.ours_on_chip for line in lines}
    assert found["CIM-NET, S = 8"] == "31.50"
    assert found["CIM-NET, S = 8 minus S = 2"] == "−0.50"
    assert found["baseline o2, S = 2"] == ""


def test_rows_come_back_from_the_record(tmp_path):
    rows = [row(*key, value) for key, value in PSNR.items()]
    rows.append(row(NOISY, None, 25.0, per_clip={"a b": 24.5, "c": 25.5}, crops=None, seed=None))
    path = tmp_path / "deep" / "float.csv"
    write(path, rows)
    assert sorted(read(path), key=lambda r: r.place) == sorted(rows, key=lambda r: r.place)
    assert not list(path.parent.glob(".*"))
    newer = replace(rows[0], psnr_db=40.0, sha256="other")
    kept = {r.network: r for r in merged(rows, [newer])}
    assert len(kept) == len(rows)
    assert kept[newer.network] == newer
    assert len(merged(rows, [newer], by_weights=True)) == len(rows) + 1
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="expected the columns network, model"):
        read(path)


def test_the_document_is_rewritten_between_its_markers(tmp_path):
    path = tmp_path / "paper.md"
    text = "head\n<!-- begin a -->\nold\n<!-- end a -->\nmid\n<!-- begin b -->\n<!-- end b -->\n"
    path.write_text(text)
    document.rewrite(path, {"a": "| \\d | new |\n", "b": "x"})
    wanted = text.replace("old", "| \\d | new |").replace("begin b -->\n", "begin b -->\nx\n")
    assert path.read_text() == wanted
    document.rewrite(path, {"b": "y"})
    assert path.read_text() == wanted.replace("-->\nx\n", "-->\ny\n")
    with pytest.raises(InputError, match="begin c"):
        document.rewrite(path, {"a": "lost", "c": "z"})
    assert "lost" not in path.read_text()


def test_the_shipped_document_has_all_markers(tmp_path):
    copy = tmp_path / "paper.md"
    copy.write_text(document.PATH.read_text())
    document.rewrite(copy, dict.fromkeys((*FIGURES, "comparison", "on_chip"), "here"))


# real networks on small clips


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two small test clips, and weights of an untrained o2 and Abla-NET."""
    place = tmp_path_factory.mktemp("paper")
    for name, scene in (("one", "cat"), ("two", "portrait")):
        write_clip(place / "test" / name, embedded_clip(scene, 3, 64, 64))
    for model in ("baseline-o2", "abla-net"):
        torch.manual_seed(0)
        network = registry.build(model, stride=8).eval()
        card = Card(
            model, {"stride": 8}, "none", "none", 0, 7.0, "cpu", 0, (15.0, 15.0), {}, "", "0"
        )
        save_weights(network, place / "weights" / f"{model}_s8.safetensors", card)
    return place


def entries(*stems):
    return [entry for entry in load_recipe().networks if entry.stem in stems]


@pytest.mark.slow
def test_measured_psnr_is_that_of_the_network_by_hand(place, tmp_path):
    clips = clips_in(place / "test", 3)
    assert clips.title == "one+two, 3 frames 64x64"
    found = gather(
        Evaluator(clips, tmp_path / "float.csv"), entries("abla-net_s8"), place / "weights", []
    )
    (point,) = found.series("abla-net")
    network = registry.build("abla-net", stride=8)
    from cimsim.zoo.weights import load_weights

    load_weights(network, place / "weights" / "abla-net_s8.safetensors")
    network.eval()
    by_clip = []
    for clean in clips.clips.values():
        noisy, values = add_awgn(clean, 15.0, 0), []
        for t, around in enumerate(([1, 0, 1], [0, 1, 2], [1, 2, 1])):  # mirrored at the ends
            frames = np.concatenate([noisy[i].transpose(2, 0, 1) for i in around])[None]
            with torch.no_grad():
                estimate = network(torch.from_numpy(frames), torch.full((1, 1, 64, 64), 15 / 255))
            error = estimate[0].numpy().transpose(1, 2, 0).clip(0, 1) - clean[t]
            values.append(-10 * math.log10(float((error.astype(np.float64) ** 2).mean())))
        by_clip.append(np.mean(values))
    assert list(point.row.per_clip.values()) == pytest.approx(by_clip, abs=2e-4)
    assert point.row.psnr_db == pytest.approx(np.mean(by_clip), abs=2e-4)
    assert (point.origin, point.row.minutes, point.row.trained_sigma) == ("measured", 7.0, "15")


@pytest.mark.slow
def test_what_is_not_at_hand_comes_from_the_record_of_the_same_clips(place, tmp_path):
    clips = clips_in(place / "test", 2)
    wanted = entries("cimnet_s8_coarse1", "cimnet_s4", "baseline-o2_s8", "baseline-o2_s4")
    record = [
        row("cimnet", 4, 30.0, clips=clips.name),
        row("cimnet", 8, 31.0, clips=clips.name),
        row("baseline-o2", 8, 29.0, clips=clips.name),
        row("baseline-o2", 4, 28.0),  # of other clips
    ]
    kept = tmp_path / "float.csv"
    found = gather(Evaluator(clips, kept), wanted, place / "weights", record, sigmas=(15.0,))
    assert [(p.row.stride, p.origin) for p in found.series("cimnet")] == [
        (4, "recorded"), (8, "recorded"),
    ]  # fmt: skip
    (star,) = found.shipped("cimnet")  # the shipped weights are not those of the record
    assert star.row.psnr_db != 31.0
    (o2,) = found.series("baseline-o2")
    assert (o2.row.stride, o2.origin) == (8, "measured")
    assert {r.network for r in recordable(found)} == {"baseline-o2_s8", NOISY}
    # what was measured is kept, and shipped weights of the record are a point like any other
    changed = [replace(r, psnr_db=1.0) if r.network == "cimnet_s8" else r for r in read(kept)]
    write(kept, changed)
    record[1] = replace(record[1], sha256=star.row.sha256, crops=123)
    again = gather(Evaluator(clips, kept), wanted, place / "weights", record, sigmas=(15.0,))
    point = again.series("cimnet")[1]
    assert (point.origin, point.row.psnr_db, point.row.crops) == ("recorded", 1.0, 123)
    assert not again.shipped("cimnet")


@pytest.mark.slow
def test_trainings_of_several_seeds_are_one_point_with_an_interval(place, tmp_path):
    clips = clips_in(place / "test", 2)
    out, values = tmp_path / "weights", []
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        network = registry.build("abla-net", stride=8).eval()
        card = Card(
            "abla-net", {"stride": 8}, "none", "none", 0, 7.0 + seed, "cpu", seed, (15.0, 15.0),
            {}, "", "0",
        )  # fmt: skip
        path = out / f"seed{seed}" / "abla-net_s8" / "abla-net_s8.safetensors"
        path.parent.mkdir(parents=True)
        save_weights(network, path, card)
        alone = gather(
            Evaluator(clips, tmp_path / "one.csv"), entries("abla-net_s8"), out / f"seed{seed}", []
        )
        (point,) = alone.series("abla-net")
        assert point.half_db is None
        values.append(point.row.psnr_db)
    kept = tmp_path / "float.csv"
    found = gather(Evaluator(clips, kept), entries("abla-net_s8"), out, [])
    (point,) = found.series("abla-net")
    assert point.row.psnr_db == pytest.approx(np.mean(values))
    assert point.row.minutes == 8.0
    # Student's t of 2 degrees of freedom at 97.5 %
    assert point.half_db == pytest.approx(4.302653 * np.std(values, ddof=1) / math.sqrt(3))
    rows = [one for one in recordable(found) if one.network != NOISY]
    assert [(one.seed, one.psnr_db) for one in rows] == list(enumerate(values))
    # trainings of other seeds come from the record, those of the same seed do not
    some = [replace(one, psnr_db=1.0) if one.seed == 2 else one for one in rows]
    joined = gather(Evaluator(clips, kept), entries("abla-net_s8"), out / "seed2", some)
    (mixed,) = joined.series("abla-net")
    assert [(one.seed, one.psnr_db) for one in mixed.rows] == list(enumerate(values))
    # the record of all seeds draws the same point
    again = gather(Evaluator(clips, kept), entries("abla-net_s8"), None, rows)
    (old,) = again.series("abla-net")
    assert (old.row.psnr_db, old.half_db, old.origin) == (
        point.row.psnr_db, point.half_db, "recorded",
    )  # fmt: skip
    said = style.caption("", Results("clips", (point,)), [point])
    assert "means of 3 trainings with other seeds, bars their 95 % interval" in said


def test_differences_are_taken_seed_by_seed(results):
    better = {0: 0.3, 1: 0.5, 2: 0.4}
    rows = {0: 30.0, 1: 31.0, 2: 35.0}  # seeds differ more than networks do
    o2 = Point.of([row("baseline-o2", 2, v, seed=s) for s, v in rows.items()], "measured")
    cim = Point.of([row("cimnet", 2, v + better[s], seed=s) for s, v in rows.items()], "measured")
    lines = comparison.compare(comparison.load_published(), Results("x", (o2, cim)), [])
    found = {line.quantity: line.ours_float for line in lines}
    assert found["CIM-NET, S = 2 minus baseline o2, S = 2"] == "+0.40 ± 0.25"
    assert found["CIM-NET, S = 2"] == "32.40 ± 6.62"
    table = orderings.markdown(Results("x", (o2, cim)))
    # 4.302653 (Student's t) times 0.1 over the root of 3: 0.248
    assert "| CIM-NET minus baseline o2 | +0.40 (+0.15..+0.65) | – | – | 3 |" in table
    assert not list(orderings.unsure(Results("x", (o2, cim))))
    worse = Point.of([row("cimnet", 2, v, seed=s) for s, v in {0: 30.3, 1: 30.5, 2: 35.4}.items()],
                     "measured")  # fmt: skip
    assert list(orderings.unsure(Results("x", (o2, worse)))) == ["CIM-NET minus baseline o2, S = 2"]


@pytest.mark.slow
def test_the_quick_command_measures_and_draws(place, tmp_path, capsys):
    out, figures = tmp_path / "out", ["fig09", "fig10"]
    main(
        data=place / "test", weights=place / "weights", out=out, quick=True, frames=1, chip=False,
        figure=figures,
    )  # fmt: skip
    assert {path.stem for path in out.glob("*.png")} == set(figures)
    with (out / "fig09.csv").open() as handle:
        lines = {line["network"]: line for line in csv.DictReader(handle)}
    assert lines["cimnet_s8"]["weights"] == "shipped"
    with (out / "fig09.csv").open() as handle:
        o2 = [line for line in csv.DictReader(handle) if line["network"] == "baseline-o2_s8"]
    assert {line["weights"] for line in o2} == {"equal budget", "shipped"}
    assert "**fig09.** PSNR of CIM-NET" in (out / "captions.md").read_text()
    assert "1/77" in (out / "comparison.md").read_text()
    assert "baseline-o2_s8" in capsys.readouterr().out


def test_clip_sets_are_named_by_what_they_are(place, tmp_path):
    assert clips_in(place / "test", 2).name != clips_in(place / "test", 3).name
    assert embedded_scenes(1, 64).name == embedded_scenes(1, 64).name
    with pytest.raises(InputError, match="holds no clips"):
        clips_in(tmp_path, 1)
    with pytest.raises(InputError, match="no such folder"):
        clips_in(tmp_path / "x", 1)


def test_options_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--figure fig05: unknown; known: fig04"):
        main(quick=True, figure=["fig05"], out=tmp_path)
    with pytest.raises(ConfigError, match="--record: needs --data and --weights"):
        main(quick=True, record=True, out=tmp_path)
    with pytest.raises(ConfigError, match="--data: missing"):
        main(out=tmp_path, chip=False)
