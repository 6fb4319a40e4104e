"""Keywords: which of ten digits is spoken in a second of sound."""

from __future__ import annotations

from pathlib import Path

from cimsim.tasks.questions import Keywords
from cimsim.tasks.recordings import load

MODEL, CHIP = "dscnn", "wtm2101"
PROGRAMMINGS = 5
WORDS_PER_S = 1.0  # a chip that listens all the time is asked once a second
# what was measured on the chip itself with words and networks of its vendor's
PUBLISHED = {
    "wtm2101": (
        "measured on this chip (Bai et al., TCAD 2024, Tab. IV): the whole SoC takes 0.5 mA with "
        "40 words and 0.7 mA with 100, at 400 Mop/s; 0.9 and 1.26 mJ a second if its supply is "
        "1.8 V, which is assumed. Accuracy and networks are not published. Cepstra are not modelled"
    ),
}
CALIBRATION = 40  # recordings; as many are shipped


def keywords(
    place: str | Path | None = None, samples: int | None = None, calibration: int | None = None
) -> Keywords:
    """Return the task on the shipped test recordings or on those of a folder.

    The chip is calibrated on training recordings where there are any, else on test recordings that
    are then not judged.

    Parameters
    ----------
    place : str, Path or None
        See `cimsim.tasks.recordings.load`.
    samples, calibration : int, optional
        Recordings that are judged (all) and that the chip is calibrated on (`CALIBRATION`).

    Raises
    ------
    InputError
        No recordings, or too few.
    """
    tests, others = load(place)
    return Keywords(
        source=tests, samples=samples,
        calibration=CALIBRATION if calibration is None else calibration,
        calibration_source=others if len(others) else None,
    )  # fmt: skip
