"""Bad input to equations on grids: each is refused in one or two lines that say what to do."""

import pytest
import torch

from pliant import Outcome
from pliant.errors import ModelError, PliantError, ShapeError
from pliant.sim.pde import (
    AdvectionDiffusion,
    AllenCahn,
    Burgers,
    Dirichlet,
    Domain,
    Evolution,
    FisherKolmogorov,
    Grid,
    Heat,
    Neumann,
    PdeControl,
    PdeModel,
    PdeSolver,
    Periodic,
    Poisson,
    Robin,
    Wave,
    advection,
    diffusion,
    linearizer,
    solve_steady,
)

F64 = torch.float64
NAN = float("nan")


def plane(sides=None, mask=None):
    return Domain(Grid((4, 3)), Neumann() if sides is None else sides, mask)


def field(*shape, dtype=F64):
    return torch.full(shape or (2, 4, 3), 0.5, dtype=dtype)


def solver(equation=None, dt=1e-3, scheme="theta", **options):
    return PdeSolver(PdeModel(equation or Heat(plane(), 1.0), dt, scheme, **options))


class Constant(Evolution):
    def rhs(self, u, time):
        return torch.ones_like(u)

    def residual(self, new, old, dt, time=0.0, theta=1.0, source=0.0):
        return torch.ones_like(new)


class Narrow(Evolution):
    def rhs(self, u, time):
        return u[..., :1]


