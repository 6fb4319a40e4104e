"""Put one result together from the mapping, the timeline, the energy and the frames."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as MappingABC

from cimsim import __version__
from cimsim.boundary import json_text
from cimsim.boundary.arguments import number
from cimsim.chip.area import area
from cimsim.chip.cells import device_of
from cimsim.chip.ledger import sourced_zeros
from cimsim.chip.load import dump
from cimsim.chip.spec import Chip
from cimsim.display.doubts import Doubt
from cimsim.energy.compensation import compensation
from cimsim.energy.idle import working
from cimsim.energy.ledger import DrawnEnergy, interval
from cimsim.energy.model import CHIP_ROW, EnergyReport, energy, programming
from cimsim.engine.statistics import OpStatistics
from cimsim.errors import InputError
from cimsim.graph.costs import costed, misspelt
from cimsim.graph.coverage import LEAST, Coverage
from cimsim.graph.digest import operations_hash, weights_hash
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.mapping.mapping import Mapping
from cimsim.session.parts import AsWritten, Energy, Hardware, Timing
from cimsim.timing.spec.memories import doubt
from cimsim.timing.spec.stage import STAGES
from cimsim.timing.timeline import Timeline
from cimsim.units import format_si


def timing(mapping: Mapping, timeline: Timeline) -> Timing:
    """Headline numbers of a timeline."""
    slowest = timeline.bottleneck
    # of the steady interval: the share of all cycles counts filling and draining the pipeline too
    per_frame = slowest.share * timeline.cycles / timeline.frames
    names = {layer.name: layer.ops[0] for layer in mapping.layers}
    where = names.get(slowest.name, slowest.name)
    return Timing(
        timeline.cycles_first_frame, timeline.interval, mapping.chip.process.clock_hz,
        f"{where} {slowest.stage}", min(1.0, per_frame / timeline.interval), timeline.schedule,
    )  # fmt: skip


def frame_period_s(mapping: Mapping, timeline: Timeline, frame_rate_hz: float | None) -> float:
    """Time from one frame to the next, s: back to back, or at a given rate.

    Raises
    ------
    InputError
        A rate that is not positive, or that the chip does not reach.
    """
    shortest = timeline.interval_s(mapping.chip.process.clock_hz)
    if frame_rate_hz is None:
        return shortest
    frame_rate_hz = number("frame rate", frame_rate_hz, 0, float("inf"), InputError)
    if frame_rate_hz == 0:
        raise InputError("frame rate: expected more than 0 frames per second, got 0")
    if frame_rate_hz * shortest > 1 + 1e-9:
        raise InputError(
            f"frame rate: chip '{mapping.chip.name}' reaches {1 / shortest:.4g} frames per second "
            f"with this network and frame size, got {frame_rate_hz:g}; ask for fewer, or leave it "
            "out for back-to-back frames"
        )
    return 1 / frame_rate_hz


def energies(
    mapping: Mapping,
    spent: EnergyReport,
    pulses_per_cell: float | None = None,
    frame_rate_hz: float | None = None,
    samples: int | None = None,
) -> Energy:
    """Headline numbers of an energy report; pulses as they were counted, else the chip's figure.

    ``samples``: inputs that the chip is calibrated on; default: ``calibration.frames``.
    """
    writing = programming(mapping, pulses_per_cell)
    return Energy(
        spent.by_component, spent.total_j, spent.average_power_w, spent.tops_per_w,
        spent.array_energy_from, writing["energy_j"], writing["time_s"], frame_rate_hz,
        *compensation(mapping, samples),
    )  # fmt: skip


def hardware(mapping: Mapping) -> Hardware:
    """Return what the network takes of the chip."""
    chip, total = mapping.chip, mapping.total
    return Hardware(
        chip.name, mapping.arrays_used, chip.n_arrays, mapping.utilisation, total.weights,
        sum(area(chip).values()), sum(area(chip, mapping.tiles_used).values()),
        total.windows, total.activations, total.conversions, total.macs,
    )  # fmt: skip


def as_written(
    written: Mapping,
    timeline: Timeline,
    mapping: Mapping,
    sums: dict[str, float] | None,
    frame_rate_hz: float | None = None,
) -> AsWritten:
    """Put together what a streaming network would cost without reuse.

    Parameters
    ----------
    written, timeline
        Mapping and times of the network as written.
    mapping : Mapping
        Of the streaming network, with the same matrices.
    sums : dict or None
        Operand sums of the streaming network's run. Both read the same kind of data, so an
        activation of a matrix draws the same mean current; only how many there are differs.
    frame_rate_hz : float, optional
        Frames come at this rate; back to back where the network without reuse does not reach it.
    """
    if sums is not None:
        sums = _transferred(written, mapping, sums)
    period = timeline.interval_s(written.chip.process.clock_hz)
    period = period if frame_rate_hz is None else max(period, 1 / frame_rate_hz)
    spent = energy(written, period, sums, working(written, timeline), spilled=timeline.spilled)
    total, uses = written.total, [len(layer.ops) for layer in written.layers]
    return AsWritten(
        timeline.interval, timeline.cycles_first_frame, spent.total_j, written.arrays_used,
        total.windows, total.activations, total.conversions,
        sum(n > 1 for n in uses), max(uses),
    )  # fmt: skip


def check_same_network(written: Mapping, mapping: Mapping) -> None:
    """Refuse to compare mappings that are not of one network, one frame size and one chip.

    Raises
    ------
    InputError
        Naming what differs.
    """
    same: dict[str, Callable[[Mapping], object]] = {
        "set of matrices": lambda m: {layer.name for layer in m.layers},
        "frame size": lambda m: m.graph.inputs[0].output.grid,
        "chip": lambda m: m.chip,
    }
    for what, of in same.items():
        if of(written) != of(mapping):
            raise InputError(
                f"as_written: another {what} in the mapping of '{written.graph.name}' than in that "
                f"of '{mapping.graph.name}'; map the same network, as it is written, for the same "
                "frames and chip"
            )


def _transferred(written: Mapping, mapping: Mapping, sums: dict[str, float]) -> dict[str, float]:
    """Operand sums of ``written`` from those of ``mapping``: the mean activation of each matrix."""
    mean = {
        layer.name: sum(sums[op] for op in layer.ops)
        / sum(mapping.counts[op].activations for op in layer.ops)
        for layer in mapping.layers
    }
    return {
        op: mean[layer.name] * written.counts[op].activations
        for layer in written.layers
        for op in layer.ops
    }


def mapping_hash(mapping: Mapping) -> str:
    """SHA-256 of a mapping and the shapes of its network."""
    placed = {name: part for name, part in mapping.to_dict().items() if name != "strategy"}
    what = placed | {"counts": {n: c.windows for n, c in mapping.counts.items()}}
    return json_text.digest(what)


def remarks(mapping: Mapping, spent: EnergyReport, timeline: Timeline | None = None) -> list[str]:
    """Return what a reader must know to trust the numbers."""
    graph, found = mapping.graph, []
    uses = [len(layer.ops) for layer in mapping.layers if len(layer.ops) > 1]
    if uses:
        times = " or ".join(map(str, sorted(set(uses))))
        found.append(
            f"{len(uses)} of {len(mapping.layers)} matrices are used {times} times per frame; the "
            "chip holds one copy of each, its uses take turns"
        )
    if graph.batch > 1:
        found.append(f"exported with a batch of {graph.batch}: all figures are those of one sample")
    uncosted = costed(graph, mapping.chip).uncosted
    if uncosted:
        listed = ", ".join(f"{op.op} ({op.source or op.name})" for op in uncosted[:5])
        found.append(f"{len(uncosted)} operations run without time and energy: {listed}")
    found += _rescaled(mapping.chip)
    if spent.array_energy_from == "activity":
        found.append("array energy from the activity factor: no frames were executed")
    arrays = (places for load in range(mapping.loads) for places in mapping.held(load).values())
    sharing = {p.layer for places in arrays for p in places
               if any(p.layer != other.layer for other in places)}  # fmt: skip
    if sharing:
        found.append(f"{len(sharing)} layers share arrays with others and take turns on them")
    if mapping.loads > 1:
        found.append(
            f"the chip is written {mapping.loads} times for each frame; the figures have time and "
            "energy of that"
        )
    if timeline is not None:
        found += _line_buffers(mapping.chip, timeline)
    if spent.array_energy_from == "statistics":
        found.append(
            "array energy from statistics of the float network's operands: no frames were executed"
        )
    found += [
        f"{path} is 0, although its source says: {text}"
        for path, text in sourced_zeros(mapping.chip).items()
    ]
    return found + _wires(mapping.chip) + _cells(mapping.chip)


def coverage_doubts(coverage: Coverage) -> list[Doubt]:
    """Doubt time and energy of a network of which too little is modelled."""
    if coverage.macs >= LEAST:
        return []
    return [
        Doubt(
            "not-modelled",
            f"{100 * coverage.macs:.1f} % of the MACs are modelled; not: {coverage.named()}",
            "cycles, energy and frames per second are those of that part, operations without a "
            "cost rule are free, products without a matmul unit are guessed",
        )
    ]


def cost_doubts(graph: LayerGraph, chip: Chip) -> list[Doubt]:
    """Doubt costs of operations that nearly have the name of one of the network's."""
    return [
        Doubt(
            "cost-of-no-operation",
            f"vector.costs.{name}: the network has no such operation, and one called '{near}'",
            f"--set vector.costs.{near}=..., or leave it out",
        )
        for name, near in misspelt(graph, chip)
    ]


