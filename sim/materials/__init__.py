"""Constitutive laws shared by the solvers, in SI units, with hand-written derivatives.

A material is a frozen dataclass of physical parameters and a `Law`: two Taichi functions, the update of a material point over a time step,
and its adjoint. docs/add-a-material.md shows how to write one.
"""

from .base import Hookean, Law, Material, Parameter, lame
from .elastic import FixedCorotated, NeoHookean
from .elastoplastic import Elastoplastic
from .hencky import hencky_law
from .liquid import Liquid
from .sand import Sand
from .snow import Snow
from .viscoplastic import Viscoplastic

__all__ = [
    "Elastoplastic", "FixedCorotated", "Hookean", "Law", "Liquid", "Material", "NeoHookean", "Parameter", "Sand", "Snow", "Viscoplastic",
    "hencky_law", "lame",
]  # fmt: skip
