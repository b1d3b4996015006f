"""Solids that flow plastically, whatever the rate."""

import dataclasses
import math
from typing import ClassVar

from ..runtime import taichi
from .base import Law, Parameter
from .elastic import ElasticSolid
from .hencky import hencky_law

ti = taichi()


@ti.func
def _von_mises(dim: ti.template(), trace, q, a, par, dt):
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
def _von_mises_adjoint(dim: ti.template(), trace, q, a, par, dt, k_bar, trace1_bar, a1_bar):
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
class Elastoplastic(ElasticSolid):
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
        return (*super().law_parameters(), self.yield_stress, self.hardening)
