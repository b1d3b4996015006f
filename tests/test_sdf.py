import math

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from pliant.assets.make_meshes import FOLDER
from pliant.errors import MeshError, ModelError, ShapeError
from pliant.sim import sdf_grid
from pliant.sim.mesh import Mesh, check_mesh, load_mesh
from pliant.sim.mesh_distance import closest_points, inside_grid
from pliant.sim.mesh_topology import winding_numbers
from pliant.sim.sdf import Box, Capsule, Cylinder, Difference, GridSdf, Moved, Plane, Sdf, Sphere, Union, fill

TURN = torch.tensor([0.8, 0.3, -0.4, 0.6], dtype=torch.float64)
BODIES = {
    "box": Box([0.3, 0.2, 0.4]),
    "rectangle": Box([0.3, 0.2]),
    "sphere": Sphere(0.3),
    "disc": Sphere(0.3, dimension=2),
    "cylinder": Cylinder(0.2, 0.35),
    "capsule": Capsule(0.15, 0.25),
    "flat capsule": Capsule(0.15, 0.25, dimension=2),
    "plane": Plane([1.0, -2.0, 0.5], 0.1),
    "line": Plane([0.0, 1.0], -0.2),
    "union": Union([Sphere(0.2), Moved(Box([0.1, 0.1, 0.3]), [0.2, 0.1, 0.0])]),
    "difference": Difference(Cylinder(0.3, 0.3), Moved(Capsule(0.15, 0.3), [0.0, 0.0, 0.1])),
    "moved": Moved(Box([0.3, 0.2, 0.1]), [0.1, -0.2, 0.05], TURN),
    "turned": Moved(Box([0.3, 0.2]), [0.1, -0.2], 0.7),
}


def body(name):
    return pytest.param(BODIES[name], id=name)


ALL = [body(name) for name in BODIES]
EXACT = [body(name) for name in BODIES if name not in ("union", "difference")]


def assert_one_line(error):
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) < 300


def cloud(dimension, count=400, reach=0.7, seed=0):
    return (torch.rand(count, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5) * 2 * reach


def angle(a, b):
    """In degrees."""
    return torch.rad2deg(torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1).acos())


def central_difference(function, points, step=1e-6):
    columns = []
    for axis in range(points.shape[-1]):
        shift = torch.zeros(points.shape[-1], dtype=points.dtype)
        shift[axis] = step
        columns.append((function(points + shift) - function(points - shift)) / (2 * step))
    return torch.stack(columns, dim=-1)


def brute_force_distance(vertices, faces, points):
    """Ericson 2005, section 5.1.5, one triangle at a time."""
    best = np.full(len(points), np.inf)
    for a, b, c in vertices[faces]:

        def segment(start, end):
            along = end - start
            t = np.clip((points - start) @ along / max(along @ along, 1e-300), 0.0, 1.0)
            return np.linalg.norm(points - start - t[:, None] * along, axis=1)

        distance = np.minimum(np.minimum(segment(a, b), segment(b, c)), segment(c, a))
        normal = np.cross(b - a, c - a)
        if normal @ normal > 0:
            (d1, d3, d5), (d2, d4, d6) = ([(points - p) @ side for p in (a, b, c)] for side in (b - a, c - a))
            above = (d3 * d6 - d5 * d4 >= 0) & (d5 * d2 - d1 * d6 >= 0) & (d1 * d4 - d3 * d2 >= 0)
            distance = np.where(above, np.abs((points - a) @ normal) / np.linalg.norm(normal), distance)
        best = np.minimum(best, distance)
    return best


def ellipsoid(axes, points):
    """Signed distance and unit gradient: Eberly, "Distance from a point to an ellipsoid"; t of the closest point e^2 y / (t + e^2)."""
    square, y = axes**2, np.maximum(np.abs(points), 1e-9)
    low = np.full(len(y), -square.min()) + axes[np.argmin(square)] * y[:, np.argmin(square)]
    high = np.linalg.norm(axes * y, axis=1)
    for _ in range(200):
        middle = 0.5 * (low + high)
        outside = ((axes * y / (middle[:, None] + square)) ** 2).sum(axis=1) > 1
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    foot = square * y / (0.5 * (low + high)[:, None] + square)
    normal = foot / square
    distance = np.linalg.norm(y - foot, axis=1) * np.where(((y / axes) ** 2).sum(axis=1) > 1, 1, -1)
    return distance, np.copysign(normal / np.linalg.norm(normal, axis=1, keepdims=True), points)


