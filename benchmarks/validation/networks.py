"""Whole networks on published chips: what one mapping says beside what was published.

python -m benchmarks.validation.networks [--write] [--row N3 --row N4]

No weights are trained or needed: arrays, cycles, and energy at the chip file's activity do not
depend on their values. ``--write`` puts the table into docs/validation.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.paper import document
from benchmarks.validation.nets import graph
from cimsim.chip.load import load_hw
from cimsim.chip.spec import Chip
from cimsim.energy.idle import working
from cimsim.energy.ledger import Interval, Ledger, draw, interval
from cimsim.graph.ir import InputOp, LayerGraph, MatrixOp, TensorSpec, Window
from cimsim.mapping.mapping import Mapping as Placed
from cimsim.mapping.mapping import layouts, matrix_name
from cimsim.placing.by_name import map_graph
from cimsim.timing.plan.plan import Job, make_plan
from cimsim.timing.simulate import simulate
from cimsim.timing.timeline import Timeline

PATH = document.PATH.with_name("validation.md")
LARGE = 0.3  # errors above it are explained
PIMSIM = str(Path(__file__).with_name("chips") / "pimsim64.yaml")

Kind = Literal["prediction", "count", "identity", "unverified"]
KINDS: Mapping[Kind, str] = {
    "prediction": "no number of the chip file was chosen for this figure or one that it contains",
    "count": "a number of arrays: exact or wrong",
    "identity": "follows from other published figures of the row",
    "unverified": "rests on facts that were not seen in print: never called validated",
}


@dataclass(frozen=True)
class Run:
    """A network on a chip, frames streaming.

    Attributes
    ----------
    network, size, chip, changes, allocation
        Name and pixels of the network, chip file, overrides as items, allocation.
    """

    network: str
    size: int
    chip: str
    changes: tuple[tuple[str, Any], ...] = ()
    allocation: str = "in_order"

    @cached_property
    def placed(self) -> Placed:
        """The mapping."""
        chip = load_hw(self.chip, dict(self.changes))
        return map_graph(graph(self.network, self.size), chip, "im2col", self.allocation)

    @cached_property
    def timeline(self) -> Timeline:
        """Three frames, pipelined."""
        return simulate(self.placed)

    @property
    def interval_s(self) -> float:
        """Seconds between frames."""
        return self.timeline.interval_s(self.placed.chip.process.clock_hz)

    @cached_property
    def ledger(self) -> Ledger:
        """What a frame is charged by, at the chip file's activity."""
        return Ledger(
            self.placed, self.interval_s, None, working(self.placed, self.timeline),
            spilled=self.timeline.spilled,
        )  # fmt: skip

    @property
    def energy_j(self) -> float:
        """Energy of a frame, J."""
        return self.ledger.report().total_j

    @property
    def energy_ends_j(self) -> Interval:
        """5 .. 95 % of what the chip's sources allow."""
        return interval(draw(self.ledger).total_j)

    @property
    def ops(self) -> int:
        """Operations of a frame, two for each multiply-accumulate."""
        return 2 * self.placed.total.macs


@cache
def run(
    network: str,
    size: int,
    chip: str,
    changes: tuple[tuple[str, Any], ...] = (),
    allocation: str = "in_order",
) -> Run:
    """Return a run; the same one for the same question."""
    return Run(network, size, chip, changes, allocation)


@dataclass(frozen=True)
class Row:
    """A published figure of a whole network.

    Attributes
    ----------
    row, network, chip, what : str
    published : float
        The figure itself; of a range its middle.
    unit, source : str
    kind : Kind
    model : callable
        Computes the same figure.
    assumes : str
        What was not published and had to be chosen.
    low, high : float or None
        Range that was published.
    off : str
        Why it is more than 30 % off, from what was tried.
    ends : callable, optional
        Computes 5 .. 95 % of what the chip's sources allow.
    chosen : str
        What of ``assumes`` was chosen after the figure was seen.
    """

    row: str
    network: str
    chip: str
    what: str
    published: float
    unit: str
    source: str
    kind: Kind
    model: Callable[[], float]
    assumes: str
    low: float | None = None
    high: float | None = None
    off: str = ""
    ends: Callable[[], Interval] | None = None
    chosen: str = ""


