"""Weight files: half-precision safetensors with a JSON card beside them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from cimsim.zoo import registry
from cimsim.zoo.errors import WeightsError
from cimsim.zoo.lineage import Stage, read_lineage
from cimsim.zoo.recognise import SKIPPED, recognise

if TYPE_CHECKING:
    import torch
    from torch import nn

PRUNED = "pruned"  # key of a safetensors file's metadata: the network is narrower than its options
# where training scripts put the network's tensors, beside an optimiser's and more
_NESTED = (
    "params_ema", "state_dict", "model_state_dict", "model", "net", "network", "generator",
    "params", "weights",
)  # fmt: skip
_DEPTH = 3  # {"model": {"state_dict": ...}}
_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".th", ".tar")
# where training frameworks' settings come from, that stand beside the tensors
_SETTINGS = (
    "argparse", "pathlib", "collections", "typing", "enum", "omegaconf", "hydra", "yacs",
    "easydict", "box", "addict", "pytorch_lightning", "lightning", "lightning_fabric",
    "lightning_utilities", "torchmetrics", "mmengine",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Card:
    """Where weights come from; stored as ``<stem>.json`` beside ``<stem>.safetensors``.

    Attributes
    ----------
    model, options
        Name in the zoo and the resolved options of the network.
    data, licence : str
        What it was trained on; terms of the weights.
    steps, minutes, device, seed, command
        How it was trained.
    sigma : tuple of float
        Range of noise seen in training, in 8-bit steps; empty where it is no denoiser.
    psnr_db : mapping of str to float
        Data set name to PSNR in dB of the float network, and what the noisy input has.
    code_version : str
        Version of cimsim that wrote the file.
    hw : str, optional
        The chip that the network was fine-tuned for; None for a plain float network.
    lineage : tuple of Stage
        Every stage of training, oldest first; the last one is what ``steps``, ``minutes`` and
        ``command`` tell of. Empty on cards that were written before there were stages.
    sha256 : str
        Of the weight file; filled in when it is saved.
    contributions : mapping of str to (float, float or None)
        Part of the network (``layer NAME``, ``branch NAME``) -> PSNR in dB that it gives, and the
        standard error of that; what ``cimsim ablate --record`` found.
    contributions_on : str
        What that was measured on: clip, noise, and the chip if it was one.
    accuracy : mapping of str to float
        Of a classifier: data and chip -> share of right answers, percent.
    file : Path, optional
        Where the weight file lies; not part of the JSON.
    """

    model: str
    options: Mapping[str, int | str]
    data: str
    licence: str
    steps: int
    minutes: float
    device: str
    seed: int
    sigma: tuple[float, ...]
    psnr_db: Mapping[str, float]
    command: str
    code_version: str
    hw: str | None = None
    lineage: tuple[Stage, ...] = ()
    sha256: str = ""
    contributions: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    contributions_on: str = ""
    accuracy: Mapping[str, float] = field(default_factory=dict)
    file: Path | None = None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The lineage; of an old card the one stage that it tells of."""
        last = Stage(self.command, self.sha256, self.steps, self.minutes, self.seed, self.hw)
        return self.lineage or (last,)

    @property
    def saw(self) -> str:
        """Noise seen in training, in 8-bit steps: ``15 only`` or ``5..55``."""
        low, high = self.sigma[0], self.sigma[-1]
        return f"{low:g} only" if low == high else f"{low:g}..{high:g}"

    def covers(self, sigma: float) -> bool:
        """Tell whether noise of this standard deviation lies within what was seen in training."""
        return bool(self.sigma) and self.sigma[0] <= sigma <= self.sigma[-1]

    def to_json(self) -> str:
        """Return the card as readable JSON."""
        values = asdict(self)
        del values["file"]
        return json.dumps(values, indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Card:
        """Read a card; the weight file is expected beside it. Fields with a default may be missing.

        Raises
        ------
        WeightsError
            When the file is no JSON, lacks a field that has no default, or has an unknown one.
        """
        try:
            values = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise WeightsError(f"{path}: cannot read the weight card: {error}") from error
        known = {entry.name for entry in fields(cls)} - {"file"}
        # cards of before there was a field lack it
        needed = {e.name for e in fields(cls) if e.default is MISSING is e.default_factory}
        if not isinstance(values, dict) or not needed <= values.keys() <= known:
            keys = values.keys() if isinstance(values, dict) else set[str]()
            odd = sorted((needed - keys) | (keys - known))
            raise WeightsError(f"{path}: missing or unknown fields of a weight card: {odd}")
        try:
            values["sigma"] = tuple(values["sigma"])
            sum(map(float, values["sigma"]))  # refuses what are no numbers
            given = values.get("contributions", {})
            values["contributions"] = {part: tuple(numbers) for part, numbers in given.items()}
            dict(values["options"]), dict(values["psnr_db"]), dict(values.get("accuracy", {}))
        except (TypeError, ValueError, AttributeError) as error:
            raise WeightsError(f"{path}: a field of the weight card is none: {error}") from None
        values["lineage"] = read_lineage(values.get("lineage", ()), str(path))
        return cls(**values, file=path.with_suffix(".safetensors"))


def folder() -> Path:
    """Return the folder of the shipped weights."""
    return Path(str(resources.files("cimsim.zoo") / "weights"))


def find_card(
    name: str, options: Mapping[str, object] | None = None, hw: str | None = None
) -> Card | None:
    """Return the card of the shipped weights for a network, None when there are none.

    Weights trained for the chip ``hw`` win over the float ones.

    Raises
    ------
    ZooError
        For an unknown network or option.
    """
    stem = registry.info(name).weights_stem(options or {})
    return (named_card(f"{stem}_{hw}") if hw else None) or named_card(stem)


def named_card(stem: str) -> Card | None:
    """Return the card of the shipped weights of that name, such as ``cimnet_s8_eflash40nm``."""
    path = folder() / f"{stem}.json"
    return Card.read(path) if "/" not in stem and path.is_file() else None


def shipped_cards(task: str = "denoising") -> tuple[Card, ...]:
    """Return the cards of the shipped weights of all networks for a task, sorted by name."""
    cards = (Card.read(path) for path in sorted(folder().glob("*.json")))
    return tuple(card for card in cards if registry.info(card.model).task == task)


def card_of(source: Card | str | Path) -> Card | None:
    """Return the card of some weights: itself, or the one beside a ``.safetensors`` file.

    Raises
    ------
    WeightsError
        When it cannot be read.
    """
    if isinstance(source, Card):
        return source
    path = Path(source)
    if path.suffix != ".safetensors":
        return None
    beside = path.with_suffix(".json")
    return Card.read(beside) if beside.is_file() else None


def record(
    card: Card, contributions: Mapping[str, tuple[float, float | None]], measured_on: str
) -> Path:
    """Write into a card's file what the parts of the network give; return the file.

    Raises
    ------
    WeightsError
        When the card belongs to no file or cannot be written.
    """
    if card.file is None:
        raise WeightsError(f"weight card of {card.model}: it names no file")
    path = card.file.with_suffix(".json")
    card = replace(card, contributions=dict(contributions), contributions_on=measured_on)
    _write(path, card.to_json().encode())
    return path


def load_weights(model: nn.Module, source: Card | str | Path) -> None:
    """Fill a network from a card's file, a ``.safetensors`` file or a torch state dict.

    A file with a card beside it is checked against the card's SHA-256. Torch files are read with
    ``weights_only=True``; a ``module.`` in front of the keys is stripped.

    Raises
    ------
    WeightsError
        When the file is missing, damaged, not the one the card describes, or does not fit.
    """
    card = card_of(source)
    path = source.file if isinstance(source, Card) else Path(source)
    if path is None:
        raise WeightsError("weight card: it names no file")
    _expect_file(path)
    if card is not None and file_hash(path) != card.sha256:
        raise WeightsError(
            f"{path}: the file's SHA-256 is not the one on its card ({path.stem}.json); it is "
            "damaged or was replaced: fetch both again"
        )
    fill(model, read_state(path), where=str(path), pruned=is_pruned(path))


def is_pruned(path: Path) -> bool:
    """Tell whether a readable weight file holds a pruned network, see `cimsim.zoo.narrow`."""
    if path.suffix != ".safetensors":
        return False
    from safetensors import safe_open

    with safe_open(path, framework="pt") as held:
        return PRUNED in (held.metadata() or {})


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a ``.safetensors`` or torch file (``.pt``, ``.pth``, ``.ckpt`` ...).

    Of a training checkpoint that keeps the network's tensors apart (``state_dict``, ``params_ema``,
    ``model`` ...) only those are returned. What wrappers add to names (``module.``, ``_orig_mod.``)
    is taken away; sparse, quantised and 8-bit floating-point tensors become the numbers that they
    stand for. Objects of training frameworks that stand beside them are passed over: none of
    their code is imported or run.

    Raises
    ------
    WeightsError
        When the file is damaged or holds something else.
    """
    import torch

    _expect_file(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: object = load_file(path)
        elif path.suffix in _SUFFIXES:
            with torch.serialization.safe_globals(_settings(path)):
                state = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise WeightsError(f"{path}: expected .safetensors, {', '.join(_SUFFIXES)}")
    except WeightsError:
        raise
    except Exception as error:  # torch and safetensors raise many kinds for a damaged file
        raise WeightsError(f"{path}: cannot read the weights: {_cause(error)}") from error
    named = _plain_names(_tensors(state, path), path)
    return {key: _dense(key, value, str(path)) for key, value in named.items()}


def _expect_file(path: Path) -> None:
    """Say what stands there instead of a file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        gone = ": a link that leads to nothing" if path.is_symlink() else ""
        raise WeightsError(f"{path}: no such weight file{gone}") from None
    except OSError as error:
        raise WeightsError(f"{path}: the weight file cannot be read: {error.strerror}") from None
    if stat.S_ISREG(mode):
        return
    what = "neither a file nor a folder"
    if stat.S_ISDIR(mode):
        files = sorted(p.name for p in path.glob("*") if p.suffix in (".safetensors", *_SUFFIXES))
        within = f"one of those in it ({', '.join(files[:3])})" if files else "a weight file"
        what = f"a folder; give {within}"
    raise WeightsError(f"{path}: expected a weight file, this is {what}")