def on_surface(sdf, step=2e-3):
    """Points where grid lines cross the surface, by bisection."""
    lower, upper = sdf.bounds()
    step = step if sdf.dimension == 2 else 5 * step
    axes = [torch.arange(float(a) - step, float(b) + 2 * step, step, dtype=torch.float64) for a, b in zip(lower, upper, strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    value = sdf.value(grid)
    found = []
    for axis in range(sdf.dimension):
        a, b = value.narrow(axis, 0, len(axes[axis]) - 1), value.narrow(axis, 1, len(axes[axis]) - 1)
        p, q = grid.narrow(axis, 0, len(axes[axis]) - 1), grid.narrow(axis, 1, len(axes[axis]) - 1)
        cross = (a < 0) != (b < 0)
        p, q = p[cross], q[cross]
        inside = a[cross] < 0
        for _ in range(45):
            middle = 0.5 * (p + q)
            same = ((sdf.value(middle) < 0) == inside)[:, None]
            p, q = torch.where(same, middle, p), torch.where(same, q, middle)
        found.append(p)
    return torch.cat(found)


# primitives and what is made of them


@pytest.mark.parametrize("sdf", [part for part in EXACT if part.id not in ("plane", "line")])
def test_values_are_distances_to_the_zero_set(sdf):
    surface = on_surface(sdf)
    assert sdf.value(surface).abs().max() < 1e-12
    points = cloud(sdf.dimension)
    nearest, _ = cKDTree(surface.numpy()).query(points.numpy())
    gap = nearest - sdf.value(points).abs().numpy()
    assert gap.min() > -1e-12
    assert gap.max() < math.sqrt(2) * 0.01  # how far the surface is from its crossings with grid lines 0.01 apart


def test_values_agree_with_closed_forms():
    points = cloud(3)
    x, y, z = points.T
    torch.testing.assert_close(BODIES["sphere"].value(points), (x * x + y * y + z * z).sqrt() - 0.3)
    foot = z.clamp(-0.25, 0.25)
    torch.testing.assert_close(BODIES["capsule"].value(points), (x * x + y * y + (z - foot) ** 2).sqrt() - 0.15)
    torch.testing.assert_close(BODIES["plane"].value(points), (x - 2 * y + 0.5 * z) / math.sqrt(5.25) - 0.1)
    corner = torch.tensor([[0.4, 0.4, 0.7], [0.1, 0.1, -0.35], [0.5, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(BODIES["box"].value(corner), torch.tensor([math.sqrt(0.14), -0.05, 0.2], dtype=torch.float64))


def test_a_box_agrees_with_the_mesh_of_a_box():
    mesh = trimesh.creation.box(extents=[0.6, 0.4, 0.8])
    points = cloud(3)
    distance = closest_points(np.array(mesh.vertices), np.array(mesh.faces), points.numpy()).distance
    np.testing.assert_allclose(BODIES["box"].value(points).abs().numpy(), distance, atol=1e-14)


@pytest.mark.parametrize("sdf", ALL)
def test_gradients_agree_with_central_differences(sdf):
    points = cloud(sdf.dimension)
    numeric = central_difference(sdf.value, points)
    smooth = (central_difference(sdf.value, points, 1e-4) - numeric).abs().amax(dim=-1) < 1e-6
    assert smooth.double().mean() > 0.95
    torch.testing.assert_close(sdf.gradient(points)[smooth], numeric[smooth], atol=1e-8, rtol=0)
    torch.testing.assert_close(sdf.gradient(points).norm(dim=-1), torch.ones(len(points), dtype=torch.float64))


@pytest.mark.parametrize("sdf", [part for part in ALL if part.id not in ("plane", "line")])
def test_gradients_are_differentiable(sdf):
    points = cloud(sdf.dimension, 50).requires_grad_()
    direction = cloud(sdf.dimension, 50, seed=1)
    (curvature,) = torch.autograd.grad((sdf.gradient(points) * direction).sum(), points)
    step = 1e-6
    numeric = torch.stack(
        [
            ((sdf.gradient(points.detach() + step * axis) - sdf.gradient(points.detach() - step * axis)) * direction).sum(dim=-1)
            for axis in torch.eye(sdf.dimension, dtype=torch.float64)
        ],
        dim=-1,
    ) / (2 * step)
    smooth = numeric.abs().amax(dim=-1) < 1e3
    torch.testing.assert_close(curvature[smooth], numeric[smooth], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("sdf", ALL)
def test_gradients_are_finite_at_the_points_of_symmetry(sdf):
    points = torch.zeros(1, sdf.dimension, dtype=torch.float64).repeat(sdf.dimension + 1, 1)
    points[1:] += 0.3 * torch.eye(sdf.dimension, dtype=torch.float64)
    points.requires_grad_()
    gradient = sdf.gradient(points)
    assert gradient.isfinite().all()
    assert sdf.value(points).isfinite().all()
    assert gradient.norm(dim=-1).max() <= 1 + 1e-12


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda p: Sphere(p), 0.3),
        (lambda p: Capsule(0.1, p), 0.2),
        (lambda p: Cylinder(p, 0.3), 0.2),
        (lambda p: Box(p), [0.3, 0.2, 0.4]),
        (lambda p: Plane(p, 0.1), [1.0, 2.0, 3.0]),
        (lambda p: Moved(Box([0.3, 0.2, 0.1]), p, TURN), [0.1, 0.2, 0.3]),
        (lambda p: Moved(Box([0.3, 0.2, 0.1]), [0.1, 0.0, 0.0], p), [0.8, 0.3, -0.4, 0.6]),
        (lambda p: Union([Sphere(0.1), Moved(Sphere(p), [0.3, 0.0, 0.0])]), 0.2),
        (lambda p: Difference(Sphere(0.4), Sphere(p)), 0.2),
    ],
)
def test_values_and_gradients_are_differentiable_in_the_parameters(make, parameter):
    parameter = torch.tensor(parameter, dtype=torch.float64, requires_grad=True)
    points, weight = cloud(3, 60), cloud(3, 60, seed=2)

    def total(value):
        sdf = make(value)
        return sdf.value(points).square().sum() + (sdf.gradient(points) * weight).sum()

    (slope,) = torch.autograd.grad(total(parameter), parameter)
    direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        numeric = (total(parameter + 1e-6 * direction) - total(parameter - 1e-6 * direction)) / 2e-6
    assert float((slope * direction).sum()) == pytest.approx(float(numeric), rel=1e-6, abs=1e-7)


def test_gradients_of_plain_points_hold_no_graph():
    assert not Sphere(0.3).gradient(cloud(3)).requires_grad
    points = cloud(3).requires_grad_()
    with torch.no_grad():
        assert not Sphere(0.3).gradient(points).requires_grad


@pytest.mark.parametrize("sdf", [part for part in ALL if part.id not in ("plane", "line")])
def test_bounds_hold_the_body_tightly_enough_to_fill(sdf):
    lower, upper = sdf.bounds()
    points = cloud(sdf.dimension, 20000, 1.0)
    inside = points[sdf.value(points) < 0]
    assert len(inside) > 100
    assert (inside >= lower).all()
    assert (inside <= upper).all()
    assert (upper - lower).max() < 1.2


def test_unions_and_differences_follow_set_algebra():
    a, b = Sphere(0.3), Moved(Sphere(0.25), [0.2, 0.0, 0.1])
    points = cloud(3, 2000)
    in_a, in_b = a.value(points) < 0, b.value(points) < 0
    assert torch.equal(Union([a, b]).value(points) < 0, in_a | in_b)
    assert torch.equal(Difference(a, b).value(points) < 0, in_a & ~in_b)


def test_rotations_may_be_matrices_quaternions_or_angles():
    points = cloud(3)
    half = math.sqrt(0.5)
    matrix = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    box = Box([0.3, 0.2, 0.1])
    by_matrix, by_quaternion = Moved(box, [0.1, 0.2, 0.3], matrix), Moved(box, [0.1, 0.2, 0.3], [2 * half, 0.0, 0.0, 2 * half])
    torch.testing.assert_close(by_matrix.value(points), by_quaternion.value(points))
    torch.testing.assert_close(by_matrix.value(points @ matrix.T + torch.tensor([0.1, 0.2, 0.3])), box.value(points))
    flat = cloud(2)
    by_angle = Moved(Box([0.3, 0.2]), [0.0, 0.0], math.pi / 2)
    torch.testing.assert_close(by_angle.value(flat), Box([0.2, 0.3]).value(flat))


@pytest.mark.parametrize("sdf", ALL)
def test_float32_points_give_float32_values(sdf):
    points = cloud(sdf.dimension)
    assert sdf.value(points.float()).dtype == sdf.gradient(points.float()).dtype == torch.float32
    torch.testing.assert_close(sdf.value(points.float()).double(), sdf.value(points), atol=1e-6, rtol=0)
    assert sdf.value(points.view(4, 100, -1)).shape == (4, 100)
    assert sdf.gradient(points.view(4, 100, -1)).shape == (4, 100, sdf.dimension)


# exact distance to meshes


@pytest.mark.parametrize("seed", range(4))
def test_closest_points_are_exact_for_any_triangles(seed):
    generator = np.random.default_rng(seed)
    vertices = generator.normal(size=(30, 3)) * [1, 1, 10.0**-seed]
    faces = generator.integers(0, 30, size=(80, 3))  # some with repeated corners
    points = generator.normal(size=(700, 3)) * 2
    closest = closest_points(vertices, faces, points)
    np.testing.assert_allclose(closest.distance, brute_force_distance(vertices, faces, points), atol=1e-13)
    np.testing.assert_allclose(brute_force_distance(vertices, faces, closest.point), 0.0, atol=1e-13)


def test_normals_on_the_surface_are_weighted_by_angle():
    cube = trimesh.creation.box(extents=[2, 2, 2])
    points = np.array([[1, 0.3, 0.2], [1, 1, 0.4], [-1, 1, 1], [0.2, 0.3, 0.4], [1, 0.0, 0.0]])
    normal = closest_points(np.array(cube.vertices), np.array(cube.faces), points).normal
    expected = np.array([[1, 0, 0], [1, 1, 0], [-1, 1, 1], [0, 0, 0], [1, 0, 0]]) / np.sqrt([1, 2, 3, 1, 1])[:, None]
    np.testing.assert_allclose(normal, expected, atol=1e-12)


@pytest.mark.parametrize("name", ["glass", "roller", "star"])
@pytest.mark.parametrize("aligned", [False, True])
def test_inside_agrees_with_solid_angles(name, aligned):
    mesh = load_mesh(FOLDER / f"{name}.obj")
    low, high = mesh.bounds
    shift = 0.0 if aligned else 1.234e-4  # aligned: grid lines run through vertices, edges and along faces
    axes = tuple(np.linspace(a, b, 9) + shift for a, b in zip(low, high, strict=True))
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    winding = winding_numbers(points, mesh.vertices[mesh.faces]).sum(axis=1)
    off = brute_force_distance(mesh.vertices, mesh.faces, points) > 1e-9
    assert off.sum() > 300
    np.testing.assert_array_equal(inside_grid(mesh.vertices, mesh.faces, axes).ravel()[off], winding[off] > 0.5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), turn=st.booleans())
def test_inside_agrees_with_solid_angles_for_random_solids(seed, turn):
    generator = np.random.default_rng(seed)
    ball = trimesh.creation.icosphere(1)
    vertices = ball.vertices * generator.uniform(0.3, 1.0, size=(len(ball.vertices), 1))
    if turn:
        vertices = np.round(vertices * 4) / 4  # degenerate faces, coincident vertices, faces along the grid lines
    axes = (np.linspace(-1, 1, 9),) * 3
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    winding = winding_numbers(points, vertices[ball.faces]).sum(axis=1)
    off = brute_force_distance(vertices, np.array(ball.faces), points) > 1e-9
    np.testing.assert_array_equal(inside_grid(vertices, np.array(ball.faces), axes).ravel()[off], winding[off] > 0.5)


@pytest.mark.parametrize("name", ["glass", "roller", "star"])
def test_grid_nodes_hold_exact_distances_and_unit_normals(name):
    mesh = load_mesh(FOLDER / f"{name}.obj")
    grid = GridSdf.from_mesh(mesh, 0.01, 0.02)
    index = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in grid.values.shape))
    points = grid.lower + index * grid.spacing
    exact = brute_force_distance(mesh.vertices, mesh.faces, points.numpy())
    np.testing.assert_allclose(grid.values.abs().flatten().numpy(), exact, atol=1e-14)
    torch.testing.assert_close(grid.value(points), grid.values.flatten())
    length = grid.gradients.norm(dim=-1)
    torch.testing.assert_close(length, torch.ones_like(length))
    lower, upper = grid.bounds()
    assert (grid.lower <= lower - 0.02 + 1e-12).all()
    assert (grid.upper >= upper + 0.02 - 1e-12).all()


