"""Studies: ranges, points, tables, folders that go on, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import cimsim
from cimsim.chip.load import shipped
from cimsim.cli.main import app
from cimsim.errors import CimsimError, ConfigError, InputError
from cimsim.studies import engine, grid
from cimsim.studies.grid import Grid, expand
from cimsim.studies.points import Network, Point, Seeds
from cimsim.studies.study import Outcome, Study
from cimsim.studies.table import Table
from tests.studies.rows import row

QUICK = {"networks": "cimnet", "frames": 0, "size": "64x64"}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("4..10", (4, 5, 6, 7, 8, 9, 10)),
        ("40,76", (40, 76)),
        ("4..6,8", (4, 5, 6, 8)),
        ("0.1..0.5:0.2", (0.1, 0.3, 0.5)),
        ("20..100:40 MHz", ("20 MHz", "60 MHz", "100 MHz")),
        ("5 MHz..6 MHz:0.5 MHz", ("5 MHz", "5.5 MHz", "6 MHz")),
        ("-2..0", (-2, -1, 0)),
        ("replicated,in_order", ("replicated", "in_order")),
        ("{kind: ideal, g_max: 10 uS}, {kind: pcm}",
         ({"kind": "ideal", "g_max": "10 uS"}, {"kind": "pcm"})),
        ("true", (True,)),
        ("../cells.csv", ("../cells.csv",)),
    ],
)  # fmt: skip
def test_texts_stand_for_values(text, values):
    assert expand(text, "--set x") == values


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("10..4", "empty"), ("1..2:0", "empty"), ("1..2:-1", "empty"), ("0.5..2", "needs a step"),
        ("4..", "no range"), ("1,,2", "empty value"), ("1..1e30", "values"),
        ("1 MHz..2 GHz:1 GHz", "no range"),
    ],
)  # fmt: skip
def test_ranges_that_are_none_are_refused(text, told):
    with pytest.raises(ConfigError, match=told) as caught:
        expand(text, "--set adc.bits")
    assert "--set adc.bits" in str(caught.value)


def test_values_that_stand_twice_count_once():
    given = {"networks": ["cimnet", "cimnet"], "chips": ["eflash40nm", "eflash40nm"],
             "set": {"adc.bits": [4, "4..5", 4.0]}, "clips": [None, "embedded"],
             "sigmas": "15,15", "mappings": ["smd", "im2col", "smd"]}  # fmt: skip
    made = grid.from_data(given).grids[0]
    assert made.set == {"adc.bits": (4, 5, 4.0)}
    assert made.mappings == ("smd", "im2col")
    assert made.n_points == 3 * 2 == len(list(made.points()))


def test_weights_are_looked_for_before_anything_runs(tmp_path):
    file = tmp_path / "own.pth"
    file.write_bytes(b"looked into by the point itself")
    for weights in (None, "random", "cimnet_s8_eflash40nm", str(file), file):
        plan = grid.from_data({"networks": {"model": "cimnet", "weights": weights}})
        plan.check()
        assert plan.grids[0].networks[0].weights == (None if weights is None else str(weights))


def test_points_are_all_combinations_and_seeds_split():
    made = Grid(set={"adc.bits": (6, 7), "tile.count": (40, 76)}, mappings=("im2col", "smd"),
                sigmas=(10.0, 20.0), seeds=3, seed=5)  # fmt: skip
    points = list(made.points())
    assert len(points) == made.n_points == 2 * 2 * 2 * 2 * 3
    assert points[1].seeds == Seeds(clip=5, programming=6, reads=6, calibration=5)
    assert points[0].seeds == Seeds(5, 5, 5, 5)
    assert {p.settings["adc.bits"] for p in points} == {6, 7}
    assert Point.from_data(json.loads(json.dumps(points[3].to_data()))) == points[3]
    # without frames no seed changes a number
    assert replace(made, frames=0).n_points == 16


def test_a_file_says_the_same_as_python(tmp_path):
    file = tmp_path / "paper.yaml"
    file.write_text(
        "chips: [eflash40nm]\nset: {adc.bits: 6..7}\nframes: 2\nsize: 96x64\nseeds: 2\n"
        "grids:\n  - networks: [{model: cimnet, stride: '4,8'}]\n"
        "  - {networks: [fastdvdnet-block], mappings: [im2col, vwsdk]}\n"
    )
    plan = grid.read(file)
    assert plan.name == "paper"
    assert plan.n_points == 2 * 2 * 2 + 2 * 2 * 2
    assert plan.grids[0].networks == (
        Network("cimnet", (("stride", 4),)), Network("cimnet", (("stride", 8),)),
    )  # fmt: skip
    assert plan.grids[1].size == (64, 96)
    plan.check()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a mapping"), ("x: [", "cannot be read"),
        ("color: 3\n", "'color' is no key"),
        ("set: {adc.bits: 9..4}\n", "empty"), ("seeds: 0\n", "seeds"),
        ("networks: []\n", "network"),
        ("size: big\n", "WIDTHxHEIGHT"), ("grids: 5\n", "grids"), ("sigmas: 300\n", "sigma"),
        ("networks: [{stride: 8}]\n", "networks"), ("schedule: fast\n", "schedule"),
        ("frame_rate: fast\n", "frame_rate: expected a number"),
        ("frame_rate: -30\n", "frame_rate"), ("frame_rate: 0\n", "frame_rate"),
        ("networks: [{model: cimnet, streaming: maybe}]\n", "streaming: expected true or false"),
        ("networks: [{model: cimnet, weights: 5}]\n", "weights: expected file or name"),
        ("grids: [{grids: [{frames: 0}]}]\n", "'grids' belongs to the whole study"),
        ("grids: [{name: one}]\n", "'name' belongs to the whole study"),
        ("name: ../elsewhere\n", "a folder is called so"), ("name: ''\n", "a folder is called so"),
        ("name: [a]\n", "name: expected a text"),
    ],
)  # fmt: skip
def test_files_that_are_no_study_are_refused_with_one_message(tmp_path, text, told):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        grid.read(file)
    assert str(caught.value).startswith(str(file))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "adc.bitz=4..6"], "bitz"),
        (["--set", "adc.bits=9..4"], "empty"),
        (["--set", "adc.bits"], "expected adc.bits"),
        (["--set", "adc.bits=4", "--set", "adc.bits=5"], "given twice"),
        (["--set", "adc.bits=1..32", "--set", "tile.count=1..40000"], "--yes"),
        (["--model", "cimnett"], "cimnett"),
        (["--arg", "stride=7"], "stride"),
        (["--hw", "nochip"], "nochip"),
        (["--mapping", "nomap"], "nomap"),
        (["--workers", "0"], "--workers"),
        (["--input", "nothere.mp4"], "nothere.mp4"),
        (["--weights", "nothere.safetensors"], "nothere.safetensors"),
        (["--weights", "cimnet_s9"], "did you mean cimnet_s8"),
        (["--set", "adc={bits: 4}"], "if it is one of its fields that varies: adc.bits"),
        (["--fps", "0"], "frame_rate"),
        (["nothere.yaml"], "nothere.yaml"),
    ],
)
def test_bad_input_is_one_message_and_exit_2(options, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["sweep", *options])
    assert isinstance(found.exception, CimsimError), found.output
    assert told in str(found.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["sweep", "search"])
@pytest.mark.parametrize(
    ("option", "key"),
    [("--frames=2", "frames"), ("--seeds=1", "seeds"), ("--size=64x64", "size"),
     ("--sigma=15", "sigmas"), ("--fps=30", "frame_rate"), ("--schedule=sequential", "schedule"),
     ("--seed=0", "seed"), ("--start=1", "start"), ("--set=adc.bits=4", "set"),
     ("-mcimnet", "networks"), ("--input=clip.mp4", "clips")],
)  # fmt: skip
def test_options_beside_a_file_are_refused_by_name(tmp_path, command, option, key):
    file = tmp_path / "study.yaml"
    file.write_text("frames: 0\n")
    found = CliRunner().invoke(app, [command, str(file), option, f"--out={tmp_path / 'o'}"])
    assert isinstance(found.exception, ConfigError), found.output
    name = "--model" if option.startswith("-m") else option.partition("=")[0]
    assert str(found.exception).startswith(
        f"{name}: {file} says what runs; put it there as '{key}'"
    )
    assert "leave the file out" in str(found.exception)
    assert key in grid.KEYS
    assert not (tmp_path / "o").exists()


def test_a_study_runs_goes_on_and_is_looked_at(tmp_path):
    study = Study(set={"adc.count": "4..6"}, mappings=["im2col", "smd"], **QUICK)
    folder, calls = tmp_path / "s", []
    first = study.run(folder, workers=1, cached=False, progress=lambda *told: calls.append(told))
    assert len(first.rows) == 6
    assert calls[-1] == ("points", 6, 6)
    assert not first.errors
    assert len({r["numbers"]["timing.cycles_per_frame"]["value"] for r in first.rows}) > 1
    # what is there is not worked out again; a torn last line is
    path = folder / "points.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:4]) + "\n" + lines[4][:50])
    again = study.run(folder, workers=1, cached=False)
    assert again.reused == 4
    assert again.rows == first.rows
    loaded = Outcome.load(folder)
    assert loaded.rows == first.rows
    assert (folder / "table.csv").read_text().count("\n") == 7
    assert json.loads((folder / "table.json").read_text())[0]["numbers"]["energy.per_frame"]
    with pytest.raises(InputError, match="another study"):
        Study(set={"adc.count": "4..7"}, **QUICK).run(folder)
    for args in (["study", "show", str(folder)], ["study", "table", str(folder), "-f", "latex"],
                 ["study", "plot", str(folder), "--x", "adc.count", "--y", "fps",
                  "--out", str(tmp_path / "a.png")],
                 ["study", "plot", str(folder), "--pareto", "fps", "--pareto", "energy",
                  "--out", str(tmp_path / "b.png")],
                 ["study", "plot", str(folder), "--x", "adc.count", "--y", "fps"],
                 ["compare", str(folder), str(folder), "-f", "markdown"]):  # fmt: skip
        found = CliRunner().invoke(app, args, catch_exceptions=False)
        assert found.exit_code == 0
        assert found.output
    assert (tmp_path / "a.png").stat().st_size > 5000
    assert (tmp_path / "b.png").stat().st_size > 5000
    assert (folder / "study.png").stat().st_size > 5000  # where no --out says another place
    assert study.run(folder, workers=1, cached=False).reused == 6
    for args in (["study", "show", str(folder), "--number", "psnrr"],
                 ["study", "show", str(folder), "--pareto", "goodness"],
                 ["study", "show", str(folder), "--where", "fps>>3"],
                 ["study", "show", str(tmp_path)]):  # fmt: skip
        assert isinstance(CliRunner().invoke(app, args).exception, InputError)


@pytest.mark.parametrize(
    "held", ['{"format": "cimsim study"}', '{"format": "cimsim study", "plan": {}, "points": 3}',
             '{"format": "cimsim study", "plan": 1, "points": []}', "[]", '{"format": "cims'],
)  # fmt: skip
def test_a_damaged_study_is_one_message(tmp_path, held):
    (tmp_path / "study.json").write_text(held)
    for command in (["study", "show"], ["study", "table"], ["compare"]):
        found = CliRunner().invoke(app, [*command, str(tmp_path)])
        assert isinstance(found.exception, InputError), found.output
        assert "study.json" in str(found.exception)


def test_damaged_rows_do_not_count(tmp_path):
    whole = engine.failed(Point(), "no room") | {"id": "a"}
    lines = [json.dumps(whole), '{"id": "b"}', '{"id": ["c"]}', "[1]", "5", '{"id": "d", "set',
             json.dumps(whole | {"id": 7})]  # fmt: skip
    (tmp_path / "points.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff\xfe")
    assert engine.kept_rows(tmp_path) == {"a": whole}


def test_rows_of_another_chip_file_are_worked_out_again(tmp_path):
    """A folder goes on only with what would come out today."""
    file = tmp_path / "mine.yaml"
    text = shipped()["eflash40nm"]
    file.write_text(text)
    study = Study(chips=[str(file)], set={"adc.count": [4, 5]}, **QUICK)
    first = study.run(tmp_path / "s", workers=1, cached=False)
    assert study.run(tmp_path / "s", workers=1, cached=False).reused == 2
    file.write_text(text.replace("clock: 148 MHz", "clock: 74 MHz"))
    other = study.run(tmp_path / "s", workers=1, cached=False)
    assert other.reused == 0
    assert [r["key"] for r in other.rows] != [r["key"] for r in first.rows]
    assert Outcome.load(tmp_path / "s").rows == other.rows


def test_points_without_a_result_say_why_and_stop_nobody(tmp_path):
    outcome = Study(set={"tile.count": [2, 76]}, **QUICK).run(tmp_path / "s", workers=1)
    assert [bool(r["error"]) for r in outcome.rows] == [True, False]
    assert "arrays" in outcome.rows[0]["error"]
    assert "arrays" in outcome.table.to_csv()


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(tmp_path):
    study = Study(set={"adc.count": "4..7"}, **QUICK)
    alone = study.run(workers=1, cached=False)
    assert study.run(workers=2, cached=False).rows == alone.rows


@pytest.mark.slow
def test_a_process_that_dies_costs_its_point_and_no_other(tmp_path, monkeypatch):
    text = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    (tmp_path / "killer.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)  # handed on to the processes; this one imports nothing
    networks = ["cimnet", {"model": "killer:Net"}]
    given = QUICK | {"networks": networks, "set": {"adc.count": [4, 5]}}
    outcome = Study(**given).run(workers=2, cached=False)
    died = [row for row in outcome.rows if row["error"]]
    assert len(outcome.rows) == 4
    assert {row["settings"]["network"] for row in died} == {"killer:Net"}
    assert all("died twice" in row["error"] for row in died)
    assert len(died) == 2


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(tmp_path):
    folder = tmp_path / "s"
    command = [sys.executable, "-m", "cimsim", "sweep", "--frames", "0", "--size", "64x64", "--set",
               "adc.count=1..40", "--workers", "1", "--out", str(folder), "-q"]  # fmt: skip
    environment = os.environ | {"CIMSIM_CACHE": "off"}
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    path = folder / "points.jsonl"
    for _ in range(3000):
        if path.exists() and path.read_bytes().count(b"\n") >= 2:
            break
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = len(engine.kept_rows(folder))
    assert 2 <= kept <= 40
    plan = grid.from_data({"name": "sweep", "set": {"adc.count": "1..40"}, **QUICK})
    again = Study.of(plan).run(folder, workers=1, cached=False)
    assert len(again.rows) == 40
    assert again.reused >= kept


def test_chips_on_the_same_frames_become_a_mean_with_an_interval():
    rows = [row({"adc.bits": b, "seed": s}, psnr=30.0 + b + 0.1 * s, energy=(1e-3, (5e-4, 2e-3)))
            for b in (4, 5) for s in range(3)]  # fmt: skip
    table = Table.of(rows)
    assert table.varies == ["adc.bits"]
    cell = table.groups[0].cells["quality.chip_psnr"]
    assert cell.n == 3
    assert cell.value == pytest.approx(34.1)
    # Student's t for 2 degrees of freedom at 95 %: 2.919986
    half = 2.919986 * 0.1 / np.sqrt(3)
    assert cell.interval == pytest.approx((34.1 - half, 34.1 + half), rel=1e-6)
    assert table.groups[0].cells["energy.per_frame"].interval == pytest.approx((5e-4, 2e-3))
    assert "34.10 (33.93..34.27)" in table.to_markdown()
    latex = table.to_latex()
    assert "\\toprule" in latex
    assert "\\num{34.10} [\\num{33.93}, \\num{34.27}]" in latex
    assert "\\unit{\\milli\\joule}" in latex


def strides():
    """Two networks on two chips: weights of their own, options that the other does not have."""
    nets = {"a": {"network": "cimnet", "network.stride": 2, "weights": "x/a.pth"},
            "b": {"network": "cimnet", "network.stride": 8, "weights": "x/b.pth",
                  "network.coarse": 1},
            "c": {"network": "fastdvdnet-block", "weights": "x/c.pth"}}  # fmt: skip
    return Table.of([
        row(net | {"chip": chip, "seed": s}, psnr=28 + at + on / 4 + s / 50,
            energy=(10.0**at, (9.0**at, 11.0**at)))
        for at, net in enumerate(nets.values()) for on, chip in enumerate(("one", "two"))
        for s in range(3)
    ])  # fmt: skip


def test_what_tells_groups_apart_is_shown_and_nothing_that_follows_from_it():
    table = strides()
    assert table.varies == ["network", "network.stride", "network.coarse", "weights", "chip"]
    assert table.distinguishing == ["network", "network.stride", "network.coarse", "chip"]
    assert table.cells(["psnr"])[0] == [*table.distinguishing, "psnr (dB)"]
    assert "weights" not in table.to_latex(["psnr"])
    assert "x/a.pth" in table.to_csv()
    labels = [table.label(group) for group in table.groups]
    assert labels[0] == "cimnet, stride 2, one"
    assert labels[3] == "cimnet, stride 8, coarse 1, two"
    assert labels[5] == "fastdvdnet-block, two"
    # one network with two files of weights: they tell its points apart
    two = Table.of([row({"network": "cimnet", "weights": w}, psnr=1.0) for w in ("a.pth", "b.pth")])
    assert two.distinguishing == ["weights"]


def test_a_line_is_what_only_x_changes_and_a_network_without_x_is_a_level():
    from cimsim.studies import pictures

    figure, axes = pictures.draw_over(strides(), "network.stride", "psnr")
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ["cimnet, one", "cimnet, two", "fastdvdnet-block, one",
                           "fastdvdnet-block, two"]  # fmt: skip
    assert list(lines["cimnet, two"].get_xdata()) == [2, 8]
    assert lines["cimnet, two"].get_ydata() == pytest.approx([28.27, 29.27])
    assert lines["fastdvdnet-block, one"].get_ydata() == pytest.approx([30.02] * 2)
    figure.canvas.draw()
    whole, legend = figure.bbox, axes.get_legend().get_window_extent()
    assert whole.x0 <= legend.x0 < legend.x1 <= whole.x1
    assert axes.get_ylabel() == "psnr / dB"


def test_a_front_has_its_intervals_and_names_within_the_picture():
    from cimsim.studies import pictures

    table = strides()
    figure, axes = pictures.draw_pareto(table, ["psnr", "energy"])
    bars = [tuple(part[:, 0]) for held in axes.collections if hasattr(held, "get_segments")
            for part in held.get_segments() if part[0, 1] == part[1, 1]]  # fmt: skip
    assert bars == [(9.0**at, 11.0**at) for at in range(3)]
    figure.canvas.draw()
    assert [text.get_text() for text in axes.texts] == [
        table.label(group) for group in reversed(table.front(["psnr", "energy"]))
    ]
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in axes.texts)


def test_the_front_is_what_nothing_beats():
    points = {"a": (30.0, 1e-3), "b": (31.0, 2e-3), "c": (29.0, 3e-3), "d": (31.0, 2.5e-3)}
    table = Table.of([row({"n": n}, psnr=p, energy=e) for n, (p, e) in points.items()])
    assert [g.settings["n"] for g in table.front(["psnr", "energy"])] == ["b", "a"]
    assert [one["n"] for one in table.pareto(["min energy"])] == ["a"]
    assert [g.settings["n"] for g in table.front(["min psnr"])] == ["c"]
    kept = table.where(["psnr>=30", "energy<2.2e-3"])
    assert [g.settings["n"] for g in kept.groups] == ["a", "b"]
    with pytest.raises(InputError, match="goodness"):
        table.front(["goodness"])
    with pytest.raises(InputError, match="'ssim' in this study; known"):
        table.named("ssim")
    with pytest.raises(InputError, match="'psnr' in this study: no frame ran; known"):
        Table.of([row({"n": 1}, energy=1e-3)]).named("psnr")
    with pytest.raises(InputError, match="at least one objective"):
        table.front([])


def test_a_study_is_a_public_name():
    assert cimsim.Study is Study
    assert cimsim.Study(set={"adc.bits": range(4, 11)}, seeds=5).plan.n_points == 35