class _Passed:
    """Stands for an object of a training framework that nobody needs."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...

    def __setitem__(self, _: object, __: object) -> None: ...


def _settings(path: Path) -> list[Callable[..., object] | tuple[Callable[..., object], str]]:
    """Return what takes the place of objects in a torch file that are settings of a framework."""
    import torch

    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # noqa: BLE001 - a damaged or an old file; loading it says what is wrong
        return []
    return [
        (type(name, (_Passed,), {}), name) for name in names if name.partition(".")[0] in _SETTINGS
    ]


def _plain_names(state: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """Take away what torch.compile and data parallelism put into the names."""
    tensors = {}
    for key, value in state.items():
        plain = ".".join(part for part in key.split(".") if part != "_orig_mod")
        while plain.startswith("module."):
            plain = plain.removeprefix("module.")
        if plain in tensors:
            raise WeightsError(f"{path}: tensor {plain!r} stands twice, in {key!r} too")
        tensors[plain] = value
    return tensors


_OBJECT = (
    "it holds a Python object ({}), which could run code; write a file of tensors alone: "
    "torch.save(model.state_dict(), ...)"
)


def _cause(error: Exception) -> str:
    """Say in one line why a file cannot be read; torch's own text is an essay."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    match = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
    if match:
        return _OBJECT.format(match[1])
    return "the file is damaged, cut short or of another kind"


