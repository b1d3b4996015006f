"""What handles feel of the bodies that they hold: known forces, derivatives, action and reaction."""

import numpy as np
import pytest
import torch
from solids import F64, LAWS, NONE, bar, check, film, moved, number, own_rubber, play, solver, where

from pliant.errors import ShapeError
from pliant.sim.core import Outcome
from pliant.sim.mesh_shapes import boundary_edges, fingertip, tetrahedral_box
from pliant.sim.shell import ShellMaterial
from pliant.sim.shell.topology import ShellTopology
from pliant.sim.solid import Clamp, Contact, Handle, Kinematic, Pin, Solid, StableNeoHookean

GRAVITY = (0.5, -1.0, -9.81)
SHEET = {"youngs_modulus": 2e7, "poisson_ratio": 0.3, "thickness": 3e-4, "density": 900.0, "yield_curvature": 1.0, "hardening": 0.4}
SILENT = {"velocity", "handle_rotation", "previous_position", "previous_velocity", "contact_stiffness"}
"""What of a state elasticity does not read."""


def expected_wrench(state, force, held, arms=None):
    """Force and torque about the first handle of forces [N, 3] on the nodes that it does not hold."""
    place = state.position[0] if arms is None else arms
    free = torch.from_numpy(~held)
    torque = torch.linalg.cross(place - state.handle_position[0, 0], force)
    return torch.cat([force[free].sum(0), torque[free].sum(0)])


def assert_same_wrench(found, expected, length):
    """To 1e-6 of the size of the force, and of that times a length [m]."""
    size = float(expected[:3].norm())
    assert float((found[:3] - expected[:3]).norm()) < 1e-6 * size
    assert float((found[3:] - expected[3:]).norm()) < 1e-6 * size * length


def on_tip(body, total):
    """A force [3] in equal parts on the vertices of the far end [N, 3]."""
    tip = torch.from_numpy(where(body, 0, body.mesh.vertices[:, 0].max()))
    return tip[:, None] * number(total) / tip.sum()


@pytest.mark.parametrize("gravity", [NONE, GRAVITY], ids=["weightless", "heavy"])
@pytest.mark.parametrize("law", LAWS)
def test_a_handle_feels_the_force_on_a_bar_its_weight_and_its_moment(law, gravity):
    body = bar(LAWS[law])
    root = where(body, 0, 0.0)
    s = solver(
        [body], 1.0, gravity=gravity, integrator="static", tolerance=1e-12, handles=[Handle("wrist", (-0.02, 0.01, 0.03), {"bar": root})]
    )
    rest = s.initial_state()
    turn = 0.0 if law == "linear" else 0.3  # which takes a turn for a strain
    push = on_tip(body, (0.02, 0.01, -0.03))
    motion = {"linear_velocity": number([[[0.01, 0.0, 0.02]]]), "angular_velocity": turn * number([[[0.0, 1.0, 0.5]]])}
    end = play(s, rest, s.rest_control().replace(force=push[None], **motion))
    corner = body.mesh.vertices[body.mesh.tetrahedra]
    mass = np.zeros(len(body.mesh.vertices))
    np.add.at(mass, body.mesh.tetrahedra, 1000.0 / 24 * np.abs(np.linalg.det(corner[:, 1:] - corner[:, :1]))[:, None])
    # The moments of the linear law balance about where the forces act at rest.
    arms = rest.position[0] + motion["linear_velocity"][0] if law == "linear" else None
    expected = expected_wrench(end, push + torch.from_numpy(mass)[:, None] * number(gravity), root, arms)
    assert_same_wrench(s.handle_wrench(end)[0, 0], expected, 0.09)


@pytest.mark.parametrize("yields", [float("inf"), 3.0], ids=["elastic", "plastic"])
@pytest.mark.parametrize("laws", [{}, {"membrane": "neo_hookean"}, {"bending": "hinge"}], ids=["mid_edge", "neo_hookean", "hinge"])
def test_a_handle_feels_the_force_on_a_sheet_while_it_yields_too(laws, yields):
    body = film(8, 2, width=0.015, material=ShellMaterial(2e7, 0.3, 3e-4, 900.0, yields, 0.3, **laws))
    root = body.mesh.vertices[:, 0] < 0.008
    s = solver([body], 1.0, gravity=NONE, integrator="static", tolerance=1e-12, handles=[Handle("wrist", NONE, {"film": root})])
    push = on_tip(body, (3e-5, 2e-5, -1.5e-4))
    end = play(s, s.initial_state(), s.rest_control().replace(force=push[None]))
    assert (float(end.plastic_curvature.max()) > 0.1) is (yields < 10)
    assert_same_wrench(s.handle_wrench(end)[0, 0], expected_wrench(end, push, root), 0.06)


