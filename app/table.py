"""The capability table: what each solver declares of itself, for `pliant info` and the README."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..sim import SOLVERS, solver_class

if TYPE_CHECKING:
    from rich.table import Table

    from ..sim.core import Capabilities

COLUMNS = ("solver", "dimensions", "materials", "contact", "differentiable in", "dtypes", "backends", "batched")


def capabilities() -> dict[str, Capabilities]:
    """What every solver declares, by its name."""
    return {name: solver_class(name).capabilities for name in SOLVERS}


def capability_markdown() -> str:
    """The table of the README."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *_rows()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def capability_table() -> Table:
    """The table of `pliant info`: one column for each solver, since a terminal is narrow."""
    from rich.table import Table

    table = Table("solver", *SOLVERS, show_lines=True)
    for title, *cells in list(zip(COLUMNS, *_rows(), strict=True))[1:]:
        table.add_row(title, *cells)
    return table


def _rows() -> list[tuple[str, ...]]:
    return [_row(name, entry) for name, entry in capabilities().items()]


def _row(name: str, entry: Capabilities) -> tuple[str, ...]:
    lists = (entry.materials, entry.contact, entry.differentiable, entry.dtypes, entry.backends)
    return (name, _list(f"{n}D" for n in entry.dimensions), *map(_list, lists), "yes" if entry.batched else "no")


def _list(entries: Iterable[str]) -> str:
    return ", ".join(entries) or "none"
