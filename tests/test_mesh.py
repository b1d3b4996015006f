import meshio
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from pliant.assets import make_meshes
from pliant.errors import FileFormatError, MeshError
from pliant.sim import mesh_files
from pliant.sim.mesh import Mesh, check_mesh, load_mesh, require_closed, save_mesh
from pliant.sim.mesh_topology import winding_numbers

CUBE = trimesh.creation.box(extents=(1.0, 2.0, 3.0))
BALL = trimesh.creation.icosphere(1)
CORNERS = np.array([[x, y, z] for z in (0.0, 1.0) for y in (0.0, 1.0) for x in (0.0, 1.0)])
HEXAHEDRON = [0, 1, 3, 2, 4, 5, 7, 6]


def cube(shift=0.0, side=1.0, inside_out=False):
    faces = CUBE.faces[:, ::-1] if inside_out else CUBE.faces
    return CUBE.vertices / (1.0, 2.0, 3.0) * side + shift, np.array(faces)


def joined(*surfaces):
    offsets = np.cumsum([0, *(len(vertices) for vertices, _ in surfaces)])
    return Mesh(np.concatenate([v for v, _ in surfaces]), np.concatenate([f + k for (_, f), k in zip(surfaces, offsets, strict=False)]))


def two_tetrahedra():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1.0]])
    return vertices, np.array([[0, 1, 2, 3], [1, 2, 3, 4]])


def assert_clear(error):
    text = str(error)
    assert 1 <= len(text.splitlines()) <= 2, text
    assert len(text) < 500, text


# files


@pytest.mark.parametrize("suffix", [".obj", ".stl", ".ply", ".off", ".vtk", ".vtu", ".msh", ".inp", ".mesh", ".nas", ".glb", ".vol"])
def test_every_format_gives_the_surface_back(tmp_path, suffix):
    path = tmp_path / f"cube{suffix}"
    mesh = Mesh(CUBE.vertices, CUBE.faces)
    save_mesh(mesh, path)
    back = load_mesh(path)
    assert check_mesh(back).problems() == []
    assert back.volume == pytest.approx(mesh.volume, rel=1e-6)
    np.testing.assert_allclose(back.bounds, mesh.bounds, atol=1e-6)


def tetrahedral():
    vertices, tetrahedra = two_tetrahedra()
    return vertices, np.empty((0, 3), dtype=int), tetrahedra


@pytest.mark.parametrize("kind", ["stl", "stl_ascii"])
def test_stl_binary_and_ascii_share_vertices(tmp_path, kind):
    path = tmp_path / "ball.stl"
    BALL.export(path, file_type=kind)
    mesh = load_mesh(path)
    assert len(mesh.vertices) == len(BALL.vertices)
    assert check_mesh(mesh).closed


@pytest.mark.parametrize("suffix", [".msh", ".vtk", ".vtu", ".mesh", ".inp", ".xml", ".bdf", ".su2"])
def test_tetrahedra_get_their_boundary_as_faces(tmp_path, suffix):
    path = tmp_path / f"two{suffix}"
    vertices, tetrahedra = two_tetrahedra()
    save_mesh(Mesh(*tetrahedral()), path)
    mesh = load_mesh(path)
    np.testing.assert_array_equal(mesh.tetrahedra, tetrahedra)
    np.testing.assert_array_equal(mesh.vertices, vertices)
    assert len(mesh.faces) == 6
    assert check_mesh(mesh).problems() == []
    assert mesh.volume == pytest.approx(0.5)


def test_a_surface_in_a_volume_file_is_replaced_by_the_whole_boundary(tmp_path):
    vertices, tetrahedra = two_tetrahedra()
    meshio.write(
        tmp_path / "m.msh", meshio.Mesh(vertices, [("triangle", np.array([[0, 1, 2]])), ("tetra", tetrahedra)]), file_format="gmsh22"
    )
    assert len(load_mesh(tmp_path / "m.msh").faces) == 6


@pytest.mark.parametrize(
    ("kind", "cell", "tetrahedra", "volume"),
    [("hexahedron", HEXAHEDRON, 6, 1.0), ("wedge", [0, 1, 2, 4, 5, 6], 3, 0.5), ("pyramid", [0, 1, 3, 2, 4], 2, 1 / 3)],
)
def test_other_volume_cells_are_cut_into_tetrahedra(tmp_path, kind, cell, tetrahedra, volume):
    for seed in range(8):
        order = np.random.default_rng(seed).permutation(8)
        meshio.write(tmp_path / "cell.vtk", meshio.Mesh(CORNERS[order], [(kind, [np.argsort(order)[cell]])]))
        mesh = load_mesh(tmp_path / "cell.vtk")
        assert len(mesh.tetrahedra) == tetrahedra
        assert check_mesh(mesh).problems() == []
        assert mesh.volume == pytest.approx(volume)


