"""Sand and snow against closed forms, and their derivatives in every branch of their laws."""

import math

import pytest
import torch
from test_materials import respond

from pliant.sim.law_check import law_derivative_errors, law_kernels, random_points
from pliant.sim.materials import Sand, Snow, lame
from pliant.sim.runtime import start

MU, LAM = lame(1e6, 0.25)
PHI = math.radians(32.0)


def sand(angle=32.0, cohesion=0.0):
    return Sand(1600.0, 1e6, 0.25, angle, cohesion)


def diagonal(*logarithms):
    """The deformation gradient with these principal logarithmic strains."""
    return torch.diag(torch.exp(torch.tensor(logarithms, dtype=torch.float64)))


def update_at(material, dimension, strain, stretch=1.0, dt=0.01):
    """The points at which the derivative is tested: trial state, new state, stress."""
    start()
    points = random_points(material, dimension, strain, stretch, 200, dt, torch.Generator().manual_seed(0))
    F, a, L, par = points.values()
    F1, a1, tau = torch.zeros_like(F), torch.zeros_like(a), torch.zeros_like(F)
    law_kernels(material.law, dimension, par.shape[1])[0](F, a, L, par, dt, F1, a1, tau)
    return F + dt * L @ F, a, F1, a1, tau


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("cohesion", [0.0, 5e3])
def test_sand_is_differentiated_where_it_is_elastic_shears_and_comes_apart(dimension, cohesion):
    material = sand(cohesion=cohesion)
    tip = 0.0 if cohesion == 0 else dimension * cohesion / math.tan(PHI) / (2 * MU + dimension * LAM)
    visited = torch.zeros(3)
    for strain, stretch in ((0.1, 0.95), (0.01, 0.98)):
        errors = law_derivative_errors(material, dimension, strain=strain, stretch=stretch)
        assert max(errors.values()) < 5e-6, errors
        G, a, F1, _a1, _tau = update_at(material, dimension, strain, stretch)
        apart = torch.log(torch.det(G).abs()) + a >= tip
        unchanged = (F1 - G * torch.exp(a / dimension)[:, None, None]).abs().amax((1, 2)) < 1e-12
        visited += torch.stack([apart.sum(), (unchanged & ~apart).sum(), (~unchanged & ~apart).sum()])
    assert bool((visited >= 20).all()), visited


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("strain", [0.0, 1e-5])
def test_sand_at_rest_under_pressure_has_an_exact_derivative(dimension, strain):
    """Principal strains coincide, or nearly so; with a volume to recover (a > 0) and without."""
    errors = law_derivative_errors(sand(), dimension, strain=strain, stretch=0.99)
    assert max(errors.values()) < 5e-6, errors


@pytest.mark.parametrize("cohesion", [0.0, 700.0])
def test_a_sheared_plane_yields_at_mohr_and_coulombs_stress(cohesion):
    """(s1 - s2)/2 = sin phi (p + c cot phi), with the pressure of the volume, which flow leaves alone."""
    volume, shear = -0.004, 0.02
    F1, _, tau = respond(sand(cohesion=cohesion), diagonal(volume / 2 + shear, volume / 2 - shear))
    pressure = -(LAM + MU) * volume
    assert float(tau.trace()) == pytest.approx(-2 * pressure, rel=1e-12)
    assert float(tau[0, 0] - tau[1, 1]) / 2 == pytest.approx(math.sin(PHI) * pressure + cohesion * math.cos(PHI), rel=1e-10)
    assert math.log(float(torch.det(F1))) == pytest.approx(volume, rel=1e-10)


@pytest.mark.parametrize("cohesion", [0.0, 700.0])
def test_triaxial_compression_yields_at_mohr_and_coulombs_stress(cohesion):
    volume, shear = -0.004, 0.02
    _, _, tau = respond(sand(cohesion=cohesion), diagonal(volume / 3 + shear, volume / 3 + shear, volume / 3 - 2 * shear))
    least, most = -float(tau[0, 0]), -float(tau[2, 2])
    assert -float(tau.trace()) / 3 == pytest.approx(-(LAM + 2 * MU / 3) * volume, rel=1e-12)
    assert (most - least) / 2 == pytest.approx((most + least) / 2 * math.sin(PHI) + cohesion * math.cos(PHI), rel=1e-10)


def test_a_layer_that_shears_at_constant_volume_has_the_friction_of_a_slope_of_angle_atan_sin_phi():
    """Principal axes of flow lie at 45 degrees to the layer, so that shear over normal stress is sin phi, not tan phi; Davis 1968."""
    F = torch.eye(2, dtype=torch.float64) * math.exp(-5e-4)
    L = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    for _ in range(100):
        F, _, tau = respond(sand(), F, L, a=0.0, dt=1e-3)
    assert float(tau[0, 1] / -tau[1, 1]) == pytest.approx(math.sin(PHI), rel=2e-3)
    assert math.tan(PHI) / math.sin(PHI) > 1.1


