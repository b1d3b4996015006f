"""Partial differential equations on grids: residuals, steppers, multigrid, all of them differentiable."""

from .boundary import Dirichlet, Neumann, Periodic, Robin
from .domain import Domain
from .equation import Equation, Evolution, Oscillation, Steady
from .equations import (
    AdvectionDiffusion,
    AllenCahn,
    Burgers,
    DiffusionSorption,
    Diffusive,
    FisherKolmogorov,
    Heat,
    Poisson,
    Wave,
)
from .grid import Grid
from .implicit import Newton, implicit_solve
from .linear import linearizer
from .multigrid import Multigrid, solve_elliptic
from .operators import advection, diffusion, divergence, face_means, gradient
from .solver import PdeControl, PdeModel, PdeSolver, PdeState, solve_steady

__all__ = [
    "AdvectionDiffusion",
    "AllenCahn",
    "Burgers",
    "DiffusionSorption",
    "Diffusive",
    "Dirichlet",
    "Domain",
    "Equation",
    "Evolution",
    "FisherKolmogorov",
    "Grid",
    "Heat",
    "Multigrid",
    "Neumann",
    "Newton",
    "Oscillation",
    "PdeControl",
    "PdeModel",
    "PdeSolver",
    "PdeState",
    "Periodic",
    "Poisson",
    "Robin",
    "Steady",
    "Wave",
    "advection",
    "diffusion",
    "divergence",
    "face_means",
    "gradient",
    "implicit_solve",
    "linearizer",
    "solve_elliptic",
    "solve_steady",
]
