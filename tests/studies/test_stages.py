"""Stages read what they declare and nothing else; what is kept is what would come out anew."""

import importlib
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

import cimsim
from cimsim.chip.fields import fields
from cimsim.chip.load import shipped
from cimsim.errors import CimsimError
from cimsim.studies import stages
from cimsim.studies.chain import Chain, Memory, small
from cimsim.studies.keys import declared, narrowed, values_of
from cimsim.studies.stages import STAGES
from cimsim.studies.store import Store
from tests.studies.nets import NET, OTHER_CHIP, POINT, SIZE, flipped, make
from tests.studies.tracking import is_declared, tracked

# choices that open other ways through the code
WAYS = {
    "plain": {},
    "aged": {"conditions.time": "1 h"},
    "global": {"conditions.time": "1 h", "conditions.compensation": "global"},
    "column": {"conditions.time": "1 h", "conditions.compensation": "column"},
    "anew": {"conditions.time": "1 h", "conditions.recalibrate": True},
    "faulty": {"faults.open": "1 %"},
    "tested": {"faults.open": "1 %", "faults.seed": 3},
    "slow noise": {"device.noise": {"corner": "1 MHz"}, "dac.bits": 4},
    "uneven": {"conditions.gradient": "20 K", "conditions.temperature": "55 C"},
    "wires": {"wires.model": "fast", "wires.r_bit": "1 ohm"},
    "bent": {"adc.inl_bow_lsb": 0.3, "dac.inl_lsb": 0.2},
    "rounded": {"weights.rounding": "inputs"},
    "two rows": {"inputs.signed": "rows"},
    "streamed": {"frames": "global_buffer"},
    "spilled": {
        "buffer.size": "64 B", "buffer.read_energy": "1 pJ/B", "buffer.write_energy": "1 pJ/B",
        "buffer.leakage": "1 uW", "buffer.area": "0.01 mm2", "buffer.overflow": "global_buffer",
    },
    "chips": {"system.chips": 2, "tile.count": 3, "tile.arrays": 2},
    "loads": {
        "tile.count": 4, "tile.arrays": 1, "programming.reload": "allow",
        "programming.t_pulse": "1 us",
    },
}  # fmt: skip


def chain(chip, memory=None, store=None, point=POINT):
    return Chain(point, memory, store, graph=NET, chip=chip)


def answers(made):
    """All that a point says, its frames by their hashes."""
    try:
        return made.row, made.measured, made.reference
    except CimsimError as error:
        return str(error)


def check_flips(name, tmp_path, only=None, frames=1):
    """Change field after field; kept and fresh results are the same to the last bit."""
    store, memory, count = Store(tmp_path / "store"), Memory(), 0
    point = replace(POINT, frames=replace(POINT.frames, count=frames))

    def answers_of(*args):
        made = chain(*args, point=point)
        return answers(made) if frames else made.row

    first = answers_of(make(name), memory, store)
    for path, chip in flipped(name, only):
        try:
            fresh = answers_of(chip)
        except CimsimError:
            continue
        # from memory and disk, and from disk alone
        assert answers_of(chip, memory, store) == fresh, path
        assert answers_of(chip, Memory(), store) == fresh, path
        count += 1
    assert answers_of(make(name), Memory(), store) == first
    assert not memory.unsound
    return count


@pytest.mark.parametrize("way", WAYS)
def test_no_stage_reads_what_it_does_not_declare(way):
    """A narrowed chip has nothing else; `Memory.unsound` counts stages that asked for more."""
    check_way("eflash40nm", way)


def test_a_map_of_faults_is_held_against_the_arrays_of_each_chip(tmp_path):
    faults = tmp_path / "faults.csv"
    faults.write_text("tile,array,row,col,cell,fault\n0,0,1,1,+,open\n20,0,1,1,+,open\n")
    store, memory, said = Store(tmp_path / "store"), Memory(), {}
    for tiles in (36, 12):
        chip = make("eflash40nm", {"faults.map": str(faults), "tile.count": tiles})
        said[tiles] = answers(chain(chip, memory, store))
    assert said[36][0]["numbers"]
    assert "tile 20, array 0 is outside the chip of 12 tiles" in said[12]
    assert memory.unsound == {}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", sorted(shipped()))
def test_no_stage_reads_what_it_does_not_declare_on_any_chip(name):
    for way in WAYS:
        check_way(name, way)


def check_way(name, way):
    try:
        made = chain(make(name, WAYS[way]))
    except CimsimError:
        assert name != "eflash40nm", "the way must be one"
        return
    answers(made)
    assert made.memory.unsound == {}
    assert made.memory.made.get("energise") or name != "eflash40nm"


