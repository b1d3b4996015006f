"""Result folders: written whole, read back as written, and clear about everything that is not theirs."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import PointState, point_state

from pliant.app.results import FINISHED, INTERRUPTED, RUNNING, Result, RunFolder, default_folder, load_actions
from pliant.errors import FileFormatError, OptionError, PliantError
from pliant.sim.rollout import Trajectory


def result(**changes):
    options = {"method": "adam", "iterations": 5, "time_limit": None, "video": True, "task_options": {"mass": 0.5, "colour": (0.1, 0.2)}}
    return replace(Result("optimize", FINISHED, "me/Reach-v0", "small", 3, options), **changes)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


# result.json


def test_a_result_is_read_as_it_was_written(folder):
    folder.write(result(metrics={"loss": 0.25}, outcomes=["OK"], files=["actions.npz"]))
    found = folder.read()
    assert (found.task, found.seed, found.metrics, found.outcomes) == ("me/Reach-v0", 3, {"loss": 0.25}, ["OK"])
    assert found.settings["task_options"] == {"mass": 0.5, "colour": [0.1, 0.2]}
    assert {"pliant", "python", "torch", "taichi", "numpy", "cores"} <= set(found.versions)


def test_what_is_not_finite_becomes_null(folder):
    folder.write(
        result(metrics={"loss": [math.nan, 1.0], "best": math.inf, "array": np.float32(2.0), "tensor": torch.tensor([1.0, -math.inf])})
    )
    text = (folder.path / "result.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["metrics"] == {
        "loss": [None, 1.0],
        "best": None,
        "array": 2.0,
        "tensor": [1.0, None],
    }


def written(folder, change):
    folder.write(result())
    path = folder.path / "result.json"
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:200], "damaged"),
        (lambda text: "", "damaged"),
        (lambda text: "[" * 100_000, "damaged"),
        (lambda text: "[1, 2]", "not written by pliant"),
        (lambda text: '{"format": "another"}', "not written by pliant"),
        (lambda text: text.replace('"schema": 1', '"schema": 99'), "schema 99"),
        (lambda text: text.replace('"seed": 3', '"seed": "x"'), "seed"),
        (lambda text: text.replace('"metrics": {}', '"metrics": null'), "metrics"),
        (lambda text: text.replace('"status"', '"stat"'), "status"),
    ],
)
def test_a_damaged_or_foreign_result_is_named(folder, change, words):
    written(folder, change)
    with pytest.raises(FileFormatError, match=words) as caught:
        folder.read()
    assert "result.json" in str(caught.value)
    assert str(caught.value).count("\n") < 2


def test_a_folder_without_a_result_is_named(folder):
    with pytest.raises(FileFormatError, match=r"no result\.json"):
        folder.read()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_result_or_a_clear_error(tmp_path_factory, data):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    (folder.path / "result.json").write_bytes(data)
    with pytest.raises(FileFormatError):
        folder.read()


def test_a_failed_writing_leaves_the_old_result(folder, monkeypatch):
    folder.write(result(seed=1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(FileFormatError, match="No space left"):
        folder.write(result(seed=2))
    monkeypatch.undo()
    assert folder.read().seed == 1
    assert [path.name for path in folder.path.iterdir()] == ["result.json"]


# whose folder it is


def test_an_empty_or_new_folder_may_be_used(folder, tmp_path):
    folder.claim(result())
    RunFolder(tmp_path).claim(result())


def test_the_same_run_may_be_repeated_and_prolonged(folder):
    folder.write(result())
    folder.claim(result(settings={**result().settings, "iterations": 99, "time_limit": 7.0, "video": False}))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (result(seed=4), "seed = 3, not 4"),
        (result(preset="full"), "preset = small, not full"),
        (result(settings={**result().settings, "method": "cma"}), "method = adam, not cma"),
        (result(settings={**result().settings, "task_options": {"mass": 0.7, "colour": (0.1, 0.2)}}), "mass = 0.5, not 0.7"),
    ],
)
def test_another_run_is_not_overwritten_unless_one_says_so(folder, other, words):
    folder.write(result())
    with pytest.raises(OptionError, match=words):
        folder.claim(other)
    with pytest.raises(OptionError, match=words):
        folder.claim(other, resume=True)
    folder.claim(other, overwrite=True)


@pytest.mark.parametrize("changes", [{"status": RUNNING}, {"status": INTERRUPTED, "metrics": {"evaluations": 3}}])
def test_an_unfinished_run_is_not_begun_anew_by_accident(folder, changes):
    folder.write(result(**changes))
    (folder.path / "progress.npz").touch()
    with pytest.raises(OptionError, match="--resume"):
        folder.claim(result())
    folder.claim(result(), resume=True)
    folder.claim(result(), overwrite=True)


def test_a_run_that_was_interrupted_before_it_had_anything_is_no_loss(folder):
    folder.write(result(status=INTERRUPTED, metrics={"evaluations": 0}))
    (folder.path / "progress.npz").touch()
    folder.claim(result())


def test_a_foreign_folder_is_left_alone(folder):
    folder.path.mkdir()
    (folder.path / "thesis.tex").touch()
    with pytest.raises(FileFormatError, match="another --out"):
        folder.claim(result())
    with pytest.raises(FileFormatError, match="Give the folder of a run"):
        folder.claim(result(), resume=True)


def test_there_must_be_something_to_resume(folder):
    with pytest.raises(FileFormatError, match="without --resume"):
        folder.claim(result(), resume=True)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileFormatError, match="as a folder"):
        RunFolder(tmp_path / "file").claim(result())


def test_the_default_folder_names_task_method_and_seed():
    assert default_folder("pliant/Pouring-v0", "adam", 7) == Path("runs/Pouring-v0-adam-7")
    assert default_folder("toy:Reach", "cma", 0) == Path("runs/Reach-cma-0")


# actions.npz


def some_actions(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("shape", [(4, 2), (3, 4, 2)])
def test_actions_come_back_bit_for_bit_from_file_and_folder(folder, shape):
    actions = some_actions(*shape)
    folder.write_actions("me/Reach-v0", actions)
    for place in (folder.path, folder.path / "actions.npz"):
        found = load_actions(place, "me/Reach-v0", 2)
        assert found.shape == (*((1,) if len(shape) == 2 else ()), *shape)
        assert np.array_equal(found.reshape(shape), actions.numpy())


@pytest.mark.parametrize(
    ("actions", "task", "words"),
    [
        (some_actions(4, 2), "me/Other-v0", "holds actions of me/Other-v0, not of me/Reach-v0"),
        (some_actions(4, 3), "me/Reach-v0", "3 components"),
        (torch.full((4, 2), torch.nan), "me/Reach-v0", "within -1 and 1"),
        (torch.full((4, 2), 1.5), "me/Reach-v0", "within -1 and 1"),
        (torch.zeros(4, 2, dtype=torch.int32), "me/Reach-v0", "int32"),
        (torch.zeros(0, 4, 2), "me/Reach-v0", "shape"),
    ],
)
def test_actions_of_another_kind_are_refused(folder, actions, task, words):
    folder.write_actions(task, actions)
    with pytest.raises(FileFormatError, match=words):
        load_actions(folder.path, "me/Reach-v0", 2)


def test_damaged_and_foreign_actions_are_refused(tmp_path):
    path = tmp_path / "actions.npz"
    with pytest.raises(FileFormatError, match="no file"):
        load_actions(path, "me/Reach-v0", 2)
    for write in (
        lambda: path.write_text("left, right"),
        lambda: np.savez(path, actions=np.zeros((1, 4, 2))),
        lambda: np.savez(path, __kind__=np.array("action sequences"), actions=np.array([{"a": 1}]), task=np.array("me/Reach-v0")),
        lambda: (RunFolder(tmp_path).write_actions("me/Reach-v0", some_actions(4, 2)), path.write_bytes(path.read_bytes()[:-60])),
    ):
        write()
        with pytest.raises(FileFormatError, match=r"actions\.npz"):
            load_actions(path, "me/Reach-v0", 2)


# replay.npz


def test_a_replay_is_read_as_the_states_that_it_holds(folder):
    states = [point_state(2, seed=seed) for seed in range(3)]
    Trajectory.stack(states, 0.1).save(folder.path / "replay.npz")
    found = folder.load_replay(PointState)
    assert len(found) == 3
    assert torch.equal(found[2].position, states[2].position)
    (folder.path / "replay.npz").write_bytes(b"PK")
    with pytest.raises(PliantError, match=r"replay\.npz"):
        folder.load_replay(PointState)
