"""The table of shipped networks; importing it does not import torch."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, SupportsInt

from cimsim.zoo.errors import ZooError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Option:
    """One keyword of a network's factory.

    Attributes
    ----------
    default : int or str
        Value when not given.
    allowed : tuple of int or str, or range
        All legal values.
    meaning : str
        What it is, in a few words.
    suffix : str
        What another value than the default adds to the stem of a weight file, ``{}`` standing for
        the value; titles name such an option only then. Empty: see `ModelInfo.weights`.
    told_by : callable, optional
        Returns the value from names and shapes of a weight file's tensors; 0: not this network's.
    unless : callable, optional
        Returns the value when not given, from the options that stand before this one; `default`
        stays what it is in most cases.
    except_for : str
        In which cases `unless` returns another value and which, in a few words.
    """

    default: int | str
    allowed: tuple[int | str, ...] | range
    meaning: str
    suffix: str = ""
    told_by: Callable[[Mapping[str, tuple[int, ...]]], int] | None = None
    unless: Callable[[Mapping[str, int | str]], int | str] | None = None
    except_for: str = ""

    def given(self, before: Mapping[str, int | str]) -> int | str:
        """Return the value when it is not given, from the resolved options before it."""
        return self.default if self.unless is None else self.unless(before)

    @property
    def default_text(self) -> str:
        """Return the default as text: ``1; 0 where S is 8 or 16``."""
        return f"{self.default}; {self.except_for}" if self.except_for else f"{self.default}"

    def listed(self, separator: str = ", ") -> str:
        """Legal values as text: ``2, 4, 8, 16`` or ``1..256``."""
        if isinstance(self.allowed, range):
            return f"{self.allowed[0]}..{self.allowed[-1]}"
        return separator.join(map(str, self.allowed))

    def is_named(self, value: int | str) -> bool:
        """Tell whether titles name this value of the option."""
        return not self.suffix or value != self.default

    def is_chosen(self, value: int | str, options: Mapping[str, int | str]) -> bool:
        """Tell whether this value, one of the resolved ``options``, has to be asked for."""
        return not self.suffix or value != self.given(options)


FLAGS = ("stride", "stages", "width", "per_frame", "inner")  # options with a flag of their own


def flag(option: str, value: object = None) -> str:
    """Return an option as it stands on the command line.

    ``flag("per_frame", 8)`` is ``--per-frame 8``; an option without a flag of its own is
    ``--arg tiles=2``. Without a value only the option itself.
    """
    if option in FLAGS:
        name = f"--{option.replace('_', '-')}"
        return name if value is None else f"{name} {value}"
    return f"--arg {option}" if value is None else f"--arg {option}={value}"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known about a network before it is built.

    Attributes
    ----------
    name, title, description : str
        Key, display name, one line.
    factory : callable
        Returns what builds the torch module from keyword options; imports torch only then.
    n_frames : int
        Frames the default network looks at; a built network's own ``n_frames`` counts.
    reference : str
        Paper.
    options : mapping of str to Option
        Keywords of the factory.
    weights : str
        Stem of the weight file, with the options' names in braces; ``{cascade}`` is ``_2stage``
        for two stages, else nothing.
    task : str
        What it is asked: ``denoising`` (frames), ``keywords`` (cepstra), ``classification``.
    """

    name: str
    title: str
    description: str
    factory: Callable[[], Callable[..., nn.Module]]
    n_frames: int
    reference: str
    options: Mapping[str, Option] = field(default_factory=lambda: MappingProxyType({}))
    weights: str = ""
    task: str = "denoising"

    def resolve(self, options: Mapping[str, object]) -> dict[str, int | str]:
        """Return all options with defaults filled in.

        Raises
        ------
        ZooError
            For an unknown option or a value that is not allowed.
        """
        for key, value in options.items():
            if key not in self.options:
                known = ", ".join(self.options) or "none"
                raise ZooError(f"{self.name}: option {key!r:.80} is unknown; known: {known}")
            spec = self.options[key]
            if isinstance(value, bool) or value not in spec.allowed:
                one_of = "" if isinstance(spec.allowed, range) else "one of "
                raise ZooError(
                    f"{self.name}: {key}: expected {one_of}{spec.listed()}, got {value!r:.80}"
                )
        resolved: dict[str, int | str] = {}
        for key, spec in self.options.items():
            value = options[key] if key in options else spec.given(resolved)
            assert isinstance(value, str | SupportsInt)  # it is one of the allowed ones
            resolved[key] = value if isinstance(value, str) else int(value)
        return resolved

    def titled(self, options: Mapping[str, object]) -> str:
        """Return the title with the options: ``CIM-NET (stride 8, stages 1)``."""
        shown = ", ".join(
            f"{key.replace('_', ' ')} {value}"
            for key, value in self.resolve(options).items()
            if self.options[key].is_named(value)
        )
        return f"{self.title} ({shown})" if shown else self.title

    def weights_stem(self, options: Mapping[str, object]) -> str:
        """Return the name, without suffix, of the weight file for these options."""
        resolved = self.resolve(options)
        cascade = "_2stage" if resolved.get("stages", 1) == 2 else ""
        stem = (self.weights or self.name).format(**resolved, cascade=cascade)
        return stem + "".join(
            spec.suffix.format(resolved[key])
            for key, spec in self.options.items()
            if resolved[key] != spec.given(resolved)
        )


