"""Exact distance from points to a triangle mesh, and which nodes of a grid lie inside a closed one.

Distance: the points are grouped by the cells of an octree; a triangle stays a candidate for a cell while its distance to the cell's
centre is within twice the cell's radius of the smallest one, so that no closest triangle is lost. The distance from a point to a
triangle is taken in the triangle's own plane. Inside: whole winding numbers from signed crossings along the grid lines; every edge
counts the same for both its faces, whatever the rounding.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .mesh_topology import Floats, Ints

_CHUNK = 2**17
_LEVELS = 10


@dataclasses.dataclass(frozen=True)
class Closest:
    """The closest point of a mesh for each of N query points.

    Args:
        distance: unsigned [m], `[N]`.
        point: on the mesh [m], `[N, 3]`.
        normal: for query points on the mesh (within 1e-9 of its size) the unit normal there, on edges and vertices the angle-weighted
            mean of their faces (Baerentzen and Aanaes 2005); zero for all others, and where those faces have no area. `[N, 3]`.
    """

    distance: Floats
    point: Floats
    normal: Floats


def closest_points(vertices: Floats, faces: Ints, points: Floats) -> Closest:
    """The closest points of triangles `faces` `[F, 3]` to `points` `[N, 3]`; a triangle may be as thin as a segment or a point."""
    order, starts = _octree(points)
    tree = _Tree(points[order], starts, _Frames(vertices, faces))
    tree.descend(len(starts) - 1, 0, np.zeros(len(faces), dtype=np.int64), np.arange(len(faces)))
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    on = tree.frames.closest(tree.points, tree.nearest)
    distance = np.linalg.norm(tree.points - on, axis=1)
    length = np.linalg.norm(tree.normal, axis=1, keepdims=True)
    normal = np.divide(tree.normal, length, out=np.zeros_like(tree.normal), where=length > 0)
    return Closest(distance[inverse], on[inverse], normal[inverse])


def inside_grid(vertices: Floats, faces: Ints, axes: tuple[Floats, Floats, Floats]) -> NDArray[np.bool_]:
    """Which nodes of the grid with the coordinates `axes` have a positive winding number, `[n1, n2, n3]`; the mesh must be closed."""
    x, y, z = axes
    corner = vertices[faces]
    low, high = corner.min(axis=1), corner.max(axis=1)
    first = np.column_stack([np.searchsorted(x, low[:, 0]), np.searchsorted(y, low[:, 1])])
    last = np.column_stack([np.searchsorted(x, high[:, 0], side="right"), np.searchsorted(y, high[:, 1], side="right")])
    width = last - first
    crossings = np.zeros((len(x) * len(y), len(z) + 1), dtype=np.int32)
    count = width.prod(axis=1)
    for begin, end in _spans(count):
        face = np.repeat(np.arange(begin, end), count[begin:end])
        row, column = np.divmod(_within_runs(count[begin:end]), width[face, 1])
        i, j = first[face, 0] + row, first[face, 1] + column
        turn, height = _crossing(corner[face], x[i], y[j])
        hit = turn != 0
        below = np.searchsorted(z, height[hit])
        np.add.at(crossings, (i[hit] * len(y) + j[hit], below), turn[hit])
    winding = crossings[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    return (winding > 0).reshape(len(x), len(y), len(z))


def _crossing(corner: Floats, x: Floats, y: Floats) -> tuple[Ints, Floats]:
    """How the line up at (x, y) crosses each triangle `[n, 3, 3]`, 1 from its back, -1 from its front, 0 not at all, and at what height."""
    turn = np.zeros(len(corner), dtype=np.int64)
    for k in range(3):
        a, b = corner[:, k], corner[:, (k + 1) % 3]
        upwards = (a[:, 1] <= y) & (b[:, 1] > y)
        downwards = (b[:, 1] <= y) & (a[:, 1] > y)
        low, high = np.where(upwards[:, None], a, b), np.where(upwards[:, None], b, a)
        left = (high[:, 0] - low[:, 0]) * (y - low[:, 1]) > (x - low[:, 0]) * (high[:, 1] - low[:, 1])
        turn += np.where(left, upwards.astype(np.int64) - downwards, 0)
    origin = corner[:, 0]
    normal = np.cross(corner[:, 1] - origin, corner[:, 2] - origin)
    slope = normal[:, 0] * (x - origin[:, 0]) + normal[:, 1] * (y - origin[:, 1])
    height = origin[:, 2] - np.divide(slope, normal[:, 2], out=np.zeros_like(slope), where=normal[:, 2] != 0)
    return turn, np.clip(height, corner[..., 2].min(axis=1), corner[..., 2].max(axis=1))


class _Frames:
    """Triangles in their own planes: corner a at the origin, b at (length, 0), c at (cx, cy) with cy >= 0."""

    def __init__(self, vertices: Floats, faces: Ints) -> None:
        a, b, c = (vertices[faces[:, k]] for k in range(3))
        size = np.abs(np.stack([b - a, c - a])).max(axis=(0, 2), initial=0.0)
        along = np.where((np.abs(b - a).max(axis=1) > 0)[:, None], b - a, c - a)
        along[size == 0] = (1.0, 0.0, 0.0)
        u = along / np.linalg.norm(along, axis=1, keepdims=True)
        v = _without(c - a, u)
        thin = np.linalg.norm(v, axis=1) <= 1e-14 * size
        v[thin] = _without(np.eye(3)[np.abs(u[thin]).argmin(axis=1)], u[thin])
        v = _without(v / np.linalg.norm(v, axis=1, keepdims=True), u)
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        self.normal = np.where(thin[:, None], 0.0, np.cross(u, v))
        self.origin, self.u, self.v, n = (np.ascontiguousarray(part.T) for part in (a, u, v, np.cross(u, v)))
        self.n = n
        self.length = np.einsum("ij,ij->i", b - a, u)
        self.cx = np.einsum("ij,ij->i", c - a, u)
        self.cy = np.where(thin, 0.0, np.einsum("ij,ij->i", c - a, v))
        self.side_ac, self.side_bc = np.hypot(self.cx, self.cy), np.hypot(self.cx - self.length, self.cy)
        centroid = (a + b + c) / 3.0
        self.centroid = np.ascontiguousarray(centroid.T)
        self.ball = np.linalg.norm(np.stack([a, b, c]) - centroid, axis=-1).max(axis=0)
        self.size = float(np.ptp(vertices[faces].reshape(-1, 3), axis=0).max())

    def local(self, points: Floats, face: Ints) -> tuple[Floats, Floats, Floats]:
        """Coordinates of points `[n, 3]` in the frames of the faces `[n]`."""
        d = [points[:, k] - self.origin[k][face] for k in range(3)]
        x, y, z = (sum(axis[k][face] * d[k] for k in range(3)) for axis in (self.u, self.v, self.n))
        return x, y, z

    def nearest(self, x: Floats, y: Floats, face: Ints) -> tuple[Floats, Floats]:
        """The points of the triangles nearest to (x, y) in their planes."""
        length, cx, cy = self.length[face], self.cx[face], self.cy[face]
        outside = ~((y > 0) & (cy * x > cx * y) & ((cx - length) * y > cy * (x - length)))
        best_x, best_y = np.clip(x, 0.0, length), np.zeros_like(y)
        best = (x - best_x) ** 2 + y**2
        for from_x, side in ((0.0, self.side_ac[face]), (length, self.side_bc[face])):
            ex, ey = cx - from_x, cy
            squared = side * side
            t = np.clip(((x - from_x) * ex + y * ey) / np.where(squared > 0, squared, 1.0), 0.0, 1.0)
            px, py = from_x + t * ex, t * ey
            square = (x - px) ** 2 + (y - py) ** 2
            better = square < best
            best_x, best_y, best = np.where(better, px, best_x), np.where(better, py, best_y), np.where(better, square, best)
        return np.where(outside, best_x, x), np.where(outside, best_y, y)

    def distance(self, points: Floats, face: Ints) -> Floats:
        """From each point to its face."""
        x, y, z = self.local(points, face)
        px, py = self.nearest(x, y, face)
        return np.sqrt((x - px) ** 2 + (y - py) ** 2 + z**2)

    def distance_to_ball(self, points: Floats, face: Ints) -> Floats:
        """From each point to the centroid of its face, about which the face lies within `ball`."""
        d = [points[:, k] - self.centroid[k][face] for k in range(3)]
        return np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])

    def closest(self, points: Floats, face: Ints) -> Floats:
        """The point `[n, 3]` of each face that is closest to each point."""
        x, y, _ = self.local(points, face)
        px, py = self.nearest(x, y, face)
        return np.column_stack([self.origin[k][face] + px * self.u[k][face] + py * self.v[k][face] for k in range(3)])

    def weighted_normal(self, points: Floats, face: Ints, reach: float) -> Floats:
        """The faces' normals times the angle under which they are seen from points on them: all round, half round, or a corner's angle."""
        x, y, _ = self.local(points, face)
        length, cx, cy = self.length[face], self.cx[face], self.cy[face]
        on_edge = (np.abs(y) <= reach) | (np.abs(cy * x - cx * y) <= reach * self.side_ac[face])
        on_edge |= np.abs((cx - length) * y - cy * (x - length)) <= reach * self.side_bc[face]
        angle = np.where(on_edge, np.pi, 2.0 * np.pi)
        angle_a, angle_b = np.arctan2(cy, cx), np.arctan2(cy, length - cx)
        for corner_x, corner_y, corner_angle in ((0.0, 0.0, angle_a), (length, 0.0, angle_b), (cx, cy, np.pi - angle_a - angle_b)):
            angle = np.where(np.hypot(x - corner_x, y - corner_y) <= 2.0 * reach, corner_angle, angle)
        return self.normal[face] * angle[:, None]


class _Tree:
    """The descent through an octree of points; `starts[level]` are where its cells begin among the sorted points, and the end."""

    def __init__(self, points: Floats, starts: list[Ints], frames: _Frames) -> None:
        self.points, self.frames = points, frames
        self.reach = 1e-9 * frames.size
        self.children = [np.empty(0, dtype=np.int64)] + [np.searchsorted(low, high) for low, high in pairwise(starts)]
        self.centre, self.radius = [points], [np.zeros(len(points))]
        for begin in starts[1:]:
            low, high = np.minimum.reduceat(points, begin[:-1]), np.maximum.reduceat(points, begin[:-1])
            self.centre.append(0.5 * (low + high))
            self.radius.append(0.5 * np.linalg.norm(high - low, axis=1))
        self.nearest = np.empty(len(points), dtype=np.int64)
        self.normal = np.zeros((len(points), 3))

    def descend(self, level: int, first: int, owner: Ints, candidate: Ints) -> None:
        """Hands the candidates of the cells from `first` on down to their points; `owner`, ascending, counts cells from there."""
        cells = slice(first, first + int(owner[-1]) + 1)
        centre, reach = self.centre[level][cells], 2.0 * self.radius[level][cells] * (1.0 + 1e-9) + self.reach
        # The triangles' bounding balls are a cheap first sieve: a ball's centre lies on its triangle, so it bounds the distance from above.
        to_ball = self.frames.distance_to_ball(centre[owner], candidate)
        most = _least(to_ball, owner, len(centre))
        near = to_ball - self.frames.ball[candidate] <= (most + reach)[owner]
        owner, candidate = owner[near], candidate[near]
        distance = self.frames.distance(centre[owner], candidate)
        least = _least(distance, owner, len(centre))
        if level == 0:
            self._settle(cells, owner, candidate, distance, least)
            return
        keep = distance <= (least + reach)[owner]
        count = np.bincount(owner[keep], minlength=len(centre))
        kept, offset = candidate[keep], np.cumsum(count) - count
        child = self.children[level][first : first + len(centre) + 1]
        parent = np.repeat(np.arange(len(centre)), np.diff(child))
        size = count[parent]
        for begin, end in _spans(size):
            part = size[begin:end]
            place = _within_runs(part) + np.repeat(offset[parent[begin:end]], part)
            self.descend(level - 1, int(child[0]) + begin, np.repeat(np.arange(end - begin), part), kept[place])

    def _settle(self, cells: slice, owner: Ints, candidate: Ints, distance: Floats, least: Floats) -> None:
        closest = np.flatnonzero(distance == least[owner])
        closest = closest[np.diff(owner[closest], prepend=-1) > 0]
        self.nearest[cells] = candidate[closest]
        touching = np.flatnonzero(distance <= self.reach)
        points = self.points[cells][owner[touching]]
        np.add.at(self.normal[cells], owner[touching], self.frames.weighted_normal(points, candidate[touching], self.reach))


def _octree(points: Floats) -> tuple[Ints, list[Ints]]:
    """An order of the points along a Morton curve, and where the cells begin in it: level 0 is the points, the last one cell."""
    low = points.min(axis=0)
    extent = float(np.ptp(points, axis=0).max()) or 1.0
    bins = np.minimum(((points - low) * (2**_LEVELS / extent)).astype(np.int64), 2**_LEVELS - 1)
    code = np.zeros(len(points), dtype=np.int64)
    for bit in range(_LEVELS):
        for axis in range(3):
            code |= ((bins[:, axis] >> bit) & 1) << (3 * bit + axis)
    order = np.argsort(code, kind="stable")
    code = code[order]
    starts = [np.arange(len(points) + 1)]
    for level in range(_LEVELS + 1):
        begin = np.append(np.flatnonzero(np.diff(code >> (3 * level), prepend=-1)), len(points))
        if len(begin) - 1 <= 0.5 * (len(starts[-1]) - 1) or (level == _LEVELS and len(starts[-1]) > 2):
            starts.append(begin)
    return order, starts


def _spans(size: Ints) -> list[tuple[int, int]]:
    """Ranges of consecutive entries whose sizes add up to about a chunk."""
    total = np.cumsum(size)
    if not len(total):
        return []
    cut = np.unique(np.searchsorted(total, np.arange(_CHUNK, total[-1] + _CHUNK, _CHUNK)) + 1)
    cut = np.concatenate([[0], np.minimum(cut, len(size))])
    return [(int(a), int(b)) for a, b in pairwise(cut) if b > a]


def _within_runs(size: Ints) -> Ints:
    """0, 1, ..., size[0] - 1, 0, 1, ..., size[1] - 1, and so on."""
    return np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)


def _least(values: Floats, owner: Ints, count: int) -> Floats:
    """The least value of each of `count` owners, of which every one has some, in ascending order."""
    return np.minimum.reduceat(values, np.searchsorted(owner, np.arange(count)))


def _without(vectors: Floats, direction: Floats) -> Floats:
    return vectors - np.einsum("ij,ij->i", vectors, direction)[:, None] * direction
