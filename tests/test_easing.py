"""Easier objectives on the way: horizons that grow, contact that hardens, and what is called the best meanwhile."""

import dataclasses

import numpy as np
import pytest
import torch
from test_optimize import ALL, bowl, same_runs, wave

from pliant.envs import make_task
from pliant.envs.objective import task_objective
from pliant.envs.shape_dough import ShapeDough
from pliant.errors import OptionError, ShapeError
from pliant.optim.trajectory import Easing, Evaluation, Progress, optimize
from pliant.optim.trajectory.adam import Adam, AdamOptions
from pliant.optim.trajectory.knots import ActionSpace, weights
from pliant.optim.trajectory.objective import Problem

SHORT = {"observed": 8}


class Reaching:
    """The mean square distance of the first steps from `wave`, weighted more and more, plus what a softness other than 1 adds."""

    def __init__(self, steps=12, whole=12, softness=1.0, seen=None, bad=lambda actions, own: actions.mean((1, 2)) > 9):
        self.shape, self.whole, self.softness, self.bad = (steps, 2), whole, softness, bad
        self.lower = -torch.ones(2, dtype=torch.float64)
        self.upper = -self.lower
        self.seen = [] if seen is None else seen

    def truncated(self, steps):
        return Reaching(steps, self.whole, self.softness, self.seen, self.bad)

    def softened(self, softness):
        return Reaching(self.shape[0], self.whole, softness, self.seen, self.bad)

    def __call__(self, actions):
        assert actions.shape[1:] == self.shape
        steps = self.shape[0]
        self.seen.append((steps, self.softness, len(actions), torch.is_grad_enabled()))
        away = (actions - wave((self.whole, 2))[:steps]) ** 2
        loss = (away * torch.arange(1.0, steps + 1, dtype=torch.float64)[:, None]).mean((1, 2))
        loss = loss + 0.2 * (self.softness - 1) * ((actions - 0.5) ** 2).mean((1, 2))
        return Evaluation(loss, ~self.bad(actions.detach(), self.softness == 1))


def line(pursued, horizon, iteration=0):
    return Progress(iteration, 1.0, 1.0, pursued, horizon, 0.0, 0.0, 1, 1.0, 0, 0, 0.0)


# The schedule


def test_the_horizon_grows_only_when_the_pursued_loss_stalls():
    easing = Easing(expand_from=0.3, expand_by=0.25, expand_after=2, expand_below=0.1)
    assert easing.horizon(20, []) == 6
    lines = []
    for loss, following in [
        (1.0, 6),
        (0.8, 6),  # better by more than a tenth
        (0.75, 6),  # less than a tenth: one
        (0.70, 6),  # more than a tenth since 0.8
        (0.9, 6),  # worse: one
        (0.65, 11),  # less than a tenth since 0.70: two, so it grows
        (5.0, 11),  # larger than all before, but the first of its horizon
        (4.0, 11),
        (4.1, 11),
        (float("inf"), 16),  # a failure is no progress
        (1.0, 16),
        (1.0, 16),
        (1.0, 20),  # not 21
        (1.0, 20),
        (1.0, 20),
        (1.0, 20),
    ]:
        lines.append(line(loss, (lines and easing.horizon(20, lines)) or 6))
        assert easing.horizon(20, lines) == following, (len(lines), loss)


def test_losses_below_zero_stall_likewise():
    easing = Easing(expand_from=0.5, expand_after=1, expand_below=0.1)
    assert easing.horizon(10, [line(-1.0, 5), line(-1.2, 5)]) == 5
    assert easing.horizon(10, [line(-1.0, 5), line(-1.05, 5)]) == 6


@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_every_share_is_at_least_a_step_and_at_most_the_whole(steps):
    easing = Easing(expand_from=1e-9, expand_by=1e-9, expand_after=1)
    assert easing.horizon(steps, []) == 1
    assert easing.horizon(steps, [line(1.0, 1), line(1.0, 1)]) == min(2, steps)
    assert Easing(expand_from=1e-9, expand_by=1.0, expand_after=1).horizon(steps, [line(1.0, 1), line(1.0, 1)]) == steps


