import ipctk
import numpy as np
import pytest

from pliant.errors import ModelError
from pliant.sim.solid.barrier import gap_energy
from pliant.sim.solid.contact import ContactSurface
from pliant.sim.solid.intersections import crossing

STIFFNESS = 2.0


def sheet(n, m, length, width):
    """A flat grid of n x m vertices around the origin, with diagonals in turns."""
    x, y = np.meshgrid(np.linspace(-length / 2, length / 2, n), np.linspace(-width / 2, width / 2, m), indexing="ij")
    i = np.arange(n * m).reshape(n, m)
    faces = []
    for k, l in np.ndindex(n - 1, m - 1):
        a, b, c, d = i[k, l], i[k + 1, l], i[k + 1, l + 1], i[k, l + 1]
        faces += [[a, b, c], [a, c, d]] if (k + l) % 2 else [[a, b, d], [b, c, d]]
    return np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1), np.array(faces)


def join(*parts):
    offsets = np.cumsum([0] + [len(v) for v, _ in parts])
    body = np.repeat(np.arange(len(parts)), np.diff(offsets))
    return np.concatenate([v for v, _ in parts]), np.concatenate([f + o for (_, f), o in zip(parts, offsets)]), body


def turned(x, angle):
    c, s = np.cos(angle), np.sin(angle)
    return x @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def two_sheets(offset=0.0, noise=0.02, seed=0, angle=0.5, gap=0.06, **options):
    """Two rough sheets of a size of 1 m, one above the other, in contact in every way."""
    rng = np.random.default_rng(seed)
    (a, fa), (b, fb) = sheet(4, 4, 1, 1), sheet(4, 5, 1.2, 1.2)
    x, faces, body = join((turned(a, angle) + np.array([0.1, 0.05, gap + offset]), fa), (b, fb))
    surface = ContactSurface(x, faces, body, np.ones(len(x), bool), 0.15, offset, friction_speed=0.3, **options)
    return surface, x + noise * rng.uniform(-1, 1, x.shape), rng


def kinds(surface, X):
    return set(surface.collisions(X).pairs.kind.tolist())


def difference(f, x, w, h):
    """The central difference of order four."""
    return (8 * (f(x + h * w) - f(x - h * w)) - (f(x + 2 * h * w) - f(x - 2 * h * w))) / (12 * h)


