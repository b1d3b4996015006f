"""An equation of one's own, stepped, inferred from and differentiated by the same residual. docs/pde.md explains it."""

import torch

from pliant import rollout
from pliant.sim.pde import Dirichlet, Domain, Evolution, Grid, Neumann, PdeModel, PdeSolver, Periodic, diffusion


class FitzHugh(Evolution):
    """du/dt = D laplace u + u (1 - u) (u - threshold)."""

    def __init__(self, domain, diffusivity, threshold):
        super().__init__(domain)
        self.diffusivity, self.threshold = diffusivity, threshold

    def rhs(self, u, time):
        return diffusion(u, self.diffusivity, self.domain, time) + u * (1 - u) * (u - self.threshold)


grid = Grid((16, 12), lower=(0.0, 0.0), upper=(4.0, 3.0))  # [m]
x, y = grid.centers()
hole = (x - 2.5) ** 2 + (y - 1.5) ** 2 < 0.5**2
domain = Domain(grid, [(Dirichlet(lambda t: 1 + 0 * t), Neumann(0.0)), Periodic()], mask=~hole)

threshold = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
equation = FitzHugh(domain, diffusivity=0.1, threshold=threshold)
solver = PdeSolver(PdeModel(equation, dt=0.1, scheme="theta", theta=0.5))

state = solver.initial_state(torch.zeros(1, *grid.shape, dtype=torch.float64))
states = rollout(solver, state, [solver.rest_control(1)] * 8).states
mass = states[-1].field.sum() * grid.cell_volume
(slope,) = torch.autograd.grad(mass, threshold, retain_graph=True)

levels = torch.stack([s.field for s in states], 1).detach()  # [B, T + 1, *shape]
misfit = FitzHugh(domain, 0.1, threshold).over_time(levels, dt=0.1)  # [B, T, *shape]
(by_guess,) = torch.autograd.grad((FitzHugh(domain, 0.1, threshold + 0.1).over_time(levels, dt=0.1) ** 2).sum(), threshold)


def mass_at(value):
    varied = PdeSolver(PdeModel(FitzHugh(domain, 0.1, value), dt=0.1, scheme="theta", theta=0.5))
    return float(rollout(varied, state, [varied.rest_control(1)] * 8).final.field.sum() * grid.cell_volume)


difference = (mass_at(0.2 + 1e-5) - mass_at(0.2 - 1e-5)) / 2e-5
print(f"slope {float(slope):.8f}, central difference {difference:.8f}, largest residual {float(misfit.detach().abs().max()):.1e}")
assert abs(float(slope) - difference) < 1e-6 * abs(difference)
assert float(misfit.detach().abs().max()) < 1e-9
assert float(by_guess) > 0  # a threshold that is too high is to be lowered
