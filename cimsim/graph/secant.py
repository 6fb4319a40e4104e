"""Where a difference at the output of a network comes from: secants in place of derivatives.

Two runs of one graph differ because some of its matrices add an error of their own. Between the two
runs every operation is replaced by a linear one that maps the first run's values to the second's
exactly: a matrix by itself, an element-wise function by its secant, a product by the factors half
way between. What comes back from the output through these is a weight for every value: the sum over
layers of weight times error is then the difference at the output, and not its first order only.

The rule for element-wise functions is the rescale rule of DeepLIFT (A. Shrikumar et al., ICML
2017); roundings have one slope for their whole map. Of an operation that is neither (a softmax, a
maximum over a window) the derivative half way is taken; what that misses is of third order, and
callers see it as the rest of their sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cimsim.errors import GraphError
from cimsim.graph.ir import DigitalOp, InputOp, LayerGraph, MatrixOp
from cimsim.graph.reference import TorchWeights, apply_digital, apply_matrix

if TYPE_CHECKING:
    from torch import Tensor

Values = dict[str, "Tensor"]
_SMALL = 1e-6  # of the largest value: below it a secant is rounding errors over rounding errors

# functions of each element by itself that are not linear, as `DigitalOp.op` names them
ELEMENTWISE = frozenset((
    "abs", "ceil", "celu", "clamp", "elu", "erf", "exp", "expm1", "floor", "gelu", "hardshrink",
    "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log", "log10", "log1p", "log2",
    "log_sigmoid", "mish", "pow", "prelu", "reciprocal", "relu", "relu6", "round", "rounded",
    "rrelu", "rsqrt", "selu", "sigmoid", "sign", "silu", "softplus", "softshrink", "sqrt",
    "square", "tanh", "threshold", "trunc",
))  # fmt: skip


# of these a secant says nothing: it is a whole step over however little made the difference
ROUNDINGS = frozenset({"ceil", "floor", "round", "rounded", "sign", "trunc"})


def all_values(
    graph: LayerGraph, inputs: tuple[Tensor, ...], given: Mapping[str, Tensor] | None = None,
    matrices: Matrices | None = None,
) -> Values:  # fmt: skip
    """Return the value of every node, float32.

    Parameters
    ----------
    graph : LayerGraph
    inputs : tuple of torch.Tensor
        Those of the graph, batch 1.
    given : mapping of str to torch.Tensor, optional
        Values that are known: outputs of matrix operations as a chip computed them, in place of the
        exact ones, and what depends on no matrix.
    matrices : Matrices, optional
        Of the graph; who calls often keeps them.
    """
    import torch

    values: Values = {}
    arguments, held = iter(inputs), Matrices(graph) if matrices is None else matrices
    with torch.no_grad():
        for op in graph:
            if isinstance(op, InputOp):
                values[op.name] = next(arguments)
            elif given is not None and op.name in given:
                values[op.name] = given[op.name]
            elif isinstance(op, MatrixOp):
                values[op.name] = apply_matrix(op, values[op.inputs[0]], held[op])
            else:
                values[op.name] = apply_digital(op, _contiguous(op, values))
    return values


def pulled_back(
    graph: LayerGraph, before: Values, after: Values, at_outputs: tuple[Tensor | None, ...],
    matrices: Matrices | None = None,
) -> Values:  # fmt: skip
    """Return the weight of every matrix operation's output.

    Parameters
    ----------
    graph : LayerGraph
    before, after : dict of str to torch.Tensor
        Every node's value in both runs, as `all_values` returns them.
    at_outputs : tuple of torch.Tensor or None
        Weight of each output of the graph; None: does not count.
    matrices : Matrices, optional
        Of the graph; who calls often keeps them.

    Returns
    -------
    dict of str to torch.Tensor
        By matrix operation, in the shape of its output. The sum over operations of weight times the
        error that the operation itself adds in the second run is the sum over the outputs of weight
        times difference.

    Raises
    ------
    GraphError
        An operation has no derivative; the message names it.
    """
    weights: Values = {}
    for name, weight in zip(graph.outputs, at_outputs, strict=True):
        if weight is not None:
            weights[name] = weights[name] + weight if name in weights else weight
    at_matrices: Values = {}
    held = Matrices(graph) if matrices is None else matrices
    for op in reversed(tuple(graph)):
        weight_at = weights.pop(op.name, None)
        if weight_at is None or isinstance(op, InputOp):
            continue
        if isinstance(op, MatrixOp):
            at_matrices[op.name] = weight_at
        if held.behind.isdisjoint(op.inputs):
            continue  # nothing before it adds an error
        if isinstance(op, MatrixOp):
            name = op.inputs[0]
            back = {name: _through_matrix(op, held[op][0], weight_at, before[name], after[name])}
        else:
            back = _through_digital(op, weight_at, before, after)
        for name, part in back.items():
            weights[name] = weights[name] + part if name in weights else part
    return at_matrices


def as_vectors(op: MatrixOp, map_: Tensor) -> Tensor:
    """Return an output map as the output vectors of its windows, [windows, n_cols], batch 1."""
    if op.layout == "last":
        return map_.reshape(-1, op.n_cols)
    return _columns(op, map_)[0].permute(1, 2, 0).reshape(-1, op.n_cols)


class Matrices(TorchWeights):
    """Matrices of one graph as torch takes them, and what lies behind them.

    Attributes
    ----------
    behind : set of str
        Nodes that are matrix operations or depend on one.
    """

    def __init__(self, graph: LayerGraph) -> None:
        super().__init__()
        self.behind: set[str] = set()
        for op in graph:
            if isinstance(op, MatrixOp) or not self.behind.isdisjoint(op.inputs):
                self.behind.add(op.name)


def _columns(op: MatrixOp, map_: Tensor) -> Tensor:
    """Undo the unfolding of output vectors into blocks of pixels: [B, n_cols, n_wy, n_wx]."""
    channels, block_h, block_w = op.out_block
    if block_h == block_w == 1:
        return map_
    batch, (n_wy, n_wx) = map_.shape[0], op.window_grid
    blocks = map_.reshape(batch, channels, n_wy, block_h, n_wx, block_w)
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(batch, op.n_cols, n_wy, n_wx)


def _through_matrix(
    op: MatrixOp, matrix: Tensor, weight: Tensor, before: Tensor, after: Tensor
) -> Tensor:
    """Apply the transposed matrix; a quantised network's rounding is an element-wise function."""
    import torch

    if op.layout == "last":
        back = weight @ matrix
    else:
        top, bottom, left, right = op.window.padding
        batch, channels, height, width = before.shape
        padded = torch.empty(()).expand(
            batch, channels, height + top + bottom, width + left + right
        )
        back = torch.ops.aten.convolution_backward(
            _columns(op, weight), padded, matrix, None, op.window.stride, (0, 0),
            op.window.dilation, False, (0, 0), op.groups, (True, False, False),
        )[0]  # fmt: skip
        back = back[:, :, top : top + height, left : left + width]
    if op.rounding is None:
        return back
    return _rounded(back, before, after, op.rounding(before), op.rounding(after))


