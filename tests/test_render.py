"""Pixels, depths and normals against closed forms; the same bits whatever the batch, the threads and the tiles."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pliant.errors import ModelError, ShapeError
from pliant.sim.render import Camera, Drawing, Surface, picture, render

FRONT = Camera((0.0, -4.0, 0.0), (0.0, 0.0, 0.0))
"""Looks along +y, four metres before the origin."""
WALL = ([[-9.0, 1.0, -9.0], [9.0, 1.0, -9.0], [0.0, 1.0, 12.0]], [[0, 1, 2]], (0.2, 0.4, 0.6))
"""A triangle in the plane y = 1, facing the camera."""


def plain(drawing, camera=FRONT, width=64, height=48, **options):
    return render([drawing], camera, width, height, antialias=False, **options)


def rays(camera, width, height):
    """Starts and directions [H, W, 3] of the pixels' rays, the latter one long along the camera's axis."""
    view = camera.view(width, height).astype(np.float64)
    right, up, forward = view[3:6], view[6:9], view[9:12]
    u = ((np.arange(width) + 0.5 - view[14]) / view[12])[None, :, None]
    v = ((view[15] - np.arange(height) - 0.5) / view[13])[:, None, None]
    across = u * right + v * up
    if view[16]:
        return view[:3] + across, np.broadcast_to(forward, across.shape)
    return np.broadcast_to(view[:3], across.shape), across + forward


def lamp(camera):
    up = np.array(camera.up) / np.linalg.norm(camera.up)
    direction = 0.75 * up - 0.45 * camera.right - 0.55 * camera.forward
    return direction / np.linalg.norm(direction), up


def shaded(color, normal, camera=FRONT, shadow=1.0):
    """The display colour that the docstring of `render` promises."""
    direction, up = lamp(camera)
    light = 0.6 * shadow * max(normal @ direction, 0.0) + 0.4 * (0.625 + 0.375 * normal @ up)
    return 255.0 * np.array(color) * np.sqrt(light)


def scene(shift=0.0):
    """Spheres, a box, a glass around some of them, and a ground."""
    rng = np.random.default_rng(3)
    glass = trimesh.creation.annulus(0.5, 0.55, 1.0, sections=24)
    box = trimesh.creation.box((0.5, 0.5, 0.5))
    return Drawing(
        np.add(rng.uniform(-1.0, 1.0, (300, 3)), [shift, 0.0, 0.0]),
        rng.uniform(0.0, 1.0, (300, 3)),
        rng.uniform(0.02, 0.1, 300),
        [(np.add(box.vertices, [0.8, shift, 0.0]), box.faces, (0.9, 0.6, 0.2)), Surface(glass.vertices, glass.faces, (0.6, 0.8, 0.9), 0.2)],
        ground=-1.1,
    )


def digest(result):
    return hashlib.sha256(result.rgb.tobytes() + result.depth.tobytes() + result.normal.tobytes()).hexdigest()


# --- what is seen -----------------------------------------------------------------------------------------------------------------


def test_a_sphere_before_a_triangle_gives_the_known_pixels():
    result = plain(Drawing([[0.0, 0.0, 0.0]], (0.8, 0.3, 0.1), 0.5, [WALL]), width=65, height=49, shadows=False)
    toward = np.array([0.0, -1.0, 0.0])
    assert result.depth[0, 24, 32] == pytest.approx(3.5, abs=1e-6)
    assert result.depth[0, 0, 0] == pytest.approx(5.0, abs=1e-5)
    assert np.allclose(result.normal[0, 24, 32], toward, atol=1e-6)
    assert np.allclose(result.normal[0, 0, 0], toward, atol=1e-6)
    assert np.abs(result.rgb[0, 24, 32] - shaded((0.8, 0.3, 0.1), toward)).max() <= 1
    assert np.abs(result.rgb[0, 0, 0] - shaded(WALL[2], toward)).max() <= 1


CAMERAS = {
    "perspective": Camera((1.0, -3.0, 1.5), (0.1, 0.2, 0.0), field_of_view=50.0),
    "orthographic": Camera.orthographic((1.0, -3.0, 1.5), (0.1, 0.2, 0.0), extent=(3.0, 2.0)),
}


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_depth_and_normal_of_a_sphere_are_exact_everywhere(camera):
    center, radius = np.array([0.2, 0.1, -0.1]), 0.6
    result = plain(Drawing([center], radius=radius), camera)
    start, ray = rays(camera, 64, 48)
    a, b, c = (ray**2).sum(-1), ((start - center) * ray).sum(-1), ((start - center) ** 2).sum(-1) - radius**2
    root = b**2 - a * c
    clear = np.abs(root) > 1e-4
    seen = np.isfinite(result.depth[0])
    assert np.array_equal(seen[clear], (root > 0)[clear])
    assert 200 < seen.sum() < 2000
    hit = seen & clear
    depth = (-b - np.sqrt(np.maximum(root, 0.0))) / a
    assert np.abs(result.depth[0] - depth)[hit].max() < 2e-5
    normal = (start + depth[..., None] * ray - center) / radius
    assert np.abs(result.normal[0] - normal)[hit].max() < 1e-3
    assert not result.normal[0][~seen].any()


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
def test_depth_of_a_triangle_is_that_of_its_plane(camera):
    corners = np.array([[-1.0, 0.3, -0.8], [1.2, -0.4, -0.6], [0.1, 0.9, 1.1]])
    result = plain(Drawing(meshes=[(corners, [[0, 1, 2]], (1.0, 1.0, 1.0))]), camera)
    start, ray = rays(camera, 64, 48)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= np.linalg.norm(normal)
    depth = ((corners[0] - start) @ normal) / (ray @ normal)
    place = start + depth[..., None] * ray
    inside = np.ones(depth.shape, dtype=bool)
    edge = np.zeros(depth.shape, dtype=bool)
    for k in range(3):
        along = corners[(k + 1) % 3] - corners[k]
        height = np.cross(along, place - corners[k]) @ normal / np.linalg.norm(along)
        inside &= height > 0
        edge |= np.abs(height) < 1e-3
    seen = np.isfinite(result.depth[0])
    assert np.array_equal(seen[~edge], inside[~edge])
    assert seen.sum() > 200
    assert np.abs(result.depth[0] - depth)[seen].max() < 2e-5
    assert np.abs(np.abs(result.normal[0][seen] @ normal) - 1.0).max() < 1e-6
    assert (np.sum(result.normal[0] * ray, axis=-1)[seen] < 0).all()


def test_a_fine_mesh_has_no_gaps():
    n = 80
    x, z = np.meshgrid(np.linspace(-3, 3, n), np.linspace(-3, 3, n), indexing="ij")
    vertices = np.stack([x, 0.3 * np.sin(2 * x) * np.cos(3 * z), z], axis=-1).reshape(-1, 3)
    at = np.arange(n * n).reshape(n, n)
    a, b, c, d = (part.ravel() for part in (at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    result = plain(Drawing(meshes=[(vertices, faces, (1.0, 1.0, 1.0))]), width=320, height=240)
    assert np.isfinite(result.depth).all()


def test_a_floor_that_passes_under_the_camera_fills_the_picture_up_to_the_horizon():
    floor = (
        [[-100.0, -100.0, -1.0], [100.0, -100.0, -1.0], [100.0, 100.0, -1.0], [-100.0, 100.0, -1.0]],
        [[0, 1, 2], [0, 2, 3]],
        (1, 1, 1),
    )
    result = plain(Drawing(meshes=[floor]))
    rows = np.isfinite(result.depth[0]).mean(axis=1)
    assert (rows[:24] == 0).all()
    assert (rows[25:] == 1).all()


def test_smooth_shading_rounds_a_ball_and_keeps_the_edges_of_a_box():
    ball, box = trimesh.creation.icosphere(2, 1.0), trimesh.creation.box((1.0, 1.0, 1.0))
    smooth = plain(Drawing(meshes=[(ball.vertices, ball.faces, (1.0, 1.0, 1.0))]))
    flat = plain(Drawing(meshes=[Surface(ball.vertices, ball.faces, (1.0, 1.0, 1.0), smooth=False)]))
    start, ray = rays(FRONT, 64, 48)
    seen = np.isfinite(smooth.depth[0])
    radial = np.where(seen[..., None], start + np.where(seen, smooth.depth[0], 0.0)[..., None] * ray, 0.0)
    radial /= np.maximum(np.linalg.norm(radial, axis=-1, keepdims=True), 1e-9)
    assert (smooth.normal[0] * radial).sum(-1)[seen].min() > 0.99
    assert len(np.unique(flat.normal[0][seen].round(4), axis=0)) <= len(ball.faces)
    assert len(np.unique(smooth.normal[0][seen].round(4), axis=0)) > len(ball.faces)
    cube = plain(Drawing(meshes=[(box.vertices, box.faces, (1.0, 1.0, 1.0))]), CAMERAS["perspective"])
    assert np.allclose(np.sort(np.abs(cube.normal[0][np.isfinite(cube.depth[0])]), axis=-1), [0.0, 0.0, 1.0], atol=1e-5)


def test_vertex_colours_are_interpolated():
    corners = [[-9.0, 0.0, -9.0], [9.0, 0.0, -9.0], [0.0, 0.0, 18.0]]
    result = plain(Drawing(meshes=[(corners, [[0, 1, 2]], np.eye(3))]), width=65, height=49, shadows=False)
    assert np.abs(result.rgb[0, 24, 32] - shaded(np.sqrt([1 / 3] * 3), np.array([0.0, -1.0, 0.0]))).max() <= 1


def test_of_two_things_at_one_place_the_first_is_seen():
    colors = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    first = plain(Drawing(np.zeros((2, 3)), colors, 0.5))
    second = plain(Drawing(np.zeros((2, 3)), colors[::-1], 0.5))
    assert first.rgb[0, 24, 32, 0] > 100 > first.rgb[0, 24, 32, 2]
    assert second.rgb[0, 24, 32, 2] > 100 > second.rgb[0, 24, 32, 0]


def test_a_sphere_far_smaller_than_a_pixel_is_seen():
    rng = np.random.default_rng(0)
    for place in rng.uniform(-1.0, 1.0, (20, 3)):
        assert np.isfinite(plain(Drawing([place], radius=1e-5)).depth).any()


def test_what_lies_behind_the_camera_is_not_seen():
    behind = Drawing([[0.0, -5.0, 0.0], [0.0, -4.0, 0.0]], radius=0.5, meshes=[(np.subtract(WALL[0], [0, 6, 0]), WALL[1], WALL[2])])
    assert not np.isfinite(plain(behind).depth).any()


def test_an_empty_drawing_shows_the_background():
    result = plain(Drawing(), background=(0.2, 0.4, 0.6))
    assert (result.rgb == [51, 102, 153]).all()
    assert np.isinf(result.depth).all()
    assert not result.normal.any()
    graded = plain(Drawing(np.zeros((0, 3)), np.zeros((0, 3))), background=((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    assert (np.diff(graded.rgb[0, :, 0, 0].astype(int)) < 0).all()


def test_a_scene_in_two_dimensions_has_y_up_and_flat_meshes_their_own_colour():
    square = ([[0.0, 0.0], [0.2, 0.0], [0.2, 0.2], [0.0, 0.2]], [[0, 1, 2], [0, 2, 3]], (0.2, 0.6, 0.4))
    result = plain(
        Drawing([[0.9, 0.9]], (1.0, 0.0, 0.0), 0.1, [square]), Camera.planar((0.0, 0.0), (1.0, 1.0), 0.0), 50, 50, background=(0, 0, 0)
    )
    assert tuple(result.rgb[0, 45, 4]) == (51, 153, 102)
    assert tuple(result.rgb[0, 4, 45]) == (255, 0, 0) or result.rgb[0, 4, 45, 0] > 245
    assert not result.rgb[0, 4, 4].any()
    assert not result.rgb[0, 45, 45].any()


@pytest.mark.parametrize(("width", "height"), [(60, 20), (20, 60)])
def test_a_planar_view_holds_the_whole_rectangle(width, height):
    corners = [[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [2.0, 1.0]]
    colors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    result = plain(Drawing(corners, colors, 0.02), Camera.planar((0.0, 0.0), (2.0, 1.0)), width, height, background=(0.5, 0.5, 0.5))
    seen = np.isfinite(result.depth[0])
    assert len(np.unique(result.rgb[0][seen] > 128, axis=0)) == 4


# --- translucency, ground and shadow ----------------------------------------------------------------------------------------------


def test_a_pane_covers_what_is_behind_by_its_alpha_and_nothing_before_it():
    pane = Surface(np.subtract(WALL[0], [0.0, 2.0, 0.0]), WALL[1], (1.0, 1.0, 1.0), 0.3)
    behind = plain(Drawing([[0.0, 0.5, 0.0]], (0.8, 0.3, 0.1), 0.5, [WALL, pane]), width=65, height=49, shadows=False)
    toward = np.array([0.0, -1.0, 0.0])
    below, over = shaded((0.8, 0.3, 0.1), toward) ** 2, shaded((1.0, 1.0, 1.0), toward) ** 2
    assert np.abs(behind.rgb[0, 24, 32] - np.sqrt(0.7 * below + 0.3 * over)).max() <= 2
    assert behind.depth[0, 24, 32] == pytest.approx(3.0, abs=1e-5)
    before = Drawing([[0.0, -2.0, 0.0]], (0.8, 0.3, 0.1), 0.5, [WALL])
    with_pane = Drawing([[0.0, -2.0, 0.0]], (0.8, 0.3, 0.1), 0.5, [WALL, pane])
    assert np.array_equal(plain(before).rgb[0, 24, 32], plain(with_pane).rgb[0, 24, 32])


def test_the_ground_has_its_depth_and_normal():
    result = plain(Drawing(ground=-0.5))
    start, ray = rays(FRONT, 64, 48)
    down = ray[..., 2] < -1e-3
    depth = (-0.5 - start[..., 2]) / np.where(down, ray[..., 2], 1.0)
    assert np.array_equal(np.isfinite(result.depth[0]), down)
    assert np.allclose(result.depth[0][down], depth[down], rtol=1e-4)
    assert (result.normal[0][down] == [0.0, 0.0, 1.0]).all()


def test_a_ball_casts_its_shadow_where_the_lamp_sends_it():
    camera, radius = Camera((0.0, -3.0, 3.0), (0.0, 0.0, 0.0)), 0.25
    drawing = Drawing([[0.0, 0.0, 1.0]], radius=radius, ground=0.0)
    dark = plain(drawing, camera, 160, 120).rgb[0].astype(int)
    bright = plain(drawing, camera, 160, 120, shadows=False)
    start, ray = rays(camera, 160, 120)
    place = start + bright.depth[0][..., None] * ray
    direction, _ = lamp(camera)
    offset = place - [0.0, 0.0, 1.0]
    miss = np.linalg.norm(offset - (offset @ direction)[..., None] * direction, axis=-1)
    ground = np.abs(place[..., 2]) < 1e-4
    loss = (bright.rgb[0].astype(int) - dark).sum(-1)
    assert (ground & (miss < 0.9 * radius)).sum() > 50
    assert loss[ground & (miss < 0.9 * radius)].min() > 60
    assert np.abs(loss[ground & (miss > 1.1 * radius)]).max() == 0


def test_a_lit_ball_does_not_shade_itself():
    drawing = Drawing([[0.0, 0.0, 0.0]], radius=1.0)
    result, bright = plain(drawing, width=160, height=120), plain(drawing, width=160, height=120, shadows=False)
    lit = result.normal[0] @ lamp(FRONT)[0] > 0.3
    assert lit.sum() > 1000
    assert np.abs(result.rgb[0].astype(int) - bright.rgb[0])[lit].max() <= 2


# --- the same bits ----------------------------------------------------------------------------------------------------------------


def test_samples_of_a_pixel_are_those_of_a_picture_of_twice_the_size():
    fine, coarse = plain(scene(), width=128, height=96), render([scene()], FRONT, 64, 48)
    parts = fine.depth[0].reshape(48, 2, 64, 2).transpose(0, 2, 1, 3).reshape(48, 64, 4)
    assert np.array_equal(coarse.depth[0], parts.min(axis=-1))
    mean = np.sqrt(((fine.rgb[0].astype(float) ** 2).reshape(48, 2, 64, 2, 3)).mean(axis=(1, 3)))
    assert np.abs(coarse.rgb[0] - mean).max() < 1.5


def test_a_batch_shows_what_each_drawing_shows_alone():
    drawings = [scene(), Drawing(), scene(0.3), Drawing(ground=-1.0), Drawing([[0.0, 0.0]], radius=0.5)]
    together = render(drawings, FRONT, 64, 48)
    assert together.rgb.shape == (5, 48, 64, 3)
    for k, drawing in enumerate(drawings):
        alone = render([drawing], FRONT, 64, 48)
        for name in ("rgb", "depth", "normal"):
            assert np.array_equal(getattr(together, name)[k], getattr(alone, name)[0])


@pytest.mark.parametrize(("name", "value"), [("MOST_SAMPLES", 64 * 48 * 8), ("MOST_ENTRIES", 400), ("MOST_ENTRIES", 1)])
def test_cutting_the_batch_and_larger_tiles_change_no_bit(monkeypatch, name, value):
    drawings = [scene(0.1 * k) for k in range(5)]
    whole = digest(render(drawings, FRONT, 64, 48))
    monkeypatch.setattr(picture, name, value)
    assert digest(render(drawings, FRONT, 64, 48)) == whole


def test_the_same_bits_twice():
    assert len({digest(render([scene(), scene(0.2)], FRONT, 160, 120)) for _ in range(5)}) == 1


RENDER_ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
import test_render as t
result = t.render([t.scene(), t.scene(0.2)], t.FRONT, 160, 120)
if len(sys.argv) > 2:
    t.np.savez(sys.argv[2], rgb=result.rgb, depth=result.depth, normal=result.normal)
print(t.digest(result))
"""


