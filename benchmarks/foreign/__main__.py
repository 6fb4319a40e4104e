"""Take networks of torchvision, timm and transformers through all stages: docs/foreign.md.

python -m benchmarks.foreign
python -m benchmarks.foreign --only resnet18 --out /tmp/foreign.md
python -m benchmarks.foreign --record            # keeps what was measured in results.json

``make foreign`` installs the packages into a folder of their own first. Each network runs in a
process of its own; what was done before is kept in ``--records`` and not repeated. In the document,
networks that were not measured there stand as ``results.json`` has them.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.foreign import stages
from benchmarks.foreign.document import document
from benchmarks.foreign.networks import NETWORKS
from benchmarks.paper.console import run_command

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results.json")


def main(
    out: Annotated[Path, typer.Option(help="Document to write.")] = ROOT / "docs" / "foreign.md",
    records: Annotated[Path, typer.Option(help="Folder of what is measured.")] = (
        ROOT / "out" / "foreign"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Networks whose name holds it.")] = None,
    limit_s: Annotated[float, typer.Option(help="Seconds for one network.")] = 1200.0,
    record: Annotated[bool, typer.Option("--record", help="Keep it in results.json.")] = False,
) -> None:
    """Measure what is not yet measured, and write the document."""
    torch.set_num_threads(1)
    for library in ("torchvision", "timm", "transformers"):
        importlib.import_module(library)
    records.mkdir(parents=True, exist_ok=True)
    wanted = [n for n in NETWORKS if not only or any(part in n.name for part in only)]
    for number, one in enumerate(wanted, 1):
        file = records / f"{one.name.replace(':', '-')}.json"
        if not file.is_file():
            typer.echo(f"{number} of {len(wanted)}: {one.name}", err=True)
            file.write_text(json.dumps(measured(one.name, limit_s), indent=1) + "\n")
    kept = json.loads(RESULTS.read_text())
    found = {one.name: _read(records, one.name) or kept.get(one.name, []) for one in NETWORKS}
    if record:
        lines = [
            f" {json.dumps(name)}: {json.dumps(of)}" for name, of in sorted(found.items()) if of
        ]
        RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    out.write_text(document(found))
    typer.echo(str(out))


def measured(name: str, limit_s: float) -> list[dict[str, Any]]:
    """Run one network's stages in a process of its own; one record for each stage.

    The process is forked from this one, which has all packages imported and no thread but its own.
    """
    with tempfile.NamedTemporaryFile("r", suffix=".jsonl") as told:
        process = multiprocessing.get_context("fork").Process(
            target=stages.run, args=(name, Path(told.name))
        )
        process.start()
        process.join(limit_s)
        late = process.is_alive()
        if late:
            process.kill()
            process.join()
        found: list[dict[str, Any]] = [json.loads(line) for line in told.read().splitlines()]
    if late or process.exitcode:
        why = f"not done after {limit_s:g} s" if late else f"ended with {process.exitcode}"
        found.append({"stage": "ended", "failed": why})
    return found


def _read(records: Path, name: str) -> list[dict[str, Any]]:
    file = records / f"{name.replace(':', '-')}.json"
    return json.loads(file.read_text()) if file.is_file() else []


if __name__ == "__main__":
    run_command(main)
