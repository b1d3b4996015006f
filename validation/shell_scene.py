"""What the shell cases share: a held sheet of plain material, and loads that are raised in steps to an equilibrium."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..sim.core import Outcome
from ..sim.mesh import Mesh
from ..sim.shell import ShellMaterial
from ..sim.solid import Clamp, Pin, Shell, SolidModel, SolidSolver, SolidState

NONE = (0.0, 0.0, 0.0)


def sheet_solver(
    mesh: Mesh, material: ShellMaterial, *, pins: Sequence[Pin] = (), clamps: Sequence[Clamp] = (), tolerance: float, most: int = 500
) -> SolidSolver:
    """A static solver of one shell without gravity or contact; `tolerance` is how exactly its equilibria are found [m]."""
    body = Shell(mesh, "sheet", material=material)
    return SolidSolver(
        SolidModel([body], dt=1.0, gravity=NONE, pins=pins, clamps=clamps, integrator="static", tolerance=tolerance, max_iterations=most)
    )


def pin(where: np.ndarray, axes: str = "xyz") -> Pin:
    """Holds the vertices of a mask."""
    return Pin("sheet", np.flatnonzero(where), axes)


def raise_load(
    solver: SolidSolver, force: np.ndarray, steps: int, state: SolidState | None = None, first: float = 0.0
) -> SolidState | None:
    """The equilibrium under dead loads `force` [V, 3] [N], reached in equal steps from `first` of them; None if one is not found."""
    state = solver.initial_state() if state is None else state
    control = solver.rest_control()
    load = torch.from_numpy(np.ascontiguousarray(force))[None]
    for part in np.linspace(first, 1.0, steps + 1)[1:]:
        state = solver.step(state, control.replace(force=part * load))
        if state.outcomes() != [Outcome.OK]:
            return None
    return state


def displacement(solver: SolidSolver, state: SolidState | None) -> np.ndarray:
    """Of every vertex from where it started [V, 3] [m]; NaN where there is no equilibrium."""
    start = solver.initial_state().position[0]
    return (torch.full_like(start, torch.nan) if state is None else state.position[0] - start).numpy()


def areas(mesh: Mesh) -> np.ndarray:
    """A third of the area of all its faces, for every vertex [V] [m^2]."""
    corner = mesh.vertices[mesh.faces]
    third = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 6
    return np.bincount(mesh.faces.ravel(), np.repeat(third, 3), len(mesh.vertices))


def line_load(mesh: Mesh, where: np.ndarray) -> np.ndarray:
    """Shares of a uniform line load along the boundary vertices of a mask, which add up to 1 [V]."""
    from ..sim.mesh_shapes import boundary_edges

    edges = boundary_edges(mesh, where)
    length = np.linalg.norm(mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]], axis=1)
    share = np.bincount(edges.ravel(), np.repeat(0.5 * length, 2), len(mesh.vertices))
    return share / share.sum()


def off(value: Sequence[float] | np.ndarray, reference: Sequence[float] | np.ndarray) -> float:
    """The largest relative error of several numbers."""
    value, reference = np.asarray(value, dtype=float), np.asarray(reference, dtype=float)
    return float(np.max(np.abs(value - reference) / np.abs(reference)))


def weight_of(material: ShellMaterial, mesh: Mesh, gravity: Sequence[float]) -> np.ndarray:
    """The weight of every vertex [V, 3] [N]."""
    per_area = float(torch.as_tensor(material.density * material.thickness))
    return per_area * areas(mesh)[:, None] * np.asarray(gravity)


def as_tensor(value: float) -> Tensor:
    """A scalar of doubles."""
    return torch.tensor(value, dtype=torch.float64)
