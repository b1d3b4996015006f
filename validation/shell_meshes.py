"""Meshes of the shell cases: a triangulated square [0, 1]^2, regular or irregular, and maps of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..sim.mesh import Mesh

Map = Callable[[np.ndarray, np.ndarray], np.ndarray]


def patch(columns: int, rows: int, shape: Map, *, irregular: bool = False) -> Mesh:
    """A grid of `columns` x `rows` cells of two triangles, as `shape(s, t)` `[n, 3]` maps it from the unit square; vertex (i, j) is
    i * (rows + 1) + j, with s along i.

    An irregular one has its inner vertices moved by up to a quarter of a cell and its diagonals drawn at random, always the same.
    """
    s, t = np.meshgrid(np.arange(columns + 1.0), np.arange(rows + 1.0), indexing="ij")
    random = np.random.default_rng(0)
    flip = np.zeros((columns, rows), dtype=bool)
    if irregular:
        s[1:-1, 1:-1] += random.uniform(-0.25, 0.25, s[1:-1, 1:-1].shape)
        t[1:-1, 1:-1] += random.uniform(-0.25, 0.25, t[1:-1, 1:-1].shape)
        flip = random.random((columns, rows)) < 0.5
    number = np.arange((columns + 1) * (rows + 1)).reshape(columns + 1, rows + 1)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    first = np.where(flip[..., None], np.stack([a, b, d], -1), np.stack([a, b, c], -1))
    second = np.where(flip[..., None], np.stack([b, c, d], -1), np.stack([a, c, d], -1))
    faces = np.stack([first, second], 2).reshape(-1, 3)
    return Mesh(shape((s / columns).ravel(), (t / rows).ravel()), faces)


def strip(length: float, width: float, columns: int, rows: int, *, irregular: bool = False) -> Mesh:
    """A rectangle in the plane z = 0, `length` along x from 0 and `width` along y about 0 [m]."""
    return patch(columns, rows, lambda s, t: np.column_stack([length * s, width * (t - 0.5), 0 * s]), irregular=irregular)


def boundary_edges(mesh: Mesh, where: np.ndarray) -> np.ndarray:
    """Edges [n, 2] of one face, both of whose vertices are in the mask `where` [V]."""
    edges = np.sort(mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    single = unique[count == 1]
    return single[where[single].all(1)]
