"""The resistance of a thin sheet to bending, from a shape operator that converges on any mesh; elastic, or with creases that stay.

Grinspun, Gingold, Reisman and Zorin 2006, "Computing discrete shape operators on general meshes": besides the nodes, every edge has an
unknown, the rotation xi [rad] of the sheet's normal at its midpoint. In a face, the angle from its own normal to that mid-edge normal is

    phi_i = theta_i / 2 + s_i xi_i    inside the sheet, where theta_i is the dihedral angle of the edge and s_i = 1 in its first face, -1 in
                                      its second,
    phi_i = xi_i                      on a free boundary,
    phi_i = theta_i                   on a clamped boundary, where theta_i is the angle to the plane of the edge and a given direction.

With the unit vector t_i of the face that points out over edge i, a normal that is linear over the face has the second fundamental form
sum_i (2 phi_i / h_i) t_i t_i^T. We measure it with the rest heights: S_i = 2 hbar_i phi_i, so that stretching alone bends nothing, and

    M = sum_i (S_i - Sbar_i) / hbar_i^2  t_i t_i^T    (at rest),    t^2 = (1 - nu) M:M + nu (tr M)^2,    energy = A D w(t),

with the flexural rigidity D = E h^3 / (12 (1 - nu^2)). For a sheet rolled to a cylinder, t is the curvature. The sheet is elastic, w = t^2/2,
up to the yield curvature k_y = k0 + H alpha. Beyond, it flows by Delta = (t - k_y) / (1 + H), and the energy of the step is the condensed
one of radial return with linear isotropic hardening (Simo and Hughes 1998, "Computational Inelasticity", ch. 1 and 3):
w = (t - Delta)^2 / 2 + k_y Delta + H Delta^2 / 2. It is convex, and w' = t - Delta. `BendingTerm.plastic_update` ends the step.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ...errors import ModelError, ShapeError
from ..materials.base import Parameter
from ..mesh_topology import Ints
from ..runtime import start
from ..solid.term import Term
from .bending_kernels import CLAMPED, bending_gradient, bending_hessian, bending_state
from .geometry import coordinates, edge_angle, edge_angle_rate, hardened_slip, over_faces, points, scatter
from .topology import ShellTopology

COLUMNS = 28
"""Columns of the table of a BendingTerm, a row for each face; K is the quadratic form with t^2 = d K d for d = S - Sbar.

