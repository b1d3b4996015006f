"""Pictures on disk: GIF, MP4, PNG and loss plots, each written whole or not at all."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError, MissingExtraError, ShapeError
from ..storage import write_whole

PALETTE_FRAMES = 16
"""Frames that a GIF's palette is chosen from; one palette for all keeps still things still."""


def write_png(path: str | Path, frame: np.ndarray) -> None:
    """Writes one picture, uint8 [H, W, 3].

    Raises:
        ShapeError: if it is no such array.
        FileFormatError: if the folder cannot be written or is full.
    """
    from PIL import Image

    image = Image.fromarray(_frames(np.asarray(frame)[None])[0])
    write_whole(path, lambda file: image.save(file, format="PNG"))


def write_gif(path: str | Path, frames: np.ndarray, fps: float) -> None:
    """Writes an endless animation of frames, uint8 [T, H, W, 3]. The format counts in hundredths of a second: at most 50 frames/s.

    Raises:
        ShapeError: if they are no such array, or `fps` is not positive.
        FileFormatError: if the folder cannot be written or is full.
    """
    from PIL import Image

    frames = _frames(frames)
    _positive(fps)
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, PALETTE_FRAMES).round().astype(int))]
    palette = Image.fromarray(np.concatenate(list(chosen))).quantize(256, method=Image.Quantize.MEDIANCUT)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
    # Ticks are rounded one by one, so that the whole film lasts as long as it should.
    ticks = np.diff(np.round(np.arange(len(frames) + 1) * 100.0 / fps)).astype(int).clip(min=2)
    buffer = io.BytesIO()
    images[0].save(
        buffer, format="GIF", save_all=True, append_images=images[1:], duration=[int(tick) * 10 for tick in ticks], loop=0, disposal=1
    )
    write_whole(path, lambda file: file.write(buffer.getvalue()))


def write_mp4(path: str | Path, frames: np.ndarray, fps: float) -> None:
    """Writes an H.264 film of frames, uint8 [T, H, W, 3]; an odd width or height gains one pixel, which the codec wants.

    Raises:
        ShapeError: if they are no such array, or `fps` is not positive.
        FileFormatError: if the folder cannot be written or is full.
        MissingExtraError: if there is no ffmpeg for this machine.
    """
    import imageio_ffmpeg

    frames = _frames(frames)
    _positive(fps)
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    try:
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise MissingExtraError("MP4 needs ffmpeg, and imageio-ffmpeg has none for this machine; write a .gif instead.") from error
    source = f"-f rawvideo -pix_fmt rgb24 -s {frames.shape[2]}x{frames.shape[1]} -r {fps} -i -"
    target = "-c:v libx264 -pix_fmt yuv420p -crf 18 -movflags +faststart"
    try:
        with tempfile.TemporaryDirectory() as folder:
            film = Path(folder) / "film.mp4"
            command = [ffmpeg, "-v", "error", *source.split(), *target.split(), str(film)]
            # imageio-ffmpeg's own writer takes no notice when ffmpeg fails, and leaves half a film.
            done = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=False)
            if done.returncode:
                reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"status {done.returncode}"]
                raise FileFormatError(f"Cannot write {path}: ffmpeg failed, perhaps for want of space in {folder} ({reason[0]}).")
            with film.open("rb") as whole:
                write_whole(path, lambda file: shutil.copyfileobj(whole, file))
    except OSError as error:
        raise FileFormatError(f"Cannot write {path}: {error.strerror or error}.") from error


def plot_loss(path: str | Path, histories: Mapping[str, Any], title: str = "", over: str = "iteration") -> None:
    """Plots losses over iterations as a PNG, with a logarithmic axis where all are positive.

    Args:
        path: the file.
        histories: by name, either losses [n], or a mapping with `loss` [n] and, if wanted, `iteration` [n] and `best` [n]; where there is a
            `best`, it is drawn in full and the loss faintly. What is not finite leaves a gap.
        title: above the plot.
        over: what `iteration` counts.

    Raises:
        ShapeError: if an array has not one axis, or the lengths differ.
        FileFormatError: if the folder cannot be written or is full.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves = {name: _curve(name, history) for name, history in histories.items()}
    figure = Figure(figsize=(6.4, 4.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel=over, ylabel="loss", title=title)
    for k, (name, (iteration, loss, best)) in enumerate(curves.items()):
        color = f"C{k}"
        few = "o" if len(loss) == 1 else None
        if best is None:
            axes.plot(iteration, loss, color=color, marker=few, label=name)
        else:
            axes.plot(iteration, loss, color=color, alpha=0.35, linewidth=1.0)
            axes.plot(iteration, best, color=color, marker=few, label=name)
    values = np.concatenate([np.zeros(0), *(np.append(loss, [] if best is None else best) for _, loss, best in curves.values())])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0.0:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if curves:
        axes.legend(frameon=False)
    write_whole(path, lambda file: figure.savefig(file, format="png"))


def _frames(frames: Any) -> np.ndarray:
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise ShapeError(f"Frames must be uint8 [T, H, W, 3]; these are {frames.dtype} {list(frames.shape)}.")
    if not frames.size:
        raise ShapeError("There is no frame to write; render at least one.")
    return frames


def _positive(fps: float) -> None:
    if not 0.0 < fps < float("inf"):
        raise ShapeError(f"fps is {fps}; it must be a positive number of frames a second.")


def _curve(name: str, history: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Iteration, loss, and best or None, each [n]; infinities become NaN, which a plot leaves out."""
    parts = history if isinstance(history, Mapping) else {"loss": history}
    if "loss" not in parts:
        raise ShapeError(f"History {name!r} has no 'loss'; it has {', '.join(parts) or 'nothing'}.")
    arrays = {key: np.asarray(parts[key], dtype=np.float64) for key in ("iteration", "loss", "best") if key in parts}
    count = len(arrays["loss"]) if arrays["loss"].ndim else 0
    for key, array in arrays.items():
        if array.shape != (count,):
            raise ShapeError(f"History {name!r}: {key} has shape {list(array.shape)}; loss, iteration and best must be [n] alike.")
    finite = {key: np.where(np.isfinite(array), array, np.nan) for key, array in arrays.items()}
    return finite.get("iteration", np.arange(count, dtype=np.float64)), finite["loss"], finite.get("best")
