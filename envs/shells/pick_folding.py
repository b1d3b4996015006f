"""pliant/PickFolding-v0: two fingers push a sheet together, so that its middle rises, and crease it."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...sim.mesh_shapes import patch
from ...sim.solid import Kinematic, SolidState
from .gripper import Gripper
from .shell_task import Scene, ShellSettings, ShellTask, table

if TYPE_CHECKING:
    from ...sim.render import Camera


@dataclasses.dataclass(frozen=True)
class PickFoldingSettings(ShellSettings):
    """Settings of PickFolding."""

    side: float = 0.06
    """Of the square sheet."""
    arch: float = 0.002
    """Height of the sheet's middle over its ends at rest: a sheet that was perfectly flat would not know where to rise."""
    apart: float = 0.016
    """Of each finger from the middle at the start."""
    window: float = 0.01
    """About the middle in which the crease is wanted."""


class PickFolding(ShellTask):
    """A slightly arched sheet lies on a table; two fingers shall lift its middle and crease it.

    With the angle A by which the sheet is bent for good within a window about its middle, and the angle T between the planes on both sides:

        cost(s) = pi / 2 - A - T / 100  [rad]

    as ThinShellLab's, which sums both over the edges of the middle row. The loss is the mean cost over the last quarter of the steps.
    """

    presets = {
        "small": PickFoldingSettings(),
        "full": PickFoldingSettings(cell=0.004, tip_vertices=16),
    }
    settling = 8

    def scene(self) -> Scene:
        """The ridge of the arch runs along y, the fingers stand on both sides of it."""
        own = self.settings
        cells = 2 * max(1, round(own.side / own.cell / 2))

        def arched(s: np.ndarray, t: np.ndarray) -> np.ndarray:
            return np.column_stack([own.side * (s - 0.5), own.side * (t - 0.5), self.lift() + own.arch * np.sin(math.pi * s) ** 2])

        self.columns = cells
        bodies = [self.sheet(patch(cells, cells, arched)), Kinematic(table(0.2, 0.2), "table")]
        height = self.lift(2.2) + own.arch * math.cos(math.pi * own.apart / own.side) ** 2
        fingers = [Gripper(name, (x, 0.0, height)) for name, x in (("left", -own.apart), ("right", own.apart))]
        return Scene(bodies, fingers)

    def initial_actions(self) -> Tensor:
        """The fingers go down, then towards each other."""
        own = self.settings
        actions = torch.zeros(self.horizon, 12, dtype=self.dtype, device=self.device)
        down = max(1, self.horizon // 5)
        actions[:down, [2, 8]] = -min(1.0, (own.arch + self.lift(1.5)) / (down * own.dt * own.max_speed))
        together = 0.5 * own.apart / (max(1, self.horizon - down) * own.dt * own.max_speed)
        actions[down:, 0], actions[down:, 6] = min(1.0, together), -min(1.0, together)
        return actions

    def crease(self, state: SolidState) -> Tensor:
        """The angle by which the sheet is bent for good about its middle, `[B]` [rad]."""
        body = self.solver.model.bodies[0]
        rest = torch.tensor(body.mesh.vertices)
        faces = torch.tensor(body.mesh.faces)
        a, b, c = (rest[faces[:, k]] for k in range(3))
        area = 0.5 * torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a), dim=1)
        x = rest[faces][..., 0]
        least, most, half = x.min(1).values, x.max(1).values, 0.5 * self.settings.window
        share = ((most.clamp(max=half) - least.clamp(min=-half)) / (most - least)).clamp(min=0.0)
        return (state.plastic_curvature[:, : len(faces)] * (share * area)).sum(1) / self.settings.side

    def angle(self, state: SolidState) -> Tensor:
        """The angle between the two columns of cells beside the middle, `[B]` [rad]; 0 is flat."""
        place = self.vertices(state, "sheet").unflatten(1, (self.columns + 1, -1)).mean(2)
        k = self.columns // 2
        left, right = place[:, k] - place[:, k - 1], place[:, k + 1] - place[:, k]
        return torch.atan2(left[:, 2], left[:, 0]) - torch.atan2(right[:, 2], right[:, 0])

    def cost(self, state: SolidState) -> Tensor:
        """What is missing of a crease of a right angle, `[B]` [rad]."""
        return 0.5 * math.pi - self.crease(state) - 0.01 * self.angle(state)

    def metrics(self, state: SolidState) -> dict[str, Tensor]:
        """The crease, and the angle that the sheet has there [degrees]."""
        return {"crease": self.crease(state) * 180 / math.pi, "angle": self.angle(state) * 180 / math.pi}

    def camera(self) -> Camera:
        """From the front and above."""
        from ...sim.render import Camera

        return Camera((0.03, -0.16, 0.08), (0.0, 0.0, 0.008), field_of_view=34)

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """The friction of the table and of the fingers, over a factor of two."""
        own = self.settings
        return {
            "table_friction": own.table_friction * float(generator.uniform(0.7, 1.4)),
            "tip_friction": own.tip_friction * float(generator.uniform(0.7, 1.4)),
        }
