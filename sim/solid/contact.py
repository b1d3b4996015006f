"""Contact of triangle surfaces by a barrier, for the implicit solver: collisions, energy, largest step, friction. One environment at a time.

Incremental potential contact (Li et al. 2020) with the area-weighted barrier of Li et al. 2023. What was measured, and so chosen:

- Pairs are those of the original method. The correction for pairs counted twice ("improved max") has pairs of negative weight, and Newton's
  method needed 2 to 2.5 times as many iterations with it. Elements of bodies that do not move weigh no more than the largest moving one:
  otherwise an edge of a coarse table presses on a fine sheet with up to 20,000 times the pressure. Edge-edge pairs have a quarter of the
  weight of vertex-face pairs, so that the pressure over edges of an obstacle is that over its faces nearly everywhere.
- A sheet on a coarse obstacle feels a pressure of `stiffness |b'(gap)|`, within a few per cent for any mesh of the sheet; two moving
  surfaces of like meshes about twice that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import ipctk
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...errors import ModelError
from .barrier import projected_blocks
from .friction import FrictionJacobians, FrictionSet
from .intersections import crossing, near_pairs
from .pairs import Array, Ids, Pairs

EDGE_SHARE = 0.25


class Collisions:
    """The pairs that are nearer than offset + activation distance; made by `ContactSurface.collisions`, good for its positions only."""

    def __init__(self, found: ipctk.NormalCollisions, surface: ContactSurface) -> None:
        self.found, self._surface = found, surface

    def __len__(self) -> int:
        return len(self.found)

    @cached_property
    def pairs(self) -> Pairs:
        """The pairs as arrays."""
        s = self._surface
        return Pairs.of(self.found, s.edges, s.faces, s.vertex_areas)


class ContactSurface:
    """All surfaces of a scene that can touch.

    The search for near pairs is kept while surfaces move little. Call `start` at the beginning of a step: the same calls after it give the
    same bits, whatever came before.

    Args:
        vertices: reference positions of the surface vertices of all bodies `[V, 3]` [m]; areas come from them.
        faces: `[F, 3]`.
        body: which body a vertex belongs to `[V]`.
        moving: False for vertices that never move relative to each other `[V]`.
        activation_distance: gap at which surfaces start to repel each other [m].
        offset: gap that is always kept free between the surfaces, the thickness of shells [m].
        friction_speed: relative speed below which friction is less than Coulomb's [m/s].
        self_contact: whether the parts of a body can touch each other, for each body; default none.
        ignored: pairs of bodies that pass through each other.
        free_edges: edges without a face `[E, 2]`.

    Raises:
        ModelError: if numbers or shapes make no sense.
    """

    def __init__(
        self,
        vertices: Array,
        faces: Ids,
        body: Ids,
        moving: NDArray[np.bool_],
        activation_distance: float,
        offset: float = 0.0,
        friction_speed: float = 1e-3,
        self_contact: Sequence[bool] | None = None,
        ignored: Sequence[tuple[int, int]] = (),
        free_edges: Ids | None = None,
    ) -> None:
        for name, value, positive in (("activation distance", activation_distance, True), ("offset", offset, False),
                                      ("friction speed", friction_speed, True)):  # fmt: skip
            if not (np.isfinite(value) and (value > 0 if positive else value >= 0)):
                raise ModelError(f"The {name} of contact is {value}; it must be {'more than' if positive else 'at least'} 0.")
        self.body, self.moving = np.asarray(body, np.int64), np.asarray(moving, bool)
        self.faces = np.asarray(faces, np.int64).reshape(-1, 3)
        V = len(vertices)
        if vertices.shape != (V, 3) or self.body.shape != (V,) or self.moving.shape != (V,):
            raise ModelError(f"Contact needs vertices [V, 3], body [V] and moving [V]; these are {vertices.shape}, "
                             f"{self.body.shape} and {self.moving.shape}.")  # fmt: skip
        if len(self.faces) and (self.faces.min() < 0 or self.faces.max() >= V):
            raise ModelError(f"A face of the contact surface names a vertex that does not exist; there are {V}.")
        bodies = int(self.body.max()) + 1 if V else 0
        self.self_contact = np.asarray(self_contact if self_contact is not None else [False] * bodies, bool)
        if len(self.self_contact) != bodies:
            raise ModelError(f"self_contact has {len(self.self_contact)} entries for {bodies} bodies.")
        self.activation_distance, self.offset, self.friction_speed = activation_distance, offset, friction_speed
        self.may_touch = np.ones((bodies, bodies), bool)
        np.fill_diagonal(self.may_touch, self.self_contact)
        for i, j in ignored:
            self.may_touch[i, j] = self.may_touch[j, i] = False
        still = ~np.isin(np.arange(bodies), self.body[self.moving])
        self.may_touch[np.ix_(still, still)] = False
        self.body_pairs: list[tuple[int, int]] = [(int(i), int(j)) for i, j in np.argwhere(np.triu(self.may_touch))]
        """The pairs of bodies that can touch, first the smaller number; friction coefficients come in this order."""
        self._class = np.zeros((bodies, bodies), np.int64)
        for k, (i, j) in enumerate(self.body_pairs):
            self._class[i, j] = self._class[j, i] = k

        ipctk.set_num_threads(1)  # with more, the order of its sums, and so their last bits, change from run to run
        free = np.asarray(free_edges if free_edges is not None else np.empty((0, 2)), np.int64)
        rim = ipctk.edges(np.asfortranarray(self.faces, np.int32)).reshape(-1, 2)
        self.edges = np.concatenate([rim, free]).astype(np.int64)
        self._mesh = ipctk.CollisionMesh(
            np.asfortranarray(vertices, np.float64), np.asfortranarray(self.edges, np.int32), np.asfortranarray(self.faces, np.int32)
        )
        self._mesh.can_collide = self._filter()
        self._set_areas(np.asarray(vertices, np.float64), len(rim))
        # A pair that grazes on a long way takes millions of iterations; where it has come by then it may go on from in the next step.
        self._broad, self._narrow = ipctk.LBVH(), ipctk.AdditiveCCD(max_iterations=10_000)
        self._reach = activation_distance / 2  # how far surfaces may move before near pairs are searched for again
        self._near, self._around = ipctk.Candidates(), np.full((V, 3), np.nan)

    def _filter(self) -> ipctk.CollisionFilter:
        """Which vertices can touch which, as ipctk wants it: rejected is what lies within one patch."""
        V = len(self.body)
        alone = np.arange(V) + len(self.self_contact)
        patches = lambda of: ipctk.make_vertex_patches_filter(of.astype(np.int32))  # noqa: E731
        allowed = patches(np.where(self.self_contact[self.body], alone, self.body)) & patches(np.where(self.moving, alone, 0))
        for i, j in np.argwhere(~np.triu(self.may_touch, 1) & np.triu(np.ones_like(self.may_touch), 1)):
            both = np.isin(self.body, (i, j))
            if self.moving[both].any():
                allowed = allowed & (patches(np.where(both, 0, alone)) | ~patches(self.body))
        return allowed

    def _set_areas(self, x: Array, rim: int) -> None:
        """Gives each vertex and edge a third of the faces around it; a free edge has the width at which it starts to repel."""
        area = np.linalg.norm(np.cross(x[self.faces[:, 1]] - x[self.faces[:, 0]], x[self.faces[:, 2]] - x[self.faces[:, 0]]), axis=1) / 6
        V, E = len(x), len(self.edges)
        vertex_areas = np.bincount(self.faces.ravel(), np.repeat(area, 3), minlength=V)
        edge_areas = np.bincount(np.asarray(self._mesh.faces_to_edges, np.int64).ravel(), np.repeat(area, 3), minlength=E)
        free = self.edges[rim:]
        edge_areas[rim:] = np.linalg.norm(x[free[:, 0]] - x[free[:, 1]], axis=1) * (self.activation_distance + self.offset)
        vertex_areas += np.bincount(free.ravel(), np.repeat(edge_areas[rim:] / 2, 2), minlength=V)
        edge_moves = self.moving[self.edges[:, 0]]
        if edge_moves.any():
            vertex_areas = np.where(self.moving, vertex_areas, np.minimum(vertex_areas, vertex_areas[self.moving].max()))
            edge_areas = np.where(edge_moves, edge_areas, np.minimum(edge_areas, edge_areas[edge_moves].max()))
        self.vertex_areas = np.asarray(4 * vertex_areas, np.float64)  # ipctk takes a quarter of both
        self._mesh.vertex_areas, self._mesh.edge_areas = self.vertex_areas, 4 * EDGE_SHARE * edge_areas

    def start(self, X: Array) -> None:
        """Searches for near pairs around positions X `[V, 3]` [m]."""
        self._near.build(self._mesh, np.asfortranarray(X), self._reach + (self.activation_distance + self.offset) / 2, self._broad)
        self._around = np.array(X)

    def collisions(self, X: Array) -> Collisions:
        """The pairs that repel each other in positions X `[V, 3]` [m]."""
        if not np.abs(X - self._around).max() <= self._reach:
            self.start(X)
        found = ipctk.NormalCollisions()
        found.collision_set_type = ipctk.NormalCollisions.IPC
        found.use_area_weighting = True
        found.build(self._near, self._mesh, np.asfortranarray(X), self.activation_distance, self.offset)
        return Collisions(found, self)

    def _potential(self, stiffness: float) -> ipctk.BarrierPotential:
        return ipctk.BarrierPotential(self.activation_distance, stiffness, True)

    def barrier_energy(self, X: Array, collisions: Collisions, stiffness: float) -> float:
        """The energy of the barrier [J].

        Args:
            X: positions `[V, 3]` [m].
            collisions: those of X.
            stiffness: [Pa].
        """
        return float(self._potential(stiffness)(collisions.found, self._mesh, np.asfortranarray(X)))

    def barrier_gradient(self, X: Array, collisions: Collisions, stiffness: float) -> Array:
        """Its gradient `[3 V]` [N]; arguments as those of `barrier_energy`."""
        return self._potential(stiffness).gradient(collisions.found, self._mesh, np.asfortranarray(X))

    def barrier_hessian(self, X: Array, collisions: Collisions, stiffness: float, project: bool) -> sp.coo_matrix | sp.csc_matrix:
        """The Hessian `[3 V, 3 V]` [N/m] of the barrier, exact, or a sum of positive semi-definite blocks near it.

        Args:
            X: positions `[V, 3]` [m].
            collisions: those of X.
            stiffness: [Pa].
            project: whether it shall be positive semi-definite.
        """
        if project:
            pairs = collisions.pairs
            blocks = projected_blocks(pairs, X[pairs.vertices], stiffness, self.activation_distance, self.offset)
            return pairs.assemble(blocks, X.size)
        return self._potential(stiffness).hessian(collisions.found, self._mesh, np.asfortranarray(X))

    def smallest_gap(self, X: Array, collisions: Collisions) -> float:
        """The smallest distance of a pair minus the offset [m]; infinite without pairs. X `[V, 3]` [m]."""
        return float(np.sqrt(collisions.found.compute_minimum_distance(self._mesh, np.asfortranarray(X))) - self.offset)

    def largest_step(self, X0: Array, X1: Array) -> float:
        """The part of the way from X0 to X1, `[V, 3]` [m] both, on which every gap keeps at least a tenth of its width.

        1 for all of it, 0 where X1 is not finite.
        """
        near, a, b = self._near, np.asfortranarray(X0), np.asfortranarray(X1)
        away = float(np.abs(X1 - self._around).max())
        if not np.isfinite(away) and not np.isfinite(X1).all():
            return 0.0
        if not max(np.abs(X0 - self._around).max(), away) <= self._reach + self.activation_distance / 2:
            near = ipctk.Candidates()
            near.build(self._mesh, a, b, self.offset / 2, self._broad)
        return float(near.compute_collision_free_stepsize(self._mesh, a, b, self.offset, self._narrow))

    def friction_set(self, X: Array, collisions: Collisions, stiffness: float, mu: Array) -> FrictionSet:
        """The friction of lagged positions.

        Args:
            X: lagged positions `[V, 3]` [m].
            collisions: those of X.
            stiffness: of the barrier [Pa].
            mu: friction coefficient of each of `body_pairs` `[P]`.
        """
        if len(mu) != len(self.body_pairs):
            raise ModelError(f"{len(mu)} friction coefficients are given for the {len(self.body_pairs)} pairs of bodies that can touch.")
        pairs = collisions.pairs
        first, second = pairs.ends()
        classes = self._class[self.body[first], self.body[second]]
        return FrictionSet(
            pairs, X[pairs.vertices], stiffness, self.activation_distance, self.offset, self.friction_speed, np.asarray(mu, float), classes
        )

    def friction_jacobians(
        self, X: Array, start: Array, c: float, collisions: Collisions, stiffness: float, mu: Array
    ) -> FrictionJacobians:
        """Friction with the lag at X itself, and its total derivatives.

        Args:
            X: positions `[V, 3]` [m].
            start: positions from which velocities (X - start) / c are counted `[V, 3]` [m].
            c: [s].
            collisions: those of X.
            stiffness: of the barrier [Pa].
            mu: friction coefficient of each of `body_pairs` `[P]`.
        """
        return self.friction_set(X, collisions, stiffness, mu).jacobians((X - start) / c, c, len(mu))

    def intersections(self, X: Array) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The edges that pass through faces, as vertices of both, found without ipctk. X `[V, 3]` [m]."""
        e, f = near_pairs(X, self.edges, self.faces)
        edges, faces = self.edges[e], self.faces[f]
        apart = (edges[:, :, None] != faces[:, None, :]).all(axis=(1, 2))
        one, other = self.body[edges[:, 0]], self.body[faces[:, 0]]
        apart &= self.may_touch[one, other] & (self.moving[edges].any(axis=1) | self.moving[faces].any(axis=1))
        edges, faces = edges[apart], faces[apart]
        hit = crossing(X, edges, faces)
        return [(tuple(a), tuple(b)) for a, b in zip(edges[hit].tolist(), faces[hit].tolist(), strict=True)]

    def check_start(self, X: Array, names: Sequence[str]) -> None:
        """Refuses positions X `[V, 3]` [m] in which surfaces intersect, or are as near as the offset; `names` are those of the bodies.

        Raises:
            ModelError: which bodies and elements are concerned, and by how much.
        """
        if not np.isfinite(X).all():
            raise ModelError("A vertex of the contact surface has a position that is not a finite number.")
        found = self.intersections(X)
        if found:
            (edge, face), more = found[0], f" ({len(found) - 1} more places)" if len(found) > 1 else ""
            raise ModelError(f"{self._name(edge, 'edge', names)} passes through {self._name(face, 'face', names)}{more}. "
                             "Move the bodies apart.")  # fmt: skip
        self.start(X)
        pairs = self.collisions(X).pairs
        gap = pairs.closest(X[pairs.vertices]).d - self.offset if len(pairs.kind) else np.array([np.inf])
        at = int(np.argmin(gap))
        if not gap[at] > 0:
            first, second = (int(end[at]) for end in pairs.ends())
            raise ModelError(f"{self._name((first,), 'vertex', names)} and {self._name((second,), 'vertex', names)} belong to surfaces that "
                             f"are {gap[at] + self.offset:.3g} m apart, {-gap[at]:.3g} m nearer than the offset {self.offset:.3g} m. "
                             "Move the bodies apart or lower the offset.")  # fmt: skip

    def _name(self, vertices: tuple[int, ...], what: str, names: Sequence[str]) -> str:
        """An element in words, its vertices counted within their body."""
        own = self.body[vertices[0]]
        numbers = [int((self.body[:v] == own).sum()) for v in vertices]
        return f"{what} {numbers[0] if len(numbers) == 1 else tuple(numbers)} of {names[own]!r}"
