"""Difference operators on fields `[B, ..., *shape]`: conservative diffusion, advection, gradient.

Diffusion is L(K) u = sum over faces of K (u_neighbour - u), bilinear in u and in the conductances K, and symmetric. With the product of
differences P(u, v) on the faces it is closed under differentiation: <g, L(K) u> has the derivatives L(K) g and -P(g, u), and <w, P(u, v)>
has -L(w) v and -L(w) u. So the backward pass is made of the same two kernels, and can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from typing_extensions import override

from ...errors import ModelError
from ..runtime import start
from .domain import Domain

Coefficient = float | Tensor | tuple[Tensor, ...]
"""A number, `[B]`, cells `[B, *shape]` or `[1, *shape]`, or a tuple with one array of faces `[B or 1, *face_shape]` for every axis."""
Mean = Literal["arithmetic", "harmonic"]
Scheme = Literal["central", "upwind", "limited"]


class Diffuse(torch.autograd.Function):
    """`(u [N, *shape], periodic, *conductances)`: L(K) u. A conductance `[M, *face_shape]`, M dividing N, or None, which leaves its axis out."""

    @staticmethod
    @override
    def forward(ctx: Any, u: Tensor, periodic: tuple[bool, ...], *conductances: Tensor | None) -> Tensor:
        from .kernels import diffuse

        ctx.periodic = periodic
        ctx.save_for_backward(u, *conductances)
        u = u.detach().contiguous()
        first = 3 - len(periodic)
        sizes = [*[1] * first, *u.shape[1:]]
        active = wrap = 0
        arrays, shared = [u.view(-1)] * 3, [1] * 3
        for axis, k in enumerate(conductances, first):
            if k is not None:
                active |= 1 << axis
                wrap |= int(periodic[axis - first]) << axis
                arrays[axis], shared[axis] = k.detach().contiguous().view(-1), len(u) // len(k)
        out = torch.empty_like(u)
        diffuse(u.view(-1), *arrays, *sizes, *shared, active, wrap, out.view(-1))
        return out

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        u, *conductances = ctx.saved_tensors
        (g,) = gradients
        by_u = Diffuse.apply(g, ctx.periodic, *conductances) if ctx.needs_input_grad[0] else None
        by_k: list[Tensor | None] = []
        for axis, k in enumerate(conductances):
            if k is None or not ctx.needs_input_grad[2 + axis]:
                by_k.append(None)
                continue
            product = Pair.apply(g, u, axis, ctx.periodic)
            by_k.append(-product.view(len(k), -1, *k.shape[1:]).sum(1))
        return by_u, None, *by_k


class Pair(torch.autograd.Function):
    """`(u [N, *shape], v, axis, periodic)`: P(u, v) across `axis` `[N, *face_shape]`."""

    @staticmethod
    @override
    def forward(ctx: Any, u: Tensor, v: Tensor, axis: int, periodic: tuple[bool, ...]) -> Tensor:
        from .kernels import pair

        ctx.axis, ctx.periodic = axis, periodic
        ctx.save_for_backward(u, v)
        u, v = u.detach().contiguous(), v.detach().contiguous()
        n = u.shape[1 + axis]
        out = u.new_empty(*u.shape[: 1 + axis], n + 1, *u.shape[2 + axis :])
        pair(u.view(-1), v.view(-1), n, u.shape[2 + axis :].numel(), int(periodic[axis]), out.view(-1))
        return out

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        u, v = ctx.saved_tensors
        weights = [gradients[0] if axis == ctx.axis else None for axis in range(len(ctx.periodic))]
        by_u = -Diffuse.apply(v, ctx.periodic, *weights) if ctx.needs_input_grad[0] else None
        by_v = -Diffuse.apply(u, ctx.periodic, *weights) if ctx.needs_input_grad[1] else None
        return by_u, by_v, None, None


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


def conductances(faces: Sequence[Any], domain: Domain, field: Tensor) -> list[Tensor]:
    """What `Diffuse` takes, `[..., *face_shape]` [1/s]: coefficients over h^2, closed by the mask, those of walls times the w of `side_factors`.

    Args:
        faces: what `on_faces` returns; None is 1 everywhere.
        domain: where.
        field: gives dtype, device and batch.
    """
    if faces[0] is None and domain.plain_sides:
        unit = [field.new_ones(1, *domain.grid.face_shape(axis)) for axis in range(domain.grid.dimension)]
        return domain.keep(("unit", field.dtype, field.device), lambda: _with_walls(unit, domain, field))
    return _with_walls(
        [field.new_ones(1, *domain.grid.face_shape(axis)) if k is None else k for axis, k in enumerate(faces)], domain, field
    )


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
    start(u.device)
    faces, factor = on_faces(coefficient, domain, u, mean)
    k = conductances(faces, domain, u)
    d, lead = domain.grid.dimension, u.shape[: u.ndim - domain.grid.dimension]
    flat = [(x if _batch_major(x, lead) else x.expand(*lead, *x.shape[-d:])).reshape(-1, *x.shape[-d:]) for x in k]
    out = Diffuse.apply(u.reshape(-1, *u.shape[-d:]), domain.periodic, *flat).view(u.shape)
    inside = domain.inside(u)
    for axis, end, face in _walls(domain):
        _, s = domain.side_factors(axis, end, u, time)
        if not isinstance(s, Tensor) and s == 0.0:
            continue
        layer = s / domain.grid.spacing[axis] ** 2
        if faces[axis] is not None:
            layer = layer * faces[axis].narrow(axis - d, end * domain.grid.shape[axis], 1)
        if inside is not None:
            layer = layer * inside.narrow(axis, face, 1)
        out.narrow(axis - d, face, 1).add_(layer)
    return out if isinstance(factor, float) and factor == 1.0 else out * factor


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


def _walls(domain: Domain) -> list[tuple[int, int, int]]:
    """Axis, end and inner cell of every side that is a wall."""
    n = domain.grid.shape
    return [(axis, end, end * (n[axis] - 1)) for axis in range(len(n)) for end in (0, 1) if not domain.periodic[axis]]


def _with_walls(faces: Sequence[Any], domain: Domain, field: Tensor) -> list[Tensor]:
    """Conductances from coefficients on faces: divided by h^2, closed by the mask, and with the factor w of each wall."""
    found = []
    for axis, k in enumerate(faces):
        dim, n = axis - domain.grid.dimension, domain.grid.shape[axis]
        closed = domain.open_faces(axis, field)
        k = (k if closed is None else k * closed) / domain.grid.spacing[axis] ** 2
        if not domain.periodic[axis]:
            ends = [k.narrow(dim, f, 1) * domain.side_factors(axis, end, field)[0] for end, f in ((0, 0), (1, n))]
            inner = k.narrow(dim, 1, n - 1)
            size = torch.broadcast_shapes(ends[0].shape[:dim], inner.shape[:dim], ends[1].shape[:dim])
            k = torch.cat([part.expand(*size, *part.shape[dim:]) for part in (ends[0], inner, ends[1])], dim)
        found.append(k)
    return found


def _batch_major(k: Tensor, lead: Sequence[int]) -> bool:
    """Whether conductances of fewer environments can be taken as they are: equal along all axes behind the first, or of all."""
    return tuple(k.shape[: len(lead)]) == tuple(lead) or all(size == 1 for size in k.shape[1 : len(lead)])
