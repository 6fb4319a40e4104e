from __future__ import annotations

import csv
import json
import signal

import numpy as np
import pytest
import typer
import yaml
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

from benchmarks.paper.job import Budget
from benchmarks.paper.recipe import load_recipe
from benchmarks.paper.runner import DONE, Done, Runner
from benchmarks.paper.train import main
from cimsim.errors import ConfigError
from cimsim.training.data import Clip, Dataset
from cimsim.video.io import write_clip
from cimsim.zoo.weights import Card

COMMON = {
    "seed": 3, "batch": 2, "crop": 32, "sigma": 15, "lr": 1e-3, "warmup_steps": 2,
    "validation_scenes": 1, "validation_crop": 32,
}  # fmt: skip
O1, O2 = {"model": "baseline-o1", "stride": 8}, {"model": "baseline-o2", "stride": 8}


class Training:
    def __init__(self, runner, jobs):
        self.runner, self.jobs, self.out = runner, jobs, runner.out


def textures(count=3):
    rng = np.random.default_rng(0)
    for index in range(count):
        field = gaussian_filter(rng.standard_normal((40, 40, 3)), (3, 3, 0), mode="wrap")
        image = np.clip(128 + 45 * field / field.std(), 0, 255).astype(np.uint8)
        yield Clip(
            f"{index}", f"s{index}", np.stack([np.roll(image, shift, axis=0) for shift in range(3)])
        )


@pytest.fixture(scope="module")
def dataset():
    clips = tuple(textures())
    return Dataset(clips[1:], clips[:1], ())


@pytest.fixture
def recipe_file(tmp_path):
    def write(*networks, **common):
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump({"common": COMMON | common, "networks": list(networks)}))
        return path

    return write


@pytest.fixture
def runner(tmp_path, dataset, recipe_file):
    def make(*networks, steps=2, out="out", **common):
        recipe = load_recipe(recipe_file(*networks, **common))
        jobs = [recipe.job(entry, Budget(steps=steps)) for entry in recipe.select()]
        return Training(Runner(tmp_path, tmp_path / out, dataset=dataset), jobs)

    return make


def outcomes(training, progress=None):
    return list(training.runner.run(training.jobs, progress))