@pytest.mark.parametrize("dimension", [2, 3])
def test_sand_within_the_cone_is_elastic(dimension):
    """Just below the yield stress of the tests above nothing flows, and the stress is Hencky's."""
    volume = -0.004
    limit = math.sin(PHI) * (LAM + MU) * -volume / (2 * MU)
    for share, flows in ((0.999, False), (1.001, True)):
        if dimension == 3:
            limit = 2 * math.sin(PHI) / (3 - math.sin(PHI)) * (3 * LAM + 2 * MU) * -volume / (6 * MU)
        shear = share * limit
        strain = [shear, -shear] if dimension == 2 else [shear, shear, -2 * shear]
        F = diagonal(*(volume / dimension + part for part in strain))
        F1, _, tau = respond(sand(), F)
        assert bool((F1 - F).abs().max() > 1e-9) is flows
        if not flows:
            assert float(tau[0, 0]) == pytest.approx(2 * MU * (volume / dimension + shear) + LAM * volume, rel=1e-10)


@pytest.mark.parametrize("dimension", [2, 3])
def test_sand_that_expands_bears_nothing_and_keeps_no_shape(dimension):
    strain = torch.tensor([0.03, -0.01, 0.005][:dimension], dtype=torch.float64)
    F1, apart, tau = respond(sand(), diagonal(*strain.tolist()))
    assert float(tau.abs().max()) < 1e-9
    assert torch.allclose(F1, torch.eye(dimension, dtype=torch.float64), atol=1e-14)
    assert apart == pytest.approx(float(strain.sum()), rel=1e-12)


@pytest.mark.parametrize("dimension", [2, 3])
def test_cohesion_bears_tension_up_to_the_tip(dimension):
    _, _, tau = respond(sand(cohesion=700.0), diagonal(*[0.02] * dimension))
    assert torch.allclose(tau, 700.0 / math.tan(PHI) * torch.eye(dimension, dtype=torch.float64), rtol=1e-10)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("cohesion", [0.0, 700.0])
def test_sand_presses_again_only_when_its_volume_is_back(dimension, cohesion):
    """It is pulled apart by 6 % in three steps and closes by 7 %: the pressure is that of 1 %, whatever came between."""
    material, start = sand(cohesion=cohesion), torch.eye(dimension, dtype=torch.float64)
    F, a = start, 0.0
    for change in (0.03, 0.01, 0.02, -0.04, -0.018):
        F, a, tau = respond(material, math.exp(change / dimension) * F, a=a)
        assert float(tau.trace()) == pytest.approx(dimension * cohesion / math.tan(PHI), abs=1e-6)
    F, a, tau = respond(material, math.exp(-0.012 / dimension) * F, a=a)
    assert a == 0.0
    assert -float(tau.trace()) / dimension == pytest.approx((LAM + 2 * MU / dimension) * 0.01, rel=1e-9)
    _, _, uncorrected = respond(material, math.exp(-0.07 / dimension) * start)
    assert float(uncorrected.trace()) == pytest.approx(7 * float(tau.trace()), rel=1e-9)


def test_the_friction_angle_is_in_degrees_and_differentiable():
    angle = torch.tensor([30.0, 45.0], dtype=torch.float64, requires_grad=True)
    _, _, sine, tension = sand(angle, 100.0).law_parameters()
    assert torch.allclose(sine, torch.tensor([0.5, math.sqrt(0.5)], dtype=torch.float64))
    assert torch.allclose(tension, torch.tensor([100 * math.sqrt(3), 100.0], dtype=torch.float64))
    (slope,) = torch.autograd.grad(sine.sum(), angle)
    assert torch.allclose(slope, torch.cos(torch.deg2rad(angle)) * math.pi / 180)
    assert float(sand(30.1).law_parameters()[2]) == pytest.approx(math.sin(math.radians(30.1)), rel=1e-15)


def snow(**changes):
    return Snow(400.0, 1e6, 0.25, **changes)


