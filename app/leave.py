"""The last part of a run: its pictures and its replay, of which one that cannot be written spoils none of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import PliantError
from .results import FILES, Result, RunFolder
from .terminal import say
from .video import plot_loss, write_gif, write_mp4

if TYPE_CHECKING:
    from .play import Film


def write_rest(folder: RunFolder, result: Result, film: Film | None, history: Mapping[str, np.ndarray] | None) -> tuple[Result, bool]:
    """Writes loss plot, video and replay, then `result.json`, and removes what an earlier run left of them.

    Args:
        folder: where to.
        result: whose `files` are already there.
        film: what was seen; None where nothing was played.
        history: arrays `iteration`, `loss`, `best`, to be plotted; None where nothing was optimised.

    Returns:
        The result as it was written, and whether everything could be.
    """
    writers: dict[str, Callable[[Any], None]] = {}
    if history is not None and len(history["loss"]):
        writers["loss.png"] = lambda path: plot_loss(path, {result.settings.get("method", "loss"): history}, result.task)
    if film is not None:
        if film.trouble:
            say(f"There is no video: {film.trouble}")
        elif film.drawn:
            writers["video.mp4"] = lambda path: write_mp4(path, film.frames, film.fps)
            writers["video.gif"] = lambda path: write_gif(path, film.frames, film.fps)
        writers["replay.npz"] = lambda path: film.replay.save(path)
    files, whole = list(result.files), True
    for name, write in writers.items():
        try:
            write(folder.path / name)
            files.append(name)
        except PliantError as error:
            say(f"Warning: {error}")
            whole = False
    for name in set(FILES) - set(files):
        (folder.path / name).unlink(missing_ok=True)
    result = replace(result, files=files)
    folder.write(result)
    return result, whole
