"""The benchmarks measure what they say: their rows have the right shape at small sizes. Nothing here looks at how fast anything is."""

import math
import sys

import pytest

from pliant import benchmarks
from pliant.benchmarks import Row, mpm
from pliant.benchmarks.mpm import Size
from pliant.benchmarks.workers import PEER_PYTHON, Worker, WorkerError

OURS = [sys.executable, "-m", "pliant.benchmarks.mpm_ours"]


@pytest.fixture
def alone(monkeypatch):
    """As if the peer were not installed."""
    monkeypatch.setenv(PEER_PYTHON, sys.executable)
    monkeypatch.setattr(mpm, "has_peer", lambda: False)


def test_a_scene_has_rows_for_speed_and_memory():
    rows = mpm.scene_rows(Size("liquid", 6, batch=2), 1, peer=False)
    assert [row.what for row in rows] == [
        "liquid forward",
        "liquid gradient",
        "liquid gradient over forward",
        "liquid peak memory, forward",
        "liquid peak memory, gradient",
    ]
    assert all(row.size == "0k particles, 64^3 cells, batch 2" for row in rows)
    assert all(math.isfinite(row.ours) and row.ours >= 0 for row in rows)
    assert all(row.peer is None and row.ratio is None for row in rows)


def test_every_stage_of_a_substep_is_found():
    rows = mpm.stage_rows("elastic", 8)
    stages = [row for row in rows if "stage" in row.what]
    assert [row.what.split(": ")[1] for row in stages] == list(mpm.STAGES)
    assert all(row.ours > 0 for row in stages)
    assert rows[-1].what == "elastic share of that bandwidth, forward"
    assert rows[-1].ours > 0


def test_the_memory_of_a_long_gradient_is_compared_with_that_of_a_short_one():
    rows = mpm.rollout_rows((4, 64), count=14)
    assert rows[0].what == "memory of a gradient through 4 steps"
    assert 0 < rows[0].ours < rows[1].ours


def test_the_whole_benchmark_runs_without_its_peer_and_says_how_to_get_it(alone, monkeypatch, capsys):
    asked = []
    for name in ("cold_rows", "scene_rows", "stage_rows", "rollout_rows"):

        def rows(*given, name=name):
            asked.append((name, given))
            return [Row.of("mpm", name, "small", "float32", 1.0, "s", more_is_better=False)]

        monkeypatch.setattr(mpm, name, rows)
    rows = benchmarks.run_bench("mpm")
    assert {name for name, _ in asked} == {"cold_rows", "scene_rows", "stage_rows", "rollout_rows"}
    assert all(given[-1] is False for name, given in asked if name in ("cold_rows", "scene_rows"))
    assert "pliant[bench]" in capsys.readouterr().err
    assert len(rows) == len(asked)


def test_a_peer_stands_beside_ours_in_the_table():
    rows = [
        Row.of("mpm", "liquid forward", "8k particles", "float32", 4e6, "1/s", more_is_better=True, peer=1e6, peer_name="genesis"),
        Row.of("mpm", "alone", "8k particles", "float32", 2.0, "s", more_is_better=False),
    ]
    text = mpm.table(rows)
    assert "| liquid forward | 8k particles | 4e+06 | 1e+06 | 1/s | 4.0 |" in text
    assert "| alone | 8k particles | 2 |  | s |  |" in text
    assert mpm.COMMAND in text


def test_a_peer_that_cannot_build_the_scene_leaves_its_column_empty(monkeypatch, capsys):
    """The interpreter is there and Genesis is not: every request is answered with an error."""
    monkeypatch.setenv(PEER_PYTHON, sys.executable)
    if mpm.has_peer():
        pytest.skip("Genesis is installed here")
    rows = mpm.scene_rows(Size("liquid", 6), 1, peer=True)
    assert rows[0].peer is None
    assert "No module named 'genesis'" in capsys.readouterr().err


def test_a_worker_says_what_went_wrong_and_goes_on():
    with Worker(OURS) as worker:
        with pytest.raises(WorkerError, match="make"):
            worker.ask("make", material="liquid", count=0)
        assert worker.ask("make", material="liquid", count=2) == 8


def test_a_worker_that_ends_is_an_error():
    with Worker([sys.executable, "-c", "pass"]) as worker, pytest.raises(WorkerError, match="ended"):
        worker.ask("make")
