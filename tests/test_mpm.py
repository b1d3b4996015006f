import dataclasses
import math

import pytest
import torch
from scenes import OF_MATERIAL, PARAMETERS, corner_scene, play, score, turning

from pliant.errors import ModelError, ShapeError
from pliant.sim.core import Outcome
from pliant.sim.materials import FixedCorotated, Liquid
from pliant.sim.mpm import Body, Effector, EffectorControl, MpmModel, MpmSolver, MpmState
from pliant.sim.mpm.engine import Engine
from pliant.sim.rollout import rollout
from pliant.sim.rotation import rotation_matrix, turned
from pliant.sim.sdf import Box, GridSdf, Sphere

MATERIALS = tuple(OF_MATERIAL)


def slope_errors(inputs, function, step=1e-6):
    """Relative errors of autograd's slopes against central differences, for every input in turn, along a fixed random direction."""
    draw = torch.Generator().manual_seed(1)
    grads = torch.autograd.grad(function(*inputs.values()), list(inputs.values()), allow_unused=True)
    errors = {}
    with torch.no_grad():
        for (name, value), grad in zip(inputs.items(), grads, strict=True):
            direction = torch.randn(value.shape, dtype=value.dtype, generator=draw) * max(1.0, float(value.abs().max()))
            ends = [function(*(v + s * step * direction if n == name else v for n, v in inputs.items())) for s in (1, -1)]
            expected = float(ends[0] - ends[1]) / (2 * step)
            found = 0.0 if grad is None else float((grad * direction).sum())
            errors[name] = abs(found - expected) / (abs(expected) + 1e-4 * abs(float(ends[0])) + 1e-12)
    return errors


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", MATERIALS)
def test_the_gradient_of_every_parameter_and_control_agrees_with_central_differences(name, dimension):
    """Through 30 substeps with a Coulomb corner and a turning, coming ball."""
    names = (*OF_MATERIAL[name], "friction", "softness", "wall_friction", "gravity")
    inputs = {n: torch.tensor(PARAMETERS[n], dtype=torch.float64, requires_grad=True) for n in names}
    inputs["linear"] = torch.tensor([0.3] + [0.0] * (dimension - 2) + [-1.0], dtype=torch.float64, requires_grad=True)
    inputs["angular"] = torch.full((1 if dimension == 2 else 3,), 3.0, dtype=torch.float64, requires_grad=True)

    def final(*values):
        given = dict(zip(inputs, values, strict=True))
        control = given.pop("linear"), given.pop("angular")
        solver = corner_scene(name, dimension, **given)
        state = play(solver, solver.initial_state(1), turning(solver, 1, *control), 3)
        assert state.outcomes() == [Outcome.OK]
        return score(state).sum()

    errors = slope_errors(inputs, final)
    assert max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize("walls", ["slip", "separate", "sticky"])
@pytest.mark.parametrize("name", MATERIALS)
def test_the_gradient_of_the_state_agrees_with_central_differences(name, walls):
    solver = corner_scene(name, 2, walls=walls)
    start = play(solver, solver.initial_state(1), turning(solver), 1).detach()
    fields = tuple(start.floats())
    inputs = {n: getattr(start, n).clone().requires_grad_() for n in fields}

    def final(*values):
        state = play(solver, start.replace(**dict(zip(fields, values, strict=True))), turning(solver), 2)
        return score(state).sum()

    errors = slope_errors({n: v for n, v in inputs.items() if v.numel()}, lambda *v: final(*_with_empty(inputs, v)), step=1e-7)
    assert max(errors.values()) < 1e-5, errors


def _with_empty(inputs, values):
    given = iter(values)
    return [next(given) if value.numel() else value for value in inputs.values()]


