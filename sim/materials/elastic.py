"""Elastic solids."""

import dataclasses
from typing import ClassVar

import torch
from torch import Tensor

from ..algebra import cofactor, inner, polar, polar_adjoint
from ..runtime import taichi
from .base import Hookean, Law, Material, Parameter

ti = taichi()


@ti.func
def _corotated_update(F, a, L, par, dt):
    G = F + dt * (L @ F)
    R = polar(G)
    J = G.determinant()
    tau = 2 * par[0] * ((G - R) @ G.transpose())
    for i in ti.static(range(F.n)):
        tau[i, i] += par[1] * J * (J - 1)
    return G, a, tau


@ti.func
def trial_adjoint(F, L, dt, G_bar):
    """The adjoint of G = (I + dt L) F."""
    return G_bar + dt * (L.transpose() @ G_bar), dt * (G_bar @ F.transpose())


@ti.func
def _corotated_adjoint(F, a, L, par, dt, tau_bar, F1_bar, a1_bar):
    G = F + dt * (L @ F)
    R = polar(G)
    J = G.determinant()
    t = tau_bar.trace()
    G_bar = F1_bar + 2 * par[0] * ((tau_bar + tau_bar.transpose()) @ G - tau_bar.transpose() @ R)
    G_bar += polar_adjoint(R, G, -2 * par[0] * (tau_bar @ G))
    G_bar += (par[1] * (2 * J - 1) * t) * cofactor(G)
    par_bar = par * 0
    par_bar[0] = 2 * inner(tau_bar, (G - R) @ G.transpose())
    par_bar[1] = J * (J - 1) * t
    F_bar, L_bar = trial_adjoint(F, L, dt, G_bar)
    return F_bar, a1_bar, L_bar, par_bar


@ti.func
def _neo_hookean_update(F, a, L, par, dt):
    G = F + dt * (L @ F)
    tau = par[0] * (G @ G.transpose())
    for i in ti.static(range(F.n)):
        tau[i, i] += par[1] * ti.log(G.determinant()) - par[0]
    return G, a, tau


@ti.func
def _neo_hookean_adjoint(F, a, L, par, dt, tau_bar, F1_bar, a1_bar):
    G = F + dt * (L @ F)
    J = G.determinant()
    t = tau_bar.trace()
    G_bar = F1_bar + par[0] * ((tau_bar + tau_bar.transpose()) @ G) + (par[1] * t / J) * cofactor(G)
    par_bar = par * 0
    par_bar[0] = inner(tau_bar, G @ G.transpose()) - t
    par_bar[1] = ti.log(J) * t
    F_bar, L_bar = trial_adjoint(F, L, dt, G_bar)
    return F_bar, a1_bar, L_bar, par_bar


@dataclasses.dataclass(frozen=True)
class ElasticSolid(Hookean, Material):
    """An isotropic elastic solid of material points.

    Args:
        density: [kg/m^3].
        youngs_modulus: [Pa].
        poisson_ratio: between -1 and 0.5. In two dimensions the body is in plane strain.
    """

    def law_parameters(self) -> tuple[Parameter, ...]:
        """mu, lambda."""
        return self.lame()

    def wave_speed(self) -> Tensor:
        """Speed of pressure waves sqrt((lambda + 2 mu) / density)."""
        mu, lam = self.lame()
        return torch.sqrt(torch.as_tensor((lam + 2 * mu) / self.density))


@dataclasses.dataclass(frozen=True)
class FixedCorotated(ElasticSolid):
    """Fixed corotated elasticity, energy mu |F - R|^2 + lambda/2 (J - 1)^2. Stomakhin et al. 2012."""

    name: ClassVar[str] = "fixed_corotated"
    law: ClassVar[Law] = Law(_corotated_update, _corotated_adjoint)


@dataclasses.dataclass(frozen=True)
class NeoHookean(ElasticSolid):
    """Compressible neo-Hookean elasticity, energy mu/2 (|F|^2 - D) - mu log J + lambda/2 log^2 J. Bonet and Wood 1997.

    A body that inverts has no energy; its environment ends as NOT_FINITE.
    """

    name: ClassVar[str] = "neo_hookean"
    law: ClassVar[Law] = Law(_neo_hookean_update, _neo_hookean_adjoint)
