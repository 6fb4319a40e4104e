from __future__ import annotations

import json
import re
from dataclasses import asdict, replace

import pytest
import torch
import typer

import cimsim
from benchmarks.paper.chip import read_frames
from benchmarks.paper.clips import clips_in
from benchmarks.paper.runner import Done
from benchmarks.paper.ship import main, noise_levels
from cimsim.errors import ConfigError, InputError
from cimsim.video.embedded import embedded_clip
from cimsim.video.io import write_clip
from cimsim.video.metrics import psnr
from cimsim.video.noise import add_awgn
from cimsim.zoo import registry
from cimsim.zoo.lineage import Stage
from cimsim.zoo.weights import Card, load_weights, save_weights

CHIP = "baseline-o1_s8_eflash40nm"


@pytest.fixture
def test_clips(tmp_path):
    for name, scene in (("one", "default"), ("two", "portrait")):
        write_clip(tmp_path / "test" / name, embedded_clip(scene, 2, 32, 32))
    return tmp_path / "test"


@pytest.fixture
def entry(tmp_path):
    """Write a finished entry whose network is the noisy frame plus an error of a given size."""

    def write(name, error, hw=None, sigma=(15.0, 15.0)):
        torch.manual_seed(0)
        model = registry.build("baseline-o1", stride=8).eval()
        with torch.no_grad():
            last = [part for part in model.modules() if isinstance(part, torch.nn.Conv2d)][-1]
            last.weight *= error
        stages = (Stage("cimsim train first", "ab", 1, 2.0, 0), Stage("cimsim train", hw=hw))
        card = Card(
            "baseline-o1", {"stride": 8}, "clips", "MIT", 10, 0.5, "cpu", 0, sigma,
            {"validation": 30.0}, "cimsim train", "0", hw=hw, lineage=stages,
        )  # fmt: skip
        stem = "baseline-o1_s8" + ("" if hw is None else f"_{hw}")
        card = save_weights(model, tmp_path / "out" / name / f"{stem}.safetensors", card)
        done = Done(name, 1.0, None, 10, 20, 0.5, 30.0, 25.0, "cpu", 0, card.sha256, "2026-01-01")
        (tmp_path / "out" / name / "done.json").write_text(json.dumps(asdict(done)))
        return card

    return write


def ship(tmp_path, *names, **changes):
    given = {"out": tmp_path / "out", "test": tmp_path / "test", "weights": tmp_path / "zoo"}
    main(list(names), **(given | {"frames": 2, "seeds": 2} | changes))


@pytest.mark.slow
def test_float_weights_are_measured_and_only_better_ones_replace_them(
    tmp_path, test_clips, entry, capsys
):
    trained = entry("o1", 0.1)
    ship(tmp_path, "o1")
    path = tmp_path / "zoo" / "o1.json"
    card = Card.read(path)
    assert (card.sha256, card.lineage) == (trained.sha256, trained.lineage)
    assert card.psnr_db["validation"] == 30.0
    model = registry.build("baseline-o1", stride=8)
    load_weights(model, card)
    network = cimsim.load_network("baseline-o1", {"stride": 8}, card.file)
    assert network.module is not None
    clean = clips_in(test_clips, 2).clips["two"]
    noisy = add_awgn(clean, 15.0, 0)
    inputs = torch.from_numpy(noisy[[1, 0, 1]]).permute(0, 3, 1, 2).reshape(1, 9, 32, 32)
    with torch.no_grad():  # frame 0: the clip is mirrored at its start
        first = model.eval()(inputs, torch.full((1, 1, 32, 32), 15 / 255))
    inputs = torch.from_numpy(noisy[[0, 1, 0]]).permute(0, 3, 1, 2).reshape(1, 9, 32, 32)
    with torch.no_grad():
        second = model(inputs, torch.full((1, 1, 32, 32), 15 / 255))
    values = [
        psnr(a, b[0].permute(1, 2, 0).clamp(0, 1).numpy())
        for a, b in zip(clean, (first, second), strict=True)
    ]
    assert card.psnr_db["two"] == pytest.approx(sum(values) / 2, abs=0.02)
    assert card.psnr_db["mean of clips"] == pytest.approx(
        (card.psnr_db["one"] + card.psnr_db["two"]) / 2, abs=0.011
    )
    assert "sigma 15" in card.data

    entry("worse", 2.0)
    capsys.readouterr()
    with pytest.raises(typer.Exit) as end:
        ship(tmp_path, "worse", to="o1")
    assert end.value.exit_code == 1
    said = capsys.readouterr().out
    assert "not better than what is shipped" in said
    shown = [float(text) for text in re.findall(r"(\d+\.\d{3}) dB", said)]
    assert shown[0] < shown[1]
    assert shown[1] == pytest.approx(card.psnr_db["mean of clips"], abs=0.006)
    assert Card.read(path) == card
    ship(tmp_path, "worse", to="o1", force=True)
    assert Card.read(path).sha256 != card.sha256
    ship(tmp_path, "o1", licence="CC0", about="two clips")
    assert Card.read(path).licence == "CC0"
    assert Card.read(path).data.startswith("two clips; PSNR on one+two")


@pytest.mark.slow
def test_chip_weights_are_judged_on_the_chip(tmp_path, test_clips, entry):
    entry(CHIP, 0.1, hw="eflash40nm")
    ship(tmp_path, CHIP)
    card = Card.read(tmp_path / "zoo" / f"{CHIP}.json")
    rows = read_frames(tmp_path / "out" / "ship" / "frames.csv")
    assert len(rows) == 4  # two programmings, which share the two frames of two clips
    mean = sum(row.chip_db for row in rows) / 4
    assert card.psnr_db["mean of clips on eflash40nm, 2 programmings"] == round(mean, 2)
    with pytest.raises(typer.Exit):  # it is not better than itself
        ship(tmp_path, CHIP)


def test_a_range_of_noise_is_judged_at_three_levels(tmp_path, test_clips, entry):
    card = entry("blind", 0.1, sigma=(5.0, 55.0))
    assert noise_levels(card) == [15, 25, 50]
    assert noise_levels(replace(card, sigma=(1.0, 3.0))) == [2]
    ship(tmp_path, "blind")
    found = Card.read(tmp_path / "zoo" / "blind.json").psnr_db
    levels = [found[f"mean of clips at sigma {sigma}"] for sigma in (15, 25, 50)]
    assert levels == sorted(levels, reverse=True)


def test_what_cannot_be_shipped_says_so(tmp_path, test_clips, entry):
    with pytest.raises(InputError, match="no finished entry of a queue"):
        ship(tmp_path, "nothing")
    entry("o1", 0.1)
    with pytest.raises(InputError, match=r"no finished entry of a queue; known: o1"):
        ship(tmp_path, "o2")
    with pytest.raises(ConfigError, match="--as x: one name for 2 entries"):
        ship(tmp_path, "o1", "o1", to="x")
    (tmp_path / "out" / "o1" / "baseline-o1_s8.safetensors").unlink()
    (tmp_path / "out" / "o1" / "baseline-o1_s8.json").unlink()
    with pytest.raises(InputError, match=r"that done\.json tells of are gone"):
        ship(tmp_path, "o1")
