"""Equations on grids against solutions that are known: of the differential equation, or of the difference equation itself."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..sim.core import Outcome
from ..sim.pde import (
    Burgers,
    DiffusionSorption,
    Dirichlet,
    Domain,
    FisherKolmogorov,
    Grid,
    Neumann,
    PdeModel,
    PdeSolver,
    PdeState,
    Periodic,
    Poisson,
    Robin,
    Wave,
    solve_elliptic,
    solve_steady,
)
from ..sim.pde.boundary import Condition
from .case import Check, Measured, case, require_choice, require_range

SORPTION = {0.05: 0.904374, 0.1: 0.811117, 0.2: 0.634328, 0.3: 0.478005, 0.5: 0.245639, 0.9: 0.032271, 0.99: 0.003446}
"""The field of diffusion-sorption at t = 500 by place: 1024 cells, start 0.1, SciPy's BDF at a tolerance of 1e-6."""


def advance(solver: PdeSolver, state: PdeState, steps: int) -> PdeState:
    """The state some steps on, without a graph.

    Raises:
        RuntimeError: if an environment fails.
    """
    control = solver.rest_control(state.batch)
    with torch.no_grad():
        for _ in range(steps):
            state = solver.step(state, control)
    if not bool(state.ok.all()):
        raise RuntimeError(f"The solver ended as {', '.join(outcome.name for outcome in state.outcomes())}.")
    return state


def sampled(x: Tensor, u: Tensor, places: list[float]) -> np.ndarray:
    """A field `[n]` between the cells at `x` `[n]`, by a cubic spline."""
    from scipy.interpolate import CubicSpline

    return CubicSpline(x.numpy(), u.numpy())(places)


@case("pde.poisson", source="The 5-point scheme has sin(pi x) sin(pi y) as an eigenvector; LeVeque 2007, section 3.4", tolerance=1e-5)
def poisson(n: int = 64, linear: str = "multigrid") -> Measured:
    """-laplace u = f for u = sin(pi x) sin(pi y) on the unit square, u = 0 on the walls: the error is known to all digits.

    Args:
        n: cells along every axis.
        linear: "multigrid", or "direct" for sparse LU behind Newton's method.

    Returns:
        The relative error of the solution; the reference is that of the difference equation, 2 pi^2 / lambda - 1 with
        lambda = 8 / h^2 sin^2(pi h / 2). The error is their relative difference.
    """
    require_range(3, 1025, n=n)
    require_choice("linear", linear, ("multigrid", "direct"))
    grid = Grid((n, n))
    x, y = grid.centers()
    exact = torch.sin(math.pi * x) * torch.sin(math.pi * y)
    source = 2 * math.pi**2 * exact[None]
    domain = Domain(grid, Dirichlet(0.0))
    if linear == "multigrid":
        u = solve_elliptic(source, 1.0, domain)
    else:
        u, status = solve_steady(Poisson(domain, source), torch.zeros_like(source), linear="direct")
        if bool((status != Outcome.OK).any()):
            raise RuntimeError("Newton's method did not converge.")
    ratio = float((u[0] * exact).sum() / (exact * exact).sum())
    expected = 2 * math.pi**2 * grid.spacing[0] ** 2 / (8 * math.sin(math.pi * grid.spacing[0] / 2) ** 2) - 1
    shape = Check("not a multiple of the exact solution", float((u[0] - ratio * exact).abs().max()), 1e-9)
    return Measured(ratio - 1, expected, abs(ratio - 1 - expected) / expected, [shape])


