"""pliant/Pouring-v0: pour the upper of two liquids out of a glass and keep the lower one in it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..sim.materials import Liquid
from ..sim.mpm import Body, Effector, MpmModel, MpmState
from ..sim.sdf import Cylinder, Difference, Moved
from .mpm_task import MpmSettings, MpmTask

if TYPE_CHECKING:
    from ..sim.render import Camera


@dataclasses.dataclass(frozen=True)
class PouringSettings(MpmSettings):
    """Settings of Pouring. Lengths in metres."""

    horizon: int = 50
    dt: float = 0.02
    radius: float = 0.035
    """Of the glass inside."""
    depth: float = 0.07
    """Of the glass inside."""
    wall: float = 0.015
    """Thickness of the glass."""
    fill: float = 0.03
    """Height of each of the two liquids."""
    speed_of_sound: float = 5.0
    """In both liquids [m/s]; a real one would only make the time step shorter."""
    water_density: float = 1000.0
    milk_density: float = 1030.0
    water_viscosity: float = 1e-3
    milk_viscosity: float = 2e-3
    friction: float = 0.1
    """Of the glass."""
    keep: float = 1.0
    """Weight of the milk in the cost."""


class Pouring(MpmTask):
    """A glass that moves in six degrees of freedom holds milk, and water upon it. The water shall leave, the milk shall stay.

    With milk particles m that start at x_m(0), and water particles w, all in metres:

        cost(s) = mean_w |z_w - cell|_s + keep * mean_m sum_i |x_m,i - x_m,i(0)|_s,     |d|_s = sqrt(d^2 + e^2) - e,  e = 1 mm

    the distances of FluidLab's task, as means instead of sums, with corners rounded so that the start has a derivative.
    The loss is the mean cost over the last quarter of the steps, the reward of a step 100 (cost before - cost after).
    """

    presets = {
        "small": PouringSettings(),
        "full": PouringSettings(horizon=150, dt=0.01, cell=0.005, radius=0.04, fill=0.04, depth=0.095, speed_of_sound=10.0),
    }
    body_colors = ((0.95, 0.93, 0.88), (0.25, 0.55, 0.85))
    tool_colors = ((0.75, 0.85, 0.90),)
    tool_alpha = 0.35
    reward_scale = 100.0
    iterations = 20

    def scene(self) -> MpmModel:
        """The glass stands in the air, over an empty floor."""
        own = self.settings
        if min(own.radius, own.fill) < own.cell or 2 * own.fill > own.depth:
            raise ModelError(
                f"A glass of radius {own.radius} m and depth {own.depth} m cannot hold two liquids of {own.fill} m each on cells of {own.cell} m; "
                "radius and fill must be at least a cell, and twice the fill at most the depth."
            )
        box = Cylinder(own.radius + own.wall, (own.depth + own.wall) / 2)
        cavity = Moved(Cylinder(own.radius, own.depth / 2 + own.wall), (0.0, 0.0, 1.5 * own.wall))
        place = (0.12, 0.10, 0.10 + own.depth / 2)
        floor = -own.depth / 2 + own.wall / 2
        inner = own.radius - own.cell / 4
        liquids = (("milk", own.milk_density, own.milk_viscosity), ("water", own.water_density, own.water_viscosity))
        bodies = []
        for layer, (_name, density, viscosity) in enumerate(liquids):
            middle = floor + (layer + 0.5) * own.fill
            shape = Moved(Cylinder(inner, own.fill / 2), (place[0], place[1], place[2] + middle))
            bodies.append(Body.seeded(shape, Liquid(density, density * own.speed_of_sound**2, viscosity), own.cell))
        glass = Effector(Difference(box, cavity), place, friction=own.friction, softness=own.cell / 2)
        upper = (0.40, 0.20, 0.26)
        return MpmModel(
            bodies, (0.0, 0.0, 0.0), upper, own.cell, own.dt, walls="separate", effectors=(glass,), dtype=self.dtype, device=self.device
        )

    def initial_actions(self) -> Tensor:
        """A tilt of some 50 degrees, from which a few drops run: upright, nothing that the glass could do changes the cost to first order."""
        actions = torch.zeros(self.horizon, 6, dtype=self.dtype, device=self.device)
        tilting = max(1, self.horizon // 3)
        actions[:tilting, 4] = min(1.0, 0.9 / (tilting * self.dt * self.settings.max_spin))
        return actions

    def cost(self, state: MpmState) -> Tensor:
        """How far the liquids are from where they should be, `[B]` [m]."""
        milk, water = (state.position[:, body] for body in self.bodies)
        stayed = _rounded(milk - self._start.position[:, self.bodies[0]]).sum(-1).mean(1)
        return _rounded(water[..., 2] - self.settings.cell).mean(1) + self.settings.keep * stayed

    def metrics(self, state: MpmState) -> dict[str, Tensor]:
        """Shares of the water that left the glass, and of the milk that stayed in it."""
        bottom = state.effector_position[:, :1, 2] - self.settings.depth / 2 - self.settings.wall
        milk, water = (state.position[:, body, 2] for body in self.bodies)
        return {"water_out": (water < bottom).double().mean(1), "milk_kept": (milk > bottom).double().mean(1)}

    def camera(self) -> Camera:
        """From the front and a little above."""
        from ..sim.render import Camera

        return Camera((0.22, -0.46, 0.33), (0.18, 0.10, 0.09), field_of_view=34)

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """Viscosities over a decade, the glass's friction, and fill heights within a tenth."""
        own = self.settings
        return {
            "water_viscosity": own.water_viscosity * float(10 ** generator.uniform(-0.5, 0.5)),
            "milk_viscosity": own.milk_viscosity * float(10 ** generator.uniform(-0.5, 0.5)),
            "friction": own.friction * float(generator.uniform(0.5, 2.0)),
            "fill": own.fill * float(generator.uniform(0.9, 1.1)),
        }


def _rounded(distance: Tensor, corner: float = 1e-3) -> Tensor:
    """|distance| with its corner rounded over a millimetre."""
    return torch.sqrt(distance * distance + corner * corner) - corner
