"""How the chip stands against the float network, in words for screen and page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cimsim.session.result import Result
from cimsim.tasks.measures import Measure


@dataclass(frozen=True, slots=True)
class AgainstFloat:
    """What the chip lost or gained.

    Attributes
    ----------
    label : str
        ``lost on the chip`` or ``gained on the chip``.
    amount : str
        Not negative; without its unit.
    told : str
        What a reader should know beside it; empty where a loss speaks for itself.
    """

    label: str
    amount: str
    told: str

    def line(self, unit: str) -> str:
        """Return all of it on one line."""
        return f"{self.label} {self.amount} {unit}" + (self.told and f" ({self.told})")


def frames_against_float(result: Result) -> AgainstFloat:
    """Compare the mean PSNR of a clip, dB.

    Parameters
    ----------
    result : Result
        Of a clip, with `quality`. Of several chips the first one gives the amount, all of them
        what is told.
    """
    quality = result.quality
    assert quality is not None
    gain = quality.psnr_db - quality.mean("float_psnr")
    chips = len(result.programmings)
    of = f"mean of {chips} chips" if chips > 1 else "chip"
    by = "chips" if chips > 1 else "frames"
    return _against(0.0 if math.isnan(gain) else gain, result.gain_interval, "dB", of, by)


def classes_against_float(measures: Sequence[Measure]) -> AgainstFloat | None:
    """Compare the share of right classes, points of a per cent.

    Returns
    -------
    AgainstFloat or None
        None where no classes are known.
    """
    top1 = next((m for m in measures if m.name == "top1"), None)
    if top1 is None or top1.reference is None:
        return None
    ends = None
    if top1.interval is not None:
        # of the chip's share alone: both networks saw the same samples, so it is rather too wide
        ends = top1.interval[0] - top1.reference, top1.interval[1] - top1.reference
    chips = len(top1.chip)
    of = f"mean of {chips} chips" if chips > 1 else "chip"
    by = "chips" if chips > 1 else "samples"
    return _against(top1.mean - top1.reference, ends, "points", of, by)


def _against(
    gain: float, ends: tuple[float, float] | None, unit: str, of: str, by: str
) -> AgainstFloat:
    amount = f"{abs(gain):.2f}"
    better = gain > 0 and float(amount) > 0  # 0.00 is no gain that anybody could see
    told = []
    if ends is not None and ends[0] < ends[1]:
        open_ = ends[0] <= 0 <= ends[1]
        if open_ or by == "chips":
            span = f"{of} minus float32: {ends[0]:+.2f}..{ends[1]:+.2f} {unit}"
            told.append(f"{span}, so these {by} show no sure difference" if open_ else span)
        surely = ends[0] > 0
    else:
        surely = better
    if surely:
        told.append("weights trained with a chip's errors can be better on it than in float32")
    label = "gained on the chip" if better else "lost on the chip"
    return AgainstFloat(label, amount, "; ".join(told))
