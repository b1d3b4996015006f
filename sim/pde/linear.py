"""Ways to solve with the Jacobian of a residual: sparse LU, Thomas' algorithm, conjugate gradients with multigrid."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError
from .equation import Equation
from .implicit import Linear, Residual
from .jacobian import Pullback, Stencil, stencil
from .multigrid import Multigrid, conjugate_gradients, elliptic_multigrid
from .tridiagonal import solve_tridiagonal

LOST = 1e14
"""How much larger than a right-hand side the terms of a solution may be."""
Method = Literal["auto", "direct", "thomas", "multigrid"]


class SparseLu:
    """A factor of every environment's Jacobian (SuperLU, in f64)."""

    def __init__(self, residual: Residual, u: Tensor, pattern: Stencil, check: bool = False) -> None:
        import scipy.sparse as sp
        from scipy.sparse.linalg import splu

        entries = _entries(residual, u, pattern, check)
        self.scale = entries.abs().amax(1)
        size = pattern.cells * pattern.components
        self._factors = []
        for values in entries.double().cpu().numpy():
            try:
                matrix = sp.csc_matrix((values, (pattern.rows, pattern.columns)), (size, size))
                self._factors.append(splu(matrix) if np.isfinite(values).all() else None)
            except RuntimeError:  # exactly singular
                self._factors.append(None)

    def _solve(self, right: Tensor, trans: str) -> Tensor:
        flat = right.detach().reshape(len(right), -1).double().cpu().numpy()
        found = np.full_like(flat, np.nan)
        for b, factor in enumerate(self._factors):
            if factor is not None and np.isfinite(flat[b]).all():
                found[b] = factor.solve(flat[b], trans=trans)
        return _kept(torch.from_numpy(found).to(right).view(right.shape), right, self.scale)

    def solve(self, right: Tensor) -> Tensor:
        """J^-1 right."""
        return self._solve(right, "N")

    def solve_transposed(self, right: Tensor) -> Tensor:
        """J^-T right."""
        return self._solve(right, "T")


class Tridiagonal:
    """The three diagonals of every environment's Jacobian, for one axis with walls and a reach of one cell."""

    def __init__(self, residual: Residual, u: Tensor, pattern: Stencil, check: bool = False) -> None:
        entries = _entries(residual, u, pattern, check)
        self.scale = entries.abs().amax(1)
        # An index past the end stands for an entry that there is not; it finds the zero that is put there.
        padded = torch.nn.functional.pad(entries, (0, 1))
        by_row, by_column = pattern.diagonals
        self._bands = [padded[:, index] for index in by_row]
        self._columns = [padded[:, index] for index in by_column]

    def solve(self, right: Tensor) -> Tensor:
        """J^-1 right."""
        lower, diagonal, upper = self._bands
        return _kept(solve_tridiagonal(lower, diagonal, upper, right), right, self.scale)

    def solve_transposed(self, right: Tensor) -> Tensor:
        """J^-T right."""
        lower, diagonal, upper = self._columns
        return _kept(solve_tridiagonal(lower, diagonal, upper, right), right, self.scale)


class SymmetricKrylov:
    """Conjugate gradients with products by the backward pass of the residual, for symmetric Jacobians, preconditioned by multigrid.

    Args:
        residual: of a step.
        u: where.
        hierarchy: of a matrix near J, or near -J.
        sign: of J: 1 where it is positive definite, -1 where -J is.
        tolerance: of the residual of a solve, relative.
        most: iterations.
    """

    def __init__(self, residual: Residual, u: Tensor, hierarchy: Multigrid, sign: float, tolerance: float, most: int = 200) -> None:
        self._pullback, self._hierarchy = Pullback(residual, u), hierarchy
        self._sign, self._tolerance, self._most = sign, tolerance, most
        faces = sum(2 * k.reshape(len(k), -1).amax(1) for k in hierarchy.faces)
        self.scale = (hierarchy.alpha.reshape(len(hierarchy.alpha), -1).amax(1) + faces).expand(len(u))

    def solve(self, right: Tensor) -> Tensor:
        """J^-1 right, by environment; NaN where the iteration does not converge."""
        finite = torch.isfinite(right.reshape(len(right), -1)).all(1)
        wide = (-1, *[1] * (right.ndim - 1))
        safe = torch.where(finite.view(wide), right, 0.0)
        found, ok, _ = conjugate_gradients(
            lambda v: self._sign * self._pullback(v), self._hierarchy.cycle, self._sign * safe, self._tolerance, self._most
        )
        return torch.where((ok & finite).view(wide), found, torch.nan)

    def solve_transposed(self, right: Tensor) -> Tensor:
        """The same, by symmetry."""
        return self.solve(right)


