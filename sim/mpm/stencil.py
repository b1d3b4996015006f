"""Where a particle's quadratic B-spline meets the grid, and how blocks of particles and of nodes meet each other.

Particles are sorted by blocks of 4^D cells. The particles of a block add to a tile of 8^D nodes that belongs to their block alone, so that the
scatter needs no atomics and gives the same bits every time; a node then gathers from the 2^D tiles that cover it. A tile leaves one cell of
room on each side: a particle may drift by a cell before the next sort. Node coordinates are padded by `PAD`, so that
neither a particle's block nor a neighbour of a block that it reaches is negative.

Node `i` lies at `lower + (i - PAD) dx`; walls stand on the nodes `PAD` and `PAD + cells`.
"""

from functools import cache
from typing import Any, NamedTuple

from ..runtime import taichi

ti = taichi()

PAD = 12
BLOCK = 4
TILE = 8
REACH = TILE - 3
"""The largest offset of a particle's first node within its tile."""

SLIP, SEPARATE, STICKY, COULOMB = 0, 1, 2, 3


@ti.func
def weights(fx):
    """Quadratic B-spline weights; column a of row d belongs to node a along axis d. `fx` is the distance to the first node, in cells."""
    w0 = 0.5 * (1.5 - fx) ** 2
    w1 = 0.75 - (fx - 1) ** 2
    w2 = 0.5 * (fx - 0.5) ** 2
    return ti.Matrix.cols([w0, w1, w2])


@ti.func
def slopes(fx):
    """Derivatives of `weights` with respect to the particle's place, per cell."""
    return ti.Matrix.cols([fx - 1.5, 2 - 2 * fx, fx - 0.5])


@ti.func
def first_node(place):
    """The first node of the stencil of a particle at `place` (in padded node coordinates)."""
    return ti.floor(place - 0.5, ti.i32)


@ti.func
def entry(w, d: ti.template(), a):
    """`w[d, a]`, chosen and not indexed: Taichi's Vulkan backend cannot compile a kernel of several loops that index a local matrix."""
    return ti.select(a == 0, w[d, 0], ti.select(a == 1, w[d, 1], w[d, 2]))


@ti.func
def row_offset(dim: ti.template(), i, j):
    """The place in a stencil of a row of nodes, which runs along the last axis; in the plane j is 0."""
    offset = ti.Vector.zero(ti.i32, dim)
    offset[0] = i
    if ti.static(dim == 3):
        offset[1] = j
    return offset


@ti.func
def contract(dim: ti.template(), w, dw, first, middle, last):
    """Sums of the values of a row's three nodes with the weights along it, and with their slopes; each plain, and times the number of the node."""
    z = dim - 1
    value_k = w[z, 1] * middle
    slope_k = dw[z, 1] * middle
    value = w[z, 0] * first + value_k + w[z, 2] * last
    slope = dw[z, 0] * first + slope_k + dw[z, 2] * last
    return value, value_k + (2 * w[z, 2]) * last, slope, slope_k + (2 * dw[z, 2]) * last


def rows(dim: int) -> int:
    """How many rows of a stencil have the same place along the first axis."""
    return 3 if dim == 3 else 1


@ti.func
def row_weight(dim: ti.template(), w, offset):
    """The weight of a stencil row: the product over all axes but the last."""
    weight = entry(w, 0, offset[0])
    if ti.static(dim == 3):
        weight *= entry(w, 1, offset[1])
    return weight


@ti.func
def row_slopes(dim: ti.template(), w, dw, offset):
    """The derivative of a row's weight along each axis but the last, and the weight itself in the last place."""
    g = dw[:, 0] * 0
    if ti.static(dim == 3):
        g[0] = entry(dw, 0, offset[0]) * entry(w, 1, offset[1])
        g[1] = entry(w, 0, offset[0]) * entry(dw, 1, offset[1])
        g[2] = entry(w, 0, offset[0]) * entry(w, 1, offset[1])
    else:
        g[0] = entry(dw, 0, offset[0])
        g[1] = entry(w, 0, offset[0])
    return g


@ti.func
def column(dim: ti.template(), A, a, last):
    """Column a of a matrix, with `last` behind it: the momentum and the mass of a node are worked on side by side."""
    return ti.Vector([A[i, a] for i in ti.static(range(dim))] + [last])