@dataclass(frozen=True)
class Found:
    """A row and what the model says, with 5 .. 95 % of what the chip's sources allow."""

    row: Row
    value: float
    ends: Interval | None = None

    @property
    def error(self) -> float:
        """Relative error; of a range that to its nearer end, 0 inside."""
        low, high = (
            self.row.published if end is None else end for end in (self.row.low, self.row.high)
        )
        return self.value / min(max(self.value, low), high) - 1


def arrays_of(network: str, size: int, chip: str) -> int:
    """Arrays of one copy of every layer, whether or not a chip holds them."""
    traced = graph(network, size)
    found = layouts(traced, load_hw(chip))
    return sum({matrix_name(op): found[op.name].n_arrays for op in traced.matrix_ops}.values())


def _one_matrix(rows: int, cols: int) -> LayerGraph:
    vector, out = TensorSpec((1, 1, rows)), TensorSpec((1, 1, cols))
    op = MatrixOp(
        "fc", ("x",), vector, out, _zeros(rows, cols), None, Window(), (cols, 1, 1), "last",
        "linear",
    )  # fmt: skip
    return LayerGraph("fc", [InputOp("x", vector), op], ["fc"])


def _zeros(rows: int, cols: int) -> Any:
    import numpy as np

    return np.zeros((1, rows, cols), np.float32)


def _one_job(chip: Chip, rows: int, cols: int) -> Job:
    """Return the services of a product whose vector is there before it is asked for."""
    there = chip.model_copy(update={"frames": "resident"})
    (job,) = make_plan(map_graph(_one_matrix(rows, cols), there)).jobs
    return job


def one_window_s(chip: Chip, rows: int, cols: int) -> float:
    """Time of one product from buffer to buffer, alone, s."""
    job = _one_job(chip, rows, cols)
    return job.services[0].serial / chip.process.clock_hz


def one_product_s(chip: Chip, rows: int, cols: int) -> float:
    """Time of one product's pulses and conversions, alone, s."""
    job = _one_job(chip, rows, cols)
    services = job.services[0]
    drive, convert = services.alone(1), services.alone(2)
    cycles = drive + (services.pulses - 1) * max(drive, convert) + convert
    return cycles / chip.process.clock_hz


_512 = (("tile.count", 512), ("interconnect.kind", "ideal"), ("buffer.overflow", "ignore"))
_CLUSTERS = ("resnet18", 256, "hermes14nm", _512, "replicated")
_JIA = (("operating.vdd", "0.85 V"), ("tile.count", 500))
_PIM_CODE = "PIMSIM-NN, XbarArray.cpp: the formula of its code, with its example file"