@case(
    "pde.wave", source="The dispersion of leapfrog: sin(omega dt / 2) = c dt sqrt(lambda) / 2; Strikwerda 2004, section 8.2", tolerance=1e-9
)
def wave(n: int = 32, dimension: int = 2, courant: float = 0.5, periods: float = 2.3) -> Measured:
    """A standing wave between walls that hold it, against the frequency of the difference equation.

    Args:
        n: cells along every axis.
        dimension: 1 to 3.
        courant: the time step as a part of the longest stable one.
        periods: how long.

    Returns:
        The amplitude at the end, and that of the difference equation; they agree to rounding. The error of the frequency against that of the
        differential equation is at most pi^2 h^2 / 24 besides.
    """
    require_range(3, n=n)
    require_range(0, 4, dimension=dimension)
    require_range(0, 1.0001, courant=courant)
    require_range(periods=periods)
    grid = Grid((n,) * dimension)
    shape = torch.ones(grid.shape, dtype=torch.float64)
    for x in grid.centers():
        shape = shape * torch.sin(math.pi * x)
    h, c = grid.spacing[0], 1.3
    dt = courant * h / (c * math.sqrt(dimension))
    steps = max(1, round(periods * 2 / (c * math.sqrt(dimension)) / dt))
    solver = PdeSolver(PdeModel(Wave(Domain(grid, Dirichlet(0.0)), c), dt, "leapfrog"))
    end = advance(solver, solver.initial_state(shape[None]), steps).field[0]
    omega = 2 / dt * math.asin(c * dt * math.sqrt(dimension) * math.sin(math.pi * h / 2) / h)
    value, expected = float((end * shape).sum() / (shape * shape).sum()), math.cos(omega * steps * dt)
    slow = abs(omega / (c * math.pi * math.sqrt(dimension)) - 1)
    other = Check("not a multiple of the mode", float((end - value * shape).abs().max()), 1e-9)
    return Measured(value, expected, abs(value - expected), [other, Check("dispersion", slow, math.pi**2 * h * h / 24 * 1.01)])


@case("pde.burgers", source="Cole-Hopf, by quadrature in log space; Basdevant et al. 1986 for the set-up", tolerance=1e-3)
def burgers(time: float = 0.5, n: int = 2048, dt: float = 0.0025, scheme: str = "central") -> Measured:
    """u_t + u u_x = (0.01 / pi) u_xx on [-1, 1] from -sin(pi x), u = 0 at the ends, which steepens to a layer at x = 0.

    Args:
        time: [s].
        n: cells.
        dt: of Crank-Nicolson [s].
        scheme: "central", "upwind" or "limited".

    Returns:
        u at x = -0.75, -0.5, -0.25, -0.05, -0.01, by a cubic spline; the error is the largest difference.
    """
    require_range(0, 10, time=time)
    require_range(63, n=n)
    require_range(dt=dt)
    require_choice("scheme", scheme, ("central", "upwind", "limited"))
    viscosity, places = 0.01 / math.pi, [-0.75, -0.5, -0.25, -0.05, -0.01]
    grid = Grid(n, -1.0, 1.0)
    x = grid.coordinates(0)
    steps = max(1, round(time / dt))
    model = PdeModel(Burgers(Domain(grid, Dirichlet(0.0)), viscosity, scheme), time / steps, "theta", 0.5)  # type: ignore[arg-type]
    solver = PdeSolver(model)
    end = advance(solver, solver.initial_state(-torch.sin(math.pi * x)[None]), steps).field[0]
    value, expected = sampled(x, end, places), cole_hopf(np.array(places), time, viscosity)
    odd = Check("not odd", float((end + end.flip(0)).abs().max()), 1e-8)
    return Measured(value.tolist(), expected.tolist(), float(np.abs(value - expected).max()), [odd])


def cole_hopf(x: np.ndarray, time: float, viscosity: float) -> np.ndarray:
    """The solution of Burgers' equation from -sin(pi x), by the trapezium rule on the integrals of Cole and Hopf, whose terms span e^+-50."""
    eta = np.linspace(-12, 12, 40001) * math.sqrt(4 * viscosity * time)
    places = x[:, None] - eta
    exponent = -np.cos(math.pi * places) / (2 * math.pi * viscosity) - eta**2 / (4 * viscosity * time)
    weight = np.exp(exponent - exponent.max(1, keepdims=True))
    return -(np.sin(math.pi * places) * weight).sum(1) / weight.sum(1)


