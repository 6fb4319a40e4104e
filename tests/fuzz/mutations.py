"""Mutations that know the structure: trees of plain data, texts of options, bytes of files."""

import copy

from hypothesis import strategies as st

NUMBERS = st.one_of(
    st.integers(-5, 5), st.integers(), st.integers(10**19, 10**25), st.just(2**31), st.just(2**63),
    st.floats(), st.floats(0, 2), st.sampled_from([1e300, 1e-300, 1e19, -0.0, 8e12, 1e308]),
)  # fmt: skip
UNITS = (
    "J",
    "s",
    "nS",
    "pJ",
    "um2",
    "mm2",
    "%",
    "GHz",
    "d",
    "C",
    "K",
    "KiB",
    "ohm",
    "J/B",
    "kg",
    "",
)
QUANTITIES = st.builds(
    "{}{}{}".format,
    st.one_of(
        NUMBERS, st.sampled_from(["²", "1e", "1..2", "--1", "0x1f", "1_0", "nan", "9" * 5000])
    ),
    st.sampled_from(["", " ", "\t"]),
    st.sampled_from(UNITS),
)
WORDS = st.sampled_from(
    ["auto", "auto nobody", "sar", "ideal", "pcm", "rram", "table", "dram", "calibrated", "mesh",
     "", "\0", "\ud800", "é", "x" * 5000, "{}", "[", "..", "/dev/zero", "a/b", "null", "true"]
)  # fmt: skip
LEAVES = st.one_of(NUMBERS, QUANTITIES, WORDS, st.none(), st.booleans(), st.text(max_size=20))


ODD = [b"\xff", b"\0", b";", b",", b"\t", b'"', b"nan", b"9" * 400, b"[" * 900, b"1e999"]


def nested(depth):
    """Lists inside each other."""
    found = []
    for _ in range(depth):
        found = [found]
    return found


VALUES = st.one_of(
    LEAVES,
    st.lists(LEAVES, max_size=3),
    st.dictionaries(st.one_of(WORDS, st.text(max_size=8)), LEAVES, max_size=3),
    st.sampled_from([3, 30, 900]).map(nested),
)


def paths(tree, at=()):
    """Every place in a tree."""
    yield at
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in parts if isinstance(tree, dict | list) else ():
        if isinstance(value, dict | list):
            yield from paths(value, (*at, key))
        else:
            yield (*at, key)


def get(tree, path):
    for key in path:
        tree = tree[key]
    return tree


@st.composite
def mutated(draw, tree, most=4):
    """A tree with some places changed, deleted, copied from elsewhere, renamed, doubled."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, most))):
        places = [path for path in paths(tree) if path]
        if not places:
            break
        path = draw(st.sampled_from(places))
        above, key = get(tree, path[:-1]), path[-1]
        match draw(st.sampled_from(["value", "value", "number", "delete", "move", "add", "swap"])):
            case "value":
                above[key] = draw(VALUES)
            case "number":
                above[key] = draw(NUMBERS)
            case "delete":
                del above[key]
            case "move":
                above[key] = copy.deepcopy(get(tree, draw(st.sampled_from(places))))
            case "swap":
                other = draw(st.sampled_from(places))
                there = get(tree, other[:-1])
                above[key], there[other[-1]] = there[other[-1]], copy.deepcopy(above[key])
            case "add":
                if isinstance(above, dict):
                    above[draw(st.one_of(WORDS, st.text(max_size=8)))] = draw(VALUES)
                else:
                    above.insert(key, draw(VALUES))
    return tree


@st.composite
def damaged(draw, content, most=8):
    """Bytes with some changed, cut out, doubled, or the end missing."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        end = min(len(data), at + draw(st.integers(1, 40)))
        match draw(st.sampled_from(["flip", "set", "cut", "double", "end", "insert"])):
            case "flip":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set":
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at:end]
            case "double":
                data[at:at] = data[at:end]
            case "end":
                del data[end:]
            case "insert":
                data[at:at] = draw(st.sampled_from(ODD))
    return bytes(data)
