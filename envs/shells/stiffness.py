"""How the material of sheets is changed in a model: by numbers, or by tensors in which a step is then differentiable."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...sim.solid import Shell, SolidModel


def with_material(model: SolidModel, changes: Mapping[str, Any]) -> SolidModel:
    """The model with other parameters of the material of its sheets, each a number or `[B]`.

    By the Young's modulus [Pa] the bending stiffness is chosen; the sheet stretches more, or less, with it.
    """
    bodies = [
        dataclasses.replace(body, material=dataclasses.replace(body.material, **changes)) if isinstance(body, Shell) else body
        for body in model.bodies
    ]
    return dataclasses.replace(model, bodies=bodies)


def bending_stiffness(modulus: Any, thickness: Any, poisson_ratio: Any) -> Any:
    """E h^3 / (12 (1 - nu^2)) [N m] of a modulus E [Pa], a thickness h [m] and a ratio nu, numbers or tensors."""
    return modulus * thickness**3 / (12 * (1 - poisson_ratio**2))
