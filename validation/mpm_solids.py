"""Elastic bodies of the material point method: spinning freely, vibrating, and sliding down an incline."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from ..errors import OptionError
from ..sim.materials import FixedCorotated
from ..sim.mpm import Body, MpmModel, MpmSolver, MpmState
from .case import Check, Measured, case, require_choice, require_range
from .mpm_scene import GRAVITY, advance, lattice, whole_cells

DENSITY = 1000.0
"""[kg/m^3]."""
DRIFTS = {"float64": 1e-10, "float32": 1e-5}
"""How much of its angular momentum a free body may lose or gain."""


@case(
    "mpm.angular_momentum", source="Conservation law; Jiang et al. 2015 for APIC, whose affine part carries dx^2/4 of it", tolerance=1e-10
)
def angular_momentum(steps: int = 10000, dtype: str = "both") -> Measured:
    """Angular momentum of a free elastic disc that spins and throbs.

    Args:
        steps: time steps.
        dtype: float64, float32, or both.

    Returns:
        Angular momentum over that at the start, for each dtype, after the last step; the error is the largest drift on the way, at most 1e-10
        in float64 and 1e-5 in float32.
    """
    require_range(steps=steps)
    require_choice("dtype", dtype, ("both", *DRIFTS))
    names = list(DRIFTS) if dtype == "both" else [dtype]
    runs = [_spin(steps, name) for name in names]
    further = [Check(f"drift in {name}", drift, DRIFTS[name]) for name, (_last, drift) in zip(names[1:], runs[1:], strict=True)]
    return Measured([last for last, _drift in runs], [1.0] * len(runs), runs[0][1], further, DRIFTS[names[0]])


def _spin(steps: int, dtype: str) -> tuple[float, float]:
    """The angular momentum after the last step, and its largest drift on the way, over that at the start."""
    radius, cells, spin, throb = 0.1, 7, 20.0, 0.5
    cell = radius / cells
    half = whole_cells(1.6 * radius, cell)
    points = lattice((-radius, -radius), (radius, radius), cell / 2)
    points = points[points.norm(dim=1) < radius]
    gradient = torch.tensor([[throb, -spin], [spin, -throb]], dtype=torch.float64)
    body = Body(points, FixedCorotated(DENSITY, 1e5, 0.3), (cell / 2) ** 2, velocity=points @ gradient.T)
    model = MpmModel([body], (-half, -half), (half, half), cell, 1.0, gravity=(0, 0), dtype=getattr(torch, dtype))
    stride = min(100, steps)
    step = model.stable_dt()[0]
    solver = MpmSolver(dataclasses.replace(model, dt=step * stride, substeps=stride))
    state = solver.initial_state()
    state = state.replace(apic_affine=gradient.to(state.position).expand_as(state.apic_affine).clone())

    def momentum(state: MpmState) -> float:
        x, v, C = (tensor[0].double() for tensor in (state.position, state.velocity, state.apic_affine))
        return float((x[:, 0] * v[:, 1] - x[:, 1] * v[:, 0] + cell**2 / 4 * (C[:, 1, 0] - C[:, 0, 1])).sum())

    start, drift, share = momentum(state), 0.0, 1.0
    for _ in range(math.ceil(steps / stride)):
        state = advance(solver, state)
        share = momentum(state) / start
        drift = max(drift, abs(share - 1))
    return share, drift


@case("mpm.bar_frequency", source="Fixed-free bar: f1 = sqrt(E / rho) / (4 L); Rayleigh, The Theory of Sound, chapter VII", tolerance=0.02)
def bar_frequency(
    youngs_modulus: float = 1e5, poisson_ratio: float = 0.3, density: float = 1000.0, length: float = 0.5, cells: int = 24
) -> Measured:
    """Frequency of the fundamental mode of a slender bar that stretches, in three dimensions.

    One end is held by a slipping wall, which it cannot leave. The bar is three cells wide, starts in the shape of its mode, and is fitted over
    three periods.

    Args:
        youngs_modulus: E [Pa].
        poisson_ratio: of the bar; its sides are free, so that the frequency does not depend on it.
        density: [kg/m^3].
        length: L [m].
        cells: grid cells along the bar, at least 10.

    Returns:
        The frequency f1 [Hz].
    """
    require_range(youngs_modulus=youngs_modulus, density=density, length=length)
    require_range(cells=cells, low=9)
    cell, spacing = length / cells, length / cells / 2
    speed = math.sqrt(youngs_modulus / density)
    exact = speed / (4 * length)
    points = lattice((0, 2 * cell, 2 * cell), (length, 5 * cell, 5 * cell), spacing)
    mode = torch.sin(math.pi * points[:, 0] / (2 * length))
    velocity = torch.zeros_like(points)
    velocity[:, 0] = 1e-3 * speed * mode
    body = Body(points, FixedCorotated(density, youngs_modulus, poisson_ratio), spacing**3, velocity=velocity)
    upper = (length + 4 * cell, 7 * cell, 7 * cell)
    solver = MpmSolver(MpmModel([body], (0, 0, 0), upper, cell, 1 / (40 * exact), gravity=(0, 0, 0), dtype=torch.float64))
    state, signal = solver.initial_state(), []
    for _ in range(120):
        state = advance(solver, state)
        signal.append(float(mode @ state.velocity[0, :, 0]))
    frequency = fundamental(np.arange(1, 121) * solver.model.dt, np.array(signal), exact)
    return Measured(frequency, exact, abs(frequency / exact - 1))


def fundamental(time: np.ndarray, signal: np.ndarray, guess: float) -> float:
    """The frequency of the sinusoid that fits a signal best, within 40 % of a guess [1/s]."""

    def misfit(frequency: float) -> float:
        phase = 2 * np.pi * frequency * time
        basis = np.stack([np.cos(phase), np.sin(phase), np.ones_like(time)], 1)
        coefficients, *_ = np.linalg.lstsq(basis, signal, rcond=None)
        return float(((basis @ coefficients - signal) ** 2).sum())

    trials = guess * np.linspace(0.6, 1.4, 161)
    best = trials[np.argmin([misfit(trial) for trial in trials])]
    return float(
        minimize_scalar(misfit, bounds=(best - 0.005 * guess, best + 0.005 * guess), method="bounded", options={"xatol": 1e-6 * guess}).x
    )


@case("mpm.incline", source="Coulomb friction: a = g (sin th - mu cos th) if tan th > mu, else the block holds", tolerance=0.03)
def incline(angle: float = 30.0, friction: float = 0.3, cells: int = 6, aspect: float = 1.0) -> Measured:
    """Acceleration of an elastic block on a plane with friction.

    A block 0.1 m high lies on a Coulomb wall, and gravity is tilted. Gravity grows within 0.2 s, slowly enough not to shake the block;
    the acceleration is the slope of the mean velocity over the 0.3 s that follow. A coarse square block slides quietly. A wider or a finer one,
    which nothing damps, begins to chatter within two degrees above the angle of friction; it hops, and slides up to 0.02 g faster than the law says.

    Args:
        angle: of the plane [degrees].
        friction: Coulomb's coefficient.
        cells: grid cells over the height of the block.
        aspect: width of the block over its height.

    Returns:
        The acceleration down the plane [m/s^2]; the error is relative to the exact one if the block slides, else to g sin(angle).
    """
    require_range(angle=angle, high=90)
    require_range(friction=friction, low=-1e-300)
    require_range(cells=cells, low=3)
    require_range(aspect=aspect, low=0.4, high=20)
    slope = math.radians(angle)
    if min(math.tan(slope), friction) > 0.95 * aspect:
        raise OptionError(
            f"With angle={angle:g} and friction={friction:g} the block would topple; lower one of them, or raise aspect={aspect:g}."
        )
    exact = max(0.0, GRAVITY * (math.sin(slope) - friction * math.cos(slope)))
    edge, rise, run, frames = 0.1, 0.2, 0.3, 30
    cell, spacing, dt = edge / cells, edge / cells / 2, 0.01
    points = lattice((3 * cell, 0), (3 * cell + aspect * edge, edge), spacing)
    body = Body(points, FixedCorotated(DENSITY, 5e5, 0.3), spacing**2)
    pull = torch.tensor([GRAVITY * math.sin(slope), -GRAVITY * math.cos(slope)], dtype=torch.float64)
    upper = (whole_cells(aspect * edge + exact * (rise + run) ** 2 / 2 + 12 * cell, cell), edge + 6 * cell)
    model = MpmModel(
        [body],
        (0, 0),
        upper,
        cell,
        dt,
        gravity=pull,
        walls=("slip", "slip", "coulomb", "slip"),
        wall_friction=friction,
        dtype=torch.float64,
    )
    solver = MpmSolver(model)
    state, velocity = solver.initial_state(), []
    for step in range(round(rise / dt)):
        part = (step + 0.5) * dt / rise
        state = advance(MpmSolver(dataclasses.replace(model, gravity=pull * (part * part * (3 - 2 * part)))), state)
    for _ in range(frames):
        state = advance(solver, state)
        velocity.append(float(state.velocity[0, :, 0].mean()))
    acceleration = float(np.polyfit(np.arange(frames) * dt, velocity, 1)[0])
    return Measured(acceleration, exact, abs(acceleration - exact) / (exact or GRAVITY * math.sin(slope)))
