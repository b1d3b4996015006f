"""pliant: differentiable physics of things that bend, squash and flow."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .envs.registry import make_task, register_all, register_task, task_names

if TYPE_CHECKING:
    from .optim.trajectory import optimize
    from .sim.core import Outcome
    from .sim.rollout import rollout

__all__ = ["Outcome", "make_task", "optimize", "register_task", "rollout", "task_names"]
__version__ = "0.1.0"

_PLACES = {"Outcome": ".sim.core", "optimize": ".optim.trajectory", "rollout": ".sim.rollout"}

register_all()


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name], __name__), name)
