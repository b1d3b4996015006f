"""Liquids of the material point method: at rest, collapsing, and driven through a channel."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..errors import OptionError
from ..sim.materials import Liquid
from ..sim.mpm import Body, MpmModel, MpmSolver, MpmState
from .case import Check, Measured, case, require_range
from .mpm_scene import GRAVITY, advance, lattice, whole_cells

DENSITY = 1000.0
"""Of water [kg/m^3]."""
FRONTS = {
    1.0: (
        (0.43, 0.62, 0.80, 0.97, 1.14, 1.29, 1.45, 1.62, 1.76, 1.93, 2.07, 2.24, 2.40, 2.54, 2.71),
        (1.11, 1.22, 1.44, 1.67, 1.89, 2.11, 2.33, 2.56, 2.78, 3.00, 3.22, 3.44, 3.67, 3.89, 4.11),
    ),
    2.0: (
        (0.41, 0.84, 1.19, 1.43, 1.63, 1.83, 1.98, 2.20, 2.32, 2.51, 2.65, 2.83, 2.98, 3.11, 3.33),
        (1.11, 1.22, 1.44, 1.67, 1.89, 2.11, 2.33, 2.56, 2.78, 3.00, 3.22, 3.44, 3.67, 3.89, 4.11),
    ),
}
"""Martin and Moyce 1952, columns of base 2.25 in: n t sqrt(g/a) and front over base, by n^2, the column's height over its base."""
HEIGHTS = {
    1.0: ((0.80, 1.29, 1.74, 2.15, 2.57), (0.89, 0.78, 0.67, 0.56, 0.44)),
    2.0: ((0.56, 0.77, 0.93, 1.08, 1.28, 1.46, 1.66, 1.84, 2.00, 2.21), (0.94, 0.89, 0.83, 0.78, 0.72, 0.67, 0.61, 0.56, 0.50, 0.44)),
}
"""Of the same columns: t sqrt(g/a) and the height that is left at the wall over the height at the start."""


@case("mpm.hydrostatic", source="p = rho g (depth below the surface), with the liquid's own equation of state", tolerance=0.03)
def hydrostatic(depth: float = 0.2, cells: int = 12) -> Measured:
    """Pressure and rest of a column of liquid that was let go without any pressure in it.

    The liquid starts uncompressed, so it falls, and sound runs up and down the column. Its viscosity damps the fundamental mode by e in five
    periods. After seven such times pressure and speed are measured, and pressure again sqrt(depth / 0.2 m) seconds later.

    Args:
        depth: of the liquid [m].
        cells: grid cells over the depth.

    Returns:
        Pressures of the rows of particles from the bottom up [Pa]; the error is the relative L2 norm over all particles. Further: the fastest
        particle over sqrt(g depth), at most 1e-3, and the drift of pressure, at most 1 %.
    """
    require_range(depth=depth)
    require_range(cells=cells, low=3)
    cell, spacing = depth / cells, depth / cells / 2
    speed = 10 * math.sqrt(GRAVITY * depth)
    bulk = DENSITY * speed**2
    decay = 5 * 4 * depth / speed
    # 4/3 of the viscosity acts on plane waves: amplitude exp(-2/3 nu k^2 t) with k = pi / (2 depth).
    viscosity = DENSITY / (decay * (2 / 3) * (math.pi / (2 * depth)) ** 2)
    points = lattice((0, 0), (4 * cell, depth), spacing)
    body = Body(points, Liquid(DENSITY, bulk, viscosity), spacing**2)
    model = MpmModel([body], (0, 0), (4 * cell, depth + 4 * cell), cell, decay / 10, dtype=torch.float64)
    solver = MpmSolver(model)

    def pressures(state: MpmState) -> np.ndarray:
        return bulk / 7 * (state.internal[0].numpy() ** -7 - 1)

    state = advance(solver, solver.initial_state(), 70)
    pressure, height = pressures(state), state.position[0, :, 1].numpy()
    speeds = state.velocity[0].norm(dim=1).numpy()
    # The column d deep below its surface has shrunk to y = int J: (1 + b d)^(6/7) = (1 + b depth)^(6/7) - 6/7 b y, where b = 7 rho g / K.
    b = 7 * DENSITY * GRAVITY / bulk
    exact = DENSITY * GRAVITY * (((1 + b * depth) ** (6 / 7) - 6 / 7 * b * height) ** (7 / 6) - 1) / b
    state = advance(solver, state, math.ceil(math.sqrt(depth / 0.2) / model.dt))
    rows = points[:, 1].numpy().argsort(kind="stable").reshape(2 * cells, -1)
    return Measured(
        pressure[rows].mean(1).tolist(),
        exact[rows].mean(1).tolist(),
        relative_error(pressure, exact),
        [
            Check("speed over sqrt(g depth)", float(speeds.max()) / math.sqrt(GRAVITY * depth), 1e-3),
            Check("drift of pressure", relative_error(pressures(state), pressure), 0.01),
        ],
    )


