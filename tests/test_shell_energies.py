"""The energies of a thin sheet against energies written here another way, against geometry, and against the law of a crease."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from pliant.errors import MeshError, ModelError, ShapeError
from pliant.sim.shell import materials
from pliant.sim.shell.bending import BendingTerm, bending_parameters, outward_directions
from pliant.sim.shell.hinge import HingeTerm, hinge_edges, hinge_parameters
from pliant.sim.shell.membrane import LAWS, MembraneTerm, membrane_parameters
from pliant.sim.shell.topology import ShellTopology

E, NU, H = 2e3, 0.3, 0.05
D = E * H**3 / (12 * (1 - NU**2))
F64 = torch.float64
SPARE = 5
"""Unknowns of other bodies between the coordinates and the edge rotations."""


def plane(n, m, seed=None):
    """Points of a unit square [V, 2] and faces; irregular, by Delaunay's triangulation of shifted points, if a seed is given."""
    x, y = np.meshgrid(np.linspace(0, 1, n + 1), np.linspace(0, 1, m + 1), indexing="ij")
    if seed is not None:
        inner = np.zeros_like(x)
        inner[1:-1, 1:-1] = 1
        noise = np.random.default_rng(seed).uniform(-0.3, 0.3, (2, *x.shape)) * inner
        x, y = x + noise[0] / n, y + noise[1] / m
        points = np.column_stack([x.ravel(), y.ravel()])
        faces = Delaunay(points).simplices.astype(np.int64)
        d = points[faces[:, 1:]] - points[faces[:, :1]]
        area = d[:, 0, 0] * d[:, 1, 1] - d[:, 0, 1] * d[:, 1, 0]
        return points, np.where(area[:, None] < 0, faces[:, [0, 2, 1]], faces)[np.abs(area) > 1e-9]
    k = np.arange((n + 1) * (m + 1)).reshape(n + 1, m + 1)
    a, b, c, d = (part.ravel() for part in (k[:-1, :-1], k[1:, :-1], k[1:, 1:], k[:-1, 1:]))
    return np.column_stack([x.ravel(), y.ravel()]), np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])


def lifted(points, height):
    return torch.as_tensor(np.column_stack([points, height(points[:, 0], points[:, 1])]))


class Sheet:
    """An irregular curved sheet with one clamped side, moved and turned at random, and everything that is needed to bend it."""

    def __init__(self, k0=math.inf, seed=3):
        points, faces = plane(4, 3, seed)
        turns = np.random.default_rng(2).integers(3, size=len(faces))  # so that clamped edges lie opposite every corner
        faces = np.stack([np.roll(face, turn) for face, turn in zip(faces, turns, strict=True)])
        self.random = torch.Generator().manual_seed(seed)
        self.rest = lifted(points, lambda x, y: 0.2 * np.sin(3 * x + y))
        self.topology = t = ShellTopology.of(faces)
        boundary = np.flatnonzero(t.boundary)
        self.clamped = boundary[(points[t.edges[boundary]][:, :, 0] < 1e-9).all(1)]
        self.offset = self.rest.numel() + SPARE
        self.unknowns = self.offset + len(t.edges)
        self.u = self.normal(self.unknowns) * 0.2
        self.u[: self.rest.numel()] = (self.rest + 0.04 * self.normal(*self.rest.shape)).flatten()
        self.rest_m = outward_directions(self.rest, t, self.clamped)
        self.m = 1.3 * self.rest_m + 0.2 * self.normal(*self.rest_m.shape)
        self.k0, self.hardening = k0, 0.2
        self.w = self.normal(self.unknowns)

    def normal(self, *shape):
        return torch.randn(shape, generator=self.random, dtype=F64)

    def bent(self, **more):
        """The mid-edge term, its table and `(offset, alpha)`."""
        faces = len(self.topology.faces)
        state = {"offset": 0.01 * self.normal(faces, 3), "alpha": torch.rand(faces, generator=self.random, dtype=F64)}
        state = {"clamped": self.clamped, "directions": self.m, "rest_directions": self.rest_m, **state, **more}
        par = bending_parameters(self.rest, self.topology, E, NU, H, self.k0, self.hardening, **state)
        return BendingTerm(self.topology, self.clamped, self.offset, self.unknowns), par, state

    def hinged(self):
        rows = len(hinge_edges(self.topology, self.clamped))
        state = {"offset": 0.01 * self.normal(rows), "alpha": torch.rand(rows, generator=self.random, dtype=F64)}
        given = {"clamped": self.clamped, "directions": self.m, "rest_directions": self.rest_m, **state}
        par = hinge_parameters(self.rest, self.topology, E, NU, H, self.k0, self.hardening, **given)
        return HingeTerm(self.topology, self.clamped, self.unknowns), par, given

    def stretched(self, law):
        return MembraneTerm(self.topology.faces, law, self.unknowns), membrane_parameters(self.rest, self.topology.faces, E, NU, H)


