"""A result that was edited is noticed, and what is written is strict JSON."""

import functools
import json
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.errors import InputError, SimulationError
from cimsim.session import stored
from cimsim.session.environment import environment


class Grey(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return x - self.a(x)


def mapped(title="net"):
    torch.manual_seed(0)
    graph = cimsim.trace(Grey().eval(), (torch.zeros(1, 3, 16, 16),), name=title)
    return cimsim.map_graph(graph, cimsim.load_hw("example_minimal"))


@functools.cache
def result(sigma=15.0, title="net"):
    clip = np.full((1, 16, 16, 3), 0.5, np.float32)
    return cimsim.simulate(mapped(title), clip, noise_sigma=sigma, title=title, threads=1)


def test_it_comes_back_as_it_was(tmp_path):
    file = tmp_path / "result.json"
    file.write_text(result().to_json())
    back = cimsim.Result.load(file)
    assert back == result()
    assert back.to_json() == result().to_json()
    assert back.environment == environment()
    assert set(back.outputs) == {"noisy", "float", "chip"}


def test_every_edited_digit_is_noticed(tmp_path):
    text, file = result().to_json(), tmp_path / "result.json"
    places = [found.start() for found in re.finditer(r"\d", text)]
    for place in places[:: max(1, len(places) // 60)]:
        other = "1" if text[place] != "1" else "2"
        edited = text[:place] + other + text[place + 1 :]
        if json.loads(edited) == json.loads(text):  # the seventeenth digit may change no number
            continue
        file.write_text(edited)
        with pytest.raises(InputError, match=r"SHA-256|no result of this version|schema|expected"):
            cimsim.Result.load(file)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda data: data["timing"].pop("clock_hz"), r"timing\.clock_hz"),
        (lambda data: data["timing"].update(clock_hz="fast"), r"timing\.clock_hz"),
        (lambda data: data["timing"].update(latency_cycles=1.5), r"timing\.latency_cycles"),
        (lambda data: data.update(layers=3), "layers"),
        (lambda data: data["doubts"].append({"code": 3}), "doubts"),
        (lambda data: data.update(more=1), "more"),
        (lambda data: data.update(schema_version=1), "schema_version 1, expected"),
        (lambda data: data["inputs"].update(seed=7), "the inputs were edited"),
    ],
)
def test_what_fits_no_schema_is_refused_also_when_it_is_signed(tmp_path, change, part):
    data = json.loads(result().to_json())
    change(data)
    data["sha256"] = stored.seal(data)
    file = tmp_path / "result.json"
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match=part):
        cimsim.Result.load(file)


def test_a_clip_without_noise_is_strict_json(tmp_path):
    quiet = result(0.0)
    assert quiet.quality.mean("noisy_psnr") == math.inf
    data = json.loads(quiet.to_json(), parse_constant=pytest.fail)
    assert data["numbers"]["quality.noisy_psnr"]["value"] is None
    (tmp_path / "result.json").write_text(quiet.to_json())
    assert cimsim.Result.load(tmp_path) == quiet


def test_an_infinite_energy_is_no_result():
    import dataclasses

    wrong = dataclasses.replace(
        result(), energy=dataclasses.replace(result().energy, average_power_w=math.inf)
    )
    with pytest.raises(SimulationError, match=r"energy\.average_power.*expected a finite number"):
        wrong.to_json()


def test_titles_do_not_change_the_hash_and_inputs_do():
    assert result(title="another title").hash == result().hash
    assert result(title="another title").outputs == result().outputs
    assert result(0.0).hash != result().hash
