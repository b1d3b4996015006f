"""Derivatives through many implicit steps, with contact that opens, closes, sticks and slides, against central differences."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..sim.core import Outcome
from ..sim.mesh import Mesh
from ..sim.mesh_shapes import sheet, tetrahedral_box
from ..sim.shell import ShellMaterial
from ..sim.solid import Contact, Handle, Kinematic, Pin, Rigid, Shell, Solid, SolidModel, SolidSolver, StableNeoHookean
from .case import Check, Measured, case, require_choice, require_range
from .shell_scene import as_tensor, off

DT = 0.005
STRIP = sheet(0.06, 0.03, 6, 3)
PAD = tetrahedral_box((0.012, 0.012, 0.008), (2, 2, 1))
CUBE = tetrahedral_box((0.01, 0.01, 0.01), (1, 1, 1))
SCALES = {"rest": 1e-4, "rest_angle": 0.05, "position": 1e-5, "velocity": 1e-2, "motion": 1e-2, "turn": 0.5, "force": 1e-3}
"""How far those inputs are moved whose own size says nothing; the others are moved in proportion."""


@case("solid.gradient", source="Central differences in f64", tolerance=1e-4)
def gradient(contact: int = 1, steps: int = 24, only: str = "all") -> Measured:
    """A soft pad presses a sheet on a table, drags it, lifts off; a rigid cube rides on the sheet. All derivatives of where all end.

    Args:
        contact: 0 for the same bodies without contact.
        steps: time steps of 5 ms, at least 20.
        only: one input, or all.

    Returns:
        The derivative along one direction in each input by the adjoint; the reference is by central differences. Their relative difference
        is at most 1e-4, and 1e-6 without contact.
    """
    require_range(low=19, steps=steps)
    inputs = _inputs(steps)
    require_choice("only", only, ("all", *inputs))
    random = torch.Generator().manual_seed(3)
    ways = {name: torch.randn(x.shape, generator=random, dtype=torch.float64) * SCALES.get(name, x) for name, x in inputs.items()}
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    loss, events = _run(leaves, steps, bool(contact))
    gradients = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), allow_unused=True), strict=True))
    value, reference = [], []
    for name in inputs if only == "all" else [only]:
        found = gradients[name]
        if found is None:  # friction, where nothing touches
            continue
        slope = float((found * ways[name]).sum())
        differences = []
        for step in (1e-5, 1e-4, 1e-6):
            ends = [float(_run({**inputs, name: inputs[name] + sign * step * ways[name]}, steps, bool(contact))[0]) for sign in (1, -1)]
            differences.append((ends[0] - ends[1]) / (2 * step))
            if abs(differences[-1] - slope) < 1e-6 * abs(slope):
                break
        value.append(slope)
        reference.append(differences[int(np.argmin(np.abs(np.subtract(differences, slope))))])
    missing = [Check(f"the scene has no {name}", float(not seen), 0.5) for name, seen in events.items()] if contact else []
    return Measured(value, reference, off(value, reference), missing, 1e-4 if contact else 1e-6)


def _inputs(steps: int) -> dict[str, Tensor]:
    from ..sim.shell.topology import ShellTopology

    still = torch.zeros(steps, 3, dtype=torch.float64)
    nodes = len(STRIP.vertices) + len(PAD.vertices) + 4 + 4
    numbers = {
        "youngs_modulus": 2e7, "poisson_ratio": 0.3, "thickness": 3e-4, "density": 900.0, "yield_curvature": 8.0, "hardening": 0.3,
        "pad_modulus": 1e5, "pad_poisson": 0.35, "pad_density": 1000.0, "cube_density": 400.0, "friction": 0.4,
    }  # fmt: skip
    return {
        **{name: as_tensor(number) for name, number in numbers.items()},
        "gravity": torch.tensor([0.0, 0.0, -9.81], dtype=torch.float64),
        "rest": torch.from_numpy(STRIP.vertices.copy()),
        "rest_angle": torch.zeros(len(ShellTopology.of(STRIP.faces).edges), dtype=torch.float64),
        "position": torch.zeros(nodes, 3, dtype=torch.float64),
        "velocity": torch.zeros(nodes, 3, dtype=torch.float64),
        "force": torch.zeros(steps, nodes, 3, dtype=torch.float64),
        "motion": still,
        "turn": still.clone(),
    }


def _run(inputs: dict[str, Tensor], steps: int, touching: bool) -> tuple[Tensor, dict[str, bool]]:
    """A weighted sum of places and speeds at the end, and what contact did on the way."""
    names = ("youngs_modulus", "poisson_ratio", "thickness", "density", "yield_curvature", "hardening")
    table = sheet(0.3, 0.2, 1, 1)
    pad = Mesh(PAD.vertices + np.array([0.012, 0.009, 0.0035]), PAD.faces, PAD.tetrahedra)
    bodies = [
        Shell(
            STRIP,
            "sheet",
            material=ShellMaterial(*[inputs[name] for name in names]),  # type: ignore[arg-type]
            rest=inputs["rest"],
            rest_angle=inputs["rest_angle"],
        ),
        Solid(pad, "pad", material=StableNeoHookean(inputs["pad_density"], inputs["pad_modulus"], inputs["pad_poisson"])),
        Rigid(Mesh(CUBE.vertices + np.array([0.042, 0.009, 0.0012]), CUBE.faces), "cube", density=inputs["cube_density"]),
        Kinematic(Mesh(table.vertices - np.array([0.1, 0.13, 0.0015]), table.faces), "table"),
    ]
    top = PAD.vertices[:, 2] > 0.0079
    model = SolidModel(
        bodies,
        dt=DT,
        gravity=inputs["gravity"],
        contact=Contact(1e-3, offset=2e-4, friction=inputs["friction"], friction_speed=5e-3) if touching else None,
        handles=[Handle("grip", (0.018, 0.015, 0.0115), {"pad": top})],
        pins=[] if touching else [Pin("sheet", np.flatnonzero(STRIP.vertices[:, 0] < 0.011))],  # or it would only fall
        tolerance=1e-10,
    )
    solver = SolidSolver(model)
    state = solver.initial_state()
    state = state.replace(position=state.position + inputs["position"], velocity=state.velocity + inputs["velocity"])
    sheet_nodes, pad_nodes = model.nodes("sheet"), model.nodes("pad")
    push = torch.zeros(model.node_total, 3, dtype=torch.float64)
    push[model.nodes("cube")] = torch.tensor([[0.0, 0.0, 0.0], [0.0, 2e-4, 0.0], [0.0, 0.0, 2e-4], [2e-4, 0.0, 0.0]], dtype=torch.float64)
    gaps, slips = [], []
    for t in range(steps):
        share = t / steps
        plan = (0.0, 0.0, -0.1) if share < 0.3 else (0.12, 0.0, 0.0) if share < 0.7 else (0.0, 0.0, 0.25)
        control = solver.rest_control().replace(
            linear_velocity=(torch.tensor(plan, dtype=torch.float64) + inputs["motion"][t])[None, None],
            angular_velocity=inputs["turn"][t][None, None],
            force=(push + inputs["force"][t])[None],
        )
        state = solver.step(state, control)
        if state.outcomes() != [Outcome.OK]:
            return torch.tensor(math.nan, dtype=torch.float64), {}
        with torch.no_grad():
            gaps.append(float(state.position[0, pad_nodes, 2].min() - state.position[0, sheet_nodes, 2].min()))
            slips.append(float(state.velocity[0, sheet_nodes, 0].abs().max()))
    weights = torch.linspace(1.0, 2.0, state.position.numel(), dtype=torch.float64).reshape(state.position.shape)
    loss = (weights * (state.position + DT * state.velocity)).sum() * 1e2
    events = {
        "closing": min(gaps) < 1.2e-3,
        "opening": gaps[-1] > 2e-3,
        "sliding": max(slips) > 2e-2,
        "sticking": min(slips) < 5e-3,
    }
    return loss, events
