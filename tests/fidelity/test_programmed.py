"""A chip from a file against one that the run programs: the same bits, or a clear refusal."""

import json
import re
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from torch import nn

import cimsim
from cimsim.engine.saved import pack
from cimsim.errors import InputError
from cimsim.session.loading import Network
from cimsim.session.programmed import _digest
from cimsim.video.embedded import embedded_clip

HEIGHT, WIDTH = 24, 32
SMALL = {"array.rows": 64, "array.cols": 64, "tile.count": 200}


class Denoiser(nn.Module):
    """Two convolutions, a skip and a constant between them; the input is signed."""

    n_frames = 1

    def __init__(self, channels=6):
        super().__init__()
        self.first = nn.Conv2d(4, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, 3, 3, padding=1)
        self.register_buffer("shift", torch.full((1, channels, 1, 1), 0.01))

    def forward(self, x, noise_map):
        inner = torch.relu(self.first(torch.cat([x, noise_map], dim=1))) + self.shift
        return x - self.last(inner)


class Stage(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(10, 3, 3, padding=1)

    def forward(self, frames, noise_map):
        return frames[:, 3:6] - 0.2 * self.conv(torch.cat([frames, noise_map], dim=1))


class Cascade(nn.Module):
    n_frames, multiple = 5, 1

    def __init__(self):
        super().__init__()
        self.early, self.late = Stage(), Stage()

    def first_stage(self, frames, noise_map):
        return self.early(frames, noise_map)

    def second_stage(self, frames, noise_map):
        return self.late(frames, noise_map)

    def forward(self, x, noise_map):
        steps = [self.early(x[:, 3 * i : 3 * i + 9], noise_map) for i in range(3)]
        return self.late(torch.cat(steps, dim=1), noise_map)


def network(seed=0, **options):
    torch.manual_seed(seed)
    return Network(Denoiser(**options).eval(), "mine", 1, True)


def mapped(net=None, size=(HEIGHT, WIDTH), **overrides):
    net = net or network()
    graph = cimsim.trace(net.module, net.example(*size), name=net.title)
    own = {name.replace("__", "."): value for name, value in overrides.items()}
    return cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", SMALL | own))


def clip(frames=2, size=(HEIGHT, WIDTH)):
    return embedded_clip("default", frames, *size)


CHIPS = {
    "as it is": {},
    "exact": {"device__sigma_program": 0, "device__sigma_read": 0, "adc__kind": "ideal"},
    "wires": {"wires__model": "exact", "wires__r_word": "2 ohm", "wires__r_bit": "2 ohm"},
    "aged": {"device__kind": "pcm", "conditions__time": "30 d"},
    "recalibrated": {
        "device__kind": "pcm", "conditions__time": "30 d", "conditions__recalibrate": True,
    },
    "faulty": {"faults__stuck_off": "2 %", "faults__stuck_on": "1 %", "faults__open": "0.5 %"},
    "offset, slices": {"weights__encoding": "offset", "weights__cell_bits": 4},
    "two's complement": {"weights__encoding": "twos_complement", "weights__cell_bits": 2},
    "rows": {"inputs__signed": "rows", "adc__scope": "array"},
    "phases, pulses": {"inputs__signed": "phases", "dac__bits": 2},
    "bent": {"dac__inl_lsb": 0.4, "dac__gain_sigma": "1 %", "adc__inl_bow_lsb": 0.5,
             "adc__inl_steps_lsb": 0.3, "adc__gain_sigma": "1 %", "adc__offset_sigma_lsb": 0.5},
    "write-verify": {"device__kind": "ideal", "device__verify": {
        "tolerance": "1 %", "gain": 0.5, "pulse_sigma": "1 %", "max_pulses": 30}},
    "wires, faults, offset, slices, aged": {
        "wires__model": "fast", "wires__r_bit": "1 ohm", "faults__stuck_off": "2 %",
        "weights__encoding": "offset", "weights__cell_bits": 4, "device__kind": "pcm",
        "conditions__time": "1 h",
    },
    "non-linear": {"device__kind": "rram", "device__nonlinearity": 5, "dac__gain_sigma": "1 %"},
    "non-linear behind wires": {
        "device__kind": "rram", "device__nonlinearity": 5, "wires__model": "exact",
        "wires__r_word": "2 ohm", "wires__r_bit": "2 ohm", "weights__encoding": "offset",
    },
}  # fmt: skip


def same(direct, kept):
    for name, frames in direct.frames.items():
        np.testing.assert_array_equal(frames, kept.frames[name], err_msg=name)
    for part in ("hash", "inputs", "quality", "energy", "timing", "hardware", "layers"):
        assert getattr(direct, part) == getattr(kept, part), part


@pytest.mark.parametrize("case", CHIPS)
def test_a_saved_chip_gives_the_bits_and_the_hash_of_a_run_that_programs_it(case, tmp_path):
    mapping = mapped(**CHIPS[case])
    direct = cimsim.simulate(mapping, clip(), seed=5)
    made = cimsim.program(mapping, seed=5, threads=1).save(tmp_path / "chip.safetensors")
    held = cimsim.ProgrammedChip.load(tmp_path / "chip.safetensors")
    # a mapping made anew, as in another process
    kept = cimsim.simulate(mapped(**CHIPS[case]), clip(), seed=5, programmed=held)
    same(direct, kept)
    assert made.hash == held.hash == kept.programmed["sha256"]
    assert kept.programmed["file"] == "chip.safetensors"
    assert direct.programmed is None
    assert not (direct.frames["chip"] == direct.frames["noisy"]).all()


@pytest.mark.parametrize("case", CHIPS)
def test_every_part_comes_back_as_it_was(case, tmp_path):
    mapping = mapped(**CHIPS[case])
    made = cimsim.program(mapping, seed=2)
    held = made.save(tmp_path / "c.safetensors").load(tmp_path / "c.safetensors")
    arrays, plan = pack(held.on(mapping))
    assert plan == made.header["plan"]
    assert arrays.keys() == made.arrays.keys()
    for name, value in made.arrays.items():
        assert value.dtype == arrays[name].dtype, name
        np.testing.assert_array_equal(value, arrays[name], err_msg=name)


def test_another_seed_or_sigma_keeps_the_cells_and_says_so():
    mapping = mapped()
    chip = cimsim.program(mapping, seed=1)
    own = cimsim.simulate(mapping, clip(), seed=1)
    other = cimsim.simulate(mapping, clip(), seed=4, programmed=chip)
    assert other.inputs["programmed"] == {"seed": 1, "sigma": 15.0}
    assert other.inputs["seed"] == 4
    assert len({own.hash, other.hash, cimsim.simulate(mapping, clip(), seed=4).hash}) == 3
    louder = cimsim.simulate(mapping, clip(), seed=1, noise_sigma=30, programmed=chip)
    assert louder.inputs["programmed"] == {"seed": 1, "sigma": 15.0}
    assert "seed 1" in " ".join(louder.notes)
    # without noise of reads the chip of seed 1 on the clip of seed 4 is known in closed form: the
    # same call again, and not the chip of seed 4
    again = cimsim.simulate(mapping, clip(), seed=4, programmed=chip)
    np.testing.assert_array_equal(again.frames["chip"], other.frames["chip"])
    direct = cimsim.simulate(mapping, clip(), seed=4).frames
    np.testing.assert_array_equal(direct["noisy"], other.frames["noisy"])
    assert (direct["chip"] != other.frames["chip"]).any()


def test_own_calibration_frames_are_part_of_the_chip():
    mapping, scene = mapped(), embedded_clip("cat", 2, HEIGHT, WIDTH)
    chip = cimsim.program(mapping, calibration=scene)
    direct = cimsim.simulate(mapping, clip(), calibration=scene)
    same(direct, cimsim.simulate(mapping, clip(), programmed=chip))
    assert chip.hash != cimsim.program(mapping).hash
    with pytest.raises(InputError, match="leave out calibration"):
        cimsim.simulate(mapping, clip(), calibration=scene, programmed=chip)
    with pytest.raises(InputError, match="needs a clip"):
        cimsim.simulate(mapping, None, programmed=chip)


def test_the_result_keeps_the_chip_when_it_is_read_again(tmp_path):
    mapping = mapped()
    chip = cimsim.program(mapping).save(tmp_path / "c.safetensors")
    result = cimsim.simulate(mapping, clip(), programmed=chip)
    (tmp_path / "result.json").write_text(result.to_json())
    assert cimsim.Result.load(tmp_path) == result
    assert result.programmed == {
        "file": "c.safetensors", "sha256": chip.hash, "seed": 0, "sigma": 15.0,
    }  # fmt: skip


def test_a_streaming_cascade_runs_on_its_own_chip_and_on_no_other(tmp_path):
    torch.manual_seed(3)
    written = Network(Cascade().eval(), "mine", 5, True)
    nets = written.streaming(), written
    streaming, as_written = (mapped(net) for net in nets)
    made = cimsim.program(streaming, seed=2).save(tmp_path / "s.safetensors")
    held = made.load(tmp_path / "s.safetensors")
    direct = cimsim.simulate(streaming, clip(3), seed=2, as_written=as_written)
    kept = cimsim.simulate(streaming, clip(3), seed=2, as_written=as_written, programmed=held)
    same(direct, kept)
    assert direct.as_written == kept.as_written
    with pytest.raises(InputError, match=r"network: 'mine, streaming' .* 'mine' here"):
        held.on(as_written)


OTHERS = {
    "chip": (lambda: mapped(adc__bits=6), r"chip 'eflash40nm': .*adc\.bits: 8 .*, 6 here"),
    "conditions": (lambda: mapped(faults__stuck_on="1 %"), r"faults\.stuck_on: 0\.0 .*, 0\.01"),
    "weights": (lambda: mapped(network(1)), r"weights: those of 'mine' in the file, others"),
    "network": (lambda: mapped(network(channels=5)), r"weights: those of 'mine'"),
    "frame": (lambda: mapped(size=(32, 40)), r"frame size: 32x24 in the file, 40x32 here"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_does_not_fit_is_refused_with_all_that_differs(case):
    make, message = OTHERS[case]
    chip, other = cimsim.program(mapped()), make()
    with pytest.raises(InputError, match=message + r".*cimsim program") as caught:
        cimsim.simulate(other, clip(size=other.graph.inputs[0].output.grid), programmed=chip)
    assert "\n" not in str(caught.value)


def test_a_constant_between_the_matrices_counts():
    net = network()
    chip = cimsim.program(mapped(net))
    net.module.shift.fill_(0.02)
    with pytest.raises(InputError, match="weights: those of"):
        chip.on(mapped(net))


def test_another_place_on_the_chip_is_another_mapping():
    class Beside:
        """im2col that leaves the first column of each array free."""

        name = "im2col"

        def place(self, op, chip):
            from dataclasses import replace

            from cimsim.mapping.strategies import strategy

            layout = strategy("im2col").place(op, chip)
            blocks = [replace(b, col0=b.col0 + 1) for b in layout.blocks]
            return replace(layout, blocks=tuple(blocks))

    mapping = mapped()
    chip = cimsim.program(mapping)
    with pytest.raises(InputError, match=r"mapping: 'im2col' in the file, .* other places"):
        chip.on(cimsim.map_graph(mapping.graph, mapping.chip, Beside()))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("chips") / "chip.safetensors"
    cimsim.program(mapped(), seed=7).save(path)
    return path


def test_the_file_has_the_same_bytes_whatever_the_threads(kept, tmp_path):
    cimsim.program(mapped(), seed=7, threads=2).save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == kept.read_bytes()
    (tmp_path / "plain").write_text("")
    assert kept.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert cimsim.program(mapped(), seed=8).hash != cimsim.ProgrammedChip.load(kept).hash


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_one_damaged_bit_anywhere_is_found(kept, tmp_path_factory, data):
    content = bytearray(kept.read_bytes())
    header = struct.unpack("<Q", content[:8])[0] + 8
    # half of the tries in the header, which is the smaller part
    end = data.draw(st.sampled_from([header, len(content)]))
    content[data.draw(st.integers(0, end - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "bit.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        cimsim.ProgrammedChip.load(path)


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_short_is_refused(kept, tmp_path_factory, share):
    content = kept.read_bytes()
    path = tmp_path_factory.getbasetemp() / "short.safetensors"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"cut short.*cimsim program"):
        cimsim.ProgrammedChip.load(path)


def rewritten(kept, path, change):
    """Write the file anew with a header or arrays that were changed, and a hash that fits."""
    chip = cimsim.ProgrammedChip.load(kept)
    header, arrays = json.loads(json.dumps(chip.header)), load_file(kept)
    change(header, arrays)
    header["sha256"] = _digest(header, arrays)
    save_file(arrays, path, metadata={"cimsim": json.dumps(header)})
    return path


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("version", "0.0.9", r"version of cimsim: 0\.0\.9 in the file, .*program the chip again"),
        ("schema_version", 2, r"schema version of cimsim: 2 in the file, 1 here"),
        ("format", "other", r"no programmed chip; make one with cimsim program"),
    ],
)
def test_another_version_is_refused(kept, tmp_path, field, value, message):
    path = rewritten(
        kept, tmp_path / "v.safetensors", lambda header, _: header.update({field: value})
    )
    with pytest.raises(InputError, match=message):
        cimsim.ProgrammedChip.load(path)


@pytest.mark.parametrize("field", ["frame", "plan", "chip_hash"])
def test_a_header_without_a_field_is_refused(kept, tmp_path, field):
    path = rewritten(kept, tmp_path / "h.safetensors", lambda header, _: header.pop(field))
    with pytest.raises(InputError, match="damaged or was edited"):
        cimsim.ProgrammedChip.load(path)


@pytest.mark.parametrize("where", ["row_source", "col_target", "difference", "gain"])
def test_parts_of_other_sizes_never_reach_compiled_code(kept, tmp_path, where):
    def change(header, arrays):
        name = next(name for name in arrays if name.endswith(where))
        if arrays[name].dtype == np.int64:
            arrays[name][0] = 10**6
        else:
            arrays[name] = arrays[name][:-1].copy()

    path = rewritten(kept, tmp_path / "odd.safetensors", change)
    with pytest.raises(InputError, match=r"do not make up a chip.*program it again"):
        cimsim.ProgrammedChip.load(path).on(mapped())


def test_other_kinds_of_files_are_refused(tmp_path):
    save_file({"w": np.zeros(3, np.float32)}, tmp_path / "weights.safetensors")
    (tmp_path / "text.safetensors").write_text("no chip at all")
    for name, message in (
        ("weights.safetensors", "--weights"), ("text.safetensors", "of another kind"),
        ("missing.safetensors", "no such file"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            cimsim.ProgrammedChip.load(tmp_path / name)


def test_a_write_that_fails_leaves_the_earlier_file(kept, tmp_path, monkeypatch):
    chip = cimsim.ProgrammedChip.load(kept)
    path = chip.save(tmp_path / "chip.safetensors").file
    before = path.read_bytes()

    def full(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(InputError, match="No space left"):
        chip.save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["chip.safetensors"]


@pytest.mark.parametrize(("name", "message"), [
    ("chip.pt", r"ends in \.safetensors.*take .*chip\.safetensors"), ("a.safetensors", "a folder"),
])  # fmt: skip
def test_a_target_that_cannot_be_is_refused_first(tmp_path, name, message):
    from cimsim.session.programmed import check_file

    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(InputError, match=message):
        check_file(tmp_path / name)
