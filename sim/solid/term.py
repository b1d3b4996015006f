"""What an energy is to the implicit solver: a sum over elements of a function of few unknowns.

The unknowns of one environment are a vector `u` `[U]`, f64: the coordinates of all nodes, node by node, then whatever else bodies need
(the edge rotations of shells). A term says which of them each of its elements couples, and gives energy, gradient and Hessian blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Term(ABC):
    """One kind of energy over many elements, in one environment.

    Everything that is not an unknown comes in `par` `[n, p]`: moduli, rest shape, plastic state. The solver computes it from the model's
    parameters with torch, so that `virtual_work` alone decides what an energy has derivatives with respect to.
    """

    patterns: tuple[Tensor, ...]
    """Which unknowns the Hessian blocks couple: one int64 table `[m, k]` for each kind of block that `hessians` returns; -1 where an element
    lacks an unknown (its rows and columns are ignored)."""

    @abstractmethod
    def energy(self, u: Tensor, par: Tensor) -> float:
        """The energy [J]; infinite or NaN where it does not exist."""

    @abstractmethod
    def gradient(self, u: Tensor, par: Tensor) -> Tensor:
        """Its gradient with respect to the unknowns `[U]`."""

    @abstractmethod
    def hessians(self, u: Tensor, par: Tensor, project: bool) -> tuple[Tensor, ...]:
        """The blocks `[m, k, k]` of its Hessian, one tensor for each entry of `patterns`; the exact Hessian is their sum.

        Args:
            u: unknowns `[U]`.
            par: parameters `[n, p]`.
            project: whether to return positive semi-definite blocks near the exact ones instead.
        """

    @abstractmethod
    def virtual_work(self, u: Tensor, w: Tensor, par: Tensor) -> Tensor:
        """`w . gradient(u, par)`, a scalar that autograd differentiates with respect to `par`; `u` and `w` `[U]` are constants."""
