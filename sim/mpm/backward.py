"""The adjoint of a substep of MLS-MPM as Taichi functions, written by hand: gather, grid, scatter and stress, in reverse.

The adjoint of the gather scatters to the grid, and uses the tiles of the forward scatter; the adjoint of the scatter gathers.
"""

from functools import cache
from typing import Any, NamedTuple

from ..algebra import inner
from ..materials import Law
from ..runtime import taichi
from .contact import coulomb_adjoint, tool_adjoint, tool_velocity
from .forward import at_walls
from .sliding import add_slide, image_shift, image_shift_adjoint, slide
from .stencil import (
    BLOCK,
    PAD,
    SEPARATE,
    SLIP,
    STICKY,
    TILE,
    add_tiles,
    block_index,
    block_of_tile,
    fill_tile,
    first_node,
    in_tile,
    is_image,
    mirror,
    node_slot,
    place_of_slot,
    row_offset,
    row_slopes,
    row_weight,
    slopes,
    unflatten,
    weights,
)
from .types import types

ti = taichi()


def shared_width(dim: int, tools: int, sliding: bool) -> int:
    """How many numbers of an environment's shared parameters a substep has derivatives for.

    In order: gravity D, wall friction 2 D, if walls slide their velocities 2 D^2, and for each tool centre D, rotation D^2, linear D, angular,
    friction, softness.
    """
    return first_tool(dim, sliding) + tools * tool_width(dim)


def first_tool(dim: int, sliding: bool) -> int:
    """Where the numbers of the tools begin in that list."""
    return 3 * dim + (2 * dim * dim if sliding else 0)


def tool_width(dim: int) -> int:
    """The numbers of one tool in that list."""
    return 2 * dim + dim * dim + (1 if dim == 2 else 3) + 2


class BackwardFunctions(NamedTuple):
    """The adjoints of the stages of a substep, for particles and nodes and for blocks of them."""

    pull_adjoint: Any
    node_adjoint: Any
    push_adjoint: Any
    pull_block_adjoint: Any
    push_block_adjoint: Any
    gather_slot: Any