def _cimnet() -> Callable[..., nn.Module]:
    from cimsim.zoo.cimnet import CIMNet

    return CIMNet


def _fastdvdnet() -> Callable[..., nn.Module]:
    from cimsim.zoo.fastdvdnet import FastDVDnet

    return FastDVDnet


def _block() -> Callable[..., nn.Module]:
    from cimsim.zoo.fastdvdnet import DenBlock

    return DenBlock


def _foldnet() -> Callable[..., nn.Module]:
    from cimsim.zoo.foldnet import FoldNet

    return FoldNet


def _baseline_o1() -> Callable[..., nn.Module]:
    from cimsim.zoo.baselines import BaselineO1

    return BaselineO1


def _baseline_o2() -> Callable[..., nn.Module]:
    from cimsim.zoo.baselines import BaselineO2

    return BaselineO2


def _abla_net() -> Callable[..., nn.Module]:
    from cimsim.zoo.baselines import AblaNet

    return AblaNet


def _dncnn() -> Callable[..., nn.Module]:
    from cimsim.zoo.dncnn import DnCNN

    return DnCNN


def _ffdnet() -> Callable[..., nn.Module]:
    from cimsim.zoo.ffdnet import FFDNet

    return FFDNet


def _dscnn() -> Callable[..., nn.Module]:
    from cimsim.zoo.keywords import DSCNN

    return DSCNN


def _keyword_lstm() -> Callable[..., nn.Module]:
    from cimsim.zoo.keywords import KeywordLSTM

    return KeywordLSTM


def _resnet20() -> Callable[..., nn.Module]:
    from cimsim.zoo.cifar import ResNet20

    return ResNet20


def _resnet9() -> Callable[..., nn.Module]:
    from cimsim.zoo.cifar import ResNet9

    return ResNet9


