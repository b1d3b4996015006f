"""Shells and implicit solids: time steps and their derivatives, what they spend their time on, and sheets beside Newton at matched error.

`pliant bench shell` measures; `python -m pliant.benchmarks.shell --out docs/results/shell.md` writes the table too. The peer comes with the
extra `bench`; it can live in an environment of its own, whose interpreter `PLIANT_BENCH_PYTHON` names. Where it is missing its columns stay
empty. Everything runs on one core, since Newton's kernels do.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from . import Row
from .report import machine, page, write_page
from .shell_match import FALLS, NAMES, Fall, fall_rows, peer_scene
from .workers import Worker, WorkerError, peer_python

__all__ = ["COMMAND", "batch_rows", "bench", "cold_rows", "folding_rows", "has_peer", "match_rows", "size_rows", "table"]

ONE_THREAD = {"PLIANT_THREADS": "1", "OMP_NUM_THREADS": "1"}
OURS_COMMAND = (sys.executable, "-m", "pliant.benchmarks.shell_ours")
PEER_SCRIPT = Path(__file__).with_name("shell_newton.py")
NO_PEER = (
    "Newton is not installed, so nothing stands beside our sheets: pip install 'pliant[bench]', or set PLIANT_BENCH_PYTHON to an interpreter"
    " that has it."
)
STEPS = 50
"""Of the folding."""
CELLS = (9, 16, 28, 40, 70)
"""Along each side of the sheets: 561 to 29,963 unknowns."""
BATCHES = (1, 4, 16)
FOLDING = "502 vertices, 1,506 unknowns"
WARM = 2


def bench(
    steps: int = STEPS, cells: Sequence[int] = CELLS, batches: Sequence[int] = BATCHES, falls: Sequence[Fall] = FALLS, rounds: int = 3
) -> list[Row]:
    """The rows of `pliant bench shell`.

    Args:
        steps: time steps of the folding.
        cells: along the sides of the sheets whose cost is measured.
        batches: environments at once.
        falls: what is compared with the peer.
        rounds: how often each side of a comparison is timed, in turns; the median counts.
    """
    peer = has_peer()
    if not peer:
        print(NO_PEER, file=sys.stderr)
    rows = cold_rows(peer) + folding_rows(steps)
    for kind in ("hanging", "draped"):
        for number in cells:
            rows += size_rows(kind, number)
    for batch in batches:
        rows += batch_rows(batch, cells[0])
    return rows + match_rows(falls, rounds, peer)


def folding_rows(steps: int) -> list[Row]:
    """The folding: seconds, Newton iterations and factorizations a step, seconds of its derivative, and the stages of a step."""
    with _ours() as ours:
        ours.ask("make", kind="folding")
        forward, backward = [], []
        for _ in range(steps):
            forward.append(ours.ask("forward"))
            backward.append(ours.ask("gradient"))
        ours.ask("make", kind="folding")
        for _ in range(min(WARM, steps - 1)):
            ours.ask("forward")
        stages = ours.ask("stages", steps=steps - min(WARM, steps - 1))
    forward, backward = forward[WARM:] or forward, backward[WARM:] or backward
    seconds = [step["seconds"] for step in forward]
    rows = [
        _row("folding, a step: median", FOLDING, statistics.median(seconds), "s"),
        _row("folding, a step: worst", FOLDING, max(seconds), "s"),
        _row("folding, derivative of a step: median", FOLDING, statistics.median(backward), "s"),
        _row("folding, derivative of a step: worst", FOLDING, max(backward), "s"),
    ]
    for name in ("iterations", "factorizations", "touching"):
        words = {"iterations": "Newton iterations", "touching": "pairs in contact"}.get(name, name)
        rows.append(_row(f"folding, {words} a step: median", FOLDING, statistics.median(step[name] for step in forward), "a step"))
        rows.append(_row(f"folding, {words} a step: most", FOLDING, max(step[name] for step in forward), "a step"))
    return rows + [_row(f"folding, stage: {name}", FOLDING, 1e3 * spent, "ms a step") for name, spent in stages.items()]


def cold_rows(peer: bool) -> list[Row]:
    """Seconds from the start of the process, imports included, with an empty kernel cache and with a filled one."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for kind in ("empty", "filled"):
            with _ours(TI_OFFLINE_CACHE_FILE_PATH=cache) as ours:
                ours.ask("make", kind="folding")
                ours.ask("forward")
                rows.append(_row(f"folding, first step, {kind} cache", FOLDING, ours.age(), "s"))
                ours.ask("gradient")
                rows.append(_row(f"folding, first step and derivative, {kind} cache", FOLDING, ours.age(), "s"))
    fall = Fall("draped", "rubber", 16, 1.0)
    with tempfile.TemporaryDirectory() as cache, _ours(TI_OFFLINE_CACHE_FILE_PATH=cache) as ours:
        ours.ask("make", kind=fall.kind, cells=fall.cells, bending="hinge")
        ours.ask("forward")
        seconds = ours.age()
    for solver, name in NAMES.items():
        other_seconds = None
        if peer:
            with tempfile.TemporaryDirectory() as cache, _peer(WARP_CACHE_PATH=cache) as other:
                other.ask("make", solver=solver, **peer_scene(fall), dt=1e-4)
                other_seconds = other.age()
        rows.append(_row("draped rubber, first step, empty cache", "16 x 16 cells", seconds, "s", other_seconds, name))
    return rows


