"""A run whose noise its weights never saw says so, on the screen and in the JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cimsim
from cimsim.cli.main import app
from cimsim.zoo.weights import Card, card_of, named_card, shipped_cards


def run(tmp_path, *arguments):
    command = ["run", "--size", "32x32", "--frames", "1", "--quiet", "--out", str(tmp_path / "r")]
    done = CliRunner(env={"COLUMNS": "400"}).invoke(app, [*command, *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    doubts = json.loads((tmp_path / "r" / "result.json").read_text())["doubts"]
    return done.output, [doubt for doubt in doubts if doubt["code"] == "noise-not-seen"]


@pytest.mark.slow
def test_noise_beyond_the_training_is_a_doubt_with_a_way_out(tmp_path):
    block = ("--model", "fastdvdnet-block", "--weights", "fastdvdnet-block")
    screen, (doubt,) = run(tmp_path, *block, "--sigma", "25")
    assert doubt["text"].startswith("weights fastdvdnet-block saw noise of 15 only; at 25 ")
    assert "cimsim train --sigma 15..25" in doubt["way"]
    assert f"doubt: {doubt['text']}" in screen


def test_noise_of_the_training_is_none():
    network = cimsim.load_network("fastdvdnet-block", {}, "fastdvdnet-block")
    assert network.doubts(15.0) == ()
    assert network.doubts(14.9)


@pytest.mark.parametrize(
    ("sigma", "fine"), [(4.9, False), (5.0, True), (30.0, True), (55.0, True), (55.1, False)]
)
def test_a_range_holds_its_ends(sigma, fine):
    network = cimsim.load_network("cimnet", {"stride": 8})
    wide = replace(network, card=replace(network.card, sigma=(5.0, 55.0)))
    assert (wide.doubts(sigma) == ()) is fine
    if not fine:
        assert "saw noise of 5..55" in str(wide.doubts(sigma)[0])


def test_shipped_weights_that_cover_the_noise_are_named(monkeypatch):
    network = cimsim.load_network("cimnet", {"stride": 8}, "cimnet_s8")
    blind = replace(named_card("cimnet_s8"), sigma=(5.0, 55.0), file=Path("cimnet_s8_blind.st"))
    monkeypatch.setattr("cimsim.zoo.weights.shipped_cards", lambda: (*shipped_cards(), blind))
    assert "take --weights cimnet_s8_blind or weights of" in str(network.doubts(25.0)[0])


def test_weights_without_a_card_raise_no_doubt(tmp_path):
    card = named_card("cimnet_s8")
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(card.file.read_bytes())
    assert cimsim.load_network("cimnet", {"stride": 8}, copy).doubts(25.0) == ()
    assert cimsim.load_network("cimnet", {"stride": 8}, "random").doubts(25.0) == ()
    copy.with_suffix(".json").write_text(card.to_json())
    assert isinstance(card_of(copy), Card)
    assert cimsim.load_network("cimnet", {"stride": 8}, copy).doubts(25.0)
