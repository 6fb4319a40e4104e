"""Find a network and its weights: a zoo name, ``package.module:Class``, or a torch module."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimsim.boundary import outside
from cimsim.display.doubts import Doubt
from cimsim.errors import InputError
from cimsim.tasks.shapes import InputShape

if TYPE_CHECKING:
    import torch
    from torch import nn

    from cimsim.zoo.weights import Card

RANDOM = "random"
_FILLS = ("normal_", "uniform_", "fill_", "zero_", "kaiming_normal_", "kaiming_uniform_")
_FILES = (".pt2", ".onnx", ".tflite", ".ts", ".torchscript")


@dataclass(frozen=True)
class Network:
    """A torch module, ready to be exported.

    Attributes
    ----------
    module : torch.nn.Module
        In eval mode, float32.
    title : str
        For tables: ``CIM-NET (stride 8, 1 stage)``.
    n_frames : int
        Frames of one input window; the network estimates the centre one (when it streams: the one
        before).
    noise_map : bool
        Whether ``forward`` takes a second argument [B, 1, H, W] with sigma / 255.
    identity : dict
        Name, options and where the weights come from, for the result.
    random_weights : bool
        True when nothing was loaded: quality means nothing then.
    card : Card or None
        Of the weights, where they have one.
    inputs : tuple of InputShape
        What the network takes where that is no window of frames; empty: frames.
    """

    module: nn.Module
    title: str
    n_frames: int
    noise_map: bool
    identity: dict[str, object] = field(default_factory=dict)
    random_weights: bool = False
    card: Card | None = None
    inputs: tuple[InputShape, ...] = ()

    def doubts(self, sigma: float) -> tuple[Doubt, ...]:
        """Say why quality may be far below what the network can do, and the way out.

        Parameters
        ----------
        sigma : float
            Of the noise that the network gets, in 8-bit steps.
        """
        card = self.card
        if card is None or not card.sigma or card.covers(sigma):
            return ()
        from cimsim.zoo.weights import shipped_cards

        name = card.file.stem if card.file else card.model
        ways = [
            f"--weights {other.file.stem}"
            for other in shipped_cards()
            if other.file and other.covers(sigma)
            and (other.model, dict(other.options)) == (card.model, dict(card.options))
        ]  # fmt: skip
        low, high = min(sigma, card.sigma[0]), max(sigma, card.sigma[-1])
        ways.append(f"weights of `cimsim train --sigma {low:g}..{high:g}`")
        return (
            Doubt(
                "noise-not-seen",
                f"weights {name} saw noise of {card.saw}; at {sigma:g} they may do far worse than "
                "the network can",
                f"take {' or '.join(ways)}",
            ),
        )

    def example(self, height: int, width: int) -> tuple[torch.Tensor, ...]:
        """Zero inputs of the right shapes; a module with ``frame_channels = 1`` is grey."""
        import torch

        if self.inputs:
            return tuple(shape.zeros() for shape in self.inputs)
        channels = int(getattr(self.module, "frame_channels", 3))
        frames = torch.zeros(1, channels * self.n_frames, height, width)
        if not self.noise_map:
            return (frames,)
        noise_map = torch.zeros(1, 1, height, width)
        kept_shape = getattr(self.module, "kept_shape", None)
        if kept_shape is None:
            return frames, noise_map
        return frames, noise_map, torch.zeros(kept_shape(height, width))

    def taking(self, shapes: Sequence[str] | None) -> Network:
        """Return the network for other inputs than frames, as ``--input-shape`` says them.

        Raises
        ------
        ConfigError
            Not a shape.
        """
        if not shapes:
            shapes = getattr(self.module, "shapes", None)
        return replace(self, inputs=tuple(InputShape.parse(text) for text in shapes or ()))

    @property
    def is_cascade(self) -> bool:
        """Whether the network has two stages, so that `streaming` can reuse the first one's."""
        from cimsim.zoo.streaming import is_cascade

        return is_cascade(self.module)

    def streaming(self) -> Network:
        """Return the network that computes one new frame, given two results that it kept.

        Each stage of a cascade then runs once per frame, see `cimsim.zoo.streaming.StreamingStep`.

        Raises
        ------
        InputError
            When the network has one stage: there is nothing to reuse.
        """
        from cimsim.zoo.streaming import StreamingStep, is_cascade

        module: Any = self.module
        if not is_cascade(module):
            raise InputError(
                f"--streaming: {self.title} is no cascade of two stages over 5 frames: it has no "
                "results to reuse. Leave out --streaming, or take --model fastdvdnet, or "
                "--model cimnet --stages 2"
            )
        step = StreamingStep(module)
        return replace(
            self, module=step.eval(), title=f"{self.title}, streaming", n_frames=step.n_frames,
            identity=self.identity | {"streaming": True},
        )  # fmt: skip


