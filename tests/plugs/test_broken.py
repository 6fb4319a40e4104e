"""Contract tests that cannot fail are none: each rule has a plug that breaks it."""

import itertools

import numpy as np
import pytest
import torch

from cimsim.api import Hop
from cimsim.errors import MappingError
from cimsim.testing import (
    ContractBrokenError,
    check_allocation,
    check_converter,
    check_device,
    check_estimator,
    check_interconnect,
    check_metric,
    check_op_cost,
    check_strategy,
    check_task,
    check_writer,
)


def in_place(self, target_s, rng):
    target_s *= 1.01
    return target_s.copy()


def drifts_wrongly(self, g_s, time_s, temperature_k, rng):
    return g_s * 0.9


def remembers(self, target_s, rng):
    type(self).written = getattr(type(self), "written", 0) + 1
    return target_s * (1 + 1e-3 * self.written)


def no_refusal(self, time_s, temperature_k):
    if time_s:
        raise KeyError("time")


DEVICES = [
    ({"conduction": "magic"}, "conduction: expected 'ohmic' or 'gate', got 'magic'"),
    ({"g_max_s": -1e-6}, "expected 0 <= g_min_s < g_max_s"),
    ({"max_bits": 0}, "max_bits: expected None or a whole number"),
    ({"program": lambda self, t, rng: t[0]}, r"program: expected shape \(30, 40\), got \(40,\)"),
    ({"program": lambda self, t, rng: t - 1e-5}, "program: holds -1e-05, less than 0"),
    ({"program": lambda self, t, rng: t.astype(np.float32)}, "expected float64, got float32"),
    ({"program": lambda self, t, rng: t * np.nan}, "program: holds NaN"),
    ({"program": in_place}, "program changes the targets"),
    ({"program": remembers}, "other cells for the same generator"),
    ({"program": lambda self, t, rng: 1 / 0}, "program failed with ZeroDivisionError"),
    ({"read_sigma": lambda self, g, t=0, w=None: 0.0}, r"read_sigma: expected shape"),
    ({"is_exact": True}, "is_exact says that cells take their target"),
    ({"age": drifts_wrongly}, "age changes cells at time 0"),
    ({"check_conditions": no_refusal}, "must refuse with a ConfigError, got .*KeyError"),
    ({"__init__": lambda self: None}, "parameters {}: .*TypeError"),
]


@pytest.mark.parametrize(("change", "told"), DEVICES)
def test_a_broken_cell_is_found(change, told, broken):
    with pytest.raises(ContractBrokenError, match=told):
        check_device(broken("root_cell:RootCell", change))


COUNT = itertools.count()
ESTIMATORS = [
    ({"gives": ()}, "gives: expected names of fields"),
    ({"gives": ("speed",)}, "'speed' is no field of adc"),
    ({"gives": ("energy", "area")}, r"estimate gives \['energy'\], promised"),
    ({"source": " "}, "source: expected a text"),
    ({"estimate": lambda self, chip, section: {"energy": -1.0}}, "finite number >= 0, got -1.0"),
    ({"estimate": lambda self, chip, section: {"energy": next(COUNT)}}, "other numbers"),
    ({"estimate": lambda self, chip, section: {"energy": 1e-12}}, "must be refused"),
    ({"estimate": lambda self, chip, section: {}["x"]}, "estimate.* failed with KeyError"),
]


@pytest.mark.parametrize(("change", "told"), ESTIMATORS)
def test_a_broken_estimator_is_found(change, told, broken):
    with pytest.raises(ContractBrokenError, match=told):
        check_estimator(broken("walden:Walden", change), "adc", outside={"adc.bits": 14})


def swapped(self, op, chip):
    """Leave the last rows of the matrix out."""
    from cimsim.api import Block, Layout

    return Layout.of(op, chip, [Block(0, 0, 0, op.group_rows - 1, op.group_cols, 0, 0, 0)])


def other_each_time(self, op, chip):
    type(self).turn = getattr(type(self), "turn", 0) + 1
    if self.turn % 2:
        return self.parent.place(op, chip)
    from cimsim.mapping.strategies import Im2col

    return Im2col().place(op, chip)


