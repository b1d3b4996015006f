"""Inflows and outflows of the material point method: counts, places, derivatives, and what is refused."""

import dataclasses
import math
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
import torch
from scenes import play

from pliant.envs import TaskVectorEnv
from pliant.envs.mpm_task import MpmSettings, MpmTask
from pliant.errors import ModelError, ShapeError
from pliant.sim.core import Outcome
from pliant.sim.materials import FixedCorotated, Liquid
from pliant.sim.mpm import Body, Effector, EffectorControl, Inflow, MpmModel, MpmSolver, MpmState
from pliant.sim.render import Camera
from pliant.sim.rollout import Trajectory, rollout
from pliant.sim.sdf import Box, Cylinder, GridSdf, Moved, Plane, Sphere

CELL, DT = 0.05, 0.02
WATER = Liquid(1000.0, 1e4, 2.0)
MOUTH = torch.tensor([[0.2, 0.5], [0.2, 0.525], [0.2, 0.55]], dtype=torch.float64)


def jet(velocity=(1.0, 0.0), interval=0.025, budget=60, points=MOUTH, material=WATER, effector=None):
    return Inflow(points, material, 0.025**2, velocity, interval, budget, effector)


def box(inflows=(), **changes):
    given = {"bodies": [], "lower": (0.0, 0.0), "upper": (1.0, 1.0), "cell": CELL, "dt": DT, "dtype": torch.float64}
    return MpmSolver(MpmModel(**{**given, "inflows": inflows, **changes}))


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.tensors(), second.tensors(), strict=True))


# ---- rate, budget, mass


@pytest.mark.parametrize(
    ("interval", "per_step"), [(0.02, 1), (0.01, 2), (0.05, Fraction(2, 5)), (0.03, Fraction(2, 3)), (0.013, Fraction(20, 13))]
)
def test_layers_come_at_their_rate_until_the_budget_is_dry(interval, per_step):
    solver = box([jet(interval=interval, budget=36)], gravity=(0.0, 0.0))
    state = solver.initial_state(1)
    for step in range(1, 31):
        state = solver.step(state, solver.rest_control(1))
        layers = min(math.ceil(step * per_step), 12)
        assert int(state.active.sum()) == 3 * layers
        assert bool(state.active[0, : 3 * layers].all())
    assert layers == 12
    assert state.age.tolist() == [30]


def test_a_thousand_hours_do_not_shift_a_layer_in_either_precision():
    """The layer that is due is a matter of whole numbers, and its place within the step too."""
    for dtype in (torch.float32, torch.float64):
        solver = box([jet(interval=0.03)], gravity=(0.0, 0.0), dtype=dtype)
        start = solver.initial_state(1)
        for age in (10, 3 * 60_000_000_000 + 10):  # three steps make two layers: one on time, and one half a step later
            late = solver.step(start.replace(age=torch.tensor([age])), solver.rest_control(1))
            expected = MOUTH.to(dtype) + torch.tensor([0.5 * DT, 0.0], dtype=dtype)
            assert int(late.active.sum()) == 3
            assert torch.allclose(late.position[0, :3], expected, rtol=0, atol=1e-7 if dtype == torch.float32 else 1e-15)


def test_the_mass_that_came_is_density_times_volume_times_particles():
    """And its momentum: without gravity both are exactly what passed the mouth."""
    solver = box([jet((0.8, 0.3), 0.013)], gravity=(0.0, 0.0))
    state = play(solver, solver.initial_state(1), solver.rest_control(1), 10)
    count = 3 * math.ceil(10 * DT / 0.013)
    mass = solver._matter(1, None)[0][state.active]
    assert float(mass.sum()) == pytest.approx(count * 1000.0 * 0.025**2, rel=1e-14)
    momentum = (mass[:, None] * state.velocity[state.active]).sum(0)
    assert torch.allclose(momentum, mass.sum() * torch.tensor([0.8, 0.3], dtype=torch.float64), rtol=1e-12)


