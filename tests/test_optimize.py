"""Trajectory optimisation: known optima, bounds, failures, interruption, resumption, and bad input."""

import dataclasses
import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pliant.optim.trajectory.loop as loop
from pliant.errors import FileFormatError, PliantError, ShapeError, StepError, UnknownNameError
from pliant.optim.trajectory import METHODS, Evaluation, optimize
from pliant.optim.trajectory.knots import INTERPOLATIONS, ActionSpace, weights
from pliant.optim.trajectory.method import Method, Trial

ALL = sorted(METHODS)


class Function:
    """An objective made of a function of actions `[B, T, A]` to losses `[B]`, which fails where `bad` says so."""

    def __init__(self, loss, shape=(12, 2), low=-1.0, high=1.0, bad=None, dtype=torch.float64):
        self.shape, self._loss, self._bad = shape, loss, bad
        self.lower = torch.full((shape[1],), low, dtype=dtype)
        self.upper = torch.full((shape[1],), high, dtype=dtype)
        self.calls, self.batches, self.gradients = 0, [], []

    def __call__(self, actions):
        assert actions.dtype == self.lower.dtype
        assert actions.shape[1:] == self.shape
        assert bool((actions >= self.lower).all() & (actions <= self.upper).all())
        self.calls += 1
        self.batches.append(len(actions))
        self.gradients.append(len(actions) if actions.requires_grad and torch.is_grad_enabled() else 0)
        ok = torch.ones(len(actions), dtype=torch.bool) if self._bad is None else ~self._bad(actions.detach())
        return Evaluation(self._loss(actions), ok)


def wave(shape, dtype=torch.float64):
    """A smooth sequence within 0.5 of zero, which a few knots follow well."""
    time_, which = torch.linspace(0, 2, shape[0], dtype=dtype), torch.arange(shape[1], dtype=dtype)
    return 0.5 * torch.sin(time_[:, None] + which)


def bowl(shape=(12, 2), middle=None, **more):
    middle = wave(shape) if middle is None else middle
    return Function(lambda actions: ((actions - middle) ** 2).mean((1, 2)), shape, **more)


def rosenbrock(actions):
    x = 2 * actions.flatten(1)
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def same_runs(one, other):
    assert torch.equal(one.actions, other.actions)
    assert one.loss == other.loss
    assert one.iterations == other.iterations
    for name in set(one.history) - {"seconds"}:
        assert np.array_equal(one.history[name], other.history[name], equal_nan=True), name


@pytest.mark.parametrize(("method", "iterations"), [("adam", 300), ("cma", 500), ("hybrid", 300)])
def test_a_quadratic_is_solved(method, iterations):
    shape = (5, 2)
    more = {"cosine": 300} if method == "adam" else {}
    result = optimize(bowl(shape), method, iterations=iterations, **more)
    assert result.loss < 1e-8
    assert torch.allclose(result.actions, wave(shape), atol=1e-3)
    assert result.loss == float(bowl(shape)(result.actions[None]).loss)


@pytest.mark.parametrize(("method", "iterations"), [("adam", 200), ("cma", 300), ("mppi", 600), ("hybrid", 200)])
def test_an_optimum_beyond_the_bounds_is_found_at_the_bound(method, iterations):
    middle = torch.tensor([[3.0, -2.0]], dtype=torch.float64).expand(6, 2)
    result = optimize(bowl((6, 2), middle, low=-0.25, high=0.5), method, iterations=iterations, knots=6)
    assert torch.allclose(result.actions, torch.tensor([0.5, -0.25], dtype=torch.float64).expand(6, 2), atol=1e-6)


@pytest.mark.parametrize(
    ("method", "iterations", "more"),
    [("adam", 3000, {"learning_rate": 0.01, "cosine": 3000}), ("cma", 400, {}), ("hybrid", 800, {})],
)
def test_a_curved_valley_is_followed(method, iterations, more):
    objective = Function(rosenbrock, (4, 1))
    result = optimize(objective, method, iterations=iterations, knots=4, **more)
    assert torch.allclose(result.actions, torch.full((4, 1), 0.5, dtype=torch.float64), atol=1e-2)
    assert result.loss < 1e-3


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("method", ALL)
def test_few_knots_follow_a_smooth_optimum(method, interpolation):
    result = optimize(bowl((40, 2)), method, iterations=300, knots=6, interpolation=interpolation)
    assert result.loss < (2e-3 if interpolation == "constant" else 1e-3)
    assert optimize(bowl((40, 2)), method, iterations=0, knots=6, interpolation=interpolation).loss > 0.05


