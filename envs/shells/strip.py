"""What the tasks on a strip that is bent over have in common: the strip, a table, one finger, and the creases it makes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...sim.mesh import Mesh
from ...sim.mesh_shapes import bent_strip
from ...sim.solid import Kinematic, Pin, SolidControl, SolidState
from .gripper import Gripper
from .shell_task import Scene, ShellSettings, ShellTask, table

if TYPE_CHECKING:
    from ...sim.render import Camera


@dataclasses.dataclass(frozen=True)
class StripSettings(ShellSettings):
    """Settings of tasks on a bent strip."""

    horizon: int = 60
    length: float = 0.1
    """Of the strip."""
    width: float = 0.02
    """Of the strip."""
    bend: float = 0.008
    """Radius in which it is bent over at rest."""
    held: float = 0.01
    """Length of its lower end that is held on the table."""
    finger: float = 0.038
    """Where the finger starts along x."""
    release: int = 15
    """Steps at the end in which the finger goes up by itself, at its largest speed, so that only what is pressed for good remains."""


class StripTask(ShellTask):
    """A strip that is bent over lies on a table, its lower end held, and a finger is above it."""

    settling: ClassVar[int] = 8
    reward_scale = 1.0

    def scene(self) -> Scene:
        """The scene of ThinShellLab's Folding, with the mass and the stiffness of a real sheet and with gravity."""
        own = self.settings
        columns, rows = max(6, round(own.length / own.cell)), max(2, round(own.width / own.cell))
        strip = bent_strip(own.length, own.width, columns, rows, own.bend)
        raised = Mesh(strip.vertices + np.array([0.0, 0.0, self.lift()]), strip.faces)
        self.columns = columns
        self.along = np.repeat(np.linspace(0.0, own.length, columns + 1), rows + 1)
        bodies = [self.sheet(raised), Kinematic(table(0.14, 0.08, start=-0.05), "table")]
        held = np.flatnonzero(self.along <= max(own.held, 1.01 * own.length / columns))
        finger = Gripper("finger", (own.finger, 0.0, 2 * own.bend + self.lift(3.0)))
        return Scene(bodies, [finger], [Pin("sheet", held)])

    def control(self, action: Tensor, state: SolidState) -> SolidControl:
        """The finger's velocity; at the end it goes up by itself."""
        given = super().control(action, state)
        over = (state.age >= self.horizon - self.settings.release)[:, None, None]
        up = torch.zeros_like(given.linear_velocity)
        up[..., 2] = self.settings.max_speed
        return given.replace(
            linear_velocity=torch.where(over, up, given.linear_velocity),
            angular_velocity=torch.where(over, torch.zeros_like(up), given.angular_velocity),
        )

    def crease(self, state: SolidState, low: float, high: float) -> Tensor:
        """The angle by which the strip was bent for good between two places along it, `[B]` [rad].

        It is the plastic curvature, summed over the faces there times their area over the width; a face counts as far as it lies between.
        """
        body = self.solver.model.bodies[0]
        faces = torch.tensor(body.mesh.faces)
        rest = torch.tensor(body.mesh.vertices)
        a, b, c = (rest[faces[:, k]] for k in range(3))
        area = 0.5 * torch.linalg.vector_norm(torch.linalg.cross(b - a, c - a), dim=1)
        s = torch.from_numpy(self.along)[faces]
        least, most = s.min(1).values, s.max(1).values
        share = ((most.clamp(max=high) - least.clamp(min=low)) / (most - least)).clamp(min=0.0)
        return (state.plastic_curvature[:, : len(faces)] * (share * area)).sum(1) / self.settings.width

    def bend(self, state: SolidState, low: float, high: float) -> Tensor:
        """The angle by which the strip's middle line turns between two places along it, elastic and plastic, `[B]` [rad]."""
        length, columns = self.settings.length, self.columns
        place = self.vertices(state, "sheet").unflatten(1, (columns + 1, -1)).mean(2)
        way = place[:, 1:] - place[:, :-1]
        a, b = way[:, :-1], way[:, 1:]
        turn = torch.atan2(a[..., 0] * b[..., 2] - a[..., 2] * b[..., 0], (a[..., ::2] * b[..., ::2]).sum(-1))
        # Each turn belongs to the half cells on both sides of its column.
        cell = length / columns
        start = cell * (torch.arange(1, columns, dtype=self.dtype) - 0.5)
        share = (((start + cell).clamp(max=high) - start.clamp(min=low)) / cell).clamp(min=0.0)
        return (turn * share).sum(1)

    def fold(self, state: SolidState) -> Tensor:
        """The angle by which the strip turns from one end to the other, `[B]` [rad]; 0 is flat, pi folded over."""
        return self.bend(state, 0.0, self.settings.length)

    def camera(self) -> Camera:
        """From the side and a little above."""
        from ...sim.render import Camera

        return Camera((0.03, -0.17, 0.07), (0.025, 0.0, 0.012), field_of_view=30)

    def vary(self, generator: np.random.Generator) -> dict[str, Any]:
        """The friction of the table and of the sheet on itself, over a factor of two."""
        own = self.settings
        return {
            "table_friction": own.table_friction * float(generator.uniform(0.7, 1.4)),
            "sheet_friction": own.sheet_friction * float(generator.uniform(0.7, 1.4)),
        }
