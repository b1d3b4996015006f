import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pliant.errors import ModelError, ShapeError, UnknownNameError
from pliant.sim.materials import FixedCorotated, Hookean, Material, NeoHookean
from pliant.sim.materials.base import STIFFEST
from pliant.sim.solid.custom import CustomTerm, HyperelasticTerm, hyperelastic_parameters, positive_part
from pliant.sim.solid.materials import LinearElastic, StableNeoHookean
from pliant.sim.solid.tetrahedra import LAWS, TetrahedronTerm, rest_shapes, tetrahedron_parameters

F64 = torch.float64
EYE = torch.eye(3, dtype=F64)
EXTRA = 2
"""Unknowns that belong to no node."""
CORNER = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=F64)
"""A tetrahedron with Dm = I, so that its edges are the deformation gradient."""
ALONE = torch.tensor([[0, 1, 2, 3]])


# The laws, from their formulas


def determinant(F):
    return torch.linalg.cross(F[..., 0], F[..., 1]).mul(F[..., 2]).sum(-1)


def square(A):
    return (A * A).sum((-1, -2))


def trace(A):
    return A.diagonal(dim1=-2, dim2=-1).sum(-1)


def stable_neo_hookean(F, mu, lam):
    J = determinant(F)
    return mu / 2 * (square(F) - 3) - mu * (J - 1) + (lam + mu) / 2 * (J - 1) ** 2


def fixed_corotated(F, mu, lam):
    """|F - R|^2 = |F|^2 - 2 tr S + 3, where the smallest stretch has the sign of J."""
    s, J = torch.linalg.svdvals(F), determinant(F)
    stretch = s[..., 0] + s[..., 1] + torch.sign(J.detach()) * s[..., 2]
    return mu * (square(F) - 2 * stretch + 3) + lam / 2 * (J - 1) ** 2


def linear(F, mu, lam):
    strain = (F + F.mT) / 2 - EYE
    return mu * square(strain) + lam / 2 * trace(strain) ** 2


def st_venant_kirchhoff(F, mu, lam):
    E = (F.mT @ F - EYE) / 2
    return mu * square(E) + lam / 2 * trace(E) ** 2


FORMULAS = {law.__name__: law for law in (stable_neo_hookean, fixed_corotated, linear, st_venant_kirchhoff)}


def edges(u, tetrahedra):
    x = u[: u.numel() - EXTRA].view(-1, 3)[tetrahedra]
    return (x[:, 1:] - x[:, :1]).mT


def reference(law, tetrahedra, par):
    """The energy of all unknowns, from the formula."""

    def energy(u):
        F = edges(u, tetrahedra) @ par[:, :9].view(-1, 3, 3)
        return FORMULAS[law](F, par[:, 9], par[:, 10]).sum()

    return energy


# Bodies


@pytest.fixture(scope="module")
def body():
    """Rest nodes, tetrahedra of random corners, and parameters."""
    draw = torch.Generator().manual_seed(3)
    rest = torch.rand(9, 3, generator=draw, dtype=F64)
    tetrahedra = torch.combinations(torch.arange(9), 4)[torch.randperm(126, generator=draw)]
    volume = torch.linalg.det(edges(torch.cat((rest.flatten(), torch.zeros(EXTRA))), tetrahedra)) / 6
    tetrahedra = torch.where((volume > 0)[:, None], tetrahedra, tetrahedra[:, [1, 0, 2, 3]])[volume.abs() > 0.02][:12]
    mu, lam = 1 + torch.rand(len(tetrahedra), generator=draw, dtype=F64), 1 + torch.rand(len(tetrahedra), generator=draw, dtype=F64)
    return rest, tetrahedra, tetrahedron_parameters(rest, tetrahedra, mu, lam)


def unknowns(x):
    return torch.cat((x.flatten(), torch.full((EXTRA,), 7.0, dtype=F64)))


def random_like(x, seed):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def rotation(seed=0):
    A = random_like(EYE, seed)
    return torch.linalg.matrix_exp(A - A.mT)


