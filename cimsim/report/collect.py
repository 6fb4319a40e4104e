"""Put one result together from the mapping, the timeline, the energy and the frames."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from cimsim import __version__
from cimsim.energy.area import area
from cimsim.energy.model import CHIP_ROW, EnergyReport, programming
from cimsim.graph.ir import LayerGraph, MatrixOp
from cimsim.hw.load import dump
from cimsim.mapping.mapping import Mapping
from cimsim.report.result import Energy, Hardware, Timing
from cimsim.timing.rules import STAGES
from cimsim.timing.timeline import Timeline


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


def energies(mapping: Mapping, spent: EnergyReport) -> Energy:
    """Headline numbers of an energy report."""
    writing = programming(mapping)
    return Energy(
        spent.by_component, spent.total_j, spent.average_power_w, spent.tops_per_w,
        spent.array_energy_from, writing["energy_j"], writing["time_s"],
    )  # fmt: skip


def hardware(mapping: Mapping) -> Hardware:
    """Return what the network takes of the chip."""
    chip, total = mapping.chip, mapping.total
    return Hardware(
        chip.name, mapping.arrays_used, chip.n_arrays, mapping.utilisation, total.weights,
        sum(area(chip).values()), sum(area(chip, mapping.tiles_used).values()),
        total.windows, total.activations, total.conversions, total.macs,
    )  # fmt: skip


def remarks(graph: LayerGraph, spent: EnergyReport) -> list[str]:
    """Return what a reader must know to trust the numbers."""
    found = []
    if graph.uncosted:
        listed = ", ".join(f"{op.op} ({op.source or op.name})" for op in graph.uncosted[:5])
        found.append(f"{len(graph.uncosted)} operations run without time and energy: {listed}")
    if spent.array_energy_from == "activity":
        found.append("array energy from the activity factor: no frames were executed")
    return found


def resolved_inputs(mapping: Mapping, schedule: str, identity: dict[str, Any]) -> dict[str, Any]:
    """Everything but the clip that can change a result."""
    return {
        "version": __version__,
        "network": identity,
        "chip": dump(mapping.chip),
        "mapping": mapping.to_dict(),
        "weights": _graph_hash(mapping.graph),
        "schedule": schedule,
    }


def rows(mapping: Mapping, timeline: Timeline, spent: EnergyReport) -> tuple[dict[str, Any], ...]:
    """One row per unit of work, per frame, and one for what belongs to the chip."""
    found, fired = [], timeline.by_name
    for unit in mapping.units:
        if unit.kind == "input":
            continue
        row: dict[str, Any] = {"layer": unit.name, "kind": unit.kind, "windows": unit.windows}
        if isinstance(unit.op, MatrixOp):
            done, layout = mapping.counts[unit.name], mapping.layer_of[unit.name].layout
            row |= {
                "kind": unit.op.kind, "rows": unit.op.n_rows, "cols": unit.op.n_cols,
                "arrays": done.arrays, "utilisation": layout.utilisation,
                "activations": done.activations, "conversions": done.conversions, "macs": done.macs,
            }  # fmt: skip
        busy = fired[unit.name].busy
        row |= {
            f"{stage.lower()}_cycles": cycles / timeline.frames
            for stage, cycles in zip(STAGES, busy, strict=True)
        }
        row |= {f"{name}_j": value for name, value in spent.by_layer[unit.name].items()}
        found.append(row | {"energy_j": sum(spent.by_layer[unit.name].values())})
    rest = spent.by_layer[CHIP_ROW]
    last = {"layer": CHIP_ROW, "kind": "chip"} | {f"{k}_j": v for k, v in rest.items()}
    return (*found, last | {"energy_j": sum(rest.values())})


def _graph_hash(graph: LayerGraph) -> str:
    digest = hashlib.sha256()
    for op in graph.matrix_ops:
        digest.update(op.name.encode())
        digest.update(np.ascontiguousarray(op.weight).tobytes())
        digest.update(b"" if op.bias is None else np.ascontiguousarray(op.bias).tobytes())
    return digest.hexdigest()
