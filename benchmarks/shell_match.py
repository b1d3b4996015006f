"""Sheets in ours and in Newton at matched error: who simulates the same fall first, to within a share of the sheet's size.

The moduli are those of `shell_newton.py`, ours has its hinges and its neo-Hookean membrane, and the mesh is the same. The reference is our
own solution with BDF2 in many small steps. Each side's time step, and VBD's iterations, are refined from coarse to fine; of the settings
that come near enough the fastest counts, and is timed again in turns with the others'.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from . import Row
from .shell_scenes import BALL, CENTRE, FRICTION, REACH, SHEETS, SIDE, sheet_scene
from .workers import Worker, WorkerError

NAMES = {"vbd": "newton VBD", "semi_implicit": "newton semi-implicit"}
METHODS = {"bdf2": "BDF2", "implicit_euler": "implicit Euler"}
CONTACT = 1e3
"""Stiffness of the peer's contact at a vertex [N/m]."""


class Fall(NamedTuple):
    """A sheet that falls for a while."""

    kind: str
    material: str
    cells: int
    seconds: float
    shares: tuple[float, ...] = (0.05, 0.01)
    """Of the side of the sheet: root mean square distances from the reference that count as near enough, descending."""
    reference: int = 800
    """Time steps of the reference."""

    @property
    def words(self) -> str:
        """What falls."""
        return f"{self.kind} {self.material}, {self.seconds:g} s"


FALLS = (
    Fall("hanging", "rubber", 16, 0.25),
    Fall("hanging", "paper", 16, 0.25),
    Fall("draped", "rubber", 16, 0.15, (0.05, 0.02), 400),
)
"""Later the folds of thin sheets depend on every detail, and nobody's converge. On the ball the laws of contact differ by about 1 %."""


@dataclass
class Side:
    """Ours, or one solver of the peer's, with the settings that it is tried at."""

    name: str
    worker: Worker
    given: dict[str, Any]
    families: tuple[dict[str, Any], ...]
    """Settings besides the time step, from cheap to dear."""
    first: int
    """The fewest time steps; an even number."""
    tried: list[Trial] = field(default_factory=list)

    def runs(self, fall: Fall, settings: dict[str, Any], steps: int) -> tuple[float, np.ndarray]:
        """Seconds, and where the sheet ends [V, 3], not finite where a step failed."""
        self.worker.ask("make", **self.given, **settings, dt=fall.seconds / steps)
        seconds, place = self.worker.ask("run", steps=steps)
        return seconds, np.array(place, dtype=float)


class Trial(NamedTuple):
    """One run."""

    seconds: float
    error: float
    """Root mean square distance from the reference over the side of the sheet."""
    settings: dict[str, Any]
    steps: int

    @property
    def words(self) -> str:
        """The settings."""
        found = [f"{value} {name}" if name == "iterations" else METHODS[value] for name, value in self.settings.items()]
        return ", ".join([f"{self.steps} steps", *found])


def sides(fall: Fall, ours: Worker, peers: dict[str, Worker]) -> Iterator[Side]:
    """Who takes part."""
    own = {"kind": fall.kind, "cells": fall.cells, "material": fall.material, "bending": "hinge", "self_contact": False, "tolerance": 1e-3}
    yield Side("ours", ours, own, ({"integrator": "bdf2"}, {"integrator": "implicit_euler"}), 6)
    for solver, worker in peers.items():
        families = tuple({"iterations": number} for number in (5, 20, 80)) if solver == "vbd" else ({},)
        yield Side(NAMES[solver], worker, {"solver": solver, **peer_scene(fall)}, families, 26 if solver == "vbd" else 1250)


def peer_scene(fall: Fall) -> dict[str, Any]:
    """The scene as `shell_newton.Scene.make` takes it."""
    material = SHEETS[fall.material]
    E, nu, h, density = (float(getattr(material, name)) for name in ("youngs_modulus", "poisson_ratio", "thickness", "density"))  # type: ignore[arg-type]
    mesh = sheet_scene(fall.kind, fall.cells).bodies[0].mesh
    hangs = fall.kind == "hanging"
    return {
        "vertices": mesh.vertices.tolist(), "faces": mesh.faces.tolist(), "held": [0, fall.cells] if hangs else [],
        "mu": E * h / (2 * (1 + nu)), "lam": E * h * nu / (1 - nu * nu), "rigidity": E * h**3 / (12 * (1 - nu * nu)), "density": density * h,
        "ball": None if hangs else [*CENTRE, BALL], "friction": FRICTION, "reach": REACH, "contact": CONTACT,
    }  # fmt: skip


