"""Plays action sequences on a task, and keeps of it what is to be seen: frames of a video, states of a replay."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..envs.task import Course, Task
from ..errors import PliantError
from ..sim.core import State
from ..sim.rollout import Trajectory

FRAMES = 120
"""A video has at most so many intervals between frames."""
SPEEDS = (10.0, 30.0)
"""Frames a second of a video at least and at most; in between it runs in real time."""
SHOWN = 16
"""A video shows at most so many environments, as tiles."""
REPLAY_BYTES = 2**26
"""A replay holds as many environments as fit into this, uncompressed; where not even one does, it holds one with fewer frames."""


def frame_steps(steps: int) -> list[int]:
    """After which of T steps a film has its frames; the first one, 0, is the start."""
    found: list[int] = np.linspace(0, steps, min(steps, FRAMES) + 1).round().astype(int).tolist()
    return found


@dataclass(frozen=True)
class Played:
    """What came of N environments."""

    loss: Tensor
    """`[N]`, as `Task.rollout` has it."""
    returns: Tensor
    """Sum of the rewards `[N]`; a failure ends the sum with the task's `failure_reward`."""
    outcomes: list[str]
    metrics: dict[str, list[float]]
    final: State


@torch.no_grad()
def play(task: Task, actions: Tensor, seeds: Sequence[int], watch: Callable[[int, State], Any] | None = None) -> Played:
    """Plays action sequences `[N, T, A]` from the initial states of N seeds.

    Args:
        task: what is played.
        actions: within -1 and 1.
        seeds: one for each environment.
        watch: called with 0, 1, ... T times `task.shown` and the state then.

    Raises:
        ShapeError: for actions of the wrong shape.
        ModelError: for actions outside of the action space.
    """
    state = task.initial_states(seeds)
    returns, costs = torch.zeros(state.batch, dtype=torch.float64), []
    if watch is not None:
        watch(0, state)
    for t in range(actions.shape[1]):
        motion = [task.step(state, actions[:, t])] if watch is None else task.motion(state, actions[:, t])
        following = motion[-1]
        if watch is not None:
            for k, between in enumerate(motion, 1):
                watch(t * task.shown + k, between)
        reward = task.reward(state, actions[:, t], following).double()
        reward = torch.where(following.ok, reward, task.failure_reward)
        returns += torch.where(state.ok, reward, 0.0).cpu()
        costs.append(task.stage_cost(state, actions[:, t], following, t))
        state = following
    loss = task.loss(Course(torch.stack(costs, 1), state, None))
    metrics = {name: value.detach().cpu().double().tolist() for name, value in task.metrics(state).items()}
    return Played(loss, returns, [outcome.name for outcome in state.outcomes()], metrics, state)


class Film:
    """Watches a rollout: draws at most `FRAMES` + 1 frames of it, the first and the last state among them, and keeps states.

    Args:
        task: what is played.
        envs: number of environments.
        steps: number of steps T; a step counts `task.shown` times.
        drawn: whether to draw; the states are kept anyway.
    """

    def __init__(self, task: Task, envs: int, steps: int, *, drawn: bool = True) -> None:
        self.states = steps * task.shown
        self._due = frame_steps(self.states)
        self.task, self.envs, self.drawn = task, envs, drawn
        self.dt = task.dt * steps / (len(self._due) - 1)
        self.trouble = "the task has no picture; write its draw() and camera()." if drawn and type(task).draw is Task.draw else ""
        self._every = 1
        self._states: list[State] = []
        self._frames: list[np.ndarray] = []

    @property
    def fps(self) -> float:
        """Frames a second at which the video is to be shown."""
        return min(max(1 / self.dt, SPEEDS[0]), SPEEDS[1])

    @property
    def speed(self) -> float:
        """How much faster than reality the video runs."""
        return self.dt * self.fps

    @property
    def frames(self) -> np.ndarray:
        """uint8 `[T, H, W, 3]`."""
        return np.stack(self._frames)

    @property
    def replay(self) -> Trajectory[State]:
        """The states of the frames, of as many environments and frames as fit."""
        return Trajectory.stack(self._states, self.dt * self._every)

    def watch(self, t: int, state: State) -> None:
        """Takes the state after step t, if a frame is due."""
        if t not in self._due:
            return
        size = sum(tensor.nbytes for tensor in state.tensors()) // state.batch * len(self._due)
        self._every = math.ceil(size / REPLAY_BYTES)
        if self._due.index(t) % self._every == 0:
            kept = state[: max(1, REPLAY_BYTES // size)]
            self._states.append(kept.map(lambda tensor: tensor.detach().cpu().clone()))
        if self.drawn and not self.trouble:
            try:
                self._frames.append(self._draw(state))
            except PliantError as error:
                self.trouble = str(error)

    def _draw(self, state: State) -> np.ndarray:
        from ..sim.render import render

        shown = min(self.envs, SHOWN)
        columns = math.ceil(math.sqrt(shown))
        width = 480 if shown == 1 else 2 * (360 // columns)
        height = 2 * (3 * width // 8)
        tiles = render([self.task.draw(state, env) for env in range(shown)], self.task.camera(), width, height).rgb
        rows = math.ceil(shown / columns)
        empty = np.full((rows * columns - shown, height, width, 3), 255, np.uint8)
        grid = np.concatenate([tiles, empty]).reshape(rows, columns, height, width, 3)
        return grid.swapaxes(1, 2).reshape(rows * height, columns * width, 3)
