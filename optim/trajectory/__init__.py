"""Trajectory optimisation: action sequences that make a loss small."""

from .easing import Easing
from .knots import ActionSpace
from .loop import METHODS, OptimizeResult, optimize
from .objective import Evaluation, Objective
from .progress import Progress
from .seeds import optimize_seeds

__all__ = [
    "METHODS",
    "ActionSpace",
    "Easing",
    "Evaluation",
    "Objective",
    "OptimizeResult",
    "Progress",
    "optimize",
    "optimize_seeds",
]