def test_overlapping_pieces_are_inside_together():
    ball = trimesh.creation.icosphere(2, radius=0.1)
    other = np.array(ball.vertices) + np.array([0.08, 0, 0])
    both = Mesh(np.vstack([ball.vertices, other]), np.vstack([ball.faces, ball.faces + len(other)]))
    grid = GridSdf.from_mesh(both, 0.02, 0.05)
    assert (grid.value(torch.tensor([[0.04, 0, 0], [-0.05, 0, 0], [0.13, 0, 0]], dtype=torch.float64)) < 0).all()


# grids


def test_a_linear_function_is_reproduced_everywhere():
    grid = GridSdf.sample(Plane([1.0, 2.0, -0.5], 0.1, extent=0.5), [0.1, 0.2, 0.25], 0.1)
    points = cloud(3, reach=0.5)
    torch.testing.assert_close(grid.value(points), Plane([1.0, 2.0, -0.5], 0.1).value(points))
    torch.testing.assert_close(grid.gradient(points), Plane([1.0, 2.0, -0.5]).gradient(points))


@pytest.mark.parametrize("dimension", [2, 3])
def test_interpolated_values_and_gradients_converge(dimension):
    sphere, errors = Sphere(0.3, dimension), []
    points = cloud(dimension, 3000, 0.4)
    points = points[points.norm(dim=-1) > 0.1]
    for spacing in (0.04, 0.02, 0.01):
        grid = GridSdf.sample(sphere, spacing, 0.12)
        value_error = (grid.value(points) - sphere.value(points)).abs().max()
        errors.append((float(value_error), float((grid.gradient(points) - sphere.gradient(points)).norm(dim=-1).max())))
    orders = np.diff(-np.log2(np.array(errors)), axis=0)
    assert (orders > 1.5).all()
    assert max(errors[-1]) < 5e-3


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_interpolant_is_differentiable_in_points_and_nodes(dimension):
    grid = GridSdf.sample(Box([0.2, 0.3, 0.1][:dimension]), 0.05, 0.1)
    grid.values.requires_grad_()
    points = cloud(dimension, 300, 0.8)  # inside and beyond the grid
    weight = cloud(dimension, 300, seed=3)

    def total(where):
        return grid.value(where) + (grid.gradient(where) * weight).sum(dim=-1)

    variable = points.clone().requires_grad_()
    (slope,) = torch.autograd.grad(total(variable).sum(), variable)
    with torch.no_grad():
        numeric, coarse = central_difference(total, points), central_difference(total, points, 1e-5)
    smooth = (numeric - coarse).abs().amax(dim=-1) < 1e-5
    assert smooth.double().mean() > 0.95
    torch.testing.assert_close(slope[smooth], numeric[smooth], atol=1e-7, rtol=0)
    (slope,) = torch.autograd.grad(grid.value(points).square().sum(), grid.values)
    direction = torch.randn(grid.values.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        sides = [
            GridSdf(grid.lower, grid.spacing, grid.values + h * direction, grid.gradients).value(points).square().sum()
            for h in (1e-6, -1e-6)
        ]
    assert float((slope * direction).sum()) == pytest.approx(float(sides[0] - sides[1]) / 2e-6, rel=1e-7)


def test_beyond_the_grid_the_distance_to_its_box_is_added():
    grid = GridSdf.sample(Sphere(0.1), 0.02, 0.04)
    points = torch.tensor([[0.5, 0.0, 0.0], [0.0, -0.9, 0.0], [0.6, 0.6, 0.6]], dtype=torch.float64)
    near = torch.maximum(torch.minimum(points, grid.upper), grid.lower)
    torch.testing.assert_close(grid.value(points), grid.value(near) + (points - near).norm(dim=-1))
    torch.testing.assert_close(grid.value(points)[:2], Sphere(0.1).value(points)[:2], atol=1e-3, rtol=0)
    torch.testing.assert_close(grid.gradient(points)[:2], torch.tensor([[1.0, 0, 0], [0, -1, 0]], dtype=torch.float64), atol=1e-12, rtol=0)
    assert (grid.gradient(points.requires_grad_()).sum().backward() or points.grad).isfinite().all()


SCALES = [[1.0, 2.0, 0.5], [1.0, -2.0, 0.5], [-1.5, -1.0, -0.7], [0.25, 1.0, 1.0]]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("source", ["mesh", "values"])
def test_a_scaled_sphere_has_true_distances_and_normals(scale, source):
    radius, spacing, scale = 0.1, 0.01, np.array(scale)
    ball = trimesh.creation.icosphere(4, radius=radius)
    plain = (
        GridSdf.from_mesh(Mesh(ball.vertices, ball.faces), spacing, 0.03)
        if source == "mesh"
        else GridSdf.sample(Sphere(radius), spacing, 0.03)
    )
    grid = plain.scaled(list(scale))
    axes = radius * np.abs(scale)
    index = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in grid.values.shape))
    distance, gradient = ellipsoid(axes, (grid.lower + index * grid.spacing).numpy())
    np.testing.assert_allclose(grid.values.flatten().numpy(), distance, atol=4e-4 * axes.max() / radius)

    direction = torch.nn.functional.normalize(cloud(3, 1000), dim=-1)
    surface = direction * torch.from_numpy(radius * scale)
    normal = torch.nn.functional.normalize(direction / torch.from_numpy(scale), dim=-1)
    ideal = GridSdf(
        grid.lower, grid.spacing, torch.from_numpy(distance).view_as(grid.values), torch.from_numpy(gradient).view_as(grid.gradients)
    )
    torch.testing.assert_close(grid.value(surface), ideal.value(surface), atol=4e-4 * axes.max() / radius, rtol=0)
    facet = math.degrees(spacing / (2 * radius))  # how far the normals of a surface cut into facets of this size are off
    assert angle(grid.gradient(surface), ideal.gradient(surface)).mean() < facet
    assert angle(grid.gradient(surface), normal).mean() < facet
    by_inverse = plain.gradient(direction * radius) * torch.from_numpy(scale)
    assert angle(by_inverse, normal).mean() > 15.0


