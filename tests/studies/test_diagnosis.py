"""What a diagnosis says, held against chips that are really run without a cause."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import cimsim
from cimsim.engine import error_parts
from cimsim.errors import InputError
from cimsim.studies.diagnosis import diagnose
from cimsim.studies.diagnosis_screen import print_diagnosis
from cimsim.studies.switching import GROUPS, switched
from cimsim.tasks.questions import Classification, Comparison
from cimsim.tasks.sources import Arrays

SIGMA = 2.0  # little noise: what the chip adds is seen
FAST = {"tile.count": 8, "array.rows": 128, "array.cols": 64}
EXACT = {"device.sigma_program": 0, "device.sigma_read": 0, "adc.kind": "ideal"}


class Chain(nn.Module):
    """Two convolutions one behind the other that nearly give back the frame."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight.mul_(0.05)
                layer.bias.fill_(0.1 if layer is self.first else -0.1)
            for c in range(6):
                self.first.weight[c, c % 3, 1, 1] += 1
                self.second.weight[c % 3, c, 1, 1] += 0.5

    def forward(self, frames):
        return self.second(torch.relu(self.first(frames)))


class Classes(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.first, self.last = nn.Linear(12, 20), nn.Linear(20, 3)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


@pytest.fixture(scope="module")
def clip():
    ramp = np.linspace(40, 200, 24 * 32 * 3).reshape(1, 24, 32, 3)
    noise = np.random.default_rng(0).normal(0, 20, (2, 24, 32, 3))
    return np.clip(ramp + noise, 0, 255).astype(np.uint8)


def placed(overrides=None, net=None, example=None):
    chip = cimsim.load_hw("eflash40nm", {**FAST, **(overrides or {})})
    example = torch.zeros(1, 3, 24, 32) if example is None else example
    graph = cimsim.trace((net or Chain()).eval(), (example,), name="net")
    return cimsim.map_graph(graph, chip)


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"calibration.column_gain": False},
        {"calibration.column_gain": False, "calibration.column_offset": False},
        {"adc.noise_lsb": 1.0, "adc.gain_sigma": "2 %"},
        {"dac.bits": 1},
        {"inputs.signed": "rows", "array.rows": 256},
        {"conditions.time": "365 d"},
        {"wires.model": "exact", "wires.r_bit": "20 ohm"},
        {"dac.gain_sigma": "2 %"},
    ],
    ids=lambda o: "-".join(o) or "plain",
)  # fmt: skip
def test_layers_and_causes_add_up_to_the_loss(clip, overrides):
    found = diagnose(placed(overrides), clip, noise_sigma=SIGMA)
    assert found.first.loss > 0.02
    assert found.first.total == pytest.approx(found.first.loss, rel=1e-3)
    for layer in found.layers:  # the causes of a layer make up its error, cross terms aside
        powers = sum(10 ** (-snr / 10) for snr in layer.snr_by_cause_db.values())
        assert powers == pytest.approx(10 ** (-layer.snr_alone_db / 10), rel=0.4)
        assert layer.snr_db <= layer.snr_alone_db + 1


def test_a_part_that_is_ideal_gives_nothing(clip):
    found = diagnose(placed(EXACT), clip, noise_sigma=SIGMA)
    assert set(found.causes) <= {"input bits", "input clipping", "weight bits"}
    told = found.first.by_cause
    assert abs(told.get("converter steps", 0.0)) < 1e-4  # what no cause explains would stand there
    still = diagnose(placed({"device.sigma_read": 0}), clip, noise_sigma=SIGMA)
    assert "read noise" not in still.first.by_cause
    ideal = diagnose(placed({"adc.kind": "ideal"}), clip, noise_sigma=SIGMA).first.by_cause
    assert abs(ideal.get("converter steps", 0.0)) < 0.01 * sum(ideal.values())


