"""pliant/Sliding-v0: with which friction do the sheets of a stack take the lowest one along?"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError
from ...sim.mesh import Mesh, load_mesh
from ...sim.mesh_shapes import sheet
from ...sim.solid import Kinematic, Shell, SolidModel, SolidState
from .design_task import DesignSettings, DesignTask
from .gripper import Gripper
from .shell_task import Scene, centred, table

if TYPE_CHECKING:
    from ...sim.render import Camera


@dataclasses.dataclass(frozen=True)
class SlidingSettings(DesignSettings):
    """Settings of Sliding."""

    script_steps: int = 16
    cell: float = 0.02
    side: float = 0.06
    """Of the square sheets."""
    sheets: int = 3
    """In the stack."""
    friction_low: float = 0.1
    """Of the sheets on each other, the least;"""
    friction_high: float = 1.0
    """and the most. `sheet_friction` plays no part."""
    table_friction: float = 0.4
    friction_speed: float = 0.03
    press: float = 0.0005
    """By how much the finger goes down beyond where it meets the stack, in a fifth of the steps."""
    way: float = 0.016
    """How far it then moves along -x."""


class Sliding(DesignTask):
    """A fingertip presses on a stack of sheets and moves along -x; the lowest sheet is to come along, by the friction between the sheets.

    With the mean displacement s_x along x of the lowest sheet:

        cost(s) = way + s_x  [m]

    Below the friction of the table a sheet slides on the one under it, above it the stack slides on the table. ThinShellLab's reward is
    minus the sum of x over the vertices of the lowest sheet; its sheets are 500 times as heavy, and have no gravity.
    """

    presets = {
        "small": SlidingSettings(),
        "full": SlidingSettings(cell=0.004, tip_vertices=16, script_steps=50, friction_speed=0.01),
    }
    design = ("friction",)
    settling = 10

    def scene(self) -> Scene:
        """The lowest sheet is `sheet.0`; the finger starts over the middle of the stack."""
        own = self.settings
        if own.sheets < 2:
            raise ModelError(f"sheets is {own.sheets}; a stack has at least two.")
        cells = max(2, round(own.side / own.cell))
        flat = load_mesh(own.sheet_mesh) if own.sheet_mesh else centred(sheet(own.side, own.side, cells, cells))
        bodies: list[Any] = [
            Shell(Mesh(flat.vertices + np.array([0.0, 0.0, (k + 1) * self.lift()]), flat.faces), f"sheet.{k}", material=self.sheet_material)
            for k in range(own.sheets)
        ]
        top = float(bodies[-1].mesh.vertices[:, 2].max())
        return Scene([*bodies, Kinematic(table(0.2, 0.2), "table")], [Gripper("finger", (0.0, 0.0, top + self.lift()))])

    def designed(self, model: SolidModel, properties: dict[str, Any]) -> SolidModel:
        """The friction of every two sheets on each other."""
        assert model.contact is not None
        assert isinstance(model.contact.friction, dict)
        friction = {
            pair: properties["friction"] if all(name.startswith("sheet") for name in pair) else value
            for pair, value in model.contact.friction.items()
        }
        return dataclasses.replace(model, contact=dataclasses.replace(model.contact, friction=friction))

    def script(self, t: Tensor, state: SolidState) -> Tensor:
        """Down in a fifth of the steps, then along -x."""
        own = self.settings
        pressing = max(1, own.script_steps // 5)
        sliding = max(1, own.script_steps - pressing)
        velocity = torch.zeros(len(t), 1, 6, dtype=self.dtype)
        # The stack has settled: the finger first has to come down to it.
        depth = own.press + self._finger_gap()
        velocity[:, 0, 2] = torch.where(t < pressing, -depth / (pressing * own.dt), 0.0)
        velocity[:, 0, 0] = torch.where(t < pressing, 0.0, -own.way / (sliding * own.dt))
        return velocity

    def _finger_gap(self) -> float:
        """Between the finger and the stack at the start [m]."""
        pole = float(self.vertices(self._start, "finger.0")[..., 2].min())
        return pole - float(self.vertices(self._start, f"sheet.{self.settings.sheets - 1}")[..., 2].mean())

    def moved(self, state: SolidState, number: int) -> Tensor:
        """How far a sheet, 0 the lowest, has moved along x since the start, `[B]` [m]."""
        name = f"sheet.{number}"
        return (self.middle(state, name) - self.middle(self._start, name))[:, 0]

    def cost(self, state: SolidState) -> Tensor:
        """What is missing until the lowest sheet has come along by `way`, `[B]` [m]."""
        return self.settings.way + self.moved(state, 0)

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """The friction, and how far the lowest and the uppermost sheet have moved along -x [m]."""
        moved = {"lowest_moved": -self.moved(state, 0), "uppermost_moved": -self.moved(state, self.settings.sheets - 1)}
        return super().metrics(state) | moved

    def camera(self) -> Camera:
        """From the front and above."""
        from ...sim.render import Camera

        return Camera((-0.03, -0.15, 0.07), (-0.005, 0.0, 0.003), field_of_view=36)

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """The friction of the table, over a factor of two, and how far the finger presses."""
        own = self.settings
        return {
            "table_friction": own.table_friction * float(generator.uniform(0.7, 1.4)),
            "press": own.press * float(generator.uniform(0.7, 1.4)),
        }
