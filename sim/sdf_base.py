"""What every signed distance has in common, and the checks of its parameters."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ModelError, ShapeError

Number = float | Tensor
Vector = Sequence[float] | Tensor


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
        tracked = torch.is_grad_enabled() and (points.requires_grad or self.value(points.reshape(-1, points.shape[-1])[:0]).requires_grad)
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
    return torch.as_tensor(value).detach().to("cpu", torch.float64)


def finite(name: str, value: Number) -> float:
    """The value of a finite number.

    Raises:
        ModelError: naming the parameter if it is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{name} must be one number, not {type(value).__name__}.") from error
    if not math.isfinite(number):
        raise ModelError(f"{name} is {number}; it must be finite.")
    return number


def positive(name: str, value: Number) -> None:
    """Passes a positive finite number.

    Raises:
        ModelError: naming the parameter if it is none.
    """
    if finite(name, value) <= 0:
        raise ModelError(f"{name} is {float(value)}; it must be positive.")


def vector(name: str, value: Vector, *, positive: bool = False) -> Tensor:
    """A finite, perhaps positive vector `[D]`, D = 2 or 3, as float64.

    Raises:
        ModelError: naming the parameter if it is none.
    """
    try:
        numbers = double(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{name} must be a list of numbers, not {type(value).__name__}.") from error
    if numbers.ndim != 1 or len(numbers) not in (2, 3):
        raise ModelError(f"{name} must have 2 or 3 components, not shape {list(numbers.shape)}.")
    if not bool(numbers.isfinite().all()) or (positive and bool((numbers <= 0).any())):
        raise ModelError(f"{name} is {numbers.tolist()}; it must be {'positive and ' if positive else ''}finite.")
    return numbers
