"""Memory that is used again."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Memory:
    """Keeps large arrays that nobody reads any more, by name, for the next of that name.

    The system hands out fresh memory page by page, at the first touch, and clears it; a recorded segment would pay for that in every substep.
    """

    def __init__(self) -> None:
        self._free: dict[str, list[Tensor]] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """An array of the dtype and on the device of `like`, with any content."""
        size = math.prod(shape)
        free = self._free.setdefault(name, [])
        flat = free.pop() if free else like.new_empty(0)
        if flat.numel() < size:
            flat = torch.empty(size + size // 4, dtype=like.dtype, device=like.device)  # what is never touched costs nothing
        return flat[:size].view(shape)

    def give(self, **arrays: Tensor) -> None:
        """Takes back what `take` gave, by name."""
        for name, array in arrays.items():
            self._free[name].append(array._base if array._base is not None else array)
