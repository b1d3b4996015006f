"""Every task as a `gymnasium.vector.VectorEnv`: all environments in one batch of one solver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..errors import ModelError, ShapeError, UnknownNameError
from .episodes import Episodes
from .gym_env import METADATA, draw_seed, frame_rate, known_mode, made
from .task import Task


class TaskVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """`num_envs` environments of a task; `gymnasium.make_vec("pliant/Name-v0", num_envs=...)` makes it.

    It does exactly what `SyncVectorEnv` over as many `TaskEnv` does, to the bit, where the solver's batch is bit-exact. Environment i
    has its own random numbers, seeded with `seed + i`. What happens to an environment whose episode has ended is `autoreset_mode`:

    - "NextStep", Gymnasium's default and ours: the next step ignores its action and returns the first observation of a new episode.
    - "SameStep": the step that ends it returns the new episode's observation; the last one is in `infos["final_obs"]`.
    - "Disabled": the caller calls `reset(options={"reset_mask": ended})` before the next step.

    Args:
        task: a name that `task_names()` lists, "module:Class", or a task.
        num_envs: number of environments B.
        preset: of the task.
        autoreset_mode: one of the three, or the member of `AutoresetMode`.
        render_mode: None or "rgb_array".
        image_size: width and height of a picture.
        max_episode_steps: steps after which an episode is truncated, if not the task's horizon.
        randomize: refused, since one solver has one model; `vectorization_mode="sync"` has an environment for each.
        **options: of the task, see `make_task`.

    Raises:
        UnknownNameError: for an unknown task, preset, option, autoreset or render mode.
        ModelError: for a number of environments or options that cannot be.
    """

    def __init__(
        self,
        task: str | Task,
        num_envs: int = 1,
        *,
        preset: str = "small",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        image_size: Sequence[int] = (320, 240),
        max_episode_steps: int | None = None,
        randomize: bool = False,
        **options: Any,
    ) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
            raise ModelError(f"num_envs is {num_envs!r}; it must be a whole number of at least 1.")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise ModelError(f"max_episode_steps is {max_episode_steps}; it must be at least 1.")
        if randomize:
            raise ModelError('One solver has one model; for randomized environments use make_vec(..., vectorization_mode="sync").')
        self.task = made(task, preset, options)
        self.num_envs = int(num_envs)
        self.autoreset_mode = _mode(autoreset_mode)
        self.render_mode = known_mode(render_mode)
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.metadata = {**METADATA, "render_fps": frame_rate(self.task), "autoreset_mode": self.autoreset_mode}
        self.single_action_space = self.task.action_space
        self.single_observation_space = self.task.observation_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._episodes = Episodes(self.task, self.num_envs, max_episode_steps)
        self._generators: list[np.random.Generator | None] = [None] * self.num_envs

    def reset(  # type: ignore[override]
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode in all environments, or in those of a mask.

        Args:
            seed: environment i gets `seed + i`; or one for each; None goes on with the random numbers that it has.
            options: `reset_mask`, bool array `[B]` of the environments to reset; the others stay where they are.

        Raises:
            ShapeError: for a mask or a list of seeds of the wrong shape.
            UnknownNameError: for any other option.
        """
        super().reset(seed=seed if isinstance(seed, int) else None)
        unknown = set(options or ()) - {"reset_mask"}
        if unknown:
            raise UnknownNameError(f"Unknown reset options: {', '.join(sorted(unknown))}; the only one is reset_mask.")
        mask = self._mask((options or {}).get("reset_mask"))
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise ShapeError(f"There are {len(seeds)} seeds for {self.num_envs} environments; give one seed, or one for each.")
        for env in np.flatnonzero(mask).tolist():
            own = None if seeds is None else seeds[env]
            if own is not None or self._generators[env] is None:
                self._generators[env] = seeding.np_random(None if own is None else int(own))[0]
        self._start(mask)
        return self._episodes.observations.copy(), self._gather(self._episodes.infos(), mask)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Plays one control step with actions `[B, A]`.

        Raises:
            ResetNeeded: before the first reset; and, without autoreset, where an episode has ended.
            ShapeError: for actions of the wrong shape.
            ModelError: naming the first action outside of the action space.
        """
        episodes = self._episodes
        if episodes.state is None:
            raise ResetNeeded("No episode has begun; call reset() first.")
        waiting = episodes.over
        if self.autoreset_mode is AutoresetMode.DISABLED and waiting.any():
            over = np.flatnonzero(waiting).tolist()
            raise ResetNeeded(f'The episodes of environments {over} are over; call reset(options={{"reset_mask": ...}}) for them.')
        if waiting.any():
            actions = np.array(actions)
            if actions.shape == self.action_space.shape:
                actions[waiting] = 0  # it is ignored, so it may be anything
        rewards = episodes.step(actions)
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and waiting.any():
            rewards[waiting] = 0.0
            self._start(waiting)
        terminated, truncated, ended = episodes.terminated.copy(), episodes.truncated.copy(), episodes.over
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            final = [{"final_obs": episodes.observations[env].copy(), "final_info": info} for env, info in enumerate(episodes.infos())]
            infos = self._gather(final, ended)
            self._start(ended)
        infos = self._gather(episodes.infos(), np.ones(self.num_envs, bool), infos)
        return episodes.observations.copy(), rewards, terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of every environment, uint8 `[height, width, 3]`, or None without a render mode."""
        if self.render_mode is None:
            return None
        if self._episodes.state is None:
            raise ResetNeeded("There is nothing to see yet; call reset() first.")
        return tuple(self._episodes.pictures(*self.image_size))

    def _start(self, mask: np.ndarray) -> None:
        seeds = {}
        for env in np.flatnonzero(mask).tolist():
            generator = self._generators[env]
            assert generator is not None  # made by the first reset, which is for all environments
            seeds[env] = draw_seed(generator)
        self._episodes.start(seeds)

    def _gather(self, infos: list[dict[str, Any]], mask: np.ndarray, into: dict[str, Any] | None = None) -> dict[str, Any]:
        gathered = {} if into is None else into
        for env in np.flatnonzero(mask).tolist():
            gathered = self._add_info(gathered, infos[env], env)
        return gathered

    def _mask(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(mask)
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise ShapeError(f"reset_mask must be a bool array of shape ({self.num_envs},) with at least one True, not {mask!r}.")
        if self._episodes.state is None and not mask.all():
            raise ResetNeeded("The first reset must be of all environments; call it without a mask.")
        return mask


def _mode(mode: str | AutoresetMode) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise UnknownNameError(f"There is no autoreset mode {mode!r}; choose one of {', '.join(m.value for m in AutoresetMode)}.") from None