def _tensors(content: object, path: Path) -> dict[str, torch.Tensor]:
    """Return the network's tensors out of what a file holds."""
    import torch

    if isinstance(content, Mapping):
        for _ in range(_DEPTH):
            inner = (content.get(name) for name in _NESTED)
            below = next((one for one in inner if isinstance(one, Mapping)), None)
            if below is None:
                break
            content = below
        odd = {k: v for k, v in content.items() if not isinstance(v, torch.Tensor)}
        if content and not odd and all(isinstance(key, str) for key in content):
            return dict(content)
        passed = next((v for v in odd.values() if isinstance(v, _Passed)), None)
        if passed is not None:
            why = _OBJECT.format(type(passed).__name__)
            raise WeightsError(f"{path}: cannot read the weights: {why}")
        contents = ", ".join(f"{k!r} ({type(v).__name__})" for k, v in list(odd.items())[:4])
    else:
        contents = type(content).__name__
    raise WeightsError(
        f"{path}: expected a state dict (names to tensors) of a network, found "
        f"{contents or 'no tensor'}; write torch.save(model.state_dict(), ...)"
    )


def fill(
    model: nn.Module, state: Mapping[str, torch.Tensor], *, where: str, pruned: bool = False
) -> None:
    """Copy tensors into a network, all or nothing; ``where`` names the source in messages.

    With ``pruned`` the network's layers are first made as narrow as the tensors.

    Raises
    ------
    WeightsError
        Naming the first tensor that is missing, too much, of another shape or kind, or not finite.
    """
    import torch

    from cimsim.zoo.narrow import narrow

    adapted = getattr(model, "adapted", None)  # a network that takes the tensors of a relative
    if callable(adapted):
        state = adapted(state)
    if pruned:
        narrow(model, {key: tuple(value.shape) for key, value in state.items()}, where=where)
    own = {key: value for key, value in model.state_dict().items() if SKIPPED not in key}
    given = {key: value for key, value in state.items() if SKIPPED not in key}
    network = type(model).__name__
    if given.keys() != own.keys():
        given = dict(_without_prefix(given, own, where))

    def belongs() -> str:
        shapes = {key: tuple(value.shape) for key, value in given.items()}
        fits = recognise(shapes)
        heads = {key.partition(".")[0] for key in shapes}
        prefix = heads.pop() if len(heads) == 1 else ""
        if not fits and prefix:
            fits = recognise({key[len(prefix) + 1 :]: shape for key, shape in shapes.items()})
            fits = f"{fits}, without the prefix '{prefix}.'" if fits else None
        return f"it fits {fits}" if fits else "it belongs to another network or other options"

    missing = [key for key in own if key not in given]
    surplus = [key for key in given if key not in own]
    if missing or surplus:
        first = missing or surplus
        what = "misses tensor" if missing else "has a tensor too much,"
        raise WeightsError(
            f"{where}: {what} {first[0]!r} for {network} ({len(missing)} missing, {len(surplus)} "
            f"too much of {len(own)}); {belongs()}"
        )
    for key, value in given.items():
        if value.shape != own[key].shape:
            raise WeightsError(
                f"{where}: tensor {key!r} has shape {tuple(value.shape)}, {network} needs "
                f"{tuple(own[key].shape)}; {belongs()}"
            )
    copied = {key: _converted(key, value, own[key].dtype, where) for key, value in given.items()}
    with torch.no_grad():
        for key, value in copied.items():
            own[key].copy_(value)


