"""What a coarse path could add to CIM-NET's two smoothing layers: bounds in closed form.

python -m benchmarks.paper.bound --data clips --out out/bound

Nothing is trained by descent. ``L`` is the estimate of the shipped CIM-NET of S = 8 without its
coarse path, ``T`` that of a teacher, the shipped FastDVDnet block. Per block of 8 x 8 pixels:

- the widths: what is left of ``T - L`` when a block may change by few numbers only;
- the sum: whether the last layer can write any change of a block, given that the coarse path's
  map can only be added, and only positive values (ReLU);
- the context: how good the teacher is when it sees nothing but a window around the block;
- the descent: a coarse path whose layers are fitted in closed form, its last by least squares.

And for baseline o2: the best linear estimate of a block when it, or its noise, is drawn from 32
channels (reduced-rank regression).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.paper import document
from benchmarks.paper.console import make_console, print_table, run_command
from benchmarks.paper.record import RESULTS, read_plain, write_csv

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cimsim.training.data import Dataset

EDGE = 8  # of a block
SIGMA = 15.0
RANKS = (4, 8, 16, 32, 64, 128)
WINDOWS = (12, 16, 24, 40, 56)  # multiples of 4, which the teacher asks for
CHANNELS = 64  # of the coarse path
N_RANDOM = 1500  # hidden units behind it, in the fit in closed form
CROP, BATCH = 64, 8
RIDGES = (1e-2, 1e-1, 1.0, 10.0)  # of the power of each feature
N_VALUES = 3 * EDGE**2
O2_CHANNELS = 32  # in front of o2's last convolution
N_PATCHES = 50_000  # for the linear estimates
RIDGE_OF_RANKS = 1e-4
TARGETS = {"true error": slice(N_VALUES), "teacher's change": slice(N_VALUES, 2 * N_VALUES)}
COLUMNS = ("question", "case", "psnr_db", "gain_db")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes
    ----------
    question, case : str
    psnr_db : float
        On the held-out crops, mean over crops.
    gain_db : float
        Over the two layers alone (for windows: over the same blocks' two layers; for o2: over the
        noisy input).
    """

    question: str
    case: str
    psnr_db: float
    gain_db: float


@dataclass(frozen=True)
class Pair:
    """The local network, as a CIM-NET block, and the teacher.

    Attributes
    ----------
    block : CIMBlock
        Of the shipped CIM-NET of S = 8; its coarse path is left out.
    teacher : nn.Module
    """

    block: nn.Module
    teacher: nn.Module

    def hidden(self, noisy: Tensor, noise_map: Tensor) -> Tensor:
        """Return what the first smoothing layer writes, [B, 32, H, W]."""
        import torch

        from cimsim.zoo.cimnet import GREY

        full: Tensor = self.block.smooth_in(torch.cat([noisy - GREY, noise_map], dim=1))  # type: ignore[operator]
        return full

    def local(self, noisy: Tensor, noise_map: Tensor) -> Tensor:
        """Return ``L`` [B, 3, H, W]."""
        estimate: Tensor = self.block.smooth_out(self.hidden(noisy, noise_map))  # type: ignore[operator]
        return estimate


def shipped_pair() -> Pair:
    """Return the shipped CIM-NET of S = 8 and the shipped FastDVDnet block."""
    import cimsim

    network = cimsim.load_network("cimnet", {"stride": EDGE})
    return Pair(network.module.block1, cimsim.load_network("fastdvdnet-block").module)  # type: ignore[arg-type]


def to_blocks(x: Tensor, edge: int = EDGE) -> Tensor:
    """Cut [B, C, H, W] into blocks [B * h * w, C * edge^2], in the order of a pixel shuffle."""
    from torch.nn import functional

    return functional.pixel_unshuffle(x, edge).permute(0, 2, 3, 1).reshape(-1, x.shape[1] * edge**2)


