"""Elastic bodies that hang, and that move as they are told."""

import math

import pytest
import torch

from pliant.errors import OptionError
from pliant.sim.materials import FixedCorotated, NeoHookean, lame
from pliant.validation import mpm_elastic, run_case
from pliant.validation.mpm_elastic import manufactured_force, manufactured_stretch

QUICK = [
    ("mpm.self_weight", {"youngs_modulus": 3e4, "density": 1200.0, "length": 0.3, "cells": 10}),
    ("mpm.manufactured", {"amplitude": 0.03, "cells": 20}),
    ("mpm.manufactured", {"material": "fixed_corotated", "poisson_ratio": 0.2, "cells": 16}),
]


@pytest.mark.parametrize(("name", "params"), QUICK)
def test_a_quick_case_passes_for_other_parameters_than_its_defaults(name, params):
    result = run_case(name, params)
    assert result.passed, [str(check) for check in result.checks]


def test_a_bar_of_half_the_stiffness_hangs_twice_as_deep():
    stiff, soft = (run_case("mpm.self_weight", {"youngs_modulus": modulus, "cells": 8}) for modulus in (2e5, 1e5))
    assert soft.value == pytest.approx(2 * stiff.value, rel=0.01)
    assert soft.reference == pytest.approx(1000 * 9.81 * 0.5**2 / 2e5)


def test_a_bar_of_another_stiffness_than_it_claims_fails(monkeypatch):
    monkeypatch.setattr(mpm_elastic, "FixedCorotated", lambda density, modulus, ratio: FixedCorotated(density, 1.05 * modulus, ratio))
    assert not run_case("mpm.self_weight", {"cells": 8}).passed


@pytest.mark.parametrize("kind", [FixedCorotated, NeoHookean])
def test_the_manufactured_force_balances_the_gradient_of_the_energy(kind):
    """Nothing of the derivation is used here but the two energies, as the materials' docstrings state them."""
    solid, amplitude, time = kind(900.0, 2e4, 0.3), 0.04, 0.013
    mu, lam = lame(solid.youngs_modulus, solid.poisson_ratio)
    speed = math.sqrt((lam + 2 * mu) / 900.0)

    def moved(X, t):
        along, across = torch.cos(math.pi * speed * t), torch.sin(math.pi * speed * t)
        return X + amplitude * torch.stack([torch.sin(2 * math.pi * X[0]) * along, torch.sin(2 * math.pi * X[1]) * across])

    def energy(F):
        J = torch.det(F)
        if kind is FixedCorotated:  # F is diagonal and positive, but its gradient is not: |F - R|^2 = |F|^2 - 2 (s1 + s2) + 2
            return mu * (F.square().sum() - 2 * (F.square().sum() + 2 * J).sqrt() + 2) + lam / 2 * (J - 1) ** 2
        return mu / 2 * (F.square().sum() - 2) - mu * J.log() + lam / 2 * J.log() ** 2

    def stress(X):
        return torch.func.grad(energy)(torch.func.jacrev(lambda Y: moved(Y, t))(X))

    t = torch.tensor(time, dtype=torch.float64)
    places = torch.tensor([[0.1, 0.2], [0.37, 0.81], [0.5, 0.05]], dtype=torch.float64)
    force = manufactured_force(places, time, amplitude, solid)
    for X, found in zip(places, force, strict=True):
        divergence = torch.einsum("ijj->i", torch.func.jacrev(stress)(X))
        acceleration = torch.func.jacfwd(torch.func.jacfwd(lambda s, X=X: moved(X, s)))(t)
        assert torch.allclose(found, acceleration - divergence / 900.0, rtol=1e-10)
        displacement, stretch = manufactured_stretch(X, time, amplitude, speed)
        assert torch.allclose(X + displacement, moved(X, t))
        assert torch.allclose(torch.diag(stretch), torch.func.jacrev(lambda Y: moved(Y, t))(X))


def test_a_force_that_is_off_by_a_twentieth_is_found_out(monkeypatch):
    exact = mpm_elastic.manufactured_force
    monkeypatch.setattr(mpm_elastic, "manufactured_force", lambda *args: 1.05 * exact(*args))
    assert not run_case("mpm.manufactured", {"cells": 16}).passed


BAD = [
    ("mpm.self_weight", ["youngs_modulus=1e3"], "Raise youngs_modulus"),
    ("mpm.self_weight", ["density=-1"], "density"),
    ("mpm.self_weight", ["cells=3"], "above 3"),
    ("mpm.manufactured", ["amplitude=0.2"], "between 0 and 0.1"),
    ("mpm.manufactured", ["material=liquid"], "neo_hookean"),
    ("mpm.manufactured", ["cells=8"], "above 15"),
]


@pytest.mark.parametrize(("name", "settings", "message"), BAD)
def test_settings_that_make_no_sense_are_refused(name, settings, message):
    with pytest.raises(OptionError, match=message):
        run_case(name, settings)
