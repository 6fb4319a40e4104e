"""Fig. 6: smoothing at full resolution: baseline o2 against o1, PSNR over windows."""

from __future__ import annotations

from benchmarks.paper import style
from benchmarks.paper.over_windows import over_windows
from benchmarks.paper.results import Results

NAME = "fig06"
MODELS = ("baseline-o2", "baseline-o1", "fastdvdnet-block")


def draw(results: Results) -> style.Drawn:
    """Draw PSNR against windows per pixel; labels tell the stride."""
    text = (
        "PSNR of the baselines o1 and o2 against windows per pixel at the strides S written beside "
        "the points."
    )
    return over_windows(NAME, results, MODELS, text)