def test_bodies_and_inflows_share_a_box_and_the_bodies_come_first():
    block = Body(MOUTH + 0.1, FixedCorotated(1000.0, 1e4, 0.3), 0.025**2)
    solver = box([jet(budget=6), jet(budget=9, points=MOUTH - torch.tensor([0.0, 0.2]), material=Liquid(800.0, 1e4))], bodies=[block])
    assert solver.model.particles == 3 + 6 + 9
    state = solver.step(solver.initial_state(2), solver.rest_control(2))
    assert state.active.int().tolist() == [[1] * 6 + [0] * 3 + [1] * 3 + [0] * 6] * 2
    assert float(state.position[0, 9, 1]) == pytest.approx(0.3, abs=0.01)
    density = solver._matter(1, None)[0][0] / 0.025**2
    assert density.tolist() == pytest.approx([1000.0] * 9 + [800.0] * 9)


# ---- motion


@pytest.mark.parametrize("interval", [0.1, 0.113])
def test_particles_that_do_not_meet_fly_along_the_exact_discrete_parabola(interval):
    """As symplectic Euler takes them that starts when they are due: below the parabola by half a substep of fall, and by rounding."""
    solver = box([jet((2.0, 1.0), interval, 5, MOUTH[:1])], upper=(2.0, 1.0))
    state = play(solver, solver.initial_state(1), solver.rest_control(1), 20)
    h, g = DT / solver.model.steps, torch.tensor([0.0, -9.81], dtype=torch.float64)
    speed = torch.tensor([2.0, 1.0], dtype=torch.float64)
    assert state.outcomes() == [Outcome.OK]
    for layer in range(math.ceil(20 * DT / interval)):
        flight = 20 * DT - layer * interval
        parabola = MOUTH[0] + speed * flight + g * flight**2 / 2
        assert torch.allclose(state.position[0, layer], parabola + g * flight * h / 2, rtol=0, atol=1e-13)
        assert torch.allclose(state.velocity[0, layer], speed + g * flight, rtol=0, atol=1e-12)


def test_a_jet_of_water_follows_the_parabola_and_its_mass_centre_does_to_rounding():
    """Pressure acts within the jet and cancels. Layers keep to their own parabola within 0.15 cells, but for the free end, which lags."""
    cell, steps, speed = 0.02, 16, torch.tensor([1.0, 0.0], dtype=torch.float64)
    flow = Inflow.seeded(Moved(Sphere(0.04, 2), (0.1, 0.8)), Liquid(1000.0, 2e4), cell, speed, 4000)
    solver = box([flow], cell=cell)
    state = play(solver, solver.initial_state(1), solver.rest_control(1), steps)
    h, g = DT / solver.model.steps, torch.tensor([0.0, -9.81], dtype=torch.float64)
    flights = [steps * DT - layer * flow.interval for layer in range(math.ceil(steps * DT / flow.interval - 1e-9))]
    expected = torch.stack([flow.points.mean(0) + speed * t + g * t * (t + h) / 2 for t in flights])
    moved = state.position[state.active].view(len(flights), -1, 2).mean(1)
    assert torch.allclose(moved.mean(0), expected.mean(0), rtol=0, atol=1e-13)
    off = (moved - expected).norm(dim=1) / cell
    assert float(off[4:].max()) < 0.15
    assert 0.5 < float(off[0]) < 1.0


def turning_nozzle(velocity, dimension=2, interval=0.013, budget=60, material=WATER, **pose):
    """A mouth at a tool that is far from it and small."""
    points = 0.025 * torch.cartesian_prod(*[torch.arange(-1.0, 2.0, dtype=torch.float64)] * (dimension - 1)).reshape(-1, dimension - 1)
    points = torch.cat([torch.full_like(points[:, :1], 0.15), points], 1)
    tool = Effector(Sphere(0.02, dimension=dimension), [0.5] * dimension, **pose)
    inflow = Inflow(points, material, 0.025**dimension, velocity, interval, budget, 0)
    return box([inflow], lower=[0.0] * dimension, upper=[1.0] * dimension, effectors=[tool], gravity=[0.0] * dimension)


