"""Liquids of the material point method that slosh in a tank, and run out of it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..sim.materials import Liquid
from ..sim.mpm import Body, MpmModel, MpmSolver
from .case import Measured, case, require_range
from .mpm_fluids import DENSITY
from .mpm_scene import GRAVITY, advance
from .mpm_solids import fundamental


def settled(depth: float, rows: int, bulk: float, density: float = DENSITY) -> tuple[Tensor, Tensor, float]:
    """A column of liquid that is compressed by its own weight, in `rows` rows of equal mass.

    At a depth D of matter, measured at rest, the pressure is density g D, so that the volume ratio is (1 + b D)^(-1/7) with
    b = 7 density g / bulk; places are its integral.

    Args:
        depth: of the liquid as it stands [m].
        rows: how many.
        bulk: bulk modulus [Pa].
        density: at rest [kg/m^3].

    Returns:
        Heights of the rows from the bottom up [rows] [m], their volume ratios [rows], and the thickness of a row at rest [m].
    """
    b = 7 * density * GRAVITY / bulk
    whole = ((1 + 6 / 7 * b * depth) ** (7 / 6) - 1) / b
    below = 1 + b * whole * (1 - (torch.arange(rows, dtype=torch.float64) + 0.5) / rows)
    return ((1 + b * whole) ** (6 / 7) - below ** (6 / 7)) / (6 / 7 * b), below ** (-1 / 7), whole / rows


@case(
    "mpm.sloshing",
    source="Linear waves in a tank: omega^2 = g k tanh(k depth), k = pi / length; Lamb, Hydrodynamics, art. 228",
    tolerance=0.05,
)
def sloshing(depth: float = 0.2, length: float = 0.4, cells: int = 12) -> Measured:
    """Frequency of the first mode of a liquid that sloshes in a tank.

    The liquid starts at rest under its own weight, with the velocities of the mode, which raise its surface by 2 % of the depth or of the length,
    whichever is less. Walls slip. The frequency is fitted over two periods.

    Args:
        depth: of the liquid [m].
        length: of the tank [m].
        cells: grid cells over the depth or over the length, whichever is less.

    Returns:
        The frequency omega / (2 pi) [Hz].
    """
    require_range(depth=depth, length=length)
    require_range(cells=cells, low=3)
    columns = max(cells, round(length / depth * cells))
    cell = length / columns
    rows = max(round(2 * depth / cell), 2)
    k = math.pi / length
    exact = math.sqrt(GRAVITY * k * math.tanh(k * depth)) / (2 * math.pi)
    # Sound is ten times as fast as the wave.
    bulk = DENSITY * (10 * 2 * math.pi * exact / k) ** 2
    height, ratio, thickness = settled(depth, rows, bulk)
    points = torch.cartesian_prod((torch.arange(2 * columns, dtype=torch.float64) + 0.5) * cell / 2, height)
    rise = 0.02 * min(depth, length) * 2 * math.pi * exact / math.sinh(k * depth)
    x, y = k * points[:, 0], k * points[:, 1]
    mode = rise * torch.stack([-torch.sin(x) * torch.cosh(y), torch.cos(x) * torch.sinh(y)], 1)
    slope = k * rise * torch.stack([-torch.cos(x) * torch.cosh(y), -torch.sin(x) * torch.sinh(y)], 1)
    gradient = torch.stack([slope, torch.stack([slope[:, 1], -slope[:, 0]], 1)], 1)
    body = Body(points, Liquid(DENSITY, bulk), cell / 2 * thickness, velocity=mode)
    upper = (length, math.ceil(depth / cell + 4) * cell)
    solver = MpmSolver(MpmModel([body], (0, 0), upper, cell, 1 / (40 * exact), dtype=torch.float64))
    state = solver.initial_state()
    state = state.replace(internal=ratio.repeat(2 * columns)[None], apic_affine=gradient[None])
    signal = []
    for _ in range(80):
        state = advance(solver, state)
        signal.append(float((mode * state.velocity[0]).sum()))
    frequency = fundamental(np.arange(1, 81) * solver.model.dt, np.array(signal), exact)
    return Measured(frequency, exact, abs(frequency / exact - 1))
