"""Every task as a `gymnasium.Env`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from ..errors import ModelError, ShapeError, UnknownNameError
from .episodes import Episodes
from .registry import make_task
from .task import Task

METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 30}
"""Of an environment that is yet to be made; an instance has the frame rate of its task."""


class TaskEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One environment of a task; `gymnasium.make("pliant/Name-v0", ...)` makes it.

    Observations and actions are float32 arrays of `observation_space` and `action_space`. An action outside of the space is an error,
    nothing is clipped. An episode is truncated after the task's horizon. If the simulation fails, the episode is terminated with
    `info["outcome"]` other than "OK" and the reward `task.failure_reward`; the observation is that of the last good state.
    `info["episode_seed"]` is the seed of the initial state, so that `task.rollout(actions, seed=...)` replays the episode.
    At the end of an episode `info["metrics"]` holds the task's figures.

    Args:
        task: a name that `task_names()` lists, "module:Class", or a task.
        preset: of the task.
        render_mode: None or "rgb_array".
        image_size: width and height of the picture.
        randomize: whether every reset plays `task.randomized(episode_seed)` in place of the task.
        **options: of the task, see `make_task`.

    Raises:
        UnknownNameError: for an unknown task, preset, option or render mode.
        ModelError: for options that the scene cannot have.
    """

    metadata = METADATA

    def __init__(
        self,
        task: str | Task,
        *,
        preset: str = "small",
        render_mode: str | None = None,
        image_size: Sequence[int] = (320, 240),
        randomize: bool = False,
        **options: Any,
    ) -> None:
        self.task = made(task, preset, options)
        self.render_mode = known_mode(render_mode)
        self.metadata = {**METADATA, "render_fps": frame_rate(self.task)}
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.randomize = randomize
        self.action_space = self.task.action_space
        self.observation_space = self.task.observation_space
        self._episodes = Episodes(self.task, 1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode; there are no options."""
        super().reset(seed=seed)
        if options:
            raise UnknownNameError(f"Unknown reset options: {', '.join(options)}.")
        episode_seed = draw_seed(self.np_random)
        if self.randomize:
            self._episodes = Episodes(self.task.randomized(episode_seed), 1)
        self._episodes.start({0: episode_seed})
        return self._episodes.observations[0].copy(), self._episodes.infos()[0]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays one control step.

        Raises:
            ResetNeeded: before the first reset, or once the episode has ended.
            ShapeError: for an action of the wrong shape.
            ModelError: for an action outside of the action space.
        """
        episodes = self._episodes
        if episodes.state is None or episodes.over[0]:
            raise ResetNeeded("The episode has not begun or is over; call reset() first.")
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise ShapeError(f"The action has shape {action.shape}; it must be {self.action_space.shape}.")
        reward = episodes.step(action[None])
        observation = episodes.observations[0].copy()
        return observation, float(reward[0]), bool(episodes.terminated[0]), bool(episodes.truncated[0]), episodes.infos()[0]

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The picture, uint8 `[height, width, 3]`, or None without a render mode."""
        if self.render_mode is None:
            return None
        if self._episodes.state is None:
            raise ResetNeeded("There is nothing to see yet; call reset() first.")
        return self._episodes.pictures(*self.image_size)[0]


def made(task: str | Task, preset: str, options: dict[str, Any]) -> Task:
    """The task itself, or the one of that name."""
    if not isinstance(task, Task):
        return make_task(task, preset, **options)
    if options:
        raise ModelError(f"Options ({', '.join(options)}) cannot be given to a task that exists; make it with them.")
    return task


def known_mode(render_mode: str | None) -> str | None:
    """The render mode, if it is one of ours."""
    if render_mode is not None and render_mode not in METADATA["render_modes"]:
        raise UnknownNameError(f"There is no render mode {render_mode!r}; choose rgb_array or None.")
    return render_mode


def frame_rate(task: Task) -> int:
    """Pictures a second at which a video of the task runs in real time."""
    return max(1, round(1 / task.dt))


def draw_seed(generator: np.random.Generator) -> int:
    """The seed of the next episode."""
    return int(generator.integers(2**31))