def _rounded(
    weight: Tensor, before: Tensor, after: Tensor, f_before: Tensor, f_after: Tensor
) -> Tensor:
    """Return the weights of values before a rounding.

    A straight line of one slope for the whole map, fitted to both differences; what values that
    turned to another step add beyond it is shared by the power of the differences. Both together
    give back the difference exactly.
    """
    step, change = (after - before).double(), (f_after - f_before).double()
    power = float(step.square().sum())
    if power == 0:
        return weight
    slope = float((step * change).sum()) / power
    turned = float((weight.double() * (change - slope * step)).sum()) / power
    return slope * weight + (turned * step).to(weight.dtype)


def _secant(
    before: Tensor, after: Tensor, f_before: Tensor, f_after: Tensor, slope: Tensor
) -> Tensor:
    """Return the slope from one point to the other, and ``slope`` where they are too near."""
    import torch

    step = after - before
    near = step.abs() <= _SMALL * torch.maximum(before.abs().max(), after.abs().max())
    return torch.where(near, slope, (f_after - f_before) / torch.where(near, 1.0, step))


def _through_digital(op: DigitalOp, weight: Tensor, before: Values, after: Values) -> Values:
    """Return the weights of an operation's inputs."""
    import torch

    first, second = _contiguous(op, before), _contiguous(op, after)
    floating = [name for name in op.inputs if first[name].is_floating_point()]
    if not floating:
        return {}
    middle = {
        name: ((first[name] + second[name]) / 2).requires_grad_() if name in floating
        else second[name]
        for name in op.inputs
    }  # fmt: skip
    leaves = [middle[name] for name in floating]
    alone = op.op in ELEMENTWISE and len(floating) == 1 and weight.shape == leaves[0].shape
    try:
        with torch.enable_grad():
            result = apply_digital(op, middle)
        parts: list[Tensor | None] = [None for _ in leaves]  # a constant
        if result.requires_grad:
            seed = torch.ones_like(result) if alone else weight.reshape(result.shape)
            parts = list(torch.autograd.grad(result, leaves, seed, allow_unused=True))
    except RuntimeError as error:
        if not alone:
            raise GraphError(
                f"node '{op.name}' ({op.op}): no derivative, so errors before it cannot be "
                f"followed to the output: {error}"
            ) from None
        parts = [None]
    if op.op in ROUNDINGS and alone:
        name = floating[0]
        return {name: _rounded(weight, first[name], second[name], before[op.name], after[op.name])}
    if alone and parts[0] is None:
        parts = [torch.zeros_like(leaves[0])]  # a rounding: flat but for its steps
    if alone and parts[0] is not None:
        name = floating[0]
        slope = _secant(first[name], second[name], before[op.name], after[op.name], parts[0])
        return {name: weight * slope}
    return {n: part for n, part in zip(floating, parts, strict=True) if part is not None}


def _contiguous(op: DigitalOp, values: Mapping[str, Tensor]) -> Values:
    """Return an operation's inputs; a reshape may insist on torch's own order of memory."""
    views = op.locality in ("view", "barrier")
    return {name: values[name].contiguous() if views else values[name] for name in op.inputs}
