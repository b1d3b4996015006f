"""Edges that pass through triangles, by a test that shares nothing with the collision detection of the solver."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .pairs import Array, Ids

FLAT = 1e-10
"""A tetrahedron of six times the volume of this times the cube of its longest side, or less, is flat."""


def near_pairs(X: Array, edges: Ids, faces: Ids) -> tuple[Ids, Ids]:
    """Numbers of the edges and faces whose bounding spheres overlap, `[k]` each.

    Args:
        X: positions `[V, 3]` [m].
        edges: `[E, 2]`.
        faces: `[F, 3]`.
    """
    middle = X[edges].mean(axis=1)
    reach = np.linalg.norm(X[edges[:, 0]] - middle, axis=1)
    centre = X[faces].mean(axis=1)
    radius = np.linalg.norm(X[faces] - centre[:, None], axis=2).max(axis=1)
    found_edges, found_faces = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    size = np.frexp(radius)[1]
    for s in np.unique(size):  # large triangles, of a table, would make the search around small ones wide
        group = np.flatnonzero(size == s)
        hits = cKDTree(centre[group]).query_ball_point(middle, reach + radius[group].max(), return_sorted=True)
        counts = np.array([len(h) for h in hits])
        found_edges.append(np.repeat(np.arange(len(edges)), counts))
        found_faces.append(group[np.concatenate(hits).astype(np.int64)])
    return np.concatenate(found_edges), np.concatenate(found_faces)


def crossing(X: Array, edges: Ids, faces: Ids) -> NDArray[np.bool_]:
    """Which edges pass through which faces, or touch them, `[k]`; what lies in the plane of its face does not count.

    Args:
        X: positions `[V, 3]` [m].
        edges: `[k, 2]`.
        faces: `[k, 3]`, one for each edge.
    """
    p, q = X[edges[:, 0]], X[edges[:, 1]]
    a, b, c = (X[faces[:, i]] for i in range(3))
    above, below = _volume(a, b, c, p), _volume(a, b, c, q)
    # An edge that lies in the plane of the face but for rounding has volumes of no certain sign.
    size = np.max([np.linalg.norm(v, axis=1) for v in (q - p, b - a, c - a)], axis=0)
    flat = np.maximum(np.abs(above), np.abs(below)) <= FLAT * size**3
    round_it = np.stack([_volume(p, q, a, b), _volume(p, q, b, c), _volume(p, q, c, a)])
    inside = (round_it >= 0).all(axis=0) | (round_it <= 0).all(axis=0)
    return (above * below <= 0) & ~flat & inside


def _volume(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Six times the signed volume of tetrahedra, `[k]`."""
    return np.einsum("nc,nc->n", np.cross(b - a, c - a), d - a)
