"""How well each method solves the tasks on thin sheets, at equal numbers of simulations.

`python -m pliant.benchmarks.thin_shell --out docs/results/thin-shell.md`; what was interrupted goes on when it is started again, and runs
that have ended are not done again.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..app.play import play
from ..app.video import plot_loss, write_gif
from ..envs import make_task
from ..sim.render import render
from ..storage import write_whole
from .report import machine
from .shell import ONE_THREAD
from .tasks import sheet_tasks
from .thin_shell_runs import LEARNERS, METHODS, Outcome, best_actions, read_outcome, run_folder

SEVERAL = ("pliant/FoldingU-v0", "pliant/Following-v0", "pliant/Lifting-v0", "pliant/Separating-v0")
"""The tasks that every optimizer solves with three seeds;"""
LEARNED = ("pliant/FoldingU-v0", "pliant/Following-v0", "pliant/Lifting-v0")
"""and those that learners try, with one."""
AS_GOOD = 0.01
"""A method is as good as the best one where it lacks at most this share of what that one gained."""
GIF_SIZE, GIF_FRAMES, GIF_RATE = (240, 180), 24, 12


@dataclass(frozen=True)
class Plan:
    """Which runs there are.

    Args:
        tasks: names.
        seeds: of the tasks in `SEVERAL`; others have seed 0.
        simulations: of each run.
        learners: whether there are any.
    """

    tasks: Sequence[str]
    seeds: int
    simulations: float
    learners: bool

    def jobs(self) -> list[tuple[str, int, Sequence[str], float]]:
        """Task, seed, methods and simulations of each process; one seed of every task comes first."""
        found: list[tuple[str, int, Sequence[str], float]] = []
        for seed in range(self.seeds):
            found += [(task, seed, list(METHODS), self.simulations) for task in self.tasks if seed == 0 or task in SEVERAL]
            if seed == 0 and self.learners:
                found += [(task, 0, [learner], self.simulations) for task in self.tasks if task in LEARNED for learner in LEARNERS]
        return found

    def outcomes(self, folder: Path, task: str) -> dict[str, list[Outcome]]:
        """By method, what came of the runs that have ended."""
        seeds = range(self.seeds if task in SEVERAL else 1)
        ended: dict[str, list[Outcome]] = {}
        for method in (*METHODS, *(LEARNERS if self.learners and task in LEARNED else ())):
            found = [read_outcome(run_folder(folder, task, method, seed)) for seed in seeds]
            ended[method] = [outcome for outcome in found if outcome is not None]
        return {method: outcomes for method, outcomes in ended.items() if outcomes}


def run_all(plan: Plan, folder: Path, workers: int) -> list[str]:
    """Does what has not been done, `workers` processes at a time, each with one thread; returns what failed."""

    def work(job: tuple[str, int, Sequence[str], float]) -> str | None:
        task, seed, methods, simulations = job
        if all(read_outcome(run_folder(folder, task, method, seed)) for method in methods):
            return None
        command = [sys.executable, "-m", "pliant.benchmarks.thin_shell_runs", task, str(seed), str(folder), str(simulations), *methods]
        done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, check=False)
        return None if done.returncode == 0 else f"{task} with seed {seed}"

    with ThreadPoolExecutor(workers) as pool:
        return [failed for failed in pool.map(work, plan.jobs()) if failed]


def gains(outcomes: dict[str, list[Outcome]]) -> dict[str, float]:
    """By how much each method lowered the loss, on average; 0 where it found nothing that can be simulated."""
    return {
        method: statistics.mean(max(0.0, run.start - run.best) if math.isfinite(run.best) else 0.0 for run in runs)
        for method, runs in outcomes.items()
    }


def page(plan: Plan, folder: Path, pictures: str | None) -> str:
    """The table in Markdown, of the runs that have ended.

    Args:
        plan: which runs there are to be.
        folder: where they are kept.
        pictures: relative path of the folder with loss curves and films; None: there are none.
    """
    several = ", ".join(map(_short, SEVERAL))
    options = f" --seeds {plan.seeds}" * (plan.seeds != 3) + " --no-learners" * (not plan.learners)
    lines = [
        "# Tasks on thin sheets: methods at equal numbers of simulations",
        "",
        f"`python -m pliant.benchmarks.thin_shell --simulations {plan.simulations:g}{options} --out docs/results/thin-shell.md`",
        f"{machine('stable-baselines3')} Preset `small`, one thread a run.",
        "",
        f"Every run may cost {plan.simulations:g} simulations of the whole horizon; a gradient counts as 1.5. Optimizers start from the task's "
        "initial actions; their options are the defaults, but for populations of 8. "
        + (f"{plan.seeds} seeds for {several}, one for the rest. " if plan.seeds > 1 else "One seed. ")
        + "`gain` is by how much the loss fell, as a share of the largest fall; `skipped` counts evaluations that failed.",
        "",
    ]
    if plan.learners:
        lines += [
            "Learners (stable-baselines3, default options) get as many steps, start from nothing, and are judged by the best episode on the way; "
            "the loss of the policy at the end is in brackets.",
            "",
        ]
    lines += [
        "| task | method | start | best: mean (least to most) | gain | simulations | skipped | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    places: dict[str, str] = {}
    for task in plan.tasks:
        outcomes = plan.outcomes(folder, task)
        gained = gains(outcomes)
        most = max(gained.values(), default=0.0)
        for method, runs in outcomes.items():
            lines.append(_row(task, method, runs, gained[method] / most if most > 0 else 1.0))
        if {"hybrid", *METHODS} <= set(outcomes):
            places[task] = max(gained, key=gained.__getitem__) if gained["hybrid"] < (1 - AS_GOOD) * most else ""
    won = [task for task, better in places.items() if not better]
    lost = [f"{_short(task)} ({better})" for task, better in places.items() if better]
    lines += [
        "",
        f"hybrid is at least as good as every other method, to {AS_GOOD:.0%} of the largest gain, on {len(won)} of {len(places)} tasks.",
    ]
    lines += [f"Better elsewhere: {', '.join(lost)}."] if lost else []
    if pictures is not None:
        for task in places:
            name = _short(task)
            lines += ["", f"## {name}", "", f"![Best trajectory of {name}]({pictures}/{name}.gif) ![Loss]({pictures}/{name}.png)"]
    return "\n".join(lines) + "\n"


def _row(task: str, method: str, runs: Sequence[Outcome], gain: float) -> str:
    best = [run.best for run in runs]
    spread = f" ({min(best):.4g} to {max(best):.4g})" if len(best) > 1 else ""
    policies = [run.policy for run in runs if run.policy is not None]
    policy = f" [{statistics.mean(policies):.4g}]" if policies else " [failed]" if method in LEARNERS else ""
    mean = {name: statistics.mean(getattr(run, name) for run in runs) for name in ("start", "best", "simulations", "skipped", "seconds")}
    return (
        f"| {_short(task)} | {method} | {mean['start']:.4g} | {mean['best']:.4g}{spread}{policy} | {gain:.0%} | {mean['simulations']:.0f} "
        f"| {mean['skipped']:.1f} | {mean['seconds']:.0f} |"
    )


def draw(plan: Plan, folder: Path, pictures: Path) -> None:
    """Writes the loss curves of each task, and a film of the best actions that any method found."""
    for name in plan.tasks:
        outcomes = plan.outcomes(folder, name)
        if not outcomes:
            continue
        curves = {method: {"iteration": runs[0].simulated, "loss": runs[0].curve} for method, runs in outcomes.items()}
        plot_loss(pictures / f"{_short(name)}.png", curves, f"{_short(name)}, seed 0", "simulations")
        every = {(method, seed): run.best for method, runs in outcomes.items() for seed, run in enumerate(runs)}
        method, seed = min(every, key=every.__getitem__)
        write_gif(pictures / f"{_short(name)}.gif", _film(name, best_actions(run_folder(folder, name, method, seed)), seed), GIF_RATE)


def _film(name: str, actions: np.ndarray, seed: int) -> np.ndarray:
    """Frames `[GIF_FRAMES + 1, H, W, 3]` of actions `[T, A]`."""
    task = make_task(name, seed=seed)
    last = len(actions) * task.shown
    due = {round(k * last / GIF_FRAMES) for k in range(GIF_FRAMES + 1)}
    frames = []

    def watch(t: int, state: Any) -> None:
        if t in due:
            frames.append(render([task.draw(state, 0)], task.camera(), *GIF_SIZE).rgb[0])

    play(task, torch.as_tensor(actions, dtype=task.dtype)[None], [seed], watch)
    return np.stack(frames)


def _short(task: str) -> str:
    return task.removeprefix("pliant/").removesuffix("-v0")


def main() -> int:
    """Reads the command line, runs what is missing, writes the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four tasks, one seed, 4 simulations: to see that it works")
    parser.add_argument("--simulations", type=float, default=25.0, help="of each run")
    parser.add_argument("--seeds", type=int, default=3, help="of the tasks that have several")
    parser.add_argument("--no-learners", action="store_true", help="leave out ppo and sac")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--folder", type=Path, default=None, help="where the runs are kept; runs/thin-shell or runs/thin-shell-quick")
    parser.add_argument("--out", type=Path, default=None, help="the page; its pictures go into a folder of that name beside it")
    given = parser.parse_args()
    plan = (
        Plan([*SEVERAL[:3], "pliant/Bouncing-v0"], 1, 4, learners=False)
        if given.quick
        else Plan(sheet_tasks(), given.seeds, given.simulations, learners=not given.no_learners)
    )
    folder = given.folder or Path("runs") / ("thin-shell-quick" if given.quick else "thin-shell")
    failed = run_all(plan, folder, given.workers)
    if given.out is None:
        print(page(plan, folder, None))
    else:
        pictures = given.out.with_suffix("")
        draw(plan, folder, pictures)
        text = page(plan, folder, pictures.name)
        print(text)
        write_whole(given.out, lambda file: file.write(text.encode()))
    if failed:
        print(f"These did not end: {', '.join(failed)}. Start again to go on.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
