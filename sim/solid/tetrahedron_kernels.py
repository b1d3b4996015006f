"""Energies of linear tetrahedra and their first two derivatives, one element a turn.

All laws but the linear one depend on the singular values of the deformation gradient alone, and so does the structure of their Hessian: in the
frame of the singular vectors it falls apart into a 3x3 block for the stretches and a pair of numbers for each plane, one for a turn and
one for a shear in it. See Smith, de Goes and Kim 2019, "Analytic eigensystems for isotropic distortion energies". The closed forms here
hold for equal singular values too.

Arguments of the kernels: unknowns `u` `[U]`, corners `[n, 4]`, `par` `[n, 11]` as `TetrahedronTerm` has it, and what is written.
"""

from ..algebra import JACOBI_SWEEPS, cofactor, inner, rounding, spectral, symmetric_eigen
from ..launch import light
from ..runtime import taichi

ti = taichi()

STABLE_NEO_HOOKEAN, FIXED_COROTATED, LINEAR, ST_VENANT_KIRCHHOFF = range(4)

LEAST_SUM = 2.0**-40
"""Where two singular values cancel, the rotation jumps and the corotated law has no Hessian. Its eigenvalue is cut off at -4 mu / LEAST_SUM."""
GRAIN = 64
"""Elements that a thread takes at a time; without it Taichi would give the first 512 to one thread."""

A = ti.types.ndarray


@ti.func
def rotation_svd(F):
    """U, s, V with F = U diag(s) V^T, rotations U and V, and s0 >= s1 >= |s2|; s2 has the sign of det F.

    One-sided Jacobi rotations (Hestenes 1958) make the columns of F V orthogonal. They keep small singular values exact, and any F will do,
    even zero.
    """
    B = F
    V = F * 0
    for i in ti.static(range(3)):
        V[i, i] += 1
    for _ in range(JACOBI_SWEEPS):
        turned = 0
        for i in ti.static(range(2)):
            for j in ti.static(range(i + 1, 3)):
                p, q = B[:, i], B[:, j]
                a, b, c = p.dot(p), q.dot(q), p.dot(q)
                if c * c > ti.static(16 * rounding(F) ** 2) * a * b:
                    turned = 1
                    t = 2 * c / (ti.abs(b - a) + ti.sqrt((b - a) * (b - a) + 4 * c * c))
                    if b < a:
                        t = -t
                    cosine = 1 / ti.sqrt(1 + t * t)
                    sine = t * cosine
                    v, w = V[:, i], V[:, j]
                    B[:, i] = cosine * p - sine * q
                    B[:, j] = sine * p + cosine * q
                    V[:, i] = cosine * v - sine * w
                    V[:, j] = sine * v + cosine * w
        if turned == 0:
            break
    for i, j in ti.static(((0, 1), (0, 2), (1, 2))):
        p, q, v, w = B[:, i], B[:, j], V[:, i], V[:, j]
        if p.dot(p) < q.dot(q):
            B[:, i], B[:, j], V[:, i], V[:, j] = q, -p, w, -v
    first = B[:, 0]
    s0 = first.norm()
    if s0 > 0:
        first /= s0
    else:
        first[0] += 1
    second = B[:, 1] - first * first.dot(B[:, 1])
    s1 = second.norm()
    if s1 > 0:
        second /= s1
    else:  # F has rank one: any direction across the first will do
        second = ti.Vector([-first[1], first[0], first[0] * 0])
        if ti.abs(first[2]) > ti.abs(first[0]):
            second = ti.Vector([first[0] * 0, -first[2], first[1]])
        second /= second.norm()
    third = first.cross(second)
    s = ti.Vector([s0, second.dot(B[:, 1]), third.dot(B[:, 2])])
    return ti.Matrix.cols([first, second, third]), s, V


@ti.func
def corner(u: ti.template(), corners: ti.template(), e, a):
    """The position of corner a of element e."""
    k = 3 * corners[e, a]
    return ti.Vector([u[k], u[k + 1], u[k + 2]])


@ti.func
def element(u: ti.template(), corners: ti.template(), par: ti.template(), e):
    """The deformation gradient of element e, the inverse of its rest edge matrix, volume times mu, and volume times lambda."""
    x = corner(u, corners, e, 0)
    edges = ti.Matrix.cols([corner(u, corners, e, a) - x for a in ti.static(range(1, 4))])
    inverse = ti.Matrix([[par[e, 3 * i + j] for j in ti.static(range(3))] for i in ti.static(range(3))])
    return edges @ inverse, inverse, par[e, 9], par[e, 10]


@ti.func
def green(F):
    """Green's strain (F^T F - I) / 2."""
    E = F.transpose() @ F
    for i in ti.static(range(3)):
        E[i, i] -= 1
    return E / 2


@ti.func
def small_strain(F):
    """The symmetric part of F - I."""
    strain = (F + F.transpose()) / 2
    for i in ti.static(range(3)):
        strain[i, i] -= 1
    return strain


