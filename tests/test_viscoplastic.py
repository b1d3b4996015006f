"""The Herschel-Bulkley fluid at a material point: derivatives of all its variants, and closed forms."""

import math

import pytest
import torch
from test_materials import respond

from pliant.sim.law_check import law_derivative_errors, law_kernels
from pliant.sim.materials import Viscoplastic
from pliant.sim.runtime import start

BULK, SHEAR, YIELD, CONSISTENCY = 2e4, 4e3, 100.0, 5.0
SMOOTH = {
    "bingham": (YIELD, 1.0, 0.0),
    "thinning": (YIELD, 0.5, 0.0),
    "thickening": (YIELD, 2.0, 0.0),
    "regularised": (YIELD, 1.0, 0.3),
    "newtonian": (0.0, 1.0, 0.0),
}
"""Yield stress, flow index, regularisation of fluids that are smooth at rest."""
ROUGH = {
    "power law, thinning": (0.0, 0.5, 0.0),
    "power law, thickening": (0.0, 2.0, 0.0),
    "regularised thinning": (YIELD, 0.8, 0.3),
    "regularised thickening": (YIELD, 2.0, 0.3),
}
"""Those whose stress goes with a power of the strain at rest: once differentiable there, so that differences must stay away from it."""


def fluid(yield_stress=YIELD, flow_index=1.0, regularization=0.0, *, shear_modulus=SHEAR):
    return Viscoplastic(1000.0, BULK * shear_modulus / SHEAR, shear_modulus, yield_stress, CONSISTENCY, flow_index, regularization)


def errors(values, dimension, strain):
    return max(law_derivative_errors(fluid(*values), dimension, strain=strain).values())


@pytest.mark.parametrize("strain", [0.0, 1e-5, 0.1], ids=["at rest", "near rest", "strained"])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("values", SMOOTH.values(), ids=SMOOTH)
def test_the_adjoint_agrees_with_central_differences(values, dimension, strain):
    assert errors(values, dimension, strain) < 5e-6


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("values", ROUGH.values(), ids=ROUGH)
def test_away_from_rest_the_adjoint_of_every_power_law_agrees_too(values, dimension):
    assert errors(values, dimension, 0.1) < 5e-6