ROWS: tuple[Row, ...] = (
    Row("N1", "ResNet-20, 32 x 32", "neurram130nm", "arrays that hold it", 61, "arrays",
        "Wan, Nature 2022, repository: 61 segments of at most 128 x 256", "count",
        lambda: arrays_of("resnet20", 32, "neurram130nm"),
        "a matrix is cut at 128 pairs of rows; bias digital"),
    Row("N2", "ResNet-18, 256 x 256", "hermes14nm, 512 tiles", "throughput", 20.2, "TOPS",
        "Bruschi, DATE 2023", "prediction",
        lambda: run(*_CLUSTERS).ops / run(*_CLUSTERS).interval_s / 1e12,
        "copies by `replicated` (theirs are not published); moving is free (published: it costs a "
        "factor of 1.2; a bus stands in the file of the single core, for which it was never "
        "meant); line buffers have no limit, as the clusters' memories are not in the file; no "
        "RISC-V cores",
        off="With 322 tiles, as many as they are said to use, it is 31.0 TOPS: more clusters are "
        "not the reason. What sets the interval is the vector unit that pools the first layer's "
        "map, and a vector unit is faster than programs on RISC-V cores, of which the file knows "
        "nothing; their layers lose a factor of 5 to imbalance, ours are balanced by copies. With "
        "the bus of the file it is 4.4 TOPS (-78 %): then the bus is the limit.",
        chosen="that moving is free, after 3.2 TOPS with the bus of the file"),
    Row("N3", "ResNet-50, 224 x 224", "sonos40nm", "efficiency", 20, "TOPS/W",
        "Xiao, TCAS-I 2022", "prediction",
        lambda: _tops_per_w(run("resnet50", 224, "sonos40nm")),
        "one copy of each layer; what the published figure counts is not in the abstract; "
        "activity 0.1",
        off="0.53 of 1.13 mJ are the memory off the chip, nearly all of it standby during the 26 "
        "ms of an image: the file gives the engine a DRAM that it needs for frames, and the "
        "published figure may well have none. Without it, it is 13.8 TOPS/W (-31 %). Of what is "
        "left the converters are 0.24 mJ, an estimator's figure that may be 3 times off, and "
        "leakage of buffers 0.16 mJ; the published value lies above 95 % of what the sources "
        "allow.",
        ends=lambda: _tops_per_w_ends(run("resnet50", 224, "sonos40nm"))),
    Row("N4", "ResNet-50, 224 x 224, batch 1", "eflash40nm", "energy per image", 2.04, "mJ",
        "Mythic in WikiChip Fuse 2019: 0.5 pJ/MAC, PCIe and logic included", "prediction",
        lambda: 1e3 * run("resnet50", 224, "eflash40nm", (), "replicated").energy_j,
        "vendor's figure before the product; its M1076 product page (3 .. 4 W at 25 TOPS) is "
        "0.24 .. 0.32 pJ/MAC, so 0.98 mJ are the lower end; arrays shared by `replicated`, as 89 "
        "are needed one by one; activity 0.1", low=0.98, high=2.04,
        off="17.0 of 18.8 mJ are clock and control of tiles: 40.5 mW each, which is what 76 busy "
        "tiles at 3.5 W leave. ResNet-50 keeps the tiles at work for 65 % of the time, but a layer "
        "of 64 or 256 channels uses a corner of an array of 1024 x 1024, and the tile's clock runs "
        "all the same: of what the working tiles could do, 6 % is done. Without control an image "
        "takes 1.7 mJ, inside the published range, with 3.8 mW a tile 3.3 mJ; an activity of 1 "
        "instead of 0.1 adds 0.26 mJ. So the vendor's two figures hold together only if control "
        "costs in proportion to the work done, or if 0.5 pJ/MAC is a figure of full arrays; the "
        "file has no such control. All that its sources allow lies above the published range.",
        ends=lambda: _scaled(1e3, run("resnet50", 224, "eflash40nm", (), "replicated"))),
    Row("N5", "ResNet-18, 224 x 224", "pimsim64", "interval", 25, "ms",
        "PIMSIM-NN, README: 4 outputs in 100 ms", "prediction",
        lambda: 1e3 * run("resnet18", 224, PIMSIM).interval_s,
        "one copy of each layer: copies are its compiler's, not published; image size and "
        "8-bit inputs assumed. Its arrays always convert all 128 columns, ours the 64 used ones: "
        "by its formula one copy of the first layer takes 64.8 ms, three 21.6 ms", low=20, high=25),
    Row("N6", "a product of 128 x 128", "pimsim64", "time", 5.167, "us", _PIM_CODE, "identity",
        lambda: 1e6 * one_product_s(load_hw(PIMSIM), 128, 128),
        "pulses and conversions; bytes in and out apart"),
    Row("N7", "a window of a layer", "isaac32nm", "time from eDRAM to eDRAM", 2.2, "us",
        "Shafiee, ISCA 2016: 22 cycles of 100 ns", "identity",
        lambda: 1e6 * one_window_s(load_hw("isaac32nm"), 128, 16),
        "one array; the pipeline's stages are the engine's, their length is published"),
    Row("N8", "VGG-16, 224 x 224", "isaac32nm, 16 chips", "chips of one copy", 16, "chips",
        "Shafiee, ISCA 2016: networks on 16 chips, copies included", "count",
        lambda: run("vgg16", 224, "isaac32nm", (("system.chips", 16),)).placed.arrays_used
        / load_hw("isaac32nm").n_arrays,
        "one copy; the first linear layer alone spans four chips", low=1, high=16),
    Row("N9", "CNN of ten layers, CIFAR-10 †", "sram65nm, 0.85 V", "energy per image, 4 b", 105.2,
        "uJ", "Jia, JSSC 2020", "unverified",
        lambda: 1e6 * run("jia_cnn", 32, "sram65nm", _JIA).energy_j,
        "† nine of ten layers, from memory; as many macros as hold it instead of reloading one; "
        "supply not stated",
        off="47 of 159 uJ are the datapath, charged for each addition, and 22 the static power of "
        "69 macros where the chip has one; inputs of 0 save energy on the chip and not here.",
        ends=lambda: _scaled(1e6, run("jia_cnn", 32, "sram65nm", _JIA))),
)  # fmt: skip


