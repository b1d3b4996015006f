"""Uniform cell-centred grids in one to three dimensions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import ModelError


@dataclasses.dataclass(frozen=True)
class Grid:
    """A box of equal cells; unknowns lie at the centres of cells, fluxes on their faces.

    Args:
        shape: cells along every axis, at least 2 each.
        lower: the corner with the smallest coordinates [m].
        upper: the opposite corner [m].

    Raises:
        ModelError: if there are not one to three axes, an axis has fewer than two cells, or the box has no volume.
    """

    shape: tuple[int, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __init__(self, shape: Sequence[int] | int, lower: Sequence[float] | float = 0.0, upper: Sequence[float] | float = 1.0) -> None:
        cells = (shape,) if isinstance(shape, int) else tuple(shape)
        if not 1 <= len(cells) <= 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < 2 for n in cells):
            raise ModelError(f"The shape of the grid is {cells}; give one to three whole numbers of cells, at least 2 each.")
        corners = []
        for name, corner in (("lower", lower), ("upper", upper)):
            place = (float(corner),) * len(cells) if isinstance(corner, int | float) else tuple(float(x) for x in corner)
            if len(place) != len(cells) or not all(map(math.isfinite, place)):
                raise ModelError(f"The {name} corner of the grid is {place}; give {len(cells)} finite numbers.")
            corners.append(place)
        if any(a >= b for a, b in zip(*corners, strict=True)):
            raise ModelError(f"The grid reaches from {corners[0]} to {corners[1]}; upper must exceed lower along every axis.")
        object.__setattr__(self, "shape", cells)
        object.__setattr__(self, "lower", corners[0])
        object.__setattr__(self, "upper", corners[1])

    @property
    def dimension(self) -> int:
        """The number of axes D."""
        return len(self.shape)

    @property
    def spacing(self) -> tuple[float, ...]:
        """The width of a cell along every axis [m]."""
        return tuple((b - a) / n for a, b, n in zip(self.lower, self.upper, self.shape, strict=True))

    @property
    def cell_volume(self) -> float:
        """Length, area or volume of a cell [m^D]."""
        return math.prod(self.spacing)

    def face_shape(self, axis: int) -> tuple[int, ...]:
        """The shape of an array with one entry for every face across `axis`, walls included."""
        return tuple(n + (a == axis) for a, n in enumerate(self.shape))

    def coordinates(self, axis: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """The coordinate of the cell centres along one axis `[n]` [m]."""
        h = self.spacing[axis]
        return self.lower[axis] + h * (torch.arange(self.shape[axis], dtype=dtype) + 0.5)

    def centers(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
        """The coordinates of all cell centres, one array `[*shape]` for every axis [m]."""
        return torch.meshgrid(*(self.coordinates(axis, dtype) for axis in range(self.dimension)), indexing="ij")

    def face_centers(self, axis: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
        """The coordinates of the centres of all faces across `axis`, one array `[*face_shape(axis)]` for every coordinate [m]."""
        lines = [self.coordinates(a, dtype) for a in range(self.dimension)]
        lines[axis] = self.lower[axis] + self.spacing[axis] * torch.arange(self.shape[axis] + 1, dtype=dtype)
        return torch.meshgrid(*lines, indexing="ij")
