"""Scenes of the shell benchmark: the folding of a strip by a fingertip, and sheets that hang from two corners or fall on a ball."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ..sim.mesh import Mesh
from ..sim.mesh_shapes import ball, bent_strip, fingertip, sheet
from ..sim.shell import ShellMaterial
from ..sim.solid import Contact, Handle, Kinematic, Pin, Shell, Solid, SolidModel, StableNeoHookean

NONE = (0.0, 0.0, 0.0)

# ---- folding

DT = 5e-3
"""[s]."""
LENGTH, WIDTH, COLUMNS, ROWS = 0.1, 0.02, 15, 3
CELL = LENGTH / COLUMNS
RIGIDITY = 2 / 3 * 400.0 * CELL**2
"""Flexural: what hinges of 400 (theta - theta0)^2 dx^2 / 3 J make of a sheet rolled to a cylinder [N m]."""
STRETCHING = 1000.0 * (2 + 1 / math.sqrt(2)) * 2 / CELL + 2 * 1000.0
"""Stiffness against stretching of a sheet whose sides cannot give way, from springs of 1000 (1 - l/l0)^2 l0 J along every side of every
triangle and 1000 (1 - A/A0)^2 A0 J of every triangle [N/m]."""
POISSON = 0.3
BEND = 8e-3
"""Radius in which the strip is bent over at rest [m]."""
ACTIVATION = 4e-4
LIFT = 6e-4
"""Of the strip over the table, and of the fingertip over the strip [m]."""
REACH = 1e-3
"""Activation distance of the ball [m]."""
TIP = 7.5e-3
"""Outer radius of the fingertip [m]."""
PRESS, DRAG = 20, 30
"""Time steps."""


def strip_material() -> ShellMaterial:
    """A sheet that stretches, bends, weighs and yields (0.5 rad from one cell to the next) as the published scene's."""
    thickness = math.sqrt(12 * RIGIDITY / STRETCHING)
    youngs_modulus = (1 - POISSON**2) * STRETCHING / thickness
    return ShellMaterial(youngs_modulus, POISSON, thickness, 40.0 / thickness, yield_curvature=0.5 / CELL)


def folding(bending: str = "mid_edge") -> SolidModel:
    """The Folding scene of ThinShellLab (Wang et al. 2024) from its published numbers, on meshes of our own of as many vertices.

    A strip that is bent over lies on a table, its first two rows of vertices held; a soft fingertip comes down on it.
    """
    strip = bent_strip(LENGTH, WIDTH, COLUMNS, ROWS, BEND)
    strip = Mesh(strip.vertices + np.array([0.0, 0.0, LIFT]), strip.faces)
    material = strip_material()
    table = sheet(0.17, 0.08, 17, 8)
    table = Mesh(table.vertices - np.array([0.05, 0.04, 0.0]), table.faces)
    tip = fingertip(TIP, 3e-3, around=12, rings=5, layers=5)
    centre = np.array([0.018, 0.0, 2 * BEND + 2 * LIFT + TIP])
    rim = np.flatnonzero(tip.vertices[:, 2] > -1e-9)
    tip = Mesh(tip.vertices + centre, tip.faces, tip.tetrahedra)
    friction = {("strip", "strip"): 0.1, ("strip", "tip"): 5.0, ("strip", "table"): 0.2}
    return SolidModel(
        [
            Shell(strip, "strip", material=material),
            Kinematic(table, "table"),
            Solid(tip, "tip", material=StableNeoHookean(2000.0, 3e5, 0.2)),
        ],
        dt=DT,
        gravity=NONE,
        contact=Contact(ACTIVATION, friction=friction, friction_speed=0.01),
        handles=[Handle("finger", centre.tolist(), {"tip": rim})],
        pins=[Pin("strip", np.arange(2 * (ROWS + 1)))],
        tolerance=1e-7,
    )


def folding_velocity(step: int) -> tuple[float, float, float]:
    """Of the finger in a time step [m/s]: down upon the strip, then along it towards the bend; at most 1 mm in a step."""
    if step < PRESS:
        return (0.0, 0.0, -0.5e-3 / DT)
    return (0.8e-3 / DT, 0.0, -0.15e-3 / DT)


# ---- sheets

SIDE = 0.3
"""[m]."""
BALL = 0.1
"""Radius [m]."""
CENTRE = (SIDE / 2, SIDE / 2, -BALL - 1.5 * REACH)
"""Of the ball, whose top is a little below the middle of the sheet [m]."""
FRICTION = 0.3
SHEETS = {
    "rubber": ShellMaterial(5e6, 0.45, 1e-3, 1100.0, membrane="neo_hookean"),
    "paper": ShellMaterial(4e9, 0.3, 1e-4, 800.0, membrane="neo_hookean"),
}
"""Both bend under their own weight over 4 to 8 cm, (D / (rho h g))^(1/3), so that coarse meshes resolve it too."""


def sheet_scene(
    kind: str, cells: int, *, material: str = "rubber", bending: str = "mid_edge", self_contact: bool = True, **given: Any
) -> SolidModel:
    """A square sheet, flat at the start, that falls.

    Args:
        kind: "hanging" from two corners, or "draped" over a ball.
        cells: along each side, of two triangles each.
        material: a name of `SHEETS`.
        bending: "mid_edge" or "hinge".
        self_contact: whether a draped sheet touches itself.
        given: what else `SolidModel` takes; by default `dt` is 5 ms.
    """
    given = {"dt": DT, **given}
    body = Shell(sheet(SIDE, SIDE, cells, cells), "sheet", material=dataclasses.replace(SHEETS[material], bending=bending))
    if kind == "hanging":
        return SolidModel([body], pins=[Pin("sheet", [0, cells])], **given)
    obstacle = ball(BALL, finer=3)
    obstacle = Mesh(obstacle.vertices + np.array(CENTRE), obstacle.faces)
    contact = Contact(REACH, friction=FRICTION, self_contact=None if self_contact else ())
    return SolidModel([body, Kinematic(obstacle, "ball")], contact=contact, **given)
