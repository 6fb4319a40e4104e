"""A memory cell of your own: its programming error, and what it does to a layer."""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

import cimsim
from cimsim.api import AbstractDevice, Arrays, Comparison, quantity


class Parameters(BaseModel):
    """What may stand beside ``kind`` in the YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    g_max_s: quantity("S", exclusive=True) = Field(default=25e-6, alias="g_max")
    sigma: float = Field(default=0.02, ge=0, le=1)


class PlainCell(AbstractDevice):
    """The same normal error for every conductance, a share of the largest one."""

    Parameters = Parameters
    conduction = "ohmic"

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    @property
    def g_min_s(self) -> float:
        """An erased cell conducts nothing."""
        return 0.0

    @property
    def g_max_s(self) -> float:
        """Full scale, S."""
        return self.parameters.g_max_s

    @property
    def is_exact(self) -> bool:
        """Without an error the cell is exact, as it has no read noise."""
        return self.parameters.sigma == 0

    def program(
        self, target_s: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Add the error, cut off at 0 S."""
        error = self.parameters.sigma * self.g_max_s * rng.standard_normal(target_s.shape)
        return np.maximum(target_s + error, 0.0)

    def read_sigma(
        self,
        g_s: NDArray[np.float64],
        time_s: float = 0.0,
        written_s: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Return no read noise."""
        return np.zeros_like(g_s)


def main() -> dict[float, float]:
    """Print the signal-to-noise ratio of a layer for three errors of its cells."""
    torch.manual_seed(0)
    net = torch.nn.Linear(64, 32).eval()
    graph = cimsim.trace(net, (torch.zeros(1, 64),), name="layer")
    found = {}
    for sigma in (0.01, 0.02, 0.04):
        cell = {"device.kind": f"{__name__}:PlainCell", "device.sigma": sigma}
        mapping = cimsim.map_graph(graph, cimsim.load_hw("eflash40nm", cell))
        inputs = np.random.default_rng(0).normal(size=(48, 64)).astype(np.float32)
        task = Comparison(source=Arrays((inputs,), name="normal numbers"), samples=16)
        result = cimsim.run(mapping, task)
        found[sigma] = result.numbers()["quality.snr"].value
        print(f"error of {sigma:.0%} of full scale: {found[sigma]:.1f} dB at the output")
    return found


if __name__ == "__main__":
    main()
