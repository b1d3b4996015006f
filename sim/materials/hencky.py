"""Laws of Hencky elasticity whose plastic flow keeps the principal axes."""

from collections.abc import Callable
from typing import Any

from ..algebra import exp_slope, log_slope, spectral, symmetric_eigen
from ..runtime import taichi
from .base import Law
from .elastic import trial_adjoint

ti = taichi()


def hencky_law(return_map: Callable[..., Any], return_map_adjoint: Callable[..., Any]) -> Law:
    """The law of a solid with Hencky elasticity whose plastic flow scales the deviator of the logarithmic strain and may change its trace.

    Args:
        return_map: Taichi function `(dim, trace, q, a, par, dt) -> k, trace1, a1`: the trial strain has trace `trace` and a deviator of norm `q`;
            the elastic strain after flow has the deviator times `k` and trace `trace1`. `par[0]` and `par[1]` are mu and lambda. `dim` is 2 or 3,
            known to the compiler: declare it `dim: ti.template()`.
        return_map_adjoint: `(dim, trace, q, a, par, dt, k_bar, trace1_bar, a1_bar) -> trace_bar, q_bar, a_bar, par_bar`.

    In two dimensions the deviator is that of the plane: flow is confined to it.
    The derivative uses quotients that are smooth where principal strains coincide, so that a body at rest has an exact one.
    """

    @ti.func
    def principal(G):
        squares, Q = symmetric_eigen(G @ G.transpose())
        strain = ti.log(squares) / 2
        trace = strain.sum()
        deviator = strain - trace / G.n
        return squares, Q, trace, deviator, ti.sqrt(deviator.dot(deviator))

    @ti.func
    def grown(z):
        w = z
        for i in ti.static(range(z.n)):
            w[i] *= exp_slope(z[i])
        return w

    @ti.func
    def update(F, a, L, par, dt):
        G = F + dt * (L @ F)
        _squares, Q, trace, deviator, q = principal(G)
        k, trace1, a1 = return_map(F.n, trace, q, a, par, dt)
        strain1 = k * deviator + trace1 / F.n
        # What flow adds, and not what it leaves: without flow G stays as it is to the last bit. Q Q^T is the identity but for rounding, and
        # a body at rest would collect that in every step.
        growth = grown((k - 1) * deviator + (trace1 - trace) / F.n)
        return G + spectral(growth, Q) @ G, a1, spectral(2 * par[0] * strain1 + par[1] * trace1, Q)

    @ti.func
    def adjoint(F, a, L, par, dt, tau_bar, F1_bar, a1_bar):
        G = F + dt * (L @ F)
        squares, Q, trace, deviator, q = principal(G)
        k, trace1, _a1 = return_map(F.n, trace, q, a, par, dt)
        strain1 = k * deviator + trace1 / F.n
        growth = grown((k - 1) * deviator + (trace1 - trace) / F.n)
        stretch = 1 + growth
        # F1 = M G and tau are both isotropic functions of G G^T, with eigenvalues `stretch` and 2 mu strain1 + lambda trace1.
        M_bar = F1_bar @ G.transpose()
        T = Q.transpose() @ tau_bar @ Q
        M = Q.transpose() @ M_bar @ Q
        strain1_bar = deviator * 0
        strain_bar = deviator * 0
        tau_sum = trace * 0
        for i in ti.static(range(F.n)):
            strain1_bar[i] = 2 * par[0] * T[i, i] + stretch[i] * M[i, i]
            strain_bar[i] = -stretch[i] * M[i, i]
            tau_sum += T[i, i]
        k_bar = strain1_bar.dot(deviator)
        trace1_bar = strain1_bar.sum() / F.n + par[1] * tau_sum
        trace_bar, q_bar, a_bar, par_bar = return_map_adjoint(F.n, trace, q, a, par, dt, k_bar, trace1_bar, a1_bar)
        deviator_bar = k * strain1_bar
        if q > 0:
            deviator_bar += deviator * (q_bar / q)
        strain_bar += deviator_bar - deviator_bar.sum() / F.n + trace_bar
        B = T
        for i in ti.static(range(F.n)):
            for j in ti.static(range(F.n)):
                if ti.static(i == j):
                    B[i, i] = strain_bar[i] / (2 * squares[i])
                else:
                    slope = log_slope(squares[i], squares[j]) / 2
                    gap = (k - 1) * (deviator[i] - deviator[j])
                    stretching = stretch[j] * exp_slope(gap) * (k - 1) * slope
                    B[i, j] = (T[i, j] + T[j, i]) / 2 * (2 * par[0] * k * slope) + (M[i, j] + M[j, i]) / 2 * stretching
        b_bar = Q @ B @ Q.transpose()
        G_bar = F1_bar + spectral(growth, Q) @ F1_bar + (b_bar + b_bar.transpose()) @ G
        for i in ti.static(range(F.n)):
            par_bar[0] += 2 * strain1[i] * T[i, i]
        par_bar[1] += trace1 * tau_sum
        F_bar, L_bar = trial_adjoint(F, L, dt, G_bar)
        return F_bar, a_bar, L_bar, par_bar

    return Law(update, adjoint)