@pytest.mark.parametrize("scale", [2.0, -0.5, [3.0, -3.0, 3.0]])
def test_even_scaling_is_exact(scale):
    grid = GridSdf.sample(BODIES["moved"], 0.05, 0.1)
    factor = torch.from_numpy(np.broadcast_to(np.array(scale, dtype=float), 3).copy())
    points = cloud(3, reach=0.3)
    scaled = grid.scaled(scale)
    torch.testing.assert_close(scaled.value(points * factor), grid.value(points) * factor[0].abs())
    torch.testing.assert_close(scaled.gradient(points * factor), grid.gradient(points) * factor.sign())


def test_a_scaled_disc_has_true_distances():
    grid = GridSdf.sample(Sphere(0.1, dimension=2), 0.004, 0.03).scaled([1.0, -2.0])
    index = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float64) for n in grid.values.shape))
    nodes = np.pad((grid.lower + index * grid.spacing).numpy(), ((0, 0), (0, 1)))
    true, _ = ellipsoid(np.array([0.1, 0.2, 1e6]), nodes)
    np.testing.assert_allclose(grid.values.flatten().numpy(), true, atol=2e-4)
    length = grid.gradients.norm(dim=-1)
    torch.testing.assert_close(length, torch.ones_like(length))


def test_scaling_back_gives_the_first_grid_again():
    ball = trimesh.creation.icosphere(2, radius=0.1)
    grid = GridSdf.from_mesh(Mesh(ball.vertices, ball.faces), 0.01, 0.02)
    back = grid.scaled([2, 0.5, -1]).scaled([0.5, 2, -1])
    torch.testing.assert_close(back.values, grid.values)
    torch.testing.assert_close(back.gradients, grid.gradients, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["box", "sphere", "union", "difference", "moved"])
