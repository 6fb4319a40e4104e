"""How well a network does what it is for: its inputs, and a score for its outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cimsim.errors import InputError
from cimsim.mapping.mapping import Mapping
from cimsim.tasks.contract import Contract, Tensors

if TYPE_CHECKING:
    from cimsim.session.frames import Clip


@dataclass(frozen=True, eq=False)
class Measure:
    """What a study needs to know of a task.

    Attributes
    ----------
    inputs : sequence of tuple of torch.Tensor
        The network's inputs, sample by sample (frame by frame), batch 1.
    calibration : sequence of tuple of torch.Tensor
        Inputs that the chip is calibrated on and that means are taken on: others than ``inputs``.
    score : callable
        ``score(index, outputs)`` says how good the network's outputs for ``inputs[index]`` are;
        larger is better.
    unit : str
        Of the score: ``dB``, ``%``.
    name : str
        What is measured on what, for tables: ``PSNR, 3 frames of 256 x 256, sigma 15``.
    """

    inputs: tuple[Tensors, ...]
    calibration: tuple[Tensors, ...]
    score: Callable[[int, Tensors], float]
    unit: str
    name: str


def denoising(
    mapping: Mapping,
    clip: Clip,
    sigma: float = 15.0,
    seed: int = 0,
    calibration: Clip | None = None,
    name: str = "clip",
) -> Measure:
    """PSNR of each frame of a noisy clip, as `cimsim.simulate` measures it.

    Parameters
    ----------
    mapping : Mapping
        Of a network that maps noisy frames to the clean centre frame, see
        `cimsim.tasks.contract.Contract`.
    clip : uint8 or float32 [T, H, W, 3]
        Clean frames.
    sigma : float
        Noise, in 8-bit steps.
    seed : int
        Of the noise.
    calibration : frames like ``clip``, optional
        By default two embedded scenes.
    name : str
        Of the clip, for tables.

    Raises
    ------
    InputError
        The network is no denoiser, keeps results from frame to frame, or was exported for another
        frame size.
    """
    from cimsim.session.calibration import calibration_inputs
    from cimsim.session.frames import as_float, clip_inputs, picture
    from cimsim.video.metrics import psnr
    from cimsim.video.noise import add_awgn

    contract, clean = Contract.of(mapping.graph), as_float(clip)
    height, width = contract.size
    if contract.kept:
        raise InputError(
            f"network '{mapping.graph.name}' keeps results from frame to frame, so its frames "
            "cannot be measured one by one; take the network as it is written, without streaming"
        )
    if not len(clean) or clean.shape[1:3] != contract.size:
        raise InputError(
            f"clip: {len(clean)} frames of {clean.shape[2]} x {clean.shape[1]}, expected at least "
            f"one of {width} x {height}, which the network was exported for"
        )
    noisy = add_awgn(clean, sigma, seed)
    frames = "frame" if len(clean) == 1 else "frames"
    return Measure(
        tuple(clip_inputs(mapping, noisy, len(noisy), sigma)),
        tuple(calibration_inputs(mapping, sigma, seed, calibration)[1]),
        lambda index, outputs: psnr(clean[index], picture(outputs[0])),
        "dB",
        f"PSNR, {name}, {len(clean)} {frames} of {width} x {height}, sigma {sigma:g}",
    )
