"""A control step of MPM as a torch operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .engine import Engine, Matter, Particles, Shared


class MpmStep(torch.autograd.Function):
    """Saves its inputs and recomputes its substeps in the backward pass.

    Environments that fail in the step get no derivative: the solver returns their old state, which has one of its own. Inactive particles
    pass theirs on.
    """

    @staticmethod
    def forward(ctx: Any, engine: Engine, active: Tensor | None, *inputs: Tensor) -> tuple[Tensor, ...]:
        """`inputs` are the fields of Particles, Matter and Shared in order; returns the new particles and int32 outcomes [B].

        `active` [B, N] says which particles take part; None if all do.
        """
        start, matter, shared = _split([tensor.detach().contiguous() for tensor in inputs])
        end, status = engine.forward(start, matter, shared, active)
        ctx.engine, ctx.active = engine, active
        ctx.save_for_backward(*inputs, status)
        ctx.mark_non_differentiable(status)
        return (*end, status)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The adjoint of every substep, in reverse."""
        *inputs, status = ctx.saved_tensors
        good = status == 0
        every = bool(good.all())
        chosen = [t.detach().contiguous() if every else t.detach()[good].contiguous() for t in inputs]
        active = ctx.active if every or ctx.active is None else ctx.active[good]
        bar = Particles(*(g.contiguous() if every else g[good].contiguous() for g in grads[:5]))
        if not chosen[0].shape[0]:
            return (None, None, *(torch.zeros_like(t) for t in inputs))
        start, matter, shared = _split(chosen)
        parts = [part for group in ctx.engine.backward(start, matter, shared, active, bar) for part in group]
        if not every:
            whole = [torch.zeros_like(t) for t in inputs]
            for total, part in zip(whole, parts, strict=True):
                total[good] = part
            parts = whole
        return (None, None, *parts)


def _split(tensors: list[Tensor]) -> tuple[Particles, Matter, Shared]:
    return Particles(*tensors[:5]), Matter(*tensors[5:7]), Shared(*tensors[7:])
