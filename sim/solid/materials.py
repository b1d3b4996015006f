"""What elastic bodies of tetrahedra are made of. The law of a material is that of `tetrahedra.LAWS` with its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch.func import grad, hessian, vmap

from ...errors import ModelError
from ..materials import FixedCorotated, Hookean
from ..materials.base import Parameter, Substance, numbers
from .custom import Density

__all__ = ["SOLID_MATERIALS", "FixedCorotated", "Hyperelastic", "LinearElastic", "SolidMaterial", "StableNeoHookean"]


@dataclasses.dataclass(frozen=True)
class StableNeoHookean(Hookean):
    """Rubber and flesh that withstand any deformation, even being turned inside out. Smith, de Goes and Kim 2018."""

    name: ClassVar[str] = "stable_neo_hookean"


@dataclasses.dataclass(frozen=True)
class LinearElastic(Hookean):
    """Hooke's law of small strain, for bodies that neither turn nor deform much: a rotation looks to it like growth."""

    name: ClassVar[str] = "linear"


@dataclasses.dataclass(frozen=True, eq=False)
class Hyperelastic(Substance):
    """A material of one's own, given by its energy density in torch; torch differentiates it, ten times slower than a law that is built in.

    Args:
        density: mass density at rest [kg/m^3].
        psi: `(F [3, 3], parameters [q]) -> scalar` [J/m^3], the energy per volume at rest of a deformation gradient, in operations that
            `torch.func.vmap` can map, such as `determinant` and not `torch.linalg.det`. It is called at any F, even inside out; where it is
            infinite or NaN, a step does not go.
        parameters: what psi reads; they may require gradients.

    Raises:
        ModelError: if psi is no such function, or it, its slope or its curvature is not finite at rest.
    """

    psi: Density
    parameters: Sequence[Parameter] = ()

    name: ClassVar[str] = "hyperelastic"

    def __post_init__(self) -> None:
        super().__post_init__()
        listed = [numbers("Hyperelastic: parameters", value) for value in self.parameters]
        count = max((value.numel() for value in listed), default=1)
        if any(value.ndim > 1 or value.numel() not in (1, count) for value in listed):
            raise ModelError("Hyperelastic: each of the parameters must be a number, or one value for each environment [B].")
        material = (
            torch.stack([value.reshape(-1).expand(count) for value in listed], 1) if listed else torch.zeros(count, 0, dtype=torch.float64)
        )
        rest = torch.eye(3, dtype=torch.float64).expand(count, 3, 3)
        try:
            value = vmap(self.psi)(rest, material)
            slopes = [vmap(slope(self.psi))(rest, material) for slope in (grad, hessian) if value.shape == (count,)]
        except Exception as error:  # whatever the user's function raises
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(f"Hyperelastic: psi fails at rest: {reason}\nIt must be psi(F, parameters) in torch operations.") from error
        if not slopes or not all(bool(torch.isfinite(found).all()) for found in (value, *slopes)):
            raise ModelError(
                "Hyperelastic: psi must give one number, finite at rest as its first and second derivatives are.\n"
                "Where it has a determinant, take pliant.sim.solid.determinant; that of torch has no second derivative there."
            )


SolidMaterial = StableNeoHookean | FixedCorotated | LinearElastic | Hyperelastic
SOLID_MATERIALS = (StableNeoHookean, FixedCorotated, LinearElastic, Hyperelastic)
