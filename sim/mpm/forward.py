"""One substep of MLS-MPM as a Taichi kernel: stress and scatter, grid, gather.

Hu et al. 2018, "A moving least squares material point method"; Jiang et al. 2015 for APIC. Everything is indexed by time, so that nothing
that a derivative needs is overwritten.
"""

from functools import lru_cache
from typing import Any

from ..core import Outcome
from ..materials import Law
from ..runtime import taichi
from .contact import coulomb, tool_velocity
from .stencil import (
    BLOCK,
    PAD,
    REACH,
    SEPARATE,
    SLIP,
    STICKY,
    TILE,
    add_tiles,
    block_of_tile,
    fill_tile,
    first_node,
    in_tile,
    is_image,
    mirror,
    node_slot,
    place_of_slot,
    row_offset,
    row_weight,
    unflatten,
    weights,
)

ti = taichi()

OUT_OF_DOMAIN, TOO_FAST = int(Outcome.OUT_OF_DOMAIN), int(Outcome.TOO_FAST)


@ti.func
def wall_velocity(dim: ti.template(), a: ti.template(), rel, cells, v, wall_kind: ti.template(), friction):
    """The velocity of a node after the walls across axis `a`. `friction` has one entry a wall."""
    result = v
    for side in ti.static(range(2)):
        if (rel[a] <= 0) if ti.static(side == 0) else (rel[a] >= cells[a]):
            kind = wall_kind[2 * a + side]
            if kind == SLIP:
                result[a] = v[a] * 0
            elif kind == STICKY:
                result = v * 0
            else:
                n = v * 0
                n[a] += 1 - 2 * side
                mu = v[a] * 0
                if kind != SEPARATE:
                    mu = friction[2 * a + side]
                result = coulomb(v, n, mu)
    return result