def size_rows(kind: str, cells: int, warm: int = 8, steps: int = 8) -> list[Row]:
    """A sheet with mid-edge bending: seconds a step and of its derivative, Newton iterations, cost per unknown and iteration."""
    with _ours() as ours:
        unknowns = ours.ask("make", kind=kind, cells=cells)
        for _ in range(warm):
            ours.ask("forward")
        forward = [ours.ask("forward") for _ in range(steps)]
        ours.ask("gradient")
        backward = [ours.ask("gradient") for _ in range(3)]
    words = f"{cells} x {cells} cells, {unknowns:,} unknowns"
    seconds, iterations = (sum(step[name] for step in forward) for name in ("seconds", "iterations"))
    return [
        _row(f"{kind}, a step", words, seconds / steps, "s"),
        _row(f"{kind}, derivative of a step", words, statistics.median(backward), "s"),
        _row(f"{kind}, Newton iterations a step", words, iterations / steps, "a step"),
        _row(f"{kind}, each unknown and iteration", words, 1e6 * seconds / iterations / unknowns, "us"),
    ]


def batch_rows(batch: int, cells: int, warm: int = 3, steps: int = 8) -> list[Row]:
    """A batch of hanging sheets: seconds of a step, and of its derivative, over the number of environments."""
    with _ours() as ours:
        unknowns = ours.ask("make", kind="hanging", cells=cells, batch=batch)
        for _ in range(warm):
            ours.ask("forward")
        ours.ask("gradient")
        forward = statistics.mean(ours.ask("forward")["seconds"] for _ in range(steps)) / batch
        backward = statistics.median(ours.ask("gradient") for _ in range(3)) / batch
    words = f"batch {batch}, {unknowns:,} unknowns each"
    return [
        _row("hanging, a step of one of a batch", words, forward, "s"),
        _row("hanging, derivative of a step of one of a batch", words, backward, "s"),
    ]


def match_rows(falls: Sequence[Fall], rounds: int, peer: bool, limit: float = 20.0) -> list[Row]:
    """Sheets at matched error; see `shell_match`."""
    rows = []
    for fall in falls:
        with ExitStack() as stack:
            ours = stack.enter_context(_ours())
            peers = {solver: stack.enter_context(_peer()) for solver in NAMES} if peer else {}
            try:
                rows += fall_rows(fall, ours, peers, limit=limit, rounds=rounds)
            except WorkerError as error:
                print(f"{fall.words}, {fall.cells} x {fall.cells} cells: {error}", file=sys.stderr)
    return rows


def has_peer() -> bool:
    """Whether the peers' interpreter has Newton."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('newton') is None)"
    return subprocess.run([peer_python(), "-c", code], check=False, capture_output=True).returncode == 0


@contextmanager
def _ours(**environment: str) -> Iterator[Worker]:
    with Worker(OURS_COMMAND, {**ONE_THREAD, **environment}, one_core=True) as worker:
        yield worker


@contextmanager
def _peer(**environment: str) -> Iterator[Worker]:
    with Worker((peer_python(), str(PEER_SCRIPT)), {**ONE_THREAD, **environment}, one_core=True) as worker:
        yield worker


def _row(what: str, size: str, ours: float, unit: str, peer: float | None = None, name: str | None = None) -> Row:
    return Row.of("shell", what, size, "float64", ours, unit, more_is_better=False, peer=peer, peer_name=None if peer is None else name)


# ---- the table

COMMAND = "python -m pliant.benchmarks.shell --out docs/results/shell.md"


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown, with the machine and what ran on it."""
    notes = [
        f"`{COMMAND}`",
        f"{machine('newton')} Ours in f64, the peer in f32, each on one core.",
        "",
        "The folding is ThinShellLab's scene (Wang et al. 2024): a strip of 64 vertices that is bent over on a table of 162, a soft fingertip of",
        "276 vertices that comes down and drags it; steps of 5 ms, solved until Newton's method moves nothing faster than 1e-7 m/s. That system",
        "took 0.8 to 0.95 s a step on such a core, 0.06 s for its derivative, 13 to 18 Newton iterations, and over 5 minutes to compile. Our",
        "fingertip has 1,170 tetrahedra, theirs 1,365; our strip has an edge rotation besides for each of its 153 edges. A derivative is that",
        "with respect to the whole state before the step and to the motion of the finger.",
        "",
        "Sheets beside the peer: seconds of computing until a flat sheet has fallen for a while, with the fastest settings that end within a",
        "share of its side (root mean square) of the converged solution on the same mesh. Compiling is not counted.",
        "A ratio above 1 means that ours is better.",
    ]
    return page("Shells and implicit solids: speed", notes, rows)


if __name__ == "__main__":
    write_page("Shells, ours beside Newton, as a table.", lambda: table(bench()))