@pytest.mark.parametrize("method", ALL)
def test_the_history_tells_what_happened(method):
    seen = []
    objective = bowl()
    result = optimize(objective, method, iterations=7, on_iteration=seen.append)
    history = result.history
    assert history["iteration"].tolist() == list(range(8)) == [line.iteration for line in seen]
    assert history["best"].tolist() == np.minimum.accumulate(history["loss"]).tolist()
    assert history["best"][-1] == result.loss < history["loss"][0]
    assert history["evaluations"][-1] == sum(objective.batches)
    assert history["simulations"][-1] == sum(objective.batches) + 3 * sum(objective.gradients)
    assert (np.diff(history["seconds"]) > 0).all()
    assert history["skipped"].sum() == history["clipped"].sum() == 0
    assert not result.interrupted
    assert result.iterations == 7


def test_the_gradient_norm_is_that_of_the_loss_over_the_action_range():
    objective = bowl((3, 2), low=-2.0, high=2.0)
    initial = torch.full((3, 2), 0.75, dtype=torch.float64)
    slope = 4 * 2 * (initial - wave((3, 2))) / 6
    norm = optimize(objective, "adam", iterations=0, initial=initial).history["gradient_norm"][0]
    assert norm == pytest.approx(float(slope.norm()), rel=1e-12)


@pytest.mark.parametrize("knots", [None, 1, 5, 20])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_gradient_over_knots_agrees_with_finite_differences(knots, interpolation):
    generator = np.random.default_rng(0)
    initial = generator.uniform(-1, 1, (20, 2))
    initial[:4] = 1.0  # where the knots change, some of the sum is cut at the bound
    space = ActionSpace(np.array([-1.0, -3.0]), np.array([1.0, 5.0]), initial, weights(20, knots, interpolation))
    direction, target = generator.standard_normal(space.shape), generator.standard_normal((20, 2))
    point = np.clip(space.initial, 0.1, 0.9) + 0.01
    step = 1e-7
    slope = np.cos(space.actions(point)) * target
    ahead, behind = (np.sum(np.sin(space.actions(point + sign * step * direction)) * target) for sign in (1, -1))
    assert np.sum(space.pull_back(slope, point) * direction) == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("learning_rate", [0.01, 0.1])
def test_the_learning_rate_is_in_units_of_the_action_range(learning_rate):
    objective = bowl((3, 1), torch.full((3, 1), 4.0, dtype=torch.float64), low=-5.0, high=5.0)
    zero = torch.zeros((3, 1), dtype=torch.float64)
    result = optimize(objective, "adam", iterations=1, initial=zero, learning_rate=learning_rate)
    assert torch.allclose(result.actions, zero + 10 * learning_rate, rtol=1e-9)


def test_the_cosine_schedule_lets_the_steps_shrink():
    slope = Function(lambda actions: -actions.sum((1, 2)), (1, 1), low=0.0, high=100.0)
    places = []
    for iterations in (0, 1, 10, 11, 12):
        places.append(float(optimize(slope, "adam", iterations=iterations, noise=0.0, learning_rate=0.01, cosine=10).actions))
    assert places[1] == pytest.approx(1.0)
    assert places[2] == pytest.approx(sum(0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * k / 10)) for k in range(10)))
    assert np.diff(places[2:]) == pytest.approx([0.01, 0.01])


def test_gradients_are_clipped_only_on_request_and_then_counted():
    objective = bowl(middle=torch.full((12, 2), 0.5, dtype=torch.float64))
    free = optimize(objective, "adam", iterations=10, max_gradient_norm=100.0)
    held = optimize(objective, "adam", iterations=10, max_gradient_norm=1e-2)
    assert free.history["clipped"][-1] == 0
    assert held.history["clipped"].tolist() == list(range(1, 12))
    assert held.history["gradient_norm"][0] == free.history["gradient_norm"][0] > 1e-2


