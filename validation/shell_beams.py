"""Strips that bend like beams, compared with the elastica and with published tables."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ..sim.mesh import Mesh
from ..sim.mesh_shapes import boundary_edges, sheet
from ..sim.shell import ShellMaterial
from ..sim.solid import Clamp
from .case import Measured, case, require_range
from .elastica import own_weight, tip_load
from .shell_scene import displacement, line_load, off, pin, raise_load, sheet_solver, weight_of

STRIP = ShellMaterial(youngs_modulus=1e6, poisson_ratio=0.0, thickness=1e-3, density=1000.0)
LENGTH, WIDTH = 0.1, 0.005


def _clamped_end(mesh: Mesh) -> tuple[np.ndarray, Clamp]:
    """The mask of the vertices at x = 0, and the clamp of the edges between them."""
    root = np.abs(mesh.vertices[:, 0]) < 1e-9
    return root, Clamp("sheet", boundary_edges(mesh, root), (-1.0, 0.0, 0.0))


@case("shell.cantilever", source="Romero et al. 2021, 'Cantilever': the elastica under its own weight, by collocation", tolerance=0.01)
def cantilever(gamma: float = 10.0, columns: int = 40, rows: int = 4, irregular: int = 0) -> Measured:
    """A clamped strip that bends under its own weight.

    Args:
        gamma: weight over stiffness, rho g S L^3 / (E I); Poisson's ratio is zero, so that a strip is a beam.
        columns: cells along it.
        rows: cells across it.
        irregular: 1 for an irregular mesh.

    Returns:
        Height over width of the box around the centre line.
    """
    require_range(high=1000.0 + 1e-9, gamma=gamma)
    require_range(low=1, columns=columns, rows=rows)
    mesh = sheet(LENGTH, WIDTH, columns, rows, irregular=bool(irregular))
    # Heavy strips bend within L / sqrt(gamma) of the clamp: there the cells are a quarter as long as the mean.
    along = mesh.vertices[:, 0] / LENGTH
    mesh = Mesh(mesh.vertices * np.column_stack([0.25 + 0.75 * along, 0 * along + 1, 0 * along]), mesh.faces)
    root, clamp = _clamped_end(mesh)
    # So thin that it does not stretch: the strain is of the order of gamma h^2 / (12 L^2).
    material = dataclasses.replace(STRIP, thickness=2e-4)
    solver = sheet_solver(mesh, material, pins=[pin(root)], clamps=[clamp], tolerance=1e-9, most=2000)
    gravity = gamma * 1e6 * 2e-4**2 / 12 / (1000.0 * LENGTH**3)
    state = raise_load(solver, weight_of(material, mesh, (0.0, 0.0, -gravity)), max(2, math.ceil(2 * math.log2(1 + gamma))))
    place = mesh.vertices + displacement(solver, state)
    line = place.reshape(columns + 1, rows + 1, 3).mean(1)
    value = float(np.ptp(line[:, 2]) / np.ptp(line[:, 0]))
    height, width = own_weight(gamma)
    return Measured(value, height / width, off([value], [height / width]))


@case("shell.tip_load", source="Bisshopp and Drucker 1945, Mattiasson 1981: the elastica, by collocation", tolerance=0.01)
def tip(alpha: float = 4.0, columns: int = 40, rows: int = 4, irregular: int = 0) -> Measured:
    """A clamped strip with a dead load at its tip.

    Args:
        alpha: load over stiffness, P L^2 / (E I).
        columns: cells along it.
        rows: cells across it.
        irregular: 1 for an irregular mesh.

    Returns:
        Drop of the tip, and how much nearer it comes to the clamp, in lengths.
    """
    require_range(high=20.0, alpha=alpha)
    require_range(low=1, columns=columns, rows=rows)
    mesh = sheet(LENGTH, WIDTH, columns, rows, irregular=bool(irregular))
    root, clamp = _clamped_end(mesh)
    end = mesh.vertices[:, 0] > LENGTH - 1e-9
    solver = sheet_solver(mesh, STRIP, pins=[pin(root)], clamps=[clamp], tolerance=1e-9)
    load = alpha * 1e6 * WIDTH * 1e-3**3 / 12 / LENGTH**2
    state = raise_load(solver, -load * line_load(mesh, end)[:, None] * np.array([0.0, 0.0, 1.0]), max(2, math.ceil(alpha)))
    move = displacement(solver, state)[end].mean(0)
    value = [float(-move[2] / LENGTH), float(-move[0] / LENGTH)]
    reference = list(tip_load(alpha))
    return Measured(value, reference, off(value, reference))


@case("shell.end_shear", source="Sze, Liu and Lo 2004, C1 (nu = 0): the elastica, which their table agrees with to 0.15 %", tolerance=0.01)
def end_shear(load: float = 1.0, columns: int = 40, rows: int = 4, irregular: int = 0) -> Measured:
    """A cantilever plate under a shear force at its end: L = 10, b = 1, h = 0.1, E = 1.2e6, P_max = 4.

    Args:
        load: share of P_max.
        columns: cells along it.
        rows: cells across it.
        irregular: 1 for an irregular mesh.

    Returns:
        [-U, W] of the end [m].
    """
    require_range(high=1.5, load=load)
    require_range(low=1, columns=columns, rows=rows)
    mesh = sheet(10.0, 1.0, columns, rows, irregular=bool(irregular))
    root, clamp = _clamped_end(mesh)
    end = mesh.vertices[:, 0] > 10.0 - 1e-9
    material = ShellMaterial(youngs_modulus=1.2e6, poisson_ratio=0.0, thickness=0.1, density=1.0)
    solver = sheet_solver(mesh, material, pins=[pin(root)], clamps=[clamp], tolerance=1e-8)
    state = raise_load(solver, 4.0 * load * line_load(mesh, end)[:, None] * np.array([0.0, 0.0, 1.0]), max(2, math.ceil(8 * load)))
    move = displacement(solver, state)[end].mean(0)
    value = [float(-move[0]), float(move[2])]
    drop, approach = tip_load(4.0 * load * 100.0 / 100.0)
    reference = [10.0 * approach, 10.0 * drop]
    return Measured(value, reference, off(value, reference))


@case("shell.roll_up", source="Sze, Liu and Lo 2004, C2 (nu = 0): an arc of curvature M / (E I)", tolerance=0.01)
def roll_up(fraction: float = 0.5, columns: int = 40, rows: int = 3, irregular: int = 0) -> Measured:
    """A cantilever plate that an end moment rolls up: L = 12, b = 1, h = 0.1, E = 1.2e6, M_max = 50 pi / 3, which closes the circle.

    The end is turned as far as the moment turns it, free to go where it likes, and the moment that this takes is measured.

    Args:
        fraction: moment over M_max.
        columns: cells along it.
        rows: cells across it.
        irregular: 1 for an irregular mesh.

    Returns:
        [-U, W] of the end [m].
    """
    require_range(high=1.0 + 1e-9, fraction=fraction)
    require_range(low=1, columns=columns, rows=rows)
    mesh = sheet(12.0, 1.0, columns, rows, irregular=bool(irregular))
    root, clamp = _clamped_end(mesh)
    end = mesh.vertices[:, 0] > 12.0 - 1e-9
    edges = boundary_edges(mesh, end)
    material = ShellMaterial(youngs_modulus=1.2e6, poisson_ratio=0.0, thickness=0.1, density=1.0)
    state, steps = None, max(4, math.ceil(24 * fraction))
    for part in np.linspace(0.0, 1.0, steps + 1)[1:]:
        angle = 2 * math.pi * fraction * part
        turned = Clamp("sheet", edges, (math.cos(angle), 0.0, math.sin(angle)), rest_direction=(1.0, 0.0, 0.0))
        # The end must not twist out of the plane of bending; its edges stay parallel to y.
        solver = sheet_solver(mesh, material, pins=[pin(root), pin(end, "y")], clamps=[clamp, turned], tolerance=1e-8)
        state = raise_load(solver, np.zeros_like(mesh.vertices), 1, state)
        if state is None:
            break
    move = displacement(solver, state)[end].mean(0)
    value = [float(-move[0]), float(move[2])]
    stiffness, moment = 1.2e6 * 0.1**3 / 12, 50 * math.pi / 3 * fraction
    angle = moment * 12.0 / stiffness
    reference = [12.0 - stiffness / moment * math.sin(angle), stiffness / moment * (1 - math.cos(angle))]
    # Where a reference is near zero (W of a closed circle) errors are relative to the radius.
    size = stiffness / moment
    error = float(np.max(np.abs(np.subtract(value, reference)) / np.maximum(np.abs(reference), size)))
    return Measured(value, reference, error)