@pytest.mark.parametrize("friction", [0.0, 0.6])
def test_a_fingertip_and_the_block_that_it_presses_feel_the_same(friction):
    """In equilibrium, and about the same point. Friction acts on both sides of a gap, and so with a couple of force times gap."""
    tip = fingertip(0.01, 0.004, around=10, rings=3, layers=2)
    rim = tip.vertices[:, 2] > -1e-9
    block = moved(tetrahedral_box((0.03, 0.03, 0.015), (3, 3, 2)), -0.015, -0.015, -0.0257)
    bodies = [
        Solid(tip, "tip", material=StableNeoHookean(1000.0, 3e5, 0.3)),
        Solid(block, "block", material=StableNeoHookean(1000.0, 1e5, 0.4)),
    ]
    handles = [
        Handle("finger", (0.0, 0.0, 0.004), {"tip": rim}),
        Handle("plate", (0.02, 0.01, -0.03), {"block": block.vertices[:, 2] < -0.0256}),
    ]
    contact = Contact(1e-3, friction=friction, friction_speed=1e-3)
    s = solver(bodies, 0.05, gravity=NONE, integrator="static", tolerance=1e-11, contact=contact, handles=handles)
    state, control = s.initial_state(), s.rest_control()
    for way in [(0.0, 0.0, -0.01)] * 4 + [(0.005, 0.002, 0.0)] * 2:
        state = play(s, state, control.replace(linear_velocity=torch.stack([number(way), number(NONE)])[None]))
    finger, plate = s.handle_wrench(state)[0]
    arm = state.handle_position[0, 0] - state.handle_position[0, 1]
    finger = torch.cat([finger[:3], finger[3:] + torch.linalg.cross(arm, finger[:3])])
    assert float(finger[2]) > 0.05
    assert float((plate + finger)[:3].norm()) < 1e-6 * float(finger[:3].norm())
    if friction:
        assert float(finger[0]) < -0.1
        assert float((plate + finger)[3:].norm()) < 1e-3 * float(finger[:2].norm())
    else:
        assert_same_wrench(plate, -finger, 0.03)


# derivatives


def reading(s, change, alive=1):
    """A number that depends on all of the wrenches in the initial state with changes of its fields."""
    state = s.initial_state(alive)
    state = state.replace(**{name: getattr(state, name) + change[name] for name in state.floats() if name in change})
    return told(s.handle_wrench(state))


def told(wrench):
    return (wrench * torch.linspace(0.5, 1.5, wrench.numel(), dtype=F64).view_as(wrench)).sum()


def shaken(s, **sizes):
    """Random changes of all fields of a state, of given sizes."""
    draw = torch.Generator().manual_seed(5)
    return {
        name: sizes.get(name, 1e-3) * torch.randn(tensor.shape, generator=draw, dtype=F64)
        for name, tensor in s.initial_state().floats().items()
        if tensor.numel()
    }


def strip(p, **laws):
    """A film between a gripper that holds two rows of its vertices, and one that holds an edge, whose tangent plane is given."""
    material = ShellMaterial(*(p[name] for name in SHEET), **laws)
    body = film(4, 2, width=0.015, material=material, rest=p["rest"], rest_angle=p.get("rest_angle"))
    root = where(body, 0, 0.0)
    clamp = Clamp("film", boundary_edges(body.mesh, root), p["clamp_direction"], rest_direction=(-1.0, 0.0, -0.1))
    grip = Handle("grip", (0.05, 0.0, 0.01), {"film": body.mesh.vertices[:, 0] > 0.044})
    return solver([body], gravity=p["gravity"], clamps=[clamp], handles=[grip, Handle("root", NONE, {"film": root})], tolerance=1e-11)