def _dense(key: str, value: torch.Tensor, where: str) -> torch.Tensor:
    """Return the numbers that a sparse, quantised or 8-bit floating-point tensor stands for."""
    import torch

    try:
        if value.is_quantized:
            value = value.dequantize()
        if value.layout != torch.strided:
            value = value.to_dense()
        if value.is_floating_point() and value.dtype.itemsize == 1:
            value = value.to(torch.float32)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        raise WeightsError(
            f"{where}: tensor {key!r} ({value.dtype}, {value.layout}) cannot be made an array of "
            f"float32 ({str(error).partition(chr(10))[0]}); save it as one"
        ) from None
    return value


def _converted(key: str, value: torch.Tensor, wanted: torch.dtype, where: str) -> torch.Tensor:
    """Return a tensor in the network's kind of number, with the values that it has.

    Raises
    ------
    WeightsError
        It has no values, ones of another kind, or ones that are not finite.
    """
    import torch

    kind = str(value.dtype).removeprefix("torch.")
    if value.is_meta:
        raise WeightsError(
            f"{where}: tensor {key!r} has a shape and no values (device 'meta'); save the network "
            "after its weights were loaded"
        )
    if value.is_complex() and not wanted.is_complex:
        raise WeightsError(
            f"{where}: tensor {key!r} is {kind}, the network computes with real numbers; save "
            "real and imaginary parts as tensors of their own"
        )
    if wanted.is_floating_point and not value.is_floating_point():
        raise WeightsError(
            f"{where}: tensor {key!r} is {kind}, whole numbers without the scale that makes "
            "weights of them; multiply them by it and save float32, or give the quantised network "
            "as an ONNX file (--model FILE.onnx)"
        )
    converted = value.to(wanted)
    if not torch.isfinite(converted).all():
        raise WeightsError(f"{where}: tensor {key!r} holds values that are not finite")
    whole = not wanted.is_floating_point and not wanted.is_complex
    if whole and not torch.equal(converted.to(value.dtype), value):
        name = str(wanted).removeprefix("torch.")
        raise WeightsError(
            f"{where}: tensor {key!r} is {kind} with values that the network's {name} cannot "
            f"hold; save it as {name}"
        )
    return converted


