"""Small-matrix algebra inside Taichi kernels: eigenvectors, cofactors, and the smooth quotients that their derivatives need.

The functions take their precision from their arguments, so that one source serves f32 and f64: accumulators start as `argument * 0`, and
literals are exact in binary.
"""

from .runtime import taichi

ti = taichi()

JACOBI_SWEEPS = 10
"""Cyclic Jacobi converges quadratically; four to six sweeps reach rounding error in f64, and the loop stops by itself."""
NEWTON_ROUNDS = 20
"""Scaled, Newton's iteration for a rotation needs at most about nine rounds in f64; the loop stops by itself."""


def rounding(matrix) -> float:
    """Twice the relative rounding error of the numbers in a Taichi matrix, as a constant of the kernel."""
    return 2.0**-52 if matrix.element_type() == ti.f64 else 2.0**-23


@ti.func
def symmetric_eigen(S):
    """Eigenvalues and eigenvectors of a symmetric matrix, by cyclic Jacobi rotations.

    Unlike closed forms it stays accurate for equal eigenvalues, which is the state of every material at rest.

    Returns:
        The eigenvalues as a vector (unsorted) and the matrix whose columns are the eigenvectors.
    """
    n = ti.static(S.n)
    A = S
    Q = S * 0
    for i in ti.static(range(n)):
        Q[i, i] += 1
    for _ in range(JACOBI_SWEEPS):
        off = A[0, 1] * A[0, 1]
        diagonal = A[0, 0] * A[0, 0] + A[1, 1] * A[1, 1]
        if ti.static(n == 3):
            off += A[0, 2] * A[0, 2] + A[1, 2] * A[1, 2]
            diagonal += A[2, 2] * A[2, 2]
        if off <= ti.static(rounding(S) ** 2) * diagonal:
            break
        for i in ti.static(range(n - 1)):
            for j in ti.static(range(i + 1, n)):
                a = A[i, j]
                if a * a > ti.static(rounding(S) ** 2) * diagonal:  # below that it changes nothing, and its square may underflow
                    gap = A[j, j] - A[i, i]
                    t = 2 * a / (ti.abs(gap) + ti.sqrt(gap * gap + 4 * a * a))
                    if gap < 0:
                        t = -t
                    c = 1 / ti.sqrt(1 + t * t)
                    s = t * c
                    A[i, i] -= t * a
                    A[j, j] += t * a
                    A[i, j] = a * 0
                    A[j, i] = a * 0
                    for k in ti.static(range(n)):
                        if ti.static(k not in (i, j)):
                            x = c * A[k, i] - s * A[k, j]
                            y = s * A[k, i] + c * A[k, j]
                            A[k, i] = x
                            A[i, k] = x
                            A[k, j] = y
                            A[j, k] = y
                        p = c * Q[k, i] - s * Q[k, j]
                        q = s * Q[k, i] + c * Q[k, j]
                        Q[k, i] = p
                        Q[k, j] = q
    values = ti.Vector([A[i, i] for i in ti.static(range(n))])
    return values, Q


@ti.func
def spectral(values, Q):
    """The symmetric matrix with eigenvalues `values` and eigenvectors in the columns of `Q`."""
    M = Q
    for j in ti.static(range(Q.n)):
        for i in ti.static(range(Q.n)):
            M[i, j] *= values[j]
    return M @ Q.transpose()


@ti.func
def cofactor(F):
    """The cofactor matrix, d det(F) / dF."""
    c = F
    if ti.static(F.n == 2):
        c[0, 0] = F[1, 1]
        c[0, 1] = -F[1, 0]
        c[1, 0] = -F[0, 1]
        c[1, 1] = F[0, 0]
    else:
        for i in ti.static(range(3)):
            for j in ti.static(range(3)):
                c[i, j] = (
                    F[(i + 1) % 3, (j + 1) % 3] * F[(i + 2) % 3, (j + 2) % 3] - F[(i + 1) % 3, (j + 2) % 3] * F[(i + 2) % 3, (j + 1) % 3]
                )
    return c


