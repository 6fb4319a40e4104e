"""What parts give, where it is known: by hand in float64, and exactly nothing."""

import csv
import io
import json
import math

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import cimsim
from cimsim.errors import InputError
from cimsim.graph.cutting import Cut, branches, changed, rest_of, without
from cimsim.studies.ablation import channel_mean
from cimsim.studies.ablation_screen import print_ablation, words
from cimsim.studies.contributions import Loss
from cimsim.studies.measures import Measure, denoising

SIZE = 12, 16
FAST = {"tile.count": 8, "array.rows": 64, "array.cols": 64}
EXACT = FAST | {"device.sigma_program": 0, "device.sigma_read": 0, "adc.kind": "ideal"}


class Sum(nn.Module):
    """Two 1 x 1 convolutions of the frame, added; the second one scaled."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        generator = np.random.default_rng(5)
        for layer, size in ((self.one, 0.7), (self.two, 0.2)):
            matrix = np.eye(3) * size + generator.uniform(-0.05, 0.05, (3, 3))
            layer.weight.data = torch.from_numpy(matrix[:, :, None, None]).float()
            layer.bias.data = torch.from_numpy(generator.uniform(0, 0.05, 3)).float()
        self.scale = scale

    def forward(self, frames):
        return self.one(frames) + self.two(frames) * self.scale


class Chain(nn.Module):
    """Two convolutions one behind the other, and a path around them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, frames):
        return frames - 0.1 * self.second(torch.relu(self.first(frames)))


