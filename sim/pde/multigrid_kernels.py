"""Taichi kernels of multigrid: red-black Gauss-Seidel, and the passage between a grid and the next coarser one.

Arrays are flat, `[N, n0, n1, n2]` and `[M, ...]` as in `kernels.py`.
"""

from ..launch import light
from ..runtime import taichi

ti = taichi()

A = ti.types.ndarray


@light
@ti.kernel
def smooth(
    u: A(ndim=1), f: A(ndim=1), alpha: A(ndim=1), k0: A(ndim=1), k1: A(ndim=1), k2: A(ndim=1), n0: ti.i32, n1: ti.i32, n2: ti.i32,
    ea: ti.i32, e0: ti.i32, e1: ti.i32, e2: ti.i32, active: ti.template(), wrap: ti.i32, color: ti.i32,
):  # fmt: skip
    """Solves the equation of every cell of one colour for its own value, in place; cells without any coefficient become zero."""
    for row in range(u.shape[0] // n2):
        j = row % n1
        i = row // n1 % n0
        b = row // (n1 * n0)
        start = row * n2
        low0 = ((b // e0 * (n0 + 1) + i) * n1 + j) * n2
        low1 = ((b // e1 * n0 + i) * (n1 + 1) + j) * n2
        low2 = ((b // e2 * n0 + i) * n1 + j) * (n2 + 1)
        own = ((b // ea * n0 + i) * n1 + j) * n2
        begin = (i + j + color) % 2
        for half in range((n2 - begin + 1) // 2):
            k = begin + 2 * half
            at = start + k
            total, weight = f[at], alpha[own + k]
            if ti.static(active & 1):
                low, high = k0[low0 + k], k0[low0 + k + n1 * n2]
                if i > 0:
                    total += low * u[at - n1 * n2]
                elif wrap & 1:
                    total += low * u[at + (n0 - 1) * n1 * n2]
                if i < n0 - 1:
                    total += high * u[at + n1 * n2]
                elif wrap & 1:
                    high = k0[low0 + k - (n0 - 1) * n1 * n2]
                    total += high * u[at - (n0 - 1) * n1 * n2]
                weight += low + high
            if ti.static(active & 2):
                low, high = k1[low1 + k], k1[low1 + k + n2]
                if j > 0:
                    total += low * u[at - n2]
                elif wrap & 2:
                    total += low * u[at + (n1 - 1) * n2]
                if j < n1 - 1:
                    total += high * u[at + n2]
                elif wrap & 2:
                    high = k1[low1 + k - (n1 - 1) * n2]
                    total += high * u[at - (n1 - 1) * n2]
                weight += low + high
            if ti.static(active & 4):
                low, high = k2[low2 + k], k2[low2 + k + 1]
                if k > 0:
                    total += low * u[at - 1]
                elif wrap & 4:
                    total += low * u[at + n2 - 1]
                if k < n2 - 1:
                    total += high * u[at + 1]
                elif wrap & 4:
                    high = k2[low2]
                    total += high * u[at - n2 + 1]
                weight += low + high
            if weight > 0:
                u[at] = total / weight
            else:
                u[at] = total * 0


@light
@ti.kernel
def restrict(fine: A(ndim=1), n0: ti.i32, n1: ti.i32, n2: ti.i32, s0: ti.i32, s1: ti.i32, s2: ti.i32, coarse: A(ndim=1)):
    """`coarse`: the mean of the s0 s1 s2 fine cells in every cell of a grid `[N, n0, n1, n2]`."""
    for at in range(coarse.shape[0]):
        k = at % n2
        j = at // n2 % n1
        i = at // (n2 * n1) % n0
        b = at // (n2 * n1 * n0)
        total = fine[0] * 0
        for x in range(s0):
            for y in range(s1):
                for z in range(s2):
                    total += fine[((b * n0 * s0 + i * s0 + x) * n1 * s1 + j * s1 + y) * n2 * s2 + k * s2 + z]
        coarse[at] = total / (s0 * s1 * s2)


@ti.func
def _parent(at, n, step, wraps):
    """The coarse cell that holds fine place `at`, and its neighbour on that side, or itself at a wall."""
    near, far = at, at
    if step == 2:
        near = at // 2
        far = near + 2 * (at % 2) - 1
        if far < 0:
            far = n - 1 if wraps else near
        if far >= n:
            far = 0 if wraps else near
    return near, far


@light
@ti.kernel
def prolong(
    coarse: A(ndim=1), n0: ti.i32, n1: ti.i32, n2: ti.i32, s0: ti.i32, s1: ti.i32, s2: ti.i32, wrap: ti.i32, fine: A(ndim=1)
):  # fmt: skip
    """Adds the linear interpolation of a coarse field `[N, n0, n1, n2]` to the fine one."""
    for at in range(fine.shape[0]):
        k = at % (n2 * s2)
        j = at // (n2 * s2) % (n1 * s1)
        i = at // (n2 * s2 * n1 * s1) % (n0 * s0)
        b = at // (n2 * s2 * n1 * s1 * n0 * s0)
        i0, i1 = _parent(i, n0, s0, wrap & 1)
        j0, j1 = _parent(j, n1, s1, wrap & 2)
        k0, k1 = _parent(k, n2, s2, wrap & 4)
        total = fine[at] * 0
        for x in range(s0):
            for y in range(s1):
                for z in range(s2):
                    weight = total * 0 + 1
                    p, q, r = i0, j0, k0
                    if s0 == 2:
                        weight *= 0.75 - 0.5 * x
                        p = i1 if x == 1 else i0
                    if s1 == 2:
                        weight *= 0.75 - 0.5 * y
                        q = j1 if y == 1 else j0
                    if s2 == 2:
                        weight *= 0.75 - 0.5 * z
                        r = k1 if z == 1 else k0
                    total += weight * coarse[((b * n0 + p) * n1 + q) * n2 + r]
        fine[at] += total