def from_blocks(blocks: Tensor, shape: Sequence[int], edge: int = EDGE) -> Tensor:
    """Undo `to_blocks` for a map of that shape."""
    from torch.nn import functional

    n, _, height, width = shape
    maps = blocks.reshape(n, height // edge, width // edge, -1).permute(0, 3, 1, 2)
    return functional.pixel_shuffle(maps, edge)


def crop_psnr(estimate: Tensor, clean: Tensor) -> float:
    """Return the PSNR in dB of estimates clipped to [0, 1], mean over crops."""
    errors = (estimate.clamp(0, 1) - clean).square().mean(dim=(1, 2, 3))
    return float((-10 * errors.log10()).mean())


def principal(samples: Tensor) -> Tensor:
    """Return the principal directions of [n, d], strongest first, as columns [d, d]; no mean."""
    import torch

    vectors = torch.linalg.eigh((samples.T @ samples).double()).eigenvectors
    return vectors.flip(1).float()


def spans_all(matrix: Tensor) -> float:
    """Return how far positive sums of columns are from writing every change; 0: they write all.

    Where the columns span the space and a sum with factors above 0 of all of them is nothing, each
    column's negative is a positive sum of the others, so positive sums reach what sums reach. Such
    a sum exists if and only if the negative of the columns' plain sum is a positive sum.

    Parameters
    ----------
    matrix : Tensor [m, n]

    Returns
    -------
    float
        Relative distance; 1 when the columns do not even span.
    """
    import torch

    if int(torch.linalg.matrix_rank(matrix.double())) < len(matrix):
        return 1.0
    return reach(matrix, -matrix.sum(dim=1)[None])


def reach(matrix: Tensor, wanted: Tensor) -> float:
    """Return the share of ``wanted`` that no sum of columns with positive factors can write.

    Parameters
    ----------
    matrix : Tensor [m, n]
        Columns: what one unit adds to a block.
    wanted : Tensor [k, m]
        Changes of blocks.

    Returns
    -------
    float
        Root of the summed squares of what is left over that of ``wanted``; 0: all can be written.
    """
    import numpy as np
    import scipy.optimize

    left = [scipy.optimize.nnls(matrix.double().numpy(), row)[1] for row in wanted.double().numpy()]
    return float(np.linalg.norm(left) / wanted.norm())


class LeastSquares:
    """Ridge regression with gram and cross products added up batch by batch."""

    def __init__(self) -> None:
        self.gram: Tensor | float = 0.0
        self.cross: Tensor | float = 0.0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add samples: features [n, d] and targets [n, m]."""
        self.gram = self.gram + x.T @ x
        self.cross = self.cross + x.T @ y

    def solve(self, n_features: int, ridge: float) -> Tensor:
        """Return the map [n_features, m] from the first features alone.

        ``ridge`` is a share of each feature's power.
        """
        import scipy.linalg
        import torch

        gram = self.gram[:n_features, :n_features].double()  # type: ignore[index]
        gram.diagonal().mul_(1 + ridge).add_(1e-9 * gram.diagonal().mean())
        cross = self.cross[:n_features].double()  # type: ignore[index]
        found = scipy.linalg.solve(
            gram.numpy(), cross.numpy(), assume_a="pos", overwrite_a=True, check_finite=False
        )
        return torch.from_numpy(found).float()


@dataclass(frozen=True)
class CoarseFit:
    """The features of a coarse path whose layers are fitted without descent.

    In this order: a constant; the 64 strongest linear components of the local map's patch at the
    3 x 3 places around, which is a strided layer and the 3 x 3 layer behind it; random ReLU units
    of those.

    Attributes
    ----------
    components : Tensor [patch, CHANNELS]
    weight, bias : Tensor [9 * CHANNELS, N_RANDOM], [N_RANDOM]
    """

    components: Tensor
    weight: Tensor
    bias: Tensor

    @classmethod
    def fitted(cls, patches: Tensor) -> CoarseFit:
        """Choose the layers for patches [n, d] of the local map."""
        import torch

        components = principal(patches)[:, :CHANNELS]
        spread = (patches @ components).std(dim=0)
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(9 * CHANNELS, N_RANDOM, generator=generator) / (9 * CHANNELS) ** 0.5
        bias = torch.randn(N_RANDOM, generator=generator)
        return cls(components / spread, weight, bias)

    @property
    def counts(self) -> dict[str, int]:
        """Number of features by what they stand for."""
        linear = 1 + 9 * CHANNELS
        return {
            f"{CHANNELS} linear channels of the 3 x 3 blocks around": linear,
            f"and {N_RANDOM} hidden units on those": linear + N_RANDOM,
        }

    def __call__(self, full: Tensor) -> Tensor:
        """Map the local map [B, 32, H, W] to features [blocks, n]."""
        import torch
        from torch.nn import functional

        patches = patches_of(full)
        size = (full.shape[0], full.shape[2] // EDGE, full.shape[3] // EDGE)
        channels = (patches @ self.components).reshape(*size, CHANNELS).permute(0, 3, 1, 2)
        around = functional.unfold(channels, 3, padding=1).transpose(1, 2).flatten(0, 1)
        units = torch.relu(around @ self.weight + self.bias)
        return torch.cat([torch.ones(len(patches), 1), around, units], dim=1)


def patches_of(full: Tensor) -> Tensor:
    """Return the 10 x 10 patches of the local map that stand for blocks: [blocks, 32 * 100]."""
    from torch.nn import functional

    return functional.unfold(full, EDGE + 2, padding=1, stride=EDGE).transpose(1, 2).flatten(0, 1)


def drawn(dataset: Dataset, count: int, seed: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield ``count`` batches of training crops: noisy, noise map, clean."""
    from cimsim.training.data import Sampler

    sampler = Sampler(
        dataset, n_frames=3, crop=CROP, batch=BATCH, sigma=(SIGMA, SIGMA), stills=0.3, seed=seed
    )
    for index in range(count):
        yield sampler.draw(index)


def by_width(pair: Pair, basis: Tensor, held_out: tuple[Tensor, ...]) -> list[Line]:
    """Restrict the teacher's change of each block, and the true error, to few directions."""
    noisy, noise_map, clean = held_out
    local, teacher = pair.local(noisy, noise_map), pair.teacher(noisy, noise_map)
    start = crop_psnr(local, clean)
    lines = [Line("reference", "two layers", start, 0.0)]
    lines.append(_line("reference", "teacher", teacher, clean, start))
    for name, change in (("teacher's change", teacher - local), ("true error", clean - local)):
        blocks = to_blocks(change)
        for rank in RANKS:
            part = basis[:, :rank]
            kept = from_blocks(blocks @ part @ part.T, change.shape)
            case = f"{name} through {rank} numbers per block"
            lines.append(_line("width", case, local + kept, clean, start))
    return lines


def by_window(pair: Pair, held_out: tuple[Tensor, ...], step: int = 24) -> list[Line]:
    """Let the teacher see a window around a block and nothing else.

    Blocks lie ``step`` pixels apart and as far from the edges as the largest window needs.
    """
    import torch

    noisy, noise_map, clean = held_out
    margin = (max(WINDOWS) - EDGE) // 2
    height, width = clean.shape[-2:]
    places = [
        (y, x)
        for y in range(margin, height - margin - EDGE + 1, step)
        for x in range(margin, width - margin - EDGE + 1, step)
    ]

    def cut(frames: Tensor, edge: int) -> Tensor:
        far = (edge - EDGE) // 2
        parts = [frames[..., y - far : y - far + edge, x - far : x - far + edge] for y, x in places]
        return torch.cat(parts)

    wanted = cut(clean, EDGE)
    # the local path's blocks lie on a grid: a window that is cut out has one in its middle
    local = pair.local(cut(noisy, EDGE + 32), cut(noise_map, EDGE + 32))[..., 16:-16, 16:-16]
    start = _level(local, wanted)
    lines = [Line("context", "two layers, the same blocks", start, 0.0)]
    for edge in WINDOWS:
        far = (edge - EDGE) // 2
        seen = pair.teacher(cut(noisy, edge), cut(noise_map, edge))
        level = _level(seen[..., far : far + EDGE, far : far + EDGE], wanted)
        case = f"teacher sees {edge} x {edge} pixels"
        lines.append(Line("context", case, level, level - start))
    return lines


def _level(estimate: Tensor, clean: Tensor) -> float:
    """Return the PSNR in dB over all blocks together."""
    return float(-10 * (estimate.clamp(0, 1) - clean).square().mean().log10())


def by_fit(pair: Pair, dataset: Dataset, held_out: tuple[Tensor, ...], batches: int) -> list[Line]:
    """Fit a coarse path in closed form to the true error and to the teacher's change."""
    import torch

    first = [pair.hidden(noisy, maps) for noisy, maps, _ in drawn(dataset, 40, seed=1)]
    features = CoarseFit.fitted(torch.cat([patches_of(full) for full in first]))
    fit = LeastSquares()
    for noisy, maps, clean in drawn(dataset, batches, seed=2):
        full = pair.hidden(noisy, maps)
        local = pair.block.smooth_out(full)  # type: ignore[operator]
        wanted = [to_blocks(clean - local), to_blocks(pair.teacher(noisy, maps) - local)]
        fit.add(features(full), torch.cat(wanted, dim=1))
    tuning = []
    for noisy, maps, clean in drawn(dataset, 20, seed=3):
        full = pair.hidden(noisy, maps)
        tuning.append((features(full), to_blocks(clean - pair.block.smooth_out(full))))  # type: ignore[operator]
    noisy, noise_map, clean = held_out
    local = pair.local(noisy, noise_map)
    start = crop_psnr(local, clean)
    lines = []
    for case, count in features.counts.items():
        solutions = [fit.solve(count, ridge) for ridge in RIDGES]
        for name, columns in TARGETS.items():
            own = [solution[:, columns] for solution in solutions]
            best = min(own, key=lambda solution: _error(solution, tuning))
            changes = [
                from_blocks(features(pair.hidden(a[None], b[None]))[:, :count] @ best, c.shape)
                for a, b, c in zip(noisy, noise_map, local[:, None], strict=True)
            ]
            estimate = local + torch.cat(changes)
            lines.append(_line("descent", f"{case}, to the {name}", estimate, clean, start))
    return lines


def _error(solution: Tensor, crops: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the summed squared error of a solution on (features, wanted change)."""
    return sum(
        float((wanted - x[:, : len(solution)] @ solution).square().mean()) for x, wanted in crops
    )


def reduced(solution: Tensor, gram: Tensor, rank: int) -> Tensor:
    """Return the best map of that rank: the least-squares map, its outputs on few directions.

    Parameters
    ----------
    solution : Tensor [n, m]
        Of the least-squares problem.
    gram : Tensor [n, n]
        Of its inputs.
    rank : int

    Returns
    -------
    Tensor [n, m]
    """
    import torch

    wide = solution.double()
    directions = torch.linalg.eigh(wide.T @ gram.double() @ wide).eigenvectors
    kept = directions.flip(1)[:, :rank]
    return (wide @ kept @ kept.T).float()


def by_rank(dataset: Dataset, held_out: tuple[Tensor, ...], stride: int) -> list[Line]:
    """Estimate blocks linearly from their patches, through 32 channels and through all.

    ``direct`` draws the clean block, ``residual`` its noise, as the two outputs of o2.
    """
    import torch
    from torch.nn import functional

    from cimsim.training.data import Sampler
    from cimsim.zoo.cimnet import GREY

    kernel, n_values = stride + 2, 3 * stride**2
    sampler = Sampler(
        dataset, n_frames=3, crop=kernel, batch=1000, sigma=(SIGMA, SIGMA), stills=0.3, seed=4
    )
    fit = LeastSquares()
    for index in range(N_PATCHES // 1000):
        noisy, _, clean = sampler.draw(index)
        x = torch.cat([noisy.flatten(1) - GREY, torch.ones(len(noisy), 1)], dim=1)
        inside = slice(1, 1 + stride)
        wanted = clean[..., inside, inside].flatten(1)
        noise = noisy[:, 3:6, inside, inside].flatten(1) - wanted
        fit.add(x, torch.cat([wanted - GREY, noise], dim=1))
    solution = fit.solve(9 * kernel**2 + 1, RIDGE_OF_RANKS)
    noisy, _, clean = held_out
    patches = functional.unfold(noisy - GREY, kernel, padding=1, stride=stride)
    x = patches.transpose(1, 2).flatten(0, 1)
    x = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    centre, noisy_db = noisy[:, 3:6], crop_psnr(noisy[:, 3:6], clean)
    lines = []
    for name, part in (("direct", solution[:, :n_values]), ("residual", solution[:, n_values:])):
        for rank in (O2_CHANNELS, n_values):
            best = reduced(part, fit.gram, min(rank, n_values))  # type: ignore[arg-type]
            written = from_blocks(x @ best, clean.shape, stride)
            estimate = written + GREY if name == "direct" else centre - written
            case = f"S = {stride}, {name}, {min(rank, n_values)} channels, best linear estimate"
            lines.append(_line("o2", case, estimate, clean, noisy_db))
    return lines


def _line(question: str, case: str, estimate: Tensor, clean: Tensor, start: float) -> Line:
    level = crop_psnr(estimate, clean)
    return Line(question, case, level, level - start)


@dataclass(frozen=True)
class Case:
    """What the questions are asked about.

    Attributes
    ----------
    pair : Pair
    dataset : Dataset
    held_out : (Tensor, Tensor, Tensor)
    batches : int
        Of training crops, for the fits in closed form.
    """

    pair: Pair
    dataset: Dataset
    held_out: tuple[Tensor, ...]
    batches: int

    def width(self) -> list[Line]:
        """Ask how many numbers per block the change needs."""
        import torch

        changes = [
            to_blocks(self.pair.teacher(noisy, maps) - self.pair.local(noisy, maps))
            for noisy, maps, _ in drawn(self.dataset, 50)
        ]
        return by_width(self.pair, principal(torch.cat(changes)), self.held_out)

    def sum(self) -> list[Line]:
        """Ask whether the last layer can write every change of its block."""
        weight = self.pair.block.smooth_out.fc.weight  # type: ignore[union-attr]
        left = spans_all(weight[:, :, 1:-1, 1:-1].flatten(1))
        return [Line("sum", "share of a change that no positive sum can write", left, 0.0)]

    def context(self) -> list[Line]:
        """Ask how far the teacher has to see."""
        return by_window(self.pair, self.held_out)

    def descent(self) -> list[Line]:
        """Ask what a path gives whose layers are fitted, not trained."""
        return by_fit(self.pair, self.dataset, self.held_out, self.batches)

    def o2(self) -> list[Line]:
        """Ask what 32 channels cost a linear estimate."""
        return [line for s in (4, 8) for line in by_rank(self.dataset, self.held_out, s)]


QUESTIONS = {
    "width": Case.width, "sum": Case.sum, "context": Case.context, "descent": Case.descent,
    "o2": Case.o2,
}  # fmt: skip


def _read(path: Path) -> list[Line]:
    return read_plain(path, Line)


def _write(path: Path, lines: Sequence[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        asdict(one) | {"psnr_db": f"{one.psnr_db:.4f}", "gain_db": f"{one.gain_db:.4f}"}
        for one in lines
    ]
    write_csv(path, COLUMNS, rows)


def markdown(lines: Sequence[Line]) -> str:
    """Return the table in Markdown."""
    rows = ["| question | case | dB | gain |", "|---|---|---:|---:|"]
    for one in lines:
        if one.question == "sum":
            rows.append(f"| sum | {one.case} | {100 * one.psnr_db:.2g} % | |")
        else:
            rows.append(f"| {one.question} | {one.case} | {one.psnr_db:.2f} | {one.gain_db:+.2f} |")
    return "\n".join(rows)


def main(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Training clips with manifest.csv.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets bound.csv.")],
    batches: Annotated[int, typer.Option(min=1, help="Batches of 8 crops for the fits.")] = 200,
    record: Annotated[
        bool, typer.Option("--record", help="Write results/bound.csv and docs/paper.md.")
    ] = False,
) -> None:
    """Compute what a coarse path could add to the two smoothing layers of CIM-NET at S = 8.

    Questions that --out has an answer to are not asked again.
    """
    import torch

    from cimsim.training.data import load_dataset, validation_batch

    console = make_console()
    kept = out / "bound.csv"
    lines = _read(kept)
    missing = [name for name in QUESTIONS if name not in {line.question for line in lines}]
    if missing:
        dataset = load_dataset(data)
        held_out = validation_batch(dataset, n_frames=3, sigma=SIGMA, crop=192)
        case = Case(shipped_pair(), dataset, held_out, batches)
        for name in missing:
            with console.status(name), torch.inference_mode():
                lines += QUESTIONS[name](case)
            _write(kept, lines)
    if record:
        _write(RESULTS / "bound.csv", lines)
        document.rewrite(document.PATH, {"bound": markdown(lines)})
    shown = [(one.question, one.case, f"{one.psnr_db:.3f}", f"{one.gain_db:+.3f}") for one in lines]
    print_table(console, "What a coarse path could give", COLUMNS, shown)


if __name__ == "__main__":
    run_command(main)