DEFORMATIONS = {
    "near rest": lambda rest: rest + 1e-3 * random_like(rest, 1),
    "turned": lambda rest: (rest + 0.05 * random_like(rest, 2)) @ rotation().mT,
    "pressed": lambda rest: rest * torch.tensor([1.2, 0.9, 0.3], dtype=F64) + 0.02 * random_like(rest, 3),
    "inverted": lambda rest: rest * torch.tensor([1.0, -0.7, 1.3], dtype=F64) + 0.1 * random_like(rest, 4),
    "torn": lambda rest: 2 * random_like(rest, 5),
}
every_law = pytest.mark.parametrize("law", LAWS)
every_deformation = pytest.mark.parametrize("how", DEFORMATIONS)


def made(body, law, how):
    rest, tetrahedra, par = body
    u = unknowns(DEFORMATIONS[how](rest))
    return TetrahedronTerm(tetrahedra, law, u.numel()), u, par


def dense(term, blocks, size):
    """The Hessian that blocks add up to."""
    H = torch.zeros(size, size, dtype=F64)
    for table, block in zip(term.patterns, blocks, strict=True):
        k = table.shape[1]
        rows, columns = table[:, :, None].expand(-1, k, k), table[:, None, :].expand(-1, k, k)
        H.index_put_((rows, columns), block, accumulate=True)
    return H


def distance(found, expected):
    """The largest error relative to the largest number."""
    return float((found - expected).abs().max() / expected.abs().max())


def test_the_deformations_are_what_they_are_called(body):
    rest, tetrahedra, par = body
    inverse = par[:, :9].view(-1, 3, 3)
    J = {how: determinant(edges(unknowns(deform(rest)), tetrahedra) @ inverse) for how, deform in DEFORMATIONS.items()}
    assert (J["turned"] > 0).all()
    assert (J["inverted"] < 0).sum() >= 8
    assert (J["torn"] < 0).any()
    assert (J["torn"] > 0).any()


# Energy and its derivatives


@every_deformation
@every_law
def test_energy_and_derivatives_are_those_of_the_formula(body, law, how):
    term, u, par = made(body, law, how)
    energy = reference(law, term.tetrahedra, par)
    assert term.energy(u, par) == pytest.approx(float(energy(u)), rel=1e-12, abs=1e-15)
    assert distance(term.gradient(u, par), torch.func.grad(energy)(u)) < 1e-11
    blocks = term.hessians(u, par, False)
    assert torch.equal(blocks[0], blocks[0].mT)
    assert distance(dense(term, blocks, u.numel()), torch.func.hessian(energy)(u)) < 1e-10


@every_deformation
@every_law
def test_projection_is_that_of_the_derivative_of_the_stress(body, law, how):
    """Of each element's 9x9 derivative of the stress the negative eigenvalues become zero."""
    term, u, par = made(body, law, how)
    inverse = par[:, :9].view(-1, 3, 3)
    slopes = torch.cat((-inverse.sum(1, keepdim=True), inverse), 1)
    maps = torch.einsum("naj,ik->nijak", slopes, EYE).reshape(-1, 9, 12)
    F = edges(u, term.tetrahedra) @ inverse
    nine = torch.stack([torch.func.hessian(FORMULAS[law])(*row).view(9, 9) for row in zip(F, par[:, 9], par[:, 10], strict=True)])
    (blocks,) = term.hessians(u, par, True)
    assert distance(blocks, maps.mT @ positive_part(nine) @ maps) < 1e-10
    eigenvalues = torch.linalg.eigvalsh(blocks)
    assert (eigenvalues[:, 0] > -1e-13 * eigenvalues[:, -1]).all()
    positive = torch.linalg.eigvalsh(nine)[:, 0] > 1e-9
    assert torch.equal(blocks[positive], term.hessians(u, par, False)[0][positive])
    if how == "near rest" and law != "linear":
        assert not positive.all()  # turns of a compressed element
    if how == "torn" and law == "stable_neo_hookean":
        assert (~positive).any()


