"""The force whose zero ends a step, friction at the state itself included, and its exact Jacobian."""

from __future__ import annotations

import numpy as np
import rslab

from .assembly import Floats, Triplets
from .potential import Potential

LOST = 1e14
"""A solution whose terms are so much larger than what they add up to has no digit left: its matrix is singular but for rounding."""


def is_lost(diagonal: Floats, solution: Floats, right: Floats) -> bool:
    """Whether a linear system with this diagonal is singular, as far as its solution for one right-hand side can tell."""
    with np.errstate(invalid="ignore", over="ignore"):
        return not np.abs(diagonal * solution).max(initial=0.0) <= LOST * np.abs(right).max(initial=0.0)


class Linearised:
    """Force and Jacobian of a step at `u` [U].

    The force is the gradient of the potential without lagged friction, plus friction with the normal forces and tangents of `u`. Its
    Jacobian has no projected block, and is not symmetric where there is friction.
    """

    def __init__(self, potential: Potential, u: Floats) -> None:
        self.potential, self.u = potential, u
        self.force = potential.gradient(u, friction=False)
        self._friction = None
        data, surface = potential.data, potential.surface
        if surface is not None and bool((data.friction > 0).any()):
            pairs = surface.collisions(u)
            if len(pairs):
                place, reference = surface.positions(u), surface.positions(data.reference)
                self._friction = surface.contact.friction_jacobians(place, reference, data.span, pairs, potential.stiffness, data.friction)
                self.force = self.force + surface.pulled(self._friction.force)
        self._parts: tuple[list[Floats], list[Triplets]] | None = None
        self._diagonal = np.empty(0)  # of the symmetric part, once it was factored

    def _symmetric(self) -> tuple[list[Floats], list[Triplets]]:
        """Blocks of elasticity and inertia, and the Hessian of the barrier."""
        if self._parts is None:
            self._parts = self.potential.blocks(self.u, False), self.potential.barrier_matrices(self.u, False)
        return self._parts

    def _rubbing(self) -> Triplets:
        assert self._friction is not None
        assert self.potential.surface is not None
        return self.potential.surface.pulled_matrix(self._friction.positions)

    def factor(self) -> rslab.Ldlt | rslab.Lu | None:
        """A factor of the Jacobian among the free unknowns; None where it is singular."""
        blocks, contact = self._symmetric()
        if self._friction is None:
            pattern, values = self.potential.matrix(blocks, contact)
            self._diagonal = values[pattern.on_diagonal]
            return pattern.factor(values)
        extra = self._rubbing()
        places = Triplets(extra.rows, extra.columns, 0.0 * extra.values)
        pattern, values = self.potential.matrix(blocks, [*contact, places, places.transposed()])
        self._diagonal = values[pattern.on_diagonal]
        return pattern.lu(values, self.potential.structure.assembly.reduced(extra))

    def adjoint(self, gradient: Floats) -> Floats | None:
        """The solution of J' w = gradient among the free unknowns, zero elsewhere [U]; None where J is singular."""
        factor, free, out = self.factor(), self.potential.structure.free, np.zeros_like(gradient)
        if factor is None:
            return None
        out[free] = factor.solve_transpose(gradient[free])
        return None if is_lost(self._diagonal, out[free], gradient[free]) else out

    def transposed(self, w: Floats) -> Floats:
        """J' w over all unknowns, prescribed ones included [U]."""
        blocks, contact = self._symmetric()
        out = self.potential.structure.assembly.times(blocks, w)
        for matrix in contact:
            out = out + matrix.times(w)
        return out if self._friction is None else out + self._rubbing().transposed().times(w)

    def by_reference(self, w: Floats) -> Floats:
        """The derivative of w . force with respect to the unknowns that velocity is measured from [U]."""
        if self._friction is None:
            return np.zeros_like(w)
        assert self.potential.surface is not None
        return self.potential.surface.pulled_matrix(self._friction.start).transposed().times(w)

    def by_stiffness(self, w: Floats) -> float:
        """The derivative of w . force with respect to the stiffness of the barrier, which normal and friction forces are proportional to."""
        surface, stiffness = self.potential.surface, self.potential.stiffness
        if surface is None:
            return 0.0
        force = self.potential.barrier_gradient(self.u)
        if self._friction is not None:
            force = force + surface.pulled(self._friction.force)
        return float(w @ force) / stiffness

    def by_coefficients(self, w: Floats) -> Floats:
        """The derivative of w . force with respect to the coefficients of friction [P]."""
        if self._friction is None:
            return np.zeros_like(self.potential.data.friction)
        assert self.potential.surface is not None
        return self._friction.coefficients.T @ self.potential.surface.pushed(w)
