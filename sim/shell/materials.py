"""What thin sheets are made of, and some sheets as they are found."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import ModelError
from ..materials.base import STIFFEST, Parameter, numbers
from .membrane import LAWS

BENDING = ("mid_edge", "hinge")


@dataclass(frozen=True)
class ShellMaterial:
    """An isotropic sheet, elastic in its plane; bent beyond its yield curvature it keeps a crease.

    A parameter is a number, a scalar tensor, or one value for each environment `[B]`; tensors may require gradients.

    Args:
        youngs_modulus: [Pa].
        poisson_ratio: between -1 and 0.5.
        thickness: [m].
        density: mass density at rest [kg/m^3].
        yield_curvature: the curvature k0 up to which the sheet springs back [1/m]; infinite if it always does. A sheet whose material yields
            at the strain eps has k0 = 2 eps / thickness at its surface.
        hardening: by how much the yield curvature grows with the plastic curvature.
        membrane: `st_venant_kirchhoff`, or `neo_hookean`, which also resists being crushed.
        bending: `mid_edge`, which converges on any mesh, or `hinge`, which has no edge rotations and does not.

    Raises:
        ModelError: if a parameter is not finite or outside its physical range, or there is no such law.
    """

    youngs_modulus: Parameter
    poisson_ratio: Parameter
    thickness: Parameter
    density: Parameter
    yield_curvature: Parameter = math.inf
    hardening: Parameter = 0.0
    membrane: str = "st_venant_kirchhoff"
    bending: str = "mid_edge"

    def __post_init__(self) -> None:
        self._check("youngs_modulus", 0, STIFFEST)
        self._check("poisson_ratio", -1, 0.5)
        self._check("thickness", 0, math.inf)
        self._check("density", 0, math.inf)
        self._check("hardening", 0, math.inf, closed=True)
        self._check("yield_curvature", 0, math.inf, infinite=True)
        for name, known in (("membrane", LAWS), ("bending", BENDING)):
            if getattr(self, name) not in known:
                raise ModelError(f"Shell: there is no {name} law {getattr(self, name)!r}; choose one of {', '.join(known)}.")

    def _check(self, name: str, low: float, high: float, *, closed: bool = False, infinite: bool = False) -> None:
        value = numbers(f"Shell: {name}", getattr(self, name))
        good = ((value >= low) if closed else (value > low)) & ((value < high) | (value == high if infinite else False))
        if not bool(good.all()):
            bound = f"{'at least' if closed else 'above'} {low:g}" + ("" if math.isinf(high) else f" and below {high:g}")
            raise ModelError(f"Shell: {name} is {value[~good].flatten()[0]:g}; it must be {bound}{'' if infinite else ' and finite'}.")


def _yields_at(strain: float, thickness: float) -> float:
    """The curvature at which the surface of a sheet reaches a strain."""
    return 2 * strain / thickness


def paper() -> ShellMaterial:
    """Copy paper of 80 g/m^2, as the isotropic mean of its two directions.

    Typical textbook values, not one measurement: modulus 5 to 8 GPa along the machine and 2 to 3 GPa across, so about 4 GPa, Poisson's ratio
    about 0.3, yield at a strain of about 0.5 %, and beyond it a tenth of the stiffness. For the field see Niskanen (ed.) 2012, "Mechanics of
    Paper Products".
    """
    return ShellMaterial(4e9, 0.3, 1e-4, 800.0, _yields_at(0.005, 1e-4), 0.1)


def card() -> ShellMaterial:
    """Board of 240 g/m^2 as of playing cards, with the typical values of `paper`; coated and calendered, it springs back further.

    That its surface yields at 1 % is an estimate: a card recovers from a bend of about 15 mm in radius.
    """
    return ShellMaterial(4e9, 0.3, 3e-4, 800.0, _yields_at(0.01, 3e-4), 0.1)


def cloth() -> ShellMaterial:
    """Plain-woven cotton of 150 g/m^2, elastic.

    A weave bends far more easily than a solid sheet that stretches alike, so one modulus cannot give both. This one is made to bend right:
    E = 12 (1 - nu^2) D / h^3 for a bending rigidity of 8 uN m, and it stretches too easily. Rigidity, thickness and weight are typical of
    shirtings, not one measurement; the standard method is Kawabata 1980, "The Standardization and Analysis of Hand Evaluation".
    """
    rigidity, thickness, poisson_ratio = 8e-6, 3e-4, 0.3
    return ShellMaterial(12 * (1 - poisson_ratio**2) * rigidity / thickness**3, poisson_ratio, thickness, 500.0)


def leather() -> ShellMaterial:
    """Chrome-tanned upper leather of 1.2 mm, elastic.

    Typical textbook values with a wide spread (moduli of 10 to 100 MPa at small strain), not one measurement; for the field see Ward 1974,
    "The mechanical properties of leather", Rheologica Acta 13.
    """
    return ShellMaterial(5e7, 0.4, 1.2e-3, 860.0)


def plastic_film() -> ShellMaterial:
    """Polyester film (PET) of 100 um, as for overhead transparencies.

    DuPont Teijin Films, "Mylar polyester film: physical and thermal properties" (product bulletin H-37232): modulus 490 and 510 kg/mm^2 in the
    two directions, 10 kg/mm^2 at 5 % elongation, density 1390 kg/m^3, Poisson's ratio 0.38. Yield: 98 MPa over the modulus. The hardening is an
    estimate.
    """
    return ShellMaterial(4.9e9, 0.38, 1e-4, 1390.0, _yields_at(98e6 / 4.9e9, 1e-4), 0.05)


def foil() -> ShellMaterial:
    """Soft aluminium foil (1100-O) of 16 um, as in a kitchen.

    Alloys International, "Aluminum 1100: material data sheet": modulus 68.9 GPa, Poisson's ratio 0.33, density 2710 kg/m^3, yield stress 34 MPa,
    tensile strength 89.6 MPa. The hardening is an estimate, from a tangent modulus of about 1 GPa.
    """
    return ShellMaterial(68.9e9, 0.33, 1.6e-5, 2710.0, _yields_at(34e6 / 68.9e9, 1.6e-5), 0.015)