@every_deformation
@every_law
def test_virtual_work_and_its_derivative_with_respect_to_every_parameter(body, law, how):
    term, u, par = made(body, law, how)
    w = random_like(u, 6)
    par = par.clone().requires_grad_()
    work = term.virtual_work(u, w, par)
    assert float(work.detach()) == pytest.approx(float(w @ term.gradient(u, par)), rel=1e-11)
    (found,) = torch.autograd.grad(work, par)
    expected = torch.zeros_like(found)
    par = par.detach()
    for e in range(par.shape[0]):
        for k in range(par.shape[1]):
            step = 2e-6 * par[e, :9].abs().max() if k < 9 else 1e-4 * par[e, k]
            ends = []
            for sign in (1, -1):
                moved = par.clone()
                moved[e, k] += sign * step
                ends.append(w @ term.gradient(u, moved))
            expected[e, k] = (ends[0] - ends[1]) / (2 * step)
    errors = [distance(found[:, k], expected[:, k]) for k in range(par.shape[1])]
    assert max(errors) < 1e-7, errors


@every_law
def test_virtual_work_reaches_rest_shape_and_moduli(body, law):
    rest, tetrahedra, _par = body
    u = unknowns(DEFORMATIONS["turned"](rest))
    term, w = TetrahedronTerm(tetrahedra, law, u.numel()), random_like(u, 7)

    def work(rest, mu, lam):
        return term.virtual_work(u, w, tetrahedron_parameters(rest, tetrahedra, mu, lam))

    inputs = [rest.clone(), torch.tensor(2.0, dtype=F64), torch.full((len(tetrahedra),), 1.5, dtype=F64)]
    assert torch.autograd.gradcheck(work, [value.requires_grad_() for value in inputs], rtol=1e-6, atol=1e-7)


# What every body does


@every_law
def test_a_body_at_rest_has_neither_energy_nor_force(body, law):
    rest, tetrahedra, par = body
    u = unknowns(rest)
    term = TetrahedronTerm(tetrahedra, law, u.numel())
    assert 0 <= term.energy(u, par) < 1e-29
    assert float(term.gradient(u, par).abs().max()) < 1e-14


@pytest.mark.parametrize("law", [law for law in LAWS if law != "linear"])
def test_a_rigid_motion_costs_nothing(body, law):
    rest, tetrahedra, par = body
    u = unknowns(rest @ rotation(1).mT + 0.3)
    term = TetrahedronTerm(tetrahedra, law, u.numel())
    assert abs(term.energy(u, par)) < 1e-28
    assert float(term.gradient(u, par).abs().max()) < 1e-14


def test_small_strain_takes_a_rotation_for_growth(body):
    rest, tetrahedra, par = body
    u = unknowns(rest @ rotation(1).mT)
    assert TetrahedronTerm(tetrahedra, "linear", u.numel()).energy(u, par) > 0.01


@every_deformation
@every_law
def test_a_translation_makes_no_force_and_forces_balance(body, law, how):
    term, u, par = made(body, law, how)
    forces, H = term.gradient(u, par), dense(term, term.hessians(u, par, False), u.numel())
    assert float(forces[-EXTRA:].abs().max()) == 0
    assert float(forces[:-EXTRA].view(-1, 3).sum(0).abs().max()) < 1e-13 * float(forces.abs().max()) * len(forces)
    shift = unknowns(torch.tensor([[0.3, -0.5, 0.8]], dtype=F64).expand(9, 3)) - unknowns(torch.zeros(9, 3, dtype=F64))
    assert float((H @ shift).abs().max()) < 1e-14 * float(H.abs().max()) * len(forces)


@pytest.mark.parametrize("how", ["turned", "inverted", "torn"])
@pytest.mark.parametrize("law", [law for law in LAWS if law != "linear"])
def test_no_torque(body, law, how):
    term, u, par = made(body, law, how)
    x, forces = u[:-EXTRA].view(-1, 3), term.gradient(u, par)[:-EXTRA].view(-1, 3)
    assert float(torch.linalg.cross(x, forces).sum(0).abs().max()) < 1e-13 * float((x.norm(dim=1) * forces.norm(dim=1)).sum())


def alone(law, F, mu=1.0, lam=1.5):
    """One tetrahedron of deformation gradient F."""
    par = tetrahedron_parameters(CORNER, ALONE, torch.tensor(mu, dtype=F64), torch.tensor(lam, dtype=F64))
    return TetrahedronTerm(ALONE, law, 12), (CORNER @ F.mT).flatten(), par


