"""Networks to prune: of the zoo with random statistics, so that no channel is like another."""

import functools

import torch
from torch import nn

import cimsim
from cimsim.pruning.modules import channels_of
from cimsim.zoo import registry

ZOO = (
    ("fastdvdnet-block", {"width": 8, "per_frame": 6}),
    ("fastdvdnet", {"width": 4, "per_frame": 3}),
    ("foldnet", {"stride": 2}),
    ("foldnet", {"stride": 8}),
    ("cimnet", {"stride": 4}),
    ("abla-net", {"stride": 4}),
    ("baseline-o2", {"stride": 4}),
)
IDS = [f"{name}-{'-'.join(map(str, options.values()))}" for name, options in ZOO]
EDGE = 32


def stirred(model: nn.Module) -> nn.Module:
    """Give batch norms and biases random values."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.3)
        elif isinstance(part, nn.Conv2d) and part.bias is not None:
            nn.init.normal_(part.bias, 0, 0.3)
    return model.eval()


@functools.cache
def network(index: int):
    """Return model, graph, channels and holders; treat the model as read-only."""
    name, options = ZOO[index]
    torch.manual_seed(index)
    model = stirred(registry.build(name, **options))
    graph = cimsim.trace(model, frames(model))
    return model, graph, *channels_of(model, graph)


def frames(model, edge=EDGE):
    generator = torch.Generator().manual_seed(1)
    return (
        torch.rand(1, 3 * model.n_frames, edge, edge, generator=generator),
        torch.full((1, 1, edge, edge), 0.06),
    )