def test_a_mouth_on_a_tool_moves_with_it():
    """A layer leaves at its own time, from where the tool has carried the mouth by then, with the mouth's velocity on top of its own."""
    velocity, linear, omega, interval = (0.6, 0.2), (0.3, -0.2), 2.0, 0.29
    solver = turning_nozzle(velocity, interval=interval, budget=12, orientation=0.4)
    solver = box([dataclasses.replace(solver.model.inflows[0], points=torch.tensor([[0.15, 0.02]], dtype=torch.float64), budget=3)],
                 effectors=solver.model.effectors, gravity=(0.0, 0.0))  # fmt: skip
    control = EffectorControl(torch.tensor([[linear]], dtype=torch.float64), torch.tensor([[[omega]]], dtype=torch.float64))
    state = play(solver, solver.initial_state(1), control, 20)
    assert int(state.active.sum()) == 2
    for layer in range(2):
        due = layer * interval
        angle = 0.4 + omega * due
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
        arm = turn @ torch.tensor([0.15, 0.02], dtype=torch.float64)
        drift = torch.tensor(linear, dtype=torch.float64)
        speed = turn @ torch.tensor(velocity, dtype=torch.float64) + drift + omega * torch.stack([-arm[1], arm[0]])
        place = 0.5 + drift * due + arm + speed * (20 * DT - due)
        assert torch.allclose(state.velocity[0, layer], speed, rtol=0, atol=1e-12)
        assert torch.allclose(state.position[0, layer], place, rtol=0, atol=1e-12)


def test_what_is_to_come_waits_at_the_mouth():
    solver = turning_nozzle((0.6, 0.2), orientation=0.4)
    state = solver.initial_state(1)
    arms = solver.model.inflows[0].points @ torch.tensor(
        [[math.cos(0.4), math.sin(0.4)], [-math.sin(0.4), math.cos(0.4)]], dtype=torch.float64
    )
    assert torch.allclose(state.position[0], 0.5 + arms.repeat(20, 1))
    assert not bool(state.active.any())


def test_a_mouth_on_a_tool_in_three_dimensions_turns_about_any_axis():
    solver = turning_nozzle((0.6, 0.2, 0.1), 3, interval=0.02, budget=9)
    angular = torch.tensor([[[0.5, -1.0, 2.0]]], dtype=torch.float64)
    control = EffectorControl(torch.zeros(1, 1, 3, dtype=torch.float64), angular)
    start = solver.initial_state(1)
    quaternion = torch.tensor([0.5, 0.5, -0.5, 0.5], dtype=torch.float64)
    state = solver.step(start.replace(effector_rotation=quaternion.expand(1, 1, 4)), control)
    turn = torch.tensor([[0, -1, 0], [0, 0, -1], [1, 0, 0]], dtype=torch.float64)  # x to z, y to -x, z to -y
    arms = solver.model.inflows[0].points @ turn.T
    speeds = torch.tensor([0.6, 0.2, 0.1], dtype=torch.float64) @ turn.T + torch.linalg.cross(angular[0].expand_as(arms), arms)
    # The layer is a rigid plate that turns: its mean velocity is that of its middle, exactly.
    assert torch.allclose(state.velocity[0].mean(0), speeds.mean(0), rtol=0, atol=1e-12)
    assert torch.allclose(state.position[0].mean(0), 0.5 + arms.mean(0) + DT * speeds.mean(0), rtol=0, atol=1e-12)


# ---- outflow


def test_an_outflow_takes_out_exactly_what_is_inside_and_leaves_their_fields():
    sink = Moved(Box((0.1, 0.2)), (0.5, 0.5))
    draw = torch.Generator().manual_seed(0)
    points = 0.2 + 0.6 * torch.rand(200, 2, generator=draw, dtype=torch.float64)
    solver = box(bodies=[Body(points, WATER, 1e-4, (0.3, 0.0))], outflows=[sink, Moved(Sphere(0.05, 2), (0.25, 0.25))])
    free = box(bodies=solver.model.bodies)
    state = solver.step(solver.initial_state(1), solver.rest_control(1))
    whole = free.step(free.initial_state(1), free.rest_control(1))
    inside = (sink.value(whole.position) < 0) | (torch.linalg.vector_norm(whole.position - 0.25, dim=-1) < 0.05)
    assert 20 < int(inside.sum()) < 100
    assert torch.equal(state.active, ~inside)
    assert torch.equal(state.position, whole.position)
    later = play(solver, state, solver.rest_control(1), 3)
    out = ~state.active
    for name in ("position", "velocity", "apic_affine", "internal"):
        assert torch.equal(getattr(later, name)[out], getattr(state, name)[out])
    assert not bool(later.active[out].any()), "particles of a body do not come back"