@given(st.floats(1.0, 1e9), st.floats(-0.9, 0.49))
@settings(max_examples=25, deadline=None)
def test_small_strain_is_hookes_law(youngs_modulus, poisson_ratio):
    """Stretched along x, a body thins by Poisson's ratio and pulls with Young's modulus times the strain."""
    mu, lam = StableNeoHookean(1.0, youngs_modulus, poisson_ratio).lame()
    strain = torch.diag(torch.tensor([1.0, -poisson_ratio, -poisson_ratio], dtype=F64))
    for law in LAWS:
        term, u, par = alone(law, EYE, mu, lam)
        stress = 6 * (term.hessians(u, par, False)[0][0] @ (CORNER @ strain).flatten()).view(4, 3)[1:].mT
        expected = torch.zeros(3, 3, dtype=F64)
        expected[0, 0] = youngs_modulus
        assert float((stress - expected).abs().max()) < 1e-13 * (youngs_modulus + abs(lam) + mu) * 10


@pytest.mark.parametrize("law", [law for law in LAWS if law != "linear"])
def test_the_energy_of_small_strain_is_more_than_rounding(law):
    """The terms of the formula are 1e14 times as large as the energy."""
    strain = 1e-7 * (lambda A: A + A.mT)(random_like(EYE, 8))
    term, u, par = alone(law, rotation(2) @ (EYE + strain))
    assert term.energy(u, par) == pytest.approx(float(linear(EYE + strain, 1.0, 1.5)) / 6, rel=1e-6)


numbers = st.lists(st.floats(-3, 3), min_size=9, max_size=9).map(lambda values: torch.tensor(values, dtype=F64).view(3, 3))


