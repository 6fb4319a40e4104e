"""Fig. 11: what each half of CIM-NET gives: Abla-NET between baseline o2 and CIM-NET."""

from __future__ import annotations

from benchmarks.paper import style
from benchmarks.paper.results import Point, Results

NAME = "fig11"
MODELS = ("cimnet", "abla-net", "baseline-o2")


def draw(results: Results) -> style.Drawn:
    """Draw PSNR against S for the three."""
    points: list[Point] = []
    with style.paper_style():
        figure, axes = style.new_figure(2.4)
        for model in MODELS:
            line, stars = results.series(model), results.shipped(model)
            points += [*line, *stars]
            style.plot(
                axes, model, [p.row.stride or 1 for p in line], [p.row.psnr_db for p in line], line
            )
            style.plot_shipped(
                axes, model, [p.row.stride or 1 for p in stars], [p.row.psnr_db for p in stars]
            )
        style.stride_axis(axes, [2, 4, 8, *(p.row.stride for p in points if p.row.stride)])
        axes.set_ylabel("PSNR / dB")
        style.room(axes)
        style.legend(figure, MODELS, points)
    text = (
        "PSNR against the stride S: baseline o2, the same with CIM-CONVs as smoothing modules "
        "(Abla-NET), and CIM-NET, where all strided layers are CIM-CONVs."
    )
    return style.Drawn(NAME, figure, tuple(points), style.caption(text, results, points))
