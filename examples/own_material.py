"""A material of one's own: rubber with internal damping. Its derivatives are checked by themselves, and then through a simulation."""

import dataclasses
import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from pliant import rollout
from pliant.sim.algebra import inner
from pliant.sim.law_check import law_derivative_errors
from pliant.sim.materials import Law, Material, Parameter, lame
from pliant.sim.mpm import Body, MpmModel, MpmSolver
from pliant.sim.runtime import taichi
from pliant.sim.sdf import Moved, Sphere

ti = taichi()


@ti.func
def green_strain(G):
    E = G.transpose() @ G / 2
    for i in ti.static(range(G.n)):
        E[i, i] -= 0.5
    return E


@ti.func
def piola(E, par):
    """The second Piola-Kirchhoff stress of Saint Venant and Kirchhoff."""
    S = 2 * par[0] * E
    for i in ti.static(range(E.n)):
        S[i, i] += par[1] * E.trace()
    return S


@ti.func
def update(F, a, L, par, dt):
    G = F + dt * (L @ F)
    tau = G @ piola(green_strain(G), par) @ G.transpose() + par[2] * (L + L.transpose())
    return G, a, tau


@ti.func
def adjoint(F, a, L, par, dt, tau_bar, F1_bar, a1_bar):
    G = F + dt * (L @ F)
    E = green_strain(G)
    symmetric = tau_bar + tau_bar.transpose()
    S_bar = G.transpose() @ tau_bar @ G
    # S is linear in E, with a symmetric modulus: the same function takes S_bar back to E_bar.
    E_bar = piola(S_bar, par)
    G_bar = F1_bar + symmetric @ G @ piola(E, par) + G @ (E_bar + E_bar.transpose()) / 2
    par_bar = par * 0
    par_bar[0] = 2 * inner(S_bar, E)
    par_bar[1] = S_bar.trace() * E.trace()
    par_bar[2] = inner(symmetric, L)
    F_bar = G_bar + dt * (L.transpose() @ G_bar)
    L_bar = dt * (G_bar @ F.transpose()) + par[2] * symmetric
    return F_bar, a1_bar, L_bar, par_bar


@dataclasses.dataclass(frozen=True)
class DampedRubber(Material):
    """Saint Venant-Kirchhoff elasticity beside a Newtonian damper: tau = G S G^T + eta (L + L^T).

    Args:
        density: [kg/m^3].
        youngs_modulus: [Pa].
        poisson_ratio: between -1 and 0.5.
        damping: eta [Pa s].
    """

    youngs_modulus: Parameter
    poisson_ratio: Parameter
    damping: Parameter = 0.0

    name: ClassVar[str] = "damped_rubber"
    law: ClassVar[Law] = Law(update, adjoint)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("youngs_modulus", 0, math.inf)
        self.check("poisson_ratio", -1, 0.5)
        self.check("damping", 0, math.inf, closed=True)

    def law_parameters(self) -> tuple[Parameter, ...]:
        return (*lame(self.youngs_modulus, self.poisson_ratio), self.damping)

    def wave_speed(self) -> Tensor:
        mu, lam = lame(self.youngs_modulus, self.poisson_ratio)
        return torch.sqrt(torch.as_tensor((lam + 2 * mu) / self.density))

    def diffusivity(self) -> Tensor:
        return torch.as_tensor(self.damping / self.density)


def rebound(damping: Tensor) -> Tensor:
    """How fast a ball leaves the floor that it hit at 1 m/s: the mean speed upwards [m/s]."""
    rubber = DampedRubber(1000.0, 5e4, 0.3, damping)
    ball = Body.seeded(Moved(Sphere(0.1, dimension=2), (0.2, 0.14)), rubber, 0.02, velocity=(0.0, -1.0))
    model = MpmModel([ball], (0.0, 0.0), (0.4, 0.4), 0.02, 0.01, gravity=(0.0, 0.0), walls="separate", dtype=torch.float64)
    solver = MpmSolver(model)
    controls: list[Any] = [solver.rest_control()] * 12
    return rollout(solver, solver.initial_state(), controls).final.velocity[..., 1].mean()


def main() -> None:
    for dimension in (2, 3):
        errors = law_derivative_errors(DampedRubber(1000.0, 1e4, 0.3, 20.0), dimension)
        print(f"{dimension}D, relative errors of the law: " + ", ".join(f"{name} {error:.1e}" for name, error in errors.items()))
        assert max(errors.values()) < 5e-6

    damping = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    speed = rebound(damping)
    (slope,) = torch.autograd.grad(speed, damping)
    step = 1e-4
    with torch.no_grad():
        difference = float(rebound(damping + step) - rebound(damping - step)) / (2 * step)
    error = abs(float(slope) - difference) / abs(difference)
    print(f"rebound {speed.detach():.4f} m/s, slope {slope:.9e}, difference {difference:.9e}, relative error {error:.1e}")
    assert slope < 0, "a damped ball must bounce less"
    assert error < 1e-6


if __name__ == "__main__":
    main()
