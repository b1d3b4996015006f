"""The benchmark of shells measures what it says, and its folding folds. Nothing here looks at how fast anything is."""

import importlib.util
import math
import os
import sys
import time

import numpy as np
import pytest
import torch

from pliant import benchmarks
from pliant.benchmarks import Row, shell, shell_match
from pliant.benchmarks.shell_match import Fall, Side, Trial, distance, explore, fastest, peer_scene
from pliant.benchmarks.shell_newton import hinges
from pliant.benchmarks.shell_ours import STAGES
from pliant.benchmarks.shell_scenes import ACTIVATION, CELL, DT, FRICTION, SHEETS, folding, folding_velocity, sheet_scene
from pliant.benchmarks.stopwatch import Stopwatch, Watched
from pliant.benchmarks.workers import PEER_PYTHON, Worker, WorkerError
from pliant.sim.solid import SolidSolver


@pytest.fixture
def alone(monkeypatch):
    """As if the peer were not installed."""
    monkeypatch.setenv(PEER_PYTHON, sys.executable)
    monkeypatch.setattr(shell, "has_peer", lambda: False)


# the scenes


def test_the_folding_is_the_published_scene_and_folds():
    """The finger comes down, the strip is bent beyond yield, nothing passes through anything, and it stays bent."""
    solver = SolidSolver(folding())
    assert [len(body.mesh.vertices) for body in solver.model.bodies] == [64, 162, 276]
    assert 3 * solver.model.node_total == 1506
    state, strip, touched = solver.initial_state(), solver.model.nodes("strip"), False
    height = state.position[0, strip, 2].max()
    for step in range(42):
        velocity = torch.tensor(folding_velocity(step), dtype=torch.float64)
        assert float(velocity.norm()) * DT <= 1e-3
        state = solver.step(state, solver.rest_control().replace(linear_velocity=velocity[None, None]))
        assert state.outcomes()[0].name == "OK"
        touched = touched or solver.report[0].touching > 0
    assert touched
    assert solver.intersections(state) == [[]]
    assert float(state.position[0, strip, 2].max()) < 0.75 * float(height)
    assert float(state.plastic_curvature.max()) > 0.5 / CELL
    held = state.position[0, strip][:8] - solver.initial_state().position[0, strip][:8]
    assert float(held.abs().max()) == 0.0


def test_the_strip_is_as_stiff_as_the_published_one():
    material = folding().bodies[0].material
    rigidity = material.youngs_modulus * material.thickness**3 / (12 * (1 - material.poisson_ratio**2))
    assert rigidity == pytest.approx(1.185e-2, rel=1e-3)
    assert material.density * material.thickness == pytest.approx(40.0)
    assert material.yield_curvature * CELL == pytest.approx(0.5)
    assert folding().contact.activation_distance == ACTIVATION == 4e-4


@pytest.mark.parametrize("kind", ["hanging", "draped"])
def test_a_sheet_falls(kind):
    solver = SolidSolver(sheet_scene(kind, 4, bending="hinge"))
    state = solver.initial_state()
    for _ in range(6):
        state = solver.step(state, solver.rest_control())
    moved = (state.position - solver.initial_state().position)[0, solver.model.nodes("sheet"), 2]
    assert float(moved.min()) < -1e-3
    assert float(moved.max()) == pytest.approx(0.0, abs=1e-12) if kind == "hanging" else float(moved.max()) > -1.5e-3


# the rows


def test_the_folding_has_rows_for_steps_derivatives_and_stages():
    rows = shell.folding_rows(3)
    found = {row.what: row.ours for row in rows}
    assert all(math.isfinite(value) and value >= 0 for value in found.values())
    assert found["folding, a step: median"] <= found["folding, a step: worst"]
    assert found["folding, Newton iterations a step: median"] >= 1
    assert found["folding, derivative of a step: median"] > 0
    stages = {name: found[f"folding, stage: {name}"] for name in STAGES}
    assert all(spent > 0 for spent in stages.values())


