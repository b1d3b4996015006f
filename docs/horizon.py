"""How long a gradient stays useful: the table in gradients.md. `python docs/horizon.py` takes a few minutes.

Water falls from a height of 20 cm on a half disc on the floor and splashes. The quantity is the mean x of the water [m], differentiated
in the start speed of the block along x, and in the start velocities of all particles.
"""

import torch
from torch import Tensor

from pliant import rollout
from pliant.sim.materials import Liquid
from pliant.sim.mpm import Body, Effector, MpmModel, MpmSolver
from pliant.sim.sdf import Box, Moved, Sphere

CELL = 0.02  # [m]


def scene() -> MpmSolver:
    water = Body.seeded(Moved(Box((0.08, 0.1)), (0.33, 0.3)), Liquid(1000.0, 4e4, 1e-3), CELL)
    stone = Effector(Sphere(0.1, dimension=2), (0.301, 0.003), friction=0.3, softness=CELL)
    return MpmSolver(MpmModel([water], (0.0, 0.0), (0.6, 0.6), CELL, 0.01, walls="separate", effectors=[stone], dtype=torch.float64))


def mean_x(solver: MpmSolver, steps: int, speed: Tensor, change: Tensor) -> Tensor:
    state = solver.initial_state()
    along = torch.tensor([1.0, 0.0], dtype=torch.float64)
    state = state.replace(velocity=state.velocity + speed * along + change)
    end = rollout(solver, state, [solver.rest_control()] * steps, checkpoint="sqrt").final
    assert bool(end.ok.all()), end.outcomes()
    return end.position[..., 0].mean()


def main() -> None:
    solver = scene()
    print("| time [s] | slope, adjoint | difference over 1e-7 m/s | over 1e-3 m/s | over 0.05 m/s | norm in all velocities |")
    print("|---|---|---|---|---|---|")
    for steps in (10, 20, 30, 40, 60, 80, 120):
        speed = torch.tensor(0.0123, dtype=torch.float64, requires_grad=True)
        change = torch.zeros(1, solver.model.particles, 2, dtype=torch.float64, requires_grad=True)
        slope, slopes = torch.autograd.grad(mean_x(solver, steps, speed, change), (speed, change))
        cells = [f"{steps / 100:.1f}", f"{slope:.4f}"]
        with torch.no_grad():
            for step in (1e-7, 1e-3, 0.05):
                ends = [float(mean_x(solver, steps, speed + sign * step, change)) for sign in (1, -1)]
                cells.append(f"{(ends[0] - ends[1]) / (2 * step):.4f}")
        print("| " + " | ".join([*cells, f"{slopes.norm():.3f}"]) + " |", flush=True)


if __name__ == "__main__":
    main()