STRATEGIES = [
    ({"name": 3}, "mapping: MappingError.*expected an object with a text 'name'"),
    ({"place": swapped}, "layer '.*': MappingError"),
    ({"place": lambda self, op, chip: None}, "returned NoneType"),
    ({"place": lambda self, op, chip: 1 / 0}, "failed with ZeroDivisionError"),
]


@pytest.mark.parametrize(("change", "told"), STRATEGIES)
def test_a_broken_strategy_is_found(change, told, broken):
    with pytest.raises(ContractBrokenError, match=told):
        check_strategy(broken("spread:Spread", change))


def test_a_strategy_that_changes_its_mind_is_found(broken, plug):
    path = broken("spread:Spread", {"place": other_each_time, "parent": plug("spread:Spread")()})
    with pytest.raises(ContractBrokenError, match="another layout for the same matrix"):
        check_strategy(path)


def doubled(self, graph, requests, chip):
    placed = self.parent.allocate(graph, requests, chip)
    return (*placed[:-1], type(placed[0])(placed[-1].name, placed[-1].ops, placed[-1].layout,
                                          placed[0].slots))  # fmt: skip


ALLOCATIONS = [
    ({"allocate": lambda self, graph, requests, chip: ()}, "a PlacedLayer for each request"),
    ({"allocate": lambda self, graph, requests, chip: 1 / 0}, "allocate: ZeroDivisionError"),
    ({"name": None}, "allocation: MappingError"),
]


@pytest.mark.parametrize(("change", "told"), ALLOCATIONS)
def test_a_broken_allocation_is_found(change, told, broken):
    with pytest.raises(ContractBrokenError, match=told):
        check_allocation(broken("backwards:Backwards", change))


def test_an_allocation_that_places_two_layers_on_the_same_cells_is_found(broken, plug):
    path = broken("backwards:Backwards", {
        "allocate": doubled, "parent": plug("backwards:Backwards")(),
    })  # fmt: skip
    with pytest.raises(ContractBrokenError, match=r"on eflash40nm: MappingError"):
        check_allocation(path)


def test_an_allocation_that_crashes_where_there_is_no_room_is_found(broken, plug):
    parent = plug("backwards:Backwards")()

    def crashes(self, graph, requests, chip):
        try:
            return parent.allocate(graph, requests, chip)
        except MappingError as error:
            raise RuntimeError("no room") from error

    path = broken("backwards:Backwards", {"allocate": crashes})
    with pytest.raises(ContractBrokenError, match="a chip without room must be refused"):
        check_allocation(path)


def judging(change):
    """Return a task whose judge has something else in it."""

    def judge(self, graph):
        made = type(self).__mro__[1].judge(self, graph)
        return type("Judge", (type(made),), change)()

    return {"judge": judge}


def unfair(self, sample, expected, got):
    label = torch.tensor([sample.label])
    self.samples += 1
    self.got += 1 + float(torch.nn.functional.cross_entropy(got[0], label))
    self.expected += float(torch.nn.functional.cross_entropy(expected[0], label))


TASKS = [
    (judging({"scores": lambda self: []}), "the judge gives none"),
    (judging({"add": unfair}), "gave the float network's answers, and has"),
    (judging({"details": lambda self: {"x": {1, 2}}}), "details: no JSON"),
    (judging({"details": lambda self: {"x": float("nan")}}), "details: no JSON"),
    ({"judge": lambda self, graph: None}, "its judge has no method 'add'"),
    ({"calibration_inputs": lambda self, graph: [self.inputs(self.asked(0), graph)]},
     "has a sample that is judged"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), TASKS)
def test_a_broken_task_is_found(change, told, broken):
    with pytest.raises(ContractBrokenError, match=told):
        check_task(broken("log_loss:LogLoss", change))


def changes(self, truth, answer):
    answer *= 0.5
    return 0.0


def counts_in_the_class(self, truth, answer):
    type(self).seen = getattr(type(self), "seen", 0) + 1
    return float(self.seen)


