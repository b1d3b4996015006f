"""Energies that the user writes in torch: any function of an element's unknowns, or a density of the deformation gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, hessian, vmap
from typing_extensions import override

from ...errors import ShapeError
from .term import Term
from .tetrahedra import corner_unknowns, rest_shapes

Energy = Callable[[Tensor, Tensor], Tensor]
"""`(x [k], par [p]) -> scalar` [J]: the energy of one element, in torch operations that `torch.func.vmap` can map."""
Density = Callable[[Tensor, Tensor], Tensor]
"""`(F [3, 3], material [q]) -> scalar` [J/m^3]: the energy of a deformation gradient per volume at rest."""


def positive_part(blocks: Tensor) -> Tensor:
    """The positive semi-definite matrices nearest to symmetric ones `[..., k, k]`: negative eigenvalues become zero."""
    values, vectors = torch.linalg.eigh(blocks)
    # Adding what is missing, and not putting the matrix together anew, leaves a matrix that lacks nothing as it is.
    return blocks + (vectors * (-values).clamp(min=0).unsqueeze(-2)) @ vectors.mT


class CustomTerm(Term):
    """An energy of the user's own, differentiated by torch. It needs no kernel, and is slower than one by a factor of ten or more.

    Args:
        table: the unknowns of each element `[n, k]`, int64.
        energy: the energy of one element [J] of its unknowns `[k]` and its parameters `[p]`.
        unknowns: their number U.

    Raises:
        ShapeError: if `table` is no int64 table of unknowns.
    """

    def __init__(self, table: Tensor, energy: Energy, unknowns: int) -> None:
        if table.ndim != 2 or table.dtype != torch.int64:
            raise ShapeError(f"The table of unknowns must be int64 [n, k]; it is {table.dtype} {list(table.shape)}.")
        if table.numel() and (int(table.min()) < 0 or int(table.max()) >= unknowns):
            raise ShapeError(f"The table holds {int(table.min())} to {int(table.max())}, but the unknowns are 0 to {unknowns - 1}.")
        self.patterns = (table,)
        self._flat = table.flatten()
        self._unknowns = unknowns
        self._energies = vmap(energy)
        self._gradients = vmap(grad(energy))
        self._hessians = vmap(hessian(energy))

    @override
    def energy(self, u: Tensor, par: Tensor) -> float:
        return float(self._energies(u[self.patterns[0]], par.detach()).sum())

    @override
    def gradient(self, u: Tensor, par: Tensor) -> Tensor:
        gradients = self._gradients(u[self.patterns[0]], par.detach())
        return torch.zeros(self._unknowns, dtype=u.dtype).index_add_(0, self._flat, gradients.flatten())

    @override
    def hessians(self, u: Tensor, par: Tensor, project: bool) -> tuple[Tensor, ...]:
        blocks = self._hessians(u[self.patterns[0]], par.detach())
        blocks = (blocks + blocks.mT) / 2  # torch leaves them asymmetric by rounding
        return (positive_part(blocks) if project else blocks,)

    @override
    def virtual_work(self, u: Tensor, w: Tensor, par: Tensor) -> Tensor:
        return (self._gradients(u[self.patterns[0]], par) * w[self.patterns[0]]).sum()


def determinant(F: Tensor) -> Tensor:
    """The determinant of a matrix [3, 3]. That of torch has no second derivative where singular values are equal, as they are at rest."""
    return (F[:, 0] * torch.linalg.cross(F[:, 1], F[:, 2])).sum()


def hyperelastic(psi: Density) -> Energy:
    """The energy of a linear tetrahedron whose material has the density psi.

    Returns:
        A function of the corners' coordinates `[12]` and of `par` `[10 + q]`, as `hyperelastic_parameters` gives it.
    """

    def energy(x: Tensor, par: Tensor) -> Tensor:
        edges = (x[3:].view(3, 3) - x[:3]).mT
        return par[9] * psi(edges @ par[:9].view(3, 3), par[10:])

    return energy


def hyperelastic_parameters(rest: Tensor, tetrahedra: Tensor, material: Tensor) -> Tensor:
    """The `par` of `HyperelasticTerm`, `[..., n, 10 + q]`, differentiable in rest shape and material.

    Args:
        rest: nodes at rest `[..., V, 3]` [m].
        tetrahedra: corners `[n, 4]`, int64.
        material: what the density reads, broadcast to `[..., n, q]`.

    Raises:
        ModelError: if a tetrahedron is flat or inside out at rest.
    """
    inverse, volume = rest_shapes(rest, tetrahedra)
    shape = torch.cat((inverse.flatten(-2), volume.unsqueeze(-1)), -1)
    lead = torch.broadcast_shapes(shape.shape[:-1], material.shape[:-1])
    return torch.cat((shape.expand(*lead, -1), material.expand(*lead, -1)), -1)


class HyperelasticTerm(CustomTerm):
    """Linear tetrahedra of a material that the user gives by its energy density.

    `par` `[n, 10 + q]`, see `hyperelastic_parameters`: Dm^-1 row by row [1/m], the volume [m^3], the material's parameters.

    Args:
        tetrahedra: corners `[n, 4]`, int64.
        psi: the energy density [J/m^3] of the deformation gradient `[3, 3]` and the material's parameters `[q]`.
        unknowns: their number U.

    Raises:
        ShapeError: if `tetrahedra` is no table of nodes.
    """

    def __init__(self, tetrahedra: Tensor, psi: Density, unknowns: int) -> None:
        super().__init__(corner_unknowns(tetrahedra, unknowns), hyperelastic(psi), unknowns)