@pytest.mark.parametrize("strategy", stages.PLAIN_STRATEGIES)
@pytest.mark.parametrize("allocation", stages.PLAIN_ALLOCATIONS)
def test_no_mapping_reads_what_it_does_not_declare(strategy, allocation):
    point = replace(POINT, mapping=strategy, allocation=allocation,
                    frames=replace(POINT.frames, count=0))  # fmt: skip
    made = chain(make("eflash40nm"), point=point)
    assert made.row["numbers"]["work.macs"]["value"] > 0
    assert made.memory.unsound == {}


def test_a_tracking_chip_reads_no_more_than_a_stage_declares():
    """What is looked at inside a try does not escape this one."""
    chip = make("eflash40nm", WAYS["column"])
    whole = chain(chip)
    names = ("map", "time", "learn", "round", "program", "calibrate", "execute")
    read = {name: set() for name in names}
    seen = {name: tracked(chip, held) for name, held in read.items()}
    placed = cimsim.map_graph(NET, seen["map"])
    stages.timed(placed.on(seen["time"]), "pipelined")
    taught = stages.learned(placed.on(seen["learn"]), 15.0, 0)
    integers = stages.rounded(placed.on(seen["round"]), taught, 1)
    cells = stages.programmed(placed.on(seen["program"]), integers, 0)
    ops = stages.calibrated(placed.on(seen["calibrate"]), cells, taught, 0, 1)
    ready = stages.ready(placed.on(seen["execute"]), cells, ops)
    stages.executed(ready, taught.inputs[0], 0, 0, 1)
    values = values_of(chip)
    for name, held in read.items():
        assert held, name
        patterns = [*STAGES[name].reads, *STAGES[name].fields_of(values)]
        assert {p for p in held if not is_declared(p, patterns)} == set(), name
    assert whole.memory.unsound == {}


def test_a_stage_that_reads_more_is_found_and_not_kept(monkeypatch, tmp_path):
    """The test of the test, and what happens to a user: the right number, and nothing kept."""
    chip, store = make("eflash40nm"), Store(tmp_path)
    right = chain(chip).row
    lacking = [path for path in STAGES["program"].reads if path != "adc.gain_sigma"]
    stage = type(STAGES["program"])("program", reads=tuple(lacking))
    monkeypatch.setitem(STAGES, "program", stage)
    made = chain(chip, store=store)
    assert made.row["numbers"] == right["numbers"]
    assert made.memory.unsound == {"program": 1}
    assert not any(use.stage == "program" for use in store.uses())


def test_code_of_the_user_counts_by_what_it_makes(tmp_path, monkeypatch):
    """Two strategies of one name have two keys, as the program knows nothing of their source."""
    monkeypatch.syspath_prepend(tmp_path)
    keys = []
    for module, base in (("mine", "Im2col"), ("mine", "Vwsdk")):
        text = f"from cimsim.mapping.strategies import {base}\nclass Mine({base}):\n    pass\n"
        (tmp_path / f"{module}.py").write_text(text)
        importlib.invalidate_caches()
        point = replace(POINT, mapping=f"{module}:Mine")
        keys.append(chain(make("eflash40nm"), point=point).map_key)
        del sys.modules[module]
        (tmp_path / f"{module}.py").unlink()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    assert keys[0] != keys[1]


def test_frames_count_by_their_content(tmp_path):
    from PIL import Image

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for n in range(2):
            picture = np.full((SIZE, SIZE, 3), 40 * n, np.uint8)
            Image.fromarray(picture).save(tmp_path / folder / f"f{n:03d}.png")

    def key_of(clip):
        frames = replace(POINT.frames, clip=str(tmp_path / clip), count=2)
        return chain(make("eflash40nm"), point=replace(POINT, frames=frames)).clip_key

    patterns, folders = [[key_of(f"{place}{end}") for place in "ab"] for end in ("/f%03d.png", "")]
    assert patterns[0] == patterns[1]
    assert folders[0] == folders[1]
    Image.fromarray(np.full((SIZE, SIZE, 3), 7, np.uint8)).save(tmp_path / "b" / "f001.png")
    assert key_of("b/f%03d.png") != patterns[0]
    assert key_of("b") != folders[0]


def test_declarations_name_fields():
    known = [*fields(), "device.kind", "device.g_max", "matmul"]  # whether the chip has that part
    for stage in STAGES.values():
        for pattern in (*stage.reads, *(stage.also or {})):
            assert any(declared(path, (pattern,)) for path in known), (stage.name, pattern)


