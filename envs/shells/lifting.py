"""pliant/Lifting-v0: carry a cube that lies on a sheet."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...sim.mesh_shapes import sheet, tetrahedral_box
from ...sim.solid import Kinematic, SolidState
from ..mpm_task import rounded
from .gripper import DOWN, UP, Gripper
from .shell_task import Scene, ShellSettings, ShellTask, centred, table

if TYPE_CHECKING:
    from ...sim.render import Camera


@dataclasses.dataclass(frozen=True)
class LiftingSettings(ShellSettings):
    """Settings of Lifting."""

    material: str = "card"
    side: float = 0.06
    """Of the square sheet."""
    height: float = 0.03
    """Of the sheet over the table."""
    cube: float = 0.007
    """Edge of the cube."""
    cube_density: float = 2000.0
    object_mesh: str = ""
    """A file with a closed surface in place of the cube."""
    displacement: tuple[float, ...] = (-0.012, -0.012, 0.012)
    """Where the cube is to be carried, from where it lies at the start."""


class Lifting(ShellTask):
    """Two grippers pinch a sheet on which a cube lies; the cube is to be carried to a place.

    With the cube's centre c(s) and its place c(0) at the start:

        cost(s) = |c(s) - c(0) - displacement|_r  [m],    |d|_r = sqrt(|d|^2 + e^2) - e,  e = 1 mm

    ThinShellLab's Lifting sums the squared distances of the cube's vertices from a place 12 mm away along -x and -y; this one is to go up
    as well. The loss is the mean cost over the last quarter of the steps.
    """

    presets = {
        "small": LiftingSettings(),
        "full": LiftingSettings(cell=0.004, tip_vertices=16),
    }
    reward_scale = 100.0
    settling = 10

    def scene(self) -> Scene:
        """A sheet in the air, pinched at two sides, and the cube upon its middle."""
        own = self.settings
        cells = max(2, round(own.side / own.cell))
        flat = centred(sheet(own.side, own.side, cells, cells), height=own.height)
        cube = tetrahedral_box((own.cube,) * 3, (1, 1, 1))
        bodies = [
            self.sheet(flat),
            self.object(cube, own.cube_density, (0.0, 0.0, own.height + self.lift())),
            Kinematic(table(0.2, 0.2), "table"),
        ]
        pinched = own.side / 2 - 0.8 * own.tip_radius
        gap = self.lift()
        grippers = [
            Gripper(name, (x, 0.0, own.height), (DOWN, UP), gap=gap, close=gap + 3e-4)
            for name, x in (("left", -pinched), ("right", pinched))
        ]
        return Scene(bodies, grippers)

    def cost(self, state: SolidState) -> Tensor:
        """How far the cube is from its place, `[B]` [m]."""
        goal = self.middle(self._start, "object") + torch.tensor(self.settings.displacement, dtype=self.dtype)
        return rounded((self.middle(state, "object") - goal).square().sum(1))

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """How far the cube is from its place [m]."""
        goal = self.middle(self._start, "object") + torch.tensor(self.settings.displacement, dtype=self.dtype)
        return {"distance": torch.linalg.vector_norm(self.middle(state, "object") - goal, dim=1)}

    def camera(self) -> Camera:
        """From the front and above."""
        from ...sim.render import Camera

        return Camera((0.08, -0.17, 0.11), (0.0, 0.0, self.settings.height), field_of_view=34)

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """The cube's density over a factor of two, and the friction under it."""
        own = self.settings
        return {
            "cube_density": own.cube_density * float(generator.uniform(0.7, 1.4)),
            "sheet_friction": own.sheet_friction * float(generator.uniform(0.7, 1.4)),
        }
