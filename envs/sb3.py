"""Every task as a vectorised environment of stable-baselines3 (extra `rl`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from ..errors import MissingExtraError, UnknownNameError
from .task import Task
from .vector_env import TaskVectorEnv

try:
    from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices
except ImportError as error:
    raise MissingExtraError("stable-baselines3 is not installed; install it with: pip install 'pliant[rl]'") from error


class Sb3VecEnv(VecEnv):
    """`num_envs` environments of a task, in one batch of one solver, for the algorithms of stable-baselines3.

    An ended episode is begun anew in the same step; the last observation is in `info["terminal_observation"]`, and
    `info["TimeLimit.truncated"]` tells a horizon from a failure.

    Args:
        task: a name that `task_names()` lists, "module:Class", or a task.
        num_envs: number of environments B.
        **options: of `TaskVectorEnv` and of the task.
    """

    def __init__(self, task: str | Task, num_envs: int = 1, **options: Any) -> None:
        self.vector = TaskVectorEnv(task, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
        self._actions: np.ndarray | None = None
        super().__init__(num_envs, self.vector.single_observation_space, self.vector.single_action_space)

    def reset(self) -> np.ndarray:
        """Begins an episode in all environments and returns the observations `[B, O]`.

        Raises:
            UnknownNameError: if `set_options` was given any; a reset has none.
        """
        unknown = sorted({name for options in self._options for name in options})
        if unknown:
            self._reset_options()
            raise UnknownNameError(f"Unknown reset options: {', '.join(unknown)}.")
        observations, infos = self.vector.reset(seed=self._seeds)
        self.reset_infos = _separate(infos, self.num_envs)
        self._reset_seeds()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Takes note of the actions `[B, A]`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Plays the step and returns observations, rewards, dones and infos."""
        assert self._actions is not None  # step_async comes first
        observations, rewards, terminated, truncated, gathered = self.vector.step(self._actions)
        infos = _separate(gathered, self.num_envs)
        dones = terminated | truncated
        for env in range(self.num_envs):
            if dones[env]:
                self.reset_infos[env] = infos[env]
                last = infos[env].pop("final_info")
                infos[env] = {**last, "terminal_observation": self.reset_infos[env].pop("final_obs")}
            infos[env]["TimeLimit.truncated"] = bool(truncated[env] and not terminated[env])
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Closes the environments."""
        self.vector.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A picture of every environment."""
        return self.vector.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of the vector environment, once for every index: the environments share it."""
        return [getattr(self.vector, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets the attribute of the vector environment, for all environments."""
        setattr(self.vector, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any) -> list[Any]:
        """What the method of the vector environment returns, called once, for every index."""
        result = getattr(self.vector, method_name)(*method_args, **method_kwargs)
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """No environment is wrapped by itself."""
        return [False for _ in self._get_indices(indices)]


def _separate(gathered: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Gymnasium's dictionary of arrays, with a mask `_key` for each, as one dictionary an environment."""
    infos: list[dict[str, Any]] = [{} for _ in range(count)]
    for key, values in gathered.items():
        if key.startswith("_"):
            continue
        entries = _separate(values, count) if isinstance(values, dict) else values
        for env in np.flatnonzero(gathered[f"_{key}"]).tolist():
            entry = entries[env]
            infos[env][key] = entry.item() if isinstance(entry, np.generic) else entry
    return infos
