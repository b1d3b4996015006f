"""The benchmarks of gradients and of optimizers: what they compare, what they count, and what they write."""

from functools import partial

import pytest
import torch

from pliant.benchmarks import ablation, gradients
from pliant.benchmarks.ablation import Counted, entrants, solve
from pliant.benchmarks.contest import Run, contest, own_tasks
from pliant.benchmarks.gradients import Agreement, agreements, bench
from pliant.envs import make_task
from pliant.envs.objective import task_objective
from pliant.optim.trajectory import Easing
from pliant.optim.trajectory.objective import GRADIENT_COST

# gradients


def test_the_gradients_of_a_short_episode_are_exact_and_useful():
    found = agreements(partial(make_task, "pliant/ShapeDough-v0"), (0.5, 1.0), horizon=6, observed=8)
    assert [entry.steps for entry in found] == [3, 6]
    for entry in found:
        assert entry.norm > 0
        assert entry.cosine[0] == pytest.approx(1, abs=1e-6)
        assert entry.length[0] == pytest.approx(1, abs=1e-4)
        assert 0.5 < entry.cosine[1] <= 1
        assert entry.single == pytest.approx(1, abs=1e-4)


class Steep:
    """The loss 3 a + 100 a^3 of a single action."""

    horizon = 1
    action_space = torch.empty(1)

    def __init__(self, dtype):
        self.dtype = dtype

    def initial_actions(self):
        return torch.zeros(1, 1, dtype=self.dtype)

    def rollout(self, actions):
        a = actions.flatten(1).sum(1)
        return type("Course", (), {"loss": 3 * a + 100 * a**3, "ok": a < 0.07})()


def test_a_difference_too_long_shows_in_the_length():
    (found,) = agreements(lambda dtype: Steep(getattr(torch, dtype)), (1.0,), (1e-6, 0.01, 0.1))
    slope = 3 + 300 * 0.05**2
    assert found.norm == pytest.approx(slope)
    assert found.cosine[:2] == pytest.approx((1, 1))
    assert found.length[:2] == pytest.approx((1, slope / (slope + 100 * 0.01**2)))
    assert found.cosine[2] != found.cosine[2]  # NaN, since a displaced course fails
    assert found.single == pytest.approx(1)


def test_the_rows_say_what_was_compared(monkeypatch):
    monkeypatch.setattr(gradients, "own_tasks", lambda: ["pliant/ShapeDough-v0", "toy:Reach"])
    monkeypatch.setattr(gradients, "agreements", lambda make: [Agreement(5, 2.0, (1.0, 0.5), (1.0, 0.25), 0.75)])
    rows = bench()
    assert [row.size.partition(",")[0] for row in rows] == 6 * ["splash"] + 6 * ["pliant/ShapeDough-v0"]
    assert [(row.what, row.ours) for row in rows[:6]] == [
        ("norm", 2.0),
        ("cosine, difference over 1e-06", 1.0),
        ("length, over 1e-06", 1.0),
        ("cosine, difference over 0.04", 0.5),
        ("length, over 0.04", 0.25),
        ("cosine, f32 to f64", 0.75),
    ]
    assert {(row.bench, row.size, row.ratio) for row in rows[:6]} == {("gradients", "splash, 5 steps", None)}


# the ablation


def test_calls_cost_what_they_simulate():
    objective = Counted(task_objective(make_task("toy:Reach")), 12, [])
    actions = torch.zeros(3, 12, 2)
    objective(actions)
    objective.truncated(4)(actions[:, :4])
    objective(actions.requires_grad_())
    with torch.no_grad():
        objective(actions)
    assert objective.account == [3, 1, 3 * GRADIENT_COST, 3]


@pytest.mark.parametrize("method", ["adam", "cma"])
@pytest.mark.parametrize("easing", [Easing(), Easing(expand_from=0.5, expand_after=1)])
def test_a_run_stays_within_its_budget_and_gives_the_same_again(method, easing):
    runs = [solve("toy:Reach", 1, method=method, easing=easing, simulations=60) for _ in range(2)]
    assert runs[0] == runs[1]
    assert 40 < runs[0].simulations <= 60
    assert runs[0].best < runs[0].start
    task = make_task("toy:Reach", seed=1)
    assert runs[0].start == float(task.rollout(task.initial_actions()[None]).loss)


def test_every_entrant_runs_on_a_task_with_tools():
    for method, easing in entrants(10).values():
        found = solve("pliant/ShapeDough-v0", 0, method=method, easing=easing, simulations=10, horizon=4, observed=8)
        assert found.best <= found.start
        assert found.simulations > 0


def test_the_table_keeps_losers_and_says_how_to_make_it_again(monkeypatch, capsys):
    def entrant(task, seed, **_):
        return Run(2.0, 1.0 + seed, 39.6, seed)

    monkeypatch.setattr(ablation, "solve", entrant)
    text = ablation.table(40, 3, ["pliant/A-v0", "pliant/B-v0"])
    rows = [line for line in text.splitlines() if line.startswith("| pliant/")]
    assert len(rows) == 2 * len(entrants(40))
    assert rows[0] == "| pliant/A-v0 | adam | 2.0000 | 2.0000 (1.0000 to 3.0000) | 1.00 | 40 | 1.0 |"
    assert "`python -m pliant.benchmarks.ablation --simulations 40 --seeds 3 --out docs/results/ablation.md`" in text
    assert rows[-1] in capsys.readouterr().out
    assert contest("Title", ["note"], {}, [], 1).startswith("# Title\n\nnote\n")
    assert {"pliant/Pouring-v0", "pliant/ShapeDough-v0"} <= set(own_tasks())
