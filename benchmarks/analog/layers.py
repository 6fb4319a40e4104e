"""Error of every layer's output on the measured 40 nm chip, beside what was measured there.

python -m benchmarks.analog.layers                       # the FastDVDnet block on `wtm2101`
python -m benchmarks.analog.layers --set device.sigma_read=0 --out out/layers_still

The network's layers need 21 arrays and `wtm2101` has two, so the chip gets more tiles of the same
kind (`TILES`). Arrays, cells, converters and calibration stay those of the chip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from benchmarks.analog.runs import prepared, save
from benchmarks.paper.console import make_console, print_table, run_command
from benchmarks.paper.record import write_csv
from benchmarks.paper.style import DPI, WIDTH, paper_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from cimsim.graph.ir import LayerGraph, MatrixOp
    from cimsim.session.functional import FunctionalRun

CHIP, TILES = "wtm2101", 11
CODES = 255  # steps of an 8-bit output
# Bai et al., TCAD 2024, Fig. 9, a network of 16 layers: layer -> (std in LSB, mean cosine)
PUBLISHED = {0: (1.98, 0.995), 15: (5.85, 0.953)}


@dataclass(frozen=True, slots=True)
class LayerRow:
    """Error of one layer's output, before its activation, over all frames of a clip.

    Attributes
    ----------
    layer : int
        In the order of execution, from 0.
    name : str
    seed : int
    lsb : float
        An 8-bit step: range of the float network's output on the calibration frames / 255.
    mean_lsb, std_lsb : float
        Of chip minus float network, all layers before it on the chip as well.
    cosine : float
        Between the output vectors of chip and float network, mean over windows.
    own_std_lsb, own_cosine : float
        The same against an exact layer that gets the chip's own input: this layer's part alone.
    """

    layer: int
    name: str
    seed: int
    lsb: float
    mean_lsb: float
    std_lsb: float
    cosine: float
    own_std_lsb: float
    own_cosine: float


COLUMNS = tuple(field.name for field in fields(LayerRow))


class Comparison:
    """Running sums of the difference between two outputs of one layer."""

    def __init__(self) -> None:
        self.values = self.vectors = 0
        self.sum = self.squares = self.cosines = 0.0

    def add(self, got: Tensor, expected: Tensor) -> None:
        """Add one frame, float32 [1, C, H, W] or [1, ..., F]."""
        a, b = _vectors(got), _vectors(expected)
        difference = a - b
        self.values += difference.size
        self.sum += float(difference.sum())
        self.squares += float(np.square(difference).sum())
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        seen = lengths > 0  # a zero vector has no direction
        self.vectors += int(seen.sum())
        self.cosines += float((np.einsum("ij,ij->i", a, b)[seen] / lengths[seen]).sum())

    @property
    def mean(self) -> float:
        """Mean difference."""
        return self.sum / self.values

    @property
    def std(self) -> float:
        """Standard deviation of the difference."""
        return float(np.sqrt(max(0.0, self.squares / self.values - self.mean**2)))

    @property
    def cosine(self) -> float:
        """Mean cosine similarity of output vectors."""
        return self.cosines / self.vectors


def _vectors(y: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the values of each position side by side, float64 [positions, channels]."""
    array = y.detach().numpy().astype(np.float64)
    if array.ndim == 4:
        array = array.transpose(0, 2, 3, 1)
    return array.reshape(-1, array.shape[-1])


def steps(graph: LayerGraph, frames: Sequence[tuple[Tensor, ...]]) -> dict[str, float]:
    """Return the 8-bit step of every layer's output, from the float network on some frames."""
    from cimsim.graph.reference import apply_matrix, run

    ends: dict[str, tuple[float, float]] = {}

    def capture(op: MatrixOp, x: Tensor) -> None:
        y = apply_matrix(op, x)
        low, high = ends.get(op.name, (float("inf"), float("-inf")))
        ends[op.name] = min(low, float(y.min())), max(high, float(y.max()))

    for inputs in frames:
        run(graph, *inputs, capture=capture)
    return {name: (high - low) / CODES for name, (low, high) in ends.items()}


