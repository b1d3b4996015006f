"""A task as an objective of `pliant.optim.trajectory`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ..errors import ShapeError
from ..optim.trajectory.objective import Evaluation
from .task import Task

KEEP = 2**28
"""Bytes of states that a gradient may keep before it begins to recompute them."""


class TaskObjective:
    """The loss of action sequences, averaged over the initial states of `seeds`.

    Attributes:
        shape: (T, A), the steps that the loss looks at, at most the horizon, and the number of components of an action.
        lower: least action `[A]`, -1.
        upper: greatest action `[A]`, 1.
        gradient_cost: simulations that a loss with its gradient costs about, as the task says.
    """

    def __init__(self, task: Task, seeds: Sequence[int], checkpoint: int | Literal["sqrt", "auto"] | None) -> None:
        if len(seeds) == 0:
            raise ShapeError("An objective needs at least one seed.")
        self.task, self.solver = task, task.solver
        self.gradient_cost = task.gradient_cost
        self.seeds = tuple(int(seed) for seed in seeds)
        state = task.initial_state(1, self.seeds[0])
        size = sum(tensor.nbytes for tensor in state.tensors()) * task.horizon * len(self.seeds)
        self.checkpoint = ("sqrt" if size > KEEP else None) if checkpoint == "auto" else checkpoint
        self.shape = (task.horizon, int(task.action_space.shape[0]))
        self.lower = torch.full(self.shape[1:], -1.0, dtype=task.dtype, device=task.device)
        self.upper = -self.lower

    @property
    def softness(self) -> float | None:
        """From how far the task's tools act, in cells; None where it has none."""
        return self.task.softness

    def softened(self, softness: float) -> TaskObjective:
        """The same loss of courses in which tools act from `softness` cells away, see `Task.softened`."""
        other = copy.copy(self)
        other.solver = self.task.softened(softness)
        return other

    def truncated(self, steps: int) -> TaskObjective:
        """The loss of a course that ends after `steps` steps.

        Raises:
            ShapeError: if the objective does not look at so many steps.
        """
        if not 1 <= steps <= self.shape[0]:
            raise ShapeError(f"The objective looks at {self.shape[0]} steps; it cannot be truncated to {steps}.")
        other = copy.copy(self)
        other.shape = (steps, self.shape[1])
        return other

    def __call__(self, actions: Tensor) -> Evaluation:
        """The loss `[B]` of action sequences `[B, T, A]`; not ok where a rollout from any of the seeds failed."""
        candidates, count = int(actions.shape[0]), len(self.seeds)
        played = self.task.rollout(
            actions.repeat_interleave(count, 0), seed=self.seeds * candidates, checkpoint=self.checkpoint, solver=self.solver
        )
        return Evaluation(loss=played.loss.view(candidates, count).mean(1), ok=played.ok.view(candidates, count).all(1))


def task_objective(
    task: Task, seeds: Sequence[int] | None = None, *, checkpoint: int | Literal["sqrt", "auto"] | None = "auto"
) -> TaskObjective:
    """The objective of `task` for `optimize`.

    Args:
        task: whose loss is to be lowered.
        seeds: initial states over which the loss is averaged; by default only the task's own.
        checkpoint: the memory knob of `sim.rollout`; "auto" keeps every state where they take up to 256 MB, else it is "sqrt".
    """
    return TaskObjective(task, (task.seed,) if seeds is None else seeds, checkpoint)
