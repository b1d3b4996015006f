"""The Taichi kernel of the diffusion stencil, for multigrid.

Arrays are flat. Fields are `[N, n0, n1, n2]`, with entries of 1 in front where there are fewer than three axes; conductances `[M, ...]` have one
face more along their axis, and M divides N. Outside of walls the field is zero; along axes whose bit is set in `wrap` it is periodic, and the last
face is the first. Axes whose bit is not set in `active` are left out.
"""

from ..launch import light
from ..runtime import taichi

ti = taichi()

A = ti.types.ndarray


@ti.func
def _across(at, n, stride, wraps):
    """Where the lower and the upper neighbour of place `at` lie, relative to it, and 0 for each that is beyond a wall, else 1."""
    low, high, in_low, in_high = -stride, stride, 1, 1
    if at == 0:
        low = (n - 1) * stride
        in_low = wraps
    if at == n - 1:
        high = -(n - 1) * stride
        in_high = wraps
    return ti.Vector([low * in_low, high * in_high, in_low, in_high])


@ti.func
def _sideways(
    u: ti.template(), k0: ti.template(), k1: ti.template(), at, c, low0, high0, near0, l0, h0, low1, high1, near1, l1, h1,
    active: ti.template(),
):  # fmt: skip
    """What flows into cell `at` of value c along the first two axes."""
    total = c * 0
    if ti.static(active & 1):
        total += k0[low0] * (l0 * u[at + near0[0]] - c) + k0[high0] * (h0 * u[at + near0[1]] - c)
    if ti.static(active & 2):
        total += k1[low1] * (l1 * u[at + near1[0]] - c) + k1[high1] * (h1 * u[at + near1[1]] - c)
    return total


@light
@ti.kernel
def diffuse(
    u: A(ndim=1), k0: A(ndim=1), k1: A(ndim=1), k2: A(ndim=1), n0: ti.i32, n1: ti.i32, n2: ti.i32,
    e0: ti.i32, e1: ti.i32, e2: ti.i32, active: ti.template(), wrap: ti.i32, out: A(ndim=1),
):  # fmt: skip
    """`out`: the sum over the faces of every cell of conductance times difference. `e0` to `e2` are N / M of the conductances."""
    for row in range(u.shape[0] // n2):
        j = row % n1
        i = row // n1 % n0
        b = row // (n1 * n0)
        start = row * n2
        w0, w1, w2 = wrap & 1, (wrap >> 1) & 1, (wrap >> 2) & 1
        near0, near1 = _across(i, n0, n1 * n2, w0), _across(j, n1, n2, w1)
        low0 = ((b // e0 * (n0 + 1) + i) * n1 + j) * n2
        high0 = low0 + (n1 * n2 if i < n0 - 1 or w0 == 0 else -(n0 - 1) * n1 * n2)
        low1 = ((b // e1 * n0 + i) * (n1 + 1) + j) * n2
        high1 = low1 + (n2 if j < n1 - 1 or w1 == 0 else -(n1 - 1) * n2)
        low2 = ((b // e2 * n0 + i) * n1 + j) * (n2 + 1)
        zero = u[start] * 0
        l0, h0, l1, h1 = zero + near0[2], zero + near0[3], zero + near1[2], zero + near1[3]
        if ti.static(active & 4):
            last = n2 - 1
            beyond = zero + w2
            seam = 0 if w2 == 1 else n2
            for k in range(1, last):
                c = u[start + k]
                out[start + k] = (
                    k2[low2 + k] * (u[start + k - 1] - c)
                    + k2[low2 + k + 1] * (u[start + k + 1] - c)
                    + _sideways(u, k0, k1, start + k, c, low0 + k, high0 + k, near0, l0, h0, low1 + k, high1 + k, near1, l1, h1, active)
                )
            c, d = u[start], u[start + last]
            out[start] = (
                k2[low2] * (beyond * d - c)
                + k2[low2 + 1] * (u[start + 1] - c)
                + _sideways(u, k0, k1, start, c, low0, high0, near0, l0, h0, low1, high1, near1, l1, h1, active)
            )
            out[start + last] = (
                k2[low2 + last] * (u[start + last - 1] - d)
                + k2[low2 + seam] * (beyond * c - d)
                + _sideways(
                    u, k0, k1, start + last, d, low0 + last, high0 + last, near0, l0, h0, low1 + last, high1 + last, near1, l1, h1, active
                )
            )
        else:
            for k in range(n2):
                out[start + k] = _sideways(
                    u, k0, k1, start + k, u[start + k], low0 + k, high0 + k, near0, l0, h0, low1 + k, high1 + k, near1, l1, h1, active
                )
