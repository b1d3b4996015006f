"""Episodes of a task side by side, in NumPy: the part that Gymnasium's single and vector face have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError, ShapeError
from ..sim.core import Outcome, State
from .task import Task


class Episodes:
    """`count` environments of one task, each at its own place in its episode.

    A step in which an environment fails, or its reward or observation is not finite, ends its episode: it keeps the state from before,
    is marked with the outcome, and its reward is the task's `failure_reward`. The others go on. Without a failure an episode is
    truncated after `horizon` steps.

    Args:
        task: what is played.
        count: number of environments B.
        horizon: steps of an episode; by default the task's.
    """

    def __init__(self, task: Task, count: int, horizon: int | None = None) -> None:
        self.task = task
        self.count = count
        self.horizon = task.horizon if horizon is None else horizon
        self.state: State | None = None
        self.observations = np.zeros((count, *task.observation_space.shape), np.float32)
        self.elapsed = np.zeros(count, int)
        self.seeds = np.zeros(count, int)
        self.terminated = np.zeros(count, bool)
        self.truncated = np.zeros(count, bool)

    @property
    def over(self) -> np.ndarray:
        """Which episodes have ended, bool `[B]`."""
        return self.terminated | self.truncated

    @torch.no_grad()
    def start(self, seeds: Mapping[int, int]) -> None:
        """Begins a new episode in the environments that `seeds` names, from the initial state of the seed; all of them the first time."""
        envs = sorted(seeds)
        fresh = self.task.initial_states([seeds[env] for env in envs])
        if not bool(fresh.ok.all()):
            raise ModelError(f"{self.task.name}: the initial state is marked {fresh.outcomes()}; it must be OK.")
        observed = self._observe(fresh)
        if not np.isfinite(observed).all():
            raise ModelError(f"{self.task.name}: the observation of the initial state is not finite.")
        self.state = fresh if self.state is None else _put(self.state, envs, fresh)
        self.observations[envs] = observed
        self.elapsed[envs] = 0
        self.seeds[envs] = [seeds[env] for env in envs]
        self.terminated[envs] = False
        self.truncated[envs] = False

    @torch.no_grad()
    def step(self, actions: np.ndarray) -> np.ndarray:
        """Plays one step with actions `[B, A]` and returns the rewards, float64 `[B]`."""
        assert self.state is not None  # the faces ask for a reset first
        action = self._tensor(actions)
        following = self.task.step(self.state, action)
        rewards, observed = self._judge(self.state, action, following)
        broken = following.ok.cpu().numpy() & ~(np.isfinite(rewards) & np.isfinite(observed).all(1))
        if broken.any():
            mask = torch.from_numpy(broken).to(following.status.device)
            following = self.state.replace(status=torch.full_like(following.status, Outcome.NOT_FINITE)).where(mask, following)
            observed[broken] = self._observe(following)[broken]
        failed = ~following.ok.cpu().numpy()
        rewards[failed] = self.task.failure_reward
        self.state, self.observations = following, observed
        self.elapsed += 1
        self.terminated = failed
        self.truncated = (self.elapsed >= self.horizon) & ~failed
        return rewards

    @torch.no_grad()
    def infos(self) -> list[dict[str, Any]]:
        """What Gymnasium calls info, for every environment: `outcome`, `episode_seed`, and `metrics` once the episode has ended."""
        assert self.state is not None
        metrics: dict[str, np.ndarray] = {}
        if self.over.any():
            metrics = {name: value.cpu().numpy().astype(np.float64) for name, value in self.task.metrics(self.state).items()}
        infos: list[dict[str, Any]] = []
        for env, outcome in enumerate(self.state.outcomes()):
            info: dict[str, Any] = {"outcome": outcome.name, "episode_seed": int(self.seeds[env])}
            if metrics and self.over[env]:
                info["metrics"] = {name: float(value[env]) for name, value in metrics.items()}
            infos.append(info)
        return infos

    def pictures(self, width: int, height: int) -> np.ndarray:
        """What the environments look like, uint8 `[B, height, width, 3]`."""
        from ..sim.render import render  # brings up Taichi, which only those who look need

        assert self.state is not None
        drawings = [self.task.draw(self.state, env) for env in range(self.count)]
        return np.asarray(render(drawings, self.task.camera(), width, height).rgb)

    def _judge(self, state: State, action: Tensor, following: State) -> tuple[np.ndarray, np.ndarray]:
        reward = self.task.reward(state, action, following)
        if tuple(reward.shape) != (self.count,):
            raise ModelError(f"{self.task.name}.reward() has shape {tuple(reward.shape)}; it must be ({self.count},).")
        return reward.cpu().numpy().astype(np.float64), self._observe(following)

    def _observe(self, state: State) -> np.ndarray:
        """float32 `[B, O]`, saturated at the bounds of the space; what is not finite stays so."""
        space = self.task.observation_space
        observed = self.task.observe(state)
        if tuple(observed.shape) != (state.batch, *space.shape):
            raise ModelError(f"{self.task.name}.observe() has shape {tuple(observed.shape)}; it must be ({state.batch}, {space.shape[0]}).")
        array = observed.float().cpu().numpy()
        return np.where(np.isfinite(array), np.clip(array, space.low, space.high), array)

    def _tensor(self, actions: np.ndarray) -> Tensor:
        array = np.asarray(actions)
        if array.dtype.kind not in "fiu" or array.shape != (self.count, *self.task.action_space.shape):
            want = (self.count, *self.task.action_space.shape)
            raise ShapeError(f"The actions are {array.dtype} of shape {array.shape}; they must be real numbers of shape {want}.")
        return torch.as_tensor(array.astype(np.float32), dtype=self.task.dtype, device=self.task.device)


def _put(state: State, envs: list[int], fresh: State) -> State:
    """`state` with the environments `envs` exchanged for those of `fresh`."""
    index = torch.tensor(envs, device=state.status.device)
    pairs = zip(state.tensors(), fresh.tensors(), strict=True)
    return type(state)(*(old.index_copy(0, index, new) for old, new in pairs))
