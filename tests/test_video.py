"""Films and plots can be read back, and a file is whole or absent."""

import resource
import subprocess
import sys

import imageio.v3 as iio
import numpy as np
import pytest

from pliant.app.video import plot_loss, write_gif, write_mp4, write_png
from pliant.errors import FileFormatError, ShapeError


def moving_square(count=6, height=48, width=64):
    frames = np.full((count, height, width, 3), 230, dtype=np.uint8)
    for k in range(count):
        frames[k, 10:30, 5 + 4 * k : 25 + 4 * k] = (200, 40, 30)
    return frames


WRITERS = {
    "film.gif": lambda path: write_gif(path, moving_square(), 10),
    "film.mp4": lambda path: write_mp4(path, moving_square(), 10),
    "picture.png": lambda path: write_png(path, moving_square()[0]),
    "loss.png": lambda path: plot_loss(path, {"adam": [3.0, 2.0, 1.0]}),
}


def test_png_keeps_every_bit(tmp_path):
    write_png(tmp_path / "a.png", moving_square()[2])
    assert np.array_equal(iio.imread(tmp_path / "a.png"), moving_square()[2])


def test_gif_keeps_frames_and_colours(tmp_path):
    write_gif(tmp_path / "a.gif", moving_square(), 10)
    back = iio.imread(tmp_path / "a.gif")
    assert back.shape == moving_square().shape
    assert np.abs(back.astype(int) - moving_square()).max() <= 8
    assert iio.immeta(tmp_path / "a.gif")["duration"] == 100


@pytest.mark.parametrize("fps", [24, 30])
def test_gif_lasts_as_long_as_its_frames(tmp_path, fps):
    from PIL import Image, ImageSequence

    write_gif(tmp_path / "a.gif", np.random.default_rng(0).integers(0, 255, (fps, 8, 8, 3)).astype(np.uint8), fps)
    with Image.open(tmp_path / "a.gif") as film:
        assert sum(frame.info["duration"] for frame in ImageSequence.Iterator(film)) == 1000


def test_mp4_keeps_frames_colours_and_rate(tmp_path):
    write_mp4(tmp_path / "a.mp4", moving_square(), 12)
    back = iio.imread(tmp_path / "a.mp4")
    assert back.shape == moving_square().shape
    assert np.abs(back.astype(int) - moving_square()).mean() < 4
    assert iio.immeta(tmp_path / "a.mp4")["fps"] == 12


def test_mp4_of_odd_size_gains_a_pixel(tmp_path):
    write_mp4(tmp_path / "a.mp4", moving_square(height=47, width=63), 10)
    assert iio.imread(tmp_path / "a.mp4").shape == (6, 48, 64, 3)


@pytest.mark.parametrize("write", [write_gif, write_mp4])
@pytest.mark.parametrize("frames", [np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)])
def test_frames_of_wrong_shape_are_refused(tmp_path, write, frames):
    with pytest.raises(ShapeError):
        write(tmp_path / "film", frames, 10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_gif, write_mp4])
@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_not_positive_is_refused(tmp_path, write, fps):
    with pytest.raises(ShapeError, match="fps"):
        write(tmp_path / "film", moving_square(), fps)


@pytest.mark.parametrize("name", WRITERS)
def test_an_unwritable_folder_is_a_clear_error(tmp_path, name):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FileFormatError, match="Cannot write"):
        WRITERS[name](tmp_path / "file" / name)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_what_was_there(tmp_path, name):
    (tmp_path / name).write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        with pytest.raises(FileFormatError, match="Cannot write"):
            WRITERS[name](tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / name).read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


HISTORIES = {
    "losses": {"adam": [3.0, 2.0, 1.0], "cma": [4.0, 3.0]},
    "mapping": {"adam": {"iteration": [1, 2, 3], "loss": [3.0, 4.0, 1.0], "best": [3.0, 3.0, 1.0], "seconds": [0, 1, 2]}},
    "negative": {"adam": [3.0, -2.0]},
    "gaps": {"adam": [np.nan, 2.0, np.inf, 1.0]},
    "nothing finite": {"adam": [np.nan, np.inf]},
    "one": {"adam": [2.0]},
    "none yet": {"adam": []},
    "no curve": {},
}


@pytest.mark.parametrize("histories", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.filterwarnings("error")
def test_a_loss_plot_is_a_picture(tmp_path, histories):
    plot_loss(tmp_path / "loss.png", histories, title="Pouring")
    picture = iio.imread(tmp_path / "loss.png")
    assert picture.shape[:2] == (480, 768)
    assert picture[..., :3].std() > 1


@pytest.mark.parametrize(
    ("losses", "scale"), [([3.0, 2.0], "log"), ([3.0, 0.0], "linear"), ([3.0, -1.0], "linear"), ([np.nan, 2.0], "log"), ([], "linear")]
)
def test_the_axis_is_logarithmic_where_all_are_positive(tmp_path, monkeypatch, losses, scale):
    from matplotlib.figure import Figure

    scales = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **_: scales.append(figure.axes[0].get_yscale()))
    plot_loss(tmp_path / "loss.png", {"a": losses})
    assert scales == [scale]


@pytest.mark.parametrize("history", [np.zeros((2, 2)), {"best": [1.0]}, {"loss": [1.0, 2.0], "best": [1.0]}, 3.0])
def test_a_history_of_wrong_shape_is_refused(tmp_path, history):
    with pytest.raises(ShapeError, match="History 'adam'"):
        plot_loss(tmp_path / "loss.png", {"adam": history})


def test_importing_it_loads_no_plotting():
    code = "import sys, pliant.app.video; sys.exit(bool({'matplotlib', 'PIL', 'imageio_ffmpeg', 'taichi'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