METRICS = [
    ({"name": "Flicker!"}, "name: expected letters"),
    ({"unit": 1}, "unit: expected a text"),
    ({"judges": "smells"}, "judges: expected frames, labels, outputs"),
    ({"of": lambda self, truth, answer: None}, "of: expected a finite number, got None"),
    ({"of": lambda self, truth, answer: np.inf}, "of: expected a finite number, got inf"),
    ({"of": lambda self, truth, answer: 1 / 0}, "of: ZeroDivisionError"),
    ({"of": changes}, "of changes what it is given"),
    ({"of": counts_in_the_class}, "for the same answers in a new instance"),
    ({"total": lambda self, values: [1.0, 2.0]}, r"total: expected a finite number"),
    ({"total": lambda self, values: sum(values) / (len(values) - 1)}, "total of one"),
    ({"__init__": lambda self, more: None}, "without arguments: TypeError"),
]


@pytest.mark.parametrize(("change", "told"), METRICS)
def test_a_broken_metric_is_found(change, told, broken):
    with pytest.raises(ContractBrokenError, match=told):
        check_metric(broken("flicker:Flicker", change))


OP_COSTS = [
    (
        {"operations": lambda self, op, inputs: -1},
        r"'sort'\): expected a finite number >= 0, got -1",
    ),
    ({"operations": lambda self, op, inputs: np.inf}, "expected a finite number >= 0, got inf"),
    ({"operations": lambda self, op, inputs: None}, "expected a finite number >= 0, got None"),
    ({"operations": lambda self, op, inputs: 1 / 0}, "failed with ZeroDivisionError"),
    ({"operations": lambda self, op, inputs: 1 + next(COUNT)}, "costs .*, and then"),
    ({"__init__": lambda self, more: None}, "cannot be built"),
]


@pytest.mark.parametrize(("change", "told"), OP_COSTS)
def test_a_broken_cost_is_found(change, told, broken, sorts):
    with pytest.raises(ContractBrokenError, match=told):
        check_op_cost(broken("bitonic:BitonicSort", change), sorts, "sort")


def test_a_cost_of_an_operation_that_is_not_there_is_found(plug, sorts):
    plug("bitonic:BitonicSort")
    with pytest.raises(ContractBrokenError, match=r"no operation 'resize'; it has .*sort"):
        check_op_cost("bitonic:BitonicSort", sorts, "resize")


def straight(*links):
    """Return a `way` that has these hops for every message."""
    return lambda self, source, targets: tuple(links)


def both_from_the_end(self, source, targets):
    far = [t for t in targets if t != source]
    return tuple(Hop((source, t), place, (t,)) for place, t in enumerate(far))


