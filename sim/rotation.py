"""Rotations: unit quaternions in three dimensions, unit complex numbers in two."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_matrix(rotation: Tensor) -> Tensor:
    """Matrices [..., D, D] of unit quaternions (w, x, y, z) [..., 4] or of (cos, sin) [..., 2]."""
    if rotation.shape[-1] == 2:
        c, s = rotation.unbind(-1)
        return torch.stack([c, -s, s, c], -1).unflatten(-1, (2, 2))
    w, x, y, z = rotation.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def turned(rotation: Tensor, angular: Tensor, time: Tensor) -> Tensor:
    """`rotation` after turning at a constant angular velocity, exactly.

    Args:
        rotation: [..., 4] or [..., 2].
        angular: [..., 3] or [..., 1] [rad/s], in world axes.
        time: anything that broadcasts with `angular[..., :1]` [s].

    The half angle enters by sinc, whose derivative exists at rest.
    """
    if rotation.shape[-1] == 2:
        angle = (angular * time)[..., 0]
        c, s = rotation.unbind(-1)
        return torch.stack([c * angle.cos() - s * angle.sin(), s * angle.cos() + c * angle.sin()], -1)
    half = angular * time / 2
    square = (half * half).sum(-1, keepdim=True)
    small = square < 1e-4
    # Series where the angle is small: sqrt has no derivative at zero, and these terms leave 1e-19.
    safe = torch.where(small, torch.ones_like(square), square).sqrt()
    sinc = torch.where(small, 1 - square / 6 * (1 - square / 20 * (1 - square / 42)), safe.sin() / safe)
    cosine = torch.where(small, 1 - square / 2 * (1 - square / 12 * (1 - square / 30 * (1 - square / 56))), safe.cos())
    w, v = rotation[..., :1], rotation[..., 1:]
    u = half * sinc
    w, v, u = torch.broadcast_tensors(w, v, u)[0][..., :1], torch.broadcast_tensors(v, u)[0], torch.broadcast_tensors(v, u)[1]
    return torch.cat([cosine * w - (u * v).sum(-1, keepdim=True), cosine * v + w * u + torch.linalg.cross(u, v)], -1)
