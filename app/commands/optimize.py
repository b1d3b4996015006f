"""`pliant optimize`: the main job."""

from __future__ import annotations

import dataclasses
import math
import shlex
import tempfile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import FileFormatError
from ..catalogue import built_task, full_name, task_class
from ..options import AsJson, Device, Dtype, NoVideo, Out, Overwrite, Preset, Seed, TaskName, TaskOptions, known, literal, pairs
from ..results import FINISHED, INTERRUPTED, RUNNING, Result, RunFolder, default_folder
from ..terminal import number, print_json, progress, say
from .run import files_line, rollout_seen

if TYPE_CHECKING:
    from ...envs.task import Task
    from ...optim.trajectory import OptimizeResult, Progress

ITERATIONS = 50
"""Of Adam, where neither the user nor the task says how many; other methods may cost as much."""

METHODS_HELP = (
    "adam (gradients through the simulator), cma (CMA-ES, without gradients), mppi (path integral, without gradients), "
    "or hybrid (CMA-ES proposes, Adam refines)."
)


def optimize(
    context: typer.Context,
    task: TaskName,
    method: Annotated[str, typer.Option(help=METHODS_HELP)] = "adam",
    iterations: Annotated[
        int | None,
        typer.Option(min=0, help="Updates in all, those before a --resume included. Default: the task's, or by the other budgets."),
    ] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds in all, those before a --resume included.")] = None,
    simulations: Annotated[
        float | None, typer.Option(help="Simulations in all, those before a --resume included; a gradient counts as several.")
    ] = None,
    knots: Annotated[
        int | None,
        typer.Option(help="Knots that span the action sequence. Default: the task's; or one a step, cma and mppi 4 to 16."),
    ] = None,
    interpolation: Annotated[str, typer.Option(help="Between the knots: linear or bspline; or constant segments.")] = "linear",
    learning_rate: Annotated[float | None, typer.Option(help="First step of adam and hybrid, in units of the action range.")] = None,
    expand_from: Annotated[
        float, typer.Option(help="Share of the horizon whose loss is pursued at first; it grows as the loss stalls. 1: all of it.")
    ] = 1.0,
    expand_by: Annotated[float, typer.Option(help="Share of the horizon by which it grows.")] = 0.1,
    expand_after: Annotated[int, typer.Option(help="Iterations with less than 1 % of progress after which it grows.")] = 3,
    soft_contact: Annotated[
        float | None, typer.Option(help="Cells from which tools act at first. The best is judged with the contact of the task.")
    ] = None,
    soft_iterations: Annotated[int, typer.Option(help="Iterations in which that falls to the task's own.")] = 20,
    option: Annotated[list[str], typer.Option("--option", metavar="NAME=VALUE", help="An option of the method, such as sigma=0.3.")] = [],  # noqa: B006
    preset: Preset = "small",
    seed: Seed = 0,
    set_: TaskOptions = [],  # noqa: B006
    dtype: Dtype = None,
    device: Device = "cpu",
    out: Out = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder; give the same options as then.")] = False,
    overwrite: Overwrite = False,
    no_video: NoVideo = False,
    json: AsJson = False,
) -> None:
    """Optimise the actions of a task: the main job.

    Writes the best actions, their replay and video, the loss curve and result.json into a folder.
    Ctrl-C keeps the best result and writes the whole folder; --resume goes on from there, to the same bits.
    Exit status: 0 done, 1 no action sequence could be simulated, 2 wrong usage or a file that could not be written, 130 interrupted.
    """
    task_class(task)
    from ...optim.trajectory import METHODS, Easing

    known("method", method, METHODS)
    easing: dict[str, Any] = {"expand_from": expand_from, "expand_by": expand_by, "expand_after": expand_after}
    easing |= {"soften": soft_contact, "soften_over": soft_iterations}
    Easing(**easing)  # a number that makes no sense is told before anything is built
    options = {name: literal(value) for name, value in pairs(option).items()}
    if learning_rate is not None:
        options["learning_rate"] = learning_rate
    built = built_task(task, preset, set_, seed=seed, dtype=dtype, device=device)
    if iterations is None and time_limit is None and simulations is None:
        iterations, simulations = default_budget(built, method)
    settings: dict[str, Any] = {
        "method": method,
        "iterations": iterations,
        "time_limit": time_limit,
        "simulations": simulations,
        "knots": built.knots if knots is None else knots,
        "interpolation": interpolation,
        **easing,
    }
    settings |= {"method_options": options, "dtype": built.dtype_name, "device": device, "video": not no_video}
    settings["task_options"] = dataclasses.asdict(built.settings)
    result = Result("optimize", RUNNING, full_name(built, task), preset, seed, settings)
    folder = RunFolder(out or default_folder(result.task, method, seed))
    folder.claim(result, resume=resume, overwrite=overwrite)
    found = _search(built, result, folder, resume)
    status = _conclude(built, result, folder, found, drawn=not no_video, json=json)
    if found.interrupted:
        words = [word for word in context.obj.words if word not in ("--resume", "--overwrite")]
        kept = "the best so far is kept" if math.isfinite(found.loss) else "nothing was evaluated yet"
        say(f"Interrupted; {kept}. Go on with:  {shlex.join(['pliant', *words, '--resume'])}")
    if status:
        raise typer.Exit(status)


def default_budget(task: Task, method: str) -> tuple[int | None, float | None]:
    """Iterations of Adam, or simulations of another method, where nobody says how many: those of the task, or as many as `ITERATIONS` cost."""
    iterations = int(getattr(task, "iterations", ITERATIONS))
    return (iterations, None) if method == "adam" else (None, task.gradient_cost * iterations)


