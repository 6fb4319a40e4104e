"""Cross-check: the same integers through every simulator that is there.

python -m benchmarks.crosscheck                                  # cimsim and single cells in time
python -m benchmarks.crosscheck --crosssim ../cross-sim --write  # and a checkout of CrossSim
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.crosscheck.cases import CASES, integers
from benchmarks.crosscheck.sides import Side, sides
from benchmarks.paper.console import make_console, run_command
from cimsim.errors import ConfigError
from cimsim.stats import mean_interval

PAGE = Path(__file__).resolve().parents[2] / "docs" / "crosscheck.md"
BEGIN, END = "<!-- begin crosscheck -->", "<!-- end crosscheck -->"


def errors(side: Side, number: int, seeds: int) -> tuple[list[float], list[float]] | None:
    """Return spread and mean of a side's error in one case, of std(Y), one for each seed."""
    weights, inputs = (part.astype(np.float64) for part in integers())
    exact = inputs @ weights
    spreads, means = [], []
    for seed in range(seeds):
        found = side(CASES[number], weights, inputs, seed + 1)
        if found is None:
            return None
        error = (found - exact) / exact.std()
        spreads.append(float(error.std()))
        means.append(float(error.mean()))
    return spreads, means


def told(values: Sequence[float]) -> str:
    """Write a mean over seeds and half of its interval."""
    low, high = mean_interval(values)
    return f"{np.mean(values):.4g} ± {(high - low) / 2:.1g}"


def table(seeds: int, who: dict[str, Side], tell: object = print) -> str:
    """Return the table: a row for each case, the spread of the error on each side."""
    lines = ["| case | " + " | ".join(who) + " | cimsim over the others |",
             "|---" * (len(who) + 2) + "|"]  # fmt: skip
    for number, case in enumerate(CASES):
        found = {name: errors(side, number, seeds) for name, side in who.items()}
        cells = []
        for values in found.values():
            if values is None:
                cells.append("–")
            else:
                cells.append("0" if max(values[0]) < 1e-6 else told(values[0]))
        own = found["cimsim"]
        ratios = [
            f"{np.mean(own[0]) / np.mean(other[0]):.3f}"
            for name, other in found.items()
            if own and other and name != "cimsim" and max(other[0]) > 1e-6
        ]
        lines.append(f"| {case.name} | {' | '.join(cells)} | {', '.join(ratios) or '–'} |")
        if callable(tell):
            tell(lines[-1])
    return "\n".join(lines)


def main(
    crosssim: Annotated[
        Path | None, typer.Option("--crosssim", metavar="DIR", help="A checkout of CrossSim.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Chips for each case.")] = 8,
    write: Annotated[bool, typer.Option("--write", help="Write docs/crosscheck.md.")] = False,
) -> None:
    """Print the table, and write it into the page."""
    if crosssim is not None and not (crosssim / "simulator").is_dir():
        raise ConfigError(
            f"--crosssim: {crosssim} has no folder 'simulator'; give a checkout of CrossSim"
        )
    console = make_console()
    found = table(seeds, sides(crosssim), lambda line: console.print(line, soft_wrap=True))
    if write:
        text = PAGE.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n{found}\n{END}{after}", encoding="utf-8")
        console.print(f"page: {PAGE}")


if __name__ == "__main__":
    run_command(main)
