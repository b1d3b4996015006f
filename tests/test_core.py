"""The contract's records, and arrays on disk: nothing is lost, nothing foreign is read."""

import pickle
import stat

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import PointControl, PointSolver, PointState, point_model, point_state

from pliant import storage
from pliant.errors import FileFormatError, ShapeError
from pliant.sim.core import Outcome, State, keep_failed, same_shape
from pliant.storage import load_arrays, save_arrays, write_whole


def same(first, second):
    return type(first) is type(second) and all(
        a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(first.tensors(), second.tensors(), strict=True)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_state_comes_back_bit_for_bit(tmp_path, dtype):
    state = point_state(3, dtype)
    state.save(tmp_path / "deep" / "state.npz")
    assert same(PointState.load(tmp_path / "deep" / "state.npz"), state)


def test_a_state_that_requires_a_gradient_is_saved_too(tmp_path):
    state = point_state(2)
    state.replace(position=state.position.requires_grad_()).save(tmp_path / "state.npz")
    assert same(PointState.load(tmp_path / "state.npz"), state.detach())


@pytest.mark.parametrize(
    ("index", "envs"),
    [(1, [1]), (-1, [3]), (slice(1, 3), [1, 2]), ([3, 0], [3, 0]), (torch.tensor([False, True, False, True]), [1, 3])],
)
def test_an_index_selects_environments_and_keeps_the_batch_axis(index, envs):
    state = point_state(4)
    chosen = state[index]
    assert chosen.batch == len(envs)
    assert torch.equal(chosen.position, state.position[envs])


def test_an_index_beyond_the_batch_is_an_error_and_ends_a_loop():
    state = point_state(3)
    assert [part.batch for part in state] == [1, 1, 1]
    with pytest.raises(IndexError, match="environment 3 of a batch of 3"):
        state[3]


def test_cat_undoes_indexing_and_nothing_cannot_be_concatenated():
    state = point_state(4)
    assert same(PointState.cat([state[:1], state[1:3], state[3]]), state)
    with pytest.raises(ShapeError):
        PointState.cat([])


def test_repeat_puts_copies_side_by_side():
    state = point_state(2)
    assert torch.equal(state.repeat(3).position, state.position[[0, 0, 0, 1, 1, 1]])


def test_a_clone_shares_no_memory_and_a_detached_state_shares_it():
    state = point_state(2)
    before = state.position.clone()
    clone = state.clone()
    clone.position.zero_()
    assert torch.equal(state.position, before)
    assert state.detach().position.data_ptr() == state.position.data_ptr()


def test_where_chooses_by_environment():
    first, second = point_state(3, seed=1), point_state(3, seed=2)
    mixed = first.where(torch.tensor([True, False, True]), second)
    assert same(mixed[[0, 2]], first[[0, 2]])
    assert same(mixed[1], second[1])


def test_a_failed_environment_keeps_its_old_state_and_the_mark():
    old, new = point_state(3, seed=1), point_state(3, seed=2)
    new = new.replace(status=torch.tensor([0, Outcome.TOO_FAST, 0], dtype=torch.int32))
    kept = keep_failed(old, new)
    assert kept.outcomes() == [Outcome.OK, Outcome.TOO_FAST, Outcome.OK]
    assert torch.equal(kept.position[1], old.position[1])
    assert torch.equal(kept.position[[0, 2]], new.position[[0, 2]])


def test_fields_of_different_batch_size_or_without_batch_axis_are_refused():
    state = point_state(2)
    with pytest.raises(ShapeError, match="batch sizes differ"):
        state.replace(target=torch.zeros(3, 2))
    with pytest.raises(ShapeError, match=r"PointControl\.force"):
        PointControl(torch.tensor(1.0))
    with pytest.raises(ShapeError, match=r"PointControl\.force"):
        PointControl([[0.0, 0.0]])


def test_same_shape_names_what_is_wrong():
    like = torch.zeros(1)
    good = torch.zeros(2, 3)
    assert same_shape("force", good, (2, 3), like) is good
    for bad in ([[0.0]], torch.zeros(3, 2), good.double(), good.int()):
        with pytest.raises(ShapeError, match="force"):
            same_shape("force", bad, (2, 3), like)


def test_a_solver_refuses_a_control_of_the_wrong_shape():
    with pytest.raises(ShapeError, match="force"):
        PointSolver(point_model()).step(point_state(2), PointControl(torch.zeros(2, 3, dtype=torch.float64)))


def write_foreign(path, kind):
    state = point_state(2)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("position: 1, 2, 3\n")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"position": [1, 2]}))
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif kind == "npz of somebody else":
        np.savez(path, position=np.zeros((2, 2)))
    elif kind == "objects":
        np.savez(path, __kind__=np.array("PointState"), position=np.array([{"a": 1}], dtype=object))
    elif kind == "another record":
        PointControl(state.position).save(path)
    elif kind == "lacks a field":
        save_arrays(path, "PointState", {"status": state.status.numpy()})
    elif kind == "newer":
        save_arrays(path, "PointState", {name: x.numpy() for name, x in zip(state.names(), state.tensors(), strict=True)})
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **{**arrays, "__schema__": np.array(storage.SCHEMA + 1)})
    elif kind == "half":
        state.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "folder":
        path.mkdir()
    elif kind == "words":
        save_arrays(path, "PointState", {name: np.array(["a", "b"]) for name in state.names()})
    elif kind == "ragged":
        save_arrays(path, "PointState", {name: np.zeros((size, 2)) for size, name in enumerate(state.names(), 1)})


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "empty",
        "text",
        "pickle",
        "npy",
        "npz of somebody else",
        "objects",
        "another record",
        "lacks a field",
        "newer",
        "half",
        "folder",
        "words",
        "ragged",
    ],
)
def test_a_damaged_or_foreign_file_is_a_clear_error(tmp_path, kind):
    path = tmp_path / "state.npz"
    write_foreign(path, kind)
    with pytest.raises(FileFormatError, match=r"state\.npz") as caught:
        PointState.load(path)
    assert str(caught.value).count("\n") < 2


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_file_with_flipped_bytes_is_refused_or_read_as_it_was(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flipped")
    path, state = folder / "state.npz", point_state(2)
    state.save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        loaded = PointState.load(path)
    except FileFormatError:
        return
    assert same(loaded, state)


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "state.npz"
    point_state(2).save(path)
    before = path.read_bytes()

    def disk_full(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(FileFormatError, match="No space left"):
        write_whole(path, disk_full)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.npz"]


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "state.npz"
    point_state(2).save(path)
    before = path.read_bytes()

    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, interrupted)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileFormatError, match="Cannot write"):
        point_state().save(tmp_path / "file" / "state.npz")


def test_a_written_file_has_the_rights_of_an_ordinary_file(tmp_path):
    (tmp_path / "ordinary").write_text("")
    point_state().save(tmp_path / "state.npz")
    assert stat.S_IMODE((tmp_path / "state.npz").stat().st_mode) == stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)


def test_arrays_come_back_without_the_marks_and_an_existing_file_is_replaced(tmp_path):
    path = tmp_path / "arrays.npz"
    save_arrays(path, "things", {"a": np.zeros(3)})
    save_arrays(path, "things", {"b": np.arange(4)})
    assert list(load_arrays(path, "things", ["b"])) == ["b"]
    assert not list(tmp_path.glob(".*"))


def test_every_state_has_a_status_of_outcomes():
    assert State.names() == ("status",)
    assert PointState.names()[0] == "status"
    assert PointSolver(point_model()).step(point_state(), PointControl(torch.full((1, 2), 1e9, dtype=torch.float64))).outcomes() == [
        Outcome.TOO_FAST
    ]
