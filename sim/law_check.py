"""Compares a material's hand-written adjoint with central differences: the test that every law must pass before it is used."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from .materials import Law, Material
from .runtime import start, taichi

ti = taichi()


@cache
def law_kernels(law: Law, dimension: int, width: int) -> tuple[Any, Any]:
    """Kernels that apply the law and its adjoint to `n` material points in f64."""
    M = ti.types.matrix(dimension, dimension, ti.f64)
    P = ti.types.vector(width, ti.f64)
    A = ti.types.ndarray

    @ti.kernel
    def update(
        F: A(dtype=M, ndim=1), a: A(dtype=ti.f64, ndim=1), L: A(dtype=M, ndim=1), par: A(dtype=P, ndim=1), dt: ti.f64,
        F1: A(dtype=M, ndim=1), a1: A(dtype=ti.f64, ndim=1), tau: A(dtype=M, ndim=1),
    ):  # fmt: skip
        for p in a:
            F_new, a_new, stress = law.update(F[p], a[p], L[p], par[p], dt)
            F1[p] = F_new
            a1[p] = a_new
            tau[p] = stress

    @ti.kernel
    def adjoint(
        F: A(dtype=M, ndim=1), a: A(dtype=ti.f64, ndim=1), L: A(dtype=M, ndim=1), par: A(dtype=P, ndim=1), dt: ti.f64,
        F1_bar: A(dtype=M, ndim=1), a1_bar: A(dtype=ti.f64, ndim=1), tau_bar: A(dtype=M, ndim=1),
        F_bar: A(dtype=M, ndim=1), a_bar: A(dtype=ti.f64, ndim=1), L_bar: A(dtype=M, ndim=1), par_bar: A(dtype=P, ndim=1),
    ):  # fmt: skip
        for p in a:
            f, i, v, q = law.adjoint(F[p], a[p], L[p], par[p], dt, tau_bar[p], F1_bar[p], a1_bar[p])
            F_bar[p] = f
            a_bar[p] = i
            L_bar[p] = v
            par_bar[p] = q

    return update, adjoint


def random_points(
    material: Material, dimension: int, strain: float, stretch: float, points: int, dt: float, draw: torch.Generator
) -> dict[str, Tensor]:
    """The material points at which `law_derivative_errors` tests a law: what its update reads, in its order."""
    numbers = torch.tensor([float(value) for value in material.law_parameters()], dtype=torch.float64)
    size = (points, dimension, dimension)
    to: dict[str, Any] = {"dtype": torch.float64, "generator": draw}
    return {
        "deformation_gradient": stretch * torch.eye(dimension, dtype=torch.float64) + strain * torch.randn(size, **to),
        "internal": material.initial_internal + strain * torch.rand(points, **to),
        "velocity_gradient": strain / dt * torch.randn(size, **to),
        "parameters": numbers.expand(points, -1).contiguous(),
    }


def law_derivative_errors(
    material: Material,
    dimension: int = 3,
    *,
    strain: float = 0.1,
    stretch: float = 1.0,
    points: int = 200,
    dt: float = 0.01,
    seed: int = 0,
) -> dict[str, float]:
    """Relative errors of the adjoint of a material's law against central differences in f64.

    Args:
        material: whose law is tested at its parameters.
        dimension: 2 or 3.
        strain: size of the random deformations; 0 tests states where principal strains coincide, such as rest.
        stretch: the same along all axes, about which the random deformations lie; sand without cohesion is tested below 1, under pressure.
        points: how many random material points are tested.
        dt: time step of the update [s].
        seed: of the random states and directions.

    Returns:
        For "deformation_gradient", "internal", "velocity_gradient" and "parameters" the 98th percentile over all points of the error relative to
        the slope; the rest may straddle a yield surface, where the law has no derivative.
    """
    start()
    draw = torch.Generator().manual_seed(seed)
    state = random_points(material, dimension, strain, stretch, points, dt, draw)
    numbers = state["parameters"][0]
    update, adjoint = law_kernels(material.law, dimension, len(numbers))
    size = (points, dimension, dimension)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=draw)

    bars = (random(*size), random(points), random(*size))

    def weighted(**change: Tensor) -> Tensor:
        F, a, L, par = ({**state, **change}[name].contiguous() for name in state)
        results = torch.zeros_like(F), torch.zeros_like(a), torch.zeros_like(F)
        update(F, a, L, par, dt, *results)
        return sum((bar * result).reshape(points, -1).sum(1) for bar, result in zip(bars, results, strict=True))  # type: ignore[return-value]

    slopes = {name: torch.zeros_like(value).contiguous() for name, value in state.items()}
    F, a, L, par = (value.contiguous() for value in state.values())
    adjoint(F, a, L, par, dt, *bars, *slopes.values())
    value_size = weighted().abs().mean()
    errors = {}
    for name, value in state.items():
        scale = numbers if name == "parameters" else 0.1 / dt if name == "velocity_gradient" else 1.0
        direction = random(*value.shape) * scale
        found = (slopes[name] * direction).reshape(points, -1).sum(1)
        step = 1e-6
        expected = (weighted(**{name: value + step * direction}) - weighted(**{name: value - step * direction})) / (2 * step)
        # Differences lose 1e-16 / step of the value itself to rounding; the last term keeps that out where a slope vanishes.
        error = (found - expected).abs() / (expected.abs() + expected.abs().mean() + 1e-4 * value_size)
        errors[name] = float(error.quantile(0.98))
    return errors