def strip_inputs(**laws):
    mesh = film(4, 2, width=0.015).mesh
    wave = 3e-4 * np.sin(150 * mesh.vertices[:, 0] + 40 * mesh.vertices[:, 1])
    given = {
        **{name: number(value) for name, value in SHEET.items()},
        "rest": torch.from_numpy(mesh.vertices + wave[:, None] * np.array([0.0, 0.0, 1.0])),
        "clamp_direction": number([-0.97, 0.05, 0.2]),
        "gravity": number(GRAVITY),
    }
    edges = len(ShellTopology.of(mesh.faces).edges)
    given["rest_angle"] = 0.02 * torch.randn(edges, generator=torch.Generator().manual_seed(4), dtype=F64)
    sizes = {
        "position": number([1e-6, 1e-6, 1e-4]),
        "edge_rotation": 1e-2,
        "plastic_bend": 1e-5 if not laws.get("bending") else 1e-3,
        "plastic_curvature": 0.5,
    }
    return {**given, **(change := shaken(strip(given, **laws), **sizes)), "plastic_curvature": change["plastic_curvature"].abs()}


STEPS = {
    "rest": 1e-9, "position": 1e-9, "velocity": 1e-6, "edge_rotation": 1e-6, "plastic_bend": 1e-9, "rest_angle": 1e-6,
    "yield_curvature": 1e-4, "hardening": 1e-4, "plastic_curvature": 1e-4,
}  # fmt: skip


@pytest.mark.parametrize("laws", [{}, {"membrane": "neo_hookean"}, {"bending": "hinge"}], ids=["mid_edge", "neo_hookean", "hinge"])
def test_every_derivative_of_the_wrench_of_a_shell(laws):
    given = strip_inputs(**laws)
    silent = SILENT | {"density", "gravity"}
    steps = {**STEPS, "plastic_bend": 1e-7} if laws.get("bending") else STEPS  # [rad], not [rad m]
    check(lambda p: reading(strip(p, **laws), p), given, steps, 1e-6, silent & set(given))


@pytest.mark.parametrize("law", LAWS)
def test_every_derivative_of_the_wrench_of_a_solid(law):
    mesh = bar(cells=(2, 1, 1)).mesh
    shake = np.random.default_rng(3).normal(size=mesh.vertices.shape)
    given = {"youngs_modulus": number(1e5), "poisson_ratio": number(0.3), "density": number(1000.0), "gravity": number(GRAVITY)}
    given["rest"] = torch.from_numpy(mesh.vertices + 1e-3 * shake)

    def scene(p):
        body = bar(LAWS[law], cells=(2, 1, 1), rest=p["rest"], **{name: p[name] for name in ("youngs_modulus", "poisson_ratio", "density")})
        held = [Handle("grip", (0.1, 0.0, 0.0), {"bar": where(body, 0, 0.09)}), Handle("root", NONE, {"bar": where(body, 0, 0.0)})]
        return solver([body], gravity=p["gravity"], handles=held)

    given |= shaken(scene(given), position=2e-3)
    check(lambda p: reading(scene(p), p), given, {"rest": 1e-7, "position": 1e-7}, 1e-6, SILENT | {"density", "gravity"})


@pytest.mark.parametrize("laws", [{}, {"bending": "hinge"}], ids=["mid_edge", "hinge"])
def test_the_wrench_has_its_derivative_through_steps_in_which_the_sheet_yields(laws):
    """What yields ends a step where its law has a kink, but moves along it."""
    given = {name: value for name, value in strip_inputs(**laws).items() if name in (*SHEET, "rest", "clamp_direction", "gravity")}
    given["linear_velocity"] = number([[[-0.02, 0.0, 0.05], [0.0, 0.0, 0.0]]])

    def final(p):
        s = strip(p, **laws)
        control = s.rest_control().replace(linear_velocity=p["linear_velocity"])
        end = play(s, s.initial_state(), control, 3)
        assert float(end.plastic_curvature.detach().max()) > 0.1
        return told(s.handle_wrench(end))

    # The force of a stiff sheet has the rounding of its positions, which shows in its differences.
    steps = {name: 1e-4 * float(value.abs().max()) for name, value in given.items()}
    check(final, given, {**steps, "rest": 1e-8}, 1e-5)


