"""A strip that is pressed on a rough plane until its tip slips."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from ..sim.core import Outcome
from ..sim.mesh import Mesh
from ..sim.mesh_shapes import boundary_edges, patch, sheet
from ..sim.shell import ShellMaterial
from ..sim.solid import Clamp, Contact, Handle, Kinematic, Shell, SolidModel, SolidSolver, SolidState
from .case import Measured, case, require_range
from .shell_scene import NONE, off

_SLIP = np.array([
    [0.05, 0.01238], [0.10, 0.04687], [0.15, 0.09690], [0.20, 0.15487], [0.25, 0.21446], [0.30, 0.27156], [0.35, 0.32399],
])  # fmt: skip
"""mu, and the shortening over the length at which the tip first slips."""
LENGTH, WIDTH = 0.1, 0.01
REACH = 2e-4
"""Activation distance of the contact [m]."""
STUCK = 1e-7
"""How far a tip that sticks may creep in a step [m]."""


@case(
    "shell.stick_slip", source="Sano, Yamaguchi and Wada 2017: clamped elastica with a Coulomb tip, table of our solution", tolerance=0.03
)
def stick_slip(mu: float = 0.2, columns: int = 40, rows: int = 2) -> Measured:
    """A vertical strip, its upper end clamped and lowered, its lower end on a rough plane: when does it slip?

    Args:
        mu: coefficient of friction, 0.05 to 0.35.
        columns: cells along it.
        rows: cells across it.

    Returns:
        Shortening of the strip over its length when the tip first slips.
    """
    require_range(low=0.05 - 1e-9, high=0.35 + 1e-9, mu=mu)
    require_range(low=1, columns=columns, rows=rows)
    reference = float(CubicSpline(*_SLIP.T)(mu))
    solver = _strip(mu, columns, rows)
    low, slipped = _lowered(solver, solver.initial_state(), 0.0)
    if slipped or low is None:
        return Measured(math.nan, reference, math.nan)
    step = 0.1 * reference * LENGTH
    # Lowered until it slips; then again from before that, in shorter steps.
    while step > 1e-3 * reference * LENGTH:
        state, slipped = _lowered(solver, low, step)
        if state is None or _shortening(solver, low) > 2 * reference:
            return Measured(math.nan, reference, math.nan)
        if slipped:
            step *= 0.5
        else:
            low = state
    value = _shortening(solver, low) + 0.5 * step / LENGTH
    return Measured(value, reference, off([value], [reference]))


def _strip(mu: float, columns: int, rows: int) -> SolidSolver:
    """A strip from z = 0 upwards, straight at rest; it starts bent a little, as it would buckle."""
    mesh = patch(columns, rows, lambda s, t: np.column_stack([0 * s, WIDTH * t, LENGTH * s]))
    s = mesh.vertices[:, 2] / LENGTH
    # The buckled shape of a column that is hinged below and clamped above, k = tan k; its slope gives the heights.
    k, size = 4.4934094579, 0.012
    along = np.linspace(0.0, 1.0, 4001)
    lean = size * (np.sin(k * along) / k - np.cos(k) * along)
    slope = size * (np.cos(k * along) - np.cos(k))
    rise = np.concatenate([[0.0], np.cumsum(np.sqrt(1 - 0.5 * (slope[1:] ** 2 + slope[:-1] ** 2)) * np.diff(along))])
    start = mesh.vertices.copy()
    start[:, 0] = LENGTH * np.interp(s, along, lean)
    start[:, 2] = LENGTH * np.interp(s, along, rise) + 0.6 * REACH
    plane = sheet(0.4, 0.4, 1, 1)
    plane = Mesh(plane.vertices - np.array([0.2, 0.1, 0.0]), plane.faces)
    top = s > 1 - 1e-9
    material = ShellMaterial(1e6, 0.0, 1e-3, 1000.0)
    pressure = 20.2 * 1e6 * 1e-9 / 12 * WIDTH / LENGTH**2 / (WIDTH * 0.5 * LENGTH / columns)
    model = SolidModel(
        [Shell(mesh, "strip", material=material, start=start), Kinematic(plane, "plane")],
        dt=1.0,
        gravity=NONE,
        integrator="static",
        contact=Contact(REACH, friction=mu, friction_speed=STUCK, stiffness=5 * pressure),
        handles=[Handle("clamp", (0.0, 0.0, float(start[top, 2][0])), {"strip": top})],
        clamps=[Clamp("strip", boundary_edges(mesh, top), (0.0, 0.0, 1.0))],
        tolerance=1e-10,
    )
    return SolidSolver(model)


def _lowered(solver: SolidSolver, state: SolidState, by: float) -> tuple[SolidState | None, bool]:
    """The state with the clamp lowered [m], and whether the tip slipped."""
    down = torch.tensor([[[0.0, 0.0, -by]]], dtype=torch.float64)
    new = solver.step(state, solver.rest_control().replace(linear_velocity=down))
    if new.outcomes() != [Outcome.OK]:
        return None, False
    moved = float((new.position - state.position)[0, _tip(solver), 0].abs().max())
    return new, moved > 2 * STUCK


def _tip(solver: SolidSolver) -> torch.Tensor:
    height = torch.tensor(solver.model.body("strip").mesh.vertices[:, 2])
    return (height < 1e-9).nonzero()[:, 0]


def _shortening(solver: SolidSolver, state: SolidState) -> float:
    """By how much the strip's ends are nearer than its length, in lengths."""
    place = state.position[0, solver.model.nodes("strip"), 2]
    return float(1 - (place.max() - place[_tip(solver)].mean()) / LENGTH)
