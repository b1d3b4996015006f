"""Topology of triangle and tetrahedral meshes as array operations: edges, pieces, orientation, boundary, splitting of cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_PIECES = 10_000
"""Above this number of separate closed pieces, pieces that lie inside others (cavities) are not told from inverted ones."""

_CORNERS = {"tetra": 4, "hexahedron": 8, "wedge": 6, "pyramid": 5}
_SIDES: dict[str, tuple[tuple[int, ...], ...]] = {
    "hexahedron": ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)),
    "wedge": ((0, 2, 1), (3, 4, 5), (0, 1, 4, 3), (1, 2, 5, 4), (2, 0, 3, 5)),
    "pyramid": ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
}


def without_vertices(elements: Ints, count: int) -> Ints:
    """Ids of the elements that name vertices outside 0..count-1."""
    return np.flatnonzero(((elements < 0) | (elements >= count)).any(axis=1))


def directed_edges(faces: Ints) -> Ints:
    """The edges of `faces` `[F, 3]` in their direction of travel, `[3 F, 2]`; row 3 f + k belongs to face f."""
    return faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)


def edge_balance(faces: Ints) -> tuple[Ints, Ints, Ints]:
    """Every undirected edge `[E, 2]`, how many faces use it `[E]`, and how often forwards less how often backwards `[E]`."""
    key, forward, span = _undirected(directed_edges(faces))
    unique, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    balance = np.bincount(inverse, weights=forward, minlength=len(unique)).astype(np.int64)
    return np.column_stack(np.divmod(unique, span)), count.astype(np.int64), balance


def _undirected(edges: Ints) -> tuple[Ints, Ints, int]:
    """One number for each edge whatever its direction, its direction (1 or -1), and the span that `divmod(number, span)` undoes it by."""
    low, high = edges.min(axis=1), edges.max(axis=1)
    span = int(high.max(initial=0)) + 1
    return low * span + high, np.where(edges[:, 0] == low, 1, -1), span


def face_normals(vertices: Floats, faces: Ints) -> Floats:
    """Twice the area times the unit normal of every face, `[F, 3]` [m^2]."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def tetrahedron_volumes(vertices: Floats, tetrahedra: Ints) -> Floats:
    """Signed volumes `[T]` [m^3]; positive if the last vertex is on the side to which the normal of the first three points."""
    a, b, c, d = (vertices[tetrahedra[:, k]] for k in range(4))
    return np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6.0


def boundary_faces(vertices: Floats, tetrahedra: Ints) -> Ints:
    """The faces `[F, 3]` that belong to one tetrahedron only, wound outwards whatever the tetrahedra's own orientation."""
    right = np.where((tetrahedron_volumes(vertices, tetrahedra) < 0)[:, None], tetrahedra[:, [0, 1, 3, 2]], tetrahedra)
    sides = right[:, [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]].reshape(-1, 3)
    _, first, count = np.unique(np.sort(sides, axis=1), axis=0, return_index=True, return_counts=True)
    return sides[np.sort(first[count == 1])]


def split_into_tetrahedra(kind: str, cells: Ints) -> Ints:
    """Tetrahedra `[T, 4]` of `tetra`, `hexahedron`, `wedge` or `pyramid` cells, without new vertices.

    Every side is cut from its vertex of lowest id, and the cell is a cone from its own vertex of lowest id, so that neighbours
    cut a common side alike (Dompierre et al. 1999, "How to subdivide pyramids, prisms and hexahedra into tetrahedra").
    Further nodes of cells of higher order are left out.
    """
    cells = cells[:, : _CORNERS[kind]]
    if kind == "tetra":
        return cells
    lowest = np.argmin(cells, axis=1)
    parts = []
    for apex in range(cells.shape[1]):
        chosen = cells[lowest == apex]
        for side in _SIDES[kind]:
            if apex in side or not len(chosen):
                continue
            corner = chosen[:, side]
            if len(side) == 3:
                parts.append(np.column_stack([chosen[:, apex], corner]))
                continue
            turn = (np.argmin(corner, axis=1) % 2)[:, None]
            for cut in ((0, 1, 2), (0, 2, 3)):
                parts.append(np.column_stack([chosen[:, apex], np.take_along_axis(corner, (np.array(cut) + turn) % 4, axis=1)]))
    return np.concatenate(parts) if parts else np.empty((0, 4), dtype=np.int64)


def winding_numbers(points: Floats, triangles: Floats) -> Floats:
    """How often the triangles `[F, 3, 3]` wind around each of `points` `[N, 3]`, as a table of their shares `[N, F]`.

    Van Oosterom and Strackee 1983, "The solid angle of a plane triangle". A row of a closed surface sums to a whole number.
    """
    a, b, c = (triangles[None, :, k] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(side, axis=-1) for side in (a, b, c))
    volume = np.einsum("...i,...i", a, np.cross(b, c))
    dot_ab, dot_bc, dot_ca = (np.einsum("...i,...i", p, q) for p, q in ((a, b), (b, c), (c, a)))
    return np.arctan2(volume, la * lb * lc + dot_ab * lc + dot_bc * la + dot_ca * lb) / (2.0 * np.pi)


