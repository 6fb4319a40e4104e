"""What commands print fits 80 columns in whole words; with --json it is one document."""

import importlib
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from cimsim import ProgrammedChip
from cimsim.chip.area import area
from cimsim.chip.load import load_hw, shipped
from cimsim.cli.main import app
from cimsim.session.result import Result
from cimsim.units import parse_quantity

WIDE = 1000  # columns in which nothing is folded
BOX = re.compile(r"[│┃┏┓┗┛┡┩╇╋━─╭╮╰╯├└┬┼┴┤]+")
SIZE = ("--size", "64x64")
OTHERWISE = ("field,", "activ.", "waits", "worst")  # heads of columns that a narrow table has
BLOCK = ("--model", "fastdvdnet-block", *SIZE)


def call(*arguments, columns=80, **env):
    done = CliRunner(env={"COLUMNS": str(columns)} | env).invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


def words(text):
    return BOX.sub(" ", text).split()


def whole(text):
    """Words of a screen, and the pieces that names of layers may be folded into."""
    found = set()
    for word in words(text):
        parts = re.findall(r"[^.*+/_]*[.*+/_]|[^.*+/_]+$", word)
        ends = range(len(parts) + 1)
        found |= {"".join(parts[a:b]) for a in ends for b in ends if a < b} | {word}
        if re.fullmatch(r"[0-9a-f]{64}", word):
            found |= {word[:32], word[32:]}
    return found


def check(narrow, wide, known=()):
    assert max(map(len, narrow.splitlines())) <= 80, narrow
    assert "…" not in narrow
    assert "\x1b" not in narrow
    broken = set(words(narrow)) - whole(wide) - set(known)
    assert not broken


def pages(command, path=()):
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from pages(below, (*path, name))


@pytest.mark.parametrize("path", list(pages(get_command(app))), ids=" ".join)
def test_help_pages_have_whole_words(path):
    narrow = call(*path, "--help").stdout
    # an example that is folded goes on behind a backslash
    check(narrow, call(*path, "--help", columns=WIDE).stdout, ["\\"])


def test_examples_of_a_narrow_page_are_those_of_a_wide_one():
    def examples(columns):
        text = call("search", "--help", columns=columns).stdout
        joined = re.sub(r" \\ *\n +", " ", text)
        return [line.strip() for line in joined.splitlines() if line.startswith(" cimsim ")]

    assert examples(60) == examples(WIDE)
    assert len(examples(WIDE)) == 2


