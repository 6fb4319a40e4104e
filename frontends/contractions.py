"""Products of an activation and a constant, however they are written, as matrices.

``matmul``, ``bmm``, ``mv``, ``einsum``, a constant on either side: each is a sum over labelled axes
of one activation and one constant. Axes that only the activation has are windows; axes that only
the constant has, and that are kept, are columns; axes that both have are rows where they are summed
over, and groups (blocks on the diagonal of one matrix) where they are kept.
"""

from __future__ import annotations

import math
import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor

from cimsim.errors import GraphError
from cimsim.frontends.builder import GraphBuilder
from cimsim.frontends.equations import Labels, labels_of
from cimsim.frontends.locality import Call
from cimsim.frontends.matrices import conv2d_op, linear_op
from cimsim.graph.ir import DigitalOp, Ref, TensorSpec

_aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Product:
    """``sum over the labels that are not in out of x[own] * weight[other]``.

    Attributes
    ----------
    x : Ref
        The activation.
    own : tuple of int
        Labels of its axes.
    weight : torch.Tensor
        The constant.
    other, out : tuple of int
        Labels of the axes of the constant and of the result.
    """

    x: Ref
    own: Labels
    weight: Tensor
    other: Labels
    out: Labels


def einsum(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.einsum(equation, operands)`` with a constant; several are joined before.

    One activation is applied to the constant, on arrays. Where there are more of them, what comes
    out is multiplied with the others digitally.
    """
    equation, operands = call.named["equation"], list(call.named["tensors"])
    shapes = [tuple(build.spec(one).shape if isinstance(one, Ref) else one.shape)
              for one in operands]  # fmt: skip
    labelled = labels_of(equation, [len(shape) for shape in shapes])
    if labelled is None:
        return None
    inputs, out = labelled
    terms = list(zip(operands, inputs, strict=True))
    moving = [(one, labels) for one, labels in terms if isinstance(one, Ref)]
    fixed = [(one, labels) for one, labels in terms if not isinstance(one, Ref)]
    if not moving or not fixed:
        return None
    weight, other = fixed[0]
    if len(fixed) > 1:
        wanted = {*out}.union(*(labels for _, labels in moving))
        weight, other = _joined(build, fixed, wanted, name)
    if len(moving) == 1:
        return contract(build, call, name, source, Product(*moving[0], weight, other, out))
    return _with_others(build, call, name, source, moving, (weight, other), out)


def _joined(
    build: GraphBuilder, fixed: Sequence[tuple[Tensor, Labels]], wanted: Collection[int], name: str
) -> tuple[Tensor, Labels]:
    """Return the product of constants, with the labels that others have."""
    labels = dict.fromkeys(label for _, of in fixed for label in of)
    kept = tuple(label for label in labels if label in wanted)
    short = {label: i for i, label in enumerate(labels)}  # torch counts labels from 0
    parts = [part for tensor, of in fixed for part in (tensor, [short[label] for label in of])]
    joined = torch.einsum(*parts, [short[label] for label in kept])
    return build.parameters.computed(name, joined), kept


def _with_others(
    build: GraphBuilder, call: Call, name: str, source: str,
    moving: Sequence[tuple[Ref, Labels]], constant: tuple[Tensor, Labels], out: Labels,
) -> Ref | None:  # fmt: skip
    """Apply the constant to the activation that leaves least behind, then multiply by the rest."""
    weight, other = constant
    sizes = dict(zip(other, weight.shape, strict=True))
    for one, labels in moving:
        sizes |= dict(zip(labels, build.spec(one).shape, strict=True))

    def left(place: int) -> Labels:
        rest = {*out}.union(*(of for i, (_, of) in enumerate(moving) if i != place))
        return tuple(label for label in dict.fromkeys((*moving[place][1], *other)) if label in rest)

    def size(place: int) -> int:
        return math.prod(sizes[label] for label in left(place))

    for place in sorted(range(len(moving)), key=size):
        between = left(place)
        shape = tuple(sizes[label] for label in between)
        spec = TensorSpec(shape, call.output.dtype)
        inside = build.call(call.target, call.args, call.kwargs, spec)
        product = Product(*moving[place], weight, other, between)
        made = contract(build, inside, name, source, product)
        if made is None:
            continue
        terms = [(made, between), *(term for i, term in enumerate(moving) if i != place)]
        letters = dict(zip(sizes, string.ascii_letters, strict=False))
        written = ["".join(letters[label] for label in of) for _, of in terms]
        equation = f"{','.join(written)}->{''.join(letters[label] for label in out)}"
        rest = build.call(call.target, (equation, [one for one, _ in terms]), {}, call.output)
        return build.digital(f"{name}.product", rest, source)
    return None


def matmul(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.mm``, ``bmm``, ``matmul``, ``mv`` and ``dot`` with a constant on either side."""
    one, two = call.args[0], call.args[1]
    if isinstance(one, Ref) == isinstance(two, Ref):
        return None
    left = tuple(build.spec(one).shape if isinstance(one, Ref) else one.shape)
    right = tuple(build.spec(two).shape if isinstance(two, Ref) else two.shape)
    if not left or not right:
        return None
    fresh = count(100)
    rows, inner, cols = 0, 1, 2
    lead = max(len(left), len(right)) - 2
    stack = tuple(next(fresh) for _ in range(max(lead, 0)))
    a = (*stack[len(stack) - max(len(left) - 2, 0) :], rows, inner) if len(left) > 1 else (inner,)
    b = (*stack[len(stack) - max(len(right) - 2, 0) :], inner, cols) if len(right) > 1 else (inner,)
    out = (*stack, *((rows,) if len(left) > 1 else ()), *((cols,) if len(right) > 1 else ()))
    x, own, weight, other = (one, a, two, b) if isinstance(one, Ref) else (two, b, one, a)
    return contract(build, call, name, source, Product(x, own, weight, other, out))


def inner(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.inner``: the last axes of both, one of which is constant."""
    one, two = call.args[0], call.args[1]
    axes = [len(build.spec(t).shape if isinstance(t, Ref) else t.shape) - 1 for t in (one, two)]
    return _over_axes(build, call, name, source, one, two, axes[:1], axes[1:])


def tensordot(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.tensordot`` with one constant."""
    n = call.named
    return _over_axes(
        build, call, name, source, n["self"], n["other"], n["dims_self"], n["dims_other"]
    )


def _over_axes(
    build: GraphBuilder, call: Call, name: str, source: str, one: Tensor | Ref, two: Tensor | Ref,
    of_one: Sequence[int], of_two: Sequence[int],
) -> Ref | None:  # fmt: skip
    """Sum over pairs of axes; what is left of the first stands before what is left of the other."""
    ranks = [len(build.spec(t).shape if isinstance(t, Ref) else t.shape) for t in (one, two)]
    a, b = list(range(ranks[0])), list(range(100, 100 + ranks[1]))
    for first, second in zip(of_one, of_two, strict=True):
        b[second] = a[first]
    out = tuple(label for label in (*a, *b) if (label in a) != (label in b))
    if isinstance(one, Ref) and isinstance(two, Tensor):
        return contract(build, call, name, source, Product(one, tuple(a), two, tuple(b), out))
    if isinstance(two, Ref) and isinstance(one, Tensor):
        return contract(build, call, name, source, Product(two, tuple(b), one, tuple(a), out))
    return None


def baddbmm(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.baddbmm``, ``addmm`` and ``addmv`` with a product that has one constant side."""
    added, *factors = call.args[:3]
    beta, alpha = call.named.get("beta", 1), call.named.get("alpha", 1)
    if isinstance(factors[0], Ref) == isinstance(factors[1], Ref):
        return None
    inside = build.call(_aten.matmul.default, tuple(factors), {}, call.output)
    product = matmul(build, inside, name, source)
    if product is None:
        return None
    if alpha != 1:
        scaled = build.call(_aten.mul.Tensor, (product, alpha), {}, call.output)
        product = build.digital(f"{name}.alpha", scaled, source)
    if beta == 0:
        return product
    if beta != 1:
        if isinstance(added, Ref):
            spec = build.spec(added)
            scaled = build.call(_aten.mul.Tensor, (added, beta), {}, spec)
            added = build.digital(f"{name}.beta", scaled, source)
        else:
            added = added * beta
    total = build.call(_aten.add.Tensor, (product, added), {}, call.output)
    return build.digital(f"{name}.add", total, source)


def summed(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``aten.sum`` of ``x * constant``, each with axes of its own: a matrix that was written out.

    A weighted sum, whose constant has no axis that x lacks, stays digital.
    """
    product = build.made(call.args[0]) if isinstance(call.args[0], Ref) else None
    if not isinstance(product, DigitalOp) or product.op != "mul" or product.kwargs:
        return None
    dims, rank = call.named.get("dim"), len(product.output.shape)
    one, two = product.args[:2]
    weight, x = (one, two) if isinstance(one, Tensor) else (two, one)
    if not dims or not isinstance(weight, Tensor) or not isinstance(x, Ref):
        return None
    axes = {dim % rank for dim in dims}
    own = tuple(range(rank - len(build.spec(x).shape), rank))
    other = tuple(range(rank - weight.dim(), rank))
    sizes = {axis: n for axis, n in zip(own, build.spec(x).shape, strict=True) if n > 1}
    held = {axis for axis, n in zip(other, weight.shape, strict=True) if n > 1}
    if not any(axis in held and axis in sizes for axis in axes) or not held - axes - {*sizes}:
        return None
    out = tuple(axis for axis in range(rank) if axis not in axes)
    shape = tuple(product.output.shape[axis] for axis in out)
    spec = TensorSpec(shape, call.output.dtype)
    inside = build.call(call.target, call.args, call.kwargs, spec)
    made = contract(build, inside, name, source, Product(x, own, weight, other, out))
    if made is None or shape == call.output.shape:
        return made
    kept = build.call(_aten.reshape.default, (made, list(call.output.shape)), {}, call.output)
    return build.digital(f"{name}.kept", kept, source)


def bilinear(build: GraphBuilder, call: Call, name: str, source: str) -> Ref | None:
    """``y_k = sum_ij x_i A_kij z_j + b_k``: A on arrays, then one inner product with z for each k.

    ``A`` is applied to x as a matrix [i, k * j]; the product with the second activation is digital.
    """
    x, z, weight, bias = (call.named[k] for k in ("input1", "input2", "weight", "bias"))
    if not isinstance(weight, Tensor) or isinstance(bias, Ref) or not isinstance(x, Ref):
        return None
    outputs, _, inner = weight.shape
    shape = (*build.spec(x).shape[:-1], outputs, inner)
    spec = TensorSpec(shape, build.spec(x).dtype)
    lead = tuple(range(10, 10 + len(shape) - 2))
    first = build.call(call.target, call.args, call.kwargs, spec)
    product = Product(x, (*lead, 0), weight, (1, 0, 2), (*lead, 1, 2))
    applied = contract(build, first, name, source, product)
    if applied is None:
        return None
    z_shape = (*(build.spec(z).shape if isinstance(z, Ref) else z.shape), 1)
    if isinstance(z, Ref):
        raised = build.call(_aten.unsqueeze.default, (z, -1), {}, TensorSpec(z_shape, spec.dtype))
        z = build.digital(f"{name}.column", raised, source)
    else:
        z = z.unsqueeze(-1)
    columns = TensorSpec((*shape[:-1], 1), spec.dtype)
    total = build.digital(
        f"{name}.product", build.call(_aten.matmul.default, (applied, z), {}, columns), source
    )
    flat = build.call(_aten.squeeze.dim, (total, -1), {}, call.output)
    result = build.digital(f"{name}.row", flat, source)
    if bias is None:
        return result
    added = build.call(_aten.add.Tensor, (result, bias), {}, call.output)
    return build.digital(f"{name}.bias", added, source)


def contract(
    build: GraphBuilder, call: Call, name: str, source: str, product: Product
) -> Ref | None:
    """Add a product of an activation and a constant.

    Parameters
    ----------
    build, name, source
        See `cimsim.frontends.recipes`.
    call : Call
        Its output is the value to build.
    product : Product

    Returns
    -------
    Ref or None
        None where nothing is summed (an elementwise product), an axis stands twice in one operand,
        or sizes are broadcast in a way that no matrix has: such a product is digital.
    """
    weight, own, other = product.weight, product.own, product.other
    if not isinstance(weight, Tensor):
        return None
    spec = build.spec(product.x)
    if torch.complex64 in (weight.dtype, getattr(torch, spec.dtype)):
        return _complex(build, call, name, source, product)
    twice = len(set(own)) < len(own) or len(set(other)) < len(other)
    if weight.dtype != torch.float32 or twice:
        return None
    sizes = dict(zip(own, spec.shape, strict=True))
    reduced = _constant_summed(product, sizes)
    if reduced is None:
        return None
    lost = [label for label in own if label not in product.out and label not in reduced.other]
    if lost:
        before = _activation_summed(build, name, source, reduced, lost)
        return contract(build, call, name, source, before)
    return _as_matrix(build, call, name, source, reduced, weight)


def _constant_summed(product: Product, sizes: dict[int, int]) -> Product | None:
    """Sum the constant over axes that it alone has, or of which the activation has one element.

    None where the product is no matrix.
    """
    own, other, out = product.own, product.other, product.out
    held = dict(zip(other, product.weight.shape, strict=True))
    # an axis of one element beside a longer one is broadcast: it is no axis
    dropped = [label for label in own if label in held and sizes[label] == 1 != held[label]]
    squeezed = [label for label in other if label in sizes and held[label] == 1 != sizes[label]]
    if any(sizes[label] != held[label] for label in own
           if label in held and label not in dropped and label not in squeezed):  # fmt: skip
        return None
    if any(label not in out for label in (*dropped, *squeezed)):
        return None  # a sum over a broadcast axis
    alone = [label for label in other if label not in out and label not in sizes]
    matrix = product.weight
    for label in sorted((*alone, *squeezed), key=other.index, reverse=True):
        matrix = matrix.sum(other.index(label))
    other = tuple(label for label in other if label not in alone and label not in squeezed)
    if not any(label in sizes and label not in out for label in other):
        return None
    return replace(product, weight=matrix, other=other)


def _activation_summed(
    build: GraphBuilder, name: str, source: str, product: Product, lost: Sequence[int]
) -> Product:
    """Sum the activation over axes before: the matrix is then applied to fewer windows."""
    spec = build.spec(product.x)
    kept = [i for i, label in enumerate(product.own) if label not in lost]
    axes = [product.own.index(label) for label in lost]
    summed_spec = TensorSpec(tuple(spec.shape[i] for i in kept), spec.dtype)
    added = build.call(_aten.sum.dim_IntList, (product.x, axes), {}, summed_spec)
    x = build.digital(f"{name}.sum", added, source)
    return replace(product, x=x, own=tuple(product.own[i] for i in kept))


def _as_matrix(
    build: GraphBuilder, call: Call, name: str, source: str, product: Product, given: Tensor
) -> Ref:
    """Add the matrix, or one with blocks on its diagonal, and what brings axes to their places.

    ``given`` is the network's own constant, of which the product's may be a sum.
    """
    own, other, out = product.own, product.other, product.out
    sizes = dict(zip(own, build.spec(product.x).shape, strict=True))
    held = dict(zip(other, product.weight.shape, strict=True))
    own_left = tuple(
        label for label in own if not (label in held and sizes[label] == 1 != held[label])
    )
    groups = [label for label in own_left if label in other and label in out]
    rows = [label for label in own_left if label in other and label not in out]
    windows = [label for label in own_left if label not in other]
    columns = [label for label in other if label not in own_left]
    total = sizes | held

    def size(labels: Sequence[int]) -> int:
        return math.prod(total[label] for label in labels)

    where = [other.index(label) for label in (*groups, *rows, *columns)]
    matrix = product.weight.permute(where).reshape(size(groups), size(rows), size(columns))
    build_at = _Steps(build, name, source)
    batch = build.batch
    lead = batch if windows and size(windows) % batch == 0 else 1
    how = ("contract", own, other, out)
    flat: tuple[int, ...]
    if size(groups) == 1:
        flat = (lead, size(windows) // lead, size(rows))
        x = build_at.arranged(product.x, own_left, [*windows, *groups, *rows], sizes, own, flat)
        op = linear_op(build.unique(name), x.name, build.spec(x), matrix[0])
        y = build.matrix(replace(op, source=source), given, None, how)
    else:
        flat = (lead, size(windows) // lead, 1, size(groups) * size(rows))
        x = build_at.arranged(product.x, own_left, [*windows, *groups, *rows], sizes, own, flat)
        x = build_at.permuted(x, (0, 3, 2, 1), "channels")
        n, r, c = matrix.shape
        kernel = matrix.permute(0, 2, 1).reshape(n * c, r, 1, 1)
        op = conv2d_op(build.unique(name), x.name, build.spec(x), kernel, groups=n)
        y = build.matrix(replace(op, source=source, kind="grouped"), given, None, how)
        y = build_at.permuted(y, (0, 3, 2, 1), "last")
    order = [*windows, *groups, *columns]
    y = build_at.reshaped(y, tuple(total[label] for label in order), "axes")
    y = build_at.permuted(y, tuple(order.index(label) for label in out if label in order), "order")
    if build.spec(y).shape != call.output.shape:
        y = build_at.reshaped(y, call.output.shape, "shape")
    return y


def _complex(
    build: GraphBuilder, call: Call, name: str, source: str, product: Product
) -> Ref | None:
    """Contract complex numbers as pairs of real ones: a + ib is applied as [[a, b], [-b, a]]."""
    x, own, weight = product.x, product.own, product.weight
    other, out = product.other, product.out
    spec = build.spec(x)
    pair = max((*own, *other, *out)) + 1
    given, made = (pair,), (pair + 1,)  # labels of the two parts, of the activation and the result
    if spec.dtype == "complex64":
        parts = TensorSpec((*spec.shape, 2), "float32")
        x = build.digital(
            f"{name}.parts", build.call(_aten.view_as_real.default, (x,), {}, parts), source
        )
        own = own + given
    matrix = weight
    if weight.dtype == torch.complex64:
        real, imaginary = weight.real, weight.imag
        matrix = torch.stack([real, imaginary], -1)
        if spec.dtype == "complex64":
            matrix = torch.stack([matrix, torch.stack([-imaginary, real], -1)], -2)
            other = other + given
        matrix = build.parameters.computed(f"{build.parameters.label(weight)}.parts", matrix)
        other = other + made
    elif weight.dtype == torch.float32:
        made = given
    else:
        return None
    both = TensorSpec((*call.output.shape, 2), "float32")
    inside = build.call(call.target, call.args, call.kwargs, both)
    applied = contract(build, inside, name, source, Product(x, own, matrix, other, out + made))
    if applied is None:
        return None
    halves = [
        build.digital(
            f"{name}.{what}",
            build.call(
                _aten.select.int, (applied, len(both.shape) - 1, i), {},
                TensorSpec(call.output.shape, "float32"),
            ),
            source,
        )
        for i, what in enumerate(("real", "imaginary"))
    ]  # fmt: skip
    joined = build.call(_aten.complex.default, tuple(halves), {}, call.output)
    return build.digital(f"{name}.joined", joined, source)


class _Steps:
    """Adds data movements, and none where nothing moves."""

    def __init__(self, build: GraphBuilder, name: str, source: str) -> None:
        self.build, self.name, self.source = build, name, source

    def arranged(
        self, x: Ref, labels: Labels, order: Sequence[int], sizes: dict[int, int], own: Labels,
        flat: tuple[int, ...],
    ) -> Ref:  # fmt: skip
        """Bring axes in an order and join them to the shape ``flat``."""
        if labels != own:
            x = self.reshaped(x, tuple(sizes[label] for label in labels), "squeezed")
        x = self.permuted(x, tuple(labels.index(label) for label in order), "rows")
        return self.reshaped(x, flat, "flat")

    def permuted(self, x: Ref, order: tuple[int, ...], what: str) -> Ref:
        spec = self.build.spec(x)
        if order == tuple(range(len(order))):
            return x
        moved = TensorSpec(tuple(spec.shape[i] for i in order), spec.dtype)
        call = self.build.call(_aten.permute.default, (x, list(order)), {}, moved)
        return self.build.digital(f"{self.name}.{what}", call, self.source)

    def reshaped(self, x: Ref, shape: tuple[int, ...], what: str) -> Ref:
        spec = self.build.spec(x)
        if spec.shape == shape:
            return x
        if math.prod(shape) != math.prod(spec.shape):
            raise GraphError(f"{self.name}: cannot bring {list(spec.shape)} to {list(shape)}")
        call = self.build.call(
            _aten.reshape.default, (x, list(shape)), {}, TensorSpec(shape, spec.dtype)
        )
        return self.build.digital(f"{self.name}.{what}", call, self.source)
