"""Taichi kernels of the membrane: energy, nodal forces and Hessian blocks of every face.

In a face, F = [x1 - x0, x2 - x0] B is the in-plane deformation gradient (3x2) and E = (F^T F - 1) / 2 its strain. With the shape gradients
G_1, G_2 = rows of B and G_0 = -G_1 - G_2, a node a that moves by d changes F by d G_a^T.
"""

from ..launch import light
from ..runtime import taichi

ti = taichi()

A = ti.types.ndarray


@ti.func
def _node(u: ti.template(), node):
    return ti.Vector([u[3 * node], u[3 * node + 1], u[3 * node + 2]])


@ti.func
def _frame(u: ti.template(), faces: ti.template(), par: ti.template(), f):
    """The columns of F, and the rest gradients of the hat functions of nodes 1 and 2."""
    x = _node(u, faces[f, 0])
    p, q = _node(u, faces[f, 1]) - x, _node(u, faces[f, 2]) - x
    G1, G2 = ti.Vector([par[f, 0], par[f, 1]]), ti.Vector([par[f, 2], par[f, 3]])
    return p * G1[0] + q * G2[0], p * G1[1] + q * G2[1], G1, G2


@ti.func
def _strain(f0, f1):
    """Green's strain, its entries 00, 11, 01."""
    return ti.Vector([f0.dot(f0) - 1, f1.dot(f1) - 1, f0.dot(f1)]) / 2


@ti.func
def _logarithm(e):
    """The logarithm of det C, and tr C - 2 less it, which is of second order in the strain e and is not got as a difference."""
    q = e[0] * e[1] - e[2] * e[2]
    s = 2 * (e[0] + e[1]) + 4 * q  # det C - 1
    log = ti.log(1 + s)
    rest = s - log
    if ti.abs(s) < 0.3:
        # With r = s / (2 + s): ln(1 + s) = 2 (r + r^3 / 3 + r^5 / 5 + ...), and s = 2 r / (1 - r).
        r = s / (2 + s)
        square, power, tail = r * r, r, ti.cast(0.0, ti.f64)
        for k in range(1, 12):
            power *= square
            tail += power / (2 * k + 1)
        log = 2 * (r + tail)
        rest = 2 * (square / (1 - r) - tail)
    return log, rest - 4 * q


@ti.func
def _inverse(f0, f1):
    """The inverse of C = F^T F as its entries 00, 11, 01, and the logarithm of det F."""
    a, b, c = f0.dot(f0), f1.dot(f1), f0.dot(f1)
    det = a * b - c * c
    log, _ = _logarithm(_strain(f0, f1))
    return ti.Vector([b / det, a / det, -c / det]), log / 2


@ti.func
def _stress(f0, f1, mu, lam, neo):
    """The second Piola-Kirchhoff stress, its entries 00, 11, 01."""
    e = _strain(f0, f1)
    t = lam * (e[0] + e[1])
    S = ti.Vector([2 * mu * e[0] + t, 2 * mu * e[1] + t, 2 * mu * e[2]])
    if neo:
        c, log_j = _inverse(f0, f1)
        S = (lam * log_j - mu) * c
        S[0] += mu
        S[1] += mu
    return S


@light
@ti.kernel
def membrane_energy(u: A(ti.f64), faces: A(ti.i64), par: A(ti.f64), neo: ti.i32, out: A(ti.f64)):
    """`out` `[n]`: the energy of every face [J]."""
    for f in range(faces.shape[0]):
        f0, f1, _, _ = _frame(u, faces, par, f)
        mu, lam = par[f, 4], par[f, 5]
        e = _strain(f0, f1)
        w = mu * (e[0] * e[0] + e[1] * e[1] + 2 * e[2] * e[2]) + lam / 2 * (e[0] + e[1]) ** 2
        if neo:
            log, rest = _logarithm(e)
            w = mu / 2 * rest + lam / 8 * log * log
        out[f] = w


