"""A motion of a task that was observed, and how far a simulation with other parameters is from it: the residuals for `pliant.optim.identify`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..errors import ModelError, OptionError, ShapeError, UnknownNameError
from ..sim.core import State
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

    Where an environment fails, all of it is NaN.

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
    batch, steps = seen.actions.shape[:2]
    frames = torch.tensor(list(seen.steps))

    def remaining(values: Tensor) -> Tensor:
        solver = task.with_parameters(dict(zip(names, values.unbind(), strict=True)))

        def advance(state: State, t: int) -> tuple[State, Tensor]:
            following = task.advance(solver, state, seen.actions[:, t])
            return following, task.markers(following)

        played = unroll(advance, seen.start, steps, checkpoint=checkpoint)
        assert played.records is not None  # advance always records
        if not bool(played.final.ok.all()):
            return values.new_full((batch,), torch.nan)
        return (played.records[:, frames - 1] - seen.places).flatten()

    return remaining


def _check(task: Task, seen: Observation) -> None:
    batch = seen.start.batch
    if not bool(seen.start.ok.all()):
        raise ModelError("The motion begins with an environment that has failed; it tells nothing.")
    if seen.actions.ndim != 3 or seen.actions.shape[0] != batch or seen.actions.shape[2:] != task.action_space.shape:
        wanted = f"[{batch}, T, {task.action_space.shape[0]}]"
        raise ShapeError(f"The actions of the motion have shape {list(seen.actions.shape)}; {task.name} wants {wanted}.")
    own = task.initial_state(1, task.seed)
    for name, field, other in zip(own.names(), own.tensors(), seen.start.tensors(), strict=True):
        if field.shape[1:] != other.shape[1:] or field.dtype != other.dtype:
            raise ShapeError(
                f"The motion has {name} {list(other.shape[1:])}, the task {list(field.shape[1:])}; give the mesh and settings it was made with."
            )
    steps = list(seen.steps)
    if not steps or steps != sorted(set(steps)) or steps[0] < 1 or steps[-1] > seen.actions.shape[1]:
        raise ShapeError(f"The motion must be seen after ascending steps from 1 to {seen.actions.shape[1]}.")
    wanted_shape = [batch, len(steps), *task.markers(own).shape[1:]]
    if list(seen.places.shape) != wanted_shape:
        raise ShapeError(f"The observed places have shape {list(seen.places.shape)}; they must be {wanted_shape}.")
    for what, tensor in (
        ("start", seen.start.map(torch.Tensor.double).tensors()),
        ("places", (seen.places,)),
        ("actions", (seen.actions,)),
    ):
        if not all(bool(part.isfinite().all()) for part in tensor):
            raise ModelError(f"The {what} of the observed motion hold numbers that are not finite; record it anew.")
