"""Steps of equations: the contract of a solver, derivatives, failures, and one residual for all uses."""

import math

import pytest
import torch

from pliant import Outcome, rollout
from pliant.errors import ModelError, StepError
from pliant.sim.pde import (
    AllenCahn,
    Burgers,
    Dirichlet,
    Domain,
    Evolution,
    FisherKolmogorov,
    Grid,
    Heat,
    Neumann,
    Newton,
    PdeControl,
    PdeModel,
    PdeSolver,
    PdeState,
    Periodic,
    Robin,
    Wave,
    diffusion,
    implicit_solve,
    linearizer,
)
from pliant.sim.rollout import Trajectory

F64 = torch.float64
SCHEMES = ["euler", "ssprk3", "theta"]


def rand(*shape, seed=0, low=0.0):
    return low + torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def tumour(scheme="theta", shape=(8, 6), linear="auto", theta=0.5, dt=2e-3, growth=3.0, dtype=F64, batch=3):
    """Fisher-Kolmogorov on a masked plane with several conditions."""
    domain = Domain(Grid(shape), [(Dirichlet(0.2), Robin(1.0, 0.3, 0.4)), *[Neumann()] * (len(shape) - 1)], rand(*shape, seed=8) > 0.1)
    d = rand(1, *shape, seed=1, low=0.1).to(dtype)
    solver = PdeSolver(PdeModel(FisherKolmogorov(domain, d, growth), dt, scheme, theta, linear=linear))
    return solver, solver.initial_state(rand(batch, *shape).to(dtype))


def run(solver, state, steps=3, **options):
    return rollout(solver, state, lambda s, t: solver.rest_control(s.batch), steps=steps, **options)


