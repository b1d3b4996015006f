"""Constitutive laws shared by the solvers, in SI units, with hand-written derivatives.

A material is a frozen dataclass of physical parameters and a `Law`: two Taichi functions, the update of a material point over a time step,
and its adjoint. docs/add-a-material.md shows how to write one.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ..errors import ModelError
from .algebra import cofactor, exp_slope, inner, log_slope, polar, polar_adjoint, spectral, symmetric_eigen
from .runtime import taichi

ti = taichi()

Parameter = float | Tensor
"""A number, a scalar tensor, or one value for each environment `[B]`; tensors may require gradients."""


class Law(NamedTuple):
    """The update of a material point and its adjoint, as Taichi functions.

    `F` is the deformation gradient [D, D], `a` the material's own scalar, `L` the velocity gradient [1/s], `par` what
    `Material.law_parameters` gives.
    """

    update: Callable[..., Any]
    """`(F, a, L, par, dt) -> F1, a1, tau`: the state a step later and the Kirchhoff stress [Pa]."""
    adjoint: Callable[..., Any]
    """`(F, a, L, par, dt, tau_bar, F1_bar, a1_bar) -> F_bar, a_bar, L_bar, par_bar`."""


@dataclasses.dataclass(frozen=True)
class Material(ABC):
    """What a body is made of.

    Args:
        density: mass density at rest [kg/m^3].

    Raises:
        ModelError: if a parameter is not finite or outside its physical range.
    """

    density: Parameter

    name: ClassVar[str]
    law: ClassVar[Law]
    keeps_shape: ClassVar[bool] = True
    """Whether the law needs the deformation gradient; a liquid only keeps its volume ratio."""
    initial_internal: ClassVar[float] = 0.0
    """The material's own scalar at rest."""

    def __post_init__(self) -> None:
        self.check("density", 0, math.inf)

    def check(self, name: str, low: float, high: float, *, closed: bool = False) -> None:
        """Raises ModelError unless low < value < high (low <= value if `closed`)."""
        value = torch.as_tensor(getattr(self, name), dtype=torch.float64).detach()
        good = torch.isfinite(value) & ((value >= low) if closed else (value > low)) & (value < high)
        if not bool(good.all()):
            bound = f"at least {low:g}" if closed else f"above {low:g}"
            bound += "" if math.isinf(high) else f" and below {high:g}"
            raise ModelError(
                f"{self.name}: {name} is {value[~good].flatten()[0] if value.ndim else value:g}; it must be finite and {bound}."
            )

    @abstractmethod
    def law_parameters(self) -> tuple[Parameter, ...]:
        """The numbers that the law reads, in its order."""

    @abstractmethod
    def wave_speed(self) -> Tensor:
        """The fastest elastic or acoustic wave at rest [m/s]; it bounds the time step of an explicit solver."""

    def diffusivity(self) -> Tensor:
        """The kinematic viscosity [m^2/s]; it bounds the time step too."""
        return torch.zeros(())


def lame(youngs_modulus: Parameter, poisson_ratio: Parameter) -> tuple[Parameter, Parameter]:
    """Lame's mu and lambda [Pa] of Young's modulus [Pa] and Poisson's ratio (three dimensions, or plane strain)."""
    mu = youngs_modulus / (2 * (1 + poisson_ratio))
    return mu, youngs_modulus * poisson_ratio / ((1 + poisson_ratio) * (1 - 2 * poisson_ratio))


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


@ti.func
def _corotated_update(F, a, L, par, dt):
    G = F + dt * (L @ F)
    R, _V, _s = polar(G)
    J = G.determinant()
    tau = 2 * par[0] * ((G - R) @ G.transpose())
    for i in ti.static(range(F.n)):
        tau[i, i] += par[1] * J * (J - 1)
    return G, a, tau


@ti.func
def _trial_adjoint(F, L, dt, G_bar):
    """The adjoint of G = (I + dt L) F."""
    return G_bar + dt * (L.transpose() @ G_bar), dt * (G_bar @ F.transpose())


@ti.func
def _corotated_adjoint(F, a, L, par, dt, tau_bar, F1_bar, a1_bar):
    G = F + dt * (L @ F)
    R, V, s = polar(G)
    J = G.determinant()
    t = tau_bar.trace()
    G_bar = F1_bar + 2 * par[0] * ((tau_bar + tau_bar.transpose()) @ G - tau_bar.transpose() @ R)
    G_bar += polar_adjoint(R, V, s, -2 * par[0] * (tau_bar @ G))
    G_bar += (par[1] * (2 * J - 1) * t) * cofactor(G)
    par_bar = par * 0
    par_bar[0] = 2 * inner(tau_bar, (G - R) @ G.transpose())
    par_bar[1] = J * (J - 1) * t
    F_bar, L_bar = _trial_adjoint(F, L, dt, G_bar)
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
    F_bar, L_bar = _trial_adjoint(F, L, dt, G_bar)
    return F_bar, a1_bar, L_bar, par_bar


