"""The Taichi kernel of Thomas' algorithm."""

from ..launch import light
from ..runtime import taichi

ti = taichi()

A = ti.types.ndarray


@light
@ti.kernel
def thomas(lower: A(ndim=2), diagonal: A(ndim=2), upper: A(ndim=2), right: A(ndim=2), work: A(ndim=2), x: A(ndim=2)):
    """`x` `[B, n]` solves one system a row; `work` is of the same shape."""
    for b in range(right.shape[0]):
        n = right.shape[1]
        pivot = diagonal[b, 0]
        x[b, 0] = right[b, 0] / pivot
        for i in range(1, n):
            work[b, i] = upper[b, i - 1] / pivot
            pivot = diagonal[b, i] - lower[b, i] * work[b, i]
            x[b, i] = (right[b, i] - lower[b, i] * x[b, i - 1]) / pivot
        for back in range(1, n):
            i = n - 1 - back
            x[b, i] -= work[b, i + 1] * x[b, i + 1]
