"""Print where the CPU seconds of a run go: ``python -m benchmarks.speed.run [options of run]``.

The command is run in this process with an empty store, whose kernels are to be compiled already:
run it twice, the second time counts. A phase has the CPU seconds of all threads between its begin
and its end, without those of phases inside it; what is imported inside of a phase counts to it.
"""

from __future__ import annotations

import functools
import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# phase -> (module, function or Class.method) that does it
PHASES = {
    "import torch": ("builtins", ""),
    "build network, read weights": ("cimsim.session.loading", "load_network"),
    "record or export": ("cimsim.frontends.torch_export", "_exported"),
    "graph": ("cimsim.frontends.torch_export", "from_exported"),
    "map": ("cimsim.placing.by_name", "map_graph"),
    "clip": ("cimsim.cli.clips", "pair"),
    "cycles": ("cimsim.timing.simulate", "simulate"),
    "calibration scenes": ("cimsim.session.calibration", "calibration_inputs"),
    "write arrays": ("cimsim.engine.program", "program"),
    "learn from samples": ("cimsim.engine.written", "learn"),
    "round weights to inputs": ("cimsim.engine.rounding", "round_to_inputs"),
    "calibrate": ("cimsim.engine.calibrate", "calibrate"),
    "float network": ("cimsim.graph.reference", "run"),
    "chip": ("cimsim.engine.execute", "execute"),
    "PSNR and SSIM": ("cimsim.session.functional", "FunctionalRun._judge"),
    "energy and its intervals": ("cimsim.energy.ledger", "draw"),
    "plots": ("cimsim.report.run.plots", "draw_all"),
    "frames": ("cimsim.video.io", "write_clip"),
    "tables on the screen": ("cimsim.report.run.tables", "print_result"),
}


class Shares:
    """CPU seconds by phase, each without those of phases inside it."""

    def __init__(self) -> None:
        self.used: dict[str, float] = {}
        self._open: list[float] = []

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the work with its CPU seconds counted under a name."""

        @functools.wraps(work)
        def counted(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            self._open.append(0.0)
            try:
                return work(*args, **kwargs)
            finally:
                took, inside = time.process_time() - began, self._open.pop()
                self.used[name] = self.used.get(name, 0.0) + took - inside
                if self._open:
                    self._open[-1] += took

        return counted


def wrap(shares: Shares) -> None:
    """Count the phases: in their modules and wherever their names were imported to."""
    for name, (place, path) in PHASES.items():
        if not path:
            continue
        owner: Any = importlib.import_module(place)
        *classes, function = path.split(".")
        for one in classes:
            owner = getattr(owner, one)
        plain = getattr(owner, function)
        counted = shares.timed(name, plain)
        setattr(owner, function, counted)
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("cimsim") and not classes:
                for key, value in list(vars(module).items()):
                    if value is plain:
                        setattr(module, key, counted)


def main() -> None:
    """Run and print."""
    shares = Shares()
    began = time.process_time()
    shares.timed("import torch", functools.partial(importlib.import_module, "torch"))()
    imports = time.process_time()
    wrap(shares)
    shares.used["import the parts of cimsim, numba, scipy"] = time.process_time() - imports
    from cimsim.cli.main import main as command

    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [
            "cimsim",
            "run",
            "--no-cache",
            "--out",
            str(Path(folder) / "run"),
            *sys.argv[1:],
        ]
        try:
            command()
        except SystemExit as left:
            if left.code:
                raise
    whole = time.process_time() - began
    rest = whole - sum(shares.used.values())
    print(f"\n{'phase':42} {'CPU s':>6} {'share':>6}")
    for name, used in [*sorted(shares.used.items(), key=lambda one: -one[1]), ("else", rest)]:
        print(f"{name:42} {used:6.2f} {used / whole:6.1%}")
    print(f"{'all of it':42} {whole:6.2f}")


if __name__ == "__main__":
    main()
