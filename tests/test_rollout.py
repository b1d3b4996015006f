"""Many steps: the checkpoint changes memory and nothing else."""

import math
import weakref

import numpy as np
import pytest
import torch
from toy import PointControl, PointSolver, PointState, Reach, point_model, point_state

from pliant.errors import FileFormatError, ModelError, ShapeError
from pliant.sim.core import Outcome, keep_failed
from pliant.sim.rollout import Trajectory, rollout, unroll

STEPS = 23
CHECKPOINTS = [1, 2, 5, 23, 100, "sqrt"]


def controls(batch=2, steps=STEPS, size=2.0):
    forces = torch.randn(steps, batch, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64) * size
    return [PointControl(force) for force in forces]


def cost(state):
    return (state.position * state.target).sum(1) + state.velocity.pow(2).sum(1)


def values_and_derivatives(checkpoint, keep=None):
    """Final state, records, and the derivatives of their sum in the first state, every control and the model's parameters."""
    mass, drag = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.5, 0.3))
    state = point_state(2)
    state = state.replace(position=state.position.requires_grad_(), velocity=state.velocity.requires_grad_())
    acting = [PointControl(c.force.requires_grad_()) for c in controls()]
    result = rollout(PointSolver(point_model(mass=mass, drag=drag)), state, acting, checkpoint=checkpoint, record=cost, keep=keep)
    inputs = [state.position, state.velocity, mass, drag, *(c.force for c in acting)]
    total = result.records.sum() + result.final.position.pow(3).sum()
    if result.states is not None:
        total = total + sum(s.velocity.prod(1).sum() for s in result.states)
    return [*result.final.tensors(), result.records], torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
@pytest.mark.parametrize("keep", [False, True])
def test_a_checkpoint_changes_no_bit_of_values_and_derivatives(checkpoint, keep):
    for with_it, without in zip(values_and_derivatives(checkpoint, keep), values_and_derivatives(None, keep), strict=True):
        assert len(with_it) == len(without)
        assert all(torch.equal(a, b) for a, b in zip(with_it, without, strict=True))


