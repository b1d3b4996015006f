"""Matter of different density together: one liquid resting upon the other, and a solid afloat."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..errors import OptionError
from ..sim.materials import FixedCorotated, Liquid
from ..sim.mpm import Body, MpmModel, MpmSolver
from .case import Check, Measured, case, require_range
from .mpm_fluids import relative_error
from .mpm_scene import GRAVITY, advance, lattice


@case("mpm.layers", source="p = g (mass above per area), with the liquids' own equation of state", tolerance=0.03)
def layers(density_above: float = 800.0, density_below: float = 1000.0, depth: float = 0.1, cells: int = 8) -> Measured:
    """Pressure and rest of a light liquid upon a heavy one, which were let go without any pressure in them.

    Both layers have the same depth and the same bulk modulus, so that the volume ratio is as continuous as the pressure. As in `mpm.hydrostatic`
    they fall at first, and viscosity, the same over density in each, damps the fundamental mode by e in five periods. After seven such times
    everything is measured.

    Args:
        density_above: of the upper liquid [kg/m^3].
        density_below: of the lower one, at least as much [kg/m^3].
        depth: of either layer [m].
        cells: grid cells over the depth of a layer.

    Returns:
        Pressures of the rows of particles from the bottom up [Pa]; the error is the relative L2 norm over all particles. Further: the fastest
        particle over sqrt(g 2 depth), at most 1e-3; by how much the particles of the lower liquid that are next to the interface miss the height that
        compression gives them, over a cell, at most 5 %.
    """
    require_range(density_above=density_above, density_below=density_below, depth=depth)
    require_range(cells=cells, low=2)
    if density_above > density_below:
        raise OptionError(f"density_above={density_above:g} is more than density_below={density_below:g}; nothing would rest.")
    cell, spacing = depth / cells, depth / cells / 2
    speed = 10 * math.sqrt(GRAVITY * 2 * depth)
    bulk = density_below * speed**2
    decay = 5 * 8 * depth / speed
    viscosity = 1 / (decay * (2 / 3) * (math.pi / (4 * depth)) ** 2)
    liquids = [Liquid(density, bulk, density * viscosity) for density in (density_below, density_above)]
    places = [lattice((0, base), (4 * cell, base + depth), spacing) for base in (0, depth)]
    bodies = [Body(points, liquid, spacing**2) for points, liquid in zip(places, liquids, strict=True)]
    model = MpmModel(bodies, (0, 0), (4 * cell, 2 * depth + 4 * cell), cell, decay / 10, dtype=torch.float64)
    solver = MpmSolver(model)
    state = advance(solver, solver.initial_state(), 70)
    start = torch.cat(places)[:, 1].numpy()
    pressure = bulk / 7 * (state.internal[0].numpy() ** -7 - 1)
    upper, lower = (2 * depth - start) * density_above, depth * density_above + (depth - start) * density_below
    exact = GRAVITY * np.where(start > depth, upper, lower)
    # The lower layer under its load, as deep as its compression leaves it, down to the centres of its top row.
    b, c = 7 * density_below * GRAVITY / bulk, 1 + 7 * density_above * GRAVITY * depth / bulk
    height = ((c + b * depth) ** (6 / 7) - (c + b * spacing / 2) ** (6 / 7)) / (6 / 7 * b)
    position = state.position[0, :, 1].numpy()
    miss = np.abs(position[np.abs(start - (depth - spacing / 2)) < 0.1 * spacing] - height).max()
    rows = start.argsort(kind="stable").reshape(4 * cells, -1)
    return Measured(
        pressure[rows].mean(1).tolist(),
        exact[rows].mean(1).tolist(),
        relative_error(pressure, exact),
        [
            Check("speed over sqrt(g 2 depth)", float(state.velocity.norm(dim=-1).max()) / math.sqrt(GRAVITY * 2 * depth), 1e-3),
            Check("displacement of the interface over a cell", float(miss) / cell, 0.05),
        ],
    )


@case("mpm.buoyancy", source="Archimedes: a floating body is submerged by density_solid / density_liquid", tolerance=0.05)
def buoyancy(density_solid: float = 500.0, density_liquid: float = 1000.0, height: float = 0.1, cells: int = 12) -> Measured:
    """How deep an elastic block floats.

    The block is twice as wide as high, and the tank twice as wide as the block. It is let go from four fifths of its draught; the liquid is viscous
    enough for it to come to rest. The draught is the height of the surface by the sides of the tank above the bottom of the block, averaged over
    the last fifth of the time. The liquid sticks to the block, so that its surface stays a little lower beside it.

    Args:
        density_solid: of the block [kg/m^3].
        density_liquid: of the liquid; the ratio must lie between 0.2 and 0.9.
        height: of the block [m].
        cells: grid cells over its height.

    Returns:
        The share of its height that is submerged. Further: the drift of the draught over the last fifth, over the height, at most 1 %.
    """
    require_range(density_solid=density_solid, density_liquid=density_liquid, height=height)
    require_range(cells=cells, low=5)
    exact = density_solid / density_liquid
    require_range(low=0.2 - 1e-9, high=0.9 + 1e-9, **{"density_solid / density_liquid": exact})
    cell, spacing = height / cells, height / cells / 2
    start = round(0.8 * exact * height / spacing) * spacing
    depth = 1.5 * height
    bottom = depth - start
    speed = 10 * math.sqrt(GRAVITY * depth)
    water = lattice((0, 0), (4 * height, math.ceil(depth / spacing - 1e-9) * spacing), spacing)
    inside = ((water[:, 0] - 2 * height).abs() < height) & (water[:, 1] > bottom)
    water = water[~inside]
    block = lattice((height, bottom), (3 * height, bottom + height), spacing)
    liquid = Liquid(density_liquid, density_liquid * speed**2, density_liquid * 0.02 * math.sqrt(GRAVITY * height**3))
    solid = FixedCorotated(density_solid, density_solid * speed**2, 0.2)
    pressure = density_liquid * GRAVITY * (depth - water[:, 1])
    ratio = (1 + 7 * pressure / float(liquid.bulk_modulus)) ** (-1 / 7)
    bodies = [Body(water, liquid, spacing**2), Body(block, solid, spacing**2)]
    frame = 0.2 * math.sqrt(height / GRAVITY)
    solver = MpmSolver(MpmModel(bodies, (0, 0), (4 * height, 3 * height), cell, frame, dtype=torch.float64))
    state = solver.initial_state()
    state = state.replace(internal=torch.cat([ratio, torch.zeros(len(block), dtype=torch.float64)])[None])
    foot = block[:, 1] < bottom + spacing
    draughts = []
    for _ in range(150):
        state = advance(solver, state)
        x, y = state.position[0].T
        side = (x < height / 2) | (x > 3.5 * height)
        columns = (x / cell).long()
        # The surface lies half a spacing above the highest particle of each column of cells.
        level = float(torch.stack([y[side & (columns == column)].max() for column in columns[side].unique()]).mean()) + spacing / 2
        base = float(y[len(water) :][foot].mean()) - spacing / 2
        draughts.append((level - base) / height)
    share = float(np.mean(draughts[-30:]))
    drift = Check("drift of the draught over the height", float(np.ptp(draughts[-30:])), 0.01)
    return Measured(share, exact, abs(share / exact - 1), [drift])