def metric(x, faces):
    c = x[torch.as_tensor(faces)]
    d = c[:, 1:] - c[:, :1]
    return d @ d.mT


def membrane_reference(sheet, law, u):
    """By the metric in the basis of the edges alone."""
    rest, now = metric(sheet.rest, sheet.topology.faces), metric(u[: sheet.rest.numel()].reshape(-1, 3), sheet.topology.faces)
    C = torch.linalg.solve(rest, now)
    trace, mu, lam = C.diagonal(dim1=1, dim2=2).sum(1), E / (2 * (1 + NU)), E * NU / (1 - NU**2)
    if law == "neo_hookean":
        log = torch.log(torch.linalg.det(now) / torch.linalg.det(rest))
        density = mu / 2 * (trace - 2 - log) + lam / 8 * log**2
    else:
        strain = (C - torch.eye(2, dtype=F64)) / 2
        density = mu * (strain @ strain).diagonal(dim1=1, dim2=2).sum(1) + lam / 8 * (trace - 2) ** 2
    return (H * torch.linalg.det(rest).sqrt() / 2 * density).sum()


def dihedral(x, topology, m):
    """The angle of every edge [E] by the arc sine of normals (small angles only); m [E, 3], NaN where the edge is free."""
    i, j, k, l = torch.as_tensor(topology.hinges).T
    e = torch.nn.functional.normalize(x[j] - x[i], dim=1)
    beyond = torch.where((l >= 0)[:, None], x[l.clamp(min=0)] - x[i], torch.where(m.isnan(), x[i] - x[k], m))
    n1, n2 = (torch.nn.functional.normalize(torch.linalg.cross(*pair), dim=1) for pair in ((e, x[k] - x[i]), (beyond, e)))
    return torch.asin((torch.linalg.cross(n1, n2) * e).sum(1))


def shape_operator(x, xi, topology, m, rest):
    """The second fundamental form of every face in an orthonormal rest frame [F, 2, 2], by b and the inverse rest matrix."""
    theta, free = dihedral(x, topology, m), m.isnan().any(1) & torch.as_tensor(topology.boundary)
    held = torch.as_tensor(topology.boundary) & ~free
    share = torch.where(free, 0.0, torch.where(held, 1.0, 0.5))
    edges = torch.as_tensor(topology.face_edges)
    phi = (share * theta)[edges] + torch.as_tensor(topology.signs) * torch.where(held, 0.0, xi)[edges]
    c = rest[torch.as_tensor(topology.faces)]
    d = c[:, 1:] - c[:, :1]
    R = torch.linalg.qr(d.mT)[1]
    area2 = torch.linalg.det(R).abs()
    height = area2[:, None] / torch.linalg.vector_norm(c.roll(-1, 1) - c.roll(1, 1), dim=2)
    S = 2 * height * phi
    b = torch.stack([S[:, 0] + S[:, 1], S[:, 0], S[:, 0], S[:, 0] + S[:, 2]], dim=1).reshape(-1, 2, 2)
    B = torch.linalg.inv(R)
    return B.mT @ b @ B, S, area2 / 2, B


def law(t, k0, hardening, alpha):
    limit = k0 + hardening * alpha
    slip = torch.where(t > limit, (t - limit) / (1 + hardening), 0.0)
    stored = torch.where(t > limit, limit * slip, 0.0) + hardening * slip**2 / 2
    return (t - slip) ** 2 / 2 + stored, slip


def bending_reference(sheet, state, u):
    nodes, t = sheet.rest.numel(), sheet.topology
    now, before = torch.full((2, len(t.edges), 3), math.nan, dtype=F64)
    now[torch.as_tensor(sheet.clamped)], before[torch.as_tensor(sheet.clamped)] = state["directions"], state["rest_directions"]
    _, S, area, B = shape_operator(u[:nodes].reshape(-1, 3), u[sheet.offset :], t, now, sheet.rest)
    d = S - shape_operator(sheet.rest, torch.zeros(len(t.edges), dtype=F64), t, before, sheet.rest)[1] - state["offset"]
    b = torch.stack([d[:, 0] + d[:, 1], d[:, 0], d[:, 0], d[:, 0] + d[:, 2]], dim=1).reshape(-1, 2, 2)
    M = B.mT @ b @ B
    size = ((1 - NU) * (M * M).sum((1, 2)) + NU * M.diagonal(dim1=1, dim2=2).sum(1) ** 2).sqrt()
    w, slip = law(size, sheet.k0, sheet.hardening, state["alpha"])
    return (area * D * w).sum(), size, slip


