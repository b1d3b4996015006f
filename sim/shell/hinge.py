"""The bending of a sheet by hinges on its edges: simple, without edge rotations, and not convergent on arbitrary meshes.

Grinspun, Hirani, Desbrun and Schroeder 2003, "Discrete shells". Every edge resists its dihedral angle theta as if the sheet were bent about
that edge alone, to the curvature t = |theta - theta_rest| |e| / A over the area A of its two faces; its energy is A D w(t), with the law
w of `bending`. A sheet rolled about one direction of the edges of a regular mesh then has the energy of a cylinder, and on a mesh of
equilateral triangles about any direction. On other meshes the stiffness depends on the mesh, however fine it is, and Poisson's ratio only
enters by D: bent both ways, even an equilateral mesh has not the energy of a plate, and a strip that is free to curl is too soft. Use
`BendingTerm` where that matters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from ..materials.base import Parameter
from ..mesh_topology import Ints
from ..runtime import start
from ..solid.term import Term
from .bending import clamped_edges, outward_directions
from .geometry import coordinates, edge_angle, edge_angle_rate, hardened_slip, over_faces, points, scatter
from .hinge_kernels import hinge_hessian, hinge_state
from .topology import ShellTopology

HINGE_COLUMNS = 10
"""Columns of the table of a HingeTerm, a row for each hinge.

0: A D [N m^3]. 1: |e| / A [1/m]. 2: angle at rest. 3: plastic offset of the angle. 4: yield curvature k0 [1/m]. 5: hardening H.
6: alpha [1/m], the plastic curvature so far. 7-9: the direction m, read at a clamped edge."""


def hinge_edges(topology: ShellTopology, clamped: Ints | None = None) -> Ints:
    """The edges that bend: those with two faces, then the clamped ones; in this order they are the rows of a HingeTerm's table."""
    return np.concatenate([np.flatnonzero(~topology.boundary), clamped_edges(topology, clamped)])


def hinge_parameters(
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
    """The table `par` of a HingeTerm `[..., n, 10]`, differentiable in all real arguments.

    Args are those of `bending.bending_parameters`, except that `offset` (of the angle, [rad]) and `alpha` are `[..., n]`, a number for each
    of the edges that `hinge_edges` gives.
    """
    edges = hinge_edges(topology, clamped)
    ends = clamped_edges(topology, clamped)
    if rest_directions is None:
        rest_directions = outward_directions(rest, topology, ends)
    m_rest = _fill(rest_directions, edges, ends)
    m = m_rest if directions is None else _fill(directions, edges, ends)
    hinges = torch.as_tensor(topology.hinges[edges])
    e, f1, f2 = _arms(rest, hinges, m_rest)
    area = torch.linalg.vector_norm(torch.linalg.cross(e, f1), dim=-1) / 2
    other = torch.linalg.vector_norm(torch.linalg.cross(e, f2), dim=-1) / 2
    area = area + torch.where(hinges[:, 3] >= 0, other, 0.0)
    E, nu, h, k0, H = (over_faces(value, rest) for value in (youngs_modulus, poisson_ratio, thickness, yield_curvature, hardening))
    zero = torch.zeros_like(area)
    columns = (
        area * E * h**3 / (12 * (1 - nu * nu)),
        torch.linalg.vector_norm(e, dim=-1) / area,
        edge_angle(e, f1, f2) if rest_angle is None else rest_angle[..., torch.as_tensor(edges)],
        zero if offset is None else offset,
        k0,
        H,
        zero if alpha is None else alpha,
        *m.unbind(-1),
    )
    return torch.stack(torch.broadcast_tensors(*columns), dim=-1)


class HingeTerm(Term):
    """The bending energy of hinges. There is one block for each hinge, over its four nodes; a clamped hinge has three.

    The projected blocks leave out the second derivatives of the angle.

    Args:
        topology: of the sheet.
        clamped: ids of the clamped boundary edges `[C]`.
        unknowns: the length U of the vector of unknowns, which starts with the coordinates of the nodes.

    Raises:
        ModelError: if a clamped edge has two faces.
    """

    def __init__(self, topology: ShellTopology, clamped: Ints | None, unknowns: int) -> None:
        hinges = topology.hinges[hinge_edges(topology, clamped)]
        start()
        self._hinges = torch.as_tensor(hinges).contiguous()
        self._unknowns = unknowns
        self.patterns = (coordinates(self._hinges),)

    @override
    def energy(self, u: Tensor, par: Tensor) -> float:
        return float(self._state(u, par)[0][:, 0].sum())

    @override
    def gradient(self, u: Tensor, par: Tensor) -> Tensor:
        state, angles = self._state(u, par)
        return scatter(state[:, 1:2] * angles, self.patterns[0], self._unknowns)

    @override
    def hessians(self, u: Tensor, par: Tensor, project: bool) -> tuple[Tensor, ...]:
        state, angles = self._state(u, par)
        out = torch.empty(len(par), 12, 12, dtype=torch.float64)
        hinge_hessian(u, self._hinges, par, state, angles, int(project), out)
        return (out,)

    @override
    def virtual_work(self, u: Tensor, w: Tensor, par: Tensor) -> Tensor:
        u, w = u.detach(), w.detach()
        m = par[:, 7:]
        rate = edge_angle_rate(*self._arms(u, m), *self._arms(w, torch.zeros_like(m)))
        d = self._excess(u, par)
        return (par[:, 0] * par[:, 1] * (d - d.sign() * self._slip(u, d, par)) * rate).sum()

    def plastic_update(self, u: Tensor, par: Tensor) -> tuple[Tensor, Tensor]:
        """The plastic offset of the angles [rad] and alpha [1/m], both `[n]`, after a step that ends at `u`; differentiable in both."""
        d = self._excess(u, par)
        slip = self._slip(u, d, par)
        return par[:, 3] + d.sign() * slip / par[:, 1], par[:, 6] + slip

    def _state(self, u: Tensor, par: Tensor) -> tuple[Tensor, Tensor]:
        state, angles = (torch.empty(len(par), columns, dtype=torch.float64) for columns in (4, 12))
        hinge_state(u, self._hinges, par, state, angles)
        return state, angles

    def _arms(self, u: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _arms(points(u), self._hinges, m)

    def _excess(self, u: Tensor, par: Tensor) -> Tensor:
        """The signed curvature beyond the one at rest `[n]` [1/m]."""
        return par[:, 1] * (edge_angle(*self._arms(u, par[:, 7:])) - par[:, 2] - par[:, 3])

    def _slip(self, u: Tensor, d: Tensor, par: Tensor) -> Tensor:
        flows = self._state(u.detach().contiguous(), par.detach().contiguous())[0][:, 3] > 0
        return hardened_slip(d.abs(), flows, *par[:, 4:7].T)


def _fill(directions: Tensor, edges: Ints, ends: Ints) -> Tensor:
    """Directions of the clamped edges `[..., C, 3]`, which are the last ones, after zeros for the others `[..., n, 3]`."""
    zeros = directions.new_zeros(*directions.shape[:-2], len(edges) - len(ends), 3)
    return torch.cat([zeros, directions], dim=-2)


def _arms(positions: Tensor, hinges: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per hinge e and the vectors to the third corners of its sides, as `edge_angle` takes them; m spans the second side of a clamped edge."""
    x = [positions[..., nodes, :] for nodes in (hinges[:, 0], hinges[:, 1], hinges[:, 2], hinges[:, 3].clamp(min=0))]
    return x[1] - x[0], x[2] - x[0], torch.where(hinges[:, 3:] >= 0, x[3] - x[0], m)
