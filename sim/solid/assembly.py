"""Sparse matrices over the free unknowns, from blocks whose places are known and from contact, whose places change.

Factorisation is by rslab: supernodal LDL^T and LU with the symbolic part apart, so that a pattern is analysed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import rslab
import scipy.sparse as sp
from numpy.typing import NDArray

ORDERING = "amf"
"""Minimum fill: a step of 10,000 unknowns takes 20 % less time than with minimum degree, one of 1,000 the same."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def sums(places: Ints, values: Floats, count: int) -> Floats:
    """What falls on each of `count` places, added up in order [count]."""
    return np.bincount(places, values, count).astype(np.float64, copy=False)


def _joined(keys: Ints, more: Ints) -> Ints:
    """Ascending keys with more of them, which are none of them yet but may repeat; much faster than numpy's union."""
    more = np.sort(more)
    more = more[np.append(True, more[1:] != more[:-1])]
    return np.insert(keys, np.searchsorted(keys, more), more)


def blocks_times(patterns: Sequence[Ints], blocks: Sequence[Floats], vector: Floats) -> Floats:
    """The product of a sum of blocks `[m, k, k]` at the places that `patterns` `[m, k]` give, -1 where there is none, with a vector `[U]`."""
    count = len(vector)
    out = np.zeros(count + 1)  # the last entry is what a missing unknown, -1, finds
    padded = np.append(vector, 0.0)
    for pattern, block in zip(patterns, blocks, strict=True):
        out += np.bincount(
            np.where(pattern >= 0, pattern, count).ravel(),
            np.einsum("mij,mj->mi", block, padded[pattern]).ravel(),
            count + 1,
        )
    return out[:-1]


class Triplets(NamedTuple):
    """A sparse matrix [U, U] as rows, columns and values; entries of one place add up."""

    rows: Ints
    columns: Ints
    values: Floats

    def times(self, vector: Floats) -> Floats:
        """Its product with a vector [U]."""
        return sums(self.rows, self.values * vector[self.columns], len(vector))

    def transposed(self) -> Triplets:
        """Its transpose."""
        return Triplets(self.columns, self.rows, self.values)


class Pattern:
    """The places of a symmetric matrix [n, n] whose lower triangle is stored column by column.

    Args:
        keys: `column * n + row` of every place on or below the diagonal, ascending.
        n: size of the matrix.
    """

    def __init__(self, keys: Ints, n: int) -> None:
        self.keys, self.n = keys, n
        self.on_diagonal = keys % (n + 1) == 0
        self._symbolic: rslab.LdltSymbolic | None = None
        self._lu: rslab.LuSymbolic | None = None
        self._general: tuple[Ints, Ints, Ints, Ints] | None = None

    def lower(self, data: Floats) -> sp.csc_matrix:
        """The lower triangle with values `data`."""
        columns, rows = np.divmod(self.keys, self.n)
        indptr = np.searchsorted(columns, np.arange(self.n + 1))
        return sp.csc_matrix((data, rows, indptr), (self.n, self.n))

    def lu(self, data: Floats, extra: Triplets) -> rslab.Lu | None:
        """L U of the symmetric matrix plus `extra` [n, n], whose places and their mirror images are in the pattern; None if it is singular."""
        if self._general is None:
            self._general = self._mirrored()
        keys, lower, upper, below = self._general
        values = sums(np.searchsorted(keys, extra.columns * self.n + extra.rows), extra.values, len(keys))
        values[lower] += data
        values[upper] += data[below]
        if not np.isfinite(values).all():
            return None
        try:
            if self._lu is None:
                columns, rows = np.divmod(keys, self.n)
                matrix = sp.csc_matrix((values, rows, np.searchsorted(columns, np.arange(self.n + 1))), (self.n, self.n))
                self._lu = rslab.analyze(matrix, path="lu", ordering=ORDERING)
            return self._lu.factor(values)
        except RuntimeError:
            return None

    def _mirrored(self) -> tuple[Ints, Ints, Ints, Ints]:
        """The keys of both triangles, where the lower one and what is above the diagonal lie among them, and what that mirrors."""
        columns, rows = np.divmod(self.keys, self.n)
        below = np.flatnonzero(columns != rows)
        below = below[np.lexsort((columns[below], rows[below]))]  # in the order in which the mirror images lie
        low, high = self.keys, rows[below] * self.n + columns[below]
        lower = np.arange(len(low)) + np.searchsorted(high, low)
        upper = np.arange(len(high)) + np.searchsorted(low, high)
        keys = np.empty(len(low) + len(high), dtype=np.int64)
        keys[lower], keys[upper] = low, high
        return keys, lower, upper, below

    def factor(self, data: Floats) -> rslab.Ldlt | None:
        """L D L^T of the matrix; None where it is singular or not finite."""
        if not np.isfinite(data).all():
            return None
        if self._symbolic is None:
            self._symbolic = rslab.analyze(self.lower(data), path="ldlt", ordering=ORDERING)
        try:
            return self._symbolic.factor(data)
        except RuntimeError:  # a pivot that is zero
            return None