@given(numbers, st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_energy_does_not_see_a_rotation(F, seed):
    """Neither of the body, nor of what it was cut from."""
    R = rotation(seed)
    for law in LAWS:
        if law != "linear":
            energies = [term.energy(u, par) for term, u, par in (alone(law, A) for A in (F, R @ F, F @ R))]
            scale = 1e-13 * (1 + float(square(F))) ** 3
            assert max(energies) - min(energies) < scale, (law, energies)
            assert energies[0] > -scale


@given(numbers)
@settings(max_examples=100, deadline=None)
def test_a_projected_hessian_is_positive_for_any_deformation(F):
    for law in LAWS:
        term, u, par = alone(law, F)
        for project in (False, True):
            (block,) = term.hessians(u, par, project)
            assert block.isfinite().all()
        eigenvalues = torch.linalg.eigvalsh(block[0])
        assert eigenvalues[0] >= -1e-13 * eigenvalues[-1]


COLLAPSED = {
    "flat": (1.1, 0.8, 0.0),
    "a line": (1.3, 0.0, 0.0),
    "a point": (0.0, 0.0, 0.0),
    "almost flat": (1.1, 0.8, 1e-14),
    "almost a line": (1.3, 1e-11, -1e-13),
    "mirrored": (1.0, 1.0, -1.0),
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("how", COLLAPSED)
@every_law
def test_a_collapsed_element_has_an_energy_a_gradient_and_a_projected_hessian(law, how, turned):
    F = torch.diag(torch.tensor(COLLAPSED[how], dtype=F64))
    if turned:
        F = rotation(3) @ F @ rotation(4)
    term, u, par = alone(law, F)
    assert term.energy(u, par) == pytest.approx(float(FORMULAS[law](F, 1.0, 1.5)) / 6, rel=1e-12, abs=1e-14)
    gradient = term.gradient(u, par)
    if law != "fixed_corotated":
        expected = torch.func.grad(lambda F: FORMULAS[law](F, 1.0, 1.5) / 6)(F)
        assert torch.allclose(gradient.view(4, 3)[1:].mT, expected, rtol=1e-12, atol=1e-12)
    elif how in ("flat", "almost flat"):  # else the rotation jumps, and the gradient is one of many
        par = par.clone().requires_grad_()
        (slope,) = torch.autograd.grad(term.virtual_work(u, gradient, par), par)
        assert slope.isfinite().all()
        for direction in random_like(torch.zeros(5, 12), 9):
            ends = [term.energy(u + sign * 1e-5 * direction, par) for sign in (1, -1)]
            assert float(gradient @ direction) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-7)
    assert gradient.isfinite().all()
    eigenvalues = torch.linalg.eigvalsh(term.hessians(u, par, True)[0][0])
    assert eigenvalues[0] >= -1e-13 * eigenvalues[-1]
    if (law, how) != ("st_venant_kirchhoff", "a point"):  # there its energy is greatest
        assert eigenvalues[-1] > 0.1


# Parameters and refusals


def test_parameters_of_a_batch_are_those_of_its_environments(body):
    rest, tetrahedra, _par = body
    stretched = torch.stack((rest, 2 * rest))
    mu = torch.tensor([[1.0], [3.0]], dtype=F64)
    par = tetrahedron_parameters(stretched, tetrahedra, mu, torch.tensor(2.0))
    assert par.shape == (2, len(tetrahedra), 11)
    assert torch.allclose(par[1, :, :9], par[0, :, :9] / 2)
    assert torch.allclose(par[1, :, 9], par[0, :, 9] * 24)
    for b in range(2):
        assert torch.equal(par[b], tetrahedron_parameters(stretched[b], tetrahedra, mu[b], torch.tensor(2.0)))
    shared = tetrahedron_parameters(rest, tetrahedra, mu, torch.tensor(2.0))
    assert shared.shape == par.shape


def test_rest_shapes_of_a_known_tetrahedron():
    inverse, volume = rest_shapes(CORNER * torch.tensor([2.0, 3.0, 4.0]), ALONE)
    assert float(volume) == pytest.approx(4.0)
    assert torch.allclose(inverse[0], torch.diag(torch.tensor([1 / 2, 1 / 3, 1 / 4], dtype=F64)))


@pytest.mark.parametrize("rest", [CORNER * torch.tensor([1.0, 1.0, 0.0]), CORNER * torch.tensor([1.0, 1.0, -1.0]), CORNER * math.nan])
def test_a_flat_or_inverted_rest_shape_is_refused(rest):
    with pytest.raises(ModelError, match="Tetrahedron 0 has no positive volume"):
        rest_shapes(rest, ALONE)


def test_a_wrong_law_or_table_is_refused():
    with pytest.raises(UnknownNameError, match="stable_neo_hookean"):
        TetrahedronTerm(ALONE, NeoHookean.name, 12)
    for wrong in (ALONE.int(), ALONE[:, :3], ALONE + 1, ALONE - 1):
        with pytest.raises(ShapeError):
            TetrahedronTerm(wrong, "linear", 12)
    for wrong in (ALONE.int(), ALONE[0], ALONE + 9, ALONE - 1):
        with pytest.raises(ShapeError):
            CustomTerm(wrong, lambda x, par: x.sum(), 12)


MATERIALS = [StableNeoHookean, LinearElastic, FixedCorotated]


@pytest.mark.parametrize("material", MATERIALS)
def test_a_material_has_a_law_and_lame_parameters(material):
    assert material.name in LAWS
    made = material(1000.0, torch.tensor([2.6, 5.2], dtype=F64), 0.3)
    assert isinstance(made, Hookean)
    mu, lam = made.lame()
    assert torch.allclose(mu, torch.tensor([1.0, 2.0], dtype=F64))
    assert torch.allclose(lam, torch.tensor([1.5, 3.0], dtype=F64))


def test_materials_of_tetrahedra_are_none_of_material_points():
    assert not issubclass(StableNeoHookean, Material)
    assert issubclass(FixedCorotated, Material)


@given(st.sampled_from(MATERIALS), st.floats(), st.floats(), st.floats())
@settings(max_examples=200)
def test_a_material_that_cannot_be_is_refused(material, density, youngs_modulus, poisson_ratio):
    possible = 0 < density < math.inf and 0 < youngs_modulus < STIFFEST and -1 < poisson_ratio < 0.5
    if possible:
        assert material(density, youngs_modulus, poisson_ratio).density == density
    else:
        with pytest.raises(ModelError, match=material.name):
            material(density, youngs_modulus, poisson_ratio)


@pytest.mark.parametrize("material", MATERIALS)
@pytest.mark.parametrize(
    ("numbers", "name"),
    [((1000.0, 1e6, 0.5), "poisson_ratio is 0.5"), ((1000.0, -1e6, 0.3), "youngs_modulus"), ((1000.0, math.inf, 0.3), "youngs_modulus")],
)
def test_the_message_names_the_parameter(material, numbers, name):
    with pytest.raises(ModelError, match=name):
        material(*numbers)


# Energies of the user's own


@every_deformation
@every_law
def test_a_density_in_torch_gives_what_the_kernel_gives(body, law, how):
    term, u, par = made(body, law, how)
    rest, tetrahedra, _par = body
    volume = rest_shapes(rest, tetrahedra)[1][:, None]
    moduli = (par[:, 9:] / volume).requires_grad_()
    own = HyperelasticTerm(tetrahedra, lambda F, moduli: FORMULAS[law](F, moduli[0], moduli[1]), u.numel())
    values = hyperelastic_parameters(rest, tetrahedra, moduli)
    assert own.energy(u, values) == pytest.approx(term.energy(u, par), rel=1e-12, abs=1e-15)
    assert distance(own.gradient(u, values), term.gradient(u, par)) < 1e-11
    assert distance(own.hessians(u, values, False)[0], term.hessians(u, par, False)[0]) < 1e-10
    w = random_like(u, 10)
    (found,) = torch.autograd.grad(own.virtual_work(u, w, values), moduli)
    par = par.clone().requires_grad_()
    (expected,) = torch.autograd.grad(term.virtual_work(u, w, par), par)
    assert distance(found, expected[:, 9:] * volume) < 1e-11


def test_parameters_of_a_density_are_broadcast_over_elements_and_environments(body):
    rest, tetrahedra, _par = body
    one = hyperelastic_parameters(rest, tetrahedra, torch.tensor([1.0, 2.0, 3.0], dtype=F64))
    assert one.shape == (len(tetrahedra), 13)
    batch = hyperelastic_parameters(rest, tetrahedra, torch.tensor([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]], dtype=F64))
    assert torch.equal(batch[0], one)
    assert torch.equal(batch[1, :, 10:], torch.tensor([4.0, 5.0, 6.0], dtype=F64).expand(len(tetrahedra), 3))