def test_the_zero_set_of_values_is_a_closed_mesh(name):
    grid = GridSdf.sample(BODIES[name], 0.02, 0.03)
    mesh = grid.surface()
    assert check_mesh(mesh).closed
    points = cloud(3, 200000)
    assert mesh.volume == pytest.approx(float((BODIES[name].value(points) < 0).double().mean()) * 1.4**3, rel=0.03)
    assert BODIES[name].value(torch.tensor(mesh.vertices)).abs().max() < 0.01


def test_the_surface_of_a_grid_from_a_mesh_is_that_mesh():
    mesh = load_mesh(FOLDER / "star.obj")
    grid = GridSdf.from_mesh(mesh, 0.02, 0.02, dtype=torch.float32)
    assert grid.values.dtype == torch.float32
    assert grid.surface() is mesh
    np.testing.assert_allclose(grid.scaled([1, 2, 3]).surface().vertices, mesh.vertices * [1, 2, 3])
    assert grid.scaled([1, 2, 3]).values.dtype == torch.float32


def test_grids_are_the_same_bits_every_time():
    mesh = load_mesh(FOLDER / "glass.obj")
    first, second = (GridSdf.from_mesh(mesh, 0.008, 0.02) for _ in range(2))
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.gradients, second.gradients)


# filling