@case(
    "mpm.dam_break", source="Martin and Moyce 1952, Phil. Trans. A 244, 312-324: tables of columns with a base of 2.25 in", tolerance=0.08
)
def dam_break(n2: float = 2.0, a: float = 0.05715, cells: int = 20) -> Measured:
    """Front and height of a collapsing column of water.

    The front is the place beyond which an area of a^2 / 50 of water lies, the 99th percentile of a column twice as high as wide; the tongue
    before it is thinner than what the experimenters filmed. The height is that of the water within 0.15 a of the wall. Walls slip.

    Args:
        n2: height of the column over its base; 1 and 2 are tabulated.
        a: base of the column [m]. The tables are dimensionless, so that it may be any.
        cells: grid cells over the base.

    Returns:
        Front over base at the tabulated times with 1.2 <= front <= 4, then height over initial height; the error is the largest relative one of
        the fronts. Further: that of the heights, at most 5 %.
    """
    if n2 not in FRONTS:
        raise OptionError(f"n2 is {n2:g}; Martin and Moyce tabulate columns with n2=1 and n2=2.")
    require_range(a=a)
    require_range(cells=cells, low=3)
    n, cell = math.sqrt(n2), a / cells
    spacing = cell / 2
    front_times, fronts = (np.array(row) for row in FRONTS[n2])
    front_times, fronts = front_times[(fronts >= 1.2) & (fronts <= 4)], fronts[(fronts >= 1.2) & (fronts <= 4)]
    height_times, heights = (np.array(row) for row in HEIGHTS[n2])
    speed = 10 * math.sqrt(2 * GRAVITY * n2 * a)
    body = Body(lattice((0, 0), (a, n2 * a), spacing), Liquid(DENSITY, DENSITY * speed**2), spacing**2)
    frame = 0.02
    unit = math.sqrt(a / GRAVITY) / n
    upper = (whole_cells(5.5 * a, cell), whole_cells(1.1 * n2 * a, cell))
    solver = MpmSolver(MpmModel([body], (0, 0), upper, cell, frame * unit, dtype=torch.float64))
    beyond = round(a**2 / 50 / spacing**2)
    state = solver.initial_state()
    times, reached, left = [0.0], [1.0], [1.0]
    while times[-1] < max(front_times.max(), n * height_times.max()):
        state = advance(solver, state)
        x, y = state.position[0].numpy().T
        times.append(times[-1] + frame)
        reached.append(np.partition(x, -beyond)[-beyond] / a)
        left.append((y[x < 0.15 * a].max(initial=0.0) + spacing / 2) / (n2 * a))
    front = np.interp(front_times, times, reached)
    height = np.interp(n * height_times, times, left)
    return Measured(
        [*front.tolist(), *height.tolist()],
        [*fronts.tolist(), *heights.tolist()],
        float(abs(front / fronts - 1).max()),
        [Check("height", float(abs(height / heights - 1).max()), 0.05)],
    )


def poiseuille_velocity(y: np.ndarray, time: float, force: float, width: float, viscosity: float) -> np.ndarray:
    """Speed in a channel 0 < y < width whose liquid is at rest until a force per mass sets in [m/s].

    Args:
        y: places across the channel [m].
        time: since then [s].
        force: [m/s^2].
        width: [m].
        viscosity: kinematic [m^2/s].
    """
    speed = force * y * (width - y) / (2 * viscosity)
    for odd in range(1, 200, 2):
        k = odd * math.pi / width
        speed = speed - 4 * force / (width * viscosity * k**3) * np.sin(k * y) * math.exp(-viscosity * k**2 * time)
    return speed


@case("mpm.poiseuille", source="Fourier series of the start-up of plane Poiseuille flow, by separation of variables", tolerance=0.02)
def poiseuille(viscosity: float = 1.0, cells: int = 20) -> Measured:
    """Velocity profile of a liquid that a body force drives through a channel of 0.1 m, as it develops.

    A plug eight widths long with free ends is driven between sticking walls. Its middle knows nothing of its ends, so that it moves as in an
    endless channel. The force is such that the flow ends at a Reynolds number of 0.2. The time step is the longest stable one for the viscosity.

    Args:
        viscosity: dynamic, of a liquid of 1000 kg/m^3 [Pa s].
        cells: grid cells over the width, at least 8; half as many give the order of convergence.

    Returns:
        Velocities of the rows of particles at t = 0.2 width^2 / nu, bottom up [m/s]; the error is the largest relative L2 norm at 0.05, 0.1 and
        0.2 width^2 / nu. Further: halving the cells divides it by at least 2^1.5.
    """
    return _develop(viscosity, cells, 0.8, push=1.0)