def test_the_shipped_recipe_lists_every_network_of_the_figures():
    recipe = load_recipe()
    usual = {entry.stem for entry in recipe.select()}
    families = ("baseline-o1", "baseline-o2", "cimnet", "abla-net")
    blind = {"baseline-o2_s8_blind", "cimnet_s8_coarse1_blind"}  # trained over all noise levels
    plain = {"fastdvdnet-block"} | {f"{m}_s{s}" for m in families for s in (2, 4, 8)}
    plain = plain - {"cimnet_s8"} | {"cimnet_s8_coarse1"}  # as the paper draws it
    assert usual == plain | blind
    seen = {e.stem: recipe.settings(e)["sigma"] for e in recipe.networks}
    assert {stem for stem, sigma in seen.items() if sigma == (5, 55)} == blind
    extra = {entry.stem for entry in recipe.select(everything=True)} - usual
    assert extra == {"baseline-o1_s16", "baseline-o2_s16", "cimnet_s16_coarse1"}
    assert [e.stem for e in recipe.select(["cimnet_s16_coarse1", "abla-net"])] == [
        "abla-net_s2", "abla-net_s4", "abla-net_s8", "cimnet_s16_coarse1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("networks", "common", "message"),
    [
        ([O1 | {"strid": 8}], {}, r"networks.0.strid: unknown key.*did you mean stride"),
        ([O1 | {"overrides": {"seed": 4}}], {}, r"networks.0.overrides.seed: unknown key"),
        ([{"model": "baseline-o1"}], {}, r"networks.0: baseline-o1: stride: missing"),
        ([{"model": "cimnet", "stride": 3}], {}, r"networks.0: cimnet: stride: expected one of"),
        ([{"model": "cinmet", "stride": 8}], {}, r"'cinmet' is unknown.*did you mean cimnet"),
        ([O1, O1], {}, r"file: networks: baseline-o1_s8: listed more than once"),
        ([O1], {"sigma": [20, 5]}, r"common.sigma: expected 0 <= low <= high, got 20, 5"),
        ([O1], {"batch": 0}, r"common.batch: Input should be greater than 0, got 0"),
    ],
)
def test_a_wrong_recipe_names_the_place(recipe_file, networks, common, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(recipe_file(*networks, **common))


@pytest.mark.slow
def test_each_network_gets_its_folder_with_weights_card_and_note(runner):
    run = runner(O1, O2 | {"overrides": {"lr": 5e-4}})
    found = outcomes(run)
    assert [(o.network, o.state) for o in found] == [
        ("baseline-o1_s8", "trained"), ("baseline-o2_s8", "trained"),
    ]  # fmt: skip
    folder = run.out / "baseline-o2_s8"
    card, done = Card.read(folder / "baseline-o2_s8.json"), Done.read(folder)
    assert (card.steps, card.seed, card.sigma) == (2, 3, (15.0, 15.0))
    assert "--lr 0.0005" in card.command
    assert (done.steps, done.crops, done.sha256) == (2, 4, card.sha256)
    assert load_file(card.file)


@pytest.mark.slow
def test_what_is_done_is_skipped_and_a_larger_budget_goes_on(runner):
    outcomes(runner(O1))
    before = (runner(O1).out / "baseline-o1_s8" / "baseline-o1_s8.safetensors").stat().st_mtime_ns
    steps = []
    (again,) = outcomes(runner(O1), lambda job, report: steps.append(report.step))
    assert (again.state, again.done.steps, steps) == ("done before", 2, [])
    (smaller,) = outcomes(runner(O1, steps=1))
    assert smaller.state == "done before"
    path = runner(O1).out / "baseline-o1_s8" / "baseline-o1_s8.safetensors"
    assert path.stat().st_mtime_ns == before
    (more,) = outcomes(runner(O1, steps=4), lambda job, report: steps.append(report.step))
    assert (more.state, more.done.steps, steps) == ("trained", 4, [3, 4])


@pytest.mark.slow
def test_an_interrupted_network_goes_on_exactly(runner):
    def stop(job, report):
        if (job.name, report.step) == ("baseline-o2_s8", 1):
            signal.raise_signal(signal.SIGINT)

    first = outcomes(runner(O1, O2, steps=3), stop)
    assert [o.state for o in first] == ["trained", "interrupted"]
    rest = outcomes(runner(O1, O2, steps=3))
    assert [o.state for o in rest] == ["done before", "trained"]
    (whole,) = outcomes(runner(O2, steps=3, out="whole"))
    assert rest[1].done.sha256 == whole.done.sha256


@pytest.mark.slow
def test_one_failure_does_not_stop_the_others(runner):
    run = runner(O1 | {"overrides": {"start": "nowhere.pt"}}, {"model": "fastdvdnet-block"}, O2)
    run.out.mkdir()
    (run.out / "fastdvdnet-block").write_text("in the way")  # no folder can be made here
    found = outcomes(run)
    assert [o.state for o in found] == ["failed", "failed", "trained"]
    assert "'nowhere.pt' is no weight file" in found[0].error
    assert "FileExistsError" in found[1].error
    assert not (run.out / "baseline-o1_s8" / DONE).exists()


@pytest.mark.slow
def test_other_settings_are_refused_but_a_failed_start_may_be_repaired(runner):
    outcomes(runner(O1))
    (found,) = outcomes(runner(O1, lr=2e-3))
    assert found.state == "failed"
    assert "lr was 0.001, is 0.002" in found.error
    outcomes(runner(O2 | {"overrides": {"start": "nowhere.pt"}}))
    (repaired,) = outcomes(runner(O2))
    assert repaired.state == "trained"


def test_a_damaged_note_says_what_to_do(runner):
    outcomes(runner(O1))
    (runner(O1).out / "baseline-o1_s8" / DONE).write_text("{")
    (found,) = outcomes(runner(O1))
    assert "done.json: cannot be read" in found.error


def test_a_budget_is_needed():
    with pytest.raises(ConfigError, match="--budget-minutes: missing"):
        Budget()
    with pytest.raises(ConfigError, match="--budget-minutes: expected a number above 0, got 0"):
        Budget(minutes=0)


@pytest.mark.parametrize(
    ("mine", "other", "covered"),
    [
        (Budget(minutes=30), Budget(minutes=30), True),
        (Budget(minutes=30), Budget(minutes=31), False),
        (Budget(steps=5), Budget(minutes=1), False),
        (Budget(minutes=9, steps=5), Budget(minutes=9, steps=5), True),
    ],
)
def test_which_budget_covers_which(mine, other, covered):
    assert mine.covers(other) is covered


def test_the_command_reads_a_folder_and_tells_of_failures(tmp_path, recipe_file, capsys):
    data = tmp_path / "clips"
    data.mkdir()
    with (data / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "scene"])
        for clip in textures():
            write_clip(data / f"{clip.name}.mkv", clip.frames)
            writer.writerow([f"{clip.name}.mkv", clip.scene])
    bad = {"model": "fastdvdnet-block", "overrides": {"start": "nowhere.pt"}}
    recipe, out = recipe_file(O1, bad), tmp_path / "out"
    main(data, out, budget_steps=1, recipe=recipe, plan=True)
    assert "to do" in capsys.readouterr().out
    assert not out.exists()
    with pytest.raises(typer.Exit) as end:
        main(data, out, budget_steps=1, recipe=recipe)
    assert end.value.exit_code == 1
    text = capsys.readouterr().out
    assert "baseline-o1_s8: trained" in text
    assert "fastdvdnet-block: failed: train: start: 'nowhere.pt' is no weight file" in text
    assert json.loads((out / "baseline-o1_s8" / DONE).read_text())["steps"] == 1
    main(data, out, budget_steps=1, recipe=recipe, only=["baseline-o1_s8"])
    assert "done before" in capsys.readouterr().out
