"""Several seeds side by side: one batch, and the bits of each run alone."""

import threading
import warnings

import numpy as np
import pytest
import torch
from test_easing import Reaching
from test_optimize import ALL, Function, bowl, failing_now_and_then, same_runs

from pliant.envs import make_task
from pliant.envs.objective import task_objective
from pliant.errors import FileFormatError, OptionError, ShapeError, StepError, UnknownNameError
from pliant.optim.trajectory import Easing, Evaluation, optimize, optimize_seeds

SEEDS = (4, 0, 7)


@pytest.mark.parametrize("method", ALL)
def test_each_run_is_the_run_alone_and_calls_are_shared(method):
    objective = failing_now_and_then(torch.float64)
    results = optimize_seeds(objective, method, seeds=SEEDS, iterations=25, knots=5)
    for seed, result in zip(SEEDS, results, strict=True):
        same_runs(result, optimize(failing_now_and_then(torch.float64), method, iterations=25, knots=5, seed=seed))
    assert len({result.loss for result in results}) == 3
    evaluations = sum(int(result.history["evaluations"][-1]) for result in results)
    assert sum(objective.batches) == evaluations
    assert objective.calls <= (26 if method != "hybrid" else 2 * 26)  # runs whose arms differ do not share
    assert max(objective.batches) == 3 * max(np.diff(results[0].history["evaluations"]))


@pytest.mark.parametrize("method", ["adam", "hybrid"])
def test_runs_of_a_task_have_the_bits_of_runs_alone(method):
    results = optimize_seeds(task_objective(make_task("toy:Reach")), method, seeds=SEEDS, simulations=50)
    for seed, result in zip(SEEDS, results, strict=True):
        same_runs(result, optimize(task_objective(make_task("toy:Reach")), method, simulations=50, seed=seed))


def test_runs_that_pursue_other_horizons_do_not_share_a_batch():
    easing = Easing(expand_from=0.25, expand_by=0.25, expand_after=2, expand_below=0.1, soften=2.0, soften_over=6)
    more = {"iterations": 40, "easing": easing, "noise": 0.3, "learning_rate": 0.05}
    results = optimize_seeds(Reaching(), "adam", seeds=SEEDS, **more)
    horizons = {tuple(result.history["horizon"]) for result in results}
    assert len(horizons) > 1
    for seed, result in zip(SEEDS, results, strict=True):
        same_runs(result, optimize(Reaching(), "adam", seed=seed, **more))


def test_a_batch_is_at_most_as_large_as_asked():
    objective = bowl()
    results = optimize_seeds(objective, "cma", seeds=SEEDS, iterations=5, population=6, batch=8)
    assert max(objective.batches) <= 8
    for seed, result in zip(SEEDS, results, strict=True):
        same_runs(result, optimize(bowl(), "cma", iterations=5, population=6, batch=8, seed=seed))
    wide = bowl()
    optimize_seeds(wide, "cma", seeds=SEEDS, iterations=5, population=6, batch=12)
    assert set(wide.batches) == {3, 12, 6}


def test_runs_that_end_early_leave_the_others_alone():
    objective = bowl()
    reached = {"on_iteration": lambda done: done.best < 0.02}
    results = optimize_seeds(objective, "adam", seeds=range(4), iterations=200, noise=0.3, **reached)
    assert len({result.iterations for result in results}) > 1
    assert max(objective.batches) == 4
    assert min(objective.batches) < 4
    for seed, result in enumerate(results):
        same_runs(result, optimize(bowl(), "adam", seed=seed, iterations=200, noise=0.3, **reached))


def test_a_step_without_a_derivative_is_the_matter_of_one_run():
    def loss(actions):
        if actions.requires_grad and bool((actions[:, 0, 0] > 0.02).any()):
            raise StepError("The step did not converge.")
        return ((actions - 0.5) ** 2).mean((1, 2))

    results = optimize_seeds(Function(loss, (4, 1)), "adam", seeds=range(5), iterations=12)
    skipped = [int(result.history["skipped"][-1]) for result in results]
    assert len(set(skipped)) > 1
    for seed, result in enumerate(results):
        same_runs(result, optimize(Function(loss, (4, 1)), "adam", iterations=12, seed=seed))


