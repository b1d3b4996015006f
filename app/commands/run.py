"""`pliant run`: rolls out a policy."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..catalogue import built_task, full_name
from ..options import AsJson, Device, Dtype, NoVideo, Out, Overwrite, Preset, Seed, TaskName, TaskOptions, known
from ..results import FINISHED, RUNNING, Result, RunFolder, default_folder, load_actions
from ..terminal import number, print_json, progress

if TYPE_CHECKING:
    from torch import Tensor

    from ...envs.task import Task
    from ..play import Film, Played

POLICIES = ("random", "zero")


def run(
    task: TaskName,
    policy: Annotated[str, typer.Option(help='random, zero, or an actions.npz that "pliant optimize" wrote (or its folder).')] = "random",
    num_envs: Annotated[int | None, typer.Option(min=1, help="Environments side by side; number i starts from seed + i.")] = None,
    preset: Preset = "small",
    seed: Seed = 0,
    set_: TaskOptions = [],  # noqa: B006
    dtype: Dtype = None,
    device: Device = "cpu",
    out: Out = None,
    overwrite: Overwrite = False,
    no_video: NoVideo = False,
    json: AsJson = False,
) -> None:
    """Roll out a policy on a task.

    Writes the actions, a replay, a video and result.json into a folder.
    Exit status: 0 done, 1 every environment failed, 2 wrong usage, 130 interrupted.
    """
    from ..leave import write_rest

    built = built_task(task, preset, set_, seed=seed, dtype=dtype, device=device)
    actions = _actions(built, full_name(built, task), policy, num_envs, seed)
    count = len(actions)
    name, label = full_name(built, task), policy if policy in POLICIES else "actions"
    folder = RunFolder(out or default_folder(name, f"{label}x{count}" if count > 1 else label, seed))
    options = dataclasses.asdict(built.settings)
    settings = {
        "policy": policy,
        "num_envs": count,
        "dtype": built.dtype_name,
        "device": device,
        "video": not no_video,
        "task_options": options,
    }
    result = Result("run", RUNNING, name, preset, seed, settings)
    folder.claim(result, overwrite=overwrite)
    folder.write(result)

    began = time.perf_counter()
    played, film = rollout_seen(built, actions, seed, drawn=not no_video, title=f"{name} {label}")
    seconds = time.perf_counter() - began
    folder.write_actions(name, actions)
    metrics = {"loss": played.loss.tolist(), "return": played.returns.tolist(), "steps": actions.shape[1], "seconds": seconds}
    metrics |= played.metrics
    result = dataclasses.replace(result, status=FINISHED, metrics=metrics, outcomes=played.outcomes, files=["actions.npz"])
    result, whole = write_rest(folder, result, film, None)
    if json:
        print_json({"folder": str(folder), **result.to_json()})
    else:
        _print(folder, result, film)
    if not whole:
        raise typer.Exit(2)
    if "OK" not in played.outcomes:
        raise typer.Exit(1)


def rollout_seen(task: Task, actions: Tensor, seed: int, *, drawn: bool, title: str) -> tuple[Played, Film]:
    """Plays actions `[N, T, A]` from the initial states of seed, seed + 1, ..., filmed, behind a progress bar."""
    from ..play import Film, play

    count, steps = int(actions.shape[0]), int(actions.shape[1])
    film = Film(task, count, steps, drawn=drawn)
    with progress(title) as report:

        def watch(t, state):  # type: ignore[no-untyped-def]
            film.watch(t, state)
            report(t / film.states, f"step {t}/{film.states}")

        played = play(task, actions, range(seed, seed + count), watch)
    return played, film


def _actions(task: Task, name: str, policy: str, num_envs: int | None, seed: int) -> Tensor:
    """The actions `[N, T, A]`; environment i gets the same ones whatever stands beside it."""
    import numpy as np
    import torch

    from ...errors import OptionError

    width, count = int(task.action_space.shape[0]), num_envs or 1
    if policy == "zero":
        values = np.zeros((count, task.horizon, width))
    elif policy == "random":
        values = np.stack([np.random.default_rng([seed, env]).uniform(-1, 1, (task.horizon, width)) for env in range(count)])
    else:
        if not policy.endswith(".npz") and not Path(policy).exists():
            known("policy", policy, (*POLICIES, "FILE.npz"))
        values = load_actions(policy, name, width)
        if values.shape[1] != task.horizon:
            raise OptionError(f"{policy} holds {values.shape[1]} steps, the task has {task.horizon}; use --set horizon={values.shape[1]}.")
        if num_envs is not None and len(values) not in (1, num_envs):
            raise OptionError(f"{policy} holds {len(values)} sequences; leave --num-envs out, or make it {len(values)}.")
        if num_envs is not None:
            values = np.broadcast_to(values, (num_envs, *values.shape[1:])).copy()
    return torch.as_tensor(values, dtype=task.dtype, device=task.device)


def _print(folder: RunFolder, result: Result, film: Film) -> None:
    failed = len(result.outcomes) - result.outcomes.count("OK")
    typer.echo(f"{result.task}, {result.settings['policy']}, preset {result.preset}, seed {result.seed}")
    typer.echo(f"outcome  {len(result.outcomes) - failed} of {len(result.outcomes)} environments OK{_failures(result)}")
    for name, value in result.metrics.items():
        typer.echo(f"{name:<8} {number(value)}{' s' if name == 'seconds' else ''}")
    typer.echo(files_line(folder, result, film))


def _failures(result: Result) -> str:
    failures = [f"{env}: {outcome}" for env, outcome in enumerate(result.outcomes) if outcome != "OK"]
    return f" (failed: {', '.join(failures)})" if failures else ""


def files_line(folder: RunFolder, result: Result, film: Film | None) -> str:
    """Where the files are, for people."""
    speed = f" (video at {film.speed:.2g} x real time)" if film is not None and "video.mp4" in result.files else ""
    return f"files    {folder}/: {', '.join(['result.json', *result.files])}{speed}"