def test_more_substeps_than_a_chunk_and_particles_that_change_blocks_keep_the_gradient_exact():
    """A step of 80 substeps is recorded in three parts, and particles at 1.5 m/s cross many blocks."""
    speed = torch.tensor(-1.5, dtype=torch.float64, requires_grad=True)

    def final(value):
        solver = corner_scene("neo_hookean", 2, tool=False, substeps=80, dt=0.16, walls="slip")
        state = solver.initial_state(1)
        state = state.replace(velocity=torch.stack([value * torch.ones_like(state.velocity[..., 0]), state.velocity[..., 1]], -1))
        return score(solver.step(state, solver.rest_control(1))).sum()

    assert slope_errors({"speed": speed}, final)["speed"] < 1e-6


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_batch_gives_the_same_bits_as_its_environments_alone(dimension):
    solver = corner_scene("elastoplastic", dimension)
    state = solver.initial_state(3)
    state = state.replace(velocity=state.velocity * torch.tensor([1.0, 0.3, -1.4], dtype=torch.float64).view(3, 1, 1))
    together = play(solver, state, turning(solver, 3), 6)
    for env in range(3):
        alone = play(solver, state[env], turning(solver, 1), 6)
        assert all(torch.equal(a, b) for a, b in zip(alone.tensors(), together[env].tensors(), strict=True))


def test_memory_that_is_used_again_leaves_nothing_behind():
    solver = corner_scene("elastoplastic", 2, walls="slip")
    velocity = solver.initial_state(1).velocity.requires_grad_()
    results = []
    for _ in range(2):
        end = play(solver, solver.initial_state(1).replace(velocity=velocity), turning(solver), 2)
        results.append((score(end), torch.autograd.grad(score(end).sum(), velocity)[0]))
        kept = [array for free in solver._engine._memory._free.values() for array in free]
        assert kept
        for array in kept:
            array.fill_(torch.nan)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("dimension", [2, 3])
def test_threads_that_share_each_stage_give_what_one_alone_gives(dimension, monkeypatch):
    results = []
    for alone in (True, False):
        monkeypatch.setattr(Engine, "by_environment", lambda self, x, alone=alone: alone)
        solver = corner_scene("elastoplastic", dimension, walls="slip")
        state = solver.initial_state(2)
        velocity = (state.velocity * torch.tensor([1.0, -0.4], dtype=torch.float64).view(2, 1, 1)).requires_grad_()
        end = play(solver, state.replace(velocity=velocity), turning(solver, 2), 4)
        results.append((score(end), torch.autograd.grad(score(end).sum(), velocity)[0]))
    assert all(torch.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in zip(*results, strict=True))