@pytest.mark.parametrize("kind", ["nan", "not ok", "no derivative"])
@pytest.mark.parametrize("method", ALL)
def test_a_region_that_fails_is_skipped_and_never_the_best(method, kind):
    def bad(actions):
        return actions.mean((1, 2)) > 0.3  # the optimum 0.5 lies inside

    def loss(actions):
        value = ((actions - 0.5) ** 2).mean((1, 2))
        if kind == "nan":
            return torch.where(bad(actions), torch.nan, value)
        if kind == "no derivative" and bool(bad(actions).all()):
            raise StepError("The step did not converge.")
        return torch.where(bad(actions), value - 10, value) if kind == "not ok" else value

    objective = Function(loss, (6, 1), bad=bad if kind != "nan" else None)
    more = {"learning_rate": 0.05} if method in ("adam", "hybrid") else {}
    result = optimize(objective, method, iterations=150, **more)
    assert not bool(bad(result.actions[None]))
    assert 0.04 <= result.loss < 0.045
    assert 0 < result.history["skipped"][-1] < result.history["evaluations"][-1]
    assert np.isfinite(result.history["best"]).all()


def test_a_gradient_that_is_not_finite_is_skipped_even_if_the_loss_is():
    def loss(actions):
        inside = (actions - 0.1) * (actions > 0.1)
        return actions.abs().sum((1, 2)) + 0 * torch.sqrt(inside).sum((1, 2))  # the derivative is 0 * inf below 0.1

    initial = torch.full((2, 1), 0.5, dtype=torch.float64)
    result = optimize(Function(loss, (2, 1)), "adam", iterations=60, initial=initial)
    assert result.history["skipped"][-1] > 0
    assert 0.2 < result.loss < 0.21
    assert bool((result.actions > 0.1).all())


@pytest.mark.parametrize("method", ALL)
def test_a_start_that_fails_is_left(method):
    objective = bowl((4, 1), bad=lambda actions: actions.abs().amax((1, 2)) < 0.1)
    result = optimize(objective, method, iterations=100)
    assert np.isinf(result.history["best"][0])
    assert result.history["skipped"][0] == 1
    assert np.isfinite(result.loss)


@pytest.mark.parametrize("method", ALL)
def test_where_everything_fails_the_initial_actions_come_back(method):
    initial = wave((4, 2))
    result = optimize(bowl((4, 2), bad=lambda actions: torch.ones(len(actions), dtype=torch.bool)), method, iterations=5, initial=initial)
    assert result.loss == np.inf
    assert torch.equal(result.actions, initial)
    assert result.history["skipped"][-1] == result.history["evaluations"][-1]


def test_a_population_of_which_none_is_good_is_drawn_closer():
    objective = bowl((8, 1), bad=lambda actions: actions.abs().amax((1, 2)) > 0.02)
    initial = torch.zeros((8, 1), dtype=torch.float64)
    result = optimize(objective, "cma", iterations=40, initial=initial)
    assert result.loss < result.history["loss"][0]