@light
@ti.kernel
def membrane_gradient(u: A(ti.f64), faces: A(ti.i64), par: A(ti.f64), neo: ti.i32, out: A(ti.f64)):
    """`out` `[n, 9]`: the derivatives of the energy of every face with respect to its nodes [N]."""
    for f in range(faces.shape[0]):
        f0, f1, G1, G2 = _frame(u, faces, par, f)
        S = _stress(f0, f1, par[f, 4], par[f, 5], neo)
        p0, p1 = f0 * S[0] + f1 * S[2], f0 * S[2] + f1 * S[1]
        for k in ti.static(range(3)):
            one, two = p0[k] * G1[0] + p1[k] * G1[1], p0[k] * G2[0] + p1[k] * G2[1]
            out[f, k] = -one - two
            out[f, 3 + k] = one
            out[f, 6 + k] = two


@ti.func
def _tangent(f0, f1, mu, lam, neo, project):
    """dS/dE in Voigt's order (00, 11, 2 * 01)."""
    D = ti.Matrix([[2 * mu + lam, lam, mu * 0], [lam, 2 * mu + lam, mu * 0], [mu * 0, mu * 0, mu]])
    if neo:
        c, log_j = _inverse(f0, f1)
        m = mu - lam * log_j
        if project:  # in the metric of C the eigenvalues of the tangent are 2 m, twice, and 2 (m + lam)
            m = ti.max(m, ti.max(-lam, 0))
        v = ti.Vector([c[0], c[1], c[2]])
        D = lam * v.outer_product(v)
        D += (
            2
            * m
            * ti.Matrix(
                [
                    [c[0] * c[0], c[2] * c[2], c[0] * c[2]],
                    [c[2] * c[2], c[1] * c[1], c[1] * c[2]],
                    [c[0] * c[2], c[1] * c[2], (c[0] * c[1] + c[2] * c[2]) / 2],
                ]
            )
        )
    return D


@ti.func
def _positive(S):
    """The symmetric matrix with entries 00, 11, 01 without its negative eigenvalues."""
    mean, half = (S[0] + S[1]) / 2, (S[0] - S[1]) / 2
    r = ti.sqrt(half * half + S[2] * S[2])
    low, high = mean - r, mean + r
    out = S
    if high <= 0:
        out = S * 0
    elif low < 0:  # high (S - low) / (high - low)
        out = ti.Vector([S[0] - low, S[1] - low, S[2]]) * (high / (2 * r))
    return out


@light
@ti.kernel
def membrane_hessian(u: A(ti.f64), faces: A(ti.i64), par: A(ti.f64), neo: ti.i32, project: ti.i32, out: A(ti.f64)):
    """`out` `[n, 9, 9]`: the Hessian of the energy of every face; without its negative parts if `project`."""
    for f in range(faces.shape[0]):
        f0, f1, G1, G2 = _frame(u, faces, par, f)
        S = _stress(f0, f1, par[f, 4], par[f, 5], neo)
        D = _tangent(f0, f1, par[f, 4], par[f, 5], neo, project)
        if project:
            S = _positive(S)
        f00, f01, f11 = f0.outer_product(f0), f0.outer_product(f1), f1.outer_product(f1)
        G = ti.Matrix.rows([-G1 - G2, G1, G2])
        for a in range(3):
            for b in range(a, 3):
                p, q, r, s = G[a, 0], G[a, 1], G[b, 0], G[b, 1]
                k00 = p * r * D[0, 0] + (p * s + q * r) * D[0, 2] + q * s * D[2, 2]
                k11 = q * s * D[1, 1] + (p * s + q * r) * D[1, 2] + p * r * D[2, 2]
                k01 = p * s * D[0, 1] + p * r * D[0, 2] + q * s * D[1, 2] + q * r * D[2, 2]
                k10 = q * r * D[0, 1] + p * r * D[0, 2] + q * s * D[1, 2] + p * s * D[2, 2]
                block = k00 * f00 + k11 * f11 + k01 * f01 + k10 * f01.transpose()
                g = p * r * S[0] + q * s * S[1] + (p * s + q * r) * S[2]
                for i in ti.static(range(3)):
                    block[i, i] += g
                for i in ti.static(range(3)):
                    for j in ti.static(range(3)):
                        out[f, 3 * a + i, 3 * b + j] = block[i, j]
                        out[f, 3 * b + j, 3 * a + i] = block[i, j]
