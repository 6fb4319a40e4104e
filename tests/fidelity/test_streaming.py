"""A cascade that streams on a chip: the same frames as written, for half the work."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import cimsim
from cimsim.engine.execute import execute
from cimsim.errors import InputError
from cimsim.session.functional import FunctionalRun
from cimsim.session.loading import Network
from cimsim.session.result import Result
from cimsim.video.embedded import embedded_clip
from cimsim.zoo.streaming import shifted

HEIGHT, WIDTH, SIGMA = 18, 22, 15.0  # padded to 20 x 24


class Stage(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(10, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 12, 3, padding=1)
        self.pixels = nn.PixelShuffle(2)

    def forward(self, frames, noise_map):
        inner = torch.relu(self.first(torch.cat([frames, noise_map], dim=1)))
        return frames[:, 3:6] - 0.2 * self.pixels(self.second(inner))


class Cascade(nn.Module):
    """A small network of a user's own with the two methods that streaming asks for."""

    n_frames, multiple = 5, 4

    def __init__(self):
        super().__init__()
        self.early, self.late = Stage(), Stage()

    def first_stage(self, frames, noise_map):
        return self.early(frames, noise_map)

    def second_stage(self, frames, noise_map):
        return self.late(frames, noise_map)

    def forward(self, frames, noise_map):
        height, width = frames.shape[-2:]
        border = (0, -width % 4, 0, -height % 4)
        frames = nn.functional.pad(frames, border, mode="replicate")
        noise_map = nn.functional.pad(noise_map, border, mode="replicate")
        steps = [self.early(frames[:, 3 * i : 3 * i + 9], noise_map) for i in range(3)]
        return self.late(torch.cat(steps, dim=1), noise_map)[..., :height, :width]


def mapped(network, **overrides):
    example = network.example(HEIGHT, WIDTH)
    graph = cimsim.trace(network.module, example, name=network.title)
    return cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", overrides))


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(3)
    written = Network(Cascade().eval(), "mine", 5, True)
    return written.streaming(), written


@pytest.fixture(scope="module")
def mappings(networks):
    return tuple(mapped(network) for network in networks)


def clip(frames):
    return embedded_clip("default", frames, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def results(mappings):
    streaming, written = mappings
    return (
        cimsim.simulate(streaming, clip(5), noise_sigma=SIGMA, as_written=written),
        cimsim.simulate(written, clip(5), noise_sigma=SIGMA),
    )


def rms(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2)))


