"""Put a trained classifier into the package, with its card.

python -m benchmarks.tasks.ship resnet20 --run out/resnet20 --command "..." [--hw wtm2101]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

import cimsim
from cimsim.zoo import registry
from cimsim.zoo.lineage import Stage
from cimsim.zoo.weights import Card, folder, save_weights

DATA = {
    "keywords": (
        "Free Spoken Digit Dataset, training recordings 5 to 44; held out: 45 to 49",
        "weights: same as cimsim; recordings CC BY-SA 4.0",
    ),
    "classification": (
        "CIFAR-10 as JPEG copies, 45,000 training images; held out: 5000 others",
        "weights: same as cimsim; the images state no licence",
    ),
}


def main(
    network: Annotated[str, typer.Argument()],
    run: Annotated[Path, typer.Option(metavar="DIR", help="With final.pt.")],
    command: Annotated[str, typer.Option(help="That trained it, without folders.")],
    hw: Annotated[str | None, typer.Option(help="Chip in the loop.")] = None,
) -> None:
    """Write the weights in half precision and the card."""
    final = torch.load(run / "final.pt", weights_only=True)
    model = registry.build(network)
    model.load_state_dict(final["model"])
    entry = registry.info(network)
    data, licence = DATA[entry.task]
    accuracy = {"held out": round(final["held_out"], 2)}
    if hw is not None:
        accuracy[f"held out, on {hw} as trained, mean of 5"] = round(final["held_out_chip"], 2)
    minutes = round(final["minutes"], 1)
    card = Card(
        entry.name, {}, data, licence, final["steps"], minutes, "cpu, one core", 0, (), {},
        command, cimsim.__version__, hw, accuracy=accuracy,
        lineage=(Stage(command, "", final["steps"], minutes, 0, hw),),
    )  # fmt: skip
    stem = entry.weights_stem({}) + (f"_{hw}" if hw else "")
    made = save_weights(model, folder() / f"{stem}.safetensors", card)
    print(made.file, made.sha256)


if __name__ == "__main__":
    typer.run(main)
