"""``cimsim hw``: what it prints of each shipped chip, and how it says that something is odd."""

import re

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cimsim.chip.area import area
from cimsim.chip.load import load_hw, shipped
from cimsim.cli.hw import app
from cimsim.energy.activation import full_activation
from cimsim.report.chip.trees import area_tree, energy_tree
from cimsim.units import format_si


def run(*arguments, width=160):
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(width)})
    assert done.exception is None, done.exception
    return done.output


def printed(tree, width=120):
    console = Console(width=width, record=True, highlight=False)
    with console.capture() as capture:
        console.print(tree)
    return capture.get()


@pytest.mark.parametrize("width", [80, 160])
def test_show_fits_the_terminal_and_tells_every_figure(width):
    text = run("show", "example_minimal", width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    for part in ("adc.energy", "auto", "Area of the chip", "Energy of one full array", "TOPS/W"):
        assert part in text


@pytest.mark.parametrize("name", sorted(shipped()))
def test_trees_tell_the_totals_of_the_models(name):
    chip = load_hw(name)
    assert format_si(sum(area(chip).values()), "m2") in printed(area_tree(chip)).splitlines()[0]
    full = full_activation(chip)
    lines = printed(energy_tree(chip)).splitlines()
    assert format_si(full.total_j, "J") in lines[0]
    shares = [float(m[1]) for line in lines[1:] if (m := re.search(r"([\d.]+) %", line))]
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares))


def test_branches_of_the_area_tree_add_up_to_the_chip():
    chip = load_hw("isaac32nm")
    lines = printed(area_tree(chip)).splitlines()
    top = [line for line in lines if line.startswith(("├", "└"))]
    shares = [float(re.search(r"([\d.]+) %", line)[1]) for line in top]
    assert sum(shares) == pytest.approx(100, abs=0.1)


def test_check_lists_what_is_missing_implausible_or_unsourced(tmp_path):
    text = shipped()["eflash40nm"]
    path = tmp_path / "mine.yaml"
    path.write_text(
        text.replace("  energy: 0.291 pJ\n", "").replace("  dac.energy:", "  #")
        .replace("t_pulse: 14 us", "t_pulse: 100 s")
        + "other_area: 1 mm2\n"
    )  # fmt: skip
    found = run("check", str(path), width=200)
    for part in (
        "dac.energy: not given", "programming.t_pulse: 100 s is outside of",
        "other_area: no source given", "word-line drivers: not counted", "4 doubts",
    ):  # fmt: skip
        assert part in found
    assert "no doubts" in run("check", "isaac32nm")


def test_set_changes_what_is_shown_and_checked():
    shown = run("show", "eflash40nm", "--set", "adc.bits=6", width=200)
    assert "eflash40nm with adc.bits=6" in shown
    assert "rescaled from 2.61 pJ (adc.bits 8 -> 6" in shown
    checked = run("check", "isaac32nm", "--set", "array.rows=64", width=200)
    assert "array.t_read" in checked
    assert "kept as given although array.rows 128 -> 64" in checked


def test_strict_turns_doubts_into_a_code():
    done = CliRunner().invoke(app, ["check", "isaac32nm", "--set", "array.rows=64", "--strict"])
    assert done.exit_code == 2
    assert CliRunner().invoke(app, ["check", "isaac32nm", "--strict"]).exit_code == 0


def test_brackets_in_a_file_are_text(tmp_path):
    path = tmp_path / "mine.yaml"
    text = shipped()["eflash40nm"].replace("summary: ", "summary: '[/bold] and [red] '  # ")
    path.write_text(text.replace("name: eflash40nm", "name: '[/] mine'"))
    assert "[/] mine: [/bold] and [red]" in run("show", str(path))
    assert "[/] mine: valid" in run("check", str(path))