INTERCONNECTS = [
    ({"way": straight()}, r"way\(0, \(1,\)\): tile 1 is not reached"),
    ({"way": lambda self, source, targets: None}, "expected a tuple of Hop"),
    ({"way": straight(Hop((0, 0)), Hop((0, 0)))}, "a link twice"),
    ({"way": straight(Hop((0,)))}, r"link: expected 2 whole numbers, got \(0,\)"),
    ({"way": straight(Hop((0, 1), -1, (99,)))}, r"no tile \(99,\)"),
    ({"way": both_from_the_end}, "hop 0 follows one that is not before"),
    ({"way": lambda self, source, targets: (Hop((next(COUNT), 0)),)}, "another way each time"),
    ({"way": lambda self, source, targets: 1 / 0}, "ZeroDivisionError"),
    ({"cycles": lambda self, n_bytes: 0}, r"cycles\(1\): expected a whole number >= 1, got 0"),
    ({"cycles": lambda self, n_bytes: 1000 // n_bytes}, "expected a whole number >= 1000, got 500"),
    ({"delay": lambda self, n_bytes: 0}, r"delay\(1\): expected a whole number >= 1"),
    ({"energy_j_b": lambda self, link: -1.0}, r"energy_j_b\(\(.*\)\): expected a finite number"),
    ({"area_m2": np.nan}, "area_m2: expected a finite number >= 0, got nan"),
    ({"is_free": 1}, "is_free: expected True or False"),
    ({"is_one_wire": True}, "link: expected 0 whole numbers"),
    ({"__init__": lambda self: None}, "cannot be built: TypeError"),
]


@pytest.mark.parametrize(("change", "told"), INTERCONNECTS)
def test_a_broken_interconnect_is_found(change, told, broken):
    with pytest.raises(ContractBrokenError, match=told):
        check_interconnect(broken("ring:Ring", change))


def noisy_where_fine(self):
    return np.full(2, 2.0**self.adc.bits if self.adc.bits > 8 else 0.0, np.float32)


CONVERTERS = [
    ({"steps": lambda self, bits: 10.0 - bits}, r"steps\(2\): expected a number >= 9, got 8.0"),
    ({"steps": lambda self, bits: 0}, r"steps\(.*\): expected a finite number >= 1, got 0"),
    ({"steps": lambda self, bits: 1 / 0}, "steps.* failed with ZeroDivisionError"),
    ({"conversion_s": 0.0}, "conversion_s: expected a finite number >= 1e-15"),
    ({"energy_j": -1.0}, "energy_j: expected a finite number >= 0, got -1.0"),
    ({"noise_lsb": np.nan}, "noise_lsb: expected a finite number"),
    ({"is_exact": 1}, "is_exact: expected True or False"),
    ({"curves": lambda self, n, rng: np.zeros((n, 9))}, r"curves.*: expected float32 \[m, k\]"),
    ({"curves": lambda self, n, rng: np.zeros(9, np.float32)}, r"expected float32 \[m, k\]"),
    ({"curves": lambda self, n, rng: np.zeros((n, 1), np.float32)}, "fewer than two points"),
    ({"curves": lambda self, n, rng: np.full((n, 9), np.inf, np.float32)}, "NaN or infinity"),
    ({"curves": lambda self, n, rng: np.full((n, 9), next(COUNT), np.float32)},
     "curves: others for the same generator"),
    ({"noise_curve": lambda self: 0.3}, r"noise_curve: expected float32 \[k\], got float"),
    ({"noise_curve": lambda self: np.full(5, -1, np.float32)}, "noise_curve: holds -1, less"),
    ({"noise_curve": noisy_where_fine}, "ten bits are less exact than three"),
    ({"__init__": lambda self: None}, "cannot be built: TypeError"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), CONVERTERS)
def test_a_broken_converter_is_found(change, told, broken):
    with pytest.raises(ContractBrokenError, match=told):
        check_converter(broken("subranging:Subranging", change))


def edits(self, result, folder):
    (folder / "result.json").write_text("{}")


def alters(self, result, folder):
    result.inputs["seed"] = 7


def removes(self, result, folder):
    (folder / "layers.csv").unlink()


WRITERS = [
    ({"write": edits}, "write changes result.json"),
    ({"write": alters}, "write changes the result"),
    ({"write": removes}, "write changes layers.csv"),
    ({"write": lambda self, result, folder: "two\nlines"}, "one line for the screen"),
    (
        {"write": lambda self, result, folder: 1 / 0},
        "--writer: broken_plug:Sheet.write failed with ZeroDivisionError",
    ),
    ({"write": lambda self, result, folder: 3}, "Sheet.write: expected a line or None, got 3"),
    ({"check": lambda self: 1 / 0}, "check failed with ZeroDivisionError"),
    ({"__init__": lambda self, more: None}, "--writer: InputError.*cannot be built"),
]


@pytest.mark.parametrize(("change", "told"), WRITERS)
def test_a_broken_writer_is_found(change, told, broken):
    with pytest.raises(ContractBrokenError, match=told):
        check_writer(broken("sheet:Sheet", change))


def test_a_class_that_no_chip_file_could_name_is_found():
    class Hidden:
        name = "hidden"

    with pytest.raises(ContractBrokenError, match=r"put it at the top of a module"):
        check_strategy(Hidden)
    with pytest.raises(ContractBrokenError, match="cannot import 'no_such_module'"):
        check_device("no_such_module:Cell")