def couette_velocity(y: np.ndarray, time: float, speed: float, width: float, viscosity: float) -> np.ndarray:
    """Speed in a channel 0 < y < width whose liquid is at rest until its upper wall slides [m/s].

    Args:
        y: places across the channel [m].
        time: since then, above 0 [s].
        speed: of the upper wall [m/s].
        width: [m].
        viscosity: kinematic [m^2/s].
    """
    found = speed * y / width
    for n in range(1, 200):
        k = n * math.pi / width
        found = found + 2 * speed / (n * math.pi) * (-1) ** n * np.sin(k * y) * math.exp(-viscosity * k**2 * time)
    return found


@case("mpm.couette", source="Fourier series of the start-up of plane Couette flow, by separation of variables", tolerance=0.02)
def couette(viscosity: float = 1.0, cells: int = 20) -> Measured:
    """Velocity profile of a liquid in a channel of 0.1 m whose upper wall suddenly slides, as it develops.

    Liquid, time step and measure are those of `mpm.poiseuille`; the wall slides at a Reynolds number of 0.2. The plug is sixteen widths long: where
    the flow turns at its ends some pressure is lost, and the error that its gradient makes in the middle shrinks as one over the length.

    Args:
        viscosity: dynamic, of a liquid of 1000 kg/m^3 [Pa s].
        cells: grid cells over the width, at least 8; half as many give the order of convergence. With 40 the error is 0.15 %, and too
            little is left of it to read an order from.

    Returns:
        Velocities of the rows of particles at t = 0.2 width^2 / nu, bottom up [m/s]; the error is the largest relative L2 norm at 0.05, 0.1 and
        0.2 width^2 / nu. Further: halving the cells divides it by at least 2^1.5.
    """
    return _develop(viscosity, cells, 1.6, slide=1.0)


def _develop(viscosity: float, cells: int, length: float, push: float = 0.0, slide: float = 0.0) -> Measured:
    """What `_channel` finds, and how its error shrinks when cells are halved."""
    require_range(viscosity=viscosity)
    require_range(cells=cells, low=7)
    value, reference, error = _channel(viscosity, cells, length, push, slide)
    coarse = cells // 2
    *_, coarse_error = _channel(viscosity, coarse, length, push, slide)
    order = math.log(coarse_error / error) / math.log(cells / coarse)
    return Measured(value, reference, error, [Check("shrinkage of the error when cells are halved", 2**-order, 2**-1.5)])


def _channel(viscosity: float, cells: int, length: float, push: float, slide: float) -> tuple[list[float], list[float], float]:
    """Simulated and exact velocity of each row of particles at the end, and the largest relative error of the three times.

    The plug is `length` [m] long. A force drives it to a greatest speed of `push`, or the upper wall slides with `slide`, both over 0.2 nu / width.
    """
    width = 0.1
    cell = width / cells
    nu, spacing = viscosity / DENSITY, cell / 2
    unit = 0.2 * nu / width
    force = push * 8 * nu / width**2 * unit
    # Sound at this speed asks for the same time step as viscosity, and is 100 times faster than the flow.
    bulk = DENSITY * (4 * nu / cell) ** 2
    points = lattice((0, 0), (length, width), spacing)
    body = Body(points, Liquid(DENSITY, bulk, viscosity), spacing**2)
    model = MpmModel(
        [body], (-6 * cell, 0), (length + 6 * cell, width), cell, 0.05 * width**2 / nu,
        gravity=(force, 0), walls=("slip", "slip", "sticky", "sticky"), wall_velocity=[[0, 0], [0, 0], [0, 0], [slide * unit, 0]],
        dtype=torch.float64,
    )  # fmt: skip
    solver = MpmSolver(model)
    middle = (points[:, 0] - length / 2).abs().numpy() < width / 2
    rows = np.flatnonzero(middle)[points[middle, 1].numpy().argsort(kind="stable")].reshape(2 * cells, -1)
    state, errors = solver.initial_state(), []
    for step in range(1, 5):
        state, time = advance(solver, state), step * model.dt
        speed, y = state.velocity[0, :, 0].numpy()[rows], state.position[0, :, 1].numpy()[rows]
        exact = poiseuille_velocity(y, time, force, width, nu) + couette_velocity(y, time, slide * unit, width, nu)
        errors.append(relative_error(speed, exact))
    return speed.mean(1).tolist(), exact.mean(1).tolist(), max(errors)


def relative_error(value: np.ndarray, reference: np.ndarray) -> float:
    """The norm of the difference over the norm of the reference."""
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))
