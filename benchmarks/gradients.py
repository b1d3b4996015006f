"""Gradients of the tasks' losses: whether they are exact, and how far they can be trusted, over horizons of growing length.

The loss L of the first t steps is a function of the actions a `[t, A]`. With its gradient g and K smooth directions u_k `[t, A]`, each a cubic
B-spline of a few knots drawn at random and with 1 as its largest entry, two vectors of K slopes are compared,

    <g, u_k>    and    (L(a + h u_k) - L(a - h u_k)) / (2 h),

by their cosine and by the quotient of their norms. With a tiny h both are 1 if the adjoint is exact. With an h as long as a step of an optimizer
they are near 1 only if the gradient tells what such a step will do.

The actions are the task's initial ones, a little smaller and moved by such a direction, so that no contact is exactly at a kink.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..envs import make_task
from ..envs.mpm_task import MpmTask
from ..envs.task import Task
from ..optim.trajectory.knots import weights
from . import Row
from .contest import own_tasks
from .splash import Splash

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Of the task's horizon."""
DIRECTIONS = 6
KNOTS = 4
EXACT, USEFUL = 1e-6, 0.04
"""The two lengths h of a difference: one as small as f64 allows, and what Adam's default learning rate moves an action in a step."""


@dataclass(frozen=True)
class Agreement:
    """How a gradient compares at one point.

    Args:
        steps: t, whose loss it is.
        norm: of the gradient in f64, in loss per action.
        cosine: between the slopes by the adjoint and by differences, for each h.
        length: norm of the first over that of the second, for each h.
        single: cosine between the gradients in f32 and in f64.
    """

    steps: int
    norm: float
    cosine: tuple[float, ...]
    length: tuple[float, ...]
    single: float


def bench() -> list[Row]:
    """The rows of `pliant bench gradients`."""
    rows: list[Row] = []
    subjects: dict[str, Callable[..., Task]] = {"splash": Splash}
    subjects |= {name: partial(make_task, name) for name in own_tasks() if isinstance(make_task(name), MpmTask)}
    for name, make in subjects.items():
        for found in agreements(make):
            size = f"{name}, {found.steps} steps"
            figures = [("norm", found.norm, "float64", "loss/action")]
            for h, cosine, length in zip((EXACT, USEFUL), found.cosine, found.length, strict=True):
                figures += [(f"cosine, difference over {h:g}", cosine, "float64", "1"), (f"length, over {h:g}", length, "float64", "1")]
            figures.append(("cosine, f32 to f64", found.single, "float32", "1"))
            rows += [Row.of("gradients", what, size, dtype, value, unit, more_is_better=True) for what, value, dtype, unit in figures]
    return rows


def agreements(
    make: Callable[..., Task], shares: Sequence[float] = SHARES, lengths: Sequence[float] = (EXACT, USEFUL), **options: Any
) -> list[Agreement]:
    """Compares the gradients of one task over several horizons.

    Args:
        make: the task of a `dtype` and options, in its small preset.
        shares: of the task's horizon.
        lengths: of the differences, in units of the action.
        **options: of the task.
    """
    double, single = (make(dtype=dtype, **options) for dtype in ("float64", "float32"))
    found = []
    for share in shares:
        steps = max(1, round(share * double.horizon))
        smooth = _smooth(steps, int(double.action_space.shape[0]), DIRECTIONS + 1)
        point = 0.9 * double.initial_actions()[:steps] + 0.05 * smooth[0]
        gradient = _gradient(double, point)
        slopes = (smooth[1:] * gradient).flatten(1).sum(1)
        compared = [_differences(double, point, smooth[1:], h) for h in lengths]
        found.append(
            Agreement(
                steps,
                float(gradient.norm()),
                tuple(_cosine(slopes, other) for other in compared),
                tuple(float(slopes.norm() / other.norm()) for other in compared),
                _cosine(_gradient(single, point.float()).double().flatten(), gradient.flatten()),
            )
        )
    return found


def _smooth(steps: int, width: int, count: int) -> Tensor:
    """`[count, steps, width]`: smooth functions of time, with 1 as the largest entry of each; always the same."""
    knots = min(steps, KNOTS)
    drawn = np.random.default_rng(0).standard_normal((count, knots, width))
    curves = torch.as_tensor(weights(steps, knots, "bspline") @ drawn)
    return curves / curves.abs().amax((1, 2), keepdim=True)


def _gradient(task: Task, point: Tensor) -> Tensor:
    """Of the loss at one point; NaN if the course fails."""
    actions = point[None].clone().requires_grad_()
    played = task.rollout(actions)
    gradient = torch.autograd.grad(played.loss.sum(), actions)[0][0]
    return gradient if bool(played.ok.all()) else torch.full_like(gradient, torch.nan)


def _differences(task: Task, point: Tensor, directions: Tensor, h: float) -> Tensor:
    """Central differences along every direction, all in one batch; NaN where a displaced course fails."""
    with torch.no_grad():
        ends = task.rollout(torch.cat([point + h * directions, point - h * directions]))
    loss = torch.where(ends.ok, ends.loss, torch.nan)
    return (loss[: len(directions)] - loss[len(directions) :]) / (2 * h)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(one, other) / (one.norm() * other.norm()))
