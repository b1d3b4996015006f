"""What a growing horizon and soft contact are worth: `python -m pliant.benchmarks.ablation --out docs/results/ablation.md`.

The budget is counted in simulations, not in seconds, so that the result depends on the seed and on nothing else that the machine does.
`PLIANT_THREADS=1` makes it cheapest: the scenes are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..envs import make_task
from ..envs.objective import TaskObjective, task_objective
from ..optim.trajectory import Easing, Evaluation, Progress, optimize
from ..optim.trajectory.objective import GRADIENT_COST
from .contest import Run, arguments, contest, keep, own_tasks

EXPAND: dict[str, Any] = {"expand_from": 0.4, "expand_by": 0.2, "expand_after": 1, "expand_below": 0.05}
SOFTNESS = 2.0
"""At the start of soft contact, in cells; it falls to the task's own in half of the iterations that the budget allows plain Adam."""
OPTIONS: dict[str, dict[str, Any]] = {"adam": {"learning_rate": 0.05}, "cma": {"population": 8}}


def entrants(simulations: float) -> dict[str, tuple[str, Easing]]:
    """Method and easing by name."""
    soften: dict[str, Any] = {"soften": SOFTNESS, "soften_over": max(1, round(simulations / (2 * GRADIENT_COST)))}
    return {
        "adam": ("adam", Easing()),
        "adam, growing horizon": ("adam", Easing(**EXPAND)),
        "adam, soft contact": ("adam", Easing(**soften)),
        "adam, both": ("adam", Easing(**EXPAND, **soften)),
        "cma": ("cma", Easing()),
    }


class Counted:
    """An objective that keeps account of what its calls cost, in simulations of the whole horizon; so do those that it is eased to.

    A sequence of t of T steps costs t / T, with a gradient `GRADIENT_COST` times that.
    """

    def __init__(self, objective: TaskObjective, whole: int, account: list[float]) -> None:
        self.objective, self.whole, self.account = objective, whole, account
        self.shape, self.lower, self.upper, self.softness = objective.shape, objective.lower, objective.upper, objective.softness

    def truncated(self, steps: int) -> Counted:
        """The first steps alone, on the same account."""
        return Counted(self.objective.truncated(steps), self.whole, self.account)

    def softened(self, softness: float) -> Counted:
        """Softer contact, on the same account."""
        return Counted(self.objective.softened(softness), self.whole, self.account)

    def __call__(self, actions: Tensor) -> Evaluation:
        """The loss of the sequences."""
        factor = GRADIENT_COST if actions.requires_grad and torch.is_grad_enabled() else 1
        self.account.append(factor * len(actions) * self.shape[0] / self.whole)
        return self.objective(actions)


def solve(task_name: str, seed: int, *, method: str, easing: Easing, simulations: float, **options: Any) -> Run:
    """One run of the small preset from the task's initial actions; it ends where one more iteration might exceed the budget."""
    task = make_task(task_name, seed=seed, **options)
    objective = Counted(task_objective(task), task.horizon, [])
    before = 0.0

    def spent(done: Progress) -> bool:
        nonlocal before
        last, before = sum(objective.account) - before, sum(objective.account)
        growth = GRADIENT_COST * easing.expand_by if done.horizon < task.horizon else 0.0
        return before + last + growth > simulations

    more: dict[str, Any] = {"initial": task.initial_actions(), "seed": seed, "batch": 8, "easing": easing, "on_iteration": spent}
    result = optimize(objective, method, iterations=int(100 * simulations), **more, **OPTIONS[method])
    return Run(float(result.history["loss"][0]), result.loss, sum(objective.account), int(result.history["skipped"][-1]))


def table(simulations: float, seeds: int, tasks: Sequence[str]) -> str:
    """The table of all tasks and entrants, in Markdown."""
    notes = [
        f"Every run may cost {simulations:g} simulations of the whole horizon and starts from the task's initial actions; preset `small`, "
        f"f32, {seeds} seeds, each with its own initial state.",
        f"t of T steps cost t / T, a gradient {GRADIENT_COST} times that. The best is always that of the whole horizon and of the task's own "
        "contact; what this judgement costs is counted.",
        f"Options: {OPTIONS}. Growing horizon: from {EXPAND['expand_from']:g} of it, by {EXPAND['expand_by']:g} whenever an iteration "
        f"lowers the pursued loss by less than {EXPAND['expand_below']:.0%}. Soft contact: from {SOFTNESS:g} cells, falling to the task's own over "
        f"{entrants(simulations)['adam, both'][1].soften_over} iterations.",
        f"`python -m pliant.benchmarks.ablation --simulations {simulations:g} --seeds {seeds} --out docs/results/ablation.md`",
    ]
    runs = {
        name: partial(solve, method=method, easing=easing, simulations=simulations)
        for name, (method, easing) in entrants(simulations).items()
    }
    return contest("Gradients: what a growing horizon and soft contact are worth", notes, runs, tasks, seeds)


def main() -> None:
    """Reads the command line and writes the table."""
    parser = arguments(__doc__)
    parser.add_argument("--simulations", type=float, default=25.0, help="budget of each run")
    given = parser.parse_args()
    keep(table(given.simulations, given.seeds, given.tasks or own_tasks()), given.out)


if __name__ == "__main__":
    main()