def _entries(residual: Residual, u: Tensor, pattern: Stencil, check: bool) -> Tensor:
    """The entries of the Jacobian `[B, entries]`; `check`: whether the residual is asked if it looks no further than the pattern."""
    pullback = Pullback(residual, u)
    entries = pattern.entries(pullback)
    if check:
        pattern.check(pullback, entries)
    return entries


def _kept(found: Tensor, right: Tensor, scale: Tensor) -> Tensor:
    """`found`, but NaN where its terms are so much larger than what they add up to that no digit is left: J is singular there."""
    size, wanted = (x.reshape(len(x), -1).abs().amax(1) for x in (found, right))
    lost = ~(size * scale <= LOST * wanted)
    return torch.where(lost.view(-1, *[1] * (found.ndim - 1)), torch.nan, found)


def linearizer(
    equation: Equation, method: Method, shift: float = 0.0, share: float = -1.0, components: int = 1
) -> Callable[[Residual, Tensor], Linear]:
    """How to solve with Jacobians shift - share d(rhs)/du of residuals of `equation`.

    Args:
        equation: whose `reach`, `symmetric` and `elliptic` are looked at.
        method: "direct"; "thomas" (one axis with walls, reach 1); "multigrid" (symmetric equations that have `elliptic`); or "auto", which is
            Thomas where it can be, and direct elsewhere.
        shift: 1 / dt of a step, 0 of a steady equation.
        share: theta of a step, -1 of a steady equation.
        components: unknowns of a cell.

    Raises:
        ModelError: if the method does not suit the equation.
    """
    domain = equation.domain
    narrow = domain.grid.dimension == 1 and not domain.periodic[0] and equation.reach == 1 and components == 1
    if method == "auto":
        method = "thomas" if narrow else "direct"
    if method == "thomas" and not narrow:
        raise ModelError("Thomas' algorithm needs one axis with walls on both sides and a reach of one cell; use 'direct'.")
    if method == "multigrid":
        if not equation.symmetric:
            raise ModelError(f"{type(equation).__name__} has no symmetric Jacobian, which multigrid needs here; use 'direct'.")

        def krylov(residual: Residual, u: Tensor) -> Linear:
            elliptic = equation.elliptic(u)
            if elliptic is None:
                raise ModelError(f"{type(equation).__name__} has no `elliptic`, which multigrid needs; use 'direct'.")
            with torch.no_grad():
                alpha, coefficient = elliptic
                weight = abs(share)
                near = shift + weight * domain.spread("alpha", alpha, u)
                scaled = tuple(k * weight for k in coefficient) if isinstance(coefficient, tuple) else coefficient * weight
                hierarchy = elliptic_multigrid(near, scaled, domain, u, getattr(equation, "mean", "arithmetic"))
            return SymmetricKrylov(residual, u, hierarchy, 1.0 if share > 0 else -1.0, 1e-5 if u.dtype == torch.float32 else 1e-12)

        return krylov
    if method not in ("direct", "thomas"):
        raise ModelError(f"The linear solver is {method!r}; it must be 'auto', 'direct', 'thomas' or 'multigrid'.")
    kind = Tridiagonal if method == "thomas" else SparseLu
    unchecked = [True]

    @functools.wraps(kind)
    def assembled(residual: Residual, u: Tensor) -> Linear:
        pattern = stencil(domain.grid.shape, domain.periodic, equation.reach, components)
        found = kind(residual, u, pattern, check=unchecked[0])
        unchecked[0] = False
        return found

    return assembled