@pytest.mark.parametrize("dimension", [2, 3])
def test_snow_is_differentiated_within_its_limits_beyond_both_and_where_it_stiffens_no_more(dimension):
    material = snow(hardening=8.0, max_stiffening=1.1)
    visited = torch.zeros(6)
    for strain, stretch in ((0.005, 1.0), (0.02, 0.98)):
        errors = law_derivative_errors(material, dimension, strain=strain, stretch=stretch)
        assert max(errors.values()) < 5e-6, errors
        G, _a, _F1, a1, _tau = update_at(material, dimension, strain, stretch)
        principal = torch.linalg.svdvals(G)
        packed, torn = (principal < 1 - 0.025).any(1), (principal > 1 + 0.0075).any(1)
        hardest = torch.exp(8 * (1 - a1)) > 1.1
        branches = (~packed & ~torn, packed & torn, packed & ~torn, torn & ~packed, hardest, ~hardest & (packed | torn))
        visited += torch.stack([branch.sum() for branch in branches])
    assert bool((visited >= 10).all()), visited


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("stretch", [0.9, 0.999, 1.05], ids=["packed", "elastic", "torn"])
@pytest.mark.parametrize("strain", [0.0, 1e-5])
def test_snow_is_differentiated_where_all_principal_stretches_coincide(dimension, stretch, strain):
    errors = law_derivative_errors(snow(), dimension, strain=strain, stretch=stretch)
    assert max(errors.values()) < 5e-6, errors


def corotated(first, second):
    """Kirchhoff stress of fresh snow stretched by `first` and `second` in its plane, along the first."""
    volume = first * second
    return 2 * MU * (first - 1) * first + LAM * volume * (volume - 1)


@pytest.mark.parametrize("stretch", [0.98, 1.005])
def test_snow_within_its_limits_is_elastic(stretch):
    F = torch.diag(torch.tensor([stretch, 1.0], dtype=torch.float64))
    F1, plastic, tau = respond(snow(), F)
    assert plastic == 1.0
    assert torch.allclose(F1, F, atol=1e-15)
    assert float(tau[0, 0]) == pytest.approx(corotated(stretch, 1.0), rel=1e-12)
    assert float(tau[1, 1]) == pytest.approx(corotated(1.0, stretch), rel=1e-12)


@pytest.mark.parametrize(("stretch", "limit"), [(0.9, 0.975), (1.05, 1.0075)], ids=["packed", "torn"])
def test_snow_beyond_a_limit_keeps_the_limit_and_changes_its_stiffness(stretch, limit):
    F1, plastic, tau = respond(snow(), torch.diag(torch.tensor([stretch, 1.0], dtype=torch.float64)))
    factor = math.exp(10 * (1 - stretch / limit))
    assert plastic == pytest.approx(stretch / limit, rel=1e-14)
    assert torch.allclose(F1, torch.diag(torch.tensor([limit, 1.0], dtype=torch.float64)), atol=1e-14)
    assert float(tau[0, 0]) == pytest.approx(factor * corotated(limit, 1.0), rel=1e-12)
    assert float(tau[1, 1]) == pytest.approx(factor * corotated(1.0, limit), rel=1e-12)
    assert (factor > 1) is (stretch < 1)


def test_packed_snow_answers_the_same_strain_with_exp_hardening_times_the_stress():
    F1, plastic, _ = respond(snow(hardening=7.0), torch.diag(torch.tensor([0.8, 0.9], dtype=torch.float64)))
    assert plastic == pytest.approx(0.72 / 0.975**2, rel=1e-14)
    eased = torch.diag(torch.tensor([0.99 / 0.975, 1.0 / 0.975], dtype=torch.float64)) @ F1
    _, unchanged, tau = respond(snow(hardening=7.0), eased, a=plastic)
    assert unchanged == pytest.approx(plastic, rel=1e-14)
    assert float(tau[0, 0]) == pytest.approx(math.exp(7 * (1 - plastic)) * corotated(0.99, 1.0), rel=1e-10)


def test_snow_stiffens_to_its_largest_stiffness_and_the_time_step_knows_it():
    material = snow(max_stiffening=9.0)
    F = torch.diag(torch.tensor([0.5, 1.0], dtype=torch.float64))
    _, plastic, tau = respond(material, F)
    assert math.exp(10 * (1 - plastic)) > 100
    assert float(tau[0, 0]) == pytest.approx(9 * corotated(0.975, 1.0), rel=1e-12)
    assert float(material.wave_speed()) == pytest.approx(3 * math.sqrt((LAM + 2 * MU) / 400.0), rel=1e-6)


@pytest.mark.parametrize("material", [sand(cohesion=300.0), snow()], ids=["sand", "snow"])
def test_the_stress_turns_with_the_body(material):
    draw = torch.Generator().manual_seed(3)
    F = 0.99 * torch.eye(3, dtype=torch.float64) + 0.02 * torch.randn(3, 3, dtype=torch.float64, generator=draw)
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.7, 0.2], [0.7, 0.0, -1.1], [-0.2, 1.1, 0.0]], dtype=torch.float64))
    F1, a1, tau = respond(material, F)
    F1_turned, a1_turned, tau_turned = respond(material, turn @ F @ turn)
    assert torch.allclose(F1_turned, turn @ F1 @ turn, atol=1e-13)
    assert torch.allclose(tau_turned, turn @ tau @ turn.T, atol=1e-9 * float(tau.abs().max()))
    assert a1_turned == pytest.approx(a1, rel=1e-12)
