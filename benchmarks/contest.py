"""Contests: several ways to lower the losses of all tasks, a table in Markdown. What the scripts in this folder share."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..envs import task_names
from ..envs.registry import TASKS
from ..storage import write_whole


@dataclass(frozen=True)
class Run:
    """What came of one run.

    Args:
        start: loss of the task's initial actions.
        best: loss of the actions that were found.
        simulations: what the run cost, in simulations of the whole horizon.
        skipped: evaluations that failed.
    """

    start: float
    best: float
    simulations: float
    skipped: int


def own_tasks() -> list[str]:
    """The registered tasks of pliant by the material point method."""
    return [name for name in task_names() if name.startswith("pliant/") and ".shells." not in TASKS[name]]


def contest(title: str, notes: Sequence[str], entrants: Mapping[str, Callable[[str, int], Run]], tasks: Sequence[str], seeds: int) -> str:
    """The table of all tasks and entrants, in Markdown; each row is printed as soon as it is known.

    Args:
        title: headline.
        notes: lines that say what was done and how to do it again.
        entrants: by name, what runs a task (its name) with a seed.
        tasks: names.
        seeds: every entrant runs with the seeds 0, 1, ...
    """
    lines = [
        f"# {title}",
        "",
        *notes,
        f"{platform.machine()}, torch {torch.__version__.split('+')[0]}.",
        "",
        "| task | method | start | best: mean (least to most) | best / start | simulations | skipped |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for task in tasks:
        for name, entrant in entrants.items():
            began, cpu = time.perf_counter(), time.process_time()
            runs = [entrant(task, seed) for seed in range(seeds)]
            best, start = [run.best for run in runs], statistics.mean(run.start for run in runs)
            mean = statistics.mean(best)
            lines.append(
                f"| {task} | {name} | {start:.4f} | {mean:.4f} ({min(best):.4f} to {max(best):.4f}) | {mean / start:.2f} "
                f"| {statistics.mean(run.simulations for run in runs):.0f} | {statistics.mean(run.skipped for run in runs):.1f} |"
            )
            print(lines[-1], f"{time.perf_counter() - began:.0f} s, {time.process_time() - cpu:.0f} s of CPU", flush=True)
    return "\n".join(lines) + "\n"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A command line with what every contest wants to know."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each task and method")
    parser.add_argument("--tasks", nargs="+", default=None, metavar="TASK", help="names; all tasks of pliant if none is given")
    parser.add_argument("--out", type=Path, default=None, help="where the table goes, besides the screen")
    return parser


def keep(text: str, out: Path | None) -> None:
    """Writes the table, if it is to go anywhere."""
    if out is not None:
        write_whole(out, lambda file: file.write(text.encode()))