def _without_prefix(
    given: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], where: str
) -> Mapping[str, torch.Tensor]:
    """Return the tensors under the one prefix that makes them those of the network.

    Training code holds a network as a part of something (``model.``, ``net_g.``) and may store
    more beside it. Where none or several prefixes fit, nothing is taken away.

    Raises
    ------
    WeightsError
        Several prefixes fit, or one fits by its names and not by its shapes.
    """
    first = next(iter(own), "")
    ends = [key.removesuffix(first) for key in given if key.endswith(f".{first}")]
    held = {
        prefix: {key[len(prefix) :]: v for key, v in given.items() if key.startswith(prefix)}
        for prefix in ends
    }
    fitting = [prefix for prefix, part in held.items() if part.keys() == own.keys()]
    if len(fitting) > 1:
        raise WeightsError(
            f"{where}: the network's tensors stand there {len(fitting)} times, under "
            f"{' and '.join(map(repr, fitting))}; write a file with one of them"
        )
    if not fitting:
        return given
    (prefix,) = fitting
    wrong = [key for key, value in held[prefix].items() if value.shape != own[key].shape]
    if wrong:
        key = wrong[0]
        raise WeightsError(
            f"{where}: under the prefix {prefix!r} stand tensors of the right names, but {key!r} "
            f"has shape {tuple(held[prefix][key].shape)}, the network needs "
            f"{tuple(own[key].shape)}: other options, or another network"
        )
    return held[prefix]


def save_weights(model: nn.Module, path: Path, card: Card) -> Card:
    """Write ``path`` (safetensors, matrices in half precision) and its card; return the card.

    Each file is written under another name and renamed. The returned card has the SHA-256, and so
    has the last stage of its lineage.

    Raises
    ------
    WeightsError
        When a value does not fit into half precision, the suffix is another or a file cannot be
        written.
    """
    import torch
    from safetensors.torch import save

    from cimsim.zoo.narrow import is_narrowed

    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: expected a name that ends in .safetensors")
    state = {}
    for key, value in model.state_dict().items():
        if SKIPPED in key:
            continue
        # Biases and batch-norm statistics are few and may exceed half precision's range.
        dtype = torch.float16 if value.dim() > 1 else torch.float32
        stored = value.detach().to("cpu", dtype).contiguous()
        if not torch.isfinite(stored).all():
            raise WeightsError(f"{path}: tensor {key!r} does not fit into {dtype}")
        state[key] = stored
    path.parent.mkdir(parents=True, exist_ok=True)
    payload = save(state, {PRUNED: "true"} if is_narrowed(model) else None)
    digest = hashlib.sha256(payload).hexdigest()
    last = tuple(replace(stage, sha256=digest) for stage in card.lineage[-1:])
    card = replace(card, sha256=digest, lineage=card.lineage[:-1] + last, file=path)
    _write(path, payload)
    _write(path.with_suffix(".json"), card.to_json().encode())
    return card


def file_hash(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _write(path: Path, payload: bytes) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        scratch.write_bytes(payload)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise WeightsError(f"{path}: cannot be written: {error}; free some space") from error