# The loop


@pytest.mark.parametrize("method", ALL)
def test_what_is_pursued_grows_and_hardens_while_the_best_is_of_the_true_objective(method):
    objective = Reaching()
    easing = Easing(expand_from=0.25, expand_by=0.25, expand_after=2, expand_below=0.05, soften=3.0, soften_over=8)
    result = optimize(objective, method, iterations=100, easing=easing, **({"learning_rate": 0.05} if method in ("adam", "hybrid") else {}))
    history = result.history
    horizons = history["horizon"]
    assert horizons[0] == 3
    assert set(horizons) == {3, 6, 9, 12}
    assert (np.diff(horizons) >= 0).all()
    assert history["softening"].tolist() == [max(0.0, 1 - k / 8) for k in range(101)]
    assert history["best"].tolist() == np.minimum.accumulate(history["loss"]).tolist()
    eased = (horizons < 12) | (history["softening"] > 0)
    assert (history["pursued"][~eased] == history["loss"][~eased]).all()
    assert not (history["pursued"][eased] == history["loss"][eased]).any()
    assert result.loss == history["loss"].min() == float(Reaching()(result.actions[None]).loss)
    assert history["evaluations"][-1] == sum(batch for _, _, batch, _ in objective.seen)
    judged = [entry for entry in objective.seen if entry[:3] == (12, 1.0, 1) and not entry[3]]
    assert len(judged) >= eased.sum()
    softness = [1 + 2 * share for share in history["softening"]]
    pursued = [entry[:2] for entry in objective.seen if entry[3] or entry[2] > 1] if method == "adam" else None
    assert pursued is None or pursued == list(zip(horizons, softness, strict=True))


def test_a_low_loss_of_a_short_horizon_is_never_taken_for_the_best():
    """The later steps make the loss large: whoever compared losses of different horizons would return what the first iterations found."""
    result = optimize(Reaching(), "adam", iterations=60, easing=Easing(expand_from=0.1, expand_after=2), learning_rate=0.05)
    short = result.history["pursued"][result.history["horizon"] < 12].min()
    assert short < result.loss / 10
    assert result.loss == float(Reaching()(result.actions[None]).loss)


def test_until_the_horizon_grows_later_actions_stay_as_they_were():
    initial = wave((12, 2)) - 0.3
    result = optimize(Reaching(), "adam", iterations=5, initial=initial, easing=Easing(expand_from=0.5, expand_after=99))
    assert torch.equal(result.actions[6:], initial[6:])
    assert not bool((result.actions[:6] == initial[:6]).any())


@pytest.mark.parametrize("method", ALL)
def test_a_softness_that_is_the_objectives_own_is_the_plain_run_bit_for_bit(method):
    def bad(actions, own):
        return (1000 * actions.square().mean((1, 2))).long() % 7 == 0

    plain, soft = Reaching(bad=bad), Reaching(bad=bad)
    one = optimize(plain, method, iterations=25)
    other = optimize(soft, method, iterations=25, easing=Easing(soften=1.0))
    assert one.history["skipped"][-1] > 0
    same_runs(one, other)
    assert plain.seen == soft.seen


@pytest.mark.parametrize("method", ALL)
def test_what_fails_under_the_true_objective_is_skipped_and_never_the_best(method):
    objective = Reaching(bad=lambda actions, own: (actions.mean((1, 2)) > 0.1) & own)
    result = optimize(objective, method, iterations=60, easing=Easing(soften=3.0, soften_over=50))
    assert result.history["skipped"][-1] > 0
    assert np.isinf(result.history["loss"]).any()
    assert float(result.actions.mean()) <= 0.1
    assert result.loss == float(objective(result.actions[None]).loss)


def failing_now_and_then():
    return Reaching(bad=lambda actions, own: (1000 * actions.square().mean((1, 2))).long() % 5 == 0)


