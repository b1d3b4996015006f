"""Many steps of a solver, which states to keep for the backward pass, and trajectories on disk.

Keeping every k-th state and recomputing the segments between them is the classical checkpointing of Griewank and Walther 2000,
"Algorithm 799: revolve", with equidistant checkpoints: memory T/k + k, least at k = sqrt(T), for one more forward pass.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed

from ..errors import FileFormatError, ModelError, ShapeError
from ..storage import load_arrays, save_arrays
from .core import Control, ControlT, Solver, State, StateT


def step_running(solver: Solver[Any, StateT, ControlT], state: StateT, control: ControlT) -> StateT:
    """`solver.step`; but a state all of whose environments have failed is returned as it is, without a call of the solver.

    A step leaves failed environments unchanged, so values and derivatives are the same.
    """
    return solver.step(state, control) if bool(state.ok.any()) else state


@dataclasses.dataclass(frozen=True)
class Rollout(Generic[StateT]):
    """What `rollout` returns; all of it carries derivatives."""

    final: StateT
    """The state after the last step."""
    records: Tensor | None
    """What `record` returned after each of the T steps, `[B, T, ...]`; None if nothing was recorded."""
    states: list[StateT] | None
    """All T + 1 states, the first one included; None if they were not kept."""


def rollout(
    solver: Solver[Any, StateT, ControlT],
    state: StateT,
    controls: Sequence[ControlT] | Callable[[StateT, int], ControlT],
    *,
    steps: int | None = None,
    checkpoint: int | Literal["sqrt"] | None = None,
    record: Callable[[StateT], Tensor] | None = None,
    keep: bool | None = None,
) -> Rollout[StateT]:
    """Advances `state` by many steps; differentiable in the state, the controls and the model's parameters.

    Once all environments have failed the solver is called no more: states stay as they are, and are recorded to the end.

    Args:
        solver: whose `step` is called.
        state: where to start, batch B.
        controls: one control a step; or a function of the state and the number of the step that returns it. With a checkpoint such a
            function is called again in the backward pass, so it must give the same control for the same state.
        steps: how many steps T; wanted with a function, and otherwise the number of the controls.
        checkpoint: None keeps what the backward pass needs of every step. A number k keeps only every k-th state and recomputes the k
            steps in between when the backward pass arrives there; "sqrt" is k = ceil(sqrt(T)). Values and derivatives are the same bits.
        record: a function of the state after a step, returning `[B, ...]`, such as a cost.
        keep: whether to return all states; by default only where there is no checkpoint, since they are in memory then.

    Raises:
        ModelError: if the number of steps or the checkpoint is not a positive whole number.
        ShapeError: if a control is none, has another batch size, or their number is not `steps`.
    """
    if callable(controls):
        if steps is None:
            raise ModelError("rollout needs steps=, since the controls are a function.")
        choose = controls
    else:
        listed = list(controls)
        if steps is not None and steps != len(listed):
            raise ShapeError(f"There are {len(listed)} controls for {steps} steps; leave out steps= or match them.")
        steps = len(listed)

        def choose(_: StateT, t: int) -> ControlT:
            return listed[t]

    def advance(current: StateT, t: int) -> tuple[StateT, Tensor | None]:
        control = choose(current, t)
        if not isinstance(control, Control):
            raise ShapeError(f"The control of step {t} is a {type(control).__name__}; it must be a Control.")
        if control.batch != current.batch:
            raise ShapeError(f"The control of step {t} has batch size {control.batch}; the state has {current.batch}.")
        current = step_running(solver, current, control)
        return current, None if record is None else record(current)

    return unroll(advance, state, steps, checkpoint=checkpoint, keep=checkpoint is None if keep is None else keep)


def unroll(
    advance: Callable[[StateT, int], tuple[StateT, Tensor | None]],
    state: StateT,
    steps: int,
    *,
    checkpoint: int | Literal["sqrt"] | None = None,
    keep: bool = False,
) -> Rollout[StateT]:
    """The loop behind `rollout`, for steps that want more than a solver and a control.

    Args:
        advance: gives the state after step t and something to record `[B, ...]`, or None. With a checkpoint it is called again in the
            backward pass and must do the same then.
        state: where to start.
        steps: number of steps T.
        checkpoint: as in `rollout`.
        keep: whether to return all states.

    Raises:
        ModelError: if the number of steps or the checkpoint is not a positive whole number.
    """
    length = _segment_length(checkpoint, steps)

    def segment(start: int, stop: int, *tensors: Tensor) -> tuple[StateT, list[Tensor | None], list[StateT]]:
        current = type(state)(*tensors)
        segment_records, segment_states = [], []
        for t in range(start, stop):
            current, recorded = advance(current, t)
            segment_records.append(recorded)
            if keep:
                segment_states.append(current)
        return current, segment_records, segment_states

    final, records, states = state, [], [state]
    for start in range(0, steps, length):
        stop = min(start + length, steps)
        # The tensors are arguments, not part of the closure, so that hooks on saved tensors (offloading, counting) see them.
        if checkpoint is None or not torch.is_grad_enabled():
            final, new_records, new_states = segment(start, stop, *final.tensors())
        else:
            final, new_records, new_states = recomputed(segment, start, stop, *final.tensors(), use_reentrant=False)
        records += new_records
        states += new_states
    present = [entry for entry in records if entry is not None]
    return Rollout(final, torch.stack(present, 1) if present else None, states if keep else None)


def _segment_length(checkpoint: int | Literal["sqrt"] | None, steps: int) -> int:
    """How many steps lie between two kept states."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ModelError(f"The number of steps is {steps!r}; it must be a whole number of at least 1.")
    if checkpoint is None:
        return steps
    if checkpoint == "sqrt":
        return math.isqrt(steps - 1) + 1
    if isinstance(checkpoint, bool) or not isinstance(checkpoint, int) or checkpoint < 1:
        raise ModelError(f"checkpoint is {checkpoint!r}; it must be None, 'sqrt', or a whole number of at least 1.")
    return checkpoint


