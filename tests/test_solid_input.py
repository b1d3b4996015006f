"""Scenes that cannot be simulated are refused when they are made, in a line or two that say what to do."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from solids import F64, FILM, NONE, bar, cantilever, crossings, cube, film, moved, own_rubber, play, solver, surface, table, where

from pliant.errors import MeshError, ModelError, PliantError, ShapeError
from pliant.sim.core import Outcome
from pliant.sim.materials import Liquid, NeoHookean
from pliant.sim.mesh import Mesh
from pliant.sim.mesh_shapes import boundary_edges, sheet, tetrahedral_box
from pliant.sim.shell import ShellMaterial
from pliant.sim.solid import (
    Clamp,
    Contact,
    FixedCorotated,
    Handle,
    Hyperelastic,
    Kinematic,
    LinearElastic,
    Pin,
    Rigid,
    Shell,
    Solid,
    SolidModel,
    SolidSolver,
    StableNeoHookean,
)
from pliant.sim.solid.model import SolidModel as Model

BOX = tetrahedral_box((1.0, 1.0, 1.0), (1, 1, 1))
SHEET = sheet(1.0, 1.0, 2, 2)
RUBBER = StableNeoHookean(1000.0, 1e5, 0.3)
NAN = math.nan


def refused(kind, match, make):
    with pytest.raises(kind, match=match) as caught:
        make()
    assert len(str(caught.value).splitlines()) <= 2
    assert len(str(caught.value)) < 400


def changed(mesh, **arrays):
    return Mesh(**{**{name: getattr(mesh, name) for name in ("vertices", "faces", "tetrahedra")}, **arrays})


def displaced(mesh, vertex, place):
    vertices = mesh.vertices.copy()
    vertices[vertex] = place
    return changed(mesh, vertices=vertices)


# bodies

THREE_FACES = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1.0]], [[0, 1, 2], [1, 0, 3], [0, 1, 4]])
LOOSE = [5.0, 5.0, 5.0]
BAD_MESHES = {
    "no faces": (Shell, changed(SHEET, faces=[]), "'it' has no faces"),
    "three faces on an edge": (Shell, THREE_FACES, r"has edges of more than two faces \(0-1\); split"),
    "a vertex that no face uses": (Shell, changed(SHEET, vertices=[*SHEET.vertices, LOOSE]), r"has vertices that no face uses \(9\); remove"),
    "a shell with inner vertices": (Shell, tetrahedral_box((1.0, 1.0, 1.0), (2, 2, 2)), r"has vertices that no face uses \(13\)"),
    "a face without area": (Shell, displaced(SHEET, 4, SHEET.vertices[8]), r"faces without area \(.*; remove them"),
    "a face that repeats a vertex": (Shell, changed(SHEET, faces=[*SHEET.faces, [0, 0, 1]]), r"has faces without area \(8\)"),
    "a face twice": (Shell, changed(SHEET, faces=[*SHEET.faces, SHEET.faces[3]]), r"has faces that are there twice \(8\); keep one"),
    "faces wound against each other": (Shell, changed(SHEET, faces=[SHEET.faces[0][::-1], *SHEET.faces[1:]]), "wound against.*flip"),
    "a vertex that is not finite": (Shell, displaced(SHEET, 3, [NAN, 0.0, 0.0]), r"has vertices that are not finite \(3\)"),
    "an inverted tetrahedron": (Solid, changed(BOX, tetrahedra=BOX.tetrahedra[:, [1, 0, 2, 3]]), r"flat tetrahedra \(0, 1, 2, 3, 4, \.\.\.\)"),
    "a flat tetrahedron": (Solid, Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]], [[0, 1, 2]], [[0, 1, 2, 3]]), r"has inverted or flat.*swap"),
    "a solid without tetrahedra": (Solid, SHEET, "'it' has no tetrahedra; mesh its volume first"),
    "a solid with a loose vertex": (Solid, changed(BOX, vertices=[*BOX.vertices, LOOSE]), r"no tetrahedron uses \(8\)"),
    "an open rigid body": (Rigid, SHEET, "'it' must have a closed surface: 8 open edges"),
    "a rigid body inside out": (Rigid, changed(BOX, faces=BOX.faces[:, ::-1], tetrahedra=[]), "must have a closed surface"),
    "an obstacle that is not finite": (Kinematic, displaced(SHEET, 3, [math.inf, 0.0, 0.0]), "not finite"),
}  # fmt: skip
MATTER = {Shell: {"material": FILM}, Solid: {"material": RUBBER}, Rigid: {"density": 1000.0}, Kinematic: {}}


@pytest.mark.parametrize("what", BAD_MESHES)
def test_a_mesh_that_cannot_be_a_body_is_refused_by_its_elements(what):
    kind, mesh, message = BAD_MESHES[what]
    refused(MeshError, message, lambda: kind(mesh, "it", **MATTER[kind]))


def test_what_an_obstacle_or_a_rigid_body_does_not_need_is_left_alone():
    """Inner vertices of a volume mesh, faces of an obstacle that branch or are wound any way."""
    volume = tetrahedral_box((1.0, 1.0, 1.0), (2, 2, 2))
    bodies = [Kinematic(THREE_FACES, "fin"), Kinematic(moved(volume, 3.0), "block"), Rigid(moved(volume, 6.0), "stone", density=1000.0)]
    s = solver(bodies, gravity=NONE, contact=Contact(1e-2))
    assert s.vertices(play(s, s.initial_state()), "stone").shape == (1, 27, 3)


BAD_BODIES = [
    (lambda: Shell("sheet", SHEET, material=FILM), "name"),
    (lambda: Shell(SHEET, "", material=FILM), "needs a name"),
    (lambda: Shell("sheet.obj", "it", material=FILM), "mesh is a str; it must be a Mesh, such as load_mesh reads"),
    (lambda: Shell(SHEET, "it"), "material is a NoneType; it must be a ShellMaterial, such as paper()"),
    (lambda: Shell(SHEET, "it", material=RUBBER), "material is a StableNeoHookean; it must be a ShellMaterial"),
    (lambda: Solid(BOX, "it"), "material is a NoneType; it must be one of StableNeoHookean, FixedCorotated, LinearElastic, Hyperelastic"),
    (lambda: Solid(BOX, "it", material=Liquid(1000.0, 1e4)), "material is a Liquid"),
    (lambda: Solid(BOX, "it", material=NeoHookean(1000.0, 1e4, 0.3)), "material is a NeoHookean"),
    (lambda: Solid(BOX, "it", material=RUBBER, start=BOX.vertices[:3]), r"start must be finite and of shape \[8, 3\]; it is of shape \[3, 3\]"),
    (lambda: Solid(BOX, "it", material=RUBBER, start=BOX.vertices * NAN), r"start must be finite and of shape \[8, 3\]"),
    (lambda: Solid(BOX, "it", material=RUBBER, velocity=(1.0, 0.0)), r"velocity must be finite and of shape \[3\] or \[8, 3\]; it is \[1.0, 0.0\]"),
    (lambda: Solid(BOX, "it", material=RUBBER, velocity="fast"), "velocity is 'fast'; it must be a number or a tensor"),
    (lambda: Solid(BOX, "it", material=RUBBER, rest=torch.zeros(3)), r"rest must be finite and of shape \[8, 3\]"),
    (lambda: Solid(BOX, "it", material=RUBBER, rest=torch.full((8, 3), NAN)), "rest must be finite"),
    (lambda: Solid(BOX, "it", material=RUBBER, rest=torch.zeros(8, 3)), "faces without area at rest"),
    (lambda: Solid(BOX, "it", material=RUBBER, rest=torch.from_numpy(BOX.vertices * (1, 1, -1))), "inverted or flat tetrahedra at rest"),
    (lambda: Shell(SHEET, "it", material=FILM, rest=torch.zeros(9, 3)), "faces without area at rest"),
    (lambda: cube(1.0, density=None), "density is None; it must be a number"),
    (lambda: cube(1.0, density=-1.0), "density is -1.0; it must be finite and positive"),
    (lambda: cube(1.0, density=torch.tensor([1.0, NAN])), r"density is \[1.0, nan\]"),
    (lambda: cube(1.0, stiffness=1e30), r"stiffness is 1e\+30; it must be finite and positive and below 1e\+13"),
    (lambda: cube(1.0, velocity=(0.0, 1.0)), r"velocity must be finite and of shape \[3\]"),
    (lambda: cube(1.0, angular_velocity=(0.0, NAN, 0.0)), "angular_velocity must be finite"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD_BODIES)
def test_a_body_that_cannot_be_is_refused(make, message):
    refused(PliantError, message, make)


ABSURD = [-1e5, 0.0, NAN, math.inf, 1e30, "stiff", None, torch.tensor([1e5, -1.0])]


@pytest.mark.parametrize("value", ABSURD, ids=str)
@pytest.mark.parametrize("law", [StableNeoHookean, FixedCorotated, LinearElastic])
def test_an_absurd_modulus_of_a_solid_is_refused(law, value):
    refused(ModelError, "youngs_modulus", lambda: law(1000.0, value, 0.3))


@pytest.mark.parametrize("value", ABSURD, ids=str)
def test_an_absurd_modulus_of_a_shell_is_refused(value):
    refused(ModelError, "youngs_modulus", lambda: ShellMaterial(value, 0.3, 1e-3, 1000.0))


@pytest.mark.parametrize("poisson_ratio", [0.5, 0.7, -1.0, NAN, "half"])
def test_an_absurd_poisson_ratio_is_refused(poisson_ratio):
    refused(ModelError, "poisson_ratio", lambda: StableNeoHookean(1000.0, 1e5, poisson_ratio))
    refused(ModelError, "poisson_ratio", lambda: ShellMaterial(1e5, poisson_ratio, 1e-3, 1000.0))


def near(value):
    """Any number, but now and then one within twelve orders of a sensible one."""
    return st.one_of(st.floats(), st.floats(-12.0, 12.0).map(lambda power: value * 10**power))


@given(near(1e6), st.floats(-1.1, 0.6), near(1e-3), near(1e3))
@settings(max_examples=150, deadline=None)
def test_any_numbers_make_a_sheet_that_can_step_or_an_error(youngs_modulus, poisson_ratio, thickness, density):
    """No thickness, modulus or density passes that makes a step fail by an exception."""
    try:
        s = solver([film(1, 1, material=ShellMaterial(youngs_modulus, poisson_ratio, thickness, density))], max_iterations=20)
    except PliantError:
        return
    assert s.step(s.initial_state(), s.rest_control()).outcomes()[0] in (Outcome.OK, Outcome.NOT_CONVERGED, Outcome.NOT_FINITE)


def logarithmic(F, par):
    return par[0] * torch.linalg.det(F).log() ** 2


BAD_OWN = [
    (lambda: Hyperelastic(1000.0, lambda F, par: F, [1.0]), "must give one number"),
    (lambda: Hyperelastic(1000.0, logarithmic, [1.0]), "take pliant.sim.solid.determinant"),
    (lambda: Hyperelastic(1000.0, lambda F, par: par[1] * (F * F).sum(), [1.0]), "psi fails at rest: index 1 is out of bounds"),
    (lambda: Hyperelastic(1000.0, lambda F: F.sum(), [1.0]), r"psi fails at rest.*\nIt must be psi\(F, parameters\) in torch operations"),
    (lambda: Hyperelastic(1000.0, lambda F, par: float(F.sum()), [1.0]), "psi fails at rest"),
    (lambda: Hyperelastic(1000.0, None), "psi fails at rest"),
    (lambda: Hyperelastic(1000.0, lambda F, par: par[0] * (F * F).sum(), [NAN]), "finite at rest"),
    (lambda: Hyperelastic(1000.0, lambda F, par: par[0] * (F * F).sum(), ["soft"]), "parameters is 'soft'"),
    (lambda: Hyperelastic(1000.0, lambda F, par: par[0] * (F * F).sum(), [torch.ones(2), torch.ones(3)]), "one value for each environment"),
    (lambda: own_rubber(density=-1.0), "density is -1"),
]


@pytest.mark.parametrize(("make", "message"), BAD_OWN)
def test_an_own_material_that_cannot_be_is_refused(make, message):
    refused(ModelError, message, make)


# models

BAR = bar(cells=(1, 1, 1))
STRIP = film(2, 1)
CUBE = cube(0.01, 0.5)
ROOT = boundary_edges(STRIP.mesh, where(STRIP, 0, 0.0))
HINGED = film(2, 1, material=dataclasses.replace(FILM, bending="hinge"))
ALL = [STRIP, BAR, CUBE, table(height=-0.1)]


def model(**changes):
    return Model(**{"bodies": ALL, "dt": 0.01, **changes})


def clamp(**changes):
    return [Clamp(**{"body": "film", "edges": ROOT, "direction": (-1.0, 0.0, 0.0), **changes})]


def grip(attached, name="grip", position=NONE):
    return Handle(name, position, attached)


BAD_MODELS = [
    ({"bodies": []}, "at least one body"),
    ({"bodies": [BAR.mesh]}, "bodies must be a list of Shell, Solid, Rigid and Kinematic bodies; there is a Mesh"),
    ({"bodies": BAR}, "bodies must be a list of .*; there is a Solid"),
    ({"handles": grip({"bar": [0]})}, "handles must be a list of Handles; there is a Handle"),
    ({"pins": [None]}, "pins must be a list of Pins; there is a NoneType"),
    ({"pins": Pin("bar")}, "pins must be a list of Pins; there is a Pin"),
    ({"clamps": [Pin("film")]}, "clamps must be a list of Clamps; there is a Pin"),
    ({"contact": True}, "contact is a bool; it must be a Contact, or None"),
    ({"bodies": [BAR, BAR]}, "Two bodies have the name 'bar'; give each its own"),
    ({"dt": -0.01}, "dt is -0.01"),
    ({"dt": 0.0}, "dt is 0.0"),
    ({"dt": NAN}, "dt is nan"),
    ({"dt": "1 s"}, "dt is '1 s'; it must be a number"),
    ({"gravity": (0.0, -9.81)}, r"gravity has shape \[2\]; it must be \[3\], or one for each environment \['B', 3\]"),
    ({"gravity": -9.81}, r"gravity has shape \[\]"),
    ({"gravity": (0.0, 0.0, NAN)}, "gravity must be finite"),
    ({"gravity": torch.zeros(2, 2, 3)}, r"gravity has shape \[2, 2, 3\]"),
    ({"integrator": "euler"}, "integrator is 'euler'; it must be one of implicit_euler, bdf2, static"),
    ({"tolerance": 0.0}, "tolerance is 0.0"),
    ({"max_iterations": 0}, "max_iterations is 0"),
    ({"pins": [Pin("bra")]}, "no body 'bra'; there are film, bar, cube, table"),
    ({"pins": [Pin("bar", [8])]}, "names vertex 8 of 'bar', which has 0 to 7"),
    ({"pins": [Pin("bar", [-1])]}, "names vertex -1 of 'bar'"),
    ({"pins": [Pin("bar", [0.5])]}, "by whole numbers"),
    ({"pins": [Pin("bar", "all")]}, "by whole numbers"),
    ({"pins": [Pin("bar", np.ones(5, dtype=bool))]}, r"a mask of shape \(5,\) for the 8 vertices of 'bar'"),
    ({"pins": [Pin("bar", np.ones((2, 3), dtype=int))]}, r"by whole numbers \[n\], not int64 \[2, 3\]"),
    ({"pins": [Pin("cube", [0])]}, "which is Rigid: hold all of it .vertices=None., or make it Kinematic"),
    ({"handles": [grip({"cube": None})]}, "'cube' is Rigid; make it Kinematic to move it by a handle"),
    ({"handles": [grip({"cube": [7]})]}, "'cube' is Rigid"),
    ({"handles": [grip({"bra": None})]}, "no body 'bra'"),
    ({"handles": [grip({"bar": [99]})]}, "Handle 'grip' names vertex 99 of 'bar'"),
    ({"handles": [grip({"bar": np.ones(9, dtype=bool)})]}, "Handle 'grip' has a mask"),
    ({"handles": [grip({"bar": [0]}), grip({"bar": [1, 0]}, "other")]}, "'other': vertex 0 of 'bar' is already attached to handle 'grip'"),
    ({"handles": [grip({"bar": [0]}), grip({"bar": [1]})]}, "Two handles have the name 'grip'"),
    (
        {"handles": [grip({"bar": [2]})], "pins": [Pin("bar", [2], "z")]},
        "vertex 2 of 'bar' is already pinned; leave it out of one of the two",
    ),
    ({"handles": [grip(["bar"])]}, "attached must map names of bodies to vertices"),
    ({"handles": [grip({"bar": [0]}, position=(0.0, 1.0))]}, "position must be three finite numbers"),
    ({"handles": [grip({"bar": [0]}, position=(0.0, 1.0, NAN))]}, "position must be three finite numbers"),
    ({"handles": [grip({"bar": [0]}, position="here")]}, "position is 'here'"),
    ({"clamps": clamp(body="bra")}, "no body 'bra'"),
    ({"clamps": clamp(body="bar")}, "'bar', which is no Shell; hold other bodies with a Pin"),
    ({"clamps": clamp(direction=torch.zeros(2, 5, 3) + 1.0)}, r"direction of a clamp of 'film' has shape \[2, 5, 3\]; it must be \[1, 3\]"),
    ({"contact": Contact(friction={("film", "bra"): 0.1})}, "no body 'bra'"),
    ({"contact": Contact(ignored=[("film", "bra")])}, "no body 'bra'"),
    ({"contact": Contact(self_contact=["bra"])}, "no body 'bra'"),
    ({"contact": Contact(self_contact=["cube"])}, "self_contact names 'cube', which keeps its shape"),
    (
        {"contact": Contact(friction=torch.zeros(2, 2))},
        r"friction has shape \[2, 2\]; it must be a number, or one for each environment \['B'\]",
    ),
    ({"bodies": [bar(youngs_modulus=torch.full((2, 2), 1e5))]}, r"bar: youngs_modulus has shape \[2, 2\]"),
    ({"bodies": [bar(youngs_modulus=torch.full((2,), 1e5))], "gravity": torch.zeros(3, 3)}, "gravity has 3, bar: youngs_modulus has 2"),
    ({"bodies": [film(2, 1, rest_angle=torch.zeros(3))]}, r"film: rest_angle has shape \[3\]; it must be \[9\]"),
    ({"bodies": [film(2, 1, rest_angle=torch.full((9,), NAN))]}, "film: rest_angle must be finite"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_MODELS, ids=[message for _, message in BAD_MODELS])
def test_a_model_that_cannot_be_is_refused(changes, message):
    refused(PliantError, message, lambda: model(**changes))


BAD_PARTS = [
    (lambda: Pin("bar", axes="xw"), "axes is 'xw'; it must be made of x, y and z"),
    (lambda: Pin("bar", axes=""), "axes is ''"),
    (lambda: Pin("bar", axes=None), "axes is None"),
    (lambda: clamp(edges=[0, 1]), r"edges must be pairs of vertices \[n, 2\], integers"),
    (lambda: clamp(edges=[[0.0, 1.0]]), "integers, not float64"),
    (lambda: clamp(direction=(1.0, 0.0)), "direction must be finite vectors"),
    (lambda: clamp(direction=NONE), "not zero"),
    (lambda: clamp(direction=(1.0, NAN, 0.0)), "finite"),
    (lambda: clamp(rest_direction=(math.inf, 0.0, 0.0)), "rest_direction must be finite"),
    (lambda: Contact(activation_distance=0.0), "activation_distance is 0"),
    (lambda: Contact(activation_distance=NAN), "activation_distance is nan"),
    (lambda: Contact(friction_speed=-1.0), "friction_speed is -1"),
    (lambda: Contact(offset=-1e-3), "offset is -0.001 m; it must be finite and at least 0"),
    (lambda: Contact(offset=NAN), "offset is nan"),
    (lambda: Contact(offset=math.inf), "offset is inf"),
    (lambda: Contact(stiffness=-1.0), "stiffness is -1"),
    (lambda: Contact(friction=-0.1), "coefficient of friction is -0.1; it must be finite and at least 0"),
    (lambda: Contact(friction=torch.tensor([0.1, NAN])), "coefficient of friction"),
    (lambda: Contact(friction={("a", "b"): -0.1}), "coefficient of friction is -0.1"),
    (lambda: Contact(default_friction=math.inf), "coefficient of friction is inf"),
    (lambda: Contact(friction={"ab": 0.1}), "'ab' must be a pair of names"),
    (lambda: Contact(ignored=[("a", "b", "c")]), "must be a pair of names"),
    (lambda: Contact(friction="rough"), "friction is 'rough'"),
]


@pytest.mark.parametrize(("make", "message"), BAD_PARTS)
def test_a_pin_a_clamp_or_a_contact_that_cannot_be_is_refused(make, message):
    refused(ModelError, message, make)


INNER = STRIP.mesh.faces[0][:2]
SOLVERS = [
    ({"clamps": clamp(edges=[[1, 2]])}, "vertices 1 and 2, which no edge of the boundary joins"),
    ({"clamps": clamp(edges=[[2, 3]])}, "vertices 2 and 3, which no edge of the boundary joins"),
    ({"clamps": clamp(edges=[[0, 99]])}, "vertices 0 and 99"),
    ({"clamps": [*clamp(), *clamp()]}, "an edge that is clamped already"),
    ({"clamps": clamp(edges=[[0, 1], [1, 0]])}, "an edge that is clamped already"),
    ({"clamps": clamp(direction=(0.0, 1.0, 0.0))}, "direction runs along an edge"),
    ({"clamps": clamp(direction=(1.0, 0.0, 0.0))}, "rest_direction points into the sheet at rest; .*turn its sign"),
    (
        {"bodies": [film(2, 1, material=dataclasses.replace(FILM, thickness=0.3))]},
        "0.3 m thick but only 0.06 m wide; thickness is in metres",
    ),
]


@pytest.mark.parametrize(("changes", "message"), SOLVERS, ids=[message for _, message in SOLVERS])
def test_what_only_the_solver_can_see_is_refused_when_it_is_made(changes, message):
    refused(ModelError, message, lambda: SolidSolver(model(**changes)))


def test_a_clamp_of_hinges_is_one_of_their_edges():
    """Hinges have no edge rotation to prescribe; a clamped edge is a hinge to the prescribed plane instead."""
    s = SolidSolver(model(bodies=[HINGED], clamps=clamp(), pins=[Pin("film", where(HINGED, 0, 0.0))]))
    end = play(s, s.initial_state())
    assert -1.2e-3 < float(end.position[..., 2].min()) < -1e-5


def test_bodies_that_intersect_at_the_start_are_named_with_their_elements():
    through = moved(SHEET, 0.3, 0.2, 0.0)
    through = Mesh(through.vertices[:, [0, 2, 1]] + np.array([0.0, 0.55, -0.5]), through.faces)
    bodies = [Shell(SHEET, "lying", material=FILM), Shell(through, "standing", material=FILM)]
    refused(
        ModelError,
        r"(?s)edge \(\d+, \d+\) of '(lying|standing)'.*face \(\d+, \d+, \d+\) of '(lying|standing)'",
        lambda: solver(bodies, contact=Contact()),
    )
    solver(bodies)  # without contact they may


def test_bodies_nearer_than_the_offset_at_the_start_are_named():
    bodies = [Shell(SHEET, "lower", material=FILM), Shell(moved(SHEET, 0.1, 0.1, 1e-4), "upper", material=FILM)]
    refused(
        ModelError,
        "(?s)'(lower|upper)'.*'(lower|upper)'.*nearer than the offset",
        lambda: solver(bodies, contact=Contact(1e-3, offset=3e-4)),
    )


# states and controls


def test_a_batch_of_another_size_than_the_parameters_is_refused():
    s = solver([bar(cells=(1, 1, 1), youngs_modulus=torch.tensor([1e5, 2e5]))])
    refused(ShapeError, "There are 1 environments, but the parameters of the model are for 2", lambda: s.initial_state())
    three = s.initial_state(2)[[0, 1, 0]]
    refused(ShapeError, "There are 3 environments", lambda: s.step(three, s.rest_control(3)))
    refused(ShapeError, "There are 3 environments", lambda: s.energies(three))
    refused(ShapeError, "batches have at least one", lambda: solver([BAR]).initial_state(0))


BAD_TENSORS = [
    ("position", lambda t: t[:, :1], r"state.position has shape \(2, 1, 3\); it must be \(2, 8, 3\)"),
    ("velocity", lambda t: t.float(), "state.velocity is torch.float32"),
    ("contact_stiffness", lambda t: t[:, None], "state.contact_stiffness has shape"),
    ("handle_rotation", lambda t: t[..., :3], "state.handle_rotation has shape"),
    ("linear_velocity", lambda t: t[:, :0], "control.linear_velocity has shape"),
    ("angular_velocity", lambda t: t.float(), "control.angular_velocity is torch.float32"),
    ("force", lambda t: t.sum(1), "control.force has shape"),
    ("force", lambda t: t[:1], "the batch sizes differ"),
]


@pytest.mark.parametrize(("name", "change", "message"), BAD_TENSORS)
def test_a_state_or_a_control_that_does_not_fit_is_refused(name, change, message):
    s = solver([BAR], handles=[grip({"bar": [0]})])
    state, control = s.initial_state(2), s.rest_control(2)

    def step():
        if hasattr(state, name):
            return s.step(state.replace(**{name: change(getattr(state, name))}), control)
        return s.step(state, control.replace(**{name: change(getattr(control, name))}))

    refused(ShapeError, message, step)


def test_a_state_of_another_scene_is_refused():
    s, other = solver([BAR]), solver([STRIP])
    refused(ShapeError, "state.position", lambda: s.step(other.initial_state(), s.rest_control()))
    refused(ShapeError, "control.force has shape", lambda: s.step(s.initial_state(), other.rest_control()))
    refused(ShapeError, "control.linear_velocity has shape", lambda: s.step(s.initial_state(2), s.rest_control(1)))


# a gripper that asks for too much


@pytest.mark.parametrize("held", [False, True], ids=["free", "held at its rim"])
def test_a_gripper_teleported_through_a_sheet_never_tunnels(held):
    """It pushes the sheet along, or the step fails and nothing has moved."""
    body = film(6, 3)
    rim = (body.mesh.vertices[:, :2] < 1e-9).any(1) | where(body, 0, 0.06) | where(body, 1, 0.03)
    finger = Kinematic(moved(tetrahedral_box((0.01, 0.008, 0.006), (1, 1, 1)), 0.023, 0.011, 0.004), "finger")
    contact = Contact(1e-3, offset=3e-4, friction=0.3)
    s = solver(
        [body, finger], contact=contact, handles=[grip({"finger": None})], pins=[Pin("film", rim)] if held else [], max_iterations=150
    )
    control = s.rest_control().replace(linear_velocity=torch.tensor([[[0.0, 0.0, -5.0]]], dtype=F64))
    start = s.initial_state()
    end = s.step(start, control)
    assert crossings(*surface(s, end)) == 0
    if end.outcomes() == [Outcome.NOT_CONVERGED]:
        assert torch.equal(end.position, start.position)
    else:
        assert end.outcomes() == [Outcome.OK]
        assert float(end.position[0, s.model.nodes("finger"), 2].max()) < -0.035  # it is where it was sent, 5 cm lower
        assert float(end.position[0, s.model.nodes("film"), 2].min()) < -0.04  # and the sheet is below it


def test_the_test_of_crossings_sees_what_passes_through():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.2, -1], [0.2, 0.2, 1], [3.0, 3.0, 0.1]])
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    assert crossings(points, faces) > 0
    assert crossings(points + np.array([[0.0, 0, 0]] * 3 + [[2.0, 2.0, 0]] * 3), faces) == 0
    assert crossings(points - np.array([[0.0, 0, 0]] * 3 + [[0.0, 0, -1.5]] * 2 + [[0.0, 0, 0]]), faces) == 0


def test_the_scenes_of_these_tests_are_good_but_for_what_is_wrong_with_them():
    assert SolidModel(ALL, 0.01).node_total == model().node_total
    apart = Contact(ignored=[("film", "bar")])  # both begin at the origin
    SolidSolver(model(clamps=clamp(), contact=apart, handles=[grip({"bar": [0, 1]})], pins=[Pin("cube"), Pin("bar", [7])]))
    solver(**cantilever())
