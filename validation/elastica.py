"""The inextensible elastica, by collocation to 1e-9: what thin strips are compared with.

Arc length is in units of the length L, curvature in 1/L; theta is the angle of the tangent with the horizontal at the clamp.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_bvp


def own_weight(gamma: float) -> tuple[float, float]:
    """Height and width, in lengths, of a cantilever that bends down under its own weight; gamma = rho g S L^3 / (E I).

    The curvature at the clamp grows without a bound that is easy to guess, so the weight is raised step by step.
    """
    x, y, _theta = _raised(lambda load: lambda s, theta: -load * (1 - s) * np.cos(theta), gamma)
    return float(np.ptp(y)), float(np.ptp(x))


def tip_load(alpha: float) -> tuple[float, float]:
    """Drop of the tip and its approach to the clamp, in lengths, of a cantilever under a dead load; alpha = P L^2 / (E I)."""
    x, y, _theta = _raised(lambda load: lambda s, theta: -load * np.cos(theta), alpha)
    return float(abs(y[-1])), float(1 - x[-1])


def _raised(law: Callable[[float], Callable[[float, float], float]], load: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The solution that grows out of the straight beam: the collocation of scipy, started from that under a lower load."""
    s = np.linspace(0.0, 1.0, 401)
    y = np.zeros((2, len(s)))
    solution = None
    for part in np.geomspace(min(load, 1.0), load, max(1, int(np.ceil(4 * np.log(max(load, 1.0)))) + 1)):
        slope = law(part)
        solution = solve_bvp(
            lambda s, y, slope=slope: np.vstack([y[1], slope(s, y[0])]),
            lambda a, b: np.array([a[0], b[1]]),
            s,
            y,
            tol=1e-9,
            max_nodes=200_000,
        )
        s, y = solution.x, solution.y
    grid = np.linspace(0.0, 1.0, 4001)
    theta = solution.sol(grid)[0]  # type: ignore[union-attr]
    x, height = (np.concatenate([[0.0], np.cumsum(0.5 * (f[1:] + f[:-1]) * np.diff(grid))]) for f in (np.cos(theta), np.sin(theta)))
    return x, height, theta