def test_an_own_energy_of_any_unknowns():
    """A spring that a sixth unknown stretches: its derivatives are those of the formula, and a parameter has one too."""
    table = torch.tensor([[0, 1, 2, 3, 4, 5, 6], [3, 4, 5, 0, 1, 2, 7]])

    def spring(x, par):
        length = (x[3:6] - x[:3]).square().sum().sqrt()
        return par[0] / 2 * (length - par[1] * (1 + x[6] ** 2)) ** 2

    term, u, w = CustomTerm(table, spring, 8), random_like(torch.zeros(8), 11), random_like(torch.zeros(8), 12)
    par = torch.tensor([[2.0, 5.0], [3.0, 0.4]], dtype=F64)

    def total(u, par):
        x = u[table]
        length = (x[:, 3:6] - x[:, :3]).norm(dim=1)
        return (par[:, 0] / 2 * (length - par[:, 1] * (1 + x[:, 6] ** 2)) ** 2).sum()

    assert term.energy(u, par) == pytest.approx(float(total(u, par)), rel=1e-14)
    assert distance(term.gradient(u, par), torch.func.grad(total)(u, par)) < 1e-14
    blocks = term.hessians(u, par, False)
    assert distance(dense(term, blocks, 8), torch.func.hessian(total)(u, par)) < 1e-14
    low = torch.linalg.eigvalsh(blocks[0])[:, 0]
    assert (low < -0.1).any()
    projected = torch.linalg.eigvalsh(term.hessians(u, par, True)[0])
    assert (projected[:, 0] > -1e-13 * projected[:, -1]).all()
    assert torch.autograd.gradcheck(lambda par: term.virtual_work(u, w, par), par.requires_grad_(), rtol=1e-6)
    assert float(term.virtual_work(u, w, par).detach()) == pytest.approx(float(w @ term.gradient(u, par)), rel=1e-13)


def test_a_block_that_is_positive_is_left_as_it_is():
    A = random_like(torch.zeros(4, 5, 5), 13)
    A = A @ A.mT
    assert torch.equal(positive_part(A), A)
    mixed = torch.diag(torch.tensor([3.0, -2.0, 0.0], dtype=F64))
    assert torch.allclose(positive_part(mixed), torch.diag(torch.tensor([3.0, 0.0, 0.0], dtype=F64)), atol=1e-15)
