"""Meshes of simple shapes: sheets, boxes, balls and fingertips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import MeshError
from .mesh import Mesh
from .mesh_topology import Floats, Ints, tetrahedron_volumes

Map = Callable[[Floats, Floats], Floats]

_CUBE = np.array([[0, 1, 3, 7], [0, 3, 2, 7], [0, 2, 6, 7], [0, 6, 4, 7], [0, 4, 5, 7], [0, 5, 1, 7]])
"""Six tetrahedra about the diagonal of a cube whose corner (a, b, c) is number 4 a + 2 b + c."""
_PRISM = np.array([[0, 1, 2, 5], [0, 1, 5, 4], [0, 4, 5, 3]])
"""Three tetrahedra of a prism on corners 0, 1, 2, sorted by their number in the layer, and 3, 4, 5 above them; neighbours then agree."""


def patch(columns: int, rows: int, shape: Map, *, irregular: bool = False) -> Mesh:
    """A grid of `columns` x `rows` cells of two triangles, as `shape(s, t)` `[n, 3]` maps it from the unit square.

    Vertex i * (rows + 1) + j lies at s = i / columns, t = j / rows. An irregular one has its inner vertices moved by up to a quarter of a
    cell and its diagonals drawn at random, always the same.
    """
    _whole(columns=columns, rows=rows)
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
    return Mesh(shape((s / columns).ravel(), (t / rows).ravel()), np.stack([first, second], 2).reshape(-1, 3))


def sheet(length: float, width: float, columns: int, rows: int, *, irregular: bool = False) -> Mesh:
    """A rectangle in the plane z = 0: `length` along x from 0, `width` along y from 0 [m], normal upwards; numbered as `patch` is."""
    _lengths(length=length, width=width)
    return patch(columns, rows, lambda s, t: np.column_stack([length * s, width * t, 0 * s]), irregular=irregular)


def bent_strip(length: float, width: float, columns: int, rows: int, radius: float) -> Mesh:
    """A strip that runs along x from 0 in the plane z = 0, turns over in its middle by half a circle, and comes back above itself.

    Args:
        length: along the strip [m].
        width: along y, from -width / 2 [m].
        columns: cells along the strip.
        rows: cells across it.
        radius: of the half circle [m].

    Raises:
        MeshError: if the strip is shorter than the half circle, or a number makes no sense.
    """
    _lengths(length=length, width=width, radius=radius)
    leg = (length - np.pi * radius) / 2
    if leg <= 0:
        raise MeshError(f"A strip of {length:g} m is too short to turn over on a radius of {radius:g} m; take a smaller radius.")

    def place(s: Floats, t: Floats) -> Floats:
        along = length * s
        turn = np.clip((along - leg) / radius, 0.0, np.pi)
        x = np.minimum(along, leg) + radius * np.sin(turn) - np.maximum(along - leg - np.pi * radius, 0.0)
        return np.column_stack([x, width * (t - 0.5), radius * (1 - np.cos(turn))])

    return patch(columns, rows, place)


def tetrahedral_box(size: tuple[float, float, float], cells: tuple[int, int, int]) -> Mesh:
    """A box of tetrahedra from the origin to `size` [m], six in each of its cells."""
    _lengths(x=size[0], y=size[1], z=size[2])
    _whole(x=cells[0], y=cells[1], z=cells[2])
    counts = np.array(cells) + 1
    grid = np.stack(np.meshgrid(*(np.arange(count) for count in counts), indexing="ij"), -1)
    number = np.arange(counts.prod()).reshape(counts)
    corners = np.stack(
        [number[a : a + cells[0], b : b + cells[1], c : c + cells[2]].ravel() for a in (0, 1) for b in (0, 1) for c in (0, 1)], -1
    )
    return _solid(grid.reshape(-1, 3) * (np.array(size) / np.array(cells)), corners[:, _CUBE].reshape(-1, 4))


def ball(radius: float, *, finer: int = 2) -> Mesh:
    """The surface of a ball about the origin [m]: an icosahedron split `finer` times, 20 * 4^finer faces."""
    import trimesh

    _lengths(radius=radius)
    sphere = trimesh.creation.icosphere(subdivisions=finer, radius=radius)
    return Mesh(np.asarray(sphere.vertices), np.asarray(sphere.faces))


def fingertip(radius: float, thickness: float, *, around: int = 18, rings: int = 5, layers: int = 2) -> Mesh:
    """A hollow half ball of tetrahedra, its pole down, its rim in the plane z = 0 about the origin: the soft tip of a gripper.

    Args:
        radius: outer [m].
        thickness: of the wall [m].
        around: vertices on the rim.
        rings: circles of vertices from the rim to the pole.
        layers: of tetrahedra through the wall.
    """
    _lengths(radius=radius, thickness=thickness)
    _whole(around=around, rings=rings, layers=layers)
    if thickness >= radius:
        raise MeshError(f"The wall of a fingertip, {thickness:g} m, must be thinner than its radius, {radius:g} m.")
    points, triangles = [np.array([0.0, 0.0, -1.0])], []
    counts = [max(5, round(around * np.sin(0.5 * np.pi * ring / rings))) for ring in range(1, rings + 1)]
    starts = np.concatenate([[1], 1 + np.cumsum(counts)])
    for ring, count in enumerate(counts):
        polar = 0.5 * np.pi * (ring + 1) / rings
        angle = 2 * np.pi * np.arange(count) / count
        points += list(np.column_stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), np.full(count, -np.cos(polar))]))
        if ring == 0:
            triangles += [(0, 1 + k, 1 + (k + 1) % count) for k in range(count)]
        else:
            triangles += _band(starts[ring - 1], counts[ring - 1], starts[ring], count)
    unit, skin = np.array(points), np.sort(np.array(triangles), axis=1)
    radii = np.linspace(radius, radius - thickness, layers + 1)
    vertices = np.concatenate([r * unit for r in radii])
    prisms = [np.column_stack([skin + k * len(unit), skin + (k + 1) * len(unit)]) for k in range(layers)]
    return _solid(vertices, np.concatenate([prism[:, _PRISM].reshape(-1, 4) for prism in prisms]))


def _band(inner: int, few: int, outer: int, many: int) -> list[tuple[int, int, int]]:
    """Triangles between two circles of vertices, by walking round both at once."""
    triangles, i, j = [], 0, 0
    while i < few or j < many:
        if j < many and (i == few or (j + 1) * few <= (i + 1) * many):
            triangles.append((inner + i % few, outer + j % many, outer + (j + 1) % many))
            j += 1
        else:
            triangles.append((inner + i % few, outer + j % many, inner + (i + 1) % few))
            i += 1
    return triangles


def _solid(vertices: Floats, tetrahedra: Ints) -> Mesh:
    """The mesh of tetrahedra, turned to positive volume, with their boundary as faces."""
    mirrored = tetrahedron_volumes(vertices, tetrahedra) < 0
    tetrahedra = np.where(mirrored[:, None], tetrahedra[:, [0, 2, 1, 3]], tetrahedra)
    sides = np.concatenate([tetrahedra[:, corners] for corners in ([1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1])])
    _, index, count = np.unique(np.sort(sides, axis=1), axis=0, return_index=True, return_counts=True)
    return Mesh(vertices, sides[np.sort(index[count == 1])], tetrahedra)


def boundary_edges(mesh: Mesh, where: np.ndarray) -> Ints:
    """Edges [n, 2] of a single face, both of whose vertices are in the mask `where` [V]."""
    edges = np.sort(mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    single = unique[count == 1]
    return single[where[single].all(1)]


def _whole(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise MeshError(f"{name} is {count}; it must be at least 1.")


def _lengths(**lengths: float) -> None:
    for name, length in lengths.items():
        if not (np.isfinite(length) and length > 0):
            raise MeshError(f"{name} is {length} m; it must be positive.")
