"""Whatever comes in, one clear message or a sound result: no other exception, hang or infinity.

Each kind is tried some ten times in the fast suite, as often as ``COUNTS`` says in the slow one.
Every fault that was found this way stands as a case beside the code that it was in.
"""

import json
import math
import resource
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from numba.core.event import install_timer
from torch import nn

import cimsim
from cimsim.boundary import memory
from cimsim.chip.cells import device_of
from cimsim.chip.load import chip_hash, load_hw, shipped
from cimsim.cli.options import model_options, parse_size
from cimsim.errors import CimsimError
from cimsim.mapping.files import load_mapping, to_data
from cimsim.placing.by_name import map_graph
from cimsim.session import stored
from cimsim.session.doubts import chip_doubts
from cimsim.session.programmed import ProgrammedChip
from cimsim.session.result import Result
from cimsim.tasks.shapes import InputShape
from cimsim.zoo.errors import ZooError
from cimsim.zoo.weights import read_state
from tests.fuzz.mutations import LEAVES, QUANTITIES, VALUES, damaged, mutated

FAST = 50
OFTEN = {"onnx": 200}
COUNTS = {
    "chips": 5000, "set": 5000, "size": 3000, "results": 1500, "mappings": 1000, "tables": 1000,
    "faults": 500, "programmed": 500, "weights": 500, "models": 500,
    "onnx": 5000,
}  # fmt: skip
LONGEST_S = 10
ALLOCATED = 4 << 30
TALLY = {"accepted": 0, "refused": 0, "longest_s": 0.0}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


@cache
def graph():
    torch.manual_seed(0)
    return cimsim.trace(Net().eval(), (torch.zeros(1, 3, 8, 8),))


@cache
def clip():
    return np.random.default_rng(0).random((1, 8, 8, 3), dtype=np.float32)


@cache
def result():
    return cimsim.simulate(map_graph(graph(), load_hw("example_minimal")), None)


