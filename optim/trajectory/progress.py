"""What a run has done so far: its history, its best, and the file that it can go on from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FileFormatError
from ...storage import load_arrays, save_arrays

KIND = "trajectory optimisation"
FILE = "progress.npz"


@dataclass(frozen=True)
class Progress:
    """One line of the history; counts and seconds are sums since the start of the first run.

    Args:
        iteration: 0 for the initial actions.
        loss: the loss of the best knots of this iteration, always of the true objective; inf if there are none, or they fail under it.
        best: the least of these so far; inf if there is none.
        pursued: the loss of these knots that the method worked on; another than `loss` where `Easing` makes the objective easier.
        horizon: the steps whose loss that was.
        softening: what was left of the additional softness, from 1 to 0.
        seconds: wall time [s].
        evaluations: sequences evaluated.
        simulations: what they cost, in simulations of the whole horizon: a loss 1, a loss with its gradient the objective's `gradient_cost`,
            of a horizon that `Easing` cut short a share.
        skipped: those of them that failed or were not finite.
        clipped: gradients that were shortened because the user asked for it.
        gradient_norm: norm of the gradient before clipping, in loss per action range; NaN where there is none.
    """

    iteration: int
    loss: float
    best: float
    pursued: float
    horizon: int
    softening: float
    seconds: float
    evaluations: int
    simulations: float
    skipped: int
    clipped: int
    gradient_norm: float


COLUMNS = tuple(field.name for field in fields(Progress))
COUNTS = ("iteration", "horizon", "evaluations", "skipped", "clipped")


@dataclass(frozen=True)
class Snapshot:
    """A run between two iterations. It is exchanged as a whole, so that an interruption finds either the old or the new one.

    Args:
        lines: the history.
        actions: the best actions `[T, A]`, or the initial ones while nothing was good.
        state: what the method needs to go on.
    """

    lines: tuple[Progress, ...]
    actions: np.ndarray
    state: Mapping[str, np.ndarray]

    @property
    def last(self) -> Progress:
        """The newest line; before the first iteration one in which nothing has happened."""
        return self.lines[-1] if self.lines else Progress(-1, math.inf, math.inf, math.inf, 0, 0.0, 0.0, 0, 0.0, 0, 0, math.nan)

    def history(self) -> dict[str, np.ndarray]:
        """The history by columns, each `[number of lines]`."""
        kinds = {name: np.int64 if name in COUNTS else np.float64 for name in COLUMNS}
        return {name: np.array([getattr(line, name) for line in self.lines], dtype=kind) for name, kind in kinds.items()}


def save_progress(folder: Path, settings: Mapping[str, Any], initial: np.ndarray, snapshot: Snapshot) -> None:
    """Writes `progress.npz`; what was there is replaced once the new file is whole.

    Raises:
        FileFormatError: if it cannot be written.
    """
    arrays = {"settings": np.array(json.dumps(settings)), "initial": initial, "actions": snapshot.actions}
    arrays |= {f"history_{name}": column for name, column in snapshot.history().items()}
    save_arrays(folder / FILE, KIND, arrays | {f"state_{name}": array for name, array in snapshot.state.items()})


def load_progress(folder: Path, actions: np.ndarray) -> tuple[dict[str, Any], np.ndarray, Snapshot]:
    """Reads `progress.npz`: the settings, the initial actions, and the snapshot.

    Args:
        folder: where it lies.
        actions: an array of the shape and dtype that the actions must have.

    Raises:
        FileFormatError: if there is none, or it is damaged, foreign, or of another objective.
    """
    path = folder / FILE
    older = [f"history_{name}" for name in COLUMNS if name != "simulations"]
    arrays = load_arrays(path, KIND, ("settings", "initial", "actions", *older))
    if "history_simulations" not in arrays:
        raise FileFormatError(f"{path} is of an older version, which did not count simulations; start anew without resume.")
    try:
        settings = json.loads(str(arrays["settings"]))
        columns = [arrays[f"history_{name}"].tolist() for name in COLUMNS]
        lines = tuple(Progress(*row) for row in zip(*columns, strict=True))
        if not isinstance(settings, dict) or [line.iteration for line in lines] != list(range(len(lines))):
            raise ValueError("its history has gaps")
    except (ValueError, TypeError) as error:
        raise FileFormatError(f"{path} is damaged: {error}") from error
    if arrays["initial"].shape != actions.shape or arrays["actions"].shape != actions.shape:
        raise FileFormatError(f"{path} holds actions of shape {arrays['actions'].shape}; the objective wants {actions.shape}.")
    state = {name.removeprefix("state_"): array for name, array in arrays.items() if name.startswith("state_")}
    return settings, arrays["initial"].astype(np.float64), Snapshot(lines, arrays["actions"].astype(actions.dtype), state)


def check_settings(folder: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Compares the settings of a stored run with those of the run that wants to go on from it.

    Raises:
        FileFormatError: naming the first setting that differs.
    """
    for name in {**wanted, **stored}:
        if name not in stored or name not in wanted or stored[name] != wanted[name]:
            raise FileFormatError(
                f"{folder / FILE} belongs to a run with {name} = {stored.get(name)}, not {wanted.get(name)}; "
                f"ask for the same, or start anew without resume."
            )


def set_aside(folder: Path) -> None:
    """Renames the progress file of an earlier run, if there is one, to `progress.previous.npz`.

    Raises:
        FileFormatError: if the folder cannot be written.
    """
    path = folder / FILE
    try:
        if path.exists():
            os.replace(path, path.with_name("progress.previous.npz"))
    except OSError as error:
        raise FileFormatError(f"Cannot write in {folder}: {error.strerror or error}.") from error
