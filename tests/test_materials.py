import functools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pliant.errors import ModelError
from pliant.sim.algebra import polar, polar_adjoint, spectral, symmetric_eigen
from pliant.sim.law_check import law_derivative_errors, law_kernels
from pliant.sim.materials import Elastoplastic, FixedCorotated, Liquid, Material, NeoHookean, Sand, Snow, Viscoplastic, lame
from pliant.sim.materials.base import STIFFEST
from pliant.sim.runtime import start, taichi

ti = taichi()

MATERIALS = {
    "liquid": Liquid(1000.0, 2e4, 0.7),
    "fixed_corotated": FixedCorotated(1000.0, 1e4, 0.3),
    "neo_hookean": NeoHookean(1000.0, 1e4, 0.3),
    "elastoplastic": Elastoplastic(1000.0, 1e4, 0.3, 300.0, 500.0),
    "sand": Sand(1600.0, 1e4, 0.3, 32.0, 50.0),
    "snow": Snow(400.0, 1e4, 0.3),
    "viscoplastic": Viscoplastic(1000.0, 2e4, 4e3, 100.0, 5.0, 0.5, 0.1),
}


@pytest.mark.parametrize("strain", [0.0, 1e-5, 0.1], ids=["at rest", "near rest", "strained"])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", MATERIALS)
def test_the_adjoint_of_a_law_agrees_with_central_differences(name, dimension, strain):
    errors = law_derivative_errors(MATERIALS[name], dimension, strain=strain)
    assert max(errors.values()) < 5e-6, errors


def test_the_check_finds_a_wrong_adjoint():
    """The sign error of a published code: the derivative of the stress is taken with the transposed rotation."""
    right = MATERIALS["neo_hookean"]

    class Wrong(NeoHookean):
        name = "wrong"
        law = right.law._replace(adjoint=MATERIALS["fixed_corotated"].law.adjoint)

    assert law_derivative_errors(Wrong(1000.0, 1e4, 0.3))["deformation_gradient"] > 1e-3


def respond(material, F, L=None, a=None, dt=1e-3):
    """The stress and state of one material point."""
    start()
    d = F.shape[-1]
    numbers = torch.tensor([[float(value) for value in material.law_parameters()]], dtype=torch.float64)
    update, _ = law_kernels(material.law, d, numbers.shape[1])
    F = F.double().view(1, d, d).contiguous()
    L = torch.zeros_like(F) if L is None else L.double().view(1, d, d).contiguous()
    a = torch.tensor([material.initial_internal if a is None else a], dtype=torch.float64)
    F1, a1, tau = torch.zeros_like(F), torch.zeros_like(a), torch.zeros_like(F)
    update(F, a, L, numbers, dt, F1, a1, tau)
    return F1[0], float(a1), tau[0]


@pytest.mark.parametrize("name", ["fixed_corotated", "neo_hookean", "elastoplastic", "sand", "snow"])
def test_small_strain_is_hookes_law(name):
    mu, lam = lame(1e4, 0.3)
    strain = 1e-6 * torch.tensor([[1.0, 0.4, -0.2], [0.4, -2.0, 0.7], [-0.2, 0.7, 0.5]], dtype=torch.float64)
    _, _, tau = respond(MATERIALS[name], torch.eye(3, dtype=torch.float64) + strain)
    expected = 2 * mu * strain + lam * strain.trace() * torch.eye(3, dtype=torch.float64)
    assert torch.allclose(tau, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["fixed_corotated", "neo_hookean", "elastoplastic", "sand", "snow"])
def test_rotation_alone_makes_no_stress(name):
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.7, 0.2], [0.7, 0.0, -1.1], [-0.2, 1.1, 0.0]], dtype=torch.float64))
    _, _, tau = respond(MATERIALS[name], turn)
    assert float(tau.abs().max()) < 1e-9


@pytest.mark.parametrize("dt", [1e-3, 1e-5])
def test_viscosity_is_newtonian_whatever_the_time_step(dt):
    """Simple shear at a rate of 3 1/s gives eta times 3."""
    rate = torch.zeros(3, 3)
    rate[0, 1] = 3.0
    _, _, tau = respond(Liquid(1000.0, 2e4, 0.7), torch.eye(3), rate, dt=dt)
    assert float(tau[0, 1]) == pytest.approx(0.7 * 3.0, rel=1e-12)
    assert float(tau[0, 0]) == pytest.approx(0.0, abs=1e-12)


def test_a_squeezed_liquid_has_taits_pressure():
    _, J, tau = respond(Liquid(1000.0, 2e4), torch.eye(3), -torch.eye(3), dt=0.01)
    assert pytest.approx(0.97) == J
    assert float(tau[0, 0]) == pytest.approx(-J * 2e4 / 7 * (J**-7 - 1), rel=1e-12)


