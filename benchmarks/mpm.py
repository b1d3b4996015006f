"""MPM: particle substeps a second, forward and backward; compile time with an empty and with a filled kernel cache; peak memory.

Every figure comes from a process of its own, since Taichi compiles once in a process and peak memory only grows.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from . import Row

MATERIALS = ("liquid", "elastic")
SIZES = {"8k": 20, "64k": 40}
"""Particles along each axis of the cube, eight in a cell."""
CELLS = 64
SUBSTEPS = 20
REPEATS = 5


def bench() -> list[Row]:
    """The rows of `pliant bench mpm`."""
    rows: list[Row] = []
    for material in MATERIALS:
        with tempfile.TemporaryDirectory() as cache:
            cold = _measured(material, SIZES["8k"], cache)
            found = {size: _measured(material, count, cache) for size, count in SIZES.items()}
        grid = f"{CELLS}^3 cells"
        for size, figures in found.items():
            place = f"{size} particles, {grid}"
            for way in ("forward", "backward"):
                speed = figures["particles"] * SUBSTEPS / figures[way]
                rows.append(_row(f"{material} {way}", place, speed, "particle substeps/s", more_is_better=True))
            rows.append(_row(f"{material} peak memory", place, figures["memory"], "MiB", more_is_better=False))
        for cache_kind, figures in (("empty", cold), ("filled", found["8k"])):
            rows.append(_row(f"{material} compile, {cache_kind} cache", grid, figures["compile"], "s", more_is_better=False))
    return rows


def figures(material: str, count: int) -> dict[str, float]:
    """Times of a cube that falls and turns in a box: `SUBSTEPS` substeps forward, and backward through them.

    Args:
        material: liquid or elastic.
        count: particles along each axis.

    Returns:
        `particles`; medians `forward` and `backward` (with the recomputation of the substeps) [s]; `compile`, what the first step took
        longer than the others [s]; `memory`, the growth of the process from before the scene to its peak [MiB].
    """
    import torch

    from ..sim.mpm import MpmSolver

    before = _peak()
    solver = MpmSolver(_model(material, count))
    state, control = solver.initial_state(1), solver.rest_control(1)
    forward, backward = [], []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        with torch.no_grad():
            solver.step(state, control)
        forward.append(time.perf_counter() - start)
        velocity = state.velocity.clone().requires_grad_()
        end = solver.step(state.replace(velocity=velocity), control)
        start = time.perf_counter()
        torch.autograd.grad(end.position.square().sum(), velocity)
        backward.append(time.perf_counter() - start)
        state = end.detach()
    medians = {"forward": statistics.median(forward[1:]), "backward": statistics.median(backward[1:])}
    compiling = forward[0] + backward[0] - sum(medians.values())
    return {"particles": solver.model.particles, **medians, "compile": compiling, "memory": _peak() - before}


def _model(material: str, count: int) -> Any:
    import torch

    from ..sim.materials import FixedCorotated, Liquid
    from ..sim.mpm import Body, MpmModel

    cell, dt = 1 / CELLS, 2e-4
    spacing = cell / 2
    axis = 0.5 + spacing * (torch.arange(count, dtype=torch.float64) - 0.5 * (count - 1))
    points = torch.cartesian_prod(axis, axis, axis)
    turning = 2.0 * torch.stack((0.5 - points[:, 1], points[:, 0] - 0.5, torch.zeros(len(points), dtype=torch.float64)), 1)
    kind = Liquid(1000.0, 1e5, 0.01) if material == "liquid" else FixedCorotated(1000.0, 1e5, 0.3)
    body = Body(points, kind, spacing**3, turning)
    return MpmModel([body], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), cell, dt * SUBSTEPS, substeps=SUBSTEPS)


def _measured(material: str, count: int, cache: str) -> dict[str, float]:
    """`figures` of a new process that keeps its kernels in the folder `cache`."""
    code = f"import json, pliant.benchmarks.mpm as mpm; print(json.dumps(mpm.figures({material!r}, {count})))"
    environment = {**os.environ, "TI_OFFLINE_CACHE_FILE_PATH": cache}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"the measurement of {material} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _row(what: str, size: str, ours: float, unit: str, *, more_is_better: bool) -> Row:
    return Row.of("mpm", what, size, "float32", ours, unit, more_is_better=more_is_better)


def _peak() -> float:
    """The most memory that this process has held [MiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform != "darwin" else 2**20)
