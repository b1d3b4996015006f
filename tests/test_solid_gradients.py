"""Derivatives of implicit steps with respect to everything that the solver claims, against central differences."""

import math

import numpy as np
import pytest
import torch
from solids import F64, LAWS, bar, cantilever, check, drag_scene, moved, number, play, press_and_drag, score, solver, where

from pliant.sim.core import Outcome
from pliant.sim.mesh_shapes import boundary_edges, tetrahedral_box
from pliant.sim.rollout import rollout
from pliant.sim.shell import ShellMaterial
from pliant.sim.shell.topology import ShellTopology
from pliant.sim.solid import Clamp, Contact, Handle, Kinematic, Pin, Rigid, SolidSolver

INTEGRATORS = ("implicit_euler", "bdf2", "static")
SCALES = {
    "position": 1e-3, "velocity": 0.1, "plastic_bend": 1e-3, "plastic_curvature": 10.0, "handle_position": 1e-2, "handle_rotation": 1.0,
    "previous_position": 1e-3, "previous_velocity": 0.1,
}  # fmt: skip
"""What a change of each field of a state is worth, so that all count."""
SHEET = {"youngs_modulus": 2e7, "poisson_ratio": 0.3, "thickness": 3e-4, "density": 900.0, "yield_curvature": 4.0, "hardening": 0.4}
STATE = {name: 1e-5 * scale for name, scale in SCALES.items()}
STATE["handle_rotation"] = 1e-7  # a small turn is large at the rim
CONTROL = {"linear_velocity": 1e-6, "angular_velocity": 1e-4, "force": 1e-8}
RESTING = {**STATE, **CONTROL, "rest": 1e-9, "rest_angle": 1e-6}
GRAVITY = torch.tensor([0.5, -1.0, -9.81], dtype=F64)


def under_way(s):
    """The initial state as if there had been a step before it, whose end BDF2 looks at."""
    state = s.initial_state()
    return state.replace(age=state.age + 1, previous_position=state.position - s.model.dt * state.velocity)


def advance(s, inputs, count=2):
    """A number that depends on all of the state after some steps, from a start and with controls that `inputs` change."""
    state, control = under_way(s), s.rest_control()
    state = state.replace(**{name: getattr(state, name) + inputs[name] for name in STATE if name in inputs})
    for _ in range(count):
        state = s.step(state, control.replace(**{name: getattr(control, name) + inputs[name] for name in CONTROL}))
        assert state.outcomes() == [Outcome.OK]
    return score(state, SCALES)


def at_rest(s, names):
    """Changes of state and control that are random and small."""
    draw = torch.Generator().manual_seed(2)
    records = {**s.initial_state().floats(), **s.rest_control().floats()}
    size = {**{name: 1e-2 * scale for name, scale in SCALES.items()}, "linear_velocity": 0.02, "angular_velocity": 0.5, "force": 1e-6}
    return {name: size[name] * torch.randn(records[name].shape, generator=draw, dtype=F64) for name in names if records[name].numel()}


def unused(integrator, names):
    """The fields of a state that a step with this integrator does not read."""
    previous = {"previous_position", "previous_velocity"}
    return {"implicit_euler": previous, "bdf2": set(), "static": {*previous, "velocity"}}[integrator] & set(names)


def strip(p, integrator="implicit_euler", **laws):
    """A film that is clamped at one end and held by a gripper at the other, bent beyond its yield."""
    scene = cantilever(ShellMaterial(*(p[name] for name in SHEET), **laws), 4, 2, rest=p["rest"], rest_angle=p.get("rest_angle"))
    body = scene["bodies"][0]
    edges = boundary_edges(body.mesh, where(body, 0, 0.0))
    clamp = Clamp("film", edges, p["clamp_direction"], rest_direction=p.get("rest_direction", (-1.0, 0.0, -0.1)))
    grip = Handle("grip", (0.06, 0.0, 0.0), {"film": where(body, 0, 0.06)})
    return solver(
        scene["bodies"], gravity=p["gravity"], pins=scene["pins"], clamps=[clamp], handles=[grip], integrator=integrator, tolerance=1e-11
    )


