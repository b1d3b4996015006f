"""Jacobians of residuals with a stencil, found by colouring: rows whose stencils do not overlap share one backward pass.

Curtis, Powell and Reid 1974, "On the estimation of sparse Jacobian matrices", by rows: with ones in all cells of a colour, J^T gives at every cell
the entry of the one row of that colour within reach. It works for any residual that autograd can differentiate once.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError, ShapeError

Residual = Callable[[Tensor], Tensor]


class Pullback:
    """v -> J^T v of a residual at `u` `[B, ...]`.

    Raises:
        ShapeError: if the residual is not of the shape of u.
        ModelError: if autograd cannot differentiate it.
    """

    def __init__(self, residual: Residual, u: Tensor) -> None:
        with torch.enable_grad():
            self.at = u.detach().requires_grad_()
            self.value = residual(self.at)
        if self.value.shape != u.shape:
            raise ShapeError(f"The residual has shape {tuple(self.value.shape)}; it must be that of the unknown, {tuple(u.shape)}.")
        if not self.value.requires_grad:
            raise ModelError("The residual has no derivative in the unknown; write it in differentiable torch operations of it.")

    def __call__(self, v: Tensor) -> Tensor:
        """J^T v `[B, ...]`."""
        (found,) = torch.autograd.grad(self.value, self.at, v, retain_graph=True, allow_unused=True)
        return torch.zeros_like(v) if found is None else found


class Stencil:
    """Where the entries of a Jacobian lie, and which rows share a colour.

    Args:
        shape: of the cells.
        periodic: which axes are.
        reach: how many cells along every axis a row looks.
        components: unknowns of every cell, the axis `[B, components, *shape]`; 1 for fields `[B, *shape]`.
    """

    def __init__(self, shape: tuple[int, ...], periodic: tuple[bool, ...], reach: int, components: int = 1) -> None:
        self.shape, self.components, self.cells = shape, components, math.prod(shape)
        lines = [_line(n, wraps, reach) for n, wraps in zip(shape, periodic, strict=True)]
        color = np.zeros((), dtype=np.int64)
        near = np.zeros((1, 1), dtype=np.int64)
        for n, (colors, neighbours) in zip(shape, lines, strict=True):
            color = color[..., None] * (int(colors.max()) + 1) + colors
            both = near[:, None, :, None] * n + neighbours[None, :, None, :]
            both = np.where((near[:, None, :, None] < 0) | (neighbours[None, :, None, :] < 0), -1, both)
            near = both.reshape(len(near) * n, -1)
        rows, columns = [], []
        self.seeds: list[Tensor] = []
        """For every colour its rows as a mask of the cells."""
        self.gathers: list[Tensor] = []
        """For every colour the cells `[entries]` at which the entries of its rows are found, the same for every component."""
        for c in np.unique(color):
            members = np.flatnonzero(color.ravel() == c)
            row = np.repeat(members, near.shape[1])
            column = near[members].ravel()
            row, column = row[column >= 0], column[column >= 0]
            self.seeds.append(torch.from_numpy(color == c))
            self.gathers.append(torch.from_numpy(column))
            for one, other in itertools.product(range(components), repeat=2):
                rows.append(row + one * self.cells)
                columns.append(column + other * self.cells)
        self.rows, self.columns = np.concatenate(rows), np.concatenate(columns)

    def entries(self, pullback: Pullback) -> Tensor:
        """The values `[B, entries]` at `rows` and `columns`."""
        u = pullback.at
        found = []
        for seed, gather in zip(self.seeds, self.gathers, strict=True):
            for one in range(self.components):
                v = torch.zeros(len(u), self.components, *self.shape, dtype=u.dtype, device=u.device)
                v[:, one] = seed.to(v)
                g = pullback(v.view(u.shape)).reshape(len(u), self.components, self.cells)
                found.append(g[:, :, gather].reshape(len(u), -1))
        return torch.cat(found, 1)

    @functools.cached_property
    def diagonals(self) -> tuple[list[Tensor], list[Tensor]]:
        """Where in `entries` the lower, middle and upper diagonal of a tridiagonal matrix lie, by rows `[cells]`; and those of its transpose."""
        found: tuple[list[Tensor], list[Tensor]] = ([], [])
        for into, one, other in ((found[0], self.rows, self.columns), (found[1], self.columns, self.rows)):
            for d in (-1, 0, 1):
                index = np.full(self.cells, len(self.rows))
                chosen = np.flatnonzero(other - one == d)
                index[one[chosen]] = chosen
                into.append(torch.from_numpy(index))
        return found

    def check(self, pullback: Pullback, values: Tensor) -> None:
        """Raises ModelError if rows look further than the reach, since their entries are then wrong."""
        u = pullback.at
        draw = torch.Generator().manual_seed(7)
        w = torch.randn(u.shape, generator=draw, dtype=torch.float64).to(u)
        exact = pullback(w).reshape(len(u), -1)
        flat = w.reshape(len(u), -1)
        rows, columns = torch.from_numpy(self.rows), torch.from_numpy(self.columns)
        assembled = torch.zeros_like(flat).index_add_(1, columns, values * flat[:, rows])
        tolerance = 1e-3 if u.dtype == torch.float32 else 1e-9
        finite = torch.isfinite(exact).all(1) & torch.isfinite(assembled).all(1)
        size = values.abs().amax(1, keepdim=True) * flat.abs().max()
        if bool(((exact - assembled).abs() > tolerance * size)[finite].any()):
            raise ModelError("The residual of a cell looks at cells further away than the equation's `reach` says; raise it.")


@functools.lru_cache(maxsize=16)
def stencil(shape: tuple[int, ...], periodic: tuple[bool, ...], reach: int, components: int = 1) -> Stencil:
    """The stencil with these arguments, kept."""
    return Stencil(shape, periodic, reach, components)


def _line(n: int, wraps: bool, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: the colour of every place `[n]`, and the places within reach `[n, K]`, -1 for none."""
    width = 2 * reach + 1
    at = np.arange(n)
    if not wraps or n <= width:
        near = at[:, None] + np.arange(-reach, reach + 1)
        if wraps:
            return at, np.tile(at, (n, 1))
        return at % width, np.where((near < 0) | (near >= n), -1, near)
    full = n - n % width
    color = np.where(at < full, at % width, width + at - full)  # what does not fit the period gets colours of its own
    return color, (at[:, None] + np.arange(-reach, reach + 1)) % n