class Skip(nn.Module):
    """A path of two convolutions, a shorter one beside it, and a convolution behind both."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.middle = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, frames):
        wide = torch.relu(self.first(frames))
        return self.last(wide + torch.relu(self.middle(wide)))


def clip(frames=2, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, (frames, *SIZE, 3)).astype(np.float32)


def graph_of(module):
    return cimsim.trace(module.eval(), (torch.zeros(1, 3, *SIZE),), name="net")


def chip(changes=EXACT):
    return cimsim.load_hw("eflash40nm", changes)


def ablate(module, changes=EXACT, **options):
    options = {"calibration": clip(2, seed=9)} | options
    return cimsim.ablate(graph_of(module), chip(changes), clip(), **options)


def frames_of(measure):
    return [inputs[0][0].double().numpy() for inputs in measure.inputs]


def applied(layer, x):
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    return np.einsum("oi,ihw->ohw", weight[:, :, 0, 0], x) + bias[:, None, None]


def psnr(clean, image):
    shown = np.clip(image.transpose(1, 2, 0), 0, 1)
    return -10 * math.log10(np.mean((clean.astype(np.float64) - shown) ** 2))


def test_a_sum_of_two_known_parts_loses_what_the_other_one_misses():
    module = Sum()
    measure = denoising(
        cimsim.map_graph(graph_of(module), chip()), clip(), calibration=clip(2, seed=9)
    )
    found = ablate(module, on_chip=False)
    clean, noisy = clip(), frames_of(measure)
    calibration = [inputs[0][0].double().numpy() for inputs in measure.calibration]
    for name, layer, other in (("two", module.two, module.one), ("one", module.one, module.two)):
        # Sum scales the second part by 1.0, so its operand is behind a multiplication
        label = next(c.part.label for c in found.contributions
                     if c.part.kind == "branch" and c.matrices == (name,))  # fmt: skip
        zero, mean = found[label].variants
        whole = [psnr(c, applied(layer, x) + applied(other, x))
                 for c, x in zip(clean, noisy, strict=True)]  # fmt: skip
        left_out = [psnr(c, applied(other, x)) for c, x in zip(clean, noisy, strict=True)]
        constant = np.mean([applied(layer, x).mean((1, 2)) for x in calibration], axis=0)
        by_mean = [psnr(c, applied(other, x) + constant[:, None, None])
                   for c, x in zip(clean, noisy, strict=True)]  # fmt: skip
        for variant, without_it in ((zero, left_out), (mean, by_mean)):
            losses = np.subtract(whole, without_it)
            assert variant.loss.value == pytest.approx(losses.mean(), abs=2e-5)
            assert variant.loss.noise == pytest.approx(losses.std(ddof=1) / 2**0.5, abs=2e-5)
        # a layer that an addition reads alone, by its mean, is that branch by its mean
        assert found[f"layer {name}"].best.loss.value == pytest.approx(mean.loss.value, abs=1e-9)
    assert found.score == pytest.approx(np.mean(whole), abs=2e-5)


def test_a_branch_times_zero_gives_exactly_nothing_in_float_and_on_a_noisy_chip():
    found = ablate(Sum(scale=0.0), FAST, programmings=2)
    nothing = next(c for c in found.contributions if c.matrices == ("two",))
    assert nothing.part.kind == "branch"
    for variant in nothing.variants:
        assert (variant.loss.value, variant.loss.noise) == (0.0, 0.0)
        assert (variant.chip_loss.value, variant.chip_loss.noise) == (0.0, 0.0)
    assert found["layer two"].best.chip_loss.value == 0.0
    assert [c.part.label for c in found.could_go] == [nothing.part.label]
    # of 2 matrices and arrays one of each is left, and the energy is that of half the work
    left = nothing.variants[0].costs
    assert (found.costs.matrices, left.matrices) == (2, 1)
    assert (found.costs.arrays, left.arrays) == (2, 1)
    assert left.energy_j < found.costs.energy_j
    assert left.interval_cycles <= found.costs.interval_cycles


def test_savings_are_those_of_the_smaller_network_itself():
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = Sum().one

        def forward(self, frames):
            return self.one(frames)

    found = ablate(Sum(), on_chip=False)
    small = ablate(One(), on_chip=False)
    branch = next(c for c in found.contributions if c.matrices == ("two",))
    assert branch.variants[0].costs == small.costs


def test_on_an_exact_chip_the_losses_are_those_in_float():
    found = ablate(Sum())
    for each in found.contributions:
        for variant in each.variants:
            # 8-bit inputs and weights move the PSNR a little
            assert variant.chip_loss.value == pytest.approx(variant.loss.value, abs=0.05)


def test_a_mean_is_taken_per_channel_over_positions_and_frames():
    values = np.random.default_rng(0).normal(size=(1, 5, 3, 4)).astype(np.float32)
    expected = values.astype(np.float64).mean((0, 2, 3))
    assert np.array_equal(channel_mean(torch.from_numpy(values)).numpy().reshape(-1), expected)
    rows = torch.from_numpy(values[0])  # [B, positions, features]
    assert channel_mean(rows).numpy().reshape(-1) == pytest.approx(
        values[0].astype(np.float64).mean((0, 1)), rel=1e-15
    )


def test_a_layer_by_its_mean_equals_a_numpy_computation():
    module = Chain()
    found = ablate(module, on_chip=False)
    measure = denoising(
        cimsim.map_graph(graph_of(module), chip()), clip(), calibration=clip(2, seed=9)
    )
    with torch.no_grad():
        hidden = [torch.relu(module.first.double()(i[0].double())) for i in measure.calibration]
        mean = torch.stack(hidden).mean((0, 1, 3, 4))
        constant = mean.view(1, 4, 1, 1).expand(1, 4, *SIZE)
        part = 0.1 * module.second.double()(constant)[0].numpy()
        losses = []
        for clean, inputs in zip(clip(), measure.inputs, strict=True):
            x = inputs[0].double()
            whole = 0.1 * module.second(torch.relu(module.first(x)))[0].numpy()
            losses.append(psnr(clean, x[0].numpy() - whole) - psnr(clean, x[0].numpy() - part))
    first = found["layer first"]
    assert first.best.loss.value == pytest.approx(np.mean(losses), abs=1e-4)
    # behind a constant map the second matrix does the same in every frame: it goes, too
    assert first.matrices == ("first", "second")
    assert first.best.costs.arrays == 0


def test_a_run_that_begins_in_the_middle_has_the_bits_of_a_whole_one():
    from cimsim.engine.execute import execute
    from cimsim.engine.written import written

    graph = graph_of(Skip())
    mapping = cimsim.map_graph(graph, chip(FAST))
    measure = denoising(mapping, clip())
    cells, _ = written(mapping, list(measure.calibration), 4, 1, lambda *_: None)
    inputs, names = measure.inputs[1], [op.name for op in graph]
    kept = graph.with_ops(graph, (*graph.outputs, *names))
    outputs = execute(cells, inputs, 1, 4, graph=kept).outputs
    values = dict(zip(names, outputs[1:], strict=True))
    expected = execute(cells, inputs, 1, 4).outputs[0]
    assert torch.equal(outputs[0], expected)

    def run(rest):
        return execute(cells, tuple(values[op.name] for op in rest.inputs), 1, 4, graph=rest)

    for name in names:
        rest = rest_of(graph, changed(graph, [Cut(name)]))
        assert torch.equal(run(rest).outputs[0], expected), name
    # the value that an operand has anyway, as a constant in its place, changes nothing
    cuts = [cut for part in branches(graph) for cut in part.cuts]
    assert len(cuts) == 2
    for cut in cuts:
        rest = rest_of(without(graph, {cut: values[cut.value]}), changed(graph, [cut]))
        assert {op.name for op in rest.matrix_ops} == {"last"}
        assert torch.equal(run(rest).outputs[0], expected), cut


def test_noise_is_that_of_frames_and_of_programmings():
    table = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]])
    found = Loss.of(table)
    assert found.value == 2.5
    # frames: means 1.5, 2.5, 3.5, variance 1, over 3; programmings: means 2, 3, variance 0.5, / 2
    assert found.noise == pytest.approx(math.sqrt(1 / 3 + 0.25))
    assert Loss.of(np.array([[0.5]])) == Loss(0.5, None)
    cut_short = np.array([[1.0, 2.0], [2.0, np.nan]])
    assert Loss.of(cut_short).value == pytest.approx(5 / 3)


def test_any_task_that_has_a_measure():
    """A linear classifier of two classes: accuracy of single samples, no clip anywhere."""

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = nn.Linear(4, 4), nn.Linear(4, 2)
            self.idle = nn.Linear(4, 2)
            self.hidden.weight.data, self.out.weight.data = torch.eye(4), torch.eye(2, 4) * 3
            self.idle.weight.data *= 1e-6
            for layer in (self.hidden, self.out, self.idle):
                layer.bias.data.zero_()

        def forward(self, x):
            hidden = torch.relu(self.hidden(x))
            return self.out(hidden) + self.idle(hidden)

    samples = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0.8, 0.1, 0, 0], [0.2, 0.9, 0, 0]])
    labels = [0, 1, 0, 1]
    inputs = tuple((row[None],) for row in samples)
    measure = Measure(
        inputs, inputs, lambda n, y: 100.0 * (int(y[0].argmax()) == labels[n]), "%", "accuracy"
    )
    graph = cimsim.trace(Classifier().eval(), inputs[0], name="classes")
    found = cimsim.ablate(graph, chip(), measure=measure)
    assert found.score == found.chip_score == 100.0
    assert found["branch out"].variants[0].loss.value > 0
    assert found["branch idle"].variants[0].loss.value == 0.0
    assert found["branch idle"].matrices == ("idle",)
    # behind the mean of the hidden layer every sample looks the same
    assert found["layer hidden"].best.loss.value == 50.0


def test_without_a_measure_or_for_another_kind_of_network_there_is_one_clear_error():
    graph = graph_of(Sum())
    with pytest.raises(InputError, match=r"'net' has no measure: give a clip .* measure="):
        cimsim.ablate(graph, chip())
    other = cimsim.trace(nn.Conv2d(3, 5, 1).eval(), (torch.zeros(1, 3, *SIZE),), name="other")
    with pytest.raises(InputError, match="'other': a clip needs an input"):
        cimsim.ablate(other, chip(), clip())
    with pytest.raises(InputError, match="expected at least one of 16 x 12"):
        cimsim.ablate(graph, chip(), clip()[:0])
    with pytest.raises(InputError, match="programmings: expected at least 1, got 0"):
        cimsim.ablate(graph, chip(), clip(), programmings=0)


def test_ctrl_c_keeps_the_frames_that_are_done():
    def stop(at):
        def progress(stage, done, total):
            if stage.startswith(at[0]) and done >= at[1]:
                raise KeyboardInterrupt

        return progress

    whole = ablate(Sum(), FAST)
    # 2 branches twice, 2 layers and the whole network: 7 runs a frame
    cut = ablate(Sum(), FAST, progress=stop(("on the chip", 9)))
    assert cut.interrupted
    assert (cut.programmings, cut.frames) == (1, 1)
    assert "after 1 of 2 frames" in cut.notes[0]
    assert cut["layer one"].best.loss == whole["layer one"].best.loss
    assert cut["layer one"].best.chip_loss.noise is None
    only_float = ablate(Sum(), FAST, progress=stop(("on the chip", 3)))
    assert only_float.chip_score is None
    assert only_float.interrupted
    with pytest.raises(KeyboardInterrupt):
        ablate(Sum(), FAST, progress=stop(("float32", 3)))


def test_csv_and_json_hold_the_same_numbers_and_the_screen_fits():
    found = ablate(Sum(scale=0.0), FAST)
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    data = json.loads(found.to_json())
    assert [row["part"] for row in rows] == [row["part"] for row in data["parts"]]
    for row, told in zip(rows, data["parts"], strict=True):
        assert float(row["chip_loss_dB"]) == told["chip_loss_dB"]
        assert int(row["arrays_saved"]) == found.costs.arrays - int(row["arrays_left"])
    assert data["could_go"] == [c.part.label for c in found.could_go]
    for columns in (80, 120):
        console = Console(width=columns, record=True, file=io.StringIO())
        print_ablation(found, console)
        screen = console.export_text()
        assert max(map(len, screen.splitlines())) <= columns
        assert "1 arrays instead of 2" in " ".join(screen.split())
    assert "Nothing could go" in next(words(ablate(Sum(), on_chip=False)))


def test_parts_that_could_go_are_also_taken_away_together():
    class Idle(nn.Module):
        """Two operands that give nothing alone; together neither."""

        def __init__(self):
            super().__init__()
            self.one, self.two, self.three = Sum().one, nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, frames):
            return self.one(frames) + self.two(frames) * 0.0 + self.three(frames) * 0.0

    found = ablate(Idle(), on_chip=False)
    assert {c.matrices for c in found.could_go} == {("two",), ("three",)}
    assert found.together.matrices == ("two", "three")
    assert found.together.best.loss.value == 0.0
    assert found.together.best.costs.matrices == 1
