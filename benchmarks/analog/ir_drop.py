"""What resistive wires cost a network on the chip, and where in an array the current is lost.

python -m benchmarks.analog.ir_drop            # finished points are kept in --out and not run again
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import cimsim
from benchmarks.paper.record import read_plain, write_csv
from benchmarks.paper.style import DPI, WIDTH, halo, paper_style
from cimsim.chip.cells import build
from cimsim.cli.options import parse_size
from cimsim.crossbar.encode import encode_weights
from cimsim.crossbar.wires import Resistances, fast_operator
from cimsim.errors import SimulationError
from cimsim.video.embedded import embedded_clip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cimsim.mapping.mapping import Mapping

OHMS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
NETWORK, STRIDE, WEIGHTS = "cimnet", 8, "cimnet_s8_eflash40nm"
BLOCKS = (25, 64)  # pixels of the heat map: rows, bit lines of an array


@dataclass(frozen=True, slots=True)
class Row:
    """One point: a chip of one seed on the clip; ``corrected``: with its column correction."""

    wires: str
    r_ohm: float
    corrected: int
    noisy_db: float
    float_db: float
    chip_db: float
    seconds: float

    @property
    def place(self) -> tuple[str, float, int]:
        """What the point is about."""
        return self.wires, self.r_ohm, self.corrected


COLUMNS = tuple(field.name for field in fields(Row))


def chip_with(wires: str, ohm: float, corrected: bool, hw: str) -> Any:
    """Return the chip with equal segments in both directions."""
    correction = {} if corrected else dict.fromkeys(
        ("calibration.column_gain", "calibration.column_offset"), False
    )  # fmt: skip
    lines = {f"wires.r_{line}": f"{ohm:g} ohm" for line in ("word", "bit")}
    return cimsim.load_hw(hw, {"wires.model": wires} | lines | correction)


class Bench:
    """The network, traced once, and the clip.

    Parameters
    ----------
    size : (int, int)
    frames : int
    hw : str
    seed : int
    """

    def __init__(self, size: tuple[int, int], frames: int, hw: str, seed: int) -> None:
        self.hw, self.seed = hw, seed
        network = cimsim.load_network(NETWORK, {"stride": STRIDE}, WEIGHTS)
        self.graph = cimsim.trace(network.module, network.example(*size))
        self.clip = embedded_clip("default", frames, *size)

    def mapping(self, wires: str, ohm: float, corrected: bool) -> Mapping:
        """Place the network on a chip."""
        return cimsim.map_graph(self.graph, chip_with(wires, ohm, corrected, self.hw))

    def run(self, wires: str, ohm: float, corrected: bool) -> Row:
        """Measure one point."""
        start = time.perf_counter()
        result = cimsim.simulate(self.mapping(wires, ohm, corrected), self.clip, seed=self.seed)
        if result.quality is None:
            raise SimulationError("the run gave no frames")
        means = [result.quality.mean(f"{name}_psnr") for name in ("noisy", "float", "chip")]
        return Row(wires, ohm, int(corrected), *means, time.perf_counter() - start)


def measure(bench: Bench, kept: Path, ohms: Sequence[float], exact: Sequence[float]) -> list[Row]:
    """Run all points that are not kept yet; those that ``fast`` refuses are left out."""
    rows = read_plain(kept, Row)
    wanted = [("fast", ohm, corrected) for corrected in (True, False) for ohm in ohms]
    wanted += [("exact", ohm, corrected) for ohm in exact for corrected in (True, False)]
    done = {row.place for row in rows}
    for wires, ohm, corrected in wanted:
        if (wires, ohm, int(corrected)) in done:
            continue
        try:
            row = bench.run(wires, ohm, corrected)
        except SimulationError as error:
            print(f"{wires:6} {ohm:5g} ohm: {error}", flush=True)
            continue
        rows.append(row)
        write_csv(kept, COLUMNS, map(asdict, rows))
        print(
            f"{wires:6} {ohm:5g} ohm {'corrected' if corrected else 'raw':9} "
            f"{row.chip_db:.2f} dB (float {row.float_db:.2f})  {row.seconds:.0f} s", flush=True,
        )  # fmt: skip
    return rows


def lost_share(bench: Bench, ohm: float, layer: int = 0) -> NDArray[np.float64]:
    """Return the share of current that blocks of one array lose, float64 [rows, lines].

    All rows are driven alike; a block is ``1 - sum A / sum g`` over its cells, by `fast_operator`,
    whose error cannot be seen in a picture.
    """
    mapping = bench.mapping("ideal", ohm, True)
    placed, spec = mapping.layers[layer], mapping.chip.weights
    q, _ = encode_weights(mapping.graph[placed.ops[0]].weight, spec.q_max, spec.scale)
    device = build(mapping.chip.device.kind, mapping.chip.device.parameters)
    used = q[0, : placed.layout.rows_used[0], : placed.layout.cols_used[0]]
    pairs = np.stack([np.maximum(used, 0), np.maximum(-used, 0)], axis=2).reshape(len(used), -1)
    g = device.g_min_s + pairs * (device.g_max_s - device.g_min_s) / spec.q_max
    a = fast_operator(g, Resistances(word=ohm, bit=ohm))
    return 1 - _blocks(a) / _blocks(g)


def _blocks(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over blocks of `BLOCKS` cells."""
    rows, lines = (np.arange(0, n, step) for n, step in zip(a.shape, BLOCKS, strict=True))
    sums: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(a, rows, axis=0), lines, axis=1)
    return sums