@dataclasses.dataclass(frozen=True)
class Trajectory(Generic[StateT]):
    """States of one rollout, stacked on a time axis behind the batch axis; `trajectory[t]` is the state of frame t."""

    kind: type[StateT]
    tensors: Mapping[str, Tensor]
    """The fields of the state, `[B, T, ...]`."""
    dt: float
    """Time between two frames [s]."""

    @classmethod
    def stack(cls, states: Sequence[StateT], dt: float) -> Trajectory[StateT]:
        """The trajectory of `states`, which are `dt` [s] apart.

        Raises:
            ShapeError: if there is no state, or they differ in class or shape.
            ModelError: if `dt` is not positive.
        """
        if not states:
            raise ShapeError("A trajectory needs at least one state.")
        if not (math.isfinite(dt) and dt > 0):
            raise ModelError(f"The time between two frames is {dt} s; it must be positive.")
        kind = type(states[0])
        for t, state in enumerate(states):
            if type(state) is not kind or [x.shape for x in state.tensors()] != [x.shape for x in states[0].tensors()]:
                raise ShapeError(f"State {t} of the trajectory differs from the first in class or shape.")
        fields = zip(*(state.tensors() for state in states), strict=True)
        return cls(kind, {name: torch.stack(frames, 1) for name, frames in zip(kind.names(), fields, strict=True)}, float(dt))

    def __len__(self) -> int:
        return int(self.tensors["status"].shape[1])

    @property
    def batch(self) -> int:
        """The number of environments B."""
        return int(self.tensors["status"].shape[0])

    def __getitem__(self, frame: int) -> StateT:
        if not -len(self) <= frame < len(self):
            raise IndexError(f"frame {frame} of a trajectory of {len(self)}")
        return self.kind(*(self.tensors[name][:, frame] for name in self.kind.names()))

    def save(self, path: str | Path) -> None:
        """Writes the trajectory to an `.npz` file, without pickle; an existing file is replaced only once the new one is whole."""
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in self.tensors.items()}
        save_arrays(path, _mark(self.kind), {**arrays, "__dt__": np.array(self.dt)})

    @classmethod
    def load(cls, path: str | Path, kind: type[StateT]) -> Trajectory[StateT]:
        """Reads what `save` wrote of states of class `kind`.

        Raises:
            FileFormatError: if the file is damaged, foreign, or holds another kind of state.
        """
        arrays = load_arrays(path, _mark(kind), (*kind.names(), "__dt__"))
        lengths = {arrays[name].shape[:2] for name in kind.names()}
        try:
            dt = float(arrays["__dt__"])
            tensors = {name: torch.from_numpy(arrays[name]) for name in kind.names()}
            trajectory = cls(kind, tensors, dt)
            whole = len(lengths) == 1 and len(trajectory) > 0 and math.isfinite(dt) and dt > 0 and isinstance(trajectory[0], State)
        except (TypeError, ValueError, IndexError) as error:
            raise FileFormatError(f"{path} is damaged: {error}") from error
        if not whole:
            raise FileFormatError(f"{path} is damaged: its arrays do not fit together.")
        return trajectory


def _mark(kind: type[State]) -> str:
    return f"{kind.__name__} trajectory"
