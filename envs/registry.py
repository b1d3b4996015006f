"""The tasks by name, and their registration with Gymnasium; light, since `import pliant` runs it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium

from ..errors import ModelError, UnknownNameError

if TYPE_CHECKING:
    from .task import Task

TASKS: dict[str, str] = {
    "pliant/Balancing-v0": "pliant.envs.shells.balancing:Balancing",
    "pliant/Bouncing-v0": "pliant.envs.shells.bouncing:Bouncing",
    "pliant/Card-v0": "pliant.envs.shells.card:Card",
    "pliant/FoldingL-v0": "pliant.envs.shells.folding:FoldingL",
    "pliant/FoldingU-v0": "pliant.envs.shells.folding:FoldingU",
    "pliant/Following-v0": "pliant.envs.shells.pulling:Following",
    "pliant/Forming-v0": "pliant.envs.shells.forming:Forming",
    "pliant/LatteArtStir-v0": "pliant.envs.latte_art_stir:LatteArtStir",
    "pliant/Lifting-v0": "pliant.envs.shells.lifting:Lifting",
    "pliant/PickFolding-v0": "pliant.envs.shells.pick_folding:PickFolding",
    "pliant/Pouring-v0": "pliant.envs.pouring:Pouring",
    "pliant/Separating-v0": "pliant.envs.shells.pulling:Separating",
    "pliant/ShapeDough-v0": "pliant.envs.shape_dough:ShapeDough",
    "pliant/Sliding-v0": "pliant.envs.shells.sliding:Sliding",
    "pliant/Throwing-v0": "pliant.envs.shells.balancing:Throwing",
}
"""Where the class of every task lies, by the task's name."""


def register_all() -> None:
    """Registers the tasks of pliant with Gymnasium; `import pliant` does it."""
    for name, entry in TASKS.items():
        _register(name, entry)


def register_task(name: str, entry: str) -> None:
    """Makes a task of the user known to `make_task`, `gymnasium.make` and `gymnasium.make_vec`.

    Args:
        name: "namespace/Name-v0".
        entry: where its class lies, "module:Class". A string, so that what Gymnasium stores of an environment can be written as JSON.

    Raises:
        ModelError: if the name or the entry is malformed, or the name is taken by another task.
    """
    if not isinstance(entry, str) or not all(part.isidentifier() for part in entry.replace(":", ".").split(".")) or entry.count(":") != 1:
        raise ModelError(f'{entry!r} is no place of a task; it must be a string "module:Class".')
    known = TASKS.get(name)
    if known is None and name in gymnasium.registry:
        raise ModelError(f"Gymnasium already has an environment {name}; choose another name.")
    if known is not None and known != entry:
        raise ModelError(f"{name} is already the task {known}; choose another name, or raise its version.")
    try:
        _register(name, entry)
    except gymnasium.error.Error as error:
        raise ModelError(f"Gymnasium does not take the name {name!r}: {error}") from error
    TASKS[name] = entry


def task_names() -> list[str]:
    """The names of all tasks."""
    return sorted(TASKS)


def make_task(name: str, preset: str = "small", **options: Any) -> Task:
    """The task of that name.

    Args:
        name: as `task_names()` lists it, or "module:Class" of a task that was not registered.
        preset: "small" runs in seconds on two cores, "full" has the published size.
        **options: `seed`, `dtype`, `device`, and fields of the task's settings.

    Raises:
        UnknownNameError: for an unknown task, preset or option.
        ModelError: if the class is not to be found, or an option cannot be.
        DeviceError: for a device that this machine does not offer.
    """
    entry = TASKS.get(name, name)
    module_name, colon, class_name = entry.partition(":")
    if not colon:
        raise UnknownNameError(f"There is no task {name!r}; choose one of {', '.join(task_names())}.")
    from .task import Task  # brings up torch

    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ModelError(f"The module {module_name} of task {name} is not to be found; is it on the Python path?") from error
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise ModelError(f"{entry} is no class of a task; it must derive from pliant.envs.Task.")
    task = kind(preset, **options)
    task.name = name if name in TASKS else next((known for known, place in TASKS.items() if place == entry), class_name)
    return task


def _register(name: str, entry: str) -> None:
    if name in gymnasium.registry:
        return
    gymnasium.register(
        id=name,
        entry_point="pliant.envs.gym_env:TaskEnv",
        vector_entry_point="pliant.envs.vector_env:TaskVectorEnv",
        kwargs={"task": entry},  # not the name: a process that reads the specification may not have registered the task
    )
