"""Geometric multigrid for alpha u - div(D grad u) = f on cell-centred grids.

V-cycles of red-black Gauss-Seidel with the mean of cells downwards and linear interpolation upwards (Wesseling 1992, "An Introduction to
Multigrid Methods", section 5; Mohr and Wienands 2004 for cell-centred transfer) precondition conjugate gradients. The two transfers are not
transposes of each other, so the conjugation is the flexible one (Polak and Ribiere; Notay 2000). The adjoint is implicit: one more solve with the
same symmetric matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError, StepError
from ..core import Outcome
from ..runtime import start
from .domain import Domain
from .implicit import attach
from .operators import Coefficient, Mean, diffusion, on_faces

COARSEST = 64
"""Cells below which the matrix is inverted."""
MOST_DENSE = 1024
"""Cells above which it is never: a grid whose numbers of cells cannot be halved is smoothed instead."""


class Multigrid:
    """A V-cycle for A u = alpha u - L(K) u.

    Args:
        alpha: `[M, *shape]`, M a divisor of the batch size, not negative.
        faces: conductances of every axis `[M, *face_shape]` [1/s], as `conductances` returns them.
        periodic: which axes are.
        sweeps: of the smoother, before and after.
    """

    def __init__(self, alpha: Tensor, faces: Sequence[Tensor], periodic: tuple[bool, ...], sweeps: int = 1) -> None:
        start(alpha.device)
        self.alpha, self.faces = alpha.detach().contiguous(), tuple(k.detach().contiguous() for k in faces)
        self.periodic, self.shape, self.sweeps = periodic, tuple(alpha.shape[1:]), sweeps
        self.coarser: Multigrid | None = None
        self.inverse: Tensor | None = None
        cells = math.prod(self.shape)
        self.factors = tuple(2 if n % 2 == 0 and n > 2 else 1 for n in self.shape)
        if cells > COARSEST and max(self.factors) == 2:
            self.coarser = Multigrid(*self._coarse(), periodic, sweeps)
        elif cells <= MOST_DENSE:
            self.inverse = self._invert()
        self._diagonal: Tensor | None = None
        if self.inverse is None and any(n % 2 and wraps for n, wraps in zip(self.shape, periodic, strict=True)):
            # Two colours do not part the cells of a ring of odd length, so that these grids are smoothed by Jacobi's method.
            ends = [(k.narrow(1 + a, 0, n), k.narrow(1 + a, 1, n)) for a, (k, n) in enumerate(zip(self.faces, self.shape, strict=True))]
            self._diagonal = self.alpha + sum(low + high for low, high in ends)

    def _coarse(self) -> tuple[Tensor, list[Tensor]]:
        """Coefficients on the next grid: means over cells and over coinciding faces, four times smaller across a doubled axis."""
        alpha = _means(self.alpha, self.factors)
        found = []
        for axis, k in enumerate(self.faces):
            dim = 1 + axis
            across = tuple(1 if a == axis else s for a, s in enumerate(self.factors))
            k = _means(k, across)
            if self.factors[axis] == 2:
                n = self.shape[axis]
                coarse = k.index_select(dim, torch.arange(0, n + 1, 2, device=k.device)) / 4
                if not self.periodic[axis]:
                    # Half a cell and what resists on the wall are in series; only the half cell grows.
                    for f, inner in ((0, 1), (n, n - 1)):
                        wall, next_one = k.narrow(dim, f, 1), k.narrow(dim, inner, 1)
                        below = 2 * next_one + wall
                        ok = below > 0
                        coarse.narrow(dim, f // 2, 1).copy_(torch.where(ok, wall * next_one / torch.where(ok, below, 1.0), 0.0))
                k = coarse
            found.append(k)
        return alpha, found

    def _invert(self) -> Tensor:
        """The pseudo-inverse `[M, cells, cells]` in f64; constants are its null space where nothing fixes the level."""
        cells = math.prod(self.shape)
        count = max(len(self.alpha), *(len(k) for k in self.faces))
        inverses = []
        for m in range(count):
            one = [x[m : m + 1] if len(x) > 1 else x for x in (self.alpha, *self.faces)]
            columns = torch.eye(cells, dtype=self.alpha.dtype, device=self.alpha.device).view(cells, *self.shape)
            image = (one[0] * columns - stencil_sum(columns, self.periodic, one[1:])).view(cells, cells).double()
            inverses.append(
                torch.linalg.pinv((image + image.mT) / 2, rtol=1e-6 if self.alpha.dtype == torch.float32 else 1e-12, hermitian=True)
            )
        return torch.stack(inverses)

    def apply(self, u: Tensor) -> Tensor:
        """A u `[N, *shape]`."""
        return u * _repeated(self.alpha, len(u)) - stencil_sum(u, self.periodic, self.faces)

    def cycle(self, f: Tensor) -> Tensor:
        """About A^-1 f `[N, *shape]`, by one V-cycle from zero."""
        if self.inverse is not None:
            flat = f.reshape(len(f), -1).double()
            share = len(f) // len(self.inverse)
            # One by one, since a product of batches has other bits than those of its members.
            return torch.stack([self.inverse[b // share] @ row for b, row in enumerate(flat)]).to(f.dtype).view(f.shape)
        u = torch.zeros_like(f)
        if self.coarser is None:
            self._smooth(u, f, 50, (0, 1))
            self._smooth(u, f, 50, (1, 0))
            return u
        self._smooth(u, f, self.sweeps, (0, 1))
        from .multigrid_kernels import prolong, restrict

        first = 3 - len(self.shape)
        sizes = [*[1] * first, *self.coarser.shape, *[1] * first, *self.factors]
        residual = (f - self.apply(u)).contiguous()
        coarse = f.new_empty(len(f), *self.coarser.shape)
        restrict(residual.view(-1), *sizes, coarse.view(-1))
        correction = self.coarser.cycle(coarse).contiguous()
        prolong(correction.view(-1), *sizes, self._bits(), u.view(-1))
        self._smooth(u, f, self.sweeps, (1, 0))
        return u

    def _bits(self) -> int:
        return sum(int(wraps) << (axis + 3 - len(self.shape)) for axis, wraps in enumerate(self.periodic))

    def _smooth(self, u: Tensor, f: Tensor, sweeps: int, order: tuple[int, int]) -> None:
        from .multigrid_kernels import smooth

        first = 3 - len(self.shape)
        arrays = [self.faces[0].view(-1)] * first + [k.view(-1) for k in self.faces]
        shared = [1] * first + [len(u) // len(k) for k in self.faces]
        active = sum(1 << axis for axis in range(first, 3))
        f = f.contiguous()
        if self._diagonal is not None:
            held = _repeated(self._diagonal, len(f))
            scale = torch.where(held > 0, 0.8 / torch.where(held > 0, held, 1.0), 0.0)
            for _ in range(2 * sweeps):
                u += scale * (f - self.apply(u))
            return
        for _ in range(sweeps):
            for color in order:
                smooth(
                    u.view(-1), f.view(-1), self.alpha.view(-1), *arrays, *[1] * first, *self.shape, len(u) // len(self.alpha), *shared,
                    active, self._bits(), color,
                )  # fmt: skip


def conjugate_gradients(
    apply: Any, precondition: Any, f: Tensor, tolerance: float, most: int, project: Any = None
) -> tuple[Tensor, Tensor, int]:
    """Flexible conjugate gradients for a symmetric matrix, every environment by itself.

    Args:
        apply: u -> A u.
        precondition: r -> about A^-1 r.
        f: right-hand side `[N, ...]`.
        tolerance: of the norm of the residual, as a part of that of f.
        most: iterations.
        project: takes the null space out of a vector, where there is one.

    Returns:
        u, whether each environment converged `[N]`, and the number of iterations.
    """

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).reshape(len(a), -1).sum(1)

    def wide(x: Tensor) -> Tensor:
        return x.view(-1, *[1] * (f.ndim - 1))

    u, r = torch.zeros_like(f), f if project is None else project(f)
    limit = tolerance * dot(r, r).sqrt()
    direction = old = torch.zeros_like(f)
    rho = f.new_ones(len(f))
    done = dot(r, r).sqrt() <= limit  # only where f is zero
    iterations = 0
    while iterations < most and not bool(done.all()):
        z = precondition(r)
        z = z if project is None else project(z)
        new = dot(z, r)
        beta = (new - dot(z, old)) / torch.where(rho == 0, 1.0, rho) if iterations else torch.zeros_like(rho)
        direction = z + wide(beta) * direction
        image = apply(direction)
        curvature = dot(direction, image)
        step = torch.where(done | (curvature == 0), 0.0, dot(direction, r) / torch.where(curvature == 0, 1.0, curvature))
        u = torch.where(wide(done), u, u + wide(step) * direction)
        old, r = r, torch.where(wide(done), r, r - wide(step) * image)
        r = r if project is None else project(r)
        rho = new
        done = done | (dot(r, r).sqrt() <= limit) | ~torch.isfinite(step)
        iterations += 1
    return u, dot(r, r).sqrt() <= limit, iterations


def solve_elliptic(
    source: Tensor,
    coefficient: Coefficient,
    domain: Domain,
    alpha: float | Tensor = 0.0,
    *,
    mean: Mean = "arithmetic",
    tolerance: float | None = None,
    most: int = 200,
) -> Tensor:
    """The u of alpha u - div(coefficient grad u) = source; differentiable once in source, coefficient, alpha and boundary values.

    Where nothing fixes the level of u (only periodic sides and such without a, alpha = 0) the mean of u over the cells inside is zero.

    Args:
        source: `[B, ..., *shape]`.
        coefficient: as `diffusion` takes it.
        domain: grid, sides and mask; outside the mask u is zero.
        alpha: a number, `[B]`, or `[B or 1, *shape]`, not negative.
        mean: how cells give faces.
        tolerance: of the residual's norm, as a part of that of the right-hand side; by default 1e-11 in f64, 1e-5 in f32.
        most: iterations.

    Raises:
        ModelError: if the problem is singular and the source does not integrate to what flows through the walls, or alpha is negative.
        StepError: if it does not converge, or is not finite.
    """
    domain.check("The source", source)
    if not bool(torch.isfinite(source).all()):
        raise ModelError("The source is not finite.")
    tolerance = (1e-5 if source.dtype == torch.float32 else 1e-11) if tolerance is None else tolerance
    d = domain.grid.dimension
    inside = domain.inside(source)
    with torch.no_grad():
        shift = torch.as_tensor(domain.spread("alpha", alpha, source), dtype=source.dtype, device=source.device)
        if bool((shift < 0).any()):
            raise ModelError(f"alpha is {float(shift.min()):g} at its least; it must not be negative.")
        right = source + diffusion(torch.zeros_like(source), coefficient, domain, mean=mean)
        if inside is not None:
            right = right * inside
        matrix = elliptic_multigrid(shift, coefficient, domain, source, mean)
        flat = right.reshape(-1, *right.shape[-d:])
        singular = domain.floating and not bool((shift != 0).any())

        def project(x: Tensor) -> Tensor:
            return x - centred_mean(x, inside)

        if singular:
            drift, size = centred_mean(flat, None), flat.abs().amax(tuple(range(1, d + 1)), keepdim=True)
            limit = 1e-3 if source.dtype == torch.float32 else 1e-8
            if bool((drift.abs() > limit * size).any()):
                raise ModelError(
                    f"Nothing fixes the level of u, and source and walls add {float(drift.abs().max()):.3g} on the mean, which nothing balances;\n"
                    "subtract the mean from the source, or give a side a Dirichlet condition."
                )
        u, ok, _ = conjugate_gradients(matrix.apply, matrix.cycle, flat, tolerance, most, project if singular else None)
        if singular:
            u = project(u)
        if not bool(ok.all()) or not bool(torch.isfinite(u).all()):
            raise StepError(f"Multigrid did not converge in {most} iterations; are the coefficients positive and the cells connected?")
        u = u.view(source.shape)
        u = u if inside is None else u * inside

    def residual(u: Tensor) -> Tensor:
        r = domain.spread("alpha", alpha, source) * u - diffusion(u, coefficient, domain, mean=mean) - source
        return r if inside is None else r * inside

    def adjoint(g: Tensor) -> Tensor:
        flat = g.reshape(-1, *g.shape[-d:])
        flat = flat if inside is None else flat * inside
        w, ok, _ = conjugate_gradients(matrix.apply, matrix.cycle, flat, tolerance, most, project if singular else None)
        if not bool(ok.all()):
            raise StepError(f"The adjoint did not converge in {most} iterations.")
        return (project(w) if singular else w).view(g.shape)

    status = torch.full((len(u),), int(Outcome.OK), dtype=torch.int32)
    return attach(u, residual, status, adjoint)


def elliptic_multigrid(
    alpha: float | Tensor, coefficient: Coefficient, domain: Domain, field: Tensor, mean: Mean = "arithmetic"
) -> Multigrid:
    """The hierarchy for alpha - div(coefficient grad) on fields like `field` `[B, ..., *shape]`; alpha is spread already."""
    with torch.no_grad():
        faces, factor = on_faces(coefficient, domain, field, mean)
        factor = torch.as_tensor(factor, dtype=field.dtype, device=field.device)
        lead = field.shape[: field.ndim - domain.grid.dimension]
        alpha = torch.as_tensor(alpha, dtype=field.dtype, device=field.device)

        def flat(x: Tensor, shape: tuple[int, ...]) -> Tensor:
            x = x.view(*[1] * (field.ndim - x.ndim), *x.shape)
            count = lead if any(n > 1 for n in x.shape[: len(lead)]) else [1] * len(lead)
            return x.expand(*count, *shape).reshape(-1, *shape)

        shaped = [flat(k * factor, domain.grid.face_shape(axis)) for axis, k in enumerate(conductances(faces, domain, field))]
        return Multigrid(flat(alpha, domain.grid.shape), shaped, domain.periodic)


def conductances(faces: Sequence[Any], domain: Domain, field: Tensor) -> list[Tensor]:
    """Conductances `[..., *face_shape]` [1/s]: coefficients over h^2, closed by the mask, those of walls times the w of `side_factors`.

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


