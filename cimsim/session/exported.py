"""Networks from ``.pt2`` files: what `torch.export.save` wrote, as a module."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from cimsim.boundary.text import told_missing
from cimsim.errors import InputError

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class ExportedNetwork(nn.Module):
    """A program of `torch.export`, with its parameters and buffers as those of a module.

    Parameters
    ----------
    program : torch.export.ExportedProgram
        Exported in eval mode.
    name : str

    Attributes
    ----------
    exported_program
        What `cimsim.trace` reads in place of a module.
    """

    def __init__(self, program: ExportedProgram, name: str) -> None:
        super().__init__()
        self.exported_program, self.name = program, name
        self._run: list[nn.Module] = []
        for key, value in program.state_dict.items():
            self.register_buffer(key.replace(".", "/"), value.detach(), persistent=True)

    def forward(self, *inputs: Tensor) -> object:
        """Run the program."""
        if not self._run:
            self._run.append(self.exported_program.module())
        return self._run[0](*inputs)

    @property
    def shapes(self) -> tuple[str, ...]:
        """What the program takes, as ``--input-shape`` says it.

        Raises
        ------
        InputError
            A size was left open in the export.
        """
        found = []
        for name, value in self._inputs():
            sizes = list(value.shape)
            if not all(isinstance(n, int) for n in sizes):
                raise InputError(
                    f"{self.name}: input '{name}' has the shape {[str(n) for n in sizes]}, in "
                    "which sizes are open; fix them: --input-shape, such as 1x3x64x64"
                )
            whole = not value.dtype.is_floating_point
            found.append("x".join(map(str, sizes)) + (":int2" if whole else ""))
        return tuple(found)

    def _inputs(self) -> list[tuple[str, Tensor]]:
        users = set(self.exported_program.graph_signature.user_inputs)
        return [
            (node.name, node.meta["val"])
            for node in self.exported_program.graph_module.graph.nodes
            if node.op == "placeholder" and node.name in users
        ]

    def takes(self, inputs: tuple[Tensor, ...]) -> bool:
        """Whether the program was exported for inputs of these very shapes."""
        own = [tuple(value.shape) for _, value in self._inputs()]
        return own == [tuple(x.shape) for x in inputs]


def load_exported(path: Path) -> ExportedNetwork:
    """Read a ``.pt2`` file.

    Raises
    ------
    InputError
        No such file, or no program of `torch.export`.
    """
    import torch

    # registers the operators that a quantised program holds (PT2E)
    import torch.ao.quantization.fx._decomposed

    if not path.is_file():
        raise InputError(f"--model: '{path}': {told_missing(path)}")
    logged = _Logged()
    log = logging.getLogger("torch.export")
    log.addFilter(logged)
    try:
        program = torch.export.load(path)
    except Exception as error:  # a damaged archive makes torch raise many kinds
        text = str(logged.first or error).strip().splitlines()
        raise InputError(
            f"--model: '{path}' cannot be read as a program of torch.export: "
            f"{text[0] if text else type(error).__name__}; write it with torch.export.save"
        ) from error
    finally:
        log.removeFilter(logged)
    return ExportedNetwork(program, path.stem)


class _Logged(logging.Filter):
    """Holds back what torch logs and keeps its first error, to which the one raised refers."""

    first: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the error of a record and pass none on."""
        if self.first is None and record.exc_info:
            self.first = record.exc_info[1]
        return False