def hinge_reference(sheet, state, u):
    t, edges = sheet.topology, torch.as_tensor(hinge_edges(sheet.topology, sheet.clamped))
    now, before = torch.full((2, len(t.edges), 3), math.nan, dtype=F64)
    now[torch.as_tensor(sheet.clamped)], before[torch.as_tensor(sheet.clamped)] = state["directions"], state["rest_directions"]
    area = torch.linalg.det(metric(sheet.rest, t.faces)).sqrt() / 2
    both = torch.zeros(len(t.edges), dtype=F64).index_add(0, torch.as_tensor(t.face_edges).flatten(), area.repeat_interleave(3))[edges]
    ends = sheet.rest[torch.as_tensor(t.edges)][edges]
    weight = torch.linalg.vector_norm(ends[:, 1] - ends[:, 0], dim=1) / both
    turn = dihedral(u[: sheet.rest.numel()].reshape(-1, 3), t, now) - dihedral(sheet.rest, t, before)
    size = (weight * (turn[edges] - state["offset"])).abs()
    w, slip = law(size, sheet.k0, sheet.hardening, state["alpha"])
    return (both * D * w).sum(), size, slip


def assembled(term, blocks, unknowns):
    total = torch.zeros(unknowns + 1, unknowns + 1, dtype=F64)
    for table, block in zip(term.patterns, blocks, strict=True):
        at = torch.where(table < 0, unknowns, table)
        total.index_put_((at[:, :, None].expand_as(block), at[:, None, :].expand_as(block)), block, accumulate=True)
    return total[:unknowns, :unknowns]


CASES = [*LAWS, "bending", "creasing", "hinges", "creasing hinges"]


def case(name):
    """A sheet, a term with its table, and the reference energy of u."""
    sheet = Sheet(k0=2.0 if "creasing" in name else math.inf)
    if name in LAWS:
        return sheet, *sheet.stretched(name), lambda u: membrane_reference(sheet, name, u)
    hinged = "hinges" in name
    term, par, state = sheet.hinged() if hinged else sheet.bent()
    reference = hinge_reference if hinged else bending_reference
    if "creasing" in name:
        flows = reference(sheet, state, sheet.u)[2] > 0
        assert 3 < flows.sum() < len(flows) - 1  # both branches of the law are met
    return sheet, term, par, lambda u: reference(sheet, state, u)[0]


