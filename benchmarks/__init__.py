"""Speed, memory and gradients, ours beside peers in one run where there are any.

`pliant bench` prints what a benchmark, a function that returns rows, has measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import UnknownNameError

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["BENCHES", "Row", "bench_table", "run_bench"]


@dataclass(frozen=True)
class Row:
    """One figure.

    Args:
        bench: name of the benchmark.
        what: what was measured.
        size: of the problem, in words.
        dtype: float32, float64.
        ours: our figure, in `unit`.
        peer: theirs in the same run; None where there is no peer.
        peer_name: who they are.
        unit: of both.
        ratio: how many times better ours is: above 1 it is better, whichever way the unit counts; None without a peer.
    """

    bench: str
    what: str
    size: str
    dtype: str
    ours: float
    peer: float | None
    peer_name: str | None
    unit: str
    ratio: float | None

    @classmethod
    def of(
        cls,
        bench: str,
        what: str,
        size: str,
        dtype: str,
        ours: float,
        unit: str,
        *,
        more_is_better: bool,
        peer: float | None = None,
        peer_name: str | None = None,
    ) -> Row:
        """A row with its ratio worked out."""
        ratio = None if peer is None else ours / peer if more_is_better else peer / ours
        return cls(bench, what, size, dtype, ours, peer, peer_name, unit, ratio)


def _bench(place: str) -> Callable[[], list[Row]]:
    """The benchmark at "module:function", imported when it is called."""
    module, _, function = place.partition(":")

    def measure() -> list[Row]:
        return getattr(import_module(module), function)()

    return measure


BENCHES: dict[str, Callable[[], list[Row]]] = {
    "mpm": _bench("pliant.benchmarks.mpm:bench"),
    "shell": _bench("pliant.benchmarks.shell:bench"),
    "tasks": _bench("pliant.benchmarks.tasks:bench"),
    "gradients": _bench("pliant.benchmarks.gradients:bench"),
}
"""Every benchmark by name."""


def run_bench(name: str) -> list[Row]:
    """The rows of a benchmark.

    Raises:
        UnknownNameError: if there is no such benchmark.
    """
    if name not in BENCHES:
        raise UnknownNameError(f"There is no benchmark {name!r}; choose one of {', '.join(BENCHES)}.")
    return BENCHES[name]()


def bench_table(rows: Sequence[Row]) -> Table:
    """The rows as a table for a terminal."""
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE)
    for title in ("bench", "what", "size", "dtype", "ours", "unit", "peer", "ratio"):
        table.add_column(title, justify="right" if title in ("ours", "peer", "ratio") else "left", no_wrap=True)
    for row in rows:
        peer = "-" if row.peer is None else f"{row.peer:.3g} ({row.peer_name})"
        ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.bench, row.what, row.size, row.dtype, f"{row.ours:.3g}", row.unit, peer, ratio)
    return table
