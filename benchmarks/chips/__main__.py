"""Write docs/findings.md: quality, time and energy of two networks on every chip that holds them.

python -m benchmarks.chips
python -m benchmarks.chips --chip eflash40nm --chip isaac32nm --out /tmp/findings.md

Chips with too few arrays are put in a chain (``system.chips``), up to eight of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import cimsim
from benchmarks.chips.document import document
from benchmarks.paper.console import make_console, run_command
from cimsim.chip.load import shipped
from cimsim.cli.options import parse_size
from cimsim.energy.model import energy
from cimsim.errors import MappingError
from cimsim.functional import operand_sums
from cimsim.mapping.mapping import layouts, matrix_name
from cimsim.timing.simulate import simulate
from cimsim.timing.timeline import Timeline
from cimsim.video.embedded import embedded_clip

if TYPE_CHECKING:
    from cimsim.energy.model import EnergyReport
    from cimsim.graph.ir import LayerGraph

NETWORKS = (
    ("FastDVDnet block", "fastdvdnet-block", {}), ("CIM-NET, S = 8", "cimnet", {"stride": 8}),
)  # fmt: skip
MOST_CHIPS = 8
SIGMA = 15.0


@dataclass(frozen=True)
class Row:
    """One network on one chip.

    Attributes
    ----------
    chip, network : str
    chips, arrays : int
        Chips in the chain and arrays used.
    float_db, chip_db : float
        PSNR on the embedded clip.
    timeline : Timeline
        At the given size.
    clock_hz : float
    spent : EnergyReport
        At the given size; array energy from statistics of operands where they are known.
    windows, activations, conversions : int
        Of one frame.
    """

    chip: str
    network: str
    chips: int
    arrays: int
    float_db: float
    chip_db: float
    timeline: Timeline
    clock_hz: float
    spent: EnergyReport
    windows: int
    activations: int
    conversions: int

    @property
    def interval_s(self) -> float:
        """Seconds between frames."""
        return self.timeline.interval_s(self.clock_hz)


def chips_needed(graph: LayerGraph, hw: str) -> int | None:
    """Return how many chips hold a network; None: more than `MOST_CHIPS`, or a layer crosses."""
    chip = cimsim.load_hw(hw)
    found = layouts(graph, chip)
    by_matrix = {matrix_name(op): found[op.name].n_arrays for op in graph.matrix_ops}
    if max(by_matrix.values()) > chip.n_arrays:
        return None  # partial sums do not cross chips
    least = math.ceil(sum(by_matrix.values()) / chip.n_arrays)
    for chips in range(least, MOST_CHIPS + 1):
        try:
            several = cimsim.load_hw(hw, {"system.chips": chips})
            cimsim.map_graph(graph, several, "im2col", "by_chip")
        except MappingError:
            continue
        return chips
    return None


def measure(hw: str, title: str, name: str, options: dict[str, int], size: str) -> Row | None:
    """Run one network on one chip, or return None where it does not fit."""
    network = cimsim.load_network(name, options, hw=hw)
    clip = embedded_clip(frames=4, height=128, width=128)
    small = cimsim.trace(network.module, network.example(128, 128), name=name)
    chips = chips_needed(small, hw)
    if chips is None:
        return None
    changes = {"system.chips": chips}
    allocation = "by_chip" if chips > 1 else "in_order"
    chip = cimsim.load_hw(hw, changes)
    judged = cimsim.simulate(cimsim.map_graph(small, chip, "im2col", allocation), clip)
    assert judged.quality is not None
    large = cimsim.trace(network.module, network.example(*parse_size(size)), name=name)
    mapping = cimsim.map_graph(large, chip, "im2col", allocation)
    timeline = simulate(mapping)
    seconds = timeline.interval_s(chip.process.clock_hz)
    frames = embedded_clip(frames=2, height=parse_size(size)[0], width=parse_size(size)[1])
    sums = operand_sums(mapping, frames, SIGMA, 0, None)
    spent = energy(mapping, seconds, sums, sums_from="statistics", spilled=timeline.spilled)
    total = mapping.total
    return Row(
        hw, title, chips, mapping.arrays_used, judged.quality.mean("float_psnr"),
        judged.quality.psnr_db, timeline, chip.process.clock_hz, spent, total.windows,
        total.activations, total.conversions,
    )  # fmt: skip


def main(
    chip: Annotated[list[str] | None, typer.Option(help="shipped chip, may be repeated")] = None,
    size: Annotated[str, typer.Option(help="frame of time and energy")] = "480x270",
    out: Annotated[Path, typer.Option(help="page to write")] = Path("docs/findings.md"),
) -> None:
    """Measure both networks on all chips, then write the page and its plot."""
    console = make_console()
    rows, missing = [], []
    for hw in chip or [name for name in shipped() if name != "example_minimal"]:
        for title, name, options in NETWORKS:
            row = measure(hw, title, name, options, size)
            console.print(f"{hw:14} {title:18} {'does not fit' if row is None else 'done'}")
            if row is None:
                missing.append((hw, title))
            else:
                rows.append(row)
    document(rows, missing, size, out)
    console.print(f"{out}")


if __name__ == "__main__":
    run_command(main)
