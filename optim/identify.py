"""Which parameters an observation is due to, and how well it tells them: least squares, with Laplace's approximation of the uncertainty.

With residuals r(p), n of them, each with the same normally distributed error sigma, the misfit E = |r|^2 / 2 is minimised in z = log p, so that
parameters stay positive and have no units. At the minimum the covariance of z is sigma^2 H^-1, with the Hessian H of E; where sigma is not
known, sigma^2 = 2 E / (n - number of parameters). See Sivia and Skilling 2006, "Data Analysis: A Bayesian Tutorial", chapter 3.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from ..errors import OptionError, PliantError

RANGE = 10.0
"""By default a parameter is sought up to so many times more or less than where it starts."""
HESSIAN_STEP = 0.01
"""Of the central differences of the gradient, in log p. Their error is of second order in it, so about 1e-4 of H."""
ALIKE = 1e-4
"""Smallest eigenvalue of the Hessian, scaled to ones on its diagonal, that its own error leaves any meaning."""
SHORTEST = 1e-3
"""In log p: where every step further than this fails, the search ends."""
UNSEEN = 1e-12
"""Share of the largest diagonal element of the Hessian below which a parameter has no effect but rounding."""
NOT_IDENTIFIABLE = "not identifiable from this motion"


@dataclass(frozen=True)
class Fit:
    """What was found. P is the number of parameters, in the order of `names`."""

    names: tuple[str, ...]
    start: np.ndarray
    """`[P]`"""
    found: np.ndarray
    """`[P]`"""
    deviation: np.ndarray
    """Standard deviations in the units of the parameters `[P]`; NaN where the motion does not tell the parameter."""
    correlation: np.ndarray
    """Of the logarithms `[P, P]`; NaN in the rows and columns of parameters without a deviation."""
    notes: tuple[str, ...]
    """Why a parameter is not to be trusted, empty where it is `[P]`."""
    noise: float
    """Standard deviation of the observation, given or estimated, in the unit of the residuals."""
    start_misfit: float
    """Half the sum of the squared residuals at the start;"""
    misfit: float
    """and at the end."""
    observations: int
    """Number n of the residuals."""
    iterations: int
    simulations: int
    """Residuals that were computed, all but `failures` with their gradient."""
    failures: int
    """Simulations that failed, and were taken for a step too far."""
    seconds: float
    converged: bool

    @property
    def relative(self) -> np.ndarray:
        """Standard deviations as shares of what was found `[P]`."""
        return self.deviation / self.found

    @property
    def identified(self) -> np.ndarray:
        """Which parameters the motion tells, bool `[P]`."""
        return np.array([not note for note in self.notes])


def identify(
    residuals: Callable[[Tensor], Tensor],
    start: Mapping[str, float],
    *,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    noise: float | None = None,
    iterations: int = 50,
    on_iteration: Callable[[int, float, np.ndarray], None] | None = None,
) -> Fit:
    """The parameters with the least squared residuals, by L-BFGS-B on the gradients that autograd computes.

    Args:
        residuals: of parameters `[P]`, float64, in the order of `start`: what was simulated minus what was observed `[n]`, differentiable.
            It fails by a PliantError or by numbers that are not finite; the search then takes a shorter step.
        start: positive values from which the search starts, by name.
        bounds: lower and upper bounds by name; by default a tenth and ten times the start.
        noise: standard deviation of the observation in the unit of the residuals; by default estimated from what remains of them.
        iterations: at most so many of L-BFGS-B.
        on_iteration: called at the start with 0 and after each iteration with its number; with half the sum of the squared residuals, and
            the parameters `[P]`.

    Raises:
        OptionError: if a start, a bound, the noise or the number of iterations makes no sense, or n is not above P and no noise is given.
        PliantError: if the simulation fails at the start.
    """
    limits = _checked(start, bounds or {}, noise, iterations)
    names, begin = tuple(start), time.perf_counter()
    z = np.log(np.array([start[name] for name in names], dtype=float))
    misfit = _Misfit(residuals)
    first, _ = misfit.at(z, strict=True)
    count = misfit.observations
    if noise is None and count <= len(names):
        raise OptionError(f"{count} observations do not tell {len(names)} parameters and their noise; give the noise, or observe more.")
    done, converged = _minimised(misfit, z, limits, first, noise, iterations, on_iteration)
    value, slope, best = misfit.best
    sigma = noise if noise is not None else math.sqrt(2 * value / max(1, count - len(names)))
    notes = [""] * len(names)
    for k, (low, high) in enumerate(limits):
        if min(best[k] - low, high - best[k]) < 1e-9 and slope[k] != 0:
            notes[k] = f"{NOT_IDENTIFIABLE}: it would leave the range of the search"
    inverse = _inverse(_hessian(misfit, best), names, notes)
    covariance = sigma**2 * inverse
    spread = np.sqrt(np.diag(covariance))
    # How far Newton's method would still go; that the search ended is not enough. What the motion does not tell (NaN) stays where it is.
    remaining = np.abs(np.nan_to_num(inverse) @ slope)
    converged = converged and bool(np.all(remaining <= np.maximum(np.nan_to_num(spread), SHORTEST)))
    for k in range(len(names)):
        if spread[k] > 1:
            notes[k] = f"{NOT_IDENTIFIABLE}: it is more uncertain than it is large"
    found = np.exp(best)
    with np.errstate(invalid="ignore", divide="ignore"):  # without any misfit the deviations are zero
        correlation = np.where(np.isfinite(covariance), np.clip(covariance / np.outer(spread, spread), -1, 1), math.nan)
    return Fit(
        names, np.exp(z), found, spread * found, correlation, tuple(notes), sigma, first, value, count, done, misfit.simulations,
        misfit.failures, time.perf_counter() - begin, converged,
    )  # fmt: skip


@dataclass
class _Misfit:
    """Half the sum of the squared residuals as a function of the logarithms, and what it cost."""

    residuals: Callable[[Tensor], Tensor]
    simulations: int = 0
    failures: int = 0
    observations: int = 0
    best: tuple[float, np.ndarray, np.ndarray] = field(default_factory=lambda: (math.inf, np.zeros(0), np.zeros(0)))
    """Value, gradient and place of the least misfit so far."""

    def at(self, z: np.ndarray, *, strict: bool = False) -> tuple[float, np.ndarray]:
        """The misfit and its gradient; infinite and NaN where the simulation fails, or an error if `strict`."""
        if np.array_equal(z, self.best[2]):  # where the search begins, and often where it ends
            return self.best[:2]
        self.simulations += 1
        place = torch.from_numpy(np.array(z, dtype=float)).requires_grad_()
        try:
            remains = self.residuals(place.exp())
            self.observations = remains.numel()
            value = 0.5 * (remains * remains).sum()
            number = float(value.detach())
            if not math.isfinite(number):
                raise OptionError("The residuals are not finite at the start values; choose others.")
            slope = torch.autograd.grad(value, place, allow_unused=True)[0] if value.requires_grad else None
            gradient = np.zeros(len(z)) if slope is None else slope.numpy().copy()
            if not np.isfinite(gradient).all():
                raise OptionError("The gradient is not finite at the start values; choose others.")
        except PliantError:
            if strict:
                raise
            self.failures += 1
            return math.inf, np.full(len(z), math.nan)
        if number < self.best[0]:
            self.best = number, gradient, np.array(z, dtype=float)
        return number, gradient


def _checked(
    start: Mapping[str, float], bounds: Mapping[str, tuple[float, float]], noise: float | None, iterations: int
) -> list[tuple[float, float]]:
    """Bounds of the logarithms."""
    if not start:
        raise OptionError("There is no parameter to identify; name at least one.")
    if noise is not None and not (math.isfinite(noise) and noise > 0):
        raise OptionError(f"The noise is {noise:g}; it must be positive, or left out to be estimated.")
    if iterations < 1:
        raise OptionError(f"iterations is {iterations}; it must be at least 1.")
    limits = []
    for name, value in start.items():
        if not (math.isfinite(value) and value > 0):
            raise OptionError(f"{name} starts from {value:g}; its logarithm is sought, so it must start from a positive number.")
        low, high = bounds.get(name, (value / RANGE, value * RANGE))
        if not (0 < low < high < math.inf and low <= value <= high):
            raise OptionError(f"{name} starts from {value:g} with bounds {low:g} and {high:g}; they must be positive and enclose it.")
        limits.append((math.log(low), math.log(high)))
    return limits


def _minimised(
    misfit: _Misfit,
    z: np.ndarray,
    limits: list[tuple[float, float]],
    first: float,
    noise: float | None,
    iterations: int,
    on_iteration: Callable[[int, float, np.ndarray], None] | None,
) -> tuple[int, bool]:
    """Leaves the least misfit in `misfit.best`; returns the iterations and whether the search ended by itself."""
    done, reach = 0, math.inf
    if on_iteration is not None:
        on_iteration(0, first, np.exp(z))
    if first == 0:
        return 0, True
    # The first step of the method is as long as the gradient: with this scale at most half an e-fold.
    scale = max(first, 2 * float(np.linalg.norm(misfit.best[1])))

    # A change of the misfit by sigma^2 / 2 is one standard deviation of a parameter: known noise ends the search far below that, not at zero.
    least = max(1e-11, 1e-4 * (noise or 0.0) ** 2 / scale)

    def scaled(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = misfit.at(z)
        if not math.isfinite(value):
            raise _TooFarError(z)
        return value / scale, slope / scale

    def watch(z: np.ndarray) -> None:
        nonlocal done
        done += 1
        if on_iteration is not None:
            on_iteration(done, misfit.best[0], np.exp(misfit.best[2]))

    low, high = np.array(limits).T
    # A line search knows no failures, so the search goes on from the best place within half the way to where it failed.
    while done < iterations and reach > SHORTEST:
        begin = misfit.best[2]
        lower, upper = np.maximum(low, begin - reach), np.minimum(high, begin + reach)
        options = {"maxiter": iterations - done, "ftol": least, "gtol": 1e-9, "maxls": 10}
        try:
            result = minimize(
                scaled, begin, jac=True, method="L-BFGS-B", bounds=list(zip(lower, upper, strict=True)), callback=watch, options=options
            )
        except _TooFarError as failure:
            reach = 0.5 * float(np.abs(failure.place - misfit.best[2]).max())
            continue
        best = misfit.best[2]
        if not bool((((best <= lower) & (lower > low)) | ((best >= upper) & (upper < high))).any()):
            # Status 2 is a line search that finds nothing lower: the misfit is down to the accuracy of the simulation.
            return done, result.status in (0, 2)
    return done, False


class _TooFarError(Exception):
    """The simulation failed at `place`."""

    def __init__(self, place: np.ndarray) -> None:
        super().__init__()
        self.place = place


def _hessian(misfit: _Misfit, z: np.ndarray) -> np.ndarray:
    """Of the misfit in log p, by central differences of the gradient `[P, P]`; NaN where a simulation beside it fails."""
    rows = []
    for k in range(len(z)):
        step = np.zeros(len(z))
        step[k] = HESSIAN_STEP
        rows.append((misfit.at(z + step)[1] - misfit.at(z - step)[1]) / (2 * HESSIAN_STEP))
    hessian = np.array(rows)
    return 0.5 * (hessian + hessian.T)


def _inverse(hessian: np.ndarray, names: tuple[str, ...], notes: list[str]) -> np.ndarray:
    """Of the Hessian `[P, P]`, NaN for parameters that have no deviation; says in `notes` why.

    Those are held where they are, the others' deviations hold given that.
    """
    curvature = np.diag(hessian)
    largest = np.nanmax(np.abs(curvature), initial=0.0)
    for k in range(len(names)):
        if notes[k]:
            continue
        if math.isnan(curvature[k]):
            notes[k] = f"{NOT_IDENTIFIABLE}: the simulation fails beside it"
        elif abs(curvature[k]) <= UNSEEN * largest or largest == 0:
            notes[k] = f"{NOT_IDENTIFIABLE}: it has no effect where it was found"
        elif curvature[k] < 0:
            notes[k] = f"{NOT_IDENTIFIABLE}: the misfit has no minimum there"
    while kept := [k for k in range(len(names)) if not notes[k]]:
        scale = np.sqrt(curvature[kept])
        values, vectors = np.linalg.eigh(hessian[np.ix_(kept, kept)] / np.outer(scale, scale))
        if values[0] > ALIKE:
            inverse = np.full((len(names), len(names)), math.nan)
            inverse[np.ix_(kept, kept)] = (vectors / values) @ vectors.T / np.outer(scale, scale)
            return inverse
        together = [k for k, share in zip(kept, vectors[:, 0] ** 2, strict=True) if share > 0.1]
        for k in together:
            others = " and ".join(names[j] for j in together if j != k)
            notes[k] = f"{NOT_IDENTIFIABLE}: only together with {others}" if others else f"{NOT_IDENTIFIABLE}: the misfit is flat"
    return np.full((len(names), len(names)), math.nan)
