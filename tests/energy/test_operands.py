"""Array energy from statistics of operands against the engine's exact sums, on real frames."""

import functools

import pytest

import cimsim
from cimsim.chip.cells import device_of
from cimsim.energy.operands import row_conductance_s
from cimsim.engine.program import program
from cimsim.errors import InputError
from cimsim.video.embedded import embedded_clip
from tests.thorough import some

CASES = {
    "gate-driven cells": ("cimnet", "eflash40nm", {}),
    "bit by bit": ("cimnet", "sonos40nm", {}),
    "pulse width": ("fastdvdnet-block", "pcm64core14nm", {}),
    "amplitudes on ohmic cells": ("fastdvdnet-block", "eflash40nm", {
        "device": {"kind": "ideal", "g_max": "10 nS", "g_min": "0.1 nS"},
    }),
    "charge": ("fastdvdnet-block", "eflash40nm", {
        "array.mode": "charge", "array.cell_capacitance": "1 fF",
    }),
    "two rows": ("fastdvdnet-block", "eflash40nm", {"inputs.signed": "rows", "tile.count": 100}),
    "two phases": ("fastdvdnet-block", "eflash40nm", {"inputs.signed": "phases"}),
}  # fmt: skip


@functools.cache
def graph(name):
    network = cimsim.load_network(name)
    return cimsim.trace(network.module, network.example(64, 64), name=name)


def clip(frames=2):
    return embedded_clip(frames=frames, height=64, width=64)


@pytest.mark.parametrize("case", some(CASES, *list(CASES)[:1]))
def test_statistics_are_within_five_percent_of_the_exact_energy(case):
    name, hw, changes = CASES[case]
    mapping = cimsim.map_graph(graph(name), cimsim.load_hw(hw, changes))
    exact = cimsim.simulate(mapping, clip(), threads=1)
    quick = cimsim.simulate(mapping, None, operands=clip())
    assert exact.energy.array_energy_from == "operands"
    assert quick.energy.array_energy_from == "statistics"
    assert any("statistics" in note for note in quick.notes)
    array = [result.energy.by_component["array"] for result in (exact, quick)]
    assert array[1] == pytest.approx(array[0], rel=0.05, abs=0)
    for part, value in exact.energy.by_component.items():
        if part != "array":
            assert quick.energy.by_component[part] == value


def test_exact_cells_and_codes_leave_nothing_but_rounding():
    """Cells and converters without error: every layer is met, as all windows here are sampled."""
    ideal = {"kind": "ideal", "g_max": "10 nS", "g_min": "0.1 nS"}
    changes = {"device": ideal, "adc.kind": "ideal", "weights.rounding": "nearest",
               "weights.scale": "layer", "inputs.percentile": 100, "inputs.bits": 12,
               "dac.bits": 12, "weights.bits": 12}  # fmt: skip
    mapping = cimsim.map_graph(graph("cimnet"), cimsim.load_hw("eflash40nm", changes))
    exact = cimsim.simulate(mapping, clip(), threads=1)
    quick = cimsim.simulate(mapping, None, operands=clip())
    for left, right in zip(exact.layers, quick.layers, strict=True):
        if left.get("array_j"):
            close = pytest.approx(left["array_j"], rel=0.01, abs=0)
            assert right["array_j"] == close, left["layer"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"inputs.signed": "rows"}, {"weights.encoding": "offset", "weights.cell_bits": 4},
     {"weights.encoding": "twos_complement", "weights.cell_bits": 2}],
)  # fmt: skip
def test_conductance_of_rows_is_that_of_programmed_cells_without_errors(changes):
    ideal = {"kind": "ideal", "g_max": "10 nS", "g_min": "0.1 nS"}
    chip = cimsim.load_hw(
        "eflash40nm",
        changes | {"device": ideal, "tile.count": 400, "array.rows": 100, "weights.scale": "layer"},
    )
    mapping = cimsim.map_graph(graph("fastdvdnet-block"), chip)
    programmed = program(mapping, device_of(chip), 0)
    for op in mapping.graph.matrix_ops:
        layout = mapping.layer_of[op.name].layout
        written = sum(
            a.written.row_conductance_s.sum() for a in programmed.layer_of(op.name).arrays
        )
        estimated = row_conductance_s(op, layout, chip, device_of(chip)).sum()
        lines = chip.lines_per_input(op.signed)
        assert lines * estimated == pytest.approx(written, rel=1e-9, abs=0)


def test_operands_beside_a_clip_are_refused():
    mapping = cimsim.map_graph(graph("cimnet"), cimsim.load_hw("eflash40nm"))
    with pytest.raises(InputError, match="operands"):
        cimsim.simulate(mapping, clip(), operands=clip())
