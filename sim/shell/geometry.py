"""What the energies of a sheet share: tables of unknowns, sums over elements, and the angle between the two sides of an edge, with torch.

An edge runs from node i to node j; its first side is the triangle (i, j, k), its second (j, i, l), both wound alike. The angle theta in
(-pi, pi) turns the first normal into the second; it is positive where the sheet is convex along its normals.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..materials.base import Parameter


def coordinates(nodes: Tensor) -> Tensor:
    """The unknowns `[n, 3 k]` that are the coordinates of `nodes` `[n, k]`; -1 where there is no node."""
    table = 3 * nodes[..., None] + torch.arange(3)
    return torch.where(nodes[..., None] < 0, -1, table).reshape(len(nodes), -1).contiguous()


def points(u: Tensor) -> Tensor:
    """The nodes at the start of a vector of unknowns as rows `[., 3]`; unknowns of other kinds make meaningless rows after them."""
    return u[: len(u) // 3 * 3].reshape(-1, 3)


def scatter(values: Tensor, table: Tensor, unknowns: int) -> Tensor:
    """The sum of `values` `[n, k]` into a vector `[unknowns]` at the places that `table` `[n, k]` gives; -1 is nowhere."""
    total = torch.zeros(unknowns + 1, dtype=values.dtype)  # what belongs nowhere falls into the last place, which -1 names
    total.index_add_(0, torch.where(table < 0, unknowns, table).flatten(), values.flatten())
    return total[:unknowns]


def over_faces(value: Parameter, like: Tensor) -> Tensor:
    """A parameter, one number or one for each environment `[B]`, so that it broadcasts over elements `[B, n]`."""
    tensor = torch.as_tensor(value, dtype=like.dtype)
    return tensor[..., None] if tensor.ndim else tensor


def edge_angle(e: Tensor, f1: Tensor, f2: Tensor) -> Tensor:
    """The angle [rad] between the sides of an edge e = x_j - x_i, with f1 = x_k - x_i and f2 = x_l - x_i, all `[..., 3]`."""
    N1, N2 = torch.linalg.cross(e, f1), torch.linalg.cross(f2, e)
    sine = (torch.linalg.cross(N1, N2) * e).sum(-1) / torch.linalg.vector_norm(e, dim=-1)
    return torch.atan2(sine, (N1 * N2).sum(-1))


def edge_angle_rate(e: Tensor, f1: Tensor, f2: Tensor, de: Tensor, df1: Tensor, df2: Tensor) -> Tensor:
    """The derivative of `edge_angle` along de, df1, df2: how fast each side turns about the edge."""
    length = torch.linalg.vector_norm(e, dim=-1)
    total = torch.zeros_like(length)
    for N, f, df in ((torch.linalg.cross(e, f1), f1, df1), (torch.linalg.cross(f2, e), f2, df2)):
        c = ((f * e).sum(-1) / length**2)[..., None]
        total = total - length * (N * (df - c * de)).sum(-1) / (N * N).sum(-1)
    return total


def hardened_slip(t: Tensor, flows: Tensor, yield_curvature: Tensor, hardening: Tensor, alpha: Tensor) -> Tensor:
    """How much a bending t flows, (t - k_y) / (1 + H) with k_y = yield_curvature + H alpha (all [1/m], H without unit), where it does.

    What has just flowed lies on the yield surface, where rounding decides whether it flows. Both answers give the same derivative of what
    follows, but only if all who ask get the same one, that of the kernels.
    """
    slip = torch.where(flows, t - yield_curvature - hardening * alpha, 0.0) / (1 + hardening)
    return slip - slip.detach().clamp(max=0)  # rounding must not let it flow back
