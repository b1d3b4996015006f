"""Creases: what plastic bending leaves behind, and its derivatives."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..sim.core import Outcome
from ..sim.mesh_shapes import boundary_edges, sheet
from ..sim.shell import ShellMaterial
from ..sim.solid import Clamp, Handle, Shell, SolidModel, SolidSolver, SolidState
from .case import Check, Measured, case, require_range
from .shell_scene import NONE, as_tensor, off, pin, raise_load, sheet_solver

LENGTH, WIDTH = 0.02, 0.01


@case("shell.fold_memory", source="Beam with bilinear moment and curvature: (k - k0) / (1 + H) stays of a curvature k", tolerance=0.01)
def fold_memory(bend: float = 2.0, hardening: float = 0.1, columns: int = 20) -> Measured:
    """A strip of paper that is bent round beyond its yield curvature and let go: the angle of the crease that stays.

    Args:
        bend: angle by which it is bent [rad].
        hardening: H, slope of the yield curvature over the plastic one.
        columns: cells along it; a second run has twice as many.

    Returns:
        Angle between the two ends after release [rad], on both meshes.
    """
    require_range(high=3.1, bend=bend)
    require_range(low=1e-3, hardening=hardening)
    require_range(low=1, columns=columns)
    yields = 20.0
    value = [_released(bend, hardening, yields, cells) for cells in (columns, 2 * columns)]
    reference = LENGTH * max(0.0, bend / LENGTH - yields) / (1 + hardening)
    apart = abs(value[1] - value[0]) / reference if reference else 0.0
    return Measured(value, [reference] * 2, off(value, [reference] * 2), [Check("difference of the meshes", apart, 0.005)])


def _released(bend: float, hardening: float, yields: float, columns: int) -> float:
    mesh = sheet(LENGTH, WIDTH, columns, 4)
    x = mesh.vertices[:, 0]
    root, end = x < 1e-9, x > LENGTH - 1e-9
    material = ShellMaterial(2e9, 0.0, 1e-4, 800.0, yield_curvature=yields, hardening=hardening)
    clamp = Clamp("sheet", boundary_edges(mesh, root), (-1.0, 0.0, 0.0))
    state: SolidState | None = None
    still = np.zeros_like(mesh.vertices)
    for part in np.linspace(0.0, bend, 9)[1:]:
        turned = Clamp("sheet", boundary_edges(mesh, end), (math.cos(part), 0.0, math.sin(part)), rest_direction=(1.0, 0.0, 0.0))
        held = sheet_solver(mesh, material, pins=[pin(root), pin(end, "y")], clamps=[clamp, turned], tolerance=1e-11)
        state = raise_load(held, still, 1, state)
        if state is None:
            return math.nan
    free = sheet_solver(mesh, material, pins=[pin(root)], clamps=[clamp], tolerance=1e-11)
    state = raise_load(free, still, 1, state)
    if state is None:
        return math.nan
    place = state.position[0].numpy().reshape(columns + 1, 5, 3).mean(1)
    along = place[-1] - place[-2]
    tip = math.atan2(along[2], along[0])
    # The last cells' chords are half a cell short of the end's tangent.
    return tip * columns / (columns - 0.5)


@case("shell.plastic_gradient", source="Central differences in f64", tolerance=1e-6)
def plastic_gradient(steps: int = 24) -> Measured:
    """Derivatives through a strip that a gripper bends beyond yield and back: of where it ends, in every parameter and in the motion.

    Args:
        steps: time steps of 5 ms.

    Returns:
        The derivatives along one direction for each of them, by the adjoint; the reference is by differences.
    """
    require_range(low=3, steps=steps)
    inputs = {
        "youngs_modulus": as_tensor(2e9), "poisson_ratio": as_tensor(0.3), "thickness": as_tensor(2e-4), "density": as_tensor(800.0),
        "yield_curvature": as_tensor(15.0), "hardening": as_tensor(0.2), "motion": torch.zeros(steps, 3, dtype=torch.float64),
        "rest": torch.from_numpy(sheet(LENGTH, WIDTH, 8, 3).vertices.copy()),
    }  # fmt: skip
    random = torch.Generator().manual_seed(0)
    ways = {name: torch.randn(tensor.shape, generator=random, dtype=torch.float64) for name, tensor in inputs.items()}
    sizes = {"motion": 0.01, "rest": 1e-4}
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    loss, flowed = _bent(leaves, steps)
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    value, reference = [], []
    for (name, tensor), gradient in zip(inputs.items(), gradients, strict=True):
        way = ways[name] * sizes.get(name, tensor)
        best = []
        for step in (1e-4, 1e-5):
            ends = [float(_bent({**inputs, name: tensor + sign * step * way}, steps)[0]) for sign in (1, -1)]
            best.append((ends[0] - ends[1]) / (2 * step))
        value.append(float((gradient * way).sum()))
        reference.append(best[int(np.argmin(np.abs(np.subtract(best, value[-1]))))])
    return Measured(value, reference, off(value, reference), [Check("no plastic flow", float(flowed <= 0), 0.5)])


def _bent(inputs: dict[str, Tensor], steps: int) -> tuple[Tensor, float]:
    """A weighted sum of the places at the end, and the largest plastic curvature."""
    mesh = sheet(LENGTH, WIDTH, 8, 3)
    x = mesh.vertices[:, 0]
    names = ("youngs_modulus", "poisson_ratio", "thickness", "density", "yield_curvature", "hardening")
    material = ShellMaterial(*[inputs[name] for name in names])  # type: ignore[arg-type]
    body = Shell(mesh, "sheet", material=material, rest=inputs["rest"])
    grips = [Handle("left", (0.0, 0.0, 0.0), {"sheet": x < 0.2 * LENGTH}), Handle("right", (LENGTH, 0.0, 0.0), {"sheet": x > 0.8 * LENGTH})]
    solver = SolidSolver(SolidModel([body], dt=0.005, gravity=NONE, handles=grips, tolerance=1e-10))
    state = solver.initial_state()
    for t in range(steps):
        bend = 20.0 if t < 2 * steps // 3 else -20.0
        linear = torch.stack([torch.zeros(3, dtype=torch.float64), inputs["motion"][t] + torch.tensor([-0.1 if bend > 0 else 0.1, 0, 0.0])])
        angular = torch.tensor([[0.0, 0.0, 0.0], [0.0, -bend, 0.0]], dtype=torch.float64)
        state = solver.step(state, solver.rest_control().replace(linear_velocity=linear[None], angular_velocity=angular[None]))
        if state.outcomes() != [Outcome.OK]:
            return torch.tensor(math.nan), math.nan
    weights = torch.linspace(1.0, 2.0, state.position.numel(), dtype=torch.float64).reshape(state.position.shape)
    return (weights * state.position).sum() * 1e3, float(state.plastic_curvature.max())