def _sized(end: str, divisor: int) -> Callable[[Mapping[str, tuple[int, ...]]], int]:
    """Tell a value by the first axis of the tensor whose name ends so, over a divisor."""

    def told(shapes: Mapping[str, tuple[int, ...]]) -> int:
        return next((shape[0] // divisor for key, shape in shapes.items() if key.endswith(end)), 0)

    return told


def _coarse(options: Mapping[str, int | str]) -> int:
    """Leave CIM-NET's coarse path out where it gives nothing: docs/paper.md."""
    return 0 if int(options["stride"]) >= 8 and options["skip"] == "add" else 1


_STRIDE = Option(8, (2, 4, 8, 16), "stride S of the strided layers")
_STAGES = Option(1, (1, 2), "1: three frames, one block; 2: five frames, cascade of blocks")
# readings of CIM-NET, see cimsim.zoo.cimnet.Reading
_READINGS = MappingProxyType(
    {
        "skip": Option(
            "add", ("add", "none", "neither", "concat"),
            "what meets the coarse path's output; none: the coarse path alone", "_skip-{}",
        ),
        "residual": Option(
            "none", ("none", "frame"), "frame: the output is subtracted from the centre frame",
            "_residual-{}",
        ),
        "coarse": Option(
            1, (1, 0, 2, 4, 8),
            "widths of the coarse path: as many times 64 and 128 channels (the paper: 1); "
            "0: two layers alone",
            "_coarse{}", _sized("down1.fc.weight", 64), _coarse, "0 from S = 8 on with skip=add",
        ),
        "smoothing": Option(
            "matrix", ("matrix", "conv"),
            "conv: 3 x 3 at full size; its weights fit matrix and compute the same", "_{}",
        ),
        "before": Option(1, (1, 2, 3, 4), "smoothing layers before the coarse path", "_before{}"),
        "behind": Option(1, (1, 2, 3, 4), "smoothing layers behind the sum", "_behind{}"),
    }
)  # fmt: skip


def _fold_tiles(shapes: Mapping[str, tuple[int, ...]]) -> int:
    write = shapes.get("write.conv.weight", ())  # it reads the channels at half size, for any S
    return write[1] // 28 if len(write) == 4 else 0


def _fold_levels(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return 1 + ("down1.conv.weight" in shapes) + ("down2.conv.weight" in shapes)


def _fold_depth(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return 2 + sum(name.startswith("between.") and name.endswith("conv.weight") for name in shapes)


_FOLDS = MappingProxyType(
    {
        "stride": _STRIDE,
        "tiles": Option(
            1, (1, 2, 3, 4, 6), "channels at half size: 28 times this", told_by=_fold_tiles
        ),
        "levels": Option(
            1, (1, 2, 3), "1: half size alone; 2: quarter size, too; 3: eighth size, too", "_l{}",
            told_by=_fold_levels,
        ),
        "depth": Option(
            2, range(2, 33), "convolutions at half size", "_d{}", told_by=_fold_depth
        ),
    }
)  # fmt: skip
_WIDTHS = MappingProxyType(
    {
        "width": Option(
            32, range(1, 257), "channels at full size; twice and four times as many below it",
            "_w{}", _sized("outc.convblock.0.weight", 1),
        ),
        "per_frame": Option(
            30, range(1, 257), "channels for each frame inside the input block",
            "_f{}", _sized("inc.convblock.0.weight", 3),
        ),
    }
)  # fmt: skip
_OUTPUT = Option(
    "residual", ("residual", "direct"),
    "residual: what is drawn is subtracted from the centre frame; direct: it is the estimate",
    "_{}",
)  # fmt: skip
# of baseline o2 alone: what its two smoothing modules let through
_SMOOTHING = MappingProxyType(
    {
        "per_frame": Option(
            30, range(1, 1025), "channels for each frame inside the first smoothing module",
            "_f{}", _sized("smooth_in.0.weight", 3),
        ),
        "inner": Option(
            32, range(1, 1025), "channels between the convolutions of the last smoothing module",
            "_i{}", _sized("smooth_out.0.weight", 1),
        ),
    }
)  # fmt: skip
_INNER_SKIP = Option(
    "none", ("none", "add"), "add: past each smoothing module its input is added", "_skip"
)
_LAST_OF_O1 = Option(
    32, range(1, 1025), "channels between the last two convolutions", "_i{}",
    _sized("outc.0.weight", 1),
)  # fmt: skip
_FASTDVDNET = (
    "Tassano, Delon, Veit: FastDVDnet: Towards Real-Time Deep Video Denoising Without Flow "
    "Estimation, CVPR 2020"
)
_CIMNET = (
    "CIM-NET: A Video Denoising Deep Neural Network Model Optimized for Computing-in-Memory "
    "Architectures"
)

MODELS: Mapping[str, ModelInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            ModelInfo(
                name="cimnet",
                title="CIM-NET",
                description="video denoiser of few, large patch matrices (CIM-CONV), no residual",
                factory=_cimnet,
                n_frames=3,
                reference=_CIMNET,
                options=MappingProxyType({"stride": _STRIDE, "stages": _STAGES, **_READINGS}),
                weights="cimnet_s{stride}{cascade}",
            ),
            ModelInfo(
                name="fastdvdnet",
                title="FastDVDnet",
                description="two cascaded steps of denoising blocks over five frames",
                factory=_fastdvdnet,
                n_frames=5,
                reference=_FASTDVDNET,
                options=_WIDTHS,
            ),
            ModelInfo(
                name="fastdvdnet-block",
                title="FastDVDnet block",
                description="one denoising block over three frames",
                factory=_block,
                n_frames=3,
                reference=_FASTDVDNET,
                options=_WIDTHS,
            ),
            ModelInfo(
                name="foldnet",
                title="Fold-NET",
                description="small convolutions at half size, written out as matrices for blocks",
                factory=_foldnet,
                n_frames=3,
                reference="cimsim, docs/foldnet.md",
                options=_FOLDS,
                weights="foldnet_t{tiles}",
            ),
            ModelInfo(
                name="baseline-o1",
                title="Baseline o1",
                description="the block with a stride-S first convolution and a pixel shuffle",
                factory=_baseline_o1,
                n_frames=3,
                reference=_CIMNET,
                options=MappingProxyType(
                    {"stride": _STRIDE, "inner": _LAST_OF_O1, "output": _OUTPUT}
                ),
                weights="baseline-o1_s{stride}",
            ),
            ModelInfo(
                name="baseline-o2",
                title="Baseline o2",
                description="strided block between two convolutional smoothing modules",
                factory=_baseline_o2,
                n_frames=3,
                reference=_CIMNET,
                options=MappingProxyType(
                    {"stride": _STRIDE, **_SMOOTHING, "output": _OUTPUT, "inner_skip": _INNER_SKIP}
                ),
                weights="baseline-o2_s{stride}",
            ),
            ModelInfo(
                name="abla-net",
                title="Abla-NET",
                description="baseline o2 with CIM-CONVs as smoothing modules",
                factory=_abla_net,
                n_frames=3,
                reference=_CIMNET,
                options=MappingProxyType({"stride": _STRIDE}),
                weights="abla-net_s{stride}",
            ),
            ModelInfo(
                name="dncnn",
                title="DnCNN",
                description="17 plain convolutions on one frame, one noise level",
                factory=_dncnn,
                n_frames=1,
                reference=(
                    "Zhang, Zuo, Chen, Meng, Zhang: Beyond a Gaussian Denoiser: Residual Learning "
                    "of Deep CNN for Image Denoising, IEEE TIP 26(7), 2017"
                ),
            ),
            ModelInfo(
                name="ffdnet",
                title="FFDNet",
                description="12 convolutions on half-size sub-images of one frame, noise map",
                factory=_ffdnet,
                n_frames=1,
                reference=(
                    "Zhang, Zuo, Zhang: FFDNet: Toward a Fast and Flexible Solution for CNN-Based "
                    "Image Denoising, IEEE TIP 27(9), 2018"
                ),
            ),
        )
    }
)

_HELLO_EDGE = (
    "Zhang, Suda, Lai, Chandra: Hello Edge: Keyword Spotting on Microcontrollers, arXiv 1711.07128"
)

# networks that are asked for a class; those of `MODELS` denoise frames
CLASSIFIERS: Mapping[str, ModelInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            ModelInfo(
                name="dscnn",
                title="DS-CNN",
                description="ten spoken digits: a convolution, four depthwise separable pairs",
                factory=_dscnn,
                n_frames=1,
                reference=_HELLO_EDGE,
                task="keywords",
            ),
            ModelInfo(
                name="keyword-lstm",
                title="Keyword LSTM",
                description="ten spoken digits: one LSTM layer of 128 over 49 steps",
                factory=_keyword_lstm,
                n_frames=1,
                reference=_HELLO_EDGE,
                task="keywords",
            ),
            ModelInfo(
                name="resnet20",
                title="ResNet-20",
                description="CIFAR-10 with activations of 3 bits, as on the NeuRRAM chip",
                factory=_resnet20,
                n_frames=1,
                reference="Wan et al., Nature 608, 2022",
                task="classification",
            ),
            ModelInfo(
                name="resnet9",
                title="ResNet-9",
                description="CIFAR-10, nine layers, as on the 64-core PCM chip",
                factory=_resnet9,
                n_frames=1,
                reference="Le Gallo et al., Nature Electronics 6, 2023",
                task="classification",
            ),
        )
    }
)


def info(name: str) -> ModelInfo:
    """Return the entry of a network.

    Raises
    ------
    ZooError
        When the name is unknown; the message lists the known names.
    """
    known = {**MODELS, **CLASSIFIERS}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ZooError(f"model: {name!r} is unknown; known: {', '.join(known)}{hint}")


def build(name: str, **options: int | str) -> nn.Module:
    """Build a network with random weights.

    Parameters
    ----------
    name : str
        Key of `MODELS`.
    **options
        As the entry's ``options`` allow; defaults are filled in.

    Raises
    ------
    ZooError
        For an unknown name or option, or a value that is not allowed.
    """
    entry = info(name)
    return entry.factory()(**entry.resolve(options))
