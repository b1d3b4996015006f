"""A deposit of yield-stress fluid that spreads until its yield stress carries it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..sim.materials import Viscoplastic
from ..sim.mpm import Body, MpmModel, MpmSolver
from .case import Check, Measured, case, require_range
from .mpm_scene import GRAVITY, advance, lattice, whole_cells

DENSITY = 1000.0
"""[kg/m^3]."""
SLENDERNESS = 0.1
"""Height of the deposit at its middle over its half length, by the theory."""
TAIL = 0.01
"""The share of its area that lies beyond the place where the front is measured."""


@case(
    "mpm.slump",
    source="x_f = (9 rho g A^2 / (8 yield stress))^(1/3): Roussel and Coussot 2005, J. Rheol. 49, 705-718, for a thin deposit in the plane",
    tolerance=0.1,
)
def slump(yield_stress: float = 5.0, cells: int = 12) -> Measured:
    """Half length at which a deposit of a Bingham fluid comes to rest on a sticking floor.

    Half a deposit lies beside a slipping wall, pressed together to 0.6 of the length of rest, in the shape h^2 ~ x_f - x. It is viscous enough to
    spread with little inertia. Layers flow only where they are more than a cell thick, so that it stops early and steep: 10 % short with 8
    cells, 8 % with 12, 7 % and still creeping with 16. The theory leaves out the stress that stretches the deposit, of the order of the
    slenderness, a tenth.
    Another deposit, spread to 1.2 of that length, must not move once it has settled elastically, although gravity comes at once.

    Args:
        yield_stress: in shear, of a fluid of 1000 kg/m^3 [Pa].
        cells: grid cells over the height at rest, at least 6.

    Returns:
        Half length x_f [m], from the place beyond which a hundredth of the area A lies; the error is relative. Further, over the half length: by how
        much the front still moves in the last eighth of the time, at most 0.5 %; what the wide deposit creeps in it, at most 1e-3.
    """
    require_range(yield_stress=yield_stress)
    require_range(cells=cells, low=5)
    spread, wide = _released(0.6, yield_stress, cells, 10.0), _released(1.2, yield_stress, cells, 2.0)
    exact = (9 * DENSITY * GRAVITY * spread.area**2 / (8 * yield_stress)) ** (1 / 3)
    further = [
        Check("creep of the front", spread.advance / exact, 5e-3),
        Check("creep of a wide deposit", wide.moved / exact, 1e-3),
    ]
    return Measured(spread.front, exact, abs(spread.front / exact - 1), further)


class _Deposit(NamedTuple):
    """What became of a deposit: its area [m^2] and half length [m], and in the last eighth of the time how far that and any particle moved [m]."""

    area: float
    front: float
    advance: float
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
    before = advance(solver, solver.initial_state(), 7)
    end = advance(solver, before)
    # A hundredth of the area of the shape lies beyond 1 - 0.01^(2/3) of its length.
    fronts = [float(torch.quantile(state.position[0, :, 0], 1 - TAIL)) / (1 - TAIL ** (2 / 3)) for state in (before, end)]
    moved = float((end.position - before.position).norm(dim=-1).max())
    return _Deposit(len(points) * spacing**2, fronts[1], fronts[1] - fronts[0], moved)
