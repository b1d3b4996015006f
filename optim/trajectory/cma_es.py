"""CMA-ES on action sequences, through the package `cma`.

Hansen 2016, "The CMA evolution strategy: a tutorial"; Hansen 2011, "Injecting external solutions into CMA-ES"; Hansen, Akimoto and
Baudis, https://github.com/CMA-ES/pycma.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import FileFormatError, OptionError
from .knots import few_knots
from .method import Method, Trial, state_array, whole_number
from .objective import Problem


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

    The state is the list of the losses, and of what was injected: `cma` with the same seed is asked and told them again, without any
    call of the objective.
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
        self.injected = np.empty((0, 1 + problem.first.size))  # before which population, and what

    @staticmethod
    def default_knots(steps: int, actions: int) -> int | None:
        """Few, since the cost of CMA-ES grows with the square of their number."""
        return few_knots(steps, actions)

    @property
    def demand(self) -> tuple[int, int]:
        """A population."""
        return int(self.strategy.popsize), 0

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

    def inject(self, knots: np.ndarray) -> None:
        """Puts the knots `[K, A]` into the next population, in the place of one that would be drawn."""
        self._inject(np.concatenate([[len(self.told)], knots.ravel()]))

    def state(self) -> dict[str, np.ndarray]:
        """The losses of all populations, what was injected into them, and the mean that they led to."""
        mean, sigma = np.array(self.strategy.mean), np.array([self.strategy.sigma])
        return {"losses": self.told, "injected": self.injected, "mean": mean, "sigma": sigma}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Replays the stored losses.

        Raises:
            FileFormatError: also if they do not lead to the stored mean, because `cma` or `numpy` is another version.
        """
        mean, sigma = state_array(state, "mean", (self.problem.first.size,)), state_array(state, "sigma", (1,))
        told = state_array(state, "losses", (None, self.strategy.popsize))
        injected = state_array(state, "injected", (None, self.injected.shape[1]))
        for number in range(len(told) + 1):
            for row in injected[injected[:, 0] == number]:
                self._inject(row)
            if number < len(told):
                self._tell(self._ask(), told[number])
        if not np.allclose(self.strategy.mean, mean, rtol=1e-6, atol=1e-9) or not np.allclose(self.strategy.sigma, sigma, rtol=1e-6):
            raise FileFormatError(
                "The progress file was written with another version of cma or numpy, or is damaged; start anew without resume."
            )

    def _inject(self, row: np.ndarray) -> None:
        strategy = self.strategy
        strategy.inject([strategy.gp.geno(row[1:], from_bounds=strategy.boundary_handler.inverse)], force=True)
        self.injected = np.concatenate([self.injected, row[None]])

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