@pytest.mark.parametrize("sdf", [part for part in ALL if part.id not in ("plane", "line")])
def test_filling_gives_every_lattice_point_inside_once(sdf):
    points = fill(sdf, 0.05, lower=[-1.0] * sdf.dimension)
    axis = -1.0 + (torch.arange(40, dtype=torch.float64) + 0.5) * 0.05
    lattice = torch.cartesian_prod(*[axis] * sdf.dimension)
    torch.testing.assert_close(points, lattice[sdf.value(lattice) < 0], atol=1e-12, rtol=0)
    assert torch.equal(points, fill(sdf, 0.05, lower=[-1.0] * sdf.dimension))


def test_filling_a_box_of_whole_cells_gives_its_volume():
    assert len(fill(Box([0.2, 0.3, 0.1]), 0.02)) == 20 * 30 * 10
    assert len(fill(Box([0.2, 0.3]), 0.02, phase=0.25)) == 20 * 30
    points = fill(Box([0.2, 0.3, 0.1]), 0.02, dtype=torch.float32)
    assert points.dtype == torch.float32
    torch.testing.assert_close(points.amin(dim=0), torch.tensor([-0.19, -0.29, -0.09]))


def test_filling_a_mesh_gives_its_volume():
    mesh = load_mesh(FOLDER / "star.obj")
    points = fill(GridSdf.from_mesh(mesh, 0.004, 0.01), 0.004)
    assert len(points) * 0.004**3 == pytest.approx(mesh.volume, rel=0.02)
    assert (np.abs(winding_numbers(points[::50].numpy(), mesh.vertices[mesh.faces]).sum(axis=1) - 1) < 1e-6).all()


