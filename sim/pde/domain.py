"""Where an equation holds: a grid, a condition on each of its sides, and the cells that are inside.

Fields are tensors `[B, ..., *shape]`: the batch, any axes (times, components), and the cells. A parameter is a number, a scalar tensor,
`[B]`, or `[B, *shape]` or `[1, *shape]` (with the shape of the faces where it lives there); it is the same along the axes in between.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError, ShapeError
from .boundary import Condition, Periodic, Robin
from .grid import Grid

Sides = Condition | Sequence[Condition | tuple[Condition, Condition]]
"""One condition for all sides; or one for each axis, or a pair (lower, upper) for each axis."""


class Domain:
    """A grid with its boundary conditions.

    Args:
        grid: the cells.
        sides: see `Sides`.
        mask: bool `[*shape]`, true in the cells where the equation holds; nothing flows through the faces of the others. None: all.

    Raises:
        ModelError: if a side is no condition, one side of an axis alone is periodic, a side's condition is singular on this grid, or the
            mask leaves no cell.
        ShapeError: if the mask is not bool of the grid's shape.
    """

    def __init__(self, grid: Grid, sides: Sides, mask: Tensor | None = None) -> None:
        self.grid = grid
        per_axis = [sides] * grid.dimension if isinstance(sides, Condition) else list(sides)
        if len(per_axis) != grid.dimension:
            raise ModelError(f"There are boundary conditions for {len(per_axis)} axes; the grid has {grid.dimension}.")
        self.sides = tuple((side, side) if isinstance(side, Condition) else tuple(side) for side in per_axis)
        for axis, pair in enumerate(self.sides):
            if len(pair) != 2 or not all(isinstance(side, Condition) for side in pair):
                raise ModelError(f"Axis {axis} has the boundary conditions {pair!r}; give one condition, or a pair (lower, upper).")
            if isinstance(pair[0], Periodic) != isinstance(pair[1], Periodic):
                raise ModelError(f"Only one side of axis {axis} is periodic; both must be, or none.")
            for side in pair:
                if isinstance(side, Robin) and bool((torch.as_tensor(side.a * (grid.spacing[axis] / 2) + side.b) == 0).any()):
                    raise ModelError(f"{side} on axis {axis} is singular on this grid, since a h/2 + b = 0; change the number of cells.")
        if mask is not None:
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != grid.shape:
                raise ShapeError(f"The mask must be a bool tensor of shape {grid.shape}.")
            if not bool(mask.any()):
                raise ModelError("The mask leaves no cell; it must be true where the equation holds.")
            if bool(mask.all()):
                mask = None
        self.mask = mask
        self._kept: dict[Any, Any] = {}

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes are periodic."""
        return tuple(isinstance(lower, Periodic) for lower, _ in self.sides)

    @property
    def floating(self) -> bool:
        """Whether no side fixes the level of u: all are periodic or have a = 0."""
        return not any(isinstance(s, Robin) and bool((torch.as_tensor(s.a) != 0).any()) for pair in self.sides for s in pair)

    def check(self, name: str, field: Tensor) -> Tensor:
        """`field`, after a check that it is a real tensor `[B, ..., *shape]`.

        Raises:
            ShapeError: if it is not.
        """
        d = self.grid.dimension
        if not isinstance(field, Tensor) or not field.is_floating_point():
            raise ShapeError(f"{name} must be a tensor of real numbers [B, {', '.join(map(str, self.grid.shape))}].")
        if field.ndim <= d or tuple(field.shape[-d:]) != self.grid.shape:
            raise ShapeError(f"{name} has shape {tuple(field.shape)}; it must be [B, {', '.join(map(str, self.grid.shape))}].")
        return field

    def spread(self, name: str, value: float | Tensor, field: Tensor, shape: Sequence[int] | None = None) -> float | Tensor:
        """A parameter so that it broadcasts against `field`.

        Args:
            name: for the message.
            value: a number or tensor as the module says; a tensor with as many axes as the field is left as it is.
            field: `[B, ..., *shape]`.
            shape: of the entries behind the batch axis, by default that of the cells.

        Raises:
            ShapeError: if the value has another shape, dtype or device.
        """
        if not isinstance(value, Tensor):
            return float(value)
        if value.is_floating_point() and (value.dtype != field.dtype or value.device != field.device):
            raise ShapeError(f"{name} is {value.dtype} on {value.device}; the field is {field.dtype} on {field.device}.")
        shape = self.grid.shape if shape is None else tuple(shape)
        d, between = len(shape), field.ndim - self.grid.dimension - 1
        if value.ndim == 0:
            return value
        if value.shape[0] in (1, field.shape[0]):
            if value.ndim == 1:
                return value.reshape(-1, *[1] * (between + d))
            if value.ndim == 1 + d and tuple(value.shape[1:]) == shape:
                return value.reshape(-1, *[1] * between, *shape)
            if value.ndim == field.ndim and tuple(value.shape[-d:]) == shape:
                return value
        raise ShapeError(
            f"{name} has shape {tuple(value.shape)}; it must be a number, [{field.shape[0]}], or "
            f"[{field.shape[0]} or 1, {', '.join(map(str, shape))}]."
        )

    def side_shape(self, axis: int) -> tuple[int, ...]:
        """The shape of an array with one entry for every face of a side across `axis`."""
        return tuple(1 if a == axis else n for a, n in enumerate(self.grid.shape))

    def side_factors(self, axis: int, end: int, field: Tensor, time: Any = 0.0) -> tuple[Any, Any]:
        """`(w, s)` such that the outward derivative on a side, times the width of a cell, is `s - w u` with u in the inner cell.

        Both broadcast against a slice of `field` of one cell along the axis.
        """
        side, h = self.sides[axis][end], self.grid.spacing[axis]
        assert isinstance(side, Robin)
        name, shape = f"The condition {type(side).__name__} of axis {axis}", self.side_shape(axis)
        a, b = (self.spread(name, value, field, shape) for value in (side.a, side.b))
        c = side.c(time) if callable(side.c) else self.spread(name, side.c, field, shape)
        below = a * (h / 2) + b
        return a * h / below, c * h / below

    @functools.cached_property
    def plain_sides(self) -> bool:
        """Whether the factors a and b of all sides are numbers, so that what follows from them may be kept."""
        return not any(isinstance(s, Robin) and (isinstance(s.a, Tensor) or isinstance(s.b, Tensor)) for pair in self.sides for s in pair)

    def inside(self, field: Tensor) -> Tensor | None:
        """The mask as numbers 1 and 0 `[*shape]` of the field's dtype, or None."""
        if self.mask is None:
            return None
        return self.keep(("inside", field.dtype, field.device), lambda: self.mask.to(field))  # type: ignore[union-attr]

    def inside_only(self, field: Tensor) -> Tensor:
        """`field`, with zeros outside the mask."""
        return field if self.mask is None else torch.where(self.mask, field, 0.0)

    def open_faces(self, axis: int, field: Tensor) -> Tensor | None:
        """1 on the faces `[*face_shape(axis)]` whose cells on both sides, or whose one cell at a wall, are inside, else 0; None: all are."""
        if self.mask is None:
            return None

        def make() -> Tensor:
            inside = self.mask.to(field)  # type: ignore[union-attr]
            first, last = inside.narrow(axis, 0, 1), inside.narrow(axis, self.grid.shape[axis] - 1, 1)
            wrapped = self.periodic[axis]
            return torch.cat([last if wrapped else first, inside], axis) * torch.cat([inside, first if wrapped else last], axis)

        return self.keep(("faces", axis, field.dtype, field.device), make)

    def keep(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returned when it was first asked for `key`; for arrays that follow from the domain alone."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]
