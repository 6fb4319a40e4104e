"""The table of digital operators: what an ATen operator costs and which pixels it needs.

Costs are vector-unit operations per output element. One operation is an addition, multiplication,
comparison or selection. Division, square root, exponential and logarithm count 4 each: our estimate
of a table look-up with one step of refinement on a unit without special functions. What is composed
of them counts its parts: sigmoid = exp + add + divide = 9. Moving data counts 0, the bytes are
charged where they move. To add an operator, add a line to `TABLE`; what is not in it runs and is
listed as uncosted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from cimsim.frontends.equations import labels_of
from cimsim.frontends.locality import (
    Call,
    Reach,
    barrier,
    batch_normed,
    joined,
    moved,
    padded,
    pair,
    pointwise,
    pooled,
    reach_of,
    reduced,
    reshaped,
    sliced,
    unshuffled,
    view,
)
from cimsim.graph.ir import Locality, Ref, TensorSpec, Window

Cost = float | Callable[[Call], float]


@dataclass(frozen=True, slots=True)
class Rule:
    """How one digital operator is charged and how far it reaches.

    Attributes
    ----------
    op : str
        Short name for people.
    cost : float or callable
        Vector operations per output element.
    reach : callable
        Locality claimed for a call; see `cimsim.frontends.locality`.
    elementwise : bool
        Each output element is the same function of the one input element at its place; such an
        operator commutes with a permutation of elements.
    macs : callable, optional
        Products of computed values per output element, each of which ``cost`` counts twice.
    """

    op: str
    cost: Cost
    reach: Callable[[Call], Reach]
    elementwise: bool = False
    macs: Callable[[Call], float] | None = None


def packet(target: object) -> str:
    """Return the operator's name without its overload: ``aten.relu`` for ``aten.relu.default``."""
    return str(getattr(target, "_overloadpacket", None) or getattr(target, "__name__", target))


def rule_of(target: object) -> Rule | None:
    """Return the rule of an operator, torch's or our own; None where there is none."""
    name = packet(target)
    return TABLE.get(name) or OWN.get(name)


def short_name(target: object) -> str:
    """Return the name of an operator for people: ``relu``."""
    rule = rule_of(target)
    return rule.op if rule else packet(target).rpartition(".")[2].strip("_")


def describe(call: Call) -> tuple[Locality, Window | None, float | None]:
    """Return locality, window and cost of ``call``; an unknown operator is an uncosted barrier."""
    rule = rule_of(call.target)
    if rule is None or not call.inputs:
        return "barrier", None, None if rule is None else _cost(rule, call)
    locality, window = reach_of(call, rule.reach(call))
    return locality, window, _cost(rule, call)


def products(call: Call) -> float:
    """Return the multiply-accumulates of ``call`` per output element that a matmul unit can do."""
    rule = rule_of(call.target)
    return 0.0 if rule is None or rule.macs is None or not call.inputs else rule.macs(call)


