"""The implicit solver: mechanics with a known answer, and the contract of a solver."""

import math

import numpy as np
import pytest
import torch
from solids import (
    F64,
    FILM,
    LAWS,
    NONE,
    ball_mesh,
    bar,
    cantilever,
    crossings,
    cube,
    drag_scene,
    film,
    moved,
    own_rubber,
    play,
    press_and_drag,
    same_bits,
    solver,
    surface,
    table,
    where,
)

from pliant.errors import ModelError, StepError
from pliant.sim import solver_class
from pliant.sim.core import Outcome
from pliant.sim.mesh_shapes import boundary_edges, tetrahedral_box
from pliant.sim.rollout import rollout
from pliant.sim.rotation import rotation_matrix, turned
from pliant.sim.shell import ShellMaterial
from pliant.sim.solid import Clamp, Contact, Handle, Kinematic, Pin, Rigid, SolidModel, SolidSolver, SolidState
from pliant.sim.solid.step import ImplicitStep

CREASING = ShellMaterial(youngs_modulus=2e7, poisson_ratio=0.3, thickness=3e-4, density=900.0, yield_curvature=8.0, hardening=0.3)
GRAVITY = torch.tensor([0.0, 0.0, -9.81], dtype=F64)


def zoo(**given):
    """A film, a bar and a rigid cube that fly past each other."""
    speed = (0.3, -0.2, 0.5)
    bodies = [film(2, 2, velocity=speed), bar(velocity=speed, cells=(1, 1, 1)), cube(0.02, 0.2, 0.0, 0.0, velocity=speed)]
    return solver(bodies, **given)


# mechanics


@pytest.mark.parametrize("integrator", ["implicit_euler", "bdf2"])
def test_bodies_fall_as_the_recurrence_of_the_integrator_says(integrator):
    s = zoo(integrator=integrator)
    start, dt = s.initial_state(), s.model.dt
    end = play(s, start, steps=5)
    place, speed = [start.position], [start.velocity]
    for step in range(5):
        if integrator == "implicit_euler" or step == 0:
            speed.append(speed[-1] + dt * GRAVITY)
            place.append(place[-1] + dt * speed[-1])
        else:
            speed.append((4 * speed[-1] - speed[-2]) / 3 + 2 / 3 * dt * GRAVITY)
            place.append((4 * place[-1] - place[-2]) / 3 + 2 / 3 * dt * speed[-1])
    assert torch.allclose(end.velocity, speed[-1], rtol=0, atol=1e-11)
    assert torch.allclose(end.position, place[-1], rtol=0, atol=1e-13)


def test_bdf2_falls_to_second_order_from_the_start():
    def off(steps):
        s = zoo(integrator="bdf2", dt=0.2 / steps)
        start = s.initial_state()
        end = play(s, start, steps=steps)
        return float((end.position - start.position - 0.2 * start.velocity - 0.02 * GRAVITY)[0, s.model.nodes("cube")].abs().max())

    assert off(20) / off(40) == pytest.approx(4.0, rel=0.1)


def test_environments_of_one_batch_may_be_of_different_age():
    s = zoo(integrator="bdf2")
    old = play(s, s.initial_state(), steps=2)
    both = SolidState.cat([old, s.initial_state()])
    together = s.step(both, s.rest_control(2))
    for b, alone in enumerate((old, s.initial_state())):
        assert same_bits(together[b], s.step(alone, s.rest_control()))


def momenta(solver, states, mass):
    """Linear and angular momentum of nodes with lumped masses [n]."""
    linear = torch.stack([(mass[:, None] * state.velocity[0]).sum(0) for state in states])
    angular = torch.stack([(mass[:, None] * torch.linalg.cross(state.position[0], state.velocity[0])).sum(0) for state in states])
    return linear, angular


