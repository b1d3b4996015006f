"""One implicit step as a torch operation; its adjoint by the implicit function theorem.

At the end u of a step the force r(u; inputs) on the free unknowns is zero, so that a loss L has dL/d(input) = -w . dr/d(input) with
(dr/du)' w = dL/du: one linear solve, whatever the number of Newton iterations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ...errors import StepError
from ..core import Outcome
from .linearised import Linearised
from .newton import Solution, solve_step
from .potential import Potential, StepData, Structure, Surface


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a step is solved.

    Args:
        spans: the time that velocity is measured over, of every environment [s].
        activation: activation distance of the barrier [m].
        tolerance: of Newton's method [m/s].
        most: its iterations.
    """

    spans: Sequence[float]
    activation: float
    tolerance: float
    most: int


class ImplicitStep(torch.autograd.Function):
    """`(structure, settings, report, start, stiffness, predicted, reference, target, mass, load, friction, *parameters)`, all [B, ...].

    Returns the unknowns at the end [B, U], the outcomes int32 [B] and the stiffness of the barrier [B]. `report` is a list that takes the
    `Solution` of every environment.
    """

    @staticmethod
    @override
    def forward(
        ctx: Any, structure: Structure, settings: Settings, report: list[Solution], *tensors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        start, stiffness, *inputs = (tensor.detach() for tensor in tensors)
        for b in range(len(start)):
            data = step_data(settings, b, start[b], *(tensor[b] for tensor in inputs))
            report.append(solve_step(structure, data, float(stiffness[b]), settings.activation, settings.tolerance, settings.most))
        # A failed step ends where it began, so that nothing built on it is NaN.
        ends = [s.unknowns if s.outcome == Outcome.OK else old.numpy() for s, old in zip(report, start, strict=True)]
        end = torch.from_numpy(np.stack(ends)) if report else start
        status = torch.tensor([int(solution.outcome) for solution in report], dtype=torch.int32)
        stiffness = torch.tensor([solution.stiffness for solution in report], dtype=torch.float64)
        ctx.structure, ctx.settings = structure, settings
        ctx.save_for_backward(end, status, stiffness, tensors[1].detach(), start, *inputs)
        ctx.mark_non_differentiable(status)
        return end, status, stiffness

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        end, status, stiffness, stiffness_before, start, *inputs = ctx.saved_tensors
        wanted = ctx.needs_input_grad[5:]
        # The barrier may have been stiffened by a factor, which is locally constant.
        factor = torch.where(stiffness_before > 0, stiffness / stiffness_before, 1.0)
        by_stiffness = gradients[2] * factor
        out = [torch.zeros_like(tensor) if want else None for tensor, want in zip(inputs, wanted, strict=True)]
        for b in range(len(end)):
            if not bool(gradients[0][b].any()):
                continue
            if status[b] != Outcome.OK:
                raise StepError(
                    f"Environment {b} did not finish its step ({Outcome(int(status[b])).name}), so its end has no derivative; "
                    "use a smaller time step or more max_iterations."
                )
            parts = _environment(
                ctx.structure, ctx.settings, b, gradients[0][b], end[b], float(stiffness[b]), start[b], [x[b] for x in inputs], wanted
            )
            by_stiffness[b] += factor[b] * parts[0]  # type: ignore[operator]
            for tensor, part in zip(out, parts[1:], strict=True):
                if tensor is not None and part is not None:
                    tensor[b] = part
        return (None, None, None, None, by_stiffness, *out)


def step_data(settings: Settings, b: int, start: Tensor, *inputs: Tensor) -> StepData:
    """Environment b's part of what `ImplicitStep` takes, the stiffness of contact left out."""
    arrays = [tensor.contiguous().numpy() for tensor in (start, *inputs[:6])]
    before, predicted, reference, target, mass, load, friction = arrays
    return StepData(
        before, predicted, reference, target, mass, load, friction, settings.spans[b], [par.contiguous() for par in inputs[6:]]
    )  # fmt: skip


def _environment(
    structure: Structure, settings: Settings, b: int, gradient: Tensor, end: Tensor, stiffness: float, start: Tensor, inputs: list[Tensor],
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:  # fmt: skip
    """The derivatives of environment b with respect to the stiffness of the barrier and to `inputs`."""
    data = step_data(settings, b, start, *inputs)
    surface = Surface(structure, len(end)) if structure.surface is not None else None
    potential = Potential(structure, data, surface)
    potential.stiffness = stiffness
    if surface is not None:
        surface.contact.start(surface.positions(end.numpy()))
    at = Linearised(potential, end.numpy())
    right = gradient.numpy()
    w = at.adjoint(right)
    if w is None:
        raise StepError("The Jacobian of a step is singular there, so its derivative does not exist; hold the bodies, or add inertia.")
    nodes = structure.embedding.shape[1]
    move = (end.numpy() - data.predicted)[: 3 * nodes].reshape(-1, 3)
    push = w[: 3 * nodes].reshape(-1, 3)
    one, other = structure.coupled.T
    weight = potential.weight
    by_mass = -weight * np.concatenate([(push * move).sum(1), (push[one] * move[other] + push[other] * move[one]).sum(1)])
    by_target = np.zeros_like(right)
    held = np.setdiff1d(np.arange(len(right)), structure.free)
    by_target[held] = right[held] - at.transposed(w)[held]
    found: list[Tensor | None] = [
        torch.from_numpy(part)
        for part in (
            np.array(-at.by_stiffness(w)),
            potential.inertia(w),
            -at.by_reference(w),
            by_target,
            by_mass,
            w.copy(),
            -at.by_coefficients(w),
        )
    ]
    for term, par, want in zip(structure.terms, data.parameters, wanted[6:], strict=True):
        if not want:
            found.append(None)
            continue
        with torch.enable_grad():
            variable = par.detach().requires_grad_()
            work = term.virtual_work(end, torch.from_numpy(w), variable)
            found.append(-torch.autograd.grad(work, variable)[0])
    return found
