"""The zero level set of grid values, by marching simplices.

Every cell is cut into triangles or tetrahedra along its diagonal (Freudenthal), each of which the surface crosses in one piece, so that the
result has no ambiguous case and is closed wherever it does not meet the edge of the grid. Doi and Koide 1991 for the tetrahedra.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from .mesh_topology import Floats, Ints


def level_set(values: Floats, lower: Floats, spacing: Floats) -> tuple[Floats, Ints]:
    """Vertices `[V, D]` and segments or triangles `[S, D]` between the nodes of negative value and the others, wound outwards.

    Args:
        values: at the nodes, `[n1, .., nD]`, D = 2 or 3.
        lower: position of the first node `[D]`.
        spacing: of the nodes `[D]`.
    """
    dimension = values.ndim
    node = np.arange(values.size).reshape(values.shape)
    negative = values.ravel() < 0
    found = [np.empty((0, dimension, 2), dtype=np.int64)]
    for path in permutations(range(dimension)):
        corner = _corners(node, path)
        code = (negative[corner] << np.arange(dimension + 1)).sum(axis=1)
        for inside in range(1, 2 ** (dimension + 1) - 1):
            chosen = corner[code == inside]
            found += [chosen[:, piece] for piece in _pieces(dimension, inside)]
    edges = np.sort(np.concatenate(found), axis=-1)
    unique, simplex = np.unique(edges.reshape(-1, 2) @ np.array([values.size, 1]), return_inverse=True)
    ends = np.stack(np.divmod(unique, values.size))
    first, second = values.ravel()[ends]
    share = first / (first - second) if len(unique) else first
    place = np.stack(np.unravel_index(ends, values.shape), axis=-1).astype(np.float64)
    return lower + (place[0] + share[:, None] * (place[1] - place[0])) * spacing, simplex.reshape(-1, dimension)


def _corners(node: Ints, path: tuple[int, ...]) -> Ints:
    """Node ids `[cells, D + 1]` of the simplex of each cell that walks from its lowest to its highest corner along `path`."""
    shift = np.zeros(node.ndim, dtype=np.int64)
    columns = []
    for axis in (None, *path):
        if axis is not None:
            shift[axis] = 1
        columns.append(node[tuple(slice(s, n - 1 + s) for s, n in zip(shift, node.shape, strict=True))].ravel())
    if _odd(path):
        columns[-2:] = columns[:-3:-1]
    return np.column_stack(columns)


def _pieces(dimension: int, inside: int) -> list[list[tuple[int, int]]]:
    """The segments or triangles, each a list of simplex edges, that part the corners in the bit mask `inside` from the others."""
    within = [k for k in range(dimension + 1) if inside >> k & 1]
    without = [k for k in range(dimension + 1) if not inside >> k & 1]
    if len(within) == len(without):
        (a, b), (c, d) = within, without
        pieces = [[(a, c), (a, d), (b, d)], [(a, c), (b, d), (b, c)]]
        turned = _odd((a, b, c, d))
    else:
        alone, rest = (within, without) if len(within) == 1 else (without, within)
        pieces = [[(alone[0], other) for other in rest]]
        turned = _odd((alone[0], *rest)) != (alone is without)
    return [piece[::-1] if turned else piece for piece in pieces]


def _odd(order: tuple[int, ...]) -> bool:
    return sum(a > b for k, a in enumerate(order) for b in order[k + 1 :]) % 2 == 1