def _search(task: Task, result: Result, folder: RunFolder, resume: bool) -> OptimizeResult:
    """Runs the optimizer behind a progress bar; from the first iteration on the folder says what is running in it."""
    import warnings

    from ...envs.objective import task_objective
    from ...optim.trajectory import Easing, optimize

    settings = result.settings
    iterations, time_limit, simulations = (settings[name] for name in ("iterations", "time_limit", "simulations"))
    initial = task.initial_actions()
    begun = False
    with warnings.catch_warnings(), progress(f"{result.task} {settings['method']}") as report:
        warnings.showwarning = lambda message, *_, **__: say(f"Warning: {message}")

        def on_iteration(done: Progress) -> None:
            nonlocal begun
            if not begun:
                _mark(folder, result)
                begun = True
            spent = ((done.iteration, iterations), (done.seconds, time_limit), (done.simulations, simulations))
            of = f"/{iterations}" if iterations else ""
            of += f", {done.horizon} of {task.horizon} steps" if done.horizon < task.horizon else ""
            report(
                max(part / budget if budget else 0.0 for part, budget in spent),
                f"{done.iteration}{of}, loss {number(done.loss)}, best {number(done.best)}",
            )

        found = optimize(
            task_objective(task),
            settings["method"],
            iterations=iterations,
            time_limit=time_limit,
            simulations=simulations,
            initial=initial if initial.any() else None,  # without, the optimizer starts with a little noise
            seed=result.seed,
            knots=settings["knots"],
            interpolation=settings["interpolation"],
            easing=Easing(**{field.name: settings[field.name] for field in dataclasses.fields(Easing) if field.name in settings}),
            folder=folder.path,
            resume=resume,
            on_iteration=on_iteration,
            **settings["method_options"],
        )
    if not begun and not found.interrupted:
        say(f"The run already has its {found.iterations} iterations; ask for more with --iterations, --time-limit or --simulations.")
    return found


def _mark(folder: RunFolder, result: Result) -> None:
    """Says in the folder what runs in it; a full disk is no reason to stop here."""
    try:
        folder.write(result)
    except FileFormatError as error:
        say(f"Warning: {error}")


def _conclude(task: Task, result: Result, folder: RunFolder, found: OptimizeResult, *, drawn: bool, json: bool) -> int:
    """Writes the folder, the precious files first, prints what came of the run, and returns the exit status."""
    from ..leave import write_rest

    result = dataclasses.replace(result, status=INTERRUPTED if found.interrupted else FINISHED, metrics=_metrics(found))
    folder, status = _keep(folder, result, found)
    result, film = dataclasses.replace(result, files=["actions.npz"]), None
    if math.isfinite(found.loss):
        if found.interrupted:
            say("Stopping; the results are being written. Ctrl-C once more leaves out the video.")
        try:
            played, film = rollout_seen(task, found.actions[None], result.seed, drawn=drawn, title="best actions")
            result = dataclasses.replace(result, metrics={**result.metrics, **played.metrics}, outcomes=played.outcomes)
        except KeyboardInterrupt:
            say("The video and the replay are left out.")
            status = status or 130
    result, whole = write_rest(folder, result, film, found.history)
    if json:
        print_json({"folder": str(folder), **result.to_json()})
    else:
        _print(folder, result, film)
    if found.interrupted or status:
        return status or 130
    if not math.isfinite(found.loss):
        say("No action sequence could be simulated; see skipped above. Try a smaller learning rate, or other options of the task.")
        return 1
    return 0 if whole else 2


def _metrics(found: OptimizeResult) -> dict[str, Any]:
    history = found.history
    start = float(history["loss"][0]) if len(history["loss"]) else math.inf
    last = {
        name: history[name][-1].item() if len(history[name]) else 0
        for name in ("seconds", "evaluations", "simulations", "skipped", "clipped")
    }
    ratio = found.loss / start if math.isfinite(start) and start > 0 else math.nan
    losses = {"start_loss": start, "best_loss": found.loss, "ratio": ratio}
    return {**losses, "iterations": found.iterations, "converged": found.converged, **last}


def _keep(folder: RunFolder, result: Result, found: OptimizeResult) -> tuple[RunFolder, int]:
    """Writes the best actions and what is known of them, to a temporary folder if this one is full; returns where, and the exit status."""
    status = 0
    try:
        folder.write_actions(result.task, found.actions)
    except FileFormatError as error:
        folder, status = RunFolder(tempfile.mkdtemp(prefix="pliant-")), 2
        say(f"{error}\nThe results go to {folder} instead; move them to where there is room.")
        folder.write_actions(result.task, found.actions)
    folder.write(result)
    return folder, status


def _print(folder: RunFolder, result: Result, film: Any) -> None:
    settings, metrics = result.settings, dict(result.metrics)
    start, best, ratio = (number(metrics.pop(name)) for name in ("start_loss", "best_loss", "ratio"))
    counts = [f"{metrics.pop(name):.12g} {name}" for name in ("iterations", "evaluations", "simulations", "skipped")]
    clipped = metrics.pop("clipped")
    counts += [f"{clipped} gradients clipped"] if clipped else []
    seconds, converged = metrics.pop("seconds"), metrics.pop("converged")
    typer.echo(f"{result.task}, {settings['method']}, preset {result.preset}, seed {result.seed}: {result.status}")
    typer.echo(f"loss     start {start}, best {best}, ratio {ratio}")
    typer.echo(f"time     {seconds:.1f} s, {', '.join(counts)}{', converged' if converged else ''}")
    if metrics:
        typer.echo(f"metrics  {', '.join(f'{name} {number(value)}' for name, value in metrics.items())}")
    typer.echo(files_line(folder, result, film))