def stencil_sum(u: Tensor, periodic: tuple[bool, ...], faces: Sequence[Tensor]) -> Tensor:
    """L(K) u, the sum over the faces of every cell of conductance times difference; beyond walls the field is zero.

    Args:
        u: `[N, *shape]`.
        periodic: which axes are; there the last face is the first.
        faces: K of every axis `[M, *face_shape]`, M a divisor of N.
    """
    from .kernels import diffuse

    u = u.contiguous()
    first = 3 - len(periodic)
    arrays = [u.view(-1)] * first + [k.contiguous().view(-1) for k in faces]
    shared = [1] * first + [len(u) // len(k) for k in faces]
    wrap = sum(int(wraps) << axis for axis, wraps in enumerate(periodic, first))
    out = torch.empty_like(u)
    active = sum(1 << axis for axis in range(first, 3))
    diffuse(u.view(-1), *arrays, *[1] * first, *u.shape[1:], *shared, active, wrap, out.view(-1))
    return out


def centred_mean(x: Tensor, inside: Tensor | None) -> Tensor:
    """The mean over the cells inside, as what is to be taken off `x` `[N, *shape]`; zero outside."""
    axes = tuple(range(1, x.ndim))
    if inside is None:
        return x.mean(axes, keepdim=True)
    return (x * inside).sum(axes, keepdim=True) / inside.sum() * inside


def _means(x: Tensor, factors: Sequence[int]) -> Tensor:
    """The means over blocks of `factors` cells."""
    shape = [len(x)]
    for n, s in zip(x.shape[1:], factors, strict=True):
        shape += [n // s, s]
    return x.reshape(shape).mean(tuple(range(2, len(shape), 2)))


def _repeated(x: Tensor, count: int) -> Tensor:
    return x if len(x) in (1, count) else x.repeat_interleave(count // len(x), 0)