def test_filling_in_parts_changes_nothing(monkeypatch):
    from pliant.sim import sdf as module

    whole = fill(Sphere(0.3), 0.03)
    monkeypatch.setattr(module, "_CHUNK", 100)
    assert torch.equal(fill(Sphere(0.3), 0.03), whole)


# bad input


@pytest.mark.parametrize(
    "make",
    [
        lambda: Box([0.1, -0.2, 0.3]),
        lambda: Box([0.1]),
        lambda: Box([0.1, float("nan"), 0.3]),
        lambda: Box("abc"),
        lambda: Sphere(0.0),
        lambda: Sphere(0.1, dimension=4),
        lambda: Sphere("big"),
        lambda: Sphere(torch.ones(3)),
        lambda: Cylinder(0.1, float("inf")),
        lambda: Capsule(-0.1, 0.2),
        lambda: Plane([0.0, 0.0, 0.0]),
        lambda: Plane([0.0, 0.0, 1.0], float("nan")),
        lambda: Union([]),
        lambda: Union([Sphere(0.1), Sphere(0.1, dimension=2)]),
        lambda: Difference(Sphere(0.1), Sphere(0.1, dimension=2)),
        lambda: Moved(Sphere(0.1), [0.0, 0.0]),
        lambda: Moved(Sphere(0.1), [0.0, 0.0, 0.0], 0.5),
        lambda: Moved(Sphere(0.1), [0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
        lambda: Moved(Sphere(0.1), [0.0, 0.0, 0.0], torch.diag(torch.tensor([1.0, 1.0, -1.0]))),
        lambda: Moved(Sphere(0.1), [0.0, 0.0, 0.0], 2 * torch.eye(3)),
        lambda: Moved(Sphere(0.1), [0.0, 0.0, 0.0], "left"),
        lambda: GridSdf.sample(Sphere(0.1), 0.0, 0.1),
        lambda: GridSdf.sample(Sphere(0.1), [0.1, 0.1], 0.1),
        lambda: GridSdf.sample(Sphere(0.1), 0.1, -1.0),
        lambda: GridSdf.sample(Sphere(0.1), "fine", 0.1),
        lambda: Box([torch.tensor(0.1, requires_grad=True), 0.2]),
        lambda: GridSdf.sample(Sphere(0.1), 1e-5, 0.1),
        lambda: GridSdf.sample(Sphere(0.1), 0.05, 0.1).scaled(0.0),
        lambda: GridSdf.sample(Sphere(0.1), 0.05, 0.1).scaled([1.0, 2.0]),
        lambda: GridSdf.sample(Sphere(0.1), 0.05, 0.1).scaled([1.0, float("nan"), 1.0]),
        lambda: GridSdf.sample(Sphere(0.01), 0.3, 0.1).scaled([1.0, 2.0, 3.0]),
        lambda: GridSdf.sample(Sphere(0.1, dimension=2), 0.05, 0.1).surface(),
        lambda: GridSdf(torch.zeros(2), torch.zeros(2), torch.zeros(3, 3), torch.zeros(3, 3, 2)),
        lambda: GridSdf(torch.zeros(2), torch.ones(2), torch.full((3, 3), torch.nan), torch.zeros(3, 3, 2)),
        lambda: fill(Sphere(0.1), -0.1),
        lambda: fill(Sphere(0.1), 5.0),
        lambda: fill(Sphere(0.1), 1e-4),
        lambda: fill(Sphere(0.1), 0.01, phase=2.0),
        lambda: fill(Sphere(0.1), 0.01, lower=[0.0, 0.0]),
    ],
)
def test_bad_parameters_are_model_errors_of_one_line(make):
    with pytest.raises(ModelError) as error:
        make()
    assert_one_line(error.value)


@pytest.mark.parametrize(
    "points",
    [torch.zeros(5, 2), torch.zeros(5, 3, dtype=torch.int64), torch.zeros(()), np.zeros((5, 3)), None],
    ids=["two", "integers", "scalar", "numpy", "none"],
)
@pytest.mark.parametrize("sdf", [Sphere(0.1), Moved(Box([0.1, 0.1, 0.1]), [0.0, 0.0, 0.0]), GridSdf.sample(Sphere(0.1), 0.1, 0.1)])
def test_wrong_points_are_shape_errors(sdf, points):
    for function in (sdf.value, sdf.gradient):
        with pytest.raises(ShapeError, match="wants points as a float tensor"):
            function(points)


@pytest.mark.parametrize(
    "arguments",
    [
        (torch.zeros(2), torch.ones(2), torch.zeros(3, 3), torch.zeros(3, 3, 3)),
        (torch.zeros(3), torch.ones(2), torch.zeros(3, 3), torch.zeros(3, 3, 2)),
        (torch.zeros(2).double(), torch.ones(2), torch.zeros(3, 3), torch.zeros(3, 3, 2)),
        (torch.zeros(2), torch.ones(2), torch.zeros(1, 3), torch.zeros(1, 3, 2)),
        (torch.zeros(1), torch.ones(1), torch.zeros(3), torch.zeros(3, 1)),
    ],
)
def test_grids_whose_tensors_do_not_fit_are_shape_errors(arguments):
    with pytest.raises(ShapeError):
        GridSdf(*arguments)


def test_open_inverted_and_empty_meshes_are_refused():
    ball = trimesh.creation.icosphere(1)
    for mesh in (
        Mesh(ball.vertices, ball.faces[1:]),
        Mesh(ball.vertices, ball.faces[:, ::-1]),
        Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=int)),
    ):
        with pytest.raises(MeshError, match="does not enclose a solid"):
            GridSdf.from_mesh(mesh, 0.1, 0.1)


def test_too_many_nodes_are_named_before_they_are_made(monkeypatch):
    monkeypatch.setattr(sdf_grid, "MAX_NODES", 1000)
    with pytest.raises(ModelError, match="at most 1000 are allowed; use a coarser one"):
        GridSdf.from_mesh(load_mesh(FOLDER / "star.obj"), 0.005, 0.01)


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-3, 3) | st.just("x") | st.none()


@settings(max_examples=200, deadline=None)
@given(make=st.sampled_from([Sphere, Cylinder, Capsule, Box, Plane]), arguments=st.lists(numbers, min_size=2, max_size=3))
def test_any_parameters_make_a_finite_body_or_a_model_error(make, arguments):
    given_ = (arguments,) if make in (Box, Plane) else arguments[:1] if make is Sphere else arguments[:2]
    try:
        made: Sdf = make(*given_)
    except ModelError as error:
        assert_one_line(error)
        return
    point = torch.full((1, made.dimension), 0.5, dtype=torch.float64)
    assert made.value(point).isfinite().all()
    assert all(corner.isfinite().all() for corner in made.bounds())
