"""Newton's method on a residual, and derivatives of its end by the implicit function theorem.

Where r(u; p) = 0, du/dp = -(dr/du)^-1 dr/dp. `attach` puts that behind a solution that was found without any graph: parameters need not be
listed, since autograd finds them in the residual, evaluated once more at the solution.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from typing_extensions import override

from ...errors import StepError
from ..core import Outcome

Residual = Callable[[Tensor], Tensor]
"""A differentiable function of a field `[B, ...]` that returns the like."""


class Linear(Protocol):
    """A Jacobian J at some field, ready to be solved with; every environment has its own."""

    scale: Tensor
    """The size of the entries of J `[B]`."""

    def solve(self, right: Tensor) -> Tensor:
        """J^-1 right `[B, ...]`; what cannot be solved comes back as NaN."""

    def solve_transposed(self, right: Tensor) -> Tensor:
        """J^-T right `[B, ...]`."""


@dataclasses.dataclass(frozen=True)
class Newton:
    """How a residual is driven to zero.

    Args:
        linearise: makes the Jacobian of a residual at a field.
        tolerance: of the residual, as a part of the size of J times that of u; by default 1e-12 in f64, 3e-6 in f32.
        most: iterations.
    """

    linearise: Callable[[Residual, Tensor], Linear]
    tolerance: float | None = None
    most: int = 20


HALVINGS = 8
"""How often a Newton step that increases the residual is shortened."""


def newton_solve(residual: Residual, guess: Tensor, newton: Newton) -> tuple[Tensor, Tensor]:
    """The zero of `residual` near `guess` `[B, ...]`, without a graph.

    Returns:
        The field, and the outcome of every environment, int32 `[B]`; one that failed ends at its guess.
    """
    tolerance = (3e-6 if guess.dtype == torch.float32 else 1e-12) if newton.tolerance is None else newton.tolerance

    def wide(x: Tensor) -> Tensor:
        return x.view(-1, *[1] * (guess.ndim - 1))

    with torch.no_grad():
        u = guess.detach().clone()
        r = residual(u)
        size = _size(r)
        done = torch.zeros(len(u), dtype=torch.bool, device=u.device)
        lost = ~torch.isfinite(size)
        for iteration in range(newton.most + 1):
            if iteration and bool((done | lost).all()):
                break
            linear = newton.linearise(residual, u)
            done = done | (size <= tolerance * linear.scale * _size(u).clamp(min=torch.finfo(u.dtype).tiny))
            if bool((done | lost).all()) or iteration == newton.most:
                break
            step = linear.solve(r)
            lost = lost | ~torch.isfinite(_size(step))
            moving = ~(done | lost)
            share = torch.where(moving, 1.0, 0.0).to(u.dtype)
            step = torch.where(wide(moving), step, 0.0)
            for halving in range(HALVINGS + 1):
                tried = u - wide(share) * step
                r_tried = residual(tried)
                worse = moving & ~(_size(r_tried) <= size)
                if not bool(worse.any()) or halving == HALVINGS:
                    break
                share = torch.where(worse, share / 2, share)
            stuck = worse & ~(_size(r_tried) <= 2 * size)  # rounding may let it grow a little at the end
            lost = lost | stuck
            keep = moving & ~stuck
            u, r = torch.where(wide(keep), tried, u), torch.where(wide(keep), r_tried, r)
            size = _size(r)
            done = done | (size <= tolerance * linear.scale * _size(u).clamp(min=torch.finfo(u.dtype).tiny))
        status = torch.where(done, int(Outcome.OK), int(Outcome.NOT_CONVERGED)).to(torch.int32)
        status = torch.where(torch.isfinite(_size(r)) | done, status, int(Outcome.NOT_FINITE)).to(torch.int32)
        return torch.where(wide(status == Outcome.OK), u, guess.detach()), status


def implicit_solve(residual: Residual, guess: Tensor, newton: Newton) -> tuple[Tensor, Tensor]:
    """The zero of `residual` near `guess` `[B, ...]`, differentiable once in all that the residual depends on, but not in the guess.

    Returns:
        The field, and the outcome of every environment, int32 `[B]`; one that failed ends at its guess, and has no derivative there.
    """
    u, status = newton_solve(residual, guess, newton)
    return attach(u, residual, status, lambda g: newton.linearise(residual, u).solve_transposed(g)), status


def attach(u: Tensor, residual: Residual, status: Tensor, solve_transposed: Callable[[Tensor], Tensor]) -> Tensor:
    """`u`, with the derivatives of the zero of `residual` that it is.

    Args:
        u: `[B, ...]`, without a graph.
        residual: zero there.
        status: where it is not OK there is no derivative, and asking for it raises `StepError`.
        solve_transposed: g -> (dr/du)^-T g.
    """
    if not torch.is_grad_enabled():
        return u
    r = residual(u)
    return _Attach.apply(r, u, status, solve_transposed) if r.requires_grad else u


class _Attach(torch.autograd.Function):
    """`(r, u, status, solve_transposed)`: u, as a function of r."""

    @staticmethod
    @override
    def forward(ctx: Any, r: Tensor, u: Tensor, status: Tensor, solve_transposed: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.status, ctx.solve_transposed = status, solve_transposed
        return u.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    @override
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        asked = g.reshape(len(g), -1).any(1)
        for b in (asked & (ctx.status != Outcome.OK)).nonzero().flatten().tolist():
            raise StepError(
                f"Environment {b} did not finish its step ({Outcome(int(ctx.status[b])).name}), so its end has no derivative; "
                "use a smaller time step or more iterations."
            )
        if not bool(asked.any()):
            return torch.zeros_like(g), None, None, None
        w = ctx.solve_transposed(g.contiguous())
        if not bool(torch.isfinite(w).all()):
            raise StepError("The Jacobian of a step is singular there, so its derivative does not exist.")
        return -w, None, None, None


def _size(x: Tensor) -> Tensor:
    """The largest absolute value of every environment `[B]`; NaN where there is one."""
    return x.reshape(len(x), -1).abs().amax(1)