@pytest.mark.parametrize("parts", [(0, 40), (1, 2, 40), (13, 40), (40, 40)])
@pytest.mark.parametrize("method", ALL)
def test_a_resumed_run_gives_the_same_bits(method, parts, tmp_path):
    more = {"easing": Easing(expand_from=0.3, expand_after=2, soften=2.0, soften_over=30), "knots": 5, "seed": 3}
    whole = optimize(failing_now_and_then(), method, iterations=40, **more)
    assert whole.history["skipped"][-1] > 0
    assert len(set(whole.history["horizon"])) > 2
    for number, iterations in enumerate(parts):
        part = optimize(failing_now_and_then(), method, iterations=iterations, folder=tmp_path, resume=number > 0, **more)
    same_runs(part, whole)


def test_the_gradient_over_knots_of_a_truncated_objective_agrees_with_finite_differences():
    space = ActionSpace(-np.ones(2), np.ones(2), wave((12, 2)).numpy() / 2, weights(12, 5, "bspline"))
    problem = Problem(Reaching().truncated(6), space, space.initial, 0)
    point, direction = space.initial + 0.1, np.random.default_rng(0).standard_normal(space.shape)
    loss, slope = problem.gradient(point)
    ahead, behind = (float(problem.losses((point + sign * 1e-6 * direction)[None])[0]) for sign in (1, -1))
    assert np.sum(slope * direction) == pytest.approx((ahead - behind) / 2e-6, rel=1e-7)
    assert loss == problem.losses(point[None])[0]
    assert (slope[-1] == 0).all()  # the last knot moves none of the first six steps


def test_a_knot_that_comes_alive_late_begins_with_a_step_of_the_learning_rate():
    method = Adam(
        Problem(bowl((2, 1)), ActionSpace(np.zeros(1), np.ones(1), np.zeros((2, 1)), np.eye(2)), np.full((2, 1), 0.5), 0), AdamOptions()
    )
    method.best_loss = 0.0
    places = []
    for slope in ([1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]):
        method.slope = np.array(slope)[:, None]
        method.problem = type("At", (), {"gradient": lambda self, knots: (places.append(knots.copy()), (1.0, method.slope))[1]})()
        method.advance(1)
    moved = np.diff(np.array([np.full((2, 1), 0.5), *places])[..., 0], axis=0)
    assert moved[:, 0] == pytest.approx([-0.02] * 4)
    assert moved[:, 1] == pytest.approx([0, 0, 0, -0.02])


def test_the_callback_can_end_the_run(tmp_path):
    result = optimize(bowl(), iterations=50, folder=tmp_path, on_iteration=lambda done: done.iteration == 4)
    assert (result.iterations, result.interrupted, result.converged) == (4, False, False)
    same_runs(optimize(bowl(), iterations=9, folder=tmp_path, resume=True), optimize(bowl(), iterations=9))


