"""Result folders: what a run leaves behind, each file written whole or not at all, and read with suspicion."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FileFormatError, OptionError
from ..storage import load_arrays, save_arrays, write_whole
from .terminal import home, jsonable

if TYPE_CHECKING:
    from torch import Tensor

    from ..sim.core import StateT
    from ..sim.rollout import Trajectory

FORMAT = "pliant result"
SCHEMA = 1
"""Raised whenever a reader of an older version would misread `result.json`."""

RUNNING, FINISHED, INTERRUPTED = "running", "finished", "interrupted"
FILES = ("actions.npz", "replay.npz", "loss.png", "video.mp4", "video.gif")
"""What a folder may hold beside `result.json`, and `progress.npz` where something was optimised."""
ACTIONS = "action sequences"


@dataclass(frozen=True)
class Result:
    """What `result.json` says.

    Args:
        verb: of the command line: run, optimize, identify.
        status: running (from its first iteration), finished, interrupted; a run that was killed stays running.
        task: name of the task, or "module:Class".
        preset: of the task.
        seed: of the initial states and of all random numbers.
        settings: what else the run was asked for; `task_options` are all options of the task, not only those that were changed.
        metrics: what came of it: numbers, or lists with one number for each environment.
        outcomes: the name of the `Outcome` of every environment.
        files: names of the files beside `result.json` that belong to it.
        versions: of what it ran on.
    """

    verb: str
    status: str
    task: str
    preset: str
    seed: int
    settings: dict[str, Any]
    metrics: dict[str, Any] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=lambda: versions())

    def to_json(self) -> dict[str, Any]:
        """With format and schema, in JSON's own types; numbers that are not finite become null."""
        return {"format": FORMAT, "schema": SCHEMA, **jsonable(dataclasses.asdict(self))}