REFUSED = {
    "no cell": (lambda: Grid((4, 1)), ModelError, "at least 2"),
    "four axes": (lambda: Grid((4, 4, 4, 4)), ModelError, "one to three"),
    "half a cell": (lambda: Grid((4.5,)), ModelError, "whole numbers"),
    "box inside out": (lambda: Grid(4, 1.0, 0.0), ModelError, "upper must exceed lower"),
    "corner of another dimension": (lambda: Grid((4, 4), (0.0,)), ModelError, "2 finite numbers"),
    "corner not finite": (lambda: Grid(4, 0.0, float("inf")), ModelError, "finite"),
    "value not finite": (lambda: Dirichlet(NAN), ModelError, "not finite"),
    "condition that says nothing": (lambda: Robin(0.0, 0.0, 1.0), ModelError, "a and b are both zero"),
    "condition singular on this grid": (lambda: Domain(Grid(4), [(Robin(1.0, -0.125, 0.0), Neumann())]), ModelError, "singular on this grid"),
    "one side periodic": (lambda: plane([(Periodic(), Neumann()), Neumann()]), ModelError, "Only one side of axis 0 is periodic"),
    "too few sides": (lambda: plane([Neumann()]), ModelError, "for 1 axes; the grid has 2"),
    "no condition": (lambda: plane([Neumann(), ("wall", Neumann())]), ModelError, "give one condition, or a pair"),
    "mask that leaves nothing": (lambda: plane(mask=torch.zeros(4, 3, dtype=torch.bool)), ModelError, "leaves no cell"),
    "mask of numbers": (lambda: plane(mask=torch.ones(4, 3)), ShapeError, "must be a bool tensor"),
    "mask of another shape": (lambda: plane(mask=torch.ones(3, 4, dtype=torch.bool)), ShapeError, r"shape \(4, 3\)"),
    "negative diffusivity": (lambda: Heat(plane(), -1.0), ModelError, "must not be negative"),
    "diffusivity not finite": (lambda: FisherKolmogorov(plane(), field(1, 4, 3) * NAN, 1.0), ModelError, "not finite"),
    "time scale of zero": (lambda: AllenCahn(plane(), 1.0, 0.0), ModelError, "must be positive"),
    "scheme that is not": (lambda: Burgers(plane(), 1.0, "weno"), ModelError, "'central', 'upwind' or 'limited'"),
    "advection by a scheme that is not": (lambda: advection(field(), [1.0, 1.0], plane(), scheme="quick"), ModelError, "'limited'"),
    "mean that is not": (lambda: diffusion(field(), field(1, 4, 3), plane(), mean="geometric"), ModelError, "'arithmetic' or 'harmonic'"),
    "too few velocities": (lambda: advection(field(), [1.0], plane()), ModelError, "across 1 axes"),
    "coefficient of another shape": (lambda: diffusion(field(), field(1, 3, 4), plane()), ShapeError, r"must be a number, \[2\]"),
    "coefficient of another batch": (lambda: diffusion(field(), field(3), plane()), ShapeError, r"\[2 or 1, 4, 3\]"),
    "coefficient of another dtype": (lambda: diffusion(field(), field(1, 4, 3, dtype=torch.float32), plane()), ShapeError, "float32"),
    "coefficient on faces of cells": (lambda: diffusion(field(), (field(1, 4, 3),) * 2, plane()), ShapeError, r"\[2 or 1, 5, 3\]"),
    "value of a side of another shape": (
        lambda: diffusion(field(), 1.0, plane([Dirichlet(field(1, 4, 3)), Neumann()])), ShapeError, "Dirichlet of axis 0",
    ),
    "field without batch": (lambda: diffusion(field(4, 3), 1.0, plane()), ShapeError, r"must be \[B, 4, 3\]"),
    "field of whole numbers": (lambda: solver().initial_state(torch.ones(2, 4, 3, dtype=torch.int64)), ShapeError, "real numbers"),
    "field of another shape": (lambda: solver().initial_state(field(2, 3, 4)), ShapeError, r"has shape \(2, 3, 4\)"),
    "field with an axis too many": (lambda: solver().initial_state(field(2, 5, 4, 3)), ShapeError, r"must be \[B, "),
    "field not finite": (lambda: solver().initial_state(field() * NAN), ModelError, "The field is not finite"),
    "velocity where there is none": (lambda: solver().initial_state(field(), field()), ModelError, "knows no velocity"),
    "unstable dt": (lambda: solver(dt=0.1, scheme="euler").initial_state(field()), ModelError, r"allows 0.02 s here. Use substeps=5"),
    "unstable dt of waves": (
        lambda: solver(Wave(plane(), 1.0), 1.0, "leapfrog").initial_state(field()), ModelError, r"leapfrog allows 0.2 s here. Use substeps=5\.",
    ),
    "unstable dt of advection": (
        lambda: solver(AdvectionDiffusion(plane(), 0.0, [10.0, 0.0], "upwind"), 0.1, "ssprk3").initial_state(field()), ModelError, "0.025 s",
    ),
    "central differences without diffusion": (
        lambda: solver(AdvectionDiffusion(plane(), 1e-9, [1.0, 0.0]), 0.1, "euler").initial_state(field()), ModelError, "allows 2e-09 s",
    ),
    "dt of zero": (lambda: solver(dt=0.0), ModelError, "must be positive"),
    "stepping scheme that is not": (lambda: solver(scheme="rk4"), ModelError, "'leapfrog' or 'theta'"),
    "waves by euler": (lambda: solver(Wave(plane(), 1.0), scheme="euler"), ModelError, "steps an Evolution, which Wave is not"),
    "heat by leapfrog": (lambda: solver(scheme="leapfrog"), ModelError, "steps an Oscillation, which Heat is not"),
    "theta of an explicit scheme": (lambda: solver(theta=0.2), ModelError, "between 0.5 and 1"),
    "substeps of zero": (lambda: solver(substeps=0), ModelError, "substeps is 0"),
    "thomas in a plane": (lambda: solver(linear="thomas"), ModelError, "needs one axis with walls"),
    "multigrid of what is not symmetric": (
        lambda: solver(Burgers(plane(), 1.0), linear="multigrid"), ModelError, "Burgers has no symmetric Jacobian",
    ),
    "linear solver that is not": (lambda: linearizer(Heat(plane(), 1.0), "gmres"), ModelError, "'thomas' or 'multigrid'"),
    "source of another shape": (
        lambda: solver().step(solver().initial_state(field()), PdeControl(field(2, 3, 4))), ShapeError, r"must be \[2, \*\(4, 3\)\]",
    ),
    "residual that does not depend on the unknown": (
        lambda: solver(Constant(plane())).step(solver().initial_state(field()), solver().rest_control(2)), ModelError, "no derivative",
    ),
    "space-time array of one level": (lambda: Heat(plane(), 1.0).over_time(field(2, 1, 4, 3), 0.1), ShapeError, "2 levels or more"),
    "steady problem without a level": (lambda: solve_steady(Poisson(plane(), 1.0), field()), ModelError, "Nothing fixes the level of u"),
    "guess not finite": (lambda: solve_steady(Poisson(plane(), 0.0), field() * NAN), ModelError, "The guess is not finite"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_in_a_line_or_two(what):
    act, error, message = REFUSED[what]
    with pytest.raises(error, match=message) as caught:
        act()
    assert isinstance(caught.value, PliantError)
    assert str(caught.value).count("\n") <= 1
    assert len(str(caught.value)) < 300


def test_a_steady_problem_with_cells_that_nothing_holds_does_not_converge():
    """Two halves that do not touch, one of which has walls without slope only."""
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[2] = False
    domain = plane([(Dirichlet(0.0), Neumann()), Neumann()], mask)
    for linear in ("direct", "multigrid"):
        _, status = solve_steady(Poisson(domain, 1.0), field(), linear=linear, max_iterations=3)
        assert status.tolist() == [Outcome.NOT_CONVERGED] * 2
