"""Small scenes of the implicit solver for tests, and looks at them that owe nothing to it."""

import numpy as np
import pytest
import torch

from pliant.sim.core import Outcome
from pliant.sim.mesh import Mesh
from pliant.sim.mesh_shapes import ball, boundary_edges, sheet, tetrahedral_box
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
    determinant,
)

F64 = torch.float64
NONE = (0.0, 0.0, 0.0)
FILM = ShellMaterial(youngs_modulus=2e7, poisson_ratio=0.3, thickness=3e-4, density=900.0)


def stable_neo_hookean(F, par):
    """The law of that name, written again."""
    growth = determinant(F) - 1
    return par[0] / 2 * ((F * F).sum() - 3) - par[0] * growth + (par[1] + par[0]) / 2 * growth**2


def own_rubber(density=1000.0, youngs_modulus=1e5, poisson_ratio=0.3):
    """The stable neo-Hookean law as a user would bring it."""
    mu = youngs_modulus / (2 * (1 + poisson_ratio))
    lam = youngs_modulus * poisson_ratio / ((1 + poisson_ratio) * (1 - 2 * poisson_ratio))
    return Hyperelastic(density, stable_neo_hookean, [mu, lam])


LAWS = {
    "stable_neo_hookean": StableNeoHookean,
    "fixed_corotated": FixedCorotated,
    "linear": LinearElastic,
    "hyperelastic": own_rubber,
}
"""Materials of tetrahedra by the names of their laws."""


def number(value):
    return torch.tensor(value, dtype=F64)


def moved(mesh, x=0.0, y=0.0, z=0.0):
    return Mesh(mesh.vertices + np.array([x, y, z]), mesh.faces, mesh.tetrahedra)


def bar(law=StableNeoHookean, name="bar", cells=(3, 1, 1), **given):
    """A bar of 9 x 3 x 3 cm along x."""
    material = law(given.pop("density", 1000.0), given.pop("youngs_modulus", 1e5), given.pop("poisson_ratio", 0.3))
    return Solid(tetrahedral_box((0.09, 0.03, 0.03), cells), name, material=material, **given)


def cube(side, x=0.0, y=0.0, z=0.0, *, name="cube", density=500.0, **given):
    """A rigid cube with its lowest corner at a place."""
    return Rigid(moved(tetrahedral_box((side, side, side), (1, 1, 1)), x, y, z), name, density=density, **given)


def table(size=0.4, height=0.0, name="table"):
    return Kinematic(moved(sheet(size, size, 2, 2), -size / 2, -size / 2, height), name)


def film(columns=6, rows=3, length=0.06, width=0.03, name="film", material=FILM, at=NONE, **given):
    """A sheet along x."""
    return Shell(moved(sheet(length, width, columns, rows), *at), name, material=material, **given)


def where(body, axis, value):
    """The mask of the vertices of a body's mesh at a coordinate."""
    return np.abs(body.mesh.vertices[:, axis] - value) < 1e-9


def cantilever(material=FILM, columns=8, rows=2, **given):
    """A film of 6 x 1.5 cm clamped at x = 0 that reaches out along x: bodies, pins and clamps."""
    body = film(columns, rows, width=0.015, material=material, **given)
    root = where(body, 0, 0.0)
    return {"bodies": [body], "pins": [Pin("film", root)], "clamps": [Clamp("film", boundary_edges(body.mesh, root), (-1.0, 0.0, 0.0))]}


def solver(bodies, dt=0.01, **given):
    return SolidSolver(SolidModel(bodies, dt=dt, **given))


def play(solver, state, control=None, steps=1):
    """The state after some steps, every one of which must succeed."""
    control = solver.rest_control(state.batch) if control is None else control
    for _ in range(steps):
        state = solver.step(state, control)
        assert state.outcomes() == [Outcome.OK] * state.batch
    return state


def same_bits(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.tensors(), b.tensors(), strict=True))


