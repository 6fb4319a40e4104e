"""YAML: seven kinds of values, limits before anything is built, each key once."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Hashable

import yaml

from cimsim.boundary import tree
from cimsim.boundary.limits import DIGITS, Limits, shown

_Base: type[yaml.SafeLoader] = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml reads long lists faster
_TAG = "tag:yaml.org,2002:"
_OFTEN = 50_000  # characters of a text that is remembered
# what YAML 1.1 reads as another number than people do: 0512 is octal, 1:30 is 90
_OTHER_BASE = re.compile(r"[-+]?(0[0-9_]+|[0-9][0-9_.]*:.*)")
_KNOWN = {_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


class _Loader(_Base):  # type: ignore[misc,valid-type]
    """SafeLoader that refuses a key given twice instead of keeping the last one."""


def _unique_keys(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Hashable, object]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        line = key_node.start_mark.line + 1
        if not isinstance(key, Hashable) or not isinstance(key, str):
            raise yaml.YAMLError(f"line {line}: key {shown(key)} is no text")
        if key in seen:
            raise yaml.YAMLError(f"line {line}: key {shown(key)[1:-1]!r} stands twice")
        seen.add(key)
    mapping: dict[Hashable, object] = loader.construct_mapping(node, deep=True)
    return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_keys)


def load(text: str, limits: Limits, *, finite: bool = False) -> object:
    """Parse YAML.

    Parameters
    ----------
    text : str
    limits : Limits
        Depth and number of values are checked on the parser's events, before anything is built.
    finite : bool
        Refuse NaN and infinities.

    Raises
    ------
    ValueError
        One line: where, what came, what is right.
    """
    if len(text) > limits.n_bytes:
        raise ValueError(f"more than {limits.n_bytes:,} characters")
    parsed = _parsed if len(text) <= _OFTEN else _parsed.__wrapped__
    return copy.deepcopy(parsed(text, limits, finite))


@functools.lru_cache(64)  # chips are read over and over with a few fields changed
def _parsed(text: str, limits: Limits, finite: bool) -> object:
    try:
        _check_events(text, limits)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_nodes(node, limits)
            data = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"not readable as YAML: {line}{error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"not readable as YAML: {' '.join(str(error).split())}") from None
    except _Refused as error:
        raise ValueError(str(error)) from None
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        # constructors of the library do not check what a tag such as !!int is put before
        raise ValueError(
            f"not readable as YAML: a value that its tag does not fit ({error})"
        ) from None
    tree.check(data, limits, finite=finite)
    return data


class _Refused(Exception):
    """Passes through the handlers of the parser's own errors."""


def _check_events(text: str, limits: Limits) -> None:
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_Base)):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > limits.depth + 1:
                raise _Refused(f"line {line}: nested deeper than {limits.depth} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            digits = event.value.lstrip("+-").replace("_", "")
            if len(digits) > DIGITS and digits.isdecimal():
                raise _Refused(
                    f"line {line}: a number of {len(digits)} digits; expected at most {DIGITS}"
                )
        if nodes > 2 * limits.nodes:
            raise _Refused(f"more than {limits.nodes:,} values")


def _check_nodes(root: yaml.Node, limits: Limits) -> None:
    """Refuse aliases that lead back to themselves or repeat too much, and unknown tags."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()
    stack: list[tuple[yaml.Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            open_.discard(id(node))
            size = 1 + sum(sizes[id(child)] for child in _children(node))
            if size > limits.nodes:
                raise _Refused(
                    f"line {node.start_mark.line + 1}: more than {limits.nodes:,} values, what "
                    "aliases repeat included"
                )
            sizes[id(node)] = size
            continue
        if id(node) in open_:
            raise _Refused(f"line {node.start_mark.line + 1}: an alias that holds itself")
        if id(node) in sizes:
            continue
        _check_number(node)
        if node.tag not in _KNOWN:
            what = node.tag.replace(_TAG, "!!")
            raise _Refused(
                f"line {node.start_mark.line + 1}: expected text, numbers, lists and mappings, got "
                f"{shown(what)[1:-1]} {shown(node.value) if isinstance(node.value, str) else ''}; "
                "put it into quotes if it is a text"
            )
        open_.add(id(node))
        stack.append((node, True))
        stack.extend((child, False) for child in _children(node))


def _check_number(node: yaml.Node) -> None:
    """Refuse a number that is octal or of base 60 by an old rule that few know."""
    if node.tag in (_TAG + "int", _TAG + "float") and _OTHER_BASE.fullmatch(node.value):
        kind = "base 60" if ":" in node.value else "octal"
        raise _Refused(
            f"line {node.start_mark.line + 1}: {shown(node.value)[1:-1]} is {kind} in YAML; write "
            "a decimal number, or put it into quotes if it is a text"
        )


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