def error(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("offset", [0.0, 0.04])
@pytest.mark.parametrize("angle", [0.5, 0.01])  # with the second, edges are nearly parallel
def test_barrier_derivatives(offset, angle):
    surface, X, rng = two_sheets(offset, angle=angle)
    collisions = surface.collisions(X)
    assert {8, 10, 11} <= kinds(surface, X)  # edge-edge, vertex-edge and vertex-face pairs
    assert (collisions.pairs.fading(X[collisions.pairs.vertices]) is not None) == (angle == 0.01)
    energy, gradient = surface.barrier_energy(X, collisions, STIFFNESS), surface.barrier_gradient(X, collisions, STIFFNESS)
    assert energy > 0
    assert surface.barrier_energy(X, collisions, STIFFNESS) == energy
    H = surface.barrier_hessian(X, collisions, STIFFNESS, project=False)
    for _ in range(3):
        w = rng.normal(size=X.shape)
        slope = difference(lambda x: surface.barrier_energy(x, surface.collisions(x), STIFFNESS), X, w, 1e-6)
        assert slope == pytest.approx(gradient @ w.ravel(), rel=1e-7)
        change = difference(lambda x: surface.barrier_gradient(x, surface.collisions(x), STIFFNESS), X, w, 1e-6)
        assert error(change, H @ w.ravel()) < 1e-6


@pytest.mark.parametrize("angle", [0.5, 0.01])
def test_barrier_of_the_table_of_pairs_is_that_of_ipctk(angle):
    surface, X, _ = two_sheets(0.03, angle=angle)
    pairs = surface.collisions(X).pairs
    value = gap_energy(pairs.closest(X[pairs.vertices]).d, surface.activation_distance, surface.offset)[0] * pairs.weight
    fading = pairs.fading(X[pairs.vertices])
    if fading is not None:
        value[fading.at] *= fading.factor()
    assert (pairs.weight > 0).all()
    assert STIFFNESS * value.sum() == pytest.approx(surface.barrier_energy(X, surface.collisions(X), STIFFNESS), rel=1e-12)


def test_gap_energy_derivatives():
    d = np.linspace(0.025, 0.14, 50)
    f = lambda i: lambda d: np.array(gap_energy(d, 0.1, 0.02)[i])  # noqa: E731
    assert error(difference(f(0), d, np.ones(50), 1e-5), f(1)(d)) < 1e-9
    assert error(difference(f(1), d, np.ones(50), 1e-5), f(2)(d)) < 1e-6
    assert all((v[d > 0.12] == 0).all() for v in gap_energy(d, 0.1, 0.02))


@pytest.mark.parametrize("angle", [0.5, 0.01])
def test_projected_hessian(angle):
    surface, X, _ = two_sheets(angle=angle, noise=0.004)
    collisions = surface.collisions(X)
    near = surface.barrier_hessian(X, collisions, STIFFNESS, project=True).toarray()
    exact = surface.barrier_hessian(X, collisions, STIFFNESS, project=False).toarray()
    assert error(near, near.T) < 1e-14
    assert np.linalg.eigvalsh(near).min() > -1e-10 * np.abs(near).max()
    up = np.where((surface.body == 0)[:, None], [0.0, 0.0, 1.0], 0.0).ravel()
    assert 1 < (up @ near @ up) / (up @ exact @ up) < 1.2  # the stiffness against approach


def test_self_contact_of_a_folded_sheet():
    x, faces = sheet(13, 4, 3.0, 0.6)
    surface = ContactSurface(x, faces, np.zeros(len(x), int), np.ones(len(x), bool), 0.15, self_contact=[True])
    assert len(surface.collisions(x)) == 0  # elements around each other do not repel each other while the sheet is flat
    turn = np.clip(x[:, 0] / 0.06, -np.pi / 2, np.pi / 2)  # a fold with two parallel layers 0.12 m apart
    X = np.stack([0.06 * np.cos(turn) - np.maximum(np.abs(x[:, 0]) - 0.03 * np.pi, 0), x[:, 1], 0.06 * np.sin(turn)], axis=1)
    X += np.random.default_rng(1).uniform(-0.005, 0.005, X.shape)
    assert surface.intersections(X) == []
    collisions = surface.collisions(X)
    assert {8, 11} & kinds(surface, X)
    w = np.random.default_rng(2).normal(size=X.shape)
    energy, gradient = surface.barrier_energy(X, collisions, STIFFNESS), surface.barrier_gradient(X, collisions, STIFFNESS)
    assert energy > 0
    slope = difference(lambda x: surface.barrier_energy(x, surface.collisions(x), STIFFNESS), X, w, 1e-6)
    assert slope == pytest.approx(gradient @ w.ravel(), rel=1e-6)
    assert len(ContactSurface(x, faces, np.zeros(len(x), int), np.ones(len(x), bool), 0.15).collisions(X)) == 0


@pytest.mark.parametrize(("mesh", "table"), [(9, 2), (17, 2), (33, 2), (17, 5), (33, 5), (17, 9)])
def test_pressure_does_not_depend_on_the_mesh(mesh, table):
    """A sheet above a table, anywhere on it, is pressed with stiffness |b'(gap)| on its area."""
    (a, fa), (b, fb) = sheet(mesh, mesh, 0.05, 0.05), sheet(table, table, 0.3, 0.3)
    x, faces, body = join((turned(a, 0.3), fa), (b, fb))
    surface = ContactSurface(x, faces, body, body == 0, 1e-3)
    pressure = -gap_energy(np.array([4e-4]), 1e-3, 0.0)[1][0] * 1e5
    area = surface.vertex_areas[body == 0] / 4
    forces = []
    for shift in np.random.default_rng(0).uniform(-0.1, 0.1, (10, 2)):
        X = x.copy()
        X[body == 0] += [*shift, 4e-4]
        force = -surface.barrier_gradient(X, surface.collisions(X), 1e5).reshape(-1, 3)[body == 0]
        forces.append(force.sum(0) / (pressure * 0.05**2))
        assert (force[:, 2] / area).max() < 16 * pressure  # right above a vertex of the table, with its eight faces
    forces = np.array(forces)
    assert np.abs(forces[:, 2].mean() - 1) < {2: 0.05, 5: 0.2, 9: 0.35}[table]
    assert np.abs(forces[:, :2]).max() < 0.02  # what a frictionless flat table may push sideways, by its edges


@pytest.mark.parametrize("offset", [0.0, 0.04])
@pytest.mark.parametrize("angle", [0.5, 0.01])
@pytest.mark.parametrize("speed", [0.1, 3.0])  # sticking, sliding
def test_friction_jacobians(offset, angle, speed):
    surface, X, rng = two_sheets(offset, angle=angle, self_contact=[True, False])
    mu = np.array([0.3, 0.7])
    assert surface.body_pairs == [(0, 0), (0, 1)]
    start, c = X - speed * rng.uniform(-1, 1, X.shape), 0.7

    def jacobians(X, start, mu):
        return surface.friction_jacobians(X, start, c, surface.collisions(X), STIFFNESS, mu)

    J = jacobians(X, start, mu)
    friction = surface.friction_set(X, surface.collisions(X), STIFFNESS, mu)
    v = (X - start) / c
    assert np.array_equal(J.force, friction.gradient(v))
    slips = friction._slip(v)[2]
    assert (slips < 0.3).any() if speed < 1 else (slips > 0.3).any()
    for _ in range(2):
        w = rng.normal(size=X.shape)
        assert error(J.positions @ w.ravel(), difference(lambda x: jacobians(x, start, mu).force, X, w, 1e-6)) < 1e-6
        assert error(J.start @ w.ravel(), difference(lambda x: jacobians(X, x, mu).force, start, w, 1e-6)) < 1e-6
    assert error(J.coefficients @ mu, J.force) < 1e-12
    w = np.array([0.0, 1.0])
    assert error(J.coefficients @ w, difference(lambda m: jacobians(X, start, m).force, mu, w, 1e-3)) < 1e-9


@pytest.mark.parametrize("speed", [0.1, 3.0])
def test_friction_potential(speed):
    surface, X, rng = two_sheets()
    friction = surface.friction_set(X, surface.collisions(X), STIFFNESS, np.array([0.4]))
    v, w = speed * rng.uniform(-1, 1, X.shape), rng.normal(size=X.shape)
    gradient, H = friction.gradient(v), friction.hessian(v)
    assert difference(friction.energy, v, w, 1e-4) == pytest.approx(gradient @ w.ravel(), rel=1e-7)
    assert error(H @ w.ravel(), difference(friction.gradient, v, w, 1e-5)) < 1e-6
    assert np.linalg.eigvalsh(H.toarray()).min() > -1e-12 * np.abs(H.toarray()).max()


@pytest.mark.parametrize("offset", [0.0, 0.04])
def test_friction_cone(offset):
    """A flat sheet that slides on a flat one is held back by mu times the force that presses it, whatever the kind of the pairs."""
    surface, _, _ = two_sheets(offset, angle=0.0)
    (a, _), (b, _) = sheet(4, 4, 1, 1), sheet(4, 5, 1.2, 1.2)
    X = np.concatenate([turned(a, 0.02) + np.array([0, 0, offset + 0.05]), b])
    upper = surface.body == 0
    v = np.where(upper[:, None], [0.6, -0.8, 0.0], 0.0)
    friction = surface.friction_set(X, surface.collisions(X), STIFFNESS, np.array([0.4]))
    # Pairs of elements that are not one above the other are not level; take those that are.
    level = friction._points.normal[:, 2] ** 2 > 1 - 1e-12
    assert level.sum() > 30
    normal = friction.normal_forces[level].sum()
    friction._press[~level] = 0
    for factor, share in ((1.0, 1.0), (0.15, 0.75), (0.0, 0.0)):  # the friction speed is 0.3; half of it gives 2/2 - 1/4
        force = -friction.gradient(factor * v).reshape(-1, 3)[upper].sum(0)
        assert np.allclose(force, -0.4 * share * normal * np.array([0.6, -0.8, 0.0]), atol=1e-12 * normal)


def test_friction_of_one_class_is_that_of_ipctk():
    surface, X, rng = two_sheets(0.03, noise=0.03)
    collisions = surface.collisions(X)
    pairs = collisions.pairs
    assert pairs.fading(X[pairs.vertices]) is None  # ipctk leaves pairs that fade out without friction
    barrier = ipctk.BarrierPotential(surface.activation_distance, STIFFNESS, True)
    theirs, D = ipctk.TangentialCollisions(), ipctk.FrictionPotential(surface.friction_speed)
    theirs.build(surface._mesh, np.asfortranarray(X), collisions.found, barrier, 0.4)
    v = np.asfortranarray(rng.normal(size=X.shape) * 0.3)
    ours = surface.friction_set(X, collisions, STIFFNESS, np.array([0.4]))
    assert ours.energy(v) == pytest.approx(D(theirs, surface._mesh, v), rel=1e-10)
    assert error(ours.gradient(v), D.gradient(theirs, surface._mesh, v)) < 1e-10
    assert error(ours.hessian(v).toarray(), D.hessian(theirs, surface._mesh, v).toarray()) < 1e-10


@pytest.mark.parametrize("offset", [0.0, 0.04])
def test_a_largest_step_never_passes_through(offset):
    surface, X, rng = two_sheets(offset)
    gap, shorter = surface.smallest_gap(X, surface.collisions(X)), 0
    for k in range(60):
        w = rng.normal(size=X.shape) * 10.0 ** rng.uniform(-2, 0)
        if k % 2:
            w = w * 0.1 + np.where((surface.body == 0)[:, None], [0.0, 0.0, -0.3], 0.0)
        a = surface.largest_step(X, X + w)
        shorter += a < 1
        for t in np.linspace(0, a, 5)[1:]:
            Y = X + t * w
            assert surface.intersections(Y) == []
            assert surface.smallest_gap(Y, surface.collisions(Y)) > 0.099 * gap
        assert a < 1 or not k % 2  # the whole way passes through
    assert shorter > 30
    assert surface.largest_step(X, X + 1e-3) == 1


def test_a_largest_step_from_far_away():
    surface, X, _ = two_sheets(gap=1.0)
    surface.start(X)  # nothing is near
    down = np.where((surface.body == 0)[:, None], [0.0, 0.0, -2.0], 0.0)
    a = surface.largest_step(X, X + down)
    assert 0.4 < a < 0.5
    assert surface.intersections(X + a * down) == []
    bad = X.copy()
    bad[0, 0] = np.nan
    assert surface.largest_step(X, bad) == 0


def test_intersections_are_found():
    surface, X, _ = two_sheets(noise=0.0, gap=0.5)
    assert surface.intersections(X) == []
    assert surface.smallest_gap(X, surface.collisions(X)) == np.inf
    lowest = 5  # an inner vertex of the upper sheet, pushed through the lower one
    X[lowest, 2] = -0.1
    found = surface.intersections(X)
    assert {lowest} == set.intersection(*({*e} for e, _ in found if lowest in e))
    around = {tuple(sorted(e)) for e in surface.edges.tolist() if lowest in e}
    through = {tuple(sorted(e)) for e, f in found if lowest in e}
    assert through == around  # each edge around it passes through one face or another
    assert all(surface.body[f[0]] == 1 for e, f in found if lowest in e)
    # A sweep of a flat grid over rough ground, and each hit against a plain computation of it.
    for e, f in found:
        t, u, v = np.linalg.solve(np.stack([X[e[0]] - X[e[1]], X[f[1]] - X[f[0]], X[f[2]] - X[f[0]]], axis=1), X[e[0]] - X[f[0]])
        assert 0 <= t <= 1
        assert min(u, v, 1 - u - v) >= -1e-12


def test_intersections_that_do_not_count():
    surface, X, _ = two_sheets(noise=0.0, gap=0.0, ignored=[(0, 1)])
    X[5, 2] = -0.1
    assert surface.intersections(X) == []
    assert surface.body_pairs == []
    assert len(surface.collisions(X)) == 0
    x, faces, body = join(sheet(3, 3, 1, 1), sheet(4, 4, 1, 1), sheet(3, 3, 1, 1))
    X = x + np.array([0.0, 0.03, 0.06])[body][:, None] * [0.0, 0.0, 1.0]
    surface = ContactSurface(x, faces, body, body == 0, 0.05)  # two obstacles may be anywhere
    assert surface.body_pairs == [(0, 1), (0, 2)]
    ends = [surface.body[v] for v in surface.collisions(X).pairs.ends()]
    assert {tuple(sorted(p)) for p in zip(*(e.tolist() for e in ends))} == {(0, 1)}
    surface = ContactSurface(x, faces, body, body == body, 0.05, self_contact=[True, False, False], ignored=[(0, 1)])
    ends = [surface.body[v] for v in surface.collisions(X).pairs.ends()]
    assert {tuple(sorted(p)) for p in zip(*(e.tolist() for e in ends))} == {(1, 2)}


def test_same_bits_whatever_came_before():
    surface, X, _ = two_sheets()
    other = two_sheets()[0]
    other.collisions(X + 0.03)

    def all_of(s):
        s.start(X)
        Y = X + 1e-3
        c = s.collisions(Y)
        friction = s.friction_jacobians(Y, X, 0.1, c, STIFFNESS, np.array([0.4]))
        barrier = [s.barrier_energy(Y, c, STIFFNESS), s.barrier_gradient(Y, c, STIFFNESS), s.barrier_hessian(Y, c, STIFFNESS, True).data]
        return [*barrier, friction.force, friction.positions.data]

    for a, b in zip(all_of(surface), all_of(other), strict=True):
        assert np.array_equal(a, b)


def test_free_edges_repel():
    x, faces = sheet(3, 3, 1, 1)
    x = np.concatenate([x, [[0.0, -0.7, 0.05], [0.1, 0.7, 0.05], [0.0, -0.7, 0.4], [0.0, 0.7, 0.3]]])
    body = np.repeat([0, 1], [9, 4])
    surface = ContactSurface(x, faces, body, np.ones(13, bool), 0.1, free_edges=np.array([[9, 10], [11, 12]]))
    force = -surface.barrier_gradient(x, surface.collisions(x), STIFFNESS).reshape(-1, 3)
    assert force[9:11, 2].min() > 0
    assert not force[11:].any()
    assert np.allclose(force.sum(0), 0, atol=1e-12 * np.abs(force).max())


def test_a_bad_start_is_refused():
    surface, X, _ = two_sheets(noise=0.0, gap=0.5, offset=0.02)
    surface.check_start(X, ["cloth", "table"])
    bad = X.copy()
    bad[5, 2] = -0.1
    with pytest.raises(ModelError, match=r"edge \(.*\) of 'cloth' passes through face \(.*\) of 'table' \(\d+ more places\)"):
        surface.check_start(bad, ["cloth", "table"])
    near = X.copy()
    near[5, 2] = 0.015
    with pytest.raises(ModelError, match=r"vertex 5 of 'cloth' .* of 'table' .* 0.015 m apart, 0.005 m nearer than the offset 0.02 m"):
        surface.check_start(near, ["cloth", "table"])
    bad[5, 2] = np.nan
    with pytest.raises(ModelError, match="not a finite number"):
        surface.check_start(bad, ["cloth", "table"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_distance": 0.0}, "activation distance of contact is 0.0; it must be more than 0"),
        ({"offset": -1.0}, "offset of contact is -1.0; it must be at least 0"),
        ({"friction_speed": np.nan}, "friction speed"),
        ({"body": np.zeros(3, int)}, r"body \[V\]"),
        ({"faces": np.array([[0, 1, 99]])}, "names a vertex that does not exist"),
        ({"self_contact": [True, True]}, "2 entries for 1 bodies"),
    ],
)
def test_bad_arguments(change, message):
    x, faces = sheet(3, 3, 1, 1)
    arguments = {"vertices": x, "faces": faces, "body": np.zeros(9, int), "moving": np.ones(9, bool), "activation_distance": 0.1}
    with pytest.raises(ModelError, match=message):
        ContactSurface(**{**arguments, **change})


def test_friction_coefficients_are_counted():
    surface, X, _ = two_sheets()
    with pytest.raises(ModelError, match="2 friction coefficients are given for the 1 pairs"):
        surface.friction_set(X, surface.collisions(X), STIFFNESS, np.array([0.1, 0.2]))


@pytest.mark.parametrize("height", [1e-3, 1e-9, 6e-11, 1e-12])
def test_an_edge_that_ends_above_a_face_does_not_cross_it_however_flat_it_lies(height):
    points = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-2.0, 0.3, 10 * height], [-0.5, 0.3, 3.4 * height]])
    points = np.concatenate([points, [[0.4, 0.3, -height], [0.8, 0.9, 3.4 * height]]])
    edges, faces = np.array([[3, 4], [3, 5], [4, 6]]), np.array([[0, 1, 2]] * 3)
    # Its line meets the face in the first pair, the edge does in the second, and passes above it in the third.
    seen = [False, height >= 1e-9, False]  # below that it counts as in the plane
    assert crossing(points, edges, faces).tolist() == seen