def bind(target: object, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
    """Return the arguments of ``target`` by name, defaults filled in; {} without a schema."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return dict(kwargs)
    named = {}
    for i, parameter in enumerate(schema.arguments):
        if i < len(args):
            named[parameter.name] = args[i]
        elif parameter.name in kwargs:
            named[parameter.name] = kwargs[parameter.name]
        elif parameter.has_default_value():
            named[parameter.name] = parameter.default_value
    return named


def _cost(rule: Rule, call: Call) -> float:
    return float(rule.cost(call) if callable(rule.cost) else rule.cost)


# Costs that depend on the call


def _per_input(call: Call) -> float:
    """One operation per input element, spread over the output: sums, means, adaptive pooling."""
    return _elements(call.inputs[0]) / max(_elements(call.output), 1)


def _twice_per_input(call: Call) -> float:
    """Two operations per input element: square (or deviation) and add."""
    return 2 * _per_input(call)


def _kernel_area(call: Call) -> float:
    """k_y * k_x operations per output element."""
    return math.prod(pair(call.named["kernel_size"]))


def _inner_product(call: Call) -> float:
    """Length of the inner axis of a product that has an activation on either side."""
    left = call.args[1 if packet(call.target) == "aten.baddbmm" else 0]
    inner = call.inputs[0].shape[-1] if isinstance(left, Ref) else left.shape[-1]
    return float(inner)


def _equation(call: Call) -> float:
    """Count multiplications along all axes that the result of an einsum lacks."""
    shapes = iter(call.inputs)
    operands = call.named["tensors"]
    sizes: dict[int, int] = {}
    known = {}
    for one in operands:
        if isinstance(one, Ref) and one.name not in known:
            known[one.name] = next(shapes).shape
    of = [known[one.name] if isinstance(one, Ref) else tuple(one.shape) for one in operands]
    labelled = labels_of(call.named["equation"], [len(shape) for shape in of])
    if labelled is None:
        raise ValueError(f"einsum {call.named['equation']!r} of {len(of)} operands")
    for labels, shape in zip(labelled[0], of, strict=True):
        for label, size in zip(labels, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    return (len(of) - 1) * math.prod(sizes.values()) / max(_elements(call.output), 1)


def _convolved(call: Call) -> float:
    """Elements of a kernel of a convolution whose weights are computed."""
    weight = call.named["weight"]
    found = call.inputs[-1] if isinstance(weight, Ref) else weight
    return float(math.prod(found.shape[1:]))


def _kernel_volume(call: Call) -> float:
    """Elements of the kernel, over as many axes as the map has."""
    kernel = call.named["kernel_size"]
    axes = len(call.output.shape) - 2
    return math.prod(kernel if len(kernel) > 1 else [*kernel] * axes)


def _batch_norm(call: Call) -> float:
    """Scale and shift with stored statistics; a full normalisation with those of the batch."""
    return _NORM if call.named["training"] else 2.0


def _attention(call: Call) -> float:
    """Q K^T, softmax and the product with V, spread over the output."""
    return 2 * _attention_macs(call) + _keys(call) * _SOFTMAX / call.output.shape[-1]


def _attention_macs(call: Call) -> float:
    """Q K^T and the product with V, spread over the output."""
    query, value = call.inputs[0].shape[-1], call.output.shape[-1]
    return _keys(call) * (query + value) / value


def _keys(call: Call) -> int:
    return call.inputs[min(1, len(call.inputs) - 1)].shape[-2]


def _elements(spec: TensorSpec) -> int:
    return math.prod(spec.shape)


def _row(call: Call) -> int:
    """Length of the axis that a call works along, the last one by default."""
    shape, dim = call.inputs[0].shape, call.named.get("dim")
    return shape[-1 if dim is None else dim] if shape else 1


def _sorted(call: Call) -> float:
    """Comparisons of a merge sort per element."""
    return float(math.ceil(math.log2(max(_row(call), 2))))


def _selected(call: Call) -> float:
    """Count k passes over the row, or a sort if that is less, for each of the k."""
    row, k = _row(call), max(int(call.named["k"]), 1)
    return row * min(float(k), _sorted(call)) / k


def _log_sum_exp(call: Call) -> float:
    """Max, subtract, exp and sum per input element, then one logarithm and a sum."""
    return (1 + 1 + _HARD + 1) * _per_input(call) + _HARD + 1


def _bag(call: Call) -> float:
    """One look-up with its addition for each entry of a bag."""
    return _elements(call.inputs[0]) / max(call.output.shape[0], 1)


def _distance(call: Call) -> float:
    """Subtract, square and add along the last axis, then a root."""
    return 3.0 * call.inputs[0].shape[-1] + _HARD


def _looked_up(call: Call) -> float:
    """Comparisons of a search by halves among sorted boundaries."""
    held = call.named.get("boundaries", call.named.get("sorted_sequence"))
    shape = held.shape if isinstance(held, Tensor) else call.inputs[0].shape
    return float(math.ceil(math.log2(shape[-1] + 1)))


def _factored(call: Call) -> float:
    """Count a Cholesky factorisation, n^3 / 3 operations, for all of its results."""
    return 1 / 3 * call.inputs[0].shape[-1] ** 3 * _per_output(call)


def _eliminated(call: Call) -> float:
    """Count Gauss's elimination, 2/3 n^3 operations, of one matrix for all of its results."""
    return 2 / 3 * call.inputs[0].shape[-1] ** 3 * _per_output(call)


def _inverted(call: Call) -> float:
    """Count 2 n^3 operations for the n^2 numbers of an inverse."""
    return 2.0 * call.inputs[0].shape[-1]


def _solved(call: Call) -> float:
    """Count an elimination, then 2 n^2 operations for each column of the right-hand side."""
    return _eliminated(call) + 2.0 * call.inputs[0].shape[-1]


def _triangular(call: Call) -> float:
    """Count n^2 operations for each column of the right-hand side."""
    return float(call.inputs[0].shape[-1])


def _per_output(call: Call) -> float:
    """Matrices of the first input for each output element."""
    matrices = math.prod(call.inputs[0].shape[:-2])
    return matrices / max(_elements(call.output), 1)


def _sum(call: Call) -> float:
    """One addition, two of complex numbers."""
    return 2.0 if "complex" in call.output.dtype else 1.0


def _times(call: Call) -> float:
    """One multiplication; four and two additions of complex numbers."""
    return 6.0 if "complex" in call.output.dtype else 1.0


def _transform(call: Call) -> float:
    """Count 5 n log2 n for n complex numbers (Cooley and Tukey), half of it for real ones."""
    kind = packet(call.target)
    whole = call.output if kind == "aten._fft_c2r" else call.inputs[0]
    n = math.prod(whole.shape[dim] for dim in call.named["dim"])
    each = (5.0 if kind == "aten._fft_c2c" else 2.5) * math.log2(max(n, 2))
    return each * _elements(whole) / max(_elements(call.output), 1)


def _cosine(call: Call) -> float:
    """Three inner products of two operations a term, a root and a division."""
    return 6.0 * _terms(call) + 2 * _HARD + 1


def _terms(call: Call) -> int:
    """Return along how many numbers two tensors are compared, either of which is repeated."""
    dim = call.named["dim"]
    behind = dim if dim < 0 else dim - len(call.output.shape) - 1  # as both are lined up
    constants = (call.named[name] for name in ("x1", "x2"))
    shapes = [
        *(one.shape for one in call.inputs),
        *(one.shape for one in constants if isinstance(one, Tensor)),
    ]
    return max(shape[behind] for shape in shapes if len(shape) >= -behind)


_HARD = 4.0  # divide, square root, exp, log: see the module docstring
_SIGMOID = _HARD + 1 + _HARD
_SOFTMAX = 1 + 1 + _HARD + 1 + _HARD  # max, subtract, exp, sum, divide
_NORM = (
    7.0  # mean 1, variance 3, normalise 1, scale and shift 2; the root is shared by many elements
)


def _map(op: str, cost: float) -> Rule:
    """Build the rule of an elementwise function or binary arithmetic."""
    return Rule(op, cost, pointwise, elementwise=True)


def _product(op: str, macs: Callable[[Call], float]) -> Rule:
    """Build the rule of products of computed values: multiply and add."""

    def real(call: Call) -> float:
        # a product of complex numbers is four of real ones
        return macs(call) * (4 if "complex" in call.output.dtype else 1)

    return Rule(op, lambda call: 2 * real(call), barrier, macs=real)


def _move(op: str, reach: Callable[[Call], Reach] = reshaped) -> Rule:
    """Build the rule of an operator that only moves data."""
    return Rule(op, 0.0, reach)


TABLE: dict[str, Rule] = {
    # arithmetic, comparison, selection
    "aten.add": Rule("add", _sum, pointwise, elementwise=True),
    "aten.sub": Rule("sub", _sum, pointwise, elementwise=True),
    "aten.rsub": Rule("rsub", _sum, pointwise, elementwise=True),
    "aten.mul": Rule("mul", _times, pointwise, elementwise=True),
    "aten.div": _map("div", _HARD),
    "aten.true_divide": _map("div", _HARD),
    "aten.reciprocal": _map("reciprocal", _HARD),
    "aten.remainder": _map("remainder", _HARD + 2),
    "aten.fmod": _map("fmod", _HARD + 2),
    "aten.floor_divide": _map("floor_divide", _HARD + 1),
    "aten.neg": _map("neg", 1),
    "aten.abs": _map("abs", 1),
    "aten.sign": _map("sign", 1),
    "aten.square": _map("square", 1),
    "aten.maximum": _map("maximum", 1),
    "aten.minimum": _map("minimum", 1),
    "aten.floor": _map("floor", 1),
    "aten.ceil": _map("ceil", 1),
    "aten.round": _map("round", 1),
    "aten.trunc": _map("trunc", 1),
    "aten.addcmul": _map("addcmul", 2),
    "aten.addcdiv": _map("addcdiv", _HARD + 1),
    "aten.lerp": _map("lerp", 3),
    "aten.where": _map("where", 1),
    "aten.masked_fill": _map("masked_fill", 1),
    "aten.eq": _map("eq", 1),
    "aten.ne": _map("ne", 1),
    "aten.lt": _map("lt", 1),
    "aten.le": _map("le", 1),
    "aten.gt": _map("gt", 1),
    "aten.ge": _map("ge", 1),
    "aten.logical_and": _map("logical_and", 1),
    "aten.logical_or": _map("logical_or", 1),
    "aten.logical_not": _map("logical_not", 1),
    "aten.bitwise_and": _map("bitwise_and", 1),
    "aten.bitwise_or": _map("bitwise_or", 1),
    "aten.bitwise_not": _map("bitwise_not", 1),
    "aten._to_copy": _map("cast", 1),
    "aten.to": _map("cast", 1),
    # roundings of quantised networks: scale, round, shift, two comparisons; and back
    "cimsim.rounded": _map("rounded", 7),
    "aten.fake_quantize_per_tensor_affine": _map("rounded", 7),
    "quantized_decomposed.quantize_per_tensor": _map("quantize", 5),
    "quantized_decomposed.dequantize_per_tensor": _map("dequantize", 2),
    "quantized_decomposed.dequantize_per_channel": _map("dequantize", 2),
    "aten.logical_xor": _map("logical_xor", 1),
    "aten.bitwise_xor": _map("bitwise_xor", 1),
    "aten.isnan": _map("isnan", 1),
    "aten.isinf": _map("isinf", 1),
    "aten.frac": _map("frac", 2),
    "aten.nan_to_num": _map("nan_to_num", 3),
    "aten.heaviside": _map("heaviside", 2),
    "aten.tril": Rule("tril", 1, pointwise),
    "aten.triu": Rule("triu", 1, pointwise),
    # elementary functions
    "aten.sqrt": _map("sqrt", _HARD),
    "aten.rsqrt": _map("rsqrt", _HARD),
    "aten.exp": _map("exp", _HARD),
    "aten.expm1": _map("expm1", _HARD + 1),
    "aten.log": _map("log", _HARD),
    "aten.log2": _map("log2", _HARD),
    "aten.log10": _map("log10", _HARD),
    "aten.log1p": _map("log1p", _HARD + 1),
    "aten.sin": _map("sin", _HARD),
    "aten.cos": _map("cos", _HARD),
    "aten.tan": _map("tan", _HARD),
    "aten.asin": _map("asin", _HARD),
    "aten.acos": _map("acos", _HARD),
    "aten.atan": _map("atan", _HARD),
    "aten.atan2": _map("atan2", 2 * _HARD),
    "aten.sinh": _map("sinh", 2 * _HARD + 2),
    "aten.cosh": _map("cosh", 2 * _HARD + 2),
    "aten.exp2": _map("exp2", _HARD),
    "aten.logit": _map("logit", 2 * _HARD + 1),
    "aten.logaddexp": _map("logaddexp", 2 * _HARD + 4),
    "aten.hypot": _map("hypot", _HARD + 3),
    "aten.erfc": _map("erfc", 2 * _HARD + 1),
    "aten.erf": _map("erf", 2 * _HARD),
    "aten.pow": _map("pow", 2 * _HARD + 1),  # exp(y log x)
    # activations
    "aten.relu": _map("relu", 1),
    "aten.relu6": _map("relu6", 1),
    "aten.clamp": _map("clamp", 1),
    "aten.clamp_min": _map("clamp", 1),
    "aten.clamp_max": _map("clamp_max", 1),
    "aten.hardtanh": _map("hardtanh", 1),
    "aten.threshold": _map("threshold", 1),
    "aten.leaky_relu": _map("leaky_relu", 2),
    "aten.prelu": _map("prelu", 2),
    "aten._prelu_kernel": _map("prelu", 2),
    "aten.rrelu": _map("rrelu", 2),
    "aten.softshrink": _map("softshrink", 2),
    "aten.hardshrink": _map("hardshrink", 2),
    "aten.hardsigmoid": _map("hardsigmoid", 3),
    "aten.hardswish": _map("hardswish", 4),
    "aten.elu": _map("elu", _HARD + 3),
    "aten.selu": _map("selu", _HARD + 3),
    "aten.celu": _map("celu", _HARD + 3),
    "aten.sigmoid": _map("sigmoid", _SIGMOID),
    "aten.log_sigmoid": _map("log_sigmoid", 2 * _HARD + 1),
    "aten.tanh": _map("tanh", _SIGMOID + 1),
    "aten.silu": _map("silu", _SIGMOID + 1),
    "aten.gelu": _map("gelu", _SIGMOID + 1),
    "aten.softplus": _map("softplus", 2 * _HARD + 1),
    "aten.mish": _map("mish", 3 * _HARD + 4),
    "aten.glu": Rule("glu", _SIGMOID + 1, pointwise),
    # normalisation
    "aten.batch_norm": Rule("batch_norm", _batch_norm, batch_normed),
    "aten._native_batch_norm_legit_no_training": Rule("batch_norm", 2, pointwise),
    "aten._native_batch_norm_legit": Rule("batch_norm", _NORM, barrier),
    "aten.layer_norm": Rule("layer_norm", _NORM, barrier),
    "aten.native_layer_norm": Rule("layer_norm", _NORM, barrier),
    "aten.rms_norm": Rule("rms_norm", 4, barrier),
    "aten.group_norm": Rule("group_norm", _NORM, barrier),
    "aten.native_group_norm": Rule("group_norm", _NORM, barrier),
    "aten.instance_norm": Rule("instance_norm", _NORM, barrier),
    "aten.softmax": Rule("softmax", _SOFTMAX, reduced),
    "aten._softmax": Rule("softmax", _SOFTMAX, reduced),
    "aten.log_softmax": Rule("log_softmax", _SOFTMAX, reduced),
    "aten._log_softmax": Rule("log_softmax", _SOFTMAX, reduced),
    # reductions
    "aten.mean": Rule("mean", _per_input, reduced),
    "aten.sum": Rule("sum", _per_input, reduced),
    "aten.amax": Rule("amax", _per_input, reduced),
    "aten.amin": Rule("amin", _per_input, reduced),
    "aten.max": Rule("max", _per_input, reduced),
    "aten.min": Rule("min", _per_input, reduced),
    "aten.argmax": Rule("argmax", _per_input, reduced),
    "aten.argmin": Rule("argmin", _per_input, reduced),
    "aten.prod": Rule("prod", _per_input, reduced),
    "aten.any": Rule("any", _per_input, reduced),
    "aten.all": Rule("all", _per_input, reduced),
    "aten.var": Rule("var", _twice_per_input, reduced),
    "aten.std": Rule("std", _twice_per_input, reduced),
    "aten.linalg_vector_norm": Rule("norm", _twice_per_input, reduced),
    "aten.cumsum": Rule("cumsum", 1, barrier),
    "aten.cumprod": Rule("cumprod", 1, barrier),
    "aten.logsumexp": Rule("logsumexp", _log_sum_exp, reduced),
    "aten.var_mean": Rule("var", _twice_per_input, reduced),
    "aten.std_mean": Rule("std", _twice_per_input, reduced),
    "aten.cosine_similarity": Rule("cosine_similarity", _cosine, reduced),
    "aten.sort": Rule("sort", _sorted, barrier),
    "aten.argsort": Rule("argsort", _sorted, barrier),
    "aten.topk": Rule("topk", _selected, barrier),
    "aten.outer": Rule("outer", 1, barrier),
    "aten.cdist": Rule("cdist", _distance, barrier),
    "aten.bucketize": Rule("bucketize", _looked_up, barrier),
    "aten.searchsorted": Rule("searchsorted", _looked_up, barrier),
    # systems of equations
    "aten.linalg_inv": Rule("inv", _inverted, barrier),
    "aten.inverse": Rule("inv", _inverted, barrier),
    "aten.linalg_solve": Rule("solve", _solved, barrier),
    "aten.linalg_cholesky": Rule("cholesky", _factored, barrier),
    "aten.cholesky": Rule("cholesky", _factored, barrier),
    "aten.linalg_solve_triangular": Rule("solve_triangular", _triangular, barrier),
    "aten.linalg_det": Rule("det", _eliminated, barrier),
    # Fourier transforms
    "aten._fft_c2c": Rule("fft", _transform, barrier),
    "aten._fft_r2c": Rule("fft", _transform, barrier),
    "aten._fft_c2r": Rule("fft", _transform, barrier),
    "aten.view_as_real": _move("view_as_real", barrier),
    "aten.view_as_complex": _move("view_as_complex", barrier),
    "aten.complex": _move("complex", barrier),
    # pooling and resampling
    "aten.max_pool2d": Rule("max_pool2d", _kernel_area, pooled),
    "aten.max_pool2d_with_indices": Rule("max_pool2d", _kernel_area, pooled),
    "aten.avg_pool2d": Rule("avg_pool2d", _kernel_area, pooled),
    "aten.max_pool1d": Rule("max_pool1d", _kernel_volume, barrier),
    "aten.avg_pool1d": Rule("avg_pool1d", _kernel_volume, barrier),
    "aten.max_pool3d": Rule("max_pool3d", _kernel_volume, barrier),
    "aten.max_pool3d_with_indices": Rule("max_pool3d", _kernel_volume, barrier),
    "aten.avg_pool3d": Rule("avg_pool3d", _kernel_volume, barrier),
    "aten.adaptive_avg_pool3d": Rule("adaptive_avg_pool3d", _per_input, barrier),
    "aten._adaptive_avg_pool3d": Rule("adaptive_avg_pool3d", _per_input, barrier),
    "aten.adaptive_max_pool1d": Rule("adaptive_max_pool1d", _per_input, barrier),
    "aten.adaptive_max_pool3d": Rule("adaptive_max_pool3d", _per_input, barrier),
    "aten.adaptive_avg_pool2d": Rule("adaptive_avg_pool2d", _per_input, barrier),
    "aten._adaptive_avg_pool2d": Rule("adaptive_avg_pool2d", _per_input, barrier),
    "aten.adaptive_max_pool2d": Rule("adaptive_max_pool2d", _per_input, barrier),
    "aten.adaptive_avg_pool1d": Rule("adaptive_avg_pool1d", _per_input, barrier),
    "aten.upsample_nearest1d": _move("upsample_nearest", barrier),
    "aten.upsample_nearest3d": _move("upsample_nearest", barrier),
    "aten.upsample_linear1d": Rule("upsample_linear", 3, barrier),  # 2 products, 1 sum
    "aten.upsample_trilinear3d": Rule("upsample_trilinear", 15, barrier),  # 8 products, 7 sums
    # bilinear at a place of its own: 4 products, 3 sums; 4 weights of 2 operations each
    "aten.affine_grid_generator": Rule("affine_grid", 5, barrier),  # 3 products, 2 sums
    "aten.grid_sampler": Rule("grid_sampler", 15, barrier),
    "aten.grid_sampler_2d": Rule("grid_sampler", 15, barrier),
    "aten.upsample_nearest2d": _move("upsample_nearest", barrier),
    "aten._upsample_nearest_exact2d": _move("upsample_nearest", barrier),
    "aten.upsample_bilinear2d": Rule("upsample_bilinear", 7, barrier),  # 4 products, 3 sums
    "aten._upsample_bilinear2d_aa": Rule("upsample_bilinear", 7, barrier),
    "aten.upsample_bicubic2d": Rule("upsample_bicubic", 31, barrier),  # 16 products, 15 sums
    # products of activations
    "aten.mm": _product("matmul", _inner_product),
    "aten.bmm": _product("matmul", _inner_product),
    "aten.matmul": _product("matmul", _inner_product),
    "aten.baddbmm": _product("matmul", _inner_product),
    "aten.linear": _product("matmul", _inner_product),
    "aten.mv": _product("matmul", _inner_product),
    "aten.dot": _product("matmul", _inner_product),
    "aten.einsum": _product("einsum", _equation),
    "aten.conv1d": _product("conv1d", _convolved),
    "aten.conv2d": _product("conv2d", _convolved),
    "aten.conv3d": _product("conv3d", _convolved),
    "aten.scaled_dot_product_attention": Rule(
        "attention", _attention, barrier, macs=_attention_macs
    ),
    # data that only moves
    "aten.view": _move("view"),
    "aten._unsafe_view": _move("view"),
    "aten.reshape": _move("reshape"),
    "aten.as_strided": _move("as_strided", barrier),
    "aten.flatten": _move("flatten"),
    "aten.unflatten": _move("unflatten"),
    "aten.squeeze": _move("squeeze"),
    "aten.unsqueeze": _move("unsqueeze"),
    "aten.permute": _move("permute"),
    "aten.transpose": _move("transpose"),
    "aten.t": _move("transpose"),
    "aten.movedim": _move("movedim", barrier),
    "aten.select": _move("select"),
    "aten.stack": _move("stack", barrier),
    "aten.cat": _move("cat", joined),
    "aten.slice": _move("slice", sliced),
    "aten.narrow": _move("slice", barrier),
    "aten.expand": _move("expand", view),
    "aten.expand_as": _move("expand", view),
    "aten.repeat": _move("repeat", view),
    "aten.repeat_interleave": _move("repeat", barrier),
    "aten.tile": _move("repeat", view),
    "aten.flip": _move("flip", moved),
    "aten.roll": _move("roll", moved),
    "aten.channel_shuffle": _move("channel_shuffle", view),
    "aten.pixel_shuffle": _move("pixel_shuffle", barrier),
    "aten.pixel_unshuffle": _move("pixel_unshuffle", unshuffled),
    "aten.pad": _move("pad", padded),
    "aten.constant_pad_nd": _move("pad", padded),
    "aten.reflection_pad2d": _move("pad", padded),
    "aten.replication_pad2d": _move("pad", padded),
    "aten.im2col": _move("unfold", barrier),
    "aten.col2im": Rule("fold", _per_input, barrier),
    "aten.unfold": _move("unfold", barrier),
    "aten.index": _move("index", barrier),
    "aten.index_select": _move("index_select", barrier),
    "aten.gather": _move("gather", barrier),
    # a look-up moves each value once, from the table's memory
    "aten.embedding": Rule("embedding", 1, barrier),
    "aten.embedding_bag": Rule("embedding_bag", _bag, barrier),
    "aten.max_unpool2d": _move("max_unpool2d", barrier),
    "aten.scatter": _move("scatter", barrier),
    "aten.scatter_reduce": Rule("scatter_reduce", 1, barrier),
    "aten.scatter_add": Rule("scatter_add", 1, barrier),
    "aten.index_add": Rule("index_add", 1, barrier),
    "aten.index_put": _move("index_put", barrier),
    "aten.slice_scatter": _move("slice_scatter", barrier),
    "aten.select_scatter": _move("select_scatter", barrier),
    "aten.copy": _move("copy", barrier),
    "aten.fill": _move("fill", barrier),
}

# Operators of our own: a name of the callable instead of torch's.
OWN: dict[str, Rule] = {
    # gates of recurrent cells, per element of their result: of an LSTM 3 sigmoid, 2 tanh, 3
    # products and 5 sums for two values, see `cimsim.frontends.recurrent`
    "lstm_gates": Rule("lstm_gates", (3 * _SIGMOID + 2 * (_SIGMOID + 1) + 3 + 5) / 2, pointwise),
    "gru_gates": Rule("gru_gates", 2 * _SIGMOID + (_SIGMOID + 1) + 3 + 5, pointwise),
    "rnn_tanh_gates": Rule("rnn_tanh_gates", _SIGMOID + 2, pointwise),
    "rnn_relu_gates": Rule("rnn_relu_gates", 2, pointwise),
    # convolutions over volumes
    "planes": _move("planes", barrier),
    "volume": _move("volume", barrier),
}
