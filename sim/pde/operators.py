"""Difference operators on fields `[B, ..., *shape]`: conservative diffusion, advection, gradient; plain torch, differentiable any number of times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ...errors import ModelError
from .domain import Domain

Coefficient = float | Tensor | tuple[Tensor, ...]
"""A number, `[B]`, cells `[B, *shape]` or `[1, *shape]`, or a tuple with one array of faces `[B or 1, *face_shape]` for every axis."""
Mean = Literal["arithmetic", "harmonic"]
Scheme = Literal["central", "upwind", "limited"]


def face_means(cells: Tensor, domain: Domain, mean: Mean = "arithmetic") -> tuple[Tensor, ...]:
    """A coefficient on the faces, from its values in cells.

    Args:
        cells: `[..., *shape]`.
        domain: where.
        mean: "arithmetic", for coefficients that vary smoothly; faces of walls then get the line through the two next cells, but at least half and
            at most twice what the first has. "harmonic", for media that fill whole cells: layers in series, zero where one of them is zero; a
            wall's face has what its cell has.

    Returns:
        One array `[..., *face_shape]` for every axis.
    """
    if mean not in ("arithmetic", "harmonic"):
        raise ModelError(f"The mean is {mean!r}; it must be 'arithmetic' or 'harmonic'.")
    found = []
    for axis, n in enumerate(domain.grid.shape):
        dim = axis - domain.grid.dimension
        first, last = cells.narrow(dim, 0, 1), cells.narrow(dim, n - 1, 1)
        inner = _mean(cells.narrow(dim, 0, n - 1), cells.narrow(dim, 1, n - 1), mean)
        if domain.periodic[axis]:
            below = above = _mean(last, first, mean)
        elif mean == "harmonic":
            below, above = first, last
        else:
            below, above = (
                torch.minimum(torch.maximum(1.5 * near - 0.5 * next_one, 0.5 * near), 2 * near)
                for near, next_one in ((first, cells.narrow(dim, 1, 1)), (last, cells.narrow(dim, n - 2, 1)))
            )
        found.append(torch.cat([below, inner, above], dim))
    return tuple(found)


def _mean(a: Tensor, b: Tensor, mean: Mean) -> Tensor:
    if mean == "arithmetic":
        return (a + b) / 2
    total = a + b
    return 2 * a * b / torch.where(total == 0, 1.0, total)


def on_faces(coefficient: Coefficient, domain: Domain, field: Tensor, mean: Mean = "arithmetic") -> tuple[list[Any], Any]:
    """A coefficient on the faces of every axis, `[..., *face_shape]`, and a factor that is left.

    Where the coefficient is a number, or one for each environment, it is the factor, and the faces are None.
    """
    if isinstance(coefficient, tuple):
        if len(coefficient) != domain.grid.dimension:
            raise ModelError(f"There are coefficients on faces of {len(coefficient)} axes; the grid has {domain.grid.dimension}.")
        name = "The coefficient on faces across axis"
        return [domain.spread(f"{name} {a}", k, field, domain.grid.face_shape(a)) for a, k in enumerate(coefficient)], 1.0
    cells = domain.spread("The coefficient of diffusion", coefficient, field)
    if _uniform(cells, domain):
        return [None] * domain.grid.dimension, cells
    assert isinstance(cells, Tensor)
    return list(face_means(cells, domain, mean)), 1.0


def diffusion(u: Tensor, coefficient: Coefficient, domain: Domain, time: Any = 0.0, mean: Mean = "arithmetic") -> Tensor:
    """div(coefficient grad u) by fluxes through faces; differentiable, any number of times, in u, the coefficient and boundary values.

    Args:
        u: `[B, ..., *shape]`.
        coefficient: [m^2/s]; see `Coefficient`, or `[B, ..., *shape]` where it depends on u. Faces of cells outside the mask carry nothing.
        domain: grid and sides.
        time: for boundary values that are functions of it [s].
        mean: how cells give faces.
    """
    domain.check("The field", u)
    faces, factor = on_faces(coefficient, domain, u, mean)
    total = None
    for axis, k in enumerate(faces):
        dim, n, h = axis - domain.grid.dimension, domain.grid.shape[axis], domain.grid.spacing[axis]
        first, last = u.narrow(dim, 0, 1), u.narrow(dim, n - 1, 1)
        if domain.periodic[axis]:
            below = above = first - last
        else:
            (w0, s0), (w1, s1) = (domain.side_factors(axis, end, u, time) for end in (0, 1))
            below, above = w0 * first - s0, s1 - w1 * last
        flux = torch.cat([below, u.narrow(dim, 1, n - 1) - u.narrow(dim, 0, n - 1), above], dim)
        flux = flux if k is None else flux * k
        closed = domain.open_faces(axis, u)
        flux = flux if closed is None else flux * closed
        part = (flux.narrow(dim, 1, n) - flux.narrow(dim, 0, n)) * (1 / h**2)
        total = part if total is None else total + part
    assert total is not None
    return total if isinstance(factor, float) and factor == 1.0 else total * factor


def advection(u: Tensor, velocity: Sequence[Any], domain: Domain, time: Any = 0.0, scheme: Scheme = "central") -> Tensor:
    """div(velocity u) by fluxes through faces.

    Args:
        u: `[B, ..., *shape]`.
        velocity: across the faces of every axis [m/s], a number, `[B]`, or `[B or 1, *face_shape]`.
        domain: grid and sides; what flows in brings the value on the face of the wall.
        time: for boundary values that are functions of it [s].
        scheme: "central" (second order), "upwind" (first order), or "limited": second order with van Leer's limiter (van Leer 1974).
    """
    domain.check("The field", u)
    d = domain.grid.dimension
    if len(velocity) != d:
        raise ModelError(f"There are velocities across {len(velocity)} axes; the grid has {d}.")
    if scheme not in ("central", "upwind", "limited"):
        raise ModelError(f"The scheme is {scheme!r}; it must be 'central', 'upwind' or 'limited'.")
    total = None
    for axis in range(d):
        v = domain.spread(f"The velocity across axis {axis}", velocity[axis], u, domain.grid.face_shape(axis))
        if scheme == "central":
            flux = v * face_values(u, axis, domain, time)
        else:
            low, high = face_states(u, axis, domain, time, limited=scheme == "limited")
            flux = torch.as_tensor(v).clamp(min=0) * low + torch.as_tensor(v).clamp(max=0) * high
        part = divergence(flux, axis, domain)
        total = part if total is None else total + part
    assert total is not None
    return total


def face_values(u: Tensor, axis: int, domain: Domain, time: Any = 0.0) -> Tensor:
    """The field on the faces across `axis`: the mean of both cells, and what the condition says on walls `[B, ..., *face_shape]`."""
    dim, n = axis - domain.grid.dimension, domain.grid.shape[axis]
    below, above = _beyond(u, axis, domain, time)
    inner = (u.narrow(dim, 0, n - 1) + u.narrow(dim, 1, n - 1)) / 2
    if domain.periodic[axis]:
        seam = (below + above) / 2  # the last cell and the first one
        return torch.cat([seam, inner, seam], dim)
    return torch.cat([below, inner, above], dim)


def face_steps(u: Tensor, axis: int, domain: Domain) -> Tensor:
    """The difference of the two cells of every face across `axis` `[B, ..., *face_shape]`, zero on walls."""
    dim, n = axis - domain.grid.dimension, domain.grid.shape[axis]
    inner = u.narrow(dim, 1, n - 1) - u.narrow(dim, 0, n - 1)
    seam = u.narrow(dim, 0, 1) - u.narrow(dim, n - 1, 1)
    seam = seam if domain.periodic[axis] else torch.zeros_like(seam)
    return torch.cat([seam, inner, seam], dim)


def face_states(u: Tensor, axis: int, domain: Domain, time: Any = 0.0, limited: bool = False) -> tuple[Tensor, Tensor]:
    """The field just below and just above every face across `axis` `[B, ..., *face_shape]`; beyond a wall it is the value on the wall."""
    dim, n = axis - domain.grid.dimension, domain.grid.shape[axis]
    below, above = _beyond(u, axis, domain, time)
    low, high = torch.cat([below, u], dim), torch.cat([u, above], dim)
    if limited:
        step = _steps(low, high, axis, domain)
        one, other = step.narrow(dim, 0, n), step.narrow(dim, 1, n)
        product = (one * other).clamp(min=0)
        half = product / torch.where(product > 0, one + other, 1.0)  # half of van Leer's slope, which is the harmonic mean
        rise, fall = u + half, u - half
        low = torch.cat([rise.narrow(dim, n - 1, 1) if domain.periodic[axis] else below, rise], dim)
        high = torch.cat([fall, fall.narrow(dim, 0, 1) if domain.periodic[axis] else above], dim)
    return low, high


def divergence(flux: Tensor, axis: int, domain: Domain) -> Tensor:
    """The difference of a flux over the cells along `axis`, per metre; nothing flows through faces of cells outside the mask."""
    dim, n = axis - domain.grid.dimension, domain.grid.shape[axis]
    closed = domain.open_faces(axis, flux)
    if closed is not None:
        flux = flux * closed
    return (flux.narrow(dim, 1, n) - flux.narrow(dim, 0, n)) / domain.grid.spacing[axis]


def gradient(u: Tensor, axis: int, domain: Domain, time: Any = 0.0) -> Tensor:
    """du/dx along `axis` in the cells, of second order: the mean of the derivatives on both faces."""
    dim, n = axis - domain.grid.dimension, domain.grid.shape[axis]
    low, high = face_states(u, axis, domain, time)
    step = _steps(low, high, axis, domain)
    return (step.narrow(dim, 0, n) + step.narrow(dim, 1, n)) / (2 * domain.grid.spacing[axis])


def _beyond(u: Tensor, axis: int, domain: Domain, time: Any) -> tuple[Tensor, Tensor]:
    """What lies below the first face and above the last one: the cells of the other end, or the values on the walls."""
    dim, n = axis - domain.grid.dimension, domain.grid.shape[axis]
    first, last = u.narrow(dim, 0, 1), u.narrow(dim, n - 1, 1)
    if domain.periodic[axis]:
        return last, first
    ends = []
    for end, cell in ((0, first), (1, last)):
        w, s = domain.side_factors(axis, end, u, time)
        ends.append((1 - w / 2) * cell + s / 2)
    return ends[0], ends[1]


def _steps(low: Tensor, high: Tensor, axis: int, domain: Domain) -> Tensor:
    """The difference across every face, for a distance of one cell; from a wall to its cell it is half of that."""
    dim, n, step = axis - domain.grid.dimension, domain.grid.shape[axis], high - low
    if domain.periodic[axis]:
        return step
    return torch.cat([2 * step.narrow(dim, 0, 1), step.narrow(dim, 1, n - 1), 2 * step.narrow(dim, n, 1)], dim)


def _uniform(value: float | Tensor, domain: Domain) -> bool:
    """Whether a spread parameter is one number for each environment."""
    d = domain.grid.dimension
    return not isinstance(value, Tensor) or value.ndim < d or value.shape[value.ndim - d :].numel() == 1