@pytest.mark.parametrize("frames", [1, 2])
def test_float_frames_of_short_clips_are_those_of_the_network_as_written(mappings, frames):
    streaming, written = (cimsim.simulate(m, clip(frames), noise_sigma=SIGMA) for m in mappings)
    assert streaming.frames["float"].shape == (frames, HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(streaming.frames["float"], written.frames["float"], atol=2e-6)


def test_float_frames_equal_and_the_chip_errs_as_much_as_it_does_as_written(results):
    streaming, written = (result.frames for result in results)
    assert streaming["chip"].shape == (5, HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(streaming["float"], written["float"], atol=2e-6)
    # the same cells and the same kind of calibration: both err alike, and alike in each frame
    for a, b in zip(streaming["chip"], written["chip"], strict=True):
        assert rms(a, b) < rms(written["chip"], written["float"])
    errors = [rms(frames["chip"], frames["float"]) for frames in (streaming, written)]
    assert errors[0] == pytest.approx(errors[1], rel=0.15)


def test_the_chip_keeps_its_own_results_and_the_float_network_its_own(networks):
    """Replayed step by step with reads so noisy that one wrong hand-over would show."""
    mapping = mapped(networks[0], **{"device.sigma_read": "5 %"})
    run = FunctionalRun(mapping, clip(3), SIGMA, 0, None)
    run.prepare(None, lambda *_: None)
    run.execute(lambda *_: None)
    noisy = torch.from_numpy(run.noisy).permute(0, 3, 1, 2)
    order = [2, 1, 0, 1, 2, 1, 0]  # three frames mirrored at both ends: -2 ... 4
    noise_map = torch.full((1, 1, HEIGHT, WIDTH), SIGMA / 255)
    float_kept = chip_kept = torch.zeros(networks[0].module.kept_shape(HEIGHT, WIDTH))
    for step in range(5):
        triplet = torch.cat([noisy[i : i + 1] for i in order[step : step + 3]], dim=1)
        with torch.no_grad():
            expected = networks[0].module(triplet, noise_map, float_kept)
        done = execute(run.calibrated, (triplet, noise_map, chip_kept), step, 0).outputs
        float_kept, chip_kept = shifted(float_kept, expected[1]), shifted(chip_kept, done[1])
        if step >= 2:
            as_picture = done[0][0].permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(run.chip[step - 2], as_picture)
            float_picture = expected[0][0].permute(1, 2, 0).numpy()
            np.testing.assert_allclose(run.float[step - 2], float_picture, atol=2e-6)


def test_threads_change_no_bit(mappings, results):
    again = cimsim.simulate(
        mappings[0], clip(5), noise_sigma=SIGMA, as_written=mappings[1], threads=1
    )
    np.testing.assert_array_equal(again.frames["chip"], results[0].frames["chip"])
    assert again == results[0]


def test_interrupting_keeps_the_frames_done(mappings, results):
    def stop(stage, done, total):
        if (stage, done) == ("denoising", 2):
            raise KeyboardInterrupt

    result = cimsim.simulate(mappings[0], clip(5), noise_sigma=SIGMA, progress=stop)
    assert "interrupted after 2 of 5 frames" in result.notes
    np.testing.assert_array_equal(result.frames["chip"], results[0].frames["chip"][:2])


def test_savings_are_what_a_run_as_written_reports(results):
    streaming, written = results
    found = streaming.as_written
    assert written.as_written is None
    assert (found.cycles_per_frame, found.latency_cycles) == (
        written.timing.cycles_per_frame, written.timing.latency_cycles,
    )  # fmt: skip
    for name in ("arrays_used", "windows", "activations", "conversions"):
        assert getattr(found, name) == getattr(written.hardware, name), name
    # stage 1 three times and stage 2 once, both of the same size: four runs against two
    assert found.windows == 2 * streaming.hardware.windows
    assert found.arrays_used == streaming.hardware.arrays_used
    assert (found.reused, found.uses) == (2, 3)
    # operands taken over from the streaming run, against those of a run of its own
    assert streaming.energy.array_energy_from == "operands"
    assert found.energy_j == pytest.approx(written.energy.total_j, rel=0.01)
    assert any("2 of 4 matrices are used 3 times" in note for note in written.notes)
    assert not any("times per frame" in note for note in streaming.notes)
    numbers = streaming.numbers()
    ratio = found.cycles_per_frame / streaming.timing.cycles_per_frame
    assert numbers["streaming.speedup"].value == ratio > 2


def test_without_a_clip_both_are_charged_by_the_activity_factor(mappings):
    streaming, written = mappings
    result = cimsim.simulate(streaming, None, as_written=written)
    alone = cimsim.simulate(written, None)
    assert result.as_written.energy_j == alone.energy.total_j


def test_result_keeps_the_savings_and_a_result_without_the_field_is_refused(results, tmp_path):
    import json

    path = tmp_path / "result.json"
    path.write_text(results[0].to_json())
    assert Result.load(path) == results[0]
    assert Result.load(path).as_written == results[0].as_written
    data = json.loads(results[1].to_json())
    assert data.pop("as_written") is None
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="as_written"):
        Result.load(path)


def test_hash_tells_with_and_without_savings_apart(mappings, results):
    alone = cimsim.simulate(mappings[0], clip(5), noise_sigma=SIGMA)
    assert alone.as_written is None
    assert alone.hash != results[0].hash
    assert replace(results[0], as_written=None, inputs=alone.inputs) == alone


def test_mapping_of_another_network_is_refused(mappings):
    other = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))
    graph = cimsim.trace(other, (torch.zeros(1, 3, HEIGHT, WIDTH),))
    mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm"))
    with pytest.raises(InputError, match="as_written: another set of matrices in"):
        cimsim.simulate(mappings[0], None, as_written=mapping)
    other_chip = replace(mappings[1], chip=cimsim.load_hw("eflash40nm", {"adc.bits": 6}))
    with pytest.raises(InputError, match="as_written: another chip in"):
        cimsim.simulate(mappings[0], None, as_written=other_chip)


def test_three_inputs_that_are_no_kept_results_are_refused(networks):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(9, 3, 3, padding=1)

        def forward(self, frames, noise_map, more):
            return self.conv(frames) + noise_map + more

    inputs = tuple(torch.zeros(1, channels, 16, 16) for channels in (9, 1, 1))
    mapping = cimsim.map_graph(cimsim.trace(Odd(), inputs), cimsim.load_hw("eflash40nm"))
    with pytest.raises(InputError, match="a clip needs an input"):
        cimsim.simulate(mapping, embedded_clip("default", 1, 16, 16))


def test_one_stage_has_nothing_to_reuse():
    network = cimsim.load_network("cimnet", {"stride": 8, "coarse": 1}, "random")
    with pytest.raises(InputError, match=r"stages 1\) is no cascade .*--stages 2"):
        network.streaming()