def test_neighbouring_hexahedra_are_cut_alike(tmp_path):
    place = np.stack(np.meshgrid(*[np.arange(3.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    order = np.random.default_rng(3).permutation(27)
    cells = [[[i + dx, j + dy, k + dz] for dx, dy, dz in CORNERS[HEXAHEDRON]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    cells = np.argsort(order)[np.array(cells).astype(int) @ [9, 3, 1]]
    meshio.write(tmp_path / "block.vtu", meshio.Mesh(place[order], [("hexahedron", cells)]))
    mesh = load_mesh(tmp_path / "block.vtu")
    assert len(mesh.tetrahedra) == 48
    assert len(mesh.faces) == 48
    assert check_mesh(mesh).problems() == []


def test_quads_and_polygons_are_cut_into_triangles(tmp_path):
    lines = [f"v {x} {y} {z}" for x, y, z in CORNERS]
    lines += ["f 1 3 4 2", "f 5 6 8 7", "f 1 2 6 5", "f 4 3 7 8", "f 3/1/1 1/1/1 5/1/1 7/1/1", "f -7 -5 -1 -3"]
    (tmp_path / "quads.obj").write_text("\n".join(lines))
    mesh = load_mesh(tmp_path / "quads.obj")
    assert len(mesh.faces) == 12
    assert check_mesh(mesh).problems() == []
    (tmp_path / "prism.off").write_text(
        "OFF\n6 5 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 0 1\n0 1 1\n3 0 2 1\n3 3 4 5\n4 0 1 4 3\n4 1 2 5 4\n4 2 0 3 5\n"
    )
    assert load_mesh(tmp_path / "prism.off").volume == pytest.approx(0.5)


def test_points_that_no_face_uses_are_dropped(tmp_path):
    (tmp_path / "loose.obj").write_text("v 9 9 9\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 2 3 4\n")
    mesh = load_mesh(tmp_path / "loose.obj")
    assert len(mesh.vertices) == 3
    np.testing.assert_array_equal(mesh.bounds, [[0, 0, 0], [1, 1, 0]])


def test_saving_replaces_a_file_only_by_a_whole_one(tmp_path):
    path = tmp_path / "kept.obj"
    save_mesh(Mesh(CUBE.vertices, CUBE.faces), path)
    before = path.read_bytes()
    with pytest.raises(MeshError, match=r"Cannot write .*\.nonsense") as error:
        save_mesh(Mesh(CUBE.vertices, CUBE.faces), tmp_path / "x.nonsense")
    assert_clear(error.value)
    with pytest.raises(FileFormatError):
        save_mesh(Mesh(CUBE.vertices, CUBE.faces), path / "x.obj")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.obj"]


# scale, units, transform


def test_units_scale_and_transform_are_applied_in_this_order(tmp_path):
    path = tmp_path / "cube.off"
    save_mesh(Mesh(CUBE.vertices, CUBE.faces), path)
    turn = np.array([[0, -1, 0, 5.0], [1, 0, 0, 6.0], [0, 0, 1, 7.0], [0, 0, 0, 1]])
    mesh = load_mesh(path, scale=[1, 2, 3], units="mm", transform=turn)
    expected = CUBE.vertices * 1e-3 * [1, 2, 3] @ turn[:3, :3].T + turn[:3, 3]
    np.testing.assert_allclose(mesh.vertices, expected, rtol=1e-14)
    assert check_mesh(mesh).closed


@pytest.mark.parametrize("scale", [-1.0, [-1, 1, 1], [1, -2, 3], [-1, -2, -3], [-1, -2, 3], [2, 3, 4]])
def test_normals_point_outwards_after_any_scaling(scale):
    mesh = Mesh(BALL.vertices, BALL.faces).scaled(scale)
    assert mesh.volume == pytest.approx(BALL.volume * abs(np.prod(np.broadcast_to(scale, 3))))
    assert check_mesh(mesh).problems() == []
    vertices, tetrahedra = two_tetrahedra()
    assert check_mesh(Mesh(vertices, np.empty((0, 3), dtype=int), tetrahedra).scaled(scale)).inverted_tetrahedra.size == 0


@pytest.mark.parametrize(
    "options",
    [
        {"units": "furlong"},
        {"scale": 0},
        {"scale": [1, 2]},
        {"scale": float("nan")},
        {"scale": "big"},
        {"scale": [1, 0, 1]},
        {"transform": np.eye(3)},
        {"transform": np.diag([1.0, 1, 0, 1])},
        {"transform": np.full((4, 4), np.nan)},
        {"transform": np.ones((4, 4))},
    ],
)
def test_options_that_make_no_sense_are_mesh_errors(tmp_path, options):
    save_mesh(Mesh(CUBE.vertices, CUBE.faces), tmp_path / "cube.obj")
    with pytest.raises(MeshError) as error:
        load_mesh(tmp_path / "cube.obj", **options)
    assert_clear(error.value)


# faults


def test_open_edges_are_listed():
    report = check_mesh(Mesh(CUBE.vertices, CUBE.faces[1:]))
    assert {tuple(edge) for edge in report.open_edges} == {tuple(sorted((CUBE.faces[0][k], CUBE.faces[0][k - 1]))) for k in range(3)}
    assert not report.closed
    assert report.problems()[0].startswith("3 open edges (")


def test_a_face_of_wrong_winding_is_found():
    faces = np.array(BALL.faces)
    faces[[5, 17]] = faces[[5, 17], ::-1]
    report = check_mesh(Mesh(BALL.vertices, faces))
    np.testing.assert_array_equal(report.inverted_faces, [5, 17])
    assert not report.closed


def test_of_an_open_piece_the_smaller_camp_is_inverted():
    faces = np.array(BALL.faces)[:40]
    faces[7] = faces[7, ::-1]
    np.testing.assert_array_equal(check_mesh(Mesh(BALL.vertices, faces)).inverted_faces, [7])


def test_a_mesh_with_its_inside_out_is_inverted():
    report = check_mesh(Mesh(BALL.vertices, BALL.faces[:, ::-1]))
    assert len(report.inverted_faces) == len(BALL.faces)
    with pytest.raises(MeshError, match="80 inverted faces"):
        require_closed(Mesh(BALL.vertices, BALL.faces[:, ::-1]), "ball.obj")


def test_a_cavity_points_inwards_and_a_body_in_it_outwards():
    shell = joined(cube(side=9.0), cube(side=6.0, inside_out=True), cube(side=3.0), cube(shift=20.0))
    assert check_mesh(shell).closed
    assert shell.volume == pytest.approx(729 - 216 + 27 + 1)
    wrong = check_mesh(joined(cube(side=9.0), cube(side=6.0), cube(side=3.0, inside_out=True), cube(20.0, inside_out=True)))
    np.testing.assert_array_equal(wrong.inverted_faces, np.arange(12, 48))


def test_pieces_may_touch_at_an_edge_but_three_faces_may_not_share_one():
    vertices, faces = joined(cube(), cube(shift=(1.0, 1.0, 0.0))).vertices, joined(cube(), cube(shift=(1.0, 1.0, 0.0))).faces
    merged = Mesh(*mesh_files.merge_coincident(vertices, faces))
    report = check_mesh(merged)
    assert len(report.nonmanifold_edges) == 1
    assert report.closed
    fin = Mesh(np.vstack([CUBE.vertices, [[9, 9, 9]]]), np.vstack([CUBE.faces, [[0, 1, 8]]]))
    report = check_mesh(fin)
    assert [0, 1] in report.nonmanifold_edges.tolist()
    assert not report.closed


def test_duplicated_and_degenerate_elements_are_listed():
    vertices = np.vstack([CUBE.vertices, CUBE.vertices[3], [[np.nan, 0, 0]], 0.5 * (CUBE.vertices[:1] + CUBE.vertices[1:2])])
    faces = np.vstack([CUBE.faces, np.roll(CUBE.faces[4], 1), [[2, 2, 5]], [[0, 1, 10]]])
    report = check_mesh(Mesh(vertices, faces, [[0, 1, 2, 7], [0, 2, 1, 7], [0, 1, 10, 7]]))
    np.testing.assert_array_equal(report.duplicated_vertices, [8])
    np.testing.assert_array_equal(report.duplicated_faces, [12])
    np.testing.assert_array_equal(report.degenerate_faces, [13, 14])
    np.testing.assert_array_equal(report.nonfinite_vertices, [9])
    assert len(report.inverted_tetrahedra) == 2
    assert len(report.problems()) == 7
    with pytest.raises(MeshError, match="1 non-finite vertex \\(9\\)") as error:
        require_closed(Mesh(vertices, faces), "cube")
    assert_clear(error.value)


def test_a_seam_of_duplicated_vertices_is_named_with_the_hole_it_makes():
    mesh = Mesh(BALL.vertices[BALL.faces].reshape(-1, 3), np.arange(3 * len(BALL.faces)).reshape(-1, 3))
    with pytest.raises(MeshError, match=r"240 open edges .* 198 duplicated vertices"):
        require_closed(mesh, "soup")


def test_one_sided_and_flat_surfaces_enclose_nothing():
    around = np.arange(12) * np.pi / 6
    strip = np.stack([np.cos(around), np.sin(around), 0 * around], axis=-1)[:, None] * (
        1 + 0.3 * np.array([-1, 1])[None, :, None] * np.cos(around / 2)[:, None, None]
    ) + 0.3 * np.array([-1, 1])[None, :, None] * np.sin(around / 2)[:, None, None] * np.array([0, 0, 1.0])
    quads = [[2 * k, 2 * k + 1, 2 * k + 3, 2 * k + 2] for k in range(11)] + [[22, 23, 0, 1]]
    moebius = Mesh(strip.reshape(-1, 3), [triangle for a, b, c, d in quads for triangle in ([a, b, c], [a, c, d])])
    assert check_mesh(moebius).inverted_faces.size > 0
    sheet = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2], [2, 1, 0]])
    assert check_mesh(sheet).problems() == ["1 duplicated face (1)"]
    for mesh in (moebius, sheet, Mesh(np.empty((0, 3)), np.empty((0, 3), dtype=int))):
        with pytest.raises(MeshError, match="does not enclose a solid"):
            require_closed(mesh, "it")


def test_winding_numbers_count_nested_pieces():
    mesh = joined(cube(side=9.0), cube(side=3.0))
    points = np.array([[0.1, 0.2, 0.3], [3.0, 0.1, 0.2], [7.0, 0.0, 0.0]])
    np.testing.assert_allclose(winding_numbers(points, mesh.vertices[mesh.faces]).sum(axis=1), [2, 1, 0], atol=1e-12)


# bad input


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        (np.zeros((3, 2)), [[0, 1, 2]]),
        (np.zeros((3, 3)), [[0, 1, 3]]),
        (np.zeros((3, 3)), [[0, 1, -1]]),
        (np.zeros((3, 3)), [[0.0, 1.5, 2.0]]),
        (np.zeros((3, 3)), [0, 1, 2]),
        ("abc", [[0, 1, 2]]),
        ([[0, 0, 0], [1, 0]], [[0, 1, 1]]),
    ],
)
def test_arrays_that_are_no_mesh_are_mesh_errors(vertices, faces):
    with pytest.raises(MeshError) as error:
        Mesh(vertices, faces)
    assert_clear(error.value)


def test_a_mesh_cannot_be_changed_in_place():
    vertices = np.array(CUBE.vertices)
    mesh = Mesh(vertices, CUBE.faces)
    vertices[:] = 0.0
    assert mesh.volume == pytest.approx(6.0)
    with pytest.raises(ValueError, match="read-only"):
        mesh.vertices[0] = 0.0


def test_missing_empty_foreign_and_huge_files_are_mesh_errors(tmp_path, monkeypatch):
    (tmp_path / "empty.obj").touch()
    (tmp_path / "points.obj").write_text("v 0 0 0\nv 1 1 1\n")
    (tmp_path / "short.obj").write_text("v 0 0 0\nv 1 1 1\nf 1 2 7\n")
    (tmp_path / "nan.obj").write_text("v 0 0 nan\nv 1 1 1\nv 1 2 1\nf 1 2 3\n")
    (tmp_path / "odd.xyzzy").write_text("x")
    (tmp_path / "bare").write_text("x")
    (tmp_path / "not.stl").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    cases = {
        "gone.obj": "There is no mesh file",
        "empty.obj": "is empty",
        "points.obj": "no faces",
        "short.obj": "name vertices that the file lacks",
        "nan.obj": "1 vertex \\(0\\)",
        "odd.xyzzy": "no mesh format has the suffix '.xyzzy'",
        "bare": "no mesh format has the suffix ''",
        "not.stl": "Cannot read",
        ".": "Is a directory",
        "nul\0.obj": "Cannot read mesh file",
        "long" * 200 + ".obj": "Cannot read mesh file",
    }
    for name, message in cases.items():
        with pytest.raises(MeshError, match=message) as error:
            load_mesh(tmp_path / name)
        if "long" not in name:
            assert_clear(str(error.value).replace(str(tmp_path), ""))
    save_mesh(Mesh(CUBE.vertices, CUBE.faces), tmp_path / "cube.obj")
    monkeypatch.setattr(mesh_files, "MAX_ELEMENTS", 11)
    with pytest.raises(MeshError, match=r"12 faces .*; at most 11 of each are read\. Coarsen it"):
        load_mesh(tmp_path / "cube.obj")
    monkeypatch.setattr(mesh_files, "MAX_FILE_BYTES", 100)
    with pytest.raises(MeshError, match=r"MB are read\. Coarsen it"):
        load_mesh(tmp_path / "cube.obj")


def test_a_reader_that_finds_no_end_is_broken_off(tmp_path, monkeypatch):
    monkeypatch.setattr(mesh_files, "READ_SECONDS", 0.3)
    save_mesh(Mesh(*tetrahedral()), tmp_path / "two.mdpa")
    whole = (tmp_path / "two.mdpa").read_text()
    (tmp_path / "cut.mdpa").write_text(whole[: whole.index("End Nodes")])
    with pytest.raises(MeshError, match="no end in") as error:
        load_mesh(tmp_path / "cut.mdpa")
    assert_clear(error.value)


@pytest.mark.parametrize("suffix", [".obj", ".stl", ".ply", ".off", ".vtk", ".msh", ".glb", ".inp", ".vtu"])
def test_a_cut_or_damaged_file_is_a_mesh_error_or_still_a_mesh(tmp_path, suffix, monkeypatch, capfd):
    monkeypatch.setattr(mesh_files, "READ_SECONDS", 1.0)
    path = tmp_path / f"ball{suffix}"
    save_mesh(Mesh(BALL.vertices, BALL.faces), path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for trial in range(40):
        damaged = bytearray(whole[: len(whole) * trial // 20] if trial < 20 else whole)
        if trial >= 20:
            for place in generator.integers(0, len(whole), size=3):
                damaged[place] = generator.integers(0, 256)
        path.write_bytes(damaged)
        try:
            check_mesh(load_mesh(path))
        except MeshError as error:
            assert_clear(error)
            refused += 1
    assert refused > 0
    assert capfd.readouterr() == ("", "")


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".obj", ".stl", ".ply", ".off", ".vtk", ".glb", ".inp", ".bdf"]))
def test_no_bytes_make_another_error_than_a_mesh_error(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"x{suffix}"
    path.write_bytes(content)
    try:
        load_mesh(path)
    except MeshError as error:
        assert_clear(str(error).replace(str(path), ""))


@settings(max_examples=60, deadline=None)
@given(
    faces=st.lists(st.tuples(*[st.integers(0, 7)] * 3), max_size=16),
    positions=st.lists(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 3), min_size=8, max_size=8),
)
def test_any_triangles_can_be_checked_and_only_solids_pass(faces, positions):
    with np.errstate(all="ignore"):
        mesh = Mesh(np.array(positions), np.array(faces, dtype=int).reshape(-1, 3))
        report = check_mesh(mesh)
        try:
            require_closed(mesh, "it")
            assert report.closed
        except MeshError as error:
            assert not report.closed
            assert_clear(error)


# assets


@pytest.mark.parametrize("name", sorted(make_meshes.MESHES))
def test_assets_are_closed_small_and_as_their_script_makes_them(name):
    path = make_meshes.FOLDER / name
    assert path.read_text(encoding="utf-8") == make_meshes.obj_text(name)
    assert path.stat().st_size < 100_000
    mesh = load_mesh(path)
    assert check_mesh(mesh).problems() == []
    require_closed(mesh, name)


def test_every_mesh_in_the_assets_has_a_script():
    assert {path.name for path in make_meshes.FOLDER.glob("*.obj")} == set(make_meshes.MESHES)


def test_assets_have_their_stated_sizes():
    glass, roller, star = (load_mesh(make_meshes.FOLDER / f"{name}.obj") for name in ("glass", "roller", "star"))
    np.testing.assert_allclose(glass.bounds, [[-0.05, -0.05, -0.054], [0.05, 0.05, 0.046]], atol=1e-6)
    assert glass.volume == pytest.approx(np.pi * (0.05**2 * 0.1 - 0.042**2 * 0.092), rel=5e-3)
    np.testing.assert_allclose(roller.bounds, [[-0.03, -0.1, -0.03], [0.03, 0.1, 0.03]], atol=1e-6)
    assert roller.volume == pytest.approx(np.pi * 0.03**2 * 0.2, rel=5e-3)
    assert np.linalg.norm(star.vertices[:, :2], axis=1).max() == pytest.approx(0.1, abs=1e-6)
    assert np.ptp(star.vertices[:, 2]) == pytest.approx(0.06)