def test_square_brackets_of_a_help_page_are_no_markup():
    assert "pip install 'cimsim[search]'" in call("search", "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("hw", "list"),
        ("hw", "show", "eflash40nm"),
        ("hw", "show", "eflash40nm", "--sensitivity", *SIZE),
        ("hw", "check", "wtm2101", "--set", "adc.bits=7"),
        ("models", "list"),
        ("models", "show", "cimnet"),
        ("models", "show", "keyword-lstm"),
        ("time", *BLOCK, "--frames", "2", "--explain"),
        pytest.param(("map", *BLOCK, "--allocation", "replicated"), marks=pytest.mark.slow),
        pytest.param(("map", *SIZE, "--optimize", "latency"), marks=pytest.mark.slow),
        ("count", *BLOCK),
        (
            "sweep",
            *SIZE,
            "--frames",
            "0",
            "--set",
            "process.clock=50 MHz,100 MHz",
            "--workers",
            "1",
        ),
    ],
    ids=" ".join,
)
def test_tables_have_whole_words(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = ("--out", "o") if arguments[0] in ("map", "sweep") else ()
    narrow = call(*arguments, *target).stdout
    check(narrow, call(*arguments, *target, columns=WIDE).stdout, OTHERWISE)


@pytest.mark.parametrize(
    ("arguments", "printer"),
    [
        (("run", *BLOCK, "--frames", 1, "--out", "o"), "cimsim.report.run.tables.print_result"),
        (
            ("run", *SIZE, "--model", "cimnet", "--stages", 2, "--streaming", "--frames", 1,
             "--weights", "random", "--out", "o"),
            "cimsim.report.run.tables.print_result",
        ),
        pytest.param(
            ("diagnose", *BLOCK, "--frames", 1),
            "cimsim.studies.diagnosis_screen.print_diagnosis", marks=pytest.mark.slow,
        ),
        pytest.param(
            ("ablate", *BLOCK, "--frames", 1, "--no-chip"),
            "cimsim.studies.ablation_screen.print_ablation", marks=pytest.mark.slow,
        ),
    ],
    ids=lambda part: " ".join(map(str, part)) if isinstance(part, tuple) else "",
)  # fmt: skip
def test_tables_of_long_runs_have_whole_words(arguments, printer, tmp_path, monkeypatch):
    """The command runs once; what it prints is printed twice."""
    monkeypatch.chdir(tmp_path)
    room, name = printer.rpartition(".")[::2]
    show, texts = getattr(importlib.import_module(room), name), []

    def twice(found, console, *more):
        for width in (80, WIDE):
            own = Console(width=width, file=io.StringIO(), emoji=False)
            show(found, own, *more)
            texts.append(own.file.getvalue())

    monkeypatch.setattr(printer, twice)
    call(*arguments, "--quiet")
    check(*texts, OTHERWISE)


def test_no_color_means_no_colour():
    text = call("hw", "show", "eflash40nm", NO_COLOR="1", FORCE_COLOR="1").stdout
    codes = {code for found in re.findall(r"\x1b\[([\d;]*)m", text) for code in found.split(";")}
    assert codes <= {"", "0", "1", "2", "3", "4", "22", "23", "24"}  # bold and dim stay


def data(*arguments, **env):
    return json.loads(call(*arguments, "--json", **env).stdout)


@pytest.mark.parametrize("name", ["eflash40nm", "example_minimal"])
def test_json_of_a_chip_has_the_numbers_of_the_table(name):
    told = data("hw", "show", name)
    screen = "".join(words(call("hw", "show", name, columns=WIDE).stdout))
    units = 0
    for field in told["fields"]:
        assert "".join(field["text"].split()) in screen
        if field["unit"] and isinstance(field["value"], float):
            units += 1
            shown = parse_quantity(
                field["text"].removeprefix("auto ").replace(",", ""), field["unit"]
            )
            assert field["value"] == pytest.approx(shown, rel=5e-3)  # auto has three digits
    assert units > 20
    assert sum(told["area_by_component_m2"].values()) == pytest.approx(told["area_m2"])
    assert told["area_m2"] == pytest.approx(sum(area(load_hw(name)).values()))
    effects = data("hw", "show", name, "--sensitivity", *SIZE)["numbers"]
    assert sum(one["share"] for one in effects) == pytest.approx(1)


def test_json_of_lists(tmp_path):
    chips = data("hw", "list")
    assert {one["name"]: one["cols"] for one in chips} == {
        name: load_hw(name).array.cols for name in shipped()
    }
    assert data("hw", "check", "wtm2101")["valid"] is True
    networks = data("models", "list")["networks"]
    assert {one["name"] for one in networks} >= {"cimnet", "keyword-lstm"}
    for stem, card in data("models", "show", "cimnet")["weights"].items():
        assert card["model"] == "cimnet"
        assert stem in data("models", "list")["weights"]
    np.save(tmp_path / "clip.npy", np.zeros((2, 16, 24, 3), np.uint8))
    clip = data("clip", "show", tmp_path / "clip.npy")
    assert (clip["frames"], clip["height"], clip["width"]) == (2, 16, 24)
    cache = data("cache", "show", CIMSIM_CACHE=str(tmp_path / "cache"))
    assert cache["bytes"] == 0


NET = "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self):\n" \
      "        super().__init__(nn.Conv2d(3, 3, 3, padding=1))\n"  # fmt: skip
OWN = ["--model", "net_of_screens:Net", "--weights", "random", "--size", "32x24"]


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "net_of_screens.py").write_text(NET)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("own")
def test_json_of_runs():
    for seed, folder in enumerate("ab"):
        data("run", *OWN, "--frames", 1, "--seed", seed, "--out", folder)
    results = [Result.load(folder) for folder in "ab"]
    compared = data("compare", "a", "b")
    assert [one["numbers"]["quality.chip_psnr"]["value"] for one in compared] == [
        result.numbers()["quality.chip_psnr"].value for result in results
    ]
    told = data("verify", "a", "--files")
    assert told["sha256"] == results[0].hash
    assert told["files_checked"] is True
    assert told["run_again"] is False
    chip = data("program", *OWN)
    held = ProgrammedChip.load(chip["file"])
    assert (held.hash, held.seed) == (chip["sha256"], chip["seed"])


def test_json_of_studies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = ("--set", "process.clock=50 MHz,100 MHz", *SIZE, "--frames", 0, "--workers", 1)
    swept = data("sweep", *space, "--out", "s")
    assert data("study", "show", "s") == swept
    assert json.loads(call("study", "table", "s", "-f", "json").stdout) == swept["groups"]
    found = data("search", *space, "--objective", "min latency", "--trials", 2, "--out", "t")
    latency = [one["numbers"]["timing.latency_s"]["value"] for one in swept["groups"]]
    best = [one["numbers"]["timing.latency_s"]["value"] for one in found["front"]]
    assert best == [min(latency)]
    assert found["trials"] == 2


def test_json_of_pruning(tmp_path):
    small = ("--set", "array.rows=256", "--set", "array.cols=256", "--arrays", 54)
    target = tmp_path / "p.safetensors"
    told = data("prune", *BLOCK, *small, "--crops", 2, "--out", target)
    assert told["budget"] == {"unit": "arrays", "limit": 54, "before": 54, "after": 54}
    assert told["channels_cut"] == 0
    assert {layer["weights_kept"] for layer in told["layers"]} == {1}


def test_json_of_a_fit(tmp_path):
    rows = [
        f"{target}-{c}, {target}, {target + 0.01 * c}, 0" for target in (1, 4) for c in range(20)
    ]
    file = tmp_path / "cells.csv"
    file.write_text("cell, target [uS], read [uS], time [s]\n" + "\n".join(rows) + "\n")
    told = data("device", "fit", file, "--out", tmp_path / "fit")
    assert [state["target"] for state in told["states"]] == pytest.approx([1e-6, 4e-6])
    assert told.pop("folder") == str(tmp_path / "fit")
    assert told == json.loads((tmp_path / "fit" / "fit.json").read_text())
