"""The quick cases on grids; `pliant validate pde` runs all of them in full."""

import numpy as np
import pytest

from pliant.errors import OptionError
from pliant.validation import CASES, run_case
from pliant.validation.pde_gradients import EQUATIONS
from pliant.validation.pde_orders import CONTINUOUS
from pliant.validation.pde_solutions import cole_hopf

QUICK = [
    ("pde.poisson", {"n": 32}),
    ("pde.poisson", {"n": 24, "linear": "direct"}),
    ("pde.wave", {"n": 16}),
    ("pde.wave", {"n": 10, "dimension": 3, "courant": 0.9}),
    ("pde.burgers", {"time": 0.25, "n": 512, "dt": 0.01}),
    ("pde.fisher_front", {"n": 60, "growth": 2.0, "diffusivity": 0.5}),
    ("pde.multigrid", {"n": 32, "sides": "closed"}),
    *[("pde.gradient", {"equation": name, "steps": 2}) for name in ("poisson", "heat", "fisher", "wave")],
    ("pde.gradient", {"equation": "burgers", "scheme": "explicit", "steps": 2}),
    ("pde.gradient", {"equation": "limited", "scheme": "explicit", "steps": 2}),
    *[("pde.adjoint_dot", {"equation": name}) for name in EQUATIONS],
    *[("pde.convergence", {"equation": name, "n": 16}) for name in ("poisson", "heat", "upwind", "wave")],
]


@pytest.mark.parametrize(("name", "params"), QUICK, ids=[f"{name}-{'-'.join(map(str, params.values()))}" for name, params in QUICK])
def test_a_quick_case_passes_for_other_parameters_than_its_defaults(name, params):
    result = run_case(name, params)
    assert result.passed, [str(check) for check in result.checks]
    assert result.params == {**CASES[name].defaults, **params}


@pytest.mark.slow
@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("scheme", ["implicit", "explicit"])
def test_all_derivatives_are_exact(name, scheme):
    assert run_case("pde.gradient", {"equation": name, "scheme": scheme}).passed


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTINUOUS)
def test_all_equations_converge_with_their_order(name):
    assert run_case("pde.convergence", {"equation": name}).passed


def test_the_integrals_of_cole_and_hopf_give_the_published_values():
    places = np.array([-0.75, -0.5, -0.25, -0.05, -0.01])
    published = {0.25: [0.430516, 0.803198, 0.992082, 0.531598, 0.126405], 1.0: [0.188998, 0.376181, 0.559196, 0.700027, 0.594256]}
    for time, values in published.items():
        assert np.abs(cole_hopf(places, time, 0.01 / np.pi) - values).max() < 1e-6


def test_a_steepening_front_has_the_largest_slope_of_basdevant():
    """152.00516 at t = 1.6037 / pi, Basdevant et al. 1986."""
    found = cole_hopf(np.array([-1e-5, 1e-5]), 1.6037 / np.pi, 0.01 / np.pi)
    assert abs((found[1] - found[0]) / 2e-5) == pytest.approx(152.00516, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("pde.poisson", {"n": 2}),
        ("pde.wave", {"courant": 1.5}),
        ("pde.gradient", {"equation": "plate"}),
        ("pde.burgers", {"scheme": "weno"}),
    ],
)
def test_parameters_out_of_range_are_refused(name, params):
    with pytest.raises(OptionError):
        run_case(name, params)