def load_network(
    name: str, options: Mapping[str, int | str] | None = None, weights: str | Path | None = None,
    seed: int = 0, hw: str | None = None,
) -> Network:  # fmt: skip
    """Build a network and fill in its weights.

    Parameters
    ----------
    name : str
        A name of the zoo (``cimsim models list``) or ``package.module:Class`` (a module on
        ``sys.path`` or in the working directory; the class is called without arguments or with
        ``options``), ``torchvision:resnet18`` and the like (`cimsim.session.libraries`), or a file.
    options : mapping, optional
        Keywords of the network: ``{"stride": 8}``.
    weights : str or Path, optional
        A file; the name of shipped weights (``"cimnet_s8_eflash40nm"``, see ``cimsim models
        show``); ``"random"`` for random weights; by default those that the zoo ships.
    seed : int
        For random weights.
    hw : str, optional
        Name of a chip: shipped weights that were trained for it win over the float ones.

    Raises
    ------
    InputError
        Unknown network, no shipped weights, or weights that do not fit.
    """
    import torch

    options = dict(options or {})
    torch.manual_seed(seed)
    from cimsim.zoo.errors import ZooError
    from cimsim.zoo.narrow import is_narrowed

    try:
        is_file = name.lower().endswith(_FILES)
        if is_file:
            module, source = _file(name, options), None
            title = module.name
        elif ":" in name:
            module, title, source = _own(name, options), name.partition(":")[2], None
        else:
            module, title, source = _from_zoo(name, options, weights, hw)
        chosen = weights if weights is not None else source
        if is_file:
            if weights not in (None, RANDOM):
                raise InputError(f"--weights: {name} has weights of its own; leave it out")
            origin, found = Path(name).name, None
        else:
            if chosen is None and ":" not in name:
                raise InputError(_no_weights(title))
            origin, found = _fill(module, chosen)
    except ZooError as error:
        raise InputError(str(error)) from None
    if not is_file:
        module.eval().float()
    if is_narrowed(module):
        title += ", pruned"
    return Network(
        module, title, int(getattr(module, "n_frames", 1)), _takes_noise_map(module),
        {"model": name, "options": options, "weights": origin}, origin == RANDOM, found,
    )  # fmt: skip


def load_outline(name: str, options: Mapping[str, int | str] | None = None) -> Network:
    """Build a network whose weights do not matter: those of a denoiser of the zoo take no memory.

    Parameters
    ----------
    name, options
        As for `load_network`. Other networks get random weights.

    Raises
    ------
    InputError
        As `load_network` does.
    """
    import torch

    from cimsim.zoo.registry import MODELS

    if name not in MODELS or MODELS[name].task != "denoising":
        return load_network(name, options, RANDOM)
    from torch.overrides import TorchFunctionMode

    class Unfilled(TorchFunctionMode):
        """Leaves out what fills weights: for tensors without values torch loads its compiler."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func.__name__ in _FILLS and args:
                return args[0]
            return func(*args, **(kwargs or {}))

    with torch.device("meta"), Unfilled():
        network = load_network(name, options, RANDOM)
    for part in network.module.modules():
        tables: tuple[dict[str, Any], ...] = (part._parameters, part._buffers)
        for held in tables:
            for key, value in held.items():
                if value is not None:
                    blank = torch.zeros((), dtype=value.dtype).expand(value.shape)
                    is_weight = isinstance(value, torch.nn.Parameter)
                    held[key] = torch.nn.Parameter(blank, False) if is_weight else blank
    return network


def is_own(name: str) -> bool:
    """Tell whether a name is a class of the user's or a model file, and no network of the zoo."""
    return ":" in name or name.lower().endswith(_FILES)


