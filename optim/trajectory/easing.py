"""Easier objectives on the way to the true one: a horizon that grows, and contact that hardens.

The growing horizon is that of Xian et al. 2023, "FluidLab: a differentiable environment for benchmarking complex fluid manipulation".
Both are homotopies (continuation methods): Allgower and Georg 1990, "Numerical continuation methods".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from ...errors import OptionError
from .method import whole_number
from .objective import Objective
from .progress import Progress


@dataclass(frozen=True)
class Easing:
    """Which easier objective a method pursues in each iteration. The default is none: always the true objective.

    Only what is pursued is eased. Whatever an iteration finds is judged by the true objective, and by that alone it becomes the best.

    Args:
        expand_from: share of the horizon whose loss is pursued at first; 1 is the whole.
        expand_by: share of the horizon that is added when the pursued loss stalls.
        expand_after: it stalls when for so many iterations in a row it has not fallen
        expand_below: by more than this share of its value.
        soften: softness at the start, in the unit of the objective (of a task: cells from which tools act); None: the objective's own.
        soften_over: iterations in which the softness falls linearly to the objective's own. It is a number of its own, and not the
            budget, so that a run that is resumed with a larger budget is the same run.

    Raises:
        OptionError: for a number that makes no sense.
    """

    expand_from: float = 1.0
    expand_by: float = 0.1
    expand_after: int = 3
    expand_below: float = 0.01
    soften: float | None = None
    soften_over: int = 20

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if (value is not None or field.name != "soften") and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise OptionError(f"{field.name} is {value!r}; it must be a number.")
        for name in ("expand_from", "expand_by"):
            if not 0 < getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be a share of the horizon, above 0 and at most 1.")
        if not 0 <= self.expand_below < 1:
            raise OptionError(f"expand_below is {self.expand_below}; it must be at least 0 and less than 1.")
        if self.soften is not None and not 0 <= self.soften < math.inf:
            raise OptionError(f"soften is {self.soften}; it must be finite and at least 0.")
        for name in ("expand_after", "soften_over"):
            whole_number(name, getattr(self, name), least=1)

    def horizon(self, steps: int, lines: Sequence[Progress]) -> int:
        """The steps, of all `steps`, whose loss the next iteration pursues, given all that went before."""
        if not lines:
            return min(steps, max(1, round(self.expand_from * steps)))
        now, lowest, stalled = lines[-1].horizon, math.inf, 0
        if now == steps:
            return steps
        for line in (line for line in lines if line.horizon == now):
            if math.isinf(lowest) or line.pursued < lowest - self.expand_below * abs(lowest):
                lowest, stalled = line.pursued, 0
            else:
                stalled += 1
        return now if stalled < self.expand_after else min(steps, now + max(1, round(self.expand_by * steps)))

    def softening(self, objective: Objective, iteration: int) -> float:
        """What is left of the additional softness in an iteration, from 1 down to 0; 0 where `soften` adds nothing."""
        if self.soften is None or self.soften == objective.softness:  # type: ignore[attr-defined]
            return 0.0
        return max(0.0, 1 - iteration / self.soften_over)

    def check(self, objective: Objective) -> None:
        """Checks that the objective can be eased like this.

        Raises:
            OptionError: if it cannot be truncated or softened, or is softer than `soften`.
        """
        if self.expand_from < 1 and not hasattr(objective, "truncated"):
            raise OptionError("This objective cannot be truncated; leave out expand_from.")
        if self.soften is not None:
            own = getattr(objective, "softness", None)
            if own is None:
                raise OptionError("This objective has nothing to soften, such as tools in contact; leave out the soft contact.")
            if self.soften < own:
                raise OptionError(
                    f"A softness of {self.soften:g} is harder than the objective's own, {own:g}; ask for more, or leave it out."
                )

    def eased(self, objective: Objective, horizon: int, softening: float) -> Objective:
        """The objective to be pursued; `objective` itself where nothing is eased."""
        if self.soften is not None and softening > 0:
            own = objective.softness  # type: ignore[attr-defined]
            objective = objective.softened(own + softening * (self.soften - own))  # type: ignore[attr-defined]
        return objective if horizon == objective.shape[0] else objective.truncated(horizon)  # type: ignore[attr-defined]