@pytest.mark.parametrize(("integrator", "order"), [("implicit_euler", 1), ("bdf2", 2)])
def test_a_free_body_keeps_its_momentum_and_its_spin_to_the_order_of_the_integrator(integrator, order):
    lost = []
    for dt in (5e-4, 1.25e-4):
        body = bar(cells=(2, 1, 1))
        arm = body.mesh.vertices - body.mesh.vertices.mean(0)
        body = bar(cells=(2, 1, 1), velocity=np.cross([1.0, 3.0, 5.0], arm) + np.array([0.1, 0.2, 0.3]))
        s = solver([body], dt, gravity=NONE, integrator=integrator, tolerance=1e-9)
        corner = body.mesh.vertices[body.mesh.tetrahedra]
        mass = np.zeros(len(arm))
        np.add.at(mass, body.mesh.tetrahedra, 250.0 * np.abs(np.linalg.det(corner[:, 1:] - corner[:, :1]))[:, None] / 6)
        states = [s.initial_state()]
        for _ in range(round(0.04 / dt)):
            states.append(play(s, states[-1]))
        linear, angular = momenta(s, states, torch.from_numpy(mass))
        assert float((linear - linear[0]).norm()) < 1e-10 * float(linear[0].norm())
        lost.append(float((angular[-1] - angular[0]).norm() / angular[0].norm()))
    assert lost[1] < 1e-4
    assert math.log(lost[0] / lost[1], 4) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("shape", ["box", "ball"])
def test_mass_and_inertia_of_a_rigid_body_are_those_of_its_shape(shape):
    """By the energy of straight flight and of spin about each axis."""
    if shape == "box":
        size = np.array([0.1, 0.06, 0.04])
        mesh, tolerance = tetrahedral_box(tuple(size), (1, 1, 1)), 1e-12
        mass = 700.0 * float(size.prod())
        inertia = mass / 12 * ((size**2).sum() - size**2)
    else:
        mesh, tolerance = ball_mesh(0.05, finer=4), 5e-3
        mass = 700.0 * 4 / 3 * math.pi * 0.05**3
        inertia = np.full(3, 0.4 * mass * 0.05**2)
    mesh = moved(mesh, 0.3, -0.2, 0.1)

    def kinetic(**motion):
        s = solver([Rigid(mesh, "it", density=700.0, **motion)])
        return float(s.energies(s.initial_state())["kinetic"])

    assert 2 * kinetic(velocity=(0.0, 1.0, 0.0)) == pytest.approx(mass, rel=tolerance)
    assert [2 * kinetic(angular_velocity=tuple(axis)) for axis in np.eye(3)] == pytest.approx(inertia, rel=tolerance)


