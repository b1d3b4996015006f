"""The kernels of MPM: one substep on all threads, or all substeps of an environment on a thread of its own; forward and adjoint.

Kernels take no bundles, so their lists of arguments are long; they come in this order: times, geometry, particles and matter, [adjoints,]
blocks and their maps, grids, surroundings.
"""

from functools import cache
from typing import Any

from ..materials import Law
from ..runtime import taichi
from .backward import backward_functions
from .forward import forward_functions
from .stencil import BLOCK, TILE, block_of_tile, fill_tile
from .types import types

ti = taichi()

LANES = 32
"""Threads in a group of a GPU. On a CPU a thread takes one entry at a time; so many groups of one thread Vulkan does not launch."""


@cache
def forward_kernels(
    dim: int, real: Any, laws: tuple[Law, ...], width: int, keeps_shape: bool, tooled: bool, sliding: bool, atomic: bool
) -> Any:
    """The kernels `substep` and `substeps` for a dimension, a precision, and the laws that are present (in the order of the particles' `kind`).

    `width` is the number of law parameters; `tooled` says whether there are tools, `sliding` whether walls move; `atomic` scatters with
    atomics, particle by particle, as a GPU wants it.
    """
    V, VA, VM, VP, V2, W, M, IV = types(dim, real, width)
    A = ti.types.ndarray
    lanes = LANES if atomic else 1
    f = forward_functions(dim, real, laws, width, keeps_shape, tooled, sliding, atomic)
    push, pull, node, push_block, pull_block, gather_slot = f

    @ti.kernel
    def substep(
        src: ti.i32, dst: ti.i32, rec: ti.i32, sub: ti.i32, dt: real, dx: real, lower: V, cells: IV, blocks_per_axis: IV, tools: ti.i32,
        x: A(dtype=V, ndim=2), v: A(dtype=V, ndim=2), C: A(dtype=M, ndim=2), F: A(dtype=M, ndim=2), a: A(dtype=real, ndim=2),
        mass: A(dtype=real, ndim=1), volume: A(dtype=real, ndim=1), par: A(dtype=VP, ndim=1), kind: A(dtype=ti.i32, ndim=1),
        stress: A(dtype=M, ndim=2),
        blocks: A(dtype=ti.i32, ndim=2), block_of: A(dtype=ti.i32, ndim=1), slots: A(dtype=ti.i32, ndim=2),
        owner: A(dtype=ti.i32, ndim=2), slot_of: A(dtype=ti.i32, ndim=2), flags: A(dtype=ti.i32, ndim=2),
        tile: A(dtype=VM, ndim=2), raw: A(dtype=VM, ndim=2), grid_velocity: A(dtype=VM, ndim=2),
        gravity: A(dtype=V, ndim=1), wall_kind: A(dtype=ti.i32, ndim=1), wall_friction: A(dtype=W, ndim=1),
        wall_velocity: A(dtype=V, ndim=2),
        centre: A(dtype=V, ndim=3), rotation: A(dtype=M, ndim=3), linear: A(dtype=V, ndim=2), angular: A(dtype=VA, ndim=2),
        coefficient: A(dtype=V2, ndim=2), shape: A(dtype=ti.i32, ndim=2), frame: A(dtype=real, ndim=2), table: A(dtype=VM, ndim=1),
    ):  # fmt: skip
        """Advances all particles from time index `src` to `dst`, keeping the grid at `rec`; `sub` counts substeps, for the tools.

        The stages run one after the other, each on all threads.
        """
        if ti.static(atomic):
            for q, t in ti.ndrange(blocks.shape[0], TILE**dim):
                tile[q, t] = VM(0)
            for p in range(kind.shape[0]):
                push(p, block_of[p], src, dst, rec, dt, dx, lower, x, v, C, F, a, mass, volume, par, kind, stress, blocks, tile)
        else:
            ti.loop_config(block_dim=lanes)
            for q in range(blocks.shape[0]):
                push_block(q, src, dst, rec, dt, dx, lower, x, v, C, F, a, mass, volume, par, kind, stress, blocks, tile)
        ti.loop_config(block_dim=lanes)
        for s in range(slots.shape[0]):
            gather_slot(s, rec, slots, owner, blocks_per_axis, tile, raw)
        ti.loop_config(block_dim=BLOCK**dim)
        for n in range(slots.shape[0] * BLOCK**dim):
            node(n, rec, sub, dt, dx, lower, cells, gravity, tools, slots, slot_of, blocks_per_axis, raw, grid_velocity,
                 wall_kind, wall_friction, wall_velocity, centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip
        if ti.static(atomic):
            ti.loop_config(block_dim=lanes)
            for q in range(blocks.shape[0]):
                fill_tile(dim, q, block_of_tile(dim, q, blocks), blocks[q, dim], slot_of, blocks_per_axis, grid_velocity, rec, tile)
            for p in range(kind.shape[0]):
                pull(p, block_of[p], src, dst, sub, dt, dx, lower, cells, tools, x, v, C, blocks, tile, flags,
                     centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip
        else:
            ti.loop_config(block_dim=lanes)
            for q in range(blocks.shape[0]):
                pull_block(q, src, dst, rec, sub, dt, dx, lower, cells, blocks_per_axis, tools, x, v, C, blocks, slot_of, tile,
                           grid_velocity, flags, centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip

    @ti.kernel
    def substeps(
        last: ti.i32, record: ti.i32, first: A(dtype=ti.i32, ndim=1), done: A(dtype=ti.i32, ndim=1), ranges: A(dtype=ti.i32, ndim=2),
        dt: real, dx: real, lower: V, cells: IV, blocks_per_axis: IV, tools: ti.i32,
        x: A(dtype=V, ndim=2), v: A(dtype=V, ndim=2), C: A(dtype=M, ndim=2), F: A(dtype=M, ndim=2), a: A(dtype=real, ndim=2),
        mass: A(dtype=real, ndim=1), volume: A(dtype=real, ndim=1), par: A(dtype=VP, ndim=1), kind: A(dtype=ti.i32, ndim=1),
        stress: A(dtype=M, ndim=2),
        blocks: A(dtype=ti.i32, ndim=2), slots: A(dtype=ti.i32, ndim=2),
        owner: A(dtype=ti.i32, ndim=2), slot_of: A(dtype=ti.i32, ndim=2), flags: A(dtype=ti.i32, ndim=2),
        tile: A(dtype=VM, ndim=2), raw: A(dtype=VM, ndim=2), grid_velocity: A(dtype=VM, ndim=2),
        gravity: A(dtype=V, ndim=1), wall_kind: A(dtype=ti.i32, ndim=1), wall_friction: A(dtype=W, ndim=1),
        wall_velocity: A(dtype=V, ndim=2),
        centre: A(dtype=V, ndim=3), rotation: A(dtype=M, ndim=3), linear: A(dtype=V, ndim=2), angular: A(dtype=VA, ndim=2),
        coefficient: A(dtype=V2, ndim=2), shape: A(dtype=ti.i32, ndim=2), frame: A(dtype=real, ndim=2), table: A(dtype=VM, ndim=1),
    ):  # fmt: skip
        """Advances each environment on one thread from its substep `first` until `last`, or until its particles must be sorted again.

        `done` counts what was done. There is no waiting between stages, so that small scenes and large batches run at full speed.
        """
        ti.loop_config(block_dim=lanes)
        for env in range(first.shape[0]):
            for sub in range(first[env], last):
                src = done[env] % 2
                dst = 1 - src
                rec = 0
                if record:
                    src = done[env]
                    dst = src + 1
                    rec = src
                for q in range(ranges[env, 0], ranges[env, 1]):
                    push_block(q, src, dst, rec, dt, dx, lower, x, v, C, F, a, mass, volume, par, kind, stress, blocks, tile)
                for s in range(ranges[env, 2], ranges[env, 3]):
                    gather_slot(s, rec, slots, owner, blocks_per_axis, tile, raw)
                for n in range(ranges[env, 2] * BLOCK**dim, ranges[env, 3] * BLOCK**dim):
                    node(n, rec, sub, dt, dx, lower, cells, gravity, tools, slots, slot_of, blocks_per_axis, raw, grid_velocity,
                         wall_kind, wall_friction, wall_velocity, centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip
                for q in range(ranges[env, 0], ranges[env, 1]):
                    pull_block(q, src, dst, rec, sub, dt, dx, lower, cells, blocks_per_axis, tools, x, v, C, blocks, slot_of, tile,
                               grid_velocity, flags, centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip
                done[env] += 1
                if flags[1, env] > 0:
                    break

    return substep, substeps


@cache
def backward_kernels(
    dim: int, real: Any, laws: tuple[Law, ...], width: int, keeps_shape: bool, tooled: bool, sliding: bool, atomic: bool
) -> Any:
    """The adjoint kernels `substep_adjoint` and `substeps_adjoint` that belong to `forward_kernels` of the same arguments."""
    V, VA, VM, VP, V2, W, M, IV = types(dim, real, width)
    A = ti.types.ndarray
    lanes = LANES if atomic else 1
    f = backward_functions(dim, real, laws, width, keeps_shape, tooled, sliding, atomic)
    pull_adjoint, node_adjoint, push_adjoint, pull_block_adjoint, push_block_adjoint, gather_slot = f

    @ti.kernel
    def substep_adjoint(
        src: ti.i32, rec: ti.i32, sub: ti.i32, dt: real, dx: real, lower: V, cells: IV, blocks_per_axis: IV, tools: ti.i32,
        x: A(dtype=V, ndim=2), v: A(dtype=V, ndim=2), C: A(dtype=M, ndim=2), F: A(dtype=M, ndim=2), a: A(dtype=real, ndim=2),
        mass: A(dtype=real, ndim=1), volume: A(dtype=real, ndim=1), par: A(dtype=VP, ndim=1), kind: A(dtype=ti.i32, ndim=1),
        stress: A(dtype=M, ndim=2),
        x_bar: A(dtype=V, ndim=1), v_bar: A(dtype=V, ndim=1), C_bar: A(dtype=M, ndim=1), F_bar: A(dtype=M, ndim=1), a_bar: A(dtype=real,
        ndim=1),
        mass_bar: A(dtype=real, ndim=1), par_bar: A(dtype=VP, ndim=1), shared_bar: A(dtype=real, ndim=3),
        blocks: A(dtype=ti.i32, ndim=2), block_of: A(dtype=ti.i32, ndim=1), slots: A(dtype=ti.i32, ndim=2),
        owner: A(dtype=ti.i32, ndim=2), slot_of: A(dtype=ti.i32, ndim=2),
        tile: A(dtype=VM, ndim=2), tile_bar: A(dtype=VM, ndim=2), raw: A(dtype=VM, ndim=2), grid_velocity: A(dtype=VM, ndim=2),
        raw_bar: A(dtype=VM, ndim=2), velocity_bar: A(dtype=VM, ndim=2),
        gravity: A(dtype=V, ndim=1), wall_kind: A(dtype=ti.i32, ndim=1), wall_friction: A(dtype=W, ndim=1),
        wall_velocity: A(dtype=V, ndim=2),
        centre: A(dtype=V, ndim=3), rotation: A(dtype=M, ndim=3), linear: A(dtype=V, ndim=2), angular: A(dtype=VA, ndim=2),
        coefficient: A(dtype=V2, ndim=2), shape: A(dtype=ti.i32, ndim=2), frame: A(dtype=real, ndim=2), table: A(dtype=VM, ndim=1),
    ):  # fmt: skip
        """Takes the adjoint of the particles from the end of a substep to its start, at time index `src`; `rec` is where its grid was kept."""
        if ti.static(atomic):
            ti.loop_config(block_dim=lanes)
            for q in range(blocks.shape[0]):
                fill_tile(dim, q, block_of_tile(dim, q, blocks), blocks[q, dim], slot_of, blocks_per_axis, grid_velocity, rec, tile)
            for q, t in ti.ndrange(blocks.shape[0], TILE**dim):
                tile_bar[q, t] = VM(0)
            for p in range(kind.shape[0]):
                pull_adjoint(p, block_of[p], src, rec, sub, dt, dx, lower, blocks_per_axis, tools, x, x_bar, v_bar, C_bar, blocks, slot_of,
                             tile, tile_bar, centre, rotation, linear, angular, coefficient, shape, frame, table, shared_bar)  # fmt: skip
        else:
            ti.loop_config(block_dim=lanes)
            for q in range(blocks.shape[0]):
                pull_block_adjoint(q, src, rec, sub, dt, dx, lower, blocks_per_axis, tools, x, x_bar, v_bar, C_bar, blocks, slot_of, tile,
                                   tile_bar, grid_velocity, centre, rotation, linear, angular, coefficient, shape, frame, table,
                                   shared_bar)  # fmt: skip
        ti.loop_config(block_dim=lanes)
        for s in range(slots.shape[0]):
            gather_slot(s, slots, owner, blocks_per_axis, tile_bar, velocity_bar)
        ti.loop_config(block_dim=BLOCK**dim)
        for n in range(slots.shape[0] * BLOCK**dim):
            node_adjoint(n, rec, sub, dt, dx, lower, cells, gravity, tools, slots, slot_of, blocks_per_axis, velocity_bar, raw, raw_bar,
                         wall_kind, wall_friction, wall_velocity, centre, rotation, linear, angular, coefficient, shape, frame, table,
                         shared_bar)  # fmt: skip
        if ti.static(atomic):
            ti.loop_config(block_dim=lanes)
            for q in range(blocks.shape[0]):
                fill_tile(dim, q, block_of_tile(dim, q, blocks), blocks[q, dim], slot_of, blocks_per_axis, raw_bar, 0, tile)
            for p in range(kind.shape[0]):
                push_adjoint(p, block_of[p], src, rec, dt, dx, lower, x, v, C, F, a, mass, volume, par, kind, stress,
                             x_bar, v_bar, C_bar, F_bar, a_bar, mass_bar, par_bar, blocks, tile)  # fmt: skip
        else:
            ti.loop_config(block_dim=lanes)
            for q in range(blocks.shape[0]):
                push_block_adjoint(q, src, rec, dt, dx, lower, blocks_per_axis, x, v, C, F, a, mass, volume, par, kind, stress,
                                   x_bar, v_bar, C_bar, F_bar, a_bar, mass_bar, par_bar, blocks, slot_of, tile, raw_bar)  # fmt: skip

    @ti.kernel
    def substeps_adjoint(
        first: A(dtype=ti.i32, ndim=1), done: A(dtype=ti.i32, ndim=1), ranges: A(dtype=ti.i32, ndim=2),
        dt: real, dx: real, lower: V, cells: IV, blocks_per_axis: IV, tools: ti.i32,
        x: A(dtype=V, ndim=2), v: A(dtype=V, ndim=2), C: A(dtype=M, ndim=2), F: A(dtype=M, ndim=2), a: A(dtype=real, ndim=2),
        mass: A(dtype=real, ndim=1), volume: A(dtype=real, ndim=1), par: A(dtype=VP, ndim=1), kind: A(dtype=ti.i32, ndim=1),
        stress: A(dtype=M, ndim=2),
        x_bar: A(dtype=V, ndim=1), v_bar: A(dtype=V, ndim=1), C_bar: A(dtype=M, ndim=1), F_bar: A(dtype=M, ndim=1), a_bar: A(dtype=real,
        ndim=1),
        mass_bar: A(dtype=real, ndim=1), par_bar: A(dtype=VP, ndim=1), shared_bar: A(dtype=real, ndim=3),
        blocks: A(dtype=ti.i32, ndim=2), slots: A(dtype=ti.i32, ndim=2), owner: A(dtype=ti.i32, ndim=2), slot_of: A(dtype=ti.i32, ndim=2),
        tile: A(dtype=VM, ndim=2), tile_bar: A(dtype=VM, ndim=2), raw: A(dtype=VM, ndim=2), grid_velocity: A(dtype=VM, ndim=2),
        raw_bar: A(dtype=VM, ndim=2), velocity_bar: A(dtype=VM, ndim=2),
        gravity: A(dtype=V, ndim=1), wall_kind: A(dtype=ti.i32, ndim=1), wall_friction: A(dtype=W, ndim=1),
        wall_velocity: A(dtype=V, ndim=2),
        centre: A(dtype=V, ndim=3), rotation: A(dtype=M, ndim=3), linear: A(dtype=V, ndim=2), angular: A(dtype=VA, ndim=2),
        coefficient: A(dtype=V2, ndim=2), shape: A(dtype=ti.i32, ndim=2), frame: A(dtype=real, ndim=2), table: A(dtype=VM, ndim=1),
    ):  # fmt: skip
        """The adjoint of `substeps`: takes each environment back over the substeps that it did, on one thread."""
        ti.loop_config(block_dim=lanes)
        for env in range(first.shape[0]):
            for back in range(done[env]):
                t = done[env] - 1 - back
                sub = first[env] + t
                for q in range(ranges[env, 0], ranges[env, 1]):
                    pull_block_adjoint(q, t, t, sub, dt, dx, lower, blocks_per_axis, tools, x, x_bar, v_bar, C_bar, blocks, slot_of, tile,
                                       tile_bar, grid_velocity, centre, rotation, linear, angular, coefficient, shape, frame, table,
                                       shared_bar)  # fmt: skip
                for s in range(ranges[env, 2], ranges[env, 3]):
                    gather_slot(s, slots, owner, blocks_per_axis, tile_bar, velocity_bar)
                for n in range(ranges[env, 2] * BLOCK**dim, ranges[env, 3] * BLOCK**dim):
                    node_adjoint(n, t, sub, dt, dx, lower, cells, gravity, tools, slots, slot_of, blocks_per_axis, velocity_bar, raw,
                    raw_bar,
                                 wall_kind, wall_friction, wall_velocity, centre, rotation, linear, angular, coefficient, shape, frame, table,
                                 shared_bar)  # fmt: skip
                for q in range(ranges[env, 0], ranges[env, 1]):
                    push_block_adjoint(q, t, t, dt, dx, lower, blocks_per_axis, x, v, C, F, a, mass, volume, par, kind, stress,
                                       x_bar, v_bar, C_bar, F_bar, a_bar, mass_bar, par_bar, blocks, slot_of, tile, raw_bar)  # fmt: skip

    return substep_adjoint, substeps_adjoint
