"""Fig. 10: PSNR against the noise of the input at S = 8."""

from __future__ import annotations

from benchmarks.paper import style
from benchmarks.paper.record import NOISY
from benchmarks.paper.results import OVER_SIGMA, Results

NAME = "fig10"
MODELS = ("cimnet", "baseline-o2", NOISY)


def draw(results: Results) -> style.Drawn:
    """Draw CIM-NET, o2 and the noisy input; the networks are told the true sigma."""
    points = []
    with style.paper_style():
        figure, axes = style.new_figure(2.5)
        for network, model in zip((*OVER_SIGMA, NOISY), MODELS, strict=True):
            line = results.over_sigma(network)
            stars = results.over_sigma(network, shipped=True)
            points += [*line, *stars]
            xs, ys = [p.row.sigma for p in line], [p.row.psnr_db for p in line]
            if model == NOISY:
                axes.plot(xs, ys, **style.LOOKS[model])
            else:
                style.plot(axes, model, xs, ys, line)
            style.plot_shipped(
                axes, model, [p.row.sigma for p in stars], [p.row.psnr_db for p in stars]
            )
        axes.set_xlabel("noise of the input σ / 8-bit steps")
        axes.set_ylabel("PSNR / dB")
        axes.set_xticks(sorted({p.row.sigma for p in points}))
        style.room(axes)
        style.legend(figure, MODELS, points)
        trained = sorted({p.row.trained_sigma for p in points if p.row.trained_sigma})
        if trained:
            note = f"trained at σ = {' and '.join(trained)}" + (
                " only" if trained == ["15"] else ""
            )
            axes.text(0.02, 0.03, note, transform=axes.transAxes, fontsize=7, color="#555555")
    text = (
        "PSNR of CIM-NET and baseline o2 at S = 8 against the noise of the input. The noise map "
        "holds the true σ; the networks were trained at σ = " + (", ".join(trained) or "?") + "."
    )
    sigma = "σ as on the axis"
    return style.Drawn(NAME, figure, tuple(points), style.caption(text, results, points, sigma))
