"""Granular matter: friction between grains, and nothing that holds them together but cohesion."""

import dataclasses
import math
from typing import ClassVar

import torch
from torch import Tensor

from ..runtime import taichi
from .base import Law, Parameter
from .elastic import ElasticSolid
from .hencky import hencky_law

ti = taichi()


@ti.func
def _cone(dim: ti.template(), sine):
    """The coefficient alpha of |dev tau| <= -alpha tr tau, and its slope by the sine of the friction angle."""
    alpha = sine / ti.sqrt(sine * 0 + 2)
    slope = 1 / ti.sqrt(sine * 0 + 2)
    if ti.static(dim == 3):
        root = ti.sqrt((sine * 0 + 8) / 3)
        alpha = root * sine / (3 - sine)
        slope = 3 * root / ((3 - sine) * (3 - sine))
    return alpha, slope


@ti.func
def _drucker_prager(dim: ti.template(), trace, q, a, par, dt):
    """`a` is the logarithm of the volume by which the matter has parted; with the elastic trace it makes up the true change of volume."""
    alpha, _slope = _cone(dim, par[2])
    stiffness = 2 * par[0] + dim * par[1]
    volume = trace + a
    tip = dim * par[3] / stiffness
    k = q * 0
    trace1 = tip
    a1 = volume - tip
    if volume < tip:
        k = q * 0 + 1
        trace1 = volume
        a1 = a * 0
        most = alpha * stiffness * (tip - volume) / (2 * par[0])
        if q > most:
            k = most / q
    return k, trace1, a1


@ti.func
def _drucker_prager_adjoint(dim: ti.template(), trace, q, a, par, dt, k_bar, trace1_bar, a1_bar):
    alpha, slope = _cone(dim, par[2])
    stiffness = 2 * par[0] + dim * par[1]
    volume = trace + a
    tip = dim * par[3] / stiffness
    q_bar = q * 0
    par_bar = par * 0
    volume_bar = a1_bar
    tip_bar = trace1_bar - a1_bar
    stiffness_bar = q * 0
    if volume < tip:
        volume_bar = trace1_bar
        tip_bar = q * 0
        ratio = stiffness / (2 * par[0])
        most = alpha * ratio * (tip - volume)
        if q > most:
            most_bar = k_bar / q
            q_bar = -most_bar * most / q
            tip_bar = most_bar * alpha * ratio
            volume_bar -= tip_bar
            stiffness_bar = most_bar * alpha * (tip - volume) / (2 * par[0])
            par_bar[0] -= most_bar * most / par[0]
            par_bar[2] = most_bar * slope * ratio * (tip - volume)
    stiffness_bar -= tip_bar * tip / stiffness
    par_bar[0] += 2 * stiffness_bar
    par_bar[1] = dim * stiffness_bar
    par_bar[3] = tip_bar * dim / stiffness
    return volume_bar, q_bar, volume_bar, par_bar


@dataclasses.dataclass(frozen=True)
class Sand(ElasticSolid):
    """Hencky elasticity with Coulomb friction between grains, by Drucker and Prager's cone: sand, soils, grain.

    Matter under the mean pressure p bears |dev tau| <= alpha D (p + c cot phi), D the dimension; beyond that it shears at constant volume. It bears
    no tension beyond c cot phi: there it comes apart, without stress, and what it has gained in volume until it closes again is kept in
    the material's own scalar (a logarithm), so that pressure is a function of the true volume. In three dimensions
    alpha = sqrt(2/3) 2 sin phi / (3 - sin phi): the cone passes through the edges of Mohr and Coulomb's pyramid that stand for
    triaxial compression. In two alpha = sin phi / sqrt(2), exactly Mohr and Coulomb in plane strain with flow in the plane. Klar et al. 2016; the
    correction of volume is that of Tampubolon et al. 2017.

    Without cohesion sand without pressure is at the tip of the cone, where the law has no derivative; the adjoint takes that of the open side, which
    is zero. Under any pressure it is exact.

    Args:
        density: of the heap at rest, pores included [kg/m^3].
        youngs_modulus: [Pa].
        poisson_ratio: between -1 and 0.5.
        friction_angle: phi, of internal friction [degrees], between 0 and 90.
        cohesion: c, the shear stress that the matter bears without pressure [Pa], at least 0.
    """

    friction_angle: Parameter
    cohesion: Parameter = 0.0

    name: ClassVar[str] = "sand"
    law: ClassVar[Law] = hencky_law(_drucker_prager, _drucker_prager_adjoint)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("friction_angle", 0, 90)
        self.check("cohesion", 0, math.inf, closed=True)

    def law_parameters(self) -> tuple[Parameter, ...]:
        """mu, lambda, sin phi, c cot phi."""
        degrees = self.friction_angle
        angle = torch.deg2rad(degrees if isinstance(degrees, Tensor) else torch.tensor(degrees, dtype=torch.float64))
        return (*super().law_parameters(), torch.sin(angle), self.cohesion / torch.tan(angle))
