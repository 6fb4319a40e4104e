"""Networks by name from packages that the user has: ``torchvision:resnet18``, ``timm:...``.

None of the packages is needed otherwise, so a missing one is told with the line that installs it.
Weights are random: a package's own are downloads, which no simulation starts by itself.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

from cimsim.boundary.outside import first_line
from cimsim.errors import InputError

if TYPE_CHECKING:
    from torch import nn

_SEVERAL = 3  # names that a message offers


@dataclass(frozen=True, slots=True)
class Library:
    """A package that knows networks by name.

    Attributes
    ----------
    install : str
        What ``pip install`` takes.
    names : callable
        All names, from the imported package.
    build : callable
        The network from package, name and options.
    shapes : callable
        What it takes, as ``--input-shape`` says it, where the package tells; else empty.
    """

    install: str
    names: Callable[[ModuleType], list[str]]
    build: Callable[[ModuleType, str, Mapping[str, object]], nn.Module]
    shapes: Callable[[ModuleType, str, nn.Module], tuple[str, ...]]


def is_library(name: str) -> bool:
    """Tell whether ``--model`` names a network of one of the packages."""
    return name.partition(":")[0] in LIBRARIES


def load(name: str, options: Mapping[str, object]) -> nn.Module:
    """Build ``package:network`` with random weights.

    A network whose package tells which inputs it was made for has them as ``shapes``.

    Parameters
    ----------
    name : str
        ``torchvision:resnet18``, ``timm:mobilenetv2_100``, ``transformers:BertModel``.
    options : mapping
        Keywords of its constructor; of transformers: of the model's configuration.

    Raises
    ------
    InputError
        The package is missing or broken, it has no such network, or the options do not fit.
    """
    place, _, network = name.partition(":")
    library = LIBRARIES[place]
    with warnings.catch_warnings():
        # packages tell of their own plans; weights are random by intention
        warnings.simplefilter("ignore")
        package = _package(name, place, library)
        known = library.names(package)
        if network not in known:
            raise InputError(
                f"--model {name}: {place} {package.__version__} has no '{network}'"
                f"{_alike(network, known)}"
            )
        try:
            module = library.build(package, network, dict(options))
        except Exception as error:  # a constructor of a package may raise anything
            raise InputError(
                f"--model {name}: cannot be built with {dict(options) or 'no arguments'}: "
                f"{first_line(error)}"
            ) from error
        shapes = library.shapes(package, network, module)
    if shapes:
        module.__dict__["shapes"] = shapes
    return module


def _package(name: str, place: str, library: Library) -> ModuleType:
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # what fails is said once, below
            return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name == place:
            told, way = "is not installed", library.install
        else:
            told, way = f"needs '{error.name}', which is missing", f"pip install {error.name}"
        raise InputError(f"--model {name}: the package {place} {told}; {way}") from None
    except Exception as error:  # compiled parts that do not fit the installed torch
        import torch

        raise InputError(
            f"--model {name}: importing {place} failed: {first_line(error)}; install builds of "
            f"torchvision and {place} that belong to torch {torch.__version__}"
        ) from error


def _alike(network: str, known: list[str]) -> str:
    """Offer names that are close to, or hold, the one that was given."""
    close = difflib.get_close_matches(network, known, _SEVERAL)
    found = close or [one for one in known if network.lower() in one.lower()][:_SEVERAL]
    return f"; it has {', '.join(found)}" if found else f"; it has {len(known)} others"


def _of_torchvision(package: ModuleType, network: str, module: nn.Module) -> tuple[str, ...]:
    """Read the size of pictures off the transforms of the published weights."""
    entry = next(iter(package.models.get_model_weights(network)), None)
    crop = getattr(entry and entry.transforms(), "crop_size", None)
    if not crop:
        return ()
    sizes = [*crop, *crop][:2]
    frames = "x16" if hasattr(package.models.video, network) else ""
    return (f"1x3{frames}x{sizes[0]}x{sizes[1]}",)


def _of_timm(package: ModuleType, network: str, module: nn.Module) -> tuple[str, ...]:
    size = (getattr(module, "default_cfg", None) or {}).get("input_size")
    return () if size is None else ("x".join(map(str, (1, *size))),)


def _of_transformers(package: ModuleType, network: str, module: nn.Module) -> tuple[str, ...]:
    """Read the size of pictures off the configuration; texts have no length of their own."""
    side, channels = (
        getattr(module.config, key, None) for key in ("image_size", "num_channels")
    )  # fmt: skip
    if not isinstance(side, int) or not isinstance(channels, int):
        return ()
    return (f"1x{channels}x{side}x{side}",)


def _transformers_names(package: ModuleType) -> list[str]:
    """Classes with a configuration; looked up by name, since importing all takes minutes."""
    return [name for name in dir(package) if name[:1].isupper() and not name.endswith("Config")]


def _transformers_model(
    package: ModuleType, network: str, options: Mapping[str, object]
) -> nn.Module:
    kind = getattr(package, network)
    configuration = getattr(kind, "config_class", None)
    if not callable(kind) or configuration is None:
        raise TypeError(f"'{network}' is no network with a configuration, such as BertModel")
    known = configuration()
    wrong = [key for key in options if not hasattr(known, key)]
    if wrong:
        raise TypeError(f"{configuration.__name__} has no '{wrong[0]}'")
    # no cache of keys, which would be state
    fixed = {"use_cache": False} if hasattr(known, "use_cache") else {}
    model: nn.Module = kind(configuration(**{**fixed, **options}))
    return model


LIBRARIES: Mapping[str, Library] = {
    "torchvision": Library(
        "pip install torchvision (the version that belongs to your torch)",
        lambda package: list(package.models.list_models()),
        lambda package, name, options: package.models.get_model(
            name, **({"weights": None, "weights_backbone": None} if _has_backbone(package, name)
                     else {"weights": None}), **options
        ),
        _of_torchvision,
    ),
    "timm": Library(
        "pip install --no-deps timm",
        lambda package: list(package.list_models()),
        lambda package, name, options: package.create_model(name, pretrained=False, **options),
        _of_timm,
    ),
    "transformers": Library(
        "pip install transformers", _transformers_names, _transformers_model, _of_transformers
    ),
}  # fmt: skip


def _has_backbone(package: ModuleType, name: str) -> bool:
    """Whether a constructor would download the weights of a backbone unless told not to."""
    build = package.models.get_model_builder(name)
    return "weights_backbone" in inspect.signature(build).parameters