def strip_inputs(laws, integrator):
    mesh = cantilever(columns=4)["bodies"][0].mesh
    wave = 3e-4 * np.sin(150 * mesh.vertices[:, 0] + 40 * mesh.vertices[:, 1])
    given = {
        **{name: number(value) for name, value in SHEET.items()},
        "rest": torch.from_numpy(mesh.vertices + wave[:, None] * np.array([0.0, 0.0, 1.0])),
        "clamp_direction": number([-0.97, 0.05, 0.2]),
        "gravity": GRAVITY,
    }
    given |= at_rest(strip(given, integrator, **laws), [*STATE, *CONTROL])
    return {**given, "plastic_curvature": given["plastic_curvature"].abs()}


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("laws", [{}, {"membrane": "neo_hookean"}, {"bending": "hinge"}], ids=["mid_edge", "neo_hookean", "hinge"])
def test_every_derivative_of_a_shell(laws, integrator):
    given = strip_inputs(laws, integrator)
    edges = len(ShellTopology.of(strip(given).model.bodies[0].mesh.faces).edges)
    given["rest_angle"] = 0.02 * torch.randn(edges, generator=torch.Generator().manual_seed(4), dtype=F64)
    s = strip(given, integrator, **laws)
    state = s.initial_state().replace(plastic_curvature=given["plastic_curvature"])
    assert bool((play(s, state).plastic_curvature > state.plastic_curvature).any())
    check(lambda p: advance(strip(p, integrator, **laws), p), given, RESTING, 1e-6, unused(integrator, given))


@pytest.mark.parametrize("laws", [{}, {"bending": "hinge"}], ids=["mid_edge", "hinge"])
def test_the_derivatives_in_the_directions_of_a_clamp_now_and_at_rest(laws):
    given = strip_inputs(laws, "implicit_euler")
    edges = number([[-1.0, 0.0, -0.1], [-0.9, 0.1, 0.2]])
    given |= {"clamp_direction": edges + 0.05, "rest_direction": edges}
    moving = {name: given[name] for name in ("clamp_direction", "rest_direction", "rest")}
    check(lambda p: advance(strip({**given, **p}, **laws), {**given, **p}), moving, RESTING, 1e-6)


@pytest.mark.parametrize("laws", [{}, {"bending": "hinge"}], ids=["mid_edge", "hinge"])
def test_every_derivative_of_a_sheet_that_is_held_still_after_it_yielded(laws):
    """It lies on the yield surface, where rounding says whether it flows."""
    given = {name: value for name, value in strip_inputs(laws, "static").items() if name in (*SHEET, "rest", "clamp_direction", "gravity")}
    given["yield_curvature"] = number(2.0)

    def final(p):
        s = strip(p, "static", **laws)
        control = s.rest_control()
        state = play(s, s.initial_state(), control.replace(linear_velocity=number([[[-0.02, 0.0, 0.05]]])), 3)
        return score(play(s, state, control), SCALES)

    check(final, given, RESTING, 1e-6)


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("law", [*LAWS])
def test_every_derivative_of_a_solid(law, integrator):
    given = {"youngs_modulus": number(1e5), "poisson_ratio": number(0.3), "density": number(1000.0), "gravity": GRAVITY}
    mesh = bar(cells=(2, 1, 1)).mesh
    shake = np.random.default_rng(3).normal(size=mesh.vertices.shape)
    given["rest"] = torch.from_numpy(mesh.vertices + 1e-3 * shake)

    def scene(p):
        body = bar(LAWS[law], cells=(2, 1, 1), rest=p["rest"], **{name: p[name] for name in ("youngs_modulus", "poisson_ratio", "density")})
        grip = Handle("grip", (0.1, 0.0, 0.0), {"bar": where(body, 0, 0.09)})
        pins = [Pin("bar", where(body, 0, 0.0))]
        return solver([body], gravity=p["gravity"], pins=pins, handles=[grip], integrator=integrator, tolerance=1e-11)

    given |= at_rest(scene(given), [*STATE, *CONTROL])
    given["force"] = given["force"] * 1e4
    steps = {**STATE, **CONTROL, "rest": 1e-7, "force": 1e-5}
    check(lambda p: advance(scene(p), p), given, steps, 1e-6, unused(integrator, given))