@cache
def backward_functions(
    dim: int, real: Any, laws: tuple[Law, ...], width: int, keeps_shape: bool, tooled: bool, sliding: bool, atomic: bool
) -> Any:
    """The adjoint of the stages that `forward_functions` of the same arguments makes."""
    t = types(dim, real, width)
    V, VM, M = t.V, t.VM, t.M
    spins = 1 if dim == 2 else 3
    stride, tools_start = tool_width(dim), first_tool(dim, sliding)

    @ti.func
    def add_tool(rec, s, e, c_bar, r_bar, l_bar, a_bar, k_bar, shared_bar: ti.template()):
        """Adds the derivatives of tool e to the share of the block s."""
        first = tools_start + e * stride
        for i in ti.static(range(dim)):
            shared_bar[rec, s, first + i] += c_bar[i]
            for j in ti.static(range(dim)):
                shared_bar[rec, s, first + dim + i * dim + j] += r_bar[i, j]
            shared_bar[rec, s, first + dim + dim * dim + i] += l_bar[i]
        for i in ti.static(range(spins)):
            shared_bar[rec, s, first + 2 * dim + dim * dim + i] += a_bar[i]
        for i in ti.static(range(2)):
            shared_bar[rec, s, first + 2 * dim + dim * dim + spins + i] += k_bar[i]

    @ti.func
    def tools_adjoint(
        rec, sub, s, env, tools, X, free, bar, centre: ti.template(), rotation: ti.template(), linear: ti.template(),
        angular: ti.template(),
        coefficient: ti.template(), shape: ti.template(), frame: ti.template(), table: ti.template(), shared_bar: ti.template(),
    ):  # fmt: skip
        """The adjoint of all tools acting in turn on the velocity `free` at X: of that velocity, and of X."""
        X_bar = V(0)
        v_bar = bar
        for e_ in range(tools):
            e = tools - 1 - e_
            velocity = free
            for e0 in range(e):
                velocity = tool_velocity(dim, e0, X, velocity, centre[sub, env, e0], rotation[sub, env, e0], linear[env, e0],
                                         angular[env, e0], coefficient[env, e0], shape, frame, table)  # fmt: skip
            u_bar, c_bar, r_bar, l_bar, a_bar, k_bar, hit = tool_adjoint(
                dim, e, X, velocity, v_bar, centre[sub, env, e], rotation[sub, env, e], linear[env, e],
                angular[env, e], coefficient[env, e], shape, frame, table)  # fmt: skip
            if hit:
                v_bar = u_bar
                X_bar -= c_bar
                add_tool(rec, s, e, c_bar, r_bar, l_bar, a_bar, k_bar, shared_bar)
        return v_bar, X_bar

    @ti.func
    def pull_adjoint(
        p, q, src, rec, sub, dt, dx, lower, blocks_per_axis, tools, x: ti.template(), x_bar: ti.template(), v_bar: ti.template(),
        C_bar: ti.template(), blocks: ti.template(), slot_of: ti.template(), tile: ti.template(), tile_bar: ti.template(),
        centre: ti.template(), rotation: ti.template(), linear: ti.template(), angular: ti.template(), coefficient: ti.template(),
        shape: ti.template(), frame: ti.template(), table: ti.template(), shared_bar: ti.template(),
    ):  # fmt: skip
        """The adjoint of `pull`: x_bar becomes what the particle's old place has of it; the nodes' part goes to tile_bar."""
        place = (x[src, p] - lower) / dx + PAD
        base = first_node(place)
        fx = place - base
        origin = ti.Vector([blocks[q, i] for i in ti.static(range(dim))])
        corner = base - origin
        w = weights(fx)
        dw = slopes(fx)
        moved = v_bar[p] + dt * x_bar[p]
        if ti.static(tooled):
            velocity = V(0)
            for r in range(3 ** (dim - 1)):
                offset = row_offset(dim, r)
                wr = row_weight(dim, w, offset)
                for k in ti.static(range(3)):
                    value = tile[q, in_tile(dim, corner + offset) + k]
                    for i in ti.static(range(dim)):
                        velocity[i] += wr * w[dim - 1, k] * value[i]
            env = blocks[q, dim]
            s = slot_of[env, block_index(dim, (origin + 1) >> 2, blocks_per_axis)]
            free_bar, place_bar_of_tools = tools_adjoint(rec, sub, s, env, tools, x[src, p], velocity, moved, centre, rotation, linear,
            angular,
                                                         coefficient, shape, frame, table, shared_bar)  # fmt: skip
            moved = free_bar
            x_bar[p] += place_bar_of_tools
        B = C_bar[p] * (4 / dx)
        start = moved - B @ fx
        place_bar = V(0)
        for r in range(3 ** (dim - 1)):
            offset = row_offset(dim, r)
            wr = row_weight(dim, w, offset)
            wg = row_slopes(dim, w, dw, offset)
            index = in_tile(dim, corner + offset)
            row = start + B @ offset
            for k in ti.static(range(3)):
                wt = wr * w[dim - 1, k]
                value = tile[q, index + k]
                node_bar = VM(0)
                along = value[0] * 0
                for i in ti.static(range(dim)):
                    s = row[i] + B[i, dim - 1] * k
                    node_bar[i] = wt * s
                    along += value[i] * s
                for j in ti.static(range(dim)):
                    slope = wg[j] * (dw[dim - 1, k] if ti.static(j == dim - 1) else w[dim - 1, k])
                    turned = value[0] * 0
                    for i in ti.static(range(dim)):
                        turned += B[i, j] * value[i]
                    place_bar[j] += along * slope - wt * turned
                if ti.static(atomic):
                    tile_bar[q, index + k] += node_bar
                else:
                    tile_bar[q, index + k] = tile_bar[q, index + k] + node_bar
        x_bar[p] += place_bar / dx

    @ti.func
    def node_adjoint(
        n, rec, sub, dt, dx, lower, cells, gravity: ti.template(), tools, slots: ti.template(), slot_of: ti.template(), blocks_per_axis,
        velocity_bar: ti.template(), raw: ti.template(), raw_bar: ti.template(), wall_kind: ti.template(), wall_friction: ti.template(),
        wall_velocity: ti.template(),
        centre: ti.template(), rotation: ti.template(), linear: ti.template(), angular: ti.template(), coefficient: ti.template(),
        shape: ti.template(), frame: ti.template(), table: ti.template(), shared_bar: ti.template(),
    ):  # fmt: skip
        """The adjoint of `node`: from the velocities of a node and its images to their momentum and mass."""
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
            bar = V(0)
            for c in range(images):
                exists, image, signs = mirror(dim, c, rel, cells, wall_kind, one)
                if exists:
                    index = node_slot(dim, image + PAD, env, slot_of, blocks_per_axis)
                    if index >= 0:
                        value = raw[rec, index]
                        value_bar = velocity_bar[0, index]
                        if ti.static(sliding):
                            shift = image_shift(dim, c, rel, cells, zero, env, wall_kind, wall_velocity)
                            shift_bar = zero
                            for i in ti.static(range(dim)):
                                value[i] -= value[dim] * shift[i]
                                shift_bar[i] = value_bar[i]
                            image_shift_adjoint(dim, c, rel, cells, shift_bar, wall_kind, rec, s, 3 * dim, shared_bar)
                        for i in ti.static(range(dim)):
                            total[i] += signs[i] * value[i]
                            bar[i] += signs[i] * value_bar[i]
                        total[dim] += value[dim]
            total_bar = VM(0)
            if total[dim] > 1e-30:
                free = V(0)
                for i in ti.static(range(dim)):
                    free[i] = total[i] / total[dim] + dt * gravity[env][i]
                X = lower + rel * dx
                touched = free
                if ti.static(tooled):
                    for e in range(tools):
                        touched = tool_velocity(dim, e, X, touched, centre[sub, env, e], rotation[sub, env, e], linear[env, e],
                                                angular[env, e], coefficient[env, e], shape, frame, table)  # fmt: skip
                friction = wall_friction[env]
                for i_ in ti.static(range(dim)):
                    i = ti.static(dim - 1 - i_)
                    u = touched
                    for j in ti.static(range(i)):
                        u = at_walls(dim, j, rel, cells, u, wall_kind, friction, sliding, env, wall_velocity)
                    for side in ti.static(range(2)):
                        if (rel[i] <= 0) if ti.static(side == 0) else (rel[i] >= cells[i]):
                            kind_of_wall = wall_kind[2 * i + side]
                            if kind_of_wall == SLIP:
                                bar[i] = bar[i] * 0
                            elif kind_of_wall == STICKY:
                                if ti.static(sliding):
                                    add_slide(dim, i, side, rel, cells, bar, rec, s, 3 * dim, shared_bar)
                                bar = bar * 0
                            else:
                                normal = V(0)
                                normal[i] += 1 - 2 * side
                                mu = friction[2 * i + side]
                                if kind_of_wall == SEPARATE:
                                    mu = mu * 0
                                along = zero
                                if ti.static(sliding):
                                    along = slide(dim, i, side, rel, cells, env, wall_velocity)
                                u_bar, _normal_bar, mu_bar = coulomb_adjoint(u - along, normal, mu, bar)
                                if ti.static(sliding):
                                    add_slide(dim, i, side, rel, cells, bar - u_bar, rec, s, 3 * dim, shared_bar)
                                bar = u_bar
                                if kind_of_wall != SEPARATE:
                                    shared_bar[rec, s, dim + 2 * i + side] += mu_bar
                if ti.static(tooled):
                    free_bar, _X_bar = tools_adjoint(rec, sub, s, env, tools, X, free, bar, centre, rotation, linear, angular,
                                                     coefficient, shape, frame, table, shared_bar)  # fmt: skip
                    bar = free_bar
                for i in ti.static(range(dim)):
                    shared_bar[rec, s, i] += dt * bar[i]
                    total_bar[i] = bar[i] / total[dim]
                    total_bar[dim] -= bar[i] / total[dim] * (total[i] / total[dim])  # the square of a small mass underflows
            for c in range(images):
                exists, image, signs = mirror(dim, c, rel, cells, wall_kind, one)
                if exists:
                    index = node_slot(dim, image + PAD, env, slot_of, blocks_per_axis)
                    if index >= 0:
                        value = total_bar
                        for i in ti.static(range(dim)):
                            value[i] *= signs[i]
                        if ti.static(sliding):
                            mass = raw[rec, index][dim]
                            shift = image_shift(dim, c, rel, cells, zero, env, wall_kind, wall_velocity)
                            shift_bar = zero
                            for i in ti.static(range(dim)):
                                value[dim] -= value[i] * shift[i]
                                shift_bar[i] = -mass * value[i]
                            image_shift_adjoint(dim, c, rel, cells, shift_bar, wall_kind, rec, s, 3 * dim, shared_bar)
                        raw_bar[0, index] = value

    @ti.func
    def push_adjoint(
        p, q, src, rec, dt, dx, lower, x: ti.template(), v: ti.template(), C: ti.template(), F: ti.template(), a: ti.template(),
        mass: ti.template(), volume: ti.template(), par: ti.template(), kind: ti.template(), stress: ti.template(), x_bar: ti.template(),
        v_bar: ti.template(),
        C_bar: ti.template(), F_bar: ti.template(), a_bar: ti.template(), mass_bar: ti.template(), par_bar: ti.template(),
        blocks: ti.template(), tile: ti.template(),
    ):  # fmt: skip
        """The adjoint of `push`: from the momentum and mass of the nodes to the particle and its material."""
        place = (x[src, p] - lower) / dx + PAD
        base = first_node(place)
        fx = place - base
        corner = base - ti.Vector([blocks[q, i] for i in ti.static(range(dim))])
        w = weights(fx)
        dw = slopes(fx)
        L = C[src, p]
        deformation = L * 0
        deformation_bar = L * 0
        if ti.static(keeps_shape):
            deformation = F[src, p]
            deformation_bar = F_bar[p]
        internal = a[src, p]
        parameters = par[p]
        m = mass[p]
        velocity = v[src, p]
        unit = 4 * dt * volume[p] / (dx * dx)
        affine = (m * L - unit * stress[rec, p]) * dx
        start = m * velocity - affine @ fx
        place_bar = V(0)
        momentum_bar = V(0)
        moment_bar = M(0)
        m_bar = mass_bar[p]
        for r in range(3 ** (dim - 1)):
            offset = row_offset(dim, r)
            wr = row_weight(dim, w, offset)
            wg = row_slopes(dim, w, dw, offset)
            index = in_tile(dim, corner + offset)
            row = start + affine @ offset
            row_sum = V(0)
            last = V(0)
            for k in ti.static(range(3)):
                wt = wr * w[dim - 1, k]
                value = tile[q, index + k]
                along = value[dim] * m
                m_bar += wt * value[dim]
                for i in ti.static(range(dim)):
                    along += value[i] * (row[i] + affine[i, dim - 1] * k)
                    row_sum[i] += wt * value[i]
                    last[i] += wt * value[i] * k
                for j in ti.static(range(dim)):
                    slope = wg[j] * (dw[dim - 1, k] if ti.static(j == dim - 1) else w[dim - 1, k])
                    place_bar[j] += along * slope
            momentum_bar += row_sum
            for i in ti.static(range(dim)):
                for j in ti.static(range(dim - 1)):
                    moment_bar[i, j] += row_sum[i] * offset[j]
                moment_bar[i, dim - 1] += last[i]
        moment_bar = (moment_bar - momentum_bar.outer_product(fx)) * dx
        x_bar[p] += place_bar / dx - affine.transpose() @ momentum_bar / dx
        v_bar[p] = m * momentum_bar
        mass_bar[p] = m_bar + momentum_bar.dot(velocity) + inner(moment_bar, L)
        L_bar = m * moment_bar
        for k in ti.static(range(len(laws))):
            if kind[p] == k:
                F0_bar, a0_bar, L0_bar, par0_bar = laws[k].adjoint(
                    deformation, internal, L, parameters, dt, -unit * moment_bar, deformation_bar, a_bar[p]
                )
                L_bar += L0_bar
                if ti.static(keeps_shape):
                    F_bar[p] = F0_bar
                a_bar[p] = a0_bar
                par_bar[p] = par_bar[p] + par0_bar
        C_bar[p] = L_bar

    @ti.func
    def pull_block_adjoint(
        q, src, rec, sub, dt, dx, lower, blocks_per_axis, tools, x: ti.template(), x_bar: ti.template(), v_bar: ti.template(),
        C_bar: ti.template(), blocks: ti.template(), slot_of: ti.template(), tile: ti.template(), tile_bar: ti.template(),
        grid_velocity: ti.template(), centre: ti.template(), rotation: ti.template(), linear: ti.template(), angular: ti.template(),
        coefficient: ti.template(), shape: ti.template(), frame: ti.template(), table: ti.template(), shared_bar: ti.template(),
    ):  # fmt: skip
        fill_tile(dim, q, block_of_tile(dim, q, blocks), blocks[q, dim], slot_of, blocks_per_axis, grid_velocity, rec, tile)
        for t in range(TILE**dim):
            tile_bar[q, t] = VM(0)
        for p in range(blocks[q, dim + 1], blocks[q, dim + 2]):
            pull_adjoint(p, q, src, rec, sub, dt, dx, lower, blocks_per_axis, tools, x, x_bar, v_bar, C_bar, blocks, slot_of, tile,
            tile_bar,
                         centre, rotation, linear, angular, coefficient, shape, frame, table, shared_bar)  # fmt: skip

    @ti.func
    def push_block_adjoint(
        q, src, rec, dt, dx, lower, blocks_per_axis, x: ti.template(), v: ti.template(), C: ti.template(), F: ti.template(),
        a: ti.template(),
        mass: ti.template(), volume: ti.template(), par: ti.template(), kind: ti.template(), stress: ti.template(), x_bar: ti.template(),
        v_bar: ti.template(),
        C_bar: ti.template(), F_bar: ti.template(), a_bar: ti.template(), mass_bar: ti.template(), par_bar: ti.template(),
        blocks: ti.template(), slot_of: ti.template(), tile: ti.template(), raw_bar: ti.template(),
    ):  # fmt: skip
        fill_tile(dim, q, block_of_tile(dim, q, blocks), blocks[q, dim], slot_of, blocks_per_axis, raw_bar, 0, tile)
        for p in range(blocks[q, dim + 1], blocks[q, dim + 2]):
            push_adjoint(p, q, src, rec, dt, dx, lower, x, v, C, F, a, mass, volume, par, kind, stress,
                         x_bar, v_bar, C_bar, F_bar, a_bar, mass_bar, par_bar, blocks, tile)  # fmt: skip

    @ti.func
    def gather_slot(s, slots: ti.template(), owner: ti.template(), blocks_per_axis, tile_bar: ti.template(), velocity_bar: ti.template()):
        add_tiles(dim, place_of_slot(dim, s, slots), s * BLOCK**dim, slots[s, dim], owner, blocks_per_axis, tile_bar, 0, velocity_bar)

    return BackwardFunctions(pull_adjoint, node_adjoint, push_adjoint, pull_block_adjoint, push_block_adjoint, gather_slot)
