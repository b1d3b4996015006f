"""Difference operators on grids: against a plain form, their derivatives, and what they conserve."""

import math

import pytest
import torch

from pliant.sim.pde import Dirichlet, Domain, Grid, Neumann, Periodic, Robin, advection, diffusion, face_means, gradient
from pliant.sim.pde.jacobian import Pullback, Stencil
from pliant.sim.pde.operators import face_states

F64 = torch.float64
SHAPES = [(7,), (5, 4), (4, 3, 5)]


def rand(*shape, seed=0, low=0.0):
    return low + torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def walled(shape, mask=None, grad=False):
    """Robin and Dirichlet sides on the first axis, periodic ones on the others; all numbers are tensors."""
    face = [1, *shape[1:]]
    values = [
        torch.tensor([1.3, 0.9], dtype=F64),
        torch.tensor(0.4, dtype=F64),
        rand(2),
        rand(2, *face, seed=1) if len(shape) > 1 else rand(2, seed=1),
    ]
    a, b, c, v = (x.requires_grad_(grad) for x in values)
    return Domain(Grid(shape, 0.0, 1.5), [(Robin(a, b, c), Dirichlet(v)), *[Periodic()] * (len(shape) - 1)], mask), [a, b, c, v]


def plain_diffusion(u, faces, domain):
    """The same by ghost cells, in the words of the definition."""
    total = torch.zeros_like(u)
    for axis, h in enumerate(domain.grid.spacing):
        dim, n = axis - domain.grid.dimension, domain.grid.shape[axis]
        first, last = u.narrow(dim, 0, 1), u.narrow(dim, n - 1, 1)
        ghosts = [last, first]
        if not domain.periodic[axis]:
            for end, cell in ((0, first), (1, last)):
                side = domain.sides[axis][end]
                a, b, c = (domain.spread("", x, u, domain.side_shape(axis)) for x in (side.a, side.b, side.c))
                ghosts[end] = (c - (a / 2 - b / h) * cell) / (a / 2 + b / h)
        padded = torch.cat([ghosts[0], u, ghosts[1]], dim)
        flux = faces[axis] * (padded.narrow(dim, 1, n + 1) - padded.narrow(dim, 0, n + 1)) / h
        if domain.mask is not None:
            flux = flux * domain.open_faces(axis, u)
        total = total + (flux.narrow(dim, 1, n) - flux.narrow(dim, 0, n)) / h
    return total


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("masked", [False, True])
def test_diffusion_is_what_ghost_cells_say(shape, masked):
    domain, _ = walled(shape, rand(*shape, seed=3) > 0.3 if masked else None)
    u, d = rand(2, *shape, seed=4), rand(1, *shape, seed=5, low=0.5)
    for mean in ("arithmetic", "harmonic"):
        torch.testing.assert_close(diffusion(u, d, domain, mean=mean), plain_diffusion(u, face_means(d, domain, mean), domain))
    ones = [torch.ones(1, *domain.grid.face_shape(axis), dtype=F64) for axis in range(len(shape))]
    torch.testing.assert_close(diffusion(u, 0.7, domain), 0.7 * plain_diffusion(u, ones, domain))
    torch.testing.assert_close(diffusion(u, tuple(0.7 * k for k in ones), domain), 0.7 * plain_diffusion(u, ones, domain))


@pytest.mark.parametrize("shape", SHAPES)
def test_first_and_second_derivatives_of_diffusion_are_exact(shape):
    domain, numbers = walled(shape, rand(*shape, seed=3) > 0.2, grad=True)
    u, d = rand(2, *shape, seed=4).requires_grad_(), rand(2, *shape, seed=5, low=0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda u, d, *_: diffusion(u, d, domain), (u, d, *numbers))
    if len(shape) < 3:
        assert torch.autograd.gradgradcheck(lambda u, d: diffusion(u, d, domain), (u, d))


@pytest.mark.parametrize("scheme", ["central", "upwind", "limited"])
def test_derivatives_of_advection_are_exact(scheme):
    domain, numbers = walled((6, 4), rand(6, 4, seed=3) > 0.1, grad=True)
    u = rand(2, 6, 4, seed=4).requires_grad_()
    v = [(rand(1, *domain.grid.face_shape(axis), seed=axis) - 0.5).requires_grad_() for axis in (0, 1)]
    assert torch.autograd.gradcheck(lambda u, v0, v1, *_: advection(u, [v0, v1], domain, scheme=scheme), (u, *v, *numbers))


def test_every_condition_holds_a_linear_field_without_error():
    grid = Grid((6, 5), (0.0, 1.0), (3.0, 2.0))
    x, y = grid.centers()
    u = (2 * x - 3 * y + 1)[None]
    on_x = 2 * grid.face_centers(1)[0][:, :1] + 1  # u on a side across y, without y
    sides = [(Neumann(-2.0), Robin(1.0, 0.5, (6 - 3 * y[:1] + 2)[None])), (Dirichlet((on_x - 3)[None]), Neumann(-3.0))]
    domain = Domain(grid, sides)
    assert float(diffusion(u, 1.3, domain).abs().max()) < 1e-12
    assert float((gradient(u, 0, domain) - 2).abs().max()) < 1e-12
    assert float((gradient(u, 1, domain) + 3).abs().max()) < 1e-12
    assert float((advection(u, [0.5, 1.0], domain) + 2.0).abs().max()) < 1e-12
    low, high = face_states(u, 0, domain, limited=True)
    assert float((low - high)[:, 1:-1].abs().max()) < 1e-12


