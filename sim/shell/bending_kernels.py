"""Taichi kernels of bending with mid-edge normals: energy, forces and Hessian blocks of every face.

Three launches share the work. `bending_state` finds the normals, the curvatures and the energy of every face; from these,
`bending_gradient` and `bending_hessian` need the neighbours' only.

The dihedral angle of an edge has one part for each of its sides. Let a side have the unit normal n, the edge e from its node a to its node b,
the height h of its third corner k above the edge, and let that corner's foot divide the edge at c (0 at a, 1 at b). Then the side's part of
the gradient of theta is n times the weights -1/h at k, (1 - c)/h at a, c/h at b. The side's part of the Hessian between nodes p and q
is n y_pq^T + y_qp n^T, where, with the unit vector t = e x n / |e| that points away from k, T = t / h^2, Q = e / (h |e|^2) and
P = t / (2 |e|^2),

    y_kk = -T    y_kb = c T     y_bk = c T + Q    y_ka = (1 - c) T     y_ak = (1 - c) T - Q    y_bb = -c^2 T - c Q - P
    y_ab = -c (1 - c) T + c Q + P     y_ba = -c (1 - c) T - (1 - c) Q + P     y_aa = -(1 - c)^2 T + (1 - c) Q - P.

That is the result of Tamstorf and Grinspun 2013, "Discrete bending forces and their Jacobians", written with our signs. (The skew part of P
is left out: it cancels between the two sides.) At a clamped edge the second side is spanned by the edge and the direction m, a fixed
vector; its third corner b + m moves with b, so its part is -c'/h' n' at b and c'/h' n' at a, and n' z^T + z n'^T with
z = -c'^2 T' - c' Q' - P' between a and a, and b and b, and the opposite between a and b.

Columns of `par` are those of `bending.COLUMNS`. Columns of `mesh` `[n, 15]`, three each, for corner i or the edge opposite it: corners;
the nodes across the edges; what lies there (3 g + j for edge j of face g, or FREE, or CLAMPED); signs; the unknowns xi, -1 if none.
"""

from ..launch import light
from ..runtime import taichi

ti = taichi()

A = ti.types.ndarray

FREE, CLAMPED = -1, -2
"""What `mesh` holds where an edge has one side."""


@ti.func
def node(u: ti.template(), i):
    """Where a node is [m]."""
    return ti.Vector([u[3 * i], u[3 * i + 1], u[3 * i + 2]])


@ti.func
def triple(table: ti.template(), row, column):
    """Three numbers of a table as a vector."""
    return ti.Vector([table[row, column], table[row, column + 1], table[row, column + 2]])


@ti.func
def side(e, f, n):
    """Of the triangle over an edge e from a, with third corner a + f and unit normal n: the height h, c, and t."""
    square = e.dot(e)
    c = f.dot(e) / square
    return (f - c * e).norm(), c, e.cross(n) / ti.sqrt(square)


@ti.func
def angle(e, n1, n2):
    """The angle that turns n1 into n2 about e."""
    return ti.atan2(n1.cross(n2).dot(e) / e.norm(), n1.dot(n2))


@ti.func
def ghost_side(e, m):
    """Of the second side of a clamped edge, which runs along -e and has the third corner b + m: n', h', c', t'."""
    n = m.cross(e).normalized()
    h, c, t = side(-e, m, n)
    return n, h, c, t


@ti.func
def yielding(t, k0, hardening, alpha):
    """The energy w(t) of a bending t, w'(t) / t and w''(t), where it is elastic up to k0 + H alpha and flows beyond."""
    w, secant, second = t * t / 2, t * 0 + 1, t * 0 + 1
    limit = k0 + hardening * alpha
    if t > limit:
        slip = (t - limit) / (1 + hardening)
        w = (t - slip) * (t - slip) / 2 + limit * slip + hardening * slip * slip / 2
        secant = 1 - slip / t
        second = hardening / (1 + hardening)
    return w, secant, second


