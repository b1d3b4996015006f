"""The table of methods on thin sheets: runs that are kept and gone on with, and a page of what has ended. Small tasks stand in for sheets."""

import json
import math

import numpy as np
import pytest

from pliant.benchmarks import thin_shell, thin_shell_runs
from pliant.benchmarks.thin_shell import Plan, gains, page
from pliant.benchmarks.thin_shell_runs import METHODS, Outcome, best_actions, read_outcome, run_folder, run_methods
from pliant.envs import make_task
from pliant.envs.objective import task_objective

TOY = "toy:Reach"


@pytest.mark.parametrize("method", [*METHODS, "ppo", "sac"])
def test_a_run_keeps_its_best_actions_and_is_not_done_twice(method, tmp_path):
    run_methods(TOY, 3, [method], tmp_path, 12)
    place = run_folder(tmp_path, TOY, method, 3)
    outcome = read_outcome(place)
    task = make_task(TOY, seed=3)
    objective = task_objective(task)
    assert outcome.start == float(objective(task.initial_actions()[None]).loss[0])
    assert outcome.best == pytest.approx(float(objective(objective.lower.new_tensor(best_actions(place))[None]).loss[0]), rel=1e-12)
    assert outcome.simulations <= 12 + 1e-9 or method == "ppo"  # which ends with a whole rollout
    assert outcome.curve[-1] == outcome.best == min(outcome.curve)
    assert len(outcome.curve) == len(outcome.simulated)
    assert (outcome.policy is None) == (method in METHODS)
    before = (place / "run.json").read_bytes()
    run_methods(TOY, 3, [method], tmp_path, 12)
    assert (place / "run.json").read_bytes() == before


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path):
    for name, parts in (("whole", [12]), ("parts", [5, 12])):
        for simulations in parts:
            place = run_folder(tmp_path / name, TOY, "cma", 0)
            (place / "run.json").unlink(missing_ok=True)
            run_methods(TOY, 0, ["cma"], tmp_path / name, simulations)
    whole, parts = (run_folder(tmp_path / name, TOY, "cma", 0) for name in ("whole", "parts"))
    assert np.array_equal(best_actions(whole), best_actions(parts))
    assert read_outcome(whole).curve == read_outcome(parts).curve


def write(folder, task, method, seed, start, best):
    place = run_folder(folder, task, method, seed)
    place.mkdir(parents=True)
    outcome = {"start": start, "best": best, "simulations": 25.0, "skipped": 1, "seconds": 3.0, "simulated": [25.0], "curve": [best]}
    (place / "run.json").write_text(json.dumps(outcome))


def test_the_page_says_where_the_hybrid_is_as_good_and_where_not(tmp_path):
    plan = Plan(["pliant/FoldingU-v0", "pliant/Card-v0", "pliant/Throwing-v0"], 2, 25, learners=False)
    for method, best in {"adam": 0.5, "cma": 0.6, "mppi": 0.7, "hybrid": 0.504}.items():
        write(tmp_path, "pliant/FoldingU-v0", method, 0, 1.0, best)
        write(tmp_path, "pliant/FoldingU-v0", method, 1, 1.0, best)
        write(tmp_path, "pliant/Card-v0", method, 0, 1.0, 1.0 - best)
    text = page(plan, tmp_path, "pictures")
    assert "| FoldingU | hybrid | 1 | 0.504 (0.504 to 0.504) | 99% | 25 | 1.0 | 3 |" in text
    assert "| Card | mppi | 1 | 0.3 | 100% |" in text
    assert "on 1 of 2 tasks" in text
    assert "Better elsewhere: Card (mppi)." in text
    assert "pictures/FoldingU.gif" in text
    assert "Throwing.gif" not in text  # it has not run


def test_a_gain_is_never_negative_and_nothing_is_gained_where_all_failed():
    def run(best):
        return Outcome(1.0, best, 1.0, 0, 1.0, [1.0], [best])

    assert gains({"a": [run(0.25), run(0.75)], "b": [run(math.inf)], "c": [run(2.0)]}) == {"a": 0.5, "b": 0.0, "c": 0.0}


def test_every_task_has_one_seed_before_any_has_more():
    jobs = Plan(thin_shell.sheet_tasks(), 3, 25, learners=True).jobs()
    seeds = [seed for _, seed, _, _ in jobs]
    assert seeds == sorted(seeds)
    assert {task for task, seed, _, _ in jobs if seed} == set(thin_shell.SEVERAL)
    assert [methods for _, _, methods, _ in jobs].count(["ppo"]) == len(thin_shell.LEARNED)


def test_a_process_that_cannot_run_its_task_says_so(monkeypatch, capsys):
    monkeypatch.setattr(thin_shell_runs.sys, "argv", ["runs", "pliant/Nowhere-v0", "0", "folder", "3", "adam"])
    assert thin_shell_runs.main() == 1
    assert "Nowhere" in capsys.readouterr().err


def test_every_task_that_has_run_gets_its_curves_and_a_film(tmp_path):
    from PIL import Image

    run_methods(TOY, 0, ["adam", "cma"], tmp_path, 8)
    thin_shell.draw(Plan([TOY, "pliant/Throwing-v0"], 1, 8, learners=False), tmp_path, tmp_path / "pictures")
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["toy:Reach.gif", "toy:Reach.png"]
    with Image.open(tmp_path / "pictures" / "toy:Reach.gif") as film:
        assert film.size == thin_shell.GIF_SIZE
        assert film.n_frames > 3
