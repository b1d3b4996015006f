"""pliant/Separating-v0 and pliant/Following-v0: a sheet is pulled, and a box that lies on it is to stay behind, or to come along."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ...errors import ModelError
from ...sim.mesh_shapes import sheet, tetrahedral_box
from ...sim.solid import Kinematic, SolidState
from .gripper import DOWN, UP, Gripper
from .shell_task import Scene, ShellSettings, ShellTask, centred, table

if TYPE_CHECKING:
    from ...sim.render import Camera


@dataclasses.dataclass(frozen=True)
class PullingSettings(ShellSettings):
    """Settings of Separating and Following."""

    side: float = 0.06
    """Of the square sheet."""
    overhang: float = 0.02
    """By which the sheet juts out over the edge of the table, where it is pinched."""
    box: tuple[float, ...] = (0.012, 0.012, 0.008)
    """Edges of the box."""
    box_density: float = 2000.0
    object_mesh: str = ""
    """A file with a closed surface in place of the box."""
    way: float = 0.03
    """Which counts as the whole of the task: how far the box falls behind the sheet, or comes along."""


class PullingTask(ShellTask):
    """A sheet lies on a table, a box on the sheet, and a gripper pinches the edge that juts out."""

    presets = {
        "small": PullingSettings(),
        "full": PullingSettings(cell=0.004, tip_vertices=16, box=(0.012, 0.012, 0.012), box_density=1e4),
    }
    reward_scale = 100.0
    settling = 10

    def scene(self) -> Scene:
        """The gripper is at the end of the sheet that points along -x."""
        own = self.settings
        if own.overhang < 2 * own.tip_radius:
            raise ModelError(
                f"overhang is {own.overhang} m; for fingertips of radius {own.tip_radius} m it must be at least twice that, or they meet the table."
            )
        cells = max(2, round(own.side / own.cell))
        height = self.lift()
        flat = centred(sheet(own.side, own.side, cells, cells), height=height)
        block = tetrahedral_box(own.box, (1, 1, 1))
        edge = -own.side / 2 + own.overhang
        bodies = [
            self.sheet(flat),
            self.object(block, own.box_density, (0.0, 0.0, height + self.lift())),
            Kinematic(table(0.15, 0.15, start=edge), "table"),
        ]
        pinched = (-own.side / 2 + 0.8 * own.tip_radius, 0.0, height)
        gap = self.lift()
        return Scene(bodies, [Gripper("gripper", pinched, (DOWN, UP), gap=gap, close=gap + 3e-4)])

    def moved(self, state: SolidState, name: str) -> Tensor:
        """How far a body has moved along x since the start, `[B]` [m]."""
        return (self.middle(state, name) - self.middle(self._start, name))[:, 0]

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """How far sheet and box have moved along -x [m]."""
        return {"sheet_pulled": -self.moved(state, "sheet"), "box_pulled": -self.moved(state, "object")}

    def camera(self) -> Camera:
        """From the front and above."""
        from ...sim.render import Camera

        return Camera((-0.05, -0.17, 0.10), (-0.01, 0.0, 0.0), field_of_view=36)

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """The box's density and the friction under it, over a factor of two."""
        own = self.settings
        return {
            "box_density": own.box_density * float(generator.uniform(0.7, 1.4)),
            "sheet_friction": own.sheet_friction * float(generator.uniform(0.7, 1.4)),
        }


class Separating(PullingTask):
    """The sheet is to be pulled from under the box.

    With the mean displacements along x of sheet and box, s_x and b_x:

        cost(s) = way - (b_x - s_x)  [m]

    ThinShellLab's reward is the same difference, as sums over vertices. The loss is the mean cost over the last quarter of the steps.
    """

    def cost(self, state: SolidState) -> Tensor:
        """What is missing until the box has fallen behind by `way`, `[B]` [m]; negative beyond."""
        return self.settings.way - (self.moved(state, "object") - self.moved(state, "sheet"))


class Following(PullingTask):
    """The box is to come along with the sheet that is pulled.

        cost(s) = way + b_x  [m]

    with the mean displacement b_x of the box along x. The loss is the mean cost over the last quarter of the steps.
    """

    def cost(self, state: SolidState) -> Tensor:
        """What is missing until the box has come along by `way`, `[B]` [m]; negative beyond."""
        return self.settings.way + self.moved(state, "object")
