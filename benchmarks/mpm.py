"""MPM: particle substeps a second, forward and gradient, beside Genesis in turns; memory, cold start, stages, and the share of bandwidth.

`pliant bench mpm` measures; `python -m pliant.benchmarks.mpm --out docs/results/mpm.md` writes the table too. The peer comes with the extra
`bench`. Its dependencies may clash with others: it can live in an environment of its own, whose interpreter `PLIANT_BENCH_PYTHON` names.
Where it is missing its columns stay empty.

Every scene has processes of its own, since Taichi compiles once in a process and peak memory only grows.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from . import Row
from .mpm_ours import CELLS, DT, STAGES, SUBSTEPS
from .report import machine, page, write_page
from .workers import Worker, WorkerError, peer_python

__all__ = ["COMMAND", "SIZES", "STAGES", "Size", "bench", "cold_rows", "has_peer", "rollout_rows", "scene_rows", "stage_rows", "table"]

PEER = "genesis"
OURS_COMMAND = (sys.executable, "-m", "pliant.benchmarks.mpm_ours")
PEER_SCRIPT = Path(__file__).with_name("mpm_genesis.py")
NO_PEER = (
    "Genesis is not installed, so nothing stands beside our figures: pip install 'pliant[bench]', or set PLIANT_BENCH_PYTHON to an interpreter"
    " that has it."
)


class Size(NamedTuple):
    """A scene of the benchmark."""

    material: str
    edge: int
    """Particles along each axis of the cube."""
    batch: int = 1
    peer: bool = True
    peer_gradient: bool = False

    @property
    def words(self) -> str:
        """Particles, grid, batch."""
        particles = round(self.edge**3 / 1000)
        return f"{particles}k particles, {CELLS}^3 cells" + (f", batch {self.batch}" if self.batch > 1 else "")


SIZES = (
    Size("liquid", 20),
    Size("liquid", 20, batch=4, peer=False),
    Size("liquid", 20, batch=16, peer=False),
    Size("liquid", 32),
    Size("liquid", 40),
    Size("liquid", 64),
    Size("elastic", 20),
    Size("elastic", 20, batch=4, peer=False),
    Size("elastic", 20, batch=16, peer=False),
    Size("elastic", 32),
    Size("elastic", 40, peer_gradient=True),
    Size("elastic", 64),
)
PROFILED = 40
"""Particles along each axis where stages, bandwidth and cold start are measured."""
ROUNDS = 3
STEPS = (250, 1000)


def bench(sizes: Sequence[Size] = SIZES, rounds: int = ROUNDS, profiled: int = PROFILED, steps: Sequence[int] = STEPS) -> list[Row]:
    """The rows of `pliant bench mpm`.

    Args:
        sizes: the scenes.
        rounds: ours and the peer's steps are timed so many times in turns; the median counts.
        profiled: particles along each axis of the scene for stages, bandwidth and cold start.
        steps: two numbers of control steps whose gradients' peak memory is compared.
    """
    peer = has_peer()
    if not peer:
        print(NO_PEER, file=sys.stderr)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as cache:
        for material in dict.fromkeys(size.material for size in sizes):
            rows += cold_rows(material, profiled, str(Path(cache) / material), peer)
    for size in sizes:
        rows += scene_rows(size, rounds, peer and size.peer)
    for material in dict.fromkeys(size.material for size in sizes):
        rows += stage_rows(material, profiled)
    return rows + rollout_rows(steps)


def scene_rows(size: Size, rounds: int, peer: bool) -> list[Row]:
    """Particle substeps a second forward and of the gradient, and peak memory, of one scene; per particle of the whole batch."""
    with ExitStack() as stack:
        ours = stack.enter_context(_ours())
        particles = ours.ask("make", material=size.material, count=size.edge, batch=size.batch) * size.batch * SUBSTEPS
        workers = [(ours, "forward", "ours forward"), (ours, "gradient", "ours gradient")]
        others: dict[str, Worker] = {}
        wanted = [way for way, asked in (("forward", peer), ("gradient", peer and size.peer_gradient)) if asked]
        for way in wanted:
            other = others[way] = stack.enter_context(_peer())
            if _made(other, size, way == "gradient"):
                workers.insert(1, (other, way, f"peer {way}"))
        times: dict[str, list[float]] = {name: [] for *_, name in workers}
        memory: dict[str, float] = {}
        for turn in range(rounds + 1):
            for worker, way, name in list(workers):
                try:
                    seconds = worker.ask(way)
                except WorkerError as error:
                    if worker is ours:
                        raise
                    print(f"{PEER}, {size.material}, {size.words}, {way}: {error}", file=sys.stderr)
                    workers.remove((worker, way, name))
                    continue
                if turn:  # the first compiles
                    times[name].append(seconds)
                if name == "ours forward" and not turn:
                    memory["ours forward"] = ours.ask("memory")
        memory["ours gradient"] = ours.ask("memory")
        memory.update({f"peer {way}": other.ask("memory") for way, other in others.items() if times.get(f"peer {way}")})
    rows = []
    for way in ("forward", "gradient"):
        found = {side: statistics.median(times[f"{side} {way}"]) for side in ("ours", "peer") if times.get(f"{side} {way}")}
        speed = {side: particles / seconds for side, seconds in found.items()}
        rows.append(_row(f"{size.material} {way}", size.words, speed["ours"], "particle substeps/s", peer=speed.get("peer"), more=True))
    ratio = statistics.median(times["ours gradient"]) / statistics.median(times["ours forward"])
    rows.append(_row(f"{size.material} gradient over forward", size.words, ratio, "times as long"))
    for way in ("forward", "gradient"):
        rows.append(_row(f"{size.material} peak memory, {way}", size.words, memory[f"ours {way}"], "MiB", peer=memory.get(f"peer {way}")))
    return rows


def cold_rows(material: str, count: int, cache: str, peer: bool) -> list[Row]:
    """Seconds from the start of the process to its first gradient, imports included: with an empty kernel cache, then with a filled one."""
    size = Size(material, count)
    rows = []
    for kind in ("empty", "filled"):
        with _ours(TI_OFFLINE_CACHE_FILE_PATH=cache) as ours:
            ours.ask("make", material=material, count=count)
            ours.ask("gradient")
            seconds = ours.age()
        other_seconds = None
        if peer and material == "elastic":
            with _peer(QD_OFFLINE_CACHE_FILE_PATH=f"{cache}-{PEER}") as other:
                if _made(other, size, True):
                    try:
                        other.ask("gradient")
                        other_seconds = other.age()
                    except WorkerError as error:
                        print(f"{PEER}, {material}, first gradient: {error}", file=sys.stderr)
        rows.append(_row(f"{material} first gradient, {kind} cache", size.words, seconds, "s", peer=other_seconds))
    return rows


def stage_rows(material: str, count: int) -> list[Row]:
    """The stages of a substep and of its adjoint, and the forward substep's share of the machine's bandwidth."""
    words = Size(material, count).words
    with _ours(TI_KERNEL_PROFILER="1") as ours:
        ours.ask("make", material=material, count=count)
        stages = ours.ask("stages", repeats=4)
        traffic = ours.ask("traffic")
        bandwidth = ours.ask("bandwidth")
    rows = [_row(f"{material} stage: {name}", words, 1e3 * seconds, "ms") for name, seconds in stages.items()]
    forward = sum(seconds for name, seconds in stages.items() if "adjoint" not in name)
    rows.append(_row(f"{material} bytes a substep, forward", words, traffic / 1e6, "MB"))
    rows.append(_row("bandwidth of a = b + 3 c", "3 x 128 MiB", bandwidth / 1e9, "GB/s", more=True))
    rows.append(_row(f"{material} share of that bandwidth, forward", words, traffic / forward / bandwidth, "of 1", more=True))
    return rows


def rollout_rows(steps: Sequence[int], count: int = 32) -> list[Row]:
    """Memory of a gradient through few and through many control steps of one substep, with a checkpoint every sqrt(T) steps."""
    few, many = steps
    words = Size("liquid", count).words
    with _ours() as ours:
        ours.ask("make", material="liquid", count=count, substeps=1)
        ours.ask("rollout", steps=2)
        small, large = (ours.ask("rollout", steps=number) for number in steps)
    rows = [_row(f"memory of a gradient through {n:,} steps", words, used, "MiB") for n, used in ((few, small), (many, large))]
    growth = f"its growth from {few:,} to {many:,} steps; sqrt is {(many / few) ** 0.5:.2f}"
    return [*rows, _row(growth, words, large / small, "times")]


def has_peer() -> bool:
    """Whether the peer's interpreter has Genesis."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('genesis') is None)"
    return subprocess.run([peer_python(), "-c", code], check=False, capture_output=True).returncode == 0


