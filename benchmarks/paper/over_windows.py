"""Draw PSNR against windows per pixel, strides written beside the points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.paper import style
from benchmarks.paper.results import Point, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def over_windows(name: str, results: Results, models: Sequence[str], text: str) -> style.Drawn:
    """Return the figure; the upper model's labels stand above its points, the lower ones' below."""
    points: list[Point] = []
    with style.paper_style():
        figure, axes = style.new_figure(2.4)
        for number, model in enumerate(models):
            points += draw_series(axes, results, model, above=number == 0)
        style.window_axis(axes)
        axes.margins(x=0.12)
        axes.set_ylabel("PSNR / dB")
        style.room(axes, 0.14, 0.14)
        style.legend(figure, models, points)
    return style.Drawn(name, figure, tuple(points), style.caption(text, results, points))


def draw_series(axes: Axes, results: Results, model: str, *, above: bool) -> list[Point]:
    """Draw one model with its shipped stars; return the points."""
    line, stars = results.series(model), results.shipped(model)
    style.plot(axes, model, _windows(line), [p.row.psnr_db for p in line], line)
    style.plot_shipped(axes, model, _windows(stars), [p.row.psnr_db for p in stars])
    labelled = [point for point in line or stars if point.row.stride is not None]
    for point in labelled:
        # "S = " once, on the largest stride, which stands leftmost
        text = f"S = {point.row.stride}" if point is labelled[-1] else f"{point.row.stride}"
        higher = above
        for star in stars:
            if star is not point and star.row.stride == point.row.stride:
                higher = star.row.psnr_db < point.row.psnr_db  # the side without the star
        # lines rise to the right: upper left and lower right of a point are free
        axes.annotate(
            text, (point.row.windows_per_pixel or 0, point.row.psnr_db),
            xytext=(-2, 3) if higher else (3, -3), textcoords="offset points",
            ha="right" if higher else "left", va="bottom" if higher else "top", fontsize=7,
            color=style.LOOKS[model]["color"], path_effects=style.halo(), zorder=5,
        ).set_in_layout(False)  # fmt: skip
    return [*line, *stars]


def _windows(points: Sequence[Point]) -> list[float]:
    return [point.row.windows_per_pixel or 0.0 for point in points]
