"""Fig. 4: what a large first stride alone costs: windows and PSNR of baseline o1 against S."""

from __future__ import annotations

from benchmarks.paper import style
from benchmarks.paper.networks import windows_per_pixel
from benchmarks.paper.results import Results

NAME = "fig04"
BLOCK, O1 = "fastdvdnet-block", "baseline-o1"


def draw(results: Results) -> style.Drawn:
    """Draw windows per pixel over PSNR, both against S; the block stands at S = 1."""
    block, line = results.series(BLOCK), results.series(O1)
    stars = [*results.shipped(BLOCK), *results.shipped(O1)]
    points = [*block, *line, *stars]
    strides = sorted({2, 4, 8} | {p.row.stride for p in line if p.row.stride})
    with style.paper_style():
        figure, (windows, quality) = style.new_figure(3.3, rows=2, sharex=True)
        counts = [windows_per_pixel(BLOCK, None), *(windows_per_pixel(O1, s) for s in strides)]
        style.window_axis(windows, "y")
        windows.plot([1, *strides], counts, **(style.LOOKS[O1] | {"marker": ""}))
        windows.plot(strides, counts[1:], **(style.LOOKS[O1] | {"linestyle": ""}))
        windows.plot([1], counts[:1], **style.LOOKS[BLOCK])
        for stride, count in zip([1, *strides], counts, strict=True):
            windows.annotate(
                f"{count:.3g}", (stride, count), xytext=(6, 2), textcoords="offset points",
                fontsize=7,
            )  # fmt: skip
        windows.margins(y=0.15)
        both = [*block, *line]
        xs, ys = [p.row.stride or 1 for p in both], [p.row.psnr_db for p in both]
        # at S = 1 baseline o1 is the block: one line
        quality.plot(xs, ys, **(style.LOOKS[O1] | {"marker": ""}))
        style.marks(quality, xs, ys, both)
        for star in stars:
            style.plot_shipped(quality, star.row.model, [star.row.stride or 1], [star.row.psnr_db])
        style.stride_axis(quality, [1, *strides])
        quality.set_ylabel("PSNR / dB")
        style.room(quality)
        style.legend(figure, (BLOCK, O1), points)
        figure.align_ylabels()
    text = (
        "Windows per pixel and PSNR of baseline o1 against its stride S; S = 1 is the FastDVDnet "
        "block."
    )
    return style.Drawn(NAME, figure, tuple(points), style.caption(text, results, points))