def elsewhere(*arguments, **environment):
    command = [sys.executable, "-c", RENDER_ELSEWHERE, os.path.dirname(__file__), *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_the_same_bits_on_one_thread():
    done = elsewhere(PLIANT_THREADS="1", PLIANT_BACKEND="cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == digest(render([scene(), scene(0.2)], FRONT, 160, 120))


@pytest.mark.vulkan
def test_vulkan_draws_the_same_picture(tmp_path):
    done = elsewhere(tmp_path / "vulkan.npz", PLIANT_BACKEND="vulkan")
    if "DeviceError" in done.stderr:
        pytest.skip("Taichi finds no Vulkan device here")
    assert done.returncode == 0, done.stderr
    here = render([scene(), scene(0.2)], FRONT, 160, 120)
    with np.load(tmp_path / "vulkan.npz") as there:
        close = np.abs(there["rgb"].astype(int) - here.rgb).max(axis=-1) <= 2
        finite = np.isfinite(here.depth) & np.isfinite(there["depth"])
        assert close.mean() > 0.998
        assert (np.isfinite(here.depth) == np.isfinite(there["depth"])).mean() > 0.999
        assert (np.abs(here.depth[finite] - there["depth"][finite]) < 1e-4).mean() > 0.998


# --- bad input --------------------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(0, 6), st.sampled_from([2, 3])), elements=st.floats(-1e14, 1e14)),
    st.floats(1e-12, 1e12),
    st.floats(0.0, 1.0),
)
def test_any_finite_drawing_gives_a_picture(points, radius, alpha):
    meshes = [Surface(points, [[0, 0, len(points) - 1]], (1.0, 1.0, 1.0), alpha)] if len(points) else []
    result = render([Drawing(points, radius=radius, meshes=meshes)], FRONT, 16, 12)
    assert np.isfinite(result.normal).all()
    assert not np.isnan(result.depth).any()


def test_points_that_are_not_finite_are_named():
    points = np.zeros((9, 3))
    points[4, 1], points[7, 0] = np.nan, np.inf
    with pytest.raises(ShapeError, match=r"2 of 9 rows are not finite \(first: 4\)"):
        Drawing(points)


GOOD = ([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [[0, 1, 2]], (1.0, 1.0, 1.0))
BAD_DRAWINGS = {
    "points of four": {"points": np.zeros((5, 4))},
    "points without axis": {"points": np.zeros(3)},
    "one number": {"points": 3.0},
    "text": {"points": "abc"},
    "None": {"points": None},
    "colours of other length": {"points": np.zeros((5, 3)), "point_colors": np.zeros((4, 3))},
    "colour above one": {"points": np.zeros((5, 3)), "point_colors": (255, 0, 0)},
    "radius of other length": {"points": np.zeros((5, 3)), "radius": np.ones(4)},
    "radius zero": {"points": np.zeros((5, 3)), "radius": 0.0},
    "radius not finite": {"points": np.zeros((5, 3)), "radius": np.nan},
    "beyond f32": {"points": np.full((5, 3), 1e200)},
    "ground not finite": {"ground": float("nan")},
    "mesh of one part": {"meshes": [(GOOD[0],)]},
    "mesh not finite": {"meshes": [(np.full((3, 3), np.nan), GOOD[1], GOOD[2])]},
    "face beyond": {"meshes": [(GOOD[0], [[0, 1, 3]], GOOD[2])]},
    "face below": {"meshes": [(GOOD[0], [[0, 1, -1]], GOOD[2])]},
    "faces of four": {"meshes": [(GOOD[0], [[0, 1, 2, 0]], GOOD[2])]},
    "faces not whole": {"meshes": [(GOOD[0], [[0.0, 1.0, 2.0]], GOOD[2])]},
    "alpha above one": {"meshes": [(*GOOD, 1.5)]},
    "mesh colour": {"meshes": [(GOOD[0], GOOD[1], (1.0, 1.0))]},
}


@pytest.mark.parametrize("fields", BAD_DRAWINGS.values(), ids=BAD_DRAWINGS)
def test_a_wrong_drawing_is_refused(fields):
    with pytest.raises(ShapeError):
        Drawing(**fields)


@pytest.mark.parametrize(
    "options",
    [{"width": 0}, {"height": -1}, {"width": 2.5}, {"height": 100_000}, {"background": (2.0, 0.0, 0.0)}, {"background": np.zeros((3, 3))}],
)
def test_a_wrong_size_or_background_is_refused(options):
    with pytest.raises(ShapeError):
        render([Drawing()], FRONT, **options)


@pytest.mark.parametrize("drawings", [[], [None], None])
def test_no_drawing_is_refused(drawings):
    with pytest.raises(ShapeError, match="at least one Drawing"):
        render(drawings, FRONT)


@pytest.mark.parametrize(
    "fields",
    [
        {"eye": (0.0, 0.0, 0.0)},
        {"up": (0.0, 1.0, 0.0)},
        {"up": (0.0, 0.0, 0.0)},
        {"field_of_view": 180.0},
        {"field_of_view": float("nan")},
        {"extent": (1.0, 0.0)},
        {"eye": (0.0, float("nan"), 0.0)},
        {"eye": (0.0, 1.0)},
    ],
)
def test_a_wrong_camera_is_refused(fields):
    with pytest.raises((ModelError, ShapeError), match="Camera"):
        Camera(**{"eye": (0.0, -1.0, 0.0), "target": (0.0, 0.0, 0.0), **fields})


def test_an_empty_rectangle_is_refused():
    with pytest.raises(ModelError, match="empty"):
        Camera.planar((0.0, 0.0), (1.0, 0.0))


def test_importing_it_starts_nothing():
    code = "import sys, pliant.sim.render; sys.exit('taichi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