def test_the_particles_that_are_left_move_as_if_the_others_had_never_been():
    solver = box([jet(budget=9)])
    state = play(solver, solver.initial_state(1), solver.rest_control(1), 4)
    strange = state.position.clone(), state.velocity.clone()
    assert int(state.active.sum()) == 9
    only = state.replace(active=state.active & (torch.arange(9) != 4))
    strange[0][0, 4], strange[1][0, 4] = 77.0, float("nan")
    odd = only.replace(position=strange[0], velocity=strange[1])
    first, second = (play(solver, one, solver.rest_control(1), 3) for one in (only, odd))
    rest = first.active[0]
    assert first.outcomes() == second.outcomes() == [Outcome.OK]
    assert torch.equal(first.position[0, rest], second.position[0, rest])
    bodies = box(bodies=[Body(only.position[0, rest], WATER, 0.025**2)])
    fields = ("position", "velocity", "apic_affine", "internal")
    start = bodies.initial_state(1).replace(**{name: getattr(only, name)[:, rest] for name in fields})
    assert torch.equal(play(bodies, start, bodies.rest_control(1), 3).position, first.position[:, rest])


def test_a_fountain_runs_for_good_on_what_leaves_it():
    """The budget is dry at first; what the outflow takes feeds the next layers, a whole layer at a time."""
    drain = Moved(Box((0.5, 0.1)), (0.5, 0.1))
    solver = box([jet((0.5, 0.0), 0.05, 24)], outflows=[drain])
    state, counts, emitted = solver.initial_state(1), [], 0
    for _ in range(60):
        before = state
        state = solver.step(state, solver.rest_control(1))
        assert not bool((drain.value(state.position)[state.active] < 0).any())
        emitted += int((~before.active & (state.active | (before.position != state.position).any(-1))).sum())
        counts.append(int(state.active.sum()))
    assert state.outcomes() == [Outcome.OK]
    assert emitted == 3 * 24  # all layers that were due within 1.2 s found room
    assert max(counts) < 24
    assert min(counts[30:]) > 12


def test_a_layer_that_finds_no_room_is_lost_and_the_next_one_comes_when_there_is_some():
    solver = box([jet(interval=0.02, budget=6)], gravity=(0.0, 0.0))
    state = play(solver, solver.initial_state(1), solver.rest_control(1), 4)
    assert bool(state.active.all())
    holes = state.replace(active=torch.tensor([[True, False, True, True, False, True]]))
    short = solver.step(holes, solver.rest_control(1))
    assert torch.equal(short.active, holes.active), "two places are less than a layer of three"
    holes = state.replace(active=torch.tensor([[False, False, True, True, False, True]]))
    full = solver.step(holes, solver.rest_control(1))
    assert bool(full.active.all())
    assert torch.allclose(full.position[0, [0, 1, 4], 1], MOUTH[:, 1], atol=0.01)
    assert float((full.position[0, [0, 1, 4], 0] - 0.2 - DT).abs().max()) < 0.01


# ---- determinism, batches, failure


def test_environments_of_different_ages_have_the_bits_that_they_have_alone():
    solver = turning_nozzle(torch.tensor([[0.6, 0.2], [0.5, 0.1], [0.7, 0.0]], dtype=torch.float64))
    alone = [turning_nozzle(velocity) for velocity in ((0.6, 0.2), (0.5, 0.1), (0.7, 0.0))]
    control = EffectorControl(torch.tensor([[[0.3, -0.2]]], dtype=torch.float64), torch.tensor([[[2.0]]], dtype=torch.float64))
    singles = [play(one, one.initial_state(1), control, ago) for one, ago in zip(alone, (0, 3, 7), strict=True)]
    batch = play(solver, MpmState.cat(singles), control.repeat(3), 6)
    assert batch.age.tolist() == [6, 9, 13]
    assert len(set(batch.active.sum(1).tolist())) == 3
    for env, one in enumerate(singles):
        assert same(batch[env], play(alone[env], one, control, 6))


