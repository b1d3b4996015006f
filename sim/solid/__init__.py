"""Implicit solids: shells, elastic solids, rigid bodies and obstacles that touch without penetration."""

from .bodies import Clamp, Contact, Handle, Kinematic, Pin, Rigid, Shell, Solid
from .custom import determinant
from .materials import FixedCorotated, Hyperelastic, LinearElastic, StableNeoHookean
from .model import SolidModel
from .solver import SolidSolver
from .state import SolidControl, SolidState

__all__ = [
    "Clamp",
    "Contact",
    "FixedCorotated",
    "Handle",
    "Hyperelastic",
    "Kinematic",
    "LinearElastic",
    "Pin",
    "Rigid",
    "Shell",
    "Solid",
    "SolidControl",
    "SolidModel",
    "SolidSolver",
    "SolidState",
    "StableNeoHookean",
    "determinant",
]
