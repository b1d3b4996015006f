"""Adam on action sequences, projected onto the bounds after each step.

Kingma and Ba 2015, "Adam: a method for stochastic optimization".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import OptionError
from .method import Method, Trial, state_array, whole_number
from .objective import Problem

RECOVERY = 1.05
"""By how much the learning rate grows per good iteration after it was halved."""

FLOOR = 0.01
"""The share of the learning rate that the cosine schedule ends at."""

ARRAYS = ("position", "slope", "mean", "square", "steps", "best", "best_slope")
"""What Adam keeps for each number of the knots."""


@dataclass(frozen=True)
class AdamOptions:
    """The options of Adam.

    Args:
        learning_rate: length of a first step, in units of the action range.
        beta1: decay of the mean of the gradient.
        beta2: decay of the mean of its square.
        epsilon: what is added to the root of that mean; small beside gradients of losses in SI units.
        cosine: over how many iterations the learning rate falls to a hundredth along half a cosine; it stays there. None: constant.
            It is a number of its own, and not the budget, so that a run that is resumed with a larger budget is the same run.
        max_gradient_norm: longest gradient, in loss per action range; longer ones are shortened and counted. None: no limit.
    """

    learning_rate: float = 0.02
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-12
    cosine: int | None = None
    max_gradient_norm: float | None = None

    def __post_init__(self) -> None:
        whole_number("cosine", self.cosine, least=1)
        for name in ("learning_rate", "epsilon", "max_gradient_norm"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise OptionError(f"{name} is {value}; it must be positive and finite.")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be at least 0 and less than 1.")


class Adam(Method):
    """Adam over knots in units of the action range; each step is followed by the projection onto the bounds.

    An iteration that must be skipped is answered thus: go back to the best knots so far, forget the moments, halve the learning rate.
    Every good iteration gives back 5 % of it until it is what it was. While no evaluation at all was good, each iteration tries the first
    knots anew, with noise that doubles from a hundredth up to half of the action range.

    The bias of the moments is corrected from the first slope on that is not zero, for each number by itself: a knot that the loss did not
    look at before begins like the others did. Counted from the start of the run its first step would be three times too long.
    """

    Options: ClassVar[type] = AdamOptions

    def __init__(self, problem: Problem, options: Any) -> None:
        super().__init__(problem, options)
        zero = np.zeros(problem.space.shape)
        self.position, self.slope, self.mean, self.square = problem.first, zero, zero, zero
        self.best, self.best_slope, self.best_loss = problem.first, zero, math.inf
        self.steps, self.factor = zero, 1.0

    @property
    def demand(self) -> tuple[int, int]:
        """A gradient."""
        return 0, 1

    def moved(self) -> None:
        """The place to go back to is the best so far until a new one is known, but its loss compares with nothing any more: NaN."""
        if math.isfinite(self.best_loss):
            self.best_loss = math.nan

    def start(self) -> Trial:
        """Evaluates the first knots and their gradient."""
        return self._evaluate(self.problem.first)

    def advance(self, iteration: int) -> Trial:
        """One step of Adam from a point whose gradient is known, and the gradient at its end."""
        if math.isinf(self.best_loss):
            width = min(0.5, 0.01 * 2.0 ** min(iteration, 10))
            noise = np.random.default_rng([self.problem.seed, iteration]).standard_normal(self.position.shape)
            return self._evaluate(np.clip(self.problem.first + width * noise, 0, 1))
        options = self.options
        self.steps = self.steps + ((self.steps > 0) | (self.slope != 0))
        taken = np.maximum(self.steps, 1)
        self.mean = options.beta1 * self.mean + (1 - options.beta1) * self.slope
        self.square = options.beta2 * self.square + (1 - options.beta2) * self.slope**2
        mean = self.mean / (1 - options.beta1**taken)
        square = self.square / (1 - options.beta2**taken)
        return self._evaluate(np.clip(self.position - self._rate(iteration) * mean / (np.sqrt(square) + options.epsilon), 0, 1))

    def retreat(self) -> None:
        """Goes back to the best knots so far, forgets the moments, and halves the learning rate, if anything was good."""
        self.position, self.slope = self.best, self.best_slope
        self.mean = self.square = self.steps = np.zeros_like(self.position)
        if not math.isinf(self.best_loss):
            self.factor /= 2

    def _rate(self, iteration: int) -> float:
        rate = self.options.learning_rate * self.factor
        if self.options.cosine is None:
            return rate
        share = min(1.0, (iteration - 1) / self.options.cosine)
        return rate * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * share)))

    def _evaluate(self, knots: np.ndarray) -> Trial:
        found = self.problem.gradient(knots)
        if found is None:
            self.retreat()
            return Trial(knots, math.inf, evaluations=1, skipped=1, gradients=1)
        loss, slope = found
        norm = float(np.linalg.norm(slope))
        longest = self.options.max_gradient_norm
        clipped = longest is not None and norm > longest
        if clipped:
            slope = slope * (longest / norm)
        self.position, self.slope, self.factor = knots, slope, min(1.0, RECOVERY * self.factor)
        if math.isnan(self.best_loss) or loss < self.best_loss:
            self.best, self.best_slope, self.best_loss = knots, slope, loss
        return Trial(knots, loss, evaluations=1, skipped=0, gradients=1, gradient_norm=norm, clipped=int(clipped))

    def state(self) -> dict[str, np.ndarray]:
        """Where it is, the best so far, their gradients, and the moments."""
        return {"numbers": np.array([self.best_loss, self.factor]), **{name: getattr(self, name) for name in ARRAYS}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up what `state` returned."""
        for name in ARRAYS:
            setattr(self, name, state_array(state, name, self.problem.space.shape))
        self.best_loss, self.factor = map(float, state_array(state, "numbers", (2,)))
