"""CMA-ES on action sequences, through the package `cma`.

Hansen 2016, "The CMA evolution strategy: a tutorial"; Hansen, Akimoto and Baudis, https://github.com/CMA-ES/pycma.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import FileFormatError, OptionError
from .method import Method, Trial, state_array, whole_number
from .objective import Problem

DIMENSION = 64
"""About how many numbers CMA-ES is to search where the user does not choose the knots; its cost grows with the square."""


@dataclass(frozen=True)
class CmaOptions:
    """The options of CMA-ES.

    Args:
        sigma: standard deviation of the first population, in units of the action range.
        population: sequences an iteration; None: 4 + 3 ln(number of unknowns), rounded down.
    """

    sigma: float = 0.2
    population: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= 1:
            raise OptionError(f"sigma is {self.sigma}; it must be greater than 0 and at most 1 action range.")
        whole_number("population", self.population, least=4)


class CmaEs(Method):
    """CMA-ES over knots in units of the action range.

    The bounds are kept by the smooth transformation of `cma` (`BoundTransform`): identity inside, a parabola near a bound, so that
    the bound itself can be reached. Only the order of the losses counts. Skipped sequences rank last; a population of which none is
    good tells nothing and is drawn anew with half the step size.

    The state is the list of the losses: `cma` with the same seed is asked and told them again, without any call of the objective.
    """

    Options: ClassVar[type] = CmaOptions

    def __init__(self, problem: Problem, options: Any) -> None:
        import cma

        super().__init__(problem, options)
        generator = np.random.default_rng([problem.seed, 1])
        settings = {
            "bounds": [0, 1],
            "randn": lambda *shape: generator.standard_normal(shape),
            "seed": math.nan,  # leaves numpy's global generator alone
            "verbose": -10,
            "verb_log": 0,
            "verb_disp": 0,
            "maxiter": math.inf,
            # losses are told as ranks, whose values carry no scale
            "tolfun": 0,
            "tolfunhist": 0,
            "tolstagnation": 0,
            "tolflatfitness": math.inf,
        }
        if options.population is not None:
            settings["popsize"] = options.population
        if problem.first.size == 1:
            settings["maxstd"] = math.inf  # cma cannot limit the deviation of a single unknown
        self.strategy = cma.CMAEvolutionStrategy(problem.first.ravel(), options.sigma, settings)
        self.told = np.empty((0, self.strategy.popsize))

    @staticmethod
    def default_knots(steps: int, actions: int) -> int | None:
        """At least 4 and at most 16 knots, about `DIMENSION` unknowns in all."""
        return min(steps, 16, max(4, DIMENSION // actions))

    @property
    def finished(self) -> bool:
        """Whether the population has shrunk to a point."""
        return bool(self.strategy.stop())

    def start(self) -> Trial:
        """Evaluates the first mean."""
        loss = float(self.problem.losses(self.problem.first[None])[0])
        return Trial(self.problem.first, loss, evaluations=1, skipped=int(math.isinf(loss)))

    def advance(self, iteration: int) -> Trial:
        """One population."""
        drawn = self._ask()
        population = np.stack(drawn).reshape(-1, *self.problem.space.shape)
        losses = self.problem.losses(population)
        self._tell(drawn, losses)
        chosen = int(np.argmin(losses))
        return Trial(population[chosen], float(losses[chosen]), len(losses), int(np.isinf(losses).sum()))

    def state(self) -> dict[str, np.ndarray]:
        """The losses of all populations, and the mean that they led to."""
        return {"losses": self.told, "mean": np.array(self.strategy.mean), "sigma": np.array([self.strategy.sigma])}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Replays the stored losses.

        Raises:
            FileFormatError: also if they do not lead to the stored mean, because `cma` or `numpy` is another version.
        """
        mean, sigma = state_array(state, "mean", (self.problem.first.size,)), state_array(state, "sigma", (1,))
        for losses in state_array(state, "losses", (None, self.strategy.popsize)):
            self._tell(self._ask(), losses)
        if not np.allclose(self.strategy.mean, mean, rtol=1e-6, atol=1e-9) or not np.allclose(self.strategy.sigma, sigma, rtol=1e-6):
            raise FileFormatError(
                "The progress file was written with another version of cma or numpy, or is damaged; start anew without resume."
            )

    def _ask(self) -> list[np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.strategy.ask()

    def _tell(self, drawn: list[np.ndarray], losses: np.ndarray) -> None:
        if np.isfinite(losses).any():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.strategy.tell(drawn, np.unique(losses, return_inverse=True)[1].ravel().astype(float).tolist())
        else:
            self.strategy.sigma /= 2
        self.told = np.concatenate([self.told, losses[None]])