@ti.func
def in_tile(dim: ti.template(), corner):
    """The flat index in a tile of the node at `corner`."""
    index = corner[0]
    for a in ti.static(range(1, dim)):
        index = index * TILE + corner[a]
    return index


@ti.func
def in_block(dim: ti.template(), node):
    """The flat index in its block of a node."""
    index = node[0] & 3
    for a in ti.static(range(1, dim)):
        index = index * BLOCK + (node[a] & 3)
    return index


@ti.func
def unflatten(dim: ti.template(), index, bits: ti.template()):
    """The place of a flat index in a cube of 2^bits nodes a side."""
    place = ti.Vector.zero(ti.i32, dim)
    for a in ti.static(range(dim)):
        place[a] = (index >> (bits * (dim - 1 - a))) & (2**bits - 1)
    return place


@ti.func
def block_index(dim: ti.template(), block, blocks_per_axis):
    """The flat index of a block in the map of all blocks."""
    index = block[0]
    for a in ti.static(range(1, dim)):
        index = index * blocks_per_axis[a] + block[a]
    return index


@ti.func
def block_of_tile(dim: ti.template(), q, blocks: ti.template()):
    """The place among all blocks of the particle block q."""
    return ti.Vector([(blocks[q, a] + 1) >> 2 for a in ti.static(range(dim))])


@ti.func
def place_of_slot(dim: ti.template(), s, slots: ti.template()):
    """The place among all blocks of the node block s."""
    return ti.Vector([slots[s, a] for a in ti.static(range(dim))])


@ti.func
def overlap(shift):
    """Along one axis: where the tile of a block `shift` blocks away overlaps a block of nodes.

    Returns:
        The first node within the block, the node of the tile that lies on it, and how many there are.
    """
    first, corner, count = 0, 1, 4
    if shift < 0:
        corner = 5
        count = 3
    elif shift > 0:
        first = 3
        corner = 0
        count = 1
    return first, corner, count


@ti.func
def neighbour(dim: ti.template(), c, block, sign: ti.template()):
    """The c-th of the 3^D blocks around `block`, and where a tile and a block of nodes overlap there, by `overlap` along each axis.

    The tile is that of the neighbour if `sign` is 1, and that of `block` if it is -1.
    """
    other = block
    first = block
    corner = block
    count = block
    rest = c
    for a in ti.static(range(dim)):
        shift = rest % 3 - 1
        rest = rest // 3
        other[a] += shift
        f, t, k = overlap(sign * shift)
        first[a] = f
        corner[a] = t
        count[a] = k
    return other, first, corner, count


class Tiles(NamedTuple):
    """How the nodes of a tile are reached."""

    make: Any
    """`(tile) -> mine`: room for one tile."""
    read: Any
    """`(mine, q, t) -> value` of the node t of tile q."""
    write: Any
    """`(mine, q, t, value)`."""
    add: Any
    """`(mine, q, t, value)`."""


@cache
def tiles(dim: int, real: Any, atomic: bool) -> Tiles:
    """The ways to reach a tile, as Taichi functions: in a thread's own memory on a CPU, where the compiler knows that nothing else changes it and
    can keep addresses and join the numbers of a node in one register; in the array of all tiles on a GPU, with atomics.
    """
    nodes, width = TILE**dim, dim + 1
    VM = ti.types.vector(width, real)

    @ti.func
    def make_own(tile: ti.template()):
        return ti.Matrix.zero(real, nodes, width)

    @ti.func
    def read_own(mine: ti.template(), q, t):
        at = t & (nodes - 1)  # the compiler learns that neighbours do not wrap around, and reads them at once
        return VM([mine[at, i] for i in range(width)])

    @ti.func
    def write_own(mine: ti.template(), q, t, value):
        at = t & (nodes - 1)
        for i in ti.static(range(width)):
            mine[at, i] = value[i]

    @ti.func
    def add_own(mine: ti.template(), q, t, value):
        write_own(mine, q, t, read_own(mine, q, t) + value)

    @ti.func
    def read_shared(mine: ti.template(), q, t):
        return mine[q, t]

    @ti.func
    def write_shared(mine: ti.template(), q, t, value):
        mine[q, t] = value

    @ti.func
    def add_shared(mine: ti.template(), q, t, value):
        mine[q, t] += value

    if atomic:
        return Tiles(None, read_shared, write_shared, add_shared)
    return Tiles(make_own, read_own, write_own, add_own)


