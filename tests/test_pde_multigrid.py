"""Multigrid by itself: against a dense solve, its derivatives, singular problems, and batches."""

import math

import pytest
import torch

from pliant.errors import ModelError, StepError
from pliant.sim.pde import Dirichlet, Domain, Grid, Neumann, Periodic, Robin, diffusion, solve_elliptic
from pliant.sim.pde.multigrid import conjugate_gradients, elliptic_multigrid

F64 = torch.float64


def rand(*shape, seed=0, low=0.0, dtype=F64):
    return (low + torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)).to(dtype)


SIDES = {
    1: [(Dirichlet(0.3), Robin(1.0, 0.2, 0.7))],
    2: [(Neumann(0.4), Dirichlet(1.0)), Periodic()],
    3: [Neumann(), (Robin(2.0, 0.1, 0.5), Neumann(-1.0)), Periodic()],
}


@pytest.mark.parametrize("shape", [(96,), (16, 24), (20, 9), (34, 31), (8, 12, 8)])
@pytest.mark.parametrize("masked", [False, True])
def test_the_solution_leaves_no_residual(shape, masked):
    mask = rand(*shape, seed=7) > 0.15 if masked else None
    domain = Domain(Grid(shape), SIDES[len(shape)], mask)
    f, d, alpha = rand(2, *shape), rand(2, *shape, seed=1, low=0.1), rand(1, *shape, seed=2)
    u = solve_elliptic(f, d, domain, alpha, mean="harmonic")
    residual = alpha * u - diffusion(u, d, domain, mean="harmonic") - f
    if mask is not None:
        residual = residual * mask
        assert float(u[:, ~mask].abs().max()) == 0
    driven = diffusion(torch.zeros_like(u), d, domain, mean="harmonic") + f
    assert float(residual.norm()) < 1e-10 * float(driven.norm())


def test_derivatives_are_exact_in_source_coefficients_and_boundary_values():
    shape = (6, 4)
    walls = [x.requires_grad_() for x in (rand(2), rand(2, seed=1), torch.tensor(0.2, dtype=F64), rand(1, 1, 4, seed=2))]
    domain = Domain(Grid(shape), [(Dirichlet(walls[0]), Robin(walls[1], walls[2], walls[3])), Neumann(0.3)], rand(*shape, seed=5) > 0.1)
    f, d, alpha = rand(2, *shape).requires_grad_(), rand(1, *shape, low=0.5).requires_grad_(), rand(2, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, d, alpha, *_: solve_elliptic(f, d, domain, alpha), (f, d, alpha, *walls))


def test_on_a_large_grid_the_adjoint_is_as_good_as_the_solution():
    domain = Domain(Grid((32, 32)), Neumann())
    f = rand(1, 32, 32) - 0.5
    d = rand(1, 32, 32, seed=1, low=0.1).requires_grad_()
    way = rand(1, 32, 32, seed=2)
    f = f - f.mean()
    solve_elliptic(f, d, domain).pow(2).sum().backward()
    ends = [float(solve_elliptic(f, d.detach() + s * 1e-5 * way, domain).pow(2).sum()) for s in (1, -1)]
    slope = float((d.grad * way).sum())
    assert abs((ends[0] - ends[1]) / 2e-5 - slope) < 1e-6 * abs(slope)


@pytest.mark.parametrize("side", [Periodic(), Neumann()])
def test_where_nothing_fixes_the_level_the_mean_is_zero(side):
    domain = Domain(Grid((24, 16)), side, rand(24, 16, seed=5) > 0.03 if isinstance(side, Neumann) else None)
    f = rand(2, 24, 16)
    inside = torch.ones(24, 16) if domain.mask is None else domain.mask
    f = (f - (f * inside).sum((1, 2), keepdim=True) / inside.sum()) * inside
    u = solve_elliptic(f, 2.0, domain)
    assert float(u.sum((1, 2)).abs().max()) < 1e-10
    assert float(((diffusion(u, 2.0, domain) + f) * inside).abs().max()) < 1e-9
    with pytest.raises(ModelError, match=r"Nothing fixes the level of u.*\n.*subtract the mean"):
        solve_elliptic(f + 0.1, 2.0, domain)


def test_walls_that_bring_what_the_source_takes_are_compatible():
    domain = Domain(Grid(32), [(Neumann(-1.0), Neumann(2.0))])
    u = solve_elliptic(torch.full((1, 32), -1.0, dtype=F64), 1.0, domain)
    assert float((diffusion(u, 1.0, domain) - 1).abs().max()) < 1e-9


def test_iterations_do_not_grow_with_the_grid():
    counts = []
    for n in (16, 32, 64):
        f = rand(1, n, n)
        matrix = elliptic_multigrid(0.0, 1.0, Domain(Grid((n, n)), Dirichlet(0.0)), f)
        counts.append(conjugate_gradients(matrix.apply, matrix.cycle, f, 1e-10, 50)[2])
    assert max(counts) <= 18, counts


def test_a_batch_has_the_bits_of_its_environments_alone_and_the_same_twice():
    domain = Domain(Grid((24, 16)), SIDES[2])
    f, d = rand(3, 24, 16), rand(3, 24, 16, low=0.1)
    whole = solve_elliptic(f, d, domain)
    assert torch.equal(whole, solve_elliptic(f, d, domain))
    for b in range(3):
        assert torch.equal(whole[b : b + 1], solve_elliptic(f[b : b + 1], d[b : b + 1], domain))


def test_single_precision_comes_to_its_own_accuracy():
    domain = Domain(Grid((32, 32)), Dirichlet(0.0))
    x, y = domain.grid.centers()
    f = (2 * math.pi**2 * torch.sin(math.pi * x) * torch.sin(math.pi * y))[None]
    single = solve_elliptic(f.float(), 1.0, domain)
    assert single.dtype == torch.float32
    assert float((single - solve_elliptic(f, 1.0, domain)).abs().max()) < 1e-4


BAD = [
    (lambda f, d: solve_elliptic(f, 1.0, d, -1.0), ModelError, "alpha is -1"),
    (lambda f, d: solve_elliptic(f * torch.nan, 1.0, d), ModelError, "source is not finite"),
    (lambda f, d: solve_elliptic(f, 1.0, d, most=1), StepError, "did not converge in 1"),
]


@pytest.mark.parametrize(("act", "error", "message"), BAD, ids=[message for *_, message in BAD])
def test_what_cannot_be_solved_says_so(act, error, message):
    with pytest.raises(error, match=message):
        act(rand(1, 32, 32), Domain(Grid((32, 32)), Dirichlet(0.0)))