def test_the_same_run_gives_the_same_bits_and_leaves_its_inputs_alone():
    solver = corner_scene("liquid", 3)
    state, control = solver.initial_state(2), turning(solver, 2)
    copy = state.clone()
    first, second = play(solver, state, control, 5), play(solver, state, control, 5)
    assert all(torch.equal(a, b) for a, b in zip(first.tensors(), second.tensors(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(copy.tensors(), state.tensors(), strict=True))


def test_two_solvers_of_different_size_live_in_one_process():
    small, large = corner_scene("liquid", 2, per_axis=4), corner_scene("liquid", 2, per_axis=8)
    before = play(small, small.initial_state(1), turning(small), 3)
    play(large, large.initial_state(2), turning(large, 2), 3)
    after = play(small, small.initial_state(1), turning(small), 3)
    assert torch.equal(before.position, after.position)


@pytest.mark.parametrize("checkpoint", [1, 3, "sqrt"])
def test_a_checkpointed_rollout_has_the_bits_of_an_unchecked_one(checkpoint):
    solver = corner_scene("elastoplastic", 2)
    results = []
    for knob in (None, checkpoint):
        velocity = torch.zeros(1, 1, 2, dtype=torch.float64).requires_grad_()
        controls = [EffectorControl(velocity - 0.1 * t, torch.ones(1, 1, 1, dtype=torch.float64)) for t in range(7)]
        end = rollout(solver, solver.initial_state(1), controls, checkpoint=knob).final
        results.append((score(end), torch.autograd.grad(score(end).sum(), velocity)[0]))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_momentum_and_mass_centre_of_a_free_body_are_kept():
    solver = free_body(FixedCorotated(1000.0, 1e4, 0.3), spin=4.0)
    start = solver.initial_state(1)
    end = play(solver, start, solver.rest_control(1), 20)
    assert torch.allclose(end.velocity.mean(1), start.velocity.mean(1), atol=1e-13)
    assert torch.allclose(end.position.mean(1), start.position.mean(1) + 20 * solver.model.dt * start.velocity.mean(1), atol=1e-13)


def free_body(matter, spin=0.0, drift=(0.2, 0.1)):
    line = (torch.arange(10, dtype=torch.float64) + 0.5) / 10 * 0.2 + 0.4
    points = torch.cartesian_prod(line, line)
    r = points - points.mean(0)
    velocity = torch.stack([-spin * r[:, 1], spin * r[:, 0]], 1) + torch.tensor(drift, dtype=torch.float64)
    return MpmSolver(
        MpmModel([Body(points, matter, 0.02**2, velocity)], (0, 0), (1, 1), 0.04, 0.01, gravity=(0.0, 0.0), dtype=torch.float64)
    )


def test_a_failed_environment_is_frozen_and_marked_while_the_others_go_on():
    solver = corner_scene("neo_hookean", 2, tool=False)
    state = solver.initial_state(4)
    position, velocity = state.position.clone(), state.velocity.clone()
    velocity[1] *= 60.0
    position[2, 3, 0] = float("nan")
    position[3, :, 0] += 0.6
    start = state.replace(position=position, velocity=velocity)
    end = play(solver, start, solver.rest_control(4), 3)
    assert end.outcomes() == [Outcome.OK, Outcome.TOO_FAST, Outcome.NOT_FINITE, Outcome.OUT_OF_DOMAIN]
    for env in (1, 3):
        assert torch.equal(end.velocity[env], start.velocity[env])
    assert torch.equal(end.position[0], play(solver, start[0], solver.rest_control(1), 3).position[0])


def test_the_gradient_of_a_running_environment_ignores_a_failed_neighbour():
    solver = corner_scene("neo_hookean", 2, tool=False)
    state = solver.initial_state(2)
    speed = torch.tensor([1.0, 60.0], dtype=torch.float64, requires_grad=True)
    end = play(solver, state.replace(velocity=state.velocity * speed.view(2, 1, 1)), solver.rest_control(2), 3)
    assert end.outcomes() == [Outcome.OK, Outcome.TOO_FAST]
    (together,) = torch.autograd.grad(score(end)[0], speed)
    alone = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(
        score(play(solver, state[0].replace(velocity=state.velocity[:1] * alone), solver.rest_control(1), 3)).sum(), alone
    )
    assert torch.equal(together, torch.stack([grad[0], torch.zeros((), dtype=torch.float64)]))


def test_parameters_may_differ_between_environments():
    stiff = torch.tensor([5e3, 1e4], dtype=torch.float64, requires_grad=True)
    solver = corner_scene("neo_hookean", 2, stiffness=stiff)
    end = score(play(solver, solver.initial_state(2), turning(solver, 2), 3))
    for env in range(2):
        alone = stiff.detach()[env].clone().requires_grad_()
        single = corner_scene("neo_hookean", 2, stiffness=alone)
        value = score(play(single, single.initial_state(1), turning(single), 3))
        assert torch.allclose(value[0], end[env], rtol=1e-13)
        (expected,) = torch.autograd.grad(value.sum(), alone)
        (found,) = torch.autograd.grad(end[env], stiff, retain_graph=True)
        assert float(found[env]) == pytest.approx(float(expected), rel=1e-10)
        assert float(found[1 - env]) == 0.0


def test_soft_contact_reaches_as_far_as_its_softness_in_metres():
    """A ball 6 cm above a block moves it only if its softness reaches that far."""
    for softness, reaches in ((0.05, False), (0.12, True)):
        line = (torch.arange(6, dtype=torch.float64) + 0.5) / 6 * 0.15
        points = torch.cartesian_prod(line + 0.17, line)
        ball = Effector(Sphere(0.08, dimension=2), (0.25, 0.15 + 0.06 + 0.08), softness=softness)
        model = MpmModel([Body(points, FixedCorotated(1000.0, 1e4, 0.3), 0.025**2)], (0, 0), (0.5, 0.5), 0.025, 1e-3, effectors=[ball],
                         gravity=(0.0, 0.0), dtype=torch.float64)  # fmt: skip
        solver = MpmSolver(model)
        rest = solver.rest_control(1)
        end = solver.step(solver.initial_state(1), rest.replace(linear_velocity=rest.linear_velocity + torch.tensor([0.0, -0.5])))
        assert bool(end.velocity.abs().max() > 1e-6) is reaches


def test_a_liquid_stays_in_a_glass_with_walls_of_one_and_a_half_cells():
    from pliant.envs import make_task

    task = make_task("pliant/Pouring-v0", horizon=6)
    actions = torch.zeros(1, 6, 6)
    actions[..., 4] = 0.8
    with torch.no_grad():
        end = task.rollout(actions).final
    assert float(task.metrics(end)["milk_kept"]) == 1.0


def test_tools_turn_exactly_and_rotations_have_derivatives_at_rest():
    start = torch.tensor([math.cos(0.3), 0.0, math.sin(0.3), 0.0], dtype=torch.float64)
    spin = torch.tensor([0.4, -1.1, 2.0], dtype=torch.float64)
    for time in (1e-4, 0.02, 1.7):
        found = rotation_matrix(turned(start, spin, torch.tensor(time, dtype=torch.float64)))
        skew = torch.tensor([[0, -spin[2], spin[1]], [spin[2], 0, -spin[0]], [-spin[1], spin[0], 0]], dtype=torch.float64)
        assert torch.allclose(found, torch.linalg.matrix_exp(skew * time) @ rotation_matrix(start), atol=1e-13)
    for value in (torch.zeros(3, dtype=torch.float64), spin * 0.02, spin):
        assert torch.autograd.gradcheck(lambda w: turned(start, w, torch.tensor(0.5, dtype=torch.float64)), value.clone().requires_grad_())


WATER = Liquid(1000.0, 1e4)


def box_model(**changes):
    points = torch.tensor([[0.2, 0.2], [0.25, 0.2]], dtype=torch.float64)
    given = {"bodies": [Body(points, WATER, 1e-3)], "lower": (0.0, 0.0), "upper": (0.5, 0.5), "cell": 0.05, "dt": 0.01}
    return MpmModel(**{**given, **changes})


BAD_MODELS = [
    ({"cell": -0.1}, "cell is -0.1"),
    ({"cell": 0.03}, "whole number of cells"),
    ({"cell": float("nan")}, "cell is nan"),
    ({"dt": 0.0}, "dt is 0.0"),
    ({"upper": (0.5, 0.1)}, "at least 4"),
    ({"upper": (0.5, 0.5, 0.5)}, "2 or 3 entries"),
    ({"bodies": []}, "at least one body"),
    ({"walls": "rubber"}, "slip, separate, sticky, coulomb"),
    ({"walls": ("slip", "slip")}, "each of the 4 sides"),
    ({"wall_friction": -0.1}, "wall_friction"),
    ({"walls": "sticky", "wall_velocity": [[0.0, 1.0]] * 3}, r"wall_velocity must hold finite numbers, \[4, 2\]"),
    ({"walls": "sticky", "wall_velocity": [[0.0, float("nan")]] * 4}, "finite"),
    ({"walls": "sticky", "wall_velocity": [[0.0, 0.0]] * 3 + [[0.0, 1.0]]}, r"wall y\+ along its normal"),
    ({"walls": "separate", "wall_velocity": [[0.0, 1.0]] + [[0.0, 0.0]] * 3}, "wall x-, which is a separate wall"),
    ({"substeps": 0}, "substeps is 0"),
    ({"substeps": 1}, r"waves in the liquid run at 3.16 m/s.*dt <= 0.00791 s.*substeps >= 2"),
    ({"dtype": torch.float16}, "float32 or torch.float64"),
    ({"bodies": [Body(torch.tensor([[0.2, 0.6]]), WATER, 1e-3)]}, r"1 particles of body 0 lie outside.*first is number 0"),
    ({"bodies": [Body(torch.tensor([[0.2, float("inf")]]), WATER, 1e-3)]}, "not finite"),
    ({"bodies": [Body(torch.zeros(0, 2), WATER, 1e-3)]}, "at least one row"),
    ({"bodies": [Body(torch.zeros(3, 3), WATER, 1e-3)]}, r"\[N, 2\]"),
    ({"bodies": [Body(torch.ones(3, 2) * 0.2, WATER, -1.0)]}, "volume"),
    ({"effectors": [Effector(Sphere(0.1), (0.2, 0.2, 0.2))]}, "2 dimensions"),
    ({"effectors": [Effector(Sphere(0.1, dimension=2), (0.2, 0.2), friction=-1.0)]}, "friction"),
    ({"effectors": [Effector(Sphere(0.1, dimension=2), (0.2, 0.2), (1.0, 0.0, 0.0, 0.0))]}, "angle"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_MODELS)
def test_a_scene_that_cannot_be_is_refused_with_what_would_do(changes, message):
    with pytest.raises(ModelError, match=message):
        box_model(**changes)


def test_the_guard_counts_viscosity_too():
    thick = Liquid(1000.0, 1e4, viscosity=500.0)
    points = torch.tensor([[0.2, 0.2]])
    with pytest.raises(ModelError, match=r"diffuses momentum at 0.5 m"):
        box_model(bodies=[Body(points, thick, 1e-3)], substeps=2)
    assert box_model(bodies=[Body(points, thick, 1e-3)]).steps == math.ceil(0.01 / (0.125 * 0.05**2 / 0.5) - 1e-9)


BAD_TENSORS = [
    ("position", lambda t: t[:, :1], "state.position has shape"),
    ("velocity", lambda t: t.float(), "state.velocity is torch.float32"),
    ("apic_affine", lambda t: t[..., 0], "state.apic_affine has shape"),
]


@pytest.mark.parametrize(("name", "change", "message"), BAD_TENSORS)
def test_a_state_that_does_not_fit_the_model_is_refused(name, change, message):
    solver = MpmSolver(box_model(dtype=torch.float64))
    state = solver.initial_state(2)
    with pytest.raises(ShapeError, match=message):
        solver.step(state.replace(**{name: change(getattr(state, name))}), solver.rest_control(2))


def test_a_control_for_another_batch_is_refused():
    solver = corner_scene()
    with pytest.raises(ShapeError, match=r"control.linear_velocity"):
        solver.step(solver.initial_state(2), solver.rest_control(1))


def test_a_state_survives_its_file(tmp_path):
    solver = corner_scene("elastoplastic", 3)
    state = play(solver, solver.initial_state(2), turning(solver, 2), 1)
    state.save(tmp_path / "state.npz")
    again = MpmState.load(tmp_path / "state.npz")
    assert all(torch.equal(a, b) for a, b in zip(state.tensors(), again.tensors(), strict=True))


def test_seeding_is_regular_and_the_same_every_time():
    body = Body.seeded(Box((0.1, 0.1, 0.05)), WATER, 0.05)
    assert len(body.points) == 8 * 8 * 4
    assert body.volume == pytest.approx(0.025**3)
    assert torch.equal(body.points, Body.seeded(Box((0.1, 0.1, 0.05)), WATER, 0.05).points)
    assert len(Body.seeded(Box((0.1, 0.1, 0.05)), WATER, 0.05, per_axis=3).points) == 12 * 12 * 6
    with pytest.raises(ModelError, match="per_axis"):
        Body.seeded(Box((0.1, 0.1, 0.05)), WATER, 0.05, per_axis=0)


def test_a_grid_sdf_is_a_tool_as_it_is():
    grid = GridSdf.sample(Sphere(0.08, dimension=2), 0.0125, 0.2)
    ball = Effector(Sphere(0.08, dimension=2), (0.2, 0.26), friction=0.4, softness=0.1)
    states = []
    for tool in (ball, dataclasses.replace(ball, shape=grid)):
        solver = MpmSolver(box_model(effectors=[tool], dtype=torch.float64))
        states.append(play(solver, solver.initial_state(1), turning(solver), 2))
    assert torch.equal(states[0].position, states[1].position)


@pytest.mark.parametrize("claim", MpmSolver.capabilities.materials)
def test_every_material_that_the_table_claims_runs(claim):
    solver = corner_scene(claim, 2)
    assert solver.model.bodies[0].material.name == claim
    assert play(solver, solver.initial_state(1), turning(solver), 1).outcomes() == [Outcome.OK]


def test_a_closed_mesh_is_seeded_with_its_volume():
    from pliant import assets
    from pliant.sim.mesh import load_mesh

    mesh = load_mesh(f"{assets.__path__[0]}/loaf.obj")
    body = Body.seeded(GridSdf.from_mesh(mesh, 0.005, 0.01), WATER, 0.01)
    assert len(body.points) * body.volume == pytest.approx(mesh.volume, rel=0.03)


def test_starting_the_kernels_leaves_the_arithmetic_of_the_process_alone():
    """Taichi switches it to flushing subnormal numbers to zero."""
    solver = corner_scene()
    play(solver, solver.initial_state(1), turning(solver), 1)
    assert math.ulp(0.0) + 0.0 > 0.0


def test_walls_of_different_friction_survive_a_failed_environment():
    solver = corner_scene(tool=False, wall_friction=torch.tensor([[0.1] * 4, [0.2] * 4, [0.3] * 4], dtype=torch.float64))
    state = solver.initial_state(3)
    velocity = state.velocity.clone()
    velocity[1] *= 60.0
    end = play(solver, state.replace(velocity=velocity), solver.rest_control(3), 2)
    assert end.outcomes() == [Outcome.OK, Outcome.TOO_FAST, Outcome.OK]
    alone = corner_scene(tool=False, wall_friction=0.3)
    assert torch.equal(end.position[2:], play(alone, alone.initial_state(1), alone.rest_control(1), 2).position)


def sliding_walls(dimension, speed=1.0):
    """Every wall slides, each its own way [2 D, D]."""
    draw = torch.Generator().manual_seed(3)
    velocity = speed * torch.randn(2 * dimension, dimension, dtype=torch.float64, generator=draw)
    for side in range(2 * dimension):
        velocity[side, side // 2] = 0.0
    return velocity


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("walls", ["sticky", "coulomb", "mixed"])
def test_the_gradient_of_the_velocity_of_walls_agrees_with_central_differences(walls, dimension):
    """Every component on its own, of a block in a corner whose walls slide."""
    kinds = ["sticky", "coulomb", "coulomb", "sticky", "sticky", "coulomb"][: 2 * dimension] if walls == "mixed" else walls
    start = sliding_walls(dimension).requires_grad_()

    def final(velocity):
        solver = corner_scene("neo_hookean", dimension, walls=kinds, wall_velocity=velocity, per_axis=4)
        state = play(solver, solver.initial_state(1), turning(solver), 3)
        assert state.outcomes() == [Outcome.OK]
        return score(state).sum()

    grad = torch.autograd.grad(final(start), start)[0]
    corner = [(side, axis) for side in range(0, 2 * dimension, 2) for axis in range(dimension) if axis != side // 2]
    with torch.no_grad():
        for side, axis in corner:
            step = torch.zeros_like(start)
            step[side, axis] = 1e-6
            expected = float(final(start + step) - final(start - step)) / 2e-6
            assert abs(expected) > 1e-4
            assert float(grad[side, axis]) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", ["sticky", "coulomb"])
def test_a_body_between_walls_that_slide_with_it_moves_as_if_they_were_not_there(kind, dimension):
    """The walls across the last axis slide, and the block fills the room between them; it feels neither images nor friction."""
    along = [*[0.6, -0.4][: dimension - 1], 0.0]
    line = (torch.arange(8, dtype=torch.float64) + 0.5) / 40
    points = torch.cartesian_prod(*[line + 0.2] * (dimension - 1), line)
    body = Body(points, FixedCorotated(1000.0, 1e4, 0.3), 0.025**dimension, along)
    rest = [[0.0] * dimension] * (2 * dimension - 2)
    model = MpmModel(
        [body], [0.0] * dimension, [0.6] * (dimension - 1) + [0.2], 0.05, 0.02, walls=["slip"] * (2 * dimension - 2) + [kind] * 2,
        wall_friction=0.5, wall_velocity=[*rest, along, along], gravity=[0.0] * dimension, dtype=torch.float64,
    )  # fmt: skip
    solver = MpmSolver(model)
    end = play(solver, solver.initial_state(1), solver.rest_control(1), 10)
    drift = torch.tensor(along, dtype=torch.float64)
    assert float((end.velocity - drift).abs().max()) < 1e-13
    assert float((end.position - points - 0.2 * drift).abs().max()) < 1e-13
    assert float((end.deformation_gradient - torch.eye(dimension, dtype=torch.float64)).abs().max()) < 1e-12


def test_walls_that_slide_at_no_speed_give_what_walls_at_rest_give():
    for walls in ("sticky", "coulomb"):
        ends = []
        for velocity in (None, torch.zeros(4, 2)):
            solver = corner_scene("liquid", 2, walls=walls, wall_velocity=velocity)
            ends.append(play(solver, solver.initial_state(1), turning(solver), 6))
        assert torch.allclose(ends[0].position, ends[1].position, rtol=0, atol=1e-14)


def test_every_environment_has_walls_of_its_own_speed():
    speeds = torch.stack([sliding_walls(2, speed) for speed in (0.5, -1.0)])
    solver = corner_scene("liquid", 2, walls="sticky", wall_velocity=speeds)
    together = play(solver, solver.initial_state(2), turning(solver, 2), 6)
    for env in range(2):
        alone = corner_scene("liquid", 2, walls="sticky", wall_velocity=speeds[env])
        end = play(alone, alone.initial_state(1), turning(alone), 6)
        assert all(torch.equal(a, b) for a, b in zip(end.tensors(), together[env].tensors(), strict=True))


def test_a_lid_pushes_nothing_through_the_walls_beside_it():
    """A liquid under a fast sticky lid stays in the box: at the walls beside it their normal velocity is zero, up to the corner."""
    line = (torch.arange(20, dtype=torch.float64) + 0.5) / 40
    body = Body(torch.cartesian_prod(line, line), Liquid(1000.0, 1e5, 20.0), 0.025**2)
    lid = [[0.0, 0.0]] * 3 + [[1.0, 0.0]]
    for walls in ("sticky", ["slip", "slip", "slip", "sticky"]):
        model = MpmModel(
            [body], (0.0, 0.0), (0.5, 0.5), 0.05, 0.02, walls=walls, wall_velocity=lid, gravity=(0.0, 0.0), dtype=torch.float64
        )
        solver = MpmSolver(model)
        end = play(solver, solver.initial_state(1), solver.rest_control(1), 60)
        assert end.outcomes() == [Outcome.OK]
        assert float(end.position.min()) > 0.0
        assert float(end.position.max()) < 0.5
        assert float(end.velocity[..., 0].max()) > 0.5


def test_the_voxels_of_a_tool_do_not_move_with_its_softness():
    lattices = [
        MpmModel.voxels(box_model(), Effector(Sphere(0.08, dimension=2), (0.2, 0.2), softness=soft)) for soft in (0.03, 0.0371, 0.1)
    ]
    steps = [(grid.lower - lattices[0].lower) / grid.spacing for grid in lattices]
    assert all(torch.allclose(step, step.round(), atol=1e-9) for step in steps)
