"""Which network is better, seed by seed: the differences behind the figures, with intervals."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.paper.comparison import by_seed
from benchmarks.paper.results import Point, Results
from benchmarks.paper.spread import interval
from benchmarks.paper.style import NAMES

PAIRS = (
    ("cimnet", "baseline-o2"),
    ("abla-net", "baseline-o2"),
    ("cimnet", "abla-net"),
    ("baseline-o2", "baseline-o1"),
)
STRIDES = (2, 4, 8)


def markdown(results: Results) -> str:
    """Return a table of differences in PSNR at each stride, with 95 % intervals over seeds.

    A difference is taken between trainings of the same seed, which saw the same crops and noise.
    """
    out = [
        "| difference at sigma 15, dB | S = 2 | S = 4 | S = 8 | seeds |",
        "|---|---:|---:|---:|---:|",
    ]
    for upper, lower in PAIRS:
        pairs = [_pair(results, upper, lower, stride) for stride in STRIDES]
        seeds = sorted({len(by_seed(pair)) for pair in pairs if pair})
        cells = [_cell(pair) for pair in pairs]
        count = " to ".join(str(n) for n in dict.fromkeys((seeds[0], seeds[-1]))) if seeds else "–"
        out.append(f"| {NAMES[upper]} minus {NAMES[lower]} | {' | '.join(cells)} | {count} |")
    return "\n".join(out)


def unsure(results: Results) -> Iterator[str]:
    """Yield the pairs whose interval holds 0: no ordering can be told."""
    for upper, lower in PAIRS:
        for stride in STRIDES:
            pair = _pair(results, upper, lower, stride)
            if pair is None:
                continue
            mean, half = interval(by_seed(pair))
            if half is None or abs(mean) <= half:
                yield f"{NAMES[upper]} minus {NAMES[lower]}, S = {stride}"


def _pair(results: Results, upper: str, lower: str, stride: int) -> tuple[Point, Point] | None:
    points = [results.point(model, stride) for model in (upper, lower)]
    first, second = points
    return None if first is None or second is None else (first, second)


def _cell(pair: tuple[Point, Point] | None) -> str:
    if pair is None:
        return "–"
    mean, half = interval(by_seed(pair))
    if half is None:
        return f"{mean:+.2f}".replace("-", "−")
    return f"{mean:+.2f} ({mean - half:+.2f}..{mean + half:+.2f})".replace("-", "−")
