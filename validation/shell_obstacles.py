"""Plates and curved shells under small loads: the linear obstacle course of Belytschko et al. 1985, MacNeal and Harder 1985."""

from __future__ import annotations

import math

import numpy as np

from ..sim.mesh import Mesh
from ..sim.mesh_shapes import boundary_edges, patch, sheet
from ..sim.shell import ShellMaterial
from ..sim.solid import Clamp, Pin
from .case import Measured, case, require_choice, require_range
from .shell_scene import areas, displacement, off, pin, raise_load, sheet_solver

SMALL = 1e-6
"""Loads are taken this small, so that the non-linear solver gives the linear answer."""
NEAR = 1e-6


def _symmetry(mesh: Mesh, axis: int, outwards: float) -> tuple[Pin, Clamp]:
    """Holds what lies in the plane where coordinate `axis` is 0 in it, and the shell's tangent there along its normal."""
    on = np.abs(mesh.vertices[:, axis]) < NEAR
    direction = np.zeros(3)
    direction[axis] = outwards
    return pin(on, "xyz"[axis]), Clamp("sheet", boundary_edges(mesh, on), direction)


@case("shell.plate_deflection", source="Timoshenko and Woinowsky-Krieger 1959: 0.00406, 0.01160, 0.00126, 0.00560", tolerance=0.02)
def plate_deflection(edges: str = "supported", load: str = "uniform", cells: int = 60, irregular: int = 0) -> Measured:
    """A square plate under a small load, nu = 0.3: deflection of its centre.

    Args:
        edges: supported or clamped.
        load: uniform or centre.
        cells: along each side.
        irregular: 1 for an irregular mesh.

    Returns:
        w D / (q a^4) under a uniform load, w D / (P a^2) under one at the centre.
    """
    require_choice("edges", edges, ("supported", "clamped"))
    require_choice("load", load, ("uniform", "centre"))
    require_range(low=3, cells=cells)
    if cells % 2:
        cells += 1
    mesh = sheet(1.0, 1.0, cells, cells, irregular=bool(irregular))
    x, y, _z = mesh.vertices.T
    sides = {(0, 0.0): (-1.0, 0.0, 0.0), (0, 1.0): (1.0, 0.0, 0.0), (1, 0.0): (0.0, -1.0, 0.0), (1, 1.0): (0.0, 1.0, 0.0)}
    on = {side: np.abs(mesh.vertices[:, side[0]] - side[1]) < NEAR for side in sides}
    rim = np.any(list(on.values()), axis=0)
    clamps = [Clamp("sheet", boundary_edges(mesh, on[side]), out) for side, out in sides.items()] if edges == "clamped" else []
    modulus, thickness = 1e9, 0.01
    rigidity = modulus * thickness**3 / 12 / (1 - 0.3**2)
    material = ShellMaterial(youngs_modulus=modulus, poisson_ratio=0.3, thickness=thickness, density=1.0)
    solver = sheet_solver(mesh, material, pins=[pin(rim)], clamps=clamps, tolerance=1e-13)
    centre = int(np.argmin((x - 0.5) ** 2 + (y - 0.5) ** 2))
    force = np.zeros_like(mesh.vertices)
    force[:, 2] = areas(mesh) if load == "uniform" else np.eye(len(mesh.vertices))[centre]
    scale = SMALL * rigidity
    state = raise_load(solver, scale * force, 1)
    # Where the irregular centre moved to, the deflection is flat to first order.
    value = float(displacement(solver, state)[centre, 2] / SMALL)
    reference = {"supported uniform": 0.00406, "supported centre": 0.01160, "clamped uniform": 0.00126, "clamped centre": 0.00560}
    return Measured(value, reference[f"{edges} {load}"], off([value], [reference[f"{edges} {load}"]]))


@case("shell.scordelis_lo", source="Scordelis and Lo 1964; MacNeal and Harder 1985: 0.3024 (theory)", tolerance=0.03)
def scordelis_lo(cells: int = 24, irregular: int = 0) -> Measured:
    """A cylindrical roof on diaphragms under its own weight: R = 25, L = 50, t = 0.25, E = 4.32e8, nu = 0, 90 per area, 40 degrees.

    Args:
        cells: along each side of a quarter of it.
        irregular: 1 for an irregular mesh.

    Returns:
        Drop of the middle of the free edge.
    """
    require_range(low=1, cells=cells)
    mesh = patch(cells, cells, lambda s, t: np.column_stack([25 * np.sin(np.radians(40 * s)), 25 * t, 25 * np.cos(np.radians(40 * s))]),
                 irregular=bool(irregular))  # fmt: skip
    x, y, _z = mesh.vertices.T
    crown, middle = _symmetry(mesh, 0, -1.0), _symmetry(mesh, 1, -1.0)
    material = ShellMaterial(youngs_modulus=4.32e8, poisson_ratio=0.0, thickness=0.25, density=1.0)
    solver = sheet_solver(
        mesh, material, pins=[crown[0], middle[0], pin(y > 25 - NEAR, "xz")], clamps=[crown[1], middle[1]], tolerance=1e-12
    )
    force = SMALL * 90.0 * areas(mesh)[:, None] * np.array([0.0, 0.0, -1.0])
    corner = int(np.argmax(x - y))
    value = float(-displacement(solver, raise_load(solver, force, 1))[corner, 2] / SMALL)
    return Measured(value, 0.3024, off([value], [0.3024]))


