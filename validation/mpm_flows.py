"""Liquids of the material point method that slosh in a tank, and run out of it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError
from ..sim.materials import Liquid
from ..sim.mpm import Body, Effector, MpmModel, MpmSolver
from ..sim.sdf import Box
from .case import Check, Measured, case, require_range
from .mpm_fluids import DENSITY
from .mpm_scene import GRAVITY, advance, lattice, whole_cells
from .mpm_solids import fundamental


def settled(depth: float, rows: int, bulk: float, density: float = DENSITY, load: float = 0.0) -> tuple[Tensor, Tensor, float]:
    """A column of liquid that is compressed by its own weight and a load, in `rows` rows of equal mass.

    At a depth D of matter, measured at rest, the pressure is load + density g D, so that the volume ratio is (c + b D)^(-1/7) with
    b = 7 density g / bulk and c = 1 + 7 load / bulk; places are its integral.

    Args:
        depth: of the liquid as it stands [m].
        rows: how many.
        bulk: bulk modulus [Pa].
        density: at rest [kg/m^3].
        load: pressure on its surface [Pa].

    Returns:
        Heights of the rows from the bottom up [rows] [m], their volume ratios [rows], and the thickness of a row at rest [m].
    """
    b, c = 7 * density * GRAVITY / bulk, 1 + 7 * load / bulk
    whole = ((c ** (6 / 7) + 6 / 7 * b * depth) ** (7 / 6) - c) / b
    above = c + b * whole * (1 - (torch.arange(rows, dtype=torch.float64) + 0.5) / rows)
    return ((c + b * whole) ** (6 / 7) - above ** (6 / 7)) / (6 / 7 * b), above ** (-1 / 7), whole / rows


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


@case(
    "mpm.torricelli",
    source="Torricelli's law v = sqrt(2 g head), by Bernoulli's equation along a streamline from the surface",
    tolerance=0.05,
)
def torricelli(head: float = 0.2, orifice: float = 0.03, cells: int = 10) -> Measured:
    """Speed of the jet that shoots out of a slot at the foot of a tank.

    The tank is six slots long, and its floor goes on outside. The gate above the slot is a tool at rest; nothing has friction. The jet is measured
    one to three slots beyond the gate, where it has contracted, while the surface sinks from 95 % to 85 % of the head. There the pressure in it is
    that of its own weight, so that the law holds all over it with the depth of its top below the surface in the tank.

    Args:
        head: height of the liquid in the tank at the start [m], at least four slots.
        orifice: height of the slot [m].
        cells: grid cells over the slot.

    Returns:
        Speed of the jet times the square root of head over depth, averaged, and sqrt(2 g head) [m/s].
    """
    require_range(head=head, orifice=orifice)
    require_range(cells=cells, low=3)
    if head < 4 * orifice:
        raise OptionError(f"head is {head:g}; it must be at least four times the height of the slot, orifice={orifice:g}.")
    cell = orifice / cells
    length, gate = 6 * orifice, 3 * cell
    rows, columns = round(2 * head / cell), 12 * cells
    bulk = DENSITY * 100 * GRAVITY * head
    height, ratio, thickness = settled(head, rows, bulk)
    points = torch.cartesian_prod((torch.arange(columns, dtype=torch.float64) + 0.5) * cell / 2, height)
    body = Body(points, Liquid(DENSITY, bulk), cell / 2 * thickness)
    tool = block((length, orifice), (length + gate, 2 * head))
    upper = (length + whole_cells(3 * head + 8 * orifice, cell), whole_cells(head + 4 * cell, cell))
    frame = 0.1 * math.sqrt(orifice / GRAVITY)
    solver = MpmSolver(MpmModel([body], (0, 0), upper, cell, frame, effectors=[tool], dtype=torch.float64))
    state, level, speeds = solver.initial_state(), head, []
    state = state.replace(internal=ratio.repeat(columns)[None])
    while level > 0.85 * head:
        state = advance(solver, state)
        x, y = state.position[0].T
        level = float(state.internal[0, x < length].sum()) * body.volume / length
        jet = (x > length + gate + orifice) & (x < length + gate + 3 * orifice)
        if 0.85 * head < level < 0.95 * head:
            depth = level - 2 * float(y[jet].mean())
            speeds.append(float(state.velocity[0, jet].norm(dim=1).mean()) * math.sqrt(head / depth))
    speed, law = float(np.mean(speeds)), math.sqrt(2 * GRAVITY * head)
    return Measured(speed, law, abs(speed / law - 1))


def block(lower: tuple[float, float], upper: tuple[float, float]) -> Effector:
    """A rectangle at rest, without friction."""
    low, high = torch.tensor(lower, dtype=torch.float64), torch.tensor(upper, dtype=torch.float64)
    return Effector(Box((high - low) / 2), ((low + high) / 2).tolist(), friction=0.0)


SHAPE = math.sqrt(math.pi) * math.gamma(4 / 3) / (2 * math.gamma(11 / 6))
"""The integral of (1 - s^2)^(1/3) from 0 to 1: area of a viscous gravity current over its length and its height at the wall."""


def huppert_front(time: np.ndarray | float, area: float, viscosity: float) -> np.ndarray | float:
    """How far a viscous gravity current of constant area has run over a floor [m].

    Lubrication theory: h_t = g / (3 nu) (h^3 h_x)_x has the solution h = h_0 (1 - s^2)^(1/3) with s = x / x_N and
    h_0^3 = 9 nu x_N^2 / (10 g t). Its area SHAPE h_0 x_N is given, so that the factor of the law is (10/3)^(1/5) SHAPE^(-3/5) = 1.411.

    Args:
        time: since it would have had no length [s].
        area: between wall, floor and surface [m^2].
        viscosity: kinematic [m^2/s].
    """
    return 0.3**-0.2 * SHAPE**-0.6 * (GRAVITY * area**3 * time / (3 * viscosity)) ** 0.2


@case(
    "mpm.huppert",
    source="Huppert 1982, J. Fluid Mech. 121, 43-58: x_N = 1.411 (g A^3 t / (3 nu))^(1/5)",
    tolerance=0.05,
)
def huppert(viscosity: float = 7.0, area: float = 0.01, cells: int = 5) -> Measured:
    """Front of a viscous liquid that spreads under its own weight from a slipping wall over a sticking floor.

    It starts with the shape, the velocities and the pressure of the similarity solution, 2.5 square roots of its area long, and spreads to 4.5.
    Particles make no sharp front: it is taken from the place beyond which 1 % of the area lies, as in the similarity solution.

    Args:
        viscosity: dynamic, of a liquid of 1000 kg/m^3 [Pa s].
        area: of the liquid [m^2].
        cells: grid cells over the height of the liquid at the wall at the end; with fewer than five the front falls behind.

    Returns:
        The front at eight times, evenly spread over its way [m]; the error is the largest relative one. Further: the exponent of time with which
        it goes the second half of its way, within 10 % of 1/5.
    """
    require_range(viscosity=viscosity, area=area)
    require_range(cells=cells, low=2)
    nu = viscosity / DENSITY
    first, last = 2.5 * math.sqrt(area), 4.5 * math.sqrt(area)
    unit = float(huppert_front(1.0, area, nu))
    start = (first / unit) ** 5
    tall = area / (SHAPE * first)
    inertia = tall**2 / (5 * start * nu)
    if inertia > 0.5:
        raise OptionError(f"With viscosity={viscosity:g} inertia is {inertia:.2g} of the viscous stress; raise it, or lower area={area:g}.")
    cell = area / (SHAPE * last) / cells
    spacing = cell / 2
    bulk = DENSITY * 100 * GRAVITY * tall
    points = lattice((0, 0), (whole_cells(first, cell), whole_cells(tall, cell)), spacing)
    s = points[:, 0] / first
    height = tall * (1 - s**2).clamp(min=0) ** (1 / 3)
    points, s, height = (tensor[points[:, 1] < height] for tensor in (points, s, height))
    x, y = points.T
    eta, fall = y / height, -2 / 3 * tall * s**2 * (1 - s**2) ** (-2 / 3)
    # The mean speed of a column is x / (5 t), its profile a half parabola, and the other component follows from the stream function.
    velocity = (
        0.3 / start * torch.stack([x * (2 * eta - eta**2), fall * (2 * eta**2 - eta**3) - (height + fall) * (eta**2 - eta**3 / 3)], 1)
    )
    body = Body(points, Liquid(DENSITY, bulk, viscosity), area / len(points), velocity=velocity)
    upper = (whole_cells(1.2 * last, cell), whole_cells(1.1 * tall, cell))
    fronts = np.linspace(first, last, 9)
    times = (fronts / unit) ** 5
    # Beyond s = share lies 1 % of the area: near 1 it is 3/4 2^(1/3) (1 - s)^(4/3).
    share = 1 - (0.01 * SHAPE * 4 / 3 / 2 ** (1 / 3)) ** 0.75
    beyond = round(0.01 * len(points))
    found, state = [], None
    for begin, end in itertools.pairwise(times):
        solver = MpmSolver(
            MpmModel([body], (0, 0), upper, cell, end - begin, walls=("slip", "slip", "sticky", "slip"), dtype=torch.float64)
        )
        if state is None:
            state = solver.initial_state()
            state = state.replace(internal=(1 + 7 * DENSITY * GRAVITY * (height - y) / bulk)[None] ** (-1 / 7))
        state = advance(solver, state)
        found.append(float(np.partition(state.position[0, :, 0].numpy(), -beyond)[-beyond]) / share)
    exponent = math.log(found[-1] / found[3]) / math.log(times[-1] / times[4])
    error = float(np.abs(np.array(found) / fronts[1:] - 1).max())
    return Measured(found, fronts[1:].tolist(), error, [Check("exponent of time, relative to 1/5", abs(5 * exponent - 1), 0.1)])
