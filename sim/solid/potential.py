"""The incremental potential of one step of one environment: inertia, elastic energies, loads, contact barrier and lagged friction."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .assembly import Assembly, Floats, Growing, Ints, Pattern, Triplets
from .contact import Collisions, ContactSurface
from .friction import FrictionSet
from .term import Term


@dataclasses.dataclass(frozen=True)
class Structure:
    """What the steps of all environments of a solver share.

    Args:
        terms: the elastic energies.
        assembly: over the patterns of all terms and then the two of `mass_patterns`.
        coupled: pairs of different nodes [m, 2] that the mass matrix couples, each once.
        surface: of all bodies, or None without contact.
        embedding: surface vertices from nodes, sparse [V, N].
        arms: by how much a unit of each unknown moves something [U]: 1 of a coordinate, about the height of a face of an edge rotation [m].
        static: whether there is no inertia.
    """

    terms: Sequence[Term]
    assembly: Assembly
    coupled: Ints
    surface: ContactSurface | None
    embedding: sp.csr_matrix
    arms: Floats
    static: bool

    @property
    def free(self) -> Ints:
        """The unknowns that are not prescribed."""
        return self.assembly.free


@dataclasses.dataclass(frozen=True)
class StepData:
    """One environment's step: minimise over u, with the prescribed unknowns at `target`.

    Args:
        start: unknowns before the step [U].
        predicted: where inertia alone would take them [U].
        reference: what the velocity is measured from [U]: velocity = (u - reference) / span.
        target: values of the prescribed unknowns at the end [U]; other entries mean nothing.
        mass: entries of the mass matrix: its diagonal, then one for each pair of `Structure.coupled` [N + m].
        load: forces, weight included [U].
        friction: coefficients of the pairs of bodies [P].
        span: the time that velocity is measured over [s], of implicit Euler the step.
        parameters: of each term.
    """

    start: Floats
    predicted: Floats
    reference: Floats
    target: Floats
    mass: Floats
    load: Floats
    friction: Floats
    span: float
    parameters: Sequence[Tensor]


def mass_patterns(nodes: int, coupled: Ints) -> list[Ints]:
    """The tables of unknowns that the mass matrix couples: every coordinate with itself, and those of coupled nodes with each other."""
    axes = np.arange(3)
    pairs = (3 * coupled[:, None, :] + axes[:, None]).reshape(-1, 2)
    return [np.arange(3 * nodes)[:, None], pairs]


class Surface:
    """The contact surface as a function of the unknowns."""

    def __init__(self, structure: Structure, count: int) -> None:
        assert structure.surface is not None
        self.contact = structure.surface
        self._nodes = structure.embedding.shape[1]
        self._count = count
        self._last: tuple[Floats, Collisions] | None = None
        self._embedding = structure.embedding
        single = structure.embedding.nnz == structure.embedding.shape[0] and bool((structure.embedding.data == 1).all())
        # Where every surface vertex is a node, contact's matrices need renumbering only.
        self._at = None
        if single:
            self._at = (3 * structure.embedding.indices[:, None].astype(np.int64) + np.arange(3)).ravel()
        else:
            wide = sp.kron(structure.embedding, sp.identity(3), format="csr")
            counts = np.diff(structure.embedding.indptr)
            self._nodes_of, self._weights_of = np.zeros((len(counts), 4), dtype=np.int64), np.zeros((len(counts), 4))
            place = np.arange(4) < counts[:, None]
            self._nodes_of[place], self._weights_of[place] = structure.embedding.indices, structure.embedding.data
            self._plain = np.repeat(counts == 1, 3)
            self._wide = sp.hstack([wide, sp.csr_matrix((wide.shape[0], count - wide.shape[1]))]).tocsr()

    def collisions(self, u: Floats) -> Collisions:
        """The pairs near each other at u, which is not written to afterwards; those of the last u are kept."""
        if self._last is None or self._last[0] is not u:
            self._last = (u, self.contact.collisions(self.positions(u)))
        return self._last[1]

    def positions(self, u: Floats) -> Floats:
        """Places of the surface's vertices [V, 3]."""
        if self._at is not None:
            return u[self._at].reshape(-1, 3)
        return self._embedding @ u[: 3 * self._nodes].reshape(-1, 3)

    def pulled(self, gradient: Floats) -> Floats:
        """A gradient over the unknowns [U] from one over the surface [3 V] or [V, 3]."""
        if self._at is None:
            return self._wide.T @ gradient.ravel()
        out = np.zeros(self._count)
        out[self._at] = gradient.ravel()
        return out

    def pushed(self, vector: Floats) -> Floats:
        """What a change of the unknowns [U] is to the surface [3 V]."""
        return vector[self._at] if self._at is not None else self._wide @ vector

    def pulled_matrix(self, matrix: sp.coo_matrix | sp.csc_matrix) -> Triplets:
        """A matrix over the unknowns [U, U] from one over the surface [3 V, 3 V]."""
        if matrix.format == "csc":
            rows, columns = matrix.indices, np.repeat(np.arange(matrix.shape[1]), np.diff(matrix.indptr))
        else:
            rows, columns = matrix.row, matrix.col
        if self._at is not None:
            return Triplets(self._at[rows], self._at[columns], matrix.data)
        # A vertex of a rigid body hangs on four nodes: what couples such becomes sixteen entries, those without weight left out.
        plain = self._plain[rows] & self._plain[columns]
        left, right = self._hung(rows[~plain]), self._hung(columns[~plain])
        values = matrix.data[~plain][:, None, None] * left[1][:, :, None] * right[1][:, None, :]
        kept = values != 0
        more = [np.broadcast_to(at, values.shape)[kept] for at in (left[0][:, :, None], right[0][:, None, :])]
        own = [self._hung(at[plain])[0][:, 0] for at in (rows, columns)]
        joined = [np.concatenate(parts) for parts in zip(own, more, strict=True)]
        return Triplets(joined[0], joined[1], np.concatenate([matrix.data[plain], values[kept]]))

    def _hung(self, coordinates: Ints) -> tuple[Ints, Floats]:
        """The unknowns that coordinates of surface vertices hang on [m, 4], and their weights."""
        vertex, axis = np.divmod(coordinates, 3)
        return 3 * self._nodes_of[vertex] + axis[:, None], self._weights_of[vertex]


