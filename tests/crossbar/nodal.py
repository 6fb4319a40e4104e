"""Nodal analysis of a crossbar, assembled resistor by resistor: slow and easy to believe."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu


def resistors(g, r_word, r_bit, r_driver, r_sense):
    """Every element as (node, node, resistance); cells as (node, node, 1 / conductance)."""
    rows, cols = g.shape
    for i in range(rows):
        yield ("source", i), ("u", i, 0), r_driver
        for j in range(cols - 1):
            yield ("u", i, j), ("u", i, j + 1), r_word
    for j in range(cols):
        for i in range(rows - 1):
            yield ("v", i, j), ("v", i + 1, j), r_bit
        yield ("v", rows - 1, j), ("ground", j), r_sense
    for i in range(rows):
        for j in range(cols):
            if g[i, j] > 0:
                yield ("u", i, j), ("v", i, j), 1 / g[i, j]


class Nodal:
    """A crossbar as a sparse system; wires of 0 ohm make two nodes one."""

    def __init__(self, g, r_word, r_bit, r_driver, r_sense):
        self.rows, self.cols = g.shape
        self.parts = list(resistors(g, r_word, r_bit, r_driver, r_sense))
        self._merge()
        names = {self.find(node) for a, b, _ in self.parts for node in (a, b)}
        self.unknown = sorted(n for n in names if n[0] in "uv")
        self.index = {node: k for k, node in enumerate(self.unknown)}
        self._assemble()

    def _merge(self):
        self.parent = {}
        for a, b, r in self.parts:
            if r == 0:
                a, b = sorted((self.find(a), self.find(b)), key=lambda n: n[0] in "uv")
                self.parent[b] = a  # a known potential wins

    def find(self, node):
        while node in self.parent:
            node = self.parent[node]
        return node

    def _assemble(self):
        entries = []
        self.into = []  # (known node, unknown or known node, conductance)
        for a, b, r in self.parts:
            a, b = self.find(a), self.find(b)
            if a == b:
                continue
            for one, other in ((a, b), (b, a)):
                if one in self.index:
                    k = self.index[one]
                    entries.append((k, k, 1 / r))
                    if other in self.index:
                        entries.append((k, self.index[other], -1 / r))
                else:
                    self.into.append((one, other, 1 / r))
        n = len(self.unknown)
        i, j, y = zip(*entries, strict=True) if entries else ((), (), ())
        self.matrix = coo_matrix((y, (i, j)), shape=(n, n)).tocsc()

    def solve(self, v):
        """Return (potential of a node, currents into the grounds, currents out of the drivers)."""
        v = np.asarray(v, float)
        rhs = np.zeros(len(self.unknown))
        for known, other, y in self.into:
            if known[0] == "source" and other in self.index:
                rhs[self.index[other]] += y * v[known[1]]
        x = splu(self.matrix).solve(rhs) if len(rhs) else rhs

        def potential(node):
            node = self.find(node)
            if node in self.index:
                return x[self.index[node]]
            return v[node[1]] if node[0] == "source" else 0.0

        sunk, drawn = np.zeros(self.cols), np.zeros(self.rows)
        for known, other, y in self.into:
            current = y * (potential(other) - potential(known))
            if known[0] == "ground":
                sunk[known[1]] += current
            else:
                drawn[known[1]] -= current
        return potential, sunk, drawn

    def operator(self):
        """Return A [rows, cols], S."""
        return np.stack([self.solve(row)[1] for row in np.eye(self.rows)])
