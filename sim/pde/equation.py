"""What an equation is: one definition of its discretisation, for steppers, for whole space-time arrays, and for networks.

A residual is zero where the discrete equation holds. `implicit.py` and the solver drive it to zero step by step, ODIL minimises it for all
time levels at once, a network is trained on it: all of them call the same function.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError, ShapeError
from .domain import Domain
from .operators import Coefficient


class Equation:
    """An equation on a domain. Subclass `Steady`, `Evolution` or `Oscillation`.

    Args:
        domain: grid, sides and mask.

    A parameter may be what `Domain.spread` takes, and may require a gradient. Fields are `[B, ..., *shape]`; in cells outside the mask a residual
    is the field itself, so that it is zero there.
    """

    reach: int = 1
    """How many cells away, along every axis, the residual of a cell looks; what the assembly of a Jacobian needs."""
    symmetric: bool = False
    """Whether the Jacobian of `rhs` is symmetric, so that conjugate gradients solve implicit steps."""

    def __init__(self, domain: Domain) -> None:
        self.domain = domain

    def elliptic(self, u: Tensor) -> tuple[Any, Coefficient] | None:
        """`(alpha, D)` such that minus the Jacobian of the right-hand side is about alpha - div(D grad), for multigrid; None: no idea."""
        return None

    def _masked(self, residual: Tensor, field: Tensor) -> Tensor:
        """The residual inside the mask, the field outside."""
        inside = self.domain.inside(field)
        return residual if inside is None else torch.where(self.domain.mask, residual, field)  # type: ignore[arg-type]


class Steady(Equation, ABC):
    """0 = rhs(u)."""

    @abstractmethod
    def rhs(self, u: Tensor) -> Tensor:
        """What must vanish, `[B, ..., *shape]`."""

    def residual(self, u: Tensor) -> Tensor:
        """Zero where u solves the discrete equation."""
        return self._masked(self.rhs(u), u)


class Evolution(Equation, ABC):
    """du/dt = rhs(u, t)."""

    @abstractmethod
    def rhs(self, u: Tensor, time: Any) -> Tensor:
        """The rate of change [1/s times the unit of u], `[B, ..., *shape]`; `time` [s] is a number or broadcasts against u."""

    def stable_dt(self, u: Tensor) -> Tensor | None:
        """The longest step that explicit schemes may take from u `[B]` [s], or None where nothing is known."""
        return None

    def residual(self, new: Tensor, old: Tensor, dt: float, time: Any = 0.0, theta: float = 1.0, source: float | Tensor = 0.0) -> Tensor:
        """Of a step from `old` at `time` to `new`: theta = 1 is implicit Euler, 1/2 Crank-Nicolson, 0 forward Euler.

        Args:
            new: at time + dt, `[B, ..., *shape]`.
            old: at `time`.
            dt: [s].
            time: [s].
            theta: share of the new level in the right-hand side.
            source: what is added to the right-hand side.
        """
        residual = (new - old) / dt - source
        if theta > 0:
            residual = residual - theta * self.rhs(new, time + dt)
        if theta < 1:
            residual = residual - (1 - theta) * self.rhs(old, time)
        return self._masked(residual, new)

    def over_time(self, levels: Tensor, dt: float, start: float = 0.0, theta: float = 0.5) -> Tensor:
        """The residuals of all steps of a space-time array.

        Args:
            levels: `[B, T + 1, *shape]`, the first one at time `start`.
            dt: between two levels [s].
            start: [s].
            theta: as in `residual`.

        Returns:
            `[B, T, *shape]`.
        """
        _check_levels(self.domain, levels, 2)
        steps = levels.shape[1] - 1
        time = _times(self.domain, levels, steps, start, dt)
        return self.residual(levels[:, 1:], levels[:, :-1], dt, time, theta)


class Oscillation(Equation, ABC):
    """d2u/dt2 = rhs(u, t)."""

    @abstractmethod
    def rhs(self, u: Tensor, time: Any) -> Tensor:
        """The acceleration, `[B, ..., *shape]`."""

    def stable_dt(self, u: Tensor) -> Tensor | None:
        """The longest step of leapfrog from u `[B]` [s], or None where nothing is known."""
        return None

    def residual(self, new: Tensor, old: Tensor, older: Tensor, dt: float, time: Any = 0.0, source: float | Tensor = 0.0) -> Tensor:
        """Of a leapfrog step to `new` from `old` at `time` and `older` at time - dt, each `[B, ..., *shape]`."""
        return self._masked((new - 2 * old + older) / dt**2 - self.rhs(old, time) - source, new)

    def first_step(self, old: Tensor, velocity: Tensor, dt: float, time: Any = 0.0, source: float | Tensor = 0.0) -> Tensor:
        """The level after the first one, to second order, from u and du/dt at `time`."""
        return old + dt * velocity + (dt**2 / 2) * (self.rhs(old, time) + source)

    def over_time(self, levels: Tensor, velocity: Tensor, dt: float, start: float = 0.0) -> Tensor:
        """The residuals of all steps of `levels` `[B, T + 1, *shape]`, the first one from `velocity` `[B, *shape]`; `[B, T, *shape]`."""
        _check_levels(self.domain, levels, 3)
        first = self._masked((levels[:, 1] - self.first_step(levels[:, 0], velocity, dt, start)) * (2 / dt**2), levels[:, 1])
        time = _times(self.domain, levels, levels.shape[1] - 2, start + dt, dt)
        return torch.cat([first[:, None], self.residual(levels[:, 2:], levels[:, 1:-1], levels[:, :-2], dt, time)], 1)


def _check_levels(domain: Domain, levels: Tensor, least: int) -> None:
    domain.check("The space-time array", levels)
    if levels.ndim != domain.grid.dimension + 2 or levels.shape[1] < least:
        raise ShapeError(
            f"The space-time array has shape {tuple(levels.shape)}; it must be [B, T + 1, *{domain.grid.shape}], {least} levels or more."
        )


def _times(domain: Domain, levels: Tensor, count: int, start: float, dt: float) -> Tensor:
    """The times of `count` levels `[1, count, 1, ...]` [s]."""
    if not dt > 0:
        raise ModelError(f"The time step is {dt} s; it must be positive.")
    steps = torch.arange(count, dtype=levels.dtype, device=levels.device)
    return (start + dt * steps).view(1, -1, *[1] * domain.grid.dimension)
