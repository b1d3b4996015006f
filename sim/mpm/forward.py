"""The stages of a substep of MLS-MPM as Taichi functions: stress and scatter, grid, gather.

Hu et al. 2018, "A moving least squares material point method"; Jiang et al. 2015 for APIC. Everything is indexed by time, so that nothing
that a derivative needs is overwritten.
"""

from functools import cache
from typing import Any, NamedTuple

from ..core import Outcome
from ..materials import Law
from ..runtime import taichi
from .contact import coulomb, tool_velocity
from .sliding import image_shift, slide
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
from .types import types

ti = taichi()

OUT_OF_DOMAIN, TOO_FAST = int(Outcome.OUT_OF_DOMAIN), int(Outcome.TOO_FAST)


@ti.func
def at_walls(
    dim: ti.template(), a: ti.template(), rel, cells, v, wall_kind: ti.template(), friction, sliding: ti.template(), env,
    wall_velocity: ti.template(),
):  # fmt: skip
    """The velocity of a node after the walls across axis `a`. `friction` has one entry a wall."""
    result = v
    for side in ti.static(range(2)):
        if (rel[a] <= 0) if ti.static(side == 0) else (rel[a] >= cells[a]):
            kind = wall_kind[2 * a + side]
            if kind == SLIP:
                result[a] = v[a] * 0
            elif kind == STICKY:
                result = v * 0
                if ti.static(sliding):
                    result = slide(dim, a, side, rel, cells, env, wall_velocity)
            else:
                n = v * 0
                n[a] += 1 - 2 * side
                mu = v[a] * 0
                if kind != SEPARATE:
                    mu = friction[2 * a + side]
                if ti.static(sliding):
                    along = slide(dim, a, side, rel, cells, env, wall_velocity)
                    result = along + coulomb(v - along, n, mu)
                else:
                    result = coulomb(v, n, mu)
    return result


class ForwardFunctions(NamedTuple):
    """The stages of a substep, for particles and nodes and for blocks of them."""

    push: Any
    pull: Any
    node: Any
    push_block: Any
    pull_block: Any
    gather_slot: Any


@cache
def forward_functions(
    dim: int, real: Any, laws: tuple[Law, ...], width: int, keeps_shape: bool, tooled: bool, sliding: bool, atomic: bool
) -> Any:
    """The stages of a substep as Taichi functions; the arguments are those of `kernels.forward_kernels`."""
    t = types(dim, real, width)
    V, VM, M = t.V, t.VM, t.M

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
        wall_kind: ti.template(), wall_friction: ti.template(), wall_velocity: ti.template(),
        centre: ti.template(), rotation: ti.template(), linear: ti.template(), angular: ti.template(), coefficient: ti.template(),
        shape: ti.template(), frame: ti.template(), table: ti.template(),
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
            one, zero = V(1), V(0)
            total = VM(0)
            for c in range(images):
                exists, image, signs = mirror(dim, c, rel, cells, wall_kind, one)
                if exists:
                    index = node_slot(dim, image + PAD, env, slot_of, blocks_per_axis)
                    if index >= 0:
                        value = raw[rec, index]
                        if ti.static(sliding):
                            shift = image_shift(dim, c, rel, cells, zero, env, wall_kind, wall_velocity)
                            for i in ti.static(range(dim)):
                                value[i] -= value[dim] * shift[i]
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
                    velocity = at_walls(dim, i, rel, cells, velocity, wall_kind, friction, sliding, env, wall_velocity)
            for c in range(images):
                exists, image, signs = mirror(dim, c, rel, cells, wall_kind, one)
                if exists:
                    index = node_slot(dim, image + PAD, env, slot_of, blocks_per_axis)
                    if index >= 0:
                        value = VM(0)
                        for i in ti.static(range(dim)):
                            value[i] = signs[i] * velocity[i]
                        if ti.static(sliding):
                            shift = image_shift(dim, c, rel, cells, zero, env, wall_kind, wall_velocity)
                            for i in ti.static(range(dim)):
                                value[i] += shift[i]
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

    return ForwardFunctions(push, pull, node, push_block, pull_block, gather_slot)
