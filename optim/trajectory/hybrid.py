"""CMA-ES that proposes and Adam that refines, where each slice of the budget goes to the one that makes better progress.

Wang et al. 2024, "Thin-shell object manipulations with differentiable physics simulations" (ThinShellLab), for candidates that CMA-ES samples
and ranks and gradients refine; Hansen 2011, "Injecting external solutions into CMA-ES".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ...errors import StepError
from .adam import Adam, AdamOptions
from .cma_es import CmaEs, CmaOptions
from .knots import ActionSpace, few_knots, weights
from .method import Method, Trial, state_array
from .objective import Problem

SAMPLE, DESCEND = 0, 1
"""The two arms: a population of CMA-ES, and steps of Adam."""

PATIENCE = 5
"""After so many slices of the one arm the other gets the next, however slow it was."""

REACH, WIDEST = 0.8, 0.3
"""How far a candidate lies from the mean of the first population, a length over all unknowns in action ranges, and its largest sigma."""

FADED = 0.5
"""CMA-ES is first tried when a slice of Adam gains less, for each simulation, than this share of what its best slice did."""

MEMORY = 0.5
"""The weight of earlier slices in the rate of an arm."""

GIVE_UP = 3
"""After so many slices in a row without a finite gradient Adam is given up."""


@dataclass(frozen=True)
class HybridOptions:
    """The options of the hybrid, those of its parts.

    Args:
        learning_rate: of Adam, see `AdamOptions`.
        max_gradient_norm: of Adam, likewise.
        sigma: of CMA-ES, see `CmaOptions`; None: such that a candidate lies about `REACH` from the mean, and at most `WIDEST`.
        population: of CMA-ES, likewise; smaller than its own default, so that the arms take turns often.
    """

    learning_rate: float = 0.02
    max_gradient_norm: float | None = None
    sigma: float | None = None
    population: int | None = 8

    def __post_init__(self) -> None:
        self.adam()
        self.cma(1)

    def adam(self) -> AdamOptions:
        """Those of Adam."""
        return AdamOptions(learning_rate=self.learning_rate, max_gradient_norm=self.max_gradient_norm)

    def cma(self, unknowns: int) -> CmaOptions:
        """Those of CMA-ES in so many unknowns."""
        sigma = min(WIDEST, REACH / math.sqrt(unknowns)) if self.sigma is None else self.sigma
        return CmaOptions(sigma=sigma, population=self.population)


@dataclass(frozen=True, kw_only=True)
class CoarseProblem(Problem):
    """A problem over few knots, each of which moves several knots of a finer one.

    Args:
        fine: the finer problem; `space` makes its knots of the few ones.
    """

    fine: Problem

    def losses(self, knots: np.ndarray) -> np.ndarray:
        """The losses `[P]` of the few knots `[P, k, A]`, as `Problem.losses`."""
        return self.fine.losses(self.space.actions(knots))


class Hybrid(Method):
    """CMA-ES and Adam take turns, in slices of about the cost of a population.

    Each has a rate: by how much a slice of it lowered the best loss, for each simulation that it cost, averaged over its slices with
    weights that halve. The next slice goes to the better rate, after `PATIENCE` slices of the one to the other. Adam begins,
    and CMA-ES is first tried when Adam's rate has `FADED`: where gradients lead on, a small budget is theirs. Of no more unknowns than a
    population has candidates, one population sees much, and is the first slice.

    Adam moves the knots of the problem, by default one a step. CMA-ES moves `few_knots`, straight lines between them, around the best
    sequence: what they cannot express of it is kept. What Adam found is injected into the next population, by least squares; what CMA-ES
    found Adam starts from anew.

    A slice of Adam that lowers nothing is answered as a failure is, it goes back to its best and halves the learning rate; the next slice is
    CMA-ES's.

    Where the loss has no gradient, or `GIVE_UP` slices of Adam in a row found no finite one, CMA-ES goes on alone. While nothing was
    good it is alone as well.
    """

    Options: ClassVar[type] = HybridOptions

    def __init__(self, problem: Problem, options: Any) -> None:
        super().__init__(problem, options)
        knots, width = problem.space.shape
        self.matrix = weights(knots, few_knots(knots, width))
        self.best = self.around = problem.first
        self.best_loss = math.inf
        self.turn, self.left, self.waited = SAMPLE, 0, 0  # the first slice goes to the other one
        self.before, self.spent = math.nan, 0.0
        self.rates = [math.inf, math.inf]  # inf: not tried yet
        self.rate = self.peak = 0.0  # of Adam's last slice and of its best one
        self.new_for_adam = self.new_for_cma = False
        self.barren = 0
        self.adam = Adam(problem, options.adam())
        unknowns = self.matrix.shape[1] * width
        self.cma = CmaEs(self._coarse(), options.cma(unknowns))
        self.few = unknowns <= self.cma.demand[0]

    @property
    def demand(self) -> tuple[int, int]:
        """A population, or a gradient."""
        turn = self.turn if self.left else self._next()
        return self.cma.demand if turn == SAMPLE else self.adam.demand

    @property
    def finished(self) -> bool:
        """Whether CMA-ES has shrunk to a point and Adam cannot go on."""
        return self.cma.finished and not self._descends()

    def moved(self) -> None:
        """The best remains a place to go on from; its loss is not known any more, and what it falls by to the next one is no progress."""
        self.adam.moved()
        self.before = math.nan
        if math.isfinite(self.best_loss):
            self.best_loss = math.nan

    def start(self) -> Trial:
        """Evaluates the first knots, with their gradient where the loss has one."""
        self.adam.problem = self.problem
        try:
            trial = self.adam.start()
        except StepError:
            loss = float(self.problem.losses(self.best[None])[0])
            self.barren = GIVE_UP
            trial = Trial(self.best, loss, evaluations=2, skipped=1 + int(math.isinf(loss)), gradients=1)
        self.best_loss = trial.loss
        return trial

    def advance(self, iteration: int) -> Trial:
        """One population, or one step of Adam."""
        if not self.left:
            self._begin()
        trial = self._sample(iteration) if self.turn == SAMPLE else self._descend(iteration)
        self.left -= 1
        self.spent += trial.evaluations - trial.gradients + trial.gradients * self.problem.gradient_cost
        if trial.loss < self.best_loss or (math.isnan(self.best_loss) and math.isfinite(trial.loss)):
            self.best, self.best_loss = trial.knots, trial.loss
            self.new_for_adam, self.new_for_cma = self.turn == SAMPLE, self.turn == DESCEND
        if self.turn == DESCEND and trial.skipped and math.isinf(self.adam.best_loss):  # not even the place that it began from
            self.left, self.new_for_adam, self.barren = 0, True, self.barren + 1
        elif self.turn == DESCEND and not trial.skipped:
            self.barren = 0
        if not self.left:
            self._end()
        return trial

    def _descends(self) -> bool:
        """Whether there is a place for Adam to go on from, and hope that it has a gradient."""
        return self.barren < GIVE_UP and not math.isinf(self.best_loss)

    def _next(self) -> int:
        """The arm that gets the next slice."""
        if not self._descends() or (self.few and math.isinf(self.rates[SAMPLE])):
            return SAMPLE
        if self.cma.finished:
            return DESCEND
        other = SAMPLE if self.turn == DESCEND else DESCEND
        if self.turn == DESCEND and self.waited < PATIENCE and math.isinf(self.rates[SAMPLE]) and self.rate >= FADED * self.peak > 0:
            return DESCEND
        if self.turn == DESCEND and self.rate <= 0:  # a slice that lowered nothing
            return SAMPLE
        return other if self.waited >= PATIENCE or self.rates[other] >= self.rates[self.turn] else self.turn

    def _begin(self) -> None:
        turn = self._next()
        self.waited = 1 if turn != self.turn else self.waited + 1
        self.turn, self.before, self.spent = turn, self.best_loss, 0.0
        self.left = 1 if turn == SAMPLE else max(1, round(self.cma.demand[0] / self.problem.gradient_cost))

    def _end(self) -> None:
        if self.turn == DESCEND and not self.new_for_adam and self.best_loss >= self.before:
            self.adam.retreat()
        rate = (self.before - self.best_loss) / self.spent
        if math.isfinite(rate):
            if self.turn == DESCEND:
                self.rate, self.peak = rate, max(self.peak, rate)
            old = self.rates[self.turn]
            self.rates[self.turn] = rate if math.isinf(old) else MEMORY * old + (1 - MEMORY) * rate

    def _coarse(self) -> CoarseProblem:
        space = ActionSpace(np.zeros(self.best.shape[1]), np.ones(self.best.shape[1]), self.around, self.matrix)
        return CoarseProblem(self.problem.objective, space, space.initial, self.problem.seed, fine=self.problem)

    def _sample(self, iteration: int) -> Trial:
        if self.new_for_cma:
            self.around, self.new_for_cma = self.best, False
            self.cma.problem = self._coarse()
            self.cma.inject(self.cma.problem.first)
        else:
            self.cma.problem = self._coarse()
        trial = self.cma.advance(iteration)
        return replace(trial, knots=self.cma.problem.space.actions(trial.knots[None])[0])

    def _descend(self, iteration: int) -> Trial:
        fresh, self.new_for_adam = self.new_for_adam, False
        if fresh:
            self.adam = Adam(replace(self.problem, first=self.best), self.options.adam())
        self.adam.problem = replace(self.problem, first=self.best)
        try:
            return self.adam.start() if fresh else self.adam.advance(iteration)
        except StepError:
            self.barren, self.left = GIVE_UP, 1
            return Trial(self.best, math.inf, evaluations=1, skipped=1, gradients=1)

    def state(self) -> dict[str, np.ndarray]:
        """The best, whose turn it is, the rates, and the states of both arms."""
        turn = [self.turn, self.left, self.waited, self.new_for_adam, self.new_for_cma, self.barren]
        numbers = [self.best_loss, self.before, self.spent, self.rate, self.peak, *self.rates]
        arms = {f"{name}_{key}": array for name in ("adam", "cma") for key, array in getattr(self, name).state().items()}
        return {"best": self.best, "around": self.around, "turn": np.array(turn, dtype=np.int64), "numbers": np.array(numbers), **arms}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up what `state` returned; see `CmaEs.restore`."""
        self.best, self.around = (state_array(state, name, self.problem.space.shape) for name in ("best", "around"))
        self.turn, self.left, self.waited, adam, cma, self.barren = map(int, state_array(state, "turn", (6,)))
        self.new_for_adam, self.new_for_cma = bool(adam), bool(cma)
        self.best_loss, self.before, self.spent, self.rate, self.peak, *self.rates = map(float, state_array(state, "numbers", (7,)))
        for name in ("adam", "cma"):
            arm: Method = getattr(self, name)
            arm.restore({key.removeprefix(f"{name}_"): array for key, array in state.items() if key.startswith(f"{name}_")})
