"""Derivatives of steps on grids: adjoints against central differences, and against the forward derivative."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..sim.core import Outcome
from ..sim.pde import (
    AdvectionDiffusion,
    AllenCahn,
    Burgers,
    DiffusionSorption,
    Dirichlet,
    Domain,
    Equation,
    Evolution,
    FisherKolmogorov,
    Grid,
    Heat,
    Oscillation,
    PdeControl,
    PdeModel,
    PdeSolver,
    Periodic,
    Poisson,
    Robin,
    Wave,
    linearizer,
    solve_steady,
)
from ..sim.rollout import rollout
from .case import Measured, case, require_choice, require_range

Inputs = dict[str, Tensor]
SHAPE = (5, 6)


def _makers() -> dict[str, tuple[Inputs, Callable[[Domain, Inputs], Equation]]]:
    """For every equation its parameters, and how it is made of them."""
    draw = torch.Generator().manual_seed(5)

    def cells(low: float, high: float, batch: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(batch, *SHAPE, generator=draw, dtype=torch.float64)

    def number(*values: float) -> Tensor:
        return torch.tensor(values[0] if len(values) == 1 else values, dtype=torch.float64)

    faces = {
        f"velocity_{axis}": 0.5 - torch.rand(1, *(n + (a == axis) for a, n in enumerate(SHAPE)), generator=draw, dtype=torch.float64)
        for axis in (0, 1)
    }
    for axis, face in faces.items():  # a periodic axis has its first face twice
        if axis == "velocity_1":
            face[..., -1] = face[..., 0]
    k = {"k0": number(0.1, 0.2), "k1": number(0.3)}
    advected = {"diffusivity": cells(0.1, 0.2), **faces}

    def advect(scheme: str) -> Callable[[Domain, Inputs], Equation]:
        return lambda d, p: AdvectionDiffusion(d, p["diffusivity"], [p["velocity_0"], p["velocity_1"]], scheme)  # type: ignore[arg-type]

    return {
        "poisson": (
            {"diffusivity": cells(0.5, 2.0, 2), "f": cells(-1, 1)},
            lambda d, p: Poisson(d, p["f"], p["diffusivity"], "harmonic"),
        ),
        "heat": (
            k,
            lambda d, p: Heat(d, lambda u: d.spread("k0", p["k0"], u) + p["k1"] * u**2),
        ),
        "heat_linear": ({"conductivity": cells(0.1, 0.4, 2)}, lambda d, p: Heat(d, p["conductivity"], mean="harmonic")),
        "advection_diffusion": (advected, advect("central")),
        "upwind": (advected, advect("upwind")),
        "limited": (advected, advect("limited")),
        "burgers": ({"viscosity": number(0.1, 0.2)}, lambda d, p: Burgers(d, p["viscosity"])),
        "allen_cahn": (
            {"diffusivity": number(0.1), "time_scale": number(0.5, 0.7)},
            lambda d, p: AllenCahn(d, p["diffusivity"], p["time_scale"]),
        ),
        "fisher": (
            {"diffusivity": cells(0.1, 0.3), "growth": number(2.0, 3.0)},
            lambda d, p: FisherKolmogorov(d, p["diffusivity"], p["growth"]),
        ),
        "diffusion_sorption": (
            {
                "diffusivity": number(0.1), "porosity": number(0.29, 0.35), "density": number(2880.0), "freundlich": number(3.5e-4),
                "exponent": number(0.874),
            },
            lambda d, p: DiffusionSorption(d, p["diffusivity"], p["porosity"], p["density"], p["freundlich"], p["exponent"]),
        ),
        "wave": ({"speed": cells(0.5, 1.0)}, lambda d, p: Wave(d, p["speed"])),
    }  # fmt: skip


EQUATIONS = tuple(_makers())


def _setting(equation: str) -> tuple[Inputs, Callable[[Inputs], Equation]]:
    """All inputs of a run of two environments, and the equation of them: walls on one axis, the other periodic, one cell outside."""
    draw = torch.Generator().manual_seed(9)
    parameters, make = _makers()[equation]
    side = torch.rand(2, 1, SHAPE[1], generator=draw, dtype=torch.float64)
    inputs = {
        **parameters,
        "field": 0.2 + 0.6 * torch.rand(2, *SHAPE, generator=draw, dtype=torch.float64),
        "wall": side,
        "a": torch.tensor([1.0, 1.4], dtype=torch.float64),
        "b": torch.tensor(0.3, dtype=torch.float64),
        "c": torch.tensor(0.4, dtype=torch.float64),
        "source": torch.rand(2, *SHAPE, generator=draw, dtype=torch.float64),
    }
    if equation == "wave":
        inputs["velocity"] = torch.rand(2, *SHAPE, generator=draw, dtype=torch.float64)
    if equation == "poisson":
        inputs.pop("source")
    mask = torch.ones(SHAPE, dtype=torch.bool)
    mask[2, 3] = False

    def build(p: Inputs) -> Equation:
        domain = Domain(Grid(SHAPE), [(Dirichlet(p["wall"]), Robin(p["a"], p["b"], p["c"])), Periodic()], mask)
        return make(domain, p)

    return inputs, build


def _end(equation: Equation, inputs: Inputs, scheme: str, steps: int) -> Tensor:
    if isinstance(equation, Poisson):
        u, status = solve_steady(equation, inputs["field"].detach())
        if bool((status != Outcome.OK).any()):
            raise RuntimeError("Newton's method did not converge.")
        return u
    explicit = isinstance(equation, Oscillation) or scheme == "explicit"
    kind = "leapfrog" if isinstance(equation, Oscillation) else ("ssprk3" if explicit else "theta")
    model = PdeModel(equation, 2e-3 if explicit else 0.02, kind, 0.6, tolerance=1e-13)  # type: ignore[arg-type]
    solver = PdeSolver(model)
    state = solver.initial_state(inputs["field"], inputs.get("velocity"))
    state = rollout(solver, state, [PdeControl(inputs["source"])] * steps, checkpoint=2).final
    if not bool(state.ok.all()):
        raise RuntimeError(f"The solver ended as {', '.join(outcome.name for outcome in state.outcomes())}.")
    return state.field


@case("pde.gradient", source="Central differences in f64", tolerance=1e-6)
def gradient(equation: str = "fisher", scheme: str = "implicit", steps: int = 5) -> Measured:
    """Derivatives of a field after some steps with respect to the start, sources, every parameter, and all numbers of the boundary conditions.

    Args:
        equation: poisson, heat (k depends on u), heat_linear, advection_diffusion, upwind, limited, burgers, allen_cahn, fisher,
            diffusion_sorption or wave.
        scheme: "implicit" or "explicit"; Poisson is steady, waves are explicit.
        steps: time steps.

    Returns:
        The derivative along one direction in each input; the reference is by central differences.
    """
    require_choice("equation", equation, EQUATIONS)
    require_choice("scheme", scheme, ("implicit", "explicit"))
    require_range(0, 100, steps=steps)
    inputs, build = _setting(equation)
    draw = torch.Generator().manual_seed(3)
    weight = torch.randn(2, *SHAPE, generator=draw, dtype=torch.float64)

    def loss(p: Inputs) -> Tensor:
        u = _end(build(p), p, scheme, steps)
        return (weight * (u + u * u)).sum()

    leaves = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    found = dict(zip(leaves, torch.autograd.grad(loss(leaves), list(leaves.values()), allow_unused=True), strict=True))
    value, reference = [], []
    for name, x in inputs.items():
        slope = found[name]
        if slope is None:  # the guess of a steady problem
            continue
        way = torch.randn(x.shape, generator=draw, dtype=torch.float64) * x.abs().mean()
        if name == "velocity_1":  # a periodic axis has its first face twice
            way[..., -1] = way[..., 0]
        best = math.inf
        for step in (1e-4, 1e-5, 1e-3):
            with torch.no_grad():
                ends = [float(loss({**inputs, name: x + sign * step * way})) for sign in (1, -1)]
            difference = (ends[0] - ends[1]) / (2 * step)
            if abs(difference - float((slope * way).sum())) < abs(best - float((slope * way).sum())):
                best = difference
        value.append(float((slope * way).sum()))
        reference.append(best)
    error = float(np.max(np.abs(np.subtract(value, reference)) / np.abs(reference)))
    return Measured(value, reference, error)


@case("pde.adjoint_dot", source="<J v, w> = <v, J' w>; Griewank and Walther 2008, section 3.3", tolerance=1e-10)
def adjoint_dot(equation: str = "fisher") -> Measured:
    """The forward derivative of a step in its start, against the adjoint.

    Args:
        equation: as in `pde.gradient`.

    Returns:
        <J v, w> and <v, J' w>. Of a right-hand side J v comes by differentiating the backward pass; of an implicit step by a solve with J, where
        the adjoint has one with its transpose. The error is the larger relative difference.
    """
    require_choice("equation", equation, EQUATIONS)
    inputs, build = _setting(equation)
    made = build(inputs)
    draw = torch.Generator().manual_seed(4)
    v, w = (torch.randn(2, *SHAPE, generator=draw, dtype=torch.float64) for _ in range(2))
    v = v * made.domain.mask  # type: ignore[operator]

    def rate(u: Tensor) -> Tensor:
        return made.rhs(u) if isinstance(made, Poisson) else made.rhs(u, 0.0)  # type: ignore[attr-defined]

    value, reference = [float((_forward(rate, inputs["field"], v) * w).sum())], [float((v * _backward(rate, inputs["field"], w)).sum())]
    if isinstance(made, Evolution):
        dt, theta = 0.02, 0.6
        start = inputs["field"].clone().requires_grad_()
        model = PdeModel(made, dt, "theta", theta, linear="direct")
        solver = PdeSolver(model)
        state = solver.initial_state(start)
        end = solver.step(state, solver.rest_control(2)).field
        (pulled,) = torch.autograd.grad(end, start, w)
        old, new = state.field.detach(), end.detach()
        pushed = _forward(lambda u: made.residual(new, u, dt, 0.0, theta), old, v)
        jacobian = linearizer(made, "direct", 1 / dt, theta)(lambda u: made.residual(u, old, dt, 0.0, theta), new)
        value.append(float((-jacobian.solve(pushed) * w).sum()))
        reference.append(float((v * pulled).sum()))
    error = float(np.max(np.abs(np.subtract(value, reference)) / np.abs(reference)))
    return Measured(value, reference, error)


def _backward(function: Callable[[Tensor], Tensor], u: Tensor, w: Tensor) -> Tensor:
    """J' w."""
    at = u.detach().requires_grad_()
    return torch.autograd.grad(function(at), at, w)[0]


def _forward(function: Callable[[Tensor], Tensor], u: Tensor, v: Tensor) -> Tensor:
    """J v, as the derivative in w of <J' w, v>."""
    at = u.detach().requires_grad_()
    out = function(at)
    w = torch.zeros_like(out).requires_grad_()
    (pulled,) = torch.autograd.grad(out, at, w, create_graph=True)
    return torch.autograd.grad(pulled, w, v)[0]