@contextmanager
def _ours(**environment: str) -> Iterator[Worker]:
    with Worker(OURS_COMMAND, environment) as worker:
        yield worker


@contextmanager
def _peer(**environment: str) -> Iterator[Worker]:
    with Worker((peer_python(), str(PEER_SCRIPT)), environment) as worker:
        yield worker


def _made(other: Worker, size: Size, gradient: bool) -> bool:
    """Builds the peer's scene; says so where it cannot be built."""
    scene: dict[str, Any] = {"material": size.material, "count": size.edge, "batch": size.batch}
    try:
        particles = other.ask("make", **scene, cells=CELLS, dt=DT, substeps=SUBSTEPS, gradient=gradient)
        if particles != size.edge**3:
            raise WorkerError(f"it made {particles} particles, not {size.edge**3}")
    except WorkerError as error:
        print(f"{PEER}, {size.material}, {size.words}: {error}", file=sys.stderr)
        return False
    return True


def _row(what: str, size: str, ours: float, unit: str, *, peer: float | None = None, more: bool = False) -> Row:
    name = None if peer is None else PEER
    return Row.of("mpm", what, size, "float32", ours, unit, more_is_better=more, peer=peer, peer_name=name)


# ---- the table


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown, with the machine and what ran on it."""
    notes = [
        f"`{COMMAND}`",
        f"{machine('genesis-world')} f32, {SUBSTEPS} substeps of {DT:g} s a control step.",
        "Ours and the peer took turns in one run, the peer on all cores too. A gradient runs its substeps once more; that is counted.",
        "A ratio above 1 means that ours is better.",
    ]
    return page("MPM: speed and memory", notes, rows, "Genesis")


COMMAND = "python -m pliant.benchmarks.mpm --out docs/results/mpm.md"


if __name__ == "__main__":
    write_page("MPM, ours beside Genesis, as a table.", lambda: table(bench()))
