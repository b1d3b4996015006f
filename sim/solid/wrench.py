"""What the elasticity of bodies exerts on the handles that hold them: the reaction at prescribed nodes.

The elastic energy Psi(u; parameters) has the nodal forces -dPsi/du. Summed over what a handle holds, they are its wrench. Their derivative
needs no more than a step's adjoint does: the Hessian of each term for the unknowns, and its virtual work for the parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from .assembly import blocks_times
from .state import SolidState
from .term import Term


class ElasticGradient(torch.autograd.Function):
    """`(terms, unknowns [B, U], *parameters [B, n, p])`, one table for each term: the gradient of their energies in the unknowns [B, U]."""

    @staticmethod
    @override
    def forward(ctx: Any, terms: Sequence[Term], *tensors: Tensor) -> Tensor:
        unknowns, *parameters = (tensor.detach() for tensor in tensors)
        out = torch.zeros_like(unknowns)
        for b, u in enumerate(unknowns):
            for term, table in zip(terms, parameters, strict=True):
                out[b] += term.gradient(u, table[b].contiguous())
        ctx.terms = terms
        ctx.save_for_backward(unknowns, *parameters)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    @override
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        unknowns, *parameters = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        out = [torch.zeros_like(tensor) if want else None for tensor, want in zip(ctx.saved_tensors, wanted, strict=True)]
        by_unknowns, *by_parameters = out
        for b, w in enumerate(gradients[0]):
            if not bool(w.any()):
                continue
            u = unknowns[b]
            for term, table, by_table in zip(ctx.terms, parameters, by_parameters, strict=True):
                par = table[b].contiguous()
                if by_unknowns is not None:
                    blocks = [block.numpy() for block in term.hessians(u, par, False)]
                    patterns = [pattern.numpy() for pattern in term.patterns]
                    by_unknowns[b] += torch.from_numpy(blocks_times(patterns, blocks, w.numpy()))
                if by_table is not None:
                    with torch.enable_grad():
                        variable = par.detach().requires_grad_()
                        by_table[b] = torch.autograd.grad(term.virtual_work(u, w, variable), variable)[0]
        return (None, *out)


def elastic_wrench(terms: Sequence[Term], parameters: Sequence[Tensor], state: SolidState, owner: Tensor) -> Tensor:
    """Force [N] and torque about the handle's position [N m] that elasticity exerts on each handle [B, H, 6]; differentiable.

    Args:
        terms: the elastic energies of all bodies.
        parameters: the table of each term [B, n, p].
        state: where.
        owner: the handle that each node follows, or -1 [N].
    """
    place, centre = state.position, state.handle_position
    gradient = ElasticGradient.apply(terms, torch.cat([place.flatten(1), state.edge_rotation], 1), *parameters)
    held = (owner >= 0).nonzero()[:, 0]
    handle = owner[held]
    force = -gradient[:, : 3 * len(owner)].reshape(place.shape)[:, held]
    torque = torch.linalg.cross(place[:, held] - centre[:, handle], force)
    # Unlike a sum, this adds in the order of the nodes, whatever the size of the batch.
    return place.new_zeros(*centre.shape[:2], 6).index_add(1, handle, torch.cat([force, torque], -1))