def test_uniaxial_flow_stops_at_the_yield_surface():
    """After the return map sqrt(3/2) |dev tau| equals yield stress + hardening times plastic strain, and volume is kept."""
    material = Elastoplastic(1000.0, 1e4, 0.3, 300.0, 500.0)
    F = torch.diag(torch.tensor([1.3, 0.95, 0.9], dtype=torch.float64))
    F1, plastic, tau = respond(material, F)
    deviator = tau - tau.trace() / 3 * torch.eye(3, dtype=torch.float64)
    assert plastic > 0.01
    assert math.sqrt(1.5) * float(deviator.norm()) == pytest.approx(300.0 + 500.0 * plastic, rel=1e-10)
    assert float(torch.det(F1)) == pytest.approx(float(torch.det(F)), rel=1e-12)


def test_below_yield_a_body_at_rest_keeps_its_shape_to_the_last_bit():
    """A rounding error of every step would add up: 1e-7 in f32, so that a body that stands for 10,000 steps strains by 1e-3."""
    F = torch.eye(3, dtype=torch.float64) + 1e-3 * torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    F1, plastic, _ = respond(MATERIALS["elastoplastic"], F)
    assert plastic == 0.0
    assert torch.equal(F1, F)


@functools.cache
def algebra_kernels(dimension, dtype):
    """The polar decomposition with its adjoint, and an eigen-decomposition put together again, of many matrices."""
    M = ti.types.matrix(dimension, dimension, ti.f64 if dtype == torch.float64 else ti.f32)
    A = ti.types.ndarray

    @ti.kernel
    def polar_kernel(F: A(dtype=M, ndim=1), R: A(dtype=M, ndim=1), R_bar: A(dtype=M, ndim=1), F_bar: A(dtype=M, ndim=1)):
        for p in range(F.shape[0]):
            rotation = polar(F[p])
            R[p] = rotation
            F_bar[p] = polar_adjoint(rotation, F[p], R_bar[p])

    @ti.kernel
    def eigen_kernel(S: A(dtype=M, ndim=1), again: A(dtype=M, ndim=1)):
        for p in range(S.shape[0]):
            values, Q = symmetric_eigen(S[p])
            again[p] = spectral(values, Q)

    return polar_kernel, eigen_kernel


def rotation_of(F, R_bar=None):
    """R of F = R S, and the adjoint of R_bar."""
    start()
    R, F_bar = torch.zeros_like(F), torch.zeros_like(F)
    algebra_kernels(F.shape[-1], F.dtype)[0](F.contiguous(), R, torch.zeros_like(F) if R_bar is None else R_bar.contiguous(), F_bar)
    return R, F_bar


def turns(count, dimension):
    """Random rotations."""
    draw = torch.Generator().manual_seed(1)
    skew = 3 * torch.randn(count, dimension, dimension, dtype=torch.float64, generator=draw)
    U, _, Vh = torch.linalg.svd(torch.linalg.matrix_exp(skew - skew.transpose(1, 2)))  # the exponential is no rotation to the last digits
    return U @ Vh