@pytest.mark.parametrize("linear", ["direct", "multigrid"])
def test_ways_to_solve_agree(linear):
    solver, state = tumour(shape=(12,), linear="thomas")
    wanted = run(solver, state).final.field
    solver, state = tumour(shape=(12,), linear=linear)
    torch.testing.assert_close(run(solver, state).final.field, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("linear", ["thomas", "direct", "multigrid"])
def test_derivatives_of_implicit_steps_are_exact_however_they_are_solved(linear):
    field, k, wall = rand(2, 8).requires_grad_(), rand(2, low=0.3).requires_grad_(), torch.tensor(0.3, dtype=F64, requires_grad=True)

    def end(field, k, wall):
        domain = Domain(Grid(8), [(Dirichlet(wall), Neumann(0.2))])
        solver = PdeSolver(PdeModel(AllenCahn(domain, k, 0.5), 0.02, theta=0.5, linear=linear))
        return run(solver, solver.initial_state(field), 2).final.field

    assert torch.autograd.gradcheck(end, (field, k, wall))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_schemes_converge_to_the_same_solution(scheme):
    """exp(-t k lambda) with the eigenvalue of the difference operator; the error in time falls by the order."""
    errors = []
    domain = Domain(Grid(8), Dirichlet(0.0))
    mode = torch.sin(math.pi * domain.grid.coordinates(0))[None]
    rate = 4 * 64 * math.sin(math.pi / 16) ** 2
    for steps in (16, 32):
        solver = PdeSolver(PdeModel(Heat(domain, 1.0), 0.1 / steps, scheme, 0.5))
        end = run(solver, solver.initial_state(mode), steps).final
        errors.append(float((end.field - mode * math.exp(-0.1 * rate)).abs().max()))
        assert float(end.time) == pytest.approx(0.1)
    assert errors[0] / errors[1] == pytest.approx({"euler": 2, "ssprk3": 8, "theta": 4}[scheme], rel=0.15)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("linear", ["auto", "multigrid"])
def test_a_batch_has_the_bits_of_its_environments_alone_and_the_same_twice(scheme, linear):
    solver, state = tumour(scheme, linear=linear)
    whole = run(solver, state).final.field
    assert torch.equal(whole, run(solver, state).final.field)
    for b in range(3):
        assert torch.equal(whole[b : b + 1], run(solver, state[b]).final.field)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_checkpoints_change_no_bit(scheme):
    found = []
    for checkpoint in (None, 2, "sqrt"):
        solver, state = tumour(scheme)
        field = state.field.clone().requires_grad_()
        end = run(solver, state.replace(field=field), 4, checkpoint=checkpoint).final.field
        end.pow(2).sum().backward()
        found.append((end.detach(), field.grad))
    for end, slope in found[1:]:
        assert torch.equal(end, found[0][0])
        assert torch.equal(slope, found[0][1])


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", [(12,), (8, 6), (4, 5, 3)])
def test_single_precision_is_close_to_double(scheme, shape):
    double, single = (run(*tumour(scheme, shape, dtype=dtype)).final for dtype in (F64, torch.float32))
    assert single.field.dtype == torch.float32
    assert bool(single.ok.all())
    assert float((single.field - double.field).abs().max()) < 2e-5


def test_nothing_happens_outside_the_mask():
    solver, state = tumour()
    end = run(solver, state).final.field
    assert float(end[:, ~solver.model.equation.domain.mask].abs().max()) == 0


def test_a_source_acts_and_has_a_derivative():
    solver, state = tumour()
    source = rand(3, 8, 6).requires_grad_()
    end = rollout(solver, state, [PdeControl(source)] * 2).final.field
    (slope,) = torch.autograd.grad(end.sum(), source)
    inside = solver.model.equation.domain.mask
    assert float(slope[:, inside].min()) > 0
    assert float(slope[:, ~inside].abs().max()) == 0


def test_an_environment_that_steepens_too_far_is_frozen_and_the_others_go_on():
    domain = Domain(Grid(32), Periodic())
    x = domain.grid.coordinates(0)
    field = torch.stack([1 + torch.sin(2 * math.pi * x), 0.1 * torch.sin(2 * math.pi * x)]).requires_grad_()
    solver = PdeSolver(PdeModel(Burgers(domain, 0.01, "upwind"), 8e-3, "euler"))
    state = solver.initial_state(field)
    push = PdeControl(torch.tensor([[60.0], [0.0]], dtype=F64))  # the first becomes faster than the step allows
    end = rollout(solver, state, [push] * 12).final
    assert end.outcomes() == [Outcome.TOO_FAST, Outcome.OK]
    assert float(end.time[0]) < float(end.time[1])
    (slope,) = torch.autograd.grad(end.field.sum(), field)
    assert bool(torch.isfinite(slope).all())


def test_a_step_that_newton_cannot_finish_is_marked_and_has_no_derivative():
    domain = Domain(Grid(6), Neumann())
    solver = PdeSolver(PdeModel(FisherKolmogorov(domain, 1e-3, 1.0), 0.1, max_iterations=1, tolerance=1e-15))
    field = rand(2, 6, low=0.1).requires_grad_()
    end = solver.step(solver.initial_state(field), solver.rest_control(2))
    assert end.outcomes() == [Outcome.NOT_CONVERGED] * 2
    assert torch.equal(end.field, field)
    newton = Newton(linearizer(solver.model.equation, "direct", 10.0, 1.0), 1e-15, 1)
    u, status = implicit_solve(lambda x: solver.model.equation.residual(x, field, 0.1), field, newton)
    assert status.tolist() == [Outcome.NOT_CONVERGED] * 2
    with pytest.raises(StepError, match=r"Environment 0 did not finish its step \(NOT_CONVERGED\)"):
        u.sum().backward()


def test_an_infinity_does_not_reach_the_other_environments():
    domain = Domain(Grid((6, 4)), Neumann())
    growth = torch.tensor([1.0, 1e308], dtype=F64)
    for scheme in ("euler", "theta"):
        solver = PdeSolver(PdeModel(FisherKolmogorov(domain, 1e-2, growth), 1e-2, scheme))
        end = run(solver, solver.initial_state(2 + rand(2, 6, 4)), 2).final
        assert end.ok.tolist() == [True, False]
        assert bool(torch.isfinite(end.field).all())


def test_states_are_saved_and_trajectories_too(tmp_path):
    solver, state = tumour()
    states = run(solver, state, keep=True).states
    states[-1].save(tmp_path / "state.npz")
    assert torch.equal(PdeState.load(tmp_path / "state.npz").field, states[-1].field)
    Trajectory.stack(states, solver.model.dt).save(tmp_path / "run.npz")
    assert torch.equal(Trajectory.load(tmp_path / "run.npz", PdeState)[2].field, states[2].field)


def test_waves_keep_their_energy_and_start_with_their_velocity():
    domain = Domain(Grid((12, 8)), [Periodic(), Neumann()])
    solver = PdeSolver(PdeModel(Wave(domain, 0.7), 0.02, "leapfrog", substeps=2))
    u, v = rand(1, 12, 8), rand(1, 12, 8, seed=1) - 0.5
    state = solver.initial_state(u, v)
    h = 0.01
    torch.testing.assert_close((u - state.previous) / h + h / 2 * diffusion(u, 0.49, domain), v)

    def energy(s):
        rate = (s.field - s.previous) / h
        return float((rate**2 - s.field * diffusion(s.previous, 0.49, domain)).sum())

    assert energy(run(solver, state, 20).final) == pytest.approx(energy(state), rel=1e-12)


# One residual for all uses


class Logistic(Evolution):
    """An equation of the user's own: du/dt = 0.1 laplace u + r u (1 - u), r unknown."""

    def __init__(self, domain, r):
        super().__init__(domain)
        self.r = r

    def rhs(self, u, time):
        return diffusion(u, 0.1, self.domain, time) + self.r * u * (1 - u)


def levels_of(equation, field, dt=0.05, steps=6):
    solver = PdeSolver(PdeModel(equation, dt, theta=0.5))
    with torch.no_grad():
        states = run(solver, solver.initial_state(field), steps, keep=True).states
    return torch.stack([state.field for state in states], 1)


@pytest.mark.parametrize("shape", [(9,), (5, 4)])
def test_what_the_stepper_found_leaves_no_residual_in_space_time(shape):
    equation = Logistic(Domain(Grid(shape), [(Dirichlet(lambda t: 0.2 + 0.1 * t), Neumann()), *[Periodic()] * (len(shape) - 1)]), 2.0)
    levels = levels_of(equation, rand(2, *shape))
    assert float(equation.over_time(levels, 0.05).abs().max()) < 1e-9
    assert float(equation.over_time(levels, 0.05, theta=1.0).abs().max()) > 1e-3


def test_waves_in_space_time_leave_no_residual():
    equation = Wave(Domain(Grid(10), Dirichlet(0.0)), rand(2, 10, low=0.5))
    solver = PdeSolver(PdeModel(equation, 0.02, "leapfrog"))
    u, v = rand(2, 10), rand(2, 10, seed=1)
    states = run(solver, solver.initial_state(u, v), 5, keep=True).states
    levels = torch.stack([state.field for state in states], 1)
    assert float(equation.over_time(levels, v, 0.02).abs().max()) < 1e-8


def test_a_parameter_is_inferred_from_a_space_time_array_by_the_same_residual():
    domain = Domain(Grid(12), Neumann())
    levels = levels_of(Logistic(domain, 2.0), rand(1, 12))
    r = torch.tensor(0.5, dtype=F64, requires_grad=True)
    for _ in range(3):  # the residual is linear in r, so that Gauss-Newton is there at once
        residual = Logistic(domain, r).over_time(levels, 0.05)
        v = torch.ones_like(residual, requires_grad=True)
        (pulled,) = torch.autograd.grad(residual, r, v, create_graph=True)
        (column,) = torch.autograd.grad(pulled, v)
        r = (r - (column * residual).sum() / (column**2).sum()).detach().requires_grad_()
    assert float(r.detach()) == pytest.approx(2.0, rel=1e-8)


def test_a_network_is_trained_on_the_same_residual():
    """One implicit step of the heat equation, learned without data."""
    torch.manual_seed(0)
    equation = Heat(Domain(Grid(8), Dirichlet(0.0)), 1.0)
    net = torch.nn.Linear(8, 8, dtype=F64)
    old = rand(64, 8)
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-14
    )

    def closure():
        optimizer.zero_grad()
        loss = equation.residual(net(old), old, 0.01).pow(2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    solver = PdeSolver(PdeModel(equation, 0.01))
    fresh = rand(5, 8, seed=3)
    assert float((net(fresh) - solver.step(solver.initial_state(fresh), solver.rest_control(5)).field).abs().max()) < 1e-4


def test_a_residual_that_looks_further_than_it_says_is_refused():
    class Wide(Evolution):
        def rhs(self, u, time):
            return diffusion(diffusion(u, 0.01, self.domain), 0.01, self.domain)

    solver = PdeSolver(PdeModel(Wide(Domain(Grid((8, 8)), Periodic())), 0.1))
    with pytest.raises(ModelError, match="`reach`"):
        solver.step(solver.initial_state(rand(1, 8, 8)), solver.rest_control(1))
    Wide.reach = 2
    solver = PdeSolver(PdeModel(Wide(Domain(Grid((8, 8)), Periodic())), 0.1))
    assert solver.step(solver.initial_state(rand(1, 8, 8)), solver.rest_control(1)).outcomes() == [Outcome.OK]
