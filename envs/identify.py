"""A motion of a task that was observed, and how far a simulation with other parameters is from it: the residuals for `pliant.optim.identify`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..errors import ModelError, OptionError, ShapeError, UnknownNameError
from ..sim.core import Outcome, State
from ..sim.rollout import unroll

if TYPE_CHECKING:
    from .task import Task


@dataclass(frozen=True)
class Parameter:
    """A physical parameter of a task that can be identified."""

    value: float
    """What it is in the task, in its unit."""
    unit: str
    """Of the SI; empty for pure numbers."""
    what: str
    """It is, in a few words."""


@dataclass(frozen=True)
class Observation:
    """Where the markers of a task were in a motion of B environments.

    Args:
        start: from which it began; it is taken as known.
        actions: that were taken `[B, T, A]`.
        steps: after which steps the markers were seen, F ascending numbers from 1 to T.
        places: of the markers then `[B, F, M, 3]` [m].
    """

    start: State
    actions: Tensor
    steps: Sequence[int]
    places: Tensor


def residuals(
    task: Task, seen: Observation, names: Sequence[str], *, checkpoint: int | Literal["sqrt"] | None = None
) -> Callable[[Tensor], Tensor]:
    """What `identify` is to make small: the markers that a simulation with parameters `[P]` gives, minus those seen, `[n]` [m].

    Where an environment fails, it raises a ModelError that says how.

    Args:
        task: that was observed.
        seen: the motion.
        names: of the P parameters, among those of `task.identifiable()`.
        checkpoint: the memory knob of `sim.rollout`.

    Raises:
        OptionError: if the task has nothing to identify.
        UnknownNameError: for a name that it does not have.
        ShapeError: if the observation is not one of this task.
        ModelError: if it holds numbers that are not finite, or a failed start.
    """
    known = task.identifiable()
    if not known:
        raise OptionError(f"{task.name} has no parameters to identify; a task says by identifiable() and with_parameters() what it has.")
    for name in names:
        if name not in known:
            raise UnknownNameError(f"{task.name} has no parameter {name!r} to identify; there are {', '.join(known)}.")
    _check(task, seen)
    steps = int(seen.actions.shape[1])
    frames = torch.tensor(list(seen.steps))

    def remaining(values: Tensor) -> Tensor:
        solver = task.with_parameters(dict(zip(names, values.unbind(), strict=True)))

        def advance(state: State, t: int) -> tuple[State, Tensor]:
            following = task.advance(solver, state, seen.actions[:, t])
            return following, task.markers(following)

        played = unroll(advance, seen.start, steps, checkpoint=checkpoint)
        assert played.records is not None  # advance always records
        for number, outcome in enumerate(played.final.outcomes()):
            if outcome != Outcome.OK:
                tried = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values.tolist(), strict=True))
                raise ModelError(f"With {tried} environment {number} ends as {outcome.name}; start from other values.")
        return (played.records[:, frames - 1] - seen.places).flatten()

    return remaining


def check_start(task: Task, start: State) -> None:
    """Raises if an observed motion does not begin with a state of the task.

    Raises:
        ShapeError: if it is of another scene, mesh or dtype.
        ModelError: if an environment has failed.
    """
    own = task.initial_state(1, task.seed)
    for name, field, other in zip(own.names(), own.tensors(), start.tensors(), strict=True):
        if field.shape[1:] != other.shape[1:] or field.dtype != other.dtype:
            raise ShapeError(
                f"The motion has {name} {list(other.shape[1:])} ({other.dtype}), the task {list(field.shape[1:])} ({field.dtype}); "
                "give the preset, the mesh and the options with which it was recorded."
            )
    if not bool(start.ok.all()):
        raise ModelError("The motion begins with an environment that has failed; record it anew.")


def _check(task: Task, seen: Observation) -> None:
    check_start(task, seen.start)
    batch, steps = seen.start.batch, list(seen.steps)
    if seen.actions.ndim != 3 or seen.actions.shape[0] != batch or seen.actions.shape[2:] != task.action_space.shape:
        wanted = f"[{batch}, T, {task.action_space.shape[0]}]"
        raise ShapeError(f"The actions of the motion have shape {list(seen.actions.shape)}; {task.name} wants {wanted}.")
    if not steps or steps != sorted(set(steps)) or steps[0] < 1 or steps[-1] > seen.actions.shape[1]:
        raise ShapeError(f"The motion must be seen after ascending steps from 1 to {seen.actions.shape[1]}.")
    places = [batch, len(steps), *task.markers(seen.start).shape[1:]]
    if list(seen.places.shape) != places:
        raise ShapeError(f"The observed places have shape {list(seen.places.shape)}; they must be {places}.")
    for what, tensors in (("start", seen.start.floats().values()), ("places", [seen.places]), ("actions", [seen.actions])):
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise ModelError(f"The {what} of the observed motion hold numbers that are not finite; record it anew.")