@light
@ti.kernel
def bending_state(u: A(ti.f64), mesh: A(ti.i64), par: A(ti.f64), state: A(ti.f64)):
    """`state` `[n, 10]`: what the other kernels need of every face.

    Columns: the energy; with d = S - Sbar, t^2 = d K d and the energy A D w(t): A D w'/t and A D (w'' - w'/t) / t^2, so that
    dE/dS = column 1 * K d and d2E/dS2 = column 1 * K + column 2 * (K d)(K d)^T; 3 to 5: 2 hbar_i (K d)_i; 6 to 8: the normal; 9: 1 where it
    flows, else 0.
    """
    for f in range(mesh.shape[0]):
        x = node(u, mesh[f, 0])
        n = (node(u, mesh[f, 1]) - x).cross(node(u, mesh[f, 2]) - x).normalized()
        for k in ti.static(range(3)):
            state[f, 6 + k] = n[k]
    for f in range(mesh.shape[0]):
        n = triple(state, f, 6)
        d = n * 0
        for i in ti.static(range(3)):
            e = node(u, mesh[f, (i + 2) % 3]) - node(u, mesh[f, (i + 1) % 3])
            phi = e[0] * 0
            across = mesh[f, 6 + i]
            if across >= 0:
                phi = angle(e, n, triple(state, across // 3, 6)) / 2
            elif across == CLAMPED:
                phi = angle(e, n, triple(par, f, 19 + 3 * i).cross(e).normalized())
            if mesh[f, 12 + i] >= 0:
                phi += mesh[f, 9 + i] * u[mesh[f, 12 + i]]
            d[i] = par[f, 7 + i] * phi - par[f, 10 + i] - par[f, 13 + i]
        g = ti.Vector(
            [
                par[f, 0] * d[0] + par[f, 3] * d[1] + par[f, 4] * d[2],
                par[f, 3] * d[0] + par[f, 1] * d[1] + par[f, 5] * d[2],
                par[f, 4] * d[0] + par[f, 5] * d[1] + par[f, 2] * d[2],
            ]
        )
        square = ti.max(g.dot(d), 0)
        w, secant, second = yielding(ti.sqrt(square), par[f, 16], par[f, 17], par[f, 18])
        state[f, 0] = par[f, 6] * w
        state[f, 1] = par[f, 6] * secant
        state[f, 2] = square * 0
        state[f, 9] = square * 0
        if second < 1:  # it flows, so t > 0
            state[f, 2] = par[f, 6] * (second - secant) / square
            state[f, 9] += 1
        for i in ti.static(range(3)):
            state[f, 3 + i] = par[f, 7 + i] * g[i]


@ti.func
def moment(state: ti.template(), f, i, across):
    """The derivative of the whole energy with respect to the angle theta of edge i of face f [J]."""
    m = state[f, 1] * state[f, 3 + i]
    if across >= 0:
        m = (m + state[across // 3, 1] * state[across // 3, 3 + across % 3]) / 2
    elif across == FREE:
        m *= 0
    return m


@light
@ti.kernel
def bending_gradient(u: A(ti.f64), mesh: A(ti.i64), par: A(ti.f64), state: A(ti.f64), out: A(ti.f64)):
    """`out` `[n, 12]`: derivatives of the whole energy by this side of the angles of the face, for its nodes; and by its edge rotations."""
    for f in range(mesh.shape[0]):
        n = triple(state, f, 6)
        for k in range(9):
            out[f, k] = 0
        for i in range(3):
            a, b = (i + 1) % 3, (i + 2) % 3
            x = node(u, mesh[f, a])
            e = node(u, mesh[f, b]) - x
            h, c, _ = side(e, node(u, mesh[f, i]) - x, n)
            across = mesh[f, 6 + i]
            m = moment(state, f, i, across)
            for k in ti.static(range(3)):
                out[f, 3 * i + k] -= m / h * n[k]
                out[f, 3 * a + k] += m / h * (1 - c) * n[k]
                out[f, 3 * b + k] += m / h * c * n[k]
            if across == CLAMPED:
                n2, h2, c2, _t2 = ghost_side(e, triple(par, f, 19 + 3 * i))
                for k in ti.static(range(3)):
                    out[f, 3 * a + k] += m * c2 / h2 * n2[k]
                    out[f, 3 * b + k] -= m * c2 / h2 * n2[k]
            out[f, 9 + i] = mesh[f, 9 + i] * state[f, 1] * state[f, 3 + i]


@ti.func
def add_outer(out: ti.template(), f, p, q, n, y, z):
    """Adds n y^T + z n^T to the block of the local nodes p and q."""
    for r in ti.static(range(3)):
        for s in ti.static(range(3)):
            out[f, 3 * p + r, 3 * q + s] += n[r] * y[s] + z[r] * n[s]


@ti.func
def add_curvature(out: ti.template(), f, k, a, b, n, h, c, t, e, scale):
    """Adds the Hessian of this side's part of the angle, times scale, to the block of the face."""
    T = scale / (h * h) * t
    Q = scale / (h * e.dot(e)) * e
    P = scale / (2 * e.dot(e)) * t
    bk, ak = c * T + Q, (1 - c) * T - Q
    ab, ba = -c * (1 - c) * T + c * Q + P, -c * (1 - c) * T - (1 - c) * Q + P
    aa, bb = -(1 - c) * (1 - c) * T + (1 - c) * Q - P, -c * c * T - c * Q - P
    add_outer(out, f, k, k, n, -T, -T)
    add_outer(out, f, k, b, n, c * T, bk)
    add_outer(out, f, b, k, n, bk, c * T)
    add_outer(out, f, k, a, n, (1 - c) * T, ak)
    add_outer(out, f, a, k, n, ak, (1 - c) * T)
    add_outer(out, f, a, b, n, ab, ba)
    add_outer(out, f, b, a, n, ba, ab)
    add_outer(out, f, a, a, n, aa, aa)
    add_outer(out, f, b, b, n, bb, bb)


@ti.func
def add_ghost_curvature(out: ti.template(), f, a, b, n, h, c, t, e, scale):
    """Adds the Hessian of the part of the angle that the second side of a clamped edge has, times scale."""
    z = -(c * c / (h * h) + 1 / (2 * e.dot(e))) * t + c / (h * e.dot(e)) * e  # that side runs along -e
    z *= scale
    add_outer(out, f, a, a, n, z, z)
    add_outer(out, f, b, b, n, z, z)
    add_outer(out, f, a, b, n, -z, -z)
    add_outer(out, f, b, a, n, -z, -z)


@light
@ti.kernel
def bending_hessian(u: A(ti.f64), mesh: A(ti.i64), par: A(ti.f64), state: A(ti.f64), project: ti.i32, angles: A(ti.f64), out: A(ti.f64)):
    """`out` `[n, 21, 21]`: the Hessian blocks of every face; `angles` `[n, 3, 21]`: the derivatives of its three angles phi (scratch)."""
    for f in range(mesh.shape[0]):
        n = triple(state, f, 6)
        for i in range(3):
            for k in range(21):
                angles[f, i, k] = 0
            a, b = (i + 1) % 3, (i + 2) % 3
            x, y = node(u, mesh[f, a]), node(u, mesh[f, b])
            e = y - x
            across = mesh[f, 6 + i]
            if across != FREE:
                h, c, t = side(e, node(u, mesh[f, i]) - x, n)
                n2, h2, c2, t2 = n, h, c, t
                if across >= 0:
                    n2 = triple(state, across // 3, 6)
                    h2, c2, t2 = side(-e, node(u, mesh[f, 3 + i]) - y, n2)
                    n /= 2
                    n2 /= 2
                else:
                    n2, h2, c2, t2 = ghost_side(e, triple(par, f, 19 + 3 * i))
                for k in ti.static(range(3)):
                    angles[f, i, 3 * i + k] = -n[k] / h
                    angles[f, i, 3 * a + k] = (1 - c) / h * n[k] + c2 / h2 * n2[k]
                    angles[f, i, 3 * b + k] = c / h * n[k]
                    if across >= 0:
                        angles[f, i, 3 * b + k] += (1 - c2) / h2 * n2[k]
                        angles[f, i, 9 + 3 * i + k] = -n2[k] / h2
                    else:
                        angles[f, i, 3 * b + k] -= c2 / h2 * n2[k]
                if across >= 0:
                    n *= 2
            angles[f, i, 18 + i] = mesh[f, 9 + i]
        g = triple(state, f, 3)
        H = ti.Vector([par[f, 7], par[f, 8], par[f, 9]])
        K = ti.Matrix([[par[f, 0], par[f, 3], par[f, 4]], [par[f, 3], par[f, 1], par[f, 5]], [par[f, 4], par[f, 5], par[f, 2]]])
        K = state[f, 1] * K * H.outer_product(H) + state[f, 2] * g.outer_product(g)
        for p in range(21):
            v = K @ ti.Vector([angles[f, 0, p], angles[f, 1, p], angles[f, 2, p]])
            for q in range(21):
                out[f, p, q] = v[0] * angles[f, 0, q] + v[1] * angles[f, 1, q] + v[2] * angles[f, 2, q]
        if project == 0:
            for i in range(3):
                a, b = (i + 1) % 3, (i + 2) % 3
                across = mesh[f, 6 + i]
                if across != FREE:
                    x = node(u, mesh[f, a])
                    e = node(u, mesh[f, b]) - x
                    h, c, t = side(e, node(u, mesh[f, i]) - x, n)
                    m = moment(state, f, i, across)
                    add_curvature(out, f, i, a, b, n, h, c, t, e, m)
                    if across == CLAMPED:
                        n2, h2, c2, t2 = ghost_side(e, triple(par, f, 19 + 3 * i))
                        add_ghost_curvature(out, f, a, b, n2, h2, c2, t2, e, m)