def test_the_cost_of_a_sheet_is_that_of_its_unknowns_and_iterations():
    step, derivative, iterations, each = shell.size_rows("draped", 4, warm=3, steps=2)
    assert step.size == "4 x 4 cells, 131 unknowns"  # 25 vertices and 56 edges
    assert each.ours == pytest.approx(1e6 * step.ours / iterations.ours / 131)
    assert derivative.ours > 0


def test_a_batch_counts_for_each_of_its_environments():
    rows = shell.batch_rows(3, 3, warm=1, steps=2)
    assert [row.what for row in rows] == ["hanging, a step of one of a batch", "hanging, derivative of a step of one of a batch"]
    assert all(row.ours > 0 and row.size == "batch 3, 81 unknowns each" for row in rows)


def test_the_whole_benchmark_runs_without_its_peer_and_says_how_to_get_it(alone, monkeypatch, capsys):
    asked = []
    for name in ("cold_rows", "folding_rows", "size_rows", "batch_rows", "match_rows"):

        def rows(*given, name=name):
            asked.append((name, given))
            return [Row.of("shell", name, "small", "float64", 1.0, "s", more_is_better=False)]

        monkeypatch.setattr(shell, name, rows)
    rows = benchmarks.run_bench("shell")
    assert len(rows) == len(asked)
    assert {name for name, _ in asked} == {"cold_rows", "folding_rows", "size_rows", "batch_rows", "match_rows"}
    assert all(given[-1] is False for name, given in asked if name in ("cold_rows", "match_rows"))
    assert "pliant[bench]" in capsys.readouterr().err


def test_cold_starts_are_measured_from_the_start_of_the_process(alone):
    rows = {row.what: row for row in shell.cold_rows(False)}
    for kind in ("empty", "filled"):
        first, both = rows[f"folding, first step, {kind} cache"], rows[f"folding, first step and derivative, {kind} cache"]
        assert 0 < first.ours < both.ours
    assert rows["draped rubber, first step, empty cache"].peer is None


# matched error

SMALL = Fall("hanging", "rubber", 3, 0.05, (0.05, 0.01), 48)


def test_the_settings_that_come_near_enough_fastest_are_found(alone):
    (loose, tight) = shell.match_rows([SMALL], 1, False)
    assert [row.what for row in (loose, tight)] == ["hanging rubber, 0.05 s, to 5%", "hanging rubber, 0.05 s, to 1%"]
    assert loose.size.startswith("3 x 3 cells; ours: ")
    assert loose.ours > 0


def test_errors_are_shares_of_the_side_of_the_sheet():
    place = np.zeros((4, 3))
    assert distance(place + np.array([0.0, 0.003, 0.0]), place) == pytest.approx(0.01)
    assert distance(place + math.nan, place) == math.inf


def test_time_steps_are_refined_until_the_finest_share_is_reached_or_a_run_takes_too_long(monkeypatch):
    asked = []

    def runs(side, fall, settings, steps):
        asked.append(steps)
        return steps / 100, np.full((1, 3), math.nan if steps < 10 else 1 / steps)

    monkeypatch.setattr(Side, "runs", runs)
    side = Side("ours", None, {}, ({},), 6)
    explore(side, SMALL, np.zeros((1, 3)), 1e9)
    assert asked == sorted(asked)
    assert all(steps % 2 == 0 for steps in asked)
    assert [trial.error <= 0.01 for trial in side.tried] == [False] * (len(asked) - 1) + [True]
    assert side.tried[0].error == math.inf
    chosen = fastest(side.tried, 0.05)
    assert chosen.error <= 0.05
    assert all(trial.error > 0.05 for trial in side.tried if trial.seconds < chosen.seconds and trial.steps > 10)
    asked.clear()
    explore(Side("ours", None, {}, ({}, {}), 20), SMALL, np.ones((1, 3)), 0.1)
    assert asked == [20, 20]
    assert fastest([Trial(1.0, 0.5, {}, 2)], 0.1) is None


def test_what_does_not_come_nearer_is_left(monkeypatch):
    """First it bursts, then it stays a tenth of the side off."""
    monkeypatch.setattr(Side, "runs", lambda side, fall, settings, steps: (1.0, np.full((1, 3), 1e9 if steps < 30 else 0.02)))
    side = Side("ours", None, {}, ({},), 6)
    explore(side, SMALL, np.zeros((1, 3)), 1e9)
    assert side.tried[-5].steps >= 30
    assert len(side.tried) < 15