def _tops_per_w(given: Run) -> float:
    return given.ops / given.energy_j / 1e12


def _tops_per_w_ends(given: Run) -> Interval:
    low, high = (given.ops / joules / 1e12 for joules in given.energy_ends_j)
    return high, low


def _scaled(factor: float, given: Run) -> Interval:
    low, high = given.energy_ends_j
    return factor * low, factor * high


def evaluate(rows: Iterable[Row] = ROWS) -> list[Found]:
    """Compute rows, saying on stderr which one is at work."""
    found = []
    for row in rows:
        print(f"{row.row} {row.network} on {row.chip} ...", file=sys.stderr, flush=True)
        ends = None if row.ends is None else row.ends()
        found.append(Found(row, float(row.model()), ends))
    return found


def markdown(found: Iterable[Found]) -> str:
    """Return the table of docs/validation.md."""
    lines = [
        "| row | network | chip | figure | published | model | 5 .. 95 % | error | kind | source "
        "| assumed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        row = one.row
        ends = (row.low, row.high)
        published = f"{row.published:g}"
        if ends != (None, None):
            published = " .. ".join(f"{row.published if e is None else e:g}" for e in ends)
        told = "" if one.ends is None else " .. ".join(digits(end) for end in one.ends)
        lines.append(
            f"| {row.row} | {row.network} | {row.chip} | {row.what} | {published} {row.unit} "
            f"| {one.value:.4g} | {told} | {100 * one.error:+.0f} % | {row.kind} | {row.source} "
            f"| {row.assumes} |"
        )
    return "\n".join(lines)


def explained(found: Iterable[Found]) -> str:
    """Return why rows are off by more than `LARGE`, a list."""
    return "\n".join(
        f"- **{one.row.row}, {one.row.network}** ({100 * one.error:+.0f} %). {one.row.off}"
        for one in found
        if abs(one.error) > LARGE
    )


def summary(found: Iterable[Found]) -> str:
    """Return the mean error of the predictions, and what of it rests on a choice in hindsight."""
    rows = [one for one in found if one.row.kind == "prediction"]
    text = f"{len(rows)} predictions of whole networks: {_errors(rows)}."
    for one in rows:
        if one.row.chosen:
            others = [other for other in rows if not other.row.chosen]
            text += (
                f" One thing in {one.row.row} was chosen after the figure was seen, "
                f"{one.row.chosen}; without that row: {_errors(others)}."
            )
    return text


def _errors(found: list[Found]) -> str:
    """Return mean, median and largest of errors."""
    errors = sorted(abs(one.error) for one in found)
    mean, middle = sum(errors) / len(errors), median(errors)
    return (
        f"mean error {100 * mean:.0f} %, median {100 * middle:.0f} %, largest "
        f"{100 * errors[-1]:.0f} %"
    )


def digits(value: float) -> str:
    """Return a positive number with two digits, never as a power of ten."""
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}"


def main() -> None:
    """Print the table, or write it into docs/validation.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--row", action="append", help="only this row (repeatable)")
    parser.add_argument("--write", action="store_true", help="rewrite docs/validation.md")
    given = parser.parse_args()
    known = [row.row for row in ROWS]
    unknown = [name for name in given.row or () if name not in known]
    if unknown:
        parser.error(f"--row {unknown[0]}: expected one of {', '.join(known)}")
    if given.write and given.row:
        parser.error("--write: writes all rows; leave --row out")
    found = evaluate([row for row in ROWS if not given.row or row.row in given.row])
    print(markdown(found), explained(found), sep="\n\n")
    if any(one.row.kind == "prediction" for one in found):
        print(summary(found), sep="\n\n")
    if given.write:
        parts = {
            "networks": markdown(found), "networks-off": explained(found),
            "networks-summary": summary(found),
        }  # fmt: skip
        document.rewrite(PATH, parts)


if __name__ == "__main__":
    main()
