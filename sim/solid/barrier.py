"""The energy of a gap, and positive semi-definite Hessian blocks of it that are cheap."""

from __future__ import annotations

import numpy as np

from .pairs import Array, Fading, Pairs, outer


def gap_energy(d: Array, activation_distance: float, offset: float) -> tuple[Array, Array, Array]:
    """The barrier of a gap per unit of stiffness and area, and its first two derivatives with respect to the distance.

    b = -a (y - Y)^2 log(y / Y) / Y^2 with a the activation distance, y = d^2 - offset^2, Y = (2 offset + a) a: the logarithmic barrier of
    Li et al. 2020, "Incremental potential contact", scaled so that its stiffness is a pressure (Li et al. 2023, "Convergent IPC").

    Args:
        d: distances `[n]` [m], more than the offset.
        activation_distance: gap at which it sets in [m].
        offset: distance at which it becomes infinite [m].

    Returns:
        b [m], its derivative [1], and its second derivative [1/m], `[n]` each; all 0 where the gap is wider.
    """
    top = (2 * offset + activation_distance) * activation_distance
    y = d * d - offset * offset
    q, log, scale = np.minimum(y - top, 0), np.log(np.minimum(y / top, 1)), activation_distance / top**2
    value, first, second = -q * q * log, -2 * q * log - q * q / y, -2 * log - 4 * q / y + (q / y) ** 2
    return scale * value, scale * 2 * d * first, scale * (2 * first + 4 * d * d * second)


def projected_blocks(pairs: Pairs, x: Array, stiffness: float, activation_distance: float, offset: float) -> Array:
    """Positive semi-definite blocks `[n, 12, 12]` near the Hessians of the barrier energies of pairs.

    The Gauss-Newton part: the second derivative of the energy in distance and edge cross product, made positive semi-definite in closed
    form, between their first derivatives. With a projection of the whole 12 x 12 blocks, which takes several times as long, Newton's method
    needed 1.3 to 1.6 times as many iterations: that keeps of the geometric stiffness what is positive and drops the rest.

    Args:
        pairs: the pairs.
        x: positions of their vertices `[n, 4, 3]` [m].
        stiffness: of the barrier [Pa].
        activation_distance: [m].
        offset: [m].
    """
    points = pairs.closest(x)
    scale = stiffness * pairs.weight
    f, f1, f2 = (scale * v for v in gap_energy(points.d, activation_distance, offset))
    along = outer(points.c, points.normal)
    blocks = (f2[:, None] * along)[:, :, None] * along[:, None, :]
    fading = pairs.fading(x)
    if fading is not None:
        at = fading.at
        inner = _faded(fading, f[at], f1[at], f2[at], activation_distance)
        J = np.concatenate([along[at, None, :], fading.cross_rates()], axis=1)
        blocks[at] = J.transpose(0, 2, 1) @ (inner @ J)
    return blocks


def _faded(fading: Fading, f: Array, f1: Array, f2: Array, length: float) -> Array:
    """Second derivatives `[k, 4, 4]` of m(|w|) f(d) in the distance d and the cross product w, the negative part taken off."""
    t, s = fading.threshold, np.sqrt(fading.squared)
    ratio = fading.squared / t
    w = fading.cross / np.maximum(s, 1e-300)[:, None]
    # In (d, |w|), in units of a length and of the threshold; across w the energy grows like that of a spring.
    across = f * 4 / t * (1 - ratio)
    dd, dw, ww = fading.factor() * f2, f1 * s * 4 / t * (1 - ratio), f * 4 / t * (1 - 3 * ratio)
    a, b, c = dd * length**2, dw * length * np.sqrt(t), ww * t
    mean, radius = (a + c) / 2, np.hypot((a - c) / 2, b)
    low, high = mean - radius, mean + radius
    kept = np.where(low < 0, high / np.maximum(high - low, 1e-300), 1.0)  # f2 > 0, so that the larger eigenvalue is positive
    low = np.minimum(low, 0)
    dd, dw, ww = kept * (a - low) / length**2, kept * b / (length * np.sqrt(t)), kept * (c - low) / t
    out = np.empty((len(t), 4, 4))
    out[:, 0, 0] = dd
    out[:, 0, 1:] = out[:, 1:, 0] = dw[:, None] * w
    out[:, 1:, 1:] = (ww - across)[:, None, None] * (w[:, :, None] * w[:, None, :]) + across[:, None, None] * np.eye(3)
    return out
