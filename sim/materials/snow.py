"""Snow: it gives way where it is squeezed or pulled too far, and hardens as it is packed."""

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor

from ..algebra import spectral, symmetric_eigen
from ..runtime import taichi
from .base import Law, Parameter
from .elastic import ElasticSolid, trial_adjoint

ti = taichi()


@ti.func
def _limited(stretch, par):
    """Each principal stretch within [1 - critical_compression, 1 + critical_stretch]."""
    limited = stretch
    for i in ti.static(range(stretch.n)):
        limited[i] = ti.min(ti.max(stretch[i], 1 - par[3]), 1 + par[4])
    return limited


@ti.func
def _volume(stretch):
    """The product of the principal stretches."""
    product = stretch[0]
    for i in ti.static(range(1, stretch.n)):
        product *= stretch[i]
    return product


@ti.func
def _principal_stress(elastic, volume, par):
    """Kirchhoff stress of unhardened snow along the principal axes."""
    return 2 * par[0] * (elastic - 1) * elastic + par[1] * volume * (volume - 1)


@ti.func
def _snow_update(F, a, L, par, dt):
    G = F + dt * (L @ F)
    squares, Q = symmetric_eigen(G @ G.transpose())
    stretch = ti.sqrt(squares)
    elastic = _limited(stretch, par)
    volume = _volume(elastic)
    a1 = a * _volume(stretch) / volume
    stiffening = ti.min(ti.exp(par[2] * (1 - a1)), par[5])
    return spectral(elastic / stretch, Q) @ G, a1, spectral(stiffening * _principal_stress(elastic, volume, par), Q)


@ti.func
def _snow_adjoint(F, a, L, par, dt, tau_bar, F1_bar, a1_bar):
    G = F + dt * (L @ F)
    squares, Q = symmetric_eigen(G @ G.transpose())
    stretch = ti.sqrt(squares)
    elastic = _limited(stretch, par)
    volume = _volume(elastic)
    growth = _volume(stretch) / volume
    a1 = a * growth
    stiffening = ti.exp(par[2] * (1 - a1))
    base = _principal_stress(elastic, volume, par)
    # F1 = M G and tau are both isotropic functions of G G^T, with eigenvalues `elastic / stretch` and `stiffening * base`.
    T = Q.transpose() @ tau_bar @ Q
    M = Q.transpose() @ F1_bar @ G.transpose() @ Q
    stiffening_bar = a * 0
    trace_bar = a * 0
    for i in ti.static(range(F.n)):
        stiffening_bar += T[i, i] * base[i]
        trace_bar += T[i, i]
    par_bar = par * 0
    growth_bar = a1_bar * a
    a_bar = a1_bar * growth
    if stiffening < par[5]:
        exponent_bar = stiffening_bar * stiffening
        par_bar[2] = exponent_bar * (1 - a1)
        growth_bar -= exponent_bar * par[2] * a
        a_bar -= exponent_bar * par[2] * growth
    else:
        stiffening = par[5]
        par_bar[5] = stiffening_bar
    volume_bar = trace_bar * stiffening * par[1] * (2 * volume - 1)
    par_bar[1] = trace_bar * stiffening * volume * (volume - 1)
    B = T
    for i in ti.static(range(F.n)):
        par_bar[0] += T[i, i] * stiffening * 2 * (elastic[i] - 1) * elastic[i]
        elastic_bar = T[i, i] * stiffening * 2 * par[0] * (2 * elastic[i] - 1) + M[i, i] / stretch[i]
        elastic_bar += (volume_bar * volume - growth_bar * growth) / elastic[i]
        stretch_bar = (growth_bar * growth - M[i, i] * elastic[i] / stretch[i]) / stretch[i]
        if stretch[i] < 1 - par[3]:
            par_bar[3] -= elastic_bar
        elif stretch[i] > 1 + par[4]:
            par_bar[4] += elastic_bar
        else:
            stretch_bar += elastic_bar
        B[i, i] = stretch_bar / (2 * stretch[i])
        for j in ti.static(range(F.n)):
            if ti.static(i != j):
                # How much of a difference of two stretches their limits leave: all, nothing, or, across a limit, a share.
                share = a * 0
                if elastic[i] == stretch[i] and elastic[j] == stretch[j]:
                    share += 1
                elif elastic[i] != elastic[j]:
                    share = (elastic[i] - elastic[j]) / (stretch[i] - stretch[j])
                stress = stiffening * 2 * par[0] * (elastic[i] + elastic[j] - 1) * share
                flow = (share * stretch[i] - elastic[i]) / (stretch[i] * stretch[j])
                B[i, j] = ((T[i, j] + T[j, i]) * stress + (M[i, j] + M[j, i]) * flow) / (2 * (stretch[i] + stretch[j]))
    b_bar = Q @ B @ Q.transpose()
    G_bar = spectral(elastic / stretch, Q) @ F1_bar + (b_bar + b_bar.transpose()) @ G
    F_bar, L_bar = trial_adjoint(F, L, dt, G_bar)
    return F_bar, a_bar, L_bar, par_bar


@dataclasses.dataclass(frozen=True)
class Snow(ElasticSolid):
    """Fixed corotated elasticity whose principal stretches are limited, and which stiffens as the flow beyond the limits packs it.

    Both moduli are those of the material at rest times exp(hardening (1 - J_p)), at most max_stiffening. J_p, the material's own scalar, is the
    plastic volume ratio: below 1 in packed snow, above 1 in snow that was pulled apart, which softens. Stomakhin et al. 2013; the
    limit of the stiffening is not theirs. It makes the fastest wave, which bounds the time step, known before the simulation:
    sqrt(max_stiffening) times that at rest. Snow reaches it at J_p = 1 - log(max_stiffening) / hardening, 0.7 for the values given here; beyond
    that it still flows, and stiffens no more.

    Args:
        density: at rest [kg/m^3]; fresh snow has some 100, packed snow 400.
        youngs_modulus: at rest [Pa].
        poisson_ratio: between -1 and 0.5.
        critical_compression: strain at which it gives way under pressure, between 0 and 1.
        critical_stretch: strain at which it gives way under tension, above 0.
        hardening: how fast it stiffens with plastic compaction, at least 0.
        max_stiffening: the largest factor on the moduli, above 1.
    """

    critical_compression: Parameter = 2.5e-2
    critical_stretch: Parameter = 7.5e-3
    hardening: Parameter = 10.0
    max_stiffening: Parameter = 20.0

    name: ClassVar[str] = "snow"
    law: ClassVar[Law] = Law(_snow_update, _snow_adjoint)
    initial_internal: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("critical_compression", 0, 1)
        self.check("critical_stretch", 0, math.inf)
        self.check("hardening", 0, math.inf, closed=True)
        self.check("max_stiffening", 1, math.inf)

    def law_parameters(self) -> tuple[Parameter, ...]:
        """mu, lambda, hardening, critical compression, critical stretch, largest stiffening."""
        return (*super().law_parameters(), self.hardening, self.critical_compression, self.critical_stretch, self.max_stiffening)

    def wave_speed(self) -> Tensor:
        """Speed of pressure waves in the hardest snow, sqrt(max_stiffening (lambda + 2 mu) / density)."""
        return super().wave_speed() * torch.sqrt(torch.as_tensor(self.max_stiffening))