@ti.func
def inner(A, B):
    """The Frobenius product A : B."""
    total = A[0, 0] * 0
    for i in ti.static(range(A.n)):
        for j in ti.static(range(A.m)):
            total += A[i, j] * B[i, j]
    return total


@ti.func
def polar(F):
    """The rotation R of F = R S, with S symmetric.

    Where det F < 0 the smallest stretch is taken negative, so that R stays a rotation. In the plane R has a closed form. In space Newton's
    iteration X -> (X + X^-T) / 2 doubles the correct digits each time: Higham 1986, "Computing the polar decomposition". It keeps the
    singular vectors of F, so that a body that is almost flat is no harder than another, and near rest it ends after two rounds. It keeps
    the sign of det F too: of an inverted body it finds a reflection, which is turned over along the axis of the smallest stretch.
    """
    R = F
    if ti.static(F.n == 2):
        c, s = F[0, 0] + F[1, 1], F[1, 0] - F[0, 1]
        size = ti.sqrt(c * c + s * s)
        c, s = c / size, s / size
        R = ti.Matrix([[c, -s], [s, c]])
    else:
        for _ in range(NEWTON_ROUNDS):
            K = cofactor(R)
            Y = K / inner(K, R) * 3
            gap = inner(R - Y, R - Y)
            if gap > 1:  # far away it would only halve large stretches: balance them with the small ones
                scale = ti.sqrt(ti.sqrt(inner(Y, Y) / inner(R, R)))
                R, Y = R * scale, Y / scale
            R = (R + Y) / 2
            if gap <= ti.static(4 * rounding(F)):  # what is left is an eighth of this
                break
        if F.determinant() < 0:
            stretches, V = symmetric_eigen(R.transpose() @ F)
            axis, least = V[:, 0], stretches[0]
            for i in ti.static(range(1, 3)):
                if stretches[i] < least:
                    axis, least = V[:, i], stretches[i]
            R -= 2 * (R @ axis).outer_product(axis)
    return R


@ti.func
def polar_adjoint(R, F, R_bar):
    """The derivative of <R_bar, R> with respect to F, where R comes from `polar(F)`.

    R^T dR is a skew matrix of axial vector (tr(S) - S)^-1 axial(R^T dF - dF^T R). Finite unless two stretches cancel, which takes an
    inverted body.
    """
    A = R.transpose() @ R_bar
    W = A * 0
    if ti.static(R.n == 2):
        turn = (A[1, 0] - A[0, 1]) / inner(R, F)
        W[0, 1] = -turn
        W[1, 0] = turn
    else:
        K = -(R.transpose() @ F)
        trace = K.trace()
        for i in ti.static(range(3)):
            K[i, i] -= trace
        inverse = cofactor(K)
        axial = ti.Vector([A[2, 1] - A[1, 2], A[0, 2] - A[2, 0], A[1, 0] - A[0, 1]])
        turn = (inverse @ axial) / (K[0, 0] * inverse[0, 0] + K[0, 1] * inverse[0, 1] + K[0, 2] * inverse[0, 2])
        for i in ti.static(range(3)):
            W[(i + 2) % 3, (i + 1) % 3] = turn[i]
            W[(i + 1) % 3, (i + 2) % 3] = -turn[i]
    return R @ W


@ti.func
def log_slope(a, b):
    """(log a - log b) / (a - b), continued smoothly to 1 / b where a = b."""
    x = (a - b) / b
    result = a * 0
    if ti.abs(x) < 0.0009765625:  # 2^-10: six terms of the series leave 1e-18
        result = (1 - x * (1 / (a * 0 + 2) - x * (1 / (a * 0 + 3) - x * (0.25 - x * (1 / (a * 0 + 5) - x / 6))))) / b
    else:
        result = ti.log(a / b) / (a - b)
    return result


@ti.func
def exp_slope(z):
    """(exp z - 1) / z, continued smoothly to 1 where z = 0."""
    result = z * 0
    if ti.abs(z) < 0.0078125:  # 2^-7: eight terms leave 1e-18
        result = 1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5 * (1 + z / 6 * (1 + z / 7 * (1 + z / 8))))))
    else:
        result = (ti.exp(z) - 1) / z
    return result