def compare(run: FunctionalRun) -> list[LayerRow]:
    """Run the frames of a prepared chip and compare every layer with the float network.

    Parameters
    ----------
    run : FunctionalRun
        After `FunctionalRun.prepare`; its network must not stream.
    """
    from cimsim.engine.execute import execute
    from cimsim.graph import reference
    from cimsim.session.frames import window_of_frames

    graph = run.mapping.graph
    lsb = steps(graph, run.learned["frames"])
    whole = {op.name: Comparison() for op in graph.matrix_ops}
    own = {op.name: Comparison() for op in graph.matrix_ops}
    for t in range(len(run.noisy)):
        inputs = window_of_frames(run.noisy, t, run.contract.n_frames, run.sigma, len(graph.inputs))
        expected: dict[str, Tensor] = {}

        def in_float(op: MatrixOp, x: Tensor, expected: dict[str, Tensor] = expected) -> None:
            expected[op.name] = reference.apply_matrix(op, x)

        def on_chip(
            op: MatrixOp, x: Tensor, y: Tensor, expected: dict[str, Tensor] = expected
        ) -> None:
            whole[op.name].add(y, expected.pop(op.name))
            own[op.name].add(y, reference.apply_matrix(op, x))

        reference.run(graph, *inputs, capture=in_float)
        execute(run.calibrated, inputs, t, run.seed, threads=run.threads, capture=on_chip)
    rows = []
    for layer, op in enumerate(graph.matrix_ops):
        both, alone, step = whole[op.name], own[op.name], lsb[op.name]
        rows.append(
            LayerRow(
                layer, op.name, run.seed, step, both.mean / step, both.std / step, both.cosine,
                alone.std / step, alone.cosine,
            )
        )  # fmt: skip
    return rows


def averaged(rows: Sequence[LayerRow], name: str) -> list[tuple[float, float, float]]:
    """Return mean, smallest and largest over the seeds of one column, layer by layer."""
    found = []
    for layer in sorted({row.layer for row in rows}):
        values = [float(getattr(row, name)) for row in rows if row.layer == layer]
        found.append((sum(values) / len(values), min(values), max(values)))
    return found


def table(rows: Sequence[LayerRow]) -> list[list[str]]:
    """Return the lines of the table: means over the seeds, beside the published figures."""
    names = list(dict.fromkeys(row.name for row in sorted(rows, key=lambda row: row.layer)))
    shown = ("std_lsb", "cosine", "own_std_lsb", "own_cosine")
    means = [[mean for mean, _, _ in averaged(rows, column)] for column in shown]
    lines = []
    for layer, name in enumerate(names):
        std, cosine, own_std, own_cosine = (column[layer] for column in means)
        published = PUBLISHED.get(layer)
        lines.append(
            [
                f"{layer}", name, f"{std:.2f}", f"{cosine:.4f}", f"{own_std:.2f}",
                f"{own_cosine:.4f}", *(["", ""] if published is None else map(str, published)),
            ]
        )  # fmt: skip
    return lines


def draw(rows: Sequence[LayerRow]) -> Figure:
    """Draw standard deviation and cosine over the layers, with the range from seed to seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    looks = {
        "": {"color": "#D55E00", "marker": "o", "label": "accumulated"},
        "own_": {"color": "#0072B2", "marker": "s", "linestyle": "--", "label": "this layer alone"},
    }
    with paper_style():
        figure = Figure(figsize=(2 * WIDTH, 2.4), layout="constrained", dpi=DPI)
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 2)
        for number, (axes, column) in enumerate(zip(panels, ("std_lsb", "cosine"), strict=True)):
            for prefix, look in looks.items():
                levels = averaged(rows, prefix + column)
                xs, (mean, low, high) = range(len(levels)), zip(*levels, strict=True)
                axes.fill_between(xs, low, high, color=look["color"], alpha=0.2, linewidth=0)
                axes.plot(xs, mean, markersize=3.2, **look)
            axes.plot(
                list(PUBLISHED), [pair[number] for pair in PUBLISHED.values()], linestyle="none",
                color="black", marker="*", markersize=8, label="measured, Bai 2024", zorder=4,
            )  # fmt: skip
            axes.grid(axis="y")
            axes.set_axisbelow(True)
            axes.set_xlabel("layer")
        panels[0].set_ylabel("std of the error (LSB of 8 bit)")
        panels[1].set_ylabel("mean cosine similarity")
        panels[0].set_ylim(0, 1.2 * panels[0].get_ylim()[1])  # the legend stands above
        panels[0].legend(frameon=False)
    return figure


def main(
    weights: Annotated[
        str, typer.Option(metavar="NAME", help="Shipped weights.")
    ] = "fastdvdnet-block",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Of the chip (often).")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Chips that are programmed.")] = 5,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the embedded clip.")] = 2,
    size: Annotated[int, typer.Option(min=64, help="Height and width of a frame.")] = 192,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the engine.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR")] = Path("out/layers"),
) -> None:
    """Compare every layer, print a table, write DIR/layers.csv and draw the figure."""
    console, rows = make_console(), list[LayerRow]()
    more = (f"tile.count={TILES}", *(changes or ()))
    for seed in range(seeds):
        rows += compare(prepared(weights, seed, frames, size, threads, CHIP, more))
        console.print(f"chip {seed + 1} of {seeds}: {rows[-1].std_lsb:.2f} LSB at the last layer")
    print_table(
        console, f"{weights} on {CHIP} with {TILES} tiles, mean of {seeds} chips",
        ("layer", "name", "std, LSB", "cosine", "own std", "own cosine", "published std",
         "published cosine"), table(rows),
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "layers.csv", COLUMNS, map(asdict, rows))
    console.print(f"figure: {save(draw(rows), out, 'layers')}")


if __name__ == "__main__":
    run_command(main)
