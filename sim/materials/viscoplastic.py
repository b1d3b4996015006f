"""Fluids that flow above a yield stress, at a rate that the stress beyond it sets: pastes, muds, batters."""

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor

from ..runtime import taichi
from .base import Law, Material, Parameter
from .hencky import hencky_law

ti = taichi()

MOST_ITERATIONS = 100
"""Newton's method needs four to eight, and the loop stops by itself."""


@ti.func
def _trial(q, par):
    """The shear stress of a trial strain; at rest that of a strain of 2^-100, so that quotients take their limits."""
    return par[0] * ti.max(ti.sqrt(q * 0 + 2) * q, 2.0**-100)


@ti.func
def _overstress(t, par):
    """The part y of a shear stress t that drives flow, and its derivatives in t, the yield stress and eps.

    y = t (1 - tau_y / A), where A is half the sum of the distances of the point (t, eps) from (tau_y, 0) and (-tau_y, 0). Without eps this is
    max(t - tau_y, 0); with it f(t - tau_y) - f(-t - tau_y), where f(z) = (z + sqrt(z^2 + eps^2)) / 2.
    """
    near = ti.max(ti.sqrt((t - par[2]) * (t - par[2]) + par[5] * par[5]), 2.0**-120)
    far = ti.max(ti.sqrt((t + par[2]) * (t + par[2]) + par[5] * par[5]), 2.0**-120)
    y = t * (1 - 2 * par[2] / (near + far))
    below, above = (t - par[2]) / near, (t + par[2]) / far
    return y, 1 + (below - above) / 2, -(below + above) / 2, par[5] * (1 / near - 1 / far) / 2


@ti.func
def _shear_rate(y, par):
    """(y / K)^(1/n) [1/s] and its derivative in y."""
    rate = y * 0
    slope = y * 0
    if y > 0:
        rate = ti.pow(y / par[3], 1 / par[4])
        slope = rate / (par[4] * y)
    return rate, slope


@ti.func
def _relaxed(tau, par, dt):
    """The shear stress t after flow: t + mu dt (y(t) / K)^(1/n) = tau, to rounding error.

    Newton's method between bounds; where it leaves them they are halved. It starts where the overstress alone or the flow alone accounts for half of
    the trial stress beyond yield, whichever comes first: without eps that is below the root and close to it. With eps the flow alone bounds it.
    """
    t = tau
    if tau > par[2] or par[5] > 0:
        stiffness = par[0] * dt
        low = tau * 0
        high = tau
        if tau > par[2]:
            half = (tau - par[2]) / 2
            t = par[2] + ti.min(half, par[3] * ti.pow(half / stiffness, par[4]))
        if par[5] > 0:
            # y is at least its slope at rest times t.
            least = 1 - par[2] / ti.sqrt(par[2] * par[2] + par[5] * par[5])
            if par[3] * ti.pow(tau / stiffness, par[4]) < least * t:
                t = par[3] * ti.pow(tau / stiffness, par[4]) / least
        for _ in range(MOST_ITERATIONS):
            y, y_t, _y_yield, _y_eps = _overstress(t, par)
            rate, slope = _shear_rate(y, par)
            residual = t + stiffness * rate - tau
            if residual > 0:
                high = t
            else:
                low = t
            better = t - residual / (1 + stiffness * slope * y_t)
            if better == t:
                break
            if not (low < better and better < high):
                better = (low + high) / 2
                if better <= low or better >= high:
                    break
            t = better
    return t


@ti.func
def _flow(dim: ti.template(), trace, q, a, par, dt):
    tau = _trial(q, par)
    k = _relaxed(tau, par, dt) / tau
    return k, trace, a + ti.sqrt(q * 0 + 2) * q * (1 - k)