@case("shell.pinched_cylinder", source="MacNeal and Harder 1985: 1.8248e-5, = 164.24 P / (E t)", tolerance=0.03)
def pinched_cylinder(cells: int = 90, irregular: int = 0) -> Measured:
    """A cylinder with diaphragms, pinched by two opposite forces: R = 300, L = 600, t = 3, E = 3e6, nu = 0.3, P = 1.

    Args:
        cells: along each side of an eighth of it.
        irregular: 1 for an irregular mesh.

    Returns:
        Deflection under a force.
    """
    require_range(low=1, cells=cells)
    mesh = patch(cells, cells, lambda s, t: np.column_stack([300 * np.sin(0.5 * np.pi * s), 300 * t, 300 * np.cos(0.5 * np.pi * s)]),
                 irregular=bool(irregular))  # fmt: skip
    x, y, z = mesh.vertices.T
    holds = [_symmetry(mesh, axis, -1.0) for axis in range(3)]
    material = ShellMaterial(youngs_modulus=3e6, poisson_ratio=0.3, thickness=3.0, density=1.0)
    solver = sheet_solver(
        mesh, material, pins=[*(hold[0] for hold in holds), pin(y > 300 - NEAR, "xz")], clamps=[hold[1] for hold in holds], tolerance=1e-11
    )
    load = int(np.argmax(z - y - np.abs(x)))
    force = np.zeros_like(mesh.vertices)
    force[load, 2] = -0.25 * SMALL * 1e5
    value = float(-displacement(solver, raise_load(solver, force, 1))[load, 2] / (SMALL * 1e5))
    return Measured(value, 1.8248e-5, off([value], [1.8248e-5]))


@case("shell.pinched_hemisphere", source="Morley and Morris 1978, MacNeal and Harder 1985 (closed): 0.0924", tolerance=0.03)
def pinched_hemisphere(cells: int = 32, irregular: int = 0) -> Measured:
    """A closed hemisphere, pulled along x and pushed along y at its rim: R = 10, t = 0.04, E = 6.825e7, nu = 0.3, P = 2.

    Args:
        cells: along each side of a quarter of it.
        irregular: 1 for an irregular mesh.

    Returns:
        Deflection along the pull.
    """
    require_range(low=1, cells=cells)
    mesh = _octant(cells, 10.0, bool(irregular))
    x, y, z = mesh.vertices.T
    first, second = _symmetry(mesh, 0, -1.0), _symmetry(mesh, 1, -1.0)
    pole = np.argmax(z)
    material = ShellMaterial(youngs_modulus=6.825e7, poisson_ratio=0.3, thickness=0.04, density=1.0)
    solver = sheet_solver(
        mesh, material, pins=[first[0], second[0], Pin("sheet", [int(pole)], "z")], clamps=[first[1], second[1]], tolerance=1e-13
    )
    pulled, pushed = int(np.argmax(x)), int(np.argmax(y))
    force = np.zeros_like(mesh.vertices)
    force[pulled, 0], force[pushed, 1] = SMALL, -SMALL
    move = displacement(solver, raise_load(solver, force, 1)) / SMALL
    value = float(0.5 * (move[pulled, 0] - move[pushed, 1]))
    return Measured(value, 0.0924, off([value], [0.0924]))


def _octant(cells: int, radius: float, irregular: bool) -> Mesh:
    """An eighth of a sphere, the face of an octahedron split evenly and blown up; corners on the axes, normals outwards."""
    steps = [(i, j) for i in range(cells + 1) for j in range(cells + 1 - i)]
    number = {step: k for k, step in enumerate(steps)}
    spot = np.array(steps, dtype=float)
    if irregular:
        inner = (spot > 0).all(1) & (spot.sum(1) < cells)
        spot[inner] += np.random.default_rng(0).uniform(-0.25, 0.25, (int(inner.sum()), 2))
    a, b = (0.5 * math.pi * spot / cells).T
    weights = np.column_stack([np.sin(a), np.sin(b), np.sin(0.5 * math.pi - a - b)])
    up = [(number[i, j], number[i + 1, j], number[i, j + 1]) for i, j in steps if i + j < cells]
    down = [(number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]) for i, j in steps if i + j < cells - 1]
    return Mesh(radius * weights / np.linalg.norm(weights, axis=1, keepdims=True), np.array(up + down))