class Potential:
    """The energy of a step [J] and its derivatives with respect to the unknowns, for a given barrier and lagged friction."""

    def __init__(self, structure: Structure, data: StepData, surface: Surface | None) -> None:
        self.structure, self.data, self.surface = structure, data, surface
        self.weight = 0.0 if structure.static else 1.0 / data.span**2
        nodes = structure.embedding.shape[1]
        (a, b), diagonal, off = structure.coupled.T, np.arange(nodes), data.mass[nodes:]
        rows, columns = np.concatenate([diagonal, a, b]), np.concatenate([diagonal, b, a])
        self._mass = sp.csr_matrix((np.concatenate([data.mass, off]), (rows, columns)), (nodes, nodes))
        self._mass_blocks = [np.repeat(self.weight * data.mass[:nodes], 3)[:, None, None], np.zeros((3 * len(off), 2, 2))]
        self._mass_blocks[1][:, 0, 1] = self._mass_blocks[1][:, 1, 0] = np.repeat(self.weight * off, 3)
        self._nodes = nodes
        self.stiffness = 0.0
        self.friction: Sequence[FrictionSet] = ()
        # of several lags, the mean: where one leads to the other and back, it leads in between
        self._growing = Growing(structure.assembly)
        self._last: tuple[Floats, Tensor] | None = None
        # Energies are differences of numbers as large as these; what is smaller than their rounding says nothing.
        self.scale = 0.0

    # ---- pieces

    def inertia(self, moved: Floats) -> Floats:
        """M / span^2 times a move [U]; of the move from the predicted place it is the gradient of the inertia term."""
        out = np.zeros_like(moved)
        if self.weight:
            n = 3 * self._nodes
            out[:n] = self.weight * (self._mass @ moved[:n].reshape(-1, 3)).ravel()
        return out

    def velocity(self, u: Floats) -> Floats:
        """Of the surface's vertices [V, 3] [m/s]."""
        assert self.surface is not None
        return self.surface.positions(u - self.data.reference) / self.data.span

    def _tensor(self, u: Floats) -> Tensor:
        """u, which is not written to afterwards, as the same tensor every time: terms keep what they found for the last one."""
        if self._last is None or self._last[0] is not u:
            self._last = (u, torch.from_numpy(u))
        return self._last[1]

    # ---- values

    def elastic_energy(self, u: Floats) -> float:
        """Of all terms [J]."""
        tensor = self._tensor(u)
        return sum(term.energy(tensor, par) for term, par in zip(self.structure.terms, self.data.parameters, strict=True))

    def barrier_energy(self, u: Floats) -> float:
        """Of the contact barrier [J]."""
        if self.surface is None:
            return 0.0
        return self.surface.contact.barrier_energy(self.surface.positions(u), self.surface.collisions(u), self.stiffness)

    def energy(self, u: Floats) -> float:
        """The potential, infinite where it does not exist."""
        moved = u - self.data.predicted
        velocity = self.velocity(u) if self.friction else np.empty(0)
        friction = sum(lag.energy(velocity) for lag in self.friction) * self.data.span / max(1, len(self.friction))
        parts = [
            0.5 * float(moved @ self.inertia(moved)),
            -float(self.data.load @ moved),
            self.elastic_energy(u),
            self.barrier_energy(u),
            friction,
        ]
        if not all(map(math.isfinite, parts)):
            return math.inf
        self.scale = max(map(abs, parts))
        return math.fsum(parts)

    def gradient(self, u: Floats, *, friction: bool = True) -> Floats:
        """Its gradient [U]; without the lagged friction if so wanted."""
        data = self.data
        out = self.inertia(u - data.predicted) - data.load
        tensor = self._tensor(u)
        for term, par in zip(self.structure.terms, data.parameters, strict=True):
            out += term.gradient(tensor, par).numpy()
        if self.surface is not None:
            out += self.barrier_gradient(u)
            if friction and self.friction:
                velocity = self.velocity(u)
                rub = np.sum([lag.gradient(velocity) for lag in self.friction], axis=0)
                out += self.surface.pulled(rub) / len(self.friction)
        return out

    def barrier_gradient(self, u: Floats) -> Floats:
        """Of the contact barrier [U]."""
        assert self.surface is not None
        gradient = self.surface.contact.barrier_gradient(self.surface.positions(u), self.surface.collisions(u), self.stiffness)
        return self.surface.pulled(gradient)

    def blocks(self, u: Floats, project: bool) -> list[Floats]:
        """Hessian blocks of elasticity and inertia, in the order of the assembly's patterns."""
        tensor = self._tensor(u)
        blocks = []
        for term, par in zip(self.structure.terms, self.data.parameters, strict=True):
            blocks += [block.numpy() for block in term.hessians(tensor, par, project)]
        return blocks + self._mass_blocks

    def barrier_matrices(self, u: Floats, project: bool) -> list[Triplets]:
        """The Hessian of the barrier [U, U]; none where nothing touches."""
        if self.surface is None:
            return []
        matrix = self.surface.contact.barrier_hessian(self.surface.positions(u), self.surface.collisions(u), self.stiffness, project)
        return [self.surface.pulled_matrix(matrix)] if matrix.nnz else []

    def contact_matrices(self, u: Floats, project: bool) -> list[Triplets]:
        """Hessians of the barrier and of the lagged friction [U, U]."""
        matrices = self.barrier_matrices(u, project)
        for lag in self.friction:
            rub = lag.hessian(self.velocity(u))
            if self.surface is not None and rub.nnz:
                rows, columns, values = self.surface.pulled_matrix(rub)
                matrices.append(Triplets(rows, columns, values / (self.data.span * len(self.friction))))
        return matrices

    def matrix(self, blocks: Sequence[Floats], contact: Sequence[Triplets]) -> tuple[Pattern, Floats]:
        """The Hessian among the free unknowns."""
        return self._growing.matrix(blocks, contact)