def test_losses_without_a_derivative_are_told():
    with pytest.raises(StepError, match="cma"):
        optimize_seeds(Function(lambda actions: (actions.detach() ** 2).mean((1, 2))), "adam", seeds=(0, 1), iterations=3)


@pytest.mark.parametrize("method", ALL)
def test_ctrl_c_ends_all_and_each_goes_on_bit_for_bit(method, tmp_path):
    objective = bowl()
    quiet = objective._loss

    def loss(actions):
        if objective.calls == 9:
            raise KeyboardInterrupt
        return quiet(actions)

    objective._loss = loss
    threads = threading.active_count()
    results = optimize_seeds(objective, method, seeds=SEEDS, iterations=20, folder=tmp_path)
    assert all(result.interrupted and result.iterations < 20 for result in results)
    assert threading.active_count() == threads
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed-0", "seed-4", "seed-7"]
    for seed, result in zip(SEEDS, optimize_seeds(bowl(), method, seeds=SEEDS, iterations=20, folder=tmp_path, resume=True), strict=True):
        same_runs(result, optimize(bowl(), method, iterations=20, seed=seed))


def test_an_error_of_the_objective_ends_all_and_is_passed_on(tmp_path):
    objective = bowl()
    quiet = objective._loss

    def loss(actions):
        if objective.calls == 5:
            raise ZeroDivisionError
        return quiet(actions)

    objective._loss = loss
    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        optimize_seeds(objective, "adam", seeds=SEEDS, iterations=9, folder=tmp_path)
    assert threading.active_count() == threads
    for seed in SEEDS:
        assert optimize(bowl(), "adam", iterations=0, seed=seed, folder=tmp_path / f"seed-{seed}", resume=True).iterations == 3


def test_only_the_callers_thread_calls_the_objective_and_filters_of_warnings_stay():
    optimize(bowl(), "cma", iterations=1)  # cma sets filters when it is imported
    objective, callers, before = bowl(), set(), list(warnings.filters)
    quiet = objective._loss
    objective._loss = lambda actions: (callers.add(threading.get_ident()), quiet(actions))[1]
    optimize_seeds(objective, "cma", seeds=SEEDS, iterations=5)
    assert callers == {threading.get_ident()}
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seeds": ()}, OptionError, "at least one"),
        ({"seeds": (1, 1)}, OptionError, "twice"),
        ({"seeds": (0, -1)}, OptionError, "seed"),
        ({"seeds": (0, 1.5)}, OptionError, "seed"),
        ({"seeds": (0, None)}, OptionError, "seeds"),
        ({"seed": 3}, OptionError, "seed="),
        ({"method": "newton"}, UnknownNameError, "adam, cma"),
        ({"sigma": 0.1}, UnknownNameError, "learning_rate"),
        ({"iterations": None}, OptionError, "no budget"),
        ({"resume": True}, OptionError, "folder"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(arguments, error, message):
    objective, threads = bowl(), threading.active_count()
    with pytest.raises(error, match=message):
        optimize_seeds(objective, **{"seeds": (0, 1), "iterations": 3, **arguments})
    assert objective.calls == 0
    assert threading.active_count() == threads


def test_what_the_objective_returns_is_checked_and_a_folder_that_cannot_be_written_is_told(tmp_path):
    class Wrong(Function):
        def __call__(self, actions):
            return Evaluation(torch.zeros(1), torch.ones(1))

    with pytest.raises(ShapeError, match="Evaluation"):
        optimize_seeds(Wrong(None), "cma", seeds=(0, 1), iterations=3)
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(FileFormatError, match="Cannot write"):
        optimize_seeds(bowl(), "cma", seeds=(0, 1), iterations=3, folder=tmp_path / "file")
