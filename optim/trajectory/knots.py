"""Action sequences as functions of a few knots: one value a step, segments of constant action, straight lines, or a smooth curve.

The weights of every step are non-negative and add up to one, so that knots within the bounds give actions within the bounds.
De Boor 1978, "A practical guide to splines", for the clamped uniform cubic B-splines.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import BSpline

from ...errors import OptionError, UnknownNameError

INTERPOLATIONS = ("linear", "bspline", "constant")
"""How actions follow from knots: straight lines between them, a smooth curve that they control, or a segment of one action each."""

UNKNOWNS = 64
"""About how many numbers a method that samples is to search where the user does not choose the knots."""


def few_knots(steps: int, actions: int) -> int:
    """How many knots a method that samples takes: at least 4 and at most 16, about `UNKNOWNS` numbers in all, never more than steps."""
    return min(steps, 16, max(4, UNKNOWNS // actions))


def weights(steps: int, knots: int | None, interpolation: str = "linear") -> np.ndarray:
    """The matrix `[steps, knots]` that makes actions of knots; `knots=None` means one knot a step.

    Raises:
        OptionError: if there are fewer than one or more than `steps` knots.
        UnknownNameError: if there is no such interpolation.
    """
    if interpolation not in INTERPOLATIONS:
        raise UnknownNameError(f"There is no interpolation {interpolation!r}; there are {', '.join(INTERPOLATIONS)}.")
    if knots is None:
        return np.eye(steps)
    if not 1 <= knots <= steps:
        raise OptionError(f"knots is {knots}; it must be between 1 and the {steps} steps of the objective.")
    if interpolation == "constant":
        return np.eye(knots)[np.arange(steps) * knots // steps]
    if interpolation == "linear":
        places = np.linspace(0, steps - 1, knots)
        return np.stack([np.interp(np.arange(steps), places, row) for row in np.eye(knots)], axis=1)
    degree = min(3, knots - 1)
    inner = np.linspace(0, 1, knots - degree + 1)
    nodes = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
    return BSpline.design_matrix(np.linspace(0, 1, steps), nodes, degree).toarray()


class ActionSpace:
    """Knots `[K, A]` in units of the action range (0: lower bound, 1: upper bound) and the actions `[T, A]` that they stand for.

    What the knots cannot express of the initial actions is kept and added to every sequence, so that a run begins at the very
    actions that it was given; the sum is cut at the bounds.

    Args:
        lower: least actions `[A]`.
        upper: greatest actions `[A]`.
        initial: the actions `[T, A]` to begin with; those outside the bounds are moved to the bound.
        matrix: weights `[T, K]`.
    """

    def __init__(self, lower: np.ndarray, upper: np.ndarray, initial: np.ndarray, matrix: np.ndarray) -> None:
        self.lower, self.upper, self.matrix = lower, upper, matrix
        self.range = upper - lower
        initial = np.clip(initial, lower, upper)
        unit = np.divide(initial - lower, self.range, out=np.zeros_like(initial), where=self.range > 0)
        one_a_step = np.array_equal(matrix, np.eye(len(matrix)))
        self.initial = np.clip(unit if one_a_step else np.linalg.lstsq(matrix, unit, rcond=None)[0], 0, 1)
        self.remainder = initial - (lower + self.range * (matrix @ self.initial))

    @property
    def shape(self) -> tuple[int, int]:
        """K knots and A actions."""
        return self.initial.shape[0], self.initial.shape[1]

    def actions(self, knots: np.ndarray) -> np.ndarray:
        """The actions `[..., T, A]` of the knots `[..., K, A]`, within the bounds."""
        return np.clip(self._uncut(knots), self.lower, self.upper)

    def pull_back(self, gradient: np.ndarray, knots: np.ndarray) -> np.ndarray:
        """The gradient `[K, A]` with respect to the knots, from the one with respect to the actions `[T, A]` at these knots."""
        uncut = self._uncut(knots)
        slack = 1e-9 * self.range  # rounding at a bound is no cut
        free = (uncut >= self.lower - slack) & (uncut <= self.upper + slack)
        return self.matrix.T @ (gradient * self.range * free)

    def _uncut(self, knots: np.ndarray) -> np.ndarray:
        return self.lower + self.range * (self.matrix @ knots) + self.remainder
