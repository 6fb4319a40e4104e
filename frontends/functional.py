"""Whether an exported program can be read as it is, in-place operators included.

torch's own way to a functional program (``run_decompositions``) takes longer than the export. It
is needed when an in-place write could be seen through another name, or when the program holds
operators that it would take apart; an activation that overwrites a fresh result is neither.
"""

from __future__ import annotations

from collections.abc import Container

import torch
from torch.fx import Graph, Node

from cimsim.frontends.aten import TABLE, packet
from cimsim.frontends.recipes import RECIPES

# Elementwise operators that return their input when there is nothing to do.
_MAY_ALIAS = {"aten.to", "aten._to_copy"}
# Operators besides the elementwise ones whose result shares no memory with anything.
_FRESH = {*RECIPES, "aten.batch_norm", "aten.cat", "aten.max_pool2d", "aten.avg_pool2d"}


def is_functional(graph: Graph, known: Container[str]) -> bool:
    """Tell whether each call of ``graph`` is in ``known`` and writes nothing that others read.

    Parameters
    ----------
    graph : torch.fx.Graph
    known : container of str
        Operators (``aten.relu``) that the importer understands as they are.
    """
    for node in graph.nodes:
        if node.op == "get_attr":
            return False
        if node.op != "call_function":
            continue
        if _writes(node) and not _overwrites_fresh(node):
            return False
        if node.users and packet(target_of(node)) not in known:
            return False
    return True


def target_of(node: Node) -> object:
    """Return the operator of ``node``; for an in-place one (``relu_``) its functional twin."""
    name = packet(node.target)
    if not name.startswith("aten.") or not name.endswith("_") or name.endswith("__"):
        return node.target
    twin = getattr(torch.ops.aten, name.removeprefix("aten.")[:-1], None)
    overload = getattr(node.target, "_overloadname", "default")
    return node.target if twin is None else getattr(twin, overload, node.target)


def _writes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _overwrites_fresh(node: Node) -> bool:
    """Tell whether an in-place activation writes on a fresh result that nothing else reads."""
    sources = node.all_input_nodes
    rule = TABLE.get(packet(target_of(node)))
    if rule is None or not rule.elementwise or len(sources) != 1 or len(sources[0].users) != 1:
        return False
    if not node.users:
        # a write that nobody reads here is read through another name
        return False
    name = packet(target_of(sources[0]))
    made_by = TABLE.get(name)
    fresh = made_by is not None and made_by.elementwise and name not in _MAY_ALIAS
    return sources[0].op == "call_function" and (fresh or name in _FRESH)
