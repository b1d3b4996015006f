"""`pliant identify`: parameters from an observed motion."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import OptionError
from ..catalogue import built_task, full_name, task_class
from ..options import AsJson, Device, Out, Overwrite, TaskName, TaskOptions, known, pairs, parsed
from ..results import FINISHED, RUNNING, Result, RunFolder, default_folder
from ..terminal import number, print_json, progress
from .run import files_line

if TYPE_CHECKING:
    from ...envs.identify import Observation, Parameter
    from ...envs.task import Task
    from ...optim.identify import Fit


def identify(
    task: TaskName,
    replay: Annotated[Path, typer.Option(metavar="FOLDER", help="Of the run that was observed: its replay and its actions are read.")],
    parameters: Annotated[
        str, typer.Option(help='What is sought, such as "friction,bending_stiffness". Default: all that the task has.')
    ] = "",
    start: Annotated[
        list[str],
        typer.Option("--start", metavar="NAME=VALUE", help="Where a parameter starts from; may be repeated. Default: the task's."),
    ] = [],  # noqa: B006
    noise: Annotated[float | None, typer.Option(help="Standard deviation of the observed places [m]. Default: estimated.")] = None,
    iterations: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    preset: Annotated[str | None, typer.Option(help="Preset of the task. Default: that of the run, with its options.")] = None,
    set_: TaskOptions = [],  # noqa: B006
    device: Device = "cpu",
    out: Out = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Find parameters of a task from an observed motion, and how certain they are.

    The task is that of the run, with its options; --set changes them. Writes result.json into a folder.
    Exit status: 0 done, 1 the motion tells none of the parameters, 2 wrong usage, 130 interrupted.
    """
    task_class(task)
    from ..observed import observation, recorded

    source = RunFolder(replay)
    seen = recorded(source, task)
    own = seen.settings
    given = own.get("task_options", {}) if preset is None else {}
    dtype = own.get("dtype")
    built = built_task(task, preset or seen.preset, set_, seed=seen.seed, dtype=dtype, device=device, given=given)
    offered = built.identifiable()
    if not offered:
        raise OptionError(f"{task} has no parameters to identify; tasks on thin sheets that are moved by grippers have.")
    names = [known("parameter", name.strip(), offered) for name in parameters.split(",") if name.strip()] or list(offered)
    values = _start(offered, list(dict.fromkeys(names)), start)
    motion = observation(built, seen, source)
    settings: dict[str, Any] = {"replay": str(replay), "start": values, "noise": noise, "iterations": iterations, "dtype": built.dtype_name}
    settings |= {"device": device, "task_options": dataclasses.asdict(built.settings)}
    result = Result("identify", RUNNING, full_name(built, task), built.preset, seen.seed, settings)
    folder = RunFolder(out or default_folder(result.task, "identify", seen.seed))
    folder.claim(result, overwrite=overwrite)
    fit = _fit(built, motion, result, folder)
    result = dataclasses.replace(result, status=FINISHED, metrics=_metrics(fit, offered))
    folder.write(result)
    if json:
        print_json({"folder": str(folder), **result.to_json()})
    else:
        _print(folder, result, fit, offered)
    if not fit.identified.any():
        raise typer.Exit(1)


def _start(offered: dict[str, Parameter], names: list[str], words: list[str]) -> dict[str, float]:
    """Where each of the parameters starts."""
    values = {name: offered[name].value for name in names}
    for name, text in pairs(words).items():
        if name in offered and name not in values:
            raise OptionError(f"{name} has a start but is not sought; add it to --parameters, or fix it with --set.")
        values[known("parameter", name, offered)] = parsed(name, text, 1.0)
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise OptionError(f"{name} starts from {value:g}; its logarithm is sought, so start from a positive number: --start {name}=...")
    return values


def _fit(task: Task, motion: Observation, result: Result, folder: RunFolder) -> Fit:
    """The search behind a progress bar; once the first simulation has gone well, the folder says what is running in it."""
    from ...envs.identify import residuals
    from ...optim.identify import identify

    start, iterations = result.settings["start"], result.settings["iterations"]
    with progress(f"{result.task} identify") as report:

        def on_iteration(done: int, misfit: float, values: Any) -> None:
            if done == 0:
                folder.write(result)
            found = ", ".join(f"{name} {number(float(value))}" for name, value in zip(start, values, strict=True))
            report(done / iterations, f"{done}/{iterations}, misfit {number(misfit)}, {found}")

        remaining = residuals(task, motion, list(start))
        return identify(remaining, start, noise=result.settings["noise"], iterations=iterations, on_iteration=on_iteration)


def _metrics(fit: Fit, offered: dict[str, Parameter]) -> dict[str, Any]:
    rows = zip(fit.names, fit.start, fit.found, fit.deviation, fit.relative, fit.notes, strict=True)
    parameters = {
        name: {"unit": offered[name].unit, "start": start, "found": found, "deviation": deviation, "relative": relative, "note": note}
        for name, start, found, deviation, relative, note in rows
    }
    counts = ("noise", "start_misfit", "misfit", "observations", "iterations", "simulations", "failures", "seconds", "converged")
    return {"parameters": parameters, "correlation": fit.correlation, **{name: getattr(fit, name) for name in counts}}


def _print(folder: RunFolder, result: Result, fit: Fit, offered: dict[str, Parameter]) -> None:
    rows = [["parameter", "unit", "start", "found", "+-", "relative", ""]]
    for name, entry in result.metrics["parameters"].items():
        figures = [number(float(entry[key])) for key in ("start", "found", "deviation")]
        share = "-" if math.isnan(entry["relative"]) else f"{100 * entry['relative']:.2g} %"
        rows.append([name, offered[name].unit or "1", *figures, share, entry["note"]])
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for row in rows:
        typer.echo("  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[6]]).rstrip())
    for i, name in enumerate(fit.names):
        for j in range(i):
            if abs(fit.correlation[i, j]) > 0.9:
                typer.echo(f"{fit.names[j]} and {name} are correlated by {fit.correlation[i, j]:.3f}.")
    ended = "converged" if fit.converged else "not converged; ask for more --iterations"
    typer.echo(
        f"misfit   start {number(fit.start_misfit)}, end {number(fit.misfit)} m^2; noise {number(fit.noise)} m, {fit.observations} numbers"
    )
    failed = f" ({fit.failures} failed)" if fit.failures else ""
    typer.echo(f"time     {fit.seconds:.1f} s, {fit.iterations} iterations, {fit.simulations} simulations{failed}, {ended}")
    typer.echo(files_line(folder, result, None))
