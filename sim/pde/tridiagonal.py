"""Batches of tridiagonal systems by Thomas' algorithm."""

from __future__ import annotations

import torch
from torch import Tensor

from ..runtime import start


def solve_tridiagonal(lower: Tensor, diagonal: Tensor, upper: Tensor, right: Tensor) -> Tensor:
    """The x of lower_i x_(i-1) + diagonal_i x_i + upper_i x_(i+1) = right_i, without pivoting.

    Args:
        lower: `[B, n]`, its first column unused.
        diagonal: `[B, n]`.
        upper: `[B, n]`, its last column unused.
        right: `[B, n]`.

    Returns:
        `[B, n]`; not finite where a pivot is zero.
    """
    from .tridiagonal_kernels import thomas

    start(right.device)
    lower, diagonal, upper, right = (x.detach().contiguous() for x in (lower, diagonal, upper, right))
    x, work = torch.empty_like(right), torch.empty_like(right)
    thomas(lower, diagonal, upper, right, work, x)
    return x
