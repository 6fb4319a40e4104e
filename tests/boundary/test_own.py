"""What parts of the user's own raise and return, at the seam where the package calls them."""

import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import cimsim
from cimsim.boundary.own import Unfit, amount, guarded, like, number, table, whole
from cimsim.chip.cells import build
from cimsim.chip.interconnects import interconnect_of
from cimsim.chip.load import load_hw
from cimsim.errors import CimsimError, ConfigError, InputError, MappingError
from cimsim.graph.costs import costed
from tests.cli.command import in_process

PARTS = """
import numpy as np
from pydantic import BaseModel
from cimsim.api import (AbstractConverter, AbstractDevice, AbstractEstimator, AbstractInterconnect,
                        AbstractMetric, AbstractOpCost, Classification, Hop)

class Nothing(BaseModel):
    pass

class Cell(AbstractDevice):
    Parameters = Nothing
    conduction = "ohmic"
    g_min_s = 0.0
    g_max_s = 2e-5
    is_exact = False
    def __init__(self, parameters):
        self.parameters = parameters
    def program(self, target_s, rng):
        return GIVEN
    def read_sigma(self, g_s, time_s=0.0, written_s=None):
        return np.zeros_like(g_s)

class Adc(AbstractConverter):
    def steps(self, bits):
        return GIVEN

class Links(AbstractInterconnect):
    is_one_wire = True
    def way(self, source, targets):
        return GIVEN
    def cycles(self, n_bytes):
        return 1
    area_m2 = 0.0

class Wire(Links):
    def way(self, source, targets):
        return (Hop((), tiles=targets),)
    def energy_j_b(self, link):
        return GIVEN

class Figures(AbstractEstimator):
    gives = ("energy",)
    formula = source = "test"
    def estimate(self, chip, section):
        return GIVEN

class Cost(AbstractOpCost):
    def operations(self, op, inputs):
        return GIVEN

class Cut:
    name = "cut"
    def place(self, op, chip):
        return GIVEN

class Places:
    name = "places"
    def allocate(self, graph, requests, chip):
        return GIVEN

class Task(Classification):
    def judge(self, graph):
        return GIVEN

class Metric(AbstractMetric):
    name, unit, meaning, judges = "own", "1", "test", "labels"
    def of(self, truth, answer):
        return GIVEN
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Write the parts, which all give the same: ``parts("-3")`` or ``parts("{}['x']")``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def given(text):
        (tmp_path / "ownseams.py").write_text(PARTS.replace("GIVEN", text))
        return tmp_path

    yield given
    sys.modules.pop("ownseams", None)


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    return cimsim.trace(net.eval(), (torch.zeros(1, 6),))


def asked(kind="Classification", metrics=()):
    from ownseams import Task

    from cimsim.api import Arrays, Classification

    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    made = Task if kind == "Task" else Classification
    placed = cimsim.map_graph(network(), load_hw("eflash40nm"))
    return cimsim.run(placed, made(source=Arrays((x,), np.arange(40) % 3), samples=2),
                      metrics=metrics)  # fmt: skip


def mapped(**how):
    return cimsim.map_graph(network(), load_hw("eflash40nm"), **how)


def timed(kind):
    placed = cimsim.map_graph(network(), load_hw("eflash40nm", {"interconnect.kind": kind}))
    return cimsim.simulate(placed, None)


SEAMS = {
    "Cell.program": lambda: build("ownseams:Cell", {}).program(
        np.full((3, 4), 1e-6), np.random.default_rng(0)),
    "Adc.steps": lambda: load_hw("eflash40nm", {"adc.kind": "ownseams:Adc"}),
    "Links.way": lambda: interconnect_of(
        load_hw("eflash40nm", {"interconnect.kind": "ownseams:Links"})).way(0, (1,)),
    "Wire.energy_j_b": lambda: timed("ownseams:Wire"),
    "Figures.estimate": lambda: load_hw("eflash40nm", {"adc.energy": "auto ownseams:Figures"}),
    "Cost.operations": lambda: costed(
        network(), load_hw("eflash40nm", {"vector.costs": {"tanh": "ownseams:Cost"}})),
    "Cut.place": lambda: mapped(strategy="ownseams:Cut"),
    "Places.allocate": lambda: mapped(allocation="ownseams:Places"),
    "Task.judge": lambda: asked("Task"),
    "Metric.of": lambda: asked(metrics=["ownseams:Metric"]),
}  # fmt: skip
WRONG = {
    "Cell.program": ("target_s[:-1]", r"expected shape \(3, 4\), got \(2, 4\)"),
    "Adc.steps": ("-3", "expected a finite number >= 1, got -3"),
    "Links.way": ("()", "tile 1 is not reached"),
    "Wire.energy_j_b": ("float('nan')", "expected a finite number >= 0, got nan"),
    "Figures.estimate": ("{'energy': -1e-12}", r"adc\.energy: expected a finite number >= 0"),
    "Cost.operations": ("float('inf')", "expected a finite number >= 0, got inf"),
    "Cut.place": ("3", "returned int, expected a Layout"),
    "Places.allocate": ("[]", "expected a tuple with a PlacedLayer for each request"),
    "Task.judge": ("object()", "its judge has no method 'add'"),
    "Metric.of": ("'much'", "expected a finite number, got 'much'"),
}


@pytest.mark.parametrize("seam", SEAMS)
def test_what_a_part_raises_is_told_with_class_method_file_and_line(seam, parts):
    parts("{}['key']")
    with pytest.raises(CimsimError) as error:
        SEAMS[seam]()
    (line,) = str(error.value).splitlines()
    assert f"ownseams:{seam}" in line
    lines = PARTS.splitlines()
    head = f"class {seam.partition('.')[0]}:"
    place = next(n for n, s in enumerate(lines, 1) if s.replace("(", ":").startswith(head))
    at = next(n for n, text in enumerate(lines, 1) if n > place and "GIVEN" in text)
    assert f"failed with KeyError: 'key' (ownseams.py, line {at})" in line
    assert isinstance(error.value.__cause__, KeyError)  # the traceback is there for -v


@pytest.mark.parametrize("seam", SEAMS)
def test_what_a_part_returns_is_looked_at_before_anything_is_computed_with_it(seam, parts):
    given, told = WRONG[seam]
    parts(given)
    with pytest.raises(CimsimError, match=told) as error:
        SEAMS[seam]()
    assert len(str(error.value).splitlines()) == 1
    assert seam.partition(".")[0] in str(error.value) or "'cut'" in str(error.value)


@pytest.mark.parametrize("given", ["np.full_like(target_s, np.nan)", "-target_s", "None", "1e-6",
                                   "target_s.astype(np.float32)"])  # fmt: skip
def test_a_cell_gives_finite_conductances_of_its_targets(given, parts):
    parts(given)
    with pytest.raises(
        ConfigError, match=r"device\.kind: ownseams:Cell\.program: (expected|holds)"
    ):
        SEAMS["Cell.program"]()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("    conduction = 'magic'", "conduction: expected 'ohmic' or 'gate'"),
        ("    g_max_s = -1.0", "expected 0 <= g_min_s < g_max_s"),
        ("    g_max_s = 'much'", r"Wrong\.g_max_s: expected a finite number"),
        ("    is_exact = 1", r"Wrong\.is_exact: expected True or False, got 1"),
        ("    max_bits = 0", "max_bits: expected None or a whole number"),
        ("    Parameters = None", "Parameters: expected a class that derives from pydantic"),
        ("    def __init__(self, parameters): {}['x']", "cannot be built: KeyError"),
        ("    def __init__(self): pass", "cannot be built: TypeError"),
    ],
)
def test_a_cell_that_none_can_be_is_refused_where_it_is_built(wrong, told, parts):
    folder = parts("target_s")
    with (folder / "ownseams.py").open("a") as file:
        file.write(f"\nclass Wrong(Cell):\n{wrong}\n")
    with pytest.raises(ConfigError, match=told):
        build("ownseams:Wrong", {})


def test_what_the_package_itself_does_wrong_stays_what_it_is():
    class Own:
        def __init__(self):
            self.asked = 0

        def ask(self):
            self.asked += 1
            return self.asked

    Own.__module__ = "elsewhere"
    part = guarded(Own(), "place", {"ask": number()})
    assert isinstance(part, Own)
    assert part.ask() == 1
    assert part.asked == 1
    assert guarded(part, "place", {"ask": number(9)}) is part
    fine = cimsim.api.Hop((0, 1))
    assert guarded(fine, "place", {"after": number(9)}) is fine  # a part of the package


def test_a_guarded_part_is_what_it_was_for_hashes_and_pickles(parts):
    parts("1.0")
    converter = load_hw("eflash40nm", {"adc.kind": "ownseams:Adc"}).adc.converter
    from ownseams import Adc

    assert isinstance(converter, Adc)
    assert inspect.getsourcefile(type(converter)) == inspect.getsourcefile(Adc)
    assert pickle.loads(pickle.dumps(converter)).steps(3) == 1.0
    assert converter.conversion_s > 0  # of the base class, with the part's own steps


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (number(1.0), (1, 2.5, np.float32(3)), (0.5, True, "1", None, np.nan, [1.0])),
        (whole(1), (1, 70), (0, 1.0, True, "1")),
        (amount, (0.0, np.ones(3)), (-1.0, np.array([1.0, np.nan]), -np.ones(1), np.ones(1, int))),
        (lambda value: like(value, np.zeros(2)), (np.ones(2),),
         (np.ones(3), [1.0, 1.0], np.ones(2) * np.inf)),
        (lambda value: table(value, "[k]", least=0.0), (np.ones(2, np.float32),),
         (np.ones(2), np.ones((2, 2), np.float32), -np.ones(2, np.float32))),
    ],
)  # fmt: skip
def test_rules(rule, good, bad):
    for value in good:
        rule(value)
    for value in bad:
        with pytest.raises(Unfit):
            rule(value)


def test_the_command_says_one_line_and_the_traceback_with_v(parts):
    folder = parts("1 / 0")
    line = ("hw", "check", "eflash40nm", "--set", "adc.kind=ownseams:Adc")
    done = in_process(*line, cwd=folder)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "ownseams:Adc.steps(8) failed with ZeroDivisionError" in done.stderr
    more = subprocess.run(
        [sys.executable, "-m", "cimsim", "-v", *line], cwd=folder, capture_output=True, text=True
    )
    assert more.returncode == 2
    assert "Traceback" in more.stderr
    assert "in steps" in more.stderr


def test_tasks_answer_for_what_they_give(parts):
    folder = parts("1.0")
    with (folder / "ownseams.py").open("a") as file:
        file.write("""
class Task(Classification):
    def inputs(self, sample, graph):
        return sample
""")
    with pytest.raises(InputError, match=r"--task: ownseams:Task\.inputs.*: expected a tuple"):
        asked("Task")


def test_a_strategy_that_refuses_a_layer_is_not_told_to_have_failed(parts):
    folder = parts("1")
    with (folder / "ownseams.py").open("a") as file:
        file.write("""
from cimsim.errors import MappingError
class Cut:
    name = "cut"
    def place(self, op, chip):
        raise MappingError("not this one")
""")
    with pytest.raises(MappingError, match=r"^not this one$"):
        mapped(strategy="ownseams:Cut")
