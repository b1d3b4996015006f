"""pliant/Card-v0: with which bending stiffness does a card that is bent and let go shoot out furthest?"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ModelError
from ...sim.mesh import Mesh, load_mesh
from ...sim.mesh_shapes import patch, sheet
from ...sim.solid import Kinematic, Shell, SolidModel, SolidState
from .design_task import DesignSettings, DesignTask
from .gripper import Gripper
from .shell_task import Scene
from .stiffness import bending_stiffness, with_material

if TYPE_CHECKING:
    from ...sim.render import Camera


@dataclasses.dataclass(frozen=True)
class CardSettings(DesignSettings):
    """Settings of Card."""

    dt: float = 0.002
    script_steps: int = 25
    integrator: str = "bdf2"
    material: str = "card"
    length: float = 0.07
    """Of the card, along x."""
    width: float = 0.03
    """Of the card."""
    flat: float = 0.015
    """Length of its end along -x that lies on the table, under the finger."""
    slope: float = 0.6
    """Largest slope of the bent rest of it [rad]."""
    press: float = 0.0025
    """By how much the finger goes down beyond where it meets the card."""
    lift_speed: float = 1.0
    """With which it then lets go [m/s]."""
    modulus_low: float = 5e7
    """Young's modulus, the least;"""
    modulus_high: float = 2e9
    """and the most [Pa]."""


class Card(DesignTask):
    """A card arches between a wall and a finger that presses its other end on the table; the finger lets go, and it shoots out along -x.

    With the mean displacement c_x of the card along x since the start:

        cost(s) = way + c_x  [m],    way = 50 mm

    The stiffness is chosen by Young's modulus (see `with_material`), and the card is elastic. ThinShellLab's reward is minus the sum of x over
    the card's vertices; its card is bent by three fingers, upon two other cards, and its sheets are 500 times as heavy and have no gravity.
    """

    presets = {
        "small": CardSettings(),
        "full": CardSettings(cell=0.004, tip_vertices=16, width=0.045),
    }
    design = ("modulus",)
    settling = 8

    def scene(self) -> Scene:
        """The card as it is bent, the table with the wall, and the finger."""
        own = self.settings
        if not 0 < own.flat < 0.5 * own.length or not 0 < own.slope < 1.2:
            raise ModelError(f"flat is {own.flat} m and slope is {own.slope} rad; they must be below half of the length and below 1.2.")
        columns, rows = max(6, round(own.length / own.cell)), max(2, round(own.width / own.cell))
        card = load_mesh(own.sheet_mesh) if own.sheet_mesh else sheet(own.length, own.width, columns, rows)
        flat = card.vertices - np.append(
            card.vertices.min(0)[:2] + np.array([0.0, 0.5 * np.ptp(card.vertices[:, 1])]), card.vertices[:, 2].mean()
        )
        bent = arched(flat, own.flat, own.slope) + np.array([0.0, 0.0, self.lift()])
        elastic = dataclasses.replace(self.sheet_material, yield_curvature=math.inf)
        corner = floor_and_wall(-0.15, float(bent[:, 0].max()) + self.lift(), 0.03, 0.1)
        gap = self.lift()
        finger = Gripper("finger", (0.5 * own.flat, 0.0, gap + self.lift()), close=own.press + gap)
        bodies = [Shell(Mesh(flat, card.faces), "sheet", material=elastic, start=bent), Kinematic(corner, "table")]
        return Scene(bodies, [finger])

    def designed(self, model: SolidModel, properties: dict[str, Any]) -> SolidModel:
        """The stiffness of the card."""
        return with_material(model, {"youngs_modulus": properties["modulus"]})

    def script(self, t: Tensor, state: SolidState) -> Tensor:
        """Up, for the first half of the steps."""
        own = self.settings
        velocity = torch.zeros(len(t), 1, 6, dtype=self.dtype)
        velocity[:, 0, 2] = torch.where(t < max(1, own.script_steps // 2), own.lift_speed, 0.0)
        return velocity

    def moved(self, state: SolidState) -> Tensor:
        """How far the card has moved along x since the start, `[B]` [m]."""
        return (self.middle(state, "sheet") - self.middle(self._start, "sheet"))[:, 0]

    def cost(self, state: SolidState) -> Tensor:
        """What is missing until the card has come 50 mm along -x, `[B]` [m]; negative beyond."""
        return 0.05 + self.moved(state)

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """Young's modulus [Pa], bending stiffness [N m], and how far the card has moved along -x [m]."""
        found = super().metrics(state)
        material: Any = self.sheet_material
        stiffness = bending_stiffness(found["modulus"], material.thickness, material.poisson_ratio)
        return found | {"bending_stiffness": stiffness, "moved": -self.moved(state)}

    def camera(self) -> Camera:
        """From the front and a little above."""
        from ...sim.render import Camera

        return Camera((0.0, -0.2, 0.06), (0.01, 0.0, 0.008), field_of_view=36)

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """The friction of the table, over a factor of two, and with which speed the finger lets go."""
        own = self.settings
        return {
            "table_friction": own.table_friction * float(generator.uniform(0.7, 1.4)),
            "lift_speed": own.lift_speed * float(generator.uniform(0.8, 1.2)),
        }


def arched(flat: NDArray[np.float64], lying: float, slope: float) -> NDArray[np.float64]:
    """Places of a sheet that lies in the plane z = 0 along x from 0, when it is arched from x = `lying` on, without being stretched.

    The slope of its middle line at the length s of the n metres beyond `lying` is `slope` sin(2 pi s / n): the first mode in which a clamped
    strip buckles.
    """
    fine = np.linspace(0.0, float(flat[:, 0].max()), 2001)
    middle = 0.5 * (fine[1:] + fine[:-1])
    angle = slope * np.sin(2 * np.pi * np.maximum(middle - lying, 0.0) / (fine[-1] - lying))
    steps = np.diff(fine)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    curve = np.vstack([np.zeros(2), np.cumsum(steps, 0)])
    x, z = (np.interp(flat[:, 0], fine, curve[:, k]) for k in range(2))
    return np.column_stack([x, flat[:, 1], z])


def floor_and_wall(start: float, wall: float, height: float, width: float) -> Mesh:
    """A floor in the plane z = 0 from x = `start` to x = `wall`, where a wall goes up from it [m]."""

    def place(s: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
        along = 2 * s  # the floor in the first half
        x = start + (wall - start) * np.minimum(along, 1.0)
        return np.column_stack([x, width * (t - 0.5), height * np.maximum(along - 1.0, 0.0)])

    return patch(2, 1, place)
