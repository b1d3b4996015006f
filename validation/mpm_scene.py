"""What the MPM cases share: particles on a lattice, and a step that must succeed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ModelError
from ..sim.mpm import MpmSolver, MpmState

GRAVITY = 9.81
"""[m/s^2]."""


def lattice(lower: Sequence[float], upper: Sequence[float], spacing: float) -> Tensor:
    """Points [N, D] at the centres of cubes of edge `spacing` that fill a box, in f64."""
    axes = []
    for low, high in zip(lower, upper, strict=True):
        count = round((high - low) / spacing)
        axes.append(low + (torch.arange(count, dtype=torch.float64) + 0.5) * spacing)
    return torch.cartesian_prod(*axes)


def whole_cells(length: float, cell: float) -> float:
    """The least whole number of cells that holds `length`, as a length."""
    return math.ceil(length / cell - 1e-9) * cell


def advance(solver: MpmSolver, state: MpmState, steps: int = 1) -> MpmState:
    """`state` after `steps` control steps with all tools at rest.

    Raises:
        ModelError: if the simulation fails, naming its outcome.
    """
    control = solver.rest_control(state.batch)
    for _ in range(steps):
        state = solver.step(state, control)
    return require_ok(state)


def require_ok(state: MpmState) -> MpmState:
    """`state`, unless one of its environments failed.

    Raises:
        ModelError: naming the outcome.
    """
    if not bool(state.ok.all()):
        outcome = next(outcome for outcome in state.outcomes() if outcome)
        raise ModelError(f"The simulation ended as {outcome.name}; with these parameters the case cannot be run.")
    return state