@pytest.mark.parametrize(
    "wrong",
    [
        {"expand_from": 0.0},
        {"expand_from": 1.5},
        {"expand_from": float("nan")},
        {"expand_from": "half"},
        {"expand_by": 0.0},
        {"expand_by": True},
        {"expand_after": 0},
        {"expand_after": 2.5},
        {"expand_below": -0.1},
        {"expand_below": 1.0},
        {"soften": -1.0},
        {"soften": float("inf")},
        {"soften_over": 0},
        {"soften_over": None},
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Easing(**wrong)


def test_objectives_that_cannot_be_eased_say_so():
    with pytest.raises(OptionError, match="truncated"):
        optimize(bowl(), iterations=1, easing=Easing(expand_from=0.5))
    with pytest.raises(OptionError, match="nothing to soften"):
        optimize(bowl(), iterations=1, easing=Easing(soften=2.0))
    with pytest.raises(OptionError, match="harder"):
        optimize(Reaching(), iterations=1, easing=Easing(soften=0.5))


# Tasks


@pytest.mark.parametrize("name", ["pliant/Pouring-v0", "pliant/ShapeDough-v0"])
def test_a_truncated_objective_is_that_of_a_task_of_that_horizon(name):
    task, short = make_task(name, horizon=5, **SHORT), make_task(name, horizon=3, **SHORT)
    actions = task.initial_actions()[None] * 0.9 + 0.05
    long = task_objective(task)
    truncated = long.truncated(3)
    assert truncated.shape == (3, *long.shape[1:])
    assert torch.equal(truncated(actions[:, :3]).loss, task_objective(short)(actions[:, :3]).loss)
    assert not torch.equal(truncated(actions[:, :3]).loss, long(actions).loss)
    for steps in (0, 6):
        with pytest.raises(ShapeError, match="5 steps"):
            long.truncated(steps)


def lifted(steps=7):
    """The roller of ShapeDough leaves the dough and comes back; from the sixth step on no node that carries dough is within a cell of it."""
    task = make_task("pliant/ShapeDough-v0", dtype="float64", horizon=steps, **SHORT)
    actions = torch.full((1, steps, 6), 0.1, dtype=torch.float64)
    actions[..., 2] = -0.3
    actions[:, :5, 2] = 0.98
    return task_objective(task), actions


def slope(objective, actions):
    actions = actions.clone().requires_grad_()
    return torch.autograd.grad(objective(actions).loss.sum(), actions)[0]


def test_soft_contact_has_a_slope_where_the_tasks_own_contact_has_none():
    objective, actions = lifted()
    assert objective.softness == 1.0
    assert torch.equal(objective.softened(1.0)(actions).loss, objective(actions).loss)
    assert torch.equal(objective.softened(0.5)(actions).loss, objective(actions).loss)  # a tool is never made harder
    assert float(slope(objective, actions)[0, 5:].abs().max()) == 0
    soft = objective.softened(4.0)
    assert soft.softness == 1.0
    assert float(slope(soft, actions)[0, 5:6].abs().max()) > 0


def test_the_slope_of_soft_contact_agrees_with_central_differences():
    objective, actions = lifted(6)
    soft = objective.softened(3.0)
    directions = torch.randn(6, *actions.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ends = soft(torch.cat([actions + 1e-6 * directions, actions - 1e-6 * directions])).loss
    expected = (ends[:6] - ends[6:]) / 2e-6
    found = (directions * slope(soft, actions)).flatten(1).sum(1)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4


class Away(ShapeDough):
    """The roller starts three cells further up: no node that carries dough is within a cell of it."""

    def scene(self):
        model = super().scene()
        (roller,) = model.effectors
        x, y, z = roller.position
        return dataclasses.replace(model, effectors=(dataclasses.replace(roller, position=(x, y, z + 0.03)),))


def test_soft_contact_leads_to_a_tool_that_does_not_touch():
    """Under the task's own contact the gradient is zero and nothing moves. What soft contact finds lowers the loss under that contact."""
    task = Away(horizon=10, **SHORT)
    more = {"iterations": 3, "initial": task.initial_actions(), "learning_rate": 0.2}
    plain = optimize(task_objective(task), **more)
    assert plain.history["gradient_norm"].tolist() == [0.0] * 4
    soft = optimize(task_objective(task), easing=Easing(soften=4.0, soften_over=3), **more)
    assert (soft.history["gradient_norm"] > 0).all()
    assert soft.loss < 0.99 * plain.loss


def test_a_task_optimised_with_soft_contact_is_judged_by_its_own():
    task = make_task("pliant/ShapeDough-v0", horizon=6, **SHORT)
    objective = task_objective(task)
    more = {"iterations": 3, "initial": task.initial_actions(), "noise": 0.02}
    result = optimize(objective, easing=Easing(soften=2.0, soften_over=10, expand_from=0.5), **more)
    assert (result.history["pursued"] != result.history["loss"]).all()
    assert result.loss == float(objective(result.actions[None]).loss)
    assert result.history["evaluations"][-1] == 2 * 4


def test_tasks_without_tools_or_with_senseless_softness_say_so():
    task = make_task("pliant/ShapeDough-v0", horizon=2, **SHORT)
    for softness in (-1.0, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="finite"):
            task.softened(softness)
    with pytest.raises(OptionError, match="no tools"):
        make_task("toy:Reach").softened(2.0)
    assert make_task("toy:Reach").softness is None