@pytest.mark.parametrize("mean", ["arithmetic", "harmonic"])
def test_nothing_flows_through_walls_without_slope_or_out_of_the_mask(mean):
    mask = rand(6, 5, 4) > 0.3
    domain = Domain(Grid((6, 5, 4)), [Neumann(), Periodic(), Neumann()], mask)
    u, d = rand(2, 6, 5, 4, seed=1), rand(1, 6, 5, 4, seed=2)
    out = diffusion(u, d, domain, mean=mean)
    assert float(out.sum((1, 2, 3)).abs().max()) < 1e-12 * float(out.abs().max())
    assert float(out[:, ~mask].abs().max()) == 0
    moved = advection(u, [0.0, 0.3, 0.0], domain, scheme="limited")
    assert float(moved.sum((1, 2, 3)).abs().max()) < 1e-12
    assert float(moved[:, ~mask].abs().max()) == 0


def test_the_harmonic_mean_is_exact_for_layers():
    """Between 0 and 1, two layers of 1 and 4: the flux is 1 / (0.5 / 1 + 0.5 / 4)."""
    grid = Grid(8)
    d = torch.where(grid.coordinates(0) < 0.5, 1.0, 4.0).to(F64)[None]
    domain = Domain(grid, [(Dirichlet(0.0), Dirichlet(1.0))])
    x = grid.coordinates(0)
    flux = 1 / (0.5 + 0.125)
    exact = torch.where(x < 0.5, flux * x, 1 - flux * (1 - x) / 4)[None]
    assert float(diffusion(exact, d, domain, mean="harmonic").abs().max()) < 1e-12
    assert float(diffusion(exact, d, domain, mean="arithmetic").abs().max()) > 1


def test_a_limited_front_does_not_overshoot():
    domain = Domain(Grid(40), Periodic())
    u = (domain.grid.coordinates(0) < 0.5).to(F64)[None]
    for _ in range(60):
        u = u - 0.01 * advection(u, [1.0], domain, scheme="limited")
    assert float(u.min()) > -1e-12
    assert float(u.max()) < 1 + 1e-12


def test_axes_between_batch_and_cells_are_calculated_as_if_alone():
    domain, _ = walled((5, 4))
    u, d = rand(2, 3, 5, 4), rand(2, 5, 4, seed=1)
    whole = diffusion(u, d, domain) + advection(u, [0.3, torch.tensor([0.2, 0.4], dtype=F64)], domain)
    for t in range(3):
        alone = diffusion(u[:, t], d, domain) + advection(u[:, t], [0.3, torch.tensor([0.2, 0.4], dtype=F64)], domain)
        assert torch.equal(whole[:, t], alone)


def test_boundary_values_may_be_functions_of_time():
    grid = Grid(6)
    moving = Domain(grid, [(Dirichlet(lambda t: 1 + 2 * t), Neumann())])
    fixed = Domain(grid, [(Dirichlet(1.5), Neumann())])
    u = rand(2, 6)
    torch.testing.assert_close(diffusion(u, 1.0, moving, 0.25), diffusion(u, 1.0, fixed))
    times = torch.tensor([0.25, 0.5], dtype=F64).view(1, 2, 1)
    both = diffusion(u[:, None].expand(2, 2, 6), 1.0, moving, times)
    torch.testing.assert_close(both[:, 0], diffusion(u, 1.0, fixed))


@pytest.mark.parametrize(
    ("shape", "periodic", "reach"),
    [((7,), (True,), 1), ((5, 8), (False, True), 1), ((7, 3), (True, True), 2), ((4, 3, 4), (True, False, False), 1)],
)
@pytest.mark.parametrize("components", [1, 2])
def test_a_coloured_jacobian_is_the_whole_one(shape, periodic, reach, components):
    pattern = Stencil(shape, periodic, reach, components)
    size = components * math.prod(shape)
    full = torch.zeros(size, size, dtype=F64)
    full[torch.from_numpy(pattern.rows), torch.from_numpy(pattern.columns)] = rand(len(pattern.rows))

    def residual(u):
        return (u.reshape(2, -1) ** 2 @ full.T).view(u.shape)

    u = rand(2, components, *shape, seed=1) if components > 1 else rand(2, *shape, seed=1)
    pullback = Pullback(residual, u)
    values = pattern.entries(pullback)
    pattern.check(pullback, values)
    for b in range(2):
        found = torch.zeros(size, size, dtype=F64)
        found[torch.from_numpy(pattern.rows), torch.from_numpy(pattern.columns)] = values[b]
        torch.testing.assert_close(found, full * 2 * u[b].reshape(-1))
    assert len(pattern.seeds) <= (2 * reach + 1 + (2 * reach if any(periodic) else 0)) ** len(shape)