@dataclasses.dataclass(frozen=True)
class _Elastic(Material):
    """An isotropic elastic solid.

    Args:
        density: [kg/m^3].
        youngs_modulus: [Pa].
        poisson_ratio: between -1 and 0.5. In two dimensions the body is in plane strain.
    """

    youngs_modulus: Parameter
    poisson_ratio: Parameter

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("youngs_modulus", 0, math.inf)
        self.check("poisson_ratio", -1, 0.5)

    def law_parameters(self) -> tuple[Parameter, ...]:
        """mu, lambda."""
        return lame(self.youngs_modulus, self.poisson_ratio)

    def wave_speed(self) -> Tensor:
        """Speed of pressure waves sqrt((lambda + 2 mu) / density)."""
        mu, lam = lame(self.youngs_modulus, self.poisson_ratio)
        return torch.sqrt(torch.as_tensor((lam + 2 * mu) / self.density))


@dataclasses.dataclass(frozen=True)
class FixedCorotated(_Elastic):
    """Fixed corotated elasticity, energy mu |F - R|^2 + lambda/2 (J - 1)^2. Stomakhin et al. 2012."""

    name: ClassVar[str] = "fixed_corotated"
    law: ClassVar[Law] = Law(_corotated_update, _corotated_adjoint)


@dataclasses.dataclass(frozen=True)
class NeoHookean(_Elastic):
    """Compressible neo-Hookean elasticity, energy mu/2 (|F|^2 - D) - mu log J + lambda/2 log^2 J. Bonet and Wood 1997.

    A body that inverts has no energy; its environment ends as NOT_FINITE.
    """

    name: ClassVar[str] = "neo_hookean"
    law: ClassVar[Law] = Law(_neo_hookean_update, _neo_hookean_adjoint)


def hencky_law(return_map: Callable[..., Any], return_map_adjoint: Callable[..., Any]) -> Law:
    """The law of a solid with Hencky elasticity whose plastic flow scales the deviator of the logarithmic strain and may change its trace.

    Args:
        return_map: Taichi function `(trace, q, a, par, dt) -> k, trace1, a1`: the trial strain has trace `trace` and a deviator of norm `q`;
            the elastic strain after flow has the deviator times `k` and trace `trace1`. `par[0]` and `par[1]` are mu and lambda.
        return_map_adjoint: `(trace, q, a, par, dt, k_bar, trace1_bar, a1_bar) -> trace_bar, q_bar, a_bar, par_bar`.

    In two dimensions the deviator is that of the plane: flow is confined to it.
    The derivative uses quotients that are smooth where principal strains coincide, so that a body at rest has an exact one.
    """

    @ti.func
    def principal(G):
        squares, Q = symmetric_eigen(G @ G.transpose())
        strain = ti.log(squares) / 2
        trace = strain.sum()
        deviator = strain - trace / G.n
        return squares, Q, trace, deviator, ti.sqrt(deviator.dot(deviator))

    @ti.func
    def update(F, a, L, par, dt):
        G = F + dt * (L @ F)
        _squares, Q, trace, deviator, q = principal(G)
        k, trace1, a1 = return_map(trace, q, a, par, dt)
        strain1 = k * deviator + trace1 / F.n
        stretch = ti.exp((k - 1) * deviator + (trace1 - trace) / F.n)
        return spectral(stretch, Q) @ G, a1, spectral(2 * par[0] * strain1 + par[1] * trace1, Q)

    @ti.func
    def adjoint(F, a, L, par, dt, tau_bar, F1_bar, a1_bar):
        G = F + dt * (L @ F)
        squares, Q, trace, deviator, q = principal(G)
        k, trace1, _a1 = return_map(trace, q, a, par, dt)
        strain1 = k * deviator + trace1 / F.n
        stretch = ti.exp((k - 1) * deviator + (trace1 - trace) / F.n)
        # F1 = M G and tau are both isotropic functions of G G^T, with eigenvalues `stretch` and 2 mu strain1 + lambda trace1.
        M_bar = F1_bar @ G.transpose()
        T = Q.transpose() @ tau_bar @ Q
        M = Q.transpose() @ M_bar @ Q
        strain1_bar = deviator * 0
        strain_bar = deviator * 0
        tau_sum = trace * 0
        for i in ti.static(range(F.n)):
            strain1_bar[i] = 2 * par[0] * T[i, i] + stretch[i] * M[i, i]
            strain_bar[i] = -stretch[i] * M[i, i]
            tau_sum += T[i, i]
        k_bar = strain1_bar.dot(deviator)
        trace1_bar = strain1_bar.sum() / F.n + par[1] * tau_sum
        trace_bar, q_bar, a_bar, par_bar = return_map_adjoint(trace, q, a, par, dt, k_bar, trace1_bar, a1_bar)
        deviator_bar = k * strain1_bar
        if q > 0:
            deviator_bar += deviator * (q_bar / q)
        strain_bar += deviator_bar - deviator_bar.sum() / F.n + trace_bar
        B = T
        for i in ti.static(range(F.n)):
            for j in ti.static(range(F.n)):
                if ti.static(i == j):
                    B[i, i] = strain_bar[i] / (2 * squares[i])
                else:
                    slope = log_slope(squares[i], squares[j]) / 2
                    gap = (k - 1) * (deviator[i] - deviator[j])
                    stretching = stretch[j] * exp_slope(gap) * (k - 1) * slope
                    B[i, j] = (T[i, j] + T[j, i]) / 2 * (2 * par[0] * k * slope) + (M[i, j] + M[j, i]) / 2 * stretching
        b_bar = Q @ B @ Q.transpose()
        G_bar = spectral(stretch, Q) @ F1_bar + (b_bar + b_bar.transpose()) @ G
        for i in ti.static(range(F.n)):
            par_bar[0] += 2 * strain1[i] * T[i, i]
        par_bar[1] += trace1 * tau_sum
        F_bar, L_bar = _trial_adjoint(F, L, dt, G_bar)
        return F_bar, a_bar, L_bar, par_bar

    return Law(update, adjoint)