class RunFolder:
    """A folder with the results of one run.

    Args:
        path: where it lies; it is made when the first file is written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return home(self.path)

    def read(self) -> Result:
        """What `result.json` says.

        Raises:
            FileFormatError: if it is missing, damaged, foreign or of a newer version.
        """
        path = self.path / "result.json"
        try:
            data = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise FileFormatError(f"There is no run in {self}: it has no result.json.") from error
        except OSError as error:
            raise FileFormatError(f"Cannot read {home(path)}: {error.strerror or error}.") from error
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{home(path)} is damaged or no JSON: {error}.") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise FileFormatError(f"{home(path)} was not written by pliant.")
        if not isinstance(data.get("schema"), int) or data["schema"] > SCHEMA:
            raise FileFormatError(f"{home(path)} has schema {data.get('schema')}; this version reads up to {SCHEMA}. Update pliant.")
        kinds = {"seed": int, "settings": dict, "metrics": dict, "outcomes": list, "files": list, "versions": dict}
        names = [entry.name for entry in dataclasses.fields(Result)]
        for name in names:
            if not isinstance(data.get(name), kinds.get(name, str)):
                raise FileFormatError(f"{home(path)} is damaged: its {name} is {data.get(name)!r}.")
        return Result(**{name: data[name] for name in names})

    def write(self, result: Result) -> None:
        """Writes `result.json`.

        Raises:
            FileFormatError: if the folder cannot be written or is full.
        """
        text = json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n"
        write_whole(self.path / "result.json", lambda file: file.write(text.encode()))

    def claim(self, wanted: Result, *, resume: bool = False, overwrite: bool = False) -> None:
        """Makes sure that `wanted` may be written here, without changing anything.

        A finished run is replaced by the same run; by another one, or over an unfinished one, only if `overwrite` says so.

        Raises:
            OptionError: if the folder belongs to something else; the message says what to do.
            FileFormatError: if what lies there is damaged or foreign, or there is nothing to resume.
        """
        if overwrite and not resume:
            return
        if not self._occupied():
            if resume:
                raise FileFormatError(f"There is no run in {self} to go on from; start it without --resume.")
            return
        try:
            found = self.read()
        except FileFormatError as error:
            way = "Give the folder of a run to go on from." if resume else "Give another --out, or --overwrite."
            raise FileFormatError(f"{error} {way}") from error
        different = _difference(identity(found), identity(wanted))
        if different:
            name, old, new = different
            way = "ask for the same as then" if resume else "give another --out, or --overwrite"
            raise OptionError(f"{self} holds a run with {name} = {old}, not {new}; {way}.")
        begun = found.status == RUNNING or found.metrics.get("evaluations")
        if not resume and found.status != FINISHED and begun and (self.path / "progress.npz").exists():
            raise OptionError(f"{self} holds an unfinished run; go on with --resume, or start anew with --overwrite.")

    def _occupied(self) -> bool:
        """Whether the folder is there and holds more than the progress of a run that ended before its first iteration."""
        try:
            return bool(set(os.listdir(self.path)) - {"progress.npz", "progress.previous.npz"})
        except FileNotFoundError:
            return False
        except OSError as error:
            raise FileFormatError(f"Cannot use {self} as a folder: {error.strerror or error}. Give another --out.") from error

    def write_actions(self, task: str, actions: Tensor) -> None:
        """Writes action sequences `[N, T, A]` or one `[T, A]` to `actions.npz`.

        Raises:
            FileFormatError: if the folder cannot be written or is full.
        """
        values = actions.detach().cpu().numpy()
        save_arrays(self.path / "actions.npz", ACTIONS, {"actions": values.reshape(-1, *values.shape[-2:]), "task": np.array(task)})

    def load_replay(self, kind: type[StateT]) -> Trajectory[StateT]:
        """The trajectory of states of class `kind` in `replay.npz`.

        Raises:
            FileFormatError: if it is missing, damaged, foreign, or of another class of states.
        """
        from ..sim.rollout import Trajectory

        return Trajectory.load(self.path / "replay.npz", kind)


def default_folder(task: str, label: str, seed: int) -> Path:
    """Where the results go if nobody says: `runs/<task>-<label>-<seed>`."""
    return Path("runs") / f"{re.split('[/:]', task)[-1]}-{label}-{seed}"


def load_actions(path: str | Path, task: str, components: int) -> np.ndarray:
    """The action sequences `[N, T, A]` of an `actions.npz`, or of the one in a run's folder.

    Args:
        path: the file or the folder.
        task: whose actions they must be.
        components: the number A of its actions.

    Raises:
        FileFormatError: if the file is missing, damaged, foreign, or of another task.
    """
    path = Path(path)
    path = path / "actions.npz" if path.is_dir() else path
    arrays = load_arrays(path, ACTIONS, ("actions", "task"))
    actions = arrays["actions"]
    if actions.dtype.kind != "f" or actions.ndim != 3 or 0 in actions.shape:
        raise FileFormatError(f"{home(path)} is damaged: its actions are {actions.dtype} of shape {actions.shape}.")
    if str(arrays["task"]) != task:
        raise FileFormatError(f"{home(path)} holds actions of {arrays['task']}, not of {task}.")
    if actions.shape[2] != components:
        raise FileFormatError(f"{home(path)} holds actions of {actions.shape[2]} components; {task} wants {components}.")
    if not (np.abs(actions) <= 1).all():  # a NaN is not within either
        raise FileFormatError(f"{home(path)} is damaged: it holds actions that are not within -1 and 1.")
    return actions


def identity(result: Result) -> dict[str, Any]:
    """What must be equal for two runs to be the same run: all but how long it may go on, and what is drawn of it."""
    budget = ("iterations", "time_limit", "simulations", "video")
    settings = {name: value for name, value in result.settings.items() if name not in (*budget, "task_options")}
    flat = {"verb": result.verb, "task": result.task, "preset": result.preset, "seed": result.seed, **settings}
    return jsonable({**flat, **result.settings.get("task_options", {})})


def versions() -> dict[str, str]:
    """Of pliant, Python, the packages that numbers depend on, and the machine."""
    from .. import __version__

    found = {"pliant": __version__, "python": platform.python_version()}
    for package in ("torch", "taichi", "numpy", "scipy", "cma", "gymnasium"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return {**found, "platform": platform.platform(), "cores": str(os.cpu_count())}


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first setting that differs, with both values."""
    for name in {**new, **old}:
        if old.get(name) != new.get(name):
            return name, old.get(name), new.get(name)
    return None