@pytest.mark.parametrize("integrator", INTEGRATORS[:2])
def test_every_derivative_of_a_rigid_body(integrator):
    box = tetrahedral_box((0.1, 0.06, 0.04), (1, 1, 1))

    def scene(p):
        body = Rigid(box, "it", density=p["density"], velocity=(0.2, 0.0, 0.1), angular_velocity=(3.0, -5.0, 8.0))
        return solver([body], gravity=p["gravity"], integrator=integrator, tolerance=1e-11)

    given = {"density": number(700.0), "gravity": GRAVITY}
    given |= at_rest(scene(given), ["velocity", "previous_velocity", "force"])
    given["force"] = given["force"] * 1e4
    steps = {"velocity": 1e-6, "previous_velocity": 1e-6, "force": 1e-5}
    check(lambda p: advance(scene(p), {**p, **no_motion(scene(p))}, 3), given, steps, 1e-6, unused(integrator, given))


def no_motion(s):
    return {name: torch.zeros_like(value) for name, value in s.rest_control().floats().items() if name != "force"}


def dragged(p, integrator, press, drag):
    """A number that depends on all of the state after a gripper pressed a pad on a film and dragged it, while a cube rode along."""
    names = ("friction", "youngs_modulus", "pad_modulus", "density", "gravity")
    s = drag_scene(**{name: p[name] for name in names if name in p}, integrator=integrator, tolerance=1e-10)
    controls = [c.replace(**{n: getattr(c, n) + p[n] for n in CONTROL if n in p}) for c in press_and_drag(s, press=press, drag=drag)]
    state = under_way(s)
    state = state.replace(**{name: getattr(state, name) + p[name] for name in (*STATE, "contact_stiffness") if name in p})
    end = rollout(s, state, controls).final
    assert end.outcomes() == [Outcome.OK]
    return score(end, SCALES)


TOUCHING = {
    "friction": number(0.4), "youngs_modulus": number(2e7), "pad_modulus": number(1e5), "density": number(400.0),
    "gravity": number([0.0, 0.5, -9.81]), "contact_stiffness": number([10.0]), **{name: torch.zeros(1, 1, 3, dtype=F64) for name in CONTROL},
    **{name: torch.zeros(1, 1, 3, dtype=F64) for name in ("position", "velocity", "previous_position", "previous_velocity")},
}  # fmt: skip
"""States and forces move as one; that each entry counts for itself is tested without contact."""


@pytest.mark.parametrize(
    ("integrator", "names"), [("implicit_euler", [*TOUCHING][:-2]), ("bdf2", ["friction", "density", *[*TOUCHING][-4:]])]
)
def test_every_derivative_with_contact_and_friction(integrator, names):
    steps = {**dict.fromkeys(TOUCHING, 1e-7), "linear_velocity": 1e-6, "angular_velocity": 1e-4, "force": 1e-9}
    steps = {name: step for name, step in steps.items() if not bool(TOUCHING[name].any())}
    check(lambda p: dragged(p, integrator, 3, 2), {name: TOUCHING[name] for name in names}, steps, 1e-4)


