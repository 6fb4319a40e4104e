"""Write docs/findings.md: quality, time and energy of two networks on every chip that holds them.

python -m benchmarks.chips
python -m benchmarks.chips --chip eflash40nm --chip isaac32nm --out /tmp/findings.md

Chips with too few arrays are put in a chain (``system.chips``), up to eight of them. Energies have
5 .. 95 % of what the sources of the chip allow; ratios of two networks on one chip share the draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import cimsim
from benchmarks.chips.document import document
from benchmarks.fair.draws import ledger_of
from benchmarks.paper.console import make_console, run_command
from cimsim.chip.ledger import left_out
from cimsim.chip.load import shipped
from cimsim.cli.options import parse_size
from cimsim.energy.ledger import draw
from cimsim.errors import MappingError, SimulationError
from cimsim.mapping.mapping import layouts, matrix_name
from cimsim.session.functional import operand_sums
from cimsim.stats import mean_interval
from cimsim.timing.simulate import simulate
from cimsim.timing.timeline import Timeline
from cimsim.video.embedded import embedded_clip

if TYPE_CHECKING:
    from cimsim.energy.ledger import DrawnEnergy, Interval
    from cimsim.energy.model import EnergyReport
    from cimsim.graph.ir import LayerGraph

NETWORKS = (
    ("FastDVDnet block", "fastdvdnet-block", {}),
    ("CIM-NET, S = 8, two layers", "cimnet", {"stride": 8}),
)  # fmt: skip
MOST_CHIPS = 8
SIGMA = 15.0
PROGRAMMINGS, SMALL = 3, 64


@dataclass(frozen=True)
class Row:
    """One network on one chip.

    Attributes
    ----------
    chip, network : str
    chips, arrays : int
        Chips in the chain and arrays used.
    float_db : float
        PSNR on the embedded clip.
    chip_db : tuple of float
        On the chip, one for each programming.
    timeline : Timeline
        At the given size.
    clock_hz : float
    spent : EnergyReport
        At the given size; array energy from statistics of operands where they are known.
    drawn : DrawnEnergy
        The same for chips that the sources allow.
    left_out : tuple of str
        Parts of the energy that the chip file does not count.
    windows, activations, conversions : int
        Of one frame.
    """

    chip: str
    network: str
    chips: int
    arrays: int
    float_db: float
    chip_db: tuple[float, ...]
    timeline: Timeline
    clock_hz: float
    spent: EnergyReport
    drawn: DrawnEnergy
    left_out: tuple[str, ...]
    windows: int
    activations: int
    conversions: int

    @property
    def interval_s(self) -> float:
        """Seconds between frames."""
        return self.timeline.interval_s(self.clock_hz)

    @property
    def lost_db(self) -> Interval:
        """What the chip costs in PSNR, 5 .. 95 % of the mean over programmings."""
        low, high = mean_interval(self.chip_db)
        return self.float_db - high, self.float_db - low


def chips_needed(graph: LayerGraph, hw: str) -> tuple[int, str] | None:
    """Return how many chips hold a network, and by which allocation; None: over `MOST_CHIPS`.

    No layer lies on two chips (``by_chip``) unless it has to.
    """
    chip = cimsim.load_hw(hw)
    found = layouts(graph, chip)
    by_matrix = {matrix_name(op): found[op.name].n_arrays for op in graph.matrix_ops}
    least = math.ceil(sum(by_matrix.values()) / chip.n_arrays)
    for chips in range(least, MOST_CHIPS + 1):
        several = cimsim.load_hw(hw, {"system.chips": chips})
        for allocation in ("by_chip", "in_order"):
            try:
                cimsim.map_graph(graph, several, "im2col", allocation)
            except MappingError:
                continue
            return chips, allocation if chips > 1 else "in_order"
    return None


def measure(hw: str, title: str, name: str, options: dict[str, int], size: str) -> Row | str:
    """Run one network on one chip, or say what it does not fit."""
    network = cimsim.load_network(name, options, hw=hw)
    clip = embedded_clip(frames=2, height=SMALL, width=SMALL)
    small = cimsim.trace(network.module, network.example(SMALL, SMALL), name=name)
    needed = chips_needed(small, hw)
    if needed is None:
        return f"arrays of {MOST_CHIPS} chips"
    chips, allocation = needed
    chip = cimsim.load_hw(hw, {"system.chips": chips})
    large = cimsim.trace(network.module, network.example(*parse_size(size)), name=name)
    mapping = cimsim.map_graph(large, chip, "im2col", allocation)
    try:
        timeline = simulate(mapping)
        judged = cimsim.simulate(
            cimsim.map_graph(small, chip, "im2col", allocation), clip, programmings=PROGRAMMINGS
        )
    except SimulationError as error:
        return str(error).partition(":")[0]  # the memory's field
    assert judged.quality is not None
    frames = embedded_clip(frames=2, height=parse_size(size)[0], width=parse_size(size)[1])
    sums = operand_sums(mapping, frames, SIGMA, 0, None)
    ledger = replace(ledger_of(mapping, timeline), conductance_sums=sums, sums_from="statistics")
    total = mapping.total
    return Row(
        hw, title, chips, mapping.arrays_used, judged.quality.mean("float_psnr"),
        judged.programmings, timeline, chip.process.clock_hz, ledger.report(), draw(ledger),
        left_out(chip), total.windows, total.activations, total.conversions,
    )  # fmt: skip


def main(
    chip: Annotated[list[str] | None, typer.Option(help="shipped chip, may be repeated")] = None,
    size: Annotated[str, typer.Option(help="frame of time and energy")] = "480x270",
    out: Annotated[Path, typer.Option(help="page to write")] = Path("docs/findings.md"),
) -> None:
    """Measure both networks on all chips, then write the page and its plot."""
    console = make_console()
    rows: list[Row] = []
    missing: list[tuple[str, str, str]] = []
    for hw in chip or [name for name in shipped() if name != "example_minimal"]:
        for title, name, options in NETWORKS:
            row = measure(hw, title, name, options, size)
            if isinstance(row, str):
                missing.append((hw, title, row))
                console.print(f"{hw:14} {title:18} does not fit {row}")
            else:
                rows.append(row)
                console.print(f"{hw:14} {title:18} done")
    document(rows, missing, size, out)
    console.print(f"{out}")


if __name__ == "__main__":
    run_command(main)
