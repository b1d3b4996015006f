"""A nozzle on an arm that rises and tips forward sprays water over a drain. How fast must the water be for its middle to come down at a mark?"""

import dataclasses

import torch
from torch import Tensor

from pliant import rollout
from pliant.sim.materials import Liquid
from pliant.sim.mpm import Effector, EffectorControl, Inflow, MpmModel, MpmSolver, MpmState
from pliant.sim.sdf import Moved, Plane, Sphere

CELL, STEPS, MARK = 0.02, 15, 0.4  # [m], control steps of 20 ms, [m]

# Seeded for 1 m/s: as many layers come whatever the speed is later.
NOZZLE = Inflow.seeded(Sphere(0.03, dimension=2), Liquid(1000.0, 2e4), CELL, velocity=(1.0, 0.0), budget=400, effector=0)


def spray(speed: Tensor) -> MpmState:
    """The state after 0.3 s."""
    nozzle = dataclasses.replace(NOZZLE, velocity=torch.stack([speed, torch.zeros_like(speed)]))
    arm = Effector(Moved(Sphere(0.02, dimension=2), (-0.1, 0.0)), (0.2, 0.6), 0.3)
    drain = Plane((0.0, 1.0), 0.45)
    model = MpmModel([], (0.0, 0.0), (0.8, 0.8), CELL, 0.02, effectors=[arm], inflows=[nozzle], outflows=[drain], dtype=torch.float64)
    solver = MpmSolver(model)
    control = EffectorControl(torch.tensor([[[0.0, 0.2]]], dtype=torch.float64), torch.tensor([[[-1.0]]], dtype=torch.float64))
    return rollout(solver, solver.initial_state(), [control] * STEPS).final


def main() -> None:
    speed = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    misses = []
    for _ in range(4):  # Newton's method
        state = spray(speed)
        miss = state.position[0, 60:108, 0].mean() - MARK
        (slope,) = torch.autograd.grad(miss, speed)
        misses.append(float(miss.detach()))
        print(f"{float(speed.detach()):.6f} m/s: {int(state.active.sum())} particles in flight, {misses[-1]:+.2e} m beside the mark")
        speed = (speed - miss / slope).detach().requires_grad_()
    assert abs(misses[-1]) < 1e-9, "with exact derivatives every iteration doubles the digits"


if __name__ == "__main__":
    main()