def drag_scene(friction=0.4, youngs_modulus=2e7, pad_modulus=1e5, density=400.0, gravity=(0.0, 0.0, -9.81), **given):
    """A soft pad that a gripper holds over a film on a table, and a rigid cube on the film; the gripper's name is grip."""
    block = tetrahedral_box((0.01, 0.01, 0.006), (1, 1, 1))
    pad = Solid(moved(block, 0.01, 0.01, 2.2e-3), "pad", material=StableNeoHookean(1000.0, pad_modulus, 0.3))
    sheet_material = ShellMaterial(youngs_modulus, 0.3, 3e-4, 900.0, 8.0, 0.3)
    bodies = [film(4, 2, material=sheet_material), pad, cube(0.01, 0.04, 0.01, 1.2e-3, density=density), table(height=-1.2e-3)]
    grip = Handle("grip", (0.015, 0.015, 8e-3), {"pad": where(pad, 2, 8.2e-3)})
    contact = Contact(1e-3, offset=2e-4, friction=friction, friction_speed=5e-3)
    return solver(bodies, 0.005, gravity=gravity, contact=contact, handles=[grip], **given)


def press_and_drag(solver, batch=1, press=4, drag=4):
    """What the gripper of `drag_scene` does step by step."""
    rest = solver.rest_control(batch)
    plan = [(0.0, 0.0, -0.1)] * press + [(0.1, 0.0, 0.0)] * drag
    return [rest.replace(linear_velocity=rest.linear_velocity + torch.tensor(way, dtype=F64)) for way in plan]


def crossings(points, faces):
    """How many pairs of an edge and a face of a surface, without a common vertex, pass through each other; by volumes of tetrahedra."""
    edges = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    e, f = np.meshgrid(np.arange(len(edges)), np.arange(len(faces)), indexing="ij")
    e, f = e.ravel(), f.ravel()
    apart = ~(edges[e][:, :, None] == faces[f][:, None, :]).any((1, 2))
    e, f = edges[e[apart]], faces[f[apart]]
    (p, q), (a, b, c) = (points[e[:, i]] for i in range(2)), (points[f[:, i]] for i in range(3))

    def volume(u, v, w, x):
        return np.einsum("ni,ni->n", np.cross(v - u, w - u), x - u)

    sides = volume(a, b, c, p) * volume(a, b, c, q) < 0
    turns = np.sign([volume(p, q, a, b), volume(p, q, b, c), volume(p, q, c, a)])
    return int((sides & (np.abs(turns.sum(0)) == 3)).sum())


def surface(solver, state, environment=0):
    """The surface of all bodies in one piece: points and faces."""
    points, faces, count = [], [], 0
    for body in solver.model.bodies:
        points.append(solver.vertices(state, body.name)[environment].detach().numpy())
        faces.append(body.mesh.faces + count)
        count += len(points[-1])
    return np.concatenate(points), np.concatenate(faces)


def ball_mesh(radius=0.05, finer=3):
    return ball(radius, finer=finer)


def slopes(function, inputs, steps):
    """Derivatives of a function of named tensors along a random way in each of them: by autograd, and by central differences.

    Args:
        function: of a dictionary like `inputs`; returns a scalar.
        inputs: where.
        steps: how far the differences go in each, of the size of their entries.

    Returns:
        A pair for each input.
    """
    draw = torch.Generator().manual_seed(1)
    ways = {name: torch.randn(value.shape, generator=draw, dtype=F64) for name, value in inputs.items()}
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    gradients = torch.autograd.grad(function(leaves), list(leaves.values()), allow_unused=True)
    found = {}
    with torch.no_grad():
        for (name, value), gradient in zip(inputs.items(), gradients, strict=True):
            ends = [float(function({**inputs, name: value + sign * steps[name] * ways[name]})) for sign in (1, -1)]
            slope = 0.0 if gradient is None else float((gradient * ways[name]).sum())
            found[name] = slope, (ends[0] - ends[1]) / (2 * steps[name])
    return found


def check(function, inputs, steps, tolerance, silent=()):
    """Compares the slopes in all inputs; those that have no influence must be named."""
    steps = {name: steps.get(name, 1e-5 * float(value.abs().max()) if value.numel() else 1.0) for name, value in inputs.items()}
    for name, (found, expected) in slopes(function, inputs, steps).items():
        print(f"{name:20} {found:16.9g} {expected:16.9g} {abs(found - expected) / (abs(expected) + 1e-300):.1e}")
        if name in silent:
            assert (found, expected) == (0.0, 0.0), name
        else:
            assert expected != 0.0, name
            assert found == pytest.approx(expected, rel=tolerance), name


def score(state, scales):
    """One number that depends on every real entry of a state."""
    total = torch.zeros((), dtype=F64)
    for name, tensor in state.floats().items():
        if name in scales and tensor.numel():
            total = total + (tensor.flatten() * torch.linspace(0.5, 1.5, tensor.numel(), dtype=F64)).sum() / scales[name]
    return total