@lru_cache(maxsize=None)
def forward_kernels(dim: int, real: Any, laws: tuple[Law, ...], width: int, keeps_shape: bool, tooled: bool, atomic: bool) -> Any:
    """The kernels `substep` and `substeps` for a dimension, a precision, and the laws that are present (in the order of the particles' `kind`).

    `width` is the number of law parameters; `tooled` says whether there are tools; `atomic` scatters with atomics, particle by particle, as a GPU wants it.
    """
    V = ti.types.vector(dim, real)
    VA = ti.types.vector(1 if dim == 2 else 3, real)
    VM = ti.types.vector(dim + 1, real)
    VP = ti.types.vector(width, real)
    V2 = ti.types.vector(2, real)
    W = ti.types.vector(2 * dim, real)
    M = ti.types.matrix(dim, dim, real)
    IV = ti.types.vector(dim, ti.i32)
    A = ti.types.ndarray

    @ti.func
    def push(
        p, q, src, dst, rec, dt, dx, lower, x: ti.template(), v: ti.template(), C: ti.template(), F: ti.template(), a: ti.template(),
        mass: ti.template(), volume: ti.template(), par: ti.template(), kind: ti.template(), stress: ti.template(), blocks: ti.template(),
        tile: ti.template(),
    ):  # fmt: skip
        """Advances the material point p over dt, and adds its momentum and mass to the tile q."""
        place = (x[src, p] - lower) / dx + PAD
        base = first_node(place)
        fx = place - base
        L = C[src, p]
        tau = L * 0
        deformation = L * 0
        if ti.static(keeps_shape):
            deformation = F[src, p]
        internal = a[src, p]
        parameters = par[p]
        for k in ti.static(range(len(laws))):
            if kind[p] == k:
                F1, a1, law_stress = laws[k].update(deformation, internal, L, parameters, dt)
                tau = law_stress
                if ti.static(keeps_shape):
                    F[dst, p] = F1
                a[dst, p] = a1
        stress[rec, p] = tau
        m = mass[p]
        affine = (m * L - (4 * dt * volume[p] / (dx * dx)) * tau) * dx
        start = m * v[src, p] - affine @ fx
        corner = base - ti.Vector([blocks[q, i] for i in ti.static(range(dim))])
        w = weights(fx)
        for r in range(3 ** (dim - 1)):
            offset = row_offset(dim, r)
            wr = row_weight(dim, w, offset)
            momentum = start + affine @ offset
            index = in_tile(dim, corner + offset)
            for k in ti.static(range(3)):
                value = momentum * 0
                for i in ti.static(range(dim)):
                    value[i] = momentum[i] + affine[i, dim - 1] * k
                wt = wr * w[dim - 1, k]
                packed = VM([wt * value[i] for i in range(dim)] + [wt * m])
                if ti.static(atomic):
                    tile[q, index + k] += packed
                else:
                    tile[q, index + k] = tile[q, index + k] + packed

    @ti.func
    def pull(
        p, q, src, dst, sub, dt, dx, lower, cells, tools, x: ti.template(), v: ti.template(), C: ti.template(), blocks: ti.template(),
        tile: ti.template(), flags: ti.template(), centre: ti.template(), rotation: ti.template(), linear: ti.template(),
        angular: ti.template(), coefficient: ti.template(), shape: ti.template(), frame: ti.template(), table: ti.template(),
    ):  # fmt: skip
        """Gathers velocity and its gradient from the tile q, and moves the particle p."""
        place = (x[src, p] - lower) / dx + PAD
        base = first_node(place)
        fx = place - base
        origin = ti.Vector([blocks[q, i] for i in ti.static(range(dim))])
        corner = base - origin
        w = weights(fx)
        velocity = V(0)
        B = M(0)
        for r in range(3 ** (dim - 1)):
            offset = row_offset(dim, r)
            wr = row_weight(dim, w, offset)
            index = in_tile(dim, corner + offset)
            row = V(0)
            last = V(0)
            for k in ti.static(range(3)):
                value = tile[q, index + k]
                wt = wr * w[dim - 1, k]
                for i in ti.static(range(dim)):
                    row[i] += wt * value[i]
                    last[i] += wt * value[i] * k
            velocity += row
            for i in ti.static(range(dim)):
                for j in ti.static(range(dim - 1)):
                    B[i, j] += row[i] * offset[j]
                B[i, dim - 1] += last[i]
        C[dst, p] = (B - velocity.outer_product(fx)) * (4 / dx)
        if ti.static(tooled):  # at the particle too: nodes alone let liquids seep through walls of one or two cells
            env = blocks[q, dim]
            for e in range(tools):
                velocity = tool_velocity(dim, e, x[src, p], velocity, centre[sub, env, e], rotation[sub, env, e], linear[env, e],
                                         angular[env, e], coefficient[env, e], shape, frame, table)  # fmt: skip
        v[dst, p] = velocity
        there = x[src, p] + dt * velocity
        # Integer tests, since a NaN fails them too, whatever the compiler assumes of floats.
        base1 = first_node((there - lower) / dx + PAD)
        fault = 0
        drifted = 0
        for i in ti.static(range(dim)):
            if base1[i] < PAD - 1 or base1[i] > cells[i] + PAD - 1:
                fault = ti.max(fault, OUT_OF_DOMAIN)
            if base1[i] < base[i] - 1 or base1[i] > base[i] + 1:
                fault = ti.max(fault, TOO_FAST)
            if base1[i] < origin[i] or base1[i] > origin[i] + REACH:
                drifted = 1
        if fault > 0:
            there = x[src, p]
            ti.atomic_max(flags[0, blocks[q, dim]], fault)
        elif drifted > 0:
            ti.atomic_max(flags[1, blocks[q, dim]], 1)
        x[dst, p] = there

    @ti.func
    def node(
        n, rec, sub, dt, dx, lower, cells, gravity: ti.template(), tools, slots: ti.template(),
        slot_of: ti.template(), blocks_per_axis, raw: ti.template(), grid_velocity: ti.template(),
        wall_kind: ti.template(), wall_friction: ti.template(), centre: ti.template(), rotation: ti.template(), linear: ti.template(),
        angular: ti.template(), coefficient: ti.template(), shape: ti.template(), frame: ti.template(), table: ti.template(),
    ):  # fmt: skip
        """Turns the momentum of a node and of its mirror images into velocities."""
        s = n // BLOCK**dim
        env = slots[s, dim]
        place = unflatten(dim, n % BLOCK**dim, 2)
        for i in ti.static(range(dim)):
            place[i] += slots[s, i] * BLOCK
        rel = place - PAD
        if not is_image(dim, rel, cells, wall_kind):
            beside_wall = 0
            for i in ti.static(range(dim)):
                if rel[i] == 1 or rel[i] == cells[i] - 1:
                    beside_wall = 1
            images = 2**dim if beside_wall else 1
            one = V(1)
            total = VM(0)
            for c in range(images):
                exists, image, signs = mirror(dim, c, rel, cells, wall_kind, one)
                if exists:
                    index = node_slot(dim, image + PAD, env, slot_of, blocks_per_axis)
                    if index >= 0:
                        value = raw[rec, index]
                        for i in ti.static(range(dim)):
                            total[i] += signs[i] * value[i]
                        total[dim] += value[dim]
            velocity = V(0)
            if total[dim] > 1e-30:
                for i in ti.static(range(dim)):
                    velocity[i] = total[i] / total[dim] + dt * gravity[env][i]
                X = lower + rel * dx
                if ti.static(tooled):
                    for e in range(tools):
                        velocity = tool_velocity(dim, e, X, velocity, centre[sub, env, e], rotation[sub, env, e], linear[env, e],
                                                 angular[env, e], coefficient[env, e], shape, frame, table)  # fmt: skip
                friction = wall_friction[env]
                for i in ti.static(range(dim)):
                    velocity = wall_velocity(dim, i, rel, cells, velocity, wall_kind, friction)
            for c in range(images):
                exists, image, signs = mirror(dim, c, rel, cells, wall_kind, one)
                if exists:
                    index = node_slot(dim, image + PAD, env, slot_of, blocks_per_axis)
                    if index >= 0:
                        value = VM(0)
                        for i in ti.static(range(dim)):
                            value[i] = signs[i] * velocity[i]
                        grid_velocity[rec, index] = value

    @ti.func
    def push_block(
        q, src, dst, rec, dt, dx, lower, x: ti.template(), v: ti.template(), C: ti.template(), F: ti.template(), a: ti.template(),
        mass: ti.template(), volume: ti.template(), par: ti.template(), kind: ti.template(), stress: ti.template(), blocks: ti.template(),
        tile: ti.template(),
    ):  # fmt: skip
        for t in range(TILE**dim):
            tile[q, t] = VM(0)
        for p in range(blocks[q, dim + 1], blocks[q, dim + 2]):
            push(p, q, src, dst, rec, dt, dx, lower, x, v, C, F, a, mass, volume, par, kind, stress, blocks, tile)

    @ti.func
    def pull_block(
        q, src, dst, rec, sub, dt, dx, lower, cells, blocks_per_axis, tools, x: ti.template(), v: ti.template(), C: ti.template(),
        blocks: ti.template(), slot_of: ti.template(), tile: ti.template(), grid_velocity: ti.template(), flags: ti.template(),
        centre: ti.template(), rotation: ti.template(), linear: ti.template(), angular: ti.template(), coefficient: ti.template(),
        shape: ti.template(), frame: ti.template(), table: ti.template(),
    ):  # fmt: skip
        fill_tile(dim, q, block_of_tile(dim, q, blocks), blocks[q, dim], slot_of, blocks_per_axis, grid_velocity, rec, tile)
        for p in range(blocks[q, dim + 1], blocks[q, dim + 2]):
            pull(p, q, src, dst, sub, dt, dx, lower, cells, tools, x, v, C, blocks, tile, flags,
                 centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip

    @ti.func
    def gather_slot(s, rec, slots: ti.template(), owner: ti.template(), blocks_per_axis, tile: ti.template(), raw: ti.template()):
        add_tiles(dim, place_of_slot(dim, s, slots), s * BLOCK**dim, slots[s, dim], owner, blocks_per_axis, tile, rec, raw)

    @ti.kernel
    def substep(
        src: ti.i32, dst: ti.i32, rec: ti.i32, sub: ti.i32, dt: real, dx: real, lower: V, cells: IV, blocks_per_axis: IV, tools: ti.i32,
        x: A(dtype=V, ndim=2), v: A(dtype=V, ndim=2), C: A(dtype=M, ndim=2), F: A(dtype=M, ndim=2), a: A(dtype=real, ndim=2),
        mass: A(dtype=real, ndim=1), volume: A(dtype=real, ndim=1), par: A(dtype=VP, ndim=1), kind: A(dtype=ti.i32, ndim=1), stress: A(dtype=M, ndim=2),
        blocks: A(dtype=ti.i32, ndim=2), block_of: A(dtype=ti.i32, ndim=1), slots: A(dtype=ti.i32, ndim=2),
        owner: A(dtype=ti.i32, ndim=2), slot_of: A(dtype=ti.i32, ndim=2), flags: A(dtype=ti.i32, ndim=2),
        tile: A(dtype=VM, ndim=2), raw: A(dtype=VM, ndim=2), grid_velocity: A(dtype=VM, ndim=2),
        gravity: A(dtype=V, ndim=1), wall_kind: A(dtype=ti.i32, ndim=1), wall_friction: A(dtype=W, ndim=1),
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
            ti.loop_config(block_dim=1)
            for q in range(blocks.shape[0]):
                push_block(q, src, dst, rec, dt, dx, lower, x, v, C, F, a, mass, volume, par, kind, stress, blocks, tile)
        ti.loop_config(block_dim=1)
        for s in range(slots.shape[0]):
            gather_slot(s, rec, slots, owner, blocks_per_axis, tile, raw)
        ti.loop_config(block_dim=BLOCK**dim)
        for n in range(slots.shape[0] * BLOCK**dim):
            node(n, rec, sub, dt, dx, lower, cells, gravity, tools, slots, slot_of, blocks_per_axis, raw, grid_velocity,
                 wall_kind, wall_friction, centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip
        if ti.static(atomic):
            ti.loop_config(block_dim=1)
            for q in range(blocks.shape[0]):
                fill_tile(dim, q, block_of_tile(dim, q, blocks), blocks[q, dim], slot_of, blocks_per_axis, grid_velocity, rec, tile)
            for p in range(kind.shape[0]):
                pull(p, block_of[p], src, dst, sub, dt, dx, lower, cells, tools, x, v, C, blocks, tile, flags,
                     centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip
        else:
            ti.loop_config(block_dim=1)
            for q in range(blocks.shape[0]):
                pull_block(q, src, dst, rec, sub, dt, dx, lower, cells, blocks_per_axis, tools, x, v, C, blocks, slot_of, tile,
                           grid_velocity, flags, centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip

    @ti.kernel
    def substeps(
        last: ti.i32, record: ti.i32, first: A(dtype=ti.i32, ndim=1), done: A(dtype=ti.i32, ndim=1), ranges: A(dtype=ti.i32, ndim=2),
        dt: real, dx: real, lower: V, cells: IV, blocks_per_axis: IV, tools: ti.i32,
        x: A(dtype=V, ndim=2), v: A(dtype=V, ndim=2), C: A(dtype=M, ndim=2), F: A(dtype=M, ndim=2), a: A(dtype=real, ndim=2),
        mass: A(dtype=real, ndim=1), volume: A(dtype=real, ndim=1), par: A(dtype=VP, ndim=1), kind: A(dtype=ti.i32, ndim=1), stress: A(dtype=M, ndim=2),
        blocks: A(dtype=ti.i32, ndim=2), slots: A(dtype=ti.i32, ndim=2),
        owner: A(dtype=ti.i32, ndim=2), slot_of: A(dtype=ti.i32, ndim=2), flags: A(dtype=ti.i32, ndim=2),
        tile: A(dtype=VM, ndim=2), raw: A(dtype=VM, ndim=2), grid_velocity: A(dtype=VM, ndim=2),
        gravity: A(dtype=V, ndim=1), wall_kind: A(dtype=ti.i32, ndim=1), wall_friction: A(dtype=W, ndim=1),
        centre: A(dtype=V, ndim=3), rotation: A(dtype=M, ndim=3), linear: A(dtype=V, ndim=2), angular: A(dtype=VA, ndim=2),
        coefficient: A(dtype=V2, ndim=2), shape: A(dtype=ti.i32, ndim=2), frame: A(dtype=real, ndim=2), table: A(dtype=VM, ndim=1),
    ):  # fmt: skip
        """Advances each environment on one thread from its substep `first` until `last`, or until its particles must be sorted again.

        `done` counts what was done. There is no waiting between stages, so that small scenes and large batches run at full speed.
        """
        ti.loop_config(block_dim=1)
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
                         wall_kind, wall_friction, centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip
                for q in range(ranges[env, 0], ranges[env, 1]):
                    pull_block(q, src, dst, rec, sub, dt, dx, lower, cells, blocks_per_axis, tools, x, v, C, blocks, slot_of, tile,
                               grid_velocity, flags, centre, rotation, linear, angular, coefficient, shape, frame, table)  # fmt: skip
                done[env] += 1
                if flags[1, env] > 0:
                    break

    return substep, substeps