def inverted_faces(vertices: Floats, faces: Ints) -> Ints:
    """Ids of the faces that are wound against the rest.

    Faces that share an edge should pass it in opposite directions; that makes two camps in each connected piece. In a closed piece
    the camp that points out of the solid is right (into the hole if the piece is the wall of a cavity), in an open piece the larger.
    """
    count = len(faces)
    if not count:
        return np.empty(0, dtype=np.int64)
    first, second, agree = _neighbours(faces)
    # A graph of every face twice, upright and flipped: what is connected to the upright copy belongs to its camp.
    rows = np.concatenate([first, first + count])
    columns = np.concatenate([np.where(agree, second, second + count), np.where(agree, second + count, second)])
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(2 * count, 2 * count))
    _, label = connected_components(graph, directed=False)
    upright, flipped = label[:count].astype(np.int64), label[count:].astype(np.int64)
    one_sided = upright == flipped
    _, piece = np.unique(np.minimum(upright, flipped), return_inverse=True)
    sign = np.where(upright <= flipped, 1, -1)
    pieces = int(piece.max()) + 1

    corner = vertices[faces] - vertices[faces[:, 0]][_first_of(piece, pieces)][piece][:, None]
    share = sign * np.einsum("ij,ij->i", corner[:, 0], np.cross(corner[:, 1], corner[:, 2]))
    volume = np.bincount(piece, weights=share, minlength=pieces)
    noise = 1e-12 * np.bincount(piece, weights=np.abs(share), minlength=pieces)
    solid = _closed_pieces(faces, piece, sign, pieces) & (np.abs(volume) > noise)
    majority = np.where(np.bincount(piece, weights=sign, minlength=pieces) >= 0, 1, -1)
    outward = np.where(_is_cavity(vertices, faces, piece, solid), -1, 1) * np.where(volume > 0, 1, -1)
    wrong = sign != np.where(solid, outward, majority)[piece]
    wrong[one_sided] = False
    wrong[second[~agree & one_sided[second]]] = True
    return np.flatnonzero(wrong)


def _neighbours(faces: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Pairs of faces that share an edge with no third one, and whether they pass it in opposite directions."""
    edges = directed_edges(faces)
    key, _, _ = _undirected(edges)
    order = np.argsort(key, kind="stable")
    change = np.flatnonzero(np.diff(key[order], prepend=-1))
    pairs = change[np.diff(change, append=len(order)) == 2]
    one, other = order[pairs], order[pairs + 1]
    return one // 3, other // 3, edges[one, 0] == edges[other, 1]


def _first_of(piece: Ints, pieces: int) -> Ints:
    first = np.full(pieces, len(piece), dtype=np.int64)
    np.minimum.at(first, piece, np.arange(len(piece)))
    return first


def _closed_pieces(faces: Ints, piece: Ints, sign: Ints, pieces: int) -> NDArray[np.bool_]:
    """Which pieces pass each of their edges as often forwards as backwards, once the camp of sign -1 is turned."""
    key, forward, _ = _undirected(directed_edges(faces))
    edge = np.unique(key, return_inverse=True)[1]
    span = int(edge.max()) + 1
    unique, inverse = np.unique(np.repeat(piece, 3) * span + edge, return_inverse=True)
    balance = np.bincount(inverse, weights=forward * np.repeat(sign, 3), minlength=len(unique))
    closed = np.ones(pieces, dtype=bool)
    closed[unique[balance != 0] // span] = False
    return closed


def _is_cavity(vertices: Floats, faces: Ints, piece: Ints, solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which closed pieces lie inside an odd number of other closed pieces."""
    cavity = np.zeros(len(solid), dtype=bool)
    closed = np.flatnonzero(solid)
    if not 1 < len(closed) <= MAX_PIECES:
        return cavity
    order = np.argsort(piece, kind="stable")
    start = np.searchsorted(piece[order], np.arange(len(solid) + 1))
    corner = vertices[faces[order]]
    lower = np.minimum.reduceat(corner.min(axis=1), start[:-1])
    upper = np.maximum.reduceat(corner.max(axis=1), start[:-1])
    for inner in closed:
        around = closed[np.all((lower[closed] <= lower[inner]) & (upper[closed] >= upper[inner]), axis=1)]
        probe = corner[start[inner]].mean(axis=0, keepdims=True)
        depth = sum(
            abs(float(winding_numbers(probe, corner[start[outer] : start[outer + 1]]).sum())) > 0.5 for outer in around if outer != inner
        )
        cavity[inner] = depth % 2 == 1
    return cavity