def draw(rows: Sequence[Row], lost: NDArray[np.float64], ohm: float) -> Figure:
    """Return the figure: PSNR over the resistance of a segment, and a map of the lost current."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * WIDTH, 2.5), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_psnr(left, rows)
    image = right.imshow(
        100 * lost, cmap="viridis", aspect="auto", origin="upper", vmin=0,
        extent=(0, BLOCKS[1] * lost.shape[1], BLOCKS[0] * lost.shape[0], 0),
    )  # fmt: skip
    right.set_xlabel("bit line (drivers at the left)")
    right.set_ylabel("word line (sensing at the bottom)")
    right.set_title(f"b  current lost at {ohm:g} Ω per segment", loc="left")
    right.spines[:].set_visible(False)
    figure.colorbar(image, ax=right, label="%", pad=0.02).outline.set_visible(False)
    return figure


def _draw_psnr(axes: Any, rows: Sequence[Row]) -> None:
    # Okabe-Ito colours; the marks say the same again
    looks = {1: ("#D55E00", "o", "with column correction"), 0: ("#0072B2", "s", "without")}
    ideal = min(row.r_ohm for row in rows if row.r_ohm > 0) / 3  # where a logarithm has no 0
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    for corrected, (color, mark, label) in looks.items():
        for wires, style in (
            ("fast", {"linestyle": "-", "marker": mark, "markerfacecolor": "white"}),
            ("exact", {"linestyle": "none", "marker": "x", "markersize": 6, "zorder": 4}),
        ):
            part = sorted(
                (row for row in rows if row.wires == wires and row.corrected == corrected),
                key=lambda row: row.r_ohm,
            )
            xs, ys = [row.r_ohm or ideal for row in part], [row.chip_db for row in part]
            axes.plot(xs, ys, color=color, label=label if wires == "fast" else None, **style)
    axes.plot([], [], color="#555555", marker="x", linestyle="none", label="exact operator")
    for value, text in ((rows[0].float_db, "float"), (rows[0].noisy_db, "noisy input")):
        axes.axhline(value, color="#777777", linestyle=(0, (1, 1.5)), zorder=1)
        axes.annotate(
            text, (1, value), xycoords=("axes fraction", "data"), xytext=(-2, 2),
            textcoords="offset points", ha="right", fontsize=7, path_effects=halo(),
        )  # fmt: skip
    axes.set_xscale("log")
    shown = sorted({row.r_ohm for row in rows})
    axes.set_xticks([r or ideal for r in shown], [f"{r:g}" for r in shown])
    axes.minorticks_off()
    axes.set_xlabel("resistance of a segment, Ω")
    axes.set_ylabel("PSNR on the chip, dB")
    axes.set_title("a  CIM-NET S = 8", loc="left")
    axes.legend(frameon=False, loc="lower left", handlelength=1.8, borderaxespad=0.2)


def main() -> None:
    """Measure what is missing and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="224x224")
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--hw", default="eflash40nm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ohms", type=float, nargs="+", default=OHMS)
    parser.add_argument("--exact", type=float, nargs="*", default=(100.0, 300.0, 1000.0))
    parser.add_argument("--map", type=float, default=100.0, help="resistance of the heat map")
    parser.add_argument("--out", type=Path, default=Path("out/ir_drop"))
    given = parser.parse_args()
    bench = Bench(parse_size(given.size), given.frames, given.hw, given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    rows = measure(bench, given.out / "ir_drop.csv", given.ohms, given.exact)
    with paper_style():
        figure = draw(rows, lost_share(bench, given.map), given.map)
        for ending in ("png", "svg"):
            figure.savefig(given.out / f"ir_drop.{ending}")
    print(f"figure: {given.out}/ir_drop.png")


if __name__ == "__main__":
    main()