@ti.func
def neo_hookean_energy(F, mu, lam):
    """mu/2 (|F|^2 - 3) - mu (J - 1) + (lambda + mu)/2 (J - 1)^2.

    Near rest the first two terms cancel. Written in Green's strain E they are a sum of squares, so that rounding is relative to the energy:
    J^2 = det(I + 2 E), hence J - 1 = (2 tr E + rest) / (J + 1), where rest = 4 I2(E) + 8 det E.
    """
    J = F.determinant()
    growth = J - 1
    shape = inner(F, F) / 2 - 1.5 - growth
    if J > 0:
        E = green(F)
        t = E.trace()
        rest = 2 * (t * t - inner(E, E)) + 8 * E.determinant()
        growth = (2 * t + rest) / (J + 1)
        shape = (t * growth - rest) / (J + 1)
    return mu * shape + (lam + mu) / 2 * growth * growth


@light
@ti.kernel
def energies(
    law: ti.template(), u: A(dtype=ti.f64, ndim=1), corners: A(dtype=ti.i64, ndim=2),
    par: A(dtype=ti.f64, ndim=2), out: A(dtype=ti.f64, ndim=1),
):  # fmt: skip
    """Writes the energy [J] of every element to `out` `[n]`."""
    ti.loop_config(block_dim=GRAIN)
    for e in range(corners.shape[0]):
        F, _inverse, mu, lam = element(u, corners, par, e)
        energy = mu * 0
        if ti.static(law == STABLE_NEO_HOOKEAN):
            energy = neo_hookean_energy(F, mu, lam)
        elif ti.static(law == FIXED_COROTATED):
            _U, s, _V = rotation_svd(F)
            growth = s[0] * s[1] * s[2] - 1
            energy = mu * ((s[0] - 1) ** 2 + (s[1] - 1) ** 2 + (s[2] - 1) ** 2) + lam / 2 * growth * growth
        else:
            strain = F
            if ti.static(law == LINEAR):
                strain = small_strain(F)
            else:
                strain = green(F)
            energy = mu * inner(strain, strain) + lam / 2 * strain.trace() ** 2
        out[e] = energy


@ti.func
def stress(law: ti.template(), F, mu, lam):
    """The first Piola-Kirchhoff stress."""
    P = F
    if ti.static(law == STABLE_NEO_HOOKEAN):
        C = cofactor(F)
        P = mu * F + ((lam + mu) * (F.determinant() - 1) - mu) * C
    elif ti.static(law == FIXED_COROTATED):
        U, s, V = rotation_svd(F)
        q = lam * (s[0] * s[1] * s[2] - 1)
        for k in ti.static(range(3)):
            slope = 2 * mu * (s[k] - 1) + q * s[(k + 1) % 3] * s[(k + 2) % 3]
            for i in ti.static(range(3)):
                U[i, k] *= slope
        P = U @ V.transpose()
    else:
        strain = F
        if ti.static(law == LINEAR):
            strain = small_strain(F)
        else:
            strain = green(F)
        S = 2 * mu * strain
        for i in ti.static(range(3)):
            S[i, i] += lam * strain.trace()
        if ti.static(law == LINEAR):
            P = S
        else:
            P = F @ S
    return P


@light
@ti.kernel
def gradients(
    law: ti.template(), u: A(dtype=ti.f64, ndim=1), corners: A(dtype=ti.i64, ndim=2),
    par: A(dtype=ti.f64, ndim=2), out: A(dtype=ti.f64, ndim=2),
):  # fmt: skip
    """Writes the gradient of every element's energy with respect to its corners to `out` `[n, 12]`."""
    ti.loop_config(block_dim=GRAIN)
    for e in range(corners.shape[0]):
        F, inverse, mu, lam = element(u, corners, par, e)
        G = stress(law, F, mu, lam) @ inverse.transpose()
        for i in ti.static(range(3)):
            out[e, i] = -(G[i, 0] + G[i, 1] + G[i, 2])
            for a in ti.static(range(3)):
                out[e, 3 + 3 * a + i] = G[i, a]


