"""What a field of a chip says of itself, where it stands: a `Fact` in its annotation.

Voltage scaling, units of estimators, ranges of plausible numbers, missing sources, what training
models, what is rescaled with what, spreads and hashes are all read from here
(`cimsim.chip.fields`); there is no second list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scaling = Literal["", "energy", "static", "active", "time"]
Spread = Literal["exact", "analog", "converter", "memory", "logic", "wire", "area", "leakage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Follows:
    """What a number was given for: when one of these fields changes, it changes with them.

    Attributes
    ----------
    law : str
        A key of `cimsim.chip.rescale.LAWS`: the number at the new chip over that at the old one.
    fields : tuple of str
        Dotted YAML paths.
    kept : tuple of str
        Fields that it may depend on in a way that nobody knows: it stays, and a doubt says so.
    of_ideal_cells : tuple of str
        The same where cells are ideal and not cut: one holds a weight of any bits, and stands for
        the cells of all of them.
    """

    law: str = ""
    fields: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    of_ideal_cells: tuple[str, ...] = ()


class Fact:
    """What a field is, who reads it and how sure one can be of it.

    Parameters
    ----------
    *by : str
        Whose numbers move with it: ``energy.<component>``, ``area.<part>``, ``cycles``, ``frames``
        (values on the chip), ``mapping``, ``programming``. A test changes each field and holds it
        to one of these.
    because : str
        Without ``by``: why no number moves.
    scales : str
        How it goes with the supply, see `cimsim.chip.voltage`; empty: not at all.
    plausible : (float, float, str), optional
        Lowest and highest value in SI units that real chips have, and what that range is. Zero
        is always let pass: it means "not given".
    spread : str
        Which component's uncertainty a modelled number has (`cimsim.energy.spread`).
    follows : Follows, optional
        What it was given for.
    expected : bool
        True if a chip without it leaves something out that all chips have.
    trained : tuple
        The values that training with the chip in the loop has a model of; empty: all.
    tried : tuple
        YAML values, or mappings of several fields, that a test can set where the field is not
        given.
    when : mapping, optional
        Fields and values without which it takes no effect.
    """

    __slots__ = (
        "because", "by", "expected", "follows", "plausible", "scales", "spread", "trained",
        "tried", "when",
    )  # fmt: skip

    def __init__(
        self,
        *by: str,
        because: str = "",
        scales: Scaling = "",
        plausible: tuple[float, float, str] | None = None,
        spread: Spread = "exact",
        follows: Follows | None = None,
        expected: bool = False,
        trained: tuple[object, ...] = (),
        tried: tuple[object, ...] = (),
        when: dict[str, object] | None = None,
    ) -> None:
        if bool(by) == bool(because):
            raise ValueError("a Fact says who reads the field, or why nobody does: one of the two")
        self.by, self.because, self.scales, self.plausible = by, because, scales, plausible
        self.spread, self.follows, self.expected = spread, follows, expected
        self.trained, self.tried, self.when = trained, tried, when or {}
