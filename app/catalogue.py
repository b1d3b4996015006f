"""What there is to know about a task before its scene is built, and the task built from what people typed."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..envs.registry import TASKS, make_task, task_names
from .options import known, pairs, parsed

if TYPE_CHECKING:
    from ..envs.task import Task


def task_class(name: str) -> type[Task]:
    """The class of a task: its presets are known without building a scene.

    Raises:
        UnknownNameError: for an unknown name, with the nearest one.
        ModelError: if the class is not to be found.
    """
    if not re.fullmatch(r"[\w.]+:\w+", name):
        known("task", name, task_names())
    elif os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a task of one's own lies there, and a console script does not look
    module, _, kind = TASKS.get(name, name).partition(":")
    try:
        found = getattr(import_module(module), kind, None)
    except ModuleNotFoundError:
        found = None
    if found is None or not hasattr(found, "presets"):
        return type(make_task(name))  # which says what is wrong
    return found


def built_task(
    name: str,
    preset: str,
    words: Iterable[str],
    *,
    seed: int,
    dtype: str | None,
    device: str,
    given: Mapping[str, Any] | None = None,
) -> Task:
    """The task with the options that `given` and, before them, `words` (name=value) change.

    Raises:
        PliantError: as `make_task`, with a suggestion for a wrong name.
    """
    presets = task_class(name).presets
    settings = presets[known("preset", preset, presets)]
    defaults = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    options = {key: parsed(key, text, defaults[known("option", key, defaults)]) for key, text in pairs(words).items()}
    return make_task(name, preset, seed=seed, dtype=dtype, device=device, **{**(given or {}), **options})


def full_name(task: Task, typed: str) -> str:
    """The name by which a task can be made again: the registered one, or "module:Class"."""
    return task.name if task.name in TASKS else typed


def summary(entry: str) -> str:
    """The first line of the docstring of "module:Class", read without importing it, which would bring up torch."""
    module, _, kind = entry.partition(":")
    try:
        spec = find_spec(module)
        tree = ast.parse(Path(spec.origin).read_text("utf-8")) if spec and spec.origin else ast.Module([], [])
    except (OSError, SyntaxError, ImportError, ValueError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == kind:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def field_notes(settings: type) -> dict[str, str]:
    """The first line of what is written under each field of a settings class."""
    notes: dict[str, str] = {}
    for kind in filter(dataclasses.is_dataclass, reversed(settings.__mro__)):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        except (OSError, SyntaxError):
            continue
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for field, note in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(note, ast.Expr):
                text = getattr(note.value, "value", None)
                notes[field.target.id] = text.strip().partition("\n")[0] if isinstance(text, str) else ""
    return notes
