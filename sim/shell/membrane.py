"""The resistance of a thin sheet to stretching: constant-strain triangles in plane stress."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from ...errors import ModelError
from ..materials.base import Parameter
from ..mesh_topology import Ints
from ..runtime import start
from ..solid.term import Term
from .geometry import coordinates, over_faces, scatter
from .membrane_kernels import membrane_energy, membrane_gradient, membrane_hessian

LAWS = ("st_venant_kirchhoff", "neo_hookean")


def membrane_parameters(rest: Tensor, faces: Ints, youngs_modulus: Parameter, poisson_ratio: Parameter, thickness: Parameter) -> Tensor:
    """The table `par` of a MembraneTerm `[..., F, 6]`, differentiable in all arguments.

    Columns 0-3: the inverse rest matrix B [1/m], row by row: the inverse of the rest edges [X1 - X0, X2 - X0] in an orthonormal frame of
    the rest face whose first axis runs along the first edge. 4, 5: rest area times thickness times mu = E / (2 (1 + nu)), and times
    lambda = E nu / (1 - nu^2) of plane stress [J].

    Args:
        rest: rest positions `[..., V, 3]` [m].
        faces: node ids `[F, 3]`.
        youngs_modulus: [Pa]; like the next two a number, or a tensor `[...]` of one value for each environment.
        poisson_ratio: between -1 and 0.5.
        thickness: [m].
    """
    corner = rest[..., torch.as_tensor(faces), :]
    p, q = corner[..., 1, :] - corner[..., 0, :], corner[..., 2, :] - corner[..., 0, :]
    length = torch.linalg.vector_norm(p, dim=-1)
    double_area = torch.linalg.vector_norm(torch.linalg.cross(p, q), dim=-1)
    slant = (p * q).sum(-1)
    E, nu, h = (over_faces(value, rest) for value in (youngs_modulus, poisson_ratio, thickness))
    volume = h * double_area / 2
    columns = (
        1 / length,
        -slant / (length * double_area),
        torch.zeros_like(length),
        length / double_area,
        volume * E / (2 * (1 + nu)),
        volume * E * nu / (1 - nu * nu),
    )
    return torch.stack(torch.broadcast_tensors(*columns), dim=-1)


class MembraneTerm(Term):
    """The membrane energy of triangles, area times thickness times psi(F) with the in-plane deformation gradient F (3x2).

    `st_venant_kirchhoff`: psi = mu E:E + lambda/2 tr(E)^2, with Green's strain E = (F^T F - 1) / 2. It does not resist being crushed to
    nothing. `neo_hookean`: psi = mu/2 (tr C - 2 - ln det C) + lambda/2 (ln J)^2, with C = F^T F and J = sqrt(det C); infinite where J = 0.
    Both are those of Ciarlet 2000, "Mathematical Elasticity III", and of Bonet and Wood 1997, in plane stress to first order in the strain.

    The projected Hessian leaves out the compressive principal stresses of the geometric part; neo_hookean also clamps the shear modulus of
    its tangent, mu - lambda ln J, to what leaves it positive.

    Args:
        faces: node ids `[n, 3]`.
        law: one of `LAWS`.
        unknowns: the length U of the vector of unknowns, which starts with the coordinates of the nodes.

    Raises:
        ModelError: if there is no such law.
    """

    def __init__(self, faces: Ints, law: str, unknowns: int) -> None:
        if law not in LAWS:
            raise ModelError(f"There is no membrane law {law!r}; choose one of {', '.join(LAWS)}.")
        start()
        self._faces = torch.as_tensor(faces, dtype=torch.int64).contiguous()
        self._neo = int(law == "neo_hookean")
        self._unknowns = unknowns
        self.patterns = (coordinates(self._faces),)

    @override
    def energy(self, u: Tensor, par: Tensor) -> float:
        out = torch.empty(len(self._faces), dtype=torch.float64)
        membrane_energy(u, self._faces, par, self._neo, out)
        return float(out.sum())

    @override
    def gradient(self, u: Tensor, par: Tensor) -> Tensor:
        out = torch.empty(len(self._faces), 9, dtype=torch.float64)
        membrane_gradient(u, self._faces, par, self._neo, out)
        return scatter(out, self.patterns[0], self._unknowns)

    @override
    def hessians(self, u: Tensor, par: Tensor, project: bool) -> tuple[Tensor, ...]:
        out = torch.empty(len(self._faces), 9, 9, dtype=torch.float64)
        membrane_hessian(u, self._faces, par, self._neo, int(project), out)
        return (out,)

    @override
    def virtual_work(self, u: Tensor, w: Tensor, par: Tensor) -> Tensor:
        B = par[:, :4].reshape(-1, 2, 2)
        mu, lam = par[:, 4, None, None], par[:, 5, None, None]
        F, dF = self._edges(u) @ B, self._edges(w) @ B
        C, one = F.mT @ F, torch.eye(2, dtype=par.dtype)
        if self._neo:
            inverse = torch.linalg.inv(C)
            S = mu * (one - inverse) + lam / 2 * torch.logdet(C)[:, None, None] * inverse
        else:
            S = mu * (C - one) + lam / 2 * (torch.diagonal(C, dim1=1, dim2=2).sum(1) - 2)[:, None, None] * one
        return ((F @ S) * dF).sum()

    def _edges(self, u: Tensor) -> Tensor:
        """The edges from corner 0 of every face as columns `[n, 3, 2]`."""
        corner = u.detach()[self.patterns[0]].reshape(-1, 3, 3)
        return (corner[:, 1:] - corner[:, :1]).mT
