"""`pliant bench`: speed, memory, gradients."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from ..options import AsJson, known
from ..terminal import print_json, say


def bench(
    names: Annotated[list[str], typer.Argument(metavar="[NAME ...]", help="Benchmarks; all of them if none is named.")] = [],  # noqa: B006
    json: AsJson = False,
) -> None:
    """Measure speed and memory, and how far gradients can be trusted.

    Ours beside peers where there are any; a ratio above 1 means that ours is better.
    """
    from ...benchmarks import BENCHES, bench_table, run_bench

    rows = []
    for name in names or BENCHES:
        known("benchmark", name, BENCHES)
    for name in names or BENCHES:
        say(f"{name}: measuring")
        rows += run_bench(name)
    if json:
        print_json([dataclasses.asdict(row) for row in rows])
        return
    from rich.console import Console

    Console(width=max(Console().width, 110)).print(bench_table(rows))
