"""Tasks on thin sheets: seconds of an episode and of its gradient, and memory, for every task, preset and batch.

Each task is measured in a process of its own, so that its memory is its own. The gradient is that of `task_objective`, forward included.
Of the preset `full` the first `FEW` steps are measured, of one environment.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from ..envs.registry import TASKS
from . import Row
from .report import machine, page, write_page

BATCHES = {"small": (1, 8), "full": (1,)}
"""Environments, by preset."""
FEW = 10


def bench(presets: Sequence[str] = ("small",), tasks: Sequence[str] | None = None) -> list[Row]:
    """The rows of all tasks on sheets in these presets."""
    return [row for name in tasks or sheet_tasks() for preset in presets for row in _rows(name, preset)]


def sheet_tasks() -> list[str]:
    """The names of the tasks on thin sheets."""
    return sorted(name for name, entry in TASKS.items() if entry.startswith("pliant.envs.shells."))


def _rows(name: str, preset: str) -> Iterator[Row]:
    done = subprocess.run(
        [sys.executable, "-m", "pliant.benchmarks.tasks", "--measure", name, preset], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    title = name.removeprefix("pliant/").removesuffix("-v0")
    whole = found["steps"] == found["horizon"]
    size = f"{preset}: {found['unknowns']:,} unknowns, {found['steps']} steps" + ("" if whole else f" of {found['horizon']}")
    part = "episode" if whole else "beginning"

    def row(what: str, figure: float, unit: str, batch: str = "") -> Row:
        return Row.of("tasks", f"{title}, {what}", size + batch, "float64", figure, unit, more_is_better=False)

    yield row("scene ready", found["build"], "s")
    for batch, forward, gradient in found["episodes"]:
        yield row(part, forward, "s", f", batch {batch}")
        yield row(f"{part} and its gradient", gradient, "s", f", batch {batch}")
    yield row("most memory", found["megabytes"], "MB")


def measure(name: str, preset: str) -> dict:
    """The figures of a task, in this process."""
    import resource

    import torch

    from ..envs import make_task, task_objective

    began = time.perf_counter()
    task = make_task(name, preset)
    build = time.perf_counter() - began
    steps = task.horizon if preset == "small" else min(FEW, task.horizon)
    objective = task_objective(task).truncated(steps)
    actions = task.initial_actions()[None, :steps]
    with torch.no_grad():
        state = task.initial_state(1, 0)
        task.step(state, actions[:, 0])  # kernels are compiled before anything is timed
    episodes = []
    for batch in BATCHES.get(preset, (1,)):
        given = actions.repeat(batch, 1, 1).requires_grad_()
        began = time.perf_counter()
        with torch.no_grad():
            objective(given)
        forward = time.perf_counter() - began
        began = time.perf_counter()
        torch.autograd.grad(objective(given).loss.sum(), given)
        episodes.append((batch, forward, time.perf_counter() - began))
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sizes = state.floats()
    unknowns = 3 * sizes["position"].shape[1] + sizes["edge_rotation"].shape[1]
    return {
        "build": build, "unknowns": unknowns, "steps": steps, "horizon": task.horizon, "episodes": episodes, "megabytes": megabytes,
    }  # fmt: skip


def table() -> str:
    """The rows of both presets, in Markdown."""
    notes = [
        "`python -m pliant.benchmarks.tasks --out docs/results/tasks.md`",
        machine("taichi"),
        "",
        "An episode with the task's initial actions. The aim was 20 s for a small episode with its gradient.",
    ]
    return page("Tasks on thin sheets: speed", notes, bench(("small", "full")))


if __name__ == "__main__":
    if "--measure" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--measure", nargs=2)
        print(json.dumps(measure(*parser.parse_args().measure)))
    else:
        write_page(__doc__ or "", table)