0-5: K_00, K_11, K_22, K_01, K_02, K_12 [1/m^4]. 6: A D [N m^3]. 7-9: 2 hbar_i [m]. 10-12: S at rest [m]. 13-15: plastic offset of S [m].
16: yield curvature k0 [1/m]. 17: hardening H. 18: alpha [1/m], the plastic curvature so far. 19-27: the direction m of each of its edges,
read where the edge is clamped."""


def outward_directions(positions: Tensor, topology: ShellTopology, edges: Ints) -> Tensor:
    """For boundary `edges` `[C]`, the unit vectors in the planes of their faces that point out of the sheet `[..., C, 3]`."""
    i, j, k, _ = torch.as_tensor(topology.hinges[edges]).T
    e = positions[..., j, :] - positions[..., i, :]
    normal = torch.linalg.cross(e, positions[..., k, :] - positions[..., i, :])
    return torch.nn.functional.normalize(torch.linalg.cross(e, normal), dim=-1)


def bending_parameters(
    rest: Tensor,
    topology: ShellTopology,
    youngs_modulus: Parameter,
    poisson_ratio: Parameter,
    thickness: Parameter,
    yield_curvature: Parameter = float("inf"),
    hardening: Parameter = 0.0,
    *,
    clamped: Ints | None = None,
    directions: Tensor | None = None,
    rest_directions: Tensor | None = None,
    rest_angle: Tensor | None = None,
    offset: Tensor | None = None,
    alpha: Tensor | None = None,
) -> Tensor:
    """The table `par` of a BendingTerm `[..., F, 28]`, differentiable in all real arguments; see `COLUMNS`.

    Args:
        rest: rest positions `[..., V, 3]` [m].
        topology: of the sheet.
        youngs_modulus: [Pa]; like the next four a number, or a tensor `[...]` of one value for each environment.
        poisson_ratio: between -1 and 0.5.
        thickness: [m].
        yield_curvature: k0 [1/m]; infinite if the sheet is elastic.
        hardening: H, how much the yield curvature grows with the plastic curvature.
        clamped: ids of the clamped boundary edges `[C]`.
        directions: now, where the sheet would go on at the clamped edges `[..., C, 3]`; by default as at rest.
        rest_directions: the same at rest; by default in the planes of the faces.
        rest_angle: the dihedral angles at which the sheet is free of moments `[..., E]` [rad]; by default those of `rest`.
        offset: plastic offset of S `[..., F, 3]` [m]; by default none.
        alpha: plastic curvature so far `[..., F]` [1/m]; by default none.
    """
    edges = clamped_edges(topology, clamped)
    if rest_directions is None:
        rest_directions = outward_directions(rest, topology, edges)
    m_rest = _spread(rest_directions, topology, edges)
    m = m_rest if directions is None else _spread(directions, topology, edges)

    corner = rest[..., torch.as_tensor(topology.faces), :]
    side = corner.roll(1, -2) - corner.roll(-1, -2)  # side i runs from corner i+1 to corner i+2
    length = torch.linalg.vector_norm(side, dim=-1)
    double_area = torch.linalg.vector_norm(torch.linalg.cross(side[..., 0, :], side[..., 1, :]), dim=-1)
    height = double_area[..., None] / length
    unit = side / length[..., None]
    E, nu, h, k0, H = (over_faces(value, rest) for value in (youngs_modulus, poisson_ratio, thickness, yield_curvature, hardening))
    cosine = unit @ unit.mT  # of the angle between the sides, which is that between the vectors t
    form = (1 - nu)[..., None, None] * cosine**2 + nu[..., None, None]
    K = form / (height[..., :, None] * height[..., None, :]) ** 2
    stiffness = double_area / 2 * E * h**3 / (12 * (1 - nu * nu))

    share = _shares(topology, edges).to(rest.dtype)
    theta = edge_angle(*_arms(rest, topology, m_rest, share)) if rest_angle is None else _of_faces(rest_angle, topology)
    S = 2 * height * share * theta
    zero = torch.zeros_like(double_area)
    columns = (
        *(K[..., i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))),
        stiffness,
        *(2 * height).unbind(-1),
        *S.unbind(-1),
        *((zero,) * 3 if offset is None else offset.unbind(-1)),
        k0,
        H,
        zero if alpha is None else alpha,
        *m.flatten(-2).unbind(-1),
    )
    return torch.stack(torch.broadcast_tensors(*columns), dim=-1)


class BendingTerm(Term):
    """The bending energy of a sheet, whose edges have their rotations xi among the unknowns.

    There is one block for each face, over 21 unknowns: its corners; the nodes across its edges; the rotations of its edges. The exact blocks
    add up to the Hessian; the projected ones leave out the second derivatives of the angles. The rotation of a clamped edge takes no part.

    Args:
        topology: of the sheet.
        clamped: ids of the clamped boundary edges `[C]`.
        edge_unknowns: where in the vector of unknowns the rotation of edge 0 is; the others follow.
        unknowns: the length U of that vector, which starts with the coordinates of the nodes.

    Raises:
        ModelError: if a clamped edge has two faces.
    """

    def __init__(self, topology: ShellTopology, clamped: Ints | None, edge_unknowns: int, unknowns: int) -> None:
        edges = clamped_edges(topology, clamped)
        start()
        self._topology = topology
        self._unknowns = unknowns
        self._last: tuple[Tensor, Tensor, Tensor] | None = None  # the state of the last u and par: energy, gradient and Hessian want it
        is_clamped = torch.zeros(len(topology.edges), dtype=torch.bool)
        is_clamped[torch.as_tensor(edges)] = True
        here = is_clamped[torch.as_tensor(topology.face_edges)]
        sign, across = torch.as_tensor(topology.signs), torch.as_tensor(topology.across)
        adjacent = torch.where(here, CLAMPED, torch.as_tensor(topology.adjacent))
        rotation = torch.where(here, -1, torch.as_tensor(topology.face_edges) + edge_unknowns)
        self._mesh = torch.cat([torch.as_tensor(topology.faces), across, adjacent, sign, rotation], dim=1)
        self._share = _shares(topology, edges)
        corners = coordinates(self._mesh[:, :3])
        self._own = torch.cat([corners, rotation], dim=1)
        self.patterns = (torch.cat([corners, coordinates(across), rotation], dim=1),)

    @override
    def energy(self, u: Tensor, par: Tensor) -> float:
        return float(self._state(u, par)[:, 0].sum())

    @override
    def gradient(self, u: Tensor, par: Tensor) -> Tensor:
        out = torch.empty(len(par), 12, dtype=torch.float64)
        bending_gradient(u, self._mesh, par, self._state(u, par), out)
        return scatter(out, self._own, self._unknowns)

    @override
    def hessians(self, u: Tensor, par: Tensor, project: bool) -> tuple[Tensor, ...]:
        angles, out = (torch.empty(len(par), rows, 21, dtype=torch.float64) for rows in (3, 21))
        bending_hessian(u, self._mesh, par, self._state(u, par), int(project), angles, out)
        return (out,)

    @override
    def virtual_work(self, u: Tensor, w: Tensor, par: Tensor) -> Tensor:
        u, w = u.detach(), w.detach()
        rate = edge_angle_rate(*self._arms(u, par[:, 19:]), *self._arms(w, torch.zeros_like(par[:, 19:])))
        dS = par[:, 7:10] * (self._share * rate + self._turned(w))
        d = self._excess(u, par)
        g = _form(par, d)
        return (par[:, 6] * self._secant(d, g, par, self._flows(u, par))[0] * (g * dS).sum(1)).sum()

    def plastic_update(self, u: Tensor, par: Tensor) -> tuple[Tensor, Tensor]:
        """The plastic offset of S `[F, 3]` [m] and alpha `[F]` [1/m] after a step that ends at `u`; differentiable in `u` and `par`."""
        d = self._excess(u, par)
        secant, slip = self._secant(d, _form(par, d), par, self._flows(u, par))
        return par[:, 13:16] + (1 - secant)[:, None] * d, par[:, 18] + slip

    def _state(self, u: Tensor, par: Tensor) -> Tensor:
        if self._last is None or self._last[0] is not u or self._last[1] is not par:
            state = torch.empty(len(par), 10, dtype=torch.float64)
            bending_state(u, self._mesh, par, state)
            self._last = (u, par, state)
        return self._last[2]

    def _flows(self, u: Tensor, par: Tensor) -> Tensor:
        return self._state(u.detach().contiguous(), par.detach().contiguous())[:, 9] > 0

    def _arms(self, u: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _arms(points(u), self._topology, m.reshape(-1, 3, 3), self._share)

    def _turned(self, u: Tensor) -> Tensor:
        """The share of xi in phi, s xi, for every edge of every face `[F, 3]`; zero where it is clamped."""
        sign, rotation = self._mesh[:, 9:12], self._mesh[:, 12:]
        return torch.where(rotation >= 0, sign * u[rotation.clamp(min=0)], 0.0)

    def _excess(self, u: Tensor, par: Tensor) -> Tensor:
        """S - Sbar `[F, 3]`."""
        theta = edge_angle(*self._arms(u, par[:, 19:]))
        return par[:, 7:10] * (self._share * theta + self._turned(u)) - par[:, 10:13] - par[:, 13:16]

    @staticmethod
    def _secant(d: Tensor, g: Tensor, par: Tensor, flows: Tensor) -> tuple[Tensor, Tensor]:
        """w'(t) / t and the slip Delta `[F]`; both without the square root, which has no derivative at rest, where the face is elastic."""
        square = (d * g).sum(1)
        t = torch.where(flows, square, 1.0).sqrt()
        slip = hardened_slip(t, flows, *par[:, 16:19].T)
        return 1 - slip / t, slip


