"""What a material is: parameters in SI units, and a law in two Taichi functions."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from ...errors import ModelError

Parameter = float | Tensor
"""A number, a scalar tensor, or one value for each environment `[B]`; tensors may require gradients."""
STIFFEST = 1e13
"""[Pa]; ten times the modulus of diamond. What is beyond is a mistake in units."""


def numbers(what: str, value: object) -> Tensor:
    """A parameter as a tensor of doubles without derivatives, to be looked at.

    Raises:
        ModelError: if it does not consist of numbers.
    """
    try:
        return value.detach().double() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{what} is {value!r}; it must be a number or a tensor.") from error


class Law(NamedTuple):
    """The update of a material point and its adjoint, as Taichi functions.

    `F` is the deformation gradient [D, D], `a` the material's own scalar, `L` the velocity gradient [1/s], `par` what
    `Material.law_parameters` gives.
    """

    update: Callable[..., Any]
    """`(F, a, L, par, dt) -> F1, a1, tau`: the state a step later and the Kirchhoff stress [Pa]."""
    adjoint: Callable[..., Any]
    """`(F, a, L, par, dt, tau_bar, F1_bar, a1_bar) -> F_bar, a_bar, L_bar, par_bar`."""


@dataclasses.dataclass(frozen=True)
class Substance:
    """What every kind of matter has, whatever simulates it.

    Args:
        density: mass density at rest [kg/m^3].

    Raises:
        ModelError: if a parameter is not finite or outside its physical range.
    """

    density: Parameter

    name: ClassVar[str]

    def __post_init__(self) -> None:
        self.check("density", 0, math.inf)

    def check(self, name: str, low: float, high: float, *, closed: bool = False) -> None:
        """Raises ModelError unless low < value < high (low <= value if `closed`)."""
        value = numbers(f"{self.name}: {name}", getattr(self, name))
        good = torch.isfinite(value) & ((value >= low) if closed else (value > low)) & (value < high)
        if not bool(good.all()):
            bound = f"at least {low:g}" if closed else f"above {low:g}"
            bound += "" if math.isinf(high) else f" and below {high:g}"
            raise ModelError(
                f"{self.name}: {name} is {value[~good].flatten()[0] if value.ndim else value:g}; it must be finite and {bound}."
            )


@dataclasses.dataclass(frozen=True)
class Material(Substance, ABC):
    """What a body of material points is made of.

    Args:
        density: mass density at rest [kg/m^3].

    Raises:
        ModelError: if a parameter is not finite or outside its physical range.
    """

    law: ClassVar[Law]
    keeps_shape: ClassVar[bool] = True
    """Whether the law needs the deformation gradient; a liquid only keeps its volume ratio."""
    initial_internal: ClassVar[float] = 0.0
    """The material's own scalar at rest."""

    @abstractmethod
    def law_parameters(self) -> tuple[Parameter, ...]:
        """The numbers that the law reads, in its order."""

    @abstractmethod
    def wave_speed(self) -> Tensor:
        """The fastest elastic or acoustic wave at rest [m/s]; it bounds the time step of an explicit solver."""

    def diffusivity(self) -> Tensor:
        """The kinematic viscosity [m^2/s]; it bounds the time step too."""
        return torch.zeros(())


def lame(youngs_modulus: Parameter, poisson_ratio: Parameter) -> tuple[Parameter, Parameter]:
    """Lame's mu and lambda [Pa] of Young's modulus [Pa] and Poisson's ratio (three dimensions, or plane strain)."""
    mu = youngs_modulus / (2 * (1 + poisson_ratio))
    return mu, youngs_modulus * poisson_ratio / ((1 + poisson_ratio) * (1 - 2 * poisson_ratio))


@dataclasses.dataclass(frozen=True)
class Hookean(Substance):
    """Matter that obeys Hooke's law while its strain is small, the same in all directions.

    Args:
        density: [kg/m^3].
        youngs_modulus: [Pa].
        poisson_ratio: between -1 and 0.5. In two dimensions the body is in plane strain.
    """

    youngs_modulus: Parameter
    poisson_ratio: Parameter

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("youngs_modulus", 0, STIFFEST)
        self.check("poisson_ratio", -1, 0.5)

    def lame(self) -> tuple[Parameter, Parameter]:
        """Lame's mu and lambda [Pa]."""
        return lame(self.youngs_modulus, self.poisson_ratio)
