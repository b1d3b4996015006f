"""Optimizers of trajectories at equal wall time, as a table: `python -m pliant.benchmarks.trajectory --out docs/results/trajectory.md`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from ..envs import make_task
from ..envs.objective import task_objective
from ..optim.trajectory import METHODS, optimize
from .contest import Run, arguments, contest, keep, own_tasks

OPTIONS: dict[str, dict[str, Any]] = {"adam": {"learning_rate": 0.03}, "cma": {}, "mppi": {}, "hybrid": {"learning_rate": 0.03}}


def solve(task_name: str, seed: int, *, method: str, seconds: float) -> Run:
    """One run of the small preset from the task's initial actions."""
    task = make_task(task_name, seed=seed)
    objective = task_objective(task)
    initial = task.initial_actions()
    objective(initial[None])  # compiles the kernels, which is not what is compared
    result = optimize(objective, method, time_limit=seconds, initial=initial, seed=seed, batch=16, **OPTIONS[method])
    evaluations, skipped = (int(result.history[name][-1]) for name in ("evaluations", "skipped"))
    return Run(float(objective(initial[None]).loss[0]), result.loss, evaluations, skipped)


def table(seconds: float, seeds: int, tasks: Sequence[str]) -> str:
    """The table of all tasks and methods, in Markdown."""
    notes = [
        f"Every run has {seconds:g} s and starts from the task's initial actions; preset `small`, f32, {seeds} seeds, "
        "each with its own initial state.",
        f"`python -m pliant.benchmarks.trajectory --seconds {seconds:g} --seeds {seeds} --out docs/results/trajectory.md`",
        f"{torch.get_num_threads()} threads. Compilation is not counted.",
    ]
    entrants = {method: partial(solve, method=method, seconds=seconds) for method in METHODS}
    return contest("Trajectories: methods at equal wall time", notes, entrants, tasks, seeds)


def main() -> None:
    """Reads the command line and writes the table."""
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run")
    given = parser.parse_args()
    keep(table(given.seconds, given.seeds, given.tasks or own_tasks()), given.out)


if __name__ == "__main__":
    main()