def test_the_same_run_gives_the_same_bits_and_leaves_its_inputs_alone():
    solver = box([jet(interval=0.013)], outflows=[Plane((0.0, 1.0), 0.3)])
    state = solver.initial_state(2)
    copy = state.clone()
    assert same(play(solver, state, solver.rest_control(2), 12), play(solver, state, solver.rest_control(2), 12))
    assert same(state, copy)


def test_a_failed_environment_stays_as_it_was_before_the_step_active_and_age_too():
    solver = box([jet(interval=0.013)], outflows=[Moved(GridSdf.sample(Box((0.05, 0.5)), 0.025, 0.1), (0.4, 0.5))])
    state = play(solver, solver.initial_state(3), solver.rest_control(3), 5)
    velocity, position = state.velocity.clone(), state.position.clone()
    velocity[1, 0] = 900.0
    position[2, state.active[2]] = float("nan")
    state = state.replace(velocity=velocity, position=position)
    assert bool(state.active[1, 0])
    end = solver.step(state, solver.rest_control(3))
    assert end.outcomes() == [Outcome.OK, Outcome.TOO_FAST, Outcome.NOT_FINITE]
    for env in (1, 2):
        assert torch.equal(end.active[env], state.active[env])
        assert int(end.age[env]) == 5
    later = play(solver, end, solver.rest_control(3), 2)
    assert later.age.tolist() == [8, 5, 5]
    single = play(solver, state[0], solver.rest_control(1), 3)
    assert same(later[0], single)


def test_no_nan_of_a_failed_environment_reaches_the_derivative_of_a_shared_velocity():
    """The second nozzle turns at NaN rad/s, the third has left the box; the first sprays on."""
    grads = []
    for envs in ([0], [0, 1, 2]):
        velocity = torch.tensor([0.6, 0.2], dtype=torch.float64, requires_grad=True)
        solver = turning_nozzle(velocity)
        state = solver.initial_state(3)
        away = state.effector_position + torch.tensor([0.0, 0.0, 5.0], dtype=torch.float64).view(3, 1, 1)
        spin = torch.tensor([2.0, float("nan"), 2.0], dtype=torch.float64).view(3, 1, 1)
        control = EffectorControl(torch.zeros(3, 1, 2, dtype=torch.float64), spin)
        end = play(solver, state.replace(effector_position=away)[envs], control[envs], 3)
        assert end.outcomes() == [Outcome.OK, Outcome.NOT_FINITE, Outcome.OUT_OF_DOMAIN][: len(envs)]
        assert end.active.any(1).tolist() == [True, False, False][: len(envs)]
        grads.append(torch.autograd.grad(end.position.square().sum(), velocity)[0])
    assert torch.isfinite(grads[1]).all()
    assert torch.equal(*grads)


def test_a_state_with_an_inflow_survives_its_file_and_so_does_a_trajectory(tmp_path):
    solver = box([jet()])
    states = [solver.initial_state(2)]
    for _ in range(3):
        states.append(solver.step(states[-1], solver.rest_control(2)))
    states[-1].save(tmp_path / "state.npz")
    assert same(MpmState.load(tmp_path / "state.npz"), states[-1])
    assert MpmState.load(tmp_path / "state.npz").active.dtype == torch.bool
    Trajectory.stack(states, DT).save(tmp_path / "way.npz")
    assert same(Trajectory.load(tmp_path / "way.npz", MpmState)[2], states[2])


class Fountain(MpmTask):
    """A nozzle that the action moves."""

    presets: ClassVar = {"small": MpmSettings(horizon=6, cell=0.1, observed=4)}
    body_colors = ((0.2, 0.5, 0.9),)

    def scene(self):
        nozzle = Inflow(torch.tensor([[0.1, 0.0, 0.0], [0.1, 0.05, 0.0]]), Liquid(1000.0, 1e4), 0.05**3, (1.0, 0.0, 0.0), 0.04, 10, 0)
        arm = Effector(Sphere(0.05), (0.3, 0.3, 0.6))
        return MpmModel([], [0.0] * 3, [1.0] * 3, 0.1, 0.02, effectors=[arm], inflows=[nozzle], dtype=self.dtype)

    def cost(self, state):
        return (state.active[..., None] * state.position).sum((1, 2))

    def camera(self):
        return Camera((0.5, -2.0, 0.8), (0.5, 0.5, 0.5))