@ti.func
def _von_mises(trace, q, a, par, dt):
    k = q * 0 + 1
    a1 = a
    root = ti.sqrt((q * 0 + 2) / 3)
    excess = 2 * par[0] * q - root * (par[2] + par[3] * a)
    if excess > 0:
        flow = excess / (2 * par[0] + 2 * par[3] / 3)
        k = 1 - flow / q
        a1 = a + root * flow
    return k, trace, a1


@ti.func
def _von_mises_adjoint(trace, q, a, par, dt, k_bar, trace1_bar, a1_bar):
    q_bar = q * 0
    a_bar = a1_bar
    par_bar = par * 0
    root = ti.sqrt((q * 0 + 2) / 3)
    excess = 2 * par[0] * q - root * (par[2] + par[3] * a)
    if excess > 0:
        stiffness = 2 * par[0] + 2 * par[3] / 3
        flow = excess / stiffness
        flow_bar = (root * a1_bar - k_bar / q) / stiffness
        q_bar = k_bar * flow / (q * q) + flow_bar * 2 * par[0]
        a_bar -= flow_bar * root * par[3]
        par_bar[0] = flow_bar * 2 * (q - flow)
        par_bar[2] = -flow_bar * root
        par_bar[3] = -flow_bar * (root * a + 2 * flow / 3)
    return trace1_bar, q_bar, a_bar, par_bar


@dataclasses.dataclass(frozen=True)
class Elastoplastic(_Elastic):
    """Hencky elasticity with von Mises flow and linear isotropic hardening: doughs, clays, metals.

    Flow starts where sqrt(3/2) |dev tau| reaches yield_stress + hardening * equivalent plastic strain. Radial return in logarithmic strain,
    exact for this law: Simo 1992. The material's own scalar is the equivalent plastic strain.

    Args:
        density: [kg/m^3].
        youngs_modulus: [Pa].
        poisson_ratio: between -1 and 0.5.
        yield_stress: in uniaxial tension [Pa].
        hardening: plastic modulus [Pa], at least 0.
    """

    yield_stress: Parameter
    hardening: Parameter = 0.0

    name: ClassVar[str] = "elastoplastic"
    law: ClassVar[Law] = hencky_law(_von_mises, _von_mises_adjoint)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("yield_stress", 0, math.inf)
        self.check("hardening", 0, math.inf, closed=True)

    def law_parameters(self) -> tuple[Parameter, ...]:
        """mu, lambda, yield stress, hardening."""
        return (*lame(self.youngs_modulus, self.poisson_ratio), self.yield_stress, self.hardening)