@pytest.mark.parametrize(
    "overrides",
    [{"device.sigma_program": "6 %"}, {"device.sigma_read": "6 %"}, {"adc.bits": 5},
     {"inputs.bits": 4, "dac.bits": 4}],
    ids=["programming", "read noise", "converters", "inputs"],
)  # fmt: skip
def test_shares_are_what_switching_measures(clip, overrides):
    """The mean of "without it" and "it alone" is the share, where a cause is large enough."""
    mapping = placed(overrides)
    found = switched(diagnose(mapping, clip, noise_sigma=SIGMA), mapping, clip, noise_sigma=SIGMA)
    assert {"programming", "read noise", "converters"} <= {one.cause for one in found.switched}
    for one in found.switched:
        share = sum(found.first.by_cause.get(cause, 0.0) for cause in GROUPS[one.cause])
        # two switched chips draw other noise for other codes: a twentieth of the loss is allowed
        measured = (one.off + one.on) / 2
        assert share == pytest.approx(measured, rel=0.2, abs=0.06 * found.first.loss)


def test_a_few_stretches_of_a_map_say_what_all_of_it_does(clip, monkeypatch):
    whole = diagnose(placed(), clip, noise_sigma=SIGMA).first
    monkeypatch.setattr(error_parts, "LIMIT", 128)
    some = diagnose(placed(), clip, noise_sigma=SIGMA).first
    assert some.loss == whole.loss
    assert some.by_layer == pytest.approx(whole.by_layer, rel=1e-6)
    for cause, gives in whole.by_cause.items():
        assert some.by_cause[cause] == pytest.approx(gives, abs=0.15 * whole.loss)


def test_threads_do_not_matter(clip):
    one, two = (diagnose(placed(), clip, noise_sigma=SIGMA, threads=n).first.gives for n in (1, 2))
    assert one == two


@pytest.mark.slow
def test_accuracy_is_shared_among_layers():
    data = np.random.default_rng(1).normal(size=(400, 12)).astype(np.float32)
    net = Classes().eval()
    labels = net(torch.from_numpy(data)).argmax(1).numpy()
    source = Arrays((data,), labels)
    mapping = placed({"device.sigma_program": "15 %", "calibration.column_gain": False}, net,
                     torch.zeros(1, 12))  # fmt: skip
    found = diagnose(mapping, task=Classification(source=source))
    by_name = {one.name: one for one in found.attributions}
    top1 = by_name["top-1"]
    assert top1.reference == 100
    assert found.first is top1
    assert top1.loss > 5
    assert top1.total == pytest.approx(top1.loss, rel=1e-3)
    assert by_name["output error"].total == pytest.approx(100, rel=1e-3)
    assert max(top1.by_cause, key=top1.by_cause.get) == "programming"
    other = diagnose(mapping, task=Comparison(source=source), detailed=400)
    assert [one.name for one in other.attributions] == ["output error"]
    assert other.detailed == other.samples


def test_files_and_screen(clip):
    found = diagnose(placed(), clip, noise_sigma=SIGMA)
    held = json.loads(found.to_json())
    assert held["attributions"][0]["sum"] == found.first.total
    rows = list(csv.reader(io.StringIO(found.to_csv())))
    assert len(rows) == 1 + sum(len(layer.snr_by_cause_db) for layer in found.layers)
    for width in (80, 120, 160):
        console = Console(width=width, file=io.StringIO(), force_terminal=False)
        print_diagnosis(found, console)
        text = console.file.getvalue()
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        assert "programming" in text
    from cimsim.report.run.page.diagnosed import diagnosis_page

    page = diagnosis_page(held)
    assert "heat" in page or "<svg" in page
    assert found.layers[0].name in page


def test_what_cannot_be_diagnosed_is_refused(clip):
    with pytest.raises(InputError, match="give a clip for a denoiser, or a task"):
        diagnose(placed())
    with pytest.raises(InputError, match="detailed"):
        diagnose(placed(), clip, detailed=0)
