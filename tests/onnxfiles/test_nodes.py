"""Every operator against the examples that ONNX publishes with its definition."""

import warnings
from functools import cache

import numpy as np
import pytest
import torch

import cimsim
from cimsim.errors import CimsimError

onnx = pytest.importorskip("onnx")

from cimsim.frontends.onnx.file import NEWEST, OLDEST  # noqa: E402
from cimsim.frontends.onnx.operators import OPERATORS  # noqa: E402

KINDS = ("FLOAT", "INT64", "INT32", "BOOL", "UINT8", "INT8")
# 0 / 0 is told as 0 only by a newer opset
LEFT_OUT = {"test_l2normalization_axis_0"}
# what is refused in words: see docs/onnx.md
REFUSED = (
    "is not supported", "are not supported", "depends on the values", "drops values at random",
    "takes the statistics of each batch", "no whole size", "holds uint", "newer opset",
    "expected predicate to be bool", "has no element", "which is not supported",
)  # fmt: skip


@cache
def examples():
    """Return model, inputs and outputs of each example that has known kinds and operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    known = {getattr(onnx.TensorProto, kind) for kind in KINDS}
    found = []
    for case in cases:
        graph, versions = case.model.graph, case.model.opset_import
        own = [entry.version for entry in versions if entry.domain == ""]
        values = [*graph.input, *graph.output]
        if (
            len(own) == 1 and own[0] <= NEWEST and graph.input and case.name not in LEFT_OUT
            and all(node.op_type in OPERATORS and not node.domain for node in graph.node)
            and all(v.type.tensor_type.elem_type in known for v in values)
        ):  # fmt: skip
            found.append(case)
    return found


def run(case, path, kept):
    """Load an example with its first inputs as inputs and the others as constants."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for entry in model.opset_import:
        entry.version = max(entry.version, OLDEST)
    given, want = case.data_sets[0]
    names = [value.name for value in model.graph.input]
    for name, value in list(zip(names, given, strict=False))[kept:]:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    path.write_bytes(model.SerializeToString())
    network = cimsim.load_onnx(path)
    inputs = []
    for value, one in zip(given[:kept], network._model.inputs, strict=False):
        array = np.asarray(value)
        inputs.append(torch.from_numpy(array.astype(np.int64 if one.whole else np.float32)))
    with torch.no_grad():
        got = network(*inputs)
    return (got if isinstance(got, tuple) else (got,)), want


def check(cases, path):
    refused = right = 0
    for case in cases:
        problems = []
        for kept in (len(case.model.graph.input), 1):
            try:
                got, want = run(case, path, kept)
            except CimsimError as error:
                problems.append(str(error))
                continue
            for one, other in zip(got, want, strict=True):
                np.testing.assert_allclose(
                    one.numpy().astype(np.float64), np.asarray(other).astype(np.float64),
                    rtol=1e-3, atol=1e-5, err_msg=case.name,
                )  # fmt: skip
            right += 1
            break
        else:
            assert any(word in problems[-1] for word in REFUSED), (case.name, problems)
            refused += 1
    return right, refused


@pytest.mark.slow
def test_all_examples(tmp_path):
    right, refused = check(examples(), tmp_path / "node.onnx")
    assert right > 600
    assert refused < 0.2 * right


@pytest.mark.slow
def test_examples(tmp_path):
    """One of each operator."""
    first = {}
    for case in examples():
        first.setdefault(frozenset(node.op_type for node in case.model.graph.node), case)
    assert len(first) > 90
    right, _ = check(first.values(), tmp_path / "node.onnx")
    assert right > 0.9 * len(first)


FORMS = {
    "silu": [("Sigmoid", ["x"]), ("Mul", ["x", 0])],
    "hardswish": [("Add", ["x", 3.0]), ("Clip", [0, 0.0, 6.0]), ("Mul", ["x", 1]),
                  ("Div", [2, 6.0])],
    "gelu": [("Mul", ["x", 0.5**0.5]), ("Erf", [0]), ("Add", [1, 1.0]), ("Mul", ["x", 0.5]),
             ("Mul", [3, 2])],
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("read", [False, True])
def test_groups_of_nodes_become_a_layer_where_nothing_else_reads_them(name, read, tmp_path):
    helper, constants, nodes = onnx.helper, [], []
    for i, (kind, inputs) in enumerate(FORMS[name]):
        names = []
        for one in inputs:
            if isinstance(one, float):
                constants.append(
                    onnx.numpy_helper.from_array(np.float32(one), f"c{len(constants)}")
                )
                names.append(constants[-1].name)
            else:
                names.append("x" if one == "x" else f"v{one}")
        nodes.append(helper.make_node(kind, names, [f"v{i}"]))
    outputs = [f"v{len(nodes) - 1}", *(["v0"] if read else [])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 7])],
        [helper.make_tensor_value_info(out, 1, [1, 7]) for out in outputs], constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 14)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    (tmp_path / "f.onnx").write_bytes(model.SerializeToString())
    x = torch.linspace(-4, 4, 7)[None]
    traced = cimsim.trace(cimsim.load_onnx(tmp_path / "f.onnx"), (x,))
    want = getattr(torch.nn.functional, name)(x)
    torch.testing.assert_close(traced.reference(x)[0], want)
    found = [op.op for op in traced.digital_ops]
    assert (found == [name]) is not read
