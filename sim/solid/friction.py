"""Coulomb friction of pairs in contact, smoothed at low speed and lagged, and its derivatives when the lag has converged.

Li et al. 2020, "Incremental potential contact", section 5. A pair presses with the force lambda = stiffness weight m |b'(d)|; the relative
velocity of its closest points is s = sum_j c_j v_j, its tangential part u = (1 - n n^T) s, and the potential is mu lambda f0(|u|) with
f0(y) = y from the friction speed on and -y^3/(3 e^2) + y^2/e + e/3 below. c, n and lambda belong to the lagged positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from .barrier import gap_energy
from .pairs import Array, Closest, Fading, Ids, Pairs


@dataclass(frozen=True)
class FrictionJacobians:
    """Friction at converged lag, as it stands in the residual of the step, and its derivatives.

    Args:
        force: the gradient `[3 V]` [N], minus the force on the vertices.
        positions: `[3 V, 3 V]` [N/m], total derivative with respect to the positions at fixed start, through lambda, c and n too; not
            symmetric.
        start: `[3 V, 3 V]` [N/m], derivative with respect to the positions from which velocities are counted; symmetric.
        coefficients: `[3 V, P]` [N], derivative with respect to the friction coefficient of each pair of bodies.
    """

    force: Array
    positions: sp.coo_matrix
    start: sp.coo_matrix
    coefficients: Array


class FrictionSet:
    """The friction of pairs that press on each other in lagged positions.

    Its argument is a velocity v `[V, 3]` [m/s], its value D a power [W]. For v = (x - start) / c a step adds the energy c D to its
    potential; the gradient of that is `gradient` as it stands, and its Hessian is `hessian` divided by c.

    Args:
        pairs: the pairs.
        x: lagged positions of their vertices `[n, 4, 3]` [m].
        stiffness: of the barrier [Pa].
        activation_distance: [m].
        offset: [m].
        speed: below which friction is less than Coulomb's [m/s].
        coefficients: friction coefficient of each pair of bodies `[P]`.
        classes: which of them a pair has `[n]`.
    """

    def __init__(
        self,
        pairs: Pairs,
        x: Array,
        stiffness: float,
        activation_distance: float,
        offset: float,
        speed: float,
        coefficients: Array,
        classes: Ids,
    ) -> None:
        self._pairs, self._speed, self._classes = pairs, speed, classes
        self._x, self._mu = x, coefficients[classes]
        self._points: Closest = pairs.closest(x)
        self._fading: Fading | None = pairs.fading(x)
        scale = stiffness * pairs.weight
        _, first, second = gap_energy(self._points.d, activation_distance, offset)
        self._press, self._press_rate = -scale * first, -scale * second
        if self._fading is not None:
            at, m = self._fading.at, self._fading.factor()
            self._full = self._press[at]  # before it fades
            self._press[at] *= m
            self._press_rate[at] *= m

    @property
    def normal_forces(self) -> Array:
        """The force with which each pair presses `[n]` [N]."""
        return self._press

    def energy(self, velocity: Array) -> float:
        """The potential D [W] of a velocity `[V, 3]`."""
        _, _, y = self._slip(velocity)
        e = self._speed
        return float(self._mu * self._press @ np.where(y < e, y * y * (e - y / 3) / e**2 + e / 3, y))

    def gradient(self, velocity: Array) -> Array:
        """Its gradient `[3 V]` [N]: minus the friction force, when all is at its lagged position."""
        _, u, y = self._slip(velocity)
        g = (self._mu * self._press * self._over(y))[:, None] * u
        return self._pairs.scatter(self._points.c[:, :, None] * g[:, None, :], velocity.size)

    def hessian(self, velocity: Array) -> sp.coo_matrix:
        """Its Hessian `[3 V, 3 V]` [N s/m], which is positive semi-definite."""
        _, u, y = self._slip(velocity)
        return self._pairs.assemble(self._velocity_blocks(u, y), velocity.size)

    def jacobians(self, velocity: Array, c: float, count: int) -> FrictionJacobians:
        """The gradient and its derivatives with respect to all that it depends on, for a lag that has converged.

        Args:
            velocity: v = (x - start) / c, with x the lagged positions `[V, 3]` [m/s].
            c: its divisor [s].
            count: number of friction coefficients.
        """
        p, size = self._points, velocity.size
        s, u, y = self._slip(velocity)
        unit = self._press * self._over(y)  # for a coefficient of 1
        per_vertex = p.c[:, :, None] * (unit[:, None] * u)[:, None, :]
        at = self._pairs.coordinates.astype(np.int64) * count + self._classes[:, None]
        coefficients = (
            np.bincount(at.ravel(), per_vertex.ravel(), minlength=size * count).reshape(size, count).astype(np.float64, copy=False)
        )
        slip_blocks = self._velocity_blocks(u, y) / c
        blocks = slip_blocks + self._lag_blocks(velocity, s, u, y)
        return FrictionJacobians(
            self.gradient(velocity), self._pairs.assemble(blocks, size), self._pairs.assemble(-slip_blocks, size), coefficients
        )

    def _slip(self, velocity: Array) -> tuple[Array, Array, Array]:
        """Relative velocity of the closest points, its tangential part, and the length of that."""
        n = self._points.normal
        s = np.einsum("nj,njc->nc", self._points.c, velocity[self._pairs.vertices])
        u = s - np.einsum("nc,nc->n", n, s)[:, None] * n
        return s, u, np.sqrt(np.einsum("nc,nc->n", u, u))

    def _over(self, y: Array) -> Array:
        """f0'(y) / y."""
        e = self._speed
        return np.where(y < e, (2 - y / e) / e, 1 / np.maximum(y, e))

    def _slip_matrix(self, u: Array, y: Array) -> Array:
        """Derivative `[n, 3, 3]` of the force `mu lambda f0'(y) u / y` with respect to u."""
        e = self._speed
        bend = np.where(y < e, -1 / e**2, -1 / np.maximum(y, e) ** 2)
        along = u / np.maximum(y, 1e-300)[:, None]
        matrix = bend[:, None, None] * (along[:, :, None] * u[:, None, :]) + self._over(y)[:, None, None] * np.eye(3)
        return (self._mu * self._press)[:, None, None] * matrix

    def _velocity_blocks(self, u: Array, y: Array) -> Array:
        p = self._points
        inner = self._slip_matrix(u, y)
        along = np.einsum("nab,nb->na", inner, p.normal)
        inner -= along[:, :, None] * p.normal[:, None, :]  # u has no normal part, so that the result is symmetric
        weights = p.c[:, :, None] * p.c[:, None, :]
        return (weights[:, :, None, :, None] * inner[:, None, :, None, :]).reshape(-1, 12, 12)

    def _lag_blocks(self, velocity: Array, s: Array, u: Array, y: Array) -> Array:
        """Derivatives `[n, 12, 12]` of the gradient with respect to the lagged positions."""
        p, n = self._points, len(self._mu)
        d_beta = p.position_rates()
        d_c = np.einsum("nkj,nki->nji", p.B, d_beta)
        d_r = np.einsum("nj,ab->najb", p.c, np.eye(3)).reshape(n, 3, 12) + np.einsum("nkc,nki->nci", p.D, d_beta)
        d_d = np.einsum("nc,nci->ni", p.normal, d_r)
        d_n = (d_r - p.normal[:, :, None] * d_d[:, None, :]) / p.d[:, None, None]
        d_press = self._press_rate[:, None] * d_d
        if self._fading is not None:
            d_press[self._fading.at] += self._full[:, None] * self._fading.factor_rates()
        d_s = np.einsum("njc,nji->nci", velocity[self._pairs.vertices], d_c)
        into = np.einsum("nc,nc->n", p.normal, s)[:, None, None]
        d_into = np.einsum("nc,nci->ni", s, d_n) + np.einsum("nc,nci->ni", p.normal, d_s)
        d_u = d_s - into * d_n - p.normal[:, :, None] * d_into[:, None, :]
        over = self._mu * self._over(y)
        d_g = (over[:, None] * u)[:, :, None] * d_press[:, None, :] + self._slip_matrix(u, y) @ d_u
        g = (over * self._press)[:, None] * u
        return (d_c[:, :, None, :] * g[:, None, :, None] + p.c[:, :, None, None] * d_g[:, None, :, :]).reshape(n, 12, 12)
