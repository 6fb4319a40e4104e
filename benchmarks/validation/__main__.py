"""Predict every published figure from its chip file, and say how far off the prediction is.

python -m benchmarks.validation [--write]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.paper import document
from benchmarks.validation.targets import TARGETS, UNCALIBRATED, Target, is_estimable
from cimsim.chip.load import load_hw
from cimsim.errors import ConfigError

PATH = document.PATH.with_name("validation.md")


@dataclass(frozen=True)
class Row:
    """A published figure beside what the model says.

    Attributes
    ----------
    target : Target
    estimated : float or None
        From estimators alone; None where they have nothing to say.
    predicted : float
        From the shipped description.
    """

    target: Target
    estimated: float | None
    predicted: float

    @property
    def error(self) -> float:
        """Relative error of the shipped description."""
        return self.predicted / self.target.published - 1


def evaluate(
    targets: Iterable[Target] = TARGETS, files: Mapping[str, Any] | None = None
) -> list[Row]:
    """Compute every row.

    Parameters
    ----------
    targets : iterable of Target
    files : mapping, optional
        Chip name -> a file to take instead of the shipped description of that name.
    """
    given = files or {}
    return [_row(target, given.get(target.chip, target.chip)) for target in targets]


def _row(target: Target, chip: Any) -> Row:
    predicted = target.measure(load_hw(chip, dict(target.changes)) if chip else None)
    estimated = None
    if is_estimable(target):
        try:
            changes = dict(UNCALIBRATED[target.chip]) | dict(target.changes)
            estimated = target.measure(load_hw(chip, changes))
        except ConfigError:
            estimated = None  # outside of an estimator's range
    return Row(target, estimated, predicted)


def mean_error(rows: Iterable[Row], kind: str) -> float:
    """Mean absolute relative error of the rows of one kind."""
    errors = [abs(row.error) for row in rows if row.target.kind == kind]
    return sum(errors) / len(errors)


def markdown(rows: list[Row]) -> str:
    """Return the table of docs/validation.md."""
    lines = [
        "| row | chip | figure | published | estimators alone | error | chip file | error | kind |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        target, alone = row.target, row.estimated
        lines.append(
            f"| {target.row} | {target.chip or '-'} | {target.what} "
            f"| {target.published:g} {target.unit} "
            f"| {'' if alone is None else f'{alone:.3g}'} "
            f"| {'' if alone is None else _percent(alone / target.published - 1)} "
            f"| {row.predicted:.4g} | {_percent(row.error)} | {target.kind} |"
        )
    return "\n".join(lines)


def summary(rows: list[Row]) -> str:
    """Return the mean errors as a table."""
    lines = ["| rows | number | mean error | largest |", "|---|---|---|---|"]
    for kind, name in (("prediction", "predictions"), ("fit", "fitted figures")):
        errors = [abs(row.error) for row in rows if row.target.kind == kind]
        lines.append(
            f"| {name} | {len(errors)} | {100 * mean_error(rows, kind):.1f} % "
            f"| {100 * max(errors):.0f} % |"
        )
    alone = [
        max(row.estimated / row.target.published, row.target.published / row.estimated)
        for row in rows
        if row.estimated is not None
    ]
    typical = sorted(alone)[len(alone) // 2]
    lines.append(
        f"| estimators alone | {len(alone)} | median factor {typical:.1f} "
        f"| factor {max(alone):.0f} |"
    )
    return "\n".join(lines)


def _percent(error: float) -> str:
    return f"{100 * error:+.1f} %" if abs(error) < 1 else f"x {1 + error:.3g}"


def main() -> None:
    """Print both tables, or write them into docs/validation.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="rewrite docs/validation.md")
    given = parser.parse_args()
    rows = evaluate()
    print(markdown(rows), summary(rows), sep="\n\n")
    if given.write:
        document.rewrite(PATH, {"validation": markdown(rows), "summary": summary(rows)})


if __name__ == "__main__":
    main()
