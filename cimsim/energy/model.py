"""Energy of one frame: actions x energy per action + static power x time, by layer and component.

Actions come from the mapping (closed-form counts, which the engine and the timeline confirm), time
from the timeline, and the value-dependent array energy from the operands that the engine applied.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass

from cimsim.chip.interconnects import interconnect_of
from cimsim.chip.spec import Chip
from cimsim.energy.idle import leakage_factor, standing_j
from cimsim.energy.transport import transport
from cimsim.graph.ir import MatrixOp
from cimsim.mapping.dataflow import Node
from cimsim.mapping.mapping import Mapping, PlacedLayer
from cimsim.mapping.traffic import loaded_per_frame
from cimsim.timing.plan.plan import Spilled

COMPONENTS: dict[str, str] = {
    "array": "array: cells, lines",
    "front_end": "front end: integrators, amplifiers",
    "references": "references, read pumps",
    "dac": "DACs: word-line drivers",
    "adc": "ADCs: column converters",
    "adder": "adders: shift-add, row tiles",
    "vector": "vector: scale, bias, activation",
    "matmul": "matmul units: products of computed values",
    "buffer": "tile buffers: read, write",
    "control": "tile control, clock",
    "interconnect": "interconnect: bytes moved",
    "global_buffer": "global buffer: frames in, out",
    "dram": "DRAM: frames, spilled pixels, refresh",
    "io": "link to the host",
    "processor": "processor",
    "programming": "programming: arrays written anew",
    "static": "static: leakage, chip level",
    "conversion": "power conversion: lost there",
}
CHIP_ROW = "(chip)"

# what goes with the time that a chip is on (the link: nearly all of it), not with what it does
STANDING = ("references", "control", "io", "processor", "static")


def number_of(component: str) -> str:
    """Return under which name a component's energy stands among the numbers of a result.

    ``energy.programming`` is that of writing all weights once, which is no part of a frame's.
    """
    return f"energy.{'rewriting' if component == 'programming' else component}"


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """Joules per frame.

    Attributes
    ----------
    by_layer : dict
        Layer -> component -> J per frame. Frames in and out and static energy: ``(chip)``.
    time_per_frame_s : float
        Time over which static power is charged.
    array_energy_from : {"operands", "statistics", "activity"}
        Whether the array energy follows the operands of a functional run, statistics of those of
        the float network, or the YAML's activity factor.
    macs : int
        Multiply-accumulates of the network per frame.
    """

    by_layer: dict[str, dict[str, float]]
    time_per_frame_s: float
    array_energy_from: str
    macs: int

    @property
    def by_component(self) -> dict[str, float]:
        """Component -> J per frame."""
        return {
            name: sum(row.get(name, 0.0) for row in self.by_layer.values()) for name in COMPONENTS
        }

    @property
    def total_j(self) -> float:
        """J per frame."""
        return sum(sum(row.values()) for row in self.by_layer.values())

    @property
    def average_power_w(self) -> float:
        """Watts while frames stream."""
        return self.total_j / self.time_per_frame_s

    @property
    def tops_per_w(self) -> float:
        """10^12 operations per joule; one multiply-accumulate is two operations."""
        return 2 * self.macs / self.total_j / 1e12 if self.total_j else float("inf")


def energy(
    mapping: Mapping,
    time_per_frame_s: float,
    conductance_sums: MappingABC[str, float] | None = None,
    working_s: MappingABC[str, float] | None = None,
    sums_from: str = "operands",
    spilled: Spilled = (),
) -> EnergyReport:
    """Charge every action of one frame.

    Parameters
    ----------
    mapping : Mapping
    time_per_frame_s : float
        Interval between frames: the timeline's, or a longer one at a given frame rate.
    conductance_sums : mapping, optional
        `MatrixOp` name -> sum over one frame of ``(x / x_max)^p * (G+ + G-)`` in siemens, as the
        engine accumulates it; ``v_read^2`` and `read_time_s` times it are array energy. Without it
        ``array.activity`` (0.1 when the chip has none) times the full-scale conductance is charged.
    working_s : mapping, optional
        Node -> time per frame that its tiles work for it, s, from `cimsim.energy.idle`. What a
        tile's clock and supply cost while it waits follows ``tile.idle``; without it tiles count as
        working all the time.
    sums_from : {"operands", "statistics"}
        Where ``conductance_sums`` come from: a functional run, or `cimsim.energy.operands`.
    spilled : mapping of (str, str) to str, or iterable of (str, str)
        Line buffers that the timeline kept in the global buffer or DRAM: `Timeline.spilled`.
    """
    kept = frozenset(spilled)
    rows: dict[str, dict[str, float]] = {}
    for node in mapping.nodes:
        if isinstance(node.op, MatrixOp):
            rows[node.name] = _matrix_node(mapping, node, node.op, conductance_sums, kept)
        elif node.kind == "vector":
            rows[node.name] = _vector_node(mapping, node, kept)
    rows[CHIP_ROW] = _frame_traffic(mapping)
    _add(rows[CHIP_ROW], standing_j(mapping, time_per_frame_s, working_s))
    if mapping.loads > 1:  # written anew in each frame
        rows[CHIP_ROW]["programming"] = programming(mapping)["energy_j"]
    for name, moved in transport(mapping, spilled).items():
        _add(rows[name if name in rows else CHIP_ROW], moved)
    efficiency = mapping.chip.power_conversion.efficiency
    if efficiency < 1:
        for row in rows.values():
            row["conversion"] = sum(row.values()) * (1 / efficiency - 1)
    return EnergyReport(
        rows, time_per_frame_s, "activity" if conductance_sums is None else sums_from,
        sum(count.macs for count in mapping.counts.values()),
    )  # fmt: skip


def _add(row: dict[str, float], more: MappingABC[str, float]) -> None:
    for component, joules in more.items():
        row[component] = row.get(component, 0.0) + joules


def _matrix_node(
    mapping: Mapping,
    node: Node,
    op: MatrixOp,
    sums: MappingABC[str, float] | None,
    spilled: frozenset[tuple[str, str]],
) -> dict[str, float]:
    chip, count, layer = mapping.chip, mapping.counts[node.name], mapping.layer_of[node.name]
    layout, replicas = layer.layout, len(layer.slots)
    if sums is None:
        # of two phases, and of two rows, an input drives only one
        pulses = count.pulses / layout.n_arrays / chip.phases(op.signed)
        # between the copies of several windows cells are erased
        held = count.cells if layout.windows_per_activation == 1 else layout.cells_used
        cells = held * chip.weights.slices + sum(layout.rows_used) * chip.weights.reference_cols
        conductance = activity(chip) * g_full_scale(chip) * cells * pulses
    else:
        conductance = sums[node.name]
    values = count.windows * op.n_cols
    # activations at the map's edge add up windows beyond it, too
    summed = count.activations // layout.n_arrays * layout.windows_per_activation * op.n_cols
    # mean over pulses: the last one may hold fewer bits than the others
    bits = chip.phases(op.signed) * chip.magnitude_bits(op.signed)
    pulse_bits = bits / chip.pulses_for(op.signed)
    stored = node.windows * node.stored * chip.input_bytes
    return {
        "array": conductance * chip.array.v_read_v**2 * read_time_s(chip)
        + count.pulses * chip.array.fixed_energy_j
        + count.pulses / layout.n_arrays * _unselected_j(mapping, layer),
        "front_end": count.pulses
        / layout.n_arrays
        * chip.array.active_power_w
        * sum(chip.pulse_interval_s(n) for n in layout.cols_used),
        "dac": count.dac_conversions * (chip.dac.energy_j + pulse_bits * chip.dac.bit_energy_j),
        "adc": count.conversions * chip.adc.converter.energy_j,
        # a value that is the sum of k conversions takes k - 1 additions
        "adder": max(0, count.conversions - summed) * chip.adder.energy_j,
        "vector": node.windows * node.vector_work(chip) * chip.vector.energy_j
        + values * chip.vector.scale_energy_j,
        "buffer": loaded_per_frame(op, layout, replicas, chip) * chip.buffer.read_energy_j_b
        + stored * _readers(mapping, node, spilled) * chip.buffer.write_energy_j_b,
    }


def _unselected_j(mapping: Mapping, layer: PlacedLayer) -> float:
    """Return what rows that are not selected take from the columns read in one pulse, J.

    Cells of those rows have gates at their off level and the drain voltage of the column. In a pair
    their currents cancel but for their mismatch, which calibration takes back with the offset of
    the column.
    """
    chip, layout = mapping.chip, layer.layout
    columns = chip.weights.slices * chip.weights.cells_per_slice
    cells = sum(
        (chip.array.rows - rows * layout.lines_per_row)
        * (cols * columns + chip.weights.reference_cols)
        for rows, cols in zip(layout.rows_used, layout.cols_used, strict=True)
    )
    power_w = cells * chip.array.off_current_a * chip.array.v_read_v * leakage_factor(chip)
    return power_w * chip.drive_s


def _vector_node(
    mapping: Mapping, node: Node, spilled: frozenset[tuple[str, str]]
) -> dict[str, float]:
    chip = mapping.chip
    stored = read = node.windows * node.stored * chip.input_bytes
    energy_j = {"vector": node.windows * node.vector_work(chip) * chip.vector.energy_j}
    if chip.matmul is not None and node.products:
        energy_j["matmul"] = node.windows * node.products * chip.matmul.energy_j
        read = node.windows * node.operands * chip.input_bytes
    energy_j["buffer"] = (
        read * chip.buffer.read_energy_j_b
        + stored * _readers(mapping, node, spilled) * chip.buffer.write_energy_j_b
    )
    return energy_j


def _readers(mapping: Mapping, node: Node, spilled: frozenset[tuple[str, str]]) -> int:
    """Nodes that keep a copy of this node's output in their line buffer, on their tile."""
    return sum(
        any(dependency.producer == node.name for dependency in other.dependencies)
        and (node.name, other.name) not in spilled
        for other in mapping.nodes
    )


