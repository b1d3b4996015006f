"""What a method of trajectory optimisation has to supply: an update. The loop in `loop.py` does all the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import FileFormatError, OptionError
from .objective import Problem


@dataclass(frozen=True)
class Trial:
    """One iteration of a method.

    Args:
        knots: the best knots `[K, A]` that this iteration evaluated.
        loss: their loss; inf if every evaluation of the iteration was skipped.
        evaluations: how many sequences were evaluated, with or without gradient.
        skipped: how many of them failed or were not finite.
        gradients: how many of them were evaluated with a gradient, whether it came or not.
        gradient_norm: Euclidean norm of the gradient with respect to the knots in units of the action range, before any clipping;
            NaN for a method without gradients and where there is none.
        clipped: how many gradients were shortened.
    """

    knots: np.ndarray
    loss: float
    evaluations: int
    skipped: int
    gradients: int = 0
    gradient_norm: float = float("nan")
    clipped: int = 0


class Method(ABC):
    """One way to lower an objective, step by step.

    A method is a function of the problem, its options, and what the objective returned: the same seed gives the same bits. It draws
    random numbers from generators of its own and keeps nothing but what `state` returns, so that a run can go on from a file.

    Args:
        problem: the objective over knots. `problem` may be exchanged between two iterations for an easier one over the same knots;
            `moved` is called then.
        options: an `Options` of this class.
    """

    Options: ClassVar[type]
    """A frozen dataclass of numbers, strings and None; it raises a PliantError for values that make no sense."""

    def __init__(self, problem: Problem, options: Any) -> None:
        self.problem, self.options = problem, options

    @staticmethod
    def default_knots(steps: int, actions: int) -> int | None:
        """How many knots to take where the user does not say; None: one a step."""
        return None

    @property
    def finished(self) -> bool:
        """Whether further iterations would change nothing."""
        return False

    @property
    def demand(self) -> tuple[int, int]:
        """How many losses without gradient, and how many with, the next `advance` evaluates at most."""
        return 1, 0

    def moved(self) -> None:  # noqa: B027, most methods have nothing to do here
        """Takes note that losses from here on are of another objective than those so far."""

    @abstractmethod
    def start(self) -> Trial:
        """Evaluates the first knots; iteration 0."""

    @abstractmethod
    def advance(self, iteration: int) -> Trial:
        """Updates and evaluates; iterations 1, 2, ..."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All that the next iteration depends on, as arrays that later iterations leave alone."""

    @abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes up a state of a run with the same problem and options.

        Raises:
            FileFormatError: if the arrays are not such a state.
        """


def state_array(state: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """A copy of the array `name` of a state as float64, after checking its shape; None stands for any length.

    Raises:
        FileFormatError: if it is missing or has another shape.
    """
    array = state.get(name)
    fits = array is not None and array.ndim == len(shape) and all(want in (None, has) for want, has in zip(shape, array.shape, strict=True))
    if array is None or not fits or array.dtype.kind not in "fiu":
        raise FileFormatError(f"The progress file is damaged: its state lacks {name} of shape {shape}.")
    return array.astype(np.float64)


def whole_number(name: str, value: Any, least: int) -> None:
    """Checks that a setting is None or a whole number of at least `least`.

    Raises:
        OptionError: naming the setting.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least):
        raise OptionError(f"{name} is {value!r}; it must be a whole number of at least {least}.")