@cache
def programmed():
    return cimsim.program(map_graph(graph(), load_hw("example_minimal")))


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch):
    """4 GiB are allowed, and the process can have no more: what takes more fails the test."""
    monkeypatch.setenv(memory.VARIABLE, "4 GiB")
    before = resource.getrlimit(resource.RLIMIT_AS)
    graph(), result(), programmed()
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + ALLOCATED, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def tried(kind, **drawn):
    """Give a test what is drawn: few examples in the fast suite, all in the slow one."""

    def wrap(test):
        quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much,
                 HealthCheck.function_scoped_fixture, HealthCheck.large_base_example]  # fmt: skip

        def run(count):
            # a test of its own each time: hypothesis takes settings once
            chosen = settings(max_examples=count, suppress_health_check=quiet, deadline=None)
            return chosen(given(**drawn)(test))

        def both(how_often, tmp_path, record_property):
            TALLY.update(accepted=0, refused=0, longest_s=0.0)
            # a fifth more, as some examples cannot be written into a file and do not count
            run(COUNTS[kind] * 6 // 5 if how_often == "slow" else OFTEN.get(kind, FAST))(tmp_path)
            if how_often == "slow":
                assert TALLY["accepted"] + TALLY["refused"] >= COUNTS[kind]
            for name, value in TALLY.items():  # -o junit_family=xunit1 --junitxml=FILE
                record_property(name, value)

        both.__name__ = test.__name__
        marks = [pytest.param("fast"), pytest.param("slow", marks=[
            pytest.mark.slow, pytest.mark.timeout(3600)])]  # fmt: skip
        return pytest.mark.parametrize("how_often", marks)(both)

    return wrap


@contextmanager
def sound(*also):
    """One of our own errors with one readable message, or none; and in good time."""
    start, outcome, compiled = (time.monotonic(), time.process_time()), "accepted", []
    try:
        with install_timer("numba:compile", compiled.append):
            yield
    except (CimsimError, *also) as error:
        outcome, text = "refused", str(error)
        assert text.strip()
        assert len(text) < 5000
        text.encode()
        for trace in ("Traceback", "object at 0x", "pydantic.dev"):
            assert trace not in text
    taken = time.process_time() - start[1] - sum(compiled)  # once for a machine, not per input
    TALLY[outcome] += 1
    TALLY["longest_s"] = max(TALLY["longest_s"], taken)
    # the processor's time counts, as the machine may be busy; what only waits is found, too
    assert taken < LONGEST_S
    assert time.monotonic() - start[0] < LONGEST_S * 6


def finite(data):
    """Whether all numbers of a tree are."""
    if isinstance(data, dict):
        return all(map(finite, data.values()))
    if isinstance(data, list | tuple):
        return all(map(finite, data))
    return not isinstance(data, float) or math.isfinite(data)


def use(chip):
    """Time and charge a chip that was accepted: every number of the result is finite."""
    chip_doubts(chip)
    chip_hash(chip)
    found = cimsim.simulate(map_graph(graph(), chip), None)
    assert finite(json.loads(found.to_json()))


@cache
def descriptions():
    return {name: yaml.safe_load(text) for name, text in shipped().items()}


@tried("chips", data=st.data())
def test_chips(tmp_path, data):
    name = data.draw(st.sampled_from(sorted(descriptions())))
    file = tmp_path / "chip.yaml"
    if data.draw(st.booleans()):
        raw = data.draw(mutated(descriptions()[name]))
        try:
            text = yaml.safe_dump(raw, allow_unicode=True)
        except (ValueError, UnicodeError, RecursionError, yaml.YAMLError):
            reject()  # no file can hold it
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    else:
        file.write_bytes(data.draw(damaged(shipped()[name].encode())))
    with sound():
        chip = load_hw(file)
        device_of(chip)
        use(chip)


@cache
def fields():
    from cimsim.chip.fields import fields as known

    return sorted(known())


@tried("set", data=st.data())
def test_overrides(tmp_path, data):
    path = st.one_of(st.sampled_from(fields()), st.sampled_from(
        ["device.g_max", "device.kind", "device.file", "device.sigma_read", "device.verify",
         "faults.map", "sources", "ranges", "adc", "", ".", "adc.", "adc..bits", "name.x"]
    ), st.text(max_size=8))  # fmt: skip
    texts = data.draw(st.lists(st.builds(
        "{}{}{}".format, path, st.sampled_from(["=", "=", "=", "", "=="]),
        st.one_of(LEAVES.map(str), QUANTITIES, VALUES.map(str), st.text(max_size=30)),
    ), min_size=1, max_size=3))  # fmt: skip
    name = data.draw(st.sampled_from(sorted(descriptions())))
    with sound():
        chip = load_hw(name, texts)
        device_of(chip)
        use(chip)


@tried("size", text=st.one_of(
    st.text(max_size=12),
    st.text(alphabet="0123456789xX× -+.²٣e_", max_size=12),
    st.builds("{}{}{}".format, QUANTITIES, st.sampled_from("xX×"), QUANTITIES),
    st.builds("{}x{}".format, st.integers(), st.integers()),
))  # fmt: skip
def test_sizes(tmp_path, text):
    with sound():
        height, width = parse_size(text)
        assert height > 0 < width
        assert height * width <= 1 << 28


@tried("results", data=st.data())
def test_results(tmp_path, data):
    written, file = result().to_json(), tmp_path / "result.json"
    match data.draw(st.sampled_from(["signed", "signed", "tree", "bytes"])):
        case "bytes":
            file.write_bytes(data.draw(damaged(written.encode())))
        case how:
            raw = data.draw(mutated(json.loads(written)))
            try:
                if how == "signed" and isinstance(raw, dict):
                    raw["sha256"] = stored.seal(raw)  # who edits it knows how to sign it
                text = json.dumps(raw)
            except (ValueError, RecursionError):
                return
            file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with sound():
        found = Result.load(file)
        assert finite(json.loads(found.to_json()))
        if found.to_json() != written:  # then somebody signed it, or nothing but blanks changed
            assert json.loads(file.read_text())["sha256"] != json.loads(written)["sha256"]


@tried("mappings", data=st.data())
def test_mappings(tmp_path, data):
    mapping = map_graph(graph(), load_hw("example_minimal"))
    raw = to_data(mapping)
    is_json = data.draw(st.booleans())
    file = tmp_path / ("m.json" if is_json else "m.yaml")
    text = json.dumps(raw) if is_json else yaml.safe_dump(raw)
    if data.draw(st.booleans()):
        file.write_bytes(data.draw(damaged(text.encode())))
    else:
        new = data.draw(mutated(json.loads(json.dumps(raw))))
        try:
            text = json.dumps(new) if is_json else yaml.safe_dump(new)
        except (ValueError, UnicodeError, RecursionError, yaml.YAMLError):
            reject()
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with sound():
        loaded = load_mapping(file, mapping.graph, mapping.chip)
        assert finite(json.loads(cimsim.simulate(loaded, None).to_json()))


TABLE = "target [uS],mean [uS],sigma [uS],time [h]\n0,0.02,0.01,0\n5,4.97,0.11,0\n10,9.98,0.15,0\n"


@pytest.mark.slow
@tried("tables", data=st.data())
def test_tables(tmp_path, data):
    text = TABLE.replace(",", data.draw(st.sampled_from([",", ";", "\t"])))
    rows = [line.split(",") for line in TABLE.splitlines()]
    if data.draw(st.booleans()):
        cells = data.draw(mutated(rows))
        text = "\n".join(
            ",".join(map(str, row)) if isinstance(row, list) else str(row) for row in cells
        )
    content = text.encode("utf-8", "surrogatepass")
    if data.draw(st.booleans()):
        content = data.draw(damaged(content))
    file = tmp_path / "cells.csv"
    file.write_bytes(data.draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"sep=;\n"])) + content)
    with sound():
        chip = load_hw("example_minimal", {"device.kind": "table", "device.file": str(file)})
        use(chip)
        found = device_of(chip).program(np.linspace(0, 1e-5, 5), np.random.default_rng(0))
        assert np.isfinite(found).all()


