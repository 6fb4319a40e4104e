"""Searches: what is proposed, what is never executed, what comes of a kill, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

import cimsim
from benchmarks.studies.search import hypervolume
from cimsim.cli.main import app
from cimsim.errors import CimsimError
from cimsim.studies import engine, grid
from cimsim.studies.optimise import SAMPLERS, Search, Space
from cimsim.studies.store import Store
from cimsim.studies.study import Outcome, Study

np = pytest.importorskip("numpy")
pytest.importorskip("optuna")
FIELDS = {"adc.count": "8..40:8", "process.clock": "50..150:50 MHz", "vector.lanes": "4,8,16"}
CHEAP = {"set": FIELDS, "networks": "cimnet", "frames": 0, "size": "64x64"}
GOALS = (["min energy", "min latency"], ["fps>=1000"])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(autouse=True)
def _kept(store, monkeypatch):
    """Tests ask for the same points again and again."""
    monkeypatch.setattr(engine, "_held", engine._Held(store=store, knows_store=True))


def settings(groups):
    return [tuple(group.settings[name] for name in FIELDS) for group in groups]


@pytest.mark.slow
def test_a_budget_for_everything_finds_the_front_of_the_sweep():
    study = Study(**CHEAP)
    found = Search(study, *GOALS, trials=1000).run()
    swept = study.run(workers=1)
    assert len(found.trials) == len(swept.rows) == 5 * 3 * 3
    wanted = swept.table.where(GOALS[1]).front(GOALS[0])
    assert settings(found.front) == settings(wanted)
    assert 0 < sum(trial.feasible for trial in found.trials) < 45


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_that_stopped_goes_on_with_the_same_bits(tmp_path, sampler):
    study, folder = Study(**CHEAP), tmp_path / "s"
    whole = Search(study, *GOALS, trials=30, sampler=sampler, seed=3).run()
    part = Search(study, *GOALS, trials=12, sampler=sampler, seed=3).run(folder)
    assert len(whole.trials) == 30
    # a torn last line does not count
    path = folder / "points.jsonl"
    path.write_text(path.read_text()[:-40])
    again = Search(study, *GOALS, trials=30, sampler=sampler, seed=3).run(folder)
    assert again.trials == whole.trials
    assert again.trials[:12] == part.trials
    assert len({trial.rows[0]["id"] for trial in again.trials}) == 30
    assert len(path.read_text().splitlines()) == 30 + 1  # nothing twice but the torn line
    assert Outcome.load(folder).rows == again.outcome.rows
    other = Search(study, ["min energy"], trials=30, sampler=sampler, seed=3)
    with pytest.raises(CimsimError, match="another study"):
        other.run(folder)


def test_what_misses_a_limit_beforehand_is_never_executed(monkeypatch):
    """The limit is on throughput: known without a frame, and met by a few points only."""
    executed, real = [], engine.row_of

    def row_of(point, cached=True):
        if point.frames.count:
            executed.append(dict(point.settings))
            rows = real(cheap(point), cached)
            psnr = {
                "value": 20.0 + point.seeds.reads,
                "unit": "dB",
                "meaning": "",
                "interval": None,
            }
            return rows | {"id": engine.identity(point), "settings": dict(point.settings),
                           "numbers": rows["numbers"] | {"quality.chip_psnr": psnr}}  # fmt: skip
        return real(point, cached)

    from cimsim.studies.optimise import _before as cheap

    monkeypatch.setattr(engine, "row_of", row_of)
    study = Study(**{**CHEAP, "frames": 2, "seeds": 2})
    found = Search(study, ["max psnr", "min energy"], ["fps>=1000"], trials=1000).run()
    sifted = [trial for trial in found.trials if trial.sifted]
    kept = [trial for trial in found.trials if not trial.sifted]
    assert sifted
    assert kept
    assert all(trial.misses[0] > 0 and len(trial.rows) == 1 for trial in sifted)
    assert len(executed) == 2 * len(kept)
    fps = "timing.frames_per_second"
    assert all(row["numbers"][fps]["value"] < 1000 for trial in sifted for row in trial.rows)
    assert all(row["numbers"][fps]["value"] >= 1000 for trial in kept for row in trial.rows)
    assert all(group.cells["quality.chip_psnr"].value == 20.5 for group in found.front)
    assert "sifted" in found.summary


def test_points_without_a_result_are_worst_and_stop_nobody():
    given = CHEAP | {"set": {"tile.count": [2, 3, 60, 76, 152], "adc.count": [16, 64]}}
    found = Search(Study(**given), ["min area", "min latency"], trials=100).run()
    assert sum(not trial.feasible for trial in found.trials) == 4
    assert {g.settings["tile.count"] for g in found.front} == {60}


def test_neighbours_are_neighbours_only_where_values_are_numbers():
    values = {"adc.bits": "4..8", "process.clock": "50..100:25 MHz",
              "adc.count": [64, 8, 32],
              "tile.idle": ["on", "clock_gated", "power_gated"],
              "vector.lanes": [4, 8]}  # fmt: skip
    space = Space(grid.from_data({"set": values}))
    ordered = [axis for axis in space.axes if space.ordered(axis)]
    assert ordered == ["set adc.bits", "set process.clock"]
    assert space.size == 5 * 3 * 3 * 3 * 2
    assert len(set(space.every())) == space.size


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--set", "adc.bits=4..6"], "--objective"),
        (["--objective", "goodness", "--set", "adc.bits=4..6"], "goodness"),
        (["--objective", "best psnr", "--set", "adc.bits=4..6"], "expected such as"),
        (["--objective", "psnr", "--set", "adc.bits=4..6"], "psnr"),  # no frames, no PSNR
        (["--objective", "timing.bottleneck", "--set", "adc.bits=4..6"], "no number but a name"),
        (["--objective", "energy", "--objective", "min energy", "--set", "adc.bits=4..6"], "twice"),
        (["--objective", "energy", "--constraint", "fps>>3", "--set", "adc.bits=4..6"], "fps>=30"),
        (["--objective", "energy", "--constraint", "fpss>3", "--set", "adc.bits=4..6"], "fpss"),
        (["--objective", "energy"], "nothing varies"),
        (["--objective", "energy", "--set", "adc.bitz=4..6"], "bitz"),
        (["--objective", "energy", "--set", "adc.bits=6..4"], "empty"),
        (["--objective", "energy", "--sigma", "5,10"], "2 sigmas"),
        (["--objective", "energy", "--set", "adc.bits=4..6", "--trials", "0"], "trials"),
        (["--objective", "energy", "--set", "adc.bits=4..6", "--minutes", "0"], "minutes"),
        (["--objective", "energy", "--set", "tile.count=1,2"], "none of"),
        (["--objective", "energy", "nothere.yaml"], "nothere.yaml"),
    ],
)
def test_bad_input_is_one_message(options, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [] if "nothere.yaml" in options else ["--frames", "0", "--size", "64x64"]
    found = CliRunner().invoke(app, ["search", *options, *small, "--workers", "1"])
    assert isinstance(found.exception, CimsimError), found.output
    assert told in str(found.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("objective", "constraint"),
    [("nonsense", "fps>=30"), ("max nonsense", "fps>=30"), ("nonsense.psnr", "fps>=30"),
     ("psnr", "nonsense>=30")],
)  # fmt: skip
def test_a_name_of_nothing_is_refused_before_anything_is_computed(objective, constraint):
    with pytest.raises(CimsimError, match=r"no number '.*nonsense.*' in any result; known: psnr"):
        Search(Study(set={"adc.bits": "4..6"}), [objective], [constraint])


def test_without_optuna_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(CimsimError, match=r"cimsim\[search\]"):
        Search(Study(**CHEAP), *GOALS, trials=20).run()


def test_the_command_writes_a_study(tmp_path):
    options = ["--set", "adc.count=8..64:8", "--set", "vector.lanes=4,8,16", "--frames", "0",
               "--size", "64x64"]  # fmt: skip
    folder = tmp_path / "s"
    found = CliRunner().invoke(
        app, ["search", *options, "--objective", "energy", "--objective", "latency", "--trials",
              "12", "--workers", "1", "--no-cache", "--out", str(folder)], catch_exceptions=False,
    )  # fmt: skip
    assert found.exit_code == 0
    assert "12 trials" in found.output
    shown = CliRunner().invoke(app, ["study", "show", str(folder)], catch_exceptions=False)
    assert "12 points" in shown.output
    assert json.loads((folder / "study.json").read_text())["search"]["sampler"] == "tpe"
    plain = CliRunner().invoke(app, ["sweep", *options, "--out", str(folder)])
    assert "another study" in str(plain.exception)


def test_hypervolume_is_the_area_that_is_beaten():
    points = np.array([[1.0, 3.0], [2.0, 1.0], [2.5, 2.0], [9.0, 0.0]])
    assert hypervolume(points, np.array([4.0, 4.0])) == pytest.approx(3 * 1 + 2 * 2)
    assert cimsim.Search is Search


@pytest.mark.slow
def test_a_killed_search_goes_on_without_loss(tmp_path):
    folder = tmp_path / "s"
    sets = [f"--set={path}={held}" for path, held in FIELDS.items()]
    (energy, latency), (limit,) = GOALS
    goals = ["--objective", energy, "--objective", latency, "--constraint", limit]
    command = [sys.executable, "-m", "cimsim", "search", *sets, *goals, "--frames", "0",
               "--size", "64x64", "--trials", "40", "--workers", "1", "-q", "--out",
               str(folder)]  # fmt: skip
    environment = os.environ | {"CIMSIM_CACHE": "off"}
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    path = folder / "points.jsonl"
    for _ in range(6000):
        if path.exists() and path.read_bytes().count(b"\n") >= 15:
            break
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert 15 <= len(engine.kept_rows(folder)) < 40
    before = path.read_text().splitlines()[:15]
    plan = grid.from_data({"name": "search", **CHEAP})
    again = Search(Study.of(plan), *GOALS, trials=40).run(folder, cached=False)
    whole = Search(Study.of(plan), *GOALS, trials=40).run(cached=False)
    assert again.trials == whole.trials
    assert path.read_text().splitlines()[:15] == before
