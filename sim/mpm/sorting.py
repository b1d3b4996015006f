"""Sorts particles by environment, block and cell, and finds the blocks of nodes that they reach."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .stencil import BLOCK, PAD

if TYPE_CHECKING:
    from .engine import Scene


@dataclasses.dataclass(frozen=True)
class Layout:
    """Particles sorted by block, and the blocks of nodes that they reach."""

    order: Tensor
    block_of: Tensor
    blocks: Tensor
    """Origin of the tile, environment, first and last particle + 1, int32 [Q, D + 3]."""
    slots: Tensor
    """Place of an active block of nodes and its environment, int32 [S, D + 1]."""
    owner: Tensor
    """The particle block at each place, or -1, int32 [B, places]."""
    slot_of: Tensor
    """The node block at each place, or -1, int32 [B, places]."""
    ranges: Tensor
    """First and last + 1 of the particle blocks and of the node blocks of each environment, int32 [B, 4]."""


def cell_keys(scene: Scene, x: Tensor) -> Tensor:
    """The block and cell of every particle as one number [B, N], by which it is sorted; the block is `key // 64`."""
    lower = x.new_tensor(scene.lower)
    node = torch.floor((x - lower) / scene.dx + (PAD - 0.5)).to(torch.int64)
    block, cell = node >> 2, node & 3
    place = block[..., 0]
    within = cell[..., 0]
    for axis in range(1, scene.dimension):
        place = place * scene.blocks_per_axis[axis] + block[..., axis]
        within = within * BLOCK + cell[..., axis]
    return place * 64 + within


def arrange(scene: Scene, keys: Tensor, active: Tensor | None) -> Layout:
    """The order of the active particles by environment, block and cell, and the blocks that they make and reach.

    Args:
        scene: whose grid it is.
        keys: of all particles [B, N].
        active: bool [B, N], at least one; None if all are.
    """
    device = keys.device
    batch, places = keys.shape[0], 1
    for count in scene.blocks_per_axis:
        places *= count
    env = torch.arange(batch, device=device)[:, None]
    whole = (keys + env * (places * 64)).flatten()
    if active is None:
        order = torch.argsort(whole, stable=True)
    else:
        order = active.flatten().nonzero()[:, 0]
        order = order[torch.argsort(whole[order], stable=True)]
    unique, counts = torch.unique_consecutive(whole[order] >> 6, return_counts=True)
    ends = counts.cumsum(0)
    block_env, place = unique // places, unique % places
    coordinates = _coordinates(scene, place)
    blocks = torch.cat([coordinates * BLOCK - 1, torch.stack([block_env, ends - counts, ends], 1)], 1)
    steps = torch.cartesian_prod(*[torch.arange(-1, 2, device=device)] * scene.dimension)
    shifts = _place(scene, steps)
    reached = torch.unique((unique[:, None] + shifts[None]).flatten())
    slots = torch.cat([_coordinates(scene, reached % places), (reached // places)[:, None]], 1)
    owner = torch.full((batch * places,), -1, dtype=torch.int32, device=device)
    owner[unique] = torch.arange(len(unique), dtype=torch.int32, device=device)
    slot_of = torch.full_like(owner, -1)
    slot_of[reached] = torch.arange(len(reached), dtype=torch.int32, device=device)
    block_of = torch.repeat_interleave(torch.arange(len(unique), device=device), counts).to(torch.int32)
    bounds = torch.arange(batch + 1, device=device) * places
    of_blocks, of_slots = torch.searchsorted(unique, bounds), torch.searchsorted(reached, bounds)
    ranges = torch.stack([of_blocks[:-1], of_blocks[1:], of_slots[:-1], of_slots[1:]], 1).to(torch.int32)
    owner, slot_of = owner.view(batch, -1), slot_of.view(batch, -1)
    return Layout(order, block_of, blocks.to(torch.int32), slots.to(torch.int32), owner, slot_of, ranges)


def _place(scene: Scene, coordinates: Tensor) -> Tensor:
    place = coordinates[:, 0]
    for axis in range(1, scene.dimension):
        place = place * scene.blocks_per_axis[axis] + coordinates[:, axis]
    return place


def _coordinates(scene: Scene, place: Tensor) -> Tensor:
    parts = []
    for count in reversed(scene.blocks_per_axis):
        parts.append(place % count)
        place = place // count
    return torch.stack(parts[::-1], 1)
