"""A task as an objective of `pliant.optim.trajectory`."""

from __future__ import annotations

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
        shape: (T, A), the horizon and the number of components of an action.
        lower: least action `[A]`, -1.
        upper: greatest action `[A]`, 1.
    """

    def __init__(self, task: Task, seeds: Sequence[int], checkpoint: int | Literal["sqrt", "auto"] | None) -> None:
        if len(seeds) == 0:
            raise ShapeError("An objective needs at least one seed.")
        self.task = task
        self.seeds = tuple(int(seed) for seed in seeds)
        state = task.initial_state(1, self.seeds[0])
        size = sum(tensor.nbytes for tensor in state.tensors()) * task.horizon * len(self.seeds)
        self.checkpoint = ("sqrt" if size > KEEP else None) if checkpoint == "auto" else checkpoint
        self.shape = (task.horizon, int(task.action_space.shape[0]))
        self.lower = torch.full(self.shape[1:], -1.0, dtype=task.dtype, device=task.device)
        self.upper = -self.lower

    def __call__(self, actions: Tensor) -> Evaluation:
        """The loss `[B]` of action sequences `[B, T, A]`; not ok where a rollout from any of the seeds failed."""
        candidates, count = int(actions.shape[0]), len(self.seeds)
        played = self.task.rollout(actions.repeat_interleave(count, 0), seed=self.seeds * candidates, checkpoint=self.checkpoint)
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
