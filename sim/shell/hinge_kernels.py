"""Taichi kernels of hinge bending; the derivatives of the dihedral angle are those of `bending_kernels`."""

from ..launch import light
from ..runtime import taichi
from .bending_kernels import add_curvature, add_ghost_curvature, angle, ghost_side, node, side, triple, yielding

ti = taichi()

A = ti.types.ndarray


@ti.func
def _first_side(u: ti.template(), hinges: ti.template(), r):
    """The edge and the first side of a hinge: e, n, h, c, t."""
    x = node(u, hinges[r, 0])
    e, f = node(u, hinges[r, 1]) - x, node(u, hinges[r, 2]) - x
    n = e.cross(f).normalized()
    h, c, t = side(e, f, n)
    return e, n, h, c, t


@ti.func
def _second_side(u: ti.template(), hinges: ti.template(), par: ti.template(), r, e):
    """The second side, which runs along -e: n, h, c, t."""
    n, h, c, t = ghost_side(e, triple(par, r, 7))
    if hinges[r, 3] >= 0:
        f = node(u, hinges[r, 3]) - node(u, hinges[r, 1])
        n = f.cross(e).normalized()
        h, c, t = side(-e, f, n)
    return n, h, c, t


@light
@ti.kernel
def hinge_state(u: A(ti.f64), hinges: A(ti.i64), par: A(ti.f64), state: A(ti.f64), angles: A(ti.f64)):
    """`state` `[n, 4]`: energy, dE/dtheta, the coefficient w'' of its second derivative, and 1 where it flows, else 0.

    `angles` `[n, 12]`: the gradient of theta.
    """
    for r in range(hinges.shape[0]):
        e, n, h, c, _ = _first_side(u, hinges, r)
        n2, h2, c2, _t2 = _second_side(u, hinges, par, r, e)
        d = par[r, 1] * (angle(e, n, n2) - par[r, 2] - par[r, 3])
        w, secant, second = yielding(ti.abs(d), par[r, 4], par[r, 5], par[r, 6])
        state[r, 0] = par[r, 0] * w
        state[r, 1] = par[r, 0] * par[r, 1] * secant * d
        state[r, 2] = par[r, 0] * par[r, 1] * par[r, 1] * second
        state[r, 3] = d * 0
        if second < 1:
            state[r, 3] += 1
        inner = c * 0  # whether there is a node across the edge
        if hinges[r, 3] >= 0:
            inner += 1
        for k in ti.static(range(3)):
            angles[r, k] = (1 - c) / h * n[k] + c2 / h2 * n2[k]
            angles[r, 3 + k] = c / h * n[k] + (inner - c2) / h2 * n2[k]
            angles[r, 6 + k] = -n[k] / h
            angles[r, 9 + k] = -inner * n2[k] / h2


@light
@ti.kernel
def hinge_hessian(u: A(ti.f64), hinges: A(ti.i64), par: A(ti.f64), state: A(ti.f64), angles: A(ti.f64), project: ti.i32, out: A(ti.f64)):
    """`out` `[n, 12, 12]`: the Hessian blocks."""
    for r in range(hinges.shape[0]):
        for p in range(12):
            for q in range(12):
                out[r, p, q] = state[r, 2] * angles[r, p] * angles[r, q]
        if project == 0:
            e, n, h, c, t = _first_side(u, hinges, r)
            n2, h2, c2, t2 = _second_side(u, hinges, par, r, e)
            add_curvature(out, r, 2, 0, 1, n, h, c, t, e, state[r, 1])
            if hinges[r, 3] >= 0:
                add_curvature(out, r, 3, 1, 0, n2, h2, c2, t2, -e, state[r, 1])
            else:
                add_ghost_curvature(out, r, 0, 1, n2, h2, c2, t2, e, state[r, 1])