@pytest.mark.parametrize("checkpoint", [None, "sqrt"])
def test_the_derivative_agrees_with_central_differences_through_wall_contact(checkpoint):
    """Directional derivative in the first state, the controls and the mass, of a rollout that hits the walls."""
    direction = torch.randn(STEPS + 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def total(amount):
        state = point_state(2)
        moved = state.replace(position=state.position + amount * direction[-1])
        acting = [PointControl(c.force + amount * d) for c, d in zip(controls(size=6.0), direction[:-1], strict=True)]
        solver = PointSolver(point_model(mass=0.5 + 0.1 * amount))
        result = rollout(solver, moved, acting, checkpoint=checkpoint, record=cost, keep=True)
        touched.append(any(bool((s.position.abs() > 1).any()) for s in result.states))
        return result.records.sum()

    touched: list[bool] = []
    amount = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(total(amount), amount)
    h = torch.tensor(1e-6, dtype=torch.float64)
    with torch.no_grad():
        difference = (total(h) - total(-h)) / (2 * h)
    assert all(touched)
    assert abs(slope - difference) / abs(difference) < 1e-8


class Counted(torch.autograd.Function):
    """One step that saves its input in memory whose life can be watched."""

    alive, peak = 0, 0

    @classmethod
    def reset(cls):
        cls.alive = cls.peak = 0

    @classmethod
    def gone(cls):
        cls.alive -= 1

    @staticmethod
    def forward(ctx, position, force):
        ctx.save_for_backward(position)
        memory = np.array(position.numpy() + 0.1 * np.sin(force.numpy()))
        Counted.alive += 1
        Counted.peak = max(Counted.peak, Counted.alive)
        weakref.finalize(memory, Counted.gone)
        return torch.from_numpy(memory)

    @staticmethod
    def backward(ctx, gradient):
        (position,) = ctx.saved_tensors
        return gradient * (1 + 0 * position), gradient


class CountedSolver(PointSolver):
    def step(self, state, control):
        return state.replace(position=Counted.apply(state.position, control.force))


def most_states_alive(steps, checkpoint):
    """The greatest number of states of a rollout that lie in memory at once, over forward and backward pass."""
    Counted.reset()
    start = point_state(1)
    start = start.replace(position=start.position.requires_grad_())
    acting = controls(1, steps)
    final = rollout(CountedSolver(point_model()), start, acting, checkpoint=checkpoint, keep=False).final
    final.position.sum().backward()
    del final
    assert Counted.alive == 0
    return Counted.peak


def test_memory_grows_with_the_number_of_steps_without_a_checkpoint_and_with_its_root_with_one():
    sizes = [64, 256, 1024]
    assert [most_states_alive(steps, None) for steps in sizes] == pytest.approx(sizes, abs=2)
    for steps in sizes:
        assert most_states_alive(steps, "sqrt") <= 2 * math.sqrt(steps) + 3
    assert most_states_alive(1024, 8) == pytest.approx(1024 / 8 + 8, abs=3)


@pytest.mark.parametrize(("checkpoint", "segments"), [(4, 64), ("sqrt", 16), (300, 1)])
def test_hooks_on_saved_tensors_see_the_kept_states_only(checkpoint, segments):
    """What torch saves in the forward pass: the fields of the state at the start of every segment."""
    start, saved = point_state(1), []
    start = start.replace(position=start.position.requires_grad_())
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        rollout(PointSolver(point_model()), start, controls(1, 256), checkpoint=checkpoint)
    assert len(saved) == pytest.approx(segments * len(PointState.names()), abs=2)


def test_a_function_of_the_state_may_give_the_controls():
    def towards(state, t):
        return PointControl((state.target - state.position) * (1 + 0.1 * t))

    start = point_state(2)
    start = start.replace(position=start.position.requires_grad_())
    solver, results = PointSolver(point_model()), []
    for checkpoint in (None, "sqrt"):
        final = rollout(solver, start, towards, steps=STEPS, checkpoint=checkpoint).final
        results.append((final.position, torch.autograd.grad(final.position.sum(), start.position)[0]))
    by_hand = start
    for t in range(STEPS):
        by_hand = solver.step(by_hand, towards(by_hand, t))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert torch.equal(results[0][0], by_hand.position)


def test_a_random_policy_draws_the_same_numbers_when_it_is_recomputed():
    gradients = []
    for checkpoint in (None, 3):
        torch.manual_seed(0)
        gain = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        noisy = lambda state, t: PointControl(gain * torch.randn(2, 2, dtype=torch.float64))  # noqa: B023, E731
        final = rollout(PointSolver(point_model()), point_state(2), noisy, steps=10, checkpoint=checkpoint).final
        gradients.append(torch.autograd.grad(final.position.sum(), gain)[0])
    assert torch.equal(*gradients)


def test_records_are_batch_by_time_and_states_start_with_the_first():
    start = point_state(3)
    result = rollout(PointSolver(point_model()), start, controls(3), record=lambda s: s.position)
    assert result.records.shape == (3, STEPS, 2)
    assert len(result.states) == STEPS + 1
    assert torch.equal(result.states[0].position, start.position)
    for t, state in enumerate(result.states[1:]):
        assert torch.equal(result.records[:, t], state.position)
    assert torch.equal(result.final.position, result.states[-1].position)
    assert rollout(PointSolver(point_model()), start, controls(3), checkpoint=4).states is None


class CallsCounted(PointSolver):
    calls = 0

    def step(self, state, control):
        self.calls += 1
        return super().step(state, control)


class Stubborn(CallsCounted):
    """Fails in a chosen step, one for each environment."""

    fails = (6, 3)

    def step(self, state, control):
        following = super().step(state, control)
        failed = torch.tensor([self.calls > number for number in self.fails[: state.batch]])
        status = torch.where(state.ok & failed, int(Outcome.TOO_FAST), following.status)
        return keep_failed(state, following.replace(status=status))


@pytest.mark.parametrize("checkpoint", [None, 4])
def test_a_rollout_whose_environments_have_all_failed_calls_the_solver_no_more(checkpoint, monkeypatch):
    def run():
        start, solver = point_state(2), Stubborn(point_model())
        start = start.replace(position=start.position.requires_grad_())
        acting = [PointControl(control.force.requires_grad_()) for control in controls(size=0.5)]
        result = rollout(solver, start, acting, checkpoint=checkpoint, record=cost, keep=True)
        calls, inputs = solver.calls, [start.position, *(control.force for control in acting)]
        if checkpoint:  # recomputed, the steps of this solver would be counted anew
            return calls, result, ()
        return calls, result, torch.autograd.grad(result.records.sum(), inputs, materialize_grads=True)

    calls, result, slopes = run()
    assert calls == 7
    assert result.final.outcomes() == [Outcome.TOO_FAST, Outcome.TOO_FAST]
    assert result.records.shape == (2, STEPS)
    assert len(result.states) == STEPS + 1
    assert (result.records[:, 7:] == result.records[:, 6:7]).all()
    monkeypatch.setattr("pliant.sim.rollout.step_running", lambda solver, state, control: solver.step(state, control))
    every, whole, expected = run()
    assert every == STEPS
    assert torch.equal(result.records, whole.records)
    assert all(torch.equal(a, b) for a, b in zip(result.final.tensors(), whole.final.tensors(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(slopes, expected, strict=True))


def test_a_task_that_failed_is_not_simulated_on_and_its_costs_are_the_same(monkeypatch):
    def run():
        task = Reach(speed_limit=0.5)
        task.solver.__class__ = CallsCounted
        actions = torch.ones(3, 12, 2) * torch.tensor([1.0, 0.8, 0.6])[:, None, None]
        actions.requires_grad_()
        played = task.rollout(actions)
        return task.solver.calls, played, torch.autograd.grad(played.loss.sum(), actions)[0]

    calls, played, slope = run()
    assert 1 <= calls < 12
    assert played.stage_costs.shape == (3, 12)
    assert not bool(played.ok.any())
    monkeypatch.setattr(Reach, "_running", Reach.advance)
    every, whole, expected = run()
    assert every == 12
    assert torch.equal(played.stage_costs, whole.stage_costs)
    assert torch.equal(played.loss, whole.loss)
    assert torch.equal(slope, expected)


def test_one_rollout_of_a_batch_is_the_rollouts_of_its_environments():
    solver, start, acting = PointSolver(point_model()), point_state(5), controls(5)
    together = rollout(solver, start, acting).final
    for env in range(5):
        alone = rollout(solver, start[env], [c[env] for c in acting]).final
        assert all(torch.equal(a, b) for a, b in zip(alone.tensors(), together[env].tensors(), strict=True))


@pytest.mark.parametrize("checkpoint", [None, 4])
def test_a_failed_environment_is_frozen_and_marked_and_the_others_go_on(checkpoint):
    start, acting = point_state(3), controls(3)
    pushed = list(acting)
    pushed[5] = PointControl(acting[5].force.index_fill(0, torch.tensor([1]), 1e6))
    solver = PointSolver(point_model())
    kept, free = rollout(solver, start, pushed, checkpoint=checkpoint, keep=True), rollout(solver, start, acting, keep=True)
    assert kept.final.outcomes() == [Outcome.OK, Outcome.TOO_FAST, Outcome.OK]
    assert torch.equal(kept.final.position[1], free.states[5].position[1])
    assert torch.equal(kept.final.position[[0, 2]], free.final.position[[0, 2]])


def test_the_gradient_of_the_others_is_untouched_by_a_failed_environment():
    def gradient(force_of_second):
        forces = torch.stack([c.force for c in controls(2, 8)]).requires_grad_()
        pushed = forces.clone()
        pushed[3, 1] = force_of_second
        final = rollout(PointSolver(point_model()), point_state(2), [PointControl(f) for f in pushed.unbind()], checkpoint=3).final
        return torch.autograd.grad(final.position.sum(), forces)[0]

    assert torch.equal(gradient(1e6)[:, 0], gradient(0.0)[:, 0])
    assert torch.equal(gradient(1e6)[4:, 1], torch.zeros(4, 2, dtype=torch.float64))


@pytest.mark.parametrize("checkpoint", [0, -1, 2.5, True, "root"])
def test_a_checkpoint_that_means_nothing_is_refused(checkpoint):
    with pytest.raises(ModelError, match="checkpoint"):
        rollout(PointSolver(point_model()), point_state(2), controls(2), checkpoint=checkpoint)


def test_controls_that_do_not_fit_are_refused():
    solver, start = PointSolver(point_model()), point_state(2)
    with pytest.raises(ModelError, match="number of steps"):
        rollout(solver, start, [])
    with pytest.raises(ShapeError, match="23 controls for 5 steps"):
        rollout(solver, start, controls(), steps=5)
    with pytest.raises(ModelError, match="steps="):
        rollout(solver, start, lambda state, t: solver.rest_control(2))
    with pytest.raises(ShapeError, match="step 1 has batch size 3"):
        rollout(solver, start, [controls(2)[0], controls(3)[0]])
    with pytest.raises(ShapeError, match="step 0 is a Tensor"):
        rollout(solver, start, [controls(2)[0].force])


def test_unroll_hands_on_what_the_steps_record():
    result = unroll(lambda state, t: (state, torch.full((2,), float(t))), point_state(2), 4, checkpoint=3)
    assert result.records.tolist() == [[0.0, 1.0, 2.0, 3.0]] * 2


@pytest.fixture
def trajectory():
    return Trajectory.stack(rollout(PointSolver(point_model()), point_state(2), controls(2, 6)).states, 0.05)


def test_a_trajectory_comes_back_bit_for_bit(tmp_path, trajectory):
    trajectory.save(tmp_path / "replay.npz")
    loaded = Trajectory.load(tmp_path / "replay.npz", PointState)
    assert (len(loaded), loaded.batch, loaded.dt) == (7, 2, 0.05)
    assert loaded.tensors["position"].shape == (2, 7, 2)
    for frame in range(-7, 7):
        for a, b in zip(loaded[frame].tensors(), trajectory[frame].tensors(), strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)
    with pytest.raises(IndexError, match="frame 7 of a trajectory of 7"):
        loaded[7]


class OtherState(PointState):
    pass


def test_a_trajectory_of_other_states_or_a_damaged_one_is_a_clear_error(tmp_path, trajectory):
    path = tmp_path / "replay.npz"
    trajectory.save(path)
    with pytest.raises(FileFormatError, match="PointState trajectory, not a OtherState trajectory"):
        Trajectory.load(path, OtherState)
    Trajectory(PointState, {**trajectory.tensors, "position": trajectory.tensors["position"][:, :3]}, 0.05).save(path)
    with pytest.raises(FileFormatError, match="do not fit together"):
        Trajectory.load(path, PointState)
    Trajectory(PointState, trajectory.tensors, math.nan).save(path)
    with pytest.raises(FileFormatError, match="damaged"):
        Trajectory.load(path, PointState)
    trajectory[0].save(path)
    with pytest.raises(FileFormatError, match="holds a PointState"):
        Trajectory.load(path, PointState)


def test_states_that_make_no_trajectory_are_refused(trajectory):
    with pytest.raises(ShapeError, match="at least one"):
        Trajectory.stack([], 0.1)
    with pytest.raises(ShapeError, match="State 1"):
        Trajectory.stack([point_state(2), point_state(3)], 0.1)
    with pytest.raises(ModelError, match="positive"):
        Trajectory.stack([point_state(2)], 0.0)
