"""A slit annulus that is lifted at one lip, and a strip on edge that buckles sideways."""

from __future__ import annotations

import math

import numpy as np
from scipy.interpolate import CubicSpline, RegularGridInterpolator

from ..sim.core import Outcome
from ..sim.mesh_shapes import boundary_edges, patch
from ..sim.shell import ShellMaterial
from ..sim.solid import Clamp
from .case import Measured, case, require_range
from .shell_scene import areas, displacement, line_load, off, pin, raise_load, sheet_solver

_ANNULUS = np.array([
    [0.0, 0.0, 0.0], [0.025, 1.305, 1.789], [0.05, 2.455, 3.370], [0.1, 4.277, 5.876], [0.15, 5.649, 7.736], [0.2, 6.725, 9.160],
    [0.3, 8.340, 11.213], [0.4, 9.529, 12.661], [0.5, 10.468, 13.768], [0.6, 11.257, 14.674], [0.7, 11.970, 15.469], [0.8, 12.642, 16.202],
    [0.9, 13.282, 16.886], [1.0, 13.891, 17.528],
])  # fmt: skip
"""P / Pmax, W_A (inner), W_B (outer)."""

_BUCKLING = {
    "width": [0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0],
    "poisson": [0.0, 0.3, 0.35, 0.5],
    "load": [
        [18.178, 14.508, 13.729, 11.132], [18.76, 15.07, 14.28, 11.64], [19.35, 15.67, 14.88, 12.20], [20.64, 17.00, 16.20, 13.45],
        [22.03, 18.46, 17.65, 14.86], [24.96, 21.60, 20.82, 18.01], [28.78, 25.74, 25.00, 22.31], [32.52, 29.83, 29.17, 26.69],
    ],
}  # fmt: skip
"""Critical Gamma* of a strip of depth w / L: Kirchhoff plate with plane-stress prestress, Ritz method, to 0.5 %."""


@case("shell.slit_annulus", source="Sze, Liu and Lo 2004, C3, table; cubic between its rows", tolerance=0.03)
def slit_annulus(load: float = 0.5, columns: int = 60, rows: int = 10, irregular: int = 0) -> Measured:
    """An annular plate with a slit, one lip clamped, the other lifted: radii 6 and 10, h = 0.03, E = 21e6, nu = 0, Pmax = 0.8 a length.

    Args:
        load: share of Pmax.
        columns: cells around it.
        rows: cells from the inner to the outer rim.
        irregular: 1 for an irregular mesh.

    Returns:
        Lift of the inner and the outer end of the free lip.
    """
    require_range(high=1.0 + 1e-9, load=load)
    require_range(low=1, columns=columns, rows=rows)

    def ring(s: np.ndarray, t: np.ndarray) -> np.ndarray:
        angle, radius = 2 * np.pi * s, 6.0 + 4.0 * t
        return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), 0 * s])

    mesh = patch(columns, rows, ring, irregular=bool(irregular))
    count = len(mesh.vertices)
    root, lip = (np.zeros(count, dtype=bool) for _ in range(2))
    root[: rows + 1], lip[count - rows - 1 :] = True, True
    material = ShellMaterial(youngs_modulus=21e6, poisson_ratio=0.0, thickness=0.03, density=1.0)
    clamp = Clamp("sheet", boundary_edges(mesh, root), (0.0, -1.0, 0.0))
    solver = sheet_solver(mesh, material, pins=[pin(root)], clamps=[clamp], tolerance=1e-7, most=1000)
    force = 0.8 * 4.0 * load * line_load(mesh, lip)[:, None] * np.array([0.0, 0.0, 1.0])
    state = raise_load(solver, force, max(5, math.ceil(30 * load)))
    move = displacement(solver, state)
    value = [float(move[count - rows - 1, 2]), float(move[count - 1, 2])]
    table = CubicSpline(_ANNULUS[:, 0], _ANNULUS[:, 1:])
    reference = [float(w) for w in table(load)]
    return Measured(value, reference, off(value, reference))


@case("shell.lateral_buckling", source="Romero et al. 2021, 'Lateral buckling'; Kirchhoff plate, Ritz, trusted to 0.5 %", tolerance=0.03)
def lateral_buckling(width: float = 0.2, poisson: float = 0.3, columns: int = 48, rows: int = 0) -> Measured:
    """A clamped strip on edge that its own weight makes buckle sideways.

    The state under weight is found with the strip held in its plane; it is stable out of the plane as long as the Hessian has no negative
    eigenvalue, and the weight at which it gets one is bracketed.

    Args:
        width: depth over length.
        poisson: Poisson's ratio.
        columns: cells along it.
        rows: cells across it; 0 for square ones, at least 6.

    Returns:
        Critical Gamma* = 12 (1 - nu^2) rho g L^3 / (E h^2).
    """
    require_range(high=1.0 + 1e-9, width=width)
    require_range(low=-1e-9, high=0.5, poisson=poisson)
    require_range(low=1, columns=columns)
    rows = rows or max(6, round(columns * width))
    mesh = patch(columns, rows, lambda s, t: np.column_stack([s, 0 * s, width * (t - 0.5)]))
    root = mesh.vertices[:, 0] < 1e-9
    thickness = 1e-3
    material = ShellMaterial(youngs_modulus=1e9, poisson_ratio=poisson, thickness=thickness, density=1000.0)
    clamp = Clamp("sheet", boundary_edges(mesh, root), (-1.0, 0.0, 0.0))
    flat = sheet_solver(mesh, material, pins=[pin(root), pin(root | True, "y")], clamps=[clamp], tolerance=1e-12)
    loose = sheet_solver(mesh, material, pins=[pin(root)], clamps=[clamp], tolerance=1e-12)

    def stable(gamma: float) -> bool:
        pull = gamma * 1e9 * thickness**3 / (12 * (1 - poisson**2))  # rho g h L^3 = Gamma* D
        state = raise_load(flat, pull * areas(mesh)[:, None] * np.array([0.0, 0.0, -1.0]), 1)
        return state is not None and state.outcomes() == [Outcome.OK] and int(loose.negative_modes(state)[0]) == 0

    known = RegularGridInterpolator((_BUCKLING["width"], _BUCKLING["poisson"]), np.array(_BUCKLING["load"]))
    reference = float(known((width, poisson)))
    low, high = 0.5 * reference, 1.5 * reference
    if not stable(low) or stable(high):
        return Measured(math.nan, reference, math.nan)
    for _ in range(12):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if stable(middle) else (low, middle)
    value = 0.5 * (low + high)
    return Measured(value, reference, off([value], [reference]))