def test_the_wrench_has_no_second_derivative_and_says_so():
    s = held(own_rubber())
    place = s.initial_state().position.requires_grad_()
    (slope,) = torch.autograd.grad(told(s.handle_wrench(s.initial_state().replace(position=1.1 * place))), place, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        slope.sum().backward()


# the contract


def held(material, **given):
    """A bar of a material between two handles."""
    body = Solid(bar().mesh, "bar", material=material)
    handles = [Handle("left", NONE, {"bar": where(body, 0, 0.0)}), Handle("right", (0.1, 0.0, 0.0), {"bar": where(body, 0, 0.09)})]
    return solver([body], handles=handles, **given)


MODULI = torch.tensor([5e4, 1e5, 2e5], dtype=F64)


def bent(s, batch=3):
    """Environments that are bent each in its own way."""
    state = s.initial_state(batch)
    return state.replace(
        position=state.position + 1e-3 * torch.randn(state.position.shape, generator=torch.Generator().manual_seed(1), dtype=F64)
    )


def test_a_batch_feels_the_same_bits_as_its_environments_alone():
    moduli = MODULI.clone().requires_grad_()
    together = held(StableNeoHookean(1000.0, moduli, 0.3))
    state = bent(together)
    wrench = together.handle_wrench(state)
    assert wrench.shape == (3, 2, 6)
    (slopes,) = torch.autograd.grad(told(wrench[1]), moduli)
    for b in range(3):
        modulus = MODULI[b].clone().requires_grad_()
        alone = held(StableNeoHookean(1000.0, modulus, 0.3)).handle_wrench(state[b])
        assert torch.equal(alone[0], wrench[b])
        expected = torch.autograd.grad(told(alone), modulus)[0] if b == 1 else 0.0
        assert float(slopes[b]) == pytest.approx(float(expected), rel=1e-13)


def test_what_is_not_finite_feels_nan_and_leaves_its_neighbours_alone():
    poisson = torch.tensor(0.3, dtype=F64, requires_grad=True)
    s = held(StableNeoHookean(1000.0, MODULI, poisson))
    state = bent(s)
    expected = s.handle_wrench(state)
    position = state.position.clone()
    position[1, 5, 2] = float("nan")
    broken = s.step(state.replace(position=position), s.rest_control(3))
    assert broken.outcomes() == [Outcome.OK, Outcome.NOT_FINITE, Outcome.OK]
    found = s.handle_wrench(state.replace(position=position, status=broken.status))
    assert torch.equal(found[[0, 2]], expected[[0, 2]])
    assert bool(found[1].isnan().all())
    slopes = [torch.autograd.grad(told(wrench[[0, 2]]), poisson)[0] for wrench in (found, expected)]
    assert float(slopes[0]) != 0
    assert torch.equal(*slopes)
    assert bool(s.handle_wrench(state.replace(position=position * float("nan"))).isnan().all())


def test_an_obstacle_on_a_handle_feels_nothing_and_without_handles_there_is_nothing_to_feel():
    post = Kinematic(moved(tetrahedral_box((0.01, 0.01, 0.01), (1, 1, 1)), 0.3, 0.0, 0.0), "post")
    s = solver([bar(cells=(1, 1, 1)), post], handles=[Handle("tool", (0.3, 0.0, 0.0), {"post": None})])
    assert torch.equal(s.handle_wrench(bent(s, 2)), torch.zeros(2, 1, 6, dtype=F64))
    s = solver([bar(cells=(1, 1, 1))], pins=[Pin("bar", [0])])
    assert s.handle_wrench(bent(s, 2)).shape == (2, 0, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state[:2], "There are 2 environments, but the parameters of the model are for 3"),
        (lambda state: state.replace(position=state.position[:, 1:]), r"state\.position has shape"),
        (lambda state: state.replace(handle_position=state.handle_position[:, :1]), r"state\.handle_position has shape"),
        (lambda state: state.replace(position=state.position.float()), r"state\.position is torch\.float32"),
    ],
)
def test_a_state_of_another_scene_is_refused(change, message):
    s = held(StableNeoHookean(1000.0, MODULI, 0.3))
    with pytest.raises(ShapeError, match=message):
        s.handle_wrench(change(s.initial_state(3)))
