"""Boundary conditions: what holds on the faces of one side of a grid.

All but `Periodic` say a u + b du/dn = c on the face, n pointing outwards. With the inner cell u_i half a cell away from the face, the
derivative at the face is G = (c - a u_i) / (a h/2 + b), of second order; the ghost cell is u_i + h G.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError

Value = float | Tensor | Callable[[Any], Any]
"""A number; a tensor: a scalar, `[B]`, or `[B, *face]` or `[1, *face]` with one entry along the axis across; or a function of time.

The function takes the time [s] as a number or as a tensor that broadcasts against the field, and returns what broadcasts against it too.
"""


class Periodic:
    """The opposite side is the neighbour. Both sides of an axis are periodic or none is."""

    def __repr__(self) -> str:
        return "Periodic()"


class Robin:
    """a u + b du/dn = c on the faces.

    Args:
        a: factor of the value, a number or tensor as in `Value`.
        b: factor of the outward derivative [m].
        c: what they add up to; it may be a function of time.

    Raises:
        ModelError: if a value is not finite, or a and b are both zero.
    """

    def __init__(self, a: float | Tensor, b: float | Tensor, c: Value) -> None:
        for name, value in (("a", a), ("b", b), ("c", c)):
            if not callable(value) and not bool(torch.isfinite(torch.as_tensor(value)).all()):
                raise ModelError(f"{type(self).__name__}: {name} is not finite.")
        if bool(((torch.as_tensor(a) == 0) & (torch.as_tensor(b) == 0)).any()):
            raise ModelError("Robin: a and b are both zero, so that nothing is said about u.")
        self.a, self.b, self.c = a, b, c

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.a}, {self.b}, {self.c})"


class Dirichlet(Robin):
    """u = value on the faces."""

    def __init__(self, value: Value) -> None:
        super().__init__(1.0, 0.0, value)


class Neumann(Robin):
    """du/dn = slope on the faces, outwards."""

    def __init__(self, slope: Value = 0.0) -> None:
        super().__init__(0.0, 1.0, slope)


Condition = Periodic | Robin
"""What may hold on a side."""
