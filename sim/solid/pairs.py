"""Pairs of surface elements in contact, all kinds in one table, with the geometry of their closest points.

The vector between the closest points of a pair of at most four vertices is `r = sum_j c_j x_j`, with `c = c0 + beta B`: `c0` `[4]` and
the directions `D = B x` `[2, 3]` belong to the kind of pair (vertex and vertex, edge, or face; edge and edge), and the two numbers `beta`
make `r` perpendicular to both directions. So one formula serves all kinds, and so does its derivative:
`(D D^T) dbeta = -(dD r + D sum_j c_j dx_j)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

import ipctk
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

# Where the two points may move: nowhere, or along the edge or the face of their element. Edge-edge pairs come first, in ipctk's order.
_V0, _V1, _V2, _V3 = np.eye(4)
_ON_FIRST, _ON_SECOND, _FIXED = _V1 - _V0, _V2 - _V3, np.zeros(4)
_KINDS = (
    (_V0 - _V2, _FIXED, _FIXED),
    (_V0 - _V3, _FIXED, _FIXED),
    (_V1 - _V2, _FIXED, _FIXED),
    (_V1 - _V3, _FIXED, _FIXED),
    (_V0 - _V2, _ON_FIRST, _FIXED),
    (_V0 - _V3, _ON_FIRST, _FIXED),
    (_V0 - _V2, _FIXED, _ON_SECOND),
    (_V1 - _V2, _FIXED, _ON_SECOND),
    (_V0 - _V2, _ON_FIRST, _ON_SECOND),
    (_V0 - _V1, _FIXED, _FIXED),
    (_V0 - _V1, _V1 - _V2, _FIXED),
    (_V0 - _V1, _V1 - _V2, _V1 - _V3),
)
_VERTEX_VERTEX, _VERTEX_EDGE, _VERTEX_FACE = 9, 10, 11
_C0 = np.array([k[0] for k in _KINDS])
_B = np.array([k[1:] for k in _KINDS])
_ABSENT = np.array([np.diag((~b.any(axis=1)).astype(float)) for b in _B])  # keeps the 2 x 2 systems of kinds with fewer directions regular


def outer(a: Array, b: Array) -> Array:
    """The products `a_j b_c` of rows `[n, j]` and `[n, c]`, flat: `[n, j c]`."""
    return (a[:, :, None] * b[:, None, :]).reshape(len(a), a.shape[1] * b.shape[1])


@dataclass(frozen=True)
class Closest:
    """Where `n` pairs are closest.

    Args:
        c: coefficients `[n, 4]` of the vertices in the vector from one point to the other.
        d: distances `[n]` [m].
        normal: unit vectors `[n, 3]`.
        B: `[n, 2, 4]`, how `c` depends on the two positions `beta` along the directions.
        D: the directions `[n, 2, 3]` [m].
        inverse: `[n, 2, 2]`, of `D D^T`.
    """

    c: Array
    d: Array
    normal: Array
    B: Array
    D: Array
    inverse: Array

    def position_rates(self) -> Array:
        """Derivatives of the positions `beta` with respect to the vertices `[n, 2, 12]`."""
        r = self.d[:, None] * self.normal
        M = np.einsum("nkj,nc->nkjc", self.B, r) + np.einsum("nj,nkc->nkjc", self.c, self.D)
        return -np.einsum("nkl,nli->nki", self.inverse, M.reshape(len(M), 2, 12))


@dataclass(frozen=True)
class Pairs:
    """A table of `n` pairs of surface elements.

    Args:
        vertices: `[n, 4]`, the first one repeated where a pair has fewer.
        kind: row of the table of kinds `[n]`.
        weight: the area that a pair stands for `[n]` [m^2].
        threshold: squared cross product of its edges below which an edge-edge pair fades out `[n]` [m^4]; 0 for others.
    """

    vertices: Ids
    kind: Ids
    weight: Array
    threshold: Array

    @classmethod
    def of(cls, found: ipctk.NormalCollisions, edges: Ids, faces: Ids, vertex_areas: Array) -> Pairs:
        """The pairs that ipctk found, in its order."""
        vv, ev, ee, fv = found.vv_collisions, found.ev_collisions, found.ee_collisions, found.fv_collisions
        a, b, c, n = np.cumsum([len(vv), len(ev), len(ee), len(fv)])
        vertices, kind = np.empty((n, 4), np.int64), np.empty(n, np.int64)
        weight, threshold = np.empty(n), np.zeros(n)
        kind[:a], kind[a:b], kind[c:] = _VERTEX_VERTEX, _VERTEX_EDGE, _VERTEX_FACE
        if vv:
            vertices[:a, :2] = list(map(attrgetter("vertex0_id", "vertex1_id"), vv))
            vertices[:a, 2:] = vertices[:a, :1]
            weight[:a] = [p.weight for p in vv]
        if ev:
            at = np.array(list(map(attrgetter("vertex_id", "edge_id"), ev)))
            vertices[a:b, 0], vertices[a:b, 1:3], vertices[a:b, 3] = at[:, 0], edges[at[:, 1]], at[:, 0]
            weight[a:b] = [p.weight for p in ev]
        if ee:
            at = np.array(list(map(attrgetter("edge0_id", "edge1_id"), ee)))
            vertices[b:c] = edges[at].reshape(-1, 4)
            kind[b:c] = [p.dtype.value for p in ee]
            weight[b:c] = [p.weight for p in ee]
            threshold[b:c] = [p.eps_x for p in ee]
        if fv:
            at = np.array(list(map(attrgetter("vertex_id", "face_id"), fv)))
            vertices[c:, 0], vertices[c:, 1:] = at[:, 0], faces[at[:, 1]]
            weight[c:] = vertex_areas[at[:, 0]] / 4  # what ipctk gave them; to ask every one of them takes ten times as long
        return cls(vertices, kind, weight, threshold)

    def ends(self) -> tuple[Ids, Ids]:
        """A vertex of the first and one of the second element of each pair, `[n]` both."""
        return self.vertices[:, 0], np.where(self.kind < _VERTEX_VERTEX, self.vertices[:, 2], self.vertices[:, 1])

    def closest(self, x: Array) -> Closest:
        """The closest points of the pairs, whose vertices are at `x` `[n, 4, 3]`."""
        B, c0 = _B[self.kind], _C0[self.kind]
        D = np.einsum("nkj,njc->nkc", B, x)
        r0 = np.einsum("nj,njc->nc", c0, x)
        A = np.einsum("nkc,nlc->nkl", D, D) + _ABSENT[self.kind]
        inverse = np.stack([A[:, 1, 1], -A[:, 0, 1], -A[:, 1, 0], A[:, 0, 0]], axis=1).reshape(-1, 2, 2)
        inverse /= (A[:, 0, 0] * A[:, 1, 1] - A[:, 0, 1] * A[:, 1, 0])[:, None, None]
        beta = -np.einsum("nkl,nl->nk", inverse, np.einsum("nlc,nc->nl", D, r0))
        r = r0 + np.einsum("nk,nkc->nc", beta, D)
        d = np.sqrt(np.einsum("nc,nc->n", r, r))
        return Closest(c0 + np.einsum("nk,nkj->nj", beta, B), d, r / d[:, None], B, D, inverse)

    def fading(self, x: Array) -> Fading | None:
        """What scales down edge-edge pairs that are nearly parallel, or None if there are none."""
        candidates = np.flatnonzero(self.threshold)
        x = x[candidates]
        first, second = x[:, 1] - x[:, 0], x[:, 3] - x[:, 2]
        cross = np.stack([first[:, i] * second[:, j] - first[:, j] * second[:, i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=1)
        squared, threshold = np.einsum("nc,nc->n", cross, cross), self.threshold[candidates]
        at = np.flatnonzero(squared < threshold)
        if not len(at):
            return None
        return Fading(candidates[at], first[at], second[at], cross[at], squared[at], threshold[at])

    @cached_property
    def coordinates(self) -> NDArray[np.int32]:
        """Numbers of the coordinates of the vertices in a flat vector of positions, `[n, 12]`."""
        return (3 * self.vertices[:, :, None] + np.arange(3)).astype(np.int32).reshape(-1, 12)

    @cached_property
    def _entries(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rows and columns of the entries of all blocks."""
        return np.repeat(self.coordinates, 12, axis=1).ravel(), np.tile(self.coordinates, 12).ravel()

    def scatter(self, per_vertex: Array, size: int) -> Array:
        """The sum `[size]` of what each pair adds to the coordinates of its vertices, `[n, 12]`."""
        return np.bincount(self.coordinates.ravel(), per_vertex.ravel(), minlength=size).astype(np.float64, copy=False)

    def assemble(self, blocks: Array, size: int) -> sp.coo_matrix:
        """The `[size, size]` matrix that is the sum of the blocks `[n, 12, 12]`."""
        return sp.coo_matrix((blocks.ravel(), self._entries), shape=(size, size))


