"""A deposit of yield-stress fluid that spreads until its yield stress carries it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from scipy.optimize import brentq

from ..sim.materials import Viscoplastic
from ..sim.mpm import Body, MpmModel, MpmSolver
from .case import Check, Measured, case, require_range
from .mpm_scene import GRAVITY, advance, lattice, whole_cells

DENSITY = 1000.0
"""[kg/m^3]."""
SLENDERNESS = 0.05
"""Height of the deposit at its middle over its half length, by the theory of thin layers."""
TAIL = 0.01
"""The share of its area that lies beyond the place where the front is measured."""


def deposit_length(area: float, reach: float) -> float:
    """Half length x_f of a plastic deposit at rest [m]; `area` is that half's [m^2], `reach` is yield stress / (density g) [m].

    Balance of forces with the stress that stretches a plastic layer, pi/2 of the yield stress on the mean over its depth:
    h^2/2 - pi/2 reach h = reach (x_f - x), down to a face of height pi reach. Without that stress x_f = (9 area^2 / (8 reach))^(1/3), the theory of
    thin layers.
    """

    def excess(height: float) -> float:
        return height**3 / 3 - math.pi * height**2 / 4 - math.pi**3 / 12 - area / reach**2

    height = brentq(excess, math.pi, 1e4)
    return (height**2 / 2 - math.pi * height / 2) * reach


@case(
    "mpm.slump",
    source="Roussel and Coussot 2005, J. Rheol. 49, 705-718 (spread of a thin deposit), with the stretching stress of Nye 1951, Proc. R. Soc. A 207",
    tolerance=0.1,
)
def slump(yield_stress: float = 5.0, cells: int = 8) -> Measured:
    """Half length at which a deposit of a Bingham fluid comes to rest on a sticking floor.

    A half deposit, beside a slipping wall, starts in the shape that it has at rest, pressed together to 0.85 of its length, without inertia to
    speak of. Layers flow only where they are about a cell and a half thick, so that the deposit stops early and steep: it ends 10 % short with 5
    cells, 8 % with 8. Another one, spread to 1.2 of that length, must not move once it has settled elastically, although gravity comes at once.

    Args:
        yield_stress: in shear, of a fluid of 1000 kg/m^3 [Pa].
        cells: grid cells over the height at rest, at least 4.

    Returns:
        Half length [m], from the place beyond which a hundredth of the area lies; the error is relative. Further: what the wide deposit creeps in
        the second half of the time, over its length, at most 1e-3.
    """
    require_range(yield_stress=yield_stress)
    require_range(cells=cells, low=3)
    reach = yield_stress / (DENSITY * GRAVITY)
    spread = _released(0.85, yield_stress, cells, 4.0)
    area = spread.area
    value = spread.front / (1 - TAIL ** (2 / 3))
    exact = deposit_length(area, reach)
    wide = _released(1.2, yield_stress, cells, 1.0)
    return Measured(value, exact, abs(value / exact - 1), [Check("creep of a wide deposit", wide.moved, 1e-3)])


class _Deposit(NamedTuple):
    """What became of a deposit: its area [m^2], the place beyond which TAIL of it lies [m], the farthest way late on over its length."""

    area: float
    front: float
    moved: float


def _released(share: float, yield_stress: float, cells: int, time: float) -> _Deposit:
    """Lets go a deposit of `share` of its length at rest, for `time` times the length over the speed of a wave upon it."""
    reach = yield_stress / (DENSITY * GRAVITY)
    height = 2 * reach / SLENDERNESS
    length = height / SLENDERNESS
    cell, spacing = height / cells, height / cells / 2
    long, high = share * length, height / share
    points = lattice((0, 0), (whole_cells(long, spacing), whole_cells(high, spacing)), spacing)
    points = points[points[:, 1] < high * torch.sqrt((1 - points[:, 0] / long).clamp_min(0))]
    wave = math.sqrt(GRAVITY * height)
    # As viscous as lets a wave die within the length; sound runs at seven times its speed.
    consistency = DENSITY * 2 * height**2 * wave / (3 * length)
    stiffness = DENSITY * 50 * wave**2
    fluid = Viscoplastic(DENSITY, stiffness * 2 / 3, stiffness / 4, yield_stress, consistency)
    upper = (whole_cells(1.3 * length, cell), whole_cells(1.5 * high, cell))
    model = MpmModel(
        [Body(points, fluid, spacing**2)], (0, 0), upper, cell, time * length / wave / 8,
        walls=("slip", "slip", "sticky", "slip"), dtype=torch.float64,
    )  # fmt: skip
    solver = MpmSolver(model)
    middle = advance(solver, solver.initial_state(), 4)
    end = advance(solver, middle, 4)
    front = float(torch.quantile(end.position[0, :, 0], 1 - TAIL))
    return _Deposit(len(points) * spacing**2, front, float((end.position - middle.position).norm(dim=-1).max()) / length)
