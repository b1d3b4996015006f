"""Material point method: liquids, elastic and plastic solids on a background grid."""

from .flow import Inflow
from .model import Body, Effector, EffectorControl, MpmModel, MpmState
from .solver import MpmSolver

__all__ = ["Body", "Effector", "EffectorControl", "Inflow", "MpmModel", "MpmSolver", "MpmState"]
