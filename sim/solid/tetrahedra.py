"""Elastic bodies of linear tetrahedra.

Each element has a constant deformation gradient F = Ds Dm^-1, where Ds and Dm have the edges from its first corner as columns, deformed
and at rest.
"""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from ...errors import ModelError, ShapeError, UnknownNameError
from ..runtime import start
from . import tetrahedron_kernels as kernels
from .term import Term

LAWS = {
    "stable_neo_hookean": kernels.STABLE_NEO_HOOKEAN,
    "fixed_corotated": kernels.FIXED_COROTATED,
    "linear": kernels.LINEAR,
    "st_venant_kirchhoff": kernels.ST_VENANT_KIRCHHOFF,
}


def rest_shapes(rest: Tensor, tetrahedra: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse rest edge matrices `[..., n, 3, 3]` [1/m] and the volumes `[..., n]` [m^3] of tetrahedra.

    Args:
        rest: nodes at rest `[..., V, 3]` [m].
        tetrahedra: corners `[n, 4]`; seen from the first corner, the others run counter-clockwise about their outward normal.

    Raises:
        ModelError: if a tetrahedron is flat or inside out at rest.
    """
    corners = rest[..., tetrahedra, :]
    edges = (corners[..., 1:, :] - corners[..., :1, :]).transpose(-1, -2)
    cofactor = torch.stack([torch.linalg.cross(edges[..., i - 2], edges[..., i - 1]) for i in range(3)], -2)
    determinant = (edges[..., 0] * cofactor[..., 0, :]).sum(-1)
    volume = determinant / 6
    if not bool((volume > 0).all()):
        worst = int((~(volume > 0)).reshape(-1, len(tetrahedra)).any(0).nonzero()[0])
        raise ModelError(
            f"Tetrahedron {worst} has no positive volume at rest; swap two of its corners if it is inside out, or mend the mesh."
        )
    return cofactor / determinant[..., None, None], volume


def tetrahedron_parameters(rest: Tensor, tetrahedra: Tensor, mu: Tensor, lam: Tensor) -> Tensor:
    """The `par` of `TetrahedronTerm`, `[..., n, 11]`, differentiable in all but the corners.

    Args:
        rest: nodes at rest `[..., V, 3]` [m].
        tetrahedra: corners `[n, 4]`, int64.
        mu: Lame's first parameter [Pa], broadcast to `[..., n]`.
        lam: Lame's second parameter [Pa], broadcast to `[..., n]`.

    Raises:
        ModelError: if a tetrahedron is flat or inside out at rest.
    """
    inverse, volume = rest_shapes(rest, tetrahedra)
    stiffness = torch.stack(torch.broadcast_tensors(volume * mu, volume * lam), -1)
    return torch.cat((inverse.flatten(-2).expand(*stiffness.shape[:-1], 9), stiffness), -1)


def corner_unknowns(tetrahedra: Tensor, unknowns: int) -> Tensor:
    """The unknowns of the corners of tetrahedra, `[n, 12]`.

    Raises:
        ShapeError: if `tetrahedra` is no int64 `[n, 4]` of nodes whose coordinates are among the first `unknowns` unknowns.
    """
    if tetrahedra.ndim != 2 or tetrahedra.shape[1] != 4 or tetrahedra.dtype != torch.int64:
        raise ShapeError(f"Tetrahedra must be int64 [n, 4]; they are {tetrahedra.dtype} {list(tetrahedra.shape)}.")
    if tetrahedra.numel() and (int(tetrahedra.min()) < 0 or 3 * int(tetrahedra.max()) + 3 > unknowns):
        raise ShapeError(
            f"Tetrahedra have corners from {int(tetrahedra.min())} to {int(tetrahedra.max())}, but there are {unknowns} unknowns."
        )
    return (3 * tetrahedra.unsqueeze(-1) + torch.arange(3)).flatten(1)


class TetrahedronTerm(Term):
    """Elastic energy of linear tetrahedra. With F the deformation gradient, J its determinant and mu, lambda Lame's parameters [Pa], a law is

    - `stable_neo_hookean`: mu/2 (|F|^2 - 3) - mu (J - 1) + (lambda + mu)/2 (J - 1)^2, Smith, de Goes and Kim 2018, "Stable neo-Hookean flesh
      simulation", without the logarithm; lambda + mu in the last term makes small strain obey Hooke's law;
    - `fixed_corotated`: mu |F - R|^2 + lambda/2 (J - 1)^2 with the rotation R nearest to F, Stomakhin et al. 2012, "Energetically consistent
      invertible elasticity";
    - `linear`: mu |e|^2 + lambda/2 tr(e)^2 with e = (F + F^T)/2 - I, for small displacements without rotation;
    - `st_venant_kirchhoff`: mu |E|^2 + lambda/2 tr(E)^2 with E = (F^T F - I)/2. Soft under strong compression; of large mu, a rigid body.

    `par` `[n, 11]`, see `tetrahedron_parameters`: Dm^-1 row by row [1/m], then volume times mu and volume times lambda [J].

    Args:
        tetrahedra: corners `[n, 4]`, int64.
        law: a name of `LAWS`.
        unknowns: their number U.

    Raises:
        ShapeError: if `tetrahedra` is no table of nodes.
        UnknownNameError: if there is no such law.
    """

    def __init__(self, tetrahedra: Tensor, law: str, unknowns: int) -> None:
        if law not in LAWS:
            raise UnknownNameError(f"There is no elastic law {law!r} for tetrahedra; there are {', '.join(LAWS)}.")
        self.patterns = (corner_unknowns(tetrahedra, unknowns),)
        self.tetrahedra = tetrahedra.contiguous()
        self.law = law
        self._law = LAWS[law]
        self._flat = self.patterns[0].flatten()
        self._unknowns = unknowns
        start()

    @override
    def energy(self, u: Tensor, par: Tensor) -> float:
        out = torch.empty(len(self.tetrahedra), dtype=torch.float64)
        kernels.energies(self._law, u, self.tetrahedra, par.detach().contiguous(), out)
        return float(out.sum())

    @override
    def gradient(self, u: Tensor, par: Tensor) -> Tensor:
        out = torch.empty(len(self.tetrahedra), 12, dtype=torch.float64)
        kernels.gradients(self._law, u, self.tetrahedra, par.detach().contiguous(), out)
        return torch.zeros(self._unknowns, dtype=torch.float64).index_add_(0, self._flat, out.view(-1))

    @override
    def hessians(self, u: Tensor, par: Tensor, project: bool) -> tuple[Tensor, ...]:
        out = torch.empty(len(self.tetrahedra), 12, 12, dtype=torch.float64)
        kernels.hessians(self._law, u, self.tetrahedra, par.detach().contiguous(), int(project), out)
        return (out,)

    @override
    def virtual_work(self, u: Tensor, w: Tensor, par: Tensor) -> Tensor:
        inverse = par[:, :9].unflatten(1, (3, 3))
        F, change = self._edges(u) @ inverse, self._edges(w) @ inverse
        per_mu, per_lam = self._stresses(F, u, par)
        return ((par[:, 9, None, None] * per_mu + par[:, 10, None, None] * per_lam) * change).sum()

    def _edges(self, u: Tensor) -> Tensor:
        """The edges from the first corner of every element as columns, `[n, 3, 3]`."""
        corners = u[self.patterns[0]].unflatten(1, (4, 3))
        return (corners[:, 1:] - corners[:, :1]).transpose(1, 2)

    def _stresses(self, F: Tensor, u: Tensor, par: Tensor) -> tuple[Tensor, Tensor]:
        """What mu and what lambda are multiplied with in the first Piola-Kirchhoff stress, `[n, 3, 3]` each."""
        eye = torch.eye(3, dtype=F.dtype)
        if self.law in ("linear", "st_venant_kirchhoff"):
            left = eye if self.law == "linear" else F
            strain = (F + F.mT) / 2 - eye if self.law == "linear" else (F.mT @ F - eye) / 2
            trace = strain.diagonal(dim1=1, dim2=2).sum(1)
            return left @ (2 * strain), trace[:, None, None] * left
        cofactor = torch.stack([torch.linalg.cross(F[:, :, i - 2], F[:, :, i - 1]) for i in range(3)], 2)
        growth = (F[:, :, 0] * cofactor[:, :, 0]).sum(1)[:, None, None] - 1
        if self.law == "stable_neo_hookean":
            return F + (growth - 1) * cofactor, growth * cofactor
        return 2 * (F - self._rotations(F, u, par)), growth * cofactor

    def _rotations(self, F: Tensor, u: Tensor, par: Tensor) -> Tensor:
        """The rotations R of F = R S, once differentiable.

        At the solution R of axial(R^T F - F^T R) = 0 a Newton step changes nothing, but it has the derivative of R with respect to F.
        """
        R, K = torch.empty_like(F), torch.empty_like(F)
        kernels.rotations(u, self.tetrahedra, par.detach().contiguous(), R, K)
        A = R.mT @ F
        axial = torch.stack((A[:, 2, 1] - A[:, 1, 2], A[:, 0, 2] - A[:, 2, 0], A[:, 1, 0] - A[:, 0, 1]), 1)
        turn = (K @ axial.unsqueeze(2)).squeeze(2)
        columns = [torch.linalg.cross(turn, axis.expand_as(turn)) for axis in torch.eye(3, dtype=F.dtype)]
        return R + R @ torch.stack(columns, 2)
