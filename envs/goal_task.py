"""Tasks with one measure of how far a state is from the goal."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from .task import Course, Task


class GoalTask(Task):
    """A task with one measure of how far a state is from the goal, `cost(state)`.

    The loss is its mean over the last `tail` of the steps: what counts is where things end up, not how. The reward of a step is
    reward_scale (cost before - cost after), so that the rewards of an episode sum to reward_scale (first cost - last cost): a policy and a
    gradient follow the same goal.
    """

    reward_scale: ClassVar[float] = 1.0
    tail: ClassVar[float] = 0.25
    """Share of the steps, the last ones, over which the loss is the mean cost; at least one step."""

    @abstractmethod
    def cost(self, state: Any) -> Tensor:
        """How far a state is from the goal, `[B]`."""

    def reward(self, state: Any, action: Tensor, following: Any) -> Tensor:
        """reward_scale (cost before - cost after)."""
        return self.reward_scale * (self.cost(state) - self.cost(following))

    def stage_cost(self, state: Any, action: Tensor, following: Any, t: int) -> Tensor:
        """The cost after the step."""
        return self.cost(following)

    def loss(self, course: Course) -> Tensor:
        """The mean cost over the last steps."""
        last = max(1, int(course.stage_costs.shape[1] * self.tail))
        return course.stage_costs[:, -last:].mean(1)
