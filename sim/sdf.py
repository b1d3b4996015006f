"""Signed distances of bodies: primitives, what is put together from them, grids of values, meshes; and filling bodies with points.

Distances are in metres and negative inside; all are differentiable torch functions of the points.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import ModelError
from .sdf_base import Sdf, Vector, finite, positive, vector
from .sdf_grid import GridSdf
from .sdf_shapes import Box, Capsule, Cylinder, Difference, Moved, Plane, Sphere, Union

__all__ = ["Box", "Capsule", "Cylinder", "Difference", "GridSdf", "Moved", "Plane", "Sdf", "Sphere", "Union", "fill"]

MAX_LATTICE = 50_000_000
"""The most lattice points that `fill` tries."""
_CHUNK = 2**20


def fill(sdf: Sdf, spacing: float, *, lower: Vector | None = None, phase: float = 0.5, dtype: torch.dtype = torch.float64) -> Tensor:
    """The points of a regular lattice that lie inside a body, the last coordinate running fastest; the same every time.

    Args:
        sdf: the body.
        spacing: of the lattice [m].
        lower: a corner of the lattice's cells [m] `[D]`, such as the corner of a solver's grid; default the lower corner of the bounds.
        phase: where in its cell each point lies, from 0 at its lower corner to 1; 0.5 is the middle.
        dtype: of the result.

    Returns:
        Points [m] `[N, D]` at `lower + (index + phase) * spacing` with a negative value.

    Raises:
        ModelError: if the spacing is not positive, so small that the lattice has over 50 million points, or so large that none is inside.
    """
    positive("spacing", spacing)
    if not 0.0 <= finite("phase", phase) <= 1.0:
        raise ModelError(f"phase is {phase}; it must lie between 0 and 1.")
    low, high = sdf.bounds()
    corner = low if lower is None else vector("lower", lower)
    if len(corner) != sdf.dimension:
        raise ModelError(f"lower has {len(corner)} components; the body has {sdf.dimension}.")
    # Rounded outwards, so that rounding errors do not decide whether a lattice plane is tried.
    first = [math.floor((float(a) - float(c)) / spacing - phase) for a, c in zip(low, corner, strict=True)]
    last = [math.ceil((float(b) - float(c)) / spacing - phase) for b, c in zip(high, corner, strict=True)]
    if math.prod(b - a + 1 for a, b in zip(first, last, strict=True)) > MAX_LATTICE:
        raise ModelError(f"A spacing of {spacing} m makes a lattice of over {MAX_LATTICE} points here; use a coarser one.")
    axes = [c + (torch.arange(a, b + 1, dtype=torch.float64) + phase) * spacing for a, b, c in zip(first, last, corner, strict=True)]
    rows = max(1, _CHUNK // math.prod(len(axis) for axis in axes[1:]))
    with torch.no_grad():
        candidates = (torch.cartesian_prod(part, *axes[1:]) for part in axes[0].split(rows))
        found = torch.cat([points[sdf.value(points) < 0] for points in candidates])
    if not len(found):
        raise ModelError(
            f"No point of a lattice of {spacing} m lies inside the body of {[round(float(b - a), 6) for a, b in zip(low, high)]} m."
        )
    return found.to(dtype)
