"""`pliant list` and `pliant info`."""

from __future__ import annotations

import dataclasses
import inspect
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..catalogue import field_notes, summary, task_class
from ..options import AsJson
from ..results import versions
from ..terminal import number, print_json

if TYPE_CHECKING:
    from ...envs.task import Settings


def list_tasks(json: AsJson = False) -> None:
    """List the tasks."""
    from ...envs.registry import TASKS

    tasks = [{"task": name, "entry": entry, "summary": summary(entry)} for name, entry in sorted(TASKS.items())]
    if json:
        print_json(tasks)
        return
    width = max((len(task["task"]) for task in tasks), default=0)
    for task in tasks:
        typer.echo(f"{task['task']:<{width}}  {task['summary']}".rstrip())


def info(
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", help="Show the presets and options of this task instead.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the capability table as in the README, and nothing else.")] = False,
    json: AsJson = False,
) -> None:
    """Show versions, devices and solvers, or the options of a task."""
    if task is not None:
        _show_task(task, json)
        return
    from ..table import capabilities, capability_markdown, capability_table

    if markdown:
        typer.echo(capability_markdown())
        return
    found, devices = versions(), _devices()
    if json:
        solvers = {name: dataclasses.asdict(entry) for name, entry in capabilities().items()}
        print_json({"versions": found, "devices": devices, "solvers": solvers})
        return
    for name, value in {**found, "devices": ", ".join(devices)}.items():
        typer.echo(f"{name:<10} {value}")
    from rich.console import Console

    Console().print(capability_table())


def _devices() -> list[str]:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [f"cpu ({os.cpu_count()} cores)", *(f"cuda:{index} ({name})" for index, name in enumerate(names))]


def _show_task(name: str, json: bool) -> None:
    kind = task_class(name)
    presets: dict[str, Settings] = dict(kind.presets)
    notes = field_notes(type(next(iter(presets.values()))))
    if json:
        values: dict[str, Any] = {preset: dataclasses.asdict(settings) for preset, settings in presets.items()}
        print_json({"task": name, "summary": inspect.getdoc(kind), "presets": values, "notes": notes})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("option", *presets, "")
    for field in dataclasses.fields(next(iter(presets.values()))):
        cells = [number(getattr(settings, field.name)) for settings in presets.values()]
        table.add_row(*map(Text, (field.name, *cells, notes.get(field.name, ""))))
    console = Console()
    console.print(Text(f"{name}\n{inspect.getdoc(kind) or ''}\n"))
    console.print(table)
    console.print(Text("Change an option with --set name=value."))
