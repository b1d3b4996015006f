"""Optimizers of trajectories at equal wall time, as a table: `python -m pliant.benchmarks.trajectory --out docs/results/trajectory.md`."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from ..envs import make_task, task_names
from ..envs.objective import task_objective
from ..optim.trajectory import METHODS, OptimizeResult, optimize
from ..storage import write_whole

LEARNING_RATES: dict[str, dict[str, Any]] = {"adam": {"learning_rate": 0.03}, "cma": {}}


def solve(task_name: str, method: str, seed: int, seconds: float) -> tuple[OptimizeResult, float]:
    """One run of the small preset from the task's initial actions: its result, and the loss of those actions."""
    task = make_task(task_name, seed=seed)
    objective = task_objective(task)
    initial = task.initial_actions()
    objective(initial[None])  # compiles the kernels, which is not what is compared
    result = optimize(objective, method, time_limit=seconds, initial=initial, seed=seed, batch=16, **LEARNING_RATES[method])
    return result, float(objective(initial[None]).loss[0])


def table(seconds: float, seeds: int) -> str:
    """The table of all tasks and methods, in Markdown."""
    lines = [
        "# Trajectories: gradients and CMA-ES at equal wall time",
        "",
        f"Every run has {seconds:g} s and starts from the task's initial actions; preset `small`, f32, {seeds} seeds, "
        "each with its own initial state.",
        f"`{command(seconds, seeds)}`",
        f"{torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__.split('+')[0]}. Compilation is not counted.",
        "",
        "| task | method | start | best: mean (least to most) | best / start | simulations | skipped |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in (name for name in task_names() if name.startswith("pliant/")):
        for method in METHODS:
            began = time.perf_counter()
            runs = [solve(name, method, seed, seconds) for seed in range(seeds)]
            best, start = [run.loss for run, _ in runs], statistics.mean(first for _, first in runs)
            counts = [statistics.mean(int(run.history[key][-1]) for run, _ in runs) for key in ("evaluations", "skipped")]
            mean = statistics.mean(best)
            lines.append(
                f"| {name} | {method} | {start:.4f} | {mean:.4f} ({min(best):.4f} to {max(best):.4f}) | {mean / start:.2f} "
                f"| {counts[0]:.0f} | {counts[1]:.1f} |"
            )
            print(lines[-1], f"{time.perf_counter() - began:.0f} s", flush=True)
    return "\n".join(lines) + "\n"


def command(seconds: float, seeds: int) -> str:
    """What makes the table again."""
    return f"python -m pliant.benchmarks.trajectory --seconds {seconds:g} --seeds {seeds} --out docs/results/trajectory.md"


def main() -> None:
    """Reads the command line and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None, help="where the table goes, besides the screen")
    given = parser.parse_args()
    text = table(given.seconds, given.seeds)
    if given.out is not None:
        write_whole(given.out, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