@ti.func
def add_tiles(dim: ti.template(), block, start, env, owner: ti.template(), blocks_per_axis, tile: ti.template(), rec, total: ti.template()):
    """Sums the tiles over a block of nodes, tile by tile in a fixed order, into `total[rec, start...]`."""
    for n in range(BLOCK**dim):
        total[rec, start + n] = ti.Vector.zero(ti.f32, dim + 1)
    for c in range(3**dim):
        other, first, corner, count = neighbour(dim, c, block, 1)
        q = owner[env, block_index(dim, other, blocks_per_axis)]
        if q >= 0:
            for i in range(count[0]):
                for j in range(count[1]):
                    if ti.static(dim == 2):
                        here = start + (first[0] + i) * BLOCK + first[1] + j
                        total[rec, here] = total[rec, here] + tile[q, (corner[0] + i) * TILE + corner[1] + j]
                    else:
                        for k in range(count[2]):
                            here = start + ((first[0] + i) * BLOCK + first[1] + j) * BLOCK + first[2] + k
                            there = ((corner[0] + i) * TILE + corner[1] + j) * TILE + corner[2] + k
                            total[rec, here] = total[rec, here] + tile[q, there]


@ti.func
def fill_tile(
    dim: ti.template(), q, block, env, slot_of: ti.template(), blocks_per_axis, source: ti.template(), rec, tile: ti.template(),
    write: ti.template(),
):  # fmt: skip
    """Copies the nodes `source[rec, ...]` that the tile q covers into it, block by block."""
    for c in range(3**dim):
        other, first, corner, count = neighbour(dim, c, block, -1)
        start = slot_of[env, block_index(dim, other, blocks_per_axis)] * BLOCK**dim
        for i in range(count[0]):
            for j in range(count[1]):
                if ti.static(dim == 2):
                    write(tile, q, (corner[0] + i) * TILE + corner[1] + j, source[rec, start + (first[0] + i) * BLOCK + first[1] + j])
                else:
                    for k in range(count[2]):
                        here = start + ((first[0] + i) * BLOCK + first[1] + j) * BLOCK + first[2] + k
                        there = ((corner[0] + i) * TILE + corner[1] + j) * TILE + corner[2] + k
                        write(tile, q, there, source[rec, here])


@ti.func
def node_slot(dim: ti.template(), node, env, slot_of: ti.template(), blocks_per_axis):
    """Where the values of `node` are stored, or -1 if its block is not active."""
    slot = slot_of[env, block_index(dim, node >> 2, blocks_per_axis)]
    index = -1
    if slot >= 0:
        index = slot * BLOCK**dim + in_block(dim, node)
    return index


@ti.func
def is_image(dim: ti.template(), rel, cells, wall_kind: ti.template()):
    """Whether a node lies beyond a slip or sticky wall, where it mirrors one inside. `rel` counts nodes from the lower walls."""
    image = 0
    for a in ti.static(range(dim)):
        low, high = wall_kind[2 * a], wall_kind[2 * a + 1]
        if rel[a] < -1 or rel[a] > cells[a] + 1:
            image = 1
        if rel[a] < 0 and (low == SLIP or low == STICKY):
            image = 1
        if rel[a] > cells[a] and (high == SLIP or high == STICKY):
            image = 1
    return image


@ti.func
def mirror(dim: ti.template(), c, rel, cells, wall_kind: ti.template(), sign):
    """The c-th image of the node `rel` behind the walls beside it (c is a bit mask of axes; 0 is the node itself).

    A slip wall flips the normal component, a sticky wall all of them. Returns whether there is such an image, where, and the signs.
    """
    exists = 1
    image = rel
    signs = sign
    for a in ti.static(range(dim)):
        if (c >> a) & 1:
            kind = -1
            if rel[a] == 1:
                kind = wall_kind[2 * a]
                image[a] = -1
            elif rel[a] == cells[a] - 1:
                kind = wall_kind[2 * a + 1]
                image[a] = cells[a] + 1
            if kind == SLIP:
                signs[a] = -signs[a]
            elif kind == STICKY:
                signs = -signs
            else:
                exists = 0
    return exists, image, signs