def check_name(name: str, options: Mapping[str, int | str] | None = None) -> None:
    """Refuse a name or an option that the zoo does not have; own networks and files pass.

    Raises
    ------
    InputError
        What is known.
    """
    from cimsim.zoo import registry
    from cimsim.zoo.errors import ZooError

    if is_own(name):
        return
    try:
        registry.info(name).resolve(options or {})
    except ZooError as error:
        raise InputError(str(error)) from None


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over names, shapes and values of a module's state."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _from_zoo(
    name: str, options: Mapping[str, int | str], weights: str | Path | None, hw: str | None
) -> tuple[nn.Module, str, Any]:
    from cimsim.zoo import registry
    from cimsim.zoo.weights import find_card

    entry = registry.info(name)
    title = entry.titled(options)
    card = find_card(name, options, hw) if weights is None else None
    return registry.build(name, **options), title, card


def _no_weights(title: str) -> str:
    from cimsim.zoo.weights import folder

    stems = ", ".join(sorted(path.stem for path in folder().glob("*.safetensors")))
    return (
        f"{title}: no weights are shipped for it (shipped: {stems}); give --weights FILE, train "
        "it with `cimsim train`, or take --weights random if only time and energy matter"
    )


def _file(name: str, options: Mapping[str, int | str]) -> Any:
    """Read a network from a file of its own."""
    import cimsim
    from cimsim.session.exported import load_exported

    kind = Path(name).suffix.lower()
    if kind not in (".pt2", ".onnx"):
        what = "TorchScript, whose source is gone, is" if kind != ".tflite" else "such files are"
        raise InputError(
            f"--model {name}: {what} not read; export the network it came from with "
            "torch.export.save (.pt2) or torch.onnx.export (.onnx), or give package.module:Class "
            "and --weights FILE"
        )
    if options:
        raise InputError(f"--model {name}: a file takes no options ({', '.join(options)})")
    if kind == ".onnx":
        return cimsim.load_onnx(Path(name))
    return load_exported(Path(name))


def _value(value: int | str) -> int | float | str | bool | None:
    """Read what ``--arg`` gives a constructor: numbers, true, false and none are themselves."""
    if not isinstance(value, str):
        return value
    plain = {"true": True, "false": False, "none": None}
    if value.lower() in plain:
        return plain[value.lower()]
    try:
        return float(value)
    except ValueError:
        return value


def _own(name: str, options: Mapping[str, int | str]) -> nn.Module:
    from torch import nn

    from cimsim.session import libraries

    given = {key: _value(value) for key, value in options.items()}
    if libraries.is_library(name):
        return libraries.load(name, given)
    example = "package.module:Class such as mypkg.nets:MyNet"
    made = outside.imported(name, f"--model {name}", InputError, example)
    attribute = name.partition(":")[2]
    try:
        module = made if isinstance(made, nn.Module) else outside.called(made, **given)
    except TypeError as error:
        raise InputError(
            f"--model {name}: '{attribute}' cannot be built with "
            f"{options or 'no arguments'}: {outside.first_line(error)}"
        ) from None
    except Exception as error:  # the user's own code may raise anything
        raise InputError(
            f"--model {name}: building '{attribute}' failed with {outside.first_line(error)}"
        ) from error
    if not isinstance(module, nn.Module):
        raise InputError(f"--model {name}: expected a torch.nn.Module, got {type(module).__name__}")
    return module


def _fill(module: nn.Module, source: Any) -> tuple[str, Card | None]:
    """Load weights; return where they came from, and their card if they have one."""
    from cimsim.zoo.weights import Card, card_of, load_weights, named_card

    if isinstance(source, str) and not Path(source).exists():
        source = named_card(source) or source
    if source is None or source == RANDOM:
        return RANDOM, None
    load_weights(module, source)
    name = source.file.name if isinstance(source, Card) and source.file else source
    return str(name), card_of(source)


def _takes_noise_map(module: nn.Module) -> bool:
    told = getattr(module, "takes_noise_map", None)
    if told is not None:
        return bool(told)
    parameters = inspect.signature(module.forward).parameters.values()
    required = [p for p in parameters if p.default is p.empty and p.kind == p.POSITIONAL_OR_KEYWORD]
    return len(required) >= 2
