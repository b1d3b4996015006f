"""Liquids: pressure by an equation of state, and Newtonian viscosity."""

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor

from ..algebra import inner
from ..runtime import taichi
from .base import Law, Material, Parameter

ti = taichi()


@ti.func
def _liquid_update(F, a, L, par, dt):
    J = a * (1 + dt * L.trace())
    J2 = J * J
    pressure = par[0] / 7 * (1 / (J2 * J2 * J2 * J) - 1)
    rate = L + L.transpose()
    tau = rate * (J * par[1])
    for i in ti.static(range(F.n)):
        tau[i, i] -= J * (pressure + par[1] * 2 * L.trace() / 3)
    return F, J, tau


@ti.func
def _liquid_adjoint(F, a, L, par, dt, tau_bar, F1_bar, a1_bar):
    trace = L.trace()
    J = a * (1 + dt * trace)
    J2 = J * J
    power = 1 / (J2 * J2 * J2 * J)
    t = tau_bar.trace()
    shear = inner(tau_bar, L + L.transpose()) - 2 * trace * t / 3
    # tau = J eta (L + L^T - 2/3 tr L) - K/7 (J^-6 - J)
    J_bar = a1_bar + par[1] * shear + t * par[0] / 7 * (6 * power + 1)
    L_bar = (tau_bar + tau_bar.transpose()) * (J * par[1])
    for i in ti.static(range(F.n)):
        L_bar[i, i] += J_bar * a * dt - 2 * J * par[1] * t / 3
    par_bar = par * 0
    par_bar[0] = -t * J * (power - 1) / 7
    par_bar[1] = J * shear
    return F1_bar, J_bar * (1 + dt * trace), L_bar, par_bar


@dataclasses.dataclass(frozen=True)
class Liquid(Material):
    """Weakly compressible Newtonian liquid.

    Pressure by Tait's equation of state with exponent 7, p = K/7 (J^-7 - 1) [Pa]; viscous stress 2 eta dev D, whose viscosity is a physical one,
    independent of the time step. Both signs of pressure are borne. Monaghan 1994 for the equation of state.

    Args:
        density: [kg/m^3].
        bulk_modulus: K [Pa]; sound travels at sqrt(K / density). Ten times the fastest flow keeps density within about 1 %.
        viscosity: dynamic viscosity eta [Pa s].
    """

    bulk_modulus: Parameter
    viscosity: Parameter = 0.0

    name: ClassVar[str] = "liquid"
    law: ClassVar[Law] = Law(_liquid_update, _liquid_adjoint)
    keeps_shape: ClassVar[bool] = False
    initial_internal: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("bulk_modulus", 0, math.inf)
        self.check("viscosity", 0, math.inf, closed=True)

    def law_parameters(self) -> tuple[Parameter, ...]:
        """K, eta."""
        return self.bulk_modulus, self.viscosity

    def wave_speed(self) -> Tensor:
        """Speed of sound sqrt(K / density)."""
        return torch.sqrt(torch.as_tensor(self.bulk_modulus) / self.density)

    def diffusivity(self) -> Tensor:
        """Viscosity over density."""
        return torch.as_tensor(self.viscosity / self.density)