def distance(place: np.ndarray, reference: np.ndarray) -> float:
    """Root mean square, over the side of the sheet; infinite where the sheet has burst."""
    error = float(np.sqrt(np.square(place - reference).sum(1).mean())) / SIDE
    return error if math.isfinite(error) else math.inf


def explore(side: Side, fall: Fall, reference: np.ndarray, limit: float) -> None:
    """Refines time steps, family by family, until the finest share is reached or nothing is gained any more.

    It stops too where a run takes longer than `limit` [s], or than one that reached the finest share.
    """
    for settings in side.families:
        steps = side.first
        errors: list[float] = []
        while not _stalls(errors):
            seconds, place = side.runs(fall, settings, steps)
            error = distance(place, reference)
            errors.append(error)
            side.tried.append(Trial(seconds, error, settings, steps))
            if error <= fall.shares[-1]:
                limit = min(limit, seconds)
                break
            if seconds > limit:
                break
            steps += steps // 4 * 2  # half as many more, an even number


def _stalls(errors: list[float]) -> bool:
    """Whether the last four refinements of a sheet that has not burst gained less than a tenth."""
    return len(errors) > 6 and 0.9 * min(errors[:-4]) < min(errors[-4:]) < 1


def fastest(tried: Iterable[Trial], share: float) -> Trial | None:
    """The quickest of the runs that came near enough."""
    return min((trial for trial in tried if trial.error <= share), key=lambda trial: trial.seconds, default=None)


def fall_rows(fall: Fall, ours: Worker, peers: dict[str, Worker], *, limit: float = 20.0, rounds: int = 3) -> list[Row]:
    """Seconds of computing for each share of the sheet's size, ours beside each solver of the peer's."""
    mine, *others = sides(fall, ours, peers)
    exact = Side("ours", ours, {**mine.given, "tolerance": 1e-4}, (), 0)
    _, reference = exact.runs(fall, {"integrator": "bdf2"}, fall.reference)
    explore(mine, fall, reference, limit)
    entrants = [mine]
    for side in others:
        try:
            explore(side, fall, reference, limit)
            entrants.append(side)
        except WorkerError as problem:
            print(f"{side.name}, {fall.words}: {problem}", file=sys.stderr)
    rows = []
    for share in fall.shares:
        best = {side.name: fastest(side.tried, share) for side in entrants}
        times: dict[str, list[float]] = {name: [] for name in best}
        for _ in range(rounds):
            for side in entrants:
                trial = best[side.name]
                if trial is not None:
                    times[side.name].append(side.runs(fall, trial.settings, trial.steps)[0])
        own = best["ours"]
        if own is None:
            print(f"{fall.words}: ours did not come within {share:.0%} of the reference in {limit:g} s", file=sys.stderr)
            continue
        rows += [_row(fall, share, own, side, times) for side in entrants[1:]]
        if len(entrants) == 1:
            rows.append(_row(fall, share, own, None, times))
    return rows


def _row(fall: Fall, share: float, mine: Trial, side: Side | None, times: dict[str, list[float]]) -> Row:
    """Ours beside a side of the peer's, or alone."""
    settings, peer, name = f"ours: {mine.words}", None, None
    if side is not None:
        name = side.name
        other = fastest(side.tried, share)
        if other is None:
            near = min(side.tried, key=lambda trial: trial.error)
            settings += f"; {name}: not reached, {near.error:.1%} in {near.seconds:.3g} s with {near.words}"
        else:
            settings += f"; {name}: {other.words}"
            peer = statistics.median(times[name])
    return Row.of(
        "shell", f"{fall.words}, to {share:.0%}", f"{fall.cells} x {fall.cells} cells; {settings}", "float64",
        statistics.median(times["ours"]), "s", more_is_better=False, peer=peer, peer_name=name,
    )  # fmt: skip