def test_environments_of_a_task_with_an_inflow_are_reset_one_by_one_and_drawn_without_what_is_to_come():
    env = TaskVectorEnv(Fountain(), 2, autoreset_mode="Disabled", render_mode="rgb_array")
    assert env.reset(seed=0)[0].shape == (2, 6 * 4 + 7)
    empty = env.render()[0]
    for _ in range(3):
        env.step(np.full((2, 6), 0.5, np.float32))
    state = env._episodes.state
    assert state.active.sum(1).tolist() == [4, 4]
    assert not np.array_equal(env.render()[0], empty)
    env.reset(options={"reset_mask": np.array([True, False])})
    assert env._episodes.state.active.sum(1).tolist() == [0, 4]
    assert env._episodes.state.age.tolist() == [0, 3]
    env.step(np.zeros((2, 6), np.float32))
    assert env._episodes.state.active.sum(1).tolist() == [2, 4]


# ---- derivatives

VALUES = {
    "velocity": (0.6, 0.2),
    "position": (0.5123, 0.4871),
    "angle": (0.4,),
    "linear": (0.3, -0.2),
    "angular": (2.0,),
    "gravity": (0.5, -9.81),
    "density": (1000.0,),
    "stiffness": (1e4,),
    "other": (2.0,),
}
STEPS = 12


def nozzle_score(given, material, checkpoint=None):
    """A number that depends on everything that a turning, moving nozzle has sprayed in twelve steps, layers in ten of them."""
    matter = Liquid(*(given[k][0] for k in ("density", "stiffness", "other")))
    if material == "solid":
        matter = FixedCorotated(given["density"][0], given["stiffness"][0], given["other"][0] * 0.15)
    solver = turning_nozzle(given["velocity"], material=matter, budget=48)
    solver = box(solver.model.inflows, effectors=solver.model.effectors, gravity=given["gravity"],
                 outflows=[Moved(Sphere(0.1, 2), (0.75, 0.6))])  # fmt: skip
    angle = given["angle"][0]
    turn = torch.stack([angle.cos(), angle.sin()])
    start = solver.initial_state(1).replace(effector_position=given["position"].view(1, 1, 2), effector_rotation=turn.view(1, 1, 2))
    controls = [EffectorControl((given["linear"] * (1 - 0.05 * k)).view(1, 1, 2), given["angular"].view(1, 1, 1)) for k in range(STEPS)]
    end = rollout(solver, start, controls, checkpoint=checkpoint).final
    assert end.outcomes() == [Outcome.OK]
    weights = torch.linspace(0.5, 1.5, solver.model.particles, dtype=torch.float64)
    total = sum(scale * (weights @ getattr(end, name)[0].reshape(len(weights), -1)).sum()
                for scale, name in ((1.0, "position"), (0.1, "velocity"), (0.01, "apic_affine"), (0.5, "internal")))  # fmt: skip
    return total, end


@pytest.mark.parametrize("material", ["liquid", "solid"])
def test_derivatives_through_emission_and_outflow_agree_with_central_differences(material):
    given = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in VALUES.items()}
    total, end = nozzle_score(given, material)
    used = int(torch.div(STEPS * 20 + 12, 13, rounding_mode="floor")) * 3
    assert int(end.active.sum()) < used <= 57, "some were emitted and some of them taken out"
    grads = torch.autograd.grad(total, list(given.values()))
    with torch.no_grad():
        for (name, value), grad in zip(given.items(), grads, strict=True):
            for k in range(len(value)):
                step = torch.zeros_like(value)
                step[k] = 1e-6 * max(1.0, float(value.abs().max()))
                ends = [float(nozzle_score({**given, name: value + sign * step}, material)[0]) for sign in (1, -1)]
                expected = (ends[0] - ends[1]) / (2 * float(step[k]))
                assert abs(expected) * max(1.0, float(value.abs().max())) > 1e-3, name
                assert float(grad[k]) == pytest.approx(expected, rel=2e-6), (name, k)