@dataclass(frozen=True)
class Fading:
    """The factor m = (2 - s/t) s/t of edge-edge pairs whose squared cross product s is below its threshold t (Li et al. 2020, eq. 24).

    Without it the gradient jumps where edges become parallel.

    Args:
        at: the rows of the table of pairs that have it `[k]`.
        first: first edges `[k, 3]`; `second`: the others; `cross`: their cross product.
        squared: s `[k]` [m^4].
        threshold: t `[k]` [m^4].
    """

    at: Ids
    first: Array
    second: Array
    cross: Array
    squared: Array
    threshold: Array

    def factor(self) -> Array:
        """The factor `[k]`."""
        ratio = self.squared / self.threshold
        return (2 - ratio) * ratio

    def factor_rates(self) -> Array:
        """Derivatives of m with respect to the vertices `[k, 12]`."""
        slope = (4 / self.threshold * (1 - self.squared / self.threshold))[:, None]
        first, second = slope * np.cross(self.second, self.cross), slope * np.cross(self.cross, self.first)
        return np.concatenate([-first, first, -second, second], axis=1)

    def cross_rates(self) -> Array:
        """Derivatives of the cross product with respect to the vertices `[k, 3, 12]`."""
        first, second = _cross_matrix(self.first), _cross_matrix(self.second)
        return np.concatenate([second, -second, -first, first], axis=2)


def _cross_matrix(v: Array) -> Array:
    """The matrices `[n, 3, 3]` of `w -> v x w`."""
    out = np.zeros((len(v), 3, 3))
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
    return out - out.transpose(0, 2, 1)