@pytest.mark.parametrize("method", ALL)
def test_initial_actions_are_evaluated_as_given_whatever_the_knots(method):
    initial = torch.rand((30, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    result = optimize(bowl((30, 2)), method, iterations=0, initial=initial, knots=3)
    assert torch.allclose(result.actions, initial, atol=1e-15)
    assert optimize(bowl((30, 2)), method, iterations=3, initial=4 * initial).actions.abs().max() <= 1


def test_a_population_is_evaluated_in_batches():
    whole, parts = bowl(), bowl()
    one = optimize(whole, "cma", iterations=6, population=10)
    other = optimize(parts, "cma", iterations=6, population=10, batch=4)
    assert set(whole.batches) == {1, 10}
    assert set(parts.batches) == {1, 4, 2}
    same_runs(one, other)


@pytest.mark.parametrize("method", ALL)
def test_the_same_seed_gives_the_same_bits_and_leaves_global_generators_alone(method):
    np.random.seed(1)
    torch.manual_seed(1)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    one = optimize(bowl(), method, iterations=5, seed=3)
    assert np.array_equal(np.random.get_state()[1], state[0])
    assert torch.equal(torch.get_rng_state(), state[1])
    np.random.random(5)
    same_runs(one, optimize(bowl(), method, iterations=5, seed=3))
    assert not torch.equal(one.actions, optimize(bowl(), method, iterations=5, seed=4).actions)


@pytest.mark.parametrize("where", range(1, 30, 4))
@pytest.mark.parametrize("method", ALL)
def test_an_interruption_keeps_the_best(method, where, tmp_path):
    objective = bowl()
    quiet = objective._loss

    def loss(actions):
        if objective.calls == where:
            raise KeyboardInterrupt
        return quiet(actions)

    objective._loss = loss
    result = optimize(objective, method, iterations=40, folder=tmp_path)
    assert result.interrupted
    whole = optimize(bowl(), method, iterations=40)
    done = len(result.history["loss"])
    assert done == where - 1
    assert np.array_equal(result.history["loss"], whole.history["loss"][:done])
    assert result.loss == (whole.history["best"][done - 1] if done else np.inf)
    same_runs(optimize(bowl(), method, iterations=40, folder=tmp_path, resume=True), whole)


@pytest.mark.parametrize("method", ALL)
def test_an_interruption_of_the_resumption_keeps_what_was_stored(method, tmp_path, monkeypatch):
    before = optimize(bowl(), method, iterations=4, folder=tmp_path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(METHODS[method], "restore", interrupted)
    result = optimize(bowl(), method, iterations=9, folder=tmp_path, resume=True)
    assert result.interrupted
    same_runs(result, before)
    monkeypatch.undo()
    same_runs(optimize(bowl(), method, iterations=9, folder=tmp_path, resume=True), optimize(bowl(), method, iterations=9))


class InterruptedBackward(torch.autograd.Function):
    calls = 0

    @staticmethod
    def forward(ctx, actions):
        return actions.sum((1, 2))

    @staticmethod
    def backward(ctx, slope):
        InterruptedBackward.calls += 1
        if InterruptedBackward.calls == 4:
            raise KeyboardInterrupt
        return slope[:, None, None].expand(-1, 3, 1).clone()


def test_an_interruption_in_the_backward_pass_keeps_the_best():
    InterruptedBackward.calls = 0
    result = optimize(Function(InterruptedBackward.apply, (3, 1)), "adam", iterations=40)
    assert result.interrupted
    assert result.iterations == 2
    assert result.loss == result.history["best"][2]


@pytest.mark.parametrize("method", ALL)
def test_an_interruption_by_the_callback_or_while_writing_leaves_the_file_whole(method, tmp_path, monkeypatch):
    def stop(progress):
        if progress.iteration == 3:
            raise KeyboardInterrupt

    assert optimize(bowl(), method, iterations=9, folder=tmp_path, on_iteration=stop).iterations == 3
    save, calls = loop.save_progress, []

    def interrupted_save(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(loop, "save_progress", interrupted_save)
    monkeypatch.setattr(loop, "WRITE_EVERY", 0.0)
    result = optimize(bowl(), method, iterations=9, folder=tmp_path, resume=True)
    monkeypatch.undo()
    assert result.interrupted
    assert result.iterations == 6
    same_runs(optimize(bowl(), method, iterations=9, folder=tmp_path, resume=True), optimize(bowl(), method, iterations=9))
    assert [path.name for path in tmp_path.iterdir()] == ["progress.npz"]


@pytest.mark.parametrize("method", ALL)
def test_a_signal_at_an_arbitrary_time_is_an_interruption_and_the_run_goes_on_bit_for_bit(method, tmp_path):
    generator = np.random.default_rng(0)
    seen = 0
    for number, delay in enumerate(generator.uniform(0.0, 0.1, 8)):
        timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))

        def begin(progress, timer=timer):
            if timer.ident is None:
                timer.start()
            time.sleep(0.002)  # CMA-ES ends by itself after 534 iterations here, which may take less time than the signals

        result = optimize(bowl(), method, iterations=10**9, folder=tmp_path, resume=number > 0, on_iteration=begin)
        timer.join()
        assert result.interrupted
        assert result.iterations >= seen
        seen = result.iterations
    same_runs(optimize(bowl(), method, iterations=seen + 5, folder=tmp_path, resume=True), optimize(bowl(), method, iterations=seen + 5))


def failing_now_and_then(dtype):
    """A bowl of which a thin shell fails, so that skips and halved rates are part of the history."""
    middle = wave((12, 2), dtype)
    return Function(
        lambda actions: ((actions - middle) ** 2).mean((1, 2)),
        bad=lambda actions: (1000 * ((actions - middle) ** 2).mean((1, 2))).long() % 7 == 0,
        dtype=dtype,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("parts", [(0, 25), (1, 2, 25), (13, 25), (25, 25)])
@pytest.mark.parametrize("method", ALL)
def test_a_resumed_run_gives_the_same_bits(method, parts, dtype, tmp_path):
    more = {"knots": 5, "interpolation": "bspline", "initial": wave((12, 2), dtype) * -1, "noise": 0.03, "seed": 5}
    more |= {"max_gradient_norm": 0.2, "cosine": 20} if method == "adam" else {"population": 7}
    more |= {"max_gradient_norm": 0.2} if method == "hybrid" else {}
    whole = optimize(failing_now_and_then(dtype), method, iterations=25, **more)
    assert whole.history["skipped"][-1] > 0
    for number, iterations in enumerate(parts):
        objective = failing_now_and_then(dtype)
        part = optimize(objective, method, iterations=iterations, folder=tmp_path, resume=number > 0, **more)
        assert part.iterations == iterations
    assert part.actions.dtype == dtype
    same_runs(part, whole)
    assert (objective.calls == 0) == (parts == (25, 25))


@pytest.mark.parametrize("method", ALL)
def test_the_initial_actions_need_not_be_given_again(method, tmp_path):
    initial = wave((12, 2)) / 2
    optimize(bowl(), method, iterations=3, folder=tmp_path, initial=initial)
    resumed = optimize(bowl(), method, iterations=6, folder=tmp_path, resume=True)
    same_runs(resumed, optimize(bowl(), method, iterations=6, initial=initial))


@pytest.mark.parametrize("method", ALL)
def test_a_file_of_another_run_is_refused(method, tmp_path):
    other = "cma" if method == "adam" else "adam"
    optimize(bowl(), method, iterations=3, folder=tmp_path)
    before = (tmp_path / "progress.npz").read_bytes()
    option = {"learning_rate": 0.5} if method == "adam" else {"sigma": 0.1}
    for objective, name, more, message in [
        (bowl(), other, {}, "method"),
        (bowl((13, 2)), method, {}, "shape"),
        (bowl(high=2.0), method, {}, "upper"),
        (bowl(middle=wave((12, 2), torch.float32), dtype=torch.float32), method, {}, "dtype"),
        (bowl(), method, {"seed": 1}, "seed"),
        (bowl(), method, {"knots": 3}, "knots"),
        (bowl(), method, {"noise": 0.5}, "noise"),
        (bowl(), method, {"initial": wave((12, 2)), "noise": 0.01}, "other actions"),
        (bowl(), method, option, next(iter(option))),
    ]:
        with pytest.raises(FileFormatError, match=message):
            optimize(objective, name, iterations=5, folder=tmp_path, resume=True, **more)
    assert (tmp_path / "progress.npz").read_bytes() == before


@pytest.mark.parametrize("method", ALL)
def test_damaged_files_are_refused(method, tmp_path):
    path = tmp_path / "progress.npz"
    with pytest.raises(FileFormatError, match="no file"):
        optimize(bowl(), method, iterations=5, folder=tmp_path, resume=True)
    optimize(bowl(), method, iterations=3, folder=tmp_path)
    whole = path.read_bytes()
    for content in (b"", b"not a file of ours", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(FileFormatError):
            optimize(bowl(), method, iterations=5, folder=tmp_path, resume=True)
    with np.load(_write(path, whole)) as file:
        arrays = dict(file)
    for name in arrays:
        np.savez(path, **{key: array for key, array in arrays.items() if key != name})
        if name != "__schema__":
            with pytest.raises(FileFormatError):
                optimize(bowl(), method, iterations=5, folder=tmp_path, resume=True)
        np.savez(path, **{key: array[..., None][:0] if key == name else array for key, array in arrays.items()})
        with pytest.raises(PliantError):
            optimize(bowl(), method, iterations=5, folder=tmp_path, resume=True)


def _write(path, content):
    path.write_bytes(content)
    return path


def test_losses_that_do_not_lead_to_the_stored_mean_are_refused(tmp_path):
    optimize(bowl(), "cma", iterations=3, folder=tmp_path)
    with np.load(tmp_path / "progress.npz") as file:
        arrays = dict(file)
    arrays["state_losses"] = arrays["state_losses"][:, ::-1]
    np.savez(tmp_path / "progress.npz", **arrays)
    with pytest.raises(FileFormatError, match="another version of cma"):
        optimize(bowl(), "cma", iterations=5, folder=tmp_path, resume=True)


@pytest.mark.parametrize("method", ALL)
def test_a_time_limit_ends_the_run_and_counts_earlier_parts(method, tmp_path):
    objective = bowl()
    quiet = objective._loss

    def slow(actions):
        time.sleep(0.02)
        return quiet(actions)

    objective._loss = slow
    begun = time.perf_counter()
    result = optimize(objective, method, time_limit=0.2, folder=tmp_path)
    assert not result.interrupted
    assert 1 <= result.iterations <= 10
    assert 0.2 <= result.history["seconds"][-1] <= time.perf_counter() - begun
    assert optimize(objective, method, time_limit=0.2, folder=tmp_path, resume=True).iterations == result.iterations
    more = {"iterations": result.iterations + 1, "folder": tmp_path, "resume": True}
    assert optimize(objective, method, time_limit=60.0, **more).iterations == result.iterations + 1
    assert optimize(objective, method, time_limit=0).iterations == 0


def test_cma_ends_by_itself_where_nothing_moves(tmp_path):
    result = optimize(bowl((2, 1)), "cma", iterations=10**6, folder=tmp_path)
    assert result.converged
    assert result.loss < 1e-12
    same_runs(optimize(bowl((2, 1)), "cma", iterations=10**6, folder=tmp_path, resume=True), result)


def test_a_new_run_sets_the_file_of_an_earlier_one_aside(tmp_path):
    optimize(bowl(), "adam", iterations=3, folder=tmp_path)
    before = (tmp_path / "progress.npz").read_bytes()
    optimize(bowl(), "adam", iterations=1, folder=tmp_path)
    assert (tmp_path / "progress.previous.npz").read_bytes() == before


def test_a_disk_that_fills_up_costs_the_file_and_not_the_result(tmp_path, monkeypatch):
    save = loop.save_progress

    def full(folder, settings, initial, snapshot):
        if snapshot.lines:
            raise FileFormatError("Cannot write progress.npz: No space left on device.")
        save(folder, settings, initial, snapshot)

    monkeypatch.setattr(loop, "save_progress", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        result = optimize(bowl(), "adam", iterations=20, folder=tmp_path)
    same_runs(result, optimize(bowl(), "adam", iterations=20))


def test_an_error_in_the_objective_is_passed_on_and_the_file_is_up_to_date(tmp_path):
    objective = bowl()
    quiet = objective._loss

    def loss(actions):
        if objective.calls == 5:
            raise ZeroDivisionError
        return quiet(actions)

    objective._loss = loss
    with pytest.raises(ZeroDivisionError):
        optimize(objective, "adam", iterations=9, folder=tmp_path)
    same_runs(optimize(bowl(), "adam", iterations=3, folder=tmp_path, resume=True), optimize(bowl(), "adam", iterations=3))


def test_a_method_is_a_class_and_a_line(monkeypatch, tmp_path):
    """Random search, to show what a new method has to supply; budget, history, file and resumption come from the loop."""

    @dataclasses.dataclass(frozen=True)
    class NoOptions:
        pass

    class RandomSearch(Method):
        Options = NoOptions

        def start(self):
            return self._evaluate(self.problem.first)

        def advance(self, iteration):
            return self._evaluate(np.random.default_rng([self.problem.seed, iteration]).uniform(size=self.problem.space.shape))

        def _evaluate(self, knots):
            loss = float(self.problem.losses(knots[None])[0])
            return Trial(knots, loss, 1, int(np.isinf(loss)))

        def state(self):
            return {}

        def restore(self, state):
            pass

    monkeypatch.setitem(METHODS, "random", RandomSearch)
    optimize(bowl(), "random", iterations=20, folder=tmp_path)
    resumed = optimize(bowl(), "random", iterations=60, folder=tmp_path, resume=True)
    same_runs(resumed, optimize(bowl(), "random", iterations=60))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": None}, UnknownNameError, "adam, cma, mppi, hybrid"),
        ({"method": "newton"}, UnknownNameError, "adam, cma"),
        ({"learning_rat": 0.1}, UnknownNameError, "learning_rate"),
        ({"interpolation": "cubic"}, UnknownNameError, "linear, bspline"),
        ({"iterations": None}, PliantError, "no budget"),
        ({"iterations": -1}, PliantError, "iterations"),
        ({"iterations": 2.5}, PliantError, "iterations"),
        ({"iterations": True}, PliantError, "iterations"),
        ({"time_limit": -1.0}, PliantError, "time_limit"),
        ({"time_limit": float("nan")}, PliantError, "time_limit"),
        ({"time_limit": "1"}, PliantError, "time_limit"),
        ({"simulations": -1}, PliantError, "simulations"),
        ({"simulations": float("nan")}, PliantError, "simulations"),
        ({"noise": -0.1}, PliantError, "noise"),
        ({"noise": float("inf")}, PliantError, "noise"),
        ({"seed": -1}, PliantError, "seed"),
        ({"seed": None}, PliantError, "seed"),
        ({"knots": 0}, PliantError, "knots"),
        ({"knots": 13}, PliantError, "knots"),
        ({"knots": 2.0}, PliantError, "knots"),
        ({"batch": 0}, PliantError, "batch"),
        ({"resume": True}, PliantError, "folder"),
        ({"initial": torch.zeros((11, 2))}, ShapeError, "initial"),
        ({"initial": torch.zeros((1, 12, 2))}, ShapeError, "initial"),
        ({"initial": torch.zeros((12, 2), dtype=torch.int32)}, ShapeError, "initial"),
        ({"initial": np.zeros((12, 2))}, ShapeError, "initial"),
        ({"initial": torch.full((12, 2), torch.nan)}, ShapeError, "NaN"),
        ({"learning_rate": 0.0}, PliantError, "learning_rate"),
        ({"learning_rate": float("nan")}, PliantError, "learning_rate"),
        ({"learning_rate": "fast"}, PliantError, "wrong type"),
        ({"beta1": 1.0}, PliantError, "beta1"),
        ({"cosine": 0}, PliantError, "cosine"),
        ({"max_gradient_norm": -1.0}, PliantError, "max_gradient_norm"),
        ({"method": "cma", "sigma": 0.0}, PliantError, "sigma"),
        ({"method": "cma", "population": 3}, PliantError, "population"),
        ({"method": "cma", "population": 8.5}, PliantError, "population"),
        ({"method": "mppi", "sigma": 2.0}, PliantError, "sigma"),
        ({"method": "mppi", "population": 1}, PliantError, "population"),
        ({"method": "mppi", "population": None}, PliantError, "population"),
        ({"method": "mppi", "temperature": 0.0}, PliantError, "temperature"),
        ({"method": "mppi", "temperature": float("nan")}, PliantError, "temperature"),
        ({"method": "mppi", "decay": 1.5}, PliantError, "decay"),
        ({"method": "mppi", "decay": "slow"}, PliantError, "wrong type"),
        ({"method": "hybrid", "learning_rate": -1.0}, PliantError, "learning_rate"),
        ({"method": "hybrid", "max_gradient_norm": 0.0}, PliantError, "max_gradient_norm"),
        ({"method": "hybrid", "sigma": 0.0}, PliantError, "sigma"),
        ({"method": "hybrid", "population": 3}, PliantError, "population"),
        ({"method": "hybrid", "beta1": 0.5}, UnknownNameError, "learning_rate"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(arguments, error, message):
    objective = bowl()
    with pytest.raises(error, match=message):
        optimize(objective, **{"iterations": 3, **arguments})
    assert objective.calls == 0


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("shape", (0, 2), ShapeError),
        ("shape", (12,), ShapeError),
        ("shape", (12.0, 2), ShapeError),
        ("lower", torch.zeros(3, dtype=torch.float64), ShapeError),
        ("lower", torch.zeros(2, dtype=torch.float32), ShapeError),
        ("upper", torch.zeros(2, dtype=torch.int64), ShapeError),
        ("upper", [1.0, 1.0], ShapeError),
        ("upper", torch.full((2,), torch.inf, dtype=torch.float64), PliantError),
        ("lower", torch.full((2,), torch.nan, dtype=torch.float64), PliantError),
        ("lower", torch.full((2,), 2.0, dtype=torch.float64), PliantError),
        ("gradient_cost", 0.0, PliantError),
        ("gradient_cost", "dear", PliantError),
    ],
)
def test_bad_objectives_are_refused(name, value, error):
    objective = bowl()
    setattr(objective, name, value)
    with pytest.raises(error):
        optimize(objective, iterations=3)


@pytest.mark.parametrize("method", ALL)
def test_what_an_objective_returns_is_checked(method):
    objective = bowl()
    good = objective.__call__
    for bad in (
        lambda actions: good(actions).loss,
        lambda actions: Evaluation(good(actions).loss.sum(), good(actions).ok),
        lambda actions: Evaluation(good(actions).loss, torch.ones(())),
        lambda actions: Evaluation(good(actions).loss[:, None], good(actions).ok),
        lambda actions: Evaluation(0.5, good(actions).ok),
    ):

        class Wrong(Function):
            def __call__(self, actions, bad=bad):
                return bad(actions)

        with pytest.raises(ShapeError, match="Evaluation"):
            optimize(Wrong(None), method, iterations=3)


def test_adam_needs_a_derivative_and_cma_does_not():
    for loss in (lambda a: (a.detach() ** 2).sum((1, 2)), lambda a: torch.ones(len(a), requires_grad=True) * 1.0):
        with pytest.raises(StepError, match="cma"):
            optimize(Function(loss), "adam", iterations=3)
        assert np.isfinite(optimize(Function(loss), "cma", iterations=3).loss)


def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    objective = bowl()
    with pytest.raises(FileFormatError, match="Cannot write"):
        optimize(objective, iterations=3, folder=tmp_path / "file" / "run")
    assert objective.calls == 0


@given(
    steps=st.integers(1, 9),
    actions=st.integers(1, 4),
    share=st.floats(0, 1),
    interpolation=st.sampled_from(INTERPOLATIONS),
    method=st.sampled_from(ALL),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    low=st.floats(-1e3, 1e3),
    span=st.floats(0, 1e3),
    given_initial=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_shape_and_range_works(steps, actions, share, interpolation, method, dtype, low, span, given_initial):
    objective = Function(lambda a: (a**2).mean((1, 2)), (steps, actions), low, low + span, dtype=dtype)
    initial = objective.upper.expand(steps, actions).clone() if given_initial else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = optimize(objective, method, iterations=3, knots=1 + int(share * (steps - 1)), interpolation=interpolation, initial=initial)
    assert result.actions.shape == (steps, actions)
    assert result.actions.dtype == dtype
    assert bool((result.actions >= objective.lower).all() & (result.actions <= objective.upper).all())
    assert result.loss == float((result.actions**2)[None].mean((1, 2)))
    assert result.loss == result.history["loss"].min() <= result.history["loss"][0]


@given(steps=st.integers(1, 40), share=st.floats(0, 1), interpolation=st.sampled_from(INTERPOLATIONS))
@settings(max_examples=60, deadline=None)
def test_weights_are_shares_that_add_up_to_one(steps, share, interpolation):
    knots = 1 + int(share * (steps - 1))
    matrix = weights(steps, knots, interpolation)
    assert matrix.shape == (steps, knots)
    assert (matrix >= 0).all()
    assert matrix.sum(1) == pytest.approx(1)
    assert np.linalg.matrix_rank(matrix) == knots
    assert weights(steps, None, interpolation).tolist() == np.eye(steps).tolist()
