"""The motion in the folder of a run, as something to identify parameters from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..envs.identify import Observation, check_start
from ..errors import FileFormatError, OptionError
from ..sim.core import Outcome
from .play import frame_steps
from .results import Result, RunFolder, load_actions

if TYPE_CHECKING:
    from ..envs.task import Task


def recorded(folder: RunFolder, task: str) -> Result:
    """What the folder says of its run, which must be one of that task.

    Raises:
        FileFormatError: if there is no run, or no replay of it.
        OptionError: if it is of another task.
    """
    result = folder.read()
    if result.task != task:
        raise OptionError(f"{folder} holds a motion of {result.task}, not of {task}; name that task, or give another --replay.")
    missing = [name for name in ("replay.npz", "actions.npz") if not (folder.path / name).exists()]
    if missing:
        raise FileFormatError(f"{folder} holds no {' and no '.join(missing)}; give the folder of a finished run or optimize.")
    return result


def observation(task: Task, result: Result, folder: RunFolder) -> Observation:
    """Where the markers of the task were in the frames of the replay but the first, which is the start.

    Raises:
        FileFormatError: if a file is damaged, or not of this task.
        OptionError: if an environment failed, or the task has another horizon or time step than the run.
        ShapeError: if it has another mesh.
    """
    actions = torch.as_tensor(load_actions(folder.path, result.task, int(task.action_space.shape[0])), dtype=task.dtype)
    replay = folder.load_replay(type(task.initial_state(1, task.seed)))
    steps = int(actions.shape[1])
    if steps != task.horizon:
        raise OptionError(f"{folder} holds {steps} steps, the task has {task.horizon}; use --set horizon={steps}, or leave it out.")
    due = frame_steps(steps)
    every = replay.dt / (task.dt * steps / (len(due) - 1))
    seen = due[:: max(1, round(every))]
    if abs(every - round(every)) > 1e-6 or len(seen) != len(replay) or len(seen) < 2:
        raise OptionError(
            f"{folder} holds frames {replay.dt:g} s apart, which do not fit dt = {task.dt:g} s of the task; leave --set dt out."
        )
    if len(actions) < replay.batch:
        raise FileFormatError(f"{folder} is damaged: it has {replay.batch} environments in its replay, and {len(actions)} in its actions.")
    for number, status in enumerate(replay.tensors["status"].amax(1).tolist()):
        if status != Outcome.OK:
            raise OptionError(f"Environment {number} of {folder} ended as {Outcome(status).name}; identify from a run whose outcome is OK.")
    start = replay[0].map(lambda tensor: tensor.to(task.device))
    check_start(task, start)
    places = torch.stack([task.markers(replay[frame]) for frame in range(1, len(replay))], 1)
    return Observation(start, actions[: replay.batch].to(task.device), seen[1:], places.to(task.device))
