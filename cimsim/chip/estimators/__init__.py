"""Component estimators: what the value ``auto`` in a hardware description becomes.

A new one is a class (`cimsim.chip.estimators.base`) and a line in `ESTIMATORS`. A description asks
for it by name, ``energy: auto mine``; ``auto`` alone takes the one of `DEFAULTS`. One of the user's
own needs no line: ``energy: auto package.module:Class``, or the name of an entry point of the group
``cimsim.estimators``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from cimsim.boundary.limits import shown
from cimsim.boundary.outside import built, class_of, installed, is_outside
from cimsim.boundary.own import Unfit, ask, guarded, number, require
from cimsim.chip.estimators.adc import AdcSurvey
from cimsim.chip.estimators.base import AbstractEstimator, unit_of
from cimsim.chip.estimators.logic import AddersAladdin, DacChen, MatMulAladdin, VectorAladdin
from cimsim.chip.estimators.sram import SramLop, SramLstp
from cimsim.chip.estimators.wires import CellLine, WireBus
from cimsim.chip.spec import Chip
from cimsim.errors import ConfigError, suggest

ESTIMATORS: dict[str, AbstractEstimator] = {
    "adc_survey": AdcSurvey(),
    "adder_aladdin": AddersAladdin(),
    "cell_line": CellLine(),
    "dac_chen": DacChen(),
    "matmul_aladdin": MatMulAladdin(),
    "sram_lop": SramLop(),
    "sram_lstp": SramLstp(),
    "vector_aladdin": VectorAladdin(),
    "wire_bus": WireBus(),
}
# the bus comes last: it needs the area of all else
DEFAULTS = {
    "array": "cell_line", "dac": "dac_chen", "adc": "adc_survey", "buffer": "sram_lstp",
    "adder": "adder_aladdin", "vector": "vector_aladdin", "matmul": "matmul_aladdin",
    "global_buffer": "sram_lstp", "interconnect": "wire_bus",
}  # fmt: skip

GROUP = "cimsim.estimators"  # of entry points

__all__ = ["DEFAULTS", "ESTIMATORS", "AbstractEstimator", "estimated", "estimator_of", "unit_of"]


def _names(value: object) -> None:
    require(
        isinstance(value, tuple | list) and bool(value) and all(isinstance(n, str) for n in value),
        f"expected names of fields, got {shown(value)}",
    )


def estimator_of(name: str) -> AbstractEstimator:
    """Return an estimator: built in, ``package.module:Class``, or an entry point.

    Raises
    ------
    ConfigError
        Unknown, cannot be imported, or no estimator.
    """
    if name in ESTIMATORS:
        return ESTIMATORS[name]
    if not is_outside(name) and name not in installed(GROUP):
        raise ConfigError(
            f"no estimator {shown(name)}{suggest(name, [*ESTIMATORS, *installed(GROUP)])}; or give "
            "package.module:Class"
        )
    kind = class_of(name, {}, AbstractEstimator, GROUP, "estimator")
    made = guarded(built(kind, name, "estimator"), "estimator", {"gives": _names, "estimate": None})
    for field in ("formula", "source"):
        if not isinstance(getattr(made, field, None), str):
            raise ConfigError(
                f"estimator: '{name}': {field}: expected a text as an attribute of the class"
            )
    if not hasattr(made, "gives"):
        raise ConfigError(
            f"estimator: '{name}': gives: expected the names of fields as an attribute of the class"
        )
    return made


def estimated(estimator: AbstractEstimator, chip: Chip, section: str, field: str) -> float:
    """Return what an estimator gives for a field, in SI units.

    Raises
    ------
    ValueError
        The chip lies outside of what the formula is valid for.
    ConfigError
        One of the user's own failed, left the field out, or gave no finite number >= 0.
    """

    def rule(value: object, *arguments: object) -> None:
        require(isinstance(value, Mapping), f"expected a dict, got {type(value).__name__}")
        assert isinstance(value, Mapping)
        require(field in value, f"gives no '{field}', which is among its fields")
        try:
            number()(value[field])
        except Unfit as why:
            raise Unfit(f"{section}.{field}: {why}") from None

    try:
        given = ask(estimator, "estimate", chip, section, place="estimator", rule=rule)
    except ConfigError as error:
        # out of range is said with a ValueError, see `AbstractEstimator`
        cause = error.__cause__
        if isinstance(cause, ValueError):
            raise cause from None
        raise
    return float(cast(Mapping[str, float], given)[field])
