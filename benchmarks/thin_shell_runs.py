"""The runs behind the table of `thin_shell`: one task and one seed in one process, methods one after the other, each kept in a folder."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..envs import make_task
from ..envs.objective import task_objective
from ..errors import FileFormatError, PliantError
from ..optim.trajectory import optimize
from ..storage import write_whole

if TYPE_CHECKING:
    from ..envs.task import Task

METHODS: dict[str, dict[str, Any]] = {"adam": {}, "cma": {"population": 8}, "mppi": {"population": 8}, "hybrid": {}}
"""Trajectory optimizers and their options, where not the defaults: populations that leave a small budget several generations."""
LEARNERS = ("ppo", "sac")
"""Algorithms of stable-baselines3, with its default options but for the length of PPO's rollouts."""
PPO_EPISODES = 4
"""Between two updates of PPO."""


@dataclass(frozen=True)
class Outcome:
    """What came of one run; written as `run.json` once it has ended.

    Args:
        start: loss of the task's initial actions.
        best: loss of the best actions that were found; inf if none could be simulated.
        simulations: what the run cost, in simulations of the whole horizon.
        skipped: evaluations that failed.
        seconds: wall time.
        simulated: simulations spent after each iteration,
        curve: and the best loss by then.
        policy: of a learner, the loss of the policy at the end without noise; None for other methods, and where its episode failed.
    """

    start: float
    best: float
    simulations: float
    skipped: int
    seconds: float
    simulated: list[float]
    curve: list[float]
    policy: float | None = None


def run_folder(folder: Path, task: str, method: str, seed: int) -> Path:
    """Where a run is kept."""
    return folder / task.removeprefix("pliant/").removesuffix("-v0") / f"{method}-{seed}"


def read_outcome(place: Path) -> Outcome | None:
    """The outcome of the run in this folder, if it has ended."""
    try:
        return Outcome(**json.loads((place / "run.json").read_text()))
    except FileNotFoundError:
        return None


def best_actions(place: Path) -> np.ndarray:
    """The best actions `[T, A]` of a run that has ended."""
    return np.load(place / "best.npy")


def run_methods(task_name: str, seed: int, methods: Sequence[str], folder: Path, simulations: float) -> None:
    """Runs what has not ended yet; what was interrupted goes on where it was."""
    todo = [method for method in methods if read_outcome(run_folder(folder, task_name, method, seed)) is None]
    if not todo:
        return
    task = make_task(task_name, seed=seed)
    with torch.no_grad():
        start = float(task_objective(task)(task.initial_actions()[None]).loss[0])
    for method in todo:
        place = run_folder(folder, task_name, method, seed)
        place.mkdir(parents=True, exist_ok=True)
        run = _learned if method in LEARNERS else _optimized
        outcome, actions = run(task, method, seed, place, simulations, start)
        np.save(place / "best.npy", actions)
        text = json.dumps(asdict(outcome))
        write_whole(place / "run.json", lambda file, text=text: file.write(text.encode()))
        print(f"{task_name} {method} {seed}: {start:.4g} to {outcome.best:.4g}, {outcome.seconds:.0f} s", flush=True)


def _optimized(task: Task, method: str, seed: int, place: Path, simulations: float, start: float) -> tuple[Outcome, np.ndarray]:
    initial = task.initial_actions()
    given: dict[str, Any] = {
        "simulations": simulations, "seed": seed, "initial": initial if initial.any() else None, "knots": task.knots, "folder": place,
        **METHODS[method],
    }  # fmt: skip
    try:
        found = optimize(task_objective(task), method, resume=(place / "progress.npz").exists(), **given)
    except FileFormatError:  # of other settings: an older run, which is of no use
        found = optimize(task_objective(task), method, **given)
    history = found.history
    simulated, skipped, seconds = (history[name].tolist() for name in ("simulations", "skipped", "seconds"))
    outcome = Outcome(start, found.loss, simulated[-1], skipped[-1], seconds[-1], simulated, history["best"].tolist())
    return outcome, found.actions.numpy()


def _learned(task: Task, method: str, seed: int, place: Path, simulations: float, start: float) -> tuple[Outcome, np.ndarray]:
    """Learns from as many steps as the simulations have; the best episode on the way is what was found."""
    import stable_baselines3

    from ..envs.sb3 import Sb3VecEnv

    watcher = _watcher(task, start)
    env = Sb3VecEnv(task, 1)
    kind = getattr(stable_baselines3, method.upper())
    options = {"n_steps": PPO_EPISODES * task.horizon, "batch_size": task.horizon} if method == "ppo" else {}
    model = kind("MlpPolicy", env, seed=seed, device="cpu", **options)
    began = time.perf_counter()
    model.learn(int(simulations * task.horizon), callback=watcher)
    seconds = time.perf_counter() - began
    actions, state = [], task.initial_state(1, seed)
    for _ in range(task.horizon):
        action, _ = model.predict(task.observe(state).numpy(), deterministic=True)
        actions.append(torch.as_tensor(action, dtype=task.dtype))
        state = task.step(state, actions[-1])
    policy = _loss(task, torch.stack(actions, 1)[0])
    spent = watcher.num_timesteps / task.horizon
    outcome = Outcome(start, watcher.best, spent, watcher.failed, seconds, watcher.simulated, watcher.curve, policy)
    return outcome, watcher.actions.numpy()


def _loss(task: Task, actions: torch.Tensor) -> float | None:
    with torch.no_grad():
        played = task.rollout(actions[None])
    return float(played.loss[0]) if bool(played.ok[0]) else None


def _watcher(task: Task, start: float) -> Any:
    """A callback of stable-baselines3 that keeps the actions of the best episode, judged by the loss of the task."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Watcher(BaseCallback):
        def __init__(self) -> None:
            super().__init__()
            self.best, self.failed = math.inf, 0
            self.actions = torch.zeros(task.horizon, *task.action_space.shape, dtype=task.dtype)
            self.simulated: list[float] = []
            self.curve: list[float] = []
            self.episode: list[torch.Tensor] = []
            self.gained, self.most = 0.0, -math.inf

        def _on_step(self) -> bool:
            taken: np.ndarray = self.locals["clipped_actions" if "clipped_actions" in self.locals else "actions"]
            self.episode.append(torch.as_tensor(taken[0], dtype=task.dtype))
            self.gained += float(self.locals["rewards"][0])
            if self.locals["dones"][0]:
                if len(self.episode) == task.horizon and self.locals["infos"][0].get("TimeLimit.truncated", False):
                    if self.gained > self.most:  # only a better episode is worth the simulation that judges it
                        self.most = self.gained
                        loss = _loss(task, torch.stack(self.episode))
                        if loss is not None and loss < self.best:
                            self.best, self.actions = loss, torch.stack(self.episode)
                else:
                    self.failed += 1
                self.simulated.append(self.num_timesteps / task.horizon)
                self.curve.append(self.best)
                self.episode, self.gained = [], 0.0
            return True

    return Watcher()


def main() -> int:
    """`python -m pliant.benchmarks.thin_shell_runs TASK SEED FOLDER SIMULATIONS METHOD...`"""
    task, seed, folder, simulations, *methods = sys.argv[1:]
    try:
        run_methods(task, int(seed), methods, Path(folder), float(simulations))
    except PliantError as error:
        print(f"{task}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
