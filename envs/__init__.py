"""Tasks and their Gymnasium faces. Names are imported on first use, since registration must not bring up torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .registry import make_task, register_task, task_names

if TYPE_CHECKING:
    from .gym_env import TaskEnv
    from .objective import task_objective
    from .sb3 import Sb3VecEnv
    from .task import Course, Settings, Task, TaskTrajectory, free_box, unit_box
    from .vector_env import TaskVectorEnv

__all__ = [
    "Course",
    "Sb3VecEnv",
    "Settings",
    "Task",
    "TaskEnv",
    "TaskTrajectory",
    "TaskVectorEnv",
    "free_box",
    "make_task",
    "register_task",
    "task_names",
    "task_objective",
    "unit_box",
]

_PLACES = {
    "Course": "task",
    "Sb3VecEnv": "sb3",
    "Settings": "task",
    "Task": "task",
    "TaskEnv": "gym_env",
    "TaskTrajectory": "task",
    "TaskVectorEnv": "vector_env",
    "free_box": "task",
    "task_objective": "objective",
    "unit_box": "task",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
