"""A network trained with aihwkit-lightning there and here, and what its settings mean on a chip.

python -m benchmarks.lightning --data spoken-digits            # about two minutes of a core
python -m benchmarks.lightning --data spoken-digits --write    # and into docs/onnx.md

The package has to be installed; ``--no-deps`` keeps it from changing torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.paper.console import make_console, run_command

PAGE = Path(__file__).resolve().parents[2] / "docs" / "onnx.md"
BEGIN, END = "<!-- begin lightning -->", "<!-- end lightning -->"
HEAD = "| there | here | error there | error here | |\n|---|---|---|---|---|"


def main(
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The spoken digits; default: the shipped.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of training.")] = 300,
    chips: Annotated[int, typer.Option(min=2, help="Programmed chips.")] = 5,
    write: Annotated[bool, typer.Option("--write", help="Write docs/onnx.md.")] = False,
) -> None:
    """Print both tables, and write them into the page."""
    from benchmarks.lightning.network import judged
    from benchmarks.lightning.settings import measured

    torch.set_num_threads(1)
    console = make_console()

    def tell(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    rows = ["| " + " | ".join(row.cells()) + " |" for row in measured(chips)]
    found = judged(data, steps, chips, tell)
    text = "\n".join(
        [
            f"{found.steps} steps of training there, judged on the "
            f"{found.result.details['samples']} test recordings of the spoken digits:",
            "", *found.lines(), "",
            "What each setting means, one layer of 256 x 64 with standard normal inputs and a "
            "range of three deviations; error of the outputs, standard deviation over that of "
            f"exact ones, mean over {chips} draws where something is drawn:",
            "", HEAD, *rows,
        ]
    )  # fmt: skip
    tell(text)
    if write:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
        tell(f"page: {PAGE}")


if __name__ == "__main__":
    run_command(main)