def test_a_narrowed_chip_has_what_is_declared_and_nothing_else():
    chip = make("eflash40nm")
    part = narrowed(chip, ["adc.bits", "process.clock"])
    assert part.adc.bits == chip.adc.bits
    assert part.process.clock_hz == chip.process.clock_hz
    for section, name in (("adc", "count"), ("device", "kind"), ("process", "node_m")):
        with pytest.raises(AttributeError):
            getattr(getattr(part, section), name)
    assert chip.adc.count  # the chip itself is whole


def test_values_of_a_chip_tell_every_field_and_cell_parameter():
    one, other = (values_of(make("eflash40nm", {"adc.bits": n})) for n in (6, 7))
    assert {path for path in one if one[path] != other[path]} == {"adc.bits"}
    assert one["device.kind"] == "eflash"
    assert set(fields()) - {"sources"} <= set(one)


@pytest.mark.parametrize(
    "path",
    ["adc.bits", "adc.gain_sigma", "array.rows", "weights.bits", "inputs.percentile",
     "conditions.compensation", "faults.open", "calibration.column_gain"],
)  # fmt: skip
def test_kept_frames_are_those_of_a_fresh_run_whatever_changes(path, tmp_path):
    """One field of each kind of stage; all fields of all chips: below."""
    assert check_flips("eflash40nm", tmp_path, lambda other: other == path) == 1


def test_kept_cycles_and_energies_are_those_of_a_fresh_run_whatever_field_changes(tmp_path):
    sections = ("adc", "array", "tile", "buffer", "interconnect", "process", "dram")
    count = check_flips(
        "eflash40nm", tmp_path, lambda path: path.partition(".")[0] in sections, frames=0
    )
    assert count > 40


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", sorted(shipped()))
def test_kept_results_are_those_of_a_fresh_run_on_every_chip(name, tmp_path):
    assert check_flips(name, tmp_path) > 80


def test_the_numbers_are_those_of_simulate_to_the_last_bit():
    made = chain(make("eflash40nm"))
    expected = cimsim.simulate(made.mapping, made.clip, noise_sigma=15.0, seed=0, threads=1)
    numbers = expected.numbers()
    assert set(numbers) == set(made.row["numbers"])
    for name, number in numbers.items():
        found = made.row["numbers"][name]
        assert found["value"] == number.value, name
        ends = found["interval"]
        assert (None if ends is None else tuple(ends)) == number.interval, name
    assert made.measured["chip"]["sha256"] == expected.outputs["chip"]
    assert made.reference["float"]["sha256"] == expected.outputs["float"]


def test_another_process_rounds_no_weights_again(tmp_path):
    store, chip = Store(tmp_path), make("eflash40nm", WAYS["rounded"])
    first = chain(chip, store=store)
    assert first.row
    assert first.integers
    later = chain(make("eflash40nm", {**WAYS["rounded"], "adc.bits": 5}), store=store)
    assert later.row == chain(later.chip).row
    assert "round" not in later.memory.made
    assert later.integers.keys() == first.integers.keys()
    for name, q in first.integers.items():
        assert later.integers[name].dtype == np.int32
        assert np.array_equal(later.integers[name], q)


@pytest.mark.parametrize(
    ("most", "kind"),
    [(0, "int8"), (127, "int8"), (128, "int16"), (32767, "int16"), (32768, "int32")],
)
def test_whole_numbers_are_kept_in_the_shortest_type(most, kind):
    values = np.array([0, -most, most], np.int32)
    assert small(values).dtype == kind
    assert np.array_equal(small(values), values)


def test_one_more_point_works_out_what_it_changes(tmp_path):
    store, memory = Store(tmp_path), Memory()
    name = "eflash40nm"
    assert chain(make(name), memory, store).row
    dear = {"reference", "learn", "program", "calibrate", "execute", "measure", "map"}

    def made_by(chip, point=POINT):
        memory.made.clear()
        assert chain(chip, memory, store, point).row
        return set(memory.made)

    assert made_by(make(name)) == set()
    assert made_by(make(name, {"adc.energy": "3 pJ"})) == {"energise"}
    assert made_by(make(name, {"process.clock": "77 MHz"})) == {"time", "energise"}
    assert made_by(make(name, {"adc.count": 7})) == {"time", "energise"}
    bits = made_by(make(name, {"adc.bits": 5}))
    assert {"program", "learn", "round", "reference"}.isdisjoint(bits)
    assert {"calibrate", "execute", "measure"} <= bits
    seed = made_by(make(name), replace(POINT, seeds=OTHER_CHIP))
    assert {"program", "calibrate", "execute"} <= seed
    assert {"learn", "round", "reference", "map", "time"}.isdisjoint(seed)
    frames = made_by(make(name), replace(POINT, frames=replace(POINT.frames, count=2)))
    assert dear & frames == {"reference", "execute", "measure"}
