"""What every signed distance has in common, and the checks of its parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError, ShapeError

Number = float | Tensor
Vector = Sequence[float] | Tensor

LARGEST = 1e30
"""No length is beyond this [m]: squares must not overflow."""


class Sdf(ABC):
    """A body given by the signed distance to its surface. Parameters may be tensors that require gradients."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """D, 2 or 3."""

    @abstractmethod
    def value(self, points: Tensor) -> Tensor:
        """Signed distance [m] `[...]` at `points` [m] `[..., D]`, in their dtype; differentiable.

        Raises:
            ShapeError: if the points are no float tensor `[..., D]`.
        """

    @abstractmethod
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The lower and the upper corner [m], float64 `[D]` each, of a finite box that holds the surface."""

    def gradient(self, points: Tensor) -> Tensor:
        """The derivative of `value` `[..., D]`: outside and on the surface the outward normal; itself differentiable.

        Its length is 1 wherever one surface point is the closest. Where several are, it belongs to one of them, or is zero by symmetry.
        """
        none = self._checked(points).reshape(-1, self.dimension)[:0]
        tracked = torch.is_grad_enabled() and (points.requires_grad or self.value(none).requires_grad)
        with torch.enable_grad():
            variable = points if points.requires_grad else points.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.value(variable).sum(), variable, create_graph=tracked)
        return gradient

    def _checked(self, points: Tensor) -> Tensor:
        if not isinstance(points, Tensor) or not points.is_floating_point() or points.ndim == 0 or points.shape[-1] != self.dimension:
            got = f"{points.dtype} {list(points.shape)}" if isinstance(points, Tensor) else type(points).__name__
            raise ShapeError(f"{type(self).__name__} wants points as a float tensor [..., {self.dimension}], not {got}.")
        return points


def like(value: object, points: Tensor) -> Tensor:
    """A parameter in the dtype and on the device of `points`, still in the graph."""
    return torch.as_tensor(value, dtype=points.dtype, device=points.device)


def double(value: object) -> Tensor:
    """A parameter as a float64 tensor on the CPU, cut from the graph."""
    return value.detach().to("cpu", torch.float64) if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.float64)


def numbers(name: str, value: object) -> Tensor:
    """A parameter's numbers, all finite, as `double` gives them.

    Raises:
        ModelError: naming the parameter if it is anything else, or a list of tensors that `like` would cut from the graph.
    """
    if not isinstance(value, Tensor | np.ndarray | Sequence | float | int) or isinstance(value, str):
        raise ModelError(f"{name} must be numbers, not {type(value).__name__}.")
    if isinstance(value, Sequence) and any(isinstance(part, Tensor) and part.requires_grad for part in value):
        raise ModelError(f"{name} is a list of tensors that require gradients; make it one tensor with torch.stack.")
    try:
        found = double(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{name} must be numbers: {' '.join(str(error).split())}.") from error
    if not bool((found.abs() <= LARGEST).all()):
        raise ModelError(f"{name} is {found.tolist()}; it must be finite, and at most {LARGEST:.0e}.")
    return found


def finite(name: str, value: Number) -> float:
    """The value of a finite number.

    Raises:
        ModelError: naming the parameter if it is none.
    """
    found = numbers(name, value)
    if found.ndim:
        raise ModelError(f"{name} must be one number, not of shape {list(found.shape)}.")
    return float(found)


def positive(name: str, value: Number) -> None:
    """Passes a positive finite number.

    Raises:
        ModelError: naming the parameter if it is none.
    """
    if finite(name, value) <= 0:
        raise ModelError(f"{name} is {finite(name, value)}; it must be positive.")


def vector(name: str, value: Vector) -> Tensor:
    """A finite vector `[D]`, D = 2 or 3, as float64.

    Raises:
        ModelError: naming the parameter if it is none.
    """
    found = numbers(name, value)
    if found.ndim != 1 or len(found) not in (2, 3):
        raise ModelError(f"{name} must have 2 or 3 components, not shape {list(found.shape)}.")
    return found
