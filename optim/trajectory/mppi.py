"""Model predictive path integral control as an optimizer of whole action sequences.

Williams, Aldrich and Theodorou 2017, "Model predictive path integral control: from theory to parallel computation"; Williams et al. 2018,
"Information-theoretic model predictive control: theory and applications to autonomous driving".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import OptionError
from .knots import few_knots
from .method import Method, Trial, state_array, whole_number
from .objective import Problem

SHARPNESS = 3.0
"""By how many temperatures the median candidate is worse than the best one, where the temperature follows the spread."""

POINT = 1e-9
"""The standard deviation at which a population counts as a point, in units of the action range."""


@dataclass(frozen=True)
class MppiOptions:
    """The options of MPPI.

    Args:
        sigma: standard deviation of the first population, in units of the action range.
        population: sequences an iteration, the mean among them.
        temperature: how much worse a candidate may be, in the unit of the loss, until its weight has fallen to 1/e. None: a third of the
            distance between the best and the median of each population.
        decay: by what the standard deviation is multiplied after each iteration.
    """

    sigma: float = 0.2
    population: int = 16
    temperature: float | None = None
    decay: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= 1:
            raise OptionError(f"sigma is {self.sigma}; it must be greater than 0 and at most 1 action range.")
        if self.population is None:
            raise OptionError("population is None; it must be a whole number of at least 2.")
        whole_number("population", self.population, least=2)
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise OptionError(f"temperature is {self.temperature}; it must be positive and finite.")
        if not 0 < self.decay <= 1:
            raise OptionError(f"decay is {self.decay}; it must be greater than 0 and at most 1.")


class Mppi(Method):
    """MPPI over knots in units of the action range: the mean of the next population is that of this one, weighted by its losses.

    A candidate with loss J weighs exp(-(J - min J) / temperature); the control cost of the original, which holds the mean back, is left
    out. Candidates are projected onto the bounds and averaged as they were evaluated, so that the mean keeps the bounds too. The first of
    each population is the mean itself.

    Skipped candidates weigh nothing. A population of which none is good leaves the mean where it is, and halves the standard deviation.
    """

    Options: ClassVar[type] = MppiOptions

    def __init__(self, problem: Problem, options: Any) -> None:
        super().__init__(problem, options)
        self.mean, self.sigma = problem.first, float(options.sigma)

    @staticmethod
    def default_knots(steps: int, actions: int) -> int | None:
        """Few, so that noise around them is smooth in time."""
        return few_knots(steps, actions)

    @property
    def demand(self) -> tuple[int, int]:
        """A population."""
        return int(self.options.population), 0

    @property
    def finished(self) -> bool:
        """Whether the population has shrunk to a point."""
        return self.sigma < POINT

    def start(self) -> Trial:
        """Evaluates the first mean."""
        loss = float(self.problem.losses(self.mean[None])[0])
        return Trial(self.mean, loss, evaluations=1, skipped=int(math.isinf(loss)))

    def advance(self, iteration: int) -> Trial:
        """One population."""
        generator = np.random.default_rng([self.problem.seed, 2, iteration])
        noise = generator.standard_normal((self.options.population - 1, *self.mean.shape))
        population = np.concatenate([self.mean[None], np.clip(self.mean + self.sigma * noise, 0, 1)])
        losses = self.problem.losses(population)
        if np.isfinite(losses).any():
            shares = path_weights(losses, self.options.temperature)
            self.mean = np.clip((shares[:, None, None] * population).sum(0), 0, 1)  # rounding may leave the bounds
            self.sigma *= self.options.decay
        else:
            self.sigma /= 2
        chosen = int(np.argmin(losses))
        return Trial(population[chosen], float(losses[chosen]), len(losses), int(np.isinf(losses).sum()))

    def state(self) -> dict[str, np.ndarray]:
        """The mean and the standard deviation."""
        return {"mean": self.mean, "sigma": np.array([self.sigma])}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up what `state` returned."""
        self.mean = state_array(state, "mean", self.problem.space.shape)
        (self.sigma,) = map(float, state_array(state, "sigma", (1,)))


def path_weights(losses: np.ndarray, temperature: float | None = None) -> np.ndarray:
    """The shares `[P]`, which add up to one, of candidates with these losses `[P]`, at least one of them finite.

    Args:
        losses: inf for a candidate that failed; its share is zero.
        temperature: see `MppiOptions`. Where more than half of the good candidates are equally good, they alone have shares.
    """
    good = losses[np.isfinite(losses)]
    least = good.min()
    if temperature is None:
        temperature = (float(np.median(good)) - least) / SHARPNESS
    excess = losses - least
    shares = np.exp(-excess / temperature) if temperature > 0 else (excess == 0).astype(float)
    return shares / shares.sum()
