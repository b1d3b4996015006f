"""What elastic bodies of tetrahedra are made of. The law of a material is that of `tetrahedra.LAWS` with its name."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from ..materials import FixedCorotated, Hookean

__all__ = ["FixedCorotated", "LinearElastic", "StableNeoHookean"]


@dataclasses.dataclass(frozen=True)
class StableNeoHookean(Hookean):
    """Rubber and flesh that withstand any deformation, even being turned inside out. Smith, de Goes and Kim 2018."""

    name: ClassVar[str] = "stable_neo_hookean"


@dataclasses.dataclass(frozen=True)
class LinearElastic(Hookean):
    """Hooke's law of small strain, for bodies that neither turn nor deform much: a rotation looks to it like growth."""

    name: ClassVar[str] = "linear"