def test_every_derivative_of_an_equilibrium_with_contact_and_friction():
    """A stiff finger presses the free end of a clamped film, and slides along it."""

    def final(p):
        scene = cantilever(ShellMaterial(p["youngs_modulus"], 0.3, p["thickness"], 900.0), 4, 2)
        scene["bodies"].append(Kinematic(moved(tetrahedral_box((0.008, 0.006, 0.004), (1, 1, 1)), 0.042, 0.004, 9e-4), "finger"))
        contact = Contact(1e-3, friction=p["friction"], friction_speed=5e-3)
        grip = Handle("grip", (0.046, 0.007, 9e-4), {"finger": None})
        s = solver(**scene, gravity=p["gravity"], contact=contact, handles=[grip], integrator="static", tolerance=1e-10)
        state, control = s.initial_state(), s.rest_control()
        state = state.replace(position=state.position + p["position"])
        for way in ((0.0, 0.0, -0.1), (0.0, 0.0, -0.1), (0.1, 0.02, 0.0)):
            state = play(
                s, state, control.replace(linear_velocity=p["linear_velocity"] + number(way), angular_velocity=p["angular_velocity"])
            )
        assert float(s.energies(state)["contact"].detach()) > 0
        return score(state, SCALES)

    given = {"friction": number(0.4), "youngs_modulus": number(1e9), "thickness": number(3e-4), "gravity": GRAVITY}
    given |= {name: torch.zeros(1, 1, 3, dtype=F64) for name in ("position", "linear_velocity", "angular_velocity")}
    check(final, given, {"position": 1e-8, "linear_velocity": 1e-6, "angular_velocity": 1e-4}, 1e-4)


def test_the_friction_of_every_pair_of_bodies_has_its_derivative():
    def final(p):
        s = drag_scene({("pad", "film"): p["pad"], ("film", "table"): p["table"]}, tolerance=1e-10)
        return score(rollout(s, s.initial_state(), press_and_drag(s, press=3, drag=2)).final, SCALES)

    check(final, {"pad": number(0.5), "table": number(0.2)}, {}, 1e-4)


def test_the_parameters_of_an_own_law_have_derivatives():
    def energy(F, par):
        """Stretches in each axis of the grid have a stiffness of their own."""
        strain = (F.mT @ F - torch.eye(3, dtype=F.dtype)) / 2
        return 0.5 * (par * torch.diagonal(strain) ** 2).sum() + par.sum() * (strain**2).sum() / 6

    from pliant.sim.solid import Hyperelastic, Solid

    mesh = tetrahedral_box((0.09, 0.03, 0.03), (2, 1, 1))

    def final(p):
        body = Solid(mesh, "bar", material=Hyperelastic(p["density"], energy, list(p["stiffness"].unbind())))
        s = solver([body], pins=[Pin("bar", where(body, 0, 0.0))], tolerance=1e-11)
        return score(play(s, s.initial_state(), steps=3), SCALES)

    check(final, {"density": number(1000.0), "stiffness": number([1e5, 5e4, 2e4])}, {"stiffness": 1.0, "density": 1e-2}, 1e-6)


def test_parameters_of_a_batch_get_each_their_own_derivative():
    stiff = torch.tensor([5e4, 1e5, 2e5], dtype=F64, requires_grad=True)

    def ends(values):
        body = bar(cells=(2, 1, 1), youngs_modulus=values)
        s = solver([body], pins=[Pin("bar", where(body, 0, 0.0))], tolerance=1e-11)
        return play(s, s.initial_state(max(1, values.numel())), steps=2).position[:, -1, 2]

    together = ends(stiff)
    for b in range(3):
        alone = stiff.detach()[b].clone().requires_grad_()
        (expected,) = torch.autograd.grad(ends(alone).sum(), alone)
        (found,) = torch.autograd.grad(together[b], stiff, retain_graph=True)
        assert float(found[b]) == pytest.approx(float(expected), rel=1e-13)
        assert float(found[torch.arange(3) != b].abs().max()) == 0.0


def test_a_parameter_of_single_precision_gets_its_derivative():
    modulus = torch.tensor(1e5, requires_grad=True)
    body = bar(cells=(1, 1, 1), youngs_modulus=modulus)
    s = solver([body], pins=[Pin("bar", where(body, 0, 0.0))])
    play(s, s.initial_state(), steps=2).position.sum().backward()
    assert modulus.grad.dtype == torch.float32
    assert math.isfinite(float(modulus.grad))
    assert float(modulus.grad) != 0


def test_every_claim_of_a_derivative_is_tested_above():
    tested = {*SHEET, *STATE, *CONTROL, *TOUCHING, "rest", "rest_angle", "clamp_direction", "gravity"} - {"pad_modulus"}
    assert tested == set(SolidSolver.capabilities.differentiable)