def _rescaled(chip: Chip) -> list[str]:
    """Say which sourced numbers follow an override."""
    moved = chip.history.rescaled
    if not moved:
        return []
    causes = ", ".join(dict.fromkeys(one.cause for one in moved))
    what = ", ".join(
        f"{one.path} {format_si(one.before, one.unit)} -> {format_si(one.after, one.unit)}"
        for one in moved
    )
    return [f"rescaled from their sources as {causes}: {what}"]


def _line_buffers(chip: Chip, timeline: Timeline) -> list[str]:
    """Say where line buffers are that the tiles do not hold."""
    most = max((edge.n_bytes for edge in timeline.edges), default=0)
    told = doubt(chip, most)
    frames = {node.name for node in timeline.nodes if node.kind == "input"}
    found = [e for e in timeline.edges if e.spilled and e.producer not in frames]
    if told:
        return [told]
    if not found:
        return []
    where = []
    for memory, name in (("global_buffer", "the global buffer"), ("dram", "DRAM")):
        kept = [edge.n_bytes for edge in found if edge.memory == memory]
        if kept:
            where.append(f"{len(kept)} in {name} ({format_si(sum(kept), 'B')})")
    return [
        f"{len(found)} of {len(timeline.edges)} line buffers do not fit the tiles and are kept "
        f"elsewhere, at its cost in time and energy: {', '.join(where)}"
    ]