def test_derivatives_through_a_nozzle_that_turns_in_space_agree_with_central_differences():
    values = {"velocity": (0.6, 0.2, 0.1), "angular": (0.5, -1.0, 2.0), "rotation": (0.9, 0.3, -0.2, 0.1), "linear": (0.1, 0.2, -0.3)}
    given = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in values.items()}

    def final(velocity, angular, rotation, linear):
        solver = turning_nozzle(velocity, 3, interval=0.013, budget=90)
        start = solver.initial_state(1).replace(effector_rotation=(rotation / rotation.norm()).view(1, 1, 4))
        end = play(solver, start, EffectorControl(linear.view(1, 1, 3), angular.view(1, 1, 3)), 3)
        assert int(end.active.sum()) == 9 * 5
        return (end.position * torch.linspace(0.5, 1.5, 90, dtype=torch.float64)[:, None]).sum()

    grads = torch.autograd.grad(final(**given), list(given.values()))
    with torch.no_grad():
        for (name, value), grad in zip(given.items(), grads, strict=True):
            for k in range(len(value)):
                step = torch.zeros_like(value)
                step[k] = 1e-6
                ends = [float(final(**{**given, name: value + sign * step})) for sign in (1, -1)]
                assert float(grad[k]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-7), (name, k)


@pytest.mark.parametrize("checkpoint", [1, 5, "sqrt"])
def test_a_checkpointed_rollout_has_the_bits_of_an_unchecked_one(checkpoint):
    results = []
    for knob in (None, checkpoint):
        given = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in VALUES.items()}
        total, end = nozzle_score(given, "liquid", knob)
        results.append((total, end.active, *torch.autograd.grad(total, list(given.values()))))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_inactive_particles_pass_their_derivative_on_and_feel_nothing_of_the_rest():
    solver = box([jet(budget=12)], outflows=[Moved(Box((0.5, 0.1)), (0.5, 0.9))], bodies=[Body(MOUTH + 0.2, WATER, 0.025**2)])
    start = solver.initial_state(1)
    start = start.replace(active=start.active & (torch.arange(15) != 1))
    position = start.position.clone().requires_grad_()
    end = play(solver, start.replace(position=position), solver.rest_control(1), 2)
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(end.position.shape, generator=draw, dtype=torch.float64)
    grad = torch.autograd.grad((end.position * weights).sum(), position)[0]
    waiting = ~end.active[0]
    assert int(waiting.sum()) == 1 + 6
    assert torch.equal(grad[0, waiting], weights[0, waiting])
    came = end.active[0] & ~start.active[0]
    assert int(came.sum()) == 6
    assert torch.equal(grad[0, came], torch.zeros(6, 2, dtype=torch.float64)), "where a particle waited does not matter once it is emitted"


def test_an_environment_without_any_active_particle_steps_and_differentiates_like_the_others():
    solver = box([jet(interval=0.06)])
    start = play(solver, solver.initial_state(3), solver.rest_control(3), 1)
    empty = start.replace(active=start.active & torch.tensor([[True], [False], [True]]))
    ends, grads = [], []
    for state in (empty, empty[1], empty[2]):
        position = state.position.clone().requires_grad_()
        end = play(solver, state.replace(position=position), solver.rest_control(state.batch), 2)
        ends.append(end)
        grads.append(torch.autograd.grad(end.position.square().sum(), position)[0])
    assert ends[0].active.sum(1).tolist() == [3, 0, 3]
    assert ends[0].age.tolist() == [3, 3, 3]
    assert same(ends[0][1], ends[1])
    assert same(ends[0][2], ends[2])
    assert torch.equal(ends[1].position, empty[1].position)
    assert torch.equal(grads[0][1:], torch.cat(grads[1:]))
    assert torch.equal(grads[1], 2 * empty[1].position)


# ---- seeding and bad input