@tried("faults", content=damaged(b"tile,array,row,col,cell,fault\n0,0,1,2,+,on\n0,0,3,1,-,open\n"))
def test_fault_maps(tmp_path, content):
    from cimsim.crossbar.faults import read_fault_map

    file = tmp_path / "faults.csv"
    file.write_bytes(content)
    with sound():
        read_fault_map(file, (8, 8))


@pytest.mark.slow
@tried("programmed", data=st.data())
def test_programmed_chips(tmp_path, data):
    from safetensors.numpy import save

    from cimsim.session.programmed import _digest

    chip, file = programmed(), tmp_path / "c.safetensors"
    if data.draw(st.booleans()):
        header = data.draw(mutated(json.loads(json.dumps(chip.header)), most=2))
        try:
            if isinstance(header, dict):
                header["sha256"] = _digest(header, chip.arrays)
            file.write_bytes(save(chip.arrays, metadata={"cimsim": json.dumps(header)}))
        except (ValueError, RecursionError, UnicodeError):
            reject()
    else:
        file.write_bytes(
            data.draw(damaged(save(chip.arrays, metadata={"cimsim": json.dumps(chip.header)})))
        )
    with sound():
        mapping = map_graph(graph(), load_hw("example_minimal"))
        held = ProgrammedChip.load(file)
        done = cimsim.simulate(mapping, clip(), programmed=held, threads=1)
        assert np.isfinite(done.frames["chip"]).all()


@tried("weights", data=st.data())
def test_weight_files(tmp_path, data):
    from safetensors.torch import save

    state = {name: value.clone() for name, value in Net().state_dict().items()}
    suffix = data.draw(st.sampled_from([".safetensors", ".pth", ".ckpt"]))
    file = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        file.write_bytes(save(state))
    else:
        torch.save({"state_dict": state}, file)
    file.write_bytes(data.draw(damaged(file.read_bytes())))
    with sound(ZooError):
        read_state(file)


@cache
def small_model():
    pytest.importorskip("onnx")
    from tests.onnxfiles.small import checked

    return checked().SerializeToString()


def altered(draw, content):
    """The model with some sizes, numbers of attributes, whole-numbered constants, names changed."""
    import onnx
    from onnx import numpy_helper

    made = onnx.ModelProto()
    made.ParseFromString(content)
    numbers = st.one_of(
        st.integers(-3, 9), st.sampled_from([2**15, 2**24, 2**31, 2**40, 2**62, -(2**63)])
    )
    for _ in range(draw(st.integers(1, 3))):
        node = draw(st.sampled_from(list(made.graph.node)))
        match draw(st.sampled_from(["attribute", "constant", "axis", "kind", "wire", "size"])):
            case "attribute":
                for entry in node.attribute:
                    entry.i = draw(numbers)
                    entry.ints[:] = [draw(numbers) for _ in entry.ints]
            case "constant":
                whole = [t for t in made.graph.initializer if t.data_type == 7]
                tensor = draw(st.sampled_from(whole))
                try:
                    value = numpy_helper.to_array(tensor).copy()
                except ValueError:  # its sizes were altered before
                    continue
                value.reshape(-1)[:] = draw(numbers)
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
            case "axis":
                axes = made.graph.input[0].type.tensor_type.shape.dim
                axes[draw(st.integers(0, 3))].dim_value = draw(numbers)
            case "kind":
                kinds = "Expand Tile Pad Range Loop MatMul Einsum GRU Split ConstantOfShape"
                node.op_type = draw(st.sampled_from(kinds.split()))
            case "wire" if node.input:
                names = [name for one in made.graph.node for name in (*one.input, *one.output)]
                node.input[0] = draw(st.sampled_from(names))
            case "size":
                tensor = draw(st.sampled_from(list(made.graph.initializer)))
                tensor.dims.append(draw(numbers))
    return made.SerializeToString()


@pytest.mark.slow
@tried("onnx", data=st.data())
def test_onnx_files(tmp_path, data):
    """Read, fixed for the file's own shapes or usual ones, and its calls looked through."""
    content = small_model()
    file = tmp_path / "n.onnx"
    bytewise = data.draw(st.booleans())
    file.write_bytes(
        data.draw(damaged(content, most=4)) if bytewise else altered(data.draw, content)
    )
    with sound():
        network = cimsim.load_onnx(file)
        try:
            shapes = [InputShape.parse(text) for text in network.shapes]
        except CimsimError:
            shapes = [InputShape((1, 3, 8, 8))]
        network.fixed_for(tuple(shape.zeros() for shape in shapes))


@tried("models", data=st.data())
def test_model_names_and_arguments(tmp_path, data):
    from cimsim.session.loading import load_network

    name = data.draw(st.one_of(
        st.sampled_from(["cimnet", "dncnn", "foldnet"]), st.text(max_size=12),
        st.builds("{}:{}".format, st.text(max_size=6), st.text(max_size=6)),
    ))  # fmt: skip
    arguments = data.draw(st.lists(st.builds(
        "{}={}".format, st.sampled_from(["stride", "tiles", "width", "nobody", ""]),
        st.one_of(LEAVES.map(str), st.integers(0, 20).map(str)),
    ), max_size=2))  # fmt: skip
    with sound():
        load_network(name, model_options(arguments), "random")