def test_a_spinning_rigid_body_keeps_its_shape_and_turns_about_its_centre():
    box = tetrahedral_box((0.1, 0.06, 0.04), (1, 1, 1))
    spin = 8.0
    body = Rigid(box, "it", density=700.0, velocity=(0.5, 0.0, 0.0), angular_velocity=(0.0, 0.0, spin))
    s = solver([body], 2e-3, gravity=NONE, integrator="bdf2")
    start = s.initial_state()
    centre, turn = s.pose(start, "it")
    assert torch.allclose(centre[0], torch.tensor([0.05, 0.03, 0.02], dtype=F64), atol=1e-14)
    assert torch.allclose(turn[0], torch.eye(3, dtype=F64), atol=1e-14)
    assert torch.allclose(s.vertices(start, "it")[0], torch.from_numpy(box.vertices.copy()), atol=1e-14)
    end = play(s, start, steps=60)
    place, turn = s.pose(end, "it")
    assert torch.allclose(place - centre, torch.tensor([[0.06, 0.0, 0.0]], dtype=F64), atol=1e-9)
    assert float((turn.mT @ turn - torch.eye(3, dtype=F64)).abs().max()) < 1e-6
    assert math.atan2(float(turn[0, 1, 0]), float(turn[0, 0, 0])) == pytest.approx(0.12 * spin, rel=1e-3)
    corner = s.vertices(end, "it")[0]
    assert torch.allclose(corner, place + (torch.from_numpy(box.vertices.copy()) - centre) @ turn[0].T, atol=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_a_bar_pulled_at_its_end_stretches_by_the_load_over_e_a_over_l(law):
    body = bar(LAWS[law], cells=(3, 2, 2))
    pins = [Pin("bar", where(body, axis, 0.0), "xyz"[axis]) for axis in range(3)]  # three planes of symmetry
    s = solver([body], 1.0, gravity=NONE, pins=pins, integrator="static", tolerance=1e-12)
    end = body.mesh.vertices[body.mesh.faces][:, :, 0].min(1) > 0.0899  # faces of the end share its area
    share = np.bincount(body.mesh.faces[end].ravel(), minlength=len(body.mesh.vertices)) / (3 * end.sum())
    strain = 1e-6
    load = torch.from_numpy(share)[:, None] * torch.tensor([1e5 * 0.03**2 * strain, 0.0, 0.0], dtype=F64)
    control = s.rest_control().replace(force=load[None])
    end = play(s, s.initial_state(), control)
    displacement = (end.position - s.initial_state().position)[0].numpy()
    expected = body.mesh.vertices * np.array([1.0, -0.3, -0.3]) * strain  # with Poisson's contraction
    np.testing.assert_allclose(displacement, expected, rtol=0, atol=5e-6 * strain * 0.09)
    assert float(s.energies(end)["elastic"]) == pytest.approx(0.5 * 1e5 * strain**2 * 0.09 * 0.03**2, rel=1e-5)


def test_the_own_law_moves_as_the_built_in_one():
    ends = []
    for law in ("stable_neo_hookean", "hyperelastic"):
        body = bar(LAWS[law])
        s = solver([body], pins=[Pin("bar", where(body, 0, 0.0))], tolerance=1e-11)
        ends.append(play(s, s.initial_state(), steps=5))
    assert float((ends[0].position[0, -1] - torch.tensor([0.09, 0.03, 0.03], dtype=F64)).norm()) > 1e-3
    assert torch.allclose(ends[0].position, ends[1].position, rtol=0, atol=1e-12)


def test_a_strip_under_an_axial_load_buckles_at_eulers_load():
    strip = cantilever(ShellMaterial(2e7, 0.0, 3e-4, 900.0), 20, 2)
    s = solver(**strip, dt=1.0, gravity=NONE, integrator="static", tolerance=1e-10)
    mesh = s.model.bodies[0].mesh
    ends = boundary_edges(mesh, where(s.model.bodies[0], 0, 0.06))
    share = np.bincount(ends.ravel(), minlength=len(mesh.vertices)) / ends.size
    euler = math.pi**2 * 2e7 * 0.015 * 3e-4**3 / 12 / (4 * 0.06**2)
    found = []
    for part in (0.97, 1.03):
        push = torch.from_numpy(share)[:, None] * torch.tensor([-part * euler, 0.0, 0.0], dtype=F64)
        state = play(s, s.initial_state(), s.rest_control().replace(force=push[None]))
        found.append(int(s.negative_modes(state)))
    assert found == [0, 1]


def test_the_modes_of_a_free_body_cannot_be_counted():
    s = solver([bar(cells=(1, 1, 1))], integrator="static", dt=1.0)
    with pytest.raises(StepError, match="hold the bodies"):
        s.negative_modes(s.initial_state())


@pytest.mark.parametrize("bending", ["mid_edge", "hinge"])
@pytest.mark.parametrize("membrane", ["st_venant_kirchhoff", "neo_hookean"])
def test_a_clamped_strip_bends_by_p_l_cubed_over_3_e_i(membrane, bending):
    scene = cantilever(ShellMaterial(2e7, 0.0, 3e-4, 900.0, membrane=membrane, bending=bending), 20, 2)
    s = solver(**scene, dt=1.0, gravity=NONE, integrator="static", tolerance=1e-10)
    tip = where(s.model.bodies[0], 0, 0.06)
    load, rigidity = 1e-6, 2e7 * 0.015 * 3e-4**3 / 12
    force = torch.zeros(1, s.model.node_total, 3, dtype=F64)
    force[0, tip, 2] = -load * torch.tensor([0.25, 0.5, 0.25], dtype=F64)
    end = play(s, s.initial_state(), s.rest_control().replace(force=force))
    drop = -float(end.position[0, tip, 2].mean())
    expected = load * 0.06**3 / (3 * rigidity)
    if bending == "mid_edge":
        assert drop == pytest.approx(expected, rel=0.01)
    else:  # hinges are too soft where a strip is free to curl, but they are held at the clamp
        assert expected < drop < 2 * expected


def test_a_clamp_turns_the_sheet_where_its_edge_is():
    """Without weight, a strip clamped in a direction is straight along it."""
    scene = cantilever()
    angle = 0.3
    way = (-math.cos(angle), 0.0, -math.sin(angle))
    root = where(scene["bodies"][0], 0, 0.0)
    clamp = Clamp("film", boundary_edges(scene["bodies"][0].mesh, root), way, rest_direction=(-1.0, 0.0, 0.0))
    s = solver(scene["bodies"], 1.0, gravity=NONE, pins=scene["pins"], clamps=[clamp], integrator="static", tolerance=1e-10)
    place = play(s, s.initial_state()).position[0].numpy()
    rest = scene["bodies"][0].mesh.vertices
    np.testing.assert_allclose(place, np.column_stack([rest[:, 0] * -way[0], rest[:, 1], rest[:, 0] * -way[2]]), atol=1e-9)


@pytest.mark.parametrize("bending", ["mid_edge", "hinge"])
def test_a_strip_bent_beyond_yield_keeps_a_crease_and_an_elastic_one_does_not(bending):
    left = []
    for yields in (8.0, math.inf):
        material = ShellMaterial(2e7, 0.3, 3e-4, 900.0, yields, 0.3, bending=bending)
        body = film(8, 2, width=0.015, material=material)
        ends = {"pins": [Pin("film", body.mesh.vertices[:, 0] < 0.008)]}
        grip = Handle("grip", (0.06, 0.0, 0.0), {"film": body.mesh.vertices[:, 0] > 0.052})
        s = solver([body], 0.05, gravity=NONE, handles=[grip], **ends)
        state, control = s.initial_state(), s.rest_control()
        bend = control.replace(linear_velocity=torch.tensor([[[-0.1, 0.0, 0.1]]], dtype=F64), angular_velocity=control.angular_velocity)
        state = play(s, state, bend, 6)
        assert (float(state.plastic_curvature.max()) > 1.0) is (yields < 100)
        # The same state goes on without the gripper.
        free = solver([body], 0.05, gravity=NONE, **ends)
        loose = SolidState(*(t[:, :0] if n.startswith("handle") else t for n, t in zip(state.names(), state.tensors(), strict=True)))
        rest = play(free, loose, steps=60)
        assert torch.equal(rest.plastic_curvature >= loose.plastic_curvature, torch.ones_like(rest.plastic_curvature, dtype=torch.bool))
        left.append(float(rest.position[0, -1, 2]))
    assert left[0] > 5e-3
    assert abs(left[1]) < 1e-5


# what holds and moves bodies


def test_handles_carry_what_is_attached_exactly():
    """Two grippers move and turn the ends of a bar; a third takes an obstacle along."""
    body = bar(cells=(3, 1, 1))
    post = Kinematic(moved(tetrahedral_box((0.01, 0.01, 0.01), (1, 1, 1)), 0.3, 0.0, 0.0), "post")
    left, right = where(body, 0, 0.0), where(body, 0, 0.09)
    handles = [Handle("left", (0.0, 0.015, 0.015), {"bar": left}), Handle("right", (0.09, 0.0, 0.0), {"bar": np.flatnonzero(right)})]
    s = solver([body, post], 0.01, handles=[*handles, Handle("third", (0.3, 0.0, 0.0), {"post": None})])
    state = s.initial_state()
    linear = torch.tensor([[[0.0, 0.1, 0.0], [0.0, 0.0, 0.05], [0.2, 0.0, 0.0]]], dtype=F64)
    angular = torch.tensor([[[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 1.0, 2.0]]], dtype=F64)
    control = s.rest_control().replace(linear_velocity=linear, angular_velocity=angular)
    end = play(s, state, control, 5)
    turn = rotation_matrix(turned(state.handle_rotation, angular, torch.tensor([0.05], dtype=F64)))[0]
    assert torch.allclose(end.handle_position, state.handle_position + 0.05 * linear, atol=1e-15)
    assert torch.allclose(rotation_matrix(end.handle_rotation)[0], turn, atol=1e-14)
    first = s.model.first_node("post")
    for h, nodes in enumerate((np.flatnonzero(left), np.flatnonzero(right), np.arange(first, first + 8))):
        arm = state.position[0, nodes] - state.handle_position[0, h]
        assert torch.allclose(end.position[0, nodes], end.handle_position[0, h] + arm @ turn[h].T, atol=1e-14)
    speed = (end.position - state.position) / 0.05
    assert torch.allclose(end.velocity[0, np.flatnonzero(left)], speed[0, np.flatnonzero(left)], atol=1e-12)


def test_a_pin_holds_the_axes_that_it_names_and_no_other():
    s = solver(
        [bar(cells=(1, 1, 1)), cube(0.02, 0.2, 0.0, 0.0)], pins=[Pin("bar", [0, 1], "xz"), Pin("bar", [7], "y"), Pin("cube", None, "z")]
    )
    start = s.initial_state()
    force = torch.ones(1, s.model.node_total, 3, dtype=F64) * torch.tensor([1.0, 2.0, 3.0], dtype=F64)
    end = play(s, start, s.rest_control().replace(force=force), 3)
    held = torch.from_numpy(s.model.held())
    assert held.sum() == 4 + 1 + 4
    assert torch.equal((end.position == start.position)[0], held)


def test_what_falls_stays_above_what_it_falls_on():
    s = solver([cube(0.02, z=0.0013), table()], contact=Contact(1e-3, offset=1e-4, friction=0.5))
    end = play(s, s.initial_state(), steps=8)
    assert 1e-4 < float(s.vertices(end, "cube")[0, :, 2].min()) < 1.2e-3
    assert float(end.velocity.abs().max()) < 0.02
    assert float(s.energies(end)["contact"]) > 0


def sliding(friction, **given):
    """The speed of a cube that half its weight pushes along a table for 0.15 s, and of a cube without friction."""
    s = solver([cube(0.02, z=9.8e-4), table()], gravity=(9.81 / 2, 0.0, -9.81), contact=Contact(1e-3, friction=friction, **given))
    return float(play(s, s.initial_state(), steps=15).velocity[0, 0, 0])


def test_friction_holds_up_to_its_coefficient_and_slows_beyond_it():
    assert sliding(0.4) == pytest.approx(0.1 * 9.81 * 0.15, rel=0.15)
    assert abs(sliding(0.6)) < 1e-3


def test_friction_may_differ_between_pairs_of_bodies():
    assert abs(sliding({("table", "cube"): 0.6})) < 1e-3
    assert sliding({("cube", "table"): 0.4}, default_friction=5.0) == pytest.approx(sliding(0.4), rel=1e-6)
    assert sliding({("cube", "cube"): 5.0}) == pytest.approx(0.5 * 9.81 * 0.15, rel=0.05)


def folded_film(**contact):
    """How high the upper half of a soft film that starts folded lies, at rest on the pinned lower half or below it."""
    body = film(8, 2, material=ShellMaterial(1e4, 0.3, 3e-4, 900.0))
    x = body.mesh.vertices[:, 0]
    upper = x > 0.03 + 1e-9
    start = np.column_stack([np.where(upper, 0.06 - x + 1e-3, x), body.mesh.vertices[:, 1], np.where(upper, 0.004, 0.0)])
    body = film(8, 2, material=body.material, start=start)
    s = solver([body], pins=[Pin("film", ~upper)], contact=Contact(1e-3, **contact))
    return play(s, s.initial_state(), steps=8).position[0, upper, 2]


def test_a_shell_touches_itself_unless_it_is_told_not_to():
    assert 0 < float(folded_film().min()) < 1.2e-3
    assert float(folded_film(self_contact=()).min()) < 0


def test_bodies_that_are_told_so_pass_through_each_other():
    contact = Contact(1e-3, ignored=[("table", "cube")])
    s = solver([cube(0.02, z=0.005), table()], contact=contact)
    assert float(s.vertices(play(s, s.initial_state(), steps=8), "cube")[0, :, 2].min()) < -0.005


def test_an_obstacle_on_a_handle_pushes_what_is_in_its_way():
    pusher = Kinematic(moved(tetrahedral_box((0.01, 0.05, 0.05), (1, 1, 1)), -0.0105, -0.01, -0.01), "pusher")
    body = cube(0.02, name="cube")
    s = solver([body, pusher], gravity=NONE, contact=Contact(1e-3), handles=[Handle("h", NONE, {"pusher": None})])
    control = s.rest_control().replace(linear_velocity=torch.tensor([[[0.2, 0.0, 0.0]]], dtype=F64))
    end = play(s, s.initial_state(), control, 6)
    assert float(end.velocity[0, 0, 0]) > 0.19
    assert crossings(*surface(s, end)) == 0


CONTACT_TESTS = {
    "barrier": test_what_falls_stays_above_what_it_falls_on,
    "coulomb": test_friction_holds_up_to_its_coefficient_and_slows_beyond_it,
    "self_contact": test_a_shell_touches_itself_unless_it_is_told_not_to,
    "handle": test_an_obstacle_on_a_handle_pushes_what_is_in_its_way,
}


def test_every_claim_on_contact_has_its_test():
    assert set(CONTACT_TESTS) == set(SolidSolver.capabilities.contact)


@pytest.mark.parametrize("claim", SolidSolver.capabilities.materials)
def test_every_material_that_the_table_claims_runs(claim):
    kind = claim.removeprefix("shell_")
    if kind != claim:
        scene = cantilever(ShellMaterial(2e7, 0.3, 3e-4, 900.0, membrane=kind))
    elif claim == "rigid":
        scene = {"bodies": [cube(0.02)]}
    else:
        body = bar(LAWS[claim], cells=(1, 1, 1))
        scene = {"bodies": [body], "pins": [Pin("bar", where(body, 0, 0.0))]}
        assert body.material.name == claim
    s = solver(**scene)
    end = play(s, s.initial_state())
    fallen = -float((end.position - s.initial_state().position)[..., 2].min())
    assert 1e-5 < fallen < 1.2 * 9.81 * 0.01**2


def test_the_solver_is_found_by_its_name_and_declares_what_it_is():
    assert solver_class("solid") is SolidSolver
    claims = SolidSolver.capabilities
    assert claims.dimensions == (3,)
    assert claims.batched
    assert claims.backends == ("cpu",)
    s = zoo()
    assert {str(t.dtype).removeprefix("torch.") for t in s.initial_state().floats().values()} == set(claims.dtypes)


def test_energies_add_up_in_free_fall():
    """What gravity gives, motion takes: exactly what implicit Euler makes of it."""
    s = zoo()
    start = s.initial_state()
    end = play(s, start, steps=3)
    before, after = s.energies(start), s.energies(end)
    assert set(after) == {"kinetic", "elastic", "gravity", "contact"}
    change = {name: float(after[name] - before[name]) for name in after}
    mass = float(before["kinetic"]) / (0.5 * (0.3**2 + 0.2**2 + 0.5**2))
    lost = 3 * 0.5 * mass * (9.81 * 0.01) ** 2  # half the square of each change of speed
    assert change["kinetic"] + change["gravity"] == pytest.approx(-lost, rel=1e-9)
    assert abs(change["elastic"]) < 1e-9 * lost
    assert change["contact"] == 0.0


# the contract


def varied():
    """The scene of contact with what differs between three environments, and its start with different speeds."""
    given = {
        "friction": torch.tensor([0.1, 0.4, 0.8], dtype=F64),
        "youngs_modulus": torch.tensor([1e7, 2e7, 4e7], dtype=F64),
        "density": torch.tensor([300.0, 500.0, 700.0], dtype=F64),
        "gravity": torch.tensor([[0.0, 0.0, -9.81], [0.0, 1.0, -9.0], [0.5, 0.0, -5.0]], dtype=F64),
    }
    return drag_scene(**given), [drag_scene(**{name: value[b] for name, value in given.items()}) for b in range(3)]


def test_a_batch_gives_the_same_bits_as_its_environments_alone():
    together, alone = varied()
    controls = press_and_drag(together, 3)[:6]
    end = rollout(together, together.initial_state(3), controls, keep=False).final
    assert end.outcomes() == [Outcome.OK] * 3
    for b in range(3):
        one = rollout(alone[b], alone[b].initial_state(1), [control[b] for control in controls], keep=False).final
        assert same_bits(one, end[b]), b


def test_the_same_run_gives_the_same_bits_and_leaves_its_inputs_alone():
    ends = []
    for _ in range(2):
        s = drag_scene()
        state, controls = s.initial_state(), press_and_drag(s)
        copies = state.clone(), controls[0].clone()
        ends.append(rollout(s, state, controls, keep=False).final)
        assert same_bits(state, copies[0])
        assert same_bits(controls[0], copies[1])
    assert same_bits(*ends)


def test_a_checkpointed_rollout_has_the_bits_of_an_unchecked_one():
    results = []
    for knob in (None, "sqrt"):
        friction = torch.tensor(0.4, dtype=F64, requires_grad=True)
        s = drag_scene(friction)
        controls = press_and_drag(s)
        controls = [c.replace(linear_velocity=c.linear_velocity.clone().requires_grad_()) for c in controls]
        end = rollout(s, s.initial_state(), controls, checkpoint=knob).final
        loss = (end.position * torch.linspace(0.5, 1.5, end.position.numel(), dtype=F64).view_as(end.position)).sum()
        results.append((*end.tensors(), *torch.autograd.grad(loss, [friction, *(c.linear_velocity for c in controls)])))
    assert all(float(gradient.abs().max()) > 0 for gradient in results[0][-8:])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def failing():
    """Three environments of a film, of which the second does not converge and the third is not finite."""
    s = solver([film(4, 2)], pins=[Pin("film", [0, 1, 2])], max_iterations=12)
    state = s.initial_state(3)
    velocity, position = state.velocity.clone(), state.position.clone()
    velocity[1, 5:] += 30.0 * torch.randn(velocity[1, 5:].shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    position[2, 4, 1] = math.nan
    return s, state.replace(velocity=velocity, position=position)


def test_a_failed_environment_is_frozen_and_marked_while_the_others_go_on():
    s, start = failing()
    end = start
    for _ in range(3):
        end = s.step(end, s.rest_control(3))
        assert end.outcomes() == [Outcome.OK, Outcome.NOT_CONVERGED, Outcome.NOT_FINITE]
    for b in (1, 2):
        for old, new in zip(start.tensors()[1:], end.tensors()[1:], strict=True):
            assert torch.equal(old[b].nan_to_num(7.0), new[b].nan_to_num(7.0))
    assert same_bits(end[0], play(s, start[0], steps=3))


def test_parameters_that_differ_between_environments_stay_with_theirs_where_one_fails():
    """Moduli, weights and clamps of three environments, of which the second fails at once."""
    steep = torch.tensor([0.1, 0.2, 0.3], dtype=F64)
    way = torch.stack([-torch.cos(steep), 0 * steep, -torch.sin(steep)], 1)
    values = {"E": torch.tensor([2e7, 3e7, 4e7], dtype=F64), "gravity": GRAVITY * torch.tensor([[0.5], [1.0], [1.5]]), "way": way}

    def scene(E, gravity, way):
        given = cantilever(ShellMaterial(E, 0.3, 3e-4, 900.0), 4, 2)
        edges = np.asarray(given["clamps"][0].edges)
        directions = way[..., None, :].expand(*way.shape[:-1], len(edges), 3)
        given["clamps"] = [Clamp("film", edges, directions, rest_direction=(-1.0, 0.0, 0.0))]
        return solver(**given, gravity=gravity)

    together = scene(**values)
    state = together.initial_state(3)
    broken = state.velocity.clone()
    broken[1] = math.nan
    end = state.replace(velocity=broken)
    for _ in range(2):
        end = together.step(end, together.rest_control(3))
    assert end.outcomes() == [Outcome.OK, Outcome.NOT_FINITE, Outcome.OK]
    for b in (0, 2):
        alone = scene(**{name: value[b] for name, value in values.items()})
        assert same_bits(end[b], play(alone, alone.initial_state(), steps=2))


def test_a_control_that_is_not_finite_is_told_and_an_all_failed_batch_stays_as_it_is():
    s, start = failing()
    control = s.rest_control(3)
    force = control.force.clone()
    force[:, 0, 0] = math.inf
    end = s.step(start, control.replace(force=force))
    assert end.outcomes() == [Outcome.NOT_FINITE] * 3
    assert torch.equal(end.position[0], start.position[0])


def test_the_gradient_of_a_running_environment_ignores_its_failed_neighbours():
    """The failed ones keep the state that they had, and pass on its derivative."""
    s, start = failing()
    push = torch.zeros(3, s.model.node_total, 3, dtype=F64, requires_grad=True)
    position = start.position.clone().requires_grad_()
    end = s.step(start.replace(position=position), s.rest_control(3).replace(force=push))
    end = s.step(end, s.rest_control(3).replace(force=push))
    by_push, by_position = torch.autograd.grad(end.position[:2].sum() + end.position[2, 0, 0], [push, position])
    alone = torch.zeros(1, s.model.node_total, 3, dtype=F64, requires_grad=True)
    one = play(s, start[0], s.rest_control().replace(force=alone), 2)
    assert torch.equal(by_push[:1], torch.autograd.grad(one.position.sum(), alone)[0])
    assert float(by_push[:1].abs().max()) > 0
    assert float(by_push[1:].abs().max()) == 0.0
    assert torch.equal(by_position[1], torch.ones_like(by_position[1]))


def test_the_derivative_of_a_step_that_failed_is_an_error():
    s, start = failing()
    task = s._task(start[1], s.rest_control(1), None)
    inputs = [tensor.clone().requires_grad_(i > 0) for i, tensor in enumerate(task.inputs)]
    end, status, _ = ImplicitStep.apply(s._structure, task.settings, [], *inputs, *task.parameters())
    assert status.tolist() == [Outcome.NOT_CONVERGED]
    assert torch.equal(end, inputs[0])
    with pytest.raises(StepError, match=r"Environment 0 did not finish its step \(NOT_CONVERGED\)"):
        end.sum().backward()


def test_a_step_with_a_singular_jacobian_has_no_derivative():
    s = solver([bar(cells=(1, 1, 1))], 1.0, gravity=NONE, integrator="static")
    push = torch.zeros(1, s.model.node_total, 3, dtype=F64, requires_grad=True)
    end = play(s, s.initial_state(), s.rest_control().replace(force=push))
    with pytest.raises(StepError, match="singular"):
        end.position.sum().backward()


def test_a_state_survives_its_file(tmp_path):
    s = solver(**cantilever(CREASING))
    state = play(s, s.initial_state(2), steps=2)
    state.save(tmp_path / "state.npz")
    back = SolidState.load(tmp_path / "state.npz")
    assert same_bits(back, state)
    assert same_bits(play(s, back), play(s, state))


def test_two_scenes_of_different_size_live_in_one_process():
    small, large = solver([film(2, 2, material=FILM)]), zoo()
    before = play(small, small.initial_state(), steps=2)
    play(large, large.initial_state(2), steps=2)
    assert same_bits(before, play(small, small.initial_state(), steps=2))


def test_a_static_step_finds_the_equilibrium_that_time_steps_tend_to():
    scene = cantilever(columns=6)
    still = solver(**scene, dt=1.0, integrator="static", tolerance=1e-10)
    rest = play(still, still.initial_state())
    damped = solver(**scene, dt=0.2)
    late = play(damped, damped.initial_state(), steps=60)
    assert float((rest.position - still.initial_state().position).abs().max()) > 5e-3
    assert torch.allclose(late.position, rest.position, rtol=0, atol=1e-7)


def test_only_a_rigid_body_has_a_pose():
    s = zoo()
    with pytest.raises(ModelError, match="only a Rigid has a pose"):
        s.pose(s.initial_state(), "bar")
    with pytest.raises(ModelError, match="no body 'bird'; there are film, bar, cube"):
        s.vertices(s.initial_state(), "bird")


def test_a_body_may_start_bent_and_away_from_its_rest_shape():
    body = bar(cells=(2, 1, 1))
    turned_up = body.mesh.vertices[:, [2, 1, 0]] * (1.0, -1.0, 1.0) + (0.0, 0.0, 1.0)
    s = solver([bar(own_rubber, cells=(2, 1, 1), start=turned_up, velocity=(0.0, 1.0, 0.0))], gravity=NONE)
    start = s.initial_state()
    end = play(s, start)
    assert torch.allclose(end.position, start.position + torch.tensor([0.0, 0.01, 0.0], dtype=F64), atol=1e-12)


@pytest.mark.parametrize("membrane", ["st_venant_kirchhoff", "neo_hookean"])
@pytest.mark.parametrize("dt", [5e-3, 1e-3, 2e-4])
def test_smaller_steps_do_not_take_more_iterations(membrane, dt):
    """A stiff sheet that hardly stretches: the energy of a step must be told to far below that of its stretching."""
    paper = ShellMaterial(4e9, 0.3, 1e-4, 800.0, membrane=membrane)
    sheet = film(8, 8, 0.3, 0.3, material=paper)
    run = SolidSolver(SolidModel([sheet], dt=dt, pins=[Pin("film", [0, 8])]))
    state = run.initial_state()
    for _ in range(10):
        state = run.step(state, run.rest_control())
        assert state.outcomes() == [Outcome.OK]
        assert run.report[0].iterations < 40