def test_the_peer_gets_the_moduli_of_the_sheet():
    given = peer_scene(Fall("draped", "paper", 2, 1.0))
    paper = SHEETS["paper"]
    assert given["mu"] + given["lam"] == pytest.approx(4e9 * 1e-4 / (2 * (1 - paper.poisson_ratio)))
    assert given["density"] == pytest.approx(0.08)
    assert given["friction"] == FRICTION
    assert given["held"] == []
    assert peer_scene(SMALL)["held"] == [0, 3]


def test_hinges_of_the_peer_have_the_energy_of_ours():
    """Two right triangles: edge and areas differ from one, and the boundary bends for nothing."""
    rest = np.array([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.0, 0.4, 0.0], [0.3, 0.4, 0.0]])
    inner, rim = [0, 3, 1, 2], [0, -1, 1, 2]
    area = 0.12
    assert hinges(rest, np.array([inner, rim]), 2.0, True) == pytest.approx([2.0 * 0.5 / area, 0.0])
    assert hinges(rest, np.array([inner, rim]), 2.0, False) == pytest.approx([2.0 * 0.5 / area**2, 0.0])


def test_the_peer_solves_the_same_equations():
    """Where Newton is installed: in many small steps of its explicit solver a sheet ends where ours does."""
    if not shell.has_peer():
        pytest.skip("Newton is not installed for PLIANT_BENCH_PYTHON")
    fall = Fall("hanging", "rubber", 4, 0.1)
    with shell._ours() as ours, shell._peer() as peer:
        side, other = shell_match.sides(fall, ours, {"semi_implicit": peer})
        _, place = side.runs(fall, {"integrator": "bdf2"}, 200)
        _, theirs = other.runs(fall, {}, 2000)
    assert distance(theirs, place) < 1e-3


def test_a_peer_that_is_not_there_says_so(monkeypatch, capsys):
    if importlib.util.find_spec("newton"):
        pytest.skip("Newton is installed here")
    monkeypatch.setenv(PEER_PYTHON, sys.executable)
    assert not shell.has_peer()
    assert [row.peer for row in shell.match_rows([SMALL], 1, True)] == [None, None]
    assert "No module named 'newton'" in capsys.readouterr().err


def test_several_peers_stand_in_one_column():
    rows = [
        Row.of("shell", "fall", "small", "float64", 2.0, "s", more_is_better=False, peer=1.0, peer_name="newton VBD"),
        Row.of("shell", "alone", "small", "float64", 2.0, "s", more_is_better=False),
    ]
    text = shell.table(rows)
    assert "| fall | small | 2 | 1 (newton VBD) | s | 0.5 |" in text
    assert "| alone | small | 2 |  | s |  |" in text
    assert shell.COMMAND in text


# the stopwatch


def test_time_goes_to_the_innermost_function():
    class Work:
        def outer(self):
            time.sleep(0.01)
            self.inner()

        def inner(self):
            time.sleep(0.03)

    stopwatch = Stopwatch()
    stopwatch.watch(Work, "outer", "outer")
    stopwatch.watch(Work, "inner", "inner")
    Work().outer()
    assert stopwatch.seconds["inner"] >= 0.03
    assert stopwatch.seconds["outer"] >= 0.01
    counted = Watched([3, 1, 2], stopwatch, "sort", "sort")
    counted.sort()
    assert counted.index(3) == 2
    assert set(stopwatch.seconds) == {"inner", "outer", "sort"}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell which cores a process has")
def test_a_worker_can_be_kept_to_one_core():
    code = "import json, os; input(); print(json.dumps({'value': len(os.sched_getaffinity(0))}), flush=True)"
    found = []
    for one_core in (True, False):
        with Worker([sys.executable, "-c", code], one_core=one_core) as worker:
            found.append(worker.ask("count"))
    assert found == [1, len(os.sched_getaffinity(0))]


def test_an_unknown_request_is_an_error():
    with Worker(shell.OURS_COMMAND) as worker, pytest.raises(WorkerError, match="make"):
        worker.ask("make", kind="hanging", cells=0)
