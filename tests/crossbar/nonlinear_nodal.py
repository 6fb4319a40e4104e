"""Nodal analysis of a crossbar of non-linear cells by Newton's method on all nodes at once.

Written from the circuit's text: slow, sparse LU, and nothing shared with the solver under test.
"""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

from tests.crossbar.nodal import resistors


def steepness_of(nonlinearity):
    return 2 * np.arccosh(nonlinearity / 2)


def h(v, nonlinearity):
    """Current of a cell of 1 S at a voltage over the read voltage."""
    a = steepness_of(nonlinearity)
    return np.sinh(a * v) / np.sinh(a) if a > 0 else np.asarray(v, float)


def slope(v, nonlinearity):
    a = steepness_of(nonlinearity)
    return a * np.cosh(a * v) / np.sinh(a) if a > 0 else np.ones_like(v)


class NonlinearNodal:
    """Wires as resistors, wires of 0 ohm as one node, cells as two-terminal curves."""

    def __init__(self, g, nonlinearity, r_word, r_bit, r_driver, r_sense):
        self.g, self.k = g, nonlinearity
        self.rows, self.cols = g.shape
        wires = list(resistors(np.zeros_like(g), r_word, r_bit, r_driver, r_sense))
        self.parent = {}
        for a, b, r in wires:
            if r == 0:
                # a source or a ground stays what it is
                a, b = sorted((self.find(a), self.find(b)), key=lambda n: n[0] in "uv")
                self.parent[b] = a
        self.wires = [(self.find(a), self.find(b), 1 / r) for a, b, r in wires if r > 0]
        places = [(i, j) for i in range(self.rows) for j in range(self.cols)]
        self.cells = [(self.find(("u", *p)), self.find(("v", *p)), g[p]) for p in places]
        nodes = {n for part in (self.wires, self.cells) for a, b, _ in part for n in (a, b)}
        self.index = {n: k for k, n in enumerate(sorted(n for n in nodes if n[0] in "uv"))}

    def find(self, node):
        while node in self.parent:
            node = self.parent[node]
        return node

    def _arrays(self, parts, v):
        """First node, second node (-1 if known), their known voltages, conductances."""
        at = np.array([[self.index.get(n, -1) for n in (a, b)] for a, b, _ in parts])
        known = np.array(
            [[v[n[1]] if n[0] == "source" else 0.0 for n in (a, b)] for a, b, _ in parts]
        )
        return at.reshape(-1, 2), known.reshape(-1, 2), np.array([y for _, _, y in parts])

    def solve(self, v):
        """Return currents into the virtual grounds per volt of read voltage, S."""
        n = len(self.index)
        at_w, known_w, y = self._arrays(self.wires, v)
        at_c, known_c, g = self._arrays(self.cells, v)

        def across(at, known, x):
            ends = np.where(at >= 0, np.append(x, 0.0)[at], known)
            return ends[:, 0] - ends[:, 1]

        def content(x):
            a = steepness_of(self.k)
            d = across(at_c, known_c, x)
            cell = (np.cosh(a * d) - 1) / (a * np.sinh(a)) if a > 0 else d**2 / 2
            return (y * across(at_w, known_w, x) ** 2).sum() / 2 + (g * cell).sum()

        def gradient(x):
            out = np.zeros(n + 1)
            cell = g * h(across(at_c, known_c, x), self.k)
            for at, current in ((at_w, y * across(at_w, known_w, x)), (at_c, cell)):
                np.add.at(out, at[:, 0], current)
                np.add.at(out, at[:, 1], -current)
            return out[:n]

        x = np.zeros(n)
        for _ in range(200 if n else 0):
            ends = [(at_w, y), (at_c, g * slope(across(at_c, known_c, x), self.k))]
            i, j, value = [], [], []
            for at, each in ends:
                for one, other in ((0, 1), (1, 0)):
                    i += [at[:, one], at[:, one]]
                    j += [at[:, one], at[:, other]]
                    value += [each, -each]
            i, j, value = map(np.concatenate, (i, j, value))
            keep = (i >= 0) & (j >= 0)
            matrix = coo_matrix((value[keep], (i[keep], j[keep])), shape=(n, n)).tocsc()
            step = splu(matrix).solve(-gradient(x))
            share, before = 1.0, content(x)
            while content(x + share * step) > before and share > 1e-3:
                share /= 2
            x = x + share * step
            if np.abs(step).max() < 1e-15:
                break
        current = g * h(across(at_c, known_c, x), self.k)
        # what the cells of a bit line give is what its virtual ground takes
        return current.reshape(self.rows, self.cols).sum(axis=0)
