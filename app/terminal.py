"""What the commands write: JSON on stdout, and on stderr remarks and a progress bar."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on [s]."""


class Report(Protocol):
    """How long work tells what it has done: the share from 0 to 1, and what to write beside the bar."""

    def __call__(self, share: float, text: str) -> None:
        """Shows both."""


def jsonable(value: Any) -> Any:
    """`value` in JSON's own types; what is not finite becomes null, since JSON has no word for it."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if hasattr(value, "tolist"):  # tensors, arrays and their scalars
        return jsonable(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [jsonable(entry) for entry in value]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Writes `value` to stdout."""
    sys.stdout.write(json.dumps(jsonable(value), indent=indent, allow_nan=False) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Writes a remark to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def number(value: Any) -> str:
    """A number for people, or a dash where there is none."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {number(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(number, value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "-"
    return str(value)


def home(path: Path) -> str:
    """A path as one would type it here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """A progress bar on a terminal; elsewhere a line every ten seconds."""
    if sys.stderr.isatty():
        with _bar(title) as report:
            yield report
    else:
        yield _lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        work = bar.add_task(title, total=1.0, text="starting")

        def report(share: float, text: str) -> None:
            bar.update(work, completed=min(1.0, share), text=text)

        yield report


def _lines(title: str) -> Report:
    last = time.perf_counter()

    def report(share: float, text: str) -> None:
        nonlocal last
        if time.perf_counter() - last >= LINE_EVERY:
            say(f"{title}: {100 * min(1.0, share):.0f} %, {text}")
            last = time.perf_counter()

    return report
