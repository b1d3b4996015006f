"""Sand of the material point method: a column that collapses."""

from __future__ import annotations

import math

import torch

from ..sim.materials import Sand
from ..sim.mpm import Body, MpmModel, MpmSolver
from .case import Check, Measured, case, require_range
from .mpm_scene import GRAVITY, advance, lattice, whole_cells

DENSITY = 1600.0
"""Of a heap of quartz sand [kg/m^3]; the run-out does not depend on it."""


def internal_friction_angle(repose_angle: float) -> float:
    """The friction angle of a `Sand` whose slopes stand at `repose_angle` [degrees].

    Sand that flows keeps its volume, so that its principal axes lie at 45 degrees to the layers that slide, and their coefficient of friction
    is the sine of the angle of the cone, not its tangent; Davis 1968. What a slope of sand shows is that coefficient.
    """
    return math.degrees(math.asin(math.tan(math.radians(repose_angle))))


def run_out(aspect: float) -> float:
    """How far a column of sand spreads beyond its base, over its base, in a channel; Lube et al. 2005."""
    return 1.2 * aspect if aspect < 2.3 else 1.9 * aspect ** (2 / 3)


@case(
    "mpm.column_collapse",
    source="Lube et al. 2005, Phys. Rev. E 72, 041301: run-out over base 1.2 a, and 1.9 a^(2/3) for tall columns; Lajeunesse et al. 2005 agree",
    tolerance=0.15,
)
def column_collapse(aspect: float = 1.0, friction_angle: float = 30.25, cells: int = 40) -> Measured:
    """Run-out of a column of sand that stood between two walls, one of which vanishes.

    The column is 0.1 m wide, and bears its own weight before the wall goes. The wall that stays slips; on the floor the sand has the friction
    that it has on itself. Waves are ten times faster than sqrt(g height). Of what the fits leave out, the angle of friction matters most, and
    then the cells: the sand runs out in a thin tongue, which finer cells resolve further.

    Args:
        aspect: a, height of the column over its base. Experiments agree best up to 1.5 and from 4 on; the fits do not meet between.
        friction_angle: at which a slope of the sand comes to rest [degrees], below 45; 29.5 to 31 in the experiments.
        cells: grid cells over the edge of a square of the column's area.

    Returns:
        The 99th percentile of the particles beyond the base, over the base, after 5 sqrt(height / g). Further: the kinetic energy that is left,
        over the largest, at most 1 %, in elastic waves, which nothing damps; and for a < 1.15, where the top at the wall keeps its height, what it
        lost, at most 10 %.
    """
    require_range(aspect=aspect, low=0.2, high=30)
    require_range(friction_angle=friction_angle, high=45)
    require_range(cells=cells, low=7)
    base, frames, poisson_ratio = 0.1, 20, 0.3
    height = aspect * base
    cell = base / max(4, round(cells / math.sqrt(aspect)))
    spacing = cell / 2
    modulus = DENSITY * 100 * GRAVITY * height
    youngs_modulus = modulus * (1 + poisson_ratio) * (1 - 2 * poisson_ratio) / (1 - poisson_ratio)
    sand = Sand(DENSITY, youngs_modulus, poisson_ratio, internal_friction_angle(friction_angle))
    points = lattice((0, 0), (base, height), spacing)
    upper = (whole_cells(base * (1 + 2 * run_out(aspect)), cell), whole_cells(height, cell) + 4 * cell)
    model = MpmModel(
        [Body(points, sand, spacing**2)], (0, 0), upper, cell, 5 * math.sqrt(height / GRAVITY) / frames,
        walls=("slip", "slip", "coulomb", "slip"), wall_friction=math.tan(math.radians(friction_angle)), dtype=torch.float64,
    )  # fmt: skip
    solver = MpmSolver(model)
    state, energies = solver.initial_state(), []
    squeezed = state.deformation_gradient.clone()
    squeezed[0, :, 1, 1] = torch.exp(DENSITY * GRAVITY * (points[:, 1] - height) / modulus)
    state = state.replace(deformation_gradient=squeezed)
    for _ in range(frames):
        state = advance(solver, state)
        energies.append(float((state.velocity**2).sum()))
    x, y = state.position[0].T
    value, exact = float(x.quantile(0.99)) / base - 1, run_out(aspect)
    further = [Check("kinetic energy left", energies[-1] / max(energies), 0.01)]
    if aspect < 1.15:
        top = float(y[x < 0.1 * base].max()) + spacing / 2
        further.append(Check("loss of height", abs(top / height - 1), 0.1))
    return Measured(value, exact, abs(value / exact - 1), further)
