"""Orders of convergence by manufactured solutions: u = 1 + 0.4 sin(2 x + 1) exp(-t / 2) is made a solution by a forcing that autograd derives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from ..sim.core import Outcome
from ..sim.pde import (
    AdvectionDiffusion,
    AllenCahn,
    Burgers,
    DiffusionSorption,
    Dirichlet,
    Domain,
    Equation,
    FisherKolmogorov,
    Grid,
    Heat,
    Oscillation,
    PdeModel,
    PdeSolver,
    Poisson,
    Robin,
    Wave,
    solve_steady,
)
from .case import Check, Measured, case, require_choice, require_range
from .pde_solutions import advance

SPEED, VISCOSITY, TAU, GROWTH = 0.8, 0.05, 0.7, 1.5
SORPTION = DiffusionSorption(Domain(Grid(2), Dirichlet(0.0)), VISCOSITY)


def exact(x: Tensor, time: Any) -> Tensor:
    """The manufactured solution."""
    return 1 + 0.4 * torch.sin(2 * x + 1) * torch.exp(torch.as_tensor(-0.5 * time, dtype=x.dtype))


def diffusivity(x: Tensor) -> Tensor:
    """What diffuses in places, where the equation lets it depend on them."""
    return VISCOSITY * (1 + 0.5 * torch.cos(3 * x))


def _derivative(y: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(y.sum(), x, create_graph=True)[0]


# The right-hand side of the differential equation, of u and x, both with a graph.
CONTINUOUS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "poisson": lambda u, x: _derivative(diffusivity(x) * _derivative(u, x), x),
    "heat": lambda u, x: _derivative(VISCOSITY * (1 + u**2) * _derivative(u, x), x),
    "advection_diffusion": lambda u, x: _derivative(diffusivity(x) * _derivative(u, x) - SPEED * u, x),
    "upwind": lambda u, x: _derivative(diffusivity(x) * _derivative(u, x) - SPEED * u, x),
    "limited": lambda u, x: _derivative(diffusivity(x) * _derivative(u, x) - SPEED * u, x),
    "burgers": lambda u, x: _derivative(VISCOSITY * _derivative(u, x) - u**2 / 2, x),
    "allen_cahn": lambda u, x: VISCOSITY * _derivative(_derivative(u, x), x) + (u - u**3) / TAU,
    "fisher": lambda u, x: _derivative(diffusivity(x) * _derivative(u, x), x) + GROWTH * u * (1 - u),
    "diffusion_sorption": lambda u, x: VISCOSITY * _derivative(_derivative(u, x), x) / SORPTION.retardation(u),
    "wave": lambda u, x: _derivative(diffusivity(x) * _derivative(u, x), x),
}


def _equation(name: str, domain: Domain) -> Equation:
    d = diffusivity(domain.grid.coordinates(0))[None]
    made: dict[str, Callable[[], Equation]] = {
        "poisson": lambda: Poisson(domain, _forcing("poisson", domain, 0.0)[None], d),
        "heat": lambda: Heat(domain, lambda u: VISCOSITY * (1 + u**2)),
        "advection_diffusion": lambda: AdvectionDiffusion(domain, d, [SPEED]),
        "upwind": lambda: AdvectionDiffusion(domain, d, [SPEED], "upwind"),
        "limited": lambda: AdvectionDiffusion(domain, d, [SPEED], "limited"),
        "burgers": lambda: Burgers(domain, VISCOSITY),
        "allen_cahn": lambda: AllenCahn(domain, VISCOSITY, TAU),
        "fisher": lambda: FisherKolmogorov(domain, d, GROWTH),
        "diffusion_sorption": lambda: DiffusionSorption(domain, VISCOSITY),
        "wave": lambda: Wave(domain, torch.sqrt(d)),
    }
    return made[name]()


def _forcing(name: str, domain: Domain, time: float) -> Tensor:
    """What is missing in the differential equation at the cells' centres `[n]`."""
    with torch.enable_grad():
        x = domain.grid.coordinates(0).requires_grad_()
        moment = torch.tensor(time, dtype=x.dtype, requires_grad=True)
        u = exact(x, moment)
        missing = -CONTINUOUS[name](u, x)
        decay = {"poisson": 0.0, "wave": 0.25}.get(name, -0.5)  # of the part that is not 1, by each derivative in time
        return (missing + decay * (u - 1)).detach()


@case("pde.convergence", source="Method of manufactured solutions; Roache 2002", tolerance=0.1)
def convergence(equation: str = "heat", n: int = 32) -> Measured:
    """The order in h and dt together, on one axis where u is given (and changes) on the left and a Robin condition on the right.

    Args:
        equation: poisson, heat (k depends on u), advection_diffusion, upwind, limited, burgers, allen_cahn, fisher, diffusion_sorption, wave.
        n: cells of the coarsest of three grids, each of twice the cells of the one before.

    Returns:
        The order between the two finer grids; the reference is 2, and 1 of "upwind". Steps are Crank-Nicolson's or leapfrog's with dt = h.
    """
    require_choice("equation", equation, tuple(CONTINUOUS))
    require_range(7, 2000, n=n)
    errors = [_error(equation, cells) for cells in (n, 2 * n, 4 * n)]
    orders = [math.log2(errors[k] / errors[k + 1]) for k in (0, 1)]
    reference = 1.0 if equation == "upwind" else 2.0
    fine = Check("error of the finest grid", errors[-1], 10 / n if equation == "upwind" else 30 / n**2)
    return Measured(orders[1], reference, abs(orders[1] - reference), [fine], 0.2 if equation == "limited" else None)


def _error(name: str, cells: int) -> float:
    grid = Grid(cells)
    x = grid.coordinates(0)
    left, right = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)

    def outflow(time: Any) -> Tensor:
        slope = 0.8 * torch.cos(2 * right + 1) * torch.exp(torch.as_tensor(-0.5 * time, dtype=torch.float64))
        return exact(right, time) + 0.3 * slope

    domain = Domain(grid, [(Dirichlet(lambda time: exact(left, time)), Robin(1.0, 0.3, outflow))])
    equation = _equation(name, domain)
    if isinstance(equation, Poisson):
        u, status = solve_steady(equation, torch.ones(1, cells, dtype=torch.float64))
        if bool((status != Outcome.OK).any()):
            raise RuntimeError("Newton's method did not converge.")
        return float((u[0] - exact(x, 0.0)).abs().max())
    base = type(equation)

    class Forced(base):  # type: ignore[misc,valid-type]
        """The equation with the forcing added."""

        @override
        def rhs(self, u: Tensor, time: Any) -> Tensor:
            return super().rhs(u, time) + _forcing(name, domain, float(torch.as_tensor(time).reshape(-1)[0]))

    equation.__class__ = Forced
    wave = isinstance(equation, Oscillation)
    steps = cells // 2 if not wave else cells
    model = PdeModel(equation, 0.5 / steps, "leapfrog" if wave else "theta", 0.5)  # type: ignore[arg-type]
    solver = PdeSolver(model)
    velocity = (-0.5 * (exact(x, 0.0) - 1))[None] if wave else None
    end = advance(solver, solver.initial_state(exact(x, 0.0)[None], velocity), steps)
    return float((end.field[0] - exact(x, 0.5)).abs().max())