STRETCHES = {
    "at rest": (1.0, 1.0, 1.0),
    "two are equal": (1.3, 1.3, 0.6),
    "strained": (1.7, 1.0, 0.4),
    "thin": (1.0, 0.8, 1e-5),
    "a needle": (1e3, 1.0, 1e-1),
    "tiny": (2e-6, 1e-6, 3e-6),
    "inverted": (1.2, 0.9, -0.5),
    "thin and inverted": (1.0, 0.8, -1e-5),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("stretches", STRETCHES.values(), ids=list(STRETCHES))
def test_the_rotation_of_a_deformation_is_right_to_rounding(stretches, dimension, dtype):
    """Also where the body is inverted: the smallest stretch counts as negative then."""
    s = torch.tensor([stretches[0], stretches[2]] if dimension == 2 else stretches, dtype=torch.float64)
    Q, V = turns(200, dimension), turns(400, dimension)[200:]
    F = (Q @ V * s @ V.transpose(1, 2)).to(dtype)
    R, _ = rotation_of(F)
    ordered = s.abs().sort().values
    condition = float(ordered[-1] / (s.sort().values[:2].sum().abs()))  # how much a change of F can turn R
    assert float((R.double() - Q).abs().max()) < 20 * torch.finfo(dtype).eps * max(condition, 1.0)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", [name for name in STRETCHES if name != "tiny"])
def test_the_derivative_of_the_rotation_agrees_with_central_differences(name, dimension):
    s = torch.tensor([STRETCHES[name][0], STRETCHES[name][2]] if dimension == 2 else STRETCHES[name], dtype=torch.float64)
    Q, V = turns(50, dimension), turns(100, dimension)[50:]
    F = Q @ V * s @ V.transpose(1, 2)
    draw = torch.Generator().manual_seed(2)
    R_bar, direction = (torch.randn(F.shape, dtype=torch.float64, generator=draw) for _ in range(2))
    _, F_bar = rotation_of(F, R_bar)
    step = 1e-6
    expected = (R_bar * (rotation_of(F + step * direction)[0] - rotation_of(F - step * direction)[0])).sum((1, 2)) / (2 * step)
    found = (F_bar * direction).sum((1, 2))
    assert float((found - expected).abs().max()) < 1e-7 * float(expected.abs().max()) + 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dimension", [2, 3])
def test_eigenvectors_put_a_matrix_together_again_to_rounding(dimension, dtype):
    V = turns(200, dimension)
    s = torch.tensor((1.0, 1.0 + 1e-6, 3.0)[:dimension], dtype=torch.float64)
    S = (V * s @ V.transpose(1, 2)).to(dtype)
    S = (S + S.transpose(1, 2)) / 2
    again = torch.zeros_like(S)
    start()
    algebra_kernels(dimension, dtype)[1](S, again)
    assert float((again - S).abs().max()) < 20 * torch.finfo(dtype).eps


BAD = [
    (Liquid, {"density": -1.0, "bulk_modulus": 1e4}, "density"),
    (Liquid, {"density": 1000.0, "bulk_modulus": 0.0}, "bulk_modulus"),
    (Liquid, {"density": 1000.0, "bulk_modulus": 1e4, "viscosity": -1e-3}, "viscosity"),
    (Liquid, {"density": float("nan"), "bulk_modulus": 1e4}, "density"),
    (NeoHookean, {"density": 1000.0, "youngs_modulus": 1e4, "poisson_ratio": 0.5}, "poisson_ratio"),
    (NeoHookean, {"density": 1000.0, "youngs_modulus": float("inf"), "poisson_ratio": 0.3}, "youngs_modulus"),
    (Elastoplastic, {"density": 1000.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3, "yield_stress": 0.0}, "yield_stress"),
    (Elastoplastic, {"density": 1000.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3, "yield_stress": 1.0, "hardening": -1.0}, "hardening"),
    (Sand, {"density": 1600.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3, "friction_angle": 90.0}, "friction_angle"),
    (Sand, {"density": 1600.0, "youngs_modulus": 1e4, "poisson_ratio": 0.3, "friction_angle": 30.0, "cohesion": -1.0}, "cohesion"),
    (Snow, {"density": 400.0, "youngs_modulus": 1e4, "poisson_ratio": 0.2, "critical_compression": 1.0}, "critical_compression"),
    (Snow, {"density": 400.0, "youngs_modulus": 1e4, "poisson_ratio": 0.2, "critical_stretch": 0.0}, "critical_stretch"),
    (Snow, {"density": 400.0, "youngs_modulus": 1e4, "poisson_ratio": 0.2, "hardening": -1.0}, "hardening"),
    (Snow, {"density": 400.0, "youngs_modulus": 1e4, "poisson_ratio": 0.2, "max_stiffening": 1.0}, "max_stiffening"),
    (
        Viscoplastic,
        {"density": 1000.0, "bulk_modulus": 1e4, "shear_modulus": 0.0, "yield_stress": 1.0, "consistency": 1.0},
        "shear_modulus",
    ),
    (Viscoplastic, {"density": 1000.0, "bulk_modulus": 1e4, "shear_modulus": 1e3, "yield_stress": 1.0, "consistency": 0.0}, "consistency"),
    (Liquid, {"density": torch.tensor([1000.0, -3.0]), "bulk_modulus": 1e4}, "density"),
]


@pytest.mark.parametrize(("kind", "values", "name"), BAD)
def test_parameters_outside_their_range_are_refused(kind, values, name):
    with pytest.raises(ModelError, match=name):
        kind(**values)


@settings(max_examples=50, deadline=None)
@given(st.floats(), st.floats())
def test_any_pair_of_moduli_is_accepted_or_refused_with_a_reason(youngs_modulus, poisson_ratio):
    good = 0 < youngs_modulus < STIFFEST and -1 < poisson_ratio < 0.5
    if good:
        assert isinstance(FixedCorotated(1.0, youngs_modulus, poisson_ratio), Material)
    else:
        with pytest.raises(ModelError, match="must be finite"):
            FixedCorotated(1.0, youngs_modulus, poisson_ratio)