@case(
    "pde.fisher_front",
    source="Ablowitz and Zeppetella 1979; Bramson 1983 and Ebert and van Saarloos 2000 for the pulled front",
    tolerance=0.08,
)
def fisher_front(kind: str = "exact", n: int = 100, growth: float = 1.0, diffusivity: float = 1.0) -> Measured:
    """Fronts of u_t = D u_xx + rho u (1 - u).

    Args:
        kind: "exact": the closed front of speed 5 sqrt(D rho / 6), on n and 2 n cells and with dt halved. "pulled": from a step, n cells for
            20 lengths sqrt(D / rho) or more.
        n: cells.
        growth: rho [1/s].
        diffusivity: D [m^2/s].

    Returns:
        Exact: the order of convergence; the reference is 2. Pulled: by how far the front moves from t = 30 / rho to t = 60 / rho, and
        2 sqrt(D rho) (t1 - t0) - 3/2 sqrt(D / rho) ln(t1 / t0) + 3 sqrt(pi D) / rho (t0^-1/2 - t1^-1/2), with a tolerance of 2e-3.
    """
    require_choice("kind", kind, ("exact", "pulled"))
    require_range(39, n=n)
    require_range(growth=growth, diffusivity=diffusivity)
    length = math.sqrt(diffusivity / growth)
    if kind == "exact":
        errors = [_exact_front(cells, growth, diffusivity, length) for cells in (n, 2 * n)]
        order = math.log2(errors[0] / errors[1])
        return Measured(order, 2.0, abs(order - 2), [Check("error on the finer grid", errors[1], 0.25 / n)])
    extent, first, last = 160 * length, 30 / growth, 60 / growth
    cells = max(8 * n, 800)
    grid = Grid(cells, 0.0, extent)
    x = grid.coordinates(0)
    steps = math.ceil(30 * 10)
    equation = FisherKolmogorov(Domain(grid, Neumann()), diffusivity, growth)
    solver = PdeSolver(PdeModel(equation, 30 / growth / steps, "theta", 0.5))
    state = solver.initial_state((x < 10 * length).double()[None])
    at = []
    for _ in (first, last):
        state = advance(solver, state, steps)
        u = state.field[0].numpy()
        k = int(np.flatnonzero(u > 0.5)[-1])
        at.append(float(x[k]) + grid.spacing[0] * (u[k] - 0.5) / (u[k] - u[k + 1]))
    value = at[1] - at[0]
    expected = 2 * math.sqrt(diffusivity * growth) * (last - first) - 1.5 * length * math.log(last / first)
    expected += 3 * math.sqrt(math.pi) * length / math.sqrt(growth) * (first**-0.5 - last**-0.5)
    return Measured(value, expected, abs(value / expected - 1), tolerance=2e-3)


def _exact_front(cells: int, growth: float, diffusivity: float, length: float) -> float:
    """The largest error after the front has moved by 8 lengths, with steps of a cell over four times the speed."""
    grid = Grid(cells, -20 * length, 30 * length)
    x = grid.coordinates(0)
    speed = 5 * math.sqrt(diffusivity * growth / 6)

    def front(time: float) -> Tensor:
        return (1 + torch.exp(math.sqrt(growth / (6 * diffusivity)) * x - 5 / 6 * growth * time)) ** -2

    time = 8 * length / speed
    steps = math.ceil(time / (grid.spacing[0] / (2 * speed)))
    solver = PdeSolver(PdeModel(FisherKolmogorov(Domain(grid, Neumann()), diffusivity, growth), time / steps, "theta", 0.5))
    return float((advance(solver, solver.initial_state(front(0.0)[None]), steps).field[0] - front(time)).abs().max())