def _frame_traffic(mapping: Mapping) -> dict[str, float]:
    """Input frames from the link and the global buffer into tile buffers, outputs back.

    Where frames stream through a port `cimsim.energy.transport` has the way between.
    """
    chip, graph = mapping.chip, mapping.graph
    into = sum(graph.per_sample(op.name) for op in graph.inputs) * chip.input_bytes
    out = sum(graph.per_sample(name) for name in graph.outputs) * chip.input_bytes
    energy_j = {
        "buffer": into * chip.buffer.write_energy_j_b,
        "io": (into + out) * chip.io.energy_j_b,
    }
    if chip.frames == "resident":
        free = interconnect_of(chip).is_free
        energy_j["interconnect"] = 0.0 if free else (into + out) * chip.interconnect.energy_j_b
        energy_j["global_buffer"] = (
            into * chip.global_buffer.read_energy_j_b + out * chip.global_buffer.write_energy_j_b
        )
    return energy_j


def activity(chip: Chip) -> float:
    """Share of the full-scale array current that flows when no operands are known."""
    return chip.array.activity if chip.array.activity is not None else 0.1


def read_time_s(chip: Chip) -> float:
    """Return for how long a cell at full input counts as drawing ``V G``, s.

    A conducting cell dissipates ``V**2 G t`` (``V I t`` where a gate drives it) during a pulse. A
    cell that moves charge takes ``C V**2`` from the supply at full scale, and below in proportion
    to input and weight, as charge is what the column reads: the time is ``C / G`` at full scale.
    """
    if chip.array.mode == "charge":
        return chip.array.cell_capacitance_f / g_full_scale(chip)
    return chip.drive_s


def g_full_scale(chip: Chip) -> float:
    """Full-scale conductance of one cell in siemens, as the device section of the YAML has it."""
    from cimsim.chip.cells import build

    return build(chip.device.kind, chip.device.parameters).g_max_s


def programming(mapping: Mapping, pulses_per_cell: float | None = None) -> dict[str, float]:
    """Time and energy of writing all weights once: ``{"time_s": ..., "energy_j": ...}``.

    Arrays are erased and written one after another: two cells per weight slice, or one and, in each
    array and slice, one reference cell per driven row.

    Parameters
    ----------
    mapping : Mapping
    pulses_per_cell : float, optional
        Mean number of pulses where write-verify was run as a loop; else that of the chip's
        ``programming``.
    """
    plan, arrays, cells = mapping.chip.programming, mapping.arrays_written, mapping.cells_written
    return {
        "time_s": plan.time_s(arrays, cells, pulses_per_cell),
        "energy_j": plan.energy_j(arrays, cells, pulses_per_cell),
    }
