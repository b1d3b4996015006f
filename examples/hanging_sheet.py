"""How stiff is this sheet? Young's modulus from the shape in which it hangs, by gradients through the simulator."""

import torch

from pliant import Outcome
from pliant.sim.mesh_shapes import boundary_edges, sheet
from pliant.sim.shell import ShellMaterial
from pliant.sim.solid import Clamp, Pin, Shell, SolidModel, SolidSolver

MESH = sheet(0.20, 0.06, 16, 4)  # [m]
ROOT = MESH.vertices[:, 0] < 1e-9


def hang(youngs_modulus: torch.Tensor) -> torch.Tensor:
    """Where the vertices of a sheet of plastic film come to rest that is clamped at one end [V, 3]."""
    film = ShellMaterial(youngs_modulus, poisson_ratio=0.38, thickness=2e-4, density=1390.0)
    body = Shell(MESH, "film", material=film)
    clamp = Clamp("film", boundary_edges(MESH, ROOT), direction=(-1.0, 0.0, 0.0))
    pin = Pin("film", ROOT.nonzero()[0])
    solver = SolidSolver(SolidModel([body], dt=1.0, pins=[pin], clamps=[clamp], integrator="static", tolerance=1e-9))
    state = solver.step(solver.initial_state(), solver.rest_control())
    assert state.outcomes() == [Outcome.OK]
    return state.position[0]


truth = torch.tensor(4.0e9, dtype=torch.float64)  # [Pa]
measured = hang(truth)

guess = torch.tensor(1.0e9, dtype=torch.float64).log().requires_grad_()
optimizer = torch.optim.LBFGS([guess], lr=1.0, max_iter=30, line_search_fn="strong_wolfe", tolerance_change=1e-14)


def closure() -> torch.Tensor:
    optimizer.zero_grad()
    loss = (hang(guess.exp()) - measured).square().mean() * 1e4
    loss.backward()
    return loss


optimizer.step(closure)
found = guess.detach().exp()
print(f"Young's modulus: {found / 1e9:.4f} GPa, in truth {truth / 1e9:.4f} GPa; the tip hangs {-1e3 * measured[-1, 2]:.1f} mm low")
assert abs(found / truth - 1) < 1e-3