class Assembly:
    """Sums blocks into the matrix of the free unknowns.

    Args:
        free: which of the U unknowns are free, bool `[U]`.
        patterns: tables of unknowns `[m, k]`, one for each kind of block; -1 where there is none.
    """

    def __init__(self, free: NDArray[np.bool_], patterns: Sequence[Ints]) -> None:
        self.count = len(free)
        self.free = np.flatnonzero(free)
        self.n = len(self.free)
        self.place = np.full(self.count + 1, -1, dtype=np.int64)  # the last entry is what a missing unknown, -1, finds
        self.place[self.free] = np.arange(self.n)
        self.patterns = [np.asarray(pattern, dtype=np.int64) for pattern in patterns]
        found = [self._keys(pattern) for pattern in self.patterns]
        diagonal = np.arange(self.n) * (self.n + 1)
        keys = np.unique(np.concatenate([diagonal, *(key[key >= 0] for key in found)]))
        self.pattern = Pattern(keys, self.n)
        flat = np.concatenate([key.ravel() for key in found])
        taken = np.flatnonzero(flat >= 0)
        # A product with this adds the entries of all blocks up; it takes a third of the time of a bincount.
        ones = np.ones(len(taken))
        self._gather = sp.csr_matrix((ones, (np.searchsorted(keys, flat[taken]), taken)), (len(keys), len(flat)))

    def _keys(self, pattern: Ints) -> Ints:
        """`column * n + row` of every entry of every block [m, k, k], -1 above the diagonal and where an unknown is missing or not free."""
        at = self.place[pattern]
        rows, columns = at[:, :, None], at[:, None, :]
        return np.where((rows >= columns) & (columns >= 0), columns * self.n + rows, -1)

    def sum(self, blocks: Sequence[Floats]) -> Floats:
        """The values of the matrix at the places of `pattern`, from blocks `[m, k, k]` in the order of `patterns`."""
        return self._gather @ np.concatenate([block.ravel() for block in blocks])

    def times(self, blocks: Sequence[Floats], vector: Floats) -> Floats:
        """The product of the whole matrix [U, U], fixed unknowns included, with a vector `[U]`."""
        return blocks_times(self.patterns, blocks, vector)

    def reduced(self, matrix: Triplets) -> Triplets:
        """A matrix among the free unknowns [n, n]."""
        rows, columns = self.place[matrix.rows], self.place[matrix.columns]
        kept = (rows >= 0) & (columns >= 0)
        return Triplets(rows[kept], columns[kept], matrix.values[kept])


class Growing:
    """The pattern of one step: what the bodies need, and what contacts added so far."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._pattern = assembly.pattern
        self._old_at: Ints | slice = slice(None)

    def matrix(self, blocks: Sequence[Floats], contact: Sequence[Triplets]) -> tuple[Pattern, Floats]:
        """The sum of blocks and of symmetric matrices [U, U], as a pattern and its values; the pattern grows where it must."""
        assembly = self._assembly
        data = assembly.sum(blocks)
        if not contact:
            return assembly.pattern, data
        entries = [assembly.reduced(matrix) for matrix in contact]
        rows, columns, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        low = rows >= columns
        keys, values = columns[low] * assembly.n + rows[low], values[low]
        at = np.searchsorted(self._pattern.keys, keys)
        known = self._pattern.keys[np.minimum(at, len(self._pattern.keys) - 1)] == keys
        if not known.all():
            self._pattern = Pattern(_joined(self._pattern.keys, keys[~known]), assembly.n)
            self._old_at = np.searchsorted(self._pattern.keys, assembly.pattern.keys)
            at = np.searchsorted(self._pattern.keys, keys)
        total = sums(at, values, len(self._pattern.keys))
        total[self._old_at] += data
        return self._pattern, total
