"""What is to be made small: a function of action sequences, and the numbers that may go into it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...errors import OptionError, ShapeError, StepError
from .knots import ActionSpace

GRADIENT_COST = 4.0
"""Simulations that a loss with its gradient counts for, unless the objective says otherwise: forward, again from the checkpoints, adjoint."""


@dataclass(frozen=True)
class Evaluation:
    """What an objective says about a batch of action sequences.

    Args:
        loss: `[B]`, what is to be small; differentiable in the actions if a method with gradients is to be used.
        ok: bool `[B]`, whether the loss means anything; a sequence whose simulation failed has False here.
    """

    loss: Tensor
    ok: Tensor


class Objective(Protocol):
    """A function of action sequences `[B, T, A]`. The dtype and device of the bounds are those of the actions that it gets.

    One that `Easing` is to make easier has besides:

    - `truncated(steps) -> Objective`: the loss of the first steps alone, of shape (steps, A);
    - `softness: float | None` and `softened(softness) -> Objective`: a smoother objective of the same shape. The larger the softness the
      smoother; `softness` is that of the objective itself, None where there is nothing to soften.

    One that knows what its gradients cost has `gradient_cost: float`, see `GRADIENT_COST`.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """T time steps and A actions a step."""

    @property
    def lower(self) -> Tensor:
        """The least value of every action, `[A]`, finite."""

    @property
    def upper(self) -> Tensor:
        """The greatest value of every action, `[A]`, finite."""

    def __call__(self, actions: Tensor) -> Evaluation:
        """The loss of every sequence of the batch `[B, T, A]`; the batch size may differ from call to call."""


@dataclass(frozen=True)
class Problem:
    """An objective as the methods see it: a function of knots in units of the action range, in float64.

    Args:
        objective: the function of actions; it may look at fewer steps than the knots span, at the first ones.
        space: how knots become actions.
        first: the knots `[K, A]` to begin with.
        seed: where every random number of a method must come from.
        batch: at most so many sequences in one call of the objective; None: all at once.
    """

    objective: Objective
    space: ActionSpace
    first: np.ndarray
    seed: int
    batch: int | None = None

    @property
    def gradient_cost(self) -> float:
        """Simulations that a loss with its gradient counts for; a loss alone counts for one."""
        return float(getattr(self.objective, "gradient_cost", GRADIENT_COST))

    def actions(self, knots: np.ndarray) -> Tensor:
        """The actions `[P, T, A]` of the knots `[P, K, A]`, as far as the objective looks, in its dtype and on its device."""
        lower = self.objective.lower
        return torch.as_tensor(self.space.actions(knots)[:, : self.objective.shape[0]]).to(dtype=lower.dtype, device=lower.device)

    def losses(self, knots: np.ndarray) -> np.ndarray:
        """The losses float64 `[P]` of the knots `[P, K, A]`, without derivatives; inf where an evaluation must be skipped.

        Raises:
            ShapeError: if the objective returns something else than losses and marks `[B]`.
        """
        size = self.batch or len(knots)
        parts = []
        for first in range(0, len(knots), size):
            actions = self.actions(knots[first : first + size])
            try:
                with torch.no_grad():
                    loss, ok = checked(self.objective(actions), len(actions))
            except StepError:
                parts.append(np.full(len(actions), math.inf))
                continue
            values = loss.detach().cpu().double().numpy()
            parts.append(np.where(ok.cpu().numpy() & np.isfinite(values), values, math.inf))
        return np.concatenate(parts)

    def gradient(self, knots: np.ndarray) -> tuple[float, np.ndarray] | None:
        """The loss at the knots `[K, A]` and its gradient `[K, A]`, or None if the evaluation must be skipped.

        Skipped are evaluations that are marked as failed, losses and gradients that are not finite, and steps without a derivative.

        Raises:
            ShapeError: if the objective returns something else than losses and marks `[B]`.
            StepError: if the loss does not depend on the actions as far as autograd can see.
        """
        actions = self.actions(knots[None]).requires_grad_()
        try:
            loss, ok = checked(self.objective(actions), 1)
            value = float(loss.detach())
            if not bool(ok) or not math.isfinite(value):
                return None
            found = torch.autograd.grad(loss.sum(), actions, allow_unused=True)[0] if loss.requires_grad else None
        except StepError:
            return None
        if found is None:
            raise StepError("The loss does not depend on the actions differentiably; use a method without gradients, such as 'cma'.")
        slope = np.zeros((len(self.space.matrix), actions.shape[2]))
        slope[: actions.shape[1]] = found[0].cpu().double().numpy()
        gradient = self.space.pull_back(slope, knots)
        return (value, gradient) if np.isfinite(gradient).all() else None


def checked(evaluation: Any, batch: int) -> tuple[Tensor, Tensor]:
    """The losses and marks `[B]` that an objective returned.

    Raises:
        ShapeError: if they are something else.
    """
    for name in ("loss", "ok"):
        tensor = getattr(evaluation, name, None)
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != (batch,):
            found = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ShapeError(f"The objective must return an Evaluation whose {name} is a tensor of shape ({batch},); it is {found}.")
    return evaluation.loss, evaluation.ok.bool()


def check_objective(objective: Objective) -> None:
    """Checks the shape and the bounds of an objective before anything is spent on it.

    Raises:
        ShapeError: if T or A is not a positive integer, or the bounds are not float tensors `[A]` of one dtype and device.
        OptionError: if a bound is not finite or lower lies above upper, or the cost of a gradient is no positive number.
    """
    shape = tuple(objective.shape)
    if len(shape) != 2 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ShapeError(f"The objective's shape must be (time steps, actions), two positive integers; it is {shape}.")
    for name in ("lower", "upper"):
        bound = getattr(objective, name)
        if not isinstance(bound, Tensor) or tuple(bound.shape) != shape[1:] or bound.dtype not in (torch.float32, torch.float64):
            raise ShapeError(f"The objective's {name} must be a float32 or float64 tensor of shape ({shape[1]},).")
    lower, upper = objective.lower, objective.upper
    if lower.dtype != upper.dtype or lower.device != upper.device:
        raise ShapeError("The objective's lower and upper bounds must have one dtype and one device.")
    if not bool(torch.isfinite(lower).all() and torch.isfinite(upper).all() and (lower <= upper).all()):
        raise OptionError("The bounds of the actions must be finite, the lower ones nowhere above the upper ones.")
    cost = getattr(objective, "gradient_cost", GRADIENT_COST)
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 < cost < math.inf:
        raise OptionError(f"The objective's gradient_cost is {cost!r}; it must be a positive number of simulations.")
