"""Fig. 9: CIM-NET against baseline o2, over the stride and over windows per pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.paper import style
from benchmarks.paper.over_windows import draw_series
from benchmarks.paper.results import Point, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "fig09"
MODELS = ("cimnet", "baseline-o2", "fastdvdnet-block")


def draw(results: Results) -> style.Drawn:
    """Draw PSNR against S (left) and against windows per pixel (right)."""
    points: list[Point] = []
    with style.paper_style():
        figure, (left, right) = style.new_figure(2.5, columns=2, sharey=True)
        for number, model in enumerate(MODELS):
            line, stars = results.series(model), results.shipped(model)
            strides = [p.row.stride or 1 for p in line]
            style.plot(left, model, strides, [p.row.psnr_db for p in line], line)
            style.plot_shipped(
                left, model, [p.row.stride or 1 for p in stars], [p.row.psnr_db for p in stars]
            )
            points += draw_series(right, results, model, above=number == 0)
        style.stride_axis(left, [1, 2, 4, 8, *(p.row.stride for p in points if p.row.stride)])
        left.set_xlim(right=left.get_xlim()[1] * 1.25)
        style.window_axis(right)
        right.margins(x=0.15)
        right.set_xlim(left=right.get_xlim()[0] / 2)  # room for "S = 8"
        left.set_ylabel("PSNR / dB")
        style.room(left, 0.14, 0.14)
        style.legend(figure, MODELS, points)
        _gap(left, results)
    text = (
        "PSNR of CIM-NET and baseline o2 against the stride S (left; the FastDVDnet block at "
        "S = 1) and against windows per pixel (right, S beside the points)."
    )
    return style.Drawn(NAME, figure, tuple(points), style.caption(text, results, points))


def _gap(axes: Axes, results: Results) -> None:
    """Write the difference between the two at the largest stride that both have."""
    upper, lower = ({p.row.stride: p.row.psnr_db for p in results.series(m)} for m in MODELS[:2])
    common = [stride for stride in upper.keys() & lower.keys() if stride is not None]
    if not common:
        return
    stride = max(common)
    high, low = upper[stride], lower[stride]
    arrow = {"arrowstyle": "<->", "color": "#555555", "linewidth": 0.6, "shrinkA": 4, "shrinkB": 4}
    axes.annotate("", (stride, high), (stride, low), arrowprops=arrow)
    axes.annotate(
        f"{high - low:+.2f} dB".replace("-", "−"), (stride, (high + low) / 2), xytext=(2, 0),
        textcoords="offset points", ha="left", va="center", fontsize=7, rotation=90,
        color="#333333", path_effects=style.halo(), zorder=6,
    ).set_in_layout(False)  # fmt: skip