def test_a_seeded_disc_of_a_nozzle_is_normal_to_the_velocity_and_as_dense_as_a_body():
    flow = Inflow.seeded(Moved(Sphere(0.1), (0.5, 0.4, 0.6)), WATER, 0.05, (0.0, 0.0, -0.5), 1000)
    assert flow.interval == pytest.approx(0.025 / 0.5)
    assert flow.volume == pytest.approx(0.025**3)
    assert flow.budget == 1000 // len(flow.points) * len(flow.points)
    assert len(flow.points) * 0.025**2 == pytest.approx(math.pi * 0.01, rel=0.05)
    assert torch.allclose(flow.points.mean(0), torch.tensor([0.5, 0.4, 0.6], dtype=torch.float64))
    assert torch.equal(flow.points[:, 2], torch.full_like(flow.points[:, 2], 0.6))
    slanted = Inflow.seeded(Cylinder(0.1, 0.01), WATER, 0.05, torch.tensor([0.3, 0.4, 0.5]), 50, per_axis=4)
    assert float((slanted.points @ torch.tensor([0.3, 0.4, 0.5], dtype=torch.float64)).abs().max()) < 1e-8
    flat = Inflow.seeded(Box((0.1, 0.06)), WATER, 0.05, (1.0, 0.0), 100)
    assert flat.points[:, 1].tolist() == pytest.approx([-0.0375, -0.0125, 0.0125, 0.0375])


@pytest.mark.parametrize(
    ("inflow", "message"),
    [
        (jet(points=MOUTH + 0.6), "places particles outside the box"),
        (jet((-11.0, 0.0), 0.013, points=MOUTH + torch.tensor([0.6, 0.0])), "m behind it inside"),
        (jet(points=MOUTH * float("nan")), "finite"),
        (jet(points=torch.zeros(0, 2)), "at least one row"),
        (jet(points=torch.zeros(3, 3)), r"\[M, 2\]"),
        (jet(budget=2), "whole number of layers of 3 particles, such as 3"),
        (jet(budget=61), "such as 60"),
        (jet(budget=6.0), "budget of inflow 0 is 6.0"),
        (jet((0.0, 0.0)), "is zero"),
        (jet((float("inf"), 0.0)), "finite numbers"),
        (jet((1.0, 0.0, 0.0)), r"\[2\] or \[B, 2\]"),
        (jet(interval=0.0), "interval of inflow 0 is 0.0"),
        (jet(interval=-1.0), "interval"),
        (jet(interval=1e-9), "millionth"),
        (jet(effector=0), "the model has 0, counted from 0"),
        (jet(effector=-1), "effector -1"),
        (dataclasses.replace(jet(), volume=0.0), "volume"),
    ],
)
def test_an_inflow_that_cannot_be_is_refused(inflow, message):
    with pytest.raises(ModelError, match=message):
        box([inflow])


def test_seeding_refuses_what_makes_no_mouth():
    with pytest.raises(ModelError, match="no particle"):
        Inflow.seeded(Sphere(0.001), WATER, 0.05, (1.0, 0.0, 0.0), 100)
    with pytest.raises(ModelError, match="not zero"):
        Inflow.seeded(Sphere(0.1), WATER, 0.05, (0.0, 0.0, 0.0), 100)
    with pytest.raises(ModelError, match="such as"):
        box([Inflow.seeded(Moved(Sphere(0.1, 2), (0.5, 0.5)), WATER, 0.05, (1.0, 0.0), 3)])


def test_an_outflow_of_another_dimension_and_a_box_of_nothing_are_refused():
    with pytest.raises(ModelError, match="Outflow 0 must have 2"):
        box([jet()], outflows=[Sphere(0.1)])
    with pytest.raises(ModelError, match="at least one body or inflow"):
        box()


def test_velocities_for_another_batch_and_a_state_without_its_flags_are_refused():
    solver = box([jet(torch.tensor([[1.0, 0.0], [0.5, 0.0]], dtype=torch.float64))])
    with pytest.raises(ShapeError, match="one value for each environment"):
        solver.step(solver.initial_state(3), solver.rest_control(3))
    state = solver.initial_state(2)
    with pytest.raises(ShapeError, match=r"state.active is torch.int32"):
        solver.step(state.replace(active=state.active.int()), solver.rest_control(2))
    with pytest.raises(ShapeError, match=r"state.age is torch.int32"):
        solver.step(state.replace(age=state.age.int()), solver.rest_control(2))
