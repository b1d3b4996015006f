"""What a wall that slides along itself adds to the nodes at it and to their images behind it.

A sticky wall reflects velocities relative to its own, so that fields are exact up to it as they are at rest: an image of the node that has the
velocity v has `signs * v + shift`. Where two walls meet, a wall does not slide across the other one: nothing is pushed through a corner.
"""

from ..runtime import taichi
from .stencil import STICKY

ti = taichi()


@ti.func
def slide(dim: ti.template(), a: ti.template(), side, rel, cells, env, wall_velocity: ti.template()):
    """The velocity of a wall across axis `a` at the node `rel`."""
    velocity = wall_velocity[env, 2 * a + side]
    for i in ti.static(range(dim)):
        if rel[i] <= 0 or rel[i] >= cells[i]:
            velocity[i] = velocity[i] * 0
    return velocity


@ti.func
def add_slide(dim: ti.template(), a: ti.template(), side, rel, cells, bar, rec, s, first: ti.template(), shared_bar: ti.template()):
    """The adjoint of `slide`: adds `bar` to the share of the block s, where the velocities of walls begin at `first`."""
    for i in ti.static(range(dim)):
        if i != a and rel[i] > 0 and rel[i] < cells[i]:
            shared_bar[rec, s, first + (2 * a + side) * dim + i] += bar[i]


@ti.func
def image_shift(dim: ti.template(), c, rel, cells, zero, env, wall_kind: ti.template(), wall_velocity: ti.template()):
    """The shift of the c-th image of `stencil.mirror`, which must exist. The wall that a component is normal to reflects it last."""
    shift = zero
    for a in ti.static(range(dim)):
        if (c >> a) & 1:
            side = ti.select(rel[a] == 1, 0, 1)
            if wall_kind[2 * a + side] == STICKY:
                velocity = slide(dim, a, side, rel, cells, env, wall_velocity)
                for i in ti.static(range(dim)):
                    if ti.static(i != a):
                        shift[i] = 2 * velocity[i] - shift[i]
    for i in ti.static(range(dim)):
        if (c >> i) & 1:
            shift[i] = -shift[i]
    return shift


@ti.func
def image_shift_adjoint(
    dim: ti.template(), c, rel, cells, shift_bar, wall_kind: ti.template(), rec, s, first: ti.template(), shared_bar: ti.template()
):
    """The adjoint of `image_shift`, added to the share of the block s."""
    bar = shift_bar
    for i in ti.static(range(dim)):
        if (c >> i) & 1:
            bar[i] = -bar[i]
    for a_ in ti.static(range(dim)):
        a = ti.static(dim - 1 - a_)
        if (c >> a) & 1:
            side = ti.select(rel[a] == 1, 0, 1)
            if wall_kind[2 * a + side] == STICKY:
                add_slide(dim, a, side, rel, cells, 2 * bar, rec, s, first, shared_bar)
                for i in ti.static(range(dim)):
                    if ti.static(i != a):
                        bar[i] = -bar[i]