def _wires(chip: Chip) -> list[str]:
    wires = chip.wires
    if wires.are_ideal:
        return []
    found = [f"resistive wires, {wires.model}: see docs/model.md for what they leave out"]
    gated = device_of(chip).conduction == "gate"
    if gated and wires.r_word_ohm + wires.r_driver_ohm > 0:
        found.append(
            f"word lines of {chip.device.kind} cells drive gates and carry no direct current, yet "
            "wires.r_word and wires.r_driver take current from them as from ohmic cells: an upper "
            "bound of the loss; 0 ohm leaves it out"
        )
    return found


def _cells(chip: Chip) -> list[str]:
    nonlinearity = device_of(chip).nonlinearity
    if nonlinearity == 2:
        return []
    return [
        f"cells with device.nonlinearity {nonlinearity:g}: the energy of a read counts V**2 G t as "
        "of linear cells, an upper bound"
    ]


def resolved_inputs(
    mapping: Mapping, schedule: str, identity: MappingABC[str, object]
) -> dict[str, object]:
    """Everything but the clip that can change a result."""
    return {
        "version": __version__,
        "network": identity,
        "chip": dump(mapping.chip),
        "overrides": list(mapping.chip.history.overrides),
        "mapping": mapping.to_dict(),
        "weights": weights_hash(mapping.graph),
        "operations": operations_hash(mapping.graph),
        "schedule": schedule,
    }


def rows(
    mapping: Mapping,
    timeline: Timeline,
    spent: EnergyReport,
    statistics: MappingABC[str, OpStatistics] | None = None,
    drawn: DrawnEnergy | None = None,
) -> tuple[dict[str, str | float], ...]:
    """One row per node of the dataflow graph, per frame, and one for what belongs to the chip.

    With the ``statistics`` of a functional run, matrices also say which share of their conversions
    was ``saturated``, which share of their inputs lay beyond the ends of their code
    (``clipped_inputs``) and how many ``effective_bits`` their converters delivered. With the
    ``drawn`` energy they have its 5 and 95 % points, too, and what belongs to the chip those of its
    energy without what goes with time (``working_low_j``, ``working_high_j``).
    """
    done_by = statistics or {}
    found, fired = [], timeline.by_name
    for node in mapping.nodes:
        if node.kind == "input":
            continue
        row: dict[str, str | float]
        row = {"layer": node.name, "kind": node.kind, "windows": node.windows}
        if isinstance(node.op, MatrixOp):
            done, layout = mapping.counts[node.name], mapping.layer_of[node.name].layout
            row |= {
                "kind": node.op.kind, "rows": node.op.n_rows, "cols": node.op.n_cols,
                "arrays": done.arrays, "utilisation": layout.utilisation,
                "activations": done.activations, "conversions": done.conversions, "macs": done.macs,
            }  # fmt: skip
            if node.name in done_by:
                row["saturated"] = done_by[node.name].saturated
                row["clipped_inputs"] = done_by[node.name].clipped_inputs
                bits = done_by[node.name].effective_bits
                if bits is not None:
                    row["effective_bits"] = bits
        busy = fired[node.name].busy
        row |= {
            f"{stage.lower()}_cycles": cycles / timeline.frames
            for stage, cycles in zip(STAGES, busy, strict=True)
        }
        row |= {f"{name}_j": value for name, value in spent.by_layer[node.name].items()}
        found.append(row | _total(node.name, spent, drawn))
    rest = spent.by_layer[CHIP_ROW]
    last: dict[str, str | float] = {"layer": CHIP_ROW, "kind": "chip"} | {
        f"{k}_j": v for k, v in rest.items()
    }
    return (*found, last | _total(CHIP_ROW, spent, drawn))


def _total(name: str, spent: EnergyReport, drawn: DrawnEnergy | None) -> dict[str, str | float]:
    whole: dict[str, str | float] = {"energy_j": sum(spent.by_layer[name].values())}
    if drawn is None:
        return whole
    low, high = interval(drawn.by_layer[name])
    whole |= {"energy_low_j": low, "energy_high_j": high}
    working = drawn.working(name)
    if working is not None:
        low, high = interval(working)
        whole |= {"working_low_j": low, "working_high_j": high}
    return whole
