"""Fig. 10: PSNR against the noise of the input at S = 8."""

from __future__ import annotations

from benchmarks.paper import style
from benchmarks.paper.record import NOISY
from benchmarks.paper.results import BLIND, OVER_SIGMA, Point, Results

NAME = "fig10"
MODELS = ("cimnet", "baseline-o2", NOISY)


def draw(results: Results) -> style.Drawn:
    """Draw CIM-NET, o2 and the noisy input; the networks are told the true sigma."""
    points: list[Point] = []
    narrow: list[Point] = []
    with style.paper_style():
        figure, axes = style.new_figure(2.7)
        for network, model in zip((*OVER_SIGMA, NOISY), MODELS, strict=True):
            fixed, blind = results.over_sigma(network), results.over_sigma(network + BLIND)
            line = blind or fixed
            stars = results.over_sigma(network, shipped=True)
            points += [*line, *stars]
            if model == NOISY:
                axes.plot(*_xy(line), **style.LOOKS[model])
            else:
                style.plot(axes, model, *_xy(line), line)
            if blind and fixed:
                narrow += fixed
                axes.plot(*_xy(fixed), color=style.LOOKS[model]["color"], linewidth=0.7, alpha=0.7)
            style.plot_shipped(axes, model, *_xy(stars))
        axes.set_xlabel("noise of the input σ / 8-bit steps")
        axes.set_ylabel("PSNR / dB")
        axes.set_xticks(sorted({p.row.sigma for p in points}))
        style.room(axes)
        style.legend(figure, MODELS, points)
        if narrow:
            note = f"thin, stars: trained at σ = {_trained(narrow)} only"
            axes.text(0.02, 0.03, note, transform=axes.transAxes, fontsize=7, color="#555555")
    text = (
        "PSNR of CIM-NET and baseline o2 at S = 8 against the noise of the input, which the noise "
        f"map tells. Trained at σ = {_trained(points) or '?'}"
        + (f"; thin lines: at σ = {_trained(narrow)} only." if narrow else ".")
    )
    shown = (*points, *narrow)
    caption = style.caption(text, results, points, "σ as on the axis")
    return style.Drawn(NAME, figure, shown, caption)


def _xy(line: list[Point]) -> tuple[list[float], list[float]]:
    return [p.row.sigma for p in line], [p.row.psnr_db for p in line]


def _trained(points: list[Point]) -> str:
    return ", ".join(sorted({p.row.trained_sigma for p in points if not p.shipped} - {""}))