@ti.func
def _flow_adjoint(dim: ti.template(), trace, q, a, par, dt, k_bar, trace1_bar, a1_bar):
    root = ti.sqrt(q * 0 + 2)
    tau = _trial(q, par)
    t = _relaxed(tau, par, dt)
    q_bar = a1_bar * root * (1 - t / tau)
    par_bar = par * 0
    # All that depends on t / tau, by the implicit function theorem on t + mu dt rate(y(t)) = tau.
    k_total = k_bar - a1_bar * root * q
    t_bar = k_total / tau
    tau_bar = -t_bar * (t / tau)
    if t < tau or par[5] > 0:
        y, y_t, y_yield, y_eps = _overstress(t, par)
        rate, slope = _shear_rate(y, par)
        multiplier = t_bar / (1 + par[0] * dt * slope * y_t)
        rate_bar = -multiplier * par[0] * dt
        tau_bar += multiplier
        par_bar[0] = -multiplier * dt * rate
        par_bar[2] = rate_bar * slope * y_yield
        par_bar[3] = -rate_bar * slope * y / par[3]
        if y > 0:
            par_bar[4] = -rate_bar * rate * ti.log(y / par[3]) / (par[4] * par[4])
        par_bar[5] = rate_bar * slope * y_eps
    else:
        tau_bar += t_bar
    q_bar += tau_bar * root * par[0]
    par_bar[0] += tau_bar * root * q
    return trace1_bar, q_bar, a1_bar, par_bar


@dataclasses.dataclass(frozen=True)
class Viscoplastic(Material):
    """A Herschel-Bulkley fluid: elastic below its yield stress, and beyond it tau = yield_stress + consistency * rate^flow_index.

    tau is the shear stress |dev tau| / sqrt(2), the rate is that of engineering shear, sqrt(2 D:D) [1/s], of the flow that is left when the elastic
    part is taken off. Elasticity is Hencky's, with the pressure of `bulk_modulus`; in the update of the logarithmic strain flow is implicit, so
    that no viscosity bounds the time step and nothing creeps below yield. Herschel and Bulkley 1926; Bingham 1922 is flow_index = 1;
    Perzyna 1966 for the overstress, Simo and Hughes 1998 for its return map. The material's own scalar is the accumulated engineering shear.

    It is stiff where the step is long: consistency / shear_modulus is the time in which stress relaxes, yield_stress / shear_modulus the strain
    at yield; a fluid that shows no elasticity has both small. In two dimensions the mean stress in the plane answers to a change of area with
    bulk_modulus + shear_modulus / 3, as in plane strain.

    Without regularisation the law has a kink at yield, where its derivative is one-sided, but for flow_index < 1. There the rate as a function of
    stress starts with an infinite slope if flow_index > 1; stress as a function of strain, which is what is solved for, has none.
    With it the part of stress that drives flow is y = f(tau - yield_stress) - f(-tau - yield_stress), f(z) = (z + sqrt(z^2 + eps^2)) / 2,
    eps = regularization * yield_stress: smooth, odd in stress, and zero at rest. The price is creep below yield, where y starts as
    tau regularization^2 / 2.

    Args:
        density: [kg/m^3].
        bulk_modulus: K [Pa].
        shear_modulus: mu of the elastic part [Pa].
        yield_stress: in shear [Pa]; 0 is a power-law fluid, with flow_index = 1 a Maxwell fluid of viscosity `consistency`.
        consistency: [Pa s^flow_index], above 0; a solid that yields at any rate alike is `Elastoplastic`.
        flow_index: 1 is Bingham, below 1 thins with the rate, above 1 thickens.
        regularization: width of the smoothed yield point over yield_stress; 0 is sharp.
    """

    bulk_modulus: Parameter
    shear_modulus: Parameter
    yield_stress: Parameter
    consistency: Parameter
    flow_index: Parameter = 1.0
    regularization: Parameter = 0.0

    name: ClassVar[str] = "viscoplastic"
    law: ClassVar[Law] = hencky_law(_flow, _flow_adjoint)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("bulk_modulus", "shear_modulus", "consistency", "flow_index"):
            self.check(name, 0, math.inf)
        for name in ("yield_stress", "regularization"):
            self.check(name, 0, math.inf, closed=True)

    def law_parameters(self) -> tuple[Parameter, ...]:
        """mu, lambda, yield stress, consistency, flow index, eps."""
        lam = self.bulk_modulus - 2 * self.shear_modulus / 3
        return self.shear_modulus, lam, self.yield_stress, self.consistency, self.flow_index, self.regularization * self.yield_stress

    def wave_speed(self) -> Tensor:
        """Speed of pressure waves sqrt((bulk + 4/3 mu) / density); those that run through flowing matter are slower."""
        return torch.sqrt(torch.as_tensor((self.bulk_modulus + 4 * self.shear_modulus / 3) / self.density))