@case("pde.diffusion_sorption", source="PDEBench (Takamoto et al. 2022), solved by SciPy's BDF at 1e-6 on 1024 cells", tolerance=1e-3)
def diffusion_sorption(n: int = 1024, dt: float = 1.0, start: float = 0.1) -> Measured:
    """Diffusion and sorption into a column of soil for 500 s, 1 at the left end.

    What PDEBench's code does is followed: the left value sits in the centre of the ghost cell, half a cell outside, and the right ghost cell holds
    -D du/dx, not D du/dx.

    Args:
        n: cells; the reference is that of 1024.
        dt: of Crank-Nicolson, after four steps of implicit Euler that damp what the jump at the left end starts [s].
        start: u at the start; the reference is that of 0.1.

    Returns:
        u at x = 0.05, 0.1, 0.2, 0.3, 0.5, 0.9, 0.99, linearly between cells; the error is the largest relative difference.
    """
    require_range(99, n=n)
    require_range(0, 10, dt=dt)
    require_range(0, 1, start=start)
    grid = Grid(n)
    h, diffusivity = grid.spacing[0], 5e-4
    domain = Domain(grid, [(Robin(1.0, h / 2, 1.0), Robin(1.0, diffusivity + h / 2, 0.0))])
    equation = DiffusionSorption(domain, diffusivity)
    first = PdeSolver(PdeModel(equation, 4 * dt, "theta", 1.0, substeps=16))
    then = PdeSolver(PdeModel(equation, dt, "theta", 0.5))
    state = advance(first, first.initial_state(torch.full((1, n), start, dtype=torch.float64)), 1)
    state = advance(then, state, round(500 / dt) - 4)
    value = np.interp(list(SORPTION), grid.coordinates(0).numpy(), state.field[0].numpy())
    expected = np.array(list(SORPTION.values()))
    return Measured(value.tolist(), expected.tolist(), float(np.abs(value / expected - 1).max()))


@case("pde.multigrid", source="Work per unknown does not grow; Trottenberg, Oosterlee and Schueller 2001, section 2.5", tolerance=30.0)
def multigrid(n: int = 128, contrast: float = 10.0, sides: str = "walls") -> Measured:
    """Iterations of conjugate gradients with a V-cycle for -div(D grad u) = f with D that jumps between patches, to 1e-11.

    Args:
        n: cells along both axes, a multiple of 16.
        contrast: of D between patches of 8 cells.
        sides: "walls" (u is given), "closed" (singular: nothing flows out) or "periodic" (singular).

    Returns:
        The iterations; the reference is those of the grid of half the cells. The further check is the residual of the solution.
    """
    from ..sim.pde import diffusion
    from ..sim.pde.multigrid import conjugate_gradients, elliptic_multigrid

    require_range(31, 1025, n=n)
    require_range(0, contrast=contrast)
    require_choice("sides", sides, ("walls", "closed", "periodic"))
    counts, residual = [], math.nan
    for cells in (n // 32 * 16, n // 16 * 16):
        draw = torch.Generator().manual_seed(1)
        patches = torch.where(torch.rand(1, cells // 8, cells // 8, generator=draw) < 0.5, 1.0, contrast).double()
        coefficient = patches.repeat_interleave(8, 1).repeat_interleave(8, 2)
        condition: Condition = Dirichlet(0.0) if sides == "walls" else Neumann() if sides == "closed" else Periodic()
        domain = Domain(Grid((cells, cells)), condition)
        f = torch.randn(1, cells, cells, generator=draw, dtype=torch.float64)
        f = f - f.mean()
        matrix = elliptic_multigrid(0.0, coefficient, domain, f)
        _, _, count = conjugate_gradients(
            matrix.apply, matrix.cycle, f, 1e-11, 100, None if sides == "walls" else lambda x: x - x.mean((1, 2), keepdim=True)
        )
        counts.append(count)
        u = solve_elliptic(f, coefficient, domain)
        residual = float((diffusion(u, coefficient, domain) + f).norm() / f.norm())
    return Measured(float(counts[1]), float(counts[0]), float(counts[1]), [Check("residual", residual, 1e-10)])
