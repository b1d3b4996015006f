"""Yield-stress fluids of the material point method: a channel whose core is solid."""

from __future__ import annotations

import numpy as np
import torch

from ..sim.materials import Viscoplastic
from ..sim.mpm import Body, MpmModel, MpmSolver
from .case import Check, Measured, case, require_range
from .mpm_fluids import relative_error
from .mpm_scene import advance, lattice, whole_cells

DENSITY = 1000.0
"""[kg/m^3]."""
CONSISTENCY = 10.0
"""Of the fluid in the channel [Pa s^n]."""
HALF_WIDTH = 0.05
"""Of the channel [m]."""
DRIVE = 200.0
"""What drives the channel [Pa/m]: without a yield stress the rate at its walls is 1/s, whatever the flow index."""


def channel_velocity(y: np.ndarray, yield_stress: float, flow_index: float) -> np.ndarray:
    """Steady speed of a Herschel-Bulkley fluid at a distance `y` from the middle of the channel [m/s]; zero where the drive does not reach yield."""
    core = min(yield_stress / DRIVE, HALF_WIDTH)
    power = (flow_index + 1) / flow_index
    sheared = (HALF_WIDTH - core) ** power - np.maximum(abs(y) - core, 0.0) ** power
    return (DRIVE / CONSISTENCY) ** (1 / flow_index) / power * sheared


@case(
    "mpm.bingham_channel",
    source="u = n/(n+1) (G/K)^(1/n) [(H - y0)^(1+1/n) - max(|y| - y0, 0)^(1+1/n)], y0 = yield/G: momentum balance with the flow curve",
    tolerance=0.05,
)
def bingham_channel(yield_stress: float = 4.0, flow_index: float = 1.0, cells: int = 20) -> Measured:
    """Steady flow of a yield-stress fluid in a channel of 0.1 m, whose core moves as a solid.

    A plug eight widths long with free ends is driven by 200 Pa/m between sticking walls, from rest for 0.75 s, and measured in its middle, as in
    `mpm.poiseuille`. Its consistency is 10 Pa s^n. From a yield stress of 10 Pa on nothing may flow: then the drive is raised in twenty
    steps, so that it does not ring beyond yield, and the speed is the mean one of what creeps in 0.25 s afterwards.

    The layers that flow want to be two cells wide: from 8.5 to 10 Pa the default cells are too coarse, and the error exceeds its limit.
    What is left elsewhere comes mostly from the free ends, and shrinks with the length of the plug. Coarse cells make the fluid softer: with less
    than twenty, what rings elastically below yield exceeds the limit of 1e-3, though no shear flows.

    Args:
        yield_stress: in shear [Pa].
        flow_index: 1 is Bingham's fluid.
        cells: grid cells over the width.

    Returns:
        Speed of the core [m/s]; the error is relative to the exact one. Further: the profile over the width in the L2 norm, at most 5 %.
        Where nothing may flow, the error is relative to the 0.025 m/s of a Newtonian fluid of 10 Pa s and at most 1e-3, and the shear that flowed in
        that time at most 1e-6.
    """
    require_range(yield_stress=yield_stress, low=-1e-300)
    require_range(flow_index=flow_index, low=0.2, high=3.0)
    require_range(cells=cells, low=7)
    flows = yield_stress < DRIVE * HALF_WIDTH
    cell, length = 2 * HALF_WIDTH / cells, 16 * HALF_WIDTH
    spacing = cell / 2
    # Twice the step of the viscous limit of an explicit liquid; stress relaxes within about one cell's diffusion time.
    wave = 2 * CONSISTENCY / DENSITY / cell
    shear = DENSITY * wave**2 / 4
    fluid = Viscoplastic(DENSITY, DENSITY * wave**2 - 4 * shear / 3, shear, yield_stress, CONSISTENCY, flow_index)
    points = lattice((0, 0), (length, 2 * HALF_WIDTH), spacing)
    body = Body(points, fluid, spacing**2)
    free = float(channel_velocity(np.zeros(1), 0.0, flow_index)[0])
    upper = (length + 6 * cell + whole_cells(free, cell), 2 * HALF_WIDTH)

    def driven(share: float) -> MpmSolver:
        walls = ("slip", "slip", "sticky", "sticky")
        return MpmSolver(
            MpmModel([body], (-6 * cell, 0), upper, cell, 0.025, gravity=(share * DRIVE / DENSITY, 0), walls=walls, dtype=torch.float64)
        )

    middle = (points[:, 0] - length / 2).abs().numpy() < HALF_WIDTH
    rows = np.flatnonzero(middle)[points[middle, 1].numpy().argsort(kind="stable")].reshape(2 * cells, -1)
    core = rows[cells - 1 : cells + 1]
    solver = driven(1.0)
    state = solver.initial_state()
    for share in np.linspace(0.05, 1.0, 20):
        state = advance(solver if flows else driven(float(share)), state)
    later = advance(solver, state, 10)
    if flows:
        speed = later.velocity[0, :, 0].numpy()
        exact = channel_velocity(later.position[0, :, 1].numpy()[rows] - HALF_WIDTH, yield_stress, flow_index)
        value, reference = float(speed[core].mean()), float(channel_velocity(np.zeros(1), yield_stress, flow_index)[0])
        profile = Check("profile", relative_error(speed[rows], exact), 0.05)
        return Measured(value, reference, abs(value / reference - 1), [profile])
    moved = (later.position - state.position)[0, :, 0].numpy()
    sheared = (later.internal - state.internal)[0].numpy()
    value = float(moved[core].mean()) / (10 * solver.model.dt)
    newtonian = DRIVE * HALF_WIDTH**2 / (2 * CONSISTENCY)
    return Measured(value, 0.0, abs(value) / newtonian, [Check("shear that flowed", float(sheared[rows].max()), 1e-6)], 1e-3)
