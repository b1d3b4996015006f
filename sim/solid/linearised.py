"""The force whose zero ends a step, friction at the state itself included, and its exact Jacobian."""

from __future__ import annotations

import numpy as np
import rslab
import scipy.sparse as sp

from .assembly import Floats
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
            place = surface.positions(u)
            pairs = surface.contact.collisions(place)
            if len(pairs):
                reference = surface.positions(data.reference)
                self._friction = surface.contact.friction_jacobians(place, reference, data.span, pairs, potential.stiffness, data.friction)
                self.force = self.force + surface.pulled(self._friction.force)
        self._parts: tuple[list[Floats], list[sp.spmatrix]] | None = None

    def _symmetric(self) -> tuple[list[Floats], list[sp.spmatrix]]:
        """Blocks of elasticity and inertia, and the Hessian of the barrier."""
        if self._parts is None:
            self._parts = self.potential.blocks(self.u, False), self.potential.barrier_matrices(self.u, False)
        return self._parts

    def _rubbing(self) -> sp.spmatrix:
        assert self._friction is not None and self.potential.surface is not None
        return self.potential.surface.pulled_matrix(self._friction.by_position)

    def jacobian(self) -> sp.csc_matrix:
        """Among the free unknowns [n, n]."""
        pattern, values = self.potential.matrix(*self._symmetric())
        matrix = pattern.whole(values)
        if self._friction is None:
            return matrix
        rows, columns, entries = self.potential.structure.assembly.reduced(self._rubbing())
        return (matrix + sp.csc_matrix((entries, (rows, columns)), matrix.shape)).tocsc()

    def adjoint(self, gradient: Floats) -> Floats | None:
        """The solution of J' w = gradient among the free unknowns, zero elsewhere [U]; None where J is singular."""
        free, out = self.potential.structure.free, np.zeros_like(gradient)
        try:
            if self._friction is None:
                pattern, values = self.potential.matrix(*self._symmetric())
                factor = pattern.factor(values)
                if factor is None:
                    return None
                out[free] = factor.solve(gradient[free])
                diagonal = values[pattern.on_diagonal]
            else:
                matrix = self.jacobian()
                out[free] = rslab.lu(matrix).solve_transpose(gradient[free])
                diagonal = matrix.diagonal()
        except RuntimeError:  # singular
            return None
        return None if is_lost(diagonal, out[free], gradient[free]) else out

    def transposed(self, w: Floats) -> Floats:
        """J' w over all unknowns, prescribed ones included [U]."""
        blocks, contact = self._symmetric()
        out = self.potential.structure.assembly.times(blocks, w)
        for matrix in contact:
            out = out + matrix @ w
        return out if self._friction is None else out + self._rubbing().T @ w

    def by_reference(self, w: Floats) -> Floats:
        """The derivative of w . force with respect to the unknowns that velocity is measured from [U]."""
        if self._friction is None:
            return np.zeros_like(w)
        assert self.potential.surface is not None
        return self.potential.surface.pulled_matrix(self._friction.by_reference).T @ w

    def by_coefficients(self, w: Floats) -> Floats:
        """The derivative of w . force with respect to the coefficients of friction [P]."""
        if self._friction is None:
            return np.zeros_like(self.potential.data.friction)
        assert self.potential.surface is not None
        return self._friction.by_coefficient.T @ self.potential.surface.pushed(w)