def _form(par: Tensor, d: Tensor) -> Tensor:
    """K d `[F, 3]`."""
    K = par[:, [0, 3, 4, 3, 1, 5, 4, 5, 2]].reshape(-1, 3, 3)
    return (K @ d[..., None])[..., 0]


def clamped_edges(topology: ShellTopology, clamped: Ints | None) -> Ints:
    """The ids `[C]` of the clamped edges; refuses edges that do not lie on the boundary."""
    edges = np.asarray([] if clamped is None else clamped, dtype=np.int64)
    inner = edges[~topology.boundary[edges]]
    if len(inner):
        raise ModelError(f"Clamped edges {inner[:5].tolist()} have two faces; only boundary edges can be clamped.")
    return edges


def _shares(topology: ShellTopology, edges: Ints) -> Tensor:
    """How much of its dihedral angle belongs to each edge of each face `[F, 3]`: a half, nothing where free, all where clamped."""
    share = torch.where(torch.as_tensor(topology.boundary), 0.0, 0.5).to(torch.float64)
    share[torch.as_tensor(edges)] = 1.0
    return share[torch.as_tensor(topology.face_edges)]


def _spread(directions: Tensor, topology: ShellTopology, edges: Ints) -> Tensor:
    """Directions of the clamped edges `[..., C, 3]`, put at the edges of the faces `[..., F, 3, 3]`; zero elsewhere."""
    if directions.shape[-2:] != (len(edges), 3):
        raise ShapeError(f"Directions of {len(edges)} clamped edges must have shape [..., {len(edges)}, 3]; got {list(directions.shape)}.")
    face = torch.as_tensor(topology.edge_faces[edges, 0])
    slot = (torch.as_tensor(topology.face_edges)[face] == torch.as_tensor(edges)[:, None]).int().argmax(1) + 3 * face
    flat = directions.new_zeros(*directions.shape[:-2], 3 * len(topology.faces), 3)
    return flat.index_add(-2, slot, directions).unflatten(-2, (-1, 3))


def _of_faces(angle: Tensor, topology: ShellTopology) -> Tensor:
    """Angles of the edges `[..., E]` at the three edges of every face `[..., F, 3]`."""
    return angle[..., torch.as_tensor(topology.face_edges)]


def _arms(positions: Tensor, topology: ShellTopology, m: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each edge i of each face, e and the vectors to the third corners of both sides, as `edge_angle` takes them `[..., F, 3, 3]`.

    Where there is no second side it is spanned by m `[..., F, 3, 3]`; at a free edge, whose share is 0, it goes on flat.
    """
    corner = positions[..., torch.as_tensor(topology.faces), :]
    i, j = corner.roll(-1, -2), corner.roll(-2, -2)
    across = torch.as_tensor(topology.across)
    beyond = positions[..., across.clamp(min=0), :] - i
    end = torch.where((share > 0)[..., None], m, i - corner)
    return j - i, corner - i, torch.where((across >= 0)[..., None], beyond, end)
