"""A block of oil falls and spreads. How wide it gets depends on its viscosity; the derivative is compared with a difference."""

import torch
from torch import Tensor

from pliant import Outcome, rollout
from pliant.sim.materials import Liquid
from pliant.sim.mpm import Body, MpmModel, MpmSolver
from pliant.sim.sdf import Box, Moved

CELL = 0.02  # [m]
STEPS = 25  # control steps of 10 ms


def width(viscosity: Tensor) -> Tensor:
    """The mean square distance from the middle line [m^2] a quarter of a second after the start."""
    oil = Liquid(density=900.0, bulk_modulus=9e4, viscosity=viscosity)
    block = Body.seeded(Moved(Box((0.1, 0.1)), (0.3, 0.14)), oil, CELL)
    model = MpmModel([block], lower=(0.0, 0.0), upper=(0.6, 0.4), cell=CELL, dt=0.01, walls="slip", dtype=torch.float64)
    solver = MpmSolver(model)
    controls = [solver.rest_control()] * STEPS
    end = rollout(solver, solver.initial_state(), controls, checkpoint="sqrt").final
    assert end.outcomes() == [Outcome.OK]
    return (end.position[0, :, 0] - 0.3).square().mean()


def main() -> None:
    viscosity = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)  # [Pa s]
    found = width(viscosity)
    (slope,) = torch.autograd.grad(found, viscosity)
    step = 1e-4
    with torch.no_grad():
        difference = float(width(viscosity + step) - width(viscosity - step)) / (2 * step)
    error = abs(float(slope) - difference) / abs(difference)
    print(f"mean square width {found.detach():.6f} m^2, slope {slope:.9e}, difference {difference:.9e}, relative error {error:.1e}")
    assert slope < 0, "a thicker oil must spread less"
    assert error < 1e-6


if __name__ == "__main__":
    main()
