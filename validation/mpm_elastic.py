"""Elastic bodies of the material point method against exact solutions of their own law: under their weight, and driven at will."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError
from ..sim.materials import FixedCorotated, NeoHookean, lame
from ..sim.mpm import Body, MpmModel, MpmSolver
from .case import Check, Measured, case, require_choice, require_range
from .mpm_scene import GRAVITY, advance, lattice


@case("mpm.self_weight", source="Bar that hangs under its own weight: tip displacement rho g L^2 / (2 E); Timoshenko", tolerance=0.02)
def self_weight(youngs_modulus: float = 1e5, density: float = 1000.0, length: float = 0.5, cells: int = 20) -> Measured:
    """How far a bar that hangs from the ceiling is drawn out by its own weight.

    The bar is four cells wide, in two dimensions, with free sides and no Poisson effect. The stress of the fixed corotated law is then linear
    in the stretch, so that the formula is exact at any load. Nothing damps the bar: gravity grows within two periods of its fundamental mode,
    and places are averaged over two more.

    Args:
        youngs_modulus: E [Pa].
        density: [kg/m^3].
        length: L at rest [m].
        cells: grid cells along the bar.

    Returns:
        Displacement of the tip [m]. Further: the relative L2 norm of the error of all displacements along the bar, at most 2 %.
    """
    require_range(youngs_modulus=youngs_modulus, density=density, length=length)
    require_range(cells=cells, low=3)
    load = density * GRAVITY * length / youngs_modulus
    if load > 0.5:
        raise OptionError(f"The weight stretches the top of the bar by {load:.0%}; above 50 % particles lose touch. Raise youngs_modulus.")
    cell, spacing = length / cells, length / cells / 2
    width, drop = 8 * cell, math.ceil(load * cells / 2 + 2) * cell
    points = lattice((2 * cell, 0), (width - 2 * cell, length), spacing)
    body = Body(points, FixedCorotated(density, youngs_modulus, 0.0), spacing**2)
    period = 4 * length / math.sqrt(youngs_modulus / density)
    frames, half = 80, 40
    model = MpmModel([body], (0, -drop), (width, length), cell, period / half, gravity=(0, 0), dtype=torch.float64)
    # Gravity grows with the cosine, held over each frame.
    growth = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(frames) + 0.5) / frames)
    state = MpmSolver(model).initial_state()
    for part in growth:
        state = advance(MpmSolver(dataclasses.replace(model, gravity=(0, -GRAVITY * float(part)))), state)
    solver = MpmSolver(dataclasses.replace(model, gravity=(0, -GRAVITY)))
    height = torch.zeros_like(points[:, 1])
    for _ in range(frames):
        state = advance(solver, state)
        height += state.position[0, :, 1] / frames
    depth = length - points[:, 1].numpy()
    moved = (points[:, 1] - height).numpy()
    exact = density * GRAVITY / youngs_modulus * (length * depth - depth**2 / 2)
    tip = float(moved[depth > length - spacing].mean())
    reference = density * GRAVITY * length**2 / (2 * youngs_modulus)
    profile = float(np.linalg.norm(moved - exact) / np.linalg.norm(exact))
    return Measured(tip, reference, abs(tip / reference - 1), [Check("displacements along the bar", profile, 0.02)])


def manufactured_stretch(place: Tensor, time: Tensor | float, amplitude: float, speed: float) -> tuple[Tensor, Tensor]:
    """Displacement [..., 2] [m] and stretches (F_xx, F_yy) [..., 2] of the motion that `mpm.manufactured` prescribes in the unit square.

    Args:
        place: at rest [..., 2] [m].
        time: [s].
        amplitude: A [m].
        speed: c [m/s].
    """
    phase = torch.as_tensor(math.pi * speed * time, dtype=place.dtype)
    swing = amplitude * torch.stack([torch.cos(phase), torch.sin(phase)])
    return torch.sin(2 * math.pi * place) * swing, 1 + 2 * math.pi * torch.cos(2 * math.pi * place) * swing


def manufactured_force(place: Tensor, time: float, amplitude: float, material: FixedCorotated | NeoHookean) -> Tensor:
    """The force per mass that this motion takes [..., 2] [m/s^2].

    It is the acceleration less the divergence of the first Piola-Kirchhoff stress P over the density. With a stretch a along an axis and b across
    it, P = 2 mu (a - 1) + lambda (a b - 1) b in the fixed corotated law, and mu (a - 1 / a) + lambda log(a b) / a in the neo-Hookean one. Along
    the axis only a varies.

    Args:
        place: at rest [..., 2] [m].
        time: [s].
        amplitude: A [m].
        material: of the square; its speed of pressure waves is c.
    """
    mu, lam = lame(material.youngs_modulus, material.poisson_ratio)
    displacement, stretch = manufactured_stretch(place, time, amplitude, _pressure_waves(material))
    across = stretch.flip(-1)
    if isinstance(material, FixedCorotated):
        stiffness = 2 * mu + lam * across**2
    else:
        stiffness = mu + (mu + lam * (1 - torch.log(stretch * across))) / stretch**2
    return displacement * math.pi**2 * (4 * stiffness - (lam + 2 * mu)) / material.density


def _pressure_waves(material: FixedCorotated | NeoHookean) -> float:
    """Their speed [m/s], to the last digit."""
    mu, lam = lame(float(material.youngs_modulus), float(material.poisson_ratio))
    return math.sqrt((lam + 2 * mu) / float(material.density))


ELASTIC: dict[str, type[FixedCorotated] | type[NeoHookean]] = {"fixed_corotated": FixedCorotated, "neo_hookean": NeoHookean}


@case(
    "mpm.manufactured",
    source="Method of manufactured solutions; Wallstedt and Guilkey 2008, J. Comput. Phys. 227, 9628-9642",
    tolerance=0.02,
)
def manufactured(
    material: str = "neo_hookean", amplitude: float = 0.02, youngs_modulus: float = 1e4, poisson_ratio: float = 0.3, cells: int = 32
) -> Measured:
    """How fast a prescribed vibration of an elastic square is approached on finer and finer grids.

    The unit square lies between slipping walls and moves as u_x = A sin(2 pi X) cos(c pi t), u_y = A sin(2 pi Y) sin(c pi t), with c the speed of
    pressure waves. A force per mass that follows from the balance of momentum makes it do so; it is added to the velocities before each of the
    substeps, which are as many for each cell on each grid. Velocities are half a step behind places at the start, as they stay.

    Args:
        material: fixed_corotated or neo_hookean.
        amplitude: A [m].
        youngs_modulus: of a solid of 1000 kg/m^3 [Pa].
        poisson_ratio: of it.
        cells: grid cells along an edge of the finest grid, at least 16; the others have half and a quarter as many. With 64 the order
            falls to 1.4, as that of the method does on fine grids.

    Returns:
        Errors of the displacement at t = 1 / c from the finest grid to the coarsest, relative to A, root mean square over particles; the reference
        is zero, and the error is that on the finest grid. Further: from the coarsest grid to the finest, the error shrinks at each halving,
        and by 2^-1.5 a halving on the whole.
    """
    require_choice("material", material, list(ELASTIC))
    require_range(amplitude=amplitude, high=0.1)
    require_range(youngs_modulus=youngs_modulus)
    require_range(poisson_ratio=poisson_ratio, low=-0.5, high=0.49)
    require_range(cells=cells, low=15)
    solid = ELASTIC[material](1000.0, youngs_modulus, poisson_ratio)
    errors = [_manufactured_error(solid, amplitude, count) for count in (cells, cells // 2, cells // 4)]
    shrinkage = [fine / coarse for fine, coarse in itertools.pairwise(errors)]
    return Measured(
        errors,
        [0.0] * len(errors),
        errors[0],
        [
            Check("largest shrinkage of the error when cells are halved", max(shrinkage), 0.999),
            Check("mean shrinkage of the error when cells are halved", math.prod(shrinkage) ** (1 / len(shrinkage)), 2**-1.5),
        ],
    )


def _manufactured_error(material: FixedCorotated | NeoHookean, amplitude: float, cells: int) -> float:
    """The error of the displacement after half a period, over the amplitude."""
    cell, steps = 1 / cells, 4 * cells
    speed = _pressure_waves(material)
    dt = 1 / speed / steps
    points = lattice((0, 0), (1, 1), cell / 2)
    model = MpmModel([Body(points, material, (cell / 2) ** 2)], (0, 0), (1, 1), cell, dt, 1, gravity=(0, 0), dtype=torch.float64)
    solver = MpmSolver(model)
    time = torch.tensor(-dt / 2, dtype=torch.float64)
    velocity, rate = torch.func.jvp(lambda t: manufactured_stretch(points, t, amplitude, speed), (time,), (torch.ones_like(time),))[1]
    displacement, stretch = manufactured_stretch(points, 0.0, amplitude, speed)
    gradient = rate / (stretch - rate * dt / 2)
    state = solver.initial_state()
    state = state.replace(
        position=(points + displacement)[None],
        velocity=velocity[None],
        apic_affine=torch.diag_embed(gradient)[None],
        # The step multiplies it by 1 + dt times the gradient first.
        deformation_gradient=torch.diag_embed(stretch / (1 + dt * gradient))[None],
    )
    for step in range(steps):
        force = manufactured_force(points, step * dt, amplitude, material)
        state = advance(solver, state.replace(velocity=state.velocity + dt * force))
    exact = manufactured_stretch(points, steps * dt, amplitude, speed)[0]
    error = state.position[0] - points - exact
    return float(error.square().sum(1).mean().sqrt()) / amplitude