@ti.func
def stretch_hessian(law: ti.template(), s, mu, lam):
    """The Hessian of a law in the frame of the singular vectors.

    Returns:
        D, the second derivatives with respect to the singular values; `turn` and `shear`, the eigenvalues in the plane across axis k.
    """
    D = s.outer_product(s) * 0
    turn, shear = s * 0, s * 0
    J = s[0] * s[1] * s[2]
    for k in ti.static(range(3)):
        i, j = ti.static((k + 1) % 3, (k + 2) % 3)
        if ti.static(law == LINEAR):
            D[k, k] = 2 * mu + lam
            D[i, j] = lam
            shear[k] = 2 * mu
        elif ti.static(law == ST_VENANT_KIRCHHOFF):
            t = lam / 2 * (s.dot(s) - 3) - mu
            D[k, k] = (3 * mu + lam) * s[k] * s[k] + t
            D[i, j] = lam * s[i] * s[j]
            turn[k] = mu * (s[i] * s[i] - s[i] * s[j] + s[j] * s[j]) + t
            shear[k] = mu * (s[i] * s[i] + s[i] * s[j] + s[j] * s[j]) + t
        else:
            stiff, bulk, q = 2 * mu, lam, lam * (J - 1)
            if ti.static(law == STABLE_NEO_HOOKEAN):
                stiff, bulk, q = mu, lam + mu, (lam + mu) * (J - 1) - mu
            D[k, k] = stiff + bulk * (s[i] * s[j]) ** 2
            D[i, j] = (bulk * J + q) * s[k]
            turn[k] = stiff + q * s[k]
            shear[k] = stiff - q * s[k]
            if ti.static(law == FIXED_COROTATED):
                turn[k] -= 4 * mu / ti.max(s[i] + s[j], LEAST_SUM)
        D[j, i] = D[i, j]
    return D, turn, shear


@ti.func
def positive_part(D):
    """The positive semi-definite matrix nearest to a symmetric one; D itself, to the bit, where it is one."""
    values, Q = symmetric_eigen(D)
    result = D
    if values.min() < 0:
        result = spectral(ti.max(values, 0), Q)
    return result


@light
@ti.kernel
def hessians(
    law: ti.template(), u: A(dtype=ti.f64, ndim=1), corners: A(dtype=ti.i64, ndim=2),
    par: A(dtype=ti.f64, ndim=2), project: ti.i32, out: A(dtype=ti.f64, ndim=3),
):  # fmt: skip
    """Writes every element's Hessian to `out` `[n, 12, 12]`; of each the nearest positive semi-definite derivative of the stress if `project`."""
    ti.loop_config(block_dim=GRAIN)
    for e in range(corners.shape[0]):
        F, inverse, mu, lam = element(u, corners, par, e)
        U, V, s = F * 0, F * 0, F[:, 0]
        if ti.static(law == LINEAR):
            for i in ti.static(range(3)):
                U[i, i] += 1
                V[i, i] += 1
        else:
            U, s, V = rotation_svd(F)
        D, turn, shear = stretch_hessian(law, s, mu, lam)
        if project != 0:
            turn, shear = ti.max(turn, 0), ti.max(shear, 0)
            D = positive_part(D)
        same, cross = (shear + turn) / 2, (shear - turn) / 2
        slopes = inverse @ V  # the slopes of the shape functions of corners 1, 2, 3 along the axes of V
        for a, c in ti.ndrange(4, 4):
            if a <= c:
                b, d = V[0, :] * 0, V[0, :] * 0
                for i in ti.static(range(3)):
                    b -= slopes[i, :] * ti.select(a == 0, 1, ti.select(a == i + 1, -1, 0))
                    d -= slopes[i, :] * ti.select(c == 0, 1, ti.select(c == i + 1, -1, 0))
                H = F * 0
                for k in ti.static(range(3)):
                    i, j = ti.static((k + 1) % 3, (k + 2) % 3)
                    H[k, k] = D[k, k] * b[k] * d[k] + same[j] * b[i] * d[i] + same[i] * b[j] * d[j]
                    H[i, j] = D[i, j] * b[i] * d[j] + cross[k] * b[j] * d[i]
                    H[j, i] = D[i, j] * b[j] * d[i] + cross[k] * b[i] * d[j]
                H = U @ H @ U.transpose()
                for i in ti.static(range(3)):
                    for j in ti.static(range(3)):
                        out[e, 3 * a + i, 3 * c + j] = H[i, j]
                        out[e, 3 * c + j, 3 * a + i] = H[i, j]


@light
@ti.kernel
def rotations(
    u: A(dtype=ti.f64, ndim=1), corners: A(dtype=ti.i64, ndim=2),
    par: A(dtype=ti.f64, ndim=2), R: A(dtype=ti.f64, ndim=3), K: A(dtype=ti.f64, ndim=3),
):  # fmt: skip
    """Writes the rotation of every element's F = R S to `R`, and (tr(S) I - S)^-1 to `K`, both `[n, 3, 3]`."""
    ti.loop_config(block_dim=GRAIN)
    for e in range(corners.shape[0]):
        F, _inverse, _mu, _lam = element(u, corners, par, e)
        U, s, V = rotation_svd(F)
        turn = s * 0
        for k in ti.static(range(3)):
            turn[k] = 1 / ti.max(s[(k + 1) % 3] + s[(k + 2) % 3], LEAST_SUM)
        Q, inverse = U @ V.transpose(), spectral(turn, V)
        for i in ti.static(range(3)):
            for j in ti.static(range(3)):
                R[e, i, j] = Q[i, j]
                K[e, i, j] = inverse[i, j]
