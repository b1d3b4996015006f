"""Meshes of simple shapes are sound, of the size that they say, and numbered as they say."""

import numpy as np
import pytest

from pliant.errors import MeshError
from pliant.sim.mesh import check_mesh
from pliant.sim.mesh_shapes import ball, boundary_edges, fingertip, patch, sheet, tetrahedral_box
from pliant.sim.mesh_topology import face_normals, tetrahedron_volumes
from pliant.sim.shell.topology import ShellTopology


def areas(mesh):
    corner = mesh.vertices[mesh.faces]
    return np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 2


@pytest.mark.parametrize("irregular", [False, True])
def test_a_sheet_lies_flat_with_its_normal_up(irregular):
    mesh = sheet(0.3, 0.2, 5, 4, irregular=irregular)
    assert len(mesh.vertices) == 6 * 5
    assert len(mesh.faces) == 2 * 5 * 4
    assert areas(mesh).sum() == pytest.approx(0.3 * 0.2)
    assert (face_normals(mesh.vertices, mesh.faces)[:, 2] > 0).all()
    np.testing.assert_array_equal(mesh.bounds, [[0.0, 0.0, 0.0], [0.3, 0.2, 0.0]])
    ShellTopology.of(mesh.faces)  # no edge has three faces, no two are wound against each other
    grid = mesh.vertices.reshape(6, 5, 3)
    np.testing.assert_allclose(grid[[0, -1], :, 0], [[0.0] * 5, [0.3] * 5])
    np.testing.assert_allclose(grid[0, :, 1], np.linspace(0, 0.2, 5))  # rows run along y


def test_an_irregular_sheet_is_irregular_and_always_the_same():
    plain, mesh, again = sheet(1.0, 1.0, 6, 6), sheet(1.0, 1.0, 6, 6, irregular=True), sheet(1.0, 1.0, 6, 6, irregular=True)
    np.testing.assert_array_equal(mesh.vertices, again.vertices)
    np.testing.assert_array_equal(mesh.faces, again.faces)
    assert np.abs(mesh.vertices - plain.vertices).max() > 0.01
    assert areas(mesh).max() > 1.5 * areas(mesh).min()
    assert not np.array_equal(mesh.faces, plain.faces)
    ends = np.sort(mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    diagonals = {int(b - a) for a, b in ends} & {6, 8}  # one way across a cell, and the other
    assert diagonals == {6, 8}


def test_a_patch_follows_its_map():
    mesh = patch(8, 3, lambda s, t: np.column_stack([np.cos(s), np.sin(s), 2 * t]))
    np.testing.assert_allclose(np.hypot(*mesh.vertices[:, :2].T), 1.0)
    np.testing.assert_allclose(mesh.vertices[1 * 4 + 2], [np.cos(1 / 8), np.sin(1 / 8), 2 * 2 / 3])
    assert areas(mesh).sum() == pytest.approx(2.0, rel=1e-2)


@pytest.mark.parametrize("cells", [(1, 1, 1), (3, 2, 4)])
def test_a_box_of_tetrahedra_fills_its_box(cells):
    mesh = tetrahedral_box((0.3, 0.2, 0.1), cells)
    assert len(mesh.tetrahedra) == 6 * np.prod(cells)
    volumes = tetrahedron_volumes(mesh.vertices, mesh.tetrahedra)
    np.testing.assert_allclose(volumes, 0.006 / len(volumes))
    assert check_mesh(mesh).problems() == []
    assert mesh.volume == pytest.approx(0.006)
    np.testing.assert_allclose(mesh.bounds, [[0.0] * 3, [0.3, 0.2, 0.1]])
    assert areas(mesh).sum() == pytest.approx(2 * (0.06 + 0.03 + 0.02))


def test_a_ball_is_closed_and_gets_rounder():
    lost = []
    for finer in (1, 2, 3):
        mesh = ball(0.05, finer=finer)
        assert len(mesh.faces) == 20 * 4**finer
        assert check_mesh(mesh).problems() == []
        np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 0.05)
        lost.append(1 - mesh.volume / (4 / 3 * np.pi * 0.05**3))
    assert lost[0] / lost[1] == pytest.approx(4, rel=0.15)
    assert lost[1] / lost[2] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_fingertip_is_a_hollow_half_ball_with_its_pole_down(layers):
    mesh = fingertip(0.0075, 0.002, around=30, rings=9, layers=layers)
    assert check_mesh(mesh).problems() == []
    assert tetrahedron_volumes(mesh.vertices, mesh.tetrahedra).min() > 0
    assert mesh.volume == pytest.approx(2 / 3 * np.pi * (0.0075**3 - 0.0055**3), rel=0.03)
    np.testing.assert_allclose(mesh.bounds, [[-0.0075, -0.0075, -0.0075], [0.0075, 0.0075, 0.0]], atol=5e-5)
    radius = np.linalg.norm(mesh.vertices, axis=1)
    np.testing.assert_allclose([radius.min(), radius.max()], [0.0055, 0.0075])
    assert (np.abs(mesh.vertices[:, 2]) < 1e-12).sum() == 30 * (layers + 1)


@pytest.mark.parametrize(
    "size", [{"around": 5, "rings": 1}, {"around": 18, "rings": 5}, {"around": 31, "rings": 4}, {"around": 8, "rings": 12}]
)
def test_any_number_of_rings_makes_a_sound_fingertip(size):
    assert check_mesh(fingertip(1.0, 0.3, **size)).problems() == []


def test_boundary_edges_are_those_of_one_face_between_chosen_vertices():
    mesh = sheet(1.0, 1.0, 3, 2)
    everywhere = boundary_edges(mesh, np.ones(12, dtype=bool))
    assert len(everywhere) == 2 * (3 + 2)
    assert boundary_edges(mesh, mesh.vertices[:, 0] == 0).tolist() == [[0, 1], [1, 2]]
    assert len(boundary_edges(mesh, mesh.vertices[:, 0] == 1 / 3)) == 0
    assert len(boundary_edges(ball(1.0), np.ones(162, dtype=bool))) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sheet(0.0, 1.0, 2, 2), "length is 0.0 m; it must be positive"),
        (lambda: sheet(1.0, float("nan"), 2, 2), "width is nan"),
        (lambda: sheet(1.0, 1.0, 0, 2), "columns is 0; it must be at least 1"),
        (lambda: tetrahedral_box((1.0, -1.0, 1.0), (1, 1, 1)), "y is -1.0"),
        (lambda: tetrahedral_box((1.0, 1.0, 1.0), (1, 1, 0)), "z is 0"),
        (lambda: ball(float("inf")), "radius is inf"),
        (lambda: fingertip(1.0, 1.0), "must be thinner than its radius"),
        (lambda: fingertip(1.0, 0.1, layers=0), "layers is 0"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(make, message):
    with pytest.raises(MeshError, match=message):
        make()
