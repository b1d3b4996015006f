"""Equations for a scalar field. Units are those of the user's choice for u; lengths in m, times in s."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from ...errors import ModelError
from .domain import Domain
from .equation import Evolution, Oscillation, Steady
from .operators import Coefficient, Mean, Scheme, advection, diffusion, divergence, face_states, face_steps, face_values

Parameter = float | Tensor
"""A number, a scalar tensor, `[B]`, or `[B or 1, *shape]`."""


class Poisson(Steady):
    """0 = div(D grad u) + f.

    Args:
        domain: where.
        source: f.
        diffusivity: D, positive.
        mean: how D in cells gives faces.
    """

    symmetric = True

    def __init__(self, domain: Domain, source: Parameter, diffusivity: Coefficient = 1.0, mean: Mean = "arithmetic") -> None:
        super().__init__(domain)
        _require("diffusivity", diffusivity, positive=True)
        self.source, self.diffusivity, self.mean = source, diffusivity, mean

    @override
    def rhs(self, u: Tensor) -> Tensor:
        return diffusion(u, self.diffusivity, self.domain, mean=self.mean) + self.domain.spread("The source", self.source, u)

    @override
    def elliptic(self, u: Tensor) -> tuple[Any, Coefficient]:
        return 0.0, self.diffusivity


class Diffusive(Evolution):
    """du/dt = div(D grad u) + reaction(u); what the equations below share.

    Args:
        domain: where.
        diffusivity: D [m^2/s].
        mean: how D in cells gives faces.
    """

    symmetric = True

    def __init__(self, domain: Domain, diffusivity: Coefficient, mean: Mean = "arithmetic") -> None:
        super().__init__(domain)
        _require("diffusivity", diffusivity)
        self.diffusivity, self.mean = diffusivity, mean

    def reaction(self, u: Tensor) -> Tensor | None:
        """What is made in every cell; None: nothing."""
        return None

    @override
    def rhs(self, u: Tensor, time: Any) -> Tensor:
        spread = diffusion(u, self.diffusivity, self.domain, time, self.mean)
        made = self.reaction(u)
        return spread if made is None else spread + made

    @override
    def elliptic(self, u: Tensor) -> tuple[Any, Coefficient]:
        return 0.0, self.diffusivity

    @override
    def stable_dt(self, u: Tensor) -> Tensor:
        return 1 / _diffusion_rate(self.diffusivity, self.domain, u).clamp(min=1e-300)


class Heat(Diffusive):
    """du/dt = div(k grad u) + f.

    Args:
        domain: where.
        conductivity: k [m^2/s], or a function of u `[B, ..., *shape]` that returns k there.
        source: f.
        mean: how k in cells gives faces.
    """

    def __init__(
        self, domain: Domain, conductivity: Coefficient | Callable[[Tensor], Tensor], source: Parameter = 0.0, mean: Mean = "arithmetic"
    ) -> None:
        depends = callable(conductivity)
        super().__init__(domain, 0.0 if depends else conductivity, mean)  # type: ignore[arg-type]
        self.conductivity, self.source = conductivity, source
        self.symmetric = not depends

    @override
    def rhs(self, u: Tensor, time: Any) -> Tensor:
        k = self.conductivity(u) if callable(self.conductivity) else self.conductivity
        out = diffusion(u, k, self.domain, time, self.mean)
        return out if isinstance(self.source, float) and self.source == 0.0 else out + self.domain.spread("The source", self.source, u)

    @override
    def elliptic(self, u: Tensor) -> tuple[Any, Coefficient]:
        return 0.0, self.conductivity(u) if callable(self.conductivity) else self.conductivity

    @override
    def stable_dt(self, u: Tensor) -> Tensor:
        k = self.conductivity(u) if callable(self.conductivity) else self.conductivity
        return 1 / _diffusion_rate(k, self.domain, u).clamp(min=1e-300)


class AllenCahn(Diffusive):
    """du/dt = div(D grad u) + (u - u^3) / tau.

    Args:
        domain: where.
        diffusivity: D [m^2/s].
        time_scale: tau [s].
    """

    def __init__(self, domain: Domain, diffusivity: Coefficient, time_scale: Parameter = 1.0) -> None:
        super().__init__(domain, diffusivity)
        _require("time_scale", time_scale, positive=True)
        self.time_scale = time_scale

    @override
    def reaction(self, u: Tensor) -> Tensor:
        return (u - u**3) / self.domain.spread("The time scale", self.time_scale, u)


class FisherKolmogorov(Diffusive):
    """du/dt = div(D grad u) + growth u (1 - u).

    Args:
        domain: where; its mask is the tissue.
        diffusivity: D [m^2/s].
        growth: [1/s].
        mean: how D in cells gives faces.
    """

    def __init__(self, domain: Domain, diffusivity: Coefficient, growth: Parameter, mean: Mean = "arithmetic") -> None:
        super().__init__(domain, diffusivity, mean)
        _require("growth", growth)
        self.growth = growth

    @override
    def reaction(self, u: Tensor) -> Tensor:
        return self.domain.spread("The growth", self.growth, u) * u * (1 - u)


class AdvectionDiffusion(Diffusive):
    """du/dt = div(D grad u) - div(v u).

    Args:
        domain: where.
        diffusivity: D [m^2/s].
        velocity: across the faces of every axis [m/s], as `advection` takes it.
        scheme: "central", "upwind" or "limited".
    """

    symmetric = False

    def __init__(self, domain: Domain, diffusivity: Coefficient, velocity: Sequence[Any], scheme: Scheme = "central") -> None:
        super().__init__(domain, diffusivity)
        for v in velocity:
            _require("velocity", v, sign=False)
        self.velocity, self.scheme = tuple(velocity), scheme
        self.reach = 2 if scheme == "limited" else 1

    @override
    def rhs(self, u: Tensor, time: Any) -> Tensor:
        return super().rhs(u, time) - advection(u, self.velocity, self.domain, time, self.scheme)

    @override
    def stable_dt(self, u: Tensor) -> Tensor:
        speeds = [torch.as_tensor(v, dtype=u.dtype, device=u.device).detach() for v in self.velocity]
        fastest = [_largest(v, len(u)) for v in speeds]
        return _advective_dt(self.diffusivity, fastest, self.domain, u, self.scheme == "central")


class Burgers(Diffusive):
    """du/dt + div(u^2 / 2, ...) = nu laplace u.

    The flux through a face is (l^2 + l r + r^2) / 6 of the values on both its sides, with which the square of u is conserved but for viscosity
    (Tadmor 1987); it is of second order and wants shocks to be resolved. "upwind" is Godunov's flux, of first order; "limited" the same
    from van Leer's slopes.

    Args:
        domain: where.
        viscosity: nu [m^2/s].
        scheme: "central", "upwind" or "limited".
    """

    symmetric = False

    def __init__(self, domain: Domain, viscosity: Coefficient, scheme: Scheme = "central") -> None:
        super().__init__(domain, viscosity)
        if scheme not in ("central", "upwind", "limited"):
            raise ModelError(f"The scheme is {scheme!r}; it must be 'central', 'upwind' or 'limited'.")
        self.scheme = scheme
        self.reach = 2 if scheme == "limited" else 1

    @override
    def rhs(self, u: Tensor, time: Any) -> Tensor:
        total = super().rhs(u, time)
        for axis in range(self.domain.grid.dimension):
            if self.scheme == "central":  # l^2 + l r + r^2 = 3 m^2 + d^2 / 4 with mean m and difference d
                flux = face_values(u, axis, self.domain, time) ** 2 / 2 + face_steps(u, axis, self.domain) ** 2 / 24
            else:
                l, r = face_states(u, axis, self.domain, time, limited=self.scheme == "limited")
                flux = torch.maximum(l.clamp(min=0) ** 2, r.clamp(max=0) ** 2) / 2
            total = total - divergence(flux, axis, self.domain)
        return total

    @override
    def stable_dt(self, u: Tensor) -> Tensor:
        fastest = [_largest(u.detach(), len(u))] * self.domain.grid.dimension
        return _advective_dt(self.diffusivity, fastest, self.domain, u, self.scheme == "central")


class Wave(Oscillation):
    """d2u/dt2 = div(c^2 grad u).

    Args:
        domain: where.
        speed: c [m/s], a `Parameter`.
        mean: how c^2 in cells gives faces.
    """

    symmetric = True

    def __init__(self, domain: Domain, speed: Parameter, mean: Mean = "arithmetic") -> None:
        super().__init__(domain)
        _require("speed", speed)
        self.speed, self.mean = speed, mean

    @override
    def rhs(self, u: Tensor, time: Any) -> Tensor:
        return diffusion(u, self.speed * self.speed, self.domain, time, self.mean)

    @override
    def stable_dt(self, u: Tensor) -> Tensor:
        return torch.sqrt(2 / _diffusion_rate(self.speed * self.speed, self.domain, u).clamp(min=1e-300))


class DiffusionSorption(Evolution):
    """R(u) du/dt = D laplace u with Freundlich's isotherm: R = 1 + (1 - porosity) / porosity density freundlich exponent u^(exponent - 1).

    The defaults and `floor`, which is added to u in R, are those of PDEBench (Takamoto et al. 2022).

    Args:
        domain: where.
        diffusivity: D [m^2/s].
        porosity: share of the volume that is pore.
        density: of the grains [kg/m^3].
        freundlich: Freundlich's factor.
        exponent: Freundlich's exponent.
        floor: keeps R finite at u = 0.
    """

    def __init__(
        self,
        domain: Domain,
        diffusivity: Parameter = 5e-4,
        porosity: Parameter = 0.29,
        density: Parameter = 2880.0,
        freundlich: Parameter = 3.5e-4,
        exponent: Parameter = 0.874,
        floor: float = 1e-6,
    ) -> None:
        super().__init__(domain)
        named = {"diffusivity": diffusivity, "porosity": porosity, "density": density, "freundlich": freundlich, "exponent": exponent}
        for name, value in named.items():
            _require(name, value, positive=True)
        self.diffusivity, self.porosity, self.density = diffusivity, porosity, density
        self.freundlich, self.exponent, self.floor = freundlich, exponent, floor

    def retardation(self, u: Tensor) -> Tensor:
        """R at every cell; for negative u as at zero."""
        parts = {"porosity": self.porosity, "density": self.density, "Freundlich factor": self.freundlich, "exponent": self.exponent}
        porosity, density, freundlich, exponent = (self.domain.spread(f"The {name}", value, u) for name, value in parts.items())
        return 1 + (1 - porosity) / porosity * density * freundlich * exponent * (u.clamp(min=0) + self.floor) ** (exponent - 1)

    @override
    def rhs(self, u: Tensor, time: Any) -> Tensor:
        return self.domain.spread("The diffusivity", self.diffusivity, u) * diffusion(u, 1.0, self.domain, time) / self.retardation(u)

    @override
    def stable_dt(self, u: Tensor) -> Tensor:
        return 1 / _diffusion_rate(self.diffusivity, self.domain, u).clamp(min=1e-300)


def _require(name: str, value: Any, positive: bool = False, sign: bool = True) -> None:
    """Raises ModelError unless all of a parameter is finite, and not negative or, if so wanted, positive."""
    for part in value if isinstance(value, tuple | list) else (value,):
        tensor = torch.as_tensor(part).detach()
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"The {name} is not finite.")
        if sign and bool(((tensor <= 0) if positive else (tensor < 0)).any()):
            raise ModelError(
                f"The {name} is {float(tensor.min()):g} at its least; it must {'be positive' if positive else 'not be negative'}."
            )


def _largest(value: Tensor, batch: int) -> Tensor:
    """The largest absolute value of each environment `[B]`."""
    flat = value.abs().reshape(len(value), -1).amax(1) if value.ndim else value.abs().reshape(1)
    return flat.expand(batch)


def _diffusion_rate(coefficient: Coefficient, domain: Domain, u: Tensor) -> Tensor:
    """The largest eigenvalue of div(D grad) is at most twice this `[B]` [1/s]: the largest D times sum of 2 / h^2."""
    parts = coefficient if isinstance(coefficient, tuple) else (coefficient,) * domain.grid.dimension
    rate = u.new_zeros(len(u))
    for axis, h in enumerate(domain.grid.spacing):
        d = torch.as_tensor(parts[axis], dtype=u.dtype, device=u.device).detach()
        wall = 1.0  # by Gershgorin a wall conducts too much only where a and b of its condition have opposite signs
        if not domain.periodic[axis]:
            weights = [float(torch.as_tensor(domain.side_factors(axis, end, u)[0]).detach().max()) for end in (0, 1)]
            wall = max(1.0, *((2 + w) / 4 for w in weights))
        rate = rate + _largest(d, len(u)) * (2 * wall / h**2)
    return rate


def _advective_dt(coefficient: Coefficient, speeds: Sequence[Tensor], domain: Domain, u: Tensor, central: bool) -> Tensor:
    """The longest explicit step with diffusion and speeds `[B]` along every axis."""
    rate = _diffusion_rate(coefficient, domain, u)
    square = rate * 0
    for speed, h in zip(speeds, domain.grid.spacing, strict=True):
        rate = rate + speed / h
        square = square + speed**2
    longest = 1 / rate.clamp(min=1e-300)
    if not central:
        return longest
    # Forward Euler with central differences needs dt <= 2 D / |v|^2 besides.
    parts = coefficient if isinstance(coefficient, tuple) else (coefficient,)
    least = min(float(torch.as_tensor(part).detach().min()) for part in parts)
    return torch.where(square > 0, torch.minimum(longest, 2 * least / square.clamp(min=1e-30)), longest)