@pytest.mark.parametrize(("flow_index", "limit"), [(0.5, SHEAR), (2.0, 1e-20)], ids=["elastic", "inviscid"])
def test_at_rest_a_power_law_has_the_derivative_of_its_limit(flow_index, limit):
    """A thinning fluid is infinitely viscous there, so that its derivative is the elastic one; a thickening one bears no shear at all."""
    start()
    ones = torch.eye(3, dtype=torch.float64)[None]
    tau_bar = torch.randn(1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = []
    for material in (fluid(0.0, flow_index), Viscoplastic(1000.0, BULK, limit, 1e9, CONSISTENCY)):
        numbers = torch.tensor([[float(value) for value in material.law_parameters()]], dtype=torch.float64)
        zero, scalar = torch.zeros_like(ones), torch.zeros(1, dtype=torch.float64)
        F_bar = torch.zeros_like(ones)
        _, adjoint = law_kernels(material.law, 3, 6)
        adjoint(
            ones.clone(), scalar, zero, numbers, 1e-3, zero, scalar, tau_bar, F_bar, scalar.clone(), zero.clone(), torch.zeros_like(numbers)
        )
        found.append(F_bar)
    assert torch.allclose(*found, rtol=1e-9, atol=1e-9 * BULK)


def steady(material, rates, dt, steps, stretch=1.05):
    """Kirchhoff stress, deformation gradient and own scalar of a strained material point after `steps` steps with velocity gradient `rates`."""
    F, a = torch.diag(torch.tensor([stretch, 1 / stretch], dtype=torch.float64)), 0.0
    for _ in range(steps):
        F, a, tau = respond(material, F, torch.tensor(rates, dtype=torch.float64), a, dt)
    return tau, F, a


def shear_stress(tau):
    deviator = tau - tau.trace() / len(tau) * torch.eye(len(tau), dtype=torch.float64)
    return float(deviator.norm()) / math.sqrt(2)


@pytest.mark.parametrize("dt", [1e-2, 1e-3])
@pytest.mark.parametrize("rate", [0.1, 2.0])
@pytest.mark.parametrize("flow_index", [0.4, 1.0, 1.7])
@pytest.mark.parametrize("yield_stress", [0.0, YIELD])
def test_steady_extension_obeys_the_flow_curve_exactly(yield_stress, flow_index, rate, dt):
    """Where the axes stand still a step strains by atanh(rate dt) along each, and all of it flows."""
    tau, _, before = steady(fluid(yield_stress, flow_index), [[rate, 0.0], [0.0, -rate]], dt, 249)
    _, _, after = steady(fluid(yield_stress, flow_index), [[rate, 0.0], [0.0, -rate]], dt, 250)
    engineering = 2 * math.atanh(rate * dt) / dt
    assert shear_stress(tau) == pytest.approx(yield_stress + CONSISTENCY * engineering**flow_index, rel=1e-9)
    assert after - before == pytest.approx(engineering * dt, rel=1e-6)


@pytest.mark.parametrize("dt", [1e-3, 1e-5])
@pytest.mark.parametrize("rate", [1.0, 30.0])
@pytest.mark.parametrize("flow_index", [0.4, 1.0, 1.7])
def test_steady_simple_shear_obeys_the_flow_curve(flow_index, rate, dt):
    """To second order in the shear of a step, and in the elastic strain, which is 1e-4 here."""
    tau, _, _ = steady(fluid(YIELD, flow_index, shear_modulus=1e3 * SHEAR), [[0.0, rate], [0.0, 0.0]], dt, 300, 1.0)
    assert float(tau[0, 1]) == pytest.approx(YIELD + CONSISTENCY * rate**flow_index, rel=1e-6 + (rate * dt) ** 2 / 4)


def test_an_overstress_that_is_held_decays_as_backward_euler_has_it():
    dt, steps = 1e-3, 7
    still = [[0.0, 0.0], [0.0, 0.0]]
    start_stress = 2 * SHEAR * math.log(1.05)
    tau, _, _ = steady(fluid(), still, dt, steps)
    assert shear_stress(tau) == pytest.approx(YIELD + (start_stress - YIELD) / (1 + SHEAR * dt / CONSISTENCY) ** steps, rel=1e-10)


@pytest.mark.parametrize("flow_index", [0.4, 1.0, 1.7])
def test_below_yield_stress_does_not_relax(flow_index):
    """Held just below yield, neither the deformation nor its stress changes by one bit in a thousand steps."""
    stretch = math.exp(0.999 * YIELD / (2 * SHEAR))
    still = [[0.0, 0.0], [0.0, 0.0]]
    first, *_ = steady(fluid(YIELD, flow_index), still, 1e-2, 1, stretch)
    last, F, a = steady(fluid(YIELD, flow_index), still, 1e-2, 1000, stretch)
    assert shear_stress(last) == pytest.approx(0.999 * YIELD, rel=1e-10)
    assert torch.equal(first, last)
    assert torch.equal(F, torch.diag(torch.tensor([stretch, 1 / stretch], dtype=torch.float64)))
    assert a == 0.0


def test_a_regularised_fluid_is_sharp_far_from_yield_and_creeps_below_it():
    sharp, smooth = (steady(fluid(YIELD, 1.0, r), [[100.0, 0.0], [0.0, -100.0]], 1e-3, 50)[0] for r in (0.0, 0.1))
    assert shear_stress(smooth) == pytest.approx(shear_stress(sharp), rel=1e-4)
    assert shear_stress(smooth) != shear_stress(sharp)
    stretch = math.exp(0.01 * YIELD / (2 * SHEAR))
    after, *_ = steady(fluid(YIELD, 1.0, 0.1), [[0.0, 0.0], [0.0, 0.0]], 1e-3, 1, stretch)
    fluidity = 1 - 1 / math.sqrt(1 + 0.1**2)
    assert shear_stress(after) == pytest.approx(0.01 * YIELD / (1 + SHEAR * 1e-3 / CONSISTENCY * fluidity), rel=1e-5)


def test_the_steepest_fluids_are_solved():
    """Flow indices far from one, consistencies far from the stress: the flow curve holds to rounding error."""
    for flow_index, consistency in ((0.05, 1e-3), (0.05, 1e3), (20.0, 1e-3), (20.0, 1e3), (1.0, 1e-9), (1.0, 1e9)):
        for regularization in (0.0, 1e-3, 0.5):
            material = Viscoplastic(1000.0, BULK, SHEAR, YIELD, consistency, flow_index, regularization)
            F = torch.diag(torch.tensor([1.1, 1 / 1.1], dtype=torch.float64))
            _, sheared, tau = respond(material, F, dt=1e-3)
            t, eps = shear_stress(tau), regularization * YIELD
            y = t + (math.hypot(t - YIELD, eps) - math.hypot(t + YIELD, eps)) / 2
            assert t + SHEAR * sheared == pytest.approx(2 * SHEAR * math.log(1.1), rel=1e-12)
            if y > 1e-6 * t:
                assert consistency * (sheared / 1e-3) ** flow_index == pytest.approx(y, rel=1e-6), material
