"""Physics: one step and its exact derivative. Importing this package brings up neither torch nor Taichi."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import UnknownNameError

if TYPE_CHECKING:
    from .core import Solver

__all__ = ["SOLVERS", "solver_class"]

SOLVERS: dict[str, str] = {
    "mpm": "pliant.sim.mpm:MpmSolver",
    "solid": "pliant.sim.solid:SolidSolver",
    "pde": "pliant.sim.pde:PdeSolver",
}
"""Where the class of every solver lies, "module:Class", by the solver's name."""


def solver_class(name: str) -> type[Solver[Any, Any, Any]]:
    """The class of a solver, imported on first use.

    Raises:
        UnknownNameError: if there is no such solver.
    """
    if name not in SOLVERS:
        raise UnknownNameError(f"There is no solver {name!r}; choose one of {', '.join(SOLVERS)}.")
    module, _, kind = SOLVERS[name].partition(":")
    return getattr(import_module(module), kind)
