"""Who neighbours whom in a triangulated sheet: edges, the faces on both sides of them, and the boundary."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ...errors import MeshError
from ..mesh_topology import Ints

SHOWN = 5
"""How many wrong elements an error names."""


@dataclasses.dataclass(frozen=True)
class ShellTopology:
    """The connectivity of a sheet of triangles, which may have holes, a boundary, or none.

    Edge i of a face lies opposite its corner i and runs from corner i+1 to corner i+2. The first face of an edge is the one of lower id.
    """

    faces: Ints
    """Node ids `[F, 3]`, wound alike."""
    edges: Ints
    """Every edge once `[E, 2]`, lower node id first, sorted."""
    face_edges: Ints
    """The edges of every face `[F, 3]`."""
    signs: Ints
    """`[F, 3]`: 1 where the face is the first face of its edge, -1 where it is the second."""
    edge_faces: Ints
    """The first and second face of every edge `[E, 2]`; -1 where there is no second."""
    opposite: Ints
    """The corners of those faces that do not lie on the edge `[E, 2]`; -1 where there is no second face."""
    adjacent: Ints
    """What lies across edge i of face f `[F, 3]`: 3 g + j for edge j of face g; -1 on the boundary."""

    @property
    def boundary(self) -> NDArray[np.bool_]:
        """Which edges have one face only `[E]`."""
        return self.edge_faces[:, 1] < 0

    @property
    def across(self) -> Ints:
        """The node across each edge of each face `[F, 3]`; -1 on the boundary."""
        return np.where(self.adjacent >= 0, self.faces.ravel()[self.adjacent], -1)

    @property
    def hinges(self) -> Ints:
        """For every edge `[E, 4]`: its nodes in the order in which the first face passes them, and the two opposite corners."""
        face, side = self.edge_faces[:, 0], self._side_of_first()
        ends = [self.faces[face, (side + k) % 3] for k in (1, 2)]
        return np.column_stack([*ends, self.opposite])

    def _side_of_first(self) -> Ints:
        edge = np.arange(len(self.edges))
        return np.argmax(self.face_edges[self.edge_faces[:, 0]] == edge[:, None], axis=1)

    @staticmethod
    def of(faces: Ints) -> ShellTopology:
        """The connectivity of `faces` `[F, 3]`.

        Raises:
            MeshError: if a face repeats a node, an edge has three faces, or neighbours are wound against each other.
        """
        faces = np.array(faces, dtype=np.int64, order="C")
        if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces) or faces.min() < 0:
            raise MeshError(f"Faces must be node ids [F, 3] of at least one triangle, not negative; got shape {faces.shape}.")
        _refuse((faces == np.roll(faces, 1, axis=1)).any(axis=1), "Faces {} repeat a node; remove them.")
        start, end = (faces[:, [1, 2, 0]].ravel(), faces[:, [2, 0, 1]].ravel())  # slot 3 f + i is edge i of face f
        pairs = np.column_stack([np.minimum(start, end), np.maximum(start, end)])
        edges, inverse, count = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        inverse = inverse.reshape(-1)
        _refuse(count > 2, "Edges between nodes {} have more than two faces; a sheet may not branch, so split it there.", edges)

        slot = np.full((len(edges), 2), -1)
        order = np.argsort(inverse, kind="stable")  # the slots of an edge follow each other, the lower face first
        begin = np.concatenate([[0], np.cumsum(count)[:-1]])
        slot[:, 0] = order[begin]
        two = count == 2
        slot[two, 1] = order[begin[two] + 1]
        one, other = slot[two].T
        _refuse(start[one] == start[other], "Faces {} are wound against each other; flip one of each pair.", slot[two] // 3)

        signs = np.where(slot[inverse, 0] == np.arange(len(inverse)), 1, -1)
        across = np.where(signs > 0, slot[inverse, 1], slot[inverse, 0])
        corner = faces.ravel()  # the corner opposite slot 3 f + i is corner i of f
        return ShellTopology(
            faces=faces,
            edges=edges,
            face_edges=inverse.reshape(-1, 3),
            signs=signs.reshape(-1, 3),
            edge_faces=np.where(slot >= 0, slot // 3, -1),
            opposite=np.where(slot >= 0, corner[slot], -1),
            adjacent=across.reshape(-1, 3),
        )


def _refuse(wrong: NDArray[np.bool_], message: str, names: Ints | None = None) -> None:
    """Raises MeshError with the first few wrong elements in the place of {}."""
    ids = np.flatnonzero(wrong)
    if len(ids):
        shown = (ids if names is None else names[ids])[:SHOWN].tolist()
        raise MeshError(message.format(", ".join(map(str, shown)) + (" ..." if len(ids) > SHOWN else "")))