@pytest.mark.parametrize("name", CASES)
def test_energy_gradient_and_hessian_are_those_of_the_reference(name):
    sheet, term, par, reference = case(name)
    u = sheet.u
    assert term.energy(u, par) == pytest.approx(float(reference(u)), rel=1e-12)
    gradient, hessian = torch.func.grad(reference)(u), torch.func.hessian(reference)(u)
    torch.testing.assert_close(term.gradient(u, par), gradient, rtol=0, atol=1e-12 * float(gradient.abs().max()))
    exact = assembled(term, term.hessians(u, par, False), sheet.unknowns)
    torch.testing.assert_close(exact, hessian, rtol=0, atol=1e-11 * float(hessian.abs().max()))
    step = 1e-6 * sheet.w
    slope = (term.gradient(u + step, par) - term.gradient(u - step, par)) / 2e-6
    torch.testing.assert_close(exact @ sheet.w, slope, rtol=0, atol=1e-6 * float(slope.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_projected_blocks_are_positive_and_exact_where_there_is_no_stress(name):
    sheet, term, par, _ = case(name)
    crushed = sheet.u.clone()
    crushed[: sheet.rest.numel()] *= 0.7
    for u in (sheet.u, crushed):
        exact, projected = term.hessians(u, par, False)[0], term.hessians(u, par, True)[0]
        assert torch.linalg.eigvalsh(exact).min() < -1e-3 * exact.abs().max()  # so that there is something to project
        assert torch.linalg.eigvalsh(projected).min() > -1e-13 * projected.abs().max()
    if name in LAWS:
        rest = torch.cat([sheet.rest.flatten(), sheet.u[sheet.rest.numel() :]])
        torch.testing.assert_close(*(term.hessians(rest, par, project)[0] for project in (False, True)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("poisson_ratio", [-0.9, 0.49])
@pytest.mark.parametrize("size", [0.3, 3.0])
def test_the_projected_membrane_is_positive_for_extreme_stretch_and_poisson_ratio(size, poisson_ratio):
    sheet = Sheet()
    par = membrane_parameters(sheet.rest, sheet.topology.faces, E, poisson_ratio, H)
    u = size * sheet.u
    for name in LAWS:
        blocks = MembraneTerm(sheet.topology.faces, name, sheet.unknowns).hessians(u, par, True)[0]
        assert torch.linalg.eigvalsh(blocks).min() > -1e-13 * blocks.abs().max()


@pytest.mark.parametrize("strain", [1e-8, 1e-6, 1e-4, 0.02])
def test_tiny_strains_have_their_energy_and_not_its_rounding(strain):
    """Both laws are the quadratic one up to the strain itself; a difference of numbers of order one would leave 1e-16 of the modulus."""
    rest = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.1, 0.0], [0.2, 0.9, 0.3]], dtype=F64)
    faces = np.array([[0, 1, 2]])
    par = membrane_parameters(rest, faces, E, NU, H)
    u = (rest + strain * torch.tensor([[0.3, -0.5, 0.1], [-0.2, 0.4, 0.6], [0.5, 0.1, -0.3]], dtype=F64)).flatten()
    quadratic, logarithmic = (MembraneTerm(faces, law, 9).energy(u, par) for law in LAWS)
    assert logarithmic == pytest.approx(quadratic, rel=max(10 * strain, 1e-6), abs=0.0)
    assert quadratic > 0


@pytest.mark.parametrize("name", CASES)
def test_virtual_work_and_its_derivative_by_every_column(name):
    sheet, term, par, _ = case(name)
    par.requires_grad_()
    work = term.virtual_work(sheet.u, sheet.w, par)
    assert work.item() == pytest.approx(float(term.gradient(sheet.u, par.detach()) @ sheet.w), rel=1e-11)
    (slope,) = torch.autograd.grad(work, par)
    par = par.detach()
    idle = 0
    for column in range(par.shape[1]):
        if not torch.isfinite(par[:, column]).all():  # an infinite yield curvature: nothing depends on it
            assert (slope[:, column] == 0).all()
            idle += 1
            continue
        direction = torch.zeros_like(par)
        direction[:, column] = (float(par[:, column].abs().max()) or 1.0) * sheet.normal(len(par))
        works = [term.gradient(sheet.u, par + sign * 1e-6 * direction) @ sheet.w for sign in (1, -1)]
        measured, exact = float(works[0] - works[1]) / 2e-6, float((slope * direction).sum())
        assert exact == pytest.approx(measured, rel=1e-6, abs=1e-7 * abs(work.item())), column
        idle += measured == 0
    assert idle == (3 if name in ("bending", "hinges") else 0)  # elastic: nothing depends on yield curvature, hardening and alpha


@pytest.mark.parametrize("name", CASES)
def test_a_rigid_motion_of_the_rest_shape_costs_nothing(name):
    sheet = Sheet()
    Q = torch.linalg.qr(sheet.normal(3, 3))[0]
    Q = Q * torch.linalg.det(Q)
    u = torch.zeros(sheet.unknowns, dtype=F64)
    u[: sheet.rest.numel()] = (sheet.rest @ Q.T + sheet.normal(3)).flatten()
    if name in LAWS:
        term, par = sheet.stretched(name)
    else:
        sheet.m, sheet.k0 = sheet.rest_m @ Q.T, 2.0 if "creasing" in name else math.inf
        term, par, _ = sheet.hinged() if "hinges" in name else sheet.bent(offset=None, alpha=None)
        if "hinges" in name:
            par[:, [3, 6]] = 0
    scale = float(term.gradient(sheet.u, par).abs().max())
    assert term.energy(u, par) < 1e-20 * D * 1e6
    assert float(term.gradient(u, par).abs().max()) < 1e-12 * scale
    assert torch.isfinite(torch.autograd.grad(term.virtual_work(u, sheet.w, par.requires_grad_()), par)[0]).all()


def rolled(points, radius):
    s, y = radius * (points[:, 0] - 0.5), points[:, 1]  # of curvature 1 / radius, for the unit square scaled by radius
    return torch.as_tensor(np.column_stack([radius * np.sin(s / radius), radius * y, radius * np.cos(s / radius)]))


def domed(points, radius):
    p = points - 0.5
    return torch.nn.functional.normalize(torch.as_tensor(np.column_stack([p, np.ones(len(p))])), dim=1) * radius


def smooth_rotations(x, topology, normal):
    """The xi that turn the mid-edge normals into those of the smooth surface."""
    i, j, k, _ = torch.as_tensor(topology.hinges).T
    e = torch.nn.functional.normalize(x[j] - x[i], dim=1)
    n1 = torch.nn.functional.normalize(torch.linalg.cross(e, x[k] - x[i]), dim=1)
    smooth = normal((x[i] + x[j]) / 2)
    turn = torch.atan2((torch.linalg.cross(n1, smooth) * e).sum(1), (n1 * smooth).sum(1))
    nowhere = torch.full((len(topology.edges), 3), math.nan, dtype=F64)
    return turn - torch.where(torch.as_tensor(topology.boundary), 0.0, dihedral(x, topology, nowhere) / 2)


SURFACES = {
    "cylinder": (rolled, lambda x: torch.nn.functional.normalize(x * torch.tensor([1.0, 0.0, 1.0]), dim=1), 1.0),
    "sphere": (domed, lambda x: torch.nn.functional.normalize(x, dim=1), 2 + 2 * NU),
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("seed", [None, 1], ids=["regular", "irregular"])
def test_the_curvature_of_cylinder_and_sphere(surface, seed):
    """With smooth normals the shape operator converges, and with the rotations of least energy the energy does."""
    radius = 2.0
    shape, normal, expected = SURFACES[surface]
    worst, energies = [], []
    for n in (6, 12, 24):
        points, faces = plane(n, n, seed)
        x, t = shape(points, radius), ShellTopology.of(faces)
        par = bending_parameters(x, t, E, NU, H, rest_angle=torch.zeros(len(t.edges), dtype=F64))
        term = BendingTerm(t, None, x.numel(), x.numel() + len(t.edges))
        xi = smooth_rotations(x, t, normal)
        M, _, area, _ = shape_operator(x, xi, t, torch.full((len(t.edges), 3), math.nan, dtype=F64), x)
        curvatures = torch.linalg.eigvalsh(M) * radius
        worst.append(float((curvatures - torch.tensor([0.0 if surface == "cylinder" else 1.0, 1.0])).abs().max()))
        u = torch.cat([x.flatten(), xi])
        exact = D / 2 * expected / radius**2 * float(area.sum())
        free = x.numel() + torch.as_tensor(np.flatnonzero(~t.boundary))
        hessian = assembled(term, term.hessians(u, par, True), len(u))[free[:, None], free]
        u[free] -= torch.linalg.solve(hessian, term.gradient(u, par)[free])
        energies.append(abs(term.energy(u, par) / exact - 1))
    for errors in (worst, energies):  # of second order: a quarter each time
        assert errors[2] < 0.32 * errors[1] < 0.32**2 * errors[0] < 0.32**2 * 0.01


def test_clamped_edges_hold_the_normal():
    """A sheet clamped along the tangents of a cylinder at both ends has the cylinder's energy, whatever its free rotations were."""
    errors = []
    for n in (8, 16, 32):
        points, faces = plane(n, 2)
        x, t = rolled(points, 1.0), ShellTopology.of(faces)
        ends = np.concatenate([np.flatnonzero((points[t.edges][:, :, 0] == side).all(1)) for side in (0.0, 1.0)])
        angle = torch.as_tensor(points[t.edges[ends], 0].mean(1)) - 0.5
        m = torch.stack([torch.cos(angle), 0 * angle, -torch.sin(angle)], dim=1) * torch.sign(angle)[:, None]
        par = bending_parameters(x, t, E, NU, H, clamped=ends, directions=m, rest_angle=torch.zeros(len(t.edges), dtype=F64))
        term = BendingTerm(t, ends, x.numel(), x.numel() + len(t.edges))
        u = torch.cat([x.flatten(), torch.zeros(len(t.edges), dtype=F64)])
        errors.append(abs(term.energy(u, par) / (D / 2) - 1))
        hinges = hinge_parameters(x, t, E, NU, H, clamped=ends, directions=m, rest_angle=torch.zeros(len(t.edges), dtype=F64))
        assert HingeTerm(t, ends, len(u)).energy(u, hinges) == pytest.approx(D / 2, rel=2 / n**2)
    assert errors[0] < 5e-3
    assert errors[2] < 0.3 * errors[1] < 0.09 * errors[0]


def test_stretching_costs_no_bending():
    sheet = Sheet()
    term, par, _ = sheet.bent()
    larger = sheet.u.clone()
    larger[: sheet.rest.numel()] *= 1.7
    assert term.energy(larger, par) == pytest.approx(term.energy(sheet.u, par), rel=1e-12)
    points, faces = plane(4, 4, 2)
    flat, t = lifted(points, lambda x, y: 0 * x), ShellTopology.of(faces)
    flat_par = bending_parameters(flat, t, E, NU, H)
    sheared = flat @ torch.tensor([[1.3, 0.2, 0.1], [0.4, 0.8, -0.3], [0.0, 0.0, 1.0]], dtype=F64)
    u = torch.cat([sheared.flatten(), torch.zeros(len(t.edges), dtype=F64)])
    assert BendingTerm(t, None, flat.numel(), len(u)).energy(u, flat_par) < 1e-25


@pytest.mark.parametrize("name", ["creasing", "creasing hinges"])
def test_after_the_return_the_sheet_is_at_yield_with_the_same_forces(name):
    sheet = Sheet(k0=2.0)
    hinged = "hinges" in name
    term, par, state = sheet.hinged() if hinged else sheet.bent()
    reference = hinge_reference if hinged else bending_reference
    _, size, slip = reference(sheet, state, sheet.u)
    offset, alpha = term.plastic_update(sheet.u, par)
    torch.testing.assert_close(alpha, state["alpha"] + slip, rtol=1e-12, atol=1e-13)
    _, after, more = reference(sheet, {**state, "offset": offset, "alpha": alpha}, sheet.u)
    torch.testing.assert_close(after, size - slip, rtol=1e-11, atol=1e-12)
    flows = slip > 0
    torch.testing.assert_close(after[flows], (sheet.k0 + sheet.hardening * alpha)[flows], rtol=1e-11, atol=0)
    assert float(more.max()) < 1e-12
    new = par.clone()
    new[:, 3 if hinged else slice(13, 16)], new[:, 6 if hinged else 18] = offset, alpha
    torch.testing.assert_close(term.gradient(sheet.u, new), term.gradient(sheet.u, par), rtol=0, atol=1e-13)
    again = term.plastic_update(sheet.u, new)
    torch.testing.assert_close(again, (offset, alpha), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["creasing", "creasing hinges"])
def test_the_plastic_update_has_derivatives(name):
    sheet = Sheet(k0=2.0)
    term, par, _ = sheet.hinged() if "hinges" in name else sheet.bent()
    weights = [sheet.normal(*part.shape) for part in term.plastic_update(sheet.u, par)]

    def value(u, par):
        return sum((a * b).sum() for a, b in zip(weights, term.plastic_update(u, par), strict=True))

    u, p = sheet.u.clone().requires_grad_(), par.clone().requires_grad_()
    slopes = torch.autograd.grad(value(u, p), (u, p))
    directions = [(sheet.w, torch.zeros_like(par))]
    for column in range(par.shape[1]):
        direction = torch.zeros_like(par)
        direction[:, column] = float(par[:, column].abs().max()) * sheet.normal(len(par))
        directions.append((torch.zeros_like(u), direction))
    for du, dp in directions:
        measured = (value(sheet.u + 1e-6 * du, par + 1e-6 * dp) - value(sheet.u - 1e-6 * du, par - 1e-6 * dp)) / 2e-6
        assert float((slopes[0] * du).sum() + (slopes[1] * dp).sum()) == pytest.approx(float(measured), rel=1e-6, abs=1e-8)


def crease(hardening, k0=1.5):
    """One pair of flat faces whose bending grows with tau alone, its energy's derivative E'(tau), and t at tau = 1."""
    points, faces = plane(1, 1)
    flat, t = lifted(points, lambda x, y: 0 * x), ShellTopology.of(faces)
    par = bending_parameters(flat, t, E, NU, H, k0, hardening)
    term = BendingTerm(t, None, flat.numel(), flat.numel() + len(t.edges))
    way = torch.cat([torch.zeros(flat.numel(), dtype=F64), torch.tensor([0.6, -0.2, 1.0, 0.5, 0.3], dtype=F64)])
    start = torch.cat([flat.flatten(), torch.zeros(len(t.edges), dtype=F64)])
    nowhere = torch.full((len(t.edges), 3), math.nan, dtype=F64)
    M = shape_operator(flat, way[flat.numel() :], t, nowhere, flat)[0]
    size = ((1 - NU) * (M * M).sum((1, 2)) + NU * M.diagonal(dim1=1, dim2=2).sum(1) ** 2).sqrt()
    return term, par, start, way, size


@pytest.mark.parametrize("hardening", [0.0, 0.3])
def test_the_energy_of_a_step_is_smooth_and_convex(hardening):
    term, par, start, way, size = crease(hardening)
    taus = torch.linspace(0, 2, 401, dtype=F64)
    forces = []
    for tau in taus:
        w, slip = law(tau * size, 1.5, hardening, torch.zeros(2, dtype=F64))
        forces.append(float(term.gradient(start + tau * way, par) @ way))
        assert term.energy(start + tau * way, par) == pytest.approx(float((0.5 * D * w).sum()), rel=1e-12)
        assert forces[-1] == pytest.approx(float((0.5 * D * size * (tau * size - slip)).sum()), rel=1e-12, abs=1e-15)
    rise = np.diff(forces)
    assert rise.min() > -1e-14 * max(forces)
    assert rise[:50].min() > 1.5 * rise[-50:].max()  # it is softer beyond yield
    for at in 1.5 / size:  # where each of the faces begins to flow
        below, above = (term.gradient(start + at * (1 + shift) * way, par) for shift in (-1e-9, 1e-9))
        torch.testing.assert_close(above, below, rtol=0, atol=1e-8 * float(below.abs().max()))


def test_a_cycle_dissipates_and_hardens():
    term, par, start, way, size = crease(0.3)
    lost, elastic_lost, alphas, force = 0.0, 0.0, [par[:, 18].clone()], 0.0
    elastic = par.clone()
    elastic[:, 16] = math.inf
    path = np.concatenate([np.linspace(0, 1, 50), np.linspace(1, -1, 100)[1:], np.linspace(-1, 0, 50)[1:]])
    for before, after in pairwise(path):
        u = start + after * way
        push = float(term.gradient(u, par) @ way)
        lost += (push + force) / 2 * (after - before)
        elastic_lost += float((term.gradient(u, elastic) + term.gradient(start + before * way, elastic)) @ way) / 2 * (after - before)
        force = push
        par[:, 13:16], par[:, 18] = term.plastic_update(u, par)
        alphas.append(par[:, 18].clone())
    stored = term.energy(start, par)  # the elastic energy that is left at the end
    assert lost - stored > 0.2 * term.energy(start + way, elastic)
    assert abs(elastic_lost) < 1e-12 * term.energy(start + way, elastic)
    alphas = torch.stack(alphas)
    assert (alphas.diff(dim=0) >= 0).all()
    assert (alphas[50:60] == alphas[49]).all()  # unloading begins elastic
    _, one_step = law(size, 1.5, 0.3, torch.zeros(2, dtype=F64))
    torch.testing.assert_close(alphas[49], one_step, rtol=1e-10, atol=0)  # 49 steps one way are as good as one
    assert (alphas[49] > 0).all()


def test_parameters_have_derivatives_and_batches_are_single_sheets():
    sheet = Sheet(k0=2.0)
    t, angles = sheet.topology, torch.zeros(len(sheet.topology.edges), dtype=F64)

    def tables(rest, E, nu, h, k0, hardening, m, angle):
        given = {"clamped": sheet.clamped, "directions": m}
        return torch.cat(
            [
                membrane_parameters(rest, t.faces, E, nu, h).flatten(-2),
                bending_parameters(rest, t, E, nu, h, k0, hardening, **given).flatten(-2),
                bending_parameters(rest, t, E, nu, h, k0, hardening, **given, rest_angle=angle).flatten(-2),
                hinge_parameters(rest, t, E, nu, h, k0, hardening, **given).flatten(-2),
            ],
            dim=-1,
        )

    values = [torch.as_tensor(v, dtype=F64) for v in (sheet.rest, E, NU, H, 2.0, 0.2, sheet.m, angles)]
    weights = 1 / tables(*values).abs().clamp(min=1e-3) * sheet.normal(len(tables(*values)))
    leaves = [v.clone().requires_grad_() for v in values]
    slopes = torch.autograd.grad((weights * tables(*leaves)).sum(), leaves)
    for k, (value, slope) in enumerate(zip(values, slopes, strict=True)):
        step = 1e-6 * sheet.normal(*value.shape) * (float(value.abs().max()) or 1.0)
        shifted = [[v + sign * step if i == k else v for i, v in enumerate(values)] for sign in (1, -1)]
        measured = float((weights * (tables(*shifted[0]) - tables(*shifted[1]))).sum()) / 2
        assert measured != 0
        assert float((slope * step).sum()) == pytest.approx(measured, rel=1e-5, abs=1e-9)
    batch = [torch.stack([v, v * 1.2]) for v in values]
    singles = torch.stack([tables(*(b[i] for b in batch)) for i in range(2)])
    torch.testing.assert_close(tables(*batch), singles, rtol=1e-14, atol=0)  # torch's atan2 rounds otherwise at the end of an array
    batch[0] = sheet.rest  # one rest shape with its own parameters in each environment: the same bits
    singles = torch.stack([tables(sheet.rest, *(b[i] for b in batch[1:])) for i in range(2)])
    torch.testing.assert_close(tables(*batch), singles, rtol=0, atol=0)


def test_the_topology_of_a_sheet():
    t = ShellTopology.of(np.array([[0, 1, 2], [2, 1, 3]]))
    assert t.edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert t.face_edges.tolist() == [[2, 1, 0], [3, 4, 2]]
    assert t.signs.tolist() == [[1, 1, 1], [1, 1, -1]]
    assert t.edge_faces.tolist() == [[0, -1], [0, -1], [0, 1], [1, -1], [1, -1]]
    assert t.opposite.tolist() == [[2, -1], [1, -1], [0, 3], [2, -1], [1, -1]]
    assert t.boundary.tolist() == [True, True, False, True, True]
    assert t.adjacent.tolist() == [[5, -1, -1], [-1, -1, 0]]
    assert t.across.tolist() == [[3, -1, -1], [-1, -1, 0]]
    assert t.hinges.tolist() == [[0, 1, 2, -1], [2, 0, 1, -1], [1, 2, 0, 3], [1, 3, 2, -1], [3, 2, 1, -1]]


@pytest.mark.parametrize(
    ("faces", "named"),
    [
        ([[0, 1, 2], [2, 1, 3], [1, 2, 4]], r"\[1, 2\]"),
        ([[0, 1, 2], [1, 2, 3]], r"\[0, 1\]"),
        ([[0, 1, 2], [3, 4, 3]], "1 repeat"),
        ([[0, 1, 1]], "0 repeat"),
        ([[0, 1]], "shape"),
        ([[0, 1, -2]], "negative"),
    ],
)
def test_bad_topologies_are_refused(faces, named):
    with pytest.raises(MeshError, match=named):
        ShellTopology.of(np.array(faces))


def test_bad_clamps_and_laws_are_refused():
    sheet = Sheet()
    with pytest.raises(ModelError, match="two faces"):
        BendingTerm(sheet.topology, np.flatnonzero(~sheet.topology.boundary)[:1], sheet.offset, sheet.unknowns)
    with pytest.raises(ShapeError, match="clamped edges"):
        bending_parameters(sheet.rest, sheet.topology, E, NU, H, clamped=sheet.clamped, directions=sheet.m[:1])
    with pytest.raises(ModelError, match="neo_hookean"):
        MembraneTerm(sheet.topology.faces, "rubber", 9)


def test_materials():
    for make in (materials.paper, materials.card, materials.cloth, materials.leather, materials.plastic_film, materials.foil):
        sheet = make()
        assert 0.005 < sheet.density * sheet.thickness < 2  # from foil to leather [kg/m^2]
    assert materials.ShellMaterial(torch.tensor([1e9, 2e9]), 0.3, 1e-4, 800.0).youngs_modulus.shape == (2,)
    good = {"youngs_modulus": 1e9, "poisson_ratio": 0.3, "thickness": 1e-4, "density": 800.0}
    bad = [("youngs_modulus", 0.0), ("youngs_modulus", 1e15), ("youngs_modulus", torch.tensor([1e9, math.nan])), ("poisson_ratio", 0.5)]
    bad += [("poisson_ratio", -1.0), ("thickness", math.nan), ("thickness", -1e-4), ("density", math.inf), ("yield_curvature", 0.0)]
    bad += [("yield_curvature", math.nan), ("hardening", -0.1), ("hardening", math.inf), ("membrane", "rubber"), ("bending", "none")]
    for name, value in bad:
        with pytest.raises(ModelError, match=name):
            materials.ShellMaterial(**{**good, name: value})
